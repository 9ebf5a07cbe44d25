//! When a worker that has done nothing wrong is replaced: by its age, its runs, its memory.

use std::time::{Duration, Instant};

use super::limits::{LifeLimits, in_words};

/// The time of one incarnation.
#[derive(Debug, Default)]
pub(super) struct Recycling {
    /// Why it is to be replaced after its run.
    because: Option<String>,
    /// When it is too old.
    at: Option<Instant>,
    runs_left: Option<u64>,
}

impl Recycling {
    /// That of an incarnation that is ready now. `share` spreads it: workers that were started together are not replaced together.
    pub fn of(limits: &LifeLimits, share: f64, now: Instant) -> Self {
        let spread = 0.9 + 0.2 * share;
        Self {
            because: None,
            at: limits.max_age.and_then(|age| now.checked_add(age.mul_f64(spread))),
            runs_left: limits.max_runs.map(|runs| ((runs as f64 * spread).round() as u64).max(1)),
        }
    }

    pub fn because(&self) -> Option<&str> {
        self.because.as_deref()
    }

    pub fn is_due(&self) -> bool {
        self.because.is_some()
    }

    /// Notes a reason, unless there is one.
    pub fn ask(&mut self, why: String) {
        self.because.get_or_insert(why);
    }

    pub fn count_run(&mut self) {
        self.runs_left = self.runs_left.map(|runs| runs.saturating_sub(1));
    }

    /// Looks whether its time is over; `age`: since it was ready.
    pub fn look(&mut self, age: Duration, now: Instant) {
        if self.at.is_some_and(|at| at <= now) {
            self.ask(format!("max_age: it ran for {}", in_words(age)));
        } else if self.runs_left == Some(0) {
            self.ask("max_runs: it has done its runs".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::chance::Chance;
    use super::*;

    #[test]
    fn workers_of_one_age_are_not_replaced_together() {
        let limits = LifeLimits { max_age: Some(Duration::from_secs(1000)), ..LifeLimits::default() };
        let start = Instant::now();
        let end = |seed: u64| Recycling::of(&limits, Chance::new(seed * 1_000_003).share(), start).at.unwrap();
        let ends: BTreeSet<Instant> = (1..20).map(end).collect();
        assert!(ends.iter().all(|at| (900.0..=1100.0).contains(&(*at - start).as_secs_f64())));
        assert!(ends.len() > 15);
    }
}
