//! Line protocol over a bare socket: `tcp`, `udp`, `unix` and `unixgram`, as Telegraf's `socket_listener` reads it.
//!
//! Nobody answers, so what the system took counts as kept: a receiver that ends with unread bytes, or a datagram that is dropped on the
//! way, costs points. Receivers split at newlines before they look for quotes, so a newline in a string is written as `\n`.

use std::io;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::config::SinkSettings;
use crate::config::sinks::{SocketAddress, SocketSink};
use crate::platform::{self, FarDatagram};

use super::batch::Batch;
use super::flavour::{AS_IT_IS, Flavour, Strings};
use super::limits::DeliveryLimits;
use super::sink::Sink;
use super::stream::SinkStream;
use super::verdict::Verdict;

const FLAVOUR: Flavour = Flavour { strings: Strings::OneLine, ..AS_IT_IS };
/// The largest payload that UDP over IPv4 can carry.
const UDP_MAX: usize = 65_507;

pub(super) struct Socket {
    wire: Wire,
    flavour: Flavour,
    timeout: Duration,
    limits: DeliveryLimits,
}

enum Wire {
    Stream(SinkStream),
    Datagrams { address: SocketAddress, open: Option<OpenSocket>, size: usize },
}

enum OpenSocket {
    Udp(UdpSocket),
    Unix(FarDatagram),
}

impl Socket {
    pub fn new(settings: &SinkSettings, kind: &SocketSink) -> Self {
        let size = usize::try_from(kind.max_datagram).unwrap_or(usize::MAX);
        let (wire, max_line) = match &kind.address {
            SocketAddress::Tcp(_) | SocketAddress::Unix(_) => {
                (Wire::Stream(SinkStream::new(kind.address.clone())), None)
            }
            SocketAddress::Udp(_) => (Wire::datagrams(&kind.address, size.min(UDP_MAX)), Some(UDP_MAX)),
            SocketAddress::UnixDatagram(_) => (Wire::datagrams(&kind.address, size), None),
        };
        let flavour = Flavour { max_line, ..FLAVOUR };
        Self { wire, flavour, timeout: settings.timeout, limits: DeliveryLimits::of(settings, false) }
    }

    async fn deliver(&mut self, batch: &Batch) -> Verdict {
        let adapted = self.flavour.adapt(batch);
        let Some(sent) = adapted.sent.clone() else { return adapted.verdict(Verdict::Nothing) };
        let verdict = match &mut self.wire {
            Wire::Stream(stream) => match stream.send(&sent.text(), self.timeout).await {
                Ok(()) => Verdict::Kept,
                Err(why) => Verdict::TryAgain { after: None, why },
            },
            Wire::Datagrams { address, open, size } => {
                match timeout(self.timeout, send(address, open, &sent, *size)).await {
                    Ok(verdict) => verdict,
                    Err(_) => Verdict::TryAgain { after: None, why: format!("{address}: not taken within `timeout`") },
                }
            }
        };
        adapted.verdict(verdict)
    }
}

impl Sink for Socket {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Verdict> {
        self.deliver(batch).boxed()
    }

    fn limits(&self) -> DeliveryLimits {
        self.limits
    }
}

impl Wire {
    fn datagrams(address: &SocketAddress, size: usize) -> Self {
        Self::Datagrams { address: address.clone(), open: None, size }
    }
}

async fn send(address: &SocketAddress, open: &mut Option<OpenSocket>, batch: &Batch, size: usize) -> Verdict {
    let mut too_long = Vec::new();
    for lines in datagrams(batch, size) {
        let datagram = batch.slice(lines.clone()).text();
        match send_one(address, open, &datagram).await {
            Ok(()) => {}
            // Larger than the system lets through: only a line that stands alone can be.
            Err(error) if platform::is_too_long_for_a_datagram(&error) && lines.len() == 1 => {
                too_long.push((lines.start, format!("{address}: a line of {} bytes: {error}", datagram.len())));
            }
            Err(error) => {
                *open = None;
                return Verdict::TryAgain { after: None, why: format!("{address}: {error}") };
            }
        }
    }
    if too_long.is_empty() { Verdict::Kept } else { Verdict::KeptExcept(too_long) }
}

async fn send_one(address: &SocketAddress, open: &mut Option<OpenSocket>, datagram: &[u8]) -> io::Result<()> {
    if open.is_none() {
        *open = Some(OpenSocket::connect(address).await?);
    }
    match open {
        Some(OpenSocket::Udp(socket)) => socket.send(datagram).await.map(drop),
        Some(OpenSocket::Unix(socket)) => socket.send(datagram).await.map(drop),
        None => Err(io::ErrorKind::NotConnected.into()),
    }
}

impl OpenSocket {
    async fn connect(address: &SocketAddress) -> io::Result<Self> {
        match address {
            SocketAddress::Udp(address) | SocketAddress::Tcp(address) => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
                for address in tokio::net::lookup_host(address.as_str()).await? {
                    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                    let socket = UdpSocket::bind(any).await?;
                    match socket.connect(address).await {
                        Ok(()) => return Ok(Self::Udp(socket)),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
            SocketAddress::UnixDatagram(path) | SocketAddress::Unix(path) => {
                platform::connect_datagram(path).map(Self::Unix)
            }
        }
    }
}

/// Whole lines of at most this size together; a longer line stands alone.
fn datagrams(batch: &Batch, size: usize) -> Vec<std::ops::Range<usize>> {
    let mut ranges = Vec::new();
    let (mut from, mut sum) = (0, 0);
    for n in 0..batch.len() {
        let line = batch.line(n).len() + 1;
        if n > from && sum + line > size {
            ranges.push(from..n);
            (from, sum) = (n, 0);
        }
        sum += line;
    }
    ranges.push(from..batch.len());
    ranges
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::buffer::Position;
    use crate::point::Category;

    #[test]
    fn datagrams_hold_whole_lines() {
        let text = "a v=1 1\nb v=2 2\nlonglonglonglong v=3 3\nd v=4 4\n";
        let batch = Batch::new(Category::Metric, Position::default(), "in/s", Bytes::from_static(text.as_bytes()));
        assert_eq!(datagrams(&batch, 16), [0..2, 2..3, 3..4]);
        assert_eq!(datagrams(&batch, 15), [0..1, 1..2, 2..3, 3..4]);
        assert_eq!(datagrams(&batch, 1000), vec![0..4]);
    }
}
