//! Promise: `run` and `check` do for each dialect what they do for scripts: a file needs no settings, every job is checked and run, what is
//! wrong is shown with its place, and the exit code tells the rest.
#![cfg(debug_assertions)]

#[path = "support/machine.rs"]
mod machine;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::Root;

/// A root without settings or agent, with some files below `python.d`.
fn files(files: &[(&str, &str)]) -> Root {
    let root = Root::new();
    std::fs::remove_dir_all(root.path().join("conf.d")).unwrap();
    for (name, text) in files {
        root.script(name, text);
    }
    root
}

fn run(root: &Root, args: &[&str]) -> (i32, String, String) {
    root.run(&[&["run"], args].concat())
}

fn repository(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[track_caller]
fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
}

/// Says whether the machine's Python can read YAML; without it a test has nothing to show.
fn has_yaml() -> bool {
    let done = std::process::Command::new("python3").args(["-c", "import yaml"]).output();
    let has = done.is_ok_and(|done| done.status.success());
    if !has {
        eprintln!("skipped: python3 has no PyYAML");
    }
    has
}

// --- the dialect of the tests ---

const WEB: &str = "unit web\njob hits every 0.2 file hits\njob misses every 0.2 file misses\nunit other\njob one every 0.2 file hits\n";

#[test]
fn a_file_is_run_without_settings_and_counters_become_rates() {
    let root = files(&[("c/web.tally", WEB), ("c/hits", "10"), ("c/misses", "3")]);
    let (code, out, err) = run(&root, &["python.d/c/web.tally"]);
    assert_eq!(code, 0, "{out}\n{err}");
    contains(&out, &["tally.web", "tally.other", "job hits, every 0.2 s", "rate=0", "ok: 4 runs, 4 points"]);
    let (code, out, err) = run(&root, &["python.d/c/web.tally", "-n", "1", "--job", "other"]);
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(!out.contains("tally.web") && !out.contains("rate="), "{out}");
    let (code, out, err) = run(&root, &["python.d/c/web.tally", "--job", "misses"]);
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(out.contains("job=misses") && !out.contains("job=hits") && !out.contains("tally.other"), "{out}");
}

#[test]
fn a_check_that_fails_is_told_with_its_line_and_ends_with_4() {
    let root = files(&[("c/web.tally", WEB), ("c/hits", "10")]);
    let (code, out, err) = run(&root, &["python.d/c/web.tally", "-n", "1"]);
    assert_eq!(code, 4, "{out}\n{err}");
    contains(
        &err,
        &["PD0311", "job misses does not run", "is not there", "python.d/c/web.tally:3", "job misses every"],
    );
    contains(&out, &["check  FAILED", "1 job not run", "job=hits"]);
    let (code, json, _) = run(&root, &["python.d/c/web.tally", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &value[0]["exit"], &value[0]["waiting"]), (4, &4.into(), &1.into()));
}

#[test]
fn a_job_that_is_not_there_is_answered_with_those_that_are() {
    let root = files(&[("c/web.tally", WEB), ("c/hits", "10"), ("c/misses", "3")]);
    let (code, out, err) = run(&root, &["python.d/c/web.tally", "--job", "hitz"]);
    assert_eq!(code, 2, "{out}\n{err}");
    contains(&err, &["no job `hitz`", "tally.web", "tally.other", "hits", "misses"]);
    assert_eq!(out, "");
}

#[test]
fn a_mistake_in_a_file_is_shown_and_what_is_well_runs() {
    let root = files(&[("c/web.tally", &WEB.replace("misses every", "misses evry")), ("c/hits", "10")]);
    let (code, out, err) = run(&root, &["python.d/c/web.tally", "-n", "1"]);
    assert_eq!(code, 4, "{out}\n{err}");
    contains(&err, &["error[PD0801]", "python.d/c/web.tally:3:1", "job misses evry", "^^^"]);
    contains(&out, &["job=hits", "job=one"]);
}

#[test]
fn a_configured_unit_is_run_by_its_name() {
    let root = Root::new();
    root.script("c/web.tally", WEB);
    root.script("c/hits", "10");
    root.conf("tally.conf", "[[inputs.tally]]\nname = \"two\"\nfiles = [\"c\"]\n[inputs.tally.tags]\nrack = \"r7\"\n");
    for name in ["two.other", "other"] {
        let (code, out, err) = run(&root, &[name, "-n", "1"]);
        assert_eq!(code, 0, "{out}\n{err}");
        contains(&out, &["two.other", "rack=r7", "ok: 1 run, 1 point"]);
        assert!(!out.contains("two.web"), "{out}");
    }
    let (code, _, err) = run(&root, &["two.third"]);
    assert_eq!(code, 2, "{err}");
    contains(&err, &["two.third", "two.web, two.other"]);
    let (_, out, _) = run(&root, &["two", "-n", "1"]);
    contains(&out, &["two.web", "two.other"]);
}

#[test]
fn a_class_of_a_script_is_run_by_its_name() {
    let root = Root::new();
    let class = |name: &str| {
        format!(
            "class {name}(DataKitFramework):\n    def run(self):\n        self.feed_metric(measurement='{name}', fields={{'v': 1}})\n"
        )
    };
    root.script("two/two.py", &format!("from datakit_framework import DataKitFramework\n{}{}", class("A"), class("B")));
    root.input("two", &["two"], "");
    for args in [&["two.two:A"][..], &["two.two", "--job", "A"]] {
        let (code, out, err) = run(&root, args);
        assert_eq!(code, 0, "{out}\n{err}");
        assert!(out.contains("ok: 1 run, 1 point") && out.contains("A      ") && !out.contains("B      "), "{out}");
    }
    let (code, _, err) = run(&root, &["two.two:C"]);
    assert_eq!(code, 2, "{err}");
    contains(&err, &["two.two:A", "two.two:B"]);
}

#[test]
fn options_of_one_dialect_are_refused_for_another() {
    let root = files(&[("c/web.tally", WEB), ("c/hits", "10")]);
    for (more, expected) in [
        (&["--set", "a=1"][..], "`--set` is for netdata only"),
        (&["--protocol"], "`--protocol` is for netdata only"),
        (&["--config", "x"], "`--config` is for collectd only"),
        (&["--resource", "x"], "`--resource` is for panoptes only"),
        (&["trace"], "one word too much"),
        (&["--dialect", "netdata"], "`--dialect netdata` takes a file: .chart.py"),
        (&["--dialect", "netdat"], "one of pythond, netdata"),
    ] {
        let (code, out, err) = run(&root, &[&["python.d/c/web.tally"], more].concat());
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        contains(&err, &[expected]);
    }
}

// --- netdata ---

/// A module with a counter and a gauge; `up: false` has its check fail.
const MODULE: &str = r"from bases.FrameworkServices.SimpleService import SimpleService

ORDER = ['c']
CHARTS = {'c': {'options': [None, 'T', 'u', 'f', 'my.c', 'line'], 'lines': [['n', None, 'incremental'], ['g']]}}


class Service(SimpleService):
    def __init__(self, configuration=None, name=None):
        SimpleService.__init__(self, configuration=configuration, name=name)
        self.order, self.definitions = ORDER, CHARTS
        self.number = 0

    def check(self):
        return self.configuration.get('up', True)

    def _get_data(self):
        self.number += int(self.configuration.get('step', 5))
        return {'n': self.number, 'g': 7}
";

#[test]
fn a_netdata_module_runs_twice_so_that_its_rates_show() {
    let root = files(&[("nd/my.chart.py", MODULE)]);
    let (code, out, err) = run(&root, &["python.d/nd/my.chart.py"]);
    assert_eq!(code, 0, "{out}\n{err}");
    contains(&out, &["netdata.my", "module=my", "g=7", "n=", "ok: 2 runs, 2 points"]);
    let (code, out, err) =
        run(&root, &["python.d/nd/my.chart.py", "-n", "1", "--set", "step=50", "name=two", "update_every=2"]);
    assert_eq!(code, 0, "{out}\n{err}");
    contains(&out, &["netdata.my:two", "every 2 s", "ok: 1 run, 1 point"]);
    let (code, out, err) = run(&root, &["python.d/nd/my.chart.py", "--set", "up=false"]);
    assert_eq!(code, 4, "{out}\n{err}");
    contains(&err, &["PD0311", "check returned False"]);
    let counter = MODULE.replace(", 'g': 7", "");
    root.script("nd/my.chart.py", &counter);
    let (code, out, err) = run(&root, &["python.d/nd/my.chart.py", "-n", "1"]);
    assert_eq!(code, 0, "{out}\n{err}");
    contains(&out, &["(first reading of counters)"]);
}

#[test]
fn netdatas_protocol_is_all_that_is_printed() {
    let root = files(&[("nd/my.chart.py", MODULE)]);
    let (code, out, err) = run(&root, &["python.d/nd/my.chart.py", "--protocol", "debug", "trace"]);
    assert_eq!(code, 0, "{out}\n{err}");
    contains(&out, &["CHART my.c '' 'T' 'u' 'f' 'my.c' line", "SET 'n' = 5\n", "SET 'n' = 10\n"]);
    contains(&err, &["note: `trace` has no effect here"]);
    let known = ["CHART", "CLABEL", "CLABEL_COMMIT", "DIMENSION", "BEGIN", "SET", "END"];
    for line in out.lines() {
        assert!(known.contains(&line.split(' ').next().unwrap()), "{line}");
    }
}

#[test]
fn mistakes_in_a_netdata_module_have_their_place() {
    let root = files(&[("nd/my.chart.py", &MODULE.replace("ORDER = ['c']", "ORDER = ['c'"))]);
    let (code, out, err) = run(&root, &["python.d/nd/my.chart.py"]);
    assert_eq!(code, 4, "{out}\n{err}");
    contains(&err, &["PD0201", "python.d/nd/my.chart.py:3"]);
    root.script("nd/my.chart.py", &MODULE.replace("'n': self.number, 'g': 7", "'x': 1"));
    let (code, out, err) = run(&root, &["python.d/nd/my.chart.py"]);
    assert_eq!(code, 5, "{out}\n{err}");
    contains(&err, &["get_data returned x; the dimensions are n, g"]);
    assert!(!err.contains("Traceback") && !err.contains("life.Failed"), "{err}");
    root.script("nd/my.chart.py", &MODULE.replace("self.number +=", "self.numbr +="));
    let (code, out, err) = run(&root, &["python.d/nd/my.chart.py"]);
    assert_eq!(code, 5, "{out}\n{err}");
}

#[test]
fn a_mistake_in_yaml_has_its_place_and_costs_only_its_job() {
    if !has_yaml() {
        return;
    }
    let root = files(&[("nd/my.chart.py", MODULE), ("nd/my.conf", "a:\n  update_every: fast\nb:\n  step: 3\n")]);
    let (code, out, err) = run(&root, &["python.d/nd/my.chart.py", "-n", "1"]);
    assert_eq!(code, 4, "{out}\n{err}");
    contains(&err, &["error[PD0802]", "python.d/nd/my.conf:2:17", "update_every: fast", "^^^^"]);
    contains(&out, &["netdata.my:b", "ok: 1 run, 1 point"]);
    let (code, _, _) = run(&root, &["python.d/nd/my.chart.py", "-n", "1", "--job", "b"]);
    assert_eq!(code, 0);
    root.script("nd/my.conf", "a: [\n");
    let (code, out, err) = run(&root, &["python.d/nd/my.chart.py"]);
    assert_eq!((code, out.as_str()), (4, ""), "{err}");
    contains(&err, &["error[PD0801]", "python.d/nd/my.conf:2"]);
}

#[test]
fn the_weather_example_runs() {
    if !has_yaml() {
        return;
    }
    let name = "python.d/examples/weather/weather_station";
    let root = files(&[
        ("w/weather_station.chart.py", &repository(&format!("{name}.chart.py"))),
        ("w/weather_station.conf", &repository(&format!("{name}.conf"))),
    ]);
    let (code, out, err) = run(&root, &["python.d/w/weather_station.chart.py", "--job", "Greece"]);
    assert_eq!(code, 0, "{out}\n{err}");
    contains(&out, &["netdata.weather_station:Greece", "weather_station.temperature", "rain="]);
    assert!(!out.contains("Florida"), "{out}");
}

#[test]
fn the_tutorials_module_runs_as_it_is_printed() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/seeds");
    let texts = std::fs::read_dir(seeds).into_iter().flatten().flatten();
    let mut texts = texts.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    let Some(text) = texts.find(|text| text.starts_with("# Develop a custom data collector in Python")) else {
        eprintln!("skipped: the tutorial is not beside this tree");
        return;
    };
    let blocks = text.split("```python\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let whole = blocks.filter(|block| block.contains("class Service(SimpleService)") && block.contains("ORDER"));
    let module = whole.last().unwrap();
    let root = files(&[("w/weather_station.chart.py", module)]);
    let (code, out, err) = run(&root, &["python.d/w/weather_station.chart.py"]);
    assert_eq!(code, 0, "{out}\n{err}");
    contains(&out, &["netdata.weather_station", "2 runs"]);
}

// --- collectd ---

const PLUGIN: &str = "import collectd

host = 'nobody'


def configure(config):
    global host
    host = config.children[0].values[0]


def read():
    collectd.Values(plugin='simple', type='gauge', type_instance=host).dispatch(values=[3])


collectd.register_config(configure)
collectd.register_read(read)
";

#[test]
fn a_collectd_plugin_runs_with_and_without_its_block() {
    let conf = "LoadPlugin python\n<Plugin python>\n  Import \"simple\"\n  <Module simple>\n    Host \"web1\"\n  </Module>\n</Plugin>\n";
    let root = files(&[("c/simple.py", PLUGIN), ("c/collectd.conf", conf)]);
    let (code, out, err) = run(&root, &["--dialect", "collectd", "python.d/c/simple.py"]);
    assert_eq!(code, 0, "{out}\n{err}");
    contains(&out, &["collectd.simple", "python.simple", "type_instance=nobody", "value=3", "ok: 1 run, 1 point"]);
    let (code, out, err) = run(&root, &["python.d/c/simple.py", "--config", "python.d/c/collectd.conf"]);
    assert_eq!(code, 0, "{out}\n{err}");
    contains(&out, &["type_instance=web1"]);
    root.script("c/collectd.conf", "LoadPlugin python\n<Plugin python>\n  <Module simple>\n");
    let (code, out, err) = run(&root, &["python.d/c/simple.py", "--config", "python.d/c/collectd.conf"]);
    assert_eq!(code, 4, "{out}\n{err}");
    contains(&err, &["error[PD0801]: block `Module` is not closed", "python.d/c/collectd.conf:3:4"]);
}

#[test]
fn a_plugin_in_the_folder_of_an_input_needs_no_word_about_its_dialect() {
    let root = Root::new();
    root.script("c/simple.py", PLUGIN);
    root.conf(
        "c.conf",
        "[[inputs.collectd]]\nmodules = [\"c/simple.py\"]\n[inputs.collectd.module.simple]\nHost = \"set\"\n",
    );
    for target in ["python.d/c/simple.py", "collectd.simple"] {
        let (code, out, err) = run(&root, &[target]);
        assert_eq!(code, 0, "{out}\n{err}");
        contains(&out, &["type_instance=set"]);
    }
}

/// Plugins as users get them, in a folder that is kept; none where they cannot be had.
fn from_pypi() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("collectd-from-pypi");
    if !folder.exists() {
        let new = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut command = Command::new("python3");
        command.args(["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--target"]);
        command.arg(new.path()).args(["collectd-iscdhcp==0.1.0", "collectd-top==0.0.1", "collectd-haproxy==1.2.1"]);
        let done = command.output().unwrap();
        if !done.status.success() {
            let why = String::from_utf8_lossy(&done.stderr).into_owned();
            machine::go_without("PYTHOND_REQUIRE_SERVERS", &format!("plugins cannot be installed: {why}"));
            return None;
        }
        // Another test may have been faster.
        let _ = std::fs::rename(new.path(), &folder);
    }
    Some(folder)
}

/// A collectd.conf with all of them, and what they ask.
fn site_of_pypi(plugins: &Path) -> Root {
    let conf = "Hostname \"web01\"\nInterval 1\nLoadPlugin python\n<Plugin python>\n  ModulePath \"@plugins@\"\n  Import \"collectd_iscdhcp.collectd_plugin\"\n  Import \"collectd_top.collectd_plugin\"\n  Import \"collectd_haproxy\"\n  <Module \"collectd_iscdhcp.collectd_plugin\">\n    Any \"thing\"\n  </Module>\n  <Module haproxy>\n    Socket \"@dir@/haproxy\"\n  </Module>\n</Plugin>\n";
    let root = Root::new();
    let text = conf.replace("@plugins@", plugins.to_str().unwrap()).replace("@dir@", root.path().to_str().unwrap());
    std::fs::write(root.path().join("collectd.conf"), text).unwrap();
    root.conf("c.conf", &format!("[[inputs.collectd]]\nconfig = {:?}\n", root.path().join("collectd.conf")));
    root.script("bin/ps", "#!/bin/sh\nprintf ' 1.5  0.5 alpha\\n 2.5  7.25 beta\\n'\n");
    let pools = r#"{"subnets": [{"location": "All", "range": "10.0.0.1 - 10.0.0.9", "defined": 9, "used": 3, "free": 6}], "summary": {"defined": 9, "used": 3, "free": 6}}"#;
    root.script("bin/dhcpd-pools", &format!("#!/bin/sh\necho '{pools}'\n"));
    let chmod = Command::new("chmod").arg("-R").arg("+x").arg(root.path().join("python.d/bin")).status().unwrap();
    assert!(chmod.success());
    root
}

#[test]
fn plugins_from_pypi_are_run_by_hand_and_checked() {
    let Some(plugins) = from_pypi() else { return };
    let root = site_of_pypi(&plugins);
    let path = format!("{}:{}", root.path().join("python.d/bin").display(), std::env::var("PATH").unwrap());
    let run = |args: &[&str]| support::finished(root.command(args).env("PATH", &path));
    let file = |name: &str| plugins.join(name).display().to_string();
    let (dhcp, top) = (file("collectd_iscdhcp/collectd_plugin.py"), file("collectd_top/collectd_plugin.py"));
    // A file alone.
    let (code, out, err) = run(&["run", "--dialect", "collectd", &dhcp]);
    assert_eq!(code, 0, "{out}\n{err}");
    contains(&out, &["collectd.collectd_plugin", "ok: 1 run, 10 points", "instance=10.0.0.1 - 10.0.0.9"]);
    // As a collectd.conf imports it, with what that says; other plugins' blocks are no fault of it.
    let (code, out, err) = run(&["run", &top, "--config", "collectd.conf"]);
    assert_eq!(code, 0, "{out}\n{err}");
    contains(&out, &["python.collectd_top.collectd_plugin, every 1 s", "host=web01", "value=7.25", "4 points"]);
    assert!(!err.contains("PD0806"), "{err}");
    // A package.
    let (code, out, err) = run(&["run", &file("collectd_haproxy/__init__.py"), "--config", "collectd.conf"]);
    assert_eq!(code, 5, "{out}\n{err}");
    contains(&out, &["collectd.collectd_haproxy · ", "load   ok", "INFO collectd_haproxy : Init"]);
    contains(&err, &["FileNotFoundError", "collectd_haproxy/"]);
    // By the name of the unit.
    let (code, out, err) = run(&["run", "collectd.collectd_iscdhcp.collectd_plugin"]);
    assert_eq!(code, 0, "{out}\n{err}");
    contains(&out, &["Configured with", "ok: 1 run, 10 points"]);
    let (code, out, err) = run(&["check"]);
    assert_eq!(code, 0, "{out}\n{err}");
    contains(&out, &["3 collectd plugins with 3 jobs loaded"]);
}

// --- Panoptes ---

#[test]
fn a_panoptes_plugin_runs_against_the_resources_of_a_file() {
    let case = "tests/cases/panoptes/counters";
    let name = "panoptes/polling/interface_counters";
    let root = files(&[
        ("p/interface_counters.panoptes-plugin", &repository(&format!("{case}/{name}.panoptes-plugin"))),
        ("p/interface_counters.py", &repository(&format!("{case}/{name}.py"))),
        ("p/resources.json", &repository(&format!("{case}/resources.json"))),
    ]);
    let info = "python.d/p/interface_counters.panoptes-plugin";
    let (code, out, err) = run(&root, &[info, "--resources", "python.d/p/resources.json"]);
    assert_eq!(code, 0, "{out}\n{err}");
    contains(&out, &["panoptes.interface_counters", "interface ", "resource_endpoint=sw1.example.net", "ok: 2 runs"]);
    let (code, out, err) = run(&root, &[info]);
    assert_eq!(code, 4, "{out}\n{err}");
    contains(&err, &["PD0311", "no resource matches", info]);
    let more = ["--resources", "python.d/p/resources.json", "--resource", "nobody"];
    let (code, _, err) = run(&root, &[&[info][..], &more].concat());
    assert_eq!(code, 4);
    contains(&err, &["no resource with the id `nobody`"]);
    let (code, out, err) =
        run(&root, &["python.d/p/interface_counters.py", "--resources", "python.d/p/resources.json"]);
    assert_eq!(code, 0, "{out}\n{err}");
}

// --- check ---

#[test]
fn check_lists_and_loads_what_each_dialect_tells() {
    let root = Root::new();
    root.script("c/web.tally", WEB);
    root.script("nd/my.chart.py", MODULE);
    root.script("nd/off.chart.py", &format!("disabled_by_default = True\n{MODULE}"));
    root.script("plugins/simple.py", PLUGIN);
    root.conf("t.conf", "[[inputs.tally]]\nfiles = [\"c\"]\n");
    root.conf("n.conf", "[[inputs.netdata]]\ndirs = [\"nd\"]\n");
    root.conf("c.conf", "[[inputs.collectd]]\nmodules = [\"plugins/simple.py\"]\n");
    let (code, out, err) = root.run(&["check"]);
    assert_eq!(code, 0, "{out}\n{err}");
    contains(&out, &["1 netdata job (1 off)", "1 collectd plugin with 1 job", "2 tally units with 3 jobs loaded"]);
    root.script("c/web.tally", &WEB.replace("misses every", "misses evry"));
    root.script("nd/my.chart.py", "def x(:\n");
    let (code, out, err) = root.run(&["check"]);
    assert_eq!(code, 3, "{out}\n{err}");
    contains(&err, &["error[PD0801]", "python.d/c/web.tally:3:1", "^^^", "error[PD0201]", "python.d/nd/my.chart.py:1"]);
    let (_, json, _) = root.run(&["check", "--format", "json"]);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&value["units"], &value["off"], &value["errors"]), (&4.into(), &1.into(), &2.into()), "{json}");
}

#[test]
fn check_runs_no_check_of_a_job() {
    let root = Root::new();
    let module = MODULE.replace(
        "        return self.configuration",
        "        open(__file__ + '.checked', 'w')\n        return self.configuration",
    );
    root.script("nd/my.chart.py", &module);
    root.conf("n.conf", "[[inputs.netdata]]\ndirs = [\"nd\"]\n");
    let (code, out, err) = root.run(&["check"]);
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(!root.path().join("python.d/nd/my.chart.py.checked").exists());
}
