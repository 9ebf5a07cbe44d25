//! The fields of a point in DataKit's protobuf JSON: a list of entries, which holds the tags too.

use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::value::RawValue;

use super::compact::{Compact, into_text, warn_nested};
use super::draft::Draft;
use super::reader::PointReader;
use super::tags::warn_not_text;
use crate::point::Value;
use crate::point::repairs::shown;

/// An entry of the list of a point in protobuf JSON; the value has one of seven names.
#[derive(Deserialize)]
pub(super) struct ProtobufField<'a> {
    pub(super) key: String,
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
    pub(super) fn put<'t>(self, draft: &mut Draft<'t>, reader: &mut PointReader<'t>) -> Result<(), String> {
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
fn value_of(entry: &ProtobufField<'_>, reader: &mut PointReader) -> Result<Option<Value<'static>>, String> {
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
