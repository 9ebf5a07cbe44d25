//! What a worker sends: rows of readings, and how each is to be counted.

use super::number::Number;
use crate::point::{Tag, Text};

/// Readings of one moment and one set of tags: one point, if any of them gives a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<'t> {
    pub measurement: Text<'t>,
    /// In order of their keys.
    pub tags: Vec<Tag<'t>>,
    /// Nanoseconds since 1970; `None`: the arrival.
    pub time_ns: Option<i64>,
    /// How often such a row comes; `None`: as often as the job runs.
    pub interval_s: Option<f32>,
    pub readings: Vec<RowValue<'t>>,
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct RowValue<'t> {
    pub field: Text<'t>,
    pub value: Number,
    /// `None`: a plain gauge, as most readings are.
    pub options: Option<Box<Options<'t>>>,
}

/// What a value is, and how it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Options<'t> {
    pub kind: RowKind,
    /// A share has no unit: `row_percent` and `row_percent_inc` are the same at any scale.
    pub scale: f64,
    pub wrap: Wrap,
    pub out: Out,
    /// The name of the raw value's field; empty: that of the field.
    pub raw: Text<'t>,
    pub raw_type: RawType,
    /// A rate below it is not sent.
    pub min: Option<f64>,
    /// A rate above it is not sent.
    pub max: Option<f64>,
    /// Seconds after which a reading counts as the first one again.
    pub max_gap: Option<f64>,
    pub round: Round,
    pub late: Late,
}

impl Options<'_> {
    /// Those of a reading without any.
    pub const PLAIN: Options<'static> = Options {
        kind: RowKind::Gauge,
        scale: 1.0,
        wrap: Wrap::Never,
        out: Out::Rate,
        raw: Text::Borrowed(""),
        raw_type: RawType::Float,
        min: None,
        max: None,
        max_gap: None,
        round: Round::Exact,
        late: Late::Ignore,
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    Gauge,
    /// Only grows, unless it wraps or begins anew; sent per second.
    Counter,
    /// May fall; sent per second.
    Derive,
    /// Begins at 0 with each reading; sent per second.
    Absolute,
    /// The share of this value in the sum of the row, in percent.
    RowPercent,
    /// The share of what this value gained in what the row gained, in percent.
    RowPercentInc,
}

impl RowKind {
    pub const ALL: [(&'static str, RowKind); 6] = [
        ("gauge", RowKind::Gauge),
        ("counter", RowKind::Counter),
        ("derive", RowKind::Derive),
        ("absolute", RowKind::Absolute),
        ("row_percent", RowKind::RowPercent),
        ("row_percent_inc", RowKind::RowPercentInc),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Whether the reading before is needed.
    pub fn needs_last(self) -> bool {
        !matches!(self, Self::Gauge | Self::RowPercent)
    }

    /// Whether a number per second is sent.
    pub fn is_rate(self) -> bool {
        matches!(self, Self::Counter | Self::Derive | Self::Absolute)
    }
}

/// Where a counter begins anew by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrap {
    /// Nowhere: a step back is a reset.
    Never,
    /// After 2³² - 1.
    At32,
    /// After 2⁶⁴ - 1.
    At64,
    /// After 2⁶⁴ - 1 where a value above 2³² - 1 was ever seen, else after 2³² - 1.
    Auto,
}

/// Which of its two values a reading sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Out {
    /// What the kind makes of it.
    Rate,
    /// The value as it was read, neither scaled nor rounded.
    Raw,
    Both,
}

impl Out {
    pub fn has_rate(self) -> bool {
        self != Self::Raw
    }

    pub fn has_raw(self) -> bool {
        self != Self::Rate
    }
}

/// What raw values are in a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawType {
    Float,
    /// Whole numbers stay whole.
    Integer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    Exact,
    /// Towards 0.
    Truncate,
}

/// What becomes of a value that is not newer than the one before; it gives no rate in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    Ignore,
    /// The next rate is counted from it.
    Replace,
}

/// Why a reading has no value this time; none is a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoValue {
    /// There is nothing to count from yet.
    First,
    /// The counter went back: what it gained is unknown.
    Reset,
    /// It is not newer than the reading before.
    Late,
    /// Beyond `min` or `max`, or of any float.
    OutOfRange,
    /// The reading before is older than `max_gap`.
    Gap,
}

impl NoValue {
    pub const ALL: [NoValue; 5] = [Self::First, Self::Reset, Self::Late, Self::OutOfRange, Self::Gap];

    /// The reason in one word, for the counter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Reset => "reset",
            Self::Late => "late",
            Self::OutOfRange => "out_of_range",
            Self::Gap => "gap",
        }
    }
}

impl<'t> RowValue<'t> {
    pub fn options(&self) -> &Options<'t> {
        self.options.as_deref().unwrap_or(&Options::PLAIN)
    }
}
