//! NATS JetStream: one message per batch, kept when the stream acknowledges it.
//!
//! The client is our own, since it needs one connection, one subscription and one publish at a time; the protocol is text. A message carries
//! an id made of where its lines stand in the buffer and of their bytes, so that the stream drops a repetition within its
//! `duplicate_window`, and drops nothing else: after a restart the same place may begin a batch with other lines, which has another id.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::sinks::{Login, NatsSink};
use crate::config::{Secret, SinkSettings};
use crate::platform::NO_WAIT;

use super::batch::Batch;
use super::error::BuildError;
use super::limits::DeliveryLimits;
use super::sink::Sink;
use super::verdict::Verdict;

/// Half of the server's default `max_payload`.
const MAX_BATCH: usize = 512 * 1024;
/// More than any line of the protocol needs; a peer that sends more is none.
const LINE_MAX: u64 = 64 * 1024;
const ANSWER_MAX: usize = 1 << 20;
const CATEGORY: &str = "{category}";

pub(super) struct Nats {
    address: String,
    subject: String,
    id: String,
    login: Login,
    timeout: Duration,
    limits: DeliveryLimits,
    open: Option<Connection>,
}

impl Nats {
    pub fn new(settings: &SinkSettings, kind: &NatsSink) -> Result<Self, BuildError> {
        let is_bad = |text: &str| text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control());
        for text in [&kind.subject, &kind.id] {
            if is_bad(text) {
                return Err(BuildError::Text { text: text.clone() });
            }
        }
        let limits = DeliveryLimits::of(settings, kind.subject.contains(CATEGORY));
        Ok(Self {
            address: kind.address.clone(),
            subject: kind.subject.clone(),
            id: kind.id.clone(),
            login: kind.login.clone(),
            timeout: settings.timeout,
            limits: DeliveryLimits { max_bytes: limits.max_bytes.min(MAX_BATCH), ..limits },
            open: None,
        })
    }

    async fn deliver(&mut self, batch: &Batch) -> Verdict {
        match timeout(self.timeout, self.publish(batch)).await {
            // Anything but an answer to this message leaves the connection in doubt; it was taken out and is closed.
            Ok(Ok(answer)) => judge(&answer),
            Ok(Err(failure)) => self.told(failure),
            Err(_) => Verdict::TryAgain { after: None, why: format!("{}: no answer within `timeout`", self.address) },
        }
    }

    async fn publish(&mut self, batch: &Batch) -> Result<Answer, Failure> {
        let kept = match self.open.take() {
            Some(mut connection) => connection.is_alive().await.then_some(connection),
            None => None,
        };
        let mut connection = match kept {
            Some(connection) => connection,
            None => Connection::open(&self.address, &self.login).await?,
        };
        let subject = self.subject.replace(CATEGORY, batch.category().as_str());
        let head = format!("NATS/1.0\r\nNats-Msg-Id: {}\r\n\r\n", message_id(&self.id, batch));
        let size = head.len() + batch.size();
        if size > connection.max_payload {
            let why = format!("a message of {size} bytes; the server takes at most {}", connection.max_payload);
            self.open = Some(connection);
            return Err(Failure::TooLarge(why));
        }
        let answer = connection.request(&subject, &head, &batch.text()).await?;
        self.open = Some(connection);
        Ok(answer)
    }

    fn told(&self, failure: Failure) -> Verdict {
        let hide = |text: String| match &self.login {
            Login::Password(_, secret) | Login::Token(secret) => without(text, secret),
            Login::Nobody => text,
        };
        match failure {
            Failure::Io(error) => Verdict::TryAgain { after: None, why: format!("{}: {error}", self.address) },
            Failure::Said(text) => judge_error(&hide(text)),
            Failure::TooLarge(why) => Verdict::TooLarge { why },
            Failure::Tls => Verdict::Misconfigured {
                why: format!(
                    "{} wants TLS, which the nats sink does not speak; put a leaf node or a TLS tunnel between",
                    self.address
                ),
            },
        }
    }
}

impl Sink for Nats {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Verdict> {
        self.deliver(batch).boxed()
    }

    fn limits(&self) -> DeliveryLimits {
        self.limits
    }
}

fn without(text: String, secret: &Secret) -> String {
    if secret.expose().is_empty() { text } else { text.replace(secret.expose(), "***") }
}

/// The same for the same lines of the same agent, different for any other.
fn message_id(agent: &str, batch: &Batch) -> String {
    let first = batch.first();
    format!("{agent}-{}.{}-{}-{:08x}", first.seq, first.lines, batch.len(), crc32c::crc32c(&batch.text()))
}

/// What came to the inbox.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    /// Of the header `NATS/1.0 503`.
    status: Option<u16>,
    body: Bytes,
}

/// An acknowledgement of JetStream, or its refusal.
#[derive(Deserialize)]
struct PubAck {
    stream: Option<String>,
    error: Option<PubError>,
}

#[derive(Deserialize)]
struct PubError {
    code: u16,
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

/// Judges what came to the inbox.
fn judge(answer: &Answer) -> Verdict {
    if answer.status == Some(503) {
        let why = "no stream takes this subject; create one, or correct `subject`".to_owned();
        return Verdict::Misconfigured { why };
    }
    let text = String::from_utf8_lossy(&answer.body);
    let ack: PubAck = match serde_json::from_slice(&answer.body) {
        Ok(ack) => ack,
        Err(_) => return not_jetstream(&text),
    };
    match (ack.error, ack.stream) {
        (Some(error), _) => judge_refusal(&error),
        (None, Some(_)) => Verdict::Kept,
        (None, None) => not_jetstream(&text),
    }
}

/// Somebody who is no stream answered: nothing is known to be kept.
fn not_jetstream(text: &str) -> Verdict {
    let short: String = text.chars().take(200).collect();
    let why =
        format!("the answer is no acknowledgement of JetStream: `{short}`; another subscriber may answer on `subject`");
    Verdict::Misconfigured { why }
}

fn judge_refusal(error: &PubError) -> Verdict {
    let why = format!("JetStream {} ({}): {}", error.code, error.err_code, error.description);
    match (error.err_code, error.code) {
        // Message size exceeds the maximum of the stream, or of the account.
        (10054 | 10124, _) => Verdict::TooLarge { why },
        // Not enabled, not enabled for the account, wrong expected stream, sealed stream.
        (10076 | 10039 | 10060 | 10109, _) | (_, 401 | 403 | 404) => Verdict::Misconfigured { why },
        (_, 400) => Verdict::Refused { why },
        // 10077 among them: the stream is full and refuses what is new.
        _ => Verdict::TryAgain { after: None, why },
    }
}

/// Judges `-ERR '…'`.
fn judge_error(text: &str) -> Verdict {
    let why = format!("the server says {text}");
    let lower = text.to_lowercase();
    let is_about = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if is_about(&["maximum payload"]) {
        return Verdict::TooLarge { why };
    }
    if is_about(&["authorization", "authentication", "permissions violation", "invalid subject", "account"]) {
        return Verdict::Misconfigured {
            why: format!("{why}; check `username`, `password` or `token`, and the rights on `subject`"),
        };
    }
    Verdict::TryAgain { after: None, why }
}

#[derive(Debug)]
enum Failure {
    Io(io::Error),
    /// The text of `-ERR`.
    Said(String),
    TooLarge(String),
    Tls,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What the server says first.
#[derive(Deserialize)]
struct Info {
    max_payload: usize,
    #[serde(default)]
    tls_required: bool,
    #[serde(default)]
    headers: bool,
}

#[derive(Serialize)]
struct Connect<'a> {
    verbose: bool,
    pedantic: bool,
    headers: bool,
    no_responders: bool,
    lang: &'static str,
    version: &'static str,
    name: &'static str,
    protocol: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<&'a str>,
}

impl<'a> Connect<'a> {
    fn with(login: &'a Login) -> Self {
        let (user, pass, auth_token) = match login {
            Login::Nobody => (None, None, None),
            Login::Password(user, password) => (Some(user.as_str()), Some(password.expose()), None),
            Login::Token(token) => (None, None, Some(token.expose())),
        };
        Self {
            verbose: false,
            pedantic: false,
            headers: true,
            no_responders: true,
            lang: "rust",
            version: env!("CARGO_PKG_VERSION"),
            name: "pythond",
            protocol: 1,
            user,
            pass,
            auth_token,
        }
    }
}

/// A connection whose subscription to its inbox is known to the server.
struct Connection {
    stream: BufReader<TcpStream>,
    inbox: String,
    requests: u64,
    max_payload: usize,
}

/// What the server sent.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Ping,
    Pong,
    Message {
        subject: String,
        answer: Answer,
    },
    Error(String),
    /// `+OK`, a later `INFO`.
    Nothing,
}

impl Connection {
    async fn open(address: &str, login: &Login) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        let line = read_line(&mut stream).await?;
        let info = line.strip_prefix("INFO ").and_then(|json| serde_json::from_str::<Info>(json).ok());
        let info = info.ok_or_else(|| strange("the far end does not greet as a NATS server does"))?;
        if info.tls_required {
            return Err(Failure::Tls);
        }
        if !info.headers {
            return Err(Failure::Said("'no headers': it is older than 2.2, or `headers` is off".to_owned()));
        }
        let inbox = format!("_INBOX.pythond.{:016x}", draw());
        let connect = serde_json::to_string(&Connect::with(login)).expect("texts and numbers are JSON");
        stream.write_all(format!("CONNECT {connect}\r\nSUB {inbox}.* 1\r\nPING\r\n").as_bytes()).await?;
        let mut connection = Self { stream, inbox, requests: 0, max_payload: info.max_payload };
        loop {
            match connection.hear().await? {
                Said::Pong => return Ok(connection),
                Said::Error(text) => return Err(Failure::Said(text)),
                _ => {}
            }
        }
    }

    /// Answers what came while nothing was to be sent; false when the server gave the connection up, as it does after unanswered pings.
    async fn is_alive(&mut self) -> bool {
        loop {
            if self.stream.buffer().is_empty() {
                // Asks the system itself: what tokio knows may be older.
                let flags = NO_WAIT | RecvFlags::PEEK;
                match recv(self.stream.get_ref(), &mut [0; 1][..], flags) {
                    Ok((1.., _)) => {}
                    Err(Errno::INTR) => continue,
                    Err(Errno::WOULDBLOCK) => return true,
                    Ok(_) | Err(_) => return false,
                }
            }
            if !matches!(self.hear().await, Ok(Said::Ping | Said::Pong | Said::Message { .. } | Said::Nothing)) {
                return false;
            }
        }
    }

    /// Publishes and waits for the answer to this message.
    async fn request(&mut self, subject: &str, head: &str, text: &[u8]) -> Result<Answer, Failure> {
        self.requests += 1;
        let inbox = format!("{}.{}", self.inbox, self.requests);
        let (head_size, size) = (head.len(), head.len() + text.len());
        let start = format!("HPUB {subject} {inbox} {head_size} {size}\r\n{head}");
        let message = [start.as_bytes(), text, b"\r\n"].concat();
        // The server may refuse before it has read everything; its words count more than the broken write.
        let written = self.stream.get_mut().write_all(&message).await;
        loop {
            match self.hear().await {
                Ok(Said::Message { subject, answer }) if subject == inbox => return Ok(answer),
                Ok(Said::Error(text)) => return Err(Failure::Said(text)),
                Ok(_) => {}
                Err(error) => return Err(Failure::Io(written.err().unwrap_or(error))),
            }
        }
    }

    async fn hear(&mut self) -> io::Result<Said> {
        let said = hear(&mut self.stream).await?;
        if said == Said::Ping {
            self.stream.get_mut().write_all(b"PONG\r\n").await?;
        }
        Ok(said)
    }
}

/// Reads one message of the protocol.
async fn hear(stream: &mut BufReader<TcpStream>) -> io::Result<Said> {
    let line = read_line(stream).await?;
    let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
    Ok(match word.to_ascii_uppercase().as_str() {
        "PING" => Said::Ping,
        "PONG" => Said::Pong,
        "-ERR" => Said::Error(rest.trim().to_owned()),
        "MSG" | "HMSG" => {
            let (subject, head, size) = message_line(word.eq_ignore_ascii_case("HMSG"), rest)
                .ok_or_else(|| strange("a message without its sizes"))?;
            let mut body = vec![0; size + 2];
            stream.read_exact(&mut body).await?;
            body.truncate(size);
            let body = Bytes::from(body);
            let status = status(&body[..head]);
            Said::Message { subject, answer: Answer { status, body: body.slice(head..) } }
        }
        _ => Said::Nothing,
    })
}

/// `<subject> <sid> [reply] [head size] <size>`: the subject and the sizes.
fn message_line(has_head: bool, rest: &str) -> Option<(String, usize, usize)> {
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let size: usize = words.last()?.parse().ok()?;
    let head: usize = if has_head { words.get(words.len().checked_sub(2)?)?.parse().ok()? } else { 0 };
    (words.len() >= 3 && head <= size && size <= ANSWER_MAX).then(|| (words[0].to_owned(), head, size))
}

/// The number of `NATS/1.0 503`.
fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head).ok()?.lines().next()?;
    line.strip_prefix("NATS/1.0")?.split_ascii_whitespace().next()?.parse().ok()
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = Vec::new();
    stream.take(LINE_MAX).read_until(b'\n', &mut line).await?;
    if line.pop() != Some(b'\n') {
        return Err(if line.len() < LINE_MAX as usize - 1 {
            io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")
        } else {
            strange("a line that does not end")
        });
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn strange(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// An inbox nobody else has.
fn draw() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Position;
    use crate::point::Category;

    fn word(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Kept => "kept",
            Verdict::TryAgain { .. } => "try again",
            Verdict::Misconfigured { .. } => "misconfigured",
            Verdict::Refused { .. } => "refused",
            Verdict::TooLarge { .. } => "too large",
            _ => "other",
        }
    }

    fn judged(status: Option<u16>, body: &str) -> &'static str {
        word(&judge(&Answer { status, body: Bytes::copy_from_slice(body.as_bytes()) }))
    }

    #[test]
    fn answers_of_jetstream() {
        let cases = [
            (None, r#"{"stream":"LP", "seq":1}"#, "kept"),
            (None, r#"{"stream":"LP", "seq":1, "duplicate": true}"#, "kept"),
            (Some(503), "", "misconfigured"),
            (None, r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}"#, "try again"),
            (
                None,
                r#"{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}"#,
                "try again",
            ),
            (
                None,
                r#"{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"}}"#,
                "too large",
            ),
            (None, r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 1"}}"#, "refused"),
            (
                None,
                r#"{"error":{"code":400,"err_code":10060,"description":"expected stream does not match"}}"#,
                "misconfigured",
            ),
            (
                None,
                r#"{"error":{"code":503,"err_code":10039,"description":"jetstream not enabled for account"}}"#,
                "misconfigured",
            ),
            (None, r#"{"error":{"code":403,"description":"no"}}"#, "misconfigured"),
            (None, "", "misconfigured"),
            (None, "ok", "misconfigured"),
            (None, "{}", "misconfigured"),
        ];
        for (status, body, expected) in cases {
            assert_eq!(judged(status, body), expected, "{status:?} {body}");
        }
    }

    #[test]
    fn errors_of_the_server() {
        let cases = [
            ("'Authorization Violation'", "misconfigured"),
            ("'User Authentication Expired'", "misconfigured"),
            ("'Permissions Violation for Publish to \"lp\"'", "misconfigured"),
            ("'Maximum Payload Violation'", "too large"),
            ("'Stale Connection'", "try again"),
            ("'Server Shutdown'", "try again"),
        ];
        for (text, expected) in cases {
            assert_eq!(word(&judge_error(text)), expected, "{text}");
        }
    }

    #[test]
    fn the_same_lines_have_the_same_id_and_others_another() {
        let batch = |seq, lines, text: &'static str| {
            Batch::new(Category::Metric, Position { seq, lines }, "in/s", Bytes::from_static(text.as_bytes()))
        };
        let id = message_id("web01", &batch(7, 2, "m v=1 1\n"));
        assert!(id.starts_with("web01-7.2-1-"), "{id}");
        assert_eq!(id, message_id("web01", &batch(7, 2, "m v=1 1\n")));
        let others = [
            batch(7, 3, "m v=1 1\n"),
            batch(8, 2, "m v=1 1\n"),
            batch(7, 2, "m v=1 1\nm v=2 2\n"),
            batch(7, 2, "m v=2 1\n"),
        ];
        assert!(others.iter().all(|other| message_id("web01", other) != id));
    }

    #[test]
    fn message_lines_are_read() {
        assert_eq!(message_line(false, "_INBOX.x.1 1 24"), Some(("_INBOX.x.1".to_owned(), 0, 24)));
        assert_eq!(message_line(false, "_INBOX.x.1 1 reply 24"), Some(("_INBOX.x.1".to_owned(), 0, 24)));
        assert_eq!(message_line(true, "_INBOX.x.1 1 16 16"), Some(("_INBOX.x.1".to_owned(), 16, 16)));
        for bad in ["", "a", "a 1", "a 1 x", "a 1 99999999"] {
            assert_eq!(message_line(false, bad), None, "{bad}");
        }
        assert_eq!(message_line(true, "a 1 17 16"), None);
        assert_eq!(status(b"NATS/1.0 503\r\n\r\n"), Some(503));
        assert_eq!(status(b"NATS/1.0\r\nA: b\r\n\r\n"), None);
    }
}
