//! What a reload does to a worker: another version, other settings, a refusal, the end; and how each of these has come out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::events::{ChangeOutcome, LoopEvent};
use super::incarnation::Output;
use super::listing::UnitListing;
use super::plan::{RefusedVersion, Runs, WantedUnit};
use super::shared::{SupervisorShared, limits};
use super::standing::Settled;
use super::unit::{Unit, Unloaded};
use super::version;
use super::worker::Worker;
use crate::worker::lastgood::GoodVersion;
use crate::worker::life::LifeInput;
use crate::worker::{UnitSpec, WorkerSpec};

impl Worker {
    /// What runs, or is about to.
    pub fn runs(&self) -> Runs {
        let refusal = self.version.refusal.clone();
        let state = self.facts().run_state();
        let lives_in = self.version.lives_in.clone().filter(|_| self.life.has_process()).into_iter().collect();
        let failed = |unit: &&Unit| matches!(unit.unloaded, Some(Unloaded::Fault(_)));
        let unloaded = self.units.iter().filter(failed).map(|unit| unit.id.clone()).collect();
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

    /// Starts another version once the worker of this one has ended its run.
    pub fn replace(&mut self, wanted: WantedUnit, shared: &mut SupervisorShared, now: Instant) {
        self.leaves = false;
        self.version.refusal = None;
        self.version.next = Some(wanted);
        self.step(LifeInput::Restart, shared, now);
    }

    /// Starts the version on disk, also one that was refused before.
    pub fn restart(&mut self, shared: &mut SupervisorShared, now: Instant) {
        self.version.refusal = None;
        self.step(LifeInput::Restart, shared, now);
    }

    /// Applies settings that do not require a restart.
    pub fn update(&mut self, wanted: WantedUnit, shared: &SupervisorShared) {
        self.version.refusal = None;
        match &mut self.version.next {
            Some(next) => *next = wanted,
            None => self.apply_settings(wanted, shared),
        }
    }

    /// Notes a version that is not run.
    pub fn refuse(&mut self, refusal: RefusedVersion) {
        let id = &self.spec.id;
        self.output.logs.cli(&format!("{id}: its new version is refused, the one before runs on: {}", refusal.why));
        self.version.refusal = Some(refusal);
    }

    /// What it has told, once it is gone.
    pub fn take_listing(&mut self) -> Option<UnitListing> {
        // Asked after every event, and nearly always for nothing.
        if self.told.is_none() || self.version.next.is_some() || !self.standing().has_listed() {
            return None;
        }
        let is_of_kept = self.version.runs_kept().is_some();
        let before = self.version.told_before();
        let before = before.iter().map(|told| self.spec.of_told(told.units.clone(), &told.process)).collect();
        Some(UnitListing { units: self.told.take()?, before, faulty: std::mem::take(&mut self.faulty), is_of_kept })
    }

    /// What a worker of units that it told is to be.
    pub fn wanted_of(&self, spec: WorkerSpec) -> WantedUnit {
        WantedUnit {
            spec,
            home: self.version.home.clone(),
            interpreter: self.version.interpreter(),
            now: self.version.print(),
        }
    }

    /// It leaves, and something of it still runs: a unit that takes its place has to wait.
    pub fn is_in_the_way_of(&self, other: &Self) -> bool {
        // What it will be: its new settings apply from its start on.
        let coming = other.version.next.as_ref().map_or(&other.spec, |next| &next.spec);
        let own = |unit: &UnitSpec| self.spec.units.iter().any(|own| own.id == unit.id);
        let are_told = self.spec.told_by().is_some() && coming.told_by().is_some();
        let runs_another = coming.lists() || are_told && !coming.units.iter().any(own);
        let shares = || coming.units.iter().any(|unit| self.units.iter().any(|own| own.path == unit.file));
        self.leaves
            && self.index != other.index
            && self.life.has_process()
            // Another input may run the same unit, and goes on while this one ends.
            && (self.spec.input == coming.input || other.incarnation == 0)
            && !runs_another
            && shares()
    }

    /// Ends for good, all steps within `patience`.
    pub fn leave(&mut self, patience: Duration, shared: &mut SupervisorShared, now: Instant) {
        self.leaves = true;
        self.version.next = None;
        self.hurry(patience, now);
        self.step(LifeInput::Stop, shared, now);
    }

    pub fn has_left(&self) -> bool {
        self.leaves && self.life.is_stopped()
    }

    pub(super) fn apply_settings(&mut self, wanted: WantedUnit, shared: &SupervisorShared) {
        let WantedUnit { spec, home, .. } = wanted;
        if spec.input != self.spec.input {
            self.member = self.member.renamed(&spec);
            let (logs, counters) = (shared.logs.clone(), shared.counters.clone());
            self.output = Output::new(&spec.id, &spec.input, Arc::clone(&self.member), logs, counters);
        }
        self.member.set_tags(&spec.tags);
        self.units = Unit::of_all(&spec, &self.member, std::mem::take(&mut self.units));
        self.life.set_limits(limits(&spec, shared));
        self.version.home = home;
        self.spec = spec;
    }

    /// Tells the end of the change under way.
    pub fn settles(&mut self, who: oneshot::Sender<ChangeOutcome>) {
        self.settling.push(who);
    }

    /// Tells those who wait, if there is something to tell.
    pub fn settle(&mut self) {
        if self.settling.is_empty() {
            return;
        }
        let Some(outcome) = self.outcome() else { return };
        for who in self.settling.drain(..) {
            // Whoever asked may have stopped waiting.
            let _ = who.send(outcome.clone());
        }
    }

    /// How the change under way has ended; `None` while it has not.
    fn outcome(&self) -> Option<ChangeOutcome> {
        let settled = self.standing().settled()?;
        if self.version.next.is_some() && settled != Settled::Unkillable {
            return None;
        }
        Some(match settled {
            Settled::Runs => match &self.version.refusal {
                Some(refusal) => ChangeOutcome::Fails { why: refusal.why.clone() },
                None => self.runs_with_or_without(),
            },
            Settled::Lists => ChangeOutcome::Runs { pid: None },
            Settled::Helps => ChangeOutcome::Helps,
            Settled::Fails => ChangeOutcome::Fails { why: self.why().unwrap_or_default() },
            Settled::Unkillable => {
                ChangeOutcome::Fails { why: "its old worker does not end even with KILL".to_owned() }
            }
            Settled::Stopped => ChangeOutcome::Stopped,
        })
    }

    fn runs_with_or_without(&self) -> ChangeOutcome {
        let fault = |unit: &Unit| match &unit.unloaded {
            Some(Unloaded::Fault(why)) => Some(format!("{} cannot run: {why}", unit.id)),
            Some(Unloaded::Passive) | None => None,
        };
        let faults: Vec<String> = self.units.iter().filter_map(fault).collect();
        let pid = self.pid();
        if faults.is_empty() {
            ChangeOutcome::Runs { pid }
        } else {
            ChangeOutcome::RunsWithout { pid, why: faults.join("; ") }
        }
    }

    /// The files that its worker has loaded were kept.
    pub fn kept(&mut self, kept: Result<GoodVersion, String>) {
        match kept {
            Ok(kept) => self.version.kept(kept),
            Err(why) => {
                tracing::warn!(target: "worker", "{}: could not keep its version as the last good one: {why}", self.spec.id)
            }
        }
    }

    pub(super) fn keep(&self, shared: &SupervisorShared) {
        let Some(loaded) = self.version.to_keep() else { return };
        let (worker, incarnation, events) = (self.index, self.incarnation, shared.events.clone());
        let (spec, last_good) = (self.spec.clone(), shared.settings.last_good.clone());
        let unloaded = self.units.iter().filter(|unit| unit.unloaded.is_some());
        let unloaded: Vec<PathBuf> = unloaded.map(|unit| unit.path.clone()).collect();
        tokio::task::spawn_blocking(move || {
            let kept = version::keep(&last_good, &spec, &loaded, &unloaded);
            // The loop may have ended meanwhile.
            let _ = events.blocking_send(LoopEvent::Kept { worker, incarnation, kept });
        });
    }
}
