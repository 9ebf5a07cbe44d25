//! From the tables as written to [`Config`], with every fault of every table collected on the way.
//!
//! One function per table; each starts from the table's defaults and overwrites what is given. Only a run without a fault gives a
//! `Config`, so nothing obeys a value that stands in for a faulty one.

mod http_api;
mod inputs;
mod sinks;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::diagnostic::Diagnostic;
use super::listing;
use super::quantity::show_size;
use super::raw::{Entry, Files, Node, Table, Value, as_list};
use super::section::{
    self, Reading, Section, Taken, because, duration, filled_text, listed, must_be, nearest, size, text, word,
    yes_or_no,
};
use super::{
    AtCap, Buffer, Config, ConfigError, Events, Ingest, Integers, Level, Logging, OnInvalid, Surroundings, Sync,
    Workers, Zygote,
};

/// The tables of the vocabulary.
const TABLES: [&str; 10] =
    ["inputs", "workers", "http_api", "ingest", "events", "buffer", "logging", "global_tags", "sinks", "git_repos"];

/// Beneath this a segment of the buffer could not be closed and freed in time.
const SMALLEST_BUFFER: u64 = 16 << 20;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads and checks the settings below `root`.
pub fn read(root: &Path, around: &Surroundings) -> Result<Config, ConfigError> {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let listing = listing::read(&root.join("conf.d"));
    let (mut files, mut tree, mut faults) = (Files::default(), Table::default(), listing.faults);
    let any_file = !listing.files.is_empty();
    for (path, bytes) in listing.files {
        faults.extend(files.add(path, bytes, around, &mut tree));
    }
    let mut reading = Reading { root: &root, around, files: &files, faults, warnings: listing.warnings };
    let config = all_tables(tree, any_file, &mut reading);
    let Reading { mut faults, mut warnings, .. } = reading;
    in_file_order(&mut faults, &files);
    in_file_order(&mut warnings, &files);
    if faults.is_empty() {
        Ok(Config { warnings, ..config })
    } else {
        Err(ConfigError { faults, warnings, inputs: config.inputs })
    }
}

fn in_file_order(diagnostics: &mut [Diagnostic], files: &Files) {
    diagnostics.sort_by_key(|diagnostic| diagnostic.place.as_ref().map(|place| files.rank(place)));
}

fn all_tables(tree: Table, any_file: bool, reading: &mut Reading<'_>) -> Config {
    let mut tables: BTreeMap<&str, Node> = BTreeMap::new();
    for entry in tree.entries {
        match TABLES.iter().find(|name| **name == entry.key) {
            Some(name) => {
                tables.insert(name, entry.node);
            }
            None => unknown_table(&entry, reading),
        }
    }
    let mut open = |name: &str, reading: &mut Reading<'_>| {
        tables.remove(name).and_then(|node| Section::open(&format!("[{name}]"), node, reading))
    };
    let inputs_table = open("inputs", reading);
    if inputs_table.is_none() && any_file {
        reading.warnings.push(no_input());
    }
    let workers_table = open("workers", reading);
    let http_api = open("http_api", reading);
    let ingest_table = open("ingest", reading);
    let events_table = open("events", reading);
    let buffer_table = open("buffer", reading);
    let logging_table = open("logging", reading);
    let tags_table = open("global_tags", reading);
    let sinks_table = open("sinks", reading);
    if let Some(table) = open("git_repos", reading) {
        git_repos(table, reading);
    }
    let inputs = inputs_table.map_or_else(Vec::new, |table| inputs::read(table, reading));
    let (sinks, default_sink) = sinks::read(sinks_table, reading);
    Config {
        root: reading.root.to_owned(),
        inputs,
        workers: workers(workers_table, reading),
        http_api: http_api::read(http_api, reading),
        ingest: ingest(ingest_table, reading),
        events: events(events_table, reading),
        buffer: buffer(buffer_table, reading),
        logging: logging(logging_table, reading),
        global_tags: global_tags(tags_table, reading),
        sinks,
        default_sink,
        warnings: Vec::new(),
    }
}

fn no_input() -> Diagnostic {
    Diagnostic::warning(
        "PD0104",
        "no `[[inputs.pythond]]` in any file: reports over HTTP are taken, but no script runs",
    )
    .with_help("add `[[inputs.pythond]]` with `name`, `cmd` and `dirs`")
}

fn unknown_table(entry: &Entry, reading: &mut Reading<'_>) {
    let is_table = matches!(&entry.node.value, Value::Table(_) | Value::List(_));
    // Behind a header that could not be read the parser takes words for what they are not.
    let broken = |span| reading.files.is_in_broken_line(span);
    if broken(entry.key_span) || broken(entry.node.span) || (!is_table && reading.files.is_broken(entry.key_span)) {
        return;
    }
    let what =
        if is_table { format!("unknown table `[{}]`", entry.key) } else { format!("unknown key `{}`", entry.key) };
    let mut fault = Diagnostic::error("PD0102", what);
    let mut place = reading.files.place(entry.key_span);
    if let Some(known) = nearest(&entry.key, &TABLES) {
        place = place.with_label(format!("did you mean `{known}`?"));
    }
    fault = if is_table {
        fault.with_note(format!("the tables are {}", listed(&TABLES)))
    } else {
        fault.with_note("a key stands below the header of its table, such as `[[inputs.pythond]]`")
    };
    reading.faults.push(fault.at(place));
}

fn workers(table: Option<Section>, reading: &mut Reading<'_>) -> Workers {
    let mut workers = Workers::default();
    if let Some(mut table) = table {
        table.set(reading, "zygote", word(&[("auto", Zygote::Auto), ("off", Zygote::Off)]), &mut workers.zygote);
        table.finish(reading);
    }
    workers
}

fn ingest(table: Option<Section>, reading: &mut Reading<'_>) -> Ingest {
    let mut ingest = Ingest::default();
    if let Some(mut table) = table {
        let words = word(&[("float", Integers::Float), ("keep", Integers::Keep)]);
        table.set(reading, "integers", words, &mut ingest.integers);
        table.finish(reading);
    }
    ingest
}

fn events(table: Option<Section>, reading: &mut Reading<'_>) -> Events {
    let mut events = Events::default();
    if let Some(mut table) = table {
        let words = word(&[("refuse", OnInvalid::Refuse), ("warn", OnInvalid::Warn)]);
        table.set(reading, "on_invalid", words, &mut events.on_invalid);
        set_texts(&mut table, reading, "extra_status", &mut events.extra_status);
        set_texts(&mut table, reading, "extra_source", &mut events.extra_source);
        table.finish(reading);
    }
    events
}

fn buffer(table: Option<Section>, reading: &mut Reading<'_>) -> Buffer {
    let mut buffer = Buffer::default_in(reading.root);
    if let Some(mut table) = table {
        let max_size = |node: &Node, reading: &mut Reading<'_>| {
            let given = size(0..=u64::MAX)(node, reading)?;
            if given < SMALLEST_BUFFER {
                must_be(format!("at least {}", show_size(SMALLEST_BUFFER)))
            } else {
                Ok(given)
            }
        };
        table.set(reading, "max_size", max_size, &mut buffer.max_size);
        let words = word(&[("refuse", AtCap::Refuse), ("drop_oldest", AtCap::DropOldest)]);
        table.set(reading, "at_cap", words, &mut buffer.at_cap);
        table.set(reading, "sync", word(&[("group", Sync::Group), ("interval", Sync::Interval)]), &mut buffer.sync);
        table.finish(reading);
    }
    buffer
}

fn logging(table: Option<Section>, reading: &mut Reading<'_>) -> Logging {
    let mut logging = Logging::default_in(reading.root, reading.around);
    if let Some(mut table) = table {
        let words = word(&[
            ("error", Level::Error),
            ("warn", Level::Warn),
            ("info", Level::Info),
            ("debug", Level::Debug),
            ("trace", Level::Trace),
        ]);
        table.set(reading, "level", words, &mut logging.level);
        table.set(reading, "dir", directory, &mut logging.dir);
        table.finish(reading);
    }
    logging
}

fn global_tags(table: Option<Section>, reading: &mut Reading<'_>) -> BTreeMap<String, String> {
    let mut tags = table.map_or_else(BTreeMap::new, |mut table| tags_of(table.take_rest(), reading));
    tags.entry("host".to_owned()).or_insert_with(|| reading.around.hostname.clone());
    tags
}

/// Tags of a table; DataKit's words for the host name mean the host name.
fn tags_of(entries: Vec<Entry>, reading: &mut Reading<'_>) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    for Entry { key, key_span, node } in entries {
        if key.trim().is_empty() {
            reading.fault("PD0103", key_span, "the name of a tag is empty");
        } else if let Some(at) = section::read_value(reading, &key, &node, tag_value) {
            tags.insert(key, at.value);
        }
    }
    tags
}

fn tag_value(node: &Node, reading: &mut Reading<'_>) -> Taken<String> {
    let text = filled_text(node, reading)?;
    let word = text.strip_prefix('$').or(text.strip_prefix("__"));
    match word.and_then(|word| word.strip_prefix("datakit_")) {
        Some("hostname") => Ok(reading.around.hostname.clone()),
        Some("ip" | "id" | "uuid") => must_be("fixed text; of DataKit's words only `__datakit_hostname` is known here"),
        _ => Ok(text),
    }
}

/// DataKit's table is known and checked, so that a copied file says what will not happen.
fn git_repos(mut table: Section, reading: &mut Reading<'_>) {
    table.read(reading, "pull_interval", duration(Duration::from_secs(1)..=DAY));
    if let Some(Entry { node, .. }) = table.take("repo") {
        for node in as_list(node.value, node.span) {
            if let Some(repo) = Section::open("[[git_repos.repo]]", node, reading) {
                git_repo(repo, reading);
            }
        }
    }
    table.finish(reading);
}

fn git_repo(mut repo: Section, reading: &mut Reading<'_>) {
    repo.read(reading, "enable", |node, reading| match yes_or_no(node, reading)? {
        true => because("PD0103", "this version does not pull git repositories yet; `enable` must be false"),
        false => Ok(()),
    });
    repo.read(reading, "url", |node, reading| {
        let url = section::text_with_secrets(node, reading)?.to_ascii_lowercase();
        let known = url.trim().is_empty()
            || ["http://", "https://", "ssh://", "git@"].iter().any(|kind| url.trim().starts_with(kind));
        if known { Ok(()) } else { must_be("a URL that starts with https://, http://, ssh:// or git@") }
    });
    repo.read(reading, "ssh_private_key_path", text);
    repo.read(reading, "ssh_private_key_password", section::text_with_secrets);
    repo.read(reading, "branch", text);
    repo.finish(reading);
}

// --- shared by the tables ---

fn set_texts(table: &mut Section, reading: &mut Reading<'_>, key: &'static str, slot: &mut Vec<String>) {
    if let Some(list) = table.list(reading, key, filled_text) {
        *slot = list.value.into_iter().map(|at| at.value).collect();
    }
}

/// A directory that is there or can be made.
fn directory(node: &Node, reading: &mut Reading<'_>) -> Taken<std::path::PathBuf> {
    let path = section::path(node, reading)?;
    if path.exists() && !path.is_dir() {
        return because("PD0103", format!("`{}` is a file; it must be a directory", path.display()));
    }
    Ok(path)
}
