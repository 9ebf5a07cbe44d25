//! The thread that starts all workers and zygotes as programs of their own.
//!
//! It never ends: the kernel sends the parent-death signal when the parent *thread* ends, so a thread of a pool would take its workers
//! with it.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use rustix::process::Pid;
use tokio::sync::oneshot;

use super::children::{Role, children};
use super::launch::{Launch, StartError, Way};
use super::process::{Process, ends};
use super::{cookie, sys};
use crate::platform;

/// Asks the thread; clones share it.
#[derive(Clone)]
pub(super) struct Spawner {
    orders: mpsc::Sender<SpawnRequest>,
}

/// What to start, as what, and who wants to know.
type SpawnRequest = (Launch, Role, oneshot::Sender<Result<Process, StartError>>);

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
        let (orders, taken) = mpsc::channel::<SpawnRequest>();
        std::thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            for (launch, role, answer) in taken {
                if let Err(Ok(process)) = answer.send(start(&launch, role)) {
                    // Nobody waits for it any more.
                    process.abandon();
                }
            }
        })?;
        Ok(Self { orders })
    }

    /// Starts a process.
    ///
    /// # Errors
    /// When there is nothing to start, or the system has no room.
    pub async fn spawn(&self, launch: Launch, role: Role) -> Result<Process, StartError> {
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

/// Sets CLOEXEC on inherited descriptors, so that workers do not get them; all others have it anyway.
#[expect(unsafe_code, reason = "descriptors that no part of this program owns")]
pub(super) fn keep_what_we_inherited() {
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

fn launched(launch: &Launch, role: Role) -> io::Result<Process> {
    let (ours, theirs) = ends()?;
    let mut command = Command::new(&launch.program);
    command
        .arg(launch.core.join("pythond"))
        .envs(launch.envs.iter().map(|(key, value)| (key, value)))
        .env(cookie::RUN, &launch.run_dir)
        // What the service manager told the agent is not for scripts.
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env_remove("WATCHDOG_PID")
        .env(cookie::WORKER, &launch.token)
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
        mark: sys::mark_of(&launch.run_dir),
        umask: platform::umask_of_scripts(),
    };
    if role == Role::Zygote {
        command.env("PYTHOND_ZYGOTE", "1");
    }
    // Held until it is listed, so that nobody takes it for an orphan meanwhile.
    let mut children = children();
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
    children.add(pid, role);
    Ok(Process::new(pid, handle, ours, &launch.token, Way::Executed { why: String::new() }))
}

/// What the child does between fork and exec; all else it does to itself in Python (`pythond.limits`), as a forked worker does.
#[derive(Clone, Copy)]
struct Preparation {
    control: i32,
    trace: i32,
    lock: Option<i32>,
    parent: Pid,
    mark: Option<sys::Mark>,
    /// Where it is another than that of this process.
    umask: Option<u32>,
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
        if let Some(mark) = self.mark {
            // Where it cannot be had, the cookie, the lock and the cgroup are left.
            let _ = sys::carry(mark);
        }
        if let Some(umask) = self.umask {
            platform::umask(umask);
        }
        sys::end_with_parent()?;
        // The agent may have died before the line above.
        if rustix::process::getppid() != Some(self.parent) {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::CHILD.raw_os_error()));
        }
        Ok(())
    }
}
