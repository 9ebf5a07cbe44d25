//! Delivery: the trait, the only list of kinds, and the pump that acts on a sink's verdict.
//!
//! A sink sends one [`Batch`] and judges the answer ([`Verdict`]); it never retries, splits or drops. The pump ([`pump`]) does all of that once
//! for all kinds: what to send next (`batch`), what a verdict means for it (`work`, pure), when to try again (`pace`, pure), what to tell
//! (`health`). Each sink has its own pump, task and cursor, so that one that is down, slow or wrong never holds up another.

mod batch;
mod dataway;
mod dialect;
mod fields;
mod file;
mod greptimedb;
mod health;
mod html;
mod http;
mod influxdb;
mod lines;
mod nats;
mod pace;
pub mod pump;
mod questdb;
mod socket;
mod stream;
mod telegraf;
pub mod thread;
mod victoriametrics;
mod work;

use std::time::Duration;

use futures_util::future::BoxFuture;

pub use batch::Batch;
pub use dialect::LeftOut;
pub use health::{Health, HealthReport, RefusedPoints, State};

use crate::config::sinks::{SinkKind, SinkSettings};

/// One place that points are delivered to.
///
/// The sink judges, the pump acts: retry, order and dead letters exist once.
pub trait Sink: Send {
    /// Sends the batch once and judges the answer.
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Verdict>;

    /// How large a batch may be, and of what.
    fn limits(&self) -> Limits;

    /// The fields of the last batch that this far end cannot hold and that were not sent.
    fn left_out(&self) -> LeftOut {
        LeftOut::new()
    }
}

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

/// What a sink takes in one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of line protocol; a single longer line is sent alone.
    pub max_bytes: usize,
    pub max_points: usize,
    /// True: one category per batch.
    pub by_category: bool,
}

/// Points in one request at most: enough to make the request's own cost vanish, few enough for InfluxDB 1.x' series limit.
const MAX_POINTS: usize = 10_000;

/// A sink that cannot be made from its settings.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("`url` is `{url}`; it must be like http://host:8086")]
    Url { url: String },
    #[error("could not read `ca_file` {path}")]
    CaFile { path: std::path::PathBuf, source: std::io::Error },
    #[error("`ca_file` {path} holds no usable PEM certificate")]
    CaPem { path: std::path::PathBuf },
    #[error("the HTTP client could not be made: {why}")]
    Client { why: String },
    #[error("`token` holds bytes that no HTTP header can carry")]
    Token,
    #[error("`{text}` cannot stand in a header or a subject")]
    Text { text: String },
    #[error("could not make the folder {dir}")]
    Dir { dir: std::path::PathBuf, source: std::io::Error },
}

/// Makes the sink of a settings table: the only list of kinds.
///
/// # Errors
/// When the settings cannot work on this machine (a CA file that cannot be read, a folder that cannot be made); a far end that does not
/// answer is no error here.
pub fn build(settings: &SinkSettings) -> Result<Box<dyn Sink>, BuildError> {
    Ok(match &settings.kind {
        SinkKind::File(kind) => Box::new(file::File::new(settings, kind)?),
        SinkKind::Influxdb(kind) => Box::new(influxdb::Influxdb::new(settings, kind)?),
        SinkKind::Dataway(kind) => Box::new(dataway::Dataway::new(settings, kind)?),
        SinkKind::Victoriametrics(kind) => Box::new(victoriametrics::new(settings, kind)?),
        SinkKind::Questdb(kind) => questdb::new(settings, kind)?,
        SinkKind::Telegraf(kind) => Box::new(telegraf::new(settings, kind)?),
        SinkKind::Greptimedb(kind) => Box::new(greptimedb::new(settings, kind)?),
        SinkKind::Socket(kind) => Box::new(socket::Socket::new(settings, kind)),
        SinkKind::Nats(kind) => Box::new(nats::Nats::new(settings, kind)?),
    })
}

/// The limits that the settings give; the size is at least one byte, so that a batch always holds a line.
fn limits(settings: &SinkSettings, by_category: bool) -> Limits {
    let max_bytes = usize::try_from(settings.max_batch).unwrap_or(usize::MAX).max(1);
    Limits { max_bytes, max_points: MAX_POINTS, by_category }
}
