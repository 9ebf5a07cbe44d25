//! Has workers forked by a process that has Python loaded already: a fifth of the memory, a tenth of the start time.
//!
//! One *keeper*, a task, per (interpreter, environment that only takes effect at exec) owns at most one zygote and takes one order after the
//! other. The zygote is the package's `zygote.py`: it is asked over a SEQPACKET socket, forks twice and ends the process in between, so
//! that the worker becomes a child of the agent, the nearest child subreaper. The zygote may therefore die, be killed or be replaced at any
//! time: no worker notices.
//!
//! Whatever is wrong with a zygote costs a script nothing but memory: it is started as a program of its own, and the status says why.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage};
use serde::Deserialize;
use tokio::net::UnixDatagram;
use tokio::sync::{mpsc, oneshot};

use super::WorkerSpec;
use super::lock::Lock;
use super::output::{Said, drain};
use super::process::{self, Death, Expected, Launch, Leash, Process, Spawner, StartError, TheirEnds, Way};
use super::{roster, sys};

/// What a message to or from a zygote may have; the same number stands in `zygote.py`.
const MESSAGE_BYTES: usize = 64 * 1024;
/// So many failures within this time, and its scripts are executed until the oldest is forgotten.
const FAILURES: usize = 3;
const FORGET: Duration = Duration::from_secs(300);
/// A zygote that has grown beyond this is replaced.
const TOO_LARGE: u64 = 64 << 20;
/// How often its size is looked at, in forks.
const WEIGH_EVERY: u64 = 64;
const ORDERS: usize = 1024;

/// Names of environment variables, or how they begin, that are read once when a process starts. A script that sets one shares a zygote only
/// with scripts that set it alike; all others are set in the forked worker and are never in a zygote's environment. `HOME` is one of them:
/// it decides where Python looks for a user's own packages.
const ONLY_AT_EXEC: [&str; 15] = [
    "LD_",
    "PYTHON",
    "_PYTHON",
    "MALLOC_",
    "GLIBC_",
    "LC_",
    "LANG",
    "LOCPATH",
    "HOME",
    "OPENSSL_",
    "GCONV_PATH",
    "NLSPATH",
    "ASAN_",
    "PSUTIL_",
    "TZDIR",
];

/// When a worker is forked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// From so many scripts on with the same interpreter and environment.
    pub from_scripts: usize,
    /// How long a zygote may take to boot.
    pub boot: Duration,
    /// How long it may take to answer.
    pub answer: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { from_scripts: 2, boot: Duration::from_secs(5), answer: Duration::from_secs(5) }
    }
}

/// Asks the keepers; clones share them.
#[derive(Clone)]
pub struct Zygotes {
    inner: Arc<Inner>,
}

struct Inner {
    /// Without zygotes of its own.
    spawner: Spawner,
    settings: Settings,
    scripts: Mutex<Vec<Known>>,
    keepers: Mutex<HashMap<Key, Kept>>,
    /// The shim behind which an interpreter was found: both have one zygote.
    shims: Mutex<HashMap<PathBuf, PathBuf>>,
}

/// The way to a keeper, and for whom it keeps a zygote.
struct Kept {
    orders: mpsc::Sender<Order>,
    kinds: Vec<Kind>,
}

/// A script that may be started.
struct Known {
    kind: Kind,
    script: PathBuf,
    roots: Vec<PathBuf>,
}

/// What scripts that can share a zygote have in common, before their interpreter is looked up.
#[derive(PartialEq, Eq)]
struct Kind {
    cmd: String,
    /// Where the interpreter is looked up.
    path: Option<String>,
    env: Env,
}

type Env = Vec<(String, String)>;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    program: PathBuf,
    env: Env,
}

enum Order {
    Start(Box<Launch>, oneshot::Sender<Result<Process, StartError>>),
    Close(oneshot::Sender<()>),
}

impl Zygotes {
    pub(super) fn new(spawner: Spawner, settings: Settings) -> Self {
        let inner =
            Inner { spawner, settings, scripts: Mutex::default(), keepers: Mutex::default(), shims: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Takes the scripts that there are now; a zygote from which none of them can come is ended.
    pub(super) fn know<'s>(&self, specs: impl Iterator<Item = &'s WorkerSpec>) {
        let known = specs.map(|spec| Known {
            kind: Kind::of(&spec.cmd, &spec.envs),
            script: spec.script.clone(),
            roots: spec.roots.clone(),
        });
        let known: Vec<Known> = known.collect();
        let is_wanted = |kind: &Kind| known.iter().any(|script| script.kind == *kind);
        // Without its sender a keeper does what it was told and ends.
        lock(&self.inner.keepers).retain(|_, kept| kept.kinds.iter().any(is_wanted));
        *lock(&self.inner.scripts) = known;
    }

    pub(super) async fn launch(&self, launch: Launch) -> Result<Process, StartError> {
        if let Some(why) = sys::NO_ZYGOTES {
            return execute(&self.inner.spawner, launch, why.to_owned()).await;
        }
        let Some(keeper) = self.keeper_for(&launch) else {
            let why = "no other script has the same interpreter and environment".to_owned();
            return execute(&self.inner.spawner, launch, why).await;
        };
        let gone = |launch: &Launch| StartError::Passing {
            program: launch.program.clone(),
            source: io::Error::other("the keeper of the zygote has ended"),
        };
        let lost = gone(&launch);
        let (answer, answered) = oneshot::channel();
        if keeper.send(Order::Start(Box::new(launch), answer)).await.is_err() {
            return Err(lost);
        }
        answered.await.map_err(|_| lost)?
    }

    pub(super) async fn close(&self) {
        let keepers: Vec<_> = lock(&self.inner.keepers).drain().collect();
        for (_, kept) in keepers {
            let (answer, answered) = oneshot::channel();
            if kept.orders.send(Order::Close(answer)).await.is_ok() {
                // A keeper that has ended has no zygote.
                let _ = answered.await;
            }
        }
    }

    /// The keeper of the zygote that this worker should come from; `None` where it would be the only one.
    fn keeper_for(&self, launch: &Launch) -> Option<mpsc::Sender<Order>> {
        let kind = Kind::of(&launch.cmd, &launch.envs);
        let program = lock(&self.inner.shims).get(&launch.program).unwrap_or(&launch.program).clone();
        let key = Key { program, env: kind.env.clone() };
        let of_kind = lock(&self.inner.scripts).iter().filter(|known| known.kind == kind).count();
        let mut keepers = lock(&self.inner.keepers);
        if let Some(kept) = keepers.get_mut(&key) {
            if !kept.kinds.contains(&kind) {
                kept.kinds.push(kind);
            }
            return Some(kept.orders.clone());
        }
        if of_kind < self.inner.settings.from_scripts {
            return None;
        }
        let (orders, taken) = mpsc::channel(ORDERS);
        let keeper = Keeper {
            key: key.clone(),
            inner: Arc::clone(&self.inner),
            zygote: None,
            failures: Failures::default(),
            refused: None,
            requests: 0,
            said: String::new(),
        };
        tokio::spawn(keeper.run(taken));
        keepers.insert(key, Kept { orders: orders.clone(), kinds: vec![kind] });
        Some(orders)
    }
}

impl Inner {
    /// The scripts that a zygote of this kind will run, and their roots.
    fn scripts_of(&self, kind: &Kind) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let scripts = lock(&self.scripts);
        let mine = scripts.iter().filter(|known| known.kind == *kind);
        let (files, roots): (Vec<_>, Vec<_>) = mine.map(|known| (known.script.clone(), known.roots.clone())).unzip();
        let mut roots: Vec<PathBuf> = roots.into_iter().flatten().collect();
        roots.sort();
        roots.dedup();
        (files, roots)
    }
}

impl Kind {
    fn of(cmd: &str, envs: &[(String, String)]) -> Self {
        let path = envs.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
        Self { cmd: cmd.to_owned(), path: path.filter(|_| !cmd.contains('/')), env: only_at_exec(envs) }
    }
}

fn is_only_at_exec(name: &str) -> bool {
    ONLY_AT_EXEC.iter().any(|start| name.starts_with(start))
}

/// The part of `envs` that a fork cannot give, each name once, with its last value.
fn only_at_exec(envs: &[(String, String)]) -> Env {
    let mut env: Env = Vec::new();
    for (name, value) in envs.iter().filter(|(name, _)| is_only_at_exec(name)) {
        env.retain(|(there, _)| there != name);
        env.push((name.clone(), value.clone()));
    }
    env.sort();
    env
}

async fn execute(spawner: &Spawner, launch: Launch, why: String) -> Result<Process, StartError> {
    let mut process = spawner.spawn(launch).await?;
    process.way = Way::Executed { why };
    Ok(process)
}

/// Owns the zygote of one key.
struct Keeper {
    key: Key,
    inner: Arc<Inner>,
    zygote: Option<Zygote>,
    failures: Failures,
    /// This interpreter cannot have one, and what both were then.
    refused: Option<(Stamp, String)>,
    requests: u64,
    /// What was logged last, so that it is said once.
    said: String,
}

/// A zygote at work.
struct Zygote {
    socket: UnixDatagram,
    leash: Leash,
    death: Death,
    stamp: Stamp,
    requests: u64,
}

/// Why a worker was not forked.
enum Trouble {
    /// The system has no room; it would have none for an exec either.
    Start(StartError),
    /// Nothing is wrong with the zygote, but this worker cannot come from one.
    Unfit(String),
    /// It did not answer as it must.
    Broken(String),
}

/// What a zygote says.
#[derive(Debug, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
enum Reply {
    Ready { exe: PathBuf, packages: Vec<String>, dropped: Vec<(String, String)> },
    Refused { why: String },
    Forked { id: u64, pid: u32 },
    Failed { id: i64, errno: i32, why: String },
}

impl Keeper {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Start(launch, answer)) => {
                        if let Err(Ok(process)) = answer.send(self.start(*launch).await) {
                            // Nobody waits for it any more.
                            in_background(move || process.abandon()).await;
                        }
                    }
                    Some(Order::Close(answer)) => {
                        self.end().await;
                        // Whoever asked may have stopped waiting.
                        let _ = answer.send(());
                        return;
                    }
                    None => return self.end().await,
                },
                () = death_of(self.zygote.as_ref()) => self.died().await,
            }
        }
    }

    async fn start(&mut self, launch: Launch) -> Result<Process, StartError> {
        let mut why = String::new();
        // A request that a zygote leaves unanswered is made once more, to a new one.
        for _ in 0..2 {
            match self.fork(&launch).await {
                Ok(process) => return Ok(process),
                Err(Trouble::Start(error)) => return Err(error),
                Err(Trouble::Unfit(reason)) => return self.execute(launch, reason).await,
                Err(Trouble::Broken(reason)) => {
                    self.failed(&reason).await;
                    let token = launch.token.clone();
                    in_background(move || process::end_marked(&token)).await;
                    why = reason;
                }
            }
        }
        self.execute(launch, why).await
    }

    async fn execute(&mut self, launch: Launch, why: String) -> Result<Process, StartError> {
        self.say(&format!("its scripts are started without a zygote: {why}"));
        execute(&self.inner.spawner, launch, why).await
    }

    async fn fork(&mut self, launch: &Launch) -> Result<Process, Trouble> {
        if let Some(why) = self.failures.too_many(Instant::now()) {
            return Err(Trouble::Unfit(why));
        }
        let stamp = self.look(launch).await?;
        if let Some((then, why)) = &self.refused
            && *then == stamp
        {
            return Err(Trouble::Unfit(why.clone()));
        }
        self.requests += 1;
        let request = Request::new(launch, self.requests)?;
        self.recycle(&stamp).await;
        let zygote = match self.zygote.take() {
            Some(zygote) => zygote,
            None => self.boot(launch, stamp).await?,
        };
        let zygote = self.zygote.insert(zygote);
        let process = zygote.fork(&request, self.inner.settings.answer).await?;
        self.said.clear();
        Ok(process)
    }

    /// Looks off this thread at what may lie on a disk that hangs.
    async fn look(&self, launch: &Launch) -> Result<Stamp, Trouble> {
        let (core, program) = (launch.core.clone(), self.key.program.clone());
        let looked = tokio::task::spawn_blocking(move || Stamp::of(&program, &core));
        looked.await.map_err(|gone| Trouble::Start(StartError::Permanent(gone.to_string())))
    }

    /// Ends a zygote that is out of date or has grown: the next one is fresh, and no worker notices.
    async fn recycle(&mut self, stamp: &Stamp) {
        let Some(zygote) = &self.zygote else { return };
        let pid = zygote.leash.pid;
        let weighed = zygote.requests % WEIGH_EVERY == WEIGH_EVERY - 1 && proportional_size(pid) > Some(TOO_LARGE);
        let why = match (zygote.stamp == *stamp, weighed) {
            (false, _) => "its interpreter or the Python package has changed",
            (true, true) => "it has grown beyond 64 MiB",
            (true, false) => return,
        };
        tracing::info!(target: "worker", "the zygote {pid} of {} is replaced: {why}", self.key.program.display());
        self.end().await;
    }

    // --- boot ---

    async fn boot(&mut self, launch: &Launch, stamp: Stamp) -> Result<Zygote, Trouble> {
        let began = Instant::now();
        let booted = tokio::time::timeout(self.inner.settings.boot, self.try_boot(launch, stamp.clone())).await;
        let late = || format!("its zygote was not ready after {} s", self.inner.settings.boot.as_secs());
        match booted.unwrap_or_else(|_| Err(Boot::Failed(late()))) {
            Ok((zygote, ready)) => {
                self.tell_boot(&zygote, &ready, began.elapsed());
                Ok(zygote)
            }
            Err(Boot::Refused(why)) => {
                self.refused = Some((stamp, why.clone()));
                Err(Trouble::Unfit(why))
            }
            Err(Boot::Failed(why)) => {
                self.failed(&why).await;
                Err(Trouble::Unfit(why))
            }
        }
    }

    async fn try_boot(&self, launch: &Launch, stamp: Stamp) -> Result<(Zygote, Ready), Boot> {
        let failed = |error: io::Error| Boot::Failed(format!("its zygote could not be booted: {error}"));
        let started = self.inner.spawner.spawn_zygote(self.launch_of_zygote(launch)).await;
        let parts = started.and_then(|process| {
            process.into_parts().map_err(|source| StartError::Passing { program: self.key.program.clone(), source })
        });
        let parts = parts.map_err(|error| Boot::Failed(format!("its zygote could not be started: {error}")))?;
        let last_words = Arc::new(Mutex::new(String::new()));
        tokio::spawn(listen(parts.stdout, Arc::clone(&last_words)));
        tokio::spawn(listen(parts.stderr, Arc::clone(&last_words)));
        drop(parts.trace);
        let socket = parts.channel.into_frames().into_datagrams().map_err(failed)?;
        // From here on an end of this future ends the process.
        let zygote = Zygote { socket, leash: parts.leash, death: parts.death, stamp, requests: 0 };
        let mut zygote = Reaped(Some(zygote));
        let (scripts, roots) = self.inner.scripts_of(&Kind::of(&launch.cmd, &launch.envs));
        for message in boot_messages(&scripts, &roots) {
            zygote.get().socket.send(&message).await.map_err(failed)?;
        }
        match zygote.get().hear().await {
            Ok(Reply::Ready { exe, packages, dropped }) => {
                let zygote = zygote.0.take().expect("it was put there above");
                Ok((zygote, Ready { exe, packages, dropped }))
            }
            Ok(Reply::Refused { why }) => Err(Boot::Refused(why)),
            Ok(other) => Err(Boot::Failed(format!("its zygote said {other:?} when it should have been ready"))),
            Err(why) => {
                let words = lock(&last_words).clone();
                let words = if words.is_empty() { words } else { format!("; its last words: {words}") };
                Err(Boot::Failed(format!("its zygote did not come up: {why}{words}")))
            }
        }
    }

    fn launch_of_zygote(&self, launch: &Launch) -> Launch {
        Launch {
            program: self.key.program.clone(),
            core: launch.core.clone(),
            run_dir: launch.run_dir.clone(),
            token: roster::token(),
            envs: self.key.env.clone(),
            lock: None,
            cmd: launch.cmd.clone(),
        }
    }

    fn tell_boot(&self, zygote: &Zygote, ready: &Ready, took: Duration) {
        let program = self.key.program.display();
        if process::is_shim(&self.key.program) {
            lock(&self.inner.shims).insert(ready.exe.clone(), self.key.program.clone());
        }
        let with =
            if ready.packages.is_empty() { String::new() } else { format!(", with {}", ready.packages.join(", ")) };
        tracing::info!(
            target: "worker",
            "the zygote {} of {program} was ready after {} ms{with}", zygote.leash.pid, took.as_millis()
        );
        for (name, why) in &ready.dropped {
            tracing::warn!(target: "worker", "the zygote of {program} does not load `{name}` ahead: {why}");
        }
    }

    // --- the end ---

    async fn end(&mut self) {
        if let Some(zygote) = self.zygote.take() {
            zygote.end().await;
        }
    }

    /// It ended by itself, or somebody has killed it.
    async fn died(&mut self) {
        let Some(zygote) = self.zygote.take() else { return };
        let pid = zygote.leash.pid;
        let why = format!("its zygote {pid} has ended: {}", zygote.end().await.tell());
        self.failed(&why).await;
    }

    async fn failed(&mut self, why: &str) {
        self.end().await;
        self.failures.add(Instant::now(), why);
        tracing::warn!(target: "worker", "{}: {why}; the workers that it has forked live on", self.key.program.display());
    }

    fn say(&mut self, text: &str) {
        if self.said != text {
            self.said = text.to_owned();
            tracing::warn!(target: "worker", "{}: {text}", self.key.program.display());
        }
    }
}

struct Ready {
    exe: PathBuf,
    packages: Vec<String>,
    dropped: Vec<(String, String)>,
}

enum Boot {
    /// There can be none here.
    Refused(String),
    Failed(String),
}

/// Ends the zygote inside when it is dropped.
struct Reaped(Option<Zygote>);

impl Reaped {
    fn get(&self) -> &Zygote {
        self.0.as_ref().expect("it is taken out last")
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        if let Some(zygote) = self.0.take() {
            tokio::spawn(zygote.end());
        }
    }
}

impl Zygote {
    async fn fork(&mut self, request: &Request<'_>, limit: Duration) -> Result<Process, Trouble> {
        let broken = |why: String| Trouble::Broken(why);
        self.requests += 1;
        let passing =
            |source: io::Error| Trouble::Start(StartError::Passing { program: request.launch.program.clone(), source });
        let (ours, theirs) = process::ends().map_err(passing)?;
        let expected = Expected::new();
        send_with(&self.socket, &request.text, &theirs, request.launch.lock.as_deref())
            .map_err(|error| broken(format!("its zygote is gone: {error}")))?;
        drop(theirs);
        let said = tokio::time::timeout(limit, self.hear()).await;
        let said = said.unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs())));
        match said.map_err(|why| broken(format!("its zygote did not answer: {why}")))? {
            Reply::Forked { id, pid } if id == request.id => {
                let adopted = expected.adopt(pid, ours, &request.launch.token);
                adopted.map_err(|error| broken(format!("its zygote said nonsense: {error}")))
            }
            Reply::Failed { id, errno, why } if id == -1 || u64::try_from(id) == Ok(request.id) => {
                const INVALID: i32 = rustix::io::Errno::INVAL.raw_os_error();
                match errno {
                    INVALID => Err(Trouble::Unfit(format!("its zygote refused the request: {why}"))),
                    errno => Err(passing(io::Error::from_raw_os_error(errno))),
                }
            }
            other => Err(broken(format!("its zygote said {other:?}"))),
        }
    }

    async fn hear(&self) -> Result<Reply, String> {
        let mut buffer = vec![0; MESSAGE_BYTES];
        match self.socket.recv(&mut buffer).await {
            Ok(0) => Err("it has ended".to_owned()),
            Ok(count) => {
                serde_json::from_slice(&buffer[..count]).map_err(|error| format!("it cannot be read: {error}"))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    async fn end(self) -> process::Ended {
        let Self { socket, leash, death, .. } = self;
        drop(socket);
        in_background(move || {
            leash.end_tree();
        })
        .await;
        if let Err(error) = death.wait().await {
            tracing::error!(target: "worker", "the end of a zygote cannot be seen: {error}");
        }
        death.reap()
    }
}

async fn death_of(zygote: Option<&Zygote>) {
    match zygote {
        Some(zygote) if zygote.death.wait().await.is_ok() => {}
        _ => std::future::pending().await,
    }
}

/// Does what blocks; a panic in it is logged by the runtime.
async fn in_background(act: impl FnOnce() + Send + 'static) {
    let _ = tokio::task::spawn_blocking(act).await;
}

/// A zygote prints nothing; what comes all the same says what is wrong.
async fn listen(pipe: tokio::net::unix::pipe::Receiver, last_words: Arc<Mutex<String>>) {
    let hear = |said: Said<'_>| {
        if let Said::Line(line) = said {
            tracing::debug!(target: "worker", "a zygote says: {line}");
            line.clone_into(&mut lock(&last_words));
        }
    };
    drain(pipe, hear).await;
}

/// What a zygote is asked for.
struct Request<'a> {
    id: u64,
    launch: &'a Launch,
    text: Vec<u8>,
}

impl<'a> Request<'a> {
    fn new(launch: &'a Launch, id: u64) -> Result<Self, Trouble> {
        let env: Vec<_> = launch.envs.iter().filter(|(name, _)| !is_only_at_exec(name)).collect();
        let text = serde_json::json!({
            "t": "fork", "id": id, "env": env, "token": launch.token,
        });
        let text = serde_json::to_vec(&text).expect("texts and numbers always serialise");
        if text.len() > MESSAGE_BYTES {
            let why = format!("its `envs` are too long for a request to a zygote: {} bytes", text.len());
            return Err(Trouble::Unfit(why));
        }
        Ok(Self { id, launch, text })
    }
}

/// The scripts in pieces that fit, then the order to boot.
fn boot_messages(scripts: &[PathBuf], roots: &[PathBuf]) -> Vec<Vec<u8>> {
    let named =
        |paths: &[PathBuf]| paths.iter().filter_map(|path| path.to_str().map(str::to_owned)).collect::<Vec<_>>();
    // A path has at most 4096 bytes, which JSON can make six times as long.
    let piece = |scripts: &[String], roots: &[String]| serde_json::json!({ "t": "scripts", "scripts": scripts, "roots": roots });
    let mut messages: Vec<serde_json::Value> = Vec::new();
    messages.extend(pieces(&named(scripts)).into_iter().map(|some| piece(some, &[])));
    messages.extend(pieces(&named(roots)).into_iter().map(|some| piece(&[], some)));
    messages.push(serde_json::json!({ "t": "boot", "v": 1, "agent": std::process::id(), "dialect": "datakit" }));
    messages.iter().map(|message| serde_json::to_vec(message).expect("texts always serialise")).collect()
}

/// Cuts a list into parts that are at most half a message long each.
fn pieces(all: &[String]) -> Vec<&[String]> {
    let (mut parts, mut start, mut length) = (Vec::new(), 0, 0);
    for (index, one) in all.iter().enumerate() {
        // Every byte may become an escape of six.
        let more = one.len() * 6 + 4;
        if length + more > MESSAGE_BYTES / 2 && index > start {
            parts.push(&all[start..index]);
            (start, length) = (index, 0);
        }
        length += more;
    }
    parts.push(&all[start..]);
    parts
}

fn send_with(socket: &UnixDatagram, request: &[u8], theirs: &TheirEnds, lock: Option<&Lock>) -> io::Result<()> {
    let mut fds = vec![theirs.control.as_fd(), theirs.stdout.as_fd(), theirs.stderr.as_fd(), theirs.trace.as_fd()];
    fds.extend(lock.map(Lock::as_fd));
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("no room for the descriptors"));
    }
    rustix::net::sendmsg(socket, &[io::IoSlice::new(request)], &mut ancillary, sys::AT_ONCE)?;
    Ok(())
}

fn proportional_size(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Tells whether interpreter and package are the same as before.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    program: Option<(SystemTime, u64)>,
    package: Vec<(PathBuf, SystemTime, u64)>,
}

impl Stamp {
    fn of(program: &Path, core: &Path) -> Self {
        let stamp = |path: &Path| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.modified().ok()?, meta.len()))
        };
        let entries = std::fs::read_dir(core.join("pythond")).into_iter().flatten().flatten();
        let files = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "py"));
        let mut package: Vec<_> =
            files.filter_map(|path| stamp(&path).map(|(time, size)| (path, time, size))).collect();
        package.sort();
        Self { program: stamp(program), package }
    }
}

/// What went wrong with a key's zygotes lately.
#[derive(Default)]
struct Failures {
    times: VecDeque<Instant>,
    last: String,
}

impl Failures {
    fn add(&mut self, now: Instant, why: &str) {
        self.times.push_back(now);
        why.clone_into(&mut self.last);
    }

    /// The reason to do without a zygote for now.
    fn too_many(&mut self, now: Instant) -> Option<String> {
        while self.times.front().is_some_and(|first| now.saturating_duration_since(*first) >= FORGET) {
            self.times.pop_front();
        }
        (self.times.len() >= FAILURES).then(|| {
            format!("{FAILURES} zygotes failed within {} min, the last so: {}", FORGET.as_secs() / 60, self.last)
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
