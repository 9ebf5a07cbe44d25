//! The loop itself: gather, send, act on the verdict, confirm.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::grace::{StopDeadline, Stopped, until_grace_ends};
use super::source::Source;
use super::tally::PumpTally;
use crate::buffer::{LoggedRecord, Position, ReadError};
use crate::config::SinkSettings;
use crate::deadletter::{Dead, DeadLetters};
use crate::point::Category;
use crate::sinks::batch::{Batch, WantedPoints, cut};
use crate::sinks::health::{Health, SinkState};
use crate::sinks::http::causes;
use crate::sinks::limits::DeliveryLimits;
use crate::sinks::pace::RetryPace;
use crate::sinks::sink::Sink;
use crate::sinks::verdict::Verdict;
use crate::sinks::work::{ChunkWork, PumpStep, Trust, shrink};
use crate::telemetry::counters::BySinkAndReason;
use crate::telemetry::trouble::RepeatedTrouble;

pub(super) struct Pump {
    pub(super) sink: Box<dyn Sink>,
    pub(super) source: Box<dyn Source>,
    pub(super) dead: DeadLetters,
    pub(super) tally: PumpTally,
    pub(super) health: Health,
    pub(super) pace: RetryPace,
    pub(super) trust: Trust,
    pub(super) limits: DeliveryLimits,
    pub(super) settings: SinkSettings,
    pub(super) stop: watch::Receiver<StopDeadline>,
    /// The place in the buffer cannot be saved.
    pub(super) unsaved: RepeatedTrouble,
}

impl Pump {
    pub(super) async fn run(&mut self) {
        loop {
            let Ok(entries) = self.gather().await else { return };
            let chunk = cut(&entries, self.source.position(), WantedPoints::of(&self.settings), self.limits);
            if self.bury(&chunk.foreign).await.is_err() || self.send(ChunkWork::new(chunk)).await.is_err() {
                return;
            }
        }
    }

    /// Waits for something to send, then `linger` for more; what is enough for a batch, or the last of all, goes at once.
    async fn gather(&mut self) -> Result<Vec<LoggedRecord>, Stopped> {
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

    async fn read(&mut self) -> Result<Vec<LoggedRecord>, Stopped> {
        loop {
            if self.is_stopping() && !self.source.waiting() {
                return Err(Stopped);
            }
            let read = tokio::select! {
                read = self.source.next(self.limits.max_bytes) => read,
                _ = self.stop.changed() => continue,
            };
            match read {
                Ok(entries) => return Ok(entries),
                Err(ReadError::Closed) => return Err(Stopped),
                Err(error @ ReadError::Disk(_)) => self.fail(SinkState::Down, None, &causes(&error)).await?,
            }
        }
    }

    async fn send(&mut self, mut work: ChunkWork) -> Result<(), Stopped> {
        // Moves over what was passed over (unwanted categories, foreign records).
        self.confirm(work.done_to());
        while let Some(batch) = work.front().cloned() {
            if self.source.position() > work.done_to() {
                // Moved over it at the cap or by a person, and counted as skipped there.
                return Ok(());
            }
            let began = Instant::now();
            self.health.sending();
            let verdict = until_grace_ends(self.stop.clone(), self.sink.deliver(&batch)).await?;
            if matches!(verdict, Verdict::Kept | Verdict::KeptExcept(_) | Verdict::Nothing) {
                self.count_left_out();
            }
            match work.act(verdict, &mut self.trust) {
                PumpStep::Done { kept, dead } => {
                    self.bury_of(&dead, &batch).await?;
                    self.confirm(work.done_to());
                    self.answered(kept, batch.category(), began.elapsed());
                }
                PumpStep::Split => {}
                PumpStep::Smaller { max_bytes } => shrink(&mut self.limits, max_bytes),
                PumpStep::Wait { after, why } => self.fail(SinkState::Down, after, &why).await?,
                PumpStep::Misconfigured { why } => self.fail(SinkState::Misconfigured, None, &why).await?,
                PumpStep::Systematic { why } => {
                    let why = format!("every part of a batch was refused, and the answer names no point: {why}");
                    return self.fail(SinkState::Misconfigured, None, &why).await;
                }
            }
        }
        Ok(())
    }

    fn answered(&mut self, kept: usize, category: Category, took: Duration) {
        if kept > 0 && self.tally.delivered.inc_by(kept as u64) == 0 {
            let (name, target) = (&self.settings.name, self.settings.kind.target_of(category));
            tracing::info!(target: "sink", "the first points are now in {target} (sink {name})");
        }
        self.pace.reset();
        let is_slow = took > self.settings.timeout / 2;
        if let Some(said) = self.health.answered(kept, is_slow, self.source.behind_points()) {
            tracing::info!(target: "sink", sink = self.settings.name, "{said}");
        }
    }

    /// Counts the fields of the last batch that the far end cannot hold; a batch that goes again is counted when it is done.
    fn count_left_out(&self) {
        let left_out = self.sink.left_out();
        for (&reason, &count) in &left_out {
            let by = BySinkAndReason { sink: self.settings.name.clone(), reason };
            self.tally.dropped_fields.get_or_create(&by).inc_by(count);
        }
        self.health.left_out(&left_out);
    }

    /// Notes a failure and waits until it is time to try again.
    pub(super) async fn fail(&mut self, state: SinkState, wish: Option<Duration>, why: &str) -> Result<(), Stopped> {
        let wait = match state {
            SinkState::Misconfigured => self.pace.after_misconfiguration(draw()),
            _ => self.pace.after_failure(wish, draw()),
        };
        self.tally.retries.inc();
        match (self.health.failed(state, why, wait), state) {
            (Some(said), SinkState::Misconfigured) => {
                tracing::error!(target: "sink", sink = self.settings.name, "{said}")
            }
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
                    self.health.buried(dead);
                    return Ok(());
                }
                Ok(Err(error)) => causes(&error),
                Err(error) => error.to_string(),
            };
            self.fail(SinkState::Down, None, &format!("the dead letters could not be written: {why}")).await?;
        }
        Ok(())
    }

    fn confirm(&mut self, to: Position) {
        if to <= self.source.position() {
            return;
        }
        let confirmed = self.source.confirm(to);
        let (sink, now) = (&self.settings.name, std::time::Instant::now());
        match confirmed {
            // Nothing is lost: after a restart these points are sent once more. Waiting would only fill the disk further.
            Err(error) if self.unsaved.happens(&causes(&error), now) => {
                tracing::warn!(target: "sink", sink, "the place in the buffer cannot be saved: {}; after a crash some points are sent again", causes(&error));
            }
            Err(_) => {}
            Ok(()) => {
                if let Some(over) = self.unsaved.goes_well(now) {
                    tracing::info!(target: "sink", sink, "the place in the buffer is saved again; that failed {} times", over.times);
                }
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop.borrow().is_some() || self.stop.has_changed().is_err()
    }
}

/// A number in `0.0..1.0`, good enough to spread retries.
pub(super) fn draw() -> f64 {
    (RandomState::new().hash_one(()) >> 11) as f64 / (1_u64 << 53) as f64
}
