//! A started worker, taken apart into what the tasks of its life need.

use super::frames::Channel;
use super::launch::Way;
use super::leash::{Death, Leash};
use super::sys::Pipe;

/// A process with its descriptors watched.
pub struct Parts {
    pub pid: u32,
    pub way: Way,
    pub death: Death,
    pub leash: Leash,
    pub channel: Channel,
    pub stdout: Pipe,
    pub stderr: Pipe,
    pub trace: Pipe,
}
