//! Promise: the Python plugins of a collectd.conf run in an agent as their user has them: apart where that changes nothing, beside whatever
//! else runs, with each mistake at its place, and with nothing dispatched lost.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Agent, Root, wait_for};

/// A root with a collectd.conf and a folder of plugins.
struct Lab {
    root: Root,
}

impl Lab {
    fn new(settings: &str) -> Self {
        let root = Root::new();
        let config = root.path().join("collectd.conf");
        root.conf(
            "collectd.conf",
            &format!("[[inputs.collectd]]\ncmd = \"python3\"\nconfig = {config:?}\n{settings}\n[sinks.file.local]\n"),
        );
        std::fs::create_dir(root.path().join("plugins")).unwrap();
        Self { root }
    }

    fn plugin(&self, name: &str, text: &str) -> PathBuf {
        let path = self.root.path().join("plugins").join(format!("{name}.py"));
        replace(&path, text);
        path
    }

    /// Writes collectd.conf; `@plugins@` in it is the folder.
    fn collectd_conf(&self, text: &str) {
        let plugins = self.root.path().join("plugins").display().to_string();
        replace(&self.root.path().join("collectd.conf"), &text.replace("@plugins@", &plugins));
    }

    /// The lines of points of a measurement.
    fn points(&self, measurement: &str) -> Vec<String> {
        let (comma, text) = (format!("{measurement},"), self.root.points("metric"));
        text.lines().filter(|line| line.starts_with(&comma)).map(str::to_owned).collect()
    }

    /// Waits until the agent has a point of a measurement.
    fn wait_point(&self, measurement: &str) -> String {
        wait_for(&format!("a point of {measurement}"), || {
            self.points(measurement).pop().ok_or_else(|| self.root.points("metric"))
        })
    }

    /// What a plugin has written to a file of its own.
    fn said(&self, name: &str) -> String {
        std::fs::read_to_string(self.root.path().join("plugins").join(name)).unwrap_or_default()
    }
}

/// As editors do it.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, path).unwrap();
}

fn rows(agent: &Agent) -> BTreeMap<String, Value> {
    let status = agent.status();
    let rows = status["units"].as_array().unwrap();
    rows.iter().map(|row| (row["id"].as_str().unwrap().to_owned(), row.clone())).collect()
}

fn wait(agent: &Agent, id: &str, what: &str, check: impl Fn(&Value) -> bool) -> Value {
    wait_for(&format!("{id}: {what}"), || match rows(agent).remove(id) {
        Some(row) if check(&row) => Ok(row),
        other => Err(format!("{other:#?}\n{:?}", rows(agent).keys())),
    })
}

fn wait_ok(agent: &Agent, id: &str) -> Value {
    wait(agent, id, "runs", |row| row["state"] == "ok")
}

/// The ids of those that have a process, once all of them are well.
fn wait_well(agent: &Agent, ids: &[&str]) -> BTreeMap<String, u64> {
    ids.iter().map(|id| ((*id).to_owned(), wait_ok(agent, id)["pid"].as_u64().unwrap())).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A plugin that dispatches one value list of a type, every 0.2 seconds.
fn reader(r#type: &str, values: &str) -> String {
    format!(
        "import collectd
port = []
def config(node):
    port[:] = [int(child.values[0]) for child in node.children if child.key == 'Port']
def read():
    instance = str(port[0]) if port else ''
    collectd.Values(type='{type}', plugin=__name__, plugin_instance=instance, values={values}).dispatch()
collectd.register_config(config)
collectd.register_read(read, 0.2)
"
    )
}

const KEEPER: &str = "import collectd, os
out = open(os.path.join(os.path.dirname(__file__), 'kept'), 'a')
def write(values):
    out.write(f'{values.plugin} {values.values}\\n')
    out.flush()
collectd.register_write(write)
";

const TWO_BLOCKS: &str = "# What is for others is listed once.
Hostname \"web01\"
Interval 1
LoadPlugin cpu
LoadPlugin network
<Plugin network>
  Server \"10.0.0.1\"
</Plugin>
LoadPlugin python
<Plugin python>
  ModulePath \"@plugins@\"
  Import \"alpha\"
  Import \"beta\"
  <Module alpha>
    Port 6379
  </Module>
  <Module beta>
    Port 1
  </Module>
</Plugin>
<Plugin python>
  Import \"feeder\"
  Import \"keeper\"
</Plugin>
";

fn two_blocks(settings: &str) -> Lab {
    let lab = Lab::new(settings);
    lab.plugin("alpha", &reader("if_octets", "[120, 88]"));
    lab.plugin("beta", &reader("load", "[0.5, 0.4, 0.3]"));
    lab.plugin("feeder", &reader("gauge", "[7]"));
    lab.plugin("keeper", KEEPER);
    lab.collectd_conf(TWO_BLOCKS);
    lab
}

#[test]
fn plugins_run_apart_or_together_beside_a_script_and_say_why() {
    let lab = two_blocks("");
    lab.root.script(
        "own/hello.py",
        "from datakit_framework import DataKitFramework
class Hello(DataKitFramework):
    interval = 0.2
    def run(self):
        self.report({'M': [{'measurement': 'hello', 'fields': {'n': 1}}]})
",
    );
    lab.root.input("own", &["own"], "");
    let agent = lab.root.agent();
    let pids = wait_well(&agent, &["collectd.alpha", "collectd.beta", "collectd.block2", "own.hello"]);
    let found = rows(&agent);
    assert_eq!(pids.values().collect::<BTreeSet<_>>().len(), 4, "a process each: {found:#?}");
    assert!(!found.contains_key("collectd.feeder") && !found.contains_key("collectd.keeper"), "{found:#?}");
    let title = text(&found["collectd.block2"]["title"]);
    assert_eq!(title, "feeder, keeper; one process: `keeper` writes what the others dispatch");
    assert_eq!(found["collectd.alpha"]["jobs"][0]["key"], "python.alpha");
    assert!(
        (found["collectd.alpha"]["jobs"][0]["every"].as_f64(), found["collectd.alpha"]["title"].as_str()).1.is_some()
    );

    // Raw counters are whole numbers, gauges are not.
    let octets = lab.wait_point("alpha");
    assert!(octets.starts_with("alpha,host=web01,instance=6379,type=if_octets rx=120i,tx=88i "), "{octets}");
    let load = lab.wait_point("beta");
    assert!(load.starts_with("beta,host=web01,instance=1,type=load shortterm=0.5,midterm=0.4,longterm=0.3 "), "{load}");
    wait_for("what the writer gets", || {
        let kept = lab.said("kept");
        if kept.contains("feeder [7.0]") { Ok(()) } else { Err(kept) }
    });
    assert!(!lab.said("kept").contains("alpha"), "a writer gets what its process dispatches");
    lab.wait_point("hello");
    let (code, shown, _) = lab.root.run(&["status", "collectd.block2"]);
    assert!(code == 0 && shown.contains("one process: `keeper` writes what the others dispatch"), "{shown}");
    assert_eq!(agent.stop().0, 0);
}

#[test]
fn isolation_by_setting_always_splits_or_never() {
    for (word, ids) in [
        ("import", &["collectd.alpha", "collectd.beta", "collectd.feeder", "collectd.keeper"][..]),
        ("block", &["collectd.block", "collectd.block2"]),
    ] {
        let lab = two_blocks(&format!("isolation = \"{word}\""));
        let agent = lab.root.agent();
        // A writer alone has nothing to do, which is no fault of it.
        let well: Vec<&str> = ids.iter().copied().filter(|id| *id != "collectd.keeper").collect();
        wait_well(&agent, &well);
        let units: Vec<String> = rows(&agent).into_keys().filter(|id| id != "collectd").collect();
        assert_eq!(units, ids, "{word}");
        if word == "import" {
            lab.wait_point("feeder");
            assert_eq!(lab.said("kept"), "", "a writer of its own process gets nothing of others");
        } else {
            let title = text(&rows(&agent)["collectd.block"]["title"]).to_owned();
            assert_eq!(title, "alpha, beta; one process: isolation = \"block\"");
        }
        assert_eq!(agent.stop().0, 0);
    }
}

#[test]
fn what_is_not_ours_is_listed_once_and_is_no_error() {
    let lab = two_blocks("");
    let (code, out, err) = lab.root.run(&["check"]);
    let all = format!("{out}{err}");
    assert_eq!(all.matches("not ours: LoadPlugin cpu, network").count(), 1, "{all}");
    assert_eq!(code, 0, "{all}");
}

#[test]
fn mistakes_are_told_with_file_line_and_column_by_check_and_by_the_status() {
    let lab = two_blocks("");
    let broken = TWO_BLOCKS.replace("Interval 1", "Interval \"ten\"").replace("Import \"beta\"", "Imprt \"beta\"");
    lab.collectd_conf(&broken);
    let (code, out, err) = lab.root.run(&["check"]);
    let all = format!("{out}{err}");
    assert_ne!(code, 0, "{all}");
    for part in ["collectd.conf:3:10", "`Interval \"ten\"`", "collectd.conf:13:", "did you mean `Import`?"] {
        assert!(all.contains(part), "{part} is not in {all}");
    }
    let agent = lab.root.agent();
    let row = wait(&agent, "collectd", "tells the mistakes", |row| row["why"].is_string());
    assert!(text(&row["why"]).contains("collectd.conf:3:10"), "{row:#}");
    wait_well(&agent, &["collectd.alpha", "collectd.block2"]);
    assert_eq!(agent.stop().0, 0);
}

#[test]
fn each_cause_has_its_word_and_its_place() {
    let lab = Lab::new("");
    lab.plugin("healthy", &reader("gauge", "[1]"));
    lab.plugin("syntax", "import collectd\ndef read(:\n");
    lab.plugin("old", "import collectd\nprint 'x'\n");
    lab.plugin("raises", "import collectd\nraise RuntimeError('no device')\n");
    lab.plugin(
        "configured",
        "import collectd\ndef config(node):\n    raise ValueError('bad port')\ncollectd.register_config(config)\n",
    );
    lab.plugin(
        "failing",
        "import collectd\ndef read():\n    raise OSError('gone')\ncollectd.register_read(read, 0.2)\n",
    );
    lab.plugin("untyped", "import collectd\ndef read():\n    collectd.Values(type='gauge', values=[1]).dispatch(type='gaugge')\ncollectd.register_read(read, 0.2)\n");
    lab.plugin("empty", "import collectd\n");
    let names = ["healthy", "syntax", "old", "raises", "configured", "failing", "untyped", "empty"];
    let imports: String = names.iter().map(|name| format!("  Import \"{name}\"\n")).collect();
    lab.collectd_conf(&format!(
        "Interval 1\nLoadPlugin python\n<Plugin python>\n  ModulePath \"@plugins@\"\n{imports}  <Module configured>\n    Port 1\n  </Module>\n</Plugin>\n"
    ));
    let agent = lab.root.agent();
    wait_ok(&agent, "collectd.healthy");
    for (id, state, parts) in [
        ("syntax", "load-error", &["syntax.py:2"][..]),
        ("old", "load-error", &["old.py:2", "Python 2"]),
        ("raises", "load-error", &["raises.py:2", "RuntimeError: no device"]),
        (
            "configured",
            "load-error",
            &["configured.py:3", "config callback of configured raised ValueError: bad port", "collectd.conf:13:4"],
        ),
        ("failing", "failing", &["OSError: gone", "failing.py:3"]),
        ("untyped", "failing", &["Dataset gaugge not found", "untyped.py:3"]),
        ("empty", "load-error", &["no callback was registered"]),
    ] {
        let row = wait(&agent, &format!("collectd.{id}"), state, |row| row["state"] == state && row["why"].is_string());
        let all = format!("{row:#}");
        for part in parts {
            assert!(all.contains(part), "{id}: {part} is not in {all}");
        }
    }
    assert_eq!(rows(&agent)["collectd.healthy"]["restarts"], 0);
    assert_eq!(agent.stop().0, 0);
}

#[test]
fn a_changed_collectd_conf_touches_only_the_units_that_it_concerns() {
    let lab = two_blocks("");
    lab.plugin("gamma", &reader("gauge", "[3]"));
    let agent = lab.root.agent();
    let before = wait_well(&agent, &["collectd.alpha", "collectd.beta", "collectd.block2"]);
    lab.wait_point("alpha");
    // Lines above move all others; one block changes, one import comes.
    let changed = TWO_BLOCKS.replace("Interval 1\n", "\n\n# moved\nInterval 1\n").replace("Port 6379", "Port 6380");
    let changed = changed
        .replace("  Import \"keeper\"\n", "  Import \"keeper\"\n</Plugin>\n<Plugin python>\n  Import \"gamma\"\n");
    lab.collectd_conf(&changed);
    wait_ok(&agent, "collectd.gamma");
    wait_for("the new port", || {
        let points = lab.points("alpha");
        if points.iter().any(|line| line.contains("instance=6380")) { Ok(()) } else { Err(format!("{points:?}")) }
    });
    let after = wait_well(&agent, &["collectd.alpha", "collectd.beta", "collectd.block2"]);
    assert_ne!(after["collectd.alpha"], before["collectd.alpha"]);
    assert_eq!(after["collectd.beta"], before["collectd.beta"], "its blocks are as they were");
    assert_eq!(after["collectd.block2"], before["collectd.block2"], "its blocks are as they were");
    // One that goes.
    lab.collectd_conf(&changed.replace("  Import \"beta\"\n", ""));
    wait_for("beta is gone", || match rows(&agent).get("collectd.beta") {
        None => Ok(()),
        Some(row) => Err(format!("{row:#}")),
    });
    assert_eq!(wait_ok(&agent, "collectd.alpha")["pid"], after["collectd.alpha"]);
    assert_eq!(agent.stop().0, 0);
}

#[test]
fn a_mistake_in_collectd_conf_keeps_what_runs() {
    let lab = two_blocks("");
    let agent = lab.root.agent();
    let ids = ["collectd.alpha", "collectd.beta", "collectd.block2"];
    let before = wait_well(&agent, &ids);
    let broken = [
        // A block that is not closed swallows the rest; a number that is none; a word that is none.
        ("  <Module beta>\n    Port 1\n  </Module>\n", "  <Module beta>\n    Port 1\n", "is not closed"),
        ("Interval 1\n", "Interval \"ten\"\n", "`Interval \"ten\"`"),
        ("  Import \"keeper\"\n", "  Imprt \"keeper\"\n", "`Imprt` is no option"),
    ];
    for (right, wrong, told) in broken {
        lab.collectd_conf(&TWO_BLOCKS.replace(right, wrong));
        wait(&agent, "collectd", told, |row| format!("{row:#}").replace("\\\"", "\"").contains(told));
        assert_eq!(wait_well(&agent, &ids), before, "{told}");
        assert!(!rows(&agent).contains_key("collectd.feeder"), "nothing runs twice");
    }
    // A config callback that refuses its block: the one before runs on.
    lab.collectd_conf(&TWO_BLOCKS.replace("Port 6379", "Port \"abc\""));
    let row = wait(&agent, "collectd.alpha", "tells what is refused", |row| format!("{row:#}").contains("ValueError"));
    assert_eq!(row["state"], "ok", "{row:#}");
    lab.collectd_conf(TWO_BLOCKS);
    wait_for("all is well again", || {
        let rows = rows(&agent);
        let is_well = ids.iter().all(|id| rows[*id]["why"].is_null()) && !rows.contains_key("collectd");
        if is_well { Ok(()) } else { Err(format!("{rows:#?}")) }
    });
    assert_eq!(wait_well(&agent, &ids[1..]), before.clone().into_iter().filter(|(id, _)| id != ids[0]).collect());
    assert_eq!(agent.stop().0, 0);
}

#[test]
fn store_rates_makes_rates_of_counters_and_an_absolute_is_of_the_interval_of_its_list() {
    const COUNTS: &str = "import collectd, time
count = [0]
def read():
    count[0] += 1
    at = 1700000000 + 10 * count[0]
    collectd.Values(type='derive', plugin='steps', values=[70 * count[0]], time=at, interval=10).dispatch()
    collectd.Values(type='absolute', plugin='parts', values=[600], time=at, interval=60).dispatch()
collectd.register_read(read, 0.2)
";
    for (rates, derived, parts) in [
        ("true", "value=7.0", "value=10.0"),
        ("\"both\"", "value=140i,value_rate=7.0", "value=600i,value_rate=10.0"),
        ("false", "value=70i", "value=600i"),
    ] {
        let lab = Lab::new(&format!("store_rates = {rates}"));
        lab.plugin("counts", COUNTS);
        lab.collectd_conf("Hostname \"h\"\nInterval 1\nLoadPlugin python\n<Plugin python>\n  ModulePath \"@plugins@\"\n  Import \"counts\"\n</Plugin>\n");
        let agent = lab.root.agent();
        let has = |measurement: &str, fields: &str| {
            let wanted = format!(" {fields} ");
            wait_for(&format!("{measurement}: {fields}"), || {
                let points = lab.points(measurement);
                if points.iter().any(|line| line.contains(&wanted)) { Ok(()) } else { Err(points.join("\n")) }
            });
        };
        has("steps", derived);
        has("parts", parts);
        assert_eq!(agent.stop().0, 0);
    }
}

#[test]
fn a_notification_becomes_an_event() {
    let lab = Lab::new("");
    lab.plugin(
        "watch",
        "import collectd
def read():
    note = collectd.Notification(plugin='disk', plugin_instance='sda', type='gauge', type_instance='used', severity=collectd.NOTIF_FAILURE)
    note.dispatch(message='nearly full\\n97 %', meta={'percent': 97.5})
collectd.register_read(read, 3600)
",
    );
    lab.collectd_conf("Hostname \"web01\"\nLoadPlugin python\n<Plugin python>\n  ModulePath \"@plugins@\"\n  Import \"watch\"\n</Plugin>\n");
    let agent = lab.root.agent();
    let event = wait_for("the event", || {
        let text = lab.root.points("keyevent");
        if text.ends_with('\n') { Ok(text) } else { Err(format!("{:#}", agent.status())) }
    });
    for part in [
        "host=web01",
        "instance=sda",
        "type_instance=used",
        "df_status=\"critical\"",
        "df_source=\"monitor\"",
        "df_title=\"nearly full\"",
        "meta_percent=97.5",
        "df_event_id=\"event-",
    ] {
        assert!(event.contains(part), "{part} is not in {event}");
    }
    assert_eq!(agent.stop().0, 0);
}

/// What a plugin does, and what the status says of it; without a cause it is well.
struct Fault {
    name: &'static str,
    text: &'static str,
    state: &'static [&'static str],
    cause: &'static str,
}

/// What ends, hangs or silences the original, each a plugin. `READ` stands before what a read callback does.
const FAULTS: &[Fault] = &[
    Fault { name: "syntax", text: "import collectd\ndef read(:\n", state: &["load-error"], cause: "syntax.py:2" },
    Fault {
        name: "imported",
        text: "import collectd\nraise RuntimeError('no device')\n",
        state: &["load-error"],
        cause: "RuntimeError: no device",
    },
    Fault {
        name: "configured",
        text: "import collectd\ndef config(node):\n    raise ValueError('bad port')\ncollectd.register_config(config)\n",
        state: &["load-error"],
        cause: "config callback of configured raised ValueError: bad port",
    },
    // Its read callbacks run nevertheless.
    Fault {
        name: "begun",
        text: "def init():\n    raise OSError('no socket')\ncollectd.register_init(init)\nREAD pass\n",
        state: &["ok"],
        cause: "init callback of `python.begun` raised OSError: no socket",
    },
    Fault { name: "blocks", text: "READ time.sleep(1e6)\n", state: &[], cause: "hung" },
    Fault { name: "busy", text: "READ exec('while True: pass')\n", state: &[], cause: "hung" },
    Fault { name: "holds", text: "READ ctypes.PyDLL(None).sleep(1000)\n", state: &[], cause: "hung" },
    Fault { name: "ends", text: "READ os._exit(3)\n", state: &[], cause: "code 3" },
    Fault { name: "crashes", text: "READ ctypes.string_at(0)\n", state: &[], cause: "SIGSEGV" },
    Fault { name: "leaks", text: "kept = []\nREAD kept.append(b'x' * (20 << 20))\n", state: &[], cause: "memory_max" },
    // A double free in the original.
    Fault {
        name: "untyped",
        text: "READ collectd.Values(values=[1]).dispatch(host='h')\n",
        state: &["failing"],
        cause: "type not set",
    },
    // A crash at the start of the original: it does not know its host yet.
    Fault {
        name: "early",
        text: "collectd.Values(type='gauge', plugin='at_import', values=[1]).dispatch()\nREAD pass\n",
        state: &["ok"],
        cause: "",
    },
];

/// Beside them `Encoding` and an unknown key, for which the original does not start.
#[test]
fn each_fault_of_the_originals_table_is_named_and_the_healthy_plugin_gives_every_point() {
    let lab = Lab::new("run_timeout = \"3s\"\nstop_grace = \"1s\"\nmemory_max = \"128MiB\"");
    let read = |name: &str, does: &str| {
        format!(
            "def read():\n    {does}\n    collectd.Values(plugin='{name}', type='gauge', values=[1]).dispatch()\ncollectd.register_read(read)"
        )
    };
    let head = "import collectd, ctypes, os, time\n";
    let mut imports = String::new();
    for (name, text) in
        std::iter::once(("healthy", "READ pass\n")).chain(FAULTS.iter().map(|fault| (fault.name, fault.text)))
    {
        let lines = text.lines().map(|line| match line.strip_prefix("READ ") {
            Some(does) => read(name, does),
            None => line.to_owned(),
        });
        let text: String = lines.map(|line| line + "\n").collect();
        lab.plugin(name, &if text.starts_with("import") { text } else { format!("{head}{text}") });
        imports.push_str(&format!("  Import \"{name}\"\n"));
    }
    lab.collectd_conf(&format!(
        "Hostname \"h\"\nInterval 1\nLoadPlugin python\n<Plugin python>\n  Encoding \"utf-8\"\n  Nonsense 1\n  ModulePath \"@plugins@\"\n{imports}  <Module configured>\n    Port 1\n  </Module>\n</Plugin>\n"
    ));
    let agent = lab.root.agent();
    for fault in FAULTS {
        let is_told = |row: &Value| {
            let is_state = fault.state.is_empty() || fault.state.contains(&text(&row["state"]));
            is_state && format!("{row:#}").contains(fault.cause)
        };
        wait(&agent, &format!("collectd.{}", fault.name), fault.cause, is_told);
    }
    lab.wait_point("at_import");
    // Eight of eight from here on, beside what hangs and starts again.
    let so_far = lab.points("healthy").len();
    wait_for("eight points more", || match lab.points("healthy").len() {
        many if many >= so_far + 9 => Ok(()),
        few => Err(few.to_string()),
    });
    let time = |line: &String| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() / 1e9;
    let times: Vec<f64> = lab.points("healthy").iter().map(time).collect();
    let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap < 2.5), "a second was missed: {gaps:?}");
    let healthy = &rows(&agent)["collectd.healthy"];
    for count in ["restarts", "runs_failed", "skipped_ticks"] {
        assert_eq!(healthy[count], 0, "{count}: {healthy:#}");
    }
    assert_eq!(agent.stop().0, 0);
}

/// Dispatches as fast as the writer lets it, and says at its end how much that was.
const FLOOD: &str = "import collectd, os, time
out = open(os.path.join(os.path.dirname(__file__), 'written'), 'a')
sent = [0]
def say(word):
    out.write(word + '\\n')
    out.flush()
def read():
    for _ in range(50):
        sent[0] += 1
        collectd.Values(type='gauge', plugin='flood', type_instance=str(sent[0]), values=[1]).dispatch()
def write(values):
    time.sleep(0.03)
    say(values.type_instance)
collectd.register_read(read, 0.1)
collectd.register_write(write)
collectd.register_flush(lambda timeout, identifier: say(f'flush {timeout} {identifier}'))
collectd.register_shutdown(lambda: say(f'shutdown {sent[0]}'))
";

#[test]
fn a_stop_under_a_slow_write_callback_loses_nothing() {
    let lab = Lab::new("stop_grace = \"30s\"");
    lab.plugin("flood", FLOOD);
    lab.collectd_conf("Hostname \"h\"\nInterval 1\nLoadPlugin python\n<Plugin python>\n  ModulePath \"@plugins@\"\n  Import \"flood\"\n</Plugin>\n");
    let agent = lab.root.agent();
    wait_for("the writer is behind", || {
        let (sent, written) = (lab.points("flood").len(), lab.said("written").lines().count());
        if sent > 200 && written > 0 && written + 50 < sent { Ok(()) } else { Err(format!("{written} of {sent}")) }
    });
    assert_eq!(agent.stop().0, 0);
    let said = lab.said("written");
    let mut lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines.split_off(lines.len() - 2)[0],
        "flush 0 None",
        "what is left is written before anything is flushed"
    );
    let sent: usize = said.lines().last().unwrap().strip_prefix("shutdown ").unwrap().parse().unwrap();
    let wanted: BTreeSet<String> = (1..=sent).map(|number| number.to_string()).collect();
    assert_eq!(lines.len(), sent);
    assert_eq!(lines.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), wanted);
    let instance = |line: &String| line.split("type_instance=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(lab.points("flood").iter().map(instance).collect::<BTreeSet<_>>(), wanted);
}

/// What a run has dispatched is acknowledged when the next one begins, unless the agent has gone meanwhile.
const NUMBERS: &str = "import collectd, os
agent = os.getppid()
out = open(os.path.join(os.path.dirname(__file__), 'acknowledged'), 'a')
last = [0]
def read():
    if last[0] and os.getppid() == agent:
        out.write(f'{os.getpid()}-{last[0]}\\n')
        out.flush()
    last[0] += 1
    collectd.Values(type='gauge', plugin='numbers', type_instance=f'{os.getpid()}-{last[0]}', values=[1]).dispatch()
collectd.register_read(read, 0.01)
";

#[test]
fn what_was_acknowledged_arrives_after_a_kill_of_the_agent() {
    let lab = Lab::new("");
    lab.plugin("numbers", NUMBERS);
    lab.collectd_conf("Hostname \"h\"\nInterval 1\nLoadPlugin python\n<Plugin python>\n  ModulePath \"@plugins@\"\n  Import \"numbers\"\n</Plugin>\n");
    let mut known = 0;
    for _ in 0..3 {
        let agent = lab.root.agent();
        wait_for("fifty more", || match lab.said("acknowledged").lines().count() {
            many if many >= known + 50 => Ok(()),
            few => Err(few.to_string()),
        });
        agent.kill();
        known = lab.said("acknowledged").lines().count();
    }
    let agent = lab.root.agent();
    let acknowledged = lab.said("acknowledged");
    wait_for("all that was acknowledged", || {
        let points = lab.root.points("metric");
        let lost: Vec<&str> =
            acknowledged.lines().filter(|one| !points.contains(&format!("type_instance={one} "))).collect();
        if lost.is_empty() { Ok(()) } else { Err(format!("{lost:?}")) }
    });
    assert_eq!(agent.stop().0, 0);
}
