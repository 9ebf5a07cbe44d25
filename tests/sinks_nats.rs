//! The NATS sink against a real nats-server with JetStream.

mod support {
    pub mod pipe;
    pub mod server;
}

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;

use pythond::config::Secret;
use pythond::config::sinks::{Login, NatsSink, SinkKind, SinkSettings};
use pythond::point::Category;
use pythond::sinks::{self, Batch, SinkState, Verdict};
use serde_json::{Value, json};
use support::pipe::{self, Pipe};
use support::server::Server;

fn arguments(dir: &Path, port: u16, more: &[&str]) -> Vec<String> {
    let mut words = vec!["-a".to_owned(), "127.0.0.1".to_owned(), "-p".to_owned(), port.to_string(), "-js".to_owned()];
    words.extend(["-sd".to_owned(), dir.join("js").display().to_string()]);
    words.extend(more.iter().map(|word| (*word).to_owned()));
    words
}

fn server() -> Option<Server> {
    Server::start("nats-server", "nats-server", |dir, port| arguments(dir, port, &[]))
}

fn settings(server: &Server, login: Login) -> SinkSettings {
    pipe::settings(SinkKind::Nats(NatsSink {
        address: server.address(),
        subject: "lp.{category}".to_owned(),
        id: "web01".to_owned(),
        login,
    }))
}

/// A client of the server's own API: enough to make streams and to read them.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn new(server: &Server, login: &str) -> Self {
        let mut client = Self { stream: BufReader::new(server.connect()) };
        client.line();
        client.say(&format!(
            "CONNECT {{\"verbose\":false,\"headers\":true,\"lang\":\"t\",\"version\":\"0\"{login}}}\r\n"
        ));
        client.say("SUB _INBOX.t 1\r\nPING\r\n");
        while client.line() != "PONG" {}
        client
    }

    fn say(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Asks; the answer is the text without its headers.
    fn ask(&mut self, subject: &str, body: &Value) -> String {
        let body = body.to_string();
        self.say(&format!("PUB {subject} _INBOX.t {}\r\n{body}\r\n", body.len()));
        loop {
            let line = self.line();
            let words: Vec<&str> = line.split(' ').collect();
            let (head, size): (usize, usize) = match words.as_slice() {
                ["MSG", .., size] => (0, size.parse().unwrap()),
                ["HMSG", .., head, size] => (head.parse().unwrap(), size.parse().unwrap()),
                _ => continue,
            };
            let mut bytes = vec![0; size + 2];
            self.stream.read_exact(&mut bytes).unwrap();
            return String::from_utf8(bytes[head..size].to_vec()).unwrap();
        }
    }

    fn make_stream(&mut self, more: &Value) {
        let mut settings = json!({"name": "LP", "subjects": ["lp.>"], "storage": "file"});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.ask("$JS.API.STREAM.CREATE.LP", &settings);
        assert!(!answer.contains("\"error\""), "{answer}");
    }

    fn messages(&mut self) -> u64 {
        let answer: Value = serde_json::from_str(&self.ask("$JS.API.STREAM.INFO.LP", &json!({}))).unwrap();
        answer["state"]["messages"].as_u64().unwrap()
    }

    /// Subject and text of all messages, in order.
    fn stored(&mut self) -> Vec<(String, String)> {
        let count = self.messages();
        let one = |client: &mut Self, seq: u64| {
            let answer = client.ask("$JS.API.STREAM.MSG.GET.LP", &json!({ "seq": seq }));
            let answer: Value = serde_json::from_str(&answer).unwrap();
            let text = |key: &str| answer["message"][key].as_str().unwrap_or_default().to_owned();
            (text("subject"), String::from_utf8(base64(&text("data"))).unwrap())
        };
        (1..=count).map(|seq| one(self, seq)).collect()
    }
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut out) = (0_u32, 0, Vec::new());
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let digit = DIGITS.iter().position(|digit| *digit == byte).unwrap() as u32;
        (bits, count) = (bits << 6 | digit, count + 6);
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("m,tag=a v={n} {n}")).collect()
}

fn batch(lines: &[String]) -> Batch {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Batch::new(Category::Metric, pythond::buffer::Position { seq: 7, lines: 0 }, "in/script", text.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_is_stored_under_the_subject_of_its_category() {
    let Some(server) = server() else { return };
    let mut client = Client::new(&server, "");
    client.make_stream(&json!({}));
    let pipe = Pipe::new(settings(&server, Login::Nobody));
    let nasty = "log,t=C:\\x\\,y message=\"two\nlines\r\n\\\"é 😀\\\" \u{1b}[31m \0 PING\r\n\" 5".to_owned();
    pipe.put(Category::Metric, &numbered(0..30)).await;
    pipe.put(Category::Logging, std::slice::from_ref(&nasty)).await;
    let report = pipe.drain().await;
    assert_eq!((report.delivered, report.dead), (31, 0));
    let text: String = numbered(0..30).iter().map(|line| format!("{line}\n")).collect();
    let expected = [("lp.metric".to_owned(), text), ("lp.logging".to_owned(), format!("{nasty}\n"))];
    assert_eq!(client.stored(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_twice_is_stored_once() {
    let Some(server) = server() else { return };
    let mut client = Client::new(&server, "");
    client.make_stream(&json!({}));
    for _ in 0..3 {
        // A sink of its own each time, as after a kill.
        let mut sink = sinks::build(&settings(&server, Login::Nobody)).unwrap();
        assert_eq!(sink.deliver(&batch(&numbered(0..5))).await, Verdict::Kept);
    }
    assert_eq!(client.messages(), 1);
    let mut sink = sinks::build(&settings(&server, Login::Nobody)).unwrap();
    assert_eq!(sink.deliver(&batch(&numbered(0..6))).await, Verdict::Kept);
    assert_eq!(client.messages(), 2, "another batch from the same place is no repetition");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_stream_nothing_is_lost() {
    let Some(server) = server() else { return };
    let pipe = Pipe::new(settings(&server, Login::Nobody));
    pipe.put(Category::Metric, &numbered(0..3)).await;
    let pump = pipe.start();
    pump.until_state(SinkState::Misconfigured).await;
    let report = pump.end().await;
    assert!(report.last_error.unwrap().1.contains("no stream takes this subject"));
    assert_eq!((report.dead, pipe.behind()), (0, 3));
    let mut client = Client::new(&server, "");
    client.make_stream(&json!({}));
    assert_eq!(pipe.drain().await.delivered, 3);
    assert_eq!(client.messages(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_is_waited_for_and_a_small_one_gets_small_messages() {
    let Some(server) = server() else { return };
    let mut client = Client::new(&server, "");
    client.make_stream(&json!({"max_msgs": 1, "discard": "new"}));
    let mut sink = sinks::build(&settings(&server, Login::Nobody)).unwrap();
    assert_eq!(sink.deliver(&batch(&numbered(0..1))).await, Verdict::Kept);
    let verdict = sink.deliver(&batch(&numbered(1..2))).await;
    assert!(matches!(&verdict, Verdict::TryAgain { why, .. } if why.contains("10077")), "{verdict:?}");
    assert!(client.ask("$JS.API.STREAM.DELETE.LP", &json!({})).contains("true"));
    client.make_stream(&json!({"max_msg_size": 200}));
    let pipe = Pipe::new(settings(&server, Login::Nobody));
    pipe.put(Category::Metric, &numbered(0..40)).await;
    let report = pipe.drain().await;
    assert_eq!((report.delivered, report.dead), (40, 0));
    let stored: Vec<String> =
        client.stored().iter().flat_map(|(_, text)| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    assert_eq!(stored, numbered(0..40));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_used_and_a_wrong_one_loses_nothing() {
    let started = Server::start("nats-server", "nats-server", |dir, port| {
        arguments(dir, port, &["--user", "agent", "--pass", "right"])
    });
    let Some(server) = started else { return };
    let login = |password: &str| Login::Password("agent".to_owned(), Secret::new(password));
    Client::new(&server, ",\"user\":\"agent\",\"pass\":\"right\"").make_stream(&json!({}));
    let mut pipe = Pipe::new(settings(&server, login("wrong")));
    pipe.put(Category::Metric, &numbered(0..3)).await;
    let pump = pipe.start();
    pump.until_state(SinkState::Misconfigured).await;
    let why = pump.end().await.last_error.unwrap().1;
    assert!(why.contains("Authorization Violation") && !why.contains("wrong"), "{why}");
    assert_eq!(pipe.behind(), 3);
    pipe.settings = settings(&server, login("right"));
    assert_eq!(pipe.drain().await.delivered, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_gets_everything_once_it_is_back() {
    let Some(mut server) = server() else { return };
    Client::new(&server, "").make_stream(&json!({}));
    let pipe = Pipe::new(settings(&server, Login::Nobody));
    let pump = pipe.start();
    pipe.put(Category::Metric, &numbered(0..10)).await;
    pump.until_empty().await;
    server.down();
    pipe.put(Category::Metric, &numbered(10..20)).await;
    pump.until_state(SinkState::Down).await;
    server.up();
    pump.until_empty().await;
    let report = pump.end().await;
    assert_eq!((report.delivered, report.dead), (20, 0));
    let stored = Client::new(&server, "").stored();
    assert!(stored.iter().any(|(_, text)| text.contains("v=19 19\n")), "{stored:?}");
}
