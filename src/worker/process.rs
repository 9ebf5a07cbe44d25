//! Starts and ends worker processes, and finds everything that one has left behind.
//!
//! All workers are started by one thread that never ends: the kernel sends the parent-death signal when the parent *thread* ends, so a
//! thread of a pool would take its workers with it. On Linux the agent is a child subreaper: what a script leaves behind becomes a child of
//! the agent, where it is found, ended and reaped. What a worker started is known by its process group, by its session, and by a cookie in the
//! environment that survives `setsid` and double forks.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitIdStatus, WaitOptions};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::WorkerSpec;
use super::cgroup::{self, Group};
use super::control::Channel;
use super::lock;
use super::sys::{self, environment_has, is_running, kill_if, parent_of, processes, session_of};
use super::zygote::{self, Zygotes};

pub use super::launch::{Ended, Launch, Parts, RUN_COOKIE, StartError, Way, find_program, is_shim};
pub use super::sys::{memory, state};
pub use rustix::process::Signal;
pub type Pipe = pipe::Receiver;

/// Beside [`RUN_COOKIE`]: which worker.
const WORKER_COOKIE: &str = "PYTHOND_WORKER";

/// How long the end of an earlier agent's processes is waited for.
const SWEEP: Duration = Duration::from_secs(5);

/// Asks the thread that starts all workers, or a zygote where there is one.
#[derive(Clone)]
pub struct Spawner {
    orders: mpsc::Sender<Order>,
    zygotes: Option<Zygotes>,
}

/// What to start, as what, and who wants to know.
type Order = (Launch, Role, oneshot::Sender<Result<Process, StartError>>);

/// What a process is started as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Worker,
    Zygote,
}

/// The workers and zygotes that are not reaped yet: children whose status somebody waits for. One list for the process, since its
/// children are its own however many parts start some.
static WORKERS: Mutex<Known> = Mutex::new(Known { pids: BTreeSet::new(), zygotes: BTreeSet::new(), expected: 0 });

struct Known {
    pids: BTreeSet<u32>,
    /// Those of `pids` that are no workers.
    zygotes: BTreeSet<u32>,
    /// Workers that a zygote is forking: children whose numbers are not known yet.
    expected: usize,
}

/// How long the end of what a killed worker left behind is waited for.
const TREE_END: Duration = Duration::from_secs(2);

/// A started worker; dropping it does not end the process.
pub struct Process {
    pub pid: u32,
    pub control: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    /// Stacks of `faulthandler`.
    pub trace: OwnedFd,
    pub way: Way,
    handle: sys::Handle,
    leash: Leash,
}

/// The worker's ends of what it talks through; the order is that in which they are sent to a zygote.
pub(super) struct TheirEnds {
    pub control: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    pub trace: OwnedFd,
}

/// The agent's ends.
pub(super) struct OurEnds {
    control: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
    trace: OwnedFd,
}

/// Reaches a worker and what it has started, but only while its number is surely its own: until it is reaped.
#[derive(Clone, Debug)]
pub struct Leash {
    pub pid: u32,
    cookie: Arc<[u8]>,
    group: Option<Group>,
    reaped: Arc<Mutex<bool>>,
}

impl Spawner {
    /// Starts the thread and makes this process the reaper of what its descendants leave behind.
    ///
    /// # Errors
    /// When the system refuses the thread.
    pub fn start() -> io::Result<Self> {
        // Without it (an old kernel) only orphans in the worker's own group and session are found.
        if let Err(error) = sys::become_subreaper() {
            tracing::warn!(target: "worker", "not a child subreaper: {error}");
        }
        keep_what_we_inherited();
        let (orders, taken) = mpsc::channel::<Order>();
        std::thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            for (launch, role, answer) in taken {
                if let Err(Ok(process)) = answer.send(start(&launch, role)) {
                    // Nobody waits for it any more.
                    process.abandon();
                }
            }
        })?;
        Ok(Self { orders, zygotes: None })
    }

    /// Has workers forked by zygotes where that can be; without it each is a program of its own.
    #[must_use]
    pub fn with_zygotes(self, settings: zygote::Settings) -> Self {
        let zygotes = Some(Zygotes::new(self.clone(), settings));
        Self { zygotes, ..self }
    }

    /// Says which scripts there are; call it again when that changes. A zygote pays from the second script on.
    pub fn know<'s>(&self, specs: impl Iterator<Item = &'s WorkerSpec>) {
        if let Some(zygotes) = &self.zygotes {
            zygotes.know(specs);
        }
    }

    /// Starts a worker in the better of the two ways.
    ///
    /// # Errors
    /// When there is nothing to start, or the system has no room.
    pub async fn launch(&self, launch: Launch) -> Result<Process, StartError> {
        if let Some(zygotes) = &self.zygotes {
            return zygotes.launch(launch).await;
        }
        self.spawn(launch).await
    }

    /// Ends the zygotes; the workers live on.
    pub async fn close(&self) {
        if let Some(zygotes) = &self.zygotes {
            zygotes.close().await;
        }
    }

    /// Starts a worker as a program of its own.
    ///
    /// # Errors
    /// When there is nothing to start, or the system has no room.
    pub async fn spawn(&self, launch: Launch) -> Result<Process, StartError> {
        self.order(launch, Role::Worker).await
    }

    pub(super) async fn spawn_zygote(&self, launch: Launch) -> Result<Process, StartError> {
        self.order(launch, Role::Zygote).await
    }

    async fn order(&self, launch: Launch, role: Role) -> Result<Process, StartError> {
        let program = launch.program.clone();
        let gone = || StartError::Passing {
            program: program.clone(),
            source: io::Error::other("the spawner thread has ended"),
        };
        let (answer, answered) = oneshot::channel();
        self.orders.send((launch, role, answer)).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// Keeps descriptors that this process got from whoever started it away from the workers; all others are closed on exec anyway.
#[expect(unsafe_code, reason = "descriptors that no part of this program owns")]
fn keep_what_we_inherited() {
    let Ok(entries) = std::fs::read_dir(sys::OWN_DESCRIPTORS) else { return };
    let numbers: Vec<i32> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // SAFETY: only its flag is set, which every descriptor of this program has already; one that was closed meanwhile gives an error.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
        let _ = rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC);
    }
}

fn start(launch: &Launch, role: Role) -> Result<Process, StartError> {
    launched(launch, role).map_err(|source| {
        let program = launch.program.display();
        match rustix::io::Errno::from_io_error(&source) {
            Some(rustix::io::Errno::NOENT) if launch.program.exists() => StartError::Permanent(format!(
                "`{program}` cannot be executed: the interpreter that it names in turn is not there"
            )),
            Some(rustix::io::Errno::NOEXEC | rustix::io::Errno::ACCESS | rustix::io::Errno::NOENT) => {
                StartError::Permanent(format!("`{program}` cannot be executed: {source}"))
            }
            _ => StartError::Passing { program: launch.program.clone(), source },
        }
    })
}

/// Makes the socket and the pipes between the agent and a worker.
pub(super) fn ends() -> io::Result<(OurEnds, TheirEnds)> {
    let (control, control_theirs) = sys::control_pair()?;
    let ((stdout, stdout_theirs), (stderr, stderr_theirs), (trace, trace_theirs)) =
        (sys::pipe()?, sys::pipe()?, sys::pipe()?);
    let theirs =
        TheirEnds { control: control_theirs, stdout: stdout_theirs, stderr: stderr_theirs, trace: trace_theirs };
    Ok((OurEnds { control, stdout, stderr, trace }, theirs))
}

fn launched(launch: &Launch, role: Role) -> io::Result<Process> {
    let (ours, theirs) = ends()?;
    let mut command = Command::new(&launch.program);
    command
        .arg(launch.core.join("pythond"))
        .envs(launch.envs.iter().map(|(key, value)| (key, value)))
        .env(RUN_COOKIE, &launch.run_dir)
        // What the service manager told the agent is not for scripts.
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env_remove("WATCHDOG_PID")
        .env(WORKER_COOKIE, &launch.token)
        .env("PYTHOND_CONTROL_FD", theirs.control.as_raw_fd().to_string())
        .env("PYTHOND_TRACE_FD", theirs.trace.as_raw_fd().to_string())
        .env("PYTHONUNBUFFERED", "1")
        .env("PYTHONIOENCODING", "utf-8:backslashreplace")
        .stdin(Stdio::null())
        .stdout(theirs.stdout)
        .stderr(theirs.stderr);
    let lock = launch.lock.as_ref().map(|lock| lock.as_fd().as_raw_fd());
    if let Some(lock) = lock {
        command.env("PYTHOND_LOCK_FD", lock.to_string());
    }
    let prepare = Preparation {
        control: theirs.control.as_raw_fd(),
        trace: theirs.trace.as_raw_fd(),
        lock,
        parent: rustix::process::getpid(),
    };
    if role == Role::Zygote {
        command.env("PYTHOND_ZYGOTE", "1");
    }
    // Held until it is listed, so that nobody takes it for an orphan meanwhile.
    let mut known = workers();
    let mut child = spawn_prepared(&mut command, prepare)?;
    let pid = child.id();
    // The child is ours and not reaped yet, so the number is still its own.
    let handle = match sys::Handle::open(pid) {
        Ok(handle) => handle,
        Err(error) => {
            child.kill()?;
            child.wait()?;
            return Err(error);
        }
    };
    known.pids.insert(pid);
    if role == Role::Zygote {
        known.zygotes.insert(pid);
    }
    Ok(Process::new(pid, handle, ours, &launch.token, Way::Executed { why: String::new() }))
}

/// A worker that a zygote is asked for: until it is adopted or this is dropped, no unknown child is taken for an orphan.
pub(super) struct Expected(());

impl Expected {
    pub fn new() -> Self {
        workers().expected += 1;
        Self(())
    }

    /// Takes the child that a zygote names: it is ours and not reaped yet, so the number is still its own.
    ///
    /// # Errors
    /// When it is no child of ours.
    pub fn adopt(self, pid: u32, ours: OurEnds, token: &str) -> io::Result<Process> {
        let mut known = workers();
        if parent_of(pid) != Some(std::process::id()) || known.pids.contains(&pid) {
            return Err(io::Error::other(format!("{pid} is no new child of this process")));
        }
        let handle = sys::Handle::open(pid)?;
        known.pids.insert(pid);
        Ok(Process::new(pid, handle, ours, token, Way::Forked))
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        workers().expected -= 1;
    }
}

/// Ends what a zygote may have begun to make of a request that it did not answer: whoever carries the token. Blocks.
pub(super) fn end_marked(token: &str) {
    let cookie = worker_cookie(token);
    let is_marked = |pid: u32| environment_has(pid, &cookie) && is_running(pid);
    let until = Instant::now() + TREE_END;
    loop {
        let left: Vec<u32> =
            processes().into_iter().filter(|pid| is_marked(*pid) && kill_if(*pid, is_marked)).collect();
        if left.is_empty() || Instant::now() >= until {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn worker_cookie(token: &str) -> Vec<u8> {
    format!("{WORKER_COOKIE}={token}").into_bytes()
}

/// What the child does between fork and exec; all else it does to itself in Python (`pythond.limits`), as a forked worker does.
#[derive(Clone, Copy)]
struct Preparation {
    control: i32,
    trace: i32,
    lock: Option<i32>,
    parent: Pid,
}

#[expect(unsafe_code, reason = "a child is prepared between fork and exec")]
fn spawn_prepared(command: &mut Command, prepare: Preparation) -> io::Result<std::process::Child> {
    // SAFETY: `Preparation::run` only makes system calls and touches no lock and no heap, as is required after a fork. The descriptors
    // borrowed in it are open in the parent, which holds them until after the spawn.
    unsafe {
        command.pre_exec(move || prepare.run(|raw| std::os::fd::BorrowedFd::borrow_raw(raw)));
    }
    command.spawn()
}

impl Preparation {
    fn run(self, borrow: impl Fn(i32) -> std::os::fd::BorrowedFd<'static>) -> io::Result<()> {
        rustix::process::setsid()?;
        for fd in [Some(self.control), Some(self.trace), self.lock].into_iter().flatten() {
            rustix::io::fcntl_setfd(borrow(fd), rustix::io::FdFlags::empty())?;
        }
        sys::end_with_parent()?;
        // The agent may have died before the line above.
        if rustix::process::getppid() != Some(self.parent) {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::CHILD.raw_os_error()));
        }
        Ok(())
    }
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).expect("a process has a positive number")
}

impl Process {
    fn new(pid: u32, handle: sys::Handle, ours: OurEnds, token: &str, way: Way) -> Self {
        let OurEnds { control, stdout, stderr, trace } = ours;
        let leash = Leash { pid, cookie: worker_cookie(token).into(), group: None, reaped: Arc::default() };
        Self { pid, control, stdout, stderr, trace, way, handle, leash }
    }

    /// Ends a process that nobody waits for. Blocks.
    pub(super) fn abandon(self) {
        self.leash.end_tree();
        reap(&self.handle, &self.leash);
    }

    /// Puts the worker into a cgroup, by which it is ended with all it has started.
    ///
    /// # Errors
    /// When the kernel refuses it; the worker then runs without.
    pub fn put_into(&mut self, group: Group) -> io::Result<()> {
        group.add(self.pid)?;
        self.leash.group = Some(group);
        Ok(())
    }

    /// Takes the process apart into what the supervisor's tasks need.
    ///
    /// # Errors
    /// When a descriptor cannot be watched.
    pub fn into_parts(self) -> io::Result<Parts> {
        Ok(Parts {
            pid: self.pid,
            way: self.way,
            death: Death { watch: self.handle.watch()?, leash: self.leash.clone() },
            leash: self.leash,
            channel: Channel::new(self.control)?,
            stdout: pipe::Receiver::from_owned_fd(self.stdout)?,
            stderr: pipe::Receiver::from_owned_fd(self.stderr)?,
            trace: pipe::Receiver::from_owned_fd(self.trace)?,
        })
    }
}

/// Tells when a process has ended, and how.
pub struct Death {
    watch: sys::Watch,
    leash: Leash,
}

impl Death {
    /// Waits for the end without reaping, so that group and session can still be ended under their number.
    ///
    /// # Errors
    /// When the descriptor cannot be watched.
    pub async fn wait(&self) -> io::Result<()> {
        self.watch.ended().await
    }

    /// Takes the exit status; call it after `wait`. From here on the leash reaches nobody.
    pub fn reap(&self) -> Ended {
        reap(self.watch.handle(), &self.leash)
    }
}

fn reap(handle: &sys::Handle, leash: &Leash) -> Ended {
    let mut reaped = leash.is_reaped();
    let taken = handle.reap();
    *reaped = true;
    let mut known = workers();
    known.pids.remove(&leash.pid);
    known.zygotes.remove(&leash.pid);
    drop(known);
    match taken {
        Ok(Some(status)) => ended(&status),
        // Somebody else took the status; what is known is that it is over.
        Ok(None) | Err(_) => Ended::Exited(-1),
    }
}

fn ended(status: &WaitIdStatus) -> Ended {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ended::Exited(code),
        (None, Some(signal)) => Ended::Killed(signal),
        (None, None) => Ended::Exited(-1),
    }
}

impl Leash {
    /// The cgroup of the worker, where it has one.
    pub fn group(&self) -> Option<&Group> {
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
        let mut known = BTreeSet::new();
        loop {
            let left = self.kill_all(&mut known);
            known.extend(&left);
            for pid in &known {
                // Those that came to us as their reaper would stay as zombies; the others are not ours to take.
                let _ = rustix::process::waitpid(Some(raw(*pid)), WaitOptions::NOHANG);
            }
            if left.is_empty() || Instant::now() >= until {
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

/// Kills another process if it is still the one that was meant.
pub(super) fn end_process(pid: u32, is_meant: impl Fn(u32) -> bool) {
    kill_if(pid, is_meant);
}

/// A process that is no worker, as a look through `/proc` saw it.
struct Seen {
    pid: u32,
    session: Option<u32>,
    /// The entry in its environment that tells whose it is; empty where there is none.
    cookie: Arc<[u8]>,
}

/// Looks through `/proc`. One look serves all who asked before it began: when hundreds of workers end together, each would look for itself,
/// and at all the others too.
fn look_around() -> Arc<[Seen]> {
    static LAST: Mutex<Option<(Instant, Arc<[Seen]>)>> = Mutex::new(None);
    let asked = Instant::now();
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((began, seen)) = &*last
        && *began > asked
    {
        return Arc::clone(seen);
    }
    let began = Instant::now();
    let others = processes().into_iter().filter(|pid| *pid != std::process::id() && !is_a_worker(*pid));
    let seen: Arc<[Seen]> =
        others.map(|pid| Seen { pid, session: session_of(pid), cookie: worker_cookie_of(pid) }).collect();
    *last = Some((began, Arc::clone(&seen)));
    seen
}

fn worker_cookie_of(pid: u32) -> Arc<[u8]> {
    sys::environment_entry(pid, format!("{WORKER_COOKIE}=").as_bytes())
}

fn workers() -> MutexGuard<'static, Known> {
    WORKERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// True for a worker that is not reaped yet, so that its number is surely its own.
fn is_a_worker(pid: u32) -> bool {
    workers().pids.contains(&pid)
}

fn run_cookie(run_dir: &Path) -> Vec<u8> {
    let mut cookie = OsString::from(RUN_COOKIE);
    cookie.push("=");
    cookie.push(run_dir);
    cookie.into_encoded_bytes()
}

/// Ends everything that an earlier agent on this run directory has left behind, and waits until it is gone.
pub async fn sweep_leftovers(run_dir: &Path) {
    let run_dir = run_dir.canonicalize().unwrap_or_else(|_| run_dir.to_owned());
    let all = move || {
        cgroup::sweep(&run_dir);
        sweep(&run_dir);
        lock::sweep(&run_dir);
    };
    let swept = tokio::task::spawn_blocking(all).await;
    if swept.is_err() {
        tracing::error!(target: "worker", "the look for processes of an earlier agent ended before its time");
    }
}

fn sweep(run_dir: &Path) {
    let cookie = run_cookie(run_dir);
    let until = Instant::now() + SWEEP;
    let is_left = |pid: u32| environment_has(pid, &cookie) && is_running(pid);
    let mut told = false;
    loop {
        let left: Vec<u32> =
            processes().into_iter().filter(|pid| *pid != std::process::id() && is_left(*pid)).collect();
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
    let cookie = run_cookie(run_dir);
    let own_session = session_of(std::process::id());
    // Held to the end: a worker that is being started must not be taken for an orphan.
    let workers = workers();
    if workers.expected > 0 {
        // One of the unknown children may be a worker; the next look sees what it is.
        return;
    }
    for pid in sys::children().into_iter().filter(|pid| !workers.pids.contains(pid)) {
        // A child of our own session was started by another part of this process, which waits for it itself.
        if session_of(pid) == own_session {
            continue;
        }
        // A daemon of a live worker may live as long as it does.
        if environment_has(pid, &cookie) {
            if !token_of(pid).is_some_and(|token| live_tokens.contains(&token)) {
                kill_if(pid, |pid| environment_has(pid, &cookie));
            }
        } else if workers.pids.len() == workers.zygotes.len() {
            // One that hides whose it is (an empty environment, a session of its own) lives no longer than the last of the workers.
            kill_if(pid, |pid| parent_of(pid) == Some(std::process::id()));
        }
        // Still running is fine; the next look takes it.
        let _ = rustix::process::waitpid(Some(raw(pid)), WaitOptions::NOHANG);
    }
}

fn token_of(pid: u32) -> Option<String> {
    let cookie = worker_cookie_of(pid);
    let token = cookie.strip_prefix(format!("{WORKER_COOKIE}=").as_bytes())?;
    Some(String::from_utf8_lossy(token).into_owned())
}
