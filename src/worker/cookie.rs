//! The entries of the environment by which everything that a worker started is known: they survive `setsid` and double forks.

use std::ffi::OsString;
use std::path::Path;

/// Whose run directory: in the environment of every worker and of everything it starts. The programs that the agent starts have it too.
pub const RUN: &str = "PYTHOND_RUN";
/// Beside [`RUN`]: which worker.
pub const WORKER: &str = "PYTHOND_WORKER";
/// Whose run directory a guard watches over: it has no other entry, so that it is never taken for what it is to end.
pub const GUARD: &str = "PYTHOND_GUARD";
/// How the entry that names the worker begins.
pub const WORKER_ENTRY: &[u8] = b"PYTHOND_WORKER=";

/// The entry that all processes of the agent on this run directory have.
pub fn of_run(run_dir: &Path) -> Vec<u8> {
    entry(RUN, run_dir)
}

/// The entry that the guard of the agent on this run directory has.
pub fn of_guard(run_dir: &Path) -> Vec<u8> {
    entry(GUARD, run_dir)
}

fn entry(name: &str, dir: &Path) -> Vec<u8> {
    let mut entry = OsString::from(name);
    entry.push("=");
    entry.push(dir);
    entry.into_encoded_bytes()
}

/// The entry that a worker with this token has, and all that it starts.
pub fn of_worker(token: &str) -> Vec<u8> {
    [WORKER_ENTRY, token.as_bytes()].concat()
}

/// The token in an entry that names a worker.
pub fn token_in(entry: &[u8]) -> Option<String> {
    entry.strip_prefix(WORKER_ENTRY).map(|token| String::from_utf8_lossy(token).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_of_a_worker_tells_its_token() {
        assert!(WORKER_ENTRY.starts_with(WORKER.as_bytes()));
        assert_eq!(of_worker("abc"), b"PYTHOND_WORKER=abc");
        assert_eq!(token_in(&of_worker("abc")).as_deref(), Some("abc"));
        assert_eq!(token_in(b"PYTHOND_RUN=abc"), None);
        assert_eq!(token_in(b""), None);
        assert_eq!(of_run(Path::new("/var/run")), b"PYTHOND_RUN=/var/run");
    }
}
