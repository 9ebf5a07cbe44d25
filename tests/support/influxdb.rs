//! A real InfluxDB 1.x (`influxd` of the Debian package `influxdb`) in a folder of its own.
#![allow(dead_code)] // each test file uses its own part

#[path = "server.rs"]
mod server;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use server::Server;

/// A server that ends with its value; its data too.
pub struct Influxdb {
    server: Server,
    login: Option<(&'static str, &'static str)>,
}

impl Influxdb {
    /// Starts a server without logins; `None` where it is not installed, unless `PYTHOND_REQUIRE_SERVERS=1`.
    pub fn start() -> Option<Self> {
        Self::begin(None, |dir, port| arguments(dir, port, false))
    }

    /// Starts a server that wants a login, with this administrator.
    pub fn start_with_login(user: &'static str, password: &'static str) -> Option<Self> {
        let server = Self::begin(Some((user, password)), |dir, port| arguments(dir, port, true))?;
        // The first user may be made without one.
        server.query("", &format!("CREATE USER {user} WITH PASSWORD '{password}' WITH ALL PRIVILEGES"));
        Some(server)
    }

    fn begin(login: Option<(&'static str, &'static str)>, arguments: fn(&Path, u16) -> Vec<String>) -> Option<Self> {
        let server = Self { server: Server::start("influxd", "influxdb", arguments)?, login };
        server.wait();
        Some(server)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Kills the server; its data stays.
    pub fn down(&mut self) {
        self.server.down();
    }

    /// Starts the server on its data, on the same port.
    pub fn up(&mut self) {
        self.server.up();
        self.wait();
    }

    /// The port is open a moment before it answers.
    fn wait(&self) {
        let start = Instant::now();
        while self.request("GET", "/ping").is_none_or(|(status, _)| status != 204) {
            assert!(start.elapsed() < Duration::from_secs(60), "influxd does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
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
        let mut stream = self.server.connect();
        write!(stream, "{method} {target} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }
}

/// Writes its settings; the second port must not be the default one, which another server may have.
fn arguments(dir: &Path, port: u16, auth: bool) -> Vec<String> {
    let rpc = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let data = dir.display();
    let settings = format!(
        r#"
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
dir = "{data}/meta"
[data]
dir = "{data}/data"
wal-dir = "{data}/wal"
[monitor]
store-enabled = false
[subscriber]
enabled = false
[continuous_queries]
enabled = false
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
auth-enabled = {auth}
"#
    );
    let file = dir.join("influxdb.conf");
    std::fs::write(&file, settings).unwrap();
    vec!["run".to_owned(), "-config".to_owned(), file.display().to_string()]
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
