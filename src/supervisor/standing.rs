//! How it is with a worker: one answer, from which everything is derived that is shown, logged, settled and compared.
//!
//! [`StandingFacts`] are what its life, its version and its units say; [`Standing::of`] is the only reading of them. The view, the log, the end of
//! a change, the plan of a reload and the listing all ask the standing, so they cannot contradict each other.

use serde::{Deserialize, Serialize};

use super::plan::RunState;
use crate::worker::life::{FailureKind, LifeState, StopStep};

/// What the standing is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StandingFacts {
    pub life: LifeState,
    /// The failure that stands.
    pub fault: Option<FailureKind>,
    /// The worker has loaded what it runs.
    pub is_ready: bool,
    /// Another version is ordered, but not started yet.
    pub has_next: bool,
    /// It is no longer wanted.
    pub leaves: bool,
    /// It only tells the units of others.
    pub lists: bool,
    /// Nothing in it can run, and nothing was meant to: others import it.
    pub is_passive: bool,
    /// Its process ends because all jobs wait.
    pub rests: bool,
}

/// How it is with a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Waits for its turn, starts or loads.
    Starting,
    /// Its units run; each of them has a state of its own.
    Working,
    /// A run lasts for longer than it should, or none begins.
    Overdue,
    Stopping {
        stage: StopStep,
        is_hung: bool,
    },
    /// Has told its units, or is about to be gone after that.
    Listed {
        is_over: bool,
    },
    /// Nothing in it can run; others import it.
    Passive,
    /// All its jobs wait for a check; its process has ended, or is about to, and comes back for that.
    Resting,
    /// Is started again after a pause; `is_open`: after so many failures that the pause is long.
    Retrying {
        fault: Option<FailureKind>,
        is_open: bool,
    },
    /// Cannot run until something changes.
    Blocked,
    /// Ended by itself, and the settings say to leave it so.
    Ended(Option<FailureKind>),
    Stopped,
    /// KILL had no effect.
    Unkillable,
}

/// The state of a unit as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitState {
    Starting,
    Ok,
    /// Runs, but no run has ended yet, or one takes long.
    Running,
    /// Waits for something outside: a check that did not go well is repeated.
    Waiting,
    Failing,
    Refused,
    Silent,
    Helper,
    Hung,
    Crashed,
    LoadError,
    Stopping,
    Stopped,
    Ended,
    Unkillable,
    /// Does not run because the foreign settings, or its file, say so.
    Off,
}

/// How a change has ended, as far as the standing tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Runs,
    Lists,
    Helps,
    Fails,
    Unkillable,
    Stopped,
}

impl Standing {
    pub fn of(facts: &StandingFacts) -> Self {
        let has_listed = facts.lists && facts.is_ready && !facts.leaves;
        match facts.life {
            LifeState::Waiting | LifeState::Spawning | LifeState::Loading => Self::Starting,
            LifeState::Idle | LifeState::Running => Self::Working,
            LifeState::Overdue => Self::Overdue,
            LifeState::Stopping(_) if has_listed && facts.fault.is_none() => Self::Listed { is_over: false },
            LifeState::Stopping(StopStep::Ask) if facts.rests => Self::Resting,
            LifeState::Stopping(stage) => Self::Stopping { stage, is_hung: facts.fault == Some(FailureKind::Hung) },
            LifeState::Resting => Self::Resting,
            LifeState::Stopped if has_listed => Self::Listed { is_over: true },
            LifeState::Stopped => Self::Stopped,
            LifeState::Blocked if facts.is_passive => Self::Passive,
            LifeState::Blocked => Self::Blocked,
            LifeState::Backoff => Self::Retrying { fault: facts.fault, is_open: false },
            LifeState::Tripped => Self::Retrying { fault: facts.fault, is_open: true },
            LifeState::Ended => Self::Ended(facts.fault),
            LifeState::Unkillable => Self::Unkillable,
        }
    }

    /// The state of all its units; `None`: each has its own, by what its jobs did.
    pub fn of_units(self) -> Option<UnitState> {
        let lost = |fault| match fault {
            Some(FailureKind::NotLoaded) => UnitState::LoadError,
            Some(FailureKind::Hung) => UnitState::Hung,
            Some(FailureKind::NotStarted | FailureKind::Died) | None => UnitState::Crashed,
        };
        Some(match self {
            Self::Working | Self::Overdue => return None,
            Self::Starting => UnitState::Starting,
            Self::Listed { .. } => UnitState::Ok,
            Self::Stopping { is_hung: true, .. } => UnitState::Hung,
            Self::Stopping { is_hung: false, .. } => UnitState::Stopping,
            Self::Resting => UnitState::Waiting,
            Self::Passive => UnitState::Helper,
            Self::Blocked => UnitState::LoadError,
            Self::Retrying { fault, .. } => lost(fault),
            Self::Ended(None) => UnitState::Ended,
            Self::Ended(fault) => lost(fault),
            Self::Stopped => UnitState::Stopped,
            Self::Unkillable => UnitState::Unkillable,
        })
    }

    /// How a change under way has ended; `None` while it has not.
    pub fn settled(self) -> Option<Settled> {
        match self {
            Self::Working | Self::Overdue | Self::Resting => Some(Settled::Runs),
            Self::Listed { is_over: true } => Some(Settled::Lists),
            Self::Passive => Some(Settled::Helps),
            Self::Retrying { .. } | Self::Blocked => Some(Settled::Fails),
            Self::Unkillable => Some(Settled::Unkillable),
            Self::Stopped | Self::Ended(_) => Some(Settled::Stopped),
            Self::Starting | Self::Stopping { .. } | Self::Listed { is_over: false } => None,
        }
    }

    /// Says whether a lister has nothing more to say, so that what it told can be followed.
    pub fn has_listed(self) -> bool {
        matches!(self, Self::Listed { is_over: true } | Self::Passive)
    }

    /// Says whether it has no process because it failed.
    pub fn has_failed(self) -> bool {
        matches!(self, Self::Retrying { .. } | Self::Blocked)
    }

    /// Says whether it waits until a file of its changes, or for its next try.
    pub fn waits_for_change(self) -> bool {
        matches!(self, Self::Resting | Self::Retrying { .. } | Self::Blocked | Self::Passive | Self::Ended(_))
    }
}

impl StandingFacts {
    /// What a reload compares with what is wanted.
    pub fn run_state(&self) -> RunState {
        match Standing::of(self) {
            _ if self.leaves => RunState::Leaves,
            _ if self.has_next => RunState::Starts,
            Standing::Passive => RunState::Helps,
            Standing::Listed { .. } => RunState::Works,
            Standing::Retrying { .. } | Standing::Blocked | Standing::Stopped | Standing::Unkillable => RunState::Fails,
            _ if self.is_ready => RunState::Works,
            _ => RunState::Starts,
        }
    }
}

impl UnitState {
    /// Says whether nobody has to look, as far as the state alone tells.
    pub fn is_well(self) -> bool {
        matches!(self, Self::Ok | Self::Running | Self::Starting | Self::Helper | Self::Ended | Self::Off)
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ok => "ok",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Failing => "failing",
            Self::Refused => "refused",
            Self::Silent => "silent",
            Self::Helper => "helper",
            Self::Hung => "hung",
            Self::Crashed => "crashed",
            Self::LoadError => "load-error",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Ended => "ended",
            Self::Unkillable => "unkillable",
            Self::Off => "off",
        }
    }
}

impl std::fmt::Display for UnitState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: StandingFacts = StandingFacts {
        life: LifeState::Idle,
        fault: None,
        is_ready: true,
        has_next: false,
        leaves: false,
        lists: false,
        is_passive: false,
        rests: false,
    };

    #[test]
    fn every_state_of_a_life_has_one_standing_and_all_that_is_derived_from_it() {
        use LifeState::{
            Backoff, Blocked, Ended, Idle, Loading, Overdue, Running, Spawning, Stopped, Tripped, Unkillable,
        };
        let starts = StandingFacts { is_ready: false, ..RUNS };
        let failed = |life, fault| StandingFacts { life, fault: Some(fault), is_ready: false, ..RUNS };
        let table = [
            (StandingFacts { life: LifeState::Waiting, ..starts }, Some(UnitState::Starting), None, RunState::Starts),
            (StandingFacts { life: Spawning, ..starts }, Some(UnitState::Starting), None, RunState::Starts),
            (StandingFacts { life: Loading, ..starts }, Some(UnitState::Starting), None, RunState::Starts),
            (StandingFacts { life: Idle, ..RUNS }, None, Some(Settled::Runs), RunState::Works),
            (StandingFacts { life: Running, ..RUNS }, None, Some(Settled::Runs), RunState::Works),
            (StandingFacts { life: Overdue, ..RUNS }, None, Some(Settled::Runs), RunState::Works),
            (
                StandingFacts { life: LifeState::Stopping(StopStep::Ask), ..RUNS },
                Some(UnitState::Stopping),
                None,
                RunState::Works,
            ),
            (
                StandingFacts { life: LifeState::Stopping(StopStep::Dump), fault: Some(FailureKind::Hung), ..RUNS },
                Some(UnitState::Hung),
                None,
                RunState::Works,
            ),
            (failed(Backoff, FailureKind::Hung), Some(UnitState::Hung), Some(Settled::Fails), RunState::Fails),
            (failed(Backoff, FailureKind::Died), Some(UnitState::Crashed), Some(Settled::Fails), RunState::Fails),
            (
                failed(Tripped, FailureKind::NotLoaded),
                Some(UnitState::LoadError),
                Some(Settled::Fails),
                RunState::Fails,
            ),
            (failed(Tripped, FailureKind::NotStarted), Some(UnitState::Crashed), Some(Settled::Fails), RunState::Fails),
            (
                failed(Blocked, FailureKind::NotStarted),
                Some(UnitState::LoadError),
                Some(Settled::Fails),
                RunState::Fails,
            ),
            (
                StandingFacts { is_passive: true, ..failed(Blocked, FailureKind::NotLoaded) },
                Some(UnitState::Helper),
                Some(Settled::Helps),
                RunState::Helps,
            ),
            (StandingFacts { life: Ended, ..RUNS }, Some(UnitState::Ended), Some(Settled::Stopped), RunState::Works),
            (failed(Ended, FailureKind::Hung), Some(UnitState::Hung), Some(Settled::Stopped), RunState::Starts),
            (
                StandingFacts { life: Stopped, ..RUNS },
                Some(UnitState::Stopped),
                Some(Settled::Stopped),
                RunState::Fails,
            ),
            (
                StandingFacts { life: Unkillable, ..RUNS },
                Some(UnitState::Unkillable),
                Some(Settled::Unkillable),
                RunState::Fails,
            ),
            (
                StandingFacts { life: LifeState::Resting, ..RUNS },
                Some(UnitState::Waiting),
                Some(Settled::Runs),
                RunState::Works,
            ),
            (StandingFacts { life: Idle, leaves: true, ..RUNS }, None, Some(Settled::Runs), RunState::Leaves),
            (StandingFacts { life: Idle, has_next: true, ..RUNS }, None, Some(Settled::Runs), RunState::Starts),
        ];
        for (facts, shown, settled, run_state) in table {
            let standing = Standing::of(&facts);
            assert_eq!(
                (standing.of_units(), standing.settled(), facts.run_state()),
                (shown, settled, run_state),
                "{facts:?}"
            );
        }
    }

    #[test]
    fn a_lister_is_well_once_it_has_told_and_is_gone() {
        let lists = StandingFacts { lists: true, ..RUNS };
        let at = |life| Standing::of(&StandingFacts { life, ..lists });
        assert_eq!(at(LifeState::Stopping(StopStep::Ask)), Standing::Listed { is_over: false });
        assert_eq!(at(LifeState::Stopped), Standing::Listed { is_over: true });
        assert_eq!(
            (at(LifeState::Stopped).of_units(), at(LifeState::Stopped).settled()),
            (Some(UnitState::Ok), Some(Settled::Lists))
        );
        assert!(at(LifeState::Stopped).has_listed() && !at(LifeState::Stopping(StopStep::Ask)).has_listed());
        let leaves = Standing::of(&StandingFacts { life: LifeState::Stopped, leaves: true, ..lists });
        assert_eq!((leaves, leaves.has_listed()), (Standing::Stopped, false));
        let hung = Standing::of(&StandingFacts {
            life: LifeState::Stopping(StopStep::Kill),
            fault: Some(FailureKind::Hung),
            ..lists
        });
        assert_eq!(hung.of_units(), Some(UnitState::Hung));
    }

    #[test]
    fn the_word_that_is_shown_is_the_one_that_is_serialised() {
        for state in [UnitState::Ok, UnitState::LoadError, UnitState::Unkillable, UnitState::Waiting, UnitState::Off] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.word());
        }
    }
}
