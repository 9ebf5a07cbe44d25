//! What the loop is asked and told: one closed enum of events, the changes that a reload orders, and how each of them comes out.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;

use super::basics::FileStamp;
use super::inquiry::ResourceTable;
use super::live::LiveStack;
use super::plan::{RefusedVersion, Runs, WantedUnit};
use super::version::Before;
use super::view::UnitSnapshot;
use crate::words::count;
use crate::worker::frames::Up;
use crate::worker::lastgood::GoodVersion;
use crate::worker::process::{Ended, Parts, StartError};

/// What is done to the set of units at run time.
#[derive(Debug)]
pub enum Change {
    Start(WantedUnit),
    /// The old worker ends its run before the new one starts.
    Restart(WantedUnit),
    /// New settings that no worker has to be restarted for; whatever was refused is gone.
    Update(WantedUnit),
    /// A version that is not run; what runs goes on.
    Refuse(String, RefusedVersion),
    /// The unit leaves, and is no longer shown once its worker has ended.
    Stop(String),
}

/// How a change ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeOutcome {
    Runs {
        pid: Option<u32>,
    },
    /// Some of the units of its process could not be loaded.
    RunsWithout {
        pid: Option<u32>,
        why: String,
    },
    /// It holds no collector and is imported by others.
    Helps,
    Fails {
        why: String,
    },
    Stopped,
    Done,
}

/// A change under way.
pub struct Settling {
    pub id: String,
    pub(super) outcome: oneshot::Receiver<ChangeOutcome>,
}

impl Settling {
    /// Waits until the change has come to its end, or the unit has left.
    pub async fn outcome(self) -> ChangeOutcome {
        self.outcome.await.unwrap_or(ChangeOutcome::Stopped)
    }
}

/// What was seen of the end of a process.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProcessExit {
    pub ended: Ended,
    /// Processes of its tree that were ended after it.
    pub left_behind: usize,
    /// The kernel ended it, or something it started, for want of memory.
    pub out_of_memory: bool,
}

/// What a stop waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnderWay {
    pub runs: usize,
    /// Scripts that are being loaded.
    pub loads: usize,
    /// How long the most patient of them may go on.
    pub longest: Duration,
}

impl UnderWay {
    /// For the one who has just asked for the stop, and may ask once more.
    pub fn tell(&self, by: &str) -> String {
        let (seconds, them) =
            (self.longest.as_secs_f64().ceil(), if self.runs + self.loads == 1 { "it" } else { "them" });
        let runs = (self.runs > 0).then(|| count(self.runs, "run"));
        let loads = (self.loads > 0).then(|| count(self.loads, "load"));
        let what: Vec<String> = runs.into_iter().chain(loads).collect();
        format!("waiting up to {seconds} s for {}; {by} again ends {them} now", what.join(" and "))
    }
}

/// Everything that the loop reacts to.
pub(super) enum LoopEvent {
    Started {
        worker: usize,
        incarnation: u64,
        program: PathBuf,
        before: Box<Before>,
        result: Box<Result<Parts, StartError>>,
    },
    Frame {
        worker: usize,
        incarnation: u64,
        frame: Box<Up>,
    },
    /// Stacks that `faulthandler` wrote.
    Stack {
        worker: usize,
        incarnation: u64,
        text: String,
    },
    /// A worker lives without its control socket.
    ControlLost {
        worker: usize,
        incarnation: u64,
    },
    Died {
        worker: usize,
        incarnation: u64,
        exit: ProcessExit,
    },
    FileLooked {
        worker: usize,
        file: Option<FileStamp>,
    },
    /// The files that a worker has loaded were kept, or could not be.
    Kept {
        worker: usize,
        incarnation: u64,
        kept: Result<GoodVersion, String>,
    },
    Snapshot(oneshot::Sender<Vec<UnitSnapshot>>),
    Running(oneshot::Sender<Vec<Runs>>),
    Apply(Vec<Change>, oneshot::Sender<Vec<Settling>>),
    /// Ends and starts the worker of the unit with this name; answers whether there is one.
    Restart(String, oneshot::Sender<bool>),
    RunNow(String, oneshot::Sender<bool>),
    Recheck(String, oneshot::Sender<bool>),
    /// Has a live worker write its stacks; the answer is dropped where there is no such unit.
    TakeStack(String, oneshot::Sender<LiveStack>),
    /// Has a live worker tell what a unit runs against; the answer is dropped where there is no such unit.
    TakeResources(String, oneshot::Sender<ResourceTable>),
    /// Asks what a stop with this patience would wait for.
    UnderWay(Duration, oneshot::Sender<Option<UnderWay>>),
    Stop(Duration, oneshot::Sender<()>),
    /// Somebody does not want to wait for the stop.
    EndNow,
    #[cfg(test)]
    Panic,
}
