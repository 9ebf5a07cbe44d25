//! Promise: nothing that comes in over the port stops the agent, its workers or its memory from staying as they are.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Agent, PATIENCE, Root, wait_for};

const COLLECTOR: &str = "from datakit_framework import DataKitFramework

class Alive(DataKitFramework):
    interval = 0.2
    def run(self):
        self.feed_metric(measurement='alive', fields={'v': 1})
";

fn attacked(settings: &str) -> (Root, Agent) {
    let root = Root::new();
    root.conf(
        "agent.conf",
        &format!("[http_api]\nlisten = \"127.0.0.1:0\"\n{settings}\n[global_tags]\nhost = \"h\"\n"),
    );
    root.script("alive/alive.py", COLLECTOR);
    root.input("alive", &["alive"], "");
    let agent = root.agent();
    still_serves(&agent, "the start");
    (root, agent)
}

/// A new request is answered, and the worker's next report is taken.
fn still_serves(agent: &Agent, after: &str) {
    let answer = agent.post("/v1/write/metric", &[], b"probe v=1");
    assert_eq!(answer.status, 200, "after {after}: {}", answer.text());
    let before = agent.script("alive.alive")["points_accepted"].as_u64().unwrap();
    let script = agent.wait_script("alive.alive", &format!("reports after {after}"), |script| {
        script["points_accepted"].as_u64().unwrap() > before
    });
    assert_eq!(script["restarts"], 0, "after {after}: {script:#}");
}

/// Sends bytes and reads what comes back, for at most `patience`.
fn exchange(agent: &Agent, bytes: &[u8], patience: Duration) -> String {
    let mut stream = TcpStream::connect(&agent.address).unwrap();
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    // A server that has seen enough closes; what it said still counts.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn resident_kib(agent: &Agent) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn head(lines: &str) -> Vec<u8> {
    format!("POST /v1/write/metric HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n").into_bytes()
}

#[test]
fn bytes_that_are_no_request_are_refused_or_dropped() {
    let (_root, agent) = attacked("");
    let mut hello = vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
    hello.extend([7; 500]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("garbage", (0..=255).cycle().take(10_000).collect()),
        ("a TLS hello", hello),
        ("the HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec()),
        ("HTTP/0.9", b"GET /\r\n\r\n".to_vec()),
        ("a version from the future", b"GET / HTTP/9.9\r\n\r\n".to_vec()),
        ("a header of 10 MB", head(&format!("X-Long: {}\r\n", "x".repeat(10_000_000)))),
        ("ten thousand headers", head(&"X-Many: 1\r\n".repeat(10_000))),
        ("a path of 1 MB", format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(1_000_000)).into_bytes()),
        ("a nul in the path", b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("a folded header", head("X-A: 1\r\n  2\r\nContent-Length: 0\r\n")),
        ("an absurd length", head("Content-Length: 99999999999999999999999999\r\n")),
        ("a negative length", head("Content-Length: -1\r\n")),
        ("a length in words", head("Content-Length: many\r\n")),
        ("two lengths", [head("Content-Length: 5\r\nContent-Length: 7\r\n"), b"m v=1\n\n".to_vec()].concat()),
        (
            "a length and chunks",
            [head("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), b"0\r\n\r\n".to_vec()].concat(),
        ),
        (
            "a chunk of a negative size",
            [head("Transfer-Encoding: chunked\r\n"), b"-5\r\nhello\r\n0\r\n\r\n".to_vec()].concat(),
        ),
        (
            "a chunk beyond 64 bits",
            [head("Transfer-Encoding: chunked\r\n"), b"fffffffffffffffff\r\n".to_vec()].concat(),
        ),
        ("a chunk that lies", [head("Transfer-Encoding: chunked\r\n"), b"2\r\nhello\r\n0\r\n\r\n".to_vec()].concat()),
        ("an unknown encoding", [head("Transfer-Encoding: gzip, chunked\r\n"), b"0\r\n\r\n".to_vec()].concat()),
        ("a body that ends early", [head("Content-Length: 500\r\n"), b"m v=1".to_vec()].concat()),
        ("a head that ends early", b"POST /v1/write/met".to_vec()),
        ("a foreign method", b"BREW /v1/write/metric HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("CONNECT", b"CONNECT example:443 HTTP/1.1\r\nHost: example:443\r\n\r\n".to_vec()),
        ("an absolute target", b"GET http://example/ HTTP/1.1\r\nHost: example\r\n\r\n".to_vec()),
    ];
    for (what, bytes) in &cases {
        let answer = exchange(&agent, bytes, PATIENCE);
        let is_no = answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5");
        assert!(is_no || *what == "a folded header", "{what}: {}", answer.chars().take(300).collect::<String>());
        assert!(!answer.starts_with("HTTP/1.1 500"), "{what}: {answer}");
    }
    still_serves(&agent, "all of it");
    assert!(!agent.console().contains("panicked"), "{}", agent.console());
}

#[test]
fn odd_but_right_requests_are_answered() {
    let (root, agent) = attacked("");
    let chunks: Vec<u8> = b"odd v=1\nodd v=2\nodd v=3\n"
        .iter()
        .flat_map(|byte| [b"1;ext=\"a\"\r\n".as_slice(), &[*byte], b"\r\n"].concat())
        .chain(*b"0\r\nTrailer: x\r\n\r\n")
        .collect();
    let answer =
        exchange(&agent, &[head("Transfer-Encoding: chunked\r\nConnection: close\r\n"), chunks].concat(), PATIENCE);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let one = b"POST /v1/write/metric HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\npip v=1";
    let last =
        b"POST /v1/write/metric HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 7\r\n\r\npip v=1";
    let answer = exchange(&agent, &[one.repeat(200), last.to_vec()].concat(), PATIENCE);
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 201, "pipelined requests are each answered");

    let bom = [b"\xef\xbb\xbf".as_slice(), br#"[{"measurement":"bom","fields":{"v":1}}]"#].concat();
    assert_eq!(agent.post("/v1/write/metric", &[("Content-Type", "application/json")], &bom).status, 200);
    assert_eq!(agent.post("/v1/write/metric?input=%ff%00%zz&&&=&precision=", &[], b"query v=1").status, 200);
    wait_for("all of it in the file", || {
        let points = root.points("metric");
        let count = |start: &str| points.lines().filter(|line| line.starts_with(start)).count();
        let counts = (count("odd,"), count("pip,"), count("bom,"), count("query,"));
        if counts == (3, 201, 1, 1) { Ok(()) } else { Err(format!("{counts:?}")) }
    });
    still_serves(&agent, "odd requests");
}

#[test]
fn bodies_of_every_wrong_shape_are_refused_with_a_reason_and_cost_no_memory() {
    let (_root, agent) = attacked("");
    let before = resident_kib(&agent);
    let deep = |open: &str, close: &str, n: usize| format!("{}{}", open.repeat(n), close.repeat(n));
    let in_field = |value: &str| format!(r#"[{{"measurement":"m","fields":{{"v":{value}}}}}]"#);
    let cases = [
        ("no JSON", "{".to_owned()),
        ("an object", "{}".to_owned()),
        ("a number", "1".to_owned()),
        ("a text", "\"m v=1\"".to_owned()),
        ("null", "null".to_owned()),
        ("an empty array", "[]".to_owned()),
        ("arrays of arrays", "[[],[[]]]".to_owned()),
        ("ten thousand arrays deep", deep("[", "]", 10_000)),
        ("ten thousand objects deep", in_field(&format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000)))),
        ("a field ten thousand deep", in_field(&deep("[", "]", 10_000))),
        ("a million open brackets", "[".repeat(1_000_000)),
        ("beyond a float", in_field("1e400")),
        ("NaN", in_field("NaN")),
        ("Infinity", in_field("-Infinity")),
        ("a lone surrogate as key only", r#"[{"measurement":1,"fields":{"\ud800":1}}]"#.to_owned()),
        ("two documents", "[][]".to_owned()),
        ("trailing bytes", format!("{}x", in_field("1"))),
        ("a nul at the end", format!("{}\0", in_field("1"))),
        ("fields as an array", r#"[{"measurement":"m","fields":[1]}]"#.to_owned()),
        ("fields as a text", r#"[{"measurement":"m","fields":"v=1"}]"#.to_owned()),
        ("tags as an array", r#"[{"measurement":"m","tags":["a"],"fields":{"v":1}}]"#.to_owned()),
        ("a tag as an object", r#"[{"measurement":"m","tags":{"a":{}},"fields":{"v":1}}]"#.to_owned()),
        ("a measurement as a list", r#"[{"measurement":[],"fields":{"v":1}}]"#.to_owned()),
        ("time as text", r#"[{"measurement":"m","fields":{"v":1},"time":"now"}]"#.to_owned()),
        ("time beyond 64 bits", r#"[{"measurement":"m","fields":{"v":1},"time":99999999999999999999999}]"#.to_owned()),
        ("time beyond floats", r#"[{"measurement":"m","fields":{"v":1},"time":1e400}]"#.to_owned()),
        ("no field", r#"[{"measurement":"m"}]"#.to_owned()),
    ];
    for (what, body) in &cases {
        let answer = agent.post("/v1/write/metric", &[("Content-Type", "application/json")], body.as_bytes());
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(!message.is_empty() && message.len() < 2000, "{what}: {message}");
    }
    let lines = [
        "m",
        "m v",
        "m v=",
        "m v=1i2",
        "m v=99999999999999999999i",
        "m,=a v=1",
        ",a=b v=1",
        "m v=\"open",
        "\0\0\0",
        "m v=1 now",
        "m v=1 99999999999999999999",
    ];
    for line in lines {
        let answer = agent.post("/v1/write/metric", &[], line.as_bytes());
        assert_eq!(answer.status, 400, "{line:?}: {}", answer.text());
    }
    for (what, encoding, body) in [
        ("no gzip", "gzip", b"m v=1".to_vec()),
        ("an unknown encoding", "lzma", b"m v=1".to_vec()),
        ("no zstd", "zstd", vec![0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff]),
    ] {
        let answer = agent.post("/v1/write/metric", &[("Content-Encoding", encoding)], &body);
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
    }
    // A point that JSON can say and no sink can hold is named, and the largest numbers come through.
    let edge = agent.post_json("/v1/write/metric", &serde_json::json!([
        {"measurement": "edge", "fields": {"i": i64::MAX, "u": u64::MAX, "least": i64::MIN, "f": f64::MAX, "tiny": 5e-324}},
    ]));
    assert_eq!(edge.status, 200, "{}", edge.text());
    still_serves(&agent, "wrong bodies");
    let grown = resident_kib(&agent).saturating_sub(before);
    assert!(grown < 64 * 1024, "the agent grew by {grown} KiB");
    assert!(!agent.console().contains("panicked"), "{}", agent.console());
}

#[test]
fn a_hundred_thousand_points_and_a_bomb_leave_the_memory_bounded() {
    let (root, agent) = attacked("");
    let before = resident_kib(&agent);
    let many: Vec<Value> = (0..100_000)
        .map(|n| serde_json::json!({"measurement": "many", "tags": {"n": n.to_string()}, "fields": {"v": n}}))
        .collect();
    let body = Value::Array(many).to_string();
    let answer = agent.post("/v1/write/metric", &[("Content-Type", "application/json")], body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    for _ in 0..40 {
        bomb.write_all(&vec![b'\n'; 1 << 20]).unwrap();
    }
    let answer = agent.post("/v1/write/metric", &[("Content-Encoding", "gzip")], &bomb.finish().unwrap());
    assert_eq!(answer.status, 413, "{}", answer.text());
    // All refused: the answer names some of them and counts the others.
    let bad = format!("[{}]", vec![r#"{"measurement":"m"}"#; 20_000].join(","));
    let answer = agent.post("/v1/write/metric", &[("Content-Type", "application/json")], bad.as_bytes());
    assert_eq!(answer.status, 400);
    assert!(answer.body.len() < 100_000, "{} bytes", answer.body.len());
    assert!(
        answer.json()["message"].as_str().unwrap().starts_with("20000 of 20000 points refused"),
        "{}",
        answer.text()
    );
    still_serves(&agent, "large bodies");
    wait_for("100 000 lines", || {
        let count = std::fs::read_dir(root.path().join("data/points"))
            .unwrap()
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap_or_default().matches("many,").count())
            .sum::<usize>();
        if count == 100_000 { Ok(()) } else { Err(count.to_string()) }
    });
    let grown = resident_kib(&agent).saturating_sub(before);
    assert!(grown < 300 * 1024, "the agent grew by {grown} KiB");
}

#[test]
fn five_hundred_idle_connections_and_half_requests_hold_up_nobody() {
    let (_root, agent) = attacked("max_connections = 600");
    let idle: Vec<TcpStream> = (0..500)
        .map(|n| {
            let mut stream = TcpStream::connect(&agent.address).unwrap();
            match n % 4 {
                0 => {}
                1 => stream.write_all(b"POST /v1/write/me").unwrap(),
                2 => stream.write_all(&head("Content-Length: 1000\r\n")).unwrap(),
                _ => stream.write_all(&[head("Content-Length: 1000\r\n"), b"m v=1\n".to_vec()].concat()).unwrap(),
            }
            stream
        })
        .collect();
    still_serves(&agent, "500 idle connections");
    drop(idle);
    still_serves(&agent, "500 connections closed half-way");
}

#[test]
fn connections_beyond_the_limit_wait_but_the_workers_go_on() {
    let (root, agent) = attacked("max_connections = 4");
    let idle: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(&agent.address).unwrap()).collect();
    let count = || root.points("metric").matches("alive,").count();
    let before = count();
    wait_for(
        "ten more reports of the worker",
        || if count() > before + 10 { Ok(()) } else { Err(count().to_string()) },
    );
    drop(idle);
    still_serves(&agent, "a full house");
}

#[test]
fn a_body_that_drips_is_answered_408_at_the_time_out() {
    let (_root, agent) = attacked("timeout = \"1s\"");
    let mut stream = TcpStream::connect(&agent.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&head("Content-Length: 1000000\r\n")).unwrap();
    let mut dripping = stream.try_clone().unwrap();
    let start = Instant::now();
    let drip = std::thread::spawn(move || {
        while dripping.write_all(b"m").is_ok() && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(100)); // the pace of the attack, not a wait for the agent
        }
    });
    let mut answer = String::new();
    // The agent closes while bytes are still on their way, which may cut the connection after the answer.
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("timeout(1s)"), "{answer}");
    assert!(start.elapsed() < Duration::from_secs(20));
    drop(stream);
    drip.join().unwrap();
    still_serves(&agent, "a dripping body");
}

#[test]
fn no_order_is_taken_over_the_port() {
    let (_root, agent) = attacked("");
    let pid = agent.script("alive.alive")["pid"].clone();
    let orders = [
        ("POST", "/api/v1/reload"),
        ("POST", "/api/v1/git/sync"),
        ("POST", "/api/v1/sinks/local/skip"),
        ("POST", "/api/v1/units/alive.alive/restart"),
        ("POST", "/api/v1/units/alive.alive/run-now"),
        ("GET", "/api/v1/units/alive.alive/stack"),
        ("GET", "/api/v1/units/alive.alive/resources"),
    ];
    for (method, path) in orders {
        let answer = support::http::tcp(&agent.address, method, path, &[], b"").unwrap();
        assert_eq!((answer.status, &answer.json()["error_code"]), (403, &Value::from("pythond.socketOnly")), "{path}");
    }
    still_serves(&agent, "the orders");
    assert_eq!(agent.script("alive.alive")["pid"], pid);
}
