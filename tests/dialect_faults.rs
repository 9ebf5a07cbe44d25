//! Promise: whatever one collector does to its process, the healthy one beside it misses no second, and the status names each cause. The
//! same faults in every dialect; `tests/one_bad_script.rs` and `tests/faults_*.rs` go deeper with DataKit's.
#![cfg(debug_assertions)] // with `tally`, the dialect of the tests

mod support;

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use support::{Root, wait_for};

/// One agent at a time: each has a dozen workers.
static ALONE: Mutex<()> = Mutex::new(());

struct Fault {
    /// Of the unit.
    name: &'static str,
    /// What each of its runs does first.
    does: &'static str,
    /// The status says one of these; none: it is well.
    cause: &'static [&'static str],
}

const FAULTS: &[Fault] = &[
    Fault { name: "blocks", does: "time.sleep(1e6)", cause: &["hung"] },
    Fault { name: "raises", does: "{}['await']", cause: &["KeyError: 'await'"] },
    Fault { name: "exits", does: "sys.exit(4)", cause: &["SystemExit"] },
    Fault { name: "ends", does: "os._exit(3)", cause: &["code 3"] },
    Fault { name: "crashes", does: "ctypes.string_at(0)", cause: &["SIGSEGV"] },
    Fault { name: "killed", does: "os.kill(os.getpid(), signal.SIGKILL)", cause: &["SIGKILL"] },
    Fault { name: "closes", does: "sys.stdout.close(); os.closerange(1, 2)", cause: &[] },
    Fault { name: "holds", does: "ctypes.PyDLL(None).sleep(60)", cause: &["hung"] },
    // It ends when it is looked at, or can have no more.
    Fault {
        name: "leaks",
        does: "sys.kept = getattr(sys, 'kept', []) + [b'x' * (64 << 20)]",
        cause: &["memory_max", "MemoryError"],
    },
    Fault { name: "prints", does: "print('word ' * 9999)", cause: &[] },
    Fault {
        name: "grumbles",
        does: "subprocess.run(['sh', '-c', 'head -c 65536 /dev/zero | tr \"\\\\0\" x >&2'], check=True)",
        cause: &[],
    },
];

const LIMITS: &str = "run_timeout = \"3s\"\nstop_grace = \"1s\"\nmemory_max = \"256MiB\"\n";
const IMPORTS: &str = "import ctypes, os, signal, subprocess, sys, time\n";
const DATAKIT: &str = "from datakit_framework import DataKitFramework
class C(DataKitFramework):
    interval = 1
    def run(self):
        DOES
        self.feed_metric(measurement='NAME', fields={'v': 1})
";
const NETDATA: &str = "from bases.FrameworkServices.SimpleService import SimpleService
class Service(SimpleService):
    def __init__(self, configuration=None, name=None):
        SimpleService.__init__(self, configuration=configuration, name=name)
        self.order = ['v']
        self.definitions = {'v': {'options': [None, 't', 'u', 'f', 'NAME', 'line'], 'lines': [['v']]}}
    def check(self):
        return True
    def get_data(self):
        DOES
        return {'v': 1}
";
/// Its program writes 64 KiB to its standard error already while it is checked.
const NETDATA_GRUMBLES: &str = "import os
from bases.FrameworkServices.ExecutableService import ExecutableService
class Service(ExecutableService):
    def __init__(self, configuration=None, name=None):
        ExecutableService.__init__(self, configuration=configuration, name=name)
        self.order = ['v']
        self.definitions = {'v': {'options': [None, 't', 'u', 'f', 'NAME', 'line'], 'lines': [['v']]}}
        self.command = os.path.join(os.path.dirname(__file__), 'grumble')
    def _get_data(self):
        return {'v': self._get_raw_data()[0].strip()}
";
const COLLECTD: &str = "import collectd
def read():
    DOES
    collectd.Values(plugin='NAME', type='gauge', values=[1]).dispatch()
collectd.register_read(read)
";
const PANOPTES: &str = "from yahoo_panoptes.framework.metrics import *
from yahoo_panoptes.polling.polling_plugin import PanoptesPollingPlugin
class Plugin(PanoptesPollingPlugin):
    def run(self, context):
        DOES
        groups = PanoptesMetricsGroupSet()
        group = PanoptesMetricsGroup(context.data, 'NAME', 1)
        group.add_metric(PanoptesMetric('v', 1, PanoptesMetricType.GAUGE))
        groups.add(group)
        return groups
";
const RESOURCE: &str = r#"[{"resource_plugin": "hand", "resource_site": "local", "resource_class": "c", "resource_subclass": "s",
"resource_type": "t", "resource_id": "a", "resource_endpoint": "localhost", "resource_creation_timestamp": "1512629517.0",
"resource_metadata": {"_resource_ttl": "900"}}]"#;

fn unit(text: &str, name: &str, does: &str) -> String {
    format!("{IMPORTS}{}", text.replace("NAME", name).replace("DOES", does))
}

fn input(root: &Root, table: &str, keys: &str) {
    root.conf("input.conf", &format!("[[inputs.{table}]]\ncmd = \"python3\"\n{keys}\n{LIMITS}"));
}

/// The good unit and those with faults, as `name` and what they do.
fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    std::iter::once(("good", "pass")).chain(FAULTS.iter().map(|fault| (fault.name, fault.does)))
}

/// When points of this measurement were made, in seconds.
fn times(root: &Root, measurement: &str) -> Vec<f64> {
    let text = root.points("metric");
    let own = text.lines().filter(|line| line.starts_with(&format!("{measurement},")));
    own.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() / 1e9).collect()
}

/// Waits until the status has said everything of each fault, then for ten good seconds more.
fn all_are_told_and_good_misses_nothing(root: &Root, prefix: &str, faults: &[&Fault]) {
    let agent = root.agent();
    agent.wait_script(&format!("{prefix}.good"), "runs", |unit| unit["runs_ok"].as_u64() > Some(0));
    for fault in faults {
        let is_told = |unit: &Value| {
            let text = unit.to_string();
            let is_well = unit["state"] == "ok" && unit["runs_ok"].as_u64() > Some(3) && unit["restarts"] == 0;
            if fault.cause.is_empty() { is_well } else { fault.cause.iter().any(|cause| text.contains(cause)) }
        };
        agent.wait_script(&format!("{prefix}.{}", fault.name), &format!("told: {:?}", fault.cause), is_told);
    }
    let so_far = times(root, "good").len();
    wait_for("ten seconds more", || match times(root, "good").len() {
        many if many >= so_far + 10 => Ok(()),
        few => Err(few.to_string()),
    });
    let times = times(root, "good");
    let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // A missed second is a gap of two; some times are whole seconds.
    assert!(gaps.iter().all(|gap| *gap < 2.5), "{gaps:?}");
    let good = agent.script(&format!("{prefix}.good"));
    assert_eq!((&good["state"], &good["runs_failed"], &good["restarts"]), (&"ok".into(), &0.into(), &0.into()));
    assert_eq!(agent.stop().0, 0);
}

fn alone() -> std::sync::MutexGuard<'static, ()> {
    // A test that failed leaves nothing behind.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn scripts_of_datakit() {
    let (_alone, root) = (alone(), Root::new());
    for (name, does) in all() {
        root.script(&format!("units/{name}.py"), &unit(DATAKIT, name, does));
    }
    input(&root, "pythond", "name = \"x\"\ndirs = [\"units\"]");
    all_are_told_and_good_misses_nothing(&root, "units", &FAULTS.iter().collect::<Vec<_>>());
}

#[test]
fn modules_of_netdata() {
    let (_alone, root) = (alone(), Root::new());
    for (name, does) in all() {
        let text = if name == "grumbles" { NETDATA_GRUMBLES } else { NETDATA };
        root.script(&format!("units/{name}.chart.py"), &unit(text, name, does));
    }
    let program = root.script("units/grumble", "#!/bin/sh\nhead -c 65536 /dev/zero | tr '\\0' x >&2\necho 1\n");
    assert!(Command::new("chmod").arg("+x").arg(program).status().unwrap().success());
    input(&root, "netdata", "dirs = [\"units\"]");
    all_are_told_and_good_misses_nothing(&root, "netdata", &FAULTS.iter().collect::<Vec<_>>());
}

#[test]
fn plugins_of_collectd() {
    let (_alone, root) = (alone(), Root::new());
    let mut conf = format!(
        "Interval 1\nHostname \"testhost\"\nLoadPlugin python\n<Plugin python>\n  ModulePath \"{}\"\n",
        root.path().join("python.d/units").display()
    );
    for (name, does) in all() {
        root.script(&format!("units/{name}.py"), &unit(COLLECTD, name, does));
        conf.push_str(&format!("  Import \"{name}\"\n"));
    }
    conf.push_str("</Plugin>\n");
    std::fs::write(root.path().join("collectd.conf"), conf).unwrap();
    input(&root, "collectd", &format!("config = {:?}", root.path().join("collectd.conf")));
    all_are_told_and_good_misses_nothing(&root, "collectd", &FAULTS.iter().collect::<Vec<_>>());
}

#[test]
fn plugins_of_panoptes() {
    let (_alone, root) = (alone(), Root::new());
    for (name, does) in all() {
        root.script(&format!("units/{name}.py"), &unit(PANOPTES, name, does));
        let info = format!(
            "[Core]\nName = {name}\nModule = {name}\n[main]\nexecute_frequency = 1\nresource_filter = resource_class = \"c\"\n"
        );
        root.script(&format!("units/{name}.panoptes-plugin"), &info);
    }
    let resources = root.script("resources.json", RESOURCE);
    input(&root, "panoptes", &format!("polling = [\"units\"]\nresources = {resources:?}"));
    all_are_told_and_good_misses_nothing(&root, "panoptes", &FAULTS.iter().collect::<Vec<_>>());
}

/// A tally has no code of its own: what it reads hangs, or is no number, or its process is killed.
#[test]
fn units_of_tally() {
    let (_alone, root) = (alone(), Root::new());
    root.script("units/number", "1");
    root.script("units/text", "one");
    assert!(Command::new("mkfifo").arg(root.path().join("python.d/units/fifo")).status().unwrap().success());
    for (name, file) in [("good", "number"), ("blocks", "fifo"), ("raises", "text")] {
        root.script(&format!("units/{name}.tally"), &format!("unit {name}\njob {name} every 1 file {file}\n"));
    }
    input(&root, "tally", "files = [\"units\"]");
    // Its measurement is always `tally`; only the good one has points.
    let raises = Fault { name: "raises", does: "", cause: &["ValueError"] };
    let agent = root.agent();
    for (name, cause) in [("blocks", "hung"), ("raises", raises.cause[0])] {
        let is_told = |unit: &Value| unit.to_string().contains(cause);
        agent.wait_script(&format!("tally.{name}"), cause, is_told);
    }
    let good = agent.wait_script("tally.good", "runs", |unit| unit["runs_ok"].as_u64() > Some(9));
    assert_eq!((&good["runs_failed"], &good["restarts"], &good["skipped_ticks"]), (&0.into(), &0.into(), &0.into()));
    let gaps: Vec<f64> = times(&root, "tally").windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap < 2.5), "{gaps:?}");
    let process = rustix::process::Pid::from_raw(i32::try_from(good["pid"].as_u64().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    agent.wait_script("tally.good", "was killed and is back", |unit| {
        unit["restarts"] == 1 && unit["state"] == "ok" && unit["pid"] != good["pid"]
    });
    assert_eq!(agent.stop().0, 0);
}
