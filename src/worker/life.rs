//! The life of one script's worker as a pure state machine: what happened goes in, orders come out.
//!
//! ```text
//! Waiting ─slot→ Spawning ─hello→ Loading ─ready→ Idle ⇄ Running → Overdue
//!    ↑                                                 │ silence, stop, restart
//!    ├── Backoff · Blocked · Tripped ←── end ──── Stopping (dump, ask, TERM, KILL) → Unkillable
//! ```
//!
//! A worker that is to be replaced (`recycle`: its age, its runs, its memory) is asked to stop between two runs and starts again at once,
//! which is no failure. What ended by itself and is not to be restarted (`restart`) is Ended until its file changes.
//!
//! Failure counters belong to the script, start grace to the incarnation. An exception in a run is no failure of the worker. Whoever drives
//! the machine drops events of an incarnation that is over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::config::Restart;

/// The numbers of spec/supervision 2.5.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// From the order to `hello`; at least three times the slowest start of this script.
    pub spawn: Duration,
    /// From `hello` to `ready`; at least three times the slowest load of this script.
    pub load: Duration,
    pub backoff_first: Duration,
    pub backoff_max: Duration,
    /// An incarnation that lived so long, with a good run, wipes the backoff out.
    pub steady: Duration,
    /// Failures within about `half_life` that trip the breaker.
    pub trip_score: f64,
    pub half_life: Duration,
    pub tripped_first: Duration,
    pub tripped_max: Duration,
    /// A blocked script is tried again after this time, even unchanged.
    pub probe: Duration,
    /// A run is overdue after its interval, but not before this.
    pub overdue_min: Duration,
    /// A worker in which no run begins for three intervals is overdue, but not before this.
    pub idle_min: Duration,
    /// A run is hung after ten intervals of silence, but not before this.
    pub silence_min: Duration,
    /// Wall time of a run; given, it stands instead of the silence.
    pub run_timeout: Option<Duration>,
    pub stop_grace: Duration,
    pub term: Duration,
    pub kill: Duration,
    /// Between two tries to end what KILL did not end.
    pub recheck: Duration,
    /// Between two looks at the memory of a worker that has a limit.
    pub weigh: Duration,
    pub restart: Restart,
    /// A worker is replaced after this time, one tenth more or less.
    pub max_age: Option<Duration>,
    /// A worker is replaced after so many runs, one tenth more or less.
    pub max_runs: Option<u64>,
    /// For `faulthandler` to write the stacks.
    pub dump: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            spawn: seconds(10),
            load: seconds(30),
            backoff_first: seconds(1),
            backoff_max: seconds(60),
            steady: seconds(60),
            trip_score: 6.0,
            half_life: seconds(300),
            tripped_first: seconds(600),
            tripped_max: seconds(3600),
            probe: seconds(300),
            overdue_min: seconds(10),
            idle_min: seconds(60),
            silence_min: seconds(300),
            run_timeout: None,
            stop_grace: seconds(5),
            term: seconds(3),
            kill: seconds(5),
            recheck: seconds(30),
            weigh: seconds(10),
            restart: Restart::Always,
            max_age: None,
            max_runs: None,
            dump: Duration::from_millis(700),
        }
    }
}

/// The worker gives up by itself after its grace; TERM is for one that does not.
const ASK_MORE: Duration = Duration::from_millis(200);
/// What a stop in a hurry keeps at least for TERM and KILL.
const FORCED: Duration = Duration::from_millis(1500);
/// A healthy script loads faster.
const LOADS_AT_ONCE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// For a start slot.
    Waiting,
    Spawning,
    Loading,
    Idle,
    Running,
    /// In a run that lasts longer than it should, or without a run for longer than it should.
    Overdue,
    Stopping(Step),
    Backoff,
    /// Cannot run until somebody changes something.
    Blocked,
    /// The breaker is open after too many failures.
    Tripped,
    /// KILL had no effect; no new copy while this one lives.
    Unkillable,
    /// It ended by itself, and the settings say to leave it so.
    Ended,
    Stopped,
}

/// How far a stop has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Dump,
    Ask,
    Term,
    Kill,
}

/// What kind of failure stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is no process to be had.
    NotStarted,
    /// The script could not be loaded.
    NotLoaded,
    Hung,
    /// The process ended by itself.
    Died,
}

/// A failure in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub fault: Fault,
    pub why: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// There is room to start.
    Slot,
    NotSpawned {
        why: String,
        permanent: bool,
    },
    Hello,
    /// Loaded, with the intervals of its jobs.
    Ready(Vec<Duration>),
    RunBegan(usize),
    RunEnded {
        job: usize,
        ok: bool,
    },
    /// A report, a line of output: it lives.
    Activity,
    /// The script cannot run; the process ends by itself.
    Fatal {
        why: String,
        permanent: bool,
    },
    /// The process lives, but its control socket is closed: nothing more will be heard of it.
    ControlLost,
    /// The process is gone, and what it left behind too.
    Exited {
        why: String,
        /// With exit code 0, of its own accord.
        clean: bool,
    },
    /// It uses more memory than it may: it is to be replaced after its run.
    TooLarge {
        why: String,
    },
    Tick,
    /// The loop itself was held up (suspend, SIGSTOP): nobody else is late.
    Held(Duration),
    Stop,
    Restart,
    /// The script's file changed, or somebody wants it tried now.
    Changed,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Spawn,
    /// Have the stacks written.
    Dump,
    /// Send the stop frame; the run may end within this time.
    Ask(Duration),
    Terminate,
    /// End the whole tree.
    Kill,
}

/// What follows by itself, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    pub what: &'static str,
    pub at: Instant,
}

#[derive(Debug)]
pub struct Life {
    limits: Limits,
    state: State,
    since: Instant,
    /// When the present state ends by itself.
    deadline: Option<Instant>,
    intervals: Vec<Duration>,
    /// Runs under way and when they began.
    running: BTreeMap<usize, Instant>,
    last_activity: Instant,
    /// When this incarnation was ready.
    ready_at: Option<Instant>,
    had_good_run: bool,
    /// Why it is to be replaced after its run.
    recycle: Option<String>,
    /// When and after how many runs this incarnation is replaced.
    recycle_at: Option<Instant>,
    runs_left: Option<u64>,
    slowest_spawn: Duration,
    slowest_load: Duration,
    /// What ended or will end this incarnation, if it is known before the end.
    cause: Option<Failure>,
    fatal_is_permanent: bool,
    after_stop: AfterStop,
    /// The last failure; stands until a run goes well.
    failure: Option<Failure>,
    failures: u32,
    score: f64,
    scored_at: Instant,
    trips: u32,
    half_open: bool,
    restarts: u64,
    random: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterStop {
    /// It was hung or dead: a failure.
    Fail,
    /// Asked for: start again at once.
    Restart,
    /// Its time was over, it had done nothing wrong.
    Recycle,
    Stay,
}

impl Life {
    /// A script that has not run yet; `seed` spreads the backoff of several.
    pub fn new(limits: Limits, seed: u64, now: Instant) -> Self {
        Self {
            limits,
            state: State::Waiting,
            since: now,
            deadline: None,
            intervals: Vec::new(),
            running: BTreeMap::new(),
            last_activity: now,
            ready_at: None,
            had_good_run: false,
            recycle: None,
            recycle_at: None,
            runs_left: None,
            slowest_spawn: Duration::ZERO,
            slowest_load: Duration::ZERO,
            cause: None,
            fatal_is_permanent: false,
            after_stop: AfterStop::Fail,
            failure: None,
            failures: 0,
            score: 0.0,
            scored_at: now,
            trips: 0,
            half_open: false,
            restarts: 0,
            // Spread over all bits: the first numbers out of a small seed would all be small.
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn since(&self) -> Instant {
        self.since
    }

    /// The last failure, until a run has gone well since.
    pub fn failure(&self) -> Option<&Failure> {
        self.cause.as_ref().or(self.failure.as_ref())
    }

    /// Why it is being replaced although nothing is wrong.
    pub fn recycles_because(&self) -> Option<&str> {
        self.recycle.as_deref().filter(|_| self.after_stop == AfterStop::Recycle)
    }

    /// The fault that ends this incarnation, if it is known before the end.
    pub fn ends_because(&self) -> Option<Fault> {
        self.cause.as_ref().map(|failure| failure.fault)
    }

    /// Adds to the failure what became known after it, such as the place of a hang.
    pub fn explain(&mut self, more: &str) {
        if let Some(failure) = self.cause.as_mut().or(self.failure.as_mut()) {
            failure.why.push_str(more);
        }
    }

    /// True while it takes the machine's time to start. One that loads for longer waits for something, and nobody waits for it.
    pub fn is_starting(&self, now: Instant) -> bool {
        match self.state {
            State::Spawning => true,
            State::Loading => now.saturating_duration_since(self.since) < LOADS_AT_ONCE,
            _ => false,
        }
    }

    /// Obeys other limits from the next step on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Shortens the steps of a stop, also of one under way, so that all of them fit into `within`.
    pub fn hurry(&mut self, within: Duration, now: Instant) {
        let forced = (within / 4).min(FORCED);
        let asked = within - forced;
        self.limits.stop_grace = self.limits.stop_grace.min(asked.saturating_sub(ASK_MORE));
        self.limits.term = self.limits.term.min(forced / 2);
        let longest = match self.state {
            State::Stopping(Step::Dump | Step::Term) => forced / 2,
            State::Stopping(Step::Ask) => asked,
            _ => return,
        };
        self.deadline = self.deadline.map(|deadline| deadline.min(now + longest));
    }

    pub fn last_activity(&self) -> Instant {
        self.last_activity
    }

    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// True between the order to spawn and the end of the process.
    pub fn has_process(&self) -> bool {
        matches!(
            self.state,
            State::Spawning
                | State::Loading
                | State::Idle
                | State::Running
                | State::Overdue
                | State::Stopping(_)
                | State::Unkillable
        )
    }

    /// The jobs that are in a run, and when that began.
    pub fn runs_under_way(&self) -> impl Iterator<Item = (usize, Instant)> {
        self.running.iter().map(|(job, began)| (*job, *began))
    }

    /// The job that has been in a run for longest, and when that began.
    pub fn longest_run(&self) -> Option<(usize, Instant)> {
        self.runs_under_way().min_by_key(|(_, began)| *began)
    }

    pub fn next(&self) -> Option<Next> {
        let what = match self.state {
            State::Waiting => return Some(Next { what: "start", at: self.since }),
            State::Spawning | State::Loading => "give up starting",
            State::Backoff => "restart",
            State::Blocked | State::Tripped => "next try",
            State::Stopping(Step::Dump) => "ask it to stop",
            State::Stopping(Step::Ask) => "TERM",
            State::Stopping(Step::Term) => "KILL",
            State::Stopping(Step::Kill) => "give up ending it",
            // Only where somebody has to look: a run that goes well needs no announcement of its end.
            State::Running | State::Overdue if self.state == State::Overdue || self.failure.is_some() => {
                return self.run_ends_at().map(|at| Next { what: "ended unless its run is done", at });
            }
            State::Unkillable => "KILL again",
            State::Idle | State::Running | State::Overdue | State::Ended | State::Stopped => return None,
        };
        self.deadline.map(|at| Next { what, at })
    }

    /// When the first of the runs under way counts as hung.
    fn run_ends_at(&self) -> Option<Instant> {
        let limit = |(job, began): (&usize, &Instant)| match self.limits.run_timeout {
            Some(limit) => *began + limit,
            None => self.last_activity.max(*began) + self.silence_limit(*job),
        };
        self.running.iter().map(limit).min()
    }

    /// Takes what happened and says what is to be done.
    pub fn step(&mut self, now: Instant, input: Input) -> Vec<Order> {
        match input {
            Input::Slot if self.state == State::Waiting => self.begin(now),
            Input::NotSpawned { why, permanent } => {
                self.cause = Some(Failure { fault: Fault::NotStarted, why });
                self.fatal_is_permanent = permanent;
                self.over(now)
            }
            Input::Hello if self.state == State::Spawning => {
                self.last_activity = now;
                self.slowest_spawn = self.slowest_spawn.max(now.saturating_duration_since(self.since));
                let limit = self.limits.load.max(self.slowest_load.saturating_mul(3));
                self.enter(State::Loading, now, Some(now + limit))
            }
            Input::Ready(intervals) if self.state == State::Loading => self.ready(intervals, now),
            Input::RunBegan(job) => self.run_began_at(job, now),
            Input::RunEnded { job, ok } => self.run_ended(job, ok, now),
            Input::Activity => {
                self.last_activity = self.last_activity.max(now);
                Vec::new()
            }
            Input::Fatal { why, permanent } => {
                self.cause = Some(Failure { fault: Fault::NotLoaded, why });
                self.fatal_is_permanent = permanent;
                if matches!(self.state, State::Spawning | State::Loading) {
                    // It ends by itself; one that does not is helped.
                    self.deadline = Some(now + self.limits.term);
                }
                Vec::new()
            }
            Input::Exited { why, clean } => {
                let clean = clean && self.cause.is_none();
                // What was known before (hung, fatal) explains more than how it ended.
                self.cause.get_or_insert(Failure { fault: Fault::Died, why });
                if self.after_stop == AfterStop::Fail && self.stays_ended(clean) {
                    return self.ended(clean, now);
                }
                self.over(now)
            }
            Input::TooLarge { why } => {
                if self.recycle.is_none() && self.ready_at.is_some() {
                    self.recycle = Some(why);
                }
                self.recycle_between_runs(now)
            }
            Input::ControlLost => match self.state {
                State::Spawning | State::Loading | State::Idle | State::Running | State::Overdue => {
                    self.end(Fault::Died, "closed its control socket".to_owned(), Step::Term, now)
                }
                _ => Vec::new(),
            },
            Input::Tick => self.tick(now),
            Input::Held(by) => {
                self.deadline = self.deadline.map(|deadline| deadline + by);
                self.last_activity = (self.last_activity + by).min(now);
                self.running.values_mut().for_each(|began| *began = (*began + by).min(now));
                Vec::new()
            }
            Input::Stop => self.stop(AfterStop::Stay, State::Stopped, now),
            Input::Restart => self.stop(AfterStop::Restart, State::Waiting, now),
            Input::Changed if matches!(self.state, State::Backoff | State::Blocked | State::Tripped | State::Ended) => {
                self.forgive(now);
                self.enter(State::Waiting, now, None)
            }
            Input::Slot | Input::Hello | Input::Ready(_) | Input::Changed => Vec::new(),
        }
    }

    fn begin(&mut self, now: Instant) -> Vec<Order> {
        self.running.clear();
        self.ready_at = None;
        self.had_good_run = false;
        self.recycle = None;
        self.cause = None;
        self.fatal_is_permanent = false;
        self.after_stop = AfterStop::Fail;
        self.last_activity = now;
        let limit = self.limits.spawn.max(self.slowest_spawn.saturating_mul(3));
        self.enter(State::Spawning, now, Some(now + limit));
        vec![Order::Spawn]
    }

    fn ready(&mut self, intervals: Vec<Duration>, now: Instant) -> Vec<Order> {
        self.slowest_load = self.slowest_load.max(now.saturating_duration_since(self.since));
        self.intervals = intervals;
        self.ready_at = Some(now);
        self.last_activity = now;
        // Scripts that were started together are not replaced together.
        let spread = 0.9 + 0.2 * self.random_share();
        self.recycle_at = self.limits.max_age.and_then(|age| now.checked_add(age.mul_f64(spread)));
        self.runs_left = self.limits.max_runs.map(|runs| ((runs as f64 * spread).round() as u64).max(1));
        self.enter(State::Idle, now, None)
    }

    fn run_began_at(&mut self, job: usize, now: Instant) -> Vec<Order> {
        self.last_activity = now;
        let was_without_a_run = self.running.is_empty();
        self.running.insert(job, now);
        if self.state == State::Idle || (self.state == State::Overdue && was_without_a_run) {
            return self.enter(State::Running, now, None);
        }
        Vec::new()
    }

    fn run_ended(&mut self, job: usize, ok: bool, now: Instant) -> Vec<Order> {
        self.last_activity = now;
        self.running.remove(&job);
        if ok {
            self.had_good_run = true;
            self.failure = None;
            if std::mem::take(&mut self.half_open) {
                self.forgive(now);
            }
        }
        if self.running.is_empty() && matches!(self.state, State::Running | State::Overdue) {
            self.enter(State::Idle, now, None);
        }
        self.runs_left = self.runs_left.map(|runs| runs.saturating_sub(1));
        self.look_for_recycling(now);
        let others_run = matches!(self.state, State::Running | State::Overdue);
        if others_run && self.recycle.is_some() {
            // With several jobs there may be no moment without a run: no new one begins, and those under way may end.
            return self.ask_to_recycle(self.limits.run_timeout.unwrap_or(self.limits.silence_min), now);
        }
        self.recycle_between_runs(now)
    }

    fn look_for_recycling(&mut self, now: Instant) {
        if self.recycle.is_some() {
            return;
        }
        if self.recycle_at.is_some_and(|at| at <= now) {
            let age = self.ready_at.map_or(Duration::ZERO, |ready| now.saturating_duration_since(ready));
            self.recycle = Some(format!("max_age: it ran for {}", told(age)));
        } else if self.runs_left == Some(0) {
            self.recycle = Some("max_runs: it has done its runs".to_owned());
        }
    }

    fn recycle_between_runs(&mut self, now: Instant) -> Vec<Order> {
        let is_between = self.running.is_empty() && matches!(self.state, State::Idle | State::Overdue);
        if is_between && self.recycle.is_some() {
            return self.ask_to_recycle(self.limits.stop_grace, now);
        }
        Vec::new()
    }

    fn ask_to_recycle(&mut self, grace: Duration, now: Instant) -> Vec<Order> {
        self.after_stop = AfterStop::Recycle;
        self.enter(State::Stopping(Step::Ask), now, Some(now + grace + ASK_MORE));
        vec![Order::Ask(grace)]
    }

    fn tick(&mut self, now: Instant) -> Vec<Order> {
        let due = self.deadline.is_some_and(|deadline| deadline <= now);
        match self.state {
            State::Spawning | State::Loading if due && self.cause.is_some() => self.go_to(Step::Kill, now),
            State::Spawning if due => {
                let why = format!("did not start within {}", told(self.limits.spawn));
                self.end(Fault::NotStarted, why, Step::Kill, now)
            }
            State::Loading if due => {
                let why = format!("was still loading after {}", told(self.limits.load));
                self.end(Fault::NotLoaded, why, Step::Dump, now)
            }
            State::Idle | State::Running | State::Overdue => self.watch(now),
            State::Unkillable if due => {
                self.deadline = Some(now + self.limits.recheck);
                vec![Order::Kill]
            }
            State::Stopping(step) if due => self.escalate(step, now),
            State::Backoff | State::Blocked | State::Tripped if due => {
                self.half_open |= self.state == State::Tripped;
                self.enter(State::Waiting, now, None)
            }
            _ => Vec::new(),
        }
    }

    /// Looks for runs that last too long and for silence.
    fn watch(&mut self, now: Instant) -> Vec<Order> {
        for (job, began) in &self.running {
            let lasts = now.saturating_duration_since(*began);
            let silent = now.saturating_duration_since(self.last_activity.max(*began));
            if let Some(limit) = self.limits.run_timeout {
                if lasts >= limit {
                    let why = format!("hung: its run lasted longer than run_timeout, {}", told(limit));
                    return self.end(Fault::Hung, why, Step::Dump, now);
                }
            } else if silent >= self.silence_limit(*job) {
                let why = format!("hung: no sign of life for {}", told(silent));
                return self.end(Fault::Hung, why, Step::Dump, now);
            }
        }
        if self.running.is_empty() {
            return self.watch_rest(now);
        }
        let overdue =
            self.running.iter().any(|(job, began)| now.saturating_duration_since(*began) >= self.overdue_limit(*job));
        if overdue && self.state == State::Running {
            return self.enter(State::Overdue, now, None);
        }
        Vec::new()
    }

    /// Between two runs: the next one must begin some time.
    fn watch_rest(&mut self, now: Instant) -> Vec<Order> {
        self.look_for_recycling(now);
        if self.recycle.is_some() {
            return self.recycle_between_runs(now);
        }
        let rest = self.intervals.iter().min().copied().unwrap_or_default();
        let silent = now.saturating_duration_since(self.last_activity);
        if silent >= rest.saturating_add(rest.saturating_mul(10).max(self.limits.silence_min)) {
            let why = format!("hung: no run began for {}", told(silent));
            return self.end(Fault::Hung, why, Step::Dump, now);
        }
        if self.state == State::Idle && silent >= rest.saturating_mul(3).max(self.limits.idle_min) {
            return self.enter(State::Overdue, now, None);
        }
        Vec::new()
    }

    fn silence_limit(&self, job: usize) -> Duration {
        self.interval(job).saturating_mul(10).max(self.limits.silence_min)
    }

    fn overdue_limit(&self, job: usize) -> Duration {
        self.interval(job).max(self.limits.overdue_min)
    }

    fn interval(&self, job: usize) -> Duration {
        self.intervals.get(job).copied().unwrap_or_default()
    }

    /// Ends the incarnation because of a fault of its own.
    fn end(&mut self, fault: Fault, why: String, step: Step, now: Instant) -> Vec<Order> {
        self.cause = Some(Failure { fault, why });
        self.after_stop = AfterStop::Fail;
        self.go_to(step, now)
    }

    fn stop(&mut self, after: AfterStop, without_process: State, now: Instant) -> Vec<Order> {
        if self.state == State::Stopped && after == AfterStop::Stay {
            return Vec::new();
        }
        if !self.has_process() {
            self.forgive(now);
            return self.enter(without_process, now, None);
        }
        self.after_stop = after;
        match self.state {
            State::Stopping(Step::Ask) => {
                // A replacement may have been given far more time than a stop.
                let longest = now + self.limits.stop_grace + ASK_MORE;
                self.deadline = self.deadline.map(|deadline| deadline.min(longest));
                Vec::new()
            }
            State::Stopping(_) | State::Unkillable => Vec::new(),
            State::Spawning => self.go_to(Step::Kill, now),
            _ => self.go_to(Step::Ask, now),
        }
    }

    fn escalate(&mut self, step: Step, now: Instant) -> Vec<Order> {
        match step {
            Step::Dump => self.go_to(Step::Ask, now),
            Step::Ask => self.go_to(Step::Term, now),
            Step::Term => self.go_to(Step::Kill, now),
            Step::Kill => self.enter(State::Unkillable, now, Some(now + self.limits.recheck)),
        }
    }

    fn go_to(&mut self, step: Step, now: Instant) -> Vec<Order> {
        let (wait, order) = match step {
            Step::Dump => (self.limits.dump, Order::Dump),
            Step::Ask => (self.limits.stop_grace + ASK_MORE, Order::Ask(self.limits.stop_grace)),
            Step::Term => (self.limits.term, Order::Terminate),
            Step::Kill => (self.limits.kill, Order::Kill),
        };
        self.enter(State::Stopping(step), now, Some(now + wait));
        vec![order]
    }

    /// The process is gone: what now?
    fn over(&mut self, now: Instant) -> Vec<Order> {
        let cause = self.cause.take();
        self.running.clear();
        match self.after_stop {
            AfterStop::Stay => return self.enter(State::Stopped, now, None),
            AfterStop::Restart => {
                self.restarts += 1;
                self.forgive(now);
                return self.enter(State::Waiting, now, None);
            }
            AfterStop::Recycle => {
                self.restarts += 1;
                return self.enter(State::Waiting, now, None);
            }
            AfterStop::Fail => {}
        }
        self.failure = cause;
        if self.fatal_is_permanent {
            return self.enter(State::Blocked, now, Some(now + self.limits.probe));
        }
        self.restarts += 1;
        if self.had_good_run
            && self.ready_at.is_some_and(|ready| now.saturating_duration_since(ready) >= self.limits.steady)
        {
            self.failures = 0;
        }
        self.add_failure(now);
        if self.half_open || self.score >= self.limits.trip_score {
            let open = self.limits.tripped_first.saturating_mul(1 << self.trips.min(6)).min(self.limits.tripped_max);
            self.trips += 1;
            self.half_open = false;
            return self.enter(State::Tripped, now, Some(now + open));
        }
        let pause =
            self.limits.backoff_first.saturating_mul(1 << (self.failures - 1).min(16)).min(self.limits.backoff_max);
        let spread = 0.5 + 0.5 * self.random_share();
        self.enter(State::Backoff, now, Some(now + pause.mul_f64(spread)))
    }

    /// Says whether the settings leave a worker that ended by itself as it is; one that could not be loaded waits for a change anyway.
    fn stays_ended(&self, clean: bool) -> bool {
        match self.limits.restart {
            Restart::Always => false,
            Restart::OnFailure => clean,
            Restart::Never => !self.fatal_is_permanent,
        }
    }

    fn ended(&mut self, clean: bool, now: Instant) -> Vec<Order> {
        let cause = self.cause.take();
        self.running.clear();
        self.failure = if clean { None } else { cause };
        if !clean {
            self.explain("; not started again, for `restart = \"never\"`");
        }
        self.enter(State::Ended, now, None)
    }

    fn add_failure(&mut self, now: Instant) {
        let halves = now.saturating_duration_since(self.scored_at).as_secs_f64() / self.limits.half_life.as_secs_f64();
        self.score = self.score * 0.5_f64.powf(halves) + 1.0;
        self.scored_at = now;
        self.failures += 1;
    }

    fn forgive(&mut self, now: Instant) {
        self.failures = 0;
        self.score = 0.0;
        self.scored_at = now;
        self.trips = 0;
        self.half_open = false;
    }

    /// Xorshift: enough to keep scripts from stepping together.
    fn random_share(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn enter(&mut self, state: State, now: Instant, deadline: Option<Instant>) -> Vec<Order> {
        self.state = state;
        self.since = now;
        self.deadline = deadline;
        Vec::new()
    }
}

fn told(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// A script driven by a list of `(seconds after the start, input)`.
    struct Script {
        life: Life,
        start: Instant,
    }

    impl Script {
        fn new(limits: Limits) -> Self {
            let start = Instant::now();
            Self { life: Life::new(limits, 7, start), start }
        }

        fn at(&mut self, after: f64, input: Input) -> Vec<Order> {
            self.life.step(self.start + Duration::from_secs_f64(after), input)
        }

        /// Brings it from Waiting to Idle at `after`.
        fn ready(&mut self, after: f64) -> &mut Self {
            assert_eq!(self.at(after, Input::Slot), [Order::Spawn]);
            self.at(after, Input::Hello);
            self.at(after, Input::Ready(vec![seconds(10)]));
            assert_eq!(self.life.state(), State::Idle);
            self
        }

        fn why(&self) -> Option<(Fault, &str)> {
            self.life.failure().map(|failure| (failure.fault, failure.why.as_str()))
        }

        fn dies(&mut self, after: f64) -> State {
            self.at(after, exited());
            self.life.state()
        }
    }

    fn exited() -> Input {
        Input::Exited { why: "exited with code 1".to_owned(), clean: false }
    }

    #[test]
    fn each_input_leads_where_the_table_says() {
        let table: &[(&[Input], State)] = &[
            (&[], State::Waiting),
            (&[Input::Slot], State::Spawning),
            (&[Input::Slot, Input::Hello], State::Loading),
            (&[Input::Slot, Input::Hello, Input::Ready(vec![])], State::Idle),
            (&[Input::Slot, Input::Hello, Input::Ready(vec![]), Input::RunBegan(0)], State::Running),
            (
                &[
                    Input::Slot,
                    Input::Hello,
                    Input::Ready(vec![]),
                    Input::RunBegan(0),
                    Input::RunEnded { job: 0, ok: false },
                ],
                State::Idle,
            ),
            (
                &[
                    Input::Slot,
                    Input::Hello,
                    Input::Ready(vec![]),
                    Input::RunBegan(0),
                    Input::RunBegan(1),
                    Input::RunEnded { job: 0, ok: true },
                ],
                State::Running,
            ),
            (&[Input::Slot, Input::NotSpawned { why: String::new(), permanent: true }], State::Blocked),
            (&[Input::Slot, Input::NotSpawned { why: String::new(), permanent: false }], State::Backoff),
            (
                &[Input::Slot, Input::Hello, Input::Fatal { why: String::new(), permanent: true }, exited()],
                State::Blocked,
            ),
            (
                &[Input::Slot, Input::Hello, Input::Fatal { why: String::new(), permanent: false }, exited()],
                State::Backoff,
            ),
            (&[Input::Slot, Input::Hello, exited()], State::Backoff),
            (&[Input::Slot, Input::Hello, exited(), Input::Changed], State::Waiting),
            (&[Input::Slot, Input::Hello, exited(), Input::Stop], State::Stopped),
            (&[Input::Slot, Input::Stop], State::Stopping(Step::Kill)),
            (&[Input::Slot, Input::Hello, Input::Stop], State::Stopping(Step::Ask)),
            (&[Input::Slot, Input::Hello, Input::Stop, exited()], State::Stopped),
            (&[Input::Slot, Input::Hello, Input::Restart, exited()], State::Waiting),
            (&[Input::Slot, Input::Hello, Input::Restart, Input::Stop, exited()], State::Stopped),
            (&[Input::Stop], State::Stopped),
            (&[Input::Stop, Input::Slot], State::Stopped),
            (&[Input::Stop, Input::Restart], State::Waiting),
            (&[Input::Hello, Input::Ready(vec![]), Input::Changed, Input::Tick], State::Waiting),
        ];
        for (inputs, state) in table {
            let mut script = Script::new(Limits::default());
            for input in *inputs {
                script.at(0.0, input.clone());
            }
            assert_eq!(script.life.state(), *state, "{inputs:?}");
        }
    }

    /// One row per way out of a state in spec/supervision 2.4: how to get there, what happens, what is ordered, where it leads.
    #[test]
    fn every_way_out_of_every_state_is_as_the_design_says() {
        use Input::{Changed, ControlLost, Hello, Ready, Restart, RunBegan, Slot, Stop, Tick};
        let ready = || Ready(vec![seconds(10)]);
        let failed = |why: &str| Input::NotSpawned { why: why.to_owned(), permanent: false };
        let blocked = || Input::NotSpawned { why: "no".to_owned(), permanent: true };
        let ended = |job| Input::RunEnded { job, ok: true };
        let idle = || vec![(0.0, Slot), (0.0, Hello), (0.0, ready())];
        let with = |mut steps: Vec<(f64, Input)>, more: Vec<(f64, Input)>| {
            steps.extend(more);
            steps
        };
        let killing = || with(idle(), vec![(1.0, Stop), (6.3, Tick), (9.4, Tick)]);
        let ask = Order::Ask(seconds(5));
        type Row = (&'static str, Vec<(f64, Input)>, Vec<Order>, State);
        #[rustfmt::skip]
        let table: Vec<Row> = vec![
            ("waiting: a slot", vec![(0.0, Slot)], vec![Order::Spawn], State::Spawning),
            ("spawning: hello", vec![(0.0, Slot), (1.0, Hello)], vec![], State::Loading),
            ("spawning: no process for now", vec![(0.0, Slot), (0.0, failed("EAGAIN"))], vec![], State::Backoff),
            ("spawning: no process ever", vec![(0.0, Slot), (0.0, blocked())], vec![], State::Blocked),
            ("spawning: too long", vec![(0.0, Slot), (10.0, Tick)], vec![Order::Kill], State::Stopping(Step::Kill)),
            ("loading: ready", idle(), vec![], State::Idle),
            ("loading: too long", vec![(0.0, Slot), (0.0, Hello), (30.0, Tick)], vec![Order::Dump], State::Stopping(Step::Dump)),
            ("loading: fatal, and it ends", vec![(0.0, Slot), (0.0, Hello), (0.0, fatal()), (0.1, exited())], vec![], State::Blocked),
            ("loading: fatal, and it stays", vec![(0.0, Slot), (0.0, Hello), (0.0, fatal()), (3.0, Tick)], vec![Order::Kill], State::Stopping(Step::Kill)),
            ("loading: dies", vec![(0.0, Slot), (0.0, Hello), (0.1, exited())], vec![], State::Backoff),
            ("idle: a run", with(idle(), vec![(1.0, RunBegan(0))]), vec![], State::Running),
            ("idle: no run for long", with(idle(), vec![(60.0, Tick)]), vec![], State::Overdue),
            ("idle: no run for very long", with(idle(), vec![(60.0, Tick), (310.0, Tick)]), vec![Order::Dump], State::Stopping(Step::Dump)),
            ("idle: dies", with(idle(), vec![(1.0, exited())]), vec![], State::Backoff),
            ("idle: control lost", with(idle(), vec![(1.0, ControlLost)]), vec![Order::Terminate], State::Stopping(Step::Term)),
            ("running: done", with(idle(), vec![(1.0, RunBegan(0)), (2.0, ended(0))]), vec![], State::Idle),
            ("running: long", with(idle(), vec![(1.0, RunBegan(0)), (11.0, Tick)]), vec![], State::Overdue),
            ("overdue: done", with(idle(), vec![(1.0, RunBegan(0)), (11.0, Tick), (12.0, ended(0))]), vec![], State::Idle),
            ("overdue: silent", with(idle(), vec![(1.0, RunBegan(0)), (11.0, Tick), (301.0, Tick)]), vec![Order::Dump], State::Stopping(Step::Dump)),
            ("overdue without a run: a run", with(idle(), vec![(60.0, Tick), (61.0, RunBegan(0))]), vec![], State::Running),
            ("stopping: dumped", with(idle(), vec![(1.0, RunBegan(0)), (301.0, Tick), (301.8, Tick)]), vec![ask], State::Stopping(Step::Ask)),
            ("stopping: asked in vain", with(idle(), vec![(1.0, Stop), (6.3, Tick)]), vec![Order::Terminate], State::Stopping(Step::Term)),
            ("stopping: TERM in vain", killing(), vec![Order::Kill], State::Stopping(Step::Kill)),
            ("stopping: KILL in vain", with(killing(), vec![(14.5, Tick)]), vec![], State::Unkillable),
            ("stopping: ends", with(killing(), vec![(9.5, exited())]), vec![], State::Stopped),
            ("unkillable: no new copy", with(killing(), vec![(14.5, Tick), (15.0, Slot)]), vec![], State::Unkillable),
            ("unkillable: KILL again", with(killing(), vec![(14.5, Tick), (44.5, Tick)]), vec![Order::Kill], State::Unkillable),
            ("unkillable: ends at last", with(killing(), vec![(14.5, Tick), (99.0, exited())]), vec![], State::Stopped),
            ("backoff: due", vec![(0.0, Slot), (0.0, exited()), (1.0, Tick)], vec![], State::Waiting),
            ("backoff: changed", vec![(0.0, Slot), (0.0, exited()), (0.0, Changed)], vec![], State::Waiting),
            ("blocked: stays", vec![(0.0, Slot), (0.0, blocked()), (299.0, Tick)], vec![], State::Blocked),
            ("blocked: probe", vec![(0.0, Slot), (0.0, blocked()), (300.0, Tick)], vec![], State::Waiting),
            ("blocked: changed", vec![(0.0, Slot), (0.0, blocked()), (1.0, Changed)], vec![], State::Waiting),
            ("blocked: blocked again", vec![(0.0, Slot), (0.0, blocked()), (300.0, Tick), (300.0, Slot), (300.0, blocked())], vec![], State::Blocked),
            ("stopped: started", vec![(0.0, Stop), (1.0, Restart)], vec![], State::Waiting),
            ("restart: ends", with(idle(), vec![(1.0, Restart), (1.1, exited())]), vec![], State::Waiting),
        ];
        for (row, steps, orders, state) in table {
            let mut script = Script::new(Limits::default());
            let mut last = Vec::new();
            for (at, input) in steps {
                last = script.at(at, input);
            }
            assert_eq!((last, script.life.state()), (orders, state), "{row}");
        }
    }

    fn fatal() -> Input {
        Input::Fatal { why: "no class".to_owned(), permanent: true }
    }

    #[test]
    fn what_ends_by_itself_is_restarted_as_the_settings_say() {
        let clean = || Input::Exited { why: "exited with code 0".to_owned(), clean: true };
        let table = [
            (Restart::Always, clean(), State::Backoff),
            (Restart::Always, exited(), State::Backoff),
            (Restart::OnFailure, clean(), State::Ended),
            (Restart::OnFailure, exited(), State::Backoff),
            (Restart::Never, clean(), State::Ended),
            (Restart::Never, exited(), State::Ended),
        ];
        for (restart, end, state) in table {
            let mut script = Script::new(Limits { restart, ..Limits::default() });
            script.ready(0.0).at(1.0, end.clone());
            assert_eq!(script.life.state(), state, "{restart:?} {end:?}");
            if state == State::Ended {
                assert_eq!(script.at(9999.0, Input::Tick), []);
                assert_eq!(script.life.state(), State::Ended, "it stays so");
                assert_eq!(script.why().is_some(), end == exited(), "only a failure is told as one");
                script.at(9999.0, Input::Changed);
                assert_eq!(script.life.state(), State::Waiting, "a change starts it");
            }
        }
    }

    #[test]
    fn what_is_never_restarted_still_waits_for_the_cure_of_a_load_error_and_obeys_a_restart() {
        let never = || Script::new(Limits { restart: Restart::Never, ..Limits::default() });
        let mut script = never();
        script.at(0.0, Input::Slot);
        script.at(0.0, Input::Hello);
        script.at(0.0, fatal());
        assert_eq!(script.dies(0.1), State::Blocked);
        let mut script = never();
        script.ready(0.0).at(1.0, Input::Restart);
        assert_eq!(script.dies(1.1), State::Waiting);
        let mut script = never();
        script.at(0.0, Input::Slot);
        script.at(0.0, Input::NotSpawned { why: "EAGAIN".to_owned(), permanent: false });
        assert_eq!(script.life.state(), State::Backoff, "nothing has run yet");
    }

    #[test]
    fn a_worker_is_replaced_between_two_runs_when_its_time_is_over() {
        let mut script = Script::new(Limits { max_age: Some(seconds(100)), ..Limits::default() });
        script.ready(0.0);
        script.at(1.0, Input::RunBegan(0));
        assert_eq!(script.at(89.9, Input::RunEnded { job: 0, ok: true }), [], "one tenth earlier at most");
        script.at(90.0, Input::RunBegan(0));
        assert_eq!(script.at(110.1, Input::Tick), [], "not in the middle of a run");
        assert_eq!(script.at(111.0, Input::RunEnded { job: 0, ok: true }), [Order::Ask(seconds(5))]);
        assert!(script.life.recycles_because().unwrap().starts_with("max_age"));
        assert_eq!(script.dies(112.0), State::Waiting);
        assert_eq!((script.why(), script.life.restarts()), (None, 1), "it is no failure");
    }

    #[test]
    fn scripts_of_one_age_are_not_replaced_together() {
        let ends: std::collections::BTreeSet<Instant> = (1..20)
            .map(|seed| {
                let start = Instant::now();
                let limits = Limits { max_age: Some(seconds(1000)), ..Limits::default() };
                let mut script = Script { life: Life::new(limits, seed * 1_000_003, start), start };
                script.ready(0.0);
                let at = script.life.recycle_at.unwrap();
                assert!((900.0..=1100.0).contains(&(at - start).as_secs_f64()));
                at
            })
            .collect();
        assert!(ends.len() > 15);
    }

    #[test]
    fn a_worker_is_replaced_after_its_runs() {
        let mut script = Script::new(Limits { max_runs: Some(3), ..Limits::default() });
        script.ready(0.0);
        for run in 0..2 {
            script.at(f64::from(run), Input::RunBegan(0));
            assert_eq!(script.at(f64::from(run), Input::RunEnded { job: 0, ok: false }), []);
        }
        script.at(3.0, Input::RunBegan(0));
        assert_eq!(script.at(3.0, Input::RunEnded { job: 0, ok: false }), [Order::Ask(seconds(5))]);
        assert_eq!(script.dies(3.1), State::Waiting);
        script.ready(4.0);
        script.at(4.0, Input::RunBegan(0));
        assert_eq!(script.at(4.0, Input::RunEnded { job: 0, ok: true }), [], "the next one counts from the start");
    }

    #[test]
    fn a_worker_that_is_too_large_is_replaced_after_its_run_and_other_jobs_may_end_theirs() {
        let large = || Input::TooLarge { why: "memory_max: too much".to_owned() };
        let mut script = Script::new(Limits::default());
        script.ready(0.0);
        script.at(0.0, Input::RunBegan(0));
        script.at(0.0, Input::RunBegan(1));
        assert_eq!(script.at(1.0, large()), []);
        assert_eq!(script.at(2.0, Input::RunEnded { job: 0, ok: true }), [Order::Ask(seconds(300))]);
        assert_eq!(script.life.state(), State::Stopping(Step::Ask));
        assert_eq!(script.at(100.0, Input::Tick), []);
        script.at(100.0, Input::Stop);
        assert_eq!(script.at(105.3, Input::Tick), [Order::Terminate], "a stop does not wait that long");
        let mut idle = Script::new(Limits::default());
        assert_eq!(idle.ready(0.0).at(1.0, large()), [Order::Ask(seconds(5))]);
    }

    #[test]
    fn a_script_that_starts_slowly_is_given_three_times_as_long() {
        let mut script = Script::new(Limits { trip_score: 100.0, ..Limits::default() });
        script.at(0.0, Input::Slot);
        script.at(9.0, Input::Hello);
        script.at(38.0, Input::Ready(vec![seconds(10)]));
        script.dies(39.0);
        script.at(100.0, Input::Tick);
        script.at(100.0, Input::Slot);
        assert_eq!(script.at(126.9, Input::Tick), []);
        script.at(127.0, Input::Hello);
        assert_eq!(script.at(213.9, Input::Tick), []);
        assert_eq!(script.at(214.0, Input::Tick), [Order::Dump]);
    }

    #[test]
    fn failures_are_the_scripts_and_the_start_grace_is_the_incarnations() {
        let mut script = Script::new(Limits::default());
        for life in 0..3 {
            let at = f64::from(life) * 100.0;
            script.at(at, Input::Slot);
            assert_eq!(script.at(at + 9.9, Input::Tick), [], "each incarnation has its whole time");
            script.dies(at + 9.9);
            script.at(at + 99.0, Input::Tick);
        }
        script.at(300.0, Input::Slot);
        script.dies(300.0);
        let pause = script.life.next().unwrap().at - (script.start + seconds(300));
        assert!(pause >= seconds(4), "the fourth failure in a row waits 8 s, halved at most: {pause:?}");
    }

    #[test]
    fn a_stop_goes_from_asking_to_killing() {
        let mut script = Script::new(Limits::default());
        script.ready(0.0);
        assert_eq!(script.at(1.0, Input::Stop), [Order::Ask(seconds(5))]);
        assert_eq!(script.at(6.0, Input::Tick), []);
        assert_eq!(script.at(6.3, Input::Tick), [Order::Terminate]);
        assert_eq!(script.at(9.4, Input::Tick), [Order::Kill]);
        assert_eq!(script.at(14.5, Input::Tick), []);
        assert_eq!(script.life.state(), State::Unkillable);
        assert_eq!(script.dies(100.0), State::Stopped);
    }

    #[test]
    fn a_stop_in_a_hurry_fits_its_steps_into_the_time() {
        let mut script = Script::new(Limits::default());
        script.ready(0.0);
        script.life.hurry(seconds(4), script.start);
        assert_eq!(script.at(0.0, Input::Stop), [Order::Ask(Duration::from_millis(2800))]);
        assert_eq!(script.at(3.0, Input::Tick), [Order::Terminate]);
        assert_eq!(script.at(3.5, Input::Tick), [Order::Kill]);
    }

    #[test]
    fn a_stop_under_way_is_hurried_too() {
        let mut script = Script::new(Limits { stop_grace: seconds(100), ..Limits::default() });
        script.ready(0.0);
        assert_eq!(script.at(0.0, Input::Restart), [Order::Ask(seconds(100))]);
        script.life.hurry(seconds(4), script.start + seconds(1));
        assert_eq!(script.at(1.0, Input::Stop), []);
        assert_eq!(script.at(4.0, Input::Tick), [Order::Terminate]);
        assert_eq!(script.at(4.5, Input::Tick), [Order::Kill]);
        assert_eq!(script.dies(4.6), State::Stopped);
    }

    #[test]
    fn a_worker_that_closed_its_control_socket_is_replaced() {
        let mut script = Script::new(Limits::default());
        script.ready(0.0);
        assert_eq!(script.at(1.0, Input::ControlLost), [Order::Terminate]);
        assert_eq!(script.at(1.1, Input::ControlLost), []);
        assert_eq!(script.dies(1.2), State::Backoff);
        assert_eq!(script.why(), Some((Fault::Died, "closed its control socket")));
    }

    #[test]
    fn a_script_that_loads_slowly_keeps_no_slot() {
        let mut script = Script::new(Limits::default());
        script.at(0.0, Input::Slot);
        script.at(1.0, Input::Hello);
        assert!(script.life.is_starting(script.start + seconds(2)));
        assert!(!script.life.is_starting(script.start + seconds(3)));
    }

    #[test]
    fn a_silent_run_is_dumped_and_ended_and_a_talking_one_is_not() {
        let mut script = Script::new(Limits::default());
        script.ready(0.0);
        script.at(0.0, Input::RunBegan(0));
        assert_eq!(script.at(9.0, Input::Tick), []);
        script.at(10.0, Input::Tick);
        assert_eq!(script.life.state(), State::Overdue);
        script.at(200.0, Input::Activity);
        assert_eq!(script.at(499.0, Input::Tick), []);
        assert_eq!(script.at(500.0, Input::Tick), [Order::Dump]);
        assert_eq!(script.why(), Some((Fault::Hung, "hung: no sign of life for 5 min")));
        assert_eq!(script.at(500.8, Input::Tick), [Order::Ask(seconds(5))]);
    }

    #[test]
    fn run_timeout_counts_wall_time() {
        let mut script = Script::new(Limits { run_timeout: Some(seconds(3)), ..Limits::default() });
        script.ready(0.0);
        script.at(0.0, Input::RunBegan(0));
        script.at(2.9, Input::Activity);
        assert_eq!(script.at(3.0, Input::Tick), [Order::Dump]);
    }

    #[test]
    fn a_held_loop_makes_nobody_late() {
        let mut script = Script::new(Limits::default());
        script.ready(0.0);
        script.at(0.0, Input::RunBegan(0));
        script.at(3600.0, Input::Held(seconds(3599)));
        assert_eq!(script.at(3600.0, Input::Tick), []);
        assert_eq!(script.life.state(), State::Running);
    }

    #[test]
    fn backoff_doubles_and_is_spread() {
        let mut script = Script::new(Limits { trip_score: 100.0, ..Limits::default() });
        let mut now = 0.0;
        for exponent in 0..8 {
            script.at(now, Input::Slot);
            script.dies(now);
            let pause = script.life.next().unwrap().at - (script.start + Duration::from_secs_f64(now));
            let full = 2_f64.powi(exponent).min(60.0);
            assert!((full * 0.5..=full).contains(&pause.as_secs_f64()), "{exponent}: {pause:?}");
            now += 61.0;
            script.at(now, Input::Tick);
            assert_eq!(script.life.state(), State::Waiting);
        }
    }

    #[test]
    fn a_crash_loop_trips_the_breaker_and_one_good_run_closes_it() {
        let mut script = Script::new(Limits::default());
        let mut starts = 0;
        let mut now = 0.0;
        while script.life.state() != State::Tripped {
            starts += 1;
            script.at(now, Input::Slot);
            script.dies(now);
            now += if script.life.state() == State::Backoff { 60.0 } else { 0.0 };
            script.at(now, Input::Tick);
            assert!(starts < 30, "it never trips");
        }
        assert!((6..=12).contains(&starts), "{starts}");
        let tripped = now;
        script.at(now + 601.0, Input::Tick);
        script.ready(now + 601.0);
        script.dies(now + 602.0);
        assert_eq!(script.life.state(), State::Tripped, "half-open: one failure opens it again, for longer");
        assert!(script.life.next().unwrap().at > script.start + Duration::from_secs_f64(tripped + 602.0 + 1100.0));
        now += 602.0 + 1201.0;
        script.at(now, Input::Tick);
        script.ready(now);
        script.at(now, Input::RunBegan(0));
        script.at(now, Input::RunEnded { job: 0, ok: true });
        assert_eq!(script.why(), None);
        assert_eq!(script.dies(now + 100.0), State::Backoff);
    }

    #[test]
    fn a_long_good_life_wipes_the_backoff_out() {
        let mut script = Script::new(Limits { trip_score: 100.0, ..Limits::default() });
        for _ in 0..5 {
            script.at(0.0, Input::Slot);
            script.dies(0.0);
            script.at(60.0, Input::Tick);
        }
        script.ready(100.0);
        script.at(100.0, Input::RunBegan(0));
        script.at(101.0, Input::RunEnded { job: 0, ok: true });
        script.dies(161.0);
        assert!(script.life.next().unwrap().at <= script.start + seconds(162));
    }

    #[test]
    fn a_spawn_or_load_that_takes_too_long_is_ended() {
        let mut script = Script::new(Limits::default());
        script.at(0.0, Input::Slot);
        assert_eq!(script.at(10.0, Input::Tick), [Order::Kill]);
        let mut script = Script::new(Limits::default());
        script.at(0.0, Input::Slot);
        script.at(1.0, Input::Hello);
        assert_eq!(script.at(30.9, Input::Tick), []);
        assert_eq!(script.at(31.0, Input::Tick), [Order::Dump]);
        assert_eq!(script.why(), Some((Fault::NotLoaded, "was still loading after 30 s")));
    }
}
