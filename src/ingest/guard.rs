//! Who may ask: no browser page of a foreign origin, no foreign `Host` (DNS rebinding), and a token where tokens are set.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::reply::No;
use super::server::Peer;
use super::write::WORKER_HEADER;
use crate::config::Secret;
use crate::worker::roster::Roster;

/// What is allowed over TCP; the Unix socket is guarded by its file mode.
pub struct AccessGuard {
    pub tokens: Vec<Secret>,
    pub allowed_origins: Vec<String>,
    pub allowed_hosts: Vec<String>,
    pub roster: Roster,
}

/// Lets a request through or answers 403; used as middleware over all routes.
pub async fn check(State(guard): State<Arc<AccessGuard>>, request: Request, next: Next) -> Response {
    let local = matches!(request.extensions().get::<Peer>(), Some(Peer::Unix));
    match if local { Ok(()) } else { guard.admit(request.headers()) } {
        Ok(()) => next.run(request).await,
        Err(no) => no.into_response(),
    }
}

impl AccessGuard {
    fn admit(&self, headers: &HeaderMap) -> Result<(), No> {
        let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let host = text(header::HOST);
        if let Some(host) = host
            && !self.knows_host(host)
        {
            return Err(forbidden(
                "pythond.foreignHost",
                format!(
                    "the request is for host `{host}`; an IP address, localhost or one of [http_api] allowed_hosts would be taken"
                ),
            ));
        }
        if let Some(origin) = text(header::ORIGIN)
            && !self.knows_origin(origin, host)
        {
            return Err(forbidden(
                "pythond.foreignOrigin",
                format!(
                    "the request comes from a web page of `{origin}`; only [http_api] allowed_origins may ask from a browser"
                ),
            ));
        }
        if self.tokens.is_empty() || self.has_token(headers) {
            return Ok(());
        }
        Err(forbidden(
            "datakit.invalidToken",
            "a token is needed: send `Authorization: Bearer <one of [http_api] tokens>`".to_owned(),
        ))
    }

    fn knows_host(&self, host: &str) -> bool {
        let name = name_of(host);
        name.eq_ignore_ascii_case("localhost")
            || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
            || self
                .allowed_hosts
                .iter()
                .any(|allowed| allowed.eq_ignore_ascii_case(name) || allowed.eq_ignore_ascii_case(host))
    }

    /// The page's own origin is allowed: its host has passed already.
    fn knows_origin(&self, origin: &str, host: Option<&str>) -> bool {
        let own =
            host.is_some_and(|host| origin.strip_prefix("http://").or(origin.strip_prefix("https://")) == Some(host));
        own || self.allowed_origins.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let bearer = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer ").or(value.strip_prefix("Token ")));
        let worker = headers.get(WORKER_HEADER).and_then(|value| value.to_str().ok());
        bearer.is_some_and(|given| self.tokens.iter().any(|token| same(token.expose(), given)))
            || worker.is_some_and(|token| self.roster.find(token).is_some())
    }
}

fn forbidden(error_code: &'static str, message: String) -> No {
    No::Forbidden { error_code, message }
}

/// The host without its port.
fn name_of(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

/// Compares without telling by its time where the difference is.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differ, (x, y)| differ | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(tokens: &[&str]) -> AccessGuard {
        AccessGuard {
            tokens: tokens.iter().map(|token| Secret::new(*token)).collect(),
            allowed_origins: vec!["https://wall.example".to_owned()],
            allowed_hosts: vec!["collector.example".to_owned()],
            roster: Roster::default(),
        }
    }

    fn admits(guard: &AccessGuard, headers: &[(&'static str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        guard.admit(&map).is_ok()
    }

    #[test]
    fn a_foreign_host_is_refused_and_addresses_are_not() {
        let guard = guard(&[]);
        for host in
            ["localhost:9529", "127.0.0.1:9529", "[::1]:9529", "10.0.0.7", "collector.example:9529", "LOCALHOST"]
        {
            assert!(admits(&guard, &[("host", host)]), "{host}");
        }
        for host in ["evil.example:9529", "127.0.0.1.evil.example", ""] {
            assert!(!admits(&guard, &[("host", host)]), "{host}");
        }
        assert!(admits(&guard, &[]));
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let guard = guard(&[]);
        assert!(!admits(&guard, &[("host", "127.0.0.1:9529"), ("origin", "http://evil.example")]));
        assert!(!admits(&guard, &[("host", "127.0.0.1:9529"), ("origin", "null")]));
        assert!(admits(&guard, &[("host", "127.0.0.1:9529"), ("origin", "http://127.0.0.1:9529")]));
        assert!(admits(&guard, &[("host", "127.0.0.1:9529"), ("origin", "https://wall.example")]));
    }

    #[test]
    fn a_set_token_must_be_shown() {
        let guard = guard(&["s3cret"]);
        assert!(!admits(&guard, &[("host", "localhost")]));
        assert!(!admits(&guard, &[("host", "localhost"), ("authorization", "Bearer s3creT")]));
        assert!(admits(&guard, &[("host", "localhost"), ("authorization", "Bearer s3cret")]));
        assert!(!admits(&guard, &[("host", "localhost"), (WORKER_HEADER, "0123")]));
    }
}
