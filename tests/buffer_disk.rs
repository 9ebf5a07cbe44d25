//! A full disk, a read-only one, I/O errors and failed syncs: nothing acknowledged is lost, and the log works again by itself.

#[path = "support/buffer.rs"]
mod buffer;
#[path = "support/failing_disk.rs"]
mod failing_disk;
#[path = "support/machine.rs"]
mod machine;

use std::io;
use std::path::PathBuf;

use buffer::*;
use failing_disk::{Call, EIO, ENOSPC, EROFS, FailingDisk, Fault};
use machine::SmallDisk;
use pythond::buffer::disk::RealDisk;
use pythond::buffer::{AppendError, BufferSettings, Log, OpenError};

fn dir() -> PathBuf {
    PathBuf::from("/buffer")
}

fn log_dir() -> PathBuf {
    dir().join("log")
}

fn running(settings: &BufferSettings) -> (FailingDisk, Log) {
    let disk = FailingDisk::new();
    let (log, _) = open(settings, &disk);
    drop(log.cursor("main", true).unwrap());
    (disk, log)
}

fn try_append(log: &Log, n: u64) -> Result<u64, AppendError> {
    run(log.append(2, record(n)))
}

fn read_all(log: &Log) -> Vec<u64> {
    drain(&mut log.cursor("main", true).unwrap())
}

fn after_a_power_cut(settings: &BufferSettings, disk: &FailingDisk, log: Log) -> Vec<u64> {
    let disk = disk.cut_power(77);
    drop(log);
    read_all(&open(settings, &disk).0)
}

fn errno(result: Result<u64, AppendError>) -> Option<i32> {
    match result {
        Err(AppendError::Disk(e)) => e.raw_os_error(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failed_write_keeps_nothing_and_the_next_append_works() {
    for fault in
        [Fault::Errno(EIO), Fault::Errno(EROFS), Fault::Torn(0, ENOSPC), Fault::Torn(50, ENOSPC), Fault::Torn(123, EIO)]
    {
        let (disk, log) = running(&settings(&dir()));
        append(&log, 0..2);
        disk.fail_below(&log_dir(), Call::Write, 0, 1, fault);
        errno(try_append(&log, 66));
        assert_eq!(append(&log, [2]), [3], "the number was not used up");
        assert_eq!(read_all(&log), [0, 1, 2]);
        assert_eq!(after_a_power_cut(&settings(&dir()), &disk, log), [] as [u64; 0], "all were confirmed");
    }
}

#[test]
fn a_short_write_is_carried_on() {
    let (disk, log) = running(&settings(&dir()));
    disk.fail_below(&log_dir(), Call::Write, 0, 3, Fault::Short(10));
    append(&log, 0..3);
    assert_eq!(after_a_power_cut(&settings(&dir()), &disk, log), [0, 1, 2]);
}

#[test]
fn what_cannot_be_cut_off_after_a_failed_write_ends_the_segment() {
    let (disk, log) = running(&settings(&dir()));
    append(&log, 0..2);
    disk.fail_below(&log_dir(), Call::Write, 0, 1, Fault::Torn(60, EIO));
    disk.fail_below(&log_dir(), Call::Truncate, 0, 1, Fault::Errno(EIO));
    errno(try_append(&log, 66));
    append(&log, 2..4);
    assert_eq!(log.stats().segments, 2);
    assert_eq!(after_a_power_cut(&settings(&dir()), &disk, log), [0, 1, 2, 3]);
}

#[test]
fn a_full_disk_refuses_and_takes_again_when_there_is_room() {
    let (disk, log) = running(&settings(&dir()));
    append(&log, 0..3);
    for room in 0..2 * FRAME as u64 {
        disk.limit_space(Some(disk.used() + room));
        let kept = (0..3).take_while(|_| try_append(&log, 1000 + room).is_ok()).count();
        assert!(kept < 3, "{room} bytes of room");
        assert!(matches!(try_append(&log, 66), Err(AppendError::Disk(_) | AppendError::Full { .. })));
        disk.limit_space(None);
        let got = read_all(&log);
        assert!(!got.contains(&66));
        append(&log, [5000 + room]);
        assert_eq!(read_all(&log), [5000 + room]);
    }
}

#[test]
fn passed_segments_go_also_when_the_disk_is_full() {
    let (disk, log) = running(&small(&dir()));
    append(&log, 0..9);
    disk.limit_space(Some(disk.used()));
    assert_eq!(errno(try_append(&log, 9)), Some(ENOSPC));
    let mut cursor = log.cursor("main", true).unwrap();
    // The cursor's own file may find no room, if the segments go a moment later; its place stands.
    let batch = run(cursor.next(1 << 20)).unwrap();
    if let Err(e) = cursor.confirm(behind(batch.last().unwrap())) {
        assert_eq!(e.raw_os_error(), Some(ENOSPC));
    }
    assert!(!cursor.waiting());
    assert_eq!(append(&log, [9]), [10]);
    assert_eq!(drain(&mut cursor), [9]);
}

#[test]
fn a_failed_sync_writes_the_record_again_into_a_new_segment() {
    let (disk, log) = running(&settings(&dir()));
    append(&log, 0..2);
    disk.fail_below(&log_dir(), Call::Sync, 0, 1, Fault::Errno(EIO));
    assert_eq!(append(&log, 2..4), [3, 4]);
    let stats = log.stats();
    assert_eq!((stats.segments, stats.poisoned), (2, None));
    assert_eq!(after_a_power_cut(&settings(&dir()), &disk, log), [0, 1, 2, 3], "the first file's bytes were gone");
}

#[test]
fn the_very_first_sync_may_fail() {
    let (disk, log) = running(&settings(&dir()));
    disk.fail_below(&log_dir(), Call::Sync, 0, 1, Fault::Errno(EIO));
    append(&log, 0..2);
    assert_eq!(log.stats().segments, 1, "the new one took the name");
    assert_eq!(after_a_power_cut(&settings(&dir()), &disk, log), [0, 1]);
}

#[test]
fn two_failed_syncs_poison_the_log_and_what_was_kept_is_still_delivered() {
    let (disk, log) = running(&settings(&dir()));
    append(&log, 0..2);
    disk.fail_below(&log_dir(), Call::Sync, 0, 2, Fault::Errno(EIO));
    assert!(matches!(try_append(&log, 66), Err(AppendError::Poisoned(_))));
    assert!(matches!(try_append(&log, 67), Err(AppendError::Poisoned(_))), "it is not tried again at once");
    assert!(log.stats().poisoned.is_some());
    assert_eq!(read_all(&log), [0, 1]);
    drop(log);
    let (log, _) = open(&settings(&dir()), &disk);
    assert_eq!(log.stats().poisoned, None);
    append(&log, [2]);
    let read = read_all(&log);
    assert_eq!(read.last(), Some(&2));
}

#[test]
fn a_directory_that_cannot_be_synced_acknowledges_nothing() {
    let (disk, log) = running(&settings(&dir()));
    disk.fail_below(&log_dir(), Call::SyncDir, 0, 2, Fault::Errno(EIO));
    assert!(matches!(try_append(&log, 66), Err(AppendError::Poisoned(_))));
    let disk = disk.kill();
    drop(log);
    let (log, _) = open(&settings(&dir()), &disk);
    append(&log, 0..2);
    assert_eq!(after_a_power_cut(&settings(&dir()), &disk, log).last(), Some(&1));
}

#[test]
fn a_segment_whose_name_was_not_made_durable_is_not_trusted_by_the_next_start() {
    let (disk, log) = running(&settings(&dir()));
    disk.fail_below(&log_dir(), Call::SyncDir, 0, 2, Fault::Errno(EIO));
    assert!(try_append(&log, 66).is_err());
    log.close();
    let (log, _) = open(&settings(&dir()), &disk);
    append(&log, [0]);
    for seed in 0..20 {
        // All cuts start from the same state: what is durable does not change by a cut.
        let disk = disk.cut_power(seed);
        let (log, _) = open(&settings(&dir()), &disk);
        let mut probe = log.cursor(&format!("probe {seed}"), false).unwrap();
        assert!(drain(&mut probe).contains(&0));
    }
}

#[test]
fn numbers_go_on_when_only_an_empty_segment_is_left() {
    let (disk, log) = running(&small(&dir()));
    append(&log, 0..5);
    read_all(&log);
    append(&log, 5..6);
    log.close();
    disk.edit(&segment(&dir(), 5), Vec::clear);
    disk.remove(&dir().join("cursors/main"));
    let (log, _) = open(&small(&dir()), &disk);
    assert!(append(&log, [6])[0] >= 5);
}

fn by_interval() -> BufferSettings {
    BufferSettings { sync_each_commit: false, ..small(&dir()) }
}

#[test]
fn a_sync_by_interval_that_fails_writes_all_it_should_have_kept_again() {
    // The third record fills the segment; the change to the next one syncs it.
    let (disk, log) = running(&by_interval());
    disk.fail_below(&log_dir(), Call::Sync, 0, 1, Fault::Errno(EIO));
    append(&log, 0..6);
    log.close();
    assert_eq!(after_a_power_cut(&by_interval(), &disk, log), (0..6).collect::<Vec<_>>());
}

#[test]
fn a_sync_that_fails_at_the_close_is_made_good_before_the_log_is_closed() {
    for seed in 0..10 {
        let (disk, log) = running(&by_interval());
        append(&log, 0..3);
        disk.fail_below(&log_dir(), Call::Sync, 0, 1, Fault::Errno(EIO));
        log.close();
        let (log, _) = open(&by_interval(), &disk.cut_power(seed));
        assert_eq!(read_all(&log), [0, 1, 2], "seed {seed}");
    }
}

#[test]
fn a_reader_in_the_middle_of_what_is_written_again_misses_nothing() {
    let (disk, log) = running(&by_interval());
    append(&log, 0..3);
    let mut cursor = log.cursor("main", true).unwrap();
    let batch = run(cursor.next(150)).unwrap();
    cursor.confirm(behind(&batch[0])).unwrap();
    disk.fail_below(&log_dir(), Call::Sync, 0, 1, Fault::Errno(EIO));
    append(&log, 3..6);
    assert_eq!(drain(&mut cursor), [1, 2, 3, 4, 5]);
    assert_eq!(log.stats().cursors[0].skipped_points, 0);
}

#[test]
fn a_read_error_is_told_and_passes() {
    let (disk, log) = running(&settings(&dir()));
    append(&log, 0..3);
    let mut cursor = log.cursor("main", true).unwrap();
    disk.fail_below(&log_dir(), Call::Read, 0, 1, Fault::Errno(EIO));
    assert!(run(cursor.next(1000)).is_err());
    assert_eq!(drain(&mut cursor), [0, 1, 2]);
}

#[test]
fn a_segment_that_cannot_be_read_at_the_start_is_kept() {
    let (disk, log) = running(&small(&dir()));
    append(&log, 0..10);
    drop(log);
    disk.fail_below(&segment(&dir(), 5), Call::Read, 2, 3, Fault::Errno(EIO));
    let (log, recovered) = open(&small(&dir()), &disk);
    assert_eq!((recovered.records, recovered.notes.len()), (6, 2), "{recovered:?}");
    assert_eq!(read_all(&log), [0, 1, 2, 3, 8, 9]);
    append(&log, [10]);
    assert_eq!(disk.names(&dir().join("set_aside")), [dir().join("set_aside/00000000000000000005.log.bad")]);
}

#[test]
fn a_directory_that_cannot_be_written_is_told_at_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let below_a_file = settings(&file.path().join("buffer"));
    let opened = Log::open(below_a_file, std::sync::Arc::new(RealDisk));
    assert!(matches!(opened, Err(OpenError::Io { .. })));
}

#[test]
fn a_real_full_disk_refuses_and_takes_again_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(dir.path(), "size=1m") else { return };
    let ballast = dir.path().join("ballast");
    std::fs::write(&ballast, vec![1; 512 << 10]).unwrap();
    let settings = settings(&dir.path().join("buffer"));
    let (log, _) = open(&settings, &RealDisk);
    let mut kept = Vec::new();
    let refused = loop {
        match try_append(&log, kept.len() as u64) {
            Ok(_) => kept.push(kept.len() as u64),
            Err(e) => break e,
        }
    };
    let AppendError::Disk(e) = refused else { panic!("{refused:?}") };
    assert_eq!(e.kind(), io::ErrorKind::StorageFull);
    std::fs::remove_file(ballast).unwrap();
    append(&log, [kept.len() as u64]);
    kept.push(kept.len() as u64);
    drop(log);
    let (log, recovered) = open(&settings, &RealDisk);
    assert!(recovered.set_aside.is_empty(), "{recovered:?}");
    assert_eq!(read_all(&log), kept);
}

#[test]
fn a_real_disk_that_becomes_read_only_refuses_and_takes_again_after() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path(), "size=1m") else { return };
    let settings = small(&dir.path().join("buffer"));
    let (log, _) = open(&settings, &RealDisk);
    append(&log, 0..4);
    log.close();
    disk.remount("ro");
    let opened = Log::open(settings.clone(), std::sync::Arc::new(RealDisk));
    assert!(matches!(opened, Err(OpenError::Io { .. })));
    disk.remount("rw");
    let (log, _) = open(&settings, &RealDisk);
    append(&log, [4]);
    assert_eq!(read_all(&log), [0, 1, 2, 3, 4]);
}
