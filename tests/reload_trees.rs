//! Scripts in exported trees, as git publishes them: another commit is another tree, and only what differs in it is restarted.

#[path = "support/worker_lab.rs"]
mod worker_lab;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pythond::config::InputTable;
use pythond::supervisor::plan::{Asking, PlanStep, UnitPlan, WantedUnit, plan};
use pythond::supervisor::{Change, ChangeOutcome, UnitState, look};
use pythond::worker::discover;
use worker_lab::{Lab, Running, kill};

const PATIENCE: Duration = Duration::from_secs(30);

/// Writes a tree with two scripts, a module that both import, and what lies beside them.
fn tree(lab: &Lab, commit: &str, change: impl Fn(&Path)) -> PathBuf {
    let home = lab.path().join(commit);
    let dir = home.join("python.d/my");
    std::fs::create_dir_all(dir.join("lib")).unwrap();
    for (name, body) in [("x", "import shared"), ("y", "pass")] {
        let text = format!(
            "from datakit_framework import DataKitFramework\nclass C(DataKitFramework):\n    interval = 0.1\n    def run(self): pass\n{body}\n"
        );
        let folder = dir.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.py")), text).unwrap();
        std::fs::write(folder.join("map.json"), "{}").unwrap();
        std::fs::write(folder.join("README.md"), "words").unwrap();
    }
    std::fs::write(dir.join("x/shared.py"), "V = 1\n").unwrap();
    change(&dir);
    home
}

fn wanted(home: &Path) -> Vec<WantedUnit> {
    let mut inputs = Vec::new();
    for name in ["x", "y"] {
        let base = home.join("python.d");
        let script = base.join("my").join(name).join(format!("{name}.py"));
        inputs.push(InputTable { bases: vec![base], ..InputTable::plain(name, "python3", script) });
    }
    let specs = discover::scripts(&inputs).specs;
    specs.into_iter().map(|spec| WantedUnit { home: Some(home.to_owned()), ..spec.into() }).collect()
}

async fn planned(running: &Running, home: &Path) -> (UnitPlan, Vec<WantedUnit>) {
    let runs = running.handle.running().await.unwrap();
    let wanted = look(&runs, wanted(home));
    (plan(&runs, &wanted, Asking::Noticed), wanted)
}

async fn apply(running: &Running, home: &Path) -> Vec<(String, ChangeOutcome)> {
    let (plan, wanted) = planned(running, home).await;
    let changes = plan.into_iter().zip(wanted).map(|((_, step), wanted)| match step {
        PlanStep::Try(_) | PlanStep::Restart(_) => Change::Restart(wanted),
        PlanStep::Move => Change::Update(wanted),
        other => panic!("{other:?}"),
    });
    running.apply(changes.collect()).await
}

async fn started(lab: &Lab, home: &Path) -> Running {
    let running = lab.start_wanted(wanted(home));
    for id in ["my.x.x", "my.y.y"] {
        running.wait(id, "runs", |view| view.runs_ok > 0).await;
    }
    running
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_changes_words_only_restarts_nobody_and_a_later_start_is_in_the_new_tree() {
    let lab = Lab::new();
    let first = tree(&lab, "one", |_| ());
    let running = started(&lab, &first).await;
    let pid = running.view("my.x.x").await.pid.unwrap();
    let words = |dir: &Path| {
        std::fs::write(dir.join("x/README.md"), "other words").unwrap();
        std::fs::write(dir.join("x/LICENSE"), "free").unwrap();
        std::fs::write(dir.join("lib/unused.py"), "").unwrap();
    };
    let second = tree(&lab, "two", words);
    let (plan, _) = planned(&running, &second).await;
    assert!(plan.iter().all(|(_, step)| *step == PlanStep::Move), "{plan:?}");
    apply(&running, &second).await;
    assert_eq!(running.view("my.x.x").await.pid, Some(pid));
    assert_eq!(running.handle.homes().await, BTreeSet::from([first.clone(), second.clone()]), "both are in use");
    let (plan, _) = planned(&running, &second).await;
    assert!(plan.iter().all(|(_, step)| *step == PlanStep::Keep), "{plan:?}");
    for id in ["my.x.x", "my.y.y"] {
        kill(running.view(id).await.pid.unwrap(), rustix::process::Signal::KILL);
        let before = running.view(id).await.runs_ok;
        running.wait(id, "runs again", |view| view.restarts == 1 && view.runs_ok > before).await;
    }
    assert_eq!(running.handle.homes().await, BTreeSet::from([second.clone()]));
    assert!(running.view("my.x.x").await.file.starts_with(&second));
    running.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_restarts_those_whose_code_module_or_data_it_changes() {
    type Edit = fn(&Path);
    let table: [(&str, Edit, &str); 4] = [
        ("code", |dir| append(&dir.join("y/y.py"), "# more\n"), "my.y.y"),
        ("module", |dir| append(&dir.join("x/shared.py"), "W = 2\n"), "my.x.x"),
        ("data", |dir| append(&dir.join("x/map.json"), " "), "my.x.x"),
        ("more-data", |dir| append(&dir.join("y/table.csv"), "1,2"), "my.y.y"),
    ];
    for (name, edit, changed) in table {
        let lab = Lab::new();
        let running = started(&lab, &tree(&lab, "one", |_| ())).await;
        let second = tree(&lab, name, edit);
        let (plan, _) = planned(&running, &second).await;
        let restarted: Vec<&str> =
            plan.iter().filter(|(_, step)| matches!(step, PlanStep::Try(_))).map(|(id, _)| id.as_str()).collect();
        assert_eq!(restarted, [changed], "{name}: {plan:?}");
        let outcomes = apply(&running, &second).await;
        let pid = running.view(changed).await.pid;
        assert!(outcomes.contains(&(changed.to_owned(), ChangeOutcome::Runs { pid })), "{name}: {outcomes:?}");
        running.stop(PATIENCE).await;
    }
}

fn append(path: &Path, text: &str) {
    let before = std::fs::read_to_string(path).unwrap_or_default();
    std::fs::write(path, before + text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_fails_only_in_its_place_leaves_it_to_the_last_good_one() {
    let lab = Lab::new();
    let first = tree(&lab, "one", |_| ());
    let running = started(&lab, &first).await;
    // As if the file had changed between the trial and the start.
    let second = tree(&lab, "two", |dir| append(&dir.join("x/x.py"), "def broken(:\n"));
    let outcomes = apply(&running, &second).await;
    let (_, outcome) = &outcomes[0];
    assert!(matches!(outcome, ChangeOutcome::Fails { why } if why.contains("x/x.py:6: syntax error")), "{outcomes:?}");
    let view = running.wait("my.x.x", "runs from its copy", |view| view.state == UnitState::Ok).await;
    assert!(view.refused.unwrap().contains(", from its copy; refused at"));
    // The tree it came from is gone, too; and a third one is good.
    std::fs::remove_dir_all(&first).unwrap();
    kill(view.pid.unwrap(), rustix::process::Signal::KILL);
    let runs = view.runs_ok;
    running.wait("my.x.x", "runs from its copy", |view| view.restarts > 1 && view.runs_ok > runs).await;
    let third = tree(&lab, "three", |dir| append(&dir.join("x/x.py"), "# mended\n"));
    let outcomes = apply(&running, &third).await;
    assert!(matches!(outcomes[0].1, ChangeOutcome::Runs { pid: Some(_) }), "{outcomes:?}");
    assert_eq!(running.view("my.x.x").await.refused, None);
    running.stop(PATIENCE).await;
}
