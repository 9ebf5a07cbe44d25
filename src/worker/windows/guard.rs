//! No worker is started on Windows, so nothing has to be guarded.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::worker::sys::NO_WORKERS;

/// The guard of this process: there is none.
#[derive(Debug)]
pub struct Guard(());

impl Guard {
    /// # Errors
    /// Always.
    pub fn start(_: &Path) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, NO_WORKERS.unwrap_or_default()))
    }
}

/// Says whether this process was started as a guard: never.
pub fn asked() -> Option<PathBuf> {
    None
}

pub fn serve(_: &Path) -> ExitCode {
    ExitCode::FAILURE
}
