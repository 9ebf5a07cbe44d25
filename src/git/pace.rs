//! When the next pull is due; pure.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Pulls that fail become rarer up to this, or the interval where that is longer.
const LONGEST: Duration = Duration::from_secs(600);

/// A host's place in the interval, from 0 to 1: a fleet that was started together does not ask together.
pub fn phase(host: &str, repo: &str) -> f64 {
    let mut hasher = DefaultHasher::new();
    (host, repo).hash(&mut hasher);
    (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64
}

/// The time between the first pull and the second; after that one follows every interval.
pub fn second(interval: Duration, phase: f64) -> Duration {
    interval.mul_f64(phase)
}

/// The wait after so many failures in a row: doubled each time, and spread by a quarter so that hosts drift apart.
pub fn after_failures(interval: Duration, failures: u32, phase: f64) -> Duration {
    let longest = LONGEST.max(interval);
    let doubled = interval.saturating_mul(1_u32 << failures.saturating_sub(1).min(16));
    let turn = (phase + f64::from(failures) * 0.618_034).fract();
    doubled.min(longest).mul_f64(1.0 - 0.25 * turn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_spread_over_the_interval() {
        let phases: Vec<f64> = (0..1000).map(|n| phase(&format!("web{n}"), "c")).collect();
        assert!(phases.iter().all(|phase| (0.0..1.0).contains(phase)));
        for tenth in 0..10 {
            let there = phases.iter().filter(|phase| (**phase * 10.0) as u32 == tenth).count();
            assert!((50..200).contains(&there), "{there} of 1000 hosts in tenth {tenth}");
        }
        assert_eq!(phase("a", "c"), phase("a", "c"));
        assert_ne!(phase("a", "c"), phase("a", "d"));
    }

    #[test]
    fn failures_make_pulls_rarer_up_to_ten_minutes() {
        let minute = Duration::from_secs(60);
        let waits: Vec<f64> = (1..8).map(|n| after_failures(minute, n, 0.0).as_secs_f64() / 60.0).collect();
        for (wait, full) in waits.iter().zip([1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]) {
            assert!(*wait <= full && *wait >= full * 0.75, "{waits:?}");
        }
        let hour = Duration::from_secs(3600);
        assert!(after_failures(hour, 20, 0.0) >= hour.mul_f64(0.75));
    }
}
