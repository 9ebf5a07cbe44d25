//! Promises about cgroups with controllers, on a kernel of our own: neither containers nor most hosts give their tests `memory.max`.
//!
//! One guest is booted for all tests of this file. Its init (`tests/support/cgroups_vm_init.sh`) does what a service manager does, waits
//! until each script has had a good run, stops the agent, and tells what it saw; what that must be stands here.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/vm.rs"]
mod vm;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Once, OnceLock};
use std::time::Duration;

use serde_json::Value;
use vm::{Kit, Told};

/// The guest takes 30 s where it has a core for itself, and gives up waiting after 240.
const BOUND: Duration = Duration::from_secs(300);

const SETTINGS: &str = r#"
[http_api]
listen = "127.0.0.1:9529"
[global_tags]
host = "guest"
[[inputs.pythond]]
name = "limited"
cmd = "/usr/bin/python3"
dirs = ["limited"]
memory_max = "64MiB"
[[inputs.pythond]]
name = "free"
cmd = "/usr/bin/python3"
dirs = ["free"]
"#;

/// Every script starts so: `LIFE` counts its workers from 1 on.
const HEAD: &str = "\
import errno, os, pathlib, signal, subprocess, sys, time
from datakit_framework import DataKitFramework
HERE = pathlib.Path(__file__).parent
with open(__file__ + '.lives', 'a+') as _lives:
    print(os.getpid(), file=_lives, flush=True)
    _lives.seek(0)
    LIFE = len(_lives.readlines())
";

const HOG: &str = "
class Hog(DataKitFramework):
    interval = 1
    def run(self):
        if LIFE <= 2:
            hold = b'x' * (200 << 20)
        return self.feed_metric(measurement='hog', fields={'life': LIFE})
";

const CHILD: &str = "
class Child(DataKitFramework):
    interval = 1
    def run(self):
        if LIFE == 1:
            subprocess.run([sys.executable, '-c', \"hold = b'x' * (200 << 20)\"])
        return self.feed_metric(measurement='child', fields={'life': LIFE})
";

/// A witness, which also counts where others see it.
const GOOD: &str = "
class Good(DataKitFramework):
    interval = 2
    n = 0
    def run(self):
        self.n += 1
        (HERE / 'new').write_text(str(self.n))
        (HERE / 'new').rename(HERE / 'witnessed')
        return self.feed_metric(measurement='good', fields={'n': self.n})
";

/// Forks until it is refused, and goes on trying until the witness has had three more runs. The bound is for a kernel that refuses nothing.
const BOMB: &str = "
def witnessed():
    try:
        return int((HERE / 'witnessed').read_text())
    except FileNotFoundError:
        return 0

def one_more(children):
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    children.append(child)

class Bomb(DataKitFramework):
    interval = 3600
    def run(self):
        if LIFE > 1:
            return
        children, refused, until = [], {}, None
        while len(children) < 150 and (until is None or witnessed() < until):
            try:
                one_more(children)
            except OSError as error:
                refused[error.errno] = refused.get(error.errno, 0) + 1
                until = until or witnessed() + 3
        group = open('/proc/self/cgroup').read().split('0::')[1].strip()
        tasks = int(open(f'/sys/fs/cgroup{group}/pids.current').read())
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        again, others = refused.pop(errno.EAGAIN, 0), len(refused)
        return self.feed_metric(
            measurement='bomb', fields={'forks': len(children), 'tasks': tasks, 'again': again, 'others': others}
        )
";

/// In its first life it starts a process that has nothing of ours: session, environment, descriptors and parent are its own. Then it ends.
const SHEDS: &str = "
def shed():
    ours, theirs = os.pipe()
    if os.fork() == 0:
        os.setsid()
        daemon = os.fork()
        if daemon == 0:
            os.closerange(0, 1024)
            os.execve('/bin/sleep', ['sleep', '10000'], {})
        os.write(theirs, b'%d' % daemon)
        os._exit(0)
    os.wait()
    daemon = int(os.read(ours, 100))
    while b'sleep' not in pathlib.Path(f'/proc/{daemon}/cmdline').read_bytes():
        time.sleep(0.01)
    return daemon

def facts(pid):
    try:
        state, parent, _, session = pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[:4]
    except FileNotFoundError:
        return {'runs': 0}
    return {'runs': int(state not in 'ZX'), 'parent': int(parent), 'session': int(session), 'own': os.getsid(0)}

class Sheds(DataKitFramework):
    interval = 1
    def run(self):
        if LIFE == 1:
            daemon = shed()
            (HERE / 'daemon').write_text(str(daemon))
            self.feed_metric(measurement='shed', fields={'agent': os.getppid(), **facts(daemon)})
            os._exit(1)
        daemon = int((HERE / 'daemon').read_text())
        return self.feed_metric(measurement='left', fields=facts(daemon))
";

/// What the guest told, printed with its console under the first test that fails.
struct Guest(&'static Told);

impl Drop for Guest {
    fn drop(&mut self) {
        static ONCE: Once = Once::new();
        if std::thread::panicking() {
            ONCE.call_once(|| {
                eprintln!("--- console of the guest ---\n{}\n--- its facts ---\n{}", self.0.console, self.0.facts)
            });
        }
    }
}

impl Guest {
    fn section(&self, name: &str) -> &'static str {
        let start = format!("=== {name}\n");
        let at = self.0.facts.find(&start).unwrap_or_else(|| panic!("the guest told nothing of `{name}`"));
        let text = &self.0.facts[at + start.len()..];
        text.split_once("=== ").map_or(text, |(text, _)| text)
    }

    /// What a service told; `plain.service` had the whole story, `subgroup.service` a short one.
    fn of(&self, service: &str, name: &str) -> &'static str {
        self.section(&format!("{service}: {name}"))
    }

    fn status(&self, service: &str) -> Value {
        serde_json::from_str(self.of(service, "status")).unwrap()
    }

    fn script(&self, id: &str) -> Value {
        let status = self.status("plain.service");
        let scripts = status["units"].as_array().unwrap();
        scripts.iter().find(|script| script["id"] == id).unwrap_or_else(|| panic!("no {id} in {status:#}")).clone()
    }

    /// What the agent logged of a script, without times.
    fn log(&self, id: &str) -> Vec<&'static str> {
        let about = format!(" {id}: ");
        self.of("plain.service", "log").lines().filter_map(|line| Some(line.split_once(&about)?.1)).collect()
    }

    /// The fields of all points of a measurement.
    fn points(&self, measurement: &str) -> Vec<BTreeMap<&'static str, f64>> {
        let head = format!("{measurement},");
        let lines = self.section("points").lines().filter(|line| line.starts_with(&head));
        lines.map(|line| line.split(' ').nth(1).unwrap().split(',').map(field).collect()).collect()
    }

    /// Which lives of a script reported this measurement.
    fn lives(&self, measurement: &str) -> BTreeSet<String> {
        self.points(measurement).iter().map(|point| point["life"].to_string()).collect()
    }
}

fn field(text: &'static str) -> (&'static str, f64) {
    let (key, value) = text.split_once('=').unwrap();
    (key, value.parse().unwrap())
}

/// The guest that all tests share; `None` where there can be none.
fn guest() -> Option<Guest> {
    static TOLD: OnceLock<Told> = OnceLock::new();
    let kit = Kit::find()?;
    let guest = Guest(TOLD.get_or_init(|| boot(&kit)));
    let ended = guest.0.ended.unwrap_or_else(|| panic!("the guest took longer than {BOUND:?}"));
    assert!(ended.success(), "the emulator ended with {ended}");
    assert!(!guest.0.facts.contains("=== in vain"), "waited in vain for {}", guest.section("in vain"));
    Some(guest)
}

fn boot(kit: &Kit) -> Told {
    let mut image = kit.image();
    image.script("/init", include_str!("support/cgroups_vm_init.sh"));
    image.stripped_program(Path::new(env!("CARGO_BIN_EXE_pythond")), "/bin/pythond");
    image.file("/root/conf.d/agent.conf", SETTINGS);
    let scripts = [
        ("limited/hog", HOG),
        ("limited/child", CHILD),
        ("free/good", GOOD),
        ("free/bomb", BOMB),
        ("free/sheds", SHEDS),
    ];
    for (name, text) in scripts {
        image.file(&format!("/root/python.d/{name}.py"), &format!("{HEAD}{text}"));
    }
    kit.boot(&image, BOUND)
}

fn position(log: &[&str], what: &str, is_it: impl Fn(&str) -> bool) -> usize {
    log.iter().position(|line| is_it(line)).unwrap_or_else(|| panic!("{what} is not in {log:#?}"))
}

/// The pauses, in seconds, after each end for want of memory; each is followed by a start.
fn pauses(log: &[&str]) -> Vec<f64> {
    let told = "killed by signal 9 (SIGKILL): it used more than its memory_max, 64 MiB; restart in ";
    let ends: Vec<usize> = (0..log.len()).filter(|at| log[*at].starts_with("killed by ")).collect();
    for at in &ends {
        position(&log[*at..], "a start after the end", |line| line.starts_with("started, pid "));
    }
    let pause = |at: usize| log[at].strip_prefix(told).unwrap_or_else(|| panic!("{}", log[at]));
    ends.into_iter().map(|at| pause(at).strip_suffix(" s").unwrap().parse().unwrap()).collect()
}

#[test]
fn a_script_over_its_memory_max_is_killed_and_comes_back_by_backoff() {
    let Some(guest) = guest() else { return };
    assert_eq!(guest.section("limits of limited.hog"), "memory.max:67108864\nmemory.oom.group:1\npids.max:64\n");
    let pauses = pauses(&guest.log("limited.hog"));
    let [first, second] = pauses[..] else { panic!("{pauses:?}") };
    assert!((0.5..=1.0).contains(&first) && (1.0..=2.0).contains(&second), "{pauses:?}");
    let script = guest.script("limited.hog");
    assert_eq!((&script["restarts"], &script["recycled"]), (&2.into(), &0.into()), "{script:#}");
    assert_eq!(guest.lives("hog"), BTreeSet::from(["3".to_owned()]), "the lives that reported");
    assert!(guest.section("metrics").contains("pythond_worker_ends_total{unit=\"limited.hog\",result=\"oom\"} 2\n"));
}

#[test]
fn what_a_script_starts_counts_as_its_memory() {
    let Some(guest) = guest() else { return };
    let pauses = pauses(&guest.log("limited.child"));
    assert!(pauses.len() == 1 && (0.5..=1.0).contains(&pauses[0]), "{pauses:?}");
    assert_eq!(guest.script("limited.child")["restarts"], 1);
    assert_eq!(guest.lives("child"), BTreeSet::from(["2".to_owned()]), "it did not outlive its child");
}

#[test]
fn a_fork_bomb_stops_at_pids_max_and_the_other_script_misses_no_run() {
    let Some(guest) = guest() else { return };
    assert_eq!(guest.section("limits of free.good"), "memory.max:max\nmemory.oom.group:0\npids.max:64\n");
    let points = guest.points("bomb");
    let [bomb] = &points[..] else { panic!("{points:?}") };
    assert!(bomb["tasks"] == 64.0 && bomb["forks"] < 64.0, "{bomb:?}");
    assert!(bomb["again"] > 0.0 && bomb["others"] == 0.0, "it was told EAGAIN and nothing else: {bomb:?}");
    assert_eq!(guest.script("free.bomb")["restarts"], 0, "the bomb itself lives");
    let good = guest.script("free.good");
    for key in ["restarts", "runs_failed", "skipped_ticks"] {
        assert_eq!(good[key], 0, "{key}: {good:#}");
    }
    // Those of this agent, up to its stop.
    let runs: Vec<f64> = guest.points("good").iter().map(|point| point["n"]).collect();
    assert!(runs.len() > 3 && runs.iter().zip(1..).all(|(n, expected)| *n == f64::from(expected)), "{runs:?}");
}

#[test]
fn a_daemon_that_left_everything_else_behind_ends_with_its_worker() {
    let Some(guest) = guest() else { return };
    let shed = &guest.points("shed")[0];
    assert!(shed["runs"] == 1.0 && shed["parent"] == shed["agent"], "it ran, and was no longer its child's: {shed:?}");
    assert!(shed["session"] != shed["own"], "{shed:?}");
    let left = guest.points("left");
    assert!(!left.is_empty() && left.iter().all(|point| point["runs"] == 0.0), "{left:?}");
    let log = guest.log("free.sheds");
    let ended = position(&log, "its end", |line| line == "1 process that it left behind was ended");
    position(&log[ended..], "the next start", |line| line.starts_with("started, pid "));
}

#[test]
fn a_service_gets_every_way_to_hold_its_scripts_and_leaves_its_group_as_it_was() {
    let Some(guest) = guest() else { return };
    for service in ["plain.service", "subgroup.service"] {
        let status = guest.status(service);
        for mechanism in status["mechanisms"].as_array().unwrap() {
            assert_eq!(mechanism["active"], true, "{service}: {mechanism:#}");
        }
        let beside: Vec<&str> = guest.of(service, "processes in agent").lines().collect();
        assert!(
            beside.contains(&guest.of(service, "agent").trim_end()),
            "{service}: it has not stepped aside: {beside:?}"
        );
        assert_eq!(guest.of(service, "processes in the service"), "");
        assert!(guest.of(service, "groups").contains("/free.good\n"), "{}", guest.of(service, "groups"));
        assert_eq!(guest.of(service, "exit"), "0\n");
        assert_eq!(guest.of(service, "groups after"), "./agent\n");
        assert_eq!(guest.of(service, "settings after"), guest.of(service, "settings before"));
    }
    assert_eq!(guest.section("limits in the subgroup"), guest.section("limits of limited.hog"));
}
