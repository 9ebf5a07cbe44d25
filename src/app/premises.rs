//! The directory of the agent: taken for this one alone, tightened, and cleared of what a killed agent has left.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::privacy::{self, Rights};
use crate::config::{Config, RepoRoot};
use crate::platform;
use crate::worker::guard::OrphanGuard;
use crate::worker::leftovers;

/// What the agent holds before anything else is started.
pub(super) struct Premises {
    pub guard: Option<OrphanGuard>,
    /// Why there is no guard.
    pub no_guard: Option<String>,
    pub run_dir: PathBuf,
    pub rights: Rights,
    /// The trees of the repositories as an earlier life left them.
    pub roots: Vec<RepoRoot>,
    /// Held until the process ends; the last to be dropped where a start fails.
    pub lock: File,
}

impl Premises {
    /// Takes the directory.
    ///
    /// # Errors
    /// When another agent runs on it, or it cannot be written.
    pub(super) async fn take(config: &Config) -> anyhow::Result<Self> {
        let run_dir = config.root.join("data/run");
        let roots = crate::git::roots(&config.git_repos, &[]);
        let rights = Rights::of(config, &roots);
        rights.make_folders().with_context(|| format!("could not make {}", run_dir.display()))?;
        let lock = lock(&run_dir)?;
        privacy::at_start(rights.clone()).await;
        leftovers::sweep_leftovers(&run_dir).await;
        let (guard, no_guard) = guard(&run_dir);
        Ok(Self { guard, no_guard, run_dir, rights, roots, lock })
    }
}

fn guard(run_dir: &Path) -> (Option<OrphanGuard>, Option<String>) {
    match OrphanGuard::start(run_dir) {
        Ok(guard) => (Some(guard), None),
        Err(error) => {
            tracing::warn!(target: "agent", "cannot start the guard: {error}; if the agent is killed, processes that scripts have started live on");
            (None, Some(error.to_string()))
        }
    }
}

/// Makes the limits that this process was given fit for 300 scripts and a full house of connections.
pub(super) fn stretch_limits() {
    const ENOUGH: u64 = 65_536;
    if let Err(error) = platform::survive_file_size_limits() {
        tracing::debug!(target: "agent", "SIGXFSZ keeps its default: {error}");
    }
    if let Err(error) = platform::raise_open_files(ENOUGH) {
        tracing::debug!(target: "agent", "the limit on open files stays: {error}");
    }
}

/// One agent per directory: the lock is the file's, so it ends with the process however that ends.
fn lock(run_dir: &Path) -> anyhow::Result<File> {
    let path = run_dir.join("agent.lock");
    let mut file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("could not open {}", path.display()))?;
    if !platform::try_lock(&file).unwrap_or(false) {
        let mut holder = String::new();
        file.read_to_string(&mut holder).unwrap_or_default();
        anyhow::bail!("another agent (pid {}) runs on this directory and holds {}", holder.trim(), path.display());
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .with_context(|| format!("could not write {}", path.display()))?;
    Ok(file)
}
