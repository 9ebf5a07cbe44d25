//! `POST /v1/rows`: rows of a worker, counted out to points and kept like any report.
//!
//! What is remembered of the series changes only after the points are on disk: a request that is answered with an error, or whose sender
//! has gone, leaves them as they were, so that the same rows sent again give the same points, with the same times: where both were kept, one
//! overwrites the other. For that the requests of one job are taken one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use super::account::Account;
use super::body::Packing;
use super::endpoint::{EndpointSettings, WriteEndpoint};
use super::intake::Intake;
use super::repairs;
use super::reply::No;
use super::server::Peer;
use super::turns::Turn;
use super::write::{WORKER_HEADER, now_ns};
use crate::point::record::Header;
use crate::point::{Category, Point, PointRefusal, Unfit, Warnings, line};
use crate::series::{Changes, JobKey, Moment, NoValue, Row, Transaction, json};
use crate::telemetry::counters::ByReason;
use crate::worker::roster::Member;

/// Serves the sockets of the workers only; over TCP there is no such path.
pub(super) async fn only_for_workers(peer: Option<Extension<Peer>>, request: Request, next: Next) -> Response {
    match peer {
        Some(Extension(Peer::Unix | Peer::Scripts)) => next.run(request).await,
        _ => No::nothing_at(request.uri().path()).into_response(),
    }
}

/// Takes one request with rows.
pub(super) async fn rows(
    State(ingest): State<Arc<WriteEndpoint>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = match Head::read(&ingest, &uri, &headers) {
        Ok(head) => take(&ingest, &head, body).await,
        Err(no) => Err(no),
    };
    ingest.count_post(&answer);
    match answer {
        Ok((taken, repaired)) => {
            let mut response = Json(taken).into_response();
            if let Some(repaired) = repaired {
                response.headers_mut().insert(repairs::HEADER, repaired);
            }
            response
        }
        Err(no) => no.into_response(),
    }
}

/// A request as its head tells it.
pub(super) struct Head {
    pub member: Arc<Member>,
    pub size: Option<u64>,
}

impl Head {
    pub fn read(ingest: &WriteEndpoint, uri: &Uri, headers: &HeaderMap) -> Result<Self, No> {
        if ingest.is_closing() {
            return Err(No::closing());
        }
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let Some(member) = ingest.roster.find(text(WORKER_HEADER)) else {
            let message = "rows are taken from workers only: their token is missing or no longer good".to_owned();
            return Err(No::Forbidden { error_code: "pythond.noWorker", message });
        };
        if Packing::from_name(text(header::CONTENT_ENCODING.as_str()))? != Packing::Plain || uri.query().is_some() {
            return Err(No::bad("pythond.invalidRows", "rows are sent unpacked and without arguments"));
        }
        Ok(Self { member, size: text(header::CONTENT_LENGTH.as_str()).parse().ok() })
    }
}

/// The answer to rows that were all taken.
#[derive(Debug, Serialize)]
pub(super) struct RowsTaken {
    /// Points that are on disk.
    accepted: usize,
    /// Readings without a value.
    no_value: u64,
    /// Those among them whose counter began anew.
    resets: u64,
}

/// What was taken, and what was changed of it.
pub(super) type RowsAnswer = (RowsTaken, Option<HeaderValue>);

async fn take(ingest: &Arc<WriteEndpoint>, head: &Head, body: Body) -> Result<RowsAnswer, No> {
    let member = &head.member;
    member.touch();
    let intake = Intake::read(ingest, Some(&member.id), Packing::Plain, head.size, body).await?;
    let (job, intake) = intake.take_apart(ingest, |body| Ok(json::job(body).unwrap_or_default().into_owned())).await?;
    let job = ingest.series().job(&member.id, &job);
    let turn = ingest.turns.take(job.number()).await;
    let count = Count { ingest: Arc::clone(ingest), member: Arc::clone(member), now: ingest.started.elapsed() };
    let (counted, intake) = intake.take_apart(ingest, move |body| count.run(body)).await?;
    let held = intake.into_held();
    let taken = finish(ingest, member, counted, turn).await;
    // Until now: a buffer that is slow must not make the memory grow.
    drop(held);
    taken
}

/// The part that needs the processor only.
pub(super) struct Count {
    pub ingest: Arc<WriteEndpoint>,
    pub member: Arc<Member>,
    /// Since the start of the agent.
    pub now: Duration,
}

/// A body taken apart, counted out and encoded.
pub(super) struct Counted {
    rows: usize,
    accepted: usize,
    lines: Vec<u8>,
    refused: Vec<PointRefusal>,
    warnings: Warnings,
    transaction: Transaction,
    now: Duration,
}

impl Count {
    pub fn run(self, body: &[u8]) -> Result<Counted, No> {
        let json::SeriesBody { job, interval_s, rows, refused, warnings } = json::decode(body)?;
        let (settings, tags) = (self.ingest.settings(), self.member.tags());
        let mut counted = Counted {
            rows: rows.len() + refused.len(),
            accepted: 0,
            lines: Vec::new(),
            refused,
            warnings,
            transaction: Transaction::default(),
            now: self.now,
        };
        let job = self.ingest.series().job(&self.member.id, &job);
        let arrived_ns = now_ns();
        let mut unfit = Vec::new();
        for (index, row) in rows {
            let interval_s = row.interval_s.map_or(interval_s, f64::from);
            let moment = Moment { time_ns: row.time_ns.unwrap_or(arrived_ns), interval_s };
            match self.point(row, &job, moment, &mut counted) {
                Ok(Some(mut point)) => {
                    add_tags(&mut point, &tags, &settings);
                    line::encode(&point, &mut counted.lines);
                    counted.accepted += 1;
                }
                Ok(None) => {}
                Err(why) => unfit.push((index, why)),
            }
        }
        if !unfit.is_empty() {
            let texts = json::texts(body);
            let text = |index: usize| texts.get(index).map_or("", String::as_str);
            let refusals = unfit.into_iter().map(|(index, why)| PointRefusal::new(index, why, text(index)));
            counted.refused.extend(refusals);
            counted.refused.sort_by_key(|refusal| refusal.index);
        }
        Ok(counted)
    }

    /// The point of a row; `None` where no reading has a value.
    fn point<'t>(
        &self,
        row: Row<'t>,
        job: &JobKey,
        moment: Moment,
        counted: &mut Counted,
    ) -> Result<Option<Point<'t>>, Unfit> {
        let Row { measurement, tags, readings, .. } = row;
        let key = job.row(&measurement, &tags);
        let past = |series| self.ingest.series().get(series, self.now);
        let fields = counted.transaction.fields(readings, &key, moment, &past);
        if fields.is_empty() {
            return Ok(None);
        }
        Point::new(measurement, tags, fields, moment.time_ns, Category::Metric, &mut counted.warnings).map(Some)
    }
}

fn add_tags<'t>(point: &mut Point<'t>, tags: &'t BTreeMap<String, String>, settings: &'t EndpointSettings) {
    for (key, value) in tags.iter().chain(&settings.global_tags) {
        point.add_tag_if_absent(key, value);
    }
}

impl Counted {
    /// What is to be kept; nothing where no row made a point.
    pub fn record(&mut self, member: &Member) -> Option<(Header, Vec<u8>)> {
        let source = format!("{}/{}", member.input, member.id);
        let points = u32::try_from(self.accepted).unwrap_or(u32::MAX);
        let header = Header { category: Category::Metric, points, source };
        (self.accepted > 0).then(|| (header, std::mem::take(&mut self.lines)))
    }
}

/// Keeps what is good, and goes on as `kept` does.
async fn finish(
    ingest: &Arc<WriteEndpoint>,
    member: &Member,
    mut counted: Counted,
    turn: Turn,
) -> Result<RowsAnswer, No> {
    if let Some((header, lines)) = counted.record(member) {
        ingest.keep.keep(&header, &lines).await?;
    }
    kept(ingest, member, counted, turn).await
}

/// After the good points are on disk: remembers the series, then sets aside what is not good, then answers.
pub(super) async fn kept(
    ingest: &Arc<WriteEndpoint>,
    member: &Member,
    counted: Counted,
    turn: Turn,
) -> Result<RowsAnswer, No> {
    let Counted { rows, accepted, lines: _, refused, warnings, transaction, now } = counted;
    let source = format!("{}/{}", member.input, member.id);
    let counts = transaction.counts.clone();
    remember(ingest, transaction, now, turn).await;
    ingest.counters.rows.inc_by(rows as u64);
    for why in NoValue::ALL {
        if counts.of(why) > 0 {
            let label = ByReason { reason: why.as_str().to_owned() };
            ingest.counters.readings_without_value.get_or_create(&label).inc_by(counts.of(why));
        }
    }
    let account = Account { member: Some(member), category: Category::Metric, input: &member.input, source: &source };
    account.count(ingest, accepted, refused.len(), &warnings);
    let repaired = repairs::header(&warnings, true);
    let Some(first) = refused.first() else {
        let taken = RowsTaken { accepted, no_value: counts.all(), resets: counts.of(NoValue::Reset) };
        return Ok((taken, repaired));
    };
    account.set_aside(ingest, &refused).await;
    let message = format!("{} of {rows} rows refused; the first, row {}: {}", refused.len(), first.index, first.reason);
    Err(No::Refused { error_code: "pythond.invalidRows", message, accepted, refused, repaired })
}

async fn remember(ingest: &Arc<WriteEndpoint>, transaction: Transaction, now: Duration, turn: Turn) {
    let max = ingest.settings().max_series;
    let mut changes = transaction.into_changes();
    commit(ingest, &mut changes, now, max);
    if changes.len() == 0 {
        return;
    }
    let ingest = Arc::clone(ingest);
    let rest = tokio::task::spawn_blocking(move || {
        while changes.len() > 0 {
            commit(&ingest, &mut changes, now, max);
        }
        // Also when the client has gone meanwhile.
        drop(turn);
    });
    if let Err(error) = rest.await {
        tracing::error!(target: "ingest", "last values of rows were not remembered: {error}");
    }
}

fn commit(ingest: &WriteEndpoint, changes: &mut Changes, now: Duration, max: usize) {
    let mut series = ingest.series();
    let gone = series.commit(changes, now, max);
    ingest.counters.series.set(i64::try_from(series.len()).unwrap_or(i64::MAX));
    ingest.counters.series_forgotten.inc_by(gone.forgotten);
    ingest.counters.series_evicted.inc_by(gone.evicted);
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Mutex;

    use axum::http::{Method, StatusCode};
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use serde_json::{Value, json};
    use tokio::sync::Semaphore;
    use tower::ServiceExt;

    use super::*;
    use crate::buffer::AppendError;
    use crate::config::{Events, OnInvalid};
    use crate::ingest::{PointStore, router};
    use crate::telemetry::counters::Counters;
    use crate::worker::roster::Roster;

    /// Keeps in memory what it has a permit for; refuses while `is_full`.
    pub struct Memory {
        pub records: Mutex<Vec<(Header, String)>>,
        permits: Semaphore,
        pub is_full: std::sync::atomic::AtomicBool,
    }

    impl Memory {
        /// Has nothing kept until it is let go.
        pub fn hold(&self) {
            self.permits.forget_permits(Semaphore::MAX_PERMITS);
        }

        /// Has so many more records kept.
        pub fn let_go(&self, records: usize) {
            self.permits.add_permits(records);
        }
    }

    impl PointStore for Memory {
        fn keep<'a>(&'a self, header: &'a Header, lines: &'a [u8]) -> BoxFuture<'a, Result<(), AppendError>> {
            Box::pin(async move {
                self.permits.acquire().await.unwrap().forget();
                if self.is_full.load(std::sync::atomic::Ordering::Relaxed) {
                    return Err(AppendError::Closed);
                }
                let lines = String::from_utf8(lines.to_vec()).unwrap();
                self.records.lock().unwrap().push((header.clone(), lines));
                Ok(())
            })
        }
    }

    pub struct Lab {
        pub ingest: Arc<WriteEndpoint>,
        pub kept: Arc<Memory>,
        pub token: String,
        router: axum::Router,
    }

    impl Lab {
        pub fn new() -> Self {
            let permits = Semaphore::new(Semaphore::MAX_PERMITS);
            let kept = Arc::new(Memory { records: Mutex::default(), permits, is_full: false.into() });
            let roster = Roster::default();
            let token = roster.admit(&member("some.unit"));
            let keep = Arc::clone(&kept) as Arc<dyn PointStore>;
            let ingest = Arc::new(WriteEndpoint::new(settings(1000), keep, roster, Counters::default()));
            Self { router: router(Arc::clone(&ingest)), ingest, kept, token }
        }

        pub async fn send(
            &self,
            peer: Peer,
            method: Method,
            token: &str,
            uri: &str,
            body: impl Into<String>,
        ) -> (u16, Value) {
            let body = body.into();
            let request = Request::builder().method(method).uri(uri).header(WORKER_HEADER, token).extension(peer);
            let request = request.header(header::CONTENT_LENGTH, body.len());
            let answer = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
            let status = answer.status().as_u16();
            let text = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
            (status, serde_json::from_slice(&text).unwrap())
        }

        async fn post(&self, job: &str, rows: &Value) -> (u16, Value) {
            let body = json!({"job": job, "interval": 10, "rows": rows}).to_string();
            self.send(Peer::Unix, Method::POST, &self.token, "/v1/rows", body).await
        }

        pub fn lines(&self) -> Vec<String> {
            let records = self.kept.records.lock().unwrap();
            records.iter().flat_map(|(_, lines)| lines.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
        }

        fn remembered(&self) -> usize {
            self.ingest.series().len()
        }
    }

    fn settings(max_series: usize) -> EndpointSettings {
        EndpointSettings {
            max_body: 32 << 20,
            timeout: Duration::from_secs(30),
            integers_as_floats: true,
            events: Events { on_invalid: OnInvalid::Refuse, extra_status: Vec::new(), extra_source: Vec::new() },
            global_tags: BTreeMap::from([("host".to_owned(), "h".to_owned())]),
            max_series,
        }
    }

    /// A unit of the input `in` with a tag.
    pub fn member(id: &str) -> Arc<Member> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x.py"), "").unwrap();
        let input = crate::config::InputTable::plain("in", "python3", dir.path().to_owned());
        let mut spec = crate::worker::discover::scripts(&[input]).specs.remove(0);
        spec.tags.insert("team".to_owned(), "web".to_owned());
        Member::of(id, &spec)
    }

    fn counter(seconds: u64, value: u64) -> Value {
        json!([{"m": "net", "ns": seconds * 1_000_000_000, "r": [["in", value, {"kind": "counter"}]]}])
    }

    fn taken(accepted: u64, no_value: u64, resets: u64) -> (u16, Value) {
        (200, json!({"accepted": accepted, "no_value": no_value, "resets": resets}))
    }

    #[tokio::test]
    async fn rows_become_points_like_those_of_any_report() {
        let lab = Lab::new();
        let rows = json!([
            {"m": "cpu", "t": {"core": "0"}, "ns": 1_000_000_000, "r": [["user", 12.5], ["steps", 7, {"kind": "counter"}]]},
            {"m": "only counters", "ns": 1_000_000_000, "r": [["x", 1, {"kind": "counter"}]]},
        ]);
        assert_eq!(lab.post("local", &rows).await, taken(1, 2, 0));
        assert_eq!(lab.lines(), ["cpu,core=0,host=h,team=web user=12.5 1000000000"]);
        let header = lab.kept.records.lock().unwrap()[0].0.clone();
        assert_eq!(header, Header { category: Category::Metric, points: 1, source: "in/some.unit".to_owned() });
        let counters = &lab.ingest.counters;
        let first = counters.readings_without_value.get_or_create(&ByReason { reason: "first".to_owned() }).get();
        assert_eq!((counters.rows.get(), first, counters.series.get()), (2, 2, 2));
        assert_eq!(lab.ingest.roster.find(&lab.token).unwrap().points_accepted(), 1);
    }

    #[tokio::test]
    async fn rows_without_a_time_get_that_of_their_arrival() {
        let lab = Lab::new();
        let before = now_ns();
        lab.post("", &json!([{"m": "m", "r": [["x", 1]]}])).await;
        let line = lab.lines().remove(0);
        let time: i64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
        assert!((before..=now_ns()).contains(&time), "{line}");
    }

    #[tokio::test]
    async fn a_row_may_have_an_interval_of_its_own() {
        let lab = Lab::new();
        let absolute = json!([["x", 60, {"kind": "absolute"}]]);
        let rows = json!([{"m": "a", "ns": 1, "r": absolute}, {"m": "b", "ns": 1, "i": 60, "r": absolute}]);
        assert_eq!(lab.post("", &rows).await, taken(2, 0, 0));
        assert_eq!(lab.lines(), ["a,host=h,team=web x=6.0 1", "b,host=h,team=web x=1.0 1"]);
    }

    #[tokio::test]
    async fn a_post_that_was_answered_with_an_error_leaves_the_series_as_they_were() {
        let lab = Lab::new();
        assert_eq!(lab.post("local", &counter(10, 100)).await, taken(0, 1, 0));
        lab.kept.is_full.store(true, std::sync::atomic::Ordering::Relaxed);
        for _ in 0..3 {
            assert_eq!(lab.post("local", &counter(20, 300)).await.0, 503);
        }
        lab.kept.is_full.store(false, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(lab.post("local", &counter(20, 300)).await, taken(1, 0, 0));
        assert_eq!(lab.lines(), ["net,host=h,team=web in=20.0 20000000000"]);
        assert_eq!(lab.ingest.counters.rows.get(), 2, "rows that were not kept are not counted");
    }

    #[tokio::test]
    async fn a_post_whose_sender_has_gone_leaves_the_series_as_they_were() {
        let lab = Lab::new();
        lab.post("local", &counter(10, 100)).await;
        lab.kept.permits.forget_permits(Semaphore::MAX_PERMITS);
        let rows = counter(20, 300);
        assert!(lab.post("local", &rows).now_or_never().is_none());
        lab.kept.permits.add_permits(1);
        assert_eq!(lab.post("local", &rows).await, taken(1, 0, 0));
        assert_eq!(lab.lines(), ["net,host=h,team=web in=20.0 20000000000"]);
    }

    #[tokio::test]
    async fn the_same_post_beside_itself_counts_once() {
        let lab = Lab::new();
        lab.post("local", &counter(10, 100)).await;
        lab.kept.permits.forget_permits(Semaphore::MAX_PERMITS);
        let rows = counter(20, 300);
        let (mut first, mut again) = (Box::pin(lab.post("local", &rows)), Box::pin(lab.post("local", &rows)));
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut again).now_or_never().is_none());
        let other = lab.post("other", &rows);
        assert_eq!(other.await, taken(0, 1, 0), "another job does not wait");
        lab.kept.permits.add_permits(2);
        assert_eq!(again.as_mut().now_or_never(), None, "its turn has not come");
        assert_eq!(first.await, taken(1, 0, 0));
        assert_eq!(again.await, taken(0, 1, 0));
        assert_eq!(lab.lines().len(), 1);
    }

    #[tokio::test]
    async fn a_reset_is_told() {
        let lab = Lab::new();
        lab.post("local", &counter(10, 100)).await;
        assert_eq!(lab.post("local", &counter(20, 50)).await, taken(0, 1, 1));
        assert_eq!(lab.post("local", &counter(30, 60)).await, taken(1, 0, 0));
    }

    #[tokio::test]
    async fn a_bad_row_is_named_and_the_good_ones_are_kept_and_remembered() {
        let lab = Lab::new();
        let rows = json!([
            {"m": "a", "ns": 1, "r": [["x", 1, {"kind": "counter"}], ["y", 2]]},
            {"m": "b", "ns": 1, "r": [["x", 1], ["y", 2, {"knd": "counter"}]]},
            {"m": "c", "ns": 1, "t": {"z": "t"}, "r": [["z", 1]]},
        ]);
        let (status, answer) = lab.post("local", &rows).await;
        assert_eq!(
            (status, &answer["error_code"], &answer["accepted"]),
            (400, &json!("pythond.invalidRows"), &json!(1))
        );
        assert_eq!(answer["refused_count"], 2);
        let message = answer["message"].as_str().unwrap();
        let said = "2 of 3 rows refused; the first, row 1: reading 1 (`y`): unknown key `knd`; the keys are kind,";
        assert!(message.starts_with(said), "{message}");
        assert_eq!((&answer["refused"][0]["index"], &answer["refused"][0]["field"]), (&json!(1), &json!("fields.y")));
        assert_eq!((&answer["refused"][1]["index"], &answer["refused"][1]["field"]), (&json!(2), &json!("fields")));
        assert_eq!((lab.lines().len(), lab.remembered()), (1, 1));
        let member = lab.ingest.roster.find(&lab.token).unwrap();
        assert!(member.last_refusal().unwrap().starts_with("metric, fields"));
    }

    #[tokio::test]
    async fn only_workers_may_send_rows_and_only_over_their_sockets() {
        let lab = Lab::new();
        let body = r#"{"job":"","interval":1,"rows":[]}"#;
        let token = lab.token.as_str();
        let post = |peer, token, uri| lab.send(peer, Method::POST, token, uri, body);
        assert_eq!(post(Peer::Unix, token, "/v1/rows").await, taken(0, 0, 0));
        assert_eq!(post(Peer::Scripts, token, "/v1/rows").await, taken(0, 0, 0));
        for (peer, method) in [(Peer::Tcp, Method::POST), (Peer::Tcp, Method::GET)] {
            let (status, answer) = lab.send(peer, method, token, "/v1/rows", body).await;
            assert_eq!((status, &answer["error_code"]), (404, &json!("datakit.notFound")));
        }
        let (status, answer) = post(Peer::Unix, "0123", "/v1/rows").await;
        assert_eq!((status, &answer["error_code"]), (403, &json!("pythond.noWorker")));
        assert_eq!(lab.send(Peer::Unix, Method::GET, token, "/v1/rows", body).await.0, 405);
        assert_eq!(post(Peer::Unix, token, "/v1/rows?dry=1").await.0, 400);
        assert_eq!(
            lab.send(Peer::Unix, Method::POST, token, "/v1/rows", "{").await.1["error_code"],
            "datakit.invalidJSON"
        );
        lab.ingest.refuse_from_now();
        assert_eq!(post(Peer::Unix, token, "/v1/rows").await.0, StatusCode::SERVICE_UNAVAILABLE.as_u16());
    }

    #[tokio::test]
    async fn a_large_request_is_counted_like_a_small_one() {
        let lab = Lab::new();
        lab.ingest.obey(settings(1_000_000));
        let rows = |seconds: u64, value: u64| {
            let row = |n: u64| json!({"m": "m", "t": {"n": n.to_string()}, "ns": seconds * 1_000_000_000, "r": [["x", value + n, {"kind": "counter"}]]});
            Value::Array((0..10_000).map(row).collect())
        };
        assert_eq!(lab.post("local", &rows(10, 0)).await, taken(0, 10_000, 0));
        assert_eq!(lab.remembered(), 10_000);
        assert_eq!(lab.post("local", &rows(20, 10)).await, taken(10_000, 0, 0));
        assert!(lab.lines().iter().all(|line| line.contains(" x=1.0 ")));
    }

    #[tokio::test]
    async fn the_limit_on_series_holds_from_the_next_request_on() {
        let lab = Lab::new();
        lab.post("a", &counter(10, 1)).await;
        lab.post("b", &counter(10, 1)).await;
        assert_eq!(lab.remembered(), 2);
        lab.ingest.obey(settings(1));
        lab.post("c", &counter(10, 1)).await;
        assert_eq!((lab.remembered(), lab.ingest.counters.series_evicted.get()), (1, 2));
        assert_eq!(lab.post("c", &counter(20, 11)).await, taken(1, 0, 0));
    }
}
