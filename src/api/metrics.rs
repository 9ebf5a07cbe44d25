//! The counters and gauges as Prometheus text.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::state::Api;
use super::views::Status;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfSink {
    sink: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfRepo {
    repo: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfUnit {
    unit: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfJob {
    unit: String,
    job: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfInput {
    input: String,
    source: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfVersion {
    version: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfTask {
    task: String,
}

type MetricFloat = Gauge<f64, AtomicU64>;

pub(super) async fn text(api: &Api) -> String {
    let mut registry = api.counters.registry();
    add_gauges(&mut registry, &api.status().await);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("a String takes everything");
    text
}

/// Values that are only true at the moment of the question.
fn add_gauges(registry: &mut Registry, status: &Status) {
    add_agent(registry, status);
    add_buffer(registry, status);
    add_sinks(registry, status);
    add_repos(registry, status);
    add_jobs(registry, status);
    add_units(registry, status);
    add_faults(registry, status);
}

fn add_single(registry: &mut Registry, name: &str, help: &str, value: f64) {
    let gauge = MetricFloat::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

/// The agent itself, and its last reload.
fn add_agent(registry: &mut Registry, status: &Status) {
    let build = Family::<OfVersion, Gauge>::default();
    build.get_or_create(&OfVersion { version: status.version.clone() }).set(1);
    registry.register("build_info", "The version that runs", build);
    add_single(registry, "uptime_seconds", "Since the agent was started", status.uptime_s);
    if let Some(last) = &status.reload {
        let success = f64::from(u8::from(!last.outcome.refused_something()));
        add_single(registry, "config_last_reload_success", "1 if the last reload refused nothing", success);
        add_single(registry, "config_last_reload_age_seconds", "Since the last reload", last.ago_s);
    }
}

fn add_buffer(registry: &mut Registry, status: &Status) {
    let buffer = &status.buffer;
    let up = if buffer.poisoned.is_some() { 0.0 } else { 1.0 };
    let oldest = buffer.oldest_s.unwrap_or(0.0);
    add_single(registry, "buffer_bytes", "Bytes of the buffer on disk", buffer.bytes as f64);
    add_single(registry, "buffer_max_bytes", "The cap of the buffer", buffer.max_bytes as f64);
    add_single(registry, "buffer_oldest_seconds", "Age of the oldest undelivered point", oldest);
    let set_aside = buffer.set_aside_bytes as f64;
    add_single(registry, "buffer_set_aside_bytes", "Damaged bytes kept for inspection", set_aside);
    add_single(registry, "buffer_up", "1 while points can be kept", up);
}

fn add_sinks(registry: &mut Registry, status: &Status) {
    let (up, behind, skipped) =
        (Family::<OfSink, Gauge>::default(), Family::<OfSink, Gauge>::default(), Family::<OfSink, Gauge>::default());
    let oldest = Family::<OfSink, MetricFloat>::default();
    for sink in &status.sinks {
        let of = OfSink { sink: sink.name.clone() };
        up.get_or_create(&of).set(i64::from(sink.why.is_none()));
        behind.get_or_create(&of).set(clamp(sink.behind_points));
        skipped.get_or_create(&of).set(clamp(sink.skipped));
        oldest.get_or_create(&of).set(sink.oldest_s.unwrap_or(0.0));
    }
    registry.register("sink_up", "1 while the sink takes points", up);
    registry.register("sink_behind_points", "Points on disk that the sink has not taken yet", behind);
    registry.register(
        "sink_skipped_points",
        "Points moved over at the cap, on a person's word, or lost to damage on the disk",
        skipped,
    );
    registry.register("sink_oldest_seconds", "Age of the oldest point that the sink has not taken yet", oldest);
}

fn add_repos(registry: &mut Registry, status: &Status) {
    let (up, age) = (Family::<OfRepo, Gauge>::default(), Family::<OfRepo, MetricFloat>::default());
    let refused = Family::<OfRepo, Gauge>::default();
    for repo in &status.repos {
        let of = OfRepo { repo: repo.name.clone() };
        up.get_or_create(&of).set(i64::from(repo.fault.is_none()));
        refused.get_or_create(&of).set(i64::from(repo.refused.is_some() || !repo.held.is_empty()));
        if let Some(seconds) = repo.last_good_pull_ago_s {
            age.get_or_create(&of).set(seconds);
        }
    }
    registry.register("git_up", "1 while the repository can be pulled", up);
    registry.register("git_refused", "1 while the newest commit is refused, whole or in part", refused);
    registry.register("git_last_sync_age_seconds", "Since the repository was last pulled", age);
}

fn add_units(registry: &mut Registry, status: &Status) {
    let (up, restarts) = (Family::<OfUnit, Gauge>::default(), Family::<OfUnit, Gauge>::default());
    for unit in status.units.iter().filter(|unit| !unit.is_off()) {
        let of = OfUnit { unit: unit.id.clone() };
        up.get_or_create(&of).set(i64::from(unit.is_well()));
        restarts.get_or_create(&of).set(clamp(unit.restarts));
    }
    registry.register("collector_up", "1 while nobody has to look at the unit", up);
    registry.register("collector_restarts", "Restarts of the unit's worker", restarts);
}

/// Caught panics, and what scripts have said of errors.
fn add_faults(registry: &mut Registry, status: &Status) {
    let panics = Family::<OfTask, Gauge>::default();
    // Always there, so that it can be watched before the first one.
    panics.get_or_create(&OfTask { task: "the supervisor".to_owned() }).set(0);
    for (task, count) in &status.panics {
        panics.get_or_create(&OfTask { task: task.clone() }).set(clamp(*count));
    }
    registry.register("task_panics", "Panics that were caught: defects of the agent that did not end it", panics);

    let errors = Family::<OfInput, MetricFloat>::default();
    for error in &status.last_errors {
        errors.get_or_create(&OfInput { input: error.input.clone(), source: error.source.clone() }).set(error.ago_s);
    }
    registry.register("last_error_age_seconds", "Age of the newest error a script reported to /v1/lasterror", errors);
}

/// Each job of each unit.
fn add_jobs(registry: &mut Registry, status: &Status) {
    let family = Family::<OfJob, Gauge>::default;
    let (up, ok, failed, points) = (family(), family(), family(), family());
    for unit in &status.units {
        for job in &unit.jobs {
            let of = OfJob { unit: unit.id.clone(), job: job.key.clone() };
            up.get_or_create(&of).set(i64::from(job.why.is_none()));
            ok.get_or_create(&of).set(clamp(job.runs_ok));
            failed.get_or_create(&of).set(clamp(job.runs_failed));
            points.get_or_create(&of).set(clamp(job.points));
        }
    }
    registry.register("job_up", "1 while the last run or check of the job went well", up);
    registry.register("job_runs_ok", "Runs of the job that went well", ok);
    registry.register("job_runs_failed", "Runs of the job that raised", failed);
    registry.register("job_points", "Points that the job has reported", points);
}

fn clamp(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
