//! The paths of the write API.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::{Method, Uri};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;

use super::endpoint::WriteEndpoint;
use super::reply::No;
use super::{lasterror, rows, several, write};
use crate::quantity::show_duration;

/// Serves `/v1/…`; what is on no path gets an answer that lists the paths.
pub fn router(ingest: Arc<WriteEndpoint>) -> Router {
    let for_workers = axum::middleware::from_fn(rows::only_for_workers);
    Router::new()
        .route("/v1/rows", post(rows::rows).fallback(only_post).layer(for_workers.clone()))
        .route("/v1/rows/several", post(several::several).fallback(only_post).layer(for_workers))
        .route("/v1/write/{category}", post(write::write).fallback(only_post))
        .route("/v1/lasterror", post(lasterror::lasterror).fallback(only_post))
        .route("/v1/ping", get(ping))
        .route("/v1/ntp", get(ntp))
        .fallback(unknown)
        .with_state(ingest)
}

#[derive(Serialize)]
struct Content<T> {
    content: T,
}

#[derive(Serialize)]
struct Ping {
    version: &'static str,
    uptime: String,
    host: String,
    commit: &'static str,
}

async fn ping(State(ingest): State<Arc<WriteEndpoint>>) -> Json<Content<Ping>> {
    let uptime = Duration::from_secs(ingest.started.elapsed().as_secs());
    Json(Content {
        content: Ping {
            version: env!("CARGO_PKG_VERSION"),
            uptime: show_duration(uptime),
            host: ingest.host.clone(),
            commit: option_env!("PYTHOND_COMMIT").unwrap_or(""),
        },
    })
}

#[derive(Serialize)]
struct Ntp {
    timestamp_sec: u64,
}

async fn ntp() -> Json<Ntp> {
    Json(Ntp { timestamp_sec: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() })
}

async fn only_post(method: Method, uri: Uri) -> No {
    No::WrongMethod { message: format!("{method} {} is not served; use POST", uri.path()), allow: "POST" }
}

async fn unknown(uri: Uri) -> No {
    No::nothing_at(uri.path())
}
