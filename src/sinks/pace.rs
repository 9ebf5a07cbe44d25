//! When a sink is tried again: exponential backoff with full jitter, the sink's own wish first.

use std::time::Duration;

/// The first wait is below this; it doubles with each failure.
const FIRST: Duration = Duration::from_millis(500);
/// Waits stay below this.
const LONGEST: Duration = Duration::from_secs(30);
/// What only a person can cure is first tried again after half of this to this; it doubles up to `SELDOM`.
const FIRST_SELDOM: Duration = Duration::from_secs(5);
const SELDOM: Duration = Duration::from_secs(60);
/// Full jitter may draw nearly nothing, a sink may wish for nothing; a dead far end is still not hammered.
const SHORTEST: Duration = Duration::from_millis(50);
/// A sink's wish (Retry-After) is obeyed up to this.
const WISH_MAX: Duration = Duration::from_secs(600);

/// Counts the failures in a row and says how long to wait; there is no limit of attempts.
#[derive(Debug, Default, Clone)]
pub struct RetryPace {
    failures: u32,
    misconfigurations: u32,
}

impl RetryPace {
    /// Counts a failure and says how long to wait; `wish` is the sink's Retry-After, `random` lies in `0.0..1.0`.
    pub fn after_failure(&mut self, wish: Option<Duration>, random: f64) -> Duration {
        let ceiling = LONGEST.min(FIRST.saturating_mul(1 << self.failures.min(16)));
        self.failures = self.failures.saturating_add(1);
        wish.map_or_else(|| ceiling.mul_f64(random).max(SHORTEST), |wish| wish.clamp(SHORTEST, WISH_MAX))
    }

    /// Counts a failure that only a person can cure: soon at first, since that person is likely at work on it, then seldom.
    pub fn after_misconfiguration(&mut self, random: f64) -> Duration {
        let ceiling = SELDOM.min(FIRST_SELDOM.saturating_mul(1 << self.misconfigurations.min(16)));
        self.misconfigurations = self.misconfigurations.saturating_add(1);
        ceiling / 2 + (ceiling / 2).mul_f64(random)
    }

    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(random: f64) -> Vec<u64> {
        let mut pace = RetryPace::default();
        (0..9).map(|_| pace.after_failure(None, random).as_millis() as u64).collect()
    }

    #[test]
    fn waits_double_up_to_thirty_seconds() {
        assert_eq!(waits(1.0), [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(waits(0.5), [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
    }

    #[test]
    fn the_smallest_draw_is_still_a_wait() {
        assert_eq!(waits(0.0), [50; 9]);
    }

    #[test]
    fn a_wish_wins_up_to_ten_minutes() {
        let mut pace = RetryPace::default();
        assert_eq!(pace.after_failure(Some(Duration::from_secs(7)), 0.9), Duration::from_secs(7));
        assert_eq!(pace.after_failure(Some(Duration::ZERO), 0.9), SHORTEST);
        assert_eq!(pace.after_failure(Some(Duration::from_secs(86_400)), 0.9), Duration::from_secs(600));
    }

    #[test]
    fn a_misconfigured_sink_is_tried_soon_at_first_and_then_every_thirty_to_sixty_seconds() {
        let waits = |random: f64| {
            let mut pace = RetryPace { failures: 7, ..RetryPace::default() };
            [(); 6].map(|()| pace.after_misconfiguration(random).as_millis())
        };
        assert_eq!(waits(0.0), [2500, 5000, 10_000, 20_000, 30_000, 30_000]);
        assert_eq!(waits(1.0), [5000, 10_000, 20_000, 40_000, 60_000, 60_000]);
    }

    #[test]
    fn a_success_starts_anew_and_no_count_overflows() {
        let mut pace = RetryPace { failures: u32::MAX, misconfigurations: u32::MAX };
        assert_eq!(pace.after_failure(None, 1.0), LONGEST);
        assert_eq!(pace.after_misconfiguration(1.0), SELDOM);
        pace.reset();
        assert_eq!(pace.after_failure(None, 1.0), FIRST);
        assert_eq!(pace.after_misconfiguration(1.0), FIRST_SELDOM);
    }
}
