//! The settings beside the inputs take effect: sinks, ingest, pulls.

use super::effect;
use super::reloader::Reloader;
use crate::api::views::{ReloadedSink, SinkOutcome};
use crate::app::pumps::Became;
use crate::app::repos;
use crate::app::settings::ingest_settings;
use crate::config::Config;

impl Reloader {
    /// Has the settings beside the inputs take effect, as far as that is possible now.
    pub(super) async fn obey(&mut self, config: &Config) -> (Vec<ReloadedSink>, Vec<String>) {
        let sinks = self.pumps.change(&config.sinks).await;
        let sinks = sinks.into_iter().map(|(name, became)| {
            let (outcome, why) = match became {
                Became::Added => (SinkOutcome::Added, None),
                Became::Changed => (SinkOutcome::Changed, None),
                Became::Removed => (SinkOutcome::Removed, None),
                Became::Refused(why) => (SinkOutcome::Refused, Some(why)),
            };
            ReloadedSink { name, outcome, why }
        });
        let sinks = sinks.collect();
        let (old, new) = (&self.config, config);
        let changed = effect::live(old, new);
        // The room for bodies was measured out at the start.
        let settings =
            crate::ingest::EndpointSettings { max_body: self.at_start.http_api.max_body, ..ingest_settings(new) };
        self.ingest.obey(settings);
        if !old.git_repos.is_same_as(&new.git_repos) {
            self.git.change(repos::to_pull(new, &self.run_dir), &self.repos).await;
        }
        (sinks, changed)
    }
}
