//! `pythond run`: one script in the foreground, without agent or settings, and everything it did.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::status;
use super::table::layout;
use super::{Exit, here, say, short, show, small_runtime, warn};
use crate::app;
use crate::config::diagnostic::Place;
use crate::config::{Diagnostic, Input, Severity, Surroundings};
use crate::ingest::reply::RefusedAnswer;
use crate::point::{Category, Point, Value};
use crate::tryout::{Captured, End, Outcome, Tryout};
use crate::worker::control::{Caller, Mode, RunEnded};
use crate::worker::process::Ended;
use crate::worker::{WorkerSpec, discover};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A script, a folder of scripts, or the name of a configured script, also with one of its classes (`my.script:Class`)
    target: String,
    /// Run each collector this many times
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// Print the points as line protocol and nothing else on stdout
    #[arg(long, conflicts_with = "json")]
    lp: bool,
    /// Print everything as one JSON object
    #[arg(long)]
    json: bool,
    /// Send the accepted points to the running agent too
    #[arg(long)]
    send: bool,
    /// Give up on the script after this time
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// The interpreter, where no settings name one
    #[arg(long, value_name = "CMD", default_value = "python3")]
    python: String,
}

pub(super) fn main(root: &Path, args: &Args) -> Exit {
    let specs = match find(root, args) {
        Ok(specs) => specs,
        Err(exit) => return exit,
    };
    let runtime = small_runtime();
    runtime.block_on(async {
        tokio::select! {
            exit = run_all(root, args, &specs) => exit,
            _ = tokio::signal::ctrl_c() => Exit::Interrupted,
        }
    })
}

async fn run_all(root: &Path, args: &Args, specs: &[WorkerSpec]) -> Exit {
    let tryout = match Tryout::new().await {
        Ok(tryout) => tryout,
        Err(error) => {
            warn(&format!("error: could not prepare a throw-away worker: {error:#}\n"));
            return Exit::Failed;
        }
    };
    let mut worst = Exit::Ok;
    let mut reports = Vec::new();
    for spec in specs {
        let outcome = tryout.run(spec, Mode::Once, args.times, args.timeout).await;
        let report = Report::of(spec, &outcome);
        let exit = report.exit;
        if args.json {
            reports.push(report.as_json(&outcome));
            show(&report.problems);
        } else if args.lp {
            for captured in &outcome.captured {
                say(&String::from_utf8_lossy(&captured.lines));
            }
            show(&report.problems);
        } else {
            print(spec, &outcome, &report, args);
        }
        let exit = if exit == Exit::Ok && args.send { send(root, &outcome).await } else { exit };
        if worst == Exit::Ok {
            worst = exit;
        }
    }
    if args.json {
        let text = if reports.len() == 1 {
            serde_json::to_string_pretty(&reports[0])
        } else {
            serde_json::to_string_pretty(&reports)
        };
        say(&format!("{}\n", text.expect("the report always serialises")));
    }
    worst
}

// --- what to run ---

fn find(root: &Path, args: &Args) -> Result<Vec<WorkerSpec>, Exit> {
    let configured = app::repos::settings(root, &Surroundings::of_this_process())
        .map(|config| discover::scripts(&config.inputs).specs)
        .unwrap_or_default();
    let configured: Vec<WorkerSpec> = configured.into_iter().flat_map(WorkerSpec::apart).collect();
    let path = here().join(&args.target);
    if !path.exists() {
        let named: Vec<WorkerSpec> =
            configured.iter().filter(|spec| is_called(&spec.id, &args.target)).cloned().collect();
        if !named.is_empty() {
            return Ok(named);
        }
        if let Some((script, class)) = args.target.rsplit_once(':') {
            let of = configured.iter().filter(|spec| is_called(&spec.id, script));
            let of_class: Vec<WorkerSpec> = of.map(|spec| spec.of_class(class)).collect();
            if !of_class.is_empty() {
                return Ok(of_class);
            }
        }
        let names: Vec<&str> = configured.iter().map(|spec| spec.id.as_str()).collect();
        let known =
            if names.is_empty() { String::new() } else { format!("; the configured scripts are {}", names.join(", ")) };
        warn(&format!("error: `{}` is no file, no folder and no configured script{known}\n", args.target));
        return Err(Exit::Usage);
    }
    let path = path.canonicalize().unwrap_or(path);
    let below: Vec<WorkerSpec> =
        configured.into_iter().filter(|spec| spec.script == path || spec.script.starts_with(&path)).collect();
    if !below.is_empty() {
        return Ok(below);
    }
    let found = discover::scripts(&[Input::plain("run", &args.python, path.clone())]);
    show(&found.problems);
    if found.specs.is_empty() {
        warn(&format!("error: `{}` holds no script: a file ending in .py that is no test\n", short(&path)));
        return Err(Exit::Usage);
    }
    Ok(found.specs)
}

fn is_called(id: &str, name: &str) -> bool {
    id == name || id.strip_suffix(name).is_some_and(|before| before.ends_with('.'))
}

// --- what became of it ---

/// Everything that has to be said about one script.
struct Report {
    problems: Vec<Diagnostic>,
    exit: Exit,
    points: usize,
    refused: usize,
    failed: usize,
}

impl Report {
    fn of(spec: &WorkerSpec, outcome: &Outcome) -> Self {
        let mut problems = outcome.load_problems(spec);
        let loaded = outcome.jobs.is_some();
        let failed: Vec<&RunEnded> = outcome.runs.iter().filter(|run| !run.ok).collect();
        problems.extend(failed.iter().map(|run| raised(run, outcome.class(run.i))));
        let refusals: Vec<Diagnostic> = outcome
            .refused
            .iter()
            .flat_map(|refused| refusals(refused.status, &refused.text, refused.caller.as_ref()))
            .collect();
        let refused = outcome.refused.iter().map(|refused| refused.points as usize).sum::<usize>().max(refusals.len());
        problems.extend(refusals);
        problems.extend(death(spec, outcome));
        let points = outcome.captured.iter().map(|captured| captured.points.len()).sum();
        let died = loaded && !matches!(outcome.end, Some(End::Ended(Ended::Exited(0))));
        if points == 0 && refused == 0 && loaded && !died && failed.is_empty() {
            problems.push(empty(spec, outcome));
        }
        let exit = match () {
            () if !loaded => Exit::NotLoaded,
            () if died || !failed.is_empty() => Exit::Raised,
            () if points == 0 || refused > 0 => Exit::Refused,
            () => Exit::Ok,
        };
        Self { problems, exit, points, refused, failed: failed.len() }
    }

    fn as_json(&self, outcome: &Outcome) -> Json {
        Json {
            exit: self.exit as u8,
            runs: outcome.runs.len(),
            failed: self.failed,
            refused: self.refused,
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

/// What a run raised, with the user's own frames.
fn raised(run: &RunEnded, class: &str) -> Diagnostic {
    let mut notes: Vec<String> = Vec::new();
    for frame in run.places.iter().skip(1) {
        notes.push(format!("called from {}:{} in {}", short(&frame.file), frame.line, frame.func));
    }
    notes.extend(run.hint.clone());
    if run.places.is_empty() {
        notes.extend(run.tb.lines().map(str::to_owned));
    }
    Diagnostic {
        code: "PD0301",
        severity: Severity::Error,
        message: format!("{class}.run raised {}", run.raised()),
        place: run.places.first().map(|frame| {
            let (column, width) = match (frame.col, frame.end_col) {
                (Some(start), Some(end)) => (start.max(1), end.saturating_sub(start).max(1)),
                _ => underline(&frame.src),
            };
            Place {
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

/// The code of a line without its indentation: column and width.
fn underline(source: &str) -> (usize, usize) {
    let indent = source.chars().take_while(|c| c.is_whitespace()).count();
    (indent + 1, source.trim().chars().count().max(1))
}

/// What ingest refused of one report, at the line of the script that reported it.
fn refusals(status: u16, text: &str, caller: Option<&Caller>) -> Vec<Diagnostic> {
    let place = caller.map(|caller| {
        let (column, width) = underline(&caller.src);
        let label = format!("reported here, in {}", caller.func);
        Place { file: caller.file.clone(), line: caller.line, column, width, source: caller.src.clone(), label }
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
    match serde_json::from_str::<RefusedAnswer>(text) {
        Ok(answer) if !answer.refused.is_empty() => {
            answer.refused.iter().map(|point| one(code_of(&point.field), point.reason.clone())).collect()
        }
        Ok(answer) => vec![one("PD0403", format!("the report was refused: {}", answer.message))],
        Err(_) if status == 0 => vec![one("PD0405", format!("the report could not be sent: {text}"))],
        Err(_) => vec![one("PD0403", format!("the report was answered {status}: {text}"))],
    }
}

/// The stable code of a refusal, by the field at fault (spec/experience 7.4).
fn code_of(field: &str) -> &'static str {
    match field {
        "df_status" => "PD0401",
        "df_source" => "PD0402",
        "df_dimension_tags" => "PD0409",
        "measurement" => "PD0403",
        "fields" => "PD0404",
        "time" => "PD0407",
        _ if field.starts_with("tags") => "PD0408",
        _ => "PD0405",
    }
}

/// How the process died, when it did.
fn death(spec: &WorkerSpec, outcome: &Outcome) -> Option<Diagnostic> {
    let (code, message) = match outcome.end.as_ref()? {
        // A script that could not be loaded has said so already.
        _ if outcome.jobs.is_none() => return None,
        End::Ended(Ended::Exited(0)) => return None,
        End::Ended(ended @ Ended::Exited(_)) => ("PD0303", format!("the script's process {}", ended.tell())),
        End::Ended(ended @ Ended::Killed(_)) => ("PD0304", format!("the script's process was {}", ended.tell())),
        End::TimedOut(limit) => {
            ("PD0302", format!("the script was still running after {} s and was ended", limit.as_secs()))
        }
        End::NotStarted(why) => ("PD0107", why.clone()),
    };
    let notes = outcome.trace.trim_end().lines().map(str::to_owned).collect();
    Some(Diagnostic {
        code,
        severity: Severity::Error,
        message,
        place: Some(whole(&spec.script)),
        other: None,
        notes,
        help: None,
    })
}

fn empty(spec: &WorkerSpec, outcome: &Outcome) -> Diagnostic {
    let runs = outcome.runs.len();
    Diagnostic {
        code: "PD0307",
        severity: Severity::Error,
        message: format!("{runs} {} without an error, but no points were reported", if runs == 1 { "run ended" } else { "runs ended" }),
        place: Some(whole(&spec.script)),
        other: None,
        notes: vec!["a run reports with self.feed_metric(…), self.feed_logging(…), self.feed_object(…), self.feed_…_event(…) or self.report({…})".to_owned()],
        help: None,
    }
}

fn whole(file: &Path) -> Place {
    Place { file: file.to_owned(), ..Place::default() }
}

// --- for people ---

fn print(spec: &WorkerSpec, outcome: &Outcome, report: &Report, args: &Args) {
    let python =
        outcome.python.as_ref().map_or_else(|| spec.cmd.clone(), |python| format!("{} {}", python.exe, python.py));
    let sent = if args.send { "points go to the agent too" } else { "nothing is sent" };
    let mut out = format!("{} · {} · {python} · {sent}\n", spec.id, short(&spec.script));
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
    let word = if report.exit == Exit::Ok { "ok: " } else { "" };
    say(&format!(
        "{word}{}, {}, {} refused{}\n",
        count(outcome.runs.len() as u64, "run"),
        count(report.points as u64, "point"),
        report.refused,
        if report.failed > 0 { format!(", {} failed", report.failed) } else { String::new() }
    ));
}

fn count(n: u64, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

fn steps(outcome: &Outcome) -> String {
    let mut rows = Vec::new();
    match &outcome.jobs {
        Some(jobs) => {
            for job in jobs {
                rows.push(vec![
                    "load".to_owned(),
                    "ok".to_owned(),
                    format!("class {}, interval {} s", job.class, job.interval),
                    String::new(),
                ]);
            }
        }
        None => rows.push(vec!["load".to_owned(), "FAILED".to_owned(), String::new(), String::new()]),
    }
    for run in &outcome.runs {
        let (word, what) = match run {
            run if !run.ok => ("FAILED", run.raised()),
            run if run.refused > 0 => ("REFUSED", format!("{} of {} points", run.refused, run.refused + run.points)),
            run if run.points == 0 => ("EMPTY", "no points".to_owned()),
            run => ("ok", count(run.points, "point")),
        };
        rows.push(vec![format!("run {}", run.k), word.to_owned(), what, format!("{:.1} ms", run.ms)]);
    }
    layout(&rows, "  ")
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

// --- for programs ---

#[derive(Serialize)]
struct Json {
    exit: u8,
    runs: usize,
    failed: usize,
    refused: usize,
    points: Vec<JsonPoint>,
    problems: Vec<JsonProblem>,
    output: Vec<String>,
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
pub(super) struct JsonProblem {
    code: &'static str,
    severity: &'static str,
    message: String,
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    notes: Vec<String>,
    help: Option<String>,
}

impl JsonProblem {
    pub(super) fn of(diagnostic: &Diagnostic) -> Self {
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

// --- to the agent ---

async fn send(root: &Path, outcome: &Outcome) -> Exit {
    let socket = status::socket_of(root);
    for captured in &outcome.captured {
        let path = format!("/v1/write/{}?precision=n&input=pythond-run", captured.category.as_str());
        if let Err(error) = status::request(&socket, "POST", &path, captured.lines.clone()).await {
            warn(&format!("error: the points could not be sent to the agent on {}: {error:#}\n", socket.display()));
            return Exit::NoAgent;
        }
    }
    Exit::Ok
}
