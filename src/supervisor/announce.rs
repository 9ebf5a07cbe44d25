//! What the console and the command-line log say when the standing of a worker changes: once, and only what a person wants to know.

use std::time::{Duration, Instant};

use super::standing::Standing;
use super::view::Coming;
use super::worker::Worker;
use crate::worker::life::StopStep;

impl Worker {
    /// Announces that its standing is another one than `before`.
    pub(super) fn announce(&mut self, before: Standing) {
        let was_dumping = matches!(before, Standing::Stopping { stage: StopStep::Dump, .. });
        if was_dumping && let Some(place) = self.place_of_stack() {
            let under_way = self.under_way();
            let also =
                if under_way.len() > 1 { format!("; in a run then: {}", under_way.join(", ")) } else { String::new() };
            self.life.explain(&format!(", at {place}{also}"));
        }
        let id = &self.spec.id;
        let why = self.why().unwrap_or_default();
        match self.standing() {
            Standing::Starting | Standing::Listed { .. } | Standing::Resting => {}
            Standing::Working if before == Standing::Overdue => {
                tracing::info!(target: "worker", "{id}: its long run has ended")
            }
            Standing::Working => {}
            Standing::Overdue => tracing::warn!(target: "worker", "{id}: {}", self.overdue(Instant::now())),
            Standing::Stopping { stage, .. } => self.announce_stop(stage, was_dumping, &why),
            Standing::Retrying { .. } => {
                let text = format!("{id}: {why}{}", self.soon());
                tracing::error!(target: "worker", "{text}");
                self.output.logs.cli(&text);
            }
            Standing::Passive => {
                tracing::info!(target: "worker", "{id}: holds no collector; it is taken for a module that other scripts import")
            }
            Standing::Blocked => {
                tracing::error!(target: "worker", "{id}: cannot run: {why}{}", self.soon())
            }
            Standing::Unkillable => {
                tracing::error!(target: "worker", "{id}: does not end even with KILL; no new copy is started while it lives")
            }
            Standing::Ended(_) if why.is_empty() => {
                tracing::info!(target: "worker", "{id}: ended, not restarted")
            }
            Standing::Ended(_) => {
                tracing::error!(target: "worker", "{id}: {why}");
                self.output.logs.cli(&format!("{id}: {why}"));
            }
            Standing::Stopped => tracing::info!(target: "worker", "{id}: stopped"),
        }
    }

    fn announce_stop(&self, stage: StopStep, was_dumping: bool, why: &str) {
        let id = &self.spec.id;
        match stage {
            StopStep::Dump => tracing::error!(target: "worker", "{id}: {why}; writing its stack, then ending it"),
            StopStep::Ask if was_dumping => {
                let stack = self.own_stack().unwrap_or("could not get the stack");
                self.output.logs.cli(&format!("{id}: {why}\n{}", stack.trim_end()));
            }
            StopStep::Ask => match self.life.recycles_because() {
                Some(why) => tracing::info!(target: "worker", "{id}: is replaced: {why}"),
                None => tracing::info!(target: "worker", "{id}: asked to stop"),
            },
            StopStep::Term => {
                tracing::warn!(target: "worker", "{id}: did not stop when asked; sending TERM to its process group")
            }
            StopStep::Kill => tracing::warn!(target: "worker", "{id}: sending KILL to all its processes"),
        }
    }

    /// `; restart in 1.2 s`, `; next try in 5 min, or when its file changes`
    fn soon(&self) -> String {
        let Some(coming) = self.coming() else { return String::new() };
        let left = coming.at.map(|at| at.saturating_duration_since(Instant::now()));
        format!("; {}", Coming::tell(coming.what, left.map(in_words).as_deref(), coming.at_change))
    }
}

fn in_words(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 119.5 => format!("{seconds:.1} s"),
        seconds => format!("{:.0} min", seconds / 60.0),
    }
}
