//! Promise: `run`, `check` and `status` name file, line and what would be right, and end with the documented code.

mod support;

use support::{Root, finished};

const HEAD: &str = "from datakit_framework import DataKitFramework\n\n";

/// Runs `pythond run` on a script in an otherwise empty folder: no settings, no agent.
fn run_script(text: &str, more: &[&str]) -> (i32, String, String) {
    let root = Root::new();
    std::fs::remove_dir_all(root.path().join("conf.d")).unwrap();
    root.script("mine/mine.py", text);
    let mut args = vec!["run", "python.d/mine/mine.py"];
    args.extend(more);
    root.run(&args)
}

#[test]
fn run_prints_the_points_of_the_demo_and_ends_with_0() {
    let repository = env!("CARGO_MANIFEST_DIR");
    let root = Root::new();
    std::fs::remove_dir_all(root.path().join("conf.d")).unwrap();
    let demo = std::fs::read_to_string(format!("{repository}/python.d/Demo/demo.py")).unwrap();
    root.script("Demo/demo.py", &demo);
    let (code, stdout, stderr) = root.run(&["run", "python.d/Demo/demo.py"]);
    assert_eq!(code, 0, "{stdout}\n{stderr}");
    assert!(stdout.contains("METRIC") && stdout.contains("demo") && stdout.contains("ok: 1 run"), "{stdout}");
    let (code, lines, _) = root.run(&["run", "--lp", "python.d/Demo/demo.py"]);
    assert_eq!(code, 0);
    assert!(lines.lines().any(|line| line.starts_with("demo,")), "{lines}");
    for line in lines.lines() {
        influxdb_line_protocol::parse_lines(line).next().unwrap().unwrap();
    }
    assert!(
        !root.path().join("python.d/core").exists() && !root.path().join("data").exists(),
        "nothing is left behind"
    );
}

#[test]
fn run_shows_prints_and_repeats_as_asked() {
    let text = format!(
        "{HEAD}class A(DataKitFramework):\n    n = 0\n    def run(self):\n        self.n += 1\n        print('run number', self.n)\n        self.feed_metric(measurement='m', fields={{'n': self.n}})\n"
    );
    let (code, stdout, _) = run_script(&text, &["--times", "3"]);
    assert_eq!(code, 0, "{stdout}");
    assert!(stdout.contains("run number 3") && stdout.contains("ok: 3 runs, 3 points"), "{stdout}");
    let (code, json, _) = run_script(&text, &["--json"]);
    assert_eq!(code, 0);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["points"][0]["measurement"], "m");
}

#[test]
fn a_wrong_status_is_named_with_the_line_of_the_script() {
    let text = format!(
        "{HEAD}class A(DataKitFramework):\n    def run(self):\n        self.feed_user_event(df_user_id='u', tags={{}}, df_date_range=10,\n            df_status='bad', df_event_id='e', df_title='t')\n"
    );
    let (code, stdout, stderr) = run_script(&text, &[]);
    assert_eq!(code, 6, "{stdout}\n{stderr}");
    for part in [
        "PD0401",
        "python.d/mine/mine.py:5",
        "df_status",
        "`bad`",
        "ok, info, warning, error, critical, nodata",
        "feed_user_event",
    ] {
        assert!(stderr.contains(part), "{part} in:\n{stderr}");
    }
}

#[test]
fn an_exception_is_shown_with_its_source_line() {
    let text = format!(
        "{HEAD}class A(DataKitFramework):\n    def run(self):\n        self.parse({{'r_await': 1}})\n\n    def parse(self, row):\n        return row['await']\n"
    );
    let (code, stdout, stderr) = run_script(&text, &[]);
    assert_eq!(code, 5, "{stdout}\n{stderr}");
    for part in
        ["PD0301", "KeyError: 'await'", "python.d/mine/mine.py:8", "return row['await']", "python.d/mine/mine.py:5"]
    {
        assert!(stderr.contains(part), "{part} in:\n{stderr}");
    }
}

#[test]
fn a_death_and_a_hang_are_told_and_end_with_5() {
    let (code, _, stderr) = run_script(
        &format!("{HEAD}import os\nclass A(DataKitFramework):\n    def run(self):\n        os._exit(7)\n"),
        &[],
    );
    assert_eq!(code, 5);
    assert!(stderr.contains("code 7"), "{stderr}");
    let (code, _, stderr) = run_script(
        &format!("{HEAD}import ctypes\nclass A(DataKitFramework):\n    def run(self):\n        ctypes.string_at(0)\n"),
        &[],
    );
    assert_eq!(code, 5);
    assert!(stderr.contains("SIGSEGV") && stderr.contains("mine.py"), "{stderr}");
    let hangs = format!("{HEAD}import time\nclass A(DataKitFramework):\n    def run(self):\n        time.sleep(1e6)\n");
    let (code, _, stderr) = run_script(&hangs, &["--timeout", "2s"]);
    assert_eq!(code, 5);
    assert!(stderr.contains("2 s") && stderr.contains("mine.py:6") || stderr.contains("line 6"), "{stderr}");
}

#[test]
fn a_script_that_cannot_be_loaded_ends_with_4() {
    for (text, code, parts) in [
        ("x = 1\nclass A(:\n    pass\n", "PD0201", vec!["mine.py:2", "class A(:"]),
        ("import surely_not_there\n", "PD0202", vec!["mine.py:1", "surely_not_there"]),
        ("raise RuntimeError('at import')\n", "PD0203", vec!["mine.py:1", "at import"]),
        ("x = 1\n", "PD0204", vec!["mine.py", "DataKitFramework"]),
    ] {
        let (exit, stdout, stderr) = run_script(text, &[]);
        assert_eq!(exit, 4, "{stdout}\n{stderr}");
        for part in parts.iter().chain([&code]) {
            assert!(stderr.contains(part), "{part} in:\n{stderr}");
        }
    }
}

#[test]
fn a_run_without_data_ends_with_6() {
    let (code, _, stderr) =
        run_script(&format!("{HEAD}class A(DataKitFramework):\n    def run(self):\n        pass\n"), &[]);
    assert_eq!(code, 6);
    assert!(stderr.contains("no points"), "{stderr}");
}

#[test]
fn what_is_not_there_is_a_usage_error() {
    let root = Root::new();
    let (code, _, stderr) = root.run(&["run", "python.d/nothing.py"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("python.d/nothing.py"), "{stderr}");
    assert_eq!(root.run(&["run"]).0, 2);
    assert_eq!(root.run(&["nonsense"]).0, 2);
}

#[test]
fn run_can_send_to_the_agent_and_says_when_there_is_none() {
    let root = Root::new();
    root.script("mine/mine.py", &format!("{HEAD}class A(DataKitFramework):\n    def run(self):\n        self.feed_metric(measurement='sent', fields={{'v': 1}})\n"));
    let (code, _, stderr) = root.run(&["run", "--send", "python.d/mine/mine.py"]);
    assert_eq!(code, 7, "{stderr}");
    let agent = root.agent();
    let (code, stdout, stderr) = root.run(&["run", "--send", "python.d/mine/mine.py"]);
    assert_eq!(code, 0, "{stdout}\n{stderr}");
    agent.wait_delivered();
    support::wait_until("the point is at the sink", || root.points("metric").contains("sent,"));
}

#[test]
fn five_mistakes_give_five_diagnostics_and_the_agent_does_not_start() {
    let root = Root::new();
    root.script("a/a.py", "x = 1\n");
    root.conf(
        "one.conf",
        "[[inputs.pythond]]\nname = \"one\"\ncmd = \"python3\"\ndris = [\"a\"]\ndirs = [\"nowhere\"]\n",
    );
    root.conf(
        "two.conf",
        "[buffer]\nmax_size = \"lots\"\n\n[sinks.influxdb.main]\nurl = \"ftp://x\"\ndatabase = \"d\"\n",
    );
    root.conf("three.conf", "[logging]\nlevel = \"info\n");
    for args in [["check"], ["agent"]] {
        let (code, stdout, stderr) = root.run(&args);
        assert_eq!(code, 3, "{stdout}\n{stderr}");
        for part in [
            "conf.d/one.conf:4:1",
            "did you mean `dirs`",
            "conf.d/one.conf:5:",
            "nowhere",
            "conf.d/two.conf:2:",
            "conf.d/two.conf:5:",
            "conf.d/three.conf:2:",
        ] {
            assert!(stderr.contains(part) || stdout.contains(part), "{part} in:\n{stdout}{stderr}");
        }
        assert_eq!(format!("{stdout}{stderr}").matches("error[PD").count(), 5, "{stdout}{stderr}");
    }
}

#[test]
fn check_loads_every_script_and_runs_none() {
    let root = Root::new();
    root.script("good/good.py", &format!("{HEAD}import pathlib\nclass A(DataKitFramework):\n    def run(self):\n        pathlib.Path(__file__).with_suffix('.ran').touch()\n"));
    root.script("bad/bad.py", "import os\nclass A(:\n");
    root.input("all", &["good", "bad"], "");
    let (code, stdout, stderr) = root.run(&["check"]);
    assert_eq!(code, 3, "{stdout}\n{stderr}");
    assert!(stderr.contains("error[PD0201]") && stderr.contains("python.d/bad/bad.py:2"), "{stderr}");
    assert!(!root.path().join("python.d/good/good.ran").exists());
    let (_, json, _) = root.run(&["check", "--format", "json"]);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["problems"][0]["code"], "PD0201");
    assert_eq!(value["problems"][0]["line"], 2);
    std::fs::remove_file(root.path().join("python.d/bad/bad.py")).unwrap();
    std::fs::remove_dir(root.path().join("python.d/bad")).unwrap();
    root.input("all", &["good"], "");
    let (code, stdout, stderr) = root.run(&["check"]);
    assert_eq!(code, 0, "{stdout}\n{stderr}");
    assert!(stdout.contains("1 script"), "{stdout}");
}

#[test]
fn status_without_an_agent_ends_with_7() {
    let root = Root::new();
    let (code, _, stderr) = root.run(&["status"]);
    assert_eq!(code, 7);
    assert!(stderr.contains("no agent answers"), "{stderr}");
}

#[test]
fn status_of_one_script_and_of_an_unknown_one() {
    let root = Root::new();
    root.script("mine/mine.py", &format!("{HEAD}class A(DataKitFramework):\n    def run(self):\n        self.feed_metric(measurement='m', fields={{'v': 1}})\n"));
    root.input("mine", &["mine"], "");
    let agent = root.agent();
    agent.wait_script("mine.mine", "a report", |script| script["points_accepted"].as_u64() > Some(0));
    let (code, stdout, _) = root.run(&["status", "mine"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("mine.mine") && stdout.contains("job: A: ok"), "{stdout}");
    let (code, _, stderr) = root.run(&["status", "nothing"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("mine.mine"), "{stderr}");
}

#[test]
fn help_names_only_what_is_there() {
    let root = Root::new();
    let (code, stdout, _) = finished(&mut root.command(&["--help"]));
    assert_eq!(code, 0);
    let commands =
        ["agent", "run", "check", "status", "stack", "reload", "restart", "run-now", "deadletter", "sink", "git"];
    for command in commands {
        assert!(stdout.contains(&format!("\n  {command} ")), "{stdout}");
    }
    for absent in ["tap", "logs"] {
        assert!(!stdout.contains(&format!("\n  {absent} ")), "{stdout}");
    }
}

#[test]
fn an_interrupted_run_ends_with_130_and_leaves_nothing() {
    let root = Root::new();
    std::fs::remove_dir_all(root.path().join("conf.d")).unwrap();
    let started = root.path().join("started");
    let text = format!(
        "{HEAD}import os, pathlib, time\nclass A(DataKitFramework):\n    def run(self):\n        \
         pathlib.Path({started:?}).write_text(str(os.getpid()))\n        time.sleep(1e6)\n"
    );
    root.script("mine/mine.py", &text);
    let mut child =
        root.command(&["run", "python.d/mine/mine.py"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    let worker: u32 = support::wait_for("the run to begin", || {
        std::fs::read_to_string(&started).ok().and_then(|text| text.parse().ok()).ok_or_else(|| "not yet".to_owned())
    });
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    assert_eq!(support::ended(&mut child).code(), Some(130));
    support::wait_until("the worker is gone", || !support::is_alive(worker));
}
