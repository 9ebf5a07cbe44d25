//! What git and ssh said, as one kind of trouble; pure, with the words of several versions in its tests.

/// Why git could not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitError {
    HostKeyUnknown,
    /// The fingerprint that was offered, and `file:line` of the key that is known, where ssh told them.
    HostKeyChanged {
        offered: Option<String>,
        known_at: Option<String>,
    },
    /// The server refused the key, password or token.
    LoginRefused,
    /// The server wants a login and there is none.
    LoginMissing,
    /// ssh could not use the private key.
    Key(String),
    NoRepository,
    NoSuchRef,
    /// Something answered, but not a git server.
    NoGitServer,
    Certificate(String),
    Unreachable(String),
    /// An http status that is none of the others.
    Status(u16),
    /// The store on this machine is damaged.
    Corrupt(String),
    DiskFull,
    Other(String),
}

/// Judges what a failed program wrote to stderr.
pub fn judge(stderr: &str) -> GitError {
    let lines: Vec<String> = stderr.lines().map(tame).filter(|line| !line.is_empty()).collect();
    let has = |part: &str| lines.iter().any(|line| line.contains(part));
    // What the other side says may hold any words.
    let own: Vec<&String> = lines.iter().filter(|line| !line.starts_with("remote:")).collect();
    let own_with = |parts: &[&str]| own.iter().find(|line| parts.iter().any(|part| line.contains(part)));
    let said = || most_telling(&lines);

    if own_with(&["No space left on device", "Disk quota exceeded", "Out of diskspace"]).is_some() {
        return GitError::DiskFull;
    }
    if own_with(&["REMOTE HOST IDENTIFICATION HAS CHANGED", "and you have requested strict checking"]).is_some()
        || own_with(&["Host key verification failed"]).is_some()
    {
        return host_key(&lines);
    }
    if let Some(line) = own_with(&["Load key", "incorrect passphrase", "invalid format", "UNPROTECTED PRIVATE KEY"]) {
        return GitError::Key((*line).clone());
    }
    if has("Permission denied (") || has("Too many authentication failures") || has("Authentication failed for") {
        return GitError::LoginRefused;
    }
    if has("could not read Username") || has("could not read Password") || has("terminal prompts disabled") {
        return GitError::LoginMissing;
    }
    if let Some(line) = own_with(CERTIFICATE) {
        return GitError::Certificate((*line).clone());
    }
    if let Some(line) = own_with(UNREACHABLE) {
        return GitError::Unreachable((*line).clone());
    }
    if let Some(status) = lines.iter().find_map(|line| http_status(line)) {
        return match status {
            401 => GitError::LoginMissing,
            403 => GitError::LoginRefused,
            404 | 410 => GitError::NoRepository,
            status => GitError::Status(status),
        };
    }
    if own_with(&["couldn't find remote ref", "not our ref", "no such ref", "unadvertised object"]).is_some()
        || has("upload-pack: not our ref")
    {
        return GitError::NoSuchRef;
    }
    if own_with(NO_GIT_SERVER).is_some() {
        return GitError::NoGitServer;
    }
    if has("does not appear to be a git repository") || has("Repository not found") || own_with(NO_REPOSITORY).is_some()
    {
        return GitError::NoRepository;
    }
    if own_with(CORRUPT).is_some() {
        return GitError::Corrupt(said());
    }
    GitError::Other(said())
}

const CERTIFICATE: &[&str] = &[
    "certificate verification failed",
    "SSL certificate problem",
    "SSL: no alternative certificate subject name",
    "certificate subject name",
    "SSL peer certificate",
    "gnutls_handshake() failed",
    "SSL_ERROR",
    "error setting certificate",
    "certificate verify locations",
];

const UNREACHABLE: &[&str] = &[
    "Could not resolve",
    "Couldn't resolve",
    "Failed to connect",
    "Couldn't connect to server",
    "Connection refused",
    "Connection timed out",
    "Connection reset",
    "Connection closed by",
    "No route to host",
    "Network is unreachable",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Operation timed out",
    "Operation too slow",
    "Empty reply from server",
    "Recv failure",
    "Send failure",
    "transfer closed with",
    "the remote end hung up unexpectedly",
    "early EOF",
    "RPC failed; curl",
    "kex_exchange_identification",
];

const NO_GIT_SERVER: &[&str] = &[
    "not valid: is this a git repository",
    "invalid content-type",
    "unable to update url base",
    "invalid server response",
];

const NO_REPOSITORY: &[&str] =
    &["' not found", "does not exist", "Could not read from remote repository", "detected dubious ownership"];

const CORRUPT: &[&str] = &[
    // Whatever is said of a file in there.
    "store.git/objects/",
    "corrupt",
    "not a git repository",
    "bad object",
    "bad config",
    "config value",
    "Expected git repo version",
    "unknown repository extension",
    "bad ref",
    "bad signature",
    "object file",
    "inflate:",
    "missing blob",
    "missing tree",
    "packfile",
    "unable to read",
    "unable to find",
    "could not parse",
    "Could not read ",
    "revision walk setup failed",
    "Failed to traverse parents",
    "not a valid object",
    "invalid sha1 pointer",
    "unresolved deltas",
    "did not send all necessary objects",
    "shallow file",
    "bad shallow",
    "cannot lock ref",
    "reference broken",
];

fn host_key(lines: &[String]) -> GitError {
    if !lines
        .iter()
        .any(|line| line.contains("IDENTIFICATION HAS CHANGED") || line.contains("has changed and you have"))
    {
        return GitError::HostKeyUnknown;
    }
    let word = |line: &String| line.split_whitespace().find(|word| word.starts_with("SHA256:")).map(str::to_owned);
    let offered = lines.iter().find_map(word).map(|found| found.trim_end_matches('.').to_owned());
    let known_at =
        lines.iter().find_map(|line| line.split_once("Offending ")?.1.split_once(" key in ").map(|(_, at)| at));
    GitError::HostKeyChanged { offered, known_at: known_at.map(str::to_owned) }
}

fn http_status(line: &str) -> Option<u16> {
    let rest = line.split_once("returned error: ")?.1;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The line that tells most: the last one of git itself, else the last one.
fn most_telling(lines: &[String]) -> String {
    let of_git = |line: &&String| line.starts_with("fatal:") || line.starts_with("error:");
    let line = lines.iter().find(of_git).or(lines.last());
    line.map_or_else(
        || "git said nothing".to_owned(),
        |line| line.trim_start_matches("fatal: ").trim_start_matches("error: ").to_owned(),
    )
}

/// Foreign text on one line without anything that a terminal would obey.
pub fn tame(text: &str) -> String {
    const LONGEST: usize = 300;
    let visible = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let tamed: String = visible.filter(|c| !is_invisible(*c)).take(LONGEST).collect();
    tamed.trim().to_owned()
}

/// What changes the direction of a text or hides in it.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_own_trouble() {
        let cases: &[(&str, GitError)] = &[
            (
                "No ED25519 host key is known for [127.0.0.1]:2222 and you have requested strict checking.\r\nHost key verification failed.\r\nfatal: Could not read from remote repository.\n",
                GitError::HostKeyUnknown,
            ),
            (
                "git@h: Permission denied (publickey).\r\nfatal: Could not read from remote repository.",
                GitError::LoginRefused,
            ),
            ("fatal: Authentication failed for 'https://h/c.git/'", GitError::LoginRefused),
            ("fatal: unable to access 'https://h/c/': The requested URL returned error: 403", GitError::LoginRefused),
            ("fatal: could not read Username for 'https://h': terminal prompts disabled", GitError::LoginMissing),
            ("fatal: repository 'https://h/nope.git/' not found", GitError::NoRepository),
            (
                "fatal: '/nope.git' does not appear to be a git repository\nfatal: Could not read",
                GitError::NoRepository,
            ),
            ("ERROR: Repository not found.\nfatal: Could not read from remote repository.", GitError::NoRepository),
            ("fatal: https://h/info/refs not valid: is this a git repository?", GitError::NoGitServer),
            ("fatal: couldn't find remote ref refs/heads/x", GitError::NoSuchRef),
            ("fatal: unable to access 'https://h/': The requested URL returned error: 503", GitError::Status(503)),
            (
                "error: file write error: No space left on device\nfatal: fetch-pack: invalid index-pack output",
                GitError::DiskFull,
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(judge(text), *expected, "{text}");
        }
    }

    #[test]
    fn several_words_mean_the_same_trouble() {
        for text in [
            "fatal: unable to access 'https://h/': server certificate verification failed. CAfile: none CRLfile: none",
            "fatal: unable to access 'https://h/': SSL certificate problem: self-signed certificate",
        ] {
            assert!(matches!(judge(text), GitError::Certificate(_)), "{text}");
        }
        for text in [
            "fatal: unable to access 'https://h/': Could not resolve host: h",
            "fatal: unable to access 'https://h/': Failed to connect to h port 1 after 0 ms: Couldn't connect to server",
            "ssh: connect to host h port 22: Connection refused\r\nfatal: Could not read from remote repository.",
            "ssh: Could not resolve hostname h: Name or service not known",
            "error: RPC failed; curl 56 GnuTLS recv error (-110): The TLS connection was non-properly terminated.\nfatal: early",
        ] {
            assert!(matches!(judge(text), GitError::Unreachable(_)), "{text}");
        }
        for text in [
            "error: object file x is empty\nfatal: bad object HEAD",
            "fatal: not a git repository: '/x/store.git'",
            "error: inflate: data stream error (incorrect data check)\nfatal: something else",
        ] {
            assert!(matches!(judge(text), GitError::Corrupt(_)), "{text}");
        }
    }

    #[test]
    fn a_changed_host_key_tells_both_places() {
        let text = "@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@\nThe fingerprint for the ED25519 key sent by the remote host is\nSHA256:abc.\nPlease contact your system administrator.\nOffending ED25519 key in /etc/known_hosts:3\nHost key for h has changed and you have requested strict checking.\nHost key verification failed.\n";
        let changed = GitError::HostKeyChanged {
            offered: Some("SHA256:abc".to_owned()),
            known_at: Some("/etc/known_hosts:3".to_owned()),
        };
        assert_eq!(judge(text), changed);
    }

    #[test]
    fn what_the_server_says_is_not_taken_for_damage_here() {
        let text = "remote: fatal: packfile corrupt\nfatal: something else";
        assert_eq!(judge(text), GitError::Other("something else".to_owned()));
    }

    #[test]
    fn foreign_text_cannot_steer_a_terminal() {
        assert_eq!(tame("\u{1b}[2Jevil\u{202e}\r\n"), "[2Jevil");
        assert_eq!(tame(&"x".repeat(1000)).len(), 300);
    }
}
