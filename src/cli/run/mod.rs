//! `pythond run`: one unit of any dialect in the foreground, without agent or settings, and everything it did.

mod json;
mod print;
mod report;
mod target;

use std::path::{Path, PathBuf};
use std::time::Duration;

use self::json::Json;
pub(super) use self::json::JsonProblem;
use self::report::Report;
use self::target::{Plan, Planned};
use super::status;
use super::{Exit, say, show, small_runtime, warn};
use crate::dialect::Dialect;
use crate::tryout::{Outcome, Tryout};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A file, a folder of scripts, or the name of a configured unit, also with a part of it (`my.script:Class`,
    /// `netdata.memcached:tcp`)
    target: String,
    /// `debug`, `trace`, `nolock`: words with which netdata's guides end
    #[arg(hide = true)]
    words: Vec<String>,
    /// Whose file it is, where its name does not tell: pythond, netdata, collectd or panoptes
    #[arg(long, value_name = "NAME", value_parser = dialect)]
    dialect: Option<Dialect>,
    /// Run only this job, or only the jobs of this unit; may be given several times
    #[arg(long, value_name = "KEY")]
    job: Vec<String>,
    /// Run each job this many times [default: 1, or 2 where one reading says little]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    times: Option<u32>,
    /// netdata: run a job with these settings in place of those in its file
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., value_parser = pair)]
    set: Vec<(String, serde_json::Value)>,
    /// netdata: print what netdata's plugin would print, and nothing else on stdout
    #[arg(long, conflicts_with_all = ["json", "lp", "send"])]
    protocol: bool,
    /// collectd: the collectd.conf that configures the plugin
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Panoptes: run against this resource only
    #[arg(long, value_name = "ID")]
    resource: Option<String>,
    /// Panoptes: a JSON file of resources
    #[arg(long, value_name = "FILE")]
    resources: Option<PathBuf>,
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

fn dialect(text: &str) -> Result<Dialect, String> {
    let known = || Dialect::ALL.iter().map(|dialect| dialect.facts().table).collect::<Vec<_>>().join(", ");
    Dialect::of_table(text).ok_or_else(|| format!("it must be one of {}", known()))
}

/// A value is what it is in JSON, else text: numbers stay numbers.
fn pair(text: &str) -> Result<(String, serde_json::Value), String> {
    let (key, value) = text.split_once('=').ok_or("it must be KEY=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((key.to_owned(), value))
}

pub(super) fn main(root: &Path, args: &Args) -> Exit {
    let runtime = small_runtime();
    runtime.block_on(async {
        tokio::select! {
            exit = run_all(root, args) => exit,
            _ = tokio::signal::ctrl_c() => Exit::Interrupted,
        }
    })
}

async fn run_all(root: &Path, args: &Args) -> Exit {
    let tryout = match Tryout::new().await {
        Ok(tryout) => tryout,
        Err(error) => {
            warn(&format!("error: could not prepare a throw-away worker: {error:#}\n"));
            return Exit::Failed;
        }
    };
    let Plan { units, exit: mut worst } = match target::find(root, args, &tryout).await {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    let mut reports = Vec::new();
    let mut ran: Vec<(&Planned, Outcome)> = Vec::new();
    for planned in &units {
        let outcome = tryout.run(&planned.spec, args.times.unwrap_or(0), &planned.only, args.timeout).await;
        if planned.is_for(&outcome) {
            let report = Report::of(&planned.spec, &outcome);
            tell(args, planned, &outcome, &report);
            let exit = report.exit;
            let exit = if exit == Exit::Ok && args.send { send(root, &outcome).await } else { exit };
            worst = if worst == Exit::Ok { exit } else { worst };
            if args.json {
                reports.push(report.as_json(&outcome));
            }
        }
        ran.push((planned, outcome));
    }
    let unknown = target::unknown_jobs(args, &ran);
    if !unknown.is_empty() {
        warn(&unknown);
        return Exit::Usage;
    }
    if args.json {
        say(&format!("{}\n", as_text(&reports)));
    }
    worst
}

fn tell(args: &Args, planned: &Planned, outcome: &Outcome, report: &Report) {
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
fn as_text(reports: &[Json]) -> String {
    let text = match reports {
        [one] => serde_json::to_string_pretty(one),
        several => serde_json::to_string_pretty(several),
    };
    text.expect("the report always serialises")
}

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
