//! The jobs of a unit: what each of them is, how it is with it, and what it did.
//!
//! Jobs come and go while their worker lives. A worker numbers them for the time of its life; what they did is counted by their key, so the
//! counts go on when the worker is another one.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use super::basics::after;
use super::view::{JobSnapshot, JobState, LastRun};
use crate::worker::frames::{JobFrame, JobStands, RunEnded};

/// What has been counted of a job, over all lives of its worker.
#[derive(Debug, Clone, Copy, Default)]
struct JobCounts {
    runs_ok: u64,
    runs_failed: u64,
    points: u64,
    last_run: Option<LastRun>,
}

#[derive(Debug)]
struct JobRecord {
    told: JobFrame,
    state: JobState,
    why: Option<String>,
    next: Option<Instant>,
    is_running: bool,
    /// Points of its last run that were refused.
    refused: u64,
    counts: JobCounts,
}

#[derive(Debug, Default)]
pub(super) struct JobRecords {
    by_number: BTreeMap<usize, JobRecord>,
    /// Of jobs that the live worker has not told: yet, or at all.
    parked: HashMap<String, JobCounts>,
}

impl JobRecords {
    pub fn has(&self, number: usize) -> bool {
        self.by_number.contains_key(&number)
    }

    pub fn numbers(&self) -> impl Iterator<Item = usize> {
        self.by_number.keys().copied()
    }

    pub fn key(&self, number: usize) -> Option<&str> {
        self.by_number.get(&number).map(|job| job.told.key.as_str())
    }

    /// Says whether nobody misses points of a job.
    pub fn is_silent(&self, number: usize) -> bool {
        self.by_number.get(&number).is_some_and(|job| job.told.silent)
    }

    /// `A every 10 s, B every 60 s`
    pub fn schedule(&self) -> String {
        let one = |job: &JobRecord| format!("{} every {} s", job.told.key, job.told.every);
        self.by_number.values().map(one).collect::<Vec<_>>().join(", ")
    }

    /// Takes a job that has come, or whose schedule changed.
    pub fn set(&mut self, told: JobFrame, now: Instant) {
        let next = (told.next_ms > 0).then(|| after(now, told.next_ms));
        match self.by_number.get_mut(&told.i) {
            Some(job) => {
                job.next = next.or(job.next);
                job.told = told;
            }
            None => {
                let counts = self.parked.remove(&told.key).unwrap_or_default();
                let number = told.i;
                // A new one is due at once.
                let next = next.or(Some(now));
                let job = JobRecord {
                    told,
                    state: JobState::Starting,
                    why: None,
                    next,
                    is_running: false,
                    refused: 0,
                    counts,
                };
                self.by_number.insert(number, job);
            }
        }
    }

    pub fn drop_job(&mut self, number: usize) {
        self.by_number.remove(&number);
    }

    /// All units of the worker are loaded: jobs of before that were not told again are gone.
    pub fn ready(&mut self) {
        self.parked.clear();
    }

    /// The process is gone, and its numbers with it.
    pub fn ended(&mut self) {
        for job in std::mem::take(&mut self.by_number).into_values() {
            self.parked.insert(job.told.key, job.counts);
        }
    }

    /// Notes how a check went.
    pub fn stands(&mut self, stands: &JobStands, now: Instant) {
        let Some(job) = self.by_number.get_mut(&stands.i) else { return };
        job.next = (stands.next_ms > 0).then(|| after(now, stands.next_ms));
        if stands.state.waits() {
            (job.state, job.why) = (JobState::Waiting, Some(stands.why.clone()).filter(|why| !why.is_empty()));
        } else if job.state == JobState::Waiting {
            (job.state, job.why) = (JobState::Starting, None);
        }
    }

    pub fn run_began(&mut self, number: usize) {
        if let Some(job) = self.by_number.get_mut(&number) {
            (job.next, job.is_running) = (None, true);
        }
    }

    /// Counts a run; gives the scheduled runs that were missed because it took long.
    pub fn run_ended(&mut self, end: &RunEnded, now: Instant) -> u64 {
        let Some(job) = self.by_number.get_mut(&end.i) else { return 0 };
        (job.next, job.is_running) = (Some(after(now, end.next_ms)), false);
        job.refused = if end.ok { end.refused } else { 0 };
        (job.state, job.why) = match (end.ok, end.refused) {
            (false, _) => (JobState::Failing, Some(end.raised())),
            (true, 0) => (JobState::Ok, None),
            (true, _) => (JobState::Refused, None),
        };
        let counts = &mut job.counts;
        counts.runs_ok += u64::from(end.ok);
        counts.runs_failed += u64::from(!end.ok);
        counts.points = counts.points.saturating_add(end.points);
        counts.last_run = Some(LastRun { at: now, ms: end.ms, points: end.points, ok: end.ok });
        if job.told.every > 0.0 { (end.ms / 1000.0 / job.told.every) as u64 } else { 0 }
    }

    pub fn any(&self, state: JobState) -> bool {
        self.by_number.values().any(|job| job.state == state)
    }

    /// None has run yet.
    pub fn are_all_new(&self) -> bool {
        self.by_number.values().all(|job| job.state == JobState::Starting)
    }

    /// Points of the last runs that were refused.
    pub fn refused(&self) -> u64 {
        self.by_number.values().map(|job| job.refused).sum()
    }

    /// How many of how many wait for their check, and why the first of them does.
    pub fn waiting(&self) -> (usize, usize, Option<String>) {
        let mut waiting = self.by_number.values().filter(|job| job.state == JobState::Waiting).peekable();
        let why = waiting.peek().map(|job| match &job.why {
            Some(why) => why.clone(),
            None => "its check did not go well".to_owned(),
        });
        (waiting.count(), self.by_number.len(), why)
    }

    /// What comes next of all of them: a run, or a check.
    pub fn next(&self) -> Option<(&'static str, Instant)> {
        let at = |job: &JobRecord| Some((job.state.comes_next(), job.next?));
        self.by_number.values().filter_map(at).min_by_key(|(_, at)| *at)
    }

    pub fn views(&self) -> Vec<JobSnapshot> {
        let view = |job: &JobRecord| JobSnapshot {
            key: job.told.key.clone(),
            title: job.told.title.clone(),
            every: job.told.every,
            state: job.state,
            is_running: job.is_running,
            why: job.why.clone(),
            next: job.next,
            last_run: job.counts.last_run,
            runs_ok: job.counts.runs_ok,
            runs_failed: job.counts.runs_failed,
            points: job.counts.points,
        };
        self.by_number.values().map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn told(number: usize, key: &str) -> JobFrame {
        serde_json::from_value(serde_json::json!({ "i": number, "key": key, "every": 10.0 })).unwrap()
    }

    fn end(number: usize, ok: bool, refused: u64) -> RunEnded {
        let (ms, points) = (25_000.0, 3);
        serde_json::from_value(serde_json::json!({
            "i": number, "k": 1, "ms": ms, "ok": ok, "points": points, "refused": refused, "next_ms": 5000,
            "exc": "KeyError", "msg": "'x'",
        }))
        .unwrap()
    }

    fn stands(number: usize, state: &str, next_ms: u64) -> JobStands {
        serde_json::from_value(
            serde_json::json!({ "i": number, "state": state, "why": "no server", "next_ms": next_ms }),
        )
        .unwrap()
    }

    #[test]
    fn counts_go_on_under_another_worker_and_are_gone_with_their_job() {
        let now = Instant::now();
        let mut jobs = JobRecords::default();
        for (number, key) in [(0, "a"), (1, "b")] {
            jobs.set(told(number, key), now);
            assert_eq!(jobs.run_ended(&end(number, true, 0), now), 2, "25 s are two of 10 s that were missed");
        }
        jobs.ended();
        assert!(jobs.views().is_empty());
        jobs.set(told(7, "b"), now);
        jobs.ready();
        assert_eq!(jobs.run_ended(&end(7, false, 0), now), 2);
        let view = jobs.views().remove(0);
        assert_eq!((view.key.as_str(), view.runs_ok, view.runs_failed, view.points), ("b", 1, 1, 6));
        assert_eq!((view.state, view.why.as_deref()), (JobState::Failing, Some("KeyError: 'x'")));
        jobs.ended();
        jobs.set(told(0, "a"), now);
        assert_eq!(jobs.views()[0].runs_ok, 0, "`a` was gone for a whole life");
        jobs.drop_job(0);
        jobs.set(told(0, "a"), now);
        assert_eq!(jobs.views()[0].runs_ok, 0);
        assert_eq!(jobs.run_ended(&end(99, true, 0), now), 0, "a worker may claim any number");
    }

    #[test]
    fn a_job_waits_until_its_check_goes_well() {
        let now = Instant::now();
        let mut jobs = JobRecords::default();
        jobs.set(told(0, "a"), now);
        jobs.set(told(1, "b"), now);
        jobs.stands(&stands(1, "waiting", 60_000), now);
        assert_eq!(jobs.waiting(), (1, 2, Some("no server".to_owned())));
        assert!(jobs.any(JobState::Waiting) && !jobs.are_all_new());
        jobs.run_ended(&end(0, true, 2), now);
        assert_eq!((jobs.refused(), jobs.next()), (2, Some(("run", now + Duration::from_secs(5)))));
        jobs.run_began(0);
        assert_eq!(jobs.next(), Some(("check", now + Duration::from_secs(60))));
        jobs.stands(&stands(1, "waiting", 0), now);
        assert_eq!(jobs.next(), None, "it waits until somebody asks");
        jobs.stands(&stands(1, "ready", 1000), now);
        assert_eq!(jobs.waiting().0, 0);
    }
}
