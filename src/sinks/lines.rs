//! What the kinds have in common that post lines to one URL: the request, the flavour, gzip, the login. What an answer means is theirs.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::config::sinks::{HttpSettings, Login};
use crate::config::{Secret, SinkSettings};

use super::batch::Batch;
use super::error::BuildError;
use super::flavour::Flavour;
use super::flavour::LeftOut;
use super::http::{Client, ClientSettings, HttpAnswer, NO_CONTENT};
use super::limits::DeliveryLimits;
use super::sink::Sink;
use super::verdict::Verdict;

/// What an answer means for the batch that was sent.
pub(super) type Judge = fn(&HttpAnswer, &Batch) -> Verdict;

/// One URL that takes lines.
pub(super) struct LinesUrl {
    client: Client,
    url: Url,
    headers: HeaderMap,
    flavour: Flavour,
    judge: Judge,
    limits: DeliveryLimits,
    left_out: LeftOut,
}

/// Where and how a kind posts.
pub(super) struct Endpoint<'a> {
    /// Below the base URL.
    pub path: &'a str,
    pub query: &'a [(&'a str, &'a str)],
    pub flavour: Flavour,
    pub judge: Judge,
}

impl LinesUrl {
    pub fn new(settings: &SinkSettings, http: &HttpSettings, endpoint: &Endpoint<'_>) -> Result<Self, BuildError> {
        let url = url(http, endpoint)?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        let (mut login, mut secrets) = (None, Vec::new());
        match &http.login {
            Login::Nobody => {}
            Login::Password(user, password) => login = Some((user.clone(), password.clone())),
            Login::Token(token) => {
                headers.insert(AUTHORIZATION, bearer(token)?);
                secrets.push(token.clone());
            }
        }
        let client = Client::new(ClientSettings {
            url: &url,
            timeout: settings.timeout,
            gzip: http.gzip,
            success: NO_CONTENT,
            ca_file: http.ca_file.as_deref(),
            login,
            secrets,
        })?;
        Ok(Self {
            client,
            url,
            headers,
            flavour: endpoint.flavour,
            judge: endpoint.judge,
            limits: DeliveryLimits::of(settings, false),
            left_out: LeftOut::new(),
        })
    }

    async fn deliver(&mut self, batch: &Batch) -> Verdict {
        let mut adapted = self.flavour.adapt(batch);
        self.left_out = std::mem::take(&mut adapted.left_out);
        let Some(sent) = adapted.sent.clone() else { return adapted.verdict(Verdict::Nothing) };
        match self.client.post(self.url.clone(), self.headers.clone(), sent.text()).await {
            Err(verdict) => verdict,
            Ok(answer) => adapted.verdict((self.judge)(&answer, &sent)),
        }
    }
}

impl Sink for LinesUrl {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Verdict> {
        self.deliver(batch).boxed()
    }

    fn limits(&self) -> DeliveryLimits {
        self.limits
    }

    fn left_out(&self) -> LeftOut {
        self.left_out.clone()
    }
}

fn url(http: &HttpSettings, endpoint: &Endpoint<'_>) -> Result<Url, BuildError> {
    let written = format!("{}/{}", http.url.trim_end_matches('/'), endpoint.path);
    let parsed = Url::parse(&written).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let mut url = parsed.ok_or_else(|| BuildError::Url { url: http.url.clone() })?;
    url.query_pairs_mut().extend_pairs(endpoint.query);
    Ok(url)
}

fn bearer(token: &Secret) -> Result<HeaderValue, BuildError> {
    let mut value = HeaderValue::from_maybe_shared(Bytes::from(format!("Bearer {}", token.expose())))
        .map_err(|_| BuildError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}
