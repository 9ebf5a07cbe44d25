//! The untrusted JSON body of a write request to points, in one pass.

use super::{BodyFault, Decoded, Decoding};

/// Reads a DataKit JSON body: an array of `{"measurement","tags","fields","time"}`.
///
/// # Errors
/// When the body as a whole cannot be read; a single bad point is in `Decoded::refused` instead.
pub fn decode(_body: &[u8], _how: &Decoding) -> Result<Decoded, BodyFault> {
    todo!("point")
}
