//! A real InfluxDB 1.x (`influxd` of the Debian package `influxdb`) in a folder of its own.
#![allow(dead_code)] // each test file uses its own part

#[path = "installed.rs"]
mod installed;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Far more than a start takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that ends with its value; its data too.
pub struct Influxdb {
    binary: PathBuf,
    dir: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
    login: Option<(&'static str, &'static str)>,
}

impl Influxdb {
    /// Starts a server without logins. Where `influxd` is not installed: says on stderr that the test is skipped and gives `None`, or fails it
    /// with `PYTHOND_REQUIRE_SERVERS=1`.
    pub fn start() -> Option<Self> {
        Self::begin(None)
    }

    /// Starts a server that wants a login, with this administrator.
    pub fn start_with_login(user: &'static str, password: &'static str) -> Option<Self> {
        let server = Self::begin(Some((user, password)))?;
        // The first user may be made without one.
        server.query("", &format!("CREATE USER {user} WITH PASSWORD '{password}' WITH ALL PRIVILEGES"));
        Some(server)
    }

    fn begin(login: Option<(&'static str, &'static str)>) -> Option<Self> {
        let binary = installed::installed("influxd", "influxdb")?;
        let dir = tempfile::tempdir().unwrap();
        let mut server = Self { binary, dir, port: 0, child: None, login };
        server.up();
        Some(server)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
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
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.port == 0 || self.child.is_none() {
                self.launch();
            }
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                // Somebody took a port in the meantime.
                self.child = None;
                if self.is_fresh() {
                    self.port = 0;
                }
                continue;
            }
            if self.request("GET", "/ping").is_some_and(|(status, _)| status == 204) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        panic!("influxd did not start within {PATIENCE:?}:\n{log}");
    }

    fn is_fresh(&self) -> bool {
        !self.dir.path().join("data/_internal").exists() && !self.dir.path().join("meta/meta.db").exists()
    }

    fn launch(&mut self) {
        if self.port == 0 {
            self.port = free_port();
        }
        let config = self.dir.path().join("influxdb.conf");
        std::fs::write(&config, self.config()).unwrap();
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let mut command = Command::new(&self.binary);
        command.arg("run").arg("-config").arg(config).env_clear().env("HOME", self.dir.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    fn config(&self) -> String {
        let dir = self.dir.path().display();
        format!(
            r#"
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
dir = "{dir}/meta"
[data]
dir = "{dir}/data"
wal-dir = "{dir}/wal"
[monitor]
store-enabled = false
[subscriber]
enabled = false
[continuous_queries]
enabled = false
[http]
bind-address = "127.0.0.1:{http}"
log-enabled = false
auth-enabled = {auth}
"#,
            rpc = free_port(),
            http = self.port,
            auth = self.login.is_some(),
        )
    }

    /// Runs a query as the administrator and gives the rows of its first series, each value as JSON text.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn query(&self, database: &str, query: &str) -> Vec<Vec<String>> {
        let login = self.login.map(|(user, password)| format!("&u={user}&p={password}")).unwrap_or_default();
        let target = format!("/query?db={database}&epoch=ns&q={}{login}", percent(query));
        let (status, body) = self.request("POST", &target).expect("the server answers");
        assert_eq!(status, 200, "{query}: {body}");
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert!(json["results"][0]["error"].is_null(), "{query}: {body}");
        let rows = json["results"][0]["series"][0]["values"].as_array().cloned().unwrap_or_default();
        rows.iter().map(|row| row.as_array().unwrap().iter().map(ToString::to_string).collect()).collect()
    }

    fn request(&self, method: &str, target: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "{method} {target} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }
}

impl Drop for Influxdb {
    fn drop(&mut self) {
        self.down();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
