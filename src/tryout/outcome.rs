//! Everything that a script did while it was tried.

use std::path::PathBuf;
use std::time::Duration;

use crate::point::{Category, Point, Repair};
use crate::worker::WorkerSpec;
use crate::worker::frames::{Fatal, Hello, JobFrame, JobStands, Loaded, RefusedReport, RunEnded, ToldUnit, Up, Warn};
use crate::worker::process::Ended;

/// Everything that a script did.
#[derive(Debug, Default)]
pub struct TryoutOutcome {
    pub python: Option<Hello>,
    /// The files of the user that were loaded, also before a failure.
    pub loaded: Vec<Loaded>,
    /// Settings files that were read, and folders that were looked into.
    pub read: Vec<PathBuf>,
    /// All units are loaded, or a lister has told all.
    pub is_ready: bool,
    /// All jobs that there were, in the order in which they came.
    pub jobs: Vec<JobFrame>,
    /// How their checks went.
    pub checks: Vec<JobStands>,
    /// What a lister told.
    pub units: Vec<ToldUnit>,
    pub faults: Vec<Warn>,
    /// Which of several units was loaded last, or could not be.
    pub last_unit: usize,
    pub runs: Vec<RunEnded>,
    pub fatal: Option<Fatal>,
    pub warnings: Vec<Warn>,
    pub refused: Vec<RefusedReport>,
    /// `stdout | …` and `stderr | …`.
    pub output: Vec<String>,
    /// Stacks of a hang or crash.
    pub trace: String,
    pub end: Option<TryoutEnd>,
    pub captured: Vec<Captured>,
    /// What was changed in points that the unit has posted by itself; of all others the worker says it.
    pub repaired: Vec<Repair>,
}

#[derive(Debug)]
pub enum TryoutEnd {
    Ended(Ended),
    TimedOut(Duration),
    NotStarted(String),
}

/// One accepted report.
#[derive(Debug)]
pub struct Captured {
    pub category: Category,
    pub lines: Vec<u8>,
    pub points: Vec<Point<'static>>,
}

/// What the worker and its pipes say.
pub(super) enum Heard {
    Frame(Box<Up>),
    Line(String),
    Stack(String),
}

impl TryoutOutcome {
    pub(super) fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Line(line) => self.output.push(line),
            Heard::Stack(text) => self.trace.push_str(&text),
            Heard::Frame(frame) => match *frame {
                Up::Hello(hello) => self.python = Some(hello),
                Up::Loaded { files } => self.loaded.extend(files),
                Up::Loading { u } => self.last_unit = u,
                // One that went has run all the same.
                Up::Jobs { set, gone: _ } => self.hear_jobs(set),
                Up::Ready {} => self.is_ready = true,
                Up::Job(stands) => self.checks.push(stands),
                Up::Read { files, folders } => {
                    self.read.extend(files.into_iter().map(|read| read.file));
                    self.read.extend(folders.into_iter().map(|looked| looked.folder));
                }
                Up::Units { units } => self.units.extend(units),
                Up::Fault(fault) => self.faults.push(fault),
                Up::Listed {} => self.is_ready = true,
                Up::End(end) => self.runs.push(end),
                Up::Ran { runs } => self.runs.extend(runs.into_iter().map(Into::into)),
                Up::Fatal(fatal) => self.fatal = Some(fatal),
                Up::Warn(warn) => self.warnings.push(warn),
                Up::Refused(refused) => self.refused.push(refused),
                // The worker that takes over tells it.
                Up::Unloaded(_) => {}
                // Nobody asks for the resources of one that is tried.
                Up::Run { .. } | Up::Resources(_) | Up::Bye { .. } | Up::Unknown => {}
            },
        }
    }

    fn hear_jobs(&mut self, set: Vec<JobFrame>) {
        for job in set {
            match self.jobs.iter_mut().find(|known| known.i == job.i) {
                Some(known) => *known = job,
                None => self.jobs.push(job),
            }
        }
    }

    /// The key of a job, for messages.
    pub fn key(&self, job: usize) -> &str {
        self.jobs.iter().find(|found| found.i == job).map_or("?", |found| &found.key)
    }

    /// Those of the told units that run, each in a worker of its own.
    pub fn told<'a>(&'a self, lister: &'a WorkerSpec) -> impl Iterator<Item = WorkerSpec> + 'a {
        let on = self.units.iter().filter(|unit| unit.off.is_empty());
        on.map(|unit| lister.of_told(vec![unit.clone().into_unit()], ""))
    }
}
