//! Far ends without HTTP: what reads lines from a socket and says nothing, and a NATS server that answers by a script.
#![allow(dead_code)] // each test file uses its own part

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pythond::config::sinks::SocketAddress;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener};
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;

/// Far more than anything takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the NATS server says to a message.
#[derive(Debug, Clone, Copy)]
pub enum Said {
    Kept,
    /// Nobody listens to the subject.
    Nobody,
    Json(&'static str),
    TooLarge,
    /// `-ERR`, and the connection is closed.
    Error(&'static str),
    Cut,
    Silence,
}

type Script = dyn FnMut(&[u8], usize) -> Said + Send;

#[derive(Clone, Copy, Debug)]
enum Order {
    Ping,
    Close,
}

#[derive(Default)]
struct Seen {
    /// Datagrams, reads of a stream, or messages that were kept.
    pieces: Vec<Vec<u8>>,
    /// Subject and headers of every message.
    heads: Vec<String>,
    connects: Vec<String>,
    pings: usize,
    pongs: usize,
}

struct Shared {
    seen: Mutex<Seen>,
    came: Notify,
}

impl Shared {
    fn note(&self, add: impl FnOnce(&mut Seen)) {
        add(&mut self.seen.lock().unwrap());
        self.came.notify_waiters();
    }
}

/// A far end; it ends with its value.
pub struct WireEnd {
    shared: Arc<Shared>,
    orders: broadcast::Sender<Order>,
    accepting: JoinHandle<()>,
    address: SocketAddress,
}

impl WireEnd {
    /// Starts one that reads lines and says nothing.
    pub async fn start(address: &SocketAddress) -> Self {
        let shared = Arc::new(Shared { seen: Mutex::default(), came: Notify::new() });
        let to = Arc::clone(&shared);
        let (orders, _) = broadcast::channel(8);
        let accepting = match address {
            SocketAddress::Tcp(address) => {
                let listener = TcpListener::bind(address.as_str()).await.unwrap();
                tokio::spawn(async move {
                    let mut readers = tokio::task::JoinSet::new();
                    while let Ok((stream, _)) = listener.accept().await {
                        readers.spawn(read(Arc::clone(&to), stream));
                    }
                })
            }
            SocketAddress::Unix(path) => {
                let listener = UnixListener::bind(path).unwrap();
                tokio::spawn(async move {
                    let mut readers = tokio::task::JoinSet::new();
                    while let Ok((stream, _)) = listener.accept().await {
                        readers.spawn(read(Arc::clone(&to), stream));
                    }
                })
            }
            SocketAddress::Udp(address) => {
                let socket = UdpSocket::bind(address.as_str()).await.unwrap();
                tokio::spawn(async move {
                    let mut block = vec![0; 70_000];
                    while let Ok(size) = socket.recv(&mut block).await {
                        to.note(|seen| seen.pieces.push(block[..size].to_vec()));
                    }
                })
            }
            SocketAddress::UnixDatagram(path) => {
                let socket = UnixDatagram::bind(path).unwrap();
                tokio::spawn(async move {
                    let mut block = vec![0; 1 << 20];
                    while let Ok(size) = socket.recv(&mut block).await {
                        to.note(|seen| seen.pieces.push(block[..size].to_vec()));
                    }
                })
            }
        };
        Self { shared, orders, accepting, address: address.clone() }
    }

    /// Starts a NATS server that answers by a function of the message and its number, from 0.
    pub async fn nats(address: &SocketAddress, script: impl FnMut(&[u8], usize) -> Said + Send + 'static) -> Self {
        let SocketAddress::Tcp(tcp) = address else { panic!("NATS is TCP") };
        let shared = Arc::new(Shared { seen: Mutex::default(), came: Notify::new() });
        let script: Arc<Mutex<Box<Script>>> = Arc::new(Mutex::new(Box::new(script)));
        let (orders, _) = broadcast::channel(8);
        let (to, given) = (Arc::clone(&shared), orders.clone());
        let listener = TcpListener::bind(tcp.as_str()).await.unwrap();
        let accepting = tokio::spawn(async move {
            let mut clients = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                clients.spawn(serve(Arc::clone(&to), Arc::clone(&script), given.subscribe(), stream));
            }
        });
        Self { shared, orders, accepting, address: address.clone() }
    }

    /// Ends it, connections and all, before it returns.
    pub async fn end(mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
        // Whoever serves a connection holds a share for as long.
        while Arc::strong_count(&self.shared) > 1 {
            tokio::task::yield_now().await;
        }
    }

    pub fn pieces(&self) -> Vec<Vec<u8>> {
        self.shared.seen.lock().unwrap().pieces.clone()
    }

    pub fn heads(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().heads.clone()
    }

    pub fn connects(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().connects.clone()
    }

    pub async fn wait_for_pong(&self) {
        self.until(|seen| seen.pongs > 0).await;
    }

    /// All lines that begin so, in order.
    pub fn lines(&self, prefix: &str) -> Vec<String> {
        let text = String::from_utf8(self.pieces().concat()).unwrap();
        text.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect()
    }

    pub async fn wait_for_lines(&self, count: usize) {
        self.until(|seen| seen.pieces.iter().flatten().filter(|byte| **byte == b'\n').count() >= count).await;
    }

    /// Sends a PING to the client; the answer comes when it next looks.
    pub async fn ping(&self) {
        self.orders.send(Order::Ping).unwrap();
        self.until(|seen| seen.pings > 0).await;
    }

    /// Closes every connection, and waits until that is done.
    pub async fn drop_connections(&self) {
        self.orders.send(Order::Close).unwrap();
        while self.orders.receiver_count() > 0 {
            tokio::task::yield_now().await;
        }
    }

    async fn until(&self, is_so: impl Fn(&Seen) -> bool) {
        let enough = async {
            loop {
                let came = self.shared.came.notified();
                if is_so(&self.shared.seen.lock().unwrap()) {
                    return;
                }
                came.await;
            }
        };
        tokio::time::timeout(PATIENCE, enough).await.expect("the lines come");
    }
}

impl Drop for WireEnd {
    fn drop(&mut self) {
        self.accepting.abort();
        if let SocketAddress::Unix(path) | SocketAddress::UnixDatagram(path) = &self.address {
            let _ = std::fs::remove_file(path);
        }
    }
}

async fn read(to: Arc<Shared>, mut stream: impl AsyncRead + Unpin) {
    let mut block = vec![0; 64 * 1024];
    while let Ok(size @ 1..) = stream.read(&mut block).await {
        to.note(|seen| seen.pieces.push(block[..size].to_vec()));
    }
}

async fn serve(
    to: Arc<Shared>,
    script: Arc<Mutex<Box<Script>>>,
    mut orders: broadcast::Receiver<Order>,
    stream: TcpStream,
) {
    let mut stream = BufReader::new(stream);
    let info = b"INFO {\"server_id\":\"t\",\"version\":\"2.9.10\",\"headers\":true,\"max_payload\":1048576}\r\n";
    let _ = stream.get_mut().write_all(info).await;
    loop {
        let mut line = String::new();
        tokio::select! {
            read = stream.read_line(&mut line) => if !matches!(read, Ok(1..)) { return },
            order = orders.recv() => match order {
                Ok(Order::Ping) => {
                    stream.get_mut().write_all(b"PING\r\n").await.unwrap();
                    to.note(|seen| seen.pings += 1);
                }
                _ => return,
            },
        }
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["CONNECT", ..] => to.note(|seen| seen.connects.push(line.clone())),
            ["PONG"] => to.note(|seen| seen.pongs += 1),
            ["PING"] => stream.get_mut().write_all(b"PONG\r\n").await.unwrap(),
            ["HPUB", subject, inbox, head, size] => {
                let (head, size): (usize, usize) = (head.parse().unwrap(), size.parse().unwrap());
                let mut message = vec![0; size + 2];
                if stream.read_exact(&mut message).await.is_err() {
                    return;
                }
                message.truncate(size);
                let text = message.split_off(head);
                let said = note(&to, &script, subject, message, text);
                let answer = |json: &str| format!("MSG {inbox} 1 {}\r\n{json}\r\n", json.len());
                let answer = match said {
                    Said::Kept => answer(r#"{"stream":"LP", "seq":1}"#),
                    Said::Json(json) => answer(json),
                    Said::TooLarge => answer(
                        r#"{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"}}"#,
                    ),
                    Said::Nobody => format!("HMSG {inbox} 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"),
                    Said::Error(text) => format!("-ERR {text}\r\n"),
                    Said::Cut => return,
                    Said::Silence => continue,
                };
                let _ = stream.get_mut().write_all(answer.as_bytes()).await;
                if matches!(said, Said::Error(_)) {
                    return;
                }
            }
            _ => {}
        }
    }
}

fn note(to: &Shared, script: &Mutex<Box<Script>>, subject: &str, head: Vec<u8>, text: Vec<u8>) -> Said {
    let number = to.seen.lock().unwrap().heads.len();
    let said = (script.lock().unwrap())(&text, number);
    to.note(|seen| {
        seen.heads.push(format!("{subject}\r\n{}", String::from_utf8(head).unwrap()));
        if matches!(said, Said::Kept) {
            seen.pieces.push(text);
        }
    });
    said
}
