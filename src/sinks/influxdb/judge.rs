//! What an InfluxDB answer means for a batch: pure, one test per row of what the servers were seen to answer.
//!
//! Versions differ in what a refusal costs. 1.x writes the good points of a request and says `partial write` with 400; 2.x writes nothing
//! on a syntax error (400) and the good points on a type conflict (422); 3 writes the good points and lists all others. Only that list says
//! anything about the points that it does not name. The others are sent again without the named ones; where nothing is named the batch is
//! refused whole and the poison searched for. Either way good points may be repeated, which is harmless: same series, same time, same value.

use std::collections::HashMap;

use serde::Deserialize;

use super::super::batch::Batch;
use super::super::fields::FieldsLine;
use super::super::http::HttpAnswer;
use super::super::verdict::Verdict;

/// Which API the far end has: their answers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InfluxApi {
    V1,
    V2,
    V3,
}

/// Judges an answer.
pub(super) fn judge(api: InfluxApi, answer: &HttpAnswer, batch: &Batch) -> Verdict {
    let message = answer.message().unwrap_or_default();
    match answer.status {
        400 if api == InfluxApi::V3 => listed(answer, batch).unwrap_or_else(|| bad_request(answer, &message, batch)),
        400 => bad_request(answer, &message, batch),
        422 => partial(answer, &message, batch),
        401 | 403 => Verdict::Misconfigured { why: with_hint(answer, login_hint(api)) },
        404 => Verdict::Misconfigured { why: with_hint(answer, &not_found_hint(api, &message)) },
        500 => server_error(answer, &message, batch),
        _ => answer.verdict(),
    }
}

fn bad_request(answer: &HttpAnswer, message: &str, batch: &Batch) -> Verdict {
    // A quoted line may hold any words.
    if message.contains("partial write") || message.contains("unable to parse") {
        return partial(answer, message, batch);
    }
    let is_about_the_request = ["invalid precision", "invalid consistency level", "database is required"];
    if is_about_the_request.iter().any(|text| message.contains(text)) {
        return Verdict::Misconfigured { why: answer.words() };
    }
    // The body was cut short on its way; nothing is written.
    if message == "unexpected EOF" {
        return Verdict::TryAgain { after: answer.retry_after, why: answer.words() };
    }
    Verdict::Refused { why: answer.words() }
}

/// Some points are not written; finds those that are told. Nothing is known about the others: the server tells one thing only, so while it
/// tells a conflict it is silent about lines that it could not parse and about the conflicts of other shards; and a long list may be cut off.
fn partial(answer: &HttpAnswer, message: &str, batch: &Batch) -> Verdict {
    let found =
        conflicting(message, batch).or_else(|| unparsable(message, batch)).or_else(|| all_dropped(message, batch));
    match found {
        Some(lines) => Verdict::RefusedPart(lines.into_iter().map(|(n, why)| (n, answer.words_with(&why))).collect()),
        None => Verdict::Refused { why: answer.words() },
    }
}

fn server_error(answer: &HttpAnswer, message: &str, batch: &Batch) -> Verdict {
    let text = if message.is_empty() { &answer.body } else { message };
    if text.contains("retention policy not found") {
        let hint = "create it with CREATE RETENTION POLICY, or correct `retention_policy`";
        return Verdict::Misconfigured { why: with_hint(answer, hint) };
    }
    // Early 2.x said this with 500 and so blocked whoever tried again.
    if text.contains("field type conflict") || text.contains("unable to parse") {
        return partial(answer, text, batch);
    }
    answer.verdict()
}

/// The lines of a type conflict: all that write the named field with the named type, if they are as many as were dropped.
fn conflicting(message: &str, batch: &Batch) -> Option<Vec<(usize, String)>> {
    let conflict = Conflict::parse(message)?;
    let lines = batch.lines().enumerate().filter(|(_, line)| conflict.is_about(line));
    let lines: Vec<_> = lines.map(|(n, _)| (n, message.to_owned())).collect();
    (!lines.is_empty() && lines.len() as u64 == dropped(message)?).then_some(lines)
}

/// `input field "v" on measurement "m" is type string, already exists as type float`, or `… is invalid`.
struct Conflict<'a> {
    measurement: &'a str,
    field: &'a str,
    kind: Option<&'a str>,
}

impl<'a> Conflict<'a> {
    fn parse(message: &'a str) -> Option<Self> {
        let (_, rest) = message.split_once("input field \"")?;
        let (field, rest) = rest.split_once("\" on measurement \"")?;
        if let Some((measurement, rest)) = rest.split_once("\" is type ") {
            let (kind, _) = rest.split_once(',')?;
            return Some(Self { measurement, field, kind: Some(kind) });
        }
        let (measurement, _) = rest.split_once("\" is invalid")?;
        Some(Self { measurement, field, kind: None })
    }

    fn is_about(&self, line: &[u8]) -> bool {
        let line = FieldsLine::parse(line);
        match self.kind {
            Some(kind) => line.writes(self.measurement, self.field, kind),
            None => line.has(self.measurement, self.field),
        }
    }
}

/// `dropped=2`, in 1.11 and later with more text behind.
fn dropped(message: &str) -> Option<u64> {
    let (_, rest) = message.rsplit_once("dropped=")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

/// Every line, when as many were dropped (`points beyond retention policy`, a series limit).
fn all_dropped(message: &str, batch: &Batch) -> Option<Vec<(usize, String)>> {
    let is_all = dropped(message)? == batch.len() as u64;
    is_all.then(|| (0..batch.len()).map(|n| (n, message.to_owned())).collect())
}

/// The lines that `unable to parse '<line>': <reason>` quotes; `None` where a quoted line is not found.
fn unparsable(message: &str, batch: &Batch) -> Option<Vec<(usize, String)>> {
    const START: &str = "unable to parse '";
    const END: &str = "': ";
    let numbers = by_text(batch);
    let mut found = Vec::new();
    for quoted in message.split(START).skip(1) {
        // A line may hold `': ` itself: the first cut that gives a line of ours counts.
        let cuts = quoted.match_indices(END).map(|(at, _)| at);
        let (at, lines) = cuts.filter_map(|at| Some((at, numbers.get(&quoted.as_bytes()[..at])?))).next()?;
        let reason = quoted[at + END.len()..].trim_end();
        let reason = reason.split(" dropped=").next().unwrap_or(reason);
        found.extend(lines.iter().map(|&n| (n, format!("unable to parse: {reason}"))));
    }
    found.sort_by_key(|(n, _)| *n);
    found.dedup_by_key(|(n, _)| *n);
    (!found.is_empty()).then_some(found)
}

fn by_text(batch: &Batch) -> HashMap<&[u8], Vec<usize>> {
    let mut numbers: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (n, line) in batch.lines().enumerate() {
        numbers.entry(line).or_default().push(n);
    }
    numbers
}

/// InfluxDB 3's list of refused lines.
#[derive(Deserialize)]
struct List {
    data: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    original_line: String,
    #[serde(default)]
    line_number: usize,
    #[serde(default)]
    error_message: String,
}

/// The lines of InfluxDB 3's list: by text, else by number when that line begins as the list says. `None` where one is not found.
fn listed(answer: &HttpAnswer, batch: &Batch) -> Option<Verdict> {
    let list: List = serde_json::from_str(&answer.body).ok()?;
    let numbers = by_text(batch);
    let mut found = Vec::new();
    for one in &list.data {
        let why = answer.words_with(&one.error_message);
        let original = one.original_line.trim_end_matches('\n').as_bytes();
        match numbers.get(original) {
            Some(lines) => found.extend(lines.iter().map(|&n| (n, why.clone()))),
            None => found.push((numbered(one, original, batch)?, why)),
        }
    }
    found.sort_by_key(|(n, _)| *n);
    found.dedup_by_key(|(n, _)| *n);
    (!found.is_empty()).then_some(Verdict::KeptExcept(found))
}

fn numbered(one: &Listed, original: &[u8], batch: &Batch) -> Option<usize> {
    let n = one.line_number.checked_sub(1).filter(|&n| n < batch.len())?;
    (!original.is_empty() && batch.line(n).starts_with(original)).then_some(n)
}

fn with_hint(answer: &HttpAnswer, hint: &str) -> String {
    if hint.is_empty() { answer.words() } else { format!("{}; {hint}", answer.words()) }
}

fn login_hint(api: InfluxApi) -> &'static str {
    match api {
        InfluxApi::V1 => "check `username` and `password`, and that the user may write",
        InfluxApi::V2 | InfluxApi::V3 => "check `token`, and that it may write",
    }
}

fn not_found_hint(api: InfluxApi, message: &str) -> String {
    match (api, message.strip_prefix("database not found: ")) {
        (InfluxApi::V1, Some(name)) => format!("create it with CREATE DATABASE {name}, or correct `database`"),
        (InfluxApi::V1 | InfluxApi::V3, _) => "check `url` and `database`".to_owned(),
        (InfluxApi::V2, _) => "check `url`, `org` and `bucket`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::buffer::Position;
    use crate::point::Category;

    const LINES: &[&str] = &["m,a=1 v=1.5 1", "m,a=2 v=\"x\" 2", "m,a=3 v=2.5 3"];

    fn batch(lines: &[&str]) -> Batch {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        Batch::new(Category::Metric, Position::default(), "in/s", Bytes::from(text))
    }

    fn answer(status: u16, body: &str) -> HttpAnswer {
        HttpAnswer { status, body: body.to_owned(), ..HttpAnswer::default() }
    }

    fn error(status: u16, message: &str) -> HttpAnswer {
        answer(status, &serde_json::json!({ "error": message }).to_string())
    }

    /// The verdict in one word, with the numbers of the excepted lines.
    fn word(verdict: &Verdict) -> String {
        match verdict {
            Verdict::Kept => "kept".to_owned(),
            Verdict::KeptExcept(lines) => format!("except {:?}", lines.iter().map(|(n, _)| *n).collect::<Vec<_>>()),
            Verdict::RefusedPart(lines) => format!("part {:?}", lines.iter().map(|(n, _)| *n).collect::<Vec<_>>()),
            Verdict::TryAgain { .. } => "again".to_owned(),
            Verdict::Misconfigured { .. } => "misconfigured".to_owned(),
            Verdict::Refused { .. } => "refused".to_owned(),
            Verdict::Nothing => "nothing".to_owned(),
            Verdict::TooLarge { .. } => "too large".to_owned(),
        }
    }

    #[track_caller]
    fn check(api: InfluxApi, answer: &HttpAnswer, lines: &[&str], expected: &str) {
        let verdict = judge(api, answer, &batch(lines));
        assert_eq!(word(&verdict), expected, "{api:?} {answer:?} gave {verdict:?}");
    }

    const CONFLICT: &str = "partial write: field type conflict: input field \"v\" on measurement \"m\" is type string, already exists as type float";

    #[test]
    fn rows_of_influxdb_1() {
        let conflict = |dropped: u32| error(400, &format!("{CONFLICT} dropped={dropped}"));
        let unparsable = |line: &str| format!("unable to parse '{line}': missing field value");
        let with_control_byte = "m,a=\u{1b}[0m v= 4";
        let rows: &[(HttpAnswer, &[&str], &str)] = &[
            (answer(204, ""), LINES, "kept"),
            // A type conflict: as many lines match as were dropped, or they have to be searched for.
            (conflict(1), LINES, "part [1]"),
            (conflict(2), LINES, "refused"),
            (conflict(2), &["m v=\"a\" 1", "m v=1.0 2", "m v=\"b\" 3"], "part [0, 2]"),
            (conflict(1), &["other v=\"a\" 1", "m v=\"b\" 3", "m w=\"c\" 3"], "part [1]"),
            // 1.11 and later say where.
            (
                error(400, &format!("{CONFLICT} dropped=1 for database: d for retention policy: autogen")),
                LINES,
                "part [1]",
            ),
            // Lines that cannot be parsed, between good ones, all of them, and quoted wrongly.
            (error(400, &format!("partial write: {} dropped=0", unparsable(LINES[2]))), LINES, "part [2]"),
            (
                error(400, &format!("partial write: {}\n{} dropped=0", unparsable(LINES[0]), unparsable(LINES[2]))),
                LINES,
                "part [0, 2]",
            ),
            (error(400, &format!("partial write: {} dropped=0", unparsable("something else"))), LINES, "refused"),
            (
                error(400, &format!("partial write: {} dropped=0", unparsable(with_control_byte))),
                &[LINES[0], with_control_byte],
                "part [1]",
            ),
            (
                error(400, &format!("partial write: {} dropped=0", unparsable("a v=\"': \" 1"))),
                &[LINES[0], "a v=\"': \" 1"],
                "part [1]",
            ),
            (
                error(400, &format!("partial write: {} dropped=0", unparsable("a v=\"\n\" 1"))),
                &[LINES[0], "a v=\"\n\" 1"],
                "part [1]",
            ),
            (error(400, &unparsable(LINES[0])), &LINES[..1], "part [0]"),
            (
                error(400, &format!("{}\n{}\n{}", unparsable(LINES[0]), unparsable(LINES[1]), unparsable(LINES[2]))),
                LINES,
                "part [0, 1, 2]",
            ),
            // Without `partial write` nothing is written.
            (error(400, &unparsable(LINES[1])), LINES, "part [1]"),
            // The answer was cut off at 64 KiB inside the quoted line.
            (answer(400, "{\"error\":\"partial write: unable to parse 'm,a=1 v=1."), LINES, "refused"),
            (error(400, "partial write: points beyond retention policy dropped=3"), LINES, "part [0, 1, 2]"),
            (error(400, "partial write: points beyond retention policy dropped=2"), LINES, "refused"),
            (
                error(400, "partial write: max-series-per-database limit exceeded: (1000000) dropped=3"),
                LINES,
                "part [0, 1, 2]",
            ),
            (
                error(
                    400,
                    "partial write: invalid field name: input field \"time\" on measurement \"m8\" is invalid dropped=1",
                ),
                &["m8 time=1 1", LINES[0]],
                "part [0]",
            ),
            (error(400, "unexpected EOF"), LINES, "again"),
            (error(400, "invalid precision \"x\" (use n, u, ms, s, m or h)"), LINES, "misconfigured"),
            (error(400, "invalid consistency level"), LINES, "misconfigured"),
            (error(400, "database is required"), LINES, "misconfigured"),
            (answer(400, "not of influxdb"), LINES, "refused"),
            (error(401, "authorization failed"), LINES, "misconfigured"),
            (error(401, "unable to parse authentication credentials"), LINES, "misconfigured"),
            (error(403, "\"ro\" user is not authorized to write to database \"t\""), LINES, "misconfigured"),
            (error(404, "database not found: \"x\""), LINES, "misconfigured"),
            (answer(404, "404 page not found"), LINES, "misconfigured"),
            (error(405, ""), LINES, "misconfigured"),
            (answer(302, ""), LINES, "misconfigured"),
            (error(413, "Request Entity Too Large"), LINES, "too large"),
            (error(500, "retention policy not found: x"), LINES, "misconfigured"),
            (error(500, "timeout"), LINES, "again"),
            (error(500, "engine: error writing WAL entry: write /x: no space left on device"), LINES, "again"),
            (answer(503, "request throttled, queue full"), LINES, "again"),
            (answer(429, ""), LINES, "again"),
        ];
        for (answer, lines, expected) in rows {
            check(InfluxApi::V1, answer, lines, expected);
        }
    }

    #[test]
    fn rows_of_influxdb_2() {
        let says = |status: u16, message: &str| {
            answer(status, &serde_json::json!({"code": "invalid", "message": message}).to_string())
        };
        let partial = "failure writing points to database: partial write: field type conflict: input field \"v\" on measurement \"m\" is type string, already exists as type float dropped=1";
        let rows: &[(HttpAnswer, &[&str], &str)] = &[
            (answer(204, ""), LINES, "kept"),
            // A syntax error: nothing is written.
            (says(400, "unable to parse 'm,a=2 v=\"x\" 2': bad"), LINES, "part [1]"),
            (says(422, partial), LINES, "part [1]"),
            (
                says(
                    422,
                    "failure writing points to database: partial write: points beyond retention policy dropped=3",
                ),
                LINES,
                "part [0, 1, 2]",
            ),
            (says(422, "points beyond retention policy: oldest 1, newest 2"), LINES, "refused"),
            (says(401, "unauthorized access"), LINES, "misconfigured"),
            (says(404, "bucket \"b\" not found"), LINES, "misconfigured"),
            (says(413, "too large"), LINES, "too large"),
            (says(429, "org 1 has exceeded limited_write plan limit"), LINES, "again"),
            (says(503, "unavailable"), LINES, "again"),
            (says(500, "internal error"), LINES, "again"),
            // 2.1 and 2.2.
            (says(500, "unexpected error writing points to database: field type conflict"), LINES, "refused"),
            (says(500, &partial.replace("failure", "unexpected error")), LINES, "part [1]"),
        ];
        for (answer, lines, expected) in rows {
            check(InfluxApi::V2, answer, lines, expected);
        }
    }

    #[test]
    fn rows_of_influxdb_3() {
        let list = |lines: &[(&str, usize)]| {
            let data: Vec<_> = lines
                .iter()
                .map(|(text, n)| serde_json::json!({"original_line": text, "line_number": n, "error_message": "no"}))
                .collect();
            answer(
                400,
                &serde_json::json!({"error": "partial write of line protocol occurred", "data": data}).to_string(),
            )
        };
        let rows: &[(HttpAnswer, &[&str], &str)] = &[
            (answer(204, ""), LINES, "kept"),
            (list(&[(LINES[1], 2)]), LINES, "except [1]"),
            (list(&[(LINES[2], 9), (LINES[0], 9)]), LINES, "except [0, 2]"),
            (list(&[("m,a=2", 2)]), LINES, "except [1]"),
            (list(&[("m,a=2", 3)]), LINES, "refused"),
            (list(&[("", 2)]), LINES, "refused"),
            (list(&[]), LINES, "refused"),
            (
                answer(
                    400,
                    r#"{"error":"parsing failed for write_lp endpoint","data":{"original_line":"m,a=2","line_number":2}}"#,
                ),
                LINES,
                "refused",
            ),
            (answer(401, ""), LINES, "misconfigured"),
            (answer(403, ""), LINES, "misconfigured"),
            (answer(413, ""), LINES, "too large"),
            (
                answer(
                    422,
                    r#"{"error":"Update to schema would exceed number of columns per table limit of 500 columns"}"#,
                ),
                LINES,
                "refused",
            ),
            (answer(429, ""), LINES, "again"),
            (answer(500, ""), LINES, "again"),
        ];
        for (answer, lines, expected) in rows {
            check(InfluxApi::V3, answer, lines, expected);
        }
    }

    #[test]
    fn reasons_say_what_the_server_said() {
        let Verdict::RefusedPart(lines) =
            judge(InfluxApi::V1, &error(400, &format!("{CONFLICT} dropped=1")), &batch(LINES))
        else {
            panic!()
        };
        assert!(
            lines[0].1.starts_with("HTTP 400 Bad Request: partial write: field type conflict: input field \"v\""),
            "{}",
            lines[0].1
        );
        let parse = "partial write: unable to parse 'm,a=1 v=1.5 1': bad timestamp dropped=0";
        let Verdict::RefusedPart(lines) = judge(InfluxApi::V1, &error(400, parse), &batch(LINES)) else { panic!() };
        assert_eq!(lines[0].1, "HTTP 400 Bad Request: unable to parse: bad timestamp");
    }

    #[test]
    fn a_missing_database_comes_with_its_cure() {
        let verdict = judge(InfluxApi::V1, &error(404, "database not found: \"x\""), &batch(LINES));
        let why = "HTTP 404 Not Found: database not found: \"x\"; create it with CREATE DATABASE \"x\", or correct `database`".to_owned();
        assert_eq!(verdict, Verdict::Misconfigured { why });
    }

    #[test]
    fn a_wish_for_patience_is_passed_on() {
        let busy = HttpAnswer { status: 503, retry_after: Some(Duration::from_secs(9)), ..HttpAnswer::default() };
        let why = "HTTP 503 Service Unavailable".to_owned();
        assert_eq!(
            judge(InfluxApi::V2, &busy, &batch(LINES)),
            Verdict::TryAgain { after: Some(Duration::from_secs(9)), why }
        );
    }

    #[test]
    fn identical_lines_are_excepted_together() {
        let lines = ["m v=1 1", "m v=\"a\" 2", "m v=\"a\" 2"];
        check(InfluxApi::V1, &error(400, &format!("{CONFLICT} dropped=2")), &lines, "part [1, 2]");
        check(
            InfluxApi::V1,
            &error(400, "partial write: unable to parse 'm v=\"a\" 2': x dropped=0"),
            &lines,
            "part [1, 2]",
        );
    }
}
