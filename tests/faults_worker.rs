//! The rows W of `tests/FAULTS.md`: what a script does to its own worker. After each, the invariants hold.

#[path = "support/invariants.rs"]
mod invariants;
#[path = "support/machine.rs"]
mod machine;
mod support;
#[path = "support/worker_lab.rs"]
mod worker_lab;

use std::time::{Duration, Instant};

use invariants::{Case, collector, plain, signal, stat, wait_gone};
use machine::{has_pid_namespaces, root_can};
use pythond::supervisor::UnitState;
use pythond::worker::life::{Life, LifeAction, LifeInput, LifeLimits, LifeState};
use rustix::process::Signal;
use support::{Agent, wait_for, wait_until};
use worker_lab::{Lab, until};

// --- W1 to W4: deaths ---

/// Starts of a script in the first two minutes that lives for so long each time.
fn starts_in_two_minutes(lives: f64) -> (usize, LifeState) {
    let start = Instant::now();
    let mut life = Life::new(LifeLimits::default(), 11, start);
    let (mut starts, mut now, mut dies_at) = (0, 0.0, f64::INFINITY);
    while now < 120.0 {
        let at = start + Duration::from_secs_f64(now);
        if now >= dies_at {
            life.step(at, LifeInput::Exited { why: "exited with code 1".to_owned(), clean: false });
            dies_at = f64::INFINITY;
        }
        life.step(at, LifeInput::Tick);
        if life.state() == LifeState::Waiting {
            starts += 1;
            life.step(at, LifeInput::Slot);
            life.step(at, LifeInput::Hello);
            life.step(at, LifeInput::Jobs { set: vec![(0, Duration::from_secs(10))], gone: Vec::new() });
            life.step(at, LifeInput::Ready);
            life.step(at, LifeInput::RunBegan(0));
            dies_at = now + lives;
        }
        now += 0.1;
    }
    (starts, life.state())
}

#[test]
fn w1_w2_what_dies_again_and_again_is_started_at_most_seven_times_in_two_minutes() {
    for lives in [0.0, 2.0] {
        let (starts, state) = starts_in_two_minutes(lives);
        assert!((2..=7).contains(&starts), "{starts} starts");
        assert_eq!(state, LifeState::Tripped, "lives {lives} s");
    }
}

#[test]
fn w3_a_start_under_load_is_slow_but_no_failure() {
    let case = Case::new();
    let names = ["a", "b", "c", "d", "e", "f"];
    for name in names {
        case.add(name, "", &collector(1.0, "pass"));
    }
    // Ended with the test, and after a minute in any case.
    let burners: Vec<Burner> = (0..10).map(|_| Burner::start()).collect();
    let watched = case.start();
    for name in names {
        let script = watched.wait(name, "runs under load", |script| script["runs_ok"].as_u64() >= Some(1));
        assert_eq!(script["restarts"], 0, "{script:#}");
        assert_eq!(watched.starts(name), 1);
    }
    drop(burners);
    watched.holds();
}

/// A process that burns a core, as nice as the workers are.
struct Burner(std::process::Child);

impl Burner {
    fn start() -> Self {
        let loops = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass";
        let child = std::process::Command::new("nice")
            .args(["-n", "5", invariants::python(), "-S", "-c", loops])
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn w4_every_way_to_die_is_named_and_the_script_runs_again() {
    let case = Case::new();
    let deaths = [
        ("leaves", "os._exit(0)", "exited with code 0"),
        ("aborts", "os.abort()", "killed by signal 6 (SIGABRT) at aborts/aborts.py"),
        ("crashes", "ctypes.string_at(0)", "killed by signal 11 (SIGSEGV) at crashes/crashes.py"),
        ("killed", "os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9 (SIGKILL)"),
        ("fpe", "os.kill(os.getpid(), signal.SIGFPE)", "killed by signal 8 (SIGFPE)"),
        (
            "hup",
            "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n    os.kill(os.getpid(), signal.SIGHUP)",
            "killed by signal 1 (SIGHUP)",
        ),
    ];
    for (name, dies, _) in deaths {
        case.add(name, "", &collector(60.0, &format!("if first():\n    {dies}")));
    }
    let watched = case.start();
    for (name, _, told) in deaths {
        watched.wait_log(&format!("{name}.{name}: {told}"));
        let script = watched.wait_good(name, 1);
        assert_eq!((script["restarts"].as_u64(), watched.starts(name)), (Some(1), 2), "{script:#}");
    }
    watched.holds();
}

// --- W5 to W9: hangs ---

const IGNORES: &str =
    "for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)\n";

#[tokio::test(flavor = "multi_thread")]
async fn w5_the_next_copy_starts_only_when_the_stubborn_one_is_dead() {
    let lab = Lab::new();
    let stubborn = format!("{IGNORES}(HERE / 'began').touch()\nwhile first(): sum(range(10**13))");
    lab.script("stubborn", &collector(60.0, &stubborn));
    let running = lab.start_with(|spec| spec.stop_grace = Duration::from_millis(300));
    until("the run has begun", || lab.file("stubborn/began").exists()).await;
    let old = running.view("stubborn.stubborn").await.pid.unwrap();
    let asked = Instant::now();
    assert!(running.handle.restart("stubborn.stubborn").await);
    let view = running.wait("stubborn.stubborn", "runs again", |view| view.runs_ok > 0).await;
    assert_ne!(view.pid, Some(old));
    println!("replaced {:?} after it was asked", asked.elapsed());
    assert!(!lab.file("stubborn/stubborn.py.twice").exists(), "I2");
    running.stop(Duration::from_secs(60)).await;
    assert_eq!(lab.processes(), Vec::<u32>::new());
}

#[test]
fn w6_w7_whatever_a_run_hangs_in_it_is_shown_where_and_replaced() {
    let case = Case::new();
    let kinds = [
        ("loops", "while True: pass"),
        ("counts", "sum(range(10**13))"),
        ("derives", "hashlib.pbkdf2_hmac('sha256', b'x', b'y', 10**9)"),
        ("holds", "ctypes.PyDLL(None).sleep(1000)"),
        ("locks", "lock = threading.Lock()\n    lock.acquire()\n    lock.acquire()"),
        ("sleeps", "time.sleep(1e8)"),
        ("receives", "a, b = socket.socketpair()\n    a.recv(1)"),
        ("backtracks", "re.match('(a+)+$', 'a' * 64 + 'b')"),
        (
            "joins",
            "thread = threading.Thread(target=lambda: sum(range(10**13)))\n    thread.start()\n    thread.join()",
        ),
    ];
    let settings = "run_timeout = \"3s\"\nstop_grace = \"300ms\"";
    for (name, hangs) in kinds {
        case.add(name, settings, &collector(60.0, &format!("if first():\n    {hangs}")));
    }
    // W7: it cannot write its stack, for it is stopped.
    case.add(
        "stops",
        settings,
        &collector(60.0, "if first():\n    os.kill(os.getpid(), signal.SIGSTOP)\n    time.sleep(1e8)"),
    );
    let watched = case.start();
    for (name, _) in kinds {
        let told = watched.wait_log(&format!(
            "{name}.{name}: hung: its run lasted longer than run_timeout, 3 s, at {name}/{name}.py"
        ));
        assert!(told.contains(" in run") || told.contains(" in <lambda>"), "{told}");
        let script = watched.wait_good(name, 1);
        let stack = script["stack"].as_str().unwrap_or_default();
        assert!(stack.contains("most recent call first") && stack.contains(&format!("{name}.py")), "{script:#}");
    }
    watched.wait_log("stops.stops: hung: its run lasted longer than run_timeout, 3 s");
    watched.wait_good("stops", 1);
    // A stopped process takes nothing but KILL.
    wait_until("the log says so", || watched.agent.console().contains("stops.stops: sending KILL to all"));
    watched.holds();
}

#[tokio::test(flavor = "multi_thread")]
async fn w8_a_constructor_that_hangs_is_ended_at_the_end_of_the_load_time() {
    let mut lab = Lab::new();
    lab.limits.load = Duration::from_secs(2);
    let text = "class C(DataKitFramework):\n    interval = 60\n    def __init__(self, **kwargs):\n        super().__init__(**kwargs)\n        while first(): time.sleep(1e8)\n    def run(self):\n        pass";
    lab.script("made", &plain(text));
    lab.script("imports", &plain("while first(): time.sleep(1e8)\nclass C(DataKitFramework):\n    interval = 60\n    def run(self):\n        pass"));
    let running = lab.start_with(|spec| spec.stop_grace = Duration::from_millis(200));
    for name in ["made", "imports"] {
        running
            .wait(&format!("{name}.{name}"), "runs in its second life", |view| view.runs_ok > 0 && view.restarts >= 1)
            .await;
        let log = lab.cli_log(&running);
        let told = format!("{name}.{name}: was still loading after 2 s, at {name}/{name}.py");
        assert!(log.contains(&told), "{told}\n{log}");
        assert!(!lab.file(&format!("{name}/{name}.py.twice")).exists(), "I2");
    }
    running.stop(Duration::from_secs(60)).await;
    assert_eq!(lab.processes(), Vec::<u32>::new());
}

#[test]
fn w5_w8_what_does_not_end_at_a_stop_is_ended_in_time() {
    let case = Case::new();
    let began = "(HERE / 'began').touch()\n";
    let stubborn = [
        ("atexits", format!("atexit.register(lambda: time.sleep(1e8))\n{began}")),
        (
            "collects",
            format!(
                "class Late:\n    def __del__(self): time.sleep(1e8)\nsys.modules['late'] = self.late = Late()\natexit.register(lambda: delattr(self, 'late') or sys.modules.pop('late'))\n{began}"
            ),
        ),
        ("ignores", format!("{IGNORES}{began}while True: pass")),
        ("counts", format!("{IGNORES}{began}sum(range(10**13))")),
        ("threads", format!("threading.Thread(target=lambda: time.sleep(1e8)).start()\n{began}")),
        ("stops", format!("{began}os.kill(os.getpid(), signal.SIGSTOP)")),
    ];
    for (name, body) in &stubborn {
        case.add(name, "", &collector(60.0, body));
    }
    let watched = case.start();
    for (name, _) in &stubborn {
        wait_until("the run has begun", || watched.file(&format!("{name}/began")).exists());
    }
    watched.holds();
}

/// A file system whose requests are taken and never answered: who asks sleeps where not even KILL reaches it.
struct Silent {
    dir: tempfile::TempDir,
    server: Option<std::process::Child>,
}

const SILENT: &str = r#"
import ctypes, os, struct, sys
path = sys.argv[1]
fd = os.open("/dev/fuse", os.O_RDWR)
options = "fd=%d,rootmode=40000,user_id=0,group_id=0" % fd
if ctypes.CDLL(None).mount(b"silent", path.encode(), b"fuse", 0, options.encode()) != 0:
    sys.exit(3)
asked = os.read(fd, 1 << 18)
unique, = struct.unpack_from("<Q", asked, 8)
ahead, = struct.unpack_from("<I", asked, 48)
answer = struct.pack("<IIIIHHIIHHI7I", 7, 31, ahead, 0, 12, 9, 1 << 17, 1, 0, 0, 0, *[0] * 7)
os.write(fd, struct.pack("<IiQ", 16 + len(answer), 0, unique) + answer)
print("mounted", flush=True)
while True:
    os.read(fd, 1 << 18)
"#;

impl Silent {
    /// `None` where this user may not mount, or the kernel has no FUSE.
    fn mount() -> Option<Self> {
        use std::io::BufRead;
        let dir = tempfile::tempdir().unwrap();
        let mut server = std::process::Command::new(invariants::python())
            .args(["-c", SILENT])
            .arg(dir.path())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let silent = Self { dir, server: Some(server) };
        if line.trim() == "mounted" {
            return Some(silent);
        }
        root_can("mount a file system of its own (FUSE)", false);
        None
    }

    /// Ends the file system: whoever sleeps in it wakes up with an error.
    fn end(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
            // Where it was never mounted, there is nothing to undo.
            let _ = std::process::Command::new("umount").arg("-l").arg(self.dir.path()).output();
        }
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.end();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn w9_a_worker_that_even_kill_does_not_end_is_told_and_gets_no_second_copy() {
    let Some(mut silent) = Silent::mount() else { return };
    let mut lab = Lab::new();
    lab.limits.dump = Duration::from_millis(100);
    lab.limits.term = Duration::from_millis(100);
    lab.limits.kill = Duration::from_millis(300);
    let asleep = format!("if first(): os.stat('{}/x')", silent.dir.path().display());
    lab.script("asleep", &collector(60.0, &asleep));
    lab.script("good", &collector(0.1, "pass"));
    let running = lab.start_with(|spec| {
        spec.stop_grace = Duration::from_millis(100);
        spec.run_timeout = (spec.id == "asleep.asleep").then_some(Duration::from_secs(1));
    });
    let view = running.wait("asleep.asleep", "cannot be ended", |view| view.state == UnitState::Unkillable).await;
    assert!(view.why.unwrap().starts_with("hung: its run lasted longer than run_timeout, 1 s"));
    let pid = view.pid.unwrap();
    assert_eq!(worker_lab::state_of(pid), Some('D'));
    let runs = running.view("good.good").await.runs_ok;
    let good = running.wait("good.good", "runs on", |view| view.runs_ok > runs + 15).await;
    assert_eq!((good.restarts, good.runs_failed), (0, 0));
    let view = running.view("asleep.asleep").await;
    assert_eq!((view.state, view.pid, view.restarts), (UnitState::Unkillable, Some(pid), 0), "no second copy");
    let starts = || std::fs::read_to_string(lab.file("asleep/asleep.py.starts")).unwrap().lines().count();
    assert_eq!(starts(), 1);
    silent.end();
    running.wait("asleep.asleep", "runs again once it has ended", |view| view.runs_ok > 0 && view.restarts == 1).await;
    assert_eq!(starts(), 2);
    assert!(!lab.file("asleep/asleep.py.twice").exists(), "I2");
    running.stop(Duration::from_secs(60)).await;
    assert_eq!(lab.processes(), Vec::<u32>::new());
}

// --- W10 to W13, W17: what a script starts, and what it takes ---

const FAMILY: &str = "\
child = subprocess.Popen(['sleep', '1000'])
session = subprocess.Popen(['sleep', '1000'], start_new_session=True)
daemon = subprocess.run(['sh', '-c', 'setsid sleep 1000 >/dev/null 2>&1 & echo $!'], stdout=subprocess.PIPE)
(HERE / 'family').write_text(f'{child.pid} {session.pid} {int(daemon.stdout)}\\n')
";

fn inside(lines: &str) -> String {
    lines.lines().map(|line| format!("    {line}\n")).collect()
}

fn family(watched: &invariants::Watched, name: &str) -> Vec<u32> {
    wait_for("the family", || {
        let text =
            std::fs::read_to_string(watched.file(&format!("{name}/family"))).map_err(|error| error.to_string())?;
        let text = text.strip_suffix('\n').ok_or("half of it")?;
        Ok(text.split(' ').map(|pid| pid.parse().unwrap()).collect())
    })
}

#[test]
fn w10_w11_grandchildren_live_with_their_worker_and_end_with_it() {
    let case = Case::new();
    case.add("dies", "", &collector(60.0, &format!("if first():\n{}    os._exit(7)", inside(FAMILY))));
    case.add(
        "hangs",
        "run_timeout = \"2s\"\nstop_grace = \"300ms\"",
        &collector(60.0, &format!("if first():\n{}    time.sleep(1e8)", inside(FAMILY))),
    );
    case.add("lives", "", &collector(0.5, &format!("if first():\n{}", inside(FAMILY))));
    let watched = case.start();
    let living = family(&watched, "lives");
    for name in ["dies", "hangs"] {
        let gone = family(&watched, name);
        watched.wait_good(name, 1);
        for pid in gone {
            assert!(stat(pid).is_none(), "{name}: {pid} lives, or was not reaped, when the next copy runs");
        }
    }
    // The look at orphans comes once a second, a run of this script twice.
    let runs = watched.script("lives")["runs_ok"].as_u64().unwrap();
    watched.wait("lives", "several looks at orphans", |script| script["runs_ok"].as_u64() >= Some(runs + 6));
    for pid in &living {
        assert!(support::is_alive(*pid), "W11: a daemon lives as long as its worker");
    }
    watched.holds();
    for pid in living {
        assert!(!support::is_alive(pid));
    }
}

#[test]
fn w12_a_fork_bomb_is_cleared_away_and_the_agent_still_starts_workers() {
    let case = Case::new();
    // Two hundred at most: sessions of their own, half of them by a double fork, all ignoring TERM.
    let bomb = "\
if first():
    for number in range(100):
        pid = os.fork()
        if pid == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if number % 2: os.fork()
            with open(HERE / 'bomb', 'a') as f: f.write(f'{os.getpid()}\\n')
            while True: time.sleep(1000)
    time.sleep(1e8)";
    case.add("bomb", "run_timeout = \"3s\"\nstop_grace = \"300ms\"", &collector(60.0, bomb));
    case.add("victim", "", &collector(0.5, "pass"));
    let watched = case.start();
    let bombs = || -> Vec<u32> {
        let text = std::fs::read_to_string(watched.file("bomb/bomb")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    };
    wait_until("all of the bomb", || bombs().len() >= 150);
    let victim = watched.pid("victim");
    signal(victim, Signal::KILL);
    watched.wait("victim", "is another process beside the bomb", |script| {
        script["pid"].is_u64() && script["pid"] != victim && script["restarts"] == 1
    });
    watched.wait_log("bomb.bomb: hung");
    let took = wait_gone("the bomb", &bombs());
    println!("{} processes were gone {took:?} after the hang was told", bombs().len());
    watched.wait_good("bomb", 1);
    watched.holds();
}

#[test]
fn w13_w15_what_takes_all_memory_or_descriptors_fails_alone() {
    let case = Case::new();
    case.add("hog", "memory_max = \"160MiB\"", &collector(0.5, "if first():\n    self.hoard = b'x' * (1 << 31)"));
    case.add(
        "leaks",
        "memory_max = \"160MiB\"",
        &collector(0.1, "self.hoard = getattr(self, 'hoard', []) + [b'x' * (20 << 20)]"),
    );
    case.add("opens", "", &collector(0.5, "if first():\n    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))\n    files = []\n    while True: files.append(open('/dev/null'))"));
    let watched = case.start();
    let hog = watched.wait("hog", "failed and ran again", |script| {
        script["runs_failed"] == 1 && script["runs_ok"].as_u64() >= Some(1)
    });
    assert_eq!(hog["restarts"], 0, "{hog:#}");
    watched.wait_log("hog.hog: run raised MemoryError");
    // It fails, or it is replaced between two runs: either way nobody else does.
    watched.wait("leaks", "has come to its limit", |script| {
        script["runs_failed"].as_u64() >= Some(1) || script["restarts"].as_u64() >= Some(1)
    });
    let opens = watched.wait("opens", "failed and ran again", |script| {
        script["runs_failed"] == 1 && script["runs_ok"].as_u64() >= Some(1)
    });
    assert!(opens["last_error"]["text"].as_str().unwrap().contains("Too many open files"), "{opens:#}");
    assert_eq!(opens["restarts"], 0);
    watched.holds();
}

#[test]
fn w14_four_burners_cost_the_others_no_run() {
    let case = Case::new();
    for name in ["one", "two", "three", "four"] {
        case.add(
            name,
            "",
            &collector(60.0, "if first():\n    end = time.monotonic() + 4\n    while time.monotonic() < end: pass"),
        );
    }
    case.add("light", "", &collector(0.5, "self.feed_metric(measurement='light', fields={'n': self.n})"));
    let watched = case.start();
    for name in ["one", "two", "three", "four"] {
        watched.wait(name, "has burnt", |script| script["runs_ok"] == 1);
    }
    let light = watched.wait("light", "runs on", |script| script["runs_ok"].as_u64() >= Some(6));
    assert_eq!((&light["restarts"], &light["runs_failed"]), (&0.into(), &0.into()));
    watched.holds();
}

#[test]
fn w16_what_a_run_changes_of_its_process_reaches_nobody_else() {
    let case = Case::new();
    let wild = "\
os.chdir('/')
os.umask(0o777)
os.environ.clear()
for number in range(1, 32):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
os.nice(5)
try: os.setsid()
except PermissionError: pass
os.setpgid(0, 0) if os.getpgrp() != os.getpid() else None
self.feed_metric(measurement='wild', fields={'n': self.n})";
    case.add("wild", "", &collector(0.5, wild));
    case.add("closes", "", &collector(60.0, "if first():\n    os.closerange(3, 256)\n    time.sleep(1e8)"));
    let sees = "\
mask = os.umask(0o22)
os.umask(mask)
handlers = sum(1 for s in (1, 10, 12, 13) if signal.getsignal(s) == signal.SIG_IGN)
self.feed_metric(measurement='sees', fields={'umask': mask, 'nofile': resource.getrlimit(resource.RLIMIT_NOFILE)[0], 'nice': os.getpriority(os.PRIO_PROCESS, 0), 'home': 'HOME' in os.environ, 'cwd': os.getcwd() == str(HERE), 'ignored': handlers})";
    case.add("sees", "", &collector(0.2, sees));
    let watched = case.start();
    watched.wait("wild", "has run three times", |script| script["runs_ok"].as_u64() >= Some(3));
    watched.wait_log("closes.closes: closed its control socket");
    watched.wait_good("closes", 1);
    watched.wait("sees", "has seen it all", |script| script["runs_ok"].as_u64() >= Some(5));
    watched.agent.wait_delivered();
    let points = watched.root.points("metric");
    let seen: std::collections::BTreeSet<&str> =
        points.lines().filter(|line| line.starts_with("sees,")).map(|line| line.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(seen.len(), 1, "every run sees the same: {seen:?}");
    let seen = seen.first().unwrap();
    assert!(seen.contains("cwd=true") && seen.contains("home=true") && seen.contains("ignored=1.0"), "{seen}");
    watched.holds();
}

#[test]
fn w17_a_script_that_makes_itself_a_daemon_is_seen_to_end_and_its_daemon_goes() {
    let case = Case::new();
    let daemon = "\
if first():
    if os.fork() > 0:
        while not (HERE / 'daemon').exists(): time.sleep(0.01)
        os._exit(0)
    os.setsid()
    if os.fork() > 0: os._exit(0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
    (HERE / 'new').write_text(f'{os.getpid()}\\n')
    (HERE / 'new').rename(HERE / 'daemon')
    while True: time.sleep(1)";
    case.add("daemon", "", &collector(0.5, daemon));
    let watched = case.start();
    let daemon = watched.number_in("daemon/daemon");
    watched.wait_log("daemon.daemon: exited with code 0");
    watched.wait_good("daemon", 1);
    assert!(!support::is_alive(daemon), "it went before the next copy came");
    assert_eq!(watched.starts("daemon"), 2);
    watched.holds();
}

// --- W18 to W21: scripts of every sort ---

#[test]
fn w18_equal_names_are_told_apart_and_all_run() {
    let case = Case::new();
    let text = |measurement: &str| {
        let body = format!("self.feed_metric(measurement='{measurement}', fields={{'n': self.n}})");
        collector(0.5, &body).replace("class C(DataKitFramework):", "class Same(DataKitFramework):\n    name = 'same'")
    };
    case.root.script("left/same.py", &text("left"));
    case.root.script("right/same.py", &text("right"));
    let second = text("second");
    let (_, class) = second.split_once("class Same").unwrap();
    case.root.script("both/both.py", &format!("{}class Other{class}", text("both")));
    for folder in ["left", "right", "both"] {
        case.input(folder, "");
    }
    case.root.conf(
        "again.conf",
        &format!("[[inputs.pythond]]\nname = \"again\"\ncmd = {:?}\ndirs = [\"right\"]\n", invariants::python()),
    );
    let watched = case.start();
    let ids = ["left.same", "right.same@right", "right.same@again", "both.both"];
    for id in ids {
        watched.agent.wait_script(id, "runs", |script| script["runs_ok"].as_u64() >= Some(2));
    }
    for measurement in ["left,", "right,", "both,", "second,"] {
        wait_until("its points", || watched.root.points("metric").contains(measurement));
    }
    assert_eq!(watched.agent.script("both.both")["jobs"].as_array().unwrap().len(), 2);
    // The one file that two inputs name runs twice on purpose.
    std::fs::remove_file(watched.file("right/same.py.twice")).unwrap();
    watched.holds();
}

#[test]
fn w19_files_that_are_no_script_are_told_with_their_place_and_block_nobody() {
    let case = Case::new();
    let class = "class C(DataKitFramework):\n    interval = 0.5\n    def run(self): self.feed_metric(measurement='NAME', fields={'v': 1})\n";
    let good = [
        (
            "abc",
            "import abc\nfrom datakit_framework import DataKitFramework\nclass Base(DataKitFramework, metaclass=abc.ABCMeta):\n    @abc.abstractmethod\n    def get(self): ...\n    def run(self): self.feed_metric(measurement='abc', fields={'v': self.get()})\nclass C(Base):\n    interval = 0.5\n    def get(self): return 1\n".to_owned(),
        ),
        ("bom", format!("\u{feff}from datakit_framework import DataKitFramework\n{}", class.replace("NAME", "bom"))),
        ("stale", plain(&class.replace("NAME", "stale"))),
        ("readonly", plain(&class.replace("NAME", "readonly"))),
    ];
    for (name, text) in &good {
        case.add(name, "", text);
    }
    let bad = [
        ("syntax", "def f(:\n".to_owned(), "syntax/syntax.py:1"),
        ("tabs", "def f():\n\tif 1:\n        pass\n".to_owned(), "tabs/tabs.py:3"),
        ("missing", "import surely_not_there\n".to_owned(), "missing/missing.py:1"),
        ("symbol", "from os import surely_not_there\n".to_owned(), "symbol/symbol.py:1"),
        ("empty", String::new(), "empty/empty.py"),
        ("made", plain("class C(DataKitFramework):\n    def __init__(self, **kwargs):\n        raise RuntimeError('no device')\n    def run(self): pass"), "no device"),
        ("abstract", "import abc\nfrom datakit_framework import DataKitFramework\nclass C(DataKitFramework, metaclass=abc.ABCMeta):\n    @abc.abstractmethod\n    def run(self): ...\n".to_owned(), "abstract"),
    ];
    for (name, text, _) in &bad {
        case.add(name, "", text);
    }
    // Byte code of another text, as new as the file; and a place where none can be written.
    let cache = case.root.path().join("python.d/stale/__pycache__");
    std::fs::create_dir(&cache).unwrap();
    for version in 8..15 {
        std::fs::write(cache.join(format!("stale.cpython-3{version}.pyc")), b"\x00garbage").unwrap();
    }
    std::fs::write(case.root.path().join("python.d/readonly/__pycache__"), "in the way").unwrap();
    // What is no file at all.
    let odd = case.root.script("odd/odd.py", "x = 1\n").parent().unwrap().to_owned();
    std::fs::remove_file(odd.join("odd.py")).unwrap();
    std::os::unix::fs::symlink("/surely/not/there.py", odd.join("dangling.py")).unwrap();
    std::fs::File::create(odd.join("huge.py")).unwrap().set_len(50 << 20).unwrap();
    let made = std::process::Command::new("mkfifo").arg(odd.join("pipe.py")).status().unwrap();
    assert!(made.success());
    case.input("odd", "");

    let watched = case.start();
    for (name, _) in &good {
        watched.wait_good(name, 0);
        wait_until("its points", || watched.root.points("metric").contains(&format!("{name},")));
    }
    for (name, _, told) in &bad {
        let script =
            watched.wait(name, "is told", |script| script["why"].is_string() && script["state"] == "load-error");
        assert!(script["why"].as_str().unwrap().contains(told), "{told} in {script:#}");
    }
    let problems = watched.agent.status()["problems"].to_string();
    for (file, told) in
        [("dangling.py", "No such file"), ("huge.py", "52428800 bytes"), ("pipe.py", "is no regular file")]
    {
        assert!(problems.contains(file) && problems.contains(told), "{file} in {problems}");
    }
    watched.holds();
}

#[test]
fn w21_a_run_that_takes_longer_than_its_interval_never_piles_up() {
    let case = Case::new();
    for (name, takes) in [("nine", 0.18), ("eleven", 0.22), ("five", 1.0)] {
        let body = format!(
            "began = time.monotonic()\ntime.sleep({takes})\nself.feed_metric(measurement='{name}', fields={{'began': began}})"
        );
        case.add(name, "", &collector(0.2, &body));
    }
    let watched = case.start();
    for name in ["nine", "eleven", "five"] {
        watched.wait(name, "has run often", |script| script["runs_ok"].as_u64() >= Some(3));
    }
    watched.agent.wait_delivered();
    let points = watched.root.points("metric");
    for (name, least) in [("nine", 0.18), ("eleven", 0.22), ("five", 1.0)] {
        let began: Vec<f64> = points
            .lines()
            .filter(|line| line.starts_with(&format!("{name},")))
            .map(|line| line.split("began=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap())
            .collect();
        // On a grid of a fifth of a second: two starts are never closer than the next point of it behind the run.
        let next = (least / 0.2_f64).ceil() * 0.2;
        let spans = (began.last().unwrap() - began[0]) / next;
        assert!(began.len() as f64 - 1.0 <= spans + 1.0, "{name}: {began:?}");
        assert!(began.windows(2).all(|pair| pair[1] - pair[0] >= least), "{name}: {began:?}");
    }
    watched.holds();
}

/// The first process of a PID namespace: starts the agent there, waits for the death of a worker, and has a stranger take its number.
const STRANGER: &str = r#"
import os, signal, subprocess, sys, time
home, *agent = sys.argv[1:]
agent = subprocess.Popen(agent, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
def wait(check):
    until = time.monotonic() + 60
    while not check():
        if time.monotonic() > until: sys.exit("waited in vain")
        time.sleep(0.002)
def number(name):
    try: return int(open(home + "/" + name).read())
    except (OSError, ValueError): return 0
wait(lambda: number("pid"))
for turn in range(20):
    worker = number("pid")
    os.rename(home + "/pid", home + "/old")
    open(home + "/go", "w").close()
    wait(lambda: not os.path.exists("/proc/%d" % worker))
    with open("/proc/sys/kernel/ns_last_pid", "w") as f: f.write(str(worker - 1))
    stranger = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    wait(lambda: number("pid") not in (0, worker))
    if stranger.pid == worker: break
    stranger.kill(); stranger.wait()
else:
    sys.exit("nobody got the number")
os.kill(number("pid"), signal.SIGKILL)
os.rename(home + "/pid", home + "/old")
wait(lambda: number("pid"))
agent.terminate()
code = agent.wait()
print("agent", code, "stranger", "lives" if stranger.poll() is None else "killed")
"#;

#[test]
fn w22_a_stranger_with_the_number_of_a_dead_worker_is_let_alone() {
    let case = Case::new();
    if !has_pid_namespaces() {
        return;
    }
    let dies = "\
(HERE / 'new').write_text(f'{os.getpid()}\\n')
(HERE / 'new').rename(HERE / 'pid')
while not (HERE / 'go').exists(): time.sleep(0.002)
(HERE / 'go').unlink()
os._exit(1)";
    case.add("dies", "", &collector(60.0, dies));
    let agent = case.root.command(&["agent"]);
    let output = std::process::Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child", invariants::python(), "-c", STRANGER])
        .arg(case.root.path().join("python.d/dies"))
        .arg(agent.get_program())
        .args(agent.get_args())
        .env("HOME", case.root.path().join("home"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.trim(), "agent 0 stranger lives", "{output:?}");
    assert!(!case.root.path().join("python.d/dies/dies.py.twice").exists(), "I2");
    assert_eq!(Agent::descendants(case.root.path()), Vec::<u32>::new());
}

// --- W23, W24: many at once ---

/// Whatever happens in whatever order: a start is ordered only when there is no process, and after a stop none is.
#[test]
fn w23_no_order_of_events_starts_a_second_copy() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for round in 0..3000 {
        let start = Instant::now();
        let mut life = Life::new(LifeLimits { trip_score: 3.0, ..LifeLimits::default() }, round, start);
        let (mut now, mut has_process, mut stopped, mut starts) = (start, false, false, 0_u64);
        for _ in 0..80 {
            now += Duration::from_millis(next(40_000));
            let input = match next(17) {
                0..=1 => LifeInput::Slot,
                2 => LifeInput::Hello,
                3 => LifeInput::Ready,
                4 => LifeInput::RunBegan(0),
                5 => LifeInput::RunEnded { job: 0, ok: next(2) == 0 },
                6 => LifeInput::Fatal { why: "broken".to_owned(), permanent: next(2) == 0 },
                7 => LifeInput::ControlLost,
                8..=9 if has_process => LifeInput::Exited { why: "exited".to_owned(), clean: false },
                10 if has_process => LifeInput::NotSpawned { why: "no".to_owned(), permanent: next(2) == 0 },
                11 => LifeInput::Restart,
                12 if next(8) == 0 => LifeInput::Stop,
                13 => LifeInput::Changed,
                14 => LifeInput::Jobs { set: vec![(0, Duration::from_secs(next(100)))], gone: vec![1] },
                15 => LifeInput::Jobs { set: Vec::new(), gone: vec![0] },
                16 if next(2) == 0 => LifeInput::JobWaits(0),
                _ => LifeInput::Tick,
            };
            let ended = matches!(input, LifeInput::Exited { .. } | LifeInput::NotSpawned { .. });
            let began_anew = input == LifeInput::Restart;
            stopped = (stopped || input == LifeInput::Stop) && !began_anew;
            for order in life.step(now, input) {
                match order {
                    LifeAction::Spawn => {
                        assert!(!has_process, "a second copy");
                        assert!(!stopped, "a start after the stop");
                        has_process = true;
                        starts += 1;
                    }
                    LifeAction::Dump | LifeAction::Ask(_) | LifeAction::Terminate | LifeAction::Kill => {
                        assert!(has_process)
                    }
                }
            }
            has_process &= !ended;
            assert_eq!(life.has_process(), has_process, "{:?}", life.state());
        }
        assert!(life.restarts() <= starts);
    }
}

/// A worker that dies by itself after a few milliseconds, at another time in each life, and notes its start and any second copy.
const SHORT_LIVED: &str = r#"
import fcntl, json, os, random, select, socket, sys, time
control = socket.socket(fileno=int(os.environ["PYTHOND_CONTROL_FD"]))
control.settimeout(None)
script = json.loads(control.recv(65536))["file"]
alone = open(script + ".alone", "a")
try:
    fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    open(script + ".twice", "w")
with open(script + ".starts", "a") as f:
    f.write("x\n")
def send(number, kind, **fields):
    control.send(json.dumps({"t": kind, "n": number, **fields}).encode())
send(1, "hello", v=1, pid=os.getpid(), py="3.99.0", exe="", sdk="9.9.9")
send(2, "jobs", set=[{"i": 0, "key": "F", "every": 60}], gone=[])
send(3, "ready")
send(4, "run", i=0, k=1)
time.sleep(random.random() / 20)
send(5, "end", i=0, k=1, ms=1.0, ok=True, reports=1, points=1, refused=0, next_ms=60000)
select.select([control], [], [], random.random() / 10)
os._exit(0)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn w23_workers_that_end_just_when_they_are_restarted_or_stopped_have_one_life_each() {
    let mut lab = Lab::new();
    lab.limits.backoff_first = Duration::from_millis(10);
    lab.limits.backoff_max = Duration::from_millis(20);
    lab.fake_package(SHORT_LIVED);
    let names = ["a", "b", "c"];
    for name in names {
        lab.script(name, "");
    }
    let running = lab.start_with(|spec| {
        spec.cmd = invariants::python().to_owned();
        spec.run_timeout = Some(Duration::from_millis(40));
        spec.stop_grace = Duration::from_millis(20);
    });
    let starts = |name: &str| {
        let notes = std::fs::read_to_string(lab.file(&format!("{name}/{name}.py.starts")));
        notes.unwrap_or_default().lines().count()
    };
    for turn in 0..24_u64 {
        let name = names[turn as usize % 3];
        let before = starts(name);
        until("another life", || starts(name) > before).await;
        tokio::time::sleep(Duration::from_millis(turn * 17 % 120)).await; // the pace of the attack, not a wait for the supervisor
        for name in names {
            assert!(running.handle.restart(&format!("{name}.{name}")).await);
        }
    }
    running.stop(Duration::from_secs(60)).await;
    assert_eq!(lab.processes(), Vec::<u32>::new());
    for name in names {
        assert!(!lab.file(&format!("{name}/{name}.py.twice")).exists(), "I2: {name}");
        assert!(starts(name) >= 8, "{name} started {} times", starts(name));
    }
}

/// Stands in the place of an interpreter: a worker that costs next to nothing.
const LIGHT: &str = r#"
import fcntl, json, os, socket, sys
control = socket.socket(fileno=int(os.environ["PYTHOND_CONTROL_FD"]))
control.settimeout(None)
script = json.loads(control.recv(65536))["file"]
alone = open(script + ".alone", "a")
try:
    fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    open(script + ".twice", "w")
def send(number, kind, **fields):
    control.send(json.dumps({"t": kind, "n": number, **fields}).encode())
send(1, "hello", v=1, pid=os.getpid(), py="3.99.0", exe="", sdk="9.9.9")
send(2, "jobs", set=[{"i": 0, "key": "F", "every": 3600}], gone=[])
send(3, "ready")
send(4, "run", i=0, k=1)
send(5, "end", i=0, k=1, ms=1.0, ok=True, reports=1, points=1, refused=0, next_ms=3600000)
while control.recv(65536):
    os._exit(0)
"#;
const MANY: usize = 100;

#[test]
fn w24_a_hundred_workers_killed_at_once_are_back_and_not_in_step() {
    use std::os::unix::fs::PermissionsExt;
    let case = Case::new();
    let light = case.root.path().join("light");
    std::fs::write(&light, format!("#!{} -SEI\n{LIGHT}", invariants::python())).unwrap();
    std::fs::set_permissions(&light, std::fs::Permissions::from_mode(0o755)).unwrap();
    for number in 0..MANY {
        case.root.script(&format!("many/s{number}.py"), "# its interpreter never reads this\n");
    }
    case.input("many", &format!("cmd = {:?}", light.display().to_string()));
    let watched = case.start();
    let many = |watched: &invariants::Watched| -> Vec<serde_json::Value> {
        let status = watched.agent.status();
        status["units"].as_array().unwrap().iter().filter(|script| script["input"] == "many").cloned().collect()
    };
    let all_ran = |restarts: u64| {
        wait_for("all have run", || {
            let late: Vec<serde_json::Value> = many(&watched)
                .into_iter()
                .filter(|script| {
                    script["runs_ok"].as_u64() <= Some(restarts)
                        || script["restarts"] != restarts
                        || !script["pid"].is_u64()
                })
                .collect();
            if late.is_empty() { Ok(()) } else { Err(format!("{} are late, the first: {:#}", late.len(), late[0])) }
        })
    };
    all_ran(0);
    let workers: Vec<u32> =
        many(&watched).iter().map(|script| u32::try_from(script["pid"].as_u64().unwrap()).unwrap()).collect();
    assert_eq!(workers.len(), MANY);
    let killed = Instant::now();
    for pid in &workers {
        signal(*pid, Signal::KILL);
    }
    all_ran(1);
    println!("{MANY} workers were back {:?} after they were killed", killed.elapsed());
    let log = watched.cli_log();
    let pauses: std::collections::BTreeSet<&str> = log
        .lines()
        .filter(|line| line.contains("killed by signal 9"))
        .filter_map(|line| line.split("; restart in ").nth(1))
        .collect();
    assert!(pauses.len() >= 3, "the restarts are spread: {pauses:?}");
    watched.holds();
}

/// A process of this agent that nobody can find by its environment, nor by its session.
#[test]
fn w10_a_daemon_that_hides_is_ended_at_the_latest_with_the_agent() {
    let case = Case::new();
    let hides = "\
if first():
    child = subprocess.Popen(['sh', '-c', 'exec setsid sleep 1000 </dev/null >/dev/null 2>&1'], env={}, start_new_session=True, close_fds=True)
    (HERE / 'new').write_text(f'{child.pid}\\n')
    (HERE / 'new').rename(HERE / 'hidden')
    os._exit(3)";
    case.add("hides", "", &collector(60.0, hides));
    let watched = case.start();
    let hidden = watched.number_in("hides/hidden");
    watched.wait_log("hides.hides: exited with code 3");
    watched.wait_good("hides", 1);
    let root = watched.root.path().to_owned();
    watched.holds();
    let left = support::is_alive(hidden);
    signal(hidden, Signal::KILL);
    assert!(!left, "the daemon outlived the agent on {}", root.display());
    assert!(Agent::descendants(&root).is_empty());
}
