//! What a sink is given: lines of one or more records, and where each line came from.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::buffer::{LoggedRecord, Position};
use crate::config::SinkSettings;
use crate::deadletter::Dead;
use crate::glob::Glob;
use crate::point::record::Header;
use crate::point::{Category, line};

use super::fields::measurement_of;
use super::limits::DeliveryLimits;

/// Canonical lines in the order of the log, each ending in `\n`; cheap to clone and to slice.
#[derive(Debug, Clone)]
pub struct Batch {
    whole: Arc<Whole>,
    /// The lines of `whole` that this batch is.
    lines: Range<usize>,
}

#[derive(Debug)]
struct Whole {
    text: Bytes,
    /// One past the `\n` of each line.
    ends: Vec<usize>,
    /// In order of `from`; never empty.
    parts: Vec<LineRun>,
}

/// A run of lines out of one record.
#[derive(Debug, Clone)]
struct LineRun {
    category: Category,
    source: Arc<str>,
    /// Of its first line.
    at: Position,
    /// Its first line in the whole.
    from: usize,
}

impl Batch {
    /// Makes a batch of one run of lines.
    ///
    /// # Panics
    /// When the text is empty or does not end with the end of a line.
    pub fn new(category: Category, first: Position, source: &str, text: Bytes) -> Self {
        let ends = line::ends(&text);
        assert!(!text.is_empty() && ends.last() == Some(&text.len()), "a batch holds whole lines");
        let lines = 0..ends.len();
        let parts = vec![LineRun { category, source: source.into(), at: first, from: 0 }];
        Self { whole: Arc::new(Whole { text, ends, parts }), lines }
    }

    /// Points in it; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// All lines as one text.
    pub fn text(&self) -> Bytes {
        self.whole.text.slice(self.start(self.lines.start)..self.start(self.lines.end))
    }

    /// Bytes of the text.
    pub fn size(&self) -> usize {
        self.start(self.lines.end) - self.start(self.lines.start)
    }

    /// Line `n` of this batch without its `\n`.
    pub fn line(&self, n: usize) -> &[u8] {
        let n = self.lines.start + n;
        &self.whole.text[self.start(n)..self.whole.ends[n] - 1]
    }

    /// All lines, each without its `\n`.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|n| self.line(n))
    }

    /// Some of its lines as a batch, without copying.
    ///
    /// # Panics
    /// When the range is empty or leaves the batch.
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start < range.end && range.end <= self.len(), "a slice holds lines of its batch");
        Self { whole: Arc::clone(&self.whole), lines: self.lines.start + range.start..self.lines.start + range.end }
    }

    /// The batch without these lines (sorted); `None` when nothing is left.
    pub(super) fn without(&self, lines: &[usize]) -> Option<Self> {
        let kept: Vec<usize> = (0..self.len()).filter(|n| lines.binary_search(n).is_err()).collect();
        let text: Vec<u8> = kept.iter().flat_map(|&n| self.line(n).iter().copied().chain([b'\n'])).collect();
        (!kept.is_empty()).then(|| self.of_lines(&kept, text.into()))
    }

    /// Lines of this batch with this text: line `i` of it comes from line `from[i]`.
    pub(super) fn of_lines(&self, from: &[usize], text: Bytes) -> Self {
        let ends = line::ends(&text);
        assert_eq!(ends.len(), from.len(), "each line comes from one");
        let parts =
            from.iter().enumerate().map(|(i, &n)| LineRun { at: self.position(n), from: i, ..self.part(n).clone() });
        Self { lines: 0..ends.len(), whole: Arc::new(Whole { text, ends, parts: parts.collect() }) }
    }

    /// The place of its first line in the log.
    pub fn first(&self) -> Position {
        self.position(0)
    }

    /// The category of line `n`.
    pub fn category_of(&self, n: usize) -> Category {
        self.part(n).category
    }

    /// The category of its first line; of all lines where the sink's limits say so.
    pub fn category(&self) -> Category {
        self.category_of(0)
    }

    /// Line `n` as a dead letter.
    pub fn dead(&self, n: usize, reason: String) -> Dead {
        let part = self.part(n);
        let point = String::from_utf8_lossy(self.line(n)).into_owned();
        Dead { category: Some(part.category), source: part.source.to_string(), reason, point }
    }

    fn part(&self, n: usize) -> &LineRun {
        let n = self.lines.start + n;
        let after = self.whole.parts.partition_point(|part| part.from <= n);
        &self.whole.parts[after - 1]
    }

    fn position(&self, n: usize) -> Position {
        let part = self.part(n);
        let lines = (self.lines.start + n - part.from) as u32;
        Position { seq: part.at.seq, lines: part.at.lines + lines }
    }

    fn start(&self, line: usize) -> usize {
        if line == 0 { 0 } else { self.whole.ends[line - 1] }
    }
}

/// What was read from the log, cut into batches.
#[derive(Debug)]
pub(super) struct Chunk {
    pub batches: Vec<Batch>,
    /// Records that are none of ours, with their bytes.
    pub foreign: Vec<Dead>,
    /// One past what was read.
    pub end: Position,
}

/// What a sink takes; the default is everything.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct WantedPoints<'a> {
    categories: Option<&'a [Category]>,
    measurements: Option<&'a [Glob]>,
}

impl<'a> WantedPoints<'a> {
    pub fn of(settings: &'a SinkSettings) -> Self {
        Self { categories: settings.categories.as_deref(), measurements: settings.measurements.as_deref() }
    }

    fn has_category(&self, category: Category) -> bool {
        self.categories.is_none_or(|wanted| wanted.contains(&category))
    }

    fn has_line(&self, line: &[u8]) -> bool {
        let Some(globs) = self.measurements else { return true };
        let measurement = measurement_of(line);
        globs.iter().any(|glob| glob.matches(&measurement))
    }
}

/// Cuts records into batches; lines before `from` are done, unwanted ones are passed over.
pub(super) fn cut(entries: &[LoggedRecord], from: Position, wanted: WantedPoints<'_>, limits: DeliveryLimits) -> Chunk {
    let end = entries.last().map_or(from, |entry| Position { seq: entry.seq + 1, lines: 0 });
    let mut chunk = Chunk { batches: Vec::new(), foreign: Vec::new(), end };
    let mut groups: Vec<RecordGroup> = Vec::new();
    for entry in entries {
        let Some(run) = RecordLines::of(entry) else {
            chunk.foreign.push(foreign(entry));
            continue;
        };
        let done = if entry.seq == from.seq { from.lines as usize } else { 0 };
        if !wanted.has_category(run.header.category) {
            continue;
        }
        let pieces = run.pieces(done, wanted);
        if pieces.is_empty() {
            continue;
        }
        let known = groups.iter().position(|group| !limits.by_category || group.category == run.header.category);
        let at = known.unwrap_or_else(|| {
            groups.push(RecordGroup { category: run.header.category, runs: Vec::new() });
            groups.len() - 1
        });
        groups[at].runs.push((run, pieces));
    }
    chunk.batches = groups.iter().map(RecordGroup::join).flat_map(|batch| split(&batch, limits)).collect();
    chunk
}

fn foreign(entry: &LoggedRecord) -> Dead {
    Dead {
        category: None,
        source: String::new(),
        reason: format!("record {} in the buffer is none of pythond's", entry.seq),
        point: String::from_utf8_lossy(&entry.bytes).into_owned(),
    }
}

/// One record taken apart.
struct RecordLines {
    seq: u64,
    header: Header,
    text: Bytes,
    ends: Vec<usize>,
}

impl RecordLines {
    /// `None`: no header, or the lines do not end where the record ends.
    fn of(entry: &LoggedRecord) -> Option<Self> {
        let (header, text) = Header::decode(&entry.bytes)?;
        let ends = line::ends(text);
        let is_whole = ends.last().copied().unwrap_or(0) == text.len();
        is_whole.then(|| Self { seq: entry.seq, header, text: entry.bytes.slice_ref(text), ends })
    }

    /// The wanted lines that are not done, as ranges.
    fn pieces(&self, done: usize, wanted: WantedPoints<'_>) -> Vec<Range<usize>> {
        let mut pieces: Vec<Range<usize>> = Vec::new();
        if wanted.measurements.is_none() {
            if done < self.ends.len() {
                pieces.push(done..self.ends.len());
            }
            return pieces;
        }
        for n in (done..self.ends.len()).filter(|&n| wanted.has_line(&self.text[self.start(n)..self.ends[n] - 1])) {
            match pieces.last_mut() {
                Some(last) if last.end == n => last.end = n + 1,
                _ => pieces.push(n..n + 1),
            }
        }
        pieces
    }

    fn start(&self, line: usize) -> usize {
        if line == 0 { 0 } else { self.ends[line - 1] }
    }
}

/// Records that go together, each with the lines of it that are to be sent.
struct RecordGroup {
    category: Category,
    runs: Vec<(RecordLines, Vec<Range<usize>>)>,
}

impl RecordGroup {
    /// One batch of all; the text of a single record is not copied.
    fn join(&self) -> Batch {
        let (mut ends, mut parts, mut size) = (Vec::new(), Vec::new(), 0);
        let mut texts = Vec::with_capacity(self.runs.len());
        for (run, piece) in self.runs.iter().flat_map(|(run, pieces)| pieces.iter().map(move |piece| (run, piece))) {
            let skip = run.start(piece.start);
            let at = Position { seq: run.seq, lines: piece.start as u32 };
            parts.push(LineRun {
                category: run.header.category,
                source: run.header.source.as_str().into(),
                at,
                from: ends.len(),
            });
            ends.extend(run.ends[piece.clone()].iter().map(|end| size + end - skip));
            let end = run.start(piece.end);
            size += end - skip;
            texts.push(run.text.slice(skip..end));
        }
        let text = if texts.len() == 1 { texts.remove(0) } else { texts.concat().into() };
        let lines = 0..ends.len();
        Batch { whole: Arc::new(Whole { text, ends, parts }), lines }
    }
}

/// Cuts a batch at the limits; a line that is longer than they allow stands alone.
fn split(batch: &Batch, limits: DeliveryLimits) -> Vec<Batch> {
    let mut batches = Vec::new();
    let (mut from, mut size) = (0, 0);
    for n in 0..batch.len() {
        let line = batch.line(n).len() + 1;
        if n > from && (size + line > limits.max_bytes || n - from >= limits.max_points) {
            batches.push(batch.slice(from..n));
            (from, size) = (n, 0);
        }
        size += line;
    }
    batches.push(batch.slice(from..batch.len()));
    batches
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const LIMITS: DeliveryLimits = DeliveryLimits { max_bytes: 1 << 20, max_points: 100, by_category: false };

    pub fn entry(seq: u64, category: Category, lines: &str) -> LoggedRecord {
        let points = lines.lines().count() as u32;
        let header = Header { category, points, source: format!("in/s{seq}") };
        LoggedRecord { seq, points, bytes: header.encode(lines.as_bytes()).into() }
    }

    fn texts(chunk: &Chunk) -> Vec<String> {
        chunk.batches.iter().map(|batch| String::from_utf8(batch.text().to_vec()).unwrap()).collect()
    }

    fn at(seq: u64, lines: u32) -> Position {
        Position { seq, lines }
    }

    #[test]
    fn records_are_joined_in_order_and_every_line_knows_where_it_came_from() {
        let entries = [entry(7, Category::Metric, "a v=1 1\nb v=2 2\n"), entry(8, Category::Logging, "c v=3 3\n")];
        let chunk = cut(&entries, at(7, 0), WantedPoints::default(), LIMITS);
        assert_eq!(texts(&chunk), ["a v=1 1\nb v=2 2\nc v=3 3\n"]);
        let batch = &chunk.batches[0];
        assert_eq!((batch.len(), batch.size()), (3, 24));
        assert_eq!([0, 1, 2].map(|n| batch.position(n)), [at(7, 0), at(7, 1), at(8, 0)]);
        let dead = batch.dead(2, "no".to_owned());
        assert_eq!(
            (dead.category, dead.source.as_str(), dead.point.as_str()),
            (Some(Category::Logging), "in/s8", "c v=3 3")
        );
        assert_eq!(chunk.end, at(9, 0));
    }

    #[test]
    fn lines_that_are_done_are_not_sent_again() {
        let entries =
            [entry(7, Category::Metric, "a v=1 1\nb v=2 2\nc v=3 3\n"), entry(8, Category::Metric, "d v=4 4\n")];
        let chunk = cut(&entries, at(7, 2), WantedPoints::default(), LIMITS);
        assert_eq!(texts(&chunk), ["c v=3 3\nd v=4 4\n"]);
        assert_eq!(chunk.batches[0].first(), at(7, 2));
        assert!(cut(&entries[..1], at(7, 3), WantedPoints::default(), LIMITS).batches.is_empty());
    }

    #[test]
    fn batches_end_at_the_limits_and_a_long_line_stands_alone() {
        let entries = [entry(1, Category::Metric, "a v=1 1\nlonglonglong v=2 2\nc v=3 3\nd v=4 4\ne v=5 5\n")];
        let chunk = cut(&entries, at(1, 0), WantedPoints::default(), DeliveryLimits { max_bytes: 16, ..LIMITS });
        assert_eq!(texts(&chunk), ["a v=1 1\n", "longlonglong v=2 2\n", "c v=3 3\nd v=4 4\n", "e v=5 5\n"]);
        assert_eq!(
            chunk.batches.iter().map(Batch::first).collect::<Vec<_>>(),
            [at(1, 0), at(1, 1), at(1, 2), at(1, 4)]
        );
        assert_eq!(
            cut(&entries, at(1, 0), WantedPoints::default(), DeliveryLimits { max_points: 2, ..LIMITS }).batches.len(),
            3
        );
    }

    #[test]
    fn categories_are_kept_apart_where_the_sink_wants_it() {
        let entries = [
            entry(1, Category::Metric, "a v=1 1\n"),
            entry(2, Category::Object, "b v=2 2\n"),
            entry(3, Category::Metric, "c v=3 3\n"),
        ];
        let chunk = cut(&entries, at(1, 0), WantedPoints::default(), DeliveryLimits { by_category: true, ..LIMITS });
        assert_eq!(texts(&chunk), ["a v=1 1\nc v=3 3\n", "b v=2 2\n"]);
        assert_eq!(chunk.batches.iter().map(Batch::category).collect::<Vec<_>>(), [Category::Metric, Category::Object]);
        assert_eq!(chunk.batches[0].position(1), at(3, 0));
    }

    #[test]
    fn unwanted_categories_are_passed_over() {
        let entries = [entry(1, Category::Metric, "a v=1 1\n"), entry(2, Category::Object, "b v=2 2\n")];
        let wanted = WantedPoints { categories: Some(&[Category::Object]), ..WantedPoints::default() };
        let chunk = cut(&entries, at(1, 0), wanted, LIMITS);
        assert_eq!(texts(&chunk), ["b v=2 2\n"]);
        let nothing = cut(&entries[..1], at(1, 0), wanted, LIMITS);
        assert!(nothing.batches.is_empty());
        assert_eq!(nothing.end, at(2, 0));
    }

    #[test]
    fn lines_of_unwanted_measurements_are_passed_over_and_the_others_keep_their_places() {
        let entries = [
            entry(1, Category::Metric, "cpu v=1 1\nmem v=2 2\ncpu\\ 0,a=b v=3 3\ncpu v=4 4\n"),
            entry(2, Category::Logging, "mem v=5 5\n"),
            entry(3, Category::Metric, "mem v=6 6\ndisk\\,a,b=c s=\"x\ny\" 7\n"),
        ];
        let globs = [Glob::new("cpu*"), Glob::new("disk,?")];
        let wanted = WantedPoints { measurements: Some(&globs), ..WantedPoints::default() };
        let chunk = cut(&entries, at(1, 0), wanted, LIMITS);
        assert_eq!(texts(&chunk), ["cpu v=1 1\ncpu\\ 0,a=b v=3 3\ncpu v=4 4\ndisk\\,a,b=c s=\"x\ny\" 7\n"]);
        let batch = &chunk.batches[0];
        assert_eq!([0, 1, 2, 3].map(|n| batch.position(n)), [at(1, 0), at(1, 2), at(1, 3), at(3, 1)]);
        assert_eq!(texts(&cut(&entries, at(1, 3), wanted, LIMITS))[0].lines().count(), 3);
        let nothing = cut(&entries[1..2], at(2, 0), wanted, LIMITS);
        assert!(nothing.batches.is_empty());
        assert_eq!(nothing.end, at(3, 0));
    }

    #[test]
    fn a_foreign_record_is_a_dead_letter_with_its_bytes() {
        let mut foreign = entry(2, Category::Metric, "b v=2 2\n");
        foreign.bytes = Bytes::from_static(b"what is this");
        let mut cut_off = entry(3, Category::Metric, "c v=3 3\n");
        cut_off.bytes = cut_off.bytes.slice(..cut_off.bytes.len() - 2);
        let chunk = cut(
            &[entry(1, Category::Metric, "a v=1 1\n"), foreign, cut_off],
            at(1, 0),
            WantedPoints::default(),
            LIMITS,
        );
        assert_eq!(texts(&chunk), ["a v=1 1\n"]);
        assert_eq!(
            chunk.foreign.iter().map(|dead| dead.point.as_str()).collect::<Vec<_>>(),
            ["what is this", "# metric 1 in/s3\nc v=3 "]
        );
        assert_eq!(chunk.end, at(4, 0));
    }

    #[test]
    fn slices_of_slices_keep_their_places() {
        let entries =
            [entry(1, Category::Metric, "a v=1 1\nb v=2 2\nc v=3 3\n"), entry(2, Category::Metric, "d v=4 4\n")];
        let batch = cut(&entries, at(1, 0), WantedPoints::default(), LIMITS).batches.remove(0);
        let right = batch.slice(1..4).slice(1..3);
        assert_eq!(right.text(), "c v=3 3\nd v=4 4\n");
        assert_eq!((right.first(), right.position(1)), (at(1, 2), at(2, 0)));
        assert_eq!(right.lines().collect::<Vec<_>>(), [b"c v=3 3", b"d v=4 4"]);
        let without = batch.without(&[0, 2]).unwrap();
        assert_eq!(without.text(), "b v=2 2\nd v=4 4\n");
        assert_eq!((without.position(0), without.position(1)), (at(1, 1), at(2, 0)));
        assert!(batch.without(&[0, 1, 2, 3]).is_none());
    }
}
