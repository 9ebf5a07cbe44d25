//! The log as others meet it: `open`, `append`, `cursor`, `stats`, `close`.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;

use bytes::Bytes;

use super::cursor::Cursor;
use super::disk::{Disk, LockGuard};
use super::error::{AppendError, OpenError, open_error};
use super::paths::Paths;
use super::record::Lost;
use super::recover::{self, Recovered};
use super::settings::BufferSettings;
use super::shared::LogShared;
use super::stats::Stats;
use super::writer::SegmentWriter;
use super::{commit, frame, place};

/// The log; clones share it. The last clone to go closes it.
#[derive(Clone)]
pub struct Log {
    shared: Arc<LogShared>,
    door: Arc<Door>,
}

/// Closes the log with its last clone.
struct Door {
    shared: Arc<LogShared>,
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
    pub fn open(settings: BufferSettings, disk: Arc<dyn Disk>) -> Result<(Log, Recovered), OpenError> {
        let paths = Paths::below(&settings.dir);
        let guard = prepare(disk.as_ref(), &paths, &settings)?;
        let found = recover::recover(disk.as_ref(), &paths)?;
        let (active, recovered) = (found.active, found.recovered.clone());
        let shared = Arc::new(LogShared::new(settings, disk, paths, guard, found));
        let writer = SegmentWriter::open(shared.clone(), active)?;
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
        let now = frame::unix_secs(SystemTime::now());
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

fn prepare(disk: &dyn Disk, paths: &Paths, settings: &BufferSettings) -> Result<LockGuard, OpenError> {
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
