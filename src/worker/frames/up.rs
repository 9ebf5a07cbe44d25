//! What a worker says.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::worker::UnitSpec;
use crate::worker::files::Sum;

/// A frame from the worker; what is not known is counted and passed over, so that versions may differ.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub enum Up {
    Hello(Hello),
    /// Modules of the user that were loaded since the last such frame.
    Loaded {
        files: Vec<Loaded>,
    },
    /// Settings files that were read, and folders that were looked into.
    Read {
        #[serde(default)]
        files: Vec<SeenSettings>,
        #[serde(default)]
        folders: Vec<SeenFolder>,
    },
    /// One of several units is about to be loaded.
    Loading {
        u: usize,
    },
    /// One of several units could not be loaded; the others go on.
    Unloaded(Fatal),
    /// Jobs that came, or changed, and those that went; at any time.
    Jobs {
        #[serde(default)]
        set: Vec<JobFrame>,
        #[serde(default)]
        gone: Vec<usize>,
    },
    /// All units are loaded.
    Ready {},
    /// How the check of a job went.
    Job(JobStands),
    Run {
        i: usize,
        k: u64,
    },
    End(RunEnded),
    /// Runs that went well, of one job or many; one that did not take long was not told when it began.
    Ran {
        runs: Vec<RunSucceeded>,
    },
    Refused(RefusedReport),
    /// A part of the answer to [`super::Down::Resources`].
    Resources(TablePiece),
    Warn(Warn),
    Fatal(Fatal),
    /// Some of the units that a lister tells.
    Units {
        units: Vec<ToldUnit>,
    },
    /// What is wrong with a settings file, as a lister found it.
    Fault(Warn),
    /// The lister has told all.
    Listed {},
    /// It ends itself. With the reason `replace` it asks for another process at once, and says why.
    Bye {
        reason: String,
        #[serde(default)]
        why: String,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Hello {
    pub pid: u32,
    pub py: String,
    pub exe: String,
}

/// A file of the user as the worker has loaded it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    pub file: PathBuf,
    pub sum: Sum,
    /// The name of the module.
    pub name: String,
    /// It is the `__init__.py` of a package.
    pub package: bool,
}

/// A settings file as the worker has read it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SeenSettings {
    pub file: PathBuf,
    pub sum: Sum,
}

/// A folder as the worker has seen it: the hash of the names in it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SeenFolder {
    pub folder: PathBuf,
    pub sum: Sum,
}

/// One schedule of a unit.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct JobFrame {
    pub i: usize,
    /// Number of its unit, of several.
    #[serde(default)]
    pub u: usize,
    pub key: String,
    #[serde(default)]
    pub title: String,
    /// Seconds.
    pub every: f64,
    #[serde(default)]
    pub line: u32,
    #[serde(default)]
    pub next_ms: u64,
    /// Nobody misses points of it.
    #[serde(default)]
    pub silent: bool,
}

/// How it is with a job beside its runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct JobStands {
    pub i: usize,
    pub state: JobCheck,
    #[serde(default)]
    pub why: String,
    /// Until the next check or run; 0: none comes by itself.
    #[serde(default)]
    pub next_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobCheck {
    /// Its check went well.
    Ready,
    /// Its check is repeated.
    Waiting,
    /// It is checked again only when somebody asks.
    Stopped,
}

impl JobCheck {
    pub fn waits(self) -> bool {
        self != Self::Ready
    }
}

/// A unit as a lister tells it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ToldUnit {
    pub id: String,
    #[serde(default)]
    pub title: String,
    pub file: PathBuf,
    #[serde(default)]
    pub line: u32,
    #[serde(default)]
    pub reads: Vec<PathBuf>,
    #[serde(default)]
    pub parts: serde_json::Value,
    /// Units with the same name, unless that is empty, share a worker.
    #[serde(default)]
    pub process: String,
    #[serde(default)]
    pub quiet: bool,
    /// Why it does not run, with the place that says so; empty: it runs.
    #[serde(default)]
    pub off: String,
}

impl ToldUnit {
    pub fn into_unit(self) -> UnitSpec {
        let Self { id, title, file, line, reads, parts, quiet, .. } = self;
        let root = file.parent().map(Path::to_owned).unwrap_or_default();
        let module = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        UnitSpec { id, file, root, module, title, line, parts, reads, quiet }
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct RunEnded {
    pub i: usize,
    pub k: u64,
    pub ms: f64,
    pub ok: bool,
    #[serde(default)]
    pub points: u64,
    #[serde(default)]
    pub refused: u64,
    /// Readings that gave no value: the first of a counter, a reset.
    #[serde(default)]
    pub no_value: u64,
    #[serde(default)]
    pub next_ms: u64,
    #[serde(default)]
    pub exc: String,
    #[serde(default)]
    pub msg: String,
    #[serde(default)]
    pub tb: String,
    #[serde(default, rename = "where")]
    pub places: Vec<TracebackFrame>,
    #[serde(default)]
    pub hint: Option<String>,
}

/// A run that went well, as an array: `[i, k, ms, points, refused, no_value, next_ms]`, which mean what they mean in [`RunEnded`].
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct RunSucceeded(usize, u64, f64, u64, u64, u64, u64);

impl From<RunSucceeded> for RunEnded {
    fn from(RunSucceeded(i, k, ms, points, refused, no_value, next_ms): RunSucceeded) -> Self {
        let (exc, msg, tb) = (String::new(), String::new(), String::new());
        Self { i, k, ms, ok: true, points, refused, no_value, next_ms, exc, msg, tb, places: Vec::new(), hint: None }
    }
}

/// A frame of the user's own code, innermost first.
#[derive(Debug, Clone, Deserialize)]
pub struct TracebackFrame {
    pub file: PathBuf,
    pub line: usize,
    #[serde(default)]
    pub col: Option<usize>,
    #[serde(default)]
    pub end_col: Option<usize>,
    #[serde(default)]
    pub func: String,
    #[serde(default)]
    pub src: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct RefusedReport {
    /// Number of the unit, of several; so in the frames below.
    #[serde(default)]
    pub u: usize,
    pub category: String,
    pub status: u16,
    pub text: String,
    #[serde(default)]
    pub points: u64,
    #[serde(default)]
    pub caller: Option<Caller>,
    /// What is wrong with a point that was not even sent.
    #[serde(default, deserialize_with = "Code::of_frame")]
    pub code: Option<Code>,
}

/// Some rows of the table of what a unit runs against.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TablePiece {
    pub u: usize,
    pub ask: u64,
    /// Its number in the answer, from 0.
    pub k: usize,
    /// Of the first one only.
    #[serde(default)]
    pub columns: Vec<String>,
    #[serde(default)]
    pub rows: Vec<Vec<String>>,
    /// No more come.
    pub last: bool,
    /// Why there are no rows.
    #[serde(default)]
    pub why: String,
}

/// The line of the user's code that reported.
#[derive(Debug, Clone, Deserialize)]
pub struct Caller {
    pub file: PathBuf,
    pub line: usize,
    #[serde(default)]
    pub func: String,
    #[serde(default)]
    pub src: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Warn {
    #[serde(default)]
    pub u: usize,
    #[serde(default, deserialize_with = "Code::of_frame")]
    pub code: Option<Code>,
    pub msg: String,
    /// Absent: the file of the unit.
    #[serde(default)]
    pub file: Option<PathBuf>,
    #[serde(default)]
    pub line: usize,
    #[serde(default)]
    pub col: usize,
    #[serde(default)]
    pub severity: FrameSeverity,
    /// The text of the line.
    #[serde(default)]
    pub src: String,
    #[serde(default)]
    pub help: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrameSeverity {
    Error,
    #[default]
    Warning,
}

/// Why the unit cannot run.
#[derive(Debug, Clone, Deserialize)]
pub struct Fatal {
    #[serde(default)]
    pub u: usize,
    pub exc: String,
    pub msg: String,
    #[serde(default)]
    pub tb: String,
    pub permanent: bool,
    #[serde(default, deserialize_with = "Code::of_frame")]
    pub code: Option<Code>,
    #[serde(default)]
    pub file: Option<PathBuf>,
    #[serde(default)]
    pub line: Option<usize>,
    #[serde(default)]
    pub col: Option<usize>,
    #[serde(default)]
    pub end_col: Option<usize>,
    #[serde(default)]
    pub src: Option<String>,
    #[serde(default)]
    pub notes: Vec<String>,
    #[serde(default)]
    pub help: Option<String>,
    /// There is nothing in it to run, and nothing was meant to: others import it.
    #[serde(default)]
    pub passive: bool,
}

impl RunEnded {
    /// `KeyError: 'await'`.
    pub fn raised(&self) -> String {
        join(&self.exc, &self.msg)
    }
}

impl Fatal {
    /// `SyntaxError: expected ':'`.
    pub fn raised(&self) -> String {
        join(&self.exc, &self.msg)
    }
}

fn join(exc: &str, msg: &str) -> String {
    if msg.is_empty() { exc.to_owned() } else { format!("{exc}: {msg}") }
}
