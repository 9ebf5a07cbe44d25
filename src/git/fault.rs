//! What went wrong with a repository, in words for its owner: a code, what is known, and what to do.

use super::failure::{PullFailure, disk_full, local};
use super::hostkeys;
use super::judge::{GitError, judge};
use super::program::{NotRun, Programs};
use super::ssh::{self, KeyFault};
use crate::code::Code;
use crate::config::repos::{GitRepos, RepoSettings, Scheme};
use crate::diagnostic::Diagnostic;

/// Whoever asks: settings and programs, for the words that need a look at keys.
pub struct Asked<'a> {
    pub repos: &'a GitRepos,
    pub repo: &'a RepoSettings,
    pub programs: &'a Programs,
}

impl Asked<'_> {
    /// A program that was not run to its end.
    pub fn not_run(&self, error: NotRun) -> PullFailure {
        let repo = self.repo;
        match error {
            NotRun::Stopped => PullFailure::Stopped,
            NotRun::TimedOut(after) => PullFailure::fault(
                Diagnostic::error(
                    Code::Unreachable,
                    format!("`{}` did not answer within {} s", repo.url.as_str(), after.as_secs_f64()),
                )
                .with_note("the code that runs goes on; the next pull tries again")
                .with_help("a slow line or a large repository needs a longer `timeout`"),
            ),
            NotRun::Watched(why) => PullFailure::fault(Diagnostic::error(Code::CommitTooLarge, why)),
            NotRun::NotStarted { program, source } => PullFailure::fault(
                Diagnostic::error(Code::NoInterpreter, format!("the program `{program}` cannot be started: {source}"))
                    .with_help(install(&program)),
            ),
            NotRun::Io(error) => local("the output of git cannot be read", &error),
        }
    }

    /// A program that ended and failed.
    pub fn failed(&self, stderr: &str) -> PullFailure {
        self.troubled(judge(stderr))
    }

    /// Something is wrong, and it is known what.
    pub fn troubled(&self, trouble: GitError) -> PullFailure {
        match trouble {
            GitError::Corrupt(why) => PullFailure::Corrupt(why),
            trouble => PullFailure::fault(self.told(trouble)),
        }
    }

    fn told(&self, trouble: GitError) -> Diagnostic {
        let url = self.repo.url.as_str();
        match trouble {
            GitError::HostKeyUnknown => self.host_key_unknown(),
            GitError::HostKeyChanged { offered, known_at } => self.host_key_changed(offered, known_at),
            GitError::LoginRefused | GitError::LoginMissing if self.repo.url.scheme == Scheme::Ssh => {
                self.key_refused()
            }
            GitError::LoginRefused => self.login_refused(),
            GitError::LoginMissing => self.login_missing(),
            GitError::Key(said) => self.key_unusable(&said),
            GitError::NoRepository => self.no_repository(),
            GitError::NoSuchRef => {
                Diagnostic::error(Code::NoRepository, format!("{} is not in `{url}`", follows(self.repo)))
            }
            GitError::NoGitServer => Diagnostic::error(
                Code::NoRepository,
                format!("`{url}` is not the URL of a git repository: something else answers, such as a web page"),
            )
            .with_help("take the URL that `git clone` is given, and check the login"),
            GitError::Certificate(said) => self.certificate(&said),
            GitError::Unreachable(said) => {
                Diagnostic::error(Code::Unreachable, format!("`{}` cannot be reached", self.server()))
                    .with_note(without_prefix(&said))
            }
            GitError::Status(status) => Diagnostic::error(
                Code::Unreachable,
                format!("`{}` answers with the http status {status}", self.server()),
            ),
            GitError::DiskFull => disk_full(),
            GitError::Corrupt(said) | GitError::Other(said) => {
                Diagnostic::error(Code::GitFailed, format!("`{url}` could not be fetched: {said}"))
            }
        }
    }

    fn server(&self) -> String {
        match self.repo.url.scheme {
            Scheme::File => self.repo.url.as_str().to_owned(),
            Scheme::Ssh => self.repo.url.known_host(),
            Scheme::Http | Scheme::Https => self.repo.url.authority(),
        }
    }

    fn searched(&self) -> String {
        let files: Vec<String> =
            ssh::known_hosts(self.repos, self.repo).iter().map(|file| file.display().to_string()).collect();
        format!("searched: {}", files.join(", "))
    }

    fn host_key_unknown(&self) -> Diagnostic {
        let host = self.repo.url.known_host();
        let mut fault = Diagnostic::error(Code::UnknownHostKey, format!("the host key of {host} is not known"));
        let keys = hostkeys::offered(self.programs, &self.repo.url).unwrap_or_default();
        for key in &keys {
            fault = fault.with_note(format!("key: {} {}", key.kind, key.fingerprint));
        }
        let trust = keys.iter().find(|key| key.kind == "ssh-ed25519").or(keys.first());
        let command = match trust {
            Some(key) => format!("pythond git trust '{host}' --fingerprint {}", key.fingerprint),
            None => format!("pythond git trust '{host}'"),
        };
        fault
            .with_note(self.searched())
            .with_help(format!("compare the fingerprint with your server's, then: {command}"))
    }

    fn host_key_changed(&self, offered: Option<String>, known_at: Option<String>) -> Diagnostic {
        let host = self.repo.url.known_host();
        let mut fault = Diagnostic::error(
            Code::ChangedHostKey,
            format!("the host key of {host} has changed: the server was set up anew, or somebody stands in between"),
        );
        if let Some(offered) = offered {
            fault = fault.with_note(format!("offered now: {offered}"));
        }
        if let Some(known_at) = known_at {
            let old = hostkeys::fingerprint_at(self.programs, &known_at);
            let old = old.map_or_else(String::new, |old| format!("{old}, "));
            fault = fault.with_note(format!("known so far: {old}{known_at}"));
        }
        fault.with_help(format!(
            "ask whoever runs the server; if it is right: pythond git trust '{host}' --fingerprint …"
        ))
    }

    fn key_refused(&self) -> Diagnostic {
        let url = &self.repo.url;
        let who = format!("{}@{}", url.user, url.known_host());
        let Some(key) = &self.repo.ssh_key else {
            let agent = if self.repos.env.iter().any(|(name, _)| name == "SSH_AUTH_SOCK") {
                "the keys of the ssh agent and those in the user's .ssh were offered"
            } else {
                "there is no ssh agent (SSH_AUTH_SOCK is unset), and no key in the user's .ssh was accepted"
            };
            return Diagnostic::error(Code::LoginRefused, format!("no key is accepted for {who}"))
                .with_note(agent)
                .with_help("set `ssh_private_key_path`");
        };
        if self.repo.ssh_key_password.is_some() && !hostkeys::opens(self.programs, key) {
            // ssh keeps to itself that the passphrase was wrong.
            return self.key_unusable("incorrect passphrase");
        }
        let mut fault = Diagnostic::error(Code::LoginRefused, format!("the key is not accepted for {who}"))
            .with_note(format!("key: {}", key.display()));
        if let Some(fingerprint) = hostkeys::fingerprint_of_key(self.programs, key) {
            fault = fault.with_note(format!("its fingerprint: {fingerprint}"));
        }
        fault.with_help(
            "register the public key with the server as a read-only deploy key; was it removed, or did it expire?",
        )
    }

    fn login_refused(&self) -> Diagnostic {
        let server = self.server();
        let told = match &self.repo.login {
            // The user is a token: https://TOKEN@host/…
            Some((_, password)) if password.expose().is_empty() => format!("`{server}` refuses the token in `url`"),
            Some((user, _)) => format!("`{server}` refuses the login of `{user}`"),
            None => return self.login_missing(),
        };
        Diagnostic::error(Code::LoginRefused, told)
            .with_note("it was tried once; it is tried again at the next pull")
            .with_help("check `username`, `password` or `token`; did the token expire?")
    }

    fn login_missing(&self) -> Diagnostic {
        Diagnostic::error(Code::LoginRefused, format!("`{}` wants a login", self.server()))
            .with_help("add `username` and `password = \"${file:/etc/pythond/git.password}\"`, or `token`")
    }

    fn key_unusable(&self, said: &str) -> Diagnostic {
        let key = self.repo.ssh_key.as_ref().map_or_else(String::new, |key| format!(" `{}`", key.display()));
        if said.contains("passphrase") {
            return Diagnostic::error(
                Code::UnusableKey,
                format!("the ssh key{key} is encrypted, and `ssh_private_key_password` does not open it"),
            );
        }
        Diagnostic::error(Code::UnusableKey, format!("the ssh key{key} cannot be used")).with_note(said)
    }

    fn no_repository(&self) -> Diagnostic {
        let fault =
            Diagnostic::error(Code::NoRepository, format!("there is no repository at `{}`", self.repo.url.as_str()));
        match (self.repo.url.scheme, &self.repo.login) {
            (Scheme::Http | Scheme::Https, None) => {
                fault.with_note("many servers answer so for a private repository while there is no login")
            }
            (Scheme::Http | Scheme::Https, Some(_)) => {
                fault.with_note("many servers answer so for a private repository that the login may not read")
            }
            (Scheme::Ssh, _) => {
                fault.with_note("many servers answer so for a private repository that the key may not read")
            }
            (Scheme::File, _) => {
                fault.with_note("the agent's user must own the directory or be allowed to read it by git")
            }
        }
    }

    fn certificate(&self, said: &str) -> Diagnostic {
        let fault = Diagnostic::error(
            Code::UntrustedCertificate,
            format!("the certificate of `{}` is not trusted", self.server()),
        )
        .with_note(without_prefix(said));
        match &self.repo.ca_file {
            Some(file) => fault.with_note(format!("trusted: {}", file.display())),
            None => fault.with_help("if it is your own server: `ca_file = \"/etc/pythond/ca.pem\"`"),
        }
    }

    /// The key file before ssh sees it.
    pub fn check_key(&self) -> Result<(), PullFailure> {
        let Some(key) = &self.repo.ssh_key else { return Ok(()) };
        if self.repo.url.scheme != Scheme::Ssh {
            return Ok(());
        }
        ssh::check_key(key, self.repo.ssh_key_password.is_some()).map_err(|fault| {
            let diagnostic = Diagnostic::error(Code::UnusableKey, fault.to_string());
            PullFailure::fault(match fault {
                KeyFault::TooOpen { path, .. } => diagnostic.with_help(format!("chmod 600 {path}")),
                KeyFault::Encrypted { .. } => {
                    diagnostic.with_help("set `ssh_private_key_password = \"${file:/etc/pythond/git.passphrase}\"`")
                }
                KeyFault::Unreadable { .. } => {
                    diagnostic.with_help("check `ssh_private_key_path`, the file's owner and mode")
                }
                KeyFault::NoKey { path } => diagnostic.with_help(if path.ends_with(".pub") {
                    "name the private key, without `.pub`"
                } else {
                    "check `ssh_private_key_path`"
                }),
            })
        })
    }
}

/// What a repository follows, for messages.
pub fn follows(repo: &RepoSettings) -> String {
    match (&repo.rev, &repo.branch) {
        (Some(rev), _) => format!("the tag or commit `{rev}`"),
        (None, Some(branch)) => format!("the branch `{branch}`"),
        (None, None) => "the default branch".to_owned(),
    }
}

fn install(program: &str) -> String {
    if program.starts_with("ssh") {
        return "install it: apt-get install openssh-client".to_owned();
    }
    "install it: apt-get install git; or remove `transport = \"system\"`, since the agent brings libgit2 along"
        .to_owned()
}

fn without_prefix(said: &str) -> String {
    said.trim_start_matches("fatal: ").trim_start_matches("error: ").to_owned()
}
