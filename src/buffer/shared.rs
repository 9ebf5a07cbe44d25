//! What the face of the log, its committer and its cursors hold together: settings, disk, the one lock, and who wakes whom.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use super::cap::{self, Sizes};
use super::disk::{Disk, LockGuard};
use super::error::AppendError;
use super::frame;
use super::paths::Paths;
use super::place::{self, CursorPlace};
use super::record::{Lost, Position};
use super::recover::RecoveredLog;
use super::segment::Segment;
use super::settings::BufferSettings;
use super::state::{CursorState, LogState, WaitingAppend};

/// Records that wait for the committer, in bytes.
const MAX_WAITING: u64 = 64 << 20;
/// Small records may wait beyond that, so that a few large ones do not keep them out.
const MAX_WAITING_SMALL: u64 = MAX_WAITING + (8 << 20);
/// A waiting queue empties within a commit or two.
const QUEUE_RETRY: Duration = Duration::from_millis(200);

pub(super) type TellLosses = Box<dyn Fn(&Lost<'_>) + Send + Sync>;

/// What all parts of one log hold together.
pub(super) struct LogShared {
    pub settings: BufferSettings,
    pub disk: Arc<dyn Disk>,
    pub paths: Paths,
    pub sizes: Sizes,
    pub tell_losses: OnceLock<TellLosses>,
    /// Wakes the committer.
    pub work: Condvar,
    /// Wakes the cursors; the value means nothing.
    pub grown: watch::Sender<()>,
    state: Mutex<LogState>,
    guard: Mutex<Option<LockGuard>>,
}

impl LogShared {
    pub(super) fn new(
        settings: BufferSettings,
        disk: Arc<dyn Disk>,
        paths: Paths,
        guard: LockGuard,
        found: RecoveredLog,
    ) -> LogShared {
        let sizes = cap::sizes(settings.max_size);
        let state = Mutex::new(LogState::new(found));
        let (work, grown) = (Condvar::new(), watch::Sender::new(()));
        LogShared {
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
    pub(super) fn state(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enqueue(
        &self,
        points: u32,
        bytes: Bytes,
    ) -> Result<oneshot::Receiver<Result<u64, AppendError>>, AppendError> {
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
        state.queue.push_back(WaitingAppend { points, bytes, reply });
        let is_enough = state.queue.len() >= state.wanted;
        drop(state);
        if is_enough {
            self.work.notify_one();
        }
        Ok(kept)
    }

    pub(super) fn register(&self, name: &str, required: bool) -> io::Result<()> {
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
                let place = CursorPlace { position, skipped_points: 0 };
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

    pub(super) fn age(&self, segment: &Segment, offset: u64, now_secs: u32) -> Option<Duration> {
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
