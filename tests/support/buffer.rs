//! What the buffer's tests share: settings, records that can be told apart, reading a cursor to its end.

#![allow(dead_code)]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use pythond::buffer::disk::Disk;
use pythond::buffer::{BufferSettings, Cursor, Log, LoggedRecord, Position, Recovered};

pub fn settings(dir: &Path) -> BufferSettings {
    BufferSettings { dir: dir.to_path_buf(), max_size: 1 << 30, drop_oldest_at_cap: false, sync_each_commit: true }
}

/// Settings under which a segment takes four records of [`record`] size.
pub fn small(dir: &Path) -> BufferSettings {
    BufferSettings { max_size: 4 * (32 + 4 * (24 + 100)), ..settings(dir) }
}

pub fn open(settings: &BufferSettings, disk: &(impl Disk + Clone + 'static)) -> (Log, Recovered) {
    Log::open(settings.clone(), Arc::new(disk.clone())).unwrap()
}

/// 100 bytes that name the record.
pub fn record(n: u64) -> Bytes {
    format!("record {n:093}").into()
}

pub fn number(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).unwrap().strip_prefix("record ").unwrap().parse().unwrap()
}

pub fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Appends records one by one, each its own commit.
pub fn append(log: &Log, numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
    run(async {
        let mut seqs = Vec::new();
        for n in numbers {
            seqs.push(log.append(2, record(n)).await.unwrap());
        }
        seqs
    })
}

pub fn behind(entry: &LoggedRecord) -> Position {
    Position { seq: entry.seq + 1, lines: 0 }
}

/// Reads and confirms all there is, returns the records' own numbers. A loss at the very end leaves nothing to wait for.
pub fn drain(cursor: &mut Cursor) -> Vec<u64> {
    entries(cursor).iter().map(|entry| number(&entry.bytes)).collect()
}

pub fn entries(cursor: &mut Cursor) -> Vec<LoggedRecord> {
    let mut all = Vec::new();
    run(async {
        while cursor.waiting() {
            let batch = tokio::time::timeout(std::time::Duration::from_secs(1), cursor.next(350)).await;
            let Ok(batch) = batch else {
                assert!(!cursor.waiting(), "records wait and are not given");
                break;
            };
            let batch = batch.unwrap();
            assert!(batch.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq), "a batch has a gap");
            assert_eq!(batch[0].seq, cursor.position().seq, "a batch starts elsewhere");
            cursor.confirm(behind(batch.last().unwrap())).unwrap();
            all.extend(batch);
        }
    });
    all
}

pub fn segment(dir: &Path, first_seq: u64) -> PathBuf {
    dir.join("log").join(format!("{first_seq:020}.log"))
}

pub const SEGMENT_HEADER: usize = 32;
pub const FRAME: usize = 24 + 100;
