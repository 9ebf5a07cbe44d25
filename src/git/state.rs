//! What is in force, on disk: one file per repository, replaced by a rename, so that a kill leaves the old or the new state.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::commit::Commit;
use super::export::is_folder;
use super::leftovers::remove;
use crate::platform;

/// What [`RepoState::history`] keeps.
const HISTORY: usize = 100;
/// The newest exported commits stay, besides those in use.
const KEPT: usize = 2;
const FILE: &str = "state.json";

/// The record of one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoState {
    /// Where the commit in force came from, free of secrets.
    pub url: String,
    pub follows: String,
    pub in_force: Option<InForce>,
    /// The folder of the last commit that was taken whole; a start begins with it, so that a script whose new version is refused
    /// has its old one.
    pub good: Option<String>,
    pub refused: Option<CommitRefusal>,
    /// What happened, the newest last.
    #[serde(default)]
    pub history: Vec<RepositoryEvent>,
}

/// The commit whose scripts run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    pub commit: Commit,
    /// The name of its folder.
    pub folder: String,
    /// Scripts that keep their version of an earlier commit.
    #[serde(default)]
    pub held: Vec<HeldScript>,
    /// What was left out of the export.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A script whose new version was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldScript {
    pub script: String,
    /// With file and line.
    pub why: String,
}

/// A commit that was refused whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRefusal {
    pub commit: Commit,
    pub folder: String,
    /// Each with file and line.
    pub why: Vec<String>,
    /// Seconds since 1970.
    pub at: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryEvent {
    /// Seconds since 1970.
    pub at: i64,
    pub what: Happened,
    pub commit: Commit,
    /// The commit before.
    pub before: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    Active,
    /// Active, but some scripts keep their old version.
    Partly,
    Refused,
    /// The branch was rewritten; the new commit follows as an event of its own.
    Rewritten,
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl RepoState {
    /// Reads the record; without one, or with one that cannot be read, the newest exported commit counts as taken.
    pub fn read(dir: &Path) -> Self {
        let path = dir.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::default(),
            Err(error) => {
                tracing::error!(target: "git", "could not read {}: {error}", path.display());
                return Self::without_record(dir);
            }
        };
        match serde_json::from_slice::<Self>(&text) {
            Ok(state) => state,
            Err(error) => {
                tracing::error!(target: "git", "{} is damaged ({error}); the newest commit on the disk runs until the next pull", path.display());
                Self::without_record(dir)
            }
        }
    }

    fn without_record(dir: &Path) -> Self {
        let newest = folders(dir).into_iter().max_by_key(|(modified, _)| *modified);
        let in_force = newest.map(|(_, folder)| InForce {
            commit: Commit {
                id: folder.split('+').next().unwrap_or_default().to_owned(),
                title: String::new(),
                author: String::new(),
                time: 0,
            },
            folder,
            held: Vec::new(),
            notes: Vec::new(),
        });
        let good = in_force.as_ref().map(|in_force| in_force.folder.clone());
        Self { in_force, good, ..Self::default() }
    }

    /// Replaces the record on disk.
    ///
    /// # Errors
    /// When it cannot be written; the old one is then still there.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let temporary = dir.join("state.new");
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        let mut file = File::create(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&temporary, dir.join(FILE))?;
        platform::sync_folder(dir)
    }

    pub fn remember(&mut self, event: RepositoryEvent) {
        self.history.push(event);
        let surplus = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..surplus);
    }

    /// The folder whose code runs now.
    pub fn current(&self, dir: &Path) -> Option<PathBuf> {
        let path = dir.join(&self.in_force.as_ref()?.folder);
        path.is_dir().then_some(path)
    }

    /// The folder to start with: that of the last commit that was taken whole.
    pub fn at_start(&self, dir: &Path) -> Option<PathBuf> {
        let good = self.good.as_ref().map(|folder| dir.join(folder)).filter(|path| path.is_dir());
        good.or_else(|| self.current(dir))
    }

    /// Says whether a commit runs whole, so that there is nothing to offer.
    pub fn runs_whole(&self, folder: &str) -> bool {
        self.in_force.as_ref().is_some_and(|in_force| in_force.folder == folder && in_force.held.is_empty())
    }

    /// Removes exported commits that nobody needs: not in force, good or refused, not in use, and not among the newest.
    pub fn remove_old(&self, dir: &Path, in_use: &[PathBuf]) -> io::Result<()> {
        let named = [
            self.in_force.as_ref().map(|in_force| &in_force.folder),
            self.good.as_ref(),
            self.refused.as_ref().map(|refused| &refused.folder),
        ];
        let is_needed = |folder: &str| {
            named.iter().flatten().any(|name| *name == folder)
                || in_use.iter().any(|path| path.starts_with(dir.join(folder)))
        };
        let mut found = folders(dir);
        found.sort();
        let older = found.len().saturating_sub(KEPT);
        let mut spare = found[..older].iter().filter(|(_, folder)| !is_needed(folder));
        spare.try_for_each(|(_, folder)| remove_whole(&dir.join(folder)))
    }
}

/// Renamed first: a folder under the name of a commit is always whole.
fn remove_whole(path: &Path) -> io::Result<()> {
    let aside = path.with_file_name("remove.new");
    remove(&aside)?;
    fs::rename(path, &aside)?;
    remove(&aside)
}

/// Removes what a killed agent left half done.
pub fn remove_half_done(dir: &Path) -> io::Result<()> {
    ["export.new", "remove.new", "state.new", "store.new", "askpass.new"]
        .iter()
        .try_for_each(|name| remove(&dir.join(name)))
}

/// The exported commits with the time of their making.
fn folders(dir: &Path) -> Vec<(std::time::SystemTime, String)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok().filter(|name| is_folder(name))?;
            let meta = entry.metadata().ok().filter(std::fs::Metadata::is_dir)?;
            Some((meta.modified().unwrap_or(std::time::UNIX_EPOCH), name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(letter: char) -> Commit {
        Commit { id: letter.to_string().repeat(40), title: "t".into(), author: "a".into(), time: 1 }
    }

    fn in_force(letter: char, held: Vec<HeldScript>) -> InForce {
        let commit = commit(letter);
        InForce { folder: commit.id.clone(), commit, held, notes: Vec::new() }
    }

    fn dir_with(letters: &[char]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (age, letter) in letters.iter().enumerate() {
            let path = dir.path().join(commit(*letter).id);
            fs::create_dir(&path).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000 + age as u64);
            File::open(&path).unwrap().set_modified(time).unwrap();
        }
        dir
    }

    fn left(dir: &Path) -> String {
        let mut names: Vec<String> = folders(dir).into_iter().map(|(_, name)| name[..1].to_owned()).collect();
        names.sort();
        names.concat()
    }

    #[test]
    fn the_last_two_and_those_in_use_are_kept() {
        let dir = dir_with(&['a', 'b', 'c', 'd', 'e']);
        let state =
            RepoState { in_force: Some(in_force('e', Vec::new())), good: Some(commit('e').id), ..RepoState::default() };
        let used = dir.path().join(commit('b').id).join("python.d/x/x.py");
        state.remove_old(dir.path(), &[used]).unwrap();
        assert_eq!(left(dir.path()), "bde");
        let dir = dir_with(&['a', 'b', 'c']);
        RepoState { in_force: Some(in_force('c', Vec::new())), ..RepoState::default() }
            .remove_old(dir.path(), &[])
            .unwrap();
        assert_eq!(left(dir.path()), "bc");
    }

    #[test]
    fn a_start_begins_with_the_last_commit_that_was_taken_whole() {
        let dir = dir_with(&['a', 'b']);
        let held = vec![HeldScript { script: "x.x".into(), why: "syntax".into() }];
        let state =
            RepoState { in_force: Some(in_force('b', held)), good: Some(commit('a').id), ..RepoState::default() };
        assert_eq!(state.at_start(dir.path()), Some(dir.path().join(commit('a').id)));
        assert_eq!(state.current(dir.path()), Some(dir.path().join(commit('b').id)));
        assert!(!state.runs_whole(&commit('b').id));
    }

    #[test]
    fn the_record_is_read_back_and_a_damaged_one_is_no_end() {
        let dir = dir_with(&['a', 'b']);
        assert_eq!(RepoState::read(dir.path()), RepoState::default());
        let state = RepoState { url: "u".into(), in_force: Some(in_force('a', Vec::new())), ..RepoState::default() };
        state.write(dir.path()).unwrap();
        assert_eq!(RepoState::read(dir.path()), state);
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert_eq!(RepoState::read(dir.path()).in_force.unwrap().commit.id, commit('b').id);
    }

    #[test]
    fn the_history_is_bounded() {
        let mut state = RepoState::default();
        for at in 0..150 {
            state.remember(RepositoryEvent { at, what: Happened::Active, commit: commit('a'), before: None });
        }
        assert_eq!((state.history.len(), state.history[0].at), (HISTORY, 50));
    }
}
