//! Promises of `pythond stack NAME`: what a live worker is doing can be seen at any time, and looking harms nothing.

mod support;

use rustix::process::{Pid, Signal};
use support::{Agent, Root};

/// A collector whose `run` is this, at line 5.
fn collector(root: &Root, name: &str, interval: f64, run: &str) {
    let body: String = run.lines().map(|line| format!("        {line}\n")).collect();
    root.script(
        &format!("my/{name}.py"),
        &format!("import os, signal, threading, time\nfrom datakit_framework import DataKitFramework\nclass C(DataKitFramework):\n    interval = {interval}\n    def run(self):\n{body}"),
    );
}

fn in_a_run(agent: &Agent, id: &str) -> u32 {
    let script = agent.wait_script(id, "is in its run", |script| script["last_words"][0] == "in");
    u32::try_from(script["pid"].as_u64().unwrap()).unwrap()
}

fn signal(pid: u32, signal: Signal) {
    rustix::process::kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

#[test]
fn the_stacks_of_all_threads_are_shown_also_from_within_c_code() {
    let root = Root::new();
    collector(&root, "python", 60.0, "print('in')\nself.query()\ndef query(self):\n    pass");
    root.script("my/python.py", "import threading\nfrom datakit_framework import DataKitFramework\nclass C(DataKitFramework):\n    interval = 60\n    def run(self):\n        threading.Thread(target=self.other, daemon=True).start()\n        print('in')\n        self.query()\n    def query(self):\n        while True: pass\n    def other(self):\n        threading.Event().wait()\n");
    collector(&root, "c", 60.0, "print('in')\nsum(range(10**13))");
    root.input("in", &["my"], "");
    let agent = root.agent();
    let pids = [in_a_run(&agent, "my.python"), in_a_run(&agent, "my.c")];
    let (code, out, err) = root.run(&["stack", "my.python"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("my/python.py\", line 10 in query") && out.contains("line 12 in other"), "{out}");
    let (code, out, _) = root.run(&["stack", "c"]);
    assert_eq!(code, 0, "the end of a name is enough");
    assert!(out.contains("my/c.py\", line 7 in run"), "{out}");
    let (_, json, _) = root.run(&["stack", "my.c", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["id"], &json["pid"], &json["why"]), (&"my.c".into(), &pids[1].into(), &serde_json::Value::Null));
    for (id, pid) in ["my.python", "my.c"].iter().zip(pids) {
        let script = agent.script(id);
        assert_eq!((&script["pid"], &script["restarts"]), (&pid.into(), &0.into()), "looking ends nobody");
        assert_eq!(script["stack"], serde_json::Value::Null, "a look is no evidence of a fault");
    }
}

#[test]
fn a_run_that_sleeps_sleeps_on_and_many_looks_at_once_are_answered() {
    let root = Root::new();
    collector(
        &root,
        "sleeps",
        60.0,
        "print('in')\nbefore = time.monotonic()\ntime.sleep(3)\nprint('slept', time.monotonic() - before >= 3)",
    );
    root.input("in", &["my"], "");
    let agent = root.agent();
    in_a_run(&agent, "my.sleeps");
    let looks: Vec<_> = (0..8)
        .map(|_| {
            let mut command = root.command(&["stack", "sleeps"]);
            std::thread::spawn(move || support::finished(&mut command))
        })
        .collect();
    for look in looks {
        let (code, out, err) = look.join().unwrap();
        assert!(code == 0 && out.contains("my/sleeps.py\", line 8 in run"), "{out}{err}");
    }
    let script = agent.wait_script("my.sleeps", "has slept", |script| script["runs_ok"] == 1);
    assert_eq!(script["last_words"][1], "slept True");
}

#[test]
fn why_there_is_no_stack_is_said() {
    let root = Root::new();
    collector(&root, "stopped", 60.0, "print('in')\nos.kill(os.getpid(), signal.SIGSTOP)");
    root.script("my/broken.py", "def f(:\n");
    root.input("in", &["my"], "");
    let agent = root.agent();
    let pid = in_a_run(&agent, "my.stopped");
    let (code, out, err) = root.run(&["stack", "stopped"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains(&format!("no stack of my.stopped (pid {pid}): the process is stopped (SIGSTOP")), "{err}");
    agent.wait_script("my.broken", "is blocked", |script| script["state"] == "load-error");
    let (code, _, err) = root.run(&["stack", "broken"]);
    assert_eq!(code, 1);
    assert!(err.contains("no stack of my.broken: it has no process: my/broken.py:1: syntax error"), "{err}");
    let (code, _, err) = root.run(&["stack", "nobody"]);
    assert_eq!(code, 2);
    assert!(err.contains("no unit is called `nobody`; there are: my.broken, my.stopped"), "{err}");
    signal(pid, Signal::CONT);
    drop(agent);
    let (code, _, err) = root.run(&["stack", "stopped"]);
    assert_eq!(code, 7);
    assert!(err.contains("no agent answers"), "{err}");
}

#[test]
fn only_the_unix_socket_may_ask() {
    let root = Root::new();
    collector(&root, "a", 60.0, "print('in')");
    root.input("in", &["my"], "");
    let agent = root.agent();
    in_a_run(&agent, "my.a");
    let answer = agent.get("/api/v1/units/my.a/stack");
    assert_eq!(answer.status, 403, "{answer:?}");
    let answer = support::http::unix(&root.socket(), "GET", "/api/v1/units/nobody/stack", &[], b"").unwrap();
    assert_eq!(answer.status, 404, "{answer:?}");
}

#[test]
fn a_segfault_is_shown_with_its_signal_and_its_last_python_stack() {
    let root = Root::new();
    collector(&root, "segv", 60.0, "import ctypes\nctypes.string_at(0)");
    root.input("in", &["my"], "");
    let agent = root.agent();
    agent.wait_script("my.segv", "died", |script| script["why"].as_str().is_some_and(|why| why.contains("SIGSEGV")));
    let (_, out, _) = root.run(&["status", "my.segv"]);
    assert!(out.contains("killed by signal 11 (SIGSEGV) at my/segv.py:7 in run"), "{out}");
    assert!(out.contains("Fatal Python error: Segmentation fault"), "{out}");
}
