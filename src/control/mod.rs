//! What is shown: the status as JSON, the counters as Prometheus text, and the page; and what can be told: `skip` to a sink, `reload` to
//! the agent, `sync` to a repository.

mod git;
mod metrics;
mod page;
pub mod reload;
mod resources;
mod skip;
mod stack;
mod status;
pub mod views;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use tokio::sync::Mutex;

use crate::buffer::Log;
use crate::deadletter::DeadLetters;
use crate::ingest::LastErrors;
use crate::ingest::repairs::Repairs;
use crate::ingest::reply::No;
use crate::ingest::server::Peer;
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
    pub units: Handle,
    pub asks: Asks,
    pub shown: Shown,
    pub log: Log,
    pub dead: DeadLetters,
    pub last_errors: LastErrors,
    pub repairs: Repairs,
    pub counters: Counters,
    pub git: crate::git::Handle,
    pub disk: DiskLooks,
}

/// Looks at the disk, off the thread that serves and one after the other: a disk that hangs holds one thread and nobody else.
#[derive(Clone, Default)]
pub struct DiskLooks {
    turn: Arc<Mutex<()>>,
}

impl DiskLooks {
    async fn take<T: Send + 'static>(&self, look: impl FnOnce() -> T + Send + 'static) -> T {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let looked = tokio::task::spawn_blocking(move || {
            let found = look();
            // Also when whoever asked has gone meanwhile.
            drop(turn);
            found
        });
        looked.await.expect("a look at the disk does not panic")
    }
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
    /// Found while the units were looked for, one sentence each.
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
    let orders = Router::new()
        .route("/api/v1/git/sync", post(git::sync))
        .route("/api/v1/reload", post(reload::reload))
        .route("/api/v1/units/{id}/recheck", post(reload::recheck))
        .route("/api/v1/units/{id}/resources", get(resources::resources))
        .route("/api/v1/units/{id}/restart", post(reload::restart))
        .route("/api/v1/units/{id}/run-now", post(reload::run_now))
        .route("/api/v1/units/{id}/stack", get(stack::stack))
        .route("/api/v1/sinks/{name}/skip", post(skip::skip))
        .route_layer(middleware::from_fn(over_the_socket));
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/git", get(git::git))
        .route("/metrics", get(metrics))
        .merge(orders)
        .with_state(control)
        .merge(page::router())
}

/// Orders lose points, run other code, send signals or have a worker do something. Whoever may write to the agent's own socket may stop the agent too; a web page on
/// this machine, or a script of another user, may not.
async fn over_the_socket(peer: Option<Extension<Peer>>, request: Request, next: Next) -> Response {
    if matches!(peer, Some(Extension(Peer::Unix))) {
        return next.run(request).await;
    }
    let message = "orders are taken over the agent's own Unix socket only, as the commands of `pythond` give them";
    No::Forbidden { error_code: "pythond.socketOnly", message: message.to_owned() }.into_response()
}

async fn status(State(control): State<Arc<Control>>) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(control.status().await)).into_response()
}

async fn metrics(State(control): State<Arc<Control>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics::text(&control).await)
        .into_response()
}
