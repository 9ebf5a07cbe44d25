//! `POST /v1/lasterror`: what a script says went wrong, for `status` and the page.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::body;
use super::endpoint::WriteEndpoint;
use super::reply::No;

const TEXT_BYTES: usize = 4096;
const BODY_BYTES: u64 = 64 * 1024;

#[derive(Deserialize)]
struct RaisedError {
    #[serde(default)]
    input: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    err_content: String,
}

pub(super) async fn lasterror(State(ingest): State<Arc<WriteEndpoint>>, body: Body) -> Response {
    match take(&ingest, body).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(no) => no.into_response(),
    }
}

async fn take(ingest: &WriteEndpoint, body: Body) -> Result<(), No> {
    let text = body::read(body, BODY_BYTES, ingest.settings().timeout).await?;
    let said: RaisedError = serde_json::from_slice(&text).map_err(|error| {
        No::bad("datakit.invalidJSON", format!("{error}; it must be {{\"input\": …, \"err_content\": …}}"))
    })?;
    for (key, value) in [("input", &said.input), ("err_content", &said.err_content)] {
        if value.is_empty() {
            return Err(No::bad(
                "datakit.invalidData",
                format!("`{key}` is missing or empty; `input` and `err_content` are required"),
            ));
        }
    }
    let mut content = said.err_content;
    let end = (0..=TEXT_BYTES.min(content.len())).rev().find(|at| content.is_char_boundary(*at)).unwrap_or(0);
    content.truncate(end);
    if let Some(logs) = &ingest.logs {
        logs.framework(&said.input, &format!("lasterror: {content}"));
    }
    ingest.last_errors.add(said.input, said.source, content);
    Ok(())
}
