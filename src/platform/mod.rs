//! What is asked of the operating system beyond the standard library, outside of workers: files, locks, signals, programs, and sockets with
//! a name on this machine.
//!
//! What workers need, and where Linux and macOS differ, is in `crate::worker::sys`.

mod found;
mod memory;
mod unix;

pub use found::{FileFacts, FileIdentity};
pub use memory::give_back_memory;
pub use unix::{
    FarDatagram, FarStream, Hangups, NO_WAIT, SocketListener, SocketStream, Stops, allow_program_only_to_owner, bind,
    bind_for_all, connect, connect_datagram, end_group, give_to_group, group_number, has_ended, hear_all_signals,
    hostname, in_own_group, is_another_users, is_no_room, is_sound_name, is_special, is_too_long_for_a_datagram,
    is_too_many_open, keep_file_private, keep_private, let_group_read, link, listable_by_all, lock_folder, look,
    look_at, make_private_folder, may_write_in, mode_if_open_to_all, mode_if_ours_is_open, mode_of, open_files,
    open_to_all, path_of, raise_open_files, reachable, read_at, readable_by_all, readable_like, reap_group, set_mode,
    set_mode_of, signal_name, survive_file_size_limits, sync_folder, try_lock, umask, umask_of_scripts, write_at,
};
