//! A reload from its beginning to its end: settings read and checked whole, scripts compared, new versions tried, changes made.
//!
//! One task does one reload after the other, so that each finds a settled set of scripts; wishes that come meanwhile are fulfilled
//! together by the next one. Only the end of a change (an old worker may take its time) is waited for beside that task.
//!
//! Order: settings (one fault: nothing changes) → what runs is compared with what is wanted → what needs no trial begins → each new version
//! of a script that runs is tried and takes its place as soon as it has shown that it loads → sinks and the other settings.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::privacy::Rights;
use super::pumps::{Became, Pumps};
use super::repos;
use super::settings::{enabled, ingest_settings, problem};
use crate::api::views::{FailureView, Reloaded, ReloadedSink, ReloadedUnit, SinkOutcome, UnitOutcome};
use crate::api::{ReloadRecord, ReloadRequest, ShownSettings};
use crate::code::Code;
use crate::config::{Config, ConfigError, RepoRoot, Surroundings};
use crate::containment::Panics;
use crate::diagnostic::{Diagnostic, Severity};
use crate::git;
use crate::ingest::WriteEndpoint;
use crate::platform::Hangups;
use crate::supervisor::plan::{self, Asking, PlanStep, RefusedVersion, RunState, Runs, UnitPlan, WantedUnit};
use crate::supervisor::{self, Change, ChangeOutcome, Settling, SupervisorHandle};
use crate::telemetry::systemd::ServiceManager;
use crate::tryout::{self, Tryout};
use crate::watch::{FolderWatch, WatchedPlaces};
use crate::worker::files::{Dependency, FileLook, Print, Sum};
use crate::worker::{UnitSpec, discover, lastgood};

/// Scripts tried at the same time.
const AT_ONCE: usize = 4;
/// A script that is gone may be on its way back: editors replace files in two steps.
const BACK: Duration = Duration::from_millis(500);
/// Hangups that come so soon after one another count as one.
const HANGUPS: Duration = Duration::from_millis(200);
/// The answer waits so long for changes to settle; an old worker may be given longer by its `stop_grace`.
const SETTLE: Duration = Duration::from_secs(60);

/// Everything that a reload changes or looks at.
pub(super) struct Reloader {
    pub asks: mpsc::Receiver<ReloadRequest>,
    pub hangups: Hangups,
    /// The settings in force.
    pub config: Config,
    /// The settings at the start; some keys of them stay in force until the end.
    pub at_start: Config,
    pub around: Surroundings,
    /// The trees of the repositories whose scripts run.
    pub repos: Vec<RepoRoot>,
    pub git: git::RepositoriesHandle,
    pub scripts: SupervisorHandle,
    pub ingest: Arc<WriteEndpoint>,
    pub pumps: Pumps,
    pub shown: ShownSettings,
    pub core: PathBuf,
    pub run_dir: PathBuf,
    pub last_good: PathBuf,
    pub manager: ServiceManager,
    pub panics: Panics,
}

/// Why a reload is done.
struct Wish {
    by: String,
    asking: Asking,
    repos: Option<Vec<RepoRoot>>,
    answers: Vec<oneshot::Sender<Reloaded>>,
}

impl Wish {
    fn noticed() -> Self {
        Self { by: "a changed file".to_owned(), asking: Asking::Noticed, repos: None, answers: Vec::new() }
    }

    fn hangup() -> Self {
        Self { by: "SIGHUP".to_owned(), asking: Asking::Asked, ..Self::noticed() }
    }

    fn add(&mut self, ask: ReloadRequest) {
        self.by = ask.by;
        self.asking = Asking::Asked;
        // Trees that nobody waits for any more are those of settings that have changed meanwhile.
        if ask.repos.is_some() && !ask.answer.is_closed() {
            self.repos = ask.repos;
        }
        self.answers.push(ask.answer);
    }
}

/// What is wanted, and what is to be done for it.
struct Compared {
    wanted: BTreeMap<String, WantedUnit>,
    running: BTreeMap<String, Runs>,
    problems: Vec<String>,
    plan: UnitPlan,
}

/// One script's line of the outcome, or the change that will tell it.
enum OutcomeLine {
    /// As before the reload.
    Same(ReloadedUnit),
    Known(ReloadedUnit),
    Settles {
        settling: Settling,
        line: ReloadedUnit,
    },
}

impl Reloader {
    /// Reloads when asked, at SIGHUP, and when a file changes, until `stop`; gives back the pumps, for their stop.
    pub async fn run(mut self, stop: CancellationToken) -> Pumps {
        tokio::select! {
            () = self.work() => {}
            // What was not begun is found at the next start.
            () = stop.cancelled() => {}
        }
        self.pumps
    }

    async fn work(&mut self) {
        let (notices, mut noticed) = mpsc::channel(1);
        let mut watch = self.watch(&notices).await;
        // What changed while the agent started. The channel is empty, so there is room.
        let _ = notices.try_send(());
        let mut polls = self.polls();
        loop {
            let wish = tokio::select! {
                ask = self.asks.recv() => match ask {
                    Some(ask) => { let mut wish = Wish::noticed(); wish.add(ask); Some(wish) }
                    None => return,
                },
                Some(()) = self.hangups.recv() => {
                    // A storm of them is one wish.
                    tokio::time::sleep(HANGUPS).await;
                    Some(Wish::hangup())
                }
                _ = noticed.recv() => Some(Wish::noticed()),
                _ = polls.tick() => if watch.is_some() { Some(Wish::noticed()) } else { continue },
                () = self.scripts.has_read() => None,
            };
            if let Some(mut wish) = wish {
                while let Ok(ask) = self.asks.try_recv() {
                    wish.add(ask);
                }
                let (before, poll) = (self.config.reload.clone(), self.poll());
                self.fulfil(wish).await;
                if self.config.reload != before {
                    drop(watch.take());
                    watch = self.watch(&notices).await;
                }
                if self.poll() != poll {
                    polls = self.polls();
                }
            }
            if let Some(watch) = &watch
                && self.follow(watch).await
                // Something may have come into a new folder before it was watched.
                && notices.try_send(()).is_err()
            {
                tracing::trace!(target: "agent", "a look is due anyway");
            }
        }
    }

    /// Does one reload. The service manager is told of those that were asked for, not of every look at the files.
    async fn fulfil(&mut self, wish: Wish) {
        let is_asked = wish.asking == Asking::Asked;
        if is_asked {
            self.manager.reloading();
        }
        // A defect in it must not take the pumps along.
        if let Err(panic) = AssertUnwindSafe(self.reload(wish)).catch_unwind().await {
            self.panics.note("the reload", panic.as_ref());
        }
        if is_asked {
            self.manager.ready();
        }
    }

    /// How often everything is looked at: for all inputs at once, as often as one of them wants it.
    fn poll(&self) -> Duration {
        let inputs = self.config.inputs.iter().filter(|input| input.enabled);
        inputs.filter_map(|input| input.scan).fold(self.config.reload.poll, Duration::min)
    }

    fn polls(&self) -> tokio::time::Interval {
        let mut polls = interval(self.poll());
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        polls.reset();
        polls
    }

    // --- what is watched ---

    async fn watch(&self, notices: &mpsc::Sender<()>) -> Option<Arc<FolderWatch>> {
        if !self.config.reload.watch {
            self.shown.change(|now| now.unwatched = None);
            return None;
        }
        let watch = Arc::new(FolderWatch::start(notices.clone()));
        self.follow(&watch).await;
        Some(watch)
    }

    /// Watches the folders that count now; says whether there is a new one.
    async fn follow(&self, watch: &Arc<FolderWatch>) -> bool {
        let running = self.scripts.running().await.into_iter().flatten().filter(|runs| runs.home.is_none());
        let parts: Vec<Dependency> = running.flat_map(|runs| runs.print.into_keys()).collect();
        let dirs: Vec<PathBuf> =
            self.config.inputs.iter().filter(|input| input.enabled).flat_map(|input| input.dirs.clone()).collect();
        let (conf_d, repos, watching) = (self.config.root.join("conf.d"), self.repos.clone(), Arc::clone(watch));
        let followed =
            tokio::task::spawn_blocking(move || watching.follow(places(&conf_d, &dirs, &parts, &repos))).await;
        let problem = watch.problem();
        let told = self.shown.now().unwatched;
        if let Some(problem) = problem.as_ref().filter(|problem| told.as_ref() != Some(problem)) {
            tracing::warn!(target: "agent", "{problem}");
        }
        self.shown.change(|now| now.unwatched = problem);
        followed.unwrap_or(false)
    }

    // --- one reload ---

    async fn reload(&mut self, wish: Wish) {
        let began = Instant::now();
        let Wish { by, asking, repos, answers } = wish;
        let repos = repos.unwrap_or_else(|| self.repos.clone());
        let (config, repos) = match self.read(&repos).await {
            Ok(read) => read,
            Err(error) => return self.refuse_settings(&error, by, asking, answers),
        };
        let had_faults = self.shown.now().reload.is_some_and(|last| !last.outcome.faults.is_empty());
        self.shown.change(|now| now.reload.iter_mut().for_each(|last| last.outcome.faults.clear()));
        // Before a script is tried that runs as another user.
        super::privacy::at_reload(Rights::of(&config, &repos)).await;
        let Some(mut compared) = self.compare(&config, &repos, asking).await else { return };
        if asking == Asking::Noticed && compared.plan.iter().any(|(_, step)| *step == PlanStep::Stop) {
            tokio::time::sleep(BACK).await;
            let Some(again) = self.compare(&config, &repos, asking).await else { return };
            compared = again;
        }
        let listers = compared.defer_told();
        let mut lines = self.begin(&compared).await;
        lines.extend(self.try_versions(&compared).await);
        if !listers.is_empty() {
            lines = settle_listers(lines, &listers).await;
            let listed = listed(&lines, &listers);
            let Some(again) = self.compare(&config, &repos, asking).await else { return };
            compared = again;
            compared.plan.retain(|(id, _)| {
                compared.running.get(id).and_then(|runs| runs.spec.told_by()).is_some_and(|by| listed.contains(by))
            });
            lines.extend(self.begin(&compared).await);
            lines.extend(self.try_versions(&compared).await);
        }
        self.repos = repos;
        let (sinks, settings) = self.obey(&config).await;
        let needs_restart = needing_restart(&self.at_start, &config);
        let is_news = !sinks.is_empty() || !settings.is_empty() || needs_restart != self.shown.now().needs_restart;
        let is_news = is_news
            || !answers.is_empty()
            || lines.iter().any(|line| !matches!(line, OutcomeLine::Same(_)))
            || asking == Asking::Asked;
        let problems: Vec<String> =
            config.warnings.iter().map(problem).chain(compared.problems.iter().cloned()).collect();
        self.config = config;
        self.shown.change(|now| {
            now.sinks = self.pumps.shown();
            now.problems.clone_from(&compared.problems);
            now.needs_restart.clone_from(&needs_restart);
        });
        if !is_news && !had_faults {
            return;
        }
        let outcome = Reloaded { schema: 2, by, sinks, settings, needs_restart, problems, ..Reloaded::default() };
        let last = ReloadRecord { at: began, outcome };
        tokio::spawn(tell(last, lines, answers, self.shown.clone()));
    }

    async fn read(&self, repos: &[RepoRoot]) -> Result<(Config, Vec<RepoRoot>), ConfigError> {
        let (root, around, repos) = (self.config.root.clone(), self.around.clone(), repos.to_vec());
        let read = tokio::task::spawn_blocking(move || repos::settings_with(&root, &around, &repos)).await;
        read.unwrap_or_else(|gone| {
            let fault = Diagnostic::error(Code::UnreadableSettings, format!("the settings could not be read: {gone}"));
            Err(ConfigError { faults: vec![fault], warnings: Vec::new(), inputs: Vec::new() })
        })
    }

    fn refuse_settings(
        &self,
        error: &ConfigError,
        by: String,
        asking: Asking,
        answers: Vec<oneshot::Sender<Reloaded>>,
    ) {
        let root = &self.config.root;
        let faults: Vec<FailureView> = error.faults.iter().map(|fault| shown_fault(fault, root)).collect();
        let last = self.shown.now().reload.map(|last| last.outcome.faults).unwrap_or_default();
        let is_news = last != faults || asking == Asking::Asked;
        if is_news {
            tracing::error!(target: "agent", "reload ({by}): the settings have faults, so nothing was changed");
            for fault in &faults {
                let place = fault.file.as_ref().map_or(String::new(), |file| format!("{file}:{}: ", fault.line));
                tracing::error!(target: "agent", "{place}{} [{}]", fault.message, fault.code);
            }
        }
        let needs_restart = self.shown.now().needs_restart;
        let outcome = Reloaded { schema: 2, by, faults, needs_restart, ..Reloaded::default() };
        if is_news {
            self.shown.change(|now| now.reload = Some(ReloadRecord { at: Instant::now(), outcome: outcome.clone() }));
        }
        for answer in answers {
            // Whoever asked may have stopped waiting.
            let _ = answer.send(outcome.clone());
        }
    }

    /// Looks at what runs and what lies on disk; `None` while the agent stops.
    async fn compare(&self, config: &Config, repos: &[RepoRoot], asking: Asking) -> Option<Compared> {
        let running = self.scripts.running().await?;
        let (inputs, repos) = (enabled(config), repos.to_vec());
        let compared = tokio::task::spawn_blocking(move || {
            let found = discover::scripts(&inputs);
            let wanted = found.specs.into_iter().map(|spec| wanted_in(spec, &repos)).collect();
            let wanted = supervisor::look(&running, supervisor::with_told(&running, wanted));
            let plan = plan::plan(&running, &wanted, asking);
            Compared {
                wanted: wanted.into_iter().map(|wanted| (wanted.spec.id.clone(), wanted)).collect(),
                running: running.into_iter().map(|runs| (runs.spec.id.clone(), runs)).collect(),
                problems: found.problems.iter().map(problem).collect(),
                plan,
            }
        });
        compared.await.ok()
    }

    /// Begins what needs no trial.
    async fn begin(&self, compared: &Compared) -> Vec<OutcomeLine> {
        let mut lines = Vec::new();
        let mut changes = Vec::new();
        let mut begun = Vec::new();
        for (id, step) in &compared.plan {
            let wanted = compared.wanted.get(id);
            let (change, outcome, why) = match (step, wanted) {
                (PlanStep::Start, Some(wanted)) => (Some(Change::Start(wanted.clone())), UnitOutcome::Started, None),
                (PlanStep::Restart(why), Some(wanted)) => {
                    (Some(Change::Restart(wanted.clone())), UnitOutcome::Restarted, Some(why))
                }
                (PlanStep::Update, Some(wanted)) => (Some(Change::Update(wanted.clone())), UnitOutcome::Updated, None),
                (PlanStep::Stop, _) => (Some(Change::Stop(id.clone())), UnitOutcome::Stopped, None),
                (PlanStep::Move, Some(wanted)) => {
                    changes.push(Change::Update(wanted.clone()));
                    (None, UnitOutcome::Unchanged, None)
                }
                (PlanStep::StillRefused(why), _) => (None, UnitOutcome::Refused, Some(why)),
                (PlanStep::Keep, _) => (None, UnitOutcome::Unchanged, None),
                (PlanStep::Try(_) | PlanStep::Start | PlanStep::Restart(_) | PlanStep::Update | PlanStep::Move, _) => {
                    continue;
                }
            };
            let line = compared.line(id, outcome, why.cloned());
            match change {
                Some(Change::Update(wanted)) => {
                    changes.push(Change::Update(wanted));
                    lines.push(OutcomeLine::Known(line));
                }
                Some(change) => {
                    changes.push(change);
                    begun.push(line);
                }
                None => lines.push(OutcomeLine::Same(line)),
            }
        }
        let stopped = begun.iter().filter(|line| line.outcome == UnitOutcome::Stopped);
        self.forget(stopped.map(|line| line.id.clone()).collect()).await;
        for settling in self.scripts.begin(changes).await {
            if let Some(at) = begun.iter().position(|line| line.id == settling.id) {
                lines.push(OutcomeLine::Settles { settling, line: begun.swap_remove(at) });
            }
        }
        lines
    }

    /// What is no longer wanted needs no good version either.
    async fn forget(&self, ids: Vec<String>) {
        let last_good = self.last_good.clone();
        let forgot =
            tokio::task::spawn_blocking(move || ids.iter().try_for_each(|id| lastgood::forget(&last_good, id)));
        if let Ok(Err(error)) = forgot.await {
            tracing::warn!(target: "agent", "the last version of a script that was removed could not be deleted: {error}");
        }
    }

    /// Tries every new version of a script that works, and has those that load take their place.
    async fn try_versions(&self, compared: &Compared) -> Vec<OutcomeLine> {
        let tries: Vec<(&WantedUnit, &String)> = compared
            .plan
            .iter()
            .filter_map(|(id, step)| match step {
                PlanStep::Try(why) => Some((compared.wanted.get(id)?, why)),
                _ => None,
            })
            .collect();
        if tries.is_empty() {
            return Vec::new();
        }
        let tryout = match Tryout::within(self.core.clone(), self.run_dir.clone()).await {
            Ok(tryout) => tryout,
            Err(error) => {
                let why = format!("it could not be tried: {error:#}");
                tracing::error!(target: "agent", "new versions of scripts wait: {why}");
                let lines = tries
                    .iter()
                    .map(|(wanted, _)| compared.line(&wanted.spec.id, UnitOutcome::Refused, Some(why.clone())));
                return lines.map(OutcomeLine::Known).collect();
            }
        };
        let trials: Vec<BoxFuture<'_, OutcomeLine>> =
            tries.into_iter().map(|(wanted, why)| self.try_version(&tryout, compared, wanted, why).boxed()).collect();
        futures_util::stream::iter(trials).buffer_unordered(AT_ONCE).collect().await
    }

    async fn try_version(
        &self,
        tryout: &Tryout,
        compared: &Compared,
        wanted: &WantedUnit,
        changed: &str,
    ) -> OutcomeLine {
        let id = &wanted.spec.id;
        let loads = |script: &str| compared.running.get(id).is_none_or(|runs| !runs.unloaded.contains(script));
        let before: &[UnitSpec] = compared.running.get(id).map_or(&[], |runs| &runs.spec.units);
        let must = |script: &str| loads(script) && before.iter().any(|one| one.id == script);
        let outcome = tryout.load(&wanted.spec, &must, tryout::LOAD).await;
        let is_helper = outcome.fatal.as_ref().is_some_and(|fatal| fatal.passive)
            && compared.has_siblings(wanted)
            // An empty file says nothing of what its author wants; it is rather one that is being written.
            && !outcome.loaded.iter().any(|loaded| loaded.file == wanted.spec.first().file && loaded.sum == Sum::of(b""));
        if !outcome.is_ready && !is_helper {
            let problems = outcome.load_problems(&wanted.spec);
            let problem = problems.iter().find(|problem| problem.severity == Severity::Error);
            let why =
                problem.map_or_else(|| "it ended while it was loaded".to_owned(), |problem| told(problem, wanted));
            let refusal = refusal(wanted.clone(), why.clone(), outcome).await;
            self.scripts.begin(vec![Change::Refuse(id.clone(), refusal)]).await;
            return OutcomeLine::Known(compared.line(id, UnitOutcome::Refused, Some(why)));
        }
        tracing::info!(target: "worker", "{id}: {changed}; its new version takes over when the run has ended");
        let line = compared.line(id, UnitOutcome::Restarted, Some(changed.to_owned()));
        match self.scripts.begin(vec![Change::Restart(wanted.clone())]).await.pop() {
            Some(settling) => OutcomeLine::Settles { settling, line },
            None => OutcomeLine::Known(line),
        }
    }

    /// Has the settings beside the inputs take effect, as far as that is possible now.
    async fn obey(&mut self, config: &Config) -> (Vec<ReloadedSink>, Vec<String>) {
        let sinks = self.pumps.change(&config.sinks).await;
        let sinks = sinks.into_iter().map(|(name, became)| {
            let (outcome, why) = match became {
                Became::Added => (SinkOutcome::Added, None),
                Became::Changed => (SinkOutcome::Changed, None),
                Became::Removed => (SinkOutcome::Removed, None),
                Became::Refused(why) => (SinkOutcome::Refused, Some(why)),
            };
            ReloadedSink { name, outcome, why }
        });
        let sinks = sinks.collect();
        let (old, new) = (&self.config, config);
        let live = [
            ("[http_api] timeout", old.http_api.timeout != new.http_api.timeout),
            ("[ingest]", old.ingest != new.ingest),
            ("[series]", old.series != new.series),
            ("[events]", old.events != new.events),
            ("[global_tags]", old.global_tags != new.global_tags),
            ("[reload]", old.reload != new.reload),
            ("[git_repos]", !old.git_repos.is_same_as(&new.git_repos)),
        ];
        let changed = live.iter().filter(|(_, changed)| *changed).map(|(name, _)| (*name).to_owned()).collect();
        // The room for bodies was measured out at the start.
        let settings =
            crate::ingest::EndpointSettings { max_body: self.at_start.http_api.max_body, ..ingest_settings(new) };
        self.ingest.obey(settings);
        if !old.git_repos.is_same_as(&new.git_repos) {
            self.git.change(repos::to_pull(new, &self.run_dir), &self.repos).await;
        }
        (sinks, changed)
    }
}

/// Keys that changed since the start and that only another start makes effective.
fn needing_restart(at_start: &Config, now: &Config) -> Vec<String> {
    let (api, new_api) = (&at_start.http_api, &now.http_api);
    let (buffer, new_buffer) = (&at_start.buffer, &now.buffer);
    let keys = [
        ("[http_api] listen", api.listen != new_api.listen),
        ("[http_api] socket", api.socket != new_api.socket),
        ("[http_api] tokens", api.tokens != new_api.tokens),
        ("[http_api] max_body", api.max_body != new_api.max_body),
        ("[http_api] max_connections", api.max_connections != new_api.max_connections),
        ("[http_api] allowed_origins", api.allowed_origins != new_api.allowed_origins),
        ("[http_api] allowed_hosts", api.allowed_hosts != new_api.allowed_hosts),
        ("[buffer] max_size", buffer.max_size != new_buffer.max_size),
        ("[buffer] at_cap", buffer.at_cap != new_buffer.at_cap),
        ("[buffer] sync", buffer.sync != new_buffer.sync),
        ("[buffer] group", buffer.group != new_buffer.group),
        ("[logging] level", at_start.logging.level != now.logging.level),
        ("[logging] dir", at_start.logging.dir != now.logging.dir),
        ("[logging] group", at_start.logging.group != now.logging.group),
    ];
    keys.iter().filter(|(_, changed)| *changed).map(|(name, _)| (*name).to_owned()).collect()
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

fn wanted_in(spec: crate::worker::WorkerSpec, repos: &[RepoRoot]) -> WantedUnit {
    let home = repos.iter().find(|repo| spec.first().file.starts_with(&repo.dir)).map(|repo| repo.dir.clone());
    WantedUnit { home, ..spec.into() }
}

/// Remembers what was tried, so that it is not tried again until something of it changes.
async fn refusal(wanted: WantedUnit, why: String, outcome: tryout::TryoutOutcome) -> RefusedVersion {
    let looked = tokio::task::spawn_blocking(move || {
        let mut parts: Vec<Dependency> = wanted.spec.roots.iter().cloned().map(Dependency::Names).collect();
        parts.extend(wanted.spec.units.iter().map(|unit| Dependency::File(unit.file.clone())));
        let mut print: Print = FileLook::default().print(&parts);
        print.extend(wanted.now);
        print.extend(outcome.loaded.into_iter().map(|loaded| (Dependency::File(loaded.file), Some(loaded.sum))));
        let at_fault = outcome.fatal.as_ref().map_or(outcome.last_unit, |fatal| fatal.u);
        let of = wanted.spec.units.get(at_fault).filter(|_| wanted.spec.shares).map(|unit| unit.id.clone());
        RefusedVersion { why, of, at: SystemTime::now(), spec: wanted.spec, home: wanted.home, print }
    });
    looked.await.expect("hashing files does not panic")
}

/// `my/x.py:3: syntax error: … [PD0201]`
fn told(problem: &Diagnostic, wanted: &WantedUnit) -> String {
    let place = problem.place.as_ref().map_or(String::new(), |place| {
        let file = short(&place.file, wanted);
        match place.line {
            0 => format!("{file}: "),
            line if problem.code.is_of_foreign_settings() => format!("{file}:{line}:{}: ", place.column),
            line => format!("{file}:{line}: "),
        }
    });
    let source = problem.place.as_ref().map_or("", |place| place.source.trim());
    let source = if source.is_empty() { String::new() } else { format!(" | {source}") };
    format!("{place}{}{source} [{}]", problem.message, problem.code)
}

fn short(file: &Path, wanted: &WantedUnit) -> String {
    let inside = wanted.spec.roots.iter().find_map(|root| file.strip_prefix(root.parent()?).ok());
    inside.unwrap_or(file).display().to_string()
}

fn shown_fault(fault: &Diagnostic, root: &Path) -> FailureView {
    FailureView {
        code: fault.code,
        message: fault.message.clone(),
        file: fault.place.as_ref().map(|place| place.file.display().to_string()),
        line: fault.place.as_ref().map_or(0, |place| place.line),
        text: fault.render(root, false),
    }
}

impl Compared {
    /// Takes the steps of units out whose lister has a step itself: what they are to be is known once it has told. Gives those listers.
    /// The units of a lister whose new version is refused stay as they are.
    fn defer_told(&mut self) -> BTreeSet<String> {
        let lists = |id: &String| self.wanted.get(id).is_some_and(|wanted| wanted.spec.lists());
        let of_step = |wanted: fn(&PlanStep) -> bool| -> BTreeSet<String> {
            let steps = self.plan.iter().filter(|(id, step)| lists(id) && wanted(step));
            steps.map(|(id, _)| id.clone()).collect()
        };
        let moving = of_step(|step| matches!(step, PlanStep::Start | PlanStep::Restart(_) | PlanStep::Try(_)));
        let refused = of_step(|step| matches!(step, PlanStep::StillRefused(_)));
        let by = |id: &String| self.running.get(id).and_then(|runs| runs.spec.told_by());
        let is_deferred = |id: &String| by(id).is_some_and(|by| moving.contains(by) || refused.contains(by));
        let kept: UnitPlan = self.plan.iter().filter(|(id, _)| !is_deferred(id)).cloned().collect();
        self.plan = kept;
        moving
    }

    fn line(&self, id: &str, outcome: UnitOutcome, why: Option<String>) -> ReloadedUnit {
        let wanted = self.wanted.get(id).map(|wanted| &wanted.spec);
        let spec = wanted.or_else(|| self.running.get(id).map(|runs| &runs.spec));
        let is_helper = self.running.get(id).is_some_and(|runs| runs.state == RunState::Helps);
        let outcome = if outcome == UnitOutcome::Unchanged && is_helper { UnitOutcome::Helper } else { outcome };
        ReloadedUnit {
            id: id.to_owned(),
            file: spec.map_or(String::new(), |spec| spec.first().file.display().to_string()),
            outcome,
            pid: None,
            why,
        }
    }

    fn has_siblings(&self, wanted: &WantedUnit) -> bool {
        self.wanted.values().any(|other| {
            other.spec.first().file != wanted.spec.first().file && other.spec.roots.first() == wanted.spec.roots.first()
        })
    }
}

/// Waits until these listers have told, or failed to.
async fn settle_listers(lines: Vec<OutcomeLine>, listers: &BTreeSet<String>) -> Vec<OutcomeLine> {
    let one = |line: OutcomeLine| async {
        match line {
            OutcomeLine::Settles { settling, line } if listers.contains(&line.id) => {
                OutcomeLine::Known(OutcomeLine::Settles { settling, line }.settle().await)
            }
            other => other,
        }
    };
    futures_util::future::join_all(lines.into_iter().map(one)).await
}

/// Those of them that have told anew.
fn listed(lines: &[OutcomeLine], listers: &BTreeSet<String>) -> BTreeSet<String> {
    let known = lines.iter().filter_map(|line| match line {
        OutcomeLine::Known(line) | OutcomeLine::Same(line) => Some(line),
        OutcomeLine::Settles { .. } => None,
    });
    known
        .filter(|line| listers.contains(&line.id) && line.outcome != UnitOutcome::Refused)
        .map(|line| line.id.clone())
        .collect()
}

impl OutcomeLine {
    async fn settle(self) -> ReloadedUnit {
        let (settling, line) = match self {
            Self::Same(line) | Self::Known(line) => return line,
            Self::Settles { settling, line } => (settling, line),
        };
        match tokio::time::timeout(SETTLE, settling.outcome()).await {
            Ok(ChangeOutcome::Runs { pid }) => ReloadedUnit { pid, ..line },
            Ok(ChangeOutcome::RunsWithout { pid, why }) => {
                let why = line.why.map_or(why.clone(), |changed| format!("{changed}; {why}"));
                ReloadedUnit { pid, why: Some(why), ..line }
            }
            Ok(ChangeOutcome::Helps) => ReloadedUnit { outcome: UnitOutcome::Helper, ..line },
            Ok(ChangeOutcome::Fails { why }) => ReloadedUnit { outcome: UnitOutcome::Refused, why: Some(why), ..line },
            Ok(ChangeOutcome::Stopped | ChangeOutcome::Done) => line,
            Err(_elapsed) => {
                let why = format!("its old worker has not ended its run after {} s", SETTLE.as_secs());
                ReloadedUnit { why: Some(why), ..line }
            }
        }
    }
}

/// Waits for the end of every change, tells those who wait, and writes what is new to the log.
async fn tell(
    mut last: ReloadRecord,
    lines: Vec<OutcomeLine>,
    answers: Vec<oneshot::Sender<Reloaded>>,
    shown: ShownSettings,
) {
    let outcome = &mut last.outcome;
    outcome.units = futures_util::future::join_all(lines.into_iter().map(OutcomeLine::settle)).await;
    outcome.units.sort_by(|one, other| one.id.cmp(&other.id));
    log(outcome);
    for answer in answers {
        // Whoever asked may have stopped waiting.
        let _ = answer.send(outcome.clone());
    }
    // The status shows every script anyway.
    outcome.units.retain(|line| line.outcome.is_news());
    shown.change(|now| {
        // A later one may have settled before.
        if now.reload.as_ref().is_none_or(|shown| shown.at <= last.at) {
            now.reload = Some(last);
        }
    });
}

fn log(outcome: &Reloaded) {
    let by = &outcome.by;
    for line in &outcome.units {
        let why = line.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
        match line.outcome {
            UnitOutcome::Unchanged | UnitOutcome::Helper => {}
            UnitOutcome::Refused => {
                tracing::error!(target: "agent", "reload ({by}): {} refused, the version before runs on if there is one{why}", line.id);
            }
            outcome => tracing::info!(target: "agent", "reload ({by}): {} {outcome}{why}", line.id),
        }
    }
    for sink in &outcome.sinks {
        match &sink.why {
            Some(why) => tracing::error!(target: "agent", "reload ({by}): sink {} {}: {why}", sink.name, sink.outcome),
            None => tracing::info!(target: "agent", "reload ({by}): sink {} {}", sink.name, sink.outcome),
        }
    }
    for name in &outcome.settings {
        tracing::info!(target: "agent", "reload ({by}): {name} changed");
    }
    for name in &outcome.needs_restart {
        tracing::warn!(target: "agent", "reload ({by}): {name} changed, which takes effect when the agent is started again");
    }
    let unchanged = outcome.units.iter().filter(|line| line.outcome == UnitOutcome::Unchanged).count();
    tracing::info!(target: "agent", "reload ({by}) done, unchanged units: {unchanged}");
}
