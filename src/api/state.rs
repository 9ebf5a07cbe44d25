//! What the handlers share: the parts of the agent that can be asked, and what a reload changes of it.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::Mutex;

use super::reload::{Asks, ReloadRecord};
use crate::buffer::Log;
use crate::deadletter::DeadLetters;
use crate::ingest::LastErrors;
use crate::ingest::repairs::Repairs;
use crate::sinks::Health;
use crate::supervisor::SupervisorHandle;
use crate::telemetry::counters::Counters;

/// Everything that can be asked how it is.
pub struct Api {
    pub started: Instant,
    pub root: PathBuf,
    pub host: String,
    pub listen: Option<String>,
    pub socket: PathBuf,
    pub units: SupervisorHandle,
    pub asks: Asks,
    pub shown: ShownSettings,
    pub log: Log,
    pub dead: DeadLetters,
    pub last_errors: LastErrors,
    pub repairs: Repairs,
    pub counters: Counters,
    pub git: crate::git::RepositoriesHandle,
    pub disk: DiskLooks,
}

/// Looks at the disk, off the thread that serves and one after the other: a disk that hangs holds one thread and nobody else.
#[derive(Clone, Default)]
pub struct DiskLooks {
    turn: Arc<Mutex<()>>,
}

impl DiskLooks {
    pub(super) async fn take<T: Send + 'static>(&self, look: impl FnOnce() -> T + Send + 'static) -> T {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let looked = tokio::task::spawn_blocking(move || {
            let found = look();
            // Also when whoever asked has gone meanwhile.
            drop(turn);
            found
        });
        looked.await.expect("a look at the disk does not panic")
    }
}

/// What a reload may change; clones share it.
#[derive(Clone, Default)]
pub struct ShownSettings {
    now: Arc<RwLock<Now>>,
}

/// What holds since the start or the last reload.
#[derive(Clone, Default)]
pub struct Now {
    pub sinks: Vec<ShownSink>,
    /// Found while the units were looked for, one sentence each.
    pub problems: Vec<String>,
    /// Settings that changed since the start of the agent and that only another start makes effective.
    pub needs_restart: Vec<String>,
    /// Why not every change of a file is noticed at once.
    pub unwatched: Option<String>,
    pub reload: Option<ReloadRecord>,
}

impl ShownSettings {
    pub fn now(&self) -> Now {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn change(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.now.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A sink with the place it writes to, free of secrets.
#[derive(Clone)]
pub struct ShownSink {
    pub health: Health,
    pub target: String,
}
