//! How large a commit's list of files and a store may become, whichever transport works.

use std::fs;
use std::path::Path;

use super::commit::short;
use super::failure::PullFailure;
use crate::code::Code;
use crate::config::RepoSettings;
use crate::diagnostic::Diagnostic;
use crate::quantity;

/// Bytes of all paths of a commit that are listed; those of a hundred thousand files fit.
pub const LISTING: usize = 64 << 20;
/// A store may hold this many times what one commit may.
const STORE_FACTOR: u64 = 8;

/// A commit whose list of files has no end in sight.
pub fn endless(commit: &str) -> PullFailure {
    let message = format!("commit {} cannot be used: the list of its files is too long", short(commit));
    PullFailure::fault(Diagnostic::error(Code::CommitTooLarge, message))
}

/// Says why a store of so many bytes must not grow any more.
pub fn too_large(repo: &RepoSettings, bytes: u64) -> Option<String> {
    let most = repo.max_size.saturating_mul(STORE_FACTOR);
    (bytes > most).then(|| {
        format!(
            "`{}` is too large: its store grew beyond {}, which is {STORE_FACTOR} times `max_size`",
            repo.url.as_str(),
            quantity::show_size(most)
        )
    })
}

/// Bytes of all packs of a store, half-written ones too.
pub fn pack_bytes(store: &Path) -> u64 {
    let entries = fs::read_dir(store.join("objects/pack")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}
