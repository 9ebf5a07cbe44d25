//! Promise: whoever's collector it is, its files run unmodified, and units, points and log lines are those that its case says.
//!
//! A case is a folder `tests/cases/<dialect>/<case>/` with a `case.toml`; `tests/cases/README.md` says what it holds.

// Debug builds alone have `tally`, the dialect of the tests.
#![cfg(debug_assertions)]

#[path = "support/machine.rs"]
mod machine;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;
use support::{Agent, PATIENCE, Root, wait_for};

/// What a case says of itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    /// Modules that its interpreter must have beside the standard library.
    #[serde(default)]
    needs: Vec<String>,
    /// So many free ports, `@PORT1@` and on.
    #[serde(default)]
    ports: usize,
    /// What is run before anything else, with `bash`, in the folder of the agent.
    #[serde(default)]
    before: String,
    /// Every unit, with its state once all points are there.
    units: BTreeMap<String, String>,
    /// Parts of lines, by the log file that must have them.
    #[serde(default)]
    log: BTreeMap<String, Vec<String>>,
    /// That of the agent at its end.
    #[serde(default)]
    exit: i32,
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

/// An interpreter with these modules; `None` where there is none.
fn interpreter(needs: &[String]) -> Option<&'static str> {
    let import = format!("import sys, {}", needs.join(", ")).trim_end_matches([',', ' ']).to_owned();
    let has_all =
        |python: &&str| Command::new(python).args(["-c", &import]).output().is_ok_and(|out| out.status.success());
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has_all);
    if found.is_none() {
        machine::go_without("PYTHOND_REQUIRE_SERVERS", &format!("no python3 has {}", needs.join(", ")));
    }
    found
}

/// What stands for the names in `@NAME@`.
struct Places(BTreeMap<String, String>);

impl Places {
    fn new(case: &Path, root: &Path, python: &str, ports: usize) -> Self {
        let mut places = BTreeMap::new();
        for (name, value) in [("CASE", case.to_str()), ("DIR", root.to_str()), ("PYTHON", Some(python))] {
            places.insert(name.to_owned(), value.unwrap().to_owned());
        }
        // All are held until all are known, so no two are the same.
        let held: Vec<TcpListener> = (0..ports).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        for (number, listener) in held.iter().enumerate() {
            places.insert(format!("PORT{}", number + 1), listener.local_addr().unwrap().port().to_string());
        }
        Self(places)
    }

    fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
    }

    /// Copies a folder; what of it belongs to the test and not to the agent stays.
    fn copy(&self, from: &Path, to: &Path) {
        for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
            let name = entry.file_name().into_string().unwrap();
            let target = to.join(&name);
            if ["case.toml", "expected", "source.py", "__pycache__"].contains(&name.as_str()) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                std::fs::create_dir_all(&target).unwrap();
                self.copy(&entry.path(), &target);
            } else {
                std::fs::write(target, self.fill(&std::fs::read_to_string(entry.path()).unwrap())).unwrap();
            }
        }
    }
}

/// The far end of a case: its `source.py`, which gets the ports, says `ready`, and ends with its standard input.
struct Source(Child);

impl Source {
    fn start(case: &Path, places: &Places) -> Option<Self> {
        let script = case.join("source.py");
        if !script.exists() {
            return None;
        }
        let ports = places.0.iter().filter(|(name, _)| name.starts_with("PORT")).map(|(_, port)| port);
        let mut command = Command::new("python3");
        command.arg(script).args(ports).envs(&places.0).env("PYTHONDONTWRITEBYTECODE", "1");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let source = Self(child);
        assert_eq!(said, "ready\n", "the source of {} must come up", case.display());
        Some(source)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The points of each category, one expected line each; a time is `NOW` and a value `ANY` where they are not known.
struct Expected(BTreeMap<String, Vec<String>>);

impl Expected {
    fn read(case: &Path) -> Self {
        let files = std::fs::read_dir(case.join("expected")).unwrap().map(|entry| entry.unwrap().path());
        Self(
            files
                .map(|file| {
                    let category = file.file_stem().unwrap().to_str().unwrap().to_owned();
                    (category, std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect())
                })
                .collect(),
        )
    }

    /// Says what is missing, or came though nobody expects it.
    fn differences(&self, root: &Root) -> Result<(), String> {
        let mut wrong = Vec::new();
        for (category, wanted) in &self.0 {
            let text = root.points(category);
            let got: BTreeSet<&str> = text.lines().collect();
            for line in wanted.iter().filter(|line| !got.iter().any(|got| is_as(got, line))) {
                wrong.push(format!("missing from {category}: {line}"));
            }
            let unwanted = got.iter().filter(|got| !wanted.iter().any(|line| is_as(got, line)));
            wrong.extend(unwanted.take(3).map(|line| format!("unexpected in {category}: {line}")));
        }
        let folder = root.path().join("data/points");
        let files = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        let sinks = files.filter(|file| file.extension().is_some_and(|end| end == "lp"));
        let others = sinks.filter(|file| !self.0.contains_key(file.file_stem().unwrap().to_str().unwrap()));
        wrong.extend(others.map(|file| format!("nobody expects {}", file.display())));
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }
}

/// Says whether a point is the expected one.
fn is_as(got: &str, expected: &str) -> bool {
    let (got, expected) = (with_floats(got), with_floats(expected));
    let (got, expected) = (got.as_str(), expected.as_str());
    let (got, wanted) = match expected.strip_suffix(" NOW") {
        Some(wanted) => (got.rsplit_once(' ').unwrap().0, wanted),
        None => (got, expected),
    };
    let mut parts = wanted.split("=ANY");
    let Some(mut rest) = got.strip_prefix(parts.next().unwrap()) else { return false };
    for part in parts {
        let Some(value) = rest.strip_prefix('=') else { return false };
        let end = value.find([',', ' ']).unwrap_or(value.len());
        if end == 0 {
            return false;
        }
        let Some(after) = value[end..].strip_prefix(part) else { return false };
        rest = after;
    }
    rest.is_empty()
}

/// A point with its floats as `1.0` where they may stand as `1`.
fn with_floats(line: &str) -> String {
    let mut filled = String::new();
    let (mut is_text, mut is_escaped) = (false, false);
    for letter in line.chars() {
        if !is_text && !is_escaped && [',', ' '].contains(&letter) && is_whole(&filled) {
            filled.push_str(".0");
        }
        is_text ^= letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        filled.push(letter);
    }
    filled
}

/// Says whether the line ends so far in a field that is a whole number; tags stand before the first blank.
fn is_whole(line: &str) -> bool {
    let value = line.rsplit_once('=').map_or("", |(_, value)| value);
    line.contains(' ') && value.parse::<i64>().is_ok()
}

fn units(agent: &Agent) -> BTreeMap<String, String> {
    let status = agent.status();
    let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    status["units"].as_array().unwrap().iter().map(|unit| (word(&unit["id"]), word(&unit["state"]))).collect()
}

fn run_case(dialect: &str, name: &str) {
    let case = cases().join(dialect).join(name);
    let spec: Spec = toml::from_str(&std::fs::read_to_string(case.join("case.toml")).unwrap()).unwrap();
    let Some(python) = interpreter(&spec.needs) else { return };
    let root = Root::new();
    let places = Places::new(&case, root.path(), python, spec.ports);
    places.copy(&case, root.path());
    if !spec.before.is_empty() {
        let mut shell = Command::new("bash");
        shell.args(["-euc", &places.fill(&spec.before)]).current_dir(root.path()).envs(&places.0);
        assert!(shell.status().unwrap().success(), "{}", spec.before);
    }
    let _source = Source::start(&case, &places);
    let expected = Expected::read(&case);
    let agent = root.agent();
    wait_for(&format!("the points and units of {dialect}/{name}"), || {
        let found = units(&agent);
        expected.differences(&root)?;
        if found == spec.units { Ok(()) } else { Err(format!("{:#}", agent.status()["units"])) }
    });
    for (file, parts) in &spec.log {
        for part in parts.iter().map(|part| places.fill(part)) {
            wait_for(&format!("{part} in {file}"), || {
                let log = if file == "console" { agent.console() } else { root.log(file) };
                if log.lines().any(|line| line.contains(&part)) { Ok(()) } else { Err(log) }
            });
        }
    }
    let (code, took) = agent.stop();
    assert_eq!(code, spec.exit);
    assert!(took < PATIENCE);
    // What came meanwhile, and what was flushed at the end.
    expected.differences(&root).unwrap();
}

/// One test for each case.
macro_rules! cases {
    ($($dialect:ident: $($case:ident),+;)+) => {
        const CASES: &[(&str, &[&str])] = &[$((stringify!($dialect), &[$(stringify!($case)),+])),+];

        $(mod $dialect {
            $(#[test]
            fn $case() {
                super::run_case(stringify!($dialect), stringify!($case));
            })+
        })+
    };
}

cases! {
    datakit: general_report, three_events, positional_events, metric_logging_object;
    netdata: station, socket, url, log_file;
    collectd: counter_and_gauge, own_settings, notification, writer;
    panoptes: counters, rates, discovery;
    tally: units_of_a_file, what_waits, mistakes;
}

#[test]
fn every_case_has_a_test_and_every_dialect_three_cases() {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for dialect in std::fs::read_dir(cases()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        let folders = std::fs::read_dir(&dialect).unwrap().map(|entry| entry.unwrap().path());
        let own = folders.filter(|folder| folder.join("case.toml").exists());
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        found.insert(name(&dialect), own.map(|folder| name(&folder)).collect());
    }
    let listed: BTreeMap<String, BTreeSet<String>> = CASES
        .iter()
        .map(|(dialect, cases)| ((*dialect).to_owned(), cases.iter().map(|case| (*case).to_owned()).collect()))
        .collect();
    assert_eq!(found, listed);
    for dialect in pythond::dialect::Dialect::ALL {
        let folder = dialect.facts().folder;
        assert!(listed.get(folder).is_some_and(|cases| cases.len() >= 3), "{folder} has too few cases");
    }
}
