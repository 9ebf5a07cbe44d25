//! Promises about who may read what the agent writes: its owner alone, unless the settings give it to others.

#[path = "support/machine.rs"]
mod machine;
mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use support::{Agent, Root, open_to_others, wait_until};

const SCRIPT: &str = "from datakit_framework import DataKitFramework\nimport os\nclass C(DataKitFramework):\n    interval = 0.2\n    def run(self):\n        self.feed_metric(measurement='m', fields={'v': 1})\n        self.feed_metric(measurement='bad', fields={'v': float('nan')})\n        open(os.path.join(os.path.dirname(__file__), 'mine'), 'w').close()\n        print('something')\n";

fn with_a_script(more: &str) -> Root {
    let root = Root::new();
    root.script("my/a.py", SCRIPT);
    root.input("in", &["my"], "");
    root.conf("agent.conf", &format!("[http_api]\nlisten = \"127.0.0.1:0\"\n{more}"));
    root
}

/// Starts an agent under the umask that most shells have.
fn under_022(root: &Root) -> Agent {
    let agent = root.command(&["agent"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 022 && exec \"$@\"", "sh"]).arg(agent.get_program()).args(agent.get_args());
    for (name, value) in agent.get_envs() {
        shell.env(name, value.unwrap());
    }
    shell.current_dir(root.path()).stdin(Stdio::null());
    Agent::start(root, shell)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn all_open(root: &Root) -> Vec<String> {
    ["data", "gitrepos"].iter().flat_map(|tree| open_to_others(&root.path().join(tree))).collect()
}

/// Waits until there are points, logs and a kept version.
fn wait_written(root: &Root, agent: &Agent) {
    agent.wait_script("my.a", "reports", |script| script["points_accepted"].as_u64() > Some(2));
    agent.wait_delivered();
    wait_until("a log", || !root.log("_datakit_pythond_framework_in_.log").is_empty());
    wait_until("a kept version", || root.path().join("data/last-good/my.a").is_dir());
}

#[test]
fn whatever_an_agent_writes_is_its_owners_alone() {
    let root = with_a_script("");
    let agent = under_022(&root);
    wait_written(&root, &agent);
    assert_eq!(all_open(&root), Vec::<String>::new());
    for log in ["_datakit_pythond_cli.log", "_datakit_pythond_framework_in_.log"] {
        assert_eq!(mode(&root.path().join("home").join(log)), 0o600, "{log}");
    }
    // The package is no secret, and a script's own files are as the umask of the agent's start wants them.
    assert_eq!(mode(&root.path().join("python.d/core/datakit_framework.py")), 0o644);
    assert_eq!(mode(&root.path().join("python.d/core/pythond")), 0o755);
    wait_until("a file of the script", || root.path().join("python.d/my/mine").exists());
    assert_eq!(mode(&root.path().join("python.d/my/mine")), 0o644);
    assert!(!agent.console().contains("could be read by other users"), "{}", agent.console());
}

#[test]
fn a_tree_that_is_open_is_tightened_at_the_start_and_that_is_said_once() {
    let root = with_a_script("");
    let agent = under_022(&root);
    wait_written(&root, &agent);
    agent.stop();
    let opened = Command::new("chmod").args(["-R", "go+rX", "data", "home"]).current_dir(root.path()).status().unwrap();
    assert!(opened.success());
    let secret = root.path().join("gitrepos/x/store.git");
    std::fs::create_dir_all(&secret).unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("/", root.path().join("data/link")).unwrap();
    let agent = under_022(&root);
    let told = |agent: &Agent| agent.console().matches("could be read by other users of this machine").count();
    wait_until("it is said", || told(&agent) == 1);
    wait_written(&root, &agent);
    assert_eq!(all_open(&root), Vec::<String>::new());
    wait_until("the logs are tightened", || mode(&root.path().join("home/_datakit_pythond_cli.log")) == 0o600);
    agent.stop();
    let agent = under_022(&root);
    wait_written(&root, &agent);
    assert_eq!(told(&agent), 0, "{}", agent.console());
    assert_ne!(mode(Path::new("/")) & 0o055, 0, "no link is followed");
}

#[test]
fn a_group_of_the_settings_may_read_what_they_give_it_and_nothing_else() {
    if !machine::root_can("give files to another group", rustix::process::geteuid().is_root()) {
        return;
    }
    let text = std::fs::read_to_string("/etc/group").unwrap();
    let groups: Vec<(&str, u32)> = text
        .lines()
        .filter_map(|line| Some((line.split(':').next()?, line.split(':').nth(2)?.parse().ok()?)))
        .filter(|(_, number)| *number > 0)
        .take(2)
        .collect();
    let [(readers, of_data), (auditors, of_logs)] = groups[..] else { panic!("{text}") };
    let root = with_a_script(&format!("[buffer]\ngroup = \"{readers}\"\n[logging]\ngroup = \"{auditors}\"\n"));
    let agent = under_022(&root);
    wait_written(&root, &agent);
    let of = |name: &str| {
        let path = root.path().join(name);
        (std::fs::metadata(&path).unwrap().gid(), mode(&path))
    };
    assert_eq!(of("data"), (of_data, 0o710));
    for folder in ["data/buffer", "data/dead", "data/points"] {
        assert_eq!(of(folder), (of_data, 0o2750), "{folder}");
    }
    assert_eq!(of("data/points/metric.lp"), (of_data, 0o640));
    assert_eq!(of("home/_datakit_pythond_cli.log"), (of_logs, 0o640));
    for folder in ["data/run", "data/last-good", "data/state"] {
        assert_eq!(mode(&root.path().join(folder)) & 0o077, 0, "{folder}");
    }
    let segments = std::fs::read_dir(root.path().join("data/buffer")).unwrap();
    for entry in segments.map(|entry| entry.unwrap().path()) {
        let meta = std::fs::metadata(&entry).unwrap();
        let expected = if meta.is_dir() { 0o2750 } else { 0o640 };
        assert_eq!((meta.gid(), mode(&entry)), (of_data, expected), "{}", entry.display());
    }
    // Taken away again, it is closed.
    agent.stop();
    root.conf("agent.conf", "[http_api]\nlisten = \"127.0.0.1:0\"\n");
    let agent = under_022(&root);
    wait_written(&root, &agent);
    assert_eq!(all_open(&root), Vec::<String>::new());
    agent.stop();
}

#[test]
fn commands_leave_nothing_open_either() {
    let root = with_a_script("");
    let agent = under_022(&root);
    wait_written(&root, &agent);
    agent.stop();
    for command in [&["deadletter", "list"][..], &["check"], &["sink", "list"], &["git", "status"]] {
        root.run(command);
    }
    assert_eq!(all_open(&root), Vec::<String>::new());
}
