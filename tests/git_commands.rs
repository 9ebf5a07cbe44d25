//! `pythond git …`, `check --repo` and the agent with a repository, from outside.

#[path = "support/following.rs"]
mod following;
#[path = "support/git.rs"]
mod git;
#[path = "support/server.rs"]
mod server;
mod support;

use std::net::TcpListener;
use std::process::Command;

use following::{following, repo, wait_for_commit};
use git::{GitTransport, Origin, over_both_in_turn};
use serde_json::Value;
use server::Server;
use support::{Root, http, wait_for};

over_both_in_turn! {
    scripts_of_a_repository_run_and_go_on_without_it,
    sync_status_and_log_tell_what_runs,
    a_stop_in_the_middle_of_a_pull_is_quick_and_clean,
}

const GOOD: &str = "from datakit_framework import DataKitFramework\n\n\nclass Web(DataKitFramework):\n    interval = 1\n\n    \
                    def run(self):\n        self.feed_metric(measurement=\"from_git\", fields={\"n\": 1})\n";
const CONF: &str = "[[inputs.pythond]]\nname = \"web\"\ncmd = \"python3\"\ndirs = [\"web\"]\n";

fn origin() -> Origin {
    Origin::with(&[("python.d/web/web.py", GOOD), ("conf.d/web.conf", CONF)])
}

fn scripts_of_a_repository_run_and_go_on_without_it(transport: GitTransport) {
    let origin = origin();
    let root = following(transport, &origin.url(), "1h");
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

fn sync_status_and_log_tell_what_runs(transport: GitTransport) {
    let origin = origin();
    let root = following(transport, &origin.url(), "1h");
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
    let root = following(GitTransport::Libgit2, &origin.url(), "1h");
    let agent = root.agent();
    let answer = http::tcp(&agent.address, "POST", "/api/v1/git/sync", &[], b"").unwrap();
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(agent.get("/api/v1/git").status, 200);
}

#[test]
fn an_agent_without_a_repository_says_so() {
    let root = Root::new();
    let _agent = root.agent();
    let (code, stdout, _) = root.run(&["git", "status"]);
    assert_eq!((code, stdout.starts_with("no git repository is enabled")), (0, true), "{stdout}");
}

fn a_stop_in_the_middle_of_a_pull_is_quick_and_clean(transport: GitTransport) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let root = following(transport, &format!("https://{}/ops.git", silent.local_addr().unwrap()), "1h");
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
    if rustix::process::geteuid().is_root() {
        std::fs::create_dir_all("/run/sshd").unwrap();
    }
    let sshd = Server::start("sshd", "openssh-server", |dir, port| {
        let key = dir.join("host").display().to_string();
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &key]).status().unwrap();
        assert!(made.success());
        let options = ["UsePAM=no", "PidFile=none", "ListenAddress=127.0.0.1"].map(|option| format!("-o{option}"));
        let more = ["-D", "-f", "/dev/null", "-p", &port.to_string(), "-h", &key].map(str::to_owned);
        options.into_iter().chain(more).collect()
    });
    let Some(mut server) = sshd else { return };
    let root = Root::new();
    let port = server.port();
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
    server.down();
    assert_eq!(root.run(&["git", "trust", &host, "--yes"]).0, 9);
    assert_eq!(root.run(&["git", "trust", "-oProxyCommand=x", "--yes"]).0, 2);
}
