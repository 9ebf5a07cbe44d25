//! Line protocol in and out: the grammar by examples, and round trips of random points through this decoder and a foreign one.

use influxdb_line_protocol::{FieldValue, parse_lines};
use proptest::prelude::*;

use super::*;
use crate::point::{Category, Precision};

const NOW: i64 = 1_700_000_000_000_000_000;
const HOW: Decoding =
    Decoding { category: Category::Metric, precision: Some(Precision::Ns), now_ns: NOW, integers_as_floats: true };

fn read(body: &str) -> Decoded<'_> {
    decode(body.as_bytes(), &HOW).unwrap()
}

fn line(point: &Point) -> String {
    let mut line = Vec::new();
    encode(point, &mut line);
    String::from_utf8(line).unwrap()
}

/// Each point as its canonical line, each refusal as `index field: reason`.
fn outcome(body: &str) -> Vec<String> {
    let decoded = read(body);
    let good = decoded.points.iter().map(|(_, point)| line(point).trim_end().to_owned());
    let bad = decoded.refused.iter().map(|refusal| format!("{} {}: {}", refusal.index, refusal.field, refusal.reason));
    good.chain(bad).collect()
}

#[test]
fn every_type_is_read_and_written() {
    let line = r#"m,a=1,b=x f=1.5,g=-0.0,i=-12i,u=12u,b1=t,b2=F,b3=True,b4=FALSE,s="x \"y\" \\ z\n",e="" 5"#;
    let canonical =
        r#"m,a=1,b=x f=1.5,g=-0.0,i=-12i,u=12u,b1=true,b2=false,b3=true,b4=false,s="x \"y\" \\ z\\n",e="" 5"#;
    assert_eq!(outcome(line), [canonical]);
    assert_eq!(outcome(canonical), [canonical]);
}

#[test]
fn floats_are_written_with_a_digit_on_both_sides() {
    let cases = [
        ("1", "1.0"),
        (".5", "0.5"),
        ("5.", "5.0"),
        ("00012", "12.0"),
        ("-1e3", "-1000.0"),
        ("1e21", "1e21"),
        ("1.5E-9", "1.5e-9"),
        ("-0", "-0.0"),
    ];
    for (raw, canonical) in cases {
        assert_eq!(outcome(&format!("m v={raw} 1")), [format!("m v={canonical} 1")]);
    }
    for number in
        [f64::MAX, f64::MIN_POSITIVE, 5e-324, 0.1 + 0.2, 1e15, 1e16, 1e17, 123456789012345680.0, 9007199254740993.0]
    {
        let mut text = Vec::new();
        push_float(&mut text, number);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.parse::<f64>().unwrap(), number);
        assert!(
            text.bytes().next().unwrap().is_ascii_digit() && !text.contains(".e") && !text.ends_with('.'),
            "{text}"
        );
    }
}

#[test]
fn datakits_extensions_are_read() {
    let decoded = read(r#"m u=12u,a=[1i,2i],e=[],x=["p\"q,]",true,1.5],b="aGk="b 1"#);
    assert_eq!(
        line(&decoded.points[0].1),
        "m u=12u,a=\"[1,2]\",e=\"[]\",x=\"[\\\"p\\\\\\\"q,]\\\",true,1.5]\",b=\"aGk=\" 1\n"
    );
    assert_eq!(decoded.warnings.kinds["nested_value"].0, 3);
}

#[test]
fn names_are_read_by_the_grammar() {
    assert_eq!(
        outcome(r"a\ b\,c=d,k\=\,\ =v\=\,\  f\=g=1 1"),
        [r"a\ b\,c\=d,k\=\,\ =v\=\,\  f\=g=1.0 1".replace(r"c\=d", "c=d")]
    );
    assert_eq!(outcome(r"m,a=C:\Temp\x v=1 1"), [r"m,a=C:\Temp\x v=1.0 1"]);
    assert_eq!(outcome(r"m,a=x\\,y v=1 1"), [r"m,a=x/\,y v=1.0 1"], "a run of backslashes is one escape");
    assert_eq!(outcome("m,a=\"q\" \"f\"=1 1"), ["m,a=\"q\" \"f\"=1.0 1"]);
}

#[test]
fn blank_lines_comments_and_crlf_are_read() {
    let body = "\n# c \"\r\nm v=1 1\r\n \t\r\n  m v=2i\r\n#\nm v=3i   7  \r\nm s=\"x\"\r\nm b=t\r\nm,a=b v=5i 9";
    let wanted = [
        "m v=1.0 1".to_owned(),
        format!("m v=2i {NOW}"),
        "m v=3i 7".to_owned(),
        format!("m s=\"x\" {}", NOW + 1),
        format!("m b=true {}", NOW + 2),
        "m,a=b v=5i 9".to_owned(),
    ];
    assert_eq!(outcome(body), wanted);
}

#[test]
fn a_raw_newline_in_text_is_kept() {
    assert_eq!(outcome("m s=\"a\nb\r\nm2 v=1\",t=1i 1\nm v=1 2\n"), ["m s=\"a\nb\r\nm2 v=1\",t=1i 1", "m v=1.0 2"]);
}

#[test]
fn a_bad_line_is_refused_with_its_place_and_the_rest_is_kept() {
    let cases = [
        ("m", "fields: missing fields (pos: 1)"),
        ("m ", "fields: missing fields (pos: 2)"),
        ("m,a=b", "fields: missing fields (pos: 5)"),
        (",a=b v=1", "measurement: missing measurement (pos: 0)"),
        ("m,a v=1", "tags.a: missing tag value in `tags.a` (pos: 3)"),
        ("m,a= v=1", "tags.a: missing tag value in `tags.a` (pos: 4)"),
        ("m,=b v=1", "tags: missing tag key (pos: 2)"),
        (
            "m,a=x=y v=1",
            "tags.a: invalid tag format: an equals sign in a tag value must be written `\\=` in `tags.a` (pos: 5)",
        ),
        ("m v", "fields.v: missing field value in `fields.v` (pos: 3)"),
        ("m v=", "fields.v: missing field value in `fields.v` (pos: 4)"),
        ("m =1", "fields: missing field key (pos: 2)"),
        ("m v=1,", "fields: missing field key (pos: 6)"),
        ("m v=\"x", "fields.v: unbalanced quotes in `fields.v` (pos: 4)"),
        ("m v=\"x\"y 1", "fields.v: invalid field format: text after the value in `fields.v` (pos: 7)"),
        ("m v=[1i", "fields.v: invalid field format: an array must end with `]` in `fields.v` (pos: 7)"),
        (
            "m v=x",
            "fields.v: invalid field value `x`: it must be a finite number, a boolean, or text in double quotes in `fields.v` (pos: 5)",
        ),
        (
            "m v=+1",
            "fields.v: invalid field value `+1`: it must be a finite number, a boolean, or text in double quotes in `fields.v` (pos: 6)",
        ),
        (
            "m v=NaN",
            "fields.v: invalid field value `NaN`: it must be a finite number, a boolean, or text in double quotes in `fields.v` (pos: 7)",
        ),
        (
            "m v=-inf",
            "fields.v: invalid number `-inf`: it must be a finite float, or an integer of 64 bits in `fields.v` (pos: 8)",
        ),
        (
            "m v=1e400",
            "fields.v: invalid number `1e400`: it must be a finite float, or an integer of 64 bits in `fields.v` (pos: 9)",
        ),
        (
            "m v=0x1F",
            "fields.v: invalid number `0x1F`: it must be a finite float, or an integer of 64 bits in `fields.v` (pos: 8)",
        ),
        (
            "m v=9223372036854775808i",
            "fields.v: invalid number `9223372036854775808i`: it must be a finite float, or an integer of 64 bits in `fields.v` (pos: 24)",
        ),
        (
            "m v=1.5i",
            "fields.v: invalid number `1.5i`: it must be a finite float, or an integer of 64 bits in `fields.v` (pos: 8)",
        ),
        ("m v=1 soon", "time: bad timestamp `soon`: it must be an integer (pos: 10)"),
        ("m v=1 1.5", "time: bad timestamp `1.5`: it must be an integer (pos: 9)"),
        ("m v=1 1 x", ": unexpected text after the time (pos: 8)"),
    ];
    for (bad, reason) in cases {
        for newline in ["\n", "\r\n"] {
            let body = format!("a v=1 1{newline}{bad}{newline}b v=2 2{newline}");
            let decoded = read(&body);
            let refused = &decoded.refused;
            assert_eq!(refused.len(), 1, "{bad}");
            assert_eq!(format!("{}: {}", refused[0].field, refused[0].reason), reason);
            assert_eq!((refused[0].index, refused[0].raw.as_str()), (1, bad));
            let good: Vec<(usize, &str)> =
                decoded.points.iter().map(|(index, point)| (*index, point.measurement())).collect();
            assert_eq!(good, [(0, "a"), (2, "b")], "{bad}");
        }
    }
}

#[test]
fn a_bad_line_takes_its_whole_text_with_it() {
    let decoded = read("m,a= s=\"x\nb v=1 1\" 1\nc v=1 1");
    assert_eq!(decoded.refused[0].raw, "m,a= s=\"x\nb v=1 1\" 1");
    assert_eq!(decoded.points[0].1.measurement(), "c");
}

#[test]
fn duplicate_keys_keep_the_last() {
    let decoded = read("m,a=1,a=2 v=1,v=2 1");
    assert_eq!(line(&decoded.points[0].1), "m,a=2 v=2.0 1\n");
    assert_eq!(decoded.warnings.kinds["duplicate_key"].0, 2);
}

#[test]
fn times_are_read_in_the_unit_of_the_request() {
    let time = |stamp: &str, precision| {
        let body = format!("m v=1 {stamp}");
        let decoded = decode(body.as_bytes(), &Decoding { precision, ..HOW }).unwrap();
        decoded.points.first().map(|(_, point)| point.time_ns())
    };
    assert_eq!(time("1624550216", None), Some(1_624_550_216_000_000_000));
    assert_eq!(time("1624550216123", None), Some(1_624_550_216_123_000_000));
    assert_eq!(time("1624550216", Some(Precision::S)), Some(1_624_550_216_000_000_000));
    assert_eq!(time("1", Some(Precision::H)), Some(3_600_000_000_000));
    for precision in [None, Some(Precision::S), Some(Precision::H)] {
        for none in ["", "0", "-7"] {
            assert_eq!(time(none, precision), Some(NOW), "the arrival is not multiplied");
        }
    }
    for late in ["9999999999", "9223372036854775807000", &"9".repeat(60)] {
        assert_eq!(time(late, None), None);
    }
}

#[test]
fn a_body_without_points_is_refused_whole() {
    let code = |body: &[u8]| decode(body, &HOW).unwrap_err().error_code;
    assert_eq!(code(b""), "datakit.emptyBody");
    assert_eq!(code(b" \r\n\n"), "datakit.emptyBody");
    assert_eq!(code(b"# only\n# words"), "datakit.noPoints");
}

#[test]
fn foreign_bytes_become_replacement_characters() {
    let decoded = decode(b"\xef\xbb\xbfm,a=\xff v=1 1\n", &HOW).unwrap();
    assert_eq!(line(&decoded.points[0].1), "m,a=\u{fffd} v=1.0 1\n");
    assert_eq!(decoded.warnings.kinds["invalid_utf8"].0, 1);
}

/// The strings on which other agents lose or split points, as tag and as text.
#[test]
fn nasty_strings_arrive() {
    let cases = [
        ("C:\\", "C:", "C:\\"),
        ("a\nb", "a b", "a\nb"),
        ("a\"b", "a\"b", "a\"b"),
        ("ключ", "ключ", "ключ"),
        ("", "", ""),
        ("\u{1b}[31mred\u{1b}[0m", "[31mred [0m", "\u{1b}[31mred\u{1b}[0m"),
        ("a,b=c d", "a,b=c d", "a,b=c d"),
        ("a\\,b", "a/,b", "a\\,b"),
    ];
    for (raw, tag, text) in cases {
        let fields = vec![("s".into(), Value::Str(raw.into()))];
        let point = Point::new(
            "m".into(),
            vec![("t".into(), raw.into())],
            fields,
            1,
            Category::Metric,
            &mut Warnings::default(),
        )
        .unwrap();
        let line = line(&point);
        let foreign = foreign(&line);
        let tags = if tag.is_empty() { vec![] } else { vec![("t".to_owned(), tag.to_owned())] };
        assert_eq!(foreign, ("m".to_owned(), tags, vec![("s".to_owned(), Value::Str(text.into()))], 1), "{raw:?}");
        assert_eq!(read(&line).points[0].1, point);
    }
}

type Parts = (String, Vec<(String, String)>, Vec<(String, Value<'static>)>, i64);

/// The only line of a body as the parser of InfluxDB 3 reads it.
fn foreign(body: &str) -> Parts {
    let mut lines = parse_lines(body);
    let line = lines.next().expect("one line").expect("a line that parses");
    assert!(lines.next().is_none(), "one line only: {body:?}");
    let tags = line.series.tag_set.iter().flatten().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let value = |value: &FieldValue<'_>| match value {
        FieldValue::I64(number) => Value::Int(*number),
        FieldValue::U64(number) => Value::Uint(*number),
        FieldValue::F64(number) => Value::Float(*number),
        FieldValue::String(text) => Value::Str(text.to_string().into()),
        FieldValue::Boolean(truth) => Value::Bool(*truth),
    };
    let fields = line.field_set.iter().map(|(key, field)| (key.to_string(), value(field))).collect();
    (line.series.measurement.to_string(), tags, fields, line.timestamp.unwrap())
}

fn parts(point: &Point) -> Parts {
    let point = point.clone().into_owned();
    let tags = point.tags().iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let fields = point.fields().iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    (point.measurement().to_owned(), tags, fields, point.time_ns())
}

/// Where lines end, one byte at a time.
fn slow_ends(text: &[u8]) -> Vec<usize> {
    enum Place {
        Series,
        Fields,
        Text,
    }
    let mut ends = Vec::new();
    let mut place = Place::Series;
    let mut at = 0;
    while at < text.len() {
        let byte = text[at];
        at += 1;
        match (&place, byte) {
            (Place::Text, b'\\') => at += 1,
            (Place::Text, b'"') => place = Place::Fields,
            (Place::Text, _) => {}
            (_, b'\n') => {
                ends.push(at);
                place = Place::Series;
            }
            (_, b'\\') => {
                while text.get(at) == Some(&b'\\') {
                    at += 1;
                }
                at += usize::from(at < text.len() && text[at] != b'\n');
            }
            (Place::Series, b' ') => place = Place::Fields,
            (Place::Fields, b'=') if text.get(at) == Some(&b'"') => {
                place = Place::Text;
                at += 1;
            }
            _ => {}
        }
    }
    ends
}

fn nasty() -> impl Strategy<Value = String> {
    let alphabet = prop::sample::select(vec![
        '\\', ',', '=', '"', ' ', '#', '\n', '\r', '\t', '\0', '\u{1b}', '\u{7f}', 'é', '😀', 'a', '1', '.',
    ]);
    prop::collection::vec(alphabet, 0..12).prop_map(|chars| chars.into_iter().collect())
}

fn value() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::Float),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::Uint),
        any::<bool>().prop_map(Value::Bool),
        nasty().prop_map(|text| Value::Str(text.into())),
    ]
}

fn point() -> impl Strategy<Value = Point<'static>> {
    let category = prop::sample::select(Category::ALL.to_vec());
    let tags = prop::collection::vec((nasty(), nasty()), 0..5);
    let fields = prop::collection::vec((nasty(), value()), 1..5);
    (nasty(), tags, fields, 1..=9_223_372_036_854_775_806_i64, category).prop_filter_map(
        "no field left",
        |(measurement, tags, fields, time, category)| {
            let tags = tags.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
            let fields = fields.into_iter().map(|(key, value)| (key.into(), value)).collect();
            Point::new(measurement.into(), tags, fields, time, category, &mut Warnings::default()).ok()
        },
    )
}

/// Bytes that look like line protocol more often than chance would have it.
fn linelike() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        &b"m"[..],
        b",a=b",
        b" ",
        b"v=",
        b"\"",
        b"\\",
        b"\n",
        b"\r\n",
        b"1i",
        b"1.5",
        b"true",
        b"[",
        b"]",
        b"#",
        b",",
        b"=",
        b"=\"",
        b"\xff",
        "é".as_bytes(),
        b"7",
        b"\0",
        b"m v=1 1\n",
    ]);
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn every_encoded_point_comes_back_equal(point in point()) {
        let line = line(&point);
        prop_assert_eq!(foreign(&line), parts(&point));
        let mut decoded = read(&line);
        prop_assert_eq!(&decoded.refused, &[]);
        prop_assert!(decoded.warnings.is_empty(), "{:?}", decoded.warnings);
        prop_assert_eq!(decoded.points.remove(0).1, point);
    }

    #[test]
    fn lines_end_where_they_were_written_to_end(points in prop::collection::vec(point(), 0..5)) {
        let mut text = Vec::new();
        let mut wanted = Vec::new();
        for point in &points {
            encode(point, &mut text);
            wanted.push(text.len());
        }
        prop_assert_eq!(&ends(&text), &wanted);
        prop_assert_eq!(&slow_ends(&text), &wanted);
    }

    #[test]
    fn ends_agrees_with_the_slow_way(text in linelike()) {
        prop_assert_eq!(ends(&text), slow_ends(&text));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(text in prop_oneof![linelike(), prop::collection::vec(any::<u8>(), 0..200)]) {
        ends(&text);
        let json = super::super::json::decode(&text, &HOW);
        prop_assert!(json.is_err() || !text.is_empty());
        let Ok(decoded) = decode(&text, &HOW) else { return Ok(()) };
        let mut indexes: Vec<usize> = decoded.points.iter().map(|(index, _)| *index).chain(decoded.refused.iter().map(|r| r.index)).collect();
        indexes.sort_unstable();
        prop_assert_eq!(indexes, (0..decoded.points.len() + decoded.refused.len()).collect::<Vec<_>>());
        for (_, point) in &decoded.points {
            let again = line(point);
            prop_assert_eq!(&read(&again).points[0].1, point);
        }
    }
}
