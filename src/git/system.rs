//! The `git` program of this machine as transport: a process for each question, with settings of our own and nobody else's.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use super::commit::{Commit, is_commit_id};
use super::failure::PullFailure;
use super::fault::Asked;
use super::judge::{GitError, judge, tame};
use super::limits::{endless, pack_bytes, too_large};
use super::plumbing::{Blobs, NotFetched, Plumbing, Server, Take, TreeEntry};
use super::program::{ProgramOutput, RunningProgram};
use super::ssh;
use crate::config::repos::Scheme;

/// Settings that stand above those of the store.
const CONFIG: [&str; 16] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.askPass=",
    "credential.helper=",
    "credential.useHttpPath=false",
    "protocol.allow=never",
    "http.sslVerify=true",
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=30",
    "gc.auto=0",
    "maintenance.auto=false",
    "fetch.unpackLimit=1",
    "fetch.writeCommitGraph=false",
    "submodule.recurse=false",
    "init.templateDir=",
    "init.defaultBranch=main",
];

/// Gives the login to the server that it is for and to no other, such as one that the first sends us on to.
const CREDENTIALS: &str = "credential.helper=!f() { test \"$1\" = get || exit 0; \
     while IFS= read -r line; do case \"$line\" in \
     \"host=$PYTHOND_GIT_HOST\") host=1;; \"protocol=$PYTHOND_GIT_PROTOCOL\") protocol=1;; esac; done; \
     test \"$host$protocol\" = 11 && printf 'username=%s\\npassword=%s\\n' \"$PYTHOND_GIT_USER\" \"$PYTHOND_GIT_PASSWORD\"; }; f";

/// Makes an empty bare store.
///
/// # Errors
/// What is wrong with the disk or with the program.
pub fn init(asked: &Asked<'_>, path: &Path) -> Result<(), PullFailure> {
    let system = System::new(asked, path);
    let init = system.anywhere(&["init", "--quiet", "--bare", "--", &path.display().to_string()]);
    system.done(init).map(drop)
}

/// The program with one store.
pub struct System<'a> {
    asked: &'a Asked<'a>,
    store: PathBuf,
}

impl<'a> System<'a> {
    pub fn new(asked: &'a Asked<'a>, store: &Path) -> Self {
        Self { asked, store: store.to_owned() }
    }

    fn command(&self) -> Command {
        let Asked { repos, repo, programs } = self.asked;
        let mut command = programs.program("git", &[]);
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
        command.env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_OPTIONAL_LOCKS", "0");
        for entry in CONFIG {
            command.arg("-c").arg(entry);
        }
        let scheme = repo.url.scheme.as_str();
        command.arg("-c").arg(format!("protocol.{scheme}.allow=always"));
        if let Some((user, password)) = &repo.login {
            command.env("PYTHOND_GIT_HOST", repo.url.authority()).env("PYTHOND_GIT_PROTOCOL", scheme);
            command.env("PYTHOND_GIT_USER", user).env("PYTHOND_GIT_PASSWORD", password.expose());
            command.arg("-c").arg(CREDENTIALS);
        }
        if let Some(ca_file) = &repo.ca_file {
            command.arg("-c").arg(format!("http.sslCAInfo={}", ca_file.display()));
        }
        if repo.url.scheme == Scheme::Ssh {
            command.env("GIT_SSH_COMMAND", ssh::shell_command(repos, repo)).env("GIT_SSH_VARIANT", "ssh");
        }
        command
    }

    /// A command without a repository.
    fn anywhere(&self, args: &[&str]) -> Command {
        let mut command = self.command();
        command.args(args);
        command
    }

    fn in_store(&self, args: &[&str]) -> Command {
        let mut command = self.command();
        command.arg("--git-dir").arg(&self.store).args(args);
        command
    }

    /// Runs a command that speaks with the server or makes something.
    fn done(&self, command: Command) -> Result<ProgramOutput, PullFailure> {
        let ran = self.asked.programs.run(command).map_err(|error| self.asked.not_run(error))?;
        if ran.is_ok { Ok(ran) } else { Err(self.asked.failed(&ran.stderr)) }
    }

    /// Runs a command in the store alone: when it fails, the store is damaged.
    fn local(&self, args: &[&str]) -> Result<ProgramOutput, PullFailure> {
        let ran = self.asked.programs.run(self.in_store(args)).map_err(|error| self.asked.not_run(error))?;
        if ran.is_ok { Ok(ran) } else { Err(PullFailure::Corrupt(format!("git {}: {}", args[0], tame(&ran.stderr)))) }
    }

    /// The refs of the server as `(id, name)`.
    fn ls_remote(&self, options: &[&str], names: &[&str]) -> Result<Vec<(String, String)>, PullFailure> {
        let url = self.asked.repo.url.as_str();
        let args = [&["ls-remote", "--quiet"], options, &["--", url], names].concat();
        let ran = self.done(self.anywhere(&args))?;
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        let pair = |line: &str| line.split_once('\t').map(|(id, name)| (id.to_owned(), name.to_owned()));
        Ok(text.lines().filter_map(pair).filter(|(id, _)| is_commit_id(id)).collect())
    }
}

impl Plumbing for System<'_> {
    fn server(&self) -> Result<Box<dyn Server + '_>, PullFailure> {
        Ok(Box::new(self))
    }

    fn commit_id(&self, name: &str) -> Result<String, PullFailure> {
        let what = format!("{name}^{{commit}}");
        let ran = self.local(&["rev-parse", "--verify", "--quiet", &what])?;
        let id = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
        if is_commit_id(&id) { Ok(id) } else { Err(PullFailure::Corrupt(format!("`{what}` is no commit"))) }
    }

    fn commit(&self, id: &str) -> Result<Commit, PullFailure> {
        let ran = self.local(&["log", "-1", "--no-show-signature", "--format=%s%x00%an%x00%ct", id, "--"])?;
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        let parts: Vec<&str> = text.trim_end_matches('\n').split('\0').collect();
        let [title, author, time] = parts[..] else {
            return Err(PullFailure::Corrupt(format!("commit {id} cannot be read")));
        };
        let time = time.trim().parse().unwrap_or(0);
        Ok(Commit { id: id.to_owned(), title: tame(title), author: tame(author), time })
    }

    fn tree(&self, commit: &str, subdir: Option<&str>) -> Result<Option<Vec<TreeEntry>>, PullFailure> {
        let tree = match subdir {
            Some(subdir) => {
                let tree = format!("{commit}:{subdir}");
                if !self.local(&["cat-file", "-t", &tree]).is_ok_and(|ran| ran.stdout.starts_with(b"tree")) {
                    // A damaged store shows itself when the commit's own tree is asked for.
                    self.local(&["ls-tree", commit])?;
                    return Ok(None);
                }
                tree
            }
            None => commit.to_owned(),
        };
        let listing = self.local(&["ls-tree", "-r", "-l", "-z", "--full-tree", &tree])?.stdout;
        if listing.last().is_some_and(|last| *last != 0) {
            // Only the beginning of an output is kept.
            return Err(endless(commit));
        }
        let lines = listing.split(|byte| *byte == 0).filter(|line| !line.is_empty());
        lines.map(|line| entry(line).ok_or_else(|| unreadable(line))).collect::<Result<_, _>>().map(Some)
    }

    fn blobs(&self) -> Result<Box<dyn Blobs + '_>, PullFailure> {
        let mut command = self.in_store(&["cat-file", "--batch"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut running = RunningProgram::start(command).map_err(|error| self.asked.not_run(error))?;
        let ask = running.child().stdin.take().expect("its input was asked for");
        let answer = running.child().stdout.take().expect("its output was asked for");
        Ok(Box::new(CatFile { ask, answer: BufReader::new(answer), _running: running }))
    }

    fn is_rewritten(&self, before: &str, id: &str) -> bool {
        let run = |args: &[&str]| self.asked.programs.run(self.in_store(args)).ok();
        let Some(ancestor) = run(&["merge-base", "--is-ancestor", before, id]) else { return false };
        if ancestor.is_ok || !ancestor.stderr.trim().is_empty() {
            return false;
        }
        if run(&["merge-base", before, id]).is_some_and(|ran| ran.is_ok) {
            return true;
        }
        let boundaries = fs::read_to_string(self.store.join("shallow")).unwrap_or_default();
        let Some(history) = run(&["rev-list", id]) else { return false };
        let history = String::from_utf8_lossy(&history.stdout).into_owned();
        history.lines().all(|commit| !boundaries.lines().any(|boundary| boundary == commit))
    }

    fn gather(&self) {
        let gc = self.in_store(&["gc", "--quiet", "--prune=now"]);
        if let Err(error) = self.asked.programs.afresh().run(gc) {
            tracing::debug!(target: "git", repo = self.asked.repo.name, "could not put the packs together: {error}");
        }
    }
}

impl Server for &System<'_> {
    fn refs(&mut self, names: &[&str]) -> Result<Vec<(String, String)>, PullFailure> {
        self.ls_remote(&[], names)
    }

    fn branches(&mut self) -> Result<Vec<String>, PullFailure> {
        let refs = self.ls_remote(&["--heads"], &[])?;
        Ok(refs.iter().filter_map(|(_, name)| name.strip_prefix("refs/heads/")).map(str::to_owned).collect())
    }

    fn fetch(&mut self, source: &str, target: &str, depth: u32) -> Result<(), NotFetched> {
        let refspec = format!("+{source}:{target}");
        let depth_option = format!("--depth={depth}");
        let mut args = vec!["fetch", "--quiet", "--force", "--no-tags", "--no-recurse-submodules"];
        if depth > 0 {
            args.push(&depth_option);
        } else if self.store.join("shallow").exists() {
            args.push("--unshallow");
        }
        args.extend(["--", self.asked.repo.url.as_str(), &refspec]);
        let watch = || too_large(self.asked.repo, pack_bytes(&self.store));
        let ran = self.asked.programs.run_watched(self.in_store(&args), watch);
        let ran = ran.map_err(|error| self.asked.not_run(error))?;
        if ran.is_ok {
            return Ok(());
        }
        let trouble = judge(&ran.stderr);
        let is_source = matches!(trouble, GitError::NoSuchRef | GitError::Other(_));
        let failure = self.asked.troubled(trouble);
        Err(if is_source { NotFetched::Unavailable(failure) } else { NotFetched::Failed(failure) })
    }
}

fn unreadable(line: &[u8]) -> PullFailure {
    PullFailure::Corrupt(format!("git ls-tree: `{}` is no entry of a tree", tame(&String::from_utf8_lossy(line))))
}

/// `<mode> <type> <id> <size>\t<path>`
fn entry(line: &[u8]) -> Option<TreeEntry> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let head = str::from_utf8(&line[..tab]).ok()?;
    let words: Vec<&str> = head.split_whitespace().collect();
    let [mode, _, id, size] = words[..] else { return None };
    let mode = u32::from_str_radix(mode, 8).ok()?;
    Some(TreeEntry { mode, id: id.to_owned(), size: size.parse().unwrap_or(0), path: line[tab + 1..].to_vec() })
}

/// `git cat-file --batch`, which is asked for one object after the other.
struct CatFile {
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
    /// Ended when this is dropped.
    _running: RunningProgram,
}

impl CatFile {
    /// Asks for an object and gives its size; its bytes come next.
    fn open(&mut self, id: &str) -> Result<u64, PullFailure> {
        let gone = |error: io::Error| PullFailure::Corrupt(format!("git cat-file ended at object {id}: {error}"));
        writeln!(self.ask, "{id}").map_err(gone)?;
        let mut head = String::new();
        self.answer.read_line(&mut head).map_err(gone)?;
        let words: Vec<&str> = head.split_whitespace().collect();
        match words[..] {
            [_, "blob", size] => size.parse().map_err(|_| PullFailure::Corrupt(format!("object {id} has no size"))),
            _ => Err(PullFailure::Corrupt(format!("object {id} is missing or damaged"))),
        }
    }
}

impl Blobs for CatFile {
    fn copy(&mut self, id: &str, size: u64, take: Take<'_>) -> Result<(), PullFailure> {
        let mut left = self.open(id)?;
        if left != size {
            return Err(PullFailure::Corrupt(format!("object {id} has another size than its tree says")));
        }
        let mut buffer = vec![0; 64 << 10];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let got = self.answer.read(&mut buffer[..most]).map_err(|error| PullFailure::Corrupt(error.to_string()))?;
            if got == 0 {
                return Err(PullFailure::Corrupt("git cat-file ended in the middle of an object".to_owned()));
            }
            take(&buffer[..got])?;
            left -= got as u64;
        }
        let mut newline = [0];
        self.answer.read_exact(&mut newline).map_err(|error| PullFailure::Corrupt(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_tree_are_read() {
        let id = "0123456789012345678901234567890123456789";
        let read = |line: &str| entry(line.as_bytes()).map(|entry| (entry.mode, entry.size, entry.path));
        assert_eq!(read(&format!("100644 blob {id}      12\ta b\n.py")), Some((0o100_644, 12, b"a b\n.py".to_vec())));
        assert_eq!(read(&format!("160000 commit {id}       -\tsub")), Some((0o160_000, 0, b"sub".to_vec())));
        assert_eq!(read("040000 tree x\ta"), None);
    }
}
