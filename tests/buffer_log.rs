//! What the buffer promises while all is well, and at its cap.

#[path = "support/buffer.rs"]
mod buffer;
#[path = "support/failing_disk.rs"]
mod failing_disk;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use buffer::*;
use bytes::Bytes;
use failing_disk::FailingDisk;
use pythond::buffer::disk::RealDisk;
use pythond::buffer::{AppendError, BufferSettings, Log, OpenError, Position, ReadError};

const DIR: &str = "/buffer";

fn fresh() -> (FailingDisk, Log) {
    let disk = FailingDisk::new();
    let (log, recovered) = open(&settings(Path::new(DIR)), &disk);
    assert_eq!(recovered.records, 0);
    (disk, log)
}

#[test]
fn records_come_back_in_order_after_a_reopen_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let settings = small(dir.path());
    let (log, _) = open(&settings, &RealDisk);
    let seqs = append(&log, 0..10);
    assert_eq!(seqs, (1..=10).collect::<Vec<_>>());
    log.close();
    let (log, recovered) = open(&settings, &RealDisk);
    assert_eq!((recovered.records, recovered.lost_records), (10, 0));
    assert!(recovered.set_aside.is_empty() && recovered.notes.is_empty(), "{recovered:?}");
    assert_eq!(append(&log, [10]), [11]);
    let mut cursor = log.cursor("main", true).unwrap();
    assert_eq!(drain(&mut cursor), (0..11).collect::<Vec<_>>());
}

#[test]
fn the_same_records_come_until_they_are_confirmed() {
    let (_disk, log) = fresh();
    let mut cursor = log.cursor("main", true).unwrap();
    append(&log, 0..5);
    let read = |cursor: &mut pythond::buffer::Cursor, max| {
        run(cursor.next(max)).unwrap().iter().map(|e| e.seq).collect::<Vec<_>>()
    };
    assert_eq!(read(&mut cursor, 300), [1, 2, 3]);
    assert_eq!(read(&mut cursor, 299), [1, 2]);
    assert_eq!(read(&mut cursor, 1), [1]);
    cursor.confirm(Position { seq: 2, lines: 1 }).unwrap();
    assert_eq!(cursor.position(), Position { seq: 2, lines: 1 });
    assert_eq!(read(&mut cursor, 1000), [2, 3, 4, 5]);
    cursor.confirm(Position { seq: 1, lines: 0 }).unwrap();
    assert_eq!(cursor.position(), Position { seq: 2, lines: 1 }, "a place never goes back");
    assert!(cursor.confirm(Position { seq: 7, lines: 0 }).is_err());
    cursor.confirm(Position { seq: 6, lines: 0 }).unwrap();
    assert!(!cursor.waiting());
}

#[test]
fn a_batch_fills_up_from_the_next_segment() {
    let disk = FailingDisk::new();
    let (log, _) = open(&small(Path::new(DIR)), &disk);
    append(&log, 0..10);
    assert_eq!(log.stats().segments, 3);
    let mut cursor = log.cursor("main", true).unwrap();
    assert_eq!(run(cursor.next(900)).unwrap().len(), 9);
    cursor.confirm(Position { seq: 7, lines: 0 }).unwrap();
    assert_eq!(run(cursor.next(900)).unwrap().iter().map(|e| e.seq).collect::<Vec<_>>(), [7, 8, 9, 10]);
}

#[test]
fn a_waiting_reader_wakes_with_the_record() {
    let (_disk, log) = fresh();
    let mut cursor = log.cursor("main", true).unwrap();
    let batch = run(async {
        let reader = tokio::spawn(async move { cursor.next(1 << 20).await });
        tokio::task::yield_now().await;
        log.append(3, record(7)).await.unwrap();
        reader.await.unwrap().unwrap()
    });
    assert_eq!((batch[0].seq, batch[0].points, number(&batch[0].bytes)), (1, 3, 7));
}

#[test]
fn a_place_within_a_record_survives() {
    let (disk, log) = fresh();
    let mut cursor = log.cursor("influxdb.main/ü", true).unwrap();
    append(&log, 0..3);
    cursor.confirm(Position { seq: 2, lines: 1 }).unwrap();
    drop((cursor, log));
    let (log, _) = open(&settings(Path::new(DIR)), &disk.kill());
    let cursor = log.cursor("influxdb.main/ü", true).unwrap();
    assert_eq!(cursor.position(), Position { seq: 2, lines: 1 });
}

#[test]
fn one_cursor_of_a_name_lives_at_a_time() {
    let (_disk, log) = fresh();
    let cursor = log.cursor("main", true).unwrap();
    assert_eq!(log.cursor("main", true).err().unwrap().kind(), std::io::ErrorKind::AlreadyExists);
    drop(cursor);
    log.cursor("main", true).unwrap();
}

#[test]
fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(&settings(dir.path()), &RealDisk);
    let second = Log::open(settings(dir.path()), Arc::new(RealDisk));
    assert!(matches!(second, Err(OpenError::Locked { .. })));
    log.close();
    open(&settings(dir.path()), &RealDisk);
}

#[test]
fn a_closed_log_takes_and_gives_nothing() {
    let (_disk, log) = fresh();
    let mut cursor = log.cursor("main", true).unwrap();
    append(&log, [0]);
    log.close();
    log.close();
    assert!(matches!(run(log.append(1, record(1))), Err(AppendError::Closed)));
    assert!(matches!(run(cursor.next(1)), Err(ReadError::Closed)));
    assert!(cursor.confirm(Position { seq: 2, lines: 0 }).is_err());
    assert!(log.cursor("other", true).is_err());
}

#[test]
fn appends_that_wait_at_the_close_are_kept() {
    let (disk, log) = fresh();
    let appends = futures_util::future::join_all((0..100).map(|n| log.append(1, record(n))));
    let (kept, ()) = run(async { tokio::join!(appends, async { log.close() }) });
    let kept = kept.iter().filter(|kept| kept.is_ok()).count();
    assert_eq!(kept, 100, "all were queued before the close");
    let (_log, recovered) = open(&settings(Path::new(DIR)), &disk.cut_power(3));
    assert_eq!(recovered.records, 100);
}

#[test]
fn a_record_too_large_is_refused_and_the_largest_is_taken() {
    let disk = FailingDisk::new();
    let settings = small(Path::new(DIR));
    let (log, _) = open(&settings, &disk);
    let max = match run(log.append(1, Bytes::from(vec![b'x'; 4096]))) {
        Err(AppendError::TooLarge { max, .. }) => max,
        other => panic!("{other:?}"),
    };
    run(log.append(1, Bytes::from(vec![b'x'; max as usize]))).unwrap();
    let mut cursor = log.cursor("main", true).unwrap();
    assert_eq!(run(cursor.next(10)).unwrap()[0].bytes.len() as u64, max);
}

#[test]
fn large_and_empty_records_pass() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(&settings(dir.path()), &RealDisk);
    let sizes = [0, 3 << 20, 1, 20 << 20, 0, (1 << 20) - 24, 1 << 20];
    for size in sizes {
        run(log.append(1, Bytes::from(vec![b'x'; size]))).unwrap();
    }
    log.close();
    let (log, recovered) = open(&settings(dir.path()), &RealDisk);
    assert_eq!(recovered.records, sizes.len() as u64);
    let mut cursor = log.cursor("main", true).unwrap();
    assert_eq!(run(cursor.next(64 << 20)).unwrap().iter().map(|e| e.bytes.len()).collect::<Vec<_>>(), sizes);
    cursor.confirm(Position { seq: 3, lines: 0 }).unwrap();
    assert_eq!(run(cursor.next(2)).unwrap().iter().map(|e| e.bytes.len()).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_segment_goes_once_all_cursors_passed_it() {
    let disk = FailingDisk::new();
    let (log, _) = open(&small(Path::new(DIR)), &disk);
    let (mut fast, mut slow) = (log.cursor("fast", true).unwrap(), log.cursor("slow", false).unwrap());
    append(&log, 0..9);
    drain(&mut fast);
    append(&log, [9]);
    assert_eq!(log.stats().segments, 3, "`slow` holds them");
    drain(&mut slow);
    append(&log, [10]);
    assert_eq!(log.stats().segments, 1);
    assert_eq!(disk.names(&Path::new(DIR).join("log")).len(), 1);
}

#[test]
fn a_forgotten_cursor_holds_nothing() {
    let disk = FailingDisk::new();
    let (log, _) = open(&small(Path::new(DIR)), &disk);
    let (mut fast, slow) = (log.cursor("fast", true).unwrap(), log.cursor("slow", true).unwrap());
    append(&log, 0..9);
    drain(&mut fast);
    assert!(log.forget("slow").is_err(), "it is alive");
    drop(slow);
    log.forget("slow").unwrap();
    append(&log, [9]);
    assert_eq!(log.stats().segments, 1);
    assert_eq!(disk.names(&Path::new(DIR).join("cursors")).len(), 1);
}

#[test]
fn a_retired_cursor_is_shown_as_removed_and_goes_on_where_it_was_when_it_comes_back() {
    let disk = FailingDisk::new();
    let (log, _) = open(&small(Path::new(DIR)), &disk);
    let mut cursor = log.cursor("sink", true).unwrap();
    append(&log, 0..3);
    drain(&mut cursor);
    let place = cursor.position();
    assert_eq!(log.retire("sink").unwrap_err().kind(), std::io::ErrorKind::ResourceBusy);
    drop(cursor);
    log.retire("sink").unwrap();
    log.retire("nobody").unwrap();
    let stats = log.stats();
    assert_eq!((stats.cursors.len(), stats.removed.len(), stats.removed[0].name.as_str()), (0, 1, "sink"));
    append(&log, [3]);
    let cursor = log.cursor("sink", true).unwrap();
    assert_eq!(cursor.position(), place);
    assert!(cursor.waiting() && log.stats().removed.is_empty());
    drop(cursor);
    log.retire("sink").unwrap();
    log.forget("sink").unwrap();
    assert!(log.stats().removed.is_empty());
}

/// Fills a small log to its cap; returns the numbers that were kept.
fn fill(log: &Log) -> (u64, Option<AppendError>) {
    run(async {
        for n in 0..100 {
            if let Err(e) = log.append(2, record(n)).await {
                return (n, Some(e));
            }
        }
        (100, None)
    })
}

#[test]
fn a_required_cursor_makes_the_log_refuse_at_the_cap_until_it_moves() {
    let disk = FailingDisk::new();
    let settings = small(Path::new(DIR));
    let (log, _) = open(&settings, &disk);
    let mut cursor = log.cursor("main", true).unwrap();
    let (kept, refusal) = fill(&log);
    assert!((12..=16).contains(&kept), "{kept}");
    assert!(matches!(refusal, Some(AppendError::Full { retry_after, .. }) if retry_after > Duration::ZERO));
    assert!(log.stats().bytes <= settings.max_size);
    assert_eq!(drain(&mut cursor), (0..kept).collect::<Vec<_>>());
    append(&log, [kept]);
    assert_eq!(drain(&mut cursor), [kept]);
    assert_eq!(log.stats().cursors[0].skipped_points, 0);
}

#[test]
fn when_large_records_are_refused_small_ones_still_find_room() {
    let settings = BufferSettings { max_size: 16 << 20, ..settings(Path::new(DIR)) };
    let (log, _) = open(&settings, &FailingDisk::new());
    let _cursor = log.cursor("main", true).unwrap();
    let text = |kib: usize| Bytes::from(vec![b'x'; kib << 10]);
    let refusal = run(async {
        loop {
            if let Err(refusal) = log.append(1, text(300)).await {
                return refusal;
            }
        }
    });
    assert!(matches!(refusal, AppendError::Full { .. }), "{refusal:?}");
    for _ in 0..4 {
        run(log.append(1, text(100))).unwrap();
    }
    assert!(log.stats().bytes <= settings.max_size);
}

#[test]
fn a_cursor_that_skips_misses_what_waits_and_counts_it_once() {
    let disk = FailingDisk::new();
    let settings = small(Path::new(DIR));
    let (log, _) = open(&settings, &disk);
    let mut cursor = log.cursor("main", true).unwrap();
    let (kept, _) = fill(&log);
    let under_way = run(cursor.next(200)).unwrap();
    assert_eq!(log.skip_to_end("main").unwrap(), 2 * kept);
    assert_eq!(log.skip_to_end("main").unwrap(), 0);
    assert_eq!(log.skip_to_end("other").unwrap_err().kind(), std::io::ErrorKind::NotFound);
    cursor.confirm(Position { seq: under_way.last().unwrap().seq + 1, lines: 0 }).unwrap();
    append(&log, [kept]);
    assert_eq!(drain(&mut cursor), [kept]);
    drop(cursor);
    log.close();
    let (log, _) = open(&settings, &disk);
    let cursor = log.cursor("main", true).unwrap();
    assert_eq!(log.stats().cursors[0].skipped_points, 2 * kept);
    assert_eq!(cursor.behind_points(), 0);
}

#[test]
fn a_cursor_that_is_not_required_is_moved_over_the_oldest_segment() {
    let disk = FailingDisk::new();
    let settings = small(Path::new(DIR));
    let (log, _) = open(&settings, &disk);
    let mut kind = log.cursor("kind", true).unwrap();
    let mut lazy = log.cursor("lazy", false).unwrap();
    lazy.confirm(Position::default()).unwrap();
    for n in 0..100 {
        append(&log, [n]);
        assert_eq!(drain(&mut kind), [n]);
        assert!(log.stats().bytes <= settings.max_size);
    }
    let stats = log.stats();
    let of = |name: &str| stats.cursors.iter().find(|cursor| cursor.name == name).unwrap().clone();
    let got = drain(&mut lazy);
    assert_eq!(of("kind").skipped_points, 0);
    assert_eq!(of("lazy").skipped_points, 2 * (100 - got.len() as u64));
    assert_eq!((of("lazy").behind_records, of("lazy").behind_points), (got.len() as u64, 2 * got.len() as u64));
    assert_eq!(got, (100 - got.len() as u64..100).collect::<Vec<_>>());
}

#[test]
fn with_drop_oldest_even_a_required_cursor_is_moved() {
    let disk = FailingDisk::new();
    let settings = BufferSettings { drop_oldest_at_cap: true, ..small(Path::new(DIR)) };
    let (log, _) = open(&settings, &disk);
    let mut cursor = log.cursor("main", true).unwrap();
    let (kept, refusal) = fill(&log);
    assert!(refusal.is_none() && kept == 100);
    let got = drain(&mut cursor);
    assert_eq!(*got.last().unwrap(), 99);
    assert_eq!(log.stats().cursors[0].skipped_points, 2 * (100 - got.len() as u64));
}

#[test]
fn a_batch_read_before_the_move_does_no_harm_when_confirmed_after_it() {
    let disk = FailingDisk::new();
    let settings = BufferSettings { drop_oldest_at_cap: true, ..small(Path::new(DIR)) };
    let (log, _) = open(&settings, &disk);
    let mut cursor = log.cursor("main", true).unwrap();
    append(&log, 0..3);
    let batch = run(cursor.next(150)).unwrap();
    append(&log, 3..100);
    let moved = cursor.position();
    assert!(moved.seq > batch[0].seq + 1);
    cursor.confirm(behind(&batch[0])).unwrap();
    assert_eq!(cursor.position(), moved);
}

#[test]
fn a_cursor_file_whose_sink_is_not_there_yet_holds_its_segments_at_first() {
    let disk = FailingDisk::new();
    let settings = small(Path::new(DIR));
    let (log, _) = open(&settings, &disk);
    let (mut a, b) = (log.cursor("a", true).unwrap(), log.cursor("b", true).unwrap());
    append(&log, 0..9);
    drain(&mut a);
    drop((a, b, log));
    let (log, _) = open(&settings, &disk.kill());
    let mut a = log.cursor("a", true).unwrap();
    append(&log, [9]);
    drain(&mut a);
    let mut b = log.cursor("b", true).unwrap();
    assert_eq!(drain(&mut b), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_new_cursor_starts_at_the_oldest_record_and_its_place_is_durable() {
    let disk = FailingDisk::new();
    let settings = small(Path::new(DIR));
    let (log, _) = open(&settings, &disk);
    let mut a = log.cursor("a", true).unwrap();
    append(&log, 0..9);
    drain(&mut a);
    append(&log, [9]);
    let b = log.cursor("b", true).unwrap();
    assert_eq!(b.position(), Position { seq: 9, lines: 0 });
    let disk = disk.cut_power(1);
    drop((a, b, log));
    assert!(disk.names(&Path::new(DIR).join("cursors")).contains(&Path::new(DIR).join("cursors/b")));
}

#[test]
fn the_stats_tell_how_far_a_cursor_is_behind() {
    let (disk, log) = fresh();
    let mut cursor = log.cursor("main", true).unwrap();
    append(&log, 0..5);
    cursor.confirm(Position { seq: 3, lines: 0 }).unwrap();
    let check = |log: &Log| {
        let stats = log.stats();
        let main = &stats.cursors[0];
        assert_eq!((main.behind_records, main.behind_points, main.behind_bytes), (3, 6, 3 * FRAME as u64));
        assert!(main.oldest_age.unwrap() < Duration::from_secs(60) && stats.oldest_age == main.oldest_age);
        assert_eq!((stats.next_seq, stats.segments, stats.bytes), (6, 1, (SEGMENT_HEADER + 5 * FRAME) as u64));
    };
    check(&log);
    drop((cursor, log));
    let (log, _) = open(&settings(Path::new(DIR)), &disk.kill());
    let mut cursor = log.cursor("main", true).unwrap();
    check(&log);
    drain(&mut cursor);
    assert_eq!(log.stats().oldest_age, None);
}

#[test]
fn records_synced_by_interval_are_there_after_a_close() {
    let disk = FailingDisk::new();
    let settings = BufferSettings { sync_each_commit: false, ..small(Path::new(DIR)) };
    let (log, _) = open(&settings, &disk);
    append(&log, 0..6);
    log.close();
    let (_log, recovered) = open(&settings, &disk.cut_power(5));
    assert_eq!(recovered.records, 6);
}
