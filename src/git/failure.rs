//! The ways in which a pull fails, and the faults of this machine's disk among them.

use std::io;

use crate::code::Code;
use crate::diagnostic::Diagnostic;

/// Why a pull brought nothing.
#[derive(Debug)]
pub enum PullFailure {
    /// To be shown; the code that runs goes on.
    Fault(Box<Diagnostic>),
    /// The store is damaged: it is set aside and cloned again.
    Corrupt(String),
    /// The agent stops.
    Stopped,
}

impl PullFailure {
    pub fn fault(diagnostic: Diagnostic) -> Self {
        Self::Fault(Box::new(diagnostic))
    }
}

/// A fault of the files on this machine.
pub fn local(what: &str, error: &io::Error) -> PullFailure {
    if error.kind() == io::ErrorKind::StorageFull || error.kind() == io::ErrorKind::QuotaExceeded {
        return PullFailure::fault(disk_full());
    }
    PullFailure::fault(Diagnostic::error(Code::NoRight, format!("{what}: {error}")))
}

/// A full disk, in words for its owner.
pub fn disk_full() -> Diagnostic {
    Diagnostic::error(Code::DiskFull, "no space is left on the disk for the repository")
        .with_help("make room; the next pull goes on by itself")
}
