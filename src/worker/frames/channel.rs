//! The agent's end of what a worker and it talk through.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;

use super::down::{Down, FRAME_BYTES};
use super::up::Up;
use crate::worker::sys;

/// The agent's end of a worker's control socket.
pub struct Channel {
    frames: sys::Frames,
    /// Number of the last frame.
    last: AtomicU64,
    missed: AtomicU64,
}

/// Frames are numbered one by one; a worker drops one rather than wait, and the gap shows it.
#[derive(Deserialize)]
struct Numbered {
    n: u64,
}

impl Channel {
    /// # Errors
    /// When the descriptor cannot be watched.
    pub fn new(socket: sys::ControlSocket) -> io::Result<Self> {
        Ok(Self { frames: sys::Frames::new(socket)?, last: AtomicU64::new(0), missed: AtomicU64::new(0) })
    }

    /// Gives the socket back, for whoever speaks another language over it.
    pub fn into_frames(self) -> sys::Frames {
        self.frames
    }

    /// How many frames the worker had to drop because nobody read them in time.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Sends a frame without waiting: a worker that does not read is judged by its silence, not by a blocked agent.
    ///
    /// # Errors
    /// When the worker is gone or its socket is full.
    pub fn send(&self, frame: &Down<'_>) -> io::Result<()> {
        let text = serde_json::to_vec(frame).map_err(io::Error::other)?;
        if text.len() > FRAME_BYTES {
            let why =
                format!("a frame of {} bytes is too long; is the table `config` of the input that large?", text.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        self.frames.send(&text)
    }

    /// Waits for a frame; `None` once the worker has closed its end. What is no frame comes as `Unknown`.
    ///
    /// # Errors
    /// When the socket cannot be read.
    pub async fn receive(&self) -> io::Result<Option<Up>> {
        let take = |frame: &[u8]| {
            if frame.is_empty() {
                return None;
            }
            self.number(frame);
            Some(serde_json::from_slice(frame).unwrap_or(Up::Unknown))
        };
        match self.frames.receive(take).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            received => received,
        }
    }

    fn number(&self, frame: &[u8]) {
        let Ok(Numbered { n }) = serde_json::from_slice(frame) else { return };
        let last = self.last.swap(n, Ordering::Relaxed);
        self.missed.fetch_add(n.saturating_sub(last.saturating_add(1)), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::down::{Address, Mode, Spec};
    use super::*;
    use crate::worker::{Duty, UnitSpec, WorkerSpec};

    fn pair() -> (Channel, std::os::unix::net::UnixDatagram) {
        let (ours, theirs) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        (Channel::new(ours).unwrap(), theirs.into())
    }

    #[tokio::test]
    async fn what_is_no_known_frame_is_passed_over_and_the_next_one_is_read() {
        let (channel, worker) = pair();
        for sent in [&b"\xff\xfe"[..], b"{", b"[]", b"{\"t\":\"news\",\"n\":1}", b"{\"t\":\"run\",\"i\":-1,\"k\":1}"] {
            worker.send(sent).unwrap();
            assert!(matches!(channel.receive().await.unwrap(), Some(Up::Unknown)), "{sent:?}");
        }
        worker.send(br#"{"t":"run","i":0,"k":7,"more":true,"n":2}"#).unwrap();
        assert!(matches!(channel.receive().await.unwrap(), Some(Up::Run { i: 0, k: 7 })));
        drop(worker);
        assert!(channel.receive().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn frames_that_the_worker_dropped_are_counted() {
        let (channel, worker) = pair();
        for n in [1, 2, 5, 6, 10] {
            worker.send(format!("{{\"t\":\"bye\",\"reason\":\"stop\",\"n\":{n}}}").as_bytes()).unwrap();
            channel.receive().await.unwrap();
        }
        assert_eq!(channel.missed(), 5);
    }

    #[tokio::test]
    async fn a_frame_that_is_too_long_is_refused_with_its_reason() {
        let (channel, _worker) = pair();
        let refused = channel.send(&Down::Stop { grace_ms: 1, finish: false });
        assert!(refused.is_ok());
        let config = serde_json::Value::String("x".repeat(FRAME_BYTES));
        let (path, address) = (
            PathBuf::from("/x"),
            Address {
                socket: "/s".into(),
                tcp: ([127, 0, 0, 1], 1).into(),
                hostname: "h".to_owned(),
                state_dir: "/d".into(),
            },
        );
        let spec = WorkerSpec {
            dialect: crate::dialect::Dialect::Datakit,
            isolation: "script",
            settings: serde_json::Value::Null,
            id: "x".to_owned(),
            input: "in".to_owned(),
            duty: Duty::Run,
            units: vec![UnitSpec::of_file("x".to_owned(), path, "/".into(), "x".to_owned())],
            shares: false,
            roots: Vec::new(),
            cmd: "python3".to_owned(),
            envs: Vec::new(),
            tags: std::collections::BTreeMap::new(),
            config,
            nice: 0,
            memory_max: None,
            user: None,
            restart: crate::config::Restart::Always,
            max_age: None,
            max_runs: None,
            umask: None,
            cwd: None,
            run_timeout: None,
            stop_grace: std::time::Duration::ZERO,
        };
        let error = channel.send(&Down::Spec(Spec::new(&spec, Mode::Worker, 1, 1, &address, "t"))).unwrap_err();
        assert!(error.to_string().contains("`config`"), "{error}");
    }
}
