//! One worker's record: its life and its process. What its scripts have done stands in `ledger`.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::incarnation::{Incarnation, Output};
use super::ledger::{Ledger, Unloaded};
use super::live::{self, LiveStack, Look};
use super::plan::{Refusal, RunState, Runs, Wanted};
use super::repeats::Repeats;
use super::stack::{name_of, user_frame};
use super::version::{self, Before, Version};
use super::view::WorkerView;
use super::{Event, Outcome as Settled, Shared, Stamp, count};
use crate::telemetry::counters::{ByScript, Counters};
use crate::worker::cgroup::Group;
use crate::worker::control::{
    Down, Fatal, Frame, Hello, Job, Mode, OneScript, Refused, RunEnded, Spec, Up, Warn, in_frames, phase_of,
};
use crate::worker::lastgood::Kept;
use crate::worker::life::{Fault, Input, Life, Limits, Order, State, Step};
use crate::worker::lock::Lock;
use crate::worker::process::{self, Ended, Launch, Parts, Process, Signal, StartError, Way, find_program};
use crate::worker::roster::Member;
use crate::worker::{Collectors, ScriptFile, WorkerSpec};

/// Bytes of a stack dump that are kept.
const STACK_BYTES: usize = 16 * 1024;

pub(super) struct Script {
    index: usize,
    pub spec: WorkerSpec,
    pub life: Life,
    version: Version,
    /// It is no longer wanted.
    leaves: bool,
    /// Who waits for the end of a change.
    settling: Vec<oneshot::Sender<Settled>>,
    /// The process; the same as that of its script, if that is the only one.
    member: Arc<Member>,
    /// One for each of its scripts.
    pub ledgers: Vec<Ledger>,
    /// The tokens of the scripts that share the process.
    tokens: Vec<String>,
    output: Output,
    incarnation: u64,
    process: Option<Incarnation>,
    /// A token that was handed out for a start under way.
    pending_token: Option<String>,
    /// Jobs that came ahead of `ready`.
    first_jobs: Vec<Job>,
    /// The script that is being loaded, of several.
    loading: usize,
    /// The script because of which the worker could not be loaded, of several.
    fatal_of: Option<String>,
    /// The classes that its script has, told to be followed once the process is gone.
    told: Option<Vec<String>>,
    repeats: Repeats,
    stack: Option<String>,
    /// The incarnation that wrote the stack.
    stack_of: u64,
    /// Somebody asked for the stacks of the live worker.
    look: Option<Look>,
    /// Frames that could not be read, or were dropped by the worker.
    frames_lost: u64,
    /// How the last worker came to be.
    way: Option<Way>,
    spawned_at: Instant,
    start_took: Option<Duration>,
    /// What `cmd` was at the last start.
    program: PathBuf,
    file: Option<Stamp>,
    /// It has no collector and was not meant to have one.
    is_helper: bool,
    /// A look at the file is under way.
    looking: bool,
    weighed: Option<Instant>,
    /// How often its worker was replaced although nothing was wrong, and why it was the last time.
    recycled: (u64, Option<String>),
    counters: Counters,
}

impl Script {
    pub fn new(index: usize, wanted: Wanted, shared: &Shared, now: Instant) -> Self {
        let Wanted { spec, home, .. } = wanted;
        let (logs, counters) = (&shared.logs, &shared.counters);
        let member = Member::new(&spec);
        let output = Output::new(&spec.id, &spec.input, Arc::clone(&member), logs.clone(), counters.clone());
        let seed = u64::from(crc32c::crc32c(spec.id.as_bytes())) + 1;
        Self {
            index,
            life: Life::new(limits(&spec, shared), seed, now),
            version: Version::in_home(home),
            leaves: false,
            settling: Vec::new(),
            ledgers: Ledger::of_all(&spec, &member, Vec::new()),
            tokens: Vec::new(),
            member,
            output,
            spec,
            incarnation: 0,
            process: None,
            pending_token: None,
            first_jobs: Vec::new(),
            loading: 0,
            fatal_of: None,
            told: None,
            repeats: Repeats::default(),
            stack: None,
            stack_of: 0,
            look: None,
            frames_lost: 0,
            way: None,
            spawned_at: now,
            start_took: None,
            program: PathBuf::new(),
            file: None,
            is_helper: false,
            looking: false,
            weighed: None,
            recycled: (0, None),
            counters: counters.clone(),
        }
    }

    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.leash.pid)
    }

    pub fn token(&self) -> Option<String> {
        self.process.as_ref().map(|process| process.token.clone()).or_else(|| self.pending_token.clone())
    }

    /// Feeds the life and carries out its orders.
    pub fn step(&mut self, input: Input, shared: &mut Shared, now: Instant) {
        if input == Input::Tick {
            let members = self.ledgers.iter().map(|ledger| &ledger.member);
            let seen = members.fold(self.member.last_activity(), |seen, member| seen.max(member.last_activity()));
            self.life.step(seen.min(now), Input::Activity);
            self.finish_look(now);
        }
        let before = self.life.state();
        for order in self.life.step(now, input) {
            self.obey(order, shared);
        }
        if self.life.state() != before {
            self.tell_change(before);
        }
    }

    fn obey(&mut self, order: Order, shared: &mut Shared) {
        match order {
            Order::Spawn => self.spawn(shared),
            Order::Dump => {
                if let Some(process) = &self.process {
                    process.leash.signal(Signal::USR2);
                }
            }
            Order::Ask(grace) => self.ask(grace),
            Order::Terminate => {
                if let Some(process) = &self.process {
                    process.leash.signal_group(Signal::TERM);
                }
            }
            Order::Kill => {
                if let Some(process) = &self.process {
                    let leash = process.leash.clone();
                    // The look through /proc takes milliseconds; the loop does not wait for it.
                    tokio::task::spawn_blocking(move || leash.end_tree());
                }
            }
        }
    }

    fn ask(&self, grace: Duration) {
        let Some(process) = &self.process else { return };
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        if process.send(&Down::Stop { grace_ms }).is_err() {
            process.leash.signal(Signal::TERM);
        }
    }

    /// Shortens the steps of its stop.
    pub fn hurry(&mut self, within: Duration, now: Instant) {
        self.life.hurry(within, now);
    }

    /// Says whether it, or one of its scripts, has this name.
    pub fn is_called(&self, id: &str) -> bool {
        self.spec.id == id || self.ledgers.iter().any(|ledger| ledger.id == id)
    }

    /// Says whether it runs one class of the script with this id.
    pub fn is_class(&self, id: &str) -> bool {
        matches!(&self.spec.collectors, Collectors::One { of, .. } if of == id)
    }

    pub fn leaves(&self) -> bool {
        self.leaves
    }

    /// The class that it runs, of those of its script.
    pub fn class(&self) -> Option<&str> {
        match &self.spec.collectors {
            Collectors::One { class, .. } => Some(class),
            Collectors::All | Collectors::Told | Collectors::Several(_) => None,
        }
    }

    fn tells(&self) -> bool {
        self.spec.collectors == Collectors::Told
    }

    /// Has all jobs of the script with this name run now, or the worker started where there is none.
    pub fn run_now(&mut self, id: &str, shared: &mut Shared, now: Instant) {
        let asked = self.ledgers.iter().filter(|ledger| ledger.id == id || self.spec.id == id);
        for job in asked.flat_map(|ledger| &ledger.jobs) {
            if let Some(process) = &self.process
                && let Err(error) = process.send(&Down::RunNow { i: job.i })
            {
                tracing::warn!(target: "worker", "{}: could not be asked to run: {error}", self.spec.id);
            }
        }
        self.step(Input::Changed, shared, now);
    }

    // --- changes ---

    /// What runs, or is about to.
    pub fn runs(&self) -> Runs {
        let refusal = self.version.refusal.clone();
        let state = self.run_state();
        let lives_in = self.version.lives_in.clone().filter(|_| self.life.has_process()).into_iter().collect();
        let failed = |ledger: &&Ledger| matches!(ledger.unloaded, Some(Unloaded::Fault(_)));
        let unloaded = self.ledgers.iter().filter(failed).map(|ledger| ledger.id.clone()).collect();
        match &self.version.next {
            Some(next) => Runs {
                spec: next.spec.clone(),
                home: next.home.clone(),
                lives_in,
                interpreter: next.interpreter.clone(),
                print: next.now.clone(),
                state,
                refusal,
                unloaded,
            },
            None => Runs {
                spec: self.spec.clone(),
                home: self.version.home.clone(),
                lives_in,
                interpreter: self.version.interpreter(),
                print: self.version.print(),
                state,
                refusal,
                unloaded,
            },
        }
    }

    fn run_state(&self) -> RunState {
        match self.life.state() {
            _ if self.leaves => RunState::Leaves,
            _ if self.version.next.is_some() => RunState::Starts,
            State::Blocked if self.is_helper => RunState::Helps,
            State::Stopped if self.has_told() => RunState::Works,
            State::Backoff | State::Blocked | State::Tripped | State::Stopped | State::Unkillable => RunState::Fails,
            _ if self.version.is_ready => RunState::Works,
            _ => RunState::Starts,
        }
    }

    /// Starts another version once the worker of this one has ended its run.
    pub fn replace(&mut self, wanted: Wanted, shared: &mut Shared, now: Instant) {
        self.leaves = false;
        self.version.refusal = None;
        self.version.next = Some(wanted);
        self.step(Input::Restart, shared, now);
    }

    /// Starts the version on disk, also one that was refused before.
    pub fn restart(&mut self, shared: &mut Shared, now: Instant) {
        self.version.refusal = None;
        self.step(Input::Restart, shared, now);
    }

    /// Obeys settings that its worker has not to be restarted for.
    pub fn update(&mut self, wanted: Wanted, shared: &Shared) {
        self.version.refusal = None;
        match &mut self.version.next {
            Some(next) => *next = wanted,
            None => self.obey_settings(wanted, shared),
        }
    }

    /// Notes a version that is not run.
    pub fn refuse(&mut self, refusal: Refusal) {
        let id = &self.spec.id;
        self.output.logs.cli(&format!("{id}: its new version is refused, the one before runs on: {}", refusal.why));
        self.version.refusal = Some(refusal);
    }

    /// It has told the classes of its script and has nothing more to do.
    pub fn has_told(&self) -> bool {
        self.tells() && self.version.is_ready
    }

    /// The classes that its script has, once it has told them and is gone; `true`: those of its last good version.
    pub fn take_told(&mut self) -> Option<(Vec<String>, bool)> {
        let is_over = match self.life.state() {
            State::Stopped => !self.leaves,
            State::Blocked => self.is_helper,
            _ => false,
        };
        if !is_over || self.version.next.is_some() {
            return None;
        }
        Some((self.told.take()?, self.version.runs_kept().is_some()))
    }

    /// What the worker of one of its classes is to be.
    pub fn wanted_class(&self, class: &str) -> Wanted {
        Wanted {
            spec: self.spec.of_class(class),
            home: self.version.home.clone(),
            interpreter: self.version.interpreter(),
            now: self.version.print(),
        }
    }

    /// It leaves, and something of it still runs: a script that takes its place has to wait.
    pub fn is_in_the_way_of(&self, other: &Self) -> bool {
        // What it will be: its new settings are obeyed from its start on.
        let coming = other.version.next.as_ref().map_or(&other.spec, |next| &next.spec);
        let runs_another = match (&self.spec.collectors, &coming.collectors) {
            (_, Collectors::Told) => true,
            (Collectors::One { class, .. }, Collectors::One { class: coming, .. }) => class != coming,
            _ => false,
        };
        let shares = || coming.scripts().iter().any(|script| self.ledgers.iter().any(|own| own.path == script.path));
        self.leaves
            && self.index != other.index
            && self.life.has_process()
            // Another input may run the same script, and goes on while this one ends.
            && (self.spec.input == coming.input || other.incarnation == 0)
            && !runs_another
            && shares()
    }

    /// Ends for good, all steps within `patience`.
    pub fn leave(&mut self, patience: Duration, shared: &mut Shared, now: Instant) {
        self.leaves = true;
        self.version.next = None;
        self.hurry(patience, now);
        self.step(Input::Stop, shared, now);
    }

    pub fn has_left(&self) -> bool {
        self.leaves && self.life.state() == State::Stopped
    }

    fn obey_settings(&mut self, wanted: Wanted, shared: &Shared) {
        let Wanted { spec, home, .. } = wanted;
        if spec.input != self.spec.input {
            self.member = self.member.renamed(&spec);
            let (logs, counters) = (shared.logs.clone(), shared.counters.clone());
            self.output = Output::new(&spec.id, &spec.input, Arc::clone(&self.member), logs, counters);
        }
        self.member.set_tags(&spec.tags);
        self.ledgers = Ledger::of_all(&spec, &self.member, std::mem::take(&mut self.ledgers));
        self.life.set_limits(limits(&spec, shared));
        self.version.home = home;
        self.spec = spec;
    }

    /// Tells the end of the change under way.
    pub fn settles(&mut self, who: oneshot::Sender<Settled>) {
        self.settling.push(who);
    }

    /// Tells those who wait, if there is something to tell.
    pub fn settle(&mut self) {
        if self.settling.is_empty() || self.version.next.is_some() && self.life.state() != State::Unkillable {
            return;
        }
        let fails = |why: Option<String>| Settled::Fails { why: why.unwrap_or_default() };
        let outcome = match self.life.state() {
            State::Idle | State::Running | State::Overdue => match &self.version.refusal {
                Some(refusal) => fails(Some(refusal.why.clone())),
                None => self.runs_with_or_without(),
            },
            State::Blocked if self.is_helper => Settled::Helps,
            State::Backoff | State::Blocked | State::Tripped => fails(self.why()),
            State::Unkillable => fails(Some("its old worker does not end even with KILL".to_owned())),
            State::Stopped if self.has_told() && !self.leaves => Settled::Runs { pid: None },
            State::Stopped | State::Ended => Settled::Stopped,
            State::Waiting | State::Spawning | State::Loading | State::Stopping(_) => return,
        };
        for who in self.settling.drain(..) {
            // Whoever asked may have stopped waiting.
            let _ = who.send(outcome.clone());
        }
    }

    fn runs_with_or_without(&self) -> Settled {
        let fault = |ledger: &Ledger| match &ledger.unloaded {
            Some(Unloaded::Fault(why)) => Some(format!("{} cannot run: {why}", ledger.id)),
            Some(Unloaded::Helper) | None => None,
        };
        let faults: Vec<String> = self.ledgers.iter().filter_map(fault).collect();
        let pid = self.pid();
        if faults.is_empty() { Settled::Runs { pid } } else { Settled::RunsWithout { pid, why: faults.join("; ") } }
    }

    /// The files that its worker has loaded were kept.
    pub fn kept(&mut self, kept: Result<Kept, String>) {
        match kept {
            Ok(kept) => self.version.kept(kept),
            Err(why) => {
                tracing::warn!(target: "worker", "{}: what it runs could not be kept for bad times: {why}", self.spec.id)
            }
        }
    }

    fn keep(&self, shared: &Shared) {
        let Some(loaded) = self.version.to_keep() else { return };
        let (script, incarnation, events) = (self.index, self.incarnation, shared.events.clone());
        let (spec, last_good) = (self.spec.clone(), shared.settings.last_good.clone());
        let unloaded = self.ledgers.iter().filter(|ledger| ledger.unloaded.is_some());
        let unloaded: Vec<PathBuf> = unloaded.map(|ledger| ledger.path.clone()).collect();
        tokio::task::spawn_blocking(move || {
            let kept = version::keep(&last_good, &spec, &loaded, &unloaded);
            // The loop may have ended meanwhile.
            let _ = events.blocking_send(Event::Kept { script, incarnation, kept });
        });
    }

    // --- start ---

    fn spawn(&mut self, shared: &mut Shared) {
        let next = self.version.next.take();
        let now = next.as_ref().map(|next| next.now.clone());
        if let Some(next) = next {
            self.obey_settings(next, shared);
        }
        let ask = self.version.begin(&self.spec, now);
        self.incarnation += 1;
        self.spawned_at = Instant::now();
        self.start_took = None;
        self.is_helper = false;
        self.output.begin_anew();
        self.ledgers.iter_mut().for_each(Ledger::begin);
        (self.first_jobs, self.loading, self.fatal_of, self.told) = (Vec::new(), 0, None, None);
        let token = shared.roster.admit(&self.member);
        if matches!(self.spec.collectors, Collectors::Several(_)) {
            self.tokens = self.ledgers.iter().map(|ledger| shared.roster.admit(&ledger.member)).collect();
        }
        self.pending_token = Some(token.clone());
        let (script, incarnation, events) = (self.index, self.incarnation, shared.events.clone());
        let known = shared.interpreters.get(&(self.spec.cmd.clone(), self.spec.envs.clone())).cloned();
        let (settings, spawner) = (shared.settings.clone(), shared.spawner.clone());
        let (locks, groups) = (shared.locks.clone(), shared.groups.clone());
        tokio::spawn(async move {
            // Looking at files may block: they can lie on a disk that hangs.
            let looked = tokio::task::spawn_blocking(move || {
                let before = Before::look(&ask, &settings.last_good);
                let spec = ask.spec;
                let program = known.filter(|path| path.exists());
                let program = program.map_or_else(|| find_program(&spec.cmd, &spec.envs), Ok);
                let launch = program.and_then(|program| {
                    let lock = locks.take(&spec.id).map_err(|held| StartError::Held(told_with_cause(&held)))?;
                    let launch = Launch::new(&spec, program, &settings.core, &settings.run_dir, &token);
                    Ok(Launch { lock: lock.map(Arc::new), ..launch })
                });
                let group = launch.is_ok().then(|| groups.make(&spec.id, spec.memory_max)).flatten();
                (before, launch, group)
            });
            let gone =
                |gone: tokio::task::JoinError| (Before::default(), Err(StartError::Permanent(gone.to_string())), None);
            let (before, launch, group) = looked.await.unwrap_or_else(gone);
            let before = Box::new(before);
            let program = launch.as_ref().map(|launch| launch.program.clone()).unwrap_or_default();
            let result = match launch {
                Ok(launch) => {
                    let (program, lock) = (program.clone(), launch.lock.clone());
                    match spawner.launch(launch).await {
                        Ok(process) => {
                            let process = bind(process, incarnation, lock, group).await;
                            process.into_parts().map_err(|source| StartError::Passing { program, source })
                        }
                        Err(error) => Err(error),
                    }
                }
                Err(error) => Err(error),
            };
            // The loop may have ended meanwhile; then the process ends with the agent.
            let _ =
                events.send(Event::Started { script, incarnation, program, before, result: Box::new(result) }).await;
        });
    }

    /// What a start found before it.
    pub fn starts_with(&mut self, program: PathBuf, before: Before) {
        self.program = program;
        self.file = before.stamp;
        self.version.starts_with(before);
    }

    pub fn started(&mut self, result: Result<Parts, StartError>, shared: &mut Shared, now: Instant) {
        let token = self.pending_token.take().unwrap_or_default();
        let parts = match result {
            Ok(parts) => parts,
            Err(error) => {
                self.dismiss(&token, shared);
                let permanent = matches!(error, StartError::Permanent(_));
                let why = told_with_cause(&error);
                let why = if permanent { format!("{why} [PD0107]") } else { why };
                self.output.logs.cli(&format!("{}: could not be started: {why}", self.spec.id));
                self.count_end("not_started");
                self.step(Input::NotSpawned { why, permanent }, shared, now);
                return;
            }
        };
        self.way = Some(parts.way.clone());
        let process =
            Incarnation::watch(parts, self.index, self.incarnation, token.clone(), &self.output, &shared.events);
        let mut spec = Spec::new(&self.spec, Mode::Worker, 1, self.incarnation, &shared.address, &token);
        if process.leash.group().is_some_and(|group| group.keeps_memory) {
            spec.memory_is_kept_by_cgroup();
        }
        if let Some(kept) = self.version.runs_kept() {
            (spec.kept, spec.script, spec.roots) = (Some(kept.manifest.as_path()), &kept.script, &kept.roots);
        }
        spec.phase = phase_of(&self.spec.id, shared.crowd);
        let several = in_frames(self.one_by_one());
        let sent = process.send(&Down::Spec(spec));
        let sent = sent.and_then(|()| several.iter().try_for_each(|frame| process.send(frame)));
        self.process = Some(process);
        if let Err(error) = sent
            && !has_gone(&error)
        {
            // It would wait for its script for ever.
            self.step(
                Input::Fatal { why: format!("could not be told its script: {error}"), permanent: true },
                shared,
                now,
            );
            self.obey(Order::Kill, shared);
        }
        if matches!(self.life.state(), State::Stopping(_)) {
            // A stop came while it was being started.
            self.obey(Order::Kill, shared);
        }
    }

    /// The scripts that share the process, as it is told them.
    fn one_by_one(&self) -> Vec<OneScript<'_>> {
        let Collectors::Several(scripts) = &self.spec.collectors else { return Vec::new() };
        let must = |script: &ScriptFile| self.version.must_load(&script.path);
        scripts.iter().zip(&self.tokens).map(|(script, token)| OneScript::of(script, token, must(script))).collect()
    }

    fn dismiss(&mut self, token: &str, shared: &Shared) {
        shared.roster.dismiss(token);
        self.tokens.drain(..).for_each(|token| shared.roster.dismiss(&token));
    }

    // --- frames ---

    pub fn frame(&mut self, frame: Up, shared: &mut Shared, now: Instant) {
        match frame {
            Up::Hello(hello) => self.hello(&hello, shared, now),
            Up::Loaded { files } => {
                self.version.loads(files);
                self.keep(shared);
            }
            Up::Loading { s } => self.loading = s,
            Up::Unloaded(fatal) => self.unloaded(&fatal, now),
            Up::Jobs { jobs } => self.first_jobs.extend(jobs),
            Up::Ready { jobs, classes } => {
                let first = std::mem::take(&mut self.first_jobs);
                let jobs: Vec<Job> = first.into_iter().chain(jobs).collect();
                if self.tells() { self.has_classes(classes, shared, now) } else { self.ready(jobs, shared, now) }
            }
            Up::Run { i, .. } => {
                self.ledgers.iter_mut().for_each(|ledger| ledger.run_began(i));
                self.step(Input::RunBegan(i), shared, now);
            }
            Up::End(end) => self.run_ended(&end, shared, now),
            Up::Refused(refused) => self.refused(&refused, now),
            Up::Warn(warn) => self.warned(&warn, now),
            Up::Fatal(fatal) => self.fatal(&fatal, shared, now),
            Up::Bye { .. } => {}
            Up::Unknown => self.unknown_frame(now),
        }
    }

    fn unknown_frame(&mut self, now: Instant) {
        self.frames_lost += 1;
        if let Some(held_back) = self.repeats.tell("a frame that cannot be read", now) {
            let id = &self.spec.id;
            tracing::warn!(target: "worker", "{id}: sent a frame that cannot be read, and {held_back} more before");
        }
    }

    fn hello(&mut self, hello: &Hello, shared: &mut Shared, now: Instant) {
        if self.way == Some(Way::Forked) && self.pid().is_some_and(|pid| pid != hello.pid) {
            tracing::error!(target: "worker", "{}: says that it is process {}, which it is not", self.spec.id, hello.pid);
            self.obey(Order::Kill, shared);
            return;
        }
        // A shim only finds the interpreter; any other wrapper may do more than that, so it stays.
        if !hello.exe.is_empty() && process::is_shim(&self.program) {
            shared.interpreters.insert((self.spec.cmd.clone(), self.spec.envs.clone()), hello.exe.clone().into());
        }
        self.version.heard_hello = true;
        self.step(Input::Hello, shared, now);
    }

    /// It was started to tell this and nothing else.
    fn has_classes(&mut self, classes: Vec<String>, shared: &mut Shared, now: Instant) {
        let id = &self.spec.id;
        let each = if classes.len() == 1 { "in a worker of its own" } else { "each in a worker of its own" };
        tracing::info!(target: "worker", "{id}: has {}, {each}", classes.join(", "));
        self.output.logs.cli(&format!("{id}: loaded {}: {}", self.spec.script.display(), classes.join(", ")));
        self.told = Some(classes);
        self.version.ready();
        self.keep(shared);
        self.step(Input::Ready(Vec::new()), shared, now);
        // As good as a run: whatever failed before is over.
        self.step(Input::RunEnded { job: 0, ok: true }, shared, now);
        self.step(Input::Stop, shared, now);
    }

    fn ready(&mut self, jobs: Vec<Job>, shared: &mut Shared, now: Instant) {
        let names: Vec<String> = jobs.iter().map(|job| format!("{} every {} s", job.class, job.interval)).collect();
        let pid = self.pid().map_or(String::new(), |pid| format!("pid {pid}, "));
        tracing::info!(target: "worker", "{}: started, {pid}{}", self.spec.id, names.join(", "));
        self.output.logs.cli(&format!("{}: loaded {}: {}", self.spec.id, self.spec.script.display(), names.join(", ")));
        let intervals = jobs.iter().map(|job| Duration::try_from_secs_f64(job.interval).unwrap_or_default()).collect();
        for (number, ledger) in self.ledgers.iter_mut().enumerate() {
            ledger.ready(jobs.iter().filter(|job| job.s == number).cloned().collect(), now);
        }
        self.start_took = Some(now.saturating_duration_since(self.spawned_at));
        self.version.ready();
        self.keep(shared);
        self.step(Input::Ready(intervals), shared, now);
    }

    fn run_ended(&mut self, end: &RunEnded, shared: &mut Shared, now: Instant) {
        // A worker may claim any number.
        let number = self.ledgers.iter().position(|ledger| ledger.has(end.i));
        if let Some(number) = number {
            self.count_run(number, end, now);
        }
        self.step(Input::RunEnded { job: end.i, ok: end.ok }, shared, now);
        if let Some(number) = number {
            self.note_state(number, now);
        }
    }

    fn note_state(&mut self, number: usize, now: Instant) {
        let (state, _) = self.state_and_why(&self.ledgers[number], now);
        self.ledgers[number].stands(state, now);
    }

    fn count_run(&mut self, number: usize, end: &RunEnded, now: Instant) {
        let ledger = &mut self.ledgers[number];
        let is_first = ledger.run_ended(end, now);
        let result = if end.ok { "ok" } else { "failed" };
        self.counters.runs.get_or_create(&ByScript { script: ledger.id.clone(), result: result.to_owned() }).inc();
        if !end.ok {
            self.raised(number, end, now);
        } else if is_first {
            let refused = if end.refused > 0 { format!(", {} refused", end.refused) } else { String::new() };
            let points = count(end.points, "point");
            tracing::info!(target: "worker", "{}: first run done in {:.1} ms, {points} kept on disk{refused}", ledger.id, end.ms);
        }
    }

    /// Writes the traceback, the same one at most once a minute.
    fn raised(&mut self, number: usize, end: &RunEnded, now: Instant) {
        let text = end.raised();
        let place = end.places.first().map(|frame| tell_frame(frame, &self.spec));
        let ledger = &mut self.ledgers[number];
        ledger.raised(end, place.clone(), now);
        let at = place.map_or(String::new(), |place| format!(" at {place}"));
        let id = &ledger.id;
        let Some(held_back) = self.repeats.tell(&format!("{id} {text}{at}"), now) else { return };
        let again =
            if held_back > 0 { format!(" ({held_back} times more since it was written last)") } else { String::new() };
        tracing::warn!(target: "worker", "{id}: run raised {text}{at}{again}");
        let entry = format!("{id}: run raised {text}{at}{again}\n{}", end.tb.trim_end());
        self.output.logs.cli(&entry);
        self.output.logs.framework(&self.spec.input, &entry);
    }

    fn refused(&mut self, refused: &Refused, now: Instant) {
        let place = refused
            .caller
            .as_ref()
            .map(|caller| format!("{}:{} in {}", name_of(&caller.file, &self.spec), caller.line, caller.func));
        let answer = Answer::read(&refused.text);
        let Some(Ledger { member, id, .. }) = self.ledgers.get(refused.s) else { return };
        member.refused(refused.points);
        if refused.status == 0 {
            member.report_refused(&format!("{}: not delivered: {}", refused.category, answer.message));
        } else if !answer.names_points {
            member.report_refused(&format!("{}: {}", refused.category, answer.message));
        }
        if let Some(place) = &place {
            member.refused_at(place);
        }
        let at = place.map_or(String::new(), |place| format!(" at {place}"));
        let what =
            if refused.status == 0 { "not delivered".to_owned() } else { format!("answered {}", refused.status) };
        let entry = format!("{id}: {} report{at} {what}: {}", refused.category, answer.message);
        let Some(held_back) = self.repeats.tell(&entry, now) else { return };
        let again =
            if held_back > 0 { format!(" ({held_back} times more since it was written last)") } else { String::new() };
        self.output.logs.framework(&self.spec.input, &format!("{entry}{again}"));
    }

    fn warned(&mut self, warn: &Warn, now: Instant) {
        let at = if warn.line > 0 { format!(" (line {})", warn.line) } else { String::new() };
        let Some(ledger) = self.ledgers.get_mut(warn.s) else { return };
        let short = format!("{}{at}", first_line(&warn.msg));
        ledger.warned(&short);
        let id = &ledger.id;
        if self.repeats.tell(&format!("{id} {} {}", warn.code, warn.msg), now).is_none() {
            return;
        }
        tracing::warn!(target: "worker", "{id}: {}: {short}", warn.code);
        self.output.logs.cli(&format!("{id}: {}: {}{at}", warn.code, warn.msg.trim_end()));
    }

    fn fatal(&mut self, fatal: &Fatal, shared: &mut Shared, now: Instant) {
        self.is_helper = self.only_helps(fatal) && self.class().is_none();
        self.told = (self.is_helper && self.tells()).then(Vec::new);
        self.fatal_of = self.ledgers.get(fatal.s).map(|ledger| ledger.id.clone()).filter(|_| self.ledgers.len() > 1);
        let why = self.why_not_loaded(fatal);
        self.output.logs.cli(&format!("{}: could not be loaded: {why}\n{}", self.spec.id, fatal.tb.trim_end()));
        self.step(Input::Fatal { why, permanent: fatal.permanent }, shared, now);
    }

    /// One of several scripts does not run; the others do.
    fn unloaded(&mut self, fatal: &Fatal, now: Instant) {
        let (only_helps, why) = (self.only_helps(fatal), self.why_not_loaded(fatal));
        let Some(ledger) = self.ledgers.get_mut(fatal.s) else { return };
        let id = &ledger.id;
        if only_helps {
            tracing::info!(target: "worker", "{id}: holds no collector; it is taken for a module that other scripts import");
            ledger.unloaded = Some(Unloaded::Helper);
            self.note_state(fatal.s, now);
            return;
        }
        tracing::error!(target: "worker", "{id}: cannot run: {why}; the other scripts of its input do, and it is tried again when its file changes");
        self.output.logs.cli(&format!("{id}: could not be loaded: {why}\n{}", fatal.tb.trim_end()));
        ledger.unloaded = Some(Unloaded::Fault(why));
        self.note_state(fatal.s, now);
    }

    fn only_helps(&self, fatal: &Fatal) -> bool {
        let of = self.ledgers.get(fatal.s);
        fatal.is_helper() && of.is_some_and(|ledger| ledger.has_siblings && !self.version.is_emptied(&ledger.path))
    }

    fn why_not_loaded(&self, fatal: &Fatal) -> String {
        let script = self.ledgers.get(fatal.s).map_or(&self.spec.script, |ledger| &ledger.path);
        let place = match (&fatal.file, fatal.line) {
            (Some(file), Some(line)) => format!("{}:{line}: ", name_of(file, &self.spec)),
            (Some(file), None) => format!("{}: ", name_of(file, &self.spec)),
            (None, _) => format!("{}: ", name_of(script, &self.spec)),
        };
        let source = fatal.src.as_ref().map_or(String::new(), |src| format!(" | {}", src.trim()));
        let notes = fatal.notes.iter().chain(&fatal.help).fold(String::new(), |text, note| format!("{text}; {note}"));
        let code = if fatal.code.is_empty() { String::new() } else { format!(" [{}]", fatal.code) };
        format!("{place}{}{source}{notes}{code}", what_failed(fatal))
    }

    /// A dump may come in several pieces; that of an earlier incarnation stands until there is a new one.
    pub fn stack(&mut self, text: &str, now: Instant) {
        if let Some(look) = &mut self.look {
            look.take(text, now);
            if self.life.state() != State::Stopping(Step::Dump) {
                // Asked for by a person; it is no evidence of a fault.
                return;
            }
        }
        self.keep_stack(text);
    }

    fn keep_stack(&mut self, text: &str) {
        if self.stack_of != self.incarnation {
            self.stack = None;
            self.stack_of = self.incarnation;
        }
        let stack = self.stack.get_or_insert_default();
        if stack.len() + text.len() <= STACK_BYTES {
            stack.push_str(text);
        }
    }

    /// Has the worker write its stacks for somebody who asked.
    pub fn take_stack(&mut self, answer: oneshot::Sender<LiveStack>, now: Instant) {
        let is_under_way = self.look.is_some();
        let look = self.look.get_or_insert_with(|| Look::new(now));
        look.join(answer);
        match &self.process {
            // Before `hello` the signal would end it: nobody is there yet to take it.
            _ if self.life.state() == State::Spawning => self.end_look("its worker is just being started"),
            None => {
                let why = self.life.failure().map_or(String::new(), |failure| format!(": {}", failure.why));
                self.end_look(&format!("it has no process{why}"));
            }
            Some(process) if !is_under_way => process.leash.signal(Signal::USR2),
            Some(_) => {}
        }
    }

    fn finish_look(&mut self, now: Instant) {
        if self.look.as_ref().is_some_and(|look| look.is_done(now)) {
            let state = self.pid().and_then(process::state);
            self.end_look(&live::silence(state));
        }
    }

    fn end_look(&mut self, why: &str) {
        if let Some(look) = self.look.take() {
            look.answer(self.pid(), Some(why.to_owned()));
        }
    }

    /// The place that the stack of this incarnation shows.
    fn place_of_stack(&self) -> Option<String> {
        let stack = self.stack.as_ref().filter(|_| self.stack_of == self.incarnation)?;
        let suspected = self.life.longest_run().and_then(|(job, _)| self.ledgers.iter().find(|ledger| ledger.has(job)));
        user_frame(stack, &self.spec, suspected.map(|ledger| ledger.path.as_path()))
    }

    // --- the end ---

    pub fn died(&mut self, ended: Ended, left_behind: usize, out_of_memory: bool, shared: &mut Shared, now: Instant) {
        if let Some(look) = self.look.take() {
            // What it wrote last may be of the crash that ended it.
            if matches!(ended, Ended::Killed(_)) && !look.text().is_empty() {
                self.keep_stack(look.text());
            }
            look.answer(self.pid(), Some(live::silence(None)));
        }
        let Some(process) = self.process.take() else { return };
        self.dismiss(&process.token, shared);
        let under_way = self.under_way();
        self.ledgers.iter_mut().for_each(Ledger::ended);
        self.frames_lost += process.frames_missed();
        let known = matches!(self.life.state(), State::Stopping(_));
        let clean = ended == Ended::Exited(0) && self.life.state() != State::Spawning;
        let mut why = ended.tell();
        if self.life.state() == State::Spawning {
            why.push_str(&format!(" before it said anything; is `{}` a Python 3?", self.spec.cmd));
            if let Some((_, home)) = self.spec.envs.iter().rev().find(|(key, _)| key == "PYTHONHOME") {
                why.push_str(&format!(" And is PYTHONHOME=`{home}` its home?"));
            }
        }
        let place = self.place_of_stack().filter(|_| matches!(ended, Ended::Killed(_)));
        if let Some(place) = &place {
            why.push_str(&format!(" at {place}"));
        }
        // A program that the script started may have been the one; then the script lived on and ended for another reason.
        let out_of_memory = out_of_memory && !known && ended == Ended::Killed(Signal::KILL.as_raw());
        if out_of_memory {
            why.push_str(&match self.spec.memory_max {
                Some(max) => format!(": it used more than its memory_max, {} MiB", max >> 20),
                None => ": the machine had no memory left".to_owned(),
            });
        }
        if self.life.state() == State::Loading {
            let script = self.ledgers.get(self.loading).filter(|_| self.ledgers.len() > 1);
            let what = script.map_or("it", |ledger| &ledger.id);
            why.push_str(&format!(" while {what} was loaded"));
        } else if !known && place.is_none() && !under_way.is_empty() {
            why.push_str(&format!("; in a run then: {}", under_way.join(", ")));
        }
        if let Some(words) = self.output.last_word() {
            why.push_str(&format!("; its last words: {words}"));
        }
        if let Some(why) = self.life.recycles_because() {
            self.recycled = (self.recycled.0 + 1, Some(why.to_owned()));
        }
        self.count_end(match ended {
            _ if self.life.ends_because() == Some(Fault::Hung) => "hung",
            _ if self.life.recycles_because().is_some() => "recycled",
            _ if known => "stopped",
            _ if out_of_memory => "oom",
            Ended::Exited(_) => "exited",
            Ended::Killed(_) => "killed",
        });
        if left_behind > 0 {
            tracing::info!(target: "worker", "{}: {}", self.spec.id, tell_ended(left_behind));
        }
        if self.life.ends_because().is_none()
            && matches!(ended, Ended::Killed(_))
            && let Some(stack) = self.stack.as_ref().filter(|_| self.stack_of == self.incarnation)
        {
            self.output.logs.cli(&format!("{}: {why}\n{}", self.spec.id, stack.trim_end()));
        }
        self.step(Input::Exited { why, clean }, shared, now);
        self.fall_back(shared, now);
    }

    /// The collectors of several scripts that are in a run: one of them is the reason when the process hangs or ends.
    fn under_way(&self) -> Vec<String> {
        if self.ledgers.len() < 2 {
            return Vec::new();
        }
        let name = |job: usize| {
            let ledger = self.ledgers.iter().find(|ledger| ledger.has(job))?;
            Some(format!("{} ({})", ledger.id, ledger.class(job).unwrap_or_default()))
        };
        self.life.runs_under_way().filter_map(|(job, _)| name(job)).collect()
    }

    /// A version on disk that cannot be loaded leaves the last good one its place.
    fn fall_back(&mut self, shared: &mut Shared, now: Instant) {
        let waits = matches!(self.life.state(), State::Backoff | State::Blocked | State::Tripped);
        let why = self.why().unwrap_or_default();
        if waits && !self.is_helper && self.version.falls_back(&self.spec, self.fatal_of.take(), &why) {
            tracing::warn!(target: "worker", "{}: its last good version is started instead", self.spec.id);
            self.output.logs.cli(&format!("{}: its last good version is started instead", self.spec.id));
            self.step(Input::Changed, shared, now);
        }
    }

    fn count_end(&self, result: &str) {
        self.counters
            .worker_ends
            .get_or_create(&ByScript { script: self.spec.id.clone(), result: result.to_owned() })
            .inc();
    }

    /// Looks whether the file of a script that cannot run has changed.
    pub fn look_at_file(&mut self, events: &mpsc::Sender<Event>) {
        let waits = matches!(self.life.state(), State::Backoff | State::Blocked | State::Tripped | State::Ended);
        if !waits || std::mem::replace(&mut self.looking, true) {
            return;
        }
        let (script, spec, events) = (self.index, self.spec.clone(), events.clone());
        tokio::task::spawn_blocking(move || {
            // The loop may have ended meanwhile.
            let _ = events.blocking_send(Event::FileLooked { script, file: super::stamp(&spec) });
        });
    }

    /// Looks whether its worker is larger than it may be, where no cgroup does.
    pub fn weigh(&mut self, shared: &mut Shared, now: Instant) {
        let (Some(max), Some(process)) = (self.spec.memory_max, &self.process) else { return };
        if process.leash.group().is_some_and(|group| group.keeps_memory) {
            return;
        }
        let pid = process.leash.pid;
        if self.weighed.is_some_and(|last| now.saturating_duration_since(last) < shared.settings.limits.weigh) {
            return;
        }
        self.weighed = Some(now);
        if let Some(used) = process::memory(pid).filter(|used| *used > max) {
            let why = format!("memory_max: it used {} MiB of {} MiB", used >> 20, max >> 20);
            self.step(Input::TooLarge { why }, shared, now);
        }
    }

    pub fn file_looked(&mut self, stamp: Option<Stamp>, shared: &mut Shared, now: Instant) {
        self.looking = false;
        if stamp.is_some() && stamp != self.file {
            tracing::info!(target: "worker", "{}: its file changed, so it is tried at once", self.spec.id);
            self.file = stamp;
            self.step(Input::Changed, shared, now);
        }
    }

    /// Says each change of state that a person wants to know, once.
    fn tell_change(&mut self, before: State) {
        let from_dump = before == State::Stopping(Step::Dump) && self.life.state() != before;
        if from_dump && let Some(place) = self.place_of_stack() {
            let under_way = self.under_way();
            let also =
                if under_way.len() > 1 { format!("; in a run then: {}", under_way.join(", ")) } else { String::new() };
            self.life.explain(&format!(", at {place}{also}"));
        }
        if self.has_told() && !self.leaves && matches!(self.life.state(), State::Stopping(Step::Ask) | State::Stopped) {
            // That was all it had to do.
            return;
        }
        let id = &self.spec.id;
        let why = self.why().unwrap_or_default();
        let soon = self.life.next().map_or(String::new(), |next| {
            format!("; {} in {:.1} s", next.what, next.at.saturating_duration_since(Instant::now()).as_secs_f64())
        });
        match self.life.state() {
            State::Overdue => tracing::warn!(target: "worker", "{id}: {}", self.overdue(Instant::now())),
            State::Stopping(Step::Dump) => {
                tracing::error!(target: "worker", "{id}: {why}; its stack is written, then it is ended")
            }
            State::Stopping(Step::Ask) if from_dump => {
                let stack = self.stack.as_deref().filter(|_| self.stack_of == self.incarnation);
                let stack = stack.unwrap_or("no stack could be had");
                self.output.logs.cli(&format!("{id}: {why}\n{}", stack.trim_end()));
            }
            State::Stopping(Step::Ask) if self.life.recycles_because().is_some() => {
                let why = self.life.recycles_because().unwrap_or_default();
                tracing::info!(target: "worker", "{id}: is replaced: {why}");
            }
            State::Stopping(Step::Term) => {
                tracing::warn!(target: "worker", "{id}: did not stop when asked; TERM to its group")
            }
            State::Stopping(Step::Kill) => tracing::warn!(target: "worker", "{id}: KILL to all it has started"),
            State::Backoff | State::Tripped => {
                tracing::error!(target: "worker", "{id}: {why}{soon}");
                self.output.logs.cli(&format!("{id}: {why}{soon}"));
            }
            State::Blocked if self.is_helper => {
                tracing::info!(target: "worker", "{id}: holds no collector; it is taken for a module that other scripts import")
            }
            State::Blocked => {
                tracing::error!(target: "worker", "{id}: cannot run: {why}; tried again when its file changes")
            }
            State::Unkillable => {
                tracing::error!(target: "worker", "{id}: does not end even with KILL; no new copy is started while it lives")
            }
            State::Ended if why.is_empty() => {
                tracing::info!(target: "worker", "{id}: has ended and is not started again")
            }
            State::Ended => {
                tracing::error!(target: "worker", "{id}: {why}");
                self.output.logs.cli(&format!("{id}: {why}"));
            }
            State::Stopped => tracing::info!(target: "worker", "{id}: stopped"),
            State::Idle if before == State::Overdue => tracing::info!(target: "worker", "{id}: its long run has ended"),
            State::Stopping(Step::Ask) => tracing::info!(target: "worker", "{id}: asked to stop"),
            State::Waiting | State::Spawning | State::Loading | State::Idle | State::Running => {
                tracing::debug!(target: "worker", "{id}: {:?}", self.life.state());
            }
        }
    }

    // --- the view ---

    fn why(&self) -> Option<String> {
        self.life.failure().map(|failure| failure.why.clone())
    }

    /// One view for each of its scripts.
    pub fn views(&self, now: Instant) -> impl Iterator<Item = WorkerView> {
        self.ledgers.iter().map(move |ledger| self.view(ledger, now))
    }

    fn view(&self, ledger: &Ledger, now: Instant) -> WorkerView {
        let (state, why) = self.state_and_why(ledger, now);
        let refused = self.version.trouble(&ledger.id);
        let why = match (why, &refused) {
            (Some(why), Some(refused)) => Some(format!("{why}; {refused}")),
            (why, refused) => why.or(refused.clone()),
        };
        WorkerView {
            id: ledger.id.clone(),
            input: self.spec.input.clone(),
            script: ledger.path.clone(),
            shares_process: matches!(self.spec.collectors, Collectors::Several(_)),
            state,
            since: ledger.stands_since(state).unwrap_or_else(|| self.life.since()),
            why,
            refused,
            next: self.next(ledger),
            pid: self.pid(),
            restarts: self.life.restarts(),
            runs_ok: ledger.runs_ok,
            runs_failed: ledger.runs_failed,
            skipped_ticks: ledger.skipped_ticks,
            last_run: ledger.last_run,
            jobs: ledger.job_views(),
            points_accepted: ledger.member.points_accepted(),
            points_refused: ledger.member.points_refused(),
            last_refusal: ledger.member.last_refusal(),
            last_error: ledger.last_error.clone(),
            warnings: ledger.warnings.clone(),
            last_words: self.output.last_words(),
            stack: self.stack.clone(),
            output_dropped: self.output.dropped(),
            frames_lost: self.frames_lost + self.process.as_ref().map_or(0, Incarnation::frames_missed),
            memory: self.pid().and_then(process::memory),
            recycled: self.recycled.clone(),
            way: self.way.clone().filter(|_| self.process.is_some()),
            start_took: self.start_took,
        }
    }

    fn next(&self, ledger: &Ledger) -> Option<(&'static str, Instant)> {
        if self.is_helper || ledger.unloaded == Some(Unloaded::Helper) {
            return None;
        }
        if let Some(next) = self.life.next() {
            return Some((next.what, next.at));
        }
        ledger.next_run().map(|at| ("run", at)).filter(|_| self.life.has_process())
    }

    fn state_and_why(&self, ledger: &Ledger, now: Instant) -> (&'static str, Option<String>) {
        if ledger.unloaded.is_some() {
            return ledger.state(None, 0);
        }
        let failure = self.life.failure();
        let state = match (self.life.state(), failure.map(|failure| failure.fault)) {
            (State::Waiting | State::Spawning | State::Loading, _) => "starting",
            (State::Stopping(_) | State::Stopped, None) if self.has_told() && !self.leaves => "ok",
            (State::Stopping(_) | State::Backoff | State::Tripped, Some(Fault::Hung)) => "hung",
            (State::Stopping(_), _) => "stopping",
            (State::Blocked, _) if self.is_helper => return ("helper", None),
            (State::Blocked, _) | (State::Backoff | State::Tripped, Some(Fault::NotLoaded)) => "load-error",
            (State::Backoff | State::Tripped, _) => "crashed",
            (State::Unkillable, _) => "unkillable",
            (State::Ended, None) => "ended",
            (State::Ended, Some(Fault::NotLoaded)) => "load-error",
            (State::Ended, Some(Fault::Hung)) => "hung",
            (State::Ended, Some(_)) => "crashed",
            (State::Stopped, _) => "stopped",
            (State::Overdue, _) if self.is_late(ledger) => return ("running", Some(self.overdue(now))),
            (State::Idle | State::Running | State::Overdue, _) => {
                return ledger.state(failure.map(|failure| failure.why.clone()), self.output.dropped());
            }
        };
        (state, self.why())
    }

    /// Says whether the run that lasts longest is one of this script; without a run under way all wait for one.
    fn is_late(&self, ledger: &Ledger) -> bool {
        self.life.longest_run().is_none_or(|(job, _)| ledger.has(job))
    }

    fn overdue(&self, now: Instant) -> String {
        let lasts = |since: Instant| now.saturating_duration_since(since).as_secs();
        match self.life.longest_run() {
            Some((_, began)) => format!("its run has been going on for {} s, longer than its interval", lasts(began)),
            None => format!("no run has begun for {} s", lasts(self.life.last_activity())),
        }
    }
}

/// Puts a new worker into its cgroup and notes that it holds the lock, before it is told its script.
async fn bind(mut process: Process, incarnation: u64, lock: Option<Arc<Lock>>, group: Option<Group>) -> Process {
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

fn told_with_cause(error: &(dyn std::error::Error + 'static)) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn limits(spec: &WorkerSpec, shared: &Shared) -> Limits {
    Limits {
        run_timeout: spec.run_timeout,
        stop_grace: spec.stop_grace,
        restart: spec.restart,
        max_age: spec.max_age,
        max_runs: spec.max_runs,
        ..shared.settings.limits.clone()
    }
}

/// The other end is closed: the process ends by itself, and its end says more.
fn has_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected)
}

fn tell_ended(left_behind: usize) -> String {
    let (noun, verb) = if left_behind == 1 { ("process", "was") } else { ("processes", "were") };
    format!("{left_behind} {noun} that it left behind {verb} ended")
}

/// A refusing answer, as far as it is to be told.
struct Answer {
    message: String,
    /// Each point was refused for a reason of its own, which ingest has noted.
    names_points: bool,
}

impl Answer {
    fn read(text: &str) -> Self {
        let json: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        Self {
            message: json["message"].as_str().unwrap_or(text).trim_end().to_owned(),
            names_points: json["refused"].is_array(),
        }
    }
}

/// What a person calls the failure: a missing module by its name.
fn what_failed(fatal: &Fatal) -> String {
    let raised = fatal.raised();
    match fatal.code.as_str() {
        "PD0201" => format!("syntax error: {}", fatal.msg),
        "PD0204" | "PD0103" | "PD0106" | "PD0702" | "PD0705" => fatal.msg.clone(),
        _ => raised,
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn tell_frame(frame: &Frame, spec: &WorkerSpec) -> String {
    format!("{}:{} in {}", name_of(&frame.file, spec), frame.line, frame.func)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_that_was_left_behind_is_told_in_the_singular() {
        assert_eq!(tell_ended(1), "1 process that it left behind was ended");
        assert_eq!(tell_ended(57), "57 processes that it left behind were ended");
    }
}
