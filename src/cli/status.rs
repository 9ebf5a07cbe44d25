//! `pythond status`: asks the agent over its Unix socket and says for each unit what happened and what comes next.

use std::path::Path;
use std::time::Duration;

use super::ask::AgentClient;
use super::exit::ExitReason;
use super::output::{say, say_json};
use super::pick::pick;
use super::table::{ago, bytes, layout, span};
use super::unit::{ahead, next, one};
use super::{git, resources, screen};
use crate::api::views::{JobView, MechanismView, RefusedPointsView, Refusing, SinkView, Status, UnitView};
use crate::dialect::Dialect;
use crate::words::count;

#[derive(clap::Args)]
pub(super) struct StatusArgs {
    /// Show one unit in full: its name as in the list, or the end of it
    name: Option<String>,
    /// List all units: also those that are off, and those of stock settings that found nothing to collect
    #[arg(long, conflicts_with = "name")]
    all: bool,
    /// Show what the unit runs against: each resource, when it is gone, its next run and how the last one went
    #[arg(long, requires = "name", conflicts_with = "all")]
    resources: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    /// Show it again every two seconds, until Ctrl-C
    #[arg(long)]
    watch: bool,
}

/// Jobs of one unit that the list shows one by one.
const JOBS_LISTED: usize = 10;
const PAUSE: Duration = Duration::from_secs(2);

pub(super) fn main(root: &Path, args: &StatusArgs) -> ExitReason {
    let agent = AgentClient::of(root);
    loop {
        let exit = match &args.name {
            Some(name) if args.resources => resources::show(root, name, args.json, args.watch),
            _ => match agent.read("/api/v1/status") {
                Ok(status) => print(&status, args),
                Err(exit) => exit,
            },
        };
        if !args.watch || exit != ExitReason::Ok {
            return exit;
        }
        std::thread::sleep(PAUSE);
    }
}

fn print(status: &Status, args: &StatusArgs) -> ExitReason {
    match args.name.as_deref().map(|name| pick(status, name)).transpose() {
        Err(exit) => return exit,
        Ok(Some(unit)) if args.json => say_json(unit),
        Ok(None) if args.json => say_json(status),
        Ok(Some(unit)) => say(&one(unit, screen::width())),
        Ok(None) => {
            if args.watch {
                screen::clear();
            }
            say(&list(status, args.all));
        }
    }
    ExitReason::Ok
}

fn list(status: &Status, all: bool) -> String {
    let mut out = headline(status);
    let shown: Vec<&UnitView> = status.units.iter().filter(|unit| all || unit.is_listed()).collect();
    if status.units.is_empty() {
        out.push_str("no units: enable an input in conf.d\n");
    } else if !shown.is_empty() {
        let mut rows = vec![
            ["NAME", "STATE", "LAST RUN", "TOOK", "POINTS", "REFUSED", "FAILED", "NEXT", "RESTARTS", "MEM"]
                .map(str::to_owned)
                .to_vec(),
        ];
        rows.extend(shown.iter().flat_map(|unit| rows_of(unit)));
        out.push_str(&layout(&rows, ""));
    }
    if !all {
        out.push_str(&quiet(status));
    }
    for unit in status.units.iter().filter(|unit| !unit.is_well()) {
        out.push_str(&format!("\n▲ {}: {}\n", unit.id, trouble(unit, screen::width())));
    }
    if all {
        out.push_str(&reasons(&shown));
    }
    for sink in &status.sinks {
        if let Some(text) = sink_trouble(sink) {
            out.push_str(&format!("\n▲ sink {} ({}): {text}\n", sink.name, sink.target));
        }
        if let Some(text) = left_out(sink) {
            out.push_str(&format!("\n  sink {}: {text}\n", sink.name));
        }
    }
    out.push_str(&git::troubles(&status.repos));
    out.push_str(&footer(status));
    out
}

/// `63 stock jobs found nothing to collect`: in one line for each dialect, nobody has to do anything about them.
fn quiet(status: &Status) -> String {
    let one = |dialect: &Dialect| {
        let facts = dialect.facts();
        let found = status.units.iter().filter(|unit| unit.is_quiet() && unit.dialect == facts.folder).count();
        let text = || {
            format!(
                "{} found nothing to collect: pythond status --all\n",
                count(found, &format!("stock {}", facts.noun))
            )
        };
        (found > 0).then(text)
    };
    Dialect::ALL.iter().filter_map(one).collect()
}

/// Why those are as they are that nobody has to look at.
fn reasons(shown: &[&UnitView]) -> String {
    let hidden = shown.iter().filter(|unit| !unit.is_listed());
    let why = |unit: &UnitView| unit.why.clone().unwrap_or_default();
    let rows: Vec<Vec<String>> = hidden.map(|unit| vec![unit.id.clone(), unit.state.to_string(), why(unit)]).collect();
    if rows.is_empty() { String::new() } else { format!("\n{}", layout(&rows, "  ")) }
}

fn headline(status: &Status) -> String {
    let (well, all) = status.well();
    let units = match all - well {
        0 => format!("{well} unit{}", if well == 1 { ": well" } else { "s: all well" }),
        bad => format!("{all} units: {well} well, {bad} not"),
    };
    let warned = match status.with_warnings() {
        0 => String::new(),
        count => format!(", {count} with warnings"),
    };
    let sinks: Vec<String> = status.sinks.iter().map(|sink| format!("{} {}", sink.name, sink.state)).collect();
    let listen = status.listen.as_deref().map_or("socket only".to_owned(), |listen| format!("http://{listen}/"));
    format!(
        "pythond {}  running {}  {listen}\n{units}{warned}   sinks: {}   buffer: {}\n\n",
        status.version,
        span(status.uptime_s),
        sinks.join(", "),
        waiting(status)
    )
}

fn waiting(status: &Status) -> String {
    let behind = status.sinks.iter().map(|sink| sink.behind_points).max().unwrap_or(0);
    if let Some(why) = &status.buffer.poisoned {
        return format!("NOT WRITTEN ANY MORE: {why}");
    }
    if let Some(refusing) = &status.buffer.refusing {
        let Refusing { since_s, reports, why, help } = refusing;
        return format!("REPORTS ARE REFUSED for {}, {reports} so far: {why}\n▲ {help}", span(*since_s));
    }
    match (behind, status.buffer.oldest_s) {
        (0, _) => "nothing waits".to_owned(),
        (points, oldest) => format!(
            "{}{}, {} of {}",
            if points == 1 { "1 point waits".to_owned() } else { format!("{points} points wait") },
            oldest.map(|age| format!(", the oldest {}", span(age))).unwrap_or_default(),
            bytes(status.buffer.bytes),
            bytes(status.buffer.max_bytes)
        ),
    }
}

/// The row of a unit, and below it those of its jobs that are not well, where it has others beside them.
fn rows_of(unit: &UnitView) -> Vec<Vec<String>> {
    let jobs = || unit.jobs_not_well();
    let mut rows = vec![row(unit)];
    rows.extend(jobs().take(JOBS_LISTED).map(job_row));
    let more = jobs().count().saturating_sub(JOBS_LISTED);
    if more > 0 {
        rows.push(vec![format!("  and {}", count(more, "more job"))]);
    }
    rows
}

fn row(unit: &UnitView) -> Vec<String> {
    let run = unit.last_run.as_ref();
    vec![
        unit.id.clone(),
        state(unit),
        run.map_or("none yet".to_owned(), |run| ago(run.ago_s)),
        run.map_or(String::new(), |run| format!("{:.1} ms", run.ms)),
        unit.points_accepted.to_string(),
        unit.points_refused.to_string(),
        unit.runs_failed.to_string(),
        next(unit),
        unit.restarts.to_string(),
        unit.memory_bytes.map_or(String::new(), bytes),
    ]
}

/// `ok, 2 warnings`
fn state(unit: &UnitView) -> String {
    match unit.all_warnings() {
        0 => unit.state.to_string(),
        1 => format!("{}, 1 warning", unit.state),
        more => format!("{}, {more} warnings", unit.state),
    }
}

fn job_row(job: &JobView) -> Vec<String> {
    let run = job.last_run.as_ref();
    vec![
        format!("  {}", job.key),
        job.state.to_string(),
        run.map_or("none yet".to_owned(), |run| ago(run.ago_s)),
        run.map_or(String::new(), |run| format!("{:.1} ms", run.ms)),
        job.points.to_string(),
        String::new(),
        job.runs_failed.to_string(),
        job.next_in_s.map_or("-".to_owned(), |seconds| ahead(job.state.comes_next(), seconds)),
    ]
}

/// What happened, what comes next.
fn trouble(unit: &UnitView, width: Option<usize>) -> String {
    let why = unit.why.clone().unwrap_or_else(|| unit.state.to_string());
    let mut text = screen::sentence(&why, unit.id.len() + 4, width);
    text.push_str(&format!("\n    next: {}", next(unit)));
    if let Some(refusal) = &unit.last_refusal
        && !why.contains(refusal.as_str())
    {
        text.push_str(&format!("\n    last refused point: {}", screen::sentence(refusal, 24, width)));
    }
    if unit.output_dropped > 0 && !why.contains("output") {
        text.push_str(&format!("\n    {} lines of output over the rate limit were dropped", unit.output_dropped));
    }
    if unit.waits_for_check() {
        text.push_str(&format!("\n    check now: pythond recheck {}", unit.id));
    }
    text.push_str(&format!("\n    more: pythond status {}", unit.id));
    text
}

fn sink_trouble(sink: &SinkView) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(why) = &sink.why {
        let next = sink.next_in_s.map(|seconds| format!(", {}", ahead("next try", seconds))).unwrap_or_default();
        parts.push(format!("{} for {}: {why}; attempt {}{next}", sink.state, span(sink.since_s), sink.attempts));
        let (points, verb) =
            (count(sink.behind_points, "point"), if sink.behind_points == 1 { "waits" } else { "wait" });
        parts.push(format!("{points} {verb} on disk; nothing is lost"));
    }
    if sink.skipped > 0 {
        parts.push(format!(
            "{} skipped: at the cap of the buffer, by `pythond sink skip`, or damaged",
            were(sink.skipped)
        ));
    }
    if sink.dead > 0 {
        parts.push(format!("{} refused for good, kept in data/dead/{}", were(sink.dead), sink.name));
    }
    parts.extend(sink.refused.iter().map(|refused| {
        let RefusedPointsView { source, points, why, ago_s } = refused;
        format!("  {} of {source}, the last {}: {why}", count(*points, "point"), ago(*ago_s))
    }));
    (!parts.is_empty()).then(|| parts.join("\n    "))
}

/// `1 point was`, `3 points were`
fn were(points: u64) -> String {
    format!("{} {}", count(points, "point"), if points == 1 { "was" } else { "were" })
}

/// Fields left out are no trouble, but nobody should have to guess where they are.
fn left_out(sink: &SinkView) -> Option<String> {
    let reasons: Vec<String> = sink.dropped_fields.iter().map(|(why, count)| format!("{why}: {count}")).collect();
    let kind = &sink.kind;
    (!reasons.is_empty()).then(|| format!("fields that {kind} cannot hold were not sent ({})", reasons.join(", ")))
}

fn footer(status: &Status) -> String {
    let mut out = String::new();
    for removed in &status.removed_sinks {
        let holds = removed.holds_s.map_or("nothing is kept for it".to_owned(), |seconds| {
            format!("its points are kept for {} more", span(seconds))
        });
        out.push_str(&format!("\nsink {} is no longer in the settings; {holds}\n", removed.name));
    }
    for name in &status.needs_restart {
        out.push_str(&format!("\n▲ {name} changed: it takes effect when the agent is started again\n"));
    }
    out.push_str(&reload_trouble(status));
    out.push_str(&held_by(&status.mechanisms));
    for (task, count) in &status.panics {
        out.push_str(&format!(
            "\n▲ a defect in the agent: {task} panicked {count}×; it goes on, and the log says where\n"
        ));
    }
    for problem in &status.problems {
        out.push_str(&format!("\n▲ {problem}\n"));
    }
    for dead in status.dead_letters.iter().filter(|dead| dead.who == "ingest" && dead.points > 0) {
        out.push_str(&format!("\n{} refused at ingest: see data/dead/ingest\n", were(dead.points)));
    }
    for repaired in &status.repaired {
        let (text, times) = (&repaired.text, repaired.times);
        out.push_str(&format!("\n  points to {}: {text} ({}, {times}×)\n", repaired.input, ago(repaired.ago_s)));
    }
    for error in &status.last_errors {
        out.push_str(&format!("\n▲ {} says: {} ({}, {}×)\n", error.input, error.text, ago(error.ago_s), error.times));
    }
    out
}

/// The settings on disk are not those in force.
fn reload_trouble(status: &Status) -> String {
    let Some(last) = status.reload.as_ref().filter(|last| !last.outcome.faults.is_empty()) else {
        return String::new();
    };
    let mut out = format!("\n▲ the settings have faults since {}; those of before are in force:\n", ago(last.ago_s));
    for fault in &last.outcome.faults {
        let place = fault.file.as_ref().map_or(String::new(), |file| format!("{file}:{}: ", fault.line));
        out.push_str(&format!("    {place}{} [{}]\n", fault.message, fault.code));
    }
    out
}

/// One line: nobody has to do anything about it, but whoever looks for a process should know.
fn held_by(mechanisms: &[MechanismView]) -> String {
    let names = |active: bool| {
        let some = mechanisms.iter().filter(|mechanism| mechanism.active == active);
        some.map(|mechanism| mechanism.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    match (names(true), names(false)) {
        (active, _) if active.is_empty() => String::new(),
        (active, missing) if missing.is_empty() => format!("\nworkers are held by: {active}\n"),
        (active, missing) => format!("\nworkers are held by: {active}; not on this machine: {missing}\n"),
    }
}
