//! The agent's counters and their Prometheus text; one registry, handed to whoever counts.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::containment::Panics;

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
pub struct ByUnit {
    pub unit: String,
    /// `ok`, `failed`, `crashed` …
    pub result: String,
}

/// Distinct values of the label `input` that get a counter of their own; the rest is counted as `other`.
const INPUTS: usize = 256;

/// Every counter; clones share the numbers. The suffix `_total` is added in the text.
#[derive(Clone, Default)]
pub struct Counters {
    pub posts: Family<ByReason, Counter>,
    pub points_accepted: Family<ByInput, Counter>,
    pub points_refused: Family<ByInput, Counter>,
    pub repairs: Family<ByReason, Counter>,
    pub rows: Counter,
    pub readings_without_value: Family<ByReason, Counter>,
    pub series: Gauge,
    pub series_forgotten: Counter,
    pub series_evicted: Counter,
    pub sink_delivered: Family<BySink, Counter>,
    pub sink_retries: Family<BySink, Counter>,
    pub sink_dead: Family<BySink, Counter>,
    pub sink_dropped_fields: Family<BySinkAndReason, Counter>,
    pub sink_lost: Family<BySinkAndInput, Counter>,
    pub runs: Family<ByUnit, Counter>,
    pub worker_ends: Family<ByUnit, Counter>,
    pub output_dropped_lines: Family<ByUnit, Counter>,
    pub log_lines_lost: Counter,
    /// Shown as gauges, together with those of the sinks.
    pub panics: Panics,
    inputs: Arc<Mutex<HashSet<String>>>,
}

impl Counters {
    /// The label of an input. Bounded: anybody may send any `input`, and a counter lives for ever.
    pub fn input(&self, input: &str) -> String {
        let mut known = self.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(input) {
            if known.len() >= INPUTS {
                return "other".to_owned();
            }
            known.insert(input.to_owned());
        }
        input.to_owned()
    }

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
        registry.register("rows", "Rows that workers sent", self.rows.clone());
        registry.register(
            "readings_without_value",
            "Readings of rows that gave no value, by reason; none is a failure",
            self.readings_without_value.clone(),
        );
        registry.register("series", "Series of rows whose last value is remembered", self.series.clone());
        registry.register(
            "series_forgotten",
            "Series not seen for ten of their intervals",
            self.series_forgotten.clone(),
        );
        registry.register(
            "series_evicted",
            "Series forgotten because there were more than [series] max",
            self.series_evicted.clone(),
        );
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_beyond_the_first_few_hundred_are_counted_together() {
        let counters = Counters::default();
        let labels: HashSet<String> = (0..1000).map(|n| counters.input(&n.to_string())).collect();
        assert_eq!(labels.len(), INPUTS + 1);
        assert_eq!((counters.input("7"), counters.clone().input("999")), ("7".to_owned(), "other".to_owned()));
    }
}
