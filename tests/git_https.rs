//! `git http-backend` behind https with a certificate authority of its own and basic auth: each trouble has its own message, and the old
//! code runs on.

#[path = "support/git.rs"]
mod git;
#[path = "support/git_server.rs"]
mod git_server;

use std::process::Command;
use std::time::{Duration, Instant};

use git::*;
use git_server::{Server, with_password};
use pythond::config::{RepoSettings, Secret};
use pythond::git::{RepositoriesHandle, View};

const SCRIPT: &str = "python.d/web/web.py";
const PASSWORD: &str = "pass word#%&'\"$(x)";

over_both! {
    a_private_repository_is_cloned_and_pulled,
    a_wrong_password_is_tried_once_and_told,
    a_token_in_the_place_of_the_user_is_shown_nowhere,
    a_missing_login_and_a_token_that_expired_are_told,
    a_certificate_of_an_unknown_authority_and_a_self_signed_one_are_refused,
    what_is_no_repository_is_told_apart,
    a_server_that_is_gone_and_a_name_that_nobody_knows_are_told,
    a_server_that_hangs_is_given_up_and_its_secret_is_in_no_process_list,
    a_stop_does_not_wait_for_a_server_that_hangs,
    a_login_is_not_handed_to_the_server_that_we_are_sent_on_to,
    no_secret_stands_in_a_fault_a_view_or_a_file,
}

/// Starts with a repository that works, then with the same one changed; gives what is seen then.
async fn after_a_good_pull(
    transport: GitTransport,
    server: &Server,
    changed: impl FnOnce(&Origin) -> RepoSettings,
) -> (View, Side, RepositoriesHandle) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    server.serve(&origin, "good.git", Some(&format!("ci:{PASSWORD}")));
    let side = Side::of(transport, vec![with_password(server.repo("c", "good.git"), PASSWORD)]);
    let handle = side.start(&Taker::new());
    let first = first_pull(&handle).await;
    assert_eq!((fault(&first).as_str(), in_force(&first)), ("", origin.head()));
    handle.stop().await;
    let side = side.with(vec![changed(&origin)]);
    let taker = Taker::new();
    let handle = side.start(&taker);
    let view = first_pull(&handle).await;
    assert_eq!(in_force(&view), origin.head(), "the old code runs on");
    assert!(taker.offered().is_empty());
    let script = std::fs::read_to_string(handle.roots()[0].dir.join(SCRIPT)).unwrap();
    assert_eq!(script, "a = 1");
    (view, side, handle)
}

async fn a_private_repository_is_cloned_and_pulled(transport: GitTransport) {
    let server = Server::start();
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    server.serve(&origin, "ops.git", Some(&format!("ci:{PASSWORD}")));
    let side =
        Side::of(transport, vec![RepoSettings { depth: 1, ..with_password(server.repo("c", "ops.git"), PASSWORD) }]);
    let taker = Taker::new();
    let handle = side.start(&taker);
    assert_eq!(fault(&first_pull(&handle).await), "");
    let second = origin.commit(&[(SCRIPT, "a = 2")], "second");
    let view = handle.sync("c").await.unwrap();
    assert_eq!((fault(&view).as_str(), in_force(&view)), ("", second.clone()));
    // Nothing new: one request, and the login with it once the server asked for it.
    let before = server.log().len();
    handle.sync("c").await.unwrap();
    assert!(
        server.log()[before..]
            .iter()
            .all(|line| !line.contains("service=git-upload-pack HTTP") && !line.starts_with("PUT"))
    );
    assert_eq!(in_force(&handle.views()[0]), second);
    handle.stop().await;
}

async fn a_wrong_password_is_tried_once_and_told(transport: GitTransport) {
    let server = Server::start();
    let (view, _side, handle) =
        after_a_good_pull(transport, &server, |_| with_password(server.repo("c", "good.git"), "wrong")).await;
    let told = fault(&view);
    assert!(told.starts_with("PD0603 `127.0.0.1:") && told.contains("refuses the login of `ci`"), "{told}");
    assert!(told.contains("did the token expire?"), "{told}");
    let wrong = server.log().iter().filter(|line| line.ends_with(" ci:wrong")).count();
    assert_eq!(wrong, 1, "{:#?}", server.log());
    handle.stop().await;
}

async fn a_token_in_the_place_of_the_user_is_shown_nowhere(transport: GitTransport) {
    let server = Server::start();
    let (view, _side, handle) = after_a_good_pull(transport, &server, |_| RepoSettings {
        login: Some(("ghp-t0ken".to_owned(), Secret::new(""))),
        ..server.repo("c", "good.git")
    })
    .await;
    let told = fault(&view);
    assert!(told.starts_with("PD0603 `127.0.0.1:") && told.contains("refuses the token in `url`"), "{told}");
    assert!(!format!("{view:?}").contains("ghp-t0ken"), "{view:?}");
    assert!(server.log().iter().any(|line| line.ends_with(" ghp-t0ken:")), "{:#?}", server.log());
    handle.stop().await;
}

async fn a_missing_login_and_a_token_that_expired_are_told(transport: GitTransport) {
    let server = Server::start();
    let (view, ..) = after_a_good_pull(transport, &server, |_| server.repo("c", "good.git")).await;
    assert!(fault(&view).contains("wants a login"), "{}", fault(&view));

    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    server.serve(&origin, "token.git", Some("oauth2:t0ken"));
    let repo = RepoSettings { login: Some(("oauth2".into(), Secret::new("t0ken"))), ..server.repo("c", "token.git") };
    let side = Side::of(transport, vec![repo]);
    let handle = side.start(&Taker::new());
    assert_eq!(fault(&first_pull(&handle).await), "");
    server.login("token.git", Some("oauth2:another"));
    let view = handle.sync("c").await.unwrap();
    assert!(fault(&view).starts_with("PD0603") && in_force(&view) == origin.head(), "{}", fault(&view));
    server.login("token.git", Some("oauth2:t0ken"));
    assert_eq!(fault(&handle.sync("c").await.unwrap()), "");
    handle.stop().await;
}

async fn a_certificate_of_an_unknown_authority_and_a_self_signed_one_are_refused(transport: GitTransport) {
    let server = Server::start();
    let (view, ..) = after_a_good_pull(transport, &server, |_| {
        let repo = with_password(server.repo("c", "good.git"), PASSWORD);
        RepoSettings { ca_file: None, ..repo }
    })
    .await;
    let told = fault(&view);
    assert!(told.starts_with("PD0607 the certificate of `127.0.0.1:") && told.contains("ca_file ="), "{told}");

    let (mut child, port) = server.another("own");
    let own = RepoSettings {
        ca_file: Some(server.path("ca.pem")),
        ..repo("c", &format!("https://127.0.0.1:{port}/good.git"))
    };
    let side = Side::of(transport, vec![with_password(own, PASSWORD)]);
    let before = server.log().len();
    let handle = side.start(&Taker::new());
    let told = fault(&first_pull(&handle).await);
    assert!(told.starts_with("PD0607"), "{told}");
    assert_eq!(server.log().len(), before, "nothing was sent to a server that is not trusted");
    handle.stop().await;
    child.kill().unwrap();
    child.wait().unwrap();
}

async fn what_is_no_repository_is_told_apart(transport: GitTransport) {
    let server = Server::start();
    let mut told = Vec::new();
    for path in ["nope.git", "html/x.git", "status/503/x.git", "status/403/x.git"] {
        let side = Side::of(transport, vec![server.repo("c", path)]);
        let handle = side.start(&Taker::new());
        told.push(fault(&first_pull(&handle).await));
        handle.stop().await;
    }
    assert!(told[0].starts_with("PD0605 there is no repository at `https://127.0.0.1:"), "{}", told[0]);
    assert!(told[0].contains("private repository while there is no login"), "{}", told[0]);
    assert!(told[1].starts_with("PD0605") && told[1].contains("is not the URL of a git repository"), "{}", told[1]);
    assert!(told[2].starts_with("PD0608") && told[2].contains("http status 503"), "{}", told[2]);
    assert!(told[3].starts_with("PD0603"), "{}", told[3]);
}

async fn a_server_that_is_gone_and_a_name_that_nobody_knows_are_told(transport: GitTransport) {
    let server = Server::start();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (view, ..) = after_a_good_pull(transport, &server, |_| repo("c", &format!("https://{free}/good.git"))).await;
    assert!(fault(&view).starts_with("PD0608 `127.0.0.1:"), "{}", fault(&view));
    let side = Side::of(transport, vec![repo("c", "https://no-such-host.invalid/good.git")]);
    let handle = side.start(&Taker::new());
    let told = fault(&first_pull(&handle).await);
    assert!(told.starts_with("PD0608 `no-such-host.invalid` cannot be reached"), "{told}");
    handle.stop().await;
}

async fn a_server_that_hangs_is_given_up_and_its_secret_is_in_no_process_list(transport: GitTransport) {
    let server = Server::start();
    let start = Instant::now();
    let log = server.path("log");
    let watcher = tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        // While the pull hangs, every process of this machine is looked at.
        while start.elapsed() < PATIENCE {
            if std::fs::read_to_string(&log).unwrap_or_default().contains("/hang/x.git") {
                return command_lines().into_iter().filter(|line| line.contains("s3cr3t-of-hang")).collect::<Vec<_>>();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the server that hangs was never asked");
    });
    let hanging = RepoSettings {
        timeout: Duration::from_secs(2),
        ..with_password(server.repo("c", "hang/x.git"), "s3cr3t-of-hang")
    };
    let (view, ..) = after_a_good_pull(transport, &server, |_| hanging).await;
    assert!(
        fault(&view).starts_with("PD0608") && fault(&view).contains("did not answer within 2 s"),
        "{}",
        fault(&view)
    );
    assert!(start.elapsed() < Duration::from_secs(60));
    assert_eq!(watcher.await.unwrap(), Vec::<String>::new());
    let left: Vec<String> = command_lines().into_iter().filter(|line| line.contains(&server.url("hang"))).collect();
    assert_eq!(left, Vec::<String>::new(), "nothing of git lives on");
}

async fn a_stop_does_not_wait_for_a_server_that_hangs(transport: GitTransport) {
    let server = Server::start();
    let side = Side::of(transport, vec![server.repo("c", "hang/x.git")]);
    let handle = side.start(&Taker::new());
    wait_until("the request", || server.log().iter().any(|line| line.contains("/hang/"))).await;
    let start = Instant::now();
    handle.stop().await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

async fn a_login_is_not_handed_to_the_server_that_we_are_sent_on_to(transport: GitTransport) {
    let (server, other) = (Server::start(), Server::start());
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    other.serve(&origin, "ops.git", Some("ci:secret"));
    std::fs::write(server.path("repos/away"), other.url("ops.git")).unwrap();
    // One authority for both, so that only the login stands in the way.
    let both =
        [server.path("ca.pem"), other.path("ca.pem")].map(|file| std::fs::read_to_string(file).unwrap()).concat();
    std::fs::write(server.path("both.pem"), both).unwrap();
    let repo =
        RepoSettings { ca_file: Some(server.path("both.pem")), ..with_password(server.repo("c", "away"), "secret") };
    let side = Side::of(transport, vec![repo]);
    let handle = side.start(&Taker::new());
    let told = fault(&first_pull(&handle).await);
    assert!(told.starts_with("PD0603"), "{told}");
    assert!(!other.log().is_empty() && other.log().iter().all(|line| line.ends_with(" -")), "{:#?}", other.log());
    handle.stop().await;
}

async fn no_secret_stands_in_a_fault_a_view_or_a_file(transport: GitTransport) {
    let server = Server::start();
    let (view, side, handle) =
        after_a_good_pull(transport, &server, |_| with_password(server.repo("c", "good.git"), "s3cr3t-of-file")).await;
    assert!(!format!("{view:?}").contains("s3cr3t-of-file"));
    assert!(!format!("{:?}", side.settings).contains("s3cr3t-of-file"));
    handle.stop().await;
    let grep = Command::new("grep")
        .args(["-rl", "-e", "s3cr3t-of-file", "-e", PASSWORD])
        .arg(side.dir.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&grep.stdout), "");
}

fn command_lines() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
        .collect()
}
