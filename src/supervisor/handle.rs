//! What others ask of the loop, and what they get back.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};

use super::events::{Change, LoopEvent, Settling, UnderWay};
use super::inquiry::ResourceTable;
use super::live::LiveStack;
use super::mechanisms::MissingMechanism;
use super::plan::Runs;
use super::view::UnitSnapshot;

/// How long the loop is waited for by whoever can do without its answer.
const ANSWER: Duration = Duration::from_millis(500);

/// Asks the loop; clones share it.
#[derive(Clone)]
pub struct SupervisorHandle {
    pub(super) events: mpsc::Sender<LoopEvent>,
    pub(super) pulse: Arc<AtomicU64>,
    pub(super) mechanisms: Arc<[MissingMechanism]>,
    pub(super) has_read: Arc<Notify>,
}

impl SupervisorHandle {
    /// How every unit is now; empty once the loop has ended.
    pub async fn snapshot(&self) -> Vec<UnitSnapshot> {
        self.ask(LoopEvent::Snapshot).await.unwrap_or_default()
    }

    /// How the trees of workers are held on this machine.
    pub fn mechanisms(&self) -> &[MissingMechanism] {
        &self.mechanisms
    }

    /// Grows while the loop ticks.
    pub fn pulse(&self) -> u64 {
        self.pulse.load(Ordering::Relaxed)
    }

    /// Ends the worker of a unit and starts it anew, without a pause. Says whether there is such a unit.
    pub async fn restart(&self, id: &str) -> bool {
        self.ask(|answer| LoopEvent::Restart(id.to_owned(), answer)).await.unwrap_or(false)
    }

    /// Has all jobs of a unit run now; one that waits to be tried again is tried now. Says whether there is such a unit.
    pub async fn run_now(&self, id: &str) -> bool {
        self.ask(|answer| LoopEvent::RunNow(id.to_owned(), answer)).await.unwrap_or(false)
    }

    /// Has all jobs of a unit that wait for their check make it now; one without a worker is started. Says whether there is such a unit.
    pub async fn recheck(&self, id: &str) -> bool {
        self.ask(|answer| LoopEvent::Recheck(id.to_owned(), answer)).await.unwrap_or(false)
    }

    /// Waits until a worker has read settings files or looked into folders since this was asked last: there may be more to watch.
    pub async fn has_read(&self) {
        self.has_read.notified().await;
    }

    /// What every unit runs, for [`plan::plan`]; `None` once the loop has ended.
    pub async fn running(&self) -> Option<Vec<Runs>> {
        self.ask(LoopEvent::Running).await
    }

    /// The exported trees that a worker lives in, or would start in: they must stay.
    pub async fn homes(&self) -> BTreeSet<PathBuf> {
        let running = self.running().await.unwrap_or_default();
        running.into_iter().flat_map(|runs| runs.home.into_iter().chain(runs.lives_in)).collect()
    }

    /// Begins the changes in this order; each settles in its own time. Empty once the loop has ended.
    pub async fn begin(&self, changes: Vec<Change>) -> Vec<Settling> {
        self.ask(|answer| LoopEvent::Apply(changes, answer)).await.unwrap_or_default()
    }

    async fn ask<T>(&self, event: impl FnOnce(oneshot::Sender<T>) -> LoopEvent) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.events.send(event(answer)).await.ok()?;
        answered.await.ok()
    }

    /// What the worker of a unit is doing now; `None` where there is no such unit.
    pub async fn stack(&self, id: &str) -> Option<LiveStack> {
        self.ask(|answer| LoopEvent::TakeStack(id.to_owned(), answer)).await
    }

    /// What a unit runs against, as its worker tells it; `None` where there is no such unit.
    pub async fn resources(&self, id: &str) -> Option<ResourceTable> {
        self.ask(|answer| LoopEvent::TakeResources(id.to_owned(), answer)).await
    }

    /// What a stop with this patience would wait for; `None` where no run is under way, or the loop does not answer.
    pub async fn under_way(&self, patience: Duration) -> Option<UnderWay> {
        let told = self.ask(|answer| LoopEvent::UnderWay(patience, answer));
        tokio::time::timeout(ANSWER, told).await.ok().flatten().flatten()
    }

    /// Ends all workers of a stop that is under way, with what they have started, without waiting for their runs.
    pub async fn end_now(&self) {
        // A loop that has ended has no workers.
        let _ = self.events.send(LoopEvent::EndNow).await;
    }

    /// Stops all workers at once, each within its own grace, but all steps (asked, TERM, KILL) within `patience`; waits until all that
    /// they started is gone.
    pub async fn stop(&self, patience: Duration) {
        let ended = self.ask(|answer| LoopEvent::Stop(patience, answer));
        if tokio::time::timeout(patience, ended).await.is_err() {
            tracing::warn!(target: "worker", "some workers did not end in time");
        }
    }
}
