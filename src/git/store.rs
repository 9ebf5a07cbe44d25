//! The bare store of one repository: asks the server what is new, fetches it, and heals itself.
//!
//! `gitrepos/<name>/store.git` is a cache: everything in it can be fetched again, so whatever is wrong with it ends in setting it aside
//! and cloning anew. One ref is used, `refs/pythond/tip`, always overwritten: a rewritten history is just another commit. Nothing is
//! checked out, so no hook, filter or attribute of the repository has a say.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::export::{self, Exported};
use super::fault::{Asked, Failure, local};
use super::judge::tame;
use super::program::{Git, Ran};
use super::ssh;
use crate::config::repos::{GitRepos, Repo};
use crate::config::{Diagnostic, quantity};

const TIP: &str = "refs/pythond/tip";
/// Packs beside each other before they are put together.
const PACKS: usize = 50;
/// Stores set aside that are kept for a look.
const BAD_STORES: usize = 2;
/// A store may hold this many times what one commit may.
const STORE_FACTOR: u64 = 8;
/// Branches named where the one in the settings is not there.
const NAMED_BRANCHES: usize = 8;

/// A commit, as people know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    pub id: String,
    pub title: String,
    pub author: String,
    /// Seconds since 1970.
    pub time: i64,
}

impl Commit {
    /// The first seven characters, as git shows it.
    pub fn short(&self) -> &str {
        self.id.get(..7).unwrap_or(&self.id)
    }
}

/// What a pull found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    pub commit: Commit,
    pub exported: Exported,
    /// The commit before is no ancestor of this one.
    pub is_rewritten: bool,
}

/// The store of one repository.
pub struct Store<'a> {
    pub asked: Asked<'a>,
    dir: PathBuf,
}

impl<'a> Store<'a> {
    pub fn new(repos: &'a GitRepos, repo: &'a Repo, git: &'a Git) -> Self {
        Self { asked: Asked { repos, repo, git }, dir: repos.dir.join(&repo.name) }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.join("store.git")
    }

    /// The folder of the repository, which holds the store and the exported commits.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn git(&self) -> &Git {
        self.asked.git
    }

    pub fn repo(&self) -> &Repo {
        self.asked.repo
    }

    /// Brings the store up to date and exports the commit to run; `before` is the one that runs.
    ///
    /// # Errors
    /// What is wrong with the server, the settings or this machine. A damaged store is healed once.
    pub fn pull(&self, before: Option<&str>) -> Result<Pulled, Failure> {
        match self.pull_once(before) {
            Err(Failure::Corrupt(why)) => {
                self.set_aside(&why)?;
                match self.pull_once(before) {
                    Err(Failure::Corrupt(again)) => Err(Failure::fault(Diagnostic::error(
                        "PD0600",
                        format!("`{}` could not be fetched into a new store either: {again}", self.repo().url.as_str()),
                    ))),
                    other => other,
                }
            }
            other => other,
        }
    }

    fn pull_once(&self, before: Option<&str>) -> Result<Pulled, Failure> {
        self.asked.check_key()?;
        self.prepare()?;
        let wanted = self.wanted()?;
        let there = self.rev_parse(&format!("{}^{{commit}}", wanted.id)).ok();
        let is_there = there.as_deref() == Some(wanted.id.as_str()) && self.is_whole(&wanted.id);
        let id = if is_there { wanted.id.clone() } else { self.fetch(&wanted)? };
        let commit = self.commit(&id)?;
        let is_rewritten = before.is_some_and(|before| before != id && self.is_rewritten(before, &id));
        let exported = export::export(self, &commit.id)?;
        Ok(Pulled { commit, exported, is_rewritten })
    }

    /// Makes the store if it is not there, and removes what a killed git left in it.
    fn prepare(&self) -> Result<(), Failure> {
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
            let init = self.git().anywhere(&["init", "--quiet", "--bare", "--", &fresh.display().to_string()]);
            self.done(init)?;
            fs::rename(&fresh, &path).map_err(|error| local(&format!("could not make {}", path.display()), &error))?;
        }
        remove_leftovers(&path).map_err(|error| local(&format!("could not tidy {}", path.display()), &error))
    }

    /// Asks the server which commit is to run.
    fn wanted(&self) -> Result<Wanted, Failure> {
        let repo = self.repo();
        let url = repo.url.as_str();
        match (&repo.rev, &repo.branch) {
            (Some(rev), _) if is_commit_id(rev) => Ok(Wanted { id: rev.clone(), source: rev.clone() }),
            (Some(rev), _) => {
                let (tag, peeled) = (format!("refs/tags/{rev}"), format!("refs/tags/{rev}^{{}}"));
                let refs = self.ls_remote(&[url, &tag, &peeled])?;
                let id = find(&refs, &peeled).or(find(&refs, &tag));
                let id = id.ok_or_else(|| self.no_tag(rev))?;
                Ok(Wanted { id, source: tag })
            }
            (None, Some(branch)) => {
                let name = format!("refs/heads/{branch}");
                let refs = self.ls_remote(&[url, &name])?;
                let id = find(&refs, &name);
                let id = id.map_or_else(|| Err(self.no_branch(branch)), Ok)?;
                Ok(Wanted { id, source: name })
            }
            (None, None) => {
                let refs = self.ls_remote(&[url, "HEAD"])?;
                let id = find(&refs, "HEAD");
                let id = id.map_or_else(|| Err(self.no_head()), Ok)?;
                Ok(Wanted { id, source: "HEAD".to_owned() })
            }
        }
    }

    fn no_tag(&self, rev: &str) -> Failure {
        Failure::fault(
            Diagnostic::error("PD0605", format!("there is no tag `{rev}` in `{}`", self.repo().url.as_str()))
                .with_help("`rev` is a tag or a full commit id; a branch belongs into `branch`"),
        )
    }

    fn no_branch(&self, branch: &str) -> Failure {
        let url = self.repo().url.as_str();
        let refs = match self.ls_remote(&["--heads", url]) {
            Ok(refs) => refs,
            Err(failure) => return failure,
        };
        let names: Vec<&str> = refs.iter().filter_map(|(_, name)| name.strip_prefix("refs/heads/")).collect();
        if names.is_empty() {
            return self.no_head();
        }
        let mut fault = Diagnostic::error("PD0605", format!("there is no branch `{branch}` in `{url}`"));
        let mut shown = names.iter().take(NAMED_BRANCHES).copied().collect::<Vec<_>>().join(", ");
        if names.len() > NAMED_BRANCHES {
            shown.push_str(&format!(" and {} more", names.len() - NAMED_BRANCHES));
        }
        fault = fault.with_note(format!("its branches: {}", tame(&shown)));
        let lower = branch.to_lowercase();
        let like = |name: &&&str| {
            name.to_lowercase() == lower || [("master", "main"), ("main", "master")].contains(&(branch, **name))
        };
        Failure::fault(match names.iter().find(like) {
            Some(name) => fault.with_help(format!("did you mean `branch = \"{}\"`?", tame(name))),
            None => fault.with_help("set `branch`, or remove it for the default branch"),
        })
    }

    fn no_head(&self) -> Failure {
        let url = self.repo().url.as_str();
        Failure::fault(
            Diagnostic::error("PD0605", format!("`{url}` names no default branch; is it empty, or no git repository?"))
                .with_help("push a first commit, or set `branch`"),
        )
    }

    /// The refs of the server as `(commit, name)`.
    fn ls_remote(&self, args: &[&str]) -> Result<Vec<(String, String)>, Failure> {
        let mut all = vec!["ls-remote", "--quiet"];
        let (options, places): (Vec<&str>, Vec<&str>) = args.iter().partition(|arg| arg.starts_with("--"));
        all.extend(options);
        all.push("--");
        all.extend(places);
        let ran = self.done(self.git().anywhere(&all))?;
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        let pair = |line: &str| line.split_once('\t').map(|(id, name)| (id.to_owned(), name.to_owned()));
        Ok(text.lines().filter_map(pair).filter(|(id, _)| is_commit_id(id)).collect())
    }

    fn fetch(&self, wanted: &Wanted) -> Result<String, Failure> {
        let depth = self.repo().depth;
        let mut first = self.try_fetch(&wanted.source, depth)?;
        if !first.is_ok && is_commit_id(&wanted.source) && depth > 0 {
            // Some servers hand out tips only; the whole history holds what is older.
            first = self.try_fetch("refs/heads/*", 0)?;
        }
        if !first.is_ok {
            // What was half fetched may be what fills the disk.
            remove_leftovers(&self.path()).map_err(|error| local("could not tidy the store", &error))?;
            return Err(self.asked.failed(&first.stderr));
        }
        self.tidy();
        let name = if is_commit_id(&wanted.source) { wanted.source.as_str() } else { TIP };
        match self.rev_parse(&format!("{name}^{{commit}}")) {
            Ok(id) => Ok(id),
            Err(Failure::Corrupt(_)) if is_commit_id(name) => Err(Failure::fault(Diagnostic::error(
                "PD0605",
                format!("there is no commit `{name}` in `{}`", self.repo().url.as_str()),
            ))),
            Err(other) => Err(other),
        }
    }

    fn try_fetch(&self, source: &str, depth: u32) -> Result<Ran, Failure> {
        let store = self.path();
        let target = if source.ends_with("/*") { "refs/pythond/all/*" } else { TIP };
        let refspec = format!("+{source}:{target}");
        let depth_option = format!("--depth={depth}");
        let mut args = vec!["fetch", "--quiet", "--force", "--no-tags", "--no-recurse-submodules"];
        if depth > 0 {
            args.push(&depth_option);
        } else if store.join("shallow").exists() {
            args.push("--unshallow");
        }
        args.extend(["--", self.repo().url.as_str(), &refspec]);
        let most = self.repo().max_size.saturating_mul(STORE_FACTOR);
        let watch = || {
            let size = pack_bytes(&store);
            (size > most).then(|| {
                format!(
                    "`{}` is too large: its store grew beyond {}, which is {STORE_FACTOR} times `max_size`",
                    self.repo().url.as_str(),
                    quantity::show_size(most)
                )
            })
        };
        self.git().run_watched(self.git().in_store(&store, &args), watch).map_err(|error| self.asked.not_run(error))
    }

    /// Puts many small packs together; that it fails costs nothing but space.
    fn tidy(&self) {
        let path = self.path();
        let packs = fs::read_dir(path.join("objects/pack")).map_or(0, |entries| {
            entries.flatten().filter(|entry| entry.path().extension().is_some_and(|ending| ending == "pack")).count()
        });
        if packs > PACKS
            && let Err(error) = self.git().afresh().run(self.git().in_store(&path, &["gc", "--quiet", "--prune=now"]))
        {
            tracing::debug!(target: "git", repo = self.repo().name, "could not put the packs together: {error}");
        }
    }

    /// Says whether everything that an export needs is there; what is missing is fetched.
    fn is_whole(&self, id: &str) -> bool {
        let check = self.git().in_store(&self.path(), &["ls-tree", "-r", "-l", "-z", "--full-tree", id]);
        self.git().run(check).is_ok_and(|ran| ran.is_ok)
    }

    fn rev_parse(&self, what: &str) -> Result<String, Failure> {
        let ran = self.local(&["rev-parse", "--verify", "--quiet", what])?;
        let id = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
        if is_commit_id(&id) { Ok(id) } else { Err(Failure::Corrupt(format!("`{what}` is no commit"))) }
    }

    fn commit(&self, id: &str) -> Result<Commit, Failure> {
        let ran = self.local(&["log", "-1", "--no-show-signature", "--format=%s%x00%an%x00%ct", id, "--"])?;
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        let parts: Vec<&str> = text.trim_end_matches('\n').split('\0').collect();
        let [title, author, time] = parts[..] else {
            return Err(Failure::Corrupt(format!("commit {id} cannot be read")));
        };
        let time = time.trim().parse().unwrap_or(0);
        Ok(Commit { id: id.to_owned(), title: tame(title), author: tame(author), time })
    }

    /// True only when it is certain: where the fetched history does not reach far enough, nobody knows.
    fn is_rewritten(&self, before: &str, id: &str) -> bool {
        let run = |args: &[&str]| self.git().run(self.git().in_store(&self.path(), args)).ok();
        let Some(ancestor) = run(&["merge-base", "--is-ancestor", before, id]) else { return false };
        if ancestor.is_ok || !ancestor.stderr.trim().is_empty() {
            return false;
        }
        if run(&["merge-base", before, id]).is_some_and(|ran| ran.is_ok) {
            return true;
        }
        let boundaries = fs::read_to_string(self.path().join("shallow")).unwrap_or_default();
        let Some(history) = run(&["rev-list", id]) else { return false };
        let history = String::from_utf8_lossy(&history.stdout).into_owned();
        history.lines().all(|commit| !boundaries.lines().any(|boundary| boundary == commit))
    }

    /// A command in the store alone: when it fails, the store is damaged.
    pub fn local(&self, args: &[&str]) -> Result<Ran, Failure> {
        let ran = self.git().run(self.git().in_store(&self.path(), args)).map_err(|error| self.asked.not_run(error))?;
        if ran.is_ok { Ok(ran) } else { Err(Failure::Corrupt(format!("git {}: {}", args[0], tame(&ran.stderr)))) }
    }

    /// Runs a command that speaks with the server or makes something.
    fn done(&self, command: std::process::Command) -> Result<Ran, Failure> {
        let ran = self.git().run(command).map_err(|error| self.asked.not_run(error))?;
        if ran.is_ok { Ok(ran) } else { Err(self.asked.failed(&ran.stderr)) }
    }

    /// Moves the store out of the way, as `store.git.bad-<n>`.
    fn set_aside(&self, why: &str) -> Result<(), Failure> {
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
struct Wanted {
    id: String,
    source: String,
}

fn find(refs: &[(String, String)], name: &str) -> Option<String> {
    refs.iter().find(|(_, other)| other == name).map(|(id, _)| id.clone())
}

/// A whole commit id, SHA-1 or SHA-256.
pub fn is_commit_id(text: &str) -> bool {
    [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Removes a file or a folder that may not be there.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Locks and half-written packs of a git that was killed; nobody else works in the store.
fn remove_leftovers(store: &Path) -> io::Result<()> {
    for dir in ["", "refs/pythond", "objects/pack", "objects"] {
        let entries = match fs::read_dir(store.join(dir)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_left = name.ends_with(".lock") || name.starts_with("tmp_") || name.starts_with("incoming-");
            if is_left {
                remove(&entry.path())?;
            }
        }
    }
    Ok(())
}

fn pack_bytes(store: &Path) -> u64 {
    let entries = fs::read_dir(store.join("objects/pack")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}
