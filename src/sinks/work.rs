//! What a verdict means for what is left of a chunk: pure, so that every turn of a search for a poison point can be tested.
//!
//! The chunk is a list of batches still to be sent. A refused batch is replaced by its halves, so the list *is* the state of the search: a
//! sink that goes away in the middle costs one more attempt of the same half, and nothing is judged bad because of it.
//!
//! Before a point is condemned the refusal must be about that point. It is when the answer names it. An answer that names nothing ("bad
//! request") may as well come from a wrong URL or a proxy that refuses everything, and would send the whole stream to the dead letters. So
//! such a refusal counts only while the sink has lately taken something ([`Trust`]); without that proof, refused points are held, the search
//! goes on for a few requests, and either something is taken (the held points are tried once more, and now the answer counts) or the sink is
//! said to be misconfigured, with everything kept.

use std::collections::VecDeque;
use std::time::Duration;

use crate::buffer::Position;
use crate::deadletter::Dead;

use super::batch::{Batch, Chunk};
use super::limits::DeliveryLimits;
use super::verdict::Verdict;

/// Points that may be condemned by nameless refusals before the sink must take something again.
const TRUST: u32 = 16;
/// Nameless refusals in a chunk, without proof that the sink takes anything, before it counts as misconfigured. Enough to halve the
/// largest batch down to one line and to look at its neighbours.
const DOUBTS_MAX: u32 = 20;

/// How much a nameless refusal is worth; earned by everything the sink takes.
#[derive(Debug, Default)]
pub(super) struct Trust(u32);

impl Trust {
    fn earn(&mut self) {
        self.0 = TRUST;
    }

    fn spend(&mut self) -> bool {
        let had = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        had
    }

    fn is_spent(&self) -> bool {
        self.0 == 0
    }
}

/// What the pump does next.
#[derive(Debug)]
pub(super) enum PumpStep {
    /// The front is done: so many points kept, these never.
    Done { kept: usize, dead: Vec<Dead> },
    /// The front was split; send the next.
    Split,
    /// As `Split`, and no batch of this sink should be larger than this from now on.
    Smaller { max_bytes: usize },
    /// The same again, later.
    Wait { after: Option<Duration>, why: String },
    /// The same again, seldom.
    Misconfigured { why: String },
    /// Everything was refused without a name: seldom, and what gathers meanwhile is tried together with it.
    Systematic { why: String },
}

/// What is left of a chunk.
#[derive(Debug)]
pub(super) struct ChunkWork {
    pending: VecDeque<Batch>,
    /// Single points that were refused without a name and without proof.
    held: Vec<Batch>,
    doubts: u32,
    end: Position,
}

impl ChunkWork {
    pub fn new(chunk: Chunk) -> Self {
        Self { pending: chunk.batches.into(), held: Vec::new(), doubts: 0, end: chunk.end }
    }

    /// The batch to send next.
    pub fn front(&self) -> Option<&Batch> {
        self.pending.front()
    }

    /// Everything before this place is kept or buried.
    pub fn done_to(&self) -> Position {
        self.pending.iter().chain(&self.held).map(Batch::first).min().unwrap_or(self.end)
    }

    /// Takes the verdict on the front.
    ///
    /// # Panics
    /// When there is no front.
    pub fn act(&mut self, verdict: Verdict, trust: &mut Trust) -> PumpStep {
        match verdict {
            Verdict::Kept => self.kept(Vec::new(), trust),
            Verdict::KeptExcept(except) => self.kept(except, trust),
            Verdict::RefusedPart(refused) => self.refused_part(refused),
            Verdict::TryAgain { after, why } => PumpStep::Wait { after, why },
            Verdict::Misconfigured { why } => PumpStep::Misconfigured { why },
            Verdict::Refused { why } => self.refused(why, trust),
            Verdict::Nothing => {
                self.take_front();
                PumpStep::Done { kept: 0, dead: Vec::new() }
            }
            Verdict::TooLarge { why } => self.too_large(why),
        }
    }

    fn kept(&mut self, except: Vec<(usize, String)>, trust: &mut Trust) -> PumpStep {
        trust.earn();
        let batch = self.take_front();
        let except = in_order(except, &batch);
        self.try_held_again();
        PumpStep::Done { kept: batch.len() - except.len(), dead: dead(&batch, except) }
    }

    /// Names at least one line, so that the search ends.
    fn refused_part(&mut self, refused: Vec<(usize, String)>) -> PumpStep {
        let batch = self.take_front();
        let refused = in_order(refused, &batch);
        let numbers: Vec<usize> = refused.iter().map(|(n, _)| *n).collect();
        if let Some(others) = batch.without(&numbers) {
            self.pending.push_front(others);
        }
        PumpStep::Done { kept: 0, dead: dead(&batch, refused) }
    }

    fn refused(&mut self, why: String, trust: &mut Trust) -> PumpStep {
        let batch = self.take_front();
        let is_named = names_a_line(&why, &batch);
        let is_proven = is_named || (batch.len() == 1 && trust.spend()) || !trust.is_spent();
        if !is_proven {
            self.doubts += 1;
        }
        match (batch.len(), is_proven) {
            (1, true) => return PumpStep::Done { kept: 0, dead: vec![batch.dead(0, why)] },
            (1, false) => self.held.push(batch),
            _ => self.split(&batch),
        }
        if self.pending.is_empty() || self.doubts >= DOUBTS_MAX {
            PumpStep::Systematic { why }
        } else {
            PumpStep::Split
        }
    }

    fn too_large(&mut self, why: String) -> PumpStep {
        let batch = self.take_front();
        if batch.len() == 1 {
            return PumpStep::Done { kept: 0, dead: vec![batch.dead(0, why)] };
        }
        self.split(&batch);
        PumpStep::Smaller { max_bytes: batch.size() / 2 }
    }

    fn split(&mut self, batch: &Batch) {
        let middle = batch.len() / 2;
        self.pending.push_front(batch.slice(middle..batch.len()));
        self.pending.push_front(batch.slice(0..middle));
    }

    /// The sink has taken something: now a refusal counts.
    fn try_held_again(&mut self) {
        for batch in self.held.drain(..).rev() {
            self.pending.push_front(batch);
        }
    }

    fn take_front(&mut self) -> Batch {
        self.pending.pop_front().expect("a verdict is about the front")
    }
}

/// The named lines of the batch in its order, each once.
fn in_order(mut named: Vec<(usize, String)>, batch: &Batch) -> Vec<(usize, String)> {
    named.retain(|(n, _)| *n < batch.len());
    named.sort_by_key(|(n, _)| *n);
    named.dedup_by_key(|(n, _)| *n);
    named
}

fn dead(batch: &Batch, named: Vec<(usize, String)>) -> Vec<Dead> {
    named.into_iter().map(|(n, why)| batch.dead(n, why)).collect()
}

/// Obeys a size that a sink was found to take at most.
pub(super) fn shrink(limits: &mut DeliveryLimits, max_bytes: usize) {
    limits.max_bytes = limits.max_bytes.min(max_bytes.max(1));
}

/// Says whether a refusal is about some line of the batch: it quotes the beginning of one, its measurement, or tells its number.
fn names_a_line(why: &str, batch: &Batch) -> bool {
    tells_a_line_number(why) || batch.lines().any(|line| quotes(why, line))
}

fn tells_a_line_number(why: &str) -> bool {
    let lower = why.to_ascii_lowercase();
    lower.match_indices("line ").any(|(at, word)| lower[at + word.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

fn quotes(why: &str, line: &[u8]) -> bool {
    /// Enough of a line that a message does not hold it by chance.
    const BEGINNING: usize = 24;
    let beginning = &line[..line.len().min(BEGINNING)];
    let has = |needle: &[u8]| memchr::memmem::find(why.as_bytes(), needle).is_some();
    let end = line.iter().position(|byte| matches!(byte, b',' | b' ')).unwrap_or(line.len());
    has(beginning) || has(&[b"\"", &line[..end], b"\""].concat())
}

#[cfg(test)]
mod tests {
    use super::super::batch::{WantedPoints, cut, tests::entry};
    use super::*;
    use crate::point::Category;

    const LIMITS: DeliveryLimits = DeliveryLimits { max_bytes: 1 << 20, max_points: 10_000, by_category: false };

    fn work(lines: &[&str]) -> ChunkWork {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        ChunkWork::new(cut(
            &[entry(5, Category::Metric, &text)],
            Position { seq: 5, lines: 0 },
            WantedPoints::default(),
            LIMITS,
        ))
    }

    fn numbered(count: usize) -> ChunkWork {
        let lines: Vec<String> = (0..count).map(|n| format!("m{n} v=1 {n}")).collect();
        work(&lines.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn proven() -> Trust {
        Trust(TRUST)
    }

    /// Runs the work against a far end: kept points, dead points, requests, and how it ended.
    #[derive(Debug, Default, PartialEq)]
    struct Ran {
        kept: Vec<String>,
        dead: Vec<String>,
        requests: usize,
        stopped: Option<String>,
    }

    fn run(work: &mut ChunkWork, trust: &mut Trust, mut far_end: impl FnMut(&Batch, usize) -> Verdict) -> Ran {
        let mut ran = Ran::default();
        while let Some(batch) = work.front().cloned() {
            let verdict = far_end(&batch, ran.requests);
            ran.requests += 1;
            let excepted: Vec<usize> = if let Verdict::KeptExcept(except) = &verdict {
                except.iter().map(|(n, _)| *n).collect()
            } else {
                vec![]
            };
            match work.act(verdict, trust) {
                PumpStep::Done { kept, dead } => {
                    if kept > 0 {
                        let lines = batch.lines().enumerate().filter(|(n, _)| !excepted.contains(n));
                        ran.kept.extend(lines.map(|(_, line)| String::from_utf8_lossy(line).into_owned()));
                    }
                    ran.dead.extend(dead.into_iter().map(|dead| dead.point));
                }
                PumpStep::Systematic { why } => {
                    ran.stopped = Some(why);
                    return ran;
                }
                PumpStep::Split | PumpStep::Smaller { .. } | PumpStep::Wait { .. } | PumpStep::Misconfigured { .. } => {
                }
            }
        }
        ran
    }

    /// Refuses whole whatever holds one of the poison lines.
    fn refuses(poison: &'static [usize], why: &'static str) -> impl FnMut(&Batch, usize) -> Verdict {
        move |batch, _| {
            let is_poison = |line: &[u8]| poison.iter().any(|n| line == format!("m{n} v=1 {n}").as_bytes());
            if batch.lines().any(is_poison) { Verdict::Refused { why: why.to_owned() } } else { Verdict::Kept }
        }
    }

    fn expected(count: usize, poison: &[usize]) -> (Vec<String>, Vec<String>) {
        let line = |n: usize| format!("m{n} v=1 {n}");
        let (dead, kept): (Vec<usize>, Vec<usize>) = (0..count).partition(|n| poison.contains(n));
        (kept.into_iter().map(line).collect(), dead.into_iter().map(line).collect())
    }

    #[test]
    fn the_poison_points_are_found_and_the_rest_is_kept_in_order() {
        for (count, poison) in [
            (1000, &[577_usize][..]),
            (1000, &[0]),
            (1000, &[999]),
            (7, &[0, 3, 6]),
            (2, &[0, 1]),
            (1, &[0]),
            (64, &[10, 11, 12]),
        ] {
            let ran = run(&mut numbered(count), &mut proven(), refuses(Vec::leak(poison.to_vec()), "bad"));
            assert_eq!((ran.kept, ran.dead), expected(count, poison), "{count} {poison:?}");
            assert!(ran.requests <= 1 + 2 * poison.len() * 11, "{} requests", ran.requests);
            assert_eq!(ran.stopped, None);
        }
    }

    #[test]
    fn an_unproven_sink_is_proven_by_the_first_thing_it_takes() {
        let ran = run(&mut numbered(1000), &mut Trust::default(), refuses(&[0, 500], "bad"));
        assert_eq!((ran.kept, ran.dead, ran.stopped), (expected(1000, &[0, 500]).0, expected(1000, &[0, 500]).1, None));
    }

    #[test]
    fn a_sink_that_refuses_everything_without_a_name_is_misconfigured_and_nothing_is_condemned() {
        for count in [1, 2, 3, 5000] {
            let mut work = numbered(count);
            let ran =
                run(&mut work, &mut Trust::default(), |_, _| Verdict::Refused { why: "invalid precision".to_owned() });
            assert_eq!(
                (ran.stopped.as_deref(), ran.dead.len(), ran.kept.len()),
                (Some("invalid precision"), 0, 0),
                "{count}"
            );
            assert!(ran.requests <= DOUBTS_MAX as usize);
            assert_eq!(work.done_to(), Position { seq: 5, lines: 0 });
        }
    }

    #[test]
    fn a_sink_that_turns_to_refusing_everything_condemns_no_more_than_its_trust() {
        let ran = run(&mut numbered(5000), &mut proven(), |_, _| Verdict::Refused { why: "no".to_owned() });
        assert_eq!(ran.dead.len(), TRUST as usize);
        assert_eq!(ran.stopped.as_deref(), Some("no"));
    }

    #[test]
    fn a_refusal_that_names_the_line_needs_no_proof() {
        let ran = run(&mut numbered(40), &mut Trust::default(), |batch, _| Verdict::Refused {
            why: format!("unable to parse '{}': nonsense", String::from_utf8_lossy(batch.line(0))),
        });
        assert_eq!((ran.dead.len(), ran.stopped), (40, None));
    }

    #[test]
    fn a_sink_that_goes_away_during_the_search_condemns_nothing() {
        let mut poison = refuses(&[577], "bad");
        let flaky = |batch: &Batch, n: usize| match n % 3 {
            0 => poison(batch, n),
            1 => Verdict::TryAgain { after: None, why: "gone".to_owned() },
            _ => Verdict::Misconfigured { why: "401".to_owned() },
        };
        let ran = run(&mut numbered(1000), &mut proven(), flaky);
        assert_eq!((ran.kept, ran.dead), expected(1000, &[577]));
        assert!(ran.requests <= 3 * 22, "{} requests: the search did not start again", ran.requests);
    }

    #[test]
    fn a_partial_refusal_buries_the_named_points_only() {
        let mut work = work(&["a v=1 1", "b v=2 2", "c v=3 3"]);
        let verdict = Verdict::KeptExcept(vec![
            (2, "x".to_owned()),
            (0, "y".to_owned()),
            (2, "z".to_owned()),
            (9, "none".to_owned()),
        ]);
        let PumpStep::Done { kept, dead } = work.act(verdict, &mut proven()) else { panic!("not done") };
        assert_eq!(kept, 1);
        assert_eq!(dead.iter().map(|dead| dead.point.as_str()).collect::<Vec<_>>(), ["a v=1 1", "c v=3 3"]);
        assert_eq!(work.done_to(), Position { seq: 6, lines: 0 });
    }

    #[test]
    fn the_others_of_a_refusal_that_may_hide_some_are_sent_again() {
        let mut work = work(&["a v=1 1", "b v=2 2", "c v=3 3", "d v=4 4"]);
        let mut seen = Vec::new();
        let ran = run(&mut work, &mut Trust::default(), |batch, n| {
            seen.push(String::from_utf8(batch.text().to_vec()).unwrap());
            match n {
                0 => Verdict::RefusedPart(vec![(2, "conflict".to_owned()), (0, "conflict".to_owned())]),
                1 => Verdict::RefusedPart(vec![(0, "the one that was hidden".to_owned())]),
                _ => Verdict::Kept,
            }
        });
        assert_eq!(seen, ["a v=1 1\nb v=2 2\nc v=3 3\nd v=4 4\n", "b v=2 2\nd v=4 4\n", "d v=4 4\n"]);
        assert_eq!(
            (ran.kept, ran.dead),
            (vec!["d v=4 4".to_owned()], ["a v=1 1", "c v=3 3", "b v=2 2"].map(str::to_owned).to_vec())
        );
        assert_eq!(work.done_to(), Position { seq: 6, lines: 0 });
    }

    #[test]
    fn the_place_stays_before_what_is_sent_again() {
        let mut work = work(&["a v=1 1", "b v=2 2", "c v=3 3"]);
        let _ = work.act(Verdict::RefusedPart(vec![(0, "x".to_owned()), (2, "x".to_owned())]), &mut proven());
        assert_eq!(work.done_to(), Position { seq: 5, lines: 1 });
        let _ = work.act(Verdict::RefusedPart(vec![(0, "x".to_owned())]), &mut proven());
        assert!(work.front().is_none());
        assert_eq!(work.done_to(), Position { seq: 6, lines: 0 });
    }

    #[test]
    fn what_was_not_sent_proves_nothing() {
        let mut trust = Trust::default();
        let mut nothing = work(&["a s=\"x\" 1"]);
        let PumpStep::Done { kept: 0, dead } = nothing.act(Verdict::Nothing, &mut trust) else { panic!("not done") };
        assert!(dead.is_empty() && trust.is_spent() && nothing.front().is_none());
    }

    #[test]
    fn what_is_too_large_is_halved_and_the_size_is_told() {
        let mut work = work(&["a v=1 1", "b v=2 2", "c v=3 3", "d v=4 4"]);
        let too_large = || Verdict::TooLarge { why: "413".to_owned() };
        let PumpStep::Smaller { max_bytes: 16 } = work.act(too_large(), &mut proven()) else { panic!("not smaller") };
        let PumpStep::Smaller { max_bytes: 8 } = work.act(too_large(), &mut proven()) else { panic!("not smaller") };
        let PumpStep::Done { kept: 0, dead } = work.act(too_large(), &mut proven()) else { panic!("not done") };
        assert_eq!(dead[0].point, "a v=1 1");
        assert_eq!(work.done_to(), Position { seq: 5, lines: 1 });
    }

    #[test]
    fn the_place_moves_with_the_lowest_line_that_is_not_done() {
        let entries = [
            entry(1, Category::Metric, "a v=1 1\nb v=2 2\n"),
            entry(2, Category::Object, "c v=3 3\n"),
            entry(3, Category::Metric, "d v=4 4\n"),
        ];
        let limits = DeliveryLimits { by_category: true, max_points: 1, ..LIMITS };
        let mut work = ChunkWork::new(cut(&entries, Position { seq: 1, lines: 0 }, WantedPoints::default(), limits));
        let mut places = vec![work.done_to()];
        while work.front().is_some() {
            let _ = work.act(Verdict::Kept, &mut proven());
            places.push(work.done_to());
        }
        let at = |seq, lines| Position { seq, lines };
        // The metrics are sent first; record 3 does not count before record 2.
        assert_eq!(places, [at(1, 0), at(1, 1), at(2, 0), at(2, 0), at(4, 0)]);
    }
}
