//! Small things that several files of the supervisor share: stamps of files, numbers of workers, limits of the loop.

use std::time::{Duration, Instant, SystemTime};

use crate::worker::{UnitSpec, WorkerSpec};

/// What an interpreter is looked up by: `cmd`, and the environment that may hold another PATH.
pub(super) type Cmd = (String, Vec<(String, String)>);

/// Tells whether a file is the same as before.
pub(super) type FileStamp = (SystemTime, u64);

pub(super) const EVENTS: usize = 1024;
/// What a worker that is no longer wanted gets for its end, all steps together.
pub(super) const LEAVE: Duration = Duration::from_millis(6500);

/// The newest of its scripts and the size of all; `None` where one is missing.
pub(super) fn stamp(spec: &WorkerSpec) -> Option<FileStamp> {
    let one = |unit: &UnitSpec| {
        let meta = std::fs::metadata(&unit.file).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    spec.units.iter().map(one).reduce(|all, one| {
        let ((newest, size), (time, more)) = (all?, one?);
        Some((newest.max(time), size.saturating_add(more)))
    })?
}

/// A worker may claim any number.
pub(super) fn after(now: Instant, ms: u64) -> Instant {
    now.checked_add(Duration::from_millis(ms)).unwrap_or(now)
}
