//! The bare store of one repository: asks the server what is new, fetches it, and is set aside where it is damaged.
//!
//! `gitrepos/<name>/store.git` is a cache: everything in it can be fetched again, so whatever is wrong with it ends in setting it aside
//! and cloning anew. One ref is used, `refs/pythond/tip`, always overwritten: a rewritten history is just another commit. Nothing is
//! checked out, so no hook, filter or attribute of the repository has a say.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::commit::{Commit, is_commit_id};
use super::failure::{PullFailure, local};
use super::fault::Asked;
use super::judge::tame;
use super::leftovers::{remove, remove_leftovers};
use super::plumbing::{ALL_BRANCHES, NotFetched, Plumbing, Server};
use super::program::Programs;
use super::{ssh, transport};
use crate::code::Code;
use crate::config::repos::{GitRepos, RepoSettings};
use crate::diagnostic::Diagnostic;

const TIP: &str = "refs/pythond/tip";
/// Packs beside each other before they are put together.
const PACKS: usize = 50;
/// Stores set aside that are kept for a look.
const BAD_STORES: usize = 2;
/// Branches named where the one in the settings is not there.
const NAMED_BRANCHES: usize = 8;

/// The store of one repository.
pub struct Store<'a> {
    pub(super) asked: Asked<'a>,
    /// The folder of the repository, which holds the store and the exported commits.
    pub(super) dir: PathBuf,
}

impl<'a> Store<'a> {
    pub fn new(repos: &'a GitRepos, repo: &'a RepoSettings, programs: &'a Programs) -> Self {
        Self { asked: Asked { repos, repo, programs }, dir: repos.dir.join(&repo.name) }
    }

    fn path(&self) -> PathBuf {
        self.dir.join("store.git")
    }

    fn repo(&self) -> &RepoSettings {
        self.asked.repo
    }

    /// Opens the store, and makes it first if it is not there.
    pub(super) fn open(&self) -> Result<Box<dyn Plumbing + '_>, PullFailure> {
        self.asked.check_key()?;
        self.prepare()?;
        transport::open(&self.asked, &self.path())
    }

    /// Asks the server for the commit to run, and fetches it if it is not there.
    pub(super) fn fetch_wanted(&self, git: &dyn Plumbing) -> Result<Commit, PullFailure> {
        let mut server = git.server()?;
        let wanted = self.wanted(&mut *server)?;
        let is_there = git.commit_id(&wanted.id).is_ok_and(|id| id == wanted.id) && is_whole(git, &wanted.id);
        let id = if is_there { wanted.id } else { self.fetch(git, &mut *server, &wanted)? };
        drop(server);
        git.commit(&id)
    }

    /// Makes the store if it is not there, and removes what a killed git left in it.
    fn prepare(&self) -> Result<(), PullFailure> {
        fs::create_dir_all(&self.dir)
            .map_err(|error| local(&format!("could not make {}", self.dir.display()), &error))?;
        if self.repo().ssh_key_password.is_some() {
            ssh::write_askpass(&self.dir).map_err(|error| local("could not write the script that ssh asks", &error))?;
        }
        let path = self.path();
        if !path.join("HEAD").is_file() || !path.join("objects").is_dir() {
            if path.exists() {
                self.set_aside("it is no bare repository")?;
            }
            // Made aside and renamed: a store is whole or not there.
            let fresh = self.dir.join("store.new");
            remove(&fresh).map_err(|error| local(&format!("could not remove {}", fresh.display()), &error))?;
            transport::init(&self.asked, &fresh)?;
            fs::rename(&fresh, &path).map_err(|error| local(&format!("could not make {}", path.display()), &error))?;
        }
        remove_leftovers(&path).map_err(|error| local(&format!("could not tidy {}", path.display()), &error))
    }

    /// Asks the server which commit is to run.
    fn wanted(&self, server: &mut dyn Server) -> Result<WantedCommit, PullFailure> {
        let repo = self.repo();
        match (&repo.rev, &repo.branch) {
            (Some(rev), _) if is_commit_id(rev) => Ok(WantedCommit { id: rev.clone(), source: rev.clone() }),
            (Some(rev), _) => {
                let (tag, peeled) = (format!("refs/tags/{rev}"), format!("refs/tags/{rev}^{{}}"));
                let refs = server.refs(&[&tag, &peeled])?;
                let id = find(&refs, &peeled).or(find(&refs, &tag));
                let id = id.ok_or_else(|| self.no_tag(rev))?;
                Ok(WantedCommit { id, source: tag })
            }
            (None, Some(branch)) => {
                let name = format!("refs/heads/{branch}");
                let id = find(&server.refs(&[&name])?, &name);
                let id = id.map_or_else(|| Err(self.no_branch(branch, server)), Ok)?;
                Ok(WantedCommit { id, source: name })
            }
            (None, None) => {
                let id = find(&server.refs(&["HEAD"])?, "HEAD");
                let id = id.ok_or_else(|| self.no_head())?;
                Ok(WantedCommit { id, source: "HEAD".to_owned() })
            }
        }
    }

    fn no_tag(&self, rev: &str) -> PullFailure {
        PullFailure::fault(
            Diagnostic::error(Code::NoRepository, format!("there is no tag `{rev}` in `{}`", self.repo().url.as_str()))
                .with_help("`rev` is a tag or a full commit id; a branch belongs into `branch`"),
        )
    }

    fn no_branch(&self, branch: &str, server: &mut dyn Server) -> PullFailure {
        let url = self.repo().url.as_str();
        let names = match server.branches() {
            Ok(names) => names,
            Err(failure) => return failure,
        };
        if names.is_empty() {
            return self.no_head();
        }
        let mut fault = Diagnostic::error(Code::NoRepository, format!("there is no branch `{branch}` in `{url}`"));
        let mut shown = names.iter().take(NAMED_BRANCHES).map(String::as_str).collect::<Vec<_>>().join(", ");
        if names.len() > NAMED_BRANCHES {
            shown.push_str(&format!(" and {} more", names.len() - NAMED_BRANCHES));
        }
        fault = fault.with_note(format!("its branches: {}", tame(&shown)));
        let lower = branch.to_lowercase();
        let like = |name: &&String| {
            name.to_lowercase() == lower || [("master", "main"), ("main", "master")].contains(&(branch, name.as_str()))
        };
        PullFailure::fault(match names.iter().find(like) {
            Some(name) => fault.with_help(format!("did you mean `branch = \"{}\"`?", tame(name))),
            None => fault.with_help("set `branch`, or remove it for the default branch"),
        })
    }

    fn no_head(&self) -> PullFailure {
        let url = self.repo().url.as_str();
        PullFailure::fault(
            Diagnostic::error(
                Code::NoRepository,
                format!("`{url}` names no default branch; is it empty, or no git repository?"),
            )
            .with_help("push a first commit, or set `branch`"),
        )
    }

    fn fetch(&self, git: &dyn Plumbing, server: &mut dyn Server, wanted: &WantedCommit) -> Result<String, PullFailure> {
        let (source, depth) = (wanted.source.as_str(), self.repo().depth);
        let mut fetched = server.fetch(source, TIP, depth);
        if matches!(fetched, Err(NotFetched::Unavailable(_))) && is_commit_id(source) && depth > 0 {
            // Some servers hand out tips only; the whole history holds what is older.
            fetched = server.fetch(ALL_BRANCHES, "refs/pythond/all/*", 0);
        }
        if let Err(NotFetched::Unavailable(failure) | NotFetched::Failed(failure)) = fetched {
            // What was half fetched may be what fills the disk.
            remove_leftovers(&self.path()).map_err(|error| local("could not tidy the store", &error))?;
            return Err(failure);
        }
        if packs(&self.path()) > PACKS {
            git.gather();
        }
        let name = if is_commit_id(source) { source } else { TIP };
        match git.commit_id(name) {
            Ok(id) => Ok(id),
            Err(PullFailure::Corrupt(_)) if is_commit_id(name) => Err(PullFailure::fault(Diagnostic::error(
                Code::NoRepository,
                format!("there is no commit `{name}` in `{}`", self.repo().url.as_str()),
            ))),
            Err(other) => Err(other),
        }
    }

    /// Moves the store out of the way, as `store.git.bad-<n>`.
    pub(super) fn set_aside(&self, why: &str) -> Result<(), PullFailure> {
        let said = |error: io::Error| local(&format!("could not set {} aside", self.path().display()), &error);
        let number = |path: &Path| {
            let name = path.file_name()?.to_str()?;
            name.strip_prefix("store.git.bad-")?.parse::<u64>().ok()
        };
        let mut bad: Vec<(u64, PathBuf)> = fs::read_dir(&self.dir)
            .map_err(said)?
            .flatten()
            .filter_map(|entry| Some((number(&entry.path())?, entry.path())))
            .collect();
        bad.sort();
        let next = bad.last().map_or(1, |(number, _)| number + 1);
        while bad.len() >= BAD_STORES {
            remove(&bad.remove(0).1).map_err(said)?;
        }
        let aside = self.dir.join(format!("store.git.bad-{next}"));
        fs::rename(self.path(), &aside).map_err(said)?;
        tracing::warn!(target: "git", repo = self.repo().name, "the store was damaged ({why}) and is now {}; it is cloned again", aside.display());
        Ok(())
    }
}

/// The commit that is to run, and the name under which the server hands it out.
struct WantedCommit {
    id: String,
    source: String,
}

fn find(refs: &[(String, String)], name: &str) -> Option<String> {
    refs.iter().find(|(_, other)| other == name).map(|(id, _)| id.clone())
}

fn packs(store: &Path) -> usize {
    let entries = fs::read_dir(store.join("objects/pack")).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "pack")).count()
}

/// Says whether everything that an export needs is there; what is missing is fetched.
fn is_whole(git: &dyn Plumbing, id: &str) -> bool {
    git.tree(id, None).is_ok()
}
