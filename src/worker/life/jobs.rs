//! The jobs of a worker and their runs: which are under way, which last too long, and whether one should have begun.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::limits::{LifeLimits, in_words};

#[derive(Debug, Default)]
pub(super) struct LifeJobs {
    schedules: BTreeMap<usize, Schedule>,
    /// Runs under way and when they began.
    running: BTreeMap<usize, Instant>,
}

#[derive(Debug)]
struct Schedule {
    every: Duration,
    /// For its check: it has no runs to be missed.
    waits: bool,
    /// Where it said so.
    next_run: Option<Instant>,
}

/// How it is with the runs.
#[derive(Debug, PartialEq)]
pub(super) enum RunPace {
    Fine,
    Late,
    Hung(String),
}

impl LifeJobs {
    /// Takes jobs that came or have another interval now.
    pub fn set(&mut self, set: Vec<(usize, Duration)>) {
        for (job, every) in set {
            let new = Schedule { every, waits: false, next_run: None };
            self.schedules.entry(job).and_modify(|known| known.every = every).or_insert(new);
        }
    }

    /// Forgets jobs that went, also those in a run.
    pub fn forget(&mut self, gone: &[usize]) {
        for job in gone {
            self.schedules.remove(job);
            self.running.remove(job);
        }
    }

    pub fn waits(&mut self, job: usize, waits: bool) {
        if let Some(schedule) = self.schedules.get_mut(&job) {
            schedule.waits = waits;
        }
    }

    pub fn next_run(&mut self, job: usize, at: Option<Instant>) {
        if let Some(schedule) = self.schedules.get_mut(&job) {
            schedule.next_run = at;
        }
    }

    /// Says whether there is a job that has to run.
    pub fn is_due(&self) -> bool {
        self.schedules.values().any(|schedule| !schedule.waits)
    }

    pub fn began(&mut self, job: usize, now: Instant) {
        self.running.insert(job, now);
        self.next_run(job, None);
    }

    pub fn ended(&mut self, job: usize) {
        self.running.remove(&job);
    }

    pub fn rest(&self) -> bool {
        self.running.is_empty()
    }

    /// The jobs that are in a run, and when that began.
    pub fn under_way(&self) -> impl Iterator<Item = (usize, Instant)> {
        self.running.iter().map(|(job, began)| (*job, *began))
    }

    /// The loop was held up: nobody is late for that.
    pub fn held(&mut self, by: Duration, now: Instant) {
        self.running.values_mut().for_each(|began| *began = (*began + by).min(now));
    }

    /// When the first of the runs under way counts as hung.
    pub fn end_at(&self, last_activity: Instant, limits: &LifeLimits) -> Option<Instant> {
        // Where a worker says that it runs once in a thousand years there is no such time.
        let limit = |(job, began): (usize, Instant)| match limits.run_timeout {
            Some(limit) => began.checked_add(limit),
            None => last_activity.max(began).checked_add(self.silence_limit(job, limits)),
        };
        self.under_way().filter_map(limit).min()
    }

    /// Looks for runs that last too long and for silence; between two runs, whether the next one should have begun.
    pub fn pace(&self, last_activity: Instant, limits: &LifeLimits, now: Instant) -> RunPace {
        if self.rest() {
            return self.pace_at_rest(last_activity, limits, now);
        }
        for (job, began) in self.under_way() {
            let lasts = now.saturating_duration_since(began);
            let silent = now.saturating_duration_since(last_activity.max(began));
            if let Some(limit) = limits.run_timeout {
                if lasts >= limit {
                    return RunPace::Hung(format!("hung: its run lasted longer than run_timeout, {}", in_words(limit)));
                }
            } else if silent >= self.silence_limit(job, limits) {
                return RunPace::Hung(format!("hung: no sign of life for {}", in_words(silent)));
            }
        }
        let is_late = |(job, began): (usize, Instant)| {
            now.saturating_duration_since(began) >= self.interval(job).max(limits.overdue_min)
        };
        if self.under_way().any(is_late) { RunPace::Late } else { RunPace::Fine }
    }

    fn pace_at_rest(&self, last_activity: Instant, limits: &LifeLimits, now: Instant) -> RunPace {
        let due = || self.schedules.values().filter(|schedule| !schedule.waits);
        // With no job that is due there is no run to be missed.
        let Some(rest) = due().map(|schedule| schedule.every).min() else { return RunPace::Fine };
        let since = due().map(|schedule| schedule.rests_since(last_activity)).min().unwrap_or(last_activity);
        let silent = now.saturating_duration_since(since);
        if silent >= rest.saturating_add(rest.saturating_mul(10).max(limits.silence_min)) {
            return RunPace::Hung(format!("hung: no run began for {}", in_words(silent)));
        }
        if silent >= rest.saturating_mul(3).max(limits.idle_min) { RunPace::Late } else { RunPace::Fine }
    }

    fn silence_limit(&self, job: usize, limits: &LifeLimits) -> Duration {
        self.interval(job).saturating_mul(10).max(limits.silence_min)
    }

    fn interval(&self, job: usize) -> Duration {
        self.schedules.get(&job).map(|schedule| schedule.every).unwrap_or_default()
    }
}

impl Schedule {
    /// When its rest before the next run began: a pause that it asked for moves that.
    fn rests_since(&self, last_activity: Instant) -> Instant {
        let paused = self.next_run.and_then(|at| at.checked_sub(self.every));
        paused.map_or(last_activity, |paused| paused.max(last_activity))
    }
}
