//! One sink's loop: take what gathered, send it, act on the verdict, confirm.
//!
//! Each sink has its own task and its own cursor. Nothing is confirmed before it is kept by the sink or lies in the dead-letter file, so
//! whatever ends the loop (a stop, a panic, the power) costs at most a repetition of what was under way.

mod delivery;
mod grace;
mod source;
mod tally;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::error::BuildError;
use super::health::{Health, SinkState};
use super::http::causes;
use super::pace::RetryPace;
use super::sink::Sink;
use super::work::Trust;
use crate::config::SinkSettings;
use crate::containment;
use crate::deadletter::DeadLetters;
use crate::telemetry::counters::Counters;
use crate::telemetry::trouble::RepeatedTrouble;
use delivery::Pump;
use tally::PumpTally;

pub use grace::StopDeadline;
pub use source::Source;

/// A pump at work.
pub struct RunningPump {
    pub health: Health,
    /// Ends after a stop.
    pub task: JoinHandle<()>,
}

/// Starts the pump of a sink; `make` makes the sink, again after a panic in it.
///
/// # Errors
/// When the sink cannot be made.
pub fn start<M>(
    settings: &SinkSettings,
    make: M,
    source: Box<dyn Source>,
    dead: DeadLetters,
    counters: &Counters,
    stop: watch::Receiver<StopDeadline>,
) -> Result<RunningPump, BuildError>
where
    M: Fn() -> Result<Box<dyn Sink>, BuildError> + Send + 'static,
{
    let sink = make()?;
    let health = Health::new(&settings.name, settings.kind.as_str());
    let pump = Pump {
        limits: sink.limits(),
        sink,
        source,
        dead,
        tally: PumpTally::of(&settings.name, counters),
        health: health.clone(),
        pace: RetryPace::default(),
        trust: Trust::default(),
        settings: settings.clone(),
        stop,
        unsaved: RepeatedTrouble::default(),
    };
    Ok(RunningPump { health, task: tokio::spawn(keep_running(pump, make)) })
}

/// Runs the pump; a panic is caught, counted, and the pump goes on with a new sink after a while.
async fn keep_running<M>(mut pump: Pump, make: M)
where
    M: Fn() -> Result<Box<dyn Sink>, BuildError> + Send,
{
    loop {
        // After a panic nothing of the sink is used again, and the rest of the pump is read anew from the confirmed place.
        let Err(panic) = AssertUnwindSafe(pump.run()).catch_unwind().await else { return };
        pump.health.panicked();
        let mut why = format!("a defect in the sink: {}", containment::text(panic.as_ref()));
        tracing::error!(target: "sink", sink = pump.settings.name, "{why}; the sink is made anew");
        pump.sink = loop {
            if pump.fail(SinkState::Down, None, &why).await.is_err() {
                return;
            }
            match make() {
                Ok(sink) => break sink,
                Err(error) => {
                    why = format!("the sink could not be made anew: {}", causes(&error));
                    tracing::error!(target: "sink", sink = pump.settings.name, "{why}");
                }
            }
        };
    }
}

#[cfg(test)]
mod tests;
