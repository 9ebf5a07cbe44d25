//! From the parts' own snapshots to the views.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use super::views::{
    Buffer, DeadLetters, Job, LastError, Mechanism, RemovedSink, Run, Script, ScriptError, Sink, Status,
};
use super::{Control, ShownSink};
use crate::buffer::{CursorStats, RemovedCursor, Stats};
use crate::deadletter::Counts;
use crate::sinks::State;
use crate::supervisor::{self, Way, WorkerView};

const SCHEMA: u32 = 1;

impl Control {
    /// Asks every part and puts the answers together.
    pub async fn status(&self) -> Status {
        let (log, dead) = (self.log.clone(), self.dead.clone());
        let (buffer, dead) = self.disk.take(move || (log.stats(), dead.counts())).await;
        let now = Instant::now();
        let shown = self.shown.now();
        let reload = shown.reload.map(|last| super::views::LastReload {
            ago_s: now.saturating_duration_since(last.at).as_secs_f64(),
            outcome: last.outcome,
        });
        Status {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            host: self.host.clone(),
            root: self.root.display().to_string(),
            uptime_s: self.started.elapsed().as_secs_f64(),
            listen: self.listen.clone(),
            socket: self.socket.display().to_string(),
            scripts: self.scripts.snapshot().await.iter().map(|view| script(view, now)).collect(),
            sinks: shown.sinks.iter().map(|shown| sink(shown, &buffer)).collect(),
            removed_sinks: buffer.removed.iter().map(removed_sink).collect(),
            dead_letters: dead.into_iter().map(dead_letters).collect(),
            last_errors: self.last_errors(),
            problems: shown.problems.into_iter().chain(shown.unwatched).collect(),
            panics: self.panics(),
            mechanisms: self.scripts.mechanisms().iter().map(mechanism).collect(),
            needs_restart: shown.needs_restart,
            reload,
            repos: self.git.views().iter().map(super::git::brief).collect(),
            buffer: Buffer {
                bytes: buffer.bytes,
                max_bytes: buffer.max_bytes,
                segments: buffer.segments,
                oldest_s: seconds(buffer.oldest_age),
                poisoned: buffer.poisoned,
                set_aside_bytes: buffer.set_aside_bytes,
            },
        }
    }

    fn panics(&self) -> BTreeMap<String, u64> {
        let mut panics = self.counters.panics.counts();
        for health in
            self.shown.now().sinks.iter().map(|shown| shown.health.report()).filter(|health| health.panics > 0)
        {
            panics.insert(format!("sink {}", health.name), health.panics);
        }
        panics
    }

    fn last_errors(&self) -> Vec<LastError> {
        let errors = self.last_errors.list().into_iter();
        errors
            .map(|error| LastError {
                ago_s: SystemTime::now().duration_since(error.at).unwrap_or_default().as_secs_f64(),
                input: error.input,
                source: error.source,
                text: error.text,
                times: error.times,
            })
            .collect()
    }
}

fn dead_letters((who, counts): (String, Counts)) -> DeadLetters {
    DeadLetters { who, points: counts.points, dropped: counts.deleted_points }
}

fn mechanism(found: &supervisor::Mechanism) -> Mechanism {
    Mechanism { name: found.name.to_owned(), active: found.why_not.is_none(), why: found.why_not.clone() }
}

fn seconds(age: Option<Duration>) -> Option<f64> {
    age.map(|age| age.as_secs_f64())
}

fn removed_sink(removed: &RemovedCursor) -> RemovedSink {
    RemovedSink { name: removed.name.clone(), holds_s: seconds(removed.holds_for) }
}

fn sink(shown: &ShownSink, buffer: &Stats) -> Sink {
    let health = shown.health.report();
    let now = jiff::Timestamp::now();
    let none = CursorStats::default();
    let cursor = buffer.cursors.iter().find(|cursor| cursor.name == health.name).unwrap_or(&none);
    let is_well = matches!(health.state, State::Ok | State::Slow);
    Sink {
        state: health.state.as_str().to_owned(),
        since_s: now.duration_since(health.since).as_secs_f64().max(0.0),
        why: health.last_error.filter(|_| !is_well).map(|(_, why)| why),
        next_in_s: health.next_try.filter(|_| !is_well).map(|at| at.duration_since(now).as_secs_f64().max(0.0)),
        attempts: u64::from(health.attempts),
        delivered: health.delivered,
        dead: health.dead,
        retries: health.retries,
        skipped: cursor.skipped_points,
        dropped_fields: health.dropped_fields.into_iter().map(|(why, count)| (why.to_owned(), count)).collect(),
        behind_points: cursor.behind_points,
        behind_bytes: cursor.behind_bytes,
        oldest_s: seconds(cursor.oldest_age),
        name: health.name,
        kind: health.kind.to_owned(),
        target: shown.target.clone(),
    }
}

fn script(view: &WorkerView, now: Instant) -> Script {
    let until = |at: Instant| at.saturating_duration_since(now).as_secs_f64();
    let ago = |at: Instant| now.saturating_duration_since(at).as_secs_f64();
    Script {
        id: view.id.clone(),
        input: view.input.clone(),
        file: view.script.display().to_string(),
        shares_process: view.shares_process,
        state: view.state.to_owned(),
        since_s: ago(view.since),
        why: view.why.clone(),
        refused: view.refused.clone(),
        next: view.next.map(|(what, _)| what.to_owned()),
        next_in_s: view.next.map(|(_, at)| until(at)),
        pid: view.pid,
        restarts: view.restarts,
        runs_ok: view.runs_ok,
        runs_failed: view.runs_failed,
        skipped_ticks: view.skipped_ticks,
        last_run: view.last_run.map(|run| Run { ago_s: ago(run.at), ms: run.ms, points: run.points, ok: run.ok }),
        jobs: view
            .jobs
            .iter()
            .map(|job| Job { name: job.name.clone(), class: job.class.clone(), interval_s: job.interval })
            .collect(),
        points_accepted: view.points_accepted,
        points_refused: view.points_refused,
        last_refusal: view.last_refusal.clone(),
        last_error: view.last_error.as_ref().map(|error| ScriptError {
            text: error.text.clone(),
            place: error.place.clone(),
            traceback: error.traceback.clone(),
            times: error.times,
            last_ago_s: ago(error.last),
        }),
        warnings: view.warnings.clone(),
        last_words: view.last_words.clone(),
        stack: view.stack.clone(),
        output_dropped: view.output_dropped,
        memory_bytes: view.memory,
        recycled: view.recycled.0,
        recycled_why: view.recycled.1.clone(),
        started_by: view.way.as_ref().map(|way| if *way == Way::Forked { "fork" } else { "exec" }.to_owned()),
        exec_why: match &view.way {
            Some(Way::Executed { why }) => Some(why.clone()),
            Some(Way::Forked) | None => None,
        },
        start_ms: view.start_took.map(|took| took.as_secs_f64() * 1000.0),
    }
}
