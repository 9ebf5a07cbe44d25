//! A commit, and what its id looks like.

use serde::{Deserialize, Serialize};

/// A commit, as people know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    pub id: String,
    pub title: String,
    pub author: String,
    /// Seconds since 1970.
    pub time: i64,
}

impl Commit {
    /// The short form of its id.
    pub fn short(&self) -> &str {
        short(&self.id)
    }
}

/// The first seven characters of a commit id, as git shows it.
pub fn short(id: &str) -> &str {
    id.get(..7).unwrap_or(id)
}

/// A whole commit id, SHA-1 or SHA-256.
pub fn is_commit_id(text: &str) -> bool {
    [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
