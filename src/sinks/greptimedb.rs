//! GreptimeDB over its InfluxDB endpoint: the whole body or nothing, without a name for the line that was bad.

use serde::Deserialize;

use crate::config::SinkSettings;
use crate::config::sinks::GreptimedbSink;

use super::batch::Batch;
use super::error::BuildError;
use super::flavour::AS_IT_IS;
use super::http::HttpAnswer;
use super::lines::{Endpoint, LinesUrl};
use super::verdict::Verdict;

pub(super) fn new(settings: &SinkSettings, kind: &GreptimedbSink) -> Result<LinesUrl, BuildError> {
    let query = [("db", kind.database.as_str()), ("precision", "ns")];
    let endpoint = Endpoint { path: "v1/influxdb/write", query: &query, flavour: AS_IT_IS, judge };
    LinesUrl::new(settings, &kind.http, &endpoint)
}

/// The part of an answer that says what went wrong.
#[derive(Deserialize, Default)]
struct GreptimeError {
    #[serde(default)]
    error: String,
}

/// Judges an answer.
fn judge(answer: &HttpAnswer, _: &Batch) -> Verdict {
    let fault: GreptimeError = serde_json::from_str(&answer.body).unwrap_or_default();
    let text = if fault.error.is_empty() { answer.body.to_lowercase() } else { fault.error.to_lowercase() };
    match answer.status {
        // A region that is moved or repaired takes no writes for a while, and says so with the status of a wrong password.
        400 | 401 if is_about_a_region(&text) => Verdict::TryAgain { after: answer.retry_after, why: answer.words() },
        400 | 404 if text.contains("database not found") || is_unknown_database(&text) => {
            Verdict::Misconfigured { why: format!("{}; create the database, or correct `database`", answer.words()) }
        }
        401 | 403 => Verdict::Misconfigured { why: format!("{}; check `username` and `password`", answer.words()) },
        404 => Verdict::Misconfigured { why: format!("{}; check `url`", answer.words()) },
        _ => answer.verdict(),
    }
}

fn is_about_a_region(text: &str) -> bool {
    text.contains("region")
        && ["readonly", "read only", "read-only", "not ready", "busy"].iter().any(|word| text.contains(word))
}

fn is_unknown_database(text: &str) -> bool {
    text.contains("schema") && text.contains("not found") || text.contains("failed to find schema")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::buffer::Position;
    use crate::point::Category;

    fn judged(status: u16, error: &str) -> String {
        let batch = Batch::new(Category::Metric, Position::default(), "in/s", Bytes::from_static(b"m v=1 1\n"));
        let body = serde_json::json!({ "code": 1004, "error": error, "execution_time_ms": 0 }).to_string();
        match judge(&HttpAnswer { status, body, ..HttpAnswer::default() }, &batch) {
            Verdict::Misconfigured { why } => format!("misconfigured {}", why.rsplit("; ").next().unwrap()),
            other => format!("{other:?}").split(' ').next().unwrap().to_lowercase(),
        }
    }

    #[test]
    fn answers_of_greptimedb() {
        let cases = [
            (204, "", "kept"),
            (400, "Failed to parse InfluxDB line protocol", "refused"),
            (400, "Column v expect type Float64, given String", "refused"),
            (400, "Database not found: greptime.d", "misconfigured create the database, or correct `database`"),
            (400, "Region 4398046511104 is read only", "tryagain"),
            (401, "Region 4398046511104(1024, 0) is readonly", "tryagain"),
            (401, "Username and password does not match", "misconfigured check `username` and `password`"),
            (403, "Access denied", "misconfigured check `username` and `password`"),
            (404, "", "misconfigured check `url`"),
            (413, "length limit exceeded", "toolarge"),
            (429, "Rate limited", "tryagain"),
            (503, "Storage unavailable", "tryagain"),
        ];
        for (status, error, expected) in cases {
            assert_eq!(judged(status, error), expected, "{status} {error}");
        }
    }
}
