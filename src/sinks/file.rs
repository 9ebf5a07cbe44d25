//! The file sink: `<dir>/<category>.lp`, synced before a batch counts as kept, rotated by size to `.1` … `.<keep>`.
//!
//! **No duplicates after `kill -9`.** The place in the buffer is saved less often than a batch is written, so after a kill the buffer gives
//! again what already lies in the file. Beside each file lies a journal, `.<category>.lp.journal`: before a batch is written, it notes the
//! place of its first line, and in which file (its inode, which a rotation keeps) it will begin where. The first batch after a start is
//! looked up there; found, the sink does not write but *compares*: what is in the file already is passed over, what is cut off is cut away
//! and written whole, and at the first difference (another buffer, an edited file) or at the end of the file it goes on by appending.
//! Nothing that was kept is ever cut away.
//!
//! The journal is not synced: it serves a kill, which the page cache survives. After a power cut the last second may be there twice.
//!
//! A write that fails (full disk) is cut off again, so a file holds whole batches only; rotation happens between batches.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::buffer::Position;
use crate::config::SinkSettings;
use crate::config::sinks::FileSink;
use crate::platform;
use crate::point::Category;

use super::batch::Batch;
use super::error::BuildError;
use super::limits::DeliveryLimits;
use super::sink::Sink;
use super::verdict::Verdict;

/// Journal lines kept when it is rewritten: far more batches than are written between two saves of the place in the buffer.
const JOURNAL_KEPT: usize = 4096;
/// Journal lines before it is rewritten.
const JOURNAL_MAX: usize = 4 * JOURNAL_KEPT;

pub(super) struct SinkFile {
    shelves: Arc<Mutex<CategoryFiles>>,
    limits: DeliveryLimits,
}

impl SinkFile {
    pub fn new(settings: &SinkSettings, kind: &FileSink) -> Result<Self, BuildError> {
        fs::create_dir_all(&kind.dir).map_err(|source| BuildError::Dir { dir: kind.dir.clone(), source })?;
        let place =
            FilePlace { dir: kind.dir.clone(), max_file: kind.max_file, keep: kind.keep, write: fs::File::write_all };
        let shelves = CategoryFiles { place, open: Vec::new() };
        Ok(Self { shelves: Arc::new(Mutex::new(shelves)), limits: DeliveryLimits::of(settings, true) })
    }
}

impl Sink for SinkFile {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Verdict> {
        let (shelves, batch) = (Arc::clone(&self.shelves), batch.clone());
        let written = tokio::task::spawn_blocking(move || {
            // After a panic the shelf is opened anew, since a new sink is made.
            shelves.lock().unwrap_or_else(PoisonError::into_inner).put(&batch)
        });
        async move {
            match written.await {
                Ok(Ok(())) => Verdict::Kept,
                Ok(Err(error)) => Verdict::TryAgain { after: None, why: error.to_string() },
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        .boxed()
    }

    fn limits(&self) -> DeliveryLimits {
        self.limits
    }
}

/// Where the files lie and how large they get.
#[derive(Debug, Clone)]
struct FilePlace {
    dir: PathBuf,
    max_file: u64,
    keep: usize,
    /// The seam for a disk that fails.
    write: fn(&mut fs::File, &[u8]) -> io::Result<()>,
}

impl FilePlace {
    /// The file of a category; `age` 0 is the one that is written, 1 the last one rotated.
    fn file(&self, category: Category, age: usize) -> PathBuf {
        let name = format!("{}.lp", category.as_str());
        self.dir.join(if age == 0 { name } else { format!("{name}.{age}") })
    }

    fn journal(&self, category: Category) -> PathBuf {
        self.dir.join(format!(".{}.lp.journal", category.as_str()))
    }

    /// The age of the file with this inode.
    fn age_of(&self, category: Category, inode: u64) -> Option<usize> {
        let is_it =
            |age: &usize| platform::look(&self.file(category, *age)).is_ok_and(|found| found.identity.number == inode);
        (0..=self.keep).find(is_it)
    }
}

/// The files that were written to since the start.
struct CategoryFiles {
    place: FilePlace,
    open: Vec<(Category, CategoryFile)>,
}

impl CategoryFiles {
    fn put(&mut self, batch: &Batch) -> io::Result<()> {
        let category = batch.category();
        // What somebody else removed, moved or cut is opened anew.
        self.open.retain(|(open, shelf)| *open != category || shelf.is_as_left());
        let at = match self.open.iter().position(|(open, _)| *open == category) {
            Some(at) => at,
            None => {
                self.open.push((category, CategoryFile::open(self.place.clone(), category)?));
                self.open.len() - 1
            }
        };
        let put = self.open[at].1.put(batch);
        if put.is_err() {
            // What is on disk is unknown now: opened anew, the shelf finds out.
            self.open.remove(at);
        }
        put
    }
}

/// One category's file and its journal.
struct CategoryFile {
    place: FilePlace,
    category: Category,
    file: fs::File,
    inode: u64,
    length: u64,
    journal: Journal,
    replay: Replay,
}

/// Where what is delivered lies already, as long as it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replay {
    /// The first batch decides.
    Unknown,
    At {
        age: usize,
        offset: u64,
    },
    Over,
}

impl CategoryFile {
    fn open(place: FilePlace, category: Category) -> io::Result<Self> {
        let file = open_synced(&place, category)?;
        let found = platform::look_at(&file)?;
        let journal = Journal::open(place.journal(category))?;
        Ok(Self {
            place,
            category,
            file,
            inode: found.identity.number,
            length: found.length,
            journal,
            replay: Replay::Unknown,
        })
    }

    fn is_as_left(&self) -> bool {
        let found = platform::look(&self.place.file(self.category, 0));
        found.is_ok_and(|found| found.identity.number == self.inode && found.length == self.length)
    }

    fn put(&mut self, batch: &Batch) -> io::Result<()> {
        if self.replay == Replay::Unknown {
            self.replay = self.look_up(batch.first());
        }
        while let Replay::At { age, offset } = self.replay {
            if self.is_there_already(batch, age, offset)? {
                return Ok(());
            }
        }
        self.mend()?;
        if self.length > 0 && self.length + batch.size() as u64 > self.place.max_file {
            self.rotate()?;
        }
        self.append(batch)
    }

    fn look_up(&self, first: Position) -> Replay {
        let mark = self.journal.find(first);
        let place = mark.and_then(|mark| Some((self.place.age_of(self.category, mark.inode)?, mark.offset)));
        place.map_or(Replay::Over, |(age, offset)| Replay::At { age, offset })
    }

    /// Compares the batch with what lies at the place; cuts away the beginning of it that a kill left. Moves the replay on.
    fn is_there_already(&mut self, batch: &Batch, age: usize, offset: u64) -> io::Result<bool> {
        let text = batch.text();
        let found = read_at(&self.place.file(self.category, age), offset, text.len())?;
        if found == text {
            self.replay = Replay::At { age, offset: offset + found.len() as u64 };
            // Written, but perhaps not synced before the kill.
            self.file.sync_data()?;
            return Ok(true);
        }
        if found.is_empty() && age > 0 {
            self.replay = Replay::At { age: age - 1, offset: 0 };
            return Ok(false);
        }
        if age == 0 && text.starts_with(&found) && offset <= self.length {
            self.cut(offset)?;
        }
        self.replay = Replay::Over;
        Ok(false)
    }

    /// Cuts away the beginning of a batch that nobody will deliver again (the buffer was removed): appending to it would spoil a line.
    fn mend(&mut self) -> io::Result<()> {
        if self.length == 0 || read_at(&self.place.file(self.category, 0), self.length - 1, 1)? == b"\n" {
            return Ok(());
        }
        match self.journal.marks.last() {
            Some(mark) if mark.inode == self.inode && mark.offset < self.length => self.cut(mark.offset),
            _ => {
                self.file.seek(SeekFrom::Start(self.length))?;
                self.file.write_all(b"\n")?;
                self.length += 1;
                Ok(())
            }
        }
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.length = length;
        Ok(())
    }

    fn append(&mut self, batch: &Batch) -> io::Result<()> {
        self.journal.note(BatchStart { first: batch.first(), inode: self.inode, offset: self.length })?;
        let text = batch.text();
        self.file.seek(SeekFrom::Start(self.length))?;
        let written = (self.place.write)(&mut self.file, &text).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.length += text.len() as u64,
            // Best effort: a remainder that stays is found and cut away as that of a kill is.
            Err(_) => drop(self.file.set_len(self.length)),
        }
        written
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.place.keep == 0 {
            return self.cut(0);
        }
        let age = |age: usize| self.place.file(self.category, age);
        for n in (0..self.place.keep).rev() {
            rename_if_there(&age(n), &age(n + 1))?;
        }
        self.file = open_synced(&self.place, self.category)?;
        self.inode = platform::look_at(&self.file)?.identity.number;
        self.length = 0;
        Ok(())
    }
}

/// Opens the file that is written; its name is on disk afterwards.
fn open_synced(place: &FilePlace, category: Category) -> io::Result<fs::File> {
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(place.file(category, 0))?;
    platform::sync_folder(&place.dir)?;
    Ok(file)
}

/// Where a batch began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BatchStart {
    first: Position,
    inode: u64,
    offset: u64,
}

impl BatchStart {
    fn line(self) -> String {
        format!("{} {} {} {}\n", self.first.seq, self.first.lines, self.inode, self.offset)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ').map(str::parse::<u64>);
        let mut next = || words.next()?.ok();
        let (seq, lines, inode, offset) = (next()?, next()?, next()?, next()?);
        Some(Self { first: Position { seq, lines: u32::try_from(lines).ok()? }, inode, offset })
    }
}

/// The marks of one category, oldest first.
struct Journal {
    path: PathBuf,
    file: fs::File,
    marks: Vec<BatchStart>,
}

impl Journal {
    fn open(path: PathBuf) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).append(true).open(&path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = memchr::memrchr(b'\n', &text).map_or(0, |at| at + 1);
        if whole < text.len() {
            file.set_len(whole as u64)?;
        }
        let marks = String::from_utf8_lossy(&text[..whole]).lines().filter_map(BatchStart::parse).collect();
        Ok(Self { path, file, marks })
    }

    /// The last time that this place began a batch.
    fn find(&self, first: Position) -> Option<BatchStart> {
        self.marks.iter().rev().find(|mark| mark.first == first).copied()
    }

    fn note(&mut self, mark: BatchStart) -> io::Result<()> {
        if self.marks.len() >= JOURNAL_MAX {
            self.shorten()?;
        }
        self.file.write_all(mark.line().as_bytes())?;
        self.marks.push(mark);
        Ok(())
    }

    fn shorten(&mut self) -> io::Result<()> {
        let kept = self.marks.split_off(self.marks.len() - JOURNAL_KEPT);
        let text: String = kept.iter().map(|mark| mark.line()).collect();
        let new = self.path.with_extension("journal.new");
        fs::write(&new, text)?;
        fs::rename(&new, &self.path)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.marks = kept;
        Ok(())
    }
}

/// Reads up to `length` bytes; of a file that is not there: none.
fn read_at(path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn place(dir: &Path) -> FilePlace {
        FilePlace { dir: dir.to_owned(), max_file: 1 << 20, keep: 3, write: fs::File::write_all }
    }

    fn shelves(place: FilePlace) -> CategoryFiles {
        CategoryFiles { place, open: Vec::new() }
    }

    /// Record `seq` with one line that is 8 bytes long.
    fn line(seq: u64) -> Batch {
        lines(seq, 1)
    }

    fn text(seq: u64, count: u64) -> String {
        (seq..seq + count).map(|seq| format!("m v=1 {seq}\n")).collect()
    }

    /// Lines `seq..seq + count` as one batch.
    fn lines(seq: u64, count: u64) -> Batch {
        Batch::new(Category::Metric, Position { seq, lines: 0 }, "in/s", Bytes::from(text(seq, count)))
    }

    fn read(dir: &Path, name: &str) -> String {
        String::from_utf8(fs::read(dir.join(name)).unwrap()).unwrap()
    }

    fn put_all(shelves: &mut CategoryFiles, seqs: std::ops::Range<u64>) {
        seqs.for_each(|seq| shelves.put(&line(seq)).unwrap());
    }

    #[test]
    fn batches_lie_one_after_the_other_each_category_in_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut shelves = shelves(place(dir.path()));
        put_all(&mut shelves, 0..3);
        let event =
            Batch::new(Category::KeyEvent, Position { seq: 3, lines: 0 }, "in/s", Bytes::from_static(b"e v=1 1\n"));
        shelves.put(&event).unwrap();
        assert_eq!(read(dir.path(), "metric.lp"), text(0, 3));
        assert_eq!(read(dir.path(), "keyevent.lp"), "e v=1 1\n");
    }

    #[test]
    fn what_is_delivered_again_after_a_kill_is_there_once() {
        for repeat_from in 0..5 {
            let dir = tempfile::tempdir().unwrap();
            put_all(&mut shelves(place(dir.path())), 0..5);
            put_all(&mut shelves(place(dir.path())), repeat_from..8);
            assert_eq!(read(dir.path(), "metric.lp"), text(0, 8), "again from {repeat_from}");
        }
    }

    #[test]
    fn batches_may_be_cut_differently_the_second_time() {
        for sizes in [[1, 7], [3, 5], [5, 3], [8, 0]] {
            let dir = tempfile::tempdir().unwrap();
            put_all(&mut shelves(place(dir.path())), 0..5);
            let mut again = shelves(place(dir.path()));
            again.put(&lines(0, sizes[0])).unwrap();
            if sizes[1] > 0 {
                again.put(&lines(sizes[0], sizes[1])).unwrap();
            }
            assert_eq!(read(dir.path(), "metric.lp"), text(0, 8), "{sizes:?}");
        }
    }

    #[test]
    fn a_batch_that_a_kill_cut_off_is_written_whole() {
        let whole = text(0, 4).len();
        for cut in text(0, 2).len()..=whole {
            let dir = tempfile::tempdir().unwrap();
            let mut before = shelves(place(dir.path()));
            put_all(&mut before, 0..2);
            before.put(&lines(2, 2)).unwrap();
            OpenOptions::new().write(true).open(dir.path().join("metric.lp")).unwrap().set_len(cut as u64).unwrap();
            for from in [0, 2] {
                let mut again = shelves(place(dir.path()));
                put_all(&mut again, from..2);
                again.put(&lines(2, 2)).unwrap();
                assert_eq!(read(dir.path(), "metric.lp"), text(0, 4), "cut at {cut}");
            }
        }
    }

    #[test]
    fn the_replay_goes_through_rotated_files() {
        let per_file = text(0, 3).len() as u64;
        for repeat_from in 2..10 {
            let dir = tempfile::tempdir().unwrap();
            let place = FilePlace { max_file: per_file, ..place(dir.path()) };
            put_all(&mut shelves(place.clone()), 0..10);
            put_all(&mut shelves(place), repeat_from..11);
            assert_eq!(read(dir.path(), "metric.lp"), text(9, 2), "again from {repeat_from}");
            for (name, first) in [("metric.lp.1", 6), ("metric.lp.2", 3), ("metric.lp.3", 0)] {
                assert_eq!(read(dir.path(), name), text(first, 3), "{name} again from {repeat_from}");
            }
        }
    }

    #[test]
    fn a_kill_between_the_renames_of_a_rotation_loses_and_doubles_nothing() {
        let dir = tempfile::tempdir().unwrap();
        put_all(&mut shelves(place(dir.path())), 0..3);
        fs::rename(dir.path().join("metric.lp"), dir.path().join("metric.lp.1")).unwrap();
        put_all(&mut shelves(place(dir.path())), 1..5);
        assert_eq!(read(dir.path(), "metric.lp.1") + &read(dir.path(), "metric.lp"), text(0, 5));
    }

    #[test]
    fn only_so_many_rotated_files_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        put_all(&mut shelves(FilePlace { max_file: 8, keep: 2, ..place(dir.path()) }), 0..6);
        let mut names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, [".metric.lp.journal", "metric.lp", "metric.lp.1", "metric.lp.2"]);
        assert_eq!(read(dir.path(), "metric.lp.2"), text(3, 1));
    }

    #[test]
    fn without_rotated_files_the_file_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        put_all(&mut shelves(FilePlace { max_file: 20, keep: 0, ..place(dir.path()) }), 0..3);
        assert_eq!(read(dir.path(), "metric.lp"), text(2, 1));
    }

    fn half(file: &mut fs::File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(&bytes[..bytes.len() / 2])?;
        Err(io::ErrorKind::StorageFull.into())
    }

    #[test]
    fn a_full_disk_leaves_whole_batches_and_the_batch_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut shelves = shelves(place(dir.path()));
        put_all(&mut shelves, 0..2);
        shelves.open[0].1.place.write = half;
        assert_eq!(shelves.put(&line(2)).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(read(dir.path(), "metric.lp"), text(0, 2));
        put_all(&mut shelves, 2..4);
        assert_eq!(read(dir.path(), "metric.lp"), text(0, 4));
    }

    #[test]
    fn another_buffer_overwrites_nothing() {
        let dir = tempfile::tempdir().unwrap();
        put_all(&mut shelves(place(dir.path())), 0..3);
        // The buffer was removed: the same places, other lines.
        let other =
            Batch::new(Category::Metric, Position { seq: 1, lines: 0 }, "in/s", Bytes::from_static(b"n v=7 7\n"));
        shelves(place(dir.path())).put(&other).unwrap();
        assert_eq!(read(dir.path(), "metric.lp"), text(0, 3) + "n v=7 7\n");
    }

    #[test]
    fn a_cut_off_line_that_nobody_delivers_again_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        put_all(&mut shelves(place(dir.path())), 0..3);
        let path = dir.path().join("metric.lp");
        OpenOptions::new().write(true).open(&path).unwrap().set_len(text(0, 3).len() as u64 - 2).unwrap();
        shelves(place(dir.path())).put(&line(9)).unwrap();
        assert_eq!(read(dir.path(), "metric.lp"), text(0, 2) + &text(9, 1));
        fs::remove_file(dir.path().join(".metric.lp.journal")).unwrap();
        fs::write(&path, "m v=1").unwrap();
        shelves(place(dir.path())).put(&line(9)).unwrap();
        assert_eq!(read(dir.path(), "metric.lp"), "m v=1\n".to_owned() + &text(9, 1));
    }

    #[test]
    fn a_file_that_somebody_removed_or_emptied_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut shelves = shelves(place(dir.path()));
        put_all(&mut shelves, 0..2);
        fs::remove_file(dir.path().join("metric.lp")).unwrap();
        put_all(&mut shelves, 2..4);
        assert_eq!(read(dir.path(), "metric.lp"), text(2, 2));
        fs::write(dir.path().join("metric.lp"), "").unwrap();
        put_all(&mut shelves, 4..5);
        assert_eq!(read(dir.path(), "metric.lp"), text(4, 1));
    }

    #[test]
    fn the_journal_stays_short_and_a_torn_line_of_it_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mark = |seq| BatchStart { first: Position { seq, lines: 1 }, inode: 7, offset: seq * 8 };
        let mut journal = Journal::open(path.clone()).unwrap();
        (0..JOURNAL_MAX as u64 + 1).for_each(|seq| journal.note(mark(seq)).unwrap());
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), JOURNAL_KEPT + 1);
        fs::write(&path, text + "12 3").unwrap();
        let mut again = Journal::open(path.clone()).unwrap();
        assert_eq!(again.find(mark(JOURNAL_MAX as u64).first), Some(mark(JOURNAL_MAX as u64)));
        again.note(mark(1)).unwrap();
        assert_eq!(Journal::open(path).unwrap().marks.last(), Some(&mark(1)));
    }
}
