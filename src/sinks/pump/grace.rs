//! The end of a pump: what is sent until the grace of a stop ends.

use std::future::Future;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// `None`: go on. `Some`: send what is there until then, end as soon as nothing is left.
pub type StopDeadline = Option<Instant>;

/// The grace ended, or nothing is left to send.
pub(super) struct Stopped;

/// Waits for the future, but no longer than the grace of a stop.
pub(super) async fn until_grace_ends<F: Future>(
    mut stop: watch::Receiver<StopDeadline>,
    future: F,
) -> Result<F::Output, Stopped> {
    let grace = async move {
        loop {
            let until = *stop.borrow_and_update();
            match until {
                Some(until) => return sleep_until(until).await,
                // Whoever could have told is gone, and so is the grace.
                None if stop.changed().await.is_err() => return,
                None => {}
            }
        }
    };
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = grace => Err(Stopped),
    }
}
