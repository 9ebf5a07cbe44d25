//! A server for git over https: `git http-backend` with a certificate authority of its own, and the ways in which a server can be wrong.
#![allow(dead_code)] // each test file uses its own part

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pythond::config::{RepoSettings, Secret};

use crate::git::{Origin, repo};

/// A server with a certificate that its own authority signed.
pub struct Server {
    dir: tempfile::TempDir,
    child: Child,
    pub port: u16,
}

impl Server {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("repos")).unwrap();
        write_certificates(dir.path());
        let (child, port) = launch(dir.path(), "leaf", "repos");
        Self { dir, child, port }
    }

    /// The same without encryption, for `http://`.
    pub fn plain() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("repos")).unwrap();
        let (child, port) = launch(dir.path(), "-", "repos");
        Self { dir, child, port }
    }

    /// A second process for the same repositories with another certificate; gives its port.
    pub fn another(&self, certificate: &str) -> (Child, u16) {
        launch(self.dir.path(), certificate, "repos")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}/{path}", self.port)
    }

    /// Serves a repository under a name, to whoever has the login.
    pub fn serve(&self, origin: &Origin, name: &str, login: Option<&str>) {
        std::os::unix::fs::symlink(origin.git_dir(), self.path("repos").join(name)).unwrap();
        self.login(name, login);
    }

    pub fn login(&self, name: &str, login: Option<&str>) {
        let file = self.path("repos").join(name).join("login");
        match login {
            Some(login) => std::fs::write(file, login).unwrap(),
            None => std::fs::remove_file(file).unwrap_or_default(),
        }
    }

    /// `method path login` of each request so far.
    pub fn log(&self) -> Vec<String> {
        std::fs::read_to_string(self.path("log")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    pub fn repo(&self, name: &str, path: &str) -> RepoSettings {
        RepoSettings {
            ca_file: Some(self.path("ca.pem")),
            timeout: Duration::from_secs(30),
            ..repo(name, &self.url(path))
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn launch(dir: &Path, certificate: &str, repos: &str) -> (Child, u16) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/git_server.py");
    let (cert, key) = match certificate {
        "-" => ("-".into(), "-".into()),
        name => (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key"))),
    };
    let mut command = Command::new("python3");
    command.arg(program).arg(cert).arg(key).arg(dir.join(repos)).arg(dir.join("log"));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().parse().expect("the server prints its port"))
}

fn write_certificates(dir: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Two servers of a test have two authorities, which must not have one name.
    ca.distinguished_name.push(DnType::CommonName, dir.display().to_string());
    let ca_key = KeyPair::generate().unwrap();
    let ca_cert = ca.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(names.clone()).unwrap().signed_by(&key, &issuer).unwrap();
    let own_key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(names).unwrap().self_signed(&own_key).unwrap();
    for (name, text) in [
        ("ca.pem", ca_cert.pem()),
        ("leaf.pem", leaf.pem()),
        ("leaf.key", key.serialize_pem()),
        ("own.pem", own.pem()),
        ("own.key", own_key.serialize_pem()),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
    }
}

pub fn with_password(repo: RepoSettings, password: &str) -> RepoSettings {
    RepoSettings { login: Some(("ci".to_owned(), Secret::new(password))), ..repo }
}
