//! The library with one store: how that is made and opened, and what its failures mean.

use std::path::{Path, PathBuf};

use git2::{Error, Repository, RepositoryInitOptions, RepositoryOpenFlags};

use super::super::failure::{PullFailure, local};
use super::super::fault::Asked;
use super::super::judge::{GitError, judge, tame};
use super::super::leftovers::remove;
use super::{setup, sound};

/// Makes an empty bare store.
///
/// # Errors
/// What is wrong with the disk.
pub fn init(asked: &Asked<'_>, path: &Path) -> Result<(), PullFailure> {
    setup::ready().map_err(|error| library(asked, &error))?;
    let mut options = RepositoryInitOptions::new();
    options.bare(true).external_template(false).initial_head("main").no_reinit(true);
    Repository::init_opts(path, &options).map_err(|error| library(asked, &error))?;
    // A sample, from which nothing would ever run.
    remove(&path.join("hooks")).map_err(|error| local("could not tidy the new store", &error))
}

/// The library with one store.
pub struct Libgit2<'a> {
    pub asked: &'a Asked<'a>,
    pub store: PathBuf,
    pub repository: Repository,
}

impl<'a> Libgit2<'a> {
    /// Opens a store.
    ///
    /// # Errors
    /// It is damaged.
    pub fn open(asked: &'a Asked<'a>, store: &Path) -> Result<Self, PullFailure> {
        setup::ready().map_err(|error| library(asked, &error))?;
        sound::check(store).map_err(|error| PullFailure::Corrupt(error.to_string()))?;
        let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::BARE | RepositoryOpenFlags::NO_DOTGIT;
        let repository =
            Repository::open_ext(store, flags, std::iter::empty::<&Path>()).map_err(|error| library(asked, &error))?;
        Ok(Self { asked, store: store.to_owned(), repository })
    }

    /// Says why the work must end now, if it must.
    ///
    /// # Errors
    /// The time is over, or the agent stops.
    pub fn go_on(&self) -> Result<(), PullFailure> {
        self.asked.programs.go_on().map_err(|not_run| self.asked.not_run(not_run))
    }

    /// What an error of the library about this store means.
    pub fn damaged(&self, error: &Error) -> PullFailure {
        library(self.asked, error)
    }
}

/// What went wrong with the store, in the end with this machine's disk.
fn library(asked: &Asked<'_>, error: &Error) -> PullFailure {
    match judge(&format!("fatal: {}", error.message())) {
        GitError::DiskFull => asked.troubled(GitError::DiskFull),
        _ => PullFailure::Corrupt(format!("libgit2: {}", tame(error.message()))),
    }
}
