//! DataWay: one request per category, with the headers that DataKit sends (content encoding v1, line protocol).

use std::hash::{BuildHasher, RandomState};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, REFERER};

use crate::buffer::Position;
use crate::config::sinks::DatawaySink;
use crate::config::{Secret, SinkSettings};

use super::batch::Batch;
use super::error::BuildError;
use super::http::{Client, ClientSettings, HttpAnswer, Success};
use super::limits::DeliveryLimits;
use super::sink::Sink;
use super::verdict::Verdict;

/// Its documentation says 200; DataKit takes these for success, too.
const SUCCESS: Success = &[200, 201, 202, 204];

pub(super) struct Dataway {
    client: Client,
    /// Scheme, host and the query with the token.
    base: Url,
    /// Tells the packages of this run from those of another.
    run: u64,
    limits: DeliveryLimits,
}

impl Dataway {
    pub fn new(settings: &SinkSettings, kind: &DatawaySink) -> Result<Self, BuildError> {
        let base = base(&kind.url)?;
        let token = base.query_pairs().filter(|(key, _)| key == "token").map(|(_, token)| Secret::new(token));
        let client = Client::new(ClientSettings {
            url: &base,
            timeout: settings.timeout,
            gzip: kind.gzip,
            success: SUCCESS,
            ca_file: kind.ca_file.as_deref(),
            login: None,
            secrets: token.collect(),
        })?;
        Ok(Self { client, base, run: RandomState::new().hash_one(()), limits: DeliveryLimits::of(settings, true) })
    }

    async fn deliver(&mut self, batch: &Batch) -> Verdict {
        let mut url = self.base.clone();
        url.set_path(&format!("/v1/write/{}", batch.category().as_str()));
        match self.client.post(url, headers(batch, self.run), batch.text()).await {
            Err(verdict) => verdict,
            Ok(answer) => judge(&answer),
        }
    }
}

impl Sink for Dataway {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Verdict> {
        self.deliver(batch).boxed()
    }

    fn limits(&self) -> DeliveryLimits {
        self.limits
    }
}

/// Judges an answer; only the quota is DataWay's own.
fn judge(answer: &HttpAnswer) -> Verdict {
    match answer.status {
        403 if answer.body.contains("beyondDataUsage") => {
            Verdict::Misconfigured { why: format!("{}; the workspace's data quota is used up", answer.words()) }
        }
        401 | 403 => Verdict::Misconfigured { why: format!("{}; check the token in `url`", answer.words()) },
        _ => answer.verdict(),
    }
}

/// As DataKit takes its URL: scheme, host and query count, the path is DataWay's own. The URL is a secret and not told.
fn base(url: &Secret) -> Result<Url, BuildError> {
    let parsed = Url::parse(url.expose()).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let mut base = parsed.ok_or_else(|| BuildError::Url { url: "***".to_owned() })?;
    base.set_path("/");
    base.set_fragment(None);
    Ok(base)
}

fn headers(batch: &Batch, run: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/line-protocol"));
    headers.insert(REFERER, HeaderValue::from_static("DataKit"));
    headers.insert(HeaderName::from_static("x-points"), HeaderValue::from(batch.len()));
    let package =
        HeaderValue::from_str(&package_id(run, batch.first())).expect("letters and digits are a header value");
    headers.insert(HeaderName::from_static("x-pkg-id"), package);
    headers
}

/// `dk_` and twenty letters or digits, as DataKit's; the same batch keeps its id when it is sent again.
fn package_id(run: u64, first: Position) -> String {
    let run = run & 0xffff_ffff;
    format!("dk_{run:08x}{:08x}{:04x}", first.seq & 0xffff_ffff, first.lines & 0xffff)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::point::Category;

    #[test]
    fn the_url_keeps_its_query_and_loses_its_path() {
        let url = |text: &str| base(&Secret::new(text)).map(|url| url.to_string());
        assert_eq!(
            url("https://openway.guance.com?token=tkn_x&a=b").unwrap(),
            "https://openway.guance.com/?token=tkn_x&a=b"
        );
        assert_eq!(url("http://h:9528/some/path?token=t#f").unwrap(), "http://h:9528/?token=t");
        let error = url("openway.guance.com?token=tkn_x").unwrap_err().to_string();
        assert!(!error.contains("tkn_x"), "{error}");
    }

    #[test]
    fn the_headers_are_those_of_datakit() {
        let batch = Batch::new(
            Category::Object,
            Position { seq: 7, lines: 3 },
            "in/s",
            Bytes::from_static(b"a v=1 1\nb v=2 2\n"),
        );
        let headers = headers(&batch, 0x1234_5678_9abc_def0);
        let expected = [
            ("content-type", "application/line-protocol"),
            ("referer", "DataKit"),
            ("x-points", "2"),
            ("x-pkg-id", "dk_9abcdef0000000070003"),
        ];
        for (name, value) in expected {
            assert_eq!(headers[name], value);
        }
    }

    #[test]
    fn answers_of_dataway() {
        let verdict =
            |status, body: &str| judge(&HttpAnswer { status, body: body.to_owned(), ..HttpAnswer::default() });
        assert_eq!(verdict(200, ""), Verdict::Kept);
        assert_eq!(verdict(204, ""), Verdict::Kept);
        let Verdict::Misconfigured { why } = verdict(403, r#"{"error_code":"kodo.beyondDataUsage"}"#) else { panic!() };
        assert!(why.ends_with("the workspace's data quota is used up"), "{why}");
        let Verdict::Misconfigured { why } = verdict(403, r#"{"error_code":"dataway.tokenNotFound"}"#) else {
            panic!()
        };
        assert!(why.ends_with("check the token in `url`"), "{why}");
        assert!(matches!(verdict(400, ""), Verdict::Refused { .. }));
        assert!(matches!(verdict(413, ""), Verdict::TooLarge { .. }));
        assert!(matches!(verdict(429, ""), Verdict::TryAgain { .. }));
        assert!(matches!(verdict(500, ""), Verdict::TryAgain { .. }));
    }
}
