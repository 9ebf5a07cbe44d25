//! One unit's line of the outcome of a reload, and the wait for it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::api::views::{ReloadedUnit, UnitOutcome};
use crate::supervisor::{ChangeOutcome, Settling};

/// The answer waits so long for changes to settle; an old worker may be given longer by its `stop_grace`.
const SETTLE: Duration = Duration::from_secs(60);

/// One script's line of the outcome, or the change that will tell it.
pub(super) enum OutcomeLine {
    /// As before the reload.
    Same(ReloadedUnit),
    Known(ReloadedUnit),
    Settles {
        settling: Settling,
        line: ReloadedUnit,
    },
}

impl OutcomeLine {
    /// Waits until the change has settled, but no longer than [`SETTLE`].
    pub(super) async fn settle(self) -> ReloadedUnit {
        let (settling, line) = match self {
            Self::Same(line) | Self::Known(line) => return line,
            Self::Settles { settling, line } => (settling, line),
        };
        match tokio::time::timeout(SETTLE, settling.outcome()).await {
            Ok(ChangeOutcome::Runs { pid }) => ReloadedUnit { pid, ..line },
            Ok(ChangeOutcome::RunsWithout { pid, why }) => {
                let why = line.why.map_or(why.clone(), |changed| format!("{changed}; {why}"));
                ReloadedUnit { pid, why: Some(why), ..line }
            }
            Ok(ChangeOutcome::Helps) => ReloadedUnit { outcome: UnitOutcome::Helper, ..line },
            Ok(ChangeOutcome::Fails { why }) => ReloadedUnit { outcome: UnitOutcome::Refused, why: Some(why), ..line },
            Ok(ChangeOutcome::Stopped | ChangeOutcome::Done) => line,
            Err(_elapsed) => {
                let why = format!("its old worker has not ended its run after {} s", SETTLE.as_secs());
                ReloadedUnit { why: Some(why), ..line }
            }
        }
    }
}

/// Waits until these listers have told, or failed to.
pub(super) async fn settle_listers(lines: Vec<OutcomeLine>, listers: &BTreeSet<String>) -> Vec<OutcomeLine> {
    let one = |line: OutcomeLine| async {
        match line {
            OutcomeLine::Settles { settling, line } if listers.contains(&line.id) => {
                OutcomeLine::Known(OutcomeLine::Settles { settling, line }.settle().await)
            }
            other => other,
        }
    };
    futures_util::future::join_all(lines.into_iter().map(one)).await
}

/// Those of them that have told anew.
pub(super) fn listed(lines: &[OutcomeLine], listers: &BTreeSet<String>) -> BTreeSet<String> {
    let known = lines.iter().filter_map(|line| match line {
        OutcomeLine::Known(line) | OutcomeLine::Same(line) => Some(line),
        OutcomeLine::Settles { .. } => None,
    });
    known
        .filter(|line| listers.contains(&line.id) && line.outcome != UnitOutcome::Refused)
        .map(|line| line.id.clone())
        .collect()
}
