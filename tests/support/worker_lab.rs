//! Supervised scripts without the rest of the agent: a folder of its own, the real Python package or a fake of it, and waiting.
#![allow(dead_code, reason = "each file of tests uses a part of it")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pythond::config::InputTable;
use pythond::supervisor::plan::WantedUnit;
use pythond::supervisor::{
    self, Change, ChangeOutcome, LifeLimits, SupervisorHandle, SupervisorSettings, UnitSnapshot, ZygoteSettings,
};
use pythond::telemetry::counters::Counters;
use pythond::telemetry::files::ScriptLogs;
use pythond::worker::roster::Roster;
use pythond::worker::{WorkerSpec, discover, sdk};

/// Far more than anything takes, even on two busy cores.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A `python.d`, a run directory, and the supervisor over them.
pub struct Lab {
    dir: PathBuf,
    /// Gone with the lab.
    _made: Option<tempfile::TempDir>,
    pub limits: LifeLimits,
    /// `None`: every worker is a program of its own.
    pub zygote: Option<ZygoteSettings>,
    core: PathBuf,
}

/// A lab at work.
pub struct Running {
    pub handle: SupervisorHandle,
    logs: ScriptLogs,
}

impl Lab {
    /// A lab whose scripts fail and come back fast.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("python.d")).unwrap();
        std::fs::create_dir(dir.path().join("run")).unwrap();
        let mut lab = Self::over(dir.path());
        lab._made = Some(dir);
        lab
    }

    /// A lab over the folder of another one.
    pub fn over(dir: &Path) -> Self {
        let core = dir.join("core");
        let limits = LifeLimits {
            backoff_first: Duration::from_millis(50),
            backoff_max: Duration::from_millis(200),
            term: Duration::from_millis(500),
            trip_score: 1000.0,
            ..LifeLimits::default()
        };
        // A file of tests that is named so runs the same promises with workers that are forked, even where there is one only.
        let forked = env!("CARGO_CRATE_NAME").ends_with("_forked");
        let zygote = forked.then(|| ZygoteSettings { from_scripts: 1, ..ZygoteSettings::default() });
        Self { dir: dir.to_owned(), _made: None, limits, zygote, core }
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }

    pub fn run_dir(&self) -> PathBuf {
        self.path().join("run").canonicalize().unwrap()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join("python.d").join(name)
    }

    /// Writes the script `<name>/<name>.py`; its id is `<name>.<name>`.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(&format!("{name}/{name}.py"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Writes a collector with this body of `run`, at line 7, and this interval.
    pub fn collector(&self, name: &str, interval: f64, run: &str) -> PathBuf {
        let body: String = run.lines().map(|line| format!("        {line}\n")).collect();
        let head = "import ctypes, os, pathlib, signal, subprocess, sys, time\nfrom datakit_framework import DataKitFramework\nHERE = pathlib.Path(__file__).parent\n";
        self.script(
            name,
            &format!("{head}class C(DataKitFramework):\n    interval = {interval}\n    def run(self):\n{body}"),
        )
    }

    /// Puts a program of the test in the place of the Python package.
    pub fn fake_package(&mut self, text: &str) {
        let package = self.core.join("pythond");
        std::fs::create_dir_all(&package).unwrap();
        std::fs::write(package.join("__main__.py"), text).unwrap();
    }

    pub fn specs(&self) -> Vec<WorkerSpec> {
        let mut dirs: Vec<PathBuf> =
            std::fs::read_dir(self.path().join("python.d")).unwrap().map(|entry| entry.unwrap().path()).collect();
        dirs.sort();
        let mut input = InputTable::plain("lab", "python3", PathBuf::new());
        input.dirs = dirs;
        let found = discover::scripts(&[input]);
        assert!(found.problems.is_empty(), "{:?}", found.problems);
        found.specs
    }

    /// Starts what the scripts need, each spec changed by `change`.
    pub fn start_with(&self, change: impl Fn(&mut WorkerSpec)) -> Running {
        let mut specs = self.specs();
        specs.iter_mut().for_each(change);
        self.start_wanted(specs)
    }

    /// Starts these scripts.
    pub fn start_wanted<W: Into<WantedUnit>>(&self, specs: Vec<W>) -> Running {
        if !self.core.exists() {
            sdk::write(&self.core).unwrap();
        }
        let logs = ScriptLogs::open(self.path().join("logs"), Counters::default());
        let settings = SupervisorSettings {
            core: self.core.clone(),
            run_dir: self.path().join("run"),
            socket: self.path().join("no.sock"),
            address: ([127, 0, 0, 1], 9).into(),
            hostname: "web01".to_owned(),
            state_dir: self.path().join("state"),
            last_good: self.path().join("last-good"),
            limits: self.limits.clone(),
            zygote: self.zygote.clone(),
            no_guard: Some("only the agent has one".to_owned()),
        };
        let handle = supervisor::start(specs, settings, Roster::default(), logs.clone(), Counters::default()).unwrap();
        Running { handle, logs }
    }

    pub fn start(&self) -> Running {
        self.start_with(|_| ())
    }

    /// All that is in the log of loads, errors and deaths.
    pub fn cli_log(&self, running: &Running) -> String {
        running.logs.flush();
        std::fs::read_to_string(self.path().join("logs/_datakit_pythond_cli.log")).unwrap_or_default()
    }

    /// Everything alive that carries this lab's cookie.
    pub fn processes(&self) -> Vec<u32> {
        processes_of(&self.run_dir())
    }

    /// The workers and what they have started.
    pub fn workers(&self) -> Vec<u32> {
        self.processes().into_iter().filter(|pid| !is_zygote(*pid)).collect()
    }

    pub fn zygotes(&self) -> Vec<u32> {
        self.processes().into_iter().filter(|pid| is_zygote(*pid)).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for pid in self.processes() {
            kill(pid, rustix::process::Signal::KILL);
        }
        pythond::worker::cgroup::sweep(&self.path().join("run"));
    }
}

impl Running {
    pub async fn view(&self, id: &str) -> UnitSnapshot {
        let views = self.handle.snapshot().await;
        views.into_iter().find(|view| view.id == id).unwrap_or_else(|| panic!("no unit {id}"))
    }

    /// Makes the changes and waits for the end of each.
    pub async fn apply(&self, changes: Vec<Change>) -> Vec<(String, ChangeOutcome)> {
        let begun = self.handle.begin(changes).await;
        futures_util::future::join_all(begun.into_iter().map(|one| async { (one.id.clone(), one.outcome().await) }))
            .await
    }

    /// Waits until the script's view fulfils `check`.
    pub async fn wait(&self, id: &str, what: &str, check: impl Fn(&UnitSnapshot) -> bool) -> UnitSnapshot {
        let start = Instant::now();
        loop {
            let view = self.view(id).await;
            if check(&view) {
                return view;
            }
            assert!(start.elapsed() < PATIENCE, "waited in vain: {id} {what}; last seen: {view:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops everything; how long that took.
    pub async fn stop(&self, patience: Duration) -> Duration {
        let start = Instant::now();
        self.handle.stop(patience).await;
        start.elapsed()
    }
}

/// Waits until `check` is true.
pub async fn until(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the file holds a number, which a script writes as `<number>\n`.
pub async fn number_in(path: &Path) -> u32 {
    let mut found = None;
    until(&format!("a number in {}", path.display()), || {
        found = std::fs::read_to_string(path)
            .ok()
            .filter(|text| text.ends_with('\n'))
            .map(|text| text.trim().parse().unwrap());
        found.is_some()
    })
    .await;
    found.unwrap()
}

pub fn processes_of(run_dir: &Path) -> Vec<u32> {
    let cookie = format!("PYTHOND_RUN={}", run_dir.display());
    let all =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    all.filter(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == cookie.as_bytes()) && is_running(*pid)
    })
    .collect()
}

fn is_zygote(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "pythond-zygote")
}

/// The state letter of a process, `None` once nothing of it is left.
pub fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].trim_start().chars().next()
}

pub fn is_running(pid: u32) -> bool {
    state_of(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

pub fn kill(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    // Already ended is fine.
    let _ = rustix::process::kill_process(pid, signal);
}

/// Resident memory of this process in bytes.
pub fn own_memory() -> u64 {
    pythond::worker::process::memory(std::process::id()).unwrap()
}
