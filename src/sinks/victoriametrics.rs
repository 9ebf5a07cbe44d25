//! VictoriaMetrics over its InfluxDB endpoint `/write`: numbers and booleans only.
//!
//! It stores a string as 0, so string fields are left out and counted. It reads two backslashes in a name as one. Versions before 1.105 answer 204 to everything and skip what they
//! cannot read; later ones refuse the whole body for one bad line and quote everything from that line to the end of the body.

use crate::config::SinkSettings;
use crate::config::sinks::VictoriametricsSink;

use super::batch::Batch;
use super::error::BuildError;
use super::flavour::{AS_IT_IS, Flavour, Names, Strings};
use super::http::HttpAnswer;
use super::lines::{Endpoint, LinesUrl};
use super::verdict::Verdict;

/// `-influx.maxLineSize`; a longer line ends the request in versions before 1.105.
const MAX_LINE: usize = 256 * 1024;
const FLAVOUR: Flavour =
    Flavour { strings: Strings::Drop, names: Names::Doubled, max_line: Some(MAX_LINE), ..AS_IT_IS };

pub(super) fn new(settings: &SinkSettings, kind: &VictoriametricsSink) -> Result<LinesUrl, BuildError> {
    let labels: Vec<String> = kind.extra_labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut query = vec![("precision", "ns")];
    query.extend(labels.iter().map(|label| ("extra_label", label.as_str())));
    LinesUrl::new(settings, &kind.http, &Endpoint { path: "write", query: &query, flavour: FLAVOUR, judge })
}

/// Judges an answer.
fn judge(answer: &HttpAnswer, batch: &Batch) -> Verdict {
    match answer.status {
        400 => bad_request(answer, batch),
        401 | 403 => {
            Verdict::Misconfigured { why: format!("{}; check `username` and `password`, or `token`", answer.words()) }
        }
        404 => Verdict::Misconfigured { why: format!("{}; check `url`", answer.words()) },
        _ => answer.verdict(),
    }
}

fn bad_request(answer: &HttpAnswer, batch: &Batch) -> Verdict {
    // The body is larger than `-influx.maxRequestSize`.
    if ["too big", "too large", "maxRequestSize"].iter().any(|text| answer.body.contains(text)) {
        return Verdict::TooLarge { why: answer.words() };
    }
    match quoted(&answer.body) {
        Some(quoted) => match quoted.lines_of(batch) {
            lines if lines.is_empty() => Verdict::Refused { why: answer.words() },
            lines => {
                let why = answer.words_with(&quoted.reason.unwrap_or_else(|| "incorrect influx line".to_owned()));
                Verdict::RefusedPart(lines.into_iter().map(|n| (n, why.clone())).collect())
            }
        },
        None => Verdict::Refused { why: answer.words() },
    }
}

/// The line that an answer complains of.
#[derive(Debug, PartialEq)]
struct Quoted {
    line: Vec<u8>,
    /// False: the answer was cut off within the line.
    is_whole: bool,
    /// What follows the quote, if that was read.
    reason: Option<String>,
}

impl Quoted {
    /// Lines with the same text are equally bad.
    fn lines_of(&self, batch: &Batch) -> Vec<usize> {
        let is_it = |line: &[u8]| if self.is_whole { line == self.line } else { line.starts_with(&self.line) };
        let found: Vec<usize> = batch.lines().enumerate().filter(|(_, line)| is_it(line)).map(|(n, _)| n).collect();
        if self.is_whole || found.len() == 1 { found } else { Vec::new() }
    }
}

/// Reads `incorrect influx line "<the rest of the body>": <reason>`, quoted as Go quotes, perhaps cut off.
fn quoted(body: &str) -> Option<Quoted> {
    const START: &str = "influx line \"";
    let rest = &body[body.find(START)? + START.len()..];
    let mut line = Vec::new();
    let mut is_whole = false;
    let mut chars = rest.char_indices();
    let mut end = None;
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                end = Some(at + 1);
                break;
            }
            '\\' => {
                let Some(byte) = escaped(&mut chars) else { break };
                is_whole |= byte == b"\n";
                if !is_whole {
                    line.extend_from_slice(&byte);
                }
            }
            _ if is_whole => {}
            c => line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    let reason = end.and_then(|end| rest[end..].strip_prefix(": ")).map(|reason| reason.trim().to_owned());
    Some(Quoted { line, is_whole: is_whole || end.is_some(), reason })
}

/// What stands behind a backslash of a Go string; `None` when it was cut off.
fn escaped(chars: &mut std::str::CharIndices<'_>) -> Option<Vec<u8>> {
    let character = |code: u32| Some(char::from_u32(code)?.to_string().into_bytes());
    let (_, kind) = chars.next()?;
    let mut digits = |count: usize| {
        let text: String = chars.by_ref().take(count).map(|(_, c)| c).collect();
        (text.len() == count).then(|| u32::from_str_radix(&text, 16).ok()).flatten()
    };
    match kind {
        'a' => Some(vec![7]),
        'b' => Some(vec![8]),
        'f' => Some(vec![12]),
        'n' => Some(vec![b'\n']),
        'r' => Some(vec![b'\r']),
        't' => Some(vec![b'\t']),
        'v' => Some(vec![11]),
        'x' => Some(vec![u8::try_from(digits(2)?).ok()?]),
        'u' => character(digits(4)?),
        'U' => character(digits(8)?),
        other => Some(other.to_string().into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::buffer::Position;
    use crate::point::Category;

    const LINES: [&str; 4] = ["m,a=1 v=1 1", r#"m,a=é\ \"x v=2 2"#, "m,a=\u{1}\u{7f}\u{200b} v=3 3", "m,a=1 v=4 4"];

    fn judged(status: u16, body: &str) -> Verdict {
        let text: String = LINES.iter().map(|line| format!("{line}\n")).collect();
        let batch = Batch::new(Category::Metric, Position::default(), "in/s", Bytes::from(text));
        judge(&HttpAnswer { status, body: body.to_owned(), ..HttpAnswer::default() }, &batch)
    }

    fn blamed(body: &str) -> Vec<(usize, String)> {
        match judged(400, body) {
            Verdict::RefusedPart(lines) => lines,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn answers_of_victoriametrics() {
        assert_eq!(judged(204, ""), Verdict::Kept);
        assert!(matches!(judged(400, "cannot read gzip"), Verdict::Refused { .. }));
        assert!(matches!(judged(400, "too big packed request: maxRequestSize"), Verdict::TooLarge { .. }));
        assert!(matches!(judged(413, ""), Verdict::TooLarge { .. }));
        assert!(matches!(judged(401, ""), Verdict::Misconfigured { .. }));
        assert!(matches!(judged(403, ""), Verdict::Misconfigured { .. }));
        assert!(matches!(judged(404, ""), Verdict::Misconfigured { .. }));
        assert!(matches!(judged(503, "couldn't start executing the request in 60 seconds"), Verdict::TryAgain { .. }));
    }

    #[test]
    fn the_bad_line_is_the_beginning_of_what_is_quoted() {
        let start = "remoteAddr: 1.2.3.4; cannot process influx line protocol data: incorrect influx line ";
        let body = format!(r#"{start}"m,a=é\\ \\\"x v=2 2\nm,a=\x01\u007f\u200b v=3 3\nm,a=1 v=4 4\n": cannot parse"#);
        assert_eq!(blamed(&body), [(1, "HTTP 400 Bad Request: cannot parse".to_owned())]);
        let body = format!(r#"{start}"m,a=\x01\u007f\u200b v=3 3\nm,a=1 v=4 4": no"#);
        assert_eq!(blamed(&body)[0].0, 2);
        let last = format!(r#"{start}"m,a=1 v=4 4": no"#);
        assert_eq!(blamed(&last)[0].0, 3);
    }

    #[test]
    fn an_answer_that_was_cut_off_still_names_the_line() {
        let start = "incorrect influx line ";
        assert_eq!(blamed(&format!(r#"{start}"m,a=1 v=1 1\nm,a="#))[0].0, 0);
        assert_eq!(blamed(&format!(r#"{start}"m,a=\x01\u00"#))[0].0, 2);
        assert!(matches!(judged(400, &format!("{start}\"m,a=1 v=")), Verdict::Refused { .. }));
        assert!(matches!(judged(400, &format!("{start}\"other v=1 1\\n\": no")), Verdict::Refused { .. }));
    }
}
