//! Which transport works for a repository: the only file that knows them all.

use std::path::Path;

use super::failure::PullFailure;
use super::fault::Asked;
use super::libgit2::{self, Libgit2};
use super::plumbing::Plumbing;
use super::system::{self, System};
use crate::config::repos::GitTransport;

/// Makes an empty bare store.
///
/// # Errors
/// What is wrong with the disk or with the program.
pub fn init(asked: &Asked<'_>, path: &Path) -> Result<(), PullFailure> {
    match asked.repo.transport {
        GitTransport::Libgit2 => libgit2::init(asked, path),
        GitTransport::System => system::init(asked, path),
    }
}

/// Opens a store: the only list of transports.
///
/// # Errors
/// The store is damaged.
pub fn open<'a>(asked: &'a Asked<'a>, path: &Path) -> Result<Box<dyn Plumbing + 'a>, PullFailure> {
    match asked.repo.transport {
        GitTransport::Libgit2 => Ok(Box::new(Libgit2::open(asked, path)?)),
        GitTransport::System => Ok(Box::new(System::new(asked, path))),
    }
}
