//! `POST /v1/write/{category}`: from the body to a kept record and the answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::account::Account;
use super::body::Packing;
use super::endpoint::{EndpointSettings, WriteEndpoint};
use super::intake::Intake;
use super::query::{Echo, Query};
use super::repairs;
use super::reply::No;
use crate::config::OnInvalid;
use crate::point::record::Header;
use crate::point::{BodyFault, Category, Decoded, Decoding, Point, PointRefusal, Warnings, json, line};
use crate::worker::roster::Member;

/// Names the worker that sends; set by the SDK, known to nobody else.
pub const WORKER_HEADER: &str = "x-pythond-worker";

/// Takes one write request.
pub(super) async fn write(
    State(ingest): State<Arc<WriteEndpoint>>,
    Path(category): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = match WriteRequest::read(&ingest, &category, query.as_deref().unwrap_or(""), &headers) {
        Ok(request) => take(&ingest, request, body).await,
        Err(no) => Err(no),
    };
    ingest.count_post(&answer);
    answer.unwrap_or_else(IntoResponse::into_response)
}

/// Told, but nothing that DataKit warns of: the argument `strict` lets it pass.
const PASSED_OVER: [&str; 2] = ["unknown_key", "time_replaced"];

/// A request as its head tells it.
struct WriteRequest {
    category: Category,
    query: Query,
    packing: Packing,
    form: BodyForm,
    /// Bytes of the body as sent; `None` where the head does not tell.
    size: Option<u64>,
    member: Option<Arc<Member>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyForm {
    Json,
    LineProtocol,
}

impl WriteRequest {
    fn read(ingest: &WriteEndpoint, category: &str, query: &str, headers: &HeaderMap) -> Result<Self, No> {
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
        let form = BodyForm::of(text(header::CONTENT_TYPE))?;
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

impl BodyForm {
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

async fn take(ingest: &Arc<WriteEndpoint>, request: WriteRequest, body: Body) -> Result<Response, No> {
    if let Some(member) = &request.member {
        member.touch();
    }
    let settings = ingest.settings();
    let intake = Intake::read(ingest, request.script(), request.packing, request.size, body).await?;
    let work = EncodingWork {
        how: Decoding {
            category: request.category,
            precision: request.query.precision,
            now_ns: now_ns(),
            integers_as_floats: settings.integers_as_floats,
        },
        form: request.form,
        ignore_global_tags: request.query.ignore_global_tags,
        keeps_points: request.query.echo == Some(Echo::Json),
        tags: request.member.as_ref().map(|member| member.tags()),
    };
    let (taken, intake) = intake.take_apart(ingest, move |body| work.run(&settings, body)).await?;
    let held = intake.into_held();
    let answer = finish(ingest, &request, taken).await;
    // Until now: a buffer that is slow must not make the memory grow.
    drop(held);
    answer
}

pub(super) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// The part that needs the processor only.
struct EncodingWork {
    how: Decoding,
    form: BodyForm,
    ignore_global_tags: bool,
    /// The answer shows the points.
    keeps_points: bool,
    /// Those of the script that sends.
    tags: Option<Arc<BTreeMap<String, String>>>,
}

/// A body taken apart, checked and encoded.
struct EncodedBody {
    accepted: usize,
    /// Only where the answer shows them.
    points: Vec<Point<'static>>,
    lines: Vec<u8>,
    refused: Vec<PointRefusal>,
    /// An event rule was broken, so the answer's code is that of bad data, not of bad form.
    event_refused: bool,
    warnings: Warnings,
    form: BodyForm,
}

impl EncodingWork {
    fn run(self, settings: &EndpointSettings, body: &[u8]) -> Result<EncodedBody, No> {
        let Decoded { points, refused, warnings } = match self.form {
            BodyForm::Json => json::decode(body, &self.how).map_err(|fault| self.not_json(body, fault))?,
            BodyForm::LineProtocol => self.not_lines(body, line::decode(body, &self.how)?)?,
        };
        let mut taken = EncodedBody {
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

    /// A body that is no JSON although its sender says so: of line protocol it is said what would be right.
    fn not_json(&self, body: &[u8], fault: BodyFault) -> BodyFault {
        let is_text = !matches!(first_byte(body), Some(b'[' | b'{' | b'"') | None);
        let reads_as_lines = || line::decode(body, &self.how).is_ok_and(|decoded| !decoded.points.is_empty());
        if fault.error_code != "datakit.invalidJSON" || !is_text || !reads_as_lines() {
            return fault;
        }
        let hint = "it looks like line protocol: send it with `Content-Type: text/plain`";
        BodyFault { message: format!("{}; {hint}", fault.message), ..fault }
    }

    /// Lines of which none can be taken: of a body in another form it is said what would be right.
    fn not_lines<'t>(&self, body: &[u8], decoded: Decoded<'t>) -> Result<Decoded<'t>, BodyFault> {
        let Some(first) = decoded.refused.first().filter(|_| decoded.points.is_empty()) else { return Ok(decoded) };
        let looks_like = match first_byte(body) {
            Some(b'[' | b'{') => "JSON; send it with `Content-Type: application/json`",
            Some(0x1f) if body.starts_with(&[0x1f, 0x8b]) => "gzip; send it with `Content-Encoding: gzip`",
            _ => return Ok(decoded),
        };
        let message = format!("the body looks like {looks_like} (it was read as line protocol: {})", first.reason);
        Err(BodyFault { error_code: "datakit.invalidLinePoint", message })
    }

    fn add_tags<'t>(&'t self, point: &mut Point<'t>, settings: &'t EndpointSettings) {
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

/// The first byte that is neither space nor part of a byte order mark.
fn first_byte(body: &[u8]) -> Option<u8> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    body.trim_ascii_start().first().copied()
}

impl EncodedBody {
    fn check_event(&mut self, index: usize, point: &mut Point, settings: &EndpointSettings) {
        let Err(faults) = crate::event::check(point, &settings.events) else { return };
        if settings.events.on_invalid == OnInvalid::Warn {
            for fault in &faults {
                self.warnings.add("invalid_event", fault.field, &fault.reason);
            }
            return;
        }
        let reason = faults.iter().map(|fault| fault.reason.as_str()).collect::<Vec<_>>().join("; ");
        let field = faults.first().map_or("", |fault| fault.field).to_owned();
        let mut raw = Vec::new();
        line::encode(point, &mut raw);
        let raw = String::from_utf8_lossy(&raw).trim_end().to_owned();
        self.event_refused = true;
        self.refused.push(PointRefusal { index, field, reason, raw });
    }

    fn error_code(&self) -> &'static str {
        match self.form {
            _ if self.event_refused => "datakit.invalidData",
            BodyForm::Json => "datakit.invalidJsonPoint",
            BodyForm::LineProtocol => "datakit.invalidLinePoint",
        }
    }
}

/// Keeps what is good, then sets aside what is not, then answers.
async fn finish(ingest: &WriteEndpoint, request: &WriteRequest, taken: EncodedBody) -> Result<Response, No> {
    if request.query.strict
        && let Some((kind, (_, example))) = taken.warnings.kinds.iter().find(|(kind, _)| !PASSED_OVER.contains(*kind))
    {
        return Err(No::bad(
            "datakit.pointGotWarning",
            format!("{kind}: {example}; nothing was kept (argument strict)"),
        ));
    }
    let repaired = repairs::header(&taken.warnings, request.member.is_some());
    if request.query.dry {
        return answer(&taken, request.query.echo, repaired);
    }
    let (input, source) = request.source();
    let points = u32::try_from(taken.accepted).unwrap_or(u32::MAX);
    let header = Header { category: request.category, points, source };
    if taken.accepted > 0 {
        ingest.keep.keep(&header, &taken.lines).await?;
    }
    let account = Account {
        member: request.member.as_deref(),
        category: request.category,
        input: &input,
        source: &header.source,
    };
    account.count(ingest, taken.accepted, taken.refused.len(), &taken.warnings);
    account.tell_repairs(ingest, &taken.warnings);
    if !taken.refused.is_empty() {
        account.set_aside(ingest, &taken.refused).await;
    }
    answer(&taken, request.query.echo, repaired)
}

fn answer(taken: &EncodedBody, echo: Option<Echo>, repaired: Option<HeaderValue>) -> Result<Response, No> {
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
            repaired,
        });
    }
    // DataKit answers an empty body without a content type; its clients compare with ''.
    let mut response = match echo {
        None => StatusCode::OK.into_response(),
        Some(Echo::LineProtocol) => {
            Response::new(Body::from(taken.lines.strip_suffix(b"\n").unwrap_or(&taken.lines).to_vec()))
        }
        Some(Echo::Json) => Response::new(Body::from(json::encode(&taken.points))),
    };
    if let Some(repaired) = repaired {
        response.headers_mut().insert(repairs::HEADER, repaired);
    }
    Ok(response)
}
