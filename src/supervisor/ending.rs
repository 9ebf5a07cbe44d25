//! The end of a worker's process: what it was, in one sentence, and what becomes of its units.

use std::fmt;
use std::time::Instant;

use super::events::ProcessExit;
use super::live;
use super::shared::SupervisorShared;
use super::unit::Unit;
use super::worker::Worker;
use crate::telemetry::counters::ByUnit;
use crate::worker::life::{FailureKind, LifeInput};
use crate::worker::process::{Ended, Signal};

/// How a process ended, as a sentence for people.
#[derive(Debug, PartialEq, Eq)]
struct Ending {
    ended: Ended,
    during: During,
    /// The line that its stack shows.
    place: Option<String>,
    out_of_memory: Option<OutOfMemory>,
    last_words: Option<String>,
}

/// What it was doing.
#[derive(Debug, PartialEq, Eq)]
enum During {
    /// It never said anything.
    Start {
        cmd: String,
        python_home: Option<String>,
    },
    /// `it`, or the unit of several.
    Load(String),
    /// In a run of these jobs, of several units.
    Runs(Vec<String>),
    Nothing,
}

#[derive(Debug, PartialEq, Eq)]
enum OutOfMemory {
    /// Its own limit, in bytes.
    Limit(u64),
    Machine,
}

/// How ends are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkerEnd {
    NotStarted,
    Hung,
    Recycled,
    Stopped,
    OutOfMemory,
    Exited,
    Killed,
}

impl Worker {
    pub fn died(&mut self, exit: ProcessExit, shared: &mut SupervisorShared, now: Instant) {
        self.answer_look(exit.ended);
        self.end_inquiries();
        let Some(process) = self.process.take() else { return };
        self.dismiss(&process.token, shared);
        let under_way = self.under_way();
        self.units.iter_mut().for_each(Unit::ended);
        self.frames_lost += process.frames_missed();
        let is_expected = self.life.is_stopping();
        let clean = exit.ended == Ended::Exited(0) && !self.life.is_spawning();
        // A program that the unit started may have been the one; then the unit lived on and ended for another reason.
        let out_of_memory = exit.out_of_memory && !is_expected && exit.ended == Ended::Killed(Signal::KILL.as_raw());
        let place = self.place_of_stack().filter(|_| matches!(exit.ended, Ended::Killed(_)));
        let during = self.during(under_way.into_iter().filter(|_| !is_expected && place.is_none()).collect());
        let limit = self.spec.memory_max.map_or(OutOfMemory::Machine, OutOfMemory::Limit);
        let ending = Ending {
            ended: exit.ended,
            during,
            place,
            out_of_memory: out_of_memory.then_some(limit),
            last_words: self.output.last_word(),
        };
        if let Some(why) = self.life.recycles_because() {
            self.recycled = (self.recycled.0 + 1, Some(why.to_owned()));
        }
        self.count_end(match exit.ended {
            _ if self.life.ends_because() == Some(FailureKind::Hung) => WorkerEnd::Hung,
            _ if self.life.recycles_because().is_some() => WorkerEnd::Recycled,
            _ if is_expected => WorkerEnd::Stopped,
            _ if out_of_memory => WorkerEnd::OutOfMemory,
            Ended::Exited(_) => WorkerEnd::Exited,
            Ended::Killed(_) => WorkerEnd::Killed,
        });
        if exit.left_behind > 0 {
            tracing::info!(target: "worker", "{}: {}", self.spec.id, LeftBehind(exit.left_behind));
        }
        if self.life.ends_because().is_none()
            && matches!(exit.ended, Ended::Killed(_))
            && let Some(stack) = self.own_stack()
        {
            self.output.logs.cli(&format!("{}: {ending}\n{}", self.spec.id, stack.trim_end()));
        }
        self.step(LifeInput::Exited { why: ending.to_string(), clean }, shared, now);
        self.fall_back(shared, now);
    }

    /// Whoever asked for its stacks gets what there is.
    fn answer_look(&mut self, ended: Ended) {
        let Some(look) = self.look.take() else { return };
        // What it wrote last may be of the crash that ended it.
        if matches!(ended, Ended::Killed(_)) && !look.text().is_empty() {
            self.keep_stack(look.text());
        }
        look.answer(self.pid(), Some(live::silence(None, live::NOTHING_WRITTEN)));
    }

    fn during(&self, runs: Vec<String>) -> During {
        if self.life.is_spawning() {
            let python_home = self.spec.envs.iter().rev().find(|(key, _)| key == "PYTHONHOME");
            return During::Start {
                cmd: self.spec.cmd.clone(),
                python_home: python_home.map(|(_, home)| home.clone()),
            };
        }
        if self.life.is_loading() {
            let unit = self.units.get(self.loading).filter(|_| self.units.len() > 1);
            return During::Load(unit.map_or("it", |unit| &unit.id).to_owned());
        }
        if runs.is_empty() { During::Nothing } else { During::Runs(runs) }
    }

    /// The jobs of several units that are in a run: one of them is the reason when the process hangs or ends.
    pub(super) fn under_way(&self) -> Vec<String> {
        if self.units.len() < 2 {
            return Vec::new();
        }
        let name = |job: usize| {
            let unit = self.units.iter().find(|unit| unit.jobs.has(job))?;
            Some(format!("{} ({})", unit.id, unit.jobs.key(job).unwrap_or_default()))
        };
        self.life.runs_under_way().filter_map(|(job, _)| name(job)).collect()
    }

    /// A version on disk that cannot be loaded leaves the last good one its place.
    fn fall_back(&mut self, shared: &mut SupervisorShared, now: Instant) {
        let why = self.why().unwrap_or_default();
        if self.standing().has_failed() && self.version.falls_back(&self.spec, self.fatal_of.take(), &why) {
            tracing::warn!(target: "worker", "{}: starting its last good version instead", self.spec.id);
            self.output.logs.cli(&format!("{}: starting its last good version instead", self.spec.id));
            self.step(LifeInput::Changed, shared, now);
        }
    }

    pub(super) fn count_end(&self, result: WorkerEnd) {
        self.counters
            .worker_ends
            .get_or_create(&ByUnit { unit: self.spec.id.clone(), result: result.word().to_owned() })
            .inc();
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.ended.tell())?;
        if let During::Start { cmd, python_home } = &self.during {
            write!(f, " before it said anything; is `{cmd}` a Python 3?")?;
            if let Some(home) = python_home {
                write!(f, " And is PYTHONHOME=`{home}` its home?")?;
            }
        }
        if let Some(place) = &self.place {
            write!(f, " at {place}")?;
        }
        match self.out_of_memory {
            Some(OutOfMemory::Limit(max)) => write!(f, ": it used more than its memory_max, {} MiB", max >> 20)?,
            Some(OutOfMemory::Machine) => f.write_str(": the machine had no memory left")?,
            None => {}
        }
        match &self.during {
            During::Load(what) => write!(f, " while {what} was loaded")?,
            During::Runs(runs) => write!(f, "; in a run then: {}", runs.join(", "))?,
            During::Start { .. } | During::Nothing => {}
        }
        match &self.last_words {
            Some(words) => write!(f, "; its last words: {words}"),
            None => Ok(()),
        }
    }
}

impl WorkerEnd {
    fn word(self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::Hung => "hung",
            Self::Recycled => "recycled",
            Self::Stopped => "stopped",
            Self::OutOfMemory => "oom",
            Self::Exited => "exited",
            Self::Killed => "killed",
        }
    }
}

/// So many processes were ended after the worker.
struct LeftBehind(usize);

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (noun, verb) = if self.0 == 1 { ("process", "was") } else { ("processes", "were") };
        write!(f, "{} {noun} that it left behind {verb} ended", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_that_was_left_behind_is_told_in_the_singular() {
        assert_eq!(LeftBehind(1).to_string(), "1 process that it left behind was ended");
        assert_eq!(LeftBehind(57).to_string(), "57 processes that it left behind were ended");
    }

    #[test]
    fn the_sentence_names_how_where_and_why() {
        let plain =
            |ended| Ending { ended, during: During::Nothing, place: None, out_of_memory: None, last_words: None };
        let killed = plain(Ended::Killed(Signal::KILL.as_raw()));
        let table = [
            (plain(Ended::Exited(3)), "exited with code 3"),
            (
                Ending {
                    during: During::Start { cmd: "sh".to_owned(), python_home: Some("/x".to_owned()) },
                    ..plain(Ended::Exited(0))
                },
                "exited with code 0 before it said anything; is `sh` a Python 3? And is PYTHONHOME=`/x` its home?",
            ),
            (
                Ending {
                    place: Some("my/x.py:3 in act".to_owned()),
                    last_words: Some("bye".to_owned()),
                    ..plain(Ended::Killed(11))
                },
                "killed by signal 11 (SIGSEGV) at my/x.py:3 in act; its last words: bye",
            ),
            (
                Ending { out_of_memory: Some(OutOfMemory::Limit(64 << 20)), ..plain(Ended::Killed(9)) },
                "killed by signal 9 (SIGKILL): it used more than its memory_max, 64 MiB",
            ),
            (
                Ending { during: During::Load("my.x".to_owned()), ..plain(Ended::Exited(1)) },
                "exited with code 1 while my.x was loaded",
            ),
            (
                Ending {
                    during: During::Runs(vec!["a.x (A)".to_owned(), "a.y (C)".to_owned()]),
                    out_of_memory: Some(OutOfMemory::Machine),
                    ..killed
                },
                "killed by signal 9 (SIGKILL): the machine had no memory left; in a run then: a.x (A), a.y (C)",
            ),
        ];
        for (ending, sentence) in table {
            assert_eq!(ending.to_string(), sentence);
        }
    }
}
