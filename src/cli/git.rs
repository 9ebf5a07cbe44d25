//! `pythond git`: what each repository runs, a pull now, the host keys to trust, and what ran when.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ask::{AgentClient, escaped, refusal, understood};
use super::exit::ExitReason;
use super::output::{say, say_json, show, warn};
use super::table::{ago, span};
use crate::api::views::{RepoCommit, RepoView};
use crate::code::Code;
use crate::config::repos::RepoUrl;
use crate::config::{self, GitRepos, RepoSettings, Surroundings};
use crate::git::hostkeys::{self, HostKey, Trusted};
use crate::git::program::{Programs, StopSignal};
use crate::git::ssh;

#[derive(clap::Args)]
pub(super) struct GitArgs {
    #[command(subcommand)]
    command: GitCommand,
}

#[derive(clap::Subcommand)]
enum GitCommand {
    /// Show which commit of each repository runs, which was refused and why, and the last and next pull
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Pull now; a commit that was refused is tried again
    Sync {
        /// The repository, as in the status; without it all
        name: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the keys of an ssh host, and add one to the known hosts once it was compared
    Trust(TrustArgs),
    /// Show what ran when
    Log {
        /// The repository, as in the status; without it all
        name: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(clap::Args)]
struct TrustArgs {
    /// The host as in the URL: `git.example.com`, `[git.example.com]:2222`, `git.example.com:2222`, or a whole ssh URL
    host: String,
    /// Trust the key that has this fingerprint, such as SHA256:…
    #[arg(long, value_name = "FINGERPRINT")]
    fingerprint: Option<String>,
    /// Trust whatever the host offers now, without a comparison
    #[arg(long, conflicts_with = "fingerprint")]
    yes: bool,
    /// Write to this file instead of the one that the settings name
    #[arg(long, value_name = "FILE")]
    known_hosts: Option<PathBuf>,
}

/// Longer than one pull may take by default; a repository with a longer `timeout` goes on behind it.
const PULL: Duration = Duration::from_secs(180);

pub(super) fn main(root: &Path, args: &GitArgs) -> ExitReason {
    match &args.command {
        GitCommand::Status { json } => asked(root, "GET", "/api/v1/git", *json, &status),
        GitCommand::Sync { name, json } => {
            let which = name.as_ref().map(|name| format!("?repo={}", escaped(name))).unwrap_or_default();
            asked(root, "POST", &format!("/api/v1/git/sync{which}"), *json, &synced)
        }
        GitCommand::Log { name, json } => {
            asked(root, "GET", "/api/v1/git", *json, &|repos| log(repos, name.as_deref()))
        }
        GitCommand::Trust(args) => trust(root, args),
    }
}

/// What is printed, and how the command ends.
type GitReply = (String, ExitReason);

fn asked(root: &Path, method: &str, path: &str, json: bool, said: &dyn Fn(&[RepoView]) -> GitReply) -> ExitReason {
    let (status, body) = match AgentClient::of(root).send(method, path, Vec::new(), PULL) {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    if !status.is_success() {
        warn(&format!("error: {}\n", refusal(&body)));
        return if status == hyper::StatusCode::NOT_FOUND { ExitReason::Usage } else { ExitReason::Failed };
    }
    let repos: Vec<RepoView> = match understood(&body) {
        Ok(repos) => repos,
        Err(exit) => return exit,
    };
    let (text, exit) = said(&repos);
    if json {
        say_json(&repos);
    } else {
        say(&text);
    }
    exit
}

fn none() -> GitReply {
    ("no git repository is enabled; see `[git_repos]` in conf.d/agent.conf\n".to_owned(), ExitReason::Ok)
}

fn status(repos: &[RepoView]) -> GitReply {
    if repos.is_empty() {
        return none();
    }
    (repos.iter().map(one).collect::<Vec<_>>().join("\n"), ExitReason::Ok)
}

fn synced(repos: &[RepoView]) -> GitReply {
    let (text, _) = status(repos);
    let exit = if repos.iter().any(|repo| repo.fault.is_some()) {
        ExitReason::Git
    } else if repos.iter().any(|repo| !repo.is_well()) {
        ExitReason::Faults
    } else {
        ExitReason::Ok
    };
    (text, exit)
}

fn one(repo: &RepoView) -> String {
    let mark = if repo.is_well() { "●" } else { "▲" };
    let mut out = format!("{mark} {}  {}  ({})\n", repo.name, repo.url, repo.follows.replace('`', ""));
    match &repo.commit {
        Some(commit) => out.push_str(&format!("    running  {}\n", named(commit))),
        None => out.push_str("    running  nothing of it yet\n"),
    }
    for change in &repo.changes {
        out.push_str(&format!("             {change}\n"));
    }
    for held in &repo.held {
        out.push_str(&format!(
            "    kept     {} runs on in its version of before, if there is one: {}\n",
            held.unit, held.why
        ));
    }
    if let Some(refused) = &repo.refused {
        out.push_str(&format!("    refused  {}, {}\n", named(&refused.commit), ago(refused.ago_s)));
        for why in &refused.why {
            out.push_str(&format!("             {why}\n"));
        }
    }
    for note in &repo.notes {
        out.push_str(&format!("    note     {note}\n"));
    }
    out.push_str(&format!("    pulls    {}\n", pulls(repo)));
    if let Some(fault) = &repo.fault {
        out.push_str(&format!("    error[{}]: {}\n", fault.code, fault.message));
        for note in &fault.notes {
            out.push_str(&format!("      = {note}\n"));
        }
        if let Some(help) = &fault.help {
            out.push_str(&format!("      = help: {help}\n"));
        }
    }
    out
}

fn named(commit: &RepoCommit) -> String {
    let title = if commit.title.is_empty() { String::new() } else { format!(" \"{}\"", commit.title) };
    let author = if commit.author.is_empty() { String::new() } else { format!("{}, ", commit.author) };
    format!("{}{title} ({author}{})", commit.short(), ago(commit.ago_s))
}

fn pulls(repo: &RepoView) -> String {
    let last = match (repo.last_pull_ago_s, repo.last_good_pull_ago_s) {
        (None, _) => "none yet".to_owned(),
        (Some(last), Some(_)) if repo.fault.is_none() => format!("last {}", ago(last)),
        (Some(last), Some(good)) => format!("last {}, the last good one {}", ago(last), ago(good)),
        (Some(last), None) => format!("last {}, none was good since the start", ago(last)),
    };
    let failures = if repo.failures > 1 { format!(", {} failures in a row", repo.failures) } else { String::new() };
    let next = match repo.next_pull_in_s {
        _ if repo.is_pulling => ", pulling now".to_owned(),
        Some(next) => format!(", next in {}", span(next)),
        None => String::new(),
    };
    format!("{last}{failures}{next}")
}

fn log(repos: &[RepoView], name: Option<&str>) -> GitReply {
    if repos.is_empty() {
        return none();
    }
    let wanted: Vec<&RepoView> = repos.iter().filter(|repo| name.is_none_or(|name| repo.name == name)).collect();
    if wanted.is_empty() {
        let known: Vec<&str> = repos.iter().map(|repo| repo.name.as_str()).collect();
        warn(&format!(
            "error: no repository is called `{}`; there are: {}\n",
            name.unwrap_or_default(),
            known.join(", ")
        ));
        return (String::new(), ExitReason::Usage);
    }
    let mut out = String::new();
    for repo in &wanted {
        if wanted.len() > 1 {
            out.push_str(&format!("{}\n", repo.name));
        }
        for event in repo.history.iter().rev() {
            let time =
                jiff::Timestamp::from_second(event.at).unwrap_or_default().to_zoned(jiff::tz::TimeZone::system());
            let (id, title, author) = (event.commit.short(), &event.commit.title, &event.commit.author);
            out.push_str(&format!(
                "{}  {:9}  {id}  {title}  ({author})\n",
                time.strftime("%Y-%m-%d %H:%M:%S"),
                event.what
            ));
        }
        if repo.history.is_empty() {
            out.push_str("nothing ran yet\n");
        }
    }
    (out, ExitReason::Ok)
}

// --- trust ---

fn trust(root: &Path, args: &TrustArgs) -> ExitReason {
    let Some(url) = host_url(&args.host) else {
        warn(&format!("error: `{}` is no host; write it as git.example.com or git.example.com:2222\n", args.host));
        return ExitReason::Usage;
    };
    let around = Surroundings::of_this_process();
    let repos = match config::read(root, &around) {
        Ok(config) => config.git_repos,
        Err(error) if args.known_hosts.is_none() => {
            show(&error.faults);
            return ExitReason::Faults;
        }
        Err(_) => GitRepos::default_in(root, &around),
    };
    let file = args.known_hosts.clone().unwrap_or_else(|| file_for(&repos, &url));
    let programs = Programs::new(&repos, &RepoSettings::plain("trust", url.clone()), &repos.dir, StopSignal::default());
    let keys = match hostkeys::offered(&programs, &url) {
        Ok(keys) => keys,
        Err(error) => {
            warn(&format!("error[{}]: {error}\n", Code::Unreachable));
            return ExitReason::Git;
        }
    };
    say(&offered(&url, &keys));
    let chosen: Vec<HostKey> = match (&args.fingerprint, args.yes) {
        (Some(wanted), _) => keys.iter().filter(|key| key.fingerprint == *wanted).cloned().collect(),
        (None, true) => keys.clone(),
        (None, false) => {
            say(&format!(
                "nothing was written. Compare with what your server's owner says, then:\n  pythond git trust '{}' --fingerprint {}\n",
                args.host, keys[0].fingerprint
            ));
            return ExitReason::Failed;
        }
    };
    if chosen.is_empty() {
        warn(&format!(
            "error[{}]: none of these keys has the fingerprint that was given; nothing was written\n",
            Code::ChangedHostKey
        ));
        return ExitReason::Git;
    }
    keep(&file, &chosen)
}

fn offered(url: &RepoUrl, keys: &[HostKey]) -> String {
    let mut listed = format!("{} offers\n", url.known_host());
    for key in keys {
        listed.push_str(&format!("  {}  {}\n", key.kind, key.fingerprint));
    }
    listed
}

fn keep(file: &Path, chosen: &[HostKey]) -> ExitReason {
    match hostkeys::trust(file, chosen) {
        Ok(trusted) => {
            let what = match trusted {
                Trusted::Added => "added to",
                Trusted::Replaced => "took the place of the old key in",
                Trusted::Known => "is already in",
            };
            say(&format!("{what} {}\n", file.display()));
            ExitReason::Ok
        }
        Err(error) => {
            warn(&format!("error[{}]: could not write {}: {error}\n", Code::NoRight, file.display()));
            ExitReason::Failed
        }
    }
}

fn host_url(host: &str) -> Option<RepoUrl> {
    let text = if host.contains("://") || host.contains('@') { host.to_owned() } else { format!("ssh://{host}/x") };
    RepoUrl::parse(&text).map(|(url, _)| url).filter(|url| !url.host.is_empty())
}

/// The file in which the repository of that host looks first; the agent's own without one.
fn file_for(repos: &GitRepos, url: &RepoUrl) -> PathBuf {
    let of_host = repos.repos.iter().find(|repo| repo.url.known_host() == url.known_host());
    let plain = RepoSettings::plain("trust", url.clone());
    ssh::known_hosts(repos, of_host.unwrap_or(&plain)).remove(0)
}

/// The lines of the status about repositories that somebody has to look at, or of which something was left out.
pub(super) fn troubles(repos: &[RepoView]) -> String {
    let odd = repos.iter().filter(|repo| !repo.is_well() || !repo.notes.is_empty());
    odd.map(|repo| format!("\n{}", one(repo))).collect()
}
