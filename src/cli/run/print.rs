//! What `run` prints for people.

use std::collections::BTreeMap;

use super::args::Args;
use super::report::{self, Report};
use crate::cli::exit::ExitReason;
use crate::cli::output::{say, short, show, warn};
use crate::cli::table::layout;
use crate::point::{Category, Point, Value};
use crate::tryout::{Captured, TryoutOutcome};
use crate::words::count;
use crate::worker::WorkerSpec;
use crate::worker::frames::RunEnded;

pub(super) fn print(spec: &WorkerSpec, outcome: &TryoutOutcome, report: &Report, args: &Args) {
    let python =
        outcome.python.as_ref().map_or_else(|| spec.cmd.clone(), |python| format!("{} {}", python.exe, python.py));
    let sent = if args.send { "points go to the agent too" } else { "nothing is sent" };
    let mut out = format!("{} · {} · {python} · {sent}\n", spec.id, short(&spec.first().file));
    out.push_str(&steps(outcome));
    out.push_str(&points(&outcome.captured));
    if !outcome.output.is_empty() {
        out.push('\n');
        for line in &outcome.output {
            out.push_str(&format!("  {line}\n"));
        }
    }
    say(&out);
    if !report.problems.is_empty() {
        say("\n");
        show(&report.problems);
    }
    let word = if report.exit == ExitReason::Ok { "ok: " } else { "" };
    say(&format!(
        "{word}{}, {}, {} refused{}{}{}\n",
        count(outcome.runs.len(), "run"),
        count(report.points, "point"),
        report.refused,
        if report.failed > 0 { format!(", {} failed", report.failed) } else { String::new() },
        if report.warnings > 0 { format!(", {}", count(report.warnings, "warning")) } else { String::new() },
        if report.waiting > 0 { format!(", {} not run", count(report.waiting, "job")) } else { String::new() }
    ));
}

/// What the worker has written to its standard output, as it is; all else goes to standard error.
pub(super) fn protocol(outcome: &TryoutOutcome) {
    for line in &outcome.output {
        match line.strip_prefix("stdout | ") {
            Some(line) => say(&format!("{line}\n")),
            None => warn(&format!("{line}\n")),
        }
    }
}

fn steps(outcome: &TryoutOutcome) -> String {
    let mut rows = Vec::new();
    if !outcome.is_ready {
        rows.push(vec!["load".to_owned(), "FAILED".to_owned(), String::new(), String::new()]);
    }
    for job in outcome.jobs.iter().filter(|_| outcome.is_ready) {
        let what = format!("job {}, every {} s", job.key, job.every);
        rows.push(vec!["load".to_owned(), "ok".to_owned(), what, String::new()]);
    }
    for (job, stands) in report::waiting(outcome) {
        rows.push(vec![
            "check".to_owned(),
            "FAILED".to_owned(),
            format!("job {}: {}", job.key, stands.why),
            String::new(),
        ]);
    }
    for run in &outcome.runs {
        let (word, what) = match run {
            run if !run.ok => ("FAILED", report::why(run)),
            run if run.refused > 0 => ("REFUSED", format!("{} of {} points", run.refused, run.refused + run.points)),
            run if run.points == 0 && run.no_value > 0 => ("ok", "no points (first reading of counters)".to_owned()),
            run if run.points == 0 && is_silent(outcome, run) => ("ok", String::new()),
            run if run.points == 0 => ("EMPTY", "no points".to_owned()),
            run => ("ok", count(run.points, "point")),
        };
        rows.push(vec![format!("run {}", run.k), word.to_owned(), what, format!("{:.1} ms", run.ms)]);
    }
    layout(&rows, "  ")
}

fn is_silent(outcome: &TryoutOutcome, run: &RunEnded) -> bool {
    outcome.jobs.iter().any(|job| job.i == run.i && job.silent)
}

fn points(captured: &[Captured]) -> String {
    let mut by_category: BTreeMap<Category, Vec<&Point>> = BTreeMap::new();
    for one in captured {
        by_category.entry(one.category).or_default().extend(&one.points);
    }
    let mut out = String::new();
    for (category, points) in by_category {
        let mut rows =
            vec![vec![category.as_str().to_uppercase(), "TAGS".to_owned(), "FIELDS".to_owned(), "TIME".to_owned()]];
        rows.extend(points.iter().map(|point| {
            let tags: Vec<String> = point.tags().iter().map(|(key, value)| format!("{key}={value}")).collect();
            let fields: Vec<String> =
                point.fields().iter().map(|(key, value)| format!("{key}={}", shown(value))).collect();
            vec![point.measurement().to_owned(), tags.join(" "), fields.join("  "), time(point.time_ns())]
        }));
        out.push('\n');
        out.push_str(&layout(&rows, "  "));
    }
    out
}

fn shown(value: &Value) -> String {
    match value {
        Value::Float(float) => float.to_string(),
        Value::Int(int) => format!("{int}i"),
        Value::Uint(uint) => format!("{uint}u"),
        Value::Bool(bool) => bool.to_string(),
        Value::Str(text) => format!("{text:?}"),
    }
}

fn time(ns: i64) -> String {
    let Ok(at) = jiff::Timestamp::from_nanosecond(i128::from(ns)) else { return ns.to_string() };
    let zoned = at.to_zoned(jiff::tz::TimeZone::system());
    let today = jiff::Zoned::now().date() == zoned.date();
    zoned.strftime(if today { "%H:%M:%S%.3f" } else { "%Y-%m-%d %H:%M:%S%.3f" }).to_string()
}
