//! What is to be run: the units of a file or of a name.
//!
//! A file belongs to a dialect by its name, by `--dialect`, or by the input that names its folder. Where a dialect tells its units, a lister in
//! the try-out tells those of the file; a name is looked for among the scripts first, then among what the configured inputs tell.

use std::path::{Path, PathBuf};

use super::args::Args;
use crate::app;
use crate::cli::exit::ExitReason;
use crate::cli::output::{here, short, show, warn};
use crate::config::{InputTable, Surroundings};
use crate::diagnostic::{Diagnostic, Severity};
use crate::dialect::{Dialect, Finder, KeyKind};
use crate::tryout::{Tryout, TryoutOutcome};
use crate::worker::frames::ToldUnit;
use crate::worker::{UnitSpec, WorkerSpec, discover};

pub(super) struct RunPlan {
    pub units: Vec<Planned>,
    /// Not ok where a part of what was asked for cannot run.
    pub exit: ExitReason,
}

pub(super) struct Planned {
    pub spec: WorkerSpec,
    /// Keys of the jobs to run; empty: all.
    pub only: Vec<String>,
}

impl Planned {
    fn whole(spec: WorkerSpec) -> Self {
        Self { spec, only: Vec::new() }
    }

    /// Says whether it has a job that was asked for, as far as it could be loaded.
    pub fn is_for(&self, outcome: &TryoutOutcome) -> bool {
        self.only.is_empty() || !outcome.is_ready || outcome.jobs.iter().any(|job| self.only.contains(&job.key))
    }
}

pub(super) async fn find(root: &Path, args: &Args, tryout: &Tryout) -> Result<RunPlan, ExitReason> {
    let configured = configured(root);
    let path = here().join(&args.target);
    if !path.exists() {
        return of_name(args, &configured, tryout).await;
    }
    let path = path.canonicalize().unwrap_or(path);
    let dialect = dialect_of(&path, args, &configured)?;
    check_options(args, dialect)?;
    if dialect.facts().finder == Finder::Names {
        return Ok(plan(scripts(&path, args, configured)?, &args.job));
    }
    of_file(file_lister(dialect, &path, args, &configured), args, tryout).await
}

/// Says which jobs that were asked for are nowhere, and which there are; empty if none is missing.
pub(super) fn unknown_jobs(args: &Args, ran: &[(&Planned, TryoutOutcome)]) -> String {
    let keys = || ran.iter().flat_map(|(_, outcome)| outcome.jobs.iter().map(|job| job.key.as_str()));
    let could_all_be_loaded = ran.iter().all(|(_, outcome)| outcome.is_ready);
    let asked = ran.iter().flat_map(|(planned, _)| &planned.only);
    let mut missing: Vec<&String> = asked.filter(|key| !keys().any(|known| known == *key)).collect();
    missing.dedup();
    let Some(key) = missing.first().filter(|_| could_all_be_loaded) else { return String::new() };
    let ids = ran.iter().map(|(planned, _)| planned.spec.id.as_str());
    let known = unique(ids.chain(keys()));
    format!("error: `{}` has no job `{key}`; there are {}\n", args.target, known.join(", "))
}

/// What the settings name, each unit that is found by its name for itself. Inputs with a fault are left out.
fn configured(root: &Path) -> Vec<WorkerSpec> {
    let read = app::repos::settings(root, &Surroundings::of_this_process());
    let inputs = read.map_or_else(|error| error.inputs, |config| config.inputs);
    discover::scripts(&inputs).specs.into_iter().flat_map(WorkerSpec::apart).collect()
}

fn is_told(spec: &WorkerSpec) -> bool {
    spec.dialect.facts().finder == Finder::Lister
}

fn usage(text: &str) -> ExitReason {
    warn(&format!("error: {text}\n"));
    ExitReason::Usage
}

// --- a file ---

fn dialect_of(path: &Path, args: &Args, configured: &[WorkerSpec]) -> Result<Dialect, ExitReason> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some(dialect) = args.dialect {
        let facts = dialect.facts();
        let fits = facts.finder == Finder::Names || path.is_file() && facts.stem_by_hand(&name).is_some();
        let endings = [facts.endings, facts.by_hand].concat().join(", ");
        return if fits {
            Ok(dialect)
        } else {
            Err(usage(&format!("`--dialect {}` takes a file: {endings}", facts.table)))
        };
    }
    if path.is_dir() {
        return Ok(Dialect::Datakit);
    }
    let takes =
        |dialect: Dialect| dialect.facts().finder == Finder::Lister && dialect.facts().stem_by_hand(&name).is_some();
    let by_option = own_options(args).into_iter().find(|own| own.value.is_some() && takes(own.dialect));
    if let Some(own) = by_option {
        return Ok(own.dialect);
    }
    if let Some(dialect) = Dialect::of_file(&name).filter(|dialect| dialect.facts().finder == Finder::Lister) {
        return Ok(dialect);
    }
    if configured.iter().any(|spec| !is_told(spec) && spec.first().file == path) {
        return Ok(Dialect::Datakit);
    }
    let of_input = configured.iter().find(|spec| takes(spec.dialect) && names(spec, path));
    Ok(of_input.map_or(Dialect::Datakit, |spec| spec.dialect))
}

/// Says whether the settings of an input name the file, or a folder above it.
fn names(spec: &WorkerSpec, path: &Path) -> bool {
    let holds = |text: &str| {
        let place = PathBuf::from(text);
        place.is_absolute() && path.starts_with(place.canonicalize().unwrap_or(place))
    };
    let keys = spec.dialect.facts().keys.iter().filter(|key| matches!(key.kind, KeyKind::Paths(_) | KeyKind::Text));
    keys.filter_map(|key| spec.settings.get(key.name)).any(|value| match value {
        serde_json::Value::Array(values) => values.iter().filter_map(|value| value.as_str()).any(holds),
        value => value.as_str().is_some_and(holds),
    })
}

/// The scripts that a path is, or that lie below it, under their settings where they have some.
fn scripts(path: &Path, args: &Args, configured: Vec<WorkerSpec>) -> Result<Vec<WorkerSpec>, ExitReason> {
    let is_below = |spec: &WorkerSpec| !is_told(spec) && spec.first().file.starts_with(path);
    let below: Vec<WorkerSpec> = configured.into_iter().filter(is_below).collect();
    if !below.is_empty() {
        return Ok(below);
    }
    let found = discover::scripts(&[InputTable::plain("run", &args.python, path.to_owned())]);
    show(&found.problems);
    if found.specs.is_empty() {
        return Err(usage(&format!("`{}` holds no script: a file ending in .py that is no test", short(path))));
    }
    Ok(found.specs)
}

/// The lister of one file: under the input that names it, or under defaults.
fn file_lister(dialect: Dialect, path: &Path, args: &Args, configured: &[WorkerSpec]) -> WorkerSpec {
    let facts = dialect.facts();
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    let of_input = configured.iter().find(|spec| spec.dialect == dialect && names(spec, path)).cloned();
    let spec = of_input.unwrap_or_else(|| {
        let plain = InputTable::plain(facts.table, &args.python, folder.clone());
        let (isolation, settings) = (facts.default_isolation(), facts.default_settings());
        discover::scripts(&[InputTable { dialect, isolation, settings, ..plain }]).specs.remove(0)
    });
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = facts.stem_by_hand(&name).unwrap_or(&name).to_owned();
    let id = format!("{}.{stem}", spec.input);
    let unit = UnitSpec::of_file(id.clone(), path.to_owned(), folder.clone(), stem);
    let mut roots = spec.roots.clone();
    if !roots.contains(&folder) {
        roots.insert(0, folder);
    }
    with_options(WorkerSpec { id, units: vec![unit], roots, ..spec }, args)
}

async fn of_file(lister: WorkerSpec, args: &Args, tryout: &Tryout) -> Result<RunPlan, ExitReason> {
    let outcome = tryout.list(&lister, args.timeout).await;
    let problems = outcome.listing_problems(&lister);
    show(&problems);
    let has_errors = has_errors(&problems);
    let told: Vec<WorkerSpec> = outcome.told(&lister).collect();
    if told.is_empty() {
        if !has_errors {
            warn(&format!("error: `{}` has nothing to run\n", args.target));
        }
        return Err(ExitReason::NotLoaded);
    }
    // Somebody who names a job does not ask for the others.
    let is_whole = !has_errors || !args.job.is_empty();
    Ok(RunPlan { exit: if is_whole { ExitReason::Ok } else { ExitReason::NotLoaded }, ..plan(told, &args.job) })
}

fn has_errors(problems: &[Diagnostic]) -> bool {
    problems.iter().any(|problem| problem.severity == Severity::Error)
}

/// What runs of these units. A job may be named by its unit, or by its own key.
fn plan(specs: Vec<WorkerSpec>, jobs: &[String]) -> RunPlan {
    let is_unit = |spec: &WorkerSpec, job: &String| {
        spec.id == *job || spec.id.strip_suffix(job.as_str()).is_some_and(|before| before.ends_with(['.', ':']))
    };
    let keys = jobs.iter().filter(|job| !specs.iter().any(|spec| is_unit(spec, job)));
    let only: Vec<String> = keys.cloned().collect();
    let planned = |spec: WorkerSpec| match jobs {
        [] => Some(Planned::whole(spec)),
        _ if jobs.iter().any(|job| is_unit(&spec, job)) => Some(Planned::whole(spec)),
        _ => (!only.is_empty()).then(|| Planned { spec, only: only.clone() }),
    };
    RunPlan { units: specs.into_iter().filter_map(planned).collect(), exit: ExitReason::Ok }
}

// --- a name ---

/// What somebody may have meant, for when there is no unit of the name.
#[derive(Default)]
struct KnownNames {
    ids: Vec<String>,
    problems: Vec<Diagnostic>,
}

async fn of_name(args: &Args, configured: &[WorkerSpec], tryout: &Tryout) -> Result<RunPlan, ExitReason> {
    let name = &args.target;
    let wanted = |spec: &&WorkerSpec| args.dialect.is_none_or(|dialect| dialect == spec.dialect);
    let (listers, scripts): (Vec<&WorkerSpec>, Vec<&WorkerSpec>) =
        configured.iter().filter(wanted).partition(|spec| is_told(spec));
    let mut named: Vec<WorkerSpec> =
        scripts.iter().filter(|spec| is_called(&spec.id, name)).map(|spec| (*spec).clone()).collect();
    let mut known = KnownNames { ids: scripts.iter().map(|spec| spec.id.clone()).collect(), ..KnownNames::default() };
    if named.is_empty() {
        // A part of a script, such as one of its classes.
        let whole = name.rsplit_once(':').map_or("", |(script, _)| script);
        for script in scripts.iter().filter(|spec| is_called(&spec.id, whole)) {
            named.extend(told_of(script, name, args, tryout, &mut known).await);
        }
    }
    if named.is_empty() {
        let begins = |spec: &&&WorkerSpec| {
            *name == spec.input || name.strip_prefix(&spec.input).is_some_and(|rest| rest.starts_with('.'))
        };
        let direct: Vec<&WorkerSpec> = listers.iter().filter(begins).copied().collect();
        for lister in if direct.is_empty() { &listers } else { &direct } {
            named.extend(told_of(lister, name, args, tryout, &mut known).await);
        }
    }
    let Some(first) = named.first() else { return Err(unknown(name, &known)) };
    check_options(args, first.dialect)?;
    if !args.set.is_empty() {
        return Err(usage("`--set` is for a module that is named by its file"));
    }
    Ok(plan(named, &args.job))
}

/// The units that an input, or a script, tells under this name; what is wrong in their files is shown.
async fn told_of(
    lister: &WorkerSpec,
    name: &str,
    args: &Args,
    tryout: &Tryout,
    known: &mut KnownNames,
) -> Vec<WorkerSpec> {
    let lister = with_options(lister.clone(), args);
    let outcome = tryout.list(&lister, args.timeout).await;
    let problems = outcome.listing_problems(&lister);
    let is_meant = |unit: &&ToldUnit| match name == lister.input && is_told(&lister) {
        true => unit.off.is_empty(),
        false => is_called(&unit.id, name),
    };
    let meant: Vec<&ToldUnit> = outcome.units.iter().filter(is_meant).collect();
    for unit in meant.iter().filter(|unit| !unit.off.is_empty()) {
        warn(&format!("note: {} is off ({}); it is run because it is named\n", unit.id, unit.off));
    }
    let concerns = |problem: &&Diagnostic| {
        let file = problem.place.as_ref().map(|place| &place.file);
        file.is_none_or(|file| meant.iter().any(|unit| unit.file == *file || unit.reads.contains(file)))
    };
    if meant.is_empty() {
        known.ids.extend(outcome.told(&lister).map(|spec| spec.id));
        known.problems.extend(problems);
    } else {
        show(&problems.iter().filter(concerns).cloned().collect::<Vec<_>>());
    }
    meant.into_iter().map(|unit| lister.of_told(vec![unit.clone().into_unit()], "")).collect()
}

fn unknown(name: &str, known: &KnownNames) -> ExitReason {
    show(&known.problems);
    let ids = unique(known.ids.iter().map(String::as_str));
    let there = if ids.is_empty() { String::new() } else { format!("; there are {}", ids.join(", ")) };
    usage(&format!("`{name}` is no file, no folder and no configured unit{there}"))
}

fn is_called(id: &str, name: &str) -> bool {
    id == name || id.strip_suffix(name).is_some_and(|before| before.ends_with('.'))
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

// --- options of one dialect ---

/// An option that only one dialect has, with the key of its settings.
struct Own {
    option: &'static str,
    dialect: Dialect,
    key: &'static str,
    value: Option<serde_json::Value>,
}

fn own_options(args: &Args) -> Vec<Own> {
    let file = |path: &PathBuf| serde_json::Value::from(here().join(path).display().to_string());
    let own = |option, dialect, key, value| Own { option, dialect, key, value };
    let set = (!args.set.is_empty()).then(|| serde_json::Value::Object(args.set.iter().cloned().collect()));
    let debug = args.words.iter().any(|word| word == "debug").then(|| true.into());
    vec![
        own("--set", Dialect::Netdata, "set", set),
        own("--protocol", Dialect::Netdata, "protocol", args.protocol.then(|| true.into())),
        own("debug", Dialect::Netdata, "debug", debug),
        own("--config", Dialect::Collectd, "config", args.config.as_ref().map(file)),
        own("--resource", Dialect::Panoptes, "resource", args.resource.clone().map(Into::into)),
        own("--resources", Dialect::Panoptes, "resources", args.resources.as_ref().map(file)),
    ]
}

/// Refuses what another dialect's files are run with, and notes words that have no effect.
fn check_options(args: &Args, dialect: Dialect) -> Result<(), ExitReason> {
    let foreign = own_options(args).into_iter().find(|own| own.value.is_some() && own.dialect != dialect);
    if let Some(own) = foreign {
        let (of, is) = (own.dialect.facts(), dialect.facts());
        return Err(usage(&format!(
            "`{}` is for {} only; `{}` is of {}",
            own.option, of.folder, args.target, is.folder
        )));
    }
    for word in args.words.iter().filter(|word| *word != "debug") {
        if dialect != Dialect::Netdata || !["trace", "nolock"].contains(&word.as_str()) {
            return Err(usage(&format!("`{word}` is one word too much")));
        }
        warn(&format!("note: `{word}` has no effect here\n"));
    }
    Ok(())
}

fn with_options(mut spec: WorkerSpec, args: &Args) -> WorkerSpec {
    let given = own_options(args).into_iter().filter(|own| own.dialect == spec.dialect);
    if let Some(settings) = spec.settings.as_object_mut() {
        settings.extend(given.filter_map(|own| Some((own.key.to_owned(), own.value?))));
    }
    spec
}
