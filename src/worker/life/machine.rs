//! The machine itself: which input leads where, and what it orders.

use std::time::{Duration, Instant};

use super::breaker::{Breaker, Delay};
use super::chance::Chance;
use super::jobs::{LifeJobs, RunPace};
use super::limits::{LifeLimits, in_words};
use super::recycling::Recycling;
use super::states::{FailureKind, FailureText, LifeAction, LifeInput, LifeState, StopStep};
use super::stops::{self, ASK_MORE, AfterStop};
use crate::config::Restart;

/// The life of one worker, over all its incarnations.
#[derive(Debug)]
pub struct Life {
    pub(super) limits: LifeLimits,
    pub(super) state: LifeState,
    pub(super) since: Instant,
    /// When the present state ends by itself.
    pub(super) deadline: Option<Instant>,
    pub(super) jobs: LifeJobs,
    pub(super) last_activity: Instant,
    /// When this incarnation was ready.
    ready_at: Option<Instant>,
    had_good_run: bool,
    /// The order to start it has brought a process.
    is_spawned: bool,
    pub(super) recycling: Recycling,
    slowest_spawn: Duration,
    slowest_load: Duration,
    /// What ended or will end this incarnation, if it is known before the end.
    pub(super) cause: Option<FailureText>,
    fatal_is_permanent: bool,
    pub(super) after_stop: AfterStop,
    /// The last failure; stands until a run goes well.
    pub(super) failure: Option<FailureText>,
    breaker: Breaker,
    pub(super) restarts: u64,
    chance: Chance,
}

impl Life {
    /// A worker that has not run yet; `seed` spreads the backoff of several.
    pub fn new(limits: LifeLimits, seed: u64, now: Instant) -> Self {
        Self {
            limits,
            state: LifeState::Waiting,
            since: now,
            deadline: None,
            jobs: LifeJobs::default(),
            last_activity: now,
            ready_at: None,
            had_good_run: false,
            is_spawned: false,
            recycling: Recycling::default(),
            slowest_spawn: Duration::ZERO,
            slowest_load: Duration::ZERO,
            cause: None,
            fatal_is_permanent: false,
            after_stop: AfterStop::Fail,
            failure: None,
            breaker: Breaker::new(now),
            restarts: 0,
            chance: Chance::new(seed),
        }
    }

    /// Adds to the failure what became known after it, such as the place of a hang.
    pub fn explain(&mut self, more: &str) {
        if let Some(failure) = self.cause.as_mut().or(self.failure.as_mut()) {
            failure.why.push_str(more);
        }
    }

    /// Applies other limits from the next step on.
    pub fn set_limits(&mut self, limits: LifeLimits) {
        self.limits = limits;
    }

    /// Shortens the steps of a stop, also of one under way, so that all of them fit into `within`.
    pub fn hurry(&mut self, within: Duration, now: Instant) {
        let under_way = match self.state {
            LifeState::Stopping(step) => Some(step),
            _ => None,
        };
        if let Some(longest) = stops::hurry(&mut self.limits, within, under_way) {
            self.deadline = self.deadline.map(|deadline| deadline.min(now + longest));
        }
    }

    /// Takes what happened and says what is to be done.
    pub fn step(&mut self, now: Instant, input: LifeInput) -> Vec<LifeAction> {
        match input {
            LifeInput::Slot if self.state == LifeState::Waiting => self.begin(now),
            LifeInput::Spawned => self.spawned(now),
            LifeInput::NotSpawned { why, permanent } => {
                self.cause = Some(FailureText { fault: FailureKind::NotStarted, why });
                self.fatal_is_permanent = permanent;
                self.over(now)
            }
            LifeInput::Hello if self.state == LifeState::Spawning => self.greeted(now),
            LifeInput::Ready if self.state == LifeState::Loading => self.ready(now),
            LifeInput::Jobs { set, gone } if self.has_process() => self.jobs_changed(set, &gone, now),
            LifeInput::JobWaits(job) => {
                self.jobs.waits(job, true);
                self.without_due_jobs(now)
            }
            LifeInput::Rest(until) if self.state == LifeState::Idle && !self.jobs.is_due() => {
                self.after_stop = AfterStop::Rest(until);
                self.go_to(StopStep::Ask, now)
            }
            LifeInput::JobReady(job) => {
                self.jobs.waits(job, false);
                self.lives(now)
            }
            LifeInput::NextRun(job, after) => {
                self.jobs.next_run(job, now.checked_add(after));
                Vec::new()
            }
            LifeInput::RunBegan(job) => self.run_began_at(job, now),
            LifeInput::RunEnded { job, ok } => self.run_ended(job, ok, now),
            LifeInput::Activity => self.lives(now),
            LifeInput::Fatal { why, permanent } => self.fatal(why, permanent, now),
            LifeInput::Exited { why, clean } => self.exited(why, clean, now),
            LifeInput::TooLarge { why } => self.too_large(why, now),
            LifeInput::Leaves { why } => self.leaves(why, now),
            LifeInput::ControlLost => self.control_lost(now),
            LifeInput::Tick => self.tick(now),
            LifeInput::Held(by) => self.held(by, now),
            LifeInput::Stop => self.stop(AfterStop::Stay, LifeState::Stopped, now),
            LifeInput::Restart => self.stop(AfterStop::Restart, LifeState::Waiting, now),
            LifeInput::Changed => self.changed(now),
            LifeInput::Slot | LifeInput::Hello | LifeInput::Ready | LifeInput::Jobs { .. } | LifeInput::Rest(_) => {
                Vec::new()
            }
        }
    }

    fn begin(&mut self, now: Instant) -> Vec<LifeAction> {
        self.jobs = LifeJobs::default();
        self.ready_at = None;
        self.had_good_run = false;
        self.recycling = Recycling::default();
        self.cause = None;
        self.fatal_is_permanent = false;
        self.after_stop = AfterStop::Fail;
        self.last_activity = now;
        self.is_spawned = false;
        self.enter(LifeState::Spawning, now, Some(now + self.limits.pending));
        vec![LifeAction::Spawn]
    }

    fn spawned(&mut self, now: Instant) -> Vec<LifeAction> {
        if self.state == LifeState::Spawning {
            self.is_spawned = true;
            let limit = self.limits.spawn.max(self.slowest_spawn.saturating_mul(3));
            return self.enter(LifeState::Spawning, now, Some(now + limit));
        }
        if !self.is_spawned && self.has_process() {
            // It was given up before it was there.
            self.is_spawned = true;
            return self.go_to(StopStep::Kill, now);
        }
        Vec::new()
    }

    fn greeted(&mut self, now: Instant) -> Vec<LifeAction> {
        self.last_activity = now;
        self.slowest_spawn = self.slowest_spawn.max(now.saturating_duration_since(self.since));
        let limit = self.limits.load.max(self.slowest_load.saturating_mul(3));
        self.enter(LifeState::Loading, now, Some(now + limit))
    }

    fn ready(&mut self, now: Instant) -> Vec<LifeAction> {
        self.slowest_load = self.slowest_load.max(now.saturating_duration_since(self.since));
        self.ready_at = Some(now);
        self.last_activity = now;
        self.recycling = Recycling::of(&self.limits, self.chance.share(), now);
        self.enter(LifeState::Idle, now, None)
    }

    fn jobs_changed(&mut self, set: Vec<(usize, Duration)>, gone: &[usize], now: Instant) -> Vec<LifeAction> {
        self.last_activity = self.last_activity.max(now);
        let was_at_rest = self.jobs.rest();
        // A number that goes and comes is another job.
        self.jobs.forget(gone);
        self.jobs.set(set);
        if !was_at_rest && self.jobs.rest() && matches!(self.state, LifeState::Running | LifeState::Overdue) {
            self.enter(LifeState::Idle, now, None);
        }
        self.without_due_jobs(now)
    }

    /// A worker in which nothing has to run is not overdue for want of runs.
    fn without_due_jobs(&mut self, now: Instant) -> Vec<LifeAction> {
        if self.state == LifeState::Overdue && self.jobs.rest() && !self.jobs.is_due() {
            self.enter(LifeState::Idle, now, None);
        }
        self.recycle_between_runs(now)
    }

    fn lives(&mut self, now: Instant) -> Vec<LifeAction> {
        self.last_activity = self.last_activity.max(now);
        Vec::new()
    }

    fn run_began_at(&mut self, job: usize, now: Instant) -> Vec<LifeAction> {
        self.last_activity = now;
        let was_without_a_run = self.jobs.rest();
        self.jobs.began(job, now);
        if self.state == LifeState::Idle || (self.state == LifeState::Overdue && was_without_a_run) {
            return self.enter(LifeState::Running, now, None);
        }
        Vec::new()
    }

    fn run_ended(&mut self, job: usize, ok: bool, now: Instant) -> Vec<LifeAction> {
        self.last_activity = now;
        self.jobs.ended(job);
        if ok {
            self.had_good_run = true;
            self.failure = None;
            self.breaker.run_went_well(now);
        }
        if self.jobs.rest() && matches!(self.state, LifeState::Running | LifeState::Overdue) {
            self.enter(LifeState::Idle, now, None);
        }
        self.recycling.count_run();
        self.look_for_recycling(now);
        let others_run = matches!(self.state, LifeState::Running | LifeState::Overdue);
        if others_run && self.recycling.is_due() {
            // With several jobs there may be no moment without a run: no new one begins, and those under way may end.
            return self.ask_to_recycle(self.limits.run_timeout.unwrap_or(self.limits.silence_min), now);
        }
        self.recycle_between_runs(now)
    }

    fn look_for_recycling(&mut self, now: Instant) {
        let age = self.ready_at.map_or(Duration::ZERO, |ready| now.saturating_duration_since(ready));
        self.recycling.look(age, now);
    }

    fn recycle_between_runs(&mut self, now: Instant) -> Vec<LifeAction> {
        let is_between = self.jobs.rest() && matches!(self.state, LifeState::Idle | LifeState::Overdue);
        if is_between && self.recycling.is_due() {
            return self.ask_to_recycle(self.limits.stop_grace, now);
        }
        Vec::new()
    }

    fn too_large(&mut self, why: String, now: Instant) -> Vec<LifeAction> {
        if self.ready_at.is_some() {
            self.recycling.ask(why);
        }
        self.recycle_between_runs(now)
    }

    /// One that leaves to be replaced has not failed; one that has hardly begun has, or it would come and go without a pause.
    fn leaves(&mut self, why: String, now: Instant) -> Vec<LifeAction> {
        let is_old = |ready: Instant| now.saturating_duration_since(ready) >= self.limits.backoff_first;
        let is_up = matches!(self.state, LifeState::Idle | LifeState::Running | LifeState::Overdue);
        if !is_up || !self.ready_at.is_some_and(is_old) {
            return Vec::new();
        }
        self.recycling.ask(why);
        self.after_stop = AfterStop::Recycle;
        self.enter(LifeState::Stopping(StopStep::Ask), now, Some(now + ASK_MORE))
    }

    fn ask_to_recycle(&mut self, grace: Duration, now: Instant) -> Vec<LifeAction> {
        self.after_stop = AfterStop::Recycle;
        self.enter(LifeState::Stopping(StopStep::Ask), now, Some(now + grace + ASK_MORE));
        vec![LifeAction::Ask(grace)]
    }

    fn held(&mut self, by: Duration, now: Instant) -> Vec<LifeAction> {
        self.deadline = self.deadline.map(|deadline| deadline + by);
        self.last_activity = (self.last_activity + by).min(now);
        self.jobs.held(by, now);
        Vec::new()
    }

    fn tick(&mut self, now: Instant) -> Vec<LifeAction> {
        let due = self.deadline.is_some_and(|deadline| deadline <= now);
        match self.state {
            LifeState::Spawning | LifeState::Loading if due && self.cause.is_some() => self.go_to(StopStep::Kill, now),
            LifeState::Spawning if due => {
                let limit = if self.is_spawned { self.limits.spawn } else { self.limits.pending };
                let why = format!("did not start within {}", in_words(limit));
                self.end(FailureKind::NotStarted, why, StopStep::Kill, now)
            }
            LifeState::Loading if due => {
                let why = format!("was still loading after {}", in_words(self.limits.load));
                self.end(FailureKind::NotLoaded, why, StopStep::Dump, now)
            }
            LifeState::Idle | LifeState::Running | LifeState::Overdue => self.watch(now),
            LifeState::Unkillable if due => {
                self.deadline = Some(now + self.limits.recheck);
                vec![LifeAction::Kill]
            }
            LifeState::Stopping(step) if due => self.escalate(step, now),
            LifeState::Resting | LifeState::Backoff | LifeState::Blocked | LifeState::Tripped if due => {
                if self.state == LifeState::Tripped {
                    self.breaker.half_open();
                }
                self.enter(LifeState::Waiting, now, None)
            }
            _ => Vec::new(),
        }
    }

    /// Looks for runs that last too long, for silence, and between two runs for one that does not begin.
    fn watch(&mut self, now: Instant) -> Vec<LifeAction> {
        if self.jobs.rest() {
            self.look_for_recycling(now);
            if self.recycling.is_due() {
                return self.recycle_between_runs(now);
            }
        }
        match self.jobs.pace(self.last_activity, &self.limits, now) {
            RunPace::Hung(why) => self.end(FailureKind::Hung, why, StopStep::Dump, now),
            RunPace::Late if self.state != LifeState::Overdue => self.enter(LifeState::Overdue, now, None),
            RunPace::Late | RunPace::Fine => Vec::new(),
        }
    }

    fn control_lost(&mut self, now: Instant) -> Vec<LifeAction> {
        match self.state {
            LifeState::Spawning | LifeState::Loading | LifeState::Idle | LifeState::Running | LifeState::Overdue => {
                self.end(FailureKind::Died, "closed its control socket".to_owned(), StopStep::Term, now)
            }
            _ => Vec::new(),
        }
    }

    fn fatal(&mut self, why: String, permanent: bool, now: Instant) -> Vec<LifeAction> {
        self.cause = Some(FailureText { fault: FailureKind::NotLoaded, why });
        self.fatal_is_permanent = permanent;
        if matches!(self.state, LifeState::Spawning | LifeState::Loading) {
            // It ends by itself; one that does not is helped.
            self.deadline = Some(now + self.limits.term);
        }
        Vec::new()
    }

    /// Ends the incarnation because of a fault of its own.
    fn end(&mut self, fault: FailureKind, why: String, step: StopStep, now: Instant) -> Vec<LifeAction> {
        self.cause = Some(FailureText { fault, why });
        self.after_stop = AfterStop::Fail;
        self.go_to(step, now)
    }

    fn stop(&mut self, after: AfterStop, without_process: LifeState, now: Instant) -> Vec<LifeAction> {
        if self.state == LifeState::Stopped && after == AfterStop::Stay {
            return Vec::new();
        }
        if !self.has_process() {
            self.breaker.forgive(now);
            return self.enter(without_process, now, None);
        }
        self.after_stop = after;
        match self.state {
            LifeState::Stopping(StopStep::Ask) => {
                // A replacement may have been given far more time than a stop.
                let longest = now + self.limits.stop_grace + ASK_MORE;
                self.deadline = self.deadline.map(|deadline| deadline.min(longest));
                Vec::new()
            }
            LifeState::Stopping(_) | LifeState::Unkillable => Vec::new(),
            LifeState::Spawning => self.go_to(StopStep::Kill, now),
            _ => self.go_to(StopStep::Ask, now),
        }
    }

    fn changed(&mut self, now: Instant) -> Vec<LifeAction> {
        if self.goes_to_rest() {
            // It comes back as soon as it is gone.
            self.after_stop = AfterStop::Rest(now);
            return Vec::new();
        }
        if self.waits_without_process() {
            self.breaker.forgive(now);
            return self.enter(LifeState::Waiting, now, None);
        }
        Vec::new()
    }

    fn escalate(&mut self, step: StopStep, now: Instant) -> Vec<LifeAction> {
        match step.stronger() {
            Some(step) => self.go_to(step, now),
            None => self.enter(LifeState::Unkillable, now, Some(now + self.limits.recheck)),
        }
    }

    fn go_to(&mut self, step: StopStep, now: Instant) -> Vec<LifeAction> {
        let (order, wait) = step.order(&self.limits);
        self.enter(LifeState::Stopping(step), now, Some(now + wait));
        vec![order]
    }

    fn exited(&mut self, why: String, clean: bool, now: Instant) -> Vec<LifeAction> {
        let clean = clean && self.cause.is_none();
        // What was known before (hung, fatal) explains more than how it ended.
        self.cause.get_or_insert(FailureText { fault: FailureKind::Died, why });
        if self.after_stop == AfterStop::Fail && self.stays_ended(clean) {
            return self.ended(clean, now);
        }
        self.over(now)
    }

    /// The process is gone: what now?
    fn over(&mut self, now: Instant) -> Vec<LifeAction> {
        let cause = self.cause.take();
        self.jobs = LifeJobs::default();
        match self.after_stop {
            AfterStop::Stay => return self.enter(LifeState::Stopped, now, None),
            AfterStop::Restart => {
                self.restarts += 1;
                self.breaker.forgive(now);
                return self.enter(LifeState::Waiting, now, None);
            }
            AfterStop::Recycle => {
                self.restarts += 1;
                return self.enter(LifeState::Waiting, now, None);
            }
            AfterStop::Rest(until) => return self.enter(LifeState::Resting, now, Some(until)),
            AfterStop::Fail => {}
        }
        self.failure = cause;
        if self.fatal_is_permanent {
            return self.enter(LifeState::Blocked, now, Some(now + self.limits.probe));
        }
        self.restarts += 1;
        let is_old = |ready: Instant| now.saturating_duration_since(ready) >= self.limits.steady;
        let is_steady = self.had_good_run && self.ready_at.is_some_and(is_old);
        match self.breaker.fails(is_steady, &self.limits, &mut self.chance, now) {
            Delay::Backoff(pause) => self.enter(LifeState::Backoff, now, Some(now + pause)),
            Delay::Tripped(open) => self.enter(LifeState::Tripped, now, Some(now + open)),
        }
    }

    /// Says whether the settings leave a worker that ended by itself as it is; one that could not be loaded waits for a change anyway.
    fn stays_ended(&self, clean: bool) -> bool {
        match self.limits.restart {
            Restart::Always => false,
            Restart::OnFailure => clean,
            Restart::Never => !self.fatal_is_permanent,
        }
    }

    fn ended(&mut self, clean: bool, now: Instant) -> Vec<LifeAction> {
        let cause = self.cause.take();
        self.jobs = LifeJobs::default();
        self.failure = if clean { None } else { cause };
        if !clean {
            self.explain("; not started again, for `restart = \"never\"`");
        }
        self.enter(LifeState::Ended, now, None)
    }

    fn enter(&mut self, state: LifeState, now: Instant, deadline: Option<Instant>) -> Vec<LifeAction> {
        self.state = state;
        self.since = now;
        self.deadline = deadline;
        Vec::new()
    }
}
