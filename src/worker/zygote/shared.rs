//! What the keepers of all zygotes share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::kind::ZygoteKind;
use crate::worker::WorkerSpec;
use crate::worker::spawner::Spawner;

/// When a worker is forked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZygoteSettings {
    /// From so many scripts on with the same interpreter and environment.
    pub from_scripts: usize,
    /// How long a zygote may take to boot.
    pub boot: Duration,
    /// How long it may take to answer.
    pub answer: Duration,
}

impl Default for ZygoteSettings {
    fn default() -> Self {
        Self { from_scripts: 2, boot: Duration::from_secs(15), answer: Duration::from_secs(5) }
    }
}

pub(super) struct ZygoteShared {
    pub spawner: Spawner,
    pub settings: ZygoteSettings,
    known: Mutex<Vec<StartableScript>>,
    /// The shim behind which an interpreter was found: both have one zygote.
    pub shims: Mutex<HashMap<PathBuf, PathBuf>>,
}

/// A script that may be started.
struct StartableScript {
    kind: ZygoteKind,
    script: PathBuf,
    roots: Vec<PathBuf>,
}

impl ZygoteShared {
    pub fn new(spawner: Spawner, settings: ZygoteSettings) -> Self {
        Self { spawner, settings, known: Mutex::default(), shims: Mutex::default() }
    }

    /// Takes the workers that there are now.
    pub fn know<'s>(&self, specs: impl Iterator<Item = &'s WorkerSpec>) {
        let known = specs.map(|spec| StartableScript {
            kind: ZygoteKind::of(&spec.cmd, &spec.envs, spec.dialect),
            script: spec.first().file.clone(),
            roots: spec.roots.clone(),
        });
        let known = known.collect();
        *lock(&self.known) = known;
    }

    /// How many workers can come from a zygote of this kind.
    pub fn count(&self, kind: &ZygoteKind) -> usize {
        lock(&self.known).iter().filter(|known| known.kind == *kind).count()
    }

    /// The scripts that a zygote of this kind will run, and their roots.
    pub fn scripts_of(&self, kind: &ZygoteKind) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let scripts = lock(&self.known);
        let mine = scripts.iter().filter(|known| known.kind == *kind);
        let (files, roots): (Vec<_>, Vec<_>) = mine.map(|known| (known.script.clone(), known.roots.clone())).unzip();
        let mut roots: Vec<PathBuf> = roots.into_iter().flatten().collect();
        roots.sort();
        roots.dedup();
        (files, roots)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
