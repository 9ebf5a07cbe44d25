//! How long a worker that failed waits for its next try: exponential backoff, and a circuit breaker for those that fail too often.

use std::time::{Duration, Instant};

use super::chance::Chance;
use super::limits::LifeLimits;

/// Counts the failures of a worker over all its incarnations.
#[derive(Debug)]
pub(super) struct Breaker {
    /// In a row.
    failures: u32,
    /// Failures, of which each counts half after `half_life`.
    score: f64,
    scored_at: Instant,
    trips: u32,
    /// Open, with one try under way.
    half_open: bool,
}

/// What a failure costs.
#[derive(Debug, PartialEq)]
pub(super) enum Delay {
    Backoff(Duration),
    Tripped(Duration),
}

impl Breaker {
    pub fn new(now: Instant) -> Self {
        Self { failures: 0, score: 0.0, scored_at: now, trips: 0, half_open: false }
    }

    /// Counts a failure; `is_steady`: the incarnation had lived long and well, so it is the first one again.
    pub fn fails(&mut self, is_steady: bool, limits: &LifeLimits, chance: &mut Chance, now: Instant) -> Delay {
        if is_steady {
            self.failures = 0;
        }
        let halves = now.saturating_duration_since(self.scored_at).as_secs_f64() / limits.half_life.as_secs_f64();
        self.score = self.score * 0.5_f64.powf(halves) + 1.0;
        self.scored_at = now;
        self.failures += 1;
        if self.half_open || self.score >= limits.trip_score {
            let open = limits.tripped_first.saturating_mul(1 << self.trips.min(6)).min(limits.tripped_max);
            self.trips += 1;
            self.half_open = false;
            return Delay::Tripped(open);
        }
        let pause = limits.backoff_first.saturating_mul(1 << (self.failures - 1).min(16)).min(limits.backoff_max);
        Delay::Backoff(pause.mul_f64(0.5 + 0.5 * chance.share()))
    }

    /// Allows one try, by which it is closed or opened again.
    pub fn half_open(&mut self) {
        self.half_open = true;
    }

    /// One good run closes it.
    pub fn run_went_well(&mut self, now: Instant) {
        if self.half_open {
            self.forgive(now);
        }
    }

    pub fn forgive(&mut self, now: Instant) {
        *self = Self::new(now);
    }
}
