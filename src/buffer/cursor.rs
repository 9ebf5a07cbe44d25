//! One sink's place in the log: reads on from what is confirmed, steps over what is lost and counts it.

use std::io;
use std::sync::Arc;

use tokio::sync::watch;

use super::disk::DiskFile;
use super::error::ReadError;
use super::frame::{self, FrameRun, FrameStop, RecordFrame};
use super::record::{LoggedRecord, Position};
use super::segment::{Segment, SegmentMark};
use super::shared::LogShared;
use super::state::Location;

/// Read at once while a place is searched.
const SEARCH_CHUNK: u64 = 1 << 20;

/// One sink's place in the log.
pub struct Cursor {
    shared: Arc<LogShared>,
    name: String,
    grown: watch::Receiver<()>,
    /// The segment read last, by its id.
    file: Option<(u64, Box<dyn DiskFile>)>,
    /// Where the records of the last batch lie, and the place behind them.
    marks: Vec<SegmentMark>,
}

enum CursorStep {
    Batch(Vec<LoggedRecord>),
    /// The place moved over something that is lost.
    Skipped,
    Nothing,
}

/// Where a cursor goes when it steps over a loss.
struct Skip {
    to: u64,
    mark: Option<SegmentMark>,
    /// Points in between, where known.
    points: Option<u64>,
}

impl Cursor {
    pub(super) fn new(shared: Arc<LogShared>, name: &str) -> Cursor {
        let grown = shared.grown.subscribe();
        let mut cursor = Cursor { shared, name: name.to_owned(), grown, file: None, marks: Vec::new() };
        // For the numbers of `stats` only; `next` searches again and reports what is wrong.
        let _ = cursor.settle();
        cursor
    }

    /// Waits for records behind the confirmed place and returns as many whole ones, in order and without a gap, as have `max_bytes`
    /// together; the first one comes even when it is larger. The same again until they are confirmed.
    pub async fn next(&mut self, max_bytes: usize) -> Result<Vec<LoggedRecord>, ReadError> {
        loop {
            self.grown.borrow_and_update();
            match self.step(max_bytes as u64)? {
                CursorStep::Batch(entries) => return Ok(entries),
                CursorStep::Skipped => {}
                CursorStep::Nothing => self.grown.changed().await.map_err(|_| ReadError::Closed)?,
            }
        }
    }

    /// The confirmed place.
    pub fn position(&self) -> Position {
        self.shared.state().cursors.get(&self.name).map_or_else(Position::default, |cursor| cursor.place.position)
    }

    /// Confirms all records before `upto.seq` and `upto.lines` lines of that record. A place behind the present one changes nothing.
    ///
    /// # Errors
    /// `InvalidInput` for a place beyond the last record. What the disk says when the place could not be saved: it stands all the same
    /// and is saved with the next confirmation or within a second or so.
    pub fn confirm(&mut self, upto: Position) -> io::Result<()> {
        let mark = self.marks.binary_search_by_key(&upto.seq, |mark| mark.seq).ok().map(|found| self.marks[found]);
        let mut state = self.shared.state();
        state.check_open()?;
        let end = Position { seq: state.readable_end(), lines: 0 };
        let Some(cursor) = state.cursors.get_mut(&self.name) else {
            return Ok(());
        };
        if upto <= cursor.place.position {
            return Ok(());
        }
        if upto > end {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("record {} is beyond the end of the buffer", upto.seq),
            ));
        }
        let wake = !cursor.unsynced;
        cursor.move_to(upto, mark);
        let trim = state.passed().is_some();
        state.trim |= trim;
        drop(state);
        if wake || trim {
            self.shared.work.notify_one();
        }
        if mark.is_none() {
            // As in `new`.
            let _ = self.settle();
        }
        self.shared.save_cursor(&self.name)
    }

    /// Says whether there are records behind the confirmed place.
    pub fn waiting(&self) -> bool {
        let state = self.shared.state();
        state.cursors.get(&self.name).is_some_and(|cursor| cursor.place.position.seq < state.readable_end())
    }

    /// Points behind the confirmed place.
    pub fn behind_points(&self) -> u64 {
        let state = self.shared.state();
        state.cursors.get(&self.name).map_or(0, |cursor| state.cursor_stats(&self.name, cursor).0.behind_points)
    }

    fn step(&mut self, max_bytes: u64) -> Result<CursorStep, ReadError> {
        let (position, mark, at) = {
            let state = self.shared.state();
            let cursor = state.cursors.get(&self.name).filter(|_| !state.closed).ok_or(ReadError::Closed)?;
            (cursor.place.position, cursor.mark, state.at(cursor.place.position.seq))
        };
        let read = match at {
            Location::End => return Ok(CursorStep::Nothing),
            Location::Gap { to } => Err(Skip { to, mark: None, points: None }),
            Location::In(segment) => {
                self.read_from(&segment, position.seq, mark, max_bytes).map_err(ReadError::Disk)?
            }
        };
        match read {
            Ok(entries) => Ok(CursorStep::Batch(entries)),
            Err(skip) => {
                self.skip(position, &skip);
                Ok(CursorStep::Skipped)
            }
        }
    }

    /// Reads a batch that starts with `seq`, or says what to step over.
    fn read_from(
        &mut self,
        segment: &Segment,
        seq: u64,
        mark: Option<SegmentMark>,
        max_bytes: u64,
    ) -> io::Result<Result<Vec<LoggedRecord>, Skip>> {
        let Some(file) = self.open(segment)? else {
            let before = mark.filter(|mark| mark.segment == segment.id).map_or(0, |mark| mark.points);
            return Ok(Err(Skip {
                to: segment.end_seq,
                mark: None,
                points: Some(segment.points.saturating_sub(before)),
            }));
        };
        let mark = match mark.filter(|mark| mark.segment == segment.id && mark.seq == seq) {
            Some(mark) => mark,
            None => locate(file, segment, seq)?,
        };
        let run = frame::read_run(file, mark.offset, segment.len, max_bytes)?;
        let mut batch = BatchBuilder { entries: Vec::new(), marks: vec![mark], bytes: 0 };
        batch.take(&run.frames, seq);
        if batch.entries.is_empty() {
            return step_over(file, segment, seq, mark, &run).map(Err);
        }
        if run.stop == FrameStop::End {
            self.read_on(&mut batch, max_bytes);
        }
        self.marks = batch.marks;
        Ok(Ok(batch.entries))
    }

    /// Fills the batch from the following segments. What is wrong there is the business of the next read.
    fn read_on(&mut self, batch: &mut BatchBuilder, max_bytes: u64) {
        while batch.bytes < max_bytes {
            let seq = batch.end().seq;
            let Location::In(segment) = self.shared.state().at(seq) else {
                return;
            };
            let start = SegmentMark::start_of(&segment);
            let Ok(Some(file)) = self.open(&segment) else {
                return;
            };
            let left = max_bytes - batch.bytes;
            let Ok(mut run) = frame::read_run(file, start.offset, segment.len, left) else {
                return;
            };
            // The record that follows, and no other: a segment that begins with an earlier one is damaged, and brings nothing on.
            let is_next = |first: &RecordFrame| first.seq == seq && first.payload.len() as u64 <= left;
            if start.seq != seq || !run.frames.first().is_some_and(is_next) {
                return;
            }
            // The place behind the batch so far is the start of this segment.
            *batch.marks.last_mut().expect("a batch ends with a mark") = start;
            let stop = run.stop;
            batch.take(&std::mem::take(&mut run.frames), seq);
            if stop != FrameStop::End {
                return;
            }
        }
    }

    /// The segment's file; `None` when somebody removed it.
    fn open(&mut self, segment: &Segment) -> io::Result<Option<&dyn DiskFile>> {
        if self.file.as_ref().is_none_or(|(id, _)| *id != segment.id) {
            match self.shared.disk.open(&self.shared.paths.segment(segment.first_seq)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                file => self.file = Some((segment.id, file?)),
            }
        }
        Ok(self.file.as_ref().map(|(_, file)| file.as_ref()))
    }

    fn settle(&mut self) -> io::Result<()> {
        let seq = self.position().seq;
        let Location::In(segment) = self.shared.state().at(seq) else {
            return Ok(());
        };
        let Some(file) = self.open(&segment)? else {
            return Ok(());
        };
        let mark = locate(file, &segment, seq)?;
        if let Some(cursor) = self.shared.state().cursors.get_mut(&self.name)
            && cursor.place.position.seq == seq
        {
            cursor.mark = Some(mark);
        }
        Ok(())
    }

    /// Moves over what is lost and counts it, once.
    fn skip(&mut self, from: Position, skip: &Skip) {
        let records = skip.to.saturating_sub(from.seq);
        let points = skip.points.unwrap_or(0).max(records);
        let mut state = self.shared.state();
        let Some(cursor) = state.cursors.get_mut(&self.name).filter(|cursor| cursor.place.position == from) else {
            // Moved at the cap meanwhile, and counted there.
            return;
        };
        if records == 0 {
            cursor.mark = skip.mark;
            return;
        }
        cursor.place.skipped_points = cursor.place.skipped_points.saturating_add(points);
        cursor.move_to(Position { seq: skip.to, lines: 0 }, skip.mark);
        state.trim = true;
        drop(state);
        self.shared.work.notify_one();
        tracing::error!(target: "buffer", cursor = self.name,
            from = from.seq,
            to = skip.to,
            records,
            points,
            "records of the buffer are lost to this sink"
        );
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        if let Some(cursor) = self.shared.state().cursors.get_mut(&self.name) {
            cursor.live = false;
        }
    }
}

/// A batch in the making.
struct BatchBuilder {
    entries: Vec<LoggedRecord>,
    marks: Vec<SegmentMark>,
    bytes: u64,
}

impl BatchBuilder {
    fn end(&self) -> SegmentMark {
        *self.marks.last().expect("a batch ends with a mark")
    }

    /// Takes the frames from `seq` on up to the first gap; smaller numbers are left-overs.
    fn take(&mut self, frames: &[RecordFrame], mut seq: u64) {
        for frame in frames {
            if frame.seq > seq {
                return;
            }
            let end = self.end();
            if frame.seq < seq {
                let past = SegmentMark { offset: frame.end(), ..end };
                *self.marks.last_mut().expect("a batch ends with a mark") = past;
                continue;
            }
            self.marks.push(end.behind(frame));
            self.bytes += frame.payload.len() as u64;
            self.entries.push(LoggedRecord { seq, points: frame.points, bytes: frame.payload.clone() });
            seq += 1;
        }
    }
}

/// Finds the first record of a segment with `seq` or more.
fn locate(file: &dyn DiskFile, segment: &Segment, seq: u64) -> io::Result<SegmentMark> {
    let mut mark = SegmentMark::start_of(segment);
    loop {
        let run = frame::read_run(file, mark.offset, segment.len, SEARCH_CHUNK)?;
        for frame in &run.frames {
            if frame.seq >= seq {
                return Ok(SegmentMark { seq: frame.seq, offset: frame.at, ..mark });
            }
            mark = mark.behind(frame);
        }
        match run.stop {
            FrameStop::Enough => {}
            FrameStop::End => {
                return Ok(SegmentMark { seq: segment.end_seq, offset: segment.len, ..mark });
            }
            FrameStop::Damage => match frame::find_next(file, run.end + 1, segment.len, mark.seq..segment.end_seq)? {
                Some((offset, found)) => mark = SegmentMark { seq: found, offset, ..mark },
                None => {
                    return Ok(SegmentMark { seq: segment.end_seq, offset: segment.len, ..mark });
                }
            },
        }
    }
}

/// Decides where to go on when there is no record `seq` at the place where it should be.
fn step_over(file: &dyn DiskFile, segment: &Segment, seq: u64, mark: SegmentMark, run: &FrameRun) -> io::Result<Skip> {
    let to_end = |points| Skip { to: segment.end_seq, mark: None, points };
    if let Some(later) = run.frames.iter().find(|frame| frame.seq > seq) {
        let mark = SegmentMark { seq: later.seq, offset: later.at, ..mark };
        return Ok(Skip { to: later.seq, mark: Some(mark), points: None });
    }
    if run.stop != FrameStop::Damage {
        return Ok(to_end(None));
    }
    let points = believable_points(file, segment, seq, run.end)?;
    match frame::find_next(file, run.end + 1, segment.len, seq..segment.end_seq)? {
        Some((offset, found)) => Ok(Skip {
            to: found,
            mark: Some(SegmentMark { seq: found, offset, ..mark }),
            points: points(found, offset),
        }),
        None => Ok(to_end(points(segment.end_seq, segment.len))),
    }
}

/// The points of a damaged record, when only its payload seems to be hit: its header says the expected number and ends where the
/// next record was found.
fn believable_points(
    file: &dyn DiskFile,
    segment: &Segment,
    seq: u64,
    at: u64,
) -> io::Result<impl Fn(u64, u64) -> Option<u64>> {
    let header = if at < segment.len { frame::peek(file, at)? } else { None };
    Ok(move |next_seq, next_at| {
        let header =
            header.filter(|header| header.seq == seq && next_seq == seq + 1 && at + header.frame_len() == next_at)?;
        Some(header.points.into())
    })
}
