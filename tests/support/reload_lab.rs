//! An agent with scripts that tell in their points which version of them runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::support::{Agent, Root, wait_for};

/// A collector that reports `<name> v=<version>` every so many seconds.
pub fn collector(name: &str, version: u32, every: f64) -> String {
    format!(
        "from datakit_framework import DataKitFramework\n\nclass C(DataKitFramework):\n    interval = {every}\n    def run(self):\n        self.feed_metric(measurement=\"{name}\", fields={{\"v\": {version}}})\n"
    )
}

/// Saves a script in `python.d/my` as editors do that write in place.
pub fn save(root: &Root, name: &str, version: u32) -> PathBuf {
    root.script(&format!("my/{name}.py"), &collector(name, version, 0.2))
}

/// Waits until a point of this version has arrived.
pub fn runs(root: &Root, name: &str, version: u32) {
    let wanted = format!("v={version}.0");
    wait_for(&format!("{name} runs version {version}"), || {
        let points = root.points("metric");
        let mut own = points.lines().filter(|line| line.starts_with(&format!("{name},")));
        let found = own.any(|line| line.split(' ').nth(1) == Some(&wanted));
        if found { Ok(()) } else { Err(own_tail(&points, name)) }
    });
}

fn own_tail(points: &str, name: &str) -> String {
    let own: Vec<&str> = points.lines().filter(|line| line.starts_with(name)).collect();
    own.iter().rev().take(3).copied().collect::<Vec<_>>().join("\n")
}

/// The process of each script.
pub fn pids(agent: &Agent) -> BTreeMap<String, u64> {
    let status = agent.status();
    let scripts = status["units"].as_array().unwrap();
    scripts.iter().filter_map(|script| Some((text(&script["id"]), script["pid"].as_u64()?))).collect()
}

/// Waits until all these scripts have run well.
pub fn all_run(agent: &Agent, count: usize) -> BTreeMap<String, u64> {
    wait_for(&format!("{count} scripts run"), || {
        let status = agent.status();
        let scripts = status["units"].as_array().unwrap();
        let well = scripts.iter().filter(|script| script["runs_ok"].as_u64() > Some(0)).count();
        if well == count { Ok(()) } else { Err(format!("{well} of {} run", scripts.len())) }
    });
    pids(agent)
}

/// `pythond reload --json`: its exit code and what it says.
pub fn reload(root: &Root) -> (i32, Value) {
    let (code, out, err) = root.run(&["reload", "--json"]);
    (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out} {err}")))
}

/// What a reload says of one script: outcome and reason.
pub fn outcome(reloaded: &Value, id: &str) -> (String, String) {
    let scripts = reloaded["units"].as_array().unwrap();
    let script = scripts.iter().find(|script| script["id"] == id).unwrap_or_else(|| panic!("no {id} in {reloaded:#}"));
    (text(&script["outcome"]), script["why"].as_str().unwrap_or_default().to_owned())
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Says whether the script is in the status.
pub fn is_shown(agent: &Agent, id: &str) -> bool {
    agent.status()["units"].as_array().unwrap().iter().any(|script| script["id"] == id)
}

/// So many reloads the agent has told on its console.
pub fn reloads(agent: &Agent) -> usize {
    agent.console().lines().filter(|line| line.contains(" done, ") && line.contains("reload (")).count()
}
