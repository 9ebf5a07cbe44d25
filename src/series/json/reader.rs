//! What has been read of a body so far, and what is wrong with it.

use std::fmt;

use serde::de::{Error, MapAccess};

use super::body::SeriesBody;
use super::scalars::SeriesFloat;
use crate::point::json::{Any, unfit};
use crate::point::repairs::shown;
use crate::point::{PointRefusal, Text, Unfit, Warnings};
use crate::series::row::Row;

pub(super) const BODY: &str = r#"an object `{"job": …, "interval": …, "rows": […]}`"#;

pub(super) const READING: &str = "an array `[field, value]` or `[field, value, {options}]`";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Gives up at the first fault.
    Whole,
    RowByRow,
}

/// What has been read so far.
pub(super) struct SeriesReader<'t> {
    pub(super) pass: Pass,
    pub(super) job: Option<Text<'t>>,
    pub(super) interval_s: Option<f64>,
    pub(super) rows: Option<Vec<(usize, Row<'t>)>>,
    pub(super) refused: Vec<PointRefusal>,
    pub(super) warnings: Warnings,
    /// What serde's error cannot carry: the key at fault, and what would be right.
    pub(super) fault: Option<Unfit>,
}

impl<'t> SeriesReader<'t> {
    pub(super) fn new(pass: Pass) -> Self {
        Self {
            pass,
            job: None,
            interval_s: None,
            rows: None,
            refused: Vec::new(),
            warnings: Warnings::default(),
            fault: None,
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        match key {
            "job" => self.job.is_some(),
            "interval" => self.interval_s.is_some(),
            "rows" => self.rows.is_some(),
            _ => false,
        }
    }

    /// # Errors
    /// What is missing.
    pub(super) fn finish(self) -> Result<SeriesBody<'t>, String> {
        let missing = |key: &str| format!("`{key}` is missing; the body must be {BODY}");
        Ok(SeriesBody {
            job: self.job.ok_or_else(|| missing("job"))?,
            interval_s: self.interval_s.ok_or_else(|| missing("interval"))?,
            rows: self.rows.ok_or_else(|| missing("rows"))?,
            refused: self.refused,
            warnings: self.warnings,
        })
    }

    /// Says what is wrong with which key.
    pub(super) fn fail<E: Error>(&mut self, key: &str, reason: String) -> E {
        let error = E::custom(&reason);
        self.fault.get_or_insert(Unfit::new(key, reason));
        error
    }

    /// Remembers the innermost key at fault; costs nothing while all is well.
    pub(super) fn blame<E: fmt::Display>(&mut self, key: &str, error: E) -> E {
        if self.fault.is_none() {
            self.fault = Some(unfit(key, &error.to_string()));
        }
        error
    }

    /// Adds which reading it was.
    pub(super) fn blame_reading<E: fmt::Display>(&mut self, index: usize, field: Option<&str>, error: E) -> E {
        let fault = self.fault.take().unwrap_or_else(|| unfit("the reading", &error.to_string()));
        self.fault = Some(match field.map(shown) {
            Some(name) => Unfit::new(format!("fields.{name}"), format!("reading {index} (`{name}`): {}", fault.reason)),
            None => Unfit::new(format!("r[{index}]"), format!("reading {index}: {}", fault.reason)),
        });
        error
    }

    /// Reads a number of seconds.
    pub(super) fn interval<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<f64, A::Error> {
        let read = map.next_value_seed(Any(SeriesFloat));
        let seconds = read.map_err(|error| self.blame(key, error))?;
        if seconds <= 0.0 {
            return Err(self.fail(key, format!("`{key}` is {seconds}; it must be a number of seconds above 0")));
        }
        Ok(seconds)
    }

    pub(super) fn unknown<E: Error>(&mut self, key: &str, known: &str) -> E {
        self.fail(key, format!("unknown key `{}`; the keys are {known}", shown(key)))
    }
}
