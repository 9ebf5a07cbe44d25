//! What has been read of a body so far: points, refusals, repairs.

use std::fmt;

use super::draft::Draft;
use super::fault::unfit;
use crate::point::repairs::Unfit;
use crate::point::{Decoded, Decoding, Point, Text, time};

/// What has been read so far.
pub(super) struct PointReader<'t> {
    pub(super) how: Decoding,
    pub(super) decoded: Decoded<'t>,
    /// Places in `decoded.points` of those that came without a time.
    pub(super) untimed: Vec<usize>,
    /// What serde's error cannot carry: the field at fault.
    pub(super) fault: Option<Unfit>,
}

impl<'t> PointReader<'t> {
    pub(super) fn new(how: &Decoding) -> Self {
        Self { how: *how, decoded: Decoded::default(), untimed: Vec::new(), fault: None }
    }

    pub(super) fn finish(mut self) -> Decoded<'t> {
        time::spread(&mut self.decoded.points, &self.untimed, self.how.now_ns);
        self.decoded
    }

    /// Makes the point; where the times of points are fixed.
    pub(super) fn take(&mut self, index: usize, draft: Draft<'t>) -> Result<(), Unfit> {
        let time = draft.time(&self.how)?;
        draft.tell_unknown(&mut self.decoded.warnings);
        if time.is_none()
            && let Some(given) = draft.given_time()
        {
            time::tell_replaced(&given, &mut self.decoded.warnings);
        }
        let measurement = draft.measurement.or(draft.name.map(Text::Owned)).unwrap_or_default();
        let time_ns = time.unwrap_or(self.how.now_ns);
        let point =
            Point::new(measurement, draft.tags, draft.fields, time_ns, self.how.category, &mut self.decoded.warnings)?;
        if time.is_none() {
            self.untimed.push(self.decoded.points.len());
        }
        self.decoded.points.push((index, point));
        Ok(())
    }

    /// Remembers the innermost field at fault; costs nothing while all is well.
    pub(super) fn blame<E: fmt::Display>(&mut self, field: impl FnOnce() -> String, error: E) -> E {
        if self.fault.is_none() {
            self.fault = Some(unfit(&field(), &error.to_string()));
        }
        error
    }
}
