//! Promises about a stop that somebody waits for: it says what it waits for, and a second wish ends that.

mod support;

use rustix::process::Signal;
use support::{Agent, Root, wait_until};

const RUN: &str = "from datakit_framework import DataKitFramework\nimport os, time\nclass C(DataKitFramework):\n    interval = 1\n    def run(self):\n        self.feed_metric(measurement='m', fields={'v': 1})\n        HOW\n";

/// An agent whose scripts are each in the middle of a run, after one report.
fn in_a_run(scripts: &[(&str, &str)], more: &str) -> (Root, Agent) {
    let root = Root::new();
    for (name, how) in scripts {
        root.script(&format!("my/{name}.py"), &RUN.replace("HOW", how));
    }
    root.input("in", &["my"], more);
    let agent = root.agent();
    for (name, _) in scripts {
        agent.wait_script(&format!("my.{name}"), "in its run", |script| script["points_accepted"] == 1);
    }
    (root, agent)
}

fn twice(agent: Agent, signal: Signal) -> (i32, String) {
    agent.signal(signal);
    wait_until("it says what it waits for", || agent.console().contains("stopping: waiting up to"));
    agent.signal(signal);
    wait_until("it says that it heard", || agent.console().contains("again: runs are ended now"));
    agent.wait()
}

#[test]
fn the_second_wish_to_stop_ends_the_runs() {
    for (signal, name) in [(Signal::INT, "Ctrl-C"), (Signal::TERM, "SIGTERM"), (Signal::QUIT, "SIGQUIT")] {
        let (root, agent) = in_a_run(&[("a", "time.sleep(1000)")], "");
        let (code, console) = twice(agent, signal);
        assert_eq!(code, 0, "{console}");
        assert!(
            console.contains(&format!("stopping: waiting up to 5 s for 1 run; {name} again ends it now")),
            "{console}"
        );
        assert!(!console.contains("did not end in time"), "{console}");
        assert_eq!(Agent::descendants(root.path()), Vec::<u32>::new());
        let agent = root.agent();
        agent.wait_delivered();
        let first = root.points("metric");
        assert!(first.lines().count() >= 1, "what was accepted is there: {first}");
    }
}

#[test]
fn several_runs_are_counted_and_the_longest_grace_is_told() {
    let scripts = [("a", "time.sleep(1000)"), ("b", "sum(range(10**12))")];
    let (_root, agent) = in_a_run(&scripts, "stop_grace = \"2s\"\n");
    let (code, console) = twice(agent, Signal::TERM);
    assert_eq!(code, 0, "{console}");
    assert!(console.contains("stopping: waiting up to 2 s for 2 runs; SIGTERM again ends them now"), "{console}");
}

#[test]
fn a_stop_that_waits_for_nothing_says_so() {
    let (_root, agent) = in_a_run(&[("a", "pass")], "");
    agent.wait_script("my.a", "idle", |script| script["state"] == "ok");
    agent.signal(Signal::TERM);
    let (code, console) = agent.wait();
    assert_eq!(code, 0);
    assert!(console.contains("stopping: no script is in a run"), "{console}");
}

#[test]
fn wishes_to_stop_in_quick_order_are_as_good() {
    let (root, agent) = in_a_run(&[("a", "time.sleep(1000)")], "");
    for _ in 0..5 {
        agent.signal(Signal::TERM);
        agent.signal(Signal::INT);
    }
    let (code, console) = agent.wait();
    assert_eq!(code, 0, "{console}");
    assert!(console.contains("agent: stopped"), "{console}");
    assert_eq!(Agent::descendants(root.path()), Vec::<u32>::new());
}
