//! A real sshd: keys, host keys known, unknown and changed, encrypted keys; each trouble has its own message, and the old code runs on.

#[path = "support/git.rs"]
mod git;
#[path = "support/server.rs"]
mod server;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use git::*;
use pythond::config::{RepoSettings, Secret};
use pythond::git::hostkeys::{self, HostKey, Trusted};
use pythond::git::program::{Programs, StopSignal};
use pythond::git::{RepositoriesHandle, View};
use server::Server;

const SCRIPT: &str = "python.d/web/web.py";
const PASSPHRASE: &str = "open \"sesame\" $(x)";

over_both! {
    without_a_key_those_of_the_ssh_agent_are_offered,
    a_repository_is_cloned_and_pulled_with_a_key,
    a_key_that_is_not_accepted_is_named_with_its_fingerprint,
    an_unknown_host_key_is_shown_and_can_be_trusted,
    a_changed_host_key_is_told_apart_from_an_unknown_one,
    an_encrypted_key_works_with_its_passphrase_only,
    a_key_file_that_cannot_be_used_is_told_before_ssh_is_asked,
    a_missing_repository_and_a_server_that_is_gone_are_told,
    a_server_that_takes_the_connection_and_says_nothing_is_given_up,
}

/// An sshd that lets the current user in with `key`, `encrypted` and no other.
struct Sshd(Server);

impl Sshd {
    fn start() -> Option<Self> {
        if rustix::process::geteuid().is_root() {
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        Server::start("sshd", "openssh-server", |dir, port| {
            make_keys(dir);
            let config = format!(
                "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
                 PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nLogLevel VERBOSE\n",
                dir.join("host").display(),
                dir.join("authorized_keys").display(),
            );
            std::fs::write(dir.join("config"), config).unwrap();
            ["-D", "-e", "-f"].map(str::to_owned).into_iter().chain([dir.join("config").display().to_string()]).collect()
        })
        .map(Self)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.dir().join(name)
    }

    fn fingerprint(&self, name: &str) -> String {
        let shown = Command::new("ssh-keygen").arg("-lf").arg(self.path(&format!("{name}.pub"))).output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        shown.split_whitespace().find(|word| word.starts_with("SHA256:")).unwrap().to_owned()
    }

    /// A `known_hosts` file with the server's key, or another one.
    fn known_hosts(&self, name: &str) -> PathBuf {
        let key = std::fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap();
        let words: Vec<&str> = key.split_whitespace().collect();
        let file = self.path(&format!("known_hosts_{name}"));
        std::fs::write(&file, format!("# a comment\n[127.0.0.1]:{} {} {}\n", self.0.port(), words[0], words[1]))
            .unwrap();
        file
    }

    fn url(&self, path: &str) -> String {
        let user = Command::new("id").arg("-un").output().unwrap();
        format!("ssh://{}@127.0.0.1:{}{path}", String::from_utf8(user.stdout).unwrap().trim(), self.0.port())
    }

    fn repo(&self, path: &str, key: &str) -> RepoSettings {
        RepoSettings {
            ssh_key: Some(self.path(key)),
            known_hosts: Some(self.known_hosts("host")),
            timeout: Duration::from_secs(40),
            ..repo("c", &self.url(path))
        }
    }
}

/// Those of the server and of its users, at its first start.
fn make_keys(dir: &Path) {
    if dir.join("host").exists() {
        return;
    }
    // sshd looks at the owner and mode of every folder above the keys; a temporary one is open to all.
    for (name, passphrase) in [("host", ""), ("key", ""), ("other", ""), ("expired", ""), ("encrypted", PASSPHRASE)] {
        keygen(&dir.join(name), passphrase);
    }
    let public = |name: &str| std::fs::read_to_string(dir.join(format!("{name}.pub"))).unwrap();
    let keys = [public("key"), public("encrypted"), format!("expiry-time=\"20200101\" {}", public("expired"))];
    std::fs::write(dir.join("authorized_keys"), keys.concat()).unwrap();
}

fn keygen(path: &Path, passphrase: &str) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f"]).arg(path);
    assert!(command.stdin(Stdio::null()).status().unwrap().success());
}

/// Starts with a repository that works, then with the same one changed; gives what is seen then.
async fn after_a_good_pull(
    transport: GitTransport,
    sshd: &Sshd,
    change: impl FnOnce(&mut RepoSettings),
) -> (View, Side, RepositoriesHandle, Origin) {
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let mut settings = sshd.repo(&origin.url(), "key");
    let side = Side::of(transport, vec![settings.clone()]);
    let handle = side.start(&Taker::new());
    let first = first_pull(&handle).await;
    assert_eq!(
        (fault(&first).as_str(), in_force(&first)),
        ("", origin.head()),
        "{}",
        std::fs::read_to_string(sshd.path("log")).unwrap()
    );
    handle.stop().await;
    change(&mut settings);
    let side = side.with(vec![settings]);
    let handle = side.start(&Taker::new());
    let view = first_pull(&handle).await;
    assert_eq!(in_force(&view), origin.head(), "the old code runs on");
    assert_eq!(std::fs::read_to_string(handle.roots()[0].dir.join(SCRIPT)).unwrap(), "a = 1");
    (view, side, handle, origin)
}

async fn a_repository_is_cloned_and_pulled_with_a_key(transport: GitTransport) {
    let Some(sshd) = Sshd::start() else { return };
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(transport, vec![RepoSettings { depth: 1, ..sshd.repo(&origin.url(), "key") }]);
    let handle = side.start(&Taker::new());
    assert_eq!(fault(&first_pull(&handle).await), "");
    let second = origin.commit(&[(SCRIPT, "a = 2")], "second");
    let view = handle.sync("c").await.unwrap();
    assert_eq!((fault(&view).as_str(), in_force(&view)), ("", second));
    handle.stop().await;
}

async fn a_key_that_is_not_accepted_is_named_with_its_fingerprint(transport: GitTransport) {
    let Some(sshd) = Sshd::start() else { return };
    for key in ["other", "expired"] {
        let (view, _side, handle, _origin) =
            after_a_good_pull(transport, &sshd, |repo| repo.ssh_key = Some(sshd.path(key))).await;
        let told = fault(&view);
        assert!(told.starts_with("PD0603 the key is not accepted for "), "{told}");
        for part in [sshd.fingerprint(key), sshd.path(key).display().to_string(), "did it expire?".to_owned()] {
            assert!(told.contains(&part), "{part} in {told}");
        }
        handle.stop().await;
    }
    // ssh itself tried the key once; nobody asked again.
    let log = std::fs::read_to_string(sshd.path("log")).unwrap();
    let tried = log.matches(&sshd.fingerprint("other")).count();
    assert!(tried >= 1, "{log}");
}

async fn an_unknown_host_key_is_shown_and_can_be_trusted(transport: GitTransport) {
    let Some(sshd) = Sshd::start() else { return };
    let nothing = sshd.path("nothing/known_hosts");
    let (view, side, handle, _origin) =
        after_a_good_pull(transport, &sshd, |repo| repo.known_hosts = Some(nothing.clone())).await;
    let told = fault(&view);
    let host = format!("[127.0.0.1]:{}", sshd.0.port());
    assert!(told.starts_with(&format!("PD0601 the host key of {host} is not known")), "{told}");
    let fingerprint = sshd.fingerprint("host");
    assert!(told.contains(&format!("key: ssh-ed25519 {fingerprint}")), "{told}");
    assert!(told.contains(&format!("searched: {}, /etc/ssh/ssh_known_hosts", nothing.display())), "{told}");
    assert!(told.contains(&format!("pythond git trust '{host}' --fingerprint {fingerprint}")), "{told}");

    let repo = &side.settings.repos[0];
    let programs = Programs::new(&side.settings, repo, side.dir.path(), StopSignal::default());
    let keys: Vec<HostKey> = hostkeys::offered(&programs, &repo.url).unwrap();
    assert_eq!((keys.len(), keys[0].fingerprint.clone()), (1, fingerprint));
    assert_eq!(hostkeys::trust(&nothing, &keys).unwrap(), Trusted::Added);
    assert_eq!(fault(&handle.sync("c").await.unwrap()), "");
    handle.stop().await;
}

async fn a_changed_host_key_is_told_apart_from_an_unknown_one(transport: GitTransport) {
    let Some(sshd) = Sshd::start() else { return };
    let (view, ..) =
        after_a_good_pull(transport, &sshd, |repo| repo.known_hosts = Some(sshd.known_hosts("other"))).await;
    let told = fault(&view);
    assert!(told.starts_with(&format!("PD0602 the host key of [127.0.0.1]:{} has changed", sshd.0.port())), "{told}");
    assert!(told.contains(&format!("offered now: {}", sshd.fingerprint("host"))), "{told}");
    let old = format!("known so far: {}, {}:2", sshd.fingerprint("other"), sshd.path("known_hosts_other").display());
    assert!(told.contains(&old), "{old} in {told}");
}

async fn an_encrypted_key_works_with_its_passphrase_only(transport: GitTransport) {
    let Some(sshd) = Sshd::start() else { return };
    let encrypted = |repo: &mut RepoSettings| repo.ssh_key = Some(sshd.path("encrypted"));
    let (view, side, handle, _origin) = after_a_good_pull(transport, &sshd, |repo| {
        encrypted(repo);
        repo.ssh_key_password = Some(Secret::new(PASSPHRASE));
    })
    .await;
    assert_eq!(fault(&view), "");
    handle.stop().await;
    let grep = Command::new("grep").args(["-rlF", "sesame"]).arg(side.dir.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&grep.stdout), "", "the passphrase lies in no file");

    let (view, ..) = after_a_good_pull(transport, &sshd, |repo| encrypted(repo)).await;
    let told = fault(&view);
    assert!(told.starts_with("PD0604 the ssh key `") && told.contains("is encrypted"), "{told}");
    assert!(told.contains("set `ssh_private_key_password"), "{told}");

    let (view, ..) = after_a_good_pull(transport, &sshd, |repo| {
        encrypted(repo);
        repo.ssh_key_password = Some(Secret::new("wrong"));
    })
    .await;
    let told = fault(&view);
    assert!(told.starts_with("PD0604") && told.contains("`ssh_private_key_password` does not open it"), "{told}");
}

async fn a_key_file_that_cannot_be_used_is_told_before_ssh_is_asked(transport: GitTransport) {
    let Some(sshd) = Sshd::start() else { return };
    let open = sshd.path("open");
    std::fs::copy(sshd.path("key"), &open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::set_permissions(sshd.path("key.pub"), std::fs::Permissions::from_mode(0o600)).unwrap();
    for (key, part) in [
        ("none", "cannot be read: No such file"),
        ("open", "chmod 600 "),
        ("key.pub", "name the private key, without `.pub`"),
    ] {
        let (view, ..) = after_a_good_pull(transport, &sshd, |repo| repo.ssh_key = Some(sshd.path(key))).await;
        let told = fault(&view);
        assert!(told.starts_with("PD0604") && told.contains(part), "{told}");
    }
}

async fn a_missing_repository_and_a_server_that_is_gone_are_told(transport: GitTransport) {
    let Some(mut sshd) = Sshd::start() else { return };
    let missing = sshd.url("/no/such/repo.git");
    let (view, ..) = after_a_good_pull(transport, &sshd, |settings| settings.url = repo("c", &missing).url).await;
    let told = fault(&view);
    assert!(told.starts_with(&format!("PD0605 there is no repository at `{missing}`")), "{told}");
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let side = Side::of(transport, vec![sshd.repo(&origin.url(), "key")]);
    sshd.0.down();
    let handle = side.start(&Taker::new());
    let told = fault(&first_pull(&handle).await);
    assert!(told.starts_with(&format!("PD0608 `[127.0.0.1]:{}` cannot be reached", sshd.0.port())), "{told}");
    sshd.0.up();
    assert_eq!(fault(&handle.sync("c").await.unwrap()), "");
    handle.stop().await;
}

async fn a_server_that_takes_the_connection_and_says_nothing_is_given_up(transport: GitTransport) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ssh://git@{}/c.git", silent.local_addr().unwrap());
    let side = Side::of(transport, vec![RepoSettings { timeout: Duration::from_secs(1), ..repo("c", &url) }]);
    let start = Instant::now();
    let handle = side.start(&Taker::new());
    let told = fault(&first_pull(&handle).await);
    assert!(told.starts_with("PD0608") && told.contains("did not answer within 1 s"), "{told}");
    assert!(start.elapsed() < Duration::from_secs(30));
    handle.stop().await;
}

/// An ssh agent; ended when it is dropped.
struct KeyAgent(std::process::Child);

impl Drop for KeyAgent {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

async fn without_a_key_those_of_the_ssh_agent_are_offered(transport: GitTransport) {
    let Some(sshd) = Sshd::start() else { return };
    let socket = sshd.path(&format!("agent-{transport:?}"));
    let agent = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let _agent = KeyAgent(agent);
    wait_until("the socket of the ssh agent", || socket.exists()).await;
    let added = Command::new("ssh-add").arg("-q").arg(sshd.path("key")).env("SSH_AUTH_SOCK", &socket).status().unwrap();
    assert!(added.success());
    let origin = Origin::with(&[(SCRIPT, "a = 1")]);
    let mut side = Side::of(transport, vec![RepoSettings { ssh_key: None, ..sshd.repo(&origin.url(), "key") }]);
    side.settings.env.push(("SSH_AUTH_SOCK".to_owned(), Secret::new(socket.display().to_string())));
    let handle = side.start(&Taker::new());
    let view = first_pull(&handle).await;
    assert_eq!((fault(&view), in_force(&view)), (String::new(), origin.head()));
    handle.stop().await;
}
