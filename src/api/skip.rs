//! `POST /api/v1/sinks/{name}/skip`: gives up what waits for a sink, on a person's word.

use std::io::ErrorKind;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};

use super::state::Api;
use super::views::Skipped;
use crate::ingest::reply::No;

pub(super) async fn skip(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Response {
    let disk = api.disk.clone();
    match disk.take(move || api.skip(&name)).await {
        Ok(skipped) => Json(skipped).into_response(),
        Err(no) => no.into_response(),
    }
}

impl Api {
    fn skip(&self, name: &str) -> Result<Skipped, No> {
        let failed =
            |error: std::io::Error| No::bad("pythond.notSkipped", format!("`{name}` could not be skipped: {error}"));
        match self.log.skip_to_end(name) {
            Ok(points) => {
                tracing::warn!(target: "sink", sink = name, points, "asked to skip: the sink does not get the points that waited for it");
                Ok(Skipped { sink: name.to_owned(), points, forgotten: false })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if !self.log.stats().removed.iter().any(|removed| removed.name == name) {
                    let known: Vec<String> =
                        self.shown.now().sinks.iter().map(|shown| shown.health.report().name).collect();
                    return Err(No::NotFound(format!("no sink is called `{name}`; there are: {}", known.join(", "))));
                }
                self.log.forget(name).map_err(failed)?;
                tracing::warn!(target: "sink", sink = name, "asked to skip: the place of this removed sink is forgotten");
                Ok(Skipped { sink: name.to_owned(), points: 0, forgotten: true })
            }
            Err(error) => Err(failed(error)),
        }
    }
}
