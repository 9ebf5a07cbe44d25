//! Which version of its files a unit runs, which one was refused, and which one is kept for bad times.
//!
//! A version that cannot be loaded never takes the place of one that can. Before a worker is ended for a new version somebody tries that
//! in a throw-away worker; what fails there is noted as the [`RefusedVersion`]. Where a worker has to start all the same (it died, the agent was
//! started anew, the file changed after the trial) and the version on disk fails, the copies of the last good one are started instead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::basics::{FileStamp, stamp};
use super::plan::{RefusedVersion, WantedUnit};
use crate::dialect::Finder;
use crate::worker::files::{Dependency, FileLook, Print, Sum};
use crate::worker::frames::{Loaded, SeenFolder, SeenSettings as SettingsFile};
use crate::worker::lastgood::{self, GoodVersion, ListedUnits};
use crate::worker::process::find_program;
use crate::worker::{UnitSpec, WorkerSpec};

#[derive(Default)]
pub(super) struct ScriptVersion {
    pub home: Option<PathBuf>,
    /// The exported tree that the last worker was started in.
    pub lives_in: Option<PathBuf>,
    /// Ordered, but not started yet.
    pub next: Option<WantedUnit>,
    pub refusal: Option<RefusedVersion>,
    /// What was found before the last start.
    before: Before,
    /// What the last worker has loaded.
    loaded: BTreeMap<PathBuf, Loaded>,
    /// The folders that the last worker has looked into.
    looked: BTreeMap<PathBuf, Sum>,
    pub heard_hello: bool,
    /// The last worker has loaded its unit.
    pub is_ready: bool,
    /// The next start is one of the copies, whatever lies on disk.
    falls_back: bool,
    /// When what runs was loaded for the first time.
    since: Option<SystemTime>,
}

/// What a look at the files found just before a start.
#[derive(Default)]
pub(super) struct Before {
    pub stamp: Option<FileStamp>,
    print: Print,
    interpreter: Option<PathBuf>,
    kept: Option<GoodVersion>,
    /// What is kept is not what lies on disk.
    kept_differs: bool,
    /// Of a lister: what it has told of those whose last version is kept.
    told: Vec<ListedUnits>,
    /// The copies are started.
    pub uses_kept: bool,
}

impl Before {
    /// Looks at what a start depends on. Blocks.
    pub fn look(ask: &VersionQuery, last_good: &Path) -> Self {
        let VersionQuery { spec, home, refusal, falls_back } = ask;
        let mut look = FileLook::default();
        let reads = spec.units.iter().flat_map(|unit| std::iter::once(&unit.file).chain(&unit.reads));
        let mut parts: Vec<Dependency> = reads.map(|file| Dependency::File(file.clone())).collect();
        parts.extend(spec.roots.iter().cloned().map(Dependency::Names));
        parts.extend(data_of(spec, home.as_deref()));
        let print = look.print(&parts);
        // A unit that has not run alone yet has what its lister had, where that one loads the same file.
        let loads_file = spec.dialect.facts().finder == Finder::Names;
        let of_lister = || lastgood::find(last_good, spec.told_by().filter(|_| loads_file)?);
        let kept = lastgood::find(last_good, &spec.id).or_else(of_lister);
        let files = kept.iter().flat_map(|kept| &kept.files);
        let mut files = files.map(|(file, sum)| (Dependency::File(file.clone()), *sum));
        let kept_differs = files.any(|(part, sum)| look.at(&part) != Some(sum));
        let still_refused = refusal.as_ref().is_some_and(|refused| look.print(refused.keys()) == *refused);
        Self {
            stamp: stamp(spec),
            print,
            interpreter: interpreter(spec),
            uses_kept: kept.is_some() && (*falls_back || still_refused),
            kept,
            kept_differs,
            told: if spec.lists() { lastgood::told_by(last_good, &spec.id) } else { Vec::new() },
        }
    }
}

/// What a look before a start has to know.
pub(super) struct VersionQuery {
    pub spec: WorkerSpec,
    home: Option<PathBuf>,
    refusal: Option<Print>,
    falls_back: bool,
}

/// What `cmd` is on this machine. Blocks.
pub(super) fn interpreter(spec: &WorkerSpec) -> Option<PathBuf> {
    find_program(&spec.cmd, &spec.envs).ok()?.canonicalize().ok()
}

fn data_of(spec: &WorkerSpec, home: Option<&Path>) -> Vec<Dependency> {
    let units: &[UnitSpec] = if home.is_some() { &spec.units } else { &[] };
    units.iter().filter_map(|unit| unit.file.parent()).map(|dir| Dependency::Data(dir.to_owned())).collect()
}

impl ScriptVersion {
    pub fn in_home(home: Option<PathBuf>) -> Self {
        Self { home, ..Self::default() }
    }

    /// A new worker is about to start; gives what a look before it needs. `now`: the files as somebody has seen them who wants it started.
    pub fn begin(&mut self, spec: &WorkerSpec, now: Option<Print>) -> VersionQuery {
        // Until that look is done.
        self.before.print = now.unwrap_or_else(|| self.print());
        self.loaded.clear();
        self.looked.clear();
        (self.heard_hello, self.is_ready) = (false, false);
        self.lives_in.clone_from(&self.home);
        VersionQuery {
            spec: spec.clone(),
            home: self.home.clone(),
            refusal: self.refusal.as_ref().map(|refusal| refusal.print.clone()),
            falls_back: std::mem::take(&mut self.falls_back),
        }
    }

    pub fn starts_with(&mut self, before: Before) {
        self.before = before;
    }

    pub fn loads(&mut self, files: Vec<Loaded>) {
        self.loaded.extend(files.into_iter().map(|loaded| (loaded.file.clone(), loaded)));
    }

    /// Settings files that it has read, and folders that it has looked into.
    pub fn reads(&mut self, files: Vec<SettingsFile>, folders: Vec<SeenFolder>) {
        let as_loaded =
            |read: SettingsFile| Loaded { file: read.file, sum: read.sum, name: String::new(), package: false };
        self.loads(files.into_iter().map(as_loaded).collect());
        self.looked.extend(folders.into_iter().map(|looked| (looked.folder, looked.sum)));
    }

    pub fn interpreter(&self) -> Option<PathBuf> {
        self.before.interpreter.clone()
    }

    pub fn told_before(&self) -> &[ListedUnits] {
        &self.before.told
    }

    /// The copies that run in place of the files on disk.
    pub fn runs_kept(&self) -> Option<&GoodVersion> {
        self.before.kept.as_ref().filter(|_| self.before.uses_kept)
    }

    /// Says whether one of several units was loaded in the last good version, so that one that cannot be is to be refused.
    pub fn must_load(&self, script: &Path) -> bool {
        let kept = self.before.kept.as_ref().filter(|_| !self.before.uses_kept);
        kept.is_some_and(|kept| kept.files.contains_key(script) && !kept.unloaded.iter().any(|path| path == script))
    }

    /// The worker has loaded its unit; gives the files to keep, if they are on disk as they run.
    pub fn ready(&mut self) {
        self.is_ready = true;
        match self.runs_kept() {
            Some(kept) => self.since = Some(kept.since),
            None => self.refusal = None,
        }
    }

    /// The files to keep, once they have shown that they can be loaded.
    pub fn to_keep(&self) -> Option<Vec<Loaded>> {
        (self.is_ready && !self.before.uses_kept).then(|| self.loaded.values().cloned().collect())
    }

    pub fn kept(&mut self, kept: GoodVersion) {
        self.since = Some(kept.since);
        self.before.kept = Some(kept);
    }

    /// What the last worker has loaded, or tried to.
    pub fn print(&self) -> Print {
        let loaded = self.loaded.values().map(|loaded| (Dependency::File(loaded.file.clone()), Some(loaded.sum)));
        let before = self.before.print.iter().filter(|(part, _)| match part {
            // What it has loaded is known exactly.
            Dependency::File(_) | Dependency::Names(_) | Dependency::Entries(_) => !self.is_ready,
            Dependency::Data(_) => true,
        });
        let mut print: Print = before.map(|(part, sum)| (part.clone(), *sum)).collect();
        print.extend(loaded);
        print.extend(self.looked.iter().map(|(folder, sum)| (Dependency::Entries(folder.clone()), Some(*sum))));
        print
    }

    /// An empty file says nothing of what its author wants; it is rather one that is being written.
    pub fn is_emptied(&self, script: &Path) -> bool {
        let is_empty = self.loaded.get(script).is_some_and(|loaded| loaded.sum == Sum::of(b""));
        is_empty && self.before.kept.is_some()
    }

    /// The version on disk could not be loaded: says whether the last good one is to be started instead.
    /// `of` is the unit at fault, of several.
    pub fn falls_back(&mut self, spec: &WorkerSpec, of: Option<String>, why: &str) -> bool {
        if self.before.uses_kept {
            // Both fail; the next attempt is for what lies on disk.
            self.refusal = None;
            return false;
        }
        let Some(kept) = self.before.kept.as_ref().filter(|_| self.heard_hello && !self.is_ready) else {
            return false;
        };
        let is_other = |loaded: &Loaded| kept.files.get(&loaded.file) != Some(&loaded.sum);
        if !self.before.kept_differs && !self.loaded.values().any(is_other) {
            return false;
        }
        self.refusal = Some(RefusedVersion {
            why: why.to_owned(),
            of,
            at: SystemTime::now(),
            spec: spec.clone(),
            home: self.home.clone(),
            print: self.print(),
        });
        self.falls_back = true;
        true
    }

    /// What is wrong with the version on disk, and which one runs; `None` for a unit that is not at fault.
    pub fn trouble(&self, id: &str) -> Option<String> {
        let refusal = self.refusal.as_ref().filter(|refusal| refusal.of.as_ref().is_none_or(|of| of == id))?;
        let copies = if self.before.uses_kept { ", from its copy" } else { "" };
        let of = self.since.map_or(String::new(), |since| format!(" of {}", clock(since)));
        Some(format!("last good version{of} runs{copies}; refused at {}: {}", clock(refusal.at), refusal.why))
    }
}

/// `14:03`, with the date where it is another day.
fn clock(at: SystemTime) -> String {
    let Ok(at) = jiff::Timestamp::try_from(at) else { return "?".to_owned() };
    let (at, now) = (at.to_zoned(jiff::tz::TimeZone::system()), jiff::Zoned::now());
    let form = if at.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    at.strftime(form).to_string()
}

/// Keeps what runs, so that it can be started again. Blocks.
pub(super) fn keep(
    last_good: &Path,
    spec: &WorkerSpec,
    loaded: &[Loaded],
    unloaded: &[PathBuf],
) -> Result<GoodVersion, String> {
    lastgood::save(last_good, spec, loaded, unloaded, SystemTime::now()).map_err(|error| error.to_string())
}
