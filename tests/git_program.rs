//! Programs that are run for a repository: what they leave behind holds nobody up and is gone with them.

#[path = "support/git.rs"]
mod git;

use std::path::Path;
use std::time::{Duration, Instant};

use git::{GitTransport, PATIENCE, Side, repo};
use pythond::git::program::{NotRun, Programs, StopSignal};

fn runner(side: &Side, timeout: Duration) -> Programs {
    let repo = pythond::config::RepoSettings { timeout, ..repo("c", "/srv/c.git") };
    Programs::new(&side.settings, &repo, side.dir.path(), StopSignal::default())
}

fn pid_in(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap().trim().to_owned()
}

#[test]
fn a_child_that_outlives_the_program_and_holds_its_pipes_is_ended_and_reaped() {
    // As the agent does: what its children leave behind comes to it.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let side = Side::of(GitTransport::System, Vec::new());
    let programs = runner(&side, 2 * PATIENCE);
    let pid = side.dir.path().join("pid");
    let script = format!("sleep 3600 & echo $! > {}; echo done", pid.display());
    let began = Instant::now();
    let ran = programs.run(programs.program("sh", &["-c", &script])).unwrap();
    assert_eq!((ran.is_ok, ran.stdout.as_slice()), (true, &b"done\n"[..]));
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    assert!(!Path::new("/proc").join(pid_in(&pid)).exists(), "not even a zombie is left");

    // The same for one that is ended since it takes too long.
    let programs = runner(&side, Duration::from_secs(3));
    let script = format!("(sleep 3600; true) & echo $! > {}; wait", pid.display());
    let ended = programs.run(programs.program("sh", &["-c", &script]));
    assert!(matches!(ended, Err(NotRun::TimedOut(_))), "{ended:?}");
    assert!(!Path::new("/proc").join(pid_in(&pid)).exists(), "not even a zombie is left");
}

#[test]
fn a_child_that_left_the_group_and_holds_the_pipes_is_waited_for_no_longer_than_the_program() {
    let side = Side::of(GitTransport::System, Vec::new());
    let programs = runner(&side, Duration::from_secs(5));
    let pid = side.dir.path().join("pid");
    let leave = "import os, pathlib, sys, time\nif os.fork():\n    os._exit(0)\nos.setsid()\n\
                 pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\ntime.sleep(3600)";
    let ended = programs.run(programs.program("python3", &["-c", leave, &pid.display().to_string()]));
    assert!(matches!(ended, Err(NotRun::TimedOut(_))), "{ended:?}");
    let left = || std::fs::read_to_string(&pid).ok().and_then(|text| text.parse().ok());
    let began = Instant::now();
    let left = loop {
        if let Some(left) = left() {
            break left;
        }
        assert!(began.elapsed() < PATIENCE, "it never said who it is");
        std::thread::sleep(Duration::from_millis(10));
    };
    rustix::process::kill_process(rustix::process::Pid::from_raw(left).unwrap(), rustix::process::Signal::KILL)
        .unwrap();
}
