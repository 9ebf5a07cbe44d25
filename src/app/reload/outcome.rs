//! What a reload has come to: for those who wait, for the status, and for the log.

use std::path::Path;
use std::time::Instant;

use tokio::sync::oneshot;

use super::line::OutcomeLine;
use super::wish::Wish;
use crate::api::views::{FailureView, Reloaded, UnitOutcome};
use crate::api::{ReloadRecord, ShownSettings};
use crate::config::ConfigError;
use crate::diagnostic::Diagnostic;
use crate::supervisor::plan::Asking;

/// Tells that the settings have faults, and that nothing was changed.
pub(super) fn refuse_settings(error: &ConfigError, wish: Wish, root: &Path, shown: &ShownSettings) {
    let Wish { by, asking, answers, .. } = wish;
    let faults: Vec<FailureView> = error.faults.iter().map(|fault| shown_fault(fault, root)).collect();
    let last = shown.now().reload.map(|last| last.outcome.faults).unwrap_or_default();
    let is_news = last != faults || asking == Asking::Asked;
    if is_news {
        log_faults(&by, &faults);
    }
    let needs_restart = shown.now().needs_restart;
    let outcome = Reloaded { schema: 2, by, faults, needs_restart, ..Reloaded::default() };
    if is_news {
        shown.change(|now| now.reload = Some(ReloadRecord { at: Instant::now(), outcome: outcome.clone() }));
    }
    answer(answers, &outcome);
}

fn log_faults(by: &str, faults: &[FailureView]) {
    tracing::error!(target: "agent", "reload ({by}): the settings have faults, so nothing was changed");
    for fault in faults {
        let place = fault.file.as_ref().map_or(String::new(), |file| format!("{file}:{}: ", fault.line));
        tracing::error!(target: "agent", "{place}{} [{}]", fault.message, fault.code);
    }
}

fn shown_fault(fault: &Diagnostic, root: &Path) -> FailureView {
    FailureView {
        code: fault.code,
        message: fault.message.clone(),
        file: fault.place.as_ref().map(|place| place.file.display().to_string()),
        line: fault.place.as_ref().map_or(0, |place| place.line),
        text: fault.render(root, false),
    }
}

/// Waits for the end of every change, tells those who wait, and writes what is new to the log.
pub(super) async fn tell(
    mut last: ReloadRecord,
    lines: Vec<OutcomeLine>,
    answers: Vec<oneshot::Sender<Reloaded>>,
    shown: ShownSettings,
) {
    let outcome = &mut last.outcome;
    outcome.units = futures_util::future::join_all(lines.into_iter().map(OutcomeLine::settle)).await;
    outcome.units.sort_by(|one, other| one.id.cmp(&other.id));
    log(outcome);
    answer(answers, outcome);
    // The status shows every script anyway.
    outcome.units.retain(|line| line.outcome.is_news());
    shown.change(|now| {
        // A later one may have settled before.
        if now.reload.as_ref().is_none_or(|shown| shown.at <= last.at) {
            now.reload = Some(last);
        }
    });
}

fn answer(answers: Vec<oneshot::Sender<Reloaded>>, outcome: &Reloaded) {
    for answer in answers {
        // Whoever asked may have stopped waiting.
        let _ = answer.send(outcome.clone());
    }
}

fn log(outcome: &Reloaded) {
    let by = &outcome.by;
    for line in &outcome.units {
        let why = line.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
        match line.outcome {
            UnitOutcome::Unchanged | UnitOutcome::Helper => {}
            UnitOutcome::Refused => {
                tracing::error!(target: "agent", "reload ({by}): {} refused, the version before runs on if there is one{why}", line.id);
            }
            outcome => tracing::info!(target: "agent", "reload ({by}): {} {outcome}{why}", line.id),
        }
    }
    for sink in &outcome.sinks {
        match &sink.why {
            Some(why) => tracing::error!(target: "agent", "reload ({by}): sink {} {}: {why}", sink.name, sink.outcome),
            None => tracing::info!(target: "agent", "reload ({by}): sink {} {}", sink.name, sink.outcome),
        }
    }
    for name in &outcome.settings {
        tracing::info!(target: "agent", "reload ({by}): {name} changed");
    }
    for name in &outcome.needs_restart {
        tracing::warn!(target: "agent", "reload ({by}): {name} changed, which takes effect when the agent is started again");
    }
    let unchanged = outcome.units.iter().filter(|line| line.outcome == UnitOutcome::Unchanged).count();
    tracing::info!(target: "agent", "reload ({by}) done, unchanged units: {unchanged}");
}
