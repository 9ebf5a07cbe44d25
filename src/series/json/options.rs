//! The options of a reading, and which of them its kind has a use for.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use super::reader::SeriesReader;
use super::scalars::{MaybeFloat, SeriesFloat, Word};
use crate::point::json::{Any, KeyName};
use crate::point::repairs::shown;
use crate::series::row::{Late, Options, Out, RawType, Round, RowKind, Wrap};

const OPTIONS: &str = "kind, scale, wrap, out, raw, raw_type, min, max, max_gap, round, late";

pub(super) struct GivenOptions<'r, 't>(pub(super) &'r mut SeriesReader<'t>);

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
        while let Some(key) = map.next_key_seed(Any(KeyName))? {
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
    reader: &mut SeriesReader<'de>,
    map: &mut A,
) -> Result<(), A::Error> {
    match key {
        "kind" => options.kind = map.next_value_seed(OneOf { key, words: &RowKind::ALL, reader })?,
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
        "scale" => options.scale = map.next_value_seed(Any(SeriesFloat))?,
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
    if options.wrap != Wrap::Never && kind != RowKind::Counter {
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
    reader: &'r mut SeriesReader<'t>,
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
