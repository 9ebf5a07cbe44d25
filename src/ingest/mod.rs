//! The HTTP endpoint where reports come in: DataKit's write API over TCP and a Unix socket, and rows over the sockets of the workers.
//!
//! A request goes through `guard` (who may ask), `write` or `rows` (body to kept record) and `reply` (every way to say no). A 2xx is sent only
//! after [`Keep::keep`] has returned, and that returns only when the record is on disk.

mod account;
mod body;
mod budget;
pub mod guard;
mod intake;
pub mod lasterror;
mod query;
pub mod repairs;
pub mod reply;
mod router;
mod rows;
pub mod server;
mod several;
mod turns;
mod write;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use crate::buffer::{AppendError, Log};
use crate::config;
use crate::deadletter::DeadLetters;
use crate::point::record::Header;
use crate::series::LastValues;
use crate::telemetry::counters::{ByReason, Counters};
use crate::telemetry::files::ScriptLogs;
use crate::worker::roster::Roster;

pub use lasterror::LastErrors;
pub use router::router;

/// Where accepted lines go: the buffer of the agent, or the memory of `pythond run`.
pub trait Keep: Send + Sync {
    /// Returns once the lines are safe.
    ///
    /// # Errors
    /// When nothing was kept.
    fn keep<'a>(&'a self, header: &'a Header, lines: &'a [u8]) -> BoxFuture<'a, Result<(), AppendError>>;

    /// Keeps the lines of several senders; each has an answer of its own, in their order.
    fn keep_all<'a>(&'a self, records: &'a [(Header, Vec<u8>)]) -> BoxFuture<'a, Vec<Result<(), AppendError>>> {
        let each = records.iter().map(|(header, lines)| self.keep(header, lines));
        Box::pin(futures_util::future::join_all(each))
    }
}

impl Keep for Log {
    fn keep<'a>(&'a self, header: &'a Header, lines: &'a [u8]) -> BoxFuture<'a, Result<(), AppendError>> {
        Box::pin(async move { self.append(header.points, header.encode(lines).into()).await.map(|_| ()) })
    }

    fn keep_all<'a>(&'a self, records: &'a [(Header, Vec<u8>)]) -> BoxFuture<'a, Vec<Result<(), AppendError>>> {
        let encoded = records.iter().map(|(header, lines)| (header.points, header.encode(lines).into()));
        Box::pin(async move { self.append_all(encoded).await.into_iter().map(|kept| kept.map(|_| ())).collect() })
    }
}

/// What the endpoint obeys.
#[derive(Debug, Clone)]
pub struct Settings {
    pub max_body: u64,
    /// For reading one body.
    pub timeout: Duration,
    pub integers_as_floats: bool,
    pub events: config::Events,
    pub global_tags: BTreeMap<String, String>,
    /// How many series of rows are remembered at most.
    pub max_series: usize,
}

/// Everything a write request needs; shared by all connections.
pub struct Ingest {
    settings: RwLock<Arc<Settings>>,
    pub keep: Arc<dyn Keep>,
    pub roster: Roster,
    /// `None` in `pythond run`: refused points are printed there.
    pub dead: Option<DeadLetters>,
    pub logs: Option<ScriptLogs>,
    pub counters: Counters,
    pub last_errors: LastErrors,
    /// Of senders that are no workers.
    pub repairs: repairs::Repairs,
    pub host: String,
    pub started: Instant,
    budget: budget::Budget,
    series: Mutex<LastValues>,
    /// Of the jobs that send rows.
    turns: turns::Turns,
    closing: AtomicBool,
    /// Turns to take a large body apart.
    large: Arc<tokio::sync::Semaphore>,
}

impl Ingest {
    /// Puts the parts together; nothing is opened or started.
    pub fn new(settings: Settings, keep: Arc<dyn Keep>, roster: Roster, counters: Counters) -> Self {
        let host = settings.global_tags.get("host").cloned().unwrap_or_default();
        Self {
            budget: budget::Budget::new(settings.max_body),
            series: Mutex::default(),
            turns: turns::Turns::default(),
            settings: RwLock::new(Arc::new(settings)),
            keep,
            roster,
            dead: None,
            logs: None,
            counters,
            last_errors: LastErrors::default(),
            repairs: repairs::Repairs::default(),
            host,
            started: Instant::now(),
            closing: AtomicBool::new(false),
            large: Arc::new(tokio::sync::Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from))),
        }
    }

    /// Counts a request by what became of it.
    fn count_post<T>(&self, answer: &Result<T, reply::No>) {
        let outcome = answer.as_ref().map_or_else(reply::No::outcome, |_| "ok");
        self.counters.posts.get_or_create(&ByReason { reason: outcome.to_owned() }).inc();
    }

    /// What requests obey that begin now.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has requests that begin from now on obey other settings; the room for all bodies together stays as it is.
    pub fn obey(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// From now on every write is answered 503, so that nothing arrives that would not be kept.
    pub fn refuse_from_now(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}
