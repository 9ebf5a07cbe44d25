//! libgit2 for the whole process: no settings but our own, and one transport of ours for all that goes over the network.
//!
//! A transport is made by a function without arguments of ours, on the thread that fetches: [`by`] says there which route it takes.

use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

use git2::transport::Transport;
use git2::{ConfigLevel, Error, ErrorClass, ErrorCode, Remote, opts};

use super::exec::Exec;
use super::http::Http;

/// What stands for the repository in the eyes of libgit2: its own transports know no such scheme.
pub const URL: &str = "pythond://repository";
const SCHEME: &str = "pythond";

/// How the bytes reach the server.
#[derive(Clone)]
pub enum Route {
    Http(Arc<Http>),
    Exec(Arc<Exec>),
}

thread_local! {
    static ROUTE: RefCell<Option<Route>> = const { RefCell::new(None) };
}

/// Runs what connects to [`URL`] so that it takes this route.
pub fn by<T>(route: &Route, work: impl FnOnce() -> T) -> T {
    let before = ROUTE.replace(Some(route.clone()));
    let done = work();
    ROUTE.set(before);
    done
}

/// Prepares libgit2, once.
///
/// # Errors
/// What libgit2 says.
pub fn ready() -> Result<(), Error> {
    static READY: OnceLock<Result<(), (ErrorCode, ErrorClass, String)>> = OnceLock::new();
    let ready =
        READY.get_or_init(|| prepare().map_err(|error| (error.code(), error.class(), error.message().to_owned())));
    ready.clone().map_err(|(code, class, message)| Error::new(code, class, message))
}

#[expect(unsafe_code)]
fn prepare() -> Result<(), Error> {
    for level in [ConfigLevel::System, ConfigLevel::Global, ConfigLevel::XDG, ConfigLevel::ProgramData] {
        // SAFETY: `ready` is the only caller, once, before anything else of libgit2 is used.
        unsafe { opts::set_search_path(level, "")? };
    }
    // SAFETY: as above. Whose a store or a repository is does not matter here: nothing in them is run.
    unsafe { opts::set_verify_owner_validation(false)? };
    // SAFETY: as above.
    unsafe { git2::transport::register(SCHEME, transport) }
}

fn transport(remote: &Remote<'_>) -> Result<Transport, Error> {
    match ROUTE.with_borrow(Clone::clone) {
        Some(Route::Http(http)) => Transport::smart(remote, true, super::http::Requests(http)),
        Some(Route::Exec(exec)) => Transport::smart(remote, false, super::exec::Pipes(exec)),
        None => Err(Error::from_str("no pull is under way on this thread")),
    }
}
