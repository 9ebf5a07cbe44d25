//! The life of one worker as a pure state machine: what happened goes in, orders come out.
//!
//! ```text
//! Waiting ─slot→ Spawning ─hello→ Loading ─ready→ Idle ⇄ Running → Overdue
//!    ↑                                                 │ silence, stop, restart
//!    ├── Backoff · Blocked · Tripped ←── end ──── Stopping (dump, ask, TERM, KILL) → Unkillable
//! ```
//!
//! A worker that is to be replaced (`recycle`: its age, its runs, its memory) is asked to stop between two runs and starts again at once,
//! which is no failure. What ended by itself and is not to be restarted (`restart`) is Ended until its file changes.
//!
//! A worker whose jobs all wait for a check that is a while off is Resting: its process ends, which is no failure, and it starts again then.
//!
//! Jobs come and go at any time (`Input::Jobs`). A worker is late when a run lasts too long, or when none begins though a job is due; a job that
//! waits for its check is not due.
//!
//! Failure counters belong to the unit, start grace to the incarnation. An exception in a run is no failure of the worker. Whoever drives
//! the machine drops events of an incarnation that is over.

mod breaker;
mod chance;
mod jobs;
mod limits;
mod machine;
mod questions;
mod recycling;
mod states;
mod stops;
#[cfg(test)]
mod tests;

pub use limits::LifeLimits;
pub use machine::Life;
pub use states::{FailureKind, FailureText, LifeAction, LifeInput, LifeState, Next, StopStep};
