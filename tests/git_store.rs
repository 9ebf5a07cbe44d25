//! Repositories on this machine: what is followed, what is kept, what is refused, and that nothing gets stuck.

#[path = "support/git.rs"]
mod git;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use git::*;
use pythond::config::{RepoRoot, RepoSettings};
use pythond::git::{Adoption, Happened};

const SCRIPT: &str = "python.d/web/web.py";

fn text(dir: &Path, file: &str) -> String {
    fs::read_to_string(dir.join(file)).unwrap_or_default()
}

over_both! {
    whatever_byte_of_a_store_is_damaged_the_next_commit_runs,
    a_path_is_copied_as_deep_as_the_settings_say,
    a_merge_is_copied_with_both_its_sides,
    a_commit_is_exported_whole_and_offered,
    a_push_is_followed_and_the_same_commit_is_offered_once,
    pulls_come_by_themselves_every_interval,
    the_last_two_and_those_in_use_stay_on_disk,
    a_refused_commit_changes_nothing_and_is_offered_again_when_asked_for,
    after_a_partly_refused_commit_a_start_begins_with_the_whole_one_and_offers_it_again,
    a_repository_that_vanishes_changes_nothing_but_the_status,
    a_forced_push_and_an_unrelated_history_are_followed_and_noted,
    an_ordinary_push_is_not_called_rewritten_however_shallow_the_store_is,
    a_deleted_branch_is_told_with_those_that_are_there,
    master_is_told_from_main_and_an_empty_repository_is_named,
    a_tag_is_followed_where_it_moves_and_a_commit_is_pinned,
    a_part_of_a_repository_is_a_root_of_its_own,
    two_repositories_are_offered_together_in_their_order,
    links_that_leave_the_tree_are_left_out_and_told,
    a_tree_that_climbs_out_is_refused,
    a_file_below_a_link_of_the_same_name_is_not_written_through_it,
    limits_refuse_a_commit_before_it_is_written,
    submodules_pointers_and_names_alike_are_told_and_block_nothing,
    no_hook_and_no_filter_runs,
    a_damaged_store_is_set_aside_and_cloned_again,
    stores_set_aside_do_not_pile_up,
    locks_of_a_killed_git_do_not_stop_the_next,
    many_pulls_do_not_leave_many_packs,
    another_url_under_the_same_name_is_followed,
    a_stop_does_not_wait_for_the_adopter_and_the_commit_is_offered_again,
    a_change_of_the_settings_takes_effect_at_once_and_goes_on_from_the_trees_that_run,
    an_adopter_that_takes_its_time_is_not_hurried_and_one_commit_comes_after_the_other,
}

async fn a_commit_is_exported_whole_and_offered(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1\r\n"), ("conf.d/web.conf", "# x"), ("bin/tool", "#!/bin/sh\n")]);
    fs::set_permissions(origin.path().join("bin/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    let commit = origin.commit(&[(".gitattributes", "* text=auto eol=lf export-ignore\n")], "first \u{1b}[31mred");
    let side = Side::of(transport, vec![repo("c", &origin.url())]);
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

async fn a_push_is_followed_and_the_same_commit_is_offered_once(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(transport, vec![repo("c", &origin.url())]);
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
    let what: Vec<String> = view.history.iter().map(|event| event.what.to_string()).collect();
    assert_eq!(what, ["active", "active"]);
    assert!(handle.sync("other").await.is_none());
    handle.stop().await;
}

async fn pulls_come_by_themselves_every_interval(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let mut side = Side::of(transport, vec![repo("c", &origin.url())]);
    side.settings.pull_interval = Duration::from_secs(1);
    let taker = Taker::new();
    let handle = side.start(&taker);
    first_pull(&handle).await;
    let second = origin.commit(&[(SCRIPT, "a = 2")], "second");
    wait_until("the second commit", || taker.offered().contains(&second)).await;
    handle.stop().await;
}

async fn the_last_two_and_those_in_use_stay_on_disk(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(transport, vec![repo("c", &origin.url())]);
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

async fn a_refused_commit_changes_nothing_and_is_offered_again_when_asked_for(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(transport, vec![repo("c", &origin.url())]);
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

async fn after_a_partly_refused_commit_a_start_begins_with_the_whole_one_and_offers_it_again(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(transport, vec![repo("c", &origin.url())]);
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

async fn a_repository_that_vanishes_changes_nothing_but_the_status(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(transport, vec![repo("c", &origin.url())]);
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

async fn a_forced_push_and_an_unrelated_history_are_followed_and_noted(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    origin.commit(&[(SCRIPT, "a = 2")], "second");
    let side = Side::of(transport, vec![repo("c", &origin.url())]);
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
    let what: Vec<String> = view.history.iter().map(|event| event.what.to_string()).collect();
    assert_eq!(what, ["active", "rewritten", "active", "rewritten", "active"]);
    handle.stop().await;
}

async fn an_ordinary_push_is_not_called_rewritten_however_shallow_the_store_is(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 0")]);
    let side = Side::of(transport, vec![RepoSettings { depth: 1, ..repo("c", &format!("file://{}", origin.url())) }]);
    let taker = Taker::new();
    let handle = side.start(&taker);
    first_pull(&handle).await;
    for n in 1..4 {
        origin.commit(&[(SCRIPT, &format!("a = {n}"))], "next");
        let view = handle.sync("c").await.unwrap();
        assert!(view.history.iter().all(|event| event.what == Happened::Active), "{:?}", view.history);
    }
    handle.stop().await;
}

async fn a_deleted_branch_is_told_with_those_that_are_there(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    origin.git(&["branch", "live"]);
    let side = Side::of(transport, vec![RepoSettings { branch: Some("live".into()), ..repo("c", &origin.url()) }]);
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

async fn master_is_told_from_main_and_an_empty_repository_is_named(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let empty = Origin::new();
    let side = Side::of(
        transport,
        vec![RepoSettings { branch: Some("master".into()), ..repo("c", &origin.url()) }, repo("empty", &empty.url())],
    );
    let handle = side.start(&Taker::new());
    let view = handle.sync("c").await.unwrap();
    assert!(fault(&view).contains("did you mean `branch = \"main\"`?"), "{}", fault(&view));
    let view = handle.sync("empty").await.unwrap();
    assert!(fault(&view).contains("names no default branch; is it empty"), "{}", fault(&view));
    handle.stop().await;
}

async fn a_tag_is_followed_where_it_moves_and_a_commit_is_pinned(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let first = origin.head();
    origin.git(&["tag", "-a", "v1", "-m", "one"]);
    let side = Side::of(
        transport,
        vec![
            RepoSettings { rev: Some("v1".into()), ..repo("tag", &origin.url()) },
            RepoSettings { rev: Some(first.clone()), ..repo("pin", &origin.url()) },
            RepoSettings { rev: Some("v9".into()), ..repo("none", &origin.url()) },
            RepoSettings { rev: Some("1234567890".repeat(4)), ..repo("lost", &origin.url()) },
        ],
    );
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

async fn a_part_of_a_repository_is_a_root_of_its_own(transport: GitTransport) {
    let origin = Origin::with(&[("team/web/python.d/web/web.py", "a = 1"), ("other/huge.bin", &"x".repeat(4096))]);
    let side = Side::of(
        transport,
        vec![
            RepoSettings { subdir: Some("team/web".into()), max_file_size: 1024, ..repo("c", &origin.url()) },
            RepoSettings { subdir: Some("team/db".into()), ..repo("d", &origin.url()) },
        ],
    );
    let taker = Taker::new();
    let handle = side.start(&taker);
    let view = handle.sync("c").await.unwrap();
    assert_eq!(fault(&view), "");
    assert_eq!(text(&handle.roots()[0].dir, SCRIPT), "a = 1");
    let view = handle.sync("d").await.unwrap();
    assert!(fault(&view).starts_with("PD0605 there is no folder `team/db` in commit"), "{}", fault(&view));
    handle.stop().await;
}

async fn two_repositories_are_offered_together_in_their_order(transport: GitTransport) {
    let (one, two) = (Origin::with(&[(SCRIPT, "a = 1")]), Origin::with(&[(SCRIPT, "a = 2")]));
    let side = Side::of(transport, vec![repo("one", &one.url()), repo("two", &two.url())]);
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

async fn a_path_is_copied_as_deep_as_the_settings_say(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 0")]);
    origin.git(&["checkout", "--quiet", "-b", "other"]);
    origin.commit(&[("other", "x")], "on another branch");
    origin.git(&["checkout", "--quiet", "main"]);
    for n in 1..10 {
        origin.commit(&[(SCRIPT, &format!("a = {n}"))], "next");
    }
    let url = origin.url();
    let mut side = Side::of(transport, vec![RepoSettings { depth: 2, ..repo("c", &url) }]);
    let store = side.folder("c").join("store.git");
    let commits = |range: &str| git_in(&store, &["rev-list", "--count", range]).parse::<u32>().unwrap();
    for (depth, pushed, expected) in [(2, 0, 2), (2, 1, 2), (2, 5, 2), (4, 1, 4), (0, 1, 18)] {
        for n in 0..pushed {
            origin.commit(&[("more.py", &format!("{depth} {n}"))], "more");
        }
        side = side.with(vec![RepoSettings { depth, ..repo("c", &url) }]);
        let handle = side.start(&Taker::new());
        let view = first_pull(&handle).await;
        assert_eq!((fault(&view), in_force(&view)), (String::new(), origin.head()), "{depth}");
        handle.stop().await;
        assert_eq!(commits("refs/pythond/tip"), expected, "{depth} after {pushed}");
        assert_eq!(git_in(&store, &["fsck", "--no-dangling"]), "");
        let names = git_in(&store, &["for-each-ref", "--format=%(refname)"]);
        assert_eq!(names, "refs/pythond/tip");
    }
}

async fn a_merge_is_copied_with_both_its_sides(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 0")]);
    let side = Side::of(transport, vec![repo("c", &origin.url())]);
    let handle = side.start(&Taker::new());
    first_pull(&handle).await;
    origin.git(&["checkout", "--quiet", "-b", "side"]);
    origin.commit(&[("python.d/web/side.py", "s = 1")], "side");
    origin.git(&["checkout", "--quiet", "main"]);
    origin.commit(&[(SCRIPT, "a = 1")], "main");
    origin.git(&["merge", "--quiet", "--no-edit", "side"]);
    let view = handle.sync("c").await.unwrap();
    assert_eq!((fault(&view), in_force(&view)), (String::new(), origin.head()));
    let root = &handle.roots()[0].dir;
    assert_eq!((text(root, SCRIPT).as_str(), text(root, "python.d/web/side.py").as_str()), ("a = 1", "s = 1"));
    assert!(view.history.iter().all(|event| event.what == Happened::Active), "{:?}", view.history);
    let store = side.folder("c").join("store.git");
    assert_eq!(git_in(&store, &["fsck", "--no-dangling"]), "");
    handle.stop().await;
}

/// Pulls a commit that follows a good one; gives its fault and notes, and holds that the good one still runs when there is a fault.
async fn pulled(
    transport: GitTransport,
    origin: &Origin,
    change: impl FnOnce(&Origin, &mut RepoSettings),
) -> (String, Vec<String>, std::path::PathBuf, Side) {
    let mut settings = repo("c", &origin.url());
    let good = origin.head();
    let first = Side::of(transport, vec![settings.clone()]);
    let handle = first.start(&Taker::new());
    first_pull(&handle).await;
    handle.stop().await;
    change(origin, &mut settings);
    let side = first.with(vec![settings]);
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

async fn links_that_leave_the_tree_are_left_out_and_told(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let (fault, notes, root, _side) = pulled(transport, &origin, |origin, _| {
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

async fn a_tree_that_climbs_out_is_refused(transport: GitTransport) {
    for name in ["..", ".", ".git"] {
        let origin = Origin::with(&[(SCRIPT, "a = 1")]);
        let (fault, ..) = pulled(transport, &origin, |origin, _| {
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

async fn a_file_below_a_link_of_the_same_name_is_not_written_through_it(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let target = tempfile::tempdir().unwrap();
    let (fault, ..) = pulled(transport, &origin, |origin, _| {
        let link = origin.blob(&target.path().display().to_string());
        let inner = origin.tree(&[("100644", "evil.py", &origin.blob("x"))]);
        let tree = origin.tree(&[("120000", "a", &link), ("40000", "a", &inner)]);
        origin.commit_tree(&tree, "evil");
    })
    .await;
    assert!(fault.starts_with("PD06"), "{fault}");
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
}

async fn limits_refuse_a_commit_before_it_is_written(transport: GitTransport) {
    type Change = fn(&Origin, &mut RepoSettings);
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
        let (fault, _, _, side) = pulled(transport, &origin, change).await;
        assert!(fault.starts_with("PD0609 commit ") && fault.contains(key), "{fault}");
        assert_eq!(side.exported("c").len(), 1);
    }
}

async fn submodules_pointers_and_names_alike_are_told_and_block_nothing(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let (fault, notes, root, _side) = pulled(transport, &origin, |origin, _| {
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
    let left_out = text(&root, ".pythond-left-out.json");
    assert_eq!(left_out, r#"{"pointers":["model.bin"],"submodules":["vendor/lib"]}"#);
}

async fn no_hook_and_no_filter_runs(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let marker = tempfile::tempdir().unwrap();
    let touch = format!("#!/bin/sh\ntouch {}/ran\n", marker.path().display());
    origin.commit(&[(".gitattributes", "*.py filter=evil\n"), ("hooks/post-checkout", &touch)], "filters");
    let side = Side::of(transport, vec![repo("c", &origin.url())]);
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

async fn a_damaged_store_is_set_aside_and_cloned_again(transport: GitTransport) {
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
        let side = Side::of(transport, vec![repo("c", &origin.url())]);
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

/// What a pseudo-random number says, and the next one.
fn drawn(state: &mut u64, most: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*state >> 33).unwrap() % most
}

async fn whatever_byte_of_a_store_is_damaged_the_next_commit_runs(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, &"a = 1\n".repeat(20)), ("b", "b"), ("c/d", "d")]);
    let side = Side::of(transport, vec![repo("c", &origin.url())]);
    let taker = Taker::new();
    let handle = side.start(&taker);
    first_pull(&handle).await;
    let store = side.folder("c").join("store.git");
    let seed = std::env::var("PYTHOND_TEST_SEED").map_or(6, |seed| seed.parse().unwrap());
    let mut state = seed;
    for n in 0..40 {
        let mut files = Vec::new();
        files_below(&store, &mut files);
        files.sort();
        // Indexes first of all: where they lead is believed.
        if n % 2 == 0 {
            files.retain(|path| path.extension().is_some_and(|ending| ending == "idx"));
        }
        let path = &files[drawn(&mut state, files.len())];
        let mut bytes = fs::read(path).unwrap();
        let at = drawn(&mut state, bytes.len() + 1);
        match bytes.get_mut(at) {
            Some(byte) => *byte ^= u8::try_from(drawn(&mut state, 255)).unwrap() + 1,
            None => bytes.truncate(at / 2),
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(path, bytes).unwrap();
        let commit = origin.commit(&[(SCRIPT, &format!("a = {n}"))], "next");
        let view = handle.sync("c").await.unwrap();
        let named = format!("seed {seed}, round {n}: byte {at} of {}", path.display());
        assert_eq!((in_force(&view), fault(&view)), (commit, String::new()), "{named}");
        assert_eq!(text(&taker.last().dir, SCRIPT), format!("a = {n}"), "{named}");
    }
    handle.stop().await;
}

fn files_below(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            files_below(&entry, found);
        } else {
            found.push(entry);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_repository_on_this_machine_is_told_and_breaks_nothing_of_the_agent() {
    let origin = Origin::with(&[(SCRIPT, &"a = 1\n".repeat(20)), ("b", "b"), ("c/d", "d")]);
    origin.git(&["gc", "--quiet"]);
    let packs = origin.git_dir().join("objects/pack");
    let mut state = 1;
    for round in 0..30 {
        let mut files = Vec::new();
        files_below(&packs, &mut files);
        files.sort();
        let path = &files[drawn(&mut state, files.len())];
        let whole = fs::read(path).unwrap();
        let mut bytes = whole.clone();
        let at = drawn(&mut state, bytes.len());
        bytes[at] ^= u8::try_from(drawn(&mut state, 255)).unwrap() + 1;
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(path, bytes).unwrap();
        let side = Side::of(GitTransport::Libgit2, vec![repo("c", &origin.url())]);
        let handle = side.start(&Taker::new());
        let told = fault(&first_pull(&handle).await);
        assert!(!told.contains("fault of the agent"), "round {round}: {told}");
        handle.stop().await;
        fs::write(path, whole).unwrap();
    }
}

async fn stores_set_aside_do_not_pile_up(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(transport, vec![repo("c", &origin.url())]);
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

async fn locks_of_a_killed_git_do_not_stop_the_next(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(transport, vec![repo("c", &origin.url())]);
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

async fn many_pulls_do_not_leave_many_packs(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 0")]);
    let side = Side::of(transport, vec![repo("c", &origin.url())]);
    let handle = side.start(&Taker::new());
    first_pull(&handle).await;
    for n in 1..=55 {
        origin.commit(&[(SCRIPT, &format!("a = {n}"))], "next");
        handle.sync("c").await.unwrap();
    }
    let packs = fs::read_dir(side.folder("c").join("store.git/objects/pack")).unwrap();
    let packs = packs.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "pack")).count();
    assert!(packs < 20, "{packs} packs");
    assert_eq!(git_in(&side.folder("c").join("store.git"), &["fsck", "--no-dangling"]), "");
    handle.stop().await;
}

async fn another_url_under_the_same_name_is_followed(transport: GitTransport) {
    let (one, two) = (Origin::with(&[(SCRIPT, "a = 1")]), Origin::with(&[(SCRIPT, "a = 2")]));
    let mut side = Side::of(transport, vec![repo("c", &one.url())]);
    let handle = side.start(&Taker::new());
    first_pull(&handle).await;
    handle.stop().await;
    side = side.with(vec![repo("c", &two.url())]);
    let handle = side.start(&Taker::new());
    assert_eq!(in_force(&first_pull(&handle).await), two.head());
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_git_is_told_what_to_install() {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let mut side = Side::of(GitTransport::System, vec![repo("c", &origin.url())]);
    side.settings.env = vec![("PATH".to_owned(), pythond::config::Secret::new("/nowhere"))];
    let handle = side.start(&Taker::new());
    let told = fault(&first_pull(&handle).await);
    assert!(told.starts_with("PD0107 the program `git` cannot be started"), "{told}");
    assert!(told.contains("apt-get install git"), "{told}");
    handle.stop().await;
}

async fn a_stop_does_not_wait_for_the_adopter_and_the_commit_is_offered_again(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(transport, vec![repo("c", &origin.url())]);
    let stuck = std::sync::Arc::new(Stuck::default());
    let handle = pythond::git::start(side.settings.clone(), "testhost", stuck.clone(), &[]);
    wait_until("the offer", || stuck.offered.load(std::sync::atomic::Ordering::SeqCst)).await;
    tokio::time::timeout(PATIENCE, handle.stop()).await.expect("a stop in time");
    let taker = Taker::new();
    let handle = side.start(&taker);
    assert_eq!(in_force(&first_pull(&handle).await), origin.head());
    handle.stop().await;
}

async fn a_change_of_the_settings_takes_effect_at_once_and_goes_on_from_the_trees_that_run(transport: GitTransport) {
    let (one, two) = (Origin::with(&[(SCRIPT, "a = 1")]), Origin::with(&[(SCRIPT, "a = 2")]));
    let side = Side::of(transport, vec![repo("one", &one.url())]);
    let taker = Taker::new();
    let handle = side.start(&taker);
    first_pull(&handle).await;
    let shared = handle.clone();
    let running = handle.roots();
    let mut settings = side.settings.clone();
    settings.repos.push(RepoSettings { transport, ..repo("two", &two.url()) });
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
    fn adopt(&self, _: pythond::git::CandidateCommit) -> futures_util::future::BoxFuture<'_, Adoption> {
        self.offered.store(true, std::sync::atomic::Ordering::SeqCst);
        Box::pin(std::future::pending())
    }

    fn in_use(&self) -> futures_util::future::BoxFuture<'_, Vec<std::path::PathBuf>> {
        Box::pin(std::future::pending())
    }
}

async fn an_adopter_that_takes_its_time_is_not_hurried_and_one_commit_comes_after_the_other(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(transport, vec![repo("c", &origin.url()), repo("d", &origin.url())]);
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
