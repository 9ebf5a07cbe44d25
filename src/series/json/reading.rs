//! The readings of a row: `[field, value]` or `[field, value, {options}]`.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};

use super::options::GivenOptions;
use super::reader::{READING, SeriesReader};
use super::scalars::Word;
use crate::point::json::Any;
use crate::series::number::Number;
use crate::series::row::{Options, Out, RowValue};

pub(super) struct Readings<'r, 't>(pub(super) &'r mut SeriesReader<'t>);

impl<'de> Visitor<'de> for Readings<'_, 'de> {
    type Value = Vec<RowValue<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of readings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let Self(reader) = self;
        let mut readings = Vec::with_capacity(4);
        loop {
            let one = OneReading { reader: &mut *reader, index: readings.len() };
            match seq.next_element_seed(Any(one)) {
                Ok(Some(reading)) => readings.push(reading),
                Ok(None) => return Ok(readings),
                Err(error) if reader.fault.is_some() => return Err(error),
                Err(error) => return Err(reader.blame_reading(readings.len(), None, error)),
            }
        }
    }
}

struct OneReading<'r, 't> {
    reader: &'r mut SeriesReader<'t>,
    index: usize,
}

impl<'de> Visitor<'de> for OneReading<'_, 'de> {
    type Value = RowValue<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(READING)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RowValue<'de>, A::Error> {
        let Self { reader, index } = self;
        let field = match seq.next_element_seed(Any(Word)) {
            Ok(Some(field)) => field,
            Ok(None) => {
                let error = reader.fail("", format!("it is empty; it must be {READING}"));
                return Err(reader.blame_reading(index, None, error));
            }
            Err(error) => {
                let error = reader.blame("field", error);
                return Err(reader.blame_reading(index, None, error));
            }
        };
        match rest_of_reading(reader, &field, &mut seq) {
            Ok((value, options)) => Ok(RowValue { field, value, options }),
            Err(error) => Err(reader.blame_reading(index, Some(&field), error)),
        }
    }
}

type ValueAndOptions<'t> = (Number, Option<Box<Options<'t>>>);

fn rest_of_reading<'de, A: SeqAccess<'de>>(
    reader: &mut SeriesReader<'de>,
    field: &str,
    seq: &mut A,
) -> Result<ValueAndOptions<'de>, A::Error> {
    let value = seq.next_element_seed(Any(SeriesValue)).map_err(|error| reader.blame("value", error))?;
    let Some(value) = value else {
        return Err(reader.fail("value", format!("the value is missing; a reading is {READING}")));
    };
    let options = seq.next_element_seed(Any(GivenOptions(&mut *reader)));
    let options = options.map_err(|error| reader.blame("options", error))?.flatten();
    if seq.next_element::<serde::de::IgnoredAny>()?.is_some() {
        return Err(reader.fail("", format!("it has more than three elements; it must be {READING}")));
    }
    if options.as_ref().is_some_and(|options| options.out == Out::Both && options.raw == field) {
        let reason = "`raw` is the field's own name; the raw value needs another one";
        return Err(reader.fail("raw", reason.to_owned()));
    }
    Ok((value, options))
}

struct SeriesValue;

impl Visitor<'_> for SeriesValue {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Number, E> {
        Ok(Number::Unsigned(truth.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
        Ok(Number::Unsigned(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
        Ok(u64::try_from(number).map_or(Number::Negative(number), Number::Unsigned))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Number, E> {
        Ok(Number::Float(number))
    }
}
