//! The first line of the log: what runs, and where it is to be seen.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use crate::config::Config;
use crate::dialect::Dialect;
use crate::words::count;
use crate::worker::WorkerSpec;

pub(super) fn greet(config: &Config, specs: &[WorkerSpec], address: Option<SocketAddr>, socket: &Path) {
    let sinks: Vec<String> = config
        .sinks
        .iter()
        .map(|sink| format!("{} ({}, {})", sink.name, sink.kind.as_str(), sink.kind.target()))
        .collect();
    let at = address.map_or_else(|| socket.display().to_string(), |address| format!("http://{address}/"));
    let runs = what_runs(specs);
    tracing::info!(target: "agent", "pythond {} · {runs} · points go to {} · page {at} · Ctrl-C to stop", env!("CARGO_PKG_VERSION"), sinks.join(", "));
    if config.default_sink {
        tracing::info!(target: "agent", "no sink is configured, so the points go to files; add a [sinks.<kind>.<name>] table to send them on");
    }
}

/// `2 scripts, 1 netdata input`: a lister is no script, and what it will tell is not known yet.
fn what_runs(specs: &[WorkerSpec]) -> String {
    let (listers, runners): (Vec<_>, Vec<_>) = specs.iter().partition(|spec| spec.lists());
    let scripts: usize = runners.iter().map(|spec| spec.units.len()).sum();
    let told = |dialect: &Dialect| {
        let inputs: BTreeSet<&str> =
            listers.iter().filter(|spec| spec.dialect == *dialect).map(|spec| spec.input.as_str()).collect();
        (!inputs.is_empty()).then(|| count(inputs.len(), &format!("{} input", dialect.facts().table)))
    };
    let told: Vec<String> = Dialect::ALL.iter().filter_map(told).collect();
    let scripts = (scripts > 0 || told.is_empty()).then(|| count(scripts, "script"));
    scripts.into_iter().chain(told).collect::<Vec<_>>().join(", ")
}
