//! A unit as the status shows it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::standing::UnitState;
use crate::dialect::Dialect;
use crate::worker::process::Way;
use crate::worker::{UnitSpec, WorkerSpec};

/// A snapshot of one unit.
#[derive(Debug, Clone)]
pub struct UnitSnapshot {
    pub id: String,
    /// What is shown beside the id; empty where there is no more to say.
    pub title: String,
    pub input: String,
    pub dialect: Dialect,
    /// The file that it comes from, and the line in it; 0: unknown, or all of it.
    pub file: PathBuf,
    pub line: u32,
    /// It comes with stock settings: that it waits is not worth a warning.
    pub quiet: bool,
    /// Other units run in its process, too.
    pub shares_process: bool,
    pub state: UnitState,
    pub since: Instant,
    /// What happened, in plain words; `None` when all is well.
    pub why: Option<String>,
    /// The version on disk is not what runs, and why; part of `why` too.
    pub refused: Option<String>,
    pub next: Option<Coming>,
    pub pid: Option<u32>,
    pub restarts: u64,
    pub runs_ok: u64,
    pub runs_failed: u64,
    pub skipped_ticks: u64,
    pub last_run: Option<LastRun>,
    pub jobs: Vec<JobSnapshot>,
    pub points_accepted: u64,
    pub points_refused: u64,
    pub last_refusal: Option<String>,
    pub last_error: Option<LastUnitError>,
    /// What is odd in it although it runs.
    pub warnings: Vec<String>,
    /// Those that are not among them.
    pub more_warnings: u64,
    /// The last lines that its process wrote.
    pub last_words: Vec<String>,
    /// The Python stack of the last hang or crash.
    pub stack: Option<String>,
    pub output_dropped: u64,
    /// Frames of the worker that nobody could read, or that it dropped because nobody read in time.
    pub frames_lost: u64,
    pub memory: Option<u64>,
    /// How often its worker was replaced although nothing was wrong (`max_age`, `max_runs`, `memory_max`), and why the last time.
    pub recycled: (u64, Option<String>),
    /// How its process came to be; `None` where there is none.
    pub way: Option<Way>,
    /// From its start slot until it was loaded.
    pub start_took: Option<Duration>,
}

impl UnitSnapshot {
    /// A unit that has no worker.
    pub fn without_worker(unit: UnitSpec, of: &WorkerSpec, state: UnitState, since: Instant) -> Self {
        Self {
            id: unit.id,
            title: unit.title,
            input: of.input.clone(),
            dialect: of.dialect,
            file: unit.file,
            line: unit.line,
            quiet: unit.quiet,
            shares_process: false,
            state,
            since,
            why: None,
            refused: None,
            next: None,
            pid: None,
            restarts: 0,
            runs_ok: 0,
            runs_failed: 0,
            skipped_ticks: 0,
            last_run: None,
            jobs: Vec::new(),
            points_accepted: 0,
            points_refused: 0,
            last_refusal: None,
            last_error: None,
            warnings: Vec::new(),
            more_warnings: 0,
            last_words: Vec::new(),
            stack: None,
            output_dropped: 0,
            frames_lost: 0,
            memory: None,
            recycled: (0, None),
            way: None,
            start_took: None,
        }
    }
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coming {
    /// `run`, `restart`, `next try` …
    pub what: &'static str,
    /// `None`: not by itself.
    pub at: Option<Instant>,
    /// A change of the unit's files brings it at once.
    pub at_change: bool,
}

impl Coming {
    pub const CHANGE: &str = "next try when its file changes";

    pub fn at(what: &'static str, at: Instant) -> Self {
        Self { what, at: Some(at), at_change: false }
    }

    /// In words: `within` is how long until then, `None` where it does not come by itself.
    pub fn tell(what: &str, within: Option<&str>, at_change: bool) -> String {
        match (within, at_change) {
            (Some(within), true) => format!("{what} in {within}, or when its file changes"),
            (Some(within), false) => format!("{what} in {within}"),
            (None, true) => format!("{what} when its file changes"),
            (None, false) => what.to_owned(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct LastRun {
    pub at: Instant,
    pub ms: f64,
    pub points: u64,
    pub ok: bool,
}

/// How it is with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// Has not run in this life of its worker.
    Starting,
    Ok,
    /// Its last run raised.
    Failing,
    /// Points of its last run were refused.
    Refused,
    /// Its check did not go well; it is checked again, by itself or when somebody asks.
    Waiting,
}

impl JobState {
    /// Says whether nobody has to look.
    pub fn is_well(self) -> bool {
        matches!(self, Self::Starting | Self::Ok)
    }

    /// What comes next of such a job.
    pub fn comes_next(self) -> &'static str {
        if self == Self::Waiting { "check" } else { "run" }
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::Ok => "ok",
            Self::Failing => "failing",
            Self::Refused => "refused",
            Self::Waiting => "waiting",
        })
    }
}

/// One schedule of a unit.
#[derive(Debug, Clone)]
pub struct JobSnapshot {
    pub key: String,
    /// What is shown beside the key; empty where there is no more to say.
    pub title: String,
    /// Seconds.
    pub every: f64,
    pub state: JobState,
    pub is_running: bool,
    pub why: Option<String>,
    /// Its next run, or its next check.
    pub next: Option<Instant>,
    pub last_run: Option<LastRun>,
    pub runs_ok: u64,
    pub runs_failed: u64,
    pub points: u64,
}

#[derive(Debug, Clone)]
pub struct LastUnitError {
    /// `KeyError: 'await'`.
    pub text: String,
    /// `disk.py:22 in parse`.
    pub place: Option<String>,
    pub traceback: String,
    pub times: u64,
    pub last: Instant,
}
