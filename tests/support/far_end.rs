//! A far end that answers by a script: bare HTTP/1.1 over TCP, so that it can say what no HTTP library would let it say.
#![allow(dead_code)] // each test file uses its own part

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Far more than anything takes, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The lines of a body whose lines are one line each.
    pub fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }
}

/// What is said to a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Status, raw header lines (each with its `\r\n`), body, and how long to wait before.
    Answer { status: u16, headers: Vec<u8>, body: Vec<u8>, delay: Duration },
    /// The connection is cut instead of an answer.
    Cut,
    /// The connection is cut after these bytes of an answer.
    CutAfter(Vec<u8>),
    /// Nothing is said and the connection stays.
    Silence,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self::body(status, "")
    }

    pub fn body(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.into(), delay: Duration::ZERO }
    }

    pub fn with_header(self, line: impl AsRef<[u8]>) -> Self {
        let Self::Answer { status, mut headers, body, delay } = self else { panic!("only an answer has headers") };
        headers.extend_from_slice(line.as_ref());
        headers.extend_from_slice(b"\r\n");
        Self::Answer { status, headers, body, delay }
    }

    pub fn after(self, delay: Duration) -> Self {
        let Self::Answer { status, headers, body, .. } = self else { panic!("only an answer has a delay") };
        Self::Answer { status, headers, body, delay }
    }
}

/// Between an answer that comes early and the end of the connection, as Go's servers wait: a reset may overtake the answer.
const BEFORE_RESET: Duration = Duration::from_millis(500);

type Script = dyn FnMut(&Request, usize) -> Reply + Send;

struct Shared {
    script: Mutex<Box<Script>>,
    requests: Mutex<Vec<(Request, Reply)>>,
    came: Notify,
    /// A larger body is answered with 413 before it is read, and the connection closed.
    max_body: Option<usize>,
}

/// The far end; it ends with its value.
pub struct FarEnd {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

impl FarEnd {
    /// Starts one that answers by a function of the request and its number, from 0.
    pub async fn start(script: impl FnMut(&Request, usize) -> Reply + Send + 'static) -> Self {
        Self::begin(TcpListener::bind("127.0.0.1:0").await.unwrap(), script, None).await
    }

    /// Starts one where another was before, once its connections are gone.
    pub async fn start_at(address: SocketAddr, script: impl FnMut(&Request, usize) -> Reply + Send + 'static) -> Self {
        let give_up = tokio::time::Instant::now() + PATIENCE;
        loop {
            match TcpListener::bind(address).await {
                Ok(listener) => return Self::begin(listener, script, None).await,
                Err(error) if tokio::time::Instant::now() > give_up => panic!("{address} stays taken: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Starts one that answers 413 to larger bodies without reading them, as InfluxDB does, and closes.
    pub async fn that_reads_at_most(max_body: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::begin(listener, |_, _| Reply::status(204), Some(max_body)).await
    }

    async fn begin(
        listener: TcpListener,
        script: impl FnMut(&Request, usize) -> Reply + Send + 'static,
        max_body: Option<usize>,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Mutex::new(Box::new(script)),
            requests: Mutex::default(),
            came: Notify::new(),
            max_body,
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers by another script from now on.
    pub fn turn(&self, script: impl FnMut(&Request, usize) -> Reply + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().iter().map(|(request, _)| request.clone()).collect()
    }

    /// The requests that were answered with 204.
    pub fn accepted(&self) -> Vec<Request> {
        let requests = self.shared.requests.lock().unwrap();
        let is_kept = |reply: &Reply| matches!(reply, Reply::Answer { status: 204, .. });
        requests.iter().filter(|(_, reply)| is_kept(reply)).map(|(request, _)| request.clone()).collect()
    }

    /// Waits until so many requests came.
    pub async fn wait_for(&self, count: usize) {
        let enough = async {
            loop {
                let came = self.shared.came.notified();
                if self.shared.requests.lock().unwrap().len() >= count {
                    return;
                }
                came.await;
            }
        };
        tokio::time::timeout(PATIENCE, enough).await.expect("the requests come");
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&shared)));
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut stream = BufReader::new(stream);
    while let Some(mut request) = read_head(&mut stream).await {
        let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
        if shared.max_body.is_some_and(|max| length > max) {
            let early = Reply::body(413, r#"{"error":"Request Entity Too Large"}"#).with_header("Connection: close");
            note(&shared, request, early.clone());
            say(&mut stream, early).await;
            let _ = stream.shutdown().await;
            return tokio::time::sleep(BEFORE_RESET).await;
        }
        request.body = vec![0; length];
        if stream.read_exact(&mut request.body).await.is_err() {
            return;
        }
        let number = shared.requests.lock().unwrap().len();
        let reply = (shared.script.lock().unwrap())(&request, number);
        note(&shared, request, reply.clone());
        match reply {
            Reply::Answer { .. } => say(&mut stream, reply).await,
            Reply::Cut => return,
            Reply::CutAfter(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                return;
            }
            Reply::Silence => std::future::pending().await,
        }
    }
}

fn note(shared: &Shared, request: Request, reply: Reply) {
    shared.requests.lock().unwrap().push((request, reply));
    shared.came.notify_waiters();
}

async fn read_head(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Some(Request { method, target, headers, body: Vec::new() })
}

/// A client that went away is no fault of the far end.
async fn say(stream: &mut BufReader<TcpStream>, reply: Reply) {
    let Reply::Answer { status, headers, body, delay } = reply else { return };
    tokio::time::sleep(delay).await;
    let head = format!("HTTP/1.1 {status} said\r\nContent-Length: {}\r\n", body.len());
    let _ = stream.write_all(&[head.as_bytes(), &headers, b"\r\n"].concat()).await;
    let _ = stream.write_all(&body).await;
}
