//! The client of the agent's Unix socket, which all commands share that need a running agent.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::StatusCode;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use super::exit::ExitReason;
use super::output::warn;
use super::runtime::small_runtime;
use crate::app;
use crate::config::{self, Surroundings};
use crate::ingest::reply::RefusedAnswer;
use crate::platform::{self, reachable};

/// How long an answer may take that the agent has at hand.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// Asks the agent of one root directory, one request after the other; what goes wrong is said here.
pub(super) struct AgentClient<'a> {
    root: &'a Path,
    socket: PathBuf,
    runtime: Runtime,
}

impl<'a> AgentClient<'a> {
    pub fn of(root: &'a Path) -> Self {
        Self { root, socket: socket_of(root), runtime: small_runtime() }
    }

    /// Reads one of the views; whoever answers anything but 2xx is no agent.
    pub fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, ExitReason> {
        let asked = request(&self.socket, "GET", path, Vec::new());
        let body = self.runtime.block_on(asked).map_err(|error| self.no_agent(&error))?;
        understood(&body)
    }

    /// Asks for one of the views, which the agent may refuse.
    pub fn ask<T: DeserializeOwned>(&self, method: &str, path: &str, patience: Duration) -> Result<T, ExitReason> {
        let (status, body) = self.send(method, path, Vec::new(), patience)?;
        accepted(status, &body)?;
        understood(&body)
    }

    /// Sends one request without a body; the answer, whatever it is.
    pub fn exchange(&self, method: &str, path: &str) -> Result<(StatusCode, Vec<u8>), ExitReason> {
        self.send(method, path, Vec::new(), ANSWER)
    }

    /// Sends one request; the answer, whatever it is.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<(StatusCode, Vec<u8>), ExitReason> {
        let exchange = exchange_within(&self.socket, method, path, body, patience);
        self.runtime.block_on(exchange).map_err(|error| self.no_agent(&error))
    }

    /// Says that nobody is there.
    fn no_agent(&self, error: &anyhow::Error) -> ExitReason {
        warn(&format!(
            "error: no agent answers on {}: {error:#}\n  = help: start it with `pythond --root {}`, or name its directory with --root\n",
            self.socket.display(),
            self.root.display()
        ));
        ExitReason::NoAgent
    }
}

/// Says that the agent refused, if it did.
pub(super) fn accepted(status: StatusCode, body: &[u8]) -> Result<(), ExitReason> {
    if status.is_success() {
        return Ok(());
    }
    warn(&format!("error: the agent refused: {}\n", refusal(body)));
    Err(ExitReason::Failed)
}

/// The message of a refusing answer.
pub(super) fn refusal(body: &[u8]) -> String {
    let parsed = serde_json::from_slice::<RefusedAnswer>(body);
    parsed.map_or_else(|_| String::from_utf8_lossy(body).into_owned(), |answer| answer.message)
}

/// An answer as one of the views, or the words that it cannot be one.
pub(super) fn understood<T: DeserializeOwned>(body: &[u8]) -> Result<T, ExitReason> {
    serde_json::from_slice(body).map_err(|error| {
        warn(&format!("error: the agent's answer cannot be read ({error}); is it of another version?\n"));
        ExitReason::Failed
    })
}

/// A text as a part of a path or of the arguments behind it.
pub(super) fn escaped(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

/// The socket as the settings name it; with faulty settings the default place, since an agent may still run on the old ones.
pub(super) fn socket_of(root: &Path) -> PathBuf {
    let socket = match config::read(root, &Surroundings::of_this_process()) {
        Ok(config) => config.http_api.socket,
        Err(_) => app::default_socket(root),
    };
    reachable(&socket)
}

/// Sends one request over the Unix socket; an answer other than 2xx is an error.
pub(super) async fn request(socket: &Path, method: &str, path: &str, body: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let (status, body) = exchange_within(socket, method, path, body, ANSWER).await?;
    anyhow::ensure!(status.is_success(), "it answered {status}: {}", String::from_utf8_lossy(&body));
    Ok(body)
}

/// Sends one request over the Unix socket; the answer, whatever it is.
async fn exchange_within(
    socket: &Path,
    method: &str,
    path: &str,
    body: Vec<u8>,
    patience: Duration,
) -> anyhow::Result<(StatusCode, Vec<u8>)> {
    let exchange = async {
        let stream = platform::connect(socket).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .body(Full::new(bytes::Bytes::from(body)))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes().to_vec();
        driver.abort();
        Ok((status, body))
    };
    tokio::time::timeout(patience, exchange)
        .await
        .map_err(|_| anyhow::anyhow!("no answer within {} s", patience.as_secs()))?
}
