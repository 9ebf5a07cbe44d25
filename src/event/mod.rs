//! The rules of a key event: status, source, and what each source requires. Each rule has its own message.
//!
//! DataKit itself checks nothing; the rules are those of its documentation of the Python collectors and of the platform.
//! Every key is looked for in tags and fields: the SDK writes fields, other producers write tags.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use crate::config::Events;
use crate::point::repairs::shown;
use crate::point::{Point, Value};

/// One broken rule: which field, and what is wrong with which value and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    pub field: &'static str,
    pub reason: String,
}

/// Checks a key event and repairs what can be repaired for the user: a numeric string in `df_date_range`, a number in `df_user_id`.
///
/// # Errors
/// Every broken rule.
pub fn check(point: &mut Point, rules: &Events) -> Result<(), Vec<FieldError>> {
    let source = check_source(point, rules);
    let is_from = |name: &str| source.as_ref().is_ok_and(|source| source == name);
    let mut results = vec![
        check_status(point, rules),
        check_date_range(point),
        check_text(point, "df_event_id"),
        check_text(point, "df_title"),
    ];
    if is_from("monitor") {
        results.push(check_dimension_tags(point));
    }
    if is_from("user") {
        results.push(check_user_id(point));
    }
    let faults: Vec<FieldError> = source.err().into_iter().chain(results.into_iter().filter_map(Result::err)).collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

const STATUS: [&str; 6] = ["ok", "info", "warning", "error", "critical", "nodata"];
/// Known to the platform, but not part of what the documentation tells authors to write.
const OTHER_STATUS: [&str; 1] = ["fatal"];
const SOURCE: [&str; 3] = ["system", "monitor", "user"];
const OTHER_SOURCE: [&str; 3] = ["custom", "audit", "change"];

/// What authors write for a status that has another name here.
const ALIASES: [(&str, &str); 14] = [
    ("warn", "warning"),
    ("w", "warning"),
    ("err", "error"),
    ("e", "error"),
    ("failed", "error"),
    ("crit", "critical"),
    ("emergency", "fatal"),
    ("emerg", "fatal"),
    ("information", "info"),
    ("notice", "info"),
    ("no data", "nodata"),
    ("no_data", "nodata"),
    ("success", "ok"),
    ("recovered", "ok"),
];

fn check_status(point: &Point, rules: &Events) -> Result<(), FieldError> {
    one_of(point, "df_status", &STATUS, &OTHER_STATUS, &rules.extra_status).map(drop)
}

fn check_source(point: &Point, rules: &Events) -> Result<String, FieldError> {
    one_of(point, "df_source", &SOURCE, &OTHER_SOURCE, &rules.extra_source)
}

/// A fault names the `told` words and the user's own; the `silent` ones are taken too.
fn one_of(
    point: &Point,
    key: &'static str,
    told: &[&str],
    silent: &[&str],
    extra: &[String],
) -> Result<String, FieldError> {
    let named = || told.iter().copied().chain(extra.iter().map(String::as_str));
    let wanted = || format!("one of {}", named().collect::<Vec<_>>().join(", "));
    let got = text(point, key, &wanted())?;
    if named().chain(silent.iter().copied()).any(|word| word == got) {
        return Ok(got.to_owned());
    }
    let near = near_miss(got, named().chain(silent.iter().copied()));
    let hint = near.map_or(String::new(), |word| format!("; did you mean `{word}`?"));
    Err(FieldError { field: key, reason: format!("`{key}` is `{}`; it must be {}{hint}", shown(got), wanted()) })
}

fn check_text(point: &Point, key: &'static str) -> Result<(), FieldError> {
    text(point, key, "text that is not empty").map(drop)
}

fn check_date_range(point: &mut Point) -> Result<(), FieldError> {
    const KEY: &str = "df_date_range";
    const WANTED: &str = "a whole number of seconds, 0 or more";
    if let Some(text) = point.tag(KEY) {
        return seconds(text).map(drop).ok_or_else(|| is_wrong(KEY, &format!("`{}`", shown(text)), WANTED));
    }
    let repaired = match point.field(KEY) {
        None => return Err(is_missing(KEY, WANTED)),
        Some(Value::Uint(_) | Value::Int(0..)) => return Ok(()),
        Some(Value::Float(number)) if *number >= 0.0 && number.fract() == 0.0 => return Ok(()),
        Some(Value::Str(text)) if text.trim().is_empty() => return Err(is_empty(KEY, WANTED)),
        Some(Value::Str(text)) => seconds(text),
        Some(_) => None,
    };
    let Some(number) = repaired else { return Err(is_wrong(KEY, &got(point.field(KEY)), WANTED)) };
    // A float, as every JSON number is by default: the column must not have two types.
    point.replace_field(KEY, Value::Float(number as f64));
    Ok(())
}

/// Whole seconds in text: `10`, also `10.0`.
fn seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .split_once('.')
        .map_or(text, |(whole, rest)| if rest.bytes().all(|byte| byte == b'0') { whole } else { text });
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

fn check_dimension_tags(point: &Point) -> Result<(), FieldError> {
    const KEY: &str = "df_dimension_tags";
    const WANTED: &str = "a JSON object in text, such as `{\"host\":\"web01\"}`, when `df_source` is `monitor`";
    let json = text(point, KEY, WANTED)?;
    match serde_json::from_str::<BTreeMap<String, IgnoredAny>>(json) {
        Ok(_) => Ok(()),
        Err(_) => Err(is_wrong(KEY, &format!("`{}`", shown(json)), WANTED)),
    }
}

fn check_user_id(point: &mut Point) -> Result<(), FieldError> {
    const KEY: &str = "df_user_id";
    let number = match point.field(KEY) {
        Some(Value::Float(number)) => number.to_string(),
        Some(Value::Int(number)) => number.to_string(),
        Some(Value::Uint(number)) => number.to_string(),
        _ => return text(point, KEY, "text that is not empty when `df_source` is `user`").map(drop),
    };
    point.replace_field(KEY, Value::Str(number.into()));
    Ok(())
}

/// The text of a tag or field; missing, empty and not text are told apart.
fn text<'p>(point: &'p Point, key: &'static str, wanted: &str) -> Result<&'p str, FieldError> {
    let text = match (point.tag(key), point.field(key)) {
        (Some(text), _) => text,
        (None, Some(Value::Str(text))) => text.as_ref(),
        (None, None) => return Err(is_missing(key, wanted)),
        (None, other) => return Err(is_wrong(key, &got(other), wanted)),
    };
    if text.trim().is_empty() { Err(is_empty(key, wanted)) } else { Ok(text) }
}

fn is_missing(field: &'static str, wanted: &str) -> FieldError {
    FieldError { field, reason: format!("`{field}` is missing; it must be {wanted}") }
}

fn is_empty(field: &'static str, wanted: &str) -> FieldError {
    FieldError { field, reason: format!("`{field}` is empty; it must be {wanted}") }
}

fn is_wrong(field: &'static str, got: &str, wanted: &str) -> FieldError {
    FieldError { field, reason: format!("`{field}` is {got}; it must be {wanted}") }
}

fn got(value: Option<&Value>) -> String {
    match value {
        None => "missing".to_owned(),
        Some(Value::Float(number)) => number.to_string(),
        Some(Value::Int(number)) => number.to_string(),
        Some(Value::Uint(number)) => number.to_string(),
        Some(Value::Bool(truth)) => truth.to_string(),
        Some(Value::Str(text)) => format!("`{}`", shown(text)),
    }
}

fn near_miss<'w>(got: &str, words: impl Iterator<Item = &'w str> + Clone) -> Option<&'w str> {
    let got = got.trim().to_lowercase();
    let meant = ALIASES.iter().find_map(|(alias, word)| (*alias == got).then_some(*word)).unwrap_or(&got);
    if let Some(word) = words.clone().find(|word| *word == meant) {
        return Some(word);
    }
    // Far words are cut off before the distance is computed: `got` can be megabytes.
    let close = |word: &&str| got.len() <= word.len() + 2 && distance(&got, word) <= if word.len() > 4 { 2 } else { 1 };
    words.filter(close).min_by_key(|word| distance(&got, word))
}

/// Levenshtein's edit distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OnInvalid;
    use crate::point::{Category, Decoding, json};

    fn event(overrides: &str) -> Point<'static> {
        let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(
            r#"{"df_date_range":10,"df_source":"system","df_status":"info","df_event_id":"event-1","df_title":"t","df_message":""}"#,
        )
        .unwrap();
        fields.extend(serde_json::from_str::<serde_json::Map<_, _>>(overrides).unwrap());
        point("{}", &serde_json::Value::Object(fields).to_string(), true)
    }

    fn point(tags: &str, fields: &str, integers_as_floats: bool) -> Point<'static> {
        let body = format!(r#"[{{"measurement":"measurement","tags":{tags},"fields":{fields}}}]"#);
        let how = Decoding { category: Category::KeyEvent, precision: None, now_ns: 1, integers_as_floats };
        json::decode(body.as_bytes(), &how).unwrap().points.remove(0).1.into_owned()
    }

    fn rules() -> Events {
        Events { on_invalid: OnInvalid::Refuse, extra_status: vec!["high".into()], extra_source: vec!["mine".into()] }
    }

    fn reasons(point: &mut Point) -> Vec<String> {
        check(point, &rules()).err().unwrap_or_default().into_iter().map(|fault| fault.reason).collect()
    }

    fn reason(overrides: &str) -> String {
        let reasons = reasons(&mut event(overrides));
        assert!(reasons.len() <= 1, "{reasons:?}");
        reasons.into_iter().next().unwrap_or_default()
    }

    #[test]
    fn every_documented_status_and_source_passes() {
        for status in ["ok", "info", "warning", "error", "critical", "nodata", "fatal", "high"] {
            assert_eq!(reason(&format!(r#"{{"df_status":"{status}"}}"#)), "");
        }
        for source in ["system", "custom", "audit", "change", "mine"] {
            assert_eq!(reason(&format!(r#"{{"df_source":"{source}"}}"#)), "");
        }
        assert_eq!(reason(r#"{"df_source":"user","df_user_id":"u"}"#), "");
        assert_eq!(reason(r#"{"df_source":"monitor","df_dimension_tags":"{\"host\":\"web01\"}"}"#), "");
    }

    #[test]
    fn keys_are_found_in_tags_too() {
        let tags = r#"{"df_source":"user","df_status":"bad","df_event_id":"e","df_title":"t","df_user_id":"u","df_date_range":"10"}"#;
        let mut event = point(tags, r#"{"x":1}"#, true);
        let wanted = "`df_status` is `bad`; it must be one of ok, info, warning, error, critical, nodata, high";
        assert_eq!(reasons(&mut event), [wanted]);
    }

    #[test]
    fn an_unknown_status_names_the_right_ones() {
        let rules = Events { on_invalid: OnInvalid::Refuse, extra_status: vec![], extra_source: vec![] };
        let faults = check(&mut event(r#"{"df_status":"bad"}"#), &rules).unwrap_err();
        let reason = "`df_status` is `bad`; it must be one of ok, info, warning, error, critical, nodata".to_owned();
        assert_eq!(faults, [FieldError { field: "df_status", reason }]);
    }

    #[test]
    fn a_near_miss_gets_a_suggestion() {
        let near = [
            ("warn", "warning"),
            ("Warning", "warning"),
            ("warnning", "warning"),
            ("ERROR", "error"),
            ("crit", "critical"),
            ("criticl", "critical"),
            ("OK", "ok"),
            ("no_data", "nodata"),
            ("emergency", "fatal"),
            ("hig", "high"),
        ];
        for (status, meant) in near {
            let reason = reason(&format!(r#"{{"df_status":"{status}"}}"#));
            assert!(reason.ends_with(&format!("; did you mean `{meant}`?")), "{reason}");
        }
        assert!(!reason(r#"{"df_status":"purple"}"#).contains("did you mean"));
        assert!(reason(r#"{"df_source":"monitors"}"#).ends_with("; did you mean `monitor`?"));
    }

    #[test]
    fn an_unknown_source_is_refused() {
        assert_eq!(
            reason(r#"{"df_source":"elsewhere"}"#),
            "`df_source` is `elsewhere`; it must be one of system, monitor, user, mine"
        );
    }

    #[test]
    fn missing_empty_and_not_text_are_told_apart() {
        for key in ["df_event_id", "df_title"] {
            assert_eq!(
                reason(&format!(r#"{{"{key}":null}}"#)),
                format!("`{key}` is missing; it must be text that is not empty")
            );
            assert_eq!(
                reason(&format!(r#"{{"{key}":" "}}"#)),
                format!("`{key}` is empty; it must be text that is not empty")
            );
            assert_eq!(
                reason(&format!(r#"{{"{key}":5}}"#)),
                format!("`{key}` is 5; it must be text that is not empty")
            );
        }
        assert!(reason(r#"{"df_status":null}"#).starts_with("`df_status` is missing; it must be one of ok, "));
        assert!(reason(r#"{"df_status":""}"#).starts_with("`df_status` is empty; it must be one of ok, "));
        assert!(reason(r#"{"df_status":true}"#).starts_with("`df_status` is true; it must be one of ok, "));
        assert!(
            reason(r#"{"df_source":null}"#)
                .starts_with("`df_source` is missing; it must be one of system, monitor, user")
        );
    }

    #[test]
    fn every_broken_rule_is_reported() {
        let faults = check(&mut point("{}", r#"{"df_source":"user"}"#, true), &rules()).unwrap_err();
        let fields: Vec<&str> = faults.iter().map(|fault| fault.field).collect();
        assert_eq!(fields, ["df_status", "df_date_range", "df_event_id", "df_title", "df_user_id"]);
    }

    #[test]
    fn a_date_range_is_whole_seconds() {
        for good in ["0", "10", "10.0", "\"10\"", "\" 10 \"", "\"10.0\""] {
            assert_eq!(reason(&format!(r#"{{"df_date_range":{good}}}"#)), "", "{good}");
        }
        for (bad, shown) in [
            ("-1", "-1"),
            ("1.5", "1.5"),
            ("true", "true"),
            ("\"soon\"", "`soon`"),
            ("\"-1\"", "`-1`"),
            ("\"1.5\"", "`1.5`"),
        ] {
            let wanted = format!("`df_date_range` is {shown}; it must be a whole number of seconds, 0 or more");
            assert_eq!(reason(&format!(r#"{{"df_date_range":{bad}}}"#)), wanted);
        }
        assert!(reason(r#"{"df_date_range":null}"#).starts_with("`df_date_range` is missing"));
        assert!(reason(r#"{"df_date_range":""}"#).starts_with("`df_date_range` is empty"));
    }

    #[test]
    fn a_numeric_string_becomes_a_number() {
        let mut event = event(r#"{"df_date_range":"10"}"#);
        check(&mut event, &rules()).unwrap();
        assert_eq!(event.field("df_date_range"), Some(&Value::Float(10.0)));
    }

    #[test]
    fn kept_integers_are_checked_like_floats() {
        let fields = |range: i64| {
            format!(
                r#"{{"df_date_range":{range},"df_source":"system","df_status":"ok","df_event_id":"e","df_title":"t"}}"#
            )
        };
        let mut good = point("{}", &fields(0), false);
        assert_eq!(good.field("df_date_range"), Some(&Value::Int(0)));
        assert_eq!(check(&mut good, &rules()), Ok(()));
        assert!(check(&mut point("{}", &fields(-5), false), &rules()).is_err());
    }

    #[test]
    fn a_monitor_event_needs_dimension_tags() {
        let check = |tags: &str| reason(&format!(r#"{{"df_source":"monitor","df_dimension_tags":{tags}}}"#));
        assert_eq!(check(r#"{"host":"web01"}"#), "", "an object is text by now");
        assert!(check("null").starts_with("`df_dimension_tags` is missing; it must be a JSON object in text"));
        assert!(check("\"\"").starts_with("`df_dimension_tags` is empty; "));
        for bad in [r#""host=web01""#, r#""[1]""#, r#""{\"a\":1} x""#, "7", "[1]"] {
            assert!(check(bad).contains("; it must be a JSON object in text, such as `{\"host\":\"web01\"}`"), "{bad}");
        }
    }

    #[test]
    fn a_user_event_needs_a_user() {
        assert!(
            reason(r#"{"df_source":"user"}"#).starts_with("`df_user_id` is missing; it must be text that is not empty")
        );
        assert!(reason(r#"{"df_source":"user","df_user_id":""}"#).starts_with("`df_user_id` is empty"));
        assert!(reason(r#"{"df_source":"user","df_user_id":true}"#).starts_with("`df_user_id` is true"));
        let mut numeric = event(r#"{"df_source":"user","df_user_id":42}"#);
        check(&mut numeric, &rules()).unwrap();
        assert_eq!(numeric.field("df_user_id"), Some(&Value::Str("42".into())));
    }

    #[test]
    fn a_message_shows_no_control_characters_and_no_megabytes() {
        let reason = reason(&format!(r#"{{"df_status":"a\nb{}"}}"#, "x".repeat(5000)));
        assert!(reason.contains("`a\\nbxx") && !reason.contains('\n') && reason.len() < 300, "{reason}");
    }
}
