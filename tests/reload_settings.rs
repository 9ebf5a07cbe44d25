//! Settings that change while the agent runs: all of them or none, and no more restarts than they need.

#[path = "support/reload_lab.rs"]
mod reload_lab;
mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reload_lab::{all_run, collector, is_shown, outcome, pids, reload, reloads, runs, save, text};
use rustix::process::Signal;
use serde_json::json;
use support::{Root, is_alive, wait_for, wait_until};

/// Nothing is noticed by itself: each reload of a test is one that it asks for.
const BY_HAND: &str = "[reload]\nwatch = false\n";

fn by_hand() -> Root {
    let root = Root::new();
    root.conf("reload.conf", BY_HAND);
    root
}

fn refused_settings(root: &Root, texts: &[&str]) {
    let (code, out, err) = root.run(&["reload"]);
    assert_eq!(code, 3, "{out} {err}");
    assert!(out.contains("nothing was changed"), "{out}");
    for text in texts {
        assert!(err.contains(text), "`{text}` is not in {err}");
    }
}

#[test]
fn settings_with_a_fault_change_nothing_and_every_fault_is_told() {
    let root = Root::new();
    save(&root, "x", 1);
    root.script("other/y.py", &collector("y", 1, 0.2));
    root.input("in", &["my"], "");
    let agent = root.agent();
    let before = all_run(&agent, 1);
    // Good news and bad news in one go: another input and a tag, and two faults in two files.
    root.input("in", &["my"], "tags = { a = \"b\" }").input("more", &["other"], "");
    root.conf("bad.conf", "[[inputs.pythond]]\nname = \"bad\"\ncmd = \"python3\"\ndirs = [\"nowhere\"]\n");
    root.conf("worse.conf", "[buffer]\nmax_sise = \"1GiB\"\n");
    refused_settings(&root, &["`nowhere` does not exist", "conf.d/bad.conf:4", "max_sise", "did you mean `max_size`"]);
    // One that cannot be read at all.
    root.conf("worse.conf", "[buffer\n");
    refused_settings(&root, &["nowhere", "PD0101", "conf.d/worse.conf:1"]);
    assert_eq!(pids(&agent), before);
    assert!(!is_shown(&agent, "other.y") && !root.points("metric").contains("a=b"));
    let status = agent.status();
    let faults = status["reload"]["outcome"]["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 2, "{faults:#?}");
    let (_, out, _) = root.run(&["status"]);
    assert!(out.contains("the settings have faults") && out.contains("worse.conf:1"), "{out}");
    wait_until("the log says so", || agent.console().contains("nothing was changed"));
    // Mended: everything at once, and by itself.
    std::fs::remove_file(root.path().join("conf.d/worse.conf")).unwrap();
    root.conf("bad.conf", "");
    runs(&root, "y", 1);
    wait_until("the tag", || root.points("metric").contains("a=b"));
    assert_eq!(pids(&agent)["my.x"], before["my.x"], "a tag restarts nobody");
    let (_, out, _) = root.run(&["status"]);
    assert!(!out.contains("the settings have faults"), "{out}");
}

#[test]
fn a_removed_input_leaves_within_nine_seconds_although_its_script_hangs() {
    let root = by_hand();
    let hangs = "import signal\nfrom datakit_framework import DataKitFramework\nclass C(DataKitFramework):\n    interval = 60\n    def run(self):\n        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\n        sum(range(10**13))\n";
    root.script("hang/h.py", hangs);
    save(&root, "x", 1);
    root.input("in", &["my"], "").input("hang", &["hang"], "stop_grace = \"1h\"");
    let agent = root.agent();
    let script = agent.wait_script("hang.h", "is ready", |script| script["jobs"][0].is_object());
    let before = all_run(&agent, 1);
    std::fs::remove_file(root.path().join("conf.d/hang.conf")).unwrap();
    let start = Instant::now();
    let (code, reloaded) = reload(&root);
    let took = start.elapsed();
    assert_eq!((code, outcome(&reloaded, "hang.h").0.as_str()), (0, "stopped"));
    assert!(took < Duration::from_secs(9), "{took:?}");
    assert!(!is_shown(&agent, "hang.h"));
    let pid = u32::try_from(script["pid"].as_u64().unwrap()).unwrap();
    assert!(!is_alive(pid));
    assert_eq!(pids(&agent)["my.x"], before["my.x"]);
    assert_eq!(agent.status()["units"].as_array().unwrap().len(), 1);
}

#[test]
fn an_input_that_is_removed_and_comes_back_while_its_worker_still_stops_has_one_worker() {
    let root = by_hand();
    let slow = "import time\nfrom datakit_framework import DataKitFramework\nclass C(DataKitFramework):\n    interval = 0.1\n    def run(self):\n        self.feed_metric(measurement='slow', fields={'v': 1})\n        time.sleep(2)\n";
    root.script("my/slow.py", slow);
    root.input("in", &["my"], "");
    let agent = root.agent();
    let script = agent.wait_script("my.slow", "is ready", |script| script["jobs"][0].is_object());
    wait_until("it is in its run", || root.points("metric").contains("slow"));
    root.conf("in.conf", "");
    let leaving = std::thread::scope(|scope| {
        let leaving = scope.spawn(|| reload(&root));
        agent.wait_script("my.slow", "is stopping", |script| script["state"] == "stopping");
        root.input("in", &["my"], "");
        let (code, reloaded) = reload(&root);
        assert_eq!((code, outcome(&reloaded, "my.slow").0.as_str()), (0, "started"));
        leaving.join().unwrap()
    });
    assert_eq!(leaving.0, 0);
    let after = agent.wait_script("my.slow", "runs again", |script| script["runs_ok"].as_u64() > Some(0));
    assert_ne!(after["pid"], script["pid"]);
    assert_eq!(agent.status()["units"].as_array().unwrap().len(), 1);
    let alive = support::Agent::descendants(root.path());
    assert_eq!(alive.len(), 1, "{alive:?}");
}

#[test]
fn only_settings_that_a_worker_is_started_with_restart_it() {
    let root = by_hand();
    let shows = "import os\nfrom datakit_framework import DataKitFramework\nclass C(DataKitFramework):\n    interval = 0.2\n    def run(self):\n        self.feed_metric(measurement='shows', tags={'env': os.environ.get('MINE', '-'), 'config': str(self.config.get('a', '-'))}, fields={'v': 1})\n";
    root.script("shows/s.py", shows);
    save(&root, "x", 1);
    let with = |more: &str| {
        root.input("in", &["shows"], more).input("other", &["my"], "");
    };
    with("");
    let agent = root.agent();
    let mut before = all_run(&agent, 2);
    let point = |text: &str| {
        wait_for(&format!("a point with {text}"), || {
            let points = root.points("metric");
            if points.lines().any(|line| line.starts_with("shows,") && line.contains(text)) {
                Ok(())
            } else {
                Err(points.lines().last().unwrap_or_default().to_owned())
            }
        });
    };
    // (settings, restarts, what its points then show)
    let table = [
        ("tags = { team = \"web\" }", None, "team=web"),
        ("tags = { team = \"db\" }\nrun_timeout = \"9m\"", None, "team=db"),
        ("tags = { team = \"ops\" }\nstop_grace = \"9s\"\nrun_timeout = \"8m\"", None, "team=ops"),
        ("envs = [\"MINE=two\"]", Some("`envs` changed"), "env=two"),
        ("envs = [\"MINE=two\"]\nconfig = { a = 3 }", Some("`config` changed"), "config=3"),
        ("envs = [\"MINE=two\"]\nconfig = { a = 3 }\nnice = 9", Some("`nice` changed"), "config=3"),
        (
            "envs = [\"MINE=two\"]\nconfig = { a = 3 }\nnice = 9\nmemory_max = \"1GiB\"",
            Some("`memory_max` changed"),
            "config=3",
        ),
    ];
    for (more, restarts, shown) in table {
        with(more);
        let (code, reloaded) = reload(&root);
        let (what, why) = outcome(&reloaded, "shows.s");
        let after = pids(&agent);
        match restarts {
            None => assert_eq!((code, what.as_str(), &after), (0, "updated", &before), "{more}"),
            Some(reason) => {
                assert_eq!((code, what.as_str(), why.as_str()), (0, "restarted", reason), "{more}");
                assert_ne!(after["shows.s"], before["shows.s"], "{more}");
            }
        }
        assert_eq!(outcome(&reloaded, "my.x").0, "unchanged");
        assert_eq!(after["my.x"], before["my.x"]);
        point(shown);
        before = after;
    }
    // A comment, another order, another file: the same settings.
    let written = std::fs::read_to_string(root.path().join("conf.d/in.conf")).unwrap();
    root.conf("in.conf", "").conf("moved.conf", &format!("# a comment\n\n{written}"));
    let (code, reloaded) = reload(&root);
    assert_eq!((code, outcome(&reloaded, "shows.s").0.as_str()), (0, "unchanged"));
    // Another name of the input: its log and source are called after it.
    root.conf("moved.conf", &written.replace("name = \"in\"", "name = \"renamed\""));
    let (_, reloaded) = reload(&root);
    assert_eq!(outcome(&reloaded, "shows.s"), ("restarted".to_owned(), "`name` changed".to_owned()));
    assert_eq!(agent.script("shows.s")["input"], "renamed");
    wait_until("its log has the new name", || {
        !root.log("_datakit_pythond_framework_renamed_.log").is_empty()
            || root.log("_datakit_pythond_cli.log").matches("shows.s: loaded").count() > 4
    });
    assert_eq!(agent.script("my.x")["restarts"], 0);
}

#[test]
fn another_interpreter_under_the_same_name_restarts_its_scripts() {
    let root = by_hand();
    save(&root, "x", 1);
    let python = root.path().join("python");
    let real =
        std::process::Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    let real = String::from_utf8(real.stdout).unwrap().trim().to_owned();
    let wrapper = |name: &str| {
        let path = root.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\nexec {real} \"$@\"\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        path
    };
    let (one, two) = (wrapper("one"), wrapper("two"));
    std::os::unix::fs::symlink(&one, &python).unwrap();
    root.conf("in.conf", &format!("[[inputs.pythond]]\nname = \"in\"\ncmd = {python:?}\ndirs = [\"my\"]\n"));
    let agent = root.agent();
    let before = all_run(&agent, 1);
    std::fs::remove_file(&python).unwrap();
    std::os::unix::fs::symlink(&two, &python).unwrap();
    let (code, reloaded) = reload(&root);
    let (what, why) = outcome(&reloaded, "my.x");
    assert_eq!((code, what.as_str()), (0, "restarted"));
    assert!(why.contains("another interpreter"), "{why}");
    assert_ne!(pids(&agent), before);
}

#[test]
fn a_storm_of_reloads_ends_in_the_last_state_and_restarts_nobody_in_vain() {
    let root = by_hand();
    for name in ["a", "b", "c"] {
        save(&root, name, 1);
    }
    root.input("in", &["my"], "");
    let agent = root.agent();
    let before = all_run(&agent, 3);
    save(&root, "b", 2);
    std::thread::scope(|scope| {
        let asks: Vec<_> = (0..8).map(|_| scope.spawn(|| root.run(&["reload"]).0)).collect();
        for round in 0..100 {
            agent.signal(Signal::HUP);
            // Whole at each moment: half a file would be refused, rightly.
            root.script("next", &collector("c", 3 + round, 0.2));
            std::fs::rename(root.path().join("python.d/next"), root.path().join("python.d/my/c.py")).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(asks.into_iter().all(|ask| ask.join().unwrap() == 0));
    });
    assert_eq!(reload(&root).0, 0);
    runs(&root, "b", 2);
    runs(&root, "c", 102);
    let after = pids(&agent);
    assert_eq!(after["my.a"], before["my.a"]);
    assert_eq!(agent.script("my.b")["restarts"], 1);
    assert!(reloads(&agent) <= 8 + 1 + 20, "{} reloads:\n{}", reloads(&agent), agent.console());
    // In the storm it may have been fulfilled together with a command, and is told as that.
    agent.signal(Signal::HUP);
    wait_until("the hangup is obeyed", || agent.console().contains("reload (SIGHUP)"));
}

#[test]
fn a_stop_during_a_reload_ends_the_agent_in_time_and_leaves_nothing() {
    let root = by_hand();
    save(&root, "x", 1);
    root.input("in", &["my"], "");
    let agent = root.agent();
    all_run(&agent, 1);
    root.script("my/x.py", "import time\ntime.sleep(1e6)\n");
    agent.signal(Signal::HUP);
    wait_until("the trial has begun", || support::Agent::descendants(root.path()).len() == 2);
    let (code, took) = agent.stop();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(9), "{took:?}");
    wait_until("nothing is left", || support::Agent::descendants(root.path()).is_empty());
}

#[test]
fn sinks_come_change_and_go_without_a_point_lost() {
    let root = by_hand();
    let counts = "from datakit_framework import DataKitFramework\nclass C(DataKitFramework):\n    interval = 0.02\n    n = 0\n    def run(self):\n        self.feed_metric(measurement='counts', fields={'n': self.n})\n        C.n += 1\n";
    root.script("my/counts.py", counts);
    root.input("in", &["my"], "");
    let sink = |name: &str, more: &str| format!("[sinks.file.{name}]\ndir = \"data/{name}\"\n{more}\n");
    root.conf("sinks.conf", &sink("one", ""));
    let agent = root.agent();
    let before = all_run(&agent, 1);
    let numbers = |name: &str| -> Vec<u64> {
        let text = std::fs::read_to_string(root.path().join("data").join(name).join("metric.lp")).unwrap_or_default();
        text.lines().filter_map(|line| line.split(" n=").nth(1)?.split(['.', ' ']).next()?.parse().ok()).collect()
    };
    let grows = |name: &str| {
        let count = numbers(name).len();
        wait_until(&format!("sink {name} gets more"), || numbers(name).len() > count + 20);
    };
    let sinks = |reloaded: &serde_json::Value| -> BTreeMap<String, String> {
        reloaded["sinks"].as_array().unwrap().iter().map(|sink| (text(&sink["name"]), text(&sink["outcome"]))).collect()
    };
    let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, what)| ((*name).to_owned(), (*what).to_owned())).collect()
    };
    grows("one");
    root.conf("sinks.conf", &(sink("one", "") + &sink("two", "")));
    let (code, reloaded) = reload(&root);
    assert_eq!((code, sinks(&reloaded)), (0, pairs(&[("two", "added")])));
    grows("two");
    for round in 0..3 {
        root.conf("sinks.conf", &(sink("one", &format!("linger = \"{}ms\"", 30 + round)) + &sink("two", "")));
        let (code, reloaded) = reload(&root);
        assert_eq!((code, sinks(&reloaded)), (0, pairs(&[("one", "changed")])));
        grows("one");
    }
    // A folder that cannot be made: the old sink runs on.
    std::fs::write(root.path().join("file"), "").unwrap();
    let two = sink("two", "").replace("data/two", "file/two");
    root.conf("sinks.conf", &(sink("one", "") + &two));
    let (code, reloaded) = reload(&root);
    assert_eq!((code, sinks(&reloaded)), (3, pairs(&[("one", "changed"), ("two", "refused")])));
    grows("two");
    root.conf("sinks.conf", &sink("one", ""));
    let (code, reloaded) = reload(&root);
    assert_eq!((code, sinks(&reloaded)), (0, pairs(&[("two", "removed")])));
    assert_eq!(agent.status()["sinks"].as_array().unwrap().len(), 1);
    assert_eq!(agent.status()["removed_sinks"][0]["name"], "two");
    grows("one");
    assert_eq!(pids(&agent), before, "no script was touched");
    assert_eq!(agent.stop().0, 0);
    let one = numbers("one");
    assert_eq!(one, (0..one.len() as u64).collect::<Vec<_>>(), "each once and in order");
}

#[test]
fn settings_that_need_another_start_are_named_until_they_are_put_back() {
    let root = by_hand();
    save(&root, "x", 1);
    root.input("in", &["my"], "");
    let agent = root.agent();
    let before = all_run(&agent, 1);
    root.conf(
        "more.conf",
        "[buffer]\nmax_size = \"64MiB\"\n[logging]\nlevel = \"debug\"\n[ingest]\nintegers = \"keep\"\n[series]\nmax = 10\n",
    );
    let (code, reloaded) = reload(&root);
    assert_eq!(code, 0);
    assert_eq!(reloaded["settings"], json!(["[ingest]", "[series]"]));
    assert_eq!(reloaded["needs_restart"], json!(["[buffer] max_size", "[logging] level"]));
    let told = "[buffer] max_size changed, which takes effect when the agent is started again";
    wait_until("the log says so", || agent.console().contains(told));
    let (_, out, _) = root.run(&["status"]);
    assert!(out.contains("[logging] level changed: it takes effect when the agent is started again"), "{out}");
    wait_until("integers are kept", || root.points("metric").lines().any(|line| line.contains("v=1i")));
    assert_eq!(reload(&root).1["needs_restart"], json!(["[buffer] max_size", "[logging] level"]));
    root.conf("more.conf", "[global_tags]\nhost = \"testhost\"\n");
    std::fs::write(root.path().join("conf.d/agent.conf"), "[http_api]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    root.conf("more.conf", "[global_tags]\nhost = \"testhost\"\ndc = \"eu\"\n");
    let (code, reloaded) = reload(&root);
    assert_eq!((code, &reloaded["needs_restart"]), (0, &json!([])));
    assert_eq!(reloaded["settings"], json!(["[ingest]", "[series]", "[global_tags]"]));
    wait_until("the new tag", || root.points("metric").contains("dc=eu"));
    assert_eq!(pids(&agent), before);
}

#[test]
fn three_hundred_scripts_that_are_enabled_at_once_all_run() {
    let root = by_hand();
    for number in 0..300 {
        root.script(&format!("many/m{number}.py"), &collector("many", number, 3600.0));
    }
    save(&root, "x", 1);
    root.input("in", &["my"], "");
    let agent = root.agent();
    let before = all_run(&agent, 1);
    root.input("many", &["many"], "");
    agent.signal(Signal::HUP);
    let start = Instant::now();
    let mut most = 0;
    loop {
        let status = agent.status();
        let scripts = status["units"].as_array().unwrap();
        let starting = scripts.iter().filter(|script| script["state"] == "starting" && script["pid"].is_u64()).count();
        most = most.max(starting);
        let well = scripts.iter().filter(|script| script["runs_ok"].as_u64() > Some(0)).count();
        if well == 301 {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(240), "{well} of {} run", scripts.len());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(most <= std::thread::available_parallelism().unwrap().get() * 2 + 2, "{most} started at the same time");
    assert_eq!(pids(&agent)["my.x"], before["my.x"]);
    assert!(agent.status()["units"].as_array().unwrap().iter().all(|script| script["restarts"] == 0));
}
