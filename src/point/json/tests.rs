//! What becomes of a JSON body, byte by byte and at random.

use proptest::prelude::*;

use super::*;
use crate::point::{Category, Point, Precision, Value, line};

const NOW: i64 = 1_700_000_000_000_000_000;
const HOW: Decoding = Decoding { category: Category::Metric, precision: None, now_ns: NOW, integers_as_floats: true };
const KEPT: Decoding = Decoding { integers_as_floats: false, ..HOW };

fn read<'t>(body: &'t str, how: &Decoding) -> Decoded<'t> {
    decode(body.as_bytes(), how).unwrap()
}

/// The points as lines; `NOW` as `now`.
fn lines(decoded: &Decoded) -> Vec<String> {
    let encode = |(_, point): &(usize, Point)| {
        let mut line = Vec::new();
        line::encode(point, &mut line);
        String::from_utf8(line).unwrap().trim_end().replace(&NOW.to_string(), "now")
    };
    decoded.points.iter().map(encode).collect()
}

/// The one line of a body whose only point has these fields.
fn fields(fields: &str, how: &Decoding) -> String {
    let body = format!(r#"[{{"measurement":"m","fields":{fields}}}]"#);
    let decoded = read(&body, how);
    match decoded.refused.first() {
        Some(refusal) => format!("{}: {}", refusal.field, refusal.reason),
        None => lines(&decoded).remove(0),
    }
}

fn refusal(element: &str, how: &Decoding) -> (String, String) {
    let body = format!("[{element}]");
    let decoded = read(&body, how);
    assert_eq!((decoded.points.len(), decoded.refused.len()), (0, 1), "{element}");
    assert_eq!((decoded.refused[0].index, decoded.refused[0].raw.as_str()), (0, element));
    (decoded.refused[0].field.clone(), decoded.refused[0].reason.clone())
}

fn kinds(decoded: &Decoded) -> Vec<&'static str> {
    decoded.warnings.kinds.keys().copied().collect()
}

fn fault(body: &[u8]) -> (&'static str, String) {
    let fault = decode(body, &HOW).unwrap_err();
    (fault.error_code, fault.message)
}

#[test]
fn what_the_sdk_sends_is_read() {
    let body = r#"[{"measurement": "m", "tags": {"t": "v"}, "fields": {"a": 1, "k": "x"}, "time": null}]"#;
    let decoded = read(body, &HOW);
    assert_eq!(lines(&decoded), ["m,t=v a=1.0,k=\"x\" now"]);
    assert!(decoded.warnings.is_empty());
    let body = r#"[{"measurement": "s", "tags": null, "fields": {"message": "hi", "status": "error"}, "time": null}]"#;
    assert_eq!(
        lines(&read(body, &Decoding { category: Category::Logging, ..HOW })),
        ["s message=\"hi\",status=\"error\" now"]
    );
}

#[test]
fn keys_are_matched_without_case_in_any_order_and_unknown_ones_are_ignored() {
    let body = r#"[{"TIME":1,"Fields":{"v":true},"x":{"y":[1e999]},"name":"n","mEasurement":"m","TAGS":{"a":"b"}}]"#;
    assert_eq!(lines(&read(body, &Decoding { precision: Some(Precision::Ns), ..HOW })), ["m,a=b v=true 1"]);
}

#[test]
fn a_missing_measurement_gets_datakits_name() {
    for body in [
        r#"[{"fields":{"v":1}}]"#,
        r#"[{"measurement":null,"fields":{"v":1}}]"#,
        r#"[{"measurement":"","fields":{"v":1}}]"#,
    ] {
        let decoded = read(body, &HOW);
        assert_eq!(lines(&decoded), ["__default v=1.0 now"]);
        assert_eq!(kinds(&decoded), ["invalid_measurement"]);
    }
}

#[test]
fn integers_become_floats_unless_they_are_kept() {
    let numbers = r#"{"a":1,"b":-1,"c":1.5,"d":18446744073709551615,"e":1e3,"f":0}"#;
    assert_eq!(fields(numbers, &HOW), "m a=1.0,b=-1.0,c=1.5,d=1.8446744073709552e19,e=1000.0,f=0.0 now");
    assert_eq!(fields(numbers, &KEPT), "m a=1i,b=-1i,c=1.5,d=18446744073709551615u,e=1000.0,f=0i now");
}

#[test]
fn an_integer_beyond_64_bits_is_a_float_or_refused_when_integers_are_kept() {
    assert_eq!(fields(r#"{"a":100000000000000000000}"#, &HOW), "m a=1e20 now");
    let reason = "fields.a: `fields.a` is 100000000000000000000; it must be an integer of at most 64 bits, or a float";
    assert_eq!(fields(r#"{"a":100000000000000000000}"#, &KEPT), reason);
    assert_eq!(fields(r#"{"a":1e20,"b":{"c":1},"d":"1","e":null}"#, &KEPT), "m a=1e20,b=\"{\\\"c\\\":1}\",d=\"1\" now");
}

#[test]
fn a_number_beyond_a_float_is_refused() {
    for how in [HOW, KEPT] {
        assert_eq!(fields(r#"{"v":1e400}"#, &how), "fields.v: `fields.v` cannot be read: number out of range");
    }
}

#[test]
fn nested_values_become_json_text() {
    let decoded = read(
        r#"[{"measurement":"m","fields":{"o":{ "z": 1, "a": [1.0, "x\"", null, true, -2, {}] },"l":[],"n":null}}]"#,
        &HOW,
    );
    assert_eq!(decoded.points[0].1.field("o"), Some(&Value::Str(r#"{"z":1,"a":[1.0,"x\"",null,true,-2,{}]}"#.into())));
    assert_eq!(decoded.points[0].1.field("l"), Some(&Value::Str("[]".into())));
    assert_eq!(decoded.points[0].1.field("n"), None);
    assert_eq!(decoded.warnings.kinds["nested_value"].0, 2);
}

#[test]
fn a_point_without_a_value_is_refused() {
    for element in [
        r#"{"measurement":"m"}"#,
        r#"{"measurement":"m","fields":null}"#,
        r#"{"fields":{}}"#,
        r#"{"fields":{"v":null}}"#,
        "{}",
    ] {
        assert_eq!(
            refusal(element, &HOW),
            ("fields".into(), "the point has no field with a value; it must have at least one".into())
        );
    }
}

#[test]
fn tag_values_are_taken_as_text() {
    let decoded =
        read(r#"[{"measurement":"m","tags":{"a":1,"b":-2,"c":1.5,"d":true,"e":null,"f":"x"},"fields":{"v":1}}]"#, &HOW);
    assert_eq!(lines(&decoded), ["m,a=1,b=-2,c=1.5,d=true,f=x v=1.0 now"]);
    assert_eq!(decoded.warnings.kinds["tag_not_text"].0, 4);
}

#[test]
fn a_wrong_type_is_refused_with_field_and_reason() {
    let cases = [
        (r#"{"tags":{"a":[1]},"fields":{"v":1}}"#, "tags.a", "`tags.a` is an array; it must be text"),
        (r#"{"tags":{"a":{}},"fields":{"v":1}}"#, "tags.a", "`tags.a` is an object; it must be text"),
        (r#"{"tags":["a"],"fields":{"v":1}}"#, "tags", "`tags` is an array; it must be an object of texts"),
        (r#"{"tags":"a=b","fields":{"v":1}}"#, "tags", "`tags` is \"a=b\"; it must be an object of texts"),
        (r#"{"fields":5}"#, "fields", "`fields` is 5; it must be an object of values"),
        (r#"{"measurement":5,"fields":{"v":1}}"#, "measurement", "`measurement` is 5; it must be text"),
        (r#"{"measurement":["m"],"fields":{"v":1}}"#, "measurement", "`measurement` is an array; it must be text"),
        ("null", "", "the point is null; it must be an object with measurement, tags, fields and time"),
        ("[1]", "", "the point is an array; it must be an object with measurement, tags, fields and time"),
        ("true", "", "the point is true; it must be an object with measurement, tags, fields and time"),
        ("1.5", "", "the point is 1.5; it must be an object with measurement, tags, fields and time"),
        (r#""m v=1""#, "", "the point is \"m v=1\"; it must be an object with measurement, tags, fields and time"),
    ];
    for (element, field, reason) in cases {
        for how in [HOW, KEPT] {
            assert_eq!(refusal(element, &how), (field.to_owned(), reason.to_owned()));
        }
    }
}

#[test]
fn a_wrong_time_is_refused() {
    let time = |time: &str| refusal(&format!(r#"{{"fields":{{"v":1}},"time":{time}}}"#), &HOW);
    let wanted = "it must be a number: seconds, milliseconds, microseconds or nanoseconds since 1970";
    for (bad, shown) in [
        ("\"soon\"", "\"soon\""),
        ("\"1700000000\"", "\"1700000000\""),
        ("true", "true"),
        ("[]", "an array"),
        ("{}", "an object"),
    ] {
        assert_eq!(time(bad), ("time".into(), format!("`time` is {shown}; {wanted}")));
    }
    assert_eq!(time("9999999999").0, "time");
    assert_eq!(time("1e300").0, "time");
    assert_eq!(time("18446744073709551615").0, "time");
    assert_eq!(time("99999999999999999999999").0, "time");
}

#[test]
fn times_are_read_in_every_form() {
    let time = |time: &str, precision| {
        read(&format!(r#"[{{"fields":{{"v":1}},"time":{time}}}]"#), &Decoding { precision, ..HOW }).points[0]
            .1
            .time_ns()
    };
    assert_eq!(time("1624550216", None), 1_624_550_216_000_000_000);
    assert_eq!(time("1624550216.5", None), 1_624_550_216_500_000_000);
    assert_eq!(time("1624550216", Some(Precision::Ms)), 1_624_550_216_000_000);
    assert_eq!(time("1.5", Some(Precision::S)), 1_500_000_000);
    for none in ["null", "0", "-5", "0.0", "-1.5"] {
        assert_eq!(time(none, None), NOW);
        assert_eq!(time(none, Some(Precision::H)), NOW, "the arrival is not multiplied");
    }
}

#[test]
fn points_of_one_series_without_a_time_are_kept_apart() {
    let decoded = read(
        r#"[{"fields":{"v":1}},{"tags":{"a":"b"},"fields":{"v":1}},{"fields":{"v":2}},{"fields":{"v":3},"time":0}]"#,
        &HOW,
    );
    let times: Vec<i64> = decoded.points.iter().map(|(_, point)| point.time_ns() - NOW).collect();
    assert_eq!(times, [0, 0, 1, 2]);
}

#[test]
fn one_bad_point_does_not_spoil_the_rest() {
    let body = r#" [ {"measurement":"a","fields":{"v":1}}, {"measurement":"b","fields":{"v":1},"time":"soon"},
        null, {"measurement":"c","fields":{"v":1e400}}, {"measurement":"d","fields":{"v":2}} ] "#;
    let decoded = read(body, &HOW);
    assert_eq!(decoded.points.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 4]);
    assert_eq!(lines(&decoded), ["a v=1.0 now", "d v=2.0 now"]);
    let refused: Vec<(usize, &str, &str)> =
        decoded.refused.iter().map(|r| (r.index, r.field.as_str(), r.raw.as_str())).collect();
    let wanted = [
        (1, "time", r#"{"measurement":"b","fields":{"v":1},"time":"soon"}"#),
        (2, "", "null"),
        (3, "fields.v", r#"{"measurement":"c","fields":{"v":1e400}}"#),
    ];
    assert_eq!(refused, wanted);
}

#[test]
fn repairs_are_counted_once_when_the_body_is_read_twice() {
    let decoded = read(r#"[{"measurement":"","fields":{"v":1}},null]"#, &HOW);
    assert_eq!(decoded.warnings.kinds["invalid_measurement"].0, 1);
}

#[test]
fn deep_nesting_is_refused_and_never_overflows() {
    let deep = |levels: usize| format!(r#"{{"fields":{{"v":{}{}}}}}"#, "[".repeat(levels), "]".repeat(levels));
    for how in [HOW, KEPT] {
        assert_eq!(read(&format!("[{}]", deep(100)), &how).points.len(), 1);
        assert_eq!(refusal(&deep(30_000), &how).0, "fields.v");
    }
    assert!(refusal(&deep(200), &HOW).1.contains("nested deeper than"));
    assert!(refusal(&deep(200), &KEPT).1.contains("nested deeper than"));
    assert_eq!(
        refusal(&format!("{}{}", "[".repeat(30_000), "]".repeat(30_000)), &HOW).1,
        "the point is an array; it must be an object with measurement, tags, fields and time"
    );
    assert_eq!(fault("[".repeat(100_000).as_bytes()).0, "datakit.invalidJSON");
}

#[test]
fn a_body_that_is_no_array_is_refused_whole() {
    assert_eq!(fault(b"").0, "datakit.emptyBody");
    assert_eq!(fault(b" \n").0, "datakit.emptyBody");
    assert_eq!(fault(b"\xef\xbb\xbf").0, "datakit.emptyBody");
    for body in ["[]", "null", " [ ] "] {
        assert_eq!(fault(body.as_bytes()).0, "datakit.noPoints", "{body}");
    }
    for (body, kind) in [
        ("{}", "an object"),
        (r#"{"measurement":"m"}"#, "an object"),
        ("5", "a number"),
        ("\"x\"", "text"),
        ("true", "a boolean"),
    ] {
        let message = format!(
            "the body is {kind}; it must be a JSON array of points: wrap a single point in an array, `[{{...}}]`"
        );
        assert_eq!(fault(body.as_bytes()), ("datakit.invalidJsonPoint", message));
    }
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    let place = |body: &str, place: &str| {
        let (code, message) = fault(body.as_bytes());
        assert_eq!(code, "datakit.invalidJSON");
        assert!(message.starts_with("the body is not JSON: ") && message.contains(place), "{message}");
        message
    };
    place("[{\"measurement\":\"m\",}]", "line 1 column 21");
    place("[{}\n,\n {]", "line 3 column 3");
    place("[{}] x", "line 1 column 6");
    place("[{\"fields\":{\"v\":1}}", "line 1 column 19");
    place("m v=1", "line 1 column 1");
    place("{\"a\"", "line 1 column 4");
    place("nul", "line 1 column 3");
    for number in ["NaN", "Infinity", "-Infinity"] {
        let message = place(&format!("[{{\"fields\":{{\"v\":{number}}}}}]"), "line 1 column ");
        assert!(message.ends_with("; JSON has no NaN and no infinity: leave such a field out"), "{message}");
    }
}

#[test]
fn foreign_bytes_are_read_as_datakit_does() {
    let decoded = decode(b"\xef\xbb\xbf[{\"measurement\":\"m\xff\",\"fields\":{\"v\":1}}]", &HOW).unwrap();
    assert_eq!(lines(&decoded), ["m\u{fffd} v=1.0 now"]);
    assert_eq!(kinds(&decoded), ["invalid_utf8"]);
}

#[test]
fn a_lone_surrogate_is_read_as_datakit_does() {
    let text = |text: &str| {
        let body = format!(r#"[{{"measurement":"m","fields":{{"v":"{text}"}}}}]"#);
        let decoded = read(&body, &HOW).into_owned();
        let value = decoded.points.first().map(|(_, point)| point.field("v").unwrap().clone());
        (value.unwrap_or_else(|| panic!("{:?}", decoded.refused)), kinds(&decoded).join(" "))
    };
    let is = |text: &str, kinds: &str| (Value::Str(text.to_owned().into()), kinds.to_owned());
    assert_eq!(text(r"a\udc80b"), is("a\u{fffd}b", "invalid_utf8"));
    assert_eq!(text(r"\ud800"), is("\u{fffd}", "invalid_utf8"));
    assert_eq!(text(r"\ud800\ud83d\ude00"), is("\u{fffd}😀", "invalid_utf8"));
    assert_eq!(text(r"\ud83d\ude00"), is("😀", ""));
    assert_eq!(text(r"\\ud800"), is(r"\ud800", ""));
}

#[test]
fn a_point_in_protobuf_json_is_read_in_the_same_array() {
    let body = r#"[{"name":"m","fields":[{"key":"i","i":"-1"},{"key":"u","u":"2"},{"key":"f","f":1.5,"unit":"B","type":1},{"key":"b","b":true},
        {"key":"s","s":"x"},{"key":"d","d":"eA=="},{"key":"a","a":{"arr":[{"i":"1"}]}},{"key":"n"},{"key":"t","s":"y","is_tag":true},
        {"key":"t2","i":7,"is_tag":true}],"time":"1624550216123456789"},{"fields":{"v":1}}]"#;
    let decoded = read(body, &HOW);
    let line = r#"m,t=y,t2=7 i=-1i,u=2u,f=1.5,b=true,s="x",d="eA==",a="{\"arr\":[{\"i\":\"1\"}]}" 1624550216123456789"#;
    assert_eq!(lines(&decoded), [line, "__default v=1.0 now"]);
    assert_eq!(kinds(&decoded), ["invalid_measurement", "nested_value", "tag_not_text"]);
    let bad = refusal(r#"{"name":"m","fields":[{"key":"i","i":"x"}]}"#, &HOW);
    assert_eq!(bad.0, "fields.i");
    assert!(bad.1.contains("it must be a signed integer of 64 bits"), "{}", bad.1);
    assert_eq!(refusal(r#"{"name":"m","fields":[5]}"#, &HOW).0, "fields");
}

#[test]
fn a_long_point_is_cut_for_the_dead_letter() {
    let body = format!(r#"[{{"fields":{{"v":"{}"}},"time":"x"}}]"#, "é".repeat(100_000));
    let raw = &read(&body, &HOW).refused[0].raw;
    assert!(raw.len() <= 64 * 1024 && raw.len() > 64 * 1024 - 2 && body.contains(raw.as_str()));
}

#[test]
fn an_echo_reads_back_as_the_same_points() {
    let body = r#"[{"measurement":"m","tags":{"a":"\"é"},"fields":{"f":1.5,"i":-3,"u":18446744073709551615,"s":"x\n","b":false},"time":1624550216123456789}]"#;
    let points: Vec<Point> = read(body, &KEPT).points.into_iter().map(|(_, point)| point).collect();
    assert_eq!(String::from_utf8(encode(&points)).unwrap(), body);
    assert_eq!(encode(&[]), b"[]");
}

/// Elements that look like points more often than chance would have it.
fn element() -> impl Strategy<Value = String> {
    let text = || {
        prop::sample::select(vec!["\"v\"", "\"time\"", "\"\"", r#""\ud800\n""#, r#""a\\,""#, "\"a.b\"", "\"\u{7f}é\""])
    };
    let scalar = prop::sample::select(vec![
        "1",
        "-1",
        "1.5",
        "1e400",
        "18446744073709551616",
        "true",
        "null",
        "\"x\"",
        "[]",
        "[1,{}]",
        "{\"i\":\"1\"}",
    ]);
    let value = prop_oneof![scalar, text()];
    let map = prop::collection::vec((text(), value.clone()), 0..4).prop_map(|entries| {
        let entries: Vec<String> = entries.iter().map(|(key, value)| format!("{key}:{value}")).collect();
        format!("{{{}}}", entries.join(","))
    });
    let list = Just(r#"[{"key":"a","i":"7"},{"key":"t","s":"x","is_tag":true}]"#.to_owned());
    let part = prop_oneof![3 => map, 1 => list, 1 => value.prop_map(str::to_owned)];
    let key = prop::sample::select(vec!["measurement", "tags", "fields", "Fields", "time", "name", "other"]);
    prop::collection::vec((key, part), 0..5).prop_map(|entries| {
        let entries: Vec<String> = entries.iter().map(|(key, part)| format!("\"{key}\": {part}")).collect();
        format!("{{{}}}", entries.join(", "))
    })
}

proptest! {
    #[test]
    fn every_element_is_a_point_or_a_refusal(elements in prop::collection::vec(element(), 1..5), keep in any::<bool>()) {
        let body = format!("[{}]", elements.join(","));
        let decoded = read(&body, if keep { &KEPT } else { &HOW });
        let mut seen: Vec<usize> = decoded.points.iter().map(|(index, _)| *index).chain(decoded.refused.iter().map(|r| r.index)).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..elements.len()).collect::<Vec<_>>());
        for refusal in &decoded.refused {
            prop_assert_eq!(&refusal.raw, &elements[refusal.index]);
            prop_assert!(!refusal.reason.is_empty());
        }
        for (_, point) in &decoded.points {
            let mut line = Vec::new();
            line::encode(point, &mut line);
            let back = line::decode(&line, &Decoding { precision: Some(Precision::Ns), ..HOW }).unwrap();
            prop_assert_eq!(&back.points[0].1, point);
        }
    }

    #[test]
    fn a_cut_or_changed_body_never_panics(elements in prop::collection::vec(element(), 1..3), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = format!("[{}]", elements.join(",")).into_bytes();
        let at = cut.index(body.len());
        prop_assert!(decode(&body[..at], &HOW).is_err(), "half a body is never taken");
        body[at] = byte;
        if let Err(fault) = decode(&body, &HOW) {
            prop_assert!(fault.error_code.starts_with("datakit."));
        }
    }
}
