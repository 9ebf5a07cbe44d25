//! Runs a unit in a throw-away worker whose reports go to memory: what `run` and `check` are made of, and how a reload tries a new version.

mod outcome;
mod problems;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::BoxFuture;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::buffer::AppendError;
use crate::config::{Events, OnInvalid};
use crate::ingest::guard::{self, AccessGuard as RequestGuard};
use crate::ingest::repairs::Repairs;
use crate::ingest::server::{self, Peer};
use crate::ingest::{self, PointStore, WriteEndpoint};
use crate::platform;
use crate::point::record::Header;
use crate::point::{Category, Decoding, Point, Precision, line};
use crate::telemetry::counters::Counters;
use crate::worker::frames::{Address, Channel, Down, Mode, OneUnit, Spec, in_frames};
use crate::worker::guard::OrphanGuard;
use crate::worker::output::{OutputEvent, drain};
use crate::worker::process::{self, Death, Launch, Leash, Parts, Signal, StartError};
use crate::worker::roster::{Member, Roster};
use crate::worker::starter::Starter;
use crate::worker::{WorkerSpec, sdk};

use outcome::Heard;
pub use outcome::{Captured, TryoutEnd, TryoutOutcome};
pub use problems::{source_line, underline};

/// A script must be loaded within this time, as in the agent.
pub const LOAD: Duration = Duration::from_secs(30);

/// A place to run scripts in: the Python package, an endpoint, and the thread that starts workers. Gone without a trace when dropped.
pub struct Tryout {
    /// Holds the socket.
    _dir: tempfile::TempDir,
    core: PathBuf,
    run_dir: PathBuf,
    /// Within an agent it is that of the agent.
    _guard: Option<OrphanGuard>,
    starter: Starter,
    roster: Roster,
    kept: Arc<TryoutStore>,
    /// What was changed in points that came without the token of a worker.
    repairs: Repairs,
    address: Address,
    stop: CancellationToken,
}

/// The memory in place of the buffer, by source.
#[derive(Default)]
struct TryoutStore {
    reports: Mutex<Vec<(Header, Vec<u8>)>>,
}

impl PointStore for TryoutStore {
    fn keep<'a>(&'a self, header: &'a Header, lines: &'a [u8]) -> BoxFuture<'a, Result<(), AppendError>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).push((header.clone(), lines.to_vec()));
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What a throw-away worker is to do.
struct What<'a> {
    mode: Mode,
    times: u32,
    only: &'a [String],
    /// Which of several units have to load.
    must: &'a (dyn Fn(&str) -> bool + Sync),
}

impl What<'_> {
    fn new(mode: Mode) -> Self {
        Self { mode, times: 0, only: &[], must: &|_| false }
    }
}

impl Tryout {
    /// # Errors
    /// When there is no room for a temporary directory, a socket or a thread.
    pub async fn new() -> anyhow::Result<Self> {
        let dir = temporary()?;
        let core = dir.path().join("core");
        sdk::write_temporary(&core).context("could not write the Python package")?;
        // As a guard spells it.
        let run_dir = dir.path().canonicalize()?;
        let guard = OrphanGuard::start(&run_dir);
        let guard = guard.inspect_err(|error| tracing::debug!(target: "worker", "no guard can be started: {error}"));
        let mut tryout = Self::open(dir, core, run_dir).await?;
        tryout._guard = guard.ok();
        Ok(tryout)
    }

    /// One within an agent: with its Python package, and what scripts leave behind is found as that of its workers.
    ///
    /// # Errors
    /// When there is no room for a temporary directory, a socket or a thread.
    pub async fn within(core: PathBuf, run_dir: PathBuf) -> anyhow::Result<Self> {
        Self::open(temporary()?, core, run_dir).await
    }

    async fn open(dir: tempfile::TempDir, core: PathBuf, run_dir: PathBuf) -> anyhow::Result<Self> {
        let (roster, kept, stop) = (Roster::default(), Arc::new(TryoutStore::default()), CancellationToken::new());
        let settings = ingest::EndpointSettings {
            max_body: 32 << 20,
            timeout: Duration::from_secs(30),
            integers_as_floats: true,
            events: Events { on_invalid: OnInvalid::Refuse, extra_status: Vec::new(), extra_source: Vec::new() },
            global_tags: std::collections::BTreeMap::new(),
            max_series: crate::config::Series::default().max,
        };
        let ingest = Arc::new(WriteEndpoint::new(
            settings,
            Arc::clone(&kept) as Arc<dyn PointStore>,
            roster.clone(),
            Counters::default(),
        ));
        let repairs = ingest.repairs.clone();
        let guard = Arc::new(RequestGuard {
            tokens: Vec::new(),
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            roster: roster.clone(),
        });
        let router = ingest::router(ingest).layer(axum::middleware::from_fn_with_state(guard, guard::check));
        let socket = dir.path().join("s");
        let unix = platform::bind(&socket).await.context("could not listen on a socket")?;
        // Scripts that post by themselves, without the framework, need a port.
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("could not listen on a loopback port")?;
        let address = Address {
            socket,
            tcp: tcp.local_addr()?,
            hostname: platform::hostname(),
            state_dir: dir.path().join("state"),
        };
        tokio::spawn(server::serve_unix(unix, Peer::Unix, router.clone(), 64, stop.clone()));
        tokio::spawn(server::serve_tcp(tcp, router, 64, stop.clone()));
        Ok(Self {
            _dir: dir,
            core,
            run_dir,
            _guard: None,
            starter: Starter::start()?,
            roster,
            kept,
            repairs,
            address,
            stop,
        })
    }

    /// Runs each job of a unit `times` times (0: as often as it needs to show something), or those with the keys `only`.
    pub async fn run(&self, spec: &WorkerSpec, times: u32, only: &[String], timeout: Duration) -> TryoutOutcome {
        self.attempt(spec, &What { times, only, ..What::new(Mode::Once) }, timeout).await
    }

    /// Loads one unit and runs nothing.
    pub async fn check(&self, spec: &WorkerSpec, timeout: Duration) -> TryoutOutcome {
        self.attempt(spec, &What::new(Mode::Check), timeout).await
    }

    /// Has an input, or a file, told its units.
    pub async fn list(&self, spec: &WorkerSpec, timeout: Duration) -> TryoutOutcome {
        self.attempt(spec, &What::new(Mode::List), timeout).await
    }

    /// Loads a version; of several scripts in one process those that `must` names have to load.
    pub async fn load(
        &self,
        spec: &WorkerSpec,
        must: &(dyn Fn(&str) -> bool + Sync),
        timeout: Duration,
    ) -> TryoutOutcome {
        let mode = if spec.lists() { Mode::List } else { Mode::Check };
        self.attempt(spec, &What { must, ..What::new(mode) }, timeout).await
    }

    async fn attempt(&self, spec: &WorkerSpec, what: &What<'_>, timeout: Duration) -> TryoutOutcome {
        let member = Member::new(spec);
        let token = self.roster.admit(&member);
        let mut outcome = TryoutOutcome::default();
        match self.start(spec, &token).await {
            Ok(parts) => self.attend(spec, parts, (what, &token), timeout, &mut outcome).await,
            Err(error) => {
                let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
                outcome.end = Some(TryoutEnd::NotStarted(format!("{error}{cause}")));
            }
        }
        self.roster.dismiss(&token);
        outcome.repaired = self.repairs.take();
        outcome.captured = self.take_reports(&format!("{}/{}", spec.input, spec.id));
        outcome
    }

    async fn start(&self, spec: &WorkerSpec, token: &str) -> Result<Parts, StartError> {
        let program = process::find_program(&spec.cmd, &spec.envs)?;
        let launch = Launch::new(spec, program.clone(), &self.core, &self.run_dir, token);
        let started = self.starter.launch(launch).await?;
        started.into_parts().map_err(|source| StartError::Passing { program, source })
    }

    async fn attend(
        &self,
        spec: &WorkerSpec,
        parts: Parts,
        (what, token): (&What<'_>, &str),
        timeout: Duration,
        outcome: &mut TryoutOutcome,
    ) {
        let Parts { death, leash, channel, stdout, stderr, trace, .. } = parts;
        let channel = Arc::new(channel);
        let (hear, mut heard) = mpsc::unbounded_channel();
        let told = Spec { only: what.only, ..Spec::new(spec, what.mode, what.times, 1, &self.address, token) };
        let several = spec.units.iter().filter(|_| spec.shares);
        let several = in_frames(several.map(|script| OneUnit::of(script, token, (what.must)(&script.id))).collect());
        let first = channel.send(&Down::Spec(told));
        if let Err(error) = first.and_then(|()| several.iter().try_for_each(|frame| channel.send(frame))) {
            outcome.output.push(format!("agent  | could not tell the worker its script: {error}"));
        }
        let mut listeners = listen(Arc::clone(&channel), stdout, stderr, trace, hear);
        let ended = watch(leash, &death, timeout).await;
        for listener in &mut listeners {
            // A grandchild may hold a pipe open; nobody waits for it.
            if tokio::time::timeout(Duration::from_secs(1), &mut *listener).await.is_err() {
                listener.abort();
            }
        }
        while let Ok(one) = heard.try_recv() {
            outcome.hear(one);
        }
        outcome.end = Some(ended);
    }

    fn take_reports(&self, source: &str) -> Vec<Captured> {
        let mut reports = self.kept.reports.lock().unwrap_or_else(PoisonError::into_inner);
        // Scripts that post by themselves are known only by the time at which they do; `check` loads several at once, but none runs.
        let (mine, others): (Vec<_>, Vec<_>) =
            reports.drain(..).partition(|(header, _)| header.source == source || !header.source.contains('/'));
        *reports = others;
        mine.into_iter()
            .map(|(header, lines)| Captured {
                category: header.category,
                points: points(header.category, &lines),
                lines,
            })
            .collect()
    }
}

fn temporary() -> anyhow::Result<tempfile::TempDir> {
    let dir = tempfile::Builder::new().prefix("pythond-").tempdir().context("could not make a temporary directory")?;
    // Scripts of another user read the package there; what else lies there they cannot list.
    platform::open_to_all(dir.path()).context("could not open the temporary directory")?;
    Ok(dir)
}

impl Drop for Tryout {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Reads canonical lines back.
fn points(category: Category, lines: &[u8]) -> Vec<Point<'static>> {
    let how = Decoding { category, precision: Some(Precision::Ns), now_ns: 0, integers_as_floats: false };
    line::decode(lines, &how)
        .map(|decoded| decoded.points.into_iter().map(|(_, point)| point.into_owned()).collect())
        .unwrap_or_default()
}

type TryoutListener = tokio::task::JoinHandle<()>;

fn listen(
    channel: Arc<Channel>,
    stdout: impl tokio::io::AsyncRead + Unpin + Send + 'static,
    stderr: impl tokio::io::AsyncRead + Unpin + Send + 'static,
    mut trace: impl tokio::io::AsyncRead + Unpin + Send + 'static,
    hear: mpsc::UnboundedSender<Heard>,
) -> [TryoutListener; 4] {
    let (frames, out, err, stacks) = (hear.clone(), hear.clone(), hear.clone(), hear);
    // The receiver lives until all listeners have ended, so no send can fail.
    let line = |hear: mpsc::UnboundedSender<Heard>, name: &'static str| {
        move |said: OutputEvent<'_>| {
            let text = match said {
                OutputEvent::Line(line) => format!("{name} | {line}"),
                OutputEvent::Dropped(count) => format!("{name} | ({count} lines more than 200 per second: not shown)"),
                OutputEvent::Over(_) => return,
            };
            let _ = hear.send(Heard::Line(text));
        }
    };
    let (say_out, say_err) = (line(out, "stdout"), line(err, "stderr"));
    [
        tokio::spawn(async move {
            while let Ok(Some(frame)) = channel.receive().await {
                let _ = frames.send(Heard::Frame(Box::new(frame)));
            }
        }),
        tokio::spawn(drain(stdout, say_out)),
        tokio::spawn(drain(stderr, say_err)),
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(count @ 1..) = trace.read(&mut buffer).await {
                let _ = stacks.send(Heard::Stack(String::from_utf8_lossy(&buffer[..count]).into_owned()));
            }
        }),
    ]
}

/// Waits for the end; at the time-out has the stacks written and ends the tree. What the script left behind goes with it either way.
async fn watch(leash: Leash, death: &Death, timeout: Duration) -> TryoutEnd {
    let pid = leash.pid;
    let began = Instant::now();
    let timed_out = tokio::time::timeout(timeout, death.wait()).await.is_err();
    if timed_out {
        leash.signal(Signal::USR2);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    if tokio::task::spawn_blocking(move || leash.end_tree()).await.is_err() {
        tracing::debug!(target: "worker", "the end of what process {pid} left behind was not seen");
    }
    if let Err(error) = death.wait().await {
        return TryoutEnd::NotStarted(format!("cannot watch process {pid} for its end: {error}"));
    }
    let ended = death.reap();
    if timed_out { TryoutEnd::TimedOut(began.elapsed().min(timeout)) } else { TryoutEnd::Ended(ended) }
}
