//! Whether a zygote still is what a new one would be.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Tells whether interpreter and package are the same as before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ZygoteStamp {
    program: Option<(SystemTime, u64)>,
    package: Vec<(PathBuf, SystemTime, u64)>,
}

impl ZygoteStamp {
    pub fn of(program: &Path, core: &Path) -> Self {
        let stamp = |path: &Path| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.modified().ok()?, meta.len()))
        };
        let entries = std::fs::read_dir(core.join("pythond")).into_iter().flatten().flatten();
        let files = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "py"));
        let mut package: Vec<_> =
            files.filter_map(|path| stamp(&path).map(|(time, size)| (path, time, size))).collect();
        package.sort();
        Self { program: stamp(program), package }
    }
}
