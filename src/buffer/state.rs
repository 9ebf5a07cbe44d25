//! What is known of the log under its lock, and the questions the parts ask about it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::cap::Holder;
use super::error::AppendError;
use super::frame;
use super::place::{self, CursorPlace};
use super::record::Position;
use super::recover::RecoveredLog;
use super::segment::{Segment, SegmentMark};
use super::settings::BufferSettings;
use super::stats::{CursorStats, RemovedCursor, Stats};
use crate::telemetry::trouble::RepeatedTrouble;

/// How long a cursor file holds its segments for a sink that has not registered yet.
const REGISTRATION_GRACE: Duration = Duration::from_secs(60);

/// An append that waits for its commit.
pub(super) struct WaitingAppend {
    pub points: u32,
    pub bytes: Bytes,
    pub reply: oneshot::Sender<Result<u64, AppendError>>,
}

impl WaitingAppend {
    pub(super) fn frame_len(&self) -> u64 {
        frame::FRAME_HEADER + self.bytes.len() as u64
    }
}

pub(super) struct CursorState {
    pub required: bool,
    pub live: bool,
    pub place: CursorPlace,
    /// Where `place` lies, when known.
    pub mark: Option<SegmentMark>,
    /// The file says less than `place`.
    pub unsaved: bool,
    /// The file may not survive a power cut.
    pub unsynced: bool,
    pub saving: Arc<Mutex<()>>,
}

impl CursorState {
    pub(super) fn new(required: bool, place: CursorPlace) -> CursorState {
        CursorState { required, live: true, place, mark: None, unsaved: false, unsynced: false, saving: Arc::default() }
    }

    pub(super) fn move_to(&mut self, position: Position, mark: Option<SegmentMark>) {
        (self.place.position, self.mark) = (position, mark);
        (self.unsaved, self.unsynced) = (true, true);
    }
}

pub(super) struct LogState {
    pub queue: VecDeque<WaitingAppend>,
    pub queued_bytes: u64,
    /// The committer sleeps until so many wait, or a little while.
    pub wanted: usize,
    pub closing: bool,
    pub closed: bool,
    /// The committer should look whether segments may go.
    pub trim: bool,
    pub segments: BTreeMap<u64, Segment>,
    /// The segment that is being written.
    pub active: Option<u64>,
    pub next_seq: u64,
    pub cursors: BTreeMap<String, CursorState>,
    pub poisoned: Option<String>,
    /// Records are refused: no room, or the disk takes none.
    pub refusing: RepeatedTrouble,
    /// Cursors cannot be saved.
    pub unsaved: RepeatedTrouble,
    pub set_aside_bytes: u64,
    next_id: u64,
    /// Cursor files whose sinks have not registered, by file name.
    pub unregistered: BTreeMap<String, CursorPlace>,
    opened: Instant,
}

/// A cursor that was moved over a segment.
pub(super) struct Moved {
    pub cursor: String,
    pub from: Position,
    pub points: u64,
}

/// Where a number lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Location {
    In(Segment),
    /// It is lost; the next record that is there has this number.
    Gap {
        to: u64,
    },
    /// Nothing there yet.
    End,
}

impl LogState {
    pub(super) fn new(found: RecoveredLog) -> LogState {
        LogState {
            queue: VecDeque::new(),
            queued_bytes: 0,
            wanted: 0,
            closing: false,
            closed: false,
            trim: true,
            next_id: found.segments.len() as u64,
            segments: found.segments.into_iter().map(|segment| (segment.first_seq, segment)).collect(),
            active: None,
            next_seq: found.next_seq,
            cursors: BTreeMap::new(),
            poisoned: None,
            refusing: RepeatedTrouble::default(),
            unsaved: RepeatedTrouble::default(),
            set_aside_bytes: found.set_aside_bytes,
            unregistered: found.cursors,
            opened: Instant::now(),
        }
    }

    pub(super) fn check_open(&self) -> io::Result<()> {
        if self.closed { Err(io::Error::other("the buffer is closed")) } else { Ok(()) }
    }

    pub(super) fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn used(&self) -> u64 {
        self.segments.values().map(|segment| segment.len).sum()
    }

    /// The number behind the last record that can be read.
    pub(super) fn readable_end(&self) -> u64 {
        self.segments.values().rev().find(|segment| segment.records > 0).map_or(0, |segment| segment.end_seq)
    }

    pub(super) fn oldest_seq(&self) -> u64 {
        self.segments.values().find(|segment| segment.records > 0).map_or(self.next_seq, |segment| segment.first_seq)
    }

    pub(super) fn at(&self, seq: u64) -> Location {
        if let Some((_, segment)) = self.segments.range(..=seq).next_back()
            && seq < segment.end_seq
        {
            return Location::In(*segment);
        }
        let next = self
            .segments
            .range(seq.saturating_add(1)..)
            .map(|(_, segment)| segment)
            .find(|segment| segment.records > 0);
        next.map_or(Location::End, |segment| Location::Gap { to: segment.first_seq })
    }

    /// Who needs records before `end_seq`; `None` while no sink has registered at all.
    fn holders(&self, end_seq: u64, since_open: Duration) -> Option<Vec<Holder>> {
        if self.cursors.is_empty() {
            return None;
        }
        let registered = self.cursors.values().filter(|cursor| cursor.place.position.seq < end_seq);
        let registered = registered.map(|cursor| if cursor.required { Holder::Required } else { Holder::Optional });
        let coming =
            self.unregistered.values().filter(|place| since_open < REGISTRATION_GRACE && place.position.seq < end_seq);
        Some(registered.chain(coming.map(|_| Holder::Required)).collect())
    }

    /// The oldest segment and who holds it, unless it is being written.
    pub(super) fn oldest(&self) -> Option<(Segment, Vec<Holder>)> {
        let (key, segment) = self.segments.first_key_value()?;
        if self.active == Some(*key) {
            return None;
        }
        Some((*segment, self.holders(segment.end_seq, self.opened.elapsed())?))
    }

    /// The oldest segment when all have passed it.
    pub(super) fn passed(&self) -> Option<Segment> {
        self.oldest().and_then(|(segment, holders)| holders.is_empty().then_some(segment))
    }

    /// Says whether no later segment holds a record.
    pub(super) fn holds_newest(&self, segment: &Segment) -> bool {
        self.segments.range(segment.first_seq + 1..).all(|(_, later)| later.records == 0)
    }

    /// Moves every cursor that is not behind it over the segment.
    pub(super) fn move_over(&mut self, segment: &Segment) -> Vec<Moved> {
        let behind = self.cursors.iter_mut().filter(|(_, cursor)| cursor.place.position.seq < segment.end_seq);
        let moved = behind.map(|(name, cursor)| {
            let before = cursor.mark.filter(|mark| mark.segment == segment.id).map_or(0, |mark| mark.points);
            let lost = segment.points.saturating_sub(before);
            let from = cursor.place.position;
            cursor.place.skipped_points = cursor.place.skipped_points.saturating_add(lost);
            cursor.move_to(Position { seq: segment.end_seq, lines: 0 }, None);
            Moved { cursor: name.clone(), from, points: lost }
        });
        moved.collect()
    }

    pub(super) fn skip_to_end(&mut self, name: &str) -> Option<u64> {
        let end = Position { seq: self.readable_end(), lines: 0 };
        let points = self.cursor_stats(name, self.cursors.get(name)?).0.behind_points;
        let cursor = self.cursors.get_mut(name)?;
        if cursor.place.position < end {
            cursor.place.skipped_points = cursor.place.skipped_points.saturating_add(points);
            cursor.move_to(end, None);
        }
        Some(points)
    }

    fn removed(&self) -> Vec<RemovedCursor> {
        let left = REGISTRATION_GRACE.saturating_sub(self.opened.elapsed());
        let end = self.readable_end();
        let removed = self.unregistered.iter().map(|(file_name, place)| RemovedCursor {
            name: place::cursor_name(file_name),
            holds_for: (place.position.seq < end && !left.is_zero()).then_some(left),
        });
        removed.collect()
    }

    /// The snapshot without ages, and for each cursor where its next record lies.
    pub(super) fn stats(&self, settings: &BufferSettings) -> (Stats, Vec<Option<(Segment, u64)>>) {
        let behind = self.cursors.iter().map(|(name, cursor)| self.cursor_stats(name, cursor));
        let (cursors, next_records) = behind.unzip();
        let stats = Stats {
            bytes: self.used(),
            max_bytes: settings.max_size,
            segments: self.segments.len(),
            next_seq: self.next_seq,
            oldest_age: None,
            poisoned: self.poisoned.clone(),
            refusing: self.refusing.lasting().cloned(),
            set_aside_bytes: self.set_aside_bytes,
            cursors,
            removed: self.removed(),
        };
        (stats, next_records)
    }

    pub(super) fn cursor_stats(&self, name: &str, cursor: &CursorState) -> (CursorStats, Option<(Segment, u64)>) {
        let position = cursor.place.position;
        let mut stats = CursorStats {
            name: name.to_owned(),
            position,
            skipped_points: cursor.place.skipped_points,
            ..CursorStats::default()
        };
        let mut first = None;
        for segment in self.segments.values().filter(|segment| position.seq < segment.end_seq) {
            let start = SegmentMark::start_of(segment);
            let mark = cursor.mark.filter(|mark| mark.segment == segment.id).unwrap_or(start);
            stats.behind_records += segment.records.saturating_sub(mark.records);
            stats.behind_points += segment.points.saturating_sub(mark.points);
            stats.behind_bytes += segment.len.saturating_sub(mark.offset);
            first = first.or(Some((*segment, mark.offset)));
        }
        (stats, first)
    }
}
