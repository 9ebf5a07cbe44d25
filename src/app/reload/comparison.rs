//! What runs is compared with what is wanted: what is to be done for each unit.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::views::{ReloadedUnit, UnitOutcome};
use crate::app::settings::{enabled, problem};
use crate::config::{Config, RepoRoot};
use crate::supervisor::plan::{self, Asking, PlanStep, RunState, Runs, UnitPlan, WantedUnit};
use crate::supervisor::{self, SupervisorHandle};
use crate::worker::discover;

/// What is wanted, and what is to be done for it.
pub(super) struct Comparison {
    pub wanted: BTreeMap<String, WantedUnit>,
    pub running: BTreeMap<String, Runs>,
    pub problems: Vec<String>,
    pub plan: UnitPlan,
}

impl Comparison {
    /// Looks at what runs and what lies on disk; `None` while the agent stops.
    pub(super) async fn of(
        scripts: &SupervisorHandle,
        config: &Config,
        repos: &[RepoRoot],
        asking: Asking,
    ) -> Option<Self> {
        let running = scripts.running().await?;
        let (inputs, repos) = (enabled(config), repos.to_vec());
        let compared = tokio::task::spawn_blocking(move || {
            let found = discover::scripts(&inputs);
            let wanted = found.specs.into_iter().map(|spec| wanted_in(spec, &repos)).collect();
            let wanted = supervisor::look(&running, supervisor::with_told(&running, wanted));
            let plan = plan::plan(&running, &wanted, asking);
            Self {
                wanted: wanted.into_iter().map(|wanted| (wanted.spec.id.clone(), wanted)).collect(),
                running: running.into_iter().map(|runs| (runs.spec.id.clone(), runs)).collect(),
                problems: found.problems.iter().map(problem).collect(),
                plan,
            }
        });
        compared.await.ok()
    }

    /// Takes the steps of units out whose lister has a step itself: what they are to be is known once it has told. Gives those listers.
    /// The units of a lister whose new version is refused stay as they are.
    pub(super) fn defer_told(&mut self) -> BTreeSet<String> {
        let lists = |id: &String| self.wanted.get(id).is_some_and(|wanted| wanted.spec.lists());
        let of_step = |wanted: fn(&PlanStep) -> bool| -> BTreeSet<String> {
            let steps = self.plan.iter().filter(|(id, step)| lists(id) && wanted(step));
            steps.map(|(id, _)| id.clone()).collect()
        };
        let moving = of_step(|step| matches!(step, PlanStep::Start | PlanStep::Restart(_) | PlanStep::Try(_)));
        let refused = of_step(|step| matches!(step, PlanStep::StillRefused(_)));
        let by = |id: &String| self.running.get(id).and_then(|runs| runs.spec.told_by());
        let is_deferred = |id: &String| by(id).is_some_and(|by| moving.contains(by) || refused.contains(by));
        let kept: UnitPlan = self.plan.iter().filter(|(id, _)| !is_deferred(id)).cloned().collect();
        self.plan = kept;
        moving
    }

    pub(super) fn line(&self, id: &str, outcome: UnitOutcome, why: Option<String>) -> ReloadedUnit {
        let wanted = self.wanted.get(id).map(|wanted| &wanted.spec);
        let spec = wanted.or_else(|| self.running.get(id).map(|runs| &runs.spec));
        let is_helper = self.running.get(id).is_some_and(|runs| runs.state == RunState::Helps);
        let outcome = if outcome == UnitOutcome::Unchanged && is_helper { UnitOutcome::Helper } else { outcome };
        ReloadedUnit {
            id: id.to_owned(),
            file: spec.map_or(String::new(), |spec| spec.first().file.display().to_string()),
            outcome,
            pid: None,
            why,
        }
    }

    pub(super) fn has_siblings(&self, wanted: &WantedUnit) -> bool {
        self.wanted.values().any(|other| {
            other.spec.first().file != wanted.spec.first().file && other.spec.roots.first() == wanted.spec.roots.first()
        })
    }

    /// Says whether something that runs is wanted no longer.
    pub(super) fn stops_something(&self) -> bool {
        self.plan.iter().any(|(_, step)| *step == PlanStep::Stop)
    }

    /// Leaves only the steps of the units that these listers tell.
    pub(super) fn keep_told_by(&mut self, listers: &BTreeSet<String>) {
        let by = |id: &String| self.running.get(id).and_then(|runs| runs.spec.told_by());
        let kept: UnitPlan =
            self.plan.iter().filter(|(id, _)| by(id).is_some_and(|by| listers.contains(by))).cloned().collect();
        self.plan = kept;
    }
}

fn wanted_in(spec: crate::worker::WorkerSpec, repos: &[RepoRoot]) -> WantedUnit {
    let home = repos.iter().find(|repo| spec.first().file.starts_with(&repo.dir)).map(|repo| repo.dir.clone());
    WantedUnit { home, ..spec.into() }
}
