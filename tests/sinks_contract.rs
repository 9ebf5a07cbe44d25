//! What every sink kind promises, checked for all kinds alike.

mod support {
    pub mod far_end;
    pub mod pipe;
}

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use pythond::buffer::Position;
use pythond::config::Secret;
use pythond::config::sinks::{InfluxdbApi, SinkKind, SinkSettings};
use pythond::point::Category;
use pythond::sinks::{self, Batch, State, Verdict};
use support::far_end::{FarEnd, Reply, Request};
use support::pipe::{self, Pipe};

const SECRET: &str = "s3cret-t0ken";

/// A kind that talks HTTP.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    InfluxdbV1,
    InfluxdbV2,
    InfluxdbV3,
    Dataway,
}

const KINDS: [Kind; 4] = [Kind::InfluxdbV1, Kind::InfluxdbV2, Kind::InfluxdbV3, Kind::Dataway];

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
        }
    }
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
        Verdict::Kept => "",
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
    let logs: Vec<String> = (0..20).map(|n| format!("log,tag=a message=\"line {n}\" {n}")).collect();
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
        assert_eq!(kept(&far_end, Category::Logging), logs, "{kind:?}");
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
        assert_eq!(kept(&far_end, Category::Logging), logs, "{kind:?}");
        assert_eq!((report.delivered, report.dead, report.retries), (80, 0, 3), "{kind:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    let blocker = dir.path().join("metric.lp");
    std::fs::create_dir(&blocker).unwrap();
    let pipe = Pipe::new(pipe::file(dir.path()));
    let (metrics, logs) = fill(&pipe).await;
    let pump = pipe.start();
    pump.until_state(State::Down).await;
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
        let letter = pipe.letters().remove(0);
        assert_eq!((letter.category.as_deref(), letter.source.as_str()), (Some("metric"), "in/script"), "{kind:?}");
        assert!(letter.reason.starts_with("HTTP 400") || letter.reason.contains("no"), "{kind:?}: {}", letter.reason);
        if kind == Kind::InfluxdbV2 || kind == Kind::Dataway {
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
            pump.until_state(State::Misconfigured).await;
            let report = pump.end().await;
            assert_eq!((report.delivered, report.dead, pipe.behind()), (0, 0, 80), "{kind:?} {status}");
            assert!(report.last_error.unwrap().1.contains("not you"));
            far_end.turn(|_, _| Reply::status(204));
            pipe.drain().await;
            assert_eq!(kept(&far_end, Category::Metric), metrics, "{kind:?} {status}");
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
        let large = batch(&[format!("m s=\"{}\" 1", "x".repeat(24 << 20)), "m v=1 1".to_owned()]);
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
        assert_eq!(kept(&far_end, Category::Logging), logs, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_gives_up_on_silence_and_tries_again() {
    for kind in KINDS {
        let far_end = FarEnd::start(|_, _| Reply::Silence).await;
        let settings = SinkSettings { timeout: Duration::from_millis(200), ..kind.settings(&far_end.url()) };
        let verdict = verdict(&settings).await;
        assert!(matches!(&verdict, Verdict::TryAgain { why, .. } if why.contains("timed out")), "{verdict:?}");
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
async fn https_needs_a_certificate_that_the_ca_file_knows() {
    let known = tls_far_end().await;
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, &known.1).unwrap();
    for kind in KINDS {
        let mut settings = kind.settings(&known.0);
        match &mut settings.kind {
            SinkKind::Influxdb(influxdb) => influxdb.ca_file = Some(ca_file.clone()),
            SinkKind::Dataway(dataway) => dataway.ca_file = Some(ca_file.clone()),
            SinkKind::File(_) => {}
        }
        assert_eq!(verdict(&settings).await, Verdict::Kept, "{kind:?}");
        let stranger = tls_far_end().await;
        let mut other = kind.settings(&stranger.0);
        other.kind = match other.kind {
            SinkKind::Influxdb(influxdb) => {
                SinkKind::Influxdb(pythond::config::sinks::InfluxdbSink { ca_file: Some(ca_file.clone()), ..influxdb })
            }
            SinkKind::Dataway(dataway) => {
                SinkKind::Dataway(pythond::config::sinks::DatawaySink { ca_file: Some(ca_file.clone()), ..dataway })
            }
            SinkKind::File(file) => SinkKind::File(file),
        };
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
