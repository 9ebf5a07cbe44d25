//! The settings as plain values: one struct for each table, with its defaults.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::repos::GitRepos;
use super::secret::Secret;
use super::sinks::SinkSettings;
use super::surroundings::{Origin, Surroundings};
use crate::diagnostic::Diagnostic;
use crate::dialect::{Dialect, Isolation};

/// Everything the agent obeys; all paths are absolute.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory that holds `conf.d/ python.d/ data/`.
    pub root: PathBuf,
    pub inputs: Vec<InputTable>,
    pub workers: Workers,
    pub http_api: HttpApi,
    pub ingest: IngestTable,
    pub series: Series,
    pub events: Events,
    pub buffer: BufferTable,
    pub logging: Logging,
    pub reload: Reload,
    /// Tags added to every point where the key is absent; `host` is always there.
    pub global_tags: BTreeMap<String, String>,
    /// Never empty: without a `[sinks]` table it holds the default file sink, and `default_sink` is true.
    pub sinks: Vec<SinkSettings>,
    pub default_sink: bool,
    pub git_repos: GitRepos,
    /// What is odd but not wrong, to be shown at start.
    pub warnings: Vec<Diagnostic>,
}

/// One `[[inputs.pythond]]` block.
#[derive(Debug, Clone, PartialEq)]
pub struct InputTable {
    /// Unique, white space removed as DataKit does.
    pub name: String,
    /// The interpreter as written: a name on PATH or an absolute path.
    pub cmd: String,
    pub dialect: Dialect,
    /// The dialect's own keys, as its Python is told them.
    pub settings: serde_json::Value,
    /// How often what the input has read is looked at, besides being watched; `None`: as often as all else is.
    pub scan: Option<Duration>,
    /// Resolved directories or single files, in the order given; relative entries lie below `<root>/python.d`.
    pub dirs: Vec<PathBuf>,
    /// The folders `python.d` below which an entry may lie: a unit there is named after its path inside.
    pub bases: Vec<PathBuf>,
    /// The one of them that belongs to the block itself.
    pub base: PathBuf,
    /// `(name, value)` pairs added to the environment, in order.
    pub envs: Vec<(String, String)>,
    /// Added to every point of these scripts where the key is absent.
    pub tags: BTreeMap<String, String>,
    pub enabled: bool,
    /// Wall time one run may take; `None`: silence decides (`worker::life::limits`).
    pub run_timeout: Option<Duration>,
    /// How long a running run may go on after a stop; 5 s.
    pub stop_grace: Duration,
    pub memory_max: Option<u64>,
    /// 5 by default.
    pub nice: i32,
    /// Whose rights the scripts have: a name or a number; `None`: those of the agent.
    pub user: Option<String>,
    pub isolation: Isolation,
    pub restart: Restart,
    /// A worker is replaced between two runs after about this time.
    pub max_age: Option<Duration>,
    /// A worker is replaced after about so many runs.
    pub max_runs: Option<u64>,
    /// `None`: that of the agent.
    pub umask: Option<u32>,
    /// The working directory; `None`: the folder of the script.
    pub cwd: Option<PathBuf>,
    /// The table `config`, handed to the script as `self.config`.
    pub config: serde_json::Value,
    /// Where the block stands, for messages.
    pub origin: Origin,
}

impl InputTable {
    /// Gives the input that runs one folder or file with every default.
    pub fn plain(name: &str, cmd: &str, dir: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            cmd: cmd.to_owned(),
            dialect: Dialect::Datakit,
            settings: serde_json::Value::Object(serde_json::Map::new()),
            scan: None,
            bases: Vec::new(),
            base: dir.clone(),
            dirs: vec![dir],
            envs: Vec::new(),
            tags: BTreeMap::new(),
            enabled: true,
            run_timeout: None,
            stop_grace: Duration::from_secs(5),
            memory_max: None,
            nice: 5,
            user: None,
            isolation: Dialect::Datakit.facts().default_isolation(),
            restart: Restart::Always,
            max_age: None,
            max_runs: None,
            umask: None,
            cwd: None,
            config: serde_json::Value::Object(serde_json::Map::new()),
            origin: Origin::default(),
        }
    }
}

/// What follows when a worker ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    Always,
    /// Unless it ended with exit code 0.
    OnFailure,
    Never,
}

/// `[workers]`: how the processes of all inputs are started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workers {
    pub zygote: ZygoteTable,
}

impl Default for Workers {
    fn default() -> Self {
        Self { zygote: ZygoteTable::Auto }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZygoteTable {
    /// Scripts with the same interpreter and environment are forked from one process, from the second on.
    Auto,
    /// Each script is a `python3` of its own.
    Off,
}

/// `[http_api]`: where reports come in and status goes out.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpApi {
    /// `127.0.0.1:9529` by default. Beyond loopback `tokens` must be set.
    pub listen: SocketAddr,
    /// `<root>/data/run/pythond.sock` by default.
    pub socket: PathBuf,
    pub tokens: Vec<Secret>,
    /// Bytes of a body after decompression; 32 MiB.
    pub max_body: u64,
    /// Time one request may take; 30 s.
    pub timeout: Duration,
    /// Open TCP connections at most; 1024.
    pub max_connections: usize,
    pub allowed_origins: Vec<String>,
    pub allowed_hosts: Vec<String>,
}

impl HttpApi {
    /// Gives the settings without an `[http_api]` table.
    pub fn default_in(root: &Path) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9529)),
            socket: root.join("data/run/pythond.sock"),
            tokens: Vec::new(),
            max_body: 32 << 20,
            timeout: Duration::from_secs(30),
            max_connections: 1024,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
        }
    }
}

/// `[ingest]`.
#[derive(Debug, Clone, PartialEq)]
pub struct IngestTable {
    pub integers: Integers,
}

impl Default for IngestTable {
    fn default() -> Self {
        Self { integers: Integers::Float }
    }
}

/// What an integer in a JSON body becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integers {
    /// A float, as in DataKit, so that `0` then `0.5` is no field type conflict.
    Float,
    Keep,
}

/// `[series]`: what is remembered of the rows of workers, so that counters become rates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// How many series are remembered at most.
    pub max: usize,
}

impl Default for Series {
    fn default() -> Self {
        Self { max: 1_000_000 }
    }
}

/// `[events]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Events {
    pub on_invalid: OnInvalid,
    pub extra_status: Vec<String>,
    pub extra_source: Vec<String>,
}

impl Default for Events {
    fn default() -> Self {
        Self { on_invalid: OnInvalid::Refuse, extra_status: Vec::new(), extra_source: Vec::new() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInvalid {
    Refuse,
    Warn,
}

/// `[buffer]`.
#[derive(Debug, Clone, PartialEq)]
pub struct BufferTable {
    /// `<root>/data/buffer`.
    pub dir: PathBuf,
    /// 2 GiB by default.
    pub max_size: u64,
    pub at_cap: AtCap,
    pub sync: Sync,
    /// Who may read what was reported besides its owner, as the system numbers it: buffer, dead letters, files of sinks.
    pub group: Option<u32>,
}

impl BufferTable {
    /// Gives the settings without a `[buffer]` table.
    pub fn default_in(root: &Path) -> Self {
        Self { dir: root.join("data/buffer"), max_size: 2 << 30, at_cap: AtCap::Refuse, sync: Sync::Group, group: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtCap {
    /// 503 with Retry-After while a required sink lags.
    Refuse,
    /// The oldest segment goes, counted.
    DropOldest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// fdatasync before the answer.
    Group,
    /// fdatasync once a second: a power cut may cost that second, a killed agent nothing.
    Interval,
}

/// `[reload]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// Files that change take effect by themselves; otherwise at `pythond reload` and SIGHUP.
    pub watch: bool,
    /// Files are looked at so often even if nothing was noticed; 30 s.
    pub poll: Duration,
}

impl Default for Reload {
    fn default() -> Self {
        Self { watch: true, poll: Duration::from_secs(30) }
    }
}

/// `[logging]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Logging {
    pub level: Level,
    /// Where the `_datakit_pythond_*` logs lie: the home directory, as DataKit; `<root>/data/log` without HOME.
    pub dir: PathBuf,
    /// Who may read these logs besides their owner, as the system numbers it.
    pub group: Option<u32>,
}

impl Logging {
    /// Gives the settings without a `[logging]` table.
    pub fn default_in(root: &Path, around: &Surroundings) -> Self {
        let dir = around.home().unwrap_or_else(|| root.join("data/log"));
        Self { level: Level::Info, dir, group: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Every fault of every file, in the order of files and lines.
#[derive(Debug, thiserror::Error)]
#[error("{} fault(s) in the settings", faults.len())]
pub struct ConfigError {
    pub faults: Vec<Diagnostic>,
    /// Odd but not wrong.
    pub warnings: Vec<Diagnostic>,
    /// The inputs without a fault, so that their scripts can be checked all the same.
    pub inputs: Vec<InputTable>,
}
