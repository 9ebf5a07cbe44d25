//! Telegraf's `inputs.influxdb_listener`, over HTTP.
//!
//! It takes the lines that it can read and answers 400 with the first fault and the number of others. A 204 says that Telegraf has the
//! points in memory, not that its outputs do.

use crate::config::SinkSettings;
use crate::config::sinks::TelegrafSink;

use super::batch::Batch;
use super::error::BuildError;
use super::flavour::AS_IT_IS;
use super::http::HttpAnswer;
use super::lines::{Endpoint, LinesUrl};
use super::verdict::Verdict;

pub(super) fn new(settings: &SinkSettings, kind: &TelegrafSink) -> Result<LinesUrl, BuildError> {
    let mut query = Vec::new();
    query.extend(kind.database.as_deref().map(|name| ("db", name)));
    query.extend(kind.retention_policy.as_deref().map(|name| ("rp", name)));
    query.push(("precision", "ns"));
    LinesUrl::new(settings, &kind.http, &Endpoint { path: "write", query: &query, flavour: AS_IT_IS, judge })
}

/// Judges an answer.
fn judge(answer: &HttpAnswer, batch: &Batch) -> Verdict {
    match answer.status {
        400 => partial(answer, batch).unwrap_or_else(|| answer.verdict()),
        401 | 403 => Verdict::Misconfigured {
            why: format!("{}; check `username` and `password` (`basic_username` there), or `token`", answer.words()),
        },
        404 => Verdict::Misconfigured { why: format!("{}; check `url`", answer.words()) },
        _ => answer.verdict(),
    }
}

/// The line of the first fault. With others behind it the good points go again: they are the same series, times and values.
fn partial(answer: &HttpAnswer, batch: &Batch) -> Option<Verdict> {
    let message = answer.message()?;
    let n = bad_line(&message, batch)?;
    let lines = vec![(n, answer.words())];
    let is_only_one =
        !message.trim_end().ends_with(" other parse error)") && !message.trim_end().ends_with(" other parse errors)");
    Some(if is_only_one { Verdict::KeptExcept(lines) } else { Verdict::RefusedPart(lines) })
}

/// The line of `metric parse error: <what> at <line>:<column>`, which one of the two parsers ends with `: "<text>"`.
fn bad_line(message: &str, batch: &Batch) -> Option<usize> {
    let (_, fault) = message.split_once("metric parse error: ")?;
    let place = fault.match_indices(" at ").filter_map(|(at, word)| place(&fault[at + word.len()..])).next()?;
    let text = batch.text();
    // Telegraf counts newlines, those in strings too.
    let start = nth_line(&text, place.checked_sub(1)?)?;
    let mut end = 0;
    (0..batch.len()).find(|&n| {
        end += batch.line(n).len() + 1;
        start < end
    })
}

/// The number before the colon of `<line>:<column>`.
fn place(text: &str) -> Option<usize> {
    let (line, rest) = text.split_once(':')?;
    rest.starts_with(|c: char| c.is_ascii_digit()).then(|| line.parse().ok())?
}

/// Where the line of this number, from 0, begins.
fn nth_line(text: &[u8], n: usize) -> Option<usize> {
    let starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', text).map(|at| at + 1));
    starts.take_while(|&start| start < text.len()).nth(n)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::buffer::Position;
    use crate::point::Category;

    fn judged(status: u16, body: &str) -> Verdict {
        let text = "foo v=1 1\nfoo s=\"two\nlines\" 2\nfoo v=2asdf 3\nfoo v=4 4\n";
        let batch = Batch::new(Category::Metric, Position::default(), "in/s", Bytes::from_static(text.as_bytes()));
        judge(&HttpAnswer { status, body: body.to_owned(), ..HttpAnswer::default() }, &batch)
    }

    fn error(message: &str) -> Verdict {
        judged(400, &serde_json::json!({ "error": message }).to_string())
    }

    #[test]
    fn one_fault_costs_one_point() {
        let messages = [
            r#"metric parse error: expected field at 4:9: "foo v=2asdf 3""#,
            r#"metric parse error: cannot parse value for field key "v": invalid float value syntax at 4:9"#,
        ];
        for message in messages {
            let Verdict::KeptExcept(lines) = error(message) else { panic!("{message}") };
            assert_eq!((lines.len(), lines[0].0), (1, 2), "{message}");
        }
        let Verdict::KeptExcept(lines) = error("metric parse error: no at 3:1") else { panic!() };
        assert_eq!(lines[0].0, 1);
    }

    #[test]
    fn of_several_faults_the_first_is_known_and_the_rest_goes_again() {
        for others in ["(and 1 other parse error)", "(and 7 other parse errors)"] {
            let verdict = error(&format!(r#"metric parse error: expected field at 4:9: "foo v=2asdf 3" {others}"#));
            let Verdict::RefusedPart(lines) = verdict else { panic!("{verdict:?}") };
            assert_eq!((lines.len(), lines[0].0), (1, 2));
        }
    }

    #[test]
    fn answers_of_telegraf() {
        assert_eq!(judged(204, ""), Verdict::Kept);
        for message in [
            "http: bad request",
            "metric parse error: x",
            "metric parse error: x at 99:1",
            "metric parse error: x at 0:1",
        ] {
            assert!(matches!(error(message), Verdict::Refused { .. }), "{message}");
        }
        for status in [401, 403, 404] {
            assert!(matches!(judged(status, ""), Verdict::Misconfigured { .. }), "{status}");
        }
        assert!(matches!(judged(413, r#"{"error":"http: request body too large"}"#), Verdict::TooLarge { .. }));
        assert!(matches!(judged(503, ""), Verdict::TryAgain { .. }));
    }
}
