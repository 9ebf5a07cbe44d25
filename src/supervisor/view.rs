//! A script as the status shows it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::worker::process::Way;

/// A snapshot of one script.
#[derive(Debug, Clone)]
pub struct WorkerView {
    pub id: String,
    pub input: String,
    pub script: PathBuf,
    /// All scripts of its input run in its process.
    pub shares_process: bool,
    /// `starting ok running failing refused silent helper hung crashed load-error stopping stopped ended unkillable`.
    pub state: &'static str,
    pub since: Instant,
    /// What happened, in plain words; `None` when all is well.
    pub why: Option<String>,
    /// The version on disk is not what runs, and why; part of `why` too.
    pub refused: Option<String>,
    /// What comes next, and when.
    pub next: Option<(&'static str, Instant)>,
    pub pid: Option<u32>,
    pub restarts: u64,
    pub runs_ok: u64,
    pub runs_failed: u64,
    pub skipped_ticks: u64,
    pub last_run: Option<LastRun>,
    pub jobs: Vec<JobView>,
    pub points_accepted: u64,
    pub points_refused: u64,
    pub last_refusal: Option<String>,
    pub last_error: Option<LastError>,
    /// What is odd in the script although it runs.
    pub warnings: Vec<String>,
    /// The last lines the script wrote.
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

#[derive(Debug, Clone, Copy)]
pub struct LastRun {
    pub at: Instant,
    pub ms: f64,
    pub points: u64,
    pub ok: bool,
}

/// One collector class.
#[derive(Debug, Clone)]
pub struct JobView {
    pub name: String,
    pub class: String,
    /// Seconds.
    pub interval: f64,
}

#[derive(Debug, Clone)]
pub struct LastError {
    /// `KeyError: 'await'`.
    pub text: String,
    /// `disk.py:22 in parse`.
    pub place: Option<String>,
    pub traceback: String,
    pub times: u64,
    pub last: Instant,
}
