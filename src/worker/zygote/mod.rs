//! Has workers forked by a process that has Python loaded already: a fifth of the memory, a tenth of the start time.
//!
//! One *keeper*, a task, per (interpreter, environment that only takes effect at exec) owns at most one zygote and takes one order after the
//! other. The zygote is the package's `zygote.py`: it is asked over a SEQPACKET socket, forks twice and ends the process in between, so
//! that the worker becomes a child of the agent, the nearest child subreaper. The zygote may therefore die, be killed or be replaced at any
//! time: no worker notices.
//!
//! Whatever is wrong with a zygote costs a script nothing but memory: it is started as a program of its own, and the status says why.

mod child;
mod failures;
mod keeper;
mod kind;
mod messages;
mod shared;
mod stamp;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot};

use super::WorkerSpec;
use super::launch::{Launch, StartError};
use super::process::Process;
use super::spawner::Spawner;
use super::sys;
use keeper::{KeeperRequest, ZygoteKeeper, execute};
use kind::{ZygoteKey, ZygoteKind};
use shared::{ZygoteShared, lock};

pub use shared::ZygoteSettings;

const ORDERS: usize = 1024;

/// Asks the keepers; clones share them.
#[derive(Clone)]
pub struct Zygotes {
    shared: Arc<ZygoteShared>,
    keepers: Arc<Mutex<HashMap<ZygoteKey, KeeperEntry>>>,
}

/// The way to a keeper, and for whom it keeps a zygote.
struct KeeperEntry {
    orders: mpsc::Sender<KeeperRequest>,
    kinds: Vec<ZygoteKind>,
}

impl Zygotes {
    pub(super) fn new(spawner: Spawner, settings: ZygoteSettings) -> Self {
        Self { shared: Arc::new(ZygoteShared::new(spawner, settings)), keepers: Arc::default() }
    }

    /// Takes the workers that there are now; a zygote from which none of them can come is ended.
    pub(super) fn know<'s>(&self, specs: impl Iterator<Item = &'s WorkerSpec>) {
        self.shared.know(specs);
        let is_wanted = |kind: &ZygoteKind| self.shared.count(kind) > 0;
        // Without its sender a keeper does what it was told and ends.
        lock(&self.keepers).retain(|_, kept| kept.kinds.iter().any(is_wanted));
    }

    pub(super) async fn launch(&self, launch: Launch) -> Result<Process, StartError> {
        if let Some(why) = sys::NO_ZYGOTES {
            return execute(&self.shared.spawner, launch, why.to_owned()).await;
        }
        let Some(keeper) = self.keeper_for(&launch) else {
            let why = "no other script has the same interpreter and environment".to_owned();
            return execute(&self.shared.spawner, launch, why).await;
        };
        let gone = |launch: &Launch| StartError::Passing {
            program: launch.program.clone(),
            source: io::Error::other("the keeper of the zygote has ended"),
        };
        let lost = gone(&launch);
        let (answer, answered) = oneshot::channel();
        if keeper.send(KeeperRequest::Start(Box::new(launch), answer)).await.is_err() {
            return Err(lost);
        }
        answered.await.map_err(|_| lost)?
    }

    pub(super) async fn close(&self) {
        let keepers: Vec<_> = lock(&self.keepers).drain().collect();
        for (_, kept) in keepers {
            let (answer, answered) = oneshot::channel();
            if kept.orders.send(KeeperRequest::Close(answer)).await.is_ok() {
                // A keeper that has ended has no zygote.
                let _ = answered.await;
            }
        }
    }

    /// The keeper of the zygote that this worker should come from; `None` where it would be the only one.
    fn keeper_for(&self, launch: &Launch) -> Option<mpsc::Sender<KeeperRequest>> {
        let kind = ZygoteKind::of(&launch.cmd, &launch.envs, launch.dialect);
        let program = lock(&self.shared.shims).get(&launch.program).unwrap_or(&launch.program).clone();
        let key = ZygoteKey { program, env: kind.env.clone(), dialect: kind.dialect };
        let mut keepers = lock(&self.keepers);
        if let Some(kept) = keepers.get_mut(&key) {
            if !kept.kinds.contains(&kind) {
                kept.kinds.push(kind);
            }
            return Some(kept.orders.clone());
        }
        if self.shared.count(&kind) < self.shared.settings.from_scripts {
            return None;
        }
        let (orders, taken) = mpsc::channel(ORDERS);
        tokio::spawn(ZygoteKeeper::new(key.clone(), Arc::clone(&self.shared)).run(taken));
        keepers.insert(key, KeeperEntry { orders: orders.clone(), kinds: vec![kind] });
        Some(orders)
    }
}
