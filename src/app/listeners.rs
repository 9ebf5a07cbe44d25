//! Where the agent can be reached: its Unix socket, the one of scripts that run as other users, and the TCP port.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use anyhow::Context;
use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::code::Code;
use crate::config::Config;
use crate::containment::Panics;
use crate::ingest::server::{self, ConnectionPlaces, Peer};
use crate::platform::{self, SocketListener};
use crate::worker::frames::socket_for_other_users;

/// Ports tried after the one in the settings when that is taken.
const OTHER_PORTS: u16 = 10;

/// Sockets that are there, so that scripts can be told of them; nobody is served yet.
pub(super) struct Bound {
    unix: (PathBuf, SocketListener),
    for_other_users: Option<(PathBuf, SocketListener)>,
    tcp: Option<TcpListener>,
}

/// Sockets that are served.
pub(super) struct Listeners {
    tasks: Vec<JoinHandle<()>>,
    paths: Vec<PathBuf>,
    stop: CancellationToken,
}

impl Bound {
    /// Binds what the settings want.
    ///
    /// # Errors
    /// When the agent's own socket cannot be had, or the port for another reason than that it is taken.
    pub async fn of(config: &Config) -> anyhow::Result<Self> {
        let path = platform::reachable(&config.http_api.socket);
        let unix = bind_socket(&path).await?;
        let for_other_users = bind_for_other_users(config, &path).await;
        Ok(Self { unix: (path, unix), for_other_users, tcp: bind_tcp(config.http_api.listen).await? })
    }

    /// The agent's own socket.
    pub fn socket(&self) -> &Path {
        &self.unix.0
    }

    /// The port that could be had.
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves all of them; after a panic anew, on the same socket.
    ///
    /// # Errors
    /// When the system does not hand a socket over.
    pub fn serve(self, router: &Router, places: ConnectionPlaces, panics: &Panics) -> io::Result<Listeners> {
        let stop = CancellationToken::new();
        let keep = KeptListener { router: router.clone(), stop: stop.clone(), panics: panics.clone() };
        let (path, unix) = self.unix;
        let mut listeners = Listeners { tasks: Vec::new(), paths: vec![path], stop };
        listeners.tasks.push(keep.unix("the Unix socket", unix, places.unix, Peer::Unix)?);
        if let Some((path, scripts)) = self.for_other_users {
            listeners.tasks.push(keep.unix("the socket of the scripts", scripts, places.unix, Peer::Scripts)?);
            listeners.paths.push(path);
        }
        if let Some(tcp) = self.tcp {
            listeners.tasks.push(keep.tcp(tcp, places.tcp)?);
        }
        Ok(listeners)
    }
}

impl Listeners {
    /// From now on nobody new is let in; requests under way get their answer.
    pub fn close(&self) {
        self.stop.cancel();
    }

    /// Waits for these answers.
    pub async fn ended(mut self) {
        futures_util::future::join_all(std::mem::take(&mut self.tasks)).await;
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for path in &self.paths {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::debug!(target: "agent", "could not remove {}: {error}", path.display());
            }
        }
    }
}

async fn bind_socket(socket: &Path) -> anyhow::Result<SocketListener> {
    let dir = socket.parent().unwrap_or(Path::new("/"));
    if !dir.exists() {
        platform::make_private_folder(dir).with_context(|| format!("could not make {}", dir.display()))?;
    }
    if dir.starts_with("/tmp") && platform::is_another_users(dir)? {
        anyhow::bail!("{} belongs to another user; set a shorter [http_api] socket", dir.display());
    }
    platform::bind(socket).await.with_context(|| format!("could not listen on {}", socket.display()))
}

/// Binds the socket over which scripts that run as other users report; without it they report over TCP.
async fn bind_for_other_users(config: &Config, socket: &Path) -> Option<(PathBuf, SocketListener)> {
    let is_needed = config.inputs.iter().any(|input| input.enabled && input.user.is_some());
    if !is_needed {
        return None;
    }
    let path = socket_for_other_users(socket);
    match platform::bind_for_all(&path).await {
        Ok(listener) => Some((path, listener)),
        Err(error) => {
            tracing::warn!(target: "agent", "could not listen on {}: {error}; scripts with `user` report over TCP", path.display());
            None
        }
    }
}

/// Binds the port of the settings, or one of the next where it is taken: scripts are told the port, and have the socket anyway.
async fn bind_tcp(listen: SocketAddr) -> anyhow::Result<Option<TcpListener>> {
    let taken = match TcpListener::bind(listen).await {
        Ok(listener) => return Ok(Some(listener)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => error,
        Err(error) => return Err(error).with_context(|| format!("could not listen on {listen} ([http_api] listen)")),
    };
    let code = Code::PortTaken;
    for step in 1..=OTHER_PORTS {
        let Some(port) = listen.port().checked_add(step) else { break };
        let other = SocketAddr::new(listen.ip(), port);
        if let Ok(listener) = TcpListener::bind(other).await {
            tracing::warn!(target: "agent", "{code}: {listen} is taken ({taken}); using {other} for this run. Scripts are told the port through the SDK; to make it permanent: [http_api] listen = \"{other}\"");
            return Ok(Some(listener));
        }
    }
    tracing::warn!(target: "agent", "{code}: {listen} and the {OTHER_PORTS} ports after it are taken: scripts report over the Unix socket, the page is not served");
    Ok(None)
}

/// Serves, and serves anew on the same socket after a panic.
struct KeptListener {
    router: Router,
    stop: CancellationToken,
    panics: Panics,
}

impl KeptListener {
    fn unix(
        &self,
        name: &'static str,
        listener: SocketListener,
        places: usize,
        peer: Peer,
    ) -> io::Result<JoinHandle<()>> {
        let kept = self.until_stop(listener.into_std()?);
        Ok(self.spawn(name, move |router, stop| {
            let listener = kept.upgrade().map(|listener| listener.try_clone().and_then(SocketListener::from_std));
            opened(name, listener).map(|listener| server::serve_unix(listener, peer, router, places, stop))
        }))
    }

    fn tcp(&self, listener: TcpListener, places: usize) -> io::Result<JoinHandle<()>> {
        let kept = self.until_stop(listener.into_std()?);
        Ok(self.spawn("the TCP port", move |router, stop| {
            let listener = kept.upgrade().map(|listener| listener.try_clone().and_then(TcpListener::from_std));
            opened("the TCP port", listener).map(|listener| server::serve_tcp(listener, router, places, stop))
        }))
    }

    /// At the stop the port is closed, so that nobody waits in vain to be accepted.
    fn until_stop<L: Send + Sync + 'static>(&self, listener: L) -> Weak<L> {
        let listener = Arc::new(listener);
        let weak = Arc::downgrade(&listener);
        let stop = self.stop.clone();
        tokio::spawn(async move {
            stop.cancelled().await;
            drop(listener);
        });
        weak
    }

    fn spawn<F>(
        &self,
        name: &'static str,
        serve: impl Fn(Router, CancellationToken) -> Option<F> + Send + 'static,
    ) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send,
    {
        let Self { router, stop, panics } = self;
        let (router, stop, panics) = (router.clone(), stop.clone(), panics.clone());
        tokio::spawn(async move {
            let make = move || {
                let serving = serve(router.clone(), stop.clone());
                async move {
                    if let Some(serving) = serving {
                        serving.await;
                    }
                }
            };
            panics.keep_running(name, make).await;
        })
    }
}

fn opened<L>(name: &str, listener: Option<io::Result<L>>) -> Option<L> {
    listener?.inspect_err(|error| tracing::error!(target: "agent", "{name} is not served any more: {error}")).ok()
}
