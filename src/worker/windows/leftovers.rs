//! No worker is started on Windows, so none leaves anything behind.

use std::collections::HashSet;
use std::path::Path;

/// Nothing can be left of an earlier agent: it had no workers.
pub async fn sweep_leftovers(_: &Path) {}

/// No orphan comes to this process.
pub fn tend_orphans(_: &Path, _: &HashSet<String>) {}
