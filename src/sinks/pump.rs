//! One sink's loop: take what gathered, send it, act on the verdict, confirm.
//!
//! Each sink has its own task and its own cursor. Nothing is confirmed before it is kept by the sink or lies in the dead-letter file, so
//! whatever ends the loop (a stop, a panic, the power) costs at most a repetition of what was under way.

use std::any::Any;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::buffer::{Entry, Position};
use crate::config::SinkSettings;
use crate::deadletter::{Dead, DeadLetters};
use crate::telemetry::counters::{BySink, Counters};

use super::batch::{Batch, cut};
use super::health::{Health, State};
use super::pace::Pace;
use super::work::{Step, Trust, Work, shrink};
use super::{BuildError, Limits, Sink};

/// Where the pump takes records from: a cursor of the buffer, or a list in tests.
pub trait Source: Send {
    /// Reads what follows the confirmed place, at least one record; waits for it. May be dropped and called again at any time.
    fn next(&mut self, max_bytes: usize) -> BoxFuture<'_, io::Result<Vec<Entry>>>;
    /// The confirmed place.
    fn position(&self) -> Position;
    /// Moves the confirmed place.
    ///
    /// # Errors
    /// When the place could not be saved; reading goes on behind it all the same.
    fn confirm(&mut self, to: Position) -> io::Result<()>;
    /// Says whether `next` would return at once.
    fn waiting(&self) -> bool;
    /// Points behind the confirmed place.
    fn behind_points(&self) -> u64;
}

/// `None`: go on. `Some`: send what is there until then, end as soon as nothing is left.
pub type Stop = Option<Instant>;

/// A pump at work.
pub struct Running {
    pub health: Health,
    /// Ends after a stop.
    pub task: JoinHandle<()>,
}

/// Starts the pump of a sink; `make` makes the sink, again after a panic in it.
///
/// # Errors
/// When the sink cannot be made.
pub fn start<M>(
    settings: &SinkSettings,
    make: M,
    source: Box<dyn Source>,
    dead: DeadLetters,
    counters: &Counters,
    stop: watch::Receiver<Stop>,
) -> Result<Running, BuildError>
where
    M: Fn() -> Result<Box<dyn Sink>, BuildError> + Send + 'static,
{
    let sink = make()?;
    let health = Health::new(&settings.name, settings.kind.as_str());
    let by_sink = BySink { sink: settings.name.clone() };
    let tally = Tally {
        delivered: counters.sink_delivered.get_or_create(&by_sink).clone(),
        retries: counters.sink_retries.get_or_create(&by_sink).clone(),
        dead: counters.sink_dead.get_or_create(&by_sink).clone(),
    };
    let pump = Pump {
        limits: sink.limits(),
        sink,
        source,
        dead,
        tally,
        health: health.clone(),
        pace: Pace::default(),
        trust: Trust::default(),
        settings: settings.clone(),
        stop,
    };
    Ok(Running { health, task: tokio::spawn(keep_running(pump, make)) })
}

/// Runs the pump; a panic is caught, counted, and the pump goes on with a new sink after a while.
async fn keep_running<M>(mut pump: Pump, make: M)
where
    M: Fn() -> Result<Box<dyn Sink>, BuildError> + Send,
{
    loop {
        // After a panic nothing of the sink is used again, and the rest of the pump is read anew from the confirmed place.
        let Err(panic) = AssertUnwindSafe(pump.run()).catch_unwind().await else { return };
        pump.health.panicked();
        let why = format!("a defect in the sink: {}", panic_text(panic.as_ref()));
        tracing::error!(target: "sink", sink = pump.settings.name, "{why}; the sink is made anew");
        if pump.fail(State::Down, None, &why).await.is_err() {
            return;
        }
        match make() {
            Ok(sink) => pump.sink = sink,
            Err(error) => tracing::error!(target: "sink", sink = pump.settings.name, "the sink could not be made anew: {error}"),
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic without a text")
}

/// The grace ended, or nothing is left to send.
struct Stopped;

struct Tally {
    delivered: prometheus_client::metrics::counter::Counter,
    retries: prometheus_client::metrics::counter::Counter,
    dead: prometheus_client::metrics::counter::Counter,
}

struct Pump {
    sink: Box<dyn Sink>,
    source: Box<dyn Source>,
    dead: DeadLetters,
    tally: Tally,
    health: Health,
    pace: Pace,
    trust: Trust,
    limits: Limits,
    settings: SinkSettings,
    stop: watch::Receiver<Stop>,
}

impl Pump {
    async fn run(&mut self) {
        loop {
            let Ok(entries) = self.gather().await else { return };
            let chunk = cut(&entries, self.source.position(), self.settings.categories.as_deref(), self.limits);
            if self.bury(&chunk.foreign).await.is_err() || self.send(Work::new(chunk)).await.is_err() {
                return;
            }
        }
    }

    /// Waits for something to send, then `linger` for more; what is enough for a batch, or the last of all, goes at once.
    async fn gather(&mut self) -> Result<Vec<Entry>, Stopped> {
        let entries = self.read().await?;
        let size: usize = entries.iter().map(|entry| entry.bytes.len()).sum();
        if size >= self.limits.max_bytes || self.is_stopping() || self.settings.linger.is_zero() {
            return Ok(entries);
        }
        let linger = self.settings.linger;
        tokio::select! {
            () = sleep(linger) => {}
            _ = self.stop.changed() => {}
        }
        self.read().await
    }

    async fn read(&mut self) -> Result<Vec<Entry>, Stopped> {
        loop {
            if self.is_stopping() && !self.source.waiting() {
                return Err(Stopped);
            }
            let read = tokio::select! {
                read = self.source.next(self.limits.max_bytes) => read,
                _ = self.stop.changed() => continue,
            };
            match read {
                Ok(entries) if !entries.is_empty() => return Ok(entries),
                Ok(_) => return Err(Stopped),
                Err(error) => self.fail(State::Down, None, &format!("the buffer could not be read: {}", spell(&error))).await?,
            }
        }
    }

    async fn send(&mut self, mut work: Work) -> Result<(), Stopped> {
        // Moves over what was passed over (unwanted categories, foreign records).
        self.confirm(work.done_to());
        while let Some(batch) = work.front().cloned() {
            let began = Instant::now();
            self.health.sending(batch.len());
            let verdict = until_grace_ends(self.stop.clone(), self.sink.deliver(&batch)).await?;
            match work.act(verdict, &mut self.trust) {
                Step::Done { kept, dead } => {
                    self.bury_of(&dead, &batch).await?;
                    self.confirm(work.done_to());
                    self.answered(kept, began.elapsed());
                }
                Step::Split => {}
                Step::Smaller { max_bytes } => shrink(&mut self.limits, max_bytes),
                Step::Wait { after, why } => self.fail(State::Down, after, &why).await?,
                Step::Misconfigured { why } => self.fail(State::Misconfigured, None, &why).await?,
                Step::Systematic { why } => {
                    let why = format!("every part of a batch was refused, and the answer names no point: {why}");
                    return self.fail(State::Misconfigured, None, &why).await;
                }
            }
        }
        Ok(())
    }

    fn answered(&mut self, kept: usize, took: Duration) {
        self.tally.delivered.inc_by(kept as u64);
        self.pace.reset();
        let is_slow = took > self.settings.timeout / 2;
        if let Some(said) = self.health.answered(kept, is_slow, self.source.behind_points()) {
            tracing::info!(target: "sink", sink = self.settings.name, "{said}");
        }
    }

    /// Notes a failure and waits until it is time to try again.
    async fn fail(&mut self, state: State, wish: Option<Duration>, why: &str) -> Result<(), Stopped> {
        let wait = match state {
            State::Misconfigured => self.pace.after_misconfiguration(draw()),
            _ => self.pace.after_failure(wish, draw()),
        };
        self.tally.retries.inc();
        match (self.health.failed(state, why, wait), state) {
            (Some(said), State::Misconfigured) => tracing::error!(target: "sink", sink = self.settings.name, "{said}"),
            (Some(said), _) => tracing::warn!(target: "sink", sink = self.settings.name, "{said}"),
            (None, _) => tracing::debug!(target: "sink", sink = self.settings.name, "{why}"),
        }
        until_grace_ends(self.stop.clone(), sleep(wait)).await
    }

    async fn bury_of(&mut self, dead: &[Dead], batch: &Batch) -> Result<(), Stopped> {
        if let Some(first) = dead.first()
            && let Some(said) = self.health.condemned(dead.len(), batch.len().max(dead.len()), &first.reason)
        {
            tracing::error!(target: "sink", sink = self.settings.name, source = first.source, "{said}");
        }
        self.bury(dead).await
    }

    /// Writes dead letters, however long that takes: nothing is confirmed before they are on disk.
    async fn bury(&mut self, dead: &[Dead]) -> Result<(), Stopped> {
        while !dead.is_empty() {
            let (letters, who, points) = (self.dead.clone(), self.settings.name.clone(), dead.to_vec());
            let written = tokio::task::spawn_blocking(move || letters.put(&who, &points)).await;
            let why = match written {
                Ok(Ok(())) => {
                    self.tally.dead.inc_by(dead.len() as u64);
                    self.health.buried(dead.len());
                    return Ok(());
                }
                Ok(Err(error)) => spell(&error),
                Err(error) => error.to_string(),
            };
            self.fail(State::Down, None, &format!("the dead letters could not be written: {why}")).await?;
        }
        Ok(())
    }

    fn confirm(&mut self, to: Position) {
        if to <= self.source.position() {
            return;
        }
        if let Err(error) = self.source.confirm(to) {
            // Nothing is lost: after a restart these points are sent once more. Waiting would only fill the disk further.
            tracing::warn!(target: "sink", sink = self.settings.name, "the place in the buffer could not be saved: {}", spell(&error));
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop.borrow().is_some() || self.stop.has_changed().is_err()
    }
}

/// Waits for the future, but no longer than the grace of a stop.
async fn until_grace_ends<F: Future>(mut stop: watch::Receiver<Stop>, future: F) -> Result<F::Output, Stopped> {
    let grace = async move {
        loop {
            let until = *stop.borrow_and_update();
            match until {
                Some(until) => return sleep_until(until).await,
                // Whoever could have told is gone, and so is the grace.
                None if stop.changed().await.is_err() => return,
                None => {}
            }
        }
    };
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = grace => Err(Stopped),
    }
}

/// A number in `0.0..1.0`, good enough to spread retries.
fn draw() -> f64 {
    (RandomState::new().hash_one(()) >> 11) as f64 / (1_u64 << 53) as f64
}

/// An error with its causes in one line.
fn spell(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
