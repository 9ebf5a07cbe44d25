//! The rows S of `tests/FAULTS.md`: what a script does with its output. After each, the invariants hold.

#[path = "support/invariants.rs"]
mod invariants;
#[path = "support/machine.rs"]
mod machine;
mod support;

use invariants::{Case, collector, resident_kib};
use machine::SmallDisk;
use support::{Root, wait_until};

fn framework_log(root: &Root, input: &str) -> String {
    root.log(&format!("_datakit_pythond_framework_{input}_.log"))
}

fn rotated(name: &str, age: u32) -> String {
    if age == 0 { name.to_owned() } else { format!("{name}.{age}") }
}

/// Every entry has a time; what belongs to the one above is indented.
fn assert_lines_valid(log: &str) {
    for line in log.lines() {
        let stamped = line.len() > 20 && line.as_bytes()[4] == b'-' && line.as_bytes()[13] == b':';
        assert!(stamped || line.starts_with("    "), "{:?}", line.chars().take(200).collect::<String>());
        assert!(!line.contains(|c: char| c.is_control() && c != '\t'), "{line:?}");
    }
}

/// The value of a field of the first point of this measurement.
fn field(root: &Root, measurement: &str, name: &str) -> f64 {
    let points = root.points("metric");
    let line = points.lines().find(|line| line.starts_with(&format!("{measurement},"))).unwrap();
    let text = line.split(&format!("{name}=")).nth(1).unwrap();
    text[..text.find([',', ' ']).unwrap()].parse().unwrap()
}

#[test]
fn s1_s2_floods_of_every_sort_block_nobody_and_cost_no_memory() {
    let case = Case::new();
    // Writes this block so often to this descriptor, and tells the longest that one write has taken.
    let flood = |block: &str, times: u32, fd: u8, name: &str| {
        format!(
            "block = {block}\nlongest = 0.0\nfor _ in range({times}):\n    began = time.monotonic()\n    rest = memoryview(block)\n    while rest: rest = rest[os.write({fd}, rest):]\n    longest = max(longest, time.monotonic() - began)\nself.feed_metric(measurement='{name}', fields={{'longest': longest}})"
        )
    };
    let floods = [
        ("lines", flood("(b'x' * 999 + b'\\n') * 64", 1600, 1, "lines")),
        ("endless", flood("b'y' * 65536", 1600, 1, "endless")),
        ("nuls", flood("b'\\0' * 65536", 400, 1, "nuls")),
        ("binary", flood("bytes(range(256)) * 256", 400, 1, "binary")),
        ("errors", flood("(b'e' * 99 + b'\\n') * 640", 800, 2, "errors")),
        ("forges", flood("b'\\r\\x1b[2K2026-01-01 00:00:00 forged\\r\\n' * 1000", 100, 1, "forges")),
    ];
    for (name, body) in &floods {
        case.add(name, "", &collector(3600.0, body));
    }
    let watched = case.start();
    let before = resident_kib(watched.agent.pid());
    for (name, _) in &floods {
        // A line without an end is one line, and cut.
        let floods_lines = !matches!(*name, "endless" | "nuls");
        let script = watched.wait(name, "has ended its flood", |script| script["points_accepted"] == 1);
        assert_eq!(script["restarts"], 0, "{script:#}");
        if floods_lines {
            watched.wait(name, "counts what was dropped", |script| script["output_dropped"].as_u64() > Some(10_000));
        }
        assert!(script["last_words"].to_string().len() < 100_000);
    }
    watched.agent.wait_delivered();
    for (name, _) in &floods {
        let longest = field(&watched.root, name, "longest");
        assert!(longest < 5.0, "{name} was held up for {longest} s");
        assert_lines_valid(&framework_log(&watched.root, name));
    }
    // At once, or after ten seconds where the flood of lines has drowned it.
    wait_until("the log says that lines are missing", || {
        let files = (0..10).map(|age| watched.root.log(&rotated("_datakit_pythond_framework_errors_.log", age)));
        files.collect::<String>().contains("lines of output over the limit")
    });
    let grown = resident_kib(watched.agent.pid()).saturating_sub(before);
    assert!(grown < 16 * 1024, "the agent grew by {grown} KiB in 350 MB of output");
    watched.holds();
}

#[test]
fn s3_what_a_script_opens_in_the_place_of_stdout_holds_nothing_of_ours() {
    let case = Case::new();
    let takes = "\
if self.n == 1:
    os.close(0); os.close(1); os.close(2)
    names = ['zero', 'one', 'two']
    self.files = [os.open(HERE / name, os.O_WRONLY | os.O_CREAT) for name in names]
    assert self.files == [0, 1, 2], self.files
    for fd in self.files: os.write(fd, b'mine\\n')
    raise RuntimeError('seen by the agent, not by the files')
self.feed_metric(measurement='taken', fields={'n': self.n})";
    case.add("takes", "", &collector(0.3, takes));
    let closes = "\
if self.n == 1:
    sys.stdout.close()
    sys.stderr.close()
self.feed_metric(measurement='closed', fields={'n': self.n})
print('printed in run', self.n)";
    case.add("closes", "", &collector(0.3, closes));
    let watched = case.start();
    watched.wait_log("takes.takes: run raised RuntimeError: seen by the agent");
    for name in ["takes", "closes"] {
        let script = watched.wait(name, "runs on", |script| script["runs_ok"].as_u64() >= Some(3));
        assert_eq!(script["restarts"], 0, "{script:#}");
    }
    for name in ["zero", "one", "two"] {
        let text = std::fs::read_to_string(watched.file(&format!("takes/{name}"))).unwrap();
        assert_eq!(text, "mine\n", "{name}");
    }
    watched.holds();
}

#[test]
fn s4_s5_last_words_arrive_and_a_held_pipe_delays_nothing() {
    let case = Case::new();
    // No flush, and nothing that makes Python unbuffered.
    case.add(
        "says",
        "envs = [\"PYTHONUNBUFFERED=\"]",
        &collector(60.0, "if first():\n    print('the last word')\n    os._exit(5)"),
    );
    let holds = "\
if first():
    child = subprocess.Popen(['sleep', '20'], env={}, start_new_session=True)
    print('held by', child.pid)
    os._exit(6)";
    case.add("holds", "", &collector(60.0, holds));
    let watched = case.start();
    watched.wait_log("says.says: exited with code 5; its last words: the last word");
    watched.wait_log("holds.holds: exited with code 6; its last words: held by");
    for name in ["says", "holds"] {
        watched.wait_good(name, 1);
    }
    watched.holds();
}

#[test]
fn s6_another_locale_costs_no_character() {
    let case = Case::new();
    let envs =
        "envs = [\"LANG=C\", \"LC_ALL=C\", \"PYTHONUTF8=0\", \"PYTHONCOERCECLOCALE=0\", \"PYTHONIOENCODING=ascii\"]";
    case.add("cjk", envs, &collector(0.3, "print('温度 grün \\udcff')\nprint('温度', file=sys.stderr)\nself.feed_metric(measurement='cjk', fields={'v': 1})"));
    let watched = case.start();
    let script = watched.wait("cjk", "runs", |script| script["runs_ok"].as_u64() >= Some(2));
    assert_eq!(script["runs_failed"], 0, "{script:#}");
    wait_until("its prints", || framework_log(&watched.root, "cjk").contains("温度 grün"));
    watched.holds();
}

const TALKS: &str = "print('line', self.n)\nself.feed_metric(measurement='talks', fields={'n': self.n})";

/// Waits for so many more runs of the talking script.
fn talks_on(watched: &invariants::Watched) {
    let runs = watched.script("talks")["runs_ok"].as_u64().unwrap();
    watched.wait("talks", "collects all the same", |script| script["runs_ok"].as_u64() >= Some(runs + 4));
}

fn logged_lines(watched: &invariants::Watched) -> usize {
    let dir = watched.root.path().join("logs");
    let file = dir.join("_datakit_pythond_framework_talks_.log");
    std::fs::read_to_string(file).unwrap_or_default().lines().count()
}

#[test]
fn s7_a_log_folder_that_is_full_or_read_only_costs_no_point() {
    let case = Case::new();
    let logs = case.root.path().join("logs");
    let Some(_disk) = SmallDisk::mount(&logs, "size=1m") else { return };
    case.root.conf("logging.conf", "[logging]\ndir = \"logs\"\n");
    case.add("talks", "", &collector(0.1, TALKS));
    // Full before the first line.
    assert!(std::fs::write(logs.join("filler"), vec![1; 2 << 20]).is_err());
    let watched = case.start();
    talks_on(&watched);
    std::fs::remove_file(logs.join("filler")).unwrap();
    wait_until("lines once there is room", || logged_lines(&watched) > 3);
    let read_only = SmallDisk::mount(&logs, "ro,size=1m").unwrap();
    assert_eq!(std::fs::write(logs.join("x"), "").unwrap_err().kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    talks_on(&watched);
    let before = logged_lines(&watched);
    drop(read_only);
    assert_eq!(before, 0);
    let there = logged_lines(&watched);
    wait_until("lines once it can be written again", || logged_lines(&watched) > there + 3);
    watched.holds();
}

#[test]
fn s7_a_log_folder_that_is_rotated_or_removed_is_written_again() {
    let case = Case::new();
    let logs = case.root.path().join("logs");
    case.root.conf("logging.conf", "[logging]\ndir = \"logs\"\n");
    case.add("talks", "", &collector(0.1, TALKS));
    let watched = case.start();
    let file = logs.join("_datakit_pythond_framework_talks_.log");
    wait_until("lines in the log", || logged_lines(&watched) > 3);
    std::fs::rename(&file, logs.join("rotated")).unwrap();
    wait_until("lines behind a rename", || logged_lines(&watched) > 3);
    std::fs::write(&file, "").unwrap();
    wait_until("lines behind a copytruncate", || logged_lines(&watched) > 3);
    std::fs::remove_dir_all(&logs).unwrap();
    wait_until("lines in a new folder", || logged_lines(&watched) > 3);
    std::fs::remove_dir_all(&logs).unwrap();
    std::fs::write(&logs, "a file in the place of the folder").unwrap();
    talks_on(&watched);
    std::fs::remove_file(&logs).unwrap();
    wait_until("lines once the file is gone", || logged_lines(&watched) > 3);
    watched.holds();
}
