//! Promise: a script that floods the agent costs itself, not the others, and not the memory of the machine.

mod support;

use std::time::Duration;

use support::{Agent, Root, http, wait_for};

/// Posts 30 MB in a loop, from two threads, and never rests.
const FLOOD: &str = r#"
import threading
from datakit_framework import DataKitFramework

class Flood(DataKitFramework):
    interval = 1

    def run(self):
        points = [{"measurement": "flood", "tags": {}, "fields": {"text": "x" * 10_000, "n": n}} for n in range(3_000)]
        other = threading.Thread(target=self.flood, args=(points,), daemon=True)
        other.start()
        self.flood(points)

    def flood(self, points):
        while True:
            self.report({"M": points, "input": "flood"})
"#;

/// Reports one point a second and writes down how long each report took.
const QUIET: &str = r#"
import pathlib, time
from datakit_framework import DataKitFramework

TOOK = pathlib.Path(__file__).with_suffix(".took")

class Quiet(DataKitFramework):
    interval = 1

    def run(self):
        began = time.monotonic()
        self.feed_metric(measurement="quiet", fields={"v": 1})
        with TOOK.open("a") as file:
            file.write(f"{time.monotonic() - began:.3f}\n")
"#;

/// Megabytes of memory that the agent's own process has now.
fn memory_mib(agent: &Agent) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn a_script_that_floods_starves_no_other() {
    let root = Root::new();
    root.conf("sinks.conf", "[buffer]\nmax_size = \"512MiB\"\n[sinks.file.local]\nkeep = 1\nmax_file = \"16MiB\"\n");
    root.script("flood/flood.py", FLOOD);
    let quiet = root.script("quiet/quiet.py", QUIET);
    root.input("all", &["flood", "quiet"], "");
    let agent = root.agent();
    let took = || -> Vec<f64> {
        let text = std::fs::read_to_string(quiet.with_extension("took")).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    };
    agent.wait_script("flood.flood", "the flood", |script| script["points_accepted"].as_u64() > Some(3000));
    let before = took().len();
    let mut memory = 0;
    wait_for("ten reports beside the flood", || {
        memory = memory.max(memory_mib(&agent));
        if took().len() >= before + 10 { Ok(()) } else { Err(format!("{:?}", took())) }
    });
    let (flood, quiet) = (agent.script("flood.flood"), agent.script("quiet.quiet"));
    println!("flood: {} points; reports took {:?}; {memory} MiB", flood["points_accepted"], took());
    assert!(took().iter().all(|seconds| *seconds < 1.0), "{:?}", took());
    assert_eq!((&quiet["skipped_ticks"], &quiet["runs_failed"]), (&0.into(), &0.into()), "{quiet:#}");
    assert!(memory < 512, "{memory} MiB");
}

#[test]
fn strangers_with_slow_large_bodies_keep_out_no_worker() {
    let root = Root::new();
    let agent = root.agent();
    // Each announces 32 MiB and sends nothing more.
    let head = "POST /v1/write/metric HTTP/1.1\r\nHost: localhost\r\nContent-Length: 33554432\r\n\r\n";
    let slow: Vec<std::net::TcpStream> = (0..8)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(&agent.address).unwrap();
            std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let large = vec![b'#'; 1 << 20];
    let refused = wait_for("the strangers to be at their bound", || {
        let answer = agent.post("/v1/write/metric", &[], &large);
        if answer.status == 429 { Ok(answer) } else { Err(format!("{answer:?}")) }
    });
    assert_eq!(refused.header("retry-after"), Some("1"), "{refused:?}");
    assert_eq!(refused.json()["error_code"], "pythond.tooMuch");
    let began = std::time::Instant::now();
    let small = http::unix(&root.socket(), "POST", "/v1/write/metric", &[], b"small v=1").unwrap();
    assert_eq!(small.status, 200, "{small:?}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    drop(slow);
}
