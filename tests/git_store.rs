//! Repositories on this machine: what is followed, what is kept, what is refused, and that nothing gets stuck.

#[path = "support/git.rs"]
mod git;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use git::*;
use pythond::config::{Repo, RepoRoot};
use pythond::git::Adoption;

const SCRIPT: &str = "python.d/web/web.py";

fn text(dir: &Path, file: &str) -> String {
    fs::read_to_string(dir.join(file)).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_exported_whole_and_offered() {
    let origin = Origin::with(&[(SCRIPT, "a = 1\r\n"), ("conf.d/web.conf", "# x"), ("bin/tool", "#!/bin/sh\n")]);
    fs::set_permissions(origin.path().join("bin/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    let commit = origin.commit(&[(".gitattributes", "* text=auto eol=lf export-ignore\n")], "first \u{1b}[31mred");
    let side = Side::of(vec![repo("c", &origin.url())]);
    let taker = Taker::new();
    let handle = side.start(&taker);
    let view = first_pull(&handle).await;
    assert_eq!(fault(&view), "");
    assert_eq!(in_force(&view), commit);
    let candidate = taker.last();
    assert_eq!((candidate.repo.as_str(), candidate.commit.author.as_str()), ("c", "Li Wei"));
    assert_eq!(candidate.commit.title, "first  [31mred", "nothing that a terminal would obey");
    assert_eq!(candidate.dir, side.folder("c").join(&commit));
    assert_eq!(candidate.roots.len(), 1);
    assert_eq!(text(&candidate.dir, SCRIPT), "a = 1\r\n", "no end of line is changed");
    let mode = fs::metadata(candidate.dir.join("bin/tool")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
    assert!(!candidate.dir.join(".git").exists());
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_followed_and_the_same_commit_is_offered_once() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(vec![repo("c", &origin.url())]);
    let taker = Taker::new();
    let handle = side.start(&taker);
    first_pull(&handle).await;
    handle.sync("c").await.unwrap();
    assert_eq!(taker.offered().len(), 1);
    let second = origin.commit(&[(SCRIPT, "a = 2")], "second");
    let view = handle.sync("c").await.unwrap();
    assert_eq!(in_force(&view), second);
    assert_eq!(taker.last().roots, [RepoRoot { name: "c".to_owned(), dir: taker.last().dir }]);
    assert_eq!(text(&taker.last().dir, SCRIPT), "a = 2");
    let what: Vec<&str> = view.history.iter().map(|event| event.what.as_str()).collect();
    assert_eq!(what, ["active", "active"]);
    assert!(handle.sync("other").await.is_none());
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_come_by_themselves_every_interval() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let mut side = Side::of(vec![repo("c", &origin.url())]);
    side.settings.pull_interval = Duration::from_secs(1);
    let taker = Taker::new();
    let handle = side.start(&taker);
    first_pull(&handle).await;
    let second = origin.commit(&[(SCRIPT, "a = 2")], "second");
    wait_until("the second commit", || taker.offered().contains(&second)).await;
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_two_and_those_in_use_stay_on_disk() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(vec![repo("c", &origin.url())]);
    let taker = Taker::new();
    let handle = side.start(&taker);
    first_pull(&handle).await;
    let first = taker.last();
    taker.used.lock().unwrap().push(first.dir.join(SCRIPT));
    let mut ids = vec![first.commit.id];
    for n in 2..6 {
        ids.push(origin.commit(&[(SCRIPT, &format!("a = {n}"))], "next"));
        handle.sync("c").await.unwrap();
    }
    let mut expected = vec![ids[0].clone(), ids[3].clone(), ids[4].clone()];
    expected.sort();
    assert_eq!(side.exported("c"), expected);
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_commit_changes_nothing_and_is_offered_again_when_asked_for() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(vec![repo("c", &origin.url())]);
    let taker = Taker::new();
    let handle = side.start(&taker);
    let first = in_force(&first_pull(&handle).await);
    taker.decide_by(|_| refused("interval: expected a duration"));
    let second = origin.commit(&[(SCRIPT, "a = 2")], "refactor");
    let view = handle.sync("c").await.unwrap();
    assert_eq!(in_force(&view), first);
    let refusal = view.refused.unwrap();
    assert_eq!(
        (refusal.commit.id.as_str(), refusal.why.as_slice()),
        (second.as_str(), &["interval: expected a duration".to_owned()][..])
    );
    assert_eq!(handle.roots()[0].dir, side.folder("c").join(&first));
    taker.decide_by(|_| taken());
    let view = handle.sync("c").await.unwrap();
    assert_eq!((in_force(&view), view.refused), (second, None));
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_partly_refused_commit_a_start_begins_with_the_whole_one_and_offers_it_again() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(vec![repo("c", &origin.url())]);
    let taker = Taker::new();
    let handle = side.start(&taker);
    let first = first_pull(&handle).await.in_force.unwrap().folder;
    taker.decide_by(|_| held("web.web", "python.d/web/web.py:1:1: PD0201 syntax error"));
    let second = origin.commit(&[(SCRIPT, "a = ")], "broken");
    let view = handle.sync("c").await.unwrap();
    assert_eq!(in_force(&view), second);
    assert_eq!(view.in_force.unwrap().held[0].script, "web.web");
    handle.stop().await;

    fs::rename(origin.path(), origin.path().with_extension("gone")).unwrap();
    assert_eq!(pythond::git::roots(&side.settings, &[])[0].dir, side.folder("c").join(&first));
    let taker = Taker::new();
    taker.decide_by(|_| held("web.web", "still"));
    let handle = side.start(&taker);
    let view = first_pull(&handle).await;
    assert_eq!(taker.offered(), std::slice::from_ref(&second));
    assert_eq!((in_force(&view), handle.roots()[0].dir.clone()), (second.clone(), side.folder("c").join(&second)));
    assert!(fault(&view).starts_with("PD0605"), "{}", fault(&view));
    handle.stop().await;
    fs::rename(origin.path().with_extension("gone"), origin.path()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_vanishes_changes_nothing_but_the_status() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(vec![repo("c", &origin.url())]);
    let taker = Taker::new();
    let handle = side.start(&taker);
    let first = in_force(&first_pull(&handle).await);
    let away = origin.path().with_extension("away");
    fs::rename(origin.path(), &away).unwrap();
    for failures in 1..4 {
        let view = handle.sync("c").await.unwrap();
        assert_eq!((in_force(&view), view.failures), (first.clone(), failures));
        assert!(fault(&view).starts_with("PD0605 there is no repository at"), "{}", fault(&view));
        assert!(view.next_pull.is_some() && view.last_good_pull < view.last_pull);
    }
    assert_eq!(taker.offered().len(), 1);
    // After a start without the server the same code runs.
    handle.stop().await;
    assert_eq!(pythond::git::roots(&side.settings, &[])[0].dir, side.folder("c").join(&first));
    let handle = side.start(&taker);
    first_pull(&handle).await;
    assert_eq!(handle.roots()[0].dir, side.folder("c").join(&first));
    fs::rename(&away, origin.path()).unwrap();
    let view = handle.sync("c").await.unwrap();
    assert_eq!((fault(&view).as_str(), view.failures), ("", 0));
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_push_and_an_unrelated_history_are_followed_and_noted() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    origin.commit(&[(SCRIPT, "a = 2")], "second");
    let side = Side::of(vec![repo("c", &origin.url())]);
    let taker = Taker::new();
    let handle = side.start(&taker);
    first_pull(&handle).await;
    origin.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let forced = origin.commit(&[(SCRIPT, "a = 3")], "forced");
    let view = handle.sync("c").await.unwrap();
    assert_eq!(in_force(&view), forced);
    origin.git(&["checkout", "--quiet", "--orphan", "new"]);
    let unrelated = origin.commit(&[(SCRIPT, "a = 4")], "unrelated");
    origin.git(&["branch", "--force", "main", "new"]);
    origin.git(&["symbolic-ref", "HEAD", "refs/heads/main"]);
    let view = handle.sync("c").await.unwrap();
    assert_eq!(in_force(&view), unrelated);
    let what: Vec<&str> = view.history.iter().map(|event| event.what.as_str()).collect();
    assert_eq!(what, ["active", "rewritten", "active", "rewritten", "active"]);
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_push_is_not_called_rewritten_however_shallow_the_store_is() {
    let origin = Origin::with(&[(SCRIPT, "a = 0")]);
    let side = Side::of(vec![Repo { depth: 1, ..repo("c", &format!("file://{}", origin.url())) }]);
    let taker = Taker::new();
    let handle = side.start(&taker);
    first_pull(&handle).await;
    for n in 1..4 {
        origin.commit(&[(SCRIPT, &format!("a = {n}"))], "next");
        let view = handle.sync("c").await.unwrap();
        assert!(view.history.iter().all(|event| event.what.as_str() == "active"), "{:?}", view.history);
    }
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_branch_is_told_with_those_that_are_there() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    origin.git(&["branch", "live"]);
    let side = Side::of(vec![Repo { branch: Some("live".into()), ..repo("c", &origin.url()) }]);
    let taker = Taker::new();
    let handle = side.start(&taker);
    let first = in_force(&first_pull(&handle).await);
    origin.git(&["branch", "-D", "live"]);
    let view = handle.sync("c").await.unwrap();
    assert_eq!(in_force(&view), first);
    assert!(fault(&view).starts_with("PD0605 there is no branch `live` in"), "{}", fault(&view));
    assert!(fault(&view).contains("its branches: main"), "{}", fault(&view));
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn master_is_told_from_main_and_an_empty_repository_is_named() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let empty = Origin::new();
    let side =
        Side::of(vec![Repo { branch: Some("master".into()), ..repo("c", &origin.url()) }, repo("empty", &empty.url())]);
    let handle = side.start(&Taker::new());
    let view = handle.sync("c").await.unwrap();
    assert!(fault(&view).contains("did you mean `branch = \"main\"`?"), "{}", fault(&view));
    let view = handle.sync("empty").await.unwrap();
    assert!(fault(&view).contains("names no default branch; is it empty"), "{}", fault(&view));
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_followed_where_it_moves_and_a_commit_is_pinned() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let first = origin.head();
    origin.git(&["tag", "-a", "v1", "-m", "one"]);
    let side = Side::of(vec![
        Repo { rev: Some("v1".into()), ..repo("tag", &origin.url()) },
        Repo { rev: Some(first.clone()), ..repo("pin", &origin.url()) },
        Repo { rev: Some("v9".into()), ..repo("none", &origin.url()) },
        Repo { rev: Some("1234567890".repeat(4)), ..repo("lost", &origin.url()) },
    ]);
    let handle = side.start(&Taker::new());
    for name in ["tag", "pin"] {
        let view = handle.sync(name).await.unwrap();
        assert_eq!((in_force(&view), fault(&view).as_str()), (first.clone(), ""));
    }
    let second = origin.commit(&[(SCRIPT, "a = 2")], "second");
    origin.git(&["tag", "--force", "-a", "v1", "-m", "two"]);
    assert_eq!(in_force(&handle.sync("tag").await.unwrap()), second);
    assert_eq!(in_force(&handle.sync("pin").await.unwrap()), first);
    assert!(fault(&handle.sync("none").await.unwrap()).starts_with("PD0605 there is no tag `v9`"));
    let lost = fault(&handle.sync("lost").await.unwrap());
    assert!(lost.starts_with("PD0605"), "{lost}");
    origin.git(&["tag", "-d", "v1"]);
    let view = handle.sync("tag").await.unwrap();
    assert_eq!(in_force(&view), second);
    assert!(fault(&view).starts_with("PD0605 there is no tag `v1`"));
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_repository_is_a_root_of_its_own() {
    let origin = Origin::with(&[("team/web/python.d/web/web.py", "a = 1"), ("other/huge.bin", &"x".repeat(4096))]);
    let side = Side::of(vec![
        Repo { subdir: Some("team/web".into()), max_file_size: 1024, ..repo("c", &origin.url()) },
        Repo { subdir: Some("team/db".into()), ..repo("d", &origin.url()) },
    ]);
    let taker = Taker::new();
    let handle = side.start(&taker);
    let view = handle.sync("c").await.unwrap();
    assert_eq!(fault(&view), "");
    assert_eq!(text(&handle.roots()[0].dir, SCRIPT), "a = 1");
    let view = handle.sync("d").await.unwrap();
    assert!(fault(&view).starts_with("PD0605 there is no folder `team/db` in commit"), "{}", fault(&view));
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_repositories_are_offered_together_in_their_order() {
    let (one, two) = (Origin::with(&[(SCRIPT, "a = 1")]), Origin::with(&[(SCRIPT, "a = 2")]));
    let side = Side::of(vec![repo("one", &one.url()), repo("two", &two.url())]);
    let taker = Taker::new();
    let handle = side.start(&taker);
    handle.sync("two").await.unwrap();
    handle.sync("one").await.unwrap();
    one.commit(&[(SCRIPT, "a = 3")], "next");
    handle.sync("one").await.unwrap();
    let roots: Vec<String> =
        taker.last().roots.iter().map(|root| format!("{} {}", root.name, text(&root.dir, SCRIPT))).collect();
    assert_eq!(roots, ["one a = 3", "two a = 2"]);
    handle.stop().await;
}

/// Pulls a commit that follows a good one; gives its fault and notes, and holds that the good one still runs when there is a fault.
async fn pulled(
    origin: &Origin,
    change: impl FnOnce(&Origin, &mut Repo),
) -> (String, Vec<String>, std::path::PathBuf, Side) {
    let mut settings = repo("c", &origin.url());
    let good = origin.head();
    let first = Side::of(vec![settings.clone()]);
    let handle = first.start(&Taker::new());
    first_pull(&handle).await;
    handle.stop().await;
    change(origin, &mut settings);
    let side =
        Side { settings: pythond::config::GitRepos { repos: vec![settings], ..first.settings.clone() }, ..first };
    let handle = side.start(&Taker::new());
    let view = first_pull(&handle).await;
    if view.fault.is_some() {
        assert_eq!(in_force(&view), good);
    }
    let notes = view.in_force.as_ref().map(|in_force| in_force.notes.clone()).unwrap_or_default();
    let root = handle.roots()[0].dir.clone();
    handle.stop().await;
    assert!(!side.folder("c").join("export.new").join("x").exists());
    (fault(&view), notes, root, side)
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_leave_the_tree_are_left_out_and_told() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let (fault, notes, root, _side) = pulled(&origin, |origin, _| {
        for (target, link) in [
            ("web.py", "python.d/web/good.py"),
            ("/etc", "etc"),
            ("../../../../../../etc/passwd", "python.d/web/passwd.py"),
            ("nowhere", "python.d/web/dangling.py"),
            ("python.d/web", "inner"),
            ("inner/../../..", "out"),
            ("loop", "loop"),
        ] {
            symlink(target, origin.path().join(link)).unwrap();
        }
        origin.commit(&[], "links");
    })
    .await;
    assert_eq!(fault, "");
    assert_eq!(notes.len(), 1, "{notes:?}");
    for left_out in ["etc", "python.d/web/passwd.py", "python.d/web/dangling.py", "out", "loop"] {
        assert!(
            notes[0].contains(&format!("`{left_out}`")) && fs::symlink_metadata(root.join(left_out)).is_err(),
            "{left_out}: {notes:?}"
        );
    }
    assert_eq!(text(&root, "python.d/web/good.py"), "a = 1");
    assert_eq!(text(&root, "inner/web.py"), "a = 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_climbs_out_is_refused() {
    for name in ["..", ".", ".git"] {
        let origin = Origin::with(&[(SCRIPT, "a = 1")]);
        let (fault, ..) = pulled(&origin, |origin, _| {
            let inner = origin.tree(&[("100644", "evil.py", &origin.blob("x"))]);
            let tree = origin.tree(&[("40000", name, &inner)]);
            origin.commit_tree(&tree, "evil");
        })
        .await;
        // git itself refuses some of them before we do.
        assert!(fault.starts_with("PD06"), "{name}: {fault}");
    }
    assert!(!std::env::temp_dir().join("evil.py").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_below_a_link_of_the_same_name_is_not_written_through_it() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let target = tempfile::tempdir().unwrap();
    let (fault, ..) = pulled(&origin, |origin, _| {
        let link = origin.blob(&target.path().display().to_string());
        let inner = origin.tree(&[("100644", "evil.py", &origin.blob("x"))]);
        let tree = origin.tree(&[("120000", "a", &link), ("40000", "a", &inner)]);
        origin.commit_tree(&tree, "evil");
    })
    .await;
    assert!(fault.starts_with("PD06"), "{fault}");
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_refuse_a_commit_before_it_is_written() {
    type Change = fn(&Origin, &mut Repo);
    let cases: [(&str, Change); 3] = [
        ("`max_files`", |origin, repo| {
            for n in 0..20 {
                origin.file(&format!("many/{n}"), "x");
            }
            origin.commit(&[], "many");
            repo.max_files = 20;
        }),
        ("`max_file_size`", |origin, repo| {
            origin.commit(&[("big", &"x".repeat(2000))], "big");
            repo.max_file_size = 1999;
        }),
        ("`max_size`", |origin, repo| {
            origin.commit(&[("a", &"x".repeat(1000)), ("b", &"y".repeat(1000))], "sum");
            repo.max_size = 1999;
        }),
    ];
    for (key, change) in cases {
        let origin = Origin::with(&[(SCRIPT, "a = 1")]);
        let (fault, _, _, side) = pulled(&origin, change).await;
        assert!(fault.starts_with("PD0609 commit ") && fault.contains(key), "{fault}");
        assert_eq!(side.exported("c").len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn submodules_pointers_and_names_alike_are_told_and_block_nothing() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let (fault, notes, root, _side) = pulled(&origin, |origin, _| {
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n";
        origin.commit(&[("model.bin", pointer), ("Readme", "x"), ("README", "y")], "odd");
        let id = "1234567890".repeat(4);
        origin.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{id},vendor/lib")]);
        origin.git(&["commit", "--quiet", "-m", "submodule"]);
    })
    .await;
    assert_eq!(fault, "");
    let told = notes.join("\n");
    for part in [
        "submodules are not fetched: `vendor/lib`",
        "Git LFS, whose content is not fetched: `model.bin`",
        "lower case only: `Readme`",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(text(&root, SCRIPT), "a = 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hook_and_no_filter_runs() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let marker = tempfile::tempdir().unwrap();
    let touch = format!("#!/bin/sh\ntouch {}/ran\n", marker.path().display());
    origin.commit(&[(".gitattributes", "*.py filter=evil\n"), ("hooks/post-checkout", &touch)], "filters");
    let side = Side::of(vec![repo("c", &origin.url())]);
    let taker = Taker::new();
    let handle = side.start(&taker);
    first_pull(&handle).await;
    let hooks = side.folder("c").join("store.git/hooks");
    assert!(!hooks.exists(), "a store is made without hooks");
    fs::create_dir(&hooks).unwrap();
    for hook in ["post-checkout", "reference-transaction", "post-merge", "pre-auto-gc", "post-index-change"] {
        fs::write(hooks.join(hook), &touch).unwrap();
        fs::set_permissions(hooks.join(hook), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let second = origin.commit(&[(SCRIPT, "a = 2")], "second");
    assert_eq!(in_force(&handle.sync("c").await.unwrap()), second);
    assert_eq!(fs::read_dir(marker.path()).unwrap().count(), 0);
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_set_aside_and_cloned_again() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 5] = [
        ("packs cut", |store| {
            for entry in fs::read_dir(store.join("objects/pack")).unwrap() {
                let path = entry.unwrap().path();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
                fs::File::options().write(true).open(&path).unwrap().set_len(20).unwrap();
            }
        }),
        ("no objects", |store| fs::remove_dir_all(store.join("objects")).unwrap()),
        ("settings torn", |store| fs::write(store.join("config"), "[core\n\0").unwrap()),
        ("no HEAD", |store| fs::remove_file(store.join("HEAD")).unwrap()),
        ("ref torn", |store| fs::write(store.join("refs/pythond/tip"), "\0\0\0").unwrap()),
    ];
    for (name, damage) in damages {
        let origin = Origin::with(&[(SCRIPT, "a = 1")]);
        let side = Side::of(vec![repo("c", &origin.url())]);
        let taker = Taker::new();
        let handle = side.start(&taker);
        first_pull(&handle).await;
        damage(&side.folder("c").join("store.git"));
        let second = origin.commit(&[(SCRIPT, "a = 2")], "second");
        let view = handle.sync("c").await.unwrap();
        assert_eq!((in_force(&view), fault(&view)), (second, String::new()), "{name}");
        assert_eq!(text(&taker.last().dir, SCRIPT), "a = 2", "{name}");
        handle.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_set_aside_do_not_pile_up() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(vec![repo("c", &origin.url())]);
    let handle = side.start(&Taker::new());
    first_pull(&handle).await;
    for n in 0..5 {
        fs::remove_file(side.folder("c").join("store.git/HEAD")).unwrap();
        origin.commit(&[(SCRIPT, &format!("a = {n}"))], "next");
        assert_eq!(fault(&handle.sync("c").await.unwrap()), "");
    }
    let names = fs::read_dir(side.folder("c")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut bad: Vec<String> = names.filter(|name| name.contains("bad")).collect();
    bad.sort();
    assert_eq!(bad, ["store.git.bad-4", "store.git.bad-5"]);
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_of_a_killed_git_do_not_stop_the_next() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(vec![repo("c", &origin.url())]);
    let handle = side.start(&Taker::new());
    first_pull(&handle).await;
    let store = side.folder("c").join("store.git");
    for lock in ["HEAD.lock", "config.lock", "shallow.lock", "packed-refs.lock", "refs/pythond/tip.lock"] {
        fs::write(store.join(lock), "").unwrap();
    }
    fs::write(store.join("objects/pack/tmp_pack_x"), "half").unwrap();
    let second = origin.commit(&[(SCRIPT, "a = 2")], "second");
    assert_eq!(in_force(&handle.sync("c").await.unwrap()), second);
    assert!(!store.join("objects/pack/tmp_pack_x").exists());
    assert!(!side.folder("c").join("store.git.bad-1").exists(), "it was not worth setting the store aside");
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pulls_do_not_leave_many_packs() {
    let origin = Origin::with(&[(SCRIPT, "a = 0")]);
    let side = Side::of(vec![repo("c", &origin.url())]);
    let handle = side.start(&Taker::new());
    first_pull(&handle).await;
    for n in 1..=55 {
        origin.commit(&[(SCRIPT, &format!("a = {n}"))], "next");
        handle.sync("c").await.unwrap();
    }
    let packs = fs::read_dir(side.folder("c").join("store.git/objects/pack")).unwrap();
    let packs = packs.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "pack")).count();
    assert!(packs < 20, "{packs} packs");
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_url_under_the_same_name_is_followed() {
    let (one, two) = (Origin::with(&[(SCRIPT, "a = 1")]), Origin::with(&[(SCRIPT, "a = 2")]));
    let mut side = Side::of(vec![repo("c", &one.url())]);
    let handle = side.start(&Taker::new());
    first_pull(&handle).await;
    handle.stop().await;
    side.settings.repos = vec![repo("c", &two.url())];
    let handle = side.start(&Taker::new());
    assert_eq!(in_force(&first_pull(&handle).await), two.head());
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_git_is_told_what_to_install() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let mut side = Side::of(vec![repo("c", &origin.url())]);
    side.settings.env = vec![("PATH".to_owned(), pythond::config::Secret::new("/nowhere"))];
    let handle = side.start(&Taker::new());
    let told = fault(&first_pull(&handle).await);
    assert!(told.starts_with("PD0107 the program `git` cannot be started"), "{told}");
    assert!(told.contains("apt-get install git"), "{told}");
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_the_adopter_and_the_commit_is_offered_again() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(vec![repo("c", &origin.url())]);
    let stuck = std::sync::Arc::new(Stuck::default());
    let handle = pythond::git::start(side.settings.clone(), "testhost", stuck.clone(), &[]);
    wait_until("the offer", || stuck.offered.load(std::sync::atomic::Ordering::SeqCst)).await;
    tokio::time::timeout(PATIENCE, handle.stop()).await.expect("a stop in time");
    let taker = Taker::new();
    let handle = side.start(&taker);
    assert_eq!(in_force(&first_pull(&handle).await), origin.head());
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_settings_takes_effect_at_once_and_goes_on_from_the_trees_that_run() {
    let (one, two) = (Origin::with(&[(SCRIPT, "a = 1")]), Origin::with(&[(SCRIPT, "a = 2")]));
    let side = Side::of(vec![repo("one", &one.url())]);
    let taker = Taker::new();
    let handle = side.start(&taker);
    first_pull(&handle).await;
    let shared = handle.clone();
    let running = handle.roots();
    let mut settings = side.settings.clone();
    settings.repos.push(repo("two", &two.url()));
    handle.change(settings.clone(), &pythond::git::roots(&settings, &running)).await;
    assert_eq!((shared.names(), shared.roots()), (vec!["one".to_owned(), "two".to_owned()], running.clone()));
    wait_until("the other repository", || shared.views()[1].in_force.is_some()).await;
    assert_eq!(taker.last().roots, [running[0].clone(), handle.roots()[1].clone()], "offered beside what runs");
    assert_eq!(taker.offered(), [one.head(), two.head()], "what runs whole is not offered again");
    settings.repos.remove(0);
    handle.change(settings.clone(), &pythond::git::roots(&settings, &handle.roots())).await;
    assert_eq!((handle.names(), in_force(&handle.views()[0])), (vec!["two".to_owned()], two.head()));
    assert!(handle.sync("one").await.is_none());
    assert_eq!(side.exported("one"), [one.head()], "what was fetched stays");
    handle.stop().await;
}

/// Never answers.
#[derive(Default)]
struct Stuck {
    offered: std::sync::atomic::AtomicBool,
}

impl pythond::git::Adopter for Stuck {
    fn adopt(&self, _: pythond::git::Candidate) -> futures_util::future::BoxFuture<'_, Adoption> {
        self.offered.store(true, std::sync::atomic::Ordering::SeqCst);
        Box::pin(std::future::pending())
    }

    fn in_use(&self) -> futures_util::future::BoxFuture<'_, Vec<std::path::PathBuf>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopter_that_takes_its_time_is_not_hurried_and_one_commit_comes_after_the_other() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(vec![repo("c", &origin.url()), repo("d", &origin.url())]);
    let taker = Taker::new();
    let inside = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    taker.decide_by({
        let inside = std::sync::Arc::clone(&inside);
        move |_| {
            use std::sync::atomic::Ordering::SeqCst;
            assert_eq!(inside.fetch_add(1, SeqCst), 0, "two at the same time");
            std::thread::sleep(Duration::from_millis(50));
            inside.fetch_sub(1, SeqCst);
            Adoption::Taken { held: Vec::new(), changes: vec!["started web.web".into()] }
        }
    });
    let handle = side.start(&taker);
    wait_until("both", || taker.offered().len() == 2 && handle.views().iter().all(|view| view.in_force.is_some()))
        .await;
    assert_eq!(handle.views()[0].changes, ["started web.web"]);
    handle.stop().await;
}
