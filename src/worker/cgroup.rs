//! A cgroup (version 2) per worker where the machine gives us one, feature by feature; nothing here is ever required.
//!
//! ```text
//! <ours>/agent                     the agent itself, where limits are had: a group with limits below it may hold no process
//! <ours>/pythond-<run dir>/<id>    one per worker: cgroup.kill, and where the controllers are: memory.max, pids.max
//! ```
//!
//! `<ours>` is the group in which the agent was started, or the one above it when the service manager put the agent into `agent`
//! (`DelegateSubgroup=agent`); above that nothing is ever written.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::file_name;
use super::sys::{self, kill_if, parent_of};

const SUBGROUP: &str = "agent";
/// Processes and threads of one worker with all it starts.
const MOST_TASKS: u64 = 64;
/// How long a killed group is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(2);

/// The cgroups of all workers of one run directory.
#[derive(Debug, Clone)]
pub struct Groups {
    dir: Result<PathBuf, String>,
    pub kill: bool,
    pub memory: bool,
    pub pids: bool,
}

/// The cgroup of one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    dir: PathBuf,
    /// The kernel keeps the memory of the whole tree within `memory_max`.
    pub keeps_memory: bool,
}

impl Groups {
    /// Looks what there is, and makes the group that will hold those of the workers. Blocks.
    pub fn open(run_dir: &Path) -> Self {
        match own_group() {
            Ok(ours) => Self::below(&ours, run_dir),
            Err(why) => Self::none(why),
        }
    }

    fn none(why: String) -> Self {
        Self { dir: Err(why), kill: false, memory: false, pids: false }
    }

    fn below(ours: &Path, run_dir: &Path) -> Self {
        let dir = ours.join(name_of(run_dir));
        if let Err(error) = make(&dir) {
            return Self::none(format!("no cgroup can be made in {}: {error}", ours.display()));
        }
        let enabled = |controller: &str| {
            enable(ours, controller)
                .and_then(|()| write(&dir.join("cgroup.subtree_control"), &format!("+{controller}")))
        };
        // A trial shows what the groups of workers have.
        let trial = dir.join("trial");
        let (memory, pids) = (enabled("memory").is_ok(), enabled("pids").is_ok());
        if let Err(error) = make(&trial) {
            return Self::none(format!("no cgroup can be made in {}: {error}", dir.display()));
        }
        let has = |file: &str| trial.join(file).exists();
        let groups = Self {
            kill: has("cgroup.kill"),
            memory: memory && has("memory.max"),
            pids: pids && has("pids.max"),
            dir: Ok(dir.clone()),
        };
        remove(&trial);
        groups
    }

    /// Why there are no cgroups here.
    pub fn why_not(&self) -> Option<&str> {
        self.dir.as_ref().err().map(String::as_str)
    }

    /// Makes the group of a unit's next worker; what is left of the one before is ended. Blocks.
    pub fn make(&self, id: &str, memory_max: Option<u64>) -> Option<Cgroup> {
        let dir = self.dir.as_ref().ok()?.join(file_name(id));
        let mut group = Cgroup { dir, keeps_memory: false };
        if group.dir.exists() {
            group.end();
        }
        let made = make(&group.dir).and_then(|()| {
            if self.pids {
                write(&group.dir.join("pids.max"), &MOST_TASKS.to_string())?;
            }
            if let Some(bytes) = memory_max.filter(|_| self.memory) {
                write(&group.dir.join("memory.max"), &bytes.to_string())?;
                // The unit with all it has started, not whichever part of it asked last; unknown before Linux 4.19.
                let _ = write(&group.dir.join("memory.oom.group"), "1");
                group.keeps_memory = true;
            }
            Ok(())
        });
        match made {
            Ok(()) => Some(group),
            Err(error) => {
                tracing::debug!(target: "worker", "{id}: no cgroup of its own: {error}");
                remove(&group.dir);
                None
            }
        }
    }

    /// Removes the group of all workers, once they are gone.
    pub fn close(&self) {
        if let Ok(dir) = &self.dir {
            remove(dir);
        }
    }
}

impl Cgroup {
    /// Puts a worker in; what it starts from now on is in too.
    ///
    /// # Errors
    /// When the kernel refuses it; the worker then runs without.
    pub fn add(&self, pid: u32) -> io::Result<()> {
        write(&self.dir.join("cgroup.procs"), &pid.to_string())
    }

    /// Kills all that is in it; returns who that was.
    pub fn kill(&self) -> Vec<u32> {
        let killed = members(&self.dir);
        if write(&self.dir.join("cgroup.kill"), "1").is_ok() {
            return killed;
        }
        // Before Linux 5.14 one by one; who forks meanwhile is met in the next round of whoever waits for the end.
        let is_in = |pid: u32| members(&self.dir).contains(&pid);
        for pid in &killed {
            kill_if(*pid, is_in);
        }
        killed
    }

    /// How often the kernel killed something in it for want of memory.
    pub fn out_of_memory(&self) -> u64 {
        let events = std::fs::read_to_string(self.dir.join("memory.events")).unwrap_or_default();
        let count =
            |name: &str| events.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        count("oom_kill").unwrap_or(0)
    }

    /// Kills all that is in it, waits until it is empty, and removes it. Blocks.
    pub fn end(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            self.kill();
            if is_empty(&self.dir) || Instant::now() >= until {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        remove(&self.dir);
    }
}

/// Kills whatever is in the groups of this run directory, without waiting; true while something is.
pub fn kill_all(run_dir: &Path) -> bool {
    let Ok(ours) = own_group() else { return false };
    let all = ours.join(name_of(run_dir));
    if !all.exists() || is_empty(&all) {
        return false;
    }
    // With all groups below it, also those that a script has made.
    if write(&all.join("cgroup.kill"), "1").is_err() {
        for dir in folders_in(&all) {
            Cgroup { dir, keeps_memory: false }.kill();
        }
    }
    true
}

/// Removes the groups of this run directory that are empty.
pub fn remove_all(run_dir: &Path) {
    let Ok(ours) = own_group() else { return };
    let all = ours.join(name_of(run_dir));
    for dir in folders_in(&all) {
        remove(&dir);
    }
    remove(&all);
}

/// Ends what an earlier agent on this run directory has left in its groups. Blocks.
pub fn sweep(run_dir: &Path) {
    let Ok(ours) = own_group() else { return };
    sweep_below(&ours.join(name_of(run_dir)));
}

fn sweep_below(dir: &Path) {
    if !dir.exists() {
        return;
    }
    for dir in folders_in(dir) {
        if !is_empty(&dir) {
            tracing::warn!(target: "worker", "ending what an earlier agent left in {}: {:?}", dir.display(), members(&dir));
        }
        Cgroup { dir, keeps_memory: false }.end();
    }
    remove(dir);
}

fn folders_in(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// The group below which we may make others.
fn own_group() -> Result<PathBuf, String> {
    if let Some(why) = sys::NO_CGROUPS {
        return Err(why.to_owned());
    }
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let own = group_of(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)
        .ok_or("this machine has no cgroup version 2 here")?;
    Ok(delegated(&own))
}

/// Where our own group lies, from the kernel's two tables.
fn group_of(mountinfo: &str, cgroup: &str) -> Option<PathBuf> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mounts = mountinfo.lines().filter(|line| line.contains(" - cgroup2 "));
    mounts
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(3);
            let (root, mounted) = (fields.next()?, fields.next()?);
            // A container may see a part of the tree only.
            let inside = Path::new(path).strip_prefix(root).ok()?;
            Some(Path::new(&mounted.replace("\\040", " ")).join(inside))
        })
        .next()
}

fn delegated(own: &Path) -> PathBuf {
    match own.parent() {
        Some(parent) if own.file_name().is_some_and(|name| name == SUBGROUP) => parent.to_owned(),
        _ => own.to_owned(),
    }
}

/// Has the groups below `ours` get a controller. A group that gives them away may hold no process, so the agent steps aside, unless it
/// shares the group with strangers.
fn enable(ours: &Path, controller: &str) -> io::Result<()> {
    let available = std::fs::read_to_string(ours.join("cgroup.controllers"))?;
    if !available.split_whitespace().any(|there| there == controller) {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("the controller `{controller}` is not available"),
        ));
    }
    let control = ours.join("cgroup.subtree_control");
    let word = format!("+{controller}");
    let Err(error) = write(&control, &word) else { return Ok(()) };
    // Our own children step aside with us: at a start that is the guard alone.
    let all = members(ours);
    if !all.iter().all(|pid| *pid == std::process::id() || parent_of(*pid) == Some(std::process::id())) {
        return Err(error);
    }
    make(&ours.join(SUBGROUP))?;
    for pid in all {
        write(&ours.join(SUBGROUP).join("cgroup.procs"), &pid.to_string())?;
    }
    write(&control, &word)
}

fn name_of(run_dir: &Path) -> String {
    let run_dir = run_dir.canonicalize().unwrap_or_else(|_| run_dir.to_owned());
    format!("pythond-{:08x}", crc32c::crc32c(run_dir.as_os_str().as_encoded_bytes()))
}

fn make(dir: &Path) -> io::Result<()> {
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Without creating: in these folders only the kernel makes files.
fn write(file: &Path, text: &str) -> io::Result<()> {
    use io::Write;
    std::fs::OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
}

fn remove(dir: &Path) {
    if let Err(error) = std::fs::remove_dir(dir) {
        tracing::debug!(target: "worker", "{} stays: {error}", dir.display());
    }
}

fn members(dir: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn is_empty(dir: &Path) -> bool {
    match std::fs::read_to_string(dir.join("cgroup.events")) {
        Ok(events) => events.lines().any(|line| line == "populated 0"),
        Err(_) => members(dir).is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Groups on this machine; says on the console where there are none.
    fn groups() -> Option<(tempfile::TempDir, Groups)> {
        let dir = tempfile::tempdir().unwrap();
        let groups = Groups::open(dir.path());
        if let Some(why) = groups.why_not() {
            use std::io::Write;
            // Not `eprintln!`, which a test that passes keeps for itself.
            let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
            return None;
        }
        Some((dir, groups))
    }

    #[test]
    fn the_own_group_is_found_in_every_kind_of_mount() {
        let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        let hybrid = "31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let container = "9 8 0:26 /docker/77 /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let table = [
            (unified, "0::/system.slice/x.service\n", Some("/sys/fs/cgroup/system.slice/x.service")),
            (hybrid, "4:memory:/a\n0::/\n", Some("/sys/fs/cgroup/unified/")),
            (container, "0::/docker/77/sub\n", Some("/sys/fs/cgroup/sub")),
            (container, "0::/elsewhere\n", None),
            ("", "0::/\n", None),
            (unified, "4:memory:/a\n", None),
        ];
        for (mountinfo, cgroup, expected) in table {
            assert_eq!(group_of(mountinfo, cgroup).as_deref(), expected.map(Path::new), "{cgroup}");
        }
        assert_eq!(delegated(Path::new("/c/x.service/agent")), Path::new("/c/x.service"));
        assert_eq!(delegated(Path::new("/c/x.service")), Path::new("/c/x.service"));
    }

    #[test]
    fn a_group_ends_daemons_that_left_everything_else_behind() {
        let Some((_dir, groups)) = groups() else { return };
        let group = groups.make("my.a", None).unwrap();
        let mut child = Command::new("/bin/sh")
            .args(["-c", "read x; /usr/bin/setsid sleep 1000 & /usr/bin/setsid sleep 1000 & wait"])
            .env_clear()
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        group.add(child.id()).unwrap();
        drop(child.stdin.take());
        let until = Instant::now() + Duration::from_secs(30);
        while members(&group.dir).len() < 3 {
            assert!(Instant::now() < until, "{:?}", members(&group.dir));
            std::thread::sleep(PAUSE);
        }
        let pids = members(&group.dir);
        group.end();
        assert!(!group.dir.exists());
        child.wait().unwrap();
        for pid in pids {
            assert!(!matches!(sys::state(pid), Some('R' | 'S' | 'D')), "{pid} runs");
        }
        groups.close();
    }

    #[test]
    fn the_start_of_an_agent_empties_the_groups_of_the_last_one() {
        let Some((dir, groups)) = groups() else { return };
        let group = groups.make("my.a", None).unwrap();
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        group.add(child.id()).unwrap();
        let other = tempfile::tempdir().unwrap();
        sweep(other.path());
        assert!(child.try_wait().unwrap().is_none(), "that of another run directory is let alone");
        sweep(dir.path());
        assert!(!child.wait().unwrap().success());
        groups.close();
    }

    /// The controllers are not to be had on every machine, so a folder of plain files stands for the kernel's;
    /// `tests/cgroups_vm.rs` has the kernel's own.
    #[test]
    fn limits_are_written_and_the_killer_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let worker = dir.path().join("my.a");
        std::fs::create_dir(&worker).unwrap();
        for file in ["pids.max", "memory.max", "memory.oom.group", "cgroup.procs", "cgroup.kill"] {
            std::fs::write(worker.join(file), "").unwrap();
        }
        std::fs::write(worker.join("cgroup.events"), "populated 0\nfrozen 0\n").unwrap();
        let groups = Groups { dir: Ok(dir.path().to_owned()), kill: true, memory: true, pids: true };
        let group = groups.make("my.a", Some(256 << 20)).unwrap();
        assert!(group.keeps_memory);
        group.add(42).unwrap();
        let text = |file: &str| std::fs::read_to_string(worker.join(file)).unwrap();
        assert_eq!(
            ["pids.max", "memory.max", "memory.oom.group", "cgroup.procs"].map(text),
            ["64", "268435456", "1", "42"]
        );
        assert_eq!(group.out_of_memory(), 0);
        std::fs::write(worker.join("memory.events"), "low 0\nhigh 0\nmax 31\noom 2\noom_kill 3\noom_group_kill 1\n")
            .unwrap();
        assert_eq!(group.out_of_memory(), 3);
        assert!(!groups.make("my.a", None).unwrap().keeps_memory);
    }

    #[test]
    fn a_controller_that_is_not_there_is_no_fault() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cgroup.controllers"), "cpu hugetlb\n").unwrap();
        assert_eq!(enable(dir.path(), "memory").unwrap_err().kind(), io::ErrorKind::Unsupported);
        assert!(enable(&dir.path().join("none"), "memory").is_err());
        std::fs::write(dir.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
        std::fs::write(dir.path().join("cgroup.procs"), "1\n").unwrap();
        assert!(enable(dir.path(), "memory").is_err(), "a group that is shared with strangers is not left");
        assert!(!dir.path().join(SUBGROUP).exists());
    }

    #[test]
    fn where_nothing_can_be_made_the_reason_is_known() {
        let groups = Groups::below(Path::new("/proc/self"), Path::new("/nowhere"));
        assert!(groups.why_not().unwrap().starts_with("no cgroup can be made in /proc/self"), "{groups:?}");
        assert_eq!(groups.make("my.a", None), None);
    }
}
