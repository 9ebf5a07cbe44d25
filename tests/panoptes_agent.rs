//! Promise: Panoptes' plugins run in an agent as their author has them: the tutorial's as printed, with resources that come, go and come back,
//! with what they keep for each other, and with a status that says how each of them is.

#[path = "support/machine.rs"]
mod machine;
mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::{Agent, Root, wait_for};

/// A root with folders of plugins.
struct Lab {
    root: Root,
}

impl Lab {
    /// With more settings of the input, and the folders that these name.
    fn new(settings: &str) -> Self {
        let lab = Self { root: Root::new() };
        lab.settings(settings);
        lab
    }

    fn settings(&self, settings: &str) {
        let table = format!("[[inputs.panoptes]]\ncmd = \"python3\"\n{settings}\n[sinks.file.local]\n");
        self.root.conf("panoptes.conf", &table);
    }

    /// Writes a file below `python.d`, whole.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.root.path().join("python.d").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &path).unwrap();
        path
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.root.path().join("python.d").join(name)).unwrap();
    }

    /// The points of a measurement, without their times.
    fn lines(&self, measurement: &str) -> Vec<String> {
        let (comma, text) = (format!("{measurement},"), self.root.points("metric"));
        // A line that is just being written has no end yet.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let own = whole.lines().filter(|line| line.starts_with(&comma));
        own.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    }

    /// Waits until a point has arrived that the check takes; gives it.
    fn wait_line(&self, measurement: &str, what: &str, check: impl Fn(&str) -> bool) -> String {
        wait_for(&format!("{measurement}: {what}"), || {
            let lines = self.lines(measurement);
            lines.iter().rev().find(|line| check(line)).cloned().ok_or_else(|| lines.join("\n"))
        })
    }

    /// How many points of a measurement a resource has.
    fn count(&self, measurement: &str, resource: &str) -> usize {
        let tag = format!("resource_endpoint={resource},");
        self.lines(measurement).iter().filter(|line| line.contains(&tag)).count()
    }

    /// Waits until a resource has more points than it has now.
    fn wait_more(&self, measurement: &str, resource: &str) {
        let before = self.count(measurement, resource);
        wait_for(&format!("another point of {resource}"), || {
            if self.count(measurement, resource) > before { Ok(()) } else { Err(self.root.points("metric")) }
        });
    }

    fn framework_log(&self) -> String {
        self.root.log("_datakit_pythond_framework_panoptes_.log")
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn wait(agent: &Agent, id: &str, what: &str, check: impl Fn(&Value) -> bool) -> Value {
    agent.wait_script(id, what, check)
}

fn wait_ok(agent: &Agent, id: &str) -> Value {
    wait(agent, id, "runs", |row| row["state"] == "ok")
}

/// What a unit's only job says of itself.
fn title(row: &Value) -> &str {
    text(&row["jobs"][0]["title"])
}

fn info(name: &str, module: &str, every: u32, more: &str) -> String {
    format!("[Core]\nName = {name}\nModule = {module}\n[main]\nexecute_frequency = {every}\n{more}")
}

fn resource(id: &str, class: &str, ttl: u32) -> Value {
    json!({
        "resource_plugin": "hosts", "resource_site": "local", "resource_class": class, "resource_subclass": "host",
        "resource_type": "generic", "resource_id": id, "resource_endpoint": format!("{id}.example.net"),
        "resource_creation_timestamp": "1512629517.03121", "resource_metadata": {"_resource_ttl": ttl.to_string()}
    })
}

const POLLING: &str = "from yahoo_panoptes.framework.metrics import *
from yahoo_panoptes.polling.polling_plugin import PanoptesPollingPlugin

class Probe(PanoptesPollingPlugin):
    def run(self, context):
        found = PanoptesMetricsGroupSet()
        group = PanoptesMetricsGroup(context.data, 'probe', 1)
        for name, value in self.values(context).items():
            group.add_metric(PanoptesMetric(name, value, PanoptesMetricType.GAUGE))
        found.add(group)
        return found
    def values(self, context):
";

/// A polling plugin whose `values` has this body.
fn polling(body: &str) -> String {
    let indented: String = body.lines().map(|line| format!("        {line}\n")).collect();
    format!("{POLLING}{indented}")
}

// --- the tutorial ---

/// The texts of a lesson: Panoptes' own, or our twin of it.
struct Lesson {
    skeleton: String,
    extended: String,
    plain: String,
    rates: String,
    resources: String,
    /// The first point and the second one, without their times.
    lines: [&'static str; 2],
    /// What the log says of a run.
    log: &'static str,
    metrics: Value,
}

fn twin() -> Lesson {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/panoptes/tutorial");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    Lesson {
        skeleton: read("skeleton.py"),
        extended: read("extended.py"),
        plain: read("plain.panoptes-plugin"),
        rates: read("rates.panoptes-plugin"),
        resources: read("localhost.json"),
        lines: [
            "page_cache,disk=sda\\ 1,host=testhost,resource_class=storage,resource_endpoint=nas\\,1,resource_site=local,resource_subclass=host,resource_type=generic reads1__counter=1.0,reads__counter=7000.0,used__gauge=61.5",
            "page_cache,disk=sda\\ 1,host=testhost,resource_class=storage,resource_endpoint=nas\\,1,resource_site=local,resource_subclass=host,resource_type=generic reads1__counter=1.0,reads__counter=7000.0,reads__gauge=0.0,used__gauge=61.5",
        ],
        log: "INFO Tutorial Plugin[tutorial_device] : asks nas,1",
        metrics: json!({"reads": [7000, "counter"], "reads1": [1, "counter"], "used": [61.5, "gauge"]}),
    }
}

/// The listings of a document, without the indentation of where they stand.
fn listings(document: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for line in document.lines() {
        let indent = line.len() - line.trim_start().len();
        match (&mut open, line.trim_start().starts_with("```")) {
            (None, true) => open = Some((indent, String::new())),
            (Some(_), true) => found.extend(open.take().map(|(_, listing)| listing)),
            (Some((depth, listing)), false) => {
                listing.push_str(&line[indent.min(*depth)..]);
                listing.push('\n');
            }
            (None, false) => {}
        }
    }
    found
}

/// The tutorial's texts as it prints them.
fn tutorial() -> Option<Lesson> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("shared/seeds");
    let seeds = machine::case("the tutorial of Panoptes", seeds)?;
    let texts = std::fs::read_dir(seeds).unwrap().map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    let document = texts.into_iter().find(|text| text.contains("Writing a Panoptes Polling Plugin")).unwrap();
    let all = listings(&document);
    let listing = |what: &str| all.iter().find(|listing| listing.contains(what)).unwrap().clone();
    let skeleton = listing("class TutorialPollingPlugin");
    let method = all.iter().find(|text| text.starts_with("def ") && text.contains("context_switch_count")).unwrap();
    let method: String = method.lines().map(|line| format!("    {line}\n")).collect();
    let (start, end) = (skeleton.find("    def populateMetrics").unwrap(), skeleton.find("    def run(").unwrap());
    let infos: Vec<&String> = all.iter().filter(|listing| listing.trim_start().starts_with("[Core]")).collect();
    let list = document.find("    [\n        {").unwrap();
    let list = &document[list..list + document[list..].find("\n    ]").unwrap() + "\n    ]".len()];
    Some(Lesson {
        extended: format!("{}{method}\n{}", &skeleton[..start], &skeleton[end..]),
        skeleton,
        plain: infos[0].clone(),
        rates: infos[1].clone(),
        resources: list.to_owned(),
        lines: [
            "example,cpu_no=5,host=testhost,resource_class=tutorial,resource_endpoint=localhost,resource_site=local,resource_subclass=host,resource_type=generic context_switch_count__counter=50.0,cpu_load__gauge=0.3",
            "example,cpu_no=5,host=testhost,resource_class=tutorial,resource_endpoint=localhost,resource_site=local,resource_subclass=host,resource_type=generic context_switch_count__counter=50.0,context_switch_count__gauge=0.0,cpu_load__gauge=0.3",
        ],
        log: "INFO Tutorial Plugin[tutorial_device] : Running TutorialPollingPlugin against plugin|plugin_discovery_from_json_file|site|local|class|tutorial|",
        metrics: json!({"context_switch_count": [50, "counter"], "cpu_load": [0.3, "gauge"]}),
    })
}

fn lessons() -> impl Iterator<Item = Lesson> {
    [Some(twin()), tutorial()].into_iter().flatten()
}

/// The metrics groups that a run by hand has printed.
fn printed_groups(out: &str) -> Vec<Value> {
    let printed: String = out.lines().filter_map(|line| line.trim_start().strip_prefix("stdout | ")).collect();
    serde_json::Deserializer::from_str(&printed).into_iter().map(|group| group.unwrap()).collect()
}

#[test]
fn the_tutorial_by_hand_prints_its_metrics_group_and_its_points() {
    for lesson in lessons() {
        let root = Root::new();
        std::fs::remove_dir_all(root.path().join("conf.d")).unwrap();
        let file = |name: &str, text: &str| std::fs::write(root.path().join(name), text).unwrap();
        file("localhost.json", &lesson.resources);
        file("tutorial_plugin.panoptes-plugin", &lesson.plain);
        file("tutorial_plugin.py", &lesson.skeleton);
        let run = |more: &[&str]| {
            let args = ["run", "tutorial_plugin.panoptes-plugin", "--resources", "localhost.json"];
            root.run(&[&args[..], more].concat())
        };
        // The skeleton produces an empty set.
        let (code, out, err) = run(&[]);
        assert_eq!(code, 6, "{out}{err}");
        assert!(out.contains(lesson.log) && out.contains("no points"), "{out}");
        assert!(err.contains("`tutorial_plugin.py` beside the info file is taken"), "{err}");
        assert_eq!(err.matches("PD0804").count(), 1, "once: {err}");

        file("tutorial_plugin.py", &lesson.extended);
        let (code, out, err) = run(&[]);
        assert_eq!(code, 0, "{out}{err}");
        assert!(out.contains("ok: 1 run, 1 point"), "{out}");
        let groups = printed_groups(&out);
        assert_eq!(groups.len(), 1, "{out}");
        assert_eq!(groups[0]["metrics_group_interval"], 60);
        assert_eq!(groups[0]["resource"]["resource_id"], "tutorial_device");
        let pair = |metric: &Value| {
            let value = json!([metric["metric_value"], metric["metric_type"]]);
            (text(&metric["metric_name"]).to_owned(), value)
        };
        let metrics: serde_json::Map<String, Value> =
            groups[0]["metrics"].as_array().unwrap().iter().map(pair).collect();
        assert_eq!(Value::Object(metrics), lesson.metrics);

        // Its last step: the module has another name there, the file has not.
        file("tutorial_plugin.panoptes-plugin", &lesson.rates);
        let (code, out, err) = run(&["--lp"]);
        assert_eq!(code, 0, "{out}{err}");
        assert!(err.contains("`tutorial_plugin.py`, named like the info file, is taken"), "{err}");
        let without = |line: &str| line.replace(",host=testhost", "");
        let lines: Vec<String> = out.lines().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect();
        assert_eq!(lines, lesson.lines.map(without));
    }
}

#[test]
fn the_tutorial_in_the_agent_gives_the_points_of_panoptes_with_rates() {
    for lesson in lessons() {
        let lab = Lab::new("polling = [\"panoptes/polling\"]\nresources = \"localhost.json\"");
        lab.write("localhost.json", &lesson.resources);
        lab.write("panoptes/polling/tutorial_plugin.py", &lesson.extended);
        lab.write("panoptes/polling/tutorial_plugin.panoptes-plugin", &lesson.rates);
        let agent = lab.root.agent();
        let measurement = lesson.lines[0].split(',').next().unwrap();
        lab.wait_line(measurement, "the first point", |_| true);
        let row = wait_ok(&agent, "panoptes.Tutorial_Plugin");
        assert_eq!(row["jobs"][0]["every_s"], 60.0);
        let metrics = lesson.metrics.as_object().unwrap().len();
        let told = format!(
            "Tutorial Plugin; 1 resource; last result: 1 metrics group, {metrics} metrics; resource_id = \"tutorial_device\""
        );
        wait(&agent, "panoptes.Tutorial_Plugin", "says how it is", |row| title(row) == told);
        let (code, out, err) = lab.root.run(&["run-now", "panoptes.Tutorial_Plugin"]);
        assert_eq!(code, 0, "{out}{err}");
        lab.wait_line(measurement, "the second point", |line| line == lesson.lines[1]);
        assert_eq!(lab.lines(measurement), lesson.lines);
        let points = lab.root.points("metric");
        let times: Vec<u64> = points.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
        assert!(times[0] < times[1] && times.iter().all(|time| time % 1_000_000 == 0), "milliseconds: {points}");
        let log = lab.framework_log();
        assert!(log.lines().any(|line| line.contains(lesson.log)), "{log}");
        assert_eq!(agent.stop().0, 0);
    }
}

// --- resources ---

/// A discovery plugin with the JSON file `hosts.json`, whose info file names a path of the original's package; it looks every second.
fn discovery(lab: &Lab) {
    let module = "/home/panoptes_v/lib/python3.6/site-packages/yahoo_panoptes/plugins/discovery/plugin_discovery_from_json_file.py";
    let text = info("Hosts", module, 1, "config_file = hosts.json\n");
    lab.write("found/hosts.panoptes-plugin", &text);
}

fn hosts(lab: &Lab, entries: &[Value]) {
    lab.write("found/hosts.json", &Value::Array(entries.to_vec()).to_string());
}

const FOLDERS: &str = "discovery = [\"found\"]\npolling = [\"polled\"]";

/// A polling plugin that runs every second against every resource of a class.
fn prober(lab: &Lab, class: &str, body: &str) {
    lab.write("polled/probe.py", &polling(body));
    let filter = format!("resource_filter = resource_class = \"{class}\"\n");
    lab.write("polled/probe.panoptes-plugin", &info("Probe", "probe.py", 1, &filter));
}

#[test]
fn discovery_from_a_json_file_leaves_bad_entries_out_and_says_which() {
    let lab = Lab::new(FOLDERS);
    discovery(&lab);
    prober(&lab, "router", "return {'up': 1}");
    let mut bad = resource("bad", "router", 900);
    bad["resource_metadata"] = json!({"_resource_ttl": 900});
    hosts(&lab, &[resource("a", "router", 900), bad.clone(), resource("b", "router", 900)]);
    let agent = lab.root.agent();
    for id in ["a", "b"] {
        lab.wait_line("probe", id, |line| line.contains(&format!("resource_endpoint={id}.example.net,")));
    }
    let told = "Hosts; last result: 2 resources, 0 new, 0 gone";
    wait(&agent, "panoptes.Hosts", "says what it found", |row| row["state"] == "ok" && title(row) == told);
    wait(&agent, "panoptes.Hosts", "is well without points", |row| {
        row["runs_ok"].as_u64() > Some(4) && row["state"] == "ok"
    });
    let wanted = "hosts.json: entry 1 is left out: AssertionError: value must be a non-empty str or unicode";
    let log = lab.framework_log();
    assert!(log.lines().any(|line| line.contains("WARNING Hosts :") && line.contains(wanted)), "{log}");

    // All bad, no JSON, no file: it fails, and what it found before stays.
    for (what, text) in [
        ("no entry of", Some(Value::Array(vec![bad]).to_string())),
        ("Expecting value", Some("[oops".to_owned())),
        ("No such file", None),
    ] {
        match text {
            Some(text) => drop(lab.write("found/hosts.json", &text)),
            None => lab.remove("found/hosts.json"),
        }
        let row =
            wait(&agent, "panoptes.Hosts", what, |row| row["state"] == "failing" && format!("{row:#}").contains(what));
        assert!(
            format!("{row:#}").contains("PanoptesDiscoveryPluginError") && format!("{row:#}").contains("hosts.json"),
            "{row:#}"
        );
        lab.wait_more("probe", "a.example.net");
        assert_eq!(wait_ok(&agent, "panoptes.Probe")["restarts"], 0);
    }
    // One that is missing from a whole set goes at once.
    hosts(&lab, &[resource("b", "router", 900)]);
    wait(&agent, "panoptes.Probe", "has one resource", |row| title(row).starts_with("Probe; 1 resource; "));
    wait_ok(&agent, "panoptes.Hosts");
    assert_eq!(agent.stop().0, 0);
}

#[test]
fn a_resource_goes_after_its_time_to_live_and_comes_back() {
    let lab = Lab::new(FOLDERS);
    discovery(&lab);
    prober(&lab, "router", "return {'up': 1}");
    hosts(&lab, &[resource("a", "router", 3), resource("s", "switch", 900)]);
    let agent = lab.root.agent();
    lab.wait_more("probe", "a.example.net");
    lab.remove("found/hosts.json");
    let row = wait(&agent, "panoptes.Probe", "waits", |row| row["state"] == "waiting");
    assert_eq!(
        row["jobs"][0]["why"],
        "no resource matches `resource_class = \"router\"`; there is 1, by class: 1 switch"
    );
    let (code, out, _) = lab.root.run(&["status"]);
    assert!(code == 0 && out.contains("no resource matches `resource_class = \"router\"`"), "{out}");
    let before = lab.count("probe", "a.example.net");
    hosts(&lab, &[resource("a", "router", 3)]);
    wait_for("points again", || {
        let now = lab.count("probe", "a.example.net");
        if now > before { Ok(()) } else { Err(format!("{:#}", agent.status()["units"])) }
    });
    wait_ok(&agent, "panoptes.Probe");
    assert_eq!(agent.stop().0, 0);
}

#[test]
fn the_resource_file_may_have_bad_entries_and_is_read_again_when_it_changes() {
    let lab = Lab::new("polling = [\"polled\"]\nresources = \"r.json\"");
    prober(&lab, "router", "return {'up': 1}");
    lab.write("r.json", &json!([resource("a", "router", 900), {"resource_id": "x"}, 5]).to_string());
    let (code, out, err) = lab.root.run(&["check"]);
    let all = format!("{out}{err}");
    assert_eq!(code, 0, "{all}");
    for part in [
        "entry 1 is left out: the key 'resource_plugin' is missing",
        "entry 2 is left out: it must be an object",
        "r.json:1",
    ] {
        assert!(all.contains(part), "{part} is not in {all}");
    }
    let agent = lab.root.agent();
    lab.wait_more("probe", "a.example.net");
    lab.write("r.json", &json!([resource("b", "router", 900)]).to_string());
    lab.wait_more("probe", "b.example.net");
    wait(&agent, "panoptes.Probe", "has one resource", |row| title(row).starts_with("Probe; 1 resource"));
    // A file that cannot be read keeps what there is, and is told with its place.
    for (text, place) in
        [("[\n  oops\n]", "r.json:2:3"), ("[{}]", "no entry is a resource"), ("{}", "must hold a list of resources")]
    {
        lab.write("r.json", text);
        wait(&agent, "panoptes.Probe", place, |row| row["state"] == "ok" && format!("{row:#}").contains(place));
        lab.wait_more("probe", "b.example.net");
    }
    lab.write("r.json", &json!([resource("c", "router", 900)]).to_string());
    lab.wait_more("probe", "c.example.net");
    wait(&agent, "panoptes.Probe", "is well", |row| row["state"] == "ok" && row["why"].is_null());
    assert_eq!(agent.stop().0, 0);
}

// --- what plugins keep for each other ---

#[test]
fn enrichment_of_one_plugin_is_read_by_another_until_its_time_is_over() {
    let lab = Lab::new("polling = [\"polled\"]\nenrichment = [\"enriching\"]\nresources = \"r.json\"");
    lab.write("r.json", &json!([resource("a", "router", 900), resource("b", "switch", 900)]).to_string());
    lab.write(
        "enriching/place.py",
        "import os
from yahoo_panoptes.enrichment.enrichment_plugin import PanoptesEnrichmentPlugin
from yahoo_panoptes.framework.enrichment import *

class Schema(PanoptesEnrichmentSchemaValidator):
    schema = {'enrichment_label': {'type': 'dict', 'schema': {'row': {'type': 'integer', 'required': True}}}}

class Place(PanoptesEnrichmentPlugin):
    def run(self, context):
        with open(os.path.join(os.path.dirname(__file__), 'row')) as file:
            row = int(file.read())
        group = PanoptesEnrichmentGroup('place', Schema(), int(context.config['main']['enrichment_ttl']), 1)
        group.add_enrichment_set(PanoptesEnrichmentSet('rack', {'row': row}))
        found = PanoptesEnrichmentGroupSet(context.data)
        found.add_enrichment_group(group)
        return found
",
    );
    lab.write("enriching/row", "7");
    let filter = "resource_filter = resource_class IN (\"router\", \"switch\")\n";
    lab.write("enriching/place.panoptes-plugin", &info("Place", "place", 1, &format!("{filter}enrichment_ttl = 4\n")));
    let body = "own = context.enrichment.get_enrichment_value('self', 'place', 'rack')['row']
other = context.enrichment.get_enrichment_value('b', 'place', 'rack')['row']
try:
    context.enrichment.get_enrichment('self', 'elsewhere')
except Exception as error:
    assert type(error).__name__ == 'PanoptesEnrichmentCacheError', error
    return {'own': own, 'other': other}";
    lab.write("polled/probe.py", &polling(body));
    let more = "resource_filter = resource_id = \"a\"\n[enrichment]\npreload = self:place, b:*\n";
    lab.write("polled/probe.panoptes-plugin", &info("Probe", "probe", 1, more));
    let agent = lab.root.agent();
    lab.wait_line("probe", "both rows", |line| line.ends_with(" other__gauge=7.0,own__gauge=7.0"));
    lab.write("enriching/row", "8");
    lab.wait_line("probe", "the new row", |line| line.ends_with(" other__gauge=8.0,own__gauge=8.0"));
    // Once the plugin fails, what it found is there until it expires.
    lab.write("enriching/row", "none");
    wait(&agent, "panoptes.Place", "fails", |row| {
        row["state"] == "failing" && text(&row["why"]).contains("ValueError")
    });
    let row = wait(&agent, "panoptes.Probe", "misses it", |row| row["state"] == "failing");
    assert!(format!("{row:#}").contains("PanoptesEnrichmentCacheError"), "{row:#}");
    lab.write("enriching/row", "9");
    lab.wait_line("probe", "the row of now", |line| line.ends_with(" other__gauge=9.0,own__gauge=9.0"));
    wait_ok(&agent, "panoptes.Probe");
    assert_eq!(agent.stop().0, 0);
}

const KEEPING: &str = "import time
kv = context.kv
runs = int(kv.get('runs') or 0) + 1
kv.set('runs', str(runs))
if runs == 1:
    kv.set('began', str(time.time()))
    kv.set('short', 'x', expire=25)
    kv.set('long', 'x', expire=3600)
    kv.set_add('seen', context.data.resource_id)
secret = context.secrets.get_by_site('password', 'local')
return {
    'runs': runs,
    'age': time.time() - float(kv.get('began')),
    'short': int(kv.get('short') is not None),
    'long': int(kv.get('long') is not None),
    'left': kv.ttl('long'),
    'members': len(kv.set_members('seen')),
    'secret': {'sesame': 1, 'tulip': 2}.get(secret, 0),
    'fallback': int(context.secrets.get_by_site('other', 'local') == 'for all'),
}";

fn number(line: &str, field: &str) -> f64 {
    let fields = line.rsplit_once(' ').unwrap().1.split(',');
    let found = fields.filter_map(|pair| pair.strip_prefix(&format!("{field}__gauge="))).next();
    found.unwrap_or_else(|| panic!("{field} in {line}")).parse().unwrap()
}

#[test]
fn key_value_pairs_outlive_a_restart_of_the_agent_until_they_expire_and_secrets_are_read() {
    let table =
        "[inputs.panoptes.secrets]\n\"password:local\" = \"${env:PANOPTES_PASSWORD}\"\n\"other:default\" = \"for all\"";
    let lab = Lab::new(&format!("polling = [\"polled\"]\nresources = \"r.json\"\n{table}"));
    lab.write("r.json", &json!([resource("a", "router", 900)]).to_string());
    prober(&lab, "router", KEEPING);
    let agent = || {
        let mut command = lab.root.command(&["agent"]);
        command.env("PANOPTES_PASSWORD", "sesame");
        Agent::start(&lab.root, command)
    };
    let first = agent();
    let line = lab.wait_line("probe", "a second run", |line| number(line, "runs") >= 2.0);
    assert_eq!(["short", "long", "members", "secret", "fallback"].map(|name| number(&line, name)), [1.0; 5], "{line}");
    assert!((3500.0..=3600.0).contains(&number(&line, "left")), "{line}");
    assert_eq!(first.stop().0, 0);
    let runs = lab.lines("probe").iter().map(|line| number(line, "runs")).fold(0.0, f64::max);

    // The next one has the secrets in files.
    let folder = lab.root.path().join("secrets");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("password.local"), "tulip\n").unwrap();
    std::fs::write(folder.join("other:default"), "for all").unwrap();
    lab.settings(&format!("polling = [\"polled\"]\nresources = \"r.json\"\nsecrets = {folder:?}"));
    let second = agent();
    let line =
        lab.wait_line("probe", "goes on counting", |line| number(line, "runs") > runs && number(line, "secret") == 2.0);
    assert_eq!(["long", "members", "fallback"].map(|name| number(&line, name)), [1.0; 3], "{line}");
    lab.wait_line("probe", "a pair expires", |line| number(line, "short") == 0.0);
    assert_eq!(second.stop().0, 0);
    for line in lab.lines("probe") {
        let (age, is_there) = (number(&line, "age"), number(&line, "short") == 1.0);
        // The two clocks of a run are read one after the other.
        assert!((age - 25.0).abs() < 1.0 || is_there == (age < 25.0), "{line}");
        assert!((number(&line, "left") + age - 3600.0).abs() < 2.0, "{line}");
    }
}

// --- the status ---

#[test]
fn the_status_says_how_many_resources_fail_and_which_is_left_alone_since_it_hung() {
    let lab = Lab::new("polling = [\"polled\"]\nresources = \"r.json\"\nstop_grace = \"1s\"");
    let ids = ["good", "broken", "stuck"];
    lab.write("r.json", &Value::Array(ids.map(|id| resource(id, "router", 900)).to_vec()).to_string());
    let body = "import os, time
if context.data.resource_id == 'stuck' and os.path.exists(os.path.join(os.path.dirname(__file__), 'hang')):
    time.sleep(1000)
if context.data.resource_id == 'broken':
    raise OSError('no route to it')
return {'up': 1}";
    prober(&lab, "router", body);
    let agent = lab.root.agent();
    let row =
        wait(&agent, "panoptes.Probe", "fails", |row| row["state"] == "failing" && title(row).contains("1 failed"));
    assert!(title(&row).starts_with("Probe; 3 resources; "), "{row:#}");
    assert!(title(&row).contains("1 failed (broken)"), "{row:#}");
    assert!(title(&row).ends_with("; resource_class = \"router\""), "{row:#}");
    assert!(text(&row["why"]).contains("OSError: no route to it"), "{row:#}");
    let (_, out, _) = lab.root.run(&["status", "panoptes.Probe"]);
    for part in ["OSError: no route to it", "probe.py:", "3 resources", "1 failed (broken)"] {
        assert!(out.contains(part), "{part} is not in {out}");
    }
    assert_eq!(lab.count("probe", "broken.example.net"), 0);
    lab.wait_more("probe", "stuck.example.net");

    lab.write("polled/hang", "");
    let row =
        wait(&agent, "panoptes.Probe", "leaves it alone", |row| title(row).contains("left alone after they hung"));
    assert!(title(&row).contains("1 late") && title(&row).contains("1 left alone after they hung (stuck)"), "{row:#}");
    for _ in 0..3 {
        lab.wait_more("probe", "good.example.net");
    }
    // What it hangs in is told with its line; the process was replaced, which is no failure of it.
    let log = lab.root.log("_datakit_pythond_framework_panoptes_.log");
    let all = format!("{log}{}{:#}", agent.console(), agent.status());
    assert!(all.contains("PD0302") && all.contains("probe.py:15"), "{all}");
    std::fs::remove_file(lab.root.path().join("python.d/polled/hang")).unwrap();
    lab.wait_more("probe", "stuck.example.net");
    wait(&agent, "panoptes.Probe", "forgives it", |row| !title(row).contains("left alone"));
    assert_eq!(agent.stop().0, 0);
}

/// A plugin of which the only resource hangs as long as the file `polled/hang` is there.
fn with_a_resource_that_hangs() -> (Lab, Agent) {
    let lab = Lab::new("polling = [\"polled\"]\nresources = \"r.json\"\nstop_grace = \"1s\"");
    lab.write("r.json", &Value::Array(vec![resource("stuck", "router", 900)]).to_string());
    let body = "import os, time
if context.data.resource_id == 'stuck' and os.path.exists(os.path.join(os.path.dirname(__file__), 'hang')):
    time.sleep(1000)
return {'up': 1}";
    prober(&lab, "router", body);
    lab.write("polled/hang", "");
    let agent = lab.root.agent();
    let row = wait(&agent, "panoptes.Probe", "fails", |row| {
        row["state"] == "failing" && title(row).contains("left alone after they hung")
    });
    let why = text(&row["why"]);
    assert!(why.contains("stuck hung, and the process was replaced; next try in "), "{row:#}");
    (lab, agent)
}

#[test]
fn a_resource_that_hung_is_no_failure_once_it_is_gone() {
    let (lab, agent) = with_a_resource_that_hangs();
    let both = ["stuck", "good"].map(|id| resource(id, "router", 900));
    lab.write("r.json", &Value::Array(both.to_vec()).to_string());
    lab.wait_more("probe", "good.example.net");
    lab.write("r.json", &Value::Array(both[1..].to_vec()).to_string());
    let row = wait(&agent, "panoptes.Probe", "is well", |row| row["state"] == "ok");
    assert!(!title(&row).contains("left alone"), "{row:#}");
    assert_eq!(agent.stop().0, 0);
}

#[test]
fn a_plugin_whose_only_resource_hangs_is_not_well_until_a_run_ends() {
    let (lab, agent) = with_a_resource_that_hangs();
    std::fs::remove_file(lab.root.path().join("python.d/polled/hang")).unwrap();
    lab.wait_more("probe", "stuck.example.net");
    wait(&agent, "panoptes.Probe", "is well", |row| row["state"] == "ok");
    assert_eq!(agent.stop().0, 0);
}

/// The words of each line, which are two spaces or more apart.
fn cells(out: &str) -> Vec<Vec<&str>> {
    out.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect()
}

#[test]
fn the_table_of_resources_says_how_each_of_them_is() {
    let lab = Lab::new(FOLDERS);
    discovery(&lab);
    let body = "if context.data.resource_id == 'bad': raise OSError('no route\\nto it')\nreturn {'up': 1}";
    prober(&lab, "router", body);
    lab.write("polled/none.py", &polling("return {}"));
    let nothing = "resource_filter = resource_class = \"nothing\"\n";
    lab.write("polled/none.panoptes-plugin", &info("None", "none.py", 1, nothing));
    hosts(&lab, &[resource("good", "router", 7530), resource("s", "switch", 7530), resource("bad", "router", 7530)]);
    let sleeps = "import threading\nfrom datakit_framework import DataKitFramework\nclass A(DataKitFramework):\n    def run(self):\n        threading.Event().wait()\n";
    lab.root.script("my/a.py", sleeps);
    lab.root.input("plain", &["my"], "");
    let agent = lab.root.agent();
    let head = ["RESOURCE", "CLASS", "ENDPOINT", "SITE", "GONE IN", "NEXT", "LAST"];
    let out = wait_for("a table with the last run of each", || {
        let (code, out, err) = lab.root.run(&["status", "Probe", "--resources"]);
        let has_run = code == 0 && out.contains("failed: ") && out.contains("ok\n");
        if has_run { Ok(out) } else { Err(format!("{code}: {out}{err}")) }
    });
    let table = cells(&out);
    assert_eq!((table.len(), &table[0][..]), (3, &head[..]), "{out}");
    for (row, id, last) in [(&table[1], "bad", "failed: OSError: no route to it"), (&table[2], "good", "ok")] {
        let endpoint = format!("{id}.example.net");
        assert_eq!(row[..5], [id, "router.host.generic", &endpoint, "local", "2 h 5 min"], "{out}");
        assert!(["running", "now"].contains(&row[5]) || ["in ", "late by "].iter().any(|is| row[5].starts_with(is)));
        assert_eq!(row[6], last, "{out}");
    }
    let (code, json, _) = lab.root.run(&["status", "panoptes.Probe", "--resources", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["id"], &json["why"]), (0, &"panoptes.Probe".into(), &Value::Null));
    assert_eq!((&json["columns"], &json["rows"][1][0]), (&json!(head), &"good".into()), "{json:#}");
    // A discovery plugin has those that it has found, though they name another plugin than it.
    let (code, out, _) = lab.root.run(&["status", "Hosts", "--resources"]);
    let (table, ids) = (cells(&out), ["RESOURCE", "bad", "good", "s"]);
    assert_eq!((code, table.iter().map(|row| row[0]).collect::<Vec<_>>()), (0, ids.to_vec()), "{out}");
    assert_eq!((&table[0][..], table[3][4]), (&head[..5], "2 h 5 min"), "{out}");

    // Why there is none.
    wait(&agent, "panoptes.None", "has seen all", |row| text(&row["jobs"][0]["why"]).contains("there are 3"));
    for (id, why) in [
        (
            "panoptes.None",
            "no resource matches `resource_class = \"nothing\"`; there are 3, by class: 2 router, 1 switch",
        ),
        ("my.a", "its collectors do not run against resources that could be listed"),
    ] {
        let (code, out, err) = lab.root.run(&["status", id, "--resources"]);
        assert_eq!((code, out.as_str(), err), (1, "", format!("error: {id} has no table of resources: {why}\n")));
    }
    let (code, _, err) = lab.root.run(&["status", "nobody", "--resources"]);
    assert!(code == 2 && err.contains("no unit is called `nobody`"), "{err}");
    for args in [&["status", "--resources"][..], &["status", "Probe", "--resources", "--all"]] {
        assert_eq!(lab.root.run(args).0, 2, "{args:?}");
    }
    let path = "/api/v1/units/nobody/resources";
    assert_eq!(support::http::unix(&lab.root.socket(), "GET", path, &[], b"").unwrap().status, 404);
    assert_eq!(agent.stop().0, 0);
}

#[test]
fn the_table_of_thousands_of_resources_comes_whole() {
    let lab = Lab::new("polling = [\"polled\"]\nresources = \"r.json\"");
    let ids = (0..5000).map(|number| format!("r{number:04}"));
    let entries: Vec<Value> = ids.clone().map(|id| resource(&id, "router", 900)).collect();
    lab.write("r.json", &Value::Array(entries).to_string());
    lab.write("polled/probe.py", &polling("return {'up': 1}"));
    let filter = "resource_filter = resource_class = \"router\"\n";
    lab.write("polled/probe.panoptes-plugin", &info("Probe", "probe.py", 600, filter));
    let agent = lab.root.agent();
    wait(&agent, "panoptes.Probe", "has them all", |row| title(row).starts_with("Probe; 5000 resources"));
    let (code, out, err) = lab.root.run(&["status", "Probe", "--resources"]);
    assert_eq!(code, 0, "{err}");
    let told = cells(&out);
    assert!(told[1..].iter().map(|row| row[0]).eq(ids), "{} lines", told.len());
    assert!(told[1..].iter().all(|row| row[4] == "-"));
    assert_eq!(agent.stop().0, 0);
}

#[test]
fn an_empty_set_is_no_failure_and_is_warned_of_after_three_runs() {
    let lab = Lab::new("polling = [\"polled\"]\nresources = \"r.json\"");
    lab.write("r.json", &json!([resource("a", "router", 900)]).to_string());
    let empty = POLLING.replace("        found.add(group)\n", "") + "        return {}\n";
    lab.write("polled/probe.py", &empty);
    let filter = "resource_filter = resource_id = \"a\"\n";
    lab.write("polled/probe.panoptes-plugin", &info("Probe", "probe", 1, filter));
    let agent = lab.root.agent();
    let row = wait(&agent, "panoptes.Probe", "has run five times", |row| row["runs_ok"].as_u64() > Some(4));
    assert_eq!((text(&row["state"]), &row["why"]), ("ok", &Value::Null), "{row:#}");
    assert!(title(&row).contains("last result: 0 metrics groups, 0 metrics"), "{row:#}");
    let (_, out, _) = lab.root.run(&["status", "panoptes.Probe"]);
    assert!(out.contains("warning: produced no metrics group in 3 runs"), "{out}");
    assert_eq!(agent.console().matches("PD0307: produced no metrics group in 3 runs").count(), 1);
    assert_eq!(agent.stop().0, 0);
}

// --- the agent around them ---

#[test]
fn what_the_watch_cannot_notice_is_seen_at_the_scan() {
    let lab = Lab::new(&format!("{FOLDERS}\nscan_interval = \"1s\"\n[reload]\npoll = \"1h\""));
    discovery(&lab);
    hosts(&lab, &[resource("a", "router", 900)]);
    prober(&lab, "router", "return {'version': 1}");
    // A second name of the file elsewhere: what is written through it is no event of the plugin's folder.
    let elsewhere = lab.root.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::hard_link(lab.root.path().join("python.d/polled/probe.py"), elsewhere.join("probe.py")).unwrap();
    let agent = lab.root.agent();
    lab.wait_line("probe", "the first version", |line| line.ends_with(" version__gauge=1.0"));
    std::fs::write(elsewhere.join("probe.py"), polling("return {'version': 2}")).unwrap();
    lab.wait_line("probe", "the next version", |line| line.ends_with(" version__gauge=2.0"));
    // What the agent looks at so often concerns nobody else.
    let hosts = wait_ok(&agent, "panoptes.Hosts");
    assert_eq!((hosts["restarts"].as_u64(), hosts["reloads"].as_u64().unwrap_or(0)), (Some(0), 0), "{hosts:#}");
    assert_eq!(agent.stop().0, 0);
}

const KEEPING_USER: &str = "import os
runs = int(context.kv.get('runs') or 0) + 1
context.kv.set('runs', str(runs))
return {'runs': runs, 'uid': os.getuid()}";

#[test]
fn plugins_that_run_as_another_user_share_what_they_keep_and_can_be_given_back() {
    let Some(python) = machine::python_of_nobody() else { return };
    let lab = Lab::new("");
    let allow = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    allow(lab.root.path());
    let table = |user: &str| format!("[[inputs.panoptes]]\ncmd = {python:?}\n{FOLDERS}\n{user}\n[sinks.file.local]\n");
    discovery(&lab);
    hosts(&lab, &[resource("a", "router", 900)]);
    prober(&lab, "router", KEEPING_USER);
    let mut runs = 0.0;
    // To the user, back to root, and to the user again: with what each has left there.
    for (user, uid) in [("user = \"nobody\"", 65534.0), ("", 0.0), ("user = \"nobody\"", 65534.0)] {
        lab.root.conf("panoptes.conf", &table(user));
        let agent = lab.root.agent();
        let line = lab.wait_line("probe", "as that user, with what was kept", |line| {
            number(line, "uid") == uid && number(line, "runs") > runs
        });
        runs = number(&line, "runs");
        wait(&agent, "panoptes.Probe", "runs on", |row| row["runs_ok"].as_u64() > Some(1) && row["state"] == "ok");
        wait_ok(&agent, "panoptes.Hosts");
        if !user.is_empty() {
            // Whoever only tries it has a store too.
            let (code, out, err) = lab.root.run(&["check"]);
            assert_eq!(code, 0, "{out}{err}");
            let name = format!("as_{runs}");
            prober(&lab, "router", &KEEPING_USER.replace("'uid'", &format!("'{name}': 1, 'uid'")));
            lab.wait_line("probe", "its new version", |line| line.contains(&format!("{name}__gauge=1.0")));
        }
        assert_eq!(agent.stop().0, 0);
    }
    let seen: Vec<f64> = lab.lines("probe").iter().map(|line| number(line, "runs")).collect();
    let counted: Vec<f64> = (1..=seen.len()).map(|number| number as f64).collect();
    assert_eq!(seen, counted, "each run has what the one before it kept");
    let damaged = lab.framework_log().contains("damaged");
    assert!(!damaged, "{}", lab.framework_log());
}

// --- the original's own plugins ---

const PACKAGE: &str = "yahoo_panoptes==1.3.2";

/// The original's package, unpacked and not installed: its needs do not build on today's Pythons.
fn package() -> Option<(tempfile::TempDir, PathBuf)> {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check", "-d"])
        .arg(folder)
        .arg(PACKAGE);
    let done = pip.output().unwrap();
    let archive = std::fs::read_dir(folder).unwrap().next();
    let Some(archive) = archive.map(|entry| entry.unwrap().path()) else {
        machine::go_without(
            "PYTHOND_REQUIRE_SERVERS",
            &format!("{PACKAGE}: {}", String::from_utf8_lossy(&done.stderr)),
        );
        return None;
    };
    let unpack = "import shutil, sys; shutil.unpack_archive(sys.argv[1], sys.argv[2])";
    let unpacked = Command::new("python3").args(["-c", unpack]).arg(archive).arg(folder).status().unwrap();
    assert!(unpacked.success());
    let tops = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().join("yahoo_panoptes"));
    let package = tops.into_iter().find(|path| path.is_dir()).expect("the package in the archive");
    Some((dir, package))
}

const GOOD_PING: &str = "#!/bin/sh
cat <<END
PING x (127.0.0.1) 56(84) bytes of data.

--- x ping statistics ---
3 packets transmitted, 3 received, 0% packet loss, time 2041ms
rtt min/avg/max/mdev = 0.031/0.032/0.034/0.004 ms
END
";

#[test]
fn the_originals_ping_and_discovery_run_by_hand_and_in_the_agent() {
    let Some((_dir, package)) = package() else { return };
    let copy = |name: &str| std::fs::read_to_string(package.join("plugins").join(name)).unwrap();
    let lab = Lab::new(FOLDERS);
    let bin = lab.root.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(bin.join("ping"), GOOD_PING).unwrap();
    std::fs::set_permissions(bin.join("ping"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    lab.write("polled/plugin_polling_ping.py", &copy("polling/generic/plugin_polling_ping.py"));
    let more = "resource_filter = resource_class = \"router\"\ncount = 3\ntimeout = 5\n";
    lab.write("polled/ping.panoptes-plugin", &info("Ping", "plugin_polling_ping", 1, more));
    lab.write("found/plugin_discovery_from_json_file.py", &copy("discovery/plugin_discovery_from_json_file.py"));
    // As it is shipped, but for the pause.
    let shipped = copy("discovery/plugin_discovery_from_json_file.panoptes-plugin.example");
    let shipped = shipped.replace("execute_frequency = 60", "execute_frequency = 1");
    lab.write("found/plugin_discovery_from_json_file.panoptes-plugin", &shipped);
    let mut router = resource("a", "router", 900);
    router["resource_endpoint"] = json!("localhost");
    lab.write("found/example.json", &json!([router, {"bad": 1}]).to_string());
    lab.write("hosts.json", &json!([router]).to_string());

    let by_hand = |args: &[&str]| support::finished(lab.root.command(args).env("PATH", &path));
    let (code, out, err) =
        by_hand(&["run", "python.d/polled/ping.panoptes-plugin", "--resources", "python.d/hosts.json", "--lp"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.starts_with("ping,") && out.contains("ping_status__gauge="), "{out}");
    let (code, out, err) = by_hand(&["run", "python.d/found/plugin_discovery_from_json_file.panoptes-plugin"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("\"resource_id\": \"a\""), "{out}");

    let mut command = lab.root.command(&["agent"]);
    command.env("PATH", &path);
    let agent = Agent::start(&lab.root, command);
    let head = "ping,host=testhost,resource_class=router,resource_endpoint=localhost,resource_site=local,resource_subclass=host,resource_type=generic ";
    let line = lab.wait_line("ping", "a point", |line| line.starts_with(head));
    if !Path::new("/bin/ping").exists() {
        // The shadow takes the system's where there is one; what that says is not known here.
        let fields = "packet_loss_percent__gauge=0.0,ping_status__gauge=0.0,round_trip_average__gauge=0.032,round_trip_maximum__gauge=0.034,round_trip_minimum__gauge=0.031,round_trip_standard_deviation__gauge=0.004";
        assert_eq!(line, format!("{head}{fields}"));
    }
    wait_ok(&agent, "panoptes.Ping");
    let told = "From JSON File Discovery Plugin; last result: 1 resource, 0 new, 0 gone";
    wait(&agent, "panoptes.From_JSON_File_Discovery_Plugin", "found", |row| row["state"] == "ok" && title(row) == told);
    assert_eq!(agent.stop().0, 0);
}

#[test]
fn all_plugins_of_an_input_may_share_one_process() {
    let lab = Lab::new(&format!("{FOLDERS}\nisolation = \"input\"\nresource_id_tag = true"));
    discovery(&lab);
    hosts(&lab, &[resource("a", "router", 900), resource("b", "router", 900)]);
    prober(&lab, "router", "return {'up': 1}");
    // Two info files with one module.
    let filter = "resource_filter = resource_class ne \"switch\" AND resource_id eq \"b\"\n";
    lab.write("polled/again.panoptes-plugin", &info("Again", "probe", 1, filter));
    lab.write("polled/broken.panoptes-plugin", &info("Broken", "none.py", 1, filter));
    let agent = lab.root.agent();
    lab.wait_line("probe", "with its id", |line| line.contains(",resource_id=a,"));
    lab.wait_line("probe", "the other one, too", |line| line.contains(",resource_id=b,"));
    let rows = ["panoptes.Hosts", "panoptes.Probe", "panoptes.Again"].map(|id| wait_ok(&agent, id));
    assert!(rows[0]["pid"].is_u64() && rows.iter().all(|row| row["pid"] == rows[0]["pid"]), "{rows:#?}");
    assert_eq!(title(&rows[2]).split("; ").nth(1), Some("1 resource"));
    let broken = wait(&agent, "panoptes.Broken", "is told", |row| row["state"] == "load-error");
    let missing = "polled/broken.panoptes-plugin:3:10: the module is missing";
    assert!(text(&broken["why"]).contains(missing), "{broken:#}");
    for (name, ids) in [("Probe", &["a", "b"][..]), ("Again", &["b"]), ("Hosts", &["a", "b"])] {
        let (code, out, err) = lab.root.run(&["status", name, "--resources"]);
        let told = cells(&out).iter().skip(1).map(|row| row[0].to_owned()).collect::<Vec<_>>();
        assert_eq!(
            (code, told.as_slice()),
            (0, ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>().as_slice()),
            "{name}: {err}"
        );
    }
    let (code, _, err) = lab.root.run(&["status", "Broken", "--resources"]);
    let told = format!("error: panoptes.Broken has no table of resources: it does not run: {missing}");
    assert!(code == 1 && err.starts_with(&told), "{err}");
    assert_eq!(agent.stop().0, 0);
}

// --- rates ---

/// A plugin that reports one step of `steps` with each run: values of a counter with their times.
const STEPS: &str = "import time
from yahoo_panoptes.framework.metrics import *
from yahoo_panoptes.polling.polling_plugin import PanoptesPollingPlugin

class Steps(PanoptesPollingPlugin):
    def run(self, context):
        main, name = context.config['main'], context.config['Core']['name']
        began = float(context.kv.get(name + '-began') or time.time() - 2000)
        number = int(context.kv.get(name + '-steps') or 0)
        context.kv.set(name + '-began', str(began))
        context.kv.set(name + '-steps', str(number + 1))
        found = PanoptesMetricsGroupSet()
        for step in main['steps'].split()[number:number + 1]:
            value, after = step.split('@')
            at = began + float(after)
            group = PanoptesMetricsGroup(context.data, 'ex', 60, at)
            group.add_dimension(PanoptesMetricDimension('sequence', name))
            group.add_metric(PanoptesMetric('ctr', int(value), PanoptesMetricType.COUNTER, at))
            group.add_metric(PanoptesMetric('g', 1.5, PanoptesMetricType.GAUGE, at))
            found.add(group)
        return found
";

/// What the original was made to do: by name the steps, value and seconds, and the transforms.
const SEQUENCES: [(&str, &str, &str); 11] = [
    ("first/second/dec", "100@0 700@60 650@120 1250@180", "a = rate:ex:ctr"),
    ("int truncation", "0@0 59@60 179@120", "a = rate:ex:ctr"),
    ("same ts", "0@0 10@0", "a = rate:ex:ctr"),
    ("gap>3x", "0@0 10000@181", "a = rate:ex:ctr"),
    ("gap=3x", "0@0 1800@180", "a = rate:ex:ctr"),
    ("two names spaces", "0@0 600@60", "a = rate:ex: ctr , g"),
    ("other type", "0@0 600@60", "a = rate:other:ctr"),
    ("dest name != type", "0@0 600@60", "ex = rate:zz:ctr"),
    ("unknown transform", "0@0 600@60", "a = rate:ex:zz"),
    ("two lines same type", "0@0 600@60", "a = rate:ex:ctr\nb = rate:ex:other"),
    ("bad grammar", "0@0 600@60", "a = rate:ex"),
];

/// The fields after each step; where the original loses the group or the whole set, the group stays as it is.
fn wanted(name: &str) -> Option<Vec<String>> {
    let rated = ["ctr__counter=0.0,g__gauge=1.5", "ctr__counter=600.0,ctr__gauge=10.0,g__gauge=1.5"];
    let plain = ["ctr__counter=0.0,g__gauge=1.5", "ctr__counter=600.0,g__gauge=1.5"];
    match name {
        "two names spaces" => return Some(rated.map(str::to_owned).to_vec()),
        "unknown transform" | "bad grammar" => return Some(plain.map(str::to_owned).to_vec()),
        _ => {}
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("shared/cases/panoptes");
    let golden = machine::case("panoptes", golden)?;
    let text = std::fs::read_to_string(golden.join("golden.txt")).unwrap();
    let lines = text.lines().filter(|line| line.starts_with(&format!("{name} ")) && line.contains(" #"));
    // `name #1 [[('ctr', 'COUNTER', 700), ('ctr', 'GAUGE', 10)]]`
    let fields = lines.map(|line| {
        let mut fields: Vec<String> = line
            .split("('")
            .skip(1)
            .map(|tuple| {
                let parts: Vec<&str> = tuple.trim_end_matches([')', ']', ',', ' ']).split(", ").collect();
                let kind = parts[1].trim_matches('\'').to_lowercase();
                let value: f64 = parts[2].parse().unwrap();
                format!("{}__{kind}={value:?}", parts[0].trim_matches('\''))
            })
            .collect();
        fields.sort();
        fields.join(",")
    });
    Some(fields.collect())
}

#[test]
fn the_sequences_of_the_original_give_its_rates() {
    let lab = Lab::new("polling = [\"polled\"]\nresources = \"r.json\"");
    lab.write("r.json", &json!([resource("a", "router", 900)]).to_string());
    lab.write("polled/steps.py", STEPS);
    for (number, (_, steps, transforms)) in SEQUENCES.iter().enumerate() {
        let more = format!("resource_filter = resource_id = \"a\"\nsteps = {steps}\n[transforms]\n{transforms}\n");
        lab.write(&format!("polled/s{number}.panoptes-plugin"), &info(&format!("s{number}"), "steps", 1, &more));
    }
    let agent = lab.root.agent();
    for (number, (name, steps, _)) in SEQUENCES.iter().enumerate() {
        let Some(wanted) = wanted(name) else { continue };
        assert_eq!(wanted.len(), steps.split(' ').count(), "{name}");
        let of = |line: &String| {
            line.contains(&format!(",sequence=s{number} ")) || line.contains(&format!(",sequence=s{number},"))
        };
        let fields = wait_for(name, || {
            let found: Vec<String> = lab.lines("ex").into_iter().filter(of).collect();
            if found.len() >= wanted.len() {
                Ok(found)
            } else {
                Err(format!("{found:#?} {:#}", agent.status()["units"]))
            }
        });
        let fields: Vec<&str> = fields.iter().map(|line| line.rsplit_once(' ').unwrap().1).collect();
        assert_eq!(fields, wanted, "{name}");
    }
    assert_eq!(agent.stop().0, 0);
}
