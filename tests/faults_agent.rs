//! The rows A of `tests/FAULTS.md`: what happens to the agent itself. After each, the invariants hold.

#[path = "support/invariants.rs"]
mod invariants;
#[path = "support/machine.rs"]
mod machine;
mod support;

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use invariants::{Case, Watched, collector, descendants, python, resident_kib, signal, stat, wait_gone, witness_runs};
use machine::{SmallDisk, has_pid_namespaces, installed};
use rustix::process::Signal;
use serde_json::Value;
use support::{Agent, Root, http, is_alive, wait_for, wait_until};

// --- A1, A3: ends ---

/// Ten of each kind.
const KINDS: [(&str, &str); 5] = [
    ("idle", "self.feed_metric(measurement='idle', fields={'n': self.n})"),
    ("busy", "(HERE / 'began').touch()\nwhile True:\n    print('still here', flush=True)\n    time.sleep(0.5)"),
    ("stopped", "(HERE / 'began').touch()\nos.kill(os.getpid(), signal.SIGSTOP)"),
    ("hung", "(HERE / 'began').touch()\nctypes.PyDLL(None).sleep(100000)"),
    (
        "daemons",
        "subprocess.Popen(['sh', '-c', 'setsid sleep 1000 & exec sleep 1000'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n(HERE / 'began').touch()",
    ),
];
const OF_EACH: usize = 10;

fn workers_of(agent: &Agent) -> Vec<u32> {
    let status = agent.status();
    let scripts = status["units"].as_array().unwrap();
    scripts.iter().filter_map(|script| u32::try_from(script["pid"].as_u64()?).ok()).collect()
}

#[test]
fn a1_fifty_workers_of_every_kind_die_with_a_killed_agent_and_come_back_once() {
    let case = Case::new();
    for (kind, body) in KINDS {
        for number in 0..OF_EACH {
            case.add(&format!("{kind}{number}"), "", &collector(3600.0, body));
        }
    }
    let watched = case.start();
    let names: Vec<String> =
        KINDS.iter().flat_map(|(kind, _)| (0..OF_EACH).map(move |number| format!("{kind}{number}"))).collect();
    for name in &names {
        if name.starts_with("idle") {
            watched.wait(name, "has run", |script| script["points_accepted"] == 1);
        } else {
            wait_until("its run has begun", || watched.file(&format!("{name}/began")).exists());
        }
    }
    let workers = workers_of(&watched.agent);
    assert_eq!(workers.len(), 1 + names.len());
    let family = descendants(watched.agent.pid());
    assert!(family.len() >= workers.len() + 2 * OF_EACH, "the daemons run: {}", family.len());
    let Watched { agent, root, .. } = watched;
    let killed = Instant::now();
    agent.kill();
    wait_gone("all workers", &workers);
    println!("{} workers were gone {:?} after the agent was killed", workers.len(), killed.elapsed());

    let began = Instant::now();
    let agent = root.agent();
    wait_for("one copy of each", || {
        let there = workers_of(&agent);
        if there.len() == workers.len() { Ok(()) } else { Err(format!("{} are there", there.len())) }
    });
    println!("{} workers were started {:?} after the next agent was", workers.len(), began.elapsed());
    for (pid, born) in &family {
        assert!(!invariants::lives(*pid, *born), "{pid} is of the life before");
    }
    let again = workers_of(&agent);
    assert!(again.iter().all(|pid| !workers.contains(pid)));
    let watched = Watched::new(root, agent);
    for name in &names {
        wait_until("its second start", || watched.starts(name) == 2);
        assert_eq!(watched.script(name)["restarts"], 0);
    }
    watched.holds();
}

/// Ends the agent with this signal alone; its exit code is asked for after it has gone.
fn ends_by(signal: Signal) {
    let watched = Case::new().start();
    let workers = workers_of(&watched.agent);
    let Watched { agent, root, .. } = watched;
    agent.signal(signal);
    let took = wait_gone("the agent", &[agent.pid()]);
    assert!(took < Duration::from_secs(9), "{signal:?}: {took:?}");
    assert_eq!(agent.stop().0, 0, "{signal:?}");
    assert!(workers.iter().all(|pid| !is_alive(*pid)));
    assert_eq!(Agent::descendants(root.path()), Vec::<u32>::new());
}

#[test]
fn a3_int_and_quit_end_the_agent_in_order() {
    std::thread::scope(|scope| {
        for signal in [Signal::INT, Signal::QUIT] {
            scope.spawn(move || ends_by(signal));
        }
    });
}

#[test]
fn a3_other_signals_end_nothing_and_a_second_term_does_no_harm() {
    let case = Case::new();
    case.add(
        "late",
        "",
        &collector(
            60.0,
            "(HERE / 'began').touch()\ntime.sleep(1)\nself.feed_metric(measurement='late', fields={'v': 1})",
        ),
    );
    let watched = case.start();
    let before = workers_of(&watched.agent);
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2, Signal::PIPE, Signal::WINCH, Signal::CHILD] {
        watched.agent.signal(signal);
    }
    let runs = watched.script("witness")["runs_ok"].as_u64().unwrap();
    watched.wait("witness", "runs on", |script| script["runs_ok"].as_u64() >= Some(runs + 4));
    assert_eq!(workers_of(&watched.agent), before, "nobody is restarted");
    wait_until("a run is under way, or done", || watched.file("late/began").exists());
    // `holds` sends the second one.
    watched.agent.wait_delivered();
    let Watched { agent, root, .. } = watched;
    agent.signal(Signal::TERM);
    agent.signal(Signal::INT);
    let (code, took) = agent.stop();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(9), "{took:?}");
    assert_eq!(Agent::descendants(root.path()), Vec::<u32>::new());
    assert!(root.points("metric").contains("late,"), "the run that was under way has reported");
}

#[test]
fn a3_a_stop_at_any_moment_of_the_start_leaves_nothing() {
    let root = Root::new();
    for number in 0..4 {
        root.script(&format!("s{number}/s.py"), &collector(1.0, "pass"));
        root.conf(
            &format!("s{number}.conf"),
            &format!("[[inputs.pythond]]\nname = \"s{number}\"\ncmd = {:?}\ndirs = [\"s{number}\"]\n", python()),
        );
    }
    let mut ended_in_order = 0;
    for turn in 0..12_u64 {
        let mut child = root.command(&["agent"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(turn * 25)); // the pace of the attack, not a wait for the agent
        signal(child.id(), Signal::TERM);
        let asked = Instant::now();
        let status = support::ended(&mut child);
        assert!(asked.elapsed() < Duration::from_secs(9), "{:?}", asked.elapsed());
        // Before the agent has a handler it ends as any program does; there is nothing to end in order yet.
        let code = status.code();
        assert!(code == Some(0) || code.is_none(), "{status:?}");
        ended_in_order += usize::from(code == Some(0));
        wait_until("nobody is left", || Agent::descendants(root.path()).is_empty());
    }
    assert!(ended_in_order >= 6, "{ended_in_order} of 12 ended in order");
    let agent = root.agent();
    for number in 0..4 {
        agent.wait_script(&format!("s{number}.s"), "runs", |script| script["runs_ok"].as_u64() >= Some(1));
    }
}

// --- A4, A9: held up ---

/// Longer than the agent takes for a hold-up rather than for load.
const HELD: Duration = Duration::from_secs(6);

#[test]
fn a4_an_agent_that_was_stopped_blames_nobody() {
    let case = Case::new();
    // Two seconds of its eight are not the agent's fault.
    // Reports in the middle of each run: while the agent stands still, the run does.
    case.add(
        "reports",
        "run_timeout = \"3s\"",
        &collector(0.2, "self.feed_metric(measurement='reports', fields={'n': self.n})"),
    );
    case.add("sleeps", "run_timeout = \"5s\"", &collector(0.2, "if self.n == 1: time.sleep(8)"));
    let watched = case.start();
    watched.wait_good("reports", 0);
    watched.agent.signal(Signal::STOP);
    std::thread::sleep(HELD); // what is injected is this time
    watched.agent.signal(Signal::CONT);
    let runs = watched.script("reports")["runs_ok"].as_u64().unwrap();
    watched.wait("reports", "goes on", |script| script["runs_ok"].as_u64() >= Some(runs + 3));
    watched.wait("sleeps", "ends its run", |script| script["runs_ok"].as_u64() >= Some(1));
    for name in ["reports", "sleeps"] {
        let script = watched.script(name);
        assert_eq!((&script["restarts"], &script["runs_failed"]), (&0.into(), &0.into()), "{script:#}");
    }
    wait_until("the log says so", || watched.agent.console().contains("was suspended for"));
    watched.holds();
}

#[test]
fn a9_after_a_suspend_each_script_runs_once_and_not_for_all_it_missed() {
    let case = Case::new();
    case.add(
        "steady",
        "run_timeout = \"3s\"",
        &collector(0.2, "self.feed_metric(measurement='steady', fields={'at': time.monotonic()})"),
    );
    let watched = case.start();
    watched.wait("steady", "runs", |script| script["runs_ok"].as_u64() >= Some(3));
    let mut all = workers_of(&watched.agent);
    all.push(watched.agent.pid());
    let frozen = Instant::now();
    all.iter().for_each(|pid| signal(*pid, Signal::STOP));
    std::thread::sleep(HELD); // what is injected is this time
    all.iter().rev().for_each(|pid| signal(*pid, Signal::CONT));
    let lasted = frozen.elapsed().as_secs_f64();
    let runs = watched.script("steady")["runs_ok"].as_u64().unwrap();
    watched.wait("steady", "goes on", |script| script["runs_ok"].as_u64() >= Some(runs + 6));
    watched.agent.wait_delivered();
    let points = watched.root.points("metric");
    let at: Vec<f64> = points
        .lines()
        .filter(|line| line.starts_with("steady,"))
        .map(|line| line.split("at=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap())
        .collect();
    let hole = at.windows(2).position(|pair| pair[1] - pair[0] > lasted - 1.0).expect("it stood still");
    // On the grid of a fifth of a second: after the hole at most one run at once and one on the next point.
    let burst = at[hole + 1..].iter().filter(|time| **time - at[hole + 1] < 0.2).count();
    assert!(burst <= 2, "{burst} runs within 0.2 s: {:?}", &at[hole..]);
    assert_eq!(watched.script("steady")["restarts"], 0);
    watched.holds();
}

// --- A5 to A8: what the machine has no more of ---

#[test]
fn a5_a_limit_on_file_sizes_is_answered_503_and_passes() {
    let case = Case::new();
    let mut command = Command::new("prlimit");
    let limited = case.root.command(&["agent"]);
    command.arg("--fsize=300000:unlimited").arg(limited.get_program()).args(limited.get_args());
    command.current_dir(case.root.path()).env("HOME", case.root.path().join("home")).env("NO_COLOR", "1");
    let watched = case.start_by(command);
    // Below 200 in a hundred; the witness goes on, for its reports are small, until nothing more is taken.
    let body = |n: u64| format!("seq text=\"{}\" {}", "x".repeat(50_000), 1_700_000_000_000_000_000 + n);
    let mut number = 0;
    let refused = wait_for("the limit to be reached", || {
        number += 1;
        let answer = watched.agent.post("/v1/write/metric?precision=n", &[], body(number).as_bytes());
        if answer.status == 200 { Err("accepted".to_owned()) } else { Ok(answer) }
    });
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.header("retry-after").is_some());
    let lifted = Command::new("prlimit")
        .args(["--pid", &watched.agent.pid().to_string(), "--fsize=unlimited:unlimited"])
        .status()
        .unwrap();
    assert!(lifted.success());
    wait_until("points are taken again", || {
        number += 1;
        watched.agent.post("/v1/write/metric?precision=n", &[], body(number).as_bytes()).status == 200
    });
    let root = watched.root.path().to_owned();
    let (code, took) = stop_delivered(watched);
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(9));
    assert_eq!(Agent::descendants(&root), Vec::<u32>::new());
}

/// Stops an agent whose witness was refused points on purpose, so that not all invariants hold.
fn stop_delivered(watched: Watched) -> (i32, Duration) {
    watched.agent.wait_delivered();
    assert!(!watched.agent.console().contains("panicked"));
    watched.agent.stop()
}

#[test]
fn a5_a_disk_without_inodes_costs_no_worker_and_recovers() {
    let case = Case::new();
    let data = case.root.path().join("data");
    let Some(_disk) = SmallDisk::mount(&data, "size=64m,nr_inodes=200") else { return };
    let watched = case.start();
    let mut fillers = Vec::new();
    for number in 0..400 {
        let path = data.join(format!("filler{number}"));
        if std::fs::File::create(&path).is_err() {
            break;
        }
        fillers.push(path);
    }
    assert!(fillers.len() < 400, "no inode is left");
    signal(watched.pid("witness"), Signal::KILL);
    // The open segment takes more; a new one, or a new file of the sink, does not.
    watched.wait("witness", "is back", |script| script["restarts"] == 1 && script["runs_ok"].as_u64() >= Some(2));
    for path in &fillers {
        std::fs::remove_file(path).unwrap();
    }
    let answer = watched.agent.post("/v1/write/metric", &[], b"after v=1");
    assert_eq!(answer.status, 200, "{answer:?}");
    wait_until("it is delivered", || watched.root.points("metric").contains("after,"));
    let (code, _) = stop_delivered(watched);
    assert_eq!(code, 0);
}

#[test]
fn a6_only_as_many_workers_start_as_the_limit_on_open_files_leaves_room_for() {
    let root = Root::new();
    root.conf("pythond.conf", "[[inputs.pythond]]\nname = \"many\"\ncmd = \"python3\"\ndirs = [\"many\"]\n");
    for n in 0..12 {
        root.script(
            &format!("many/s{n:02}.py"),
            &collector(0.2, "self.feed_metric(measurement=\"m\", fields={\"v\": 1})"),
        );
    }
    let mut command = Command::new("prlimit");
    let limited = root.command(&["agent"]);
    command.arg("--nofile=64:64").arg(limited.get_program()).args(limited.get_args());
    command.current_dir(root.path()).env("HOME", root.path().join("home")).env("NO_COLOR", "1");
    let agent = Agent::start(&root, command);
    let units = || agent.status()["units"].as_array().unwrap().clone();
    let is_left = |unit: &&Value| {
        unit["why"]
            .as_str()
            .is_some_and(|why| why.starts_with("no room: 12 workers need about 136 open files, the limit is 64;"))
    };
    wait_until("the others wait and say why", || units().iter().filter(is_left).count() == 9);
    let runs = |unit: &Value| unit["runs_ok"].as_u64().unwrap();
    let working = || units().into_iter().filter(|unit| runs(unit) > 0).collect::<Vec<_>>();
    wait_until("three work", || working().len() == 3);
    let working = working();
    let least = working.iter().map(runs).max().unwrap() + 20;
    wait_until("those with room report on", || {
        units()
            .iter()
            .filter(|unit| runs(unit) >= least && unit["points_refused"] == 0 && unit["restarts"] == 0)
            .count()
            == 3
    });
    assert!(units().iter().filter(is_left).count() == 9, "their places do not rotate");
    assert_eq!(agent.console().matches("not started: no room").count(), 1, "{}", agent.console());
    // One that leaves makes room for the next.
    let leaves = working[0]["file"].as_str().unwrap();
    std::fs::remove_file(leaves).unwrap();
    agent.wait_script("many.s03", "takes the place that is free", |unit| unit["runs_ok"].as_u64() > Some(0));
}

#[test]
fn a5_a_full_disk_is_said_by_the_status_once_in_the_log_and_so_is_its_end() {
    let root = Root::new();
    let data = root.path().join("data");
    let Some(_disk) = SmallDisk::mount(&data, "size=24m") else { return };
    root.conf("sinks.conf", "[sinks.influxdb.away]\nurl = \"http://127.0.0.1:9\"\ndatabase = \"d\"\n");
    let agent = root.agent();
    let filler = data.join("filler");
    let refused = (0..).map(|_| agent.post("/v1/write/metric", &[], "m,t=a v=1 1\n".repeat(20_000).as_bytes()));
    let refused = refused.take(500).find(|answer| answer.status != 200).expect("the disk is full");
    assert_eq!(
        (refused.status, &refused.json()["error_code"]),
        (503, &Value::from("pythond.diskError")),
        "{refused:?}"
    );
    // Not even a small one fits.
    std::fs::write(&filler, vec![0; 24 << 20]).unwrap_err();
    wait_until("a small one is refused", || agent.post("/v1/write/metric", &[], b"m v=1").status == 503);
    let (_, text, _) = root.run(&["status"]);
    assert!(text.contains("REPORTS ARE REFUSED for ") && text.contains("No space left on device"), "{text}");
    assert!(text.contains("free space or inodes on the disk of "), "{text}");
    std::fs::remove_file(&filler).unwrap();
    let skipped = root.run(&["sink", "skip", "away"]);
    assert_eq!(skipped.0, 0, "{skipped:?}");
    wait_until("it is over", || {
        agent.post("/v1/write/metric", &[], b"m v=1");
        agent.status()["buffer"]["refusing"].is_null() && agent.console().contains("reports are taken again")
    });
    let console = agent.console();
    let said = |text: &str| console.matches(text).count();
    assert_eq!((said("reports are refused: "), said("reports are taken again")), (1, 1), "{console}");
}

#[test]
fn a6_idle_connections_leave_the_agent_descriptors_for_its_workers() {
    let case = Case::new();
    case.add("killed", "", &collector(0.5, "pass"));
    let mut command = Command::new("prlimit");
    let limited = case.root.command(&["agent"]);
    command.arg("--nofile=96:96").arg(limited.get_program()).args(limited.get_args());
    command.current_dir(case.root.path()).env("HOME", case.root.path().join("home")).env("NO_COLOR", "1");
    let watched = case.start_by(command);
    // More than there are descriptors, and fewer than the kernel lets wait for somebody to take them.
    let address = watched.agent.address.parse().unwrap();
    let idle: Vec<TcpStream> =
        (0..120).filter_map(|_| TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()).collect();
    assert!(idle.len() > 96, "{} connections", idle.len());
    for restarts in 1..=2 {
        let pid = watched.pid("killed");
        signal(pid, Signal::KILL);
        watched.wait("killed", "is started again", |script| {
            script["restarts"] == restarts && script["pid"].is_u64() && script["state"] == "ok"
        });
    }
    let runs = watched.script("witness")["runs_ok"].as_u64().unwrap();
    watched.wait("witness", "reports on", |script| script["runs_ok"].as_u64() >= Some(runs + 4));
    let spent = processor_time(watched.agent.pid());
    watched.wait("witness", "reports on", |script| script["runs_ok"].as_u64() >= Some(runs + 12));
    let spent = processor_time(watched.agent.pid()) - spent;
    assert!(spent < 150, "the accept loop spins: {spent} ticks in about two seconds");
    drop(idle);
    wait_until("strangers are answered again", || {
        http::tcp(&watched.agent.address, "GET", "/v1/ping", &[], b"").is_ok_and(|answer| answer.status == 200)
    });
    watched.holds();
}

/// Ticks (hundredths of a second) of processor time.
fn processor_time(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = text[text.rfind(')').unwrap() + 1..].split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a7_little_memory_is_enough() {
    let case = Case::new();
    let mut command = Command::new("prlimit");
    let limited = case.root.command(&["agent"]);
    // Of data: the address space holds a runtime's reservations too.
    command.arg("--data=256000000").arg(limited.get_program()).args(limited.get_args());
    command.current_dir(case.root.path()).env("HOME", case.root.path().join("home")).env("NO_COLOR", "1");
    // Nobody listens there.
    case.root.conf("sinks.conf", "[sinks.file.local]\n[sinks.influxdb.away]\nurl = \"http://127.0.0.1:9\"\ndatabase = \"d\"\nrequired = false\n[buffer]\nmax_size = \"16MiB\"\n");
    let watched = case.start_by(command);
    let lines: String = (0..5000).map(|n| format!("load,t={n} v={n}\n")).collect();
    for _ in 0..40 {
        let answer = watched.agent.post("/v1/write/metric", &[], lines.as_bytes());
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
    }
    assert!(resident_kib(watched.agent.pid()) < 200 * 1024, "{} KiB", resident_kib(watched.agent.pid()));
    let away = watched.agent.sink("away");
    assert!(away["behind_points"].as_u64() > Some(0) && away["state"] != "ok", "{away:#}");
    wait_for("the file has everything", || {
        let local = watched.agent.sink("local");
        if local["behind_points"] == 0 { Ok(()) } else { Err(format!("{local:#}")) }
    });
    watched.wait_good("witness", 0);
    let (code, took) = watched.agent.stop();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(9));
}

/// Shifts the wall clock of whoever it is loaded into by the seconds in the file that `SHIFT_FILE` names; the monotonic clock stays.
const SHIFT: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long shift(void) {
    static int fd = -2;
    char text[32] = {0};
    if (fd == -2) { const char *path = getenv("SHIFT_FILE"); fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1; }
    if (fd < 0 || pread(fd, text, sizeof text - 1, 0) <= 0) return 0;
    return atol(text);
}
int clock_gettime(clockid_t id, struct timespec *at) {
    int done = syscall(SYS_clock_gettime, id, at);
    if (done == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) at->tv_sec += shift();
    return done;
}
int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now; (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    at->tv_sec = now.tv_sec; at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"#;

#[test]
fn a8_jumps_of_the_wall_clock_stop_no_timer_and_turn_no_order() {
    let case = Case::new();
    let (source, library, shift) =
        (case.root.path().join("shift.c"), case.root.path().join("shift.so"), case.root.path().join("shift"));
    std::fs::write(&source, SHIFT).unwrap();
    std::fs::write(&shift, format!("{:<20}", 0)).unwrap();
    let Some(cc) = installed("cc", "gcc") else { return };
    let built =
        Command::new(cc).args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl").status();
    assert!(built.unwrap().success());
    case.add("dies", "", &collector(0.3, "if self.n == 4: os._exit(1)"));
    let mut command = case.root.command(&["agent"]);
    command.env("LD_PRELOAD", &library).env("SHIFT_FILE", &shift);
    let watched = case.start_by(command);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().cast_signed();
    let mut times = Vec::new();
    for by in [3600, -3600, 86_400, -86_400, -now + 60, 2_200_000_000 - now, 0] {
        std::fs::write(&shift, format!("{by:<20}")).unwrap();
        let runs = watched.script("witness")["runs_ok"].as_u64().unwrap();
        watched.wait("witness", "runs on", |script| script["runs_ok"].as_u64() >= Some(runs + 4));
        let answer = watched.agent.post("/v1/write/metric", &[], b"stamp v=1");
        assert_eq!(answer.status, 200, "{answer:?}");
        times.push(now + by);
    }
    let restarts = watched.script("dies")["restarts"].as_u64();
    assert!(restarts >= Some(1), "the back-off runs on: {restarts:?}");
    watched.agent.wait_delivered();
    let points = watched.root.points("metric");
    let stamps: Vec<i64> = points
        .lines()
        .filter(|line| line.starts_with("stamp,"))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<i64>().unwrap() / 1_000_000_000)
        .collect();
    assert_eq!(stamps.len(), times.len());
    for (stamp, time) in stamps.iter().zip(&times) {
        assert!((stamp - time).abs() < 120, "times follow the wall clock, the order does not: {stamps:?} {times:?}");
    }
    watched.holds();
}

// --- A10, A11: what others hold ---

fn ends_with(root: &Root, code: i32, parts: &[&str]) {
    let (ended, _, stderr) = root.run(&["agent"]);
    assert_eq!(ended, code, "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{part} in {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert_eq!(Agent::descendants(root.path()), Vec::<u32>::new(), "no script is started blind");
}

#[test]
fn a10_an_address_that_cannot_be_had_is_named_and_nothing_is_started() {
    let with_script = || {
        let root = Root::new();
        root.script("a/a.py", &collector(1.0, "pass"));
        root.input("a", &["a"], "");
        root
    };
    // An address of no machine (RFC 5737).
    let root = with_script();
    root.conf("agent.conf", "[http_api]\nlisten = \"192.0.2.1:9529\"\ntokens = [\"t\"]\n");
    ends_with(&root, 1, &["192.0.2.1:9529", "[http_api] listen"]);
    // Something of somebody else's in the place of the socket is neither used nor removed.
    let root = with_script();
    std::fs::create_dir_all(root.socket().parent().unwrap()).unwrap();
    std::fs::write(root.socket(), "mine").unwrap();
    ends_with(&root, 1, &["pythond.sock", "is no socket"]);
    assert_eq!(std::fs::read_to_string(root.socket()).unwrap(), "mine");
    // A live socket of another process.
    let root = with_script();
    std::fs::create_dir_all(root.socket().parent().unwrap()).unwrap();
    let _listens = std::os::unix::net::UnixListener::bind(root.socket()).unwrap();
    ends_with(&root, 1, &["pythond.sock", "another process listens"]);
    // A folder where nothing can be written is no reason to panic.
    let root = with_script();
    std::fs::remove_dir_all(root.path().join("data")).unwrap_or_default();
    std::fs::write(root.path().join("data"), "a file").unwrap();
    ends_with(&root, 1, &["data"]);
}

#[test]
fn a10_a_stale_socket_is_replaced_and_a_port_is_shared_with_nobody() {
    let case = Case::new();
    let watched = case.start();
    let address = watched.agent.address.clone();
    // A second agent is given another port, not a share of this one.
    let other = Case::new();
    other.root.conf("agent.conf", &format!("[http_api]\nlisten = \"{address}\"\n"));
    let other = other.start();
    assert_ne!(other.agent.address, address);
    for (agent, root) in [(&watched.agent, watched.root.path()), (&other.agent, other.root.path())] {
        let status = http::tcp(&agent.address, "GET", "/api/v1/status", &[], b"").unwrap().json();
        assert_eq!(status["root"].as_str(), root.to_str());
    }
    other.holds();
    let Watched { agent, root, .. } = watched;
    agent.kill();
    assert!(root.socket().exists(), "stale");
    let agent = root.agent();
    Watched::new(root, agent).holds();
}

#[test]
fn a10_an_ipv6_address_works_or_is_named() {
    let case = Case::new();
    case.root.conf("agent.conf", "[http_api]\nlisten = \"[::1]:0\"\n");
    case.add("posts", "", &collector(0.5, "import urllib.request\nurllib.request.urlopen(urllib.request.Request(os.environ['PYTHOND_URL'] + '/v1/write/metric', b'v6 v=1', method='POST'), timeout=10).read()"));
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        ends_with(&case.root, 1, &["[::1]:0"]);
        return;
    }
    let watched = case.start();
    watched.wait_good("posts", 0);
    wait_until("its points", || watched.root.points("metric").contains("v6,"));
    watched.holds();
}

// --- A12: other surroundings ---

/// An agent that is the first process of a PID namespace, as in a container without an init.
struct Contained {
    unshare: Child,
    agent: u32,
}

#[test]
fn a12_as_the_first_process_of_a_container_it_reaps_what_is_left_to_it() {
    let case = Case::new();
    if !has_pid_namespaces() {
        return;
    }
    // Orphans of every sort come to the first process, whoever started them.
    let orphans = "subprocess.run(['sh', '-c', '(sleep 0.1; true) & (setsid sleep 0.1 &) & true'], env={})\nself.feed_metric(measurement='orphans', fields={'n': self.n})";
    case.add("orphans", "", &collector(0.3, orphans));
    let inner = case.root.command(&["agent"]);
    let unshare = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(case.root.path())
        .env("HOME", case.root.path().join("home"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let agent = wait_for("the agent's process", || {
        let child = descendants(unshare.id()).first().map(|(pid, _)| *pid);
        child.ok_or_else(|| "none".to_owned())
    });
    let mut contained = Contained { unshare, agent };
    let ask = || -> Result<Value, String> {
        let answer =
            http::unix(&case.root.socket(), "GET", "/api/v1/status", &[], b"").map_err(|error| error.to_string())?;
        Ok(answer.json())
    };
    wait_for("many orphans", || {
        let status = ask()?;
        let orphans = status["units"]
            .as_array()
            .unwrap()
            .iter()
            .find(|script| script["id"] == "orphans.orphans")
            .unwrap()
            .clone();
        if orphans["runs_ok"].as_u64() >= Some(8) { Ok(()) } else { Err(format!("{orphans:#}")) }
    });
    wait_until("no zombies are left to it", || {
        !descendants(contained.agent).iter().any(|(pid, _)| stat(*pid).is_some_and(|stat| stat.state == 'Z'))
    });
    signal(contained.agent, Signal::TERM);
    let status = contained.unshare.wait().unwrap();
    assert_eq!(status.code(), Some(0), "I8");
    let numbers: BTreeSet<u64> = witness_runs(&case.root).iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers.len() as u64, *numbers.last().unwrap(), "I1");
}

impl Drop for Contained {
    fn drop(&mut self) {
        // Already ended is fine; the kernel ends the namespace with its first process.
        signal(self.agent, Signal::KILL);
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

/// A kernel, or a filter of system calls, without `pidfd_open`.
#[test]
fn a12_where_processes_cannot_be_watched_each_script_says_so() {
    let Some(strace) = installed("strace", "strace") else { return };
    let case = Case::new();
    let traced = case.root.command(&["agent"]);
    let mut command = Command::new(strace);
    command
        .args([
            "-f",
            "--seccomp-bpf",
            "-o",
            "/dev/null",
            "-e",
            "trace=pidfd_open",
            "-e",
            "inject=pidfd_open:error=ENOSYS",
        ])
        .arg(traced.get_program())
        .args(traced.get_args())
        .current_dir(case.root.path())
        .env("HOME", case.root.path().join("home"))
        .env("NO_COLOR", "1");
    let agent = Agent::start(&case.root, command);
    let script = agent.wait_script("witness.witness", "is explained", |script| script["why"].is_string());
    let why = script["why"].as_str().unwrap();
    assert!(why.contains("could not start") && why.contains("not implemented"), "{why}");
    assert!(script["next"].is_string(), "{script:#}");
    assert_eq!(agent.get("/v1/ping").status, 200, "what others report is taken all the same");
    let pid = u32::try_from(agent.status()["pid"].as_u64().unwrap()).unwrap();
    signal(pid, Signal::TERM);
    wait_gone("the agent", &[pid]);
    assert_eq!(agent.stop().0, 0);
    assert_eq!(Agent::descendants(case.root.path()), Vec::<u32>::new());
}

// --- A14 to A16: upgrades, damage, homes ---

#[test]
fn a15_a_binary_that_is_replaced_under_the_agent_costs_no_worker() {
    let case = Case::new();
    let binary = case.root.path().join("pythond");
    std::fs::copy(env!("CARGO_BIN_EXE_pythond"), &binary).unwrap();
    let mut command = Command::new(&binary);
    command.arg("--root").arg(case.root.path()).arg("agent").current_dir(case.root.path());
    command.env("HOME", case.root.path().join("home")).env("NO_COLOR", "1");
    case.add("dies", "", &collector(0.3, "if first(): os._exit(1)"));
    let watched = case.start_by(command);
    std::fs::remove_file(&binary).unwrap();
    std::fs::write(&binary, "of a later version").unwrap();
    // So is the package: a worker that starts now takes what is there.
    watched.wait_good("dies", 1);
    signal(watched.pid("dies"), Signal::KILL);
    watched.wait_good("dies", 2);
    watched.holds();
}

#[test]
fn a15_whatever_lies_in_data_the_agent_starts_and_sets_it_aside() {
    // One life that leaves files of every sort behind.
    let watched = Case::new().start();
    assert_eq!(watched.agent.post("/v1/write/keyevent", &[], b"[{\"measurement\":\"m\"}]").status, 400);
    watched.agent.wait_delivered();
    let Watched { agent, root, .. } = watched;
    assert_eq!(agent.stop().0, 0);
    let data = root.path().join("data");
    let files: Vec<(PathBuf, Vec<u8>)> = files_of(&data)
        .into_iter()
        .map(|path| (path.strip_prefix(&data).unwrap().to_owned(), std::fs::read(path).unwrap()))
        .collect();
    assert!(files.len() >= 4, "{files:?}");
    std::thread::scope(|scope| {
        for (name, damage) in DAMAGES {
            let files = &files;
            scope.spawn(move || lives_with(name, damage, files));
        }
    });
}

type Damage = fn(&Path);

const DAMAGES: [(&str, Damage); 6] = [
    ("empty", |path| std::fs::write(path, "").unwrap()),
    ("garbage", |path| std::fs::write(path, b"\x00\xff{not json\n").unwrap()),
    ("json", |path| std::fs::write(path, "{\"version\": 99, \"unknown\": [1, 2]}").unwrap()),
    ("huge", |path| std::fs::File::create(path).unwrap().set_len(4 << 20).unwrap()),
    ("folder", |path| std::fs::create_dir(path).unwrap()),
    ("link", |path| std::os::unix::fs::symlink("/surely/not/there", path).unwrap()),
];

/// An agent whose `data` has this damage in the place of each file starts, reports and stops; or it says which path it cannot take.
fn lives_with(name: &str, damage: Damage, files: &[(PathBuf, Vec<u8>)]) {
    let case = Case::new();
    let data = case.root.path().join("data");
    for (path, bytes) in files {
        let path = data.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // What was delivered is not the agent's any more.
        if path.starts_with(data.join("points")) {
            std::fs::write(path, bytes).unwrap();
        } else {
            damage(&path);
        }
    }
    let mut child = case.root.command(&["agent"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let ask = || http::unix(&case.root.socket(), "GET", "/api/v1/status", &[], b"");
    let runs = wait_for("a report, or an end with a reason", || {
        if child.try_wait().unwrap().is_some() {
            return Ok(false);
        }
        let status = ask().map_err(|error| error.to_string())?.json();
        if status["units"][0]["points_accepted"].as_u64() >= Some(1) { Ok(true) } else { Err(format!("{status:#}")) }
    });
    signal(child.id(), Signal::TERM);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked"), "{name}: {stderr}");
    // A folder or a link in the place of a file is no damage of a disk: it may be refused, with its path.
    let may_refuse = matches!(name, "folder" | "link") && stderr.contains("data/");
    assert!(may_refuse || (runs && output.status.code() == Some(0)), "{name}: {stderr}");
    assert_eq!(Agent::descendants(case.root.path()), Vec::<u32>::new());
}

fn files_of(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(files_of(&entry.path())),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found.sort();
    found
}

#[test]
fn a16_without_a_home_the_logs_lie_in_the_state_folder() {
    let logged = |root: &Root, dir: &str| {
        std::fs::read_to_string(root.path().join(dir).join("_datakit_pythond_cli.log")).unwrap_or_default()
    };
    let case = Case::new();
    let mut command = case.root.command(&["agent"]);
    command.env_remove("HOME");
    let watched = case.start_by(command);
    wait_until("the log", || logged(&watched.root, "data/log").contains("witness.witness: loaded"));
    watched.holds();

    // A home that cannot be written costs the logs at most, and is said.
    let case = Case::new();
    let mut command = case.root.command(&["agent"]);
    command.env("HOME", "/proc/surely/not/there");
    let watched = case.start_by(command);
    wait_until("the log, or a word about it", || {
        logged(&watched.root, "data/log").contains("witness.witness: loaded")
            && watched.agent.console().contains("/proc/surely/not/there")
    });
    watched.holds();
}
