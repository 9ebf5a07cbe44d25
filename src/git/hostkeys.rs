//! Host keys: which ones a server offers, what their fingerprints are, and adding one to `known_hosts` on a person's word.
//!
//! `ssh-keyscan` and `ssh-keygen` come with `ssh`, which an ssh repository needs anyway.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::program::{NotRun, Programs};
use crate::config::repos::RepoUrl;
use crate::platform;

/// A key that a server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    /// `ssh-ed25519` …
    pub kind: String,
    /// `SHA256:…`
    pub fingerprint: String,
    /// As `known_hosts` takes it.
    pub line: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    #[error(transparent)]
    NotRun(#[from] NotRun),
    #[error("`{0}` offers no ssh host key; does an ssh server listen there?")]
    None(String),
}

/// How long ssh-keyscan may wait for a server.
const SCAN: Duration = Duration::from_secs(10);

/// Asks a server for its keys; nothing proves yet that it is the right server.
///
/// # Errors
/// When there is no answer.
pub fn offered(programs: &Programs, url: &RepoUrl) -> Result<Vec<HostKey>, ScanError> {
    let programs = programs.afresh();
    let (seconds, port) = (SCAN.as_secs().to_string(), url.port.unwrap_or(22).to_string());
    let scan =
        programs.program("ssh-keyscan", &["-T", &seconds, "-p", &port, "-t", "ed25519,ecdsa,rsa", "--", &url.host]);
    let found = String::from_utf8_lossy(&programs.run(scan)?.stdout).into_owned();
    let mut keys = Vec::new();
    for line in found.lines().filter(|line| !line.starts_with('#')) {
        // host kind base64
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, kind, key] = words[..] else { continue };
        let Some(fingerprint) = fingerprint(&programs, &format!("{kind} {key}")) else { continue };
        let line = format!("{} {kind} {key}", url.known_host());
        keys.push(HostKey { kind: kind.to_owned(), fingerprint, line });
    }
    if keys.is_empty() { Err(ScanError::None(url.known_host())) } else { Ok(keys) }
}

/// The fingerprint of the key at `file:line` of a `known_hosts` file.
pub fn fingerprint_at(programs: &Programs, place: &str) -> Option<String> {
    let (file, line) = place.rsplit_once(':')?;
    let text = std::fs::read_to_string(file).ok()?;
    let entry = text.lines().nth(line.trim().parse::<usize>().ok()?.checked_sub(1)?)?;
    let words: Vec<&str> = entry.split_whitespace().filter(|word| !word.starts_with('@')).collect();
    let [_, kind, key, ..] = words[..] else { return None };
    fingerprint(programs, &format!("{kind} {key}"))
}

/// The fingerprint of a private key, which its file tells without the passphrase.
pub fn fingerprint_of_key(programs: &Programs, key: &Path) -> Option<String> {
    let programs = programs.afresh();
    let ran = programs.run(programs.program("ssh-keygen", &["-l", "-f", &key.display().to_string()])).ok()?;
    sha256_in(&String::from_utf8_lossy(&ran.stdout))
}

/// Says whether the passphrase of the settings opens a private key.
pub fn opens(programs: &Programs, key: &Path) -> bool {
    let programs = programs.afresh();
    let ran = programs.run(programs.program("ssh-keygen", &["-y", "-f", &key.display().to_string()]));
    ran.is_ok_and(|ran| ran.is_ok)
}

fn fingerprint(programs: &Programs, public: &str) -> Option<String> {
    let mut file = tempfile::NamedTempFile::new().ok()?;
    writeln!(file, "{public}").ok()?;
    let programs = programs.afresh();
    let ran = programs.run(programs.program("ssh-keygen", &["-l", "-f", &file.path().display().to_string()])).ok()?;
    sha256_in(&String::from_utf8_lossy(&ran.stdout))
}

fn sha256_in(text: &str) -> Option<String> {
    text.split_whitespace().find(|word| word.starts_with("SHA256:")).map(str::to_owned)
}

/// What [`trust`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trusted {
    Added,
    /// Other keys of the host stood there and are gone.
    Replaced,
    /// It stood there already.
    Known,
}

/// Writes keys to a `known_hosts` file in place of all others of their host.
///
/// # Errors
/// When the file cannot be read or written; it is then as it was.
pub fn trust(file: &Path, keys: &[HostKey]) -> io::Result<Trusted> {
    let before = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let host = keys.first().and_then(|key| key.line.split(' ').next()).unwrap_or_default();
    let is_of_host =
        |line: &&str| line.split_whitespace().next().is_some_and(|hosts| hosts.split(',').any(|one| one == host));
    let old: Vec<&str> = before.lines().filter(is_of_host).collect();
    if !old.is_empty() && keys.iter().all(|key| old.contains(&key.line.as_str())) && old.len() == keys.len() {
        return Ok(Trusted::Known);
    }
    let others = before.lines().filter(|line| !is_of_host(line)).map(str::to_owned);
    let mut text: String = others.chain(keys.iter().map(|key| key.line.clone())).collect::<Vec<_>>().join("\n");
    text.push('\n');
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let mut temporary = file.as_os_str().to_owned();
    temporary.push(".new");
    let mut out = platform::set_mode(std::fs::OpenOptions::new().write(true).create(true).truncate(true), 0o644)
        .open(&temporary)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    std::fs::rename(&temporary, file)?;
    Ok(if old.is_empty() { Trusted::Added } else { Trusted::Replaced })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(line: &str) -> HostKey {
        HostKey { kind: "ssh-ed25519".into(), fingerprint: "SHA256:x".into(), line: line.into() }
    }

    #[test]
    fn a_key_is_added_once_and_replaces_the_old_one_of_its_host() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sub/known_hosts");
        assert_eq!(trust(&file, &[key("h ssh-ed25519 A")]).unwrap(), Trusted::Added);
        assert_eq!(trust(&file, &[key("[h]:22 ssh-ed25519 A")]).unwrap(), Trusted::Added);
        assert_eq!(trust(&file, &[key("h ssh-ed25519 A")]).unwrap(), Trusted::Known);
        assert_eq!(trust(&file, &[key("h ssh-ed25519 B")]).unwrap(), Trusted::Replaced);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "[h]:22 ssh-ed25519 A\nh ssh-ed25519 B\n");
    }
}
