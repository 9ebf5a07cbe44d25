//! `[git_repos]`: DataKit's keys and ours.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::values::{DAY, certificates};
use crate::code::Code;
use crate::config::raw::{Node, Span, TableEntry, as_list};
use crate::config::repos::{A_REPO_URL, GitRepos, GitTransport, RepoSettings, RepoUrl, Scheme, UrlLogin};
use crate::config::secret::Secret;
use crate::config::section::{
    self, Located, ReadContext, Section, TakenValue, because, because_with_help, duration, filled_text, must_be,
    number, secret, size, word, yes_or_no,
};

/// The user name that goes with a token where none is given; GitHub and GitLab take any, some want this one.
const TOKEN_USER: &str = "oauth2";
const TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// Reads the table; a repository with a fault, or one that is not enabled, is left out.
pub fn read(table: Option<Section>, reading: &mut ReadContext<'_>) -> GitRepos {
    let mut repos = GitRepos::default_in(reading.root, reading.around);
    let Some(mut table) = table else {
        return repos;
    };
    table.set(reading, "pull_interval", duration(Duration::from_secs(1)..=DAY), &mut repos.pull_interval);
    let mut names: BTreeMap<String, Span> = BTreeMap::new();
    if let Some(TableEntry { node, .. }) = table.take("repo") {
        let mut read: Vec<(RepoSettings, Option<Span>)> = Vec::new();
        for node in as_list(node.value, node.span) {
            if let Some(section) = Section::open("[[git_repos.repo]]", node, reading)
                && let Some(repo) = repo(section, reading, &mut names)
            {
                read.push(repo);
            }
        }
        repos.repos = named(read, &names, reading);
    }
    table.finish(reading);
    repos
}

/// Gives a name to those that have none of their own; the second of two repositories called `conf` is `conf-2`.
fn named(
    read: Vec<(RepoSettings, Option<Span>)>,
    given: &BTreeMap<String, Span>,
    reading: &mut ReadContext<'_>,
) -> Vec<RepoSettings> {
    let mut taken: Vec<String> = given.keys().cloned().collect();
    let mut repos: Vec<RepoSettings> = Vec::new();
    for (mut repo, name_span) in read {
        let key = |repo: &RepoSettings| {
            (repo.url.as_str().to_owned(), repo.branch.clone(), repo.rev.clone(), repo.subdir.clone())
        };
        if let Some(first) = repos.iter().find(|first| key(first) == key(&repo)) {
            let message = format!(
                "the repository `{}` is given twice, the second time in line {}",
                repo.url.as_str(),
                repo.origin.line
            );
            reading.faults.push(crate::diagnostic::Diagnostic::error(Code::GivenTwice, message).at(
                crate::diagnostic::SourcePlace {
                    file: first.origin.file.clone(),
                    line: first.origin.line,
                    column: first.origin.column,
                    width: 1,
                    source: "[[git_repos.repo]]".to_owned(),
                    label: "first given here".to_owned(),
                },
            ));
        }
        if name_span.is_none() {
            let base = repo.url.base_name();
            let mut name = base.clone();
            let mut number = 2;
            while taken.contains(&name) {
                name = format!("{base}-{number}");
                number += 1;
            }
            taken.push(name.clone());
            repo.name = name;
        }
        repos.push(repo);
    }
    repos
}

fn repo(
    mut table: Section,
    reading: &mut ReadContext<'_>,
    names: &mut BTreeMap<String, Span>,
) -> Option<(RepoSettings, Option<Span>)> {
    let faults_before = reading.faults.len();
    let origin = table.origin(reading);
    let enable = table.read(reading, "enable", yes_or_no).map(|at| at.value);
    let is_enabled = enable == Some(true);
    let url = url(&mut table, reading, is_enabled);
    let mut repo =
        RepoSettings { origin, ..RepoSettings::plain("", url.as_ref().map_or_else(some_url, |at| at.value.0.clone())) };
    let name = table.read(reading, "name", name);
    repo.branch = optional(table.read(reading, "branch", reference));
    let rev = table.read(reading, "rev", reference);
    repo.subdir = optional(table.read(reading, "subdir", subdir));
    table.set(reading, "depth", number(0..=1_000_000), &mut repo.depth);
    repo.ssh_key = optional(table.read(reading, "ssh_private_key_path", optional_path));
    repo.ssh_key_password = optional(table.read(reading, "ssh_private_key_password", optional_secret));
    repo.known_hosts = optional(table.read(reading, "known_hosts", optional_path));
    let ca_file = if is_enabled {
        table.read(reading, "ca_file", certificates)
    } else {
        table.take("ca_file");
        None
    };
    let transports = word(&[("libgit2", GitTransport::Libgit2), ("system", GitTransport::System)]);
    table.set(reading, "transport", transports, &mut repo.transport);
    let username = table.read(reading, "username", section::text_with_secrets);
    let password = table.read(reading, "password", secret);
    let token = table.read(reading, "token", secret);
    table.set(reading, "timeout", duration(TIMEOUT), &mut repo.timeout);
    table.set(reading, "max_files", number(1..=10_000_000), &mut repo.max_files);
    table.set(reading, "max_file_size", size(1..=1 << 40), &mut repo.max_file_size);
    table.set(reading, "max_size", size(1..=1 << 40), &mut repo.max_size);
    let span = table.span();
    table.finish(reading);
    check_rev(repo.branch.as_deref(), rev.as_ref(), reading);
    repo.rev = optional(rev);
    let in_url = url.as_ref().and_then(|at| at.value.1.clone());
    repo.login = login(in_url, username, password, token, reading);
    if let (Some(ca_file), true) = (&ca_file, repo.url.scheme != Scheme::Https) {
        reading.fault(Code::WrongValue, ca_file.span, "`ca_file` has a meaning for https:// only; it must go");
    }
    repo.ca_file = ca_file.map(|at| at.value);
    let name_span = name.as_ref().map(|at| at.span);
    if let Some(Located { value, span }) = name {
        if is_enabled {
            check_unique(&value, span, names, reading);
        }
        repo.name = value;
    }
    if enable.is_none() && url.is_some() {
        let message = "this repository is not used, since `enable` is missing";
        reading.warn(Code::MissingKey, span, message, "add `enable = true`");
    }
    (is_enabled && url.is_some() && reading.faults.len() == faults_before).then_some((repo, name_span))
}

fn check_rev(branch: Option<&str>, rev: Option<&Located<Option<String>>>, reading: &mut ReadContext<'_>) {
    if let (Some(branch), Some(rev)) = (branch, rev)
        && rev.value.is_some()
    {
        let message = format!("`rev` is given besides `branch = \"{branch}\"`; remove one of them");
        reading.fault(Code::WrongValue, rev.span, message);
    }
}

fn check_unique(name: &str, span: Span, names: &mut BTreeMap<String, Span>, reading: &mut ReadContext<'_>) {
    match names.get(name) {
        Some(first) => reading.twice(&format!("name = \"{name}\""), *first, span),
        None => {
            names.insert(name.to_owned(), span);
        }
    }
}

fn some_url() -> RepoUrl {
    RepoUrl::parse("/").expect("a path is a repository URL").0
}

fn optional<T>(at: Option<Located<Option<T>>>) -> Option<T> {
    at.and_then(|at| at.value)
}

/// A disabled repository may have an empty one, as in DataKit's sample.
fn url(
    table: &mut Section,
    reading: &mut ReadContext<'_>,
    enabled: bool,
) -> Option<Located<(RepoUrl, Option<UrlLogin>)>> {
    let parse = |node: &Node, reading: &mut ReadContext<'_>| {
        let text = section::text_with_secrets(node, reading)?;
        if text.trim().is_empty() && !enabled {
            return Ok(None);
        }
        if text.trim().to_ascii_lowercase().starts_with("git://") {
            let message = "`url` starts with git://, which neither encrypts nor names the server";
            return because_with_help(Code::WrongValue, message, "use https:// or ssh://");
        }
        let text = match text.trim().strip_prefix("~/") {
            Some(_) => reading.path_below(reading.root, text.trim()).display().to_string(),
            None => text,
        };
        RepoUrl::parse(&text).map_or_else(|| must_be(A_REPO_URL), |url| Ok(Some(url)))
    };
    let at = if enabled {
        table.require(reading, "url", "\"https://git.example.com/ops/collectors.git\"", parse)?
    } else {
        table.read(reading, "url", parse)?
    };
    let (url, login) = at.value?;
    if enabled && login.as_ref().is_some_and(|(_, password)| password.is_some()) {
        let help = "use `username` and `password = \"${file:/etc/pythond/git.password}\"`";
        reading.warn(Code::ExposedSecret, at.span, "`url` holds a password", help);
    }
    if enabled && url.scheme == Scheme::Http {
        let message = "`url` starts with http://: whoever sits between can read and change the scripts";
        reading.warn(Code::ExposedSecret, at.span, message, "use https:// or ssh://");
    }
    Some(Located { value: (url, login), span: at.span })
}

fn login(
    in_url: Option<UrlLogin>,
    username: Option<Located<String>>,
    password: Option<Located<Secret>>,
    token: Option<Located<Secret>>,
    reading: &mut ReadContext<'_>,
) -> Option<(String, Secret)> {
    let (url_user, url_password) = in_url.map_or((None, None), |(user, password)| (Some(user), password));
    if let (Some(password), Some(_)) = (&password, &token) {
        reading.fault(Code::WrongValue, password.span, "`password` is given besides `token`; remove one of them");
    }
    let is_token = token.is_some();
    let user = username.as_ref().map(|at| at.value.clone()).or(url_user).filter(|user| !user.trim().is_empty());
    let secret = token.or(password).map(|at| at.value).or(url_password);
    match (user, secret) {
        (user, Some(secret)) if is_token => Some((user.unwrap_or_else(|| TOKEN_USER.to_owned()), secret)),
        (Some(user), Some(secret)) => Some((user, secret)),
        (None, Some(secret)) => Some((TOKEN_USER.to_owned(), secret)),
        (Some(user), None) => {
            if let Some(username) = username {
                reading.fault(Code::MissingKey, username.span, "`username` is given without `password` or `token`");
                None
            } else {
                // `https://TOKEN@host/…`: the token stands where the user should.
                Some((user, Secret::new("")))
            }
        }
        (None, None) => None,
    }
}

/// A branch, a tag or a commit; empty is as good as absent.
fn reference(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<Option<String>> {
    let text = section::text(node, reading)?;
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c);
    let is_sound =
        !text.starts_with(['-', '/']) && !text.ends_with(['/', '.']) && !text.contains("..") && !text.contains("@{");
    if is_sound && !text.contains(is_odd) {
        Ok(Some(text.to_owned()))
    } else {
        must_be("the name of a branch, a tag or a commit")
    }
}

fn name(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<String> {
    let text = filled_text(node, reading)?;
    let is_tame = text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if is_tame && !text.starts_with(['.', '-']) && text.len() <= 100 && text != "known_hosts" {
        Ok(text)
    } else {
        must_be("a name of letters, digits, `.`, `_` and `-`, since a folder is named after it")
    }
}

fn subdir(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<Option<String>> {
    let text = section::text(node, reading)?;
    let path = text.trim().trim_matches('/');
    if path.is_empty() || path == "." {
        return Ok(None);
    }
    if path.split('/').any(|part| ["", ".", ".."].contains(&part)) {
        return must_be("a folder inside the repository, such as \"team/web\"");
    }
    Ok(Some(path.to_owned()))
}

fn optional_path(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<Option<PathBuf>> {
    let text = section::text(node, reading)?;
    Ok((!text.trim().is_empty()).then(|| reading.path_below(reading.root, text.trim())))
}

fn optional_secret(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<Option<Secret>> {
    let text = section::text_with_secrets(node, reading)?;
    if text.contains(['\n', '\r', '\0']) {
        return because(Code::WrongValue, "the secret has more than one line");
    }
    reading.warn_of_open_secret(node);
    Ok((!text.is_empty()).then(|| Secret::new(text)))
}
