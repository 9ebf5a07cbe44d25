//! The agent at work, and its stop: reloads, pulls and workers first, then the pumps until the grace ends, last the disk.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::listeners::Listeners;
use super::pumps::Pumps;
use crate::api::Api;
use crate::buffer::Log;
use crate::ingest::WriteEndpoint;
use crate::platform::Stops;
use crate::supervisor;
use crate::telemetry::files::ScriptLogs;
use crate::worker::guard::OrphanGuard;

/// What a stop takes at most, all in all: docker kills after 10 s.
const STOP: Duration = Duration::from_secs(9);
/// What the workers get of it, and the pulls beside them.
pub(super) const STOP_WORKERS: Duration = Duration::from_millis(6500);
/// What the pumps then get for what the workers reported last; the rest is for the disk.
const DRAIN: Duration = Duration::from_secs(1);
/// What requests under way get after that.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// The agent at work.
pub(super) struct Agent {
    /// Held until the process ends.
    pub _lock: File,
    pub guard: Option<OrphanGuard>,
    pub log: Log,
    pub logs: ScriptLogs,
    pub ingest: Arc<WriteEndpoint>,
    pub scripts: supervisor::SupervisorHandle,
    pub git: crate::git::RepositoriesHandle,
    pub api: Arc<Api>,
    pub stop_reloads: CancellationToken,
    /// Gives the pumps back at its end.
    pub reloads: JoinHandle<Pumps>,
    pub listeners: Listeners,
}

impl Agent {
    /// Stops everything in order; what is not delivered stays in the buffer.
    pub(super) async fn stop(mut self, stops: Stops) {
        let until = Instant::now() + STOP;
        self.stop_reloads.cancel();
        let at_once = CancellationToken::new();
        let impatience = tokio::spawn(hear_impatience(stops, at_once.clone(), self.scripts.clone()));
        let pumps = self.stop_workers(&at_once).await;
        self.ingest.refuse_from_now();
        self.listeners.close();
        impatience.abort();
        // What is not delivered lies in the buffer.
        let drain = if at_once.is_cancelled() { Duration::ZERO } else { DRAIN };
        deliver_last(pumps, self.listeners, Instant::now() + drain).await;
        close(self.log, self.logs, self.guard, until).await;
    }

    /// Stops pulls and workers beside each other; gives back the pumps.
    async fn stop_workers(&mut self, at_once: &CancellationToken) -> Result<Pumps, JoinError> {
        // A disk that hangs may hold a pull; what it has not done by then is done after the next start.
        let pulls = at_once.run_until_cancelled(tokio::time::timeout(STOP_WORKERS, self.git.stop()));
        let (reloads, scripts) = (&mut self.reloads, &self.scripts);
        let scripts = async {
            let pumps = reloads.await;
            scripts.stop(STOP_WORKERS).await;
            pumps
        };
        let (_, pumps) = tokio::join!(pulls, scripts);
        pumps
    }
}

/// Sends what can be sent, and ends the connections.
async fn deliver_last(pumps: Result<Pumps, JoinError>, listeners: Listeners, until: Instant) {
    let pumps = async {
        match pumps {
            Ok(pumps) => pumps.stop(until).await,
            Err(gone) => {
                tracing::error!(target: "agent", "what waits in the buffer is sent after the next start: {gone}")
            }
        }
    };
    let ends = futures_util::future::join(pumps, listeners.ended());
    // A request that hangs in a sink is given up here; its points are still in the buffer.
    if tokio::time::timeout_at(until + LAST_ANSWERS, ends).await.is_err() {
        tracing::debug!(target: "agent", "some connections were still open at the end");
    }
}

/// Closes what is on disk, and ends the guard.
async fn close(log: Log, logs: ScriptLogs, guard: Option<OrphanGuard>, until: Instant) {
    // Both write to a disk and wait for it.
    let closed = tokio::task::spawn_blocking(move || log.close());
    let flushed = tokio::task::spawn_blocking(move || logs.flush());
    let written = futures_util::future::try_join(closed, flushed);
    if !matches!(tokio::time::timeout_at(until, written).await, Ok(Ok(_))) {
        tracing::error!(target: "agent", "could not close the buffer cleanly; it recovers at the next start");
    }
    // What is left all the same it ends; it is waited for, so that nothing runs when the agent has ended.
    if tokio::task::spawn_blocking(move || drop(guard)).await.is_err() {
        tracing::error!(target: "agent", "did not wait for the guard to end");
    }
}

/// Ends all runs when a second wish to stop comes.
async fn hear_impatience(mut stops: Stops, at_once: CancellationToken, scripts: supervisor::SupervisorHandle) {
    let by = stops.recv().await;
    tracing::info!(target: "agent", "{by} again: runs are ended now; what was accepted is on disk");
    at_once.cancel();
    scripts.end_now().await;
    loop {
        // Nothing is quicker than that; a third one must not end the agent before the buffer is closed.
        stops.recv().await;
    }
}
