//! Those who wait for one answer of a worker: whoever asks while a question is under way joins it.

use tokio::sync::oneshot;

/// Everybody gets the same.
pub(super) struct Waiters<T>(Vec<oneshot::Sender<T>>);

impl<T> Default for Waiters<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone> Waiters<T> {
    /// One more who waits.
    pub fn join(&mut self, answer: oneshot::Sender<T>) {
        self.0.push(answer);
    }

    pub fn answer(self, told: &T) {
        for waiting in self.0 {
            // Whoever asked may have stopped waiting.
            let _ = waiting.send(told.clone());
        }
    }
}
