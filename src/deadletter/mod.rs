//! What was refused, on disk with who refused it and why: `data/dead/<who>/<day>.jsonl`, capped, oldest first, counted.
//!
//! One JSON object a line: `{time, who, category, source, reason, point}`. A [`DeadLetters::put`] returns after the lines are synced, so its
//! caller may forget the points. A day's file is split when it holds an eighth of the cap (`<day>.1.jsonl`, `<day>.2.jsonl` …), so that the cap
//! costs the oldest eighth and never what was just written. A put that fails half-way is cut off again; so is what a crash left of one.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::platform;
use crate::point::Category;

/// Bytes of a reason that are kept.
const REASON_MAX: usize = 512;

/// One refused point.
#[derive(Debug, Clone)]
pub struct Dead {
    /// `None`: a record that is none of ours.
    pub category: Option<Category>,
    /// `<input>/<script>` or the `input` argument.
    pub source: String,
    pub reason: String,
    /// Line protocol (from a sink) or the raw JSON or line (from ingest).
    pub point: String,
}

/// One line of a dead-letter file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// RFC 3339, UTC.
    pub time: String,
    /// The sink's name, or `ingest`.
    pub who: String,
    pub category: Option<String>,
    pub source: String,
    pub reason: String,
    pub point: String,
}

/// What lies in the files of one who.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Points on disk now.
    pub points: u64,
    pub bytes: u64,
    /// Points that this process deleted at the cap.
    pub deleted_points: u64,
}

/// The dead-letter files; clones share them.
#[derive(Clone)]
pub struct DeadLetters {
    shelves: Arc<Mutex<Shelves>>,
}

impl DeadLetters {
    /// Opens the directory, making it where absent, and counts what lies there.
    ///
    /// # Errors
    /// When the directory can neither be made nor read.
    pub fn open(dir: impl Into<PathBuf>, cap_bytes_per_who: u64) -> io::Result<Self> {
        let shelves = Shelves::open(dir.into(), cap_bytes_per_who)?;
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
    pub fn counts(&self) -> BTreeMap<String, Counts> {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.look_again();
        shelves.by_who.iter().map(|(who, shelf)| (who.clone(), shelf.counts())).collect()
    }
}

/// Lists the files of a who, oldest first.
///
/// # Errors
/// When the folder cannot be read; a folder that is not there is empty.
pub fn files(dir: &Path, who: &str) -> io::Result<Vec<PathBuf>> {
    let dir = dir.join(folder(who));
    Ok(list(&dir)?.into_iter().map(|name| dir.join(name.to_string())).collect())
}

/// Reads the letters of one file; a line that is no letter (cut off by a crash) is left out.
///
/// # Errors
/// When the file cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<Letter>> {
    let text = std::fs::read(path)?;
    Ok(text.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

/// Takes these lines out of a file while the agent may be writing to it; a file that is empty then goes.
///
/// The lock keeps the agent from appending meanwhile. A crash leaves the file as it was.
///
/// # Errors
/// When the file cannot be rewritten; then it is as it was.
pub fn remove<'a>(path: &Path, lines: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let _locked = platform::lock_folder(dir)?;
    let text = match std::fs::read(path) {
        // Deleted at the cap meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text?,
    };
    // Each occurrence once: two letters may be the same to the byte.
    let mut gone: HashMap<&[u8], usize> = HashMap::new();
    lines.for_each(|line| *gone.entry(line).or_default() += 1);
    let mut rest = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        match gone.get_mut(line) {
            Some(times @ 1..) => *times -= 1,
            _ => rest.extend_from_slice(line),
        }
    }
    if rest.is_empty() {
        std::fs::remove_file(path)?;
    } else {
        replace(path, &rest)?;
    }
    platform::sync_folder(dir)
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

/// Lists whose letters there are, by folder name.
///
/// # Errors
/// When the directory cannot be read; one that is not there is empty.
pub fn whos(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut whos = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            whos.extend(entry.file_name().into_string());
        }
    }
    whos.sort();
    Ok(whos)
}

/// Makes a folder name of a who: letters, digits, `-`, `_` and inner dots stay, everything else becomes `_`.
pub fn folder(who: &str) -> String {
    let keep = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let mut name: String = who.chars().take(60).map(keep).collect();
    if name.is_empty() || name.starts_with('.') {
        name.insert(0, '_');
    }
    name
}

fn encode(who: &str, dead: &[Dead], now: Timestamp) -> Vec<u8> {
    let mut lines = Vec::new();
    for one in dead {
        let letter = Letter {
            time: now.to_string(),
            who: who.to_owned(),
            category: one.category.map(|category| category.as_str().to_owned()),
            source: one.source.clone(),
            reason: cut(&one.reason, REASON_MAX).to_owned(),
            point: one.point.clone(),
        };
        serde_json::to_writer(&mut lines, &letter)
            .expect("strings always have a JSON form, and a Vec takes every write");
        lines.push(b'\n');
    }
    lines
}

/// Cuts a text to at most `max` bytes, never inside a character.
fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}

/// A file name `<day>.jsonl` (part 0) or `<day>.<part>.jsonl`; sorts by age.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    day: String,
    part: u32,
}

impl Name {
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

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.part {
            0 => write!(f, "{}.jsonl", self.day),
            part => write!(f, "{}.{part}.jsonl", self.day),
        }
    }
}

fn list(dir: &Path) -> io::Result<Vec<Name>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().to_str().and_then(Name::parse));
    }
    names.sort();
    Ok(names)
}

struct Shelves {
    dir: PathBuf,
    cap: u64,
    by_who: BTreeMap<String, Shelf>,
}

/// The files of one who, oldest first.
#[derive(Default)]
struct Shelf {
    files: Vec<(Name, Size)>,
    deleted_points: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Size {
    bytes: u64,
    points: u64,
}

impl Shelf {
    fn counts(&self) -> Counts {
        Counts {
            points: self.files.iter().map(|(_, size)| size.points).sum(),
            bytes: self.files.iter().map(|(_, size)| size.bytes).sum(),
            deleted_points: self.deleted_points,
        }
    }
}

impl Shelves {
    fn open(dir: PathBuf, cap: u64) -> io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        let mut by_who = BTreeMap::new();
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            let (Ok(who), true) = (entry.file_name().into_string(), entry.file_type()?.is_dir()) else { continue };
            by_who.insert(who, measure(&entry.path())?);
        }
        Ok(Self { dir, cap, by_who })
    }

    fn look_again(&mut self) {
        for (who, shelf) in &mut self.by_who {
            // What cannot be measured now keeps its figures.
            let _ = look_again(shelf, &self.dir.join(who));
        }
    }

    fn put(&mut self, who: &str, day: &str, lines: &[u8], points: u64) -> io::Result<()> {
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
fn look_again(shelf: &mut Shelf, dir: &Path) -> io::Result<()> {
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

fn measure(dir: &Path) -> io::Result<Shelf> {
    let mut shelf = Shelf::default();
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
fn make_room(shelf: &mut Shelf, dir: &Path, cap: u64, more: u64) -> io::Result<()> {
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
fn place(shelf: &Shelf, day: &str, cap: u64) -> Name {
    let today = shelf.files.iter().filter(|(name, _)| name.day == day).max_by_key(|(name, _)| name.part);
    match today {
        None => Name { day: day.to_owned(), part: 0 },
        Some((name, size)) if size.bytes < cap / 8 => name.clone(),
        Some((name, _)) => Name { day: day.to_owned(), part: name.part + 1 },
    }
}

fn append(dir: &Path, name: &str, lines: &[u8], is_new: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(dir.join(name))?;
    if is_new {
        // Before the lines, so that a failure leaves none of them.
        platform::sync_folder(dir)?;
    }
    let start = whole_lines(&mut file)?;
    file.seek(SeekFrom::Start(start))?;
    let written = file.write_all(lines).and_then(|()| file.sync_data());
    if written.is_err() {
        // Best effort: the sender writes them once more, and half a line is cut off before that.
        let _ = file.set_len(start);
    }
    written
}

/// Cuts off what a crash left of a line (the put that wrote it never returned) and tells the length.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut end = length;
    let mut block = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        match memchr::memrchr(b'\n', part) {
            Some(at) => {
                end = start + at as u64 + 1;
                break;
            }
            None => end = start,
        }
    }
    if end < length {
        file.set_len(end)?;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(reason: &str, point: &str) -> Dead {
        Dead {
            category: Some(Category::Metric),
            source: "in/a.b".to_owned(),
            reason: reason.to_owned(),
            point: point.to_owned(),
        }
    }

    fn at(day: &str) -> Timestamp {
        format!("{day}T12:00:00Z").parse().unwrap()
    }

    fn letters(dir: &Path, who: &str) -> Vec<Letter> {
        files(dir, who).unwrap().iter().flat_map(|file| read(file).unwrap()).collect()
    }

    #[test]
    fn a_letter_says_who_when_why_and_what() {
        let dir = tempfile::tempdir().unwrap();
        let box_ = DeadLetters::open(dir.path(), 1 << 20).unwrap();
        box_.put_at("main", &[dead("type \"x\"\nconflict", "m v=\"a\nb\" 1")], at("2026-11-20")).unwrap();
        let expected = Letter {
            time: "2026-11-20T12:00:00Z".to_owned(),
            who: "main".to_owned(),
            category: Some("metric".to_owned()),
            source: "in/a.b".to_owned(),
            reason: "type \"x\"\nconflict".to_owned(),
            point: "m v=\"a\nb\" 1".to_owned(),
        };
        assert_eq!(read(&dir.path().join("main/2026-11-20.jsonl")).unwrap(), [expected]);
    }

    #[test]
    fn a_reason_is_cut_at_512_bytes_inside_no_character() {
        let dir = tempfile::tempdir().unwrap();
        let box_ = DeadLetters::open(dir.path(), 1 << 20).unwrap();
        box_.put("s", &[dead(&format!("a{}", "é".repeat(400)), "p")]).unwrap();
        assert_eq!(letters(dir.path(), "s")[0].reason, format!("a{}", "é".repeat(255)));
    }

    #[test]
    fn names_that_would_leave_the_folder_are_made_harmless() {
        let dir = tempfile::tempdir().unwrap();
        let box_ = DeadLetters::open(dir.path().join("dead"), 1 << 20).unwrap();
        for (who, folder) in [("../x", "_.._x"), ("", "_"), (".", "_."), ("a/b", "a_b"), ("größe", "größe")] {
            box_.put(who, &[dead("r", "p")]).unwrap();
            assert!(dir.path().join("dead").join(folder).is_dir(), "{who}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_cap_costs_the_oldest_file_and_counts_its_points() {
        let dir = tempfile::tempdir().unwrap();
        let box_ = DeadLetters::open(dir.path(), 4000).unwrap();
        for day in 1..=9 {
            let two = [dead("r", &"x".repeat(200)), dead("r", &"y".repeat(200))];
            box_.put_at("s", &two, at(&format!("2026-11-0{day}"))).unwrap();
        }
        let counts = box_.counts()["s"];
        assert!(counts.bytes <= 4000, "{counts:?}");
        assert_eq!(counts.points + counts.deleted_points, 18);
        assert!(counts.deleted_points >= 2);
        let left = letters(dir.path(), "s");
        assert_eq!(left.len() as u64, counts.points);
        assert_eq!(left.last().unwrap().time, "2026-11-09T12:00:00Z");
    }

    #[test]
    fn letters_written_while_others_are_removed_are_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let box_ = DeadLetters::open(dir.path(), 1 << 20).unwrap();
        let day = "2026-11-20";
        let path = dir.path().join(format!("s/{day}.jsonl"));
        box_.put_at("s", &[dead("r", "old"), dead("r", "old"), dead("r", "stays")], at(day)).unwrap();
        let write = || {
            for n in 0..300 {
                box_.put_at("s", &[dead("r", &format!("new {n}")), dead("r", "old")], at(day)).unwrap();
            }
        };
        std::thread::scope(|scope| {
            let writer = scope.spawn(write);
            let mut ended = false;
            while !ended {
                // Once more after the last letter.
                ended = writer.is_finished();
                let text = std::fs::read(&path).unwrap();
                let old = text.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\"old\"}\n"));
                let old: Vec<&[u8]> = old.collect();
                remove(&path, old.into_iter()).unwrap();
            }
        });
        let points: Vec<String> = letters(dir.path(), "s").into_iter().map(|letter| letter.point).collect();
        let expected: Vec<String> =
            ["stays".to_owned()].into_iter().chain((0..300).map(|n| format!("new {n}"))).collect();
        assert_eq!(points, expected);
        let counts = box_.counts()["s"];
        assert_eq!((counts.points, counts.bytes), (301, std::fs::metadata(&path).unwrap().len()));
    }

    #[test]
    fn a_file_whose_letters_are_all_removed_goes() {
        let dir = tempfile::tempdir().unwrap();
        let box_ = DeadLetters::open(dir.path(), 1 << 20).unwrap();
        box_.put_at("s", &[dead("r", "p")], at("2026-11-20")).unwrap();
        let path = files(dir.path(), "s").unwrap().remove(0);
        let text = std::fs::read(&path).unwrap();
        remove(&path, [&text[..]].into_iter()).unwrap();
        assert!(!path.exists());
        assert_eq!(box_.counts()["s"], Counts::default());
        remove(&path, [&text[..]].into_iter()).unwrap();
    }

    #[test]
    fn one_day_alone_keeps_its_newest_at_the_cap() {
        let dir = tempfile::tempdir().unwrap();
        let box_ = DeadLetters::open(dir.path(), 4000).unwrap();
        for n in 0..100 {
            box_.put_at("s", &[dead("r", &format!("{n}"))], at("2026-11-20")).unwrap();
        }
        let left = letters(dir.path(), "s");
        assert!(left.len() > 15, "{}", left.len());
        let numbers: Vec<u32> = left.iter().map(|letter| letter.point.parse().unwrap()).collect();
        assert_eq!(numbers, (100 - left.len() as u32..100).collect::<Vec<_>>());
        assert_eq!(box_.counts()["s"].deleted_points, 100 - left.len() as u64);
    }

    #[test]
    fn counts_survive_a_restart_and_a_torn_line_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        DeadLetters::open(dir.path(), 1 << 20).unwrap().put_at("s", &[dead("r", "1")], at("2026-11-20")).unwrap();
        let path = dir.path().join("s/2026-11-20.jsonl");
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], &whole[..9000.min(whole.len() - 3)]].concat()).unwrap();
        let box_ = DeadLetters::open(dir.path(), 1 << 20).unwrap();
        assert_eq!(box_.counts()["s"].points, 1);
        box_.put_at("s", &[dead("r", "2")], at("2026-11-20")).unwrap();
        let points: Vec<String> = letters(dir.path(), "s").into_iter().map(|letter| letter.point).collect();
        assert_eq!(points, ["1", "2"]);
        assert_eq!(memchr::memchr_iter(b'\n', &std::fs::read(&path).unwrap()).count(), 2);
    }

    #[test]
    fn a_put_that_cannot_be_written_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let box_ = DeadLetters::open(dir.path(), 1 << 20).unwrap();
        std::fs::write(dir.path().join("s"), "a file where the folder should be").unwrap();
        assert!(box_.put("s", &[dead("r", "p")]).is_err());
        std::fs::remove_file(dir.path().join("s")).unwrap();
        box_.put("s", &[dead("r", "p")]).unwrap();
        assert_eq!(box_.counts()["s"].points, 1);
    }

    #[test]
    fn many_threads_put_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let box_ = DeadLetters::open(dir.path(), 1 << 20).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..25).for_each(|n| box_.put("s", &[dead("r", &n.to_string())]).unwrap()));
            }
        });
        assert_eq!(letters(dir.path(), "s").len(), 100);
        assert_eq!(box_.counts()["s"].points, 100);
    }
}
