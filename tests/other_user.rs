//! Promises about inputs with `user`, with the whole agent: their reports arrive, and they can give it no orders.

#[path = "support/following.rs"]
mod following;
#[path = "support/git.rs"]
mod git;
#[path = "support/machine.rs"]
mod machine;
mod support;

use std::os::unix::fs::PermissionsExt;

use following::{following, wait_for_commit};
use git::{GitTransport, Origin};

use machine::python_of_nobody;
use support::Root;

const SCRIPT: &str = "from datakit_framework import DataKitFramework\nimport os\nclass C(DataKitFramework):\n    interval = 0.2\n    def run(self):\n        self.feed_metric(measurement='who', fields={'uid': os.getuid()})\n";

fn root_with(python: &str, user: &str) -> Root {
    let root = Root::new();
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    root.script("my/who.py", SCRIPT);
    root.conf(
        "in.conf",
        &format!("[[inputs.pythond]]\nname = \"in\"\ncmd = \"{python}\"\ndirs = [\"my\"]\nuser = \"{user}\"\n"),
    );
    root
}

#[test]
fn reports_of_another_user_arrive_over_a_socket_that_takes_no_orders() {
    let Some(python) = python_of_nobody() else { return };
    let root = root_with(python, "nobody");
    let agent = root.agent();
    let script = agent.wait_script("my.who", "reports", |script| script["points_accepted"].as_u64() > Some(1));
    assert_eq!(script["state"], "ok", "{script:#}");
    agent.wait_delivered();
    let points = root.points("metric");
    assert!(points.starts_with("who,host=testhost uid=65534.0 "), "{points}");
    let socket = root.path().join("data/run/pythond.scripts.sock");
    let ask = |method: &str, path: &str| support::http::unix(&socket, method, path, &[], b"").unwrap().status;
    assert_eq!(ask("GET", "/v1/ping"), 200);
    assert_eq!(ask("POST", "/api/v1/sinks/local/skip"), 403);
    assert_eq!(ask("GET", "/api/v1/units/my.who/stack"), 403);
    assert_eq!(ask("GET", "/api/v1/units/my.who/resources"), 403);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(&root.socket())), (0o666, 0o600));
}

#[test]
fn without_that_socket_reports_of_another_user_go_over_tcp_with_the_workers_token() {
    let Some(python) = python_of_nobody() else { return };
    let root = root_with(python, "nobody");
    root.conf("agent.conf", "[http_api]\nlisten = \"127.0.0.1:0\"\ntokens = [\"s3cret\"]\n");
    // The agent cannot listen there, and says so.
    std::fs::create_dir_all(root.path().join("data/run/pythond.scripts.sock")).unwrap();
    std::fs::set_permissions(root.path().join("data/run/pythond.scripts.sock"), std::fs::Permissions::from_mode(0o700))
        .unwrap();
    let agent = root.agent();
    agent.wait_script("my.who", "reports", |script| script["points_accepted"].as_u64() > Some(0));
    support::wait_until("the console says so", || agent.console().contains("scripts with `user` report over TCP"));
}

/// All else of the repository and of `data` stays closed.
#[test]
fn a_script_from_git_is_open_to_its_user() {
    let Some(python) = python_of_nobody() else { return };
    let conf = format!("[[inputs.pythond]]\nname = \"in\"\ncmd = \"{python}\"\ndirs = [\"my\"]\nuser = \"nobody\"\n");
    let origin = Origin::with(&[("python.d/my/who.py", SCRIPT), ("conf.d/in.conf", &conf)]);
    let root = following(GitTransport::Libgit2, &origin.url(), "1s");
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let agent = root.agent();
    let reports = |more_than: u64| {
        agent.wait_script("my.who", "reports", |script| script["points_accepted"].as_u64() > Some(more_than))
    };
    reports(1);
    // A new commit is tried as this user before it is run.
    let commit = origin.commit(&[("python.d/my/who.py", &SCRIPT.replace("'who'", "'again'"))], "second");
    wait_for_commit(&agent, &commit);
    support::wait_until("a point of the new version", || root.points("metric").contains("again,"));
    let mode = |path: &str| std::fs::metadata(root.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(["gitrepos", "gitrepos/ops", "data", "data/run"].map(mode), [0o711; 4]);
    assert_eq!(mode(&format!("gitrepos/ops/{commit}/python.d/my/who.py")), 0o644);
    for closed in ["gitrepos/ops/store.git", "gitrepos/ops/state.json", "data/buffer", "data/dead", "data/points"] {
        assert_eq!(mode(closed) & 0o077, 0, "{closed}");
    }
}

#[test]
fn an_input_that_gets_a_user_at_a_reload_finds_its_way() {
    let Some(python) = python_of_nobody() else { return };
    let root = root_with(python, "nobody");
    root.conf("in.conf", &format!("[[inputs.pythond]]\nname = \"in\"\ncmd = \"{python}\"\ndirs = [\"my\"]\n"));
    let agent = root.agent();
    agent.wait_script("my.who", "reports", |script| script["points_accepted"].as_u64() > Some(1));
    root.conf(
        "in.conf",
        &format!("[[inputs.pythond]]\nname = \"in\"\ncmd = \"{python}\"\ndirs = [\"my\"]\nuser = \"nobody\"\n"),
    );
    let (code, out, err) = root.run(&["reload"]);
    assert_eq!(code, 0, "{out}{err}");
    support::wait_until("a report of the other user", || root.points("metric").contains("uid=65534"));
}

#[test]
fn check_and_run_try_a_script_as_its_user() {
    let Some(python) = python_of_nobody() else { return };
    let root = root_with(python, "nobody");
    let (code, out, err) = root.run(&["check"]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, err) = root.run(&["run", "my.who", "--lp"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("uid=65534"), "{out}");
    let root = root_with(python, "surely-nobody");
    let (code, out, err) = root.run(&["check"]);
    assert_eq!(code, 3, "{out}{err}");
    assert!(
        format!("{out}{err}").contains("error[PD0103]: there is no user `surely-nobody` on this machine"),
        "{out}{err}"
    );
}
