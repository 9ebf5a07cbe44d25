//! How a sink is, for the log and the status: each change of state is said once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::deadletter::Dead;

/// The word for it in the status is that of its serialised form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkState {
    #[default]
    Ok,
    /// It takes points, but needs more than half of the time allowed.
    Slow,
    /// It does not answer, or asks for patience.
    Down,
    /// It answers that only a person can cure it.
    Misconfigured,
}

impl fmt::Display for SinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A snapshot; how much waits is told by the buffer.
#[derive(Debug, Clone)]
pub struct HealthReport {
    pub name: String,
    /// The kind's word in the settings.
    pub kind: &'static str,
    pub state: SinkState,
    pub since: Timestamp,
    /// Failures in a row.
    pub attempts: u32,
    pub next_try: Option<Timestamp>,
    pub last_error: Option<(Timestamp, String)>,
    /// Points since the start.
    pub delivered: u64,
    pub dead: u64,
    /// Requests that had to be sent again.
    pub retries: u64,
    /// Panics that were caught.
    pub panics: u64,
    /// Fields that this kind cannot hold, by reason.
    pub dropped_fields: BTreeMap<&'static str, u64>,
    /// Points refused for good, by who made them.
    pub refused: BTreeMap<String, RefusedPoints>,
}

/// Points of one maker that the far end refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedPoints {
    pub points: u64,
    /// Why the last of them was.
    pub why: String,
    pub at: Timestamp,
}

/// Makers of refused points that are told apart; more of them are in the dead-letter file.
const REFUSED_SHOWN: usize = 20;

/// The health of one sink; clones share it.
#[derive(Clone)]
pub struct Health {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    report: HealthReport,
    /// When the trouble began; the clock of `report` may jump.
    trouble_since: Option<Instant>,
    said_dead: Option<(Instant, String)>,
}

impl Health {
    pub(super) fn new(name: &str, kind: &'static str) -> Self {
        let report = HealthReport {
            name: name.to_owned(),
            kind,
            state: SinkState::Ok,
            since: Timestamp::now(),
            attempts: 0,
            next_try: None,
            last_error: None,
            delivered: 0,
            dead: 0,
            retries: 0,
            panics: 0,
            dropped_fields: BTreeMap::new(),
            refused: BTreeMap::new(),
        };
        Self { inner: Arc::new(Mutex::new(Inner { report, trouble_since: None, said_dead: None })) }
    }

    /// Tells how the sink is now.
    pub fn report(&self) -> HealthReport {
        self.lock().report.clone()
    }

    /// Notes that a request is under way: nothing is waited for.
    pub(super) fn sending(&self) {
        self.lock().report.next_try = None;
    }

    /// Notes points that are dead letters now.
    pub(super) fn buried(&self, dead: &[Dead]) {
        let mut inner = self.lock();
        let report = &mut inner.report;
        report.dead += dead.len() as u64;
        let at = Timestamp::now();
        for Dead { source, reason, .. } in dead {
            if let Some(refused) = report.refused.get_mut(source) {
                refused.points += 1;
                refused.why.clone_from(reason);
                refused.at = at;
            } else if report.refused.len() < REFUSED_SHOWN {
                report.refused.insert(source.clone(), RefusedPoints { points: 1, why: reason.clone(), at });
            }
        }
    }

    /// Notes fields that were not sent.
    pub(super) fn left_out(&self, fields: &BTreeMap<&'static str, u64>) {
        let mut inner = self.lock();
        for (reason, count) in fields {
            *inner.report.dropped_fields.entry(reason).or_default() += count;
        }
    }

    /// Notes an answer that took points or condemned them; says when it is back after how long, or that it became slow.
    pub(super) fn answered(&self, kept: usize, is_slow: bool, waiting: u64) -> Option<String> {
        let mut inner = self.lock();
        let back_after = inner.trouble_since.take().map(|since| since.elapsed());
        let report = &mut inner.report;
        report.attempts = 0;
        report.delivered += kept as u64;
        let before = report.state;
        report.turn(if is_slow { SinkState::Slow } else { SinkState::Ok });
        match (back_after, before, report.state) {
            (Some(after), ..) => Some(format!("back after {}; {waiting} points waiting", spell(after))),
            (None, SinkState::Ok, SinkState::Slow) => {
                Some("slow: a request took more than half of its `timeout`".to_owned())
            }
            _ => None,
        }
    }

    /// Notes a failure and the next try; says it when the state changes, or what is wrong does while a person is needed.
    pub(super) fn failed(&self, state: SinkState, why: &str, wait: Duration) -> Option<String> {
        let mut inner = self.lock();
        inner.trouble_since.get_or_insert_with(Instant::now);
        let report = &mut inner.report;
        let is_news = report.state != state;
        let is_other = report.last_error.as_ref().is_none_or(|(_, last)| last != why);
        report.attempts = report.attempts.saturating_add(1);
        report.retries += 1;
        let now = Timestamp::now();
        report.next_try = now.checked_add(wait).ok();
        report.last_error = Some((now, why.to_owned()));
        report.turn(state);
        (is_news || (is_other && state == SinkState::Misconfigured))
            .then(|| format!("{state}: {why}; everything is kept and sent later"))
    }

    /// Notes a panic that was caught.
    pub(super) fn panicked(&self) {
        self.lock().report.panics += 1;
    }

    /// Says why points were condemned, unless the same was said within the last minute.
    pub(super) fn condemned(&self, dead: usize, of: usize, why: &str) -> Option<String> {
        let mut inner = self.lock();
        let now = Instant::now();
        let was_said =
            inner.said_dead.as_ref().is_some_and(|(at, last)| last == why && now - *at < Duration::from_secs(60));
        if was_said {
            return None;
        }
        inner.said_dead = Some((now, why.to_owned()));
        Some(format!("refused {dead} of {of} points, now dead letters: {why}"))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Figures only: what a panic left half-done is put right by the next note.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HealthReport {
    fn turn(&mut self, state: SinkState) {
        if self.state != state {
            self.state = state;
            self.since = Timestamp::now();
        }
    }
}

/// Spells a time as people say it, in its two largest units: `8 min 38 s`.
fn spell(time: Duration) -> String {
    let secs = time.as_secs();
    let (days, hours, mins) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60);
    match secs {
        0..60 => format!("{secs} s"),
        60..3600 => format!("{mins} min {} s", secs % 60),
        3600..86_400 => format!("{hours} h {mins} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spelled_in_two_units() {
        let spelled = [0, 59, 60, 518, 3599, 3600, 86_399, 90_061].map(|secs| spell(Duration::from_secs(secs)));
        assert_eq!(
            spelled,
            ["0 s", "59 s", "1 min 0 s", "8 min 38 s", "59 min 59 s", "1 h 0 min", "23 h 59 min", "1 d 1 h"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_said_once_and_so_is_the_return() {
        let health = Health::new("main", "influxdb");
        let wait = Duration::from_secs(1);
        let said = health.failed(SinkState::Down, "connection refused", wait).unwrap();
        assert_eq!(said, "down: connection refused; everything is kept and sent later");
        assert_eq!(health.failed(SinkState::Down, "timed out", wait), None);
        tokio::time::advance(Duration::from_secs(518)).await;
        assert_eq!(health.failed(SinkState::Down, "timed out", wait), None);
        assert_eq!(health.report().attempts, 3);
        assert_eq!(health.answered(10, false, 6104).unwrap(), "back after 8 min 38 s; 6104 points waiting");
        assert_eq!(health.answered(10, false, 0), None);
        let report = health.report();
        assert_eq!((report.state, report.attempts, report.delivered, report.retries), (SinkState::Ok, 0, 20, 3));
        assert_eq!(report.last_error.unwrap().1, "timed out");
    }

    #[tokio::test(start_paused = true)]
    async fn from_down_to_misconfigured_is_news_and_so_is_another_cause() {
        let health = Health::new("main", "influxdb");
        let wait = Duration::from_secs(30);
        assert!(health.failed(SinkState::Down, "503", wait).is_some());
        assert!(health.failed(SinkState::Misconfigured, "401 no", wait).is_some());
        assert!(health.failed(SinkState::Misconfigured, "401 no", wait).is_none());
        assert!(health.failed(SinkState::Misconfigured, "404 db", wait).is_some());
        assert!(health.answered(1, false, 0).unwrap().starts_with("back after"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_condemnation_is_said_once_a_minute() {
        let health = Health::new("main", "influxdb");
        assert_eq!(health.condemned(2, 500, "type").unwrap(), "refused 2 of 500 points, now dead letters: type");
        assert_eq!(health.condemned(2, 500, "type"), None);
        assert!(health.condemned(1, 9, "other").is_some());
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(health.condemned(1, 9, "other").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn slowness_is_said_once() {
        let health = Health::new("main", "influxdb");
        assert!(health.answered(1, true, 0).unwrap().starts_with("slow"));
        assert_eq!(health.answered(1, true, 0), None);
        assert_eq!(health.report().state, SinkState::Slow);
        assert_eq!(health.answered(1, false, 0), None);
    }
}
