//! An agent that follows a repository, and what it says of it.

use serde_json::Value;

use crate::git::{GitTransport, path_for};
use crate::support::{Agent, Root, wait_for};

/// A root whose agent pulls that repository so often.
pub fn following(transport: GitTransport, url: &str, pull_interval: &str) -> Root {
    let root = root_over(transport);
    let text = format!(
        "[git_repos]\npull_interval = \"{pull_interval}\"\n[[git_repos.repo]]\nenable = true\nname = \"ops\"\nurl = \"{url}\"\n{}",
        line(transport)
    );
    root.conf("git.conf", &text);
    root
}

/// A root whose agent finds what that transport needs, and no `git` where it needs none.
pub fn root_over(transport: GitTransport) -> Root {
    let root = Root::new();
    let path = path_for(transport, root.path());
    root.with_path(path)
}

/// The transport as it stands in the settings; libgit2 is the default.
pub fn line(transport: GitTransport) -> &'static str {
    match transport {
        GitTransport::Libgit2 => "",
        GitTransport::System => "transport = \"system\"\n",
    }
}

pub fn repo(agent: &Agent) -> Value {
    agent.status()["repos"][0].clone()
}

pub fn wait_for_commit(agent: &Agent, id: &str) -> Value {
    wait_for("the commit to be in force", || {
        let repo = repo(agent);
        if repo["commit"]["id"] == id { Ok(repo) } else { Err(format!("{repo:#}")) }
    })
}
