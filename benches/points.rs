//! What a point costs on its way from the request to the buffer: DataKit's shape, 5 fields and 4 tags, in bodies of 1, 20 and 300 points.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pythond::point::{Category, Decoded, Decoding, Precision, json, line};

const HOW: Decoding = Decoding {
    category: Category::Metric,
    precision: Some(Precision::S),
    now_ns: 1_700_000_000_000_000_000,
    integers_as_floats: true,
};
const HOW_LINES: Decoding = Decoding { precision: Some(Precision::Ns), ..HOW };

fn body(points: usize) -> String {
    let point = |n: usize| {
        format!(
            r#"{{"measurement": "host_process", "tags": {{"host": "web-{n:03}", "region": "eu-west", "process_name": "nginx worker", "state": "running"}}, "fields": {{"cpu_usage": {n}.25, "rss": {}, "threads": {n}, "open_files": 128, "cmdline": "nginx: worker process"}}, "time": {}}}"#,
            n * 4096,
            1_624_550_216 + n
        )
    };
    format!("[{}]", (0..points).map(point).collect::<Vec<_>>().join(", "))
}

fn encode_all(decoded: &Decoded, out: &mut Vec<u8>) {
    for (_, point) in &decoded.points {
        line::encode(point, out);
    }
}

fn points(criterion: &mut Criterion) {
    for count in [1, 20, 300] {
        let json_body = body(count);
        let decoded = json::decode(json_body.as_bytes(), &HOW).expect("the body is good");
        let mut lines = Vec::new();
        encode_all(&decoded, &mut lines);

        let mut group = criterion.benchmark_group("points");
        group.throughput(Throughput::Elements(count as u64));
        group.bench_with_input(BenchmarkId::new("json_decode", count), &json_body, |bench, body| {
            bench.iter(|| json::decode(black_box(body.as_bytes()), &HOW));
        });
        group.bench_with_input(BenchmarkId::new("encode", count), &decoded, |bench, decoded| {
            let mut out = Vec::with_capacity(lines.len());
            bench.iter(|| {
                out.clear();
                encode_all(black_box(decoded), &mut out);
                out.len()
            });
        });
        group.bench_with_input(BenchmarkId::new("json_to_lines", count), &json_body, |bench, body| {
            let mut out = Vec::with_capacity(lines.len());
            bench.iter(|| {
                out.clear();
                encode_all(&json::decode(black_box(body.as_bytes()), &HOW).expect("the body is good"), &mut out);
                out.len()
            });
        });
        group.bench_with_input(BenchmarkId::new("line_decode", count), &lines, |bench, lines| {
            bench.iter(|| line::decode(black_box(lines), &HOW_LINES));
        });
        group.bench_with_input(BenchmarkId::new("ends", count), &lines, |bench, lines| {
            bench.iter(|| line::ends(black_box(lines)))
        });
        group.finish();
    }
}

criterion_group!(benches, points);
criterion_main!(benches);
