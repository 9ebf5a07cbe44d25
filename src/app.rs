//! Builds all parts from the settings, starts them, and stops them in order; the only module that knows all of them.
//!
//! Start: lock, leftovers of a killed agent, buffer, pumps, sockets, workers, pulls, listeners, reloads. Stop: reloads, pulls and workers
//! (they may end their run and report), ingest refuses, pumps until the grace ends, cursors saved. Whatever is not delivered stays in the
//! buffer.

mod listeners;
mod privacy;
mod pumps;
mod reload;
pub mod repos;
mod settings;

use std::collections::BTreeSet;
use std::io::{Read, Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Api, DiskLooks, ShownSettings};
use crate::buffer::disk::RealDisk;
use crate::buffer::{self, Log};
use crate::config::{self, AtCap, Config, Surroundings, Sync};
use crate::deadletter::DeadLetters;
use crate::dialect::Dialect;
use crate::ingest::guard::{self, AccessGuard as RequestGuard};
use crate::ingest::{self, WriteEndpoint, server};
use crate::platform::{self, Hangups, Stops};
use crate::point::record;
use crate::supervisor;
use crate::telemetry::counters::{BySinkAndInput, Counters};
use crate::telemetry::files::ScriptLogs;
use crate::telemetry::systemd::ServiceManager;
use crate::words::count;
use crate::worker::guard::OrphanGuard;
use crate::worker::room::FileRoom;
use crate::worker::roster::Roster;
use crate::worker::{WorkerSpec, discover, leftovers, sdk};

use listeners::{Bound, Listeners};
use privacy::Rights;
use pumps::Pumps;
use reload::Reloader;
use settings::{enabled, ingest_settings, problem};

/// What a stop takes at most, all in all: docker kills after 10 s.
const STOP: Duration = Duration::from_secs(9);
/// What the workers get of it, and the pulls beside them.
const STOP_WORKERS: Duration = Duration::from_millis(6500);
/// What the pumps then get for what the workers reported last; the rest is for the disk.
const DRAIN: Duration = Duration::from_secs(1);
/// What requests under way get after that.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
/// After these pauses an agent has been through most that it does only at its start: its own, then that of its workers.
const SETTLED: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(10)];
/// Between two lines for `systemctl status`.
const TELL_STATUS: Duration = Duration::from_secs(10);
/// Bytes of dead letters per refuser.
const DEAD_LETTER_CAP: u64 = 64 << 20;
/// Wishes to reload that wait; more of them wait at their own end.
const ASKS: usize = 64;

/// Runs the agent until it is asked to stop; asked once more while it stops, it ends what still runs at once.
///
/// # Errors
/// When a part cannot be started: another agent on the same directory, no socket, a buffer that cannot be opened.
pub async fn run(
    config: Config,
    around: Surroundings,
    manager: &ServiceManager,
    mut stops: Stops,
) -> anyhow::Result<()> {
    stretch_limits();
    // From now on a hangup is a wish to reload; the default would end the agent.
    let hangups = Hangups::hear().context("could not listen for SIGHUP")?;
    let agent = Agent::start(config, around, hangups, manager.clone()).await?;
    manager.ready();
    let (scripts, api) = (agent.scripts.clone(), Arc::clone(&agent.api));
    let touch = tokio::spawn(keep_in_touch(
        manager.clone(),
        move || scripts.pulse(),
        async move || api.status().await.in_one_line(),
    ));
    let by = stops.recv().await;
    touch.abort();
    manager.stopping();
    let waits = agent.scripts.under_way(STOP_WORKERS).await;
    tracing::info!(target: "agent", "stopping: {}", waits.map_or_else(|| "no script is in a run".to_owned(), |waits| waits.tell(by)));
    agent.stop(stops).await;
    tracing::info!(target: "agent", "stopped");
    Ok(())
}

/// The socket when the settings name none.
pub fn default_socket(root: &Path) -> PathBuf {
    root.join("data/run/pythond.sock")
}

/// Tells the service manager that the agent lives, while the loop over the scripts ticks, and how things are.
async fn keep_in_touch(manager: ServiceManager, pulse: impl Fn() -> u64, status: impl AsyncFn() -> String) {
    if !manager.is_there() {
        return;
    }
    let pause = manager.watchdog.map_or(TELL_STATUS, |watchdog| (watchdog / 3).min(TELL_STATUS));
    let (mut last, mut told) = (pulse(), None::<tokio::time::Instant>);
    loop {
        tokio::time::sleep(pause).await;
        let now = pulse();
        if std::mem::replace(&mut last, now) != now {
            manager.alive();
        } else {
            tracing::error!(target: "agent", "the loop over the scripts stands still; the service manager is not told that the agent lives");
            continue;
        }
        if told.is_none_or(|told| told.elapsed() >= TELL_STATUS) {
            told = Some(tokio::time::Instant::now());
            // It looks at the disk, which may hang; the watchdog is not about that.
            if let Ok(text) = tokio::time::timeout(pause / 2, status()).await {
                manager.status(&text);
            }
        }
    }
}

/// The agent at work.
struct Agent {
    /// Held until the process ends.
    _lock: std::fs::File,
    guard: Option<OrphanGuard>,
    log: Log,
    logs: ScriptLogs,
    ingest: Arc<WriteEndpoint>,
    scripts: supervisor::SupervisorHandle,
    git: crate::git::RepositoriesHandle,
    api: Arc<Api>,
    stop_reloads: CancellationToken,
    /// Gives the pumps back at its end.
    reloads: tokio::task::JoinHandle<Pumps>,
    listeners: Listeners,
}

impl Agent {
    async fn start(
        config: Config,
        around: Surroundings,
        hangups: Hangups,
        manager: ServiceManager,
    ) -> anyhow::Result<Self> {
        let run_dir = config.root.join("data/run");
        let roots = crate::git::roots(&config.git_repos, &[]);
        let rights = Rights::of(&config, &roots);
        rights.make_folders().with_context(|| format!("could not make {}", run_dir.display()))?;
        let lock = lock(&run_dir)?;
        privacy::at_start(rights.clone()).await;
        leftovers::sweep_leftovers(&run_dir).await;
        let (guard, no_guard) = match OrphanGuard::start(&run_dir) {
            Ok(guard) => (Some(guard), None),
            Err(error) => {
                tracing::warn!(target: "agent", "no guard can be started: {error}; what scripts have started outlives an agent that is killed");
                (None, Some(error.to_string()))
            }
        };

        let counters = Counters::default();
        let logs = ScriptLogs::open_for(log_dir(&config).await, config.logging.group, counters.clone());
        let core = write_sdk(&config.root, &rights)?;
        let log = open_buffer(&config)?;
        count_losses(&log, &counters);
        let dead_dir = config.root.join("data/dead");
        let dead = DeadLetters::open(&dead_dir, DEAD_LETTER_CAP)
            .with_context(|| format!("could not open {}", dead_dir.display()))?;

        let pumps = Pumps::start(&config.sinks, &log, &dead, &counters)?;

        let roster = Roster::default();
        let mut ingest =
            WriteEndpoint::new(ingest_settings(&config), Arc::new(log.clone()), roster.clone(), counters.clone());
        ingest.dead = Some(dead.clone());
        ingest.logs = Some(logs.clone());
        let ingest = Arc::new(ingest);

        let bound = Bound::of(&config).await?;
        let (socket, address) = (bound.socket().to_owned(), bound.address());

        let discovered = discover::scripts(&enabled(&config));
        let problems: Vec<String> = discovered.problems.iter().map(problem).collect();
        for text in &problems {
            tracing::warn!(target: "agent", "{text}");
        }
        let last_good = config.root.join("data/last-good");
        let scripts = supervisor::start(
            discovered.specs.clone(),
            supervisor::SupervisorSettings {
                core: core.clone(),
                run_dir: run_dir.clone(),
                socket: socket.clone(),
                address: address.unwrap_or(config.http_api.listen),
                hostname: ingest.host.clone(),
                state_dir: config.root.join("data/state"),
                last_good: last_good.clone(),
                limits: supervisor::LifeLimits::default(),
                zygote: (config.workers.zygote == config::ZygoteTable::Auto).then(supervisor::ZygoteSettings::default),
                no_guard,
            },
            roster.clone(),
            logs.clone(),
            counters.clone(),
        )?;

        let shown = ShownSettings::default();
        shown.change(|now| (now.sinks, now.problems) = (pumps.shown(), problems));
        let (asks, asked) = mpsc::channel(ASKS);
        let adopter = repos::Reloads::new(asks.clone(), scripts.clone());
        let git = repos::start(&config, &run_dir, &ingest.host, adopter, &roots);
        let api = Arc::new(Api {
            started: Instant::now(),
            root: config.root.clone(),
            host: ingest.host.clone(),
            listen: address.map(|address| address.to_string()),
            socket: socket.clone(),
            units: scripts.clone(),
            asks,
            shown: shown.clone(),
            log: log.clone(),
            dead,
            last_errors: ingest.last_errors.clone(),
            repairs: ingest.repairs.clone(),
            counters,
            git: git.clone(),
            disk: DiskLooks::default(),
        });
        let router = router(&config, Arc::clone(&ingest), Arc::clone(&api), roster);
        let places =
            server::places(config.http_api.max_connections, FileRoom::of_this_process(), discovered.specs.len());
        let listeners = bound.serve(&router, places, &api.counters.panics)?;
        greet(&config, &discovered.specs, address, &socket);
        let stop_reloads = CancellationToken::new();
        let reloader = Reloader {
            asks: asked,
            hangups,
            at_start: config.clone(),
            repos: roots,
            git: git.clone(),
            config,
            around,
            scripts: scripts.clone(),
            ingest: Arc::clone(&ingest),
            pumps,
            shown,
            core,
            run_dir,
            last_good,
            manager,
            panics: api.counters.panics.clone(),
        };
        let reloads = tokio::spawn(reloader.run(stop_reloads.clone()));
        tokio::spawn(async {
            for pause in SETTLED {
                tokio::time::sleep(pause).await;
                // Nothing follows from it.
                let _ = tokio::task::spawn_blocking(platform::give_back_memory).await;
            }
        });
        Ok(Self { _lock: lock, guard, log, logs, ingest, scripts, git, api, stop_reloads, reloads, listeners })
    }

    async fn stop(self, stops: Stops) {
        let until = tokio::time::Instant::now() + STOP;
        self.stop_reloads.cancel();
        let at_once = CancellationToken::new();
        let impatience = tokio::spawn(hear_impatience(stops, at_once.clone(), self.scripts.clone()));
        // A disk that hangs may hold a pull; what it has not done by then is done after the next start.
        let pulls = at_once.run_until_cancelled(tokio::time::timeout(STOP_WORKERS, self.git.stop()));
        let scripts = async {
            let pumps = self.reloads.await;
            self.scripts.stop(STOP_WORKERS).await;
            pumps
        };
        let (_, pumps) = tokio::join!(pulls, scripts);
        self.ingest.refuse_from_now();
        self.listeners.close();
        impatience.abort();
        // What is not delivered lies in the buffer.
        let drain = if at_once.is_cancelled() { Duration::ZERO } else { DRAIN };
        let drained = tokio::time::Instant::now() + drain;
        let pumps = async {
            match pumps {
                Ok(pumps) => pumps.stop(drained).await,
                Err(gone) => {
                    tracing::error!(target: "agent", "what waits in the buffer is sent after the next start: {gone}")
                }
            }
        };
        let ends = futures_util::future::join(pumps, self.listeners.ended());
        // A request that hangs in a sink is given up here; its points are still in the buffer.
        if tokio::time::timeout_at(drained + LAST_ANSWERS, ends).await.is_err() {
            tracing::debug!(target: "agent", "some connections were still open at the end");
        }
        // Both write to a disk and wait for it.
        let closed = tokio::task::spawn_blocking(move || self.log.close());
        let flushed = tokio::task::spawn_blocking(move || self.logs.flush());
        let written = futures_util::future::try_join(closed, flushed);
        if !matches!(tokio::time::timeout_at(until, written).await, Ok(Ok(_))) {
            tracing::error!(target: "agent", "the buffer could not be closed in order; it recovers at the next start");
        }
        // What is left all the same it ends; it is waited for, so that nothing runs when the agent has ended.
        if tokio::task::spawn_blocking(move || drop(self.guard)).await.is_err() {
            tracing::error!(target: "agent", "the end of the guard was not waited for");
        }
    }
}

/// Ends all runs when a second wish to stop comes.
async fn hear_impatience(mut stops: Stops, at_once: CancellationToken, scripts: supervisor::SupervisorHandle) {
    let by = stops.recv().await;
    tracing::info!(target: "agent", "{by} again: runs are ended now; what was accepted is on disk");
    at_once.cancel();
    scripts.end_now().await;
    loop {
        // Nothing is quicker than that; a third one must not end the agent before the buffer is closed.
        stops.recv().await;
    }
}

/// Makes the limits that this process was given fit for 300 scripts and a full house of connections.
fn stretch_limits() {
    const ENOUGH: u64 = 65_536;
    if let Err(error) = platform::survive_file_size_limits() {
        tracing::debug!(target: "agent", "SIGXFSZ keeps its default: {error}");
    }
    if let Err(error) = platform::raise_open_files(ENOUGH) {
        tracing::debug!(target: "agent", "the limit on open files stays: {error}");
    }
}

/// Where the log files of the scripts lie: the folder of the settings, or `data/log` where that cannot be written.
async fn log_dir(config: &Config) -> PathBuf {
    /// A disk that hangs must not hold up the start; its folder is kept, for it may come back.
    const LOOK: Duration = Duration::from_secs(2);
    let dir = config.logging.dir.clone();
    let (tell, told) = tokio::sync::oneshot::channel();
    let looked_at = dir.clone();
    std::thread::spawn(move || {
        let usable = std::fs::create_dir_all(&looked_at).and_then(|()| platform::may_write_in(&looked_at));
        // Whoever asked may have stopped waiting.
        let _ = tell.send(usable);
    });
    match tokio::time::timeout(LOOK, told).await {
        Ok(Ok(Err(error))) => {
            let other = config.root.join("data/log");
            tracing::warn!(target: "agent", "the logs of the scripts cannot lie in {}: {error}; they go to {}", dir.display(), other.display());
            other
        }
        Ok(Ok(Ok(())) | Err(_)) | Err(_) => dir,
    }
}

/// One agent per directory: the lock is the file's, so it ends with the process however that ends.
fn lock(run_dir: &Path) -> anyhow::Result<std::fs::File> {
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

/// Writes the Python package to `python.d/core`, or below `data/` where `python.d` is read-only.
fn write_sdk(root: &Path, rights: &Rights) -> anyhow::Result<PathBuf> {
    let core = root.join("python.d/core");
    let (core, aside) = match sdk::write(&core) {
        Ok(aside) => (core, aside),
        Err(error) => {
            let other = root.join("data/core");
            tracing::warn!(target: "agent", "could not write {}: {error}; the package goes to {}", core.display(), other.display());
            let aside = sdk::write(&other)
                .with_context(|| format!("could not write the Python package to {}", other.display()))?;
            rights.settle_tree(&other);
            (other, aside)
        }
    };
    for path in aside {
        tracing::warn!(target: "agent", "a file of yours stood where the agent keeps its own; it is now {}", path.display());
    }
    Ok(core)
}

fn open_buffer(config: &Config) -> anyhow::Result<Log> {
    let settings = buffer::BufferSettings {
        dir: config.buffer.dir.clone(),
        max_size: config.buffer.max_size,
        drop_oldest_at_cap: config.buffer.at_cap == AtCap::DropOldest,
        sync_each_commit: config.buffer.sync == Sync::Group,
    };
    let (log, recovered) = Log::open(settings, Arc::new(RealDisk)).context("could not open the buffer")?;
    if recovered.records > 0 {
        tracing::info!(target: "agent", "the buffer holds {} records of the life before; what is not delivered yet follows", recovered.records);
    }
    if recovered.lost_records > 0 {
        tracing::error!(target: "agent", "{} records of the buffer are damaged or missing", recovered.lost_records);
    }
    for (path, why) in &recovered.set_aside {
        tracing::error!(target: "agent", "damaged bytes of the buffer are set aside in {}: {why}", path.display());
    }
    for note in &recovered.notes {
        tracing::warn!(target: "agent", "buffer: {note}");
    }
    Ok(log)
}

/// Counts by input what the cap takes from a sink.
fn count_losses(log: &Log, counters: &Counters) {
    let counters = counters.clone();
    log.tell_losses(move |lost| {
        let Some((header, _)) = record::Header::decode(lost.record) else { return };
        let input = header.source.rsplit_once('/').map_or(header.source.as_str(), |(input, _script)| input);
        let label = BySinkAndInput { sink: lost.cursor.to_owned(), input: counters.input(input) };
        let points = header.points.saturating_sub(lost.done_lines);
        counters.sink_lost.get_or_create(&label).inc_by(points.into());
    });
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

/// `2 scripts, 1 netdata input`: a lister is no script, and what it will tell is not known yet.
fn what_runs(specs: &[WorkerSpec]) -> String {
    let (listers, runners): (Vec<_>, Vec<_>) = specs.iter().partition(|spec| spec.lists());
    let scripts: usize = runners.iter().map(|spec| spec.units.len()).sum();
    let told = |dialect: &Dialect| {
        let inputs: BTreeSet<&str> =
            listers.iter().filter(|spec| spec.dialect == *dialect).map(|spec| spec.input.as_str()).collect();
        (!inputs.is_empty()).then(|| count(inputs.len(), &format!("{} input", dialect.facts().table)))
    };
    let told: Vec<String> = Dialect::ALL.iter().filter_map(told).collect();
    let scripts = (scripts > 0 || told.is_empty()).then(|| count(scripts, "script"));
    scripts.into_iter().chain(told).collect::<Vec<_>>().join(", ")
}

fn greet(config: &Config, specs: &[WorkerSpec], address: Option<SocketAddr>, socket: &Path) {
    let sinks: Vec<String> = config
        .sinks
        .iter()
        .map(|sink| format!("{} ({}, {})", sink.name, sink.kind.as_str(), sink.kind.target()))
        .collect();
    let at = address.map_or_else(|| socket.display().to_string(), |address| format!("http://{address}/"));
    let runs = what_runs(specs);
    tracing::info!(target: "agent", "pythond {} · {runs} · points go to {} · page {at} · Ctrl-C to stop", env!("CARGO_PKG_VERSION"), sinks.join(", "));
    if config.default_sink {
        tracing::info!(target: "agent", "no sink is configured, so the points go to files; add a [sinks.<kind>.<name>] table to send them on");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn manager_and_its_ear() -> (ServiceManager, UnixDatagram) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let listening = UnixDatagram::bind(&path).unwrap();
        listening.set_nonblocking(true).unwrap();
        (ServiceManager::connect(path.as_os_str(), Some(Duration::from_secs(30))).unwrap(), listening)
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_held_off_only_while_the_loop_ticks() {
        let (manager, listening) = manager_and_its_ear();
        let heard = || {
            let mut buffer = [0; 256];
            std::iter::from_fn(|| listening.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec()))
                .filter(|word| word == b"WATCHDOG=1")
                .count()
        };
        let pulse = Arc::new(AtomicU64::new(0));
        let ticks = Arc::clone(&pulse);
        let touch =
            tokio::spawn(keep_in_touch(manager, move || ticks.load(Ordering::Relaxed), async || "well".to_owned()));
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            pulse.fetch_add(1, Ordering::Relaxed);
        }
        assert_eq!(heard(), 5, "three times in each 30 s, the sixth is due now");
        tokio::time::sleep(Duration::from_secs(15)).await;
        heard();
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(heard(), 0, "the loop stands still");
        pulse.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(heard(), 1);
        touch.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_that_cannot_be_had_holds_the_watchdog_off_all_the_same() {
        let (manager, listening) = manager_and_its_ear();
        let pulse = AtomicU64::new(0);
        let touch = tokio::spawn(keep_in_touch(
            manager,
            move || pulse.fetch_add(1, Ordering::Relaxed),
            async || std::future::pending().await,
        ));
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(30)).await;
            let words = std::iter::from_fn(|| listening.recv(&mut [0; 256]).ok()).count();
            assert!(words >= 2, "{words} words in 30 s");
        }
        touch.abort();
    }
}
