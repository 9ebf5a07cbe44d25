//! The only shapes that leave the agent as JSON: `GET /api/v1/status`, read by `pythond status` and the page.
//!
//! Times are seconds before (or until) the answer, so that no clock has to agree with ours.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The whole status. `schema` grows when a key changes its meaning.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    pub schema: u32,
    pub version: String,
    pub pid: u32,
    pub host: String,
    pub root: String,
    pub uptime_s: f64,
    /// `None` while the TCP port could not be had.
    pub listen: Option<String>,
    pub socket: String,
    pub scripts: Vec<Script>,
    pub sinks: Vec<Sink>,
    /// Sinks that are no longer in the settings and have a place in the buffer.
    #[serde(default)]
    pub removed_sinks: Vec<RemovedSink>,
    pub buffer: Buffer,
    pub dead_letters: Vec<DeadLetters>,
    /// What scripts reported to `/v1/lasterror`, the newest first.
    pub last_errors: Vec<LastError>,
    /// Found at start: folders without a script, unreadable files …
    pub problems: Vec<String>,
}

/// One script and its worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Script {
    pub id: String,
    pub input: String,
    pub file: String,
    /// One of `starting ok running failing refused silent helper hung crashed load-error stopping stopped unkillable`.
    /// A `helper` is a file without a collector that others import.
    pub state: String,
    pub since_s: f64,
    /// What happened, in plain words; absent when all is well.
    pub why: Option<String>,
    /// What comes next: `run`, `restart`, `next try` …
    pub next: Option<String>,
    pub next_in_s: Option<f64>,
    pub pid: Option<u32>,
    pub restarts: u64,
    pub runs_ok: u64,
    pub runs_failed: u64,
    pub skipped_ticks: u64,
    pub last_run: Option<Run>,
    pub jobs: Vec<Job>,
    pub points_accepted: u64,
    pub points_refused: u64,
    pub last_refusal: Option<String>,
    pub last_error: Option<ScriptError>,
    /// What is odd in the script although it runs.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The last lines the script wrote.
    pub last_words: Vec<String>,
    /// The Python stack of the last hang or crash.
    pub stack: Option<String>,
    pub output_dropped: u64,
    pub memory_bytes: Option<u64>,
    /// `fork` (by a zygote) or `exec`; absent without a process.
    #[serde(default)]
    pub started_by: Option<String>,
    /// Why it was not forked.
    #[serde(default)]
    pub exec_why: Option<String>,
    /// From its start slot until it was loaded.
    #[serde(default)]
    pub start_ms: Option<f64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    pub ago_s: f64,
    pub ms: f64,
    pub points: u64,
    pub ok: bool,
}

/// One collector class of a script.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    pub name: String,
    pub class: String,
    pub interval_s: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScriptError {
    pub text: String,
    /// `file:line in function`, where known.
    pub place: Option<String>,
    pub traceback: String,
    pub times: u64,
    pub last_ago_s: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sink {
    pub name: String,
    pub kind: String,
    /// Where it writes, without secrets.
    pub target: String,
    /// One of `ok slow down misconfigured`.
    pub state: String,
    pub since_s: f64,
    pub why: Option<String>,
    pub next_in_s: Option<f64>,
    pub attempts: u64,
    pub delivered: u64,
    pub dead: u64,
    pub retries: u64,
    /// Points moved over at the cap or lost to damage on the disk.
    pub skipped: u64,
    /// Fields that this kind of sink cannot hold and that were not sent, by reason.
    #[serde(default)]
    pub dropped_fields: BTreeMap<String, u64>,
    pub behind_points: u64,
    pub behind_bytes: u64,
    pub oldest_s: Option<f64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemovedSink {
    pub name: String,
    /// How long points are still kept for it; `None`: none are.
    pub holds_s: Option<f64>,
}

/// The answer to `POST /api/v1/sinks/{name}/skip`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Skipped {
    pub sink: String,
    /// Points that the sink will not get.
    pub points: u64,
    /// It was no longer in the settings, and its place in the buffer is forgotten.
    pub forgotten: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Buffer {
    pub bytes: u64,
    pub max_bytes: u64,
    pub segments: usize,
    pub oldest_s: Option<f64>,
    pub poisoned: Option<String>,
    pub set_aside_bytes: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLetters {
    pub who: String,
    pub points: u64,
    /// Deleted, oldest first, to keep within the cap.
    pub dropped: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LastError {
    pub input: String,
    pub source: String,
    pub text: String,
    pub ago_s: f64,
    pub times: u64,
}

impl Script {
    /// True when nobody has to look.
    pub fn is_well(&self) -> bool {
        matches!(self.state.as_str(), "ok" | "running" | "starting" | "helper") && self.why.is_none()
    }
}
