//! One element of a body to a point, or of the whole body to points.

use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::draft::{Draft, RawTime, TIME_WANTED};
use super::fault::unfit;
use super::fields::Fields;
use super::reader::PointReader;
use super::seed::Any;
use super::surrogates::with_whole_surrogates;
use super::tags::PointTags;
use crate::point::repairs::{Unfit, shown};
use crate::point::{Decoded, Text};

impl<'t> PointReader<'t> {
    /// Takes one element that was cut out of the body.
    pub(super) fn element(&mut self, index: usize, element: &'t str) -> Result<(), Unfit> {
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
        let mut reader = PointReader::new(&self.how);
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
}

pub(super) struct Points<'r, 't>(pub(super) &'r mut PointReader<'t>);

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

pub(super) struct OnePoint<'r, 't>(pub(super) &'r mut PointReader<'t>);

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
                PointMember::Measurement => {
                    let read = map.next_value_seed(Any(NullableText));
                    draft.measurement = read.map_err(|error| reader.blame(|| "measurement".to_owned(), error))?;
                }
                PointMember::Tags => {
                    let read = map.next_value_seed(Any(PointTags(&mut *reader)));
                    draft.tags = read.map_err(|error| reader.blame(|| "tags".to_owned(), error))?;
                }
                PointMember::Fields => {
                    let read = map.next_value_seed(Any(Fields { reader: &mut *reader, draft: &mut draft }));
                    read.map_err(|error| reader.blame(|| "fields".to_owned(), error))?;
                }
                PointMember::Time => {
                    let read = map.next_value_seed(Any(PointTime));
                    draft.time = read.map_err(|error| reader.blame(|| "time".to_owned(), error))?;
                }
                PointMember::Name => draft.name = map.next_value::<serde_json::Value>()?.as_str().map(str::to_owned),
                PointMember::Unknown(name) => {
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

enum PointMember {
    Measurement,
    Tags,
    Fields,
    Time,
    Name,
    Unknown(String),
}

struct PointKey;

impl Visitor<'_> for PointKey {
    type Value = PointMember;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<PointMember, E> {
        let is = |name: &str| key.eq_ignore_ascii_case(name);
        Ok(match key.len() {
            11 if is("measurement") => PointMember::Measurement,
            4 if is("tags") => PointMember::Tags,
            6 if is("fields") => PointMember::Fields,
            4 if is("time") => PointMember::Time,
            4 if is("name") => PointMember::Name,
            _ => PointMember::Unknown(shown(key)),
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

struct PointTime;

impl Visitor<'_> for PointTime {
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
