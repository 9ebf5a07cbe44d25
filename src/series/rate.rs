//! One reading and the one before it: a value, or the reason why there is none.

use super::last::Last;
use super::number::{Difference, Number};
use super::row::{NoValue, Options, Round, RowKind, Wrap};

const CAP_32: i128 = 1 << 32;
const CAP_64: i128 = 1 << 64;
/// A step back is a wrap if it is shorter than this part of the way.
const TENTH: i128 = 10;

/// How long ago the reading before was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Since {
    First,
    /// Not before this one.
    Late,
    /// Longer than `max_gap`.
    Gap,
    Seconds(f64),
}

impl Since {
    pub fn of(last: Option<&Last>, time_ns: i64, max_gap: Option<f64>) -> Self {
        let Some(last) = last else { return Self::First };
        if time_ns <= last.time_ns {
            return Self::Late;
        }
        let seconds = (i128::from(time_ns) - i128::from(last.time_ns)) as f64 / 1e9;
        if max_gap.is_some_and(|most| seconds > most) { Self::Gap } else { Self::Seconds(seconds) }
    }
}

/// Sums over all readings of a row, of whatever kind; each is 0 where no reading asks for it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sums {
    pub values: f64,
    /// Of what grew since the readings before.
    pub gains: f64,
}

/// What a reading sends under its name.
pub(super) fn value(
    number: Number,
    options: &Options,
    last: Option<&Last>,
    since: Since,
    sums: Sums,
    interval: f64,
) -> Result<f64, NoValue> {
    let scaled = || number.as_f64() * options.scale;
    let value = match (options.kind, since) {
        (RowKind::Gauge, _) => scaled(),
        (RowKind::RowPercent, _) => share(number.as_f64(), sums.values),
        (_, Since::Late) => return Err(NoValue::Late),
        (RowKind::Absolute, Since::Seconds(seconds)) => scaled() / seconds,
        (RowKind::Absolute, Since::First | Since::Gap) => scaled() / interval,
        (_, Since::First) => return Err(NoValue::First),
        (_, Since::Gap) => return Err(NoValue::Gap),
        (RowKind::RowPercentInc, Since::Seconds(_)) => share(grown(number, last), sums.gains),
        (RowKind::Counter, Since::Seconds(seconds)) => {
            let gained = last.and_then(|last| gained(number, last, options.wrap)).ok_or(NoValue::Reset)?;
            gained.as_f64() * options.scale / seconds
        }
        (RowKind::Derive, Since::Seconds(seconds)) => {
            let last = last.ok_or(NoValue::First)?;
            number.minus(last.number).as_f64() * options.scale / seconds
        }
    };
    let is_inside = options.min.is_none_or(|least| value >= least) && options.max.is_none_or(|most| value <= most);
    // No minus before a zero, which a negative scale would make of a counter that stands still.
    let value = value + 0.0;
    if !value.is_finite() || !is_inside {
        return Err(NoValue::OutOfRange);
    }
    Ok(match options.round {
        Round::Exact => value,
        Round::Truncate => value.trunc(),
    })
}

/// How much a counter gained; `None` when it began anew.
fn gained(number: Number, last: &Last, wrap: Wrap) -> Option<Difference> {
    let difference = number.minus(last.number);
    if !difference.is_negative() {
        return Some(difference);
    }
    let cap = match wrap {
        Wrap::Never => return None,
        Wrap::At32 => CAP_32,
        Wrap::At64 => CAP_64,
        Wrap::Auto if last.is_large => CAP_64,
        Wrap::Auto => CAP_32,
    };
    let was_below_cap = last.number.as_f64() < cap as f64 || last.number.whole().is_some_and(|whole| whole < cap);
    // From the last value over the cap to this one; `+ 1` for the step from the largest value to 0 is in the cap.
    let over_cap = difference.plus(cap);
    let is_short = over_cap.as_f64() < (cap / TENTH) as f64;
    (number.as_f64() >= 0.0 && was_below_cap && is_short).then_some(over_cap)
}

/// How much a value grew; 0 after a step back.
pub(super) fn grown(number: Number, last: Option<&Last>) -> f64 {
    last.map_or(0.0, |last| number.minus(last.number).as_f64().max(0.0))
}

fn share(part: f64, sum: f64) -> f64 {
    if sum == 0.0 { 0.0 } else { 100.0 * part / sum }
}

/// Whether a counter that was ever there has more than 32 bits.
pub(super) fn is_large(number: Number) -> bool {
    number.as_f64() >= CAP_32 as f64
}
