//! What is carried: points, their categories and values, and the two forms in which they come and go (`json`, `line`).
//!
//! [`Point::new`] is the only way in; it applies DataKit's repairs (`limits`) and reports each as a warning, so that a `Point` can always
//! be written as line protocol that every sink reads alike. `record` is the form in the buffer: line protocol under a one-line header.

pub mod json;
pub mod line;
pub mod record;
pub mod repairs;
mod time;
mod value;

pub use repairs::{Repair, Unfit, Warnings};
pub use value::{Category, Field, Tag, Text, Value};

/// One point that is fit to be written: non-empty measurement, at least one field, finite floats, repaired names, a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Point<'t> {
    measurement: Text<'t>,
    tags: Vec<Tag<'t>>,
    fields: Vec<Field<'t>>,
    time_ns: i64,
}

impl<'t> Point<'t> {
    /// Makes a point out of what came, repairing what DataKit repairs and what has no portable encoding.
    ///
    /// Every repair is counted in `warnings`. Tags come out sorted by key, fields in the order given.
    ///
    /// # Errors
    /// When nothing is left that could be stored: no field, a float that is not finite, a series key or a time beyond what sinks take.
    pub fn new(
        measurement: Text<'t>,
        tags: Vec<Tag<'t>>,
        fields: Vec<Field<'t>>,
        time_ns: i64,
        category: Category,
        warnings: &mut Warnings,
    ) -> Result<Self, Unfit> {
        let measurement = repairs::measurement(measurement, warnings);
        let tags = repairs::tags(tags, category, warnings);
        let fields = repairs::fields(fields, &tags, category, warnings)?;
        repairs::check_series(&measurement, &tags)?;
        repairs::check_time(time_ns)?;
        Ok(Point { measurement, tags, fields, time_ns })
    }

    pub fn measurement(&self) -> &str {
        &self.measurement
    }

    /// The tags, sorted by key.
    pub fn tags(&self) -> &[Tag<'t>] {
        &self.tags
    }

    /// The fields, in the order given; never empty.
    pub fn fields(&self) -> &[Field<'t>] {
        &self.fields
    }

    /// Nanoseconds since 1970.
    pub fn time_ns(&self) -> i64 {
        self.time_ns
    }

    pub fn tag(&self, key: &str) -> Option<&str> {
        let place = self.tag_place(key).ok()?;
        Some(&self.tags[place].1)
    }

    pub fn field(&self, key: &str) -> Option<&Value<'t>> {
        self.fields.iter().find_map(|(name, value)| (name == key).then_some(value))
    }

    /// Adds a global tag, repaired like any other; says whether it was added.
    ///
    /// It is left out when a tag or field has that key, when nothing is left of key or value, or when the point would pass a limit.
    pub fn add_tag_if_absent(&mut self, key: &'t str, value: &'t str) -> bool {
        let Some((key, value)) = repairs::global_tag(key, value) else { return false };
        let Err(place) = self.tag_place(&key) else { return false };
        if self.field(&key).is_some() || self.tags.len() >= repairs::MAX_TAGS {
            return false;
        }
        self.tags.insert(place, (key, value));
        let fits = repairs::check_series(&self.measurement, &self.tags).is_ok();
        if !fits {
            self.tags.remove(place);
        }
        fits
    }

    /// Gives a field another value; says whether the field is there and the value can be stored.
    pub fn replace_field(&mut self, key: &str, value: Value<'t>) -> bool {
        let fit = !matches!(value, Value::Float(number) if !number.is_finite());
        match self.fields.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) if fit => *old = value,
            _ => return false,
        }
        true
    }

    fn tag_place(&self, key: &str) -> Result<usize, usize> {
        self.tags.binary_search_by(|(name, _)| name.as_ref().cmp(key))
    }

    /// The same point with all text its own.
    pub fn into_owned(self) -> Point<'static> {
        let own = |text: Text<'_>| Text::Owned(text.into_owned());
        Point {
            measurement: own(self.measurement),
            tags: self.tags.into_iter().map(|(key, value)| (own(key), own(value))).collect(),
            fields: self.fields.into_iter().map(|(key, value)| (own(key), value.into_owned())).collect(),
            time_ns: self.time_ns,
        }
    }
}

/// The unit of the times in a request; without one the size of the number decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    Ns,
    Us,
    Ms,
    S,
    M,
    H,
}

/// How a body is read.
#[derive(Debug, Clone, Copy)]
pub struct Decoding {
    pub category: Category,
    pub precision: Option<Precision>,
    /// Given to points without a time (the arrival), ns since 1970.
    pub now_ns: i64,
    /// True: JSON integers become floats, as in DataKit.
    pub integers_as_floats: bool,
}

/// A body taken apart: what is good, and what was refused at which index of the request.
#[derive(Debug, Default)]
pub struct Decoded<'t> {
    /// `(index in the request, point)`, in order.
    pub points: Vec<(usize, Point<'t>)>,
    pub refused: Vec<PointRefusal>,
    pub warnings: Warnings,
}

/// One point that cannot be taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointRefusal {
    /// Index in the request, from 0.
    pub index: usize,
    /// The field, tag or key at fault (`fields.v`, `tags.a`, `time`, `df_status`), or empty.
    pub field: String,
    /// What is wrong with which value, and what would be right.
    pub reason: String,
    /// The point as it came (JSON text or line), at most 64 KiB of it, for the dead-letter file.
    pub raw: String,
}

/// A body that cannot be read at all; `error_code` is DataKit's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BodyFault {
    /// `datakit.emptyBody`, `datakit.noPoints`, `datakit.invalidJSON`, `datakit.invalidJsonPoint`, `datakit.invalidLinePoint` …
    pub error_code: &'static str,
    pub message: String,
}

/// How much of a refused point is kept for the dead-letter file.
const RAW_MAX: usize = 64 * 1024;

/// The body as text: invalid UTF-8 becomes U+FFFD, as in DataKit, and a byte order mark is left out.
pub(crate) fn text_of<'t>(body: &'t [u8], warnings: &mut Warnings) -> Text<'t> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    // `from_utf8` is several times faster than `from_utf8_lossy`, and nearly every body is good.
    if let Ok(text) = std::str::from_utf8(body) {
        return text.into();
    }
    warnings.add("invalid_utf8", "", "the body is not UTF-8; the bytes at fault became U+FFFD");
    String::from_utf8_lossy(body)
}

impl Decoded<'_> {
    fn into_owned(self) -> Decoded<'static> {
        let points = self.points.into_iter().map(|(index, point)| (index, point.into_owned())).collect();
        Decoded { points, refused: self.refused, warnings: self.warnings }
    }
}

impl PointRefusal {
    pub(crate) fn new(index: usize, unfit: Unfit, raw: &str) -> Self {
        Self { index, field: unfit.field, reason: unfit.reason, raw: repairs::cut(raw, RAW_MAX).to_owned() }
    }
}

impl BodyFault {
    pub(crate) fn new(error_code: &'static str, message: impl Into<String>) -> Self {
        Self { error_code, message: message.into() }
    }
}
