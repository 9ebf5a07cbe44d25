//! There is no service manager that listens to its services on Windows: nothing is ever said.

use std::ffi::OsStr;
use std::io;
use std::time::Duration;

/// The service manager that started the agent: none.
#[derive(Debug, Clone, Default)]
pub struct ServiceManager {
    pub watchdog: Option<Duration>,
}

impl ServiceManager {
    /// # Errors
    /// Always.
    pub fn connect(_: &OsStr, _: Option<Duration>) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "there are no Unix sockets on Windows"))
    }

    pub fn is_there(&self) -> bool {
        false
    }

    pub fn ready(&self) {}

    pub fn reloading(&self) {}

    pub fn stopping(&self) {}

    pub fn status(&self, _: &str) {}

    pub fn alive(&self) {}
}
