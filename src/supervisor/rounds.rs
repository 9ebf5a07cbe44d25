//! The loop itself: takes one event after the other, ticks, gives start slots, and lets go of what has left.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::basics::LEAVE;
use super::events::{Change, ChangeOutcome, LoopEvent, Settling, UnderWay};
use super::plan::WantedUnit;
use super::shared::SupervisorShared;
use super::worker::Worker;
use crate::containment::Panics;
use crate::words::count;
use crate::worker::leftovers::tend_orphans;
use crate::worker::life::LifeInput;

/// So many events are taken before the loop looks what follows from them: with hundreds of workers that costs more than an event.
const AT_ONCE: usize = 64;
/// Between two ticks.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// A loop that was away for so long (suspend, SIGSTOP) blames nobody for it.
const HELD: Duration = Duration::from_secs(5);
/// Between two looks at the files of units that cannot run, and at orphans.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Supervisor {
    /// By a number that no other worker ever gets: events of one that has left may still be under way.
    /// Boxed: half the places of such a map are empty, and a record is large.
    pub workers: BTreeMap<usize, Box<Worker>>,
    pub next_number: usize,
    pub shared: SupervisorShared,
    pub stopping: Option<oneshot::Sender<()>>,
    /// Nobody wants to wait for the runs of a stop.
    pub is_impatient: bool,
    /// A look at orphans is under way.
    pub tending: Option<JoinHandle<()>>,
    pub pulse: Arc<AtomicU64>,
    pub panics: Panics,
}

impl Supervisor {
    pub async fn run(mut self, mut events: mpsc::Receiver<LoopEvent>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last = Instant::now();
        let mut looked = Instant::now();
        let mut come = Vec::with_capacity(AT_ONCE);
        loop {
            tokio::select! {
                count = events.recv_many(&mut come, AT_ONCE) => {
                    if count == 0 {
                        return;
                    }
                    for event in come.drain(..) {
                        self.survive(|this| this.take(event));
                    }
                }
                _ = ticks.tick() => {
                    let now = Instant::now();
                    let away = now.saturating_duration_since(last);
                    if away > HELD {
                        tracing::warn!(target: "worker", "the agent was suspended for {} s; the deadlines of all workers are extended", away.as_secs());
                        self.all(LifeInput::Held(away), now);
                    }
                    last = now;
                    self.all(LifeInput::Tick, now);
                    if now.saturating_duration_since(looked) >= LOOK {
                        looked = now;
                        self.survive(Self::look);
                    }
                    self.pulse.fetch_add(1, Ordering::Relaxed);
                }
            }
            self.survive(Self::follow_listers);
            self.survive(Self::give_slots);
            self.workers.values_mut().for_each(|worker| worker.settle());
            self.let_go();
            if self.stopping.is_some() && !self.workers.values().any(|worker| worker.life.has_process()) {
                self.shared.spawner.close().await;
                let (run_dir, groups) = (self.shared.settings.run_dir.clone(), self.shared.groups.clone());
                let last = move || {
                    tend_orphans(&run_dir, &HashSet::new());
                    groups.close();
                };
                let looked = tokio::task::spawn_blocking(last).await;
                if let Err(error) = looked {
                    tracing::error!(target: "worker", "the last look at orphans failed: {error}");
                }
                if let Some(asker) = self.stopping.take() {
                    answer(asker, ());
                }
                return;
            }
        }
    }

    /// A defect in the handling of one event must not be the end of all units.
    fn survive(&mut self, act: impl FnOnce(&mut Self)) {
        let panics = self.panics.clone();
        panics.catch("the supervisor", || act(self));
    }

    fn take(&mut self, event: LoopEvent) {
        let now = Instant::now();
        match event {
            LoopEvent::Started { worker, incarnation, program, before, result } => {
                self.of(worker, incarnation, |worker, shared| {
                    worker.starts_with(program, *before);
                    worker.started(*result, shared, now);
                });
            }
            LoopEvent::ControlLost { worker, incarnation } => {
                self.of(worker, incarnation, |worker, shared| worker.step(LifeInput::ControlLost, shared, now));
            }
            LoopEvent::Frame { worker, incarnation, frame } => {
                self.of(worker, incarnation, |worker, shared| worker.frame(*frame, shared, now))
            }
            LoopEvent::Stack { worker, incarnation, text } => {
                self.of(worker, incarnation, |worker, _| worker.stack(&text, now))
            }
            LoopEvent::Died { worker, incarnation, exit } => {
                self.of(worker, incarnation, |worker, shared| worker.died(exit, shared, now));
            }
            LoopEvent::FileLooked { worker, file } => {
                if let Some(worker) = self.workers.get_mut(&worker) {
                    worker.file_looked(file, &mut self.shared, now);
                }
            }
            LoopEvent::Kept { worker, incarnation, kept } => {
                self.of(worker, incarnation, |worker, _| worker.kept(kept));
            }
            LoopEvent::Snapshot(asker) => answer(asker, self.views(now)),
            LoopEvent::Running(asker) => answer(asker, self.workers.values().map(|worker| worker.runs()).collect()),
            LoopEvent::Apply(changes, asker) => answer(asker, self.apply(changes, now)),
            LoopEvent::Restart(id, asker) => {
                answer(asker, self.with_id(&id, |worker, shared| worker.restart(shared, now)));
            }
            LoopEvent::RunNow(id, asker) => {
                answer(asker, self.with_id(&id, |worker, shared| worker.run_now(&id, shared, now)));
            }
            LoopEvent::Recheck(id, asker) => {
                answer(asker, self.with_id(&id, |worker, shared| worker.recheck(shared, now)));
            }
            LoopEvent::TakeStack(id, asker) => {
                if let Some(worker) = called(&mut self.workers, &id) {
                    worker.take_stack(asker, now);
                }
            }
            LoopEvent::TakeResources(id, asker) => {
                if let Some(worker) = called(&mut self.workers, &id) {
                    worker.take_resources(&id, asker, now);
                }
            }
            #[cfg(test)]
            LoopEvent::Panic => panic!("a defect"),
            LoopEvent::UnderWay(patience, asker) => answer(asker, self.under_way(patience)),
            LoopEvent::EndNow => self.end_now(),
            LoopEvent::Stop(patience, asker) => self.stop(patience, asker, now),
        }
    }

    fn apply(&mut self, changes: Vec<Change>, now: Instant) -> Vec<Settling> {
        let settling = changes.into_iter().map(|change| self.change(change, now)).collect();
        self.mark_siblings();
        settling
    }

    fn stop(&mut self, patience: Duration, asker: oneshot::Sender<()>, now: Instant) {
        self.stopping = Some(asker);
        for worker in self.workers.values_mut() {
            worker.hurry(patience, now);
            worker.step(LifeInput::Stop, &mut self.shared, now);
        }
        // The second wish may have overtaken the first.
        if self.is_impatient {
            self.end_now();
        }
    }

    /// Ends all runs: nobody wants to wait for them.
    fn end_now(&mut self) {
        self.is_impatient = true;
        for worker in self.workers.values_mut() {
            worker.end_now(&mut self.shared);
        }
    }

    fn under_way(&self, patience: Duration) -> Option<UnderWay> {
        let mut all = UnderWay { runs: 0, loads: 0, longest: Duration::ZERO };
        for worker in self.workers.values() {
            let (runs, loads) = (worker.life.runs_under_way().count(), usize::from(worker.life.is_loading()));
            if runs + loads > 0 {
                all.longest = all.longest.max(worker.spec.stop_grace.min(patience));
            }
            (all.runs, all.loads) = (all.runs + runs, all.loads + loads);
        }
        (all.runs + all.loads > 0).then_some(all)
    }

    pub fn add(&mut self, wanted: WantedUnit) -> &mut Worker {
        let number = self.next_number;
        self.next_number += 1;
        let worker = Worker::new(number, wanted, &self.shared, Instant::now());
        self.workers.entry(number).or_insert(Box::new(worker))
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
            Change::Stop(_) => self.dismiss_told(&id, now),
            Change::Start(wanted) | Change::Restart(wanted) if !wanted.spec.lists() => self.dismiss_told(&id, now),
            Change::Start(_) | Change::Restart(_) | Change::Update(_) | Change::Refuse(..) => {}
        }
        let shared = &mut self.shared;
        let worker = self.workers.values_mut().find(|worker| worker.spec.id == id);
        match (worker, change) {
            (Some(worker), Change::Start(wanted) | Change::Restart(wanted)) => {
                worker.replace(wanted, shared, now);
                worker.settles(answer);
                return settling;
            }
            (None, Change::Start(wanted) | Change::Restart(wanted)) => {
                self.add(wanted).settles(answer);
                return settling;
            }
            (Some(worker), Change::Stop(_)) => {
                worker.leave(LEAVE, shared, now);
                worker.settles(answer);
                return settling;
            }
            (Some(worker), Change::Update(wanted)) => worker.update(wanted, shared),
            (Some(worker), Change::Refuse(_, refusal)) => worker.refuse(refusal),
            // It has left meanwhile.
            (None, Change::Stop(_) | Change::Update(_) | Change::Refuse(..)) => {}
        }
        // The receiver is in `settling`.
        let _ = answer.send(ChangeOutcome::Done);
        settling
    }

    /// The units of one input together.
    pub fn in_order(&self) -> impl Iterator<Item = &Worker> {
        let mut inputs: Vec<&str> = Vec::new();
        for worker in self.workers.values() {
            if !inputs.contains(&worker.spec.input.as_str()) {
                inputs.push(&worker.spec.input);
            }
        }
        let of = |input| self.workers.values().map(Box::as_ref).filter(move |worker| worker.spec.input == input);
        inputs.into_iter().flat_map(of)
    }

    /// Says who has neighbours: which units share a folder (a file without a collector may be a module of another one), and which an
    /// interpreter.
    pub fn mark_siblings(&mut self) {
        let mut in_root: HashMap<PathBuf, HashSet<PathBuf>> = HashMap::new();
        for unit in self.workers.values().flat_map(|worker| &worker.spec.units) {
            in_root.entry(unit.root.clone()).or_default().insert(unit.file.clone());
        }
        for unit in self.workers.values_mut().flat_map(|worker| &mut worker.units) {
            unit.has_siblings = in_root.get(&unit.root).is_some_and(|workers| workers.len() > 1);
        }
        // A lister that has told has no worker any more.
        let workers = || self.workers.values().filter(|worker| !worker.has_listed());
        self.shared.crowd = workers().count();
        self.shared.spawner.know(workers().map(|worker| &worker.spec));
    }

    /// Forgets units that left, once nothing of them runs.
    fn let_go(&mut self) {
        let before = self.workers.len();
        self.workers.retain(|_, worker| !worker.has_left());
        if self.workers.len() != before {
            self.mark_siblings();
        }
    }

    fn with_id(&mut self, id: &str, act: impl FnOnce(&mut Worker, &mut SupervisorShared)) -> bool {
        // After the stop nothing starts any more.
        if self.stopping.is_some() {
            return false;
        }
        called(&mut self.workers, id).map(|worker| act(worker, &mut self.shared)).is_some()
    }

    /// Hands an event to its unit, unless it belongs to an incarnation that is over.
    fn of(&mut self, worker: usize, incarnation: u64, act: impl FnOnce(&mut Worker, &mut SupervisorShared)) {
        if let Some(worker) = self.workers.get_mut(&worker).filter(|worker| worker.incarnation() == incarnation) {
            act(worker, &mut self.shared);
        }
    }

    fn all(&mut self, input: LifeInput, now: Instant) {
        let panics = self.panics.clone();
        for worker in self.workers.values_mut() {
            // Each for itself: a defect that shows at one unit keeps no tick from the others.
            panics.catch("the supervisor", || worker.step(input.clone(), &mut self.shared, now));
        }
    }

    /// Lets units start, a few at a time: loading Python is the dearest moment of a worker.
    fn give_slots(&mut self) {
        let waits = |worker: &Worker| worker.life.waits_for_slot();
        // Asked after every event, and nearly always for nothing.
        if self.stopping.is_some() || !self.workers.values().any(|worker| waits(worker)) {
            return;
        }
        let slots = std::thread::available_parallelism().map_or(4, |cores| cores.get() * 2);
        let now = Instant::now();
        let starting = self.workers.values().filter(|worker| worker.life.is_starting(now)).count();
        let leaving: Vec<&Worker> = self.workers.values().map(Box::as_ref).filter(|worker| worker.leaves()).collect();
        let may_start = |worker: &Worker| waits(worker) && !leaving.iter().any(|other| other.is_in_the_way_of(worker));
        let ready = self.workers.iter().filter(|(_, worker)| may_start(worker)).map(|(number, _)| *number);
        let ready: Vec<usize> = ready.collect();
        let room = self.shared.room.workers().saturating_sub(self.with_process());
        let given = slots.saturating_sub(starting).min(room).min(ready.len());
        for number in &ready[..given] {
            if let Some(worker) = self.workers.get_mut(number) {
                worker.no_room = None;
                worker.step(LifeInput::Slot, &mut self.shared, now);
            }
        }
        if given == room {
            self.leave_waiting(&ready[given..]);
        }
    }

    fn with_process(&self) -> usize {
        self.workers.values().filter(|worker| worker.life.has_process()).count()
    }

    /// Tells those who wait that the limit on open files has no room for them, the log once.
    fn leave_waiting(&mut self, numbers: &[usize]) {
        let is_news = !self.workers.values().any(|worker| worker.life.waits_for_slot() && worker.no_room.is_some());
        let why = self.shared.room.why_not(self.with_process() + numbers.len());
        for number in numbers {
            if let Some(worker) = self.workers.get_mut(number) {
                worker.no_room = Some(why.clone());
            }
        }
        if is_news && !numbers.is_empty() {
            tracing::error!(target: "worker", "{} not started: {why}", count(numbers.len(), "worker"));
        }
    }

    /// Looks off this thread at orphans, and at the files of units that wait: a file may lie on a disk that hangs.
    fn look(&mut self) {
        if self.tending.as_ref().is_none_or(JoinHandle::is_finished) {
            let tokens: HashSet<String> = self.workers.values().filter_map(|worker| worker.token()).collect();
            let run_dir = self.shared.settings.run_dir.clone();
            self.tending = Some(tokio::task::spawn_blocking(move || tend_orphans(&run_dir, &tokens)));
        }
        let now = Instant::now();
        for worker in self.workers.values_mut() {
            worker.look_at_file(&self.shared.events);
            worker.weigh(&mut self.shared, now);
        }
    }
}

/// The worker with this name, or of the unit with it; rather one that stays.
fn called<'s>(workers: &'s mut BTreeMap<usize, Box<Worker>>, id: &str) -> Option<&'s mut Worker> {
    let called = workers.values_mut().map(Box::as_mut).filter(|worker| worker.is_called(id));
    called.min_by_key(|worker| worker.leaves())
}

fn answer<T>(asker: oneshot::Sender<T>, value: T) {
    // Whoever asked may have stopped waiting.
    let _ = asker.send(value);
}
