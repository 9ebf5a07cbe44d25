//! The guard: a small process beside the agent that ends every worker with all it has started when the agent is killed.
//!
//! The kernel's parent-death signal ends the workers themselves, but nothing that they have started. The guard is this program once more,
//! in a session of its own. It reads nothing but one pipe, whose other end the agent alone has: whatever ends the agent closes that, and the
//! guard ends all that belongs to the run directory (by cgroup, mark, cookie and lock), then itself. When a guard dies, a thread of the agent
//! starts another. When both are killed in one moment, the next start sweeps (`leftovers`), and that start ends a guard that is still at work
//! before it starts anything.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::children::{Role, children};
use super::leftovers::Estate;
use super::{cookie, spawner, sys};

/// The argument that makes this program a guard. Nobody else has a use for it.
const WORD: &str = "__guard";
/// What the agent writes before it closes the pipe in order: all has been ended, and one look is enough.
const IN_ORDER: &[u8] = b".";
/// How long the end of the guard is waited for when the agent ends in order.
const LAST_LOOK: Duration = Duration::from_secs(1);
/// A guard that lives no longer than this is not replaced at once.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// How long a guard tries to end what does not end (a process that waits for a broken disk).
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);
/// Looks in a row that must find nothing: a process that is forked during a look can be missed by it.
const QUIET_LOOKS: u32 = 3;

/// The guard of this process, for as long as this lives.
#[derive(Debug)]
pub struct OrphanGuard {
    held: Arc<Mutex<GuardPipe>>,
    /// Closed by the thread that replaces guards when the last one has ended.
    ended: Mutex<mpsc::Receiver<()>>,
    /// Wakes that thread from its rest.
    stop: mpsc::Sender<()>,
}

/// The end of the pipe by which a guard knows that the agent lives.
#[derive(Debug)]
enum GuardPipe {
    Pipe(OwnedFd),
    /// There is no guard at the moment.
    Nothing,
    /// There is to be none any more.
    Closed,
}

impl OrphanGuard {
    /// Starts the guard of what belongs to this run directory, and the thread that replaces it.
    ///
    /// # Errors
    /// When the system refuses a process, a pipe or a thread.
    pub fn start(run_dir: &Path) -> io::Result<Self> {
        let run_dir = run_dir.canonicalize()?;
        // A descriptor that this process was given by whoever started it would live on in the guard.
        spawner::keep_what_we_inherited();
        let (pid, pipe) = spawn(&run_dir)?;
        let held = Arc::new(Mutex::new(GuardPipe::Pipe(pipe)));
        let ((stop, stopped), (tell, ended)) = (mpsc::channel(), mpsc::channel());
        let shared = Arc::clone(&held);
        std::thread::Builder::new().name("guard".to_owned()).spawn(move || {
            // Dropped at the end of the thread, which tells it.
            let _tell: mpsc::Sender<()> = tell;
            keep(&run_dir, pid, &shared, &stopped);
        })?;
        Ok(Self { held, ended: Mutex::new(ended), stop })
    }
}

impl Drop for OrphanGuard {
    /// Has the guard take a last look, and waits for its end. Blocks, for a second at most.
    fn drop(&mut self) {
        if let GuardPipe::Pipe(pipe) = std::mem::replace(&mut *lock(&self.held), GuardPipe::Closed) {
            // One that was killed just now has nothing to look for.
            let _ = rustix::io::write(&pipe, IN_ORDER);
        }
        // The thread may have ended, and so may the guard.
        let _ = self.stop.send(());
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(LAST_LOOK);
    }
}

fn lock(held: &Mutex<GuardPipe>) -> MutexGuard<'_, GuardPipe> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts another guard whenever one has died.
fn keep(run_dir: &Path, first: Pid, held: &Mutex<GuardPipe>, stopped: &mpsc::Receiver<()>) {
    let (mut guard, mut told) = (Some(first), String::new());
    loop {
        let began = Instant::now();
        let end = guard.take().map(|pid| (pid.as_raw_nonzero(), wait(pid)));
        let mut now = lock(held);
        if let GuardPipe::Closed = *now {
            return;
        }
        *now = GuardPipe::Nothing;
        drop(now);
        if let Some((pid, how)) = end {
            tracing::warn!(target: "worker", "the guard {pid} has ended ({how}); starting another");
        }
        let rest = if began.elapsed() < SHORT_LIFE { SHORT_LIFE } else { Duration::ZERO };
        if !matches!(stopped.recv_timeout(rest), Err(RecvTimeoutError::Timeout)) {
            return;
        }
        match spawn(run_dir) {
            Ok((pid, pipe)) => {
                let mut held = lock(held);
                if let GuardPipe::Nothing = *held {
                    *held = GuardPipe::Pipe(pipe);
                }
                (guard, told) = (Some(pid), String::new());
            }
            Err(error) if told != error.to_string() => {
                tracing::error!(target: "worker", "cannot start the guard: {error}; if the agent is killed, processes that scripts have started live on");
                told = error.to_string();
            }
            Err(_) => {}
        }
    }
}

/// Starts a guard; returns its number and the end of the pipe that keeps it at rest.
fn spawn(run_dir: &Path) -> io::Result<(Pid, OwnedFd)> {
    let (theirs, ours) = sys::pipe()?;
    let mut command = Command::new(sys::this_program()?);
    command
        .arg0(format!("pythond: guard of {}", std::process::id()))
        .arg(WORD)
        .arg(run_dir)
        .env_clear()
        .env(cookie::GUARD, run_dir)
        .current_dir("/")
        .stdin(theirs)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // Held until it is listed, so that nobody takes it for an orphan meanwhile.
    let mut children = children();
    let child = command.spawn()?;
    children.add(child.id(), Role::Guard);
    Ok((Pid::from_child(&child), ours))
}

/// Waits until a guard has ended, and reaps it; one that was stopped goes on.
fn wait(guard: Pid) -> String {
    let all = WaitIdOptions::EXITED | WaitIdOptions::STOPPED;
    let how = loop {
        match rustix::process::waitid(WaitId::Pid(guard), all) {
            Ok(Some(status)) if status.stopped() => {
                // A child keeps its number until it is reaped.
                let _ = rustix::process::kill_process(guard, Signal::CONT);
            }
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => break format!("exit code {code}"),
                (None, signal) => break format!("signal {}", signal.unwrap_or(0)),
            },
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => break error.to_string(),
        }
    };
    children().forget(guard.as_raw_nonzero().get().cast_unsigned());
    how
}

// --- the guard itself ---

/// Says whether this process was started as a guard, and over which run directory.
pub fn asked() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next().as_deref() == Some(OsStr::new(WORD))).then(|| arguments.next().unwrap_or_default().into())
}

/// Waits for the end of the agent, then ends all that it has left.
pub fn serve(run_dir: &Path) -> ExitCode {
    if !is_pipe(io::stdin()) || !run_dir.is_absolute() {
        // Somebody has typed the word.
        return ExitCode::from(2);
    }
    stay();
    let mut estate = Estate::of(run_dir);
    let in_order = wait_for_the_end(&mut io::stdin().lock());
    let until = Instant::now() + PATIENCE;
    let mut looks_left = if in_order { 1 } else { QUIET_LOOKS };
    while looks_left > 0 && Instant::now() < until {
        looks_left = if estate.end() { QUIET_LOOKS } else { looks_left - 1 };
        if looks_left > 0 {
            std::thread::sleep(PAUSE);
        }
    }
    estate.close();
    ExitCode::SUCCESS
}

fn is_pipe(fd: impl AsFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_fifo())
}

/// Returns when the agent has closed its end, whatever did that; says whether it has done so in order.
fn wait_for_the_end(pipe: &mut impl Read) -> bool {
    let (mut byte, mut in_order) = ([0], false);
    loop {
        match pipe.read(&mut byte) {
            Ok(1..) => in_order = true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return in_order,
        }
    }
}

/// Leaves the terminal and the group of the agent, and stays whatever is sent to them.
#[expect(unsafe_code, reason = "only libc sets the disposition of a signal")]
fn stay() {
    for signal in [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
    ] {
        // SAFETY: one system call; this process has one thread and no handler of its own.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // It leads no group yet, so this works; the names are for people.
    let _ = rustix::process::setsid();
    sys::call_this_process(c"pythond-guard");
}
