//! Saved, and it runs: only what changed is restarted, and what is broken leaves the last good version its place.

#[path = "support/reload_lab.rs"]
mod reload_lab;
mod support;

use std::fs;
use std::io::Write;
use std::time::{Duration, SystemTime};

use reload_lab::{all_run, collector, is_shown, outcome, pids, reload, reloads, runs, save, text};
use rustix::process::{Pid, Signal, kill_process};
use support::{Root, wait_for, wait_until};

fn kill(pid: u64) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn a_saved_script_runs_at_once_and_49_others_keep_their_processes() {
    let root = Root::new();
    for number in 0..50 {
        root.script(&format!("my/s{number}.py"), &collector(&format!("s{number}"), 1, 2.0));
    }
    root.input("in", &["my"], "");
    let agent = root.agent();
    let before = all_run(&agent, 50);
    root.script("my/s7.py", &collector("s7", 2, 2.0));
    runs(&root, "s7", 2);
    let after = pids(&agent);
    let changed: Vec<&String> = before.keys().filter(|id| after.get(*id) != before.get(*id)).collect();
    assert_eq!(changed, ["my.s7"]);
    assert_eq!(after.len(), 50);
    let (code, outcome) = reload(&root);
    assert_eq!(code, 0);
    assert!(outcome["units"].as_array().unwrap().iter().all(|script| script["outcome"] == "unchanged"));
    assert_eq!(pids(&agent), after, "nothing changed, nothing restarts");
}

#[test]
fn a_broken_save_keeps_the_old_version_through_a_crash_and_a_new_agent_until_it_is_mended() {
    let root = Root::new();
    let good = format!(
        "{}        if __import__('os').path.exists(__file__ + '.raise'): raise KeyError('asked')\n",
        collector("x", 1, 0.2)
    );
    let path = root.script("my/x.py", &good);
    root.input("in", &["my"], "");
    let agent = root.agent();
    let before = all_run(&agent, 1);
    root.script("my/x.py", &good.replace("def run(self):", "def run(self:"));
    let script = agent.wait_script("my.x", "its new version is refused", |script| script["refused"].is_string());
    let why = text(&script["why"]);
    assert!(
        why.starts_with("last good version of ") && why.contains("refused at ") && why.contains("my/x.py:5: "),
        "{why}"
    );
    assert!(why.contains("syntax error") && why.contains("[PD0201]"), "{why}");
    assert_eq!((pids(&agent), &script["state"]), (before.clone(), &"ok".into()), "the old one runs on");
    let (code, out, _) = root.run(&["reload"]);
    assert_eq!(code, 3);
    assert!(out.contains("my.x  refused") && out.contains("my/x.py:5: syntax error"), "{out}");
    let (_, out, _) = root.run(&["status", "my.x"]);
    assert!(out.contains("last good version of"), "{out}");
    wait_until("the log says so", || {
        agent.console().contains("my.x refused") && agent.console().contains("my/x.py:5: ")
    });

    // The old one dies: its copy takes over.
    kill(before["my.x"]);
    let script = agent.wait_script("my.x", "runs from its copy", |script| {
        script["pid"].is_u64() && script["pid"] != before["my.x"] && script["state"] == "ok"
    });
    assert!(text(&script["why"]).contains(", from its copy; refused at"), "{script:#}");
    fs::write(path.with_extension("py.raise"), "").unwrap();
    let script = agent.wait_script("my.x", "raises", |script| script["last_error"].is_object());
    let error = &script["last_error"];
    assert_eq!(error["place"], "my/x.py:7 in run");
    assert!(text(&error["traceback"]).contains(&format!("File \"{}\", line 7, in run", path.display())), "{error:#}");
    assert!(text(&error["traceback"]).contains("raise KeyError('asked')"), "the line that runs, not the one on disk");
    fs::remove_file(path.with_extension("py.raise")).unwrap();
    assert_eq!(agent.stop().0, 0);

    // A new agent finds the broken file.
    let agent = root.agent();
    let script = agent.wait_script("my.x", "runs from its copy", |script| script["runs_ok"].as_u64() > Some(0));
    let why = text(&script["why"]);
    assert!(why.contains("from its copy") && why.contains("my/x.py:5: syntax error"), "{why}");
    save(&root, "x", 2);
    runs(&root, "x", 2);
    let script = agent.wait_script("my.x", "is well", |script| script["why"].is_null());
    assert!(script["refused"].is_null() && script["state"] == "ok");
}

#[test]
fn what_is_put_back_as_it_runs_is_no_change() {
    let root = Root::new();
    save(&root, "x", 1);
    root.input("in", &["my"], "");
    let agent = root.agent();
    let before = all_run(&agent, 1);
    root.script("my/x.py", "def broken(:\n");
    agent.wait_script("my.x", "its new version is refused", |script| script["refused"].is_string());
    save(&root, "x", 1);
    agent.wait_script("my.x", "nothing is refused", |script| script["refused"].is_null() && script["why"].is_null());
    assert_eq!(pids(&agent), before);
}

#[test]
fn editors_that_rename_are_noticed_and_their_other_files_are_not() {
    let root = Root::new();
    let path = save(&root, "x", 1);
    root.input("in", &["my"], "");
    let agent = root.agent();
    all_run(&agent, 1);
    // As vim does it: a swap file, a probe, the old file out of the way, the new one in its place.
    let dir = path.parent().unwrap();
    for version in 2..5 {
        fs::write(dir.join(".x.py.swp"), "swap").unwrap();
        fs::write(dir.join("4913"), "").unwrap();
        fs::remove_file(dir.join("4913")).unwrap();
        fs::rename(&path, dir.join("x.py~")).unwrap();
        fs::write(&path, collector("x", version, 0.2)).unwrap();
        runs(&root, "x", version);
        // As many others: a temporary file, renamed over the old one.
        fs::write(dir.join(".x.py.tmp"), collector("x", version + 10, 0.2)).unwrap();
        fs::rename(dir.join(".x.py.tmp"), &path).unwrap();
        runs(&root, "x", version + 10);
    }
    let told = reloads(&agent);
    assert!(is_shown(&agent, "my.x"), "it never left");
    for name in [".#x.py", "x.py~", "#x.py#", ".x.py.swp", "4913", "notes.txt"] {
        fs::write(dir.join(name), "garbage").unwrap();
    }
    fs::create_dir_all(dir.join("__pycache__")).unwrap();
    fs::write(dir.join("__pycache__/x.cpython-311.pyc"), "garbage").unwrap();
    save(&root, "y", 1);
    runs(&root, "y", 1);
    assert_eq!(reloads(&agent), told + 1, "only the new script was worth a reload:\n{}", agent.console());
}

#[test]
fn a_config_map_takes_effect_when_its_link_is_swapped() {
    let root = Root::new();
    let dir = root.path().join("python.d/map");
    let fill = |name: &str, version: u32| {
        fs::create_dir_all(dir.join(name)).unwrap();
        fs::write(dir.join(name).join("x.py"), collector("x", version, 0.2)).unwrap();
        std::os::unix::fs::symlink(name, dir.join("..data_tmp")).unwrap();
        fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    };
    fill("..2026_11_21_10", 1);
    std::os::unix::fs::symlink("..data/x.py", dir.join("x.py")).unwrap();
    root.input("in", &["map"], "");
    let agent = root.agent();
    all_run(&agent, 1);
    for version in 2..4 {
        fill(&format!("..2026_11_21_1{version}"), version);
        fs::remove_dir_all(dir.join(format!("..2026_11_21_1{}", if version == 2 { 0 } else { version - 1 }))).unwrap();
        runs(&root, "x", version);
    }
    let script = agent.script("map.x");
    assert!(script["why"].is_null() && script["state"] == "ok", "{script:#}");
}

#[test]
fn a_file_written_in_two_halves_runs_when_the_second_one_has_come() {
    let root = Root::new();
    let path = save(&root, "x", 1);
    root.input("in", &["my"], "");
    let agent = root.agent();
    let before = all_run(&agent, 1);
    let new = collector("x", 2, 0.2);
    let (first, second) = new.split_at(new.find("(measurement").unwrap() + 5);
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(first.as_bytes()).unwrap();
    agent.wait_script("my.x", "half of it is refused", |script| script["refused"].is_string());
    assert_eq!(pids(&agent), before);
    file.write_all(second.as_bytes()).unwrap();
    drop(file);
    runs(&root, "x", 2);
    agent.wait_script("my.x", "is well", |script| script["why"].is_null());
}

#[test]
fn a_file_that_is_emptied_is_taken_for_one_that_is_being_written() {
    let root = Root::new();
    let path = save(&root, "x", 1);
    save(&root, "y", 1);
    root.input("in", &["my"], "");
    let agent = root.agent();
    let before = all_run(&agent, 2);
    fs::write(&path, "").unwrap();
    agent.wait_script("my.x", "nothing is refused", |script| script["refused"].is_string());
    assert_eq!(pids(&agent), before);
    assert_eq!(agent.stop().0, 0);
    let agent = root.agent();
    agent.wait_script("my.x", "runs from its copy", |script| script["runs_ok"].as_u64() > Some(0));
}

#[test]
fn the_content_decides_and_not_the_time_of_change() {
    let root = Root::new();
    let user = |name: &str| {
        collector(name, 0, 0.2).replace("\"v\": 0", "\"v\": helper.V").replacen("\n", "\nimport helper\n", 1)
    };
    let helper = root.script("my/helper.py", "V = 1\n");
    for name in ["x", "y"] {
        root.script(&format!("my/{name}.py"), &user(name));
    }
    save(&root, "alone", 1);
    root.input("in", &["my"], "");
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let set_time =
        |path: &std::path::Path| fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
    set_time(&helper);
    let agent = root.agent();
    let before = all_run(&agent, 3);
    // Same size, same time, other content: of a module that two of three scripts import.
    fs::write(&helper, "V = 2\n").unwrap();
    set_time(&helper);
    runs(&root, "x", 2);
    runs(&root, "y", 2);
    let middle = pids(&agent);
    assert_eq!(middle["my.alone"], before["my.alone"]);
    assert!(middle["my.x"] != before["my.x"] && middle["my.y"] != before["my.y"]);
    // Another time, same content.
    fs::write(&helper, "V = 2\n").unwrap();
    let (code, reloaded) = reload(&root);
    assert_eq!((code, outcome(&reloaded, "my.x").0.as_str()), (0, "unchanged"));
    assert_eq!(outcome(&reloaded, "my.helper").0, "helper");
    assert_eq!(pids(&agent), middle);
}

#[test]
fn a_broken_module_is_refused_for_all_who_import_it() {
    let root = Root::new();
    let text_of = collector("x", 0, 0.2).replace("\"v\": 0", "\"v\": helper.V").replacen("\n", "\nimport helper\n", 1);
    root.script("my/helper.py", "V = 1\n");
    root.script("my/x.py", &text_of);
    root.input("in", &["my"], "");
    let agent = root.agent();
    let before = all_run(&agent, 1);
    root.script("my/helper.py", "V = \n");
    let script = agent.wait_script("my.x", "it is refused", |script| script["refused"].is_string());
    assert!(text(&script["refused"]).contains("my/helper.py:1: syntax error"), "{script:#}");
    fs::remove_file(root.path().join("python.d/my/helper.py")).unwrap();
    agent.wait_script("my.x", "the missing module is refused", |script| {
        script["refused"].as_str().is_some_and(|why| why.contains("No module named 'helper'"))
    });
    kill(before["my.x"]);
    agent.wait_script("my.x", "runs with the copy of its module", |script| {
        script["pid"].is_u64() && script["pid"] != before["my.x"] && script["state"] == "ok"
    });
    root.script("my/helper.py", "V = 3\n");
    runs(&root, "x", 3);
    agent.wait_script("my.x", "is well", |script| script["why"].is_null());
}

#[test]
fn new_files_and_folders_are_found_and_removed_ones_leave() {
    let root = Root::new();
    save(&root, "x", 1);
    root.input("in", &["my"], "");
    let agent = root.agent();
    let before = all_run(&agent, 1);
    save(&root, "y", 1);
    runs(&root, "y", 1);
    root.script("my/sub/z.py", &collector("z", 1, 0.2));
    runs(&root, "z", 1);
    // In a folder that is watched only since it came.
    root.script("my/sub/z.py", &collector("z", 2, 0.2));
    runs(&root, "z", 2);
    fs::remove_dir_all(root.path().join("python.d/my/sub")).unwrap();
    wait_until("a removed script has left", || !is_shown(&agent, "my.sub.z"));
    fs::remove_file(root.path().join("python.d/my/y.py")).unwrap();
    wait_until("a removed script has left", || !is_shown(&agent, "my.y"));
    assert_eq!(pids(&agent), before);
    assert!(!root.path().join("data/last-good/my.y").exists() && root.path().join("data/last-good/my.x").exists());
    // And back again.
    root.script("my/sub/z.py", &collector("z", 3, 0.2));
    runs(&root, "z", 3);
}

#[test]
fn a_folder_that_is_swapped_as_a_whole_takes_effect() {
    let root = Root::new();
    save(&root, "x", 1);
    root.input("in", &["my"], "");
    let agent = root.agent();
    all_run(&agent, 1);
    let python_d = root.path().join("python.d");
    for version in 2..4 {
        root.script("next/x.py", &collector("x", version, 0.2));
        fs::rename(python_d.join("my"), python_d.join(format!("old{version}"))).unwrap();
        fs::rename(python_d.join("next"), python_d.join("my")).unwrap();
        runs(&root, "x", version);
    }
    save(&root, "x", 9);
    runs(&root, "x", 9);
}

#[test]
fn what_a_script_writes_beside_itself_restarts_nobody() {
    let root = Root::new();
    let text_of = collector("x", 1, 0.05) + "        open(__file__ + '.state', 'a').write('.')\n";
    root.script("my/x.py", &text_of);
    root.input("in", &["my"], "[reload]\npoll = \"1s\"\n");
    let agent = root.agent();
    let before = all_run(&agent, 1);
    let path = root.path().join("python.d/my/x.py.state");
    wait_for("a hundred runs", || {
        let count = fs::metadata(&path).map_or(0, |meta| meta.len());
        if count > 100 { Ok(()) } else { Err(count.to_string()) }
    });
    assert_eq!((pids(&agent), reloads(&agent)), (before, 0), "{}", agent.console());
}

#[test]
fn the_old_worker_ends_its_run_before_the_new_one_starts() {
    let root = Root::new();
    let slow = |version: u32| {
        format!(
            "import os, time\nfrom datakit_framework import DataKitFramework\nclass C(DataKitFramework):\n    interval = 60\n    def run(self):\n        log = open(__file__ + '.log', 'a')\n        log.write('begin {version}\\n'); log.flush()\n        time.sleep(1.5)\n        self.feed_metric(measurement='slow', fields={{'v': {version}}})\n        log.write('end {version}\\n'); log.flush()\n"
        )
    };
    let path = root.script("my/slow.py", &slow(1));
    root.input("in", &["my"], "");
    let agent = root.agent();
    let log = path.with_extension("py.log");
    let read = || fs::read_to_string(&log).unwrap_or_default();
    wait_until("the run has begun", || read() == "begin 1\n");
    root.script("my/slow.py", &slow(2));
    let (code, reloaded) = reload(&root);
    assert_eq!((code, outcome(&reloaded, "my.slow").0.as_str()), (0, "restarted"));
    runs(&root, "slow", 2);
    runs(&root, "slow", 1);
    assert!(read().starts_with("begin 1\nend 1\nbegin 2\n"), "{}", read());
    assert!(agent.script("my.slow")["runs_ok"].as_u64() > Some(1));
}

#[test]
fn without_watching_only_a_reload_takes_effect_and_a_look_from_time_to_time_finds_what_no_notice_tells() {
    let root = Root::new();
    let path = save(&root, "x", 1);
    root.input("in", &["my"], "[reload]\nwatch = false\npoll = \"1s\"\n");
    // Written under another name, so that nobody who watches this folder is told.
    let other = root.path().join("elsewhere.py");
    fs::hard_link(&path, &other).unwrap();
    let agent = root.agent();
    let before = all_run(&agent, 1);
    save(&root, "x", 2);
    let (code, reloaded) = reload(&root);
    assert_eq!((code, outcome(&reloaded, "my.x").1.as_str()), (0, "my/x.py changed"));
    assert_ne!(pids(&agent), before);
    assert!(!agent.console().contains("a changed file"), "it was noticed without being asked for");
    root.input("in", &["my"], "[reload]\npoll = \"1s\"\n");
    assert_eq!(reload(&root).1["settings"], serde_json::json!(["[reload]"]));
    fs::write(&other, collector("x", 3, 0.2)).unwrap();
    runs(&root, "x", 3);
    wait_until("the log says so", || agent.console().contains("reload (a changed file): my.x restarted"));
}

#[test]
fn at_the_limits_of_inotify_changes_are_found_by_looking_and_the_cure_is_told() {
    let may = std::process::Command::new("unshare").args(["-Ur", "true"]).status().is_ok_and(|status| status.success());
    if !may {
        eprintln!("skipped: this system allows no user namespace, in which the limits could be set");
        return;
    }
    for (limit, value) in [("max_inotify_instances", 0), ("max_inotify_watches", 1)] {
        let root = Root::new();
        save(&root, "x", 1);
        root.input("in", &["my"], "[reload]\npoll = \"1s\"\n");
        let agent = root.command(&["agent"]);
        let mut limited = std::process::Command::new("unshare");
        let set = format!("echo {value} > /proc/sys/user/{limit} && exec \"$0\" \"$@\"");
        limited.args(["-Ur", "sh", "-c", &set]).arg(agent.get_program()).args(agent.get_args());
        for (name, value) in agent.get_envs() {
            limited.env(name, value.unwrap());
        }
        let agent = support::Agent::start(&root, limited);
        all_run(&agent, 1);
        let cure = limit.replace("max_inotify_", "fs.inotify.max_user_");
        let (_, out, _) = root.run(&["status"]);
        assert!(out.contains("PD0703") && out.contains(&cure), "{out}");
        assert_eq!(agent.console().matches("PD0703").count(), 1, "it is told once");
        save(&root, "x", 2);
        runs(&root, "x", 2);
    }
}

#[test]
fn a_script_that_failed_runs_as_soon_as_it_is_mended_and_a_refused_one_when_asked_for() {
    let root = Root::new();
    root.script("my/new.py", &collector("new", 1, 0.2).replacen("\n", "\nimport missing_module\n", 1));
    root.input("in", &["my"], "");
    let agent = root.agent();
    let script = agent.wait_script("my.new", "cannot be loaded", |script| script["state"] == "load-error");
    assert!(script["refused"].is_null(), "there is no version before: {script:#}");
    let (code, reloaded) = reload(&root);
    let (what, why) = outcome(&reloaded, "my.new");
    assert_eq!((code, what.as_str()), (3, "refused"));
    assert!(why.contains("my/new.py:2: ") && why.contains("missing_module"), "{why}");
    // The module comes, the script's own file stays as it is.
    root.script("my/missing_module.py", "");
    runs(&root, "new", 1);
}

#[test]
fn a_reload_can_be_told_over_the_socket_only() {
    let root = Root::new();
    save(&root, "x", 1);
    root.input("in", &["my"], "");
    let agent = root.agent();
    all_run(&agent, 1);
    for path in ["/api/v1/reload", "/api/v1/units/my.x/restart", "/api/v1/units/my.x/run-now"] {
        assert_eq!(agent.post(path, &[], b"").status, 403, "{path}");
    }
}

#[test]
fn a_script_is_told_to_run_or_restart_by_name_and_a_wrong_name_is_answered_with_the_right_one() {
    let root = Root::new();
    root.script("my/hourly.py", &collector("hourly", 1, 3600.0));
    root.script("my/other.py", &collector("other", 1, 3600.0));
    root.input("in", &["my"], "");
    let agent = root.agent();
    let before = all_run(&agent, 2);
    assert_eq!(root.run(&["run-now", "hourly"]), (0, "my.hourly runs now\n".to_owned(), String::new()));
    agent.wait_script("my.hourly", "ran again", |script| script["runs_ok"] == 2);
    assert_eq!(root.run(&["restart", "my.hourly"]).0, 0);
    agent.wait_script("my.hourly", "is another process", |script| {
        script["pid"].as_u64().is_some_and(|pid| pid != before["my.hourly"]) && script["runs_ok"] == 3
    });
    assert_eq!(pids(&agent)["my.other"], before["my.other"]);
    let (code, _, err) = root.run(&["restart", "my.hourli"]);
    assert_eq!((code, err.as_str()), (2, "error: no unit is called `my.hourli`; did you mean `my.hourly`?\n"));
    let (code, _, err) = root.run(&["run-now", "hourl"]);
    assert_eq!((code, err.contains("did you mean `my.hourly`")), (2, true), "{err}");
    drop(agent);
    for command in [&["reload"][..], &["restart", "my.x"], &["run-now", "my.x"]] {
        assert_eq!(root.run(command).0, 7, "{command:?}");
    }
}
