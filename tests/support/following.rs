//! An agent that follows a repository, and what it says of it.

use serde_json::Value;

use crate::support::{Agent, Root, wait_for};

/// A root whose agent pulls that repository so often.
pub fn following(url: &str, pull_interval: &str) -> Root {
    let root = Root::new();
    let text = format!(
        "[git_repos]\npull_interval = \"{pull_interval}\"\n[[git_repos.repo]]\nenable = true\nname = \"ops\"\nurl = \"{url}\"\n"
    );
    root.conf("git.conf", &text);
    root
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
