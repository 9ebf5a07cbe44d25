//! What was refused, on disk with who refused it and why: `data/dead/<who>/<day>.jsonl`, capped, oldest first, counted.
//!
//! One JSON object a line: `{time, who, category, source, reason, point}`. A [`DeadLetters::put`] returns after the lines are synced, so its
//! caller may forget the points. A day's file is split when it holds an eighth of the cap (`<day>.1.jsonl`, `<day>.2.jsonl` …), so that the cap
//! costs the oldest eighth and never what was just written. A put that fails half-way is cut off again; so is what a crash left of one.

mod append;
mod files;
mod letter;
mod name;
mod shelves;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use letter::encode;
use shelves::LetterShelves;

pub use files::{files, folder, read, remove, whos};
pub use letter::{Dead, Letter};
pub use shelves::LetterCounts;

/// The dead-letter files; clones share them.
#[derive(Clone)]
pub struct DeadLetters {
    shelves: Arc<Mutex<LetterShelves>>,
}

impl DeadLetters {
    /// Opens the directory, making it where absent, and counts what lies there.
    ///
    /// # Errors
    /// When the directory can neither be made nor read.
    pub fn open(dir: impl Into<PathBuf>, cap_bytes_per_who: u64) -> io::Result<Self> {
        let shelves = LetterShelves::open(dir.into(), cap_bytes_per_who)?;
        Ok(Self { shelves: Arc::new(Mutex::new(shelves)) })
    }

    /// Writes the points down, synced; blocks for the disk.
    ///
    /// # Errors
    /// When not all of them could be written; then none of them is.
    pub fn put(&self, who: &str, dead: &[Dead]) -> io::Result<()> {
        self.put_at(who, dead, Timestamp::now())
    }

    fn put_at(&self, who: &str, dead: &[Dead], now: Timestamp) -> io::Result<()> {
        if dead.is_empty() {
            return Ok(());
        }
        let lines = encode(who, dead, now);
        let day = now.to_zoned(TimeZone::UTC).date().to_string();
        // A panic while the lock is held leaves figures that the next put corrects; the files are whole.
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner).put(&folder(who), &day, &lines, dead.len() as u64)
    }

    /// Tells what lies in the files, by folder name of who.
    pub fn counts(&self) -> BTreeMap<String, LetterCounts> {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.look_again();
        shelves.by_who.iter().map(|(who, shelf)| (who.clone(), shelf.counts())).collect()
    }
}

#[cfg(test)]
mod tests;
