//! Runs a script in a throw-away worker whose reports go to memory: what `run` and `check` are made of, and how a reload tries a new version.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::BoxFuture;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::buffer::AppendError;
use crate::config::diagnostic::Place;
use crate::config::{Diagnostic, Events, OnInvalid, Severity};
use crate::ingest::guard::{self, Guard};
use crate::ingest::server::{self, Peer};
use crate::ingest::{self, Ingest, Keep};
use crate::platform;
use crate::point::record::Header;
use crate::point::{Category, Decoding, Point, Precision, line};
use crate::telemetry::counters::Counters;
use crate::worker::control::{
    Address, Channel, Down, Fatal, Hello, Job, Loaded, Mode, OneScript, Refused, RunEnded, Spec, Up, Warn, in_frames,
};
use crate::worker::output::{Said, drain};
use crate::worker::process::{self, Death, Ended, Launch, Leash, Parts, Signal, Spawner, StartError};
use crate::worker::roster::{Member, Roster};
use crate::worker::{WorkerSpec, sdk};

/// A script must be loaded within this time, as in the agent.
pub const LOAD: Duration = Duration::from_secs(30);

/// A place to run scripts in: the Python package, an endpoint, and the thread that starts workers. Gone without a trace when dropped.
pub struct Tryout {
    /// Holds the socket.
    _dir: tempfile::TempDir,
    core: PathBuf,
    run_dir: PathBuf,
    spawner: Spawner,
    roster: Roster,
    kept: Arc<Kept>,
    address: Address,
    stop: CancellationToken,
}

/// Everything that a script did.
#[derive(Debug, Default)]
pub struct Outcome {
    pub python: Option<Hello>,
    /// The files of the user that were loaded, also before a failure.
    pub loaded: Vec<Loaded>,
    pub jobs: Option<Vec<Job>>,
    /// Which of several scripts was loaded last, or could not be.
    pub last_script: usize,
    first_jobs: Vec<Job>,
    pub runs: Vec<RunEnded>,
    pub fatal: Option<Fatal>,
    pub warnings: Vec<Warn>,
    pub refused: Vec<Refused>,
    /// `stdout | …` and `stderr | …`.
    pub output: Vec<String>,
    /// Stacks of a hang or crash.
    pub trace: String,
    pub end: Option<End>,
    pub captured: Vec<Captured>,
}

#[derive(Debug)]
pub enum End {
    Ended(Ended),
    TimedOut(Duration),
    NotStarted(String),
}

/// One accepted report.
#[derive(Debug)]
pub struct Captured {
    pub category: Category,
    pub lines: Vec<u8>,
    pub points: Vec<Point<'static>>,
}

/// The memory in place of the buffer, by source.
#[derive(Default)]
struct Kept {
    reports: Mutex<Vec<(Header, Vec<u8>)>>,
}

impl Keep for Kept {
    fn keep<'a>(&'a self, header: &'a Header, lines: &'a [u8]) -> BoxFuture<'a, Result<(), AppendError>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).push((header.clone(), lines.to_vec()));
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What the worker and its pipes say.
enum Heard {
    Frame(Box<Up>),
    Line(String),
    Stack(String),
}

impl Tryout {
    /// # Errors
    /// When there is no room for a temporary directory, a socket or a thread.
    pub async fn new() -> anyhow::Result<Self> {
        let dir = temporary()?;
        let core = dir.path().join("core");
        sdk::write(&core).context("could not write the Python package")?;
        let run_dir = dir.path().to_owned();
        Self::open(dir, core, run_dir).await
    }

    /// One within an agent: with its Python package, and what scripts leave behind is found as that of its workers.
    ///
    /// # Errors
    /// When there is no room for a temporary directory, a socket or a thread.
    pub async fn within(core: PathBuf, run_dir: PathBuf) -> anyhow::Result<Self> {
        Self::open(temporary()?, core, run_dir).await
    }

    async fn open(dir: tempfile::TempDir, core: PathBuf, run_dir: PathBuf) -> anyhow::Result<Self> {
        let (roster, kept, stop) = (Roster::default(), Arc::new(Kept::default()), CancellationToken::new());
        let settings = ingest::Settings {
            max_body: 32 << 20,
            timeout: Duration::from_secs(30),
            integers_as_floats: true,
            events: Events { on_invalid: OnInvalid::Refuse, extra_status: Vec::new(), extra_source: Vec::new() },
            global_tags: std::collections::BTreeMap::new(),
        };
        let ingest =
            Arc::new(Ingest::new(settings, Arc::clone(&kept) as Arc<dyn Keep>, roster.clone(), Counters::default()));
        let guard = Arc::new(Guard {
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
        let address = Address { socket, tcp: tcp.local_addr()? };
        tokio::spawn(server::serve_unix(unix, Peer::Unix, router.clone(), 64, stop.clone()));
        tokio::spawn(server::serve_tcp(tcp, router, 64, stop.clone()));
        Ok(Self { _dir: dir, core, run_dir, spawner: Spawner::start()?, roster, kept, address, stop })
    }

    /// Runs one script to its end, or for `timeout`.
    pub async fn run(&self, spec: &WorkerSpec, mode: Mode, times: u32, timeout: Duration) -> Outcome {
        self.run_with(spec, (mode, times), &|_| false, timeout).await
    }

    /// Loads a version; of several scripts in one process those that `must` names have to load.
    pub async fn load(&self, spec: &WorkerSpec, must: &(dyn Fn(&str) -> bool + Sync), timeout: Duration) -> Outcome {
        self.run_with(spec, (Mode::Check, 0), must, timeout).await
    }

    async fn run_with(
        &self,
        spec: &WorkerSpec,
        what: (Mode, u32),
        must: &(dyn Fn(&str) -> bool + Sync),
        timeout: Duration,
    ) -> Outcome {
        let member = Member::new(spec);
        let token = self.roster.admit(&member);
        let mut outcome = Outcome::default();
        match self.start(spec, &token).await {
            Ok(parts) => self.attend(spec, parts, what, (&token, must), timeout, &mut outcome).await,
            Err(error) => {
                let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
                outcome.end = Some(End::NotStarted(format!("{error}{cause}")));
            }
        }
        self.roster.dismiss(&token);
        outcome.captured = self.take_reports(&format!("{}/{}", spec.input, spec.id));
        outcome
    }

    async fn start(&self, spec: &WorkerSpec, token: &str) -> Result<Parts, StartError> {
        let program = process::find_program(&spec.cmd, &spec.envs)?;
        let launch = Launch::new(spec, program.clone(), &self.core, &self.run_dir, token);
        let started = self.spawner.spawn(launch).await?;
        started.into_parts().map_err(|source| StartError::Passing { program, source })
    }

    async fn attend(
        &self,
        spec: &WorkerSpec,
        parts: Parts,
        (mode, times): (Mode, u32),
        (token, must): (&str, &(dyn Fn(&str) -> bool + Sync)),
        timeout: Duration,
        outcome: &mut Outcome,
    ) {
        let Parts { death, leash, channel, stdout, stderr, trace, .. } = parts;
        let channel = Arc::new(channel);
        let (hear, mut heard) = mpsc::unbounded_channel();
        let scripts = spec.scripts();
        let told = Spec::new(spec, mode, times, 1, &self.address, token);
        let several = scripts.iter().filter(|_| told.several.is_some());
        let several = in_frames(several.map(|script| OneScript::of(script, token, must(&script.id))).collect());
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

type Listener = tokio::task::JoinHandle<()>;

fn listen(
    channel: Arc<Channel>,
    stdout: impl tokio::io::AsyncRead + Unpin + Send + 'static,
    stderr: impl tokio::io::AsyncRead + Unpin + Send + 'static,
    mut trace: impl tokio::io::AsyncRead + Unpin + Send + 'static,
    hear: mpsc::UnboundedSender<Heard>,
) -> [Listener; 4] {
    let (frames, out, err, stacks) = (hear.clone(), hear.clone(), hear.clone(), hear);
    // The receiver lives until all listeners have ended, so no send can fail.
    let line = |hear: mpsc::UnboundedSender<Heard>, name: &'static str| {
        move |said: Said<'_>| {
            let text = match said {
                Said::Line(line) => format!("{name} | {line}"),
                Said::Dropped(count) => format!("{name} | ({count} lines more than 200 per second: not shown)"),
                Said::Over(_) => return,
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
async fn watch(leash: Leash, death: &Death, timeout: Duration) -> End {
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
        return End::NotStarted(format!("the end of process {pid} cannot be seen: {error}"));
    }
    let ended = death.reap();
    if timed_out { End::TimedOut(began.elapsed().min(timeout)) } else { End::Ended(ended) }
}

impl Outcome {
    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Line(line) => self.output.push(line),
            Heard::Stack(text) => self.trace.push_str(&text),
            Heard::Frame(frame) => match *frame {
                Up::Hello(hello) => self.python = Some(hello),
                Up::Loaded { files } => self.loaded.extend(files),
                Up::Loading { s } => self.last_script = s,
                Up::Jobs { jobs } => self.first_jobs.extend(jobs),
                Up::Ready { jobs, .. } => {
                    let first = std::mem::take(&mut self.first_jobs);
                    self.jobs = Some(first.into_iter().chain(jobs).collect());
                }
                Up::End(end) => self.runs.push(end),
                Up::Fatal(fatal) => self.fatal = Some(fatal),
                Up::Warn(warn) => self.warnings.push(warn),
                Up::Refused(refused) => self.refused.push(refused),
                // The worker that takes over tells it.
                Up::Unloaded(_) => {}
                Up::Run { .. } | Up::Bye { .. } | Up::Unknown => {}
            },
        }
    }

    /// The class of a job, for messages.
    pub fn class(&self, job: usize) -> &str {
        self.jobs.iter().flatten().find(|found| found.i == job).map_or("?", |found| &found.class)
    }

    /// What is wrong with the script before it runs, and what is odd.
    pub fn load_problems(&self, spec: &WorkerSpec) -> Vec<Diagnostic> {
        let warning = |warn: &Warn| warning(&script_of(spec, warn.s), warn);
        let mut problems: Vec<Diagnostic> = self.warnings.iter().map(warning).collect();
        match (&self.fatal, &self.jobs, &self.end) {
            (Some(fatal), ..) => problems.push(not_loaded(&script_of(spec, fatal.s), fatal)),
            (None, None, Some(end)) => {
                problems.push(died_loading(script_of(spec, self.last_script), end, &self.output, &self.trace));
            }
            _ => {}
        }
        problems
    }
}

/// The path of one of several scripts.
fn script_of(spec: &WorkerSpec, number: usize) -> PathBuf {
    spec.scripts().into_iter().nth(number).map_or_else(|| spec.script.clone(), |script| script.path)
}

fn warning(script: &Path, warn: &Warn) -> Diagnostic {
    let mut lines = warn.msg.lines();
    Diagnostic {
        code: known_code(&warn.code),
        severity: Severity::Warning,
        message: lines.next().unwrap_or_default().to_owned(),
        place: Some(Place {
            file: script.to_owned(),
            line: warn.line,
            column: 1,
            width: 1,
            source: source_line(script, warn.line),
            label: String::new(),
        }),
        other: None,
        notes: lines.map(str::to_owned).collect(),
        help: None,
    }
}

fn not_loaded(script: &Path, fatal: &Fatal) -> Diagnostic {
    let line = fatal.line.unwrap_or(0);
    let column = fatal.col.unwrap_or(1);
    let message = match fatal.code.as_str() {
        "PD0201" => format!("syntax error: {}", fatal.msg),
        "PD0204" | "PD0205" | "PD0107" | "PD0103" | "PD0106" | "PD0702" | "PD0705" => fatal.msg.clone(),
        "PD0202" => format!("a module is missing: {}", fatal.msg),
        _ => format!("raised while it was loaded: {}", fatal.raised()),
    };
    let mut notes = fatal.notes.clone();
    if fatal.code == "PD0203" {
        notes.extend(fatal.tb.trim_end().lines().map(str::to_owned));
    }
    Diagnostic {
        code: known_code(&fatal.code),
        severity: Severity::Error,
        message,
        place: Some(Place {
            file: fatal.file.clone().unwrap_or_else(|| script.to_owned()),
            line,
            column,
            width: fatal.end_col.map_or(1, |end| end.saturating_sub(column).max(1)),
            source: fatal.src.clone().unwrap_or_default(),
            label: String::new(),
        }),
        other: None,
        notes,
        help: fatal.help.clone(),
    }
}

/// It ended before it said that it was loaded, and did not say why.
fn died_loading(script: PathBuf, end: &End, output: &[String], trace: &str) -> Diagnostic {
    let (code, message) = match end {
        End::Ended(Ended::Killed(_)) | End::Ended(Ended::Exited(_)) => {
            let End::Ended(ended) = end else { unreachable!("matched above") };
            ("PD0203", format!("its process {} while it was loaded", ended.tell()))
        }
        End::TimedOut(limit) => ("PD0203", format!("was still loading after {} s", limit.as_secs())),
        End::NotStarted(why) => ("PD0107", why.clone()),
    };
    let notes = output.iter().rev().take(5).rev().cloned().chain(trace.trim_end().lines().map(str::to_owned)).collect();
    let place = Place { file: script, ..Place::default() };
    Diagnostic { code, severity: Severity::Error, message, place: Some(place), other: None, notes, help: None }
}

/// The stable codes that a worker may send.
fn known_code(code: &str) -> &'static str {
    const CODES: [&str; 17] = [
        "PD0103", "PD0106", "PD0702", "PD0705", "PD0107", "PD0201", "PD0202", "PD0203", "PD0204", "PD0205", "PD0206",
        "PD0207", "PD0208", "PD0209", "PD0210", "PD0214", "PD0310",
    ];
    CODES.into_iter().find(|known| *known == code).unwrap_or("PD0203")
}

fn source_line(file: &Path, line: usize) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    line.checked_sub(1).and_then(|index| text.lines().nth(index)).unwrap_or_default().to_owned()
}
