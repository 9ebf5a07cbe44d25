//! `[[inputs.<dialect>]]`: which units run, and how.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::values::{DAY, no_input, tags_of};
use crate::code::Code;
use crate::config::raw::{Node, Span, TableEntry, TomlValue, as_list};
use crate::config::repos::RepoRoot;
use crate::config::section::{
    Located, ReadContext, Section, TakenValue, Wrong, because, because_with_help, duration, filled_text, listed,
    must_be, number, read_value, size, text, text_with_secrets, word, yes_or_no,
};
use crate::config::tables::{InputTable, Restart};
use crate::dialect::{Dialect, DialectFacts, DialectKey, Finder, KeyKind};
use crate::glob::Glob;
use crate::nearest::nearest;

/// The name is part of the name of a log file, whose length is limited.
const LONGEST_NAME: usize = 200;
/// Beneath this Python does not even start.
const SMALLEST_MEMORY: u64 = 16 << 20;
/// A worker that is replaced more often costs more than it can leak.
const SHORTEST_AGE: Duration = Duration::from_secs(1);
const LONGEST_AGE: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const MOST_RUNS: i64 = 1_000_000_000;
/// Where programs are looked for when the environment has no PATH.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// DataKit deletes white space of these kinds from anywhere in a name.
const WHITE_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Reads every input; those with a fault are left out.
pub fn read(mut table: Section, reading: &mut ReadContext<'_>) -> Vec<InputTable> {
    let given: Vec<(Dialect, TableEntry)> =
        Dialect::ALL.iter().filter_map(|dialect| Some((*dialect, table.take(dialect.facts().table)?))).collect();
    for other in table.take_rest() {
        foreign_input(&other, reading);
    }
    if given.is_empty() {
        reading.warnings.push(no_input());
    }
    let mut names: Vec<Located<String>> = Vec::new();
    let mut inputs = Vec::new();
    for (dialect, entry) in given {
        for node in as_list(entry.node.value, entry.node.span) {
            let title = format!("[[inputs.{}]]", dialect.facts().table);
            if let Some(section) = Section::open(&title, node, reading) {
                let faults_before = reading.faults.len();
                let input = input(dialect, section, reading, &mut names);
                if reading.faults.len() == faults_before {
                    inputs.extend(input);
                }
            }
        }
    }
    inputs
}

/// One input for each folder, as when nobody says which ones run.
pub fn each_folder(python_d: &Path) -> Vec<InputTable> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(python_d)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir() && path.file_name().is_some_and(|name| name != "core"))
        .collect();
    folders.sort();
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let folders = folders.into_iter().filter(|path| !name(path).starts_with(['.', '_']));
    folders.map(|path| InputTable::plain(&name(&path), "python3", path)).collect()
}

fn foreign_input(entry: &TableEntry, reading: &mut ReadContext<'_>) {
    let message = format!("unknown input `{}`; this agent runs Python collectors only", entry.key);
    let tables: Vec<&str> = Dialect::ALL.iter().map(|dialect| dialect.facts().table).collect();
    let help = match nearest(&entry.key, &tables) {
        Some(table) => format!("write `[[inputs.{table}]]`"),
        None => "leave it to DataKit or another agent".to_owned(),
    };
    reading.fault_with_help(Code::UnknownKey, entry.key_span, message, help);
}

fn input(
    dialect: Dialect,
    mut section: Section,
    reading: &mut ReadContext<'_>,
    names: &mut Vec<Located<String>>,
) -> Option<InputTable> {
    let facts = dialect.facts();
    let origin = section.origin(reading);
    let span = section.span();
    let wanted = section.read(reading, "enabled", yes_or_no).is_none_or(|at| at.value);
    let enabled = when(&mut section, reading) && wanted;
    let is_found = facts.finder == Finder::Names;
    let (name, cmd) = name_and_cmd(facts, &mut section, reading, enabled);
    if let Some(name) = &name {
        check_unique(name, names, reading);
    }
    let bases = bases(span, reading);
    let dirs = if is_found { dirs(&mut section, &bases, reading, enabled) } else { Some(Vec::new()) };
    let mut settings = settings(facts, &mut section, &bases, reading, enabled);
    // The agent's own, so a change of it concerns no unit.
    let scan = facts.scan().and_then(|key| settings.as_object_mut()?.remove(key.name)?.as_f64());
    let plain = InputTable::plain(
        name.as_ref().map_or("", |name| &name.value),
        cmd.as_ref().map_or("", |cmd| &cmd.value),
        PathBuf::new(),
    );
    let scan = scan.map(Duration::from_secs_f64);
    let mut input = InputTable { dialect, settings, scan, enabled, origin, ..plain };
    input.isolation = facts.default_isolation();
    input.dirs = dirs.clone().unwrap_or_default();
    input.base = own_base(span, reading);
    input.bases = bases;
    if let Some(envs) = section.list(reading, "envs", env) {
        input.envs = envs.value.into_iter().map(|at| at.value).collect();
    }
    if let Some(TableEntry { node, .. }) = section.take("tags")
        && let Some(mut tags) = Section::open("tags", node, reading)
    {
        input.tags = tags_of(tags.take_rest(), reading);
    }
    let some_time = duration(Duration::from_millis(1)..=DAY);
    input.run_timeout = section.read(reading, "run_timeout", some_time).map(|at| at.value);
    section.set(reading, "stop_grace", duration(Duration::ZERO..=DAY), &mut input.stop_grace);
    input.memory_max = section.read(reading, "memory_max", size(SMALLEST_MEMORY..=1 << 50)).map(|at| at.value);
    section.set(reading, "nice", number(-20..=19), &mut input.nice);
    section.set(reading, "config", script_config, &mut input.config);
    manners(&mut section, reading, &mut input);
    if facts.finder == Finder::Lister
        && let Some(settings) = input.settings.as_object_mut()
    {
        // Whoever drives runs of its own ends them in time.
        settings.insert("stop_grace".to_owned(), input.stop_grace.as_secs_f64().into());
    }
    section.finish(reading);
    (name.is_some() && cmd.is_some() && dirs.is_some()).then_some(input)
}

/// How the input is called, and the interpreter of its scripts; both have to be given where the folders decide which scripts there are.
fn name_and_cmd(
    facts: &DialectFacts,
    section: &mut Section,
    reading: &mut ReadContext<'_>,
    enabled: bool,
) -> (Option<Located<String>>, Option<Located<String>>) {
    let cmd = |node: &Node, reading: &mut ReadContext<'_>| command(node, reading, enabled);
    if facts.finder == Finder::Names {
        let name = section.require(reading, "name", "\"my-inputs\"", name);
        return (name, section.require(reading, "cmd", "\"python3\"", cmd));
    }
    let span = section.span();
    let (has_name, has_cmd) = (section.has("name"), section.has("cmd"));
    let (name, cmd) = (section.read(reading, "name", name), section.read(reading, "cmd", cmd));
    let or = |read: Option<Located<String>>, is_given: bool, text: &str| {
        read.or_else(|| (!is_given).then(|| Located { value: text.to_owned(), span }))
    };
    (or(name, has_name, facts.table), or(cmd, has_cmd, "python3"))
}

/// The dialect's own keys as JSON, with their defaults.
fn settings(
    facts: &'static DialectFacts,
    section: &mut Section,
    bases: &[PathBuf],
    reading: &mut ReadContext<'_>,
    enabled: bool,
) -> serde_json::Value {
    let mut settings = serde_json::Map::new();
    if !facts.needs.is_empty() && !facts.needs.iter().any(|name| section.has(name)) {
        let message = format!("`[[inputs.{}]]` needs {}", facts.table, one_of(facts.needs));
        reading.fault(Code::MissingKey, section.span(), message);
    }
    for key in facts.keys {
        let is_given = section.has(key.name);
        // Asked for in any case, so that messages know the key.
        let given = section.read(reading, key.name, |node, reading| own_key(key, node, bases, reading, enabled));
        let default = || key.default_value().filter(|_| !is_given);
        if let Some(value) = given.map(|given| given.value).or_else(default) {
            settings.insert(key.name.to_owned(), value);
        }
    }
    serde_json::Value::Object(settings)
}

fn own_key(
    key: &'static DialectKey,
    node: &Node,
    bases: &[PathBuf],
    reading: &mut ReadContext<'_>,
    enabled: bool,
) -> TakenValue<serde_json::Value> {
    let words_or = |words: &[&str], what: &str| {
        let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        format!("{what}{}", words.join(" or "))
    };
    Ok(match key.kind {
        KeyKind::Text => filled_text(node, reading)?.into(),
        KeyKind::Texts => texts(node, reading)?.into(),
        KeyKind::Paths(endings) => match &node.value {
            TomlValue::List(nodes) => {
                let mut paths = Vec::new();
                for node in nodes {
                    // One that has yet to come with a repository is not there yet.
                    paths.extend(dir(node, bases, endings, reading, enabled)?);
                }
                paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().into()
            }
            _ => return must_be("a list of files or folders"),
        },
        KeyKind::Path(endings) => match dir(node, bases, endings, reading, enabled)? {
            Some(path) => path.display().to_string().into(),
            None => serde_json::Value::Null,
        },
        KeyKind::Flag => yes_or_no(node, reading)?.into(),
        KeyKind::Duration => duration(Duration::from_millis(1)..=DAY)(node, reading)?.as_secs_f64().into(),
        KeyKind::Scan => duration(Duration::from_secs(1)..=DAY)(node, reading)?.as_secs_f64().into(),
        KeyKind::Number(least, most) => number(least..=most)(node, reading)?.into(),
        KeyKind::Word(words) => match &node.value {
            TomlValue::Text(_) => {
                let given = text(node, reading)?;
                match words.contains(&given.as_str()) {
                    true => given.into(),
                    false => return must_be(words_or(words, "")),
                }
            }
            _ => return must_be(words_or(words, "")),
        },
        KeyKind::FlagOr(words) => match &node.value {
            TomlValue::Bool(yes) => (*yes).into(),
            TomlValue::Text(_) => {
                let given = text(node, reading)?;
                match words.contains(&given.as_str()) {
                    true => given.into(),
                    false => return must_be(words_or(words, "true, false or ")),
                }
            }
            _ => return must_be(words_or(words, "true, false or ")),
        },
        KeyKind::Table => script_config(node, reading)?,
        KeyKind::Secrets => secrets(node, reading, enabled)?,
    })
}

/// The folder that holds the secrets as files, or the secrets themselves.
fn secrets(node: &Node, reading: &mut ReadContext<'_>, enabled: bool) -> TakenValue<serde_json::Value> {
    match &node.value {
        TomlValue::Text(_) => Ok(folder(node, reading, enabled)?.display().to_string().into()),
        TomlValue::Table(table) => {
            let mut secrets = serde_json::Map::new();
            for entry in &table.entries {
                if !matches!(entry.node.value, TomlValue::Text(_)) {
                    return must_be("a table of texts, or a folder; a name with a dot or a colon stands in quotes");
                }
                secrets.insert(entry.key.clone(), text_with_secrets(&entry.node, reading)?.into());
            }
            Ok(secrets.into())
        }
        TomlValue::Broken => Err(Wrong::Known),
        _ => must_be("a folder such as \"secrets\", or a table of texts such as { \"name:site\" = \"${env:NAME}\" }"),
    }
}

fn texts(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<Vec<String>> {
    match &node.value {
        TomlValue::List(nodes) => nodes.iter().map(|node| filled_text(node, reading)).collect(),
        _ => must_be("a list of texts"),
    }
}

fn one_of(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}

/// How a worker behaves towards the machine, and when it is replaced.
fn manners(section: &mut Section, reading: &mut ReadContext<'_>, input: &mut InputTable) {
    section.set(reading, "isolation", word(input.dialect.facts().isolation), &mut input.isolation);
    input.user = section.read(reading, "user", user).map(|at| at.value);
    let words = word(&[("always", Restart::Always), ("on-failure", Restart::OnFailure), ("never", Restart::Never)]);
    section.set(reading, "restart", words, &mut input.restart);
    input.max_age = section.read(reading, "max_age", duration(SHORTEST_AGE..=LONGEST_AGE)).map(|at| at.value);
    input.max_runs = section.read(reading, "max_runs", number(1..=MOST_RUNS)).map(|at| at.value.unsigned_abs());
    input.umask = section.read(reading, "umask", umask).map(|at| at.value);
    let enabled = input.enabled;
    input.cwd = section.read(reading, "cwd", |node, reading| folder(node, reading, enabled)).map(|at| at.value);
}

/// Whether the machine knows the user is seen by the worker, which can ask every source of users that there is.
fn user(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<String> {
    let name = filled_text(node, reading)?;
    if name.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':' || c == '/') {
        return must_be("the name or the number of a user such as \"nobody\"");
    }
    Ok(name)
}

/// Octal digits in quotes: TOML has no integers that are octal by their leading zero.
fn umask(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<u32> {
    const WHAT: &str = "octal digits in quotes such as \"027\"";
    match &node.value {
        TomlValue::Text(_) => match u32::from_str_radix(&text(node, reading)?, 8) {
            Ok(mask @ 0..=0o777) => Ok(mask),
            _ => must_be(WHAT),
        },
        _ => must_be(WHAT),
    }
}

/// A folder that is there, below the root or absolute.
fn folder(node: &Node, reading: &mut ReadContext<'_>, enabled: bool) -> TakenValue<PathBuf> {
    let text = filled_text(node, reading)?;
    let path = reading.path_below(reading.root, &text);
    if !enabled || path.is_dir() {
        return Ok(path);
    }
    because_with_help(
        Code::NoSuchPath,
        format!("the folder `{}` does not exist", path.display()),
        format!("mkdir -p {}", path.display()),
    )
}

fn name(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<String> {
    let mut name = text(node, reading)?;
    name.retain(|c| !WHITE_SPACE.contains(&c));
    if name.is_empty() {
        must_be("a name that is not empty")
    } else if name.contains('/') || name.contains(char::is_control) {
        must_be("a name without `/` and control characters, since a log file is named after it")
    } else if name.len() > LONGEST_NAME {
        must_be(format!("a name of at most {LONGEST_NAME} bytes, since a log file is named after it"))
    } else {
        Ok(name)
    }
}

fn check_unique(name: &Located<String>, names: &mut Vec<Located<String>>, reading: &mut ReadContext<'_>) {
    match names.iter().find(|known| known.value == name.value) {
        Some(first) => reading.twice(&format!("name = \"{}\"", name.value), first.span, name.span),
        None => names.push(name.clone()),
    }
}

/// An interpreter that can be started; a disabled input may wait for one.
fn command(node: &Node, reading: &mut ReadContext<'_>, enabled: bool) -> TakenValue<String> {
    let written = filled_text(node, reading)?;
    let path = reading.path_below(Path::new(""), written.trim());
    let cmd = path.to_string_lossy().into_owned();
    if cmd.contains('/') && !path.is_absolute() {
        return must_be("a name on PATH such as \"python3\", or an absolute path");
    }
    let search = reading.around.env.get("PATH").map_or(USUAL_PATH, String::as_str);
    if !enabled || which::which_in(&cmd, Some(search), reading.root).is_ok() {
        return Ok(cmd);
    }
    if reading.is_elsewhere {
        let message = format!("the interpreter `{cmd}` is not on this machine; the scripts are checked with python3");
        reading.warn(Code::NoInterpreter, node.span, message, "check on a host that has it, too");
        return Ok("python3".to_owned());
    }
    if path.is_absolute() {
        let state = if path.exists() { "is not a program that can be run" } else { "does not exist" };
        return because(Code::NoInterpreter, format!("the interpreter `{cmd}` {state}"));
    }
    let help = match cmd.split_whitespace().next() {
        Some(first) if first != cmd => format!("`cmd` takes no arguments; write `cmd = \"{first}\"`"),
        _ => "install it, or give its absolute path".to_owned(),
    };
    because_with_help(Code::NoInterpreter, format!("the interpreter `{cmd}` is not on PATH; searched {search}"), help)
}

/// The folders and files, each once.
fn dirs(
    section: &mut Section,
    bases: &[PathBuf],
    reading: &mut ReadContext<'_>,
    enabled: bool,
) -> Option<Vec<PathBuf>> {
    const EXAMPLE: &str = "[\"mytest\"]";
    let before = section.require(reading, "dirs", EXAMPLE, |node, _| match &node.value {
        TomlValue::List(nodes) if nodes.is_empty() => {
            because(Code::WrongValue, "`dirs` is empty; name at least one folder below python.d")
        }
        TomlValue::List(nodes) => Ok(nodes.clone()),
        _ => must_be(format!("a list of folders below python.d such as {EXAMPLE}")),
    })?;
    let given = before.value.len();
    let read =
        |node: &Node| read_value(reading, "dirs", node, |node, reading| dir(node, bases, &[".py"], reading, enabled));
    let found: Vec<Option<PathBuf>> = before.value.iter().filter_map(read).map(|at| at.value).collect();
    let mut dirs: Vec<PathBuf> = Vec::new();
    for dir in found.iter().flatten() {
        if !dirs.contains(dir) {
            dirs.push(dir.clone());
        }
    }
    (found.len() == given).then_some(dirs)
}

/// A folder or file; `None` while it may come with a repository that was never fetched.
fn dir(
    node: &Node,
    bases: &[PathBuf],
    endings: &[&str],
    reading: &mut ReadContext<'_>,
    enabled: bool,
) -> TakenValue<Option<PathBuf>> {
    let entry = filled_text(node, reading)?;
    let places = places(&entry, bases, reading);
    let local = reading.path_below(&reading.root.join("python.d"), &entry);
    if places.iter().any(|(base, path)| path.starts_with(base.join("core"))) {
        return because(
            Code::NoSuchPath,
            format!("`{entry}` holds the agent's own Python code and is no place for scripts"),
        );
    }
    let has_ending = |path: &Path| {
        let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        endings.is_empty() || endings.iter().any(|ending| name.ends_with(ending))
    };
    let usable = |path: &Path| path.is_dir() || path.is_file() && has_ending(path);
    if let Some((_, path)) = places.iter().find(|(_, path)| usable(path)) {
        return Ok(Some(path.clone()));
    }
    if !enabled {
        return Ok(Some(local));
    }
    if let Some((_, path)) = places.iter().find(|(_, path)| path.exists()) {
        let what = one_of(endings);
        return because(Code::NoSuchPath, format!("`{}` is neither a folder nor a {what} file", path.display()));
    }
    let searched: Vec<String> = places.iter().map(|(_, path)| path.display().to_string()).collect();
    let is_file = endings.is_empty() && Path::new(&entry).extension().is_some();
    let what = if is_file { "file" } else { "folder" };
    let message = format!("the {what} `{entry}` does not exist; looked for {}", searched.join(" and "));
    if reading.is_elsewhere && Path::new(&entry).is_absolute() {
        reading.warn(Code::NoSuchPath, node.span, message, "check on a host that has it, too");
        return Ok(None);
    }
    if !reading.pending.is_empty() && !Path::new(&entry).is_absolute() {
        let help = format!("it may come with {}, which was not fetched yet", listed_names(&reading.pending));
        reading.warn(Code::NoSuchPath, node.span, message, help);
        return Ok(None);
    }
    let help = match places.iter().find_map(|(_, path)| in_other_case(path)) {
        Some(name) => format!("there is `{name}`; upper and lower case differ"),
        None if is_file => return because(Code::NoSuchPath, message),
        None => format!("mkdir -p {}", local.display()),
    };
    because_with_help(Code::NoSuchPath, message, help)
}

/// Where a relative entry starts from, in order: the repository that the block stands in, the other repositories, the local `python.d`.
fn bases(span: Span, reading: &ReadContext<'_>) -> Vec<PathBuf> {
    let file = reading.files.path(span);
    let (own, others): (Vec<&RepoRoot>, Vec<&RepoRoot>) =
        reading.repos.iter().partition(|repo| file.starts_with(&repo.dir));
    let repos = own.into_iter().chain(others).map(|repo| repo.dir.join("python.d"));
    repos.chain([reading.root.join("python.d")]).collect()
}

/// That of the tree in which the block stands.
fn own_base(span: Span, reading: &ReadContext<'_>) -> PathBuf {
    let file = reading.files.path(span);
    let tree = reading.repos.iter().find(|repo| file.starts_with(&repo.dir));
    tree.map_or(reading.root, |repo| repo.dir.as_path()).join("python.d")
}

/// Where an entry may lie, each with the folder that it starts from.
fn places(entry: &str, bases: &[PathBuf], reading: &ReadContext<'_>) -> Vec<(PathBuf, PathBuf)> {
    let mut places: Vec<(PathBuf, PathBuf)> = Vec::new();
    for base in bases {
        let path = reading.path_below(base, entry);
        if !places.iter().any(|(_, known)| *known == path) {
            places.push((base.clone(), path));
        }
    }
    places
}

fn listed_names(names: &[String]) -> String {
    listed(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Says whether `when` lets the input run on this host; without it every host does.
fn when(section: &mut Section, reading: &mut ReadContext<'_>) -> bool {
    let Some(TableEntry { node, .. }) = section.take("when") else {
        return true;
    };
    let Some(mut table) = Section::open("when", node, reading) else {
        return false;
    };
    let hosts = table.list(reading, "hosts", filled_text);
    let is_host = hosts.is_none_or(|hosts| hosts.value.iter().any(|at| is_this_host(&at.value, reading)));
    let mut is_env = true;
    if let Some(TableEntry { node, .. }) = table.take("env")
        && let Some(mut env) = Section::open("env", node, reading)
    {
        for TableEntry { key, node, .. } in env.take_rest() {
            let Some(wanted) = read_value(reading, &key, &node, text) else { continue };
            let value = reading.around.env.get(&key).map_or("", String::as_str);
            is_env &= Glob::new(wanted.value).matches(value.as_bytes());
        }
    }
    table.finish(reading);
    is_host && is_env
}

/// A pattern fits the host name whole or up to its first dot, in any case.
fn is_this_host(pattern: &str, reading: &ReadContext<'_>) -> bool {
    let host = reading.around.hostname.to_lowercase();
    let short = host.split('.').next().unwrap_or_default();
    let pattern = Glob::new(pattern.to_lowercase());
    pattern.matches(host.as_bytes()) || pattern.matches(short.as_bytes())
}

/// What lies there under the same name in other case.
fn in_other_case(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_str()?.to_lowercase();
    let names = std::fs::read_dir(path.parent()?).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.into_iter().find(|name| name.to_lowercase() == wanted)
}

/// `NAME=value`; a value that starts with `~/` means the home directory.
fn env(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<(String, String)> {
    let text = text(node, reading)?;
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            let from_home = value == "~" || value.starts_with("~/");
            let value = if from_home {
                reading.path_below(Path::new(""), value).display().to_string()
            } else {
                value.to_owned()
            };
            Ok((name.trim().to_owned(), value))
        }
        _ => must_be("`NAME=value`"),
    }
}

/// The table `config` as JSON, for the script.
fn script_config(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<serde_json::Value> {
    match &node.value {
        TomlValue::Table(_) => as_json(node, reading),
        _ => must_be("a table such as { url = \"http://localhost\" }"),
    }
}

fn as_json(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<serde_json::Value> {
    use serde_json::Value as Json;
    let no_json = |what: String| because(Code::WrongValue, format!("{what}, which a script cannot be given"));
    Ok(match &node.value {
        TomlValue::Text(_) => Json::String(text(node, reading)?),
        TomlValue::Integer(number) => match i64::try_from(*number) {
            Ok(number) => number.into(),
            Err(_) => return no_json(format!("`{number}` needs more than 64 bits")),
        },
        TomlValue::Float(number) => match serde_json::Number::from_f64(*number) {
            Some(number) => Json::Number(number),
            None => return no_json(format!("`{number}` is no number")),
        },
        TomlValue::Bool(yes) => Json::Bool(*yes),
        TomlValue::Date(date) => Json::String(date.clone()),
        TomlValue::List(nodes) => {
            Json::Array(nodes.iter().map(|node| as_json(node, reading)).collect::<Result<_, _>>()?)
        }
        TomlValue::Table(table) => {
            let pair = |entry: &TableEntry, reading: &mut ReadContext<'_>| {
                Ok((entry.key.clone(), as_json(&entry.node, reading)?))
            };
            Json::Object(table.entries.iter().map(|entry| pair(entry, reading)).collect::<Result<_, _>>()?)
        }
        TomlValue::Broken => return Err(Wrong::Known),
    })
}
