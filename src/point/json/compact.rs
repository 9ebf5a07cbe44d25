//! A nested value as JSON text without spaces.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::seed::{Any, KeyName};
use super::write::write_json;
use crate::point::Warnings;
use crate::point::repairs::shown;

pub(super) fn into_text(json: Vec<u8>) -> String {
    String::from_utf8(json).expect("JSON written from text is UTF-8")
}

/// Writes whatever comes as JSON without spaces, keys in the order given. serde_json bounds the depth.
pub(super) struct Compact<'o>(pub(super) &'o mut Vec<u8>);

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
        while let Some(key) = map.next_key_seed(Any(KeyName))? {
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

pub(in crate::point) fn warn_nested(key: &str, json: &str, warnings: &mut Warnings) {
    let key = shown(key);
    let what = format!("field `{key}` is nested and was kept as JSON text: {}", shown(json));
    warnings.add("nested_value", &format!("fields.{key}"), &what);
}
