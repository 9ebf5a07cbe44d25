//! A reload from its beginning to its end: settings read and checked whole, scripts compared, new versions tried, changes made.
//!
//! One task does one reload after the other, so that each finds a settled set of scripts; wishes that come meanwhile are fulfilled
//! together by the next one. Only the end of a change (an old worker may take its time) is waited for beside that task.
//!
//! Order: settings (one fault: nothing changes) → what runs is compared with what is wanted → what needs no trial begins → each new version
//! of a script that runs is tried and takes its place as soon as it has shown that it loads → sinks and the other settings.

mod comparison;
mod effect;
mod line;
mod outcome;
mod reloader;
mod settings;
mod trial;
mod units;
mod wish;

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::privacy::Rights;
use super::pumps::Pumps;
use super::repos;
use super::settings::problem;
use super::watching::SourceWatch;
use crate::api::ReloadRecord;
use crate::api::views::{Reloaded, ReloadedSink};
use crate::code::Code;
use crate::config::{Config, ConfigError, RepoRoot};
use crate::diagnostic::Diagnostic;
use crate::supervisor::plan::Asking;
use comparison::Comparison;
use line::OutcomeLine;
use wish::Wish;

pub(super) use reloader::Reloader;

/// A script that is gone may be on its way back: editors replace files in two steps.
const BACK: Duration = Duration::from_millis(500);
/// Hangups that come so soon after one another count as one.
const HANGUPS: Duration = Duration::from_millis(200);

/// What the loop wakes up for.
enum Due {
    Reload(Wish),
    /// Nothing but to watch what has been read meanwhile.
    Follow,
}

/// What the units have come to.
struct ReloadedUnits {
    lines: Vec<OutcomeLine>,
    /// Found while they were looked for.
    problems: Vec<String>,
}

impl Reloader {
    /// Reloads when asked, at SIGHUP, and when a file changes, until `stop`; gives back the pumps, for their stop.
    pub async fn run(mut self, stop: CancellationToken) -> Pumps {
        tokio::select! {
            () = self.work() => {}
            // What was not begun is found at the next start.
            () = stop.cancelled() => {}
        }
        self.pumps
    }

    async fn work(&mut self) {
        let (mut watching, mut noticed) = SourceWatch::new(self.scripts.clone(), self.shown.clone());
        watching.begin(&self.config, &self.repos).await;
        // What changed while the agent started.
        watching.notice();
        let mut polls = self.polls();
        while let Some(due) = self.due(&mut noticed, &mut polls, watching.is_on()).await {
            if let Due::Reload(wish) = due {
                let (before, poll) = (self.config.reload.clone(), self.poll());
                self.fulfil(wish).await;
                if self.config.reload != before {
                    watching.begin(&self.config, &self.repos).await;
                }
                if self.poll() != poll {
                    polls = self.polls();
                }
            }
            if watching.follow(&self.config, &self.repos).await {
                // Something may have come into a new folder before it was watched.
                watching.notice();
            }
        }
    }

    /// Waits for what is due next; `None` when nobody can ask any more.
    async fn due(&mut self, noticed: &mut mpsc::Receiver<()>, polls: &mut Interval, is_watched: bool) -> Option<Due> {
        let mut wish = tokio::select! {
            ask = self.asks.recv() => {
                let mut wish = Wish::noticed();
                wish.add(ask?);
                wish
            }
            Some(()) = self.hangups.recv() => {
                // A storm of them is one wish.
                tokio::time::sleep(HANGUPS).await;
                Wish::hangup()
            }
            _ = noticed.recv() => Wish::noticed(),
            _ = polls.tick() => if is_watched { Wish::noticed() } else { return Some(Due::Follow) },
            () = self.scripts.has_read() => return Some(Due::Follow),
        };
        while let Ok(ask) = self.asks.try_recv() {
            wish.add(ask);
        }
        Some(Due::Reload(wish))
    }

    /// Does one reload. The service manager is told of those that were asked for, not of every look at the files.
    async fn fulfil(&mut self, wish: Wish) {
        let is_asked = wish.asking == Asking::Asked;
        if is_asked {
            self.manager.reloading();
        }
        // A defect in it must not take the pumps along.
        if let Err(panic) = AssertUnwindSafe(self.reload(wish)).catch_unwind().await {
            self.panics.note("the reload", panic.as_ref());
        }
        if is_asked {
            self.manager.ready();
        }
    }

    /// How often everything is looked at: for all inputs at once, as often as one of them wants it.
    fn poll(&self) -> Duration {
        let inputs = self.config.inputs.iter().filter(|input| input.enabled);
        inputs.filter_map(|input| input.scan).fold(self.config.reload.poll, Duration::min)
    }

    fn polls(&self) -> Interval {
        let mut polls = interval(self.poll());
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        polls.reset();
        polls
    }

    async fn reload(&mut self, mut wish: Wish) {
        let began = Instant::now();
        let repos = wish.repos.take().unwrap_or_else(|| self.repos.clone());
        let (config, repos) = match self.read(&repos).await {
            Ok(read) => read,
            Err(error) => return outcome::refuse_settings(&error, wish, &self.config.root, &self.shown),
        };
        let had_faults = self.shown.now().reload.is_some_and(|last| !last.outcome.faults.is_empty());
        self.shown.change(|now| now.reload.iter_mut().for_each(|last| last.outcome.faults.clear()));
        // Before a script is tried that runs as another user.
        super::privacy::at_reload(Rights::of(&config, &repos)).await;
        let Some(units) = self.change_units(&config, &repos, wish.asking).await else { return };
        self.repos = repos;
        let (sinks, settings) = self.obey(&config).await;
        let needs_restart = effect::needing_restart(&self.at_start, &config);
        let is_news = self.is_news(&wish, &units, &sinks, &settings, &needs_restart);
        let problems: Vec<String> = config.warnings.iter().map(problem).chain(units.problems.iter().cloned()).collect();
        self.config = config;
        self.shown.change(|now| {
            now.sinks = self.pumps.shown();
            now.problems = units.problems;
            now.needs_restart.clone_from(&needs_restart);
        });
        if !is_news && !had_faults {
            return;
        }
        let Wish { by, answers, .. } = wish;
        let outcome = Reloaded { schema: 2, by, sinks, settings, needs_restart, problems, ..Reloaded::default() };
        let last = ReloadRecord { at: began, outcome };
        tokio::spawn(outcome::tell(last, units.lines, answers, self.shown.clone()));
    }

    /// Says whether somebody asked, or anything is other than before.
    fn is_news(
        &self,
        wish: &Wish,
        units: &ReloadedUnits,
        sinks: &[ReloadedSink],
        settings: &[String],
        needs_restart: &[String],
    ) -> bool {
        wish.asking == Asking::Asked
            || !wish.answers.is_empty()
            || !sinks.is_empty()
            || !settings.is_empty()
            || needs_restart != self.shown.now().needs_restart
            || units.lines.iter().any(|line| !matches!(line, OutcomeLine::Same(_)))
    }

    /// Has what runs become what is wanted; `None` while the agent stops. What listers tell anew is compared once more, when they have told.
    async fn change_units(&self, config: &Config, repos: &[RepoRoot], asking: Asking) -> Option<ReloadedUnits> {
        let mut compared = Comparison::of(&self.scripts, config, repos, asking).await?;
        if asking == Asking::Noticed && compared.stops_something() {
            tokio::time::sleep(BACK).await;
            compared = Comparison::of(&self.scripts, config, repos, asking).await?;
        }
        let listers = compared.defer_told();
        let mut lines = self.begin(&compared).await;
        lines.extend(self.try_versions(&compared).await);
        if !listers.is_empty() {
            lines = line::settle_listers(lines, &listers).await;
            let listed = line::listed(&lines, &listers);
            compared = Comparison::of(&self.scripts, config, repos, asking).await?;
            compared.keep_told_by(&listed);
            lines.extend(self.begin(&compared).await);
            lines.extend(self.try_versions(&compared).await);
        }
        Some(ReloadedUnits { lines, problems: compared.problems })
    }

    async fn read(&self, repos: &[RepoRoot]) -> Result<(Config, Vec<RepoRoot>), ConfigError> {
        let (root, around, repos) = (self.config.root.clone(), self.around.clone(), repos.to_vec());
        let read = tokio::task::spawn_blocking(move || repos::settings_with(&root, &around, &repos)).await;
        read.unwrap_or_else(|gone| {
            let fault = Diagnostic::error(Code::UnreadableSettings, format!("the settings could not be read: {gone}"));
            Err(ConfigError { faults: vec![fault], warnings: Vec::new(), inputs: Vec::new() })
        })
    }
}
