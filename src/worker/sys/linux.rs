//! Linux: datagrams over SEQPACKET, pidfds, and `/proc`.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Context;

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, WaitId, WaitIdOptions, WaitIdStatus};
use sha2::{Digest, Sha256};
use tokio::io::ReadBuf;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixDatagram;

use crate::worker::scratch;

pub use rustix::process::Signal;

/// Why no worker can be started here.
pub const NO_WORKERS: Option<&str> = None;
/// Why no worker is forked by a zygote here.
pub const NO_ZYGOTES: Option<&str> = None;
/// Why there are no cgroups here.
pub const NO_CGROUPS: Option<&str> = None;
/// Why the kernel does not end a worker in the moment in which the agent dies.
pub const NO_DEATH_SIGNAL: Option<&str> = None;
/// How something is sent without waiting, and without a signal when nobody is there.
pub const AT_ONCE: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);
/// A folder that lists the descriptors of this process.
pub const OWN_DESCRIPTORS: &str = "/proc/self/fd";

/// Why orphans do not come to this process, where they do not.
pub fn no_subreaper() -> Option<String> {
    match rustix::process::child_subreaper() {
        Ok(Some(_)) => None,
        Ok(None) => Some("the kernel has refused it".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// Why other processes cannot be looked at, where they cannot.
pub fn no_process_scan() -> Option<String> {
    (!Path::new("/proc/self/stat").exists()).then(|| "/proc is not there".to_owned())
}

/// Has orphans of this process's descendants come to it.
pub fn become_subreaper() -> io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(io::Error::from)
}

/// In a child that was just forked: has the kernel end it when the thread that forked it ends.
pub fn end_with_parent() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)
}

// --- what agent and worker talk through ---

/// One end of a control socket.
pub type ControlSocket = OwnedFd;

/// Makes a control socket: the agent's end and the worker's.
pub fn control_pair() -> io::Result<(ControlSocket, ControlSocket)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// The agent's end of what a worker writes to.
pub type Pipe = tokio::net::unix::pipe::Receiver;

/// Makes a pipe: the end to read from and the end to write to.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// The agent's end of a control socket, at work: each frame is a datagram.
pub struct Frames {
    /// Sends and receives whole messages like a datagram socket, and tells the end like a stream.
    socket: UnixDatagram,
}

impl Frames {
    /// # Errors
    /// When the descriptor cannot be watched.
    pub fn new(socket: ControlSocket) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixDatagram::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UnixDatagram::from_std(socket)? })
    }

    /// Sends a frame without waiting.
    ///
    /// # Errors
    /// When the worker is gone or its socket is full.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // Not `try_send` of the runtime, which may not have seen yet that a new socket is writable.
        rustix::net::send(&self.socket, frame, AT_ONCE)?;
        Ok(())
    }

    /// Waits for a frame and hands it to `take`; at the end that is an empty one.
    ///
    /// # Errors
    /// When the socket cannot be read.
    pub async fn receive<T>(&self, mut take: impl FnMut(&[u8]) -> Option<T>) -> io::Result<Option<T>> {
        let poll = |context: &mut Context<'_>, buffer: &mut ReadBuf<'_>| self.socket.poll_recv(context, buffer);
        poll_fn(|context| scratch::poll_into(context, poll, &mut take)).await
    }

    /// The socket itself, over which descriptors can be sent.
    ///
    /// # Errors
    /// Where it carries no datagrams.
    pub fn into_datagrams(self) -> io::Result<UnixDatagram> {
        Ok(self.socket)
    }
}

// --- the end of a child ---

/// Holds on to a child: its number is its own until it is reaped.
pub struct Handle(OwnedFd);

/// A child whose end is waited for.
pub struct Watch(AsyncFd<Handle>);

impl AsFd for Handle {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl std::os::fd::AsRawFd for Handle {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}

impl Handle {
    /// # Errors
    /// When there is no such process, or no descriptor left.
    pub fn open(pid: u32) -> io::Result<Self> {
        Ok(Self(rustix::process::pidfd_open(raw(pid), PidfdFlags::NONBLOCK)?))
    }

    /// Takes the status of a child that has ended.
    pub fn reap(&self) -> rustix::io::Result<Option<WaitIdStatus>> {
        rustix::process::waitid(WaitId::PidFd(self.as_fd()), WaitIdOptions::EXITED)
    }

    /// # Errors
    /// When the descriptor cannot be watched.
    #[expect(unsafe_code, reason = "a descriptor is handed to the runtime")]
    pub fn watch(self) -> io::Result<Watch> {
        // SAFETY: an `OwnedFd` is the same open descriptor for as long as it lives.
        unsafe { AsyncFd::register(self) }.map(Watch).map_err(|refused| refused.into_parts().1)
    }
}

impl Watch {
    /// Waits for the end without reaping.
    ///
    /// # Errors
    /// When the descriptor cannot be watched.
    pub async fn ended(&self) -> io::Result<()> {
        self.0.readable().await?.retain_ready();
        Ok(())
    }

    pub fn handle(&self) -> &Handle {
        self.0.get_ref()
    }
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).expect("a process has a positive number")
}

/// This program, whatever has become of its file.
///
/// # Errors
/// Never.
pub fn this_program() -> io::Result<PathBuf> {
    Ok(PathBuf::from("/proc/self/exe"))
}

/// Gives this process a name for people, in place of that of its file.
pub fn call_this_process(name: &CStr) {
    // Without it `ps` still shows its arguments.
    let _ = rustix::thread::set_name(name);
}

// --- other processes ---

/// Kills a process that is no child of ours if it is still the one that was meant: its number could have gone to another meanwhile.
pub fn kill_if(pid: u32, is_meant: impl Fn(u32) -> bool) -> bool {
    match rustix::process::pidfd_open(raw(pid), PidfdFlags::empty()) {
        Ok(pidfd) if is_meant(pid) => {
            // It may have ended already.
            let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
            true
        }
        Ok(_) | Err(_) => false,
    }
}

/// The children of this process, also those that came to it as orphans.
pub fn children() -> Vec<u32> {
    let own = std::process::id();
    if !Path::new("/proc/self/task").join(own.to_string()).join("children").exists() {
        // A kernel that does not list them.
        return processes().into_iter().filter(|pid| parent_of(*pid) == Some(own)).collect();
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

/// The state of a process as one letter of the kernel: `R`, `S`, `D`, `T`, `Z` …
pub fn state(pid: u32) -> Option<char> {
    stat(pid)?.first()?.chars().next()
}

/// When a process was started, in clock ticks since the start of the machine.
pub fn start_time(pid: u32) -> Option<u64> {
    stat(pid)?.get(19)?.parse().ok()
}

/// The numbers of all processes that can be seen.
pub fn processes() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The fields of `/proc/<pid>/stat` behind the name, which may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let behind = &text[text.rfind(')')? + 1..];
    Some(behind.split_whitespace().map(str::to_owned).collect())
}

pub fn parent_of(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

pub fn session_of(pid: u32) -> Option<u32> {
    stat(pid)?.get(3)?.parse().ok()
}

pub fn is_running(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields.first().is_some_and(|state| state != "Z" && state != "X"))
}

/// The entry of a process's environment that begins with this name and `=`; empty where there is none, or it may not be looked at.
pub fn environment_entry(pid: u32, prefix: &[u8]) -> Arc<[u8]> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).find(|entry| entry.starts_with(prefix)).unwrap_or_default().into()
}

/// Whether a process has this entry in its environment.
pub fn environment_has(pid: u32, entry: &[u8]) -> bool {
    std::fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|there| there == entry))
}

/// What a process and all that it starts carry, whatever they do to their environment, session and descriptors: a hard limit that only
/// this run directory has. Real-time priority is never limited by it, for it is some ten thousand years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(u64);

/// The mark of what belongs to this run directory; `None` where that is not there.
pub fn mark_of(run_dir: &Path) -> Option<Mark> {
    let run_dir = run_dir.canonicalize().ok()?;
    let meta = std::fs::metadata(&run_dir).ok()?;
    let mut hash = Sha256::new_with_prefix(run_dir.as_os_str().as_encoded_bytes());
    // A container may have another folder of the same name.
    hash.update(meta.dev().to_ne_bytes());
    hash.update(meta.ino().to_ne_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let number = digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Some(Mark(1 << 61 | number >> 3))
}

/// Has this process carry a mark; only system calls, for a child that was just forked.
///
/// # Errors
/// When this process may have less real time than that, and no right to more.
pub fn carry(mark: Mark) -> io::Result<()> {
    let now = rustix::process::getrlimit(Resource::Rttime);
    let current = now.current.map_or(mark.0, |current| current.min(mark.0));
    Ok(rustix::process::setrlimit(Resource::Rttime, Rlimit { current: Some(current), maximum: Some(mark.0) })?)
}

/// Whether a process carries a mark. Everybody may look at this, other than at an environment.
pub fn carries(pid: u32, mark: Mark) -> bool {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let hard = limits.lines().find_map(|line| line.strip_prefix("Max realtime timeout")?.split_whitespace().nth(1));
    hard.is_some_and(|hard| hard.parse() == Ok(mark.0))
}

/// Whether a process has a lock open of those in this folder, and not only its file: somebody may just look at it.
pub fn holds_one_in(pid: u32, dir: &Path) -> bool {
    let is_lock = |link: &Path| link.parent() == Some(dir) && link.extension().is_some_and(|end| end == "lock");
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    entries.flatten().any(|entry| {
        std::fs::read_link(entry.path()).is_ok_and(|link| is_lock(&link)) && has_lock(pid, &entry.file_name())
    }) && !is_being_started(pid)
}

/// Whether a child of this process has not begun its own program yet: until then it has all files open that this one has.
fn is_being_started(pid: u32) -> bool {
    let program = |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let own = std::process::id();
    parent_of(pid) == Some(own) && program(own).is_some_and(|ours| program(pid) == Some(ours))
}

fn has_lock(pid: u32, fd: &OsStr) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", fd.display()))
        .is_ok_and(|facts| facts.lines().any(|line| line.starts_with("lock:") && line.contains("FLOCK")))
}

/// Whether a process has this lock open, and not only the file: somebody may just look at it.
pub fn holds(pid: u32, file: &File, path: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let Ok(meta) = file.metadata() else { return false };
    entries.flatten().any(|entry| {
        // The link first: it costs no look at the disk, which may hang.
        std::fs::read_link(entry.path()).is_ok_and(|link| link == path)
            && std::fs::metadata(entry.path()).is_ok_and(|there| (there.dev(), there.ino()) == (meta.dev(), meta.ino()))
            && has_lock(pid, &entry.file_name())
    }) && !is_being_started(pid)
}

/// Names the life of the machine in which start times can be compared.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_mark_is_inherited_by_what_changes_all_else() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (mark, of_other) = (mark_of(dir.path()).unwrap(), mark_of(other.path()).unwrap());
        assert_ne!(mark, of_other);
        assert_eq!(mark_of(&dir.path().join("nowhere")), None);
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", "exec env -i sleep 1000"]);
        // SAFETY: `carry` makes system calls only.
        #[expect(unsafe_code, reason = "a child is prepared between fork and exec")]
        unsafe {
            command.pre_exec(move || carry(mark));
        }
        let mut child = command.spawn().unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
        let is_sleep =
            |pid: u32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|text| text.starts_with(b"sleep"));
        while !is_sleep(child.id()) {
            assert!(std::time::Instant::now() < until);
        }
        assert!(carries(child.id(), mark) && !carries(child.id(), of_other));
        assert!(!carries(std::process::id(), mark), "whoever starts it is not marked");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!carries(child.id(), mark));
    }
}
