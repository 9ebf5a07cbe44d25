//! The steps of a stop: have the stacks written, ask, TERM, KILL.

use std::time::{Duration, Instant};

use super::limits::LifeLimits;
use super::states::{LifeAction, StopStep};

/// The worker gives up by itself after its grace; TERM is for one that does not.
pub(super) const ASK_MORE: Duration = Duration::from_millis(200);
/// What a stop in a hurry keeps at least for TERM and KILL.
const FORCED: Duration = Duration::from_millis(1500);

/// What comes when the process is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterStop {
    /// It was hung or dead: a failure.
    Fail,
    /// Asked for: start again at once.
    Restart,
    /// Its time was over, it had done nothing wrong.
    Recycle,
    /// It has nothing to do until then.
    Rest(Instant),
    Stay,
}

impl StopStep {
    /// What is ordered, and how long its effect is waited for.
    pub(super) fn order(self, limits: &LifeLimits) -> (LifeAction, Duration) {
        match self {
            Self::Dump => (LifeAction::Dump, limits.dump),
            Self::Ask => (LifeAction::Ask(limits.stop_grace), limits.stop_grace + ASK_MORE),
            Self::Term => (LifeAction::Terminate, limits.term),
            Self::Kill => (LifeAction::Kill, limits.kill),
        }
    }

    /// What follows where it had no effect; `None`: there is nothing stronger.
    pub(super) fn stronger(self) -> Option<Self> {
        match self {
            Self::Dump => Some(Self::Ask),
            Self::Ask => Some(Self::Term),
            Self::Term => Some(Self::Kill),
            Self::Kill => None,
        }
    }
}

/// Shortens the steps so that all of them fit into `within`; returns what is left for the step under way, where that can be shortened.
pub(super) fn hurry(limits: &mut LifeLimits, within: Duration, step: Option<StopStep>) -> Option<Duration> {
    let forced = (within / 4).min(FORCED);
    let asked = within - forced;
    limits.stop_grace = limits.stop_grace.min(asked.saturating_sub(ASK_MORE));
    limits.term = limits.term.min(forced / 2);
    match step? {
        StopStep::Dump | StopStep::Term => Some(forced / 2),
        StopStep::Ask => Some(asked),
        StopStep::Kill => None,
    }
}
