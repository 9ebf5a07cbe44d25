//! What lies in the files of each who, and room for more.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::append::append;
use super::name::{LetterFileName, list};
use crate::platform;

/// What lies in the files of one who.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LetterCounts {
    /// Points on disk now.
    pub points: u64,
    pub bytes: u64,
    /// Points that this process deleted at the cap.
    pub deleted_points: u64,
}

pub(super) struct LetterShelves {
    dir: PathBuf,
    cap: u64,
    pub(super) by_who: BTreeMap<String, LetterShelf>,
}

/// The files of one who, oldest first.
#[derive(Default)]
pub(super) struct LetterShelf {
    files: Vec<(LetterFileName, Size)>,
    deleted_points: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Size {
    bytes: u64,
    points: u64,
}

impl LetterShelf {
    pub(super) fn counts(&self) -> LetterCounts {
        LetterCounts {
            points: self.files.iter().map(|(_, size)| size.points).sum(),
            bytes: self.files.iter().map(|(_, size)| size.bytes).sum(),
            deleted_points: self.deleted_points,
        }
    }
}

impl LetterShelves {
    pub(super) fn open(dir: PathBuf, cap: u64) -> io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        let mut by_who = BTreeMap::new();
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            let (Ok(who), true) = (entry.file_name().into_string(), entry.file_type()?.is_dir()) else { continue };
            by_who.insert(who, measure(&entry.path())?);
        }
        Ok(Self { dir, cap, by_who })
    }

    pub(super) fn look_again(&mut self) {
        for (who, shelf) in &mut self.by_who {
            // What cannot be measured now keeps its figures.
            let _ = look_again(shelf, &self.dir.join(who));
        }
    }

    pub(super) fn put(&mut self, who: &str, day: &str, lines: &[u8], points: u64) -> io::Result<()> {
        let dir = self.dir.join(who);
        let new_dir = !dir.is_dir();
        if new_dir {
            std::fs::create_dir_all(&dir)?;
            platform::sync_folder(&self.dir)?;
        }
        let _locked = platform::lock_folder(&dir)?;
        let shelf = self.by_who.entry(who.to_owned()).or_default();
        look_again(shelf, &dir)?;
        make_room(shelf, &dir, self.cap, lines.len() as u64)?;
        let name = place(shelf, day, self.cap);
        let known = shelf.files.iter().position(|(file, _)| *file == name);
        append(&dir, &name.to_string(), lines, known.is_none())?;
        let at = known.unwrap_or_else(|| {
            shelf.files.push((name, Size::default()));
            shelf.files.len() - 1
        });
        shelf.files[at].1.bytes += lines.len() as u64;
        shelf.files[at].1.points += points;
        Ok(())
    }
}

/// Measures again what somebody else (`pythond deadletter resend`) has changed.
fn look_again(shelf: &mut LetterShelf, dir: &Path) -> io::Result<()> {
    let mut at = 0;
    while at < shelf.files.len() {
        let (name, known) = &mut shelf.files[at];
        let path = dir.join(name.to_string());
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                shelf.files.remove(at);
                continue;
            }
            Ok(found) if found.len() == known.bytes => {}
            found => {
                found?;
                *known = size(&path)?;
            }
        }
        at += 1;
    }
    Ok(())
}

fn measure(dir: &Path) -> io::Result<LetterShelf> {
    let mut shelf = LetterShelf::default();
    for name in list(dir)? {
        let size = size(&dir.join(name.to_string()))?;
        shelf.files.push((name, size));
    }
    Ok(shelf)
}

fn size(path: &Path) -> io::Result<Size> {
    let mut file = File::open(path)?;
    let mut size = Size::default();
    let mut block = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            return Ok(size);
        }
        size.bytes += read as u64;
        size.points += memchr::memchr_iter(b'\n', &block[..read]).count() as u64;
    }
}

/// Deletes the oldest files until `more` bytes fit under the cap.
fn make_room(shelf: &mut LetterShelf, dir: &Path, cap: u64, more: u64) -> io::Result<()> {
    while !shelf.files.is_empty() && shelf.counts().bytes + more > cap {
        let path = dir.join(shelf.files[0].0.to_string());
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let (_, size) = shelf.files.remove(0);
        shelf.deleted_points += size.points;
        tracing::warn!(target: "deadletter", file = %path.display(), points = size.points, "the dead letters are at their cap: the oldest file is deleted");
    }
    Ok(())
}

/// Picks the file to write to: the newest of the day, or the next part once that holds an eighth of the cap.
fn place(shelf: &LetterShelf, day: &str, cap: u64) -> LetterFileName {
    let today = shelf.files.iter().filter(|(name, _)| name.day == day).max_by_key(|(name, _)| name.part);
    match today {
        None => LetterFileName { day: day.to_owned(), part: 0 },
        Some((name, size)) if size.bytes < cap / 8 => name.clone(),
        Some((name, _)) => LetterFileName { day: day.to_owned(), part: name.part + 1 },
    }
}
