//! Line protocol in and out; the encoder writes the one canonical form that every sink reads alike (spec/delivery 1.9).

use super::{BodyFault, Decoded, Decoding, Point};

/// Reads a line-protocol body.
///
/// # Errors
/// When the body as a whole cannot be read (empty, no points).
pub fn decode(_body: &[u8], _how: &Decoding) -> Result<Decoded, BodyFault> {
    todo!("point")
}

/// Appends the point as one canonical line with a nanosecond timestamp and a final `\n`.
pub fn encode(_point: &Point, _out: &mut Vec<u8>) {
    todo!("point")
}

/// Finds the ends of the lines of canonical text (one past each `\n`); a raw newline inside a string field is no end.
pub fn ends(_text: &[u8]) -> Vec<usize> {
    todo!("point")
}
