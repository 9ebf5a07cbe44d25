//! Any damage to the buffer's files: it opens, gives only records that were kept, in order, takes new ones, and the next start finds the same.
//!
//! The first byte chooses: 0 puts the rest in place of the middle segment; else the rest is a list of changes of four bytes each
//! (what, offset of two bytes, value) to the three segments of a log.
#![no_main]

#[path = "../../tests/support/buffer.rs"]
mod buffer;
#[path = "../../tests/support/failing_disk.rs"]
mod failing_disk;

use std::path::Path;

use buffer::{SEGMENT_HEADER, append, entries, open, record, segment, small};
use failing_disk::FailingDisk;
use libfuzzer_sys::fuzz_target;
use pythond::buffer::LoggedRecord;

const DIR: &str = "/buffer";
/// First numbers of the segments, which hold four, four and two records.
const SEGMENTS: [u64; 3] = [1, 5, 9];

fn change(bytes: &mut Vec<u8>, what: u8, offset: usize, value: u8) {
    let at = offset % (bytes.len() + 1);
    match what % 5 {
        0 if at < bytes.len() => bytes[at] ^= value | 1,
        1 => bytes.truncate(at),
        2 => bytes.insert(at, value),
        3 => drop(bytes.drain(at..(at + usize::from(value)).min(bytes.len()))),
        _ => bytes.extend(std::iter::repeat_n(value, offset % 300)),
    }
}

/// Records are what they were, and each number grows.
fn are_true(found: &[LoggedRecord]) {
    assert!(found.windows(2).all(|pair| pair[0].seq < pair[1].seq), "out of order");
    for entry in found.iter().filter(|entry| entry.seq <= 10) {
        assert_eq!(entry.bytes, record(entry.seq - 1));
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&how, rest)) = input.split_first() else { return };
    let (disk, settings) = (FailingDisk::new(), small(Path::new(DIR)));
    let (log, _) = open(&settings, &disk);
    // It holds every segment, whatever the others confirm.
    drop(log.cursor("main", true).unwrap());
    append(&log, 0..10);
    log.close();
    drop(log);
    if how == 0 {
        disk.edit(&segment(Path::new(DIR), SEGMENTS[1]), |bytes| {
            bytes.truncate(SEGMENT_HEADER);
            bytes.extend_from_slice(rest);
        });
    } else {
        for step in rest.chunks_exact(4).take(16) {
            let path = segment(Path::new(DIR), SEGMENTS[usize::from(step[0] >> 4) % 3]);
            let offset = usize::from(u16::from_le_bytes([step[1], step[2]]));
            disk.edit(&path, |bytes| change(bytes, step[0], offset, step[3]));
        }
    }
    let (log, _) = open(&settings, &disk);
    let before = entries(&mut log.cursor("first", false).unwrap());
    are_true(&before);
    append(&log, [77]);
    log.close();
    drop(log);
    let (log, recovered) = open(&settings, &disk);
    let after = entries(&mut log.cursor("second", false).unwrap());
    assert_eq!(after.len(), before.len() + 1, "{recovered:?}");
    assert!(before.iter().zip(&after).all(|(one, other)| one.seq == other.seq && one.bytes == other.bytes));
    assert_eq!(after.last().unwrap().bytes, record(77));
});
