//! What was refused, on disk with who refused it and why: `data/dead/<who>/<day>.jsonl`, capped, oldest first, counted.

/// One refused point.
#[derive(Debug, Clone)]
pub struct Dead {
    pub category: crate::point::Category,
    /// `<input>/<script>` or the `input` argument.
    pub source: String,
    pub reason: String,
    /// Line protocol (from a sink) or the raw JSON or line (from ingest).
    pub point: String,
}
