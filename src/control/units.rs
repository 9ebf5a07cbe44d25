//! What can be told about units: `POST /api/v1/reload`, `POST /api/v1/units/{id}/restart`, `…/run-now` and `…/recheck`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};

use super::reload::ask;
use super::state::Control;
use super::views::Told;
use crate::ingest::reply::No;
use crate::supervisor::UnitState;

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
