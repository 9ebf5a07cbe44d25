//! The table of kinds and options, line by line; then what holds for every walk of a counter.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    LastValues, Late, Moment, NoValue, Number, Options, Out, RawType, Round, Row, RowKind, RowValue, Transaction, Wrap,
};
use crate::point::{Field, Text, Value};

const SECOND: i64 = 1_000_000_000;
const START: i64 = 1_700_000_000 * SECOND;
const INTERVAL: f64 = 10.0;

/// The series of one job, which commits each row.
struct Lab {
    last: LastValues,
    /// Time of arrival, in seconds.
    now: f64,
}

impl Lab {
    fn new() -> Self {
        Self { last: LastValues::default(), now: 0.0 }
    }

    fn row(&mut self, seconds: f64, readings: &[RowValue<'static>]) -> (Vec<(String, f64)>, Vec<NoValue>) {
        let (transaction, fields) = self.count(seconds, readings);
        let why = NoValue::ALL.into_iter().flat_map(|why| vec![why; transaction.counts.of(why) as usize]).collect();
        self.commit(transaction);
        (fields, why)
    }

    fn count(&self, seconds: f64, readings: &[RowValue<'static>]) -> (Transaction, Vec<(String, f64)>) {
        let mut transaction = Transaction::default();
        let key = self.last.job("unit", "job").row("m", &[]);
        let time_ns = START + (seconds * 1e9).round() as i64;
        let moment = Moment { time_ns, interval_s: INTERVAL };
        let now = Duration::from_secs_f64(self.now);
        let fields = transaction.fields(readings.to_vec(), &key, moment, &|series| self.last.get(series, now));
        (transaction, fields.iter().map(|(name, value)| (name.to_string(), float(value))).collect())
    }

    fn commit(&mut self, transaction: Transaction) {
        let mut changes = transaction.into_changes();
        while changes.len() > 0 {
            self.last.commit(&mut changes, Duration::from_secs_f64(self.now), 1000);
        }
    }

    /// What one reading gives, row by row: `(seconds, value)`.
    fn walk(&mut self, options: &Options<'static>, steps: &[(f64, Number)]) -> Vec<Result<f64, NoValue>> {
        let one = |(seconds, value): &(f64, Number)| {
            let (fields, why) = self.row(*seconds, &[reading("x", *value, options.clone())]);
            fields.first().map(|(_, value)| *value).ok_or_else(|| why[0])
        };
        steps.iter().map(one).collect()
    }
}

fn float(value: &Value) -> f64 {
    match value {
        Value::Float(number) => *number,
        other => panic!("{other:?} is no float"),
    }
}

fn reading(field: &'static str, value: Number, options: Options<'static>) -> RowValue<'static> {
    RowValue { field: field.into(), value, options: (options != Options::PLAIN).then(|| Box::new(options)) }
}

fn of(kind: RowKind) -> Options<'static> {
    Options { kind, ..Options::PLAIN }
}

fn wrapping(wrap: Wrap) -> Options<'static> {
    Options { wrap, ..of(RowKind::Counter) }
}

fn walk(options: &Options<'static>, steps: &[(f64, u64)]) -> Vec<Result<f64, NoValue>> {
    let steps: Vec<(f64, Number)> = steps.iter().map(|(seconds, value)| (*seconds, Number::Unsigned(*value))).collect();
    Lab::new().walk(options, &steps)
}

use NoValue::{First, Gap, OutOfRange, Reset};

// --- the table, line by line ---

#[test]
fn a_gauge_is_sent_as_it_is_scaled() {
    assert_eq!(walk(&of(RowKind::Gauge), &[(0.0, 7), (1.0, 3), (0.0, 5)]), [Ok(7.0), Ok(3.0), Ok(5.0)]);
    assert_eq!(walk(&Options { scale: 0.5, ..of(RowKind::Gauge) }, &[(0.0, 7)]), [Ok(3.5)]);
}

#[test]
fn a_counter_gives_what_it_gained_per_second_from_the_second_reading_on() {
    let scaled = Options { scale: 8.0 / 1000.0, ..of(RowKind::Counter) };
    assert_eq!(walk(&scaled, &[(0.0, 1000), (1.0, 2000), (3.0, 2000)]), [Err(First), Ok(8.0), Ok(0.0)]);
    assert_eq!(walk(&of(RowKind::Counter), &[(0.0, 0), (0.25, 1)]), [Err(First), Ok(4.0)]);
}

#[test]
fn what_stands_still_has_no_minus_at_any_scale() {
    let mirrored = Options { scale: -8.0, ..of(RowKind::Counter) };
    let rate = walk(&mirrored, &[(0.0, 5), (1.0, 5)])[1].unwrap();
    assert!(rate == 0.0 && rate.is_sign_positive(), "{rate}");
}

#[test]
fn a_counter_that_goes_back_without_a_wrap_begins_anew() {
    let steps = [(0.0, 4_294_967_290), (1.0, 5), (2.0, 15)];
    assert_eq!(walk(&of(RowKind::Counter), &steps), [Err(First), Err(Reset), Ok(10.0)]);
}

#[test]
fn a_wrap_counts_the_step_to_zero() {
    for wrap in [Wrap::At32, Wrap::Auto] {
        let steps = [(0.0, 4_294_967_196), (1.0, 0), (2.0, 100)];
        assert_eq!(walk(&wrapping(wrap), &steps), [Err(First), Ok(100.0), Ok(100.0)], "{wrap:?}");
    }
    for wrap in [Wrap::At64, Wrap::Auto] {
        let steps = [(0.0, u64::MAX - 3), (1.0, u64::MAX), (2.0, 2)];
        assert_eq!(walk(&wrapping(wrap), &steps), [Err(First), Ok(3.0), Ok(3.0)], "{wrap:?}");
    }
}

#[test]
fn a_step_back_of_more_than_a_tenth_of_the_cap_is_a_reset() {
    let tenth = (1_u64 << 32) / 10;
    let steps = |distance: u64| [(0.0, (1 << 32) - distance), (1.0, 0)];
    assert_eq!(walk(&wrapping(Wrap::At32), &steps(tenth - 1))[1], Ok((tenth - 1) as f64));
    assert_eq!(walk(&wrapping(Wrap::At32), &steps(tenth))[1], Err(Reset));
    assert_eq!(walk(&wrapping(Wrap::Auto), &[(0.0, 6100), (1.0, 0), (2.0, 100)]), [Err(First), Err(Reset), Ok(100.0)]);
}

#[test]
fn the_largest_value_ever_seen_tells_how_wide_a_counter_is() {
    // 2^40 back to almost 2^32, then on to 0: a counter of 64 bits that began anew twice, not one of 32 bits that wrapped.
    let steps = [(0.0, 1 << 40), (1.0, (1 << 32) - 10), (2.0, 0)];
    assert_eq!(walk(&wrapping(Wrap::Auto), &steps), [Err(First), Err(Reset), Err(Reset)]);
    assert_eq!(walk(&wrapping(Wrap::Auto), &[(0.0, u64::from(u32::MAX)), (1.0, 0)])[1], Ok(1.0));
    assert_eq!(walk(&wrapping(Wrap::Auto), &[(0.0, 1 << 32), (1.0, 0)])[1], Err(Reset));
    // It cannot have 32 bits.
    assert_eq!(walk(&wrapping(Wrap::At32), &[(0.0, (1 << 32) + 5), (1.0, 6)])[1], Err(Reset));
}

#[test]
fn below_zero_nothing_wraps() {
    let steps = [(0.0, Number::Negative(-10)), (1.0, Number::Negative(-5)), (2.0, Number::Negative(-6))];
    assert_eq!(Lab::new().walk(&wrapping(Wrap::Auto), &steps), [Err(First), Ok(5.0), Err(Reset)]);
    let steps = [(0.0, Number::Unsigned(u32::MAX.into())), (1.0, Number::Negative(-1))];
    assert_eq!(Lab::new().walk(&wrapping(Wrap::At32), &steps)[1], Err(Reset));
}

#[test]
fn a_counter_with_a_fraction_counts_and_wraps_too() {
    let steps = [(0.0, Number::Float(1.5)), (2.0, Number::Float(4.0)), (3.0, Number::Float(1.0))];
    assert_eq!(Lab::new().walk(&of(RowKind::Counter), &steps), [Err(First), Ok(1.25), Err(Reset)]);
    let steps = [(0.0, Number::Float(4_294_967_295.5)), (1.0, Number::Float(0.5))];
    assert_eq!(Lab::new().walk(&wrapping(Wrap::At32), &steps)[1], Ok(1.0));
}

#[test]
fn large_counters_lose_no_bit() {
    let far = u64::MAX - 1000;
    assert_eq!(
        walk(&of(RowKind::Counter), &[(0.0, far), (1.0, far + 1), (2.0, far + 100)]),
        [Err(First), Ok(1.0), Ok(99.0)]
    );
}

#[test]
fn a_derive_may_fall() {
    assert_eq!(walk(&of(RowKind::Derive), &[(0.0, 100), (10.0, 40), (20.0, 50)]), [Err(First), Ok(-6.0), Ok(1.0)]);
    assert_eq!(walk(&of(RowKind::Derive), &[(0.0, 0), (1.0, u64::MAX), (2.0, 0)])[2], Ok(-(u64::MAX as f64)));
}

#[test]
fn an_absolute_is_per_second_and_its_first_reading_per_interval() {
    let steps = [(0.0, 50), (5.0, 50), (15.0, 50)];
    assert_eq!(walk(&of(RowKind::Absolute), &steps), [Ok(5.0), Ok(10.0), Ok(5.0)]);
}

fn shares(kind: RowKind, lab: &mut Lab, seconds: f64, values: &[u64]) -> Vec<f64> {
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
    let readings: Vec<_> =
        values.iter().zip(NAMES).map(|(value, name)| reading(name, Number::Unsigned(*value), of(kind))).collect();
    lab.row(seconds, &readings).0.into_iter().map(|(_, value)| value).collect()
}

#[test]
fn a_row_percent_is_the_share_in_the_sum_of_the_row() {
    let lab = &mut Lab::new();
    assert_eq!(shares(RowKind::RowPercent, lab, 0.0, &[30, 60, 10]), [30.0, 60.0, 10.0]);
    assert_eq!(shares(RowKind::RowPercent, lab, 0.0, &[0, 0]), [0.0, 0.0]);
    let row = [
        reading("u", Number::Unsigned(25), Options { scale: 7.0, ..of(RowKind::RowPercent) }),
        reading("f", Number::Unsigned(75), Options::PLAIN),
    ];
    assert_eq!(lab.row(1.0, &row).0, [("u".to_owned(), 25.0), ("f".to_owned(), 75.0)]);
}

#[test]
fn a_row_percent_inc_is_the_share_in_what_the_row_gained() {
    let lab = &mut Lab::new();
    let inc = RowKind::RowPercentInc;
    assert_eq!(shares(inc, lab, 0.0, &[1300, 700]), [0.0; 0]);
    assert_eq!(shares(inc, lab, 1.0, &[1330, 770]), [30.0, 70.0]);
    assert_eq!(shares(inc, lab, 2.0, &[460, 840]), [0.0, 100.0], "a step back counts 0");
    assert_eq!(shares(inc, lab, 3.0, &[460, 840]), [0.0, 0.0], "nothing changed");
    assert_eq!(shares(inc, lab, 4.0, &[490, 910]), [30.0, 70.0]);
    assert_eq!(shares(inc, lab, 5.0, &[520, 980, 7]), [30.0, 70.0], "the third one has no reading before");
}

// --- the options ---

#[test]
fn the_raw_value_goes_beside_the_rate_or_instead_of_it() {
    let both = Options { out: Out::Both, raw: "x_raw".into(), scale: 2.0, ..of(RowKind::Counter) };
    let mut lab = Lab::new();
    let value = |number| [reading("x", Number::Unsigned(number), both.clone())];
    assert_eq!(lab.row(0.0, &value(10)), (vec![("x_raw".to_owned(), 10.0)], vec![First]));
    assert_eq!(lab.row(1.0, &value(20)), (vec![("x_raw".to_owned(), 20.0), ("x".to_owned(), 20.0)], vec![]));
    let raw = Options { out: Out::Raw, scale: 2.0, ..of(RowKind::Counter) };
    assert_eq!(
        lab.row(0.0, &[reading("y", Number::Unsigned(10), raw.clone())]),
        (vec![("y".to_owned(), 10.0)], vec![])
    );
    let named = Options { raw: "z_raw".into(), ..raw };
    assert_eq!(lab.row(0.0, &[reading("z", Number::Unsigned(10), named)]).0, [("z_raw".to_owned(), 10.0)]);
    assert_eq!(lab.last.len(), 1, "of raw values nothing is remembered");
}

#[test]
fn a_raw_value_may_stay_whole() {
    let mut transaction = Transaction::default();
    let last = LastValues::default();
    let key = last.job("unit", "job").row("m", &[]);
    let options = Options { out: Out::Raw, raw_type: RawType::Integer, ..of(RowKind::Derive) };
    let readings = [Number::Unsigned(7), Number::Unsigned(u64::MAX), Number::Negative(-7), Number::Float(0.5)]
        .map(|number| reading("x", number, options.clone()));
    let moment = Moment { time_ns: START, interval_s: INTERVAL };
    let fields: Vec<Field> = transaction.fields(readings.to_vec(), &key, moment, &|_| None);
    let values: Vec<Value> = fields.into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, [Value::Int(7), Value::Uint(u64::MAX), Value::Int(-7), Value::Float(0.5)]);
}

#[test]
fn a_rate_outside_of_its_range_is_not_sent() {
    let options = Options { min: Some(0.0), max: Some(100.0), ..of(RowKind::Derive) };
    let steps = [(0.0, 100), (1.0, 50), (2.0, 150), (3.0, 251), (4.0, 260)];
    assert_eq!(walk(&options, &steps), [Err(First), Err(OutOfRange), Ok(100.0), Err(OutOfRange), Ok(9.0)]);
    let options = Options { max: Some(4.0), ..of(RowKind::Absolute) };
    assert_eq!(walk(&options, &[(0.0, 50), (50.0, 50)]), [Err(OutOfRange), Ok(1.0)]);
}

#[test]
fn a_number_beyond_any_float_is_not_sent() {
    let options = Options { scale: 1e300, ..of(RowKind::Gauge) };
    assert_eq!(Lab::new().walk(&options, &[(0.0, Number::Float(1e300))]), [Err(OutOfRange)]);
}

#[test]
fn after_too_long_a_gap_a_reading_is_the_first_one_again() {
    let counter = Options { max_gap: Some(30.0), ..of(RowKind::Counter) };
    let steps = [(0.0, 0), (30.0, 30), (60.5, 60), (61.5, 61)];
    assert_eq!(walk(&counter, &steps), [Err(First), Ok(1.0), Err(Gap), Ok(1.0)]);
    let absolute = Options { max_gap: Some(30.0), ..of(RowKind::Absolute) };
    assert_eq!(walk(&absolute, &[(0.0, 50), (40.0, 80)]), [Ok(5.0), Ok(8.0)]);
    let inc = Options { max_gap: Some(30.0), ..of(RowKind::RowPercentInc) };
    assert_eq!(walk(&inc, &[(0.0, 0), (31.0, 5), (32.0, 6)]), [Err(First), Err(Gap), Ok(100.0)]);
    assert_eq!(walk(&of(RowKind::Counter), &[(0.0, 0), (90.0, 90)])[1], Ok(1.0), "one rate over the gap");
}

#[test]
fn a_rate_may_be_cut_towards_zero() {
    let options = Options { round: Round::Truncate, ..of(RowKind::Derive) };
    assert_eq!(walk(&options, &[(0.0, 60), (60.0, 119), (120.0, 0)]), [Err(First), Ok(0.0), Ok(-1.0)]);
}

#[test]
fn what_is_not_newer_gives_nothing_and_is_replaced_only_if_asked_for() {
    let steps = [(10.0, 100), (10.0, 150), (5.0, 20), (20.0, 200)];
    let ignored = [Err(First), Err(NoValue::Late), Err(NoValue::Late), Ok(10.0)];
    assert_eq!(walk(&of(RowKind::Counter), &steps), ignored);
    let replacing = Options { late: Late::Replace, ..of(RowKind::Counter) };
    assert_eq!(walk(&replacing, &steps), [Err(First), Err(NoValue::Late), Err(NoValue::Late), Ok(12.0)]);
    for kind in [RowKind::Derive, RowKind::RowPercentInc, RowKind::Absolute] {
        assert_eq!(walk(&of(kind), &[(1.0, 1), (1.0, 2)])[1], Err(NoValue::Late), "{kind:?}");
    }
}

// --- transactions ---

#[test]
fn a_transaction_that_is_not_committed_never_happened() {
    let mut lab = Lab::new();
    let value = |number| [reading("x", Number::Unsigned(number), of(RowKind::Counter))];
    lab.row(0.0, &value(0));
    for _ in 0..3 {
        let (dropped, fields) = lab.count(10.0, &value(100));
        assert_eq!((fields, dropped.counts.all()), (vec![("x".to_owned(), 10.0)], 0));
    }
    assert_eq!(lab.row(10.0, &value(100)).0, [("x".to_owned(), 10.0)]);
    assert_eq!(lab.row(20.0, &value(300)).0, [("x".to_owned(), 20.0)]);
}

#[test]
fn rows_of_one_request_follow_each_other() {
    let lab = Lab::new();
    let mut transaction = Transaction::default();
    let key = lab.last.job("unit", "job").row("m", &[]);
    let rates: Vec<usize> = [0, 10, 30]
        .map(|seconds| {
            let moment = Moment { time_ns: START + seconds * SECOND, interval_s: INTERVAL };
            let value = vec![reading("x", Number::Unsigned(seconds as u64), of(RowKind::Counter))];
            transaction.fields(value, &key, moment, &|_| None).len()
        })
        .to_vec();
    assert_eq!(rates, [0, 1, 1]);
}

#[test]
fn a_clock_that_steps_back_costs_ten_intervals_at_most() {
    let mut lab = Lab::new();
    let counter = of(RowKind::Counter);
    let mut with_a_rate = Vec::new();
    for step in 0..40_u32 {
        lab.now = f64::from(step) * INTERVAL;
        // The clock goes back by an hour before the fifth row.
        let clock = if step < 5 { lab.now } else { lab.now - 3600.0 };
        let given = lab.walk(&counter, &[(clock, Number::Unsigned(u64::from(step) * 10))]);
        if given[0] == Ok(1.0) {
            with_a_rate.push(step);
        }
    }
    let expected: Vec<u32> = (1..5).chain(16..40).collect();
    assert_eq!(with_a_rate, expected);
}

// --- every walk ---

#[derive(Debug, Clone, Copy)]
enum Event {
    /// Gains so much within so many milliseconds.
    Gain(u64, u32),
    /// Begins anew, far from a wrap.
    Begin(u32),
    /// No row for so many milliseconds, while it gains.
    Miss(u64, u32),
    /// The clock of the rows goes back and forth again by so many milliseconds: the row between is late.
    Back(u32),
}

fn event(most: u64) -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..most, 1..20_000_u32).prop_map(|(gain, ms)| Event::Gain(gain, ms)),
        1 => (1..10_000_u32).prop_map(Event::Begin),
        1 => (0..most, 1..50_000_u32).prop_map(|(gain, ms)| Event::Miss(gain, ms)),
        1 => (0..100_000_u32).prop_map(Event::Back),
    ]
}

/// Lets a counter of so many bits walk; gives what it gained between rows that gave a rate, and the sum of rates over time.
fn gained_and_summed(bits: u32, wrap: Wrap, start: u64, events: &[Event]) -> (f64, f64) {
    let options = wrapping(wrap);
    let cap = 1_u128 << bits;
    let mut lab = Lab::new();
    let (mut value, mut ms, mut last_ms) = (start, 0_u64, 0_u64);
    let (mut gained, mut summed, mut unseen) = (0.0, 0.0, 0_u64);
    let mut row = |value: u64, ms: i64| lab.walk(&options, &[(ms as f64 / 1000.0, Number::Unsigned(value))])[0];
    assert_eq!(row(value, 0), Err(First));
    let add = |value: u64, gain: u64| ((u128::from(value) + u128::from(gain)) % cap) as u64;
    for event in events {
        match *event {
            Event::Gain(gain, after) => {
                (value, ms) = (add(value, gain), ms + u64::from(after));
                let rate = row(value, ms as i64).expect("a row that is newer has a rate");
                gained += (gain + std::mem::take(&mut unseen)) as f64;
                summed += rate * (ms - last_ms) as f64 / 1000.0;
                last_ms = ms;
            }
            Event::Miss(gain, after) => {
                (value, ms, unseen) = (add(value, gain), ms + u64::from(after), unseen + gain);
            }
            // From a value in the middle: not a wrap by any distance.
            Event::Begin(after) if u128::from(value) > cap / 4 && u128::from(value) < cap / 2 => {
                ms += u64::from(after);
                (value, unseen) = (0, 0);
                assert_eq!(row(value, ms as i64), Err(Reset));
                last_ms = ms;
            }
            Event::Begin(_) => {}
            Event::Back(by) => {
                let late = last_ms as i64 - i64::from(by);
                assert_eq!(row(value, late), Err(NoValue::Late));
            }
        }
    }
    (gained, summed)
}

fn is_near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

proptest! {
    #[test]
    fn rates_over_time_are_what_the_counter_gained(
        events in prop::collection::vec(event(1 << 26), 1..60),
        start in any::<u32>(),
        wrap in prop_oneof![Just(Wrap::At32), Just(Wrap::Auto)],
    ) {
        let (gained, summed) = gained_and_summed(32, wrap, start.into(), &events);
        prop_assert!(is_near(gained, summed), "gained {gained}, summed {summed}");
    }

    #[test]
    fn rates_of_64_bits_over_time_are_what_the_counter_gained(
        events in prop::collection::vec(event(1 << 50), 1..60),
        start in prop_oneof![any::<u64>(), (u64::MAX - (1 << 52))..=u64::MAX],
    ) {
        // The first value has to tell that it is a large one.
        let (gained, summed) = gained_and_summed(64, Wrap::Auto, start | (1 << 40), &events);
        prop_assert!(is_near(gained, summed), "gained {gained}, summed {summed}");
    }

    #[test]
    fn what_an_absolute_counted_is_sent(counts in prop::collection::vec((0..1_000_000_u64, 1..60_000_u32), 1..40)) {
        let mut lab = Lab::new();
        let (mut ms, mut summed) = (0_u64, 0.0);
        for (at, (count, after)) in counts.iter().enumerate() {
            let seconds = if at == 0 { INTERVAL } else { f64::from(*after) / 1000.0 };
            ms += u64::from(*after);
            let rate = lab.walk(&of(RowKind::Absolute), &[(ms as f64 / 1000.0, Number::Unsigned(*count))])[0];
            summed += rate.expect("each has a rate") * seconds;
        }
        let counted = counts.iter().map(|(count, _)| *count).sum::<u64>() as f64;
        prop_assert!(is_near(counted, summed), "counted {counted}, summed {summed}");
    }

    #[test]
    fn shares_make_a_hundred_or_nothing(
        rows in prop::collection::vec(prop::collection::vec(any::<u64>(), 3), 1..20),
        kind in prop_oneof![Just(RowKind::RowPercent), Just(RowKind::RowPercentInc)],
    ) {
        let mut lab = Lab::new();
        for (second, row) in rows.iter().enumerate() {
            let shares = shares(kind, &mut lab, second as f64, row);
            if second == 0 && kind == RowKind::RowPercentInc {
                prop_assert!(shares.is_empty());
                continue;
            }
            let sum: f64 = shares.iter().sum();
            prop_assert_eq!(shares.len(), row.len());
            prop_assert!(sum == 0.0 || (sum - 100.0).abs() < 1e-9, "{:?}", shares);
        }
    }

    #[test]
    fn no_series_depends_on_the_others(
        values in prop::collection::vec((0..3_usize, any::<u32>()), 1..60),
        kind in prop_oneof![Just(RowKind::Counter), Just(RowKind::Derive), Just(RowKind::Absolute)],
    ) {
        const NAMES: [&str; 3] = ["a", "b", "c"];
        let together = &mut Lab::new();
        let mut alone = [Lab::new(), Lab::new(), Lab::new()];
        for (second, (series, value)) in values.iter().enumerate() {
            let row = [reading(NAMES[*series], Number::Unsigned((*value).into()), of(kind))];
            prop_assert_eq!(together.row(second as f64, &row), alone[*series].row(second as f64, &row));
        }
    }
}

#[test]
fn the_tags_and_all_names_make_the_series() {
    let last = LastValues::default();
    let tag = |key: &'static str, value: &'static str| (Text::from(key), Text::from(value));
    let keys = [
        last.job("u", "j").row("m", &[]).series("f"),
        last.job("u2", "j").row("m", &[]).series("f"),
        last.job("u", "j2").row("m", &[]).series("f"),
        last.job("u", "j").row("m2", &[]).series("f"),
        last.job("u", "j").row("m", &[]).series("f2"),
        last.job("u", "j").row("m", &[tag("a", "b")]).series("f"),
        last.job("u", "j").row("m", &[tag("a", "bc")]).series("f"),
        last.job("u", "j").row("m", &[tag("ab", "c")]).series("f"),
        last.job("u", "jm").row("", &[]).series("f"),
        last.job("uj", "").row("m", &[]).series("f"),
    ];
    let distinct: std::collections::BTreeSet<u64> = keys.into_iter().collect();
    assert_eq!(distinct.len(), keys.len());
    assert_eq!(keys[0], last.job("u", "j").row("m", &[]).series("f"));
}

#[test]
fn a_row_is_no_larger_than_it_has_to_be() {
    // A body of 32 MiB may hold four million readings.
    assert_eq!(std::mem::size_of::<RowValue>(), 48);
    assert!(std::mem::size_of::<Row>() <= 96);
}
