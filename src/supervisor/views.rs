//! What is shown of a worker's units.

use std::time::Instant;

use super::incarnation::Incarnation;
use super::standing::{Standing, UnitState};
use super::unit::{Unit, Unloaded};
use super::view::{Coming, UnitSnapshot};
use super::worker::Worker;
use crate::worker::frames::ToldUnit;
use crate::worker::process;

impl Worker {
    /// One view for each of its units.
    pub fn views(&self, now: Instant) -> impl Iterator<Item = UnitSnapshot> {
        self.units.iter().map(move |unit| self.view(unit, now))
    }

    /// The units of its listing that are off, each with the place that says so.
    pub fn views_of_off(&self) -> impl Iterator<Item = UnitSnapshot> {
        let view = |told: &ToldUnit| {
            let why = Some(told.off.clone());
            let since = self.life.since();
            UnitSnapshot {
                why,
                ..UnitSnapshot::without_worker(told.clone().into_unit(), &self.spec, UnitState::Off, since)
            }
        };
        self.off.iter().filter(|_| self.lists()).map(view)
    }

    fn view(&self, unit: &Unit, now: Instant) -> UnitSnapshot {
        let (state, why) = self.state_and_why(unit, now);
        let refused = self.version.trouble(&unit.id);
        let why = match (why, &refused) {
            (Some(why), Some(refused)) => Some(format!("{why}; {refused}")),
            (why, refused) => why.or(refused.clone()),
        };
        UnitSnapshot {
            id: unit.id.clone(),
            title: unit.title.clone(),
            input: self.spec.input.clone(),
            dialect: self.spec.dialect,
            file: unit.path.clone(),
            line: unit.line,
            quiet: unit.quiet,
            shares_process: self.spec.shares,
            state,
            since: unit.stands_since(state).unwrap_or_else(|| self.life.since()),
            why,
            refused,
            next: self.next(unit),
            pid: self.pid(),
            restarts: self.life.restarts(),
            runs_ok: unit.runs_ok,
            runs_failed: unit.runs_failed,
            skipped_ticks: unit.skipped_ticks,
            last_run: unit.last_run,
            jobs: unit.jobs.views(),
            points_accepted: unit.member.points_accepted(),
            points_refused: unit.member.points_refused(),
            last_refusal: unit.member.last_refusal(),
            last_error: unit.last_error.clone(),
            warnings: unit.warnings.iter().map(|warning| warning.text.clone()).collect(),
            more_warnings: unit.more_warnings,
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

    fn next(&self, unit: &Unit) -> Option<Coming> {
        let of_jobs = || unit.jobs.next().map(|(what, at)| Coming::at(what, at));
        if self.is_passive || unit.unloaded == Some(Unloaded::Passive) {
            return None;
        }
        if self.life.goes_to_rest() {
            return of_jobs();
        }
        if self.life.next().is_some() {
            return self.coming();
        }
        if unit.unloaded.is_some() {
            return Some(Coming { what: "next try", at: None, at_change: true });
        }
        of_jobs().filter(|_| self.life.has_process())
    }

    /// What comes next of the worker; the log says it as the status does.
    pub(super) fn coming(&self) -> Option<Coming> {
        let next = self.life.next()?;
        let at_change = matches!(self.standing(), Standing::Blocked | Standing::Retrying { is_open: true, .. });
        Some(Coming { at_change, ..Coming::at(next.what, next.at) })
    }

    /// The state of one of its units, and what happened in plain words.
    pub(super) fn state_and_why(&self, unit: &Unit, now: Instant) -> (UnitState, Option<String>) {
        let standing = self.standing();
        match standing.of_units() {
            _ if unit.unloaded.is_some() => unit.state(None, 0),
            Some(UnitState::Helper) => (UnitState::Helper, None),
            // A lister that has told.
            Some(UnitState::Ok) => (UnitState::Ok, unit.loss()),
            Some(UnitState::Waiting) => (UnitState::Waiting, unit.waits.clone()),
            // It comes back for its check and waits still, as far as is known.
            Some(UnitState::Starting) if unit.waits.is_some() => (UnitState::Waiting, unit.waits.clone()),
            Some(UnitState::Starting) if self.no_room.is_some() => (UnitState::Starting, self.no_room.clone()),
            Some(state) => (state, self.why()),
            None if standing == Standing::Overdue && self.is_late(unit) => {
                (UnitState::Running, Some(self.overdue(now)))
            }
            None => unit.state(self.why(), self.output.dropped()),
        }
    }

    /// Says whether the run that lasts longest is one of this unit; without a run under way all wait for one.
    fn is_late(&self, unit: &Unit) -> bool {
        self.life.longest_run().is_none_or(|(job, _)| unit.jobs.has(job))
    }

    pub(super) fn overdue(&self, now: Instant) -> String {
        let lasts = |since: Instant| now.saturating_duration_since(since).as_secs();
        match self.life.longest_run() {
            Some((_, began)) => format!("its run has been going on for {} s, longer than its interval", lasts(began)),
            None => format!("no run has begun for {} s", lasts(self.life.last_activity())),
        }
    }
}
