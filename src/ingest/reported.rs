//! The newest errors that scripts reported themselves.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// The newest errors that scripts reported themselves; the oldest make room.
#[derive(Debug, Clone, Default)]
pub struct LastErrors(Arc<Mutex<VecDeque<ReportedError>>>);

#[derive(Debug, Clone)]
pub struct ReportedError {
    pub input: String,
    pub source: String,
    pub text: String,
    pub at: SystemTime,
    /// How often the same text came in a row.
    pub times: u64,
}

const KEPT: usize = 64;

impl LastErrors {
    /// The newest first.
    pub fn list(&self) -> Vec<ReportedError> {
        self.locked().iter().rev().cloned().collect()
    }

    pub(super) fn add(&self, input: String, source: String, text: String) {
        let mut kept = self.locked();
        if let Some(last) =
            kept.iter_mut().find(|last| last.input == input && last.source == source && last.text == text)
        {
            last.times += 1;
            last.at = SystemTime::now();
            return;
        }
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(ReportedError { input, source, text, at: SystemTime::now(), times: 1 });
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, VecDeque<ReportedError>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
