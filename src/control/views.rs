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
    /// How workers and all that they start are held and ended on this machine.
    #[serde(default)]
    pub mechanisms: Vec<Mechanism>,
    /// Panics that were caught, by the task: defects of the agent that did not end it.
    #[serde(default)]
    pub panics: BTreeMap<String, u64>,
    /// Folders without a script, unreadable files …
    pub problems: Vec<String>,
    /// The enabled git repositories, in order.
    #[serde(default)]
    pub repos: Vec<Repo>,
    /// Settings that changed and take effect only when the agent is started again.
    #[serde(default)]
    pub needs_restart: Vec<String>,
    /// The last reload that changed something or was asked for.
    #[serde(default)]
    pub reload: Option<LastReload>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LastReload {
    pub ago_s: f64,
    pub outcome: Reloaded,
}

/// The answer to `POST /api/v1/reload`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reloaded {
    pub schema: u32,
    /// `pythond reload`, `SIGHUP`, `a changed file` …
    pub by: String,
    /// What is wrong with the settings; with one fault nothing at all was changed.
    pub faults: Vec<Fault>,
    pub scripts: Vec<ReloadedScript>,
    pub sinks: Vec<ReloadedSink>,
    /// Settings that took effect, such as `[global_tags]`.
    pub settings: Vec<String>,
    /// Settings that changed since the agent was started and that only another start makes effective.
    pub needs_restart: Vec<String>,
    /// Folders without a script, unreadable files …
    pub problems: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    pub code: String,
    pub message: String,
    pub file: Option<String>,
    pub line: usize,
    /// With its place, source line and help.
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReloadedScript {
    pub id: String,
    pub file: String,
    /// One of `started restarted updated unchanged stopped helper refused`.
    pub outcome: String,
    pub pid: Option<u32>,
    /// What changed, or why it was refused.
    pub why: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReloadedSink {
    pub name: String,
    /// One of `added changed removed refused`.
    pub outcome: String,
    pub why: Option<String>,
}

impl Reloaded {
    /// True if something that lies on disk does not run.
    pub fn refused_something(&self) -> bool {
        !self.faults.is_empty()
            || self.scripts.iter().any(|script| script.outcome == "refused")
            || self.sinks.iter().any(|sink| sink.outcome == "refused")
    }
}

/// The answer to `POST /api/v1/scripts/{id}/restart` and `…/run-now`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Told {
    pub script: String,
}

/// One script and its worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Script {
    pub id: String,
    pub input: String,
    pub file: String,
    /// All scripts of its input run in its process.
    #[serde(default)]
    pub shares_process: bool,
    /// One of `starting ok running failing refused silent helper hung crashed load-error stopping stopped ended unkillable`.
    /// A `helper` is a file without a collector that others import.
    pub state: String,
    pub since_s: f64,
    /// What happened, in plain words; absent when all is well.
    pub why: Option<String>,
    /// The version on disk is not what runs, and why not; part of `why` too.
    #[serde(default)]
    pub refused: Option<String>,
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
    /// How often the worker was replaced although nothing was wrong: `max_age`, `max_runs`, `memory_max`.
    #[serde(default)]
    pub recycled: u64,
    #[serde(default)]
    pub recycled_why: Option<String>,
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

/// The answer to `GET /api/v1/scripts/{id}/stack`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stack {
    pub id: String,
    /// Absent where there is no process.
    pub pid: Option<u32>,
    /// Each thread, the most recent call first; empty where none could be had.
    pub stack: String,
    /// Why there is none.
    pub why: Option<String>,
}

/// One of the ways to hold and end what a worker has started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mechanism {
    pub name: String,
    pub active: bool,
    /// Why it is not in use.
    pub why: Option<String>,
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

impl Status {
    /// `11 of 12 scripts well; sinks: main ok, local down`.
    pub fn in_one_line(&self) -> String {
        let well = self.scripts.iter().filter(|script| script.is_well()).count();
        let sinks: Vec<String> = self.sinks.iter().map(|sink| format!("{} {}", sink.name, sink.state)).collect();
        format!("{well} of {} scripts well; sinks: {}", self.scripts.len(), sinks.join(", "))
    }
}

impl Script {
    /// True when nobody has to look.
    pub fn is_well(&self) -> bool {
        matches!(self.state.as_str(), "ok" | "running" | "starting" | "helper" | "ended") && self.why.is_none()
    }
}

/// One git repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Repo {
    pub name: String,
    /// Free of secrets.
    pub url: String,
    /// The branch, tag or commit, in words.
    pub follows: String,
    /// The commit whose scripts run.
    pub commit: Option<RepoCommit>,
    /// Scripts that keep the version of an earlier commit.
    pub held: Vec<HeldScript>,
    /// What was left out of the commit: submodules, links that leave it …
    pub notes: Vec<String>,
    /// A newer commit that was refused whole.
    pub refused: Option<RefusedCommit>,
    /// Why the last pull failed; the code that runs goes on.
    pub fault: Option<RepoFault>,
    /// Pulls that failed in a row.
    pub failures: u32,
    pub is_pulling: bool,
    pub last_pull_ago_s: Option<f64>,
    pub last_good_pull_ago_s: Option<f64>,
    pub next_pull_in_s: Option<f64>,
    /// What the last commit started, restarted and stopped.
    pub changes: Vec<String>,
    /// What ran when, the newest last; empty in the status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<RepoEvent>,
}

impl Repo {
    /// True while nobody has to look at it.
    pub fn is_well(&self) -> bool {
        self.fault.is_none() && self.refused.is_none() && self.held.is_empty()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RepoCommit {
    pub id: String,
    pub title: String,
    pub author: String,
    pub ago_s: f64,
}

impl RepoCommit {
    /// The first seven characters, as git shows it.
    pub fn short(&self) -> &str {
        self.id.get(..7).unwrap_or(&self.id)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeldScript {
    pub script: String,
    pub why: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefusedCommit {
    pub commit: RepoCommit,
    /// Each with file and line.
    pub why: Vec<String>,
    pub ago_s: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RepoFault {
    pub code: String,
    pub message: String,
    pub notes: Vec<String>,
    pub help: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RepoEvent {
    /// Seconds since 1970.
    pub at: i64,
    /// One of `active partly refused rewritten`.
    pub what: String,
    pub commit: RepoCommit,
    pub before: Option<String>,
}
