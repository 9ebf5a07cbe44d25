//! What a command writes: text on stdout, notices and diagnostics on stderr, paths as seen from the current directory.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::diagnostic::Diagnostic;

/// Writes to stdout; a reader that went away (`pythond status | head`) is no error.
pub(super) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody is left to tell.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints one of the views, as programs read it.
pub(super) fn say_json(view: &impl Serialize) {
    say(&format!("{}\n", serde_json::to_string_pretty(view).expect("the views always serialise")));
}

/// Writes notices and diagnostics to stderr.
pub(super) fn warn(text: &str) {
    let mut out = std::io::stderr().lock();
    // Nobody is left to tell.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints diagnostics to stderr, each as one block.
pub(super) fn show(diagnostics: &[Diagnostic]) {
    let (here, colour) = (here(), colour_on_stderr());
    for diagnostic in diagnostics {
        warn(&format!("{}\n", diagnostic.render(&here, colour)));
    }
}

/// Prints a path relative to the current directory where it lies inside.
pub(super) fn short(path: &Path) -> String {
    path.strip_prefix(here()).unwrap_or(path).display().to_string()
}

pub(super) fn here() -> PathBuf {
    std::env::current_dir().unwrap_or_default()
}

fn colour_on_stderr() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
