//! What became of one unit: the problems to show, the counts and the exit code.

use std::path::Path;

use crate::cli::exit::ExitReason;
use crate::cli::output::short;
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Severity, SourcePlace};
use crate::dialect::Dialect;
use crate::ingest::reply::RefusedAnswer;
use crate::point::Repair;
use crate::tryout::{TryoutEnd, TryoutOutcome, source_line, underline};
use crate::worker::WorkerSpec;
use crate::worker::frames::{JobFrame, JobStands, RefusedReport, RunEnded};
use crate::worker::process::Ended;

/// Everything that has to be said about one script.
pub(super) struct Report {
    pub problems: Vec<Diagnostic>,
    pub exit: ExitReason,
    pub points: usize,
    pub refused: usize,
    pub failed: usize,
    pub warnings: usize,
    /// Jobs whose check did not go well.
    pub waiting: usize,
}

impl Report {
    pub fn of(spec: &WorkerSpec, outcome: &TryoutOutcome) -> Self {
        let mut problems = outcome.load_problems(spec);
        let loaded = outcome.is_ready;
        let failed: Vec<&RunEnded> = outcome.runs.iter().filter(|run| !run.ok).collect();
        for run in &failed {
            let problem = raised(run, &what_failed(spec, run, outcome));
            // The second run may fail as the first did.
            if problems.last() != Some(&problem) {
                problems.push(problem);
            }
        }
        let waiting: Vec<(&JobFrame, &JobStands)> = waiting(outcome).collect();
        problems.extend(waiting.iter().map(|(job, stands)| not_ready(spec, job, stands)));
        let refusals: Vec<Diagnostic> = outcome.refused.iter().flat_map(refusals).collect();
        let refused = outcome.refused.iter().map(|refused| refused.points as usize).sum::<usize>().max(refusals.len());
        problems.extend(refusals);
        let repaired = |repair: &Repair| Diagnostic::warning(repair.code(), repair.what.clone());
        problems.extend(outcome.repaired.iter().map(|repair| repaired(repair).at(whole(&spec.first().file))));
        problems.extend(death(spec, outcome));
        let points = outcome.captured.iter().map(|captured| captured.points.len()).sum();
        let died = loaded && !matches!(outcome.end, Some(TryoutEnd::Ended(Ended::Exited(0))));
        let is_empty = points == 0 && is_missed(outcome);
        if is_empty && refused == 0 && loaded && !died && failed.is_empty() && waiting.is_empty() {
            problems.push(empty(spec, outcome));
        }
        let exit = match () {
            () if !loaded => ExitReason::NotLoaded,
            () if died || !failed.is_empty() => ExitReason::Raised,
            () if !waiting.is_empty() => ExitReason::NotLoaded,
            () if is_empty || refused > 0 => ExitReason::Refused,
            () => ExitReason::Ok,
        };
        let warnings = problems.iter().filter(|problem| problem.severity == Severity::Warning).count();
        Self { problems, exit, points, refused, failed: failed.len(), warnings, waiting: waiting.len() }
    }
}

/// The jobs whose check did not go well, each with the last word on it.
pub(super) fn waiting(outcome: &TryoutOutcome) -> impl Iterator<Item = (&JobFrame, &JobStands)> {
    let last = |job: &JobFrame| outcome.checks.iter().rev().find(|stands| stands.i == job.i);
    outcome.jobs.iter().filter_map(move |job| Some((job, last(job)?))).filter(|(_, stands)| stands.state.waits())
}

/// Says whether points are missed where there are none: not if a counter gave no value yet, nor if nobody expects any.
fn is_missed(outcome: &TryoutOutcome) -> bool {
    let is_first_reading = outcome.runs.iter().any(|run| run.no_value > 0);
    let are_silent = !outcome.jobs.is_empty() && outcome.jobs.iter().all(|job| job.silent);
    !is_first_reading && !are_silent
}

/// `Class.run` of a script; of another dialect the run or the check of a job.
fn what_failed(spec: &WorkerSpec, run: &RunEnded, outcome: &TryoutOutcome) -> String {
    let key = outcome.key(run.i);
    if spec.dialect == Dialect::Datakit {
        return format!("{key}.run");
    }
    let was_checked = outcome.checks.iter().any(|stands| stands.i == run.i && !stands.state.waits());
    format!("the {} of job {key}", if was_checked { "run" } else { "check" })
}

fn not_ready(spec: &WorkerSpec, job: &JobFrame, stands: &JobStands) -> Diagnostic {
    let (file, line) = (&spec.first().file, job.line as usize);
    let place = SourcePlace { line, source: source_line(file, line), ..whole(file) };
    Diagnostic::error(Code::CheckFailed, format!("job {} does not run: {}", job.key, stands.why)).at(place)
}

/// Why a run failed: what it raised, or in words where its dialect says so and no code of the user is to blame.
pub(super) fn why(run: &RunEnded) -> String {
    if is_told(run) { run.msg.clone() } else { run.raised() }
}

fn is_told(run: &RunEnded) -> bool {
    run.places.is_empty() && !run.msg.is_empty() && !run.tb.contains("\n  File ")
}

/// What a run raised, with the user's own frames.
fn raised(run: &RunEnded, what: &str) -> Diagnostic {
    let mut notes: Vec<String> = Vec::new();
    for frame in run.places.iter().skip(1) {
        notes.push(format!("called from {}:{} in {}", short(&frame.file), frame.line, frame.func));
    }
    notes.extend(run.hint.clone());
    if run.places.is_empty() && !is_told(run) {
        notes.extend(run.tb.lines().map(str::to_owned));
    }
    Diagnostic {
        code: Code::RunRaised,
        severity: Severity::Error,
        message: format!("{what} {} {}", if is_told(run) { "failed:" } else { "raised" }, why(run)),
        place: run.places.first().map(|frame| {
            let (column, width) = match (frame.col, frame.end_col) {
                (Some(start), Some(end)) => (start.max(1), end.saturating_sub(start).max(1)),
                _ => underline(&frame.src),
            };
            SourcePlace {
                file: frame.file.clone(),
                line: frame.line,
                column,
                width,
                source: frame.src.clone(),
                label: format!("in {}", frame.func),
            }
        }),
        other: None,
        notes,
        help: None,
    }
}

/// What ingest refused of one report, at the line of the script that reported it.
fn refusals(refused: &RefusedReport) -> Vec<Diagnostic> {
    let RefusedReport { status, text, code, .. } = refused;
    let place = refused.caller.as_ref().map(|caller| {
        let (column, width) = underline(&caller.src);
        let label = format!("reported here, in {}", caller.func);
        SourcePlace { file: caller.file.clone(), line: caller.line, column, width, source: caller.src.clone(), label }
    });
    let one = |code, message: String| Diagnostic {
        code,
        severity: Severity::Error,
        message,
        place: place.clone(),
        other: None,
        notes: Vec::new(),
        help: None,
    };
    if let Some(code) = code {
        return vec![one(*code, text.clone())];
    }
    match serde_json::from_str::<RefusedAnswer>(text) {
        Ok(answer) if !answer.refused.is_empty() => {
            answer.refused.iter().map(|point| one(code_of(&point.field), point.reason.clone())).collect()
        }
        Ok(answer) => vec![one(Code::WrongMeasurement, format!("the report was refused: {}", answer.message))],
        Err(_) if *status == 0 => vec![one(Code::NotSent, format!("the report could not be sent: {text}"))],
        Err(_) => vec![one(Code::WrongMeasurement, format!("the report was answered {status}: {text}"))],
    }
}

/// The stable code of a refusal, by the field at fault.
fn code_of(field: &str) -> Code {
    match field {
        "df_status" => Code::WrongStatus,
        "df_source" => Code::WrongSource,
        "df_dimension_tags" => Code::WrongDimensionTags,
        "measurement" => Code::WrongMeasurement,
        "fields" => Code::NoFields,
        "time" => Code::WrongTime,
        _ if field.starts_with("tags") => Code::WrongTag,
        _ => Code::NotSent,
    }
}

/// How the process died, when it did.
fn death(spec: &WorkerSpec, outcome: &TryoutOutcome) -> Option<Diagnostic> {
    let (code, message) = match outcome.end.as_ref()? {
        // A script that could not be loaded has said so already.
        _ if !outcome.is_ready => return None,
        TryoutEnd::Ended(Ended::Exited(0)) => return None,
        TryoutEnd::Ended(ended @ Ended::Exited(_)) => {
            (Code::ProcessExited, format!("the script's process {}", ended.tell()))
        }
        TryoutEnd::Ended(ended @ Ended::Killed(_)) => {
            (Code::ProcessKilled, format!("the script's process was {}", ended.tell()))
        }
        TryoutEnd::TimedOut(limit) => {
            (Code::RunTooLong, format!("the script was still running after {} s and was ended", limit.as_secs()))
        }
        TryoutEnd::NotStarted(why) => (Code::NoInterpreter, why.clone()),
    };
    let notes = outcome.trace.trim_end().lines().map(str::to_owned).collect();
    Some(Diagnostic {
        code,
        severity: Severity::Error,
        message,
        place: Some(whole(&spec.first().file)),
        other: None,
        notes,
        help: None,
    })
}

fn empty(spec: &WorkerSpec, outcome: &TryoutOutcome) -> Diagnostic {
    const HOW: &str = "a run reports with self.feed_metric(…), self.feed_logging(…), self.feed_object(…), self.feed_…_event(…) or self.report({…})";
    let how = (spec.dialect == Dialect::Datakit).then_some(HOW);
    let runs = outcome.runs.len();
    Diagnostic {
        code: Code::NothingReported,
        severity: Severity::Error,
        message: format!(
            "{runs} {} without an error, but no points were reported",
            if runs == 1 { "run ended" } else { "runs ended" }
        ),
        place: Some(whole(&spec.first().file)),
        other: None,
        notes: how.map(str::to_owned).into_iter().collect(),
        help: None,
    }
}

fn whole(file: &Path) -> SourcePlace {
    SourcePlace { file: file.to_owned(), ..SourcePlace::default() }
}
