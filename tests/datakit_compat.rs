//! Promise: what a DataKit user's script may do works as DataKit documents it, without DataKit's defects, and what is wrong is said.
//!
//! Everything goes through the real binary: settings, discovery, a Python worker, the endpoint, the buffer and the file sink.

mod support;

use serde_json::Value;
use support::{Agent, Root, wait_for, wait_until};

/// A script with one collector whose `run` has this body.
fn collector(head: &str, body: &str) -> String {
    let indented: String = body.trim().lines().map(|line| format!("        {line}\n")).collect();
    format!(
        "{}\nfrom datakit_framework import DataKitFramework\n\nclass C(DataKitFramework):\n    interval = 1\n    def run(self):\n{indented}",
        head.trim()
    )
}

/// An agent over one input with these scripts, each in a folder of its own name.
fn agent_with(root: &Root, scripts: &[(&str, String)], more: &str) -> Agent {
    for (name, text) in scripts {
        root.script(&format!("{name}/{name}.py"), text);
    }
    let dirs: Vec<&str> = scripts.iter().map(|(name, _)| *name).collect();
    root.input("compat", &dirs, more);
    root.agent()
}

fn number(script: &Value, key: &str) -> u64 {
    script[key].as_u64().unwrap_or_else(|| panic!("{key} in {script:#}"))
}

fn wait_line(root: &Root, agent: &Agent, category: &str, what: &str, check: impl Fn(&str) -> bool) -> String {
    wait_for(what, || {
        let points = root.points(category);
        points.lines().find(|line| check(line)).map(str::to_owned).ok_or_else(|| {
            format!("{category}:\n{}\n{:#}", points.chars().take(3000).collect::<String>(), agent.status()["units"])
        })
    })
}

fn wait_starts(root: &Root, agent: &Agent, category: &str, start: &str) -> String {
    wait_line(root, agent, category, &format!("`{start}…`"), |line| line.starts_with(start))
}

/// A line without its time.
fn timeless(line: &str) -> &str {
    line.rsplit_once(' ').unwrap().0
}

// --- report ----------------------------------------------------------------------------------------------------------

#[test]
fn a_raw_report_with_every_key_and_option_arrives_whole() {
    let root = Root::new();
    let text = collector(
        "",
        r#"
p = lambda name: [{"measurement": name, "tags": {"t": "v"}, "fields": {"f": 1}, "time": 1700000000}]
answer = self.report({
    "M": p("m"), "L": p("l"), "R": p("r"), "O": p("o"), "CO": p("co"), "N": p("not_sent"),
    "E": [{"measurement": "e", "tags": {}, "time": 1700000000, "fields": {"df_source": "system", "df_status": "ok",
           "df_event_id": "i", "df_title": "t", "df_date_range": 10, "df_message": ""}}],
    "precision": "s", "input": "a b&c=d#e", "ignore_global_tags": True, "version": 1.2})
assert answer == "", answer
assert self.report({key: None for key in ("M", "L", "R", "O", "CO", "E")}) is None
assert self.report({}) == ""
"#,
    );
    let agent = agent_with(&root, &[("raw", text)], "");
    agent.wait_script("raw.raw", "ran", |script| number(script, "runs_ok") > 0 || number(script, "runs_failed") > 0);
    for (category, expected) in [
        ("metric", "m,t=v f=1.0 1700000000000000000"),
        ("logging", "l,t=v f=1.0,status=\"info\" 1700000000000000000"),
        ("rum", "r,t=v f=1.0 1700000000000000000"),
        ("object", "o,t=v f=1.0,name=\"default\" 1700000000000000000"),
        ("custom_object", "co,t=v f=1.0 1700000000000000000"),
        ("keyevent", "e df_source=\"system\",df_status=\"ok\",df_event_id=\"i\",df_title=\"t\",df_date_range="),
    ] {
        wait_starts(&root, &agent, category, expected);
    }
    let script = agent.script("raw.raw");
    assert_eq!(number(&script, "runs_failed"), 0, "{script:#}");
    assert_eq!(number(&script, "points_refused"), 0, "{script:#}");
}

#[test]
fn a_report_of_nothing_useful_is_an_answer_or_an_error_never_a_dead_worker() {
    let root = Root::new();
    let text = collector(
        "",
        r#"
for wrong in (None, "text"):
    try:
        self.report(wrong)
    except TypeError:
        pass
    else:
        raise AssertionError(wrong)
assert self.report([]) == ""
assert "invalid" in self.report({"M": {"measurement": "one_dict", "fields": {"v": 1}}})
assert "invalid" in self.report({"M": "a text"})
self.report({"M": [None, 7, [], "x", {}, {"measurement": "kept", "fields": {"v": 1}}]})
"#,
    );
    let agent = agent_with(&root, &[("odd", text)], "");
    wait_starts(&root, &agent, "metric", "kept,host=testhost v=1.0");
    let script = agent.wait_script("odd.odd", "ran twice", |script| number(script, "runs_ok") > 1);
    assert_eq!((number(&script, "runs_failed"), number(&script, "restarts")), (0, 0), "{script:#}");
    assert!(number(&script, "points_refused") >= 5, "{script:#}");
    assert!(script["last_refusal"].is_string(), "{script:#}");
}

#[test]
fn values_without_a_json_form_are_named_and_their_neighbours_arrive() {
    let root = Root::new();
    let text = collector(
        "import datetime, decimal\nclass NumpyLike(float):\n    pass\nclass Hostile:\n    def __repr__(self):\n        raise ValueError('no')\n    __str__ = __repr__",
        r#"
self.feed_metric(measurement="nan", fields={"bad": float("nan"), "worse": float("inf"), "good": 1})
self.feed_metric(measurement="only_nan", fields={"bad": float("nan")})
self.feed_metric(measurement="numpy", fields={"v": NumpyLike(2.5)})
for name, value in [("set", {1}), ("when", datetime.datetime.now()), ("decimal", decimal.Decimal("1.5")),
                    ("bytes", b"x"), ("complex", 1j), ("hostile", Hostile()), ("self", self)]:
    self.report({"M": [{"measurement": "before_" + name, "fields": {"v": 1}},
                       {"measurement": "bad_" + name, "fields": {"the_" + name: value}},
                       {"measurement": "after_" + name, "fields": {"v": 1}}]})
loop = []
loop.append(loop)
self.report({"M": [{"measurement": "loop", "fields": {"v": loop}}]})
self.feed_metric(measurement="last", fields={"v": 1})
"#,
    );
    let agent = agent_with(&root, &[("values", text)], "");
    wait_starts(&root, &agent, "metric", "last,");
    wait_starts(&root, &agent, "metric", "nan,host=testhost good=1.0");
    wait_starts(&root, &agent, "metric", "numpy,host=testhost v=2.5");
    for name in ["set", "when", "decimal", "bytes", "complex", "hostile", "self"] {
        wait_starts(&root, &agent, "metric", &format!("before_{name},"));
        wait_starts(&root, &agent, "metric", &format!("after_{name},"));
    }
    for sent in [
        "bad_set,host=testhost the_set=\"[1]\"",
        "bad_when,host=testhost the_when=\"20",
        "bad_decimal,host=testhost the_decimal=1.5 ",
        "bad_bytes,host=testhost the_bytes=\"x\"",
    ] {
        wait_starts(&root, &agent, "metric", sent);
    }
    for refused in ["only_nan", "bad_complex", "bad_hostile", "bad_self", "loop"] {
        assert!(!root.points("metric").contains(refused), "{refused}");
    }
    let script = agent.wait_script("values.values", "ran", |script| number(script, "runs_ok") > 0);
    assert_eq!(number(&script, "runs_failed"), 0, "{script:#}");
    assert!(number(&script, "points_refused") >= 5, "{script:#}");
    let log = wait_for("the reasons in the log", || {
        let log = root.log("_datakit_pythond_framework_compat_.log");
        if log.contains("loop") { Ok(log) } else { Err(log) }
    });
    for part in ["the_set", "the_when", "the_decimal", "the_bytes", "values.py:"] {
        assert!(log.contains(part), "{part} in {log}");
    }
    let log = root.log("_datakit_pythond_cli.log");
    assert!(log.contains("field `bad` of `nan` is nan"), "{log}");
}

#[test]
fn a_report_of_many_wrong_points_is_refused_once_and_its_good_point_kept_once() {
    let root = Root::new();
    let text = collector(
        "",
        r#"
wrong = [{"measurement": "wrong", "fields": {}, "tags": {"n": str(n)}} for n in range(30_000)]
answer = self.report({"M": [{"measurement": "good", "fields": {"v": 1}}] + wrong})
assert '"accepted":1' in answer, answer[:500]
assert len(answer) < 1_000_000, len(answer)
self.feed_metric(measurement="end", fields={"v": 1})
import time
time.sleep(1e6)
"#,
    );
    let agent = agent_with(&root, &[("wrong", text)], "");
    wait_starts(&root, &agent, "metric", "end,");
    assert_eq!(root.points("metric").matches("good,").count(), 1);
    let script = agent.wait_script("wrong.wrong", "has its count", |script| number(script, "points_refused") > 0);
    assert_eq!(number(&script, "points_refused"), 30_000, "{script:#}");
    assert_eq!(root.dead("ingest").len(), 30_000, "each refused point is kept with its reason");
}

#[test]
fn ten_thousand_points_in_one_report_arrive() {
    let root = Root::new();
    let text = collector(
        "",
        r#"
answer = self.report({"M": [{"measurement": "many", "tags": {"n": str(n)}, "fields": {"v": n}} for n in range(10_000)]})
assert answer == "", answer
self.interval = 3600
"#,
    );
    let agent = agent_with(&root, &[("many", text)], "");
    agent.wait_script("many.many", "has 10 000", |script| number(script, "points_accepted") >= 10_000);
    wait_until("10 000 lines", || root.points("metric").matches("many,").count() >= 10_000);
}

#[test]
fn a_report_over_the_limit_is_refused_in_clear_words_and_the_script_goes_on() {
    let root = Root::new();
    let text = collector(
        "",
        r#"
answer = self.report({"L": [{"measurement": "huge", "fields": {"message": "x" * 4_000_000}} for _ in range(10)]})
assert "bodyTooLarge" in answer, answer
self.feed_metric(measurement="after", fields={"v": 1})
"#,
    );
    let agent = agent_with(&root, &[("huge", text)], "");
    wait_starts(&root, &agent, "metric", "after,");
    let script = agent.wait_script("huge.huge", "ran", |script| number(script, "runs_ok") > 0);
    assert!(number(&script, "points_refused") >= 10, "{script:#}");
    assert_eq!(number(&script, "restarts"), 0, "{script:#}");
    let why = script["last_refusal"].as_str().unwrap();
    assert!(why.contains("33554432 bytes") && why.contains("fewer points"), "{why}");
    let log = wait_for("the refusal in the log", || {
        let log = root.log("_datakit_pythond_framework_compat_.log");
        if log.contains("fewer points") { Ok(log) } else { Err(log) }
    });
    assert!(log.contains("huge.py:7"), "{log}");
}

#[test]
fn an_event_wrong_in_each_way_is_refused_with_its_field_and_the_right_ones_arrive() {
    let root = Root::new();
    let text = collector(
        "",
        r#"
good = {"df_date_range": 10, "df_source": "system", "df_status": "ok", "df_event_id": "id", "df_title": "t"}
def send(**change):
    fields = {key: value for key, value in {**good, **change}.items() if value is not None}
    return self.report({"E": [{"measurement": "e", "tags": {}, "fields": fields}]})
for field, value in [("df_status", "bad"), ("df_status", 7), ("df_status", None), ("df_source", "mars"), ("df_source", None),
                     ("df_event_id", None), ("df_title", None), ("df_title", ""), ("df_date_range", "soon"), ("df_date_range", -1),
                     ("df_date_range", 1.5), ("df_date_range", None)]:
    answer = send(**{field: value})
    assert field in answer, (field, value, answer)
assert "df_user_id" in send(df_source="user")
assert "df_dimension_tags" in send(df_source="monitor")
assert "df_dimension_tags" in send(df_source="monitor", df_dimension_tags="no json")
for right in (dict(), dict(df_date_range="10"), dict(df_date_range=0), dict(df_source="user", df_user_id=7),
              dict(df_source="monitor", df_dimension_tags={"host": "web01"}), dict(df_source="monitor", df_dimension_tags='{"host":"web01"}')):
    answer = send(**right)
    assert answer == "", (right, answer)
for call, words in [(lambda: self.feed_user_event(), "df_user_id"), (lambda: self.feed_monitor_event(), "df_dimension_tags"),
                    (lambda: self.feed_system_event(), "df_status"), (lambda: self.feed_metric(fields={"a": 1}), "measurement"),
                    (lambda: self.feed_metric(measurement="m", a=1), "fields"), (lambda: self.feed_logging(), "source"),
                    (lambda: self.feed_object(fields={"a": 1}), "cls")]:
    try:
        call()
    except ValueError as error:
        assert str(error) == f'arguments missing "{words}"', error
    else:
        raise AssertionError(words)
tags, fields = {"t": "v"}, {"f": 1}
self.feed_object(cls="c", name="n", tags=tags, fields=fields, more=1)
assert (tags, fields) == ({"t": "v"}, {"f": 1})
self.feed_metric(measurement="end", fields={"v": 1})
"#,
    );
    let agent = agent_with(&root, &[("event", text)], "");
    let script =
        agent.wait_script("event.event", "ran", |script| number(script, "runs_ok") + number(script, "runs_failed") > 0);
    assert_eq!(number(&script, "runs_failed"), 0, "{script:#}");
    wait_starts(&root, &agent, "metric", "end,");
    wait_starts(&root, &agent, "object", "c,host=testhost,name=n,t=v f=1.0,more=1.0");
    let kept = root.points("keyevent");
    assert!(kept.contains("df_dimension_tags=\"{\\\"host\\\":\\\"web01\\\"}\""), "{kept}");
}

// --- what a script file may be -----------------------------------------------------------------------------------------

#[test]
fn every_kind_of_interval_keeps_its_class_running() {
    let root = Root::new();
    let values = [
        ("Missing", "", 10.0),
        ("Zero", "interval = 0", 10.0),
        ("Nothing", "interval = None", 10.0),
        ("Empty", "interval = ''", 10.0),
        ("Text", "interval = '2'", 2.0),
        ("Fraction", "interval = 0.5", 0.5),
        ("Negative", "interval = -3", 10.0),
        ("Word", "interval = 'often'", 10.0),
        ("Nan", "interval = float('nan')", 10.0),
        ("Listed", "interval = [5]", 10.0),
        ("Property", "interval = property(lambda self: 1/0)", 10.0),
    ];
    let mut text = "from datakit_framework import DataKitFramework\n".to_owned();
    for (name, line, _) in values {
        text.push_str(&format!(
            "class {name}(DataKitFramework):\n    name = '{name}'\n    {line}\n    def run(self):\n        self.feed_metric(measurement='{name}', fields={{'v': 1}})\n"
        ));
    }
    let agent = agent_with(&root, &[("intervals", text)], "");
    for (name, _, seconds) in values {
        wait_starts(&root, &agent, "metric", &format!("{name},"));
        let script = agent.script("intervals.intervals");
        let job =
            script["jobs"].as_array().unwrap().iter().find(|job| job["title"] == name || job["key"] == name).unwrap();
        assert_eq!(job["every_s"], seconds, "{job}");
    }
    assert_eq!(agent.script("intervals.intervals")["restarts"], 0);
    let log = root.log("_datakit_pythond_cli.log");
    for name in ["Negative", "Word", "Nan", "Listed", "Property"] {
        assert!(log.contains(&format!("`interval` of `{name}`")), "{name} in {log}");
    }
}

#[test]
fn one_file_may_hold_many_classes_of_every_sort() {
    let root = Root::new();
    root.script("many/base_module.py", "from datakit_framework import DataKitFramework\nclass Base(DataKitFramework):\n    interval = 1\n    def run(self):\n        self.feed_metric(measurement=type(self).__name__, fields={'v': 1})\n");
    root.script(
        "many/classes.py",
        "import abc
from datakit_framework import *
from base_module import Base

class Plain(Base):
    pass

class Meta(Base, metaclass=abc.ABCMeta):
    pass

class Abstract(Base, metaclass=abc.ABCMeta):
    @abc.abstractmethod
    def part(self): ...

class Whole(Abstract):
    def part(self): ...

class Raises(Base):
    def __init__(self):
        raise RuntimeError('no connection at start')

class NeedsArguments(Base):
    def __init__(self, where):
        pass

class OldStyle(DataKitFramework):
    __name = 'OldStyle'
    interval = 1
    def __init__(self):
        pass  # no super().__init__(), as many do
    def run(self):
        self.feed_metric(measurement='OldStyle', fields={'v': 1})

Alias = Plain
",
    );
    root.input("compat", &["many"], "");
    let agent = root.agent();
    for name in ["Base", "Plain", "Meta", "Whole", "OldStyle"] {
        wait_starts(&root, &agent, "metric", &format!("{name},"));
    }
    let script = agent.script("many.classes");
    let mut classes: Vec<&str> =
        script["jobs"].as_array().unwrap().iter().map(|job| job["key"].as_str().unwrap()).collect();
    classes.sort_unstable();
    assert_eq!(classes, ["Meta", "OldStyle", "Plain", "Whole"], "{script:#}");
    let points = root.points("metric");
    assert!(!points.contains("Abstract,") && !points.contains("Raises,"), "{points}");
    let log = wait_for("both constructors in the log", || {
        let log = root.log("_datakit_pythond_cli.log");
        if log.contains("NeedsArguments") && log.contains("no connection at start") { Ok(log) } else { Err(log) }
    });
    assert!(log.contains("classes.py"), "{log}");
    let (_, text, _) = root.run(&["status", "many.classes"]);
    assert!(text.contains("no connection at start"), "the status names the class that does not run:\n{text}");
}

#[test]
fn helpers_beside_scripts_are_each_scripts_own_even_with_one_name() {
    let root = Root::new();
    for name in ["left", "right"] {
        root.script(&format!("{name}/common_things.py"), &format!("WHO = '{name}'\n"));
        root.script(
            &format!("{name}/use_{name}.py"),
            &collector("import common_things", "self.feed_metric(measurement='who', tags={'who': common_things.WHO, 'script': __file__[-7:-3]}, fields={'v': 1})"),
        );
    }
    root.script(
        "left/sub/deep.py",
        &collector(
            "import common_things",
            "self.feed_metric(measurement='deep', tags={'who': common_things.WHO}, fields={'v': 1})",
        ),
    );
    root.script("left/sub/deeper/never.py", &collector("", "self.feed_metric(measurement='never', fields={'v': 1})"));
    root.input("compat", &["left", "right"], "");
    let agent = root.agent();
    wait_starts(&root, &agent, "metric", "who,host=testhost,script=left,who=left ");
    wait_starts(&root, &agent, "metric", "who,host=testhost,script=ight,who=right ");
    wait_starts(&root, &agent, "metric", "deep,host=testhost,who=left ");
    let status = agent.status();
    assert!(!status.to_string().contains("never"), "two folders down is not looked at");
}

#[test]
fn a_helper_beside_a_script_is_no_fault() {
    let root = Root::new();
    root.script("app/helper.py", "VALUE = 3\n");
    root.script(
        "app/main.py",
        &collector("from helper import VALUE", "self.feed_metric(measurement='m', fields={'v': VALUE})"),
    );
    root.input("compat", &["app"], "");
    let agent = root.agent();
    wait_starts(&root, &agent, "metric", "m,host=testhost v=3.0");
    let (code, stdout, stderr) = root.run(&["check"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let helper = agent.script("app.helper");
    assert_eq!((helper["state"].as_str(), &helper["why"]), (Some("helper"), &Value::Null), "{helper:#}");
    assert!(stdout.contains("1 script with 1 collector loaded, 1 helper module"), "{stdout}");
    let (_, text, _) = root.run(&["status"]);
    assert!(text.contains("all well") && !text.contains('▲'), "{text}");
    assert!(!agent.console().contains("ERROR"), "a helper is no error");
}

#[test]
fn dirs_may_be_absolute_a_file_or_have_spaces_and_names_lose_theirs() {
    let root = Root::new();
    let say = |name: &str| collector("", &format!("self.feed_metric(measurement='{name}', fields={{'v': 1}})"));
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("outside.py"), say("outside")).unwrap();
    root.script("single/one.py", &say("one"));
    root.script("single/other.py", &say("other"));
    root.script("with space/my script.py", &say("spaced"));
    root.script("with space/dash-ed.py", &say("dashed"));
    root.script("with space/ünï.py", &say("unicode"));
    let dirs = [elsewhere.path().to_str().unwrap(), "single/one.py", "with space"];
    root.conf(
        "x.conf",
        &format!("[[inputs.pythond]]\nname = 'my own\\tinputs '\ncmd = \"python3\"\ndirs = {dirs:?}\ntags = {{ team = \"web\" }}\n"),
    );
    let agent = root.agent();
    for name in ["outside", "one", "spaced", "dashed", "unicode"] {
        wait_starts(&root, &agent, "metric", &format!("{name},host=testhost,team=web "));
    }
    assert!(!root.points("metric").contains("other,"));
    let names: Vec<String> = std::fs::read_dir(root.path().join("home"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().all(|name| !name.contains(' ')), "{names:?}");
}

#[test]
fn envs_extend_the_environment_and_names_in_them_are_filled_in() {
    let root = Root::new();
    let text = collector(
        "import os",
        r#"
env = os.environ
self.feed_metric(measurement="env", fields={"v": 1}, tags={
    "plain": env["PLAIN"], "path": env["ADDED_PATH"], "home": str("HOME" in env and "PATH" in env), "unset": env["UNSET"], "eq": env["EQ"],
    "socket_fd": str("PYTHOND_CONTROL_FD" in env)})
"#,
    );
    root.script("env/env.py", &text);
    root.input(
        "compat",
        &["env"],
        "envs = [\"PLAIN=a\", \"ADDED_PATH=/opt/lib:$FROM_OUTSIDE:${FROM_OUTSIDE}\", \"UNSET=$SURELY_NOT_SET\", \"EQ=a=b\"]",
    );
    let mut command = root.command(&["agent"]);
    command.env("FROM_OUTSIDE", "/from");
    let agent = Agent::start(&root, command);
    let line = wait_starts(&root, &agent, "metric", "env,");
    assert_eq!(
        timeless(&line),
        "env,eq=a\\=b,home=True,host=testhost,path=/opt/lib:/from:/from,plain=a,socket_fd=False,unset=$SURELY_NOT_SET v=1.0"
    );
}

#[test]
fn a_script_that_posts_by_itself_finds_the_agent() {
    let root = Root::new();
    let text = collector(
        "import os, urllib.request",
        r#"
def post(url, name):
    urllib.request.urlopen(urllib.request.Request(url, b'%s v=1' % name.encode(), method="POST"), timeout=10).read()
post(os.environ["PYTHOND_URL"] + "/v1/write/metric?input=own", "by_environment")
post(self.construct_url("v1/write/metric"), "by_construct_url")
"#,
    );
    let agent = agent_with(&root, &[("posts", text)], "tags = { team = \"web\" }");
    wait_starts(&root, &agent, "metric", "by_environment,host=testhost v=1.0");
    wait_starts(&root, &agent, "metric", "by_construct_url,host=testhost v=1.0");
}

// --- what a run may do -------------------------------------------------------------------------------------------------

#[test]
fn whatever_a_run_does_to_its_process_the_next_one_reports() {
    let root = Root::new();
    let feed = "self.n = getattr(self, 'n', 0) + 1\nself.feed_metric(measurement='NAME', fields={'n': self.n})\n";
    let cases = [
        ("chdir", "import os, tempfile", "os.chdir(tempfile.gettempdir())"),
        (
            "closeout",
            "import sys, os",
            "sys.stdout.close(); sys.stderr.close(); os.close(1); os.close(2); print('after')",
        ),
        ("redirect", "import sys, io", "sys.stdout = sys.stderr = io.StringIO()\nprint('lost')"),
        ("nostdout", "import sys", "sys.stdout = sys.stderr = None\nprint('none')"),
        (
            "signals",
            "import signal",
            "[signal.signal(s, signal.SIG_IGN) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)]",
        ),
        (
            "threads",
            "import threading, time",
            "threading.Thread(target=lambda: time.sleep(1e6)).start()\nthreading.Thread(target=lambda: 1/0).start()",
        ),
        ("exits", "import sys", "sys.exit('done here')"),
        ("interrupts", "", "raise KeyboardInterrupt"),
        ("forks", "import os", "os.fork()"),
        ("forkwaits", "import os", "pid = os.fork()\nif pid == 0:\n    os._exit(7)\nos.waitpid(pid, 0)"),
        ("loudstderr", "import sys", "sys.stderr.write('e' * 3_000_000 + '\\n')"),
        (
            "notutf8",
            "import sys, os",
            "print('\\udcff\\udc80 \\x00')\nsys.stdout.buffer.write(b'\\xff\\xfe\\n')\nos.write(1, b'\\x80\\x81\\n')",
        ),
        ("garbage", "", "self.garbage = object()"),
        ("paths", "import sys", "sys.path.clear(); sys.argv.clear()"),
        (
            "modules",
            "import sys",
            "[sys.modules.pop(name, None) for name in ('json', 'datakit_framework', 'requests', 'http.client')]",
        ),
        ("limits", "import sys", "sys.setrecursionlimit(60)"),
        ("timeouts", "import socket", "socket.setdefaulttimeout(0.001)"),
        ("environment", "import os", "os.environ.clear()"),
        ("closefds", "import os", "os.closerange(3, 60)"),
        (
            "logging_",
            "import logging",
            "logging.basicConfig(level=logging.DEBUG, force=True)\nlogging.disable(50)\nlogging.info('hello')",
        ),
        ("warns", "import warnings", "warnings.simplefilter('error')"),
        ("locale_", "import locale", "locale.setlocale(locale.LC_ALL, 'C')"),
        ("umasks", "import os", "os.umask(0o777)"),
        ("subprocesses", "import subprocess", "subprocess.Popen(['sleep', '1000'])\nsubprocess.check_output(['true'])"),
        ("recurses", "", "f = lambda f: f(f)\nf(f)"),
        ("gcs", "import gc", "gc.disable()"),
        ("asyncios", "import asyncio", "async def go():\n    await asyncio.sleep(0)\nasyncio.run(go())"),
    ];
    let scripts: Vec<(&str, String)> = cases
        .iter()
        .map(|(name, head, body)| {
            (*name, collector(head, &format!("{}{body}\nreturn {{'garbage': [1]}}", feed.replace("NAME", name))))
        })
        .collect();
    let agent = agent_with(&root, &scripts, "");
    for (name, _, _) in cases {
        wait_starts(&root, &agent, "metric", &format!("{name},host=testhost n=3.0 "));
    }
    for (name, _, _) in cases {
        let script = agent.script(&format!("{name}.{name}"));
        assert_eq!(number(&script, "restarts"), 0, "{script:#}");
        let points = root.points("metric");
        let twice = points.lines().filter(|line| line.starts_with(&format!("{name},host=testhost n=2.0 "))).count();
        assert_eq!(twice, 1, "a second copy of {name} runs");
    }
    for (name, text) in [("exits", "done here"), ("interrupts", "KeyboardInterrupt"), ("recurses", "RecursionError")] {
        let why = agent.script(&format!("{name}.{name}"))["why"].to_string();
        assert!(why.contains(text), "{why}");
    }
    let (code, took) = agent.stop();
    assert_eq!(code, 0);
    assert!(took.as_secs() < 10, "{took:?}");
    wait_for("the end of all that the scripts started", || match Agent::descendants(root.path()) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
}

#[test]
fn the_c_locale_costs_no_character() {
    let root = Root::new();
    let text = collector(
        "# -*- coding: utf-8 -*-",
        "print('gedruckt: grün 温度')\nself.feed_metric(measurement='wärme', tags={'ort': '東京'}, fields={'grün': 1})",
    );
    root.script("locale/locale_.py", &text);
    root.input("compat", &["locale"], "envs = [\"LANG=C\", \"LC_ALL=C\", \"PYTHONUTF8=0\", \"PYTHONCOERCECLOCALE=0\"]");
    let mut command = root.command(&["agent"]);
    command.env("LANG", "C").env("LC_ALL", "C");
    let agent = Agent::start(&root, command);
    wait_starts(&root, &agent, "metric", "wärme,host=testhost,ort=東京 grün=1.0");
    wait_until("the print", || root.log("_datakit_pythond_framework_compat_.log").contains("gedruckt: grün 温度"));
}

#[test]
fn scripts_that_cannot_run_are_told_and_the_others_run() {
    let root = Root::new();
    let files = [
        ("exit/exit.py", "import sys\nsys.exit('wrong host')\n", "wrong host"),
        ("tabs/tabs.py", "def f():\n\tif 1:\n        pass\n", "tabs.py:3"),
        ("latin/latin.py", "# gr\u{fffd}n\n", "latin.py"),
        ("nul/nul.py", "x = 1\0\n", "null bytes"),
        ("symbol/symbol.py", "from os import surely_not_there\n", "symbol.py:1"),
        (
            "only/only.py",
            "from datakit_framework import DataKitFramework\nclass A(DataKitFramework):\n    pass\n",
            "does not define `run`",
        ),
    ];
    for (name, text, _) in files {
        root.script(name, text);
    }
    std::fs::write(root.path().join("python.d/latin/latin.py"), b"name = 'gr\xfcn'\n").unwrap();
    root.script("good/good.py", &collector("", "self.feed_metric(measurement='good', fields={'v': 1})"));
    root.input("compat", &["exit", "tabs", "latin", "nul", "symbol", "only", "good"], "");
    let agent = root.agent();
    wait_starts(&root, &agent, "metric", "good,");
    for (name, _, part) in files {
        let id = name.trim_end_matches(".py").replace('/', ".");
        let script = agent.wait_script(&id, "is told", |script| script["why"].is_string());
        assert!(script["why"].as_str().unwrap().contains(part), "{part} in {script:#}");
    }
}
