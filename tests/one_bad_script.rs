//! Promise: a script's failure is its own. Four of five scripts misbehave; the fifth misses no run, and the status explains the four.

mod support;

use std::time::Duration;

use support::{PATIENCE, Root, wait_for};

const GOOD: &str = "import time
from datakit_framework import DataKitFramework

class Good(DataKitFramework):
    interval = 1
    n = 0
    def run(self):
        self.n += 1
        self.feed_metric(measurement='good', fields={'n': self.n, 'at': time.monotonic()})
";

const HANGS: &str = "import time
from datakit_framework import DataKitFramework

class Hangs(DataKitFramework):
    interval = 1
    def run(self):
        self.wait_for_ever()
    def wait_for_ever(self):
        time.sleep(1e6)
";

const CRASHES: &str = "import os, sys
print('about to go')
sys.stdout.flush()
os._exit(3)
";

const RAISES: &str = "from datakit_framework import DataKitFramework

class Raises(DataKitFramework):
    interval = 1
    def run(self):
        row = {'r_await': 1}
        return row['await']
";

const FLOODS: &str = "from datakit_framework import DataKitFramework

class Floods(DataKitFramework):
    interval = 3600
    def run(self):
        line = 'x' * 999
        for _ in range(100_000):
            print(line)
        self.feed_metric(measurement='flooded', fields={'v': 1})
";

fn numbers(points: &str) -> Vec<(u64, f64)> {
    points
        .lines()
        .filter(|line| line.starts_with("good,"))
        .map(|line| {
            let field = |name: &str| {
                let after = line.split(name).nth(1).unwrap();
                after[..after.find([',', ' ']).unwrap()].parse::<f64>().unwrap()
            };
            (field("n=") as u64, field("at="))
        })
        .collect()
}

#[test]
fn four_misbehave_and_the_fifth_misses_no_run() {
    let root = Root::new();
    for (name, text) in [("good", GOOD), ("hangs", HANGS), ("crashes", CRASHES), ("raises", RAISES), ("floods", FLOODS)]
    {
        root.script(&format!("{name}/{name}.py"), text);
    }
    root.input("others", &["good", "crashes", "raises", "floods"], "");
    root.input("hanging", &["hangs"], "run_timeout = \"3s\"\nstop_grace = \"1s\"");
    let agent = root.agent();

    let hung = agent.wait_script("hangs.hangs", "was hung and says where", |script| {
        script["restarts"].as_u64() > Some(0)
            && script["stack"].as_str().is_some_and(|stack| stack.contains("wait_for_ever"))
    });
    assert!(hung["why"].as_str().unwrap().contains("hangs.py"), "{hung:#}");
    let crashed =
        agent.wait_script("crashes.crashes", "crashed several times", |script| script["restarts"].as_u64() >= Some(2));
    assert!(crashed["why"].as_str().unwrap().contains("3"), "the exit code is named: {crashed:#}");
    assert!(crashed["next"].is_string(), "{crashed:#}");
    assert!(crashed["last_words"].to_string().contains("about to go"), "{crashed:#}");
    let raised =
        agent.wait_script("raises.raises", "raised several times", |script| script["runs_failed"].as_u64() >= Some(3));
    assert_eq!(raised["restarts"], 0, "an exception costs no process");
    assert_eq!(raised["state"], "failing");
    assert!(raised["why"].as_str().unwrap().contains("KeyError: 'await'"), "{raised:#}");
    assert!(raised["last_error"]["place"].as_str().unwrap().contains("raises.py:7"), "{raised:#}");
    let flooded = agent.wait_script("floods.floods", "ended its flood", |script| script["points_accepted"] == 1);
    assert!(flooded["output_dropped"].as_u64() > Some(50_000), "{flooded:#}");

    let (code, text, _) = root.run(&["status"]);
    assert_eq!(code, 0);
    for (id, part) in [
        ("hangs.hangs", "hung"),
        ("crashes.crashes", "code 3"),
        ("raises.raises", "KeyError"),
        ("floods.floods", "dropped"),
    ] {
        let about = text
            .split("▲ ")
            .find(|part| part.starts_with(id))
            .unwrap_or_else(|| panic!("{id} is not explained in:\n{text}"));
        assert!(about.contains(part) && about.contains("next:"), "{about}");
    }

    wait_for("fifteen runs of the good one", || match numbers(&root.points("metric")).len() {
        15.. => Ok(()),
        few => Err(few.to_string()),
    });
    let runs = numbers(&root.points("metric"));
    for (index, (number, _)) in runs.iter().enumerate() {
        assert_eq!(*number, index as u64 + 1, "no run is missed and none comes twice");
    }
    let good = agent.script("good.good");
    assert_eq!(
        (good["skipped_ticks"].as_u64(), good["runs_failed"].as_u64(), good["restarts"].as_u64()),
        (Some(0), Some(0), Some(0))
    );

    let cli_log = root.log("_datakit_pythond_cli.log");
    assert!(
        cli_log.contains("KeyError: 'await'") && cli_log.contains("return row['await']"),
        "the traceback with its source:\n{cli_log}"
    );
    let (code, took) = agent.stop();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(9) && took < PATIENCE);
}

#[test]
fn what_a_script_prints_is_in_its_log_and_cannot_forge_a_line() {
    let root = Root::new();
    root.script(
        "says/says.py",
        "from datakit_framework import DataKitFramework\nclass Says(DataKitFramework):\n    interval = 3600\n    def run(self):\n        print('hello from the script')\n        print('\\x1b[31mred\\r2026-01-01 00:00:00 forged')\n        self.feed_metric(measurement='said', fields={'v': 1})\n",
    );
    root.input("says", &["says"], "");
    let _agent = root.agent();
    let log = wait_for("the print in the framework log", || {
        let log = root.log("_datakit_pythond_framework_says_.log");
        if log.contains("forged") { Ok(log) } else { Err(log) }
    });
    assert!(log.contains("hello from the script"), "{log}");
    assert!(!log.contains('\x1b') && !log.contains('\r'), "{log:?}");
    for line in log.lines() {
        let stamped = line.len() > 20 && line.as_bytes()[4] == b'-' && line.as_bytes()[13] == b':';
        assert!(stamped || line.starts_with("    "), "{line:?}");
    }
}

#[test]
fn broken_scripts_say_where_and_a_mended_one_runs() {
    let root = Root::new();
    root.script("syntax/syntax.py", "def f(:\n    pass\n");
    root.script("missing/missing.py", "import surely_not_there\n");
    root.script("empty/empty.py", "x = 1\n");
    root.input("broken", &["syntax", "missing", "empty"], "");
    let agent = root.agent();
    for (id, parts) in [
        ("syntax.syntax", ["syntax.py:1", "syntax"]),
        ("missing.missing", ["missing.py:1", "surely_not_there"]),
        ("empty.empty", ["empty.py", "DataKitFramework"]),
    ] {
        let script = agent.wait_script(id, "is not loaded", |script| script["state"] == "load-error");
        for part in parts {
            assert!(script["why"].as_str().unwrap().contains(part), "{part} in {script:#}");
        }
        assert!(script["next"].is_string(), "{script:#}");
    }
    root.script("syntax/syntax.py", "from datakit_framework import DataKitFramework\nclass A(DataKitFramework):\n    def run(self):\n        self.feed_metric(measurement='mended', fields={'v': 1})\n");
    agent.wait_script("syntax.syntax", "runs once it is mended", |script| script["points_accepted"].as_u64() > Some(0));
}
