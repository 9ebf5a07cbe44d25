//! The http client of one pull: whom it trusts, which proxy it takes, and what its failures mean.

use std::error::Error;
use std::io;

use reqwest::{Certificate, NoProxy, Proxy, Url, redirect};

use super::super::fault::Asked;
use super::super::judge::{GitError, tame};
use super::session::{Halt, SYSTEM};
use crate::code::Code;
use crate::config::repos::GitRepos;
use crate::diagnostic::Diagnostic;
use crate::tls;

/// Servers look whether it is git that asks.
const AGENT: &str = concat!("git/2.0 (pythond/", env!("CARGO_PKG_VERSION"), ")");

/// Makes a client for the server of a URL.
///
/// # Errors
/// A certificate file or proxy that cannot be used.
pub fn client(asked: &Asked<'_>, url: &Url) -> Result<reqwest::Client, Halt> {
    tls::install_ring();
    let mut builder = reqwest::Client::builder()
        .user_agent(AGENT)
        .redirect(redirect::Policy::none())
        // The settings decide, which have it from the environment.
        .no_proxy()
        .http1_ignore_invalid_headers_in_responses(true);
    if let Some(file) = &asked.repo.ca_file {
        let unusable = |why: String| GitError::Certificate(format!("{} cannot be used: {why}", file.display()));
        let pem = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
        let trusted = Certificate::from_pem_bundle(&pem).map_err(|error| unusable(innermost(&error)))?;
        builder = builder.tls_certs_only(trusted);
    } else if url.scheme() == "http" {
        // No authority is needed, and a machine that knows none is fine.
        builder = builder.tls_certs_only([]);
    }
    if let Some(proxy) = proxy(asked.repos, url)? {
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|error| GitError::Certificate(innermost(&error)).into())
}

/// The first of these variables that holds something.
fn variable<'a>(repos: &'a GitRepos, names: &[&str]) -> Option<&'a str> {
    let value = |name: &&str| repos.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.expose().trim());
    names.iter().filter_map(value).find(|value| !value.is_empty())
}

/// The proxy that the environment names for the server of a URL, as curl takes it from there.
fn named_proxy<'a>(repos: &'a GitRepos, url: &Url) -> Option<&'a str> {
    let of_scheme: &[&str] = if url.scheme() == "https" { &["https_proxy", "HTTPS_PROXY"] } else { &["http_proxy"] };
    variable(repos, of_scheme).or_else(|| variable(repos, &["all_proxy", "ALL_PROXY"]))
}

fn proxy(repos: &GitRepos, url: &Url) -> Result<Option<Proxy>, Halt> {
    let Some(written) = named_proxy(repos, url) else { return Ok(None) };
    let exceptions = variable(repos, &["no_proxy", "NO_PROXY"]).unwrap_or_default();
    if exceptions.split(',').any(|exception| exception.trim() == "*") {
        return Ok(None);
    }
    if written.to_ascii_lowercase().starts_with("socks") {
        let message = "the environment names a SOCKS proxy, which libgit2 does not take here";
        let help = format!("{SYSTEM} takes it, or name an http proxy in `https_proxy`");
        return Err(Halt::Told(Box::new(Diagnostic::error(Code::GitFailed, message).with_help(help))));
    }
    // The URL may hold a password: neither it nor the error is told.
    let unusable = |_| GitError::Other("the proxy in the environment is no URL".to_owned());
    Ok(Some(Proxy::all(written).map_err(unusable)?.no_proxy(NoProxy::from_string(exceptions))))
}

/// What a request that failed means.
pub fn trouble_of(error: &reqwest::Error) -> GitError {
    match of_tls(error) {
        Some(why) => GitError::Certificate(why),
        None => GitError::Unreachable(innermost(error)),
    }
}

/// Why a certificate is not trusted, if it is that. An error of input and output hands out the cause of its cause only.
fn of_tls(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref::<rustls::Error>() {
        return Some(tame(&format!("certificate verification failed: {why:?}")));
    }
    let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref).and_then(|inside| of_tls(inside));
    inside.or_else(|| of_tls(error.source()?))
}

/// The client wraps the system's word several times; a person needs the innermost. Its own text would name the URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(Error::source) {
        cause = Some(deeper);
    }
    cause.map_or_else(|| "the request failed".to_owned(), |cause| tame(&cause.to_string()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Surroundings;

    fn settings(env: &[(&str, &str)]) -> GitRepos {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        GitRepos::default_in(Path::new("/"), &Surroundings { env, hostname: "h".to_owned() })
    }

    #[test]
    fn the_proxy_is_the_one_that_curl_would_take() {
        let named = |env: &[(&str, &str)], url: &str| {
            named_proxy(&settings(env), &Url::parse(url).unwrap()).unwrap_or("none").to_owned()
        };
        let (http, https) = ("http://h/c.git", "https://h/c.git");
        assert_eq!(named(&[("https_proxy", "http://p:1")], https), "http://p:1");
        assert_eq!(named(&[("HTTPS_PROXY", " p:2 ")], https), "p:2");
        assert_eq!(named(&[("all_proxy", "http://p:3"), ("https_proxy", "")], https), "http://p:3");
        assert_eq!(named(&[("http_proxy", "http://p:4"), ("https_proxy", "http://p:1")], http), "http://p:4");
        assert_eq!(named(&[("https_proxy", "http://p:1")], http), "none");
        assert_eq!(named(&[], https), "none");
    }

    #[test]
    fn a_socks_proxy_is_left_to_the_git_program_and_a_password_is_not_told() {
        let told = |proxy: &str| match self::proxy(
            &settings(&[("https_proxy", proxy)]),
            &Url::parse("https://h/c").unwrap(),
        ) {
            Err(Halt::Told(fault)) => format!("{} {}", fault.message, fault.help.unwrap_or_default()),
            other => format!("{:?}", other.map_err(|halt| format!("{halt:?}"))),
        };
        assert!(told("socks5h://u:s3cret@p").contains("`transport = \"system\"`"));
        let odd = told("http://u:s3cret@:x");
        assert!(odd.contains("is no URL") && !odd.contains("s3cret"), "{odd}");
    }
}
