//! What becomes of a body of rows, byte by byte.

use super::*;
use crate::series::number::Number;
use crate::series::row::{Late, Options, Out, RawType, Round, Row, RowKind, RowValue, Wrap};

fn body(rows: &str) -> String {
    format!(r#"{{"job":"local","interval":10.0,"rows":[{rows}]}}"#)
}

/// The one reading of a body whose only row has it.
fn reading(text: &str) -> Result<RowValue<'static>, String> {
    let body = body(&format!(r#"{{"m":"m","r":[{text}]}}"#));
    let mut read = decode(body.as_bytes()).unwrap().into_owned();
    match read.refused.pop() {
        Some(refusal) => Err(format!("{}: {}", refusal.field, refusal.reason)),
        None => Ok(read.rows.remove(0).1.readings.remove(0)),
    }
}

/// What is wrong with a row.
fn refusal(row: &str) -> String {
    let body = body(row);
    let read = decode(body.as_bytes()).unwrap();
    assert_eq!((read.rows.len(), read.refused.len()), (0, 1), "{row}");
    assert_eq!((read.refused[0].index, read.refused[0].raw.as_str()), (0, row));
    format!("{}: {}", read.refused[0].field, read.refused[0].reason)
}

fn fault(body: &str) -> (&'static str, String) {
    let fault = decode(body.as_bytes()).unwrap_err();
    (fault.error_code, fault.message)
}

#[test]
fn what_the_sdk_sends_is_read() {
    let text = r#"{"job":"local","interval":10.0,"rows":[{"m":"cpu","t":{"core":"0","a":"b"},"ns":1700000000000000000,"i":60,
        "r":[["user",12.5],["reads",7,{"kind":"counter","scale":0.001,"wrap":"auto","out":"both","raw":"reads_raw","max_gap":30}]]}]}"#;
    let body = decode(text.as_bytes()).unwrap();
    assert_eq!((body.job.as_ref(), body.interval_s), ("local", 10.0));
    assert!(body.refused.is_empty() && body.warnings.is_empty());
    let options = Options {
        kind: RowKind::Counter,
        scale: 0.001,
        wrap: Wrap::Auto,
        out: Out::Both,
        raw: "reads_raw".into(),
        max_gap: Some(30.0),
        ..Options::PLAIN
    };
    let row = Row {
        measurement: "cpu".into(),
        tags: vec![("a".into(), "b".into()), ("core".into(), "0".into())],
        time_ns: Some(1_700_000_000_000_000_000),
        interval_s: Some(60.0),
        readings: vec![
            RowValue { field: "user".into(), value: Number::Float(12.5), options: None },
            RowValue { field: "reads".into(), value: Number::Unsigned(7), options: Some(Box::new(options)) },
        ],
    };
    assert_eq!(body.rows, [(0, row)]);
    assert_eq!(job(text.as_bytes()).as_deref(), Some("local"));
}

#[test]
fn the_job_is_found_wherever_it_stands() {
    assert_eq!(job(br#"{"rows":[1,{"job":"no"}],"interval":1,"job":"yes"}"#).as_deref(), Some("yes"));
    assert_eq!(job(br#"{"job":"a\u0062"}"#).as_deref(), Some("ab"));
    for none in [&b""[..], b"[]", b"{", br#"{"job":1}"#, br#"{"rows":[]}"#, b"\xff"] {
        assert_eq!(job(none), None);
    }
}

#[test]
fn each_option_is_read() {
    let given = r#"["x",1,{"kind":"derive","min":-1,"max":2.5,"round":"truncate","late":"replace","wrap":null,"max_gap":null,"out":"raw","raw_type":"integer"}]"#;
    let options = Options {
        kind: RowKind::Derive,
        min: Some(-1.0),
        max: Some(2.5),
        round: Round::Truncate,
        late: Late::Replace,
        out: Out::Raw,
        raw_type: RawType::Integer,
        ..Options::PLAIN
    };
    assert_eq!(reading(given).unwrap().options(), &options);
    for (word, wrap) in [("32", Wrap::At32), ("64", Wrap::At64), ("\"auto\"", Wrap::Auto)] {
        let given = format!(r#"["x",1,{{"kind":"counter","wrap":{word}}}]"#);
        assert_eq!(reading(&given).unwrap().options().wrap, wrap);
    }
    for (name, kind) in RowKind::ALL {
        assert_eq!(reading(&format!(r#"["x",1,{{"kind":"{name}"}}]"#)).unwrap().options().kind, kind);
        assert_eq!(kind.as_str(), name);
    }
    assert_eq!(reading(r#"["x",1,null]"#).unwrap().options, None);
}

#[test]
fn a_value_keeps_its_bits() {
    for (text, number) in [
        ("18446744073709551615", Number::Unsigned(u64::MAX)),
        ("-9223372036854775808", Number::Negative(i64::MIN)),
        ("18446744073709551616", Number::Float(18_446_744_073_709_551_616.0)),
        ("-0", Number::Float(-0.0)),
        ("5.0", Number::Float(5.0)),
        ("true", Number::Unsigned(1)),
    ] {
        assert_eq!(reading(&format!(r#"["x",{text}]"#)).unwrap().value, number, "{text}");
    }
}

#[test]
fn what_is_wrong_with_a_reading_is_told_with_its_place_and_what_would_be_right() {
    for (given, right) in [
        (
            r#"["x"]"#,
            "fields.x: reading 0 (`x`): the value is missing; a reading is an array `[field, value]` or `[field, value, {options}]`",
        ),
        ("[]", "r[0]: reading 0: it is empty; it must be an array `[field, value]` or `[field, value, {options}]`"),
        (
            "7",
            "r[0]: reading 0: `the reading` is 7; it must be an array `[field, value]` or `[field, value, {options}]`",
        ),
        ("[1,2]", "r[0]: reading 0: `field` is 1; it must be text"),
        (
            r#"["x",1,{},2]"#,
            "fields.x: reading 0 (`x`): it has more than three elements; it must be an array `[field, value]` or `[field, value, {options}]`",
        ),
        (r#"["x",null]"#, "fields.x: reading 0 (`x`): `value` is null; it must be a number"),
        (r#"["x","7"]"#, "fields.x: reading 0 (`x`): `value` is \"7\"; it must be a number"),
        (r#"["x",1e999]"#, "fields.x: reading 0 (`x`): `value` cannot be read: number out of range"),
        (r#"["x",1,[]]"#, "fields.x: reading 0 (`x`): `options` is an array; it must be an object of options"),
        (
            r#"["x",1,{"knd":"gauge"}]"#,
            "fields.x: reading 0 (`x`): unknown key `knd`; the keys are kind, scale, wrap, out, raw, raw_type, min, max, max_gap, round, late",
        ),
        (
            r#"["x",1,{"kind":"countr"}]"#,
            "fields.x: reading 0 (`x`): `kind` is `countr`; it must be one of gauge, counter, derive, absolute, row_percent, row_percent_inc",
        ),
        (r#"["x",1,{"kind":1}]"#, "fields.x: reading 0 (`x`): `kind` is 1; it must be text"),
        (r#"["x",1,{"out":"all"}]"#, "fields.x: reading 0 (`x`): `out` is `all`; it must be one of rate, raw, both"),
        (r#"["x",1,{"round":"up"}]"#, "fields.x: reading 0 (`x`): `round` is `up`; it must be one of \"\", truncate"),
        (
            r#"["x",1,{"kind":"counter","wrap":33}]"#,
            "fields.x: reading 0 (`x`): `wrap` is 33; it must be 32, 64, \"auto\" or null",
        ),
        (
            r#"["x",1,{"kind":"counter","wrap":"32"}]"#,
            "fields.x: reading 0 (`x`): `wrap` is \"32\"; it must be 32, 64, \"auto\" or null",
        ),
        (r#"["x",1,{"scale":"2"}]"#, "fields.x: reading 0 (`x`): `scale` is \"2\"; it must be a number"),
        (r#"["x",1,{"wrap":32}]"#, "fields.x: reading 0 (`x`): `wrap` has no use for gauge; only a counter wraps"),
        (
            r#"["x",1,{"min":0}]"#,
            "fields.x: reading 0 (`x`): `min` has no use for gauge; only counter, derive and absolute have a rate to be held against it",
        ),
        (
            r#"["x",1,{"kind":"row_percent","max":0}]"#,
            "fields.x: reading 0 (`x`): `max` has no use for row_percent; only counter, derive and absolute have a rate to be held against it",
        ),
        (
            r#"["x",1,{"max_gap":1}]"#,
            "fields.x: reading 0 (`x`): `max_gap` has no use for gauge; it needs no reading before",
        ),
        (
            r#"["x",1,{"kind":"derive","max_gap":0}]"#,
            "fields.x: reading 0 (`x`): `max_gap` is 0; it must be a number of seconds above 0",
        ),
        (
            r#"["x",1,{"late":"replace"}]"#,
            "fields.x: reading 0 (`x`): `late` has no use for gauge; it needs no reading before",
        ),
        (
            r#"["x",1,{"out":"both"}]"#,
            "fields.x: reading 0 (`x`): `raw` is missing; with `\"out\": \"both\"` it must be the name of the raw value",
        ),
        (
            r#"["x",1,{"out":"both","raw":"x"}]"#,
            "fields.x: reading 0 (`x`): `raw` is the field's own name; the raw value needs another one",
        ),
        (
            r#"["x",1,{"raw":"y"}]"#,
            "fields.x: reading 0 (`x`): `raw` has no use without a raw value; `out` must be raw or both",
        ),
        (
            r#"["x",1,{"raw_type":"integer"}]"#,
            "fields.x: reading 0 (`x`): `raw_type` has no use without a raw value; `out` must be raw or both",
        ),
    ] {
        assert_eq!(reading(given).unwrap_err(), right, "{given}");
    }
    let second = refusal(r#"{"m":"m","r":[["a",1],["b","c"]]}"#);
    assert_eq!(second, "fields.b: reading 1 (`b`): `value` is \"c\"; it must be a number");
}

#[test]
fn what_is_wrong_with_a_row_is_told_with_its_key() {
    for (row, right) in [
        ("7", "the row: `the row` is 7; it must be an object with m, t, ns, i and r"),
        ("{}", "m: `m` is missing; it must be the measurement"),
        (
            r#"{"m":"m"}"#,
            "r: `r` is missing; it must be an array of readings, each an array `[field, value]` or `[field, value, {options}]`",
        ),
        (r#"{"m":7,"r":[]}"#, "m: `m` is 7; it must be text"),
        (r#"{"m":"m","r":{}}"#, "r: `r` is an object; it must be an array of readings"),
        (r#"{"m":"m","r":[],"x":1}"#, "x: unknown key `x`; the keys are m, t, ns, i, r"),
        (r#"{"m":"m","r":[],"i":0}"#, "i: `i` is 0; it must be a number of seconds above 0"),
        (r#"{"m":"m","r":[],"t":["a"]}"#, "t: `t` is an array; it must be an object of texts"),
        (r#"{"m":"m","r":[],"t":{"a":[1]}}"#, "t.a: `t.a` is an array; it must be text"),
        (
            r#"{"m":"m","r":[],"ns":1.5}"#,
            "ns: `ns` is 1.5; it must be a whole number of nanoseconds since 1970, above 0 and before 2262",
        ),
        (
            r#"{"m":"m","r":[],"ns":0}"#,
            "ns: `ns` is 0; it must be a whole number of nanoseconds since 1970, above 0 and before 2262",
        ),
        (
            r#"{"m":"m","r":[],"ns":9223372036854775807}"#,
            "ns: `ns` is 9223372036854775807; it must be a whole number of nanoseconds since 1970, above 0 and before 2262",
        ),
    ] {
        assert_eq!(refusal(row), right, "{row}");
    }
}

#[test]
fn one_bad_row_does_not_spoil_the_others() {
    let body = body(r#"{"m":"a","r":[["x",1]]},{"m":"b","r":[["x",null]]},{"m":"c","r":[]},{"m":"d"}"#);
    let read = decode(body.as_bytes()).unwrap();
    let good: Vec<(usize, &str)> = read.rows.iter().map(|(index, row)| (*index, row.measurement.as_ref())).collect();
    assert_eq!(good, [(0, "a"), (2, "c")]);
    let bad: Vec<usize> = read.refused.iter().map(|refusal| refusal.index).collect();
    assert_eq!(bad, [1, 3]);
    assert_eq!(texts(body.as_bytes())[3], r#"{"m":"d"}"#);
}

#[test]
fn a_body_that_cannot_be_read_is_refused_whole() {
    assert_eq!(fault(" ").0, "datakit.emptyBody");
    for (text, right) in [
        ("[]", "`rows` is an array; it must be an object `{\"job\": …, \"interval\": …, \"rows\": […]}`"),
        (
            r#"{"interval":1,"rows":[]}"#,
            "`job` is missing; the body must be an object `{\"job\": …, \"interval\": …, \"rows\": […]}`",
        ),
        (
            r#"{"job":"","rows":[]}"#,
            "`interval` is missing; the body must be an object `{\"job\": …, \"interval\": …, \"rows\": […]}`",
        ),
        (
            r#"{"job":"","interval":1}"#,
            "`rows` is missing; the body must be an object `{\"job\": …, \"interval\": …, \"rows\": […]}`",
        ),
        (r#"{"job":7,"interval":1,"rows":[]}"#, "`job` is 7; it must be text"),
        (r#"{"job":"","interval":0,"rows":[]}"#, "`interval` is 0; it must be a number of seconds above 0"),
        (r#"{"job":"","interval":"1","rows":[]}"#, "`interval` is \"1\"; it must be a number"),
        (r#"{"job":"","interval":1,"job":"a","rows":[]}"#, "`job` is there twice; remove one of them"),
        (r#"{"job":"","interval":1,"rows":[7],"rows":[]}"#, "`rows` is there twice; remove one of them"),
        (r#"{"job":"","interval":1,"rows":{}}"#, "`rows` is an object; it must be an array of rows"),
        (r#"{"job":"","interval":1,"rows":[],"row":[]}"#, "unknown key `row`; the keys are job, interval, rows"),
    ] {
        assert_eq!(fault(text), ("pythond.invalidRows", right.to_owned()), "{text}");
    }
    let (code, message) = fault(r#"{"job":"","interval":1,"rows":[{"m":"m","r":[["x",NaN]]}]}"#);
    assert_eq!(code, "datakit.invalidJSON");
    assert!(message.contains("line 1 column 51") && message.contains("JSON has no NaN"), "{message}");
    assert_eq!(fault(r#"{"job":"","interval":1,"rows":[]} x"#).0, "datakit.invalidJSON");
}

#[test]
fn undecodable_names_are_mended() {
    let body = body(r#"{"m":"df","t":{"path":"/\udcff"},"r":[["used",1]]}"#);
    let read = decode(body.as_bytes()).unwrap();
    assert_eq!(read.rows[0].1.tags, [("path".into(), "/\u{fffd}".into())]);
    assert_eq!(read.warnings.kinds.keys().copied().collect::<Vec<_>>(), ["invalid_utf8"]);
    let raw = b"{\"job\":\"\xff\",\"interval\":1,\"rows\":[{\"m\":\"m\",\"t\":{\"a\":1},\"r\":[[\"x\",1,{\"kind\":\"counter\"}]]}]}";
    let read = decode(raw).unwrap();
    assert_eq!((read.job.as_ref(), read.rows[0].1.tags[0].1.as_ref()), ("\u{fffd}", "1"));
}

#[test]
fn no_rows_are_no_fault() {
    assert_eq!(decode(body("").as_bytes()).unwrap().rows, []);
}
