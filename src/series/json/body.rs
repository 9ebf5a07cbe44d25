//! A body taken apart, and how it outlives its text.

use crate::point::{PointRefusal, Text, Warnings};
use crate::series::row::{Options, Row, RowValue};

/// A body taken apart.
#[derive(Debug)]
pub struct SeriesBody<'t> {
    /// The job's key; empty where the rows are of none.
    pub job: Text<'t>,
    /// How often the job runs.
    pub interval_s: f64,
    /// `(index in the request, row)`, in order.
    pub rows: Vec<(usize, Row<'t>)>,
    pub refused: Vec<PointRefusal>,
    pub warnings: Warnings,
}

impl Row<'_> {
    pub(super) fn into_owned(self) -> Row<'static> {
        Row {
            measurement: own(self.measurement),
            tags: self.tags.into_iter().map(|(key, value)| (own(key), own(value))).collect(),
            time_ns: self.time_ns,
            interval_s: self.interval_s,
            readings: self.readings.into_iter().map(RowValue::into_owned).collect(),
        }
    }
}

impl RowValue<'_> {
    pub(super) fn into_owned(self) -> RowValue<'static> {
        let owned = |options: Box<Options<'_>>| {
            let Options { kind, scale, wrap, out, raw, raw_type, min, max, max_gap, round, late } = *options;
            Box::new(Options { kind, scale, wrap, out, raw: own(raw), raw_type, min, max, max_gap, round, late })
        };
        RowValue { field: own(self.field), value: self.value, options: self.options.map(owned) }
    }
}

pub(super) fn own(text: Text<'_>) -> Text<'static> {
    Text::Owned(text.into_owned())
}

impl SeriesBody<'_> {
    pub(super) fn into_owned(self) -> SeriesBody<'static> {
        SeriesBody {
            job: own(self.job),
            interval_s: self.interval_s,
            rows: self.rows.into_iter().map(|(index, row)| (index, row.into_owned())).collect(),
            refused: self.refused,
            warnings: self.warnings,
        }
    }
}
