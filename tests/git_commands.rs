//! `pythond git …`, `check --repo` and the agent with a repository, from outside.

#[path = "support/git.rs"]
mod git;
#[path = "support/installed.rs"]
mod installed;
mod support;

use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use git::Origin;
use serde_json::Value;
use support::{Agent, Root, http, wait_for};

const GOOD: &str = "from datakit_framework import DataKitFramework\n\n\nclass Web(DataKitFramework):\n    interval = 1\n\n    \
                    def run(self):\n        self.feed_metric(measurement=\"from_git\", fields={\"n\": 1})\n";
const CONF: &str = "[[inputs.pythond]]\nname = \"web\"\ncmd = \"python3\"\ndirs = [\"web\"]\n";

fn origin() -> Origin {
    Origin::with(&[("python.d/web/web.py", GOOD), ("conf.d/web.conf", CONF)])
}

/// A root whose agent follows a repository.
fn following(url: &str) -> Root {
    let root = Root::new();
    let text = format!(
        "[git_repos]\npull_interval = \"1h\"\n[[git_repos.repo]]\nenable = true\nname = \"ops\"\nurl = \"{url}\"\n"
    );
    root.conf("git.conf", &text);
    root
}

fn repo(agent: &Agent) -> Value {
    agent.status()["repos"][0].clone()
}

fn wait_for_commit(agent: &Agent, id: &str) -> Value {
    wait_for("the commit to be in force", || {
        let repo = repo(agent);
        if repo["commit"]["id"] == id { Ok(repo) } else { Err(format!("{repo:#}")) }
    })
}

#[test]
fn scripts_of_a_repository_run_and_go_on_without_it() {
    let origin = origin();
    let root = following(&origin.url());
    let agent = root.agent();
    wait_for_commit(&agent, &origin.head());
    agent.stop();
    let away = origin.path().with_extension("away");
    std::fs::rename(origin.path(), &away).unwrap();
    let agent = root.agent();
    let script = agent.wait_script("web.web", "points", |script| script["points_accepted"].as_u64() > Some(0));
    assert!(
        script["file"]
            .as_str()
            .unwrap()
            .contains(&format!("gitrepos/ops/{}", git::git_in(&away, &["rev-parse", "HEAD"])))
    );
    let status = wait_for("the failed pull in the status", || {
        let (_, stdout, _) = root.run(&["status"]);
        if stdout.contains("error[PD0605]") { Ok(stdout) } else { Err(stdout) }
    });
    assert!(status.contains("▲ ops"), "{status}");
    agent.stop();
    std::fs::rename(&away, origin.path()).unwrap();
}

#[test]
fn sync_status_and_log_tell_what_runs() {
    let origin = origin();
    let root = following(&origin.url());
    let agent = root.agent();
    wait_for_commit(&agent, &origin.head());
    let second = origin.commit(&[("README.md", "x")], "say what it is");
    let (code, stdout, stderr) = root.run(&["git", "sync"]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let line = format!("running  {} \"say what it is\" (Li Wei, ", &second[..7]);
    assert!(stdout.contains("● ops") && stdout.contains(&line), "{stdout}");

    origin.commit(&[("conf.d/web.conf", &CONF.replace("dirs", "dris"))], "refactor");
    let (code, stdout, _) = root.run(&["git", "sync", "ops"]);
    assert_eq!(code, 3, "{stdout}");
    assert!(stdout.contains(&line) && stdout.contains("refused  ") && stdout.contains("\"refactor\""), "{stdout}");
    assert!(stdout.contains("conf.d/web.conf:4: PD0102 unknown key `dris`"), "{stdout}");
    let (code, stdout, _) = root.run(&["git", "status", "--json"]);
    let repos: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, repos[0]["refused"]["commit"]["title"].as_str()), (0, Some("refactor")));

    let (code, stdout, _) = root.run(&["git", "log"]);
    let words: Vec<&str> = stdout.lines().map(|line| line.split_whitespace().nth(2).unwrap()).collect();
    assert_eq!((code, words), (0, vec!["refused", "active", "active"]), "{stdout}");
    let (code, _, stderr) = root.run(&["git", "sync", "opps"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("no repository is called `opps`; there are: ops"), "{stderr}");

    let away = origin.path().with_extension("away");
    std::fs::rename(origin.path(), &away).unwrap();
    let (code, stdout, _) = root.run(&["git", "sync"]);
    std::fs::rename(&away, origin.path()).unwrap();
    assert_eq!(code, 9, "{stdout}");
    assert!(stdout.contains("error[PD0605]: there is no repository at"), "{stdout}");
    drop(agent);
    assert_eq!(root.run(&["git", "status"]).0, 7);
}

#[test]
fn a_sync_is_taken_over_the_socket_only() {
    let origin = origin();
    let agent = following(&origin.url()).agent_with_root();
    let answer = http::tcp(&agent.1.address, "POST", "/api/v1/git/sync", &[], b"").unwrap();
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(agent.1.get("/api/v1/git").status, 200);
}

trait WithRoot {
    fn agent_with_root(self) -> (Root, Agent);
}

impl WithRoot for Root {
    fn agent_with_root(self) -> (Root, Agent) {
        let agent = self.agent();
        (self, agent)
    }
}

#[test]
fn an_agent_without_a_repository_says_so() {
    let root = Root::new();
    let _agent = root.agent();
    let (code, stdout, _) = root.run(&["git", "status"]);
    assert_eq!((code, stdout.starts_with("no git repository is enabled")), (0, true), "{stdout}");
}

#[test]
fn a_stop_in_the_middle_of_a_pull_is_quick_and_clean() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let root = following(&format!("https://{}/ops.git", silent.local_addr().unwrap()));
    let agent = root.agent();
    wait_for("the pull", || if repo(&agent)["is_pulling"] == true { Ok(()) } else { Err("none".into()) });
    let (code, took) = agent.stop();
    assert_eq!(code, 0);
    assert!(took.as_secs() < 9, "{took:?}");
}

#[test]
fn a_repository_is_checked_by_itself() {
    let origin = origin();
    let root = Root::new();
    let dir = origin.url();
    let (code, stdout, stderr) = root.run(&["check", "--repo", &dir]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert!(stdout.contains("1 script with 1 collector"), "{stdout}");

    origin.file("python.d/web/web.py", "def f(:\n");
    origin.file("conf.d/more.conf", "[buffer]\n");
    let (code, stdout, _) = root.run(&["check", "--repo", &dir, "--format", "github"]);
    assert_eq!(code, 3, "{stdout}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(
        lines[0].starts_with("::error file=") && lines[0].contains("conf.d/more.conf,line=1,col=2,title=PD0103::"),
        "{stdout}"
    );
    assert!(lines[1].contains("python.d/web/web.py,line=1,col=7,title=PD0201::"), "{stdout}");
    let (code, _, stderr) = root.run(&["check", "--repo", "/nowhere"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("/nowhere holds neither conf.d nor python.d"), "{stderr}");
}

#[test]
fn a_check_can_stand_in_for_another_host() {
    let origin = origin();
    origin.file("conf.d/web.conf", &format!("{CONF}when = {{ hosts = [\"web*\"] }}\n"));
    let root = Root::new();
    let scripts = |host: &str| {
        let (code, stdout, stderr) =
            root.run(&["check", "--repo", &origin.url(), "--as-host", host, "--format", "json"]);
        assert_eq!(code, 0, "{stderr}");
        serde_json::from_str::<Value>(&stdout).unwrap()["scripts"].as_u64().unwrap()
    };
    assert_eq!((scripts("web7.example.com"), scripts("db1")), (1, 0));
}

#[test]
fn a_host_is_trusted_only_on_a_word() {
    let Some(sshd) = installed::installed("sshd", "openssh-server") else { return };
    let root = Root::new();
    let key = root.path().join("host");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
    assert!(made.success());
    if rustix::process::geteuid().is_root() {
        std::fs::create_dir_all("/run/sshd").unwrap();
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new(sshd)
        .args(["-D", "-f", "/dev/null", "-o", "UsePAM=no", "-o", "PidFile=none", "-o", "ListenAddress=127.0.0.1"])
        .args(["-p", &port.to_string(), "-h"])
        .arg(&key)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("sshd", || TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string()));
    let host = format!("127.0.0.1:{port}");
    let file = root.path().join("gitrepos/known_hosts");

    let (code, stdout, _) = root.run(&["git", "trust", &host]);
    assert_eq!(code, 1, "{stdout}");
    assert!(stdout.contains("nothing was written") && !file.exists(), "{stdout}");
    let fingerprint = stdout.split_whitespace().find(|word| word.starts_with("SHA256:")).unwrap().to_owned();
    let (code, _, stderr) = root.run(&["git", "trust", &host, "--fingerprint", "SHA256:other"]);
    assert_eq!((code, file.exists()), (9, false), "{stderr}");
    let (code, stdout, _) = root.run(&["git", "trust", &host, "--fingerprint", &fingerprint]);
    assert_eq!(code, 0, "{stdout}");
    assert!(stdout.contains(&format!("added to {}", file.display())), "{stdout}");
    assert!(std::fs::read_to_string(&file).unwrap().starts_with(&format!("[127.0.0.1]:{port} ssh-ed25519 ")));
    let (_, stdout, _) = root.run(&["git", "trust", &format!("[127.0.0.1]:{port}"), "--yes"]);
    assert!(stdout.contains("is already in"), "{stdout}");
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(root.run(&["git", "trust", &host, "--yes"]).0, 9);
    assert_eq!(root.run(&["git", "trust", "-oProxyCommand=x", "--yes"]).0, 2);
}
