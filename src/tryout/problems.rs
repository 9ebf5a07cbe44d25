//! What a throw-away worker has said, as diagnostics.

use std::path::{Path, PathBuf};

use super::outcome::{TryoutEnd, TryoutOutcome};
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Severity, SourcePlace};
use crate::worker::WorkerSpec;
use crate::worker::frames::{self, Fatal, Warn};
use crate::worker::process::Ended;

impl TryoutOutcome {
    /// What is wrong with the script before it runs, and what is odd.
    pub fn load_problems(&self, spec: &WorkerSpec) -> Vec<Diagnostic> {
        let warning = |warn: &Warn| noted(warn, Some(spec.file_of(warn.u)));
        let mut problems: Vec<Diagnostic> = self.warnings.iter().map(warning).collect();
        match (&self.fatal, self.is_ready, &self.end) {
            (Some(fatal), ..) => problems.push(not_loaded(spec.file_of(fatal.u), fatal)),
            (None, false, Some(end)) => {
                problems.push(died_loading(spec.file_of(self.last_unit).to_owned(), end, &self.output, &self.trace));
            }
            _ => {}
        }
        problems
    }

    /// What a lister found wrong in the files that it looked at, and what kept it from telling anything.
    pub fn listing_problems(&self, lister: &WorkerSpec) -> Vec<Diagnostic> {
        let mut problems: Vec<Diagnostic> = self.faults.iter().map(|fault| noted(fault, None)).collect();
        problems.extend(self.load_problems(lister));
        problems
    }
}

/// A warning or a fault; one that names no file is about `script`.
fn noted(warn: &Warn, script: Option<&Path>) -> Diagnostic {
    let mut lines = warn.msg.lines();
    let named = warn.file.as_deref().filter(|file| !file.as_os_str().is_empty());
    let place = named.or(script).map(|file| {
        let source = if warn.src.is_empty() { source_line(file, warn.line) } else { warn.src.clone() };
        let (column, width) = match warn.col {
            0 => underline(&source),
            column => (column, width_at(&source, column)),
        };
        SourcePlace { file: file.to_owned(), line: warn.line, column, width, source, label: String::new() }
    });
    Diagnostic {
        code: warn.code.unwrap_or(Code::LoadFailed),
        severity: match warn.severity {
            frames::FrameSeverity::Error => Severity::Error,
            frames::FrameSeverity::Warning => Severity::Warning,
        },
        message: lines.next().unwrap_or_default().to_owned(),
        place,
        other: None,
        notes: lines.map(str::to_owned).collect(),
        help: Some(warn.help.clone()).filter(|help| !help.is_empty()),
    }
}

/// The code of a line without its indentation: column and width.
pub fn underline(source: &str) -> (usize, usize) {
    let indent = source.chars().take_while(|c| c.is_whitespace()).count();
    (indent + 1, source.trim().chars().count().max(1))
}

/// Characters of the word that begins at a column.
fn width_at(source: &str, column: usize) -> usize {
    source.chars().skip(column - 1).take_while(|c| !c.is_whitespace()).count().max(1)
}

fn not_loaded(script: &Path, fatal: &Fatal) -> Diagnostic {
    let line = fatal.line.unwrap_or(0);
    let column = fatal.col.unwrap_or(1);
    let message = match fatal.code {
        Some(Code::SyntaxError) => format!("syntax error: {}", fatal.msg),
        Some(
            Code::NothingToRun
            | Code::NeedsArguments
            | Code::NoInterpreter
            | Code::WrongValue
            | Code::NoSuchPath
            | Code::NoRight
            | Code::ResourceLimit,
        ) => fatal.msg.clone(),
        Some(code) if code.is_of_foreign_settings() => without_picture(fatal).to_owned(),
        Some(Code::MissingModule) => format!("a module is missing: {}", fatal.msg),
        _ => format!("raised while it was loaded: {}", fatal.raised()),
    };
    let mut notes = fatal.notes.clone();
    if fatal.code == Some(Code::LoadFailed) {
        notes.extend(fatal.tb.trim_end().lines().map(str::to_owned));
    }
    Diagnostic {
        code: fatal.code.unwrap_or(Code::LoadFailed),
        severity: Severity::Error,
        message,
        place: Some(SourcePlace {
            file: fatal.file.clone().unwrap_or_else(|| script.to_owned()),
            line,
            column,
            width: fatal.end_col.map_or(1, |end| end.saturating_sub(column).max(1)),
            source: fatal.src.clone().unwrap_or_default(),
            label: String::new(),
        }),
        other: None,
        notes,
        help: fatal.help.clone(),
    }
}

/// The text without the picture of the place below it, where the line that is shown anyway has that.
fn without_picture(fatal: &Fatal) -> &str {
    let source = fatal.src.as_deref().unwrap_or_default();
    match fatal.msg.split_once('\n') {
        Some((text, picture)) if source.contains(picture.lines().next().unwrap_or_default()) => text,
        _ => &fatal.msg,
    }
}

/// It ended before it said that it was loaded, and did not say why.
fn died_loading(script: PathBuf, end: &TryoutEnd, output: &[String], trace: &str) -> Diagnostic {
    let (code, message) = match end {
        TryoutEnd::Ended(Ended::Killed(_)) | TryoutEnd::Ended(Ended::Exited(_)) => {
            let TryoutEnd::Ended(ended) = end else { unreachable!("matched above") };
            (Code::LoadFailed, format!("its process {} while it was loaded", ended.tell()))
        }
        TryoutEnd::TimedOut(limit) => (Code::LoadFailed, format!("was still loading after {} s", limit.as_secs())),
        TryoutEnd::NotStarted(why) => (Code::NoInterpreter, why.clone()),
    };
    let notes = output.iter().rev().take(5).rev().cloned().chain(trace.trim_end().lines().map(str::to_owned)).collect();
    let place = SourcePlace { file: script, ..SourcePlace::default() };
    Diagnostic { code, severity: Severity::Error, message, place: Some(place), other: None, notes, help: None }
}

/// The text of a line of a file as it is now; empty where there is none.
pub fn source_line(file: &Path, line: usize) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    line.checked_sub(1).and_then(|index| text.lines().nth(index)).unwrap_or_default().to_owned()
}
