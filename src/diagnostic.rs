//! A message about somebody's text (settings or script): stable code, place, the source line, and what would be right.

use crate::code::Code;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// One problem at one place; lines and columns start at 1, columns count characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code such as `PD0102`.
    pub code: Code,
    pub severity: Severity,
    /// Headline: lower case, no full stop, says what would be right where one line can.
    pub message: String,
    pub place: Option<SourcePlace>,
    /// A second place that belongs to it ("first given here").
    pub other: Option<SourcePlace>,
    /// Facts.
    pub notes: Vec<String>,
    /// One edit or command.
    pub help: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourcePlace {
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
    /// Starts an error; the caller adds what else is known.
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, message.into())
    }

    /// Starts a warning; the caller adds what else is known.
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, message.into())
    }

    fn new(code: Code, severity: Severity, message: String) -> Self {
        Self { code, severity, message, place: None, other: None, notes: Vec::new(), help: None }
    }

    #[must_use]
    pub fn at(mut self, place: SourcePlace) -> Self {
        self.place = Some(place);
        self
    }

    #[must_use]
    pub fn with_other(mut self, place: SourcePlace) -> Self {
        self.other = Some(place);
        self
    }

    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Renders as rustc does: headline `error[PD0102]: …`, ` --> file:line:column`, source with caret, notes, help.
    /// Paths inside `cwd` are printed relative to it. No newline at the end.
    pub fn render(&self, cwd: &Path, colour: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut report = Group::with_title(level.primary_title(&self.message).id(self.code.as_str()));
        if let Some(place) = &self.place {
            report = place.add_to(report, AnnotationKind::Primary, cwd);
        }
        if let Some(place) = &self.other {
            report = place.add_to(report, AnnotationKind::Context, cwd);
        }
        report = report.elements(self.notes.iter().map(|note| Level::NOTE.message(note)));
        report = report.elements(self.help.iter().map(|help| Level::HELP.message(help)));
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[report])
    }
}

impl SourcePlace {
    /// A file as a whole.
    pub fn of_file(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), ..Self::default() }
    }

    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    fn add_to<'a>(&'a self, report: Group<'a>, kind: AnnotationKind, cwd: &Path) -> Group<'a> {
        let path = self.file.strip_prefix(cwd).unwrap_or(&self.file).display().to_string();
        if self.line == 0 {
            return report.element(Origin::path(path));
        }
        let label = (!self.label.is_empty()).then_some(self.label.as_str());
        let snippet = Snippet::source(self.source.as_str()).path(path).line_start(self.line);
        report.element(snippet.annotation(kind.span(self.underlined()).label(label)))
    }

    /// The bytes of `source` under the caret; a place behind the last character points at the end.
    fn underlined(&self) -> std::ops::Range<usize> {
        let byte_of = |chars: usize| self.source.char_indices().nth(chars).map_or(self.source.len(), |(at, _)| at);
        let start = self.column.saturating_sub(1);
        byte_of(start)..byte_of(start + self.width.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(file: &str, line: usize, column: usize, width: usize, source: &str, label: &str) -> SourcePlace {
        SourcePlace { file: file.into(), line, column, width, source: source.to_owned(), label: label.to_owned() }
    }

    fn rendered(diagnostic: &Diagnostic) -> String {
        diagnostic.render(Path::new("/srv"), false)
    }

    #[test]
    fn a_diagnostic_shows_line_caret_label_notes_and_help() {
        let diagnostic = Diagnostic::error(Code::UnknownKey, "unknown key `dris`")
            .at(place("/srv/conf.d/disk.conf", 6, 3, 4, "  dris = [\"disk\"]", "did you mean `dirs`?"))
            .with_note("keys here are `name`, `cmd`, `dirs`")
            .with_help("write `dirs`");
        let expected = "\
error[PD0102]: unknown key `dris`
 --> conf.d/disk.conf:6:3
  |
6 |   dris = [\"disk\"]
  |   ^^^^ did you mean `dirs`?
  |
  = note: keys here are `name`, `cmd`, `dirs`
  = help: write `dirs`";
        assert_eq!(rendered(&diagnostic), expected);
    }

    #[test]
    fn the_second_place_is_shown_too() {
        let diagnostic = Diagnostic::error(Code::GivenTwice, "`[buffer]` is given twice")
            .at(place("/srv/conf.d/b.conf", 12, 2, 6, "[buffer]", ""))
            .with_other(place("/elsewhere/a.conf", 1, 2, 6, "[buffer]", "first given here"));
        let expected = "\
error[PD0105]: `[buffer]` is given twice
  --> conf.d/b.conf:12:2
   |
12 | [buffer]
   |  ^^^^^^
   |
  ::: /elsewhere/a.conf:1:2
   |
 1 | [buffer]
   |  ------ first given here";
        assert_eq!(rendered(&diagnostic), expected);
    }

    #[test]
    fn a_file_as_a_whole_and_no_place_at_all_are_shown_without_source() {
        let whole = Diagnostic::warning(Code::IgnoredFile, "`x.toml` is not read")
            .at(SourcePlace::of_file("/srv/conf.d/x.toml"));
        assert_eq!(rendered(&whole), "warning[PD0111]: `x.toml` is not read\n--> conf.d/x.toml");
        assert_eq!(rendered(&Diagnostic::error(Code::NoSuchPath, "nothing here")), "error[PD0106]: nothing here");
    }

    #[test]
    fn columns_count_characters_and_the_end_of_a_line_has_a_caret() {
        let wide = Diagnostic::error(Code::WrongValue, "odd").at(place("/srv/a", 1, 7, 2, "\té = 「x」 # y", ""));
        assert!(rendered(&wide).starts_with("error[PD0103]: odd\n --> a:1:7\n"), "{}", rendered(&wide));
        let end = Diagnostic::error(Code::UnreadableSettings, "open").at(place("/srv/a", 2, 6, 1, "a = \"", ""));
        assert!(rendered(&end).ends_with("2 | a = \"\n  |      ^"), "{}", rendered(&end));
        let beyond = Diagnostic::error(Code::UnreadableSettings, "open").at(place("/srv/a", 2, 99, 5, "a", ""));
        assert!(rendered(&beyond).contains("2 | a"), "{}", rendered(&beyond));
    }

    #[test]
    fn colour_comes_only_when_asked_for() {
        let diagnostic =
            Diagnostic::error(Code::UnknownKey, "unknown key `x`").at(place("/srv/a", 1, 1, 1, "x = 1", ""));
        assert!(!diagnostic.render(Path::new("/"), false).contains('\u{1b}'));
        assert!(diagnostic.render(Path::new("/"), true).contains('\u{1b}'));
    }
}
