//! `pythond restart NAME`, `pythond run-now NAME` and `pythond recheck NAME…`: tell units something.

use std::path::Path;

use super::ask::{AgentClient, accepted, escaped, understood};
use super::exit::ExitReason;
use super::output::say;
use super::pick::pick;
use crate::api::views::{Status, UnitView};

#[derive(clap::Args)]
pub(super) struct RestartArgs {
    /// The unit: its name as in `pythond status`, or the end of it
    name: String,
}

#[derive(clap::Args)]
pub(super) struct RecheckArgs {
    /// The units: their names as in `pythond status`, or the ends of them
    #[arg(required_unless_present = "all")]
    names: Vec<String>,
    /// All units that wait
    #[arg(long, conflicts_with = "names")]
    all: bool,
}

pub(super) fn restart(root: &Path, args: &RestartArgs) -> ExitReason {
    tell(root, &args.name, "restart", |unit| match unit.shares_process {
        false => "ends its run and is started anew".to_owned(),
        true => "and the other units of its process end their runs and are started anew".to_owned(),
    })
}

pub(super) fn run_now(root: &Path, args: &RestartArgs) -> ExitReason {
    tell(root, &args.name, "run-now", |_| "runs now".to_owned())
}

pub(super) fn recheck(root: &Path, args: &RecheckArgs) -> ExitReason {
    let agent = AgentClient::of(root);
    let told = status(&agent).and_then(|status| {
        let units = match args.all {
            true => status.units.iter().filter(|unit| unit.can_be_checked()).collect(),
            false => args.names.iter().map(|name| pick(&status, name)).collect::<Result<Vec<_>, ExitReason>>()?,
        };
        if units.is_empty() {
            say("nothing waits for its check\n");
        }
        units.iter().try_for_each(|unit| post(&agent, unit, "recheck", rechecks(unit)))
    });
    told.err().unwrap_or(ExitReason::Ok)
}

fn rechecks(unit: &UnitView) -> &'static str {
    match (unit.waits_for_check(), unit.can_be_checked()) {
        (true, _) => "checks now",
        (false, true) => "is tried now",
        (false, false) => "has no job that waits for its check",
    }
}

fn tell(root: &Path, name: &str, what: &str, done: impl Fn(&UnitView) -> String) -> ExitReason {
    let agent = AgentClient::of(root);
    let told = status(&agent).and_then(|status| {
        let unit = pick(&status, name)?;
        post(&agent, unit, what, &done(unit))
    });
    told.err().unwrap_or(ExitReason::Ok)
}

fn post(agent: &AgentClient, unit: &UnitView, what: &str, done: &str) -> Result<(), ExitReason> {
    let id = &unit.id;
    let (status, body) = agent.exchange("POST", &format!("/api/v1/units/{}/{what}", escaped(id)))?;
    accepted(status, &body)?;
    say(&format!("{id} {done}\n"));
    Ok(())
}

fn status(agent: &AgentClient) -> Result<Status, ExitReason> {
    let (_, body) = agent.exchange("GET", "/api/v1/status")?;
    understood(&body)
}
