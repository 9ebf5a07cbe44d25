//! One worker: a `python3` process that runs one unit, or several of an input, or tells which units there are.
//!
//! `discover` finds the scripts, `life` decides (a pure state machine), `starter` starts processes (`spawner` as programs, `zygote` by
//! forks), `leash` holds on to them and ends them, `leftovers` ends what nobody holds, `guard` does so when the agent is killed, `cgroup` and `lock` hold what they start together,
//! `frames` is what agent and worker say to each other, `output` drains what a script prints, `room` says how many may run at a time, `roster` tells ingest who sends, `sdk` is
//! the Python package.
//!
//! No file here uses one that uses it; `tests/floors.rs` holds this.

pub mod cgroup;
mod children;
pub mod cookie;
pub mod discover;
pub mod files;
pub mod frames;
pub mod guard;
pub mod lastgood;
pub mod launch;
pub mod leash;
pub mod leftovers;
pub mod life;
pub mod lock;
pub mod output;
pub mod parts;
pub mod process;
pub mod room;
pub mod roster;
pub mod scratch;
pub mod sdk;
mod spawner;
pub mod starter;
pub mod sys;
pub mod zygote;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Restart;
use crate::dialect::Dialect;

/// A file name may have 255 bytes.
const LONGEST_NAME: usize = 200;

/// Everything that decides how a worker runs; two equal specs need no restart.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerSpec {
    /// Unique: the id of its unit, or `[<input>]` where several share the process.
    pub id: String,
    /// Name of the input.
    pub input: String,
    pub dialect: Dialect,
    /// The word of `isolation`.
    pub isolation: &'static str,
    /// The dialect's own keys of the input.
    pub settings: serde_json::Value,
    pub duty: Duty,
    /// At least one.
    pub units: Vec<UnitSpec>,
    /// Its units share the process, whatever their number.
    pub shares: bool,
    /// Folders that come first on the module path.
    pub roots: Vec<PathBuf>,
    /// The interpreter as written in the settings.
    pub cmd: String,
    /// Added to the environment.
    pub envs: Vec<(String, String)>,
    /// Added to the points where absent.
    pub tags: BTreeMap<String, String>,
    /// Handed to the user's code as the table `config` of the input.
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
    /// `None`: the folder of the first unit's file.
    pub cwd: Option<PathBuf>,
    /// Wall time one run may take; `None`: silence decides.
    pub run_timeout: Option<Duration>,
    /// How long a run may go on after a stop.
    pub stop_grace: Duration,
}

/// What a worker is there for.
#[derive(Debug, Clone, PartialEq)]
pub enum Duty {
    /// It runs its units, which were found by their names.
    Run,
    /// It is a lister: it tells which units there are, and ends; each of them gets a worker of its own.
    List,
    /// It runs units that the lister with this id has told.
    RunTold { by: String },
}

/// What has a row in the status: a file, or a part of what a lister was asked to look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitSpec {
    /// Unique; `mytest.test` for `python.d/mytest/test.py`.
    pub id: String,
    pub file: PathBuf,
    /// The folder that comes first on its module path.
    pub root: PathBuf,
    /// The name under which the file is loaded: its stem, or `<folder>.<stem>` one level down.
    pub module: String,
    /// What is shown beside the id; empty where there is no more to say.
    pub title: String,
    /// Where in the file it comes from; 0: unknown, or all of it.
    pub line: u32,
    /// What of the file it is, in the words of its dialect; null: all of it.
    pub parts: serde_json::Value,
    /// Settings files whose change concerns it, as far as its lister knows.
    pub reads: Vec<PathBuf>,
    /// Not being well is not worth a warning.
    pub quiet: bool,
}

impl UnitSpec {
    /// A file as a whole.
    pub fn of_file(id: String, file: PathBuf, root: PathBuf, module: String) -> Self {
        let (title, parts) = (String::new(), serde_json::Value::Null);
        Self { id, file, root, module, title, line: 0, parts, reads: Vec::new(), quiet: false }
    }
}

impl WorkerSpec {
    /// The unit that stands for the worker where one has to.
    pub fn first(&self) -> &UnitSpec {
        self.units.first().expect("a worker has at least one unit")
    }

    /// The file of the unit with this number, or the first one's: a worker may claim any number.
    pub fn file_of(&self, unit: usize) -> &Path {
        &self.units.get(unit).unwrap_or_else(|| self.first()).file
    }

    pub fn lists(&self) -> bool {
        self.duty == Duty::List
    }

    /// The lister that told its units.
    pub fn told_by(&self) -> Option<&str> {
        match &self.duty {
            Duty::RunTold { by } => Some(by),
            Duty::Run | Duty::List => None,
        }
    }

    /// Says whether another file lies in the same root, and so may import this one.
    pub fn has_siblings_in(&self, all: &[Self]) -> bool {
        all.iter().any(|other| other.first().file != self.first().file && other.roots.first() == self.roots.first())
    }

    /// The worker of units that this lister told; `process`: what they share, or nothing.
    #[must_use]
    pub fn of_told(&self, units: Vec<UnitSpec>, process: &str) -> Self {
        let mut roots = self.roots.clone();
        for root in units.iter().map(|unit| &unit.root) {
            if !roots.contains(root) {
                roots.push(root.clone());
            }
        }
        let own = units.first().map_or(process, |unit| &unit.id);
        let (id, shares) = if process.is_empty() { (own.to_owned(), false) } else { (format!("[{process}]"), true) };
        Self { id, duty: Duty::RunTold { by: self.id.clone() }, units, shares, roots, ..self.clone() }
    }

    /// The same worker under the settings of its lister as they are now.
    #[must_use]
    pub fn under(&self, lister: &Self) -> Self {
        lister.of_told(self.units.clone(), self.process())
    }

    /// The name of the process that its units share; empty where one has its own.
    pub fn process(&self) -> &str {
        let process = self.id.strip_prefix('[').and_then(|id| id.strip_suffix(']')).filter(|_| self.shares);
        process.unwrap_or_default()
    }

    /// A worker for each of its units, as somebody who tries them one by one wants it.
    pub fn apart(self) -> Vec<Self> {
        if !self.shares {
            return vec![self];
        }
        let alone = |unit: &UnitSpec| {
            let mut roots = vec![unit.root.clone()];
            roots.extend(self.roots.iter().filter(|root| **root != unit.root).cloned());
            Self { id: unit.id.clone(), units: vec![unit.clone()], shares: false, roots, ..self.clone() }
        };
        self.units.iter().map(alone).collect()
    }
}

/// Returns the name of a file or folder for an id: the id itself where it can be one, else its readable part with its hash.
fn file_name(id: &str) -> String {
    let plain: String = id.chars().map(|c| if c == '/' || c.is_control() { '_' } else { c }).collect();
    let is_whole = plain == id && id.len() <= LONGEST_NAME && !id.starts_with('.');
    if is_whole {
        return plain;
    }
    let mut end = plain.len().min(LONGEST_NAME);
    while !plain.is_char_boundary(end) {
        end -= 1;
    }
    format!("_{}-{}", &plain[..end], files::Sum::of(id.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_has_a_file_of_its_own() {
        assert_eq!(file_name("my.a@one~2"), "my.a@one~2");
        let odd = [
            "a/b",
            "a_b",
            ".",
            "..",
            ".hid",
            "a\nb",
            &"x".repeat(300),
            &format!("{}y", "x".repeat(299)),
            &"é".repeat(200),
            // Two whose CRC-32C is the same: checksums of 32 bits do not keep names apart.
            &format!("{}ccaoacux", "x".repeat(300)),
            &format!("{}wcjifoae", "x".repeat(300)),
        ];
        let names: std::collections::BTreeSet<String> = odd.iter().map(|id| file_name(id)).collect();
        assert_eq!(names.len(), odd.len());
        assert!(names.iter().all(|name| name.len() < 240 && !name.contains('/') && !name.starts_with('.')));
    }
}
