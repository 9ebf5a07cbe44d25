//! Linux and macOS.

use std::fs::{File, FileType, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, waitid, waitpgid,
};
use tokio::signal::unix::{SignalKind, signal};

use super::found::{FileFacts, FileIdentity};

// --- files ---

/// Looks at the file that has this name now.
pub fn look(path: &Path) -> io::Result<FileFacts> {
    std::fs::metadata(path).map(|meta| found(&meta))
}

/// Looks at an open file.
pub fn look_at(file: &File) -> io::Result<FileFacts> {
    file.metadata().map(|meta| found(&meta))
}

fn found(meta: &Metadata) -> FileFacts {
    FileFacts { identity: FileIdentity { volume: meta.dev(), number: meta.ino() }, length: meta.len() }
}

/// Reads at a place, whatever was read before.
pub fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(into, offset)
}

/// Writes at a place, whatever was written before.
pub fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.write_at(bytes, offset)
}

/// Makes what happened in a folder durable: creations, renames, removals.
pub fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Has a file that is created get these rights.
pub fn set_mode(options: &mut OpenOptions, mode: u32) -> &mut OpenOptions {
    options.mode(mode)
}

/// Has all files and folders that this process makes from now on be its owner's alone. What whoever started it wanted instead is kept for
/// the scripts: [`umask_of_scripts`].
pub fn keep_private() {
    // Asked for once more it is our own.
    let _ = GIVEN_UMASK.set(umask(0o077));
}

/// The umask that this process was started with, once [`keep_private`] has changed it.
pub fn umask_of_scripts() -> Option<u32> {
    GIVEN_UMASK.get().copied()
}

/// Has the group read what this process makes from now on.
pub fn let_group_read() {
    umask(0o027);
}

static GIVEN_UMASK: OnceLock<u32> = OnceLock::new();

/// Sets the umask and returns the one before; one system call, also for a child that was just forked.
pub fn umask(mask: u32) -> u32 {
    // The width of a mode differs between systems.
    rustix::process::umask(Mode::from_raw_mode(mask as _)).as_raw_mode() as _
}

/// The number of a group, by its name or number; `None` where this machine knows none.
#[expect(unsafe_code, reason = "only libc knows where groups are listed")]
pub fn group_number(name: &str) -> Option<u32> {
    let name = std::ffi::CString::new(name).ok()?;
    let mut room = vec![0; 64 * 1024];
    let (mut entry, mut found) = (std::mem::MaybeUninit::<libc::group>::uninit(), std::ptr::null_mut());
    // SAFETY: all pointers are valid for the call, and `room` has the length that is told.
    let failed =
        unsafe { libc::getgrnam_r(name.as_ptr(), entry.as_mut_ptr(), room.as_mut_ptr(), room.len(), &raw mut found) };
    if failed == 0 && !found.is_null() {
        // SAFETY: `found` points to `entry`, which the call has filled.
        return Some(unsafe { (*found).gr_gid });
    }
    name.to_str().ok()?.parse().ok()
}

/// The bits of its mode, and whose it is.
pub fn mode_of(meta: &Metadata) -> u32 {
    meta.mode() & 0o7777
}

/// Sets the mode of a file or folder that is no link.
pub fn set_mode_of(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Gives a file or folder to a group; says whether it was another's.
pub fn give_to_group(path: &Path, group: u32) -> io::Result<bool> {
    if std::fs::symlink_metadata(path)?.gid() == group {
        return Ok(false);
    }
    std::os::unix::fs::lchown(path, None, Some(group)).map(|()| true)
}

/// Lets nobody but its owner, and its group where there is one, read an open file of this user.
pub fn keep_file_private(file: &File, group: Option<u32>) -> io::Result<()> {
    let meta = file.metadata()?;
    if meta.uid() != rustix::process::geteuid().as_raw() || !meta.is_file() {
        return Ok(());
    }
    if let Some(group) = group.filter(|group| *group != meta.gid()) {
        std::os::unix::fs::fchown(file, None, Some(group))?;
    }
    let mode = (meta.mode() & 0o700) | if group.is_some() { 0o040 } else { 0 };
    if meta.mode() & 0o777 != mode { file.set_permissions(Permissions::from_mode(mode)) } else { Ok(()) }
}

/// Makes a folder, and those above it, for its owner alone.
pub fn make_private_folder(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Lets a program be read, changed and run by its owner only.
pub fn allow_program_only_to_owner(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// Lets everybody enter a folder, but only its owner list it.
pub fn open_to_all(dir: &Path) -> io::Result<()> {
    std::fs::set_permissions(dir, Permissions::from_mode(0o711))
}

/// Lets everybody enter and list a folder, and its owner change it.
pub fn listable_by_all(dir: &Path) -> io::Result<()> {
    std::fs::set_permissions(dir, Permissions::from_mode(0o755))
}

/// Lets everybody read a file, and its owner change it.
pub fn readable_by_all(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(0o644))
}

/// The mode of a file that every user may read.
pub fn mode_if_open_to_all(meta: &Metadata) -> Option<u32> {
    Some(meta.permissions().mode()).filter(|mode| mode & 0o004 != 0)
}

/// The mode of a file of this user that others may use too.
pub fn mode_if_ours_is_open(meta: &Metadata) -> Option<u32> {
    let mode = meta.permissions().mode() & 0o777;
    (meta.uid() == rustix::process::geteuid().as_raw() && mode & 0o077 != 0).then_some(mode)
}

/// Says whether a folder belongs to another user.
pub fn is_another_users(dir: &Path) -> io::Result<bool> {
    Ok(std::fs::metadata(dir)?.uid() != rustix::process::getuid().as_raw())
}

/// Says whether this user may make files in a folder.
pub fn may_write_in(dir: &Path) -> io::Result<()> {
    let writable = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    rustix::fs::access(dir, writable).map_err(io::Error::from)
}

/// Lets those read a copy who may read the file, and nobody else.
pub fn readable_like(copy: &Path, file: &Path) -> io::Result<()> {
    let there = std::fs::metadata(file)?;
    // Only a privileged agent can give files away; then it must, for scripts may run as somebody else.
    if std::fs::metadata(copy)?.uid() != there.uid() {
        std::os::unix::fs::chown(copy, Some(there.uid()), Some(there.gid())).or_else(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Ok(()),
            _ => Err(error),
        })?;
    }
    std::fs::set_permissions(copy, there.permissions())
}

/// Makes a symbolic link.
pub fn link(target: &Path, place: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, place)
}

/// Says whether something is there that only looks like a file: opening it could wait for ever.
pub fn is_special(kind: FileType) -> bool {
    kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device()
}

/// Bytes as a path.
pub fn path_of(bytes: Vec<u8>) -> Option<PathBuf> {
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

/// Says whether one part of a path of git's can be a name here, and no way out of its folder.
pub fn is_sound_name(part: &[u8]) -> bool {
    let is_name = !part.is_empty() && part != b"." && part != b".." && part.len() <= 255;
    is_name && !part.eq_ignore_ascii_case(b".git")
}

/// The disk, or a limit of the system, has no room.
pub fn is_no_room(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NOSPC.raw_os_error())
}

/// This process has as many open as it may.
pub fn is_too_many_open(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::MFILE.raw_os_error())
}

// --- locks ---

/// Takes the lock of an open file, which ends with it or the process; `false` while another holds it.
pub fn try_lock(file: &File) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits for the lock of a folder, which ends with the returned file.
pub fn lock_folder(dir: &Path) -> io::Result<File> {
    let folder = File::open(dir)?;
    rustix::fs::flock(&folder, FlockOperation::LockExclusive)?;
    Ok(folder)
}

// --- this process ---

/// The name of this machine.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// How many files this process may have open.
pub fn open_files() -> usize {
    let limit = rustix::process::getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// Takes what the system allows of open files, up to `enough`.
pub fn raise_open_files(enough: u64) -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(enough).min(enough);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    rustix::process::setrlimit(Resource::Nofile, raised).map_err(io::Error::from)
}

// --- signals ---

/// Without a handler the kernel ends a process that writes beyond RLIMIT_FSIZE; with one the write fails and the buffer says so.
pub fn survive_file_size_limits() -> io::Result<()> {
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop)
}

/// Undoes what whoever started this process has done to its signals: an ignored SIGCHLD would have the kernel throw away how children
/// end, and a blocked SIGTERM would never come.
#[expect(unsafe_code, reason = "only libc sets dispositions and masks")]
pub fn hear_all_signals() {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: three calls of the system on values of this function; no thread but this one runs yet.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_UNBLOCK, all.as_ptr(), std::ptr::null_mut());
    }
}

/// Wishes to reload (SIGHUP). From its making on no hangup ends the process.
pub struct Hangups(tokio::signal::unix::Signal);

impl Hangups {
    /// # Errors
    /// When the handler cannot be set.
    pub fn hear() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one.
    pub async fn recv(&mut self) -> Option<()> {
        self.0.recv().await
    }
}

/// Wishes to stop: SIGTERM, SIGINT (Ctrl-C) or SIGQUIT. From its making on, not only once one is waited for, no signal ends the process by
/// itself: a stop that comes during the start waits for its turn.
pub struct Stops {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    usr1: tokio::signal::unix::Signal,
    usr2: tokio::signal::unix::Signal,
}

impl Stops {
    /// # Panics
    /// When a handler cannot be set, which the system refuses to no process.
    pub fn hear() -> Self {
        let hear = |kind| signal(kind).expect("signal handlers can be set");
        Self {
            term: hear(SignalKind::terminate()),
            int: hear(SignalKind::interrupt()),
            quit: hear(SignalKind::quit()),
            usr1: hear(SignalKind::user_defined1()),
            usr2: hear(SignalKind::user_defined2()),
        }
    }

    /// Waits for the next one, and says what a person calls it.
    pub async fn recv(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.term.recv() => return "SIGTERM",
                _ = self.int.recv() => return "Ctrl-C",
                _ = self.quit.recv() => return "SIGQUIT",
                // A log rotation that means another program must not end this one.
                _ = self.usr1.recv() => tracing::warn!(target: "agent", "SIGUSR1 means nothing to the agent"),
                _ = self.usr2.recv() => tracing::warn!(target: "agent", "SIGUSR2 means nothing to the agent"),
            }
        }
    }
}

/// `SIGSEGV` for 11: the numbers differ between systems.
pub fn signal_name(number: i32) -> Option<&'static str> {
    let names = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::XFSZ, "SIGXFSZ"),
        (Signal::SYS, "SIGSYS"),
    ];
    names.into_iter().find(|(signal, _)| signal.as_raw() == number).map(|(_, name)| name)
}

// --- programs ---

/// Puts a program with all it starts into a group of its own.
pub fn in_own_group(command: &mut Command) {
    command.process_group(0);
}

/// Ends a program of [`in_own_group`] with all it has started; it is not reaped yet.
pub fn end_group(child: &mut Child) {
    if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
        // A group that ended in this moment is as good.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// Says whether a program has ended; it is not reaped by that.
pub fn has_ended(child: &mut Child) -> io::Result<bool> {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(Pid::from_child(child)), look)?.is_some())
}

/// Takes the ended children of a program that came to the agent, which is their reaper: nobody else would, since they are of its own
/// session. Waits for them so long at most.
pub fn reap_group(child: &Child, patience: Duration) {
    const LOOK: Duration = Duration::from_millis(5);
    let until = Instant::now() + patience;
    // An error says that none is left, or that they went to another reaper.
    while let Ok(reaped) = waitpgid(Pid::from_child(child), WaitOptions::NOHANG) {
        if reaped.is_none() {
            if Instant::now() >= until {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}

// --- sockets ---

/// Takes what is there and does not wait for more.
pub const NO_WAIT: RecvFlags = RecvFlags::DONTWAIT;

/// The datagram is larger than the system lets through.
pub fn is_too_long_for_a_datagram(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error())
}

pub type FarStream = tokio::net::UnixStream;
pub type FarDatagram = tokio::net::UnixDatagram;

/// A connection between agent and commands.
pub type SocketStream = tokio::net::UnixStream;
pub type SocketListener = tokio::net::UnixListener;

/// Connects to a socket of this machine.
pub async fn connect(path: &Path) -> io::Result<SocketStream> {
    SocketStream::connect(path).await
}

/// Connects to a socket of this machine that takes datagrams.
pub fn connect_datagram(path: &Path) -> io::Result<FarDatagram> {
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_nonblocking(true)?;
    FarDatagram::from_std(socket)
}

/// Binds a Unix socket with mode 0666; otherwise as [`bind`].
///
/// # Errors
/// As [`bind`].
pub async fn bind_for_all(path: &Path) -> io::Result<SocketListener> {
    let listener = bind(path).await?;
    std::fs::set_permissions(path, Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Binds the Unix socket with mode 0600; a stale file of a dead agent is replaced, a live one is an error.
///
/// # Errors
/// `AddrInUse` when somebody listens there; otherwise as the system says.
pub async fn bind(path: &Path) -> io::Result<SocketListener> {
    if let Ok(meta) = std::fs::symlink_metadata(path) {
        if !meta.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("`{}` is there and is no socket", path.display()),
            ));
        }
        if SocketStream::connect(path).await.is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("another process listens on `{}`", path.display()),
            ));
        }
        std::fs::remove_file(path)?;
    }
    let listener = SocketListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// What the kernel takes of a socket's path, without the zero at its end.
#[cfg(target_os = "linux")]
const LONGEST_PATH: usize = 107;
#[cfg(not(target_os = "linux"))]
const LONGEST_PATH: usize = 103;

/// A socket's path may have 107 bytes (103 on macOS); a longer one is replaced by a short one in a directory of this user, the same for
/// agent and commands.
pub fn reachable(path: &Path) -> PathBuf {
    if path.as_os_str().len() <= LONGEST_PATH {
        return path.to_owned();
    }
    let user = rustix::process::getuid().as_raw();
    let name = crc32c::crc32c(path.as_os_str().as_encoded_bytes());
    PathBuf::from(format!("/tmp/pythond-{user}/{name:08x}.sock"))
}
