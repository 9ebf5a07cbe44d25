//! Who may use what lies in `data` and `gitrepos`: their owner alone, but for what the settings give to others.
//!
//! New files and folders are private by the umask (`platform::keep_private`). Here the exceptions are made, and a tree that an older agent
//! or a person has left open is tightened. A folder that others pass through (0711) shows them no names.
//!
//! ```text
//! [buffer] group           reads buffer, dead letters and the files of file sinks, and passes through `data`
//! [logging] group          reads the logs, and passes through `data` where they lie there
//! an input with `user`     passes through data, data/run, data/state and data/last-good, and reads the exported tree that it runs
//! ```

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use crate::config::sinks::SinkKind;
use crate::config::{Config, InputTable, RepoRoot};
use crate::platform;
use crate::words::count;

/// What is given to whom, by the settings.
#[derive(Debug, Clone)]
pub(super) struct Rights {
    /// `data` and `gitrepos`.
    trees: Vec<PathBuf>,
    /// Made at the start, so that their rights are right from the first file on.
    folders: Vec<PathBuf>,
    exceptions: Vec<Exception>,
    /// Something is read by a group, so new files are too; the folders keep them from the others.
    has_readers: bool,
}

#[derive(Debug, Clone)]
struct Exception {
    path: PathBuf,
    /// It counts for all that lies below too.
    is_tree: bool,
    given: PrivacySetting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PrivacySetting {
    /// Everybody may pass through.
    Passage,
    /// A group may pass through.
    PassageOf(u32),
    /// A group may read it.
    Reading(u32),
    /// Everybody may read it.
    ReadingByAll,
    /// Whoever made it decides.
    Everything,
}

impl PrivacySetting {
    /// The mode that a file or folder is to have which has this one.
    fn mode(self, now: u32, is_folder: bool) -> u32 {
        let own = now & 0o700;
        let read = if is_folder || own & 0o100 != 0 { 0o5 } else { 0o4 };
        match self {
            Self::Passage => own | 0o011,
            Self::PassageOf(_) => own | 0o010,
            // What is made in such a folder is of its group.
            Self::Reading(_) if is_folder => own | 0o2050,
            Self::Reading(_) => own | read << 3,
            Self::ReadingByAll => own | read << 3 | read,
            Self::Everything => now,
        }
    }

    fn group(self) -> Option<u32> {
        match self {
            Self::PassageOf(group) | Self::Reading(group) => Some(group),
            Self::Passage | Self::ReadingByAll | Self::Everything => None,
        }
    }
}

impl Rights {
    pub fn of(config: &Config, repos: &[RepoRoot]) -> Self {
        let data = config.root.join("data");
        let mut rights = Self {
            trees: vec![data.clone(), config.git_repos.dir.clone()],
            folders: ["run", "state", "last-good"].map(|name| data.join(name)).into(),
            exceptions: Vec::new(),
            has_readers: config.buffer.group.is_some(),
        };
        if !config.git_repos.repos.is_empty() {
            rights.folders.push(config.git_repos.dir.clone());
        }
        let users: Vec<&InputTable> =
            config.inputs.iter().filter(|input| input.enabled && input.user.is_some()).collect();
        let groups = rights.of_groups(config, &data);
        match groups {
            _ if !users.is_empty() => rights.of_users(&data),
            [Some(one), Some(other)] if one != other => rights.add(data, false, PrivacySetting::Passage),
            [Some(group), _] | [None, Some(group)] => rights.add(data, false, PrivacySetting::PassageOf(group)),
            [None, None] => {}
        }
        for repo in repos {
            let is_of_it = |path: &Path| path.starts_with(&repo.dir);
            if users.iter().any(|input| is_of_it(&input.origin.file) || input.dirs.iter().any(|dir| is_of_it(dir))) {
                rights.add(repo.dir.clone(), true, PrivacySetting::ReadingByAll);
                let above = repo.dir.ancestors().skip(1).take_while(|above| above.starts_with(&config.git_repos.dir));
                above.for_each(|above| rights.add(above.to_owned(), false, PrivacySetting::Passage));
            }
        }
        rights
    }

    fn add(&mut self, path: PathBuf, is_tree: bool, given: PrivacySetting) {
        self.exceptions.push(Exception { path, is_tree, given });
    }

    /// What the groups read; returns those that have to pass through `data`.
    fn of_groups(&mut self, config: &Config, data: &Path) -> [Option<u32>; 2] {
        let sinks = config.sinks.iter().filter_map(|sink| match &sink.kind {
            SinkKind::File(file) => Some(file.dir.clone()),
            _ => None,
        });
        let reported: Vec<PathBuf> = [config.buffer.dir.clone(), data.join("dead")].into_iter().chain(sinks).collect();
        for dir in reported {
            if let Some(group) = config.buffer.group {
                self.add(dir.clone(), true, PrivacySetting::Reading(group));
            }
            self.folders.push(dir);
        }
        let logs = &config.logging;
        let of_logs = logs.group.filter(|_| logs.dir.starts_with(data));
        if let Some(group) = of_logs {
            self.add(logs.dir.clone(), true, PrivacySetting::Reading(group));
            self.folders.push(logs.dir.clone());
        }
        [config.buffer.group, of_logs]
    }

    /// What inputs with `user` need of `data`.
    fn of_users(&mut self, data: &Path) {
        for folder in [data.to_owned(), data.join("run")] {
            self.add(folder, false, PrivacySetting::Passage);
        }
        // The socket that everybody may write to.
        self.add(data.join("run/pythond.scripts.sock"), false, PrivacySetting::Everything);
        for name in ["state", "last-good", "core"] {
            // What lies there belongs to these users, or was made readable for them.
            self.add(data.join(name), true, PrivacySetting::Everything);
            self.add(data.join(name), false, PrivacySetting::Passage);
        }
    }

    /// Puts right what was just written, which may be open to all.
    pub fn settle_tree(&self, path: &Path) {
        let mut outcome = PrivacyOutcome::default();
        self.settle(path, &mut outcome);
        if let Some(why) = outcome.failed {
            tracing::warn!(target: "agent", "could not remove other users' access to everything: {why}");
        }
    }

    /// Makes the folders that rights are given to.
    ///
    /// # Errors
    /// What the disk says.
    pub fn make_folders(&self) -> io::Result<()> {
        if self.has_readers {
            platform::let_group_read();
        }
        let (first, others) = self.folders.split_first().expect("`data/run` is always there");
        platform::make_private_folder(first)?;
        for folder in others {
            // Whoever uses it says what is wrong.
            if let Err(error) = platform::make_private_folder(folder) {
                tracing::debug!(target: "agent", "could not make {}: {error}", folder.display());
            }
        }
        Ok(())
    }

    /// What the settings give to others of this path.
    fn given(&self, path: &Path) -> Option<PrivacySetting> {
        let of_itself = self.exceptions.iter().find(|one| !one.is_tree && one.path == path);
        let above = |one: &&Exception| one.is_tree && path.starts_with(&one.path);
        let of_tree = || self.exceptions.iter().filter(above).max_by_key(|one| one.path.as_os_str().len());
        of_itself.or_else(of_tree).map(|one| one.given)
    }

    /// Gives and takes rights in a whole tree, its top last: while that is open, something below may be.
    fn settle(&self, path: &Path, outcome: &mut PrivacyOutcome) {
        let Ok(meta) = fs::symlink_metadata(path) else { return };
        if meta.is_dir() {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                self.settle(&entry.path(), outcome);
            }
        }
        self.settle_one(path, &meta, outcome);
    }

    fn settle_one(&self, path: &Path, meta: &Metadata, outcome: &mut PrivacyOutcome) {
        if meta.is_symlink() {
            return;
        }
        let (given, now) = (self.given(path), platform::mode_of(meta));
        let wanted = given.map_or(now & 0o700, |given| given.mode(now, meta.is_dir()));
        let group = given.and_then(PrivacySetting::group);
        let given = group.map_or(Ok(false), |group| platform::give_to_group(path, group));
        let set =
            given.and_then(|is_new| if is_new || wanted != now { platform::set_mode_of(path, wanted) } else { Ok(()) });
        match set {
            Ok(()) if now & !wanted & 0o077 != 0 => outcome.tightened += 1,
            Ok(()) => {}
            Err(error) => {
                outcome.failed.get_or_insert_with(|| format!("{}: {error}", path.display()));
            }
        }
    }

    /// Gives rights only, and takes none: what a reload brings.
    fn give(&self) {
        let mut outcome = PrivacyOutcome::default();
        for Exception { path, is_tree, given } in &self.exceptions {
            let Ok(meta) = fs::symlink_metadata(path) else { continue };
            let is_done = platform::mode_of(&meta) == given.mode(platform::mode_of(&meta), meta.is_dir());
            match given {
                _ if is_done => {}
                PrivacySetting::Everything => {}
                _ if *is_tree => self.settle(path, &mut outcome),
                _ => self.settle_one(path, &meta, &mut outcome),
            }
        }
        if let Some(why) = outcome.failed {
            tracing::warn!(target: "agent", "could not grant all access that the settings give: {why}");
        }
    }
}

#[derive(Debug, Default)]
struct PrivacyOutcome {
    /// Files and folders that others could use.
    tightened: usize,
    failed: Option<String>,
}

/// Puts right what lies there from before, and says so once.
pub(super) async fn at_start(rights: Rights) {
    let settle = move || {
        let mut outcome = PrivacyOutcome::default();
        for tree in &rights.trees {
            rights.settle(tree, &mut outcome);
        }
        // What the settings name outside of them is only given.
        rights.give();
        (rights, outcome)
    };
    let Ok((rights, outcome)) = tokio::task::spawn_blocking(settle).await else {
        tracing::error!(target: "agent", "the check of who may read `data` ended early");
        return;
    };
    let trees: Vec<String> = rights.trees.iter().map(|tree| tree.display().to_string()).collect();
    let trees = trees.join(" and ");
    if outcome.tightened > 0 {
        let places = count(outcome.tightened, "place");
        tracing::warn!(target: "agent", "{places} in {trees} could be read by other users of this machine; they are now their owner's alone, but for what the settings give to others");
    }
    if let Some(why) = outcome.failed {
        tracing::warn!(target: "agent", "could not remove other users' access to everything in {trees}: {why}");
    }
}

/// Gives what changed settings or a new commit need.
pub(super) async fn at_reload(rights: Rights) {
    let give = move || {
        if let Err(error) = rights.make_folders() {
            tracing::debug!(target: "agent", "a folder of `data` could not be made: {error}");
        }
        rights.give();
    };
    if tokio::task::spawn_blocking(give).await.is_err() {
        tracing::error!(target: "agent", "the access that the settings give was not granted");
    }
}

#[cfg(test)]
mod tests {
    use super::PrivacySetting;

    #[test]
    fn what_is_given_is_given_beside_what_the_owner_may() {
        let table = [
            (PrivacySetting::Passage, 0o755, true, 0o711),
            (PrivacySetting::PassageOf(1), 0o777, true, 0o710),
            (PrivacySetting::Reading(1), 0o700, true, 0o2750),
            (PrivacySetting::Reading(1), 0o666, false, 0o640),
            (PrivacySetting::Reading(1), 0o700, false, 0o750),
            (PrivacySetting::ReadingByAll, 0o700, true, 0o755),
            (PrivacySetting::ReadingByAll, 0o600, false, 0o644),
            (PrivacySetting::ReadingByAll, 0o700, false, 0o755),
            (PrivacySetting::Everything, 0o1777, true, 0o1777),
        ];
        for (given, now, is_folder, expected) in table {
            assert_eq!(given.mode(now, is_folder), expected, "{given:?} {now:o}");
            assert_eq!(given.mode(expected, is_folder), expected, "{given:?}: once is enough");
        }
    }
}
