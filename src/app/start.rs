//! Starts all parts, one stage after the other; each stage takes what those before it have made.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::agent::Agent;
use super::greeting::greet;
use super::listeners::{Bound, Listeners};
use super::premises::Premises;
use super::pumps::Pumps;
use super::reload::Reloader;
use super::repos;
use super::settings::{enabled, ingest_settings, problem};
use super::storage::Storage;
use crate::api::{self, Api, DiskLooks, ReloadRequest, ShownSettings};
use crate::config::{self, Config, Surroundings};
use crate::git;
use crate::ingest::guard::{self, AccessGuard as RequestGuard};
use crate::ingest::{self, WriteEndpoint, server};
use crate::platform::{self, Hangups};
use crate::supervisor;
use crate::telemetry::counters::Counters;
use crate::telemetry::systemd::ServiceManager;
use crate::worker::room::FileRoom;
use crate::worker::roster::Roster;
use crate::worker::{WorkerSpec, discover};

/// After these pauses an agent has been through most that it does only at its start: its own, then that of its workers.
const SETTLED: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(10)];
/// Wishes to reload that wait; more of them wait at their own end.
const ASKS: usize = 64;

/// Starts the agent.
///
/// # Errors
/// When a part cannot be started: another agent on the same directory, no socket, a buffer that cannot be opened.
pub(super) async fn start(
    config: Config,
    around: Surroundings,
    hangups: Hangups,
    manager: ServiceManager,
) -> anyhow::Result<Agent> {
    let base = Base::lay(&config).await?;
    let pumps = Pumps::start(&config.sinks, &base.storage.log, &base.storage.dead, &base.counters)?;
    let bound = Bound::of(&config).await?;
    let units = base.start_units(&config, &bound)?;
    let desk = base.open_desk(&config, &bound, &units, &pumps);
    let (socket, address) = (bound.socket().to_owned(), bound.address());
    let listeners = base.listen(&config, bound, &desk.api, units.specs.len())?;
    greet(&config, &units.specs, address, &socket);
    let Base { premises, storage, ingest, .. } = base;
    let reloader = Reloader {
        asks: desk.asked,
        hangups,
        at_start: config.clone(),
        repos: premises.roots,
        git: desk.git.clone(),
        last_good: last_good(&config),
        config,
        around,
        scripts: units.handle.clone(),
        ingest: Arc::clone(&ingest),
        pumps,
        shown: desk.shown,
        core: storage.core,
        run_dir: premises.run_dir,
        manager,
        panics: desk.api.counters.panics.clone(),
    };
    let stop_reloads = CancellationToken::new();
    let reloads = tokio::spawn(reloader.run(stop_reloads.clone()));
    tokio::spawn(give_back_memory());
    Ok(Agent {
        _lock: premises.lock,
        guard: premises.guard,
        log: storage.log,
        logs: storage.logs,
        ingest,
        scripts: units.handle,
        git: desk.git,
        api: desk.api,
        stop_reloads,
        reloads,
        listeners,
    })
}

/// What everything else stands on.
struct Base {
    ingest: Arc<WriteEndpoint>,
    roster: Roster,
    storage: Storage,
    counters: Counters,
    // Dropped last where a start fails: nobody else may have the directory before.
    premises: Premises,
}

/// The units under supervision.
struct SupervisedUnits {
    handle: supervisor::SupervisorHandle,
    /// What was found at the start.
    specs: Vec<WorkerSpec>,
    /// What was wrong with the rest, one sentence each.
    problems: Vec<String>,
}

/// Where the agent is asked, and what its answers come from.
struct Desk {
    api: Arc<Api>,
    asked: mpsc::Receiver<ReloadRequest>,
    git: git::RepositoriesHandle,
    shown: ShownSettings,
}

impl Base {
    async fn lay(config: &Config) -> anyhow::Result<Self> {
        let premises = Premises::take(config).await?;
        let counters = Counters::default();
        let storage = Storage::open(config, &premises.rights, &counters).await?;
        let roster = Roster::default();
        let log = Arc::new(storage.log.clone());
        let mut ingest = WriteEndpoint::new(ingest_settings(config), log, roster.clone(), counters.clone());
        ingest.dead = Some(storage.dead.clone());
        ingest.logs = Some(storage.logs.clone());
        Ok(Self { ingest: Arc::new(ingest), roster, storage, counters, premises })
    }

    fn start_units(&self, config: &Config, bound: &Bound) -> anyhow::Result<SupervisedUnits> {
        let discovered = discover::scripts(&enabled(config));
        let problems: Vec<String> = discovered.problems.iter().map(problem).collect();
        for text in &problems {
            tracing::warn!(target: "agent", "{text}");
        }
        let settings = supervisor::SupervisorSettings {
            core: self.storage.core.clone(),
            run_dir: self.premises.run_dir.clone(),
            socket: bound.socket().to_owned(),
            address: bound.address().unwrap_or(config.http_api.listen),
            hostname: self.ingest.host.clone(),
            state_dir: config.root.join("data/state"),
            last_good: last_good(config),
            limits: supervisor::LifeLimits::default(),
            zygote: (config.workers.zygote == config::ZygoteTable::Auto).then(supervisor::ZygoteSettings::default),
            no_guard: self.premises.no_guard.clone(),
        };
        let handle = supervisor::start(
            discovered.specs.clone(),
            settings,
            self.roster.clone(),
            self.storage.logs.clone(),
            self.counters.clone(),
        )?;
        Ok(SupervisedUnits { handle, specs: discovered.specs, problems })
    }

    fn open_desk(&self, config: &Config, bound: &Bound, units: &SupervisedUnits, pumps: &Pumps) -> Desk {
        let shown = ShownSettings::default();
        shown.change(|now| (now.sinks, now.problems) = (pumps.shown(), units.problems.clone()));
        let (asks, asked) = mpsc::channel(ASKS);
        let adopter = repos::Reloads::new(asks.clone(), units.handle.clone());
        let git = repos::start(config, &self.premises.run_dir, &self.ingest.host, adopter, &self.premises.roots);
        let api = Api {
            started: Instant::now(),
            root: config.root.clone(),
            host: self.ingest.host.clone(),
            listen: bound.address().map(|address| address.to_string()),
            socket: bound.socket().to_owned(),
            units: units.handle.clone(),
            asks,
            shown: shown.clone(),
            log: self.storage.log.clone(),
            dead: self.storage.dead.clone(),
            last_errors: self.ingest.last_errors.clone(),
            repairs: self.ingest.repairs.clone(),
            counters: self.counters.clone(),
            git: git.clone(),
            disk: DiskLooks::default(),
        };
        Desk { api: Arc::new(api), asked, git, shown }
    }

    fn listen(&self, config: &Config, bound: Bound, api: &Arc<Api>, scripts: usize) -> std::io::Result<Listeners> {
        let router = router(config, Arc::clone(&self.ingest), Arc::clone(api), self.roster.clone());
        let places = server::places(config.http_api.max_connections, FileRoom::of_this_process(), scripts);
        bound.serve(&router, places, &self.counters.panics)
    }
}

/// Where the last version of each script lies that could be loaded.
fn last_good(config: &Config) -> PathBuf {
    config.root.join("data/last-good")
}

fn router(config: &Config, ingest: Arc<WriteEndpoint>, api: Arc<Api>, roster: Roster) -> Router {
    let guard = Arc::new(RequestGuard {
        tokens: config.http_api.tokens.clone(),
        allowed_origins: config.http_api.allowed_origins.clone(),
        allowed_hosts: config.http_api.allowed_hosts.clone(),
        roster,
    });
    ingest::router(ingest)
        .merge(api::router(api))
        .layer(axum::middleware::from_fn_with_state(guard, guard::check))
        .layer(tower_http::catch_panic::CatchPanicLayer::new())
}

/// Gives memory back that only a start needs.
async fn give_back_memory() {
    for pause in SETTLED {
        tokio::time::sleep(pause).await;
        // Nothing follows from it.
        let _ = tokio::task::spawn_blocking(platform::give_back_memory).await;
    }
}
