//! The counters of one sink.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::telemetry::counters::{BySink, BySinkAndReason, Counters};

pub(super) struct PumpTally {
    pub(super) delivered: Counter,
    pub(super) retries: Counter,
    pub(super) dead: Counter,
    pub(super) dropped_fields: Family<BySinkAndReason, Counter>,
}

impl PumpTally {
    pub(super) fn of(sink: &str, counters: &Counters) -> Self {
        let by_sink = BySink { sink: sink.to_owned() };
        Self {
            delivered: counters.sink_delivered.get_or_create(&by_sink).clone(),
            retries: counters.sink_retries.get_or_create(&by_sink).clone(),
            dead: counters.sink_dead.get_or_create(&by_sink).clone(),
            dropped_fields: counters.sink_dropped_fields.clone(),
        }
    }
}
