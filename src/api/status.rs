//! From the parts' own snapshots to the views.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use super::state::{Api, ShownSink};
use super::views::{
    BufferView, DeadLettersView, JobView, LastErrorView, MechanismView, RefusedPointsView, Refusing, RemovedSink,
    RepairedView, RunView, SinkView, StartedBy, Status, UnitError, UnitView,
};
use crate::buffer::{CursorStats, RemovedCursor, Stats};
use crate::deadletter::LetterCounts;
use crate::ingest::repairs::SeenRepairs;
use crate::sinks::{RefusedPoints, SinkState};
use crate::supervisor::{self, JobSnapshot, LastRun, UnitSnapshot, Way};
use crate::telemetry::trouble::Lasting;

const SCHEMA: u32 = 2;

impl Api {
    /// Asks every part and puts the answers together.
    pub async fn status(&self) -> Status {
        let (log, dead) = (self.log.clone(), self.dead.clone());
        let (buffer, dead) = self.disk.take(move || (log.stats(), dead.counts())).await;
        let now = Instant::now();
        let shown = self.shown.now();
        let reload = shown.reload.map(|last| super::views::LastReloadView {
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
            units: self.units.snapshot().await.iter().map(|view| unit(view, now)).collect(),
            sinks: shown.sinks.iter().map(|shown| sink(shown, &buffer)).collect(),
            removed_sinks: buffer.removed.iter().map(removed_sink).collect(),
            dead_letters: dead.into_iter().map(dead_letters).collect(),
            last_errors: self.last_errors(),
            repaired: self.repairs.list().into_iter().map(repaired).collect(),
            problems: shown.problems.into_iter().chain(shown.unwatched).collect(),
            panics: self.panics(),
            mechanisms: self.units.mechanisms().iter().map(mechanism).collect(),
            needs_restart: shown.needs_restart,
            reload,
            repos: self.git.views().iter().map(super::git::brief).collect(),
            buffer: BufferView {
                bytes: buffer.bytes,
                max_bytes: buffer.max_bytes,
                segments: buffer.segments,
                oldest_s: seconds(buffer.oldest_age),
                refusing: buffer.refusing.as_ref().map(|lasting| self.refusing(lasting, &buffer)),
                poisoned: buffer.poisoned,
                set_aside_bytes: buffer.set_aside_bytes,
            },
        }
    }

    fn refusing(&self, lasting: &Lasting, buffer: &Stats) -> Refusing {
        let dir = self.root.join("data/buffer");
        let is_full = buffer.max_bytes.saturating_sub(buffer.bytes) < buffer.max_bytes / 16;
        let help = if is_full {
            "it goes on when a sink takes what waits; or raise `[buffer] max_size`".to_owned()
        } else {
            let dir = dir.display();
            format!(
                "free space or inodes on the disk of {dir} and it goes on by itself; a lower `[buffer] max_size` keeps it from filling up"
            )
        };
        let since_s = jiff::Timestamp::now().duration_since(lasting.since).as_secs_f64().max(0.0);
        Refusing { since_s, reports: lasting.times, why: lasting.why.clone(), help }
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

    fn last_errors(&self) -> Vec<LastErrorView> {
        let errors = self.last_errors.list().into_iter();
        errors
            .map(|error| LastErrorView {
                ago_s: SystemTime::now().duration_since(error.at).unwrap_or_default().as_secs_f64(),
                input: error.input,
                source: error.source,
                text: error.text,
                times: error.times,
            })
            .collect()
    }
}

fn repaired(seen: SeenRepairs) -> RepairedView {
    RepairedView {
        ago_s: SystemTime::now().duration_since(seen.at).unwrap_or_default().as_secs_f64(),
        code: seen.repair.code(),
        input: seen.input,
        key: seen.repair.key,
        text: seen.repair.what,
        times: seen.times,
    }
}

fn dead_letters((who, counts): (String, LetterCounts)) -> DeadLettersView {
    DeadLettersView { who, points: counts.points, dropped: counts.deleted_points }
}

fn mechanism(found: &supervisor::MissingMechanism) -> MechanismView {
    MechanismView { name: found.name.to_owned(), active: found.why_not.is_none(), why: found.why_not.clone() }
}

fn seconds(age: Option<Duration>) -> Option<f64> {
    age.map(|age| age.as_secs_f64())
}

fn removed_sink(removed: &RemovedCursor) -> RemovedSink {
    RemovedSink { name: removed.name.clone(), holds_s: seconds(removed.holds_for) }
}

fn sink(shown: &ShownSink, buffer: &Stats) -> SinkView {
    let health = shown.health.report();
    let now = jiff::Timestamp::now();
    let none = CursorStats::default();
    let cursor = buffer.cursors.iter().find(|cursor| cursor.name == health.name).unwrap_or(&none);
    let is_well = matches!(health.state, SinkState::Ok | SinkState::Slow);
    SinkView {
        state: health.state,
        since_s: now.duration_since(health.since).as_secs_f64().max(0.0),
        why: health.last_error.filter(|_| !is_well).map(|(_, why)| why),
        next_in_s: health.next_try.filter(|_| !is_well).map(|at| at.duration_since(now).as_secs_f64().max(0.0)),
        attempts: u64::from(health.attempts),
        delivered: health.delivered,
        dead: health.dead,
        retries: health.retries,
        skipped: cursor.skipped_points,
        dropped_fields: health.dropped_fields.into_iter().map(|(why, count)| (why.to_owned(), count)).collect(),
        refused: health.refused.into_iter().map(|(source, refused)| of_source(source, refused, now)).collect(),
        behind_points: cursor.behind_points,
        behind_bytes: cursor.behind_bytes,
        oldest_s: seconds(cursor.oldest_age),
        name: health.name,
        kind: health.kind.to_owned(),
        target: shown.target.clone(),
    }
}

fn of_source(source: String, refused: RefusedPoints, now: jiff::Timestamp) -> RefusedPointsView {
    let ago_s = now.duration_since(refused.at).as_secs_f64().max(0.0);
    RefusedPointsView { source, points: refused.points, why: refused.why, ago_s }
}

fn unit(view: &UnitSnapshot, now: Instant) -> UnitView {
    let until = |at: Instant| at.saturating_duration_since(now).as_secs_f64();
    let ago = |at: Instant| now.saturating_duration_since(at).as_secs_f64();
    UnitView {
        id: view.id.clone(),
        title: view.title.clone(),
        input: view.input.clone(),
        dialect: view.dialect.facts().folder.to_owned(),
        file: view.file.display().to_string(),
        line: view.line,
        quiet: view.quiet,
        shares_process: view.shares_process,
        state: view.state,
        since_s: ago(view.since),
        why: view.why.clone(),
        refused: view.refused.clone(),
        next: view.next.map(|next| next.what.to_owned()),
        next_in_s: view.next.and_then(|next| next.at).map(until),
        next_at_change: view.next.is_some_and(|next| next.at_change),
        pid: view.pid,
        restarts: view.restarts,
        runs_ok: view.runs_ok,
        runs_failed: view.runs_failed,
        skipped_ticks: view.skipped_ticks,
        last_run: view.last_run.map(|run| last_run(&run, now)),
        jobs: view.jobs.iter().map(|view| job(view, now)).collect(),
        points_accepted: view.points_accepted,
        points_refused: view.points_refused,
        last_refusal: view.last_refusal.clone(),
        last_error: view.last_error.as_ref().map(|error| UnitError {
            text: error.text.clone(),
            place: error.place.clone(),
            traceback: error.traceback.clone(),
            times: error.times,
            last_ago_s: ago(error.last),
        }),
        warnings: view.warnings.clone(),
        more_warnings: view.more_warnings,
        last_words: view.last_words.clone(),
        stack: view.stack.clone(),
        output_dropped: view.output_dropped,
        memory_bytes: view.memory,
        recycled: view.recycled.0,
        recycled_why: view.recycled.1.clone(),
        started_by: view.way.as_ref().map(|way| match way {
            Way::Forked => StartedBy::Fork,
            Way::Executed { .. } => StartedBy::Exec,
        }),
        exec_why: match &view.way {
            Some(Way::Executed { why }) => Some(why.clone()),
            Some(Way::Forked) | None => None,
        },
        start_ms: view.start_took.map(|took| took.as_secs_f64() * 1000.0),
    }
}

fn job(view: &JobSnapshot, now: Instant) -> JobView {
    JobView {
        key: view.key.clone(),
        title: view.title.clone(),
        every_s: view.every,
        state: view.state,
        is_running: view.is_running,
        why: view.why.clone(),
        next_in_s: view.next.map(|at| at.saturating_duration_since(now).as_secs_f64()),
        last_run: view.last_run.map(|run| last_run(&run, now)),
        runs_ok: view.runs_ok,
        runs_failed: view.runs_failed,
        points: view.points,
    }
}

fn last_run(run: &LastRun, now: Instant) -> RunView {
    let ago_s = now.saturating_duration_since(run.at).as_secs_f64();
    RunView { ago_s, ms: run.ms, points: run.points, ok: run.ok }
}
