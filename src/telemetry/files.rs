//! The `_datakit_pythond_*` log files: names, places, line prefix and rotation (100 000 bytes x 10) as DataKit's, with real content.
//!
//! One thread writes; callers hand lines over a bounded channel and never wait for a disk. Lines that find the channel full are counted.

use std::path::PathBuf;

/// Hands lines to the log files; clones share the writer.
#[derive(Clone)]
pub struct ScriptLogs {}

impl ScriptLogs {
    /// Starts the writer thread; the files are made at the first line.
    pub fn open(_dir: PathBuf, _counters: super::counters::Counters) -> Self {
        todo!("telemetry")
    }

    /// Writes a line to `_datakit_pythond_cli.log`: loads, errors with tracebacks, worker deaths. Newlines inside stay one entry.
    pub fn cli(&self, _text: &str) {}

    /// Writes a line to `_datakit_pythond_framework_<input>_.log`: the script's prints, refused points with reasons.
    pub fn framework(&self, _input: &str, _text: &str) {}
}
