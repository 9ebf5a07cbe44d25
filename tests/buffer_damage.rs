//! One test for each way in which the buffer's files can be wrong at a start, or become wrong while it runs.

#[path = "support/buffer.rs"]
mod buffer;
#[path = "support/failing_disk.rs"]
mod failing_disk;

use std::path::{Path, PathBuf};

use buffer::*;
use failing_disk::{Call, ENOSPC, FailingDisk, Fault};
use pythond::buffer::{BufferSettings, Log, Position, Recovered};

/// A log of three segments with four, four and two records (0 to 9) that no sink has had, closed.
struct Case {
    disk: FailingDisk,
    settings: BufferSettings,
}

fn dir() -> PathBuf {
    PathBuf::from("/buffer")
}

fn case() -> Case {
    let case = Case { disk: FailingDisk::new(), settings: small(&dir()) };
    let (log, _) = open(&case.settings, &case.disk);
    drop(log.cursor("main", true).unwrap());
    append(&log, 0..10);
    log.close();
    assert_eq!(log.stats().segments, 3);
    case
}

impl Case {
    fn edit(&self, first_seq: u64, change: impl FnOnce(&mut Vec<u8>)) -> &Case {
        self.disk.edit(&segment(&dir(), first_seq), change);
        self
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> &Case {
        use pythond::buffer::disk::Disk;
        self.disk.create(path).unwrap().write_at(bytes, 0).unwrap();
        self
    }

    /// Opens, reads all, appends one more, opens again: what is kept must be the same and the new record behind it.
    fn recovers_to(&self, expected: &[u64]) -> Recovered {
        let (log, recovered) = open(&self.settings, &self.disk);
        assert_eq!(recovered.records, expected.len() as u64);
        let mut cursor = log.cursor("probe", false).unwrap();
        assert_eq!(drain(&mut cursor), expected);
        let before = log.stats().next_seq;
        assert_eq!(append(&log, [77]), [before]);
        assert_eq!(drain(&mut cursor), [77]);
        drop(cursor);
        log.close();
        let (log, _) = open(&self.settings, &self.disk);
        let expected: Vec<u64> = expected.iter().copied().chain([77]).collect();
        assert_eq!(drain(&mut log.cursor("main", true).unwrap()), expected);
        recovered
    }

    fn set_aside(&self) -> usize {
        self.disk.names(&dir().join("set_aside")).len()
    }
}

fn frame(n: usize) -> usize {
    SEGMENT_HEADER + n * FRAME
}

#[test]
fn a_flipped_byte_in_a_payload_costs_that_record_only() {
    let case = case();
    let recovered = case.edit(1, |bytes| bytes[frame(1) + 60] ^= 1).recovers_to(&[0, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!((recovered.lost_records, recovered.set_aside.len()), (1, 1));
    assert_eq!(case.set_aside(), 1, "the second start copies nothing again");
}

#[test]
fn a_flipped_byte_in_a_length_costs_that_record_only() {
    for flip in [1, 1 << 3, 1 << 7] {
        for byte in 0..4 {
            case().edit(5, |bytes| bytes[frame(2) + byte] ^= flip).recovers_to(&[0, 1, 2, 3, 4, 5, 7, 8, 9]);
        }
    }
}

#[test]
fn a_flipped_byte_in_a_frame_header_costs_that_record_only() {
    for byte in 4..24 {
        case().edit(5, |bytes| bytes[frame(0) + byte] ^= 0x10).recovers_to(&[0, 1, 2, 3, 5, 6, 7, 8, 9]);
    }
}

#[test]
fn a_flipped_byte_in_a_segment_header_costs_nothing() {
    for byte in 0..SEGMENT_HEADER {
        for first_seq in [1, 5, 9] {
            let recovered = case().edit(first_seq, |bytes| bytes[byte] ^= 4).recovers_to(&(0..10).collect::<Vec<_>>());
            assert_eq!((recovered.lost_records, recovered.set_aside.len()), (0, 1));
        }
    }
}

#[test]
fn a_damaged_last_record_is_set_aside_and_cut_off() {
    let case = case();
    let recovered = case.edit(9, |bytes| bytes[frame(1) + 50] ^= 1).recovers_to(&[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(recovered.set_aside[0].1.contains("tail"), "{recovered:?}");
}

#[test]
fn a_cut_tail_costs_what_was_cut() {
    for cut in 1..FRAME {
        let case = case();
        case.edit(9, |bytes| bytes.truncate(bytes.len() - cut)).recovers_to(&[0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(case.set_aside(), 1);
    }
}

#[test]
fn a_cut_older_segment_costs_what_was_cut() {
    let recovered = case().edit(5, |bytes| bytes.truncate(frame(2) + 10)).recovers_to(&[0, 1, 2, 3, 4, 5, 8, 9]);
    assert_eq!(recovered.lost_records, 2);
}

#[test]
fn a_segment_cut_within_its_header_is_set_aside() {
    case().edit(9, |bytes| bytes.truncate(20)).recovers_to(&[0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn zeros_behind_the_records_are_room_and_are_cut_off() {
    for zeros in [1, 23, 24, 5000] {
        for first_seq in [1, 9] {
            let case = case();
            let edited = case.edit(first_seq, |bytes| bytes.extend(vec![0; zeros]));
            let recovered = edited.recovers_to(&(0..10).collect::<Vec<_>>());
            assert_eq!((case.set_aside(), recovered.lost_records), (0, 0));
        }
    }
}

#[test]
fn a_torn_record_before_the_room_is_set_aside_without_the_room() {
    let case = case();
    case.edit(9, |bytes| {
        let end = bytes.len();
        bytes[end - 50..].fill(0);
        bytes.extend(vec![0; 5000]);
    });
    let recovered = case.recovers_to(&[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let [(copy, _)] = recovered.set_aside.as_slice() else { panic!("{recovered:?}") };
    case.disk.edit(copy, |bytes| assert_eq!(bytes.len(), FRAME - 50));
}

#[test]
fn a_garbage_tail_is_set_aside_and_costs_nothing() {
    let garbage: Vec<u8> = (0..3000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    case().edit(9, |bytes| bytes.extend(&garbage)).recovers_to(&(0..10).collect::<Vec<_>>());
}

#[test]
fn a_zeroed_range_in_the_middle_costs_the_records_in_it() {
    case().edit(1, |bytes| bytes[frame(1) + 3..frame(2) + 90].fill(0)).recovers_to(&[0, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_missing_segment_is_jumped_over_and_counted() {
    let case = case();
    case.disk.remove(&segment(&dir(), 5));
    let recovered = case.recovers_to(&[0, 1, 2, 3, 8, 9]);
    assert_eq!(recovered.lost_records, 4);
    assert!(recovered.notes.iter().any(|note| note == "records 5 to 8 are missing"), "{recovered:?}");
}

#[test]
fn an_empty_segment_is_set_aside() {
    for first_seq in [5, 9] {
        let case = case();
        case.edit(first_seq, Vec::clear);
        let expected: Vec<u64> = if first_seq == 5 { vec![0, 1, 2, 3, 8, 9] } else { (0..8).collect() };
        case.recovers_to(&expected);
        assert_eq!(case.set_aside(), 1);
    }
}

#[test]
fn a_zero_filled_segment_is_set_aside() {
    let case = case();
    let recovered = case.edit(9, |bytes| bytes.fill(0)).recovers_to(&(0..8).collect::<Vec<_>>());
    assert!(recovered.set_aside[0].1.contains("zeros"));
}

#[test]
fn a_file_with_another_magic_is_set_aside_and_hides_nothing() {
    let case = case();
    let recovered = case
        .put(&segment(&dir(), 3), b"#!/bin/sh\necho this is a script that somebody misnamed\n")
        .recovers_to(&(0..10).collect::<Vec<_>>());
    assert_eq!(recovered.set_aside.len(), 1);
    assert_eq!(case.set_aside(), 1);
}

#[test]
fn a_segment_of_a_later_version_is_set_aside_whole() {
    let case = case();
    let version_two = |bytes: &mut Vec<u8>| {
        bytes[8] = 2;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..32]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    };
    let recovered = case.edit(9, version_two).recovers_to(&(0..8).collect::<Vec<_>>());
    assert!(recovered.set_aside[0].1.contains("later version"));
    let (log, _) = open(&case.settings, &case.disk);
    assert!(log.stats().next_seq > 11, "numbers that the later version has used do not come again");
}

#[test]
fn a_renamed_segment_is_set_aside() {
    use pythond::buffer::disk::Disk;
    let case = case();
    case.disk.rename(&segment(&dir(), 9), &segment(&dir(), 20)).unwrap();
    case.recovers_to(&(0..8).collect::<Vec<_>>());
}

#[test]
fn foreign_files_are_left_alone() {
    let case = case();
    let log = dir().join("log");
    for name in ["notes.txt", "1.log", "18446744073709551615.log", "0000000000000000000x.log"] {
        case.put(&log.join(name), b"mine");
    }
    let recovered = case.recovers_to(&(0..10).collect::<Vec<_>>());
    assert_eq!(recovered.notes.len(), 4, "{recovered:?}");
    assert!(case.disk.names(&log).contains(&log.join("notes.txt")));
}

#[test]
fn a_segment_full_of_damage_is_copied_a_bounded_number_of_times() {
    let case = Case { disk: FailingDisk::new(), settings: settings(&dir()) };
    let (log, _) = open(&case.settings, &case.disk);
    drop(log.cursor("main", true).unwrap());
    append(&log, 0..100);
    log.close();
    case.edit(1, |bytes| (0..100).step_by(2).for_each(|n| bytes[frame(n) + 40] ^= 1));
    let recovered = case.recovers_to(&(0..100).skip(1).step_by(2).collect::<Vec<_>>());
    assert_eq!((recovered.lost_records, case.set_aside()), (50, 16));
}

#[test]
fn damage_that_cannot_be_copied_is_left_where_it_is_and_the_file_is_never_deleted() {
    let case = case();
    case.edit(1, |bytes| bytes[frame(1) + 60] ^= 1).edit(9, |bytes| bytes.truncate(frame(1) + 30));
    let aside = dir().join("set_aside");
    case.disk.fail_below(&aside, Call::Write, 0, u64::MAX, Fault::Torn(0, ENOSPC));
    let (log, recovered) = open(&case.settings, &case.disk);
    assert_eq!((recovered.set_aside.len(), case.set_aside()), (0, 0));
    assert_eq!(recovered.notes.len(), 2, "{recovered:?}");
    let mut cursor = log.cursor("main", true).unwrap();
    assert_eq!(drain(&mut cursor), [0, 2, 3, 4, 5, 6, 7, 8]);
    append(&log, [50, 51]);
    assert_eq!(drain(&mut cursor), [50, 51]);
    append(&log, [52]);
    assert_eq!(case.disk.names(&aside).len(), 2, "both damaged segments went there when they were no longer needed");
}

/// Found by the fuzz target `frame`: reading on over the damage never came to an end.
#[test]
fn a_segment_that_begins_with_an_earlier_record_is_read_over() {
    let case = case();
    case.edit(1, |bytes| {
        let at = 20_481 % (bytes.len() + 1);
        bytes[at] ^= 81;
        let at = 4_100 % (bytes.len() + 1);
        bytes.remove(at);
        bytes[48] ^= 1;
    });
    case.edit(5, |bytes| drop(bytes.drain(9..257))).edit(9, Vec::clear);
    let (log, _) = open(&case.settings, &case.disk);
    drain(&mut log.cursor("first", false).unwrap());
    append(&log, [77]);
    log.close();
    drop(log);
    let (log, _) = open(&case.settings, &case.disk);
    assert_eq!(drain(&mut log.cursor("second", false).unwrap()).last(), Some(&77));
}

fn cursor_file() -> PathBuf {
    dir().join("cursors/main")
}

fn at_record_four() -> Case {
    let case = case();
    let (log, _) = open(&case.settings, &case.disk);
    log.cursor("main", true).unwrap().confirm(Position { seq: 5, lines: 0 }).unwrap();
    log.close();
    case
}

fn read_main(case: &Case) -> (Vec<u64>, Recovered) {
    let (log, recovered) = open(&case.settings, &case.disk);
    (drain(&mut log.cursor("main", true).unwrap()), recovered)
}

#[test]
fn a_good_cursor_file_resumes() {
    let (read, recovered) = read_main(&at_record_four());
    assert_eq!(read, (4..10).collect::<Vec<_>>());
    assert!(recovered.set_aside.is_empty());
}

#[test]
fn a_damaged_cursor_file_means_sending_again() {
    let len = {
        let mut len = 0;
        at_record_four().disk.edit(&cursor_file(), |bytes| len = bytes.len());
        len
    };
    for byte in 0..len {
        let case = at_record_four();
        case.disk.edit(&cursor_file(), |bytes| bytes[byte] ^= 1);
        let (read, recovered) = read_main(&case);
        assert_eq!(*read.last().unwrap(), 9);
        assert!(read.len() >= 6 && recovered.set_aside.len() == 1, "byte {byte}: {recovered:?}");
    }
}

#[test]
fn a_sink_with_a_damaged_cursor_file_loses_nothing_to_a_faster_one_that_registers_first() {
    let case = case();
    case.disk.edit(&cursor_file(), |bytes| bytes[3] ^= 1);
    for _ in 0..2 {
        let (log, _) = open(&case.settings, &case.disk);
        drain(&mut log.cursor("fast", true).unwrap());
        append(&log, [50]);
        log.close();
    }
    assert_eq!(read_main(&case).0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 50, 50]);
}

#[test]
fn a_cut_or_empty_or_huge_cursor_file_means_sending_again() {
    for len in [0, 1, 10, 30, 5000] {
        let case = at_record_four();
        case.disk.edit(&cursor_file(), |bytes| bytes.resize(len, b' '));
        let (read, recovered) = read_main(&case);
        assert!(read.len() >= 6 && recovered.set_aside.len() == 1, "{recovered:?}");
    }
}

#[test]
fn a_lost_log_goes_on_behind_the_farthest_cursor() {
    let case = at_record_four();
    for first_seq in [1, 5, 9] {
        if case.disk.names(&dir().join("log")).contains(&segment(&dir(), first_seq)) {
            case.disk.remove(&segment(&dir(), first_seq));
        }
    }
    let (log, recovered) = open(&case.settings, &case.disk);
    assert!(recovered.notes.iter().any(|note| note.contains("beyond the end")), "{recovered:?}");
    let mut cursor = log.cursor("main", true).unwrap();
    assert!(!cursor.waiting());
    assert_eq!(append(&log, [90]), [5]);
    assert_eq!(drain(&mut cursor), [90]);
    assert_eq!(log.stats().cursors[0].skipped_points, 0);
}

#[test]
fn a_place_within_a_lost_record_does_not_cut_its_successor() {
    let case = case();
    let (log, _) = open(&case.settings, &case.disk);
    log.cursor("main", true).unwrap().confirm(Position { seq: 10, lines: 1 }).unwrap();
    log.close();
    case.edit(9, |bytes| bytes.truncate(frame(1)));
    let (log, _) = open(&case.settings, &case.disk);
    let mut cursor = log.cursor("main", true).unwrap();
    assert_eq!(append(&log, [90]), [11]);
    assert_eq!(cursor.position(), Position { seq: 11, lines: 0 });
    assert_eq!(drain(&mut cursor), [90]);
}

/// A log that runs, with a cursor at its start.
fn running() -> (Case, Log, pythond::buffer::Cursor) {
    let case = case();
    let (log, _) = open(&case.settings, &case.disk);
    let cursor = log.cursor("main", true).unwrap();
    (case, log, cursor)
}

#[test]
fn damage_that_comes_while_the_log_runs_is_stepped_over_and_counted_once() {
    let (case, log, mut cursor) = running();
    case.edit(1, |bytes| bytes[frame(1) + 60] ^= 1).edit(5, |bytes| bytes[frame(0) + 9] ^= 1);
    assert_eq!(run(cursor.next(1000)).unwrap().len(), 1, "a batch ends before a gap");
    assert_eq!(run(cursor.next(1000)).unwrap().len(), 1);
    assert_eq!(drain(&mut cursor), [0, 2, 3, 5, 6, 7, 8, 9]);
    assert_eq!(log.stats().cursors[0].skipped_points, 2 + 1, "the second record's own header is damaged: one at least");
}

#[test]
fn a_damaged_end_while_the_log_runs_blocks_nobody() {
    let (case, log, mut cursor) = running();
    case.edit(9, |bytes| bytes[frame(1) + 60] ^= 1);
    assert_eq!(drain(&mut cursor), (0..9).collect::<Vec<_>>());
    append(&log, [50]);
    assert_eq!(drain(&mut cursor), [50]);
}

#[test]
fn a_segment_removed_while_the_log_runs_is_stepped_over_and_counted() {
    let (case, log, mut cursor) = running();
    case.disk.remove(&segment(&dir(), 5));
    assert_eq!(drain(&mut cursor), [0, 1, 2, 3, 8, 9]);
    assert_eq!(log.stats().cursors[0].skipped_points, 8);
    append(&log, 50..60);
    assert_eq!(drain(&mut cursor), (50..60).collect::<Vec<_>>());
}
