//! How a log is kept: what whoever opens it decides.

use std::path::PathBuf;

/// How the log is kept.
#[derive(Debug, Clone)]
pub struct BufferSettings {
    pub dir: PathBuf,
    /// Bytes on disk at most, all segments together; what was set aside does not count.
    pub max_size: u64,
    pub drop_oldest_at_cap: bool,
    /// True: fdatasync before an append returns; false: once a second.
    pub sync_each_commit: bool,
}
