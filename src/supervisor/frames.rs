//! What a worker says in frames, taken into the records of it and its units, and into the logs.

use std::time::{Duration, Instant};

use super::shared::SupervisorShared;
use super::stack::name_of;
use super::unit::{Unit, Unloaded, Warning};
use super::view::Coming;
use super::worker::Worker;
use crate::code::Code;
use crate::telemetry::counters::ByUnit;
use crate::words::count;
use crate::worker::WorkerSpec;
use crate::worker::frames::{
    Fatal, FrameSeverity, Hello, JobFrame, JobStands, RefusedReport, RunEnded, TracebackFrame, Up, Warn,
};
use crate::worker::life::{LifeAction, LifeInput};
use crate::worker::process::{self, Way};

/// A worker whose jobs all wait for longer than this has no process meanwhile.
const REST: Duration = Duration::from_secs(20);

impl Worker {
    pub fn frame(&mut self, frame: Up, shared: &mut SupervisorShared, now: Instant) {
        match frame {
            Up::Hello(hello) => self.hello(&hello, shared, now),
            Up::Loaded { files } => {
                self.version.loads(files);
                self.keep(shared);
            }
            Up::Read { files, folders } => {
                self.version.reads(files, folders);
                shared.has_read.notify_one();
                self.keep(shared);
            }
            Up::Loading { u } => self.loading = u,
            Up::Unloaded(fatal) => self.unloaded(&fatal, now),
            Up::Jobs { set, gone } => self.jobs(set, gone, shared, now),
            Up::Ready {} => self.ready(shared, now),
            Up::Job(stands) => self.job_stands(&stands, shared, now),
            Up::Units { units } => self.telling.extend(units),
            Up::Listed {} => self.listed(shared, now),
            Up::Run { i, .. } => {
                if let Some(number) = self.unit_of(i) {
                    self.units[number].jobs.run_began(i);
                }
                self.step(LifeInput::JobReady(i), shared, now);
                self.step(LifeInput::RunBegan(i), shared, now);
            }
            Up::End(end) => self.run_ended(&end, shared, now),
            Up::Ran { runs } => {
                for run in runs {
                    let end = RunEnded::from(run);
                    self.run_ended(&end, shared, now);
                }
            }
            Up::Refused(refused) => self.refused(&refused, now),
            Up::Resources(piece) => self.resources(piece),
            Up::Warn(warn) => self.warned(&warn, now),
            Up::Fault(fault) => {
                if fault.severity == FrameSeverity::Error {
                    self.faulty.extend(fault.file.clone());
                }
                self.warned(&fault, now);
            }
            Up::Fatal(fatal) => self.fatal(&fatal, shared, now),
            Up::Bye { reason, why } if reason == "replace" => self.step(LifeInput::Leaves { why }, shared, now),
            Up::Bye { .. } => {}
            Up::Unknown => self.unknown_frame(now),
        }
    }

    fn unknown_frame(&mut self, now: Instant) {
        self.frames_lost += 1;
        if let Some(held_back) = self.repeats.tell("a frame that cannot be read", now) {
            let id = &self.spec.id;
            tracing::warn!(target: "worker", "{id}: sent a frame that cannot be read, and {held_back} more before");
        }
    }

    fn hello(&mut self, hello: &Hello, shared: &mut SupervisorShared, now: Instant) {
        if self.way == Some(Way::Forked) && self.pid().is_some_and(|pid| pid != hello.pid) {
            tracing::error!(target: "worker", "{}: claims to be process {}, which it is not", self.spec.id, hello.pid);
            self.carry_out(LifeAction::Kill, shared);
            return;
        }
        // A shim only finds the interpreter; any other wrapper may do more than that, so it stays.
        if !hello.exe.is_empty() && process::is_shim(&self.program) {
            shared.interpreters.insert((self.spec.cmd.clone(), self.spec.envs.clone()), hello.exe.clone().into());
        }
        self.version.heard_hello = true;
        self.step(LifeInput::Hello, shared, now);
    }

    /// It was started to tell this and nothing else.
    fn listed(&mut self, shared: &mut SupervisorShared, now: Instant) {
        let told = std::mem::take(&mut self.telling);
        let id = &self.spec.id;
        let keys: Vec<&str> = told.iter().map(|unit| unit.id.strip_prefix(id.as_str()).unwrap_or(&unit.id)).collect();
        let keys = keys.iter().map(|key| key.trim_start_matches(['.', ':'])).collect::<Vec<_>>().join(", ");
        let each = if told.len() == 1 { "in a worker of its own" } else { "each in a worker of its own" };
        tracing::info!(target: "worker", "{id}: has {keys}, {each}");
        self.output.logs.cli(&format!("{id}: loaded {}: {keys}", self.spec.first().file.display()));
        self.told = Some(told);
        self.version.ready();
        self.keep(shared);
        self.step(LifeInput::Ready, shared, now);
        // As good as a run: whatever failed before is over.
        self.step(LifeInput::RunEnded { job: 0, ok: true }, shared, now);
        self.step(LifeInput::Stop, shared, now);
    }

    fn ready(&mut self, shared: &mut SupervisorShared, now: Instant) {
        let schedules = self.units.iter().map(|unit| unit.jobs.schedule()).filter(|text| !text.is_empty());
        let schedules = schedules.collect::<Vec<_>>().join(", ");
        let pid = self.pid().map_or(String::new(), |pid| format!("pid {pid}, "));
        let id = &self.spec.id;
        // One that comes back for its check is nothing new.
        if self.units.iter().all(|unit| unit.waits.is_none()) {
            tracing::info!(target: "worker", "{id}: started, {pid}{schedules}");
            self.output.logs.cli(&format!("{id}: loaded {}: {schedules}", self.spec.first().file.display()));
        }
        self.units.iter_mut().for_each(Unit::ready);
        self.start_took = Some(now.saturating_duration_since(self.spawned_at));
        self.version.ready();
        self.keep(shared);
        self.step(LifeInput::Ready, shared, now);
    }

    /// Jobs that came, changed or went.
    fn jobs(&mut self, set: Vec<JobFrame>, gone: Vec<usize>, shared: &mut SupervisorShared, now: Instant) {
        let interval = |job: &JobFrame| (job.i, Duration::try_from_secs_f64(job.every).unwrap_or_default());
        let intervals = set.iter().map(interval).collect();
        for job in set {
            // A worker may claim any number.
            if let Some(unit) = self.units.get_mut(job.u) {
                unit.jobs.set(job, now);
            }
        }
        for number in &gone {
            self.units.iter_mut().for_each(|unit| unit.jobs.drop_job(*number));
        }
        self.step(LifeInput::Jobs { set: intervals, gone }, shared, now);
    }

    /// How the check of a job went.
    fn job_stands(&mut self, stands: &JobStands, shared: &mut SupervisorShared, now: Instant) {
        let Some(number) = self.unit_of(stands.i) else { return };
        let unit = &mut self.units[number];
        unit.jobs.stands(stands, now);
        if stands.state.waits() {
            self.tell_wait(number, stands);
        } else {
            unit.waits = None;
        }
        let input = if stands.state.waits() { LifeInput::JobWaits(stands.i) } else { LifeInput::JobReady(stands.i) };
        self.step(input, shared, now);
        self.note_state(number, now);
        if let Some(until) = self.rests_until(now) {
            self.step(LifeInput::Rest(until), shared, now);
        }
    }

    /// Says why a job waits, once for each reason.
    fn tell_wait(&mut self, number: usize, stands: &JobStands) {
        let unit = &mut self.units[number];
        let (id, key) = (&unit.id, unit.jobs.key(stands.i).unwrap_or_default());
        let of = if unit.jobs.numbers().count() > 1 { format!("job {key} waits") } else { "waits".to_owned() };
        if unit.waits.as_ref() != Some(&stands.why) {
            let text = format!("{id}: {of}: {}", stands.why);
            tracing::info!(target: "worker", "{text}");
            self.output.logs.cli(&text);
        }
        unit.waits = Some(stands.why.clone());
    }

    /// When the first check of its jobs is due, if all of them wait and that is a while off: no process has to be there for it.
    fn rests_until(&self, now: Instant) -> Option<Instant> {
        let waits = |unit: &Unit| {
            let (waiting, all, _) = unit.jobs.waiting();
            waiting == all
        };
        let is_waiting = self.units.iter().all(waits) && self.units.iter().any(|unit| unit.jobs.waiting().1 > 0);
        let checks = self.units.iter().filter_map(|unit| unit.jobs.next().map(|(_, at)| at));
        checks.min().filter(|at| is_waiting && at.saturating_duration_since(now) >= REST)
    }

    fn run_ended(&mut self, end: &RunEnded, shared: &mut SupervisorShared, now: Instant) {
        // A worker may claim any number.
        let number = self.unit_of(end.i);
        if let Some(number) = number {
            self.count_run(number, end, now);
        }
        self.step(LifeInput::RunEnded { job: end.i, ok: end.ok }, shared, now);
        self.step(LifeInput::NextRun(end.i, Duration::from_millis(end.next_ms)), shared, now);
        if let Some(number) = number {
            self.note_state(number, now);
        }
    }

    /// The unit that has a job.
    fn unit_of(&self, job: usize) -> Option<usize> {
        let has = |unit: &Unit| unit.jobs.has(job);
        // Where each of hundreds of units has one job it has the number of its unit, unless some came later.
        let is_same = self.units.get(job).is_some_and(has);
        if is_same { Some(job) } else { self.units.iter().position(has) }
    }

    fn note_state(&mut self, number: usize, now: Instant) {
        let (state, _) = self.state_and_why(&self.units[number], now);
        self.units[number].stands(state, now);
    }

    fn count_run(&mut self, number: usize, end: &RunEnded, now: Instant) {
        let unit = &mut self.units[number];
        let is_first = unit.run_ended(end, now);
        let result = if end.ok { "ok" } else { "failed" };
        self.counters.runs.get_or_create(&ByUnit { unit: unit.id.clone(), result: result.to_owned() }).inc();
        if !end.ok {
            self.raised(number, end, now);
        } else if is_first {
            let refused = if end.refused > 0 { format!(", {} refused", end.refused) } else { String::new() };
            let points = count(end.points, "point");
            tracing::info!(target: "worker", "{}: first run done in {:.1} ms, {points} kept on disk{refused}", unit.id, end.ms);
        }
    }

    /// Writes the traceback, the same one at most once a minute.
    fn raised(&mut self, number: usize, end: &RunEnded, now: Instant) {
        let text = end.raised();
        let place = end.places.first().map(|frame| tell_frame(frame, &self.spec));
        let unit = &mut self.units[number];
        unit.raised(end, place.clone(), now);
        let at = place.map_or(String::new(), |place| format!(" at {place}"));
        let id = &unit.id;
        let Some(held_back) = self.repeats.tell(&format!("{id} {text}{at}"), now) else { return };
        let again =
            if held_back > 0 { format!(" ({held_back} times more since it was written last)") } else { String::new() };
        tracing::warn!(target: "worker", "{id}: run raised {text}{at}{again}");
        let entry = format!("{id}: run raised {text}{at}{again}\n{}", end.tb.trim_end());
        self.output.logs.cli(&entry);
        self.output.logs.framework(&self.spec.input, &entry);
    }

    fn refused(&mut self, refused: &RefusedReport, now: Instant) {
        let place = refused
            .caller
            .as_ref()
            .map(|caller| format!("{}:{} in {}", name_of(&caller.file, &self.spec), caller.line, caller.func));
        let answer = RefusingAnswer::read(&refused.text);
        let Some(Unit { member, id, .. }) = self.units.get(refused.u) else { return };
        member.refused(refused.points);
        if refused.code.is_some() {
            member.report_refused(&format!("{}: {}", refused.category, answer.message));
        } else if refused.status == 0 {
            member.report_refused(&format!("{}: not delivered: {}", refused.category, answer.message));
        } else if !answer.names_points {
            member.report_refused(&format!("{}: {}", refused.category, answer.message));
        }
        if let Some(place) = &place {
            member.refused_at(place);
        }
        let at = place.map_or(String::new(), |place| format!(" at {place}"));
        let what = match refused.status {
            0 if refused.code.is_some() => "refused".to_owned(),
            0 => "not delivered".to_owned(),
            status => format!("answered {status}"),
        };
        let entry = format!("{id}: {} report{at} {what}: {}", refused.category, answer.message);
        let Some(held_back) = self.repeats.tell(&entry, now) else { return };
        let again =
            if held_back > 0 { format!(" ({held_back} times more since it was written last)") } else { String::new() };
        self.output.logs.framework(&self.spec.input, &format!("{entry}{again}"));
    }

    fn warned(&mut self, warn: &Warn, now: Instant) {
        let at = match warn.file.as_ref().filter(|file| !file.as_os_str().is_empty()) {
            Some(file) if warn.line > 0 => {
                format!(" ({}:{}:{})", name_of(file, &self.spec), warn.line, warn.col.max(1))
            }
            Some(file) => format!(" ({})", name_of(file, &self.spec)),
            None if warn.line > 0 => format!(" (line {})", warn.line),
            None => String::new(),
        };
        let Some(unit) = self.units.get_mut(warn.u) else { return };
        let short = format!("{}{at}", first_line(&warn.msg));
        // A part of the unit could not be loaded, or made.
        let means_loss = warn.severity == FrameSeverity::Error || warn.code.is_some_and(Code::is_of_loading);
        unit.warned(Warning { text: short.clone(), means_loss });
        let id = &unit.id;
        let code = warn.code.map_or(String::new(), |code| format!("{code}: "));
        let is_of_data = warn.code.is_some_and(Code::is_of_data);
        let told = if is_of_data {
            self.repeats.tell_exactly(&format!("{id} {code}{short}"), now)
        } else {
            self.repeats.tell(&format!("{id} {code}{}", warn.msg), now)
        };
        if told.is_none() {
            return;
        }
        tracing::warn!(target: "worker", "{id}: {code}{short}");
        if is_of_data {
            self.output.logs.framework(&self.spec.input, &format!("{id}: {code}{short}"));
        }
        self.output.logs.cli(&format!("{id}: {code}{}{at}", warn.msg.trim_end()));
    }

    fn fatal(&mut self, fatal: &Fatal, shared: &mut SupervisorShared, now: Instant) {
        self.is_passive = self.only_helps(fatal) && self.spec.told_by().is_none();
        self.told = (self.is_passive && self.lists()).then(Vec::new);
        self.fatal_of = self.units.get(fatal.u).map(|unit| unit.id.clone()).filter(|_| self.units.len() > 1);
        let why = self.why_not_loaded(fatal);
        self.output.logs.cli(&format!("{}: could not be loaded: {why}\n{}", self.spec.id, fatal.tb.trim_end()));
        self.step(LifeInput::Fatal { why, permanent: fatal.permanent }, shared, now);
    }

    /// One of several units does not run; the others do.
    fn unloaded(&mut self, fatal: &Fatal, now: Instant) {
        let (only_helps, why) = (self.only_helps(fatal), self.why_not_loaded(fatal));
        let Some(unit) = self.units.get_mut(fatal.u) else { return };
        let id = &unit.id;
        if only_helps {
            tracing::info!(target: "worker", "{id}: holds no collector; it is taken for a module that other scripts import");
            unit.unloaded = Some(Unloaded::Passive);
            self.note_state(fatal.u, now);
            return;
        }
        tracing::error!(target: "worker", "{id}: cannot run: {why}; the other units of its process do; {}", Coming::CHANGE);
        self.output.logs.cli(&format!("{id}: could not be loaded: {why}\n{}", fatal.tb.trim_end()));
        unit.unloaded = Some(Unloaded::Fault(why));
        self.note_state(fatal.u, now);
    }

    fn only_helps(&self, fatal: &Fatal) -> bool {
        let of = self.units.get(fatal.u);
        fatal.passive && of.is_some_and(|unit| unit.has_siblings && !self.version.is_emptied(&unit.path))
    }

    fn why_not_loaded(&self, fatal: &Fatal) -> String {
        let script = self.units.get(fatal.u).map_or(&self.spec.first().file, |unit| &unit.path);
        let column = fatal.col.filter(|_| fatal.code.is_some_and(Code::is_of_foreign_settings));
        let column = column.map_or(String::new(), |column| format!(":{column}"));
        let place = match (&fatal.file, fatal.line) {
            (Some(file), Some(line)) => format!("{}:{line}{column}: ", name_of(file, &self.spec)),
            (Some(file), None) => format!("{}: ", name_of(file, &self.spec)),
            (None, _) => format!("{}: ", name_of(script, &self.spec)),
        };
        let what = what_failed(fatal);
        // A text of several lines shows its place itself.
        let source = fatal.src.as_ref().filter(|_| !what.contains('\n'));
        let source = source.map_or(String::new(), |src| format!(" | {}", src.trim()));
        let notes = fatal.notes.iter().chain(&fatal.help).fold(String::new(), |text, note| format!("{text}; {note}"));
        let code = fatal.code.map_or(String::new(), |code| format!(" [{code}]"));
        format!("{place}{what}{source}{notes}{code}")
    }
}

/// A refusing answer, as far as it is to be told.
struct RefusingAnswer {
    message: String,
    /// Each point was refused for a reason of its own, which ingest has noted.
    names_points: bool,
}

impl RefusingAnswer {
    fn read(text: &str) -> Self {
        let json: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        Self {
            message: json["message"].as_str().unwrap_or(text).trim_end().to_owned(),
            names_points: json["refused"].is_array(),
        }
    }
}

/// What a person calls the failure: a missing module by its name.
fn what_failed(fatal: &Fatal) -> String {
    let raised = fatal.raised();
    match fatal.code {
        Some(Code::SyntaxError) => format!("syntax error: {}", fatal.msg),
        Some(Code::NothingToRun | Code::WrongValue | Code::NoSuchPath | Code::NoRight | Code::ResourceLimit) => {
            fatal.msg.clone()
        }
        Some(code) if code.is_of_foreign_settings() => fatal.msg.clone(),
        _ => raised,
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn tell_frame(frame: &TracebackFrame, spec: &WorkerSpec) -> String {
    format!("{}:{} in {}", name_of(&frame.file, spec), frame.line, frame.func)
}
