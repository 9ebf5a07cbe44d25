//! What a start finds: reads every frame once, sets damage aside before anything is cut, and says what is lost.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskFile, read_up_to, write_all_at};
use super::error::{OpenError, open_error};
use super::frame::{self, FRAME_HEADER, FrameStop, RecordFrame, SEGMENT_HEADER, SegmentHeader};
use super::paths::{self, Paths, UNBORN};
use super::place::{self, CursorPlace, LARGEST_SEQ};
use super::record::Position;
use super::segment::Segment;

const AT_ONCE: u64 = 1 << 20;
/// A segment with more damaged places than this is copied from there on as one piece.
const MAX_PIECES: usize = 16;

/// What the recovery found, to be told at start.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    pub records: u64,
    /// Records that must have been there and are not (damaged, or their segment is missing).
    pub lost_records: u64,
    /// Bytes set aside and where, each with a reason; never deleted.
    pub set_aside: Vec<(PathBuf, String)>,
    /// What else a person should know, one sentence each.
    pub notes: Vec<String>,
}

/// All that the log goes on with.
pub(super) struct RecoveredLog {
    pub segments: Vec<Segment>,
    /// The segment that can be written on.
    pub active: Option<Segment>,
    pub next_seq: u64,
    /// By file name.
    pub cursors: BTreeMap<String, CursorPlace>,
    pub set_aside_bytes: u64,
    pub recovered: Recovered,
}

/// Reads what lies there.
pub(super) fn recover(disk: &dyn Disk, paths: &Paths) -> Result<RecoveredLog, OpenError> {
    let mut recovery = Recovery { disk, paths, recovered: Recovered::default(), floor: 1 };
    let (segments, last_is_whole) = recovery.segments()?;
    let end = segments.last().map_or(recovery.floor, |last| last.end_seq.max(recovery.floor));
    let oldest = segments.iter().find(|segment| segment.records > 0).map_or(end, |segment| segment.first_seq);
    let mut cursors = recovery.cursors(oldest)?;
    let next_seq = recovery.settle_cursors(&mut cursors, end);
    let goes_on = |last: &&Segment| last_is_whole && last.end_seq == next_seq;
    let active = segments.last().filter(goes_on).copied();
    let set_aside = disk.list(&paths.set_aside).map_err(open_error("list the directory", &paths.set_aside))?;
    let set_aside_bytes = set_aside.iter().map(|(_, len)| len).sum();
    Ok(RecoveredLog { segments, active, next_seq, cursors, set_aside_bytes, recovered: recovery.recovered })
}

/// Renames a file into `set_aside/` under a name that is free there.
pub(super) fn move_aside(disk: &dyn Disk, paths: &Paths, path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let taken: Vec<String> = disk.list(&paths.set_aside)?.into_iter().map(|(name, _)| name).collect();
    let free = (0u32..).map(|n| if n == 0 { format!("{name}.bad") } else { format!("{name}.{n}.bad") });
    let free = free.into_iter().find(|name| !taken.contains(name)).expect("there are more numbers than files");
    let to = paths.set_aside.join(free);
    disk.rename(path, &to)?;
    Ok(to)
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    paths: &'a Paths,
    recovered: Recovered,
    /// New records get this number or a larger one.
    floor: u64,
}

/// A file that is a segment as far as its header tells.
struct SegmentFile {
    first_seq: u64,
    len: u64,
    file: Box<dyn DiskFile>,
    header_is_good: bool,
    /// Where the frames start.
    start: u64,
    /// The next segment's first number: what is not smaller here is a left-over.
    limit: u64,
    is_last: bool,
}

/// A segment while it is read.
struct SegmentReader<'a> {
    candidate: &'a SegmentFile,
    segment: Segment,
    /// Where the reading stands.
    at: u64,
    pieces: usize,
    whole: bool,
}

impl Recovery<'_> {
    /// The segments in order, and whether the last one can be written on.
    fn segments(&mut self) -> Result<(Vec<Segment>, bool), OpenError> {
        let mut segments: Vec<Segment> = Vec::new();
        let mut last_is_whole = false;
        for candidate in self.candidates()? {
            let path = self.paths.segment(candidate.first_seq);
            let (segment, whole) = self.read(&candidate);
            if segment.records == 0 && !whole {
                // Its name may be needed.
                self.raise_floor(candidate.first_seq, 0);
                self.set_file_aside::<()>(&path, "holds no whole record")
                    .map_err(open_error("set aside the segment", &path))?;
                continue;
            }
            last_is_whole = whole && candidate.is_last;
            self.count_missing(segments.last(), &segment);
            self.recovered.records += segment.records;
            segments.push(Segment { id: segments.len() as u64, ..segment });
        }
        Ok((segments, last_is_whole))
    }

    /// The files that are segments, in order; the others are set aside or left alone.
    fn candidates(&mut self) -> Result<Vec<SegmentFile>, OpenError> {
        let files = self.disk.list(&self.paths.log).map_err(open_error("list the directory", &self.paths.log))?;
        let mut candidates = Vec::new();
        for (name, len) in files {
            let path = self.paths.log.join(&name);
            match first_seq_of(&name) {
                Some(first_seq) => candidates
                    .extend(self.vet(&path, first_seq, len).map_err(open_error("recover the segment", &path))?),
                None if name == UNBORN => {
                    // It never became a segment; the log works without this.
                    let _ = self.disk.unlink(&path);
                }
                None => self.recovered.notes.push(format!("`log/{name}` is no segment; it was left alone")),
            }
        }
        candidates.sort_unstable_by_key(|candidate| candidate.first_seq);
        let limits: Vec<u64> = candidates.iter().skip(1).map(|candidate| candidate.first_seq).collect();
        for (candidate, limit) in candidates.iter_mut().zip(limits) {
            (candidate.limit, candidate.is_last) = (limit, false);
        }
        Ok(candidates)
    }

    /// Looks at a file's header; sets the file aside when there is nothing of ours in it.
    fn vet(&mut self, path: &Path, first_seq: u64, len: u64) -> io::Result<Option<SegmentFile>> {
        if len == 0 {
            self.raise_floor(first_seq, 0);
            return self.set_file_aside(path, "is empty");
        }
        let file = self.disk.open(path)?;
        let mut header = [0; SEGMENT_HEADER as usize];
        let have = read_again(|| read_up_to(file.as_ref(), &mut header, 0))?;
        let decoded = frame::decode_segment_header(&header[..have]);
        let header_is_good = decoded == SegmentHeader::Good { first_seq };
        let start = match decoded {
            SegmentHeader::Good { .. } if header_is_good => Some(SEGMENT_HEADER),
            SegmentHeader::Good { .. } => None,
            SegmentHeader::Newer { version } => {
                self.raise_floor(first_seq, len);
                return self.set_file_aside(
                    path,
                    &format!("was written by a later version of this program (format {version})"),
                );
            }
            SegmentHeader::Damaged => frame::find_next(file.as_ref(), 1, len, first_seq..u64::MAX)?.map(|(at, _)| at),
        };
        let Some(start) = start else {
            let is_zero = header == [0; SEGMENT_HEADER as usize];
            self.raise_floor(first_seq, if is_zero { 0 } else { len });
            return self.set_file_aside(path, "is no segment of this name (other magic, zeros or damaged throughout)");
        };
        Ok(Some(SegmentFile { first_seq, len, file, header_is_good, start, limit: u64::MAX, is_last: true }))
    }

    /// A file that is set aside may have held so many records; their numbers should not come again.
    fn raise_floor(&mut self, first_seq: u64, len: u64) {
        if first_seq < LARGEST_SEQ / 2 {
            self.floor = self.floor.max(first_seq + len / FRAME_HEADER);
        }
    }

    /// Reads one segment; true when it can be written on.
    fn read(&mut self, candidate: &SegmentFile) -> (Segment, bool) {
        let segment = Segment { len: candidate.start, ..Segment::empty(0, candidate.first_seq) };
        let mut reading = SegmentReader { candidate, segment, at: 0, pieces: 0, whole: true };
        if !candidate.header_is_good {
            reading.whole = false;
            self.set_piece_aside(&mut reading, candidate.start, "a damaged segment header");
        }
        reading.at = candidate.start;
        self.read_frames(&mut reading);
        (reading.segment, reading.whole)
    }

    fn read_frames(&mut self, reading: &mut SegmentReader) {
        loop {
            let candidate = reading.candidate;
            let run = match read_again(|| frame::read_run(candidate.file.as_ref(), reading.at, candidate.len, AT_ONCE))
            {
                Ok(run) => run,
                Err(e) => return self.give_up(reading, &e),
            };
            for frame in &run.frames {
                if !self.take(reading, frame) {
                    return;
                }
            }
            reading.at = run.end;
            match run.stop {
                FrameStop::Enough => {}
                FrameStop::End => return,
                FrameStop::Damage if self.step_over_damage(reading) => {}
                FrameStop::Damage => return,
            }
        }
    }

    /// Counts one good frame; false when the rest of the segment are left-overs.
    fn take(&mut self, reading: &mut SegmentReader, frame: &RecordFrame) -> bool {
        let segment = &mut reading.segment;
        if frame.seq >= reading.candidate.limit {
            return false;
        }
        if frame.seq >= segment.end_seq {
            self.recovered.lost_records += frame.seq - segment.end_seq;
            segment.end_seq = frame.seq + 1;
            segment.records += 1;
            segment.points += u64::from(frame.points);
        }
        segment.len = frame.end();
        true
    }

    /// Looks for a good frame behind damage; false when there is none, then the tail is cut off (of the last segment).
    fn step_over_damage(&mut self, reading: &mut SegmentReader) -> bool {
        let SegmentFile { len, limit, is_last, ref file, .. } = *reading.candidate;
        let seqs = reading.segment.end_seq..limit;
        let next = match read_again(|| frame::find_next(file.as_ref(), reading.at + 1, len, seqs.clone())) {
            Ok(next) => next,
            Err(e) => {
                self.give_up(reading, &e);
                return false;
            }
        };
        if let Some((at, _)) = next {
            self.set_piece_aside(reading, at, "damaged between good records");
            reading.at = at;
            // A file that has lost bytes once gets nothing more, so that later starts find the same damage and need no new copy.
            reading.whole = false;
            return true;
        }
        let copied = match read_again(|| end_without_zeros(file.as_ref(), reading.at..len)) {
            // Room that was made ahead of the records.
            Ok(end) if end == reading.at => true,
            Ok(end) => self.set_piece_aside(reading, end, "a tail that is no whole record"),
            Err(e) => {
                self.give_up(reading, &e);
                return false;
            }
        };
        if is_last {
            reading.whole &= copied && file.truncate(reading.segment.len).is_ok();
        }
        false
    }

    fn give_up(&mut self, reading: &mut SegmentReader, e: &io::Error) {
        let name = paths::segment_name(reading.candidate.first_seq);
        self.recovered.notes.push(format!("`log/{name}` cannot be read from byte {} on ({e}); it is kept", reading.at));
        (reading.whole, reading.segment.keep) = (false, true);
    }

    /// Copies the bytes from where the reading stands to `to`. When that is not possible the whole file is kept.
    fn set_piece_aside(&mut self, reading: &mut SegmentReader, to: u64, what: &str) -> bool {
        reading.pieces += 1;
        if reading.pieces > MAX_PIECES {
            return true;
        }
        let to = if reading.pieces == MAX_PIECES { reading.candidate.len } else { to };
        let name = paths::segment_name(reading.candidate.first_seq);
        let copied = self.copy_piece(reading.candidate.file.as_ref(), reading.at..to, &name);
        match copied {
            Ok(Some(copy)) => {
                self.recovered.set_aside.push((copy, format!("{what}: bytes {} to {to} of `log/{name}`", reading.at)))
            }
            Ok(None) => {}
            Err(e) => {
                self.recovered
                    .notes
                    .push(format!("damage in `log/{name}` could not be copied aside ({e}); the file is kept"));
                reading.segment.keep = true;
                return false;
            }
        }
        true
    }

    /// Returns where the copy is; `None` when an earlier start has made the same.
    fn copy_piece(&self, file: &dyn DiskFile, bytes: Range<u64>, segment: &str) -> io::Result<Option<PathBuf>> {
        for n in 0u32.. {
            let suffix = if n == 0 { String::new() } else { format!(".{n}") };
            let target = self.paths.set_aside.join(format!("{segment}.{}{suffix}.bad", bytes.start));
            match self.disk.create(&target) {
                Ok(copy) => {
                    let copied = copy_range(file, copy.as_ref(), bytes).and_then(|()| copy.sync());
                    return copied
                        .and_then(|()| self.disk.sync_dir(&self.paths.set_aside))
                        .map(|()| Some(target.clone()))
                        .inspect_err(|_| {
                            // Half a copy is of no use; the file it came from is kept.
                            let _ = self.disk.unlink(&target);
                        });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    if is_copy(file, bytes.clone(), self.disk.open(&target)?.as_ref())? {
                        return Ok(None);
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn set_file_aside<T>(&mut self, path: &Path, why: &str) -> io::Result<Option<T>> {
        let to = move_aside(self.disk, self.paths, path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.recovered.set_aside.push((to, format!("`{name}` {why}")));
        Ok(None)
    }

    fn count_missing(&mut self, before: Option<&Segment>, segment: &Segment) {
        let Some(before) = before.filter(|before| before.end_seq < segment.first_seq) else {
            return;
        };
        self.recovered.lost_records += segment.first_seq - before.end_seq;
        self.recovered.notes.push(format!("records {} to {} are missing", before.end_seq, segment.first_seq - 1));
    }

    /// The cursors by file name; those whose file makes no sense start at `oldest`.
    ///
    /// Such a file stays until the sink's next confirmation replaces it: were it gone, a start that dies before that would take the sink
    /// for a new one, and others could let segments go that it still needs.
    fn cursors(&mut self, oldest: u64) -> Result<BTreeMap<String, CursorPlace>, OpenError> {
        let files =
            self.disk.list(&self.paths.cursors).map_err(open_error("list the directory", &self.paths.cursors))?;
        let mut cursors = BTreeMap::new();
        for (name, len) in files.into_iter().filter(|(name, _)| !place::is_temporary(name)) {
            let path = self.paths.cursors.join(&name);
            let loaded = place::load(self.disk, &path).map_err(open_error("read the cursor", &path))?;
            let place = loaded.unwrap_or_else(|| {
                self.copy_cursor(&path, &name, len);
                CursorPlace { position: Position { seq: oldest, lines: 0 }, skipped_points: 0 }
            });
            cursors.insert(name, place);
        }
        Ok(cursors)
    }

    fn copy_cursor(&mut self, path: &Path, name: &str, len: u64) {
        let copied =
            self.disk.open(path).and_then(|file| self.copy_piece(file.as_ref(), 0..len, &format!("cursor-{name}")));
        let why = format!("the cursor `{name}` makes no sense; its sink starts again at the oldest record");
        match copied {
            Ok(Some(copy)) => self.recovered.set_aside.push((copy, why)),
            Ok(None) => self.recovered.notes.push(why),
            Err(e) => self.recovered.notes.push(format!("{why}; the file could not be copied aside ({e})")),
        }
    }

    /// Says which cursors stand beyond the end, and returns a number that no record has had yet.
    fn settle_cursors(&mut self, cursors: &mut BTreeMap<String, CursorPlace>, end: u64) -> u64 {
        let mut next_seq = end;
        for (name, place) in cursors {
            if place.position.seq >= end && place.position.lines > 0 {
                // The record it was in is lost; another one must not be taken for it.
                place.position = Position { seq: place.position.seq + 1, lines: 0 };
            }
            if place.position.seq > end {
                let seq = place.position.seq;
                self.recovered
                    .notes
                    .push(format!("the cursor `{name}` stands at record {seq}, beyond the end of the log at {end}"));
            }
            next_seq = next_seq.max(place.position.seq);
        }
        next_seq
    }
}

fn first_seq_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 20)?;
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|seq| all_digits && *seq <= LARGEST_SEQ)
}

/// One past the last byte of the range that is not zero; its start when all are.
fn end_without_zeros(file: &dyn DiskFile, bytes: Range<u64>) -> io::Result<u64> {
    let mut end = bytes.start;
    let mut buffer = vec![0; AT_ONCE.min(bytes.end - bytes.start) as usize];
    for at in bytes.clone().step_by(AT_ONCE as usize) {
        let want = (bytes.end - at).min(AT_ONCE) as usize;
        let have = read_up_to(file, &mut buffer[..want], at)?;
        end = buffer[..have].iter().rposition(|byte| *byte != 0).map_or(end, |last| at + last as u64 + 1);
    }
    Ok(end)
}

fn copy_range(from: &dyn DiskFile, to: &dyn DiskFile, bytes: Range<u64>) -> io::Result<()> {
    let mut buffer = vec![0; AT_ONCE.min(bytes.end - bytes.start) as usize];
    for at in bytes.clone().step_by(AT_ONCE as usize) {
        let want = (bytes.end - at).min(AT_ONCE) as usize;
        let have = read_up_to(from, &mut buffer[..want], at)?;
        write_all_at(to, &buffer[..have], at - bytes.start)?;
    }
    Ok(())
}

fn is_copy(of: &dyn DiskFile, bytes: Range<u64>, copy: &dyn DiskFile) -> io::Result<bool> {
    let (mut ours, mut theirs) = (vec![0; AT_ONCE as usize], vec![0; AT_ONCE as usize]);
    for at in bytes.clone().step_by(AT_ONCE as usize) {
        let want = (bytes.end - at).min(AT_ONCE) as usize;
        let have = read_up_to(of, &mut ours[..want], at)?;
        let there = read_up_to(copy, &mut theirs, at - bytes.start)?;
        if ours[..have] != theirs[..there] {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A read error at the start may pass; what it would cost is a segment.
fn read_again<T>(mut read: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    read().or_else(|_| read()).or_else(|_| read())
}
