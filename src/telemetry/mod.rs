//! What the agent says of itself: tracing set-up, counters with their Prometheus text, and the `_datakit_pythond_*` log files.

pub mod counters;
pub mod files;
