//! The untrusted JSON body of a write request to points, in one pass.
//!
//! The first pass reads the whole body with visitors of our own, straight into points, and gives up at the first fault. Only then the body
//! is cut into its elements and each is read alone, so that index, text and reason of each refused point are exact and one bad point does
//! not spoil the rest. What is not JSON at all has no elements: it is refused whole, with line and column.

mod compact;
mod draft;
mod element;
mod fault;
mod fields;
mod protobuf;
mod reader;
mod seed;
mod surrogates;
mod tags;
mod write;

use serde::de::{Deserializer, IgnoredAny};
use serde_json::value::RawValue;

use super::{BodyFault, Decoded, Decoding, PointRefusal, Text, Warnings, text_of};
use element::Points;
use reader::PointReader;

pub(super) use compact::warn_nested;
pub(crate) use fault::{no_json, unfit};
pub(crate) use seed::{Any, KeyName};
pub(crate) use surrogates::with_whole_surrogates;
pub(crate) use tags::{TagText, TagValue, warn_not_text};
pub use write::encode;
pub(super) use write::encode_value;

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

/// The fast way; `None` at the first fault.
fn read_whole<'t>(text: &'t str, how: &Decoding) -> Option<Decoded<'t>> {
    let mut reader = PointReader::new(how);
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_seq(Points(&mut reader)).ok()?;
    json.end().ok()?;
    Some(reader.finish())
}

/// The exact way; fails only when the body is no JSON array.
fn read_one_by_one<'t>(text: &'t str, how: &Decoding) -> Result<Decoded<'t>, BodyFault> {
    let elements: Vec<&'t RawValue> = serde_json::from_str(text).map_err(|error| no_json(text, &error))?;
    let mut reader = PointReader::new(how);
    for (index, element) in elements.into_iter().map(RawValue::get).enumerate() {
        if let Err(unfit) = reader.element(index, element) {
            reader.decoded.refused.push(PointRefusal::new(index, unfit, element));
        }
    }
    Ok(reader.finish())
}

#[cfg(test)]
mod tests;
