//! What is shown: the status as JSON, the counters as Prometheus text, and the page; and what can be told: `skip` to a sink, `reload` to
//! the agent, `sync` to a repository.
//!
//! The handlers share `state`. No file here uses one that uses it; `tests/floors.rs` holds this.

mod git;
mod metrics;
mod page;
pub mod reload;
mod resources;
mod skip;
mod stack;
mod state;
mod status;
mod units;
pub mod views;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};

use crate::ingest::reply::No;
use crate::ingest::server::Peer;

pub use reload::{Asks, ReloadRecord, ReloadRequest};
pub use state::{Api, DiskLooks, Now, ShownSettings, ShownSink};

/// Serves `/`, `/metrics` and `/api/v1/…`.
pub fn router(api: Arc<Api>) -> Router {
    let orders = Router::new()
        .route("/api/v1/git/sync", post(git::sync))
        .route("/api/v1/reload", post(units::reload))
        .route("/api/v1/units/{id}/recheck", post(units::recheck))
        .route("/api/v1/units/{id}/resources", get(resources::resources))
        .route("/api/v1/units/{id}/restart", post(units::restart))
        .route("/api/v1/units/{id}/run-now", post(units::run_now))
        .route("/api/v1/units/{id}/stack", get(stack::stack))
        .route("/api/v1/sinks/{name}/skip", post(skip::skip))
        .route_layer(middleware::from_fn(over_the_socket));
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/git", get(git::git))
        .route("/metrics", get(metrics))
        .merge(orders)
        .with_state(api)
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

async fn status(State(api): State<Arc<Api>>) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(api.status().await)).into_response()
}

async fn metrics(State(api): State<Arc<Api>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics::text(&api).await).into_response()
}
