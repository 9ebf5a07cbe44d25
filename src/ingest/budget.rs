//! How many bytes of bodies are in work at once, for all senders together and for each: who floods waits for itself.
//!
//! A body is paid for before it is read, and until it is kept. Small ones are paid from a purse of their own, so that a short report never
//! stands behind a long one. Who does not get its bytes within [`WAIT`] is told when to come again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::reply::No;

/// Bodies up to this, as sent, are small.
const SMALL: u64 = 64 * 1024;
const SMALL_FOR_ALL: u64 = 16 << 20;
const SMALL_FOR_ONE: u64 = 2 << 20;
/// Largest bodies that all senders together may have in work, and the strangers among them. A worker may have one.
const LARGEST_FOR_ALL: u64 = 4;
const LARGEST_FOR_STRANGERS: u64 = 2;
/// Less than what a client waits for an answer (10 s in the SDK).
const WAIT: Duration = Duration::from_secs(3);
const AGAIN: Duration = Duration::from_secs(1);
/// What one permit stands for: semaphores count to 2²⁹ or so.
const UNIT: u64 = 1024;

/// The bytes that may be in work.
pub(super) struct Budget {
    max_body: u64,
    all: Purses,
    /// By the id of a worker's script, so there are as many as scripts; all others share the one without a name.
    senders: Mutex<HashMap<String, Purses>>,
}

#[derive(Clone)]
struct Purses {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// Bytes that are paid for; given back when dropped.
#[derive(Debug)]
pub(super) struct HeldBytes {
    own: OwnedSemaphorePermit,
    shared: OwnedSemaphorePermit,
    is_small: bool,
}

impl Budget {
    pub fn new(max_body: u64) -> Self {
        let all = Purses::new(SMALL_FOR_ALL, LARGEST_FOR_ALL.saturating_mul(max_body));
        Self { max_body, all, senders: Mutex::default() }
    }

    /// Pays for a body of so many bytes (`None`: unknown) of a worker's script, or of a stranger.
    ///
    /// # Errors
    /// When the bytes are not to be had in time: 429 where the sender itself holds them, 503 where all others do.
    pub async fn pay(&self, script: Option<&str>, bytes: Option<u64>) -> Result<HeldBytes, No> {
        let bytes = bytes.unwrap_or(self.max_body).min(self.max_body);
        let own = self.purses_of(script);
        let is_small = bytes <= SMALL;
        let pick = |purses: Purses| if is_small { purses.small } else { purses.large };
        let until = tokio::time::Instant::now() + WAIT;
        let permits = permits(bytes);
        let own = tokio::time::timeout_at(until, pick(own).acquire_many_owned(permits));
        let own = own.await.map_err(|_| sender_has_too_much())?.expect("a purse is never closed");
        let shared = tokio::time::timeout_at(until, pick(self.all.clone()).acquire_many_owned(permits));
        let shared = shared.await.map_err(|_| too_much_in_work())?.expect("a purse is never closed");
        Ok(HeldBytes { own, shared, is_small })
    }

    /// Pays for what a small packed body may become; what is too much is given back with [`HeldBytes::shrink`].
    pub async fn pay_for_unpacking(&self, script: Option<&str>, held: HeldBytes) -> Result<HeldBytes, No> {
        if !held.is_small {
            return Ok(held);
        }
        // The few bytes of the packed body stay paid for meanwhile: nobody with a large body waits for them.
        self.pay(script, None).await
    }

    fn purses_of(&self, script: Option<&str>) -> Purses {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(purses) = senders.get(script.unwrap_or("")) {
            return purses.clone();
        }
        let bodies = if script.is_some() { 1 } else { LARGEST_FOR_STRANGERS };
        let purses = Purses::new(SMALL_FOR_ONE, bodies.saturating_mul(self.max_body));
        senders.insert(script.unwrap_or("").to_owned(), purses.clone());
        purses
    }
}

impl Purses {
    fn new(small: u64, large: u64) -> Self {
        let purse = |bytes| Arc::new(Semaphore::new(permits(bytes) as usize));
        Self { small: purse(small), large: purse(large) }
    }
}

impl HeldBytes {
    /// Gives back what a body of this size does not need.
    pub fn shrink(&mut self, bytes: u64) {
        let keep = permits(bytes) as usize;
        for permit in [&mut self.own, &mut self.shared] {
            drop(permit.split(permit.num_permits().saturating_sub(keep)));
        }
    }
}

fn permits(bytes: u64) -> u32 {
    const LARGEST: u32 = u32::MAX >> 4;
    u32::try_from(bytes.div_ceil(UNIT).max(1)).unwrap_or(LARGEST).min(LARGEST)
}

fn sender_has_too_much() -> No {
    No::TooMuch {
        message: "nothing was kept: this sender's other reports are still in work; wait for their answers".to_owned(),
        after: AGAIN,
    }
}

fn too_much_in_work() -> No {
    No::Later {
        error_code: "pythond.busy",
        message: "nothing was kept: too many large reports are in work; send it again".to_owned(),
        after: AGAIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: u64 = 32 << 20;

    #[tokio::test(start_paused = true)]
    async fn a_sender_waits_for_itself_and_nobody_else_does() {
        let budget = Budget::new(BODY);
        let flood = budget.pay(Some("flood"), Some(BODY)).await.unwrap();
        assert!(matches!(budget.pay(Some("flood"), Some(BODY)).await, Err(No::TooMuch { .. })));
        let other = tokio::time::Instant::now();
        budget.pay(Some("other"), Some(BODY)).await.unwrap();
        assert!(budget.pay(Some("flood"), Some(100)).await.is_ok(), "also its own small reports pass");
        assert_eq!(other.elapsed(), Duration::ZERO);
        drop(flood);
        budget.pay(Some("flood"), Some(BODY)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_leave_room_for_workers_and_all_together_are_bounded() {
        let budget = Budget::new(BODY);
        let mut held = vec![budget.pay(None, None).await.unwrap(), budget.pay(None, None).await.unwrap()];
        assert!(matches!(budget.pay(None, None).await, Err(No::TooMuch { .. })));
        for script in ["a", "b"] {
            held.push(budget.pay(Some(script), Some(BODY)).await.unwrap());
        }
        assert!(matches!(budget.pay(Some("c"), Some(BODY)).await, Err(No::Later { error_code: "pythond.busy", .. })));
        assert!(budget.pay(Some("c"), Some(SMALL)).await.is_ok(), "a small one never stands behind large ones");
        assert!(budget.pay(None, Some(SMALL)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_packed_body_pays_for_its_largest_form_until_it_is_known() {
        let budget = Budget::new(BODY);
        let small = budget.pay(Some("a"), Some(1000)).await.unwrap();
        let mut held = budget.pay_for_unpacking(Some("a"), small).await.unwrap();
        assert!(matches!(budget.pay(Some("a"), Some(BODY / 2)).await, Err(No::TooMuch { .. })));
        held.shrink(BODY / 2);
        assert!(budget.pay(Some("a"), Some(BODY / 2)).await.is_ok());
    }
}
