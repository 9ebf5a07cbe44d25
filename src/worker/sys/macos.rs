//! macOS, with what POSIX has: frames as lines over a stream, SIGCHLD and `waitid`, and what the crate `sysinfo` tells of processes.
//!
//! There is no SEQPACKET, and a datagram socket does not tell that its peer is gone. There are no pidfds either: a child keeps its number
//! until it is reaped, and a process that is none is looked at in the moment before it is killed. Never run on macOS; its tests, and the
//! workers of a build with `--cfg pythond_as_macos`, run on Linux.

use std::ffi::CStr;
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, sockopt};
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus};
use sysinfo::{ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System, UpdateKind};
use tokio::io::ReadBuf;
use tokio::net::{UnixDatagram, UnixStream};
use tokio::signal::unix::{SignalKind, signal};

use crate::worker::scratch;

pub use rustix::process::Signal;

const ONLY_LINUX: &str = "only Linux has it";

/// Why no worker can be started here.
pub const NO_WORKERS: Option<&str> = None;
/// Why no worker is forked by a zygote here.
pub const NO_ZYGOTES: Option<&str> =
    Some("there are no zygotes on this system: its libraries do not work in a process that was only forked");
/// Why there are no cgroups here.
pub const NO_CGROUPS: Option<&str> = Some("only Linux has cgroups");
/// Why the kernel does not end a worker in the moment in which the agent dies.
pub const NO_DEATH_SIGNAL: Option<&str> = Some(ONLY_LINUX);
/// How something is sent without waiting; the signal when nobody is there is ignored by every Rust program.
pub const AT_ONCE: SendFlags = SendFlags::DONTWAIT;
/// A folder that lists the descriptors of this process.
pub const OWN_DESCRIPTORS: &str = "/dev/fd";

/// Room for a frame and those before it that the worker has not read yet; the system's own measure is 8 KiB.
const ROOM: usize = 256 * 1024;
/// A frame is at most 64 KiB long; more without an end is none.
const LONGEST_FRAME: usize = 128 * 1024;

/// Why orphans do not come to this process.
pub fn no_subreaper() -> Option<String> {
    Some(ONLY_LINUX.to_owned())
}

/// Why other processes cannot be looked at, where they cannot.
pub fn no_process_scan() -> Option<String> {
    processes().is_empty().then(|| "the system does not tell which processes there are".to_owned())
}

/// Does nothing: orphans go to the first process of the system here, and are found by their session and their environment.
pub fn become_subreaper() -> io::Result<()> {
    Ok(())
}

/// Does nothing: a worker learns of the agent's death by the end of its control socket.
pub fn end_with_parent() -> io::Result<()> {
    Ok(())
}

// --- what agent and worker talk through ---

/// One end of a control socket.
pub type ControlSocket = OwnedFd;

/// Makes a control socket: the agent's end and the worker's.
pub fn control_pair() -> io::Result<(ControlSocket, ControlSocket)> {
    let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::empty(), None)?;
    for end in [&ours, &theirs] {
        keep_at_exec(end)?;
        sockopt::set_socket_send_buffer_size(end, ROOM)?;
    }
    Ok((ours, theirs))
}

/// The agent's end of what a worker writes to.
pub type Pipe = tokio::net::unix::pipe::Receiver;

/// Makes a pipe: the end to read from and the end to write to.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (from, to) = rustix::pipe::pipe()?;
    keep_at_exec(&from)?;
    keep_at_exec(&to)?;
    Ok((from, to))
}

/// Closes a descriptor in programs that are started; one that another thread starts in the moment before gets it, as everywhere on this system.
fn keep_at_exec(fd: &OwnedFd) -> io::Result<()> {
    Ok(rustix::io::fcntl_setfd(fd, FdFlags::CLOEXEC)?)
}

/// The agent's end of a control socket, at work: each frame is a line.
pub struct Frames {
    socket: UnixStream,
    lines: Mutex<Lines>,
}

/// What was read and is no whole line yet.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    /// So far there is no end of a line.
    searched: usize,
}

impl Lines {
    fn take(&mut self) -> Option<Vec<u8>> {
        let Some(end) = memchr::memchr(b'\n', &self.bytes[self.searched..]) else {
            self.searched = self.bytes.len();
            return None;
        };
        let rest = self.bytes.split_off(self.searched + end + 1);
        let mut line = std::mem::replace(&mut self.bytes, rest);
        line.pop();
        self.searched = 0;
        Some(line)
    }

    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        match self.bytes.len() {
            ..=LONGEST_FRAME => Ok(()),
            // Several short ones are fine.
            _ if memchr::memchr(b'\n', &self.bytes).is_some() => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a frame without an end")),
        }
    }
}

impl Frames {
    /// # Errors
    /// When the descriptor cannot be watched.
    pub fn new(socket: ControlSocket) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UnixStream::from_std(socket)?, lines: Mutex::default() })
    }

    /// Sends a frame without waiting.
    ///
    /// # Errors
    /// When the worker is gone or its socket is full. Where a part of the frame went out the conversation is over: the worker sees its end.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let line = [frame, b"\n"].concat();
        let sent = rustix::net::send(&self.socket, &line, AT_ONCE)?;
        if sent < line.len() {
            rustix::net::shutdown(&self.socket, Shutdown::Both)?;
            return Err(io::Error::new(io::ErrorKind::WriteZero, "the worker does not read what it is told"));
        }
        Ok(())
    }

    /// Waits for a frame and hands it to `take`; at the end that is an empty one.
    ///
    /// # Errors
    /// When the socket cannot be read.
    pub async fn receive<T>(&self, mut take: impl FnMut(&[u8]) -> Option<T>) -> io::Result<Option<T>> {
        loop {
            let line = self.lines.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(line) = line {
                return Ok(take(&line));
            }
            let mut keep = |bytes: &[u8]| {
                self.lines.lock().unwrap_or_else(PoisonError::into_inner).add(bytes).map(|()| bytes.is_empty())
            };
            let poll = |context: &mut Context<'_>, buffer: &mut ReadBuf<'_>| self.poll_read(context, buffer);
            let is_end = poll_fn(|context| scratch::poll_into(context, poll, &mut keep)).await??;
            if is_end {
                return Ok(take(&[]));
            }
        }
    }

    fn poll_read(&self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.socket.poll_read_ready(context))?;
            match self.socket.try_read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// There are no datagrams here.
    ///
    /// # Errors
    /// Always.
    pub fn into_datagrams(self) -> io::Result<UnixDatagram> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "a stream carries no descriptors for a zygote"))
    }
}

// --- the end of a child ---

/// Holds on to a child: its number is its own until it is reaped.
pub struct Handle(Pid);

/// A child whose end is waited for.
pub struct Watch(Handle);

impl Handle {
    /// # Errors
    /// None on this system.
    pub fn open(pid: u32) -> io::Result<Self> {
        Ok(Self(raw(pid)))
    }

    /// Takes the status of a child that has ended.
    pub fn reap(&self) -> rustix::io::Result<Option<WaitIdStatus>> {
        rustix::process::waitid(WaitId::Pid(self.0), WaitIdOptions::EXITED)
    }

    /// # Errors
    /// None on this system.
    pub fn watch(self) -> io::Result<Watch> {
        Ok(Watch(self))
    }
}

impl Watch {
    /// Waits for the end without reaping.
    ///
    /// # Errors
    /// When SIGCHLD cannot be heard, or there is no such child.
    pub async fn ended(&self) -> io::Result<()> {
        // Heard from before the look on, so none is missed.
        let mut some_child = signal(SignalKind::child())?;
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while rustix::process::waitid(WaitId::Pid(self.0.0), look)?.is_none() {
            some_child.recv().await;
        }
        Ok(())
    }

    pub fn handle(&self) -> &Handle {
        &self.0
    }
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).expect("a process has a positive number")
}

/// This program, as it was called.
///
/// # Errors
/// When the system does not tell.
pub fn this_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// Does nothing: a process has the name of its file here, and its arguments say the rest.
pub fn call_this_process(_: &CStr) {}

// --- other processes ---

/// Kills a process that is no child of ours if it is still the one that was meant. Its number could go to another between the look and
/// the signal: here that moment cannot be made nothing, only short.
pub fn kill_if(pid: u32, is_meant: impl Fn(u32) -> bool) -> bool {
    let is_killed = is_meant(pid);
    if is_killed {
        // It may have ended already.
        let _ = rustix::process::kill_process(raw(pid), Signal::KILL);
    }
    is_killed
}

/// Looks at one process; `None` where there is none.
fn about<T>(pid: u32, what: ProcessRefreshKind, tell: impl FnOnce(&sysinfo::Process) -> T) -> Option<T> {
    let (mut system, pid) = (System::new(), sysinfo::Pid::from_u32(pid));
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, what);
    system.process(pid).map(tell)
}

fn nothing() -> ProcessRefreshKind {
    ProcessRefreshKind::nothing().without_tasks()
}

/// None: no orphan comes to this process, and who started another child waits for it.
pub fn children() -> Vec<u32> {
    Vec::new()
}

/// Resident memory of a process, in bytes.
pub fn memory(pid: u32) -> Option<u64> {
    about(pid, nothing().with_memory(), sysinfo::Process::memory)
}

/// The state of a process as one letter, as Linux tells it: `R`, `S`, `D`, `T`, `Z` …
pub fn state(pid: u32) -> Option<char> {
    about(pid, nothing(), |process| match process.status() {
        ProcessStatus::Run => 'R',
        ProcessStatus::UninterruptibleDiskSleep => 'D',
        ProcessStatus::Stop => 'T',
        ProcessStatus::Zombie => 'Z',
        ProcessStatus::Dead => 'X',
        _ => 'S',
    })
}

/// When a process was started, in seconds of the Unix epoch.
pub fn start_time(pid: u32) -> Option<u64> {
    about(pid, nothing(), sysinfo::Process::start_time)
}

/// The numbers of all processes that can be seen.
pub fn processes() -> Vec<u32> {
    let mut system = System::new();
    system.refresh_processes_specifics(ProcessesToUpdate::All, false, nothing());
    system.processes().keys().map(|pid| pid.as_u32()).collect()
}

pub fn parent_of(pid: u32) -> Option<u32> {
    about(pid, nothing(), sysinfo::Process::parent)?.map(sysinfo::Pid::as_u32)
}

pub fn session_of(pid: u32) -> Option<u32> {
    about(pid, nothing(), sysinfo::Process::session_id)?.map(sysinfo::Pid::as_u32)
}

pub fn is_running(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// The entry of a process's environment that begins with this name and `=`; empty where there is none, or it may not be looked at.
pub fn environment_entry(pid: u32, prefix: &[u8]) -> Arc<[u8]> {
    let entry = |entries: &[std::ffi::OsString]| -> Arc<[u8]> {
        entries.iter().map(|entry| entry.as_bytes()).find(|entry| entry.starts_with(prefix)).unwrap_or_default().into()
    };
    about(pid, nothing().with_environ(UpdateKind::Always), |process| entry(process.environ())).unwrap_or_default()
}

/// Whether a process has this entry in its environment.
pub fn environment_has(pid: u32, entry: &[u8]) -> bool {
    let has = |process: &sysinfo::Process| process.environ().iter().any(|there| there.as_bytes() == entry);
    about(pid, nothing().with_environ(UpdateKind::Always), has).unwrap_or(false)
}

/// There is no limit here by which a process could be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {}

/// None.
pub fn mark_of(_: &Path) -> Option<Mark> {
    None
}

/// # Errors
/// Never comes to it.
pub fn carry(mark: Mark) -> io::Result<()> {
    match mark {}
}

pub fn carries(_: u32, mark: Mark) -> bool {
    match mark {}
}

/// Who has a lock open cannot be told here.
pub fn holds_one_in(_: u32, _: &Path) -> bool {
    false
}

/// Who has a lock open cannot be told here; its last holder is known by the note beside it.
pub fn holds(_: u32, _: &File, _: &Path) -> bool {
    false
}

/// Empty: start times are those of the calendar here, and need no name of the machine's life.
pub fn boot_id() -> String {
    String::new()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};
    use std::time::Duration;

    use super::*;

    fn pair() -> (Frames, std::os::unix::net::UnixStream) {
        let (ours, theirs) = control_pair().unwrap();
        (Frames::new(ours).unwrap(), theirs.into())
    }

    async fn next(frames: &Frames) -> Option<String> {
        let text = |frame: &[u8]| (!frame.is_empty()).then(|| String::from_utf8(frame.to_vec()).unwrap());
        frames.receive(text).await.unwrap()
    }

    fn sleeper() -> Child {
        let mut command = Command::new("sleep");
        command.arg("1000").env_clear().env("PYTHOND_WORKER", "the-token");
        // SAFETY: `setsid` is one system call.
        #[expect(unsafe_code, reason = "a child is prepared between fork and exec")]
        unsafe {
            command.pre_exec(|| rustix::process::setsid().map(drop).map_err(io::Error::from));
        }
        command.spawn().unwrap()
    }

    #[tokio::test]
    async fn frames_come_whole_however_the_stream_cuts_them() {
        let (frames, mut worker) = pair();
        worker.write_all(b"{\"t\":1}\n{\"t\":2}\n{\"t\"").unwrap();
        assert_eq!(next(&frames).await.as_deref(), Some("{\"t\":1}"));
        assert_eq!(next(&frames).await.as_deref(), Some("{\"t\":2}"));
        let cut = tokio::time::timeout(Duration::from_millis(20), next(&frames)).await;
        assert!(cut.is_err(), "half a frame is none: {cut:?}");
        worker.write_all(b":3}\n").unwrap();
        assert_eq!(next(&frames).await.as_deref(), Some("{\"t\":3}"));
        worker.write_all(b"{\"t\"").unwrap();
        drop(worker);
        assert_eq!(next(&frames).await, None, "what was cut off by the end is no frame");
    }

    #[tokio::test]
    async fn a_long_frame_passes_and_one_without_an_end_does_not() {
        let (frames, mut worker) = pair();
        let long = "x".repeat(64 * 1024);
        frames.send(long.as_bytes()).unwrap();
        let told = std::thread::spawn(move || {
            worker.write_all(&b"y".repeat(LONGEST_FRAME + 1)).unwrap();
            let mut line = String::new();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(&worker), &mut line).unwrap();
            line
        });
        let refused = frames.receive(|_| Some(())).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        assert_eq!(told.join().unwrap(), format!("{long}\n"));
    }

    #[tokio::test]
    async fn a_worker_that_does_not_read_is_told_nothing_by_halves() {
        let (frames, worker) = pair();
        let frame = b"z".repeat(60_000);
        let refused = (0..1000).find_map(|_| frames.send(&frame).err()).expect("the socket is full at some time");
        assert!([io::ErrorKind::WriteZero, io::ErrorKind::WouldBlock].contains(&refused.kind()), "{refused}");
        if refused.kind() == io::ErrorKind::WriteZero {
            let mut all = Vec::new();
            std::io::Read::read_to_end(&mut &worker, &mut all).unwrap();
            assert!(all.len() % (frame.len() + 1) > 0, "the end follows the part that went out");
        }
    }

    #[tokio::test]
    #[expect(clippy::zombie_processes, reason = "its handle reaps it")]
    async fn the_end_of_a_child_is_seen_once_it_comes_and_again_after() {
        let mut child = sleeper();
        let watch = Handle::open(child.id()).unwrap().watch().unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(20), watch.ended()).await.is_err());
        child.kill().unwrap();
        watch.ended().await.unwrap();
        watch.ended().await.unwrap();
        assert_eq!(state(child.id()), Some('Z'), "it is not reaped yet");
        let status = watch.handle().reap().unwrap().unwrap();
        assert_eq!(status.terminating_signal(), Some(9));
        assert!(watch.ended().await.is_err());
    }

    #[test]
    fn a_process_tells_what_it_is() {
        let mut child = sleeper();
        let pid = child.id();
        // Until the exec it is a copy of this one.
        let until = std::time::Instant::now() + Duration::from_secs(30);
        while !environment_has(pid, b"PYTHOND_WORKER=the-token") {
            assert!(std::time::Instant::now() < until);
        }
        assert_eq!(&*environment_entry(pid, b"PYTHOND_WORKER="), b"PYTHOND_WORKER=the-token");
        assert_eq!(&*environment_entry(pid, b"PATH="), b"");
        assert_eq!((session_of(pid), parent_of(pid)), (Some(pid), Some(std::process::id())));
        assert!(is_running(pid) && processes().contains(&pid) && memory(pid) > Some(0));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert!(start_time(pid).is_some_and(|start| start.abs_diff(now) < 100));
        assert!(!kill_if(pid, |_| false) && is_running(pid));
        assert!(kill_if(pid, |there| there == pid));
        child.wait().unwrap();
        assert!(!is_running(pid) && start_time(pid).is_none());
    }
}
