//! How ssh is called: strict about host keys, never asking, with one key, and with the files that name the known hosts.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::Secret;
use crate::config::repos::{GitRepos, RepoSettings};
use crate::platform;

const SYSTEM_KNOWN_HOSTS: &str = "/etc/ssh/ssh_known_hosts";

/// The files in which host keys are looked up, in order; `pythond git trust` writes to the first.
pub fn known_hosts(repos: &GitRepos, repo: &RepoSettings) -> Vec<PathBuf> {
    let mut files = match &repo.known_hosts {
        Some(file) => vec![file.clone()],
        None => vec![repos.dir.join("known_hosts")],
    };
    if repo.known_hosts.is_none() {
        files.extend(repos.home.as_ref().map(|home| home.join(".ssh/known_hosts")));
    }
    files.push(PathBuf::from(SYSTEM_KNOWN_HOSTS));
    files
}

/// What ssh is told, as `NAME=VALUE`. Options on the command line win over those in the settings of ssh, which may name a proxy.
fn options(repos: &GitRepos, repo: &RepoSettings) -> Vec<String> {
    let files: Vec<String> = known_hosts(repos, repo).iter().map(|file| in_option(file)).collect();
    let mut options = vec![
        "StrictHostKeyChecking=yes".to_owned(),
        format!("UserKnownHostsFile={}", files.join(" ")),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        "UpdateHostKeys=no".to_owned(),
        "VerifyHostKeyDNS=no".to_owned(),
        "CheckHostIP=no".to_owned(),
        "PreferredAuthentications=publickey".to_owned(),
        "PasswordAuthentication=no".to_owned(),
        "KbdInteractiveAuthentication=no".to_owned(),
        "NumberOfPasswordPrompts=1".to_owned(),
        "ConnectionAttempts=1".to_owned(),
        "ForwardAgent=no".to_owned(),
        "PermitLocalCommand=no".to_owned(),
        "ControlPath=none".to_owned(),
        "ServerAliveInterval=15".to_owned(),
        "LogLevel=INFO".to_owned(),
    ];
    // With a passphrase ssh must be allowed to ask, which it does of `askpass` and of nobody else.
    let batch = if repo.ssh_key_password.is_some() { "no" } else { "yes" };
    options.push(format!("BatchMode={batch}"));
    if let Some(key) = &repo.ssh_key {
        options.push("IdentitiesOnly=yes".to_owned());
        options.push(format!("IdentityFile={}", in_option(key)));
    }
    options
}

/// The words behind `ssh` that have the server hand out a repository.
pub fn upload_pack(repos: &GitRepos, repo: &RepoSettings) -> Vec<String> {
    let mut words: Vec<String> =
        options(repos, repo).into_iter().flat_map(|option| ["-o".to_owned(), option]).collect();
    if let Some(port) = repo.url.port {
        words.extend(["-p".to_owned(), port.to_string()]);
    }
    words.push(format!("{}@{}", repo.url.user, repo.url.host));
    words.push(format!("git-upload-pack {}", for_shell(&repo.url.path().unwrap_or_default())));
    words
}

/// The ssh command for the `git` program, which hands it to a shell.
pub fn shell_command(repos: &GitRepos, repo: &RepoSettings) -> String {
    let words = options(repos, repo).into_iter().map(|option| format!("-o {}", for_shell(&option)));
    format!("ssh {}", words.collect::<Vec<_>>().join(" "))
}

/// A path as an option of ssh: quoted, and `%` is no token.
fn in_option(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%").replace('"', "\\\""))
}

fn for_shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The environment in which ssh asks the script of [`write_askpass`] for the passphrase of the key.
pub fn askpass_env(dir: &Path, password: &Secret) -> [(String, String); 4] {
    [
        ("SSH_ASKPASS", dir.join("askpass").display().to_string()),
        ("SSH_ASKPASS_REQUIRE", "force".to_owned()),
        // Before OpenSSH 8.4 the script was asked only where there is a display.
        ("DISPLAY", ":".to_owned()),
        ("PYTHOND_GIT_PASSPHRASE", password.expose().to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

/// Writes the script that hands the passphrase on from the environment; it holds no secret itself.
pub fn write_askpass(dir: &Path) -> io::Result<()> {
    let path = dir.join("askpass");
    let temporary = dir.join("askpass.new");
    {
        let mut file = platform::set_mode(std::fs::OpenOptions::new().write(true).create(true).truncate(true), 0o700)
            .open(&temporary)?;
        io::Write::write_all(&mut file, b"#!/bin/sh\nprintf '%s\\n' \"$PYTHOND_GIT_PASSPHRASE\"\n")?;
    }
    platform::allow_program_only_to_owner(&temporary)?;
    std::fs::rename(&temporary, &path)
}

/// Why a private key cannot be used; found before ssh is asked, whose words do not tell.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("the ssh key `{path}` cannot be read: {why}")]
    Unreadable { path: String, why: String },
    #[error("the ssh key `{path}` can be read by others (mode {mode:03o}), and ssh refuses such a key")]
    TooOpen { path: String, mode: u32 },
    #[error("the ssh key `{path}` is encrypted")]
    Encrypted { path: String },
    #[error("`{path}` is no private ssh key")]
    NoKey { path: String },
}

/// Looks at the key file of a repository.
///
/// # Errors
/// What stands in its way.
pub fn check_key(path: &Path, has_password: bool) -> Result<(), KeyFault> {
    let shown = path.display().to_string();
    let unreadable = |error: io::Error| KeyFault::Unreadable { path: shown.clone(), why: error.to_string() };
    let text = std::fs::read(path).map_err(unreadable)?;
    let meta = std::fs::metadata(path).map_err(unreadable)?;
    // As ssh does: a key of somebody else, such as one of root's that the group may read, is taken as it is.
    if let Some(mode) = platform::mode_if_ours_is_open(&meta) {
        return Err(KeyFault::TooOpen { path: shown, mode });
    }
    match is_encrypted(&String::from_utf8_lossy(&text)) {
        None => Err(KeyFault::NoKey { path: shown }),
        Some(true) if !has_password => Err(KeyFault::Encrypted { path: shown }),
        Some(_) => Ok(()),
    }
}

/// Says whether a private key is encrypted; `None`: it is none.
///
/// OpenSSH's own form names the cipher behind its magic bytes (PROTOCOL.key); the older ones say `ENCRYPTED` in their header.
fn is_encrypted(text: &str) -> Option<bool> {
    let body = text.split_once("-----BEGIN ")?.1;
    let (kind, body) = body.split_once("PRIVATE KEY-----")?;
    if kind.trim() == "OPENSSH" {
        // `openssh-key-v1\0`, a length of four bytes, `none`: in base64 the first 32 characters tell.
        let start: String = body.chars().filter(|c| !c.is_whitespace()).take(32).collect();
        return Some(!start.starts_with("b3BlbnNzaC1rZXktdjEAAAAABG5vbmU"));
    }
    Some(kind.contains("ENCRYPTED") || body.contains("ENCRYPTED"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::repos::RepoUrl;
    use crate::config::{GitRepos, RepoSettings, Surroundings};

    fn settings() -> (GitRepos, RepoSettings) {
        let around =
            Surroundings { env: [("HOME".to_owned(), "/home/it's me".to_owned())].into(), hostname: "h".to_owned() };
        let repos = GitRepos::default_in(Path::new("/srv/py thon%d"), &around);
        (repos, RepoSettings::plain("c", RepoUrl::parse("git@h:c").unwrap().0))
    }

    #[test]
    fn odd_paths_reach_ssh_whole() {
        let (repos, mut repo) = settings();
        repo.ssh_key = Some("/etc/k%y".into());
        let command = shell_command(&repos, &repo);
        assert!(command.contains("IdentityFile=\"/etc/k%%y\""), "{command}");
        assert!(
            command.contains("\"/srv/py thon%%d/gitrepos/known_hosts\" \"/home/it'\\''s me/.ssh/known_hosts\""),
            "{command}"
        );
        assert!(command.contains("StrictHostKeyChecking=yes") && command.contains("BatchMode=yes"), "{command}");
    }

    #[test]
    fn the_server_is_asked_for_one_path_whatever_stands_in_it() {
        let (repos, _) = settings();
        let words = |url: &str| {
            let words = upload_pack(&repos, &RepoSettings::plain("c", RepoUrl::parse(url).unwrap().0));
            let options = words.iter().rposition(|word| word == "-o").unwrap();
            words[options + 2..].join(" ")
        };
        assert_eq!(words("git@h:it's;rm"), "git@h git-upload-pack 'it'\\''s;rm'");
        assert_eq!(words("ssh://me@h:2222/c.git"), "-p 2222 me@h git-upload-pack '/c.git'");
    }

    #[test]
    fn a_file_of_known_hosts_replaces_the_agents_and_the_users() {
        let (repos, mut repo) = settings();
        repo.known_hosts = Some("/etc/pythond/known_hosts".into());
        let files = known_hosts(&repos, &repo);
        assert_eq!(files, [Path::new("/etc/pythond/known_hosts"), Path::new(SYSTEM_KNOWN_HOSTS)]);
    }

    #[test]
    fn encryption_is_told_from_the_header() {
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n";
        assert_eq!(is_encrypted(old), Some(true));
        assert_eq!(is_encrypted("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII"), Some(true));
        assert_eq!(is_encrypted("-----BEGIN RSA PRIVATE KEY-----\nMII"), Some(false));
        assert_eq!(is_encrypted("ssh-ed25519 AAAA"), None);
    }
}
