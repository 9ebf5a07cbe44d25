//! `kill -9` at any moment of a pull, and a disk that is full: the old or the new commit, whole, and always on its way again.

#[path = "support/git.rs"]
mod git;
#[path = "support/machine.rs"]
mod machine;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use git::*;
use machine::SmallDisk;
use pythond::config::{GitRepos, RepoSettings};

const ROUNDS: u32 = 100;
const FILES: usize = 40;
/// Set for the child: the agent's directory and the repository.
const CHILD_DIR: &str = "GIT_KILL_DIR";
const CHILD_URL: &str = "GIT_KILL_URL";
/// Set where it pulls with the `git` program.
const CHILD_SYSTEM: &str = "GIT_KILL_SYSTEM";

mod kills {
    use super::*;
    over_both_in_turn! {
        a_kill_at_any_moment_leaves_the_old_or_the_new_commit,
        no_git_outlives_its_pull_for_long,
    }
}

mod full_disks {
    use super::*;
    over_both! {
        a_full_disk_is_told_and_passes,
        a_disk_that_is_full_at_the_export_leaves_no_half_tree,
    }
}

fn settings(transport: GitTransport, dir: &Path, url: &str) -> GitRepos {
    let mut settings = Side::of(transport, vec![repo("c", url)]).settings;
    settings.dir = dir.join("gitrepos");
    settings
}

/// The child: pulls until it is killed or has the newest commit. Does nothing when run as a test.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_pulls() {
    let (Some(dir), Ok(url)) = (std::env::var_os(CHILD_DIR), std::env::var(CHILD_URL)) else {
        return;
    };
    let transport = if std::env::var_os(CHILD_SYSTEM).is_some() { GitTransport::System } else { GitTransport::Libgit2 };
    let settings = settings(transport, dir.as_ref(), &url);
    let roots = pythond::git::roots(&settings, &[]);
    let handle = pythond::git::start(settings, "testhost", Taker::new(), &roots);
    let view = first_pull(&handle).await;
    assert_eq!(fault(&view), "");
    handle.stop().await;
}

fn child(transport: GitTransport, dir: &Path, url: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child_that_pulls", "--exact"]).env(CHILD_DIR, dir).env(CHILD_URL, url);
    if transport == GitTransport::System {
        command.env(CHILD_SYSTEM, "1");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn files(n: u32) -> Vec<(String, String)> {
    (0..FILES).map(|file| (format!("python.d/web/m{file}.py"), format!("n = {n}\n"))).collect()
}

fn commit(origin: &Origin, n: u32) -> String {
    let files = files(n);
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    origin.commit(&files, &n.to_string())
}

/// Holds that a folder under the name of a commit is that commit, whole.
fn assert_whole(folder: &Path, n: u32) {
    for (name, text) in files(n) {
        assert_eq!(
            fs::read_to_string(folder.join(&name)).unwrap_or_else(|error| format!("{error}")),
            text,
            "{name} of {n}"
        );
    }
    assert_eq!(fs::read_dir(folder.join("python.d/web")).unwrap().count(), FILES);
}

fn a_kill_at_any_moment_leaves_the_old_or_the_new_commit(transport: GitTransport) {
    let origin = Origin::new();
    let root = tempfile::tempdir().unwrap();
    let mut commits = vec![commit(&origin, 0)];
    let start = Instant::now();
    assert!(child(transport, root.path(), &origin.url()).status().unwrap().success());
    let whole_pull = start.elapsed();
    let folder = root.path().join("gitrepos/c");
    let settings = settings(transport, root.path(), &origin.url());
    let (mut in_export, mut unfinished) = (0, 0);
    for round in 1..=ROUNDS {
        commits.push(commit(&origin, round));
        let mut pulling = child(transport, root.path(), &origin.url()).spawn().unwrap();
        // Spread evenly over a pull, in an order that jumps.
        let part = f64::from(round * 37 % ROUNDS) / f64::from(ROUNDS);
        std::thread::sleep(whole_pull.mul_f64(part));
        pulling.kill().unwrap();
        pulling.wait().unwrap();
        in_export += u32::from(folder.join("export.new").exists());
        for (n, id) in commits.iter().enumerate().filter(|(_, id)| folder.join(id).exists()) {
            assert_whole(&folder.join(id), u32::try_from(n).unwrap());
        }
        let roots = pythond::git::roots(&settings, &[]);
        let id = roots[0].dir.file_name().unwrap().to_str().unwrap();
        let n = commits.iter().position(|known| known == id).expect("a commit that was pushed");
        assert_whole(&roots[0].dir, u32::try_from(n).unwrap());
        unfinished += u32::from(id != commits[commits.len() - 1]);
    }
    assert!(
        unfinished > 0 && in_export > 0,
        "no kill hit a pull: {unfinished} unfinished, {in_export} in an export of {whole_pull:?}"
    );
    assert!(child(transport, root.path(), &origin.url()).status().unwrap().success(), "it runs again by itself");
    let roots = pythond::git::roots(&settings, &[]);
    assert_whole(&roots[0].dir, ROUNDS);
    for left in ["export.new", "remove.new", "state.new", "store.new"] {
        assert!(!folder.join(left).exists(), "{left} is left");
    }
}

async fn a_full_disk_is_told_and_passes(transport: GitTransport) {
    let origin = Origin::with(&[("python.d/web/web.py", "a = 1")]);
    let side = Side::of(transport, vec![RepoSettings { depth: 1, ..repo("c", &origin.url()) }]);
    let Some(disk) = SmallDisk::mount(&side.folder("c"), "size=3m") else { return };
    let handle = side.start(&Taker::new());
    assert_eq!(fault(&first_pull(&handle).await), "");
    let first = origin.head();
    // Text that does not shrink: the packs of the fetch fill the disk.
    let noise: String =
        (0..700_000_u64).map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (n << 7))).collect();
    origin.commit(&[("noise", &noise)], "too much");
    let view = handle.sync("c").await.unwrap();
    assert!(fault(&view).starts_with("PD0704"), "{}", fault(&view));
    assert_eq!(in_force(&view), first);
    fs::remove_file(origin.path().join("noise")).unwrap();
    origin.commit(&[("python.d/web/web.py", "a = 2")], "less");
    origin.git(&["checkout", "--quiet", "--orphan", "small"]);
    let last = origin.commit(&[], "small");
    origin.git(&["branch", "--force", "main", "small"]);
    let view = handle.sync("c").await.unwrap();
    assert_eq!((fault(&view).as_str(), in_force(&view)), ("", last));
    handle.stop().await;
    drop(disk);
}

async fn a_disk_that_is_full_at_the_export_leaves_no_half_tree(transport: GitTransport) {
    let origin = Origin::with(&[("python.d/web/web.py", "a = 1")]);
    let side = Side::of(transport, vec![repo("c", &origin.url())]);
    let Some(disk) = SmallDisk::mount(&side.folder("c"), "size=3m") else { return };
    let handle = side.start(&Taker::new());
    first_pull(&handle).await;
    // Shrinks to nothing in a pack and fills the disk when it is written out.
    for n in 0..4 {
        origin.file(&format!("big{n}"), &format!("{n}").repeat(1 << 20));
    }
    let big = origin.commit(&[], "big");
    let view = handle.sync("c").await.unwrap();
    assert!(fault(&view).starts_with("PD0704"), "{}", fault(&view));
    assert!(!side.folder("c").join(&big).exists());
    let small = origin.commit(&[("big1", ""), ("big2", ""), ("big3", "")], "small");
    let view = handle.sync("c").await.unwrap();
    assert_eq!((fault(&view).as_str(), in_force(&view)), ("", small));
    handle.stop().await;
    drop(disk);
}

/// A child that is killed may leave a git behind for a moment; it must not last.
fn no_git_outlives_its_pull_for_long(transport: GitTransport) {
    let origin = Origin::with(&[("python.d/web/web.py", "a = 1")]);
    let root = tempfile::tempdir().unwrap();
    let mut pulling = child(transport, root.path(), &origin.url()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(30));
    pulling.kill().unwrap();
    pulling.wait().unwrap();
    let mine = root.path().display().to_string();
    let start = Instant::now();
    loop {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let left = processes
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .filter(|line| String::from_utf8_lossy(line).contains(&mine))
            .count();
        if left == 0 {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{left} processes of git live on");
        std::thread::sleep(Duration::from_millis(50));
    }
}
