//! Scripts from git: what the agent does with a commit that is offered, and the settings together with what is in force.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::config::{self, Config, ConfigError, Secret, Surroundings};
use crate::git::{self, Adopter, Adoption, Candidate};
use crate::worker::process;

/// Reads the settings below `root` and those of the commits that are in force.
///
/// # Errors
/// All faults of all files at once.
pub fn settings(root: &Path, around: &Surroundings) -> Result<Config, ConfigError> {
    let local = config::read(root, around)?;
    match git::roots_at_start(&local.git_repos) {
        roots if roots.is_empty() => Ok(local),
        roots => config::read_with(root, around, &roots),
    }
}

/// Starts the pulls. What git leaves behind when the agent is killed is found by the cookie of the run directory.
pub(super) fn start(config: &Config, run_dir: &Path, host: &str) -> git::Handle {
    let mut repos = config.git_repos.clone();
    let run_dir = run_dir.canonicalize().unwrap_or_else(|_| run_dir.to_owned());
    repos.env.push((process::RUN_COOKIE.to_owned(), Secret::new(run_dir.display().to_string())));
    let adopter = Checks {
        root: config.root.clone(),
        around: Surroundings::of_this_process(),
        started_with: git::roots_at_start(&config.git_repos).into_iter().map(|root| root.dir).collect(),
    };
    git::start(repos, host, Arc::new(adopter))
}

/// Takes a commit whose settings have no fault; its scripts run from the next start on.
struct Checks {
    root: PathBuf,
    around: Surroundings,
    /// The trees whose scripts run until then.
    started_with: Vec<PathBuf>,
}

impl Adopter for Checks {
    fn adopt(&self, candidate: Candidate) -> BoxFuture<'_, Adoption> {
        let (root, around) = (self.root.clone(), self.around.clone());
        let read = tokio::task::spawn_blocking(move || config::read_with(&root, &around, &candidate.roots));
        Box::pin(async move {
            match read.await {
                Ok(Ok(_)) => {
                    Adoption::Taken { held: Vec::new(), changes: vec!["runs from the next start on".to_owned()] }
                }
                Ok(Err(error)) => Adoption::Refused { faults: error.faults },
                Err(gone) => Adoption::Refused {
                    faults: vec![config::Diagnostic::error(
                        "PD0101",
                        format!("the settings could not be read: {gone}"),
                    )],
                },
            }
        })
    }

    fn in_use(&self) -> Vec<PathBuf> {
        self.started_with.clone()
    }
}
