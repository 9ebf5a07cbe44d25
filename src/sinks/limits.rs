//! How large a batch may be.

use crate::config::sinks::SinkSettings;

/// Points in one request at most: enough to make the request's own cost vanish, few enough for InfluxDB 1.x' series limit.
const MAX_POINTS: usize = 10_000;

/// What a sink takes in one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryLimits {
    /// Bytes of line protocol; a single longer line is sent alone.
    pub max_bytes: usize,
    pub max_points: usize,
    /// True: one category per batch.
    pub by_category: bool,
}

impl DeliveryLimits {
    /// The limits that the settings give; the size is at least one byte, so that a batch always holds a line.
    pub fn of(settings: &SinkSettings, by_category: bool) -> Self {
        let max_bytes = usize::try_from(settings.max_batch).unwrap_or(usize::MAX).max(1);
        Self { max_bytes, max_points: MAX_POINTS, by_category }
    }
}
