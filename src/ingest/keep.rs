//! Where accepted lines go.

use futures_util::future::BoxFuture;

use crate::buffer::{AppendError, Log};
use crate::point::record::Header;

/// Where accepted lines go: the buffer of the agent, or the memory of `pythond run`.
pub trait PointStore: Send + Sync {
    /// Returns once the lines are safe.
    ///
    /// # Errors
    /// When nothing was kept.
    fn keep<'a>(&'a self, header: &'a Header, lines: &'a [u8]) -> BoxFuture<'a, Result<(), AppendError>>;

    /// Keeps the lines of several senders; each has an answer of its own, in their order.
    fn keep_all<'a>(&'a self, records: &'a [(Header, Vec<u8>)]) -> BoxFuture<'a, Vec<Result<(), AppendError>>> {
        let each = records.iter().map(|(header, lines)| self.keep(header, lines));
        Box::pin(futures_util::future::join_all(each))
    }
}

impl PointStore for Log {
    fn keep<'a>(&'a self, header: &'a Header, lines: &'a [u8]) -> BoxFuture<'a, Result<(), AppendError>> {
        Box::pin(async move { self.append(header.points, header.encode(lines).into()).await.map(|_| ()) })
    }

    fn keep_all<'a>(&'a self, records: &'a [(Header, Vec<u8>)]) -> BoxFuture<'a, Vec<Result<(), AppendError>>> {
        let encoded = records.iter().map(|(header, lines)| (header.points, header.encode(lines).into()));
        Box::pin(async move { self.append_all(encoded).await.into_iter().map(|kept| kept.map(|_| ())).collect() })
    }
}
