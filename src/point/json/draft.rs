//! A point as it was written, before it is repaired and has a time.

use crate::point::repairs::{Unfit, shown};
use crate::point::{Decoding, Field, Precision, Tag, Text, Warnings, time};

/// A point as it was written.
#[derive(Default)]
pub(super) struct Draft<'t> {
    pub(super) measurement: Option<Text<'t>>,
    /// The measurement of a point in protobuf JSON; in others an unknown key.
    pub(super) name: Option<String>,
    /// Keys that no point has.
    pub(super) unknown: Vec<String>,
    pub(super) tags: Vec<Tag<'t>>,
    pub(super) fields: Vec<Field<'t>>,
    pub(super) time: RawTime,
    pub(super) is_protobuf: bool,
}

#[derive(Default)]
pub(super) enum RawTime {
    #[default]
    Missing,
    Integer(i128),
    Float(f64),
    Text(String),
}

pub(super) const TIME_WANTED: &str = "a number: seconds, milliseconds, microseconds or nanoseconds since 1970";

impl Draft<'_> {
    pub(super) fn tell_unknown(&self, warnings: &mut Warnings) {
        for key in &self.unknown {
            let what =
                format!("key `{key}` of the point was left out: its keys are measurement, tags, fields and time");
            warnings.add("unknown_key", key, &what);
        }
    }

    /// The time as it was written; `None` where there is none.
    pub(super) fn given_time(&self) -> Option<String> {
        match &self.time {
            RawTime::Missing => None,
            RawTime::Integer(number) => Some(number.to_string()),
            RawTime::Float(number) => Some(number.to_string()),
            RawTime::Text(text) => Some(shown(text)),
        }
    }

    pub(super) fn time(&self, how: &Decoding) -> Result<Option<i64>, Unfit> {
        let precision = if self.is_protobuf { Some(Precision::Ns) } else { how.precision };
        match &self.time {
            RawTime::Missing => Ok(None),
            RawTime::Integer(number) => time::from_integer(*number, precision),
            RawTime::Float(number) => time::from_float(*number, precision),
            RawTime::Text(text) => match text.parse() {
                Ok(number) if self.is_protobuf => time::from_integer(number, precision),
                _ => Err(Unfit::new("time", format!("`time` is \"{}\"; it must be {TIME_WANTED}", shown(text)))),
            },
        }
    }
}
