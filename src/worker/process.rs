//! A started worker: its number, its end of what agent and worker talk through, and what holds on to it.

use std::io;
use std::os::fd::OwnedFd;

use super::cgroup::Cgroup;
use super::frames::Channel;
use super::sys;

pub use super::launch::{Ended, Launch, StartError, Way, find_program, is_shim};
pub use super::leash::{Death, Leash};
pub use super::parts::Parts;
pub use super::sys::{Pipe, Signal, memory, state};

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

/// Makes the socket and the pipes between the agent and a worker.
pub(super) fn ends() -> io::Result<(OurEnds, TheirEnds)> {
    let (control, control_theirs) = sys::control_pair()?;
    let ((stdout, stdout_theirs), (stderr, stderr_theirs), (trace, trace_theirs)) =
        (sys::pipe()?, sys::pipe()?, sys::pipe()?);
    let theirs =
        TheirEnds { control: control_theirs, stdout: stdout_theirs, stderr: stderr_theirs, trace: trace_theirs };
    Ok((OurEnds { control, stdout, stderr, trace }, theirs))
}

impl Process {
    pub(super) fn new(pid: u32, handle: sys::Handle, ours: OurEnds, token: &str, way: Way) -> Self {
        let OurEnds { control, stdout, stderr, trace } = ours;
        Self { pid, control, stdout, stderr, trace, way, handle, leash: Leash::of(pid, token) }
    }

    /// Ends a process that nobody waits for. Blocks.
    pub(super) fn abandon(self) {
        self.leash.end_tree();
        self.leash.reap(&self.handle);
    }

    /// Puts the worker into a cgroup, by which it is ended with all it has started.
    ///
    /// # Errors
    /// When the kernel refuses it; the worker then runs without.
    pub fn put_into(&mut self, group: Cgroup) -> io::Result<()> {
        group.add(self.pid)?;
        self.leash.ends_by(group);
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
            death: Death::of(self.handle, self.leash.clone())?,
            leash: self.leash,
            channel: Channel::new(self.control)?,
            stdout: Pipe::from_owned_fd(self.stdout)?,
            stderr: Pipe::from_owned_fd(self.stderr)?,
            trace: Pipe::from_owned_fd(self.trace)?,
        })
    }
}
