//! Promise: what the agent accepts ends in a real InfluxDB 1.x, or in the dead-letter file with InfluxDB's reason; whatever happens between.

#[path = "support/influxdb.rs"]
mod influxdb;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use influxdb::Influxdb;
use influxdb_line_protocol::{FieldValue, parse_lines};
use serde_json::{Value, json};
use support::{Root, http, wait_for, wait_until};

/// A server with the database `d`.
fn server() -> Option<Influxdb> {
    let server = Influxdb::start()?;
    server.query("", "CREATE DATABASE d");
    Some(server)
}

/// A root whose points go to the database `d` of the server.
fn root(server: &Influxdb) -> Root {
    let root = Root::new();
    let sink = format!("[sinks.influxdb.main]\nurl = \"{}\"\ndatabase = \"d\"\n", server.url());
    root.conf("sinks.conf", &sink);
    root
}

/// The rows of a query, as JSON values.
fn rows(server: &Influxdb, query: &str) -> Vec<Vec<Value>> {
    let rows = server.query("d", query).into_iter();
    rows.map(|row| row.iter().map(|value| serde_json::from_str(value).unwrap()).collect()).collect()
}

/// The numbers `n` of a client that are in the measurement `seq`.
fn numbers(server: &Influxdb, client: &str) -> BTreeSet<u64> {
    let rows = rows(server, &format!("SELECT n FROM seq WHERE client = '{client}'"));
    rows.iter().map(|row| row[1].as_f64().unwrap() as u64).collect()
}

/// Points with the numbers `from..from + count` of a client: each in `seq` at a time of its own, and the last one in `last` at one time, so
/// that a later number replaces an earlier one there, and the other way round if they come in the wrong order.
fn numbered(client: &str, from: u64, count: u64) -> Vec<u8> {
    let seq = (from..from + count)
        .map(|n| json!({"measurement": "seq", "tags": {"client": client}, "fields": {"n": n}, "time": 1_700_000_000_000_000_000 + n}));
    let last = json!({"measurement": "last", "tags": {"client": client}, "fields": {"n": from + count - 1}, "time": 1_700_000_000_000_000_000_u64});
    serde_json::to_vec(&seq.chain([last]).collect::<Vec<_>>()).unwrap()
}

/// An HTTP client that posts numbers, a few at a time, until it is told to stop; a post that fails goes again.
struct Client {
    name: String,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<u64>>,
    thread: JoinHandle<()>,
}

impl Client {
    fn start(name: &str, socket: PathBuf) -> Self {
        const POST: u64 = 10;
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(0)));
        let (stopped, count, client) = (Arc::clone(&stop), Arc::clone(&acknowledged), name.to_owned());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let from = *count.lock().unwrap();
                let headers = [("Content-Type", "application/json")];
                let body = numbered(&client, from, POST);
                let answer = http::unix(&socket, "POST", "/v1/write/metric?precision=ns", &headers, &body);
                match answer {
                    Ok(answer) if answer.status == 200 => *count.lock().unwrap() += POST,
                    // An agent that was killed may have kept them; the same points again change nothing.
                    Ok(answer) => assert!(matches!(answer.status, 429 | 503), "{answer:?}"),
                    Err(_) => {}
                }
                // The pace of the load.
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { name: name.to_owned(), stop, acknowledged, thread }
    }

    fn acknowledged(&self) -> u64 {
        *self.acknowledged.lock().unwrap()
    }

    /// Ends it; how many numbers were acknowledged.
    fn stop(self) -> (String, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        let count = *self.acknowledged.lock().unwrap();
        (self.name, count)
    }
}

/// All numbers below `count` are there, and the last word was the last number.
fn check_numbers(server: &Influxdb, client: &str, count: u64) {
    assert!(count > 0, "{client} reported");
    let found = numbers(server, client);
    let missing: Vec<u64> = (0..count).filter(|n| !found.contains(n)).collect();
    assert!(missing.is_empty(), "{client}: {} of {count} are missing, from {}", missing.len(), missing[0]);
    let last = rows(server, &format!("SELECT n FROM last WHERE client = '{client}'"));
    assert_eq!(last[0][1].as_f64().unwrap() as u64 + 1, found.len() as u64, "{client}: order");
}

/// A script that reports numbers while the file `go` lies beside it, and writes how many it reported to `done`.
const SEQUENCE: &str = r#"
import pathlib, time
from datakit_framework import DataKitFramework

HERE = pathlib.Path(__file__).parent

class Sequence(DataKitFramework):
    interval = 3600

    def run(self):
        n = 0
        while (HERE / "go").exists():
            self.feed_metric(measurement="seq", tags={"client": "script"}, fields={"n": n})
            self.report({"M": [{"measurement": "last", "tags": {"client": "script"}, "fields": {"n": n}, "time": 1700000000}]})
            n += 1
            time.sleep(0.005)
        (HERE / "done").write_text(str(n))
"#;

/// Resident memory of a process.
fn memory_kib(pid: u32) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn outage() -> Duration {
    let is_long = std::env::var("PYTHOND_LONG_TESTS").is_ok_and(|value| value == "1");
    Duration::from_secs(if is_long { 60 } else { 15 })
}

#[test]
fn an_outage_under_load_loses_nothing_keeps_the_order_and_takes_little_memory() {
    const MAY_GROW_KIB: i64 = 40 * 1024;
    let Some(mut server) = server() else { return };
    let root = root(&server);
    root.script("seq/seq.py", SEQUENCE);
    let folder = root.path().join("python.d/seq");
    std::fs::write(folder.join("go"), "").unwrap();
    root.input("seq", &["seq"], "");
    let agent = root.agent();
    let clients = ["a", "b", "c"].map(|name| Client::start(name, root.socket()));
    wait_until("everybody's numbers arrive", || {
        ["script", "a", "b", "c"].iter().all(|client| numbers(&server, client).len() >= 20)
    });

    server.down();
    let (since, before) = (Instant::now(), memory_kib(agent.pid()));
    let mut most = before;
    wait_for("the status says that it is down, and why", || {
        let sink = agent.sink("main");
        let is_told = sink["state"] == "down" && sink["why"].as_str().unwrap().contains("refused");
        if is_told { Ok(()) } else { Err(sink.to_string()) }
    });
    let mut waiting = 0;
    while since.elapsed() < outage() {
        most = most.max(memory_kib(agent.pid()));
        let sink = agent.sink("main");
        assert_eq!(sink["state"], "down", "{sink:#}");
        let now = sink["behind_points"].as_u64().unwrap();
        assert!(now >= waiting, "{waiting} points waited, now {now}");
        waiting = now;
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(waiting > 1000, "the load went on: {waiting}");
    let (_, shown, _) = root.run(&["status"]);
    assert!(shown.contains("down") && shown.contains("refused") && shown.contains("points wait on disk"), "{shown}");

    server.up();
    let up = Instant::now();
    wait_until("the sink is well", || agent.sink("main")["state"] == "ok");
    std::fs::remove_file(folder.join("go")).unwrap();
    let counts = clients.map(Client::stop);
    wait_until("the script is done", || folder.join("done").exists());
    agent.wait_delivered();
    most = most.max(memory_kib(agent.pid()));
    eprintln!(
        "{waiting} points waited; delivered {:?} after the start; memory {before} KiB, {most} KiB at most",
        up.elapsed()
    );
    for (client, count) in counts {
        check_numbers(&server, &client, count);
    }
    let reported: u64 = std::fs::read_to_string(folder.join("done")).unwrap().parse().unwrap();
    check_numbers(&server, "script", reported);
    let sink = agent.sink("main");
    assert_eq!((&sink["state"], &sink["why"], &sink["dead"]), (&json!("ok"), &Value::Null, &json!(0)), "{sink:#}");
    assert!(most - before < MAY_GROW_KIB, "grew from {before} to {most} KiB");
}

#[test]
fn ten_kills_of_the_agent_lose_nothing_that_was_acknowledged() {
    const KILLS: usize = 10;
    let Some(server) = server() else { return };
    let root = root(&server);
    let mut agent = root.agent();
    let clients = ["a", "b"].map(|name| Client::start(name, root.socket()));
    for _ in 0..KILLS {
        let reached: Vec<u64> = clients.iter().map(Client::acknowledged).collect();
        wait_until("the clients get on", || {
            clients.iter().zip(&reached).all(|(client, n)| client.acknowledged() > n + 50)
        });
        // Any moment: of a commit, a delivery, a confirmation.
        std::thread::sleep(Duration::from_micros(rand(0..50_000)));
        agent.kill();
        agent = root.agent();
    }
    let counts = clients.map(Client::stop);
    agent.wait_delivered();
    for (client, count) in counts {
        let found = numbers(&server, &client);
        let missing: Vec<u64> = (0..count).filter(|n| !found.contains(n)).collect();
        assert!(missing.is_empty(), "{client}: {} of {count} are missing, from {}", missing.len(), missing[0]);
    }
    assert_eq!(agent.sink("main")["dead"], 0);
}

/// Different in each call and each run.
fn rand(range: std::ops::Range<u64>) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    range.start + RandomState::new().hash_one(()) % (range.end - range.start)
}

#[test]
fn points_of_another_type_are_dead_letters_and_all_others_are_stored() {
    let Some(server) = server() else { return };
    let root = root(&server);
    let agent = root.agent();
    let point = |n: u64| {
        let value = if n % 77 == 76 { json!(format!("text {n}")) } else { json!(n) };
        json!({"measurement": "m", "tags": {"t": (n % 5).to_string()}, "fields": {"v": value}, "time": 1_700_000_000_000_000_000 + n})
    };
    // The first one says that the field is a float.
    assert_eq!(agent.post_json("/v1/write/metric", &json!([point(0)])).status, 200);
    agent.wait_delivered();
    for post in 0..10 {
        let points: Vec<Value> = (post * 100 + 1..=post * 100 + 100).map(point).collect();
        assert_eq!(agent.post_json("/v1/write/metric", &json!(points)).status, 200);
    }
    agent.wait_delivered();
    let (bad, good): (Vec<u64>, Vec<u64>) = (0..=1000).partition(|n| n % 77 == 76);
    let letters = root.dead("main");
    let mut dead: Vec<u64> = letters
        .iter()
        .map(|letter| {
            letter["point"].as_str().unwrap().split("text ").nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
        })
        .collect();
    dead.sort_unstable();
    assert_eq!(dead, bad);
    for letter in &letters {
        let reason = letter["reason"].as_str().unwrap();
        assert!(reason.contains("field type conflict: input field \"v\" on measurement \"m\" is type string, already exists as type float"), "{reason}");
        assert_eq!((&letter["who"], &letter["category"]), (&json!("main"), &json!("metric")));
    }
    let found: BTreeSet<u64> =
        rows(&server, "SELECT v FROM m").iter().map(|row| row[1].as_f64().unwrap() as u64).collect();
    assert_eq!(found, good.iter().copied().collect());
    let sink = agent.sink("main");
    assert_eq!((&sink["delivered"], &sink["dead"]), (&json!(good.len()), &json!(bad.len())), "{sink:#}");
    let told = agent.status()["dead_letters"].clone();
    assert_eq!(told[0]["points"], bad.len(), "{told:#}");
    let (_, text, _) = root.run(&["status"]);
    let why = "points of metric, the last ";
    assert!(text.contains(&format!("{} {why}", bad.len())) && text.contains("already exists as type float"), "{text}");
}

#[test]
fn one_point_of_another_type_among_ten_thousand_is_the_only_dead_letter() {
    const BAD: u64 = 6_543;
    let Some(server) = server() else { return };
    let root = root(&server);
    let agent = root.agent();
    let point = |n: u64| {
        let value = if n == BAD { json!("text") } else { json!(n) };
        json!({"measurement": "m", "tags": {"t": (n % 5).to_string()}, "fields": {"v": value}, "time": 1_700_000_000_000_000_000 + n})
    };
    assert_eq!(agent.post_json("/v1/write/metric", &json!([point(0)])).status, 200);
    agent.wait_delivered();
    let points: Vec<Value> = (1..10_000).map(point).collect();
    assert_eq!(agent.post_json("/v1/write/metric", &json!(points)).status, 200);
    agent.wait_delivered();
    let letters = root.dead("main");
    assert_eq!(letters.len(), 1, "{letters:#?}");
    assert!(letters[0]["point"].as_str().unwrap().ends_with(&format!(" {}", 1_700_000_000_000_000_000 + BAD)));
    assert!(letters[0]["reason"].as_str().unwrap().contains("field type conflict"), "{letters:#?}");
    let found: BTreeSet<u64> =
        rows(&server, "SELECT v FROM m").iter().map(|row| row[1].as_f64().unwrap() as u64).collect();
    assert_eq!(found, (0..10_000).filter(|n| *n != BAD).collect());
}

/// A value, and what it is as a tag where that differs; as a field nothing differs.
const STRINGS: [(&str, Option<&str>); 12] = [
    ("C:\\", Some("C:")),
    ("a\nb", Some("a b")),
    ("say \"hi\"", None),
    ("ключ", None),
    ("", Some("")),
    ("\u{1b}[31mred\u{1b}[0m", Some("[31mred [0m")),
    ("a,b=c d", None),
    ("📈 up", None),
    ("tab\there", Some("tab here")),
    ("two at the end  ", None),
    ("C:\\Temp\\new", None),
    ("\\\\srv\\share\\", Some("//srv\\share")),
];

const STRINGS_SCRIPT: &str = r#"
import json, pathlib
from datakit_framework import DataKitFramework

class Strings(DataKitFramework):
    interval = 3600

    def run(self):
        for n, value in enumerate(json.loads(pathlib.Path(__file__).with_name("strings.json").read_text(encoding="utf-8"))):
            self.feed_metric(measurement="strings", tags={"id": "python", "t": value}, fields={"f": value, "n": n})
            self.feed_metric(measurement="strings", tags={"id": "neighbour"}, fields={"n": n})
"#;

#[test]
fn nasty_strings_are_stored_or_repaired_and_cost_no_neighbour() {
    let Some(server) = server() else { return };
    let root = root(&server);
    root.script("strings/strings.py", STRINGS_SCRIPT);
    let values: Vec<&str> = STRINGS.iter().map(|(value, _)| *value).collect();
    root.script("strings/strings.json", &json!(values).to_string());
    root.input("strings", &["strings"], "");
    let agent = root.agent();
    let points: Vec<Value> = values
        .iter()
        .enumerate()
        .flat_map(|(n, value)| {
            let point =
                json!({"measurement": "strings", "tags": {"id": "json", "t": value}, "fields": {"f": value, "n": n}});
            [point, json!({"measurement": "strings", "tags": {"id": "neighbour"}, "fields": {"n": n + 100}})]
        })
        .collect();
    let answer = agent.post_json("/v1/write/metric", &json!(points));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let all = 2 * points.len() as u64;
    wait_for("all points delivered", || {
        let sink = agent.sink("main");
        if sink["delivered"] == all { Ok(()) } else { Err(format!("{sink:#}")) }
    });
    let stored = rows(&server, "SELECT n, f, t, id FROM strings");
    for id in ["json", "python"] {
        let of_id = |n: usize| stored.iter().find(|row| row[1].as_f64() == Some(n as f64) && row[4] == id);
        for (n, (value, as_tag)) in STRINGS.iter().enumerate() {
            let row = of_id(n).unwrap_or_else(|| panic!("{value:?} from {id} is not there: {stored:#?}"));
            assert_eq!(row[2], *value, "{value:?} from {id} as field");
            let tag = match as_tag.unwrap_or(value) {
                "" => Value::Null,
                tag => json!(tag),
            };
            assert_eq!(row[3], tag, "{value:?} from {id} as tag");
        }
    }
    assert_eq!(stored.iter().filter(|row| row[4] == "neighbour").count(), 2 * STRINGS.len());
    assert_eq!(stored.len() as u64, all);
    let series = server.query("d", "SHOW MEASUREMENTS");
    assert_eq!(series, [["\"strings\""]], "no line was split into another measurement");
    assert_eq!(agent.sink("main")["dead"], 0);
    // `C:\`, the newline, the colour, the tab and the share; the share also for its beginning; the empty tag. Each from both sides.
    let metrics = agent.get("/metrics").text();
    for (kind, times) in [("found_new_line_or_tail_escape", 10), ("ambiguous_backslash", 2), ("empty_tag", 2)] {
        let wanted = format!("pythond_repairs_total{{reason=\"{kind}\"}} {times}");
        assert!(metrics.lines().any(|line| line == wanted), "{wanted}\n{metrics}");
    }
}

#[test]
fn a_bad_event_between_two_good_ones_is_named_and_set_aside() {
    let Some(server) = server() else { return };
    let root = root(&server);
    let agent = root.agent();
    let event = |n: u64, status: &str| {
        json!({"measurement": "e", "tags": {"n": n.to_string()}, "fields": {"df_source": "system", "df_status": status,
            "df_event_id": format!("id-{n}"), "df_title": format!("title {n}"), "df_date_range": 10, "df_message": "m"}})
    };
    let answer = agent.post_json("/v1/write/keyevent", &json!([event(0, "ok"), event(1, "bad"), event(2, "critical")]));
    assert_eq!(answer.status, 400);
    let told = answer.json();
    assert_eq!(told["accepted"], 2, "{told:#}");
    let refused = told["refused"].as_array().unwrap();
    assert_eq!((refused.len(), &refused[0]["index"], &refused[0]["field"]), (1, &json!(1), &json!("df_status")));
    assert!(refused[0]["reason"].as_str().unwrap().contains("`bad`"), "{told:#}");
    agent.wait_delivered();
    let mut titles: Vec<Value> =
        rows(&server, "SELECT df_title FROM e").into_iter().map(|mut row| row.remove(1)).collect();
    titles.sort_by_key(Value::to_string);
    assert_eq!(titles, ["title 0", "title 2"]);
    let letters = root.dead("ingest");
    assert_eq!(letters.len(), 1);
    assert!(letters[0]["point"].as_str().unwrap().contains("title 1"), "{letters:#?}");
    assert_eq!(letters[0]["reason"], refused[0]["reason"]);
}

/// Measurement → field → InfluxDB's word for its type, and how many points, from expected lines.
fn expected_types(case: &Path) -> (BTreeMap<String, BTreeMap<String, &'static str>>, usize) {
    let mut types: BTreeMap<String, BTreeMap<String, &'static str>> = BTreeMap::new();
    let mut points = 0;
    for file in std::fs::read_dir(case.join("expected")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap().replace(" NOW", "");
        for line in parse_lines(&text).map(Result::unwrap) {
            points += 1;
            let fields = types.entry(line.series.measurement.to_string()).or_default();
            fields.extend(line.field_set.iter().map(|(key, value)| (key.to_string(), word(value))));
        }
    }
    (types, points)
}

fn word(value: &FieldValue<'_>) -> &'static str {
    match value {
        FieldValue::F64(_) => "float",
        FieldValue::String(_) => "string",
        FieldValue::Boolean(_) => "boolean",
        FieldValue::I64(_) | FieldValue::U64(_) => "integer",
    }
}

#[test]
fn the_documented_scripts_end_in_influxdb_with_their_types() {
    let Some(server) = server() else { return };
    let mut seen = BTreeSet::new();
    for case in ["general_report", "metric_logging_object", "positional_events", "three_events"] {
        server.query("", "DROP DATABASE d");
        server.query("", "CREATE DATABASE d");
        let root = root(&server);
        let (types, points) = expected_types(&root.case(case));
        let agent = root.agent();
        wait_for(&format!("all points of {case}"), || {
            let sink = agent.sink("main");
            if sink["delivered"].as_u64().unwrap() >= points as u64 { Ok(()) } else { Err(format!("{sink:#}")) }
        });
        let measurements: BTreeSet<String> =
            server.query("d", "SHOW MEASUREMENTS").iter().map(|row| row[0].trim_matches('"').to_owned()).collect();
        assert_eq!(measurements, types.keys().cloned().collect(), "{case}");
        for (measurement, fields) in &types {
            let keys = rows(&server, &format!("SHOW FIELD KEYS FROM \"{measurement}\""));
            let found: BTreeMap<String, &str> =
                keys.iter().map(|row| (row[0].as_str().unwrap().to_owned(), row[1].as_str().unwrap())).collect();
            let wanted: BTreeMap<String, &str> = fields.clone();
            assert_eq!(found, wanted, "{case}: {measurement}");
            seen.extend(fields.values().copied());
        }
        assert_eq!(agent.sink("main")["dead"], 0, "{case}");
    }
    assert_eq!(seen, BTreeSet::from(["boolean", "float", "string"]));
}

#[test]
fn a_missing_database_is_said_with_its_cure_and_costs_nothing() {
    let Some(server) = Influxdb::start() else { return };
    let root = root(&server);
    let agent = root.agent();
    assert_eq!(
        agent
            .post("/v1/write/metric?precision=ns", &[("Content-Type", "application/json")], &numbered("a", 0, 500))
            .status,
        200
    );
    let sink = wait_for("the status says misconfigured", || {
        let sink = agent.sink("main");
        if sink["state"] == "misconfigured" { Ok(sink) } else { Err(sink.to_string()) }
    });
    let why = sink["why"].as_str().unwrap();
    assert!(why.contains("database not found: \"d\"") && why.contains("create it with CREATE DATABASE \"d\""), "{why}");
    assert_eq!(sink["behind_points"], 501, "{sink:#}");
    let (_, shown, _) = root.run(&["status"]);
    assert!(shown.contains("CREATE DATABASE"), "{shown}");
    server.query("", "CREATE DATABASE d");
    agent.wait_delivered();
    check_numbers(&server, "a", 500);
    assert_eq!((agent.sink("main")["state"].clone(), root.dead("main").len()), (json!("ok"), 0));
}
