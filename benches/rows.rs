//! What a row costs on its way from the request to the buffer, beside a point of the same content: 5 values and 4 tags.
//!
//! At the end come the ratios: rows in a second of CPU time, as a part of the points in one, both measured in turn.

use std::hint::black_box;
use std::sync::Mutex;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use pythond::point::{Category, Decoding, Point, Precision, Warnings, json, line};
use pythond::series::{self, LastValues, Moment, Transaction};
use rustix::time::{ClockId, clock_gettime};

const HOW: Decoding =
    Decoding { category: Category::Metric, precision: Some(Precision::Ns), now_ns: START_NS, integers_as_floats: true };
const START_NS: i64 = 1_700_000_000_000_000_000;
const NAMES: [&str; 5] = ["cpu_usage", "rss", "threads", "open_files", "context_switches"];
const COUNTS: [usize; 3] = [1, 20, 300];
/// Of the ratios: batches that are measured in turn, and their size.
const ROUNDS: usize = 200;
const ROWS: usize = 300;

fn tags(n: usize) -> String {
    format!(r#"{{"host": "web-{n:03}", "region": "eu-west", "process_name": "nginx worker", "state": "running"}}"#)
}

fn points(count: usize) -> String {
    let point = |n: usize| {
        let fields: Vec<String> = NAMES.iter().map(|name| format!(r#""{name}": {}"#, n * 4096)).collect();
        let fields = fields.join(", ");
        format!(r#"{{"measurement": "host_process", "tags": {}, "fields": {{{fields}}}, "time": {START_NS}}}"#, tags(n))
    };
    format!("[{}]", (0..count).map(point).collect::<Vec<_>>().join(", "))
}

fn rows(count: usize, options: &str, step: usize) -> String {
    let row = |n: usize| {
        let readings: Vec<String> =
            NAMES.iter().map(|name| format!(r#"["{name}",{}{options}]"#, (n + step) * 4096)).collect();
        let (readings, ns) = (readings.join(","), START_NS + step as i64 * 10_000_000_000);
        format!(r#"{{"m":"host_process","t":{},"ns":{ns},"r":[{readings}]}}"#, tags(n))
    };
    let rows = (0..count).map(row).collect::<Vec<_>>().join(",");
    format!(r#"{{"job":"local","interval":10.0,"rows":[{rows}]}}"#)
}

fn points_to_lines(body: &str, out: &mut Vec<u8>) {
    out.clear();
    for (_, point) in &json::decode(body.as_bytes(), &HOW).expect("the body is good").points {
        line::encode(point, out);
    }
}

/// As the route does it, with the commit.
fn rows_to_lines(body: &str, last: &Mutex<LastValues>, out: &mut Vec<u8>) {
    out.clear();
    let lock = || last.lock().expect("nobody panics");
    let body = series::json::decode(body.as_bytes()).expect("the body is good");
    let job = lock().job("unit", &body.job);
    let (mut transaction, mut warnings) = (Transaction::default(), Warnings::default());
    for (_, row) in body.rows {
        let key = job.row(&row.measurement, &row.tags);
        let moment = Moment {
            time_ns: row.time_ns.expect("it has one"),
            interval_s: row.interval_s.map_or(body.interval_s, f64::from),
        };
        let past = |series| lock().get(series, Duration::ZERO);
        let fields = transaction.fields(row.readings, &key, moment, &past);
        let point = Point::new(row.measurement, row.tags, fields, moment.time_ns, Category::Metric, &mut warnings);
        line::encode(&point.expect("each has a value"), out);
    }
    let mut changes = transaction.into_changes();
    while changes.len() > 0 {
        lock().commit(&mut changes, Duration::ZERO, 1_000_000);
    }
}

const COUNTER: &str = r#",{"kind":"counter"}"#;

/// Series that have seen a reading, and a body with the next ones. The same body again is late, so that it needs fresh ones.
fn seen(count: usize) -> (String, impl Fn() -> Mutex<LastValues>) {
    let first = rows(count, r#",{"kind":"counter","out":"both","raw":"raw"}"#, 0);
    let fresh = move || {
        let last = Mutex::default();
        rows_to_lines(&first, &last, &mut Vec::new());
        last
    };
    (rows(count, COUNTER, 1), fresh)
}

fn rows_beside_points(criterion: &mut Criterion) {
    for count in COUNTS {
        let mut group = criterion.benchmark_group("rows");
        group.throughput(Throughput::Elements(count as u64));
        let mut out = Vec::new();
        let (point_body, gauge_body) = (points(count), rows(count, "", 0));
        group.bench_function(BenchmarkId::new("points", count), |bench| {
            bench.iter(|| points_to_lines(black_box(&point_body), &mut out));
        });
        let last = Mutex::default();
        group.bench_function(BenchmarkId::new("gauges", count), |bench| {
            bench.iter(|| rows_to_lines(black_box(&gauge_body), &last, &mut out));
        });
        let (counter_body, fresh) = seen(count);
        group.bench_function(BenchmarkId::new("counters", count), |bench| {
            let size = criterion::BatchSize::SmallInput;
            bench.iter_batched(&fresh, |last| rows_to_lines(black_box(&counter_body), &last, &mut out), size);
        });
        group.finish();
    }
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn timed(work: impl FnOnce()) -> Duration {
    let before = cpu();
    work();
    cpu().saturating_sub(before)
}

fn ratios() {
    let (point_body, gauge_body) = (points(ROWS), rows(ROWS, "", 0));
    let (counter_body, fresh) = seen(ROWS);
    let (last, mut out) = (Mutex::default(), Vec::new());
    let mut spent = [Duration::ZERO; 3];
    for _ in 0..ROUNDS {
        let known = fresh();
        spent[0] += timed(|| points_to_lines(black_box(&point_body), &mut out));
        spent[1] += timed(|| rows_to_lines(black_box(&gauge_body), &last, &mut out));
        spent[2] += timed(|| rows_to_lines(black_box(&counter_body), &known, &mut out));
    }
    let a_second = |spent: Duration| (ROWS * ROUNDS) as f64 / spent.as_secs_f64();
    let [points, gauges, counters] = spent.map(a_second);
    println!("points of 5 fields in a second of CPU time: {points:.0}");
    println!("rows of 5 gauges: {gauges:.0}, {:.2} of that", gauges / points);
    println!("rows of 5 counters: {counters:.0}, {:.2} of that", counters / points);
}

criterion_group!(benches, rows_beside_points);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    // Not when the tests only see whether it runs.
    if std::env::args().any(|argument| argument == "--bench") {
        ratios();
    }
}
