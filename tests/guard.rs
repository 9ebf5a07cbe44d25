//! Promises about the guard: whatever scripts have started, nothing of it outlives an agent that is killed.

#[path = "support/machine.rs"]
mod machine;
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{Agent, Root, wait_for, wait_until};

/// How long what a script has started may outlive the agent.
const SOON: Duration = Duration::from_secs(1);

/// Starts six kinds of children, each with its number in the folder `children`.
const FAMILY: &str = r#"
import ctypes, os, pathlib, subprocess, sys, time
from datakit_framework import DataKitFramework
HERE = pathlib.Path(__file__).parent / 'children'
HERE.mkdir(exist_ok=True)
def note(kind, pid):
    (HERE / f'.{kind}.{pid}').write_text('')
    (HERE / f'.{kind}.{pid}').rename(HERE / f'{kind}.{pid}')
SLEEP = ['sleep', '1000']
def clear_death_signal():
    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
def family(name):
    note(f'{name}-plain', subprocess.Popen(SLEEP).pid)
    note(f'{name}-session', subprocess.Popen(SLEEP, start_new_session=True).pid)
    note(f'{name}-signal', subprocess.Popen(SLEEP, preexec_fn=clear_death_signal).pid)
    note(f'{name}-hidden', subprocess.Popen(SLEEP, env={}, start_new_session=True).pid)
    daemon = f'setsid sh -c "setsid sleep 1000 & touch {HERE}/{name}-daemon.\\$!"'
    subprocess.check_call(['sh', '-c', daemon], stdout=subprocess.DEVNULL)
    child = os.fork()
    if child == 0:
        os.setsid()
        os.closerange(0, 4096)
        while True:
            time.sleep(1000)
    note(f'{name}-forked', child)
    (HERE / f'{name}.ready').write_text(str(os.getpid()))
"#;
const KINDS: usize = 6;

/// A script that starts its family before its first run.
fn script(name: &str, before: &str, run: &str) -> String {
    format!(
        "{FAMILY}\n{before}\nfamily('{name}')\nclass C(DataKitFramework):\n    interval = 0.5\n    def run(self):\n        {run}\n"
    )
}

/// The states in which a worker is when the agent is killed.
const STATES: [(&str, &str, &str); 5] = [
    ("idle", "", "pass"),
    ("c", "", "sum(range(10**12))"),
    ("sleeps", "", "time.sleep(1000)"),
    ("stops", "", "pass"),
    ("unbound", "clear_death_signal()", "sum(range(10**12))"),
];

fn with_all_states() -> Root {
    let root = Root::new();
    for (name, before, run) in STATES {
        root.script(&format!("my/{name}.py"), &script(name, before, run));
    }
    root.input("all", &["my"], "");
    root
}

fn born(pid: u32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    Some(fields[19].to_owned())
}

fn children_dir(root: &Root) -> PathBuf {
    root.path().join("python.d/my/children")
}

/// Everything that the scripts have noted: its kind, number and birth.
fn noted(root: &Root) -> Vec<(String, u32, String)> {
    let Ok(entries) = std::fs::read_dir(children_dir(root)) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter_map(|name| {
            let (kind, pid) = name.rsplit_once('.')?;
            let pid = pid.parse().ok()?;
            Some((kind.to_owned(), pid, born(pid)?))
        })
        .collect()
}

/// The workers and zygotes with their birth, by their cookie.
fn workers(root: &Root) -> Vec<(String, u32, String)> {
    Agent::descendants(root.path()).into_iter().filter_map(|pid| Some(("cookie".to_owned(), pid, born(pid)?))).collect()
}

fn left(all: &[(String, u32, String)]) -> Vec<&(String, u32, String)> {
    let lives = |one: &&(String, u32, String)| support::is_alive(one.1) && born(one.1).as_deref() == Some(&one.2);
    all.iter().filter(lives).collect()
}

/// Waits for the end of all that was there; returns how long that took.
fn wait_gone(what: &str, all: &[(String, u32, String)]) -> Duration {
    let start = Instant::now();
    wait_for(what, || {
        let left = left(all);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    start.elapsed()
}

/// Waits until all families are there and all runs have begun; the worker that is to be stopped is.
fn wait_ready(root: &Root, agent: &Agent) -> Vec<(String, u32, String)> {
    wait_for("all families", || {
        let there = noted(root);
        if there.len() == STATES.len() * KINDS { Ok(()) } else { Err(format!("{there:?}")) }
    });
    for (name, ..) in STATES {
        agent.wait_script(&format!("my.{name}"), "a first run", |script| {
            script["last_run"].is_object() || script["state"] == "running"
        });
    }
    let stops = agent.script("my.stops")["pid"].as_u64().unwrap() as u32;
    signal(stops, Signal::STOP);
    wait_until("it is stopped", || state(stops) == Some('T'));
    let mut all = noted(root);
    all.extend(workers(root));
    all
}

fn state(pid: u32) -> Option<char> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text[text.rfind(')')? + 2..].chars().next()
}

fn signal(pid: u32, signal: Signal) {
    // One that has ended is as good.
    let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid.cast_signed()).unwrap(), signal);
}

/// The guards over this root.
fn guards(root: &Path) -> Vec<u32> {
    let entry = format!("PYTHOND_GUARD={}", root.join("data/run").canonicalize().unwrap().display());
    let numbers =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let has = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|there| there == entry.as_bytes())
    };
    numbers.filter(|pid| has(pid) && support::is_alive(*pid)).collect()
}

fn the_guard(root: &Root) -> u32 {
    wait_for("one guard", || match guards(root.path())[..] {
        [guard] => Ok(guard),
        ref others => Err(format!("{others:?}")),
    })
}

/// Programs that take all the time that they can get.
struct Load(Vec<Child>);

impl Load {
    fn start() -> Self {
        let burn = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self((0..cores * 2).map(|_| burn()).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn nothing_of_any_worker_outlives_a_killed_agent() {
    let _load = Load::start();
    let root = with_all_states();
    for _ in 0..3 {
        let _ = std::fs::remove_dir_all(children_dir(&root));
        let agent = root.agent();
        let all = wait_ready(&root, &agent);
        assert!(all.len() > STATES.len() * (KINDS + 1), "{all:?}");
        let guard = the_guard(&root);
        agent.kill_only();
        let took = wait_gone("the end of all that was there", &all);
        wait_until("the end of the guard", || !support::is_alive(guard));
        println!("all {} were gone after {took:?}", all.len());
    }
}

/// Where there are no cgroups, a daemon without environment and descriptors is still known, by its mark.
#[test]
fn nothing_outlives_it_without_cgroups_either() {
    let root = with_all_states();
    let hide = "umount -l /sys/fs/cgroup/unified 2>/dev/null || umount -l /sys/fs/cgroup && exec \"$@\"";
    let can = Command::new("unshare").args(["-m", "sh", "-c", hide, "sh", "true"]).stderr(Stdio::null()).status();
    if !machine::root_can("hide cgroups", can.is_ok_and(|status| status.success())) {
        return;
    }
    let agent = root.command(&["agent"]);
    let mut hidden = Command::new("unshare");
    hidden.args(["-m", "sh", "-c", hide, "sh"]).arg(agent.get_program()).args(agent.get_args());
    for (name, value) in agent.get_envs() {
        hidden.env(name, value.unwrap());
    }
    hidden.current_dir(root.path()).stdin(Stdio::null());
    let agent = Agent::start(&root, hidden);
    let status = agent.status();
    let cgroups = status["mechanisms"].as_array().unwrap().iter().find(|one| one["name"] == "cgroup.kill").unwrap();
    assert_eq!(cgroups["active"], false, "{status:#}");
    let all = wait_ready(&root, &agent);
    agent.kill_only();
    wait_gone("the end of all that was there", &all);
}

#[test]
fn a_guard_that_is_killed_is_replaced_and_one_that_is_stopped_goes_on() {
    let root = with_all_states();
    let agent = root.agent();
    let all = wait_ready(&root, &agent);
    let first = the_guard(&root);
    for number in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2, Signal::TSTP] {
        signal(first, number);
    }
    signal(first, Signal::STOP);
    wait_until("it goes on", || state(first) == Some('S'));
    assert_eq!(the_guard(&root), first);
    signal(first, Signal::KILL);
    wait_until("another guard", || guards(root.path()).iter().any(|guard| *guard != first));
    assert!(left(&all).len() == all.len(), "nobody was ended by that");
    wait_until("it is said", || agent.console().contains(&format!("the guard {first} has ended (signal 9)")));
    agent.kill_only();
    wait_gone("the end of all that was there", &all);
}

#[test]
fn where_both_are_killed_at_once_the_next_start_ends_what_is_left() {
    let root = with_all_states();
    let agent = root.agent();
    let all = wait_ready(&root, &agent);
    let guard = the_guard(&root);
    agent.signal(Signal::STOP);
    signal(guard, Signal::KILL);
    wait_until("the end of the guard", || !support::is_alive(guard));
    agent.kill_only();
    let _ = std::fs::remove_dir_all(children_dir(&root));
    let agent = root.agent();
    wait_gone("the end of all that was there", &all);
    wait_ready(&root, &agent);
}

#[test]
fn an_agent_that_starts_at_once_is_not_disturbed_by_the_guard_before() {
    let root = with_all_states();
    let mut agent = root.agent();
    for _ in 0..3 {
        let all = wait_ready(&root, &agent);
        agent.kill_only();
        let _ = std::fs::remove_dir_all(children_dir(&root));
        agent = root.agent();
        wait_gone("the end of all that was there", &all);
    }
    wait_ready(&root, &agent);
    for (name, ..) in STATES {
        assert_eq!(agent.script(&format!("my.{name}"))["restarts"], 0);
    }
    the_guard(&root);
}

#[test]
fn the_guard_is_small_and_alone_and_gone_after_a_stop() {
    let root = Root::new();
    root.script("my/a.py", &script("a", "", "pass"));
    root.input("in", &["my"], "");
    let agent = root.agent();
    wait_until("its family", || noted(&root).len() == KINDS);
    let guard = the_guard(&root);
    let file = |name: &str| std::fs::read_to_string(format!("/proc/{guard}/{name}")).unwrap();
    assert!(file("cmdline").starts_with(&format!("pythond: guard of {}\0", agent.pid())), "{}", file("cmdline"));
    assert_eq!(file("comm"), "pythond-guard\n");
    let stat = file("stat");
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split_whitespace().collect();
    assert_eq!((fields[1], fields[3]), (agent.pid().to_string().as_str(), guard.to_string().as_str()), "{stat}");
    assert_eq!(std::fs::read_dir(format!("/proc/{guard}/task")).unwrap().count(), 1, "it has one thread");
    let open = |pid: u32| -> Vec<String> {
        let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        entries.filter_map(|entry| Some(std::fs::read_link(entry.ok()?.path()).ok()?.display().to_string())).collect()
    };
    let mut own = open(guard);
    own.sort();
    assert_eq!(own.len(), 3, "{own:?}");
    assert_eq!(own[..2], ["/dev/null", "/dev/null"]);
    let pipe = &own[2];
    assert!(pipe.starts_with("pipe:"), "{own:?}");
    let holders: BTreeSet<u32> =
        workers(&root).into_iter().map(|one| one.1).filter(|pid| open(*pid).contains(pipe)).collect();
    assert_eq!(holders, BTreeSet::new(), "only the agent holds the other end");
    let (code, _) = agent.stop();
    assert_eq!(code, 0);
    assert_eq!(guards(root.path()), Vec::<u32>::new(), "it ends before the agent does");
}

#[test]
fn agents_beside_each_other_have_a_guard_each() {
    let (one, other) = (with_all_states(), with_all_states());
    let (first, second) = (one.agent(), other.agent());
    let (of_first, of_second) = (wait_ready(&one, &first), wait_ready(&other, &second));
    assert_ne!(the_guard(&one), the_guard(&other));
    first.kill_only();
    wait_gone("the end of all that was there", &of_first);
    assert_eq!(left(&of_second).len(), of_second.len(), "those of the other are let alone");
}

#[test]
fn what_a_script_starts_does_not_outlive_a_killed_run_by_hand_either() {
    let root = Root::new();
    let path = root.script("my/a.py", &script("a", "", "time.sleep(1000)"));
    let mut run = root.command(&["run", path.to_str().unwrap()]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("its family", || noted(&root).len() == KINDS);
    let all = noted(&root);
    run.kill().unwrap();
    run.wait().unwrap();
    wait_gone("the end of all that was there", &all);
}

/// Takes minutes: `cargo test --test guard -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes"]
fn nothing_is_left_a_second_after_any_of_two_hundred_kills() {
    let root = with_all_states();
    root.script(
        "my/bomb.py",
        &script("bomb", "", "[subprocess.Popen(['sh', '-c', 'sleep 0.01; sleep 1000 &']) for _ in range(3)]"),
    );
    let (mut seed, mut longest, mut seen) = (0x2545_f491_4f6c_dd1d_u64, Duration::ZERO, 0);
    for round in 0..200 {
        let _ = std::fs::remove_dir_all(children_dir(&root));
        let mut child = root.command(&["agent"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        std::thread::sleep(Duration::from_millis(seed % 4000));
        child.kill().unwrap();
        let killed = Instant::now();
        child.wait().unwrap();
        let all = || -> Vec<(String, u32, String)> { noted(&root).into_iter().chain(workers(&root)).collect() };
        seen += all().len();
        while !left(&all()).is_empty() || !guards(root.path()).is_empty() {
            assert!(killed.elapsed() < SOON, "round {round}: {:?}, guards {:?}", left(&all()), guards(root.path()));
            std::thread::sleep(Duration::from_millis(10));
        }
        longest = longest.max(killed.elapsed());
    }
    println!("200 kills: {seen} processes seen at the kill, the last one gone after {longest:?} at most");
}
