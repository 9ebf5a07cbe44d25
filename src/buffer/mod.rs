//! The durable log between ingest and sinks: one shared segmented append log, one cursor per sink.
//!
//! # Why a log of our own
//!
//! Every point that a script was told is kept must survive `kill -9`, a full disk and a flipped byte, and reach several sinks at
//! their own pace. Of the embedded stores that were tried none stays usable at a full disk and notices a flipped byte; none offers an
//! append log with several cursors. A plain log does both with little code, because it never changes what it has written.
//!
//! # Layout
//!
//! ```text
//! <dir>/lock                              flock against a second process
//! <dir>/log/00000000000000000001.log      segments, named by the number of their first record
//! <dir>/cursors/<sink>                    one line of text: how far the sink is
//! <dir>/set_aside/…                       what was found damaged, never deleted by us
//! ```
//!
//! A record is one frame (see [`frame`]) and has a number, its *seq*. Numbers only grow, also across the loss of all segments, so the
//! order never depends on a clock. A cursor names a record, never a file: files come and go under it. A segment ends where the next
//! begins: frames in it with numbers of the next segment are left-overs that count for nothing.
//!
//! # Writing
//!
//! `append` puts the record into a bounded queue; one committer thread takes all that waits (4 MiB at most), writes it at once, syncs
//! once and then wakes the waiters. Nothing is visible to a cursor before that.
//!
//! - A write that fails (no space, read-only, I/O error) is undone by truncating, the waiters get [`AppendError::Disk`], the next
//!   append tries again. When even the truncation fails the file is left as it is and a new segment begun.
//! - A sync that fails is never repeated: the kernel may have dropped the pages and report success the next time. What is not known
//!   to be durable is written once more into a new segment; when that fails too the log is poisoned. It then takes nothing but tries
//!   a new segment again with an append every few seconds.
//! - A sync of a file that has grown makes the file system write its new size as well, in most cases by a commit of its journal. So the
//!   segment is filled with zeros some way ahead, and most commits write over them. The zeros are cut off when the segment ends; after
//!   a crash the recovery does it.
//! - Who shared the last commit has the answer now and will soon come again: the committer waits for them, at most half as long as that
//!   commit took, so that one sync serves all instead of one the first and one the rest.
//! - A new segment's name is made durable before its first record is acknowledged, and the old segment is synced before that.
//!
//! # Reading and letting go
//!
//! A cursor reads from its confirmed place on; what is confirmed is written to its file by rename and synced within a second, so that
//! after a power cut a sink sees some records again and misses none. A segment goes once every registered cursor has passed it. At
//! the cap (`max_size`) the oldest segment is taken from the cursors that are not required, or from all with `drop_oldest_at_cap`;
//! else appends are refused, those of large records a little before the others. What a cursor was moved over is counted. Cursor files whose sink has not registered hold segments during
//! the first minute only (the sinks of a starting agent register one after the other), then never.
//!
//! # Recovery
//!
//! Every frame is read once at the start. Damage is copied to `set_aside/` with a reason before anything is cut; behind a damaged
//! range the next good frame is searched and the gap counted. Files that are no segments of ours (empty, zeros, other magic, later
//! version) are renamed into `set_aside/`. A segment with bytes that could neither be read nor copied goes there instead of being
//! deleted when its time has come.

mod cap;
mod commit;
mod cursor;
pub mod disk;
mod frame;
mod log;
mod place;
mod recover;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use crate::telemetry::trouble::Lasting;

pub use cursor::Cursor;
pub use log::Log;

/// How the log is kept.
#[derive(Debug, Clone)]
pub struct Settings {
    pub dir: PathBuf,
    /// Bytes on disk at most, all segments together; what was set aside does not count.
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

/// A record that a sink misses because the cap took it.
#[derive(Debug)]
pub struct Lost<'l> {
    pub cursor: &'l str,
    pub record: &'l [u8],
    /// Lines of it that the sink has all the same.
    pub done_lines: u32,
}

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
        source: std::io::Error,
    },
}

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
    Disk(#[source] std::io::Error),
    #[error("the buffer is closed")]
    Closed,
}

/// What the recovery found, to be told at start.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    pub records: u64,
    /// Records that must have been there and are not (damaged, or their segment is missing).
    pub lost_records: u64,
    /// Bytes set aside and where, each with a reason; never deleted.
    pub set_aside: Vec<(PathBuf, String)>,
    /// What else a person should know, one sentence each.
    pub notes: Vec<String>,
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
    /// Records are refused at the moment.
    pub refusing: Option<Lasting>,
    pub set_aside_bytes: u64,
    pub cursors: Vec<CursorStats>,
    /// Cursor files whose sinks have not registered.
    pub removed: Vec<RemovedCursor>,
}

/// A cursor file without a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedCursor {
    pub name: String,
    /// How long it still holds records; `None`: it holds nothing.
    pub holds_for: Option<Duration>,
}

#[derive(Debug, Clone, Default)]
pub struct CursorStats {
    pub name: String,
    pub position: Position,
    pub behind_records: u64,
    pub behind_points: u64,
    pub behind_bytes: u64,
    pub oldest_age: Option<Duration>,
    /// Points this cursor was moved over at the cap, or lost to damage; where the number is not known, one for each record.
    pub skipped_points: u64,
}
