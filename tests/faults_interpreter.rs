//! The rows P of `tests/FAULTS.md`: interpreters that are none, environments that break them, rights that are missing.

#[path = "support/invariants.rs"]
mod invariants;
#[path = "support/machine.rs"]
mod machine;
mod support;
#[path = "support/worker_lab.rs"]
mod worker_lab;

use pythond::supervisor::UnitState;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use invariants::{Case, collector, plain, python, signal};
use machine::python_of_nobody;
use rustix::process::Signal;
use support::{Agent, wait_until};
use worker_lab::Lab;

fn executable(path: &Path, text: &str) -> String {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// Interpreters that are too old, as far as this machine has some.
fn old_pythons() -> Vec<(String, PathBuf)> {
    let Ok(versions) = std::fs::read_dir(Path::new(&std::env::var("HOME").unwrap_or_default()).join(".pyenv/versions"))
    else {
        return Vec::new();
    };
    let found = versions.flatten().filter_map(|entry| {
        let version = entry.file_name().into_string().ok()?;
        let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(99));
        let is_old = (parts.next()?, parts.next()?) < (3, 8);
        Some((version, entry.path().join("bin/python"))).filter(|(_, path)| is_old && path.exists())
    });
    found.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_an_interpreter_that_cannot_serve_is_named_with_the_reason() {
    let mut lab = Lab::new();
    lab.limits.spawn = Duration::from_secs(3);
    let broken = lab.path().join("venv/bin/python3");
    std::fs::create_dir_all(broken.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/surely/not/there/python3", &broken).unwrap();
    let mut cases = vec![
        ("venv".to_owned(), broken.display().to_string(), "No such file".to_owned()),
        (
            "hangs".to_owned(),
            executable(&lab.path().join("hangs.sh"), "#!/bin/sh\nexec sleep 1000\n"),
            "did not start within 3 s".to_owned(),
        ),
        (
            "leaves".to_owned(),
            executable(&lab.path().join("leaves.sh"), "#!/bin/sh\necho no licence\nexit 0\n"),
            "exited with code 0 before it said anything".to_owned(),
        ),
        (
            "text".to_owned(),
            executable(&lab.path().join("text"), "this is no program\n"),
            "text` a Python 3?".to_owned(),
        ),
    ];
    for (version, path) in old_pythons() {
        let name = format!("old{}", version.replace('.', "_"));
        cases.push((
            name,
            path.display().to_string(),
            format!("Python {version} is too old, pythond needs 3.8 or newer"),
        ));
    }
    if cases.len() == 4 {
        eprintln!("not tested: this machine has no Python before 3.8");
    }
    for (name, ..) in &cases {
        lab.collector(name, 60.0, "pass");
    }
    // Speaks before its time, and still is one.
    let banner =
        executable(&lab.path().join("banner.sh"), &format!("#!/bin/sh\necho welcome\nexec {} \"$@\"\n", python()));
    lab.collector("banner", 60.0, "pass");
    let running = lab.start_with(|spec| {
        let found = cases.iter().find(|(name, ..)| spec.id == format!("{name}.{name}"));
        spec.cmd = found.map_or_else(|| banner.clone(), |(_, cmd, _)| cmd.clone());
        spec.stop_grace = Duration::from_millis(200);
    });
    running.wait("banner.banner", "runs", |view| view.runs_ok > 0 && view.last_words == ["welcome"]).await;
    for (name, _, told) in &cases {
        let is_told =
            |view: &pythond::supervisor::UnitSnapshot| view.why.as_ref().is_some_and(|why| why.contains(told));
        running.wait(&format!("{name}.{name}"), told, is_told).await;
    }
    for name in cases.iter().map(|(name, ..)| name).filter(|name| name.starts_with("old") || *name == "venv") {
        // Nothing changes by itself, so it is not tried again and again.
        running.wait(&format!("{name}.{name}"), "waits for a change", |view| view.state == UnitState::LoadError).await;
    }
    running.stop(Duration::from_secs(60)).await;
    assert_eq!(lab.processes(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_a_folder_that_is_gone_is_told_from_an_interpreter_that_is_gone() {
    let lab = Lab::new();
    lab.collector("gone", 60.0, "pass");
    let running = lab.start_with(|spec| spec.units[0].file = lab.path().join("surely/not/there/gone.py"));
    let view = running.wait("gone.gone", "is explained", |view| view.state == UnitState::LoadError).await;
    let why = view.why.unwrap();
    assert!(why.contains("the folder") && why.contains("surely/not/there is not there"), "{why}");
    running.stop(Duration::from_secs(60)).await;
}

#[test]
fn p1_a_shim_is_asked_once_and_its_interpreter_taken_after() {
    let case = Case::new();
    let asked = case.root.path().join("asked");
    let shim = executable(
        &case.root.path().join("shims/python3"),
        &format!("#!/bin/sh\necho x >> {}\nexec {} \"$@\"\n", asked.display(), python()),
    );
    case.add("shimmed", &format!("cmd = {shim:?}"), &collector(0.3, "pass"));
    let watched = case.start();
    for restarts in 0..3 {
        watched.wait_good("shimmed", restarts);
        if restarts < 2 {
            signal(watched.pid("shimmed"), Signal::KILL);
        }
    }
    let times = std::fs::read_to_string(&asked).unwrap().lines().count();
    assert_eq!((times, watched.starts("shimmed")), (1, 3));
    watched.holds();
}

#[test]
fn p2_what_envs_say_is_obeyed_and_a_wrong_home_is_named() {
    let case = Case::new();
    let extra = case.root.path().join("extra");
    std::fs::create_dir(&extra).unwrap();
    std::fs::write(extra.join("from_pythonpath.py"), "ANSWER = 42\n").unwrap();
    std::fs::write(extra.join("startup.py"), "raise SystemExit('only for a prompt')\n").unwrap();
    let body = "\
import from_pythonpath
env = os.environ
self.feed_metric(measurement='env', tags={'library': env['LD_LIBRARY_PATH'], 'named': env['NAMED'], 'unset': env['UNSET'], 'both': str('HOME' in env and 'PATH' in env)}, fields={'answer': from_pythonpath.ANSWER})";
    let envs = format!(
        "envs = [\"LD_LIBRARY_PATH=/opt/lib:$FROM_OUTSIDE\", \"PYTHONPATH={0}\", \"PYTHONSTARTUP={0}/startup.py\", \"NAMED=${{FROM_OUTSIDE}}/x\", \"UNSET=$SURELY_NOT_SET\"]",
        extra.display()
    );
    case.add("env", &envs, &collector(0.3, body));
    case.add("homeless", "envs = [\"PYTHONHOME=/surely/not/there\"]", &collector(0.3, "pass"));
    let mut command = case.root.command(&["agent"]);
    command.env("FROM_OUTSIDE", "/from");
    let watched = case.start_by(command);
    wait_until("its point", || {
        let wanted =
            "env,both=True,host=testhost,library=/opt/lib:/from,named=/from/x,unset=$SURELY_NOT_SET answer=42.0";
        watched.root.points("metric").contains(wanted)
    });
    let homeless = watched.wait("homeless", "is explained", |script| script["why"].is_string());
    assert!(homeless["why"].as_str().unwrap().contains("PYTHONHOME=`/surely/not/there`"), "{homeless:#}");
    watched.holds();
}

/// The agent as a user without rights: it runs what it may, and says what it may not.
#[test]
fn p3_an_agent_that_is_not_root_runs_what_it_may_read() {
    let Some(python) = python_of_nobody() else { return };
    let case = Case::new();
    for name in ["secret", "own"] {
        case.add(name, "", &collector(0.3, "pass"));
    }
    // Where nobody gets to: the interpreter and the binary of a build below /root.
    let cmd = format!("cmd = \"{python}\"");
    for name in ["secret", "own", "witness"] {
        case.input(name, &cmd);
    }
    let binary = case.root.path().join("pythond");
    std::fs::copy(env!("CARGO_BIN_EXE_pythond"), &binary).unwrap();
    let root = case.root.path().to_owned();
    let given = Command::new("chown").args(["-R", "65534:65534"]).arg(&root).status().unwrap();
    assert!(given.success());
    let secret = root.join("python.d/secret/secret.py");
    let taken = Command::new("chown").arg("0:0").arg(&secret).status().unwrap();
    assert!(taken.success());
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&binary)
        .arg("--root")
        .arg(&root)
        .arg("agent")
        .current_dir(&root)
        .env("HOME", root.join("home"))
        .env("NO_COLOR", "1");
    let watched = case.start_by(command);
    watched.wait_good("own", 0);
    let problems = watched.agent.status()["problems"].to_string();
    assert!(problems.contains("secret.py") && problems.contains("Permission denied"), "{problems}");
    signal(watched.pid("own"), Signal::KILL);
    watched.wait_good("own", 1);
    watched.holds();
    assert_eq!(Agent::descendants(&root), Vec::<u32>::new());
}

#[test]
fn p2_an_environment_that_python_itself_cannot_take_costs_one_script() {
    let case = Case::new();
    case.add(
        "shadowed",
        "envs = [\"PYTHONPATH=$BROKEN\"]",
        &plain("class C(DataKitFramework):\n    interval = 0.3\n    def run(self): pass"),
    );
    let broken = case.root.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    // A `json` of somebody's own in the way of the standard library's.
    for name in ["json.py", "socket.py", "sitecustomize.py"] {
        std::fs::write(broken.join(name), "raise RuntimeError('not the one you mean')\n").unwrap();
    }
    let mut command = case.root.command(&["agent"]);
    command.env("BROKEN", &broken);
    let watched = case.start_by(command);
    let script = watched.wait("shadowed", "is explained", |script| script["why"].is_string());
    assert!(script["why"].as_str().unwrap().contains("RuntimeError: not the one you mean"), "{script:#}");
    watched.holds();
}
