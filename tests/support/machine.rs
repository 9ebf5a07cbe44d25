//! What a machine may lack: a test that goes without says so on the console, and fails where the thing must be there.
#![allow(dead_code)] // each test file uses its own part

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program; `None` where it is not installed, unless `PYTHOND_REQUIRE_SERVERS=1`.
pub fn installed(program: &str, package: &str) -> Option<PathBuf> {
    let found = find(program);
    if found.is_none() {
        go_without("PYTHOND_REQUIRE_SERVERS", &format!("{program} is not installed (Debian package {package})"));
    }
    found
}

/// Says whether this user may have what only root can; what is refused fails with `PYTHOND_REQUIRE_ROOT=1`.
pub fn root_can(what: &str, is_so: bool) -> bool {
    if !is_so {
        go_without("PYTHOND_REQUIRE_ROOT", &format!("this user, on this machine, cannot {what}"));
    }
    is_so
}

/// A part of a virtual machine, as it was found; a missing one fails with `PYTHOND_REQUIRE_VM=1`.
pub fn part_of_a_vm<T>(what: &str, found: Option<T>) -> Option<T> {
    if found.is_none() {
        go_without("PYTHOND_REQUIRE_VM", &format!("for a virtual machine there is no {what}"));
    }
    found
}

/// The folder of a case that was captured from another program; a missing one fails with `PYTHOND_REQUIRE_CASES=1`.
pub fn case(name: &str, dir: PathBuf) -> Option<PathBuf> {
    if !dir.is_dir() {
        go_without("PYTHOND_REQUIRE_CASES", &format!("the case {name} is not there"));
        return None;
    }
    Some(dir)
}

/// Where a program lies.
pub fn find(program: &str) -> Option<PathBuf> {
    let places = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    which::which_in(program, Some(places), "/").ok()
}

pub fn go_without(required: &str, why: &str) {
    assert!(std::env::var(required).as_deref() != Ok("1"), "{why}");
    // Not `eprintln`: the test harness keeps that to itself when a test passes.
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    std::io::stderr().write_all(format!("skipped {test}: {why}\n").as_bytes()).unwrap();
}

/// The interpreter that `nobody` can run, where we may become that user.
pub fn python_of_nobody() -> Option<&'static str> {
    let become_nobody = "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534); import http.client, resource";
    let works =
        |python: &&str| Command::new(python).args(["-c", become_nobody]).output().is_ok_and(|out| out.status.success());
    let found = ["python3", "/usr/bin/python3"].into_iter().find(works);
    root_can("run a Python as `nobody`", found.is_some());
    found
}

/// Says whether processes may have numbers of their own, and the next number be chosen.
pub fn has_pid_namespaces() -> bool {
    let choose = "echo 100 > /proc/sys/kernel/ns_last_pid";
    let probe = Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "sh", "-c", choose]).output();
    root_can("make a PID namespace", probe.is_ok_and(|output| output.status.success()))
}

/// A small file system in memory, unmounted with its value.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `options` as in `size=1m,nr_inodes=200`.
    pub fn mount(at: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = mount(&["-t", "tmpfs", "-o", options, "tmpfs"], at);
        root_can("mount a tmpfs", mounted).then(|| Self(at.to_owned()))
    }

    /// `ro` or `rw`.
    pub fn remount(&self, how: &str) {
        assert!(mount(&["-o", &format!("remount,{how}")], &self.0), "remount {how}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazy: a killed process may still be on its way out.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(how: &[&str], at: &Path) -> bool {
    Command::new("mount").args(how).arg(at).output().is_ok_and(|output| output.status.success())
}
