//! Promises about signals that an agent inherits as ignored, from nohup, cron or a shell: it hears what it must, and scripts cannot tell.

mod support;

use std::process::{Command, Stdio};

use support::{Agent, Root};

/// Prints what a script finds ignored, besides what Python itself ignores, and whether the end of a child can be seen.
const SCRIPT: &str = "from datakit_framework import DataKitFramework\nimport signal, subprocess\nclass C(DataKitFramework):\n    interval = 0.2\n    def run(self):\n        own = (signal.SIGPIPE, signal.SIGXFSZ)\n        ignored = [s.name for s in signal.Signals if s not in own and signal.getsignal(s) is signal.SIG_IGN]\n        child = subprocess.run(['sh', '-c', 'exit 3']).returncode\n        blocked = len(signal.pthread_sigmask(signal.SIG_BLOCK, []))\n        print('ignored', ignored, 'child', child, 'blocked', blocked)\n        self.feed_metric(measurement='m', fields={'v': 1})\n";

/// Starts the agent with signals ignored or blocked, without a terminal, in a session of its own, and with closed streams.
const LAUNCH: &str = "
import os, signal, sys
os.setsid()
for name in ('SIGHUP', 'SIGPIPE', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGCHLD', 'SIGTSTP', 'SIGUSR1', 'SIGUSR2', 'SIGALRM'):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR2))
os.close(0)
os.close(1)
os.execv(sys.argv[1], sys.argv[1:])
";

fn started(root: &Root) -> Agent {
    let agent = root.command(&["agent"]);
    let mut python = Command::new("python3");
    python.args(["-c", LAUNCH]).arg(agent.get_program()).args(agent.get_args());
    for (name, value) in agent.get_envs() {
        python.env(name, value.unwrap());
    }
    python.current_dir(root.path()).stdin(Stdio::null());
    Agent::start(root, python)
}

#[test]
fn what_was_ignored_at_the_start_is_not_ignored_in_a_worker() {
    // One script is executed, of two each is forked.
    for names in [&["a"][..], &["a", "b"]] {
        let root = Root::new();
        for name in names {
            root.script(&format!("my/{name}.py"), SCRIPT);
        }
        root.input("in", &["my"], "");
        let agent = started(&root);
        for name in names {
            let script = agent
                .wait_script(&format!("my.{name}"), "reports", |script| script["points_accepted"].as_u64() > Some(1));
            assert_eq!(script["restarts"], 0, "{script:#}");
        }
        let log = root.log("_datakit_pythond_framework_in_.log");
        assert!(log.contains("ignored [] child 3 blocked 0"), "{log}");
        // A hangup is a wish to reload, and TERM ends it in order.
        agent.signal(rustix::process::Signal::HUP);
        support::wait_until("the reload", || agent.console().contains("SIGHUP"));
        assert_eq!(agent.stop().0, 0);
    }
}
