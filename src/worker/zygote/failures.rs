//! How many zygotes of one kind may fail before its workers do without.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many failures within this time, and its scripts are executed until the oldest is forgotten.
const FAILURES: usize = 3;
const FORGET: Duration = Duration::from_secs(300);

/// What went wrong with a key's zygotes lately.
#[derive(Default)]
pub(super) struct Failures {
    times: VecDeque<Instant>,
    last: String,
}

impl Failures {
    pub fn add(&mut self, now: Instant, why: &str) {
        self.times.push_back(now);
        why.clone_into(&mut self.last);
    }

    /// The reason to do without a zygote for now.
    pub fn too_many(&mut self, now: Instant) -> Option<String> {
        while self.times.front().is_some_and(|first| now.saturating_duration_since(*first) >= FORGET) {
            self.times.pop_front();
        }
        (self.times.len() >= FAILURES).then(|| {
            format!("{FAILURES} zygotes failed within {} min, the last so: {}", FORGET.as_secs() / 60, self.last)
        })
    }
}
