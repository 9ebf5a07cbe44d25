//! The body of `POST /v1/rows` to rows, in one pass.
//!
//! `{"job": text, "interval": seconds, "rows": [{"m": measurement, "t": {tag: text}, "ns": time, "i": seconds, "r": [[field, value, {options}], …]}, …]}`.
//! Without `t` a row has no tags, without `ns` the time of arrival, without `i` the interval of the job. As for points, the whole body is read straight into rows, and only
//! where something is wrong each row is read alone, so that one bad row does not spoil the rest and is refused with its place.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::number::Number;
use super::row::{Kind, Late, Options, Out, RawType, Reading, Round, Row, Wrap};
use crate::point::json::{Any, Name, TagText, TagValue, no_json, unfit, warn_not_text, with_whole_surrogates};
use crate::point::repairs::shown;
use crate::point::{BodyFault, Refusal, Tag, Text, Unfit, Warnings, text_of};

/// A body taken apart.
#[derive(Debug)]
pub struct Body<'t> {
    /// The job's key; empty where the rows are of none.
    pub job: Text<'t>,
    /// How often the job runs.
    pub interval_s: f64,
    /// `(index in the request, row)`, in order.
    pub rows: Vec<(usize, Row<'t>)>,
    pub refused: Vec<Refusal>,
    pub warnings: Warnings,
}

/// Reads a body.
///
/// # Errors
/// When the body as a whole cannot be read; a single bad row is in `Body::refused` instead.
pub fn decode(body: &[u8]) -> Result<Body<'_>, BodyFault> {
    let mut warnings = Warnings::default();
    let mut read = match text_of(body, &mut warnings) {
        Text::Borrowed(text) => decode_text(text)?,
        Text::Owned(text) => decode_text(&text)?.into_owned(),
    };
    read.warnings.merge(warnings);
    Ok(read)
}

/// Reads the job's key alone; `None` where the body has none that can be read.
///
/// It costs nothing where the key comes first, as the SDK sends it.
pub fn job(body: &[u8]) -> Option<Text<'_>> {
    let mut job = None;
    // The visitor stops at the key, which the reader calls a fault.
    serde_json::Deserializer::from_slice(body).deserialize_map(JobOnly(&mut job)).ok();
    job
}

/// The texts of the rows of a body that was read, for the dead-letter file.
pub fn texts(body: &[u8]) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Texts<'t> {
        #[serde(borrow)]
        rows: Vec<&'t RawValue>,
    }
    let body = text_of(body, &mut Warnings::default());
    let texts = serde_json::from_str::<Texts<'_>>(&body);
    texts.map_or_else(|_| Vec::new(), |texts| texts.rows.iter().map(|row| row.get().to_owned()).collect())
}

fn decode_text(text: &str) -> Result<Body<'_>, BodyFault> {
    if text.trim_ascii().is_empty() {
        return Err(BodyFault::new("datakit.emptyBody", format!("the body is empty; it must be {BODY}")));
    }
    let mut whole = Reader::new(Pass::Whole);
    if whole.read(text).is_ok()
        && let Ok(body) = whole.finish()
    {
        return Ok(body);
    }
    let mut rows = Reader::new(Pass::RowByRow);
    if let Err(error) = rows.read(text) {
        if error.is_syntax() || error.is_eof() {
            return Err(no_json(text, &error));
        }
        let fault = rows.fault.take().unwrap_or_else(|| unfit("rows", &error.to_string()));
        return Err(BodyFault::new(SHAPE, fault.reason));
    }
    rows.finish().map_err(|missing| BodyFault::new(SHAPE, missing))
}

const SHAPE: &str = "pythond.invalidRows";
const BODY: &str = r#"an object `{"job": …, "interval": …, "rows": […]}`"#;
const READING: &str = "an array `[field, value]` or `[field, value, {options}]`";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Gives up at the first fault.
    Whole,
    RowByRow,
}

/// What has been read so far.
struct Reader<'t> {
    pass: Pass,
    job: Option<Text<'t>>,
    interval_s: Option<f64>,
    rows: Option<Vec<(usize, Row<'t>)>>,
    refused: Vec<Refusal>,
    warnings: Warnings,
    /// What serde's error cannot carry: the key at fault, and what would be right.
    fault: Option<Unfit>,
}

impl<'t> Reader<'t> {
    fn new(pass: Pass) -> Self {
        Self {
            pass,
            job: None,
            interval_s: None,
            rows: None,
            refused: Vec::new(),
            warnings: Warnings::default(),
            fault: None,
        }
    }

    fn read(&mut self, text: &'t str) -> serde_json::Result<()> {
        let mut json = serde_json::Deserializer::from_str(text);
        json.deserialize_any(WholeBody(self))?;
        json.end()
    }

    fn has(&self, key: &str) -> bool {
        match key {
            "job" => self.job.is_some(),
            "interval" => self.interval_s.is_some(),
            "rows" => self.rows.is_some(),
            _ => false,
        }
    }

    /// # Errors
    /// What is missing.
    fn finish(self) -> Result<Body<'t>, String> {
        let missing = |key: &str| format!("`{key}` is missing; the body must be {BODY}");
        Ok(Body {
            job: self.job.ok_or_else(|| missing("job"))?,
            interval_s: self.interval_s.ok_or_else(|| missing("interval"))?,
            rows: self.rows.ok_or_else(|| missing("rows"))?,
            refused: self.refused,
            warnings: self.warnings,
        })
    }

    /// Reads a row by itself.
    fn row_alone(&mut self, index: usize, text: &'t str) -> Result<Row<'t>, Refusal> {
        let unfit = match self.row(text) {
            Ok(row) => return Ok(row),
            Err(unfit) => unfit,
        };
        // As in points: undecodable bytes of file names come from Python as lone surrogates.
        let Some(mended) = with_whole_surrogates(text) else { return Err(Refusal::new(index, unfit, text)) };
        let mut reader = Reader::new(Pass::Whole);
        let row = reader.row(&mended).map(Row::into_owned);
        self.warnings.merge(std::mem::take(&mut reader.warnings));
        self.warnings.add("invalid_utf8", "", "a lone surrogate (`\\ud800` to `\\udfff`) became U+FFFD");
        row.map_err(|unfit| Refusal::new(index, unfit, text))
    }

    fn row(&mut self, text: &'t str) -> Result<Row<'t>, Unfit> {
        self.fault = None;
        let read = serde_json::Deserializer::from_str(text).deserialize_any(OneRow(self));
        read.map_err(|error| self.fault.take().unwrap_or_else(|| unfit("the row", &error.to_string())))
    }

    /// Says what is wrong with which key.
    fn fail<E: Error>(&mut self, key: &str, reason: String) -> E {
        let error = E::custom(&reason);
        self.fault.get_or_insert(Unfit::new(key, reason));
        error
    }

    /// Remembers the innermost key at fault; costs nothing while all is well.
    fn blame<E: fmt::Display>(&mut self, key: &str, error: E) -> E {
        if self.fault.is_none() {
            self.fault = Some(unfit(key, &error.to_string()));
        }
        error
    }

    /// Adds which reading it was.
    fn blame_reading<E: fmt::Display>(&mut self, index: usize, field: Option<&str>, error: E) -> E {
        let fault = self.fault.take().unwrap_or_else(|| unfit("the reading", &error.to_string()));
        self.fault = Some(match field.map(shown) {
            Some(name) => Unfit::new(format!("fields.{name}"), format!("reading {index} (`{name}`): {}", fault.reason)),
            None => Unfit::new(format!("r[{index}]"), format!("reading {index}: {}", fault.reason)),
        });
        error
    }

    /// Reads a number of seconds.
    fn interval<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<f64, A::Error> {
        let read = map.next_value_seed(Any(Float));
        let seconds = read.map_err(|error| self.blame(key, error))?;
        if seconds <= 0.0 {
            return Err(self.fail(key, format!("`{key}` is {seconds}; it must be a number of seconds above 0")));
        }
        Ok(seconds)
    }

    fn unknown<E: Error>(&mut self, key: &str, known: &str) -> E {
        self.fail(key, format!("unknown key `{}`; the keys are {known}", shown(key)))
    }
}

struct WholeBody<'r, 't>(&'r mut Reader<'t>);

impl<'de> Visitor<'de> for WholeBody<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(BODY)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(reader) = self;
        while let Some(key) = map.next_key_seed(Any(Name))? {
            if reader.has(&key) {
                return Err(reader.fail(&key, format!("`{key}` is there twice; remove one of them")));
            }
            match key.as_ref() {
                "job" => {
                    let read = map.next_value_seed(Any(Word));
                    reader.job = Some(read.map_err(|error| reader.blame("job", error))?);
                }
                "interval" => reader.interval_s = Some(reader.interval("interval", &mut map)?),
                "rows" => {
                    let read = map.next_value_seed(Any(Rows(&mut *reader)));
                    reader.rows = Some(read.map_err(|error| reader.blame("rows", error))?);
                }
                other => return Err(reader.unknown(other, "job, interval, rows")),
            }
        }
        Ok(())
    }
}

struct JobOnly<'j, 't>(&'j mut Option<Text<'t>>);

impl<'de> Visitor<'de> for JobOnly<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(BODY)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Any(Name))? {
            if key == "job" {
                *self.0 = Some(map.next_value_seed(Any(Word))?);
                break;
            }
            map.next_value::<serde::de::IgnoredAny>()?;
        }
        Ok(())
    }
}

struct Rows<'r, 't>(&'r mut Reader<'t>);

impl<'de> Visitor<'de> for Rows<'_, 'de> {
    type Value = Vec<(usize, Row<'de>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let Self(reader) = self;
        let mut rows = Vec::new();
        if reader.pass == Pass::Whole {
            while let Some(row) = seq.next_element_seed(Any(OneRow(&mut *reader)))? {
                rows.push((rows.len(), row));
            }
            return Ok(rows);
        }
        let mut index = 0;
        while let Some(text) = seq.next_element::<&'de RawValue>()? {
            match reader.row_alone(index, text.get()) {
                Ok(row) => rows.push((index, row)),
                Err(refusal) => reader.refused.push(refusal),
            }
            // What was wrong with a row is told; the body goes on.
            reader.fault = None;
            index += 1;
        }
        Ok(rows)
    }
}

struct OneRow<'r, 't>(&'r mut Reader<'t>);

impl<'de> Visitor<'de> for OneRow<'_, 'de> {
    type Value = Row<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with m, t, ns, i and r")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row<'de>, A::Error> {
        let Self(reader) = self;
        let (mut measurement, mut readings) = (None, None);
        let (mut tags, mut time_ns, mut interval_s) = (Vec::new(), None, None);
        while let Some(key) = map.next_key_seed(Any(Name))? {
            match key.as_ref() {
                "m" => {
                    let read = map.next_value_seed(Any(Word));
                    measurement = Some(read.map_err(|error| reader.blame("m", error))?);
                }
                "t" => {
                    let read = map.next_value_seed(Any(Tags(&mut *reader)));
                    tags = read.map_err(|error| reader.blame("t", error))?;
                }
                "ns" => {
                    let read = map.next_value_seed(Any(Time));
                    time_ns = read.map_err(|error| reader.blame("ns", error))?;
                }
                // As exact as what is remembered of a series.
                "i" => interval_s = Some(reader.interval("i", &mut map)? as f32),
                "r" => {
                    let read = map.next_value_seed(Any(Readings(&mut *reader)));
                    readings = Some(read.map_err(|error| reader.blame("r", error))?);
                }
                other => return Err(reader.unknown(other, "m, t, ns, i, r")),
            }
        }
        let Some(measurement) = measurement else {
            return Err(reader.fail("m", "`m` is missing; it must be the measurement".to_owned()));
        };
        let Some(readings) = readings else {
            return Err(reader.fail("r", format!("`r` is missing; it must be an array of readings, each {READING}")));
        };
        Ok(Row { measurement, tags, time_ns, interval_s, readings })
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
            match read.map_err(|error| reader.blame(&format!("t.{}", shown(&key)), error))? {
                TagText::Absent => {}
                TagText::Text(value) => tags.push((key, value)),
                TagText::Converted(value) => {
                    warn_not_text(&key, &value, &mut reader.warnings);
                    tags.push((key, Text::Owned(value)));
                }
            }
        }
        // The same tags are the same series, in whatever order they come.
        tags.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(tags)
    }
}

struct Readings<'r, 't>(&'r mut Reader<'t>);

impl<'de> Visitor<'de> for Readings<'_, 'de> {
    type Value = Vec<Reading<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of readings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let Self(reader) = self;
        let mut readings = Vec::with_capacity(4);
        loop {
            let one = OneReading { reader: &mut *reader, index: readings.len() };
            match seq.next_element_seed(Any(one)) {
                Ok(Some(reading)) => readings.push(reading),
                Ok(None) => return Ok(readings),
                Err(error) if reader.fault.is_some() => return Err(error),
                Err(error) => return Err(reader.blame_reading(readings.len(), None, error)),
            }
        }
    }
}

struct OneReading<'r, 't> {
    reader: &'r mut Reader<'t>,
    index: usize,
}

impl<'de> Visitor<'de> for OneReading<'_, 'de> {
    type Value = Reading<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(READING)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Reading<'de>, A::Error> {
        let Self { reader, index } = self;
        let field = match seq.next_element_seed(Any(Word)) {
            Ok(Some(field)) => field,
            Ok(None) => {
                let error = reader.fail("", format!("it is empty; it must be {READING}"));
                return Err(reader.blame_reading(index, None, error));
            }
            Err(error) => {
                let error = reader.blame("field", error);
                return Err(reader.blame_reading(index, None, error));
            }
        };
        match rest_of_reading(reader, &field, &mut seq) {
            Ok((value, options)) => Ok(Reading { field, value, options }),
            Err(error) => Err(reader.blame_reading(index, Some(&field), error)),
        }
    }
}

type ValueAndOptions<'t> = (Number, Option<Box<Options<'t>>>);

fn rest_of_reading<'de, A: SeqAccess<'de>>(
    reader: &mut Reader<'de>,
    field: &str,
    seq: &mut A,
) -> Result<ValueAndOptions<'de>, A::Error> {
    let value = seq.next_element_seed(Any(Value)).map_err(|error| reader.blame("value", error))?;
    let Some(value) = value else {
        return Err(reader.fail("value", format!("the value is missing; a reading is {READING}")));
    };
    let options = seq.next_element_seed(Any(GivenOptions(&mut *reader)));
    let options = options.map_err(|error| reader.blame("options", error))?.flatten();
    if seq.next_element::<serde::de::IgnoredAny>()?.is_some() {
        return Err(reader.fail("", format!("it has more than three elements; it must be {READING}")));
    }
    if options.as_ref().is_some_and(|options| options.out == Out::Both && options.raw == field) {
        let reason = "`raw` is the field's own name; the raw value needs another one";
        return Err(reader.fail("raw", reason.to_owned()));
    }
    Ok((value, options))
}

struct Value;

impl Visitor<'_> for Value {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Number, E> {
        Ok(Number::Unsigned(truth.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
        Ok(Number::Unsigned(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
        Ok(u64::try_from(number).map_or(Number::Negative(number), Number::Unsigned))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Number, E> {
        Ok(Number::Float(number))
    }
}

const OPTIONS: &str = "kind, scale, wrap, out, raw, raw_type, min, max, max_gap, round, late";

struct GivenOptions<'r, 't>(&'r mut Reader<'t>);

impl<'de> Visitor<'de> for GivenOptions<'_, 'de> {
    type Value = Option<Box<Options<'de>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of options")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self(reader) = self;
        let mut options = Box::new(Options::PLAIN);
        while let Some(key) = map.next_key_seed(Any(Name))? {
            let read = option(&key, &mut options, reader, &mut map);
            read.map_err(|error| reader.blame(&key, error))?;
        }
        if let Err((key, reason)) = check(&options) {
            return Err(reader.fail(key, reason));
        }
        Ok(Some(options))
    }
}

fn option<'de, A: MapAccess<'de>>(
    key: &str,
    options: &mut Options<'de>,
    reader: &mut Reader<'de>,
    map: &mut A,
) -> Result<(), A::Error> {
    match key {
        "kind" => options.kind = map.next_value_seed(OneOf { key, words: &Kind::ALL, reader })?,
        "out" => {
            let words = &[("rate", Out::Rate), ("raw", Out::Raw), ("both", Out::Both)];
            options.out = map.next_value_seed(OneOf { key, words, reader })?;
        }
        "raw_type" => {
            let words = &[("float", RawType::Float), ("integer", RawType::Integer)];
            options.raw_type = map.next_value_seed(OneOf { key, words, reader })?;
        }
        "round" => {
            let words = &[("", Round::Exact), ("truncate", Round::Truncate)];
            options.round = map.next_value_seed(OneOf { key, words, reader })?;
        }
        "late" => {
            let words = &[("", Late::Ignore), ("replace", Late::Replace)];
            options.late = map.next_value_seed(OneOf { key, words, reader })?;
        }
        "wrap" => options.wrap = map.next_value_seed(Any(WrapAt))?,
        "raw" => options.raw = map.next_value_seed(Any(Word))?,
        "scale" => options.scale = map.next_value_seed(Any(Float))?,
        "min" => options.min = map.next_value_seed(Any(MaybeFloat))?,
        "max" => options.max = map.next_value_seed(Any(MaybeFloat))?,
        "max_gap" => options.max_gap = map.next_value_seed(Any(MaybeFloat))?,
        other => return Err(reader.unknown(other, OPTIONS)),
    }
    Ok(())
}

/// Refuses what a kind has no use for: to take it in silence would be a promise.
fn check(options: &Options) -> Result<(), (&'static str, String)> {
    let kind = options.kind;
    let useless =
        |key: &'static str, right: &str| Err((key, format!("`{key}` has no use for {}; {right}", kind.as_str())));
    if options.wrap != Wrap::Never && kind != Kind::Counter {
        return useless("wrap", "only a counter wraps");
    }
    if options.min.is_some() && !kind.is_rate() {
        return useless("min", "only counter, derive and absolute have a rate to be held against it");
    }
    if options.max.is_some() && !kind.is_rate() {
        return useless("max", "only counter, derive and absolute have a rate to be held against it");
    }
    if let Some(seconds) = options.max_gap {
        if !kind.needs_last() {
            return useless("max_gap", "it needs no reading before");
        }
        if seconds <= 0.0 {
            return Err(("max_gap", format!("`max_gap` is {seconds}; it must be a number of seconds above 0")));
        }
    }
    if options.late == Late::Replace && !kind.needs_last() {
        return useless("late", "it needs no reading before");
    }
    if options.out == Out::Both && options.raw.is_empty() {
        return Err((
            "raw",
            "`raw` is missing; with `\"out\": \"both\"` it must be the name of the raw value".to_owned(),
        ));
    }
    if !options.out.has_raw() && (!options.raw.is_empty() || options.raw_type != RawType::Float) {
        let key = if options.raw.is_empty() { "raw_type" } else { "raw" };
        return Err((key, format!("`{key}` has no use without a raw value; `out` must be raw or both")));
    }
    Ok(())
}

/// One of several words.
struct OneOf<'w, 'r, 't, T> {
    key: &'w str,
    words: &'w [(&'w str, T)],
    reader: &'r mut Reader<'t>,
}

impl<'de, T: Copy> DeserializeSeed<'de> for OneOf<'_, '_, 'de, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<T, D::Error> {
        let Self { key, words, reader } = self;
        let given = json.deserialize_any(Word)?;
        if let Some((_, word)) = words.iter().find(|(word, _)| *word == given) {
            return Ok(*word);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| if word.is_empty() { "\"\"" } else { word }).collect();
        let reason = format!("`{key}` is `{}`; it must be one of {}", shown(&given), known.join(", "));
        Err(reader.fail(key, reason))
    }
}

struct WrapAt;

impl Visitor<'_> for WrapAt {
    type Value = Wrap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("32, 64, \"auto\" or null")
    }

    fn visit_unit<E: Error>(self) -> Result<Wrap, E> {
        Ok(Wrap::Never)
    }

    fn visit_u64<E: Error>(self, bits: u64) -> Result<Wrap, E> {
        match bits {
            32 => Ok(Wrap::At32),
            64 => Ok(Wrap::At64),
            _ => Err(E::invalid_type(serde::de::Unexpected::Unsigned(bits), &self)),
        }
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Wrap, E> {
        if word == "auto" { Ok(Wrap::Auto) } else { Err(E::invalid_type(serde::de::Unexpected::Str(word), &self)) }
    }
}

/// Text that has to be there.
struct Word;

impl<'de> Visitor<'de> for Word {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text::Owned(text.to_owned()))
    }
}

struct Float;

impl Visitor<'_> for Float {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<f64, E> {
        Ok(number)
    }
}

struct MaybeFloat;

impl Visitor<'_> for MaybeFloat {
    type Value = Option<f64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or null")
    }

    fn visit_unit<E: Error>(self) -> Result<Option<f64>, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<f64>, E> {
        Ok(Some(number as f64))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<f64>, E> {
        Ok(Some(number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<f64>, E> {
        Ok(Some(number))
    }
}

struct Time;

impl Visitor<'_> for Time {
    type Value = Option<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of nanoseconds since 1970, above 0 and before 2262")
    }

    fn visit_unit<E: Error>(self) -> Result<Option<i64>, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<i64>, E> {
        let fits = i64::try_from(number).ok().filter(|ns| (1..i64::MAX).contains(ns));
        let fault = || E::invalid_type(serde::de::Unexpected::Unsigned(number), &self);
        fits.map(Some).ok_or_else(fault)
    }
}

impl Row<'_> {
    fn into_owned(self) -> Row<'static> {
        Row {
            measurement: own(self.measurement),
            tags: self.tags.into_iter().map(|(key, value)| (own(key), own(value))).collect(),
            time_ns: self.time_ns,
            interval_s: self.interval_s,
            readings: self.readings.into_iter().map(Reading::into_owned).collect(),
        }
    }
}

impl Reading<'_> {
    fn into_owned(self) -> Reading<'static> {
        let owned = |options: Box<Options<'_>>| {
            let Options { kind, scale, wrap, out, raw, raw_type, min, max, max_gap, round, late } = *options;
            Box::new(Options { kind, scale, wrap, out, raw: own(raw), raw_type, min, max, max_gap, round, late })
        };
        Reading { field: own(self.field), value: self.value, options: self.options.map(owned) }
    }
}

fn own(text: Text<'_>) -> Text<'static> {
    Text::Owned(text.into_owned())
}

impl Body<'_> {
    fn into_owned(self) -> Body<'static> {
        Body {
            job: own(self.job),
            interval_s: self.interval_s,
            rows: self.rows.into_iter().map(|(index, row)| (index, row.into_owned())).collect(),
            refused: self.refused,
            warnings: self.warnings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(rows: &str) -> String {
        format!(r#"{{"job":"local","interval":10.0,"rows":[{rows}]}}"#)
    }

    /// The one reading of a body whose only row has it.
    fn reading(text: &str) -> Result<Reading<'static>, String> {
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
            kind: Kind::Counter,
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
                Reading { field: "user".into(), value: Number::Float(12.5), options: None },
                Reading { field: "reads".into(), value: Number::Unsigned(7), options: Some(Box::new(options)) },
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
            kind: Kind::Derive,
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
        for (name, kind) in Kind::ALL {
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
            (
                r#"["x",1,{"out":"all"}]"#,
                "fields.x: reading 0 (`x`): `out` is `all`; it must be one of rate, raw, both",
            ),
            (
                r#"["x",1,{"round":"up"}]"#,
                "fields.x: reading 0 (`x`): `round` is `up`; it must be one of \"\", truncate",
            ),
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
        let good: Vec<(usize, &str)> =
            read.rows.iter().map(|(index, row)| (*index, row.measurement.as_ref())).collect();
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
}
