//! An agent that follows a repository: a push changes what it touches and nothing else, and a bad one keeps what runs.

#[path = "support/following.rs"]
mod following;
#[path = "support/git.rs"]
mod git;
mod support;

use std::collections::BTreeMap;

use following::{following, line, repo, root_over, wait_for_commit};
use git::{GitTransport, Origin, over_both_in_turn};
use serde_json::Value;
use support::{Agent, Root, wait_for};

over_both_in_turn! {
    what_a_commit_left_out_is_in_the_status_and_named_by_the_import_that_fails,
    no_settings_of_git_are_read,
    a_push_restarts_the_one_worker_of_fifty_that_it_changes_and_a_readme_none,
    a_package_of_a_repository_imports_one_level_up_and_a_broken_module_there_keeps_what_runs,
    a_broken_script_keeps_its_old_version_while_the_good_change_beside_it_runs,
    settings_with_a_fault_change_nothing_and_name_the_place,
    a_forced_push_is_followed_and_a_vanished_repository_changes_nothing_but_the_status,
    repositories_come_change_and_leave_while_the_agent_runs_and_only_their_own_scripts_notice,
    a_change_of_the_repositories_cures_one_whose_key_lies_on_a_disk_that_hangs,
    a_change_of_the_repositories_does_not_wait_for_a_server_that_hangs,
}

const CONF: &str = "[[inputs.pythond]]\nname = \"fleet\"\ncmd = \"python3\"\ndirs = [\"fleet\"]\n";

fn script(n: usize, version: u32) -> String {
    format!(
        "from datakit_framework import DataKitFramework\n\n\nclass M{n}(DataKitFramework):\n    interval = 1\n\n    \
         def run(self):\n        self.feed_metric(measurement=\"m{n}\", fields={{\"version\": {version}}})\n"
    )
}

fn name(n: usize) -> String {
    format!("python.d/fleet/m{n}.py")
}

/// A repository with so many scripts.
fn fleet(count: usize) -> Origin {
    let origin = Origin::new();
    for n in 0..count {
        origin.file(&name(n), &script(n, 1));
    }
    origin.commit(&[("conf.d/fleet.conf", CONF)], "first");
    origin
}

/// Script and pid of every worker, once so many of them have reported.
fn pids(agent: &Agent, count: usize) -> BTreeMap<String, u64> {
    wait_for("every script to report", || {
        let status = agent.status();
        let scripts = status["units"].as_array().unwrap();
        let reported = scripts.iter().filter(|script| script["points_accepted"].as_u64() > Some(0));
        let pids: BTreeMap<String, u64> =
            reported.filter_map(|script| Some((script["id"].as_str()?.to_owned(), script["pid"].as_u64()?))).collect();
        if pids.len() == count { Ok(pids) } else { Err(format!("{} of {count}", pids.len())) }
    })
}

/// Waits until a version's points are in the file.
fn wait_for_version(root: &Root, n: usize, version: u32) {
    let start = format!("m{n},");
    let end = format!("version={version}");
    wait_for(&format!("version {version} of m{n}"), || {
        let points = root.points("metric");
        let found = points.lines().rev().any(|line| line.starts_with(&start) && line.contains(&end));
        if found {
            Ok(())
        } else {
            Err(points.lines().rev().find(|line| line.starts_with(&start)).unwrap_or("none").to_owned())
        }
    });
}

fn a_push_restarts_the_one_worker_of_fifty_that_it_changes_and_a_readme_none(transport: GitTransport) {
    let origin = fleet(50);
    let root = following(transport, &origin.url(), "1s");
    let agent = root.agent();
    wait_for_commit(&agent, &origin.head());
    let before = pids(&agent, 50);

    let commit = origin.commit(&[(&name(7), &script(7, 2))], "seven");
    let repo = wait_for_commit(&agent, &commit);
    assert_eq!(repo["changes"], serde_json::json!(["restarted fleet.m7"]));
    wait_for_version(&root, 7, 2);
    let after = pids(&agent, 50);
    let changed: Vec<&String> = before.keys().filter(|id| before[*id] != after[*id]).collect();
    assert_eq!(changed, ["fleet.m7"]);

    let commit = origin.commit(&[("README.md", "what this is")], "readme");
    let repo = wait_for_commit(&agent, &commit);
    assert_eq!(repo["changes"], serde_json::json!([]));
    assert_eq!(pids(&agent, 50), after);
    let script = agent.script("fleet.m3");
    assert_eq!(script["restarts"], 0, "{script:#}");
}

fn a_package_of_a_repository_imports_one_level_up_and_a_broken_module_there_keeps_what_runs(transport: GitTransport) {
    let script = |n: usize, imports: &str| {
        format!("from {imports} import VERSION\n{}", script(n, 0)).replace("\"version\": 0", "\"version\": VERSION")
    };
    let origin = Origin::new();
    for file in ["out/__init__.py", "out/fleet/__init__.py"] {
        origin.file(&format!("python.d/{file}"), "");
    }
    origin.file("python.d/out/shared.py", "VERSION = 1\n");
    origin.file("python.d/out/fleet/own.py", "VERSION = 1\n");
    origin.file("python.d/out/fleet/m0.py", &script(0, "..shared"));
    origin.file("python.d/out/fleet/m1.py", &script(1, ".own"));
    origin.commit(&[("conf.d/fleet.conf", &CONF.replace("[\"fleet\"]", "[\"out/fleet\"]"))], "first");
    let root = following(transport, &origin.url(), "1s");
    let agent = root.agent();
    wait_for_version(&root, 0, 1);
    wait_for_version(&root, 1, 1);
    let before = pids(&agent, 2);

    let commit = origin.commit(&[("python.d/out/shared.py", "VERSION = 2\n")], "two");
    let repo = wait_for_commit(&agent, &commit);
    assert_eq!(repo["changes"], serde_json::json!(["restarted out.fleet.m0"]));
    wait_for_version(&root, 0, 2);
    let after = pids(&agent, 2);
    assert_eq!(before["out.fleet.m1"], after["out.fleet.m1"]);

    origin.commit(&[("python.d/out/shared.py", "VERSION = = 3\n")], "broken");
    let unit = agent.wait_script("out.fleet.m0", "its new version is refused", |unit| unit["refused"].is_string());
    assert!(unit["refused"].as_str().unwrap().contains("shared.py:1: syntax error"), "{unit:#}");
    assert_eq!(pids(&agent, 2), after, "the version before runs on");
}

fn a_broken_script_keeps_its_old_version_while_the_good_change_beside_it_runs(transport: GitTransport) {
    let origin = fleet(3);
    let root = following(transport, &origin.url(), "1s");
    let agent = root.agent();
    let first = origin.head();
    wait_for_commit(&agent, &first);
    let before = pids(&agent, 3);

    let broken = script(0, 2).replace("def run(self):", "def run(self:");
    let second = origin.commit(&[(&name(0), &broken), (&name(1), &script(1, 2))], "one good, one bad");
    let repo = wait_for_commit(&agent, &second);
    wait_for_version(&root, 1, 2);
    let after = pids(&agent, 3);
    assert_eq!((before["fleet.m0"], before["fleet.m2"]), (after["fleet.m0"], after["fleet.m2"]));
    assert_ne!(before["fleet.m1"], after["fleet.m1"]);
    assert_eq!(repo["held"][0]["unit"], "fleet.m0");
    let why = repo["held"][0]["why"].as_str().unwrap();
    assert!(why.contains("fleet/m0.py:7") && why.contains("PD0201"), "{why}");
    let (_, stdout, _) = root.run(&["git", "status"]);
    for part in [&second[..7], "fleet.m0 runs on in its version of before", "m0.py:7"] {
        assert!(stdout.contains(part), "{part} in {stdout}");
    }
    let history = root.run(&["git", "log"]).1;
    assert!(history.contains(&first[..7]) && history.contains("partly") && history.contains(&second[..7]), "{history}");

    // Killed in this state, the agent comes back with the old version of the broken script and the new one of the other.
    agent.kill();
    let seen = root.points("metric").lines().count();
    let agent = root.agent();
    wait_for_commit(&agent, &second);
    wait_for("both versions after the start", || {
        let points = root.points("metric");
        let new: Vec<&str> = points.lines().skip(seen).collect();
        let has = |start: &str, end: &str| new.iter().any(|line| line.starts_with(start) && line.contains(end));
        if has("m0,", "version=1") && has("m1,", "version=2") { Ok(()) } else { Err(new.join("\n")) }
    });
    assert!(!root.points("metric").contains("m0,host=testhost version=2"));

    let third = origin.commit(&[(&name(0), &script(0, 3))], "mended");
    let repo = wait_for_commit(&agent, &third);
    assert_eq!(repo["held"], serde_json::json!([]));
    wait_for_version(&root, 0, 3);
}

fn settings_with_a_fault_change_nothing_and_name_the_place(transport: GitTransport) {
    let origin = fleet(2);
    let root = following(transport, &origin.url(), "1s");
    let agent = root.agent();
    let first = origin.head();
    wait_for_commit(&agent, &first);
    let before = pids(&agent, 2);
    let bad =
        origin.commit(&[("conf.d/fleet.conf", &CONF.replace("dirs", "dris")), (&name(0), &script(0, 2))], "refactor");
    let repo = wait_for("the refusal", || {
        let repo = repo(&agent);
        if repo["refused"].is_object() { Ok(repo) } else { Err(format!("{repo:#}")) }
    });
    assert_eq!((&repo["commit"]["id"], &repo["refused"]["commit"]["id"]), (&Value::from(first), &Value::from(bad)));
    assert!(
        repo["refused"]["why"][0].as_str().unwrap().starts_with("conf.d/fleet.conf:4: PD0102 unknown key `dris`"),
        "{repo:#}"
    );
    assert_eq!(pids(&agent, 2), before);
    let mended = origin.commit(&[("conf.d/fleet.conf", CONF)], "mended");
    wait_for_commit(&agent, &mended);
    wait_for_version(&root, 0, 2);
}

fn a_forced_push_is_followed_and_a_vanished_repository_changes_nothing_but_the_status(transport: GitTransport) {
    let origin = fleet(2);
    let root = following(transport, &origin.url(), "1s");
    let agent = root.agent();
    wait_for_commit(&agent, &origin.head());
    let second = origin.commit(&[(&name(0), &script(0, 2))], "second");
    wait_for_commit(&agent, &second);
    origin.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let forced = origin.commit(&[(&name(0), &script(0, 3))], "forced");
    wait_for_commit(&agent, &forced);
    wait_for_version(&root, 0, 3);
    let before = pids(&agent, 2);

    let away = origin.path().with_extension("away");
    std::fs::rename(origin.path(), &away).unwrap();
    let repo = wait_for("failures", || {
        let repo = repo(&agent);
        if repo["failures"].as_u64() >= Some(2) { Ok(repo) } else { Err(format!("{repo:#}")) }
    });
    assert_eq!((repo["fault"]["code"].as_str(), &repo["commit"]["id"]), (Some("PD0605"), &Value::from(forced)));
    assert_eq!(pids(&agent, 2), before);
    std::fs::rename(&away, origin.path()).unwrap();
    assert_eq!(root.run(&["git", "sync"]).0, 0);
    assert_eq!(pids(&agent, 2), before);
}

/// `[git_repos]` with these repositories, by name and URL.
fn repositories(transport: GitTransport, root: &Root, repos: &[(&str, &str)]) {
    let line = line(transport);
    let entry = |(name, url): &(&str, &str)| {
        format!("[[git_repos.repo]]\nenable = true\nname = \"{name}\"\nurl = \"{url}\"\n{line}")
    };
    let entries: String = repos.iter().map(entry).collect();
    root.conf("git.conf", &format!("[git_repos]\npull_interval = \"1s\"\n{entries}"));
}

/// `pythond reload --json`, which must refuse nothing.
fn reloaded(root: &Root) -> Value {
    let (code, out, err) = root.run(&["reload", "--json"]);
    assert_eq!(code, 0, "{out} {err}");
    serde_json::from_str(&out).unwrap()
}

fn commits(agent: &Agent) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let status = agent.status();
    let repos = status["repos"].as_array().unwrap();
    repos.iter().map(|repo| (text(&repo["name"]), text(&repo["commit"]["id"]))).collect()
}

fn wait_for_commits(agent: &Agent, wanted: &[(&str, String)]) {
    let wanted: Vec<(String, String)> = wanted.iter().map(|(name, id)| ((*name).to_owned(), id.clone())).collect();
    wait_for("these commits", || {
        let commits = commits(agent);
        if commits == wanted { Ok(()) } else { Err(format!("{commits:?}")) }
    });
}

fn repositories_come_change_and_leave_while_the_agent_runs_and_only_their_own_scripts_notice(transport: GitTransport) {
    let (ops, web) = (fleet(2), Origin::new());
    web.file("python.d/web/w9.py", &script(9, 1));
    web.commit(&[("conf.d/web.conf", &CONF.replace("fleet", "web"))], "first");
    let root = root_over(transport);
    root.conf("reload.conf", "[reload]\nwatch = false\n");
    root.script("my/m5.py", &script(5, 1));
    root.input("my", &["my"], "");
    let agent = root.agent();
    let mut before = pids(&agent, 1);
    let mut unchanged = |agent: &Agent, count: usize| {
        let after = pids(agent, count);
        for (id, pid) in &before {
            assert!(after.get(id).is_none_or(|now| now == pid), "{id}: {before:?} {after:?}");
        }
        before = after;
    };

    repositories(transport, &root, &[("ops", &ops.url())]);
    let told = reloaded(&root);
    assert_eq!(
        (&told["settings"], &told["needs_restart"]),
        (&serde_json::json!(["[git_repos]"]), &serde_json::json!([]))
    );
    wait_for_commits(&agent, &[("ops", ops.head())]);
    unchanged(&agent, 3);

    // Another one, and a push to the first: both are followed by those that came with the change.
    repositories(transport, &root, &[("web", &web.url()), ("ops", &ops.url())]);
    reloaded(&root);
    wait_for_commits(&agent, &[("web", web.head()), ("ops", ops.head())]);
    unchanged(&agent, 4);
    let pushed = ops.commit(&[("README.md", "what this is")], "readme");
    wait_for_commits(&agent, &[("web", web.head()), ("ops", pushed.clone())]);
    unchanged(&agent, 4);

    // One that leaves takes its scripts along; what was fetched stays.
    repositories(transport, &root, &[("web", &web.url())]);
    let told = reloaded(&root);
    let stopped = told["units"].as_array().unwrap().iter().filter(|script| script["outcome"] == "stopped").count();
    assert_eq!((stopped, commits(&agent).len()), (2, 1), "{told:#}");
    unchanged(&agent, 2);
    let exported = root.path().join("gitrepos/ops").join(&pushed);
    assert!(exported.is_dir());

    // When it comes back its scripts run at once, although its server is gone.
    repositories(transport, &root, &[("web", &web.url()), ("ops", "/surely/not/there")]);
    let told = reloaded(&root);
    let started = told["units"].as_array().unwrap().iter().filter(|script| script["outcome"] == "started").count();
    assert_eq!(started, 2, "{told:#}");
    unchanged(&agent, 4);
    wait_for("the fault", || {
        let repo = agent.status()["repos"][1].clone();
        if repo["fault"]["code"] == "PD0605" { Ok(()) } else { Err(repo.to_string()) }
    });
    assert_eq!(agent.stop().0, 0);
}

fn a_change_of_the_repositories_cures_one_whose_key_lies_on_a_disk_that_hangs(transport: GitTransport) {
    let origin = fleet(1);
    let root = root_over(transport);
    root.conf("reload.conf", "[reload]\nwatch = false\n");
    let key = root.path().join("key");
    // To open it waits for a writer, as a dead network file system would.
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &key, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let repo_with_key = format!("git@127.0.0.1:x.git\"\nssh_private_key_path = \"{}", key.display());
    repositories(transport, &root, &[("x", &repo_with_key)]);
    let agent = root.agent();
    wait_for("the pull", || {
        let repo = repo(&agent);
        if repo["is_pulling"] == true { Ok(()) } else { Err(repo.to_string()) }
    });
    repositories(transport, &root, &[("x", &origin.url())]);
    reloaded(&root);
    wait_for_commits(&agent, &[("x", origin.head())]);
    wait_for_version(&root, 0, 1);
}

fn a_change_of_the_repositories_does_not_wait_for_a_server_that_hangs(transport: GitTransport) {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging = format!("http://{}/x.git", silent.local_addr().unwrap());
    let origin = fleet(1);
    let root = root_over(transport);
    root.conf("reload.conf", "[reload]\nwatch = false\n");
    repositories(transport, &root, &[("x", &hanging)]);
    let agent = root.agent();
    let _request = silent.accept().unwrap();
    assert_eq!(repo(&agent)["is_pulling"], true);
    repositories(transport, &root, &[("x", &origin.url())]);
    let began = std::time::Instant::now();
    reloaded(&root);
    // A pull may take 60 s by default.
    assert!(began.elapsed() < std::time::Duration::from_secs(30), "{:?}", began.elapsed());
    wait_for_commits(&agent, &[("x", origin.head())]);
    wait_for_version(&root, 0, 1);
}

fn what_a_commit_left_out_is_in_the_status_and_named_by_the_import_that_fails(transport: GitTransport) {
    let origin = fleet(1);
    origin.file("python.d/fleet/m1.py", &format!("import vendored\n{}", script(1, 1)));
    origin.git(&["add", "--all"]);
    let id = "1234567890".repeat(4);
    origin.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{id},python.d/fleet/vendored")]);
    origin.git(&["commit", "--quiet", "-m", "a submodule"]);
    let root = following(transport, &origin.url(), "1h");
    let agent = root.agent();
    wait_for_commit(&agent, &origin.head());
    pids(&agent, 1);
    let status = wait_for("the unit that cannot be loaded", || {
        let status = root.run(&["status"]).1;
        if status.contains("No module named 'vendored'") { Ok(status) } else { Err(status) }
    });
    assert!(status.contains("submodules are not fetched: `python.d/fleet/vendored`"), "{status}");
    let why = "`python.d/fleet/vendored` is a submodule of this repository, and submodules are not fetched";
    assert!(status.contains(why) && !status.contains("install it for the interpreter"), "{status}");
}

fn no_settings_of_git_are_read(transport: GitTransport) {
    let origin = fleet(1);
    let root = following(transport, &origin.url(), "1h");
    std::fs::write(root.path().join("home/.gitconfig"), "[url \"/surely/not/there\"]\n\tinsteadOf = /\n").unwrap();
    let agent = root.agent();
    wait_for_commit(&agent, &origin.head());
}
