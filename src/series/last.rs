//! What is remembered of each series: its last value, the time of that, and when it came.
//!
//! A series is found by a hash of unit, job, measurement, tags and field, keyed at random for each life of the agent; nothing is kept of
//! the names. Among a million series two share a hash with a probability of 3 in 100 million. A series costs 40 bytes and one of control
//! in a table that is between 7/16 and 7/8 full: 47 to 94 bytes, 86 MB for a million. (`what_a_series_costs` holds it.)
//!
//! A series is forgotten when nothing was remembered of it for ten of its intervals, by the time of arrival: a clock that steps back costs
//! no more than that. When there are too many, those not seen for the longest time go, a sixteenth of all at once, so that the search
//! for them is paid for by the many that then have room.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher, RandomState};
use std::time::Duration;

use super::number::Number;
use crate::point::Tag;

/// A series not seen for so many of its intervals is forgotten.
const INTERVALS: f64 = 10.0;
const TICKS_A_SECOND: f64 = 10.0;
/// How often all series are looked at for those to be forgotten.
const SWEEP: u32 = 600;
/// Changes that are committed in one go: a millisecond or less.
const AT_ONCE: usize = 4096;
/// The part of all series that goes when there are too many.
const SIXTEENTH: usize = 16;

/// The reading before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Last {
    pub number: Number,
    pub time_ns: i64,
    /// A value above 2³² - 1 was seen.
    pub is_large: bool,
    /// How often one comes: it is remembered for ten of these.
    pub interval_s: f32,
}

/// How many series are no longer remembered, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gone {
    /// Not seen for ten intervals.
    pub forgotten: u64,
    /// There were too many.
    pub evicted: u64,
}

/// The last value of every series.
#[derive(Default)]
pub struct LastValues {
    seed: RandomState,
    slots: HashMap<u64, Slot, BuildHasherDefault<IsHash>>,
    swept: u32,
}

/// A [`Last`] packed into 32 bytes.
#[derive(Clone, Copy)]
struct Slot {
    bits: u64,
    time_ns: i64,
    /// Tenths of a second, as all times of arrival.
    seen: u32,
    interval_s: f32,
    form: RowForm,
    is_large: bool,
}

#[derive(Clone, Copy)]
enum RowForm {
    Unsigned,
    Negative,
    Float,
}

/// Stands for a unit and a job.
#[derive(Clone)]
pub struct JobKey(DefaultHasher);

/// Stands for a job, a measurement and tags.
pub struct RowKey(DefaultHasher);

/// The keys are hashes already.
#[derive(Default)]
pub(super) struct IsHash(u64);

impl LastValues {
    pub fn job(&self, unit: &str, job: &str) -> JobKey {
        let mut hasher = self.seed.build_hasher();
        unit.hash(&mut hasher);
        job.hash(&mut hasher);
        JobKey(hasher)
    }

    /// The reading before, unless it is forgotten at `now`, a time since any fixed moment.
    pub fn get(&self, series: u64, now: Duration) -> Option<Last> {
        let slot = self.slots.get(&series)?;
        (!slot.is_over(ticks(now))).then(|| slot.last())
    }

    /// Remembers what a transaction saw at `now`; afterwards there are at most `max` series.
    ///
    /// It takes some thousand changes at a time: whoever has more left calls again, and others get in between.
    pub fn commit(&mut self, changes: &mut impl Iterator<Item = (u64, Last)>, now: Duration, max: usize) -> Gone {
        let now = ticks(now);
        let mut gone = Gone::default();
        if now.saturating_sub(self.swept) >= SWEEP {
            gone.forgotten += self.sweep(now);
        }
        if self.slots.len() > max {
            gone.evicted += self.evict(self.slots.len() - max);
        }
        for (series, last) in changes.by_ref().take(AT_ONCE) {
            let slot = Slot::new(&last, now);
            if let Some(known) = self.slots.get_mut(&series) {
                *known = slot;
                continue;
            }
            if self.slots.len() >= max {
                gone.forgotten += self.sweep(now);
            }
            if self.slots.len() >= max {
                gone.evicted += self.evict((max / SIXTEENTH).max(1));
            }
            self.slots.insert(series, slot);
        }
        gone
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn sweep(&mut self, now: u32) -> u64 {
        self.swept = now;
        let before = self.slots.len();
        self.slots.retain(|_, slot| !slot.is_over(now));
        if self.slots.len() < self.slots.capacity() / 4 {
            self.slots.shrink_to_fit();
        }
        (before - self.slots.len()) as u64
    }

    /// Drops so many of those not seen for the longest time.
    fn evict(&mut self, count: usize) -> u64 {
        let mut seen: Vec<u32> = self.slots.values().map(|slot| slot.seen).collect();
        let (older, border, _) = seen.select_nth_unstable(count - 1);
        let border = *border;
        // Of those seen at the border, so many as are left to go.
        let mut left = count - older.iter().filter(|seen| **seen < border).count();
        self.slots.retain(|_, slot| {
            let goes = slot.seen < border || (slot.seen == border && left > 0);
            left -= usize::from(goes && slot.seen == border);
            !goes
        });
        count as u64
    }
}

impl JobKey {
    /// A number for the job; two jobs may share one.
    pub fn number(&self) -> u64 {
        self.0.finish()
    }

    /// The key of a row; its tags are in order.
    pub fn row(&self, measurement: &str, tags: &[Tag]) -> RowKey {
        let mut hasher = self.0.clone();
        measurement.hash(&mut hasher);
        tags.len().hash(&mut hasher);
        for (key, value) in tags {
            key.hash(&mut hasher);
            value.hash(&mut hasher);
        }
        RowKey(hasher)
    }
}

impl RowKey {
    pub fn series(&self, field: &str) -> u64 {
        let mut hasher = self.0.clone();
        field.hash(&mut hasher);
        hasher.finish()
    }
}

impl Slot {
    fn new(last: &Last, seen: u32) -> Self {
        let (form, bits) = match last.number {
            Number::Unsigned(number) => (RowForm::Unsigned, number),
            Number::Negative(number) => (RowForm::Negative, number as u64),
            Number::Float(number) => (RowForm::Float, number.to_bits()),
        };
        Self { bits, time_ns: last.time_ns, seen, interval_s: last.interval_s, form, is_large: last.is_large }
    }

    fn last(&self) -> Last {
        let number = match self.form {
            RowForm::Unsigned => Number::Unsigned(self.bits),
            RowForm::Negative => Number::Negative(self.bits as i64),
            RowForm::Float => Number::Float(f64::from_bits(self.bits)),
        };
        Last { number, time_ns: self.time_ns, is_large: self.is_large, interval_s: self.interval_s }
    }

    fn is_over(&self, now: u32) -> bool {
        let most = f64::from(self.interval_s) * INTERVALS * TICKS_A_SECOND;
        f64::from(now.saturating_sub(self.seen)) > most
    }
}

/// Enough for 13 years.
fn ticks(since: Duration) -> u32 {
    (since.as_secs_f64() * TICKS_A_SECOND) as u32
}

impl Hasher for IsHash {
    fn write(&mut self, bytes: &[u8]) {
        // Never with the keys above; right all the same.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::series::{Changes, Moment, Options, RowKind, RowValue};

    /// A transaction that has seen these series, each a counter that comes every `interval_s`.
    fn seen(last: &LastValues, interval_s: f64, names: impl IntoIterator<Item = usize>) -> Changes {
        let key = last.job("unit", "job").row("m", &[]);
        let mut transaction = crate::series::Transaction::default();
        let options = Options { kind: RowKind::Counter, ..Options::PLAIN };
        for name in names {
            let reading = RowValue {
                field: name.to_string().into(),
                value: Number::Unsigned(1),
                options: Some(Box::new(options.clone())),
            };
            transaction.fields(vec![reading], &key, Moment { time_ns: 1, interval_s }, &|_| None);
        }
        transaction.into_changes()
    }

    fn knows(last: &LastValues, name: usize, now: Duration) -> bool {
        let key = last.job("unit", "job").row("m", &[]).series(&name.to_string());
        last.get(key, now).is_some()
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_a_series_costs() {
        assert_eq!(std::mem::size_of::<(u64, Slot)>(), 40);
        let mut last = LastValues::default();
        let mut changes = seen(&last, 10.0, 0..100_000);
        while changes.len() > 0 {
            last.commit(&mut changes, secs(0), 1_000_000);
        }
        // With one byte of control for each place, of which there are a power of two and at most 7/8 taken.
        let bytes = last.slots.capacity().next_power_of_two() * 41;
        assert!((47..94).contains(&(bytes / last.len())), "{bytes}");
        assert_eq!((1_000_000_usize * 8 / 7).next_power_of_two() * 41 / 1_000_000, 85, "MB for a million");
    }

    #[test]
    fn a_series_not_seen_for_ten_of_its_intervals_is_forgotten() {
        let mut last = LastValues::default();
        let (mut slow, mut fast) = (seen(&last, 60.0, [1]), seen(&last, 1.0, [2]));
        last.commit(&mut slow, secs(100), 10);
        last.commit(&mut fast, secs(100), 10);
        assert!(knows(&last, 2, secs(110)));
        assert!(!knows(&last, 2, secs(111)), "no value is counted from it although it is still there");
        let mut none = seen(&last, 1.0, []);
        assert_eq!(last.commit(&mut none, secs(160), 10), Gone { forgotten: 1, evicted: 0 });
        assert!(knows(&last, 1, secs(160)));
        assert_eq!(last.commit(&mut none, secs(701), 10), Gone { forgotten: 1, evicted: 0 });
        assert!(last.is_empty());
    }

    #[test]
    fn too_many_cost_the_oldest_their_place() {
        let mut last = LastValues::default();
        for name in 0..10 {
            let mut one = seen(&last, 1000.0, [name]);
            assert_eq!(last.commit(&mut one, secs(name as u64), 10), Gone::default());
        }
        let mut again = seen(&last, 1000.0, [0]);
        last.commit(&mut again, secs(10), 10);
        let mut more = seen(&last, 1000.0, [10, 11]);
        assert_eq!(last.commit(&mut more, secs(11), 10), Gone { forgotten: 0, evicted: 2 });
        let known: Vec<usize> = (0..12).filter(|name| knows(&last, *name, secs(11))).collect();
        assert_eq!(known, [0, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        // A smaller limit holds at once.
        let mut none = seen(&last, 1.0, []);
        assert_eq!(last.commit(&mut none, secs(12), 4).evicted, 6);
        let known: Vec<usize> = (0..12).filter(|name| knows(&last, *name, secs(12))).collect();
        assert_eq!(known, [0, 9, 10, 11]);
    }

    #[test]
    fn a_table_that_was_large_gives_its_memory_back() {
        let mut last = LastValues::default();
        let mut many = seen(&last, 1.0, 0..4096);
        last.commit(&mut many, secs(0), 1_000_000);
        let large = last.slots.capacity();
        let mut few = seen(&last, 1.0, 0..3);
        last.commit(&mut few, secs(100), 1_000_000);
        assert!(last.slots.capacity() < large / 100);
        assert_eq!(last.len(), 3);
    }

    proptest! {
        #[test]
        fn there_are_never_more_than_the_limit(
            commits in prop::collection::vec((prop::collection::vec(0..200_usize, 0..50), 0..100_u64), 1..40),
            max in 1..120_usize,
        ) {
            let mut last = LastValues::default();
            let mut now = 0;
            for (names, after) in commits {
                now += after;
                let mut changes = seen(&last, 5.0, names.clone());
                last.commit(&mut changes, secs(now), max);
                prop_assert!(last.len() <= max);
                let newest = names.last().is_none_or(|_| names.iter().any(|name| knows(&last, *name, secs(now))));
                prop_assert!(newest, "some of the newest stay");
            }
        }
    }
}
