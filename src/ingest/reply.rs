//! Every way to say no, with DataKit's `error_code` names.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::repairs;
use crate::buffer::AppendError;
use crate::point::{BodyFault, PointRefusal};

/// An answer names so many refused points and counts the others: what is too long to read is taken for a broken connection.
const NAMED_POINTS: usize = 100;

/// A request that was not taken whole.
#[derive(Debug, thiserror::Error)]
pub enum No {
    #[error("{message}")]
    Bad { error_code: &'static str, message: String },
    /// Some points were refused; the others are kept.
    #[error("{message}")]
    Refused {
        error_code: &'static str,
        message: String,
        accepted: usize,
        refused: Vec<PointRefusal>,
        /// What was changed or left out of the others.
        repaired: Option<HeaderValue>,
    },
    #[error("{0}")]
    TooLarge(String),
    #[error("{0}")]
    TimedOut(String),
    #[error("{message}")]
    Later { error_code: &'static str, message: String, after: Duration },
    /// The sender itself has too much in work.
    #[error("{message}")]
    TooMuch { message: String, after: Duration },
    #[error("{message}")]
    Forbidden { error_code: &'static str, message: String },
    #[error("{0}")]
    NotFound(String),
    #[error("{message}")]
    WrongMethod { message: String, allow: &'static str },
}

#[derive(Serialize)]
struct ReplyBody<'a> {
    error_code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<usize>,
    /// Of all, also of those that `refused` does not name.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused_count: Option<usize>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    refused: &'a [RefusedPoint<'a>],
}

#[derive(Serialize)]
struct RefusedPoint<'a> {
    index: usize,
    field: &'a str,
    reason: &'a str,
}

/// An answer that refuses, as a client reads it.
#[derive(Debug, Deserialize)]
pub struct RefusedAnswer {
    pub message: String,
    #[serde(default)]
    pub refused: Vec<RefusedEntry>,
}

#[derive(Debug, Deserialize)]
pub struct RefusedEntry {
    #[serde(default)]
    pub index: usize,
    pub field: String,
    pub reason: String,
}

impl No {
    pub fn bad(error_code: &'static str, message: impl Into<String>) -> Self {
        Self::Bad { error_code, message: message.into() }
    }

    /// The answer where nothing is served.
    pub fn nothing_at(path: &str) -> Self {
        Self::NotFound(format!(
            "nothing is at {path}; there are POST /v1/write/<category>, POST /v1/lasterror, GET /v1/ping, GET /v1/ntp, GET /metrics, GET /api/v1/status and GET /"
        ))
    }

    /// The answer for a client that comes while the agent stops.
    pub fn closing() -> Self {
        Self::Later {
            error_code: "pythond.stopping",
            message: "the agent is stopping; send it again".to_owned(),
            after: Duration::from_secs(5),
        }
    }

    /// The outcome in one word, for the counter of requests.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Bad { .. } => "bad_request",
            Self::Refused { .. } => "partly_refused",
            Self::TooLarge(_) => "too_large",
            Self::TimedOut(_) => "timed_out",
            Self::Later { .. } => "not_kept",
            Self::TooMuch { .. } => "too_much",
            Self::Forbidden { .. } => "forbidden",
            Self::NotFound(_) => "not_found",
            Self::WrongMethod { .. } => "wrong_method",
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Bad { .. } | Self::Refused { .. } => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TimedOut(_) => StatusCode::REQUEST_TIMEOUT,
            Self::TooMuch { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Later { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::WrongMethod { .. } => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    fn error_code(&self) -> &str {
        match self {
            Self::Bad { error_code, .. }
            | Self::Refused { error_code, .. }
            | Self::Later { error_code, .. }
            | Self::Forbidden { error_code, .. } => error_code,
            Self::TooLarge(_) => "datakit.bodyTooLarge",
            Self::TimedOut(_) => "datakit.timeout",
            Self::TooMuch { .. } => "pythond.tooMuch",
            Self::NotFound(_) => "datakit.notFound",
            Self::WrongMethod { .. } => "datakit.invalidRequest",
        }
    }
}

impl From<BodyFault> for No {
    fn from(fault: BodyFault) -> Self {
        Self::Bad { error_code: fault.error_code, message: fault.message }
    }
}

impl From<AppendError> for No {
    fn from(error: AppendError) -> Self {
        let (error_code, after) = match &error {
            AppendError::TooLarge { .. } => return Self::TooLarge(error.to_string()),
            AppendError::Closed => return Self::closing(),
            AppendError::Full { retry_after, .. } => ("pythond.bufferFull", *retry_after),
            AppendError::Disk(_) => ("pythond.diskError", Duration::from_secs(5)),
            AppendError::Poisoned(_) => ("pythond.bufferPoisoned", Duration::from_secs(30)),
        };
        Self::Later { error_code, message: format!("nothing was kept: {}", error.with_cause()), after }
    }
}

impl No {
    /// The body of the answer, as JSON.
    pub(super) fn text(&self) -> String {
        let (accepted, refused) = match self {
            Self::Refused { accepted, refused, .. } => (Some(*accepted), refused.as_slice()),
            _ => (None, &[][..]),
        };
        let refused_count = accepted.map(|_| refused.len());
        let refused: Vec<RefusedPoint<'_>> = refused
            .iter()
            .take(NAMED_POINTS)
            .map(|r| RefusedPoint { index: r.index, field: &r.field, reason: &r.reason })
            .collect();
        let message = self.to_string();
        let body =
            ReplyBody { error_code: self.error_code(), message: &message, accepted, refused_count, refused: &refused };
        serde_json::to_string(&body).expect("strings and numbers always serialise")
    }

    /// After how many seconds it is worth another try.
    pub(super) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Later { after, .. } | Self::TooMuch { after, .. } => Some(after.as_secs_f64().ceil().max(1.0) as u64),
            _ => None,
        }
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let text = self.text();
        let mut response = (self.status(), [(header::CONTENT_TYPE, "application/json")], text).into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self {
            Self::WrongMethod { allow, .. } => {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            Self::Refused { repaired: Some(repaired), .. } => {
                response.headers_mut().insert(repairs::HEADER, repaired);
            }
            Self::TooLarge(_)
            | Self::TimedOut(_)
            | Self::TooMuch { .. }
            | Self::Later { error_code: "pythond.busy", .. } => {
                // The rest of the body is still on its way; nobody will read it.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}
