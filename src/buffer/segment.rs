//! One segment as the log knows it, and a place in it.

use super::frame::{self, RecordFrame};

/// What is known of one segment, as far as cursors may read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// Tells two files of the same name apart (the first was given up after a failed sync).
    pub id: u64,
    pub first_seq: u64,
    /// The number behind its last record.
    pub end_seq: u64,
    pub len: u64,
    pub records: u64,
    pub points: u64,
    /// Holds bytes that could not be copied: it is set aside, not deleted, when its time has come.
    pub keep: bool,
}

impl Segment {
    pub(super) fn empty(id: u64, first_seq: u64) -> Segment {
        Segment { id, first_seq, end_seq: first_seq, len: frame::SEGMENT_HEADER, records: 0, points: 0, keep: false }
    }
}

/// A place in a segment, with what lies before it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentMark {
    pub segment: u64,
    pub seq: u64,
    pub offset: u64,
    pub records: u64,
    pub points: u64,
}

impl SegmentMark {
    pub(super) fn start_of(segment: &Segment) -> SegmentMark {
        SegmentMark {
            segment: segment.id,
            seq: segment.first_seq,
            offset: frame::SEGMENT_HEADER,
            records: 0,
            points: 0,
        }
    }

    /// The place behind a frame that starts here.
    pub(super) fn behind(&self, frame: &RecordFrame) -> SegmentMark {
        let (records, points) = (self.records + 1, self.points + u64::from(frame.points));
        SegmentMark { segment: self.segment, seq: frame.seq + 1, offset: frame.end(), records, points }
    }
}
