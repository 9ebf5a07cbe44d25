//! The durable log between ingest and sinks: one shared segmented append log, one cursor per sink. (Design prose goes here.)

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

/// How the log is kept.
#[derive(Debug, Clone)]
pub struct Settings {
    pub dir: PathBuf,
    /// Bytes on disk at most.
    pub max_size: u64,
    pub drop_oldest_at_cap: bool,
    /// True: fdatasync before an append returns; false: once a second.
    pub sync_each_commit: bool,
}

/// A place in the log: the record, and how many of its lines are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    pub seq: u64,
    pub lines: u32,
}

/// One record as read.
#[derive(Debug, Clone)]
pub struct Entry {
    pub seq: u64,
    /// Points in it, as told at the append.
    pub points: u32,
    pub bytes: Bytes,
}

/// The log; clones share it.
#[derive(Clone)]
pub struct Log {}

/// One sink's place in the log.
pub struct Cursor {}

#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("the buffer is full ({used} of {max} bytes)")]
    Full { used: u64, max: u64, retry_after: Duration },
    /// No space, read-only, I/O error: nothing was kept; a later append may succeed.
    #[error("the buffer could not be written")]
    Disk(#[source] std::io::Error),
    /// A sync failed: this log takes nothing more until the agent is started again or a new segment could be begun.
    #[error("the buffer is poisoned by a failed sync: {0}")]
    Poisoned(String),
    #[error("a record of {bytes} bytes is larger than the {max} the buffer takes")]
    TooLarge { bytes: u64, max: u64 },
    #[error("the buffer is closed")]
    Closed,
}

/// What the recovery found, to be told at start.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    pub records: u64,
    /// Bytes set aside and where, each with a reason; never deleted.
    pub set_aside: Vec<(PathBuf, String)>,
}

/// A snapshot for status and metrics.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    pub bytes: u64,
    pub max_bytes: u64,
    pub segments: usize,
    /// The next record's number.
    pub next_seq: u64,
    /// Age of the oldest record that some cursor still needs.
    pub oldest_age: Option<Duration>,
    pub poisoned: Option<String>,
    pub set_aside_bytes: u64,
    pub cursors: Vec<CursorStats>,
}

#[derive(Debug, Clone, Default)]
pub struct CursorStats {
    pub name: String,
    pub position: Position,
    pub behind_records: u64,
    pub behind_points: u64,
    pub behind_bytes: u64,
    pub oldest_age: Option<Duration>,
    /// Points this cursor was moved over at the cap, or lost to damage.
    pub skipped_points: u64,
}
