//! Lets the same text into the logs at most once a minute, with the number of times it was held back.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The same text is told at most this often; in between it is counted.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// Texts remembered; with more of them the ones told longest ago are forgotten.
const REMEMBERED: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Repeats {
    told: HashMap<String, RepeatedText>,
}

#[derive(Debug)]
struct RepeatedText {
    at: Instant,
    held_back: u64,
}

impl Repeats {
    /// Says whether to tell the text now: with the number of times that it was held back since, or not at all. Texts that differ in
    /// numbers only (a time, an address) count as one.
    pub fn tell(&mut self, text: &str, now: Instant) -> Option<u64> {
        self.tell_known_by(text.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect(), now)
    }

    /// The same for texts that differ in a line or a key, which are two then.
    pub fn tell_exactly(&mut self, text: &str, now: Instant) -> Option<u64> {
        self.tell_known_by(text.to_owned(), now)
    }

    fn tell_known_by(&mut self, key: String, now: Instant) -> Option<u64> {
        if let Some(told) = self.told.get_mut(&key) {
            if now.saturating_duration_since(told.at) < TELL_AGAIN {
                told.held_back += 1;
                return None;
            }
            told.at = now;
            return Some(std::mem::take(&mut told.held_back));
        }
        if self.told.len() >= REMEMBERED {
            self.forget_oldest();
        }
        self.told.insert(key, RepeatedText { at: now, held_back: 0 });
        Some(0)
    }

    fn forget_oldest(&mut self) {
        let oldest = self.told.iter().min_by_key(|(_, told)| told.at).map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            self.told.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_told_once_a_minute_with_its_count() {
        let start = Instant::now();
        let mut repeats = Repeats::default();
        let mut told = Vec::new();
        for second in 0..130 {
            told.extend(
                repeats.tell("KeyError: 'await'", start + Duration::from_secs(second)).map(|held| (second, held)),
            );
        }
        assert_eq!(told, [(0, 0), (60, 59), (120, 59)]);
    }

    #[test]
    fn other_texts_are_told_at_once_and_numbers_make_no_other_text() {
        let now = Instant::now();
        let mut repeats = Repeats::default();
        assert_eq!(repeats.tell("took 12 s", now), Some(0));
        assert_eq!(repeats.tell("took 97 s", now), None);
        assert_eq!(repeats.tell("took long", now), Some(0));
        assert_eq!(repeats.tell_exactly("x.py:3", now), Some(0));
        assert_eq!(repeats.tell_exactly("x.py:4", now), Some(0));
        assert_eq!(repeats.tell_exactly("x.py:3", now), None);
    }

    #[test]
    fn ever_new_texts_cost_no_more_memory() {
        let start = Instant::now();
        let mut repeats = Repeats::default();
        for number in 0..1000_u32 {
            let text: String = (0..10).map(|bit| if number >> bit & 1 == 1 { 'x' } else { 'o' }).collect();
            assert_eq!(repeats.tell(&text, start + Duration::from_millis(u64::from(number))), Some(0));
        }
        assert_eq!(repeats.told.len(), REMEMBERED);
    }
}
