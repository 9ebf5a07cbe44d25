//! A buffer, a sink and the pump between them, as the agent puts them together.
#![allow(dead_code)] // each test file uses its own part

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pythond::buffer::disk::RealDisk;
use pythond::buffer::{self, Log};
use pythond::config::Secret;
use pythond::config::sinks::{DatawaySink, FileSink, InfluxdbApi, InfluxdbSink, SinkKind, SinkSettings};
use pythond::deadletter::{self, DeadLetters, Letter};
use pythond::point::Category;
use pythond::point::record::Header;
use pythond::sinks::pump::{self, RunningPump, StopDeadline};
use pythond::sinks::{self, HealthReport, SinkState};
use pythond::telemetry::counters::Counters;
use tokio::sync::watch;
use tokio::time::Instant;

/// Far more than anything takes, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub fn settings(kind: SinkKind) -> SinkSettings {
    SinkSettings { linger: Duration::from_millis(5), ..SinkSettings::default_of("main", kind) }
}

pub fn file(dir: &Path) -> SinkSettings {
    settings(SinkKind::File(FileSink { dir: dir.to_owned(), max_file: 64 << 20, keep: 10 }))
}

pub fn influxdb(url: &str, api: InfluxdbApi) -> SinkSettings {
    settings(SinkKind::Influxdb(InfluxdbSink { url: url.to_owned(), api, gzip: true, ca_file: None }))
}

pub fn influxdb_v1(url: &str, database: &str) -> SinkSettings {
    influxdb(url, InfluxdbApi::V1 { database: database.to_owned(), retention_policy: None, login: None })
}

pub fn dataway(url: &str, token: &str) -> SinkSettings {
    let url = Secret::new(format!("{url}?token={token}"));
    settings(SinkKind::Dataway(DatawaySink { url, gzip: true, ca_file: None }))
}

pub struct Pipe {
    dir: tempfile::TempDir,
    pub log: Log,
    pub settings: SinkSettings,
    dead: DeadLetters,
    counters: Counters,
}

impl Pipe {
    pub fn new(settings: SinkSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log_settings = buffer::BufferSettings {
            dir: dir.path().join("buffer"),
            max_size: 1 << 30,
            drop_oldest_at_cap: false,
            sync_each_commit: true,
        };
        let (log, _) = Log::open(log_settings, Arc::new(RealDisk)).unwrap();
        drop(log.cursor(&settings.name, true).unwrap());
        let dead = DeadLetters::open(dir.path().join("dead"), 64 << 20).unwrap();
        Self { dir, log, settings, dead, counters: Counters::default() }
    }

    /// Appends lines as one record.
    pub async fn put(&self, category: Category, lines: &[impl AsRef<str>]) {
        let text: String = lines.iter().map(|line| format!("{}\n", line.as_ref())).collect();
        let header = Header { category, points: lines.len() as u32, source: "in/script".to_owned() };
        self.log.append(header.points, header.encode(text.as_bytes()).into()).await.unwrap();
    }

    /// Starts the pump.
    pub fn start(&self) -> Pump<'_> {
        let cursor = self.log.cursor(&self.settings.name, true).unwrap();
        let (stop, stopped) = watch::channel(None);
        let made = self.settings.clone();
        let make = move || sinks::build(&made);
        let running =
            pump::start(&self.settings, make, Box::new(cursor), self.dead.clone(), &self.counters, stopped).unwrap();
        Pump { pipe: self, running, stop }
    }

    /// Runs the pump until nothing is left.
    pub async fn drain(&self) -> HealthReport {
        let pump = self.start();
        pump.until_empty().await;
        pump.end().await
    }

    /// The counters as `/metrics` shows them.
    pub fn counters_text(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.counters.registry()).unwrap();
        text
    }

    pub fn behind(&self) -> u64 {
        self.log.stats().cursors.iter().map(|cursor| cursor.behind_points).sum()
    }

    pub fn letters(&self) -> Vec<Letter> {
        let files = deadletter::files(&self.dir.path().join("dead"), &self.settings.name).unwrap();
        files.iter().flat_map(|file| deadletter::read(file).unwrap()).collect()
    }

    pub fn dead_points(&self) -> Vec<String> {
        self.letters().into_iter().map(|letter| letter.point).collect()
    }
}

/// A pump at work.
pub struct Pump<'a> {
    pipe: &'a Pipe,
    running: RunningPump,
    stop: watch::Sender<StopDeadline>,
}

impl Pump<'_> {
    pub fn report(&self) -> HealthReport {
        self.running.health.report()
    }

    pub async fn until_empty(&self) {
        self.until("the sink has everything", |_| self.pipe.behind() == 0).await;
    }

    pub async fn until_state(&self, state: SinkState) {
        self.until(&state.to_string(), |report| report.state == state).await;
    }

    pub async fn until(&self, what: &str, is_so: impl Fn(&HealthReport) -> bool) {
        let start = Instant::now();
        while !is_so(&self.report()) {
            assert!(start.elapsed() < PATIENCE, "waited in vain until {what}: {:?}", self.report());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops it without a grace.
    pub async fn end(self) -> HealthReport {
        self.stop.send_replace(Some(Instant::now()));
        self.running.task.await.unwrap();
        self.running.health.report()
    }
}
