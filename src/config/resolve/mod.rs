//! From the tables as written to [`Config`], with every fault of every table collected on the way.
//!
//! One function per table; each starts from the table's defaults and overwrites what is given. Only a run without a fault gives a
//! `Config`, so nothing obeys a value that stands in for a faulty one.

mod http_api;
mod inputs;
mod repos;
mod sinks;
mod values;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::listing;
use super::raw::{Files, Node, Table, TableEntry, TomlValue};
use super::repos::{RepoRoot, RepoSettings};
use super::section::{ReadContext, Section, duration, listed, must_be, number, size, word, yes_or_no};
use super::surroundings::Surroundings;
use super::tables::{
    AtCap, BufferTable, Config, ConfigError, Events, IngestTable, Integers, Level, Logging, OnInvalid, Reload, Series,
    Sync, Workers, ZygoteTable,
};
use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::nearest::nearest;
use crate::quantity::show_size;
use values::{DAY, directory, group, no_input, set_texts, tags_of};

/// The tables of the vocabulary.
const TABLES: [&str; 12] = [
    "inputs",
    "workers",
    "http_api",
    "ingest",
    "series",
    "events",
    "buffer",
    "logging",
    "reload",
    "global_tags",
    "sinks",
    "git_repos",
];

/// Beneath this a segment of the buffer could not be closed and freed in time.
const SMALLEST_BUFFER: u64 = 16 << 20;
/// One hundred million take 8 GB.
const SERIES: std::ops::RangeInclusive<usize> = 1..=100_000_000;

/// Reads and checks the settings below `root`.
pub fn read(root: &Path, around: &Surroundings, repos: &[RepoRoot]) -> Result<Config, ConfigError> {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let listing = listing::read(&root.join("conf.d"));
    let (mut files, mut tree, mut faults) = (Files::default(), Table::default(), listing.faults);
    let mut warnings = listing.warnings;
    let any_file = !listing.files.is_empty();
    for (path, bytes) in listing.files {
        faults.extend(files.add(path, bytes, around, &mut tree));
    }
    for repo in repos {
        let listing = listing::read_if_there(&repo.dir.join("conf.d"));
        faults.extend(listing.faults);
        warnings.extend(listing.warnings);
        for (path, bytes) in listing.files {
            faults.extend(files.add_inputs(path, bytes, around, &mut tree));
        }
    }
    let mut reading = ReadContext {
        root: &root,
        repos,
        pending: Vec::new(),
        is_elsewhere: false,
        around,
        files: &files,
        faults,
        warnings,
    };
    let config = all_tables(tree, any_file, &mut reading);
    finished(config, reading)
}

/// Reads the settings of a repository by themselves.
pub fn read_repo(dir: &Path, around: &Surroundings) -> Result<Config, ConfigError> {
    let root = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let listing = listing::read_if_there(&root.join("conf.d"));
    let (mut files, mut tree, mut faults) = (Files::default(), Table::default(), listing.faults);
    let any_file = !listing.files.is_empty();
    for (path, bytes) in listing.files {
        faults.extend(files.add_inputs(path, bytes, around, &mut tree));
    }
    let warnings = listing.warnings;
    let mut reading = ReadContext {
        root: &root,
        repos: &[],
        pending: Vec::new(),
        is_elsewhere: true,
        around,
        files: &files,
        faults,
        warnings,
    };
    let mut config = all_tables(tree, any_file, &mut reading);
    if !any_file {
        config.inputs = inputs::each_folder(&root.join("python.d"));
    }
    finished(config, reading)
}

fn finished(config: Config, reading: ReadContext<'_>) -> Result<Config, ConfigError> {
    let ReadContext { mut faults, mut warnings, files, .. } = reading;
    in_file_order(&mut faults, files);
    in_file_order(&mut warnings, files);
    if faults.is_empty() {
        Ok(Config { warnings, ..config })
    } else {
        Err(ConfigError { faults, warnings, inputs: config.inputs })
    }
}

fn in_file_order(diagnostics: &mut [Diagnostic], files: &Files) {
    diagnostics.sort_by_key(|diagnostic| diagnostic.place.as_ref().map(|place| files.rank(place)));
}

fn all_tables(tree: Table, any_file: bool, reading: &mut ReadContext<'_>) -> Config {
    let mut tables: BTreeMap<&str, Node> = BTreeMap::new();
    for entry in tree.entries {
        match TABLES.iter().find(|name| **name == entry.key) {
            Some(name) => {
                tables.insert(name, entry.node);
            }
            None => unknown_table(&entry, reading),
        }
    }
    let mut open = |name: &str, reading: &mut ReadContext<'_>| {
        tables.remove(name).and_then(|node| Section::open(&format!("[{name}]"), node, reading))
    };
    let git_repos = repos::read(open("git_repos", reading), reading);
    let is_pending = |repo: &&RepoSettings| !reading.repos.iter().any(|root| root.name == repo.name);
    reading.pending = git_repos.repos.iter().filter(is_pending).map(|repo| repo.name.clone()).collect();
    let inputs_table = open("inputs", reading);
    // What is not fetched yet may bring some.
    if inputs_table.is_none() && any_file && reading.pending.is_empty() {
        reading.warnings.push(no_input());
    }
    let workers_table = open("workers", reading);
    let http_api = open("http_api", reading);
    let ingest_table = open("ingest", reading);
    let series_table = open("series", reading);
    let events_table = open("events", reading);
    let buffer_table = open("buffer", reading);
    let logging_table = open("logging", reading);
    let reload_table = open("reload", reading);
    let tags_table = open("global_tags", reading);
    let sinks_table = open("sinks", reading);
    let inputs = inputs_table.map_or_else(Vec::new, |table| inputs::read(table, reading));
    let (sinks, default_sink) = sinks::read(sinks_table, reading);
    Config {
        root: reading.root.to_owned(),
        inputs,
        workers: workers(workers_table, reading),
        http_api: http_api::read(http_api, reading),
        ingest: ingest(ingest_table, reading),
        series: series(series_table, reading),
        events: events(events_table, reading),
        buffer: buffer(buffer_table, reading),
        logging: logging(logging_table, reading),
        reload: reload(reload_table, reading),
        global_tags: global_tags(tags_table, reading),
        sinks,
        default_sink,
        git_repos,
        warnings: Vec::new(),
    }
}

fn unknown_table(entry: &TableEntry, reading: &mut ReadContext<'_>) {
    let is_table = matches!(&entry.node.value, TomlValue::Table(_) | TomlValue::List(_));
    // Behind a header that could not be read the parser takes words for what they are not.
    let broken = |span| reading.files.is_in_broken_line(span);
    if broken(entry.key_span) || broken(entry.node.span) || (!is_table && reading.files.is_broken(entry.key_span)) {
        return;
    }
    let what =
        if is_table { format!("unknown table `[{}]`", entry.key) } else { format!("unknown key `{}`", entry.key) };
    let mut fault = Diagnostic::error(Code::UnknownKey, what);
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

fn workers(table: Option<Section>, reading: &mut ReadContext<'_>) -> Workers {
    let mut workers = Workers::default();
    if let Some(mut table) = table {
        table.set(
            reading,
            "zygote",
            word(&[("auto", ZygoteTable::Auto), ("off", ZygoteTable::Off)]),
            &mut workers.zygote,
        );
        table.finish(reading);
    }
    workers
}

fn ingest(table: Option<Section>, reading: &mut ReadContext<'_>) -> IngestTable {
    let mut ingest = IngestTable::default();
    if let Some(mut table) = table {
        let words = word(&[("float", Integers::Float), ("keep", Integers::Keep)]);
        table.set(reading, "integers", words, &mut ingest.integers);
        table.finish(reading);
    }
    ingest
}

fn series(table: Option<Section>, reading: &mut ReadContext<'_>) -> Series {
    let mut series = Series::default();
    if let Some(mut table) = table {
        table.set(reading, "max", number(SERIES), &mut series.max);
        table.finish(reading);
    }
    series
}

fn events(table: Option<Section>, reading: &mut ReadContext<'_>) -> Events {
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

fn buffer(table: Option<Section>, reading: &mut ReadContext<'_>) -> BufferTable {
    let mut buffer = BufferTable::default_in(reading.root);
    if let Some(mut table) = table {
        let max_size = |node: &Node, reading: &mut ReadContext<'_>| {
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
        buffer.group = table.read(reading, "group", group).map(|at| at.value);
        table.finish(reading);
    }
    buffer
}

fn logging(table: Option<Section>, reading: &mut ReadContext<'_>) -> Logging {
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
        logging.group = table.read(reading, "group", group).map(|at| at.value);
        table.finish(reading);
    }
    logging
}

fn reload(table: Option<Section>, reading: &mut ReadContext<'_>) -> Reload {
    let mut reload = Reload::default();
    if let Some(mut table) = table {
        table.set(reading, "watch", yes_or_no, &mut reload.watch);
        table.set(reading, "poll", duration(Duration::from_secs(1)..=DAY), &mut reload.poll);
        table.finish(reading);
    }
    reload
}

fn global_tags(table: Option<Section>, reading: &mut ReadContext<'_>) -> BTreeMap<String, String> {
    let mut tags = table.map_or_else(BTreeMap::new, |mut table| tags_of(table.take_rest(), reading));
    tags.entry("host".to_owned()).or_insert_with(|| reading.around.hostname.clone());
    tags
}
