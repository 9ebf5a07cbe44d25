//! `POST /v1/write/{category}`: from the body to a kept record and the answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::body::{self, Packing};
use super::budget::Held;
use super::query::{Echo, Query};
use super::reply::No;
use super::{Ingest, Settings};
use crate::config::OnInvalid;
use crate::deadletter::Dead;
use crate::point::record::Header;
use crate::point::{Category, Decoded, Decoding, Point, Refusal, Warnings, json, line};
use crate::telemetry::counters::{ByInput, ByReason};
use crate::worker::roster::Member;

/// Names the worker that sends; set by the SDK, known to nobody else.
pub const WORKER_HEADER: &str = "x-pythond-worker";

/// Bodies above this are unpacked and parsed off the connection's thread.
const INLINE_BYTES: usize = 64 * 1024;

/// Takes one write request.
pub(super) async fn write(
    State(ingest): State<Arc<Ingest>>,
    Path(category): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = match Request::read(&ingest, &category, query.as_deref().unwrap_or(""), &headers) {
        Ok(request) => take(&ingest, request, body).await,
        Err(no) => Err(no),
    };
    let outcome = answer.as_ref().map_or_else(No::outcome, |_| "ok");
    ingest.counters.posts.get_or_create(&ByReason { reason: outcome.to_owned() }).inc();
    answer.unwrap_or_else(IntoResponse::into_response)
}

/// A request as its head tells it.
struct Request {
    category: Category,
    query: Query,
    packing: Packing,
    form: Form,
    /// Bytes of the body as sent; `None` where the head does not tell.
    size: Option<u64>,
    member: Option<Arc<Member>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    LineProtocol,
}

impl Request {
    fn read(ingest: &Ingest, category: &str, query: &str, headers: &HeaderMap) -> Result<Self, No> {
        if ingest.is_closing() {
            return Err(No::closing());
        }
        let Some(category) = Category::from_name(category) else {
            return Err(No::bad(
                "datakit.invalidCategory",
                format!("invalid URL \"/v1/write/{category}\"; the categories are {}", category_names()),
            ));
        };
        let query = Query::parse(query)?;
        let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let packing = Packing::from_name(query.encoding.as_deref().unwrap_or_else(|| text(header::CONTENT_ENCODING)))?;
        let form = Form::of(text(header::CONTENT_TYPE))?;
        let member = headers
            .get(WORKER_HEADER)
            .and_then(|value| value.to_str().ok())
            .and_then(|token| ingest.roster.find(token));
        let size = text(header::CONTENT_LENGTH).parse().ok();
        Ok(Self { category, query, packing, form, size, member })
    }

    fn script(&self) -> Option<&str> {
        self.member.as_ref().map(|member| member.id.as_str())
    }

    /// What the budget has to pay for before the body is read.
    fn bytes_to_pay(&self) -> Option<u64> {
        match self.packing {
            Packing::Plain => self.size,
            // A large packed body may unpack to the largest; a small one pays for that when it is there.
            _ => self.size.filter(|size| *size <= INLINE_BYTES as u64),
        }
    }

    /// Who reports: the input's name, and the script behind it where a worker sends.
    fn source(&self) -> (String, String) {
        match &self.member {
            Some(member) => (member.input.clone(), format!("{}/{}", member.input, member.id)),
            None => {
                let input = self.query.input.clone().unwrap_or_else(|| self.category.as_str().to_owned());
                (input.clone(), input)
            }
        }
    }
}

impl Form {
    fn of(content_type: &str) -> Result<Self, No> {
        if content_type.contains("application/json") || content_type.starts_with("application/pbjson") {
            Ok(Self::Json)
        } else if content_type.starts_with("application/protobuf") {
            Err(No::bad(
                "datakit.invalidProtobufPoint",
                "protobuf bodies are not taken; send JSON (application/json) or line protocol",
            ))
        } else {
            Ok(Self::LineProtocol)
        }
    }
}

fn category_names() -> String {
    Category::ALL.map(Category::as_str).join(", ")
}

async fn take(ingest: &Arc<Ingest>, request: Request, body: Body) -> Result<Response, No> {
    if let Some(member) = &request.member {
        member.touch();
    }
    let settings = ingest.settings();
    let max = settings.max_body;
    let mut held = ingest.budget.pay(request.script(), request.bytes_to_pay()).await?;
    let packed = body::read(body, max, settings.timeout).await?;
    if request.packing != Packing::Plain {
        held = ingest.budget.pay_for_unpacking(request.script(), held).await?;
    }
    let work = Work {
        how: Decoding {
            category: request.category,
            precision: request.query.precision,
            now_ns: now_ns(),
            integers_as_floats: settings.integers_as_floats,
        },
        form: request.form,
        packing: request.packing,
        ignore_global_tags: request.query.ignore_global_tags,
        keeps_points: request.query.echo == Some(Echo::Json),
        tags: request.member.as_ref().map(|member| member.tags()),
    };
    let taken = if packed.len() <= INLINE_BYTES && request.packing == Packing::Plain {
        work.run(&settings, packed, &mut held)
    } else {
        // A body taken apart is several times as large: as many at once as there are processors, and the memory stays bounded.
        let turn = Arc::clone(&ingest.large).acquire_owned().await.expect("nobody closes it");
        let parsed = tokio::task::spawn_blocking(move || {
            let taken = work.run(&settings, packed, &mut held);
            // Also when the client has gone meanwhile.
            drop(turn);
            (taken, held)
        });
        let (taken, still_held) = parsed.await.map_err(|_| {
            No::bad("datakit.invalidData", "the body could not be read: the parser failed; please report this body")
        })?;
        held = still_held;
        taken
    }?;
    let answer = finish(ingest, &request, taken).await;
    // Until now: a buffer that is slow must not make the memory grow.
    drop(held);
    answer
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// The part that needs the processor only.
struct Work {
    how: Decoding,
    form: Form,
    packing: Packing,
    ignore_global_tags: bool,
    /// The answer shows the points.
    keeps_points: bool,
    /// Those of the script that sends.
    tags: Option<Arc<BTreeMap<String, String>>>,
}

/// A body taken apart, checked and encoded.
struct Taken {
    accepted: usize,
    /// Only where the answer shows them.
    points: Vec<Point<'static>>,
    lines: Vec<u8>,
    refused: Vec<Refusal>,
    /// An event rule was broken, so the answer's code is that of bad data, not of bad form.
    event_refused: bool,
    warnings: Warnings,
    form: Form,
}

impl Work {
    fn run(self, settings: &Settings, packed: Bytes, held: &mut Held) -> Result<Taken, No> {
        let body = body::unpack(packed, self.packing, settings.max_body)?;
        held.shrink(body.len() as u64);
        let Decoded { points, refused, warnings } = match self.form {
            Form::Json => json::decode(&body, &self.how)?,
            Form::LineProtocol => line::decode(&body, &self.how)?,
        };
        let mut taken = Taken {
            accepted: 0,
            points: Vec::new(),
            lines: Vec::new(),
            refused,
            event_refused: false,
            warnings,
            form: self.form,
        };
        for (index, mut point) in points {
            if self.how.category == Category::KeyEvent {
                taken.check_event(index, &mut point, settings);
                if taken.refused.last().is_some_and(|refusal| refusal.index == index) {
                    continue;
                }
            }
            self.add_tags(&mut point, settings);
            line::encode(&point, &mut taken.lines);
            taken.accepted += 1;
            if self.keeps_points {
                taken.points.push(point.into_owned());
            }
        }
        taken.refused.sort_by_key(|refusal| refusal.index);
        Ok(taken)
    }

    fn add_tags<'t>(&'t self, point: &mut Point<'t>, settings: &'t Settings) {
        for (key, value) in self.tags.iter().flat_map(|tags| tags.iter()) {
            point.add_tag_if_absent(key, value);
        }
        if !self.ignore_global_tags {
            for (key, value) in &settings.global_tags {
                point.add_tag_if_absent(key, value);
            }
        }
    }
}

impl Taken {
    fn check_event(&mut self, index: usize, point: &mut Point, settings: &Settings) {
        let Err(faults) = crate::event::check(point, &settings.events) else { return };
        let reason = faults.iter().map(|fault| fault.reason.as_str()).collect::<Vec<_>>().join("; ");
        if settings.events.on_invalid == OnInvalid::Warn {
            self.warnings.add("invalid_event", &reason);
            return;
        }
        let field = faults.first().map_or("", |fault| fault.field).to_owned();
        let mut raw = Vec::new();
        line::encode(point, &mut raw);
        let raw = String::from_utf8_lossy(&raw).trim_end().to_owned();
        self.event_refused = true;
        self.refused.push(Refusal { index, field, reason, raw });
    }

    fn error_code(&self) -> &'static str {
        match self.form {
            _ if self.event_refused => "datakit.invalidData",
            Form::Json => "datakit.invalidJsonPoint",
            Form::LineProtocol => "datakit.invalidLinePoint",
        }
    }
}

/// Keeps what is good, then sets aside what is not, then answers.
async fn finish(ingest: &Ingest, request: &Request, taken: Taken) -> Result<Response, No> {
    if request.query.strict
        && let Some((kind, (_, example))) = taken.warnings.kinds.iter().next()
    {
        return Err(No::bad(
            "datakit.pointGotWarning",
            format!("{kind}: {example}; nothing was kept (argument strict)"),
        ));
    }
    if request.query.dry {
        return answer(&taken, request.query.echo);
    }
    let (input, source) = request.source();
    let points = u32::try_from(taken.accepted).unwrap_or(u32::MAX);
    let header = Header { category: request.category, points, source };
    if taken.accepted > 0 {
        ingest.keep.keep(&header, &taken.lines).await?;
    }
    count(ingest, request, &input, &taken);
    if !taken.refused.is_empty() {
        set_aside(ingest, request, &input, &header.source, &taken.refused).await;
    }
    answer(&taken, request.query.echo)
}

fn count(ingest: &Ingest, request: &Request, input: &str, taken: &Taken) {
    let label = ByInput { category: request.category.as_str(), input: ingest.counters.input(input) };
    ingest.counters.points_accepted.get_or_create(&label).inc_by(taken.accepted as u64);
    for (kind, (times, _)) in &taken.warnings.kinds {
        ingest.counters.repairs.get_or_create(&ByReason { reason: (*kind).to_owned() }).inc_by(*times);
    }
    if let Some(member) = &request.member {
        member.accepted(taken.accepted as u64);
    }
    if !taken.refused.is_empty() {
        ingest.counters.points_refused.get_or_create(&label).inc_by(taken.refused.len() as u64);
    }
}

/// Writes the refused points to the dead-letter file and tells the script's author.
async fn set_aside(ingest: &Ingest, request: &Request, input: &str, source: &str, refused: &[Refusal]) {
    for refusal in refused {
        if let Some(member) = &request.member {
            member.refused_because(request.category.as_str(), &refusal.field, &refusal.reason);
        }
        if let Some(logs) = &ingest.logs {
            logs.framework(
                input,
                &format!(
                    "refused: {source}: {} point {}: {}",
                    request.category.as_str(),
                    refusal.index,
                    refusal.reason
                ),
            );
        }
    }
    let Some(dead) = ingest.dead.clone() else { return };
    let entries: Vec<Dead> = refused
        .iter()
        .map(|refusal| Dead {
            category: Some(request.category),
            source: source.to_owned(),
            reason: refusal.reason.clone(),
            point: refusal.raw.clone(),
        })
        .collect();
    let lost = entries.len();
    let written = tokio::task::spawn_blocking(move || dead.put("ingest", &entries)).await;
    let why = match written {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the writer failed".to_owned(),
    };
    tracing::error!(target: "ingest", "{lost} refused points of {source} could not be written to the dead-letter file: {why}; their sender has the reasons in the answer");
}

fn answer(taken: &Taken, echo: Option<Echo>) -> Result<Response, No> {
    if let Some(first) = taken.refused.first() {
        let total = taken.accepted + taken.refused.len();
        let message = format!(
            "{} of {total} points refused; the first, point {}: {}",
            taken.refused.len(),
            first.index,
            first.reason
        );
        return Err(No::Refused {
            error_code: taken.error_code(),
            message,
            accepted: taken.accepted,
            refused: taken.refused.clone(),
        });
    }
    // DataKit answers an empty body without a content type; its clients compare with ''.
    Ok(match echo {
        None => StatusCode::OK.into_response(),
        Some(Echo::LineProtocol) => {
            Response::new(Body::from(taken.lines.strip_suffix(b"\n").unwrap_or(&taken.lines).to_vec()))
        }
        Some(Echo::Json) => Response::new(Body::from(json::encode(&taken.points))),
    })
}
