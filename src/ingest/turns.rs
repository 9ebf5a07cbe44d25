//! One request of a job at a time: what its series were before is settled when the next one is counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns of all jobs that have a request in work.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<u64, Weak<Semaphore>>>);

/// The turn of a job; it ends when it is dropped.
pub(super) struct Turn(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

impl Turns {
    /// Waits for the turn of a job, in order of arrival.
    pub async fn take(&self, job: u64) -> Turn {
        Turn(self.of(job).acquire_owned().await.expect("nobody closes it"))
    }

    fn of(&self, job: u64) -> Arc<Semaphore> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(&job).and_then(Weak::upgrade) {
            return turn;
        }
        // As many stay as there are jobs with a request in work.
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Semaphore::new(1));
        turns.insert(job, Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_job_waits_for_itself_alone_and_leaves_nothing() {
        let turns = Turns::default();
        let first = turns.take(1).await;
        let second = turns.take(1);
        let mut second = std::pin::pin!(second);
        assert!(second.as_mut().now_or_never().is_none());
        assert!(turns.take(2).now_or_never().is_some());
        drop(first);
        drop(second.now_or_never().expect("it is its turn"));
        let _other = turns.take(3).await;
        assert_eq!(turns.0.lock().unwrap().len(), 1);
    }
}
