//! `[[inputs.pythond]]`: which scripts run, and how.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{DAY, Reading, Section, Taken, no_input, tags_of};
use crate::config::glob::Glob;
use crate::config::raw::{Entry, Node, Value, as_list};
use crate::config::section::{
    At, Wrong, because, because_with_help, duration, filled_text, listed, must_be, nearest, number, read_value, size,
    text, word, yes_or_no,
};
use crate::config::{Input, Isolation, RepoRoot, Restart};

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
pub fn read(mut table: Section, reading: &mut Reading<'_>) -> Vec<Input> {
    let pythond = table.take("pythond");
    for other in table.take_rest() {
        foreign_input(&other, reading);
    }
    let Some(Entry { node, .. }) = pythond else {
        reading.warnings.push(no_input());
        return Vec::new();
    };
    let mut names: Vec<At<String>> = Vec::new();
    let mut inputs = Vec::new();
    for node in as_list(node.value, node.span) {
        if let Some(section) = Section::open("[[inputs.pythond]]", node, reading) {
            let faults_before = reading.faults.len();
            let input = input(section, reading, &mut names);
            if reading.faults.len() == faults_before {
                inputs.extend(input);
            }
        }
    }
    inputs
}

/// One input for each folder, as when nobody says which ones run.
pub fn each_folder(python_d: &Path) -> Vec<Input> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(python_d)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir() && path.file_name().is_some_and(|name| name != "core"))
        .collect();
    folders.sort();
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let folders = folders.into_iter().filter(|path| !name(path).starts_with(['.', '_']));
    folders.map(|path| Input::plain(&name(&path), "python3", path)).collect()
}

fn foreign_input(entry: &Entry, reading: &mut Reading<'_>) {
    let message = format!("unknown input `{}`; this agent runs Python collectors only", entry.key);
    let help = match nearest(&entry.key, &["pythond"]) {
        Some(_) => "write `[[inputs.pythond]]`",
        None => "leave it to DataKit or another agent",
    };
    reading.fault_with_help("PD0102", entry.key_span, message, help);
}

fn input(mut section: Section, reading: &mut Reading<'_>, names: &mut Vec<At<String>>) -> Option<Input> {
    let origin = section.origin(reading);
    let wanted = section.read(reading, "enabled", yes_or_no).is_none_or(|at| at.value);
    let enabled = when(&mut section, reading) && wanted;
    let name = section.require(reading, "name", "\"my-inputs\"", name);
    if let Some(name) = &name {
        check_unique(name, names, reading);
    }
    let cmd = section.require(reading, "cmd", "\"python3\"", |node, reading| command(node, reading, enabled));
    let dirs = dirs(&mut section, reading, enabled);
    let plain = Input::plain(
        name.as_ref().map_or("", |name| &name.value),
        cmd.as_ref().map_or("", |cmd| &cmd.value),
        PathBuf::new(),
    );
    let mut input = Input { enabled, origin, ..plain };
    input.dirs = dirs.clone().unwrap_or_default();
    if let Some(envs) = section.list(reading, "envs", env) {
        input.envs = envs.value.into_iter().map(|at| at.value).collect();
    }
    if let Some(Entry { node, .. }) = section.take("tags")
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
    section.finish(reading);
    (name.is_some() && cmd.is_some() && dirs.is_some()).then_some(input)
}

/// How a worker behaves towards the machine, and when it is replaced.
fn manners(section: &mut Section, reading: &mut Reading<'_>, input: &mut Input) {
    let words = word(&[("script", Isolation::Script), ("class", Isolation::Class), ("input", Isolation::Input)]);
    section.set(reading, "isolation", words, &mut input.isolation);
    input.user = section.read(reading, "user", user).map(|at| at.value);
    let words = word(&[("always", Restart::Always), ("on-failure", Restart::OnFailure), ("never", Restart::Never)]);
    section.set(reading, "restart", words, &mut input.restart);
    input.max_age = section.read(reading, "max_age", duration(SHORTEST_AGE..=LONGEST_AGE)).map(|at| at.value);
    input.max_runs = section.read(reading, "max_runs", number(1..=MOST_RUNS)).map(|at| at.value.unsigned_abs());
    input.umask = section.read(reading, "umask", umask).map(|at| at.value);
    let enabled = input.enabled;
    input.cwd = section.read(reading, "cwd", |node, reading| cwd(node, reading, enabled)).map(|at| at.value);
}

/// Whether the machine knows the user is seen by the worker, which can ask every source of users that there is.
fn user(node: &Node, reading: &mut Reading<'_>) -> Taken<String> {
    let name = filled_text(node, reading)?;
    if name.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':' || c == '/') {
        return must_be("the name or the number of a user such as \"nobody\"");
    }
    Ok(name)
}

/// Octal digits in quotes: TOML has no integers that are octal by their leading zero.
fn umask(node: &Node, reading: &mut Reading<'_>) -> Taken<u32> {
    const WHAT: &str = "octal digits in quotes such as \"027\"";
    match &node.value {
        Value::Text(_) => match u32::from_str_radix(&text(node, reading)?, 8) {
            Ok(mask @ 0..=0o777) => Ok(mask),
            _ => must_be(WHAT),
        },
        _ => must_be(WHAT),
    }
}

fn cwd(node: &Node, reading: &mut Reading<'_>, enabled: bool) -> Taken<PathBuf> {
    let text = filled_text(node, reading)?;
    let path = reading.path_below(reading.root, &text);
    if !enabled || path.is_dir() {
        return Ok(path);
    }
    because_with_help(
        "PD0106",
        format!("the folder `{}` does not exist", path.display()),
        format!("mkdir -p {}", path.display()),
    )
}

fn name(node: &Node, reading: &mut Reading<'_>) -> Taken<String> {
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

fn check_unique(name: &At<String>, names: &mut Vec<At<String>>, reading: &mut Reading<'_>) {
    match names.iter().find(|known| known.value == name.value) {
        Some(first) => reading.twice(&format!("name = \"{}\"", name.value), first.span, name.span),
        None => names.push(name.clone()),
    }
}

/// An interpreter that can be started; a disabled input may wait for one.
fn command(node: &Node, reading: &mut Reading<'_>, enabled: bool) -> Taken<String> {
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
        reading.warn("PD0107", node.span, message, "check on a host that has it, too");
        return Ok("python3".to_owned());
    }
    if path.is_absolute() {
        let state = if path.exists() { "is not a program that can be run" } else { "does not exist" };
        return because("PD0107", format!("the interpreter `{cmd}` {state}"));
    }
    let help = match cmd.split_whitespace().next() {
        Some(first) if first != cmd => format!("`cmd` takes no arguments; write `cmd = \"{first}\"`"),
        _ => "install it, or give its absolute path".to_owned(),
    };
    because_with_help("PD0107", format!("the interpreter `{cmd}` is not on PATH; searched {search}"), help)
}

/// The folders and files, each once.
fn dirs(section: &mut Section, reading: &mut Reading<'_>, enabled: bool) -> Option<Vec<PathBuf>> {
    const EXAMPLE: &str = "[\"mytest\"]";
    let before = section.require(reading, "dirs", EXAMPLE, |node, _| match &node.value {
        Value::List(nodes) if nodes.is_empty() => {
            because("PD0103", "`dirs` is empty; name at least one folder below python.d")
        }
        Value::List(nodes) => Ok(nodes.clone()),
        _ => must_be(format!("a list of folders below python.d such as {EXAMPLE}")),
    })?;
    let given = before.value.len();
    let read = |node: &Node| read_value(reading, "dirs", node, |node, reading| dir(node, reading, enabled));
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
fn dir(node: &Node, reading: &mut Reading<'_>, enabled: bool) -> Taken<Option<PathBuf>> {
    let entry = filled_text(node, reading)?;
    let places = places(&entry, node, reading);
    let local = reading.path_below(&reading.root.join("python.d"), &entry);
    if places.iter().any(|(base, path)| path.starts_with(base.join("core"))) {
        return because("PD0106", format!("`{entry}` holds the agent's own Python code and is no place for scripts"));
    }
    let usable =
        |path: &Path| path.is_dir() || (path.is_file() && path.extension().is_some_and(|ending| ending == "py"));
    if let Some((_, path)) = places.iter().find(|(_, path)| usable(path)) {
        return Ok(Some(path.clone()));
    }
    if !enabled {
        return Ok(Some(local));
    }
    if let Some((_, path)) = places.iter().find(|(_, path)| path.exists()) {
        return because("PD0106", format!("`{}` is neither a folder nor a `.py` file", path.display()));
    }
    let searched: Vec<String> = places.iter().map(|(_, path)| path.display().to_string()).collect();
    let message = format!("the folder `{entry}` does not exist; looked for {}", searched.join(" and "));
    if reading.is_elsewhere && Path::new(&entry).is_absolute() {
        reading.warn("PD0106", node.span, message, "check on a host that has it, too");
        return Ok(None);
    }
    if !reading.pending.is_empty() && !Path::new(&entry).is_absolute() {
        let help = format!("it may come with {}, which was not fetched yet", listed_names(&reading.pending));
        reading.warn("PD0106", node.span, message, help);
        return Ok(None);
    }
    let help = match places.iter().find_map(|(_, path)| in_other_case(path)) {
        Some(name) => format!("there is `{name}`; upper and lower case differ"),
        None => format!("mkdir -p {}", local.display()),
    };
    because_with_help("PD0106", message, help)
}

/// Where an entry may lie, in order: the repository that the block stands in, the other repositories, the local `python.d`;
/// each with the folder that a relative entry starts from.
fn places(entry: &str, node: &Node, reading: &Reading<'_>) -> Vec<(PathBuf, PathBuf)> {
    let file = reading.files.path(node.span);
    let (own, others): (Vec<&RepoRoot>, Vec<&RepoRoot>) =
        reading.repos.iter().partition(|repo| file.starts_with(&repo.dir));
    let repos = own.into_iter().chain(others).map(|repo| repo.dir.join("python.d"));
    let mut places: Vec<(PathBuf, PathBuf)> = Vec::new();
    for base in repos.chain([reading.root.join("python.d")]) {
        let path = reading.path_below(&base, entry);
        if !places.iter().any(|(_, known)| *known == path) {
            places.push((base, path));
        }
    }
    places
}

fn listed_names(names: &[String]) -> String {
    listed(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Says whether `when` lets the input run on this host; without it every host does.
fn when(section: &mut Section, reading: &mut Reading<'_>) -> bool {
    let Some(Entry { node, .. }) = section.take("when") else {
        return true;
    };
    let Some(mut table) = Section::open("when", node, reading) else {
        return false;
    };
    let hosts = table.list(reading, "hosts", filled_text);
    let is_host = hosts.is_none_or(|hosts| hosts.value.iter().any(|at| is_this_host(&at.value, reading)));
    let mut is_env = true;
    if let Some(Entry { node, .. }) = table.take("env")
        && let Some(mut env) = Section::open("env", node, reading)
    {
        for Entry { key, node, .. } in env.take_rest() {
            let Some(wanted) = read_value(reading, &key, &node, text) else { continue };
            let value = reading.around.env.get(&key).map_or("", String::as_str);
            is_env &= Glob::new(wanted.value).matches(value.as_bytes());
        }
    }
    table.finish(reading);
    is_host && is_env
}

/// A pattern fits the host name whole or up to its first dot, in any case.
fn is_this_host(pattern: &str, reading: &Reading<'_>) -> bool {
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
fn env(node: &Node, reading: &mut Reading<'_>) -> Taken<(String, String)> {
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
fn script_config(node: &Node, reading: &mut Reading<'_>) -> Taken<serde_json::Value> {
    match &node.value {
        Value::Table(_) => as_json(node, reading),
        _ => must_be("a table such as { url = \"http://localhost\" }"),
    }
}

fn as_json(node: &Node, reading: &mut Reading<'_>) -> Taken<serde_json::Value> {
    use serde_json::Value as Json;
    let no_json = |what: String| because("PD0103", format!("{what}, which a script cannot be given"));
    Ok(match &node.value {
        Value::Text(_) => Json::String(text(node, reading)?),
        Value::Integer(number) => match i64::try_from(*number) {
            Ok(number) => number.into(),
            Err(_) => return no_json(format!("`{number}` needs more than 64 bits")),
        },
        Value::Float(number) => match serde_json::Number::from_f64(*number) {
            Some(number) => Json::Number(number),
            None => return no_json(format!("`{number}` is no number")),
        },
        Value::Bool(yes) => Json::Bool(*yes),
        Value::Date(date) => Json::String(date.clone()),
        Value::List(nodes) => Json::Array(nodes.iter().map(|node| as_json(node, reading)).collect::<Result<_, _>>()?),
        Value::Table(table) => {
            let pair =
                |entry: &Entry, reading: &mut Reading<'_>| Ok((entry.key.clone(), as_json(&entry.node, reading)?));
            Json::Object(table.entries.iter().map(|entry| pair(entry, reading)).collect::<Result<_, _>>()?)
        }
        Value::Broken => return Err(Wrong::Known),
    })
}
