//! A real server in a folder and on a port of its own, ended with its value.
#![allow(dead_code)] // each test file uses its own part

#[path = "machine.rs"]
mod machine;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Far more than a start takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Server {
    binary: PathBuf,
    dir: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
    arguments: fn(&Path, u16) -> Vec<String>,
}

impl Server {
    /// Starts one; `None` where it is not installed, unless `PYTHOND_REQUIRE_SERVERS=1`.
    pub fn start(name: &str, package: &str, arguments: fn(&Path, u16) -> Vec<String>) -> Option<Self> {
        let binary = machine::installed(name, package)?;
        let dir = tempfile::tempdir().unwrap();
        let mut server = Self { binary, dir, port: 0, child: None, arguments };
        server.up();
        Some(server)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its data, its settings, and its output in `log`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills the server; its data stays.
    pub fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts the server on its data, on the same port if it had one.
    pub fn up(&mut self) {
        assert!(self.child.is_none(), "it is up");
        let is_new = self.port == 0;
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.child.is_none() {
                if is_new {
                    // Somebody may take it in the meantime; then another is tried.
                    self.port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
                }
                self.launch();
            }
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                self.child = None;
            } else if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        panic!("{} did not start within {PATIENCE:?}:\n{log}", self.binary.display());
    }

    fn launch(&mut self) {
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let mut command = Command::new(&self.binary);
        command.args((self.arguments)(self.dir.path(), self.port)).env_clear().env("HOME", self.dir.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// The status and body of a GET.
    pub fn get(&self, target: &str) -> (u16, String) {
        let mut stream = self.connect();
        write!(stream, "GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.down();
    }
}
