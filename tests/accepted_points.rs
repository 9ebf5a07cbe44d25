//! Promise: what was answered with 200 arrives, whatever happens to the agent or the sink.

mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use support::{Root, wait_for, wait_until};

/// A far end that takes line protocol over HTTP, or refuses while it is `down`.
struct FarEnd {
    address: String,
    down: Arc<AtomicBool>,
    lines: Arc<Mutex<Vec<String>>>,
    asked: Arc<AtomicU64>,
}

impl FarEnd {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = Self {
            address: listener.local_addr().unwrap().to_string(),
            down: Arc::new(AtomicBool::new(false)),
            lines: Arc::default(),
            asked: Arc::default(),
        };
        let (down, lines, asked) = (Arc::clone(&far.down), Arc::clone(&far.lines), Arc::clone(&far.asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (down, lines, asked) = (Arc::clone(&down), Arc::clone(&lines), Arc::clone(&asked));
                std::thread::spawn(move || serve(stream, &down, &lines, &asked));
            }
        });
        far
    }

    fn sink(&self) -> String {
        format!("[sinks.influxdb.far]\nurl = \"http://{}\"\ndatabase = \"d\"\ngzip = false\n", self.address)
    }

    fn sequence_numbers(&self) -> Vec<u64> {
        let lines = self.lines.lock().unwrap();
        lines
            .iter()
            .map(|line| line.split("n=").nth(1).unwrap().split(['.', ' ']).next().unwrap().parse().unwrap())
            .collect()
    }
}

fn serve(mut stream: std::net::TcpStream, down: &AtomicBool, lines: &Mutex<Vec<String>>, asked: &AtomicU64) {
    let mut raw = Vec::new();
    let mut part = [0; 65536];
    loop {
        let head = loop {
            if let Some(end) = raw.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            match stream.read(&mut part) {
                Ok(0) | Err(_) => return,
                Ok(count) => raw.extend_from_slice(&part[..count]),
            }
        };
        let text = String::from_utf8_lossy(&raw[..head]).to_ascii_lowercase();
        let length: usize =
            text.split("content-length: ").nth(1).map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
        while raw.len() < head + length {
            match stream.read(&mut part) {
                Ok(0) | Err(_) => return,
                Ok(count) => raw.extend_from_slice(&part[..count]),
            }
        }
        asked.fetch_add(1, Ordering::SeqCst);
        let answer: &[u8] = if down.load(Ordering::SeqCst) {
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
        } else {
            let body = String::from_utf8(raw[head..head + length].to_vec()).unwrap();
            lines.lock().unwrap().extend(body.lines().map(str::to_owned));
            b"HTTP/1.1 204 No Content\r\n\r\n"
        };
        raw.drain(..head + length);
        if stream.write_all(answer).is_err() {
            return;
        }
    }
}

fn body(from: u64, count: u64) -> Vec<u8> {
    let points: Vec<serde_json::Value> =
        (from..from + count).map(|n| serde_json::json!({"measurement": "seq", "fields": {"n": n}})).collect();
    serde_json::to_vec(&points).unwrap()
}

#[test]
fn twenty_thousand_accepted_while_the_sink_is_down_survive_a_kill() {
    let far = FarEnd::start();
    far.down.store(true, Ordering::SeqCst);
    let root = Root::new();
    root.conf("sink.conf", &far.sink());
    let agent = root.agent();
    for post in 0..200 {
        let answer = agent.post("/v1/write/metric", &[("Content-Type", "application/json")], &body(post * 100, 100));
        assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    }
    agent.kill();
    far.down.store(false, Ordering::SeqCst);
    let _agent = root.agent();
    wait_for("all 20 000 at the sink", || {
        let there: BTreeSet<u64> = far.sequence_numbers().into_iter().collect();
        if there.len() == 20_000 { Ok(()) } else { Err(format!("{} are there", there.len())) }
    });
    let in_order = far.sequence_numbers();
    assert!(
        in_order.windows(2).all(|pair| pair[1] <= pair[0] + 1),
        "order is kept; a repeated batch starts earlier, but nothing is jumped over"
    );
}

#[test]
fn a_sink_that_is_down_holds_up_no_other_and_the_status_says_so() {
    let far = FarEnd::start();
    far.down.store(true, Ordering::SeqCst);
    let root = Root::new();
    root.conf("sink.conf", &format!("{}\n[sinks.file.local]\n", far.sink()));
    let agent = root.agent();
    assert_eq!(agent.post("/v1/write/metric", &[("Content-Type", "application/json")], &body(0, 10)).status, 200);
    wait_until("the file sink has its points", || root.points("metric").lines().count() == 10);
    wait_until("the sink was asked", || far.asked.load(Ordering::SeqCst) > 0);
    let sink = wait_for("the status knows the sink is down", || {
        let sink = agent.sink("far");
        if sink["state"] == "down" { Ok(sink) } else { Err(sink.to_string()) }
    });
    assert_eq!(sink["behind_points"], 10);
    assert!(sink["why"].as_str().unwrap().contains("503"), "{sink}");
    let (_, text, _) = root.run(&["status"]);
    assert!(text.contains("▲ sink far") && text.contains("10 points wait on disk"), "{text}");
    far.down.store(false, Ordering::SeqCst);
    agent.wait_delivered();
    assert_eq!(far.sequence_numbers(), (0..10).collect::<Vec<_>>());
    assert_eq!(root.points("metric").lines().count(), 10, "the other sink gets nothing twice");
}

#[test]
fn the_file_has_no_line_twice_after_a_kill() {
    let root = Root::new();
    let mut sent = 0;
    for _ in 0..5 {
        let agent = root.agent();
        for _ in 0..20 {
            assert_eq!(
                agent.post("/v1/write/metric", &[("Content-Type", "application/json")], &body(sent, 10)).status,
                200
            );
            sent += 10;
        }
        agent.kill();
    }
    let agent = root.agent();
    agent.wait_delivered();
    let numbers: Vec<u64> = root
        .points("metric")
        .lines()
        .map(|line| line.split("n=").nth(1).unwrap().split(['.', ' ']).next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(numbers, (0..sent).collect::<Vec<_>>());
}
