//! Panics are defects of this program: caught where a task can go on, counted by task, logged, and never the end of the agent.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;

/// Before a task that panicked is started anew, so that one that always panics costs little.
const PAUSE: Duration = Duration::from_secs(1);

/// How many panics were caught in which task; clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Panics {
    counts: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Panics {
    /// Counts and logs what was caught.
    pub fn note(&self, task: &str, panic: &(dyn Any + Send)) {
        *self.lock().entry(task.to_owned()).or_default() += 1;
        tracing::error!(target: "agent", "a defect in {task}: {}; it goes on, please report it", text(panic));
    }

    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.lock().clone()
    }

    /// Runs `act`; a panic in it is counted, and `None` returned. What `act` changed stays as far as it came.
    pub fn catch<T>(&self, task: &str, act: impl FnOnce() -> T) -> Option<T> {
        match std::panic::catch_unwind(AssertUnwindSafe(act)) {
            Ok(value) => Some(value),
            Err(panic) => {
                self.note(task, panic.as_ref());
                None
            }
        }
    }

    /// Runs a task to its end; after a panic it is made and started anew.
    pub async fn keep_running<F>(&self, task: &str, mut make: impl FnMut() -> F)
    where
        F: Future<Output = ()>,
    {
        while let Err(panic) = AssertUnwindSafe(make()).catch_unwind().await {
            self.note(task, panic.as_ref());
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a panic says.
pub fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic without a text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_counted_and_started_anew_until_it_ends() {
        let panics = Panics::default();
        let mut started = 0;
        panics
            .keep_running("a test", || {
                started += 1;
                let number = started;
                async move { assert!(number >= 3, "attempt {number}") }
            })
            .await;
        assert_eq!((started, panics.counts()), (3, BTreeMap::from([("a test".to_owned(), 2)])));
    }

    #[test]
    fn what_is_caught_leaves_the_rest_in_place() {
        let panics = Panics::default();
        let mut reached = 0;
        assert_eq!(panics.catch("x", || reached += 1), Some(()));
        let odd: Option<()> = panics.catch("x", || {
            reached += 1;
            std::panic::panic_any(7)
        });
        assert_eq!((odd, reached, panics.counts()["x"]), (None, 2, 1));
    }
}
