//! Takes typed values out of one table and records everything that is wrong with it.
//!
//! A [`Section`] learns its vocabulary from what is asked of it: the keys nobody asked for are the unknown ones, and the suggestion for
//! a misspelt key comes from those that were.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::expand::{self, Reference};
use super::raw::{Files, Node, Span, TableEntry, TomlValue};
use super::repos::RepoRoot;
use super::secret::Secret;
use super::surroundings::{Origin, Surroundings};
use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::nearest::nearest;
use crate::platform;
use crate::quantity::{self, A_DURATION, A_SIZE};

/// What goes along while the tables are read: what may be looked at, and what was found.
pub struct ReadContext<'a> {
    pub root: &'a Path,
    /// The exported repositories, in order.
    pub repos: &'a [RepoRoot],
    /// Enabled repositories that were never fetched.
    pub pending: Vec<String>,
    /// The settings are for other hosts: what is missing on this one is a warning.
    pub is_elsewhere: bool,
    pub around: &'a Surroundings,
    pub files: &'a Files,
    pub faults: Vec<Diagnostic>,
    pub warnings: Vec<Diagnostic>,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Located<T> {
    pub value: T,
    pub span: Span,
}

/// Why a value cannot be taken.
pub enum Wrong {
    /// The end of the sentence "it must be …".
    MustBe(String),
    /// A sentence of its own.
    Because { code: Code, message: String, help: Option<String> },
    /// It has been said already.
    Known,
}

/// What a value becomes.
pub type TakenValue<T> = Result<T, Wrong>;

pub fn must_be<T>(what: impl Into<String>) -> TakenValue<T> {
    Err(Wrong::MustBe(what.into()))
}

pub fn because<T>(code: Code, message: impl Into<String>) -> TakenValue<T> {
    Err(Wrong::Because { code, message: message.into(), help: None })
}

pub fn because_with_help<T>(code: Code, message: impl Into<String>, help: impl Into<String>) -> TakenValue<T> {
    Err(Wrong::Because { code, message: message.into(), help: Some(help.into()) })
}

impl ReadContext<'_> {
    /// Records a fault, unless it only follows from a syntax error.
    pub fn fault(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.say(Diagnostic::error(code, message), span);
    }

    pub fn fault_with_help(&mut self, code: Code, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.say(Diagnostic::error(code, message).with_help(help), span);
    }

    pub fn twice(&mut self, name: &str, first: Span, second: Span) {
        let fault = self.files.twice(name, first, second);
        self.faults.push(fault);
    }

    fn say(&mut self, fault: Diagnostic, span: Span) {
        if !self.files.is_in_broken_line(span) {
            let place = self.files.place(span);
            self.faults.push(fault.at(place));
        }
    }

    pub fn warn(&mut self, code: Code, span: Span, message: impl Into<String>, help: impl Into<String>) {
        let place = self.files.place(span);
        self.warnings.push(Diagnostic::warning(code, message).at(place).with_help(help));
    }

    /// Warns of a secret that is written out in a settings file which every user may read.
    pub fn warn_of_open_secret(&mut self, node: &Node) {
        let TomlValue::Text(text) = &node.value else { return };
        if text.is_empty() || text.contains("${env:") || text.contains("${file:") {
            return;
        }
        // `$NAME` was filled in from the environment: the file does not hold it.
        if self.files.has_variable(node.span) {
            return;
        }
        let file = self.files.path(node.span).to_owned();
        let Some(mode) = std::fs::metadata(&file).ok().and_then(|meta| platform::mode_if_open_to_all(&meta)) else {
            return;
        };
        let message = format!("a secret stands in this file, which every user may read (mode {:03o})", mode & 0o777);
        let help =
            format!("chmod o-rwx {}, or keep the secret elsewhere: ${{env:NAME}} or ${{file:path}}", file.display());
        self.warn(Code::ExposedSecret, node.span, message, help);
    }

    /// A path as a setting means it: `~` is the home directory, a relative one stands below `base`.
    pub fn path_below(&self, base: &Path, text: &str) -> PathBuf {
        let home = self.around.home();
        match (text.strip_prefix('~'), home) {
            (Some(""), Some(home)) => home,
            (Some(rest), Some(home)) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
            _ => base.join(text).components().collect(),
        }
    }
}

/// One table while its keys are taken.
pub struct Section {
    /// How messages call it: `[buffer]`.
    title: String,
    entries: Vec<TableEntry>,
    span: Span,
    known: Vec<&'static str>,
}

impl Section {
    /// Opens a table; anything else under its name is a fault.
    pub fn open(title: &str, node: Node, reading: &mut ReadContext<'_>) -> Option<Self> {
        match node.value {
            TomlValue::Table(table) => {
                Some(Self { title: title.to_owned(), entries: table.entries, span: node.span, known: Vec::new() })
            }
            TomlValue::Broken => None,
            value => {
                reading.fault(
                    Code::WrongValue,
                    node.span,
                    format!("`{title}` is {}; it must be a table", shown(&value)),
                );
                None
            }
        }
    }

    pub fn origin(&self, reading: &ReadContext<'_>) -> Origin {
        reading.files.origin(self.span)
    }

    pub fn span(&self) -> Span {
        self.span
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Takes a key as it is.
    pub fn take(&mut self, key: &'static str) -> Option<TableEntry> {
        self.known.push(key);
        self.take_refused(key)
    }

    /// Takes a key that the caller refuses with words of its own; no message offers it.
    pub fn take_refused(&mut self, key: &str) -> Option<TableEntry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    /// Takes all that is left, for tables whose keys the user chooses.
    pub fn take_rest(&mut self) -> Vec<TableEntry> {
        std::mem::take(&mut self.entries)
    }

    /// Takes a key and reads its value; what is wrong with it is recorded.
    pub fn read<T>(
        &mut self,
        reading: &mut ReadContext<'_>,
        key: &'static str,
        reader: impl FnMut(&Node, &mut ReadContext<'_>) -> TakenValue<T>,
    ) -> Option<Located<T>> {
        let entry = self.take(key)?;
        read_value(reading, key, &entry.node, reader)
    }

    /// Reads a key into a place that holds the default.
    pub fn set<T>(
        &mut self,
        reading: &mut ReadContext<'_>,
        key: &'static str,
        reader: impl FnMut(&Node, &mut ReadContext<'_>) -> TakenValue<T>,
        slot: &mut T,
    ) {
        if let Some(at) = self.read(reading, key, reader) {
            *slot = at.value;
        }
    }

    /// Reads a key that must be there.
    pub fn require<T>(
        &mut self,
        reading: &mut ReadContext<'_>,
        key: &'static str,
        example: &str,
        reader: impl FnMut(&Node, &mut ReadContext<'_>) -> TakenValue<T>,
    ) -> Option<Located<T>> {
        if !self.has(key) && !self.has_misspelt(key) && !reading.files.is_broken(self.span) {
            let message = format!("`{key}` is missing in `{}`", self.title);
            reading.fault_with_help(Code::MissingKey, self.span, message, format!("add `{key} = {example}`"));
        }
        self.read(reading, key, reader)
    }

    /// Reads a list; each element that is wrong is a fault of its own.
    pub fn list<T>(
        &mut self,
        reading: &mut ReadContext<'_>,
        key: &'static str,
        mut reader: impl FnMut(&Node, &mut ReadContext<'_>) -> TakenValue<T>,
    ) -> Option<Located<Vec<Located<T>>>> {
        let TableEntry { node, .. } = self.take(key)?;
        let TomlValue::List(nodes) = &node.value else {
            if !matches!(node.value, TomlValue::Broken) {
                let message = format!(
                    "`{key}` is {}; it must be a list such as [\"a\", \"b\"]",
                    shown_unless_secret(key, &node.value)
                );
                reading.fault(Code::WrongValue, node.span, message);
            }
            return None;
        };
        let value = nodes.iter().filter_map(|node| read_value(reading, key, node, &mut reader)).collect();
        Some(Located { value, span: node.span })
    }

    /// Says what nobody asked for.
    pub fn finish(self, reading: &mut ReadContext<'_>) {
        for entry in &self.entries {
            let fault = Diagnostic::error(Code::UnknownKey, format!("unknown key `{}`", entry.key));
            let mut known = Vec::new();
            for key in &self.known {
                if !known.contains(key) {
                    known.push(*key);
                }
            }
            let keys = format!("the keys of `{}` are {}", self.title, listed(&known));
            let hint = nearest(&entry.key, &self.known).map(|known| format!("did you mean `{known}`?"));
            if !reading.files.is_in_broken_line(entry.key_span) {
                let place = reading.files.place(entry.key_span);
                let place = place.with_label(hint.unwrap_or_default());
                reading.faults.push(fault.at(place).with_note(keys));
            }
        }
    }

    /// A key that is not known and looks like this one; the message about it is enough.
    fn has_misspelt(&self, key: &str) -> bool {
        self.entries
            .iter()
            .any(|entry| !self.known.contains(&entry.key.as_str()) && nearest(&entry.key, &[key]).is_some())
    }
}

/// Reads one value; what is wrong with it is recorded.
pub fn read_value<T>(
    reading: &mut ReadContext<'_>,
    key: &str,
    node: &Node,
    mut reader: impl FnMut(&Node, &mut ReadContext<'_>) -> TakenValue<T>,
) -> Option<Located<T>> {
    if matches!(node.value, TomlValue::Broken) {
        return None;
    }
    match reader(node, reading) {
        Ok(value) => return Some(Located { value, span: node.span }),
        Err(Wrong::MustBe(what)) => {
            let message = format!("`{key}` is {}; it must be {what}", shown_unless_secret(key, &node.value));
            reading.fault(Code::WrongValue, node.span, message);
        }
        Err(Wrong::Because { code, message, help: None }) => reading.fault(code, node.span, message),
        Err(Wrong::Because { code, message, help: Some(help) }) => {
            reading.fault_with_help(code, node.span, message, help)
        }
        Err(Wrong::Known) => {}
    }
    None
}

// --- readers ---

/// Text with its variables filled in; secrets have no place in it.
pub fn text(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<String> {
    let TomlValue::Text(text) = &node.value else {
        return must_be("text in quotes");
    };
    if expand::has_reference(text) {
        return because_with_help(
            Code::WrongValue,
            "`${env:…}` and `${file:…}` stand for secrets; they work in the settings of sinks and git repositories, in `tokens` and in `secrets` only",
            "write `$NAME` for a variable that is no secret",
        );
    }
    let text = expand::in_string(text, &reading.around.env);
    if text.contains('\0') { must_be("text without a NUL") } else { Ok(text) }
}

/// Text of at least one character that is no white space.
pub fn filled_text(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<String> {
    let text = text(node, reading)?;
    if text.trim().is_empty() { must_be("text that is not empty") } else { Ok(text) }
}

/// Text in which `${env:NAME}` and `${file:path}` are filled in too.
pub fn text_with_secrets(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<String> {
    let TomlValue::Text(text) = &node.value else {
        return must_be("text in quotes");
    };
    let around = reading.around;
    expand::with_references(text, &around.env, |reference| match reference {
        Reference::Env(name) => match around.env.get(name) {
            Some(value) => Ok(value.clone()),
            None => because(Code::UnfilledReference, format!("the environment variable `{name}` is not set")),
        },
        Reference::File(path) => secret_file(path, node.span, reading),
    })
}

/// A secret that is not empty.
pub fn secret(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<Secret> {
    let text = text_with_secrets(node, reading)?;
    if text.trim().is_empty() {
        return because(Code::WrongValue, "the secret is empty");
    }
    if text.contains(['\n', '\r', '\0']) {
        return because(Code::WrongValue, "the secret has more than one line");
    }
    reading.warn_of_open_secret(node);
    Ok(Secret::new(text))
}

fn secret_file(path: &str, span: Span, reading: &mut ReadContext<'_>) -> TakenValue<String> {
    let path = reading.path_below(reading.root, path);
    let content = match std::fs::read_to_string(&path) {
        Ok(content) => content,
        Err(error) => {
            return because(
                Code::UnfilledReference,
                format!("could not read the secret in `{}`: {error}", path.display()),
            );
        }
    };
    if std::fs::metadata(&path).is_ok_and(|meta| platform::mode_if_open_to_all(&meta).is_some()) {
        let help = format!("chmod o-rwx {}", path.display());
        reading.warn(
            Code::ExposedSecret,
            span,
            format!("the secret in `{}` can be read by every user", path.display()),
            help,
        );
    }
    Ok(content.trim_end_matches(['\n', '\r']).to_owned())
}

pub fn yes_or_no(node: &Node, _: &mut ReadContext<'_>) -> TakenValue<bool> {
    match node.value {
        TomlValue::Bool(yes) => Ok(yes),
        _ => must_be("true or false"),
    }
}

/// A whole number within a range.
pub fn number<T>(range: RangeInclusive<T>) -> impl Fn(&Node, &mut ReadContext<'_>) -> TakenValue<T>
where
    T: TryFrom<i128> + PartialOrd + std::fmt::Display,
{
    move |node, _| {
        let given = match node.value {
            TomlValue::Integer(given) => T::try_from(given).ok().filter(|given| range.contains(given)),
            _ => None,
        };
        given.map_or_else(|| must_be(format!("a whole number from {} to {}", range.start(), range.end())), Ok)
    }
}

pub fn duration(range: RangeInclusive<Duration>) -> impl Fn(&Node, &mut ReadContext<'_>) -> TakenValue<Duration> {
    move |node, reading| {
        let given = match &node.value {
            TomlValue::Integer(secs) => u64::try_from(*secs).ok().map(Duration::from_secs),
            TomlValue::Text(text) => quantity::duration(&expand::in_string(text, &reading.around.env)),
            _ => None,
        };
        match given {
            Some(given) if range.contains(&given) => Ok(given),
            Some(_) => {
                let show = quantity::show_duration;
                must_be(format!("a duration from {} to {}", show(*range.start()), show(*range.end())))
            }
            None => must_be(A_DURATION),
        }
    }
}

pub fn size(range: RangeInclusive<u64>) -> impl Fn(&Node, &mut ReadContext<'_>) -> TakenValue<u64> {
    move |node, reading| {
        let given = match &node.value {
            TomlValue::Integer(bytes) => u64::try_from(*bytes).ok(),
            TomlValue::Text(text) => quantity::size(&expand::in_string(text, &reading.around.env)),
            _ => None,
        };
        match given {
            Some(given) if range.contains(&given) => Ok(given),
            Some(_) => {
                let show = quantity::show_size;
                must_be(format!("a size from {} to {}", show(*range.start()), show(*range.end())))
            }
            None => must_be(A_SIZE),
        }
    }
}

/// One of a few words.
pub fn word<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&Node, &mut ReadContext<'_>) -> TakenValue<T> {
    move |node, reading| {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let given = match &node.value {
            TomlValue::Text(text) => expand::in_string(text, &reading.around.env),
            _ => return must_be(one_of(&names)),
        };
        match words.iter().find(|(name, _)| *name == given) {
            Some((_, value)) => Ok(*value),
            None => must_be(one_of(&names)),
        }
    }
}

/// A path; a relative one stands below the root.
pub fn path(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<PathBuf> {
    let text = filled_text(node, reading)?;
    Ok(reading.path_below(reading.root, &text))
}

// --- words for messages ---

fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// `` `a`, `b` and `c` ``.
pub fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => "none".to_owned(),
    }
}

fn shown_unless_secret(key: &str, value: &TomlValue) -> String {
    // A URL may carry a token or a password.
    if ["token", "tokens", "password", "ssh_private_key_password", "url"].contains(&key) {
        kind(value).to_owned()
    } else {
        shown(value)
    }
}

fn shown(value: &TomlValue) -> String {
    const LONGEST: usize = 60;
    let text = match value {
        TomlValue::Text(text) => format!("`\"{text}\"`"),
        TomlValue::Integer(number) => format!("`{number}`"),
        TomlValue::Float(number) => format!("`{number}`"),
        TomlValue::Bool(yes) => format!("`{yes}`"),
        other => return kind(other).to_owned(),
    };
    if text.chars().count() > LONGEST { kind(value).to_owned() } else { text }
}

fn kind(value: &TomlValue) -> &'static str {
    match value {
        TomlValue::Text(_) => "text",
        TomlValue::Integer(_) | TomlValue::Float(_) => "a number",
        TomlValue::Bool(_) => "true or false",
        TomlValue::Date(_) => "a date",
        TomlValue::List(_) => "a list",
        TomlValue::Table(_) => "a table",
        TomlValue::Broken => "unreadable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_listed_as_in_a_sentence() {
        assert_eq!(listed(&["a", "b", "c"]), "`a`, `b` and `c`");
        assert_eq!(one_of(&["a", "b", "c"]), "\"a\", \"b\" or \"c\"");
        assert_eq!(listed(&["a"]), "`a`");
    }
}
