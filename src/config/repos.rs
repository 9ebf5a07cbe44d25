//! `[git_repos]`: where scripts come from besides the local `python.d`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::secret::Secret;
use super::surroundings::{Origin, Surroundings};

/// `[git_repos]`.
#[derive(Debug, Clone, PartialEq)]
pub struct GitRepos {
    /// Time between two pulls; 1 m.
    pub pull_interval: Duration,
    /// The enabled repositories, in the order given.
    pub repos: Vec<RepoSettings>,
    /// `<root>/gitrepos`: one folder for each repository, and the agent's own `known_hosts`.
    pub dir: PathBuf,
    /// What the git program may see of the agent's environment: where programs are, proxies, the ssh agent.
    /// A proxy's URL may hold a password.
    pub env: Vec<(String, Secret)>,
    /// The home directory, for `~/.ssh/known_hosts`.
    pub home: Option<PathBuf>,
}

impl GitRepos {
    /// Says whether the same is written, wherever in the files.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let nowhere = |repos: &Self| {
            let repo = |repo: &RepoSettings| RepoSettings { origin: Origin::default(), ..repo.clone() };
            Self { repos: repos.repos.iter().map(repo).collect(), ..repos.clone() }
        };
        nowhere(self) == nowhere(other)
    }

    /// Gives the settings without a `[git_repos]` table.
    pub fn default_in(root: &Path, around: &Surroundings) -> Self {
        const SEEN: [&str; 13] = [
            "PATH",
            "TMPDIR",
            "SSH_AUTH_SOCK",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "http_proxy",
            "https_proxy",
            "HTTPS_PROXY",
            "all_proxy",
            "ALL_PROXY",
            "no_proxy",
            "NO_PROXY",
            "GIT_EXEC_PATH",
        ];
        let seen = |name: &&str| around.env.get(*name).map(|value| ((*name).to_owned(), Secret::new(value)));
        Self {
            pull_interval: Duration::from_secs(60),
            repos: Vec::new(),
            dir: root.join("gitrepos"),
            env: SEEN.iter().filter_map(seen).collect(),
            home: around.home(),
        }
    }
}

/// One enabled `[[git_repos.repo]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RepoSettings {
    /// Unique; the name of its folder below `gitrepos/`. By default the last part of the URL without its ending.
    pub name: String,
    pub url: RepoUrl,
    /// `None`: the branch that the server names as its own.
    pub branch: Option<String>,
    /// A tag or a full commit id that is used instead of a branch.
    pub rev: Option<String>,
    /// The folder inside the repository that holds `conf.d/` and `python.d/`; without `/` at either end.
    pub subdir: Option<String>,
    /// Commits fetched; 0: all. 50.
    pub depth: u32,
    pub ssh_key: Option<PathBuf>,
    pub ssh_key_password: Option<Secret>,
    /// `None`: the agent's own, the user's and the system's.
    pub known_hosts: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub transport: GitTransport,
    /// For http and https: user and password or token.
    pub login: Option<(String, Secret)>,
    /// All the network work of one pull; 60 s.
    pub timeout: Duration,
    /// Files of a commit; 10 000.
    pub max_files: usize,
    /// Bytes of one file; 16 MiB.
    pub max_file_size: u64,
    /// Bytes of all files of a commit; 256 MiB.
    pub max_size: u64,
    pub origin: Origin,
}

impl RepoSettings {
    /// Gives the repository with every default.
    pub fn plain(name: &str, url: RepoUrl) -> Self {
        Self {
            name: name.to_owned(),
            url,
            branch: None,
            rev: None,
            subdir: None,
            depth: 50,
            ssh_key: None,
            ssh_key_password: None,
            known_hosts: None,
            ca_file: None,
            transport: GitTransport::Libgit2,
            login: None,
            timeout: Duration::from_secs(60),
            max_files: 10_000,
            max_file_size: 16 << 20,
            max_size: 256 << 20,
            origin: Origin::default(),
        }
    }
}

/// Who speaks with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GitTransport {
    /// libgit2, which is part of the agent; its own network is not used.
    Libgit2,
    /// The `git` program of this machine.
    System,
}

/// The exported tree of a repository, with `conf.d/` and `python.d/` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoRoot {
    pub name: String,
    pub dir: PathBuf,
}

/// How a repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
    Ssh,
    /// A directory of this machine.
    File,
}

impl Scheme {
    /// The name under which git allows or forbids it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Ssh => "ssh",
            Self::File => "file",
        }
    }
}

/// A repository's URL, free of secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoUrl {
    text: String,
    pub scheme: Scheme,
    /// Empty for a directory.
    pub host: String,
    pub port: Option<u16>,
    /// Of an ssh URL; `git` where it names none.
    pub user: String,
}

/// The user and password that an http URL carried, as DataKit wants them.
pub type UrlLogin = (String, Option<Secret>);

/// What a repository's URL may look like, for messages.
pub const A_REPO_URL: &str =
    "a URL that starts with https://, http:// or ssh://, like git@host:path, or an absolute path";

impl RepoUrl {
    /// Reads a URL as written; a login in an http URL is split off. `None`: it is none of the known forms.
    pub fn parse(written: &str) -> Option<(Self, Option<UrlLogin>)> {
        let trimmed = written.trim();
        if trimmed.contains(|c: char| c.is_control()) {
            return None;
        }
        if trimmed.starts_with('/') {
            return Some((Self::of_path(trimmed), None));
        }
        if trimmed.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("file://")) {
            return trimmed[7..].starts_with('/').then(|| (Self::of_path(&trimmed[7..]), None));
        }
        // As DataKit does: white space has no place in a URL and is often a slip.
        let text: String = trimmed.chars().filter(|c| !c.is_whitespace()).collect();
        match text.split_once("://") {
            Some((scheme, rest)) => Self::of_url(&scheme.to_ascii_lowercase(), rest),
            None => Self::like_scp(&text).map(|url| (url, None)),
        }
    }

    /// The URL for git and for people; it holds no secret.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `host`, or `[host]:port` where that is not the usual one: how `known_hosts` writes it.
    pub fn known_host(&self) -> String {
        match self.port {
            Some(port) if port != 22 => format!("[{}]:{port}", self.host),
            _ => self.host.clone(),
        }
    }

    /// `host` or `host:port`, as it stands in a URL.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    /// The last part of the path without its last ending, as DataKit names the folder.
    pub fn base_name(&self) -> String {
        let last = self.text.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
        let stem = last.rsplit_once('.').map_or(last, |(stem, _)| stem);
        let tame = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        let name: String = stem.chars().map(tame).collect();
        let name = name.trim_start_matches(['.', '-']);
        if name.is_empty() { "repo".to_owned() } else { name.to_owned() }
    }

    /// The path of an ssh URL as the server's shell is to see it, or of a directory.
    pub fn path(&self) -> Option<String> {
        match self.scheme {
            Scheme::File => Some(self.text.clone()),
            Scheme::Http | Scheme::Https => None,
            Scheme::Ssh => match self.text.split_once("://") {
                Some((_, rest)) => {
                    let path = decoded(&rest[rest.find('/')?..])?;
                    // A home directory, as git has it.
                    Some(path.strip_prefix('/').filter(|path| path.starts_with('~')).unwrap_or(&path).to_owned())
                }
                None => self.text.split_once(':').map(|(_, path)| path.to_owned()),
            },
        }
    }

    fn of_path(path: &str) -> Self {
        Self { text: path.to_owned(), scheme: Scheme::File, host: String::new(), port: None, user: String::new() }
    }

    fn of_url(scheme: &str, rest: &str) -> Option<(Self, Option<UrlLogin>)> {
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "ssh" | "git+ssh" | "ssh+git" => Scheme::Ssh,
            _ => return None,
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if !path.starts_with('/') || path.trim_matches('/').is_empty() {
            return None;
        }
        let (login, place) =
            authority.rsplit_once('@').map_or((None, authority), |(login, place)| (Some(login), place));
        let (host, port) = host_and_port(place)?;
        let (user, password) = login.map_or(("", None), |login| match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        });
        let user = decoded(user)?;
        let is_sound = |word: &str| !word.starts_with('-') && !word.contains(char::is_control);
        if !is_sound(&user) {
            return None;
        }
        let shown_port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let shown_host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        // git would put its own arguments behind them; what is written so is often a token, which would be shown.
        if scheme != Scheme::Ssh && path.contains(['?', '#']) {
            return None;
        }
        if scheme == Scheme::Ssh {
            let user = if user.is_empty() { "git".to_owned() } else { user };
            let text = format!("ssh://{user}@{shown_host}{shown_port}{path}");
            return Some((Self { text, scheme, host, port, user }, None));
        }
        let text = format!("{}://{shown_host}{shown_port}{path}", scheme.as_str());
        let password = match password {
            Some(password) => Some(Secret::new(decoded(password)?)),
            None => None,
        };
        let login = (!user.is_empty() || password.is_some()).then_some((user, password));
        Some((Self { text, scheme, host, port, user: String::new() }, login))
    }

    /// `git@host:path`.
    fn like_scp(text: &str) -> Option<Self> {
        let (place, path) = text.split_once(':')?;
        let (user, host) = place.split_once('@')?;
        let is_word = |word: &str| !word.is_empty() && !word.starts_with('-') && !word.contains(['/', '@']);
        let is_sound = is_word(user) && is_word(host) && !path.is_empty();
        is_sound.then(|| Self {
            text: text.to_owned(),
            scheme: Scheme::Ssh,
            host: host.to_owned(),
            port: None,
            user: user.to_owned(),
        })
    }
}

fn host_and_port(place: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        (host, rest.strip_prefix(':'))
    } else {
        place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)))
    };
    let port = match port {
        None | Some("") => None,
        Some(port) => Some(port.parse().ok().filter(|port| *port > 0)?),
    };
    let is_host = !host.is_empty() && !host.starts_with('-') && !host.contains(['@', '\\', '"', '\'', '%', ' ']);
    is_host.then(|| (host.to_owned(), port))
}

/// Text with `%XX` as its bytes; `None` when they are no UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).expect("two hex digits fit a byte"));
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(written: &str) -> Option<String> {
        RepoUrl::parse(written).map(|(url, _)| url.as_str().to_owned())
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(shown(" https://git.example/a b/c.git\n"), Some("https://git.example/ab/c.git".into()));
        assert_eq!(shown("HTTP://h:8080/c"), Some("http://h:8080/c".into()));
        assert_eq!(shown("ssh://h/c.git"), Some("ssh://git@h/c.git".into()));
        assert_eq!(shown("ssh://me:x@[::1]:2222/c.git"), Some("ssh://me@[::1]:2222/c.git".into()));
        assert_eq!(shown("git@h:ops/c.git"), Some("git@h:ops/c.git".into()));
        assert_eq!(shown("file:///srv/my repo"), Some("/srv/my repo".into()));
        assert_eq!(shown("/srv/c.git"), Some("/srv/c.git".into()));
    }

    #[test]
    fn what_is_no_repository_url_is_refused() {
        for text in [
            "",
            "h",
            "h:c",
            "git://h/c",
            "ftp://h/c",
            "https://",
            "https://h",
            "https://h/",
            "ssh://-oX=y/c",
            "git@-oX:c",
            "-u@h:c",
            "ext::sh -c x",
            "https://h:0/c",
            "https://h:99999/c",
            "file://x",
            "https:///c",
            "https://%ff@h/c",
            "ssh://-l@h/c",
            "a@b",
            "https://h/c.git?private_token=s3cret",
            "https://h/c.git#s3cret",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn a_login_in_the_url_is_split_off_and_decoded() {
        let (url, login) = RepoUrl::parse("https://ci:a%23b%40c:d@h/c.git").unwrap();
        let (user, password) = login.unwrap();
        assert_eq!((url.as_str(), user.as_str()), ("https://h/c.git", "ci"));
        assert_eq!(password.unwrap().expose(), "a#b@c:d");
        assert!(RepoUrl::parse("https://h/c.git").unwrap().1.is_none());
    }

    #[test]
    fn a_folder_is_named_as_datakit_names_it() {
        let name = |text| RepoUrl::parse(text).unwrap().0.base_name();
        assert_eq!(name("https://h/x/conf.git"), "conf");
        assert_eq!(name("git@h:conf.git"), "conf");
        assert_eq!(name("https://h/a.b"), "a");
        assert_eq!(name("/srv/conf/"), "conf");
        assert_eq!(name("/srv/ö ö.git"), "repo");
    }

    #[test]
    fn an_ssh_server_is_asked_for_the_path_as_git_asks() {
        let path = |text| RepoUrl::parse(text).unwrap().0.path();
        assert_eq!(path("git@h:ops/c.git").as_deref(), Some("ops/c.git"));
        assert_eq!(path("ssh://h:2222/srv/my%20repo.git").as_deref(), Some("/srv/my repo.git"));
        assert_eq!(path("ssh://h/~ops/c.git").as_deref(), Some("~ops/c.git"));
        assert_eq!(path("/srv/c.git").as_deref(), Some("/srv/c.git"));
        assert_eq!(path("https://h/c.git"), None);
    }

    #[test]
    fn an_unusual_port_stands_in_brackets_for_known_hosts() {
        let host = |text| RepoUrl::parse(text).unwrap().0.known_host();
        assert_eq!(host("git@h:c"), "h");
        assert_eq!(host("ssh://h:22/c"), "h");
        assert_eq!(host("ssh://h:2222/c"), "[h]:2222");
    }
}
