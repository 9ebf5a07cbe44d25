//! What can be told about units: `POST /api/v1/reload`, `POST /api/v1/units/{id}/restart`, `…/run-now` and `…/recheck`.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use tokio::sync::{mpsc, oneshot};

use super::Control;
use super::views::{Reloaded, Told};
use crate::config::RepoRoot;
use crate::ingest::reply::No;
use crate::supervisor::UnitState;

/// A wish to have what is on disk take effect.
pub struct Ask {
    /// Who wants it, for the log.
    pub by: String,
    /// The exported repositories from now on; `None`: those of before.
    pub repos: Option<Vec<RepoRoot>>,
    /// Told when everything that changed has settled.
    pub answer: oneshot::Sender<Reloaded>,
}

/// Where wishes go; those that wait are fulfilled together.
pub type Asks = mpsc::Sender<Ask>;

/// The outcome of the last reload that changed something or was asked for.
#[derive(Clone)]
pub struct LastReload {
    pub at: Instant,
    pub outcome: Reloaded,
}

/// Asks for a reload and waits for its outcome; `None` while the agent stops.
pub async fn ask(asks: &Asks, by: &str, repos: Option<Vec<RepoRoot>>) -> Option<Reloaded> {
    let (answer, answered) = oneshot::channel();
    asks.send(Ask { by: by.to_owned(), repos, answer }).await.ok()?;
    answered.await.ok()
}

pub(super) async fn reload(State(control): State<Arc<Control>>) -> Response {
    match ask(&control.asks, "pythond reload", None).await {
        Some(outcome) => Json(outcome).into_response(),
        None => No::closing().into_response(),
    }
}

pub(super) async fn restart(State(control): State<Arc<Control>>, Path(id): Path<String>) -> Response {
    let known = control.units.restart(&id).await;
    control.told(&id, known).await
}

pub(super) async fn run_now(State(control): State<Arc<Control>>, Path(id): Path<String>) -> Response {
    let known = control.units.run_now(&id).await;
    control.told(&id, known).await
}

pub(super) async fn recheck(State(control): State<Arc<Control>>, Path(id): Path<String>) -> Response {
    let known = control.units.recheck(&id).await;
    control.told(&id, known).await
}

impl Control {
    async fn told(&self, id: &str, known: bool) -> Response {
        if known {
            return Json(Told { unit: id.to_owned() }).into_response();
        }
        let views = self.units.snapshot().await;
        if views.is_empty() {
            return No::closing().into_response();
        }
        if let Some(off) = views.iter().find(|view| view.id == id && view.state == UnitState::Off) {
            let why = off.why.as_deref().unwrap_or_default();
            return No::NotFound(format!("`{id}` is off and has no worker: {why}")).into_response();
        }
        let known: Vec<&str> = views.iter().map(|view| view.id.as_str()).collect();
        No::NotFound(format!("no unit is called `{id}`; there are: {}", known.join(", "))).into_response()
    }
}
