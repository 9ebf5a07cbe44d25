//! What nobody holds a leash on any more: orphans that came to this process, and what an earlier agent or a broken zygote left behind.
//!
//! On Linux the agent is a child subreaper: what a script leaves behind becomes a child of the agent, where it is found, ended and reaped.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions};

use super::children::children;
use super::sys::{self, Mark, environment_has, is_running, kill_if, parent_of, processes, session_of};
use super::{cgroup, cookie, lock};

/// How long the end of an earlier agent's processes is waited for.
const SWEEP: Duration = Duration::from_secs(5);
/// How long the end of what a zygote has begun is waited for.
const MARKED_END: Duration = Duration::from_secs(2);

/// Ends everything that an earlier agent on this run directory has left behind, and waits until it is gone.
pub async fn sweep_leftovers(run_dir: &Path) {
    let run_dir = run_dir.canonicalize().unwrap_or_else(|_| run_dir.to_owned());
    let all = move || {
        // First of all, so that it ends nothing of what is started from here on.
        end_guards(&run_dir);
        cgroup::sweep(&run_dir);
        sweep(&run_dir);
        lock::sweep(&run_dir);
    };
    let swept = tokio::task::spawn_blocking(all).await;
    if swept.is_err() {
        tracing::error!(target: "worker", "the search for processes of an earlier agent ended early");
    }
}

/// Tells what belongs to a run directory: by the environment, which a process may change, and by its mark, which it cannot.
struct Belongs {
    entry: Vec<u8>,
    mark: Option<Mark>,
}

impl Belongs {
    fn to(run_dir: &Path) -> Self {
        Self { entry: cookie::of_run(run_dir), mark: sys::mark_of(run_dir) }
    }

    fn has(&self, pid: u32) -> bool {
        let is_marked = || self.mark.is_some_and(|mark| sys::carries(pid, mark));
        pid != std::process::id() && (environment_has(pid, &self.entry) || is_marked()) && is_running(pid)
    }
}

/// What a guard ends: everything of one run directory that its agent has left behind.
pub(super) struct Estate {
    run_dir: PathBuf,
    locks: PathBuf,
    belongs: Belongs,
    /// Processes that are none of it, and so never will be: nobody comes by a mark but by being forked.
    strangers: HashSet<u32>,
}

impl Estate {
    /// Looks at the folder now: it may be gone when the agent is.
    pub fn of(run_dir: &Path) -> Self {
        let (run_dir, locks) = (run_dir.to_owned(), lock::folder(run_dir));
        Self { belongs: Belongs::to(&run_dir), run_dir, locks, strangers: HashSet::new() }
    }

    /// Kills all that is there now, without waiting; says whether there was something. Blocks.
    pub fn end(&mut self) -> bool {
        let is_in_a_group = cgroup::kill_all(&self.run_dir);
        let unknown: Vec<u32> = processes().into_iter().filter(|pid| !self.strangers.contains(pid)).collect();
        let is_mine = |pid: u32| self.belongs.has(pid);
        let (mine, others): (Vec<u32>, Vec<u32>) =
            unknown.into_iter().partition(|pid| is_mine(*pid) && kill_if(*pid, is_mine));
        // Last, for it takes longest: who has left everything behind but a descriptor.
        let holds = |pid: u32| pid != std::process::id() && sys::holds_one_in(pid, &self.locks) && is_running(pid);
        let (holders, others): (Vec<u32>, Vec<u32>) =
            others.into_iter().partition(|pid| holds(*pid) && kill_if(*pid, holds));
        if self.belongs.mark.is_some() {
            self.strangers.extend(others);
        }
        is_in_a_group || !mine.is_empty() || !holders.is_empty()
    }

    /// Removes what held it together.
    pub fn close(&self) {
        cgroup::remove_all(&self.run_dir);
    }
}

/// Ends the guard of an agent that is gone: what it still has to do is done here.
fn end_guards(run_dir: &Path) {
    let entry = cookie::of_guard(run_dir);
    let is_guard = |pid: u32| !children().has(pid) && environment_has(pid, &entry) && is_running(pid);
    let until = Instant::now() + SWEEP;
    while processes().into_iter().filter(|pid| is_guard(*pid) && kill_if(*pid, is_guard)).count() > 0 {
        if Instant::now() >= until {
            tracing::error!(target: "worker", "the guard of an earlier agent cannot be ended");
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn sweep(run_dir: &Path) {
    let until = Instant::now() + SWEEP;
    let belongs = Belongs::to(run_dir);
    let is_left = |pid: u32| belongs.has(pid);
    let mut told = false;
    loop {
        let left: Vec<u32> = processes().into_iter().filter(|pid| is_left(*pid)).collect();
        if left.is_empty() {
            return;
        }
        if Instant::now() >= until {
            tracing::error!(target: "worker", "processes of an earlier agent cannot be ended: {left:?}");
            return;
        }
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(target: "worker", "ending what an earlier agent left behind: {left:?}");
        }
        for pid in left {
            kill_if(pid, is_left);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Reaps orphans that were left to this process, and kills those that belong to this run directory but to no live worker. Blocks.
pub fn tend_orphans(run_dir: &Path, live_tokens: &HashSet<String>) {
    let entry = cookie::of_run(run_dir);
    let own_session = session_of(std::process::id());
    // Held to the end: a worker that is being started must not be taken for an orphan.
    let ours = children();
    if ours.expects_a_worker() {
        // One of the unknown children may be a worker; the next look sees what it is.
        return;
    }
    for pid in sys::children().into_iter().filter(|pid| !ours.has(*pid)) {
        // A child of our own session was started by another part of this process, which waits for it itself.
        if session_of(pid) == own_session {
            continue;
        }
        // A daemon of a live worker may live as long as it does.
        if environment_has(pid, &entry) {
            if !token_of(pid).is_some_and(|token| live_tokens.contains(&token)) {
                kill_if(pid, |pid| environment_has(pid, &entry));
            }
        } else if !ours.has_workers() {
            // One that hides whose it is (an empty environment, a session of its own) lives no longer than the last of the workers.
            kill_if(pid, |pid| parent_of(pid) == Some(std::process::id()));
        }
        let Some(number) = Pid::from_raw(pid.cast_signed()) else { continue };
        // Still running is fine; the next look takes it.
        let _ = rustix::process::waitpid(Some(number), WaitOptions::NOHANG);
    }
}

fn token_of(pid: u32) -> Option<String> {
    cookie::token_in(&sys::environment_entry(pid, cookie::WORKER_ENTRY))
}

/// Ends what a zygote may have begun to make of a request that it did not answer: whoever carries the token. Blocks.
pub(super) fn end_marked(token: &str) {
    let entry = cookie::of_worker(token);
    let is_marked = |pid: u32| environment_has(pid, &entry) && is_running(pid);
    let until = Instant::now() + MARKED_END;
    loop {
        let left: Vec<u32> =
            processes().into_iter().filter(|pid| is_marked(*pid) && kill_if(*pid, is_marked)).collect();
        if left.is_empty() || Instant::now() >= until {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
