//! DataKit's repairs (spec/datakit 4.2) and the canonical form's rules (spec/delivery 1.9), each counted as a warning.

/// Counts of repairs by kind (`found_new_line_or_tail_escape`, `nested_value`, `tag_not_text` …), and the first example of each.
#[derive(Debug, Default, Clone)]
pub struct Warnings {
    pub kinds: std::collections::BTreeMap<&'static str, (u64, String)>,
}
