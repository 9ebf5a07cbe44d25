//! The settings of the agent: read once from every `*.conf` below `conf.d/`, checked whole, then obeyed as plain values.
//!
//! `raw` is the file as written, `resolve` turns it into [`Config`] and collects every fault, `sinks` holds one settings struct per sink
//! kind, `quantity` the values with units. No other module reads a settings file or the environment.

pub mod diagnostic;
pub mod quantity;
mod raw;
mod resolve;
pub mod sinks;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use diagnostic::{Diagnostic, Severity};
pub use quantity::Secret;
pub use sinks::SinkSettings;

/// Everything the agent obeys; all paths are absolute.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory that holds `conf.d/ python.d/ data/`.
    pub root: PathBuf,
    pub inputs: Vec<Input>,
    pub http_api: HttpApi,
    pub ingest: Ingest,
    pub events: Events,
    pub buffer: Buffer,
    pub logging: Logging,
    /// Tags added to every point where the key is absent; `host` is always there.
    pub global_tags: BTreeMap<String, String>,
    /// Never empty: without a `[sinks]` table it holds the default file sink, and `default_sink` is true.
    pub sinks: Vec<SinkSettings>,
    pub default_sink: bool,
    /// What is odd but not wrong, to be shown at start.
    pub warnings: Vec<Diagnostic>,
}

/// One `[[inputs.pythond]]` block.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Unique, white space removed as DataKit does.
    pub name: String,
    /// The interpreter as written: a name on PATH or an absolute path.
    pub cmd: String,
    /// Resolved directories or single files, in the order given; relative entries lie below `<root>/python.d`.
    pub dirs: Vec<PathBuf>,
    /// `(name, value)` pairs added to the environment, in order.
    pub envs: Vec<(String, String)>,
    /// Added to every point of these scripts where the key is absent.
    pub tags: BTreeMap<String, String>,
    pub enabled: bool,
    /// Wall time one run may take; `None`: silence decides (spec/supervision 2.5).
    pub run_timeout: Option<Duration>,
    /// How long a running run may go on after a stop; 5 s.
    pub stop_grace: Duration,
    pub memory_max: Option<u64>,
    /// 5 by default.
    pub nice: i32,
    /// The table `config`, handed to the script as `self.config`.
    pub config: serde_json::Value,
    /// Where the block stands, for messages.
    pub origin: Origin,
}

/// Where a setting was written; line and column start at 1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    pub file: PathBuf,
    pub line: usize,
    pub column: usize,
}

/// `[http_api]`: where reports come in and status goes out.
#[derive(Debug, Clone)]
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
    pub tls: Option<Tls>,
}

/// `[http_api.tls]`.
#[derive(Debug, Clone)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// `[ingest]`.
#[derive(Debug, Clone)]
pub struct Ingest {
    pub integers: Integers,
}

/// What an integer in a JSON body becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integers {
    /// A float, as in DataKit, so that `0` then `0.5` is no field type conflict.
    Float,
    Keep,
}

/// `[events]`.
#[derive(Debug, Clone)]
pub struct Events {
    pub on_invalid: OnInvalid,
    pub extra_status: Vec<String>,
    pub extra_source: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInvalid {
    Refuse,
    Warn,
}

/// `[buffer]`.
#[derive(Debug, Clone)]
pub struct Buffer {
    /// `<root>/data/buffer`.
    pub dir: PathBuf,
    /// 2 GiB by default.
    pub max_size: u64,
    pub at_cap: AtCap,
    pub sync: Sync,
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

/// `[logging]`.
#[derive(Debug, Clone)]
pub struct Logging {
    pub level: Level,
    /// Where the `_datakit_pythond_*` logs lie: the home directory, as DataKit; `<root>/data/log` without HOME.
    pub dir: PathBuf,
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
}

/// What the settings may look at besides their files, as a value so that tests choose it.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub env: BTreeMap<String, String>,
    pub hostname: String,
}

impl Surroundings {
    /// Takes the environment and host name of this process.
    pub fn of_this_process() -> Self {
        todo!("config")
    }
}

/// Reads and checks every `*.conf` below `<root>/conf.d`.
///
/// # Errors
/// All faults of all files at once.
pub fn read(root: &Path, around: &Surroundings) -> Result<Config, ConfigError> {
    resolve::read(root, around)
}
