//! What points are made of: categories, texts and values.

use std::borrow::Cow;

/// Text of the body that it came in, or of its own where it had an escape or was repaired: nearly no point needs any.
pub type Text<'t> = Cow<'t, str>;
pub type Tag<'t> = (Text<'t>, Text<'t>);
pub type Field<'t> = (Text<'t>, Value<'t>);

/// DataKit's nine categories.
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
        Self::ALL.into_iter().find(|category| category.as_str() == name)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value<'t> {
    Float(f64),
    Int(i64),
    Uint(u64),
    Bool(bool),
    Str(Text<'t>),
}

impl Value<'_> {
    pub(super) fn into_owned(self) -> Value<'static> {
        match self {
            Value::Float(number) => Value::Float(number),
            Value::Int(number) => Value::Int(number),
            Value::Uint(number) => Value::Uint(number),
            Value::Bool(truth) => Value::Bool(truth),
            Value::Str(text) => Value::Str(Text::Owned(text.into_owned())),
        }
    }
}
