//! What was repaired: counted by kind, and told once for each key.

use std::collections::BTreeMap;

use super::text::cut;
use crate::code::Code;

pub(super) const EXAMPLE_MAX: usize = 256;

/// Of one request.
pub const REPAIRS_TOLD: usize = 100;

/// Counts of repairs by kind (`found_new_line_or_tail_escape`, `nested_value`, `tag_not_text` …) with the first example of each, and what
/// is to be told to whoever made the points.
#[derive(Debug, Default, Clone)]
pub struct Warnings {
    pub kinds: BTreeMap<&'static str, (u64, String)>,
    repairs: Vec<Repair>,
}

/// Something that was changed or left out, told once for each kind and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    pub kind: &'static str,
    /// `tags.time`, `fields.v`, `measurement`, or empty.
    pub key: String,
    /// What became of it.
    pub what: String,
}

impl Repair {
    pub fn code(&self) -> Code {
        match self.kind {
            "invalid_measurement" => Code::WrongMeasurement,
            "tag_not_text" | "empty_tag" => Code::WrongTag,
            "time_replaced" => Code::WrongTime,
            "reserved_key" | "tag_and_field" | "duplicate_key" | "dot_in_key" | "tag_disabled" | "field_disabled"
            | "unknown_key" => Code::ChangedKey,
            "invalid_event" if self.key == "df_source" => Code::WrongSource,
            "invalid_event" if self.key == "df_dimension_tags" => Code::WrongDimensionTags,
            "invalid_event" => Code::WrongStatus,
            kind if kind.starts_with("exceed_max") => Code::CutToFit,
            _ => Code::ChangedValue,
        }
    }
}

impl Warnings {
    /// Counts one repair of a key.
    pub fn add(&mut self, kind: &'static str, key: &str, example: &str) {
        self.kinds.entry(kind).or_insert_with(|| (0, cut(example, EXAMPLE_MAX).to_owned())).0 += 1;
        self.tell(kind, key, example);
    }

    /// Counts what is added to nearly every point of a category: nobody wants to hear of it.
    pub fn count(&mut self, kind: &'static str, example: &str) {
        self.kinds.entry(kind).or_insert_with(|| (0, cut(example, EXAMPLE_MAX).to_owned())).0 += 1;
    }

    /// What is to be told, at most [`REPAIRS_TOLD`] of it.
    pub fn repairs(&self) -> &[Repair] {
        &self.repairs
    }

    fn tell(&mut self, kind: &'static str, key: &str, what: &str) {
        let is_known = self.repairs.iter().any(|known| known.kind == kind && known.key == key);
        if !is_known && self.repairs.len() < REPAIRS_TOLD {
            self.repairs.push(Repair { kind, key: key.to_owned(), what: cut(what, EXAMPLE_MAX).to_owned() });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Adds the counts of another request.
    pub fn merge(&mut self, other: Warnings) {
        for (kind, (times, example)) in other.kinds {
            self.kinds.entry(kind).or_insert((0, example)).0 += times;
        }
        for repair in other.repairs {
            self.tell(repair.kind, &repair.key, &repair.what);
        }
    }
}
