//! The loop over all workers: one closed enum of events, one script record each, and the orders of its `Life` carried out.
//!
//! Tasks per worker only carry: they read frames, output and stacks and wait for the death, and send what they see. All decisions are made
//! here and in `worker::life`, one event at a time.

mod family;
mod incarnation;
mod ledger;
mod live;
mod mechanisms;
pub mod plan;
mod repeats;
mod script;
mod stack;
mod version;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::telemetry::counters::Counters;
use crate::telemetry::files::ScriptLogs;
use crate::telemetry::panics::Panics;
use crate::worker::cgroup::Groups;
use crate::worker::control::{Address, Up};
use crate::worker::files::{Look, Part};
use crate::worker::lastgood::Kept;
use crate::worker::life::{Input, State};
use crate::worker::lock::Locks;
use crate::worker::process::{self, Ended, Parts, Spawner, StartError};
use crate::worker::roster::Roster;
use crate::worker::{Collectors, ScriptFile, WorkerSpec};

use plan::{Refusal, Runs, Wanted};
use script::Script;
use version::{Before, interpreter};

pub use crate::worker::life::Limits;
pub use crate::worker::process::Way;
pub use crate::worker::zygote::Settings as ZygoteSettings;
pub use live::LiveStack;
pub use mechanisms::Mechanism;
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
    /// Where the last version of each script that could be loaded is kept.
    pub last_good: PathBuf,
    pub limits: Limits,
    /// `None`: every worker is a program of its own.
    pub zygote: Option<ZygoteSettings>,
}

/// What is done to the set of scripts at run time.
#[derive(Debug)]
pub enum Change {
    Start(Wanted),
    /// The old worker ends its run before the new one starts.
    Restart(Wanted),
    /// New settings that no worker has to be restarted for; whatever was refused is gone.
    Update(Wanted),
    /// A version that is not run; what runs goes on.
    Refuse(String, Refusal),
    /// The script leaves, and is no longer shown once its worker has ended.
    Stop(String),
}

/// How a change ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Runs {
        pid: Option<u32>,
    },
    /// Some of the scripts of its process could not be loaded.
    RunsWithout {
        pid: Option<u32>,
        why: String,
    },
    /// It holds no collector and is imported by others.
    Helps,
    Fails {
        why: String,
    },
    Stopped,
    Done,
}

/// A change under way.
pub struct Settling {
    pub id: String,
    outcome: oneshot::Receiver<Outcome>,
}

impl Settling {
    /// Waits until the change has come to its end, or the script has left.
    pub async fn outcome(self) -> Outcome {
        self.outcome.await.unwrap_or(Outcome::Stopped)
    }
}

/// Asks the loop; clones share it.
#[derive(Clone)]
pub struct Handle {
    events: mpsc::Sender<Event>,
    pulse: Arc<AtomicU64>,
    mechanisms: Arc<[Mechanism]>,
}

/// Everything that the loop reacts to.
enum Event {
    Started {
        script: usize,
        incarnation: u64,
        program: PathBuf,
        before: Box<Before>,
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
        /// The kernel ended it or something it started for want of memory.
        out_of_memory: bool,
    },
    FileLooked {
        script: usize,
        file: Option<Stamp>,
    },
    /// The files that a worker has loaded were kept, or could not be.
    Kept {
        script: usize,
        incarnation: u64,
        kept: Result<Kept, String>,
    },
    Snapshot(oneshot::Sender<Vec<WorkerView>>),
    Running(oneshot::Sender<Vec<Runs>>),
    Apply(Vec<Change>, oneshot::Sender<Vec<Settling>>),
    /// Ends and starts the worker of the script with this name; answers whether there is one.
    Restart(String, oneshot::Sender<bool>),
    RunNow(String, oneshot::Sender<bool>),
    /// Has a live worker write its stacks; the answer is dropped where there is no such script.
    TakeStack(String, oneshot::Sender<LiveStack>),
    Stop(Duration, oneshot::Sender<()>),
    #[cfg(test)]
    Panic,
}

/// What an interpreter is looked up by: `cmd`, and the environment that may hold another PATH.
type Cmd = (String, Vec<(String, String)>);

/// Tells whether a file is the same as before.
type Stamp = (SystemTime, u64);

const TICK: Duration = Duration::from_millis(100);
/// A loop that was away for so long (suspend, SIGSTOP) blames nobody for it.
const HELD: Duration = Duration::from_secs(5);
/// Between two looks at the files of scripts that cannot run, and at orphans.
const LOOK: Duration = Duration::from_secs(1);
const EVENTS: usize = 1024;
/// What a script that is no longer wanted gets for its end, all steps together.
const LEAVE: Duration = Duration::from_millis(6500);

/// Starts the workers of all scripts and the loop over them.
///
/// # Errors
/// When the spawner thread cannot be started.
pub fn start<W: Into<Wanted>>(
    specs: Vec<W>,
    settings: Settings,
    roster: Roster,
    logs: ScriptLogs,
    counters: Counters,
) -> io::Result<Handle> {
    let mut spawner = Spawner::start()?;
    if let Some(zygote) = &settings.zygote {
        spawner = spawner.with_zygotes(zygote.clone());
    }
    // As the sweep at the next start will spell it.
    let run_dir = settings.run_dir.canonicalize().unwrap_or(settings.run_dir);
    let settings = Settings { run_dir, ..settings };
    let (locks, groups) = (Locks::open(&settings.run_dir), Groups::open(&settings.run_dir));
    let mechanisms = mechanisms::found(&locks, &groups).into();
    let (events, received) = mpsc::channel(EVENTS);
    let pulse = Arc::<AtomicU64>::default();
    let mut supervisor = Supervisor {
        scripts: BTreeMap::new(),
        next_number: 0,
        pulse: Arc::clone(&pulse),
        panics: counters.panics.clone(),
        shared: Shared {
            address: Address { socket: settings.socket.clone(), tcp: settings.address },
            settings,
            roster,
            spawner,
            events: events.clone(),
            locks,
            groups,
            crowd: 0,
            interpreters: HashMap::new(),
            logs,
            counters,
        },
        stopping: None,
        tending: None,
    };
    for wanted in specs {
        supervisor.add(wanted.into());
    }
    supervisor.mark_siblings();
    tokio::spawn(supervisor.run(received));
    Ok(Handle { events, pulse, mechanisms })
}

impl Handle {
    /// How every script is now; empty once the loop has ended.
    pub async fn snapshot(&self) -> Vec<WorkerView> {
        self.ask(Event::Snapshot).await.unwrap_or_default()
    }

    /// How the trees of workers are held on this machine.
    pub fn mechanisms(&self) -> &[Mechanism] {
        &self.mechanisms
    }

    /// Grows while the loop ticks.
    pub fn pulse(&self) -> u64 {
        self.pulse.load(Ordering::Relaxed)
    }

    /// Ends the worker of a script and starts it anew, without a pause. Says whether there is such a script.
    pub async fn restart(&self, id: &str) -> bool {
        self.ask(|answer| Event::Restart(id.to_owned(), answer)).await.unwrap_or(false)
    }

    /// Has all collectors of a script run now; one that waits to be tried again is tried now. Says whether there is such a script.
    pub async fn run_now(&self, id: &str) -> bool {
        self.ask(|answer| Event::RunNow(id.to_owned(), answer)).await.unwrap_or(false)
    }

    /// What every script runs, for [`plan::plan`]; `None` once the loop has ended.
    pub async fn running(&self) -> Option<Vec<Runs>> {
        self.ask(Event::Running).await
    }

    /// The exported trees that a worker lives in, or would start in: they must stay.
    pub async fn homes(&self) -> BTreeSet<PathBuf> {
        let running = self.running().await.unwrap_or_default();
        running.into_iter().flat_map(|runs| runs.home.into_iter().chain(runs.lives_in)).collect()
    }

    /// Begins the changes in this order; each settles in its own time. Empty once the loop has ended.
    pub async fn begin(&self, changes: Vec<Change>) -> Vec<Settling> {
        self.ask(|answer| Event::Apply(changes, answer)).await.unwrap_or_default()
    }

    /// Makes the changes and waits for the end of each.
    pub async fn apply(&self, changes: Vec<Change>) -> Vec<(String, Outcome)> {
        let begun = self.begin(changes).await;
        futures_util::future::join_all(begun.into_iter().map(|one| async { (one.id.clone(), one.outcome().await) }))
            .await
    }

    async fn ask<T>(&self, event: impl FnOnce(oneshot::Sender<T>) -> Event) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.events.send(event(answer)).await.ok()?;
        answered.await.ok()
    }

    /// What the worker of a script is doing now; `None` where there is no such script.
    pub async fn stack(&self, id: &str) -> Option<LiveStack> {
        self.ask(|answer| Event::TakeStack(id.to_owned(), answer)).await
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
    interpreters: HashMap<Cmd, PathBuf>,
    locks: Locks,
    groups: Groups,
    logs: ScriptLogs,
    counters: Counters,
}

struct Supervisor {
    /// By a number that no other script ever gets: events of one that has left may still be under way.
    /// Boxed: half the places of such a map are empty, and a script is large.
    scripts: BTreeMap<usize, Box<Script>>,
    next_number: usize,
    shared: Shared,
    stopping: Option<oneshot::Sender<()>>,
    /// A look at orphans is under way.
    tending: Option<JoinHandle<()>>,
    pulse: Arc<AtomicU64>,
    panics: Panics,
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
                    Some(event) => self.survive(|this| this.take(event)),
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
                        self.survive(Self::look);
                    }
                    self.pulse.fetch_add(1, Ordering::Relaxed);
                }
            }
            self.survive(Self::follow_classes);
            self.survive(Self::give_slots);
            self.scripts.values_mut().for_each(|script| script.settle());
            self.let_go();
            if self.stopping.is_some() && !self.scripts.values().any(|script| script.life.has_process()) {
                self.shared.spawner.close().await;
                let (run_dir, groups) = (self.shared.settings.run_dir.clone(), self.shared.groups.clone());
                let last = move || {
                    process::tend_orphans(&run_dir, &HashSet::new());
                    groups.close();
                };
                let looked = tokio::task::spawn_blocking(last).await;
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

    /// A defect in the handling of one event must not be the end of all scripts.
    fn survive(&mut self, act: impl FnOnce(&mut Self)) {
        let panics = self.panics.clone();
        panics.catch("the supervisor", || act(self));
    }

    fn take(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Started { script, incarnation, program, before, result } => {
                self.of(script, incarnation, |script, shared| {
                    script.starts_with(program, *before);
                    script.started(*result, shared, now);
                });
            }
            Event::ControlLost { script, incarnation } => {
                self.of(script, incarnation, |script, shared| script.step(Input::ControlLost, shared, now));
            }
            Event::Frame { script, incarnation, frame } => {
                self.of(script, incarnation, |script, shared| script.frame(*frame, shared, now))
            }
            Event::Stack { script, incarnation, text } => {
                self.of(script, incarnation, |script, _| script.stack(&text, now))
            }
            Event::Died { script, incarnation, ended, left_behind, out_of_memory } => {
                self.of(script, incarnation, |script, shared| {
                    script.died(ended, left_behind, out_of_memory, shared, now);
                });
            }
            Event::FileLooked { script, file } => {
                if let Some(script) = self.scripts.get_mut(&script) {
                    script.file_looked(file, &mut self.shared, now);
                }
            }
            Event::Kept { script, incarnation, kept } => {
                self.of(script, incarnation, |script, _| script.kept(kept));
            }
            Event::Snapshot(answer) => {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(self.views(now));
            }
            Event::Running(answer) => {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(self.running());
            }
            Event::Apply(changes, answer) => {
                let settling = changes.into_iter().map(|change| self.change(change, now)).collect();
                self.mark_siblings();
                // Whoever asked may have stopped waiting.
                let _ = answer.send(settling);
            }
            Event::Restart(id, answer) => {
                let found = self.with_id(&id, |script, shared| script.restart(shared, now));
                // Whoever asked may have stopped waiting.
                let _ = answer.send(found);
            }
            Event::RunNow(id, answer) => {
                let found = self.with_id(&id, |script, shared| script.run_now(&id, shared, now));
                // Whoever asked may have stopped waiting.
                let _ = answer.send(found);
            }
            Event::TakeStack(id, answer) => {
                if let Some(script) = called(&mut self.scripts, &id) {
                    script.take_stack(answer, now);
                }
            }
            #[cfg(test)]
            Event::Panic => panic!("a defect"),
            Event::Stop(patience, answer) => {
                self.stopping = Some(answer);
                for script in self.scripts.values_mut() {
                    script.hurry(patience, now);
                    script.step(Input::Stop, &mut self.shared, now);
                }
            }
        }
    }

    fn add(&mut self, wanted: Wanted) -> &mut Script {
        let number = self.next_number;
        self.next_number += 1;
        let script = Script::new(number, wanted, &self.shared, Instant::now());
        self.scripts.entry(number).or_insert(Box::new(script))
    }

    fn change(&mut self, change: Change, now: Instant) -> Settling {
        let (answer, outcome) = oneshot::channel();
        let id = match &change {
            Change::Start(wanted) | Change::Restart(wanted) | Change::Update(wanted) => wanted.spec.id.clone(),
            Change::Refuse(id, _) | Change::Stop(id) => id.clone(),
        };
        let settling = Settling { id: id.clone(), outcome };
        if self.stopping.is_some() {
            return settling;
        }
        match &change {
            Change::Update(wanted) => self.update_classes(wanted),
            Change::Stop(_) => self.dismiss_classes(&id, now),
            Change::Start(wanted) | Change::Restart(wanted) if wanted.spec.collectors != Collectors::Told => {
                self.dismiss_classes(&id, now);
            }
            Change::Start(_) | Change::Restart(_) | Change::Refuse(..) => {}
        }
        let shared = &mut self.shared;
        let script = self.scripts.values_mut().find(|script| script.spec.id == id);
        match (script, change) {
            (Some(script), Change::Start(wanted) | Change::Restart(wanted)) => {
                script.replace(wanted, shared, now);
                script.settles(answer);
                return settling;
            }
            (None, Change::Start(wanted) | Change::Restart(wanted)) => {
                self.add(wanted).settles(answer);
                return settling;
            }
            (Some(script), Change::Stop(_)) => {
                script.leave(LEAVE, shared, now);
                script.settles(answer);
                return settling;
            }
            (Some(script), Change::Update(wanted)) => script.update(wanted, shared),
            (Some(script), Change::Refuse(_, refusal)) => script.refuse(refusal),
            // It has left meanwhile.
            (None, Change::Stop(_) | Change::Update(_) | Change::Refuse(..)) => {}
        }
        // The receiver is in `settling`.
        let _ = answer.send(Outcome::Done);
        settling
    }

    /// The scripts of one input together.
    fn in_order(&self) -> impl Iterator<Item = &Script> {
        let mut inputs: Vec<&str> = Vec::new();
        for script in self.scripts.values() {
            if !inputs.contains(&script.spec.input.as_str()) {
                inputs.push(&script.spec.input);
            }
        }
        let of = |input| self.scripts.values().map(Box::as_ref).filter(move |script| script.spec.input == input);
        inputs.into_iter().flat_map(of)
    }

    /// Says who has neighbours: which scripts share a folder (a file without a collector may be a module of another one), and which an
    /// interpreter.
    fn mark_siblings(&mut self) {
        let mut in_root: HashMap<PathBuf, HashSet<PathBuf>> = HashMap::new();
        for script in self.scripts.values().flat_map(|script| script.spec.scripts()) {
            in_root.entry(script.root).or_default().insert(script.path);
        }
        for ledger in self.scripts.values_mut().flat_map(|script| &mut script.ledgers) {
            ledger.has_siblings = in_root.get(&ledger.root).is_some_and(|scripts| scripts.len() > 1);
        }
        // One that has told its classes has no worker any more.
        let workers = || self.scripts.values().filter(|script| !script.has_told());
        self.shared.crowd = workers().count();
        self.shared.spawner.know(workers().map(|script| &script.spec));
    }

    /// Forgets scripts that left, once nothing of them runs.
    fn let_go(&mut self) {
        let before = self.scripts.len();
        self.scripts.retain(|_, script| !script.has_left());
        if self.scripts.len() != before {
            self.mark_siblings();
        }
    }

    fn with_id(&mut self, id: &str, act: impl FnOnce(&mut Script, &mut Shared)) -> bool {
        // After the stop nothing starts any more.
        if self.stopping.is_some() {
            return false;
        }
        called(&mut self.scripts, id).map(|script| act(script, &mut self.shared)).is_some()
    }

    /// Hands an event to its script, unless it belongs to an incarnation that is over.
    fn of(&mut self, script: usize, incarnation: u64, act: impl FnOnce(&mut Script, &mut Shared)) {
        if let Some(script) = self.scripts.get_mut(&script).filter(|script| script.incarnation() == incarnation) {
            act(script, &mut self.shared);
        }
    }

    fn all(&mut self, input: Input, now: Instant) {
        let panics = self.panics.clone();
        for script in self.scripts.values_mut() {
            // Each for itself: a defect that shows at one script keeps no tick from the others.
            panics.catch("the supervisor", || script.step(input.clone(), &mut self.shared, now));
        }
    }

    /// Lets scripts start, a few at a time: loading Python is the dearest moment of a worker.
    fn give_slots(&mut self) {
        let waits = |script: &Script| script.life.state() == State::Waiting;
        // Asked after every event, and nearly always for nothing.
        if self.stopping.is_some() || !self.scripts.values().any(|script| waits(script)) {
            return;
        }
        let slots = std::thread::available_parallelism().map_or(4, |cores| cores.get() * 2);
        let now = Instant::now();
        let starting = self.scripts.values().filter(|script| script.life.is_starting(now)).count();
        let leaving: Vec<&Script> = self.scripts.values().map(Box::as_ref).filter(|script| script.leaves()).collect();
        let may_start = |script: &Script| waits(script) && !leaving.iter().any(|other| other.is_in_the_way_of(script));
        let ready = self.scripts.iter().filter(|(_, script)| may_start(script)).map(|(number, _)| *number);
        let numbers: Vec<usize> = ready.take(slots.saturating_sub(starting)).collect();
        for number in numbers {
            if let Some(script) = self.scripts.get_mut(&number) {
                script.step(Input::Slot, &mut self.shared, now);
            }
        }
    }

    /// Looks off this thread at orphans, and at the files of scripts that wait: a file may lie on a disk that hangs.
    fn look(&mut self) {
        if self.tending.as_ref().is_none_or(JoinHandle::is_finished) {
            let tokens: HashSet<String> = self.scripts.values().filter_map(|script| script.token()).collect();
            let run_dir = self.shared.settings.run_dir.clone();
            self.tending = Some(tokio::task::spawn_blocking(move || process::tend_orphans(&run_dir, &tokens)));
        }
        let now = Instant::now();
        for script in self.scripts.values_mut() {
            script.look_at_file(&self.shared.events);
            script.weigh(&mut self.shared, now);
        }
    }
}

/// The worker with this name, or of the script with it; rather one that stays.
fn called<'s>(scripts: &'s mut BTreeMap<usize, Box<Script>>, id: &str) -> Option<&'s mut Script> {
    let called = scripts.values_mut().map(Box::as_mut).filter(|script| script.is_called(id));
    called.min_by_key(|script| script.leaves())
}

/// Fills in what is on disk now, as far as [`plan::plan`] wants to know it. Blocks.
pub fn look(running: &[Runs], mut wanted: Vec<Wanted>) -> Vec<Wanted> {
    let mut look = Look::default();
    let mut interpreters: HashMap<Cmd, Option<PathBuf>> = HashMap::new();
    for one in &mut wanted {
        let parts: Vec<Part> = plan::parts(running, one).collect();
        one.now = look.print(&parts);
        let cmd = (one.spec.cmd.clone(), one.spec.envs.clone());
        one.interpreter = interpreters.entry(cmd).or_insert_with(|| interpreter(&one.spec)).clone();
    }
    wanted
}

/// The newest of its scripts and the size of all; `None` where one is missing.
fn stamp(spec: &WorkerSpec) -> Option<Stamp> {
    let one = |script: ScriptFile| {
        let meta = std::fs::metadata(&script.path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    spec.scripts().into_iter().map(one).reduce(|all, one| {
        let ((newest, size), (time, more)) = (all?, one?);
        Some((newest.max(time), size.saturating_add(more)))
    })?
}

/// A worker may claim any number.
fn after(now: Instant, ms: u64) -> Instant {
    now.checked_add(Duration::from_millis(ms)).unwrap_or(now)
}

fn count(n: u64, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_the_loop_is_counted_and_the_loop_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let counters = Counters::default();
        let settings = Settings {
            core: dir.path().to_owned(),
            run_dir: dir.path().to_owned(),
            socket: dir.path().join("s"),
            address: ([127, 0, 0, 1], 9).into(),
            last_good: dir.path().join("last-good"),
            limits: Limits::default(),
            zygote: None,
        };
        let logs = ScriptLogs::open(dir.path().to_owned(), counters.clone());
        let handle = start(Vec::<Wanted>::new(), settings, Roster::default(), logs, counters.clone()).unwrap();
        for _ in 0..3 {
            assert!(handle.events.send(Event::Panic).await.is_ok());
        }
        assert!(handle.snapshot().await.is_empty(), "it answers");
        assert_eq!(counters.panics.counts()["the supervisor"], 3);
        let before = handle.pulse();
        tokio::time::timeout(Duration::from_secs(30), async {
            while handle.pulse() < before + 2 {
                tokio::time::sleep(TICK).await;
            }
        })
        .await
        .expect("it ticks on");
        handle.stop(Duration::from_secs(5)).await;
        assert!(handle.stack("x").await.is_none(), "the loop has ended in order");
    }
}
