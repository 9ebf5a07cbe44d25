//! The segment that is being written: write, sync, undo, and the change to a new segment. Only the committer has one.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::disk::{DiskFile, write_all_at};
use super::error::{AppendError, OpenError, open_error};
use super::frame::{self, FrameStop};
use super::paths::UNBORN;
use super::segment::Segment;
use super::shared::LogShared;
use super::state::WaitingAppend;

/// How often a poisoned log tries to begin a new segment, at most.
const POISON_RETRY: Duration = Duration::from_secs(5);
/// Zeros written ahead of the records at a time.
const ROOM: u64 = 256 << 10;
const COPY_AT_ONCE: u64 = 1 << 20;
/// A buffer above this is given back after its one large batch.
const KEPT_BUFFER: usize = 4 << 20;

pub(super) struct SegmentWriter {
    shared: Arc<LogShared>,
    active: Option<Active>,
    buffer: Vec<u8>,
    last_attempt: Option<Instant>,
}

struct Active {
    file: Box<dyn DiskFile>,
    /// With all that was written and not undone.
    written: Segment,
    /// As far as a sync has succeeded.
    durable: Segment,
    /// Where the file ends: behind the zeros that later records will replace.
    room_end: u64,
    /// Nothing more is written to it: a sync failed, or a part of a record could not be cut off.
    suspect: bool,
}

enum Failed {
    Write(io::Error),
    Sync(io::Error),
}

impl SegmentWriter {
    /// Goes on with a segment that the recovery found whole, or will begin one with the first append.
    pub(super) fn open(shared: Arc<LogShared>, active: Option<Segment>) -> Result<SegmentWriter, OpenError> {
        let active = match active {
            None => None,
            Some(segment) => {
                let path = shared.paths.segment(segment.first_seq);
                let file = shared.disk.open(&path).map_err(open_error("open the segment", &path))?;
                shared.state().active = Some(segment.first_seq);
                Some(Active { file, written: segment, durable: segment, room_end: segment.len, suspect: false })
            }
        };
        Ok(SegmentWriter { shared, active, buffer: Vec::new(), last_attempt: None })
    }

    /// Says whether there is something that a sync would make durable.
    pub(super) fn is_dirty(&self) -> bool {
        self.active.as_ref().is_some_and(|active| !active.suspect && active.written != active.durable)
    }

    /// Keeps the whole batch or nothing of it; returns the first record's number.
    pub(super) fn append(&mut self, batch: &[WaitingAppend]) -> Result<u64, AppendError> {
        self.check_poison()?;
        let first_seq = self.shared.state().next_seq;
        self.encode(first_seq, batch);
        let points = batch.iter().map(|waiting| u64::from(waiting.points)).sum();
        let batch = BatchTally { first_seq, records: batch.len() as u64, points };
        let appended = self.append_or_begin_again(batch);
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BUFFER);
        appended.map(|()| first_seq)
    }

    /// Syncs what is written (with `sync_each_commit` nothing is left to do).
    pub(super) fn sync(&mut self) {
        if let Err(Failed::Sync(e)) = self.seal() {
            tracing::error!(target: "buffer", error = %e, "a sync of the buffer failed; what it should have kept is written again");
            let next_seq = self.shared.state().next_seq;
            if let Err(Failed::Sync(again) | Failed::Write(again)) = self.begin(next_seq) {
                self.poison(&e, &again);
            }
        }
    }

    /// Ends the writing: what is ready for more records is given back.
    pub(super) fn close(&mut self) {
        self.sync();
        if let Some(active) = &self.active {
            active.cut_room();
        }
    }

    fn encode(&mut self, first_seq: u64, batch: &[WaitingAppend]) {
        let now = frame::unix_secs(SystemTime::now());
        for (seq, waiting) in (first_seq..).zip(batch) {
            frame::encode(&mut self.buffer, seq, waiting.points, now, &waiting.bytes);
        }
    }

    fn append_or_begin_again(&mut self, batch: BatchTally) -> Result<(), AppendError> {
        match self.try_append(batch) {
            Ok(()) => {
                self.heal();
                Ok(())
            }
            Err(Failed::Write(e)) if self.is_poisoned() => Err(AppendError::Poisoned(e.to_string())),
            Err(Failed::Write(e)) => Err(AppendError::Disk(e)),
            Err(Failed::Sync(e)) => {
                tracing::error!(target: "buffer", error = %e, "a sync of the buffer failed; it goes on in a new segment");
                match self.try_append(batch) {
                    Ok(()) => {
                        self.heal();
                        Ok(())
                    }
                    Err(Failed::Sync(again) | Failed::Write(again)) => Err(self.poison(&e, &again)),
                }
            }
        }
    }

    fn try_append(&mut self, batch: BatchTally) -> Result<(), Failed> {
        if self.needs_segment() {
            self.begin(batch.first_seq)?;
        }
        let shared = self.shared.clone();
        let active = self.active.as_mut().expect("a segment was begun");
        if let Err(e) = write_all_at(active.file.as_ref(), &self.buffer, active.written.len) {
            active.undo_write();
            return Err(Failed::Write(e));
        }
        let grown = active.written.grown(batch, self.buffer.len() as u64);
        if shared.settings.sync_each_commit {
            active.make_room(grown.len, shared.sizes.segment);
            if let Err(e) = active.file.sync() {
                active.suspect = true;
                return Err(Failed::Sync(e));
            }
            active.durable = grown;
        }
        active.written = grown;
        let mut state = shared.state();
        state.segments.insert(grown.first_seq, grown);
        state.next_seq = grown.end_seq;
        Ok(())
    }

    fn needs_segment(&self) -> bool {
        let full = |active: &Active| {
            active.written.records > 0 && active.written.len + self.buffer.len() as u64 > self.shared.sizes.segment
        };
        self.active.as_ref().is_none_or(|active| active.suspect || full(active))
    }

    /// Makes the present segment durable; it is suspect when that fails.
    fn seal(&mut self) -> Result<(), Failed> {
        match self.active.as_mut() {
            Some(active) if !active.suspect && active.written != active.durable => match active.file.sync() {
                Ok(()) => {
                    active.durable = active.written;
                    Ok(())
                }
                Err(e) => {
                    active.suspect = true;
                    Err(Failed::Sync(e))
                }
            },
            _ => Ok(()),
        }
    }

    /// Begins a new segment; records that the old one may not have kept move over first.
    ///
    /// It is filled under another name and then renamed, so that until then nothing has changed. A file that the rename replaces held
    /// nothing else than the records that moved: it has the same first record and none that is durable.
    fn begin(&mut self, next_seq: u64) -> Result<(), Failed> {
        self.seal()?;
        let unsure = self.active.as_ref().filter(|active| active.suspect && active.written != active.durable);
        let first_seq = unsure.map_or(next_seq, |active| active.durable.end_seq);
        let id = self.shared.state().new_id();
        let LogShared { disk, paths, .. } = self.shared.as_ref();
        let unborn = paths.log.join(UNBORN);
        let filled = self.fill(&unborn, Segment::empty(id, first_seq), unsure).and_then(|filled| {
            disk.rename(&unborn, &paths.segment(first_seq)).map_err(Failed::Write)?;
            Ok(filled)
        });
        let (mut active, whole) = filled.inspect_err(|_| {
            // What is left over is overwritten by the next attempt, or removed by the recovery.
            let _ = disk.unlink(&unborn);
        })?;
        let named = disk.sync_dir(&paths.log);
        active.suspect = named.is_err();
        self.change_to(active, whole);
        named.map_err(Failed::Sync)
    }

    /// Writes the header and the records that move; false when some of them could not be read back.
    fn fill(&self, path: &Path, segment: Segment, unsure: Option<&Active>) -> Result<(Active, bool), Failed> {
        let file = self.create(path).map_err(Failed::Write)?;
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let header = frame::encode_segment_header(segment.first_seq, created);
        write_all_at(file.as_ref(), &header, 0).map_err(Failed::Write)?;
        let mut written = segment;
        let mut whole = true;
        if let Some(old) = unsure {
            (written, whole) = copy_unsure(old, file.as_ref(), segment).map_err(Failed::Write)?;
            file.sync().map_err(Failed::Sync)?;
        }
        Ok((Active { file, written, durable: written, room_end: written.len, suspect: false }, whole))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let disk = self.shared.disk.as_ref();
        match disk.create(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                disk.unlink(path)?;
                disk.create(path)
            }
            made => made,
        }
    }

    fn change_to(&mut self, active: Active, whole: bool) {
        let mut state = self.shared.state();
        let old = self.active.take();
        if let Some(old) = &old {
            old.cut_room();
        }
        if let Some(old) = old.filter(|old| old.suspect) {
            let keep = old.durable.keep || !whole;
            state.segments.insert(old.durable.first_seq, Segment { keep, ..old.durable });
        }
        state.segments.insert(active.written.first_seq, active.written);
        state.active = Some(active.written.first_seq);
        drop(state);
        if !whole {
            tracing::error!(target: "buffer", "records that were kept could not be read back after a failed sync; they are lost");
        }
        self.active = Some(active);
    }

    fn is_poisoned(&self) -> bool {
        self.shared.state().poisoned.is_some()
    }

    fn heal(&mut self) {
        if let Some(why) = self.shared.state().poisoned.take() {
            tracing::warn!(target: "buffer", why, "the buffer works again, in a new segment");
        }
    }

    fn poison(&mut self, first: &io::Error, second: &io::Error) -> AppendError {
        let why = format!("{first}; a new segment could not be begun: {second}");
        tracing::error!(target: "buffer", why, "the buffer is poisoned");
        self.shared.state().poisoned = Some(why.clone());
        self.last_attempt = Some(Instant::now());
        AppendError::Poisoned(why)
    }

    fn check_poison(&mut self) -> Result<(), AppendError> {
        let Some(why) = self.shared.state().poisoned.clone() else {
            return Ok(());
        };
        if self.last_attempt.is_some_and(|at| at.elapsed() < POISON_RETRY) {
            return Err(AppendError::Poisoned(why));
        }
        self.last_attempt = Some(Instant::now());
        Ok(())
    }
}

impl Active {
    /// Cuts off what a failed write left; a file that cannot be cut gets nothing more.
    fn undo_write(&mut self) {
        if let Err(e) = self.file.truncate(self.written.len) {
            tracing::warn!(target: "buffer", error = %e, "a part of a record could not be cut off; the buffer goes on in a new segment");
            self.suspect = true;
        }
        self.room_end = self.written.len;
    }

    /// Fills the segment ahead of `end`, behind which it has nothing yet. Without space it grows with each record, as long as it can.
    fn make_room(&mut self, end: u64, segment_size: u64) {
        if end <= self.room_end {
            return;
        }
        self.room_end = end;
        let room = ROOM.min(segment_size.saturating_sub(end));
        match self.file.make_room(end, room) {
            Ok(made) => self.room_end += made,
            Err(e) => {
                tracing::debug!(error = %e, "no room could be made ahead");
                // What stays are zeros, which the recovery knows.
                let _ = self.file.truncate(end);
            }
        }
    }

    /// Gives back what was made ready and not used.
    fn cut_room(&self) {
        if !self.suspect && self.room_end > self.written.len {
            // As above.
            let _ = self.file.truncate(self.written.len);
        }
    }
}

/// What a batch adds.
#[derive(Clone, Copy)]
struct BatchTally {
    first_seq: u64,
    records: u64,
    points: u64,
}

impl Segment {
    fn grown(self, batch: BatchTally, bytes: u64) -> Segment {
        Segment {
            end_seq: batch.first_seq + batch.records,
            len: self.len + bytes,
            records: self.records + batch.records,
            points: self.points + batch.points,
            ..self
        }
    }
}

/// Copies the records behind the durable ones, as far as they can be read back; false when that was not all.
fn copy_unsure(old: &Active, to: &dyn DiskFile, mut written: Segment) -> io::Result<(Segment, bool)> {
    let mut at = old.durable.len;
    let mut bytes = Vec::new();
    loop {
        let Ok(run) = frame::read_run(old.file.as_ref(), at, old.written.len, COPY_AT_ONCE) else {
            return Ok((written, false));
        };
        bytes.clear();
        for record in &run.frames {
            frame::encode(&mut bytes, record.seq, record.points, record.written_secs, &record.payload);
        }
        write_all_at(to, &bytes, written.len)?;
        for record in &run.frames {
            let batch = BatchTally { first_seq: record.seq, records: 1, points: record.points.into() };
            written = written.grown(batch, record.end() - record.at);
        }
        at = run.end;
        match run.stop {
            FrameStop::Enough => {}
            FrameStop::End => return Ok((written, true)),
            FrameStop::Damage => return Ok((written, false)),
        }
    }
}
