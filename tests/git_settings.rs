//! `[git_repos]`, the settings that come from repositories, and `when`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pythond::config::repos::GitTransport;
use pythond::config::{self, Config, ConfigError, RepoRoot, RepoSettings, Surroundings};
use pythond::diagnostic::Diagnostic;

/// A root directory, with two exported repositories beside it.
struct Root {
    dir: tempfile::TempDir,
    around: Surroundings,
}

impl Root {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let env: BTreeMap<String, String> = [
            ("PATH".to_owned(), std::env::var("PATH").unwrap()),
            ("HOME".to_owned(), dir.path().join("home").display().to_string()),
        ]
        .into();
        let root = Self { dir, around: Surroundings { env, hostname: "web1.example.com".to_owned() } };
        root.file("conf.d/agent.conf", "").file("python.d/local/a.py", "").file("one/python.d/web/web.py", "");
        root.file("two/python.d/web/web.py", "").file("two/python.d/db/db.py", "");
        root
    }

    fn with(text: &str) -> Self {
        let root = Self::new();
        root.file("conf.d/agent.conf", text);
        root
    }

    fn file(&self, name: &str, text: &str) -> &Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn roots(&self) -> Vec<RepoRoot> {
        ["one", "two"].map(|name| RepoRoot { name: name.to_owned(), dir: self.path(name) }).into()
    }

    fn read(&self) -> Result<Config, ConfigError> {
        config::read_with(self.dir.path(), &self.around, &self.roots())
    }

    fn config(&self) -> Config {
        self.read().unwrap_or_else(|error| panic!("{:#?}", self.shown(&error.faults)))
    }

    fn faults(&self) -> Vec<String> {
        self.shown(&self.read().expect_err("a fault").faults)
    }

    /// `file:line:column code headline`, without the directory of the test.
    fn shown(&self, diagnostics: &[Diagnostic]) -> Vec<String> {
        let root = format!("{}/", self.dir.path().display());
        let show = |diagnostic: &Diagnostic| {
            let place = diagnostic.place.as_ref();
            let place = place.map(|place| format!("{}:{}:{} ", place.file.display(), place.line, place.column));
            format!("{}{} {}", place.unwrap_or_default(), diagnostic.code, diagnostic.message).replace(&root, "")
        };
        diagnostics.iter().map(show).collect()
    }

    fn dirs(&self) -> Vec<String> {
        let short = |path: &PathBuf| path.strip_prefix(self.dir.path()).unwrap().display().to_string();
        self.config().inputs.iter().map(|input| format!("{} {}", input.name, short(&input.dirs[0]))).collect()
    }
}

fn input(name: &str, dir: &str, more: &str) -> String {
    format!("[[inputs.pythond]]\nname = \"{name}\"\ncmd = \"python3\"\ndirs = [\"{dir}\"]\n{more}\n")
}

fn repo(lines: &str) -> String {
    format!("[[git_repos.repo]]\nenable = true\n{lines}\n")
}

fn repos(text: &str) -> Vec<RepoSettings> {
    Root::with(text).config().git_repos.repos
}

fn fault(text: &str) -> String {
    let found = Root::with(text).faults();
    assert_eq!(found.len(), 1, "{found:#?}");
    found[0].replace("conf.d/agent.conf:", "")
}

#[test]
fn datakits_sample_is_taken_and_a_repository_is_off_unless_enabled() {
    let sample = "[git_repos]\npull_interval = \"1m\"\n[[git_repos.repo]]\nenable = false\nurl = \"\"\n\
                  ssh_private_key_path = \"\"\nssh_private_key_password = \"\"\nbranch = \"master\"\n";
    assert_eq!(repos(sample), []);
    let settings = Root::with(sample).config().git_repos;
    assert_eq!(settings.pull_interval, Duration::from_secs(60));
    let root = Root::with("[[git_repos.repo]]\nurl = \"https://h/c.git\"\n");
    let config = root.config();
    assert_eq!(config.git_repos.repos, []);
    let told = "conf.d/agent.conf:1:1 PD0104 this repository is not used, since `enable` is missing".to_owned();
    assert!(root.shown(&config.warnings).contains(&told), "{:?}", root.shown(&config.warnings));
}

#[test]
fn a_repository_obeys_what_is_written() {
    let root = Root::with(&repo(
        "url = \"git@h:ops/coll.git\"\nbranch = \"main\"\nssh_private_key_path = \"~/key\"\nssh_private_key_password = \"${env:PASS}\"\n\
         subdir = \"/team/web/\"\ndepth = 1\nknown_hosts = \"kh\"\ntimeout = \"10s\"\nmax_files = 5\nmax_file_size = \"1KiB\"\nmax_size = 2048\n\
         transport = \"system\"",
    ));
    let root = Root {
        around: Surroundings {
            env: [root.around.env.clone(), [("PASS".into(), "s3cret".into())].into()].into_iter().flatten().collect(),
            ..root.around
        },
        dir: root.dir,
    };
    let repo = root.config().git_repos.repos.remove(0);
    assert_eq!(
        (repo.name.as_str(), repo.url.as_str(), repo.branch.as_deref()),
        ("coll", "git@h:ops/coll.git", Some("main"))
    );
    assert_eq!(repo.ssh_key, Some(root.path("home/key")));
    assert_eq!(repo.ssh_key_password.as_ref().unwrap().expose(), "s3cret");
    assert_eq!((repo.subdir.as_deref(), repo.depth, repo.known_hosts), (Some("team/web"), 1, Some(root.path("kh"))));
    assert_eq!(
        (repo.timeout, repo.max_files, repo.max_file_size, repo.max_size),
        (Duration::from_secs(10), 5, 1024, 2048)
    );
    assert_eq!(repo.transport, GitTransport::System);
    assert_eq!(repo.origin.line, 1);
    assert_eq!(repos(&self::repo("url = \"/c\""))[0].transport, GitTransport::Libgit2);
}

#[test]
fn logins_come_from_their_keys_or_from_the_url_as_datakit_has_it() {
    let login = |lines: &str| {
        let login = repos(&repo(lines)).remove(0).login;
        login.map(|(user, secret)| format!("{user} {}", secret.expose()))
    };
    assert_eq!(login("url = \"https://h/c\"\nusername = \"ci\"\npassword = \"p\""), Some("ci p".into()));
    assert_eq!(login("url = \"https://h/c\"\ntoken = \"t\""), Some("oauth2 t".into()));
    assert_eq!(login("url = \"https://h/c\"\nusername = \"bot\"\ntoken = \"t\""), Some("bot t".into()));
    assert_eq!(login("url = \"https://ci:a%23b@h/c\""), Some("ci a#b".into()));
    assert_eq!(login("url = \"https://ci@h/c\"\npassword = \"p\""), Some("ci p".into()));
    assert_eq!(login("url = \"https://tok@h/c\""), Some("tok ".into()));
    assert_eq!(login("url = \"https://h/c\""), None);
    let root = Root::with(&repo("url = \"https://ci:s3cret@h/c\""));
    let config = root.config();
    assert_eq!(root.shown(&config.warnings), ["conf.d/agent.conf:3:7 PD0109 `url` holds a password"]);
    assert!(
        !format!("{config:?}").contains("s3cret")
            && !config.warnings[0].render(Path::new("/"), false).contains("s3cret")
    );
}

#[test]
fn every_fault_of_a_repository_has_its_place() {
    let cases = [
        (repo(""), "1:1 PD0104 `url` is missing in `[[git_repos.repo]]`"),
        (repo("url = \"git://h/c\""), "3:7 PD0103 `url` starts with git://"),
        (repo("url = \"s3cret://h\""), "3:7 PD0103 `url` is text; it must be a URL that starts with https://"),
        (repo("url = \"/c\"\nname = \"a b\""), "4:8 PD0103 `name` is `\"a b\"`; it must be a name of letters"),
        (repo("url = \"/c\"\nsubdir = \"../x\""), "4:10 PD0103 `subdir` is `\"../x\"`; it must be a folder inside"),
        (repo("url = \"/c\"\nbranch = \"-x\""), "4:10 PD0103 `branch` is `\"-x\"`; it must be the name of a branch"),
        (repo("url = \"/c\"\nbranch = \"a\"\nrev = \"b\""), "5:7 PD0103 `rev` is given besides `branch = \"a\"`"),
        (repo("url = \"/c\"\ndepth = -1"), "4:9 PD0103 `depth` is `-1`; it must be a whole number"),
        (
            repo("url = \"/c\"\ntransport = \"x\""),
            "4:13 PD0103 `transport` is `\"x\"`; it must be \"libgit2\" or \"system\"",
        ),
        (
            repo("url = \"https://h/c\"\nusername = \"u\""),
            "4:12 PD0104 `username` is given without `password` or `token`",
        ),
        (
            repo("url = \"https://h/c\"\npassword = \"p\"\ntoken = \"t\""),
            "4:12 PD0103 `password` is given besides `token`",
        ),
        (repo("url = \"https://h/c\"\nca_file = \"/none\""), "4:11 PD0103 could not read the certificates in `/none`"),
        (repo("url = \"/c\"\npassword = \"${env:NONE}\""), "4:12 PD0108 the environment variable `NONE` is not set"),
        (
            repo("url = \"/c\"\ntimeout = \"2h\""),
            "4:11 PD0103 `timeout` is `\"2h\"`; it must be a duration from 1s to 1h",
        ),
        (repo("url = \"/c\"\nbranche = \"x\""), "4:1 PD0102 unknown key `branche`"),
        ("[git_repos]\npull_interval = \"soon\"".to_owned(), "2:17 PD0103 `pull_interval` is `\"soon\"`"),
        (
            repo("url = \"/c\"\nname = \"x\"") + &repo("url = \"/d\"\nname = \"x\""),
            "8:8 PD0105 `name = \"x\"` is given twice",
        ),
    ];
    for (text, expected) in cases {
        assert!(fault(&text).starts_with(expected), "{}\n{expected}", fault(&text));
    }
}

#[test]
fn repositories_of_one_name_do_not_collide() {
    let text = repo("url = \"https://h/a/conf.git\"")
        + &repo("url = \"https://h/b/conf.git\"")
        + &repo("url = \"/x/other\"\nname = \"conf-2\"");
    let names: Vec<String> = repos(&text).into_iter().map(|repo| repo.name).collect();
    assert_eq!(names, ["conf", "conf-3", "conf-2"]);
    let twice = repo("url = \"/c\"") + &repo("url = \"/c\"");
    assert!(fault(&twice).contains("PD0105 the repository `/c` is given twice"), "{}", fault(&twice));
    assert_eq!(repos(&(repo("url = \"/c\"\nsubdir = \"a\"") + &repo("url = \"/c\"\nsubdir = \"b\""))).len(), 2);
}

#[test]
fn folders_are_looked_up_in_the_own_repository_then_in_the_others_then_here() {
    let root = Root::with(&(input("w", "web", "") + &input("d", "db", "") + &input("l", "local", "")));
    assert_eq!(root.dirs(), ["w one/python.d/web", "d two/python.d/db", "l python.d/local"]);
    let root = Root::new();
    root.file("two/conf.d/deep/er/web.conf", &input("w", "web", "")).file("one/conf.d/db.conf", &input("d", "db", ""));
    assert_eq!(root.dirs(), ["d two/python.d/db", "w two/python.d/web"]);
}

#[test]
fn a_missing_folder_names_every_place_that_was_searched() {
    let root = Root::with(&input("x", "none", ""));
    assert_eq!(
        root.faults(),
        [
            "conf.d/agent.conf:4:9 PD0106 the folder `none` does not exist; looked for one/python.d/none and two/python.d/none and python.d/none"
        ]
    );
}

#[test]
fn a_repository_may_hold_inputs_and_nothing_else() {
    let root = Root::new();
    root.file("one/conf.d/x.conf", "# here\n[buffer]\nsync = \"group\"\n[inputs.cpu]\n");
    let found = root.faults();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("one/conf.d/x.conf:2:2 PD0103 `buffer` has no place in a repository"), "{found:#?}");
    assert!(found[1].contains("PD0102 unknown input `cpu`"), "{found:#?}");
    let root = Root::new();
    root.file("two/conf.d/x.conf", "[[git_repos.repo]]\nurl = \"/evil\"\nenable = true\n");
    assert!(root.faults()[0].contains("`git_repos` has no place in a repository"), "{:?}", root.faults());
}

#[test]
fn an_input_of_the_same_name_here_and_there_is_a_fault_with_both_places() {
    let root = Root::with(&input("a", "web", ""));
    root.file("two/conf.d/x.conf", &input("a", "db", ""));
    let faults = root.read().unwrap_err().faults;
    assert_eq!(root.shown(&faults), ["two/conf.d/x.conf:2:8 PD0105 `name = \"a\"` is given twice"]);
    assert!(faults[0].other.as_ref().unwrap().file.ends_with("conf.d/agent.conf"));
}

#[test]
fn before_the_first_pull_a_folder_that_may_come_with_it_is_a_warning() {
    let root = Root::with(&(repo("url = \"/srv/coming.git\"") + &input("x", "soon", "") + &input("y", "/none", "")));
    let found = root.faults();
    assert_eq!(found.len(), 1, "an absolute path does not come with a repository: {found:#?}");
    let root = Root::with(&(repo("url = \"/srv/coming.git\"") + &input("x", "soon", "")));
    let config = root.config();
    assert!(config.inputs[0].dirs.is_empty());
    let warning = &config.warnings[0];
    assert_eq!(
        (warning.code.as_str(), warning.help.as_deref()),
        ("PD0106", Some("it may come with `coming`, which was not fetched yet"))
    );
}

#[test]
fn when_decides_by_host_and_environment() {
    let runs = |when: &str| {
        let root = Root::with(&input("a", "local", &format!("when = {when}")));
        let mut around = root.around.clone();
        around.env.insert("ROLE".to_owned(), "front-1".to_owned());
        config::read_with(root.dir.path(), &around, &[]).unwrap().inputs[0].enabled
    };
    for (when, expected) in [
        ("{}", true),
        ("{ hosts = [\"web*\"] }", true),
        ("{ hosts = [\"db*\", \"WEB?\"] }", true),
        ("{ hosts = [\"web1.example.com\"] }", true),
        ("{ hosts = [\"*.example.com\"] }", true),
        ("{ hosts = [\"db*\"] }", false),
        ("{ hosts = [] }", false),
        ("{ env = { ROLE = \"front*\" } }", true),
        ("{ env = { ROLE = \"back*\" } }", false),
        ("{ env = { NONE = \"\" } }", true),
        ("{ env = { NONE = \"?*\" } }", false),
        ("{ hosts = [\"web1\"], env = { ROLE = \"back\" } }", false),
    ] {
        assert_eq!(runs(when), expected, "{when}");
    }
}

#[test]
fn an_input_that_does_not_run_here_needs_nothing_here() {
    let text = "[[inputs.pythond]]\nname = \"a\"\ncmd = \"/only/there/python\"\ndirs = [\"none\"]\nwhen = { hosts = [\"db\"] }\n";
    assert!(!Root::with(text).config().inputs[0].enabled);
    assert!(fault(&input("a", "local", "when = { host = [\"x\"] }")).contains("PD0102 unknown key `host`"));
    assert!(fault(&input("a", "local", "when = \"web\"")).contains("`when` is `\"web\"`; it must be a table"));
    let disabled = Root::with(&input("a", "local", "enabled = false\nwhen = { hosts = [\"*\"] }"));
    assert!(!disabled.config().inputs[0].enabled);
}

#[test]
fn a_repository_by_itself_is_read_for_its_own_ci() {
    let root = Root::new();
    let read = |root: &Root| config::read_repo(&root.path("two"), &root.around);
    let names = |config: &Config| config.inputs.iter().map(|input| input.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&read(&root).unwrap()), ["db", "web"], "without settings each folder counts");
    let there = "[[inputs.pythond]]\nname = \"w\"\ncmd = \"/opt/there/python\"\ndirs = [\"web\", \"/opt/there\"]\n";
    root.file("two/conf.d/w.conf", there);
    let config = read(&root).unwrap();
    assert_eq!((names(&config), config.inputs[0].cmd.as_str()), (vec!["w".to_owned()], "python3"));
    assert_eq!(config.inputs[0].dirs, [root.path("two/python.d/web")]);
    let codes: Vec<&str> = config.warnings.iter().map(|warning| warning.code.as_str()).collect();
    assert_eq!(codes, ["PD0107", "PD0106"]);
    root.file(
        "two/conf.d/w.conf",
        "[logging]\n[[inputs.pythond]]\nname = \"w\"\ncmd = \"python3\"\ndirs = [\"wep\"]\n",
    );
    let faults = read(&root).unwrap_err().faults;
    assert_eq!(faults.len(), 2, "{:?}", root.shown(&faults));
}
