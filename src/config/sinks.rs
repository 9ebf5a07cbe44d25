//! The settings of each sink kind: what every sink has, and what only its kind has.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Origin, Secret};
use crate::point::Category;

/// One `[sinks.<kind>.<name>]` table.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkSettings {
    /// The table's name; unique over all kinds.
    pub name: String,
    pub kind: SinkKind,
    /// `None`: all.
    pub categories: Option<Vec<Category>>,
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
            required: true,
            linger: Duration::from_millis(20),
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
}

impl SinkKind {
    /// The word used in the settings.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Influxdb(_) => "influxdb",
            Self::Dataway(_) => "dataway",
        }
    }

    /// Where it writes, free of secrets.
    pub fn target(&self) -> String {
        match self {
            Self::File(file) => file.dir.display().to_string(),
            Self::Influxdb(influxdb) => influxdb.url.clone(),
            Self::Dataway(dataway) => dataway.url.expose().split('?').next().unwrap_or_default().to_owned(),
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
