//! The other side of a pull: a repository behind one of our transports, or one on this machine.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use git2::{
    AutotagOption, Direction, Error, ErrorClass, ErrorCode, FetchOptions, Oid, Remote, RemoteCallbacks, Repository,
    RepositoryOpenFlags,
};

use super::super::commit::is_commit_id;
use super::super::failure::PullFailure;
use super::super::fault::Asked;
use super::super::judge::{GitError, judge};
use super::super::limits::pack_bytes;
use super::super::plumbing::{ALL_BRANCHES, NotFetched, Server};
use super::copy::RepositoryCopy;
use super::exec::Exec;
use super::http::Http;
use super::library::Libgit2;
use super::session::{Halt, SYSTEM, Session};
use super::setup::{self, Route};
use super::sound;
use crate::code::Code;
use crate::config::repos::Scheme;
use crate::diagnostic::Diagnostic;

const BRANCHES: &str = "refs/heads/";
/// The depth that stands for all of a history of which the store has a part.
const UNSHALLOW: i32 = i32::MAX;

/// The server of a repository; nothing is asked yet.
pub fn server<'a>(library: &'a Libgit2<'a>) -> Result<Box<dyn Server + 'a>, PullFailure> {
    let session = Arc::new(Session::new(library.asked.programs));
    let route = match library.asked.repo.url.scheme {
        Scheme::File => {
            return Ok(Box::new(Neighbour { asked: library.asked, library, session, origin: OnceCell::new() }));
        }
        Scheme::Ssh => Route::Exec(Arc::new(Exec::new(library.asked, &session))),
        Scheme::Http | Scheme::Https => match Http::new(library.asked, &session) {
            Ok(http) => Route::Http(Arc::new(http)),
            Err(halt) => return Err(halted(library.asked, halt)),
        },
    };
    Ok(Box::new(Far { library, session, route, remote: None, refs: Vec::new() }))
}

/// A repository behind http or ssh.
struct Far<'a> {
    library: &'a Libgit2<'a>,
    session: Arc<Session>,
    route: Route,
    /// Once connected; what is fetched then comes over the same connection.
    remote: Option<Remote<'a>>,
    refs: Vec<(String, String)>,
}

impl<'a> Far<'a> {
    fn connect(&mut self) -> Result<&mut Remote<'a>, PullFailure> {
        if self.remote.is_none() {
            let repository = &self.library.repository;
            let connected = setup::by(&self.route, || {
                let mut remote = repository.remote_anonymous(setup::URL)?;
                remote.connect(Direction::Fetch)?;
                let refs = remote.list()?.iter().map(|head| (head.oid().to_string(), head.name().to_owned()));
                let refs = refs.collect();
                Ok((remote, refs))
            });
            let (remote, refs) = connected.map_err(|error| failed(self.library, &self.session, &error))?;
            self.refs = refs;
            self.remote = Some(remote);
        }
        Ok(self.remote.as_mut().expect("it was just connected"))
    }
}

impl Server for Far<'_> {
    fn refs(&mut self, names: &[&str]) -> Result<Vec<(String, String)>, PullFailure> {
        self.connect()?;
        Ok(self.refs.iter().filter(|(_, name)| names.contains(&name.as_str())).cloned().collect())
    }

    fn branches(&mut self) -> Result<Vec<String>, PullFailure> {
        self.connect()?;
        Ok(self.refs.iter().filter_map(|(_, name)| name.strip_prefix(BRANCHES)).map(str::to_owned).collect())
    }

    fn fetch(&mut self, source: &str, target: &str, depth: u32) -> Result<(), NotFetched> {
        let (library, asked) = (self.library, self.library.asked);
        if is_commit_id(source) && source.len() != Oid::ZERO_SHA1.to_string().len() {
            let trouble = GitError::Other("mismatched algorithms: client sha1; id sha256".to_owned());
            return Err(NotFetched::Unavailable(asked.troubled(trouble)));
        }
        let depth = match depth {
            0 if library.repository.is_shallow() => UNSHALLOW,
            depth => i32::try_from(depth).unwrap_or(UNSHALLOW),
        };
        let (session, route) = (Arc::clone(&self.session), self.route.clone());
        let before = pack_bytes(&library.store);
        let mut callbacks = RemoteCallbacks::new();
        callbacks.transfer_progress(|progress| session.may_grow_to(asked, before + progress.received_bytes() as u64));
        callbacks.sideband_progress(|_| session.goes_on());
        let mut options = FetchOptions::new();
        options.remote_callbacks(callbacks).download_tags(AutotagOption::None).update_fetchhead(false).depth(depth);
        let remote = self.connect()?;
        // A fetch after another has to connect anew.
        let fetched = setup::by(&route, || remote.fetch(&[format!("+{source}:{target}")], Some(&mut options), None));
        fetched.map_err(|error| self.not_fetched(source, &error))
    }
}

impl Far<'_> {
    fn not_fetched(&self, source: &str, error: &Error) -> NotFetched {
        // One commit is only handed out by servers that allow it, and the library says so in several ways.
        let is_missing =
            |id: &str| Oid::from_str(id).is_ok_and(|id| self.library.repository.find_object(id, None).is_err());
        match self.session.take() {
            Some(Halt::Trouble(trouble @ (GitError::NoSuchRef | GitError::Other(_)))) => {
                NotFetched::Unavailable(self.library.asked.troubled(trouble))
            }
            Some(halt) => NotFetched::Failed(halted(self.library.asked, halt)),
            None if is_commit_id(source) && is_missing(source) => {
                NotFetched::Unavailable(failed(self.library, &self.session, error))
            }
            None => NotFetched::Failed(failed(self.library, &self.session, error)),
        }
    }
}

/// A repository on this machine.
struct Neighbour<'a> {
    asked: &'a Asked<'a>,
    library: &'a Libgit2<'a>,
    session: Arc<Session>,
    origin: OnceCell<Repository>,
}

impl Neighbour<'_> {
    fn origin(&self) -> Result<&Repository, PullFailure> {
        if let Some(origin) = self.origin.get() {
            return Ok(origin);
        }
        let path = place(self.asked.repo.url.as_str());
        let origin = Repository::open_ext(&path, RepositoryOpenFlags::NO_SEARCH, std::iter::empty::<&Path>());
        let origin = origin.map_err(|error| not_opened(self.asked, &path, &error))?;
        Ok(self.origin.get_or_init(|| origin))
    }

    /// The origin, for a look into its objects.
    fn sound_origin(&self) -> Result<&Repository, PullFailure> {
        let origin = self.origin()?;
        let damaged = |error: std::io::Error| {
            self.asked.troubled(GitError::Other(format!("the repository there cannot be read: {error}")))
        };
        sound::check(origin.commondir()).map_err(damaged).map(|()| origin)
    }

    /// What the origin itself says: it is not the store that is damaged.
    fn odd(&self, error: &Error) -> PullFailure {
        self.asked.troubled(GitError::Other(error.message().to_owned()))
    }
}

impl Server for Neighbour<'_> {
    fn refs(&mut self, names: &[&str]) -> Result<Vec<(String, String)>, PullFailure> {
        // What a tag points to is an object.
        let is_tag = names.iter().any(|name| name.ends_with("^{}"));
        let origin = if is_tag { self.sound_origin()? } else { self.origin()? };
        let mut refs = Vec::new();
        for name in names {
            let id = match name.strip_suffix("^{}") {
                Some(tag) => origin
                    .refname_to_id(tag)
                    .and_then(|id| origin.find_tag(id)?.into_object().peel(git2::ObjectType::Commit))
                    .map(|target| target.id()),
                None => origin.refname_to_id(name),
            };
            match id {
                Ok(id) => refs.push((id.to_string(), (*name).to_owned())),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(self.odd(&error)),
            }
        }
        Ok(refs)
    }

    fn branches(&mut self) -> Result<Vec<String>, PullFailure> {
        let branches = self.origin()?.references_glob(ALL_BRANCHES).map_err(|error| self.odd(&error))?;
        let name = |reference: git2::Reference<'_>| {
            String::from_utf8_lossy(reference.name_bytes()).strip_prefix(BRANCHES).map(str::to_owned)
        };
        let mut names: Vec<String> = branches.filter_map(Result::ok).filter_map(name).collect();
        names.sort();
        Ok(names)
    }

    fn fetch(&mut self, source: &str, target: &str, depth: u32) -> Result<(), NotFetched> {
        if source == ALL_BRANCHES {
            // Whatever there is was handed out by its id.
            return Ok(());
        }
        let origin = self.sound_origin()?;
        let found = match Oid::from_str(source).ok().filter(|_| is_commit_id(source)) {
            Some(id) => origin.find_object(id, None).map(|object| object.id()),
            None => origin.refname_to_id(source),
        };
        let id = match found {
            Ok(id) => id,
            Err(error) if is_absent(&error) => {
                return Err(NotFetched::Unavailable(self.asked.troubled(GitError::NoSuchRef)));
            }
            Err(error) => return Err(self.odd(&error).into()),
        };
        let before = pack_bytes(&self.library.store);
        let goes_on = |bytes: u64| self.session.may_grow_to(self.asked, before + bytes);
        let copy =
            RepositoryCopy { origin, store: &self.library.repository, dir: &self.library.store, goes_on: &goes_on };
        copy.copy(id, target, depth).map_err(|error| failed(self.library, &self.session, &error).into())
    }
}

/// What a failure of the library means: what our side of it found, what the server said, or a damaged store.
fn failed(library: &Libgit2<'_>, session: &Session, error: &Error) -> PullFailure {
    let asked = library.asked;
    if let Some(halt) = session.take() {
        return halted(asked, halt);
    }
    let is_network = matches!(error.class(), ErrorClass::Net | ErrorClass::Http | ErrorClass::Ssh);
    if is_network || error.code() == ErrorCode::Eof {
        let text = asked.programs.without_secrets(error.message());
        return asked.troubled(judge(&format!("fatal: {text}")));
    }
    library.damaged(error)
}

fn halted(asked: &Asked<'_>, halt: Halt) -> PullFailure {
    match halt {
        Halt::NotRun(not_run) => asked.not_run(not_run),
        Halt::Trouble(trouble) => asked.troubled(trouble),
        Halt::Told(diagnostic) => PullFailure::Fault(diagnostic),
    }
}

fn is_absent(error: &Error) -> bool {
    matches!(error.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec | ErrorCode::UnbornBranch)
}

/// Where git looks for a repository that is called so.
fn place(path: &str) -> PathBuf {
    let with_ending = PathBuf::from(format!("{}.git", path.trim_end_matches('/')));
    let as_it_is = PathBuf::from(path);
    if !as_it_is.exists() && with_ending.is_dir() { with_ending } else { as_it_is }
}

fn not_opened(asked: &Asked<'_>, path: &Path, error: &Error) -> PullFailure {
    let said = error.message();
    if said.contains("objectformat") || said.contains("object format") {
        return asked.troubled(GitError::Other("mismatched algorithms: client sha1; server sha256".to_owned()));
    }
    let cannot = |what: &str| {
        let message = format!("libgit2 does not read `{}`: {what}", asked.repo.url.as_str());
        let help = format!("{SYSTEM} may");
        PullFailure::fault(Diagnostic::error(Code::GitFailed, message).with_help(help))
    };
    if path.is_file() {
        return cannot("it is a file, such as a bundle");
    }
    if said.contains("unsupported extension") || said.contains("unsupported repository version") {
        return cannot(said);
    }
    match error.code() {
        ErrorCode::NotFound => asked.troubled(GitError::NoRepository),
        _ => asked.troubled(GitError::Other(said.to_owned())),
    }
}
