//! Units begin, change and end without a trial.

use super::comparison::Comparison;
use super::line::OutcomeLine;
use super::reloader::Reloader;
use crate::api::views::UnitOutcome;
use crate::supervisor::Change;
use crate::supervisor::plan::PlanStep;
use crate::worker::lastgood;

impl Reloader {
    /// Begins what needs no trial.
    pub(super) async fn begin(&self, compared: &Comparison) -> Vec<OutcomeLine> {
        let mut lines = Vec::new();
        let mut changes = Vec::new();
        let mut begun = Vec::new();
        for (id, step) in &compared.plan {
            let wanted = compared.wanted.get(id);
            let (change, outcome, why) = match (step, wanted) {
                (PlanStep::Start, Some(wanted)) => (Some(Change::Start(wanted.clone())), UnitOutcome::Started, None),
                (PlanStep::Restart(why), Some(wanted)) => {
                    (Some(Change::Restart(wanted.clone())), UnitOutcome::Restarted, Some(why))
                }
                (PlanStep::Update, Some(wanted)) => (Some(Change::Update(wanted.clone())), UnitOutcome::Updated, None),
                (PlanStep::Stop, _) => (Some(Change::Stop(id.clone())), UnitOutcome::Stopped, None),
                (PlanStep::Move, Some(wanted)) => {
                    changes.push(Change::Update(wanted.clone()));
                    (None, UnitOutcome::Unchanged, None)
                }
                (PlanStep::StillRefused(why), _) => (None, UnitOutcome::Refused, Some(why)),
                (PlanStep::Keep, _) => (None, UnitOutcome::Unchanged, None),
                (PlanStep::Try(_) | PlanStep::Start | PlanStep::Restart(_) | PlanStep::Update | PlanStep::Move, _) => {
                    continue;
                }
            };
            let line = compared.line(id, outcome, why.cloned());
            match change {
                Some(Change::Update(wanted)) => {
                    changes.push(Change::Update(wanted));
                    lines.push(OutcomeLine::Known(line));
                }
                Some(change) => {
                    changes.push(change);
                    begun.push(line);
                }
                None => lines.push(OutcomeLine::Same(line)),
            }
        }
        let stopped = begun.iter().filter(|line| line.outcome == UnitOutcome::Stopped);
        self.forget(stopped.map(|line| line.id.clone()).collect()).await;
        for settling in self.scripts.begin(changes).await {
            if let Some(at) = begun.iter().position(|line| line.id == settling.id) {
                lines.push(OutcomeLine::Settles { settling, line: begun.swap_remove(at) });
            }
        }
        lines
    }

    /// What is no longer wanted needs no good version either.
    async fn forget(&self, ids: Vec<String>) {
        let last_good = self.last_good.clone();
        let forgot =
            tokio::task::spawn_blocking(move || ids.iter().try_for_each(|id| lastgood::forget(&last_good, id)));
        if let Ok(Err(error)) = forgot.await {
            tracing::warn!(target: "agent", "could not delete the last version of a removed script: {error}");
        }
    }
}
