//! `pythond run`: one unit of any dialect in the foreground, without agent or settings, and everything it did.

mod args;
mod json;
mod print;
mod report;
mod target;

use std::path::Path;

pub(super) use self::args::Args;
pub(super) use self::json::JsonProblem;
use self::json::RunJson;
use self::report::Report;
use self::target::{Planned, RunPlan};
use super::ask::{request, socket_of};
use super::exit::ExitReason;
use super::output::{say, show, warn};
use super::runtime::small_runtime;
use crate::tryout::{Tryout, TryoutOutcome};

pub(super) fn main(root: &Path, args: &Args) -> ExitReason {
    let runtime = small_runtime();
    runtime.block_on(async {
        tokio::select! {
            exit = run_all(root, args) => exit,
            _ = tokio::signal::ctrl_c() => ExitReason::Interrupted,
        }
    })
}

async fn run_all(root: &Path, args: &Args) -> ExitReason {
    let tryout = match Tryout::new().await {
        Ok(tryout) => tryout,
        Err(error) => {
            warn(&format!("error: could not prepare a throw-away worker: {error:#}\n"));
            return ExitReason::Failed;
        }
    };
    let RunPlan { units, exit: mut worst } = match target::find(root, args, &tryout).await {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    let mut reports = Vec::new();
    let mut ran: Vec<(&Planned, TryoutOutcome)> = Vec::new();
    for planned in &units {
        let outcome = tryout.run(&planned.spec, args.times.unwrap_or(0), &planned.only, args.timeout).await;
        if planned.is_for(&outcome) {
            let report = Report::of(&planned.spec, &outcome);
            tell(args, planned, &outcome, &report);
            let exit = report.exit;
            let exit = if exit == ExitReason::Ok && args.send { send(root, &outcome).await } else { exit };
            worst = if worst == ExitReason::Ok { exit } else { worst };
            if args.json {
                reports.push(report.as_json(&outcome));
            }
        }
        ran.push((planned, outcome));
    }
    let unknown = target::unknown_jobs(args, &ran);
    if !unknown.is_empty() {
        warn(&unknown);
        return ExitReason::Usage;
    }
    if args.json {
        say(&format!("{}\n", as_text(&reports)));
    }
    worst
}

fn tell(args: &Args, planned: &Planned, outcome: &TryoutOutcome, report: &Report) {
    if args.json {
        show(&report.problems);
    } else if args.protocol {
        print::protocol(outcome);
        show(&report.problems);
    } else if args.lp {
        for captured in &outcome.captured {
            say(&String::from_utf8_lossy(&captured.lines));
        }
        show(&report.problems);
    } else {
        print::print(&planned.spec, outcome, report, args);
    }
}

/// One object for one unit, a list for several.
fn as_text(reports: &[RunJson]) -> String {
    let text = match reports {
        [one] => serde_json::to_string_pretty(one),
        several => serde_json::to_string_pretty(several),
    };
    text.expect("the report always serialises")
}

async fn send(root: &Path, outcome: &TryoutOutcome) -> ExitReason {
    let socket = socket_of(root);
    for captured in &outcome.captured {
        let path = format!("/v1/write/{}?precision=n&input=pythond-run", captured.category.as_str());
        if let Err(error) = request(&socket, "POST", &path, captured.lines.clone()).await {
            warn(&format!("error: the points could not be sent to the agent on {}: {error:#}\n", socket.display()));
            return ExitReason::NoAgent;
        }
    }
    ExitReason::Ok
}
