//! What is wrong with a body or a point, in our words.

use super::super::BodyFault;
use crate::point::repairs::{Unfit, shown};

pub(crate) fn no_json(text: &str, error: &serde_json::Error) -> BodyFault {
    let line = text.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let rest = line.get(error.column().saturating_sub(1)..).unwrap_or_default();
    let number = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| {
        // The column is that of the first byte that cannot be: the `N` of `NaN`, the `I` of `-Infinity`.
        rest.starts_with(word.trim_start_matches('-'))
    });
    let hint = number.map_or("", |_| "; JSON has no NaN and no infinity: leave such a field out");
    BodyFault::new("datakit.invalidJSON", format!("the body is not JSON: {error}{hint}"))
}

/// The fault in our words: serde says what came and what was expected, we know where.
pub(crate) fn unfit(field: &str, error: &str) -> Unfit {
    let said = error.rfind(" at line ").map_or(error, |end| &error[..end]);
    let subject = if field.is_empty() { "the point".to_owned() } else { format!("`{field}`") };
    let mismatch = said.strip_prefix("invalid type: ").and_then(|said| said.rsplit_once(", expected "));
    let reason = match mismatch {
        Some((came, wanted)) => format!("{subject} is {}; it must be {wanted}", in_json_words(came)),
        None if said.starts_with("recursion limit") => format!("{subject} is nested deeper than 127 levels"),
        None => format!("{subject} cannot be read: {}", shown(said)),
    };
    Unfit::new(field, reason)
}

fn in_json_words(came: &str) -> String {
    let value = ["string ", "integer ", "floating point ", "boolean "].iter().find_map(|kind| came.strip_prefix(kind));
    match (value, came) {
        (Some(value), _) => shown(value.trim_matches('`')),
        (None, "sequence") => "an array".to_owned(),
        (None, "map") => "an object".to_owned(),
        (None, _) => shown(came),
    }
}
