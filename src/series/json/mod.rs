//! The body of `POST /v1/rows` to rows, in one pass.
//!
//! `{"job": text, "interval": seconds, "rows": [{"m": measurement, "t": {tag: text}, "ns": time, "i": seconds, "r": [[field, value, {options}], …]}, …]}`.
//! Without `t` a row has no tags, without `ns` the time of arrival, without `i` the interval of the job. As for points, the whole body is read straight into rows, and only
//! where something is wrong each row is read alone, so that one bad row does not spoil the rest and is refused with its place.

mod body;
mod options;
mod reader;
mod reading;
mod row;
mod scalars;
mod whole;

use serde::de::Deserializer;
use serde_json::value::RawValue;

use crate::point::json::{no_json, unfit};
use crate::point::{BodyFault, Text, Warnings, text_of};
use reader::{BODY, Pass, SeriesReader};
use whole::JobOnly;

pub use body::SeriesBody;

/// Reads a body.
///
/// # Errors
/// When the body as a whole cannot be read; a single bad row is in `Body::refused` instead.
pub fn decode(body: &[u8]) -> Result<SeriesBody<'_>, BodyFault> {
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

fn decode_text(text: &str) -> Result<SeriesBody<'_>, BodyFault> {
    if text.trim_ascii().is_empty() {
        return Err(BodyFault::new("datakit.emptyBody", format!("the body is empty; it must be {BODY}")));
    }
    let mut whole = SeriesReader::new(Pass::Whole);
    if whole.read(text).is_ok()
        && let Ok(body) = whole.finish()
    {
        return Ok(body);
    }
    let mut rows = SeriesReader::new(Pass::RowByRow);
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

#[cfg(test)]
mod tests;
