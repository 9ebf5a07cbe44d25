//! A message about somebody's text (settings or script): stable code, place, the source line, and what would be right.

use std::path::PathBuf;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// One problem at one place; lines and columns start at 1, columns count characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code such as `PD0102` (spec/experience 7.4).
    pub code: &'static str,
    pub severity: Severity,
    /// Headline: lower case, no full stop, says what would be right where one line can.
    pub message: String,
    pub place: Option<Place>,
    /// A second place that belongs to it ("first given here").
    pub other: Option<Place>,
    /// Facts.
    pub notes: Vec<String>,
    /// One edit or command.
    pub help: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    pub file: PathBuf,
    /// 0: the file as a whole.
    pub line: usize,
    pub column: usize,
    /// Characters underlined; at least 1.
    pub width: usize,
    /// The source line itself (more lines when the span needs them), without the newline.
    pub source: String,
    /// Text beside the caret.
    pub label: String,
}

impl Diagnostic {
    /// Renders as rustc does: headline `error[PD0102]: …`, ` --> file:line:column`, source with caret, notes, help.
    /// Paths inside `cwd` are printed relative to it.
    pub fn render(&self, cwd: &std::path::Path, colour: bool) -> String {
        let _ = (cwd, colour);
        todo!("config")
    }
}
