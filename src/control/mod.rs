//! What is shown: the status as JSON, the counters as Prometheus text, and the page; and what can be told: `skip` to a sink, `sync` to a repository.

mod git;
mod metrics;
mod page;
mod skip;
mod status;
pub mod views;

use std::path::PathBuf;
use std::sync::Arc;
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

/// Everything that can be asked how it is.
pub struct Control {
    pub started: Instant,
    pub root: PathBuf,
    pub host: String,
    pub listen: Option<String>,
    pub socket: PathBuf,
    pub scripts: Handle,
    pub sinks: Vec<ShownSink>,
    pub log: Log,
    pub dead: DeadLetters,
    pub last_errors: LastErrors,
    pub counters: Counters,
    /// Found at start, one sentence each.
    pub problems: Vec<String>,
    pub git: crate::git::Handle,
}

/// A sink with the place it writes to, free of secrets.
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
