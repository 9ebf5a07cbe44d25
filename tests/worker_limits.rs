//! Promises about what a worker may use and when it is replaced, with real processes: as the agent's user and, as root, as another.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/worker_lab.rs"]
mod worker_lab;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use machine::python_of_nobody;
use pythond::config::Restart;
use pythond::supervisor::UnitState;
use rustix::process::Signal;
use worker_lab::{Lab, Running, is_running, kill, number_in, until};

const UNHURRIED: Duration = Duration::from_secs(60);

/// Lets every user in.
fn open(lab: &Lab) {
    std::fs::set_permissions(lab.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
}

async fn facts(path: &Path) -> serde_json::Value {
    until("the facts", || path.exists()).await;
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

// --- another user ---

#[tokio::test(flavor = "multi_thread")]
async fn a_script_runs_as_its_user_and_is_ended_like_any_other() {
    let Some(python) = python_of_nobody() else { return };
    let lab = Lab::new();
    open(&lab);
    let out = lab.path().join("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::set_permissions(&out, std::fs::Permissions::from_mode(0o777)).unwrap();
    lab.collector("other", 0.2, &format!("import json, pathlib\nOUT = pathlib.Path({:?})\nif not (OUT / 'facts').exists():\n    child = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n    (OUT / 'new').write_text(json.dumps([os.getuid(), os.getgid(), os.environ['HOME'], os.environ['USER'], child.pid, os.stat(__file__).st_uid]))\n    (OUT / 'new').rename(OUT / 'facts')", out.display().to_string()));
    let running = lab.start_with(|spec| {
        spec.cmd = python.to_owned();
        spec.user = Some("nobody".to_owned());
        spec.envs = vec![("HOME".to_owned(), "/given".to_owned())];
    });
    let facts = facts(&out.join("facts")).await;
    assert_eq!((&facts[0], &facts[1]), (&65534.into(), &65534.into()));
    assert_eq!((&facts[2], &facts[3]), (&"/given".into(), &"nobody".into()), "what the settings give stands");
    let child = u32::try_from(facts[4].as_u64().unwrap()).unwrap();
    let pid = running.wait("other.other", "runs", |view| view.runs_ok > 0).await.pid.unwrap();
    assert!(is_running(child));
    running.stop(UNHURRIED).await;
    assert!(!is_running(pid) && !is_running(child), "its tree is gone, though it is another user's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_is_not_there_or_cannot_read_blocks_the_script_with_the_reason() {
    let Some(python) = python_of_nobody() else { return };
    let lab = Lab::new();
    open(&lab);
    for name in ["unknown", "closed"] {
        lab.collector(name, 1.0, "pass");
    }
    std::fs::set_permissions(lab.file("closed"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let running = lab.start_with(|spec| {
        spec.cmd = python.to_owned();
        spec.user = Some(if spec.id == "unknown.unknown" { "surely-nobody" } else { "nobody" }.to_owned());
    });
    for (id, text) in [
        ("unknown.unknown", "there is no user `surely-nobody` on this machine [PD0103]"),
        ("closed.closed", "closed/closed.py`: it may not enter `"),
    ] {
        let view = running.wait(id, "is blocked", |view| view.state == UnitState::LoadError).await;
        assert!(view.why.as_ref().unwrap().contains(text), "{view:#?}");
        assert_eq!((view.restarts, view.next.unwrap().what), (0, "next try"), "it is not tried again and again");
    }
    running.stop(UNHURRIED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_another_user_die_with_a_killed_agent() {
    let Some(python) = python_of_nobody() else { return };
    let lab = Lab::new();
    open(&lab);
    lab.collector("idle", 3600.0, "print('began')");
    lab.collector("stopped", 3600.0, "print('began')\nos.kill(os.getpid(), signal.SIGSTOP)");
    let mut agent = mini(&lab, python, "nobody");
    let pids = async |name: &str| number_in(&lab.path().join(name)).await;
    let (idle, stopped) = (pids("idle.idle").await, pids("stopped.stopped").await);
    until("it is stopped", || worker_lab::state_of(stopped) == Some('T')).await;
    agent.kill().unwrap();
    let killed = std::time::Instant::now();
    until("both are dead", || !is_running(idle) && !is_running(stopped)).await;
    assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
    agent.wait().unwrap();
}

/// Another process as an agent over this lab.
fn mini(lab: &Lab, python: &str, user: &str) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "mini_agent", "--nocapture"])
        .env("LIMITS_MINI_AGENT", lab.path())
        .env("LIMITS_PYTHON", python)
        .env("LIMITS_USER", user)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test: another process runs it as an agent that is killed; it writes the pid of each worker that has run.
#[test]
fn mini_agent() {
    let Some(root) = std::env::var_os("LIMITS_MINI_AGENT") else { return };
    let python = std::env::var("LIMITS_PYTHON").unwrap();
    let user = std::env::var("LIMITS_USER").ok().filter(|user| !user.is_empty());
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        let lab = Lab::over(Path::new(&root));
        let running = lab.start_with(|spec| {
            spec.cmd = python.clone();
            spec.user = user.clone();
        });
        for id in ["idle.idle", "stopped.stopped"] {
            let view = running.wait(id, "has begun", |view| view.last_words == ["began"]).await;
            std::fs::write(Path::new(&root).join(id), format!("{}\n", view.pid.unwrap())).unwrap();
        }
        std::future::pending::<()>().await;
    });
}

// --- what it leaves behind ---

/// Its environment is empty and its session its own, but it kept all descriptors: only cgroup and lock find it.
const DAEMON: &str = "\
ours, theirs = os.pipe()
if os.fork() == 0:
    os.setsid()
    daemon = os.fork()
    if daemon == 0:
        os.execve('/bin/sleep', ['sleep', '1000'], {})
    os.write(theirs, str(daemon).encode())
    os._exit(0)
os.wait()
daemon = os.read(ours, 100).decode()
while 'sleep' not in open(f'/proc/{daemon}/cmdline').read():
    pass
(HERE / 'daemon').write_text(daemon + '\\n')
";

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_shook_everything_off_is_gone_before_the_next_copy_starts() {
    let lab = Lab::new();
    let run = format!("if (HERE / 'daemon').exists():\n    time.sleep(1e6)\n{}os._exit(1)", DAEMON);
    lab.collector("sheds", 60.0, &run);
    let running = lab.start();
    let daemon = number_in(&lab.file("sheds/daemon")).await;
    running.wait("sheds.sheds", "is started again", |view| view.restarts == 1 && view.pid.is_some()).await;
    assert!(!is_running(daemon));
    running.stop(Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn such_a_daemon_of_a_killed_agent_is_gone_before_anything_is_started() {
    let lab = Lab::new();
    lab.collector("idle", 3600.0, &format!("{}print('began')", DAEMON));
    lab.collector("stopped", 3600.0, "print('began')");
    let mut agent = mini(&lab, "python3", "");
    let daemon = number_in(&lab.file("idle/daemon")).await;
    number_in(&lab.path().join("stopped.stopped")).await;
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(is_running(daemon), "the death signal does not reach it");
    pythond::worker::leftovers::sweep_leftovers(&lab.path().join("run")).await;
    assert!(!is_running(daemon));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_worker_has_its_lock_noted_and_leaves_nothing_of_its_cgroup() {
    let lab = Lab::new();
    lab.collector(
        "noted",
        0.2,
        "(HERE / 'cgroup').write_text(open('/proc/self/cgroup').read().split('0::')[-1].strip() + '\\n')",
    );
    let running = lab.start();
    let pid = running.wait("noted.noted", "runs", |view| view.runs_ok > 0).await.pid.unwrap();
    let note = std::fs::read_to_string(lab.run_dir().join("workers/noted.noted.json")).unwrap();
    let note: serde_json::Value = serde_json::from_str(&note).unwrap();
    assert_eq!((&note["pid"], &note["incarnation"]), (&pid.into(), &1.into()));
    assert!(note["starttime"].as_u64().unwrap() > 0 && note["boot_id"].as_str().unwrap().len() == 36, "{note}");
    let has_cgroup = running.handle.mechanisms().iter().any(|one| one.name == "cgroup.kill" && one.why_not.is_none());
    let cgroup = std::fs::read_to_string(lab.file("noted/cgroup")).unwrap();
    assert_eq!(cgroup.trim().ends_with("/noted.noted"), has_cgroup, "{cgroup}");
    running.stop(UNHURRIED).await;
    if has_cgroup {
        let mounted = std::fs::read_to_string("/proc/mounts").unwrap();
        let place =
            mounted.lines().find(|line| line.contains(" cgroup2 ")).unwrap().split(' ').nth(1).unwrap().to_owned();
        assert!(!Path::new(&format!("{place}{}", Path::new(cgroup.trim()).parent().unwrap().display())).exists());
    }
}

// --- what is replaced, and what is not ---

async fn replaced(running: &Running, id: &str, why: &str) {
    let first = running.wait(id, "runs", |view| view.runs_ok > 0).await.pid;
    let view =
        running.wait(id, "was replaced", |view| view.recycled.0 >= 1 && view.pid.is_some() && view.pid != first).await;
    assert!(view.recycled.1.as_ref().unwrap().starts_with(why), "{view:#?}");
    let view = running.wait(id, "runs on", |view| view.state == UnitState::Ok).await;
    assert_eq!((view.why, view.runs_failed), (None, 0), "it is no failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_outgrew_its_memory_is_replaced_between_two_runs() {
    let mut lab = Lab::new();
    lab.limits.weigh = Duration::ZERO;
    lab.collector(
        "leaks",
        0.3,
        "(HERE / 'in').touch()\nglobals().setdefault('kept', []).append(b'x' * (30 << 20))\n(HERE / 'in').unlink()",
    );
    let running = lab.start_with(|spec| spec.memory_max = Some(256 << 20));
    replaced(&running, "leaks.leaks", "memory_max: it used ").await;
    running.stop(UNHURRIED).await;
    assert!(!lab.file("leaks/in").exists(), "no run was cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_replaced_after_its_age_and_after_its_runs() {
    let lab = Lab::new();
    lab.collector("old", 0.1, "pass");
    lab.collector("busy", 0.05, "pass");
    let running = lab.start_with(|spec| {
        spec.max_age = (spec.id == "old.old").then_some(Duration::from_secs(1));
        spec.max_runs = (spec.id == "busy.busy").then_some(5);
    });
    replaced(&running, "old.old", "max_age: it ran for ").await;
    replaced(&running, "busy.busy", "max_runs").await;
    running.stop(UNHURRIED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_is_not_to_be_restarted_stays_ended_until_it_changes() {
    let lab = Lab::new();
    lab.collector("done", 0.1, "os._exit(0)");
    lab.collector("failed", 0.1, "os._exit(3)");
    lab.collector("killed", 60.0, "pass");
    let running = lab.start_with(|spec| {
        spec.restart = if spec.id == "killed.killed" { Restart::Never } else { Restart::OnFailure };
    });
    let view = running.wait("done.done", "has ended", |view| view.state == UnitState::Ended).await;
    assert_eq!((view.why, view.pid, view.restarts, view.next), (None, None, 0, None));
    running.wait("failed.failed", "is started again", |view| view.restarts >= 2).await;
    let pid = running.wait("killed.killed", "runs", |view| view.runs_ok > 0).await.pid.unwrap();
    kill(pid, Signal::KILL);
    let view = running.wait("killed.killed", "has ended", |view| view.state == UnitState::Crashed).await;
    let why = view.why.unwrap();
    assert!(
        why.starts_with("killed by signal 9 (SIGKILL)")
            && why.ends_with("not started again, for `restart = \"never\"`"),
        "{why}"
    );
    assert_eq!(view.restarts, 0);
    lab.collector("done", 0.1, "pass");
    running.wait("done.done", "runs once changed", |view| view.runs_ok > 0).await;
    assert!(running.handle.restart("killed.killed").await);
    running.wait("killed.killed", "runs when asked to", |view| view.pid.is_some_and(|now| now != pid)).await;
    running.stop(UNHURRIED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn umask_and_folder_are_those_of_the_settings() {
    let lab = Lab::new();
    lab.collector("makes", 60.0, "(HERE / 'cwd').write_text(os.getcwd())\nopen('made', 'w').close()");
    let elsewhere = lab.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let running = lab.start_with(|spec| {
        spec.umask = Some(0o077);
        spec.cwd = Some(elsewhere.clone());
    });
    running.wait("makes.makes", "has run", |view| view.runs_ok == 1).await;
    let mode = std::fs::metadata(elsewhere.join("made")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(lab.file("makes/cwd")).unwrap(), elsewhere.display().to_string());
    running.stop(UNHURRIED).await;
}
