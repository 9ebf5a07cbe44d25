//! What `run` prints for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::report::Report;
use crate::cli::output::short;
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Severity};
use crate::point::{Category, Point, Value};
use crate::tryout::TryoutOutcome;

#[derive(Serialize)]
pub(super) struct RunJson {
    exit: u8,
    runs: usize,
    failed: usize,
    waiting: usize,
    refused: usize,
    warnings: usize,
    points: Vec<JsonPoint>,
    problems: Vec<JsonProblem>,
    output: Vec<String>,
}

impl Report {
    pub fn as_json(&self, outcome: &TryoutOutcome) -> RunJson {
        RunJson {
            exit: self.exit as u8,
            runs: outcome.runs.len(),
            failed: self.failed,
            waiting: self.waiting,
            refused: self.refused,
            warnings: self.warnings,
            points: outcome
                .captured
                .iter()
                .flat_map(|captured| captured.points.iter().map(|point| JsonPoint::of(captured.category, point)))
                .collect(),
            problems: self.problems.iter().map(JsonProblem::of).collect(),
            output: outcome.output.clone(),
        }
    }
}

#[derive(Serialize)]
struct JsonPoint {
    category: &'static str,
    measurement: String,
    tags: BTreeMap<String, String>,
    fields: serde_json::Map<String, serde_json::Value>,
    time: i64,
}

impl JsonPoint {
    fn of(category: Category, point: &Point) -> Self {
        let value = |value: &Value| match value {
            Value::Float(float) => (*float).into(),
            Value::Int(int) => (*int).into(),
            Value::Uint(uint) => (*uint).into(),
            Value::Bool(bool) => (*bool).into(),
            Value::Str(text) => text.as_ref().into(),
        };
        Self {
            category: category.as_str(),
            measurement: point.measurement().to_owned(),
            tags: point.tags().iter().map(|(key, tag)| (key.to_string(), tag.to_string())).collect(),
            fields: point.fields().iter().map(|(key, field)| (key.to_string(), value(field))).collect(),
            time: point.time_ns(),
        }
    }
}

/// A diagnostic for programs; used by `check --format json` too.
#[derive(Serialize)]
pub(in super::super) struct JsonProblem {
    code: Code,
    severity: &'static str,
    message: String,
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    notes: Vec<String>,
    help: Option<String>,
}

impl JsonProblem {
    pub(in super::super) fn of(diagnostic: &Diagnostic) -> Self {
        let place = diagnostic.place.as_ref();
        let line = place.map(|place| place.line).filter(|line| *line > 0);
        Self {
            code: diagnostic.code,
            severity: if diagnostic.severity == Severity::Error { "error" } else { "warning" },
            message: diagnostic.message.clone(),
            file: place.map(|place| short(&place.file)),
            line,
            column: line.and(place.map(|place| place.column)),
            notes: diagnostic.notes.clone(),
            help: diagnostic.help.clone(),
        }
    }
}
