//! The untrusted JSON body of a write request to points, in one pass.
//!
//! The first pass reads the whole body with visitors of our own, straight into points, and gives up at the first fault. Only then the body
//! is cut into its elements and each is read alone, so that index, text and reason of each refused point are exact and one bad point does
//! not spoil the rest. What is not JSON at all has no elements: it is refused whole, with line and column.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::repairs::{Unfit, shown};
use super::{BodyFault, Decoded, Decoding, Field, Point, Refusal, Tag, Text, Value, Warnings, text_of, time};

/// Reads a DataKit JSON body: an array of `{"measurement","tags","fields","time"}`.
///
/// Keys are matched without regard to case, unknown keys are ignored. A point in the form of DataKit's protobuf JSON
/// (`{"name","fields":[{"key","i"|"u"|"f"|"b"|"s"|"d"|"a","is_tag"}],"time"}`) is taken in the same array.
///
/// # Errors
/// When the body as a whole cannot be read; a single bad point is in `Decoded::refused` instead.
pub fn decode<'t>(body: &'t [u8], how: &Decoding) -> Result<Decoded<'t>, BodyFault> {
    let mut warnings = Warnings::default();
    let mut decoded = match text_of(body, &mut warnings) {
        Text::Borrowed(text) => decode_text(text, how)?,
        Text::Owned(text) => decode_text(&text, how)?.into_owned(),
    };
    decoded.warnings.merge(warnings);
    Ok(decoded)
}

fn decode_text<'t>(text: &'t str, how: &Decoding) -> Result<Decoded<'t>, BodyFault> {
    check_outline(text)?;
    let decoded = match read_whole(text, how) {
        Some(decoded) => decoded,
        None => read_one_by_one(text, how)?,
    };
    if decoded.points.is_empty() && decoded.refused.is_empty() {
        return Err(no_points());
    }
    Ok(decoded)
}

/// Writes points as DataKit's JSON body, with times in nanoseconds.
pub fn encode(points: &[Point]) -> Vec<u8> {
    let mut out = vec![b'['];
    for (at, point) in points.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"measurement\":");
        write_json(&mut out, point.measurement());
        out.extend_from_slice(b",\"tags\":");
        encode_map(&mut out, point.tags(), |out, value| write_json(out, value.as_ref()));
        out.extend_from_slice(b",\"fields\":");
        encode_map(&mut out, point.fields(), encode_value);
        out.extend_from_slice(b",\"time\":");
        write_json(&mut out, &point.time_ns());
        out.push(b'}');
    }
    out.push(b']');
    out
}

fn encode_map<V>(out: &mut Vec<u8>, entries: &[(Text, V)], encode: impl Fn(&mut Vec<u8>, &V)) {
    out.push(b'{');
    for (at, (key, value)) in entries.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_json(out, key);
        out.push(b':');
        encode(out, value);
    }
    out.push(b'}');
}

pub(super) fn encode_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Float(number) => write_json(out, number),
        Value::Int(number) => write_json(out, number),
        Value::Uint(number) => write_json(out, number),
        Value::Bool(truth) => write_json(out, truth),
        Value::Str(text) => write_json(out, text),
    }
}

fn write_json(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("text and finite numbers can be written to memory");
}

/// Refuses a body that is no array before anything else is read.
fn check_outline(text: &str) -> Result<(), BodyFault> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    let kind = match text.bytes().next() {
        None => {
            return Err(BodyFault::new("datakit.emptyBody", "the body is empty; it must be a JSON array of points"));
        }
        Some(b'[') => return Ok(()),
        Some(b'{') => "an object",
        Some(b'"') => "text",
        Some(b't' | b'f') => "a boolean",
        Some(_) => "a number",
    };
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| no_json(text, &error))?;
    if text == "null" {
        return Err(no_points());
    }
    let message =
        format!("the body is {kind}; it must be a JSON array of points: wrap a single point in an array, `[{{...}}]`");
    Err(BodyFault::new("datakit.invalidJsonPoint", message))
}

fn no_points() -> BodyFault {
    BodyFault::new("datakit.noPoints", "the body holds no points; it must be a JSON array of at least one point")
}

pub(crate) fn no_json(text: &str, error: &serde_json::Error) -> BodyFault {
    let line = text.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let rest = line.get(error.column().saturating_sub(1)..).unwrap_or_default();
    let number = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| {
        // The column is that of the first byte that cannot be: the `N` of `NaN`, the `I` of `-Infinity`.
        rest.starts_with(word.trim_start_matches('-'))
    });
    let hint = number.map_or("", |_| "; JSON has no NaN and no infinity: leave such a field out");
    BodyFault::new("datakit.invalidJSON", format!("the body is not JSON: {error}{hint}"))
}

/// The fast way; `None` at the first fault.
fn read_whole<'t>(text: &'t str, how: &Decoding) -> Option<Decoded<'t>> {
    let mut reader = Reader::new(how);
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_seq(Points(&mut reader)).ok()?;
    json.end().ok()?;
    Some(reader.finish())
}

/// The exact way; fails only when the body is no JSON array.
fn read_one_by_one<'t>(text: &'t str, how: &Decoding) -> Result<Decoded<'t>, BodyFault> {
    let elements: Vec<&'t RawValue> = serde_json::from_str(text).map_err(|error| no_json(text, &error))?;
    let mut reader = Reader::new(how);
    for (index, element) in elements.into_iter().map(RawValue::get).enumerate() {
        if let Err(unfit) = reader.element(index, element) {
            reader.decoded.refused.push(Refusal::new(index, unfit, element));
        }
    }
    Ok(reader.finish())
}

/// What has been read so far.
struct Reader<'t> {
    how: Decoding,
    decoded: Decoded<'t>,
    /// Places in `decoded.points` of those that came without a time.
    untimed: Vec<usize>,
    /// What serde's error cannot carry: the field at fault.
    fault: Option<Unfit>,
}

impl<'t> Reader<'t> {
    fn new(how: &Decoding) -> Self {
        Self { how: *how, decoded: Decoded::default(), untimed: Vec::new(), fault: None }
    }

    fn finish(mut self) -> Decoded<'t> {
        time::spread(&mut self.decoded.points, &self.untimed, self.how.now_ns);
        self.decoded
    }

    fn element(&mut self, index: usize, element: &'t str) -> Result<(), Unfit> {
        match self.draft(element) {
            Ok(draft) => self.take(index, draft),
            Err(unfit) => {
                // Python writes undecodable bytes of file names as lone surrogates; DataKit reads each as U+FFFD.
                let mended = with_whole_surrogates(element).ok_or(unfit)?;
                self.decoded.warnings.add(
                    "invalid_utf8",
                    "",
                    "a lone surrogate (`\\ud800` to `\\udfff`) became U+FFFD",
                );
                self.mended_element(index, &mended)
            }
        }
    }

    /// Takes a point whose text does not live as long as the body.
    fn mended_element(&mut self, index: usize, mended: &str) -> Result<(), Unfit> {
        let mut reader = Reader::new(&self.how);
        let taken = reader.draft(mended).and_then(|draft| reader.take(index, draft));
        if !reader.untimed.is_empty() {
            self.untimed.push(self.decoded.points.len());
        }
        let Decoded { points, warnings, .. } = reader.decoded.into_owned();
        self.decoded.points.extend(points);
        self.decoded.warnings.merge(warnings);
        taken
    }

    fn draft(&mut self, element: &'t str) -> Result<Draft<'t>, Unfit> {
        self.fault = None;
        let mut json = serde_json::Deserializer::from_str(element);
        let read = json.deserialize_any(OnePoint(self));
        read.map_err(|error| self.fault.take().unwrap_or_else(|| unfit("", &error.to_string())))
    }

    /// Makes the point; where the times of points are fixed.
    fn take(&mut self, index: usize, draft: Draft<'t>) -> Result<(), Unfit> {
        let time = draft.time(&self.how)?;
        draft.tell_unknown(&mut self.decoded.warnings);
        if time.is_none()
            && let Some(given) = draft.given_time()
        {
            time::tell_replaced(&given, &mut self.decoded.warnings);
        }
        let measurement = draft.measurement.or(draft.name.map(Text::Owned)).unwrap_or_default();
        let time_ns = time.unwrap_or(self.how.now_ns);
        let point =
            Point::new(measurement, draft.tags, draft.fields, time_ns, self.how.category, &mut self.decoded.warnings)?;
        if time.is_none() {
            self.untimed.push(self.decoded.points.len());
        }
        self.decoded.points.push((index, point));
        Ok(())
    }

    /// Remembers the innermost field at fault; costs nothing while all is well.
    fn blame<E: fmt::Display>(&mut self, field: impl FnOnce() -> String, error: E) -> E {
        if self.fault.is_none() {
            self.fault = Some(unfit(&field(), &error.to_string()));
        }
        error
    }
}

/// The fault in our words: serde says what came and what was expected, we know where.
pub(crate) fn unfit(field: &str, error: &str) -> Unfit {
    let said = error.rfind(" at line ").map_or(error, |end| &error[..end]);
    let subject = if field.is_empty() { "the point".to_owned() } else { format!("`{field}`") };
    let mismatch = said.strip_prefix("invalid type: ").and_then(|said| said.rsplit_once(", expected "));
    let reason = match mismatch {
        Some((came, wanted)) => format!("{subject} is {}; it must be {wanted}", in_json_words(came)),
        None if said.starts_with("recursion limit") => format!("{subject} is nested deeper than 127 levels"),
        None => format!("{subject} cannot be read: {}", shown(said)),
    };
    Unfit::new(field, reason)
}

fn in_json_words(came: &str) -> String {
    let value = ["string ", "integer ", "floating point ", "boolean "].iter().find_map(|kind| came.strip_prefix(kind));
    match (value, came) {
        (Some(value), _) => shown(value.trim_matches('`')),
        (None, "sequence") => "an array".to_owned(),
        (None, "map") => "an object".to_owned(),
        (None, _) => shown(came),
    }
}

/// Replaces each `\ud800` … `\udfff` without its other half; `None` when there is none.
pub(crate) fn with_whole_surrogates(text: &str) -> Option<String> {
    let mut mended = text.to_owned();
    let mut changed = false;
    let mut at = 0;
    while let Some(found) = text[at..].find('\\') {
        at += found;
        at += match (surrogate(text, at), surrogate(text, at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(_), _) => {
                mended.replace_range(at..at + 6, "\\ufffd");
                changed = true;
                6
            }
            // The byte after the backslash is ASCII in anything that the JSON reader has let through.
            (None, _) => 2,
        };
    }
    changed.then_some(mended)
}

fn surrogate(text: &str, at: usize) -> Option<u32> {
    let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
    let code = u32::from_str_radix(digits, 16).ok()?;
    (0xd800..=0xdfff).contains(&code).then_some(code)
}

/// A point as it was written.
#[derive(Default)]
struct Draft<'t> {
    measurement: Option<Text<'t>>,
    /// The measurement of a point in protobuf JSON; in others an unknown key.
    name: Option<String>,
    /// Keys that no point has.
    unknown: Vec<String>,
    tags: Vec<Tag<'t>>,
    fields: Vec<Field<'t>>,
    time: RawTime,
    is_protobuf: bool,
}

#[derive(Default)]
enum RawTime {
    #[default]
    Missing,
    Integer(i128),
    Float(f64),
    Text(String),
}

const TIME_WANTED: &str = "a number: seconds, milliseconds, microseconds or nanoseconds since 1970";

impl Draft<'_> {
    fn tell_unknown(&self, warnings: &mut Warnings) {
        for key in &self.unknown {
            let what =
                format!("key `{key}` of the point was left out: its keys are measurement, tags, fields and time");
            warnings.add("unknown_key", key, &what);
        }
    }

    /// The time as it was written; `None` where there is none.
    fn given_time(&self) -> Option<String> {
        match &self.time {
            RawTime::Missing => None,
            RawTime::Integer(number) => Some(number.to_string()),
            RawTime::Float(number) => Some(number.to_string()),
            RawTime::Text(text) => Some(shown(text)),
        }
    }

    fn time(&self, how: &Decoding) -> Result<Option<i64>, Unfit> {
        let precision = if self.is_protobuf { Some(super::Precision::Ns) } else { how.precision };
        match &self.time {
            RawTime::Missing => Ok(None),
            RawTime::Integer(number) => time::from_integer(*number, precision),
            RawTime::Float(number) => time::from_float(*number, precision),
            RawTime::Text(text) => match text.parse() {
                Ok(number) if self.is_protobuf => time::from_integer(number, precision),
                _ => Err(Unfit::new("time", format!("`time` is \"{}\"; it must be {TIME_WANTED}", shown(text)))),
            },
        }
    }
}

struct Points<'r, 't>(&'r mut Reader<'t>);

impl<'de> Visitor<'de> for Points<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of points")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut index = 0;
        while let Some(draft) = seq.next_element_seed(Any(OnePoint(self.0)))? {
            self.0.take(index, draft).map_err(A::Error::custom)?;
            index += 1;
        }
        Ok(())
    }
}

/// Reads whatever comes with this visitor.
pub(crate) struct Any<V>(pub V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Any<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<V::Value, D::Error> {
        json.deserialize_any(self.0)
    }
}

struct OnePoint<'r, 't>(&'r mut Reader<'t>);

impl<'de> Visitor<'de> for OnePoint<'_, 'de> {
    type Value = Draft<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with measurement, tags, fields and time")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Draft<'de>, A::Error> {
        let Self(reader) = self;
        let mut draft = Draft::default();
        while let Some(key) = map.next_key_seed(Any(PointKey))? {
            match key {
                Key::Measurement => {
                    let read = map.next_value_seed(Any(NullableText));
                    draft.measurement = read.map_err(|error| reader.blame(|| "measurement".to_owned(), error))?;
                }
                Key::Tags => {
                    let read = map.next_value_seed(Any(Tags(&mut *reader)));
                    draft.tags = read.map_err(|error| reader.blame(|| "tags".to_owned(), error))?;
                }
                Key::Fields => {
                    let read = map.next_value_seed(Any(Fields { reader: &mut *reader, draft: &mut draft }));
                    read.map_err(|error| reader.blame(|| "fields".to_owned(), error))?;
                }
                Key::Time => {
                    let read = map.next_value_seed(Any(Time));
                    draft.time = read.map_err(|error| reader.blame(|| "time".to_owned(), error))?;
                }
                Key::Name => draft.name = map.next_value::<serde_json::Value>()?.as_str().map(str::to_owned),
                Key::Unknown(name) => {
                    draft.unknown.push(name);
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if draft.is_protobuf {
            // Its form has more keys than we use.
            draft.unknown.clear();
        } else if draft.name.take().is_some() {
            draft.unknown.push("name".to_owned());
        }
        Ok(draft)
    }
}

enum Key {
    Measurement,
    Tags,
    Fields,
    Time,
    Name,
    Unknown(String),
}

struct PointKey;

impl Visitor<'_> for PointKey {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Key, E> {
        let is = |name: &str| key.eq_ignore_ascii_case(name);
        Ok(match key.len() {
            11 if is("measurement") => Key::Measurement,
            4 if is("tags") => Key::Tags,
            6 if is("fields") => Key::Fields,
            4 if is("time") => Key::Time,
            4 if is("name") => Key::Name,
            _ => Key::Unknown(shown(key)),
        })
    }
}

struct NullableText;

impl<'de> Visitor<'de> for NullableText {
    type Value = Option<Text<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Text::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Text::Owned(text.to_owned())))
    }
}

/// A key of tags or fields.
pub(crate) struct Name;

impl<'de> Visitor<'de> for Name {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text::Owned(text.to_owned()))
    }
}

struct Time;

impl Visitor<'_> for Time {
    type Value = RawTime;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TIME_WANTED)
    }

    fn visit_unit<E: Error>(self) -> Result<RawTime, E> {
        Ok(RawTime::Missing)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<RawTime, E> {
        Ok(RawTime::Integer(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<RawTime, E> {
        Ok(RawTime::Integer(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<RawTime, E> {
        Ok(RawTime::Float(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RawTime, E> {
        Ok(RawTime::Text(text.to_owned()))
    }
}

struct Tags<'r, 't>(&'r mut Reader<'t>);

impl<'de> Visitor<'de> for Tags<'_, 'de> {
    type Value = Vec<Tag<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self(reader) = self;
        let mut tags = Vec::with_capacity(8);
        while let Some(key) = map.next_key_seed(Any(Name))? {
            let read = map.next_value_seed(Any(TagValue));
            let value = match read.map_err(|error| reader.blame(|| format!("tags.{}", shown(&key)), error))? {
                TagText::Absent => continue,
                TagText::Text(value) => value,
                TagText::Converted(value) => {
                    warn_not_text(&key, &value, &mut reader.decoded.warnings);
                    Text::Owned(value)
                }
            };
            tags.push((key, value));
        }
        Ok(tags)
    }
}

pub(crate) fn warn_not_text(key: &str, value: &str, warnings: &mut Warnings) {
    let key = shown(key);
    warnings.add("tag_not_text", &format!("tags.{key}"), &format!("tag `{key}` is {value} and was taken as text"));
}

pub(crate) enum TagText<'t> {
    Absent,
    Text(Text<'t>),
    /// A number or boolean.
    Converted(String),
}

pub(crate) struct TagValue;

impl<'de> Visitor<'de> for TagValue {
    type Value = TagText<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(TagText::Absent)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Self::Value, E> {
        Ok(TagText::Converted(truth.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(TagText::Converted(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(TagText::Converted(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(TagText::Converted(format!("{number:?}")))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(TagText::Text(Text::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(TagText::Text(Text::Owned(text.to_owned())))
    }
}

/// `fields`: an object, or the list of a point in protobuf JSON, which holds the tags too.
struct Fields<'r, 'd, 't> {
    reader: &'r mut Reader<'t>,
    draft: &'d mut Draft<'t>,
}

impl<'de> Visitor<'de> for Fields<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of values")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.draft.fields.clear();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { reader, draft } = self;
        draft.fields = Vec::with_capacity(8);
        while let Some(key) = map.next_key_seed(Any(Name))? {
            let read = map.next_value_seed(FieldValue { integers_as_floats: reader.how.integers_as_floats });
            match read.map_err(|error| reader.blame(|| format!("fields.{}", shown(&key)), error))? {
                Read::Null => {}
                Read::Plain(value) => draft.fields.push((key, value)),
                Read::Nested(json) => {
                    warn_nested(&key, &json, &mut reader.decoded.warnings);
                    draft.fields.push((key, Value::Str(json.into())));
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { reader, draft } = self;
        draft.is_protobuf = true;
        (draft.tags, draft.fields) = (Vec::new(), Vec::new());
        while let Some(entry) = seq.next_element::<ProtobufField<'de>>()? {
            let field = format!("fields.{}", shown(&entry.key));
            let read = entry.put(draft, reader).map_err(A::Error::custom);
            read.map_err(|error| reader.blame(|| field, error))?;
        }
        Ok(())
    }
}

pub(super) fn warn_nested(key: &str, json: &str, warnings: &mut Warnings) {
    let key = shown(key);
    let what = format!("field `{key}` is nested and was kept as JSON text: {}", shown(json));
    warnings.add("nested_value", &format!("fields.{key}"), &what);
}

enum Read<'t> {
    Null,
    Plain(Value<'t>),
    /// The JSON text of an array or object.
    Nested(String),
}

#[derive(Clone, Copy)]
struct FieldValue {
    integers_as_floats: bool,
}

impl<'de> DeserializeSeed<'de> for FieldValue {
    type Value = Read<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Read<'de>, D::Error> {
        if self.integers_as_floats {
            return json.deserialize_any(self);
        }
        // serde_json turns an integer beyond 64 bits into a float without a word; only the text tells.
        let text = <&'de RawValue>::deserialize(json)?.get();
        let is_integer = text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && !text.contains(['.', 'e', 'E']);
        if is_integer && text.parse::<i64>().is_err() && text.parse::<u64>().is_err() {
            return Err(D::Error::custom(format_args!(
                "invalid type: {text}, expected an integer of at most 64 bits, or a float"
            )));
        }
        serde_json::Deserializer::from_str(text).deserialize_any(self).map_err(D::Error::custom)
    }
}

impl<'de> Visitor<'de> for FieldValue {
    type Value = Read<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Read::Null)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Self::Value, E> {
        Ok(Read::Plain(Value::Bool(truth)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Read::Plain(if self.integers_as_floats { Value::Float(number as f64) } else { Value::Int(number) }))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        let exact = || i64::try_from(number).map_or(Value::Uint(number), Value::Int);
        Ok(Read::Plain(if self.integers_as_floats { Value::Float(number as f64) } else { exact() }))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Read::Plain(Value::Float(number)))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Read::Plain(Value::Str(Text::Borrowed(text))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Read::Plain(Value::Str(Text::Owned(text.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        let mut json = Vec::new();
        Compact(&mut json).visit_seq(seq)?;
        Ok(Read::Nested(into_text(json)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let mut json = Vec::new();
        Compact(&mut json).visit_map(map)?;
        Ok(Read::Nested(into_text(json)))
    }
}

fn into_text(json: Vec<u8>) -> String {
    String::from_utf8(json).expect("JSON written from text is UTF-8")
}

/// Writes whatever comes as JSON without spaces, keys in the order given. serde_json bounds the depth.
struct Compact<'o>(&'o mut Vec<u8>);

impl<'de> Visitor<'de> for Compact<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.extend_from_slice(b"null");
        Ok(())
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<(), E> {
        write_json(self.0, &truth);
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        write_json(self.0, &number);
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        write_json(self.0, &number);
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        write_json(self.0, &number);
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        write_json(self.0, text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.push(b'[');
        let start = self.0.len();
        while seq.next_element_seed(CompactItem { out: self.0, start })?.is_some() {}
        self.0.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.0.push(b'{');
        let start = self.0.len();
        while let Some(key) = map.next_key_seed(Any(Name))? {
            if self.0.len() > start {
                self.0.push(b',');
            }
            write_json(self.0, key.as_ref());
            self.0.push(b':');
            map.next_value_seed(Any(Compact(self.0)))?;
        }
        self.0.push(b'}');
        Ok(())
    }
}

struct CompactItem<'o> {
    out: &'o mut Vec<u8>,
    /// Where the array began: a comma goes before every item but the first.
    start: usize,
}

impl<'de> DeserializeSeed<'de> for CompactItem<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        if self.out.len() > self.start {
            self.out.push(b',');
        }
        json.deserialize_any(Compact(self.out))
    }
}

/// An entry of the list of a point in protobuf JSON; the value has one of seven names.
#[derive(Deserialize)]
struct ProtobufField<'a> {
    key: String,
    #[serde(default, borrow)]
    i: Option<&'a RawValue>,
    #[serde(default, borrow)]
    u: Option<&'a RawValue>,
    #[serde(default)]
    f: Option<f64>,
    #[serde(default)]
    b: Option<bool>,
    #[serde(default)]
    s: Option<String>,
    /// Bytes in base64.
    #[serde(default)]
    d: Option<String>,
    #[serde(default, borrow)]
    a: Option<&'a RawValue>,
    #[serde(default)]
    is_tag: bool,
}

impl ProtobufField<'_> {
    fn put<'t>(self, draft: &mut Draft<'t>, reader: &mut Reader<'t>) -> Result<(), String> {
        let Some(value) = value_of(&self, reader)? else { return Ok(()) };
        if !self.is_tag {
            draft.fields.push((self.key.into(), value));
            return Ok(());
        }
        let text = match value {
            Value::Str(text) => text,
            Value::Float(number) => format!("{number:?}").into(),
            Value::Int(number) => number.to_string().into(),
            Value::Uint(number) => number.to_string().into(),
            Value::Bool(truth) => truth.to_string().into(),
        };
        if self.s.is_none() {
            warn_not_text(&self.key, &text, &mut reader.decoded.warnings);
        }
        draft.tags.push((self.key.into(), text));
        Ok(())
    }
}

/// The one value of an entry. Its integers are typed by the sender and stay integers.
fn value_of(entry: &ProtobufField<'_>, reader: &mut Reader) -> Result<Option<Value<'static>>, String> {
    if let Some(text) = entry.i {
        let number = text
            .get()
            .trim_matches('"')
            .parse()
            .map_err(|_| format!("`i` is {}; it must be a signed integer of 64 bits", shown(text.get())))?;
        return Ok(Some(Value::Int(number)));
    }
    if let Some(text) = entry.u {
        let number = text
            .get()
            .trim_matches('"')
            .parse()
            .map_err(|_| format!("`u` is {}; it must be an unsigned integer of 64 bits", shown(text.get())))?;
        return Ok(Some(Value::Uint(number)));
    }
    if let Some(text) = entry.a {
        let mut json = Vec::new();
        serde_json::Deserializer::from_str(text.get())
            .deserialize_any(Compact(&mut json))
            .map_err(|error| error.to_string())?;
        let json = into_text(json);
        warn_nested(&entry.key, &json, &mut reader.decoded.warnings);
        return Ok(Some(Value::Str(json.into())));
    }
    let number = entry.f.map(Value::Float);
    let truth = entry.b.map(Value::Bool);
    let text = entry.s.as_ref().or(entry.d.as_ref()).map(|text| Value::Str(text.clone().into()));
    Ok(number.or(truth).or(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::point::{Category, Precision, line};

    const NOW: i64 = 1_700_000_000_000_000_000;
    const HOW: Decoding =
        Decoding { category: Category::Metric, precision: None, now_ns: NOW, integers_as_floats: true };
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
        let body =
            r#"[{"measurement": "s", "tags": null, "fields": {"message": "hi", "status": "error"}, "time": null}]"#;
        assert_eq!(
            lines(&read(body, &Decoding { category: Category::Logging, ..HOW })),
            ["s message=\"hi\",status=\"error\" now"]
        );
    }

    #[test]
    fn keys_are_matched_without_case_in_any_order_and_unknown_ones_are_ignored() {
        let body =
            r#"[{"TIME":1,"Fields":{"v":true},"x":{"y":[1e999]},"name":"n","mEasurement":"m","TAGS":{"a":"b"}}]"#;
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
        let reason =
            "fields.a: `fields.a` is 100000000000000000000; it must be an integer of at most 64 bits, or a float";
        assert_eq!(fields(r#"{"a":100000000000000000000}"#, &KEPT), reason);
        assert_eq!(
            fields(r#"{"a":1e20,"b":{"c":1},"d":"1","e":null}"#, &KEPT),
            "m a=1e20,b=\"{\\\"c\\\":1}\",d=\"1\" now"
        );
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
        assert_eq!(
            decoded.points[0].1.field("o"),
            Some(&Value::Str(r#"{"z":1,"a":[1.0,"x\"",null,true,-2,{}]}"#.into()))
        );
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
        let decoded = read(
            r#"[{"measurement":"m","tags":{"a":1,"b":-2,"c":1.5,"d":true,"e":null,"f":"x"},"fields":{"v":1}}]"#,
            &HOW,
        );
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
        let line =
            r#"m,t=y,t2=7 i=-1i,u=2u,f=1.5,b=true,s="x",d="eA==",a="{\"arr\":[{\"i\":\"1\"}]}" 1624550216123456789"#;
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
            prop::sample::select(vec![
                "\"v\"",
                "\"time\"",
                "\"\"",
                r#""\ud800\n""#,
                r#""a\\,""#,
                "\"a.b\"",
                "\"\u{7f}é\"",
            ])
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
}
