//! The only shapes that leave the agent as JSON: `GET /api/v1/status`, read by `pythond status` and the page.
//!
//! Times are seconds before (or until) the answer, so that no clock has to agree with ours.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::git::Happened;
use crate::sinks;
use crate::supervisor::{JobState, UnitState};

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
    pub units: Vec<UnitView>,
    pub sinks: Vec<SinkView>,
    /// Sinks that are no longer in the settings and have a place in the buffer.
    #[serde(default)]
    pub removed_sinks: Vec<RemovedSink>,
    pub buffer: BufferView,
    pub dead_letters: Vec<DeadLettersView>,
    /// What scripts reported to `/v1/lasterror`, the newest first.
    pub last_errors: Vec<LastErrorView>,
    /// What was changed or left out of points that no worker has sent, the newest first.
    #[serde(default)]
    pub repaired: Vec<RepairedView>,
    /// How workers and all that they start are held and ended on this machine.
    #[serde(default)]
    pub mechanisms: Vec<MechanismView>,
    /// Panics that were caught, by the task: defects of the agent that did not end it.
    #[serde(default)]
    pub panics: BTreeMap<String, u64>,
    /// Folders without a script, unreadable files …
    pub problems: Vec<String>,
    /// The enabled git repositories, in order.
    #[serde(default)]
    pub repos: Vec<RepoView>,
    /// Settings that changed and take effect only when the agent is started again.
    #[serde(default)]
    pub needs_restart: Vec<String>,
    /// The last reload that changed something or was asked for.
    #[serde(default)]
    pub reload: Option<LastReloadView>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LastReloadView {
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
    pub faults: Vec<FailureView>,
    pub units: Vec<ReloadedUnit>,
    pub sinks: Vec<ReloadedSink>,
    /// Settings that took effect, such as `[global_tags]`.
    pub settings: Vec<String>,
    /// Settings that changed since the agent was started and that only another start makes effective.
    pub needs_restart: Vec<String>,
    /// Folders without a script, unreadable files …
    pub problems: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureView {
    pub code: Code,
    pub message: String,
    pub file: Option<String>,
    pub line: usize,
    /// With its place, source line and help.
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReloadedUnit {
    pub id: String,
    pub file: String,
    pub outcome: UnitOutcome,
    pub pid: Option<u32>,
    /// What changed, or why it was refused.
    pub why: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReloadedSink {
    pub name: String,
    pub outcome: SinkOutcome,
    pub why: Option<String>,
}

/// What became of a unit at a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitOutcome {
    Started,
    Restarted,
    /// It runs on with settings that need no new process.
    Updated,
    Unchanged,
    Stopped,
    /// It is a module that other scripts import.
    Helper,
    /// What lies on disk does not run.
    Refused,
}

impl UnitOutcome {
    /// True where something runs, or does not, that was otherwise before.
    pub fn is_news(self) -> bool {
        !matches!(self, Self::Unchanged | Self::Helper)
    }
}

impl fmt::Display for UnitOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// What became of a sink at a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkOutcome {
    Added,
    Changed,
    Removed,
    Refused,
}

impl fmt::Display for SinkOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl Reloaded {
    /// True if something that lies on disk does not run.
    pub fn refused_something(&self) -> bool {
        !self.faults.is_empty()
            || self.units.iter().any(|unit| unit.outcome == UnitOutcome::Refused)
            || self.sinks.iter().any(|sink| sink.outcome == SinkOutcome::Refused)
    }
}

/// The answer to `POST /api/v1/units/{id}/restart`, `…/run-now` and `…/recheck`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnitReply {
    pub unit: String,
}

/// One unit and its worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnitView {
    pub id: String,
    /// What is shown beside the id; empty where there is no more to say.
    #[serde(default)]
    pub title: String,
    pub input: String,
    /// `datakit`, `netdata` …: the collector API of its input.
    #[serde(default)]
    pub dialect: String,
    pub file: String,
    /// Where in the file it comes from; 0: unknown, or all of it.
    #[serde(default)]
    pub line: u32,
    /// It comes with stock settings: that it waits is not worth a warning.
    #[serde(default)]
    pub quiet: bool,
    /// Other units run in its process, too.
    #[serde(default)]
    pub shares_process: bool,
    /// A `helper` is a file without a collector that others import.
    pub state: UnitState,
    pub since_s: f64,
    /// What happened, in plain words; absent when all is well.
    pub why: Option<String>,
    /// The version on disk is not what runs, and why not; part of `why` too.
    #[serde(default)]
    pub refused: Option<String>,
    /// What comes next: `run`, `restart`, `next try` …
    pub next: Option<String>,
    /// Absent: not by itself.
    pub next_in_s: Option<f64>,
    /// A change of its files brings it at once.
    #[serde(default)]
    pub next_at_change: bool,
    pub pid: Option<u32>,
    pub restarts: u64,
    pub runs_ok: u64,
    pub runs_failed: u64,
    pub skipped_ticks: u64,
    pub last_run: Option<RunView>,
    pub jobs: Vec<JobView>,
    pub points_accepted: u64,
    pub points_refused: u64,
    pub last_refusal: Option<String>,
    pub last_error: Option<UnitError>,
    /// What is odd in it although it runs.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Those that are not among them.
    #[serde(default)]
    pub more_warnings: u64,
    /// The last lines that its process wrote.
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
    /// Absent without a process.
    #[serde(default)]
    pub started_by: Option<StartedBy>,
    /// Why it was not forked.
    #[serde(default)]
    pub exec_why: Option<String>,
    /// From its start slot until it was loaded.
    #[serde(default)]
    pub start_ms: Option<f64>,
}

/// How a process was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartedBy {
    /// By a zygote.
    Fork,
    /// As a program of its own.
    Exec,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunView {
    pub ago_s: f64,
    pub ms: f64,
    pub points: u64,
    pub ok: bool,
}

/// One schedule of a unit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobView {
    /// Its place in ids and counters: the class of a collector.
    pub key: String,
    /// What is shown beside the key; empty where there is no more to say.
    #[serde(default)]
    pub title: String,
    pub every_s: f64,
    pub state: JobState,
    #[serde(default)]
    pub is_running: bool,
    /// Why it is not `ok`.
    pub why: Option<String>,
    /// Until its next run, or its next check.
    pub next_in_s: Option<f64>,
    pub last_run: Option<RunView>,
    pub runs_ok: u64,
    pub runs_failed: u64,
    pub points: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnitError {
    pub text: String,
    /// `file:line in function`, where known.
    pub place: Option<String>,
    pub traceback: String,
    pub times: u64,
    pub last_ago_s: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SinkView {
    pub name: String,
    pub kind: String,
    /// Where it writes, without secrets.
    pub target: String,
    pub state: sinks::SinkState,
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
    /// Points refused for good since the start, by who made them; at most twenty of these.
    #[serde(default)]
    pub refused: Vec<RefusedPointsView>,
    pub behind_points: u64,
    pub behind_bytes: u64,
    pub oldest_s: Option<f64>,
}

/// Points of one maker that a sink refused for good.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefusedPointsView {
    /// `<input>/<script>`, or the `input` argument of a request.
    pub source: String,
    pub points: u64,
    /// Why the last of them was refused, in the words of the far end.
    pub why: String,
    pub ago_s: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemovedSink {
    pub name: String,
    /// How long points are still kept for it; `None`: none are.
    pub holds_s: Option<f64>,
}

/// The answer to `GET /api/v1/units/{id}/stack`.
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

/// The answer to `GET /api/v1/units/{id}/resources`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Resources {
    pub id: String,
    /// In the words of the unit's dialect.
    pub columns: Vec<String>,
    /// A text for each column.
    pub rows: Vec<Vec<String>>,
    /// Why there are no rows.
    pub why: Option<String>,
}

/// One of the ways to hold and end what a worker has started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MechanismView {
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
pub struct BufferView {
    pub bytes: u64,
    pub max_bytes: u64,
    pub segments: usize,
    pub oldest_s: Option<f64>,
    pub poisoned: Option<String>,
    /// Reports are refused at the moment.
    #[serde(default)]
    pub refusing: Option<Refusing>,
    pub set_aside_bytes: u64,
}

/// Reports are refused, and the authors of scripts are answered 503.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refusing {
    pub since_s: f64,
    pub reports: u64,
    pub why: String,
    /// What ends it.
    pub help: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLettersView {
    pub who: String,
    pub points: u64,
    /// Deleted, oldest first, to keep within the cap.
    pub dropped: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LastErrorView {
    pub input: String,
    pub source: String,
    pub text: String,
    pub ago_s: f64,
    pub times: u64,
}

/// Something that was changed or left out of points, once for each input, kind and key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RepairedView {
    pub input: String,
    pub code: Code,
    /// `tags.time`, `fields.v`, `measurement`, or empty.
    pub key: String,
    pub text: String,
    pub ago_s: f64,
    /// In how many requests.
    pub times: u64,
}

impl Status {
    /// `11 of 12 units well; sinks: main ok, local down`.
    pub fn in_one_line(&self) -> String {
        let (well, all) = self.well();
        let sinks: Vec<String> = self.sinks.iter().map(|sink| format!("{} {}", sink.name, sink.state)).collect();
        format!("{well} of {all} units well; sinks: {}", sinks.join(", "))
    }

    /// The units that a list shows unless it is to show all.
    pub fn listed(&self) -> impl Iterator<Item = &UnitView> {
        self.units.iter().filter(|unit| unit.is_listed())
    }

    /// How many of those that are listed have warnings.
    pub fn with_warnings(&self) -> usize {
        self.listed().filter(|unit| unit.all_warnings() > 0).count()
    }

    /// How many are well of how many that are listed.
    pub fn well(&self) -> (usize, usize) {
        (self.listed().filter(|unit| unit.is_well()).count(), self.listed().count())
    }
}

impl UnitView {
    /// True when nobody has to look.
    pub fn is_well(&self) -> bool {
        self.is_quiet() || self.is_off() || self.state.is_well() && self.why.is_none()
    }

    pub fn all_warnings(&self) -> u64 {
        self.warnings.len() as u64 + self.more_warnings
    }

    /// A list shows it, unless it is to show all.
    pub fn is_listed(&self) -> bool {
        !self.is_quiet() && !self.is_off()
    }

    /// It does not run because its settings say so; `why` names the place.
    pub fn is_off(&self) -> bool {
        self.state == UnitState::Off
    }

    /// It waits, and nobody expects it not to: stock settings that found nothing to collect.
    pub fn is_quiet(&self) -> bool {
        self.quiet && self.state == UnitState::Waiting
    }

    /// It can be checked now: a job waits for its check, or its worker for its next try.
    pub fn can_be_checked(&self) -> bool {
        let waits_for_try = matches!(self.state, UnitState::LoadError | UnitState::Crashed | UnitState::Hung);
        self.waits_for_check() || waits_for_try && self.pid.is_none()
    }

    /// A job of it waits for its check; where all do, there may be no process meanwhile, and then no jobs.
    pub fn waits_for_check(&self) -> bool {
        self.state == UnitState::Waiting || self.jobs.iter().any(|job| job.state == JobState::Waiting)
    }

    /// Jobs that are not well, beside others: those that a list shows.
    pub fn jobs_not_well(&self) -> impl Iterator<Item = &JobView> {
        self.jobs.iter().filter(|job| self.jobs.len() > 1 && !job.state.is_well())
    }
}

/// One git repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RepoView {
    pub name: String,
    /// Free of secrets.
    pub url: String,
    /// The branch, tag or commit, in words.
    pub follows: String,
    /// The commit whose files run.
    pub commit: Option<RepoCommit>,
    /// Units that keep the version of an earlier commit.
    pub held: Vec<HeldUnit>,
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

impl RepoView {
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
pub struct HeldUnit {
    pub unit: String,
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
    pub code: Code,
    pub message: String,
    pub notes: Vec<String>,
    pub help: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RepoEvent {
    /// Seconds since 1970.
    pub at: i64,
    pub what: Happened,
    pub commit: RepoCommit,
    pub before: Option<String>,
}
