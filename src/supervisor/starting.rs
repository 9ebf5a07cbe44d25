//! The start of a worker's process: from a slot to the first frame that tells it what to run.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::ending::WorkerEnd;
use super::events::LoopEvent;
use super::incarnation::Incarnation;
use super::shared::{SupervisorSettings, SupervisorShared};
use super::unit::Unit;
use super::version::{Before, VersionQuery};
use super::worker::Worker;
use crate::code::Code;
use crate::worker::cgroup::{Cgroup, Groups};
use crate::worker::frames::{Down, Mode, OneUnit, Spec, in_frames, phase_of};
use crate::worker::life::{LifeAction, LifeInput};
use crate::worker::lock::{Lock, Locks};
use crate::worker::process::{Launch, Parts, Process, StartError, find_program};
use crate::worker::starter::Starter;
use crate::worker::{UnitSpec, WorkerSpec};

impl Worker {
    pub(super) fn spawn(&mut self, shared: &mut SupervisorShared) {
        let next = self.version.next.take();
        let now = next.as_ref().map(|next| next.now.clone());
        if let Some(next) = next {
            self.apply_settings(next, shared);
        }
        let ask = self.version.begin(&self.spec, now);
        self.incarnation += 1;
        self.spawned_at = Instant::now();
        self.start_took = None;
        self.is_passive = false;
        self.output.begin_anew();
        self.units.iter_mut().for_each(Unit::begin);
        (self.telling, self.loading, self.fatal_of, self.told) = (Vec::new(), 0, None, None);
        self.faulty.clear();
        let token = shared.roster.admit(&self.member);
        if self.spec.shares {
            self.tokens = self.units.iter().map(|unit| shared.roster.admit(&unit.member)).collect();
        }
        self.pending_token = Some(token.clone());
        let start = Start {
            worker: self.index,
            incarnation: self.incarnation,
            events: shared.events.clone(),
            known: shared.interpreters.get(&(self.spec.cmd.clone(), self.spec.envs.clone())).cloned(),
            settings: shared.settings.clone(),
            spawner: shared.spawner.clone(),
            locks: shared.locks.clone(),
            groups: shared.groups.clone(),
            token,
        };
        tokio::spawn(start.run(ask));
    }

    /// What a start found before it.
    pub fn starts_with(&mut self, program: PathBuf, before: Before) {
        self.program = program;
        self.file = before.stamp;
        self.version.starts_with(before);
    }

    pub fn started(&mut self, result: Result<Parts, StartError>, shared: &mut SupervisorShared, now: Instant) {
        let token = self.pending_token.take().unwrap_or_default();
        let parts = match result {
            Ok(parts) => parts,
            Err(error) => {
                self.dismiss(&token, shared);
                let permanent = matches!(error, StartError::Permanent(_));
                let why = with_cause(&error);
                let why = if permanent { format!("{why} [{}]", Code::NoInterpreter) } else { why };
                self.output.logs.cli(&format!("{}: could not be started: {why}", self.spec.id));
                self.count_end(WorkerEnd::NotStarted);
                self.step(LifeInput::NotSpawned { why, permanent }, shared, now);
                return;
            }
        };
        self.way = Some(parts.way.clone());
        let process =
            Incarnation::watch(parts, self.index, self.incarnation, token.clone(), &self.output, &shared.events);
        let mode = if self.lists() { Mode::List } else { Mode::Worker };
        let mut spec = Spec::new(&self.spec, mode, 1, self.incarnation, &shared.address, &token);
        if process.leash.group().is_some_and(|group| group.keeps_memory) {
            spec.memory_is_kept_by_cgroup();
        }
        if let Some(kept) = self.version.runs_kept() {
            (spec.kept, spec.file, spec.roots) = (Some(kept.manifest.as_path()), &kept.script, &kept.roots);
        }
        spec.phase = phase_of(&self.spec.id, shared.crowd);
        let several = in_frames(self.one_by_one());
        let sent = process.send(&Down::Spec(spec));
        let sent = sent.and_then(|()| several.iter().try_for_each(|frame| process.send(frame)));
        self.process = Some(process);
        // Where a stop came meanwhile, or it was given up, it is killed.
        self.step(LifeInput::Spawned, shared, now);
        if let Err(error) = sent
            && !has_gone(&error)
        {
            // It would wait for its unit for ever.
            self.step(
                LifeInput::Fatal { why: format!("could not be told its units: {error}"), permanent: true },
                shared,
                now,
            );
            self.carry_out(LifeAction::Kill, shared);
        }
    }

    /// The units that share the process, as it is told them.
    fn one_by_one(&self) -> Vec<OneUnit<'_>> {
        let must = |unit: &UnitSpec| self.version.must_load(&unit.file);
        // Empty where it does not share.
        let tokens = self.tokens.iter();
        self.spec.units.iter().zip(tokens).map(|(unit, token)| OneUnit::of(unit, token, must(unit))).collect()
    }

    pub(super) fn dismiss(&mut self, token: &str, shared: &SupervisorShared) {
        shared.roster.dismiss(token);
        self.tokens.drain(..).for_each(|token| shared.roster.dismiss(&token));
    }
}

/// A start under way, beside the loop: looking at files may block, for they can lie on a disk that hangs.
struct Start {
    worker: usize,
    incarnation: u64,
    events: mpsc::Sender<LoopEvent>,
    /// What `cmd` was at an earlier start.
    known: Option<PathBuf>,
    settings: SupervisorSettings,
    spawner: Starter,
    locks: Locks,
    groups: Groups,
    token: String,
}

/// What a start has found and taken before there is a process.
struct PreparedStart {
    before: Before,
    launch: Result<Launch, StartError>,
    group: Option<Cgroup>,
}

impl Start {
    /// Starts the process and tells the loop how that went.
    async fn run(self, ask: VersionQuery) {
        let (worker, incarnation, events, spawner) =
            (self.worker, self.incarnation, self.events.clone(), self.spawner.clone());
        let ready = match tokio::task::spawn_blocking(move || self.prepare(ask)).await {
            Ok(ready) => ready,
            Err(gone) => PreparedStart {
                before: Before::default(),
                launch: Err(StartError::Permanent(gone.to_string())),
                group: None,
            },
        };
        let before = Box::new(ready.before);
        let program = ready.launch.as_ref().map(|launch| launch.program.clone()).unwrap_or_default();
        let result = match ready.launch {
            Ok(launch) => launch_in(&spawner, launch, ready.group, incarnation).await,
            Err(error) => Err(error),
        };
        // The loop may have ended meanwhile; then the process ends with the agent.
        let _ =
            events.send(LoopEvent::Started { worker, incarnation, program, before, result: Box::new(result) }).await;
    }

    /// Looks at the files, finds the interpreter, takes the lock, makes the cgroup. Blocks.
    fn prepare(self, ask: VersionQuery) -> PreparedStart {
        let before = Before::look(&ask, &self.settings.last_good);
        let launch = self.launch(&ask.spec);
        let group = launch.is_ok().then(|| self.groups.make(&ask.spec.id, ask.spec.memory_max)).flatten();
        PreparedStart { before, launch, group }
    }

    fn launch(&self, spec: &WorkerSpec) -> Result<Launch, StartError> {
        let program = match self.known.clone().filter(|path| path.exists()) {
            Some(program) => program,
            None => find_program(&spec.cmd, &spec.envs)?,
        };
        let lock = self.locks.take(&spec.id).map_err(|held| StartError::Held(with_cause(&held)))?;
        let launch = Launch::new(spec, program, &self.settings.core, &self.settings.run_dir, &self.token);
        Ok(Launch { lock: lock.map(Arc::new), ..launch })
    }
}

async fn launch_in(
    spawner: &Starter,
    launch: Launch,
    group: Option<Cgroup>,
    incarnation: u64,
) -> Result<Parts, StartError> {
    let (program, lock) = (launch.program.clone(), launch.lock.clone());
    let process = spawner.launch(launch).await?;
    let process = bind(process, incarnation, lock, group).await;
    process.into_parts().map_err(|source| StartError::Passing { program, source })
}

/// Puts a new worker into its cgroup and notes that it holds the lock, before it is told its unit.
async fn bind(mut process: Process, incarnation: u64, lock: Option<Arc<Lock>>, group: Option<Cgroup>) -> Process {
    let pid = process.pid;
    let bound = tokio::task::spawn_blocking(move || {
        if let Some(group) = group
            && let Err(error) = process.put_into(group)
        {
            tracing::debug!(target: "worker", "process {pid} runs without a cgroup: {error}");
        }
        if let Some(lock) = lock
            && let Err(error) = lock.note(pid, incarnation)
        {
            tracing::debug!(target: "worker", "the lock of process {pid} has no note: {error}");
        }
        process
    });
    bound.await.expect("writing two files does not panic")
}

fn with_cause(error: &(dyn std::error::Error + 'static)) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// The other end is closed: the process ends by itself, and its end says more.
fn has_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected)
}
