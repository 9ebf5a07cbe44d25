//! Promises about inputs with `user`, with the whole agent: their reports arrive, and they can give it no orders.

#[path = "support/machine.rs"]
mod machine;
mod support;

use std::os::unix::fs::PermissionsExt;

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
    assert_eq!(ask("GET", "/api/v1/scripts/my.who/stack"), 403);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(&root.socket())), (0o666, 0o660));
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
