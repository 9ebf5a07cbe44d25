//! InfluxDB 1.x, 2.x and 3 over their HTTP write APIs; nanosecond line protocol, judged by `judge`.
//!
//! InfluxDB 1.x has no unsigned integers (`1u` is an invalid number there) unless it was built for them: in the 1.x body they become
//! integers, and floats where they are larger than an integer can be.

mod judge;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::config::sinks::{InfluxdbApi, InfluxdbSink};
use crate::config::{Secret, SinkSettings};

use judge::InfluxApi;

use super::batch::Batch;
use super::error::BuildError;
use super::flavour::{AS_IT_IS, Flavour, Unsigned};
use super::http::{Client, ClientSettings, NO_CONTENT};
use super::limits::DeliveryLimits;
use super::sink::Sink;
use super::verdict::Verdict;

pub(super) struct Influxdb {
    client: Client,
    url: Url,
    headers: HeaderMap,
    api: InfluxApi,
    limits: DeliveryLimits,
}

impl Influxdb {
    pub fn new(settings: &SinkSettings, kind: &InfluxdbSink) -> Result<Self, BuildError> {
        let (api, url) = endpoint(kind)?;
        let (login, token) = match &kind.api {
            InfluxdbApi::V1 { login, .. } => (login.clone(), None),
            InfluxdbApi::V2 { token, .. } | InfluxdbApi::V3 { token, .. } => (None, token.clone()),
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Some(token) = &token {
            headers.insert(AUTHORIZATION, authorization(api, token)?);
        }
        let mut secrets: Vec<Secret> = token.into_iter().collect();
        secrets.extend(url.password().map(Secret::new));
        let client = Client::new(ClientSettings {
            url: &url,
            timeout: settings.timeout,
            gzip: kind.gzip,
            success: NO_CONTENT,
            ca_file: kind.ca_file.as_deref(),
            login,
            secrets,
        })?;
        Ok(Self { client, url, headers, api, limits: DeliveryLimits::of(settings, false) })
    }

    async fn deliver(&mut self, batch: &Batch) -> Verdict {
        let unsigned = if self.api == InfluxApi::V1 { Unsigned::Signed } else { Unsigned::AsTheyAre };
        let adapted = Flavour { unsigned, ..AS_IT_IS }.adapt(batch);
        // Only numbers are written differently, so every line is sent.
        let batch = adapted.sent.as_ref().unwrap_or(batch);
        match self.client.post(self.url.clone(), self.headers.clone(), batch.text()).await {
            Err(verdict) => verdict,
            Ok(answer) => judge::judge(self.api, &answer, batch),
        }
    }
}

impl Sink for Influxdb {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Verdict> {
        self.deliver(batch).boxed()
    }

    fn limits(&self) -> DeliveryLimits {
        self.limits
    }
}

/// The flavour and the URL to post to, with its query.
fn endpoint(kind: &InfluxdbSink) -> Result<(InfluxApi, Url), BuildError> {
    let (api, path) = match &kind.api {
        InfluxdbApi::V1 { .. } => (InfluxApi::V1, "write"),
        InfluxdbApi::V2 { .. } => (InfluxApi::V2, "api/v2/write"),
        InfluxdbApi::V3 { .. } => (InfluxApi::V3, "api/v3/write_lp"),
    };
    let written = format!("{}/{path}", kind.url.trim_end_matches('/'));
    let parsed = Url::parse(&written).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let mut url = parsed.ok_or_else(|| BuildError::Url { url: kind.url.clone() })?;
    let mut query = url.query_pairs_mut();
    match &kind.api {
        InfluxdbApi::V1 { database, retention_policy, .. } => {
            query.append_pair("db", database);
            if let Some(policy) = retention_policy {
                query.append_pair("rp", policy);
            }
            query.append_pair("precision", "ns");
        }
        InfluxdbApi::V2 { org, bucket, .. } => {
            query.append_pair("org", org).append_pair("bucket", bucket).append_pair("precision", "ns");
        }
        InfluxdbApi::V3 { database, .. } => {
            query
                .append_pair("db", database)
                .append_pair("precision", "nanosecond")
                .append_pair("accept_partial", "true");
        }
    }
    drop(query);
    Ok((api, url))
}

fn authorization(api: InfluxApi, token: &Secret) -> Result<HeaderValue, BuildError> {
    let scheme = if api == InfluxApi::V3 { "Bearer" } else { "Token" };
    let mut value = HeaderValue::from_maybe_shared(Bytes::from(format!("{scheme} {}", token.expose())))
        .map_err(|_| BuildError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(api: InfluxdbApi) -> String {
        let kind = InfluxdbSink { url: "http://10.0.0.5:8086/".to_owned(), api, gzip: true, ca_file: None };
        endpoint(&kind).unwrap().1.to_string()
    }

    #[test]
    fn each_api_has_its_endpoint() {
        let v1 = |retention_policy: Option<&str>| InfluxdbApi::V1 {
            database: "a b&c".to_owned(),
            retention_policy: retention_policy.map(str::to_owned),
            login: None,
        };
        assert_eq!(url(v1(None)), "http://10.0.0.5:8086/write?db=a+b%26c&precision=ns");
        assert_eq!(url(v1(Some("week"))), "http://10.0.0.5:8086/write?db=a+b%26c&rp=week&precision=ns");
        let v2 = InfluxdbApi::V2 { org: "ops".to_owned(), bucket: "host".to_owned(), token: None };
        assert_eq!(url(v2), "http://10.0.0.5:8086/api/v2/write?org=ops&bucket=host&precision=ns");
        let v3 = InfluxdbApi::V3 { database: "d".to_owned(), token: None };
        assert_eq!(url(v3), "http://10.0.0.5:8086/api/v3/write_lp?db=d&precision=nanosecond&accept_partial=true");
    }

    #[test]
    fn a_url_that_is_none_is_a_fault_of_the_settings() {
        for url in ["localhost:8086", "ftp://x", "10.0.0.5", ""] {
            let api = InfluxdbApi::V3 { database: "d".to_owned(), token: None };
            let kind = InfluxdbSink { url: url.to_owned(), api, gzip: true, ca_file: None };
            assert!(matches!(endpoint(&kind), Err(BuildError::Url { .. })), "{url}");
        }
    }

    #[test]
    fn a_token_goes_where_the_api_wants_it() {
        let token = Secret::new("t0ken");
        assert_eq!(authorization(InfluxApi::V2, &token).unwrap().as_bytes(), b"Token t0ken");
        assert_eq!(authorization(InfluxApi::V3, &token).unwrap().as_bytes(), b"Bearer t0ken");
        assert!(matches!(authorization(InfluxApi::V2, &Secret::new("a\nb")), Err(BuildError::Token)));
    }
}
