//! The tags of a point, and those that the agent adds.

use super::keys::{RepairedKeys, key_fits, make_unique};
use super::names::clean;
use super::part::PointPart;
use super::text::shown;
use super::warnings::Warnings;
use crate::point::value::{Category, Tag, Text};

pub(in crate::point) const MAX_TAGS: usize = 256;

pub(in crate::point) fn tags<'t>(mut tags: Vec<Tag<'t>>, category: Category, warnings: &mut Warnings) -> Vec<Tag<'t>> {
    let mut repaired = RepairedKeys::default();
    tags.retain_mut(|(key, value)| {
        let keep =
            key_fits(key, PointPart::TagKey, category, &mut repaired, warnings) && tag_value_fits(key, value, warnings);
        repaired.next(keep);
        keep
    });
    make_unique(&mut tags, &repaired.places, PointPart::TagKey, warnings);
    if tags.len() > MAX_TAGS {
        let example = format!("{} tags; the first {MAX_TAGS} were kept", tags.len());
        warnings.add("exceed_max_tags", "tags", &example);
        tags.truncate(MAX_TAGS);
    }
    tags.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    tags
}

/// Repairs a tag that the agent adds; `None` when nothing is left of it.
pub(in crate::point) fn global_tag<'t>(key: &'t str, value: &'t str) -> Option<Tag<'t>> {
    // Nobody who sends a point can do anything about a global tag: its repairs are not counted as theirs.
    let mut unseen = Warnings::default();
    let (mut key, mut value) = (Text::from(key), Text::from(value));
    let fits = key_fits(&mut key, PointPart::TagKey, Category::Metric, &mut RepairedKeys::default(), &mut unseen)
        && tag_value_fits(&key, &mut value, &mut unseen);
    fits.then_some((key, value))
}

fn tag_value_fits(key: &str, value: &mut Text<'_>, warnings: &mut Warnings) -> bool {
    *value = clean(std::mem::take(value), PointPart::TagValue, key, warnings).0;
    if value.is_empty() {
        warnings.add(
            "empty_tag",
            &PointPart::TagValue.place(key),
            &format!("tag `{}` was dropped: it is empty", shown(key)),
        );
    }
    !value.is_empty()
}
