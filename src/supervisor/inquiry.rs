//! What a unit runs against, for somebody who asks: a question to its worker, and the answer that comes in pieces.
//!
//! Pieces are counted, for a worker drops a frame rather than wait. A table is shown whole or not at all, with the reason.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::waiting::Waiters;
use crate::words::count;
use crate::worker::frames::TablePiece;

/// The whole answer is waited for so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is kept of an answer, with what each text costs beside its bytes.
const MOST_BYTES: usize = 16 * 1024 * 1024;
const TEXT_BYTES: usize = size_of::<String>();

/// The resources of a unit, in the words of its dialect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceTable {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// Why there are no rows.
    pub why: Option<String>,
}

impl ResourceTable {
    /// There is none.
    pub(super) fn without(why: &str) -> Self {
        Self { why: Some(why.to_owned()), ..Self::default() }
    }
}

/// A question under way.
pub(super) struct Inquiry {
    /// The unit that is asked for, and what tells this question from those before it.
    unit: usize,
    ask: u64,
    began: Instant,
    table: ResourceTable,
    /// The number of the next piece.
    next: usize,
    bytes: usize,
    waiting: Waiters<ResourceTable>,
}

/// What becomes of a question with a piece.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Progress {
    /// More is to come; also with a piece of another question.
    Open,
    Whole,
    Failed(String),
}

impl Inquiry {
    pub fn new(unit: usize, ask: u64, now: Instant) -> Self {
        let (table, waiting) = (ResourceTable::default(), Waiters::default());
        Self { unit, ask, began: now, table, next: 0, bytes: 0, waiting }
    }

    pub fn unit(&self) -> usize {
        self.unit
    }

    /// One more who waits for the answer.
    pub fn join(&mut self, answer: oneshot::Sender<ResourceTable>) {
        self.waiting.join(answer);
    }

    pub fn take(&mut self, piece: TablePiece) -> Progress {
        if (piece.u, piece.ask) != (self.unit, self.ask) {
            return Progress::Open;
        }
        if piece.k != self.next {
            return Progress::Failed(
                "a part of the answer was lost, because the agent did not read in time".to_owned(),
            );
        }
        self.next += 1;
        let texts = piece.columns.iter().chain(piece.rows.iter().flatten());
        self.bytes += texts.map(|text| text.len() + TEXT_BYTES).sum::<usize>();
        if self.bytes > MOST_BYTES {
            return Progress::Failed(format!("the answer has more than {} MiB", MOST_BYTES >> 20));
        }
        self.table.columns.extend(piece.columns);
        self.table.rows.extend(piece.rows);
        self.table.why = self.table.why.take().or(Some(piece.why).filter(|why| !why.is_empty()));
        if piece.last { Progress::Whole } else { Progress::Open }
    }

    /// It is waited for no longer.
    pub fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= PATIENCE
    }

    /// Answers with the whole table.
    pub fn answer(self) {
        self.waiting.answer(&self.table);
    }

    /// Answers that its time is over; `silence` says why a process may not answer at all.
    pub fn give_up(self, silence: &str) {
        if self.next == 0 {
            return self.fail(silence);
        }
        let (rows, seconds) = (count(self.table.rows.len(), "row"), PATIENCE.as_secs());
        self.fail(&format!("its worker told only {rows} within {seconds} s, and there are more"));
    }

    /// Answers that there is none: half a table could be taken for a whole one.
    pub fn fail(self, why: &str) {
        self.waiting.answer(&ResourceTable::without(why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(k: usize, rows: &[&str], last: bool) -> TablePiece {
        let columns = if k == 0 { vec!["A".to_owned()] } else { Vec::new() };
        let rows = rows.iter().map(|cell| vec![(*cell).to_owned()]).collect();
        TablePiece { u: 3, ask: 7, k, columns, rows, last, why: String::new() }
    }

    fn asked() -> (Inquiry, oneshot::Receiver<ResourceTable>) {
        let (answer, answered) = oneshot::channel();
        let mut inquiry = Inquiry::new(3, 7, Instant::now());
        inquiry.join(answer);
        (inquiry, answered)
    }

    #[tokio::test]
    async fn pieces_become_one_table_for_everybody_who_asked() {
        let (mut inquiry, first) = asked();
        let (two, second) = oneshot::channel();
        inquiry.join(two);
        assert_eq!(inquiry.take(piece(0, &["a", "b"], false)), Progress::Open);
        assert_eq!(inquiry.take(piece(1, &["c"], true)), Progress::Whole);
        inquiry.answer();
        let rows = ["a", "b", "c"].map(|cell| vec![cell.to_owned()]).to_vec();
        let expected = ResourceTable { columns: vec!["A".to_owned()], rows, why: None };
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (expected.clone(), expected));
    }

    #[tokio::test]
    async fn a_lost_piece_is_said_and_no_half_table_is_shown() {
        for (before, after) in [(Vec::new(), 1), (vec![piece(0, &["a"], false)], 2), (vec![piece(0, &["a"], false)], 0)]
        {
            let (mut inquiry, answered) = asked();
            for piece in before {
                assert_eq!(inquiry.take(piece), Progress::Open);
            }
            let Progress::Failed(why) = inquiry.take(piece(after, &["z"], true)) else {
                panic!("piece {after} is taken")
            };
            assert!(why.contains("was lost"), "{why}");
            inquiry.fail(&why);
            assert_eq!(answered.await.unwrap(), ResourceTable::without(&why));
        }
    }

    #[test]
    fn what_answers_another_question_is_passed_over() {
        let (mut inquiry, _answered) = asked();
        assert_eq!(inquiry.take(TablePiece { ask: 6, ..piece(4, &["old"], true) }), Progress::Open);
        assert_eq!(inquiry.take(TablePiece { u: 2, ..piece(0, &["other"], true) }), Progress::Open);
        assert_eq!(inquiry.take(piece(0, &["a"], true)), Progress::Whole);
        assert_eq!(inquiry.table.rows, [["a"]]);
    }

    #[tokio::test]
    async fn it_is_over_after_its_time_with_what_is_missing() {
        let (silent, nothing) = asked();
        let (mut slow, some) = asked();
        assert_eq!(slow.take(piece(0, &["a"], false)), Progress::Open);
        assert!(!slow.is_over(slow.began + PATIENCE - Duration::from_millis(1)) && slow.is_over(slow.began + PATIENCE));
        silent.give_up("it is stopped");
        slow.give_up("it is stopped");
        let why = "its worker told only 1 row within 5 s, and there are more";
        assert_eq!(nothing.await.unwrap(), ResourceTable::without("it is stopped"));
        assert_eq!(some.await.unwrap(), ResourceTable::without(why));
    }

    #[test]
    fn an_answer_without_an_end_takes_no_more_memory_than_it_may() {
        let (mut inquiry, _answered) = asked();
        let long = "x".repeat(60_000);
        let taken = (0..).take_while(|k| inquiry.take(piece(*k, &[&long], false)) == Progress::Open).count();
        assert!((250..300).contains(&taken), "{taken}");
        // Rows that are empty cost something, too.
        let (mut inquiry, _answered) = asked();
        let rows = [""; 20_000];
        assert!((0..100).any(|k| inquiry.take(piece(k, &rows, false)) != Progress::Open));
    }

    #[test]
    fn why_a_worker_has_no_table_is_kept() {
        let (mut inquiry, _answered) = asked();
        let why = "none matches".to_owned();
        assert_eq!(inquiry.take(TablePiece { why: why.clone(), ..piece(0, &[], true) }), Progress::Whole);
        assert_eq!(inquiry.table.why, Some(why));
    }
}
