//! What can be told about units: `POST /api/v1/reload`, `POST /api/v1/units/{id}/restart`, `…/run-now` and `…/recheck`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};

use super::reload::ask;
use super::state::Api;
use super::views::UnitReply;
use crate::ingest::reply::No;
use crate::supervisor::UnitState;

pub(super) async fn reload(State(api): State<Arc<Api>>) -> Response {
    match ask(&api.asks, "pythond reload", None).await {
        Some(outcome) => Json(outcome).into_response(),
        None => No::closing().into_response(),
    }
}

pub(super) async fn restart(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Response {
    let known = api.units.restart(&id).await;
    api.told(&id, known).await
}

pub(super) async fn run_now(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Response {
    let known = api.units.run_now(&id).await;
    api.told(&id, known).await
}

pub(super) async fn recheck(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Response {
    let known = api.units.recheck(&id).await;
    api.told(&id, known).await
}

impl Api {
    async fn told(&self, id: &str, known: bool) -> Response {
        if known {
            return Json(UnitReply { unit: id.to_owned() }).into_response();
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
