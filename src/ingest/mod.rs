//! The HTTP endpoint where reports come in: DataKit's write API over TCP and a Unix socket.
//!
//! A request goes through `guard` (who may ask), `write` (body to kept record) and `reply` (every way to say no). A 2xx is sent only
//! after [`Keep::keep`] has returned, and that returns only when the record is on disk.

mod body;
mod budget;
pub mod guard;
pub mod lasterror;
mod query;
pub mod reply;
mod router;
pub mod server;
mod write;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use crate::buffer::{AppendError, Log};
use crate::config;
use crate::deadletter::DeadLetters;
use crate::point::record::Header;
use crate::telemetry::counters::Counters;
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
}

impl Keep for Log {
    fn keep<'a>(&'a self, header: &'a Header, lines: &'a [u8]) -> BoxFuture<'a, Result<(), AppendError>> {
        Box::pin(async move { self.append(header.points, header.encode(lines).into()).await.map(|_| ()) })
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
    pub host: String,
    pub started: Instant,
    budget: budget::Budget,
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
            settings: RwLock::new(Arc::new(settings)),
            keep,
            roster,
            dead: None,
            logs: None,
            counters,
            last_errors: LastErrors::default(),
            host,
            started: Instant::now(),
            closing: AtomicBool::new(false),
            large: Arc::new(tokio::sync::Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from))),
        }
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
