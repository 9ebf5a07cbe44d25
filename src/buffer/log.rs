//! The log's shared state, its front door (`append`, `cursor`, `stats`, `close`) and the questions the parts ask about the state.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use super::cap::{self, Holder, Sizes};
use super::cursor::Cursor;
use super::disk::{Disk, LockGuard};
use super::place::{self, Place};
use super::writer::Writer;
use crate::telemetry::trouble::Trouble;

use super::{
    AppendError, CursorStats, Lost, OpenError, Position, Recovered, RemovedCursor, Settings, Stats, commit, frame,
    recover,
};

/// Records that wait for the committer, in bytes.
const MAX_WAITING: u64 = 64 << 20;
/// Small records may wait beyond that, so that a few large ones do not keep them out.
const MAX_WAITING_SMALL: u64 = MAX_WAITING + (8 << 20);
/// A waiting queue empties within a commit or two.
const QUEUE_RETRY: Duration = Duration::from_millis(200);
/// How long a cursor file holds its segments for a sink that has not registered yet.
const REGISTRATION_GRACE: Duration = Duration::from_secs(60);

/// The log; clones share it. The last clone to go closes it.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    door: Arc<Door>,
}

/// Closes the log with its last clone.
struct Door {
    shared: Arc<Shared>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}

impl Door {
    fn close(&self) {
        self.shared.state().closing = true;
        self.shared.work.notify_all();
        let mut committer = self.committer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = committer.take()
            && thread.join().is_err()
        {
            tracing::error!(target: "buffer", "the buffer's committer panicked; what waited was refused");
        }
    }
}

impl Log {
    /// Opens the log in `settings.dir`, makes it when there is none, recovers what lies there and starts the committer.
    ///
    /// # Errors
    /// [`OpenError::Locked`] when another process has it, [`OpenError::Io`] when the directory cannot be read or written.
    pub fn open(settings: Settings, disk: Arc<dyn Disk>) -> Result<(Log, Recovered), OpenError> {
        let paths = Paths::below(&settings.dir);
        let guard = prepare(disk.as_ref(), &paths, &settings)?;
        let found = recover::recover(disk.as_ref(), &paths)?;
        let (active, recovered) = (found.active, found.recovered.clone());
        let shared = Arc::new(Shared::new(settings, disk, paths, guard, found));
        let writer = Writer::open(shared.clone(), active)?;
        let thread = std::thread::Builder::new().name("buffer".into());
        let committer = thread.spawn({
            let shared = shared.clone();
            move || commit::run(&shared, writer)
        });
        let committer = committer.map_err(open_error("start the committer for", &shared.paths.log))?;
        let door = Arc::new(Door { shared: shared.clone(), committer: Mutex::new(Some(committer)) });
        Ok((Log { shared, door }, recovered))
    }

    /// Keeps one record and returns its number once it is on disk.
    ///
    /// A caller that stops waiting does not take the record back: it may be kept all the same.
    pub async fn append(&self, points: u32, bytes: Bytes) -> Result<u64, AppendError> {
        let kept = self.shared.enqueue(points, bytes)?;
        kept.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Keeps several records, in their order and as a rule with one sync; each has an answer of its own, as from [`Log::append`].
    pub async fn append_all(&self, records: impl IntoIterator<Item = (u32, Bytes)>) -> Vec<Result<u64, AppendError>> {
        // All wait before the first answer is waited for.
        let waiting: Vec<_> = records.into_iter().map(|(points, bytes)| self.shared.enqueue(points, bytes)).collect();
        let mut answers = Vec::with_capacity(waiting.len());
        for kept in waiting {
            answers.push(match kept {
                Ok(kept) => kept.await.unwrap_or(Err(AppendError::Closed)),
                Err(refused) => Err(refused),
            });
        }
        answers
    }

    /// Opens a sink's cursor where it was, or durably at the oldest record when it is new.
    ///
    /// From now on the cursor holds the segments that it has not passed, also after it was dropped, until [`Log::forget`].
    ///
    /// # Errors
    /// `AlreadyExists` while another cursor of that name is alive; else what the disk says.
    pub fn cursor(&self, name: &str, required: bool) -> io::Result<Cursor> {
        self.shared.register(name, required)?;
        Ok(Cursor::new(self.shared.clone(), name))
    }

    /// Forgets a sink that was removed for good: its cursor holds nothing more and its file goes.
    ///
    /// # Errors
    /// `ResourceBusy` while its cursor is alive; else what the disk says.
    pub fn forget(&self, name: &str) -> io::Result<()> {
        let mut state = self.shared.state();
        state.check_open()?;
        if state.cursors.get(name).is_some_and(|cursor| cursor.live) {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, format!("the cursor `{name}` is in use")));
        }
        let file_name = place::file_name(name);
        state.cursors.remove(name);
        state.unregistered.remove(&file_name);
        state.trim = true;
        drop(state);
        self.shared.work.notify_one();
        match self.shared.disk.unlink(&self.shared.paths.cursors.join(file_name)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Lets go of a sink that was removed from the settings while the log is open: it holds nothing more, and its place stays until it
    /// is opened again or forgotten. Does nothing for a name that is not registered.
    ///
    /// # Errors
    /// `ResourceBusy` while its cursor is alive; when the log is closed.
    pub fn retire(&self, name: &str) -> io::Result<()> {
        let mut state = self.shared.state();
        state.check_open()?;
        if state.cursors.get(name).is_some_and(|cursor| cursor.live) {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, format!("the cursor `{name}` is in use")));
        }
        if let Some(cursor) = state.cursors.remove(name) {
            state.unregistered.insert(place::file_name(name), cursor.place);
            state.trim = true;
        }
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Moves a sink's cursor behind the newest record and returns how many points it misses; they are counted as skipped.
    ///
    /// # Errors
    /// `NotFound` when no such cursor is registered; when the log is closed.
    pub fn skip_to_end(&self, name: &str) -> io::Result<u64> {
        let mut state = self.shared.state();
        state.check_open()?;
        let points = state.skip_to_end(name).ok_or(io::ErrorKind::NotFound)?;
        state.trim = true;
        drop(state);
        self.shared.work.notify_one();
        Ok(points)
    }

    /// A snapshot; reads a few bytes from disk for each cursor to tell the age of its next record.
    pub fn stats(&self) -> Stats {
        let (mut stats, next_records) = self.shared.state().stats(&self.shared.settings);
        let now = unix_secs(SystemTime::now());
        for (cursor, next) in stats.cursors.iter_mut().zip(next_records) {
            cursor.oldest_age = next.and_then(|(segment, offset)| self.shared.age(&segment, offset, now));
        }
        stats.oldest_age = stats.cursors.iter().filter_map(|cursor| cursor.oldest_age).max();
        stats
    }

    /// From now on each record that the cap takes from a sink is told, before it goes; a second call changes nothing.
    pub fn tell_losses(&self, tell: impl Fn(&Lost<'_>) + Send + Sync + 'static) {
        // The first one stays.
        let _ = self.shared.tell_losses.set(Box::new(tell));
    }

    /// Commits what waits, saves the cursors and ends the committer; later appends are [`AppendError::Closed`]. Does nothing the second time.
    pub fn close(&self) {
        self.door.close();
    }
}

/// The directories of a log.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    pub log: PathBuf,
    pub cursors: PathBuf,
    pub set_aside: PathBuf,
    lock: PathBuf,
}

impl Paths {
    fn below(dir: &Path) -> Paths {
        Paths {
            log: dir.join("log"),
            cursors: dir.join("cursors"),
            set_aside: dir.join("set_aside"),
            lock: dir.join("lock"),
        }
    }

    pub(super) fn segment(&self, first_seq: u64) -> PathBuf {
        self.log.join(segment_name(first_seq))
    }
}

pub(super) fn segment_name(first_seq: u64) -> String {
    format!("{first_seq:020}.log")
}

fn prepare(disk: &dyn Disk, paths: &Paths, settings: &Settings) -> Result<LockGuard, OpenError> {
    for dir in [&settings.dir, &paths.log, &paths.cursors, &paths.set_aside] {
        disk.create_dir(dir).map_err(open_error("make the directory", dir))?;
    }
    let guard = disk.lock(&paths.lock).map_err(open_error("lock", &paths.lock))?;
    let guard = guard.ok_or_else(|| OpenError::Locked { dir: settings.dir.clone() })?;
    // Also `log`: a segment whose name an earlier process could not make durable must not be written on.
    for dir in [&settings.dir, &paths.log] {
        disk.sync_dir(dir).map_err(open_error("sync the directory", dir))?;
    }
    Ok(guard)
}

pub(super) fn open_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { what, path: path.to_path_buf(), source }
}

pub(super) type TellLosses = Box<dyn Fn(&Lost<'_>) + Send + Sync>;

/// What all parts of one log hold together.
pub(super) struct Shared {
    pub settings: Settings,
    pub disk: Arc<dyn Disk>,
    pub paths: Paths,
    pub sizes: Sizes,
    pub tell_losses: OnceLock<TellLosses>,
    /// Wakes the committer.
    pub work: Condvar,
    /// Wakes the cursors; the value means nothing.
    pub grown: watch::Sender<()>,
    state: Mutex<State>,
    guard: Mutex<Option<LockGuard>>,
}

impl Shared {
    fn new(settings: Settings, disk: Arc<dyn Disk>, paths: Paths, guard: LockGuard, found: recover::Found) -> Shared {
        let sizes = cap::sizes(settings.max_size);
        let state = Mutex::new(State::new(found));
        let (work, grown) = (Condvar::new(), watch::Sender::new(()));
        Shared {
            settings,
            disk,
            paths,
            sizes,
            tell_losses: OnceLock::new(),
            work,
            grown,
            state,
            guard: Mutex::new(Some(guard)),
        }
    }

    /// The state. A panic elsewhere leaves it usable: every change under the lock is a few plain assignments.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(&self, points: u32, bytes: Bytes) -> Result<oneshot::Receiver<Result<u64, AppendError>>, AppendError> {
        let len = bytes.len() as u64;
        if len > self.sizes.record {
            return Err(AppendError::TooLarge { bytes: len, max: self.sizes.record });
        }
        let mut state = self.state();
        if state.closing {
            return Err(AppendError::Closed);
        }
        let max_waiting = if len <= cap::SMALL_RECORD { MAX_WAITING_SMALL } else { MAX_WAITING };
        if state.queued_bytes > 0 && state.queued_bytes + len > max_waiting {
            return Err(AppendError::Full {
                used: state.used(),
                max: self.settings.max_size,
                retry_after: QUEUE_RETRY,
            });
        }
        let (reply, kept) = oneshot::channel();
        state.queued_bytes += len + frame::FRAME_HEADER;
        state.queue.push_back(Waiting { points, bytes, reply });
        let is_enough = state.queue.len() >= state.wanted;
        drop(state);
        if is_enough {
            self.work.notify_one();
        }
        Ok(kept)
    }

    fn register(&self, name: &str, required: bool) -> io::Result<()> {
        let file_name = place::file_name(name);
        let mut state = self.state();
        state.check_open()?;
        if let Some(cursor) = state.cursors.get_mut(name) {
            if cursor.live {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    format!("the cursor `{name}` is already in use"),
                ));
            }
            (cursor.live, cursor.required) = (true, required);
            return Ok(());
        }
        let place = match state.unregistered.remove(&file_name) {
            Some(place) => place,
            None => {
                // Under the lock, so that nothing is let go between the choice and the promise. It happens once in a sink's life.
                let position = Position { seq: state.oldest_seq(), lines: 0 };
                let place = Place { position, skipped_points: 0 };
                place::save_durably(self.disk.as_ref(), &self.paths.cursors, &file_name, &place)?;
                place
            }
        };
        state.cursors.insert(name.to_owned(), CursorState::new(required, place));
        Ok(())
    }

    /// Writes a cursor's file anew. Savers of one cursor come one after the other, so an older place never replaces a newer one.
    pub(super) fn save_cursor(&self, name: &str) -> io::Result<()> {
        let Some(turn) = self.state().cursors.get(name).map(|cursor| cursor.saving.clone()) else {
            return Ok(());
        };
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let place = match self.state().cursors.get_mut(name) {
            Some(cursor) => {
                cursor.unsaved = false;
                cursor.place
            }
            None => return Ok(()),
        };
        let saved = place::save(self.disk.as_ref(), &self.paths.cursors, &place::file_name(name), &place);
        if saved.is_err()
            && let Some(cursor) = self.state().cursors.get_mut(name)
        {
            cursor.unsaved = true;
        }
        saved
    }

    /// The next chores write these cursors' files anew: a file whose sync failed is not to be trusted.
    pub(super) fn write_anew(&self, names: &[String]) {
        let mut state = self.state();
        for name in names {
            if let Some(cursor) = state.cursors.get_mut(name) {
                (cursor.unsaved, cursor.unsynced) = (true, true);
            }
        }
    }

    fn age(&self, segment: &Segment, offset: u64, now_secs: u32) -> Option<Duration> {
        let file = self.disk.open(&self.paths.segment(segment.first_seq)).ok()?;
        let header = frame::peek(file.as_ref(), offset).ok()??;
        Some(Duration::from_secs(now_secs.saturating_sub(header.written_secs).into()))
    }

    /// Ends everything: nothing is taken, nobody waits, another may open the log.
    pub(super) fn shut(&self) {
        let refused = {
            let mut state = self.state();
            (state.closing, state.closed) = (true, true);
            std::mem::take(&mut state.queue)
        };
        drop(refused);
        self.guard.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.grown.send_modify(|()| {});
    }
}

/// An append that waits for its commit.
pub(super) struct Waiting {
    pub points: u32,
    pub bytes: Bytes,
    pub reply: oneshot::Sender<Result<u64, AppendError>>,
}

impl Waiting {
    pub(super) fn frame_len(&self) -> u64 {
        frame::FRAME_HEADER + self.bytes.len() as u64
    }
}

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
pub(super) struct Mark {
    pub segment: u64,
    pub seq: u64,
    pub offset: u64,
    pub records: u64,
    pub points: u64,
}

impl Mark {
    pub(super) fn start_of(segment: &Segment) -> Mark {
        Mark { segment: segment.id, seq: segment.first_seq, offset: frame::SEGMENT_HEADER, records: 0, points: 0 }
    }

    /// The place behind a frame that starts here.
    pub(super) fn behind(&self, frame: &frame::Frame) -> Mark {
        let (records, points) = (self.records + 1, self.points + u64::from(frame.points));
        Mark { segment: self.segment, seq: frame.seq + 1, offset: frame.end(), records, points }
    }
}

pub(super) struct CursorState {
    pub required: bool,
    pub live: bool,
    pub place: Place,
    /// Where `place` lies, when known.
    pub mark: Option<Mark>,
    /// The file says less than `place`.
    pub unsaved: bool,
    /// The file may not survive a power cut.
    pub unsynced: bool,
    saving: Arc<Mutex<()>>,
}

impl CursorState {
    fn new(required: bool, place: Place) -> CursorState {
        CursorState { required, live: true, place, mark: None, unsaved: false, unsynced: false, saving: Arc::default() }
    }

    pub(super) fn move_to(&mut self, position: Position, mark: Option<Mark>) {
        (self.place.position, self.mark) = (position, mark);
        (self.unsaved, self.unsynced) = (true, true);
    }
}

pub(super) struct State {
    pub queue: VecDeque<Waiting>,
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
    pub refusing: Trouble,
    /// Cursors cannot be saved.
    pub unsaved: Trouble,
    pub set_aside_bytes: u64,
    next_id: u64,
    /// Cursor files whose sinks have not registered, by file name.
    unregistered: BTreeMap<String, Place>,
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
pub(super) enum At {
    In(Segment),
    /// It is lost; the next record that is there has this number.
    Gap {
        to: u64,
    },
    /// Nothing there yet.
    End,
}

impl State {
    fn new(found: recover::Found) -> State {
        State {
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
            refusing: Trouble::default(),
            unsaved: Trouble::default(),
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

    fn oldest_seq(&self) -> u64 {
        self.segments.values().find(|segment| segment.records > 0).map_or(self.next_seq, |segment| segment.first_seq)
    }

    pub(super) fn at(&self, seq: u64) -> At {
        if let Some((_, segment)) = self.segments.range(..=seq).next_back()
            && seq < segment.end_seq
        {
            return At::In(*segment);
        }
        let next = self
            .segments
            .range(seq.saturating_add(1)..)
            .map(|(_, segment)| segment)
            .find(|segment| segment.records > 0);
        next.map_or(At::End, |segment| At::Gap { to: segment.first_seq })
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

    fn skip_to_end(&mut self, name: &str) -> Option<u64> {
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
    fn stats(&self, settings: &Settings) -> (Stats, Vec<Option<(Segment, u64)>>) {
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
            let start = Mark::start_of(segment);
            let mark = cursor.mark.filter(|mark| mark.segment == segment.id).unwrap_or(start);
            stats.behind_records += segment.records.saturating_sub(mark.records);
            stats.behind_points += segment.points.saturating_sub(mark.points);
            stats.behind_bytes += segment.len.saturating_sub(mark.offset);
            first = first.or(Some((*segment, mark.offset)));
        }
        (stats, first)
    }
}

/// Seconds since 1970, at the ends of the range for clocks that are far off.
pub(super) fn unix_secs(now: SystemTime) -> u32 {
    let secs = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    u32::try_from(secs).unwrap_or(u32::MAX)
}
