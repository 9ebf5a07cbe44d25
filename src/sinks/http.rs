//! The HTTP client of all sinks: one request, one answer, never a retry.
//!
//! Far ends are taken as they are. InfluxDB 1.x copies the refused line into a response header, control bytes and all; such headers are
//! left out instead of failing the request, which would be sent for ever. An error body may be as large as the batch; 64 KiB of it are read.
//! What is told about a failure never holds a secret.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{StatusCode, Url, redirect};

use super::error::BuildError;
use super::html;
use super::verdict::Verdict;
use crate::config::Secret;
use crate::tls;

/// Bytes of an answer that are read.
const ANSWER_MAX: usize = 64 * 1024;
/// Bytes of a far end's words that are repeated in a reason.
const WORDS_MAX: usize = 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than what servers and proxies commonly use, so that it is us who closes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// From here on compressing blocks for more than a moment and moves off the async threads.
const LARGE: usize = 64 * 1024;

/// A client for one far end.
pub(super) struct Client {
    inner: reqwest::Client,
    gzip: bool,
    success: Success,
    login: Option<(String, Secret)>,
    /// Never told to anybody.
    secrets: Vec<Secret>,
}

/// What a client is made of.
pub(super) struct ClientSettings<'a> {
    pub url: &'a Url,
    pub timeout: Duration,
    pub gzip: bool,
    pub success: Success,
    pub ca_file: Option<&'a std::path::Path>,
    /// For basic authentication.
    pub login: Option<(String, Secret)>,
    /// What must not be told, besides the password of `login`.
    pub secrets: Vec<Secret>,
}

/// An answer as far as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HttpAnswer {
    pub status: u16,
    pub retry_after: Option<Duration>,
    /// `text/html`, without its parameters.
    pub content_type: String,
    pub body: String,
}

/// The statuses with which a kind's server says that it has the points, as it is documented.
pub(super) type Success = &'static [u16];

/// What nearly all of them say.
pub(super) const NO_CONTENT: Success = &[204];

impl Client {
    pub fn new(settings: ClientSettings<'_>) -> Result<Self, BuildError> {
        tls::install_ring();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("pythond/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT.min(settings.timeout))
            .timeout(settings.timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(redirect::Policy::none())
            // The environment belongs to the settings; no module reads it behind their back.
            .no_proxy()
            .http1_ignore_invalid_headers_in_responses(true);
        if let Some(path) = settings.ca_file {
            builder = builder.tls_certs_merge(certificates(path)?);
        } else if settings.url.scheme() == "http" {
            // No roots are needed, and a machine that has none is fine.
            builder = builder.tls_certs_only([]);
        }
        let inner = builder.build().map_err(|error| BuildError::Client { why: causes(&error) })?;
        let password = settings.login.as_ref().map(|(_, password)| password.clone());
        let secrets =
            settings.secrets.into_iter().chain(password).filter(|secret| !secret.expose().is_empty()).collect();
        let gzip = settings.gzip && !is_loopback(settings.url);
        Ok(Self { inner, gzip, success: settings.success, login: settings.login, secrets })
    }

    /// Sends one request.
    ///
    /// # Errors
    /// The verdict where there is no answer of the server to judge.
    pub async fn post(&mut self, url: Url, headers: HeaderMap, text: Bytes) -> Result<HttpAnswer, Verdict> {
        let answer = self.exchange(url, headers, text).await?;
        if answer.status == 415 && self.gzip {
            // The far end does not take gzip: plain bodies from now on.
            self.gzip = false;
            return Err(Verdict::TryAgain { after: Some(Duration::ZERO), why: answer.words() });
        }
        match answer.of_a_stranger(self.success) {
            Some(verdict) => Err(verdict),
            None => Ok(answer),
        }
    }

    async fn exchange(&self, url: Url, mut headers: HeaderMap, text: Bytes) -> Result<HttpAnswer, Verdict> {
        let body = if self.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            compress(text).await
        } else {
            text
        };
        let mut request = self.inner.post(url).headers(headers).body(body);
        if let Some((user, password)) = &self.login {
            request = request.basic_auth(user, Some(password.expose()));
        }
        let mut response = request.send().await.map_err(|error| unanswered(&error.without_url()))?;
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, Timestamp::now()));
        let content_type =
            response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let content_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let mut body = Vec::new();
        // What arrived of a body that breaks off is enough; the status has been said.
        while body.len() < ANSWER_MAX
            && let Ok(Some(part)) = response.chunk().await
        {
            body.extend_from_slice(&part[..part.len().min(ANSWER_MAX - body.len())]);
        }
        Ok(HttpAnswer {
            status,
            retry_after,
            content_type,
            body: self.without_secrets(&String::from_utf8_lossy(&body)),
        })
    }

    fn without_secrets(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.expose(), "***"))
    }
}

impl HttpAnswer {
    /// The verdict on an answer that cannot be the server's own: a success other than the documented one, or a page where it would speak of
    /// points. A login proxy, a captive portal or the web server of another port answers so, and has kept nothing.
    pub fn of_a_stranger(&self, success: Success) -> Option<Verdict> {
        let is_success = (200..300).contains(&self.status);
        let is_strange = match is_success {
            true => self.is_page() || !success.contains(&self.status),
            false => self.is_page() && matches!(self.verdict(), Verdict::Refused { .. }),
        };
        if !is_strange {
            return None;
        }
        let kind = if self.content_type.is_empty() { "no type" } else { &self.content_type };
        let expected: Vec<String> = success.iter().map(u16::to_string).collect();
        let means = if is_success {
            format!(", kept points are answered with {}", expected.join(" or "))
        } else {
            String::new()
        };
        let why = format!("{} ({kind}{means}); something else than the server answers at `url`", self.words());
        Some(Verdict::Misconfigured { why })
    }

    /// Says whether it is a page for a browser.
    fn is_page(&self) -> bool {
        matches!(self.content_type.as_str(), "text/html" | "application/xhtml+xml") || html::is_page(&self.body)
    }

    /// The verdict that every HTTP sink gives by the status alone, once its own cases are looked at.
    pub fn verdict(&self) -> Verdict {
        let why = self.words();
        match self.status {
            200..=299 => Verdict::Kept,
            413 => Verdict::TooLarge { why },
            408 | 425 | 429 | 500.. => Verdict::TryAgain { after: self.retry_after, why },
            ..=399 | 401 | 403 | 404 | 405 | 407 | 415 => Verdict::Misconfigured { why },
            _ => Verdict::Refused { why },
        }
    }

    /// Status and the far end's own words, short enough for a log line.
    pub fn words(&self) -> String {
        match self.message() {
            Some(message) => self.words_with(&message),
            None if self.is_page() => self.words_with(&html::text(&self.body)),
            None => self.words_with(&self.body),
        }
    }

    /// Status and these words, short enough for a log line.
    pub fn words_with(&self, words: &str) -> String {
        let reason = StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("unknown status");
        let words = cut(words.trim(), WORDS_MAX);
        let hint = if (300..400).contains(&self.status) { "the far end redirects; give the final URL" } else { "" };
        let parts = [words, hint].into_iter().filter(|part| !part.is_empty());
        let said = parts.fold(format!("HTTP {} {reason}", self.status), |text, part| format!("{text}: {part}"));
        said.replace(|c: char| c.is_control(), " ")
    }

    /// The error text of a JSON answer (`error`, `message`); of one that was cut off as far as it came.
    pub fn message(&self) -> Option<String> {
        let json: Result<serde_json::Value, _> = serde_json::from_str(&self.body);
        match json {
            Ok(json) => ["error", "message"].iter().find_map(|key| json.get(key)?.as_str().map(str::to_owned)),
            Err(_) => cut_off_message(&self.body),
        }
    }
}

/// Nothing is known about what the far end did, so the same goes again. Except where it answered and the answer is no HTTP that can be read:
/// the point that it quotes may be what spoils the answer (a NUL in a header), and the same would go again for ever.
fn unanswered(error: &reqwest::Error) -> Verdict {
    let why = why_unanswered(error);
    if is_unreadable(error) { Verdict::Refused { why } } else { Verdict::TryAgain { after: None, why } }
}

/// The client wraps the system's word several times; a person needs the innermost.
fn why_unanswered(error: &reqwest::Error) -> String {
    let innermost = std::iter::successors(std::error::Error::source(error), |cause| cause.source()).last();
    match innermost {
        Some(_) if error.is_timeout() => "no answer within `timeout`".to_owned(),
        Some(cause) if error.is_connect() => format!("could not connect: {cause}"),
        _ => causes(error),
    }
}

fn is_unreadable(error: &(dyn std::error::Error + 'static)) -> bool {
    let is_parse = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
    is_parse || error.source().is_some_and(is_unreadable)
}

/// The text after `"error":"` in JSON that ends too early.
fn cut_off_message(body: &str) -> Option<String> {
    let start = body.find("\"error\"")? + "\"error\"".len();
    let text = body[start..].trim_start().strip_prefix(':')?.trim_start();
    let text = text.strip_prefix('"')?;
    // An escape may have been cut in the middle: six characters are the longest one.
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]).rev().take(7);
    ends.into_iter().find_map(|end| serde_json::from_str(&format!("\"{}\"", &text[..end])).ok())
}

/// Reads `Retry-After`: seconds, or a date (from then on: nothing).
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(secs) = value.trim().parse() {
        return Some(Duration::from_secs(secs));
    }
    let date = jiff::fmt::rfc2822::parse(value.trim()).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// gzip costs more than it saves where the bytes never leave the machine.
fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        None => false,
        Some("localhost") => true,
        Some(host) => host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
    }
}

async fn compress(text: Bytes) -> Bytes {
    if text.len() < LARGE {
        return gzip(&text);
    }
    let plain = text.clone();
    tokio::task::spawn_blocking(move || gzip(&plain)).await.expect("compressing does not panic and is not aborted")
}

fn gzip(text: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::new(3));
    encoder.write_all(text).expect("a Vec takes every write");
    encoder.finish().expect("a Vec takes every write").into()
}

fn certificates(path: &std::path::Path) -> Result<Vec<reqwest::Certificate>, BuildError> {
    let pem = std::fs::read(path).map_err(|source| BuildError::CaFile { path: path.to_owned(), source })?;
    let certificates = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if certificates.is_empty() { Err(BuildError::CaPem { path: path.to_owned() }) } else { Ok(certificates) }
}

/// An error with its causes in one line, each said once.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut parts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        cause = error.source();
    }
    parts.join(": ")
}

/// Cuts a text to at most `max` bytes, never inside a character.
fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn answer(status: u16, body: &str) -> HttpAnswer {
        HttpAnswer { status, body: body.to_owned(), ..HttpAnswer::default() }
    }

    #[test]
    fn the_status_alone_tells_the_class() {
        let class = |status| match answer(status, "").verdict() {
            Verdict::Kept => "kept",
            Verdict::TooLarge { .. } => "too large",
            Verdict::TryAgain { .. } => "again",
            Verdict::Misconfigured { .. } => "misconfigured",
            Verdict::Refused { .. } => "refused",
            Verdict::KeptExcept(_) => "except",
            Verdict::RefusedPart(_) => "part",
            Verdict::Nothing => "nothing",
        };
        for (expected, statuses) in [
            ("kept", &[200, 202, 204][..]),
            ("misconfigured", &[301, 302, 307, 308, 401, 403, 404, 405, 415]),
            ("too large", &[413]),
            ("again", &[408, 425, 429, 500, 502, 503, 504, 507, 599]),
            ("refused", &[400, 406, 409, 422]),
        ] {
            for &status in statuses {
                assert_eq!(class(status), expected, "{status}");
            }
        }
    }

    #[test]
    fn the_words_are_one_short_line() {
        assert_eq!(answer(400, r#"{"error":"bad\nline\u001b[0m"}"#).words(), "HTTP 400 Bad Request: bad line [0m");
        assert_eq!(answer(502, "<html>\r\n").words(), "HTTP 502 Bad Gateway");
        assert_eq!(answer(599, "").words(), "HTTP 599 unknown status");
        assert_eq!(answer(302, "").words(), "HTTP 302 Found: the far end redirects; give the final URL");
        assert!(answer(400, &"é".repeat(5000)).words().len() < 1100);
    }

    #[test]
    fn an_answer_that_is_not_the_servers_own_keeps_the_points_here() {
        let page = "<html>please log in</html>";
        let html = |status| HttpAnswer { content_type: "text/html".to_owned(), ..answer(status, page) };
        for stranger in
            [answer(200, ""), answer(202, "{}"), answer(201, page), html(200), html(400), html(422), answer(409, page)]
        {
            let verdict = stranger.of_a_stranger(NO_CONTENT);
            assert!(matches!(verdict, Some(Verdict::Misconfigured { .. })), "{stranger:?}: {verdict:?}");
        }
        for own in
            [answer(204, ""), answer(400, "bad line"), html(401), html(413), html(502), html(302), answer(500, "")]
        {
            assert_eq!(own.of_a_stranger(NO_CONTENT), None, "{own:?}");
        }
        assert_eq!(answer(200, "").of_a_stranger(&[200, 204]), None);
        let Some(Verdict::Misconfigured { why }) = html(200).of_a_stranger(NO_CONTENT) else { panic!("kept") };
        let expected = "HTTP 200 OK: please log in (text/html, kept points are answered with 204); something else than the server answers at `url`";
        assert_eq!(why, expected);
    }

    #[test]
    fn a_message_that_was_cut_off_is_read_as_far_as_it_came() {
        assert_eq!(answer(400, r#"{"error":"a \"b\" c"}"#).message().unwrap(), r#"a "b" c"#);
        assert_eq!(answer(400, r#"{"code":"invalid","message":"x"}"#).message().unwrap(), "x");
        assert_eq!(answer(400, r#"{"error":"a \"b\" c\u00"#).message().unwrap(), r#"a "b" c"#);
        assert_eq!(answer(400, r#"{"error" : "a\"#).message().unwrap(), "a");
        assert_eq!(answer(400, "plain").message(), None);
        assert_eq!(answer(400, r#"{"error":7}"#).message(), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "1994-11-06T08:49:30Z".parse().unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-5", now), None);
    }

    #[test]
    fn nothing_is_compressed_that_stays_on_the_machine() {
        let is = |url: &str| is_loopback(&Url::parse(url).unwrap());
        assert!(is("http://127.0.0.1:8086") && is("http://localhost:8086") && is("http://[::1]:8086"));
        assert!(!is("http://10.0.0.5:8086") && !is("https://openway.guance.com"));
    }

    #[tokio::test]
    async fn what_is_compressed_comes_back() {
        for size in [10, 200_000] {
            let text = Bytes::from("a v=1 1\n".repeat(size / 8));
            let packed = compress(text.clone()).await;
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut back).unwrap();
            assert_eq!(back, text);
        }
    }

    #[test]
    fn secrets_are_never_told() {
        let url = Url::parse("http://127.0.0.1:1").unwrap();
        let secrets = vec![Secret::new("s3cret"), Secret::new("")];
        let login = Some(("user".to_owned(), Secret::new("passw0rd")));
        let client = Client::new(ClientSettings {
            url: &url,
            timeout: Duration::from_secs(1),
            gzip: true,
            success: NO_CONTENT,
            ca_file: None,
            login,
            secrets,
        })
        .unwrap();
        assert_eq!(client.without_secrets("token s3cret of user:passw0rd is bad"), "token *** of user:*** is bad");
        assert!(!client.gzip);
    }

    #[test]
    fn a_ca_file_that_is_none_is_a_fault_of_the_settings() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        assert!(matches!(certificates(&path), Err(BuildError::CaFile { .. })));
        std::fs::write(&path, "no certificate").unwrap();
        assert!(matches!(certificates(&path), Err(BuildError::CaPem { .. })));
    }
}
