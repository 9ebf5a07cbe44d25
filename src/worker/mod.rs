//! One worker: a `python3` process that runs one script, or one class of it, or all scripts of an input.
//!
//! `discover` finds the scripts, `life` decides (a pure state machine), `process` starts and ends processes, `zygote` has them forked,
//! `cgroup` and `lock` hold what they start together, `control` is what agent and
//! worker say to each other, `output` drains what a script prints, `roster` tells ingest who sends, `sdk` is the Python package.

pub mod cgroup;
pub mod control;
pub mod discover;
pub mod files;
pub mod lastgood;
pub mod launch;
pub mod life;
#[cfg_attr(windows, path = "windows/lock.rs")]
pub mod lock;
pub mod output;
#[cfg_attr(windows, path = "windows/process.rs")]
pub mod process;
pub mod roster;
pub mod scratch;
pub mod sdk;
pub mod sys;
#[cfg_attr(windows, path = "windows/zygote.rs")]
pub mod zygote;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Restart;

/// Everything that decides how a script runs; two equal specs need no restart.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerSpec {
    /// Unique; `mytest.test` for `python.d/mytest/test.py`.
    pub id: String,
    /// Name of the `[[inputs.pythond]]` block.
    pub input: String,
    /// The first one, where there are several.
    pub script: PathBuf,
    pub collectors: Collectors,
    /// The name under which the script is loaded: its stem, or `<folder>.<stem>` one level down.
    pub module: String,
    /// Folders that come first on the script's module path.
    pub roots: Vec<PathBuf>,
    /// The interpreter as written in the settings.
    pub cmd: String,
    /// Added to the environment.
    pub envs: Vec<(String, String)>,
    /// Added to the script's points where absent.
    pub tags: BTreeMap<String, String>,
    /// Handed to the script as `self.config`.
    pub config: serde_json::Value,
    pub nice: i32,
    /// Bytes of memory that one worker may use.
    pub memory_max: Option<u64>,
    /// Whose rights it has; `None`: those of the agent.
    pub user: Option<String>,
    pub restart: Restart,
    pub max_age: Option<Duration>,
    pub max_runs: Option<u64>,
    pub umask: Option<u32>,
    /// `None`: the folder of the script.
    pub cwd: Option<PathBuf>,
    /// Wall time one run may take; `None`: silence decides.
    pub run_timeout: Option<Duration>,
    /// How long a run may go on after a stop.
    pub stop_grace: Duration,
}

/// Which collectors a worker runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Collectors {
    /// All of its script.
    All,
    /// None: it tells which ones its script has and ends, and each gets a worker of its own.
    Told,
    /// One class of the script with the id `of`.
    One { class: String, of: String },
    /// All of several scripts.
    Several(Vec<ScriptFile>),
}

/// A script among others.
#[derive(Debug, Clone, PartialEq)]
pub struct ScriptFile {
    pub id: String,
    pub path: PathBuf,
    pub root: PathBuf,
    pub module: String,
}

impl WorkerSpec {
    /// Says whether another script lies in the same root, and so may import this one.
    pub fn has_siblings_in(&self, all: &[Self]) -> bool {
        all.iter().any(|other| other.script != self.script && other.roots.first() == self.roots.first())
    }

    /// The scripts of its process.
    pub fn scripts(&self) -> Vec<ScriptFile> {
        match &self.collectors {
            Collectors::Several(scripts) => scripts.clone(),
            Collectors::All | Collectors::Told | Collectors::One { .. } => vec![ScriptFile {
                id: self.id.clone(),
                path: self.script.clone(),
                root: self.roots.first().cloned().unwrap_or_default(),
                module: self.module.clone(),
            }],
        }
    }

    /// The worker of one class of its script.
    #[must_use]
    pub fn of_class(&self, class: &str) -> Self {
        let collectors = Collectors::One { class: class.to_owned(), of: self.id.clone() };
        Self { id: format!("{}:{class}", self.id), collectors, ..self.clone() }
    }

    /// A worker for each of its scripts, as somebody who tries them one by one wants it.
    pub fn apart(self) -> Vec<Self> {
        if !matches!(self.collectors, Collectors::Several(_)) {
            return vec![self];
        }
        let alone = |script: ScriptFile| {
            let mut roots = vec![script.root.clone()];
            roots.extend(self.roots.iter().filter(|root| **root != script.root).cloned());
            let ScriptFile { id, path, module, .. } = script;
            Self { id, script: path, module, roots, collectors: Collectors::All, ..self.clone() }
        };
        self.scripts().into_iter().map(alone).collect()
    }
}
