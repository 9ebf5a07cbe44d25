//! The Python stacks of a live worker, for somebody who asks.
//!
//! SIGUSR2 has `faulthandler` write them, also from within C code that keeps the interpreter's lock; it marks no end, so a pause in what
//! comes is taken for it. A process that cannot act on a signal writes nothing, and then the state that the kernel shows says why.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::waiting::Waiters;

/// What is written comes at once; after such a pause it is complete.
const PAUSE: Duration = Duration::from_millis(150);
/// A worker that has written nothing by then will not.
const PATIENCE: Duration = Duration::from_secs(2);
/// What is said of one that could have written.
pub(super) const NOTHING_WRITTEN: &str = "the process did not write its stacks in time";
const MOST_BYTES: usize = 256 * 1024;

/// What a worker was doing when somebody asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveStack {
    /// `None`: there is no process.
    pub pid: Option<u32>,
    /// As `faulthandler` writes it: each thread with the most recent call first; empty where nothing came.
    pub text: String,
    /// Why nothing came.
    pub why: Option<String>,
}

/// A look at a worker's stacks under way.
pub(super) struct StackLook {
    began: Instant,
    last: Instant,
    text: String,
    waiting: Waiters<LiveStack>,
}

impl StackLook {
    pub fn new(now: Instant) -> Self {
        Self { began: now, last: now, text: String::new(), waiting: Waiters::default() }
    }

    /// One more who waits for the answer.
    pub fn join(&mut self, answer: oneshot::Sender<LiveStack>) {
        self.waiting.join(answer);
    }

    pub fn take(&mut self, piece: &str, now: Instant) {
        self.last = now;
        if self.text.len() + piece.len() <= MOST_BYTES {
            self.text.push_str(piece);
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn is_done(&self, now: Instant) -> bool {
        let waited_for = |since: Instant| now.saturating_duration_since(since);
        if self.text.is_empty() { waited_for(self.began) >= PATIENCE } else { waited_for(self.last) >= PAUSE }
    }

    pub fn answer(self, pid: Option<u32>, why: Option<String>) {
        let why = why.filter(|_| self.text.is_empty());
        self.waiting.answer(&LiveStack { pid, text: self.text, why });
    }
}

/// Why a process with this state letter of the kernel says nothing; `otherwise` where it could, as far as the kernel knows.
pub(super) fn silence(state: Option<char>, otherwise: &str) -> String {
    let what = match state {
        Some('T' | 't') => "the process is stopped (SIGSTOP or a debugger); nothing runs in it",
        Some('D') => "the process waits for a device or a network disk and takes no signal until that answers",
        Some('Z' | 'X') | None => "the process has just ended",
        Some(_) => return format!("{otherwise}; the machine may be very busy"),
    };
    what.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_the_look_and_silence_does_later() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut look = StackLook::new(start);
        assert!(!look.is_done(at(1999)));
        assert!(look.is_done(at(2000)));
        look.take("Thread 1\n", at(100));
        assert!(!look.is_done(at(249)));
        look.take("Thread 2\n", at(249));
        assert!(!look.is_done(at(398)));
        assert!(look.is_done(at(399)));
    }

    #[tokio::test]
    async fn everybody_who_asked_gets_the_same_answer() {
        let mut look = StackLook::new(Instant::now());
        let (one, first) = oneshot::channel();
        let (two, second) = oneshot::channel();
        look.join(one);
        look.join(two);
        look.take("File", Instant::now());
        look.take(&"x".repeat(MOST_BYTES), Instant::now());
        look.answer(Some(7), Some("unused".to_owned()));
        let expected = LiveStack { pid: Some(7), text: "File".to_owned(), why: None };
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (expected.clone(), expected));
    }
}
