//! The rules of a key event: status, source, and what each source requires. Each rule has its own message.

use crate::config::Events;
use crate::point::Point;

/// One broken rule: which field, and what is wrong with which value and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub field: &'static str,
    pub reason: String,
}

/// Checks a key event and repairs what can be repaired for the user (a numeric string in `df_date_range`).
///
/// # Errors
/// Every broken rule.
pub fn check(_point: &mut Point, _rules: &Events) -> Result<(), Vec<Fault>> {
    todo!("event")
}
