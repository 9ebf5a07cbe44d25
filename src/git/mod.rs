//! Scripts from git: each repository is pulled in time, every new commit becomes a directory, and the agent is asked to take it.
//!
//! ```text
//! gitrepos/known_hosts                 host keys that a person trusted (`pythond git trust`)
//! gitrepos/<name>/store.git            what was fetched, bare (`store`)
//! gitrepos/<name>/<commit>/            an exported commit, whole or not there (`export`)
//! gitrepos/<name>/state.json           which commit is in force, which was refused, what happened (`state`)
//! ```
//!
//! A pull asks the server for the commit, fetches it if the store lacks it, exports it and offers it to the [`Adopter`].
//! What the adopter refuses whole changes nothing; where it takes a part, the other scripts keep their old version, whose directory
//! stays as long as it is in use. Whatever fails on the way (server, key, disk) leaves the code that runs alone and is shown.
//!
//! This module knows directories, not workers: the adopter is the agent's.
//!
//! No file here uses one that uses it; `tests/floors.rs` holds this.

mod commit;
mod export;
mod failure;
mod fault;
pub mod hostkeys;
mod judge;
mod leftovers;
mod libgit2;
mod limits;
mod pace;
mod plumbing;
pub mod program;
mod pull;
pub mod ssh;
pub mod state;
pub mod store;
mod system;
mod transport;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::failure::PullFailure;
use self::program::{Programs, StopSignal};
use self::pull::Pulled;
use self::state::{CommitRefusal, InForce, RepoState, RepositoryEvent};
use self::store::Store;
use crate::code::Code;
use crate::config::{GitRepos, RepoRoot, RepoSettings};
use crate::diagnostic::Diagnostic;

pub use self::commit::Commit;
pub use self::state::{Happened, HeldScript};

/// What a pull under way gets to end when the settings change; its network work and programs are ended at once.
const END: Duration = Duration::from_secs(5);

/// A commit that the agent is asked to run.
#[derive(Debug, Clone)]
pub struct CandidateCommit {
    pub repo: String,
    pub commit: Commit,
    /// Its exported tree.
    pub dir: PathBuf,
    /// The trees of all repositories in order, with this one in its place.
    pub roots: Vec<RepoRoot>,
}

/// What became of a candidate.
#[derive(Debug, Clone)]
pub enum Adoption {
    /// It is in force; `held` scripts keep their old version, `changes` says what was started, restarted and stopped.
    Taken { held: Vec<HeldScript>, changes: Vec<String> },
    /// Nothing was changed; each reason with its file and line in the repository.
    Refused { why: Vec<String> },
}

/// Runs what a candidate holds, or says why not.
pub trait Adopter: Send + Sync {
    fn adopt(&self, candidate: CandidateCommit) -> BoxFuture<'_, Adoption>;

    /// The files and folders that running scripts were loaded from.
    fn in_use(&self) -> BoxFuture<'_, Vec<PathBuf>>;
}

/// How one repository is, free of secrets.
#[derive(Debug, Clone)]
pub struct View {
    pub name: String,
    pub url: String,
    /// ``the branch `main` `` …
    pub follows: String,
    /// The commit whose scripts run.
    pub in_force: Option<InForce>,
    pub refused: Option<CommitRefusal>,
    /// Why the last pull failed.
    pub fault: Option<Diagnostic>,
    pub failures: u32,
    pub is_pulling: bool,
    pub last_pull: Option<SystemTime>,
    pub last_good_pull: Option<SystemTime>,
    pub next_pull: Option<Instant>,
    /// What the last adoption changed.
    pub changes: Vec<String>,
    pub history: Vec<RepositoryEvent>,
}

/// The trees to begin with: those that run, and of the other repositories what was fetched at any time before.
pub fn roots(repos: &GitRepos, running: &[RepoRoot]) -> Vec<RepoRoot> {
    let root = |repo: &RepoSettings| {
        let runs = running.iter().find(|root| root.name == repo.name).map(|root| root.dir.clone());
        let dir = repos.dir.join(&repo.name);
        let dir = runs.or_else(|| RepoState::read(&dir).at_start(&dir))?;
        Some(RepoRoot { name: repo.name.clone(), dir })
    };
    repos.repos.iter().filter_map(root).collect()
}

/// Starts one task for each repository; `host` is what spreads the pulls of a fleet, `roots` the trees whose scripts run.
pub fn start(repos: GitRepos, host: &str, adopter: Arc<dyn Adopter>, roots: &[RepoRoot]) -> RepositoriesHandle {
    let work = RepositoryTasks::start(repos, host, Arc::clone(&adopter), roots);
    RepositoriesHandle { work: Arc::new(Mutex::new(Arc::new(work))), host: host.to_owned(), adopter }
}

/// The repositories at work; clones share them.
#[derive(Clone)]
pub struct RepositoriesHandle {
    work: Arc<Mutex<Arc<RepositoryTasks>>>,
    host: String,
    adopter: Arc<dyn Adopter>,
}

impl RepositoriesHandle {
    pub fn names(&self) -> Vec<String> {
        self.work().shared.repos.repos.iter().map(|repo| repo.name.clone()).collect()
    }

    pub fn views(&self) -> Vec<View> {
        let work = self.work();
        (0..work.orders.len()).map(|index| work.shared.view(index)).collect()
    }

    /// The trees whose scripts run, in order.
    pub fn roots(&self) -> Vec<RepoRoot> {
        self.work().shared.roots()
    }

    /// Pulls a repository now and offers its commit even if it was refused before; `None`: there is no such repository.
    pub async fn sync(&self, name: &str) -> Option<View> {
        let work = self.work();
        let index = work.shared.repos.repos.iter().position(|repo| repo.name == name)?;
        let (done, answer) = oneshot::channel();
        if work.orders[index].send(RepositoryRequest::Sync(done)).await.is_ok() {
            // A task that ends in between answers with what is known.
            answer.await.unwrap_or_default();
        }
        Some(work.shared.view(index))
    }

    /// Follows other repositories, or the same ones otherwise; `roots` are the trees whose scripts run. What was exported stays on the disk.
    ///
    /// Whatever was offered and not recorded yet is offered again.
    pub async fn change(&self, repos: GitRepos, roots: &[RepoRoot]) {
        // First, for nobody else may work in a store. One that a disk holds does no more than to notice the stop once it is let go.
        if tokio::time::timeout(END, self.stop()).await.is_err() {
            tracing::warn!(target: "git", "a pull from before the change has not ended after {} s; check whether a disk hangs", END.as_secs());
        }
        let work = RepositoryTasks::start(repos, &self.host, Arc::clone(&self.adopter), roots);
        *locked(&self.work) = Arc::new(work);
    }

    /// Ends every pull; what was not done is done after the next start.
    pub async fn stop(&self) {
        let work = self.work();
        work.shared.stop.ask();
        work.cancelled.cancel();
        let tasks = std::mem::take(&mut *locked(&work.tasks));
        futures_util::future::join_all(tasks).await;
    }

    fn work(&self) -> Arc<RepositoryTasks> {
        Arc::clone(&locked(&self.work))
    }
}

/// The tasks of all repositories between two changes of the settings.
struct RepositoryTasks {
    shared: Arc<RepositoriesShared>,
    orders: Vec<mpsc::Sender<RepositoryRequest>>,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    cancelled: CancellationToken,
}

impl RepositoryTasks {
    fn start(repos: GitRepos, host: &str, adopter: Arc<dyn Adopter>, roots: &[RepoRoot]) -> Self {
        let cancelled = CancellationToken::new();
        let shared = Arc::new(RepositoriesShared {
            keepers: repos
                .repos
                .iter()
                .map(|repo| Mutex::new(RepositoryEntry::at_start(&repos, repo, roots)))
                .collect(),
            adopting: tokio::sync::Mutex::new(()),
            adopter,
            host: host.to_owned(),
            repos,
            stop: StopSignal::default(),
        });
        let (mut orders, mut tasks) = (Vec::new(), Vec::new());
        for index in 0..shared.repos.repos.len() {
            let (order, taken) = mpsc::channel(16);
            orders.push(order);
            let keeper =
                RepositoryTask { shared: Arc::clone(&shared), index, offered: None, cancelled: cancelled.clone() };
            tasks.push(tokio::spawn(keeper.run(taken)));
        }
        Self { shared, orders, tasks: Mutex::new(tasks), cancelled }
    }
}

enum RepositoryRequest {
    Sync(oneshot::Sender<()>),
}

struct RepositoriesShared {
    repos: GitRepos,
    keepers: Vec<Mutex<RepositoryEntry>>,
    /// One candidate at a time: each is offered together with what the other repositories have in force.
    adopting: tokio::sync::Mutex<()>,
    adopter: Arc<dyn Adopter>,
    host: String,
    stop: StopSignal,
}

/// What is known of one repository.
struct RepositoryEntry {
    state: RepoState,
    /// The tree that runs.
    running: Option<PathBuf>,
    fault: Option<Diagnostic>,
    failures: u32,
    is_pulling: bool,
    last_pull: Option<SystemTime>,
    last_good_pull: Option<SystemTime>,
    next_pull: Option<Instant>,
    changes: Vec<String>,
}

impl RepositoryEntry {
    fn at_start(repos: &GitRepos, repo: &RepoSettings, roots: &[RepoRoot]) -> Self {
        Self {
            state: RepoState::read(&repos.dir.join(&repo.name)),
            running: roots.iter().find(|root| root.name == repo.name).map(|root| root.dir.clone()),
            fault: None,
            failures: 0,
            is_pulling: false,
            last_pull: None,
            last_good_pull: None,
            next_pull: None,
            changes: Vec::new(),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept is replaced in whole steps, so a panic in between left nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RepositoriesShared {
    fn kept(&self, index: usize) -> MutexGuard<'_, RepositoryEntry> {
        locked(&self.keepers[index])
    }

    fn roots(&self) -> Vec<RepoRoot> {
        let root = |(repo, kept): (&RepoSettings, &Mutex<RepositoryEntry>)| {
            locked(kept).running.clone().map(|dir| RepoRoot { name: repo.name.clone(), dir })
        };
        self.repos.repos.iter().zip(&self.keepers).filter_map(root).collect()
    }

    fn view(&self, index: usize) -> View {
        let repo = &self.repos.repos[index];
        let kept = self.kept(index);
        View {
            name: repo.name.clone(),
            url: repo.url.as_str().to_owned(),
            follows: fault::follows(repo),
            in_force: kept.state.in_force.clone(),
            refused: kept.state.refused.clone(),
            fault: kept.fault.clone(),
            failures: kept.failures,
            is_pulling: kept.is_pulling,
            last_pull: kept.last_pull,
            last_good_pull: kept.last_good_pull,
            next_pull: kept.next_pull,
            changes: kept.changes.clone(),
            history: kept.state.history.clone(),
        }
    }
}

/// The task of one repository.
struct RepositoryTask {
    shared: Arc<RepositoriesShared>,
    index: usize,
    /// The folder that was offered last in this life: it is not offered again unless somebody asks.
    offered: Option<String>,
    cancelled: CancellationToken,
}

impl RepositoryTask {
    async fn run(mut self, mut orders: mpsc::Receiver<RepositoryRequest>) {
        let cancelled = self.cancelled.clone();
        self.tidy();
        self.offer_again().await;
        let phase = pace::phase(&self.shared.host, &self.repo().name);
        let interval = self.shared.repos.pull_interval;
        // At once, then after this host's part of the interval, then every interval.
        let mut wait = Duration::ZERO;
        let mut pulls = 0_u32;
        loop {
            self.shared.kept(self.index).next_pull = Some(Instant::now() + wait);
            let order = tokio::select! {
                () = cancelled.cancelled() => return,
                () = tokio::time::sleep(wait) => None,
                order = orders.recv() => match order {
                    Some(order) => Some(order),
                    None => return,
                },
            };
            let failures = self.pull(order.is_some()).await;
            if let Some(RepositoryRequest::Sync(done)) = order {
                // Whoever asked may have gone.
                let _ = done.send(());
            }
            pulls = pulls.saturating_add(1);
            wait = match failures {
                0 if pulls == 1 => pace::second(interval, phase),
                0 => interval,
                failures => pace::after_failures(interval, failures, phase),
            };
        }
    }

    fn repo(&self) -> &RepoSettings {
        &self.shared.repos.repos[self.index]
    }

    fn dir(&self) -> PathBuf {
        self.shared.repos.dir.join(&self.repo().name)
    }

    fn tidy(&self) {
        let dir = self.dir();
        if let Err(error) = state::remove_half_done(&dir) {
            tracing::warn!(target: "git", repo = self.repo().name, "could not tidy {}: {error}", dir.display());
        }
    }

    /// A commit that is in force in part: the agent began with the one before it.
    async fn offer_again(&mut self) {
        let candidate = {
            let kept = self.shared.kept(self.index);
            let current = kept.state.current(&self.dir());
            let is_other = current.is_some() && current != kept.running;
            kept.state.in_force.clone().zip(current).filter(|_| is_other)
        };
        if let Some((in_force, dir)) = candidate {
            self.offer(&in_force.commit, dir, in_force.notes).await;
        }
    }

    /// Pulls and offers; gives the number of failures in a row.
    async fn pull(&mut self, is_asked: bool) -> u32 {
        self.shared.kept(self.index).is_pulling = true;
        let pulled = self.pull_aside().await;
        let now = SystemTime::now();
        let outcome = match pulled {
            Ok(pulled) => {
                {
                    let mut kept = self.shared.kept(self.index);
                    if kept.fault.is_some() {
                        tracing::info!(target: "git", repo = self.repo().name, "pulled again after {} failures", kept.failures);
                    }
                    (kept.fault, kept.failures) = (None, 0);
                    (kept.last_pull, kept.last_good_pull) = (Some(now), Some(now));
                }
                self.consider(pulled, is_asked).await;
                0
            }
            Err(PullFailure::Stopped) => self.shared.kept(self.index).failures,
            Err(PullFailure::Corrupt(why)) => self.failed(Diagnostic::error(Code::GitFailed, why), now),
            Err(PullFailure::Fault(diagnostic)) => self.failed(*diagnostic, now),
        };
        self.shared.kept(self.index).is_pulling = false;
        outcome
    }

    async fn pull_aside(&self) -> Result<Pulled, PullFailure> {
        let (shared, index) = (Arc::clone(&self.shared), self.index);
        let before = self.shared.kept(index).state.in_force.as_ref().map(|in_force| in_force.commit.id.clone());
        let work = move || {
            let repo = &shared.repos.repos[index];
            let dir = shared.repos.dir.join(&repo.name);
            let programs = Programs::new(&shared.repos, repo, &dir, shared.stop.clone());
            Store::new(&shared.repos, repo, &programs).pull(before.as_deref())
        };
        let panicked =
            |_| PullFailure::fault(Diagnostic::error(Code::GitFailed, "the pull broke off by a fault of the agent"));
        tokio::task::spawn_blocking(work).await.map_err(panicked)?
    }

    fn failed(&self, diagnostic: Diagnostic, now: SystemTime) -> u32 {
        let mut kept = self.shared.kept(self.index);
        let is_new = kept.fault.as_ref().is_none_or(|known| known.message != diagnostic.message);
        if is_new {
            let notes: String =
                diagnostic.notes.iter().chain(&diagnostic.help).map(|note| format!("; {note}")).collect();
            tracing::warn!(target: "git", repo = self.repo().name, code = %diagnostic.code, "{}{notes}", diagnostic.message);
        }
        kept.fault = Some(diagnostic);
        kept.failures = kept.failures.saturating_add(1);
        kept.last_pull = Some(now);
        kept.failures
    }

    /// Offers the commit unless it runs already, or was offered and nobody asked again.
    async fn consider(&mut self, pulled: Pulled, is_asked: bool) {
        let folder = folder_of(&pulled.exported.dir);
        let runs = {
            let mut kept = self.shared.kept(self.index);
            let runs = kept.running.as_deref() == Some(&*pulled.exported.dir) && kept.state.runs_whole(&folder);
            if runs && kept.state.refused.take().is_some() {
                self.write(&mut kept);
            }
            runs
        };
        let was_offered = self.offered.as_ref() == Some(&folder) && !is_asked;
        if runs || was_offered {
            return;
        }
        if pulled.is_rewritten {
            self.rewritten(&pulled.commit);
        }
        self.offer(&pulled.commit, pulled.exported.dir, pulled.exported.notes).await;
    }

    fn rewritten(&self, commit: &Commit) {
        let mut kept = self.shared.kept(self.index);
        let before = kept.state.in_force.as_ref().map(|in_force| in_force.commit.id.clone());
        let before_short = before.as_deref().and_then(|id| id.get(..7)).unwrap_or_default().to_owned();
        tracing::warn!(target: "git", repo = self.repo().name, code = %Code::HistoryRewritten, "the history of {} was rewritten: {before_short} is no longer part of it; following {}", fault::follows(self.repo()), commit.short());
        kept.state.remember(RepositoryEvent {
            at: seconds_now(),
            what: Happened::Rewritten,
            commit: commit.clone(),
            before,
        });
    }

    async fn offer(&mut self, commit: &Commit, dir: PathBuf, notes: Vec<String>) {
        self.offered = Some(folder_of(&dir));
        let shared = Arc::clone(&self.shared);
        let adopt = async {
            let one = shared.adopting.lock().await;
            let adoption = self.shared.adopter.adopt(self.candidate(commit, &dir)).await;
            (one, adoption, self.shared.adopter.in_use().await)
        };
        // Whoever stops us may be the one that the adopter waits for. What was not recorded is offered again after the next start.
        let (_one, adoption, in_use) = tokio::select! {
            done = adopt => done,
            () = self.cancelled.cancelled() => return,
        };
        let mut kept = self.shared.kept(self.index);
        match adoption {
            Adoption::Taken { held, changes } => self.taken(&mut kept, commit, dir, notes, held, changes),
            Adoption::Refused { why } => self.refused(&mut kept, commit, &dir, why),
        }
        self.write(&mut kept);
        if let Err(error) = kept.state.remove_old(&self.dir(), &in_use) {
            tracing::warn!(target: "git", repo = self.repo().name, "could not remove an old commit: {error}");
        }
    }

    fn candidate(&self, commit: &Commit, dir: &std::path::Path) -> CandidateCommit {
        let name = self.repo().name.clone();
        let mut roots = Vec::new();
        for (index, repo) in self.shared.repos.repos.iter().enumerate() {
            let tree = if index == self.index { Some(dir.to_owned()) } else { self.shared.kept(index).running.clone() };
            roots.extend(tree.map(|dir| RepoRoot { name: repo.name.clone(), dir }));
        }
        CandidateCommit { repo: name, commit: commit.clone(), dir: dir.to_owned(), roots }
    }

    fn taken(
        &self,
        kept: &mut RepositoryEntry,
        commit: &Commit,
        dir: PathBuf,
        notes: Vec<String>,
        held: Vec<HeldScript>,
        changes: Vec<String>,
    ) {
        let folder = folder_of(&dir);
        let before = kept.state.in_force.as_ref().map(|in_force| in_force.commit.id.clone());
        let what = if held.is_empty() { Happened::Active } else { Happened::Partly };
        tracing::info!(target: "git", repo = self.repo().name, "{} \"{}\" ({}) is in force{}", commit.short(), commit.title, commit.author, listed(&changes));
        for note in &notes {
            tracing::warn!(target: "git", repo = self.repo().name, "{}: {note}", commit.short());
        }
        for script in &held {
            tracing::error!(target: "git", repo = self.repo().name, code = %Code::CommitRefused, script = script.script, "keeps its version of before {}, if there is one: {}", commit.short(), script.why);
        }
        kept.state.url = self.repo().url.as_str().to_owned();
        kept.state.follows = fault::follows(self.repo());
        if held.is_empty() {
            kept.state.good = Some(folder.clone());
        }
        let is_again =
            before.as_ref() == Some(&commit.id) && kept.state.history.last().is_some_and(|last| last.what == what);
        if !is_again {
            kept.state.remember(RepositoryEvent { at: seconds_now(), what, commit: commit.clone(), before });
        }
        kept.state.refused = None;
        kept.state.in_force = Some(InForce { commit: commit.clone(), folder, held, notes });
        kept.running = Some(dir);
        kept.changes = changes;
    }

    fn refused(&self, kept: &mut RepositoryEntry, commit: &Commit, dir: &std::path::Path, why: Vec<String>) {
        let before = kept.state.in_force.as_ref().map(|in_force| in_force.commit.id.clone());
        let still = before.as_deref().and_then(|id| id.get(..7)).unwrap_or("nothing of this repository").to_owned();
        tracing::error!(target: "git", repo = self.repo().name, code = %Code::CommitRefused, "{} \"{}\" ({}) does not pass the checks; still running {still}: {}", commit.short(), commit.title, commit.author, why.join(" · "));
        let is_known = kept.state.refused.as_ref().is_some_and(|known| known.commit == *commit && known.why == why);
        if !is_known {
            let event = RepositoryEvent { at: seconds_now(), what: Happened::Refused, commit: commit.clone(), before };
            kept.state.remember(event);
        }
        kept.state.refused =
            Some(CommitRefusal { commit: commit.clone(), folder: folder_of(dir), why, at: seconds_now() });
    }

    /// A record that cannot be written is shown; the code that runs is not touched by it.
    fn write(&self, kept: &mut RepositoryEntry) {
        let dir = self.dir();
        if let Err(error) = kept.state.write(&dir) {
            let message = format!("could not record in {} which commit runs: {error}", dir.display());
            tracing::error!(target: "git", repo = self.repo().name, "{message}");
            kept.fault = Some(Diagnostic::error(Code::DiskFull, message));
        }
    }
}

fn folder_of(dir: &std::path::Path) -> String {
    dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn listed(changes: &[String]) -> String {
    if changes.is_empty() { String::new() } else { format!(": {}", changes.join("; ")) }
}

fn seconds_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
