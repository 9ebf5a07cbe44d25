//! The files as written: their tables with the place of everything in them, put together into one tree.
//!
//! serde stops at the first error and loses the place of what it flattens, so the spanned tables of `toml` are copied into a tree of our
//! own, whose spans are bytes of the file as written: variables are filled in before the parser sees the text (`expand`), and every
//! span is mapped back. A file with syntax errors gives all of them, and what could be read of it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::expand::{self, Expanded};
use super::surroundings::{Origin, Surroundings};
use crate::code::Code;
use crate::diagnostic::{Diagnostic, SourcePlace};

/// Bytes of one file as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    file: usize,
    start: usize,
    end: usize,
}

#[derive(Debug, Clone)]
pub struct Node {
    pub value: TomlValue,
    pub span: Span,
}

#[derive(Debug, Clone)]
pub enum TomlValue {
    /// As the parser gives it; `$NAME` is not filled in yet.
    Text(String),
    Integer(i128),
    Float(f64),
    Bool(bool),
    Date(String),
    List(Vec<Node>),
    Table(Table),
    /// What stands here is a syntax error, which has been said.
    Broken,
}

#[derive(Debug, Clone, Default)]
pub struct Table {
    pub entries: Vec<TableEntry>,
    /// The header `[x]`, `[[x]]` or the braces; `None` for a table that only the names of others imply.
    header: Option<Span>,
}

#[derive(Debug, Clone)]
pub struct TableEntry {
    pub key: String,
    pub key_span: Span,
    pub node: Node,
}

/// The files that were read, for places.
#[derive(Debug, Default)]
pub struct Files {
    files: Vec<SettingsFile>,
}

#[derive(Debug)]
struct SettingsFile {
    path: PathBuf,
    text: String,
    /// Lines with a syntax error: what else is odd there is a consequence.
    syntax_errors: BTreeSet<usize>,
    /// Bytes that no message may show.
    secrets: Vec<Range<usize>>,
}

/// Keys whose values no message shows.
const SECRET_KEYS: [&str; 4] = ["token", "tokens", "password", "ssh_private_key_password"];
/// A table of secrets under names of their own.
const SECRETS: &str = "secrets";

impl Files {
    /// Reads one more file into `tree` and gives its faults.
    pub fn add(&mut self, path: PathBuf, bytes: Vec<u8>, around: &Surroundings, tree: &mut Table) -> Vec<Diagnostic> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec).unwrap_or(bytes);
        let file = self.files.len();
        let (text, wrong_byte) = match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(at))
            }
        };
        self.files.push(SettingsFile { path, text, syntax_errors: BTreeSet::new(), secrets: Vec::new() });
        if let Some(at) = wrong_byte {
            let end = at + char::REPLACEMENT_CHARACTER.len_utf8();
            let place = self.place(Span { file, start: at, end }).with_label("this byte is no UTF-8");
            return vec![Diagnostic::error(Code::UnreadableSettings, "the file is not UTF-8").at(place)];
        }
        self.parse(file, around, tree)
    }

    /// Reads a file of a repository into `tree`: it may hold inputs, and nothing else.
    pub fn add_inputs(
        &mut self,
        path: PathBuf,
        bytes: Vec<u8>,
        around: &Surroundings,
        tree: &mut Table,
    ) -> Vec<Diagnostic> {
        let mut own = Table::default();
        let mut faults = self.add(path, bytes, around, &mut own);
        let (inputs, others): (Vec<TableEntry>, Vec<TableEntry>) =
            own.entries.into_iter().partition(|entry| entry.key == "inputs");
        for other in others.iter().filter(|other| !self.is_in_broken_line(other.key_span)) {
            let what = format!(
                "`{}` has no place in a repository; its `conf.d` may hold `[[inputs.pythond]]` only",
                other.key
            );
            let fault = Diagnostic::error(Code::WrongValue, what).at(self.place(other.key_span));
            faults.push(fault.with_help("move it to the `conf.d` of the agent"));
        }
        self.merge(tree, Table { entries: inputs, header: None }, "", &mut faults);
        faults
    }

    /// The path of the file in which a span stands.
    pub fn path(&self, span: Span) -> &std::path::Path {
        &self.files[span.file].path
    }

    /// Says whether something was filled in there.
    pub fn has_variable(&self, span: Span) -> bool {
        self.files[span.file].text.get(span.start..span.end).is_some_and(|written| written.contains('$'))
    }

    /// Where a span stands, with its line.
    pub fn place(&self, span: Span) -> SourcePlace {
        let file = &self.files[span.file];
        let start = span.start.min(file.text.len());
        let (line, line_start) = position(&file.text, start);
        let line_end = file.text[line_start..].find('\n').map_or(file.text.len(), |length| line_start + length);
        let source = file.text[line_start..line_end].trim_end_matches('\r');
        let start = start.min(line_start + source.len());
        let end = span.end.clamp(start, (line_start + source.len()).max(start));
        SourcePlace {
            file: file.path.clone(),
            line,
            column: file.text[line_start..start].chars().count() + 1,
            width: file.text[start..end].chars().count().max(1),
            source: file.without_secrets(line_start, source),
            label: String::new(),
        }
    }

    pub fn origin(&self, span: Span) -> Origin {
        let SourcePlace { file, line, column, .. } = self.place(span);
        Origin { file, line, column }
    }

    /// Says whether a file holds syntax errors, so that nothing can be called missing in it.
    pub fn is_broken(&self, span: Span) -> bool {
        !self.files[span.file].syntax_errors.is_empty()
    }

    /// Says whether a syntax error stands in the line of a span.
    pub fn is_in_broken_line(&self, span: Span) -> bool {
        let file = &self.files[span.file];
        file.syntax_errors.contains(&position(&file.text, span.start.min(file.text.len())).0)
    }

    /// What sorts faults: the order of files, then of places.
    pub fn rank(&self, place: &SourcePlace) -> (usize, usize, usize) {
        let file = self.files.iter().position(|file| file.path == place.file).unwrap_or(self.files.len());
        (file, place.line, place.column)
    }

    fn parse(&mut self, file: usize, around: &Surroundings, tree: &mut Table) -> Vec<Diagnostic> {
        let expanded = expand::outside_strings(&self.files[file].text, &around.env);
        let (root, errors) = DeTable::parse_recoverable(&expanded.text);
        let copy = TableCopy { file, expanded: &expanded };
        let root = copy.table(root.get_ref(), None);
        find_secrets(&root, &mut self.files[file].secrets);
        let mut errors: Vec<_> =
            errors.iter().map(|error| (error.span().unwrap_or_default(), error.message())).collect();
        errors.sort_by_key(|(span, _)| span.start);
        let mut faults = Vec::new();
        for (span, message) in errors {
            let at = copy.span(&step_back(&expanded.text, span.clone()));
            let line = position(&self.files[file].text, at.start).0;
            let is_new = self.files[file].syntax_errors.insert(line);
            if is_new && is_behind_an_open_list(&expanded.text, span.start, message) {
                let what = "a list is not closed before this line, expected `]`";
                faults.push(Diagnostic::error(Code::UnreadableSettings, what).at(self.place(at)));
                // The parser takes all the rest for elements of the list.
                let last = self.files[file].text.lines().count();
                self.files[file].syntax_errors.extend(line..=last);
                break;
            }
            if is_new {
                faults.push(self.syntax_fault(&copy, &span, at, message));
            }
        }
        self.merge(tree, root, "", &mut faults);
        faults
    }

    fn syntax_fault(&self, copy: &TableCopy<'_>, span: &Range<usize>, at: Span, message: &str) -> Diagnostic {
        let text = &copy.expanded.text;
        if message == "duplicate key"
            && let Some((name, first)) = first_given(text, span)
        {
            let first = self.place(copy.span(&first)).with_label("first given here");
            let fault = Diagnostic::error(Code::GivenTwice, format!("`{name}` is given twice"))
                .at(self.place(at))
                .with_other(first);
            let is_input = name == "[inputs.pythond]";
            return if is_input {
                fault.with_help("write `[[inputs.pythond]]` for each of several inputs")
            } else {
                fault
            };
        }
        let fault = Diagnostic::error(Code::UnreadableSettings, message).at(self.place(at));
        match text.get(span.clone()) {
            Some(word) if word.starts_with('$') => fault.with_note(format!("`{word}` is not set in the environment")),
            _ => fault,
        }
    }

    /// Puts the tables of one more file into the tree. Tables that only names imply grow together; anything given twice is a fault.
    fn merge(&self, tree: &mut Table, from: Table, path: &str, faults: &mut Vec<Diagnostic>) {
        tree.header = tree.header.or(from.header);
        for entry in from.entries {
            let Some(there) = tree.entries.iter_mut().find(|there| there.key == entry.key) else {
                tree.entries.push(entry);
                continue;
            };
            let name = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
            match (&mut there.node.value, entry.node.value) {
                // Both forms of an input are a list of inputs.
                (old, new) if name == "inputs.pythond" => {
                    let mut nodes = as_list(std::mem::replace(old, TomlValue::Broken), there.node.span);
                    nodes.extend(as_list(new, entry.node.span));
                    *old = TomlValue::List(nodes);
                }
                (TomlValue::Table(old), TomlValue::Table(new)) => match (old.header, new.header) {
                    (Some(first), Some(second)) => {
                        faults.push(self.twice(&format!("[{name}]"), first, second));
                    }
                    _ => self.merge(old, new, &name, faults),
                },
                (TomlValue::List(old), TomlValue::List(new)) if old.iter().chain(&new).all(is_headed_table) => {
                    old.extend(new)
                }
                _ => faults.push(self.twice(&name, there.key_span, entry.key_span)),
            }
        }
    }

    /// The fault of something that is given at two places.
    pub fn twice(&self, name: &str, first: Span, second: Span) -> Diagnostic {
        Diagnostic::error(Code::GivenTwice, format!("`{name}` is given twice"))
            .at(self.place(second))
            .with_other(self.place(first).with_label("first given here"))
    }
}

impl SettingsFile {
    fn without_secrets(&self, line_start: usize, source: &str) -> String {
        let line = line_start..line_start + source.len();
        let mut hidden: Vec<Range<usize>> = self.secrets.clone();
        if let Some(value) = secret_value_of_line(source) {
            hidden.push(line_start + value..line.end);
        }
        let is_hidden = |at: usize| hidden.iter().any(|range| range.contains(&(line_start + at)));
        let hide = |(at, c): (usize, char)| if is_hidden(at) && !"\"'[], ".contains(c) { '*' } else { c };
        source.char_indices().map(hide).collect()
    }
}

/// Where the value of a secret starts in a line that may be too broken for the parser.
fn secret_value_of_line(line: &str) -> Option<usize> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim().rsplit('.').next().unwrap_or("").trim_matches(['"', '\'']);
    let secret =
        (SECRET_KEYS.contains(&key) && !expand::has_reference(value)) || (key == "url" && url_has_secret(value));
    secret.then_some(line.len() - value.len())
}

fn url_has_secret(url: &str) -> bool {
    !expand::has_reference(url) && (url.contains("token=") || url.contains('@'))
}

fn find_secrets(table: &Table, found: &mut Vec<Range<usize>>) {
    for TableEntry { key, node, .. } in &table.entries {
        let span = node.span.start..node.span.end;
        match &node.value {
            TomlValue::Text(text) if key == "url" && url_has_secret(text) => found.push(span),
            TomlValue::Text(text) if SECRET_KEYS.contains(&key.as_str()) && !expand::has_reference(text) => {
                found.push(span)
            }
            TomlValue::List(_) if SECRET_KEYS.contains(&key.as_str()) => found.push(span),
            TomlValue::Table(inner) if key == SECRETS => found.extend(texts_of(inner)),
            TomlValue::Table(inner) => find_secrets(inner, found),
            TomlValue::List(nodes) => {
                for node in nodes {
                    if let TomlValue::Table(inner) = &node.value {
                        find_secrets(inner, found);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Where the texts of a table stand that name no secret elsewhere.
fn texts_of(table: &Table) -> impl Iterator<Item = Range<usize>> {
    table.entries.iter().filter_map(|TableEntry { node, .. }| match &node.value {
        TomlValue::Text(text) if !expand::has_reference(text) => Some(node.span.start..node.span.end),
        _ => None,
    })
}

fn is_headed_table(node: &Node) -> bool {
    matches!(&node.value, TomlValue::Table(table) if table.header.is_some())
}

/// A table as a list of one, so that `[inputs.pythond]` and `[[inputs.pythond]]` are the same.
pub fn as_list(value: TomlValue, span: Span) -> Vec<Node> {
    match value {
        TomlValue::List(nodes) => nodes,
        value => vec![Node { value, span }],
    }
}

/// Line (from 1) and start of the line in which a byte stands.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    (before.matches('\n').count() + 1, before.rfind('\n').map_or(0, |newline| newline + 1))
}

/// Moves an error at the end of the text back to the last thing that stands there.
fn step_back(text: &str, span: Range<usize>) -> Range<usize> {
    let end = text.trim_end().len();
    if span.is_empty() && span.start > end { end..end } else { span }
}

/// Says whether an error is the first header or key behind a list without its `]`.
fn is_behind_an_open_list(text: &str, at: usize, message: &str) -> bool {
    let (_, line_start) = position(text, at);
    let line = text[line_start..].lines().next().unwrap_or("");
    let is_key = line
        .split_once('=')
        .is_some_and(|(key, _)| !key.trim().is_empty() && !key.contains(['"', '\'', '[', '{', ',']));
    message.starts_with("missing comma between array elements") && (header_of(line).is_some() || is_key)
}

/// Finds what a duplicate repeats: its name for messages, and where it stands first.
fn first_given(text: &str, again: &Range<usize>) -> Option<(String, Range<usize>)> {
    let (_, line_start) = position(text, again.start);
    let line = text[line_start..].lines().next()?;
    let mut earlier = Vec::new();
    let mut start = 0;
    for line in text[..line_start].split_inclusive('\n') {
        earlier.push((start, line));
        start += line.len();
    }
    if let Some(header) = header_of(line) {
        let (start, first) = earlier.into_iter().find(|(_, line)| header_of(line).as_deref() == Some(&header))?;
        let indent = first.len() - first.trim_start().len();
        return Some((header, start + indent..start + first.trim_end().len()));
    }
    let key = text.get(again.clone())?;
    let same_table = earlier.into_iter().rev().take_while(|(_, line)| header_of(line).is_none());
    let repeated =
        |line: &str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
    let (start, first) = same_table.filter(|(_, line)| repeated(line)).last()?;
    let indent = first.len() - first.trim_start().len();
    Some((key.to_owned(), start + indent..start + indent + key.len()))
}

/// The header in a line without white space and comment: `[a.b]`.
fn header_of(line: &str) -> Option<String> {
    let line = line.trim_start();
    let end = line.rfind(']')?;
    line.starts_with('[').then(|| line[..=end].chars().filter(|c| !c.is_whitespace()).collect())
}

/// Copies the tables of the parser, with spans of the file as written.
struct TableCopy<'a> {
    file: usize,
    expanded: &'a Expanded,
}

impl TableCopy<'_> {
    fn span(&self, range: &Range<usize>) -> Span {
        let Range { start, end } = self.expanded.written(range);
        Span { file: self.file, start, end }
    }

    fn table(&self, table: &DeTable<'_>, span: Option<Range<usize>>) -> Table {
        let is_header = |span: &Range<usize>| self.expanded.text[span.clone()].starts_with(['[', '{']);
        let mut entries: Vec<TableEntry> = table.iter().map(|(key, value)| self.entry(key, value)).collect();
        // The parser sorts by name; faults are wanted in the order of the file.
        entries.sort_by_key(|entry| entry.key_span.start);
        Table { entries, header: span.filter(is_header).map(|span| self.span(&span)) }
    }

    fn entry(&self, key: &Spanned<std::borrow::Cow<'_, str>>, value: &Spanned<DeValue<'_>>) -> TableEntry {
        TableEntry { key: key.get_ref().to_string(), key_span: self.span(&key.span()), node: self.node(value) }
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Node {
        let range = value.span();
        Node { span: self.span(&range), value: self.value(value.get_ref(), range) }
    }

    fn value(&self, value: &DeValue<'_>, range: Range<usize>) -> TomlValue {
        match value {
            // The parser fills in an integer without a place where it found no value.
            DeValue::Integer(_) if range.is_empty() => TomlValue::Broken,
            DeValue::String(text) => TomlValue::Text(text.to_string()),
            DeValue::Integer(number) => {
                // Beyond i128 no range holds it, whatever its size.
                TomlValue::Integer(i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX))
            }
            DeValue::Float(number) => number.as_str().parse().map_or(TomlValue::Broken, TomlValue::Float),
            DeValue::Boolean(yes) => TomlValue::Bool(*yes),
            DeValue::Datetime(date) => TomlValue::Date(date.to_string()),
            DeValue::Array(nodes) => TomlValue::List(nodes.iter().map(|node| self.node(node)).collect()),
            DeValue::Table(table) => TomlValue::Table(self.table(table, Some(range))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn around() -> Surroundings {
        let env = BTreeMap::from([("LONG".to_owned(), "1234567890".to_owned())]);
        Surroundings { env, hostname: "h".to_owned() }
    }

    /// `line:column: headline` of every fault of these files, named `0`, `1`, …
    fn faults(texts: &[&[u8]]) -> Vec<String> {
        let (mut files, mut tree) = (Files::default(), Table::default());
        let mut faults = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            faults.extend(files.add(index.to_string().into(), text.to_vec(), &around(), &mut tree));
        }
        let at = |place: &SourcePlace| format!("{}:{}:{}", place.file.display(), place.line, place.column);
        let said = |fault: &Diagnostic| {
            let other = fault.other.as_ref().map(|place| format!(" ({})", at(place))).unwrap_or_default();
            format!("{}: {}{other}", at(fault.place.as_ref().unwrap()), fault.message)
        };
        faults.iter().map(said).collect()
    }

    #[test]
    fn all_syntax_errors_of_a_file_are_found() {
        let text = b"a = \"open\nb = = 2\nc = 1\n[x\n[y]\nd = 'open\n";
        let found = faults(&[text]);
        let starts: Vec<&str> = found.iter().map(|fault| fault.split(": ").next().unwrap()).collect();
        assert_eq!(starts, ["0:1:10", "0:2:5", "0:4:3", "0:6:10"], "{found:?}");
    }

    #[test]
    fn a_list_that_is_never_closed_is_one_fault() {
        let what = "a list is not closed before this line, expected `]`";
        assert_eq!(faults(&[b"d = [\"a\"\n\n[[x]]\nn = 1\nm = 2\n"]), [format!("0:3:1: {what}")]);
        assert_eq!(faults(&[b"d = [\"a\"\nn = 1\nm = 2\n"]), [format!("0:2:1: {what}")]);
        assert!(faults(&[b"d = [\"a\"\n\"b\"]\n"])[0].contains("missing comma"));
    }

    #[test]
    fn columns_count_characters_also_with_crlf_tabs_and_a_byte_order_mark() {
        assert_eq!(faults(&["\u{feff}a = 1\r\n\t\"é\" = oops\r\n".as_bytes()])[0].split(": ").next(), Some("0:2:8"));
    }

    #[test]
    fn a_place_behind_a_variable_is_that_of_the_file_as_written() {
        assert_eq!(faults(&[b"a = [$LONG, oops]"])[0].split(": ").next(), Some("0:1:13"));
    }

    #[test]
    fn bytes_that_are_no_utf8_have_a_place() {
        assert_eq!(faults(&[b"a = 1\nb = \"\xe4\"\n"]), ["0:2:6: the file is not UTF-8"]);
    }

    #[test]
    fn what_is_given_twice_names_both_places() {
        assert_eq!(faults(&[b"[a]\nx = 1\n [a] # again\n"]), ["0:3:3: `[a]` is given twice (0:1:1)"]);
        assert_eq!(faults(&[b"[a]\n x = 1\ny = 2\nx = 3\n"]), ["0:4:1: `x` is given twice (0:2:2)"]);
        assert_eq!(faults(&[b"[a]\nx = 1", b"[a]\ny = 1"]), ["1:1:1: `[a]` is given twice (0:1:1)"]);
        assert_eq!(faults(&[b"[a.b]\nx = 1", b"[a.b]\ny = 1"]), ["1:1:1: `[a.b]` is given twice (0:1:1)"]);
        assert_eq!(faults(&[b"a.x = 1", b"a.x = 1"]), ["1:1:3: `a.x` is given twice (0:1:3)"]);
    }

    #[test]
    fn tables_of_several_files_grow_together() {
        assert_eq!(faults(&[b"[a.b]\nx = 1", b"[a.c]\ny = 1", b"[a]\nz = 1"]), Vec::<String>::new());
        assert_eq!(faults(&[b"[[inputs.pythond]]", b"[inputs.pythond]", b"[inputs.pythond]"]), Vec::<String>::new());
    }

    #[test]
    fn no_message_shows_a_secret() {
        let (mut files, mut tree) = (Files::default(), Table::default());
        let text = "tokens = [\n  \"s3cret\",\n]\npassword = \"s3cret\nurl = \"https://u:s3cret@h\"\ntoken = \"${env:T}\" # ok\nsecrets = { \"a:b\" = \"s3cret\" }\n";
        files.add("a".into(), text.as_bytes().to_vec(), &around(), &mut tree);
        let lines =
            text.split_inclusive('\n').scan(0, |start, line| Some(std::mem::replace(start, *start + line.len())));
        let sources: Vec<String> =
            lines.map(|start| files.place(Span { file: 0, start, end: start + 1 }).source).collect();
        assert_eq!(sources[1], "  \"******\",");
        assert!(sources.iter().all(|line| !line.contains("s3cret")), "{sources:?}");
        assert_eq!(sources[5], "token = \"${env:T}\" # ok");
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_reader(parts in proptest::collection::vec(0..PARTS.len(), 0..24)) {
            let text: String = parts.iter().map(|part| PARTS[*part]).collect();
            let (mut files, mut tree) = (Files::default(), Table::default());
            for name in ["a", "b"] {
                for fault in files.add(name.into(), text.clone().into_bytes(), &around(), &mut tree) {
                    let place = fault.place.clone().unwrap();
                    assert!(place.line >= 1 && place.line <= text.matches('\n').count() + 1, "{fault:?}");
                    assert!(place.column <= place.source.chars().count() + 1, "{fault:?}");
                    fault.render(std::path::Path::new("/"), true);
                }
            }
        }
    }

    /// What settings are made of, whole and torn.
    const PARTS: [&str; 36] = [
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ".",
        ",",
        "#",
        "\"",
        "'",
        "\"\"\"",
        "\'\'\'",
        "\\",
        "\n",
        "\r\n",
        "\t",
        " ",
        "a",
        "é",
        "「」",
        "$LONG",
        "${LONG}",
        "$",
        "1",
        "-0x1F",
        "1e400",
        "true",
        "1979-05-27",
        "[a.b]\n",
        "[[inputs.pythond]]\n",
        "[inputs.pythond]\n",
        "token = ",
        "url = \"http://u:p@h?token=x\"",
        "x = [1,\n",
    ];
}
