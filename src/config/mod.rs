//! The settings of the agent: read once from every `*.conf` below `conf.d/`, checked whole, then obeyed as plain values.
//!
//! `raw` is the file as written, `resolve` turns it into [`Config`] and collects every fault, `sinks` holds one settings struct per sink
//! kind, `tables` one per table, `secret` what is never printed. No other module reads a settings file or the environment.
//!
//! On the way: `listing` says which files count, `expand` fills in `$NAME` and `${env:NAME}`, `section` takes typed values out of a
//! table and records what is wrong with them. Every default stands in `tables`, `repos` and `sinks`, in a function named `default…`, and
//! nowhere else.

mod expand;
mod listing;
mod raw;
pub mod repos;
mod resolve;
mod secret;
mod section;
pub mod sinks;
mod surroundings;
mod tables;

use std::path::Path;

pub use repos::{GitRepos, RepoRoot, RepoSettings};
pub use secret::Secret;
pub use sinks::SinkSettings;
pub use surroundings::{Origin, Surroundings};
pub use tables::{
    AtCap, BufferTable, Config, ConfigError, Events, HttpApi, IngestTable, InputTable, Integers, Level, Logging,
    OnInvalid, Reload, Restart, Series, Sync, Workers, ZygoteTable,
};

/// Reads and checks every `*.conf` below `<root>/conf.d`.
///
/// # Errors
/// All faults of all files at once.
pub fn read(root: &Path, around: &Surroundings) -> Result<Config, ConfigError> {
    read_with(root, around, &[])
}

/// Reads and checks every `*.conf` below `<root>/conf.d` and below the `conf.d` of each repository, which may hold inputs only.
///
/// A relative entry of `dirs` is looked up in the repository that the block stands in, in the other repositories in order, and last
/// in the local `python.d`. While an enabled repository is not among `repos`, since it was never fetched, an entry that is nowhere
/// is a warning and the input goes without it.
///
/// # Errors
/// All faults of all files at once.
pub fn read_with(root: &Path, around: &Surroundings, repos: &[RepoRoot]) -> Result<Config, ConfigError> {
    resolve::read(root, around, repos)
}

/// Reads and checks the `conf.d` of a repository by itself, as for its own CI: its inputs, or without any one for each folder of its
/// `python.d`. What only the hosts have (interpreters, absolute paths) is a warning.
///
/// # Errors
/// All faults of all files at once.
pub fn read_repo(dir: &Path, around: &Surroundings) -> Result<Config, ConfigError> {
    resolve::read_repo(dir, around)
}
