//! Units that are told: a lister says which ones there are, and each of them gets a worker of its own.
//!
//! The record with the lister's own id tells: its worker looks at what the input has (DataKit's `isolation = "class"` loads the script), says
//! which units there are, and ends. Each unit, or all that share a process, then has a record of its own (`my.script:Class`), which lives,
//! fails and falls back by itself, as any other does. What the lister tells decides who comes and who goes; whether one that stays has to
//! be restarted decides the plan of a reload, by what that one has read. There is one record per unit and one worker per record, so no
//! unit ever runs twice.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::basics::LEAVE;
use super::plan::{RunState, Runs, WantedUnit};
use super::rounds::Supervisor;
use super::shared::SupervisorShared;
use super::standing::UnitState;
use super::view::UnitSnapshot;
use super::worker::Worker;
use crate::worker::frames::ToldUnit;
use crate::worker::{UnitSpec, WorkerSpec, lastgood};

/// What a lister has told.
#[derive(Debug, Default)]
pub(super) struct UnitListing {
    pub units: Vec<ToldUnit>,
    /// Files in which something is wrong: what was told of them before stands.
    pub faulty: BTreeSet<PathBuf>,
    /// It is that of the last good version.
    pub is_of_kept: bool,
    /// Workers of units that were told before, also to the agent before.
    pub before: Vec<WorkerSpec>,
}

/// What becomes of one worker.
#[derive(Debug, Clone, PartialEq)]
enum Becomes {
    Started(WorkerSpec),
    /// Its worker ends its run and starts as something else.
    Renewed(WorkerSpec),
    Left(String),
}

/// A worker that runs what the lister told before.
struct There<'a> {
    spec: &'a WorkerSpec,
    leaves: bool,
}

/// The workers of all units that are told to run, in the order in which these were told.
fn workers(lister: &WorkerSpec, told: &[ToldUnit]) -> Vec<WorkerSpec> {
    let mut groups: Vec<(&str, Vec<UnitSpec>)> = Vec::new();
    for unit in told.iter().filter(|unit| unit.off.is_empty()) {
        let process = unit.process.as_str();
        let spec = unit.clone().into_unit();
        match groups.iter_mut().find(|(name, _)| !name.is_empty() && *name == process) {
            Some((_, units)) => units.push(spec),
            None => groups.push((process, vec![spec])),
        }
    }
    groups.into_iter().map(|(process, units)| lister.of_told(units, process)).collect()
}

/// Those that are told not to run; of a file with a mistake, what was told before stands.
fn off(before: Vec<ToldUnit>, listing: &UnitListing) -> Vec<ToldUnit> {
    let is_told = |unit: &ToldUnit| listing.units.iter().any(|told| told.id == unit.id);
    let is_faulty = |unit: &ToldUnit| unit.reads.iter().chain([&unit.file]).any(|file| listing.faulty.contains(file));
    let stays = before.into_iter().filter(|unit| is_faulty(unit) && !is_told(unit));
    listing.units.iter().filter(|unit| !unit.off.is_empty()).cloned().chain(stays).collect()
}

/// Compares what was told with what there is. The last good version says nothing of one that runs: that may be on a newer version.
fn follow(wanted: &[WorkerSpec], there: &[There<'_>], listing: &UnitListing) -> Vec<Becomes> {
    let one = |spec: &WorkerSpec| match there.iter().find(|there| there.spec.id == spec.id) {
        None => Some(Becomes::Started(spec.clone())),
        Some(known) if known.leaves => Some(Becomes::Renewed(spec.clone())),
        Some(known) => (known.spec.units != spec.units && !listing.is_of_kept).then(|| Becomes::Renewed(spec.clone())),
    };
    let is_wanted = |id: &str| wanted.iter().any(|spec| spec.id == id);
    let is_faulty = |file: &Path| listing.faulty.contains(file);
    let stays = |spec: &WorkerSpec| {
        spec.units.iter().any(|unit| is_faulty(&unit.file) || unit.reads.iter().any(|file| is_faulty(file)))
    };
    let gone = there.iter().filter(|there| !there.leaves && !is_wanted(&there.spec.id) && !listing.is_of_kept);
    let gone = gone.filter(|there| !stays(there.spec)).map(|there| Becomes::Left(there.spec.id.clone()));
    // What has a mistake when the agent starts runs in its last good version, if there is one.
    let is_told = |spec: &WorkerSpec| spec.units.iter().any(|unit| listing.units.iter().any(|told| told.id == unit.id));
    let is_there = |spec: &WorkerSpec| is_told(spec) || there.iter().any(|there| there.spec.id == spec.id);
    let before = listing.before.iter().filter(|spec| !is_there(spec) && stays(spec));
    let before = before.map(|spec| Becomes::Started(spec.clone()));
    wanted.iter().filter_map(one).chain(gone).chain(before).collect()
}

impl Supervisor {
    /// Does what listers have told.
    pub(super) fn follow_listers(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        // Asked after every event: nothing is copied of those that have nothing to tell.
        let take = |worker: &mut Box<Worker>| worker.take_listing().map(|told| (told, worker.spec.clone()));
        let told: Vec<_> = self.workers.values_mut().filter_map(take).collect();
        for (listing, lister) in told {
            if let Some(worker) = self.workers.values_mut().find(|worker| worker.spec.id == lister.id) {
                worker.off = off(std::mem::take(&mut worker.off), &listing);
            }
            let wanted = workers(&lister, &listing.units);
            let told_by = self.told_by(&lister.id);
            let there: Vec<There<'_>> =
                told_by.map(|worker| There { spec: &worker.spec, leaves: worker.leaves() }).collect();
            for becomes in follow(&wanted, &there, &listing) {
                self.carry_out(&lister.id, becomes, Instant::now());
            }
            self.mark_siblings();
        }
    }

    fn carry_out(&mut self, lister: &str, becomes: Becomes, now: Instant) {
        let spec = match becomes {
            Becomes::Started(spec) | Becomes::Renewed(spec) => spec,
            Becomes::Left(id) => {
                if let Some(worker) = self.workers.values_mut().find(|worker| worker.spec.id == id) {
                    dismiss(worker, &mut self.shared, now);
                }
                return;
            }
        };
        let by = self.workers.values().find(|worker| worker.spec.id == lister);
        let Some(wanted) = by.map(|by| by.wanted_of(spec)) else { return };
        let known = self.workers.values_mut().find(|worker| worker.spec.id == wanted.spec.id);
        match known.filter(|worker| worker.spec.told_by() == Some(lister)) {
            Some(worker) => worker.replace(wanted, &mut self.shared, now),
            None => {
                self.add(wanted);
            }
        }
    }

    /// The lister leaves, or is none any more.
    pub(super) fn dismiss_told(&mut self, lister: &str, now: Instant) {
        for worker in self.workers.values_mut().filter(|worker| worker.spec.told_by() == Some(lister)) {
            if !worker.leaves() {
                dismiss(worker, &mut self.shared, now);
            }
        }
    }

    fn told_by(&self, lister: &str) -> impl Iterator<Item = &Worker> {
        self.workers.values().map(Box::as_ref).filter(move |worker| worker.spec.told_by() == Some(lister))
    }

    /// The views in the order of the inputs. A lister is shown while it has something to say of itself.
    pub(super) fn views(&self, now: Instant) -> Vec<UnitSnapshot> {
        let is_shown = |worker: &Worker, view: &UnitSnapshot| {
            !worker.lists()
                || view.why.is_some()
                || view.state == UnitState::Helper
                || self.told_by(&worker.spec.id).next().is_none()
        };
        let views = self.in_order().flat_map(|worker| worker.views(now).map(move |view| (worker, view)));
        let mut views: Vec<UnitSnapshot> =
            views.filter(|(worker, view)| is_shown(worker, view)).map(|(_, view)| view).collect();
        // One that is off in its new settings runs on while those have a mistake.
        let runs: HashSet<String> = views.iter().map(|view| view.id.clone()).collect();
        let off = self.in_order().flat_map(Worker::views_of_off).filter(|view| !runs.contains(&view.id));
        views.extend(off);
        views
    }
}

/// Ends the worker of a unit that is gone, and forgets what was kept of it.
fn dismiss(worker: &mut Worker, shared: &mut SupervisorShared, now: Instant) {
    worker.leave(LEAVE, shared, now);
    let (last_good, id) = (shared.settings.last_good.clone(), worker.spec.id.clone());
    tokio::task::spawn_blocking(move || {
        if let Err(error) = lastgood::forget(&last_good, &id) {
            tracing::warn!(target: "worker", "{id}: could not delete its last version: {error}");
        }
    });
}

/// What the plan of a reload wants of the units that listers have told: each as it is, under the settings of its lister as they are now.
pub fn with_told(running: &[Runs], wanted: Vec<WantedUnit>) -> Vec<WantedUnit> {
    let listers = wanted.iter().filter(|wanted| wanted.spec.lists());
    let told = listers.flat_map(|lister| {
        let of_it = running.iter().filter(|runs| runs.spec.told_by() == Some(lister.spec.id.as_str()));
        // One that leaves is no longer told.
        let of_it = of_it.filter(|runs| runs.state != RunState::Leaves);
        of_it.map(|runs| {
            let moved = super::plan::in_tree(&runs.spec, runs.home.as_deref(), lister.home.as_deref());
            WantedUnit { spec: moved.under(&lister.spec), ..lister.clone() }
        })
    });
    let told: Vec<WantedUnit> = told.collect();
    wanted.into_iter().chain(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(id: &str, process: &str) -> ToldUnit {
        let file = format!("/d/{}.conf", id.split(':').next().unwrap());
        serde_json::from_value(serde_json::json!({ "id": id, "file": "/d/x.py", "process": process, "reads": [file] }))
            .unwrap()
    }

    fn lister() -> WorkerSpec {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x.py"), "").unwrap();
        let input = crate::config::InputTable::plain("in", "python3", dir.path().to_owned());
        let spec = crate::worker::discover::scripts(&[input]).specs.remove(0);
        WorkerSpec { id: "in".to_owned(), duty: crate::worker::Duty::List, ..spec }
    }

    fn followed(units: &[&str], there: &[(&str, bool)], listing: UnitListing) -> Vec<String> {
        let listing = UnitListing { units: units.iter().map(|id| told(id, "")).collect(), ..listing };
        let there: Vec<(WorkerSpec, bool)> =
            there.iter().map(|(id, leaves)| (workers(&lister(), &[told(id, "")]).remove(0), *leaves)).collect();
        let there: Vec<There<'_>> = there.iter().map(|(spec, leaves)| There { spec, leaves: *leaves }).collect();
        let steps = follow(&workers(&lister(), &listing.units), &there, &listing);
        let shown = |becomes: &Becomes| match becomes {
            Becomes::Started(spec) => format!("+{}", spec.id),
            Becomes::Renewed(spec) => format!("~{}", spec.id),
            Becomes::Left(id) => format!("-{id}"),
        };
        steps.iter().map(shown).collect()
    }

    #[test]
    fn what_is_told_runs_and_nothing_else_and_what_stays_is_left_alone() {
        let there = [("A", false), ("B", false), ("D", true), ("E", true)];
        assert_eq!(followed(&["A", "C", "D"], &there, UnitListing::default()), ["+C", "~D", "-B"]);
    }

    #[test]
    fn the_last_good_version_starts_what_is_missing_and_ends_nothing() {
        let kept = UnitListing { is_of_kept: true, ..UnitListing::default() };
        assert_eq!(followed(&["A", "C", "D"], &[("A", false), ("B", false), ("D", true)], kept), ["+C", "~D"]);
    }

    #[test]
    fn a_file_with_a_mistake_ends_none_of_the_units_that_came_from_it() {
        let faulty = UnitListing { faulty: ["/d/B.conf".into()].into(), ..UnitListing::default() };
        assert_eq!(followed(&["A:1"], &[("A:1", false), ("B:1", false), ("C:1", false)], faulty), ["-C:1"]);
    }

    #[test]
    fn what_a_mistake_hides_from_a_new_agent_is_what_was_told_to_the_one_before() {
        let before = || workers(&lister(), &["A:1", "B:1", "B:2", "B:3", "C:1"].map(|id| told(id, "")));
        let listing =
            || UnitListing { before: before(), faulty: ["/d/B.conf".into()].into(), ..UnitListing::default() };
        assert_eq!(followed(&["A:1", "B:2"], &[("B:3", false)], listing()), ["+A:1", "+B:2", "+B:1"]);
        let off = UnitListing { units: vec![ToldUnit { off: "x:1".to_owned(), ..told("B:1", "") }], ..listing() };
        let started = follow(&[], &[], &off);
        let shown: Vec<&str> = started
            .iter()
            .filter_map(|one| if let Becomes::Started(spec) = one { Some(spec.id.as_str()) } else { None })
            .collect();
        assert_eq!(shown, ["B:2", "B:3"]);
    }

    #[test]
    fn units_that_name_one_process_share_a_worker_and_what_is_off_has_none() {
        let off = ToldUnit { off: "python.d.conf:3".to_owned(), ..told("c", "") };
        let lister = lister();
        let found = workers(&lister, &[told("a:1", "m"), told("b", ""), told("a:2", "m"), off]);
        let shown: Vec<(&str, usize, bool)> =
            found.iter().map(|spec| (spec.id.as_str(), spec.units.len(), spec.shares)).collect();
        assert_eq!(shown, [("[m]", 2, true), ("b", 1, false)]);
        assert_eq!(found[0].under(&lister), found[0]);
    }

    #[test]
    fn what_is_off_is_what_was_told_last_and_before_that_what_a_mistake_hides() {
        let is_off = |id: &str, why: &str| ToldUnit { off: why.to_owned(), ..told(id, "") };
        let before = vec![is_off("A", "1"), is_off("B", "1"), is_off("C", "1"), is_off("D", "1")];
        let faulty = ["/d/B.conf".into(), "/d/C.conf".into()].into();
        let units = vec![is_off("A", "2"), told("C", ""), is_off("E", "2")];
        let found = off(before, &UnitListing { units, faulty, ..UnitListing::default() });
        let shown: Vec<(&str, &str)> = found.iter().map(|unit| (unit.id.as_str(), unit.off.as_str())).collect();
        assert_eq!(shown, [("A", "2"), ("E", "2"), ("B", "1")]);
    }
}
