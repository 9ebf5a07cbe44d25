//! Promise: what is changed, left out, odd or long is told where its author looks: `run`, `status`, the page and the logs.

mod support;

use std::process::Command;

use support::{Root, wait_until};

const HEAD: &str = "from datakit_framework import DataKitFramework\n";

fn collector(class: &str, interval: &str, run: &str) -> String {
    format!("class {class}(DataKitFramework):\n    interval = {interval}\n    def run(self):\n        {run}\n")
}

#[track_caller]
fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
}

#[test]
fn what_becomes_of_a_point_is_told_once_for_each_line_and_key() {
    let root = Root::new();
    let twice = "for _ in range(2):\n            self.feed_metric(measurement='m', tags={'time': 'a', 'dup': 't', 'n': 5}, fields={'time': 5, 'dup': 6, 'nan': float('nan'), 'y': 1})";
    let again = "\n        self.feed_metric(measurement='m', tags={'dup': 't'}, fields={'dup': 6, 'y': 1})";
    let script = format!("{HEAD}{}", collector("C", "0.1", &format!("{twice}{again}")));
    root.script("my/x.py", &script);
    let first = [
        "tag `time` became `time_`: sinks keep this key for themselves",
        "field `time_` was dropped: a tag has the same key",
        "field `dup` was dropped: a tag has the same key",
        "tag `n` is 5 and was taken as text",
        "field `nan` of `m` is nan, which no point can hold; the field was left out",
    ];
    let (code, out, err) = root.run(&["run", "python.d/my/x.py", "--times", "3"]);
    assert_eq!(code, 0, "{out}\n{err}");
    contains(&out, &["ok: 3 runs, 9 points, 0 refused, 7 warnings"]);
    contains(&err, &first);
    contains(&err, &["python.d/my/x.py:6:", "python.d/my/x.py:7:"]);
    assert_eq!(err.matches(first[2]).count(), 2, "two lines report that key:\n{err}");
    let (_, json, _) = root.run(&["run", "--json", "python.d/my/x.py"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["exit"], &json["warnings"]), (&0.into(), &7.into()));

    root.input("in", &["my"], "");
    let agent = root.agent();
    let unit = agent.wait_script("my.x", "has run more than once", |unit| unit["runs_ok"].as_u64() > Some(2));
    assert_eq!((&unit["state"], &unit["why"]), (&"ok".into(), &serde_json::Value::Null));
    let warnings = unit["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 7, "{warnings:#?}");
    assert!(warnings.contains(&format!("{} (my/x.py:6:1)", first[2]).into()), "{warnings:#?}");
    assert!(warnings.contains(&format!("{} (my/x.py:7:1)", first[2]).into()), "{warnings:#?}");
    let (_, one, _) = root.run(&["status", "my.x"]);
    contains(&one, &first);
    let (_, all, _) = root.run(&["status"]);
    contains(&all, &["1 unit: well, 1 with warnings", "ok, 7 warnings"]);
    for log in ["_datakit_pythond_framework_in_.log", "_datakit_pythond_cli.log"] {
        let log = root.log(log);
        for (sentence, times) in first.iter().zip([1, 1, 2, 1, 1]) {
            assert_eq!(log.matches(sentence).count(), times, "{sentence} in:\n{log}");
        }
    }
    contains(&agent.console(), &first);
}

#[test]
fn a_script_with_a_warning_is_marked_in_the_list_and_counted() {
    let root = Root::new();
    let run = "self.feed_metric(measurement='m', fields={'v': 1})";
    for (name, interval) in [("minus", "-5"), ("zero", "0"), ("good", "7")] {
        root.script(&format!("my/{name}.py"), &format!("{HEAD}{}", collector("C", interval, run)));
    }
    root.input("in", &["my"], "");
    let agent = root.agent();
    for name in ["my.minus", "my.zero", "my.good"] {
        agent.wait_script(name, "has run", |unit| unit["runs_ok"].as_u64() > Some(0));
    }
    let zero = agent.script("my.zero");
    let warning = zero["warnings"][0].as_str().unwrap();
    contains(warning, &["`interval` of `C` is 0; it must be a number of seconds above 0, 10 is taken"]);
    let (_, out, _) = root.run(&["status"]);
    contains(&out, &["3 units: all well, 2 with warnings"]);
    assert_eq!(out.matches("ok, 1 warning ").count(), 2, "{out}");
}

#[test]
fn log_and_status_say_alike_when_a_broken_script_is_tried_again() {
    let root = Root::new();
    root.script("my/x.py", "def f(:\n");
    root.input("in", &["my"], "");
    let agent = root.agent();
    let unit = agent.wait_script("my.x", "is refused", |unit| unit["state"] == "load-error");
    assert_eq!((&unit["next"], &unit["next_at_change"]), (&"next try".into(), &true.into()));
    let sentence = |text: &str| {
        let line =
            text.lines().find(|line| line.contains("next try in ")).unwrap_or_else(|| panic!("{text}")).to_owned();
        let words = line.split("next try in ").nth(1).unwrap();
        words.split_once(" min").map(|(_, rest)| rest.split_whitespace().take(6).collect::<Vec<_>>().join(" ")).unwrap()
    };
    wait_until("the console says it", || agent.console().contains("next try in "));
    let said = ", or when its file changes";
    assert_eq!(sentence(&agent.console()), said);
    let (_, one, _) = root.run(&["status", "my.x"]);
    assert_eq!(sentence(&one), said);
    let (_, all, _) = root.run(&["status"]);
    contains(&all, &["next try in ", said]);
    // It is true.
    root.script(
        "my/x.py",
        &format!("{HEAD}{}", collector("C", "0.2", "self.feed_metric(measurement='m', fields={'v': 1})")),
    );
    agent.wait_script("my.x", "runs", |unit| unit["runs_ok"].as_u64() > Some(0));
}

#[test]
fn a_package_runs_in_the_agent_and_a_change_of_what_it_imports_one_level_up_restarts_it() {
    let root = Root::new();
    for (file, text) in [("out/__init__.py", ""), ("out/lib.py", "V = 1\n"), ("out/pkg/__init__.py", "")] {
        root.script(file, text);
    }
    let run = "self.feed_metric(measurement='m', fields={'v': V})";
    root.script("out/pkg/collect.py", &format!("{HEAD}from ..lib import V\n{}", collector("C", "0.1", run)));
    root.input("in", &["out/pkg"], "");
    let (code, out, err) = root.run(&["run", "python.d/out/pkg/collect.py"]);
    assert_eq!(code, 0, "{out}\n{err}");
    let (code, out, err) = root.run(&["check"]);
    assert_eq!(code, 0, "{out}\n{err}");
    let agent = root.agent();
    agent.wait_script("out.pkg.collect", "runs", |unit| unit["runs_ok"].as_u64() > Some(0));
    root.script("out/lib.py", "V = 2\n");
    wait_until("the new version runs", || root.points("metric").contains(" v=2.0 "));
    // The trial of a broken version leaves the good one running, also through a crash.
    root.script("out/lib.py", "V = = 3\n");
    let unit = agent.wait_script("out.pkg.collect", "is refused", |unit| unit["refused"].is_string());
    contains(unit["refused"].as_str().unwrap(), &["lib.py:1: syntax error"]);
}

#[test]
fn an_async_run_reports_and_is_cancelled_at_the_stop_of_the_agent() {
    let root = Root::new();
    let text = format!(
        "import asyncio\n{HEAD}class C(DataKitFramework):\n    interval = 3600\n    async def run(self):\n        self.feed_metric(measurement='later', fields={{'v': 1}})\n        try:\n            await asyncio.sleep(3600)\n        finally:\n            self.feed_metric(measurement='cleaned', fields={{'v': 1}})\n"
    );
    root.script("my/x.py", &text);
    root.input("in", &["my"], "stop_grace = \"10m\"");
    let agent = root.agent();
    wait_until("its first point", || root.points("metric").contains("later,"));
    // With ten minutes of grace only a cancellation ends it before the test runs out of patience.
    root.run(&["restart", "my.x"]);
    wait_until("its `finally` has reported", || root.points("metric").contains("cleaned,"));
    agent.wait_script("my.x", "was started anew", |unit| {
        unit["restarts"].as_u64() == Some(1) && unit["state"] != "stopping"
    });
    drop(agent);
}

/// Runs a command on a terminal of 80 columns; what it prints there.
fn on_a_terminal(root: &Root, args: &[&str]) -> String {
    const PROGRAM: &str = "
import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    # The command must not look at the size before it is set.
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
try:
    while True:
        data = os.read(terminal, 65536)
        if not data: break
        sys.stdout.buffer.write(data)
except OSError:
    pass
os.waitpid(pid, 0)
";
    let inner = root.command(args);
    let mut command = Command::new("python3");
    command.args(["-c", PROGRAM]).arg(inner.get_program()).args(inner.get_args());
    for (key, value) in inner.get_envs() {
        command.env(key, value.unwrap_or_default());
    }
    support::finished(&mut command).1.replace('\r', "")
}

#[test]
fn a_long_line_of_a_script_is_cut_on_a_terminal_and_whole_elsewhere() {
    let root = Root::new();
    let run = "print('x' * 5000)\n        raise ValueError('y' * 1500)";
    root.script("my/x.py", &format!("{HEAD}{}", collector("C", "3600", run)));
    root.input("in", &["my"], "");
    let agent = root.agent();
    agent.wait_script("my.x", "has failed", |unit| {
        unit["runs_failed"].as_u64() > Some(0) && unit["last_words"].as_array().is_some_and(|words| !words.is_empty())
    });
    let shown = on_a_terminal(&root, &["status", "my.x"]);
    let (heads, blocks) = shown.split_once("Traceback").unwrap_or_else(|| panic!("{shown}"));
    assert!(blocks.lines().skip(1).all(|line| line.chars().count() <= 80), "{shown}");
    contains(blocks, &["last output", "xxxxx…\n"]);
    assert!(heads.lines().all(|line| line.chars().count() <= 300), "{shown}");
    contains(heads, &["yyy…"]);
    let list = on_a_terminal(&root, &["status"]);
    assert!(list.lines().all(|line| line.chars().count() <= 300), "{list}");
    let (_, piped, _) = root.run(&["status", "my.x"]);
    contains(&piped, &[&"x".repeat(5000), &"y".repeat(1500)]);
    let (_, json, _) = root.run(&["status", "--json", "my.x"]);
    contains(&json, &[&"x".repeat(5000)]);
}
