//! Scripts from git: what the agent does with a commit that is offered, and the settings together with what is in force.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::api::reload::{self, Asks};
use crate::api::views::{FailureView, Reloaded, ReloadedUnit, UnitOutcome};
use crate::config::{self, Config, ConfigError, GitRepos, RepoRoot, Secret, Surroundings};
use crate::git::{self, Adopter, Adoption, CandidateCommit, HeldScript};
use crate::supervisor;
use crate::worker::cookie;

/// Reads the settings below `root` and those of the commits that are in force.
///
/// # Errors
/// All faults of all files at once.
pub fn settings(root: &Path, around: &Surroundings) -> Result<Config, ConfigError> {
    settings_with(root, around, &[]).map(|(config, _)| config)
}

/// The same where the scripts of some trees run already; gives the trees of all repositories too.
///
/// # Errors
/// All faults of all files at once.
pub(super) fn settings_with(
    root: &Path,
    around: &Surroundings,
    running: &[RepoRoot],
) -> Result<(Config, Vec<RepoRoot>), ConfigError> {
    let roots = match config::read(root, around) {
        Ok(local) => match git::roots(&local.git_repos, running) {
            roots if roots.is_empty() => return Ok((local, roots)),
            roots => roots,
        },
        Err(error) if running.is_empty() => return Err(error),
        // With the faults of the commits beside those of the host.
        Err(_) => running.to_vec(),
    };
    config::read_with(root, around, &roots).map(|config| (config, roots))
}

/// Starts the pulls.
pub(super) fn start(
    config: &Config,
    run_dir: &Path,
    host: &str,
    adopter: Reloads,
    roots: &[RepoRoot],
) -> git::RepositoriesHandle {
    git::start(to_pull(config, run_dir), host, Arc::new(adopter), roots)
}

/// The repositories with what git needs in its environment: what it leaves behind when the agent is killed is found by the cookie of the
/// run directory.
pub(super) fn to_pull(config: &Config, run_dir: &Path) -> GitRepos {
    let mut repos = config.git_repos.clone();
    let run_dir = run_dir.canonicalize().unwrap_or_else(|_| run_dir.to_owned());
    repos.env.push((cookie::RUN.to_owned(), Secret::new(run_dir.display().to_string())));
    repos
}

/// Takes a commit by a reload with its tree in place of the one before.
pub(super) struct Reloads {
    asks: Asks,
    scripts: supervisor::SupervisorHandle,
}

impl Reloads {
    pub fn new(asks: Asks, scripts: supervisor::SupervisorHandle) -> Self {
        Self { asks, scripts }
    }
}

impl Adopter for Reloads {
    fn adopt(&self, candidate: CandidateCommit) -> BoxFuture<'_, Adoption> {
        Box::pin(async move {
            let by = format!("{} of repository {}", candidate.commit.short(), candidate.repo);
            match reload::ask(&self.asks, &by, Some(candidate.roots)).await {
                Some(outcome) => adoption(&outcome, &candidate.dir),
                // The agent stops, and the pulls with it.
                None if self.asks.is_closed() => std::future::pending().await,
                None => Adoption::Refused { why: vec!["the reload broke off by a fault of the agent".to_owned()] },
            }
        })
    }

    fn in_use(&self) -> BoxFuture<'_, Vec<PathBuf>> {
        Box::pin(async { self.scripts.homes().await.into_iter().collect() })
    }
}

/// What a reload means for the commit in `tree`; scripts from elsewhere are not its business.
fn adoption(outcome: &Reloaded, tree: &Path) -> Adoption {
    if !outcome.faults.is_empty() {
        return Adoption::Refused { why: outcome.faults.iter().map(|fault| told(fault, tree)).collect() };
    }
    let of_tree = || outcome.units.iter().filter(|script| Path::new(&script.file).starts_with(tree));
    let held = of_tree().filter(|script| script.outcome == UnitOutcome::Refused).map(|script| HeldScript {
        script: script.id.clone(),
        why: script.why.clone().unwrap_or_else(|| "its new version does not load".to_owned()),
    });
    let is_change = |script: &&ReloadedUnit| {
        matches!(script.outcome, UnitOutcome::Started | UnitOutcome::Restarted | UnitOutcome::Updated)
    };
    let stopped = outcome.units.iter().filter(|script| script.outcome == UnitOutcome::Stopped);
    let changes = of_tree().filter(is_change).chain(stopped);
    Adoption::Taken {
        held: held.collect(),
        changes: changes.map(|script| format!("{} {}", script.outcome, script.id)).collect(),
    }
}

/// A fault on one line, its file as it is called in the repository.
fn told(fault: &FailureView, tree: &Path) -> String {
    let place = fault.file.as_ref().map_or_else(String::new, |file| {
        let file = Path::new(file).strip_prefix(tree).unwrap_or(Path::new(file)).display().to_string();
        if fault.line > 0 { format!("{file}:{}: ", fault.line) } else { format!("{file}: ") }
    });
    format!("{place}{} {}", fault.code, fault.message.replace(&format!("{}/", tree.display()), ""))
}
