//! Why a reload is done, and who waits for it.

use tokio::sync::oneshot;

use crate::api::ReloadRequest;
use crate::api::views::Reloaded;
use crate::config::RepoRoot;
use crate::supervisor::plan::Asking;

/// Why a reload is done.
pub(super) struct Wish {
    pub by: String,
    pub asking: Asking,
    pub repos: Option<Vec<RepoRoot>>,
    pub answers: Vec<oneshot::Sender<Reloaded>>,
}

impl Wish {
    pub(super) fn noticed() -> Self {
        Self { by: "a changed file".to_owned(), asking: Asking::Noticed, repos: None, answers: Vec::new() }
    }

    pub(super) fn hangup() -> Self {
        Self { by: "SIGHUP".to_owned(), asking: Asking::Asked, ..Self::noticed() }
    }

    pub(super) fn add(&mut self, ask: ReloadRequest) {
        self.by = ask.by;
        self.asking = Asking::Asked;
        // Trees that nobody waits for any more are those of settings that have changed meanwhile.
        if ask.repos.is_some() && !ask.answer.is_closed() {
            self.repos = ask.repos;
        }
        self.answers.push(ask.answer);
    }
}
