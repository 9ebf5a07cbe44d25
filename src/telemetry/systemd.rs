//! What the agent says to the service manager (`sd_notify`): one datagram per word, and nothing where there is no manager.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// The service manager that started the agent; clones share the socket.
#[derive(Debug, Clone, Default)]
pub struct ServiceManager {
    socket: Option<Arc<UnixDatagram>>,
    /// It restarts the agent when nothing is heard for so long.
    pub watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Connects to the socket that `NOTIFY_SOCKET` names; a name that starts with `@` is an abstract one.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(name: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        match name.as_bytes().strip_prefix(b"@") {
            Some(name) => socket.connect_addr(&abstract_address(name)?)?,
            None => socket.connect(name)?,
        }
        // A manager that hangs must not take the agent with it.
        socket.set_nonblocking(true)?;
        Ok(Self { socket: Some(Arc::new(socket)), watchdog })
    }

    pub fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// The agent serves, also after a reload.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// The settings are being read again; `ready` ends it. The time says that this follows the signal of a `Type=notify-reload` and no other.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// One line for `systemctl status`.
    pub fn status(&self, text: &str) {
        self.say(&format!("STATUS={}", text.replace('\n', " ")));
    }

    /// Holds the watchdog off.
    pub fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    fn say(&self, words: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(words.as_bytes())
        {
            tracing::debug!(target: "agent", "the service manager does not take `{words}`: {error}");
        }
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux has abstract sockets"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn each_word_is_one_datagram() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let listening = UnixDatagram::bind(&path).unwrap();
        let manager = ServiceManager::connect(path.as_os_str(), None).unwrap();
        manager.ready();
        manager.status("3 units\nwell");
        manager.alive();
        manager.reloading();
        manager.stopping();
        let words: Vec<String> = (0..5).map(|_| heard(&listening)).collect();
        assert_eq!(words[..3], ["READY=1", "STATUS=3 units well", "WATCHDOG=1"]);
        assert!(words[3].starts_with("RELOADING=1\nMONOTONIC_USEC="), "{}", words[3]);
        assert!(words[3].rsplit('=').next().unwrap().parse::<u64>().unwrap() > 0);
        assert_eq!(words[4], "STOPPING=1");
    }

    #[test]
    fn an_abstract_socket_is_reached_and_a_missing_one_is_an_error() {
        let name = format!("pythond-test-{}", std::process::id());
        let listening = UnixDatagram::bind_addr(&abstract_address(name.as_bytes()).unwrap()).unwrap();
        ServiceManager::connect(format!("@{name}").as_ref(), None).unwrap().ready();
        assert_eq!(heard(&listening), "READY=1");
        assert!(ServiceManager::connect("/surely/not/there".as_ref(), None).is_err());
        ServiceManager::default().ready();
    }

    #[test]
    fn a_manager_that_does_not_listen_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let _listening = UnixDatagram::bind(&path).unwrap();
        let manager = ServiceManager::connect(path.as_os_str(), None).unwrap();
        (0..10_000).for_each(|_| manager.alive());
    }
}
