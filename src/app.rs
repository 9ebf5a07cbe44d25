//! Builds all parts from the settings, starts them, and stops them in order; the only module that knows all of them.
//!
//! Start: lock, leftovers of a killed agent, buffer, cursors, listeners, workers, pumps. Stop: workers (they may end their run and
//! report), ingest refuses, pumps until the grace ends, cursors saved. Whatever is not delivered stays in the buffer.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::buffer::disk::RealDisk;
use crate::buffer::{self, Log};
use crate::config::{AtCap, Config, Integers, Sync};
use crate::control::{self, Control};
use crate::deadletter::DeadLetters;
use crate::ingest::guard::{self, Guard};
use crate::ingest::{self, Ingest, server};
use crate::sinks::pump::{self, Pump};
use crate::supervisor::{self, Supervisor};
use crate::telemetry::counters::Counters;
use crate::telemetry::files::ScriptLogs;
use crate::worker::roster::Roster;
use crate::worker::{discover, process, sdk};

/// Everything ends within this time after the stop (docker kills after 10 s).
const STOP: Duration = Duration::from_secs(8);
/// Of which the pumps get the last part, for what the workers reported at the end.
const DRAIN: Duration = Duration::from_millis(1500);

/// Runs the agent until `stop` ends.
///
/// # Errors
/// When a part cannot be started: another agent on the same directory, no socket, a buffer that cannot be opened.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let agent = Agent::start(config).await?;
    stop.await;
    tracing::info!(target: "agent", "stopping: scripts may end their run");
    agent.stop().await;
    tracing::info!(target: "agent", "stopped");
    Ok(())
}

struct Agent {
    _lock: std::fs::File,
    log: Log,
    logs: ScriptLogs,
    ingest: Arc<Ingest>,
    supervisor: Supervisor,
    pumps: Vec<Pump>,
    listeners: CancellationToken,
    serving: Vec<tokio::task::JoinHandle<()>>,
    socket: PathBuf,
}
