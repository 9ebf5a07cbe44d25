//! `isolation = "class"`: the workers of one script, each with one of its classes.
//!
//! The record with the script's own id tells: its worker loads the script, says which classes there are, and ends. Each class then has a
//! record of its own (`my.script:Class`), which lives, fails and falls back by itself, as any script does. A new version comes to all of
//! them in one way: the script is tried as a whole, then the telling worker is started on it, and what it tells is followed. There is one
//! record per class and one worker per record, so no class ever runs twice.

use std::time::Instant;

use super::plan::{RunState, Runs, Wanted};
use super::script::Script;
use super::view::WorkerView;
use super::{LEAVE, Supervisor};
use crate::worker::{Collectors, lastgood};

/// What becomes of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Becomes {
    Started,
    /// Its worker ends its run and starts on the new version.
    Renewed,
    Left,
}

/// Compares the classes that were told with those that there are (`true`: it is leaving). What the last good version has says nothing of
/// a class that runs: that one may be on a newer version.
fn follow(told: &[String], there: &[(String, bool)], are_of_kept: bool) -> Vec<(String, Becomes)> {
    let one = |class: &String| match there.iter().find(|(known, _)| known == class) {
        None => Some((class.clone(), Becomes::Started)),
        Some((_, leaves)) => (*leaves || !are_of_kept).then(|| (class.clone(), Becomes::Renewed)),
    };
    let gone = there.iter().filter(|(class, leaves)| !told.contains(class) && !leaves && !are_of_kept);
    told.iter().filter_map(one).chain(gone.map(|(class, _)| (class.clone(), Becomes::Left))).collect()
}

impl Supervisor {
    /// Does what scripts have told of their classes.
    pub(super) fn follow_classes(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        // Asked after every event: nothing is copied of those that have nothing to tell.
        let take = |script: &mut Box<Script>| script.take_told().map(|told| (told, script.spec.id.clone()));
        let told: Vec<_> = self.scripts.values_mut().filter_map(take).collect();
        for ((classes, are_of_kept), id) in told {
            let there = self.classes_of(&id).filter_map(|script| Some((script.class()?.to_owned(), script.leaves())));
            let there: Vec<(String, bool)> = there.collect();
            for (class, becomes) in follow(&classes, &there, are_of_kept) {
                self.become_class(&id, &class, becomes, Instant::now());
            }
            self.mark_siblings();
        }
    }

    fn become_class(&mut self, of: &str, class: &str, becomes: Becomes, now: Instant) {
        let teller = self.scripts.values().find(|script| script.spec.id == of);
        let Some(wanted) = teller.map(|teller| teller.wanted_class(class)) else { return };
        let shared = &mut self.shared;
        let known = self.scripts.values_mut().find(|script| script.is_class(of) && script.class() == Some(class));
        match (known, becomes) {
            (Some(script), Becomes::Left) => dismiss(script, shared, now),
            (Some(script), Becomes::Started | Becomes::Renewed) => script.replace(wanted, shared, now),
            (None, Becomes::Started | Becomes::Renewed) => {
                self.add(wanted);
            }
            (None, Becomes::Left) => {}
        }
    }

    /// The script leaves, or is no longer to have a worker for each class.
    pub(super) fn dismiss_classes(&mut self, of: &str, now: Instant) {
        for script in self.scripts.values_mut().filter(|script| script.is_class(of) && !script.leaves()) {
            dismiss(script, &mut self.shared, now);
        }
    }

    /// New settings that no worker has to be restarted for.
    pub(super) fn update_classes(&mut self, wanted: &Wanted) {
        for script in self.scripts.values_mut().filter(|script| script.is_class(&wanted.spec.id)) {
            let class = script.class().unwrap_or_default();
            let wanted = Wanted { spec: wanted.spec.of_class(class), ..wanted.clone() };
            script.update(wanted, &self.shared);
        }
    }

    fn classes_of(&self, id: &str) -> impl Iterator<Item = &Script> {
        self.scripts.values().map(Box::as_ref).filter(move |script| script.is_class(id))
    }

    /// What runs: a script with all its classes as one.
    pub(super) fn running(&self) -> Vec<Runs> {
        let has_teller = |of: &str| self.scripts.values().any(|script| script.spec.id == of);
        let alone = self
            .scripts
            .values()
            .filter(|script| !matches!(&script.spec.collectors, Collectors::One { of, .. } if has_teller(of)));
        alone.map(|script| self.classes_of(&script.spec.id).fold(script.runs(), with_class)).collect()
    }

    /// The views in the order of the inputs. What only tells classes is shown while it has something to say of itself.
    pub(super) fn views(&self, now: Instant) -> Vec<WorkerView> {
        let is_shown = |script: &Script, view: &WorkerView| {
            let tells = script.spec.collectors == Collectors::Told;
            !tells || view.why.is_some() || view.state == "helper" || self.classes_of(&script.spec.id).next().is_none()
        };
        let views = self.in_order().flat_map(|script| script.views(now).map(move |view| (script, view)));
        views.filter(|(script, view)| is_shown(script, view)).map(|(_, view)| view).collect()
    }
}

/// Ends the worker of a class that is gone, and forgets what was kept of it.
fn dismiss(script: &mut Script, shared: &mut super::Shared, now: Instant) {
    script.leave(LEAVE, shared, now);
    let (last_good, id) = (shared.settings.last_good.clone(), script.spec.id.clone());
    tokio::task::spawn_blocking(move || {
        if let Err(error) = lastgood::forget(&last_good, &id) {
            tracing::warn!(target: "worker", "{id}: its last version could not be deleted: {error}");
        }
    });
}

/// Adds what a class has loaded beside the rest of its script, unless it is the last good version, which says nothing of the one on disk.
fn with_class(mut script: Runs, class: &Script) -> Runs {
    let runs = class.runs();
    if runs.refusal.is_none() {
        for (part, sum) in runs.print {
            script.print.entry(part).or_insert(sum);
        }
    }
    script.lives_in.extend(runs.lives_in);
    if runs.state == RunState::Works && script.state != RunState::Leaves {
        script.state = RunState::Works;
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(told: &[&str], there: &[(&str, bool)], are_of_kept: bool) -> Vec<(String, Becomes)> {
        let told: Vec<String> = told.iter().map(|class| (*class).to_owned()).collect();
        let there: Vec<(String, bool)> = there.iter().map(|(class, leaves)| ((*class).to_owned(), *leaves)).collect();
        let mut steps = follow(&told, &there, are_of_kept);
        steps.sort_by(|one, other| one.0.cmp(&other.0));
        steps
    }

    #[test]
    fn what_is_told_runs_and_nothing_else() {
        use Becomes::{Left, Renewed, Started};
        let steps = followed(&["A", "C", "D"], &[("A", false), ("B", false), ("D", true), ("E", true)], false);
        let expected = [("A", Renewed), ("B", Left), ("C", Started), ("D", Renewed)];
        assert_eq!(steps, expected.map(|(class, becomes)| (class.to_owned(), becomes)));
    }

    #[test]
    fn the_last_good_version_starts_what_is_missing_and_ends_nothing() {
        let steps = followed(&["A", "C", "D"], &[("A", false), ("B", false), ("D", true)], true);
        assert_eq!(steps, [("C".to_owned(), Becomes::Started), ("D".to_owned(), Becomes::Renewed)]);
    }
}
