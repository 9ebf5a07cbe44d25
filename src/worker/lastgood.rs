//! The last version of each unit that could be loaded: `data/last-good/<unit>/`, copies of its files and a manifest.
//!
//! A file that is saved broken overwrites the one that runs, so the copies are made while a version is loaded. The manifest is replaced
//! by rename after its copies are there, and a copy is used only if its bytes have the hash that the worker told; so a kill half-way
//! leaves the version before or the new one, never a mixture.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::files::Sum;
use super::frames::Loaded;
use super::{UnitSpec, WorkerSpec};
use crate::platform;

/// A version that can be run.
#[derive(Debug, Clone, PartialEq)]
pub struct GoodVersion {
    /// What a worker is told.
    pub manifest: PathBuf,
    /// When it was loaded for the first time.
    pub since: SystemTime,
    pub script: PathBuf,
    pub roots: Vec<PathBuf>,
    pub files: BTreeMap<PathBuf, Sum>,
    /// Units of it, of several in one process, that could not be loaded.
    pub unloaded: Vec<PathBuf>,
    told: Option<ListedUnits>,
}

/// The units of a worker, as a lister has told them: what it runs when their settings have a mistake and no lister can tell them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListedUnits {
    by: String,
    pub units: Vec<UnitSpec>,
    /// The name of the process that they share; empty: one has its own.
    pub process: String,
}

impl ListedUnits {
    fn of(spec: &WorkerSpec) -> Option<Self> {
        let by = spec.told_by()?.to_owned();
        Some(Self { by, units: spec.units.clone(), process: spec.process().to_owned() })
    }
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    id: String,
    /// Seconds of the Unix epoch.
    since: u64,
    script: PathBuf,
    roots: Vec<PathBuf>,
    files: Vec<ScriptCopy>,
    #[serde(default)]
    unloaded: Vec<PathBuf>,
    #[serde(default)]
    told: Option<ListedUnits>,
}

#[derive(Serialize, Deserialize)]
struct ScriptCopy {
    file: PathBuf,
    sum: Sum,
    name: String,
    package: bool,
    copy: String,
}

const MANIFEST: &str = "manifest.json";
/// A file name that needs no hash to be one.
const PLAIN: usize = 120;

/// Keeps the files of a unit as they were loaded; does nothing where just that is kept already. Blocks.
///
/// # Errors
/// When one of the files is no longer as it was loaded (`InvalidData`), or the disk says no; then what was kept before stays.
pub fn save(
    dir: &Path,
    spec: &WorkerSpec,
    loaded: &[Loaded],
    unloaded: &[PathBuf],
    now: SystemTime,
) -> io::Result<GoodVersion> {
    let id = spec.id.as_str();
    let folder = dir.join(folder_name(id));
    let files: BTreeMap<PathBuf, Sum> = loaded.iter().map(|one| (one.file.clone(), one.sum)).collect();
    let before = find(dir, id);
    let told = ListedUnits::of(spec);
    let is_same = |before: &&GoodVersion| {
        before.files == files && before.roots == spec.roots && before.unloaded == unloaded && before.told == told
    };
    let readers = Readers::of(spec);
    if let Some(before) = before.as_ref().filter(is_same)
        && readers.have(&before.manifest)
    {
        return Ok(before.clone());
    }
    fs::create_dir_all(&folder)?;
    readers.let_into(dir)?;
    readers.let_into(&folder)?;
    let copies = loaded.iter().map(|one| copy(&folder, one, readers)).collect::<io::Result<Vec<_>>>()?;
    // A version that only loads more than it did is the same version.
    let grew = before.filter(|before| before.files.iter().all(|(file, sum)| files.get(file) == Some(sum)));
    let since = grew.map_or(now, |before| before.since);
    let seconds = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let names: BTreeSet<String> = copies.iter().map(|copy| copy.copy.clone()).collect();
    let (script, roots) = (spec.first().file.clone(), spec.roots.clone());
    let unloaded = unloaded.to_vec();
    let manifest = Manifest {
        id: id.to_owned(),
        since: seconds,
        script: script.clone(),
        roots: roots.clone(),
        files: copies,
        unloaded: unloaded.clone(),
        told: told.clone(),
    };
    let text = serde_json::to_vec_pretty(&manifest).map_err(io::Error::other)?;
    replace(&folder.join(MANIFEST), &text, |new| match readers {
        Readers::Owner => Ok(()),
        Readers::OtherUser => platform::readable_by_all(new),
    })?;
    for entry in fs::read_dir(&folder)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != MANIFEST && !names.contains(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(GoodVersion { manifest: folder.join(MANIFEST), since, script, roots, files, unloaded, told })
}

/// Finds the version that is kept of a unit, if every byte of it is as it was. Blocks.
pub fn find(dir: &Path, id: &str) -> Option<GoodVersion> {
    let folder = dir.join(folder_name(id));
    let manifest: Manifest = serde_json::from_slice(&fs::read(folder.join(MANIFEST)).ok()?).ok()?;
    let is_whole = |copy: &ScriptCopy| {
        !copy.copy.contains('/') && Sum::of_file(&folder.join(&copy.copy)).is_ok_and(|sum| sum == copy.sum)
    };
    if manifest.id != id || !manifest.files.iter().all(is_whole) {
        return None;
    }
    let Manifest { since, script, roots, files, unloaded, told, .. } = manifest;
    let files = files.into_iter().map(|copy| (copy.file, copy.sum)).collect();
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(since);
    Some(GoodVersion { manifest: folder.join(MANIFEST), since, script, roots, files, unloaded, told })
}

/// What a lister has told of the workers whose last version is kept. Blocks.
pub fn told_by(dir: &Path, lister: &str) -> Vec<ListedUnits> {
    let folders = fs::read_dir(dir).into_iter().flatten().flatten();
    let manifests = folders.filter_map(|folder| fs::read(folder.path().join(MANIFEST)).ok());
    let told = manifests.filter_map(|text| serde_json::from_slice::<Manifest>(&text).ok()?.told);
    told.filter(|told| told.by == lister).collect()
}

/// Forgets what is kept of a unit. Blocks.
///
/// # Errors
/// What the disk says.
pub fn forget(dir: &Path, id: &str) -> io::Result<()> {
    match fs::remove_dir_all(dir.join(folder_name(id))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Who reads what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readers {
    Owner,
    /// The script runs as somebody else, who then may read the copies as it may the files.
    OtherUser,
}

impl Readers {
    fn of(spec: &WorkerSpec) -> Self {
        if spec.user.is_some() { Self::OtherUser } else { Self::Owner }
    }

    fn let_into(self, folder: &Path) -> io::Result<()> {
        match self {
            Self::Owner => Ok(()),
            Self::OtherUser => platform::open_to_all(folder),
        }
    }

    /// Says whether a manifest that is there is for them.
    fn have(self, manifest: &Path) -> bool {
        let is_open = fs::metadata(manifest).is_ok_and(|meta| platform::mode_if_open_to_all(&meta).is_some());
        is_open == (self == Self::OtherUser)
    }
}

fn copy(folder: &Path, loaded: &Loaded, readers: Readers) -> io::Result<ScriptCopy> {
    let base = loaded.file.file_name().unwrap_or_default().to_string_lossy();
    let name: String =
        base.chars().filter(|letter| letter.is_ascii_alphanumeric() || "._-".contains(*letter)).collect();
    let name = format!("{}-{}", loaded.sum, &name[name.len().saturating_sub(PLAIN)..]);
    let path = folder.join(&name);
    let is_there = Sum::of_file(&path).is_ok_and(|sum| sum == loaded.sum);
    if !is_there || readers == Readers::OtherUser {
        let bytes = fs::read(&loaded.file)?;
        if Sum::of(&bytes) != loaded.sum {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} is no longer as it was loaded", loaded.file.display()),
            ));
        }
        replace(&path, &bytes, |new| match readers {
            Readers::Owner => Ok(()),
            Readers::OtherUser => platform::readable_like(new, &loaded.file),
        })?;
    }
    let Loaded { file, sum, name: module, package } = loaded.clone();
    Ok(ScriptCopy { file, sum, name: module, package, copy: name })
}

/// Puts a file in place whole; until `open_up` it is readable for nobody else.
fn replace(path: &Path, bytes: &[u8], open_up: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let temporary = PathBuf::from(format!("{}.new", path.display()));
    let mut options = fs::OpenOptions::new();
    let mut file = platform::set_mode(options.write(true).create(true).truncate(true), 0o600).open(&temporary)?;
    file.write_all(bytes)?;
    open_up(&temporary)?;
    fs::rename(&temporary, path)
}

/// The unit's name where that can be a folder's, with a hash behind it otherwise.
fn folder_name(id: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-@~".contains(letter);
    if id.len() <= PLAIN && !id.starts_with('.') && id.chars().all(is_plain) {
        return id.to_owned();
    }
    let plain: String = id.chars().filter(|letter| letter.is_ascii_alphanumeric()).take(PLAIN / 2).collect();
    format!("{plain},{}", Sum::of(id.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Lab {
        dir: tempfile::TempDir,
    }

    impl Lab {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap() }
        }

        fn kept(&self) -> PathBuf {
            self.dir.path().join("last-good")
        }

        fn loaded(&self, name: &str, text: &str) -> Loaded {
            let file = self.dir.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
            Loaded { file, sum: Sum::of(text.as_bytes()), name: "x".to_owned(), package: false }
        }

        fn save(&self, id: &str, loaded: &[Loaded], second: u64) -> io::Result<GoodVersion> {
            let input = crate::config::InputTable::plain("in", "python3", self.dir.path().to_owned());
            let mut spec = crate::worker::discover::scripts(&[input]).specs.remove(0);
            spec.id = id.to_owned();
            save(&self.kept(), &spec, loaded, &[], SystemTime::UNIX_EPOCH + Duration::from_secs(second))
        }
    }

    #[test]
    fn what_was_loaded_is_found_again_after_the_files_are_gone() {
        let lab = Lab::new();
        let loaded = [lab.loaded("my/x.py", "one"), lab.loaded("my/sub.py", "two")];
        let kept = lab.save("my.x", &loaded, 5).unwrap();
        fs::remove_dir_all(lab.dir.path().join("my")).unwrap();
        assert_eq!(find(&lab.kept(), "my.x"), Some(kept.clone()));
        assert_eq!(kept.files.len(), 2);
        assert_eq!(find(&lab.kept(), "my.y"), None);
    }

    #[test]
    fn the_same_version_keeps_its_time_and_a_new_one_replaces_it() {
        let lab = Lab::new();
        let one = lab.loaded("x.py", "one");
        let first = lab.save("x", std::slice::from_ref(&one), 5).unwrap();
        assert_eq!(lab.save("x", std::slice::from_ref(&one), 9).unwrap(), first);
        let more = [one, lab.loaded("late.py", "late")];
        assert_eq!(lab.save("x", &more, 11).unwrap().since, first.since, "it only loaded more");
        let kept = lab.save("x", &[lab.loaded("x.py", "two")], 20).unwrap();
        assert_eq!(kept.since, SystemTime::UNIX_EPOCH + Duration::from_secs(20));
        let left = fs::read_dir(lab.kept().join("x")).unwrap().count();
        assert_eq!(left, 2, "the manifest and one copy");
    }

    #[test]
    fn a_file_that_was_overwritten_meanwhile_costs_nothing_that_was_kept() {
        let lab = Lab::new();
        let first = lab.save("x", &[lab.loaded("x.py", "one")], 5).unwrap();
        let second = lab.loaded("x.py", "two");
        fs::write(&second.file, "thr").unwrap();
        assert_eq!(lab.save("x", &[second], 6).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(find(&lab.kept(), "x"), Some(first));
    }

    #[test]
    fn a_damaged_copy_is_never_run() {
        let lab = Lab::new();
        lab.save("x", &[lab.loaded("x.py", "one")], 5).unwrap();
        let folder = lab.kept().join("x");
        let copy =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).find(|path| !path.ends_with(MANIFEST));
        fs::write(copy.unwrap(), "half").unwrap();
        assert_eq!(find(&lab.kept(), "x"), None);
        lab.save("x", &[lab.loaded("x.py", "one")], 5).unwrap();
        assert!(find(&lab.kept(), "x").is_some(), "and is mended by the next save");
        fs::write(folder.join(MANIFEST), "{").unwrap();
        assert_eq!(find(&lab.kept(), "x"), None);
    }

    #[test]
    fn a_copy_is_no_more_readable_than_its_file() {
        let lab = Lab::new();
        let secret = lab.loaded("x.py", "token = 1");
        fs::set_permissions(&secret.file, fs::Permissions::from_mode(0o600)).unwrap();
        lab.save("x", &[secret], 5).unwrap();
        for entry in fs::read_dir(lab.kept().join("x")).unwrap().map(|entry| entry.unwrap()) {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert!(entry.file_name() == MANIFEST || mode == 0o600, "{entry:?} {mode:o}");
        }
    }

    #[test]
    fn any_name_has_a_folder_of_its_own() {
        let lab = Lab::new();
        let long = "x".repeat(300);
        let ids = ["..", ".", "a/b", "äöü", "äöö", long.as_str(), "a.b@c~2"];
        for id in ids {
            lab.save(id, &[lab.loaded("x.py", id)], 5).unwrap();
        }
        for id in ids {
            assert!(find(&lab.kept(), id).is_some(), "{id}");
        }
        for id in ["..", "äöü", "not kept"] {
            forget(&lab.kept(), id).unwrap();
        }
        assert_eq!(ids.map(|id| find(&lab.kept(), id).is_some()), [false, true, true, false, true, true, true]);
    }
}
