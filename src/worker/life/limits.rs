//! The times and counts that a life keeps to.

use std::time::Duration;

use crate::config::Restart;

/// How long a worker may take for what.
#[derive(Debug, Clone, PartialEq)]
pub struct LifeLimits {
    /// From the order to a process: a zygote may have to be booted first, and others be forked before this one.
    pub pending: Duration,
    /// From then on to `hello`; at least three times the slowest start of this worker.
    pub spawn: Duration,
    /// From `hello` to `ready`; at least three times the slowest load of this worker.
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
    /// A blocked worker is tried again after this time, even unchanged.
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

impl Default for LifeLimits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            pending: seconds(60),
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

/// `700 ms`, `12 s`, `5 min`.
pub(super) fn in_words(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}
