//! What agent and worker say to each other: JSON frames over one socket, of which `crate::worker::sys` knows how it carries them.

mod channel;
mod down;
mod up;

pub use channel::Channel;
pub use down::{Address, Down, Mode, OneUnit, ProcessLimits, Spec, in_frames, phase_of, socket_for_other_users};
pub use up::{
    Caller, Fatal, FrameSeverity, Hello, JobCheck, JobFrame, JobStands, Loaded, RefusedReport, RunEnded, SeenFolder,
    SeenSettings, TablePiece, ToldUnit, TracebackFrame, Up, Warn,
};
