//! `pythond check`: settings, interpreters, and every script loaded in a throw-away worker; all problems in one pass.

use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use serde::Serialize;

use super::exit::ExitReason;
use super::output::{say, short, show, warn};
use super::run::JsonProblem;
use super::runtime::small_runtime;
use crate::app;
use crate::code::Code;
use crate::config::{self, Config, ConfigError, InputTable, Surroundings};
use crate::diagnostic::{Diagnostic, Severity};
use crate::dialect::{Dialect, Finder};
use crate::tryout::{LOAD, Tryout, TryoutOutcome};
use crate::words::count;
use crate::worker::sys::NO_WORKERS;
use crate::worker::{WorkerSpec, discover};

#[derive(clap::Args)]
pub(super) struct CheckArgs {
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

pub(super) fn main(root: &Path, args: &CheckArgs) -> ExitReason {
    let found = match small_runtime().block_on(check(root, args)) {
        Ok(found) => found,
        Err(error) => {
            warn(&format!("error: could not prepare a throw-away worker: {error:#}\n"));
            return ExitReason::Failed;
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
    if errors == 0 { ExitReason::Ok } else { ExitReason::Faults }
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

#[derive(Default)]
struct CheckFinding {
    problems: Vec<Diagnostic>,
    scripts: usize,
    collectors: usize,
    helpers: usize,
    /// Of the dialects whose units are told, those that the settings name.
    told: Vec<InputFindings>,
    settings_read: bool,
}

/// What the inputs of one dialect tell.
#[derive(Clone, Copy)]
struct InputFindings {
    dialect: Dialect,
    units: usize,
    /// Units that are told not to run.
    off: usize,
    jobs: usize,
}

async fn check(root: &Path, args: &CheckArgs) -> anyhow::Result<CheckFinding> {
    let mut found = CheckFinding::default();
    let inputs = match read(root, args)? {
        Ok(config) => {
            found.settings_read = true;
            found.problems = config.warnings;
            config.inputs
        }
        Err(error) => {
            found.problems = [error.faults, error.warnings].concat();
            error.inputs
        }
    };
    let enabled: Vec<InputTable> = inputs.into_iter().filter(|input| input.enabled).collect();
    let discovered = discover::scripts(&enabled);
    found.problems.extend(discovered.problems);
    if let Some(why) = NO_WORKERS {
        found.problems.push(Diagnostic::warning(Code::NoInterpreter, format!("the scripts were not loaded: {why}")));
        return Ok(found);
    }
    let is_told = |spec: &WorkerSpec| spec.dialect.facts().finder == Finder::Lister;
    let (listers, scripts): (Vec<WorkerSpec>, Vec<WorkerSpec>) =
        discovered.specs.into_iter().flat_map(WorkerSpec::apart).partition(is_told);
    if listers.is_empty() && scripts.is_empty() {
        return Ok(found);
    }
    let tryout = Tryout::new().await?;
    found.load_scripts(&tryout, &scripts).await;
    let told = found.list(&tryout, &listers).await;
    found.load_told(&tryout, &told).await;
    Ok(found)
}

impl CheckFinding {
    async fn load_scripts(&mut self, tryout: &Tryout, specs: &[WorkerSpec]) {
        self.scripts = specs.len();
        let mut loads = futures_util::stream::iter(specs.iter().map(|spec| load(tryout, spec))).buffered(AT_ONCE);
        while let Some((spec, outcome)) = loads.next().await {
            let is_helper = outcome.fatal.as_ref().is_some_and(|fatal| fatal.passive);
            if is_helper && spec.has_siblings_in(specs) {
                self.helpers += 1;
                continue;
            }
            self.problems.extend(outcome.load_problems(spec));
            self.collectors += outcome.jobs.len();
        }
        self.scripts -= self.helpers;
    }

    /// Has the inputs tell their units; returns those that run.
    async fn list(&mut self, tryout: &Tryout, listers: &[WorkerSpec]) -> Vec<WorkerSpec> {
        let list = |lister| async move { (lister, tryout.list(lister, LOAD).await) };
        let mut lists = futures_util::stream::iter(listers.iter().map(list)).buffered(AT_ONCE);
        let mut specs = Vec::new();
        while let Some((lister, outcome)) = lists.next().await {
            self.note(outcome.listing_problems(lister));
            let before = specs.len();
            specs.extend(outcome.told(lister));
            let units = specs.len() - before;
            let told = self.told_of(lister.dialect);
            told.units += units;
            told.off += outcome.units.len() - units;
        }
        specs
    }

    async fn load_told(&mut self, tryout: &Tryout, specs: &[WorkerSpec]) {
        let mut loads = futures_util::stream::iter(specs.iter().map(|spec| load(tryout, spec))).buffered(AT_ONCE);
        while let Some((spec, outcome)) = loads.next().await {
            self.note(outcome.load_problems(spec));
            self.told_of(spec.dialect).jobs += outcome.jobs.len();
        }
    }

    /// Takes problems over, each once: several units may have read one file.
    fn note(&mut self, problems: Vec<Diagnostic>) {
        for problem in problems {
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
    }

    fn told_of(&mut self, dialect: Dialect) -> &mut InputFindings {
        let at = self.told.iter().position(|told| told.dialect == dialect).unwrap_or_else(|| {
            self.told.push(InputFindings { dialect, units: 0, off: 0, jobs: 0 });
            self.told.len() - 1
        });
        &mut self.told[at]
    }
}

fn read(root: &Path, args: &CheckArgs) -> anyhow::Result<Result<Config, ConfigError>> {
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

async fn load<'a>(tryout: &Tryout, spec: &'a WorkerSpec) -> (&'a WorkerSpec, TryoutOutcome) {
    (spec, tryout.check(spec, LOAD).await)
}

#[derive(Serialize)]
struct CheckJson {
    errors: usize,
    warnings: usize,
    scripts: usize,
    collectors: usize,
    helpers: usize,
    /// Of all dialects whose units are told.
    units: usize,
    jobs: usize,
    off: usize,
    problems: Vec<JsonProblem>,
}

impl CheckFinding {
    fn as_json(&self, errors: usize) -> CheckJson {
        CheckJson {
            errors,
            warnings: self.problems.len() - errors,
            scripts: self.scripts,
            collectors: self.collectors,
            helpers: self.helpers,
            units: self.told.iter().map(|told| told.units).sum(),
            jobs: self.told.iter().map(|told| told.jobs).sum(),
            off: self.told.iter().map(|told| told.off).sum(),
            problems: self.problems.iter().map(JsonProblem::of).collect(),
        }
    }

    fn summary(&self, errors: usize) -> String {
        let mut parts = Vec::new();
        if self.scripts > 0 || self.told.is_empty() {
            parts.push(format!("{} with {}", count(self.scripts, "script"), count(self.collectors, "collector")));
        }
        parts.extend(self.told.iter().map(InputFindings::summary));
        let mut checked = format!("{} loaded", parts.join(", "));
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

impl InputFindings {
    /// `3 netdata jobs (2 off)`, `1 collectd plugin with 2 jobs`.
    fn summary(&self) -> String {
        let facts = self.dialect.facts();
        let units = count(self.units, &format!("{} {}", facts.folder, facts.noun));
        let jobs = if facts.noun == "job" { String::new() } else { format!(" with {}", count(self.jobs, "job")) };
        let off = if self.off > 0 { format!(" ({} off)", self.off) } else { String::new() };
        format!("{units}{jobs}{off}")
    }
}
