//! One worker: a `python3` process that runs one script.
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
    pub script: PathBuf,
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

impl WorkerSpec {
    /// Says whether another script lies in the same root, and so may import this one.
    pub fn has_siblings_in(&self, all: &[Self]) -> bool {
        all.iter().any(|other| other.script != self.script && other.roots.first() == self.roots.first())
    }
}
