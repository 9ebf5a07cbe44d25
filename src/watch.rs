//! Says that something below some folders may have changed; never what, for whoever is told looks for himself.
//!
//! Folders are watched, not files: editors and ConfigMaps replace a file by renaming. Writers pause between their writes, so a notice
//! waits until nothing has happened for a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind};
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::code::Code;
use crate::platform;

/// So long nothing may have happened before it is told.
const QUIET: Duration = Duration::from_millis(300);
/// Where there is never quiet it is told after this time.
const LONGEST: Duration = Duration::from_secs(2);

/// What a folder is on its disk; the number alone may be given to the next one.
type FolderIdentity = (platform::FileIdentity, Option<SystemTime>);

/// What is looked out for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchedPlaces {
    /// Code and settings in these folders, and folders that come into them.
    pub folders: BTreeSet<PathBuf>,
    /// Folders in which any name that comes or goes counts: somebody has looked for settings there.
    pub listed: BTreeSet<PathBuf>,
    /// Folders and files that may go and come back, wherever they lie; of files, whatever happens to them.
    pub comings: BTreeSet<PathBuf>,
}

/// Watches folders; ends when dropped.
pub struct FolderWatch {
    places: Arc<RwLock<WatchedPlaces>>,
    watching: Mutex<Watching>,
}

struct Watching {
    /// `None` where the system has no room for one.
    watcher: Option<RecommendedWatcher>,
    /// The folders by what they are on their disk: one that was made anew has to be watched anew.
    folders: BTreeMap<PathBuf, FolderIdentity>,
    /// Why not everything is watched.
    problem: Option<String>,
}

impl FolderWatch {
    /// Starts without a folder; each notice comes through `notices`, which holds one at a time. Call it within a runtime.
    pub fn start(notices: mpsc::Sender<()>) -> Self {
        let (raw, seen) = mpsc::channel(1);
        let places = Arc::new(RwLock::new(WatchedPlaces::default()));
        let known = Arc::clone(&places);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let places = known.read().unwrap_or_else(PoisonError::into_inner);
            if event.is_ok_and(|event| places.concern(&event)) {
                // One that waits says the same.
                let _ = raw.try_send(());
            }
        });
        tokio::spawn(debounce(seen, notices));
        let (watcher, problem) = match watcher {
            Ok(watcher) => (Some(watcher), None),
            Err(error) => (None, Some(advice(&error))),
        };
        Self { places, watching: Mutex::new(Watching { watcher, folders: BTreeMap::new(), problem }) }
    }

    /// Watches these places and no others; says whether there is a folder among them that was not watched before. Blocks.
    pub fn follow(&self, places: WatchedPlaces) -> bool {
        let parents = places.comings.iter().filter_map(|path| path.parent().map(Path::to_owned));
        let folders: BTreeSet<PathBuf> = places.folders.iter().chain(&places.listed).cloned().chain(parents).collect();
        *self.places.write().unwrap_or_else(PoisonError::into_inner) = places;
        let mut watching = self.watching.lock().unwrap_or_else(PoisonError::into_inner);
        let Watching { watcher: Some(watcher), folders: known, problem } = &mut *watching else { return false };
        let wanted: BTreeMap<PathBuf, FolderIdentity> =
            folders.iter().filter_map(|folder| Some((folder.clone(), identity(folder)?))).collect();
        for gone in known.iter().filter(|(folder, id)| wanted.get(*folder) != Some(id)) {
            // The system may have done so already.
            let _ = watcher.unwatch(gone.0);
        }
        known.retain(|folder, id| wanted.get(folder) == Some(id));
        let before = known.len();
        *problem = None;
        for (folder, id) in wanted {
            if known.contains_key(&folder) {
                continue;
            }
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    known.insert(folder, id);
                }
                Err(error) if is_gone(&error) => {}
                Err(error) => *problem = Some(advice(&error)),
            }
        }
        known.len() > before
    }

    /// Why not everything is watched, with what to do about it.
    pub fn problem(&self) -> Option<String> {
        self.watching.lock().unwrap_or_else(PoisonError::into_inner).problem.clone()
    }
}

fn identity(folder: &Path) -> Option<FolderIdentity> {
    let meta = std::fs::metadata(folder).ok().filter(std::fs::Metadata::is_dir)?;
    Some((platform::look(folder).ok()?.identity, meta.created().ok()))
}

fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

fn advice(error: &notify::Error) -> String {
    let code = Code::NotWatched;
    let no_room = |what: &str| {
        format!(
            "{code}: the system's limit of inotify {what} is reached, so changed files are noticed only by looking at \
             them from time to time; raise it with `sysctl fs.inotify.max_user_{what}=…`"
        )
    };
    match &error.kind {
        ErrorKind::MaxFilesWatch => no_room("watches"),
        ErrorKind::Io(error) if platform::is_no_room(error) => no_room("watches"),
        ErrorKind::Io(error) if platform::is_too_many_open(error) => no_room("instances"),
        _ => format!(
            "{code}: not all folders can be watched ({error}), so changed files are noticed only by looking at them from time to time"
        ),
    }
}

/// Passes notices on once there is quiet.
async fn debounce(mut seen: mpsc::Receiver<()>, notices: mpsc::Sender<()>) {
    while seen.recv().await.is_some() {
        let latest = Instant::now() + LONGEST;
        let mut due = Instant::now() + QUIET;
        loop {
            tokio::select! {
                () = sleep_until(due.min(latest)) => break,
                more = seen.recv() => match more {
                    Some(()) => due = Instant::now() + QUIET,
                    None => break,
                }
            }
        }
        match notices.try_send(()) {
            // One that waits says the same.
            Ok(()) | Err(mpsc::error::TrySendError::Full(())) => {}
            Err(mpsc::error::TrySendError::Closed(())) => return,
        }
    }
}

impl WatchedPlaces {
    /// Says whether an event can mean that code or settings changed. Scripts write files of their own beside themselves, all the time.
    fn concern(&self, event: &Event) -> bool {
        event.need_rescan() || may_change(&event.kind) && event.paths.iter().any(|path| self.has(path, &event.kind))
    }

    fn has(&self, path: &Path, kind: &EventKind) -> bool {
        if self.comings.contains(path) || self.folders.contains(path) {
            return true;
        }
        let is_coming =
            matches!(kind, EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
        if is_coming && path.parent().is_some_and(|folder| self.listed.contains(folder)) && !is_hidden(path) {
            return true;
        }
        let is_folder = match kind {
            EventKind::Create(CreateKind::Folder) | EventKind::Remove(RemoveKind::Folder) => true,
            EventKind::Modify(ModifyKind::Name(_)) => path.is_dir(),
            _ => false,
        };
        path.parent().is_some_and(|folder| self.folders.contains(folder)) && is_ours(path, is_folder)
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".") || name == "__pycache__")
}

/// Reading, too, is told.
fn may_change(kind: &EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write))
}

fn is_ours(path: &Path, is_folder: bool) -> bool {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else { return true };
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
    match ending {
        // `..data` and the folders behind it: a ConfigMap.
        _ if name.starts_with("..") => true,
        _ if name.starts_with('.') || name == "__pycache__" => false,
        _ if is_folder => true,
        Some(ending) => ["py", "conf", "so"].iter().any(|ours| ending == *ours),
        // It can be a folder. Vim tries with this name whether it may write.
        None => name != "4913",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_settings_and_folders_count_and_nothing_else() {
        let ours = ["x.py", "X.PY", "a.conf", "lib.so", "folder", "..data", "..2026_11_21_15", "..data_tmp"];
        let others = [
            "x.py~",
            ".x.py.swp",
            ".#x.py",
            "#x.py#",
            "4913",
            "__pycache__",
            "state.json",
            ".git",
            "x.pyc",
            ".hid.py",
            "x.py___jb_tmp___",
            "x.tmp",
        ];
        for name in ours {
            assert!(is_ours(&Path::new("/d").join(name), false), "{name}");
        }
        for name in others {
            assert!(!is_ours(&Path::new("/d").join(name), false), "{name}");
        }
        assert!(is_ours(Path::new("/d/my.scripts"), true) && !is_ours(Path::new("/d/.git"), true));
    }

    #[test]
    fn reading_is_no_change_and_an_overflow_is_one() {
        let places = WatchedPlaces {
            folders: BTreeSet::from(["/d".into()]),
            listed: BTreeSet::from(["/conf".into()]),
            comings: BTreeSet::from(["/tmp/x".into()]),
        };
        let event = |kind, path: &str| Event::new(kind).add_path(path.into());
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert!(!places.concern(&event(EventKind::Access(AccessKind::Open(AccessMode::Any)), "/d/x.py")));
        assert!(!places.concern(&event(EventKind::Access(AccessKind::Close(AccessMode::Read)), "/d/x.py")));
        assert!(places.concern(&event(written, "/d/x.py")));
        assert!(places.concern(&Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan)));
        // A folder whose parent is everybody's.
        assert!(!places.concern(&event(EventKind::Create(CreateKind::Folder), "/tmp/y")));
        assert!(places.concern(&event(EventKind::Create(CreateKind::Folder), "/tmp/x")));
        assert!(places.concern(&event(EventKind::Remove(RemoveKind::Folder), "/d")));
        // Where settings are looked for any name may come; what becomes of the files there is told for those that were read.
        assert!(places.concern(&event(EventKind::Create(CreateKind::File), "/conf/my.tally")));
        assert!(!places.concern(&event(written, "/conf/my.tally")));
        assert!(!places.concern(&event(EventKind::Create(CreateKind::File), "/conf/.my.swp")));
    }

    #[test]
    fn each_limit_of_the_system_is_told_with_its_cure() {
        let io = |errno: rustix::io::Errno| notify::Error::io(errno.into());
        assert!(advice(&io(rustix::io::Errno::MFILE)).contains("fs.inotify.max_user_instances"));
        assert!(advice(&io(rustix::io::Errno::NOSPC)).contains("fs.inotify.max_user_watches"));
        assert!(advice(&notify::Error::new(ErrorKind::MaxFilesWatch)).contains("fs.inotify.max_user_watches"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_notice_waits_for_quiet_but_not_for_ever() {
        let (raw, seen) = mpsc::channel(1);
        let (notices, mut told) = mpsc::channel(1);
        tokio::spawn(debounce(seen, notices));
        let start = Instant::now();
        for _ in 0..3 {
            raw.send(()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        told.recv().await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_millis(700), "300 ms after the last one");
        let start = Instant::now();
        let writes = tokio::spawn(async move {
            for _ in 0..30 {
                raw.send(()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        told.recv().await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        writes.await.unwrap();
        assert!(told.recv().await.is_some(), "what came after it is told too");
        assert!(told.recv().await.is_none());
    }

    #[tokio::test]
    async fn what_happens_in_a_folder_that_is_made_anew_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("my");
        let (notices, mut told) = mpsc::channel(1);
        let watch = FolderWatch::start(notices);
        let folders = BTreeSet::from([folder.clone()]);
        let places = WatchedPlaces { comings: folders.clone(), listed: BTreeSet::new(), folders };
        for round in 0..3 {
            std::fs::create_dir(&folder).unwrap();
            assert!(watch.follow(places.clone()), "round {round}: a new folder");
            assert!(!watch.follow(places.clone()), "round {round}: nothing new");
            while tokio::time::timeout(Duration::from_millis(600), told.recv()).await.is_ok() {}
            std::fs::write(folder.join("x.py"), "").unwrap();
            tokio::time::timeout(Duration::from_secs(60), told.recv()).await.unwrap().unwrap();
            std::fs::remove_dir_all(&folder).unwrap();
        }
        assert_eq!(watch.problem(), None);
    }
}
