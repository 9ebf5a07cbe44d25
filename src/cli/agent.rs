//! `pythond agent`: the agent in the foreground.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

use super::exit::ExitReason;
use super::output::{show, warn};
use crate::app;
use crate::config::{Config, Level, Surroundings};
use crate::platform;
use crate::telemetry::systemd::ServiceManager;
use crate::words::count;

pub(super) fn main(root: &Path) -> ExitReason {
    let manager = service_manager();
    let config = match settings(root) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    show(&config.warnings);
    log_to_stderr(config.logging.level);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs only an epoll descriptor and threads");
    // A stop that comes during the start is one too.
    let stops = {
        let _inside = runtime.enter();
        platform::Stops::hear()
    };
    let ended = runtime.block_on(app::run(config, Surroundings::of_this_process(), &manager, stops));
    // Everything is closed; a look at a disk that hangs is not waited for.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitReason::Ok,
        Err(error) => {
            warn(&format!("error: {error:#}\n"));
            ExitReason::Failed
        }
    }
}

/// The service manager, as the environment names it.
fn service_manager() -> ServiceManager {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
        return ServiceManager::default();
    };
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    // Set for another process of the service, it is none of our business.
    let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let watchdog = number("WATCHDOG_USEC").filter(|micros| is_ours && *micros > 0).map(Duration::from_micros);
    ServiceManager::connect(&socket, watchdog).unwrap_or_else(|error| {
        warn(&format!("warning: the service manager cannot be reached on {}: {error}\n", socket.display()));
        ServiceManager::default()
    })
}

/// Reads the settings, or prints every fault.
fn settings(root: &Path) -> Result<Config, ExitReason> {
    app::repos::settings(root, &Surroundings::of_this_process()).map_err(|error| {
        show(&error.faults);
        show(&error.warnings);
        warn(&format!(
            "{} in the settings below {}\n",
            count(error.faults.len(), "fault"),
            root.join("conf.d").display()
        ));
        ExitReason::Faults
    })
}

fn log_to_stderr(level: Level) {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    // Other crates speak at this level only when they have something to say to an operator.
    let targets = tracing_subscriber::filter::Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_targets(["pythond", "ingest", "sink", "worker", "buffer", "agent", "git"].map(|target| (target, level)));
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_timer(Clock)
        .with_filter(targets);
    tracing_subscriber::registry().with(layer).init();
}

struct Clock;

impl tracing_subscriber::fmt::time::FormatTime for Clock {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        write!(w, "{}", jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S"))
    }
}
