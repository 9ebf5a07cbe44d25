//! Promise: in every dialect a changed settings file touches the units it belongs to, and soon; a mistake keeps what runs and is shown with
//! its place, also after a kill of the worker and after a new agent; what is new starts, and what is gone ends.
#![cfg(debug_assertions)] // with `tally`, the dialect of the tests

#[path = "support/machine.rs"]
mod machine;
mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Agent, Root, wait_for, wait_until};

/// How users of a dialect configure one unit, and how a point of it tells which version of that runs.
struct Dialect {
    table: &'static str,
    keys: &'static str,
    /// Where the settings of a unit lie, and what its code is where that is another file.
    settings: &'static str,
    code: Option<(&'static str, &'static str)>,
    /// With a `NAME` and a `VERSION`.
    text: &'static str,
    /// A part of it, and what stands there instead of it when `one` has a mistake.
    mistake: (&'static str, &'static str),
    /// How that is shown: the column is known to all that have parsers of their own.
    place: &'static str,
    /// What lies beside the units.
    beside: &'static [(&'static str, &'static str)],
    needs: &'static str,
    /// Stands in every point of this version.
    mark: &'static str,
}

const DATAKIT: Dialect = Dialect {
    table: "pythond",
    keys: "name = \"units\"\ndirs = [\"units\"]",
    settings: "units/NAME.py",
    code: None,
    text: "from datakit_framework import DataKitFramework
class C(DataKitFramework):
    interval = 0.2
    def run(self):
        self.feed_metric(measurement='NAME', fields={'v': VERSION})
",
    mistake: ("    interval = 0.2", "    interval = (\n"),
    place: "units/one.py:3: syntax error",
    beside: &[],
    needs: "json",
    mark: " v=VERSION.0 ",
};

const NETDATA: Dialect = Dialect {
    table: "netdata",
    keys: "name = \"units\"\ndirs = [\"units\"]",
    settings: "units/NAME.conf",
    code: Some((
        "units/NAME.chart.py",
        "from bases.FrameworkServices.SimpleService import SimpleService
class Service(SimpleService):
    def __init__(self, configuration=None, name=None):
        SimpleService.__init__(self, configuration=configuration, name=name)
        self.order = ['v']
        self.definitions = {'v': {'options': [None, 't', 'u', 'f', 'NAME', 'line'], 'lines': [['v']]}}
    def get_data(self):
        return {'v': self.configuration['version']}
",
    )),
    text: "update_every: 1\nversion: VERSION\n",
    mistake: ("version: ", "version: [ "),
    place: "units/one.conf:3:1",
    beside: &[],
    needs: "yaml",
    mark: " v=VERSION.0 ",
};

const COLLECTD: Dialect = Dialect {
    table: "collectd",
    keys: "name = \"units\"\nconfig = \"@DIR@/collectd.conf\"",
    settings: "conf/NAME.conf",
    code: Some((
        "units/NAME.py",
        "import collectd
found = []
def configure(config):
    found.extend(node.values[0] for node in config.children)
def read():
    collectd.Values(plugin='NAME', type='gauge', values=found).dispatch()
collectd.register_config(configure)
collectd.register_read(read)
",
    )),
    text: "<Plugin python>
  ModulePath \"@DIR@/python.d/units\"
  Import \"NAME\"
  <Module NAME>
    Version VERSION
  </Module>
</Plugin>
",
    mistake: ("    Version VERSION", "    Version"),
    place: "conf/one.conf:5:",
    beside: &[(
        "../collectd.conf",
        "Interval 0.2\nHostname \"h\"\nInclude \"@DIR@/python.d/conf/*.conf\"\nLoadPlugin python\n",
    )],
    needs: "json",
    mark: " value=VERSION.0 ",
};

const PANOPTES: Dialect = Dialect {
    table: "panoptes",
    keys: "name = \"units\"\npolling = [\"units\"]\nresources = \"@DIR@/python.d/resources.json\"",
    settings: "units/NAME.panoptes-plugin",
    code: Some((
        "units/NAME.py",
        "from yahoo_panoptes.framework.metrics import *
from yahoo_panoptes.polling.polling_plugin import PanoptesPollingPlugin
class Plugin(PanoptesPollingPlugin):
    def run(self, context):
        groups = PanoptesMetricsGroupSet()
        group = PanoptesMetricsGroup(context.data, 'NAME', 1)
        version = int(context.config['main']['version'])
        group.add_metric(PanoptesMetric('v', version, PanoptesMetricType.GAUGE))
        groups.add(group)
        return groups
",
    )),
    text: "[Core]\nName = NAME\nModule = NAME\n[main]\nexecute_frequency = 1\nresource_filter = resource_class = \"c\"\nversion = VERSION\n",
    mistake: ("resource_class = \"c\"", "resource_class = 'c'"),
    place: "units/one.panoptes-plugin:6:36: `resource_filter`: texts stand in double quotes",
    beside: &[(
        "resources.json",
        r#"[{"resource_plugin": "hand", "resource_site": "local", "resource_class": "c", "resource_subclass": "s",
"resource_type": "t", "resource_id": "a", "resource_endpoint": "localhost", "resource_creation_timestamp": "1512629517.0",
"resource_metadata": {"_resource_ttl": "900"}}]"#,
    )],
    needs: "json",
    mark: " v__gauge=VERSION.0 ",
};

const TALLY: Dialect = Dialect {
    table: "tally",
    keys: "name = \"units\"\nfiles = [\"units\"]",
    settings: "units/NAME.tally",
    code: None,
    text: "unit NAME\njob vVERSION every 0.2 file number\n",
    mistake: ("unit ", "unti "),
    place: "units/one.tally:1:1",
    beside: &[("units/number", "1")],
    needs: "json",
    mark: ",job=vVERSION,",
};

struct Lab {
    dialect: &'static Dialect,
    root: Root,
    python: &'static str,
}

impl Lab {
    fn new(dialect: &'static Dialect) -> Option<Self> {
        let import = format!("import {}", dialect.needs);
        let has =
            |python: &&str| Command::new(python).args(["-c", &import]).output().is_ok_and(|out| out.status.success());
        let Some(python) = ["python3", "/usr/bin/python3"].into_iter().find(has) else {
            machine::go_without("PYTHOND_REQUIRE_SERVERS", &format!("no python3 has {}", dialect.needs));
            return None;
        };
        let lab = Self { dialect, root: Root::new(), python };
        for (name, text) in dialect.beside {
            lab.write(name, text);
        }
        let keys = lab.filled(dialect.keys, "", 0);
        lab.root.conf("input.conf", &format!("[[inputs.{}]]\ncmd = \"{}\"\n{keys}\n", dialect.table, lab.python));
        Some(lab)
    }

    fn filled(&self, text: &str, name: &str, version: u32) -> String {
        let text = text.replace("@DIR@", self.root.path().to_str().unwrap());
        text.replace("NAME", name).replace("VERSION", &version.to_string())
    }

    /// Replaces a file as editors do that write another and rename it.
    fn write(&self, name: &str, text: &str) {
        let path = self.root.path().join("python.d").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new = path.with_extension("new");
        std::fs::write(&new, self.filled(text, "", 0)).unwrap();
        std::fs::rename(&new, &path).unwrap();
    }

    fn save(&self, name: &str, version: u32) {
        self.save_text(name, version, self.dialect.text);
    }

    fn save_text(&self, name: &str, version: u32, text: &str) {
        if let Some((file, code)) = self.dialect.code {
            let path = self.root.path().join("python.d").join(self.filled(file, name, 0));
            if !path.exists() {
                self.write(&self.filled(file, name, 0), &self.filled(code, name, 0));
            }
        }
        self.write(&self.filled(self.dialect.settings, name, 0), &self.filled(text, name, version));
    }

    fn save_with_mistake(&self, name: &str, version: u32) {
        let (right, wrong) = self.dialect.mistake;
        assert!(self.dialect.text.contains(right));
        self.save_text(name, version, &self.dialect.text.replace(right, wrong));
    }

    fn remove(&self, name: &str) {
        let code = self.dialect.code.map(|(file, _)| file);
        for file in std::iter::once(self.dialect.settings).chain(code) {
            std::fs::remove_file(self.root.path().join("python.d").join(self.filled(file, name, 0))).unwrap();
        }
    }

    fn points(&self, name: &str, version: u32) -> usize {
        let mark = self.filled(self.dialect.mark, name, version);
        let text = self.root.points("metric");
        let is_own = |line: &&str| line.starts_with(&format!("{name},")) || line.contains(&format!(",unit={name} "));
        text.lines().filter(is_own).filter(|line| line.contains(&mark)).count()
    }

    /// Waits for new points of this version; how long that took.
    fn runs(&self, name: &str, version: u32) -> Duration {
        let (start, before) = (Instant::now(), self.points(name, version));
        wait_for(&format!("{name} runs version {version}"), || match self.points(name, version) {
            now if now > before => Ok(()),
            _ => Err(self.root.points("metric").lines().rev().take(4).collect::<Vec<_>>().join("\n")),
        });
        start.elapsed()
    }

    fn id(&self, agent: &Agent, name: &str) -> String {
        let status = agent.status();
        let ids = status["units"].as_array().unwrap().iter().map(|unit| unit["id"].as_str().unwrap().to_owned());
        let own = |id: &String| id.rsplit(['.', ':']).next() == Some(name);
        ids.into_iter().find(own).unwrap_or_default()
    }

    fn pid_and_restarts(&self, agent: &Agent, name: &str) -> (Value, Value) {
        let unit = agent.script(&self.id(agent, name));
        (unit["pid"].clone(), unit["restarts"].clone())
    }

    /// An agent in which `one` and `two` run their first version.
    fn two_run(&self) -> Agent {
        self.save("one", 1);
        self.save("two", 1);
        let agent = self.root.agent();
        self.runs("one", 1);
        self.runs("two", 1);
        agent
    }

    /// Waits until the status has the place of the mistake in the settings of `one`.
    fn shows_the_mistake(&self, agent: &Agent) {
        wait_for(self.dialect.place, || {
            let units = agent.status()["units"].clone();
            if units.to_string().contains(self.dialect.place) { Ok(()) } else { Err(format!("{units:#}")) }
        });
    }
}

/// Far more than the second that it takes where the machine has nothing else to do.
const SOON: Duration = Duration::from_secs(15);

fn a_change_touches_its_own_units(dialect: &'static Dialect) {
    let Some(lab) = Lab::new(dialect) else { return };
    let agent = lab.two_run();
    let two = lab.pid_and_restarts(&agent, "two");
    lab.save("one", 2);
    let took = lab.runs("one", 2);
    assert!(took < SOON, "{took:?}");
    lab.runs("two", 1);
    assert_eq!(lab.pid_and_restarts(&agent, "two"), two, "nothing of it has changed");
    assert_eq!(agent.stop().0, 0);
}

fn a_mistake_keeps_what_runs(dialect: &'static Dialect) {
    let Some(lab) = Lab::new(dialect) else { return };
    let agent = lab.two_run();
    lab.save_with_mistake("one", 3);
    lab.shows_the_mistake(&agent);
    lab.runs("one", 1);
    lab.runs("two", 1);
    // What is started again after a kill is the last good version.
    let id = lab.id(&agent, "one");
    let pid = agent.wait_script(&id, "has a process", |unit| unit["pid"].is_u64())["pid"].as_u64().unwrap();
    let process = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    agent.wait_script(&id, "is back", |unit| unit["pid"].is_u64() && unit["pid"] != pid);
    lab.runs("one", 1);
    lab.shows_the_mistake(&agent);
    // It is mended.
    lab.save("one", 4);
    lab.runs("one", 4);
    agent.wait_script(&lab.id(&agent, "one"), "is well", |unit| unit["state"] == "ok" && unit["why"].is_null());
    assert_eq!(lab.points("one", 3), 0, "what has a mistake never ran");
    assert_eq!(agent.stop().0, 0);
}

fn the_last_good_version_runs_in_a_new_agent(dialect: &'static Dialect) {
    let Some(lab) = Lab::new(dialect) else { return };
    let agent = lab.two_run();
    lab.save_with_mistake("one", 3);
    lab.shows_the_mistake(&agent);
    assert_eq!(agent.stop().0, 0);
    let agent = lab.root.agent();
    lab.runs("one", 1);
    lab.runs("two", 1);
    lab.shows_the_mistake(&agent);
    lab.save("one", 4);
    lab.runs("one", 4);
    assert_eq!(lab.points("one", 3), 0, "what has a mistake never ran");
    assert_eq!(agent.stop().0, 0);
}

fn what_is_new_starts_and_what_is_gone_ends(dialect: &'static Dialect) {
    let Some(lab) = Lab::new(dialect) else { return };
    lab.save("one", 1);
    let agent = lab.root.agent();
    lab.runs("one", 1);
    lab.save("new", 1);
    lab.runs("new", 1);
    let pid = lab.pid_and_restarts(&agent, "new").0.as_u64().unwrap();
    lab.remove("new");
    wait_until("the row is gone", || lab.id(&agent, "new").is_empty());
    wait_until("the worker is gone", || !support::is_alive(u32::try_from(pid).unwrap()));
    lab.runs("one", 1);
    assert_eq!(agent.stop().0, 0);
}

fn what_comes_and_goes_touches_nobody_else(dialect: &'static Dialect) {
    let Some(lab) = Lab::new(dialect) else { return };
    let agent = lab.two_run();
    let two = lab.pid_and_restarts(&agent, "two");
    lab.save("new", 1);
    lab.runs("new", 1);
    lab.remove("new");
    wait_until("the row is gone", || lab.id(&agent, "new").is_empty());
    lab.runs("two", 1);
    assert_eq!(lab.pid_and_restarts(&agent, "two"), two, "nothing of it has changed");
    assert_eq!(agent.stop().0, 0);
}

/// A test for each promise and dialect.
macro_rules! dialects {
    ($($name:ident: $dialect:ident keeps $($promise:ident),+;)+) => {
        $(mod $name {
            $(#[test]
            fn $promise() {
                super::$promise(&super::$dialect);
            })+
        })+
    };
}

dialects! {
    datakit: DATAKIT keeps a_change_touches_its_own_units, a_mistake_keeps_what_runs, the_last_good_version_runs_in_a_new_agent,
        what_is_new_starts_and_what_is_gone_ends, what_comes_and_goes_touches_nobody_else;
    netdata: NETDATA keeps a_change_touches_its_own_units, a_mistake_keeps_what_runs, the_last_good_version_runs_in_a_new_agent,
        what_is_new_starts_and_what_is_gone_ends, what_comes_and_goes_touches_nobody_else;
    collectd: COLLECTD keeps a_change_touches_its_own_units, a_mistake_keeps_what_runs, the_last_good_version_runs_in_a_new_agent,
        what_is_new_starts_and_what_is_gone_ends, what_comes_and_goes_touches_nobody_else;
    panoptes: PANOPTES keeps a_change_touches_its_own_units, a_mistake_keeps_what_runs, the_last_good_version_runs_in_a_new_agent,
        what_is_new_starts_and_what_is_gone_ends, what_comes_and_goes_touches_nobody_else;
    tally: TALLY keeps a_change_touches_its_own_units, a_mistake_keeps_what_runs, the_last_good_version_runs_in_a_new_agent,
        what_is_new_starts_and_what_is_gone_ends, what_comes_and_goes_touches_nobody_else;
}
