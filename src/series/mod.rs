//! Rows of readings, and what becomes of them: fields of points, with rates and shares counted out.
//!
//! A [`Row`] holds [`RowValue`]s that belong to one moment and one set of tags. Workers of foreign dialects send rows; counters among them
//! become rates here and nowhere else, so that a rate survives a crash of the worker, a reload and a fork.
//!
//! - `number`: values that keep all bits of 64, and their differences;
//! - `row`: what a worker sends;
//! - `rate`: one reading and the one before it to a value, or the reason why there is none ([`NoValue`]);
//! - `transaction`: a row to fields. What is to be remembered waits in the [`Transaction`] until [`LastValues::commit`]: a request that was
//!   answered with an error never happened, so that the same request sent again gives the same points;
//! - `last`: what is remembered of each series, bounded ([`LastValues`]); at its top stands what one series costs;
//! - `json`: the body of a request; `groups`: that of a request for several jobs.
//!
//! Nothing here looks at a clock or a disk: times are arguments. `dt` comes from the times of the rows, while forgetting goes by arrival.

pub mod groups;
pub mod json;
mod last;
mod number;
mod rate;
mod row;
#[cfg(test)]
mod tests;
mod transaction;

pub use last::{Gone, JobKey, Last, LastValues, RowKey};
pub use number::{Difference, Number};
pub use row::{Late, NoValue, Options, Out, RawType, Round, Row, RowKind, RowValue, Wrap};
pub use transaction::{Changes, MissingCounts, Moment, Transaction};
