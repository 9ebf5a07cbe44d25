//! `kill -9` while several tasks append: every acknowledged record is there, once and in order.

#[path = "support/buffer.rs"]
mod buffer;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use buffer::*;
use pythond::buffer::disk::RealDisk;
use pythond::buffer::{BufferSettings, Log};

const ROUNDS: u64 = 15;
const TASKS: u64 = 6;
/// Set for the child; its value is the directory.
const CHILD_DIR: &str = "BUFFER_KILL_DIR";
const CHILD_START: &str = "BUFFER_KILL_START";

fn kill_settings(dir: &std::path::Path) -> BufferSettings {
    // Small segments, so that the changes from one to the next are hit too.
    BufferSettings { max_size: 64 << 20, drop_oldest_at_cap: false, sync_each_commit: true, ..settings(dir) }
}

/// The child: appends for ever and says on its output what was acknowledged. Does nothing when run as a test.
#[test]
fn child_that_appends() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let start: u64 = std::env::var(CHILD_START).unwrap().parse().unwrap();
    let (log, _) = open(&kill_settings(dir.as_ref()), &RealDisk);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(append_for_ever(log.clone(), start + task))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

async fn append_for_ever(log: Log, first: u64) {
    for n in (first..).step_by(TASKS as usize) {
        let seq = log.append(1, record(n)).await.unwrap();
        // One write call, so that lines of several tasks do not mix.
        if std::io::stdout().lock().write_all(format!("acked {seq} {n}\n").as_bytes()).is_err() {
            return;
        }
    }
}

/// Runs a child for a while and kills it; returns what it was told is kept.
fn run_and_kill(dir: &std::path::Path, start: u64, patience: Duration) -> Vec<(u64, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_that_appends", "--exact", "--nocapture"])
        .env(CHILD_DIR, dir)
        .env(CHILD_START, start.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut acked = Vec::new();
    let mut line = String::new();
    let mut deadline = None;
    loop {
        line.clear();
        if lines.read_line(&mut line).unwrap() == 0 || !line.ends_with('\n') {
            break;
        }
        acked.extend(parse(&line));
        // The time runs from the first record, not from the start of the process.
        if !acked.is_empty() && *deadline.get_or_insert_with(|| Instant::now() + patience) <= Instant::now() {
            // Killing again what is dead does no harm; the pipe is read to its end.
            let _ = child.kill();
        }
    }
    child.wait().unwrap();
    acked
}

fn parse(line: &str) -> Option<(u64, u64)> {
    let (seq, n) = line.trim_end().rsplit_once("acked ")?.1.split_once(' ')?;
    Some((seq.parse().ok()?, n.parse().ok()?))
}

#[test]
fn every_acknowledged_record_survives_kill_9_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let settings = kill_settings(dir.path());
    drop(open(&settings, &RealDisk).0.cursor("main", true).unwrap());
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    let mut total = 0;
    for round in 0..ROUNDS {
        let start = round * 1_000_000_000;
        let patience = Duration::from_micros(u64::from(clock).wrapping_mul(round + 1) % 60_000);
        let acked = run_and_kill(dir.path(), start, patience);
        assert!(!acked.is_empty(), "round {round}: the child appended nothing");
        total += acked.len();

        let (log, recovered) = open(&settings, &RealDisk);
        assert_eq!(recovered.lost_records, 0, "round {round}: {recovered:?}");
        let found = entries(&mut log.cursor("main", true).unwrap());
        assert!(found.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq));
        let mut numbers: Vec<u64> = found.iter().map(|entry| number(&entry.bytes)).collect();
        for (seq, n) in acked {
            let at = found
                .binary_search_by_key(&seq, |entry| entry.seq)
                .unwrap_or_else(|_| panic!("round {round}: record {seq} is lost"));
            assert_eq!(numbers[at], n, "round {round}: record {seq} is another one");
        }
        numbers.sort_unstable();
        assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "round {round}: a record is there twice");
        assert!(numbers.iter().all(|n| *n >= start), "round {round}: a record of an earlier round came again");
    }
    eprintln!("{ROUNDS} kills, {total} acknowledged records, none lost");
}
