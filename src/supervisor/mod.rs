//! The loop over all workers: one closed enum of events, one record per worker, and the orders of its `Life` carried out.
//!
//! Tasks per worker only carry: they read frames, output and stacks and wait for the death, and send what they see. All decisions are made
//! here and in `worker::life`, one event at a time.
//!
//! Three nouns: a *unit* has a row in the status (`unit`), a *worker* is one process for one unit or several (`worker`), a *job* is one
//! schedule inside a unit. How it is with a worker says one function (`standing`), whoever asks.

mod announce;
mod basics;
mod changes;
mod ending;
mod events;
mod frames;
mod handle;
mod incarnation;
mod inquiry;
mod jobs;
mod listing;
mod live;
mod mechanisms;
pub mod plan;
mod repeats;
mod resources;
mod rounds;
mod setup;
mod shared;
mod stack;
mod stacks;
mod standing;
mod starting;
mod unit;
mod version;
mod view;
mod views;
mod waiting;
mod worker;

pub use crate::worker::life::LifeLimits;
pub use crate::worker::process::Way;
pub use crate::worker::zygote::ZygoteSettings;
pub use events::{Change, ChangeOutcome, Settling, UnderWay};
pub use handle::SupervisorHandle;
pub use inquiry::ResourceTable;
pub use listing::with_told;
pub use live::LiveStack;
pub use mechanisms::MissingMechanism;
pub use setup::{look, start};
pub use shared::SupervisorSettings;
pub use standing::UnitState;
pub use view::{Coming, JobSnapshot, JobState, LastRun, LastUnitError, UnitSnapshot};
