//! `pythond restart NAME`, `pythond run-now NAME` and `pythond recheck NAME…`: tell units something.

use std::path::{Path, PathBuf};

use super::status::{escaped, exchange, no_agent, pick, refusal, socket_of, understood};
use super::{Exit, say, small_runtime, warn};
use crate::control::views::{Status, Unit};

#[derive(clap::Args)]
pub(super) struct Args {
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

pub(super) fn restart(root: &Path, args: &Args) -> Exit {
    tell(root, &args.name, "restart", |unit| match unit.shares_process {
        false => "ends its run and is started anew".to_owned(),
        true => "and the other units of its process end their runs and are started anew".to_owned(),
    })
}

pub(super) fn run_now(root: &Path, args: &Args) -> Exit {
    tell(root, &args.name, "run-now", |_| "runs now".to_owned())
}

pub(super) fn recheck(root: &Path, args: &RecheckArgs) -> Exit {
    let teller = Teller::new(root);
    let told = teller.status().and_then(|status| {
        let units = match args.all {
            true => status.units.iter().filter(|unit| unit.can_be_checked()).collect(),
            false => args.names.iter().map(|name| picked(&status, name)).collect::<Result<Vec<_>, Exit>>()?,
        };
        if units.is_empty() {
            say("nothing waits for its check\n");
        }
        units.iter().try_for_each(|unit| teller.tell(unit, "recheck", rechecks(unit)))
    });
    told.err().unwrap_or(Exit::Ok)
}

fn rechecks(unit: &Unit) -> &'static str {
    match (unit.waits_for_check(), unit.can_be_checked()) {
        (true, _) => "checks now",
        (false, true) => "is tried now",
        (false, false) => "has no job that waits for its check",
    }
}

fn tell(root: &Path, name: &str, what: &str, done: impl Fn(&Unit) -> String) -> Exit {
    let teller = Teller::new(root);
    let told = teller.status().and_then(|status| {
        let unit = picked(&status, name)?;
        teller.tell(unit, what, &done(unit))
    });
    told.err().unwrap_or(Exit::Ok)
}

fn picked<'a>(status: &'a Status, name: &str) -> Result<&'a Unit, Exit> {
    pick(status, name).map_err(|text| {
        warn(&text);
        Exit::Usage
    })
}

/// Talks to the agent; what goes wrong is said here.
struct Teller<'a> {
    root: &'a Path,
    socket: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl<'a> Teller<'a> {
    fn new(root: &'a Path) -> Self {
        Self { root, socket: socket_of(root), runtime: small_runtime() }
    }

    fn status(&self) -> Result<Status, Exit> {
        let (_, body) = self.exchange("GET", "/api/v1/status")?;
        understood(&body)
    }

    fn tell(&self, unit: &Unit, what: &str, done: &str) -> Result<(), Exit> {
        let id = &unit.id;
        let (status, body) = self.exchange("POST", &format!("/api/v1/units/{}/{what}", escaped(id)))?;
        if !status.is_success() {
            warn(&format!("error: the agent refused: {}\n", refusal(&body)));
            return Err(Exit::Failed);
        }
        say(&format!("{id} {done}\n"));
        Ok(())
    }

    fn exchange(&self, method: &str, path: &str) -> Result<(hyper::StatusCode, Vec<u8>), Exit> {
        let exchange = exchange(&self.socket, method, path, Vec::new());
        self.runtime.block_on(exchange).map_err(|error| no_agent(&self.socket, self.root, &error))
    }
}
