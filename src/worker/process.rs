//! Starts and ends worker processes, and finds everything that one has left behind.
//!
//! All workers are started by one thread that never ends: the kernel sends the parent-death signal when the parent *thread* ends, so a
//! thread of a pool would take its workers with it. The agent is a child subreaper: what a script leaves behind becomes a child of the agent,
//! where it is found, ended and reaped. What a worker started is known by its process group, by its session, and by a cookie in the
//! environment that survives `setsid` and double forks.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, WaitIdStatus, WaitOptions};
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::WorkerSpec;
use super::control::Channel;
#[cfg(target_os = "linux")]
use super::zygote::{self, Zygotes};

/// In the environment of a worker and of everything it starts: whose run directory, and which worker.
const RUN_COOKIE: &str = "PYTHOND_RUN";
const WORKER_COOKIE: &str = "PYTHOND_WORKER";

/// What workers get of open files; `select` in scripts fails above.
const OPEN_FILES: u64 = 1024;

/// How long the end of an earlier agent's processes is waited for.
const SWEEP: Duration = Duration::from_secs(5);

/// Asks the thread that starts all workers, or a zygote where there is one.
#[derive(Clone)]
pub struct Spawner {
    orders: mpsc::Sender<Order>,
    #[cfg(target_os = "linux")]
    zygotes: Option<Zygotes>,
}

/// What to start, as what, and who wants to know.
type Order = (Launch, Role, oneshot::Sender<Result<Process, StartError>>);

/// What a process is started as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Worker,
    #[cfg(target_os = "linux")]
    Zygote,
}

/// The workers and zygotes that are not reaped yet: children whose status somebody waits for. One list for the process, since its
/// children are its own however many parts start some.
static WORKERS: Mutex<Known> = Mutex::new(Known { pids: BTreeSet::new(), expected: 0 });

struct Known {
    pids: BTreeSet<u32>,
    /// Workers that a zygote is forking: children whose numbers are not known yet.
    expected: usize,
}

/// How long the end of what a killed worker left behind is waited for.
const TREE_END: Duration = Duration::from_secs(2);

/// What to start.
#[derive(Debug, Clone)]
pub struct Launch {
    pub program: PathBuf,
    /// The `core` directory that holds the Python package.
    pub core: PathBuf,
    pub run_dir: PathBuf,
    pub token: String,
    pub envs: Vec<(String, String)>,
    pub nice: i32,
    pub memory_max: Option<u64>,
    pub cwd: PathBuf,
    /// The interpreter as written in the settings.
    pub cmd: String,
}

impl Launch {
    pub fn new(spec: &WorkerSpec, program: PathBuf, core: &Path, run_dir: &Path, token: &str) -> Self {
        Self {
            program,
            core: core.to_owned(),
            run_dir: run_dir.to_owned(),
            token: token.to_owned(),
            envs: spec.envs.clone(),
            nice: spec.nice,
            memory_max: spec.memory_max,
            cwd: spec.script.parent().map(Path::to_owned).unwrap_or_default(),
            cmd: spec.cmd.clone(),
        }
    }

    /// # Errors
    /// A sentence about the folder that the worker would start in, if that is not there. May block.
    pub(super) fn check_cwd(&self) -> Result<(), StartError> {
        if self.cwd.is_dir() {
            return Ok(());
        }
        Err(StartError::Permanent(format!("the folder {} is not there", self.cwd.display())))
    }
}

/// How a worker came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// By a zygote.
    Forked,
    /// As a program of its own, and why it was not forked.
    Executed { why: String },
}

/// A started worker; dropping it does not end the process.
pub struct Process {
    pub pid: u32,
    pub control: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    /// Stacks of `faulthandler`.
    pub trace: OwnedFd,
    pub way: Way,
    pidfd: OwnedFd,
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
    reaped: Arc<Mutex<bool>>,
}

/// Why a worker could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Trying again changes nothing until somebody changes the machine.
    #[error("{0}")]
    Permanent(String),
    #[error("could not start `{}`", program.display())]
    Passing { program: PathBuf, source: io::Error },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Exited(i32),
    Killed(i32),
}

impl Ended {
    /// `exited with code 3`, `killed by signal 11 (SIGSEGV)`.
    pub fn tell(self) -> String {
        match self {
            Self::Exited(code) => format!("exited with code {code}"),
            Self::Killed(signal) => format!(
                "killed by signal {signal}{}",
                signal_name(signal).map_or(String::new(), |name| format!(" ({name})"))
            ),
        }
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

impl Spawner {
    /// Starts the thread and makes this process the reaper of what its descendants leave behind.
    ///
    /// # Errors
    /// When the system refuses the thread.
    pub fn start() -> io::Result<Self> {
        // Without it (an old kernel) only orphans in the worker's own group and session are found.
        if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
            tracing::warn!(target: "worker", "not a child subreaper: {error}");
        }
        keep_what_we_inherited();
        raise_open_files();
        let (orders, taken) = mpsc::channel::<Order>();
        std::thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            for (launch, role, answer) in taken {
                if let Err(Ok(process)) = answer.send(start(&launch, role)) {
                    // Nobody waits for it any more.
                    process.abandon();
                }
            }
        })?;
        Ok(Self {
            orders,
            #[cfg(target_os = "linux")]
            zygotes: None,
        })
    }

    /// Has workers forked by zygotes where that can be; without it each is a program of its own.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn with_zygotes(self, settings: zygote::Settings) -> Self {
        let zygotes = Some(Zygotes::new(self.clone(), settings));
        Self { zygotes, ..self }
    }

    /// Says which scripts there are; call it again when that changes. A zygote pays from the second script on.
    pub fn know(&self, specs: &[WorkerSpec]) {
        #[cfg(target_os = "linux")]
        if let Some(zygotes) = &self.zygotes {
            zygotes.know(specs);
        }
    }

    /// Starts a worker in the better of the two ways.
    ///
    /// # Errors
    /// When there is nothing to start, or the system has no room.
    pub async fn launch(&self, launch: Launch) -> Result<Process, StartError> {
        #[cfg(target_os = "linux")]
        if let Some(zygotes) = &self.zygotes {
            return zygotes.launch(launch).await;
        }
        self.spawn(launch).await
    }

    /// Ends the zygotes; the workers live on.
    pub async fn close(&self) {
        #[cfg(target_os = "linux")]
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

    #[cfg(target_os = "linux")]
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
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<i32> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // SAFETY: only its flag is set, which every descriptor of this program has already; one that was closed meanwhile gives an error.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
        let _ = rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC);
    }
}

/// Each worker takes five descriptors of ours; the usual soft limit of 1024 is for programs that use `select`.
fn raise_open_files() {
    let files = rustix::process::getrlimit(Resource::Nofile);
    // Refused or not, the agent runs.
    let _ = limit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum });
}

/// True for what pyenv and its kind put in the place of an interpreter.
pub fn is_shim(program: &Path) -> bool {
    program.parent().and_then(|dir| dir.file_name()).is_some_and(|name| name == "shims")
}

/// Finds the interpreter: an absolute path, or a name on the PATH of the settings' environment.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn find_program(cmd: &str, envs: &[(String, String)]) -> Result<PathBuf, StartError> {
    let path = envs.iter().rev().find(|(key, _)| key == "PATH").map(|(_, value)| value.clone());
    let path = path.map(Into::into).or_else(|| std::env::var_os("PATH"));
    which::which_in(cmd, path, "/").map_err(|_| StartError::Permanent(why_not(cmd)))
}

fn why_not(cmd: &str) -> String {
    let path = Path::new(cmd);
    match std::fs::metadata(path) {
        _ if !cmd.contains('/') => format!("the interpreter `{cmd}` is not on the PATH"),
        Err(error) => format!("the interpreter `{cmd}` cannot be used: {error}"),
        Ok(meta) if meta.is_dir() => format!("the interpreter `{cmd}` is a directory"),
        Ok(_) => format!("the interpreter `{cmd}` is not executable"),
    }
}

fn start(launch: &Launch, role: Role) -> Result<Process, StartError> {
    launch.check_cwd()?;
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
    let (control, control_theirs) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let ((stdout, stdout_theirs), (stderr, stderr_theirs), (trace, trace_theirs)) = (pipe()?, pipe()?, pipe()?);
    let theirs =
        TheirEnds { control: control_theirs, stdout: stdout_theirs, stderr: stderr_theirs, trace: trace_theirs };
    Ok((OurEnds { control, stdout, stderr, trace }, theirs))
}

fn launched(launch: &Launch, role: Role) -> io::Result<Process> {
    let (ours, theirs) = ends()?;
    let mut command = Command::new(&launch.program);
    command
        .arg(launch.core.join("pythond"))
        .current_dir(&launch.cwd)
        .envs(launch.envs.iter().map(|(key, value)| (key, value)))
        .env(RUN_COOKIE, &launch.run_dir)
        .env(WORKER_COOKIE, &launch.token)
        .env("PYTHOND_CONTROL_FD", theirs.control.as_raw_fd().to_string())
        .env("PYTHOND_TRACE_FD", theirs.trace.as_raw_fd().to_string())
        .env("PYTHONUNBUFFERED", "1")
        .env("PYTHONIOENCODING", "utf-8:backslashreplace")
        .stdin(Stdio::null())
        .stdout(theirs.stdout)
        .stderr(theirs.stderr);
    let mut prepare = Preparation {
        control: theirs.control.as_raw_fd(),
        trace: theirs.trace.as_raw_fd(),
        parent: rustix::process::getpid(),
        nice: Some(launch.nice),
        memory_max: launch.memory_max,
    };
    #[cfg(target_os = "linux")]
    if role == Role::Zygote {
        command.env("PYTHOND_ZYGOTE", "1");
        // A worker can be made nicer, but not less nice.
        prepare.nice = None;
    }
    // Held until it is listed, so that nobody takes it for an orphan meanwhile.
    let mut known = workers();
    let mut child = spawn_prepared(&mut command, prepare)?;
    let pid = child.id();
    // The child is ours and not reaped yet, so the number is still its own.
    let pidfd = match rustix::process::pidfd_open(raw(pid), PidfdFlags::NONBLOCK) {
        Ok(pidfd) => pidfd,
        Err(error) => {
            child.kill()?;
            child.wait()?;
            return Err(error.into());
        }
    };
    known.pids.insert(pid);
    Ok(Process::new(pid, pidfd, ours, &launch.token, Way::Executed { why: String::new() }))
}

/// A worker that a zygote is asked for: until it is adopted or this is dropped, no unknown child is taken for an orphan.
#[cfg(target_os = "linux")]
pub(super) struct Expected(());

#[cfg(target_os = "linux")]
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
        let parent = stat(pid).and_then(|fields| fields.get(1)?.parse::<u32>().ok());
        if parent != Some(std::process::id()) || known.pids.contains(&pid) {
            return Err(io::Error::other(format!("{pid} is no new child of this process")));
        }
        let pidfd = rustix::process::pidfd_open(raw(pid), PidfdFlags::NONBLOCK)?;
        known.pids.insert(pid);
        Ok(Process::new(pid, pidfd, ours, token, Way::Forked))
    }
}

#[cfg(target_os = "linux")]
impl Drop for Expected {
    fn drop(&mut self) {
        workers().expected -= 1;
    }
}

/// Ends what a zygote may have begun to make of a request that it did not answer: whoever carries the token. Blocks.
#[cfg(target_os = "linux")]
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

/// What the child does between fork and exec.
#[derive(Clone, Copy)]
struct Preparation {
    control: i32,
    trace: i32,
    parent: Pid,
    nice: Option<i32>,
    memory_max: Option<u64>,
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
        for fd in [self.control, self.trace] {
            rustix::io::fcntl_setfd(borrow(fd), rustix::io::FdFlags::empty())?;
        }
        // The agent must outlive its workers when memory runs out; where /proc is not writable this is a wish.
        if let Ok(file) =
            rustix::fs::open(c"/proc/self/oom_score_adj", rustix::fs::OFlags::WRONLY, rustix::fs::Mode::empty())
        {
            let _ = rustix::io::write(file, b"500");
        }
        limit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
        let files = rustix::process::getrlimit(Resource::Nofile);
        limit(
            Resource::Nofile,
            Rlimit { current: Some(files.maximum.unwrap_or(OPEN_FILES).min(OPEN_FILES)), maximum: files.maximum },
        )?;
        if let Some(bytes) = self.memory_max {
            limit(Resource::Data, Rlimit { current: Some(bytes), maximum: Some(bytes) })?;
        }
        // A lower value than ours needs a right that we may not have; the script runs all the same.
        let _ = self.nice.map(|nice| rustix::process::setpriority_process(None, nice));
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The agent may have died before the line above.
        if rustix::process::getppid() != Some(self.parent) {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::CHILD.raw_os_error()));
        }
        Ok(())
    }
}

fn limit(resource: Resource, limit: Rlimit) -> io::Result<()> {
    Ok(rustix::process::setrlimit(resource, limit)?)
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).expect("a process has a positive number")
}

impl Process {
    fn new(pid: u32, pidfd: OwnedFd, ours: OurEnds, token: &str, way: Way) -> Self {
        let OurEnds { control, stdout, stderr, trace } = ours;
        let leash = Leash { pid, cookie: worker_cookie(token).into(), reaped: Arc::default() };
        Self { pid, control, stdout, stderr, trace, way, pidfd, leash }
    }

    /// Ends a process that nobody waits for. Blocks.
    pub(super) fn abandon(self) {
        self.leash.end_tree();
        reap(&self.pidfd, &self.leash);
    }

    /// Takes the process apart into what the supervisor's tasks need.
    ///
    /// # Errors
    /// When a descriptor cannot be watched.
    pub fn into_parts(self) -> io::Result<Parts> {
        Ok(Parts {
            pid: self.pid,
            way: self.way,
            death: Death { pidfd: watched(self.pidfd)?, leash: self.leash.clone() },
            leash: self.leash,
            channel: Channel::new(self.control)?,
            stdout: pipe::Receiver::from_owned_fd(self.stdout)?,
            stderr: pipe::Receiver::from_owned_fd(self.stderr)?,
            trace: pipe::Receiver::from_owned_fd(self.trace)?,
        })
    }
}

#[expect(unsafe_code, reason = "a descriptor is handed to the runtime")]
fn watched(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is the same open descriptor for as long as it lives.
    unsafe { AsyncFd::register(pidfd) }.map_err(|refused| refused.into_parts().1)
}

/// A process with its descriptors watched.
pub struct Parts {
    pub pid: u32,
    pub way: Way,
    pub death: Death,
    pub leash: Leash,
    pub channel: Channel,
    pub stdout: pipe::Receiver,
    pub stderr: pipe::Receiver,
    pub trace: pipe::Receiver,
}

/// Tells when a process has ended, and how.
pub struct Death {
    pidfd: AsyncFd<OwnedFd>,
    leash: Leash,
}

impl Death {
    /// Waits for the end without reaping, so that group and session can still be ended under their number.
    ///
    /// # Errors
    /// When the descriptor cannot be watched.
    pub async fn wait(&self) -> io::Result<()> {
        self.pidfd.readable().await?.retain_ready();
        Ok(())
    }

    /// Takes the exit status; call it after `wait`. From here on the leash reaches nobody.
    pub fn reap(&self) -> Ended {
        reap(self.pidfd.get_ref(), &self.leash)
    }
}

fn reap(pidfd: &OwnedFd, leash: &Leash) -> Ended {
    let mut reaped = leash.is_reaped();
    let taken = rustix::process::waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(pidfd)), WaitIdOptions::EXITED);
    *reaped = true;
    workers().pids.remove(&leash.pid);
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
            let left = self.kill_all();
            known.extend(&left);
            known.extend(children().into_iter().filter(|pid| *pid != self.pid && session_of(*pid) == Some(self.pid)));
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

    /// Kills everybody who is there now; returns who was, without the worker itself.
    fn kill_all(&self) -> Vec<u32> {
        let reaped = self.is_reaped();
        if *reaped {
            return Vec::new();
        }
        // It may have ended already.
        let _ = rustix::process::kill_process_group(raw(self.pid), Signal::KILL);
        let _ = rustix::process::kill_process(raw(self.pid), Signal::KILL);
        let is_mine =
            |pid: u32| is_running(pid) && (session_of(pid) == Some(self.pid) || environment_has(pid, &self.cookie));
        let others = processes().into_iter().filter(|pid| *pid != self.pid && *pid != std::process::id());
        others.filter(|pid| is_mine(*pid) && kill_if(*pid, is_mine)).collect()
    }

    fn is_reaped(&self) -> MutexGuard<'_, bool> {
        self.reaped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kills a process that is no child of ours if it is still the one that was meant: its number could have gone to another meanwhile.
fn kill_if(pid: u32, is_meant: impl Fn(u32) -> bool) -> bool {
    match rustix::process::pidfd_open(raw(pid), PidfdFlags::empty()) {
        Ok(pidfd) if is_meant(pid) => {
            // It may have ended already.
            let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
            true
        }
        Ok(_) | Err(_) => false,
    }
}

fn workers() -> MutexGuard<'static, Known> {
    WORKERS.lock().unwrap_or_else(PoisonError::into_inner)
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
    let swept = tokio::task::spawn_blocking(move || sweep(&run_dir)).await;
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
            tracing::warn!(target: "worker", "ending {} processes that an earlier agent left behind: {left:?}", left.len());
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
    for pid in children().into_iter().filter(|pid| !workers.pids.contains(pid)) {
        // A child of our own session was started by another part of this process, which waits for it itself.
        if session_of(pid) == own_session {
            continue;
        }
        // A daemon of a live worker may live as long as it does.
        if environment_has(pid, &cookie) && !token_of(pid).is_some_and(|token| live_tokens.contains(&token)) {
            kill_if(pid, |pid| environment_has(pid, &cookie));
        }
        // Still running is fine; the next look takes it.
        let _ = rustix::process::waitpid(Some(raw(pid)), WaitOptions::NOHANG);
    }
}

fn token_of(pid: u32) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let prefix = format!("{WORKER_COOKIE}=").into_bytes();
    let token = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(prefix.as_slice()))?;
    Some(String::from_utf8_lossy(token).into_owned())
}

fn children() -> Vec<u32> {
    let own = std::process::id();
    if !Path::new("/proc/self/task").join(own.to_string()).join("children").exists() {
        // A kernel that does not list them.
        let parent = |pid: u32| stat(pid).and_then(|fields| fields.get(1)?.parse::<u32>().ok());
        return processes().into_iter().filter(|pid| parent(*pid) == Some(own)).collect();
    }
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let lists = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()).collect()
}

/// Resident memory of a process, in bytes.
pub fn memory(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn processes() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The fields of `/proc/<pid>/stat` behind the name, which may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let behind = &text[text.rfind(')')? + 1..];
    Some(behind.split_whitespace().map(str::to_owned).collect())
}

fn session_of(pid: u32) -> Option<u32> {
    stat(pid)?.get(3)?.parse().ok()
}

fn is_running(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields.first().is_some_and(|state| state != "Z" && state != "X"))
}

fn environment_has(pid: u32, entry: &[u8]) -> bool {
    std::fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|there| there == entry))
}
