//! Rows to fields, with what is to be remembered of them held back until they are kept.

use std::collections::{HashMap, hash_map};
use std::hash::BuildHasherDefault;

use super::last::{IsHash, Last, RowKey};
use super::number::{Difference, Number};
use super::rate::{self, Since, Sums};
use super::row::{Late, NoValue, Options, Out, RawType, RowKind, RowValue};
use crate::point::{Field, Text, Value};

/// What the rows of one request gave, and what is to be remembered once they are kept.
#[derive(Debug, Default)]
pub struct Transaction {
    changes: HashMap<u64, Last, BuildHasherDefault<IsHash>>,
    pub counts: MissingCounts,
}

/// What a transaction has not committed yet.
#[derive(Debug)]
pub struct Changes(hash_map::IntoIter<u64, Last>);

/// When a row was read.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub time_ns: i64,
    /// Of the row, else of the job.
    pub interval_s: f64,
}

/// Readings without a value, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MissingCounts([u64; NoValue::ALL.len()]);

impl Transaction {
    /// The fields of the readings of a row, in their order; empty where no reading has a value.
    ///
    /// `past` gives what was remembered of a series before this request.
    pub fn fields<'t>(
        &mut self,
        readings: Vec<RowValue<'t>>,
        key: &RowKey,
        moment: Moment,
        past: &dyn Fn(u64) -> Option<Last>,
    ) -> Vec<Field<'t>> {
        let mut fields = Vec::with_capacity(readings.len());
        let has = |kind| readings.iter().any(|reading| reading.options().kind == kind);
        let by_gain = has(RowKind::RowPercentInc);
        let mut sums = Sums::default();
        if has(RowKind::RowPercent) {
            sums.values = sum(readings.iter().map(|reading| reading.value.minus(Number::Unsigned(0))));
        }
        if by_gain {
            sums.gains = self.sum_of_gains(&readings, key, moment, past);
        }
        for reading in readings {
            let options = reading.options();
            let remembers = by_gain || (options.kind.needs_last() && options.out.has_rate());
            let series = if remembers { Some(key.series(&reading.field)) } else { None };
            let last = series.and_then(|series| self.last(series, past));
            let since = Since::of(last.as_ref(), moment.time_ns, options.max_gap);
            if let Some(series) = series
                && (since != Since::Late || options.late == Late::Replace)
            {
                let is_large = last.is_some_and(|last| last.is_large) || rate::is_large(reading.value);
                let (time_ns, interval_s) = (moment.time_ns, moment.interval_s as f32);
                self.changes.insert(series, Last { number: reading.value, time_ns, is_large, interval_s });
            }
            if options.out.has_rate() {
                let value = rate::value(reading.value, options, last.as_ref(), since, sums, moment.interval_s);
                self.push(reading, value, &mut fields);
            } else {
                push_raw(reading, &mut fields);
            }
        }
        fields
    }

    /// What is to be remembered now.
    pub fn into_changes(self) -> Changes {
        Changes(self.changes.into_iter())
    }

    fn push<'t>(&mut self, reading: RowValue<'t>, value: Result<f64, NoValue>, fields: &mut Vec<Field<'t>>) {
        let is_both = reading.options().out == Out::Both;
        match value {
            Ok(value) if is_both => {
                let rate = (reading.field.clone(), Value::Float(value));
                push_raw(reading, fields);
                fields.push(rate);
            }
            Ok(value) => fields.push((reading.field, Value::Float(value))),
            Err(why) => {
                self.counts.add(why);
                if is_both {
                    push_raw(reading, fields);
                }
            }
        }
    }

    fn sum_of_gains(
        &self,
        readings: &[RowValue],
        key: &RowKey,
        moment: Moment,
        past: &dyn Fn(u64) -> Option<Last>,
    ) -> f64 {
        let gains = readings.iter().filter_map(|reading| {
            let last = self.last(key.series(&reading.field), past)?;
            let since = Since::of(Some(&last), moment.time_ns, reading.options().max_gap);
            matches!(since, Since::Seconds(_)).then(|| reading.value.minus(last.number))
        });
        sum(gains.filter(|gain| !gain.is_negative()))
    }

    /// A row of the same request may have been there before.
    fn last(&self, series: u64, past: &dyn Fn(u64) -> Option<Last>) -> Option<Last> {
        self.changes.get(&series).copied().or_else(|| past(series))
    }
}

fn push_raw<'t>(reading: RowValue<'t>, fields: &mut Vec<Field<'t>>) {
    let RowValue { field, value, options } = reading;
    let Options { raw, raw_type, .. } = options.map_or(Options::PLAIN, |options| *options);
    let value = match raw_type {
        RawType::Float => Value::Float(value.as_f64()),
        RawType::Integer => value.as_field(),
    };
    let name: Text<'t> = if raw.is_empty() { field } else { raw };
    fields.push((name, value));
}

/// Exact while all of them are whole.
fn sum(differences: impl Iterator<Item = Difference>) -> f64 {
    let (mut whole, mut rest) = (0_i128, 0.0);
    for difference in differences {
        match difference {
            Difference::Exact(number) => whole += number,
            Difference::Float(number) => rest += number,
        }
    }
    whole as f64 + rest
}

impl Iterator for Changes {
    type Item = (u64, Last);

    fn next(&mut self) -> Option<(u64, Last)> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Changes {}

impl MissingCounts {
    pub fn of(&self, why: NoValue) -> u64 {
        self.0[why as usize]
    }

    /// Readings without a value, for whatever reason.
    pub fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    fn add(&mut self, why: NoValue) {
        self.0[why as usize] += 1;
    }
}
