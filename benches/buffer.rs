//! What an acknowledged append costs, beside a plain write and fdatasync of the same bytes.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use pythond::buffer::disk::RealDisk;
use pythond::buffer::{BufferSettings, Log};
use tokio::runtime::Runtime;

/// The plain file starts again from here, so that it grows no further than a segment.
const PLAIN_END: u64 = 64 << 20;

fn append_and_commit(c: &mut Criterion) {
    for bytes in [200, 4096] {
        for tasks in [1, 64] {
            let mut group = c.benchmark_group(format!("{tasks} tasks x {bytes} B"));
            group.throughput(Throughput::Elements(tasks));
            plain(&mut group, bytes, tasks);
            log(&mut group, bytes, tasks);
            group.finish();
        }
    }
}

fn plain(group: &mut BenchmarkGroup<WallTime>, bytes: usize, tasks: u64) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = File::create(dir.path().join("plain")).unwrap();
    let data = vec![b'x'; bytes * tasks as usize];
    let mut at = 0;
    group.bench_function("one write, one fdatasync", |b| {
        b.iter(|| {
            file.write_all_at(black_box(&data), at).unwrap();
            file.sync_data().unwrap();
            at += data.len() as u64;
            if at > PLAIN_END {
                file.set_len(0).unwrap();
                at = 0;
            }
        });
    });
}

fn log(group: &mut BenchmarkGroup<WallTime>, bytes: usize, tasks: u64) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let settings = BufferSettings {
        dir: dir.path().to_path_buf(),
        max_size: 256 << 20,
        drop_oldest_at_cap: true,
        sync_each_commit: true,
    };
    let (log, _) = Log::open(settings, Arc::new(RealDisk)).unwrap();
    let _cursor = log.cursor("main", false).unwrap();
    let data = Bytes::from(vec![b'x'; bytes]);
    let runtime = Runtime::new().unwrap();
    group.bench_function("append, acknowledged", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let appends = (0..tasks).map(|_| log.append(1, data.clone()));
                for kept in futures_util::future::join_all(appends).await {
                    kept.unwrap();
                }
            });
        });
    });
}

criterion_group!(benches, append_and_commit);
criterion_main!(benches);
