//! One row: measurement, tags, time, interval, readings.

use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::reader::{Pass, READING, SeriesReader};
use super::reading::Readings;
use super::scalars::{SeriesTime, Word};
use crate::point::json::{Any, KeyName, TagText, TagValue, unfit, warn_not_text, with_whole_surrogates};
use crate::point::repairs::shown;
use crate::point::{PointRefusal, Tag, Text, Unfit};
use crate::series::row::Row;

impl<'t> SeriesReader<'t> {
    /// Reads a row by itself.
    pub(super) fn row_alone(&mut self, index: usize, text: &'t str) -> Result<Row<'t>, PointRefusal> {
        let unfit = match self.row(text) {
            Ok(row) => return Ok(row),
            Err(unfit) => unfit,
        };
        // As in points: undecodable bytes of file names come from Python as lone surrogates.
        let Some(mended) = with_whole_surrogates(text) else { return Err(PointRefusal::new(index, unfit, text)) };
        let mut reader = SeriesReader::new(Pass::Whole);
        let row = reader.row(&mended).map(Row::into_owned);
        self.warnings.merge(std::mem::take(&mut reader.warnings));
        self.warnings.add("invalid_utf8", "", "a lone surrogate (`\\ud800` to `\\udfff`) became U+FFFD");
        row.map_err(|unfit| PointRefusal::new(index, unfit, text))
    }

    fn row(&mut self, text: &'t str) -> Result<Row<'t>, Unfit> {
        self.fault = None;
        let read = serde_json::Deserializer::from_str(text).deserialize_any(OneRow(self));
        read.map_err(|error| self.fault.take().unwrap_or_else(|| unfit("the row", &error.to_string())))
    }
}

pub(super) struct OneRow<'r, 't>(pub(super) &'r mut SeriesReader<'t>);

impl<'de> Visitor<'de> for OneRow<'_, 'de> {
    type Value = Row<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with m, t, ns, i and r")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row<'de>, A::Error> {
        let Self(reader) = self;
        let (mut measurement, mut readings) = (None, None);
        let (mut tags, mut time_ns, mut interval_s) = (Vec::new(), None, None);
        while let Some(key) = map.next_key_seed(Any(KeyName))? {
            match key.as_ref() {
                "m" => {
                    let read = map.next_value_seed(Any(Word));
                    measurement = Some(read.map_err(|error| reader.blame("m", error))?);
                }
                "t" => {
                    let read = map.next_value_seed(Any(SeriesTags(&mut *reader)));
                    tags = read.map_err(|error| reader.blame("t", error))?;
                }
                "ns" => {
                    let read = map.next_value_seed(Any(SeriesTime));
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

struct SeriesTags<'r, 't>(&'r mut SeriesReader<'t>);

impl<'de> Visitor<'de> for SeriesTags<'_, 'de> {
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
        while let Some(key) = map.next_key_seed(Any(KeyName))? {
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
