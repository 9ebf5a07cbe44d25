//! What the agent writes to: the log files of scripts, the Python package, the buffer, the dead letters.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::privacy::Rights;
use crate::buffer::disk::RealDisk;
use crate::buffer::{self, Log};
use crate::config::{AtCap, Config, Sync};
use crate::deadletter::DeadLetters;
use crate::platform;
use crate::point::record;
use crate::telemetry::counters::{BySinkAndInput, Counters};
use crate::telemetry::files::ScriptLogs;
use crate::worker::sdk;

/// Bytes of dead letters per refuser.
const DEAD_LETTER_CAP: u64 = 64 << 20;

/// What is open for writing until the agent ends.
pub(super) struct Storage {
    pub logs: ScriptLogs,
    /// Where the Python package lies.
    pub core: PathBuf,
    pub log: Log,
    pub dead: DeadLetters,
}

impl Storage {
    /// Opens all of it.
    ///
    /// # Errors
    /// When the package cannot be written, or the buffer or the dead letters cannot be opened.
    pub(super) async fn open(config: &Config, rights: &Rights, counters: &Counters) -> anyhow::Result<Self> {
        let logs = ScriptLogs::open_for(log_dir(config).await, config.logging.group, counters.clone());
        let core = write_sdk(&config.root, rights)?;
        let log = open_buffer(config)?;
        count_losses(&log, counters);
        let dead_dir = config.root.join("data/dead");
        let dead = DeadLetters::open(&dead_dir, DEAD_LETTER_CAP)
            .with_context(|| format!("could not open {}", dead_dir.display()))?;
        Ok(Self { logs, core, log, dead })
    }
}

/// Where the log files of the scripts lie: the folder of the settings, or `data/log` where that cannot be written.
async fn log_dir(config: &Config) -> PathBuf {
    /// A disk that hangs must not hold up the start; its folder is kept, for it may come back.
    const LOOK: Duration = Duration::from_secs(2);
    let dir = config.logging.dir.clone();
    let (tell, told) = tokio::sync::oneshot::channel();
    let looked_at = dir.clone();
    std::thread::spawn(move || {
        let usable = std::fs::create_dir_all(&looked_at).and_then(|()| platform::may_write_in(&looked_at));
        // Whoever asked may have stopped waiting.
        let _ = tell.send(usable);
    });
    match tokio::time::timeout(LOOK, told).await {
        Ok(Ok(Err(error))) => {
            let other = config.root.join("data/log");
            tracing::warn!(target: "agent", "cannot write the logs of the scripts in {}: {error}; they go to {}", dir.display(), other.display());
            other
        }
        Ok(Ok(Ok(())) | Err(_)) | Err(_) => dir,
    }
}

/// Writes the Python package to `python.d/core`, or below `data/` where `python.d` is read-only.
fn write_sdk(root: &Path, rights: &Rights) -> anyhow::Result<PathBuf> {
    let core = root.join("python.d/core");
    let (core, aside) = match sdk::write(&core) {
        Ok(aside) => (core, aside),
        Err(error) => {
            let other = root.join("data/core");
            tracing::warn!(target: "agent", "could not write {}: {error}; the package goes to {}", core.display(), other.display());
            let aside = sdk::write(&other)
                .with_context(|| format!("could not write the Python package to {}", other.display()))?;
            rights.settle_tree(&other);
            (other, aside)
        }
    };
    for path in aside {
        tracing::warn!(target: "agent", "a file of yours stood where the agent keeps its own; it is now {}", path.display());
    }
    Ok(core)
}

fn open_buffer(config: &Config) -> anyhow::Result<Log> {
    let settings = buffer::BufferSettings {
        dir: config.buffer.dir.clone(),
        max_size: config.buffer.max_size,
        drop_oldest_at_cap: config.buffer.at_cap == AtCap::DropOldest,
        sync_each_commit: config.buffer.sync == Sync::Group,
    };
    let (log, recovered) = Log::open(settings, Arc::new(RealDisk)).context("could not open the buffer")?;
    if recovered.records > 0 {
        tracing::info!(target: "agent", "the buffer holds {} records from before the start; those not yet delivered follow", recovered.records);
    }
    if recovered.lost_records > 0 {
        tracing::error!(target: "agent", "{} records of the buffer are damaged or missing", recovered.lost_records);
    }
    for (path, why) in &recovered.set_aside {
        tracing::error!(target: "agent", "damaged bytes of the buffer are set aside in {}: {why}", path.display());
    }
    for note in &recovered.notes {
        tracing::warn!(target: "agent", "buffer: {note}");
    }
    Ok(log)
}

/// Counts by input what the cap takes from a sink.
fn count_losses(log: &Log, counters: &Counters) {
    let counters = counters.clone();
    log.tell_losses(move |lost| {
        let Some((header, _)) = record::Header::decode(lost.record) else { return };
        let input = header.source.rsplit_once('/').map_or(header.source.as_str(), |(input, _script)| input);
        let label = BySinkAndInput { sink: lost.cursor.to_owned(), input: counters.input(input) };
        let points = header.points.saturating_sub(lost.done_lines);
        counters.sink_lost.get_or_create(&label).inc_by(points.into());
    });
}
