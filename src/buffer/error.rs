//! Why the log cannot be opened, appended to or read.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the buffer in `{}` is in use by another process", dir.display())]
    Locked { dir: PathBuf },
    #[error("could not {what} `{}`", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("the buffer is full ({used} of {max} bytes)")]
    Full { used: u64, max: u64, retry_after: Duration },
    /// No space, read-only, I/O error: nothing was kept; a later append may succeed.
    #[error("the buffer could not be written")]
    Disk(#[source] io::Error),
    /// A sync failed: this log takes nothing more until the agent is started again or a new segment could be begun.
    #[error("the buffer is poisoned by a failed sync: {0}")]
    Poisoned(String),
    #[error("a record of {bytes} bytes is larger than the {max} the buffer takes")]
    TooLarge { bytes: u64, max: u64 },
    #[error("the buffer is closed")]
    Closed,
}

impl AppendError {
    /// The error and its cause in one line.
    pub fn with_cause(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}

/// Why a cursor could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk said no; the place stays, a later read may succeed.
    #[error("the buffer could not be read")]
    Disk(#[source] io::Error),
    #[error("the buffer is closed")]
    Closed,
}

pub(super) fn open_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { what, path: path.to_path_buf(), source }
}
