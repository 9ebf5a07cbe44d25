//! A byte stream to a far end that never answers: connected when needed, made anew when the far end closed it.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::recv;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::sinks::SocketAddress;
use crate::platform::{FarStream, NO_WAIT};

pub(super) struct SinkStream {
    address: SocketAddress,
    open: Option<OpenStream>,
}

enum OpenStream {
    Tcp(TcpStream),
    Unix(FarStream),
}

impl SinkStream {
    /// Makes a stream to a `tcp` or `unix` address; connects later.
    pub fn new(address: SocketAddress) -> Self {
        Self { address, open: None }
    }

    /// Hands all bytes to the system. After an error, which it says, the next call connects anew, so that no line is continued.
    pub async fn send(&mut self, text: &[u8], patience: Duration) -> Result<(), String> {
        match timeout(patience, self.write(text)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                self.open = None;
                Err(format!("{}: {error}", self.address))
            }
            Err(_) => {
                self.open = None;
                Err(format!("{}: not taken within `timeout`", self.address))
            }
        }
    }

    async fn write(&mut self, text: &[u8]) -> io::Result<()> {
        // A write to a connection that the far end has closed succeeds once, and is lost.
        if self.open.as_ref().is_some_and(OpenStream::is_closed) {
            tracing::warn!(target: "sink", "{} closed the connection; data that it had not read is lost", self.address);
            self.open = None;
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => OpenStream::connect(&self.address).await?,
        };
        // Put back only after success: when this future is dropped in the middle, the connection goes with it.
        let open = open.write(text).await?;
        self.open = Some(open);
        Ok(())
    }
}

impl OpenStream {
    async fn connect(address: &SocketAddress) -> io::Result<Self> {
        match address {
            SocketAddress::Tcp(address) | SocketAddress::Udp(address) => {
                let stream = TcpStream::connect(address.as_str()).await?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
            SocketAddress::Unix(path) | SocketAddress::UnixDatagram(path) => {
                Ok(Self::Unix(FarStream::connect(Path::new(path)).await?))
            }
        }
    }

    /// Reads away what the far end says; it has nothing to say. Asks the system itself: what tokio knows may be older.
    fn is_closed(&self) -> bool {
        let mut block = [0; 1024];
        loop {
            let read = match self {
                Self::Tcp(stream) => recv(stream, &mut block[..], NO_WAIT),
                Self::Unix(stream) => recv(stream, &mut block[..], NO_WAIT),
            };
            match read {
                Ok((0, _)) => return true,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return error != Errno::WOULDBLOCK,
            }
        }
    }

    async fn write(mut self, text: &[u8]) -> io::Result<Self> {
        match &mut self {
            Self::Tcp(stream) => stream.write_all(text).await?,
            Self::Unix(stream) => stream.write_all(text).await?,
        }
        Ok(self)
    }
}
