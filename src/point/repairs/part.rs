//! Which name of a point it is: its limit, its words, and what DataKit calls its repairs.

use super::text::shown;

pub(super) const MAX_KEY: usize = 256;
pub(super) const MAX_TAG_VALUE: usize = 1024;
pub(super) const MAX_MEASUREMENT: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PointPart {
    Measurement,
    TagKey,
    TagValue,
    FieldKey,
}

impl PointPart {
    pub(super) fn max(self) -> usize {
        match self {
            Self::Measurement => MAX_MEASUREMENT,
            Self::TagValue => MAX_TAG_VALUE,
            Self::TagKey | Self::FieldKey => MAX_KEY,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Measurement => "measurement",
            Self::TagKey => "tag",
            Self::TagValue => "tag value",
            Self::FieldKey => "field",
        }
    }

    /// What is told of it: which key it is, or of which key the value.
    pub(super) fn place(self, key: &str) -> String {
        match self {
            Self::Measurement => "measurement".to_owned(),
            Self::TagKey | Self::TagValue => format!("tags.{}", shown(key)),
            Self::FieldKey => format!("fields.{}", shown(key)),
        }
    }

    /// `of tag `k``, for a value.
    pub(super) fn of(self, key: &str) -> String {
        if self == Self::TagValue { format!(" of tag `{}`", shown(key)) } else { String::new() }
    }

    /// DataKit's name of the warning that a name was too long.
    pub(super) fn too_long(self) -> &'static str {
        match self {
            Self::Measurement => "invalid_measurement",
            Self::TagKey => "exceed_max_tag_key_len",
            Self::TagValue => "exceed_max_tag_value_len",
            Self::FieldKey => "exceed_max_field_key_len",
        }
    }

    /// DataKit's name of the warning that a name held what has no encoding.
    pub(super) fn not_encodable(self) -> &'static str {
        match self {
            Self::Measurement => "invalid_measurement",
            Self::TagKey => "invalid_tag_key",
            Self::TagValue => "found_new_line_or_tail_escape",
            Self::FieldKey => "invalid_field_key",
        }
    }

    pub(super) fn disabled(self) -> &'static str {
        if self == Self::FieldKey { "field_disabled" } else { "tag_disabled" }
    }

    /// Keys that a sink refuses or loses: `time` is the column of the time; a tag `_field` or `_measurement` loses the whole point.
    pub(super) fn is_reserved(self, key: &str) -> bool {
        key == "time" || (self == Self::TagKey && matches!(key, "_field" | "_measurement"))
    }
}
