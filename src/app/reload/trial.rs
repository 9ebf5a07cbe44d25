//! A new version of a script is loaded in a throw-away worker before it takes the place of the old one.

use std::path::Path;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};

use super::comparison::Comparison;
use super::line::OutcomeLine;
use super::reloader::Reloader;
use crate::api::views::UnitOutcome;
use crate::diagnostic::{Diagnostic, Severity};
use crate::supervisor::Change;
use crate::supervisor::plan::{PlanStep, RefusedVersion, WantedUnit};
use crate::tryout::{self, Tryout};
use crate::worker::UnitSpec;
use crate::worker::files::{Dependency, FileLook, Print, Sum};

/// Scripts tried at the same time.
const AT_ONCE: usize = 4;

impl Reloader {
    /// Tries every new version of a script that works, and has those that load take their place.
    pub(super) async fn try_versions(&self, compared: &Comparison) -> Vec<OutcomeLine> {
        let tries: Vec<(&WantedUnit, &String)> = compared
            .plan
            .iter()
            .filter_map(|(id, step)| match step {
                PlanStep::Try(why) => Some((compared.wanted.get(id)?, why)),
                _ => None,
            })
            .collect();
        if tries.is_empty() {
            return Vec::new();
        }
        let tryout = match Tryout::within(self.core.clone(), self.run_dir.clone()).await {
            Ok(tryout) => tryout,
            Err(error) => {
                let why = format!("it could not be tried: {error:#}");
                tracing::error!(target: "agent", "new versions of scripts wait: {why}");
                let lines = tries
                    .iter()
                    .map(|(wanted, _)| compared.line(&wanted.spec.id, UnitOutcome::Refused, Some(why.clone())));
                return lines.map(OutcomeLine::Known).collect();
            }
        };
        let trials: Vec<BoxFuture<'_, OutcomeLine>> =
            tries.into_iter().map(|(wanted, why)| self.try_version(&tryout, compared, wanted, why).boxed()).collect();
        futures_util::stream::iter(trials).buffer_unordered(AT_ONCE).collect().await
    }

    async fn try_version(
        &self,
        tryout: &Tryout,
        compared: &Comparison,
        wanted: &WantedUnit,
        changed: &str,
    ) -> OutcomeLine {
        let id = &wanted.spec.id;
        let loads = |script: &str| compared.running.get(id).is_none_or(|runs| !runs.unloaded.contains(script));
        let before: &[UnitSpec] = compared.running.get(id).map_or(&[], |runs| &runs.spec.units);
        let must = |script: &str| loads(script) && before.iter().any(|one| one.id == script);
        let outcome = tryout.load(&wanted.spec, &must, tryout::LOAD).await;
        let is_helper = outcome.fatal.as_ref().is_some_and(|fatal| fatal.passive)
            && compared.has_siblings(wanted)
            // An empty file says nothing of what its author wants; it is rather one that is being written.
            && !outcome.loaded.iter().any(|loaded| loaded.file == wanted.spec.first().file && loaded.sum == Sum::of(b""));
        if !outcome.is_ready && !is_helper {
            let problems = outcome.load_problems(&wanted.spec);
            let problem = problems.iter().find(|problem| problem.severity == Severity::Error);
            let why =
                problem.map_or_else(|| "it ended while it was loaded".to_owned(), |problem| told(problem, wanted));
            let refusal = refusal(wanted.clone(), why.clone(), outcome).await;
            self.scripts.begin(vec![Change::Refuse(id.clone(), refusal)]).await;
            return OutcomeLine::Known(compared.line(id, UnitOutcome::Refused, Some(why)));
        }
        tracing::info!(target: "worker", "{id}: {changed}; its new version takes over when the run has ended");
        let line = compared.line(id, UnitOutcome::Restarted, Some(changed.to_owned()));
        match self.scripts.begin(vec![Change::Restart(wanted.clone())]).await.pop() {
            Some(settling) => OutcomeLine::Settles { settling, line },
            None => OutcomeLine::Known(line),
        }
    }
}

/// Remembers what was tried, so that it is not tried again until something of it changes.
async fn refusal(wanted: WantedUnit, why: String, outcome: tryout::TryoutOutcome) -> RefusedVersion {
    let looked = tokio::task::spawn_blocking(move || {
        let mut parts: Vec<Dependency> = wanted.spec.roots.iter().cloned().map(Dependency::Names).collect();
        parts.extend(wanted.spec.units.iter().map(|unit| Dependency::File(unit.file.clone())));
        let mut print: Print = FileLook::default().print(&parts);
        print.extend(wanted.now);
        print.extend(outcome.loaded.into_iter().map(|loaded| (Dependency::File(loaded.file), Some(loaded.sum))));
        let at_fault = outcome.fatal.as_ref().map_or(outcome.last_unit, |fatal| fatal.u);
        let of = wanted.spec.units.get(at_fault).filter(|_| wanted.spec.shares).map(|unit| unit.id.clone());
        RefusedVersion { why, of, at: SystemTime::now(), spec: wanted.spec, home: wanted.home, print }
    });
    looked.await.expect("hashing files does not panic")
}

/// `my/x.py:3: syntax error: … [PD0201]`
fn told(problem: &Diagnostic, wanted: &WantedUnit) -> String {
    let place = problem.place.as_ref().map_or(String::new(), |place| {
        let file = short(&place.file, wanted);
        match place.line {
            0 => format!("{file}: "),
            line if problem.code.is_of_foreign_settings() => format!("{file}:{line}:{}: ", place.column),
            line => format!("{file}:{line}: "),
        }
    });
    let source = problem.place.as_ref().map_or("", |place| place.source.trim());
    let source = if source.is_empty() { String::new() } else { format!(" | {source}") };
    format!("{place}{}{source} [{}]", problem.message, problem.code)
}

fn short(file: &Path, wanted: &WantedUnit) -> String {
    let inside = wanted.spec.roots.iter().find_map(|root| file.strip_prefix(root.parent()?).ok());
    inside.unwrap_or(file).display().to_string()
}
