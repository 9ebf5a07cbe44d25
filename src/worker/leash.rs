//! What holds on to a started worker or zygote: a leash that reaches it and all it has started, and the notice of its death.
//!
//! What a worker started is known by its process group, by its session, by its cgroup where it has one, and by its cookie.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitIdStatus, WaitOptions};

use super::cgroup::Cgroup;
use super::children::children;
use super::cookie;
use super::launch::Ended;
use super::sys::{self, Signal, environment_has, is_running, kill_if, processes, session_of};

/// How long the end of what a killed worker left behind is waited for.
const TREE_END: Duration = Duration::from_secs(2);

/// Reaches a worker and what it has started, but only while its number is surely its own: until it is reaped.
#[derive(Clone, Debug)]
pub struct Leash {
    pub pid: u32,
    cookie: Arc<[u8]>,
    group: Option<Cgroup>,
    reaped: Arc<Mutex<bool>>,
}

impl Leash {
    /// The leash of the worker or zygote with this token.
    pub(super) fn of(pid: u32, token: &str) -> Self {
        Self { pid, cookie: cookie::of_worker(token).into(), group: None, reaped: Arc::default() }
    }

    /// Ends the worker by its cgroup too.
    pub(super) fn ends_by(&mut self, group: Cgroup) {
        self.group = Some(group);
    }

    /// Takes the status of the process once it has ended. From here on the leash reaches nobody.
    pub(super) fn reap(&self, handle: &sys::Handle) -> Ended {
        let mut reaped = self.is_reaped();
        let taken = handle.reap();
        *reaped = true;
        children().forget(self.pid);
        match taken {
            Ok(Some(status)) => ended(&status),
            // Somebody else took the status; what is known is that it is over.
            Ok(None) | Err(_) => Ended::Exited(-1),
        }
    }

    /// The cgroup of the worker, where it has one.
    pub fn group(&self) -> Option<&Cgroup> {
        self.group.as_ref()
    }

    /// Sends a signal to the worker alone.
    pub fn signal(&self, signal: Signal) {
        if !*self.is_reaped() {
            // It may have ended already.
            let _ = rustix::process::kill_process(raw(self.pid), signal);
        }
    }

    /// Sends a signal to the worker's group: scripts start children of their own.
    pub fn signal_group(&self, signal: Signal) {
        if !*self.is_reaped() {
            // It may have ended already.
            let _ = rustix::process::kill_process_group(raw(self.pid), signal);
        }
    }

    /// Kills the worker and all it has started (its group, its session, and whoever carries its cookie) and waits until that is gone,
    /// for at most two seconds. Returns how many there were beside the worker itself. Blocks: it looks through `/proc`.
    pub fn end_tree(&self) -> usize {
        let until = Instant::now() + TREE_END;
        let (mut known, mut reaped) = (BTreeSet::new(), BTreeSet::new());
        loop {
            let left = self.kill_all(&mut known);
            known.extend(&left);
            let are_gone = reap(&known, &mut reaped);
            if (left.is_empty() && are_gone) || Instant::now() >= until {
                return known.len();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills everybody who is there now, and adds them to `known`; returns who still was, without the worker itself.
    fn kill_all(&self, known: &mut BTreeSet<u32>) -> Vec<u32> {
        self.signal_group(Signal::KILL);
        self.signal(Signal::KILL);
        let seen = look_around();
        // From here on its number is surely its own.
        let reaped = self.is_reaped();
        if *reaped {
            return Vec::new();
        }
        // Those that are dead already are to be reaped too. The kernel's list of our children would leave some out while others exit.
        known.extend(seen.iter().filter(|one| one.session == Some(self.pid)).map(|one| one.pid));
        if let Some(group) = &self.group {
            known.extend(group.kill().into_iter().filter(|pid| *pid != self.pid));
        }
        let is_mine =
            |pid: u32| is_running(pid) && (session_of(pid) == Some(self.pid) || environment_has(pid, &self.cookie));
        let candidates = seen.iter().filter(|one| one.session == Some(self.pid) || one.cookie == self.cookie);
        candidates.map(|one| one.pid).filter(|pid| kill_if(*pid, is_mine)).collect()
    }

    fn is_reaped(&self) -> MutexGuard<'_, bool> {
        self.reaped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process that is no worker, as a look through `/proc` saw it.
struct SeenProcess {
    pid: u32,
    session: Option<u32>,
    /// The entry in its environment that tells whose it is; empty where there is none.
    cookie: Arc<[u8]>,
}

/// Looks through `/proc`. One look serves all who asked before it began: when hundreds of workers end together, each would look for itself,
/// and at all the others too.
fn look_around() -> Arc<[SeenProcess]> {
    static LAST: Mutex<Option<(Instant, Arc<[SeenProcess]>)>> = Mutex::new(None);
    let asked = Instant::now();
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((began, seen)) = &*last
        && *began > asked
    {
        return Arc::clone(seen);
    }
    let began = Instant::now();
    let others = processes().into_iter().filter(|pid| *pid != std::process::id() && !children().has(*pid));
    let seen: Arc<[SeenProcess]> = others
        .map(|pid| SeenProcess {
            pid,
            session: session_of(pid),
            cookie: sys::environment_entry(pid, cookie::WORKER_ENTRY),
        })
        .collect();
    *last = Some((began, Arc::clone(&seen)));
    seen
}

/// Tells when a process has ended, and how.
pub struct Death {
    watch: sys::Watch,
    leash: Leash,
}

impl Death {
    /// # Errors
    /// When the end of the process cannot be waited for.
    pub(super) fn of(handle: sys::Handle, leash: Leash) -> io::Result<Self> {
        Ok(Self { watch: handle.watch()?, leash })
    }

    /// Waits for the end without reaping, so that group and session can still be ended under their number.
    ///
    /// # Errors
    /// When the descriptor cannot be watched.
    pub async fn wait(&self) -> io::Result<()> {
        self.watch.ended().await
    }

    /// Takes the exit status; call it after `wait`. From here on the leash reaches nobody.
    pub fn reap(&self) -> Ended {
        self.leash.reap(self.watch.handle())
    }
}

/// Takes the status of those that came to this process as their reaper, where they would stay as zombies; says whether all are gone.
///
/// One that is just ending has no environment any more and is no zombie yet: nothing but this tells that it is still there.
fn reap(killed: &BTreeSet<u32>, reaped: &mut BTreeSet<u32>) -> bool {
    loop {
        let mut are_gone = true;
        let before = reaped.len();
        for pid in killed {
            if reaped.contains(pid) {
                continue;
            }
            match rustix::process::waitpid(Some(raw(*pid)), WaitOptions::NOHANG) {
                Ok(Some(_)) => _ = reaped.insert(*pid),
                Ok(None) => are_gone = false,
                // Another's child.
                Err(_) => are_gone &= !is_running(*pid),
            }
        }
        if reaped.len() == before {
            return are_gone;
        }
        // With its parent gone, one of the others may have come to us.
    }
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).expect("a process has a positive number")
}

fn ended(status: &WaitIdStatus) -> Ended {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ended::Exited(code),
        (None, Some(signal)) => Ended::Killed(signal),
        (None, None) => Ended::Exited(-1),
    }
}
