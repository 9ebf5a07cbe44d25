//! What is shown: the status as JSON, the counters as Prometheus text, and the page; and what can be told: `skip` to a sink, `reload` to
//! the agent, `sync` to a repository.

mod git;
mod metrics;
mod page;
pub mod reload;
mod skip;
mod stack;
mod status;
pub mod views;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};

use crate::buffer::Log;
use crate::deadletter::DeadLetters;
use crate::ingest::LastErrors;
use crate::sinks::Health;
use crate::supervisor::Handle;
use crate::telemetry::counters::Counters;

pub use reload::{Ask, Asks, LastReload};

/// Everything that can be asked how it is.
pub struct Control {
    pub started: Instant,
    pub root: PathBuf,
    pub host: String,
    pub listen: Option<String>,
    pub socket: PathBuf,
    pub scripts: Handle,
    pub asks: Asks,
    pub shown: Shown,
    pub log: Log,
    pub dead: DeadLetters,
    pub last_errors: LastErrors,
    pub counters: Counters,
    pub git: crate::git::Handle,
}

/// What a reload may change; clones share it.
#[derive(Clone, Default)]
pub struct Shown {
    now: Arc<RwLock<Now>>,
}

/// What holds since the start or the last reload.
#[derive(Clone, Default)]
pub struct Now {
    pub sinks: Vec<ShownSink>,
    /// Found while the scripts were looked for, one sentence each.
    pub problems: Vec<String>,
    /// Settings that changed since the start of the agent and that only another start makes effective.
    pub needs_restart: Vec<String>,
    /// Why not every change of a file is noticed at once.
    pub unwatched: Option<String>,
    pub reload: Option<LastReload>,
}

impl Shown {
    pub fn now(&self) -> Now {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn change(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.now.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A sink with the place it writes to, free of secrets.
#[derive(Clone)]
pub struct ShownSink {
    pub health: Health,
    pub target: String,
}

/// Serves `/`, `/metrics` and `/api/v1/…`.
pub fn router(control: Arc<Control>) -> Router {
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/git", get(git::git))
        .route("/api/v1/git/sync", post(git::sync))
        .route("/metrics", get(metrics))
        .route("/api/v1/sinks/{name}/skip", post(skip::skip))
        .route("/api/v1/scripts/{id}/stack", get(stack::stack))
        .route("/api/v1/reload", post(reload::reload))
        .route("/api/v1/scripts/{id}/restart", post(reload::restart))
        .route("/api/v1/scripts/{id}/run-now", post(reload::run_now))
        .with_state(control)
        .merge(page::router())
}

async fn status(State(control): State<Arc<Control>>) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(control.status().await)).into_response()
}

async fn metrics(State(control): State<Arc<Control>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics::text(&control).await)
        .into_response()
}
