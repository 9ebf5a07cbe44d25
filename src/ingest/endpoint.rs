//! What all requests share: the settings that they obey, where lines go, and what is counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::keep::PointStore;
use super::repairs::Repairs;
use super::reply::No;
use super::reported::LastErrors;
use super::turns::Turns;
use crate::config;
use crate::deadletter::DeadLetters;
use crate::series::LastValues;
use crate::telemetry::counters::{ByReason, Counters};
use crate::telemetry::files::ScriptLogs;
use crate::worker::roster::Roster;

/// What the endpoint obeys.
#[derive(Debug, Clone)]
pub struct EndpointSettings {
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
pub struct WriteEndpoint {
    settings: RwLock<Arc<EndpointSettings>>,
    pub keep: Arc<dyn PointStore>,
    pub roster: Roster,
    /// `None` in `pythond run`: refused points are printed there.
    pub dead: Option<DeadLetters>,
    pub logs: Option<ScriptLogs>,
    pub counters: Counters,
    pub last_errors: LastErrors,
    /// Of senders that are no workers.
    pub repairs: Repairs,
    pub host: String,
    pub started: Instant,
    pub(super) budget: Budget,
    series: Mutex<LastValues>,
    /// Of the jobs that send rows.
    pub(super) turns: Turns,
    closing: AtomicBool,
    /// Turns to take a large body apart.
    pub(super) large: Arc<tokio::sync::Semaphore>,
}

impl WriteEndpoint {
    /// Puts the parts together; nothing is opened or started.
    pub fn new(settings: EndpointSettings, keep: Arc<dyn PointStore>, roster: Roster, counters: Counters) -> Self {
        let host = settings.global_tags.get("host").cloned().unwrap_or_default();
        Self {
            budget: Budget::new(settings.max_body),
            series: Mutex::default(),
            turns: Turns::default(),
            settings: RwLock::new(Arc::new(settings)),
            keep,
            roster,
            dead: None,
            logs: None,
            counters,
            last_errors: LastErrors::default(),
            repairs: Repairs::default(),
            host,
            started: Instant::now(),
            closing: AtomicBool::new(false),
            large: Arc::new(tokio::sync::Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from))),
        }
    }

    /// Counts a request by what became of it.
    pub(super) fn count_post<T>(&self, answer: &Result<T, No>) {
        let outcome = answer.as_ref().map_or_else(No::outcome, |_| "ok");
        self.counters.posts.get_or_create(&ByReason { reason: outcome.to_owned() }).inc();
    }

    /// What requests obey that begin now.
    pub fn settings(&self) -> Arc<EndpointSettings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has requests that begin from now on obey other settings; the room for all bodies together stays as it is.
    pub fn obey(&self, settings: EndpointSettings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// From now on every write is answered 503, so that nothing arrives that would not be kept.
    pub fn refuse_from_now(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Held for moments only: a large request looks its series up one by one.
    pub(super) fn series(&self) -> MutexGuard<'_, LastValues> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}
