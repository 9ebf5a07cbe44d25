//! A record as a reader meets it: its place, what it holds, and that it is lost.

use bytes::Bytes;

/// A place in the log: the record, and how many of its lines are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    pub seq: u64,
    pub lines: u32,
}

/// One record as read.
#[derive(Debug, Clone)]
pub struct LoggedRecord {
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
