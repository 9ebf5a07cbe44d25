//! One lock per unit that its worker and all that it starts inherit: while it is held, something of an earlier life is alive.
//!
//! The lock is that of an open file (`flock`), `data/run/workers/<id>.lock`. The agent takes it before a start, hands the descriptor to the
//! worker and closes its own, so that only the worker's tree holds it; daemons that left session, group and environment behind still do,
//! unless they closed all descriptors. `<id>.json` beside it says who the worker was. A lock that is still held at a start has its holders
//! ended first: there are never two copies of a unit.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::file_name;
use super::sys::{boot_id, holds, kill_if, processes, start_time};

/// How long the end of an earlier life is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// The locks of all units of one run directory.
#[derive(Debug, Clone)]
pub struct Locks {
    dir: PathBuf,
    /// Why there are none here.
    why_not: Option<String>,
}

/// The lock of one unit, held until this and every inherited copy of its descriptor are closed.
#[derive(Debug)]
pub struct Lock {
    file: File,
    note: PathBuf,
}

/// Who held a lock last, as written beside it.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    pid: u32,
    /// In what the system counts it: with the pid it names one process.
    starttime: u64,
    boot_id: String,
    incarnation: u64,
}

/// Why a unit cannot have its lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(
        "an earlier copy of it is still alive{} and cannot be ended; no second one is started beside it",
        told(pids)
    )]
    Held { pids: Vec<u32> },
    #[error("its lock {} cannot be opened", path.display())]
    Io { path: PathBuf, source: io::Error },
}

fn told(pids: &[u32]) -> String {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    if pids.is_empty() { String::new() } else { format!(" (pid {})", pids.join(", ")) }
}

impl Locks {
    /// Looks whether locks work here: a network disk may have none.
    pub fn open(run_dir: &Path) -> Self {
        let dir = folder(run_dir);
        let trial = || {
            std::fs::create_dir_all(&dir)?;
            let file = open(&dir.join(".trial"))?;
            rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            std::fs::remove_file(dir.join(".trial"))
        };
        let why_not = trial().err().map(|error| format!("cannot lock files in {}: {error}", dir.display()));
        Self { dir, why_not }
    }

    pub fn why_not(&self) -> Option<&str> {
        self.why_not.as_deref()
    }

    /// Takes the lock of a unit for its next worker, after ending whoever holds it still; `None` where locks do not work. Blocks.
    ///
    /// # Errors
    /// When a holder cannot be ended: then there must be no second copy.
    pub fn take(&self, id: &str) -> Result<Option<Lock>, LockError> {
        if self.why_not.is_some() {
            return Ok(None);
        }
        let name = file_name(id);
        let (path, note) = (self.dir.join(format!("{name}.lock")), self.dir.join(format!("{name}.json")));
        // Somebody may have emptied the folder.
        let opened = std::fs::create_dir_all(&self.dir).and_then(|()| open(&path));
        let file = opened.map_err(|source| LockError::Io { path: path.clone(), source })?;
        free(&file, &path, &note)?;
        Ok(Some(Lock { file, note }))
    }
}

impl Lock {
    /// Notes who holds it from now on.
    ///
    /// # Errors
    /// When the note cannot be written; the lock works without it.
    pub fn note(&self, pid: u32, incarnation: u64) -> io::Result<()> {
        let starttime = start_time(pid).ok_or_else(|| io::Error::other("the worker has ended already"))?;
        let note = Note { pid, starttime, boot_id: boot_id(), incarnation };
        let temporary = self.note.with_extension("json.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec(&note).map_err(io::Error::other)?)?;
        std::fs::rename(&temporary, &self.note)
    }
}

impl AsFd for Lock {
    /// What the worker inherits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Ends everything of an earlier agent that holds a lock of this run directory, also of units that are no longer there. Blocks.
pub fn sweep(run_dir: &Path) {
    let dir = folder(run_dir);
    let Ok(entries) = std::fs::read_dir(&dir) else { return };
    for path in
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "lock"))
    {
        let note = path.with_extension("json");
        let freed = open(&path).map_err(|source| LockError::Io { path: path.clone(), source }).and_then(|file| {
            free(&file, &path, &note)?;
            // Held until here, so nobody else uses the files.
            for old in [&note, &path] {
                if let Err(error) = std::fs::remove_file(old) {
                    tracing::debug!(target: "worker", "{} stays: {error}", old.display());
                }
            }
            Ok(())
        });
        if let Err(error) = freed {
            let name = path.file_stem().unwrap_or_default().display();
            tracing::error!(target: "worker", "{name}: {error}");
        }
    }
}

/// Takes the lock, after ending its holders.
fn free(file: &File, path: &Path, note: &Path) -> Result<(), LockError> {
    let until = Instant::now() + PATIENCE;
    let mut told = false;
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(LockError::Io { path: path.to_owned(), source: error.into() }),
        }
        let holders = holders(file, path, note);
        if Instant::now() >= until {
            return Err(LockError::Held { pids: holders });
        }
        if !std::mem::replace(&mut told, true) {
            let name = path.file_stem().unwrap_or_default().display();
            tracing::warn!(target: "worker", "{name}: ending processes of an earlier life that still hold its lock: {holders:?}");
        }
        for pid in holders {
            kill_if(pid, |pid| holds(pid, file, path) || is_noted(pid, note));
        }
        std::thread::sleep(PAUSE);
    }
}

fn holders(file: &File, path: &Path, note: &Path) -> Vec<u32> {
    let others = processes().into_iter().filter(|pid| *pid != std::process::id());
    others.filter(|pid| holds(*pid, file, path) || is_noted(*pid, note)).collect()
}

fn is_noted(pid: u32, note: &Path) -> bool {
    let Ok(text) = std::fs::read(note) else { return false };
    let Ok(note) = serde_json::from_slice::<Note>(&text) else { return false };
    note.pid == pid && Some(note.starttime) == start_time(pid) && note.boot_id == boot_id()
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The folder of the locks of a run directory.
pub(super) fn folder(run_dir: &Path) -> PathBuf {
    run_dir.canonicalize().unwrap_or_else(|_| run_dir.to_owned()).join("workers")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    use super::*;

    fn lab() -> (tempfile::TempDir, Locks) {
        let dir = tempfile::tempdir().unwrap();
        let locks = Locks::open(dir.path());
        assert_eq!(locks.why_not(), None);
        (dir, locks)
    }

    /// A stranger that inherits the lock: without a cookie, in a group of its own.
    fn holder(lock: &Lock) -> Child {
        let own = lock.file.try_clone().unwrap();
        Command::new("sleep").arg("1000").stdin(own).env_clear().process_group(0).spawn().unwrap()
    }

    fn signal_of(child: &mut Child) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        child.wait().unwrap().signal()
    }

    #[test]
    fn whoever_inherited_the_lock_is_ended_before_the_next_start() {
        let (_dir, locks) = lab();
        let lock = locks.take("my.a").unwrap().unwrap();
        let mut holder = holder(&lock);
        drop(lock);
        let mut bystander = Command::new("sleep").arg("1000").spawn().unwrap();
        let again = locks.take("my.a").unwrap();
        assert!(again.is_some());
        assert_eq!(signal_of(&mut holder), Some(9));
        assert!(bystander.try_wait().unwrap().is_none(), "nobody else is touched");
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }

    #[test]
    fn the_start_of_an_agent_frees_all_locks_also_of_scripts_that_are_gone() {
        let (dir, locks) = lab();
        let mut holders: Vec<Child> = ["my.a", "my.b"]
            .map(|id| {
                let lock = locks.take(id).unwrap().unwrap();
                let holder = holder(&lock);
                lock.note(holder.id(), 1).unwrap();
                holder
            })
            .into();
        sweep(dir.path());
        assert!(holders.iter_mut().all(|holder| signal_of(holder) == Some(9)));
        assert_eq!(std::fs::read_dir(dir.path().join("workers")).unwrap().count(), 0, "nothing is left of them");
    }

    #[test]
    fn one_who_only_looks_at_the_file_is_let_alone() {
        let (dir, locks) = lab();
        drop(locks.take("my.a").unwrap());
        let file = File::open(dir.path().join("workers/my.a.lock")).unwrap();
        let mut reader = Command::new("sleep").arg("1000").stdin(file).spawn().unwrap();
        assert!(locks.take("my.a").unwrap().is_some());
        sweep(dir.path());
        assert!(reader.try_wait().unwrap().is_none());
        reader.kill().unwrap();
        reader.wait().unwrap();
    }

    /// Between fork and exec it has all files of this process, whatever it is to be.
    #[test]
    fn one_who_is_only_being_started_is_let_alone() {
        let (dir, locks) = lab();
        let lock = locks.take("my.a").unwrap().unwrap();
        let (there, tell) = std::io::pipe().unwrap();
        let (wait, go_on) = std::io::pipe().unwrap();
        let mut command = Command::new("sleep");
        command.arg("1000");
        // SAFETY: one byte is written and one read, by system calls alone.
        #[expect(unsafe_code, reason = "a child is held between fork and exec")]
        unsafe {
            command.pre_exec(move || {
                (&tell).write_all(b"x")?;
                (&wait).read_exact(&mut [0])
            });
        }
        let starting = std::thread::spawn(move || command.spawn().unwrap());
        (&there).read_exact(&mut [0]).unwrap();
        drop(lock);
        let (path, note) = (dir.path().join("workers/my.a.lock"), dir.path().join("workers/my.a.json"));
        let path = path.canonicalize().unwrap();
        let file = open(&path).unwrap();
        assert!(rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err(), "it has the lock");
        assert_eq!(holders(&file, &path, &note), Vec::<u32>::new());
        (&go_on).write_all(b"x").unwrap();
        let mut started = starting.join().unwrap();
        assert!(locks.take("my.a").unwrap().is_some());
        assert!(started.try_wait().unwrap().is_none());
        started.kill().unwrap();
        started.wait().unwrap();
    }

    #[test]
    fn a_note_of_another_boot_or_of_a_number_used_again_names_nobody() {
        let (dir, locks) = lab();
        let lock = locks.take("my.a").unwrap().unwrap();
        let own = std::process::id();
        lock.note(own, 3).unwrap();
        let path = dir.path().join("workers/my.a.json");
        assert!(is_noted(own, &path));
        let text = std::fs::read_to_string(&path).unwrap();
        for (from, to) in [("\"boot_id\":\"", "\"boot_id\":\"0"), ("\"starttime\":", "\"starttime\":1")] {
            std::fs::write(&path, text.replace(from, to)).unwrap();
            assert!(!is_noted(own, &path), "{from}");
        }
        std::fs::write(&path, "{").unwrap();
        assert!(!is_noted(own, &path));
    }

    #[test]
    fn a_holder_that_cannot_be_ended_means_no_start() {
        let (_dir, locks) = lab();
        let lock = locks.take("my.a").unwrap().unwrap();
        // The holder is this process itself, which ends nobody but others.
        let Err(LockError::Held { pids }) = locks.take("my.a") else { panic!("two copies") };
        assert_eq!(pids, Vec::<u32>::new());
        drop(lock);
        assert!(locks.take("my.a").unwrap().is_some());
    }

    #[test]
    fn without_a_place_for_them_there_are_no_locks_and_scripts_start_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("workers"), "").unwrap();
        let locks = Locks::open(dir.path());
        assert!(locks.why_not().unwrap().starts_with("cannot lock files in"));
        assert!(locks.take("my.a").unwrap().is_none());
        sweep(dir.path());
    }
}
