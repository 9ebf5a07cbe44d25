//! What agent and worker say to each other: JSON frames over one socket, of which `crate::worker::sys` knows how it carries them.

mod channel;
mod down;
mod up;

pub use channel::Channel;
pub use down::{Address, Down, Limits, Mode, OneUnit, Spec, in_frames, phase_of, socket_for_other_users};
pub use up::{
    Caller, Fatal, Folder, Frame, Hello, Job, JobCheck, JobStands, Loaded, Refused, RunEnded, Settings, Severity,
    TablePiece, ToldUnit, Up, Warn,
};
