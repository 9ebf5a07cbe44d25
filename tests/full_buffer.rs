//! Promise: a sink that is down fills the buffer and nothing else; what happens at its cap is what the settings say, and is counted.

#[path = "support/far_end.rs"]
mod far_end;
#[path = "support/machine.rs"]
mod machine;
mod support;

use std::collections::BTreeSet;
use std::path::Path;

use far_end::{FarEnd, Reply, Request};
use machine::SmallDisk;
use serde_json::{Value, json};
use support::{Agent, Root, http, wait_for, wait_until};

const CAP: u64 = 16 << 20;
/// Points in one post, and bytes of each: a post has 1 MB.
const POINTS: u64 = 100;
const BYTES: usize = 10_000;

/// A far end that is down until it is told otherwise, on a runtime of its own.
struct Far {
    _runtime: tokio::runtime::Runtime,
    end: FarEnd,
}

impl Far {
    fn down() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let end = runtime.block_on(FarEnd::start(|_, _| Reply::status(503).with_header("Retry-After: 1")));
        Self { _runtime: runtime, end }
    }

    fn come_up(&self) {
        self.end.turn(|_, _| Reply::status(204));
    }

    fn sink(&self, more: &str) -> String {
        format!("[sinks.influxdb.far]\nurl = \"{}\"\ndatabase = \"d\"\ngzip = false\n{more}\n", self.end.url())
    }

    fn numbers(&self) -> BTreeSet<u64> {
        let number =
            |line: String| line.split("n=").nth(1).unwrap().split(['.', ',', ' ']).next().unwrap().parse().unwrap();
        self.end.accepted().iter().flat_map(Request::lines).map(number).collect()
    }
}

fn root(at_cap: &str, sinks: &str) -> Root {
    let root = Root::new();
    root.conf("buffer.conf", &format!("[buffer]\nmax_size = \"16MiB\"\nat_cap = \"{at_cap}\"\n"));
    root.conf("sinks.conf", sinks);
    root
}

fn body(from: u64, count: u64) -> Vec<u8> {
    let text = "x".repeat(BYTES);
    let points: Vec<Value> = (from..from + count)
        .map(|n| json!({"measurement": "seq", "fields": {"text": text, "n": n}, "time": 1_700_000_000_000_000_000 + n}))
        .collect();
    serde_json::to_vec(&points).unwrap()
}

fn post(agent: &Agent, from: u64, count: u64) -> http::Answer {
    agent.post("/v1/write/metric", &[("Content-Type", "application/json")], &body(from, count))
}

fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    // What goes away meanwhile has no bytes.
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
    entries
        .flatten()
        .map(|entry| if entry.path().is_dir() { bytes_below(&entry.path()) } else { size(&entry.path()) })
        .sum()
}

fn memory_mib(agent: &Agent) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// The value of a metric whose line starts so.
fn metric(agent: &Agent, start: &str) -> f64 {
    let text = agent.get("/metrics").text();
    let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start} in:\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Posts from four threads until something else than 200 comes, or so many posts are through; the accepted numbers and the other answers.
fn load(agent: &Agent, posts: u64) -> (BTreeSet<u64>, Vec<http::Answer>) {
    let one = |lane: u64| {
        let (mut accepted, mut others) = (BTreeSet::new(), Vec::new());
        for post_number in (lane..posts).step_by(4) {
            let from = post_number * POINTS;
            let answer = post(agent, from, POINTS);
            if answer.status != 200 {
                others.push(answer);
                break;
            }
            accepted.extend(from..from + POINTS);
        }
        (accepted, others)
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..4).map(|lane| scope.spawn(move || one(lane))).collect();
        let mut all = (BTreeSet::new(), Vec::new());
        for (accepted, others) in lanes.into_iter().map(|lane| lane.join().unwrap()) {
            all.0.extend(accepted);
            all.1.extend(others);
        }
        all
    })
}

#[test]
fn at_the_cap_reports_are_refused_and_what_was_accepted_arrives() {
    let far = Far::down();
    let root = root("refuse", &far.sink(""));
    let agent = root.agent();
    let memory = memory_mib(&agent);
    let (accepted, refused) = load(&agent, 1000);
    assert_eq!(refused.len(), 4, "each sender was refused");
    for answer in &refused {
        assert_eq!((answer.status, &answer.json()["error_code"]), (503, &json!("pythond.bufferFull")), "{answer:?}");
        assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    }
    assert!(accepted.len() as u64 * BYTES as u64 > CAP / 2, "{} points fit", accepted.len());
    assert!(bytes_below(&root.path().join("data/buffer")) <= CAP, "the disk stops at the cap");
    let grown = memory_mib(&agent).saturating_sub(memory);
    assert!(grown < 64, "{grown} MiB more");

    let (status, sink) = (agent.status(), agent.sink("far"));
    assert!(status["buffer"]["bytes"].as_u64().unwrap() <= CAP);
    assert_eq!((&sink["behind_points"], &sink["skipped"]), (&json!(accepted.len()), &json!(0)));
    let aged = |what: &str, get: &dyn Fn() -> f64| wait_until(what, || get() >= 1.0);
    aged("the oldest point's age in the status", &|| agent.status()["buffer"]["oldest_s"].as_f64().unwrap_or(0.0));
    aged("its age in the metrics", &|| metric(&agent, "pythond_buffer_oldest_seconds"));
    let (_, text, _) = root.run(&["status"]);
    let told = status["buffer"]["refusing"].clone();
    assert!(
        told["reports"].as_u64().unwrap() >= 4 && told["why"].as_str().unwrap().contains("the buffer is full"),
        "{told}"
    );
    assert!(text.contains("REPORTS ARE REFUSED for ") && text.contains("raise `[buffer] max_size`"), "{text}");
    aged("its age for the sink", &|| metric(&agent, "pythond_sink_oldest_seconds{sink=\"far\"}"));

    far.come_up();
    agent.wait_delivered();
    assert_eq!(far.numbers(), accepted);
    wait_until("room again", || post(&agent, 1_000_000, 1).status == 200);
    wait_until("it is said that it is over", || {
        post(&agent, 1_000_001, 1);
        agent.status()["buffer"]["refusing"].is_null() && agent.console().contains("reports are taken again")
    });
    let told = agent.console();
    assert_eq!(
        (told.matches("reports are refused: ").count(), told.matches("reports are taken again").count()),
        (1, 1),
        "{told}"
    );
}

#[test]
fn with_drop_oldest_nothing_is_refused_and_every_loss_is_counted() {
    let far = Far::down();
    let root = root("drop_oldest", &far.sink(""));
    let agent = root.agent();
    let memory = memory_mib(&agent);
    let (accepted, refused) = load(&agent, 100);
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(accepted.len(), 10_000);
    assert!(bytes_below(&root.path().join("data/buffer")) <= CAP);
    let grown = memory_mib(&agent).saturating_sub(memory);
    assert!(grown < 64, "{grown} MiB more");
    let skipped = agent.sink("far")["skipped"].as_u64().unwrap();
    assert!(skipped > 5_000, "{skipped}");
    assert_eq!(metric(&agent, "pythond_sink_skipped_points{sink=\"far\"}") as u64, skipped);
    assert_eq!(metric(&agent, "pythond_sink_lost_points_total{sink=\"far\",input=\"metric\"}") as u64, skipped);
    let (_, text, _) = root.run(&["status"]);
    assert!(text.contains(&format!("{skipped} points were skipped")), "{text}");
    far.come_up();
    agent.wait_delivered();
    assert_eq!(far.numbers().len() as u64 + skipped, 10_000, "every point is delivered or counted");
}

#[test]
fn a_sink_that_is_not_required_blocks_nobody() {
    let far = Far::down();
    let root = root("refuse", &format!("{}[sinks.file.local]\n", far.sink("required = false")));
    let agent = root.agent();
    // As fast as the file sink takes it: that one is required.
    for number in 0..60 {
        wait_for("the post", || match post(&agent, number * POINTS, POINTS) {
            answer if answer.status == 200 => Ok(()),
            answer => Err(answer.text()),
        });
    }
    wait_until("the file has everything", || agent.sink("local")["behind_points"] == 0);
    assert_eq!(root.points("metric").lines().count(), 6_000);
    let (local, far) = (agent.sink("local"), agent.sink("far"));
    assert_eq!(local["skipped"], 0);
    assert!(far["skipped"].as_u64() > Some(3_000), "{far:#}");
    assert!(bytes_below(&root.path().join("data/buffer")) <= CAP);
}

#[test]
fn a_skipped_sink_misses_what_waited_and_gets_what_follows() {
    let far = Far::down();
    let root = root("refuse", &far.sink(""));
    let agent = root.agent();
    assert_eq!(post(&agent, 0, 50).status, 200);
    wait_until("the sink tries", || agent.sink("far")["state"] == "down");
    let (code, text, _) = root.run(&["sink", "list"]);
    assert_eq!(code, 0);
    let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().take(5).collect();
    assert_eq!(row, ["far", "influxdb", "down", "0", "50"], "{text}");

    let over_tcp = agent.post("/api/v1/sinks/far/skip", &[], b"");
    assert_eq!((over_tcp.status, &over_tcp.json()["error_code"]), (403, &json!("pythond.socketOnly")));
    assert_eq!(agent.sink("far")["behind_points"], 50);
    let (code, _, text) = root.run(&["sink", "skip", "near"]);
    assert_eq!(code, 2);
    assert!(text.contains("there are: far"), "{text}");

    let (code, text, _) = root.run(&["sink", "skip", "far"]);
    assert_eq!((code, text.as_str()), (0, "far does not get what waited for it: 50 points\n"));
    let sink = agent.sink("far");
    assert_eq!((&sink["behind_points"], &sink["skipped"]), (&json!(0), &json!(50)));
    assert_eq!(post(&agent, 50, 10).status, 200);
    agent.stop();
    assert_eq!(root.run(&["sink", "list"]).0, 7);
    far.come_up();
    let agent = root.agent();
    agent.wait_delivered();
    assert_eq!(far.numbers(), (50..60).collect(), "the batch that was under way is not sent either");
    assert_eq!(agent.sink("far")["skipped"], 50, "still known after a restart");
}

#[test]
fn a_sink_that_is_skipped_while_it_tries_again_goes_on_behind_it() {
    let far = Far::down();
    let root = root("refuse", &far.sink(""));
    let agent = root.agent();
    assert_eq!(post(&agent, 0, 5).status, 200);
    wait_until("the sink tries", || agent.sink("far")["state"] == "down");
    assert_eq!(root.run(&["sink", "skip", "far"]).0, 0);
    far.come_up();
    assert_eq!(post(&agent, 5, 5).status, 200);
    agent.wait_delivered();
    assert_eq!(far.numbers(), (5..10).collect());
}

#[test]
fn a_removed_sink_is_shown_and_can_be_forgotten() {
    let far = Far::down();
    let root = root("refuse", &format!("{}[sinks.file.local]\n", far.sink("")));
    let agent = root.agent();
    assert_eq!(load(&agent, 8).1.len(), 0);
    agent.stop();
    root.conf("sinks.conf", "[sinks.file.local]\n");
    let agent = root.agent();
    let removed = agent.status()["removed_sinks"][0].clone();
    assert_eq!(removed["name"], "far");
    let holds = removed["holds_s"].as_f64().unwrap();
    assert!(holds > 0.0 && holds <= 60.0, "{holds}");
    for command in [&["sink", "list"][..], &["status"]] {
        let (_, text, _) = root.run(command);
        assert!(text.contains("far") && text.contains("no longer in the settings; its points are kept for"), "{text}");
    }
    let (code, text, _) = root.run(&["sink", "skip", "far"]);
    assert_eq!(code, 0);
    assert!(text.contains("forgotten"), "{text}");
    assert_eq!(agent.status()["removed_sinks"], json!([]));
    wait_until("its segments are gone", || agent.status()["buffer"]["bytes"].as_u64() <= Some(8 << 20));
    assert!(!root.path().join("data/buffer/cursors/far").exists());
}

fn small_post(agent: &Agent, n: u64) -> http::Answer {
    agent.post("/v1/write/metric?precision=n", &[], format!("seq n={n} {}", 1_700_000_000_000_000_000 + n).as_bytes())
}

#[test]
fn a_full_disk_is_answered_503_and_recovers_when_space_returns() {
    let far = Far::down();
    let root = root("refuse", &far.sink(""));
    let buffer = root.path().join("data/buffer");
    let Some(_disk) = SmallDisk::mount(&buffer, "size=8m") else { return };
    let agent = root.agent();
    assert_eq!(small_post(&agent, 0).status, 200);
    let filler = buffer.join("filler");
    // Ends with `no space`, as it should.
    assert!(std::fs::write(&filler, vec![1; 8 << 20]).is_err());
    let mut accepted: BTreeSet<u64> = BTreeSet::from([0]);
    let mut next = 1..;
    let refused = wait_for("the disk to be full", || {
        let from = next.next().unwrap() * POINTS;
        let answer = post(&agent, from, POINTS);
        if answer.status == 200 {
            accepted.extend(from..from + POINTS);
            return Err("accepted".to_owned());
        }
        Ok(answer)
    });
    assert_eq!((refused.status, &refused.json()["error_code"]), (503, &json!("pythond.diskError")), "{refused:?}");
    assert!(refused.header("retry-after").is_some());
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(small_post(&agent, 7).status, 200, "without a restart");
    accepted.insert(7);
    far.come_up();
    agent.wait_delivered();
    assert_eq!(far.numbers(), accepted);
}

#[test]
fn a_disk_that_turns_read_only_is_answered_503_and_recovers() {
    let far = Far::down();
    let root = root("refuse", &far.sink(""));
    let segments = root.path().join("data/buffer/log");
    let Some(disk) = SmallDisk::mount(&segments, "size=8m") else { return };
    let agent = root.agent();
    // A file that is open for writing keeps a disk from turning read-only: before the first point there is no segment.
    disk.remount("ro");
    let refused = small_post(&agent, 0);
    assert_eq!((refused.status, &refused.json()["error_code"]), (503, &json!("pythond.diskError")), "{refused:?}");
    assert!(refused.json()["message"].as_str().unwrap().contains("ead-only"), "{refused:?}");
    disk.remount("rw");
    wait_until("the buffer takes points again", || small_post(&agent, 1).status == 200);
    far.come_up();
    agent.wait_delivered();
    assert_eq!(far.numbers(), BTreeSet::from([1]));
}
