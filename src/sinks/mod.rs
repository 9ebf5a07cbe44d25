//! Delivery: the trait, the only list of kinds, and the pump that acts on a sink's verdict.
//!
//! A sink sends one [`Batch`] and judges the answer ([`Verdict`]); it never retries, splits or drops. The pump ([`pump`]) does all of that once
//! for all kinds: what to send next (`batch`), what a verdict means for it (`work`, pure), when to try again (`pace`, pure), what to tell
//! (`health`). Each sink has its own pump, task and cursor, so that one that is down, slow or wrong never holds up another.

mod batch;
mod dataway;
mod error;
mod fields;
mod file;
mod flavour;
mod greptimedb;
mod health;
mod html;
mod http;
mod influxdb;
mod limits;
mod lines;
mod nats;
mod pace;
pub mod pump;
mod questdb;
mod sink;
mod socket;
mod stream;
mod telegraf;
pub mod thread;
mod verdict;
mod victoriametrics;
mod work;

pub use batch::Batch;
pub use error::BuildError;
pub use flavour::LeftOut;
pub use health::{Health, HealthReport, RefusedPoints, SinkState};
pub use limits::DeliveryLimits;
pub use sink::Sink;
pub use verdict::Verdict;

use crate::config::sinks::{SinkKind, SinkSettings};

/// Makes the sink of a settings table: the only list of kinds.
///
/// # Errors
/// When the settings cannot work on this machine (a CA file that cannot be read, a folder that cannot be made); a far end that does not
/// answer is no error here.
pub fn build(settings: &SinkSettings) -> Result<Box<dyn Sink>, BuildError> {
    Ok(match &settings.kind {
        SinkKind::File(kind) => Box::new(file::SinkFile::new(settings, kind)?),
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
