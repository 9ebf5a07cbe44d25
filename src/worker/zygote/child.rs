//! A zygote at work: the process that is asked for forks.

use std::io;
use std::time::Duration;

use tokio::net::UnixDatagram;

use super::messages::{ForkRequest, MESSAGE_BYTES, Reply, send_with};
use super::stamp::ZygoteStamp;
use crate::worker::children::Expected;
use crate::worker::launch::{Ended, StartError, Way};
use crate::worker::leash::{Death, Leash};
use crate::worker::process::{Process, ends};

pub(super) struct Zygote {
    pub socket: UnixDatagram,
    pub leash: Leash,
    pub death: Death,
    pub stamp: ZygoteStamp,
    pub requests: u64,
}

/// Why a worker was not forked.
pub(super) enum ForkError {
    /// The system has no room; it would have none for an exec either.
    Start(StartError),
    /// Nothing is wrong with the zygote, but this worker cannot come from one.
    Unfit(String),
    /// It did not answer as it must.
    Broken(String),
}

/// Ends the zygote inside when it is dropped.
pub(super) struct Reaped(pub Option<Zygote>);

impl Reaped {
    pub fn get(&self) -> &Zygote {
        self.0.as_ref().expect("it is taken out last")
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        if let Some(zygote) = self.0.take() {
            tokio::spawn(zygote.end());
        }
    }
}

impl Zygote {
    pub async fn fork(&mut self, request: &ForkRequest<'_>, limit: Duration) -> Result<Process, ForkError> {
        let broken = |why: String| ForkError::Broken(why);
        self.requests += 1;
        let passing = |source: io::Error| {
            ForkError::Start(StartError::Passing { program: request.launch.program.clone(), source })
        };
        let (ours, theirs) = ends().map_err(passing)?;
        let expected = Expected::new();
        send_with(&self.socket, &request.text, &theirs, request.launch.lock.as_deref())
            .map_err(|error| broken(format!("its zygote is gone: {error}")))?;
        drop(theirs);
        let said = tokio::time::timeout(limit, self.hear()).await;
        let said = said.unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs())));
        match said.map_err(|why| broken(format!("its zygote did not answer: {why}")))? {
            Reply::Forked { id, pid } if id == request.id => {
                let handle = expected.adopt(pid);
                let handle = handle.map_err(|error| broken(format!("its zygote said nonsense: {error}")))?;
                Ok(Process::new(pid, handle, ours, &request.launch.token, Way::Forked))
            }
            Reply::Failed { id, errno, why } if id == -1 || u64::try_from(id) == Ok(request.id) => {
                const INVALID: i32 = rustix::io::Errno::INVAL.raw_os_error();
                match errno {
                    INVALID => Err(ForkError::Unfit(format!("its zygote refused the request: {why}"))),
                    errno => Err(passing(io::Error::from_raw_os_error(errno))),
                }
            }
            other => Err(broken(format!("its zygote said {other:?}"))),
        }
    }

    pub async fn hear(&self) -> Result<Reply, String> {
        let mut buffer = vec![0; MESSAGE_BYTES];
        match self.socket.recv(&mut buffer).await {
            Ok(0) => Err("it has ended".to_owned()),
            Ok(count) => {
                serde_json::from_slice(&buffer[..count]).map_err(|error| format!("it cannot be read: {error}"))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    pub async fn end(self) -> Ended {
        let Self { socket, leash, death, .. } = self;
        drop(socket);
        in_background(move || {
            leash.end_tree();
        })
        .await;
        if let Err(error) = death.wait().await {
            tracing::error!(target: "worker", "cannot watch a zygote for its end: {error}");
        }
        death.reap()
    }
}

pub(super) async fn death_of(zygote: Option<&Zygote>) {
    match zygote {
        Some(zygote) if zygote.death.wait().await.is_ok() => {}
        _ => std::future::pending().await,
    }
}

pub(super) fn proportional_size(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Does what blocks; a panic in it is logged by the runtime.
pub(super) async fn in_background(act: impl FnOnce() + Send + 'static) {
    let _ = tokio::task::spawn_blocking(act).await;
}
