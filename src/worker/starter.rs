//! Decides how a worker is started: forked by a zygote where that can be, else as a program of its own.

use std::io;

use super::WorkerSpec;
use super::children::Role;
use super::launch::{Launch, StartError};
use super::process::Process;
use super::spawner::Spawner;
use super::zygote::{ZygoteSettings, Zygotes};

/// Starts workers; clones share the spawner thread and the zygotes.
#[derive(Clone)]
pub struct Starter {
    spawner: Spawner,
    zygotes: Option<Zygotes>,
}

impl Starter {
    /// Starts the thread that starts all workers, and makes this process the reaper of what they leave behind.
    ///
    /// # Errors
    /// When the system refuses the thread.
    pub fn start() -> io::Result<Self> {
        Ok(Self { spawner: Spawner::start()?, zygotes: None })
    }

    /// Has workers forked by zygotes where that can be; without it each is a program of its own.
    #[must_use]
    pub fn with_zygotes(self, settings: ZygoteSettings) -> Self {
        let zygotes = Some(Zygotes::new(self.spawner.clone(), settings));
        Self { zygotes, ..self }
    }

    /// Says which workers there are; call it again when that changes. A zygote pays from the second one on.
    pub fn know<'s>(&self, specs: impl Iterator<Item = &'s WorkerSpec>) {
        if let Some(zygotes) = &self.zygotes {
            zygotes.know(specs);
        }
    }

    /// Starts a worker in the better of the two ways.
    ///
    /// # Errors
    /// When there is nothing to start, or the system has no room.
    pub async fn launch(&self, launch: Launch) -> Result<Process, StartError> {
        match &self.zygotes {
            Some(zygotes) => zygotes.launch(launch).await,
            None => self.spawner.spawn(launch, Role::Worker).await,
        }
    }

    /// Ends the zygotes; the workers live on.
    pub async fn close(&self) {
        if let Some(zygotes) = &self.zygotes {
            zygotes.close().await;
        }
    }
}
