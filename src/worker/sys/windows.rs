//! Windows, where no worker can be started yet: types without values, and questions that are answered with the reason.

use std::io;

const WHY: &str = "scripts cannot be run on Windows yet: this build has no way to start, stop and hold their processes there (settings, \
     the write API, the buffer and the sinks work)";

/// Why no worker can be started here.
pub const NO_WORKERS: Option<&str> = Some(WHY);
/// Why there are no cgroups here.
pub const NO_CGROUPS: Option<&str> = NO_WORKERS;
/// Why the kernel does not end a worker in the moment in which the agent dies.
pub const NO_DEATH_SIGNAL: Option<&str> = NO_WORKERS;

/// The start that is refused.
pub fn refusal() -> String {
    WHY.to_owned()
}

/// Why orphans do not come to this process.
pub fn no_subreaper() -> Option<String> {
    NO_WORKERS.map(str::to_owned)
}

/// Why other processes are not looked at.
pub fn no_process_scan() -> Option<String> {
    NO_WORKERS.map(str::to_owned)
}

/// One end of a control socket: there is none.
#[derive(Debug, Clone, Copy)]
pub enum Control {}

/// The agent's end of what a worker writes to: nothing comes.
pub type Pipe = tokio::io::Empty;

/// The agent's end of a control socket at work: there is none.
pub struct Frames(Control);

impl Frames {
    /// # Errors
    /// Never comes to it.
    pub fn new(socket: Control) -> io::Result<Self> {
        Ok(Self(socket))
    }

    /// # Errors
    /// Never comes to it.
    pub fn send(&self, _: &[u8]) -> io::Result<()> {
        match self.0 {}
    }

    /// # Errors
    /// Never comes to it.
    pub async fn receive<T>(&self, _: impl FnMut(&[u8]) -> Option<T>) -> io::Result<Option<T>> {
        match self.0 {}
    }
}

// --- other processes ---

/// What a worker elsewhere can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(i32);

impl Signal {
    pub const KILL: Self = Self(9);
    pub const TERM: Self = Self(15);
    pub const USR2: Self = Self(12);

    pub fn as_raw(self) -> i32 {
        self.0
    }
}

/// Other processes are not looked at, and not ended.
pub fn kill_if(_: u32, _: impl Fn(u32) -> bool) -> bool {
    false
}

/// Resident memory of a process: not known.
pub fn memory(_: u32) -> Option<u64> {
    None
}

/// The state of a process: not known.
pub fn state(_: u32) -> Option<char> {
    None
}
