//! What every sink kind promises, checked for all kinds alike.

mod support {
    pub mod far_end;
    pub mod pipe;
    pub mod wire_end;
}

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use pythond::buffer::Position;
use pythond::config::Secret;
use pythond::config::sinks::{
    GreptimedbSink, HttpSettings, InfluxdbApi, Login, NatsSink, QuestdbSink, SinkKind, SinkSettings, SocketAddress,
    SocketSink, TelegrafSink, VictoriametricsSink,
};
use pythond::glob::Glob;
use pythond::point::Category;
use pythond::sinks::{self, Batch, SinkState, Verdict};
use support::far_end::{FarEnd, Reply, Request};
use support::pipe::{self, Pipe};
use support::wire_end::{Said, WireEnd};

const SECRET: &str = "s3cret-t0ken";

/// A kind that talks HTTP.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    InfluxdbV1,
    InfluxdbV2,
    InfluxdbV3,
    Dataway,
    Victoriametrics,
    Questdb,
    Telegraf,
    Greptimedb,
}

const KINDS: [Kind; 8] = [
    Kind::InfluxdbV1,
    Kind::InfluxdbV2,
    Kind::InfluxdbV3,
    Kind::Dataway,
    Kind::Victoriametrics,
    Kind::Questdb,
    Kind::Telegraf,
    Kind::Greptimedb,
];

impl Kind {
    fn settings(self, url: &str) -> SinkSettings {
        let (database, token) = ("d".to_owned(), Some(Secret::new(SECRET)));
        match self {
            Self::InfluxdbV1 => {
                let login = Some(("user".to_owned(), Secret::new(SECRET)));
                pipe::influxdb(url, InfluxdbApi::V1 { database, retention_policy: None, login })
            }
            Self::InfluxdbV2 => {
                pipe::influxdb(url, InfluxdbApi::V2 { org: "o".to_owned(), bucket: "b".to_owned(), token })
            }
            Self::InfluxdbV3 => pipe::influxdb(url, InfluxdbApi::V3 { database, token }),
            Self::Dataway => pipe::dataway(url, SECRET),
            Self::Victoriametrics => {
                let login = Login::Token(Secret::new(SECRET));
                let extra_labels = vec![("dc".to_owned(), "a b".to_owned())];
                let kind = VictoriametricsSink { http: HttpSettings { login, ..http(url) }, extra_labels };
                pipe::settings(SinkKind::Victoriametrics(kind))
            }
            Self::Questdb => {
                let login = Login::Token(Secret::new(SECRET));
                pipe::settings(SinkKind::Questdb(QuestdbSink::Http(HttpSettings { login, ..http(url) })))
            }
            Self::Telegraf => {
                let http = HttpSettings { login: password(), ..http(url) };
                pipe::settings(SinkKind::Telegraf(TelegrafSink {
                    http,
                    database: Some(database),
                    retention_policy: None,
                }))
            }
            Self::Greptimedb => {
                let http = HttpSettings { login: password(), ..http(url) };
                pipe::settings(SinkKind::Greptimedb(GreptimedbSink { http, database }))
            }
        }
    }

    /// What of these lines the far end is sent.
    fn sent(self, lines: &[String]) -> Vec<String> {
        let without_strings = |line: &String| match (line.find("message="), line.find("n=")) {
            (Some(from), Some(to)) if self == Self::Victoriametrics => format!("{}{}", &line[..from], &line[to..]),
            _ => line.clone(),
        };
        lines.iter().map(without_strings).collect()
    }

    fn trust(self, settings: &mut SinkSettings, file: &Path) {
        let ca_file = Some(file.to_owned());
        match &mut settings.kind {
            SinkKind::Influxdb(kind) => kind.ca_file = ca_file,
            SinkKind::Dataway(kind) => kind.ca_file = ca_file,
            SinkKind::Victoriametrics(kind) => kind.http.ca_file = ca_file,
            SinkKind::Questdb(QuestdbSink::Http(http)) => http.ca_file = ca_file,
            SinkKind::Telegraf(kind) => kind.http.ca_file = ca_file,
            SinkKind::Greptimedb(kind) => kind.http.ca_file = ca_file,
            other => panic!("{self:?} does not speak HTTP: {other:?}"),
        }
    }

    /// How this far end refuses lines that begin with `bad`, as the real one does.
    fn refuse(self, request: &Request) -> Reply {
        let lines = request.lines();
        let bad: Vec<(usize, &String)> = lines.iter().enumerate().filter(|(_, line)| line.starts_with("bad")).collect();
        let Some((_, first)) = bad.first() else { return Reply::status(204) };
        match self {
            Self::InfluxdbV1 => {
                let named: Vec<String> = bad.iter().map(|(_, line)| format!("unable to parse '{line}': no")).collect();
                let message = match bad.len() == lines.len() {
                    true => named.join("\n"),
                    false => format!("partial write: {} dropped=0", named.join("\n")),
                };
                Reply::body(400, serde_json::json!({ "error": message }).to_string())
            }
            Self::InfluxdbV2 => {
                let message = format!("unable to parse '{first}': no");
                Reply::body(400, serde_json::json!({ "code": "invalid", "message": message }).to_string())
            }
            Self::InfluxdbV3 => {
                let data = bad.iter().map(|(n, line)| serde_json::json!({ "original_line": line, "line_number": n + 1, "error_message": "no" }));
                let error = "partial write of line protocol occurred";
                Reply::body(400, serde_json::json!({ "error": error, "data": data.collect::<Vec<_>>() }).to_string())
            }
            Self::Dataway => Reply::body(400, r#"{"error_code":"invalid","message":"invalid point"}"#),
            Self::Victoriametrics => {
                let rest = lines[bad[0].0..].join("\n") + "\n";
                Reply::body(
                    400,
                    format!("cannot process influx line protocol data: incorrect influx line {rest:?}: no"),
                )
            }
            Self::Questdb => {
                let line = bad[0].0 + 1;
                let message =
                    format!("failed to parse line protocol:errors encountered on line(s):\nerror in line {line}: no");
                Reply::body(400, serde_json::json!({ "code": "invalid", "message": message, "line": line }).to_string())
            }
            Self::Telegraf => {
                let others = match bad.len() - 1 {
                    0 => String::new(),
                    1 => " (and 1 other parse error)".to_owned(),
                    n => format!(" (and {n} other parse errors)"),
                };
                let error = format!("metric parse error: no at {}:7: {first:?}{others}", bad[0].0 + 1);
                Reply::body(400, serde_json::json!({ "error": error }).to_string())
            }
            Self::Greptimedb => {
                Reply::body(400, r#"{"code":1004,"error":"Failed to parse: no","execution_time_ms":0}"#)
            }
        }
    }
}

fn http(url: &str) -> HttpSettings {
    HttpSettings::default_of(url)
}

fn password() -> Login {
    Login::Password("user".to_owned(), Secret::new(SECRET))
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("m,tag=a v={n} {n}")).collect()
}

fn batch(lines: &[String]) -> Batch {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Batch::new(Category::Metric, Position { seq: 7, lines: 0 }, "in/script", Bytes::from(text))
}

/// What one delivery of two lines gives.
async fn verdict(settings: &SinkSettings) -> Verdict {
    deliver(settings, &batch(&numbered(0..2))).await
}

async fn deliver(settings: &SinkSettings, batch: &Batch) -> Verdict {
    let mut sink = sinks::build(settings).unwrap();
    sink.deliver(batch).await
}

fn why(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::TryAgain { why, .. }
        | Verdict::Misconfigured { why }
        | Verdict::Refused { why }
        | Verdict::TooLarge { why } => why,
        Verdict::KeptExcept(lines) | Verdict::RefusedPart(lines) => &lines[0].1,
        Verdict::Kept | Verdict::Nothing => "",
    }
}

/// The lines that a far end kept, of one category where the URL tells it.
fn kept(far_end: &FarEnd, category: Category) -> Vec<String> {
    let requests = far_end.accepted().into_iter();
    let of_category = requests.filter(|request| {
        !request.target.starts_with("/v1/write/") || request.target.contains(&format!("/{}?", category.as_str()))
    });
    let prefix = if category == Category::Metric { "m," } else { "log," };
    of_category.flat_map(|request| request.lines()).filter(|line| line.starts_with(prefix)).collect()
}

fn read_lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

/// Forty records of two categories, mixed.
async fn fill(pipe: &Pipe) -> (Vec<String>, Vec<String>) {
    let metrics = numbered(0..60);
    let logs: Vec<String> = (0..20).map(|n| format!("log,tag=a message=\"line {n}\",n={n} {n}")).collect();
    for n in 0..20 {
        pipe.put(Category::Metric, &metrics[n * 3..n * 3 + 3]).await;
        pipe.put(Category::Logging, &logs[n..=n]).await;
    }
    (metrics, logs)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_takes_all_lines_in_order() {
    for kind in KINDS {
        let far_end = FarEnd::start(|_, _| Reply::status(204)).await;
        let pipe = Pipe::new(SinkSettings { max_batch: 300, ..kind.settings(&far_end.url()) });
        let (metrics, logs) = fill(&pipe).await;
        let report = pipe.drain().await;
        assert_eq!(kept(&far_end, Category::Metric), metrics, "{kind:?}");
        assert_eq!(kept(&far_end, Category::Logging), kind.sent(&logs), "{kind:?}");
        assert_eq!((report.delivered, report.dead, report.retries), (80, 0, 0), "{kind:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    let pipe = Pipe::new(SinkSettings { max_batch: 300, ..pipe::file(dir.path()) });
    let (metrics, logs) = fill(&pipe).await;
    assert_eq!(pipe.drain().await.delivered, 80);
    assert_eq!(read_lines(&dir.path().join("metric.lp")), metrics);
    assert_eq!(read_lines(&dir.path().join("logging.lp")), logs);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_keeps_everything_while_the_far_end_is_away() {
    for kind in KINDS {
        let far_end = FarEnd::start(|_, n| match n {
            0 => Reply::status(503),
            1 => Reply::Cut,
            2 => Reply::CutAfter(b"HTTP/1.1 204 N".to_vec()),
            _ => Reply::status(204),
        })
        .await;
        let pipe = Pipe::new(kind.settings(&far_end.url()));
        let (metrics, logs) = fill(&pipe).await;
        let report = pipe.drain().await;
        assert_eq!(kept(&far_end, Category::Metric), metrics, "{kind:?}");
        assert_eq!(kept(&far_end, Category::Logging), kind.sent(&logs), "{kind:?}");
        assert_eq!((report.delivered, report.dead, report.retries), (80, 0, 3), "{kind:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    let blocker = dir.path().join("metric.lp");
    std::fs::create_dir(&blocker).unwrap();
    let pipe = Pipe::new(pipe::file(dir.path()));
    let (metrics, logs) = fill(&pipe).await;
    let pump = pipe.start();
    pump.until_state(SinkState::Down).await;
    std::fs::remove_dir(&blocker).unwrap();
    pump.until_empty().await;
    let _ = pump.end().await;
    assert_eq!(read_lines(&blocker), metrics);
    assert_eq!(read_lines(&dir.path().join("logging.lp")), logs);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_buries_the_refused_points_and_keeps_the_rest() {
    for kind in KINDS {
        let far_end = FarEnd::start(move |request, _| kind.refuse(request)).await;
        let pipe = Pipe::new(kind.settings(&far_end.url()));
        let mut lines = numbered(0..40);
        lines.insert(0, "bad v=1 1".to_owned());
        lines.insert(23, "bad v=2 2".to_owned());
        lines.push("bad v=3 3".to_owned());
        pipe.put(Category::Metric, &lines).await;
        let report = pipe.drain().await;
        assert_eq!(pipe.dead_points(), ["bad v=1 1", "bad v=2 2", "bad v=3 3"], "{kind:?}");
        assert_eq!((report.delivered, report.dead), (40, 3), "{kind:?}");
        let told = report.refused.get("in/script").map(|refused| (refused.points, refused.why.is_empty()));
        assert_eq!(told, Some((3, false)), "{kind:?}");
        let letter = pipe.letters().remove(0);
        assert_eq!((letter.category.as_deref(), letter.source.as_str()), (Some("metric"), "in/script"), "{kind:?}");
        assert!(letter.reason.starts_with("HTTP 400") || letter.reason.contains("no"), "{kind:?}: {}", letter.reason);
        // The others have written the good points of a request that they answered with 400.
        if [Kind::InfluxdbV2, Kind::Dataway, Kind::Victoriametrics, Kind::Questdb, Kind::Greptimedb].contains(&kind) {
            assert_eq!(kept(&far_end, Category::Metric), numbered(0..40), "{kind:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_keeps_everything_while_it_is_misconfigured() {
    for kind in KINDS {
        for status in [401, 403, 404] {
            let far_end = FarEnd::start(move |_, _| Reply::body(status, r#"{"error":"not you"}"#)).await;
            let pipe = Pipe::new(kind.settings(&far_end.url()));
            let (metrics, _) = fill(&pipe).await;
            let pump = pipe.start();
            pump.until_state(SinkState::Misconfigured).await;
            let report = pump.end().await;
            assert_eq!((report.delivered, report.dead, pipe.behind()), (0, 0, 80), "{kind:?} {status}");
            assert!(report.last_error.unwrap().1.contains("not you"));
            far_end.turn(|_, _| Reply::status(204));
            pipe.drain().await;
            assert_eq!(kept(&far_end, Category::Metric), metrics, "{kind:?} {status}");
        }
    }
}

/// The table of what counts as kept in `docs/sinks.md`, and what else may come in place of it.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_takes_for_kept_only_what_its_server_documents() {
    let page = "<html>please log in</html>";
    for kind in KINDS {
        let is_kept = |status| status == 204 || kind == Kind::Dataway && [200, 201, 202].contains(&status);
        for status in [200, 201, 202, 204, 206, 207] {
            let far_end = FarEnd::start(move |_, _| Reply::status(status)).await;
            let verdict = verdict(&kind.settings(&far_end.url())).await;
            match &verdict {
                Verdict::Kept => assert!(is_kept(status), "{kind:?} {status}"),
                Verdict::Misconfigured { .. } => assert!(!is_kept(status), "{kind:?} {status}: {verdict:?}"),
                _ => panic!("{kind:?} {status}: {verdict:?}"),
            }
        }
        for (status, of) in
            [(200, "Content-Type: text/html; charset=utf-8"), (200, "X-Of: a portal"), (400, "Content-Type: text/html")]
        {
            let far_end = FarEnd::start(move |_, _| Reply::body(status, page).with_header(of)).await;
            let pipe = Pipe::new(kind.settings(&far_end.url()));
            let (metrics, _) = fill(&pipe).await;
            let pump = pipe.start();
            pump.until_state(SinkState::Misconfigured).await;
            let report = pump.end().await;
            assert_eq!((report.delivered, report.dead, pipe.behind()), (0, 0, 80), "{kind:?} {status} {of}");
            let why = report.last_error.unwrap().1;
            assert!(why.contains(": please log in (") && why.contains("something else than the server"), "{why}");
            far_end.turn(|_, _| Reply::status(204));
            pipe.drain().await;
            assert_eq!(kept(&far_end, Category::Metric), metrics, "{kind:?} {status} {of}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_reads_an_answer_with_an_invalid_header() {
    for kind in KINDS {
        let bad = b"X-Influxdb-Error: \x1b[31mred\x01\x7f".as_slice();
        let far_end = FarEnd::start(move |_, _| Reply::body(400, r#"{"error":"nonsense"}"#).with_header(bad)).await;
        let verdict = verdict(&kind.settings(&far_end.url())).await;
        assert!(matches!(&verdict, Verdict::Refused { why } if why.contains("nonsense")), "{kind:?}: {verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kind_tries_for_ever_what_spoils_the_answer() {
    for kind in KINDS {
        let spoiled = |request: &Request, _: usize| match request.text().contains("bad") {
            true => Reply::body(400, "").with_header(b"X-Influxdb-Error: bad\x00".as_slice()),
            false => Reply::status(204),
        };
        let far_end = FarEnd::start(spoiled).await;
        let pipe = Pipe::new(kind.settings(&far_end.url()));
        let mut lines = numbered(0..40);
        lines.insert(23, "bad v=2 2".to_owned());
        pipe.put(Category::Metric, &lines).await;
        assert_eq!(pipe.drain().await.delivered, 40, "{kind:?}");
        assert_eq!(pipe.dead_points(), ["bad v=2 2"], "{kind:?}");
        assert_eq!(kept(&far_end, Category::Metric), numbered(0..40), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_reads_only_the_beginning_of_a_huge_answer() {
    for kind in KINDS {
        let body = [br#"{"error":"nonsense "#.as_slice(), &vec![b'x'; 64 << 20]].concat();
        let far_end = FarEnd::start(move |_, _| Reply::body(400, body.clone())).await;
        let verdict = verdict(&kind.settings(&far_end.url())).await;
        let is_short = |why: &str| why.starts_with("HTTP 400") && why.len() < 2000;
        assert!(matches!(&verdict, Verdict::Refused { why } if is_short(why)), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_passes_on_the_wish_for_patience() {
    for kind in KINDS {
        for status in [429, 503] {
            let far_end = FarEnd::start(move |_, _| Reply::status(status).with_header("Retry-After: 77")).await;
            let verdict = verdict(&kind.settings(&far_end.url())).await;
            let wish = Duration::from_secs(77);
            assert!(matches!(verdict, Verdict::TryAgain { after: Some(after), .. } if after == wish), "{verdict:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kind_follows_a_redirect() {
    let other = FarEnd::start(|_, _| Reply::status(204)).await;
    let location = format!("Location: {}/elsewhere", other.url());
    for kind in KINDS {
        let header = location.clone();
        let far_end = FarEnd::start(move |_, _| Reply::status(307).with_header(&header)).await;
        let verdict = verdict(&kind.settings(&far_end.url())).await;
        assert!(matches!(verdict, Verdict::Misconfigured { .. }), "{kind:?}: {verdict:?}");
    }
    assert!(other.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_reads_an_answer_that_comes_before_the_body_is_read() {
    for kind in KINDS {
        let far_end = FarEnd::that_reads_at_most(1 << 20).await;
        // More than the sockets between can hold.
        let long = "x".repeat(100);
        let large = batch(&(0..200_000).map(|n| format!("m,{long}=t v={n} 1")).collect::<Vec<_>>());
        let verdict = deliver(&kind.settings(&far_end.url()), &large).await;
        assert!(matches!(verdict, Verdict::TooLarge { .. }), "{kind:?}: {verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_finds_the_size_that_is_taken() {
    for kind in KINDS {
        let far_end = FarEnd::that_reads_at_most(400).await;
        let pipe = Pipe::new(kind.settings(&far_end.url()));
        let (metrics, logs) = fill(&pipe).await;
        pipe.drain().await;
        assert_eq!(kept(&far_end, Category::Metric), metrics, "{kind:?}");
        assert_eq!(kept(&far_end, Category::Logging), kind.sent(&logs), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_gives_up_on_silence_and_tries_again() {
    for kind in KINDS {
        let far_end = FarEnd::start(|_, _| Reply::Silence).await;
        let settings = SinkSettings { timeout: Duration::from_millis(200), ..kind.settings(&far_end.url()) };
        let verdict = verdict(&settings).await;
        assert!(matches!(&verdict, Verdict::TryAgain { why, .. } if why.contains("no answer within")), "{verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_waits_for_a_slow_answer() {
    for kind in KINDS {
        let far_end = FarEnd::start(|_, _| Reply::status(204).after(Duration::from_millis(300))).await;
        assert_eq!(verdict(&kind.settings(&far_end.url())).await, Verdict::Kept);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kind_tells_a_secret() {
    for kind in KINDS {
        let echo = |request: &Request, _: usize| {
            let login = request.header("authorization").unwrap_or_default();
            Reply::body(401, format!(r#"{{"error":"bad {login} {} {SECRET}"}}"#, request.target))
        };
        let far_end = FarEnd::start(echo).await;
        let settings = kind.settings(&far_end.url());
        let nobody = kind.settings("http://127.0.0.1:1");
        for verdict in [verdict(&settings).await, verdict(&nobody).await] {
            assert!(!why(&verdict).is_empty() && !why(&verdict).contains(SECRET), "{kind:?}: {verdict:?}");
        }
        assert!(!format!("{settings:?}").contains(SECRET), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_sends_gzip_beyond_the_machine_until_it_is_not_taken() {
    for kind in KINDS {
        let far_end = FarEnd::start(|request, _| match request.header("content-encoding") {
            Some("gzip") => Reply::status(415),
            _ => Reply::status(204),
        })
        .await;
        // The same machine, by an address that does not say so.
        let url = format!("http://[::ffff:127.0.0.1]:{}", far_end.address.port());
        let mut sink = sinks::build(&kind.settings(&url)).unwrap();
        let lines = batch(&numbered(0..2));
        assert!(
            matches!(sink.deliver(&lines).await, Verdict::TryAgain { after: Some(Duration::ZERO), .. }),
            "{kind:?}"
        );
        assert_eq!(sink.deliver(&lines).await, Verdict::Kept, "{kind:?}");
        let requests = far_end.requests();
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&requests[0].body[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!((unpacked.as_slice(), requests[1].body.as_slice()), (&*lines.text(), &*lines.text()), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_asks_as_its_far_end_wants_it() {
    let far_end = FarEnd::start(|_, _| Reply::status(204)).await;
    for kind in KINDS {
        let _ = verdict(&kind.settings(&far_end.url())).await;
    }
    let requests = far_end.requests();
    let asked: Vec<_> =
        requests.iter().map(|request| (request.target.as_str(), request.header("authorization"))).collect();
    let expected = [
        // "user:s3cret-t0ken"
        ("/write?db=d&precision=ns", Some("Basic dXNlcjpzM2NyZXQtdDBrZW4=")),
        ("/api/v2/write?org=o&bucket=b&precision=ns", Some("Token s3cret-t0ken")),
        ("/api/v3/write_lp?db=d&precision=nanosecond&accept_partial=true", Some("Bearer s3cret-t0ken")),
        ("/v1/write/metric?token=s3cret-t0ken", None),
        ("/write?precision=ns&extra_label=dc%3Da+b", Some("Bearer s3cret-t0ken")),
        ("/write?precision=n", Some("Bearer s3cret-t0ken")),
        ("/write?db=d&precision=ns", Some("Basic dXNlcjpzM2NyZXQtdDBrZW4=")),
        ("/v1/influxdb/write?db=d&precision=ns", Some("Basic dXNlcjpzM2NyZXQtdDBrZW4=")),
    ];
    assert_eq!(asked, expected);
    let agent = format!("pythond/{}", env!("CARGO_PKG_VERSION"));
    assert!(requests.iter().all(|request| request.method == "POST" && request.header("user-agent") == Some(&agent)));
    assert!(requests.iter().all(|request| request.body == batch(&numbered(0..2)).text()));
}

#[tokio::test(flavor = "multi_thread")]
async fn unsigned_integers_go_to_influxdb_1_as_integers_and_their_refusal_is_understood() {
    let lines = ["m v=1u 1".to_owned(), "m v=2u,bad=3i 2".to_owned()];
    let refuse = |request: &Request, _: usize| {
        assert_eq!(request.text(), "m v=1i 1\nm v=2i,bad=3i 2\n");
        let message = "partial write: unable to parse 'm v=2i,bad=3i 2': no dropped=0";
        Reply::body(400, serde_json::json!({ "error": message }).to_string())
    };
    let far_end = FarEnd::start(refuse).await;
    let verdict = deliver(&Kind::InfluxdbV1.settings(&far_end.url()), &batch(&lines)).await;
    assert!(
        matches!(&verdict, Verdict::RefusedPart(refused) if refused.len() == 1 && refused[0].0 == 1),
        "{verdict:?}"
    );
    let far_end = FarEnd::start(|_, _| Reply::status(204)).await;
    let _ = deliver(&Kind::InfluxdbV2.settings(&far_end.url()), &batch(&lines)).await;
    assert_eq!(far_end.requests()[0].text(), "m v=1u 1\nm v=2u,bad=3i 2\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_kind_cannot_hold_is_left_out_and_counted_once() {
    // The first answer makes the same batch go again, which must not count twice.
    let far_end = FarEnd::start(|_, n| Reply::status(if n == 0 { 503 } else { 204 })).await;
    let pipe = Pipe::new(Kind::Victoriametrics.settings(&far_end.url()));
    pipe.put(Category::Metric, &["m s=\"x\",v=1,t=\"y\" 1", "m v=2 2"]).await;
    pipe.put(Category::Logging, &["log message=\"two\nlines\" 3"]).await;
    let report = pipe.drain().await;
    assert_eq!(far_end.accepted()[0].text(), "m v=1 1\nm v=2 2\n");
    assert_eq!(report.dropped_fields.into_iter().collect::<Vec<_>>(), [("string", 3)]);
    assert_eq!(report.dead, 0);
    let text = pipe.counters_text();
    assert!(text.contains("pythond_sink_dropped_fields_total{sink=\"main\",reason=\"string\"} 3"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_measurements_that_are_wanted_are_sent() {
    let far_end = FarEnd::start(|_, _| Reply::status(204)).await;
    let measurements = Some(vec![Glob::new("cpu*"), Glob::new("mem")]);
    for kind in KINDS {
        let before = far_end.requests().len();
        let pipe = Pipe::new(SinkSettings { measurements: measurements.clone(), ..kind.settings(&far_end.url()) });
        pipe.put(Category::Metric, &["cpu v=1 1", "disk v=2 2", "cpu_total v=3 3"]).await;
        pipe.put(Category::Metric, &["disk v=4 4"]).await;
        pipe.put(Category::Metric, &["mem v=5 5", "memory v=6 6"]).await;
        assert_eq!((pipe.drain().await.delivered, pipe.behind()), (3, 0), "{kind:?}");
        let lines: Vec<String> = far_end.requests()[before..].iter().flat_map(Request::lines).collect();
        assert_eq!(lines, ["cpu v=1 1", "cpu_total v=3 3", "mem v=5 5"], "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn https_needs_a_certificate_that_the_ca_file_knows() {
    let known = tls_far_end().await;
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, &known.1).unwrap();
    for kind in KINDS {
        let mut settings = kind.settings(&known.0);
        kind.trust(&mut settings, &ca_file);
        assert_eq!(verdict(&settings).await, Verdict::Kept, "{kind:?}");
        let stranger = tls_far_end().await;
        let mut other = kind.settings(&stranger.0);
        kind.trust(&mut other, &ca_file);
        let verdict = verdict(&other).await;
        assert!(
            matches!(&verdict, Verdict::TryAgain { why, .. } if why.contains("certificate")),
            "{kind:?}: {verdict:?}"
        );
    }
}

/// A far end behind TLS that keeps everything: its URL, and its certificate as PEM.
async fn tls_far_end() -> (String, String) {
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut block = [0; 64 * 1024];
            let _ = stream.read(&mut block).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    });
    (url, made.cert.pem())
}

// --- kinds that do not speak HTTP ---

/// A kind with a wire of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wire {
    QuestdbTcp,
    Tcp,
    Unix,
    Udp,
    UnixDatagram,
    Nats,
}

const WIRES: [Wire; 6] = [Wire::QuestdbTcp, Wire::Tcp, Wire::Unix, Wire::Udp, Wire::UnixDatagram, Wire::Nats];

impl Wire {
    /// Where a far end of this kind listens, in a folder of its own.
    fn address(self, dir: &Path) -> SocketAddress {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        match self {
            Self::QuestdbTcp | Self::Tcp | Self::Nats => SocketAddress::Tcp(address),
            Self::Udp => SocketAddress::Udp(address),
            Self::Unix => SocketAddress::Unix(dir.join("socket")),
            Self::UnixDatagram => SocketAddress::UnixDatagram(dir.join("socket")),
        }
    }

    fn settings(self, address: &SocketAddress) -> SinkSettings {
        let tcp = match address {
            SocketAddress::Tcp(address) => address.clone(),
            _ => String::new(),
        };
        let settings = pipe::settings(match self {
            Self::QuestdbTcp => SinkKind::Questdb(QuestdbSink::Tcp { address: tcp }),
            Self::Nats => SinkKind::Nats(NatsSink {
                address: tcp,
                subject: "lp.{category}".to_owned(),
                id: "web01".to_owned(),
                login: password(),
            }),
            _ => SinkKind::Socket(SocketSink { address: address.clone(), max_datagram: 200 }),
        });
        SinkSettings { max_batch: 300, ..settings }
    }

    async fn far_end(self, address: &SocketAddress) -> WireEnd {
        match self {
            Self::Nats => WireEnd::nats(address, |_, _| Said::Kept).await,
            _ => WireEnd::start(address).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wire_takes_all_lines_in_order() {
    for wire in WIRES {
        let dir = tempfile::tempdir().unwrap();
        let address = wire.address(dir.path());
        let far_end = wire.far_end(&address).await;
        let pipe = Pipe::new(wire.settings(&address));
        let (metrics, logs) = fill(&pipe).await;
        let report = pipe.drain().await;
        far_end.wait_for_lines(80).await;
        assert_eq!(far_end.lines("m,"), metrics, "{wire:?}");
        assert_eq!(far_end.lines("log,"), logs, "{wire:?}");
        assert_eq!((report.delivered, report.dead, report.retries), (80, 0, 0), "{wire:?}");
        if matches!(wire, Wire::Udp | Wire::UnixDatagram) {
            let sizes: Vec<usize> = far_end.pieces().iter().map(Vec::len).collect();
            assert!(sizes.iter().all(|size| (1..=200).contains(size)) && sizes.len() < 40, "{sizes:?}");
            assert!(far_end.pieces().iter().all(|datagram| datagram.ends_with(b"\n")));
        }
    }
}

/// Not `udp`: nobody says that nobody listens before the first datagram is gone.
#[tokio::test(flavor = "multi_thread")]
async fn every_wire_keeps_everything_while_the_far_end_is_away() {
    for wire in WIRES.into_iter().filter(|wire| *wire != Wire::Udp) {
        let dir = tempfile::tempdir().unwrap();
        let address = wire.address(dir.path());
        let pipe = Pipe::new(wire.settings(&address));
        let (metrics, logs) = fill(&pipe).await;
        let pump = pipe.start();
        pump.until_state(SinkState::Down).await;
        assert_eq!(pipe.behind(), 80, "{wire:?}");
        let far_end = wire.far_end(&address).await;
        pump.until_empty().await;
        far_end.wait_for_lines(80).await;
        assert_eq!((far_end.lines("m,"), far_end.lines("log,")), (metrics, logs), "{wire:?}");
        assert_eq!(pump.end().await.dead, 0, "{wire:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wire_whose_far_end_starts_anew_is_connected_again() {
    for wire in WIRES.into_iter().filter(|wire| *wire != Wire::Udp) {
        let dir = tempfile::tempdir().unwrap();
        let address = wire.address(dir.path());
        let pipe = Pipe::new(wire.settings(&address));
        let pump = pipe.start();
        for round in 0..3 {
            let far_end = wire.far_end(&address).await;
            let lines = numbered(round * 10..round * 10 + 10);
            pipe.put(Category::Metric, &lines).await;
            pump.until_empty().await;
            far_end.wait_for_lines(10).await;
            assert_eq!(far_end.lines("m,"), lines, "{wire:?}");
            far_end.end().await;
        }
        let report = pump.end().await;
        assert_eq!((report.delivered, report.dead), (30, 0), "{wire:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_stays_one_line_on_every_bare_socket() {
    let line = "log message=\"two\nlines \\\\n \\\"quoted\\\"\" 1".to_owned();
    for wire in [Wire::Tcp, Wire::Unix, Wire::Udp, Wire::UnixDatagram] {
        let dir = tempfile::tempdir().unwrap();
        let address = wire.address(dir.path());
        let far_end = wire.far_end(&address).await;
        assert_eq!(deliver(&wire.settings(&address), &batch(std::slice::from_ref(&line))).await, Verdict::Kept);
        far_end.wait_for_lines(1).await;
        assert_eq!(far_end.lines("log"), [r#"log message="two\nlines \\n \"quoted\"" 1"#], "{wire:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_no_datagram_can_hold_is_buried_and_costs_no_other() {
    let long = format!("m v=1,{}=2 1", "x".repeat(70_000));
    let far_too_long = format!("m v=1,{}=2 1", "x".repeat(8 << 20));
    for (wire, long) in [(Wire::Udp, long), (Wire::UnixDatagram, far_too_long)] {
        let dir = tempfile::tempdir().unwrap();
        let address = wire.address(dir.path());
        let far_end = wire.far_end(&address).await;
        let pipe = Pipe::new(wire.settings(&address));
        let lines = numbered(0..10);
        pipe.put(Category::Metric, &[&lines[..5], std::slice::from_ref(&long), &lines[5..]].concat()).await;
        let report = pipe.drain().await;
        far_end.wait_for_lines(10).await;
        assert_eq!((far_end.lines("m,"), report.delivered), (lines, 10), "{wire:?}");
        assert_eq!(pipe.dead_points(), [long], "{wire:?}");
    }
}

async fn nats(script: impl FnMut(&[u8], usize) -> Said + Send + 'static) -> (WireEnd, SinkSettings) {
    let address = Wire::Nats.address(Path::new("/"));
    let settings = Wire::Nats.settings(&address);
    (WireEnd::nats(&address, script).await, settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_sends_the_same_lines_with_the_same_id_and_keeps_categories_apart() {
    let (far_end, settings) = nats(|_, n| match n {
        0 => Said::Nobody,
        1 => Said::Cut,
        2 => Said::Json(r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}"#),
        _ => Said::Kept,
    })
    .await;
    let mut sink = sinks::build(&settings).unwrap();
    let lines = batch(&numbered(0..2));
    assert!(matches!(sink.deliver(&lines).await, Verdict::Misconfigured { .. }));
    assert!(matches!(sink.deliver(&lines).await, Verdict::TryAgain { .. }));
    assert!(matches!(sink.deliver(&lines).await, Verdict::TryAgain { .. }));
    assert_eq!(sink.deliver(&lines).await, Verdict::Kept);
    let heads = far_end.heads();
    assert_eq!(heads.len(), 4);
    let id = heads[0].lines().find_map(|line| line.strip_prefix("Nats-Msg-Id: ")).unwrap();
    assert!(id.starts_with("web01-7.0-2-"), "{id}");
    assert!(heads.iter().all(|head| head.contains(id) && head.starts_with("lp.metric\r\n")), "{heads:?}");
    assert!(far_end.connects().iter().all(|connect| connect.contains(&format!("\"pass\":\"{SECRET}\""))));
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_halves_what_is_too_large_and_loses_nothing() {
    let (far_end, settings) = nats(|text, _| if text.len() > 60 { Said::TooLarge } else { Said::Kept }).await;
    let pipe = Pipe::new(settings);
    let (metrics, logs) = fill(&pipe).await;
    let report = pipe.drain().await;
    assert_eq!((report.delivered, report.dead), (80, 0));
    let kept = |prefix: &str| far_end.lines(prefix);
    assert_eq!((kept("m,"), kept("log,")), (metrics, logs));
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_tells_no_secret_and_gives_up_on_silence() {
    let (_far_end, settings) = nats(|_, _| Said::Error("'Authorization Violation for s3cret-t0ken'")).await;
    let told = verdict(&settings).await;
    assert!(matches!(&told, Verdict::Misconfigured { why } if !why.contains(SECRET)), "{told:?}");
    assert!(!format!("{settings:?}").contains(SECRET));
    let (_silent, settings) = nats(|_, _| Said::Silence).await;
    let settings = SinkSettings { timeout: Duration::from_millis(200), ..settings };
    let told = verdict(&settings).await;
    assert!(matches!(&told, Verdict::TryAgain { why, .. } if why.contains("no answer within")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_answers_the_pings_of_a_quiet_hour() {
    let (far_end, settings) = nats(|_, _| Said::Kept).await;
    let mut sink = sinks::build(&settings).unwrap();
    assert_eq!(sink.deliver(&batch(&numbered(0..1))).await, Verdict::Kept);
    far_end.ping().await;
    assert_eq!(sink.deliver(&batch(&numbered(1..2))).await, Verdict::Kept);
    far_end.wait_for_pong().await;
    assert_eq!(far_end.connects().len(), 1);
    far_end.drop_connections().await;
    assert_eq!(sink.deliver(&batch(&numbered(2..3))).await, Verdict::Kept);
    assert_eq!(far_end.connects().len(), 2);
}
