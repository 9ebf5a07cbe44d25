//! Promise: the shipped settings run, the demo's points are on disk within seconds, and a stop leaves nothing behind.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use support::{Agent, PATIENCE, Root, wait_for, wait_until};

fn shipped() -> Root {
    let root = Root::new();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["pythond.conf", "agent.conf"] {
        let text = std::fs::read_to_string(repository.join("conf.d").join(name)).unwrap();
        // Tests run beside each other and beside other agents: the one change to what is shipped is the port.
        root.conf(name, &text.replace("#listen = \"127.0.0.1:9529\"", "listen = \"127.0.0.1:0\""));
    }
    let demo = std::fs::read_to_string(repository.join("python.d/Demo/demo.py")).unwrap();
    root.script("Demo/demo.py", &demo);
    root
}

#[test]
fn the_demo_reports_to_the_file_and_a_stop_leaves_nothing_behind() {
    let root = shipped();
    let agent = root.agent();
    wait_until("points of the demo in data/points/metric.lp", || root.points("metric").lines().count() >= 1);
    for line in root.points("metric").lines() {
        assert!(line.starts_with("demo,"), "{line}");
        influxdb_line_protocol::parse_lines(line).next().unwrap().unwrap();
    }
    wait_until("the console says where the points are", || {
        agent.console().contains("the first points are now in") && agent.console().contains("data/points")
    });
    assert!(!Agent::descendants(root.path()).is_empty(), "the worker runs");
    let (code, took) = agent.stop();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(9), "took {took:?}");
    assert_eq!(Agent::descendants(root.path()), Vec::<u32>::new());
}

#[test]
fn a_run_that_goes_on_may_end_and_its_report_arrives() {
    let root = Root::new();
    root.script(
        "slow/slow.py",
        "import time, pathlib\nfrom datakit_framework import DataKitFramework\n\nclass Slow(DataKitFramework):\n    interval = 60\n    def run(self):\n        pathlib.Path(__file__).with_suffix('.started').touch()\n        time.sleep(2)\n        self.feed_metric(measurement='late', fields={'v': 1})\n",
    );
    root.input("slow", &["slow"], "");
    let agent = root.agent();
    wait_until("the run has begun", || root.path().join("python.d/slow/slow.started").exists());
    let (code, took) = agent.stop();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(9), "took {took:?}");
    assert!(root.points("metric").contains("late,"), "the last report is delivered: {:?}", root.points("metric"));
}

#[test]
fn a_second_agent_on_the_same_directory_is_refused() {
    let root = Root::new();
    let agent = root.agent();
    let (code, _, stderr) = root.run(&["agent"]);
    assert_eq!(code, 1);
    assert!(stderr.contains(&format!("pid {}", agent.pid())), "{stderr}");
}

#[test]
fn a_taken_port_costs_the_scripts_nothing() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let root = Root::new();
    root.conf("agent.conf", &format!("[http_api]\nlisten = \"{taken}\"\n"));
    root.script("a/a.py", "from datakit_framework import DataKitFramework\nclass A(DataKitFramework):\n    def run(self):\n        self.feed_metric(measurement='a', fields={'v': 1})\n");
    root.input("a", &["a"], "");
    let agent = root.agent();
    assert_ne!(agent.address, taken.to_string());
    wait_until("the console says so", || agent.console().contains(&taken.to_string()));
    wait_until("the point is there", || root.points("metric").starts_with("a,"));
}

#[test]
fn the_page_and_its_parts_are_served() {
    let root = Root::new();
    let agent = root.agent();
    for (path, content_type, part) in [
        ("/", "text/html", "<title>pythond</title>"),
        ("/page.js", "text/javascript", "/api/v1/status"),
        ("/page.css", "text/css", "body"),
    ] {
        let answer = agent.get(path);
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").unwrap().starts_with(content_type));
        assert!(answer.text().contains(part));
    }
}

#[test]
fn a_killed_agent_leaves_no_worker_and_the_next_one_starts_one_copy() {
    let root = Root::new();
    root.script("a/a.py", "from datakit_framework import DataKitFramework\nclass A(DataKitFramework):\n    interval = 1\n    def run(self):\n        self.feed_metric(measurement='a', fields={'v': 1})\n");
    root.script("hang/hang.py", "from datakit_framework import DataKitFramework\nclass H(DataKitFramework):\n    def run(self):\n        sum(range(10**13))\n");
    root.script("daemon/daemon.py", "import subprocess\nfrom datakit_framework import DataKitFramework\nclass D(DataKitFramework):\n    interval = 60\n    def run(self):\n        subprocess.Popen(['sleep', '1000'], start_new_session=True)\n        self.feed_metric(measurement='d', fields={'v': 1})\n");
    root.input("all", &["a", "hang", "daemon"], "");
    let agent = root.agent();
    for id in ["a.a", "daemon.daemon"] {
        agent.wait_script(id, "a report", |script| script["points_accepted"].as_u64() > Some(0));
    }
    agent.wait_script("hang.hang", "in its run", |script| script["state"] == "running" || script["pid"].is_u64());
    let workers: Vec<u32> = agent.status()["units"]
        .as_array()
        .unwrap()
        .iter()
        .map(|script| script["pid"].as_u64().unwrap() as u32)
        .collect();
    agent.kill();
    let killed = Instant::now();
    wait_for("all workers gone", || {
        let left: Vec<&u32> = workers.iter().filter(|pid| support::is_alive(**pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    assert!(killed.elapsed() < PATIENCE);
    let agent = root.agent();
    for id in ["a.a", "daemon.daemon"] {
        agent.wait_script(id, "a report", |script| script["points_accepted"].as_u64() > Some(0));
    }
    let sleepers = Agent::descendants(root.path());
    assert_eq!(
        sleepers.len(),
        5,
        "three workers, their zygote and one daemon, not the daemon of the life before: {sleepers:?}"
    );
}
