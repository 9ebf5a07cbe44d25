//! Repositories to pull from, and an agent's part that takes what it is offered, or not.
#![allow(dead_code)] // each test file uses its own part

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
pub use pythond::config::repos::GitTransport;
use pythond::config::repos::RepoUrl;
use pythond::config::{GitRepos, RepoSettings, Surroundings};
use pythond::git::{self, Adopter, Adoption, CandidateCommit, HeldScript, RepositoriesHandle, View};

/// Far more than anything takes, even on two busy cores.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Makes of each test, which takes the transport, one over libgit2 and one over the `git` program.
#[allow(unused_macros)]
macro_rules! over_both {
    ($($name:ident),+ $(,)?) => {
        mod over_libgit2 {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::git::GitTransport::Libgit2).await;
            })+
        }
        mod over_system {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::git::GitTransport::System).await;
            })+
        }
    };
}

/// The same for tests that are no futures.
#[allow(unused_macros)]
macro_rules! over_both_in_turn {
    ($($name:ident),+ $(,)?) => {
        mod over_libgit2 {
            $(#[test]
            fn $name() {
                super::$name(super::git::GitTransport::Libgit2);
            })+
        }
        mod over_system {
            $(#[test]
            fn $name() {
                super::$name(super::git::GitTransport::System);
            })+
        }
    };
}
#[allow(unused_imports)]
pub(crate) use {over_both, over_both_in_turn};

/// A `PATH` for what is tested, its programs linked into a folder below `dir`; over libgit2 there is no `git` on it.
pub fn path_for(transport: GitTransport, dir: &Path) -> String {
    if transport == GitTransport::System {
        return std::env::var("PATH").unwrap();
    }
    let bin = dir.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let python = Command::new("python3").args(["-c", "import sys; print(sys.executable, end='')"]).output().unwrap();
    let python = PathBuf::from(String::from_utf8(python.stdout).unwrap());
    let ssh = ["ssh", "ssh-keygen", "ssh-keyscan"].map(|name| (name, which::which(name).ok()));
    for (name, program) in ssh.into_iter().chain([("python3", Some(python))]) {
        if let Some(program) = program {
            std::os::unix::fs::symlink(program, bin.join(name)).unwrap();
        }
    }
    bin.display().to_string()
}

/// A repository with a work tree, from which others pull.
pub struct Origin {
    dir: tempfile::TempDir,
}

impl Origin {
    pub fn new() -> Self {
        let origin = Self { dir: tempfile::tempdir().unwrap() };
        origin.git(&["init", "--quiet", "--initial-branch=main", "."]);
        origin.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
        origin
    }

    /// One with a first commit.
    pub fn with(files: &[(&str, &str)]) -> Self {
        let origin = Self::new();
        origin.commit(files, "first");
        origin
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn url(&self) -> String {
        self.path().display().to_string()
    }

    /// The repository as a server hands it out.
    pub fn git_dir(&self) -> PathBuf {
        self.path().join(".git")
    }

    pub fn git(&self, args: &[&str]) -> String {
        git_in(self.path(), args)
    }

    /// Runs git with bytes on its input.
    pub fn git_fed(&self, args: &[&str], input: &[u8]) -> String {
        use std::io::Write;
        let mut command = clean_git(self.path());
        command.args(args).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {args:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub fn file(&self, name: &str, text: &str) -> &Self {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// Commits everything that lies in the work tree; gives the id.
    pub fn commit(&self, files: &[(&str, &str)], title: &str) -> String {
        for (name, text) in files {
            self.file(name, text);
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", title]);
        self.head()
    }

    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// A commit of a tree that git's own commands would not make.
    pub fn commit_tree(&self, tree: &str, title: &str) -> String {
        let commit = self.git(&["commit-tree", "-m", title, tree]);
        self.git(&["update-ref", "refs/heads/main", &commit]);
        commit
    }

    /// Writes a raw tree: `(mode, name, object)`.
    pub fn tree(&self, entries: &[(&str, &str, &str)]) -> String {
        let mut bytes = Vec::new();
        for (mode, name, object) in entries {
            bytes.extend(format!("{mode} {name}\0").into_bytes());
            let hex = |at: usize| u8::from_str_radix(&object[at..at + 2], 16).unwrap();
            bytes.extend((0..object.len()).step_by(2).map(hex));
        }
        self.git_fed(&["hash-object", "-t", "tree", "-w", "--stdin", "--literally"], &bytes)
    }

    pub fn blob(&self, text: &str) -> String {
        self.git_fed(&["hash-object", "-w", "--stdin"], text.as_bytes())
    }
}

fn clean_git(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(dir).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("LC_ALL", "C");
    for (name, value) in [("NAME", "Li Wei"), ("EMAIL", "li@example.com"), ("DATE", "2026-11-21T12:00:00Z")] {
        command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
    }
    command
}

pub fn git_in(dir: &Path, args: &[&str]) -> String {
    let output = clean_git(dir).args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "git {args:?} in {}: {stderr}", dir.display());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The agent's side: a root directory and the settings of repositories in it.
pub struct Side {
    pub dir: tempfile::TempDir,
    pub settings: GitRepos,
}

impl Side {
    pub fn of(transport: GitTransport, repos: Vec<RepoSettings>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // A home without settings or keys, as a service has it; the real one must not help.
        let env = [("PATH", path_for(transport, dir.path())), ("HOME", dir.path().join("home").display().to_string())];
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let around = Surroundings { env, hostname: "testhost".to_owned() };
        let mut settings = GitRepos::default_in(dir.path(), &around);
        // Long enough that nothing is pulled unless it is asked for.
        settings.pull_interval = Duration::from_secs(24 * 3600);
        settings.repos = repos.into_iter().map(|repo| RepoSettings { transport, ..repo }).collect();
        Self { dir, settings }
    }

    /// The same with other repositories.
    pub fn with(self, repos: Vec<RepoSettings>) -> Self {
        let transport = self.settings.repos[0].transport;
        let repos = repos.into_iter().map(|repo| RepoSettings { transport, ..repo }).collect();
        Self { settings: GitRepos { repos, ..self.settings.clone() }, ..self }
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        self.settings.dir.join(name)
    }

    pub fn start(&self, adopter: &Arc<Taker>) -> RepositoriesHandle {
        let roots = git::roots(&self.settings, &[]);
        git::start(self.settings.clone(), "testhost", Arc::clone(adopter) as Arc<dyn Adopter>, &roots)
    }

    /// The names of the exported commits.
    pub fn exported(&self, name: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder(name)).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.len() >= 40).collect();
        names.sort();
        names
    }
}

pub fn repo(name: &str, url: &str) -> RepoSettings {
    let (url, login) = RepoUrl::parse(url).unwrap();
    assert!(login.is_none(), "the tests give the login by its keys");
    RepoSettings::plain(name, url)
}

type Decide = dyn Fn(&CandidateCommit) -> Adoption + Send + Sync;

/// Takes every candidate unless told otherwise, and remembers them.
pub struct Taker {
    pub seen: Mutex<Vec<CandidateCommit>>,
    decide: Mutex<Box<Decide>>,
    pub used: Mutex<Vec<PathBuf>>,
}

impl Taker {
    pub fn new() -> Arc<Self> {
        let decide: Box<Decide> = Box::new(|_| taken());
        Arc::new(Self { seen: Mutex::default(), decide: Mutex::new(decide), used: Mutex::default() })
    }

    pub fn decide_by(&self, decide: impl Fn(&CandidateCommit) -> Adoption + Send + Sync + 'static) {
        *self.decide.lock().unwrap() = Box::new(decide);
    }

    /// The commits that were offered.
    pub fn offered(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|candidate| candidate.commit.id.clone()).collect()
    }

    pub fn last(&self) -> CandidateCommit {
        self.seen.lock().unwrap().last().cloned().expect("something was offered")
    }
}

impl Adopter for Taker {
    fn adopt(&self, candidate: CandidateCommit) -> BoxFuture<'_, Adoption> {
        self.seen.lock().unwrap().push(candidate.clone());
        let adoption = (self.decide.lock().unwrap())(&candidate);
        Box::pin(async move { adoption })
    }

    fn in_use(&self) -> BoxFuture<'_, Vec<PathBuf>> {
        let used = self.used.lock().unwrap().clone();
        Box::pin(async move { used })
    }
}

pub fn taken() -> Adoption {
    Adoption::Taken { held: Vec::new(), changes: Vec::new() }
}

pub fn held(script: &str, why: &str) -> Adoption {
    Adoption::Taken { held: vec![HeldScript { script: script.into(), why: why.into() }], changes: Vec::new() }
}

pub fn refused(message: &str) -> Adoption {
    Adoption::Refused { why: vec![message.to_owned()] }
}

/// `code message` and the notes and help of the fault, or nothing.
pub fn fault(view: &View) -> String {
    view.fault.as_ref().map_or_else(String::new, |fault| {
        let more: Vec<&str> = fault.notes.iter().chain(&fault.help).map(String::as_str).collect();
        format!("{} {}\n{}", fault.code, fault.message, more.join("\n"))
    })
}

/// The commit in force.
pub fn in_force(view: &View) -> String {
    view.in_force.as_ref().map_or_else(String::new, |in_force| in_force.commit.id.clone())
}

pub async fn wait_until(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for the first pull to end and gives what is seen then.
pub async fn first_pull(handle: &RepositoriesHandle) -> View {
    wait_until("the first pull", || handle.views()[0].last_pull.is_some() && !handle.views()[0].is_pulling).await;
    handle.views().remove(0)
}
