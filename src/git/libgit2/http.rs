//! http and https as transport, by the client that is in the agent anyway: two kinds of requests, one for the list of refs and one that
//! asks for objects.
//!
//! The login goes along with the first request, so that a pull without news is one request; it goes to the server of the URL and to no
//! other. A redirect is followed for the list of refs only, as git does, and never from https to http.

use std::future::Future;
use std::io::{self, Cursor, Read, Write};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use git2::Error;
use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream};
use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION, PRAGMA, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode, Url};
use tokio::runtime::Runtime;

use super::super::fault::Asked;
use super::super::judge::{GitError, tame};
use super::advert;
use super::client::{client, trouble_of};
use super::session::{Halt, SYSTEM, Session};
use crate::code::Code;
use crate::config::Secret;
use crate::diagnostic::Diagnostic;

/// A server from which nothing comes for so long is given up, as git does.
const SILENCE: Duration = Duration::from_secs(30);
/// How often a wait looks whether it may go on.
const LOOK: Duration = Duration::from_millis(20);
const REDIRECTS: usize = 10;
const LIST: &str = "/info/refs?service=git-upload-pack";
const LIST_TYPE: &str = "application/x-git-upload-pack-advertisement";
const REQUEST_TYPE: &str = "application/x-git-upload-pack-request";
const RESULT_TYPE: &str = "application/x-git-upload-pack-result";

/// One repository behind http, for one pull.
pub struct Http {
    session: Arc<Session>,
    client: reqwest::Client,
    /// `None` once it is dropped. Of its own, so that a pull needs nothing of the agent's threads.
    runtime: Option<Runtime>,
    home: Url,
    login: Option<(String, Secret)>,
    /// Where the repository is since the list of refs was asked for.
    place: Mutex<String>,
}

impl Http {
    /// Prepares a client; nothing is sent yet.
    ///
    /// # Errors
    /// A certificate file or proxy that cannot be used.
    pub fn new(asked: &Asked<'_>, session: &Arc<Session>) -> Result<Self, Halt> {
        let other = |error: &dyn std::error::Error| GitError::Other(error.to_string());
        let place = asked.repo.url.as_str().trim_end_matches('/').to_owned();
        let home = Url::parse(&place).map_err(|error| other(&error))?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| other(&error))?;
        Ok(Self {
            session: Arc::clone(session),
            client: client(asked, &home)?,
            runtime: Some(runtime),
            home,
            login: asked.repo.login.clone(),
            place: Mutex::new(place),
        })
    }

    /// Asks for the list of refs, wherever the server sends us on to.
    fn list(&self) -> Result<Vec<u8>, Halt> {
        let asked = format!("{}{LIST}", self.place());
        let mut url = Url::parse(&asked).map_err(|error| GitError::Other(error.to_string()))?;
        for _ in 0..=REDIRECTS {
            let response = self.send(Method::GET, &url, None)?;
            if let Some(next) = sent_on(&response) {
                url = next_url(&url, &next)?;
                continue;
            }
            self.check_status(&response, &url)?;
            let is_list = is_of_type(&response, LIST_TYPE);
            let list = self.whole(response)?;
            if !is_list {
                return Err(no_list(&list));
            }
            let place = url.as_str().strip_suffix(LIST).unwrap_or_default();
            place.clone_into(&mut self.place.lock().unwrap_or_else(PoisonError::into_inner));
            if advert::is_sha256(&list) {
                return Err(GitError::Other("mismatched algorithms: client sha1; server sha256".to_owned()).into());
            }
            return Ok(advert::without_foreign_names(list));
        }
        Err(GitError::Other(format!("the server sends us on more than {REDIRECTS} times")).into())
    }

    /// Asks for objects; the answer has begun.
    fn exchange(&self, question: Vec<u8>) -> Result<Response, Halt> {
        let url = format!("{}/git-upload-pack", self.place());
        let url = Url::parse(&url).map_err(|error| GitError::Other(error.to_string()))?;
        let response = self.send(Method::POST, &url, Some(question))?;
        self.check_status(&response, &url)?;
        if is_of_type(&response, RESULT_TYPE) { Ok(response) } else { Err(GitError::NoGitServer.into()) }
    }

    fn place(&self) -> String {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn send(&self, method: Method, url: &Url, question: Option<Vec<u8>>) -> Result<Response, Halt> {
        let mut request = self.client.request(method, url.clone()).header(PRAGMA, "no-cache");
        if let Some(question) = question {
            request = request.header(CONTENT_TYPE, REQUEST_TYPE).header(ACCEPT, RESULT_TYPE).body(question);
        }
        if let Some((user, password)) = self.login_for(url) {
            request = request.basic_auth(user, Some(password.expose()));
        }
        self.wait(request.send())?.map_err(|error| trouble_of(&error).into())
    }

    fn login_for(&self, url: &Url) -> Option<&(String, Secret)> {
        let place =
            |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default());
        self.login.as_ref().filter(|_| place(url) == place(&self.home))
    }

    fn check_status(&self, response: &Response, url: &Url) -> Result<(), Halt> {
        let has_login = self.login_for(url).is_some();
        Err(match response.status() {
            status if status.is_success() => return Ok(()),
            StatusCode::UNAUTHORIZED if has_login => match other_ways(response) {
                Some(ways) => return Err(no_basic(url, &ways)),
                None => GitError::LoginRefused,
            },
            StatusCode::UNAUTHORIZED => GitError::LoginMissing,
            StatusCode::FORBIDDEN => GitError::LoginRefused,
            StatusCode::NOT_FOUND | StatusCode::GONE => GitError::NoRepository,
            status => GitError::Status(status.as_u16()),
        }
        .into())
    }

    fn whole(&self, mut response: Response) -> Result<Vec<u8>, Halt> {
        let mut whole = Vec::new();
        while let Some(piece) = self.piece(&mut response)? {
            whole.extend_from_slice(&piece);
            if whole.len() > advert::MOST {
                return Err(GitError::Other("the server's list of refs is too long".to_owned()).into());
            }
        }
        Ok(whole)
    }

    fn piece(&self, response: &mut Response) -> Result<Option<Bytes>, Halt> {
        self.wait(response.chunk())?.map_err(|error| trouble_of(&error).into())
    }

    /// Waits for the server, but not beyond the time of the pull or the life of the agent.
    fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, Halt> {
        let runtime = self.runtime.as_ref().expect("it is there until this is dropped");
        runtime.block_on(async {
            let mut work = pin!(work);
            let mut silence = pin!(tokio::time::sleep(SILENCE));
            loop {
                tokio::select! {
                    biased;
                    done = &mut work => return Ok(done),
                    () = &mut silence => {
                        let why = format!("nothing came for {} s", SILENCE.as_secs());
                        return Err(GitError::Unreachable(why).into());
                    }
                    () = tokio::time::sleep(LOOK) => self.session.programs.go_on()?,
                }
            }
        })
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        // A name that is still being looked up would hold an ordinary end up.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn sent_on(response: &Response) -> Option<String> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(LOCATION).filter(|_| is_redirect)?;
    location.to_str().ok().map(str::to_owned)
}

/// Another place for the same list. Whatever else we are sent on to, such as a page to log in, is no git server.
fn next_url(url: &Url, next: &str) -> Result<Url, Halt> {
    let next = url.join(next).map_err(|_| GitError::NoGitServer)?;
    if !matches!(next.scheme(), "http" | "https") || !next.as_str().ends_with(LIST) {
        return Err(GitError::NoGitServer.into());
    }
    if url.scheme() == "https" && next.scheme() == "http" {
        let why = format!("the server sends us on to `{}`, without encryption", tame(&shown(&next)));
        return Err(GitError::Other(why).into());
    }
    Ok(next)
}

/// A server's URL without what may be a secret.
fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn is_of_type(response: &Response, wanted: &str) -> bool {
    let given = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}

/// The ways to log in that a server offers where basic is not among them.
fn other_ways(response: &Response) -> Option<String> {
    let offers = response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let ways: Vec<&str> = offers.filter_map(|offer| offer.split_whitespace().next()).collect();
    let has_basic = ways.iter().any(|way| way.eq_ignore_ascii_case("basic"));
    (!ways.is_empty() && !has_basic).then(|| tame(&ways.join(", ")))
}

fn no_basic(url: &Url, ways: &str) -> Halt {
    let host = url.host_str().unwrap_or_default();
    let message = format!("`{host}` takes no user and password or token as they are; it offers: {ways}");
    Halt::Told(Box::new(
        Diagnostic::error(Code::LoginRefused, message).with_help(format!("{SYSTEM} knows other ways to log in")),
    ))
}

/// What answered instead of a git server; one that hands out the files of a repository begins with an id.
fn no_list(answer: &[u8]) -> Halt {
    let is_id = answer.len() > 40 && answer[..40].iter().all(u8::is_ascii_hexdigit) && answer[40] == b'\t';
    if !is_id {
        return GitError::NoGitServer.into();
    }
    let message = "the server hands out the files of a repository only, which libgit2 does not read";
    let help = format!("{SYSTEM} with `depth = 0` does; better, have the server run `git http-backend`");
    Halt::Told(Box::new(Diagnostic::error(Code::GitFailed, message).with_help(help)))
}

/// The transport as libgit2 wants it.
pub struct Requests(pub Arc<Http>);

impl SmartSubtransport for Requests {
    fn action(&self, _url: &str, service: Service) -> Result<Box<dyn SmartSubtransportStream>, Error> {
        match service {
            Service::UploadPackLs => match self.0.list() {
                Ok(list) => Ok(Box::new(Cursor::new(list))),
                Err(halt) => Err(Error::from_str(&self.0.session.failed(halt).to_string())),
            },
            Service::UploadPack => Ok(Box::new(Exchange::Question { http: Arc::clone(&self.0), bytes: Vec::new() })),
            Service::ReceivePackLs | Service::ReceivePack => Err(Error::from_str("nothing is ever pushed")),
        }
    }

    fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// A question that is sent when its answer is read.
enum Exchange {
    Question { http: Arc<Http>, bytes: Vec<u8> },
    Answer { http: Arc<Http>, response: Box<Response>, piece: Bytes },
    Over,
}

impl Write for Exchange {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        match self {
            Self::Question { bytes, .. } => bytes.extend_from_slice(more),
            Self::Answer { .. } | Self::Over => return Err(io::Error::other("the question was sent already")),
        }
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Exchange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Self::Question { http, bytes } = self {
            let (http, bytes) = (Arc::clone(http), std::mem::take(bytes));
            let response = http.exchange(bytes).map_err(|halt| http.session.failed(halt))?;
            *self = Self::Answer { http, response: Box::new(response), piece: Bytes::new() };
        }
        let Self::Answer { http, response, piece } = self else { return Ok(0) };
        while piece.is_empty() {
            match http.piece(response).map_err(|halt| http.session.failed(halt))? {
                Some(next) => *piece = next,
                None => {
                    *self = Self::Over;
                    return Ok(0);
                }
            }
        }
        let got = piece.len().min(buffer.len());
        piece.copy_to_slice(&mut buffer[..got]);
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(from: &str, to: &str) -> Result<String, String> {
        match next_url(&Url::parse(from).unwrap(), to) {
            Ok(url) => Ok(url.to_string()),
            Err(Halt::Trouble(trouble)) => Err(format!("{trouble:?}")),
            Err(other) => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn a_redirect_leads_to_the_same_list_elsewhere_or_nowhere() {
        let here = format!("https://h/a{LIST}");
        assert_eq!(next(&here, &format!("https://g/b{LIST}")), Ok(format!("https://g/b{LIST}")));
        assert_eq!(next(&here, &format!("/b{LIST}")), Ok(format!("https://h/b{LIST}")));
        assert_eq!(next(&format!("http://h/a{LIST}"), &format!("https://h/a{LIST}")), Ok(here.clone()));
        assert_eq!(next(&here, "https://h/login"), Err("NoGitServer".to_owned()));
        assert_eq!(next(&here, &format!("ftp://h/a{LIST}")), Err("NoGitServer".to_owned()));
        assert!(
            next(&here, &format!("http://u:p@h/a{LIST}"))
                .is_err_and(|why| why.contains("without encryption") && !why.contains("u:p"))
        );
    }
}
