//! A pull: the store is brought up to date, and the commit to run becomes a directory. A damaged store is cloned again, once.

use super::commit::Commit;
use super::export::{self, Exported};
use super::failure::PullFailure;
use super::store::Store;
use crate::code::Code;
use crate::diagnostic::Diagnostic;

/// What a pull found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    pub commit: Commit,
    pub exported: Exported,
    /// The commit before is no ancestor of this one.
    pub is_rewritten: bool,
}

impl Store<'_> {
    /// Brings the store up to date and exports the commit to run; `before` is the one that runs.
    ///
    /// # Errors
    /// What is wrong with the server, the settings or this machine. A damaged store is healed once.
    pub fn pull(&self, before: Option<&str>) -> Result<Pulled, PullFailure> {
        match self.pull_once(before) {
            Err(PullFailure::Corrupt(why)) => {
                self.set_aside(&why)?;
                match self.pull_once(before) {
                    Err(PullFailure::Corrupt(again)) => Err(PullFailure::fault(Diagnostic::error(
                        Code::GitFailed,
                        format!(
                            "`{}` could not be fetched into a new store either: {again}",
                            self.asked.repo.url.as_str()
                        ),
                    ))),
                    other => other,
                }
            }
            other => other,
        }
    }

    fn pull_once(&self, before: Option<&str>) -> Result<Pulled, PullFailure> {
        let git = self.open()?;
        let commit = self.fetch_wanted(&*git)?;
        let is_rewritten = before.is_some_and(|before| before != commit.id && git.is_rewritten(before, &commit.id));
        let exported = export::export(&self.asked, &*git, &self.dir, &commit.id)?;
        Ok(Pulled { commit, exported, is_rewritten })
    }
}
