//! `pythond check`: settings, interpreters, and every script loaded in a throw-away worker; all problems in one pass.

use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use serde::Serialize;

use super::run::JsonProblem;
use super::{Exit, say, short, show, small_runtime, warn};
use crate::app;
use crate::config::{self, Config, ConfigError, Diagnostic, Input, Severity, Surroundings};
use crate::tryout::{LOAD, Outcome, Tryout};
use crate::worker::control::{Fatal, Mode};
use crate::worker::sys::NO_WORKERS;
use crate::worker::{WorkerSpec, discover};

#[derive(clap::Args)]
pub(super) struct Args {
    /// How to print the problems
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Check a git repository's own conf.d and python.d, as for its CI
    #[arg(long, value_name = "DIR")]
    repo: Option<PathBuf>,
    /// Check what runs on the host of this name, by `when` of the inputs
    #[arg(long, value_name = "NAME")]
    as_host: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    /// Annotations of a pull request, as GitHub's actions take them
    Github,
}

/// Scripts loaded at the same time.
const AT_ONCE: usize = 4;

pub(super) fn main(root: &Path, args: &Args) -> Exit {
    let found = match small_runtime().block_on(check(root, args)) {
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
        Format::Github => {
            let lines: String = found.problems.iter().map(annotation).collect();
            say(&format!("{lines}{}", found.summary(errors)));
        }
        Format::Text => {
            show(&found.problems);
            say(&found.summary(errors));
        }
    }
    if errors == 0 { Exit::Ok } else { Exit::Faults }
}

/// One workflow command of GitHub: `::error file=…,line=…::message`.
fn annotation(problem: &Diagnostic) -> String {
    let escaped = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let kind = if problem.severity == Severity::Error { "error" } else { "warning" };
    let place = problem.place.as_ref().map_or_else(String::new, |place| {
        let file = escaped(&short(&place.file)).replace(':', "%3A").replace(',', "%2C");
        match place.line {
            0 => format!("file={file},"),
            line => format!("file={file},line={line},col={},", place.column),
        }
    });
    let help = problem.help.as_ref().map(|help| format!("\n{help}")).unwrap_or_default();
    format!("::{kind} {place}title={}::{}\n", problem.code, escaped(&format!("{}{help}", problem.message)))
}

struct Found {
    problems: Vec<Diagnostic>,
    scripts: usize,
    collectors: usize,
    helpers: usize,
    settings_read: bool,
}

async fn check(root: &Path, args: &Args) -> anyhow::Result<Found> {
    let read = read(root, args)?;
    let (inputs, mut problems, settings_read) = match read {
        Ok(config) => (config.inputs, config.warnings, true),
        Err(error) => (error.inputs, [error.faults, error.warnings].concat(), false),
    };
    let enabled: Vec<Input> = inputs.into_iter().filter(|input| input.enabled).collect();
    let discovered = discover::scripts(&enabled);
    problems.extend(discovered.problems);
    let specs: Vec<WorkerSpec> = discovered.specs.into_iter().flat_map(WorkerSpec::apart).collect();
    let scripts = specs.len();
    let (mut collectors, mut helpers) = (0, 0);
    if let Some(why) = NO_WORKERS {
        problems.push(Diagnostic::warning("PD0107", format!("the scripts were not loaded: {why}")));
        return Ok(Found { problems, scripts: 0, collectors: 0, helpers: 0, settings_read });
    }
    if scripts > 0 {
        let tryout = Tryout::new().await?;
        let mut loads = futures_util::stream::iter(specs.iter().map(|spec| load(&tryout, spec))).buffered(AT_ONCE);
        while let Some((spec, outcome)) = loads.next().await {
            let is_helper = outcome.fatal.as_ref().is_some_and(Fatal::is_helper);
            if is_helper && spec.has_siblings_in(&specs) {
                helpers += 1;
                continue;
            }
            problems.extend(outcome.load_problems(spec));
            collectors += outcome.jobs.map_or(0, |jobs| jobs.len());
        }
    }
    Ok(Found { problems, scripts: scripts - helpers, collectors, helpers, settings_read })
}

fn read(root: &Path, args: &Args) -> anyhow::Result<Result<Config, ConfigError>> {
    let mut around = Surroundings::of_this_process();
    if let Some(host) = &args.as_host {
        around.hostname.clone_from(host);
    }
    let Some(repo) = &args.repo else {
        return Ok(app::repos::settings(root, &around));
    };
    let holds = |folder: &str| repo.join(folder).is_dir();
    anyhow::ensure!(holds("python.d") || holds("conf.d"), "{} holds neither conf.d nor python.d", repo.display());
    Ok(config::read_repo(repo, &around))
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
