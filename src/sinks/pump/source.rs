//! Where a pump takes records from.

use std::io;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::buffer::{Cursor, LoggedRecord, Position, ReadError};

/// Where the pump takes records from: a cursor of the buffer, or a list in tests.
pub trait Source: Send {
    /// Reads what follows the confirmed place, at least one record; waits for it. May be dropped and called again at any time.
    ///
    /// # Errors
    /// When the disk says no (a later call may succeed), or when the source is closed.
    fn next(&mut self, max_bytes: usize) -> BoxFuture<'_, Result<Vec<LoggedRecord>, ReadError>>;
    /// The confirmed place.
    fn position(&self) -> Position;
    /// Moves the confirmed place.
    ///
    /// # Errors
    /// When the place could not be saved; reading goes on behind it all the same.
    fn confirm(&mut self, to: Position) -> io::Result<()>;
    /// Says whether `next` would return at once.
    fn waiting(&self) -> bool;
    /// Points behind the confirmed place.
    fn behind_points(&self) -> u64;
}

impl Source for Cursor {
    fn next(&mut self, max_bytes: usize) -> BoxFuture<'_, Result<Vec<LoggedRecord>, ReadError>> {
        self.next(max_bytes).boxed()
    }

    fn position(&self) -> Position {
        self.position()
    }

    fn confirm(&mut self, to: Position) -> io::Result<()> {
        self.confirm(to)
    }

    fn waiting(&self) -> bool {
        self.waiting()
    }

    fn behind_points(&self) -> u64 {
        self.behind_points()
    }
}
