//! What the two transports must do alike besides the everyday, what only one of them can, and what libgit2 needs nothing for.

#[path = "support/git.rs"]
mod git;
#[path = "support/git_server.rs"]
mod git_server;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use git::*;
use git_server::{Server, with_password};
use pythond::config::{RepoSettings, Secret};

const SCRIPT: &str = "python.d/web/web.py";

over_both! {
    a_redirect_leads_to_the_repository,
    a_repository_behind_plain_http_is_pulled,
    the_proxy_of_the_environment_is_taken_and_its_exceptions_are_heeded,
    branches_and_tags_whose_names_are_no_text_stand_in_nobodys_way,
    a_history_is_fetched_as_deep_as_the_settings_say,
    a_commit_is_pinned_whether_or_not_the_server_hands_out_old_ones,
    a_history_that_is_too_large_is_given_up,
    a_connection_that_breaks_off_is_told,
    a_repository_of_sha256_is_refused_with_the_same_words,
    a_repository_is_found_where_git_finds_it,
}

/// Pulls one repository once; gives the fault and the commit in force.
async fn pulled(transport: GitTransport, repo: RepoSettings) -> (String, String) {
    let side = Side::of(transport, vec![repo]);
    let handle = side.start(&Taker::new());
    let view = first_pull(&handle).await;
    handle.stop().await;
    (fault(&view), in_force(&view))
}

async fn a_redirect_leads_to_the_repository(transport: GitTransport) {
    let server = Server::start();
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    server.serve(&origin, "ops.git", Some("ci:secret"));
    fs::write(server.path("repos/away"), server.url("ops.git")).unwrap();
    // To the same server, which may have the login.
    let repo = with_password(server.repo("c", "away"), "secret");
    assert_eq!(pulled(transport, repo).await, (String::new(), origin.head()));
    let log = server.log();
    assert!(log.iter().any(|line| line.starts_with("POST /ops.git/")), "{log:#?}");
    assert!(!log.iter().any(|line| line.starts_with("POST /away")), "{log:#?}");
}

async fn a_repository_behind_plain_http_is_pulled(transport: GitTransport) {
    let server = Server::plain();
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    server.serve(&origin, "ops.git", Some("ci:secret"));
    let repo = repo("c", &format!("http://127.0.0.1:{}/ops.git", server.port));
    assert_eq!(pulled(transport, with_password(repo, "secret")).await, (String::new(), origin.head()));
}

/// A proxy that wants a login, connects to anybody, and notes whom, and with which login.
fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let log = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&log);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let noted = Arc::clone(&noted);
            std::thread::spawn(move || tunnel(client.unwrap(), &noted));
        }
    });
    (address, log)
}

fn tunnel(mut client: TcpStream, log: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut reader = BufReader::new(client.try_clone().unwrap());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 {
            return;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let target = head[0].split_whitespace().nth(1).unwrap().to_owned();
    let login = head.iter().find(|line| line.to_lowercase().starts_with("proxy-authorization"));
    let Some(login) = login else {
        let refusal = "HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm=\"proxy\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return client.write_all(refusal.as_bytes()).unwrap();
    };
    log.lock().unwrap().push(format!("{target} {}", login.rsplit(' ').next().unwrap()));
    let mut server = TcpStream::connect(&target).unwrap();
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
    let (mut back, mut from) = (client, server.try_clone().unwrap());
    std::thread::spawn(move || {
        // Whoever closes first ends both.
        let _ = std::io::copy(&mut from, &mut back);
        let _ = back.shutdown(std::net::Shutdown::Both);
    });
    let _ = std::io::copy(&mut reader, &mut server);
    let _ = server.shutdown(std::net::Shutdown::Both);
}

async fn the_proxy_of_the_environment_is_taken_and_its_exceptions_are_heeded(transport: GitTransport) {
    let server = Server::start();
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    server.serve(&origin, "ops.git", None);
    let (address, log) = proxy();
    let target = format!("127.0.0.1:{}", server.port);
    for (exceptions, taken) in [("example.com", true), ("127.0.0.1,example.com", false), ("*", false)] {
        let mut side = Side::of(transport, vec![server.repo("c", "ops.git")]);
        let more = [("https_proxy", format!("http://me:s3cret@{address}")), ("no_proxy", exceptions.to_owned())];
        side.settings.env.extend(more.map(|(name, value)| (name.to_owned(), Secret::new(value))));
        let handle = side.start(&Taker::new());
        assert_eq!(fault(&first_pull(&handle).await), "", "{exceptions}");
        handle.stop().await;
        let seen: Vec<String> = log.lock().unwrap().drain(..).collect();
        assert_eq!(!seen.is_empty(), taken, "{exceptions}: {seen:?}");
        // `me:s3cret`
        assert!(seen.iter().all(|line| *line == format!("{target} bWU6czNjcmV0")), "{seen:?}");
    }
    let mut side = Side::of(transport, vec![server.repo("c", "ops.git")]);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    side.settings.env.push(("https_proxy".to_owned(), Secret::new(format!("http://me:s3cret@{gone}"))));
    let handle = side.start(&Taker::new());
    let told = fault(&first_pull(&handle).await);
    assert!(told.starts_with("PD0608") && !told.contains("s3cret"), "{told}");
    handle.stop().await;
}

async fn branches_and_tags_whose_names_are_no_text_stand_in_nobodys_way(transport: GitTransport) {
    let server = Server::start();
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    server.serve(&origin, "ops.git", None);
    for name in [&b"refs/heads/caf\xe9"[..], b"refs/tags/\xff\xfe", b"refs/heads/z\xc3\xb6"] {
        let mut command = Command::new("git");
        command.arg("-C").arg(origin.path()).arg("update-ref").arg(OsStr::from_bytes(name)).arg("HEAD");
        assert!(command.status().unwrap().success());
    }
    for url in [server.repo("c", "ops.git"), repo("c", &origin.url())] {
        assert_eq!(pulled(transport, url.clone()).await, (String::new(), origin.head()));
        let (told, _) = pulled(transport, RepoSettings { branch: Some("none".to_owned()), ..url.clone() }).await;
        assert!(told.contains("its branches: ") && told.contains("main") && told.contains("zö"), "{told}");
        let other = RepoSettings { branch: Some("zö".to_owned()), ..url };
        assert_eq!(pulled(transport, other).await, (String::new(), origin.head()));
    }
}

fn commits_in(store: &Path) -> u32 {
    git_in(store, &["rev-list", "--count", "refs/pythond/tip"]).parse().unwrap()
}

async fn a_history_is_fetched_as_deep_as_the_settings_say(transport: GitTransport) {
    let server = Server::start();
    let origin = Origin::with(&[(SCRIPT, "a = 0")]);
    for n in 1..10 {
        origin.commit(&[(SCRIPT, &format!("a = {n}"))], "next");
    }
    server.serve(&origin, "ops.git", None);
    let mut side = Side::of(transport, vec![RepoSettings { depth: 2, ..server.repo("c", "ops.git") }]);
    let store = side.folder("c").join("store.git");
    let handle = side.start(&Taker::new());
    assert_eq!((fault(&first_pull(&handle).await).as_str(), commits_in(&store)), ("", 2));
    origin.commit(&[(SCRIPT, "a = 10")], "next");
    let view = handle.sync("c").await.unwrap();
    assert_eq!((fault(&view), in_force(&view)), (String::new(), origin.head()));
    assert_eq!(commits_in(&store), 2);
    assert!(view.history.iter().all(|event| event.what == pythond::git::Happened::Active), "{:?}", view.history);
    handle.stop().await;
    for (depth, expected) in [(5, 5), (0, 13)] {
        side = side.with(vec![RepoSettings { depth, ..server.repo("c", "ops.git") }]);
        origin.commit(&[(SCRIPT, &format!("a = {}", 10 + depth))], "next");
        let handle = side.start(&Taker::new());
        let view = first_pull(&handle).await;
        assert_eq!((fault(&view), in_force(&view)), (String::new(), origin.head()));
        assert_eq!(commits_in(&store), expected);
        handle.stop().await;
        assert_eq!(git_in(&store, &["fsck", "--no-dangling"]), "");
    }
    assert!(!store.join("shallow").exists());
}

async fn a_commit_is_pinned_whether_or_not_the_server_hands_out_old_ones(transport: GitTransport) {
    for allowed in ["true", "false"] {
        let server = Server::start();
        let origin = Origin::with(&[(SCRIPT, "a = 1")]);
        let first = origin.head();
        origin.commit(&[(SCRIPT, "a = 2")], "second");
        origin.git(&["config", "uploadpack.allowAnySHA1InWant", allowed]);
        server.serve(&origin, "ops.git", None);
        let pinned = |rev: &str| RepoSettings { rev: Some(rev.to_owned()), depth: 1, ..server.repo("c", "ops.git") };
        assert_eq!(pulled(transport, pinned(&first)).await, (String::new(), first), "{allowed}");
        let lost = "1234567890".repeat(4);
        let (told, _) = pulled(transport, pinned(&lost)).await;
        assert!(told.starts_with(&format!("PD0605 there is no commit `{lost}` in `https://")), "{allowed}: {told}");
    }
}

async fn a_history_that_is_too_large_is_given_up(transport: GitTransport) {
    let server = Server::start();
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let mut state = 1_u64;
    let mut noise = String::new();
    while noise.len() < 3 << 20 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.push_str(&format!("{state:016x}"));
    }
    origin.commit(&[("noise", &noise)], "too much");
    fs::remove_file(origin.path().join("noise")).unwrap();
    origin.commit(&[], "gone again");
    server.serve(&origin, "ops.git", None);
    for repo in [server.repo("c", "ops.git"), repo("c", &origin.url())] {
        let (told, commit) = pulled(transport, RepoSettings { depth: 0, max_size: 64 << 10, ..repo }).await;
        assert!(told.starts_with("PD0609") && told.contains("is 8 times `max_size`"), "{told}");
        assert_eq!(commit, "");
    }
}

async fn a_connection_that_breaks_off_is_told(transport: GitTransport) {
    let server = Server::start();
    let origin = Origin::with(&[(SCRIPT, &"# long enough to be cut\n".repeat(100))]);
    server.serve(&origin, "ops.git", None);
    let (told, commit) = pulled(transport, server.repo("c", "cut/ops.git")).await;
    assert!(told.starts_with("PD0608") && told.contains("cannot be reached"), "{told}");
    assert_eq!(commit, "");
}

async fn a_repository_of_sha256_is_refused_with_the_same_words(transport: GitTransport) {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    git_in(dir.path(), &["init", "--quiet", "--object-format=sha256", "--initial-branch=main", "."]);
    git_in(dir.path(), &["commit", "--quiet", "--allow-empty", "-m", "first"]);
    std::os::unix::fs::symlink(dir.path().join(".git"), server.path("repos/ops.git")).unwrap();
    for repo in [server.repo("c", "ops.git"), repo("c", &dir.path().display().to_string())] {
        let (told, _) = pulled(transport, repo).await;
        assert!(told.starts_with("PD0600") && told.contains("mismatched algorithms"), "{told}");
        assert!(told.contains("client sha1; server sha256"), "{told}");
    }
}

async fn a_repository_is_found_where_git_finds_it(transport: GitTransport) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let dir = tempfile::tempdir().unwrap();
    let bare = dir.path().join("a: b%20ö.git");
    git_in(origin.path(), &["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]);
    let linked = dir.path().join("linked");
    git_in(origin.path(), &["worktree", "add", "--quiet", "--detach", linked.to_str().unwrap()]);
    let without_ending = bare.with_extension("");
    for path in [&bare, &without_ending, &linked, &origin.git_dir()] {
        for url in [path.display().to_string(), format!("file://{}/", path.display())] {
            assert_eq!(pulled(transport, repo("c", &url)).await, (String::new(), origin.head()), "{url}");
        }
    }
    let (told, _) = pulled(transport, repo("c", &dir.path().display().to_string())).await;
    assert!(told.starts_with("PD0605 there is no repository at"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_without_news_is_one_request_and_libgit2_starts_no_process() {
    let server = Server::start();
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    server.serve(&origin, "ops.git", Some("ci:secret"));
    let repos = vec![with_password(server.repo("c", "ops.git"), "secret"), repo("d", &origin.url())];
    let mut side = Side::of(GitTransport::Libgit2, repos);
    // Nothing can be started from here.
    side.settings.env = vec![("PATH".to_owned(), Secret::new("/nowhere"))];
    let handle = side.start(&Taker::new());
    for name in ["c", "d"] {
        assert_eq!(fault(&handle.sync(name).await.unwrap()), "");
    }
    let before = server.log().len();
    handle.sync("c").await.unwrap();
    let news: Vec<String> = server.log().split_off(before);
    assert_eq!(news, ["GET /ops.git/info/refs?service=git-upload-pack ci:secret"]);
    let second = origin.commit(&[(SCRIPT, "a = 2")], "second");
    for name in ["c", "d"] {
        let view = handle.sync(name).await.unwrap();
        assert_eq!((fault(&view), in_force(&view)), (String::new(), second.clone()));
    }
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_one_transport_is_taken_over_by_the_other() {
    let server = Server::start();
    let origin = Origin::with(&[(SCRIPT, "a = 0")]);
    for n in 1..5 {
        origin.commit(&[(SCRIPT, &format!("a = {n}"))], "next");
    }
    server.serve(&origin, "ops.git", None);
    let mut side = Side::of(GitTransport::System, vec![RepoSettings { depth: 2, ..server.repo("c", "ops.git") }]);
    side.settings.env = vec![("PATH".to_owned(), Secret::new(std::env::var("PATH").unwrap()))];
    for (n, transport) in
        [GitTransport::Libgit2, GitTransport::System, GitTransport::Libgit2, GitTransport::System].iter().enumerate()
    {
        side.settings.repos[0].transport = *transport;
        let commit = origin.commit(&[(SCRIPT, &format!("b = {n}"))], "next");
        let handle = side.start(&Taker::new());
        let view = first_pull(&handle).await;
        assert_eq!((fault(&view), in_force(&view)), (String::new(), commit));
        assert!(view.history.iter().all(|event| event.what == pythond::git::Happened::Active), "{:?}", view.history);
        handle.stop().await;
    }
    assert!(!side.folder("c").join("store.git.bad-1").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_libgit2_cannot_do_is_refused_with_the_name_of_the_transport_that_can() {
    let server = Server::start();
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    server.serve(&origin, "ops.git", None);
    origin.git(&["update-server-info"]);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    origin.git(&["bundle", "create", "--quiet", &path("ops.bundle"), "HEAD", "main"]);
    let clone = ["clone", "--quiet", "--bare", "--ref-format=reftable", ".", &path("tables.git")];
    origin.git(&clone);
    let files = RepoSettings { depth: 0, ..server.repo("c", "files/ops.git") };
    let cases = [
        ("it is a file, such as a bundle", repo("c", &path("ops.bundle"))),
        ("refstorage", repo("c", &path("tables.git"))),
        ("hands out the files of a repository only", files),
    ];
    for (what, repo) in cases {
        let (told, _) = pulled(GitTransport::Libgit2, repo.clone()).await;
        assert!(told.contains(what) && told.contains("`transport = \"system\"`"), "{told}");
        assert_eq!(pulled(GitTransport::System, repo).await, (String::new(), origin.head()), "{what}");
    }
    let (told, _) = pulled(GitTransport::Libgit2, with_password(server.repo("c", "digest/ops.git"), "x")).await;
    assert!(told.starts_with("PD0603") && told.contains("it offers: Digest"), "{told}");
    assert!(told.contains("`transport = \"system\"`"), "{told}");
}

/// Answers as `git http-backend` would, but for some bytes: `noise` changes each answer.
fn noisy_server(origin: &Origin, noise: impl Fn(Vec<u8>) -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/ops.git", listener.local_addr().unwrap());
    let dir = origin.git_dir();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            // A client that has seen enough goes away.
            let _ = answer(client.unwrap(), &dir, &noise);
        }
    });
    url
}

fn answer(mut client: TcpStream, dir: &Path, noise: &impl Fn(Vec<u8>) -> Vec<u8>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut question = vec![0; length];
    reader.read_exact(&mut question)?;
    let is_list = first.starts_with("GET");
    let mode = if is_list { "--advertise-refs" } else { "--strict" };
    let mut git = Command::new("git");
    git.args(["upload-pack", "--stateless-rpc", mode]).arg(dir).env("GIT_CONFIG_GLOBAL", "/dev/null");
    let mut git = git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    // It does not read to the end where it finds the question odd.
    let _ = git.stdin.take().unwrap().write_all(&question);
    let mut body = git.wait_with_output()?.stdout;
    if is_list {
        body = [&b"001e# service=git-upload-pack\n0000"[..], &body].concat();
    }
    let body = noise(body);
    let kind = if is_list { "advertisement" } else { "result" };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-{kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes())?;
    client.write_all(&body)
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_from_a_server_is_told_and_breaks_nothing_of_the_agent() {
    let origin = Origin::with(&[(SCRIPT, &"a = 1\n".repeat(50)), ("b", "b"), ("c/d", "d")]);
    origin.git(&["tag", "-a", "v1", "-m", "one"]);
    let seed = Arc::new(AtomicU64::new(0));
    let turn = Arc::clone(&seed);
    let url = noisy_server(&origin, move |mut bytes| {
        let mut state = turn.load(Ordering::SeqCst);
        let is_quiet = state == 0;
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(state >> 33).unwrap() % (bytes.len() + 1);
            match (state >> 20) % 4 {
                _ if is_quiet => {}
                0 => bytes.truncate(at),
                1 => bytes.insert(at, (state >> 8) as u8),
                _ if at < bytes.len() => bytes[at] ^= (state >> 8) as u8 | 1,
                _ => {}
            }
        }
        bytes
    });
    let side = Side::of(GitTransport::Libgit2, vec![RepoSettings { depth: 1, ..repo("c", &url) }]);
    let handle = side.start(&Taker::new());
    first_pull(&handle).await;
    let mut told = 0;
    for n in 1..=80 {
        seed.store(n, Ordering::SeqCst);
        origin.commit(&[(SCRIPT, &format!("a = {n}\n"))], "next");
        let view = handle.sync("c").await.unwrap();
        let fault = fault(&view);
        assert!(fault.is_empty() || fault.starts_with("PD06"), "{n}: {fault}");
        assert!(!fault.contains("fault of the agent"), "{n}: {fault}");
        told += u32::from(!fault.is_empty());
    }
    assert!(told > 20, "{told} of 80 pulls were hit");
    seed.store(0, Ordering::SeqCst);
    let view = handle.sync("c").await.unwrap();
    assert_eq!((fault(&view), in_force(&view)), (String::new(), origin.head()));
    handle.stop().await;
}
