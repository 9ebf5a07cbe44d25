//! One buffer per thread to read into: a worker that says nothing holds none, and of hundreds nearly all say nothing.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

const BYTES: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; BYTES]);
}

/// Waits until there is something to read, and hands it to `act`; an empty slice is the end.
///
/// # Errors
/// When the pipe cannot be read.
pub async fn read<T>(pipe: &mut (impl AsyncRead + Unpin), mut act: impl FnMut(&[u8]) -> T) -> io::Result<T> {
    poll_fn(|context| poll_into(context, |context, buffer| Pin::new(&mut *pipe).poll_read(context, buffer), &mut act))
        .await
}

/// As `read`, for anything that fills a buffer when it is polled.
///
/// # Errors
/// Those of `poll`.
pub fn poll_into<T>(
    context: &mut Context<'_>,
    mut poll: impl FnMut(&mut Context<'_>, &mut ReadBuf<'_>) -> Poll<io::Result<()>>,
    act: &mut impl FnMut(&[u8]) -> T,
) -> Poll<io::Result<T>> {
    BUFFER.with_borrow_mut(|bytes| {
        let mut buffer = ReadBuf::new(bytes);
        ready!(poll(context, &mut buffer))?;
        Poll::Ready(Ok(act(buffer.filled())))
    })
}
