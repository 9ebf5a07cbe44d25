//! No worker is started on Windows, so nothing holds on to one.

use std::io;

use crate::worker::cgroup::Group;
use crate::worker::launch::Ended;
use crate::worker::sys::{Control, Signal};

/// Tells when a process has ended, and how.
pub struct Death(Control);

impl Death {
    /// # Errors
    /// Never comes to it.
    pub async fn wait(&self) -> io::Result<()> {
        match self.0 {}
    }

    pub fn reap(&self) -> Ended {
        match self.0 {}
    }
}

/// Reaches a worker and what it has started.
#[derive(Clone, Debug)]
pub struct Leash {
    pub pid: u32,
    never: Control,
}

impl Leash {
    pub fn group(&self) -> Option<&Group> {
        match self.never {}
    }

    pub fn signal(&self, _: Signal) {
        match self.never {}
    }

    pub fn signal_group(&self, _: Signal) {
        match self.never {}
    }

    pub fn end_tree(&self) -> usize {
        match self.never {}
    }
}
