//! The loop over all workers: one closed enum of events, one script record each, and the orders of its `Life` carried out.
//!
//! Tasks per worker only carry: they read frames, output and stacks and wait for the death, and send what they see. All decisions are made
//! here and in `worker::life`, one event at a time.

mod incarnation;
mod repeats;
mod script;
mod stack;
mod view;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::telemetry::counters::Counters;
use crate::telemetry::files::ScriptLogs;
use crate::worker::WorkerSpec;
use crate::worker::control::{Address, Up};
use crate::worker::life::{Input, State};
use crate::worker::process::{self, Ended, Parts, Spawner, StartError};
use crate::worker::roster::Roster;

use script::Script;

pub use crate::worker::life::Limits;
pub use crate::worker::process::Way;
pub use crate::worker::zygote::Settings as ZygoteSettings;
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
    /// `None`: every worker is a program of its own.
    pub zygote: Option<ZygoteSettings>,
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
        program: PathBuf,
        /// The file of the script as it was before the start.
        file: Option<Stamp>,
        result: Box<Result<Parts, StartError>>,
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
    /// A worker lives without its control socket.
    ControlLost {
        script: usize,
        incarnation: u64,
    },
    Died {
        script: usize,
        incarnation: u64,
        ended: Ended,
        left_behind: usize,
    },
    FileLooked {
        script: usize,
        file: Option<Stamp>,
    },
    Snapshot(oneshot::Sender<Vec<WorkerView>>),
    /// Ends and starts the worker of the script with this name; answers whether there is one.
    Restart(String, oneshot::Sender<bool>),
    RunNow(String, oneshot::Sender<bool>),
    Stop(Duration, oneshot::Sender<()>),
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
    let mut spawner = Spawner::start()?;
    if let Some(zygote) = &settings.zygote {
        spawner = spawner.with_zygotes(zygote.clone());
    }
    spawner.know(&specs);
    // As the sweep at the next start will spell it.
    let run_dir = settings.run_dir.canonicalize().unwrap_or(settings.run_dir);
    let settings = Settings { run_dir, ..settings };
    let (events, received) = mpsc::channel(EVENTS);
    let now = Instant::now();
    let crowd = specs.len();
    let has_siblings: Vec<bool> = specs.iter().map(|spec| spec.has_siblings_in(&specs)).collect();
    let scripts = specs
        .into_iter()
        .zip(has_siblings)
        .enumerate()
        .map(|(index, (spec, has_siblings))| {
            let mut script = Script::new(index, spec, &settings.limits, &logs, &counters, now);
            script.has_siblings = has_siblings;
            script
        })
        .collect();
    let supervisor = Supervisor {
        scripts,
        shared: Shared {
            address: Address { socket: settings.socket.clone(), tcp: settings.address },
            settings,
            roster,
            spawner,
            events: events.clone(),
            crowd,
            interpreters: HashMap::new(),
        },
        stopping: None,
        tending: None,
    };
    tokio::spawn(supervisor.run(received));
    Ok(Handle { events })
}

impl Handle {
    /// How every script is now; empty once the loop has ended.
    pub async fn snapshot(&self) -> Vec<WorkerView> {
        self.ask(Event::Snapshot).await.unwrap_or_default()
    }

    /// Ends the worker of a script and starts it anew, without a pause. Says whether there is such a script.
    pub async fn restart(&self, id: &str) -> bool {
        self.ask(|answer| Event::Restart(id.to_owned(), answer)).await.unwrap_or(false)
    }

    /// Has all collectors of a script run now; one that waits to be tried again is tried now. Says whether there is such a script.
    pub async fn run_now(&self, id: &str) -> bool {
        self.ask(|answer| Event::RunNow(id.to_owned(), answer)).await.unwrap_or(false)
    }

    async fn ask<T>(&self, event: impl FnOnce(oneshot::Sender<T>) -> Event) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.events.send(event(answer)).await.ok()?;
        answered.await.ok()
    }

    /// Stops all workers at once, each within its own grace, but all steps (asked, TERM, KILL) within `patience`; waits until all that
    /// they started is gone.
    pub async fn stop(&self, patience: Duration) {
        let ended = self.ask(|answer| Event::Stop(patience, answer));
        if tokio::time::timeout(patience, ended).await.is_err() {
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
    /// How many scripts there are.
    crowd: usize,
    /// What a `cmd` really is, as its first worker told: a shim costs half a second at each start.
    interpreters: HashMap<(String, Vec<(String, String)>), PathBuf>,
}

struct Supervisor {
    scripts: Vec<Script>,
    shared: Shared,
    stopping: Option<oneshot::Sender<()>>,
    /// A look at orphans is under way.
    tending: Option<JoinHandle<()>>,
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
                self.shared.spawner.close().await;
                let run_dir = self.shared.settings.run_dir.clone();
                let looked =
                    tokio::task::spawn_blocking(move || process::tend_orphans(&run_dir, &HashSet::new())).await;
                if let Err(error) = looked {
                    tracing::error!(target: "worker", "the last look at orphans failed: {error}");
                }
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
            Event::Started { script, incarnation, program, file, result } => {
                self.of(script, incarnation, |script, shared| {
                    script.starts_with(program, file);
                    script.started(*result, shared, now);
                });
            }
            Event::ControlLost { script, incarnation } => {
                self.of(script, incarnation, |script, shared| script.step(Input::ControlLost, shared, now));
            }
            Event::Frame { script, incarnation, frame } => {
                self.of(script, incarnation, |script, shared| script.frame(*frame, shared, now))
            }
            Event::Stack { script, incarnation, text } => self.of(script, incarnation, |script, _| script.stack(&text)),
            Event::Died { script, incarnation, ended, left_behind } => {
                self.of(script, incarnation, |script, shared| script.died(ended, left_behind, shared, now));
            }
            Event::FileLooked { script, file } => self.scripts[script].file_looked(file, &mut self.shared, now),
            Event::Snapshot(answer) => {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(self.scripts.iter().map(|script| script.view(now)).collect());
            }
            Event::Restart(id, answer) => {
                let found = self.with_id(&id, |script, shared| script.step(Input::Restart, shared, now));
                // Whoever asked may have stopped waiting.
                let _ = answer.send(found);
            }
            Event::RunNow(id, answer) => {
                let found = self.with_id(&id, |script, shared| script.run_now(shared, now));
                // Whoever asked may have stopped waiting.
                let _ = answer.send(found);
            }
            Event::Stop(patience, answer) => {
                self.stopping = Some(answer);
                for script in &mut self.scripts {
                    script.hurry(patience, now);
                    script.step(Input::Stop, &mut self.shared, now);
                }
            }
        }
    }

    fn with_id(&mut self, id: &str, act: impl FnOnce(&mut Script, &mut Shared)) -> bool {
        // After the stop nothing starts any more.
        let asked = self.scripts.iter_mut().find(|script| script.spec.id == id && self.stopping.is_none());
        asked.map(|script| act(script, &mut self.shared)).is_some()
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
        let now = Instant::now();
        let mut starting = self.scripts.iter().filter(|script| script.life.is_starting(now)).count();
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

    /// Looks off this thread at orphans, and at the files of scripts that wait: a file may lie on a disk that hangs.
    fn look(&mut self) {
        if self.tending.as_ref().is_none_or(JoinHandle::is_finished) {
            let tokens: HashSet<String> = self.scripts.iter().filter_map(Script::token).collect();
            let run_dir = self.shared.settings.run_dir.clone();
            self.tending = Some(tokio::task::spawn_blocking(move || process::tend_orphans(&run_dir, &tokens)));
        }
        for script in &mut self.scripts {
            script.look_at_file(&self.shared.events);
        }
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}
