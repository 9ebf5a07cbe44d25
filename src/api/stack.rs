//! `GET /api/v1/units/{id}/stack`: the Python stacks of all threads of a live worker.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::state::Api;
use super::views::Stack;
use crate::ingest::reply::No;

pub(super) async fn stack(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Response {
    match api.units.stack(&id).await {
        Some(live) => {
            let stack = Stack { id, pid: live.pid, stack: live.text, why: live.why };
            ([(header::CACHE_CONTROL, "no-store")], Json(stack)).into_response()
        }
        None => No::NotFound(format!("no unit is called `{id}`")).into_response(),
    }
}
