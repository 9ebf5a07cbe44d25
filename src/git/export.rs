//! A commit as a directory: written aside, brought to the disk, renamed into place, never changed after.
//!
//! `gitrepos/<name>/<commit>` is either whole or not there, whatever ends the agent in the middle. The tree is taken from the store as it
//! is: no hook, filter, attribute or end-of-line rule has a say. Nothing is written through a link, since links come last, and a link
//! that leaves the tree is not written at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use super::commit::{is_commit_id, short};
use super::failure::{PullFailure, local};
use super::fault::Asked;
use super::judge::tame;
use super::leftovers::remove;
use super::plumbing::{Blobs, Plumbing, TreeEntry};
use super::program::StopSignal;
use crate::code::Code;
use crate::config::RepoSettings;
use crate::diagnostic::Diagnostic;
use crate::platform;
use crate::quantity::show_size;

/// Odd things that are named; the others are counted.
const NAMED: usize = 5;
/// What a pointer of Git LFS begins with, and its largest size.
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/";
const LFS_BYTES: u64 = 1024;
/// The file in a tree that tells what was left out of it.
const LEFT_OUT: &str = ".pythond-left-out.json";
/// Bytes of a link's target.
const LINK_BYTES: u64 = 4096;

/// A commit on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    pub dir: PathBuf,
    /// What was left out or looks wrong, one sentence each.
    pub notes: Vec<String>,
}

/// One file or link of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ExportEntry {
    kind: EntryKind,
    id: String,
    size: u64,
    path: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntryKind {
    File,
    Program,
    Link,
    Submodule,
}

/// Gives the directory of a commit below `parent`, and writes it if it is not there yet.
///
/// # Errors
/// A tree that breaks a limit or is no tree that git would make; a store that is damaged; a disk that is full.
pub fn export(asked: &Asked<'_>, git: &dyn Plumbing, parent: &Path, commit: &str) -> Result<Exported, PullFailure> {
    let repo = asked.repo;
    let dir = parent.join(folder(commit, repo.subdir.as_deref()));
    let entries = list(git, repo, commit)?;
    check(repo, commit, &entries)?;
    let mut notes = Notes::default();
    notes.look(&entries);
    if dir.is_dir() {
        // Whole, since it was renamed into place; what was left out then is found again without writing.
        notes.links_left_out(&dir, &entries);
        notes.pointers(&dir, &entries);
        return Ok(Exported { dir, notes: notes.sentences() });
    }
    let aside = parent.join("export.new");
    let written = write(git, &asked.programs.stop, &entries, &aside).and_then(|()| {
        notes.links_left_out(&aside, &entries);
        notes.pointers(&aside, &entries);
        notes
            .write(&aside)
            .and_then(|()| fs::rename(&aside, &dir))
            .and_then(|()| platform::sync_folder(parent))
            .map_err(|error| cannot("keep", &dir, &error))
    });
    if written.is_err()
        && let Err(error) = remove(&aside)
    {
        // It is tried again before the next export; until then it may fill the disk.
        tracing::warn!(target: "git", repo = repo.name, "could not remove {}: {error}", aside.display());
    }
    written.map(|()| Exported { dir, notes: notes.sentences() })
}

/// Writes the tree to a new folder and brings it to the disk.
fn write(git: &dyn Plumbing, stop: &StopSignal, entries: &[ExportEntry], aside: &Path) -> Result<(), PullFailure> {
    remove(aside).map_err(|error| cannot("remove", aside, &error))?;
    fs::create_dir(aside).map_err(|error| cannot("make", aside, &error))?;
    let mut tree = Tree { root: aside.to_owned(), dirs: BTreeSet::from([aside.to_owned()]), files: Vec::new() };
    write_all(&mut *git.blobs()?, stop, entries, &mut tree)?;
    tree.drop_links_that_leave(entries).and_then(|()| tree.sync()).map_err(|error| cannot("write", aside, &error))
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> PullFailure {
    local(&format!("could not {what} {}", path.display()), error)
}

/// The name of a commit's directory; a part of a repository has its folder in it.
pub fn folder(commit: &str, subdir: Option<&str>) -> String {
    match subdir {
        Some(subdir) => format!("{commit}+{}", subdir.replace('/', "+")),
        None => commit.to_owned(),
    }
}

/// Says whether a name may be that of an exported commit.
pub fn is_folder(name: &str) -> bool {
    is_commit_id(name.split('+').next().unwrap_or_default())
}

fn list(git: &dyn Plumbing, repo: &RepoSettings, commit: &str) -> Result<Vec<ExportEntry>, PullFailure> {
    let Some(entries) = git.tree(commit, repo.subdir.as_deref())? else {
        let subdir = repo.subdir.as_deref().unwrap_or_default();
        let message = format!("there is no folder `{subdir}` in commit {}", short(commit));
        return Err(PullFailure::fault(Diagnostic::error(Code::NoRepository, message).with_help("check `subdir`")));
    };
    entries.into_iter().map(|entry| sound(entry, commit)).collect()
}

fn sound(entry: TreeEntry, commit: &str) -> Result<ExportEntry, PullFailure> {
    let kind = match entry.mode {
        0o120_000 => Some(EntryKind::Link),
        0o160_000 => Some(EntryKind::Submodule),
        mode if mode & 0o170_000 != 0o100_000 => None,
        mode if mode & 0o100 != 0 => Some(EntryKind::Program),
        _ => Some(EntryKind::File),
    };
    let TreeEntry { mode, id, size, path } = entry;
    match kind.zip(sound_path(&path)) {
        Some((kind, path)) => Ok(ExportEntry { kind, id, size, path }),
        None => {
            let name = tame(&String::from_utf8_lossy(&path));
            Err(refused(commit, format!("`{name}` (mode {mode:06o}) has no place in a tree")))
        }
    }
}

/// A path that stays inside: parts that are names, and none that git would keep for itself.
fn sound_path(bytes: &[u8]) -> Option<PathBuf> {
    let sound = bytes.split(|byte| *byte == b'/').all(platform::is_sound_name) && bytes.len() <= 3000;
    sound.then(|| platform::path_of(bytes.to_vec())).flatten()
}

fn refused(commit: &str, why: String) -> PullFailure {
    PullFailure::fault(Diagnostic::error(
        Code::CommitTooLarge,
        format!("commit {} cannot be used: {why}", short(commit)),
    ))
}

/// Everything that can be said before a byte is written.
fn check(repo: &RepoSettings, commit: &str, entries: &[ExportEntry]) -> Result<(), PullFailure> {
    let limit = |why: String, key: &str| {
        PullFailure::fault(
            Diagnostic::error(Code::CommitTooLarge, format!("commit {} cannot be used: {why}", short(commit)))
                .with_help(format!("if that is meant, raise `{key}` of this repository")),
        )
    };
    if entries.len() > repo.max_files {
        return Err(limit(format!("it holds {} files, more than {}", entries.len(), repo.max_files), "max_files"));
    }
    if let Some(large) = entries.iter().find(|entry| entry.size > repo.max_file_size) {
        let (path, size) = (tame(&large.path.to_string_lossy()), show_size(large.size));
        let most = show_size(repo.max_file_size);
        return Err(limit(format!("`{path}` has {size}, more than {most}"), "max_file_size"));
    }
    let total: u64 = entries.iter().map(|entry| entry.size).sum();
    if total > repo.max_size {
        let (total, most) = (show_size(total), show_size(repo.max_size));
        return Err(limit(format!("its files have {total} together, more than {most}"), "max_size"));
    }
    let mut paths = BTreeSet::new();
    for entry in entries {
        if !paths.insert(&entry.path) {
            return Err(refused(commit, format!("`{}` stands in it twice", tame(&entry.path.to_string_lossy()))));
        }
    }
    let beneath =
        |entry: &ExportEntry| entry.path.ancestors().skip(1).any(|above| paths.contains(&above.to_path_buf()));
    match entries.iter().find(|entry| beneath(entry)) {
        Some(entry) => {
            let path = tame(&entry.path.to_string_lossy());
            Err(refused(commit, format!("`{path}` lies below something that is no folder")))
        }
        None => Ok(()),
    }
}

/// What was written so far, to be brought to the disk.
struct Tree {
    root: PathBuf,
    dirs: BTreeSet<PathBuf>,
    files: Vec<PathBuf>,
}

impl Tree {
    fn place(&mut self, path: &Path) -> io::Result<PathBuf> {
        let place = self.root.join(path);
        let mut missing = Vec::new();
        let mut dir = place.parent().unwrap_or(&self.root).to_owned();
        while self.dirs.insert(dir.clone()) {
            missing.push(dir.clone());
            dir = dir.parent().unwrap_or(&self.root).to_owned();
        }
        for dir in missing.iter().rev() {
            fs::create_dir(dir)?;
        }
        Ok(place)
    }

    fn drop_links_that_leave(&self, entries: &[ExportEntry]) -> io::Result<()> {
        let root = self.root.canonicalize()?;
        for link in entries.iter().filter(|entry| entry.kind == EntryKind::Link) {
            let place = self.root.join(&link.path);
            let stays = place.canonicalize().is_ok_and(|target| target.starts_with(&root));
            if !stays {
                remove(&place)?;
            }
        }
        Ok(())
    }

    /// First the files, then the folders that name them.
    fn sync(&self) -> io::Result<()> {
        for file in &self.files {
            File::open(file)?.sync_all()?;
        }
        self.dirs.iter().try_for_each(|dir| platform::sync_folder(dir))
    }
}

/// Writes files, then links.
fn write_all(
    blobs: &mut dyn Blobs,
    stop: &StopSignal,
    entries: &[ExportEntry],
    tree: &mut Tree,
) -> Result<(), PullFailure> {
    let files = entries.iter().filter(|entry| matches!(entry.kind, EntryKind::File | EntryKind::Program));
    let links = entries.iter().filter(|entry| entry.kind == EntryKind::Link);
    for entry in files.chain(links) {
        if stop.is_asked() {
            return Err(PullFailure::Stopped);
        }
        let cannot = |error: io::Error| local(&format!("could not write {}", tree_path(entry)), &error);
        let place = tree.place(&entry.path).map_err(cannot)?;
        if entry.kind == EntryKind::Link {
            let target = link_target(blobs, entry)?;
            if is_inside(&entry.path, &target) {
                platform::link(&target, &place).map_err(cannot)?;
            }
            continue;
        }
        let mode = if entry.kind == EntryKind::Program { 0o755 } else { 0o644 };
        let mut file =
            platform::set_mode(OpenOptions::new().write(true).create_new(true), mode).open(&place).map_err(cannot)?;
        blobs.copy(&entry.id, entry.size, &mut |piece| file.write_all(piece).map_err(cannot))?;
        tree.files.push(place);
    }
    Ok(())
}

fn link_target(blobs: &mut dyn Blobs, entry: &ExportEntry) -> Result<PathBuf, PullFailure> {
    let mut target = Vec::new();
    blobs.copy(&entry.id, entry.size, &mut |piece| {
        target.extend_from_slice(piece);
        Ok(())
    })?;
    // A path with a NUL, or longer than a path can be, is none; it leaves the tree as far as we are concerned.
    let is_path = entry.size <= LINK_BYTES && !target.contains(&0);
    Ok(is_path.then(|| platform::path_of(target)).flatten().unwrap_or_default())
}

fn tree_path(entry: &ExportEntry) -> String {
    tame(&entry.path.to_string_lossy())
}

/// Follows a link's target from its folder by the words alone: relative, and never above the root.
fn is_inside(link: &Path, target: &Path) -> bool {
    let mut depth = link.components().count().saturating_sub(1);
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    !target.as_os_str().is_empty()
}

/// What is odd in a commit that can be used all the same.
#[derive(Default)]
struct Notes {
    submodules: Vec<PathBuf>,
    pointers: Vec<PathBuf>,
    links: Vec<PathBuf>,
    alike: Vec<PathBuf>,
}

impl Notes {
    fn look(&mut self, entries: &[ExportEntry]) {
        let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
        for entry in entries {
            if entry.kind == EntryKind::Submodule {
                self.submodules.push(entry.path.clone());
            }
            for path in entry.path.ancestors().filter(|path| !path.as_os_str().is_empty()) {
                let lower = path.to_string_lossy().to_lowercase();
                match seen.get(&lower) {
                    Some(other) if other != path && !self.alike.iter().any(|known| known == path) => {
                        self.alike.push(path.to_owned());
                    }
                    Some(_) => {}
                    None => {
                        seen.insert(lower, path.to_owned());
                    }
                }
            }
        }
    }

    fn links_left_out(&mut self, dir: &Path, entries: &[ExportEntry]) {
        let links = entries.iter().filter(|entry| entry.kind == EntryKind::Link);
        let left_out = links.filter(|link| fs::symlink_metadata(dir.join(&link.path)).is_err());
        self.links.extend(left_out.map(|link| link.path.clone()));
    }

    fn pointers(&mut self, dir: &Path, entries: &[ExportEntry]) {
        let small = entries.iter().filter(|entry| {
            matches!(entry.kind, EntryKind::File | EntryKind::Program)
                && entry.size >= LFS.len() as u64
                && entry.size <= LFS_BYTES
        });
        let is_pointer =
            |entry: &&ExportEntry| fs::read(dir.join(&entry.path)).is_ok_and(|bytes| bytes.starts_with(LFS));
        self.pointers.extend(small.filter(is_pointer).map(|entry| entry.path.clone()));
    }

    /// Leaves in the tree what is not there, for whoever misses it (`sdk-python/pythond/leftout.py`).
    fn write(&self, dir: &Path) -> io::Result<()> {
        let kinds = [("submodules", &self.submodules), ("pointers", &self.pointers), ("links", &self.links)];
        let named: BTreeMap<&str, Vec<String>> = kinds
            .into_iter()
            .filter(|(_, paths)| !paths.is_empty())
            .map(|(kind, paths)| (kind, paths.iter().map(|path| path.to_string_lossy().into_owned()).collect()))
            .collect();
        let path = dir.join(LEFT_OUT);
        // A repository that has a file of that name keeps it.
        if named.is_empty() || fs::symlink_metadata(&path).is_ok() {
            return Ok(());
        }
        let mut file = File::create_new(path)?;
        file.write_all(&serde_json::to_vec(&named).map_err(io::Error::other)?)?;
        file.sync_all()?;
        platform::sync_folder(dir)
    }

    fn sentences(&self) -> Vec<String> {
        let kinds = [
            (&self.submodules, "submodules are not fetched"),
            (&self.pointers, "pointers of Git LFS, whose content is not fetched"),
            (&self.links, "links that leave the repository or lead nowhere are left out"),
            (&self.alike, "names that differ in upper and lower case only"),
        ];
        kinds.iter().filter(|(paths, _)| !paths.is_empty()).map(|(paths, what)| sentence(what, paths)).collect()
    }
}

fn sentence(what: &str, paths: &[PathBuf]) -> String {
    let named: Vec<String> =
        paths.iter().take(NAMED).map(|path| format!("`{}`", tame(&path.to_string_lossy()))).collect();
    let more = paths.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{what}: {}{more}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_must_stay_inside_by_its_words() {
        let inside = |link: &str, target: &str| is_inside(Path::new(link), Path::new(target));
        assert!(inside("a", "b"));
        assert!(inside("a/b/c", "../../d"));
        assert!(!inside("a", "../d"));
        assert!(!inside("a/b", "../../d"));
        assert!(!inside("a", "/etc/passwd"));
        assert!(!inside("a/b", "../x/../../.."));
        assert!(!inside("a", ""));
    }

    #[test]
    fn a_path_of_a_tree_must_be_names() {
        for odd in [&b""[..], b"a//b", b"../a", b"a/../b", b"a/.", b".git/config", b"a/.GIT/hooks/x", b"/a"] {
            assert_eq!(sound_path(odd), None, "{}", String::from_utf8_lossy(odd));
        }
        assert_eq!(sound_path(b"a/.gitignore"), Some(PathBuf::from("a/.gitignore")));
    }

    #[test]
    fn only_files_links_and_submodules_have_a_place() {
        let kind = |mode: u32| {
            let entry = TreeEntry { mode, id: String::new(), size: 0, path: b"a".to_vec() };
            sound(entry, "c").map(|entry| entry.kind).ok()
        };
        assert_eq!(kind(0o100_755), Some(EntryKind::Program));
        assert_eq!(kind(0o100_664), Some(EntryKind::File));
        assert_eq!(kind(0o120_000), Some(EntryKind::Link));
        assert_eq!(kind(0o160_000), Some(EntryKind::Submodule));
        assert_eq!(kind(0o040_000), None);
    }
}
