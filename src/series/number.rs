//! Numbers as they were read: whole ones of 64 bits keep every bit, and so do their differences.

use crate::point::Value;

/// A value of a reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Unsigned(u64),
    /// Below zero.
    Negative(i64),
    Float(f64),
}

/// What lies between two numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Difference {
    Exact(i128),
    Float(f64),
}

/// The first whole number beyond 64 bits.
const BEYOND: f64 = 18_446_744_073_709_551_616.0;

impl Number {
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Unsigned(number) => number as f64,
            Self::Negative(number) => number as f64,
            Self::Float(number) => number,
        }
    }

    /// As a field of a point: a float, or what it is.
    pub fn as_field(self) -> Value<'static> {
        match self {
            Self::Unsigned(number) => i64::try_from(number).map_or(Value::Uint(number), Value::Int),
            Self::Negative(number) => Value::Int(number),
            Self::Float(number) => Value::Float(number),
        }
    }

    /// The exact value of a whole number; some clients write them as `5.0`.
    pub fn whole(self) -> Option<i128> {
        match self {
            Self::Unsigned(number) => Some(number.into()),
            Self::Negative(number) => Some(number.into()),
            Self::Float(number) if number.fract() == 0.0 && number.abs() < BEYOND => Some(number as i128),
            Self::Float(_) => None,
        }
    }

    /// This number without another one.
    pub fn minus(self, other: Self) -> Difference {
        match (self.whole(), other.whole()) {
            (Some(this), Some(other)) => Difference::Exact(this - other),
            _ => Difference::Float(self.as_f64() - other.as_f64()),
        }
    }
}

impl Difference {
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Exact(number) => number as f64,
            Self::Float(number) => number,
        }
    }

    pub fn is_negative(self) -> bool {
        match self {
            Self::Exact(number) => number < 0,
            Self::Float(number) => number < 0.0,
        }
    }

    pub fn plus(self, whole: i128) -> Self {
        match self {
            Self::Exact(number) => Self::Exact(number + whole),
            Self::Float(number) => Self::Float(number + whole as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_of_64_bits_lose_no_bit() {
        let far = Number::Unsigned(u64::MAX);
        assert_eq!(far.minus(Number::Unsigned(u64::MAX - 1)), Difference::Exact(1));
        assert_eq!(far.minus(Number::Negative(i64::MIN)), Difference::Exact(u64::MAX as i128 + (1 << 63)));
        assert_eq!(Number::Unsigned(0).minus(far), Difference::Exact(-(u64::MAX as i128)));
        assert_eq!(Number::Float(5.0).minus(Number::Unsigned(u64::MAX)), Difference::Exact(5 - u64::MAX as i128));
        assert_eq!(Number::Float(5.5).minus(Number::Unsigned(5)), Difference::Float(0.5));
        assert_eq!(Number::Float(1e300).whole(), None);
    }

    #[test]
    fn a_field_is_as_wide_as_it_has_to_be() {
        assert_eq!(Number::Unsigned(7).as_field(), Value::Int(7));
        assert_eq!(Number::Unsigned(1 << 63).as_field(), Value::Uint(1 << 63));
        assert_eq!(Number::Negative(-7).as_field(), Value::Int(-7));
        assert_eq!(Number::Float(7.0).as_field(), Value::Float(7.0));
    }
}
