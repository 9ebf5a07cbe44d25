//! libgit2 as transport: store, refs, fetch and trees by the library, without a process. The network is ours, since the library's own would
//! bring another TLS and another ssh: `http` by the agent's http client, `exec` by the `ssh` program. A path is read by the library itself (`copy`).
//!
//! No settings of git are read, neither the machine's nor the user's, and nothing of a repository is run: libgit2 knows hooks and filters at
//! a checkout only, and there is none.

mod advert;
mod client;
mod copy;
mod exec;
mod http;
mod library;
mod server;
mod session;
mod setup;
mod sound;

use std::fs;
use std::path::Path;

use git2::{Error, ErrorClass, ErrorCode, ObjectType, Oid};

use super::commit::{Commit, is_commit_id};
use super::failure::PullFailure;
use super::judge::tame;
use super::leftovers::remove;
use super::limits::{LISTING, endless};
use super::plumbing::{Blobs, Plumbing, Server, Take, TreeEntry};

pub use library::{Libgit2, init};

impl Libgit2<'_> {
    fn find(&self, commit: &str) -> Result<git2::Commit<'_>, Error> {
        self.repository.find_object(Oid::from_str(commit)?, None)?.peel_to_commit()
    }

    /// The tree to list; `None`: there is no such folder in the commit.
    fn root(&self, commit: &str, subdir: Option<&str>) -> Result<Option<Oid>, Error> {
        let commit = self.find(commit)?;
        let Some(subdir) = subdir else { return Ok(Some(commit.tree_id())) };
        match commit.tree()?.get_path(Path::new(subdir)) {
            Ok(entry) => Ok((entry.kind() == Some(ObjectType::Tree)).then(|| entry.id())),
            Err(error) if error.code() == ErrorCode::NotFound && error.class() != ErrorClass::Odb => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One tree: its files, links and submodules go to `entries`, its folders to `folders`.
    fn read(
        &self,
        folder: &TreeFolder,
        entries: &mut Vec<TreeEntry>,
        folders: &mut Vec<TreeFolder>,
    ) -> Result<(), Error> {
        let odb = self.repository.odb()?;
        for entry in self.repository.find_tree(folder.id)?.iter() {
            let path = [folder.path.as_slice(), entry.name_bytes()].concat();
            let mode = entry.filemode_raw().cast_unsigned();
            if mode & 0o170_000 == 0o040_000 {
                folders.push(TreeFolder { id: entry.id(), path: [&path, &b"/"[..]].concat() });
                continue;
            }
            let is_here = mode & 0o170_000 != 0o160_000;
            let size = if is_here { odb.read_header(entry.id())?.0 as u64 } else { 0 };
            entries.push(TreeEntry { mode, id: entry.id().to_string(), size, path });
        }
        Ok(())
    }

    /// Writes one pack in place of all others.
    fn gather_all(&self) -> Result<(), Error> {
        let mut builder = self.repository.packbuilder()?;
        builder.set_threads(1);
        let programs = self.asked.programs.afresh();
        builder.set_progress_callback(move |_, _, _| programs.go_on().is_ok())?;
        let mut walk = self.repository.revwalk()?;
        for reference in self.repository.references_glob("refs/*")? {
            let tip = reference?.peel(ObjectType::Any)?;
            // A tag, where there is one, is an object of its own.
            builder.insert_recursive(tip.id(), None)?;
            if let Ok(commit) = tip.peel_to_commit() {
                walk.push(commit.id())?;
            }
        }
        builder.insert_walk(&mut walk)?;
        let dir = self.store.join("objects/pack");
        builder.write(&dir, 0o444)?;
        let Some(name) = builder.name()?.map(str::to_owned) else { return Ok(()) };
        let old = fs::read_dir(&dir).into_iter().flatten().flatten().filter(|entry| {
            let file = entry.file_name().to_string_lossy().into_owned();
            file.strip_prefix("pack-").is_some_and(|rest| rest.split('.').next() != Some(name.as_str()))
        });
        for entry in old {
            remove(&entry.path()).map_err(|error| Error::from_str(&error.to_string()))?;
        }
        self.repository.odb()?.refresh()
    }
}

/// A tree that is to be read, with its path and a `/` behind it.
struct TreeFolder {
    id: Oid,
    path: Vec<u8>,
}

impl Plumbing for Libgit2<'_> {
    fn server(&self) -> Result<Box<dyn Server + '_>, PullFailure> {
        server::server(self)
    }

    fn commit_id(&self, name: &str) -> Result<String, PullFailure> {
        let commit = if is_commit_id(name) {
            self.find(name)
        } else {
            self.repository.find_reference(name).and_then(|reference| reference.peel_to_commit())
        };
        commit.map(|commit| commit.id().to_string()).map_err(|error| PullFailure::Corrupt(tame(error.message())))
    }

    fn commit(&self, id: &str) -> Result<Commit, PullFailure> {
        let commit = self.find(id).map_err(|error| self.damaged(&error))?;
        let text = |bytes: &[u8]| tame(&String::from_utf8_lossy(bytes));
        Ok(Commit {
            id: id.to_owned(),
            title: text(commit.summary_bytes().unwrap_or_default()),
            author: text(commit.author().name_bytes()),
            time: commit.time().seconds(),
        })
    }

    fn tree(&self, commit: &str, subdir: Option<&str>) -> Result<Option<Vec<TreeEntry>>, PullFailure> {
        let Some(id) = self.root(commit, subdir).map_err(|error| self.damaged(&error))? else { return Ok(None) };
        let (mut entries, mut folders) = (Vec::new(), vec![TreeFolder { id, path: Vec::new() }]);
        let (mut bytes, mut counted) = (0, 0);
        while let Some(folder) = folders.pop() {
            self.go_on()?;
            self.read(&folder, &mut entries, &mut folders).map_err(|error| self.damaged(&error))?;
            // A folder may stand in a tree as often as one likes; what that means is found before it fills the memory.
            bytes += folder.path.len() + entries[counted..].iter().map(|entry| entry.path.len()).sum::<usize>();
            counted = entries.len();
            if bytes > LISTING {
                return Err(endless(commit));
            }
        }
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Some(entries))
    }

    fn blobs(&self) -> Result<Box<dyn Blobs + '_>, PullFailure> {
        Ok(Box::new(self))
    }

    fn is_rewritten(&self, before: &str, id: &str) -> bool {
        let (Ok(before), Ok(id)) = (Oid::from_str(before), Oid::from_str(id)) else { return false };
        // An error: one of them is not there, so nobody knows.
        let Ok(false) = self.repository.graph_descendant_of(id, before) else { return false };
        if self.repository.find_commit(before).is_err() {
            return false;
        }
        if self.repository.merge_base(before, id).is_ok() {
            return true;
        }
        let boundaries = fs::read_to_string(self.store.join("shallow")).unwrap_or_default();
        let Ok(mut walk) = self.repository.revwalk() else { return false };
        let is_pushed = walk.push(id).is_ok();
        is_pushed
            && walk.all(|commit| {
                commit.is_ok_and(|commit| !boundaries.lines().any(|boundary| boundary == commit.to_string()))
            })
    }

    fn gather(&self) {
        if let Err(error) = self.gather_all() {
            let repo = &self.asked.repo.name;
            tracing::debug!(target: "git", repo, "could not put the packs together: {}", error.message());
        }
    }
}

impl Blobs for &Libgit2<'_> {
    fn copy(&mut self, id: &str, size: u64, take: Take<'_>) -> Result<(), PullFailure> {
        let read = || {
            let odb = self.repository.odb()?;
            let id = Oid::from_str(id)?;
            Ok::<_, Error>((odb.read_header(id)?, odb, id))
        };
        let ((found, kind), odb, oid) = read().map_err(|error| self.damaged(&error))?;
        if kind != ObjectType::Blob || found as u64 != size {
            return Err(PullFailure::Corrupt(format!("object {id} has another size than its tree says")));
        }
        let object = odb.read(oid).map_err(|error| self.damaged(&error))?;
        take(object.data())
    }
}
