//! No worker can be started on Windows yet: what comes after a start has no values.

use std::io;
use std::path::PathBuf;

use crate::worker::cgroup::Group;
use crate::worker::sys::{self, Control};

pub use crate::worker::launch::{Ended, Launch, StartError, Way, is_shim};
pub use crate::worker::leash::{Death, Leash};
pub use crate::worker::parts::Parts;
pub use crate::worker::sys::{Pipe, Signal, memory, state};

/// Looks for no interpreter: there is nothing to start one for.
///
/// # Errors
/// Always.
pub fn find_program(_: &str, _: &[(String, String)]) -> Result<PathBuf, StartError> {
    Err(StartError::Permanent(sys::refusal()))
}

/// A started worker: there is none.
pub struct Process {
    pub pid: u32,
    pub way: Way,
    never: Control,
}

impl Process {
    /// # Errors
    /// Never comes to it.
    pub fn put_into(&mut self, _: Group) -> io::Result<()> {
        match self.never {}
    }

    /// # Errors
    /// Never comes to it.
    pub fn into_parts(self) -> io::Result<Parts> {
        match self.never {}
    }
}
