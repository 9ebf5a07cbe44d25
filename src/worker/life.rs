//! The life of one script's worker as a pure state machine: what happened goes in, orders come out.
//!
//! ```text
//! Waiting ─slot→ Spawning ─hello→ Loading ─ready→ Idle ⇄ Running → Overdue
//!    ↑                                                 │ silence, stop, restart
//!    ├── Backoff · Blocked · Tripped ←── end ──── Stopping (dump, ask, TERM, KILL) → Unkillable
//! ```
//!
//! Failure counters belong to the script, start grace to the incarnation. An exception in a run is no failure of the worker. Whoever drives
//! the machine drops events of an incarnation that is over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The numbers of spec/supervision 2.5.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// From the order to `hello`.
    pub spawn: Duration,
    /// From `hello` to `ready`.
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
    /// A run is hung after ten intervals of silence, but not before this.
    pub silence_min: Duration,
    /// Wall time of a run; given, it stands instead of the silence.
    pub run_timeout: Option<Duration>,
    pub stop_grace: Duration,
    pub term: Duration,
    pub kill: Duration,
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
            silence_min: seconds(300),
            run_timeout: None,
            stop_grace: seconds(5),
            term: seconds(3),
            kill: seconds(5),
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
    /// In a run that lasts longer than it should.
    Overdue,
    Stopping(Step),
    Backoff,
    /// Cannot run until somebody changes something.
    Blocked,
    /// The breaker is open after too many failures.
    Tripped,
    /// KILL had no effect; no new copy while this one lives.
    Unkillable,
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
            random: seed | 1,
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

    /// When the run that lasts longest began.
    pub fn run_began(&self) -> Option<Instant> {
        self.running.values().min().copied()
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
            State::Idle | State::Running | State::Overdue | State::Unkillable | State::Stopped => return None,
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
                self.enter(State::Loading, now, Some(now + self.limits.load))
            }
            Input::Ready(intervals) if self.state == State::Loading => {
                self.intervals = intervals;
                self.ready_at = Some(now);
                self.last_activity = now;
                self.enter(State::Idle, now, None)
            }
            Input::RunBegan(job) => self.run_began_at(job, now),
            Input::RunEnded { job, ok } => self.run_ended(job, ok, now),
            Input::Activity => {
                self.last_activity = self.last_activity.max(now);
                Vec::new()
            }
            Input::Fatal { why, permanent } => {
                self.cause = Some(Failure { fault: Fault::NotLoaded, why });
                self.fatal_is_permanent = permanent;
                Vec::new()
            }
            Input::Exited { why } => {
                // What was known before (hung, fatal) explains more than how it ended.
                self.cause.get_or_insert(Failure { fault: Fault::Died, why });
                self.over(now)
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
            Input::Changed if matches!(self.state, State::Backoff | State::Blocked | State::Tripped) => {
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
        self.cause = None;
        self.fatal_is_permanent = false;
        self.after_stop = AfterStop::Fail;
        self.last_activity = now;
        self.enter(State::Spawning, now, Some(now + self.limits.spawn));
        vec![Order::Spawn]
    }

    fn run_began_at(&mut self, job: usize, now: Instant) -> Vec<Order> {
        self.last_activity = now;
        self.running.insert(job, now);
        if self.state == State::Idle { self.enter(State::Running, now, None) } else { Vec::new() }
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
            return self.enter(State::Idle, now, None);
        }
        Vec::new()
    }

    fn tick(&mut self, now: Instant) -> Vec<Order> {
        let due = self.deadline.is_some_and(|deadline| deadline <= now);
        match self.state {
            State::Spawning if due => {
                let why = format!("did not start within {}", told(self.limits.spawn));
                self.end(Fault::NotStarted, why, Step::Kill, now)
            }
            State::Loading if due => {
                let why = format!("was still loading after {}", told(self.limits.load));
                self.end(Fault::NotLoaded, why, Step::Dump, now)
            }
            State::Idle | State::Running | State::Overdue => self.watch(now),
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
            // Between two runs: the next one must begin some time.
            let rest = self.intervals.iter().min().copied().unwrap_or_default();
            let silent = now.saturating_duration_since(self.last_activity);
            if silent >= rest.saturating_add(self.silence_limit(0).max(rest.saturating_mul(3))) {
                let why = format!("hung: no run began for {}", told(silent));
                return self.end(Fault::Hung, why, Step::Dump, now);
            }
            return Vec::new();
        }
        let overdue =
            self.running.iter().any(|(job, began)| now.saturating_duration_since(*began) >= self.overdue_limit(*job));
        if overdue && self.state == State::Running {
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
            Step::Kill => self.enter(State::Unkillable, now, None),
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
            self.at(after, Input::Exited { why: "exited with code 1".to_owned() });
            self.life.state()
        }
    }

    fn exited() -> Input {
        Input::Exited { why: "exited with code 1".to_owned() }
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
