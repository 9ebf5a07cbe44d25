//! What the calls of one pull into libgit2 and the callbacks out of it have in common: when to end, and why it ended.
//!
//! libgit2 carries no more than a number and a text through an error, so the reason is left here by whoever finds it.

use std::io;
use std::sync::{Mutex, PoisonError};

use super::super::fault::Asked;
use super::super::judge::GitError;
use super::super::limits::too_large;
use super::super::program::{NotRun, Programs};
use crate::diagnostic::Diagnostic;

/// How what libgit2 cannot do is left to the program, in help texts.
pub const SYSTEM: &str = "`transport = \"system\"`, which runs the `git` program,";

/// Why the network work ended early.
#[derive(Debug)]
pub enum Halt {
    NotRun(NotRun),
    Trouble(GitError),
    /// Already in words.
    Told(Box<Diagnostic>),
}

impl From<NotRun> for Halt {
    fn from(not_run: NotRun) -> Self {
        Self::NotRun(not_run)
    }
}

impl From<GitError> for Halt {
    fn from(trouble: GitError) -> Self {
        Self::Trouble(trouble)
    }
}

/// One pull.
pub struct Session {
    pub programs: Programs,
    halted: Mutex<Option<Halt>>,
}

impl Session {
    pub fn new(programs: &Programs) -> Self {
        Self { programs: programs.clone(), halted: Mutex::new(None) }
    }

    /// Remembers the first reason.
    pub fn halt(&self, halt: impl Into<Halt>) {
        self.halted.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(halt.into());
    }

    /// The reason, for whoever is told by libgit2 that something failed.
    pub fn take(&self) -> Option<Halt> {
        self.halted.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Says whether the work may go on; the reason is remembered otherwise.
    pub fn goes_on(&self) -> bool {
        self.programs.go_on().map_err(|not_run| self.halt(not_run)).is_ok()
    }

    /// The same where the store has now so many bytes.
    pub fn may_grow_to(&self, asked: &Asked<'_>, bytes: u64) -> bool {
        if let Some(why) = too_large(asked.repo, bytes) {
            self.halt(NotRun::Watched(why));
            return false;
        }
        self.goes_on()
    }

    /// What a stream tells libgit2, which passes it on as a failure.
    pub fn failed(&self, halt: impl Into<Halt>) -> io::Error {
        self.halt(halt);
        io::Error::other("the transfer was ended")
    }
}
