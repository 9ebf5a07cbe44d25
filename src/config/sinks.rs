//! The settings of each sink kind: what every sink has, and what only its kind has.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::secret::Secret;
use super::surroundings::Origin;
use crate::glob::Glob;
use crate::point::Category;

/// One `[sinks.<kind>.<name>]` table.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkSettings {
    /// The table's name; unique over all kinds.
    pub name: String,
    pub kind: SinkKind,
    /// `None`: all.
    pub categories: Option<Vec<Category>>,
    /// Only measurements like one of these; `None`: all.
    pub measurements: Option<Vec<Glob>>,
    /// A required sink makes ingest answer 503 at the cap; another is moved forward. True by default.
    pub required: bool,
    /// How long to gather when idle; 20 ms.
    pub linger: Duration,
    /// Time for one request; 10 s.
    pub timeout: Duration,
    /// Raw bytes of one batch; 1 MiB.
    pub max_batch: u64,
    pub origin: Origin,
}

impl SinkSettings {
    /// Gives a sink with the default of every key that all kinds share.
    pub fn default_of(name: &str, kind: SinkKind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            categories: None,
            measurements: None,
            required: true,
            linger: Duration::from_millis(15),
            timeout: Duration::from_secs(10),
            max_batch: 1 << 20,
            origin: Origin::default(),
        }
    }

    /// Gives the sink that is used when the settings name none.
    pub fn default_in(root: &Path) -> Self {
        Self::default_of("local", SinkKind::File(FileSink::default_in(root)))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum SinkKind {
    File(FileSink),
    Influxdb(InfluxdbSink),
    Dataway(DatawaySink),
    Victoriametrics(VictoriametricsSink),
    Questdb(QuestdbSink),
    Telegraf(TelegrafSink),
    Greptimedb(GreptimedbSink),
    Socket(SocketSink),
    Nats(NatsSink),
}

impl SinkKind {
    /// The word used in the settings.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Influxdb(_) => "influxdb",
            Self::Dataway(_) => "dataway",
            Self::Victoriametrics(_) => "victoriametrics",
            Self::Questdb(_) => "questdb",
            Self::Telegraf(_) => "telegraf",
            Self::Greptimedb(_) => "greptimedb",
            Self::Socket(_) => "socket",
            Self::Nats(_) => "nats",
        }
    }

    /// Where it writes points of one category, free of secrets.
    pub fn target_of(&self, category: Category) -> String {
        match self {
            Self::File(file) => file.dir.join(format!("{}.lp", category.as_str())).display().to_string(),
            _ => self.target(),
        }
    }

    /// Where it writes, free of secrets.
    pub fn target(&self) -> String {
        match self {
            Self::File(file) => file.dir.display().to_string(),
            Self::Influxdb(influxdb) => influxdb.url.clone(),
            Self::Dataway(dataway) => dataway.url.expose().split('?').next().unwrap_or_default().to_owned(),
            Self::Victoriametrics(kind) => kind.http.url.clone(),
            Self::Questdb(QuestdbSink::Http(http)) => http.url.clone(),
            Self::Questdb(QuestdbSink::Tcp { address }) => format!("tcp://{address}"),
            Self::Telegraf(kind) => kind.http.url.clone(),
            Self::Greptimedb(kind) => kind.http.url.clone(),
            Self::Socket(kind) => kind.address.to_string(),
            Self::Nats(kind) => format!("nats://{} {}", kind.address, kind.subject),
        }
    }
}

/// `[sinks.file.<name>]`: one file per category (`metric.lp`, `keyevent.lp` …).
#[derive(Debug, Clone, PartialEq)]
pub struct FileSink {
    /// `<root>/data/points` by default.
    pub dir: PathBuf,
    /// Bytes before a file is rotated; 64 MiB.
    pub max_file: u64,
    /// Rotated files kept; 10.
    pub keep: usize,
}

impl FileSink {
    /// Gives a file sink without any key.
    pub fn default_in(root: &Path) -> Self {
        Self { dir: root.join("data/points"), max_file: 64 << 20, keep: 10 }
    }
}

/// Whether HTTP sinks compress what they send.
pub(super) const GZIP: bool = true;

/// `[sinks.influxdb.<name>]`.
#[derive(Debug, Clone, PartialEq)]
pub struct InfluxdbSink {
    /// Base URL, `http://host:8086`, without a trailing slash.
    pub url: String,
    pub api: InfluxdbApi,
    pub gzip: bool,
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum InfluxdbApi {
    V1 { database: String, retention_policy: Option<String>, login: Option<(String, Secret)> },
    V2 { org: String, bucket: String, token: Option<Secret> },
    V3 { database: String, token: Option<Secret> },
}

/// `[sinks.dataway.<name>]`.
#[derive(Debug, Clone, PartialEq)]
pub struct DatawaySink {
    /// With `?token=`; secret as a whole, since it carries the token.
    pub url: Secret,
    pub gzip: bool,
    pub ca_file: Option<PathBuf>,
}

/// What the kinds share that post lines over HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSettings {
    /// Base URL without a trailing slash.
    pub url: String,
    pub gzip: bool,
    pub ca_file: Option<PathBuf>,
    pub login: Login,
}

impl HttpSettings {
    /// Gives the settings of a far end that wants no login.
    pub fn default_of(url: &str) -> Self {
        Self { url: url.to_owned(), gzip: GZIP, ca_file: None, login: Login::Nobody }
    }
}

/// How a sink says who it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Login {
    Nobody,
    Password(String, Secret),
    /// `Authorization: Bearer`, or what the kind has in its place.
    Token(Secret),
}

/// `[sinks.victoriametrics.<name>]`.
#[derive(Debug, Clone, PartialEq)]
pub struct VictoriametricsSink {
    pub http: HttpSettings,
    /// Labels of every series, in order of their names.
    pub extra_labels: Vec<(String, String)>,
}

/// `[sinks.questdb.<name>]`.
#[derive(Debug, Clone, PartialEq)]
pub enum QuestdbSink {
    Http(HttpSettings),
    /// `host:port`.
    Tcp {
        address: String,
    },
}

/// `[sinks.telegraf.<name>]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TelegrafSink {
    pub http: HttpSettings,
    /// For Telegraf's `database_tag`.
    pub database: Option<String>,
    /// For Telegraf's `retention_policy_tag`.
    pub retention_policy: Option<String>,
}

/// `[sinks.greptimedb.<name>]`; it knows users and passwords only.
#[derive(Debug, Clone, PartialEq)]
pub struct GreptimedbSink {
    pub http: HttpSettings,
    pub database: String,
}

/// GreptimeDB's own name for the database that is always there.
pub(super) const GREPTIMEDB_DATABASE: &str = "public";

/// `[sinks.socket.<name>]`.
#[derive(Debug, Clone, PartialEq)]
pub struct SocketSink {
    pub address: SocketAddress,
    /// Bytes of one datagram, as far as lines allow.
    pub max_datagram: u64,
}

/// What goes through most networks in one piece.
pub(super) const MAX_DATAGRAM: u64 = 1400;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketAddress {
    /// `host:port`.
    Tcp(String),
    /// `host:port`.
    Udp(String),
    Unix(PathBuf),
    UnixDatagram(PathBuf),
}

impl std::fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::UnixDatagram(path) => write!(f, "unixgram://{}", path.display()),
        }
    }
}

/// `[sinks.nats.<name>]`.
#[derive(Debug, Clone, PartialEq)]
pub struct NatsSink {
    /// `host:port`.
    pub address: String,
    /// `{category}` in it stands for the category.
    pub subject: String,
    /// Begins the id of every message; the host name by default.
    pub id: String,
    pub login: Login,
}

pub(super) const NATS_SUBJECT: &str = "pythond.{category}";
