//! A reload as somebody asks for it, and its outcome.

use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::views::Reloaded;
use crate::config::RepoRoot;

/// A wish to have what is on disk take effect.
pub struct ReloadRequest {
    /// Who wants it, for the log.
    pub by: String,
    /// The exported repositories from now on; `None`: those of before.
    pub repos: Option<Vec<RepoRoot>>,
    /// Told when everything that changed has settled.
    pub answer: oneshot::Sender<Reloaded>,
}

/// Where wishes go; those that wait are fulfilled together.
pub type Asks = mpsc::Sender<ReloadRequest>;

/// The outcome of the last reload that changed something or was asked for.
#[derive(Clone)]
pub struct ReloadRecord {
    pub at: Instant,
    pub outcome: Reloaded,
}

/// Asks for a reload and waits for its outcome; `None` while the agent stops.
pub async fn ask(asks: &Asks, by: &str, repos: Option<Vec<RepoRoot>>) -> Option<Reloaded> {
    let (answer, answered) = oneshot::channel();
    asks.send(ReloadRequest { by: by.to_owned(), repos, answer }).await.ok()?;
    answered.await.ok()
}
