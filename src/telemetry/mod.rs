//! What the agent says of itself: counters with their Prometheus text, the `_datakit_pythond_*` log files, caught panics,
//! troubles that last, and words to the service manager.

pub mod counters;
pub mod files;
pub mod systemd;
pub mod trouble;
