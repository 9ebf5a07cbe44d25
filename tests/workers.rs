//! Promises about workers with real processes: what a script does to itself reaches nobody else, is explained, and leaves nothing behind.

#[path = "support/worker_lab.rs"]
mod worker_lab;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pythond::supervisor::UnitState;
use pythond::worker::leftovers::sweep_leftovers;
use rustix::process::Signal;
use worker_lab::{Lab, PATIENCE, is_running, kill, number_in, own_memory, processes_of, state_of, until};

/// Leaves time for everything, and shortens nothing.
const UNHURRIED: Duration = Duration::from_secs(60);

// --- deaths ---

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_as_old_as_it_is_the_same_whatever_number_of_runs() {
    let lab = Lab::new();
    lab.collector("a", 0.1, "if (HERE / 'broken').exists(): raise OSError('broken')");
    std::fs::write(lab.file("a/broken"), "").unwrap();
    let running = lab.start();
    let early = running.wait("a.a", "fails", |view| view.state == UnitState::Failing && view.runs_failed > 0).await;
    let late = running.wait("a.a", "fails again", |view| view.runs_failed >= early.runs_failed + 5).await;
    assert_eq!((late.state, late.since), (UnitState::Failing, early.since));
    std::fs::remove_file(lab.file("a/broken")).unwrap();
    let mended = running.wait("a.a", "is mended", |view| view.state != UnitState::Failing).await;
    assert!(mended.since > early.since, "{mended:?}");
    running.stop(UNHURRIED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_exits_at_import_trips_the_breaker_and_runs_once_it_is_mended() {
    let mut lab = Lab::new();
    lab.limits.trip_score = 2.9;
    lab.script("bad", "import os, sys\nwith open(__file__ + '.starts', 'a') as f: f.write('x')\nprint('no licence', flush=True)\nos._exit(7)\n");
    let running = lab.start();
    let view = running.wait("bad.bad", "tripped", |view| view.next.is_some_and(|next| next.what == "next try")).await;
    assert_eq!(view.state, UnitState::Crashed);
    let why = view.why.unwrap();
    assert!(why.contains("exited with code 7") && why.contains("no licence"), "{why}");
    assert_eq!(view.last_words, ["no licence"]);
    assert!(view.next.unwrap().at.unwrap() > Instant::now() + Duration::from_secs(500));
    let starts = std::fs::read_to_string(lab.file("bad/bad.py.starts")).unwrap().len();
    assert_eq!(starts, 3, "one start per failure until it trips");

    lab.collector("bad", 0.1, "pass");
    let view = running.wait("bad.bad", "runs once mended", |view| view.runs_ok > 0).await;
    assert_eq!((view.state, view.why), (UnitState::Ok, None), "nothing is left of the failure");
    running.stop(UNHURRIED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segfault_names_the_signal_and_the_line() {
    let lab = Lab::new();
    lab.collector("segv", 60.0, "self.deep()\ndef deep(self):\n    pass");
    lab.script("segv", "import ctypes\nfrom datakit_framework import DataKitFramework\nclass C(DataKitFramework):\n    interval = 60\n    def run(self):\n        self.deep()\n    def deep(self):\n        ctypes.string_at(0)\n");
    let running = lab.start();
    let view = running.wait("segv.segv", "died", |view| view.restarts > 0 && view.why.is_some()).await;
    let why = view.why.unwrap();
    assert!(why.starts_with("killed by signal 11 (SIGSEGV) at segv/segv.py:8 in deep"), "{why}");
    assert!(view.stack.unwrap().contains("Segmentation fault"));
    running.stop(UNHURRIED).await;
    assert!(lab.cli_log(&running).contains("SIGSEGV"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_back_at_once_and_the_old_failure_is_forgotten_after_a_good_run() {
    let lab = Lab::new();
    lab.collector("good", 0.1, "pass");
    let running = lab.start();
    let first = running.wait("good.good", "runs", |view| view.runs_ok > 0).await.pid.unwrap();
    kill(first, Signal::KILL);
    let view = running.wait("good.good", "is another process", |view| view.pid.is_some_and(|pid| pid != first)).await;
    assert_eq!(view.restarts, 1);
    let runs = view.runs_ok;
    let view = running.wait("good.good", "runs again", |view| view.runs_ok > runs).await;
    assert_eq!((view.state, view.why), (UnitState::Ok, None));
    assert_eq!(state_of(first), None, "it is reaped");
    running.stop(UNHURRIED).await;
}

// --- hangs ---

async fn hangs(run: &str, place: &str) {
    let lab = Lab::new();
    lab.collector("hang", 60.0, run);
    lab.collector("good", 0.2, "pass");
    let running = lab.start_with(|spec| {
        spec.stop_grace = Duration::from_millis(300);
        spec.run_timeout = (spec.id == "hang.hang").then_some(Duration::from_secs(1));
    });
    let view = running.wait("hang.hang", "was hung and started again", |view| view.restarts > 0).await;
    let why = view.why.unwrap();
    assert!(why.starts_with("hung: its run lasted longer than run_timeout, 1 s") && why.contains(place), "{why}");
    assert!(view.stack.unwrap().contains("hang.py"));
    let log = lab.cli_log(&running);
    assert!(log.contains(place) && log.contains("most recent call first"), "{log}");
    let good = running.view("good.good").await;
    assert_eq!((good.restarts, good.runs_failed), (0, 0));
    running.stop(UNHURRIED).await;
    assert_eq!(lab.processes(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_loop_is_found_with_its_stack_and_replaced() {
    hangs("while True: pass", "hang/hang.py:7 in run").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_in_c_that_keeps_the_lock_is_found_with_its_stack_and_replaced() {
    hangs("sum(range(10**13))", "hang/hang.py:7 in run").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_a_hang_but_a_script_that_prints_may_take_its_time() {
    let mut lab = Lab::new();
    lab.limits.silence_min = Duration::from_secs(1);
    lab.limits.overdue_min = Duration::from_millis(200);
    lab.collector("silent", 0.01, "time.sleep(1e6)");
    lab.collector("talks", 0.01, "while True:\n    print('still here', flush=True)\n    time.sleep(0.02)");
    let running = lab.start_with(|spec| spec.stop_grace = Duration::from_millis(200));
    running
        .wait("talks.talks", "takes longer than its interval", |view| {
            view.state == UnitState::Running && view.why.is_some()
        })
        .await;
    let view = running.wait("silent.silent", "was hung twice", |view| view.restarts >= 2).await;
    assert!(view.why.unwrap().starts_with("hung: no sign of life for 1 s, at silent/silent.py:7 in run"));
    assert_eq!(running.view("talks.talks").await.restarts, 0);
    running.stop(UNHURRIED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_process_counts_as_hung_and_is_killed() {
    let lab = Lab::new();
    lab.collector("stopped", 0.2, "time.sleep(0.5)");
    let running = lab.start_with(|spec| {
        spec.stop_grace = Duration::from_millis(200);
        spec.run_timeout = Some(Duration::from_secs(2));
    });
    let pid = running.wait("stopped.stopped", "runs", |view| view.runs_ok > 0).await.pid.unwrap();
    // In the middle of a run, so that this is what lasts too long.
    running.wait("stopped.stopped", "is in a run", |view| view.runs_ok > 0 && view.next.is_none()).await;
    kill(pid, Signal::STOP);
    running.wait("stopped.stopped", "was replaced", |view| view.pid.is_some_and(|now| now != pid)).await;
    assert_eq!(state_of(pid), None);
    running.stop(UNHURRIED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_hang_at_import_keep_nobody_from_starting() {
    let mut lab = Lab::new();
    lab.limits.load = Duration::from_secs(600);
    for number in 0..2 * std::thread::available_parallelism().unwrap().get() + 1 {
        lab.script(&format!("a{number}"), "import time\ntime.sleep(1e6)\n");
    }
    lab.collector("z", 0.1, "pass");
    let running = lab.start_with(|spec| spec.stop_grace = Duration::from_millis(200));
    running.wait("z.z", "runs", |view| view.runs_ok > 0).await;
    let view = running.view("a0.a0").await;
    assert_eq!((view.state, view.restarts), (UnitState::Starting, 0));
    running.stop(UNHURRIED).await;
    assert_eq!(lab.processes(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_at_import_is_ended_and_shows_its_line() {
    let mut lab = Lab::new();
    lab.limits.load = Duration::from_secs(1);
    lab.script("slow", "import time\ntime.sleep(1e6)\n");
    let running = lab.start_with(|spec| spec.stop_grace = Duration::from_millis(200));
    let view = running.wait("slow.slow", "is given up", |view| view.restarts > 0).await;
    assert!(view.why.unwrap().starts_with("was still loading after 1 s, at slow/slow.py:2 in <module>"));
    running.stop(UNHURRIED).await;
}

// --- stops ---

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_the_run_end_and_kills_nothing() {
    let lab = Lab::new();
    lab.collector("late", 60.0, "(HERE / 'began').touch()\ntime.sleep(1)\n(HERE / 'ended').touch()");
    let running = lab.start_with(|spec| spec.stop_grace = UNHURRIED);
    until("the run has begun", || lab.file("late/began").exists()).await;
    // A worker that has not been heard of yet would be killed.
    running.wait("late.late", "is known to run", |view| view.state == UnitState::Running).await;
    running.stop(UNHURRIED * 2).await;
    assert!(lab.file("late/ended").exists());
    assert_eq!(lab.processes(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_want_to_stop_is_gone_within_the_time_given() {
    let lab = Lab::new();
    let ignore = "for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)\n(HERE / 'began').touch()\n";
    lab.collector("c", 60.0, &format!("{ignore}sum(range(10**13))"));
    lab.collector("python", 60.0, &format!("{ignore}while True: pass"));
    lab.collector("sleeps", 60.0, &format!("{ignore}time.sleep(1e6)"));
    let running = lab.start();
    for name in ["c", "python", "sleeps"] {
        until("the run has begun", || lab.file(&format!("{name}/began")).exists()).await;
    }
    let took = running.stop(Duration::from_millis(6500)).await;
    assert!(took < Duration::from_secs(7), "{took:?}");
    assert_eq!(lab.processes(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_during_the_start_leaves_nothing() {
    let lab = Lab::new();
    for number in 0..6 {
        lab.collector(&format!("s{number}"), 1.0, "pass");
    }
    let running = lab.start();
    running.stop(UNHURRIED).await;
    assert_eq!(lab.processes(), Vec::<u32>::new());
}

const THREE_KINDS: &str = "\
child = subprocess.Popen(['sleep', '1000'])
session = subprocess.Popen(['sleep', '1000'], start_new_session=True)
daemon = subprocess.run(['sh', '-c', 'setsid sleep 1000 & echo $!'], stdout=subprocess.PIPE)
for name, pid in ('child', child.pid), ('session', session.pid), ('daemon', int(daemon.stdout)):
    (HERE / name).write_text(f'{pid}\\n')
";

async fn three_kinds(lab: &Lab) -> [u32; 3] {
    let mut pids = [0; 3];
    for (pid, name) in pids.iter_mut().zip(["child", "session", "daemon"]) {
        *pid = number_in(&lab.file(&format!("family/{name}"))).await;
    }
    pids
}

#[tokio::test(flavor = "multi_thread")]
async fn grandchildren_live_with_their_worker_and_are_gone_after_a_stop() {
    let lab = Lab::new();
    // The pipe of `daemon` must not be held open by what it starts.
    lab.collector("family", 60.0, &THREE_KINDS.replace("1000 &", "1000 >/dev/null 2>&1 &"));
    let running = lab.start();
    let family = three_kinds(&lab).await;
    let worker = running.wait("family.family", "has run", |view| view.runs_ok > 0).await.pid.unwrap();
    // Orphans are looked at once a second; the daemon of a live worker is let live.
    until("a look at orphans", || lab.workers().len() == 4).await;
    tokio::time::timeout(PATIENCE, running.handle.snapshot()).await.unwrap();
    assert!(family.iter().all(|pid| is_running(*pid)));
    running.stop(UNHURRIED).await;
    for pid in family.into_iter().chain([worker]) {
        assert_eq!(state_of(pid), None, "neither running nor a zombie");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grandchildren_are_gone_before_the_next_copy_starts() {
    let lab = Lab::new();
    let run = format!(
        "if (HERE / 'child').exists():\n    time.sleep(1e6)\n{}os._exit(1)\n",
        THREE_KINDS.replace("1000 &", "1000 >/dev/null 2>&1 &")
    );
    lab.collector("family", 60.0, &run);
    let running = lab.start();
    let family = three_kinds(&lab).await;
    running.wait("family.family", "is started again", |view| view.restarts == 1 && view.pid.is_some()).await;
    for pid in family {
        assert_eq!(state_of(pid), None, "neither running nor a zombie");
    }
    running.stop(Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_held_open_by_a_stranger_does_not_delay_the_end() {
    let lab = Lab::new();
    // Its environment is empty and its session is its own: neither cookie nor group finds it.
    lab.collector("holder", 60.0, "child = subprocess.Popen(['sleep', '300'], env={}, start_new_session=True)\n(HERE / 'pid').write_text(f'{child.pid}\\n')\ntime.sleep(0.2)\nos._exit(3)");
    let running = lab.start();
    let stranger = number_in(&lab.file("holder/pid")).await;
    let began = Instant::now();
    running.wait("holder.holder", "its end is seen", |view| view.restarts > 0).await;
    assert!(began.elapsed() < Duration::from_secs(20));
    running.stop(UNHURRIED).await;
    kill(stranger, Signal::KILL);
}

// --- what is said ---

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_blocks_nobody_and_costs_no_memory() {
    let lab = Lab::new();
    lab.collector("flood", 3600.0, "line = b'x' * 999 + b'\\n'\nblock = line * 100\nfor _ in range(1000):\n    os.write(1, block)\nos.write(2, b'y' * 5_000_000)");
    lab.collector("good", 0.2, "pass");
    let before = own_memory();
    let running = lab.start();
    let mut slowest = Duration::ZERO;
    let start = Instant::now();
    loop {
        let asked = Instant::now();
        let view = running.view("flood.flood").await;
        slowest = slowest.max(asked.elapsed());
        if view.runs_ok == 1 {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{view:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let view = running.wait("flood.flood", "counts what was dropped", |view| view.output_dropped > 90_000).await;
    assert_eq!(view.restarts, 0);
    let good = running.wait("good.good", "runs on", |view| view.runs_ok > 2).await;
    assert_eq!((good.restarts, good.runs_failed), (0, 0));
    assert!(slowest < Duration::from_secs(2), "the status answers meanwhile; the slowest took {slowest:?}");
    let grown = own_memory().saturating_sub(before);
    assert!(grown < 60 << 20, "grew by {grown} bytes");
    running.stop(UNHURRIED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_raises_costs_no_process_and_one_log_entry() {
    let lab = Lab::new();
    lab.collector("raises", 0.05, "row = {'r_await': 1}\nreturn row['await']");
    let running = lab.start();
    let view = running.wait("raises.raises", "failed often", |view| view.runs_failed >= 5).await;
    assert_eq!((view.state, view.restarts), (UnitState::Failing, 0));
    let why = view.why.unwrap();
    assert!(why.contains("KeyError: 'await' at raises/raises.py:8 in run"), "{why}");
    assert!(view.last_error.unwrap().times >= 5);
    running.stop(UNHURRIED).await;
    let log = lab.cli_log(&running);
    assert_eq!(log.matches("Traceback").count(), 1, "{log}");
    assert!(log.contains("return row['await']"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_cannot_be_loaded_waits_for_a_change() {
    let lab = Lab::new();
    lab.script("broken", "def f(:\n");
    lab.script("missing", "import surely_not_there\n");
    let running = lab.start();
    let view = running.wait("broken.broken", "is blocked", |view| view.state == UnitState::LoadError).await;
    let why = view.why.unwrap();
    assert!(why.contains("broken/broken.py:1") && why.contains("[PD0201]"), "{why}");
    let next = view.next.unwrap();
    assert_eq!((next.what, next.at_change), ("next try", true));
    let view = running.wait("missing.missing", "is blocked", |view| view.state == UnitState::LoadError).await;
    let why = view.why.unwrap();
    assert!(
        why.contains("missing/missing.py:1") && why.contains("surely_not_there") && why.contains("[PD0202]"),
        "{why}"
    );
    assert_eq!(view.restarts, 0, "it is not tried again unchanged");
    lab.collector("broken", 0.1, "pass");
    running.wait("broken.broken", "runs once mended", |view| view.state == UnitState::Ok).await;
    running.stop(UNHURRIED).await;
}

// --- starts ---

#[tokio::test(flavor = "multi_thread")]
async fn an_interpreter_that_cannot_be_used_is_named_with_the_reason() {
    let lab = Lab::new();
    let put = |name: &str, text: &str, mode: u32| {
        let path = lab.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let cases = [
        ("missing", "/surely/not/there".to_owned(), "No such file"),
        ("path", "surely-not-on-path".to_owned(), "is not on the PATH"),
        ("mode", put("plain", "", 0o644), "is not executable"),
        ("folder", lab.path().display().to_string(), "is a directory"),
        ("garbage", put("garbage", "\u{1}\u{2}\u{3}", 0o755), "garbage` a Python 3?"),
        (
            "shebang",
            put("shebang", "#!/surely/not/there\n", 0o755),
            "the interpreter that it names in turn is not there",
        ),
        ("other", "/bin/true".to_owned(), "is `/bin/true` a Python 3?"),
    ];
    for (name, ..) in &cases {
        lab.collector(name, 1.0, "pass");
    }
    let by_id: BTreeMap<String, String> =
        cases.iter().map(|(name, cmd, _)| (format!("{name}.{name}"), cmd.clone())).collect();
    let running = lab.start_with(|spec| spec.cmd = by_id[&spec.id].clone());
    for (name, _, reason) in &cases {
        let id = format!("{name}.{name}");
        let view = running.wait(&id, "is explained", |view| view.why.is_some()).await;
        assert!(view.why.as_ref().unwrap().contains(reason), "{name}: {view:#?}");
    }
    assert_eq!(running.view("mode.mode").await.state, UnitState::LoadError);
    running.stop(UNHURRIED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_scripts_start_together() {
    let lab = Lab::new();
    for number in 0..20 {
        lab.collector(&format!("s{number}"), 0.5, "pass");
    }
    let running = lab.start();
    for number in 0..20 {
        running.wait(&format!("s{number}.s{number}"), "runs", |view| view.runs_ok > 0).await;
    }
    assert_eq!(lab.workers().len(), 20);
    running.stop(UNHURRIED).await;
    assert_eq!(lab.processes(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_a_session_of_its_own_with_its_limits_and_nothing_of_the_agents() {
    let lab = Lab::new();
    // As a file that the agent got open from its parent.
    let leak = std::fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    lab.collector(
        "about",
        60.0,
        "import json, resource\nfacts = {'fds': sorted(int(fd) for fd in os.listdir('/proc/self/fd')), 'sid': os.getsid(0), 'pgid': os.getpgrp(), 'pid': os.getpid(), 'nice': os.getpriority(os.PRIO_PROCESS, 0), 'core': resource.getrlimit(resource.RLIMIT_CORE)[0], 'files': resource.getrlimit(resource.RLIMIT_NOFILE)[0], 'data': resource.getrlimit(resource.RLIMIT_DATA)[0], 'cwd': os.getcwd(), 'extra': os.environ['EXTRA'], 'stdin': os.readlink('/proc/self/fd/0'), 'oom': int(open('/proc/self/oom_score_adj').read())}\n(HERE / 'new').write_text(json.dumps(facts))\n(HERE / 'new').rename(HERE / 'facts')",
    );
    let running = lab.start_with(|spec| {
        spec.nice = 7;
        spec.memory_max = Some(512 << 20);
        spec.envs = vec![("EXTRA".to_owned(), "given".to_owned())];
    });
    let path = lab.file("about/facts");
    until("the facts", || path.exists()).await;
    let facts: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let pid = running.view("about.about").await.pid.unwrap();
    assert_eq!((&facts["pid"], &facts["sid"], &facts["pgid"]), (&pid.into(), &pid.into(), &pid.into()));
    assert_eq!((&facts["nice"], &facts["core"], &facts["data"]), (&7.into(), &0.into(), &(1 << 30).into()));
    assert!(facts["files"].as_u64().unwrap() <= 1024);
    assert_eq!((&facts["extra"], &facts["stdin"], &facts["oom"]), (&"given".into(), &"/dev/null".into(), &500.into()));
    assert_eq!(facts["cwd"], lab.file("about").display().to_string());
    let inherited = |fd: &&serde_json::Value| (3..100).contains(&fd.as_u64().unwrap());
    // One is the listing itself.
    assert!(facts["fds"].as_array().unwrap().iter().filter(inherited).count() <= 1, "{facts}");
    drop(leak);
    running.stop(UNHURRIED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_over_its_memory_fails_alone() {
    let lab = Lab::new();
    lab.collector("hog", 0.2, "b'x' * (2 << 30)");
    let running = lab.start_with(|spec| spec.memory_max = Some(256 << 20));
    let view = running.wait("hog.hog", "failed", |view| view.runs_failed > 0).await;
    assert!(view.why.unwrap().contains("MemoryError"));
    running.stop(UNHURRIED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_and_run_now_do_what_they_say() {
    let lab = Lab::new();
    lab.collector("rare", 3600.0, "pass");
    let running = lab.start();
    let first = running.wait("rare.rare", "has run", |view| view.runs_ok == 1).await.pid.unwrap();
    assert!(running.handle.run_now("rare.rare").await);
    running.wait("rare.rare", "has run again", |view| view.runs_ok == 2).await;
    assert!(running.handle.restart("rare.rare").await);
    let view = running.wait("rare.rare", "runs anew", |view| view.runs_ok == 3).await;
    assert_ne!(view.pid, Some(first));
    assert_eq!((view.state, view.why), (UnitState::Ok, None));
    assert!(!running.handle.restart("nobody").await);
    assert!(!running.handle.run_now("nobody").await);
    running.stop(UNHURRIED).await;
}

/// The kernel sends the parent-death signal when the thread ends that started the process; threads of a pool end when they idle.
#[test]
fn workers_outlive_the_threads_of_the_pool() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_keep_alive(Duration::from_millis(50))
        .on_thread_stop(move || {
            count.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .unwrap();
    runtime.block_on(async {
        let lab = Lab::new();
        lab.collector("steady", 0.1, "pass");
        let running = lab.start();
        let pid = running.wait("steady.steady", "runs", |view| view.runs_ok > 0).await.pid;
        let storm = (0..50).map(|_| tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(20))));
        for task in storm.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        until("the threads of the pool ended", || ended.load(Ordering::SeqCst) >= 30).await;
        let runs = running.view("steady.steady").await.runs_ok;
        let view = running.wait("steady.steady", "runs on", |view| view.runs_ok > runs + 3).await;
        assert_eq!((view.pid, view.restarts), (pid, 0));
        running.stop(UNHURRIED).await;
    });
}

// --- the control socket ---

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_closes_its_control_socket_is_replaced() {
    let lab = Lab::new();
    lab.collector("closes", 60.0, "os.closerange(3, 4096)\ntime.sleep(1e6)");
    let running = lab.start();
    let view = running.wait("closes.closes", "is replaced", |view| view.restarts > 0).await;
    assert!(view.why.unwrap().starts_with("closed its control socket"));
    running.stop(UNHURRIED).await;
    assert_eq!(lab.processes(), Vec::<u32>::new());
}

/// Speaks the frames as the name of the script's folder says.
const FAKE: &str = include_str!("support/worker_fake.py");

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_speaks_nonsense_is_told_from_one_that_says_nothing() {
    let mut lab = Lab::new();
    lab.limits.spawn = Duration::from_secs(3);
    lab.limits.load = Duration::from_secs(3);
    lab.fake_package(FAKE);
    // The fake is no zygote.
    lab.zygote = None;
    for name in ["nothing", "never_ready", "garbage", "other_version", "leaves"] {
        lab.script(name, "");
    }
    let running = lab.start_with(|spec| spec.stop_grace = Duration::from_millis(200));
    let view = running.wait("garbage.garbage", "runs all the same", |view| view.runs_ok >= 3).await;
    assert_eq!((view.state, view.why, view.restarts, view.frames_lost), (UnitState::Ok, None, 0, 7));
    let view = running.wait("other_version.other_version", "runs all the same", |view| view.runs_ok >= 1).await;
    assert_eq!((view.state, view.restarts), (UnitState::Ok, 0));
    let view = running.wait("nothing.nothing", "is given up", |view| view.restarts > 0).await;
    assert!(view.why.unwrap().starts_with("did not start within 3 s"));
    let view = running.wait("never_ready.never_ready", "is given up", |view| view.restarts > 0).await;
    assert!(view.why.unwrap().starts_with("was still loading after 3 s"));
    let view = running.wait("leaves.leaves", "ended", |view| view.restarts > 0).await;
    assert!(view.why.unwrap().contains("exited with code 0"));
    running.stop(UNHURRIED).await;
    assert_eq!(lab.processes(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_resources_is_shown_whole_or_not_at_all_with_the_reason() {
    let mut lab = Lab::new();
    lab.fake_package(FAKE);
    // The fake is no zygote.
    lab.zygote = None;
    let promises = [
        ("answers_twice", None),
        ("loses_a_piece", Some("a part of the answer was lost, because the agent did not read in time")),
        ("has_no_end", Some("its worker told only 2 rows within 5 s, and there are more")),
        ("dies_when_asked", Some("its process has just ended")),
        ("says_nothing", Some("the process did not answer in time; the machine may be very busy")),
    ];
    for (name, _) in promises {
        lab.script(name, "");
    }
    lab.limits.backoff_first = Duration::from_secs(3600);
    lab.limits.backoff_max = Duration::from_secs(3600);
    let running = lab.start_with(|spec| spec.stop_grace = Duration::from_millis(200));
    for (name, _) in promises {
        running.wait(&format!("{name}.{name}"), "runs", |view| view.runs_ok >= 1).await;
    }
    let tables = promises.map(|(name, _)| {
        let handle = running.handle.clone();
        tokio::spawn(async move { handle.resources(&format!("{name}.{name}")).await.unwrap() })
    });
    for ((name, why), table) in promises.into_iter().zip(tables) {
        let table = table.await.unwrap();
        let rows = if why.is_none() { vec![vec!["a".to_owned()]] } else { Vec::new() };
        assert_eq!((table.why.as_deref(), table.rows), (why, rows), "{name}");
    }
    running.wait("dies_when_asked.dies_when_asked", "is gone", |view| view.pid.is_none()).await;
    let table = running.handle.resources("dies_when_asked.dies_when_asked").await.unwrap();
    assert_eq!(table.why.as_deref(), Some("it has no process: exited with code 3"));
    assert_eq!(running.handle.resources("nobody").await, None);
    running.stop(UNHURRIED).await;
}

// --- the end of the agent ---

/// Not a test: another process runs it as an agent that is killed.
#[test]
fn mini_agent() {
    let Some(root) = std::env::var_os("WORKERS_MINI_AGENT") else { return };
    let root = Path::new(&root);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let core = root.join("core");
        pythond::worker::sdk::write(&core).unwrap();
        let dirs: Vec<_> =
            std::fs::read_dir(root.join("python.d")).unwrap().map(|entry| entry.unwrap().path()).collect();
        let mut input = pythond::config::InputTable::plain("lab", "python3", root.to_owned());
        input.dirs = dirs;
        let counters = pythond::telemetry::counters::Counters::default();
        let _handle = pythond::supervisor::start(
            pythond::worker::discover::scripts(&[input]).specs,
            pythond::supervisor::SupervisorSettings {
                hostname: "web01".to_owned(),
                state_dir: root.join("state"),
                last_good: root.join("last-good"),
                core,
                run_dir: root.join("run"),
                socket: root.join("no.sock"),
                address: ([127, 0, 0, 1], 9).into(),
                limits: pythond::supervisor::LifeLimits::default(),
                zygote: env!("CARGO_CRATE_NAME")
                    .ends_with("_forked")
                    .then(pythond::supervisor::ZygoteSettings::default),
                no_guard: Some("only the agent has one".to_owned()),
            },
            pythond::worker::roster::Roster::default(),
            pythond::telemetry::files::ScriptLogs::open(root.join("logs"), counters.clone()),
            counters,
        )
        .unwrap();
        std::future::pending::<()>().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_die_with_a_killed_agent_and_the_next_start_sweeps_what_they_left() {
    let (lab, other) = (Lab::new(), Lab::new());
    lab.collector("idle", 3600.0, "(HERE / 'began').touch()");
    lab.collector("c", 3600.0, "(HERE / 'began').touch()\nsum(range(10**13))");
    lab.collector("stopped", 3600.0, "(HERE / 'began').touch()\nos.kill(os.getpid(), signal.SIGSTOP)");
    lab.collector(
        "family",
        3600.0,
        &format!("{}(HERE / 'began').touch()", THREE_KINDS.replace("1000 &", "1000 >/dev/null 2>&1 &")),
    );
    other.collector("bystander", 0.2, "pass");
    let bystander = other.start();
    let mini_agent = concat!(module_path!(), "::mini_agent").split_once("::").unwrap().1;
    let mut agent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", mini_agent, "--nocapture"])
        .env("WORKERS_MINI_AGENT", lab.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for name in ["idle", "c", "stopped", "family"] {
        until("the run has begun", || lab.file(&format!("{name}/began")).exists()).await;
    }
    let family = three_kinds(&lab).await;
    let mut workers = lab.workers();
    workers.retain(|pid| !family.contains(pid));
    assert_eq!(workers.len(), 4);
    workers.extend(lab.zygotes());

    agent.kill().unwrap();
    let killed = Instant::now();
    until("all workers are dead", || !workers.iter().any(|pid| is_running(*pid))).await;
    let took = killed.elapsed();
    agent.wait().unwrap();
    assert!(took < Duration::from_secs(1), "{took:?}");

    let pid = bystander.wait("bystander.bystander", "runs", |view| view.runs_ok > 0).await.pid.unwrap();
    sweep_leftovers(&lab.path().join("run")).await;
    assert_eq!(processes_of(&lab.run_dir()), Vec::<u32>::new());
    assert!(family.iter().all(|pid| !is_running(*pid)));
    assert!(is_running(pid), "a worker of another run directory is let alone");
    bystander.stop(UNHURRIED).await;
}
