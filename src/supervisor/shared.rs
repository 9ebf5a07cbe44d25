//! What all workers share: the settings of the supervisor, and what every start needs.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use super::basics::Cmd;
use super::events::LoopEvent;
use crate::telemetry::counters::Counters;
use crate::telemetry::files::ScriptLogs;
use crate::worker::WorkerSpec;
use crate::worker::cgroup::Groups;
use crate::worker::frames::Address;
use crate::worker::life::LifeLimits;
use crate::worker::lock::Locks;
use crate::worker::room::FileRoom;
use crate::worker::roster::Roster;
use crate::worker::starter::Starter;
use crate::worker::zygote::ZygoteSettings;

/// What all workers share.
#[derive(Debug, Clone)]
pub struct SupervisorSettings {
    /// The directory that holds the Python package.
    pub core: PathBuf,
    /// The cookie by which leftovers are known.
    pub run_dir: PathBuf,
    pub socket: PathBuf,
    pub address: SocketAddr,
    /// What the tag `host` says.
    pub hostname: String,
    /// Holds a folder for what the units of each input keep.
    pub state_dir: PathBuf,
    /// Where the last version of each unit that could be loaded is kept.
    pub last_good: PathBuf,
    pub limits: LifeLimits,
    /// `None`: every worker is a program of its own.
    pub zygote: Option<ZygoteSettings>,
    /// Why no guard ends what is left when this process is killed; `None` where one does.
    pub no_guard: Option<String>,
}
/// What every worker needs to be started.
pub(super) struct SupervisorShared {
    pub settings: SupervisorSettings,
    pub address: Address,
    pub roster: Roster,
    pub spawner: Starter,
    pub events: mpsc::Sender<LoopEvent>,
    /// How many workers there are.
    pub crowd: usize,
    pub room: FileRoom,
    /// What a `cmd` really is, as its first worker told: a shim costs half a second at each start.
    pub interpreters: HashMap<Cmd, PathBuf>,
    pub locks: Locks,
    pub groups: Groups,
    pub logs: ScriptLogs,
    pub counters: Counters,
    /// Told when a worker has read settings or looked into a folder.
    pub has_read: Arc<Notify>,
}

pub(super) fn limits(spec: &WorkerSpec, shared: &SupervisorShared) -> LifeLimits {
    LifeLimits {
        run_timeout: spec.run_timeout,
        stop_grace: spec.stop_grace,
        restart: spec.restart,
        max_age: spec.max_age,
        max_runs: spec.max_runs,
        ..shared.settings.limits.clone()
    }
}
