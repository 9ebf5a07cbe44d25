//! No worker can be started on Windows yet: every start is refused with the reason.

use std::io;

use crate::worker::WorkerSpec;
use crate::worker::launch::{Launch, StartError};
use crate::worker::process::Process;
use crate::worker::sys;
use crate::worker::zygote::Settings;

/// Refuses to start workers.
#[derive(Clone)]
pub struct Starter(());

impl Starter {
    /// # Errors
    /// Never.
    pub fn start() -> io::Result<Self> {
        Ok(Self(()))
    }

    #[must_use]
    pub fn with_zygotes(self, _: Settings) -> Self {
        self
    }

    pub fn know<'s>(&self, _: impl Iterator<Item = &'s WorkerSpec>) {}

    /// # Errors
    /// Always.
    pub async fn launch(&self, _: Launch) -> Result<Process, StartError> {
        Err(StartError::Permanent(sys::refusal()))
    }

    pub async fn close(&self) {}
}
