//! What a pull needs of git: the seam behind which the `git` program and libgit2 stand.
//!
//! `store` decides what to ask for, `export` what becomes of a tree. Neither knows who does the work: `transport` chooses.

use super::commit::Commit;
use super::failure::PullFailure;

/// What stands for all branches at a fetch.
pub const ALL_BRANCHES: &str = "refs/heads/*";
/// One store and the server that it is filled from.
pub trait Plumbing {
    /// The server. Nothing is sent before it is asked for something.
    fn server(&self) -> Result<Box<dyn Server + '_>, PullFailure>;

    /// The commit that a name or an id stands for; a store that has none is damaged.
    fn commit_id(&self, name: &str) -> Result<String, PullFailure>;

    fn commit(&self, id: &str) -> Result<Commit, PullFailure>;

    /// Everything in the tree of a commit but its folders, or in one folder of it; `None`: there is no such folder.
    fn tree(&self, commit: &str, subdir: Option<&str>) -> Result<Option<Vec<TreeEntry>>, PullFailure>;

    fn blobs(&self) -> Result<Box<dyn Blobs + '_>, PullFailure>;

    /// Says whether `before` is no ancestor of `id`. True only when it is certain: where the fetched history does not reach far enough,
    /// nobody knows.
    fn is_rewritten(&self, before: &str, id: &str) -> bool;

    /// Puts the packs together and drops what nothing leads to. That it fails costs nothing but space.
    fn gather(&self);
}

/// A server as far as a pull speaks with it.
pub trait Server {
    /// Those of these refs that there are, as `(id, name)`; `^{}` behind the name of a tag stands for what it points to.
    fn refs(&mut self, names: &[&str]) -> Result<Vec<(String, String)>, PullFailure>;

    /// The names of all branches, without `refs/heads/`.
    fn branches(&mut self) -> Result<Vec<String>, PullFailure>;

    /// Fetches a ref, a commit or [`ALL_BRANCHES`] into a ref of the store; a depth of 0 is the whole history.
    fn fetch(&mut self, source: &str, target: &str, depth: u32) -> Result<(), NotFetched>;
}

/// Why a fetch brought nothing.
pub enum NotFetched {
    /// The server does not hand out this source, or not with this depth.
    Unavailable(PullFailure),
    Failed(PullFailure),
}

impl From<PullFailure> for NotFetched {
    fn from(failure: PullFailure) -> Self {
        Self::Failed(failure)
    }
}

/// A line of a tree, as it stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    pub mode: u32,
    pub id: String,
    /// Bytes of a file or link; 0 for others.
    pub size: u64,
    /// From the root of what was listed.
    pub path: Vec<u8>,
}

/// What takes the bytes of a file, and may be unable to.
pub type Take<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), PullFailure>;

/// The contents of files.
pub trait Blobs {
    /// Hands out a blob in pieces.
    ///
    /// # Errors
    /// What `take` says; and a damaged store, also where the blob has another size.
    fn copy(&mut self, id: &str, size: u64, take: Take<'_>) -> Result<(), PullFailure>;
}
