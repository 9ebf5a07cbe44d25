//! A name in the form that every sink reads alike.

use super::part::PointPart;
use super::text::{cut, is_control, shown};
use super::warnings::Warnings;
use crate::point::value::Text;

pub(in crate::point) fn measurement<'t>(raw: Text<'t>, warnings: &mut Warnings) -> Text<'t> {
    let (mut name, _) = clean(raw, PointPart::Measurement, "", warnings);
    if name.is_empty() {
        warnings.add("invalid_measurement", "measurement", "the measurement is empty; it became `__default`");
        return "__default".into();
    }
    if name.starts_with('#') {
        warnings.add(
            "invalid_measurement",
            "measurement",
            &format!("measurement `{}` would be a comment; `_` was put before it", shown(&name)),
        );
        name.to_mut().insert(0, '_');
        name = clean(name, PointPart::Measurement, "", warnings).0;
    }
    name
}

/// The name in its encodable form, and whether it had to be changed; of a value with the key that has it.
pub(super) fn clean<'t>(raw: Text<'t>, part: PointPart, of: &str, warnings: &mut Warnings) -> (Text<'t>, bool) {
    // No early exit: this way the compiler looks at many bytes at a time.
    let is_special = raw.bytes().fold(false, |found, byte| found | is_control(byte) | (byte == b'\\'));
    if raw.len() <= part.max() && !is_special {
        return (raw, false);
    }
    let place = part.place(if part == PointPart::TagValue { of } else { &raw });
    let mut name = without_controls(&raw);
    name.truncate(name.trim_end_matches('\\').len());
    if name != raw {
        let example = format!(
            "{} `{}`{} became `{}`: control characters and final backslashes have no encoding",
            part.word(),
            shown(&raw),
            part.of(of),
            shown(&name)
        );
        warnings.add(part.not_encodable(), &place, &example);
    }
    if let Some(plain) = without_ambiguous_backslashes(&name) {
        let example = format!(
            "{} `{}`{} became `{}`: sinks read these backslashes differently",
            part.word(),
            shown(&name),
            part.of(of),
            shown(&plain)
        );
        warnings.add("ambiguous_backslash", &place, &example);
        name = plain;
    }
    if name.len() > part.max() {
        let (word, of) = (part.word(), part.of(of));
        let example = format!("{word} `{}`{of}: {} bytes were cut to {}", shown(&name), name.len(), part.max());
        warnings.add(part.too_long(), &place, &example);
        name.truncate(cut(&name, part.max()).trim_end_matches('\\').len());
    }
    let changed = name != raw;
    (name.into(), changed)
}

/// One space for each run of control characters; trimmed if there was one.
fn without_controls(raw: &str) -> String {
    if !raw.bytes().any(is_control) {
        return raw.to_owned();
    }
    let mut name = String::with_capacity(raw.len());
    let mut runs = raw.split(|c: char| c.is_ascii_control()).filter(|part| !part.is_empty());
    if let Some(first) = runs.next() {
        name.push_str(first);
    }
    for part in runs {
        name.push(' ');
        name.push_str(part);
    }
    name.trim_matches(' ').to_owned()
}

/// `/` for each backslash that stands before a separator or beside another backslash; `None` when there is none.
fn without_ambiguous_backslashes(name: &str) -> Option<String> {
    let bytes = name.as_bytes();
    let ambiguous = |at: usize| {
        bytes[at] == b'\\'
            && (matches!(bytes.get(at + 1), Some(b',' | b'=' | b' ' | b'\\')) || (at > 0 && bytes[at - 1] == b'\\'))
    };
    if !(0..bytes.len()).any(ambiguous) {
        return None;
    }
    Some(name.char_indices().map(|(at, c)| if ambiguous(at) { '/' } else { c }).collect())
}
