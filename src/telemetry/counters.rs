//! The agent's counters and their Prometheus text; one registry, handed to whoever counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::panics::Panics;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ByInput {
    pub category: &'static str,
    pub input: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ByReason {
    pub reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct BySink {
    pub sink: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct BySinkAndReason {
    pub sink: String,
    pub reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct BySinkAndInput {
    pub sink: String,
    pub input: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ByScript {
    pub script: String,
    /// `ok`, `failed`, `crashed` …
    pub result: String,
}

/// Every counter; clones share the numbers. The suffix `_total` is added in the text.
#[derive(Clone, Default)]
pub struct Counters {
    pub posts: Family<ByReason, Counter>,
    pub points_accepted: Family<ByInput, Counter>,
    pub points_refused: Family<ByInput, Counter>,
    pub repairs: Family<ByReason, Counter>,
    pub sink_delivered: Family<BySink, Counter>,
    pub sink_retries: Family<BySink, Counter>,
    pub sink_dead: Family<BySink, Counter>,
    pub sink_dropped_fields: Family<BySinkAndReason, Counter>,
    pub sink_lost: Family<BySinkAndInput, Counter>,
    pub runs: Family<ByScript, Counter>,
    pub worker_ends: Family<ByScript, Counter>,
    pub output_dropped_lines: Family<ByScript, Counter>,
    pub log_lines_lost: Counter,
    /// Shown as gauges, together with those of the sinks.
    pub panics: Panics,
}

impl Counters {
    /// Registers everything under the prefix `pythond`; the caller adds its gauges to the registry before it encodes.
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("pythond");
        registry.register("posts", "Write requests by outcome", self.posts.clone());
        registry.register("points_accepted", "Points accepted and on disk", self.points_accepted.clone());
        registry.register(
            "points_refused",
            "Points refused at ingest; each is in the dead-letter file",
            self.points_refused.clone(),
        );
        registry.register("repairs", "Points changed to fit, by kind of repair", self.repairs.clone());
        registry.register("sink_delivered_points", "Points a sink has taken", self.sink_delivered.clone());
        registry.register("sink_retries", "Requests that had to be sent again", self.sink_retries.clone());
        registry.register(
            "sink_dead_points",
            "Points a sink refused for good; each is in the dead-letter file",
            self.sink_dead.clone(),
        );
        registry.register(
            "sink_dropped_fields",
            "Fields that a sink's kind cannot hold and that were not sent",
            self.sink_dropped_fields.clone(),
        );
        registry.register(
            "sink_lost_points",
            "Points that a sink misses because the full buffer made room, by input",
            self.sink_lost.clone(),
        );
        registry.register("runs", "Runs of collectors by result", self.runs.clone());
        registry.register("worker_ends", "Ends of worker processes by cause", self.worker_ends.clone());
        registry.register(
            "output_dropped_lines",
            "Lines of a script's output over the rate limit",
            self.output_dropped_lines.clone(),
        );
        registry.register("log_lines_lost", "Lines that a log file could not take", self.log_lines_lost.clone());
        registry
    }
}
