//! Everything that a reload changes or looks at.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::api::{ReloadRequest, ShownSettings};
use crate::app::pumps::Pumps;
use crate::config::{Config, RepoRoot, Surroundings};
use crate::containment::Panics;
use crate::git;
use crate::ingest::WriteEndpoint;
use crate::platform::Hangups;
use crate::supervisor::SupervisorHandle;
use crate::telemetry::systemd::ServiceManager;

/// Everything that a reload changes or looks at.
pub(in crate::app) struct Reloader {
    pub asks: mpsc::Receiver<ReloadRequest>,
    pub hangups: Hangups,
    /// The settings in force.
    pub config: Config,
    /// The settings at the start; some keys of them stay in force until the end.
    pub at_start: Config,
    pub around: Surroundings,
    /// The trees of the repositories whose scripts run.
    pub repos: Vec<RepoRoot>,
    pub git: git::RepositoriesHandle,
    pub scripts: SupervisorHandle,
    pub ingest: Arc<WriteEndpoint>,
    pub pumps: Pumps,
    pub shown: ShownSettings,
    pub core: PathBuf,
    pub run_dir: PathBuf,
    pub last_good: PathBuf,
    pub manager: ServiceManager,
    pub panics: Panics,
}
