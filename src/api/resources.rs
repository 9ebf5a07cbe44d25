//! `GET /api/v1/units/{id}/resources`: what a unit runs against, as its worker tells it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::state::Api;
use super::views::Resources;
use crate::ingest::reply::No;

pub(super) async fn resources(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Response {
    match api.units.resources(&id).await {
        Some(table) => {
            let resources = Resources { id, columns: table.columns, rows: table.rows, why: table.why };
            ([(header::CACHE_CONTROL, "no-store")], Json(resources)).into_response()
        }
        None => No::NotFound(format!("no unit is called `{id}`")).into_response(),
    }
}
