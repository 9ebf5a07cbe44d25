//! The children of this process whose status somebody waits for: workers, zygotes and the guard, those that are not reaped yet.
//!
//! One list for the process, since its children are its own however many parts start some.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::sys::{self, parent_of};

static CHILDREN: Mutex<Children> = Mutex::new(Children { pids: BTreeSet::new(), others: BTreeSet::new(), expected: 0 });

pub(super) struct Children {
    pids: BTreeSet<u32>,
    /// Those of `pids` that are no workers.
    others: BTreeSet<u32>,
    /// Workers that a zygote is forking: children whose numbers are not known yet.
    expected: usize,
}

/// What a process is started as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Worker,
    Zygote,
    Guard,
}

/// The list; whoever holds it keeps others from starting or reaping a child meanwhile.
pub(super) fn children() -> MutexGuard<'static, Children> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Children {
    pub fn add(&mut self, pid: u32, role: Role) {
        self.pids.insert(pid);
        if role != Role::Worker {
            self.others.insert(pid);
        }
    }

    pub fn forget(&mut self, pid: u32) {
        self.pids.remove(&pid);
        self.others.remove(&pid);
    }

    /// True for a child that is not reaped yet, so that its number is surely its own.
    pub fn has(&self, pid: u32) -> bool {
        self.pids.contains(&pid)
    }

    pub fn has_workers(&self) -> bool {
        self.pids.len() > self.others.len()
    }

    /// True while an unknown child may be a worker that a zygote has just forked.
    pub fn expects_a_worker(&self) -> bool {
        self.expected > 0
    }
}

/// A worker that a zygote is asked for: until it is adopted or this is dropped, no unknown child is taken for an orphan.
pub(super) struct Expected(());

impl Expected {
    pub fn new() -> Self {
        children().expected += 1;
        Self(())
    }

    /// Takes the child that a zygote names: it is ours and not reaped yet, so the number is still its own.
    ///
    /// # Errors
    /// When it is no child of ours.
    pub fn adopt(self, pid: u32) -> io::Result<sys::Handle> {
        let mut children = children();
        if parent_of(pid) != Some(std::process::id()) || children.has(pid) {
            return Err(io::Error::other(format!("{pid} is no new child of this process")));
        }
        let handle = sys::Handle::open(pid)?;
        children.add(pid, Role::Worker);
        Ok(handle)
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        children().expected -= 1;
    }
}
