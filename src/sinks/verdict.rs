//! How a sink judges the answer of its far end.

use std::time::Duration;

/// What became of a batch.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Kept,
    /// All but these points, which the sink will never take, each with the sink's reason.
    KeptExcept(Vec<(usize, String)>),
    /// These points never, each with the sink's reason; of the others nothing is known. The pump sends the others again.
    RefusedPart(Vec<(usize, String)>),
    /// Nothing is known to be kept; `after` is the sink's own wish.
    TryAgain {
        after: Option<Duration>,
        why: String,
    },
    /// Only a person can cure it (401, 403, 404 …): everything is kept, tried seldom, and the health says why.
    Misconfigured {
        why: String,
    },
    /// The whole batch, because of something in it; the pump halves it until the poison is found.
    Refused {
        why: String,
    },
    /// Of this batch nothing can be held by this far end, so nothing was sent; the sink counts what it left out.
    Nothing,
    /// The whole batch, because of its size; the pump halves it and remembers the size.
    TooLarge {
        why: String,
    },
}
