//! Where a change of code or settings can come from, and that it is watched.
//!
//! `crate::watch` says when something below a folder may have changed; which folders count follows from the settings and from what the
//! workers have read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::api::ShownSettings;
use crate::config::{Config, RepoRoot};
use crate::supervisor::SupervisorHandle;
use crate::watch::{FolderWatch, WatchedPlaces};
use crate::worker::files::Dependency;

/// The watch over the folders that count, where the settings want one.
pub(super) struct SourceWatch {
    scripts: SupervisorHandle,
    shown: ShownSettings,
    notices: mpsc::Sender<()>,
    /// `None` where the settings want none.
    watch: Option<Arc<FolderWatch>>,
}

impl SourceWatch {
    /// Watches nothing yet; a notice comes through the channel, which holds one at a time.
    pub(super) fn new(scripts: SupervisorHandle, shown: ShownSettings) -> (Self, mpsc::Receiver<()>) {
        let (notices, noticed) = mpsc::channel(1);
        (Self { scripts, shown, notices, watch: None }, noticed)
    }

    pub(super) fn is_on(&self) -> bool {
        self.watch.is_some()
    }

    /// Watches anew, as the settings want it.
    pub(super) async fn begin(&mut self, config: &Config, repos: &[RepoRoot]) {
        drop(self.watch.take());
        if !config.reload.watch {
            self.shown.change(|now| now.unwatched = None);
            return;
        }
        self.watch = Some(Arc::new(FolderWatch::start(self.notices.clone())));
        self.follow(config, repos).await;
    }

    /// Has a look taken as if something had changed.
    pub(super) fn notice(&self) {
        if self.notices.try_send(()).is_err() {
            tracing::trace!(target: "agent", "a look is due anyway");
        }
    }

    /// Watches the folders that count now; says whether there is a new one.
    pub(super) async fn follow(&self, config: &Config, repos: &[RepoRoot]) -> bool {
        let Some(watch) = &self.watch else { return false };
        let running = self.scripts.running().await.into_iter().flatten().filter(|runs| runs.home.is_none());
        let parts: Vec<Dependency> = running.flat_map(|runs| runs.print.into_keys()).collect();
        let dirs: Vec<PathBuf> =
            config.inputs.iter().filter(|input| input.enabled).flat_map(|input| input.dirs.clone()).collect();
        let (conf_d, repos, watching) = (config.root.join("conf.d"), repos.to_vec(), Arc::clone(watch));
        let followed =
            tokio::task::spawn_blocking(move || watching.follow(places(&conf_d, &dirs, &parts, &repos))).await;
        self.tell(watch.problem());
        followed.unwrap_or(false)
    }

    /// Shows why not everything is watched, and logs it where it is new.
    fn tell(&self, problem: Option<String>) {
        let told = self.shown.now().unwatched;
        if let Some(problem) = problem.as_ref().filter(|problem| told.as_ref() != Some(problem)) {
            tracing::warn!(target: "agent", "{problem}");
        }
        self.shown.change(|now| now.unwatched = problem);
    }
}

/// Where something can change: `conf.d`, the folders of the inputs one level deep, and what was loaded, read and looked into.
fn places(conf_d: &Path, dirs: &[PathBuf], parts: &[Dependency], repos: &[RepoRoot]) -> WatchedPlaces {
    // An exported tree never changes.
    let is_local = |path: &PathBuf| !repos.iter().any(|repo| path.starts_with(&repo.dir));
    let mut folders = BTreeSet::from([conf_d.to_owned()]);
    folders.extend(below(conf_d));
    for dir in dirs {
        for folder in std::iter::once(dir.as_path()).chain(packages_around(dir)) {
            folders.insert(folder.to_owned());
            folders.extend(below(folder));
        }
    }
    let mut listed = BTreeSet::new();
    let mut comings: BTreeSet<PathBuf> = dirs.iter().cloned().collect();
    for part in parts {
        let path = part.path();
        match part {
            Dependency::Entries(folder) => {
                listed.insert(folder.clone());
                comings.insert(folder.clone());
                continue;
            }
            // Settings files may have any name.
            Dependency::File(file) if file.extension().is_none_or(|ending| ending != "py") => {
                comings.insert(file.clone());
            }
            Dependency::File(_) | Dependency::Names(_) | Dependency::Data(_) => {}
        }
        folders.extend(path.parent().map(Path::to_owned));
        // Where links lead.
        folders.extend(path.canonicalize().ok().and_then(|real| real.parent().map(Path::to_owned)));
    }
    folders.retain(is_local);
    listed.retain(is_local);
    comings.retain(is_local);
    WatchedPlaces { folders, listed, comings }
}

/// The packages that a folder is part of: its scripts may import from there.
fn packages_around(dir: &Path) -> impl Iterator<Item = &Path> {
    let is_package = |folder: &Path| folder.join("__init__.py").is_file();
    dir.ancestors().take_while(move |folder| is_package(folder)).skip(1)
}

fn below(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let is_ours = |entry: &std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        !name.starts_with('.') && name != "__pycache__" && name != "core" && entry.path().is_dir()
    };
    entries.flatten().filter(is_ours).map(|entry| entry.path()).collect()
}
