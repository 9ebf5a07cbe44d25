//! What must hold after every fault of `tests/FAULTS.md`, whatever it was: the invariants I1 to I8.
//!
//! A `Case` is an agent with scripts that do something bad and with a witness, a script that does nothing bad. When the fault has been
//! seen and named, `Watched::holds` looks at the rest: the witness missed no run (I1), no script ever ran twice (I2), what was accepted is
//! there (I3), no zombies and nobody left after the stop (I4), descriptors and memory of the agent are back (I5), the status answers (I6),
//! each start is told once and the logs stay small (I7), and the agent ends with 0 in time (I8).
//!
//! Bounds on time are wide: tests run on two busy cores. What is exact is counted in runs, starts and points.
#![allow(dead_code)] // each test file uses its own part

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{self, Agent, Root, wait_for, wait_until};

/// Between two runs of the witness; it runs four times a second.
const LONGEST_GAP: f64 = 15.0;
/// For one answer of the status.
const ANSWER: Duration = Duration::from_secs(5);
/// Until the agent has ended after TERM.
const STOP: Duration = Duration::from_secs(9);
/// The same where others keep the machine so busy that a bound on time says nothing about the agent.
const STOP_IN_A_CROWD: Duration = Duration::from_secs(45);
/// By which the agent may have grown: it is a debug build, and its allocator keeps some.
const GROWTH_KIB: u64 = 32 * 1024;
/// Descriptors of one worker: control socket, pidfd, three pipes; one more for its connection, and some that other layers may hold.
const FDS_OF_A_WORKER: usize = 5;
const SPARE_FDS: usize = 8;
const CONSOLE_BYTES: usize = 512 * 1024;

/// Every script starts so: it notes its start, and that another copy of it is alive if there is one.
const HEAD: &str = "\
import atexit, ctypes, fcntl, gc, hashlib, os, pathlib, re, resource, signal, socket, subprocess, sys, threading, time
from datakit_framework import DataKitFramework
HERE = pathlib.Path(__file__).parent
_alone = open(__file__ + '.alone', 'a')
try:
    fcntl.flock(_alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    pathlib.Path(__file__ + '.twice').touch()
with open(__file__ + '.starts', 'a') as f:
    f.write(f'{os.getpid()}\\n')
def first():
    try:
        (HERE / 'first').touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
";

/// A collector with this body of `run`; `self.n` counts its runs, `first()` is true once, in the first life only.
pub fn collector(interval: f64, body: &str) -> String {
    let body: String = body.lines().map(|line| format!("        {line}\n")).collect();
    format!(
        "{HEAD}class C(DataKitFramework):\n    interval = {interval}\n    n = 0\n    def run(self):\n        self.n += 1\n{body}"
    )
}

/// A script that is only this text behind the head.
pub fn plain(text: &str) -> String {
    format!("{HEAD}{text}\n")
}

/// The interpreter behind `python3`: a shim in its place would cost half a second at each start.
pub fn python() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    })
}

/// An agent that is to be started.
pub struct Case {
    pub root: Root,
}

impl Case {
    /// A root with the witness.
    pub fn new() -> Self {
        let root = Root::new();
        let case = Self { root };
        case.add(
            "witness",
            "",
            &collector(0.25, "self.feed_metric(measurement='witness', fields={'n': self.n, 'at': time.monotonic()})"),
        );
        case
    }

    /// A script `<name>/<name>.py`, as an input of its own with these further settings.
    pub fn add(&self, name: &str, settings: &str, text: &str) -> &Self {
        self.root.script(&format!("{name}/{name}.py"), text);
        self.input(name, settings)
    }

    /// An input for the folder of this name.
    pub fn input(&self, name: &str, settings: &str) -> &Self {
        let cmd = if settings.contains("cmd =") { String::new() } else { format!("cmd = {:?}\n", python()) };
        self.root.conf(
            &format!("{name}.conf"),
            &format!("[[inputs.pythond]]\nname = \"{name}\"\n{cmd}dirs = [\"{name}\"]\n{settings}\n"),
        );
        self
    }

    pub fn start(self) -> Watched {
        let command = self.root.command(&["agent"]);
        self.start_by(command)
    }

    /// Starts the agent with this command and waits until the witness runs.
    pub fn start_by(self, command: Command) -> Watched {
        let agent = Agent::start(&self.root, command);
        Watched::new(self.root, agent)
    }
}

/// An agent under fault.
pub struct Watched {
    pub agent: Agent,
    pub root: Root,
    /// Descriptors beside those of the workers, and resident KiB, when all was well.
    base: (usize, u64),
}

impl Watched {
    /// Takes an agent whose root has a witness.
    pub fn new(root: Root, agent: Agent) -> Self {
        agent.wait_script("witness.witness", "runs", |script| script["runs_ok"].as_u64() >= Some(2));
        let base = (spare_fds(&agent), resident_kib(agent.pid()));
        Self { agent, root, base }
    }

    pub fn script(&self, name: &str) -> Value {
        self.agent.script(&format!("{name}.{name}"))
    }

    /// Waits until the status of the script `<name>.<name>` fulfils `check`.
    pub fn wait(&self, name: &str, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        self.agent.wait_script(&format!("{name}.{name}"), what, check)
    }

    /// Waits for a good run, which is one of a new life if `restarts` is 1.
    pub fn wait_good(&self, name: &str, restarts: u64) -> Value {
        self.wait(name, "runs well", |script| {
            script["state"] == "ok" && script["restarts"].as_u64() >= Some(restarts) && script["why"].is_null()
        })
    }

    pub fn pid(&self, name: &str) -> u32 {
        u32::try_from(self.wait(name, "has a process", |script| script["pid"].is_u64())["pid"].as_u64().unwrap())
            .unwrap()
    }

    /// A file in the folder of the script.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.path().join("python.d").join(name)
    }

    /// Waits until the file holds a number and a newline.
    pub fn number_in(&self, name: &str) -> u32 {
        wait_for(&format!("a number in {name}"), || {
            let text = std::fs::read_to_string(self.file(name)).map_err(|error| error.to_string())?;
            text.strip_suffix('\n').and_then(|number| number.parse().ok()).ok_or(text)
        })
    }

    /// The log of loads, errors and deaths.
    pub fn cli_log(&self) -> String {
        self.root.log("_datakit_pythond_cli.log")
    }

    /// Waits until the log of loads, errors and deaths says this, and returns the line.
    pub fn wait_log(&self, part: &str) -> String {
        wait_for(&format!("{part:?} in the log"), || {
            let log = self.cli_log();
            log.lines().find(|line| line.contains(part)).map(str::to_owned).ok_or(log.clone())
        })
    }

    /// How often the script has been started.
    pub fn starts(&self, name: &str) -> usize {
        std::fs::read_to_string(self.file(&format!("{name}/{name}.py.starts"))).unwrap_or_default().lines().count()
    }

    /// Checks I1 to I8; the agent is stopped by it.
    pub fn holds(self) {
        self.witness_goes_on();
        self.nobody_is_left_unreaped();
        self.agent_is_back_to_its_size();
        self.status_answers();
        self.agent.wait_delivered();
        let status = self.agent.status();
        let console = self.agent.console();
        let family = descendants(self.agent.pid());
        let Self { agent, root, .. } = self;
        let (code, took) = agent.stop();
        assert_eq!(code, 0, "I8\n{console}");
        let bound = if is_overloaded() { STOP_IN_A_CROWD } else { STOP };
        assert!(took < bound, "I8: the stop took {took:?}");
        nobody_survives(&root, &family);
        no_script_ran_twice(&root);
        accepted_points_are_there(&root, &status);
        witness_missed_no_run(&root);
        each_start_is_told_once(&status, &console);
        logs_are_bounded(&root, &status, &console);
    }

    fn witness_goes_on(&self) {
        let before = self.script("witness")["runs_ok"].as_u64().unwrap();
        let witness = self.wait("witness", "goes on (I1)", |script| script["runs_ok"].as_u64() >= Some(before + 2));
        assert_eq!(
            (&witness["restarts"], &witness["runs_failed"]),
            (&Value::from(0), &Value::from(0)),
            "I1: {witness:#}"
        );
    }

    fn nobody_is_left_unreaped(&self) {
        let agent = self.agent.pid();
        wait_for("no zombies of the agent (I4)", || {
            let zombies: Vec<u32> = processes()
                .filter(|pid| stat(*pid).is_some_and(|stat| stat.parent == agent && stat.state == 'Z'))
                .collect();
            if zombies.is_empty() { Ok(()) } else { Err(format!("{zombies:?}")) }
        });
    }

    fn agent_is_back_to_its_size(&self) {
        let (fds, memory) = self.base;
        wait_for("the descriptors of the agent (I5)", || {
            let now = spare_fds(&self.agent);
            if now <= fds + SPARE_FDS + live_workers(&self.agent) {
                Ok(())
            } else {
                Err(format!("{fds} at first, now {now}: {:?}", open_files(self.agent.pid())))
            }
        });
        let grown = resident_kib(self.agent.pid()).saturating_sub(memory);
        assert!(grown < GROWTH_KIB, "I5: the agent grew by {grown} KiB");
    }

    fn status_answers(&self) {
        let asked = Instant::now();
        self.agent.status();
        assert!(asked.elapsed() < ANSWER, "I6: the status took {:?}", asked.elapsed());
    }
}

/// True with more than four that want to run for each core.
fn is_overloaded() -> bool {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    load.split(' ').next().unwrap().parse::<f64>().unwrap() > 4.0 * cores as f64
}

/// I4: everything that was there before the stop is gone, and nothing carries the cookie.
fn nobody_survives(root: &Root, family: &[(u32, u64)]) {
    assert_eq!(Agent::descendants(root.path()), Vec::<u32>::new(), "I4");
    // What was killed a moment ago takes a moment to go; nothing in these tests ends by itself.
    wait_for("the end of all that was there (I4)", || {
        let left: Vec<&(u32, u64)> = family.iter().filter(|(pid, born)| lives(*pid, *born)).collect();
        let commands: Vec<String> = left.iter().map(|(pid, _)| command_of(*pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} {commands:?}")) }
    });
}

fn no_script_ran_twice(root: &Root) {
    let marks = files_below(&root.path().join("python.d"));
    let twice: Vec<&PathBuf> =
        marks.iter().filter(|path| path.extension().is_some_and(|ending| ending == "twice")).collect();
    assert!(twice.is_empty(), "I2: {twice:?}");
}

fn accepted_points_are_there(root: &Root, status: &Value) {
    let accepted: u64 =
        status["units"].as_array().unwrap().iter().map(|script| script["points_accepted"].as_u64().unwrap()).sum();
    let files = files_below(&root.path().join("data/points"));
    let there: usize = files.iter().map(|path| std::fs::read_to_string(path).unwrap().lines().count()).sum();
    assert!(there as u64 >= accepted, "I3: {accepted} points were accepted, {there} are in the files");
}

/// The fields `n` and `at` of the witness' points, in the order of the file.
pub fn witness_runs(root: &Root) -> Vec<(u64, f64)> {
    let field = |line: &str, name: &str| -> f64 {
        let text = line.split(name).nth(1).unwrap();
        text[..text.find([',', ' ']).unwrap()].parse().unwrap()
    };
    let points = root.points("metric");
    let lines = points.lines().filter(|line| line.starts_with("witness,"));
    lines.map(|line| (field(line, "n=") as u64, field(line, "at="))).collect()
}

fn witness_missed_no_run(root: &Root) {
    let runs = witness_runs(root);
    let numbers: Vec<u64> = runs.iter().map(|(number, _)| *number).collect();
    // A second life of the agent counts from one again.
    for pair in numbers.windows(2) {
        assert!(pair[1] == pair[0] + 1 || pair[1] == 1, "I1, I3: run {} follows run {}", pair[1], pair[0]);
    }
    let longest = runs.windows(2).filter(|pair| pair[1].0 != 1).map(|pair| pair[1].1 - pair[0].1).fold(0.0, f64::max);
    assert!(longest < LONGEST_GAP, "I1: {longest} s between two runs of the witness");
}

fn each_start_is_told_once(status: &Value, console: &str) {
    for script in status["units"].as_array().unwrap() {
        let id = script["id"].as_str().unwrap();
        let told: Vec<&str> = console.lines().filter(|line| line.contains(&format!(" {id}: started, pid "))).collect();
        let unique: BTreeSet<&str> = told.iter().map(|line| line.split(": started, ").nth(1).unwrap()).collect();
        assert_eq!(told.len(), unique.len(), "I7: {told:#?}");
        assert!(told.len() as u64 <= script["restarts"].as_u64().unwrap() + 1, "I7: {told:#?} {script:#}");
    }
}

fn logs_are_bounded(root: &Root, status: &Value, console: &str) {
    assert!(!console.contains("panicked"), "{console}");
    assert!(console.len() < CONSOLE_BYTES, "I7: the console has {} bytes", console.len());
    for script in status["units"].as_array().unwrap() {
        let id = script["id"].as_str().unwrap();
        let lines = console.lines().filter(|line| line.contains(&format!(" {id}: "))).count() as u64;
        let most = 12 + 8 * (script["restarts"].as_u64().unwrap() + 1);
        assert!(lines <= most, "I7: {lines} lines about {id}\n{console}");
    }
    for path in files_below(&root.path().join("home")) {
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(size <= 200_000, "I7: {} has {size} bytes", path.display());
    }
}

// --- processes ---

/// What `/proc/<pid>/stat` tells.
pub struct Stat {
    pub state: char,
    pub parent: u32,
    pub session: u32,
    /// Ticks after the boot; tells a process from a later one of the same number.
    pub born: u64,
}

pub fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    Some(Stat {
        state: fields[0].chars().next()?,
        parent: fields[1].parse().ok()?,
        session: fields[3].parse().ok()?,
        born: fields[19].parse().ok()?,
    })
}

pub fn processes() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// All children of a process, their children, and so on, with their birth.
pub fn descendants(of: u32) -> Vec<(u32, u64)> {
    let all: Vec<(u32, Stat)> = processes().filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let mut known = BTreeSet::from([of]);
    loop {
        let before = known.len();
        known.extend(
            all.iter().filter(|(_, stat)| known.contains(&stat.parent)).map(|(pid, _)| *pid).collect::<Vec<_>>(),
        );
        if known.len() == before {
            break;
        }
    }
    all.into_iter().filter(|(pid, _)| *pid != of && known.contains(pid)).map(|(pid, stat)| (pid, stat.born)).collect()
}

/// True while this very process runs.
pub fn lives(pid: u32, born: u64) -> bool {
    stat(pid).is_some_and(|stat| stat.born == born && !matches!(stat.state, 'Z' | 'X'))
}

fn command_of(pid: u32) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

pub fn open_files(pid: u32) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    entries
        .flatten()
        .map(|entry| std::fs::read_link(entry.path()).map_or_else(|_| String::new(), |to| to.display().to_string()))
        .collect()
}

fn live_workers(agent: &Agent) -> usize {
    agent.status()["units"].as_array().unwrap().iter().filter(|script| script["pid"].is_u64()).count()
}

/// Descriptors that no live worker accounts for.
fn spare_fds(agent: &Agent) -> usize {
    open_files(agent.pid()).len().saturating_sub(FDS_OF_A_WORKER * live_workers(agent))
}

pub fn resident_kib(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    // Already ended is fine.
    let _ = rustix::process::kill_process(pid, signal);
}

/// Waits until none of these runs; how long that took.
pub fn wait_gone(what: &str, pids: &[u32]) -> Duration {
    let start = Instant::now();
    wait_until(&format!("the end of {what}"), || !pids.iter().any(|pid| support::is_alive(*pid)));
    start.elapsed()
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files_below(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}
