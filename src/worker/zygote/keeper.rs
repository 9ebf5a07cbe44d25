//! The keeper of one zygote: boots it, asks it, replaces it, and has workers executed where there can be none.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::child::{ForkError, Reaped, Zygote, death_of, in_background, proportional_size};
use super::failures::Failures;
use super::kind::{ZygoteKey, ZygoteKind};
use super::messages::{ForkRequest, Reply, boot_messages};
use super::shared::{ZygoteShared, lock};
use super::stamp::ZygoteStamp;
use crate::worker::children::Role;
use crate::worker::launch::{Launch, StartError, Way, is_shim};
use crate::worker::output::{OutputEvent, drain};
use crate::worker::process::Process;
use crate::worker::spawner::Spawner;
use crate::worker::sys::Pipe;
use crate::worker::{leftovers, roster};

/// A zygote that has grown beyond this is replaced.
const TOO_LARGE: u64 = 64 << 20;
/// How often its size is looked at, in forks.
const WEIGH_EVERY: u64 = 64;

pub(super) enum KeeperRequest {
    Start(Box<Launch>, oneshot::Sender<Result<Process, StartError>>),
    Close(oneshot::Sender<()>),
}

/// Owns the zygote of one key.
pub(super) struct ZygoteKeeper {
    key: ZygoteKey,
    shared: Arc<ZygoteShared>,
    zygote: Option<Zygote>,
    failures: Failures,
    /// This interpreter cannot have one, and what both were then.
    refused: Option<(ZygoteStamp, String)>,
    requests: u64,
    /// What was logged last, so that it is said once.
    said: String,
}

struct ReadyZygote {
    exe: PathBuf,
    packages: Vec<String>,
    dropped: Vec<(String, String)>,
}

enum Boot {
    /// There can be none here.
    Refused(String),
    Failed(String),
}

impl ZygoteKeeper {
    pub fn new(key: ZygoteKey, shared: Arc<ZygoteShared>) -> Self {
        let failures = Failures::default();
        Self { key, shared, zygote: None, failures, refused: None, requests: 0, said: String::new() }
    }

    /// Takes one order after the other until it is closed, or nobody can order any more.
    pub async fn run(mut self, mut orders: mpsc::Receiver<KeeperRequest>) {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(KeeperRequest::Start(launch, answer)) => {
                        if let Err(Ok(process)) = answer.send(self.start(*launch).await) {
                            // Nobody waits for it any more.
                            in_background(move || process.abandon()).await;
                        }
                    }
                    Some(KeeperRequest::Close(answer)) => {
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
                Err(ForkError::Start(error)) => return Err(error),
                Err(ForkError::Unfit(reason)) => return self.execute(launch, reason).await,
                Err(ForkError::Broken(reason)) => {
                    self.failed(&reason).await;
                    let token = launch.token.clone();
                    in_background(move || leftovers::end_marked(&token)).await;
                    why = reason;
                }
            }
        }
        self.execute(launch, why).await
    }

    async fn execute(&mut self, launch: Launch, why: String) -> Result<Process, StartError> {
        self.say(&format!("its scripts are started without a zygote: {why}"));
        execute(&self.shared.spawner, launch, why).await
    }

    async fn fork(&mut self, launch: &Launch) -> Result<Process, ForkError> {
        if let Some(why) = self.failures.too_many(Instant::now()) {
            return Err(ForkError::Unfit(why));
        }
        let stamp = self.look(launch).await?;
        if let Some((then, why)) = &self.refused
            && *then == stamp
        {
            return Err(ForkError::Unfit(why.clone()));
        }
        self.requests += 1;
        let request = ForkRequest::new(launch, self.requests).map_err(ForkError::Unfit)?;
        self.recycle(&stamp).await;
        let zygote = match self.zygote.take() {
            Some(zygote) => zygote,
            None => self.boot(launch, stamp).await?,
        };
        let zygote = self.zygote.insert(zygote);
        let process = zygote.fork(&request, self.shared.settings.answer).await?;
        self.said.clear();
        Ok(process)
    }

    /// Looks off this thread at what may lie on a disk that hangs.
    async fn look(&self, launch: &Launch) -> Result<ZygoteStamp, ForkError> {
        let (core, program) = (launch.core.clone(), self.key.program.clone());
        let looked = tokio::task::spawn_blocking(move || ZygoteStamp::of(&program, &core));
        looked.await.map_err(|gone| ForkError::Start(StartError::Permanent(gone.to_string())))
    }

    /// Ends a zygote that is out of date or has grown: the next one is fresh, and no worker notices.
    async fn recycle(&mut self, stamp: &ZygoteStamp) {
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

    async fn boot(&mut self, launch: &Launch, stamp: ZygoteStamp) -> Result<Zygote, ForkError> {
        let began = Instant::now();
        let booted = tokio::time::timeout(self.shared.settings.boot, self.try_boot(launch, stamp.clone())).await;
        let late = || format!("its zygote was not ready after {} s", self.shared.settings.boot.as_secs());
        match booted.unwrap_or_else(|_| Err(Boot::Failed(late()))) {
            Ok((zygote, ready)) => {
                self.tell_boot(&zygote, &ready, began.elapsed());
                Ok(zygote)
            }
            Err(Boot::Refused(why)) => {
                self.refused = Some((stamp, why.clone()));
                Err(ForkError::Unfit(why))
            }
            Err(Boot::Failed(why)) => {
                self.failed(&why).await;
                Err(ForkError::Unfit(why))
            }
        }
    }

    async fn try_boot(&self, launch: &Launch, stamp: ZygoteStamp) -> Result<(Zygote, ReadyZygote), Boot> {
        let failed = |error: io::Error| Boot::Failed(format!("its zygote could not be booted: {error}"));
        let started = self.shared.spawner.spawn(self.launch_of_zygote(launch), Role::Zygote).await;
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
        let (scripts, roots) = self.shared.scripts_of(&ZygoteKind::of(&launch.cmd, &launch.envs, launch.dialect));
        for message in boot_messages(&scripts, &roots, launch.dialect) {
            zygote.get().socket.send(&message).await.map_err(failed)?;
        }
        match zygote.get().hear().await {
            Ok(Reply::Ready { exe, packages, dropped }) => {
                let zygote = zygote.0.take().expect("it was put there above");
                Ok((zygote, ReadyZygote { exe, packages, dropped }))
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
            dialect: self.key.dialect,
            cmd: launch.cmd.clone(),
        }
    }

    fn tell_boot(&self, zygote: &Zygote, ready: &ReadyZygote, took: Duration) {
        let program = self.key.program.display();
        if is_shim(&self.key.program) {
            lock(&self.shared.shims).insert(ready.exe.clone(), self.key.program.clone());
        }
        let with =
            if ready.packages.is_empty() { String::new() } else { format!(", with {}", ready.packages.join(", ")) };
        tracing::info!(
            target: "worker",
            "the zygote {} of {program} was ready after {} ms{with}", zygote.leash.pid, took.as_millis()
        );
        for (name, why) in &ready.dropped {
            tracing::warn!(target: "worker", "the zygote of {program} does not preload `{name}`: {why}");
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

pub(super) async fn execute(spawner: &Spawner, launch: Launch, why: String) -> Result<Process, StartError> {
    let mut process = spawner.spawn(launch, Role::Worker).await?;
    process.way = Way::Executed { why };
    Ok(process)
}

/// A zygote prints nothing; what comes all the same says what is wrong.
async fn listen(pipe: Pipe, last_words: Arc<Mutex<String>>) {
    let hear = |said: OutputEvent<'_>| {
        if let OutputEvent::Line(line) = said {
            tracing::debug!(target: "worker", "a zygote says: {line}");
            line.clone_into(&mut lock(&last_words));
        }
    };
    drain(pipe, hear).await;
}
