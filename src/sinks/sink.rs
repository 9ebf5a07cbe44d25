//! What every kind of sink does.

use futures_util::future::BoxFuture;

use super::batch::Batch;
use super::flavour::LeftOut;
use super::limits::DeliveryLimits;
use super::verdict::Verdict;

/// One place that points are delivered to.
///
/// The sink judges, the pump acts: retry, order and dead letters exist once.
pub trait Sink: Send {
    /// Sends the batch once and judges the answer.
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Verdict>;

    /// How large a batch may be, and of what.
    fn limits(&self) -> DeliveryLimits;

    /// The fields of the last batch that this far end cannot hold and that were not sent.
    fn left_out(&self) -> LeftOut {
        LeftOut::new()
    }
}
