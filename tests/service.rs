//! Promises of the agent as a service: what it tells the service manager, and what it survives.

mod support;

use std::fs::File;
use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use support::{Root, http, wait_for};

fn with_a_script() -> Root {
    let root = Root::new();
    root.script("my/a.py", "import os\nfrom datakit_framework import DataKitFramework\nclass C(DataKitFramework):\n    interval = 0.1\n    def run(self):\n        print([key for key in os.environ if key.startswith(('NOTIFY', 'WATCHDOG'))])\n        self.feed_metric(measurement='m', fields={'a': 1})\n");
    root.input("in", &["my"], "");
    root
}

fn status(root: &Root) -> Option<serde_json::Value> {
    let answer = http::unix(&root.socket(), "GET", "/api/v1/status", &[], b"").ok()?;
    serde_json::from_slice(&answer.body).ok()
}

fn wait_for_runs(root: &Root, more_than: u64) -> serde_json::Value {
    wait_for("runs", || {
        let status = status(root).ok_or("no answer")?;
        let runs = status["units"][0]["runs_ok"].as_u64().unwrap();
        if runs > more_than { Ok(status) } else { Err(status.to_string()) }
    })
}

fn term(agent: &mut Child) -> Option<i32> {
    rustix::process::kill_process(Pid::from_child(agent), Signal::TERM).unwrap();
    support::ended(agent).code()
}

/// Starts the agent as a service of somebody who listens; returns it, and what gives the next word that it says to its manager.
fn under_a_manager(root: &Root, watchdog_micros: Option<&str>) -> (Child, impl Fn() -> String) {
    let path = root.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let mut command = root.command(&["agent"]);
    command.env("NOTIFY_SOCKET", &path).stdout(Stdio::null()).stderr(Stdio::null());
    let agent = command.envs(watchdog_micros.map(|micros| ("WATCHDOG_USEC", micros))).spawn().unwrap();
    let hear = move || {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).expect("the agent speaks");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    (agent, hear)
}

#[test]
fn the_service_manager_hears_of_the_start_of_life_and_of_the_stop() {
    let root = with_a_script();
    let (mut agent, hear) = under_a_manager(&root, Some("900000"));
    assert_eq!(hear(), "READY=1");
    assert!(status(&root).is_some(), "it serves when it says so");
    assert_eq!(hear(), "WATCHDOG=1");
    let line = hear();
    assert!(line.starts_with("STATUS=") && line.contains("1 units well; sinks: local ok"), "{line}");
    let heard: Vec<Instant> =
        (0..4).map(|_| (hear(), Instant::now())).filter(|(word, _)| word == "WATCHDOG=1").map(|(_, at)| at).collect();
    assert_eq!(heard.len(), 4);
    let status = wait_for_runs(&root, 1);
    assert_eq!(status["units"][0]["last_words"][0], "[]", "what the manager told the agent is not for scripts");
    assert_eq!(term(&mut agent), Some(0));
    let rest: Vec<String> = std::iter::repeat_with(hear).take_while(|word| word != "STOPPING=1").collect();
    assert!(rest.iter().all(|word| word == "WATCHDOG=1"), "{rest:?}");
}

#[test]
fn the_service_manager_hears_when_a_reload_begins_and_ends_also_with_faulty_settings() {
    let root = with_a_script();
    let (mut agent, hear_all) = under_a_manager(&root, None);
    let hear = || std::iter::repeat_with(&hear_all).find(|word| !word.starts_with("STATUS=")).unwrap();
    assert_eq!(hear(), "READY=1");
    wait_for_runs(&root, 1);
    let began = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_sec;
    for faulty in [false, true] {
        if faulty {
            root.conf("bad.conf", "[buffer\n");
        }
        rustix::process::kill_process(Pid::from_child(&agent), Signal::HUP).unwrap();
        let word = hear();
        let micros = word.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{word}"));
        assert!(micros.parse::<i64>().unwrap() >= began * 1_000_000, "{word}");
        assert_eq!(hear(), "READY=1", "faulty settings: {faulty}");
    }
    // What is only noticed is no reload to the manager.
    root.script("my/more.py", "import datakit_framework\n");
    wait_for("the file to be noticed", || {
        let scripts = status(&root).ok_or("no answer")?["units"].as_array().unwrap().len();
        std::fs::remove_file(root.path().join("conf.d/bad.conf")).unwrap_or_default();
        if scripts == 2 { Ok(()) } else { Err(scripts.to_string()) }
    });
    assert_eq!(term(&mut agent), Some(0));
    assert_eq!(hear(), "STOPPING=1");
}

#[test]
fn a_stop_takes_nine_seconds_in_all_although_everything_hangs_at_once() {
    let root = with_a_script();
    root.script("hang/h.py", "import signal\nfrom datakit_framework import DataKitFramework\nclass C(DataKitFramework):\n    interval = 60\n    def run(self):\n        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\n        self.feed_metric(measurement='m', fields={'a': 1})\n        sum(range(10**13))\n");
    root.input("hang", &["hang"], "stop_grace = \"1h\"");
    // A sink that takes a request and never answers, and a key on a disk that hangs.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sink =
        format!("[sinks.influxdb.silent]\nurl = \"http://{}\"\ndatabase = \"d\"\n", silent.local_addr().unwrap());
    root.conf("sinks.conf", &(sink + "[sinks.file.local]\n"));
    let key = root.path().join("key");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &key, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let repo = format!(
        "[[git_repos.repo]]\nenable = true\nurl = \"git@127.0.0.1:c.git\"\nssh_private_key_path = \"{}\"\n",
        key.display()
    );
    root.conf("git.conf", &repo);
    let agent = root.agent();
    let (mut request, _) = silent.accept().unwrap();
    request.read_exact(&mut [0]).unwrap();
    agent.wait_script("hang.h", "hangs", |script| script["points_accepted"].as_u64() > Some(0));
    wait_for("the pull", || {
        let repo = agent.status()["repos"][0].clone();
        if repo["is_pulling"] == true { Ok(()) } else { Err(repo.to_string()) }
    });
    // A client that never says what it wants.
    let mut half = std::os::unix::net::UnixStream::connect(root.socket()).unwrap();
    std::io::Write::write_all(
        &mut half,
        b"POST /v1/write/metric HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
    )
    .unwrap();
    let (code, took) = agent.stop();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(9), "{took:?}");
    assert_eq!(support::Agent::descendants(root.path()), [] as [u32; 0]);
}

#[test]
fn a_stop_during_the_start_is_one_too() {
    let root = with_a_script();
    // Until it serves it has not even begun to wait for a stop.
    for _ in 0..5 {
        let mut agent = root.command(&["agent"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for("its lock", || {
            let holder = std::fs::read_to_string(root.path().join("data/run/agent.lock")).unwrap_or_default();
            if holder.trim() == agent.id().to_string() { Ok(()) } else { Err(holder) }
        });
        assert_eq!(term(&mut agent), Some(0));
    }
}

#[test]
fn a_manager_that_is_not_there_or_asks_another_process_holds_nothing_up() {
    let root = with_a_script();
    let mut agent = root
        .command(&["agent"])
        .envs([("NOTIFY_SOCKET", "/surely/not/there"), ("WATCHDOG_USEC", "1"), ("WATCHDOG_PID", "1")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for_runs(&root, 2);
    assert_eq!(term(&mut agent), Some(0));
}

#[test]
fn a_console_that_is_full_or_gone_does_not_end_the_agent() {
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let gone = || {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    for console in [full as fn() -> Stdio, gone] {
        let root = with_a_script();
        root.script("my/b.py", "raise ValueError('to be logged')\n");
        let mut agent = root.command(&["agent"]).stdout(console()).stderr(console()).spawn().unwrap();
        wait_for_runs(&root, 2);
        rustix::process::kill_process(Pid::from_child(&agent), Signal::HUP).unwrap();
        let runs = status(&root).unwrap()["units"][0]["runs_ok"].as_u64().unwrap();
        let status = wait_for_runs(&root, runs + 2);
        assert_eq!(status["panics"], serde_json::json!({}), "nothing panicked on the way");
        assert_eq!(term(&mut agent), Some(0));
    }
}

#[test]
fn a_file_that_may_not_grow_is_an_error_and_not_the_end() {
    let root = Root::new();
    root.script("my/large.py", "from datakit_framework import DataKitFramework\nclass C(DataKitFramework):\n    interval = 0.05\n    def run(self):\n        self.feed_logging(source='m', message='x' * 20_000)\n");
    root.input("in", &["my"], "");
    let agent = root.command(&["agent"]);
    let mut agent = Command::new("sh")
        // In blocks of 512 bytes: the buffer soon reaches it, and SIGXFSZ comes, which ends a process that has no handler.
        .args(["-c", "ulimit -f 256; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_pythond")])
        .args(agent.get_args())
        .env("HOME", root.path().join("home"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("reports that cannot be kept", || {
        assert!(agent.try_wait().unwrap().is_none(), "it lives");
        let status = status(&root).ok_or("no answer yet")?;
        let said = status["sinks"][0]["state"] != "ok"
            || status["units"][0]["points_refused"].as_u64() > Some(0)
            || status["buffer"]["poisoned"] != serde_json::Value::Null;
        if said { Ok(()) } else { Err(status.to_string()) }
    });
    assert!(agent.try_wait().unwrap().is_none(), "it lives");
    term(&mut agent);
}

#[test]
fn a_disk_that_hangs_under_the_status_holds_up_no_report() {
    let root = with_a_script();
    let agent = root.agent();
    assert_eq!(agent.post("/v1/write/metric", &[], b"bad").status, 400);
    let dead = std::fs::read_dir(root.path().join("data/dead/ingest")).unwrap();
    for file in dead.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "jsonl")) {
        std::fs::remove_file(&file).unwrap();
        // To open it waits for a writer, as a dead network file system would.
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }
    let mut asking = std::os::unix::net::UnixStream::connect(root.socket()).unwrap();
    std::io::Write::write_all(&mut asking, b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    for n in 0..50 {
        let answer = agent.post("/v1/write/metric", &[], b"probe v=1");
        assert_eq!(answer.status, 200, "report {n}: {}", answer.text());
    }
    asking.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(asking.read(&mut [0]).is_err(), "the status waits");
    agent.kill();
}

#[test]
fn a_second_agent_on_the_same_data_is_refused_and_the_first_goes_on() {
    let root = with_a_script();
    let agent = root.agent();
    let began = Instant::now();
    let (code, _, err) = root.run(&["agent"]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains(&format!("another agent (pid {}) runs on this directory", agent.pid())), "{err}");
    assert!(began.elapsed() < Duration::from_secs(20));
    agent.wait_script("my.a", "runs on", |script| script["runs_ok"].as_u64() > Some(2));
    assert_eq!(agent.script("my.a")["restarts"], 0, "its workers were let alone");
    agent.kill();
    let again = root.agent();
    assert_eq!(again.stop().0, 0, "the lock of a killed agent is no obstacle");
}

#[test]
fn the_status_names_how_workers_are_held_on_this_machine() {
    let root = with_a_script();
    let agent = root.agent();
    let status = agent.status();
    let of = |name: &str| {
        let all = status["mechanisms"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}: {status:#}")).clone()
    };
    for name in ["death signal", "subreaper", "process scan", "lock", "guard"] {
        assert_eq!(of(name)["active"], true, "{name}");
    }
    for name in ["cgroup.kill", "memory.max", "pids.max"] {
        assert_ne!(
            of(name)["active"].as_bool().unwrap(),
            of(name)["why"].is_string(),
            "what is missing has its reason"
        );
    }
    let (_, out, _) = root.run(&["status"]);
    assert!(out.contains("workers are held by: death signal, subreaper, process scan, lock"), "{out}");
    let metrics = String::from_utf8(agent.get("/metrics").body).unwrap();
    assert!(metrics.contains("pythond_task_panics{task=\"the supervisor\"} 0"), "{metrics}");
}

#[test]
fn the_unit_file_holds_what_the_agent_relies_on() {
    let mut unit = String::new();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/pythond.service");
    File::open(path).unwrap().read_to_string(&mut unit).unwrap();
    for line in [
        "Type=notify",
        "WatchdogSec=30",
        "Restart=always",
        "RestartSec=1",
        "RestartSteps=5",
        "RestartMaxDelaySec=60",
        "StartLimitIntervalSec=0",
        "KillMode=mixed",
        "TimeoutStopSec=20",
        "Delegate=yes",
        "DelegateSubgroup=agent",
        "OOMPolicy=continue",
        "LimitNOFILE=65536",
        "TasksMax=4096",
        "ExecReload=/bin/kill -HUP $MAINPID",
    ] {
        assert!(unit.lines().any(|there| there == line), "{line}");
    }
    let unit_section = &unit[unit.find("[Unit]").unwrap()..unit.find("[Service]").unwrap()];
    assert!(unit_section.contains("StartLimitIntervalSec=0"), "systemd reads it there only");
}
