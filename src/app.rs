//! Builds all parts from the settings, starts them, and stops them in order; the only module that knows all of them.
//!
//! Start: lock, leftovers of a killed agent, buffer, pumps, sockets, workers, pulls, listeners, reloads. Stop: reloads, pulls and workers
//! (they may end their run and report), ingest refuses, pumps until the grace ends, cursors saved. Whatever is not delivered stays in the
//! buffer.

mod agent;
mod greeting;
mod listeners;
mod premises;
mod privacy;
mod pumps;
mod reload;
pub mod repos;
mod settings;
mod start;
mod storage;
mod watchdog;
mod watching;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;

use crate::config::{Config, Surroundings};
use crate::platform::{Hangups, Stops};
use crate::telemetry::systemd::ServiceManager;

use agent::STOP_WORKERS;
use premises::stretch_limits;
use start::start;
use watchdog::keep_in_touch;

/// Runs the agent until it is asked to stop; asked once more while it stops, it ends what still runs at once.
///
/// # Errors
/// When a part cannot be started: another agent on the same directory, no socket, a buffer that cannot be opened.
pub async fn run(
    config: Config,
    around: Surroundings,
    manager: &ServiceManager,
    mut stops: Stops,
) -> anyhow::Result<()> {
    stretch_limits();
    // From now on a hangup is a wish to reload; the default would end the agent.
    let hangups = Hangups::hear().context("could not listen for SIGHUP")?;
    let agent = start(config, around, hangups, manager.clone()).await?;
    manager.ready();
    let (scripts, api) = (agent.scripts.clone(), Arc::clone(&agent.api));
    let touch = tokio::spawn(keep_in_touch(
        manager.clone(),
        move || scripts.pulse(),
        async move || api.status().await.in_one_line(),
    ));
    let by = stops.recv().await;
    touch.abort();
    manager.stopping();
    let waits = agent.scripts.under_way(STOP_WORKERS).await;
    tracing::info!(target: "agent", "stopping: {}", waits.map_or_else(|| "no script is in a run".to_owned(), |waits| waits.tell(by)));
    agent.stop(stops).await;
    tracing::info!(target: "agent", "stopped");
    Ok(())
}

/// The socket when the settings name none.
pub fn default_socket(root: &Path) -> PathBuf {
    root.join("data/run/pythond.sock")
}
