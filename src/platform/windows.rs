//! Windows. Files have no modes: what is made inherits the rights of its folder, and only the folder's owner and the administrators can
//! make them narrower. In place of a Unix socket, agent and commands speak over a named pipe, which only the user who made it and the
//! administrators may write to. None of this was ever run on such a machine; it is only known to compile.

use std::ffi::{OsStr, OsString};
use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io;
use std::os::windows::fs::FileExt;
use std::os::windows::io::{AsSocket, BorrowedSocket};
use std::os::windows::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::AsyncWrite;
use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions};
use tokio::sync::Mutex;
use winapi_util::sysinfo::ComputerNameKind;
use winapi_util::{AsHandleRef, Handle};

use super::found::{Found, Identity};

fn absent(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("there are no {what} on Windows"))
}

// --- files ---

/// Looks at the file that has this name now.
pub fn look(path: &Path) -> io::Result<Found> {
    found(Handle::from_path_any(path)?)
}

/// Looks at an open file.
pub fn look_at(file: &File) -> io::Result<Found> {
    found(file)
}

fn found(file: impl AsHandleRef) -> io::Result<Found> {
    let told = winapi_util::file::information(file)?;
    let identity = Identity { volume: told.volume_serial_number(), number: told.file_index() };
    Ok(Found { identity, length: told.file_size() })
}

/// Reads at a place, whatever was read before.
pub fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(into, offset)
}

/// Writes at a place, whatever was written before.
pub fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.seek_write(bytes, offset)
}

/// Nothing to do: NTFS writes what happens in a folder to its own journal, and a program cannot have that synced.
pub fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Files have no modes here.
pub fn set_mode(options: &mut OpenOptions, _: u32) -> &mut OpenOptions {
    options
}

/// Does nothing: files have the rights of their folder here.
pub fn keep_private() {}

/// There is no umask here.
pub fn umask(_: u32) -> u32 {
    0
}

/// There is no umask here.
pub fn umask_of_scripts() -> Option<u32> {
    None
}

/// Does nothing: files have the rights of their folder here.
pub fn let_group_read() {}

/// No group is known by a number here.
pub fn group_number(_: &str) -> Option<u32> {
    None
}

/// Files have no modes here; a value that nobody would change.
pub fn mode_of(_: &Metadata) -> u32 {
    0
}

/// Files have no modes here.
pub fn set_mode_of(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

/// # Errors
/// Always.
pub fn give_to_group(_: &Path, _: u32) -> io::Result<bool> {
    Err(absent("groups with numbers"))
}

/// Files have no modes here.
pub fn keep_file_private(_: &File, _: Option<u32>) -> io::Result<()> {
    Ok(())
}

/// Folders have no modes here.
pub fn listable_by_all(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes a folder with the rights of the one above it.
pub fn make_private_folder(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)
}

/// Files have no modes here.
pub fn allow_program_only_to_owner(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Files have no modes here.
pub fn readable_by_all(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Folders have no modes here.
pub fn open_to_all(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Not known here: who may read a file stands in a list that is not looked at.
pub fn mode_if_open_to_all(_: &Metadata) -> Option<u32> {
    None
}

/// Not known here: who may read a file stands in a list that is not looked at.
pub fn mode_if_ours_is_open(_: &Metadata) -> Option<u32> {
    None
}

/// No folder that everybody shares is used here.
pub fn is_another_users(_: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Says whether this user may make files in a folder.
pub fn may_write_in(dir: &Path) -> io::Result<()> {
    tempfile::tempfile_in(dir).map(drop)
}

/// Lets those write to a copy who may write to the file; who may read it follows from its folder.
pub fn readable_like(copy: &Path, file: &Path) -> io::Result<()> {
    std::fs::set_permissions(copy, std::fs::metadata(file)?.permissions())
}

/// Makes a symbolic link, which Windows allows to few users.
pub fn link(target: &Path, place: &Path) -> io::Result<()> {
    let is_folder = place.parent().is_some_and(|folder| folder.join(target).is_dir());
    if is_folder {
        std::os::windows::fs::symlink_dir(target, place)
    } else {
        std::os::windows::fs::symlink_file(target, place)
    }
}

/// Devices have names of their own here and lie in no folder.
pub fn is_special(_: FileType) -> bool {
    false
}

/// Bytes as a path; `None` for what is no UTF-8.
pub fn path_of(bytes: Vec<u8>) -> Option<PathBuf> {
    String::from_utf8(bytes).ok().map(PathBuf::from)
}

/// Says whether one part of a path of git's can be a name here, and no way out of its folder: `a\..\b`, `c:x`, `nul.txt` and `.git.` are
/// names for git and something else for Windows.
pub fn is_sound_name(part: &[u8]) -> bool {
    const DEVICES: [&str; 22] = [
        "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "lpt1",
        "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
    ];
    let Ok(name) = std::str::from_utf8(part) else { return false };
    let is_odd = |letter: char| letter.is_control() || "\\/:*?\"<>|".contains(letter);
    let is_name = !name.is_empty() && name.len() <= 255 && !name.ends_with(['.', ' ']) && !name.contains(is_odd);
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let is_git = name.eq_ignore_ascii_case(".git") || name.eq_ignore_ascii_case("git~1");
    is_name && !is_git && !DEVICES.contains(&stem.as_str())
}

/// The disk, or a limit of the system, has no room.
pub fn is_no_room(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull
}

/// There is no such limit here.
pub fn is_too_many_open(_: &io::Error) -> bool {
    false
}

// --- locks ---

/// Takes the lock of an open file, which ends with it or the process; `false` while another holds it. Meanwhile nobody else can read the
/// file.
#[expect(clippy::incompatible_msrv, reason = "on Windows the agent needs Rust 1.89")]
pub fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Waits for the lock of a folder, which ends with the returned file. A folder itself has none: that of `<folder>.lock` beside it counts.
#[expect(clippy::incompatible_msrv, reason = "on Windows the agent needs Rust 1.89")]
pub fn lock_folder(dir: &Path) -> io::Result<File> {
    let mut name = dir.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(name)?;
    file.lock()?;
    Ok(file)
}

// --- this process ---

/// The name of this machine.
pub fn hostname() -> String {
    let name = winapi_util::sysinfo::get_computer_name(ComputerNameKind::DnsHostname);
    name.map_or_else(|_| "localhost".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// There is no such limit here.
pub fn open_files() -> usize {
    usize::MAX
}

/// There is no such limit here.
pub fn raise_open_files(_: u64) -> io::Result<()> {
    Ok(())
}

// --- signals ---

/// There is no such limit here.
pub fn survive_file_size_limits() -> io::Result<()> {
    Ok(())
}

/// No signal asks for a reload here: `pythond reload` does.
pub struct Hangups(());

impl Hangups {
    /// # Errors
    /// Never.
    pub fn hear() -> io::Result<Self> {
        Ok(Self(()))
    }

    /// Never comes.
    pub async fn recv(&mut self) -> Option<()> {
        std::future::pending().await
    }
}

/// There are no such signals here.
pub fn hear_all_signals() {}

/// Wishes to stop: Ctrl-C, Ctrl-Break, a closed console, or a machine that goes down. From its making on, not only once one is waited for,
/// none of them ends the process by itself.
pub struct Stops {
    c: tokio::signal::windows::CtrlC,
    pause: tokio::signal::windows::CtrlBreak,
    close: tokio::signal::windows::CtrlClose,
    shutdown: tokio::signal::windows::CtrlShutdown,
}

impl Stops {
    /// # Panics
    /// When a handler cannot be set, which the system refuses to no process.
    pub fn hear() -> Self {
        use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown};
        const SET: &str = "console handlers can be set";
        Self {
            c: ctrl_c().expect(SET),
            pause: ctrl_break().expect(SET),
            close: ctrl_close().expect(SET),
            shutdown: ctrl_shutdown().expect(SET),
        }
    }

    /// Waits for the next one, and says what a person calls it.
    pub async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.c.recv() => "Ctrl-C",
            _ = self.pause.recv() => "Ctrl-Break",
            _ = self.close.recv() => "a closed console",
            _ = self.shutdown.recv() => "a shutdown",
        }
    }
}

/// No process is ended by a signal here.
pub fn signal_name(_: i32) -> Option<&'static str> {
    None
}

// --- programs ---

/// Keeps a Ctrl-C at the console from a program; who started whom the system knows by itself.
pub fn in_own_group(command: &mut Command) {
    const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
    command.creation_flags(CREATE_NEW_PROCESS_GROUP);
}

/// Ends a program with all it has started; it is not reaped yet.
pub fn end_group(child: &mut Child) {
    let mut kill = Command::new("taskkill");
    kill.args(["/F", "/T", "/PID", &child.id().to_string()]);
    // What it cannot end has ended meanwhile; the program itself is ended below in any case.
    let _ = kill.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let _ = child.kill();
}

/// Says whether a program has ended.
pub fn has_ended(child: &mut Child) -> io::Result<bool> {
    Ok(child.try_wait()?.is_some())
}

/// Nothing stays behind here that somebody must reap.
pub fn reap_group(_: &Child, _: Duration) {}

// --- sockets ---

/// Why a far end cannot be a Unix socket.
pub const NO_UNIX_SOCKETS: Option<&str> = Some("there are no Unix sockets on Windows");
/// Takes what is there and does not wait for more: sockets of the runtime never do here.
pub const NO_WAIT: RecvFlags = RecvFlags::empty();

/// The datagram is larger than the system lets through.
pub fn is_too_long_for_a_datagram(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error())
}

/// Unix sockets are for other systems: there is never one of these.
#[derive(Debug)]
pub enum Absent {}

pub type FarStream = Absent;
pub type FarDatagram = Absent;

impl Absent {
    /// # Errors
    /// Always.
    pub async fn connect(_: &Path) -> io::Result<Self> {
        Err(absent("Unix sockets"))
    }

    pub async fn send(&self, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }
}

impl AsSocket for Absent {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        match *self {}
    }
}

impl AsyncWrite for Absent {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}

/// # Errors
/// Always.
pub fn connect_datagram(_: &Path) -> io::Result<FarDatagram> {
    Err(absent("Unix sockets"))
}

/// The commands' end of a connection to the agent.
pub type Stream = NamedPipeClient;

/// The agent's pipe; clones share it.
#[derive(Debug, Clone)]
pub struct Listener {
    name: OsString,
    /// Waits for the next command.
    next: Arc<Mutex<NamedPipeServer>>,
}

impl Listener {
    /// Waits for a command to connect.
    ///
    /// # Errors
    /// When the system has no room for another connection.
    pub async fn accept(&self) -> io::Result<(NamedPipeServer, ())> {
        let mut next = self.next.lock().await;
        next.connect().await?;
        // Before this one is given away, so that the name is never without a server.
        let after = ServerOptions::new().create(&self.name)?;
        Ok((std::mem::replace(&mut *next, after), ()))
    }

    /// What is left of a listener while nobody serves it: the listener itself.
    ///
    /// # Errors
    /// Never.
    pub fn into_std(self) -> io::Result<Self> {
        Ok(self)
    }

    /// # Errors
    /// Never.
    pub fn from_std(listener: Self) -> io::Result<Self> {
        Ok(listener)
    }

    /// # Errors
    /// Never.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(self.clone())
    }
}

fn pipe_name(path: &Path) -> OsString {
    let number = crc32c::crc32c(path.as_os_str().as_encoded_bytes());
    OsStr::new(&format!(r"\\.\pipe\pythond-{number:08x}")).to_owned()
}

/// Connects to the agent whose socket would have this path.
pub async fn connect(path: &Path) -> io::Result<Stream> {
    ClientOptions::new().open(pipe_name(path))
}

/// Makes the pipe that stands for this path.
///
/// # Errors
/// `AddrInUse` when somebody listens there; otherwise as the system says.
pub async fn bind(path: &Path) -> io::Result<Listener> {
    let name = pipe_name(path);
    let first = ServerOptions::new().first_pipe_instance(true).create(&name).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let text = format!("another process listens on `{}`", name.display());
            io::Error::new(io::ErrorKind::AddrInUse, text)
        }
        _ => error,
    })?;
    Ok(Listener { name, next: Arc::new(Mutex::new(first)) })
}

/// No script runs as another user here.
///
/// # Errors
/// Always.
pub async fn bind_for_all(_: &Path) -> io::Result<Listener> {
    Err(absent("scripts of other users"))
}

/// The path itself: only a name is made of it.
pub fn reachable(path: &Path) -> PathBuf {
    path.to_owned()
}
