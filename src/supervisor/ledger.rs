//! What one script's collectors have done, over all lives of its worker. A worker has one of these, or several where scripts share it.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::after;
use super::view::{JobView, LastError, LastRun};
use crate::worker::control::{Job, RunEnded};
use crate::worker::roster::Member;
use crate::worker::{ScriptFile, WorkerSpec};

/// Good runs without a point after which a script counts as silent.
const SILENT_RUNS: u32 = 3;
const WARNINGS_SHOWN: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    Raised,
    /// So many points were refused.
    Refused(u64),
}

/// Why a script does not run although others of its process do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unloaded {
    /// It has no collector and is imported by others.
    Helper,
    Fault(String),
}

pub(super) struct Ledger {
    pub id: String,
    pub path: PathBuf,
    pub root: PathBuf,
    pub member: Arc<Member>,
    /// Other scripts lie in the same root and may import this one.
    pub has_siblings: bool,
    pub unloaded: Option<Unloaded>,
    pub jobs: Vec<Job>,
    next_run: HashMap<usize, Instant>,
    pub runs_ok: u64,
    pub runs_failed: u64,
    pub skipped_ticks: u64,
    silent_runs: u32,
    pub last_run: Option<LastRun>,
    /// How the last run of each job ended.
    last_of_jobs: BTreeMap<usize, Outcome>,
    pub last_error: Option<LastError>,
    /// What its worker warned of since it was started.
    pub warnings: Vec<String>,
    /// The state after the last run, or after the load, and when it came to be so.
    stands: Option<(&'static str, Instant)>,
}

impl Ledger {
    pub fn new(script: ScriptFile, member: Arc<Member>) -> Self {
        Self {
            id: script.id,
            path: script.path,
            root: script.root,
            member,
            has_siblings: false,
            unloaded: None,
            jobs: Vec::new(),
            next_run: HashMap::new(),
            runs_ok: 0,
            runs_failed: 0,
            skipped_ticks: 0,
            silent_runs: 0,
            last_run: None,
            last_of_jobs: BTreeMap::new(),
            last_error: None,
            warnings: Vec::new(),
            stands: None,
        }
    }

    /// One for each script of the worker; those of before go on, under the settings of now. The process has `member`.
    pub fn of_all(spec: &WorkerSpec, member: &Arc<Member>, mut before: Vec<Self>) -> Vec<Self> {
        let scripts = spec.scripts();
        let one = |script: ScriptFile| {
            let known = before.iter().position(|ledger| ledger.id == script.id).map(|at| before.swap_remove(at));
            let member = match &known {
                _ if script.id == member.id => Arc::clone(member),
                Some(known) if known.member.input == spec.input => Arc::clone(&known.member),
                Some(known) => known.member.renamed(spec),
                None => Member::of(&script.id, spec),
            };
            member.set_tags(&spec.tags);
            match known {
                Some(known) => Self { path: script.path, root: script.root, member, ..known },
                None => Self::new(script, member),
            }
        };
        scripts.into_iter().map(one).collect()
    }

    /// A new worker is about to start.
    pub fn begin(&mut self) {
        self.unloaded = None;
        self.warnings.clear();
        self.next_run.clear();
        self.stands = None;
    }

    /// Its jobs, as the new worker has told them.
    pub fn ready(&mut self, jobs: Vec<Job>, now: Instant) {
        self.next_run = jobs.iter().map(|job| (job.i, after(now, job.next_ms))).collect();
        self.jobs = jobs;
        self.silent_runs = 0;
    }

    pub fn has(&self, job: usize) -> bool {
        self.jobs.iter().any(|one| one.i == job)
    }

    /// The class of a job.
    pub fn class(&self, job: usize) -> Option<&str> {
        self.jobs.iter().find(|one| one.i == job).map(|job| job.class.as_str())
    }

    pub fn run_began(&mut self, job: usize) {
        self.next_run.remove(&job);
    }

    /// Counts a run; says whether it was the first.
    pub fn run_ended(&mut self, end: &RunEnded, now: Instant) -> bool {
        self.next_run.insert(end.i, after(now, end.next_ms));
        if let Some(job) = self.jobs.iter().find(|job| job.i == end.i)
            && job.interval > 0.0
        {
            self.skipped_ticks = self.skipped_ticks.saturating_add((end.ms / 1000.0 / job.interval) as u64);
        }
        let is_first = self.last_run.is_none();
        self.last_run = Some(LastRun { at: now, ms: end.ms, points: end.points, ok: end.ok });
        let outcome = match (end.ok, end.refused) {
            (false, _) => Outcome::Raised,
            (true, 0) => Outcome::Ok,
            (true, refused) => Outcome::Refused(refused),
        };
        self.last_of_jobs.insert(end.i, outcome);
        self.silent_runs = if end.ok && end.points == 0 && end.refused == 0 { self.silent_runs + 1 } else { 0 };
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
        self.last_error = Some(LastError { text, place, traceback: end.tb.clone(), times, last: now });
    }

    pub fn warned(&mut self, text: &str) {
        if self.warnings.len() < WARNINGS_SHOWN {
            self.warnings.push(text.to_owned());
        }
    }

    /// The process is gone.
    pub fn ended(&mut self) {
        self.jobs.clear();
        self.next_run.clear();
        self.last_of_jobs.clear();
    }

    /// Notes its state after a run or the load.
    pub fn stands(&mut self, state: &'static str, now: Instant) {
        if self.stands.is_none_or(|(before, _)| before != state) {
            self.stands = Some((state, now));
        }
    }

    /// Since when it has been in this state without a break, however many runs there were; `None` where no run told of it.
    pub fn stands_since(&self, state: &str) -> Option<Instant> {
        self.stands.filter(|(stands, _)| *stands == state).map(|(_, since)| since)
    }

    pub fn next_run(&self) -> Option<Instant> {
        self.next_run.values().min().copied()
    }

    pub fn job_views(&self) -> Vec<JobView> {
        let view = |job: &Job| JobView { name: job.name.clone(), class: job.class.clone(), interval: job.interval };
        self.jobs.iter().map(view).collect()
    }

    /// How it is while its worker lives: by the last runs, and by what was odd. `failure`: why the worker before was lost.
    pub fn state(&self, failure: Option<String>, dropped_lines: u64) -> (&'static str, Option<String>) {
        match &self.unloaded {
            Some(Unloaded::Helper) => return ("helper", None),
            Some(Unloaded::Fault(why)) => return ("load-error", Some(why.clone())),
            None => {}
        }
        let raised = self.last_of_jobs.values().any(|outcome| *outcome == Outcome::Raised);
        if raised && let Some(error) = &self.last_error {
            let place = error.place.as_ref().map_or(String::new(), |place| format!(" at {place}"));
            return ("failing", Some(format!("its run raised {}{place}, {} times", error.text, error.times)));
        }
        if failure.is_some() || self.last_of_jobs.is_empty() {
            return ("running", failure);
        }
        let refused: u64 = self.last_of_jobs.values().map(|outcome| outcome.refused()).sum();
        if refused > 0 {
            let why = self.member.last_refusal().unwrap_or_default();
            return ("refused", Some(format!("{} of its last run refused: {why}", super::count(refused, "point"))));
        }
        if self.silent_runs >= SILENT_RUNS {
            return ("silent", Some(format!("its last {} runs reported nothing", self.silent_runs)));
        }
        if let Some(warning) = self.warnings.iter().find(|warning| warning.contains("does not run")) {
            return ("ok", Some(warning.clone()));
        }
        if dropped_lines > 0 {
            return (
                "ok",
                Some(format!(
                    "prints more than the log takes (200 lines/s): {dropped_lines} lines of output were dropped, no points"
                )),
            );
        }
        ("ok", None)
    }
}

impl Outcome {
    fn refused(self) -> u64 {
        match self {
            Self::Refused(count) => count,
            Self::Ok | Self::Raised => 0,
        }
    }
}
