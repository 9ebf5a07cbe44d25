//! One life of a worker's process: the tasks that carry what it says and prints, and its end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::events::{LoopEvent, ProcessExit};
use crate::telemetry::counters::{ByUnit, Counters};
use crate::telemetry::files::ScriptLogs;
use crate::worker::cgroup::Cgroup;
use crate::worker::frames::{Channel, Down};
use crate::worker::output::{OutputEvent, drain};
use crate::worker::process::{Death, Leash, Parts, Pipe};
use crate::worker::roster::Member;
use crate::worker::scratch;

/// Pipes that a grandchild holds open are given up after this time.
const DRAIN: Duration = Duration::from_secs(1);
/// A worker that ends closes its control socket a moment before; one that lives on so long has lost it.
const LOST: Duration = Duration::from_secs(2);
/// Last words kept for the status: so many lines, and bytes of them.
const WORDS: usize = 20;
const WORD_BYTES: usize = 24 * 1024;
/// Of the last one, where it is part of a sentence.
const LAST_WORD_CHARS: usize = 300;

/// A running process as the record of its worker holds it.
pub(super) struct Incarnation {
    pub leash: Leash,
    pub token: String,
    channel: Arc<Channel>,
}

/// Where a worker's output goes; shared by the tasks of all its incarnations.
#[derive(Clone)]
pub(super) struct Output {
    pub id: String,
    pub input: String,
    pub member: Arc<Member>,
    pub logs: ScriptLogs,
    pub counters: Counters,
    words: Arc<Mutex<Words>>,
}

#[derive(Default)]
struct Words {
    lines: VecDeque<String>,
    /// They are those of the incarnation before.
    are_old: bool,
    dropped: u64,
}

impl Words {
    fn push(&mut self, line: &str) {
        self.lines.push_back(line.to_owned());
        let is_too_much = |lines: &VecDeque<String>| {
            lines.len() > WORDS || lines.iter().map(String::len).sum::<usize>() > WORD_BYTES && lines.len() > 1
        };
        while is_too_much(&self.lines) {
            self.lines.pop_front();
        }
    }
}

impl Output {
    pub fn new(id: &str, input: &str, member: Arc<Member>, logs: ScriptLogs, counters: Counters) -> Self {
        Self { id: id.to_owned(), input: input.to_owned(), member, logs, counters, words: Arc::default() }
    }

    pub fn last_words(&self) -> Vec<String> {
        self.words().lines.iter().cloned().collect()
    }

    /// The last line that this incarnation has written.
    pub fn last_word(&self) -> Option<String> {
        let words = self.words();
        let last = words.lines.back().filter(|_| !words.are_old)?;
        Some(last.chars().take(LAST_WORD_CHARS).collect())
    }

    pub fn dropped(&self) -> u64 {
        self.words().dropped
    }

    /// From now on a new incarnation speaks; the words of the one before stay until it does.
    pub fn begin_anew(&self) {
        self.words().are_old = true;
    }

    fn say(&self, said: OutputEvent<'_>) {
        self.member.touch();
        match said {
            OutputEvent::Line(line) => {
                self.logs.framework(&self.input, &format!("{} | {line}", self.id));
                let mut words = self.words();
                if std::mem::take(&mut words.are_old) {
                    words.lines.clear();
                }
                words.push(line);
            }
            OutputEvent::Over(count) => {
                let label = ByUnit { unit: self.id.clone(), result: "dropped".to_owned() };
                self.counters.output_dropped_lines.get_or_create(&label).inc_by(count);
                self.words().dropped += count;
            }
            OutputEvent::Dropped(count) => {
                self.logs.framework(
                    &self.input,
                    &format!("{}: {count} lines of output over the limit (200 lines/s) were dropped", self.id),
                );
            }
        }
    }

    fn words(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Incarnation {
    /// Starts the tasks of a process that has just been started.
    pub fn watch(
        parts: Parts,
        worker: usize,
        incarnation: u64,
        token: String,
        output: &Output,
        events: &mpsc::Sender<LoopEvent>,
    ) -> Self {
        let channel = Arc::new(parts.channel);
        let frames = tokio::spawn(carry_frames(Arc::clone(&channel), worker, incarnation, events.clone()));
        let trace = tokio::spawn(carry_stacks(parts.trace, worker, incarnation, events.clone()));
        let (out, err) = (output.clone(), output.clone());
        let stdout = tokio::spawn(async move { drain(parts.stdout, |said| out.say(said)).await });
        let stderr = tokio::spawn(async move { drain(parts.stderr, |said| err.say(said)).await });
        let leash = parts.leash.clone();
        tokio::spawn(await_end(
            parts.death,
            parts.leash,
            frames,
            [trace, stdout, stderr],
            worker,
            incarnation,
            events.clone(),
        ));
        Self { leash, token, channel }
    }

    /// How many frames the worker had to drop.
    pub fn frames_missed(&self) -> u64 {
        self.channel.missed()
    }

    /// Sends a frame; one that cannot be sent is judged by what the worker does next.
    pub fn send(&self, frame: &Down<'_>) -> std::io::Result<()> {
        self.channel.send(frame)
    }
}

/// Waits for the end of the process, ends what it left behind, takes what it still had to say, and tells the loop.
async fn await_end(
    death: Death,
    leash: Leash,
    mut frames: JoinHandle<()>,
    mut pipes: [JoinHandle<()>; 3],
    worker: usize,
    incarnation: u64,
    events: mpsc::Sender<LoopEvent>,
) {
    let seen = tokio::select! {
        seen = death.wait() => seen,
        _ = &mut frames => match tokio::time::timeout(LOST, death.wait()).await {
            Ok(seen) => seen,
            Err(_elapsed) => {
                // The loop may have ended meanwhile.
                let _ = events.send(LoopEvent::ControlLost { worker, incarnation }).await;
                death.wait().await
            }
        },
    };
    if let Err(error) = seen {
        tracing::error!(target: "worker", "cannot watch process {} for its end: {error}", leash.pid);
    }
    // Before it is reaped, so that its number cannot be another's.
    let group = leash.group().cloned();
    let left_behind = tokio::task::spawn_blocking(move || leash.end_tree()).await.unwrap_or(0);
    let rest = async {
        if !frames.is_finished() {
            // A task that was aborted or panicked has nothing more to say.
            let _ = (&mut frames).await;
        }
        for pipe in &mut pipes {
            let _ = pipe.await;
        }
    };
    if tokio::time::timeout(DRAIN, rest).await.is_err() {
        frames.abort();
        pipes.iter().for_each(JoinHandle::abort);
    }
    let ended = death.reap();
    let out_of_memory =
        tokio::task::spawn_blocking(move || group.is_some_and(|group| close(&group))).await.unwrap_or(false);
    // The loop may have ended meanwhile.
    let _ = events
        .send(LoopEvent::Died { worker, incarnation, exit: ProcessExit { ended, left_behind, out_of_memory } })
        .await;
}

/// Removes the cgroup; says whether the kernel killed in it for want of memory.
fn close(group: &Cgroup) -> bool {
    let out_of_memory = group.out_of_memory() > 0;
    group.end();
    out_of_memory
}

async fn carry_frames(channel: Arc<Channel>, worker: usize, incarnation: u64, events: mpsc::Sender<LoopEvent>) {
    while let Ok(Some(frame)) = channel.receive().await {
        if events.send(LoopEvent::Frame { worker, incarnation, frame: Box::new(frame) }).await.is_err() {
            return;
        }
    }
}

async fn carry_stacks(mut pipe: Pipe, worker: usize, incarnation: u64, events: mpsc::Sender<LoopEvent>) {
    loop {
        let text = scratch::read(&mut pipe, |bytes| String::from_utf8_lossy(bytes).into_owned()).await;
        let Some(text) = text.ok().filter(|text| !text.is_empty()) else { return };
        if events.send(LoopEvent::Stack { worker, incarnation, text }).await.is_err() {
            return;
        }
    }
}
