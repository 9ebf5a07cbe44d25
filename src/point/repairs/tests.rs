//! What becomes of odd points.

use super::fields::MAX_TEXT;
use super::part::{MAX_MEASUREMENT, MAX_TAG_VALUE};
use super::warnings::EXAMPLE_MAX;
use super::*;
use crate::point::Point;
use crate::point::{Category, Value};

/// What comes out: the point as a line with the time left out, and the kinds of warnings.
fn made(category: Category, measurement: &str, tags: &[(&str, &str)], fields: &[(&str, Value)]) -> (String, String) {
    let mut warnings = Warnings::default();
    let fields = fields.iter().map(|(key, value)| ((*key).into(), value.clone())).collect();
    let tags = tags.iter().map(|&(key, value)| (key.into(), value.into())).collect();
    let line = match Point::new(measurement.into(), tags, fields, 1, category, &mut warnings) {
        Ok(point) => {
            let mut line = Vec::new();
            crate::point::line::encode(&point, &mut line);
            String::from_utf8(line).unwrap().strip_suffix(" 1\n").unwrap().to_owned()
        }
        Err(unfit) => format!("{}: {unfit}", unfit.field),
    };
    (line, warnings.kinds.into_keys().collect::<Vec<_>>().join(" "))
}

fn metric(measurement: &str, tags: &[(&str, &str)], fields: &[(&str, Value)]) -> (String, String) {
    made(Category::Metric, measurement, tags, fields)
}

fn is(line: &str, kinds: &str) -> (String, String) {
    (line.to_owned(), kinds.to_owned())
}

const V: (&str, Value<'static>) = ("v", Value::Float(1.0));

#[test]
fn a_clean_point_has_no_warnings() {
    let fields =
        [V, ("i", Value::Int(-2)), ("u", Value::Uint(3)), ("b", Value::Bool(false)), ("s", Value::Str("x y".into()))];
    let line = r#"my.m,a=1,b\ c=é v=1.0,i=-2i,u=3u,b=false,s="x y""#;
    assert_eq!(metric("my.m", &[("b c", "é"), ("a", "1")], &fields), is(line, ""));
}

#[test]
fn an_empty_measurement_gets_datakits_name() {
    assert_eq!(metric("", &[], &[V]), is("__default v=1.0", "invalid_measurement"));
    assert_eq!(metric("\n", &[], &[V]), is("__default v=1.0", "invalid_measurement"));
    assert_eq!(metric("\\", &[], &[V]), is("__default v=1.0", "invalid_measurement"));
}

#[test]
fn a_measurement_never_starts_a_comment() {
    assert_eq!(metric("#top", &[], &[V]), is("_#top v=1.0", "invalid_measurement"));
    assert_eq!(metric("\n#top", &[], &[V]), is("_#top v=1.0", "invalid_measurement"));
    assert_eq!(metric(&"#".repeat(MAX_MEASUREMENT), &[], &[V]).0.len(), MAX_MEASUREMENT + " v=1.0".len());
}

#[test]
fn control_characters_become_one_space() {
    let (line, kinds) = metric("a\r\nb\u{1b}\u{7f}c", &[("k\n", "\tx\0y\n")], &[("f\ng", Value::Float(1.0))]);
    assert_eq!(line, r"a\ b\ c,k=x\ y f\ g=1.0");
    assert_eq!(kinds, "found_new_line_or_tail_escape invalid_field_key invalid_measurement invalid_tag_key");
}

#[test]
fn outer_spaces_without_control_characters_stay() {
    assert_eq!(metric(" m ", &[("a", " x ")], &[V]), is(r"\ m\ ,a=\ x\  v=1.0", ""));
}

#[test]
fn final_backslashes_go() {
    assert_eq!(metric("m\\", &[("a\\", "C:\\\\")], &[("v\\", Value::Float(1.0))]).0, "m,a=C: v=1.0");
    assert_eq!(metric("m", &[("a", "C:\\\n")], &[V]).0, "m,a=C: v=1.0");
}

#[test]
fn a_backslash_that_sinks_read_differently_becomes_a_slash() {
    assert_eq!(metric("m", &[("a", r"C:\Temp\x")], &[V]), is(r"m,a=C:\Temp\x v=1.0", ""));
    assert_eq!(metric("m", &[("a", r"\\srv\share")], &[V]), is(r"m,a=//srv\share v=1.0", "ambiguous_backslash"));
    assert_eq!(metric("m", &[("a", r"C:\ x")], &[V]), is(r"m,a=C:/\ x v=1.0", "ambiguous_backslash"));
    assert_eq!(metric(r"m\,n", &[(r"a\=b", r"x\,y")], &[V]), is(r"m/\,n,a/\=b=x/\,y v=1.0", "ambiguous_backslash"));
}

#[test]
fn text_values_are_kept_as_they_are() {
    let text = Value::Str("a\\b\\\"\n\u{1b}[31m\\".into());
    assert_eq!(metric("m", &[], &[("s", text)]), is("m s=\"a\\\\b\\\\\\\"\n\u{1b}[31m\\\\\"", ""));
}

#[test]
fn empty_tags_and_empty_keys_are_left_out() {
    assert_eq!(
        metric("m", &[("a", ""), ("b", "\n"), ("c", "x")], &[V]),
        is("m,c=x v=1.0", "empty_tag found_new_line_or_tail_escape")
    );
    assert_eq!(metric("m", &[("", "x")], &[V, ("", Value::Bool(true))]), is("m v=1.0", "field_disabled tag_disabled"));
    assert_eq!(metric("m", &[("v", "")], &[V]), is("m v=1.0", "empty_tag"));
}

#[test]
fn reserved_keys_are_renamed() {
    let tags = [("time", "x"), ("_field", "y"), ("_measurement", "z")];
    let line = "m,_field_=y,_measurement_=z,time_=x v=1.0,_field=1.0";
    assert_eq!(metric("m", &tags, &[V, ("_field", Value::Float(1.0))]), is(line, "reserved_key"));
    assert_eq!(metric("m", &[], &[("time", Value::Float(1.0)), ("time\n", Value::Float(2.0))]).0, "m time_=1.0");
}

#[test]
fn the_last_duplicate_wins_and_an_exact_key_wins_over_a_repaired_one() {
    let two = [("v", Value::Float(1.0)), ("w", Value::Float(2.0)), ("v", Value::Float(3.0))];
    assert_eq!(metric("m", &[("a", "1"), ("a", "2")], &two), is("m,a=2 v=3.0,w=2.0", "duplicate_key"));
    let dots = [("a_b", Value::Bool(true)), ("a.b", Value::Bool(false)), ("status", Value::Bool(true))];
    assert_eq!(made(Category::Logging, "m", &[], &dots).0, "m a_b=true,status=true");
    let dots = [("a.b", Value::Bool(false)), ("a_b", Value::Bool(true)), ("status", Value::Bool(true))];
    assert_eq!(made(Category::Logging, "m", &[], &dots).0, "m a_b=true,status=true");
}

#[test]
fn duplicates_are_found_among_many_keys() {
    let keys: Vec<String> = (0..100).map(|n| format!("k{}", n % 60)).collect();
    let fields: Vec<(&str, Value)> =
        keys.iter().enumerate().map(|(n, key)| (key.as_str(), Value::Int(n as i64))).collect();
    let (line, kinds) = metric("m", &[], &fields);
    assert_eq!((line.matches('=').count(), kinds.as_str()), (60, "duplicate_key"));
    assert!(line.contains("k39=99i") && line.contains("k40=40i"), "{line}");
}

#[test]
fn a_tag_wins_over_a_field() {
    assert_eq!(metric("m", &[("v", "x")], &[V, ("w", Value::Float(2.0))]), is("m,v=x w=2.0", "tag_and_field"));
    assert_eq!(
        metric("m", &[("v", "x")], &[V]).0,
        "fields: the point has no field with a value; it must have at least one"
    );
}

#[test]
fn what_is_too_long_is_cut_at_a_character_border() {
    let long = "é".repeat(1000);
    let (line, kinds) = metric(
        &("x".to_owned() + &long),
        &[(&("k".to_owned() + &long), &("v".to_owned() + &long))],
        &[(&long, Value::Bool(true))],
    );
    let wanted = format!("x{},k{}=v{} {}=true", "é".repeat(511), "é".repeat(127), "é".repeat(511), "é".repeat(128));
    assert_eq!(line, wanted);
    assert_eq!(kinds, "exceed_max_field_key_len exceed_max_tag_key_len exceed_max_tag_value_len invalid_measurement");
}

#[test]
fn a_cut_never_ends_in_a_backslash() {
    let value = "x".repeat(MAX_TAG_VALUE - 1) + "\\yz";
    assert_eq!(metric("m", &[("a", &value)], &[V]).0, format!("m,a={} v=1.0", "x".repeat(MAX_TAG_VALUE - 1)));
}

#[test]
fn a_long_text_is_cut() {
    let (line, kinds) = metric("m", &[], &[("s", Value::Str(("x".repeat(MAX_TEXT - 1) + "é").into()))]);
    assert_eq!((line.len(), kinds.as_str()), (MAX_TEXT - 1 + "m s=\"\"".len(), "exceed_max_field_value_len"));
}

#[test]
fn the_first_fields_and_tags_survive_the_limit() {
    let keys: Vec<String> = (0..2000).rev().map(|n| format!("k{n:04}")).collect();
    let tags: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "x")).collect();
    let fields: Vec<(String, Value)> = keys.iter().map(|key| (format!("f{key}"), Value::Bool(true))).collect();
    let fields: Vec<(&str, Value)> = fields.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    let (line, kinds) = metric("m", &tags, &fields);
    assert_eq!(kinds, "exceed_max_fields exceed_max_tags");
    let (series, fields) = line.split_once(' ').unwrap();
    assert!(series.starts_with("m,k1744=x,k1745=x") && series.ends_with(",k1999=x"));
    assert!(fields.starts_with("fk1999=true,") && fields.ends_with(",fk0976=true"));
    let (line, _) = made(
        Category::Logging,
        "m",
        &[],
        &keys.iter().map(|key| (key.as_str(), Value::Bool(true))).collect::<Vec<_>>(),
    );
    assert!(line.ends_with(",k0977=true,status=\"info\""), "the required key has its place");
}

#[test]
fn each_category_has_its_own_keys() {
    let tags = [("a.b", "1"), ("source", "2"), ("class", "3"), ("date", "4")];
    let fields = [("c.d", Value::Bool(true))];
    let kinds = "add_required_kv dot_in_key tag_disabled";
    assert_eq!(made(Category::Logging, "m", &tags, &fields), is("m,a_b=1,class=3 c_d=true,status=\"info\"", kinds));
    assert_eq!(made(Category::Object, "m", &tags, &fields), is("m,a_b=1,source=2 c_d=true,name=\"default\"", kinds));
    for category in
        Category::ALL.into_iter().filter(|category| !matches!(category, Category::Logging | Category::Object))
    {
        assert_eq!(made(category, "m", &tags, &fields), is("m,a.b=1,class=3,date=4,source=2 c.d=true", ""));
    }
}

#[test]
fn a_required_key_may_be_a_tag_or_a_field_of_any_type() {
    assert_eq!(made(Category::Object, "m", &[("name", "n")], &[V]), is("m,name=n v=1.0", ""));
    assert_eq!(made(Category::Logging, "m", &[], &[("status", Value::Int(1))]), is("m status=1i", ""));
    assert_eq!(made(Category::Logging, "m", &[], &[]), is("m status=\"info\"", "add_required_kv"));
}

#[test]
fn a_point_that_cannot_be_stored_is_refused_with_the_reason() {
    assert_eq!(metric("m", &[], &[]).0, "fields: the point has no field with a value; it must have at least one");
    assert_eq!(
        metric("m", &[], &[V, ("x", Value::Float(f64::NAN))]).0,
        "fields.x: `fields.x` is NaN; it must be a finite number, or be left out"
    );
    assert!(metric("m", &[], &[("x", Value::Float(f64::NEG_INFINITY))]).0.contains("is -inf; "));
    for time in [i64::MAX, i64::MIN, i64::MIN + 1] {
        let unfit =
            Point::new("m".into(), vec![], vec![("v".into(), V.1)], time, Category::Metric, &mut Warnings::default())
                .unwrap_err();
        assert_eq!(unfit.field, "time");
    }
}

#[test]
fn a_series_key_that_no_sink_takes_is_refused() {
    let keys: Vec<String> = (0..100).map(|n| format!("k{n:03}")).collect();
    let series = |value: &str| metric("m", &keys.iter().map(|key| (key.as_str(), value)).collect::<Vec<_>>(), &[V]).0;
    // 1 + 100 * (6 + length) bytes.
    assert!(series(&"x".repeat(649)).starts_with("m,k000=xxx"));
    assert_eq!(series(&"x".repeat(650)), "tags: measurement and tags take 65601 bytes; they must fit into 65535");
    assert_eq!(series(&" ".repeat(325)), "tags: measurement and tags take 65601 bytes; they must fit into 65535");
}

#[test]
fn a_global_tag_is_added_where_the_key_is_free() {
    let mut point = Point::new(
        "m".into(),
        vec![("b".into(), "x".into())],
        vec![("host".into(), V.1)],
        1,
        Category::Metric,
        &mut Warnings::default(),
    )
    .unwrap();
    assert!(point.tag("b").is_some() && point.field("host").is_some());
    assert!(point.tag("a").is_none() && point.field("a").is_none());
    assert!(!point.add_tag_if_absent("b", "y"));
    assert!(!point.add_tag_if_absent("host", "y"), "a field suppresses the tag too");
    assert!(!point.add_tag_if_absent("empty", "\n"));
    assert!(point.add_tag_if_absent("a", "C:\\\n"));
    assert!(point.add_tag_if_absent("c", "z"));
    let tags: Vec<(&str, &str)> = point.tags().iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect();
    assert_eq!(tags, [("a", "C:"), ("b", "x"), ("c", "z")]);
}

#[test]
fn a_global_tag_never_breaks_a_limit() {
    let tags = (0..MAX_TAGS).map(|n| (format!("k{n}").into(), "x".into())).collect();
    let mut full =
        Point::new("m".into(), tags, vec![("v".into(), V.1)], 1, Category::Metric, &mut Warnings::default()).unwrap();
    assert!(!full.add_tag_if_absent("host", "h"));
    let tags = (0..65).map(|n| (format!("k{n}").into(), "x".repeat(1000).into())).collect();
    let mut long =
        Point::new("m".into(), tags, vec![("v".into(), V.1)], 1, Category::Metric, &mut Warnings::default()).unwrap();
    let host = "h".repeat(1000);
    assert!(!long.add_tag_if_absent("host", &host));
    assert_eq!(long.tag("host"), None);
}

#[test]
fn a_replaced_field_stays_finite() {
    let mut point =
        Point::new("m".into(), vec![], vec![("v".into(), V.1)], 1, Category::Metric, &mut Warnings::default()).unwrap();
    assert!(!point.replace_field("v", Value::Float(f64::NAN)));
    assert!(!point.replace_field("w", Value::Bool(true)));
    assert!(point.replace_field("v", Value::Bool(true)));
    assert_eq!(point.field("v"), Some(&Value::Bool(true)));
}

#[test]
fn warnings_count_and_keep_the_first_example() {
    let mut warnings = Warnings::default();
    assert!(warnings.is_empty());
    warnings.add("empty_tag", "tags.a", "first");
    warnings.add("empty_tag", "tags.a", "second");
    warnings.add("empty_tag", "tags.b", "of b");
    let mut other = Warnings::default();
    other.add("empty_tag", "tags.a", &"é".repeat(1000));
    other.add("dot_in_key", "tags.c.d", "third");
    other.count("add_required_kv", "nobody is told");
    other.merge(warnings);
    assert_eq!(other.kinds["empty_tag"].0, 4);
    let told: Vec<(&str, &str)> = other.repairs().iter().map(|told| (told.kind, told.key.as_str())).collect();
    assert_eq!(told, [("empty_tag", "tags.a"), ("dot_in_key", "tags.c.d"), ("empty_tag", "tags.b")]);
    assert_eq!(other.kinds["empty_tag"].1.len(), EXAMPLE_MAX);
    assert_eq!(other.kinds["dot_in_key"], (1, "third".to_owned()));
}
