//! Times of points: from a number in some unit to nanoseconds since 1970, and one for points that came without.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use super::repairs::Unfit;
use super::{Point, Precision, Warnings};

/// Nanoseconds of a whole number; `None` (the arrival) for 0 and less, as in DataKit.
pub(super) fn from_integer(number: i128, precision: Option<Precision>) -> Result<Option<i64>, Unfit> {
    if number <= 0 {
        return Ok(None);
    }
    let unit = precision.unwrap_or_else(|| guess(number));
    let time = number.checked_mul(i128::from(unit_ns(unit))).and_then(|ns| i64::try_from(ns).ok());
    time.map(Some).ok_or_else(|| too_late(&number.to_string(), unit))
}

/// Nanoseconds of a number with a fraction. A double holds a present time in seconds to about 0.2 µs: more digits would be noise, so that
/// times in units above the microsecond are rounded to whole microseconds.
pub(super) fn from_float(number: f64, precision: Option<Precision>) -> Result<Option<i64>, Unfit> {
    if number.is_nan() || number <= 0.0 {
        return Ok(None);
    }
    // `as` saturates: what is beyond i128 is beyond every unit.
    let unit = precision.unwrap_or_else(|| guess(number as i128));
    let (unit_ns, grain_ns) = (unit_ns(unit), if unit == Precision::Ns { 1 } else { 1_000 });
    let grains_per_unit = (unit_ns / grain_ns.min(unit_ns)) as f64;
    let grains = (number.fract() * grains_per_unit).round() as i128;
    let whole = (number.trunc() as i128).checked_mul(i128::from(unit_ns));
    let time = whole.map(|ns| ns + grains * i128::from(grain_ns)).and_then(|ns| i64::try_from(ns).ok());
    match time {
        Some(0) => Ok(None),
        Some(ns) => Ok(Some(ns)),
        None => Err(too_late(&number.to_string(), unit)),
    }
}

/// Says that the time of the arrival takes the place of one that is none.
pub(super) fn tell_replaced(given: &str, warnings: &mut Warnings) {
    let what = format!("`time` is {given}, which is no time after 1970; that of the arrival was taken");
    warnings.add("time_replaced", "time", &what);
}

/// Gives points of one series that came without a time successive nanoseconds, so that they do not overwrite each other.
pub(super) fn spread(points: &mut [(usize, Point)], untimed: &[usize], now_ns: i64) {
    if untimed.len() < 2 {
        return;
    }
    let mut taken: HashMap<u64, i64> = HashMap::with_capacity(untimed.len());
    for &place in untimed {
        let point = &mut points[place].1;
        // Two series of the same hash only get a nanosecond that they did not need.
        let mut series = DefaultHasher::new();
        point.measurement.hash(&mut series);
        point.tags.hash(&mut series);
        let step = taken.entry(series.finish()).or_insert(0);
        point.time_ns = now_ns.saturating_add(*step);
        *step += 1;
    }
}

/// DataKit's guess by magnitude.
fn guess(number: i128) -> Precision {
    match number {
        ..10_000_000_000 => Precision::S,
        10_000_000_000..10_000_000_000_000 => Precision::Ms,
        10_000_000_000_000..10_000_000_000_000_000 => Precision::Us,
        _ => Precision::Ns,
    }
}

fn unit_ns(unit: Precision) -> i64 {
    match unit {
        Precision::Ns => 1,
        Precision::Us => 1_000,
        Precision::Ms => 1_000_000,
        Precision::S => 1_000_000_000,
        Precision::M => 60_000_000_000,
        Precision::H => 3_600_000_000_000,
    }
}

fn too_late(number: &str, unit: Precision) -> Unfit {
    let word = match unit {
        Precision::Ns => "nanoseconds",
        Precision::Us => "microseconds",
        Precision::Ms => "milliseconds",
        Precision::S => "seconds",
        Precision::M => "minutes",
        Precision::H => "hours",
    };
    Unfit::new(
        "time",
        format!("`time` is {number} {word} since 1970; it must be before 2262-04-11, the end of time in nanoseconds"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::{Category, Value, Warnings};

    #[test]
    fn a_whole_number_is_read_by_its_size_unless_the_unit_is_given() {
        let read = |number, precision| from_integer(number, precision).unwrap();
        assert_eq!(read(1_624_550_216, None), Some(1_624_550_216_000_000_000));
        assert_eq!(read(1_624_550_216_123, None), Some(1_624_550_216_123_000_000));
        assert_eq!(read(1_624_550_216_123_456, None), Some(1_624_550_216_123_456_000));
        assert_eq!(read(1_624_550_216_123_456_789, None), Some(1_624_550_216_123_456_789));
        assert_eq!(read(9_223_372_036, None), Some(9_223_372_036_000_000_000));
        assert_eq!(read(7, Some(Precision::Ns)), Some(7));
        assert_eq!(read(7, Some(Precision::Us)), Some(7_000));
        assert_eq!(read(7, Some(Precision::Ms)), Some(7_000_000));
        assert_eq!(read(7, Some(Precision::S)), Some(7_000_000_000));
        assert_eq!(read(7, Some(Precision::M)), Some(420_000_000_000));
        assert_eq!(read(7, Some(Precision::H)), Some(25_200_000_000_000));
    }

    #[test]
    fn zero_and_negative_mean_the_arrival() {
        for number in [0, -1, i128::from(i64::MIN)] {
            assert_eq!(from_integer(number, None), Ok(None));
            assert_eq!(from_float(number as f64, Some(Precision::S)), Ok(None));
        }
        assert_eq!(from_float(f64::NAN, None), Ok(None));
    }

    #[test]
    fn a_time_beyond_nanoseconds_is_refused_and_never_wraps() {
        for (number, unit) in [
            (9_999_999_999, None),
            (i128::from(u64::MAX), None),
            (i128::MAX, Some(Precision::H)),
            (9_223_372_037, Some(Precision::S)),
        ] {
            let unfit = from_integer(number, unit).unwrap_err();
            assert_eq!(unfit.field, "time");
            assert!(unfit.reason.contains("2262"), "{unfit}");
        }
        assert!(from_float(1e300, None).is_err());
        assert!(from_float(9_999_999_999.5, None).is_err());
    }

    #[test]
    fn a_fraction_is_exact_to_the_microsecond() {
        assert_eq!(from_float(1_700_000_000.123, None), Ok(Some(1_700_000_000_123_000_000)));
        assert_eq!(from_float(1_700_000_000.123456, Some(Precision::S)), Ok(Some(1_700_000_000_123_456_000)));
        assert_eq!(from_float(1_700_000_000_123.5, None), Ok(Some(1_700_000_000_123_500_000)));
        assert_eq!(from_float(1_700_000_000.9999999, None), Ok(Some(1_700_000_001_000_000_000)));
        assert_eq!(from_float(1.5, Some(Precision::H)), Ok(Some(5_400_000_000_000)));
        assert_eq!(from_float(1.4, Some(Precision::Ns)), Ok(Some(1)));
        assert_eq!(from_float(1.6, Some(Precision::Us)), Ok(Some(2_000)));
    }

    #[test]
    fn points_of_one_series_without_a_time_do_not_overwrite_each_other() {
        let point = |tag: &str| {
            let tags = vec![("a".into(), tag.to_owned().into())];
            Point::new(
                "m".into(),
                tags,
                vec![("v".into(), Value::Bool(true))],
                5,
                Category::Metric,
                &mut Warnings::default(),
            )
            .unwrap()
        };
        let mut points = vec![(0, point("x")), (1, point("x")), (2, point("y")), (3, point("x")), (4, point("x"))];
        spread(&mut points, &[0, 1, 2, 4], 100);
        let times: Vec<i64> = points.iter().map(|(_, point)| point.time_ns()).collect();
        assert_eq!(times, [100, 101, 100, 5, 102]);
    }
}
