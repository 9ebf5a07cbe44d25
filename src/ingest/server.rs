//! The listeners: TCP and Unix socket, each with a bound on open connections and on the time a request's head may take.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::platform::SocketListener;
use crate::telemetry::trouble::RepeatedTrouble;
use crate::worker::room::FileRoom;

/// How a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Tcp,
    /// Over the socket that every user may write to, for the scripts of other users. They may do what is allowed over TCP, and send rows.
    Scripts,
    /// Over the agent's own socket.
    Unix,
}

/// A request's head must be there within this time; an idle kept-alive connection is closed after it too.
const HEAD: Duration = Duration::from_secs(30);
/// Workers keep their connection over the rest between two runs.
const HEAD_UNIX: Duration = Duration::from_secs(600);
/// The Unix socket has places of its own, so that a flood on TCP takes none from the workers.
const UNIX_CONNECTIONS: usize = 4096;
/// Fewer would shut everybody out.
const FEWEST: usize = 4;
const HEAD_BYTES: usize = 64 * 1024;

/// How many connections each listener may have open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionPlaces {
    pub tcp: usize,
    pub unix: usize,
}

/// Shares out the descriptors: first come the agent's own files and its workers, so that a flood of connections costs no script its start.
pub fn places(max_tcp: usize, room: FileRoom, workers: usize) -> ConnectionPlaces {
    let (free, open_files) = (room.beside(workers), room.open_files());
    let most = (free / 2).max(FEWEST);
    if most < max_tcp {
        tracing::warn!(target: "ingest", "only {most} connections are taken at a time instead of {max_tcp}: the limit on open files is {open_files}");
    }
    ConnectionPlaces { tcp: max_tcp.min(most), unix: UNIX_CONNECTIONS.min(most) }
}

/// Serves TCP until `stop`; open requests get their answer.
pub async fn serve_tcp(listener: TcpListener, router: Router, max_connections: usize, stop: CancellationToken) {
    let mut connections = Connections::new(router, max_connections, stop);
    while let Some(place) = connections.place().await {
        let Some(stream) = connections.accept(listener.accept()).await else { break };
        let Ok((stream, _)) = stream else { continue };
        // Small answers go out at once.
        stream.set_nodelay(true).unwrap_or_else(|error| tracing::debug!("could not set TCP_NODELAY: {error}"));
        connections.serve(stream, Peer::Tcp, HEAD, place);
    }
    drop(listener);
    connections.end().await;
}

/// Serves a Unix socket until `stop`; `peer` says whether those who come this way may do more than is allowed over TCP.
pub async fn serve_unix(
    listener: SocketListener,
    peer: Peer,
    router: Router,
    max_connections: usize,
    stop: CancellationToken,
) {
    let mut connections = Connections::new(router, max_connections, stop);
    while let Some(place) = connections.place().await {
        let Some(stream) = connections.accept(listener.accept()).await else { break };
        let Ok((stream, _)) = stream else { continue };
        connections.serve(stream, peer, HEAD_UNIX, place);
    }
    drop(listener);
    connections.end().await;
}

/// The open connections of one listener, and the places for them.
struct Connections {
    places: Arc<Semaphore>,
    open: TaskTracker,
    router: Router,
    stop: CancellationToken,
    /// No connection can be accepted.
    deaf: RepeatedTrouble,
}

impl Connections {
    fn new(router: Router, max: usize, stop: CancellationToken) -> Self {
        Self {
            places: Arc::new(Semaphore::new(max)),
            open: TaskTracker::new(),
            router,
            stop,
            deaf: RepeatedTrouble::default(),
        }
    }

    /// Waits for a place; `None` at the stop.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            place = Arc::clone(&self.places).acquire_owned() => place.ok(),
            () = self.stop.cancelled() => None,
        }
    }

    /// `None` at the stop. An accept that fails for want of descriptors is tried again after a pause, not in a busy loop.
    async fn accept<T>(&mut self, accepting: impl Future<Output = io::Result<T>>) -> Option<io::Result<T>> {
        let accepted = tokio::select! {
            accepted = accepting => accepted,
            () = self.stop.cancelled() => return None,
        };
        let now = Instant::now();
        match &accepted {
            Ok(_) => {
                if let Some(over) = self.deaf.goes_well(now) {
                    tracing::warn!(target: "ingest", "connections are accepted again; that failed {} times: {}", over.times, over.why);
                }
            }
            Err(error) => {
                if self.deaf.happens(&error.to_string(), now) {
                    tracing::warn!(target: "ingest", "cannot accept connections: {error}; trying again");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Some(accepted)
    }

    fn serve<S>(&self, stream: S, peer: Peer, head: Duration, place: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connection = serve(stream, peer, head, self.router.clone(), self.stop.clone());
        self.open.spawn(async move {
            connection.await;
            drop(place);
        });
    }

    async fn end(self) {
        self.open.close();
        self.open.wait().await;
    }
}

async fn serve<S>(stream: S, peer: Peer, head: Duration, router: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        // A client that has said all it has to say (`nc -N`) still waits for the answer.
        .half_close(true)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(target: "ingest", "a connection ended early: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_scripts() {
        assert_eq!(places(1024, FileRoom::under(65_536), 300), ConnectionPlaces { tcp: 1024, unix: 4096 });
        assert_eq!(places(1024, FileRoom::under(1024), 10), ConnectionPlaces { tcp: 452, unix: 452 });
        assert_eq!(places(1024, FileRoom::under(96), 2), ConnectionPlaces { tcp: 20, unix: 20 });
        assert_eq!(places(1024, FileRoom::under(96), 300), ConnectionPlaces { tcp: FEWEST, unix: FEWEST });
        assert_eq!(places(2, FileRoom::under(usize::MAX), 0), ConnectionPlaces { tcp: 2, unix: 4096 });
    }
}
