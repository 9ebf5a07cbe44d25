//! QuestDB: over HTTP, which answers, or over TCP, which does not.
//!
//! A refused request names one line by its number and commits nothing. Names of tables and columns are narrower than elsewhere, a backslash
//! always escapes, and there are no unsigned integers: see the flavour.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;

use crate::config::SinkSettings;
use crate::config::sinks::{QuestdbSink, SocketAddress};

use super::batch::Batch;
use super::error::BuildError;
use super::fields::measurement_of;
use super::flavour::LeftOut;
use super::flavour::{Flavour, Names, Strings, Unsigned};
use super::http::HttpAnswer;
use super::limits::DeliveryLimits;
use super::lines::{Endpoint, LinesUrl};
use super::sink::Sink;
use super::stream::SinkStream;
use super::verdict::Verdict;

/// `line.tcp.msg.buffer.size`: QuestDB closes the connection at a longer line.
const TCP_MAX_LINE: usize = 32 * 1024;
const FLAVOUR: Flavour =
    Flavour { strings: Strings::Questdb, unsigned: Unsigned::Signed, names: Names::Questdb, max_line: None };

pub(super) fn new(settings: &SinkSettings, kind: &QuestdbSink) -> Result<Box<dyn Sink>, BuildError> {
    Ok(match kind {
        QuestdbSink::Http(http) => {
            let endpoint = Endpoint { path: "write", query: &[("precision", "n")], flavour: FLAVOUR, judge };
            Box::new(LinesUrl::new(settings, http, &endpoint)?)
        }
        QuestdbSink::Tcp { address } => Box::new(Tcp {
            stream: SinkStream::new(SocketAddress::Tcp(address.clone())),
            timeout: settings.timeout,
            limits: DeliveryLimits::of(settings, false),
            left_out: LeftOut::new(),
        }),
    })
}

/// The TCP transport: what was written counts as kept.
struct Tcp {
    stream: SinkStream,
    timeout: Duration,
    limits: DeliveryLimits,
    left_out: LeftOut,
}

impl Tcp {
    async fn deliver(&mut self, batch: &Batch) -> Verdict {
        let mut adapted = Flavour { max_line: Some(TCP_MAX_LINE), ..FLAVOUR }.adapt(batch);
        self.left_out = std::mem::take(&mut adapted.left_out);
        let Some(sent) = adapted.sent.clone() else { return adapted.verdict(Verdict::Nothing) };
        match self.stream.send(&sent.text(), self.timeout).await {
            Ok(()) => adapted.verdict(Verdict::Kept),
            Err(why) => Verdict::TryAgain { after: None, why },
        }
    }
}

impl Sink for Tcp {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Verdict> {
        self.deliver(batch).boxed()
    }

    fn limits(&self) -> DeliveryLimits {
        self.limits
    }

    fn left_out(&self) -> LeftOut {
        self.left_out.clone()
    }
}

/// The part of an answer that names the line.
#[derive(Deserialize)]
struct QuestError {
    #[serde(default)]
    message: String,
    line: Option<usize>,
}

/// Judges an answer.
fn judge(answer: &HttpAnswer, batch: &Batch) -> Verdict {
    match answer.status {
        400 => named(answer, batch).unwrap_or_else(|| answer.verdict()),
        401 | 403 => {
            Verdict::Misconfigured { why: format!("{}; check `username` and `password`, or `token`", answer.words()) }
        }
        404 => Verdict::Misconfigured {
            why: format!("{}; check `url`: older versions take lines over TCP only", answer.words()),
        },
        _ => answer.verdict(),
    }
}

/// The line that the answer names; its table must be the one that the answer names too, lest a good point is buried.
fn named(answer: &HttpAnswer, batch: &Batch) -> Option<Verdict> {
    let fault: QuestError = serde_json::from_str(&answer.body).ok()?;
    let n = fault.line?.checked_sub(1).filter(|&n| n < batch.len())?;
    let table = fault.message.split_once("table: ").and_then(|(_, rest)| rest.split([';', ',']).next());
    let measurement = String::from_utf8_lossy(&measurement_of(batch.line(n))).to_lowercase();
    let is_it = table.is_none_or(|table| table.trim().to_lowercase() == measurement);
    is_it.then(|| Verdict::RefusedPart(vec![(n, answer.words())]))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::buffer::Position;
    use crate::point::Category;

    fn judged(status: u16, body: &str) -> Verdict {
        let text = "cpu v=1 1\ndisk s=\"two\\\nlines\" 2\nCpu v=\"x\" 3\n";
        let batch = Batch::new(Category::Metric, Position::default(), "in/s", Bytes::from_static(text.as_bytes()));
        judge(&HttpAnswer { status, body: body.to_owned(), ..HttpAnswer::default() }, &batch)
    }

    fn fault(line: usize, about: &str) -> String {
        let message =
            format!("failed to parse line protocol:errors encountered on line(s):\nerror in line {line}: {about}");
        serde_json::json!({ "code": "invalid", "message": message, "line": line, "errorId": "7-1" }).to_string()
    }

    #[test]
    fn a_refusal_names_its_line() {
        for about in ["table: CPU, column: v; cast error from protocol type: STRING to column type: DOUBLE", "odd"] {
            let Verdict::RefusedPart(lines) = judged(400, &fault(3, about)) else { panic!("{about}") };
            assert_eq!(lines.len(), 1);
            assert_eq!(lines[0].0, 2);
            assert!(lines[0].1.contains(about), "{lines:?}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_meant_is_searched_for() {
        for body in [fault(2, "table: cpu, column: v; no"), fault(0, "x"), fault(4, "x"), "bad".to_owned()] {
            assert!(matches!(judged(400, &body), Verdict::Refused { .. }), "{body}");
        }
    }

    #[test]
    fn answers_of_questdb() {
        assert_eq!(judged(204, ""), Verdict::Kept);
        for status in [401, 403, 404] {
            let body = r#"{"code":"unauthorised","message":"no"}"#;
            assert!(matches!(judged(status, body), Verdict::Misconfigured { .. }), "{status}");
        }
        assert!(matches!(judged(413, "request too large"), Verdict::TooLarge { .. }));
        for status in [500, 503, 504, 507, 509, 523, 524, 529, 599] {
            assert!(matches!(judged(status, &fault(1, "errno: 28")), Verdict::TryAgain { .. }), "{status}");
        }
    }
}
