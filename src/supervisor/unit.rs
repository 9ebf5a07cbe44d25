//! A unit's record: what its jobs have done, over all lives of its worker. A worker has one of these, or several where units share it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::jobs::JobRecords;
use super::standing::UnitState;
use super::view::{JobState, LastRun, LastUnitError};
use crate::words::count;
use crate::worker::frames::RunEnded;
use crate::worker::roster::Member;
use crate::worker::{UnitSpec, WorkerSpec};

/// Good runs without a point after which a unit counts as silent.
const SILENT_RUNS: u32 = 3;
const WARNINGS_KEPT: usize = 64;

/// What is odd in a unit although it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Warning {
    pub text: String,
    /// A part of it does not run.
    pub means_loss: bool,
}

/// Why a unit does not run although others of its process do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unloaded {
    /// It has no collector and is imported by others.
    Passive,
    Fault(String),
}

pub(super) struct Unit {
    pub id: String,
    pub path: PathBuf,
    pub root: PathBuf,
    pub title: String,
    pub line: u32,
    pub quiet: bool,
    pub member: Arc<Member>,
    /// Other scripts lie in the same root and may import this one.
    pub has_siblings: bool,
    pub unloaded: Option<Unloaded>,
    pub jobs: JobRecords,
    pub runs_ok: u64,
    pub runs_failed: u64,
    pub skipped_ticks: u64,
    silent_runs: u32,
    pub last_run: Option<LastRun>,
    pub last_error: Option<LastUnitError>,
    /// Why all its jobs wait, also while it rests without a process.
    pub waits: Option<String>,
    /// What its worker warned of since it was started.
    pub warnings: Vec<Warning>,
    /// Those beyond what is kept.
    pub more_warnings: u64,
    /// The state after the last run, or after the load, and when it came to be so.
    stands: Option<(UnitState, Instant)>,
}

impl Unit {
    pub fn new(spec: &UnitSpec, member: Arc<Member>) -> Self {
        Self {
            id: spec.id.clone(),
            path: spec.file.clone(),
            root: spec.root.clone(),
            title: spec.title.clone(),
            line: spec.line,
            quiet: spec.quiet,
            member,
            has_siblings: false,
            unloaded: None,
            jobs: JobRecords::default(),
            runs_ok: 0,
            runs_failed: 0,
            skipped_ticks: 0,
            silent_runs: 0,
            last_run: None,
            last_error: None,
            waits: None,
            warnings: Vec::new(),
            more_warnings: 0,
            stands: None,
        }
    }

    /// One for each unit of the worker; those of before go on, under the settings of now. The process has `member`.
    pub fn of_all(spec: &WorkerSpec, member: &Arc<Member>, mut before: Vec<Self>) -> Vec<Self> {
        let one = |unit: &UnitSpec| {
            let known = before.iter().position(|known| known.id == unit.id).map(|at| before.swap_remove(at));
            let member = match &known {
                _ if unit.id == member.id => Arc::clone(member),
                Some(known) if known.member.input == spec.input => Arc::clone(&known.member),
                Some(known) => known.member.renamed(spec),
                None => Member::of(&unit.id, spec),
            };
            member.set_tags(&spec.tags);
            match known {
                Some(known) => Self {
                    path: unit.file.clone(),
                    root: unit.root.clone(),
                    title: unit.title.clone(),
                    line: unit.line,
                    quiet: unit.quiet,
                    member,
                    ..known
                },
                None => Self::new(unit, member),
            }
        };
        spec.units.iter().map(one).collect()
    }

    /// A new worker is about to start.
    pub fn begin(&mut self) {
        self.unloaded = None;
        self.warnings.clear();
        self.more_warnings = 0;
        self.stands = None;
    }

    /// Its worker has loaded all units.
    pub fn ready(&mut self) {
        self.jobs.ready();
        self.silent_runs = 0;
    }

    /// Counts a run; says whether it was the first.
    pub fn run_ended(&mut self, end: &RunEnded, now: Instant) -> bool {
        self.skipped_ticks = self.skipped_ticks.saturating_add(self.jobs.run_ended(end, now));
        let is_first = self.last_run.is_none();
        self.last_run = Some(LastRun { at: now, ms: end.ms, points: end.points, ok: end.ok });
        let is_empty = end.ok && end.points == 0 && end.refused == 0 && end.no_value == 0;
        self.silent_runs = match is_empty {
            true if self.jobs.is_silent(end.i) => self.silent_runs,
            true => self.silent_runs + 1,
            false => 0,
        };
        if end.ok {
            self.runs_ok += 1;
        } else {
            self.runs_failed += 1;
        }
        is_first
    }

    /// Notes what a run raised, and where.
    pub fn raised(&mut self, end: &RunEnded, place: Option<String>, now: Instant) {
        let text = end.raised();
        let times = match &self.last_error {
            Some(last) if last.text == text && last.place == place => last.times + 1,
            _ => 1,
        };
        self.last_error = Some(LastUnitError { text, place, traceback: end.tb.clone(), times, last: now });
    }

    pub fn warned(&mut self, warning: Warning) {
        if self.warnings.len() < WARNINGS_KEPT {
            self.warnings.push(warning);
        } else {
            self.more_warnings += 1;
        }
    }

    /// The process is gone.
    pub fn ended(&mut self) {
        self.jobs.ended();
    }

    /// Notes its state after a run or the load.
    pub fn stands(&mut self, state: UnitState, now: Instant) {
        if self.stands.is_none_or(|(before, _)| before != state) {
            self.stands = Some((state, now));
        }
    }

    /// Since when it has been in this state without a break, however many runs there were; `None` where no run told of it.
    pub fn stands_since(&self, state: UnitState) -> Option<Instant> {
        self.stands.filter(|(stands, _)| *stands == state).map(|(_, since)| since)
    }

    /// What of it does not run, as its worker warned.
    pub fn loss(&self) -> Option<String> {
        let mut losses = self.warnings.iter().filter(|warning| warning.means_loss);
        let first = losses.next()?.text.clone();
        match losses.count() {
            0 => Some(first),
            more => Some(format!("{first}; and {more} more")),
        }
    }

    /// How it is while its worker lives: by the last runs, and by what was odd. `failure`: why the worker before was lost.
    pub fn state(&self, failure: Option<String>, dropped_lines: u64) -> (UnitState, Option<String>) {
        match &self.unloaded {
            Some(Unloaded::Passive) => return (UnitState::Helper, None),
            Some(Unloaded::Fault(why)) => return (UnitState::LoadError, Some(why.clone())),
            None => {}
        }
        if self.jobs.any(JobState::Failing)
            && let Some(error) = &self.last_error
        {
            let place = error.place.as_ref().map_or(String::new(), |place| format!(" at {place}"));
            return (UnitState::Failing, Some(format!("its run raised {}{place}, {} times", error.text, error.times)));
        }
        let (waiting, all, why) = self.jobs.waiting();
        if waiting > 0 && waiting == all {
            return (UnitState::Waiting, why);
        }
        if failure.is_none() && self.waits.is_some() && self.jobs.are_all_new() {
            return (UnitState::Waiting, self.waits.clone());
        }
        if failure.is_some() || self.jobs.are_all_new() {
            return (UnitState::Running, failure);
        }
        let refused = self.jobs.refused();
        if refused > 0 {
            let why = self.member.last_refusal().unwrap_or_default();
            return (UnitState::Refused, Some(format!("{} of its last run refused: {why}", count(refused, "point"))));
        }
        if waiting > 0 {
            let why = why.unwrap_or_default();
            return (UnitState::Ok, Some(format!("{waiting} of its {all} jobs wait: {why}")));
        }
        if self.silent_runs >= SILENT_RUNS {
            return (UnitState::Silent, Some(format!("its last {} runs reported nothing", self.silent_runs)));
        }
        if let Some(loss) = self.loss() {
            return (UnitState::Ok, Some(loss));
        }
        if dropped_lines > 0 {
            return (
                UnitState::Ok,
                Some(format!(
                    "prints more than the log takes (200 lines/s): {dropped_lines} lines of output were dropped, no points"
                )),
            );
        }
        (UnitState::Ok, None)
    }
}
