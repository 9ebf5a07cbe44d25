//! Where the files of a log lie, and their names.

use std::path::{Path, PathBuf};

/// The name of a segment in `log/` until it is whole.
pub(super) const UNBORN: &str = "unborn";

/// The directories of a log.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    pub log: PathBuf,
    pub cursors: PathBuf,
    pub set_aside: PathBuf,
    pub lock: PathBuf,
}

impl Paths {
    pub(super) fn below(dir: &Path) -> Paths {
        Paths {
            log: dir.join("log"),
            cursors: dir.join("cursors"),
            set_aside: dir.join("set_aside"),
            lock: dir.join("lock"),
        }
    }

    pub(super) fn segment(&self, first_seq: u64) -> PathBuf {
        self.log.join(segment_name(first_seq))
    }
}

pub(super) fn segment_name(first_seq: u64) -> String {
    format!("{first_seq:020}.log")
}
