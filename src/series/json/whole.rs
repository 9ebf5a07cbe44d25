//! The body as a whole: its keys, and its rows one after the other.

use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::reader::{BODY, Pass, SeriesReader};
use super::row::OneRow;
use super::scalars::Word;
use crate::point::Text;
use crate::point::json::{Any, KeyName};
use crate::series::row::Row;

impl<'t> SeriesReader<'t> {
    /// Reads a whole body.
    pub(super) fn read(&mut self, text: &'t str) -> serde_json::Result<()> {
        let mut json = serde_json::Deserializer::from_str(text);
        json.deserialize_any(WholeBody(self))?;
        json.end()
    }
}

pub(super) struct WholeBody<'r, 't>(pub(super) &'r mut SeriesReader<'t>);

impl<'de> Visitor<'de> for WholeBody<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(BODY)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(reader) = self;
        while let Some(key) = map.next_key_seed(Any(KeyName))? {
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

pub(super) struct JobOnly<'j, 't>(pub(super) &'j mut Option<Text<'t>>);

impl<'de> Visitor<'de> for JobOnly<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(BODY)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Any(KeyName))? {
            if key == "job" {
                *self.0 = Some(map.next_value_seed(Any(Word))?);
                break;
            }
            map.next_value::<serde::de::IgnoredAny>()?;
        }
        Ok(())
    }
}

struct Rows<'r, 't>(&'r mut SeriesReader<'t>);

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
