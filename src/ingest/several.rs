//! `POST /v1/rows/several`: the rows of several jobs of one process in one request, each kept and answered as if it had come alone.
//!
//! A process with hundreds of jobs would otherwise make as many requests in each interval, and a request costs more than its rows. The
//! answer has one entry for each group, in their order; the request itself is answered with an error only where no group could be found.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::value::RawValue;

use super::body::Packing;
use super::endpoint::WriteEndpoint;
use super::intake::Intake;
use super::reply::No;
use super::rows::{Count, Counted, Head, RowsAnswer, RowsTaken, kept};
use super::server::Peer;
use super::turns::Turn;
use crate::series::{groups, json};
use crate::worker::roster::Member;

/// Takes one request.
pub(super) async fn several(
    State(ingest): State<Arc<WriteEndpoint>>,
    _peer: Extension<Peer>,
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
        Ok(groups) => Json(GroupedReports { groups }).into_response(),
        Err(no) => no.into_response(),
    }
}

#[derive(Serialize)]
struct GroupedReports {
    groups: Vec<GroupResult>,
}

/// What became of a group.
#[derive(Serialize)]
#[serde(untagged)]
enum GroupResult {
    Taken {
        #[serde(flatten)]
        taken: RowsTaken,
        #[serde(skip_serializing_if = "Option::is_none")]
        repaired: Option<String>,
    },
    Refused {
        status: u16,
        /// The body of the answer that it would have got alone.
        answer: Box<RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        repaired: Option<String>,
    },
}

impl GroupResult {
    fn of(answer: Result<RowsAnswer, No>) -> Self {
        let text = |header: axum::http::HeaderValue| header.to_str().ok().map(str::to_owned);
        match answer {
            Ok((taken, repaired)) => Self::Taken { taken, repaired: repaired.and_then(text) },
            Err(no) => Self::Refused {
                status: no.status().as_u16(),
                answer: RawValue::from_string(no.text()).expect("it is JSON"),
                retry_after: no.retry_after(),
                repaired: match no {
                    No::Refused { repaired, .. } => repaired.and_then(text),
                    _ => None,
                },
            },
        }
    }
}

/// A group with its sender, before its rows are read.
struct UnreadGroup {
    member: Arc<Member>,
    place: Range<usize>,
    /// Stands for its job.
    job: u64,
}

async fn take(ingest: &Arc<WriteEndpoint>, head: &Head, body: Body) -> Result<Vec<GroupResult>, No> {
    let intake = Intake::read(ingest, Some(&head.member.id), Packing::Plain, head.size, body).await?;
    let find = Arc::clone(ingest);
    let (parts, intake) = intake.take_apart(ingest, move |body| parts(&find, body)).await?;
    let turns = turns(ingest, &parts).await;
    let count = Arc::clone(ingest);
    let work = move |body: &[u8]| Ok(parts.into_iter().map(|part| counted(&count, part, body)).collect::<Vec<_>>());
    let (groups, intake) = intake.take_apart(ingest, work).await?;
    let held = intake.into_held();
    let entries = finish(ingest, groups, turns).await;
    // Until now: a buffer that is slow must not make the memory grow.
    drop(held);
    Ok(entries)
}

fn parts(ingest: &WriteEndpoint, body: &[u8]) -> Result<Vec<Result<UnreadGroup, No>>, No> {
    let mut seen = HashSet::new();
    let parts = groups::groups(body)?.into_iter().map(|group| {
        let Some(member) = ingest.roster.find(&group.token) else {
            let message = "the token of the group is no longer good".to_owned();
            return Err(No::Forbidden { error_code: "pythond.noWorker", message });
        };
        member.touch();
        let job = json::job(&body[group.place.clone()]).unwrap_or_default();
        let job = ingest.series().job(&member.id, &job).number();
        if !seen.insert(job) {
            return Err(No::bad(
                "pythond.invalidRows",
                "the request has rows of the same job already; send them together",
            ));
        }
        Ok(UnreadGroup { member, place: group.place, job })
    });
    Ok(parts.collect())
}

/// Waits for the turns of all jobs, one after the other in an order that all requests have, so that no two wait for each other.
async fn turns(ingest: &WriteEndpoint, parts: &[Result<UnreadGroup, No>]) -> Vec<Option<Turn>> {
    let mut order: Vec<(u64, usize)> =
        parts.iter().enumerate().filter_map(|(at, part)| Some((part.as_ref().ok()?.job, at))).collect();
    order.sort_unstable();
    let mut turns: Vec<Option<Turn>> = parts.iter().map(|_| None).collect();
    for (job, at) in order {
        turns[at] = Some(ingest.turns.take(job).await);
    }
    turns
}

/// A group counted out, with its sender.
type SentGroup = Result<(Arc<Member>, Counted), No>;

fn counted(ingest: &Arc<WriteEndpoint>, part: Result<UnreadGroup, No>, body: &[u8]) -> SentGroup {
    let UnreadGroup { member, place, .. } = part?;
    let now = ingest.started.elapsed();
    let count = Count { ingest: Arc::clone(ingest), member: Arc::clone(&member), now };
    Ok((member, count.run(&body[place])?))
}

/// Keeps all that is good at once; each group then goes on alone.
async fn finish(ingest: &Arc<WriteEndpoint>, mut groups: Vec<SentGroup>, turns: Vec<Option<Turn>>) -> Vec<GroupResult> {
    let (mut records, mut owners) = (Vec::new(), Vec::new());
    for (at, group) in groups.iter_mut().enumerate() {
        if let Ok((member, counted)) = group
            && let Some(record) = counted.record(member)
        {
            records.push(record);
            owners.push(at);
        }
    }
    let answers = ingest.keep.keep_all(&records).await;
    for (at, answer) in owners.into_iter().zip(answers) {
        if let Err(error) = answer {
            groups[at] = Err(error.into());
        }
    }
    let mut entries = Vec::with_capacity(groups.len());
    for (group, turn) in groups.into_iter().zip(turns) {
        let answer = match (group, turn) {
            (Ok((member, counted)), Some(turn)) => kept(ingest, &member, counted, turn).await,
            (Err(no), _) => Err(no),
            (Ok(_), None) => unreachable!("each group that is read has its turn"),
        };
        entries.push(GroupResult::of(answer));
    }
    entries
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use axum::http::Method;
    use futures_util::FutureExt;
    use serde_json::{Value, json};

    use super::*;
    use crate::ingest::rows::tests::{Lab, member};

    /// A second unit of the same process.
    struct Pair {
        lab: Lab,
        other: String,
    }

    impl Pair {
        fn new() -> Self {
            let lab = Lab::new();
            let other = lab.ingest.roster.admit(&member("other.unit"));
            Self { lab, other }
        }

        async fn post(&self, groups: &Value) -> (u16, Value) {
            let body = json!({ "groups": groups }).to_string();
            self.lab.send(Peer::Unix, Method::POST, &self.lab.token, "/v1/rows/several", body).await
        }

        /// A counter of a job of each unit.
        fn counters(&self, seconds: u64, value: u64) -> Value {
            json!([[self.lab.token, body("a", seconds, value)], [self.other, body("a", seconds, 2 * value)]])
        }
    }

    fn body(job: &str, seconds: u64, value: u64) -> Value {
        let reading = json!(["in", value, {"kind": "counter"}]);
        json!({"job": job, "interval": 10, "rows": [{"m": "net", "ns": seconds * 1_000_000_000, "r": [reading]}]})
    }

    #[tokio::test]
    async fn each_group_is_kept_counted_and_answered_as_if_it_had_come_alone() {
        let pair = Pair::new();
        let (status, answer) = pair.post(&pair.counters(10, 100)).await;
        let first = json!({"accepted": 0, "no_value": 1, "resets": 0});
        assert_eq!((status, answer), (200, json!({"groups": [first, first]})));
        let (status, answer) = pair.post(&pair.counters(20, 300)).await;
        let taken = json!({"accepted": 1, "no_value": 0, "resets": 0});
        assert_eq!((status, answer), (200, json!({"groups": [taken, taken]})));
        let records = pair.lab.kept.records.lock().unwrap().clone();
        let shown: Vec<_> = records.iter().map(|(header, lines)| (header.source.as_str(), lines.as_str())).collect();
        let (own, others) = ("net,host=h,team=web in=20.0 20000000000\n", "net,host=h,team=web in=40.0 20000000000\n");
        assert_eq!(shown, [("in/some.unit", own), ("in/other.unit", others)]);
        assert_eq!(pair.lab.ingest.roster.find(&pair.other).unwrap().points_accepted(), 1);
        assert_eq!(pair.lab.ingest.counters.rows.get(), 4);
    }

    #[tokio::test]
    async fn what_is_wrong_with_one_group_is_no_fault_of_the_others() {
        let pair = Pair::new();
        let good = json!({"job": "a", "interval": 1, "rows": [{"m": "m", "ns": 1, "r": [["x", 1]]}]});
        let bad = json!({"job": "b", "interval": 1, "rows": [{"m": "m", "ns": 1, "r": [["x", "1"]]}]});
        let token = &pair.lab.token;
        let groups = json!([["0123", good], [token, "no body"], [token, bad], [token, good], [token, good]]);
        let (status, answer) = pair.post(&groups).await;
        let shown = |at: usize| {
            let entry = &answer["groups"][at];
            (
                entry["status"].as_u64(),
                entry["answer"]["error_code"].as_str(),
                entry["answer"]["refused_count"].as_u64(),
            )
        };
        assert_eq!(status, 200);
        assert_eq!(shown(0), (Some(403), Some("pythond.noWorker"), None));
        assert_eq!(shown(1), (Some(400), Some("pythond.invalidRows"), None));
        assert_eq!(shown(2), (Some(400), Some("pythond.invalidRows"), Some(1)));
        assert_eq!(answer["groups"][3]["accepted"], 1);
        assert_eq!(shown(4), (Some(400), Some("pythond.invalidRows"), None), "a job comes once");
        assert_eq!(pair.lab.lines().len(), 1);
    }

    #[tokio::test]
    async fn groups_that_were_not_kept_leave_their_series_as_they_were() {
        let pair = Pair::new();
        pair.post(&pair.counters(10, 100)).await;
        pair.lab.kept.is_full.store(true, Ordering::Relaxed);
        for _ in 0..2 {
            let (status, answer) = pair.post(&pair.counters(20, 300)).await;
            let entry = &answer["groups"][1];
            assert_eq!((status, &entry["status"], &entry["retry_after"]), (200, &json!(503), &json!(5)));
        }
        pair.lab.kept.is_full.store(false, Ordering::Relaxed);
        pair.post(&pair.counters(20, 300)).await;
        assert_eq!(pair.lab.lines(), [20.0, 40.0].map(|rate| format!("net,host=h,team=web in={rate:?} 20000000000")));
    }

    #[tokio::test]
    async fn requests_with_the_same_jobs_in_another_order_do_not_wait_for_each_other_for_ever() {
        let pair = Pair::new();
        let (one, mut other) = (pair.counters(10, 100), pair.counters(20, 300));
        other.as_array_mut().unwrap().reverse();
        for _ in 0..50 {
            let (first, second) = tokio::join!(pair.post(&one), pair.post(&other));
            assert_eq!((first.0, second.0), (200, 200));
        }
    }

    #[tokio::test]
    async fn a_request_whose_sender_has_gone_leaves_the_series_as_they_were() {
        let pair = Pair::new();
        pair.post(&pair.counters(10, 100)).await;
        pair.lab.kept.hold();
        assert!(pair.post(&pair.counters(20, 300)).now_or_never().is_none());
        pair.lab.kept.let_go(2);
        pair.post(&pair.counters(20, 300)).await;
        assert_eq!(pair.lab.lines().len(), 2);
    }

    #[tokio::test]
    async fn only_workers_may_send_and_the_whole_has_to_have_its_form() {
        let pair = Pair::new();
        let send = |peer, token, body| pair.lab.send(peer, Method::POST, token, "/v1/rows/several", body);
        let token = pair.lab.token.as_str();
        assert_eq!(send(Peer::Unix, token, r#"{"groups":[]}"#).await, (200, json!({"groups": []})));
        assert_eq!(send(Peer::Tcp, token, r#"{"groups":[]}"#).await.0, 404);
        assert_eq!(send(Peer::Unix, "0123", r#"{"groups":[]}"#).await.0, 403);
        assert_eq!(send(Peer::Unix, token, "[]").await.1["error_code"], "pythond.invalidRows");
    }
}
