//! Which of the ways to hold and end a worker's tree there are on this machine; each is used where it is there, and none is required.

use crate::worker::cgroup::Groups;
use crate::worker::lock::Locks;
use crate::worker::sys;

/// One way, and why it is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingMechanism {
    pub name: &'static str,
    /// `None` while it is in use.
    pub why_not: Option<String>,
}

pub(super) fn found(locks: &Locks, groups: &Groups, no_guard: Option<String>) -> Vec<MissingMechanism> {
    let group = |is_there: bool, what: &str| {
        let missing = || format!("{what} is not available in the agent's cgroup");
        groups.why_not().map(str::to_owned).or_else(|| (!is_there).then(missing))
    };
    let mechanism = |name, why_not| MissingMechanism { name, why_not };
    vec![
        mechanism("death signal", sys::NO_DEATH_SIGNAL.map(str::to_owned)),
        mechanism("subreaper", sys::no_subreaper()),
        mechanism("process scan", sys::no_process_scan()),
        mechanism("lock", locks.why_not().map(str::to_owned)),
        mechanism("cgroup.kill", group(groups.kill, "cgroup.kill (Linux 5.14)")),
        mechanism("memory.max", group(groups.memory, "the controller `memory`")),
        mechanism("pids.max", group(groups.pids, "the controller `pids`")),
        mechanism("guard", no_guard),
    ]
}
