//! DataKit's repairs and the rules of the canonical form, each counted as a warning.
//!
//! A name here is a measurement, tag key, tag value or field key. Repaired names are a fixed point: to repair them again changes nothing,
//! and whatever is left of them has one encoding that InfluxDB 1, 2 and 3, VictoriaMetrics and Telegraf read alike:
//!
//! - a run of control characters becomes one space, and the name is then trimmed;
//! - backslashes at the end are taken away: no encoding exists for them;
//! - a backslash before `,`, `=`, a space or another backslash becomes `/`: InfluxDB 1 reads `\\` as two backslashes, the grammar as one,
//!   so that there is no encoding that both read alike. Any other backslash (`C:\Temp`) stays;
//! - what is too long is cut at a character border.

mod fields;
mod keys;
mod names;
mod part;
mod tags;
mod text;
mod unfit;
mod warnings;

pub(super) use fields::fields;
pub(super) use names::measurement;
pub(super) use tags::{MAX_TAGS, global_tag, tags};
pub(super) use text::cut;
pub use text::shown;
pub use unfit::Unfit;
pub(super) use unfit::{check_series, check_time};
pub use warnings::{REPAIRS_TOLD, Repair, Warnings};

#[cfg(test)]
mod tests;
