//! The fields of a point: an object of values, or the list of protobuf JSON.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::compact::{Compact, into_text, warn_nested};
use super::draft::Draft;
use super::protobuf::ProtobufField;
use super::reader::PointReader;
use super::seed::{Any, KeyName};
use crate::point::repairs::shown;
use crate::point::{Text, Value};

/// `fields`: an object, or the list of a point in protobuf JSON, which holds the tags too.
pub(super) struct Fields<'r, 'd, 't> {
    pub(super) reader: &'r mut PointReader<'t>,
    pub(super) draft: &'d mut Draft<'t>,
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
        while let Some(key) = map.next_key_seed(Any(KeyName))? {
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
