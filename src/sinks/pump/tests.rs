//! The pump between a buffer in memory and a far end that says what a test wants.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::super::batch::Batch;
use super::super::batch::tests::entry;
use super::super::health::HealthReport;
use super::super::limits::DeliveryLimits;
use super::super::verdict::Verdict;
use super::delivery::draw;
use super::*;
use crate::buffer::{LoggedRecord, Position, ReadError};
use crate::config::Origin;
use crate::config::sinks::{FileSink, SinkKind};
use crate::deadletter;
use crate::point::Category;
use crate::telemetry::counters::BySink;
use futures_util::future::BoxFuture;
use std::io;
use std::time::Duration;
use tokio::time::Instant;

/// A log in memory; clones share it.
#[derive(Clone, Default)]
struct Memory {
    shared: Arc<(Mutex<Shared>, Notify)>,
}

#[derive(Default)]
struct Shared {
    records: Vec<LoggedRecord>,
    position: Position,
    confirms_fail: bool,
}

impl Memory {
    fn append(&self, category: Category, lines: &str) {
        let mut shared = self.shared.0.lock().unwrap();
        let seq = shared.records.len() as u64;
        shared.records.push(entry(seq, category, lines));
        self.shared.1.notify_waiters();
    }

    fn append_bytes(&self, bytes: &'static [u8]) {
        let mut shared = self.shared.0.lock().unwrap();
        let seq = shared.records.len() as u64;
        shared.records.push(LoggedRecord { seq, points: 1, bytes: bytes.into() });
    }

    fn take(&self, max_bytes: usize) -> Vec<LoggedRecord> {
        let shared = self.shared.0.lock().unwrap();
        let mut size = 0;
        let rest = shared.records.iter().filter(|entry| entry.seq >= shared.position.seq);
        let fits = rest.take_while(|entry| {
            size += entry.bytes.len();
            size <= max_bytes || size == entry.bytes.len()
        });
        fits.cloned().collect()
    }

    fn position(&self) -> Position {
        self.shared.0.lock().unwrap().position
    }
}

impl Source for Memory {
    fn next(&mut self, max_bytes: usize) -> BoxFuture<'_, Result<Vec<LoggedRecord>, ReadError>> {
        async move {
            loop {
                let grown = self.shared.1.notified();
                let entries = self.take(max_bytes);
                if !entries.is_empty() {
                    return Ok(entries);
                }
                grown.await;
            }
        }
        .boxed()
    }

    fn position(&self) -> Position {
        self.position()
    }

    fn confirm(&mut self, to: Position) -> io::Result<()> {
        let mut shared = self.shared.0.lock().unwrap();
        assert!(to > shared.position, "the place only moves on");
        shared.position = to;
        if shared.confirms_fail { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn waiting(&self) -> bool {
        !self.take(1).is_empty()
    }

    fn behind_points(&self) -> u64 {
        self.take(usize::MAX).iter().map(|entry| u64::from(entry.points)).sum()
    }
}

type Judge = dyn FnMut(&Batch, usize) -> Verdict + Send;

/// A far end that judges by a function of the batch and the number of the request; clones share it.
#[derive(Clone)]
struct Scripted {
    judge: Arc<Mutex<Box<Judge>>>,
    requests: Arc<Mutex<Vec<(Instant, String)>>>,
    limits: DeliveryLimits,
}

impl Sink for Scripted {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Verdict> {
        let text = String::from_utf8(batch.text().to_vec()).unwrap();
        let number = {
            let mut requests = self.requests.lock().unwrap();
            requests.push((Instant::now(), text));
            requests.len() - 1
        };
        async move { (self.judge.lock().unwrap_or_else(std::sync::PoisonError::into_inner))(batch, number) }.boxed()
    }

    fn limits(&self) -> DeliveryLimits {
        self.limits
    }
}

struct Bench {
    log: Memory,
    sink: Scripted,
    dir: tempfile::TempDir,
    counters: Counters,
    stop: watch::Sender<StopDeadline>,
    settings: SinkSettings,
}

impl Bench {
    fn new(judge: impl FnMut(&Batch, usize) -> Verdict + Send + 'static) -> Self {
        let limits = DeliveryLimits { max_bytes: 1 << 20, max_points: 1000, by_category: false };
        let sink = Scripted { judge: Arc::new(Mutex::new(Box::new(judge))), requests: Arc::default(), limits };
        let settings = SinkSettings {
            name: "far".to_owned(),
            kind: SinkKind::File(FileSink { dir: "/nowhere".into(), max_file: 1, keep: 1 }),
            categories: None,
            measurements: None,
            required: true,
            linger: Duration::from_millis(20),
            timeout: Duration::from_secs(10),
            max_batch: 1 << 20,
            origin: Origin::default(),
        };
        let dir = tempfile::tempdir().unwrap();
        Self {
            log: Memory::default(),
            sink,
            dir,
            counters: Counters::default(),
            stop: watch::channel(None).0,
            settings,
        }
    }

    /// A log with one line per record.
    fn with_lines(self, count: u64) -> Self {
        (0..count).for_each(|n| self.log.append(Category::Metric, &format!("m v={n} {n}\n")));
        self
    }

    fn start(&self) -> RunningPump {
        let sink = self.sink.clone();
        self.start_with(move || Ok(Box::new(sink.clone())))
    }

    fn start_with(&self, make: impl Fn() -> Result<Box<dyn Sink>, BuildError> + Send + 'static) -> RunningPump {
        let dead = DeadLetters::open(self.dir.path(), 1 << 20).unwrap();
        start(&self.settings, make, Box::new(self.log.clone()), dead, &self.counters, self.stop.subscribe()).unwrap()
    }

    /// Runs until everything is confirmed.
    async fn drain(&self) -> HealthReport {
        self.drain_within(Duration::from_secs(3600)).await
    }

    async fn drain_within(&self, grace: Duration) -> HealthReport {
        let running = self.start();
        self.stop.send_replace(Some(Instant::now() + grace));
        running.task.await.unwrap();
        running.health.report()
    }

    fn sent(&self) -> Vec<String> {
        self.sink.requests.lock().unwrap().iter().map(|(_, text)| text.clone()).collect()
    }

    /// Time between the requests.
    fn pauses(&self) -> Vec<Duration> {
        let requests = self.sink.requests.lock().unwrap();
        requests.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }

    fn letters(&self) -> Vec<(String, String)> {
        let files = deadletter::files(self.dir.path(), "far").unwrap();
        let letters = files.iter().flat_map(|file| deadletter::read(file).unwrap());
        letters.map(|letter| (letter.source, letter.point)).collect()
    }
}

fn again(after: Option<u64>) -> Verdict {
    Verdict::TryAgain { after: after.map(Duration::from_secs), why: "busy".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn what_gathered_goes_in_one_request_in_order_and_is_confirmed() {
    let bench = Bench::new(|_, _| Verdict::Kept).with_lines(3);
    let report = bench.drain().await;
    assert_eq!(bench.sent(), ["m v=0 0\nm v=1 1\nm v=2 2\n"]);
    assert_eq!(bench.log.position(), Position { seq: 3, lines: 0 });
    assert_eq!((report.delivered, report.dead, report.state), (3, 0, SinkState::Ok));
    assert_eq!(bench.counters.sink_delivered.get_or_create(&BySink { sink: "far".to_owned() }).get(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_idle_pump_lingers_for_what_comes_together() {
    let bench = Bench::new(|_, _| Verdict::Kept);
    let running = bench.start();
    tokio::time::sleep(Duration::from_secs(5)).await;
    bench.log.append(Category::Metric, "a v=1 1\n");
    tokio::time::sleep(Duration::from_millis(10)).await;
    bench.log.append(Category::Metric, "b v=1 1\n");
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(bench.sent(), ["a v=1 1\nb v=1 1\n"]);
    bench.stop.send_replace(Some(Instant::now()));
    running.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_same_bytes_come_again_after_growing_waits() {
    let bench = Bench::new(|_, n| if n < 5 { again(None) } else { Verdict::Kept }).with_lines(2);
    let report = bench.drain().await;
    assert_eq!(bench.sent(), vec!["m v=0 0\nm v=1 1\n"; 6]);
    for (pause, most) in bench.pauses().into_iter().zip([500, 1000, 2000, 4000, 8000]) {
        assert!(pause <= Duration::from_millis(most + 1), "{pause:?}");
    }
    assert_eq!((report.retries, report.attempts, report.state), (5, 0, SinkState::Ok));
}

#[tokio::test(start_paused = true)]
async fn the_sinks_wish_for_patience_is_obeyed() {
    let bench = Bench::new(|_, n| if n == 0 { again(Some(77)) } else { Verdict::Kept }).with_lines(1);
    bench.drain().await;
    assert_eq!(bench.pauses().iter().map(Duration::as_secs).collect::<Vec<_>>(), [77]);
}

#[tokio::test(start_paused = true)]
async fn a_misconfigured_sink_keeps_everything_and_is_tried_seldom() {
    let judge = |_: &Batch, n| if n < 3 { Verdict::Misconfigured { why: "401".to_owned() } } else { Verdict::Kept };
    let bench = Bench::new(judge).with_lines(1);
    let running = bench.start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let report = running.health.report();
    assert_eq!((report.state, report.attempts), (SinkState::Misconfigured, 1));
    assert_eq!(report.last_error.unwrap().1, "401");
    assert_eq!(bench.log.position(), Position::default());
    bench.stop.send_replace(Some(Instant::now() + Duration::from_secs(3600)));
    running.task.await.unwrap();
    assert!(bench.pauses().iter().all(|pause| (2..=60).contains(&pause.as_secs())), "{:?}", bench.pauses());
    assert_eq!(running.health.report().delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn refused_points_become_dead_letters_and_the_rest_is_kept() {
    let judge = |batch: &Batch, _| {
        let poison: Vec<usize> = (0..batch.len()).filter(|&n| batch.line(n).starts_with(b"bad")).collect();
        Verdict::KeptExcept(poison.into_iter().map(|n| (n, "no".to_owned())).collect())
    };
    let bench = Bench::new(judge);
    bench.log.append(Category::Metric, "a v=1 1\nbad v=2 2\n");
    bench.log.append(Category::Logging, "bad v=3 3\nb v=4 4\n");
    let report = bench.drain().await;
    let expected = [("in/s0", "bad v=2 2"), ("in/s1", "bad v=3 3")];
    assert_eq!(bench.letters(), expected.map(|(source, point)| (source.to_owned(), point.to_owned())));
    assert_eq!((report.delivered, report.dead), (2, 2));
    assert_eq!(bench.counters.sink_dead.get_or_create(&BySink { sink: "far".to_owned() }).get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_poison_point_is_found_though_the_sink_goes_away_in_between() {
    let judge = |batch: &Batch, n: usize| match n % 2 {
        1 => again(None),
        _ if batch.lines().any(|line| line == b"m v=13 13") => Verdict::Refused { why: "bad".to_owned() },
        _ => Verdict::Kept,
    };
    let bench = Bench::new(judge).with_lines(100);
    let report = bench.drain().await;
    assert_eq!(bench.letters(), [("in/s13".to_owned(), "m v=13 13".to_owned())]);
    assert_eq!((report.delivered, report.dead), (99, 1));
    assert_eq!(bench.log.position(), Position { seq: 100, lines: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_refuses_everything_condemns_nothing_and_later_takes_everything() {
    let bench = Bench::new(|_, n| if n < 30 { Verdict::Refused { why: "nonsense".to_owned() } } else { Verdict::Kept })
        .with_lines(50);
    let report = bench.drain().await;
    assert_eq!((report.delivered, report.dead), (50, 0));
    assert!(report.last_error.unwrap().1.contains("nonsense"));
}

#[tokio::test(start_paused = true)]
async fn a_size_that_was_too_large_is_remembered() {
    let judge = |batch: &Batch, _| {
        if batch.size() > 20 { Verdict::TooLarge { why: "413".to_owned() } } else { Verdict::Kept }
    };
    let bench = Bench::new(judge).with_lines(8);
    let running = bench.start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let first = bench.sent().len();
    (0..8).for_each(|n| bench.log.append(Category::Metric, &format!("n v={n} {n}\n")));
    bench.stop.send_replace(Some(Instant::now() + Duration::from_secs(60)));
    running.task.await.unwrap();
    assert_eq!(running.health.report().delivered, 16);
    assert!(bench.sent()[first..].iter().all(|text| text.len() <= 20), "{:?}", bench.sent());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_confirmed_while_its_dead_letter_cannot_be_written() {
    let bench = Bench::new(|_, _| Verdict::KeptExcept(vec![(0, "no".to_owned())])).with_lines(1);
    let blocker = bench.dir.path().join("far");
    std::fs::write(&blocker, "a file where the folder should be").unwrap();
    let running = bench.start();
    tokio::time::sleep(Duration::from_secs(100)).await;
    let report = running.health.report();
    assert_eq!((report.state, bench.log.position(), report.dead), (SinkState::Down, Position::default(), 0));
    assert!(report.last_error.unwrap().1.starts_with("the dead letters could not be written"));
    std::fs::remove_file(blocker).unwrap();
    bench.stop.send_replace(Some(Instant::now() + Duration::from_secs(60)));
    running.task.await.unwrap();
    assert_eq!((bench.letters().len(), bench.sent().len()), (1, 1));
    assert_eq!(bench.log.position(), Position { seq: 1, lines: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_sink_is_caught_and_the_batch_comes_again() {
    let bench = Bench::new(|_, n| if n == 0 { panic!("a defect") } else { Verdict::Kept }).with_lines(2);
    let report = bench.drain().await;
    assert_eq!((report.panics, report.delivered), (1, 2));
    assert_eq!(report.last_error.unwrap().1, "a defect in the sink: a defect");
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_had_a_defect_is_not_used_again_though_a_new_one_cannot_be_made_at_once() {
    let bench = Bench::new(|_, n| if n == 0 { panic!("a defect") } else { Verdict::Kept }).with_lines(1);
    let (sink, made) = (bench.sink.clone(), Arc::new(Mutex::new(0)));
    let count = Arc::clone(&made);
    let running = bench.start_with(move || {
        *count.lock().unwrap() += 1;
        let is_possible = !(2..=3).contains(&*count.lock().unwrap());
        if is_possible { Ok(Box::new(sink.clone())) } else { Err(BuildError::Token) }
    });
    bench.stop.send_replace(Some(Instant::now() + Duration::from_secs(3600)));
    running.task.await.unwrap();
    let report = running.health.report();
    assert_eq!((report.delivered, *made.lock().unwrap()), (1, 4));
    assert!(report.last_error.unwrap().1.contains("could not be made anew"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_sends_what_is_left_and_ends() {
    let mut bench = Bench::new(|_, _| Verdict::Kept).with_lines(10);
    bench.sink.limits.max_points = 3;
    let before = Instant::now();
    bench.drain_within(Duration::from_secs(5)).await;
    assert_eq!(bench.sent().len(), 4);
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_with_its_grace_when_the_sink_is_down() {
    let bench = Bench::new(|_, _| again(Some(600))).with_lines(1);
    let before = Instant::now();
    bench.drain_within(Duration::from_secs(5)).await;
    assert_eq!(before.elapsed().as_secs(), 5);
    assert_eq!(bench.log.position(), Position::default());
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_sink_that_hangs() {
    struct Hangs;
    impl Sink for Hangs {
        fn deliver<'a>(&'a mut self, _: &'a Batch) -> BoxFuture<'a, Verdict> {
            std::future::pending().boxed()
        }
        fn limits(&self) -> DeliveryLimits {
            DeliveryLimits { max_bytes: 1, max_points: 1, by_category: false }
        }
    }
    let bench = Bench::new(|_, _| Verdict::Kept).with_lines(1);
    let running = bench.start_with(|| Ok(Box::new(Hangs)));
    let before = Instant::now();
    bench.stop.send_replace(Some(before + Duration::from_secs(5)));
    running.task.await.unwrap();
    assert_eq!(before.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_idle_pump_ends_at_once() {
    let bench = Bench::new(|_, _| Verdict::Kept);
    let running = bench.start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = Instant::now();
    bench.stop.send_replace(Some(before + Duration::from_secs(60)));
    running.task.await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_vanished_is_no_reason_to_run_on() {
    let mut bench = Bench::new(|_, _| again(None)).with_lines(1);
    let running = bench.start();
    bench.stop = watch::channel(None).0;
    running.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_none_of_ours_is_buried_and_passed() {
    let bench = Bench::new(|_, _| Verdict::Kept).with_lines(1);
    bench.log.append_bytes(b"garbage");
    let report = bench.drain().await;
    assert_eq!(bench.letters(), [(String::new(), "garbage".to_owned())]);
    assert_eq!((report.delivered, report.dead), (1, 1));
    assert_eq!(bench.log.position(), Position { seq: 2, lines: 0 });
}

#[tokio::test(start_paused = true)]
async fn unwanted_categories_are_passed_over() {
    let mut bench = Bench::new(|_, _| Verdict::Kept);
    bench.settings.categories = Some(vec![Category::Logging]);
    bench.log.append(Category::Metric, "a v=1 1\n");
    bench.log.append(Category::Logging, "b v=1 1\n");
    bench.log.append(Category::Metric, "c v=1 1\n");
    bench.drain().await;
    assert_eq!(bench.sent(), ["b v=1 1\n"]);
    assert_eq!(bench.log.position(), Position { seq: 3, lines: 0 });
}

#[tokio::test(start_paused = true)]
async fn one_bad_sink_never_stops_another() {
    let bad = Bench::new(|_, n| if n % 2 == 0 { panic!("bad") } else { again(Some(3600)) }).with_lines(5);
    let good = Bench::new(|_, _| Verdict::Kept).with_lines(5);
    let running = bad.start();
    let report = good.drain_within(Duration::from_secs(1)).await;
    assert_eq!(report.delivered, 5);
    assert_eq!(bad.log.position(), Position::default());
    bad.stop.send_replace(Some(Instant::now()));
    running.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_place_that_cannot_be_saved_holds_nothing_up() {
    let bench = Bench::new(|_, _| Verdict::Kept).with_lines(3);
    bench.log.shared.0.lock().unwrap().confirms_fail = true;
    assert_eq!(bench.drain().await.delivered, 3);
}

#[test]
fn draws_are_spread_over_the_unit_interval() {
    let draws: Vec<f64> = (0..1000).map(|_| draw()).collect();
    assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
    let mean = draws.iter().sum::<f64>() / 1000.0;
    assert!((0.4..0.6).contains(&mean), "{mean}");
}
