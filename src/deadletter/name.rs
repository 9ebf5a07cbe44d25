//! The names of the files: day and part, in order of age.

use std::io;
use std::path::Path;

/// A file name `<day>.jsonl` (part 0) or `<day>.<part>.jsonl`; sorts by age.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LetterFileName {
    pub(super) day: String,
    pub(super) part: u32,
}

impl LetterFileName {
    fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".jsonl")?;
        let (day, part) = match stem.split_once('.') {
            Some((day, part)) => (day, part.parse().ok()?),
            None => (stem, 0),
        };
        day.parse::<jiff::civil::Date>().ok()?;
        Some(Self { day: day.to_owned(), part })
    }
}

impl std::fmt::Display for LetterFileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.part {
            0 => write!(f, "{}.jsonl", self.day),
            part => write!(f, "{}.{part}.jsonl", self.day),
        }
    }
}

pub(super) fn list(dir: &Path) -> io::Result<Vec<LetterFileName>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().to_str().and_then(LetterFileName::parse));
    }
    names.sort();
    Ok(names)
}
