//! The committer: one thread that takes all that waits, keeps it with one write and one sync, and does the log's chores in between.

use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::cap::{self, CapRoom};
use super::error::AppendError;
use super::frame::{self, FrameStop, SEGMENT_HEADER};
use super::record::Lost;
use super::segment::Segment;
use super::shared::{LogShared, TellLosses};
use super::state::{LogState, Moved, WaitingAppend};
use super::writer::SegmentWriter;
use super::{place, recover};
use crate::words::count;

/// One write at most, unless a single record is larger.
const MAX_BATCH: u64 = 4 << 20;
/// The time between two syncs of what may wait: cursors, and records with `sync_each_commit = false`.
const CHORE_PAUSE: Duration = Duration::from_secs(1);
/// What the wait for more records may cost at most.
const GATHER_MAX: Duration = Duration::from_millis(2);
const READ_AT_ONCE: u64 = 1 << 20;
/// At the cap: until the slowest sink has passed a segment.
const CAP_RETRY: Duration = Duration::from_secs(5);

/// Runs until the log closes.
pub(super) fn run(shared: &Arc<LogShared>, mut writer: SegmentWriter) {
    // Also when this thread panics: nobody may wait for an answer that never comes.
    let _end = ShutAtEnd(shared);
    let mut last_chores = Instant::now();
    let mut rhythm = Rhythm::default();
    loop {
        let due = last_chores + CHORE_PAUSE;
        let work = wait(shared, writer.is_dirty(), due, rhythm);
        if work.trim {
            let_passed_go(shared);
        }
        if !work.batch.is_empty() {
            let (began, records) = (Instant::now(), work.batch.len());
            commit(shared, &mut writer, work.batch);
            rhythm = Rhythm { together: records + shared.state().queue.len(), took: began.elapsed() };
        }
        if work.last || Instant::now() >= due {
            if work.last {
                writer.close();
            } else {
                writer.sync();
            }
            sync_cursors(shared);
            last_chores = Instant::now();
        }
        if work.last {
            return;
        }
    }
}

struct ShutAtEnd<'a>(&'a LogShared);

impl Drop for ShutAtEnd<'_> {
    fn drop(&mut self) {
        self.0.shut();
    }
}

struct CommitWork {
    batch: Vec<WaitingAppend>,
    trim: bool,
    /// The log closes and nothing waits.
    last: bool,
}

/// How it went last time.
#[derive(Debug, Clone, Copy, Default)]
struct Rhythm {
    /// Records of the last commit, and those that came meanwhile.
    together: usize,
    took: Duration,
}

impl Rhythm {
    /// How long to wait for others when this many are there.
    fn patience(&self, waiting: usize) -> Duration {
        if waiting < self.together { (self.took / 2).min(GATHER_MAX) } else { Duration::ZERO }
    }
}

/// Waits until as many are there as last time, but not long.
fn gather<'a>(shared: &'a LogShared, mut state: MutexGuard<'a, LogState>, rhythm: Rhythm) -> MutexGuard<'a, LogState> {
    let until = Instant::now() + rhythm.patience(state.queue.len());
    state.wanted = rhythm.together;
    while state.queue.len() < rhythm.together && !state.closing {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        state = shared.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    state.wanted = 0;
    state
}

/// Waits for something to do, or until the chores are due if there are any.
fn wait(shared: &LogShared, dirty: bool, due: Instant, rhythm: Rhythm) -> CommitWork {
    let mut state = shared.state();
    loop {
        if !state.queue.is_empty() || state.closing || state.trim {
            if !state.queue.is_empty() {
                state = gather(shared, state, rhythm);
            }
            let trim = std::mem::take(&mut state.trim);
            let batch = take_batch(&mut state, MAX_BATCH.min(shared.sizes.segment));
            return CommitWork { last: state.closing && batch.is_empty(), trim, batch };
        }
        let nothing = CommitWork { batch: Vec::new(), trim: false, last: false };
        let chores = dirty || state.cursors.values().any(|cursor| cursor.unsynced);
        let left = due.saturating_duration_since(Instant::now());
        state = match (chores, left.is_zero()) {
            (false, _) => shared.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            (true, true) => return nothing,
            (true, false) => shared.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
        };
    }
}

fn take_batch(state: &mut LogState, max: u64) -> Vec<WaitingAppend> {
    let mut bytes = 0;
    let fitting = state.queue.iter().take_while(|waiting| {
        bytes += waiting.frame_len();
        bytes <= max
    });
    let count = fitting.count().max(1).min(state.queue.len());
    let batch: Vec<WaitingAppend> = state.queue.drain(..count).collect();
    state.queued_bytes -= batch.iter().map(WaitingAppend::frame_len).sum::<u64>();
    batch
}

fn commit(shared: &LogShared, writer: &mut SegmentWriter, batch: Vec<WaitingAppend>) {
    let batch = admit(shared, batch);
    if batch.is_empty() {
        return;
    }
    match writer.append(&batch) {
        Ok(first_seq) => {
            taken_again(shared);
            shared.grown.send_modify(|()| {});
            for (seq, waiting) in (first_seq..).zip(batch) {
                // The caller may have stopped waiting; its record stays.
                let _ = waiting.reply.send(Ok(seq));
            }
        }
        Err(e) => {
            refuses(shared, &e, batch.len());
            for waiting in batch {
                // As above; nothing was kept.
                let _ = waiting.reply.send(Err(same(&e)));
            }
        }
    }
}

/// Says once that records are refused, and counts them.
fn refuses(shared: &LogShared, error: &AppendError, records: usize) {
    // The others are about one record, or about the stop.
    if !matches!(error, AppendError::Full { .. } | AppendError::Disk(_) | AppendError::Poisoned(_)) {
        return;
    }
    let (why, now) = (error.with_cause(), Instant::now());
    let news = (0..records).filter(|_| shared.state().refusing.happens(&why, now)).count();
    if news > 0 {
        tracing::error!(target: "buffer", "reports are refused: {why}; further refusals are only counted (`pythond status`)");
    }
}

fn taken_again(shared: &LogShared) {
    let over = shared.state().refusing.goes_well(Instant::now());
    if let Some(over) = over {
        tracing::warn!(target: "buffer", "reports are taken again; since {:.0} {} had been refused: {}",
            over.since,
            count(over.times, "report"),
            over.why
        );
    }
}

/// One error for each of several waiters.
fn same(e: &AppendError) -> AppendError {
    match e {
        AppendError::Disk(e) => AppendError::Disk(same_io(e)),
        AppendError::Poisoned(why) => AppendError::Poisoned(why.clone()),
        AppendError::Full { used, max, retry_after } => {
            AppendError::Full { used: *used, max: *max, retry_after: *retry_after }
        }
        AppendError::TooLarge { bytes, max } => AppendError::TooLarge { bytes: *bytes, max: *max },
        AppendError::Closed => AppendError::Closed,
    }
}

fn same_io(e: &io::Error) -> io::Error {
    e.raw_os_error().map_or_else(|| io::Error::new(e.kind(), e.to_string()), io::Error::from_raw_os_error)
}

/// Makes room for as many of the records as possible and refuses the others.
fn admit(shared: &LogShared, batch: Vec<WaitingAppend>) -> Vec<WaitingAppend> {
    // The batch may begin a segment.
    let mut need = SEGMENT_HEADER;
    let mut admitted = Vec::with_capacity(batch.len());
    for waiting in batch {
        match make_room(shared, need + cap::need(waiting.frame_len(), shared.settings.max_size)) {
            Ok(()) => {
                need += waiting.frame_len();
                admitted.push(waiting);
            }
            Err(e) => {
                refuses(shared, &e, 1);
                // The caller may have stopped waiting; nothing was kept.
                let _ = waiting.reply.send(Err(e));
            }
        }
    }
    admitted
}

fn make_room(shared: &LogShared, need: u64) -> Result<(), AppendError> {
    let max = shared.settings.max_size;
    loop {
        let mut state = shared.state();
        let (used, oldest) = (state.used(), state.oldest());
        let holders = oldest.as_ref().map(|(_, holders)| holders.as_slice());
        match cap::room(used, need, max, holders, shared.settings.drop_oldest_at_cap) {
            CapRoom::Enough => return Ok(()),
            CapRoom::Full => {
                return Err(AppendError::Full { used, max, retry_after: CAP_RETRY });
            }
            CapRoom::TakeOldest => {
                let (segment, _) = oldest.expect("only an oldest segment can be taken");
                let moved = state.move_over(&segment);
                drop(state);
                tell_moved(shared, &segment, &moved);
                let_go(shared, &segment).map_err(AppendError::Disk)?;
            }
        }
    }
}

fn tell_moved(shared: &LogShared, segment: &Segment, moved: &[Moved]) {
    for Moved { cursor, points, .. } in moved {
        tracing::error!(target: "buffer", cursor,
            points,
            "the buffer is full: the sink was moved over its oldest segment and misses these points"
        );
    }
    let Some(tell) = shared.tell_losses.get().filter(|_| !moved.is_empty()) else { return };
    if let Err(e) = tell_records(shared, segment, moved, tell) {
        tracing::warn!(target: "buffer", error = %e, "what these points were could not be read");
    }
}

fn tell_records(shared: &LogShared, segment: &Segment, moved: &[Moved], tell: &TellLosses) -> io::Result<()> {
    let file = shared.disk.open(&shared.paths.segment(segment.first_seq))?;
    let mut at = SEGMENT_HEADER;
    loop {
        let run = frame::read_run(file.as_ref(), at, segment.len, READ_AT_ONCE)?;
        for record in &run.frames {
            for Moved { cursor, from, .. } in moved.iter().filter(|moved| moved.from.seq <= record.seq) {
                let done_lines = if from.seq == record.seq { from.lines } else { 0 };
                tell(&Lost { cursor, record: &record.payload, done_lines });
            }
        }
        at = run.end;
        if run.stop != FrameStop::Enough {
            return Ok(());
        }
    }
}

/// Removes the segments that all sinks have passed. After a power cut the numbering goes on from the sinks' places or from the newest
/// record, so one of the two must be durable before the other goes.
fn let_passed_go(shared: &LogShared) {
    if shared.state().passed().is_none() {
        return;
    }
    let places_are_durable = sync_cursors(shared);
    loop {
        let state = shared.state();
        let Some(segment) = state.passed() else { return };
        if !places_are_durable && state.holds_newest(&segment) {
            return;
        }
        drop(state);
        if let Err(e) = let_go(shared, &segment) {
            tracing::warn!(target: "buffer", error = %e, segment = segment.first_seq, "a segment that is no longer needed could not be removed");
            return;
        }
    }
}

fn let_go(shared: &LogShared, segment: &Segment) -> io::Result<()> {
    let path = shared.paths.segment(segment.first_seq);
    let gone = if segment.keep {
        recover::move_aside(shared.disk.as_ref(), &shared.paths, &path).map(|_| ())
    } else {
        shared.disk.unlink(&path)
    };
    match gone {
        // Somebody else removed it.
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        gone => gone?,
    }
    let mut state = shared.state();
    state.segments.remove(&segment.first_seq);
    if segment.keep {
        state.set_aside_bytes += segment.len;
    }
    Ok(())
}

/// Makes the cursors' files durable; says whether they are. What fails is tried again with the next chores, with a new file.
fn sync_cursors(shared: &LogShared) -> bool {
    let names = unsynced_cursors(shared);
    let mut trouble = None;
    for name in &names {
        if let Err(e) = sync_cursor(shared, name) {
            trouble = Some(e);
        }
    }
    if trouble.is_none() && !names.is_empty() {
        trouble = shared.disk.sync_dir(&shared.paths.cursors).err();
    }
    let Some(e) = trouble else {
        let over = shared.state().unsaved.goes_well(Instant::now()).filter(|_| !names.is_empty());
        if let Some(over) = over {
            tracing::info!(target: "buffer", "the cursors can be saved again; that failed {} times", over.times);
        }
        return true;
    };
    let is_news = shared.state().unsaved.happens(&e.to_string(), Instant::now());
    if is_news {
        tracing::warn!(target: "buffer", error = %e, "the cursors cannot be saved; after a crash their sinks get some records again");
    }
    shared.write_anew(&names);
    false
}

fn unsynced_cursors(shared: &LogShared) -> Vec<String> {
    let mut state = shared.state();
    let unsynced = state.cursors.iter_mut().filter(|(_, cursor)| cursor.unsynced);
    let names = unsynced.map(|(name, cursor)| {
        cursor.unsynced = false;
        name.clone()
    });
    names.collect()
}

/// The sync is not done under the cursor's own lock: a sink that confirms must not wait for it.
fn sync_cursor(shared: &LogShared, name: &str) -> io::Result<()> {
    if shared.state().cursors.get(name).is_some_and(|cursor| cursor.unsaved) {
        shared.save_cursor(name)?;
    }
    match shared.disk.open(&shared.paths.cursors.join(place::file_name(name))) {
        // The sink was forgotten meanwhile.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        file => file?.sync(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_shared_the_last_commit_are_waited_for_and_not_long() {
        let rhythm = Rhythm { together: 4, took: Duration::from_millis(1) };
        assert_eq!(rhythm.patience(1), Duration::from_micros(500));
        assert_eq!(rhythm.patience(4), Duration::ZERO);
        assert_eq!(Rhythm { together: 4, took: Duration::from_secs(1) }.patience(3), GATHER_MAX);
        assert_eq!(Rhythm::default().patience(1), Duration::ZERO);
    }
}
