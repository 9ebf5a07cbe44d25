//! `pythond reload`: has what is on disk take effect, waits for it, and says what became of each unit.

use std::path::Path;
use std::time::Duration;

use super::ask::AgentClient;
use super::exit::ExitReason;
use super::output::{say, say_json, short, warn};
use super::table::layout;
use crate::api::views::{Reloaded, ReloadedUnit, UnitOutcome};
use crate::words::count;

#[derive(clap::Args)]
pub(super) struct ReloadArgs {
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// An old worker may take a minute to end its run, and a new version half a minute to load.
const ANSWER: Duration = Duration::from_secs(150);

pub(super) fn main(root: &Path, args: &ReloadArgs) -> ExitReason {
    let outcome: Reloaded = match AgentClient::of(root).ask("POST", "/api/v1/reload", ANSWER) {
        Ok(outcome) => outcome,
        Err(exit) => return exit,
    };
    if args.json {
        say_json(&outcome);
    } else {
        for fault in &outcome.faults {
            warn(&format!("{}\n", fault.text));
        }
        say(&text(&outcome));
    }
    if outcome.refused_something() { ExitReason::Faults } else { ExitReason::Ok }
}

fn text(outcome: &Reloaded) -> String {
    if !outcome.faults.is_empty() {
        return format!("{} in the settings: nothing was changed\n", count(outcome.faults.len(), "fault"));
    }
    let changed = |line: &&ReloadedUnit| line.outcome.is_news();
    let rows: Vec<Vec<String>> = outcome.units.iter().filter(changed).map(row).collect();
    let mut text = layout(&rows, "");
    for line in outcome.units.iter().filter(|line| line.outcome == UnitOutcome::Refused) {
        text.push_str(&format!(
            "\n▲ {} is refused: {}\n",
            line.id,
            line.why.as_deref().unwrap_or("no reason is known")
        ));
    }
    for sink in &outcome.sinks {
        let why = sink.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
        text.push_str(&format!("sink {}  {}{why}\n", sink.name, sink.outcome));
    }
    for name in &outcome.settings {
        text.push_str(&format!("{name}  changed\n"));
    }
    for name in &outcome.needs_restart {
        text.push_str(&format!("▲ {name} changed: it takes effect when the agent is started again\n"));
    }
    for problem in &outcome.problems {
        text.push_str(&format!("▲ {problem}\n"));
    }
    text.push_str(&summary(outcome));
    text
}

fn row(line: &ReloadedUnit) -> Vec<String> {
    let more = match (line.outcome, line.pid, &line.why) {
        (UnitOutcome::Refused, ..) => "the version before runs on, if there is one".to_owned(),
        (_, Some(pid), Some(why)) => format!("pid {pid}, {why}"),
        (_, Some(pid), None) => format!("pid {pid}"),
        (_, None, why) => why.clone().unwrap_or_default(),
    };
    vec![line.id.clone(), line.outcome.to_string(), short(Path::new(&line.file)), more]
}

fn summary(outcome: &Reloaded) -> String {
    use UnitOutcome::{Helper, Refused, Restarted, Started, Stopped, Unchanged, Updated};
    let words = [Started, Restarted, Updated, Stopped, Refused, Helper, Unchanged];
    let counted = words.into_iter().filter_map(|word| {
        let count = outcome.units.iter().filter(|line| line.outcome == word).count();
        (count > 0).then(|| format!("{count} {word}"))
    });
    let counted: Vec<String> = counted.collect();
    if counted.is_empty() { "no units\n".to_owned() } else { format!("units: {}\n", counted.join(", ")) }
}
