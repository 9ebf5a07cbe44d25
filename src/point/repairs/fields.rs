//! The fields of a point.

use super::keys::{RepairedKeys, holds, holds_sorted, key_fits, make_unique};
use super::part::PointPart;
use super::text::{cut, shown};
use super::unfit::Unfit;
use super::warnings::Warnings;
use crate::point::value::{Category, Field, Tag, Text, Value};

pub(in crate::point) const MAX_FIELDS: usize = 1024;

pub(super) const MAX_TEXT: usize = 32 * 1024 * 1024;

pub(in crate::point) fn fields<'t>(
    mut fields: Vec<Field<'t>>,
    tags: &[Tag],
    category: Category,
    warnings: &mut Warnings,
) -> Result<Vec<Field<'t>>, Unfit> {
    if let Some((key, Value::Float(number))) =
        fields.iter().find(|(_, value)| matches!(value, Value::Float(n) if !n.is_finite()))
    {
        let field = format!("fields.{}", shown(key));
        let reason = format!("`{field}` is {number}; it must be a finite number, or be left out");
        return Err(Unfit::new(field, reason));
    }
    let mut repaired = RepairedKeys::default();
    fields.retain_mut(|(key, value)| {
        let keep =
            key_fits(key, PointPart::FieldKey, category, &mut repaired, warnings) && !is_tag(key, tags, warnings);
        if let Value::Str(text) = value {
            cut_text(key, text, warnings);
        }
        repaired.next(keep);
        keep
    });
    make_unique(&mut fields, &repaired.places, PointPart::FieldKey, warnings);
    let required = required(category).filter(|(key, _)| !holds(tags, key) && !holds(&fields, key));
    let room = MAX_FIELDS - usize::from(required.is_some());
    if fields.len() > room {
        let example = format!("{} fields; the first {room} were kept", fields.len());
        warnings.add("exceed_max_fields", "fields", &example);
        fields.truncate(room);
    }
    if let Some((key, value)) = required {
        warnings.count("add_required_kv", &format!("`{key}` is missing; it became `{value}`"));
        fields.push((key.into(), Value::Str(value.into())));
    }
    if fields.is_empty() {
        return Err(Unfit::new("fields", "the point has no field with a value; it must have at least one"));
    }
    Ok(fields)
}

fn is_tag(key: &str, tags: &[Tag], warnings: &mut Warnings) -> bool {
    // To compare a few for equality is faster than to search among them by order.
    let taken = if tags.len() <= 8 { holds(tags, key) } else { holds_sorted(tags, key) };
    if taken {
        warnings.add(
            "tag_and_field",
            &PointPart::FieldKey.place(key),
            &format!("field `{}` was dropped: a tag has the same key", shown(key)),
        );
    }
    taken
}

fn cut_text(key: &str, text: &mut Text<'_>, warnings: &mut Warnings) {
    if text.len() > MAX_TEXT {
        warnings.add(
            "exceed_max_field_value_len",
            &PointPart::FieldKey.place(key),
            &format!("field `{}`: {} bytes of text were cut to {MAX_TEXT}", shown(key), text.len()),
        );
        let len = cut(text, MAX_TEXT).len();
        text.to_mut().truncate(len);
    }
}

fn required(category: Category) -> Option<(&'static str, &'static str)> {
    match category {
        Category::Logging => Some(("status", "info")),
        Category::Object => Some(("name", "default")),
        _ => None,
    }
}
