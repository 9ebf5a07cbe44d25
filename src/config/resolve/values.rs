//! Values that several tables have.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::code::Code;
use crate::config::raw::{Node, TableEntry};
use crate::config::section::{self, ReadContext, Section, TakenValue, because, filled_text, must_be};
use crate::diagnostic::Diagnostic;
use crate::platform;

pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Tags of a table; DataKit's words for the host name mean the host name.
pub fn tags_of(entries: Vec<TableEntry>, reading: &mut ReadContext<'_>) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    for TableEntry { key, key_span, node } in entries {
        if key.trim().is_empty() {
            reading.fault(Code::WrongValue, key_span, "the name of a tag is empty");
        } else if let Some(at) = section::read_value(reading, &key, &node, tag_value) {
            tags.insert(key, at.value);
        }
    }
    tags
}

fn tag_value(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<String> {
    let text = filled_text(node, reading)?;
    let word = text.strip_prefix('$').or(text.strip_prefix("__"));
    match word.and_then(|word| word.strip_prefix("datakit_")) {
        Some("hostname") => Ok(reading.around.hostname.clone()),
        Some("ip" | "id" | "uuid") => must_be("fixed text; of DataKit's words only `__datakit_hostname` is known here"),
        _ => Ok(text),
    }
}

pub fn set_texts(table: &mut Section, reading: &mut ReadContext<'_>, key: &'static str, slot: &mut Vec<String>) {
    if let Some(list) = table.list(reading, key, filled_text) {
        *slot = list.value.into_iter().map(|at| at.value).collect();
    }
}

/// A group of this machine, by name or number.
pub fn group(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<u32> {
    let name = filled_text(node, reading)?;
    match platform::group_number(&name) {
        Some(number) => Ok(number),
        None => because(Code::WrongValue, format!("there is no group `{name}` on this machine")),
    }
}

/// A directory that is there or can be made.
pub fn directory(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<std::path::PathBuf> {
    let path = section::path(node, reading)?;
    if path.exists() && !path.is_dir() {
        return because(Code::WrongValue, format!("`{}` is a file; it must be a directory", path.display()));
    }
    Ok(path)
}

pub fn certificates(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<PathBuf> {
    let path = section::path(node, reading)?;
    match std::fs::read_to_string(&path) {
        Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => Ok(path),
        Ok(_) => because(Code::WrongValue, format!("`{}` holds no certificate in PEM form", path.display())),
        Err(error) => {
            because(Code::WrongValue, format!("could not read the certificates in `{}`: {error}", path.display()))
        }
    }
}

/// What is said where no input is given.
pub fn no_input() -> Diagnostic {
    Diagnostic::warning(
        Code::MissingKey,
        "no `[[inputs.pythond]]` in any file: reports over HTTP are taken, but no script runs",
    )
    .with_help("add `[[inputs.pythond]]` with `name`, `cmd` and `dirs`")
}
