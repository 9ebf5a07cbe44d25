//! `pythond agent`: the agent in the foreground.

use std::io::IsTerminal;
use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

use super::{Exit, settings, show, warn};
use crate::app;
use crate::config::{Level, Surroundings};

pub(super) fn main(root: &Path) -> Exit {
    let config = match settings(root) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    show(&config.warnings);
    log_to_stderr(config.logging.level);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4)))
        .thread_name("pythond")
        .enable_all()
        .build()
        .expect("a runtime needs only an epoll descriptor and threads");
    // A stop that comes during the start is one too.
    let stop = {
        let _inside = runtime.enter();
        asked_to_stop()
    };
    match runtime.block_on(app::run(config, Surroundings::of_this_process(), stop)) {
        Ok(()) => Exit::Ok,
        Err(error) => {
            warn(&format!("error: {error:#}\n"));
            Exit::Failed
        }
    }
}

/// Ends at SIGTERM, SIGINT (Ctrl-C) or SIGQUIT.
fn asked_to_stop() -> impl Future<Output = ()> {
    let mut term = signal(SignalKind::terminate()).expect("signal handlers can be set");
    let mut int = signal(SignalKind::interrupt()).expect("signal handlers can be set");
    let mut quit = signal(SignalKind::quit()).expect("signal handlers can be set");
    async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = quit.recv() => {}
        }
    }
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
