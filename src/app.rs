//! Builds all parts from the settings, starts them, and stops them in order; the only module that knows all of them.
//!
//! Start: lock, leftovers of a killed agent, buffer, cursors, listeners, pumps, workers. Stop: workers (they may end their run and
//! report), ingest refuses, pumps until the grace ends, cursors saved. Whatever is not delivered stays in the buffer.

use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::buffer::disk::RealDisk;
use crate::buffer::{self, Log};
use crate::config::{self, AtCap, Config, Integers, Sync};
use crate::control::{self, Control, ShownSink};
use crate::deadletter::DeadLetters;
use crate::ingest::guard::{self, Guard};
use crate::ingest::{self, Ingest, server};
use crate::sinks::{self, pump};
use crate::supervisor;
use crate::telemetry::counters::Counters;
use crate::telemetry::files::ScriptLogs;
use crate::worker::roster::Roster;
use crate::worker::{WorkerSpec, discover, process, sdk};

/// What the pumps get at the end, for what the workers reported last; all in all a stop takes less than 9 s (docker kills after 10).
const DRAIN: Duration = Duration::from_secs(1);
/// What the workers get.
const STOP_WORKERS: Duration = Duration::from_millis(6500);
/// Bytes of dead letters per refuser.
const DEAD_LETTER_CAP: u64 = 64 << 20;
/// Ports tried after the one in the settings when that is taken.
const OTHER_PORTS: u16 = 10;

/// Runs the agent until `stop` ends.
///
/// # Errors
/// When a part cannot be started: another agent on the same directory, no socket, a buffer that cannot be opened.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    survive_file_size_limits();
    let agent = Agent::start(config).await?;
    stop.await;
    tracing::info!(target: "agent", "stopping: scripts may end their run");
    agent.stop().await;
    tracing::info!(target: "agent", "stopped");
    Ok(())
}

/// The socket when the settings name none.
pub fn default_socket(root: &Path) -> PathBuf {
    root.join("data/run/pythond.sock")
}

/// The agent at work.
struct Agent {
    /// Held until the process ends.
    _lock: std::fs::File,
    log: Log,
    logs: ScriptLogs,
    ingest: Arc<Ingest>,
    scripts: supervisor::Handle,
    stop_pumps: watch::Sender<pump::Stop>,
    pumps: Vec<tokio::task::JoinHandle<()>>,
    stop_listeners: CancellationToken,
    listeners: Vec<tokio::task::JoinHandle<()>>,
    socket: PathBuf,
}

impl Agent {
    async fn start(config: Config) -> anyhow::Result<Self> {
        let run_dir = config.root.join("data/run");
        std::fs::create_dir_all(&run_dir).with_context(|| format!("could not make {}", run_dir.display()))?;
        let lock = lock(&run_dir)?;
        process::sweep_leftovers(&run_dir).await;

        let counters = Counters::default();
        let logs = ScriptLogs::open(config.logging.dir.clone(), counters.clone());
        let core = write_sdk(&config.root)?;
        let log = open_buffer(&config)?;
        let dead_dir = config.root.join("data/dead");
        let dead = DeadLetters::open(&dead_dir, DEAD_LETTER_CAP)
            .with_context(|| format!("could not open {}", dead_dir.display()))?;

        let (stop_pumps, stopped) = watch::channel(None);
        let (shown_sinks, pumps) = start_pumps(&config, &log, &dead, &counters, &stopped)?;

        let roster = Roster::default();
        let mut ingest = Ingest::new(ingest_settings(&config), Arc::new(log.clone()), roster.clone(), counters.clone());
        ingest.dead = Some(dead.clone());
        ingest.logs = Some(logs.clone());
        let ingest = Arc::new(ingest);

        let socket = server::reachable(&config.http_api.socket);
        let unix = bind_socket(&socket).await?;
        let tcp = bind_tcp(config.http_api.listen).await?;
        let address = tcp.as_ref().and_then(|listener| listener.local_addr().ok());

        let discovered = discover::scripts(&enabled(&config));
        let problems: Vec<String> = discovered.problems.iter().map(problem).collect();
        for text in &problems {
            tracing::warn!(target: "agent", "{text}");
        }
        let scripts = supervisor::start(
            discovered.specs.clone(),
            supervisor::Settings {
                core,
                run_dir,
                socket: socket.clone(),
                address: address.unwrap_or(config.http_api.listen),
                limits: supervisor::Limits::default(),
                zygote: (config.workers.zygote == config::Zygote::Auto).then(supervisor::ZygoteSettings::default),
            },
            roster.clone(),
            logs.clone(),
            counters.clone(),
        )?;

        let control = Arc::new(Control {
            started: Instant::now(),
            root: config.root.clone(),
            host: ingest.host.clone(),
            listen: address.map(|address| address.to_string()),
            socket: socket.clone(),
            scripts: scripts.clone(),
            sinks: shown_sinks,
            log: log.clone(),
            dead,
            last_errors: ingest.last_errors.clone(),
            counters,
            problems,
        });
        let router = router(&config, Arc::clone(&ingest), control, roster);
        let stop_listeners = CancellationToken::new();
        let mut listeners = vec![tokio::spawn(server::serve_unix(unix, router.clone(), stop_listeners.clone()))];
        if let Some(tcp) = tcp {
            let places = config.http_api.max_connections;
            listeners.push(tokio::spawn(server::serve_tcp(tcp, router, places, stop_listeners.clone())));
        }
        greet(&config, &discovered.specs, address, &socket);
        Ok(Self { _lock: lock, log, logs, ingest, scripts, stop_pumps, pumps, stop_listeners, listeners, socket })
    }

    async fn stop(self) {
        self.scripts.stop(STOP_WORKERS).await;
        self.ingest.refuse_from_now();
        self.stop_listeners.cancel();
        let until = tokio::time::Instant::now() + DRAIN;
        self.stop_pumps.send_replace(Some(until));
        let ends = futures_util::future::join_all(self.pumps.into_iter().chain(self.listeners));
        // A request that hangs in a sink is given up here; its points are still in the buffer.
        if tokio::time::timeout(DRAIN + Duration::from_millis(500), ends).await.is_err() {
            tracing::debug!(target: "agent", "some connections were still open at the end");
        }
        let log = self.log.clone();
        // Closing writes to the disk and waits for it.
        if tokio::task::spawn_blocking(move || log.close()).await.is_err() {
            tracing::error!(target: "agent", "the buffer could not be closed in order; it recovers at the next start");
        }
        self.logs.flush();
        if let Err(error) = std::fs::remove_file(&self.socket) {
            tracing::debug!(target: "agent", "could not remove {}: {error}", self.socket.display());
        }
    }
}

/// Without a handler the kernel ends a process that writes beyond RLIMIT_FSIZE; with one the write fails and the buffer says so.
fn survive_file_size_limits() {
    use tokio::signal::unix::{SignalKind, signal};
    const SIGXFSZ: i32 = 25;
    if let Err(error) = signal(SignalKind::from_raw(SIGXFSZ)) {
        tracing::debug!(target: "agent", "SIGXFSZ keeps its default: {error}");
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
    if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
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
fn write_sdk(root: &Path) -> anyhow::Result<PathBuf> {
    let core = root.join("python.d/core");
    let (core, aside) = match sdk::write(&core) {
        Ok(aside) => (core, aside),
        Err(error) => {
            let other = root.join("data/core");
            tracing::warn!(target: "agent", "could not write {}: {error}; the package goes to {}", core.display(), other.display());
            let aside = sdk::write(&other)
                .with_context(|| format!("could not write the Python package to {}", other.display()))?;
            (other, aside)
        }
    };
    for path in aside {
        tracing::warn!(target: "agent", "a file of yours stood where the agent keeps its own; it is now {}", path.display());
    }
    Ok(core)
}

fn open_buffer(config: &Config) -> anyhow::Result<Log> {
    let settings = buffer::Settings {
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

type Started = (Vec<ShownSink>, Vec<tokio::task::JoinHandle<()>>);

fn start_pumps(
    config: &Config,
    log: &Log,
    dead: &DeadLetters,
    counters: &Counters,
    stop: &watch::Receiver<pump::Stop>,
) -> anyhow::Result<Started> {
    let mut shown = Vec::new();
    let mut tasks = Vec::new();
    for settings in &config.sinks {
        let place =
            || format!("sink `{}` ({}:{})", settings.name, settings.origin.file.display(), settings.origin.line);
        let cursor = log.cursor(&settings.name, settings.required).with_context(place)?;
        let made = settings.clone();
        let make = move || sinks::build(&made);
        let running =
            pump::start(settings, make, Box::new(cursor), dead.clone(), counters, stop.clone()).with_context(place)?;
        shown.push(ShownSink { health: running.health, target: settings.kind.target() });
        tasks.push(running.task);
    }
    Ok((shown, tasks))
}

fn ingest_settings(config: &Config) -> ingest::Settings {
    ingest::Settings {
        max_body: config.http_api.max_body,
        timeout: config.http_api.timeout,
        integers_as_floats: config.ingest.integers == Integers::Float,
        events: config.events.clone(),
        global_tags: config.global_tags.clone(),
    }
}

fn enabled(config: &Config) -> Vec<crate::config::Input> {
    config.inputs.iter().filter(|input| input.enabled).cloned().collect()
}

fn problem(diagnostic: &crate::config::Diagnostic) -> String {
    match &diagnostic.place {
        Some(place) => format!("{}: {}", place.file.display(), diagnostic.message),
        None => diagnostic.message.clone(),
    }
}

async fn bind_socket(socket: &Path) -> anyhow::Result<UnixListener> {
    let dir = socket.parent().unwrap_or(Path::new("/"));
    if !dir.exists() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("could not make {}", dir.display()))?;
    }
    if dir.starts_with("/tmp") && std::fs::metadata(dir)?.uid() != rustix::process::getuid().as_raw() {
        anyhow::bail!("{} belongs to another user; set a shorter [http_api] socket", dir.display());
    }
    server::bind_unix(socket).await.with_context(|| format!("could not listen on {}", socket.display()))
}

/// Binds the port of the settings, or one of the next where it is taken: scripts are told the port, and have the socket anyway.
async fn bind_tcp(listen: SocketAddr) -> anyhow::Result<Option<TcpListener>> {
    let taken = match TcpListener::bind(listen).await {
        Ok(listener) => return Ok(Some(listener)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => error,
        Err(error) => return Err(error).with_context(|| format!("could not listen on {listen} ([http_api] listen)")),
    };
    for step in 1..=OTHER_PORTS {
        let Some(port) = listen.port().checked_add(step) else { break };
        let other = SocketAddr::new(listen.ip(), port);
        if let Ok(listener) = TcpListener::bind(other).await {
            tracing::warn!(target: "agent", "PD0112: {listen} is taken ({taken}); using {other} for this run. Scripts are told the port through the SDK; to make it permanent: [http_api] listen = \"{other}\"");
            return Ok(Some(listener));
        }
    }
    tracing::warn!(target: "agent", "PD0112: {listen} and the {OTHER_PORTS} ports after it are taken: scripts report over the Unix socket, the page is not served");
    Ok(None)
}

fn router(config: &Config, ingest: Arc<Ingest>, control: Arc<Control>, roster: Roster) -> Router {
    let guard = Arc::new(Guard {
        tokens: config.http_api.tokens.clone(),
        allowed_origins: config.http_api.allowed_origins.clone(),
        allowed_hosts: config.http_api.allowed_hosts.clone(),
        roster,
    });
    ingest::router(ingest)
        .merge(control::router(control))
        .layer(axum::middleware::from_fn_with_state(guard, guard::check))
        .layer(tower_http::catch_panic::CatchPanicLayer::new())
}

fn greet(config: &Config, specs: &[WorkerSpec], address: Option<SocketAddr>, socket: &Path) {
    let sinks: Vec<String> = config
        .sinks
        .iter()
        .map(|sink| format!("{} ({}, {})", sink.name, sink.kind.as_str(), sink.kind.target()))
        .collect();
    let at = address.map_or_else(|| socket.display().to_string(), |address| format!("http://{address}/"));
    let scripts = if specs.len() == 1 { "1 script".to_owned() } else { format!("{} scripts", specs.len()) };
    tracing::info!(target: "agent", "pythond {} · {scripts} · points go to {} · page {at} · Ctrl-C to stop", env!("CARGO_PKG_VERSION"), sinks.join(", "));
    if config.default_sink {
        tracing::info!(target: "agent", "no sink is configured, so the points go to files; add a [sinks.<kind>.<name>] table to send them on");
    }
}
