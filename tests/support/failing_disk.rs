//! A disk in memory that fails when told to, and that can lose power: what was not synced is then kept in part or not at all.
//!
//! The model of a power cut: of each file's writes since its last good sync a first part survives, the one after it maybe torn; of the
//! creations, renames and removals in each directory since its last good sync a first part survives. What a failed sync should have
//! kept is never durable, whatever later syncs say.

#![allow(dead_code)]

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use pythond::buffer::disk::{Disk, DiskFile, LockGuard};

pub const ENOSPC: i32 = 28;
pub const EIO: i32 = 5;
pub const EROFS: i32 = 30;

/// A kind of call that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Create,
    Write,
    Read,
    Sync,
    SyncDir,
    Truncate,
    Rename,
    Unlink,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Errno(i32),
    /// A write keeps this many bytes at most and says so.
    Short(usize),
    /// A write keeps this many bytes and fails.
    Torn(usize, i32),
}

#[derive(Debug, Clone)]
struct Rule {
    call: Call,
    below: PathBuf,
    skip: u64,
    times: u64,
    fault: Fault,
}

/// One process's view of the disk; clones share it. After [`FailingDisk::kill`] or [`FailingDisk::cut_power`] it only fails.
#[derive(Clone)]
pub struct FailingDisk {
    world: Arc<Mutex<World>>,
    life: u64,
}

#[derive(Default)]
struct World {
    life: u64,
    files: BTreeMap<u64, Node>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    pending_names: Vec<NameChange>,
    locks: BTreeMap<PathBuf, u64>,
    rules: Vec<Rule>,
    space: Option<u64>,
    calls: u64,
    die_after: Option<u64>,
    next_inode: u64,
    makes_room: bool,
}

#[derive(Default)]
struct Node {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

enum NameChange {
    Add(PathBuf, u64),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl NameChange {
    fn is_in(&self, dir: &Path) -> bool {
        match self {
            NameChange::Add(path, _) | NameChange::Remove(path) | NameChange::Rename(path, _) => {
                path.parent() == Some(dir)
            }
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            NameChange::Add(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            NameChange::Remove(path) => {
                names.remove(path);
            }
            NameChange::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write(offset, data) => {
                let end = *offset as usize + data.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset as usize..end].copy_from_slice(data);
            }
            Change::Truncate(len) => bytes.resize(*len as usize, 0),
        }
    }
}

impl FailingDisk {
    pub fn new() -> FailingDisk {
        FailingDisk { world: Arc::default(), life: 0 }
    }

    /// Lets the calls of a kind fail from the `skip`-th on, `times` times.
    pub fn fail(&self, call: Call, skip: u64, times: u64, fault: Fault) {
        self.fail_below(Path::new(""), call, skip, times, fault);
    }

    /// As [`FailingDisk::fail`], for paths below one directory.
    pub fn fail_below(&self, dir: &Path, call: Call, skip: u64, times: u64, fault: Fault) {
        let rule = Rule { call, below: dir.to_path_buf(), skip, times, fault };
        self.world().rules.push(rule);
    }

    pub fn heal(&self) {
        let mut world = self.world();
        world.rules.clear();
        (world.space, world.die_after) = (None, None);
    }

    /// Files can be filled ahead of what is written, as on a real disk.
    pub fn allow_room(&self) {
        self.world().makes_room = true;
    }

    /// Bytes that all files together may have.
    pub fn limit_space(&self, bytes: Option<u64>) {
        self.world().space = bytes;
    }

    pub fn used(&self) -> u64 {
        self.world().used()
    }

    /// After this many more calls everything fails, as if the machine had stopped there.
    pub fn die_after(&self, calls: u64) {
        let mut world = self.world();
        world.die_after = Some(world.calls + calls);
    }

    /// The process dies, the machine goes on: what was written stays. Returns the next process's disk.
    pub fn kill(&self) -> FailingDisk {
        let mut world = self.world();
        world.next_life();
        FailingDisk { world: self.world.clone(), life: world.life }
    }

    /// The machine loses power. `seed` says what of the unsynced survives.
    pub fn cut_power(&self, seed: u64) -> FailingDisk {
        let mut world = self.world();
        let mut dice = Dice(seed | 1);
        world.lose_unsynced(&mut dice);
        world.next_life();
        FailingDisk { world: self.world.clone(), life: world.life }
    }

    /// The bytes of a file, to be damaged at will.
    pub fn edit(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world();
        let inode = world.names[path];
        let node = world.files.get_mut(&inode).unwrap();
        change(&mut node.now);
        node.durable = node.now.clone();
        node.pending.clear();
    }

    pub fn remove(&self, path: &Path) {
        let mut world = self.world();
        world.names.remove(path).unwrap();
        world.durable_names.remove(path);
    }

    pub fn names(&self, dir: &Path) -> Vec<PathBuf> {
        self.world().names.keys().filter(|path| path.parent() == Some(dir)).cloned().collect()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Counts a call; fails when this life is over or a rule says so.
    fn enter(&self, call: Call, path: &Path) -> io::Result<(MutexGuard<'_, World>, Option<Fault>)> {
        let mut world = self.world();
        world.calls += 1;
        if world.life != self.life || world.die_after.is_some_and(|at| world.calls > at) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        match world.fault(call, path) {
            Some(Fault::Errno(errno)) if call != Call::Sync => Err(io::Error::from_raw_os_error(errno)),
            fault => Ok((world, fault)),
        }
    }
}

impl World {
    fn used(&self) -> u64 {
        self.names.values().map(|inode| self.files[inode].now.len() as u64).sum()
    }

    fn next_life(&mut self) {
        self.life += 1;
        self.locks.clear();
        self.rules.clear();
        (self.space, self.die_after) = (None, None);
    }

    fn fault(&mut self, call: Call, path: &Path) -> Option<Fault> {
        let rule =
            self.rules.iter_mut().find(|rule| rule.call == call && rule.times > 0 && path.starts_with(&rule.below))?;
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.times -= 1;
        Some(rule.fault)
    }

    fn lose_unsynced(&mut self, dice: &mut Dice) {
        for node in self.files.values_mut() {
            let survivors = dice.below(node.pending.len() + 1);
            for (i, change) in node.pending.drain(..).enumerate() {
                match change {
                    change if i < survivors => change.apply(&mut node.durable),
                    Change::Write(offset, data) if i == survivors => {
                        let torn = data[..dice.below(data.len() + 1)].to_vec();
                        Change::Write(offset, torn).apply(&mut node.durable);
                        if dice.below(3) == 0 {
                            // The size was updated, the data not written.
                            let end = (offset as usize + data.len()).max(node.durable.len());
                            node.durable.resize(end, 0);
                        }
                    }
                    _ => {}
                }
            }
            node.now = node.durable.clone();
        }
        let mut survivors: BTreeMap<PathBuf, usize> = BTreeMap::new();
        for change in std::mem::take(&mut self.pending_names) {
            let dir = match &change {
                NameChange::Add(path, _) | NameChange::Remove(path) | NameChange::Rename(path, _) => {
                    path.parent().unwrap().to_path_buf()
                }
            };
            let left = survivors.entry(dir).or_insert_with(|| dice.below(8));
            if *left > 0 {
                *left -= 1;
                change.apply(&mut self.durable_names);
            }
        }
        self.names = self.durable_names.clone();
    }
}

/// A small deterministic source of numbers (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

impl Disk for FailingDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let (mut world, _) = self.enter(Call::Create, path)?;
        if world.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        world.next_inode += 1;
        let inode = world.next_inode;
        world.files.insert(inode, Node::default());
        world.names.insert(path.to_path_buf(), inode);
        world.pending_names.push(NameChange::Add(path.to_path_buf(), inode));
        Ok(Box::new(OpenFile { disk: self.clone(), inode, path: path.to_path_buf() }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let (world, _) = self.enter(Call::Read, path)?;
        let inode = *world.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(OpenFile { disk: self.clone(), inode, path: path.to_path_buf() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut world, _) = self.enter(Call::Rename, from)?;
        let inode = world.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        world.names.insert(to.to_path_buf(), inode);
        world.pending_names.push(NameChange::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let (mut world, _) = self.enter(Call::Unlink, path)?;
        world.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        world.pending_names.push(NameChange::Remove(path.to_path_buf()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let (mut world, _) = self.enter(Call::SyncDir, dir)?;
        let (here, elsewhere) =
            std::mem::take(&mut world.pending_names).into_iter().partition(|change: &NameChange| change.is_in(dir));
        world.pending_names = elsewhere;
        let here: Vec<NameChange> = here;
        for change in here {
            change.apply(&mut world.durable_names);
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let (world, _) = self.enter(Call::Read, dir)?;
        let here = world.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(here
            .map(|(path, inode)| {
                (path.file_name().unwrap().to_string_lossy().into_owned(), world.files[inode].now.len() as u64)
            })
            .collect())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<LockGuard>> {
        let (mut world, _) = self.enter(Call::Create, path)?;
        if world.locks.contains_key(path) {
            return Ok(None);
        }
        world.locks.insert(path.to_path_buf(), self.life);
        let guard: Box<dyn Any + Send + Sync> = Box::new(Held { disk: self.clone(), path: path.to_path_buf() });
        Ok(Some(guard))
    }
}

struct Held {
    disk: FailingDisk,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut world = self.disk.world();
        if world.locks.get(&self.path) == Some(&self.disk.life) {
            world.locks.remove(&self.path);
        }
    }
}

struct OpenFile {
    disk: FailingDisk,
    inode: u64,
    path: PathBuf,
}

impl DiskFile for OpenFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let (mut world, fault) = self.disk.enter(Call::Write, &self.path)?;
        let room = world.space.map_or(usize::MAX, |space| {
            let overwritten = (world.files[&self.inode].now.len() as u64).saturating_sub(offset);
            (space.saturating_sub(world.used()) + overwritten) as usize
        });
        if room == 0 && !bytes.is_empty() {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        let (kept, error) = match fault {
            Some(Fault::Short(kept)) => (kept.max(1), None),
            Some(Fault::Torn(kept, errno)) => (kept, Some(errno)),
            _ => (bytes.len(), None),
        };
        let kept = kept.min(room).min(bytes.len());
        let change = Change::Write(offset, bytes[..kept].to_vec());
        let node = world.files.get_mut(&self.inode).unwrap();
        change.apply(&mut node.now);
        node.pending.push(change);
        error.map_or(Ok(kept), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let (world, _) = self.disk.enter(Call::Read, &self.path)?;
        let bytes = &world.files[&self.inode].now;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let have = rest.len().min(into.len());
        into[..have].copy_from_slice(&rest[..have]);
        Ok(have)
    }

    fn sync(&self) -> io::Result<()> {
        let (mut world, fault) = self.disk.enter(Call::Sync, &self.path)?;
        let node = world.files.get_mut(&self.inode).unwrap();
        let pending = std::mem::take(&mut node.pending);
        if let Some(Fault::Errno(errno)) = fault {
            // The kernel forgets the dirty pages: they stay readable and never reach the disk.
            return Err(io::Error::from_raw_os_error(errno));
        }
        for change in pending {
            change.apply(&mut node.durable);
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let (mut world, _) = self.disk.enter(Call::Truncate, &self.path)?;
        let node = world.files.get_mut(&self.inode).unwrap();
        let change = Change::Truncate(len);
        change.apply(&mut node.now);
        node.pending.push(change);
        Ok(())
    }

    fn make_room(&self, end: u64, len: u64) -> io::Result<u64> {
        if !self.disk.world().makes_room {
            return Ok(0);
        }
        let made = self.write_at(&vec![0; len as usize], end)? as u64;
        if made == len { Ok(made) } else { Err(io::Error::from_raw_os_error(ENOSPC)) }
    }
}
