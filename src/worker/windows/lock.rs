//! No worker is started on Windows, so none is held by a lock.

use std::io;
use std::path::{Path, PathBuf};

use crate::worker::sys::{Control, NO_WORKERS};

/// The locks of all scripts of one run directory: none.
#[derive(Debug, Clone)]
pub struct Locks;

/// The lock of one script: there is none.
#[derive(Debug)]
pub struct Lock(Control);

/// Why a script cannot have its lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("an earlier copy of it is still alive: {pids:?}")]
    Held { pids: Vec<u32> },
    #[error("its lock {} cannot be opened", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl Locks {
    pub fn open(_: &Path) -> Self {
        Self
    }

    pub fn why_not(&self) -> Option<&str> {
        NO_WORKERS
    }

    /// # Errors
    /// Never.
    pub fn take(&self, _: &str) -> Result<Option<Lock>, LockError> {
        Ok(None)
    }
}

impl Lock {
    /// # Errors
    /// Never comes to it.
    pub fn note(&self, _: u32, _: u64) -> io::Result<()> {
        match self.0 {}
    }
}
