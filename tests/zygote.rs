//! Promises about the zygote: what it forks runs on whatever happens to it, and where there can be none every script runs all the same.

#[path = "support/worker_lab.rs"]
mod worker_lab;

use std::path::Path;
use std::time::{Duration, Instant};

use pythond::supervisor::{Change, UnitSnapshot, UnitState, Way, ZygoteSettings};
use rustix::process::Signal;
use worker_lab::{Lab, Running, is_running, kill, state_of, until};

const UNHURRIED: Duration = Duration::from_secs(60);

fn lab(scripts: &[&str]) -> Lab {
    let mut lab = Lab::new();
    lab.zygote = Some(ZygoteSettings::default());
    for name in scripts {
        lab.collector(name, 0.1, "pass");
    }
    lab
}

async fn runs(running: &Running, name: &str) -> UnitSnapshot {
    let id = format!("{name}.{name}");
    let before = running.view(&id).await.runs_ok;
    running.wait(&id, "runs", |view| view.runs_ok > before && view.pid.is_some()).await
}

fn is_forked(view: &UnitSnapshot) -> bool {
    view.way == Some(Way::Forked)
}

/// Without an error; these scripts report nothing, and are silent after a few runs.
fn is_well(view: &UnitSnapshot) -> bool {
    matches!(view.state, UnitState::Ok | UnitState::Silent)
}

fn why_executed(view: &UnitSnapshot) -> &str {
    match &view.way {
        Some(Way::Executed { why }) => why,
        other => panic!("{} is {other:?}", view.id),
    }
}

/// Ends the worker of a script and waits for the next one.
async fn restart(running: &Running, name: &str) -> UnitSnapshot {
    let id = format!("{name}.{name}");
    let before = runs(running, name).await.pid;
    assert!(running.handle.restart(&id).await);
    running.wait(&id, "is another process", |view| view.pid.is_some() && view.pid != before).await;
    runs(running, name).await
}

// --- which way ---

#[tokio::test(flavor = "multi_thread")]
async fn two_scripts_share_a_zygote_and_one_alone_needs_none() {
    let lab = lab(&["a", "b", "alone"]);
    let running = lab.start_with(|spec| {
        if spec.id == "alone.alone" {
            spec.envs = vec![("PYTHONHASHSEED".to_owned(), "7".to_owned())];
        }
    });
    for name in ["a", "b"] {
        assert!(is_forked(&runs(&running, name).await));
    }
    let alone = runs(&running, "alone").await;
    assert_eq!(why_executed(&alone), "no other script has the same interpreter and environment");
    assert_eq!(lab.zygotes().len(), 1);
    running.stop(UNHURRIED).await;
    assert_eq!(lab.processes(), Vec::<u32>::new(), "the zygote goes with the agent's scripts");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_every_script_is_executed() {
    let mut lab = lab(&["a", "b"]);
    lab.zygote = None;
    let running = lab.start();
    for name in ["a", "b"] {
        assert_eq!(why_executed(&runs(&running, name).await), "");
    }
    assert_eq!(lab.zygotes(), Vec::<u32>::new());
    running.stop(UNHURRIED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_environment_that_only_an_exec_can_give_has_its_own_zygote() {
    let lab = lab(&[]);
    for name in ["a1", "a2", "b1", "b2"] {
        lab.collector(name, 0.1, "(HERE / 'seen').write_text(f'{hash(\"x\")} {os.environ[\"OWN\"]}')");
    }
    let running = lab.start_with(|spec| {
        let seed = if spec.id.starts_with('a') { "1" } else { "2" };
        spec.envs = vec![("PYTHONHASHSEED".to_owned(), seed.to_owned()), ("OWN".to_owned(), spec.id.clone())];
    });
    let mut seen = Vec::new();
    for name in ["a1", "a2", "b1", "b2"] {
        assert!(is_forked(&runs(&running, name).await));
        let text = std::fs::read_to_string(lab.file(&format!("{name}/seen"))).unwrap();
        let (hash, own) = text.split_once(' ').unwrap();
        assert_eq!(own, format!("{name}.{name}"), "what is no matter of exec is each script's own");
        seen.push(hash.to_owned());
    }
    assert_eq!((&seen[0], &seen[2]), (&seen[1], &seen[3]));
    assert_ne!(seen[0], seen[2]);
    assert_eq!(lab.zygotes().len(), 2);
    running.stop(UNHURRIED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_too_long_for_a_request_is_given_by_exec() {
    let lab = lab(&["short", "long"]);
    let long = "x".repeat(70_000);
    let running = lab.start_with(|spec| {
        if spec.id == "long.long" {
            spec.envs = vec![("LONG".to_owned(), long.clone())];
        }
    });
    assert!(is_forked(&runs(&running, "short").await));
    let view = runs(&running, "long").await;
    assert!(why_executed(&view).starts_with("its `envs` are too long"), "{view:?}");
    running.stop(UNHURRIED).await;
}

// --- Z1: it is killed, stopped, or ends ---

#[tokio::test(flavor = "multi_thread")]
async fn nobody_notices_a_killed_zygote_and_the_next_start_works() {
    let lab = lab(&["a", "b"]);
    let running = lab.start();
    let (a, b) = (runs(&running, "a").await, runs(&running, "b").await);
    let zygote = lab.zygotes()[0];
    kill(zygote, Signal::KILL);
    until("it is reaped", || state_of(zygote).is_none()).await;
    let again = restart(&running, "b").await;
    assert!(is_forked(&again));
    assert_ne!(lab.zygotes()[0], zygote);
    let view = runs(&running, "a").await;
    assert_eq!((view.pid, view.restarts), (a.pid, 0));
    assert_eq!(again.restarts, b.restarts + 1);
    running.stop(UNHURRIED).await;
    assert_eq!(lab.processes(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zygote_that_does_not_answer_is_replaced_and_the_request_made_once_more() {
    let mut lab = lab(&["a", "b"]);
    lab.zygote = Some(ZygoteSettings { answer: Duration::from_secs(1), ..ZygoteSettings::default() });
    let running = lab.start();
    let a = runs(&running, "a").await;
    runs(&running, "b").await;
    let zygote = lab.zygotes()[0];
    kill(zygote, Signal::STOP);
    let view = restart(&running, "b").await;
    assert!(is_forked(&view));
    assert_eq!(view.restarts, 1, "for the script it is no failure");
    assert!(is_well(&view), "{view:?}");
    assert_eq!(state_of(zygote), None);
    assert_eq!(runs(&running, "a").await.pid, a.pid);
    assert_eq!(lab.workers().len(), 2, "no second copy");
    running.stop(UNHURRIED).await;
    assert_eq!(lab.processes(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zygote_killed_during_a_request_costs_the_script_nothing() {
    let lab = lab(&["a", "b"]);
    let running = lab.start();
    runs(&running, "a").await;
    runs(&running, "b").await;
    let zygote = lab.zygotes()[0];
    kill(zygote, Signal::STOP);
    let before = running.view("b.b").await.pid.unwrap();
    assert!(running.handle.restart("b.b").await);
    until("the old worker is gone, so the request was made", || !is_running(before)).await;
    kill(zygote, Signal::KILL);
    let view = running.wait("b.b", "is another process", |view| view.pid.is_some_and(|pid| pid != before)).await;
    assert!(is_forked(&view));
    assert_eq!(runs(&running, "b").await.restarts, 1);
    assert_eq!(lab.workers().len(), 2, "no second copy");
    running.stop(UNHURRIED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_failures_in_five_minutes_and_the_scripts_are_executed_and_the_status_says_why() {
    let lab = lab(&["a", "b"]);
    let running = lab.start();
    let a = runs(&running, "a").await;
    runs(&running, "b").await;
    for _ in 0..3 {
        let zygote = lab.zygotes()[0];
        kill(zygote, Signal::KILL);
        until("it is reaped", || state_of(zygote).is_none()).await;
        restart(&running, "b").await;
    }
    let view = runs(&running, "b").await;
    let why = why_executed(&view);
    assert!(why.starts_with("3 zygotes failed within 5 min") && why.contains("SIGKILL"), "{why}");
    assert!(is_well(&view), "{view:?}");
    assert_eq!(lab.zygotes(), Vec::<u32>::new());
    assert_eq!(runs(&running, "a").await.pid, a.pid);
    running.stop(UNHURRIED).await;
}

// --- Z2, Z3: it cannot be, or the system has no room ---

/// Python code that every interpreter runs at its start which finds `<name>/sitecustomize.py` on its path.
fn customize(lab: &Lab, text: &str) -> Vec<(String, String)> {
    let dir = lab.path().join("custom");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("sitecustomize.py"), text).unwrap();
    vec![("PYTHONPATH".to_owned(), dir.display().to_string())]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interpreter_with_a_thread_of_its_own_is_executed() {
    let lab = lab(&["a", "b"]);
    let thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(1e6,), daemon=True).start()\n";
    let envs = customize(&lab, thread);
    let running = lab.start_with(|spec| spec.envs = envs.clone());
    for name in ["a", "b"] {
        let view = runs(&running, name).await;
        assert!(why_executed(&view).contains("threads"), "{view:?}");
    }
    assert_eq!(lab.zygotes(), Vec::<u32>::new());
    running.stop(UNHURRIED).await;
    assert_eq!(lab.processes(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zygote_that_does_not_come_up_leaves_the_scripts_to_exec() {
    let mut lab = lab(&["a", "b"]);
    lab.zygote = Some(ZygoteSettings { boot: Duration::from_secs(1), ..ZygoteSettings::default() });
    let hangs = "import os, time\nif 'PYTHOND_ZYGOTE' in os.environ:\n    time.sleep(1e6)\n";
    let envs = customize(&lab, hangs);
    let running = lab.start_with(|spec| spec.envs = envs.clone());
    for name in ["a", "b"] {
        let view = runs(&running, name).await;
        assert!(why_executed(&view).starts_with("its zygote was not ready after 1 s"), "{view:?}");
    }
    running.stop(UNHURRIED).await;
    until("nothing is left", || lab.processes().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zygote_that_dies_at_boot_says_its_last_words() {
    let lab = lab(&["a", "b"]);
    let dies = "import os\nif 'PYTHOND_ZYGOTE' in os.environ:\n    print('no licence', flush=True)\n    os._exit(3)\n";
    let envs = customize(&lab, dies);
    let running = lab.start_with(|spec| spec.envs = envs.clone());
    let view = runs(&running, "a").await;
    assert!(why_executed(&view).contains("no licence"), "{view:?}");
    runs(&running, "b").await;
    running.stop(UNHURRIED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_without_room_for_a_fork_is_waited_for() {
    let lab = lab(&["a", "b"]);
    let full = "import os\nfork, flag = os.fork, os.path.join(os.path.dirname(__file__), 'full')\n\
        def fake():\n    if os.path.exists(flag):\n        raise BlockingIOError(11, 'no room')\n    return fork()\nos.fork = fake\n";
    let envs = customize(&lab, full);
    let running = lab.start_with(|spec| spec.envs = envs.clone());
    runs(&running, "a").await;
    let before = runs(&running, "b").await;
    let zygote = lab.zygotes()[0];
    std::fs::write(lab.path().join("custom/full"), "").unwrap();
    assert!(running.handle.restart("b.b").await);
    let view = running.wait("b.b", "waits to be tried again", |view| view.why.is_some()).await;
    assert!(view.why.as_ref().unwrap().contains("Resource temporarily unavailable"), "{view:?}");
    assert_eq!(view.state, UnitState::Crashed, "it is tried again, not blocked");
    std::fs::remove_file(lab.path().join("custom/full")).unwrap();
    let view = running.wait("b.b", "runs again", |view| view.runs_ok > before.runs_ok + 1 && is_well(view)).await;
    assert!(is_forked(&view));
    assert_eq!(lab.zygotes(), [zygote], "nothing was wrong with it");
    running.stop(UNHURRIED).await;
}

// --- Z5, Z6, Z7 ---

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_package_is_in_the_next_worker_and_the_old_ones_run_on() {
    let lab = lab(&["a", "b"]);
    let running = lab.start();
    let a = runs(&running, "a").await;
    runs(&running, "b").await;
    let zygote = lab.zygotes()[0];
    let file = lab.path().join("core/pythond/schedule.py");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}\nCHANGED = True\n")).unwrap();
    assert!(is_forked(&restart(&running, "b").await));
    assert_ne!(lab.zygotes(), [zygote]);
    assert_eq!(lab.zygotes().len(), 1);
    assert_eq!(runs(&running, "a").await.pid, a.pid);
    running.stop(UNHURRIED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interpreter_that_is_taken_away_and_put_back_stops_nobody_who_runs() {
    let lab = lab(&["a", "b"]);
    let python = lab.path().join("python");
    let real = pythond::worker::process::find_program("python3", &[]).unwrap();
    let wrapper = format!("#!/bin/sh\nexec {} \"$@\"\n", real.display());
    let put = |text: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(&python, text).unwrap();
        std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    put(&wrapper);
    let running = lab.start_with(|spec| spec.cmd = python.display().to_string());
    let a = runs(&running, "a").await;
    assert!(is_forked(&a));
    runs(&running, "b").await;
    std::fs::remove_file(&python).unwrap();
    assert!(running.handle.restart("b.b").await);
    let view = running.wait("b.b", "is blocked", |view| view.state == UnitState::LoadError).await;
    assert!(view.why.unwrap().contains("No such file"));
    put(&format!("{wrapper}# upgraded\n"));
    assert!(running.handle.restart("b.b").await);
    let view = running.wait("b.b", "runs on the new one", |view| view.pid.is_some() && is_well(view)).await;
    assert!(is_forked(&view));
    assert_eq!(runs(&running, "a").await.pid, a.pid);
    running.stop(UNHURRIED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zygote_goes_with_the_last_script_that_can_come_from_it() {
    let lab = lab(&["a", "b", "c"]);
    let running = lab.start();
    for name in ["a", "b", "c"] {
        runs(&running, name).await;
    }
    assert_eq!(lab.zygotes().len(), 1);
    let remove = |names: &[&str]| names.iter().map(|name| Change::Stop(format!("{name}.{name}"))).collect();
    running.apply(remove(&["a", "b"])).await;
    assert!(is_forked(&restart(&running, "c").await), "the zygote that is there is used");
    running.apply(remove(&["c"])).await;
    until("nobody is left", || lab.processes().is_empty()).await;
    running.stop(UNHURRIED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_one_script_is_in_the_environment_of_no_process() {
    let lab = lab(&["other"]);
    lab.collector("owner", 0.1, "(HERE / 'seen').write_text(os.environ['SECRET'])");
    let running = lab.start_with(|spec| {
        if spec.id == "owner.owner" {
            spec.envs = vec![("SECRET".to_owned(), "s3cret".to_owned())];
        }
    });
    runs(&running, "owner").await;
    runs(&running, "other").await;
    // Each run writes it anew, so that it may just be empty.
    let seen = lab.file("owner/seen");
    until("the secret is seen", || std::fs::read_to_string(&seen).is_ok_and(|text| text == "s3cret")).await;
    assert_eq!(lab.processes().len(), 3);
    for pid in lab.processes() {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        assert!(!String::from_utf8_lossy(&environment).contains("s3cret"), "in that of {pid}");
    }
    running.stop(UNHURRIED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_restarts_cost_neither_descriptors_nor_memory_of_the_zygote() {
    let lab = lab(&["a", "b"]);
    let running = lab.start();
    runs(&running, "a").await;
    restart(&running, "b").await;
    let zygote = lab.zygotes()[0];
    let (ours, its, size) = (open_files("self"), open_files(&zygote.to_string()), anonymous(zygote));
    for _ in 0..100 {
        let before = running.view("b.b").await.pid;
        assert!(running.handle.restart("b.b").await);
        running.wait("b.b", "is another process", |view| view.pid.is_some() && view.pid != before).await;
    }
    runs(&running, "b").await;
    assert_eq!(lab.zygotes(), [zygote]);
    assert_eq!(open_files(&zygote.to_string()), its);
    assert!(anonymous(zygote) <= size + 64, "{} kB after {size} kB", anonymous(zygote));
    until("the agent's descriptors are as many as before", || open_files("self") <= ours).await;
    running.stop(UNHURRIED).await;
}

fn open_files(pid: &str) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Memory of its own, shared or not, in kB.
fn anonymous(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

// --- orphans ---

#[tokio::test(flavor = "multi_thread")]
async fn what_a_forked_script_leaves_behind_is_known_as_its_own() {
    let lab = lab(&["bystander"]);
    // A daemon that only forks and executes nothing: what `/proc` shows of its environment is what the zygote was started with.
    lab.collector(
        "daemon",
        60.0,
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        (HERE / 'pid').write_text(f'{os.getpid()}\\n')\n        os.closerange(0, 3)\n        time.sleep(1e6)\n    os._exit(0)\n",
    );
    let running = lab.start();
    let daemon = worker_lab::number_in(&lab.file("daemon/pid")).await;
    let began = Instant::now();
    let bystander = runs(&running, "bystander").await;
    // Orphans are looked at once a second.
    running.wait("bystander.bystander", "ran for a while", |view| view.runs_ok > bystander.runs_ok + 20).await;
    assert!(began.elapsed() > Duration::from_secs(2));
    assert!(is_running(daemon), "it may live as long as its worker");
    let worker = running.view("daemon.daemon").await.pid.unwrap();
    kill(worker, Signal::KILL);
    until("it is gone with its worker", || state_of(daemon).is_none()).await;
    assert_eq!(lab.zygotes().len(), 1, "and the zygote is nobody's orphan");
    assert_eq!(running.view("bystander.bystander").await.pid, bystander.pid);
    running.stop(UNHURRIED).await;
    assert_eq!(lab.processes(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn ps_shows_what_is_what() {
    let lab = lab(&["a", "b"]);
    let running = lab.start();
    let pid = runs(&running, "a").await.pid.unwrap();
    let comm = |pid: u32| std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm")).unwrap();
    assert_eq!(comm(pid), "pythond:a.a\n");
    assert_eq!(comm(lab.zygotes()[0]), "pythond-zygote\n");
    running.stop(UNHURRIED).await;
}
