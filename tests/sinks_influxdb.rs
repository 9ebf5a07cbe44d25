//! The InfluxDB sink against a real InfluxDB 1.x.

mod support {
    pub mod influxdb;
    pub mod pipe;
}

use pythond::config::Secret;
use pythond::config::sinks::{InfluxdbApi, SinkSettings};
use pythond::point::Category;
use pythond::sinks::SinkState;
use support::influxdb::Influxdb;
use support::pipe::{self, Pipe};

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("m v={n}.5 {}", n + 1)).collect()
}

/// The values of field `v` of measurement `m`, by time.
fn values(server: &Influxdb) -> Vec<String> {
    server.query("d", "SELECT v FROM m").into_iter().map(|row| row[1].clone()).collect()
}

fn expected(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("{n}.5")).collect()
}

/// A server with the database `d`.
fn server() -> Option<Influxdb> {
    let server = Influxdb::start()?;
    server.query("", "CREATE DATABASE d");
    Some(server)
}

#[tokio::test(flavor = "multi_thread")]
async fn points_arrive_with_their_types_and_times() {
    let Some(server) = server() else { return };
    let pipe = Pipe::new(pipe::influxdb_v1(&server.url(), "d"));
    let line =
        r#"a\ b,t\,1=x\ y f=1.5,i=-7i,u=9u,big=18446744073709551615u,b=true,s="say \"hi\" \\ é" 1700000000000000001"#;
    pipe.put(Category::Metric, &[line]).await;
    pipe.put(Category::Logging, &["log message=\"two\nlines \u{1b}[31mred\" 5"]).await;
    let report = pipe.drain().await;
    assert_eq!((report.delivered, report.dead), (2, 0));
    let rows = server.query("d", r#"SELECT f, i, u, big, b, s, "t,1" FROM "a b""#);
    let expected =
        ["1700000000000000001", "1.5", "-7", "9", "18446744073709552000", "true", r#""say \"hi\" \\ é""#, "\"x y\""];
    assert_eq!(rows.len(), 1);
    for (n, (got, expected)) in rows[0].iter().zip(expected).enumerate() {
        // A JSON float may be written in more than one way.
        let is_same = got == expected || got.parse::<f64>().ok().is_some_and(|got| expected.parse() == Ok(got));
        assert!(is_same, "column {n}: {got}, expected {expected}");
    }
    let logs = server.query("d", "SELECT message FROM log");
    assert_eq!(logs, [["5".to_owned(), "\"two\\nlines \\u001b[31mred\"".to_owned()]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_conflict_buries_exactly_that_point() {
    let Some(server) = server() else { return };
    let pipe = Pipe::new(pipe::influxdb_v1(&server.url(), "d"));
    pipe.put(Category::Metric, &numbered(0..1)).await;
    pipe.drain().await;
    let mut lines = numbered(1..200);
    lines.insert(123, "m v=\"text\" 9000".to_owned());
    pipe.put(Category::Metric, &lines).await;
    let report = pipe.drain().await;
    assert_eq!(pipe.dead_points(), ["m v=\"text\" 9000"]);
    let reason = &pipe.letters()[0].reason;
    assert!(reason.contains("field type conflict") && reason.contains("already exists as type float"), "{reason}");
    assert_eq!((report.delivered, report.dead, values(&server)), (199, 1, expected(0..200)));
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_of_several_fields_are_searched_for() {
    let Some(server) = server() else { return };
    let pipe = Pipe::new(pipe::influxdb_v1(&server.url(), "d"));
    pipe.put(Category::Metric, &["m v=0.5 1", "n w=1i 1"]).await;
    pipe.drain().await;
    let mut lines = numbered(1..100);
    // The server names the last conflict only, and counts both.
    lines.insert(20, "m v=\"text\" 9000".to_owned());
    lines.insert(70, "n w=2.5 9001".to_owned());
    pipe.put(Category::Metric, &lines).await;
    let report = pipe.drain().await;
    assert_eq!(pipe.dead_points(), ["m v=\"text\" 9000", "n w=2.5 9001"]);
    assert_eq!((report.dead, values(&server)), (2, expected(0..100)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_hides_no_other_refusal_of_the_same_request() {
    let Some(server) = server() else { return };
    let pipe = Pipe::new(pipe::influxdb_v1(&server.url(), "d"));
    // Far enough apart for shards of their own: the server tells the conflicts of one shard only.
    let later = 1_700_000_000_000_000_000_u64;
    pipe.put(Category::Metric, &["m v=0.5 1".to_owned(), format!("n w=1i {later}")]).await;
    pipe.drain().await;
    let text = "m v=\"text\" 9000".to_owned();
    let float = format!("n w=2.5 {}", later + 1);
    let nonsense = "m v=nonsense 9001".to_owned();
    let mut lines = numbered(1..100);
    for (at, bad) in [(20, &text), (50, &float), (70, &nonsense)] {
        lines.insert(at, bad.clone());
    }
    pipe.put(Category::Metric, &lines).await;
    let report = pipe.drain().await;
    let mut dead = pipe.dead_points();
    dead.sort();
    assert_eq!(dead, [text, nonsense, float]);
    assert_eq!((report.delivered, report.dead, values(&server)), (99, 3, expected(0..100)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_cannot_be_parsed_is_buried_though_its_control_bytes_spoil_the_answer() {
    let Some(server) = server() else { return };
    let pipe = Pipe::new(pipe::influxdb_v1(&server.url(), "d"));
    for (n, control) in ["\u{1b}[31m", "\u{1}", "\u{7f}", "\0"].iter().enumerate() {
        let bad = format!("m,tag=red{control} v=nonsense 7");
        let mut lines = numbered(n * 10..n * 10 + 10);
        lines.insert(5, bad.clone());
        pipe.put(Category::Metric, &lines).await;
        pipe.drain().await;
        assert_eq!(pipe.dead_points().last(), Some(&bad), "{control:?}");
    }
    assert_eq!((pipe.letters().len(), values(&server)), (4, expected(0..40)));
}

#[tokio::test(flavor = "multi_thread")]
async fn points_beyond_the_retention_policy_are_buried() {
    let Some(server) = server() else { return };
    server.query("", "CREATE RETENTION POLICY hour ON d DURATION 1h REPLICATION 1");
    let now = jiff::Timestamp::now().as_nanosecond();
    let api = InfluxdbApi::V1 { database: "d".to_owned(), retention_policy: Some("hour".to_owned()), login: None };
    let pipe = Pipe::new(pipe::influxdb(&server.url(), api));
    let old = "m v=1.5 1000".to_owned();
    pipe.put(Category::Metric, &[format!("m v=0.5 {now}"), old.clone(), format!("m v=1.5 {}", now + 1)]).await;
    let report = pipe.drain().await;
    assert_eq!((report.delivered, pipe.dead_points()), (2, vec![old]));
    assert!(pipe.letters()[0].reason.contains("points beyond retention policy"));
    assert_eq!(server.query("d", "SELECT v FROM hour.m").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_database_loses_nothing_and_is_said_with_its_cure() {
    let Some(server) = Influxdb::start() else { return };
    let pipe = Pipe::new(pipe::influxdb_v1(&server.url(), "d"));
    pipe.put(Category::Metric, &numbered(0..50)).await;
    let pump = pipe.start();
    pump.until_state(SinkState::Misconfigured).await;
    let why = pump.report().last_error.unwrap().1;
    assert!(why.contains("database not found: \"d\"") && why.contains("CREATE DATABASE \"d\""), "{why}");
    assert_eq!(pipe.behind(), 50);
    server.query("", "CREATE DATABASE d");
    // The same pump, by itself: within a minute.
    pump.until_empty().await;
    let report = pump.end().await;
    assert_eq!((report.state, report.delivered, report.dead), (SinkState::Ok, 50, 0));
    assert_eq!(values(&server), expected(0..50));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_retention_policy_loses_nothing() {
    let Some(server) = server() else { return };
    let api = InfluxdbApi::V1 { database: "d".to_owned(), retention_policy: Some("week".to_owned()), login: None };
    let pipe = Pipe::new(pipe::influxdb(&server.url(), api));
    pipe.put(Category::Metric, &numbered(0..2)).await;
    let pump = pipe.start();
    pump.until_state(SinkState::Misconfigured).await;
    let report = pump.end().await;
    assert!(report.last_error.unwrap().1.contains("retention policy not found: week"));
    assert_eq!((report.dead, pipe.behind()), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_used_and_a_wrong_one_loses_nothing() {
    let Some(server) = Influxdb::start_with_login("admin", "right") else { return };
    server.query("", "CREATE DATABASE d");
    let settings = |password: &str| {
        let login = Some(("admin".to_owned(), Secret::new(password)));
        let api = InfluxdbApi::V1 { database: "d".to_owned(), retention_policy: None, login };
        pipe::influxdb(&server.url(), api)
    };
    let mut pipe = Pipe::new(settings("wrong"));
    pipe.put(Category::Metric, &numbered(0..20)).await;
    let pump = pipe.start();
    pump.until_state(SinkState::Misconfigured).await;
    let report = pump.end().await;
    let why = report.last_error.unwrap().1;
    assert!(why.contains("authorization failed") && !why.contains("wrong"), "{why}");
    assert_eq!((report.dead, pipe.behind()), (0, 20));
    pipe.settings = settings("right");
    pipe.drain().await;
    assert_eq!(values(&server), expected(0..20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_for_a_while_gets_everything_in_order() {
    let Some(mut server) = server() else { return };
    let settings = SinkSettings { max_batch: 200, ..pipe::influxdb_v1(&server.url(), "d") };
    let pipe = Pipe::new(settings);
    let pump = pipe.start();
    for n in 0..20 {
        pipe.put(Category::Metric, &numbered(n * 5..n * 5 + 5)).await;
    }
    pump.until("something is delivered", |report| report.delivered > 0).await;
    server.down();
    for n in 20..40 {
        pipe.put(Category::Metric, &numbered(n * 5..n * 5 + 5)).await;
    }
    pump.until_state(SinkState::Down).await;
    server.up();
    pump.until_empty().await;
    let report = pump.end().await;
    assert_eq!((report.state, report.delivered, report.dead), (SinkState::Ok, 200, 0));
    assert!(report.retries > 0);
    assert_eq!(values(&server), expected(0..200));
}
