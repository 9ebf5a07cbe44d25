//! The tags of a point: an object of texts.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};

use super::reader::PointReader;
use super::seed::{Any, KeyName};
use crate::point::repairs::shown;
use crate::point::{Tag, Text, Warnings};

pub(super) struct PointTags<'r, 't>(pub(super) &'r mut PointReader<'t>);

impl<'de> Visitor<'de> for PointTags<'_, 'de> {
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
