//! The pumps of all sinks, which come and go while the agent runs.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use crate::api::ShownSink;
use crate::buffer::Log;
use crate::config::SinkSettings;
use crate::deadletter::DeadLetters;
use crate::sinks::{self, pump};
use crate::telemetry::counters::Counters;

/// What a sink gets for the request under way when it is removed or changed; what is not delivered then stays in the buffer.
const END: Duration = Duration::from_secs(2);

/// Every pump at work, by the name of its sink.
pub(super) struct Pumps {
    running: BTreeMap<String, One>,
    /// Where they run.
    thread: Handle,
    /// Held until they have ended.
    _thread: DropGuard,
    log: Log,
    dead: DeadLetters,
    counters: Counters,
}

struct One {
    settings: SinkSettings,
    shown: ShownSink,
    stop: watch::Sender<pump::StopDeadline>,
    task: JoinHandle<()>,
}

/// What became of one sink at a reload.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Became {
    Added,
    Changed,
    Removed,
    /// Its settings cannot work on this machine; a sink that ran before runs on with the old ones.
    Refused(String),
}

impl Pumps {
    /// Starts the pumps of all sinks.
    ///
    /// # Errors
    /// When one of them cannot be started.
    pub fn start(wanted: &[SinkSettings], log: &Log, dead: &DeadLetters, counters: &Counters) -> anyhow::Result<Self> {
        let (thread, _thread) = sinks::thread::start().context("could not start the thread of the sinks")?;
        let (log, dead, counters) = (log.clone(), dead.clone(), counters.clone());
        let mut pumps = Self { running: BTreeMap::new(), thread, _thread, log, dead, counters };
        for settings in wanted {
            pumps.open(settings)?;
        }
        Ok(pumps)
    }

    /// Has just these sinks run; says of each that is not as before what became of it. A sink that is removed gets its points no more.
    pub async fn change(&mut self, wanted: &[SinkSettings]) -> Vec<(String, Became)> {
        let mut became = Vec::new();
        let gone: Vec<String> =
            self.running.keys().filter(|name| !wanted.iter().any(|sink| sink.name == **name)).cloned().collect();
        for name in gone {
            self.close(&name).await;
            if let Err(error) = self.log.retire(&name) {
                tracing::error!(target: "sink", sink = name, "its place in the buffer could not be given up: {error}");
            }
            became.push((name, Became::Removed));
        }
        for settings in wanted {
            let before = self.running.get(&settings.name).map(|one| one.settings.clone());
            if before.as_ref().is_some_and(|before| is_same(before, settings)) {
                continue;
            }
            let one = match self.exchange(before, settings).await {
                Ok(one) => one,
                Err(error) => Became::Refused(format!("{error:#}")),
            };
            became.push((settings.name.clone(), one));
        }
        became
    }

    async fn exchange(&mut self, before: Option<SinkSettings>, settings: &SinkSettings) -> anyhow::Result<Became> {
        // Before the old one ends: settings that cannot work change nothing.
        sinks::build(settings)?;
        let Some(before) = before else { return self.open(settings).map(|()| Became::Added) };
        self.close(&settings.name).await;
        let Err(error) = self.open(settings) else { return Ok(Became::Changed) };
        self.open(&before).context("and its old settings no longer work either")?;
        Err(error)
    }

    fn open(&mut self, settings: &SinkSettings) -> anyhow::Result<()> {
        let place =
            || format!("sink `{}` ({}:{})", settings.name, settings.origin.file.display(), settings.origin.line);
        let cursor = self.log.cursor(&settings.name, settings.required).with_context(place)?;
        let made = settings.clone();
        let make = move || sinks::build(&made);
        let (stop, stopped) = watch::channel(None);
        let _there = self.thread.enter();
        let running = pump::start(settings, make, Box::new(cursor), self.dead.clone(), &self.counters, stopped)
            .with_context(place)?;
        let shown = ShownSink { health: running.health, target: settings.kind.target() };
        let one = One { settings: settings.clone(), shown, stop, task: running.task };
        self.running.insert(settings.name.clone(), one);
        Ok(())
    }

    /// Ends a pump; its cursor is free afterwards.
    async fn close(&mut self, name: &str) {
        let Some(mut one) = self.running.remove(name) else { return };
        one.stop.send_replace(Some(Instant::now()));
        if tokio::time::timeout(END, &mut one.task).await.is_err() {
            // What it did not confirm is sent again by whoever comes after it.
            one.task.abort();
            // Aborted is what was wanted.
            let _ = one.task.await;
        }
    }

    pub fn shown(&self) -> Vec<ShownSink> {
        self.running.values().map(|one| one.shown.clone()).collect()
    }

    /// Lets all send what is there until then; waits for them a little longer.
    pub async fn stop(self, until: Instant) {
        for one in self.running.values() {
            one.stop.send_replace(Some(until));
        }
        futures_util::future::join_all(self.running.into_values().map(|one| one.task)).await;
    }
}

/// The place in the file may move.
fn is_same(one: &SinkSettings, other: &SinkSettings) -> bool {
    SinkSettings { origin: other.origin.clone(), ..one.clone() } == *other
}
