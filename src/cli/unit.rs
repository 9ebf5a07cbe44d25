//! `pythond status NAME`: one unit in full, with each of its jobs.

use super::screen;
use super::table::{ago, bytes, span};
use crate::api::views::{JobView, StartedBy, UnitView};
use crate::supervisor::{Coming, UnitState};
use crate::words::count;

/// Jobs of one unit that are shown one by one.
const JOBS_SHOWN: usize = 50;
/// Columns of a key and what stands around it.
const KEY: usize = 11;

/// `width` is that of the terminal, where there is one.
pub(super) fn one(unit: &UnitView, width: Option<usize>) -> String {
    let mark = if unit.is_well() { "●" } else { "▲" };
    let title = if unit.title.is_empty() { String::new() } else { format!(" ({})", unit.title) };
    let line_of_file = if unit.line > 0 { format!(":{}", unit.line) } else { String::new() };
    let mut out = format!("{mark} {}{title} - {}{line_of_file}\n", unit.id, unit.file);
    let mut line = |key: &str, value: String| out.push_str(&format!("{key:>9}: {value}\n"));
    line("state", format!("{} for {}", unit.state, span(unit.since_s)));
    let sentence = |text: &str| screen::sentence(text, KEY, width);
    if let Some(why) = &unit.why {
        line("why", sentence(why));
    }
    for warning in unit.warnings.iter().filter(|warning| unit.why.as_ref() != Some(warning)) {
        line("warning", sentence(warning));
    }
    if unit.more_warnings > 0 {
        line("warning", format!("and {}", count(unit.more_warnings, "more warning")));
    }
    if unit.state == UnitState::Helper {
        line("why", "holds no collector; it is taken for a module that other scripts import".to_owned());
    }
    line("next", next(unit));
    line("input", unit.input.clone());
    line("dialect", unit.dialect.clone());
    line("worker", worker(unit));
    if let Some(text) = started(unit) {
        line("started", text);
    }
    if let Some(why) = &unit.recycled_why {
        line("replaced", format!("{}×, last for {why}", unit.recycled));
    }
    for job in unit.jobs.iter().take(JOBS_SHOWN) {
        line("job", sentence(&told_job(job)));
    }
    if unit.jobs.len() > JOBS_SHOWN {
        line("", format!("and {} more jobs", unit.jobs.len() - JOBS_SHOWN));
    }
    line("runs", format!("{} ok, {} failed, {} skipped", unit.runs_ok, unit.runs_failed, unit.skipped_ticks));
    line("points", format!("{} kept, {} refused", unit.points_accepted, unit.points_refused));
    if let Some(refusal) = &unit.last_refusal {
        line("refused", sentence(refusal));
    }
    if unit.output_dropped > 0 {
        line("output", format!("{} lines over the rate limit dropped", unit.output_dropped));
    }
    if let Some(error) = &unit.last_error {
        let place = error.place.as_ref().map(|place| format!(" at {place}")).unwrap_or_default();
        let text = sentence(&error.text);
        line("error", format!("{text}{place}, {}×, last {}", error.times, ago(error.last_ago_s)));
        out.push_str(&indented(&error.traceback, width));
    }
    for (title, text) in [("stack where it hung or died", unit.stack.clone()), ("last output", words(unit))] {
        if let Some(text) = text {
            out.push_str(&format!("{title}\n{}", indented(&text, width)));
        }
    }
    out
}

fn worker(unit: &UnitView) -> String {
    let pid = unit.pid.map_or("no process".to_owned(), |pid| format!("pid {pid}"));
    let memory = unit.memory_bytes.map(|count| format!(", {}", bytes(count))).unwrap_or_default();
    format!("{pid}{memory}, {} restarts", unit.restarts)
}

/// How its process came to be; `None` where there is none, or nothing to say of it.
fn started(unit: &UnitView) -> Option<String> {
    let took = unit.start_ms.map_or(String::new(), |ms| format!(" in {ms:.0} ms"));
    match (unit.started_by, &unit.exec_why) {
        (Some(StartedBy::Fork), _) => Some(format!("by the zygote of its interpreter{took}")),
        (Some(_), Some(why)) => Some(format!("as a program of its own{took}: {why}")),
        _ => None,
    }
}

fn words(unit: &UnitView) -> Option<String> {
    (!unit.last_words.is_empty()).then(|| unit.last_words.join("\n"))
}

fn indented(text: &str, width: Option<usize>) -> String {
    text.trim_end().lines().map(|line| format!("    {}\n", screen::line(line, 4, width))).collect()
}

/// `disk: ok, every 10 s, last run 2.1 ms, next run in 4 s`
fn told_job(job: &JobView) -> String {
    let title = if job.title.is_empty() { String::new() } else { format!(" ({})", job.title) };
    let state = if job.is_running { "running".to_owned() } else { job.state.to_string() };
    let mut text = format!("{}{title}: {state}, every {} s", job.key, job.every_s);
    if let Some(run) = &job.last_run {
        text.push_str(&format!(", last run {:.1} ms", run.ms));
    }
    if let Some(next) = job.next_in_s {
        text.push_str(&format!(", {}", ahead(&format!("next {}", job.state.comes_next()), next)));
    }
    if let Some(why) = &job.why {
        text.push_str(&format!(": {why}"));
    }
    text
}

/// What comes next, and when.
pub(super) fn next(unit: &UnitView) -> String {
    let Some(what) = &unit.next else { return "-".to_owned() };
    let within = unit.next_in_s.filter(|seconds| *seconds >= 0.5).map(span);
    Coming::tell(what, within.as_deref(), unit.next_at_change)
}

/// `check in 48 s`
pub(super) fn ahead(what: &str, seconds: f64) -> String {
    if seconds >= 0.5 { format!("{what} in {}", span(seconds)) } else { what.to_owned() }
}
