//! `pythond check`: settings, interpreters, and every script loaded in a throw-away worker; all problems in one pass.

use std::path::Path;

use futures_util::StreamExt;
use serde::Serialize;

use super::run::JsonProblem;
use super::{Exit, say, show, small_runtime, warn};
use crate::config::{self, Diagnostic, Input, Severity, Surroundings};
use crate::tryout::{LOAD, Outcome, Tryout};
use crate::worker::control::{Fatal, Mode};
use crate::worker::{WorkerSpec, discover};

#[derive(clap::Args)]
pub(super) struct Args {
    /// How to print the problems
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Scripts loaded at the same time.
const AT_ONCE: usize = 4;

pub(super) fn main(root: &Path, args: &Args) -> Exit {
    let found = match small_runtime().block_on(check(root)) {
        Ok(found) => found,
        Err(error) => {
            warn(&format!("error: could not prepare a throw-away worker: {error:#}\n"));
            return Exit::Failed;
        }
    };
    let errors = found.problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    match args.format {
        Format::Json => say(&format!(
            "{}\n",
            serde_json::to_string_pretty(&found.as_json(errors)).expect("the report always serialises")
        )),
        Format::Text => {
            show(&found.problems);
            say(&found.summary(errors));
        }
    }
    if errors == 0 { Exit::Ok } else { Exit::Faults }
}

struct Found {
    problems: Vec<Diagnostic>,
    scripts: usize,
    collectors: usize,
    helpers: usize,
    settings_read: bool,
}

async fn check(root: &Path) -> anyhow::Result<Found> {
    let (inputs, mut problems, settings_read) = match config::read(root, &Surroundings::of_this_process()) {
        Ok(config) => (config.inputs, config.warnings, true),
        Err(error) => (error.inputs, [error.faults, error.warnings].concat(), false),
    };
    let enabled: Vec<Input> = inputs.into_iter().filter(|input| input.enabled).collect();
    let discovered = discover::scripts(&enabled);
    problems.extend(discovered.problems);
    let scripts = discovered.specs.len();
    let (mut collectors, mut helpers) = (0, 0);
    if scripts > 0 {
        let tryout = Tryout::new().await?;
        let mut loads =
            futures_util::stream::iter(discovered.specs.iter().map(|spec| load(&tryout, spec))).buffered(AT_ONCE);
        while let Some((spec, outcome)) = loads.next().await {
            let is_helper = outcome.fatal.as_ref().is_some_and(Fatal::is_helper);
            if is_helper && spec.has_siblings_in(&discovered.specs) {
                helpers += 1;
                continue;
            }
            problems.extend(outcome.load_problems(spec));
            collectors += outcome.jobs.map_or(0, |jobs| jobs.len());
        }
    }
    Ok(Found { problems, scripts: scripts - helpers, collectors, helpers, settings_read })
}

async fn load<'a>(tryout: &Tryout, spec: &'a WorkerSpec) -> (&'a WorkerSpec, Outcome) {
    (spec, tryout.run(spec, Mode::Check, 0, LOAD).await)
}

#[derive(Serialize)]
struct Json {
    errors: usize,
    warnings: usize,
    scripts: usize,
    collectors: usize,
    helpers: usize,
    problems: Vec<JsonProblem>,
}

impl Found {
    fn as_json(&self, errors: usize) -> Json {
        Json {
            errors,
            warnings: self.problems.len() - errors,
            scripts: self.scripts,
            collectors: self.collectors,
            helpers: self.helpers,
            problems: self.problems.iter().map(JsonProblem::of).collect(),
        }
    }

    fn summary(&self, errors: usize) -> String {
        let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        let mut checked =
            format!("{} with {} loaded", count(self.scripts, "script"), count(self.collectors, "collector"));
        if self.helpers > 0 {
            checked.push_str(&format!(", {} without a collector", count(self.helpers, "helper module")));
        }
        let warnings = self.problems.len() - errors;
        if errors + warnings == 0 {
            return format!("ok: settings read, {checked}\n");
        }
        let rest = if self.settings_read { "" } else { "; the scripts of inputs with a fault were not loaded" };
        format!("{}, {}: {checked}{rest}\n", count(errors, "error"), count(warnings, "warning"))
    }
}
