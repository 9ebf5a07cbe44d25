//! Foreign text: how it is cut, and how a message shows it.

/// The longest beginning of at most `max` bytes that ends at a character border.
pub(in crate::point) fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

/// A foreign text for a message: short, and without control characters.
pub fn shown(name: &str) -> String {
    let short = cut(name, 100);
    let dots = if short.len() < name.len() { "…" } else { "" };
    if short.bytes().any(is_control) { format!("{}{dots}", short.escape_debug()) } else { format!("{short}{dots}") }
}

pub(super) fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}
