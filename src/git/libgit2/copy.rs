//! A commit of a repository on this machine with as much of its history as is asked for, copied into the store.
//!
//! libgit2's own way of doing that copies all branches with their whole history.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use git2::{Error, ObjectType, Oid, Repository};

use super::super::leftovers::remove;

/// Where a copy comes from and goes to.
pub struct RepositoryCopy<'a> {
    pub origin: &'a Repository,
    pub store: &'a Repository,
    /// The folder of the store.
    pub dir: &'a Path,
    /// Whether the work may go on; it is told how many bytes were copied.
    pub goes_on: &'a dyn Fn(u64) -> bool,
}

impl RepositoryCopy<'_> {
    /// Copies what a ref of the origin points to, and has a ref of the store point there too; a depth of 0 is the whole history.
    ///
    /// # Errors
    /// What is wrong with one of the two, or with the disk.
    pub fn copy(&self, id: Oid, target: &str, depth: u32) -> Result<(), Error> {
        let tip = self.origin.find_object(id, None)?;
        let history = self.history(tip.peel_to_commit()?.id(), depth)?;
        let odb = self.store.odb()?;
        let is_whole = !self.store.is_shallow();
        // What is there of a history that was cut off does not lead to the rest of it.
        let is_new = |id: &Oid| !odb.exists(*id) || (depth == 0 && !is_whole);
        let new: Vec<Oid> = history.commits.keys().copied().filter(is_new).collect();
        let mut builder = self.origin.packbuilder()?;
        builder.set_threads(1);
        builder.set_progress_callback(|_, _, _| (self.goes_on)(0))?;
        if tip.kind() == Some(ObjectType::Tag) {
            builder.insert_object(id, None)?;
        }
        if new.iter().any(|id| history.ends.contains(id)) {
            for id in &new {
                builder.insert_commit(*id)?;
            }
        } else if !new.is_empty() {
            // All of them lead to commits that are there, whose files need not be copied again.
            let mut walk = self.origin.revwalk()?;
            new.iter().try_for_each(|id| walk.push(*id))?;
            history.commits.keys().filter(|id| !is_new(id)).try_for_each(|id| walk.hide(*id))?;
            builder.insert_walk(&mut walk)?;
        }
        if builder.object_count() > 0 {
            let mut writer = odb.packwriter()?;
            let mut copied = 0;
            let mut failed = None;
            let written = builder.foreach(|bytes| {
                copied += bytes.len() as u64;
                // The writer does not say why, but the library knows.
                failed = writer.write_all(bytes).is_err().then(|| Error::last_error(-1));
                failed.is_none() && (self.goes_on)(copied)
            });
            failed.map_or(written, Err)?;
            writer.commit()?;
        }
        self.cut_at(&history.ends).map_err(|error| Error::from_str(&format!("could not write `shallow`: {error}")))?;
        self.store.reference(target, id, true, "").map(drop)
    }

    /// The commits from a tip down, as many generations as `depth`.
    fn history(&self, tip: Oid, depth: u32) -> Result<History, Error> {
        let mut history = History { commits: BTreeMap::new(), ends: BTreeSet::new() };
        let mut generation = BTreeSet::from([tip]);
        let mut number = 0;
        while !generation.is_empty() && (depth == 0 || number < depth) {
            let mut parents = BTreeSet::new();
            for id in &generation {
                if !(self.goes_on)(0) {
                    return Err(Error::from_str("the copy was ended"));
                }
                let above: Vec<Oid> = self.origin.find_commit(*id)?.parent_ids().collect();
                parents.extend(above.iter().copied());
                history.commits.insert(*id, above);
            }
            parents.retain(|id| !history.commits.contains_key(id));
            generation = parents;
            number += 1;
        }
        let is_cut = |above: &Vec<Oid>| above.iter().any(|id| !history.commits.contains_key(id));
        history.ends = history.commits.iter().filter(|(_, above)| is_cut(above)).map(|(id, _)| *id).collect();
        Ok(history)
    }

    /// Notes in the store where its history ends.
    fn cut_at(&self, ends: &BTreeSet<Oid>) -> io::Result<()> {
        let path = self.dir.join("shallow");
        if ends.is_empty() {
            return remove(&path);
        }
        let text: String = ends.iter().map(|id| format!("{id}\n")).collect();
        // Taken for what a killed pull has left, should it come to that.
        let aside = self.dir.join("shallow.lock");
        fs::write(&aside, text)?;
        fs::rename(aside, path)
    }
}

/// A part of a history.
struct History {
    /// Each with its parents.
    commits: BTreeMap<Oid, Vec<Oid>>,
    /// Those whose parents are not all among them.
    ends: BTreeSet<Oid>,
}
