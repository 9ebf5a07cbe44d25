//! What operating systems do differently, outside of workers: files, locks, signals, programs, and sockets with a name on this machine.
//!
//! One file per family with the same interface; whoever uses it does not know which. What a system does not have is an error of kind
//! `Unsupported` or a question that is answered with no, and the doc comment of the function says so. What workers need beyond this is in
//! `crate::worker::sys`.

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod system;

mod found;
mod memory;

pub use found::{Found, Identity};
pub use memory::give_back_memory;
pub use system::{
    FarDatagram, FarStream, Hangups, Listener, NO_UNIX_SOCKETS, NO_WAIT, Stops, Stream, allow_program_only_to_owner,
    bind, bind_for_all, connect, connect_datagram, end_group, give_to_group, group_number, has_ended, hear_all_signals,
    hostname, in_own_group, is_another_users, is_no_room, is_sound_name, is_special, is_too_long_for_a_datagram,
    is_too_many_open, keep_file_private, keep_private, let_group_read, link, listable_by_all, lock_folder, look,
    look_at, make_private_folder, may_write_in, mode_if_open_to_all, mode_if_ours_is_open, mode_of, open_files,
    open_to_all, path_of, raise_open_files, reachable, read_at, readable_by_all, readable_like, reap_group, set_mode,
    set_mode_of, signal_name, survive_file_size_limits, sync_folder, try_lock, umask, umask_of_scripts, write_at,
};
