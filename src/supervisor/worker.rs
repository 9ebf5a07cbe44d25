//! One worker's record: its life and its process. What its units have done stands in `unit`.
//!
//! The record outlives the process: it is started (`starting`), heard (`frames`), changed (`changes`), ended (`ending`), announced
//! (`announce`) and shown (`views`), each in a file of its own. How it is at any moment says `standing`, and nothing else does.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::basics::{FileStamp, stamp};
use super::events::{ChangeOutcome, LoopEvent};
use super::incarnation::{Incarnation, Output};
use super::inquiry::Inquiry;
use super::live::StackLook;
use super::plan::WantedUnit;
use super::repeats::Repeats;
use super::shared::{SupervisorShared, limits};
use super::standing::{Standing, StandingFacts};
use super::unit::Unit;
use super::version::ScriptVersion;
use crate::telemetry::counters::Counters;
use crate::worker::WorkerSpec;
use crate::worker::frames::{Down, ToldUnit};
use crate::worker::life::{Life, LifeAction, LifeInput};
use crate::worker::process::{self, Signal, Way};
use crate::worker::roster::Member;

pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) spec: WorkerSpec,
    pub(super) life: Life,
    pub(super) version: ScriptVersion,
    /// It is no longer wanted.
    pub(super) leaves: bool,
    /// Who waits for the end of a change.
    pub(super) settling: Vec<oneshot::Sender<ChangeOutcome>>,
    /// The process; the same as that of its unit, if that is the only one.
    pub(super) member: Arc<Member>,
    /// One for each of its units.
    pub(super) units: Vec<Unit>,
    /// The tokens of the units that share the process.
    pub(super) tokens: Vec<String>,
    pub(super) output: Output,
    pub(super) incarnation: u64,
    pub(super) process: Option<Incarnation>,
    /// A token that was handed out for a start under way.
    pub(super) pending_token: Option<String>,
    /// The files in which its lister has found a mistake.
    pub(super) faulty: BTreeSet<PathBuf>,
    /// The units that it has told so far.
    pub(super) telling: Vec<ToldUnit>,
    /// The unit that is being loaded, of several.
    pub(super) loading: usize,
    /// The unit because of which the worker could not be loaded, of several.
    pub(super) fatal_of: Option<String>,
    /// The units that it told, to be followed once the process is gone.
    pub(super) told: Option<Vec<ToldUnit>>,
    /// The units that it told last and that are off: they have no worker.
    pub(super) off: Vec<ToldUnit>,
    pub(super) repeats: Repeats,
    pub(super) stack: Option<String>,
    /// The incarnation that wrote the stack.
    pub(super) stack_of: u64,
    /// Somebody asked for the stacks of the live worker.
    pub(super) look: Option<StackLook>,
    /// Somebody asked what units run against, one for each unit; and how often that was.
    pub(super) inquiries: Vec<Inquiry>,
    pub(super) asked: u64,
    /// Frames that could not be read, or were dropped by the worker.
    pub(super) frames_lost: u64,
    /// How the last worker came to be.
    pub(super) way: Option<Way>,
    pub(super) spawned_at: Instant,
    pub(super) start_took: Option<Duration>,
    /// What `cmd` was at the last start.
    pub(super) program: PathBuf,
    pub(super) file: Option<FileStamp>,
    /// Why it waits for others to end.
    pub(super) no_room: Option<String>,
    /// It has no collector and was not meant to have one.
    pub(super) is_passive: bool,
    /// A look at the file is under way.
    pub(super) looking: bool,
    pub(super) weighed: Option<Instant>,
    /// How often its worker was replaced although nothing was wrong, and why it was the last time.
    pub(super) recycled: (u64, Option<String>),
    pub(super) counters: Counters,
}

impl Worker {
    pub fn new(index: usize, wanted: WantedUnit, shared: &SupervisorShared, now: Instant) -> Self {
        let WantedUnit { spec, home, .. } = wanted;
        let (logs, counters) = (&shared.logs, &shared.counters);
        let member = Member::new(&spec);
        let output = Output::new(&spec.id, &spec.input, Arc::clone(&member), logs.clone(), counters.clone());
        let seed = u64::from(crc32c::crc32c(spec.id.as_bytes())) + 1;
        Self {
            index,
            life: Life::new(limits(&spec, shared), seed, now),
            version: ScriptVersion::in_home(home),
            leaves: false,
            settling: Vec::new(),
            units: Unit::of_all(&spec, &member, Vec::new()),
            tokens: Vec::new(),
            member,
            output,
            spec,
            incarnation: 0,
            process: None,
            pending_token: None,
            faulty: BTreeSet::new(),
            telling: Vec::new(),
            loading: 0,
            fatal_of: None,
            told: None,
            off: Vec::new(),
            repeats: Repeats::default(),
            stack: None,
            stack_of: 0,
            look: None,
            inquiries: Vec::new(),
            asked: 0,
            frames_lost: 0,
            way: None,
            spawned_at: now,
            start_took: None,
            program: PathBuf::new(),
            file: None,
            no_room: None,
            is_passive: false,
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
    pub fn step(&mut self, input: LifeInput, shared: &mut SupervisorShared, now: Instant) {
        if input == LifeInput::Tick {
            let members = self.units.iter().map(|unit| &unit.member);
            let seen = members.fold(self.member.last_activity(), |seen, member| seen.max(member.last_activity()));
            self.life.step(seen.min(now), LifeInput::Activity);
            self.finish_look(now);
            self.finish_inquiries(now);
        }
        let before = self.facts();
        for order in self.life.step(now, input) {
            self.carry_out(order, shared);
        }
        let after = self.facts();
        // Most steps change nothing.
        if after != before && Standing::of(&after) != Standing::of(&before) {
            self.announce(Standing::of(&before));
        }
    }

    /// How it is now.
    pub fn standing(&self) -> Standing {
        Standing::of(&self.facts())
    }

    pub fn facts(&self) -> StandingFacts {
        StandingFacts {
            life: self.life.state(),
            fault: self.life.failure().map(|failure| failure.fault),
            is_ready: self.version.is_ready,
            has_next: self.version.next.is_some(),
            leaves: self.leaves,
            lists: self.lists(),
            is_passive: self.is_passive,
            rests: self.life.goes_to_rest(),
        }
    }

    pub fn why(&self) -> Option<String> {
        self.life.failure().map(|failure| failure.why.clone())
    }

    pub(super) fn carry_out(&mut self, order: LifeAction, shared: &mut SupervisorShared) {
        match order {
            LifeAction::Spawn => self.spawn(shared),
            LifeAction::Dump => {
                if let Some(process) = &self.process {
                    process.leash.signal(Signal::USR2);
                }
            }
            LifeAction::Ask(grace) => self.ask(grace),
            LifeAction::Terminate => {
                if let Some(process) = &self.process {
                    process.leash.signal_group(Signal::TERM);
                }
            }
            LifeAction::Kill => {
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
        let finish = self.life.recycles_because().is_some();
        if process.send(&Down::Stop { grace_ms, finish }).is_err() {
            process.leash.signal(Signal::TERM);
        }
    }

    /// Shortens the steps of its stop.
    pub fn hurry(&mut self, within: Duration, now: Instant) {
        self.life.hurry(within, now);
    }

    /// Kills its process, where it has one, in a stop that nobody wants to wait for.
    pub fn end_now(&mut self, shared: &mut SupervisorShared) {
        if self.life.is_stopping() {
            self.carry_out(LifeAction::Kill, shared);
        }
    }

    /// Says whether it, or one of its units, has this name.
    pub fn is_called(&self, id: &str) -> bool {
        self.spec.id == id || self.units.iter().any(|unit| unit.id == id)
    }

    pub fn leaves(&self) -> bool {
        self.leaves
    }

    /// It only tells the units of others.
    pub fn lists(&self) -> bool {
        self.spec.lists()
    }

    /// It has told them, and has no process to come.
    pub fn has_listed(&self) -> bool {
        self.lists() && self.version.is_ready
    }

    /// Has all jobs of the unit with this name run now, or the worker started where there is none.
    pub fn run_now(&mut self, id: &str, shared: &mut SupervisorShared, now: Instant) {
        let asked = self.units.iter().filter(|unit| unit.id == id || self.spec.id == id);
        for job in asked.flat_map(|unit| unit.jobs.numbers()) {
            if let Some(process) = &self.process
                && let Err(error) = process.send(&Down::RunNow { i: job })
            {
                tracing::warn!(target: "worker", "{}: could not be asked to run: {error}", self.spec.id);
            }
        }
        self.step(LifeInput::Changed, shared, now);
    }

    /// Has all jobs that wait for their check make it now, or the worker started where there is none.
    pub fn recheck(&mut self, shared: &mut SupervisorShared, now: Instant) {
        if let Some(process) = &self.process
            && let Err(error) = process.send(&Down::Recheck)
        {
            tracing::warn!(target: "worker", "{}: could not be asked to check: {error}", self.spec.id);
        }
        self.step(LifeInput::Changed, shared, now);
    }

    /// Looks whether the file of a unit that cannot run has changed.
    pub fn look_at_file(&mut self, events: &mpsc::Sender<LoopEvent>) {
        if !self.standing().waits_for_change() || std::mem::replace(&mut self.looking, true) {
            return;
        }
        let (worker, spec, events) = (self.index, self.spec.clone(), events.clone());
        tokio::task::spawn_blocking(move || {
            // The loop may have ended meanwhile.
            let _ = events.blocking_send(LoopEvent::FileLooked { worker, file: stamp(&spec) });
        });
    }

    /// Looks whether its worker is larger than it may be, where no cgroup does.
    pub fn weigh(&mut self, shared: &mut SupervisorShared, now: Instant) {
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
            self.step(LifeInput::TooLarge { why }, shared, now);
        }
    }

    pub fn file_looked(&mut self, stamp: Option<FileStamp>, shared: &mut SupervisorShared, now: Instant) {
        self.looking = false;
        if stamp.is_some() && stamp != self.file {
            tracing::info!(target: "worker", "{}: its file changed, trying it at once", self.spec.id);
            self.file = stamp;
            self.step(LifeInput::Changed, shared, now);
        }
    }
}
