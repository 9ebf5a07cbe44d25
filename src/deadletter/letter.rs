//! One refused point, and the line that is kept of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::point::Category;

/// Bytes of a reason that are kept.
const REASON_MAX: usize = 512;

/// One refused point.
#[derive(Debug, Clone)]
pub struct Dead {
    /// `None`: a record that is none of ours.
    pub category: Option<Category>,
    /// `<input>/<script>` or the `input` argument.
    pub source: String,
    pub reason: String,
    /// Line protocol (from a sink) or the raw JSON or line (from ingest).
    pub point: String,
}

/// One line of a dead-letter file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// RFC 3339, UTC.
    pub time: String,
    /// The sink's name, or `ingest`.
    pub who: String,
    pub category: Option<String>,
    pub source: String,
    pub reason: String,
    pub point: String,
}

pub(super) fn encode(who: &str, dead: &[Dead], now: Timestamp) -> Vec<u8> {
    let mut lines = Vec::new();
    for one in dead {
        let letter = Letter {
            time: now.to_string(),
            who: who.to_owned(),
            category: one.category.map(|category| category.as_str().to_owned()),
            source: one.source.clone(),
            reason: cut(&one.reason, REASON_MAX).to_owned(),
            point: one.point.clone(),
        };
        serde_json::to_writer(&mut lines, &letter)
            .expect("strings always have a JSON form, and a Vec takes every write");
        lines.push(b'\n');
    }
    lines
}

/// Cuts a text to at most `max` bytes, never inside a character.
fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}
