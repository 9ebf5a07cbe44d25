//! What can be asked of a life: how it is, why, and what comes next.

use std::time::{Duration, Instant};

use super::machine::Life;
use super::states::{FailureKind, FailureText, LifeState, Next, StopStep};
use super::stops::AfterStop;

/// A healthy script loads faster.
const LOADS_AT_ONCE: Duration = Duration::from_secs(2);

impl Life {
    pub fn state(&self) -> LifeState {
        self.state
    }

    pub fn since(&self) -> Instant {
        self.since
    }

    /// The last failure, until a run has gone well since.
    pub fn failure(&self) -> Option<&FailureText> {
        self.cause.as_ref().or(self.failure.as_ref())
    }

    /// Why it is being replaced although nothing is wrong.
    pub fn recycles_because(&self) -> Option<&str> {
        self.recycling.because().filter(|_| self.after_stop == AfterStop::Recycle)
    }

    /// The fault that ends this incarnation, if it is known before the end.
    pub fn ends_because(&self) -> Option<FailureKind> {
        self.cause.as_ref().map(|failure| failure.fault)
    }

    /// True while it takes the machine's time to start. One that loads for longer waits for something, and nobody waits for it.
    pub fn is_starting(&self, now: Instant) -> bool {
        match self.state {
            LifeState::Spawning => true,
            LifeState::Loading => now.saturating_duration_since(self.since) < LOADS_AT_ONCE,
            _ => false,
        }
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
            LifeState::Spawning
                | LifeState::Loading
                | LifeState::Idle
                | LifeState::Running
                | LifeState::Overdue
                | LifeState::Stopping(_)
                | LifeState::Unkillable
        )
    }

    /// True until the process has said something.
    pub fn is_spawning(&self) -> bool {
        self.state == LifeState::Spawning
    }

    pub fn is_loading(&self) -> bool {
        self.state == LifeState::Loading
    }

    pub fn is_stopping(&self) -> bool {
        matches!(self.state, LifeState::Stopping(_))
    }

    /// True while the stacks of a hung run are written.
    pub fn is_dumping(&self) -> bool {
        self.state == LifeState::Stopping(StopStep::Dump)
    }

    /// True while it waits for its turn to start.
    pub fn waits_for_slot(&self) -> bool {
        self.state == LifeState::Waiting
    }

    pub fn is_stopped(&self) -> bool {
        self.state == LifeState::Stopped
    }

    /// True while it has no process and a change of its files may bring one.
    pub(super) fn waits_without_process(&self) -> bool {
        matches!(
            self.state,
            LifeState::Resting | LifeState::Backoff | LifeState::Blocked | LifeState::Tripped | LifeState::Ended
        )
    }

    /// True while its process ends because it has nothing to do for a while.
    pub fn goes_to_rest(&self) -> bool {
        self.is_stopping() && matches!(self.after_stop, AfterStop::Rest(_))
    }

    /// The jobs that are in a run, and when that began.
    pub fn runs_under_way(&self) -> impl Iterator<Item = (usize, Instant)> {
        self.jobs.under_way()
    }

    /// The job that has been in a run for longest, and when that began.
    pub fn longest_run(&self) -> Option<(usize, Instant)> {
        self.runs_under_way().min_by_key(|(_, began)| *began)
    }

    pub fn next(&self) -> Option<Next> {
        let what = match self.state {
            LifeState::Waiting => return Some(Next { what: "start", at: self.since }),
            LifeState::Spawning | LifeState::Loading => "give up starting",
            LifeState::Resting => "check",
            LifeState::Backoff => "restart",
            LifeState::Blocked | LifeState::Tripped => "next try",
            LifeState::Stopping(StopStep::Dump) => "ask it to stop",
            LifeState::Stopping(StopStep::Ask) => "TERM",
            LifeState::Stopping(StopStep::Term) => "KILL",
            LifeState::Stopping(StopStep::Kill) => "give up ending it",
            // Only where somebody has to look: a run that goes well needs no announcement of its end.
            LifeState::Running | LifeState::Overdue if self.state == LifeState::Overdue || self.failure.is_some() => {
                return self
                    .jobs
                    .end_at(self.last_activity, &self.limits)
                    .map(|at| Next { what: "ended unless its run is done", at });
            }
            LifeState::Unkillable => "KILL again",
            LifeState::Idle | LifeState::Running | LifeState::Overdue | LifeState::Ended | LifeState::Stopped => {
                return None;
            }
        };
        self.deadline.map(|at| Next { what, at })
    }
}
