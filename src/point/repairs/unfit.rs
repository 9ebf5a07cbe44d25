//! What no repair makes fit, and why.

use crate::point::value::Tag;

/// InfluxDB keeps the length of the series key in 16 bits.
pub(super) const MAX_SERIES_KEY: usize = 65_535;

/// InfluxDB keeps the outermost values for itself.
const TIMES: std::ops::RangeInclusive<i64> = -9_223_372_036_854_775_806..=9_223_372_036_854_775_806;

/// Why a point cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unfit {
    /// `fields.v`, `tags.a`, `time`, or empty for the point as a whole.
    pub field: String,
    pub reason: String,
}

impl Unfit {
    pub(crate) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

pub(in crate::point) fn check_series(measurement: &str, tags: &[Tag]) -> Result<(), Unfit> {
    let plain = measurement.len() + tags.iter().map(|(key, value)| key.len() + value.len() + 2).sum::<usize>();
    // Escapes at most double it, so that nearly every point is done here.
    if plain * 2 <= MAX_SERIES_KEY {
        return Ok(());
    }
    let escapes = |text: &str| text.bytes().filter(|byte| matches!(byte, b',' | b'=' | b' ')).count();
    let escaped =
        plain + escapes(measurement) + tags.iter().map(|(key, value)| escapes(key) + escapes(value)).sum::<usize>();
    if escaped <= MAX_SERIES_KEY {
        return Ok(());
    }
    Err(Unfit::new("tags", format!("measurement and tags take {escaped} bytes; they must fit into {MAX_SERIES_KEY}")))
}

pub(in crate::point) fn check_time(time_ns: i64) -> Result<(), Unfit> {
    if TIMES.contains(&time_ns) {
        return Ok(());
    }
    Err(Unfit::new("time", format!("`time` is {time_ns} ns; it must lie between 1677-09-21 and 2262-04-11")))
}
