//! The thread of the pumps: what they wait for (a disk, gzip, a handshake) never holds up ingest and the workers.

use std::io;

use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Starts it; tasks run on it while the guard lives.
///
/// # Errors
/// When the thread or its epoll descriptor cannot be had.
pub fn start() -> io::Result<(Handle, DropGuard)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (handle, end) = (runtime.handle().clone(), CancellationToken::new());
    let ended = end.clone().cancelled_owned();
    std::thread::Builder::new().name("sinks".to_owned()).spawn(move || runtime.block_on(ended))?;
    Ok((handle, end.drop_guard()))
}
