//! `isolation`: a process for each class, or one for all scripts of an input; what one of them does to itself reaches as far as was chosen.

#[path = "support/invariants.rs"]
mod invariants;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use invariants::{Case, Watched, python, signal};
use rustix::process::Signal;
use serde_json::Value;
use support::{Agent, Root, wait_for, wait_until};

/// Each class notes the processes that it runs in, and that another copy of it is alive if there is one, from its first run on: a trial
/// only makes it. It reports `n`, the number of the run in this process, and the version of its file.
const HEAD: &str = "\
import ctypes, fcntl, os, pathlib, sys, time
from datakit_framework import DataKitFramework
HERE = pathlib.Path(__file__).parent
SEEN = []
class Base:
    interval = 0.2
    n = 0
    def run(self):
        if not self.n:
            self.begin(f'{__file__}.{type(self).__name__}')
        self.n += 1
        self.feed_metric(measurement=self.called, fields={'n': self.n, 'v': VERSION, 'seen': len(SEEN)})
        self.act()
    @property
    def called(self):
        return f'{HERE.name}_{pathlib.Path(__file__).stem}_{type(self).__name__}'
    def begin(self, mark):
        SEEN.append(type(self).__name__)
        self.alone = open(mark + '.alone', 'a')
        try:
            fcntl.flock(self.alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pathlib.Path(mark + '.twice').touch()
        with open(mark + '.starts', 'a') as f:
            f.write(f'{os.getpid()}\\n')
    def act(self):
        pass
    def once(self):
        if self.n < 3:
            return False
        try:
            (HERE / f'{type(self).__name__}.once').touch(exist_ok=False)
        except FileExistsError:
            return False
        return True
";

/// A script of this version; each class with the body of `act`.
fn script(version: u32, classes: &[(&str, &str)]) -> String {
    let class = |(name, act): &(&str, &str)| {
        format!("class {name}(Base, DataKitFramework):\n    def act(self):\n        {act}\n")
    };
    format!("VERSION = {version}\n{HEAD}{}", classes.iter().map(class).collect::<String>())
}

fn input(root: &Root, name: &str, dirs: &[&str], isolation: &str, more: &str) {
    let text = format!(
        "[[inputs.pythond]]\nname = {name:?}\ncmd = {:?}\ndirs = {dirs:?}\nisolation = {isolation:?}\n{more}\n",
        python()
    );
    root.conf(&format!("{name}.conf"), &text);
}

/// One after the other: with a zygote and without.
fn both_ways(test: impl Fn(&str)) {
    for zygote in ["auto", "off"] {
        test(&format!("[workers]\nzygote = {zygote:?}\n"));
    }
}

fn rows(agent: &Agent) -> BTreeMap<String, Value> {
    let status = agent.status();
    let rows = status["units"].as_array().unwrap().iter();
    rows.map(|row| (row["id"].as_str().unwrap().to_owned(), row.clone())).collect()
}

fn ids(agent: &Agent) -> Vec<String> {
    rows(agent).into_keys().filter(|id| id != "witness.witness").collect()
}

/// Waits until there is such a row, and it fulfils `check`.
fn wait(agent: &Agent, id: &str, what: &str, check: impl Fn(&Value) -> bool) -> Value {
    wait_for(&format!("{id}: {what}"), || match rows(agent).remove(id) {
        Some(row) if check(&row) => Ok(row),
        other => Err(format!("{other:#?}")),
    })
}

fn runs(agent: &Agent, id: &str) -> Value {
    wait(agent, id, "runs", |row| row["state"] == "ok" && row["runs_ok"].as_u64() > Some(1))
}

fn wait_ids(agent: &Agent, expected: &[&str]) {
    wait_for(&format!("the rows {expected:?}"), || {
        let found = ids(agent);
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

fn pid(row: &Value) -> u32 {
    u32::try_from(row["pid"].as_u64().unwrap()).unwrap()
}

/// The fields of the points of one class, in the order of its runs.
fn points(root: &Root, measurement: &str) -> Vec<BTreeMap<String, u64>> {
    let fields = |line: &str| {
        let fields = line.split(' ').nth(1).unwrap().split(',');
        let pair = |field: &str| {
            let (name, value) = field.split_once('=').unwrap();
            (name.to_owned(), value.parse::<f64>().unwrap() as u64)
        };
        fields.map(pair).collect()
    };
    let text = root.points("metric");
    text.lines().filter(|line| line.starts_with(&format!("{measurement},"))).map(fields).collect()
}

fn wait_version(root: &Root, measurement: &str, version: u64) {
    wait_for(&format!("{measurement} of version {version}"), || {
        let points = points(root, measurement);
        if points.iter().any(|point| point["v"] == version) { Ok(()) } else { Err(format!("{:?}", points.last())) }
    });
}

/// Each run of the class has arrived, in one life.
fn missed_nothing(root: &Root, measurement: &str) {
    let numbers: Vec<u64> = points(root, measurement).iter().map(|point| point["n"]).collect();
    assert!(numbers.len() > 3, "{measurement}: {numbers:?}");
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{measurement}");
}

fn nothing_ran_twice(root: &Path) {
    let mut twice = Vec::new();
    for folder in std::fs::read_dir(root.join("python.d")).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        let names = std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.path());
        twice.extend(names.filter(|path| path.extension().is_some_and(|ending| ending == "twice")));
    }
    assert!(twice.is_empty(), "{twice:?}");
}

/// Ends the agent; nothing of it is left, and no class has run twice.
fn ends_clean(root: &Root, agent: Agent) {
    agent.wait_delivered();
    assert!(!agent.console().contains("panicked"), "{}", agent.console());
    assert_eq!(agent.stop().0, 0);
    assert_eq!(Agent::descendants(root.path()), Vec::<u32>::new());
    nothing_ran_twice(root.path());
}

// --- class ---

/// An agent with a script of two classes, of which A does something, both in processes of their own.
fn two_classes(conf: &str, settings: &str, act: &str) -> (Watched, Value, Value) {
    let case = Case::new();
    case.root.conf("workers.conf", conf);
    case.root.script("two/two.py", &script(1, &[("A", act), ("B", "pass")]));
    input(&case.root, "two", &["two"], "class", settings);
    let watched = case.start();
    let (a, b) = (runs(&watched.agent, "two.two:A"), runs(&watched.agent, "two.two:B"));
    assert_ne!(a["pid"], b["pid"]);
    assert_eq!(ids(&watched.agent), ["two.two:A", "two.two:B"]);
    (watched, a, b)
}

fn other_class_misses_nothing(conf: &str, settings: &str, act: &str, why: &[&str]) {
    let (watched, _, b) = two_classes(conf, settings, act);
    let agent = &watched.agent;
    let a = wait(agent, "two.two:A", "was lost", |row| row["restarts"].as_u64() > Some(0));
    wait_for("the reason in the log", || {
        let log = watched.cli_log();
        let line = log.lines().find(|line| line.contains("two.two:A: ") && why.iter().all(|part| line.contains(part)));
        line.map(|_| ()).ok_or(format!("{a:#}\n{log}"))
    });
    wait(agent, "two.two:A", "is back", |row| row["state"] == "ok" && row["restarts"] == 1);
    let now = runs(agent, "two.two:B");
    assert_eq!((&now["pid"], &now["restarts"], &now["runs_failed"]), (&b["pid"], &0.into(), &0.into()));
    let log = watched.cli_log();
    assert!(!log.lines().any(|line| line.contains("two.two:B: ") && line.contains("killed")), "{log}");
    missed_nothing(&watched.root, "two_two_B");
    // Its module is its own: it never saw the other class.
    assert!(points(&watched.root, "two_two_B").iter().all(|point| point["seen"] == 1));
    watched.holds();
}

#[test]
fn a_class_that_segfaults_takes_no_run_from_the_other() {
    both_ways(|conf| {
        let act = "if self.once(): ctypes.string_at(0)";
        other_class_misses_nothing(conf, "", act, &["killed by signal 11 (SIGSEGV) at two/two.py:", "in act"]);
    });
}

#[test]
fn a_class_that_hangs_in_c_takes_no_run_from_the_other() {
    let act = "if self.once(): sum(range(10**13))";
    let settings = "run_timeout = \"2s\"\nstop_grace = \"300ms\"";
    other_class_misses_nothing("", settings, act, &["hung: its run lasted longer than run_timeout", "two/two.py:"]);
}

#[test]
fn a_class_that_exits_takes_no_run_from_the_other() {
    both_ways(|conf| {
        other_class_misses_nothing(conf, "", "if self.once(): os._exit(7)", &["exited with code 7"]);
    });
}

#[test]
fn a_class_is_told_to_restart_to_run_and_to_show_its_stack_by_its_name() {
    let (watched, a, b) = two_classes("", "", "pass");
    let root = &watched.root;
    let (code, out, err) = root.run(&["restart", "two:A"]);
    assert_eq!((code, out.as_str()), (0, "two.two:A ends its run and is started anew\n"), "{err}");
    wait(&watched.agent, "two.two:A", "is another process", |row| row["pid"].is_u64() && row["pid"] != a["pid"]);
    assert_eq!(runs(&watched.agent, "two.two:B")["pid"], b["pid"]);
    let (code, out, _) = root.run(&["run-now", "two.two:B"]);
    assert_eq!((code, out.as_str()), (0, "two.two:B runs now\n"));
    let (code, out, _) = root.run(&["stack", "two.two:B"]);
    assert!(code == 0 && out.contains("Thread"), "{out}");
    let (code, _, err) = root.run(&["restart", "two.two"]);
    assert_eq!(code, 2);
    assert!(err.contains("can be one of two.two:A, two.two:B"), "{err}");
    for class in ["A", "B"] {
        assert!(has_lock(root, class), "{class}");
    }
    watched.holds();
}

/// A lock whose name says the class, however its name was made one of a file.
fn has_lock(root: &Root, class: &str) -> bool {
    let names = std::fs::read_dir(root.path().join("data/run/workers")).unwrap().flatten();
    let names: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.iter().any(|name| name.contains("two") && name.contains(class) && name.ends_with(".lock"))
}

#[test]
fn an_edit_that_adds_and_removes_a_class_starts_and_ends_its_worker() {
    both_ways(|conf| {
        let (watched, _, _) = two_classes(conf, "", "pass");
        let (root, agent) = (&watched.root, &watched.agent);
        root.script("two/two.py", &script(2, &[("C", "pass"), ("A", "pass")]));
        wait_ids(agent, &["two.two:A", "two.two:C"]);
        for class in ["A", "C"] {
            wait_version(root, &format!("two_two_{class}"), 2);
        }
        let a = runs(agent, "two.two:A");
        assert!(a["runs_ok"].as_u64().unwrap() > points(root, "two_two_A").last().unwrap()["n"], "its counts go on");
        assert!(points(root, "two_two_B").iter().all(|point| point["v"] == 1));
        assert!(agent.console().contains("two.two:B: stopped"), "{}", agent.console());
        wait_until("nothing is kept of B", || {
            let kept = std::fs::read_dir(root.path().join("data/last-good")).unwrap().flatten();
            let manifest = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("manifest.json")).ok();
            let kept: Vec<String> = kept.filter_map(manifest).collect();
            !kept.iter().any(|text| text.contains("two.two:B")) && kept.iter().any(|text| text.contains("two.two:C"))
        });
        watched.holds();
    });
}

#[test]
fn a_broken_edit_is_refused_and_the_classes_run_on_through_a_crash_and_a_new_agent() {
    let root = Root::new();
    root.script("two/two.py", &script(1, &[("A", "pass"), ("B", "pass")]));
    input(&root, "two", &["two"], "class", "");
    let agent = root.agent();
    let (a, b) = (runs(&agent, "two.two:A"), runs(&agent, "two.two:B"));
    root.script("two/two.py", &script(2, &[("A", "pass"), ("B", "pass")]).replace("def run(self):", "def run(self:"));
    let row = wait(&agent, "two.two", "tells the refusal", |row| row["refused"].is_string());
    let why = row["why"].as_str().unwrap();
    assert!(why.starts_with("last good version of ") && why.contains("two/two.py:") && why.contains("PD0201"), "{why}");
    assert_eq!(row["state"], "ok");
    assert_eq!((&runs(&agent, "two.two:A")["pid"], &runs(&agent, "two.two:B")["pid"]), (&a["pid"], &b["pid"]));
    // Dies, and is back from its copy.
    signal(pid(&a), Signal::KILL);
    let row = wait(&agent, "two.two:A", "runs from its copy", |row| {
        row["pid"].is_u64() && row["pid"] != a["pid"] && row["state"] == "ok"
    });
    assert!(row["why"].as_str().unwrap().contains(", from its copy; refused at"), "{row:#}");
    assert_eq!(runs(&agent, "two.two:B")["pid"], b["pid"]);
    ends_clean(&root, agent);

    let agent = root.agent();
    for id in ["two.two:A", "two.two:B"] {
        let row =
            wait(&agent, id, "runs from its copy", |row| row["state"] == "ok" && row["runs_ok"].as_u64() > Some(0));
        assert!(row["why"].as_str().unwrap().contains(", from its copy; refused at"), "{row:#}");
    }
    root.script("two/two.py", &script(3, &[("A", "pass"), ("B", "pass")]));
    for class in ["A", "B"] {
        wait_version(&root, &format!("two_two_{class}"), 3);
        wait(&agent, &format!("two.two:{class}"), "is well", |row| row["why"].is_null());
    }
    wait_ids(&agent, &["two.two:A", "two.two:B"]);
    ends_clean(&root, agent);
}

#[test]
fn a_class_that_cannot_be_made_is_named_and_the_others_run() {
    let root = Root::new();
    let broken = "class Bad(Base, DataKitFramework):\n    def __init__(self):\n        raise OSError('no licence')\n";
    root.script("two/two.py", &format!("{}{broken}", script(1, &[("A", "pass")])));
    input(&root, "two", &["two"], "class", "");
    let agent = root.agent();
    runs(&agent, "two.two:A");
    let row = wait(&agent, "two.two:Bad", "cannot be loaded", |row| row["state"] == "load-error");
    assert!(row["why"].as_str().unwrap().contains("OSError: no licence"), "{row:#}");
    assert_eq!(runs(&agent, "two.two:A")["restarts"], 0);
    ends_clean(&root, agent);
}

#[test]
fn a_script_that_dies_at_import_is_tried_again_and_helpers_and_single_classes_have_their_rows() {
    let root = Root::new();
    let dies = "import os, pathlib\nmark = pathlib.Path(__file__ + '.died')\nif not mark.exists():\n    mark.touch()\n    os._exit(5)\n";
    root.script("one/one.py", &format!("{dies}{}", script(1, &[("A", "pass")])));
    root.script("one/helper.py", "VALUE = 1\n");
    root.script("bad/bad.py", "import not_there_at_all\n");
    input(&root, "one", &["one", "bad"], "class", "");
    let agent = root.agent();
    runs(&agent, "one.one:A");
    let bad = wait(&agent, "bad.bad", "cannot be loaded", |row| row["state"] == "load-error");
    assert!(bad["why"].as_str().unwrap().contains("not_there_at_all"), "{bad:#}");
    wait(&agent, "one.helper", "is a helper", |row| row["state"] == "helper");
    assert_eq!(ids(&agent), ["bad.bad", "one.helper", "one.one:A"]);
    assert!(root.log("_datakit_pythond_cli.log").contains("one.one: exited with code 5 while it was loaded"));
    // A class comes to what was none, and goes again.
    root.script("one/helper.py", &script(1, &[("H", "pass")]));
    wait_version(&root, "one_helper_H", 1);
    wait_ids(&agent, &["bad.bad", "one.helper:H", "one.one:A"]);
    root.script("one/helper.py", "VALUE = 1\n");
    wait_ids(&agent, &["bad.bad", "one.helper", "one.one:A"]);
    ends_clean(&root, agent);
}

#[test]
fn a_class_that_dies_again_and_again_trips_its_own_breaker() {
    let (watched, _, b) = two_classes("", "", "os._exit(1) if self.n > 2 else None");
    let a = wait(&watched.agent, "two.two:A", "is tripped", |row| row["next"] == "next try");
    assert_eq!(a["state"], "crashed");
    let now = runs(&watched.agent, "two.two:B");
    assert_eq!((&now["pid"], &now["why"]), (&b["pid"], &Value::Null));
    missed_nothing(&watched.root, "two_two_B");
    watched.holds();
}

#[test]
fn classes_of_a_killed_agent_run_once_under_the_next() {
    let root = Root::new();
    root.script("two/two.py", &script(1, &[("A", "pass"), ("B", "pass")]));
    input(&root, "two", &["two"], "class", "");
    let agent = root.agent();
    let before = [runs(&agent, "two.two:A"), runs(&agent, "two.two:B")];
    agent.kill();
    let agent = root.agent();
    for (row, id) in before.iter().zip(["two.two:A", "two.two:B"]) {
        assert_ne!(runs(&agent, id)["pid"], row["pid"]);
    }
    ends_clean(&root, agent);
}

// --- input ---

const BAD_SYNTAX: &str = "from datakit_framework import DataKitFramework\nclass C(DataKitFramework)\n    pass\n";

#[test]
fn scripts_of_an_input_share_a_process_and_those_that_cannot_be_loaded_are_named() {
    both_ways(|conf| {
        let root = Root::new();
        root.conf("workers.conf", conf);
        root.script("a/x.py", &script(1, &[("C", "pass")]));
        root.script(
            "b/x.py",
            &script(1, &[("C", "self.report({'M': [{'measurement': '', 'fields': {}}]})"), ("D", "pass")]),
        );
        root.script("b/syntax.py", BAD_SYNTAX);
        let raises = "class C(Base, DataKitFramework):\n    def __init__(self):\n        raise OSError('no licence')\n";
        root.script("b/raises.py", &format!("VERSION = 1\n{HEAD}{raises}"));
        root.script("b/helper.py", "VALUE = 1\n");
        input(&root, "all", &["a", "b"], "input", "");
        let agent = root.agent();
        let (ax, bx) = (runs(&agent, "a.x"), wait(&agent, "b.x", "is refused", |row| row["state"] == "refused"));
        assert_eq!((pid(&ax), &ax["shares_process"]), (pid(&bx), &true.into()));
        assert_eq!(ids(&agent), ["a.x", "b.helper", "b.raises", "b.syntax", "b.x"]);
        let classes = |row: &Value| row["jobs"].as_array().unwrap().iter().map(|job| job["key"].clone()).collect();
        let (of_a, of_b): (Vec<Value>, Vec<Value>) = (classes(&ax), classes(&bx));
        assert_eq!((of_a, of_b), (vec!["C".into()], vec!["C".into(), "D".into()]));
        assert_eq!((&ax["points_refused"], &ax["why"]), (&0.into(), &Value::Null));
        // The place is added a moment after the reason.
        wait(&agent, "b.x", "tells the line", |row| {
            row["last_refusal"].as_str().is_some_and(|text| text.contains("b/x.py:"))
        });
        let syntax = wait(&agent, "b.syntax", "is named", |row| row["state"] == "load-error");
        let why = syntax["why"].as_str().unwrap();
        assert!(why.starts_with("b/syntax.py:2: syntax error") && why.contains("PD0201"), "{why}");
        let raises = wait(&agent, "b.raises", "is named", |row| row["state"] == "load-error");
        assert!(raises["why"].as_str().unwrap().contains("OSError: no licence"), "{raises:#}");
        assert_eq!(rows(&agent)["b.helper"]["state"], "helper");
        let log = root.log("_datakit_pythond_cli.log");
        assert!(log.contains("b.syntax: could not be loaded: b/syntax.py:2: syntax error"), "{log}");
        assert!(agent.console().contains("b.raises: cannot run"), "{}", agent.console());
        assert!(agent.console().contains("[all]: started, pid "), "{}", agent.console());
        for measurement in ["a_x_C", "b_x_C", "b_x_D"] {
            wait_version(&root, measurement, 1);
            missed_nothing_so_far(&root, measurement);
        }
        let (_, out, _) = root.run(&["status"]);
        assert!(out.contains("▲ b.syntax: b/syntax.py:2: syntax error"), "{out}");
        let (code, out, _) = root.run(&["check"]);
        assert_eq!(code, 3, "{out}");
        ends_clean(&root, agent);
        let (_, out, err) = root.run(&["run", "a.x"]);
        assert!(out.contains("ok: 1 run, 1 point"), "{out}{err}");
        let (_, out, err) = root.run(&["run", "b.x:D"]);
        assert!(out.contains("job D") && !out.contains("job C") && out.contains("ok: 1 run, 1 point"), "{out}{err}");
    });
}

fn missed_nothing_so_far(root: &Root, measurement: &str) {
    let numbers: Vec<u64> = points(root, measurement).iter().map(|point| point["n"]).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{measurement}");
}

/// An agent with two scripts in one process, of which `a.x` does something.
fn two_scripts(settings: &str, act: &str) -> Watched {
    let case = Case::new();
    case.root.script("a/x.py", &script(1, &[("C", act)]));
    case.root.script("b/x.py", &script(1, &[("C", "pass")]));
    input(&case.root, "both", &["a", "b"], "input", settings);
    case.start()
}

#[test]
fn a_crash_takes_all_scripts_of_the_input_and_says_which() {
    for (act, why) in [
        ("if self.once(): ctypes.string_at(0)", "killed by signal 11 (SIGSEGV) at a/x.py:"),
        ("if self.once(): os._exit(7)", "exited with code 7; in a run then: a.x (C)"),
    ] {
        let watched = two_scripts("", act);
        let line = watched.wait_log(why);
        assert!(line.contains("[both]: "), "{line}");
        for id in ["a.x", "b.x"] {
            wait(&watched.agent, id, "is back", |row| row["state"] == "ok" && row["restarts"] == 1);
        }
        let starts = std::fs::read_to_string(watched.file("b/x.py.C.starts")).unwrap();
        assert_eq!(starts.lines().count(), 2, "{starts}");
        watched.holds();
    }
}

#[test]
fn a_hang_in_one_script_is_named_and_all_are_started_anew() {
    let settings = "run_timeout = \"2s\"\nstop_grace = \"300ms\"";
    let watched = two_scripts(settings, "if self.once(): sum(range(10**13))");
    let line = watched.wait_log("hung: its run lasted longer than run_timeout");
    // Who holds the interpreter's lock cannot be told, but who is in a run.
    assert!(line.contains("a/x.py:") || line.contains("a.x (C)"), "{line}");
    wait(&watched.agent, "b.x", "is back", |row| row["state"] == "ok" && row["restarts"] == 1);
    watched.holds();
}

#[test]
fn one_script_of_an_input_is_asked_to_run_and_a_restart_is_one_of_all() {
    let watched = two_scripts("", "pass");
    let before = runs(&watched.agent, "a.x");
    runs(&watched.agent, "b.x");
    let (code, out, _) = watched.root.run(&["restart", "a.x"]);
    assert_eq!(code, 0);
    assert_eq!(out, "a.x and the other units of its process end their runs and are started anew\n");
    for id in ["a.x", "b.x"] {
        wait(&watched.agent, id, "is another process", |row| row["pid"].is_u64() && row["pid"] != before["pid"]);
    }
    let (code, out, _) = watched.root.run(&["run-now", "b.x"]);
    assert_eq!((code, out.as_str()), (0, "b.x runs now\n"));
    let (code, out, _) = watched.root.run(&["stack", "b.x"]);
    assert!(code == 0 && out.contains("Thread"), "{out}");
    watched.holds();
}

#[test]
fn an_edit_of_one_file_restarts_the_worker_and_a_broken_one_is_refused_for_that_script_alone() {
    let watched = two_scripts("", "pass");
    let (root, agent) = (&watched.root, &watched.agent);
    root.script("b/bad.py", BAD_SYNTAX);
    wait(agent, "b.bad", "came and cannot be loaded", |row| row["state"] == "load-error");
    let (code, out, _) = root.run(&["reload"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("[both]  restarted") && out.contains("tried again; b.bad cannot run: b/bad.py:2:"), "{out}");
    let first = runs(agent, "a.x");
    // What could not be loaded before keeps no other script from changing.
    root.script("a/x.py", &script(2, &[("C", "pass")]));
    wait_version(root, "a_x_C", 2);
    let second = runs(agent, "b.x");
    assert_ne!(second["pid"], first["pid"]);
    assert_eq!(second["restarts"], runs(agent, "a.x")["restarts"]);
    root.script("a/x.py", &script(3, &[("C", "pass")]).replace("def run(self):", "def run(self:"));
    let row = wait(agent, "a.x", "is refused", |row| row["refused"].is_string());
    assert!(row["why"].as_str().unwrap().contains("a/x.py:"), "{row:#}");
    let other = runs(agent, "b.x");
    assert_eq!((&other["pid"], &other["refused"]), (&second["pid"], &Value::Null));
    // Dies, and the last good version of all is back, of the broken one too.
    signal(pid(&second), Signal::KILL);
    let row = wait(agent, "a.x", "runs from its copy", |row| {
        row["pid"].is_u64() && row["pid"] != second["pid"] && row["state"] == "ok"
    });
    assert!(row["why"].as_str().unwrap().contains(", from its copy; refused at"), "{row:#}");
    wait(agent, "b.x", "runs beside it", |row| row["state"] == "ok" && row["why"].is_null());
    root.script("a/x.py", &script(4, &[("C", "pass")]));
    wait_version(root, "a_x_C", 4);
    wait(agent, "a.x", "is well", |row| row["why"].is_null());
    // A good version of the one that never was.
    root.script("b/bad.py", &script(1, &[("C", "pass")]));
    wait_version(root, "b_bad_C", 1);
    nothing_ran_twice(root.path());
    watched.holds();
}

#[test]
fn an_input_whose_scripts_all_fail_says_why_and_runs_when_one_is_mended() {
    let root = Root::new();
    root.script("a/x.py", BAD_SYNTAX);
    root.script("a/y.py", "import not_there_at_all\n");
    input(&root, "all", &["a"], "input", "");
    let agent = root.agent();
    let row = wait(&agent, "a.x", "cannot be loaded", |row| row["state"] == "load-error");
    assert!(row["why"].as_str().unwrap().contains("a/x.py:2: syntax error"), "{row:#}");
    let row = wait(&agent, "a.y", "cannot be loaded", |row| row["state"] == "load-error");
    assert!(row["why"].as_str().unwrap().contains("not_there_at_all"), "{row:#}");
    root.script("a/y.py", &script(1, &[("C", "pass")]));
    runs(&agent, "a.y");
    wait(&agent, "a.x", "is still named", |row| row["state"] == "load-error");
    ends_clean(&root, agent);
}

// --- from one to the other ---

#[test]
fn a_change_of_the_isolation_moves_the_classes_and_never_runs_one_twice() {
    let root = Root::new();
    // A run that takes a while, so that the old worker is still there when the new one is wanted.
    root.script("a/x.py", &script(1, &[("A", "time.sleep(0.5)"), ("B", "time.sleep(0.5)")]));
    root.script("a/y.py", &script(1, &[("C", "pass")]));
    input(&root, "in", &["a"], "script", "");
    let agent = root.agent();
    let (script, class, shared) = (["a.x", "a.y"], ["a.x:A", "a.x:B", "a.y:C"], ["a.x", "a.y"]);
    runs(&agent, "a.x");
    let orders: [(&str, &[&str]); 6] = [
        ("class", &class),
        ("script", &script),
        ("input", &shared),
        ("class", &class),
        ("input", &shared),
        ("script", &script),
    ];
    let mut before: BTreeSet<u64> = rows(&agent).values().filter_map(|row| row["pid"].as_u64()).collect();
    for (isolation, expected) in orders {
        input(&root, "in", &["a"], isolation, "");
        let fresh = wait_for(&format!("{isolation} with new processes"), || {
            let now = rows(&agent);
            let pids: BTreeSet<u64> = now.values().filter_map(|row| row["pid"].as_u64()).collect();
            let are_well = now.values().all(|row| row["state"] == "ok" && row["pid"].is_u64());
            let are_there = now.keys().eq(expected);
            if are_there && are_well && pids.is_disjoint(&before) { Ok(pids) } else { Err(format!("{now:#?}")) }
        });
        let count = if isolation == "input" { 1 } else { expected.len() };
        assert_eq!(fresh.len(), count, "{isolation}");
        before = fresh;
    }
    ends_clean(&root, agent);
}

#[test]
fn an_input_under_another_name_waits_for_the_end_of_its_old_process() {
    let root = Root::new();
    root.script("a/x.py", &script(1, &[("A", "time.sleep(0.5)"), ("B", "time.sleep(0.5)")]));
    input(&root, "in", &["a"], "input", "");
    let agent = root.agent();
    let first = runs(&agent, "a.x");
    let text = std::fs::read_to_string(root.path().join("conf.d/in.conf")).unwrap();
    root.conf("in.conf", &text.replace("name = \"in\"", "name = \"new\""));
    wait(&agent, "a.x", "runs under the new name", |row| {
        row["input"] == "new" && row["state"] == "ok" && row["pid"].is_u64() && row["pid"] != first["pid"]
    });
    ends_clean(&root, agent);
}
