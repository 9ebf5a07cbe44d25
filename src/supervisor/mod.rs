//! The loop over all workers: one closed enum of events, one script record each, and the orders of its `Life` carried out.
//!
//! Tasks per worker only carry: they read frames, output and stacks and wait for the death, and send what they see. All decisions are made
//! here and in `worker::life`, one event at a time.

mod incarnation;
mod script;
mod view;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};

use crate::telemetry::counters::Counters;
use crate::telemetry::files::ScriptLogs;
use crate::worker::WorkerSpec;
use crate::worker::control::{Address, Up};
use crate::worker::life::{Input, State};
use crate::worker::process::{Ended, Parts, Spawner, StartError};
use crate::worker::roster::Roster;

use script::Script;

pub use crate::worker::life::Limits;
pub use view::{JobView, LastError, LastRun, WorkerView};

/// What all workers share.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory that holds the Python package.
    pub core: PathBuf,
    /// The cookie by which leftovers are known.
    pub run_dir: PathBuf,
    pub socket: PathBuf,
    pub address: SocketAddr,
    pub limits: Limits,
}

/// Asks the loop; clones share it.
#[derive(Clone)]
pub struct Handle {
    events: mpsc::Sender<Event>,
}

/// Everything that the loop reacts to.
enum Event {
    Started {
        script: usize,
        incarnation: u64,
        result: Result<Parts, StartError>,
    },
    Frame {
        script: usize,
        incarnation: u64,
        frame: Box<Up>,
    },
    /// Stacks that `faulthandler` wrote.
    Stack {
        script: usize,
        incarnation: u64,
        text: String,
    },
    Died {
        script: usize,
        incarnation: u64,
        ended: Ended,
        left_behind: usize,
    },
    FilesLooked(Vec<(usize, Option<Stamp>)>),
    Snapshot(oneshot::Sender<Vec<WorkerView>>),
    Stop(oneshot::Sender<()>),
}

/// Tells whether a file is the same as before.
type Stamp = (SystemTime, u64);

const TICK: Duration = Duration::from_millis(100);
/// A loop that was away for so long (suspend, SIGSTOP) blames nobody for it.
const HELD: Duration = Duration::from_secs(5);
/// Between two looks at the files of scripts that cannot run, and at orphans.
const LOOK: Duration = Duration::from_secs(1);
const EVENTS: usize = 1024;

/// Starts the workers of all scripts and the loop over them.
///
/// # Errors
/// When the spawner thread cannot be started.
pub fn start(
    specs: Vec<WorkerSpec>,
    settings: Settings,
    roster: Roster,
    logs: ScriptLogs,
    counters: Counters,
) -> io::Result<Handle> {
    let spawner = Spawner::start()?;
    let (events, received) = mpsc::channel(EVENTS);
    let now = Instant::now();
    let scripts = specs
        .into_iter()
        .enumerate()
        .map(|(index, spec)| Script::new(index, spec, &settings.limits, &logs, &counters, now))
        .collect();
    let supervisor = Supervisor {
        scripts,
        shared: Shared {
            address: Address { socket: settings.socket.clone(), tcp: settings.address },
            settings,
            roster,
            spawner,
            events: events.clone(),
            interpreters: HashMap::new(),
        },
        stopping: None,
        looking: false,
    };
    tokio::spawn(supervisor.run(received));
    Ok(Handle { events })
}

impl Handle {
    /// How every script is now; empty once the loop has ended.
    pub async fn snapshot(&self) -> Vec<WorkerView> {
        let (answer, answered) = oneshot::channel();
        if self.events.send(Event::Snapshot(answer)).await.is_err() {
            return Vec::new();
        }
        answered.await.unwrap_or_default()
    }

    /// Stops all workers, each within its own grace, and waits until all are gone or `patience` is over; then they are killed.
    pub async fn stop(&self, patience: Duration) {
        let (answer, answered) = oneshot::channel();
        if self.events.send(Event::Stop(answer)).await.is_err() {
            return;
        }
        if tokio::time::timeout(patience, answered).await.is_err() {
            tracing::warn!(target: "worker", "some workers did not end in time");
        }
    }
}

/// What every script needs to start a worker.
struct Shared {
    settings: Settings,
    address: Address,
    roster: Roster,
    spawner: Spawner,
    events: mpsc::Sender<Event>,
    /// What a `cmd` really is, as its first worker told: a shim costs half a second at each start.
    interpreters: HashMap<(String, Vec<(String, String)>), PathBuf>,
}

struct Supervisor {
    scripts: Vec<Script>,
    shared: Shared,
    stopping: Option<oneshot::Sender<()>>,
    /// A look at the files is under way.
    looking: bool,
}

impl Supervisor {
    async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last = Instant::now();
        let mut looked = Instant::now();
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.take(event),
                    None => return,
                },
                _ = ticks.tick() => {
                    let now = Instant::now();
                    let away = now.saturating_duration_since(last);
                    if away > HELD {
                        tracing::warn!(target: "worker", "the agent was held up for {} s; nobody is blamed for it", away.as_secs());
                        self.all(Input::Held(away), now);
                    }
                    last = now;
                    self.all(Input::Tick, now);
                    if now.saturating_duration_since(looked) >= LOOK {
                        looked = now;
                        self.look();
                    }
                }
            }
            self.give_slots();
            if self.stopping.is_some() && !self.scripts.iter().any(|script| script.life.has_process()) {
                if let Some(answer) = self.stopping.take() {
                    // Whoever asked may have stopped waiting.
                    let _ = answer.send(());
                }
                return;
            }
        }
    }

    fn take(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Started { script, incarnation, result } => {
                self.of(script, incarnation, |script, shared| script.started(result, shared, now))
            }
            Event::Frame { script, incarnation, frame } => {
                self.of(script, incarnation, |script, shared| script.frame(*frame, shared, now))
            }
            Event::Stack { script, incarnation, text } => self.of(script, incarnation, |script, _| script.stack(&text)),
            Event::Died { script, incarnation, ended, left_behind } => {
                self.of(script, incarnation, |script, shared| script.died(ended, left_behind, shared, now));
            }
            Event::FilesLooked(stamps) => {
                self.looking = false;
                for (script, stamp) in stamps {
                    self.scripts[script].file_looked(stamp, &mut self.shared, now);
                }
            }
            Event::Snapshot(answer) => {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(self.scripts.iter().map(|script| script.view(now)).collect());
            }
            Event::Stop(answer) => {
                self.stopping = Some(answer);
                self.all(Input::Stop, now);
            }
        }
    }

    /// Hands an event to its script, unless it belongs to an incarnation that is over.
    fn of(&mut self, script: usize, incarnation: u64, act: impl FnOnce(&mut Script, &mut Shared)) {
        let script = &mut self.scripts[script];
        if script.incarnation() == incarnation {
            act(script, &mut self.shared);
        }
    }

    fn all(&mut self, input: Input, now: Instant) {
        for script in &mut self.scripts {
            script.step(input.clone(), &mut self.shared, now);
        }
    }

    /// Lets scripts start, a few at a time: loading Python is the dearest moment of a worker.
    fn give_slots(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        let slots = std::thread::available_parallelism().map_or(4, |cores| cores.get() * 2);
        let mut starting = self
            .scripts
            .iter()
            .filter(|script| matches!(script.life.state(), State::Spawning | State::Loading))
            .count();
        let now = Instant::now();
        for script in &mut self.scripts {
            if starting >= slots {
                return;
            }
            if script.life.state() == State::Waiting {
                script.step(Input::Slot, &mut self.shared, now);
                starting += 1;
            }
        }
    }

    /// Looks off this thread, for a file may lie on a disk that hangs: at the files of scripts that wait, and at orphans.
    fn look(&mut self) {
        if self.looking {
            return;
        }
        let tokens: HashSet<String> = self.scripts.iter().filter_map(Script::token).collect();
        let files: Vec<(usize, PathBuf)> = self
            .scripts
            .iter()
            .enumerate()
            .filter(|(_, script)| matches!(script.life.state(), State::Backoff | State::Blocked | State::Tripped))
            .map(|(index, script)| (index, script.spec.script.clone()))
            .collect();
        self.looking = true;
        let (events, workers) = (self.shared.events.clone(), self.shared.spawner.workers.clone());
        tokio::task::spawn_blocking(move || {
            workers.tend_orphans(&tokens);
            let stamps = files.into_iter().map(|(index, file)| (index, stamp(&file))).collect();
            // The loop may have ended meanwhile.
            let _ = events.blocking_send(Event::FilesLooked(stamps));
        });
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}
