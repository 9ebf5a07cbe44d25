//! Finds a real server on this machine, or says which test goes without.

use std::io::Write;
use std::path::PathBuf;

/// The program; where it is not installed: says on stderr that the test is skipped and gives `None`, or fails it with `PYTHOND_REQUIRE_SERVERS=1`.
pub fn installed(program: &str, package: &str) -> Option<PathBuf> {
    let places = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    if let Ok(found) = which::which_in(program, Some(places), "/") {
        return Some(found);
    }
    let is_required = std::env::var("PYTHOND_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
    assert!(!is_required, "{program} is not installed (Debian package {package})");
    // Not `eprintln`: the test harness keeps that to itself when a test passes.
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let said = format!("skipped {test}: {program} is not installed (Debian package {package})\n");
    std::io::stderr().write_all(said.as_bytes()).unwrap();
    None
}
