//! No worker can be started on Windows yet: every start is refused with the reason, and what comes after a start has no values.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::worker::WorkerSpec;
use crate::worker::cgroup::Group;
use crate::worker::sys::{self, Control};
use crate::worker::zygote;

pub use crate::worker::launch::{Ended, Launch, Parts, RUN_COOKIE, StartError, Way, is_shim};

pub type Pipe = tokio::io::Empty;

/// What a worker elsewhere can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(i32);

impl Signal {
    pub const KILL: Self = Self(9);
    pub const TERM: Self = Self(15);
    pub const USR2: Self = Self(12);

    pub fn as_raw(self) -> i32 {
        self.0
    }
}

/// Looks for no interpreter: there is nothing to start one for.
///
/// # Errors
/// Always.
pub fn find_program(_: &str, _: &[(String, String)]) -> Result<PathBuf, StartError> {
    Err(StartError::Permanent(sys::refusal()))
}

/// Refuses to start workers.
#[derive(Clone)]
pub struct Spawner(());

impl Spawner {
    /// # Errors
    /// Never.
    pub fn start() -> io::Result<Self> {
        Ok(Self(()))
    }

    #[must_use]
    pub fn with_zygotes(self, _: zygote::Settings) -> Self {
        self
    }

    pub fn know<'s>(&self, _: impl Iterator<Item = &'s WorkerSpec>) {}

    /// # Errors
    /// Always.
    pub async fn launch(&self, launch: Launch) -> Result<Process, StartError> {
        self.spawn(launch).await
    }

    /// # Errors
    /// Always.
    pub async fn spawn(&self, _: Launch) -> Result<Process, StartError> {
        Err(StartError::Permanent(sys::refusal()))
    }

    pub async fn close(&self) {}
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

/// Other processes are not looked at, and not ended.
pub(super) fn end_process(_: u32, _: impl Fn(u32) -> bool) {}

/// Nothing can be left of an earlier agent: it had no workers.
pub async fn sweep_leftovers(_: &Path) {}

/// No orphan comes to this process.
pub fn tend_orphans(_: &Path, _: &HashSet<String>) {}

/// Resident memory of a process: not known.
pub fn memory(_: u32) -> Option<u64> {
    None
}

/// The state of a process: not known.
pub fn state(_: u32) -> Option<char> {
    None
}
