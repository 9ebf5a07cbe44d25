//! What is carried: points, their categories and values, and the two forms in which they come and go (`json`, `line`).
//!
//! [`Point::new`] is the only way in; it applies DataKit's repairs (`limits`) and reports each as a warning, so that a `Point` can always
//! be written as line protocol that every sink reads alike. `record` is the form in the buffer: line protocol under a one-line header.

pub mod json;
pub mod limits;
pub mod line;
pub mod record;

pub use limits::Warnings;

/// DataKit's nine categories, in the order of spec/datakit 3.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    Metric,
    Logging,
    Object,
    CustomObject,
    KeyEvent,
    Rum,
    Network,
    Tracing,
    Security,
}

impl Category {
    pub const ALL: [Category; 9] = [
        Category::Metric,
        Category::Logging,
        Category::Object,
        Category::CustomObject,
        Category::KeyEvent,
        Category::Rum,
        Category::Network,
        Category::Tracing,
        Category::Security,
    ];

    /// The word in the URL `/v1/write/<name>`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metric => "metric",
            Self::Logging => "logging",
            Self::Object => "object",
            Self::CustomObject => "custom_object",
            Self::KeyEvent => "keyevent",
            Self::Rum => "rum",
            Self::Network => "network",
            Self::Tracing => "tracing",
            Self::Security => "security",
        }
    }

    /// Finds the category of a URL word; aliases and plurals are not accepted, as in DataKit.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|category| category.as_str() == name)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Float(f64),
    Int(i64),
    Uint(u64),
    Bool(bool),
    Str(String),
}

/// One point that is fit to be written: non-empty measurement, at least one field, finite floats, repaired names, a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    measurement: String,
    tags: Vec<(String, String)>,
    fields: Vec<(String, Value)>,
    time_ns: i64,
}

/// The unit of the times in a request; without one the size of the number decides (spec/datakit 4.5).
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
pub struct Decoded {
    /// `(index in the request, point)`, in order.
    pub points: Vec<(usize, Point)>,
    pub refused: Vec<Refusal>,
    pub warnings: Warnings,
}

/// One point that cannot be taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
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
