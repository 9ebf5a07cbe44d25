//! Promise: what a dialect tells runs, each unit for itself, and its jobs come, wait and go while they live; a change of a settings file
//! touches the units that have read it and no other, and a mistake in one keeps what runs.
//!
//! Shown with `tally`, the dialect of the tests, which debug builds carry.
#![cfg(debug_assertions)]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use support::{Agent, Root, wait_for};

const FILES: &str = "[[inputs.tally]]\ncmd = \"python3\"\nfiles = [\"counts\"]\n";

struct Case {
    root: Root,
}

impl Case {
    fn new(settings: &str) -> Self {
        let root = Root::new();
        root.conf("tally.conf", settings);
        std::fs::create_dir_all(root.path().join("python.d/counts")).unwrap();
        Self { root }
    }

    fn tally(&self, name: &str, text: &str) -> PathBuf {
        self.root.script(&format!("counts/{name}"), text)
    }

    fn number(&self, name: &str, number: &str) {
        let path = self.root.path().join("python.d/counts").join(name);
        let new = path.with_extension("new");
        std::fs::write(&new, number).unwrap();
        std::fs::rename(&new, &path).unwrap();
    }

    /// The values of one field of the points of a job.
    fn values(&self, job: &str, field: &str) -> Vec<f64> {
        let text = self.root.points("metric");
        let of_job = text.lines().filter(|line| line.starts_with("tally,") && line.contains(&format!("job={job},")));
        let fields = of_job.filter_map(|line| line.split(' ').nth(1)).flat_map(|fields| fields.split(','));
        fields.filter_map(|pair| pair.strip_prefix(&format!("{field}="))?.parse().ok()).collect()
    }
}

fn rows(agent: &Agent) -> BTreeMap<String, Value> {
    let status = agent.status();
    let rows = status["units"].as_array().unwrap().iter();
    rows.map(|row| (row["id"].as_str().unwrap().to_owned(), row.clone())).collect()
}

fn wait(agent: &Agent, id: &str, what: &str, check: impl Fn(&Value) -> bool) -> Value {
    wait_for(&format!("{id}: {what}"), || match rows(agent).remove(id) {
        Some(row) if check(&row) => Ok(row),
        other => Err(format!("{other:#?}\n{:?}", rows(agent).keys())),
    })
}

fn wait_ids(agent: &Agent, expected: &[&str]) {
    wait_for(&format!("the rows {expected:?}"), || {
        let found: Vec<String> = rows(agent).into_keys().collect();
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

fn job<'r>(row: &'r Value, key: &str) -> &'r Value {
    row["jobs"].as_array().unwrap().iter().find(|job| job["key"] == key).unwrap_or(&Value::Null)
}

const WEB: &str = "unit web\njob hits every 0.2 file hits\njob misses every 0.2 file misses\n";

#[test]
fn units_of_one_file_run_apart_and_a_counter_becomes_a_rate() {
    let case = Case::new(FILES);
    case.tally("web.tally", &format!("{WEB}unit other\njob one every 0.2 file one\n"));
    for name in ["hits", "misses", "one"] {
        case.number(name, "10");
    }
    let agent = case.root.agent();
    let web = wait(&agent, "tally.web", "runs", |row| row["state"] == "ok");
    let other = wait(&agent, "tally.other", "runs", |row| row["state"] == "ok");
    assert_ne!(web["pid"], other["pid"]);
    assert_eq!(rows(&agent).into_keys().collect::<Vec<_>>(), ["tally.other", "tally.web"]);
    wait_for("a gauge", || match case.values("hits", "value").last() {
        Some(10.0) => Ok(()),
        last => Err(format!("{last:?}")),
    });
    case.number("hits", "30");
    wait_for("a rate", || {
        let rates = case.values("hits", "rate");
        if rates.iter().any(|rate| *rate > 0.0) { Ok(()) } else { Err(format!("{rates:?}")) }
    });
    assert!(agent.stop().0 == 0);
}

#[test]
fn a_job_whose_check_fails_waits_beside_one_that_runs_and_runs_once_its_file_is_there() {
    let case = Case::new(FILES);
    case.tally("web.tally", WEB);
    case.number("hits", "1");
    let agent = case.root.agent();
    let row = wait(&agent, "tally.web", "waits for one file", |row| job(row, "misses")["state"] == "waiting");
    assert!(job(&row, "misses")["why"].as_str().unwrap().ends_with("misses is not there"), "{row:#}");
    let row = wait(&agent, "tally.web", "runs the other", |row| job(row, "hits")["state"] == "ok");
    assert_eq!(row["state"], "ok");
    assert!(row["why"].as_str().unwrap().starts_with("1 of its 2 jobs wait: "), "{row:#}");
    let (code, text, _) = case.root.run(&["status", "tally.web"]);
    assert!(code == 0 && text.contains("misses") && text.contains("waiting"), "{text}");
    assert!(text.contains("tally.web (web) - ") && text.contains("web.tally:1\n"), "{text}");
    assert!(text.contains("dialect: tally") && text.contains("hits ("), "{text}");
    let (_, text, _) = case.root.run(&["status"]);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    let at = rows.iter().position(|row| row == &["tally.web", "ok"]).expect("the row of the unit");
    assert_eq!(rows[at + 1], ["misses", "waiting"], "{text}");
    assert!(!rows.iter().any(|row| row.first() == Some(&"hits")), "only jobs that are not well: {text}");
    case.number("misses", "2");
    wait(&agent, "tally.web", "runs both", |row| job(row, "misses")["state"] == "ok" && row["why"].is_null());
    std::fs::remove_file(case.root.path().join("python.d/counts/hits")).unwrap();
    let row = wait(&agent, "tally.web", "fails", |row| row["state"] == "failing");
    assert_eq!(
        (job(&row, "hits")["state"].as_str(), job(&row, "misses")["state"].as_str()),
        (Some("failing"), Some("ok"))
    );
    assert!(agent.stop().0 == 0);
}

#[test]
fn a_unit_of_which_nothing_can_be_checked_waits_and_is_checked_when_asked() {
    let case = Case::new(FILES);
    case.tally("web.tally", "unit web\njob hits every 3600 file hits\n");
    let agent = case.root.agent();
    let row = wait(&agent, "tally.web", "waits", |row| row["state"] == "waiting");
    assert_eq!(row["next"], "check");
    case.number("hits", "4");
    let (code, out, err) = case.root.run(&["run-now", "tally.web"]);
    assert_eq!((code, out.as_str()), (0, "tally.web runs now\n"), "{err}");
    wait(&agent, "tally.web", "runs", |row| row["state"] == "ok" && job(row, "hits")["runs_ok"] == 1);
    assert!(agent.stop().0 == 0);
}

#[test]
fn a_quiet_unit_that_waits_is_told_in_one_line_and_shown_on_request() {
    let case = Case::new(FILES);
    case.tally("web.tally", "unit web\njob hits every 0.2 file hits\nunit spare quiet\njob none every 60 file none\n");
    case.number("hits", "1");
    let agent = case.root.agent();
    wait(&agent, "tally.web", "runs", |row| row["state"] == "ok");
    let row = wait(&agent, "tally.spare", "waits", |row| row["state"] == "waiting");
    assert_eq!((&row["quiet"], &row["title"], &row["line"]), (&true.into(), &"spare".into(), &3.into()));
    let (_, text, _) = case.root.run(&["status"]);
    assert!(text.contains("1 unit: well ") && text.contains("1 stock unit found nothing to collect"), "{text}");
    assert!(!text.contains("tally.spare") && !text.contains('▲'), "{text}");
    let (_, text, _) = case.root.run(&["status", "--all"]);
    assert!(text.contains("tally.spare") && text.contains("none is not there") && !text.contains("stock"), "{text}");
    assert!(agent.stop().0 == 0);
}

#[test]
fn a_unit_that_is_off_has_no_worker_and_is_shown_on_request_with_the_place_that_says_so() {
    let case = Case::new(FILES);
    let path = case.tally("web.tally", "unit web\njob hits every 0.2 file hits\nunit spare off\n");
    case.number("hits", "1");
    let agent = case.root.agent();
    wait(&agent, "tally.web", "runs", |row| row["state"] == "ok");
    let row = wait(&agent, "tally.spare", "is off", |row| row["state"] == "off");
    let why = format!("{}:3: off", path.display());
    assert_eq!((row["why"].as_str(), row["pid"].as_u64(), row["dialect"].as_str()), (Some(&*why), None, Some("tally")));
    let (_, text, _) = case.root.run(&["status"]);
    assert!(text.contains("1 unit: well ") && !text.contains("spare"), "{text}");
    let (_, text, _) = case.root.run(&["status", "--all"]);
    assert!(text.contains("tally.spare") && text.contains(&why) && !text.contains('▲'), "{text}");
    let (code, text, _) = case.root.run(&["status", "spare"]);
    assert!(code == 0 && text.contains("state: off") && text.contains(&why), "{text}");
    let (code, _, err) = case.root.run(&["run-now", "spare"]);
    assert!(code == 1 && err.contains("is off and has no worker"), "{err}");
    case.tally("web.tally", "unit web\njob hits every 0.2 file hits\nunit spare\njob one every 0.2 file hits\n");
    wait(&agent, "tally.spare", "runs", |row| row["state"] == "ok");
    case.tally("web.tally", "unit web off\njob hits every 0.2 file hits\nunit spare\njob one every 0.2 file hits\n");
    wait(&agent, "tally.web", "is off", |row| row["state"] == "off" && row["pid"].is_null());
    assert!(agent.stop().0 == 0);
}

#[test]
fn what_waits_for_its_check_checks_when_somebody_asks_and_nothing_else_runs() {
    let case = Case::new(FILES);
    case.tally("web.tally", "unit web\njob hits every 3600 file hits\njob runs every 3600 file runs\n");
    case.tally("disk.tally", "unit disk\njob free every 3600 file free\n");
    case.number("runs", "1");
    let agent = case.root.agent();
    wait(&agent, "tally.web", "waits", |row| {
        job(row, "hits")["state"] == "waiting" && job(row, "runs")["runs_ok"] == 1
    });
    wait(&agent, "tally.disk", "waits", |row| row["state"] == "waiting");
    let (_, text, _) = case.root.run(&["status"]);
    assert!(text.contains("check now: pythond recheck tally.disk\n"), "{text}");
    let (code, _, err) = case.root.run(&["recheck"]);
    assert!(code == 2 && err.contains("<NAMES>...") && err.contains("required"), "{err}");
    let (code, _, err) = case.root.run(&["recheck", "tally.web", "tally.wep"]);
    assert_eq!((code, err.as_str()), (2, "error: no unit is called `tally.wep`; did you mean `tally.web`?\n"));
    case.number("hits", "4");
    let (code, out, err) = case.root.run(&["recheck", "web"]);
    assert_eq!((code, out.as_str()), (0, "tally.web checks now\n"), "{err}");
    let row = wait(&agent, "tally.web", "runs", |row| job(row, "hits")["runs_ok"] == 1);
    assert_eq!(job(&row, "runs")["runs_ok"], 1, "nobody asked it to run");
    let (code, out, _) = case.root.run(&["recheck", "web"]);
    assert_eq!((code, out.as_str()), (0, "tally.web has no job that waits for its check\n"));
    case.number("free", "5");
    let (code, out, err) = case.root.run(&["recheck", "--all"]);
    assert_eq!((code, out.as_str()), (0, "tally.disk checks now\n"), "{err}");
    wait(&agent, "tally.disk", "runs", |row| row["state"] == "ok");
    let (code, out, _) = case.root.run(&["recheck", "--all"]);
    assert_eq!((code, out.as_str()), (0, "nothing waits for its check\n"));
    assert!(agent.stop().0 == 0);
}

#[test]
fn jobs_come_and_go_while_their_unit_runs() {
    let case = Case::new(FILES);
    let folder = case.root.path().join("followed");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("a"), "1").unwrap();
    case.tally("disks.tally", &format!("unit disks\nfollow {} every 0.2\n", folder.display()));
    let agent = case.root.agent();
    let first = wait(&agent, "tally.disks", "has a job", |row| job(row, "followed/a")["state"] == "ok");
    std::fs::write(folder.join("b"), "2").unwrap();
    wait(&agent, "tally.disks", "has one more", |row| job(row, "followed/b")["state"] == "ok");
    std::fs::remove_file(folder.join("a")).unwrap();
    let row = wait(&agent, "tally.disks", "has one less", |row| job(row, "followed/a").is_null());
    assert_eq!((&row["pid"], &row["restarts"]), (&first["pid"], &0.into()));
    let text = String::from_utf8(agent.get("/metrics").body).unwrap();
    assert!(text.contains("job=\"followed/b\""), "{text}");
    assert!(agent.stop().0 == 0);
}

#[test]
fn a_changed_file_touches_its_own_units_and_what_is_new_starts_and_what_is_gone_ends() {
    let case = Case::new(FILES);
    case.tally("web.tally", WEB);
    case.tally("disk.tally", "unit disk\njob free every 0.2 file hits\n");
    for name in ["hits", "misses"] {
        case.number(name, "10");
    }
    let agent = case.root.agent();
    let web = wait(&agent, "tally.web", "runs", |row| row["state"] == "ok");
    let disk = wait(&agent, "tally.disk", "runs", |row| row["state"] == "ok");
    case.tally("web.tally", &format!("{WEB}job more every 0.2 file hits\nunit second\njob one every 0.2 file hits\n"));
    wait(&agent, "tally.second", "has come", |row| row["state"] == "ok");
    let now = wait(&agent, "tally.web", "has one job more", |row| job(row, "more")["state"] == "ok");
    assert_ne!(now["pid"], web["pid"]);
    assert_eq!(wait(&agent, "tally.disk", "runs on", |_| true)["pid"], disk["pid"], "nothing of it has changed");
    // A new file, and one that goes.
    case.tally("new.tally", "unit new\njob one every 0.2 file hits\n");
    wait(&agent, "tally.new", "has come with its file", |row| row["state"] == "ok");
    std::fs::remove_file(case.root.path().join("python.d/counts/web.tally")).unwrap();
    wait_ids(&agent, &["tally.disk", "tally.new"]);
    let same = wait(&agent, "tally.disk", "runs on", |_| true);
    assert_eq!((&same["pid"], &same["restarts"]), (&disk["pid"], &0.into()));
    assert!(agent.stop().0 == 0);
}

#[test]
fn a_mistake_keeps_what_runs_and_is_shown_with_its_place() {
    let case = Case::new(FILES);
    case.tally("web.tally", WEB);
    for name in ["hits", "misses"] {
        case.number(name, "10");
    }
    let agent = case.root.agent();
    let web = wait(&agent, "tally.web", "runs", |row| row["state"] == "ok");
    case.tally("web.tally", &WEB.replace("every 0.2 file misses", "evry 0.2 file misses"));
    let row = wait(&agent, "tally", "tells the mistake", |row| row["why"].is_string());
    let why = row["why"].as_str().unwrap();
    assert!(why.contains("web.tally:3:"), "{row:#}");
    let now = wait(&agent, "tally.web", "runs on", |row| row["state"] == "ok");
    assert!(now["runs_ok"].as_u64() >= web["runs_ok"].as_u64(), "{now:#}");
    case.tally("web.tally", WEB);
    wait_ids(&agent, &["tally.web"]);
    wait(&agent, "tally.web", "is well", |row| row["state"] == "ok" && row["why"].is_null());
    assert!(agent.stop().0 == 0);
}

#[test]
fn units_share_a_process_where_the_settings_say_so() {
    let case = Case::new(&format!("{FILES}isolation = \"input\"\n"));
    case.tally("web.tally", &format!("{WEB}unit other\njob one every 0.2 file one\n"));
    for name in ["hits", "misses", "one"] {
        case.number(name, "10");
    }
    let agent = case.root.agent();
    let web = wait(&agent, "tally.web", "runs", |row| row["state"] == "ok");
    let other = wait(&agent, "tally.other", "runs", |row| row["state"] == "ok");
    assert_eq!(web["pid"], other["pid"]);
    assert_eq!(web["shares_process"], true);
    assert!(agent.stop().0 == 0);
}

#[test]
fn a_file_of_another_dialect_is_named_with_the_table_it_belongs_to() {
    let case = Case::new("[[inputs.pythond]]\nname = \"x\"\ncmd = \"python3\"\ndirs = [\"counts\"]\n");
    case.tally("x.tally.py", "");
    case.tally(
        "y.py",
        "from datakit_framework import DataKitFramework\nclass Y(DataKitFramework):\n    def run(self):\n        pass\n",
    );
    let (code, text, err) = case.root.run(&["check"]);
    let all = format!("{text}{err}");
    assert!(all.contains("PD0805") && all.contains("put its folder under [[inputs.tally]]"), "{code} {all}");
    let agent = case.root.agent();
    wait_ids(&agent, &["counts.y"]);
    assert!(agent.stop().0 == 0);
}

#[test]
fn keys_of_a_dialect_are_checked_like_all_others() {
    let table = [
        ("[[inputs.tally]]\n", "`[[inputs.tally]]` needs `files`"),
        ("[[inputs.tally]]\nfiles = \"counts\"\n", "must be a list of files or folders"),
        ("[[inputs.tally]]\nfiles = [\"none\"]\n", "the folder `none` does not exist"),
        ("[[inputs.tally]]\nfiles = [\"counts\"]\ndirs = [\"counts\"]\n", "unknown key `dirs`"),
        ("[[inputs.tally]]\nfiles = [\"counts\"]\nisolation = \"class\"\n", "must be \"unit\" or \"input\""),
        ("[[inputs.tell]]\nfiles = [\"counts\"]\n", "unknown input `tell`"),
        ("[[inputs.tally]]\nfiles = [\"counts\"]\n[[inputs.tally]]\nfiles = [\"counts\"]\n", "given twice"),
    ];
    for (settings, expected) in table {
        let case = Case::new(settings);
        let (code, out, err) = case.root.run(&["check"]);
        assert!(code != 0 && format!("{out}{err}").contains(expected), "{settings}: {out}{err}");
    }
}
