//! `pythond reload`: has what is on disk take effect, waits for it, and says what became of each script.

use std::path::Path;
use std::time::Duration;

use super::status::{exchange_within, no_agent, refusal, socket_of, understood};
use super::table::layout;
use super::{Exit, say, short, small_runtime, warn};
use crate::control::views::{Reloaded, ReloadedScript};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// An old worker may take a minute to end its run, and a new version half a minute to load.
const ANSWER: Duration = Duration::from_secs(150);

pub(super) fn main(root: &Path, args: &Args) -> Exit {
    let socket = socket_of(root);
    let asked = exchange_within(&socket, "POST", "/api/v1/reload", Vec::new(), ANSWER);
    let (status, body) = match small_runtime().block_on(asked) {
        Ok(answer) => answer,
        Err(error) => return no_agent(&socket, root, &error),
    };
    if !status.is_success() {
        warn(&format!("error: the agent refused: {}\n", refusal(&body)));
        return Exit::Failed;
    }
    let outcome: Reloaded = match understood(&body) {
        Ok(outcome) => outcome,
        Err(exit) => return exit,
    };
    if args.json {
        say(&format!("{}\n", serde_json::to_string_pretty(&outcome).expect("the views always serialise")));
    } else {
        for fault in &outcome.faults {
            warn(&format!("{}\n", fault.text));
        }
        say(&text(&outcome));
    }
    if outcome.refused_something() { Exit::Faults } else { Exit::Ok }
}

fn text(outcome: &Reloaded) -> String {
    if !outcome.faults.is_empty() {
        let count = outcome.faults.len();
        let faults = if count == 1 { "fault" } else { "faults" };
        return format!("{count} {faults} in the settings: nothing was changed\n");
    }
    let changed = |line: &&ReloadedScript| !matches!(line.outcome.as_str(), "unchanged" | "helper");
    let rows: Vec<Vec<String>> = outcome.scripts.iter().filter(changed).map(row).collect();
    let mut text = layout(&rows, "");
    for line in outcome.scripts.iter().filter(|line| line.outcome == "refused") {
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

fn row(line: &ReloadedScript) -> Vec<String> {
    let more = match (line.outcome.as_str(), line.pid, &line.why) {
        ("refused", ..) => "the version before runs on, if there is one".to_owned(),
        (_, Some(pid), Some(why)) => format!("pid {pid}, {why}"),
        (_, Some(pid), None) => format!("pid {pid}"),
        (_, None, why) => why.clone().unwrap_or_default(),
    };
    vec![line.id.clone(), line.outcome.clone(), short(Path::new(&line.file)), more]
}

fn summary(outcome: &Reloaded) -> String {
    let words = ["started", "restarted", "updated", "stopped", "refused", "helper", "unchanged"];
    let counted = words.iter().filter_map(|word| {
        let count = outcome.scripts.iter().filter(|line| line.outcome == *word).count();
        (count > 0).then(|| format!("{count} {word}"))
    });
    let counted: Vec<String> = counted.collect();
    if counted.is_empty() { "no scripts\n".to_owned() } else { format!("scripts: {}\n", counted.join(", ")) }
}
