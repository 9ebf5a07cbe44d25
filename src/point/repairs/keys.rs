//! The keys of tags and fields: which are allowed, and that each is there once.

use std::collections::{HashMap, HashSet};

use super::names::clean;
use super::part::PointPart;
use super::text::shown;
use super::warnings::Warnings;
use crate::point::value::{Category, Text};

/// Which of the entries that stay had their key repaired, in rising order.
#[derive(Default)]
pub(super) struct RepairedKeys {
    at: usize,
    here: bool,
    pub(super) places: Vec<usize>,
}

impl RepairedKeys {
    pub(super) fn next(&mut self, kept: bool) {
        if kept && self.here {
            self.places.push(self.at);
        }
        self.at += usize::from(kept);
        self.here = false;
    }
}

pub(super) fn key_fits(
    key: &mut Text<'_>,
    part: PointPart,
    category: Category,
    repaired: &mut RepairedKeys,
    warnings: &mut Warnings,
) -> bool {
    (*key, repaired.here) = clean(std::mem::take(key), part, "", warnings);
    if !allows_dots(category) && key.contains('.') {
        warnings.add("dot_in_key", &part.place(key), &format!("{} `{}`: `.` became `_`", part.word(), shown(key)));
        *key = key.replace('.', "_").into();
        repaired.here = true;
    }
    if key.is_empty() || disabled(category).contains(&key.as_ref()) {
        warnings.add(
            part.disabled(),
            &part.place(key),
            &format!("{} `{key}` was dropped: this key is empty or not allowed in {}", part.word(), category.as_str()),
        );
        return false;
    }
    if part.is_reserved(key) {
        warnings.add(
            "reserved_key",
            &part.place(key),
            &format!("{} `{key}` became `{key}_`: sinks keep this key for themselves", part.word()),
        );
        key.to_mut().push('_');
        repaired.here = true;
    }
    true
}

fn allows_dots(category: Category) -> bool {
    !matches!(category, Category::Logging | Category::Object)
}

fn disabled(category: Category) -> &'static [&'static str] {
    match category {
        Category::Logging => &["source", "date"],
        Category::Object => &["class", "date"],
        _ => &[],
    }
}

pub(super) fn holds<V>(entries: &[(Text, V)], key: &str) -> bool {
    entries.iter().any(|(name, _)| name == key)
}

pub(super) fn holds_sorted<V>(entries: &[(Text, V)], key: &str) -> bool {
    entries.binary_search_by(|(name, _)| name.as_ref().cmp(key)).is_ok()
}

/// Leaves one entry of each key: an exact key wins over one that only became equal by a repair, else the last wins.
pub(super) fn make_unique<V>(
    entries: &mut Vec<(Text, V)>,
    repaired: &[usize],
    part: PointPart,
    warnings: &mut Warnings,
) {
    if !has_duplicates(entries) {
        return;
    }
    let mut places: HashMap<Text, usize> = HashMap::new();
    let mut kept: Vec<(Text, V)> = Vec::with_capacity(entries.len());
    for (at, (key, value)) in std::mem::take(entries).into_iter().enumerate() {
        let Some(&place) = places.get(&key) else {
            places.insert(key.clone(), kept.len());
            kept.push((key, value));
            continue;
        };
        warnings.add(
            "duplicate_key",
            &part.place(&key),
            &format!("{} `{}` is there more than once; one value was kept", part.word(), shown(&key)),
        );
        if repaired.binary_search(&at).is_err() {
            kept[place].1 = value;
        }
    }
    *entries = kept;
}

fn has_duplicates<V>(entries: &[(Text, V)]) -> bool {
    if entries.len() <= 24 {
        return entries.iter().enumerate().any(|(at, (key, _))| holds(&entries[..at], key));
    }
    let mut seen = HashSet::with_capacity(entries.len());
    entries.iter().any(|(key, _)| !seen.insert(key.as_ref()))
}
