//! What status and metrics show of the log.

use std::time::Duration;

use super::record::Position;
use crate::telemetry::trouble::Lasting;

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
