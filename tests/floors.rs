//! Holds the floors of ARCHITECTURE.md: a module uses lower floors only, and modules of one floor are strangers. Holds, too, how long
//! a file and a function may be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const FLOORS: [(&str, i8); 27] = [
    ("code", -2),
    ("containment", -1),
    ("diagnostic", -1),
    ("dialect", -1),
    ("glob", -1),
    ("nearest", -1),
    ("platform", -1),
    ("quantity", -1),
    ("tls", -1),
    ("words", -1),
    ("config", 0),
    ("point", 0),
    ("telemetry", 0),
    ("watch", 0),
    ("event", 1),
    ("buffer", 1),
    ("deadletter", 1),
    ("series", 1),
    ("worker", 1),
    ("git", 1),
    ("ingest", 2),
    ("sinks", 2),
    ("supervisor", 2),
    ("api", 3),
    ("tryout", 3),
    ("app", 4),
    ("cli", 5),
];

/// Neighbours on the ground floor that may be used all the same: settings name categories, points name settings' rules.
const GROUND: [(&str, &str); 1] = [("config", "point")];

fn floor(module: &str) -> Option<i8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// The modules named as `crate::x`, also in `use crate::{x, y::z}`.
fn uses(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let list = &list[..list.find("};").unwrap_or(list.len())];
            found.extend(list.split(',').map(|item| first_word(item.trim())));
        } else {
            found.push(first_word(rest));
        }
    }
    found
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn a_module_uses_lower_floors_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let mut broken = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&src).unwrap();
        let module =
            inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let Some(own) = floor(&module) else {
            assert!(
                ["main", "lib"].contains(&module.as_str()),
                "`{module}` has no floor: add it to ARCHITECTURE.md and to this test"
            );
            continue;
        };
        for used in uses(&without_comments(&std::fs::read_to_string(&file).unwrap())) {
            let allowed = used == module
                || GROUND.contains(&(module.as_str(), used.as_str()))
                || floor(&used).is_none_or(|other| other < own);
            if !allowed {
                broken.push(format!("{}: `{module}` (floor {own}) uses `{used}`", inside.display()));
            }
        }
    }
    assert!(broken.is_empty(), "floors are broken:\n{}", broken.join("\n"));
}

/// A module below a room: its files (one for each system), its modules, and the modules it uses. The root of the room is "".
struct Module {
    files: Vec<PathBuf>,
    children: BTreeSet<String>,
    uses: BTreeSet<String>,
}

/// The modules of a room by their paths; those for tests only are left out.
fn modules(room: &str) -> BTreeMap<String, Module> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let beside = src.join(room).with_extension("rs");
    let root = if beside.exists() { beside } else { src.join(room).join("mod.rs") };
    let mut found = BTreeMap::new();
    let mut open = vec![(String::new(), vec![root])];
    while let Some((name, files)) = open.pop() {
        let mut children: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for file in &files {
            for (child, files) in declared(file) {
                children.entry(child).or_default().extend(files);
            }
        }
        let module = Module { files, children: children.keys().cloned().collect(), uses: BTreeSet::new() };
        open.extend(children.into_iter().map(|(child, files)| (join(&name, &child), files)));
        found.insert(name, module);
    }
    for name in found.keys().cloned().collect::<Vec<_>>() {
        let code: String = found[&name].files.iter().map(|file| code_of(file)).collect();
        let used = used_in(&code.replace(&format!("crate::{room}::"), "room::"), &name, &found);
        found.get_mut(&name).unwrap().uses = used;
    }
    found
}

fn join(module: &str, child: &str) -> String {
    if module.is_empty() { child.to_owned() } else { format!("{module}::{child}") }
}

/// A file without comments and without its tests, which are its end.
fn code_of(file: &Path) -> String {
    let text = without_comments(&std::fs::read_to_string(file).unwrap());
    let is_code = |line: &&str| !line.ends_with("mod tests {");
    text.lines().take_while(is_code).collect::<Vec<_>>().join("\n")
}

/// The `mod x;` of a file, each with the files that may stand for it.
fn declared(file: &Path) -> Vec<(String, Vec<PathBuf>)> {
    let dir = file.parent().unwrap();
    let below = if file.ends_with("mod.rs") { dir.to_owned() } else { file.with_extension("") };
    let (mut found, mut attributes) = (Vec::new(), String::new());
    for line in code_of(file).lines().map(str::trim) {
        let declares = line.split_once("mod ").filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
        match declares.and_then(|(_, name)| name.strip_suffix(';')) {
            Some(_) if attributes.contains("cfg(test)") || attributes.contains("all(test") => {}
            Some(name) => {
                let plain = [below.join(format!("{name}.rs")), below.join(name).join("mod.rs")];
                let others =
                    attributes.split("path = \"").skip(1).map(|rest| dir.join(rest.split('"').next().unwrap()));
                let files: Vec<PathBuf> = plain.into_iter().chain(others).filter(|file| file.exists()).collect();
                assert!(!files.is_empty(), "{} declares `{name}`, which is nowhere", file.display());
                found.push((name.to_owned(), files));
            }
            None => {}
        }
        match line.starts_with("#[") {
            true => attributes.push_str(line),
            false => attributes.clear(),
        }
    }
    found
}

/// The modules of the room that a module's code names: by `super::`, by `room::`, or as its own children.
fn used_in(code: &str, name: &str, room: &BTreeMap<String, Module>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (base, rest) in named(code, name, &room[name].children) {
        for path in paths(rest) {
            let mut module = base.clone();
            for segment in path {
                match room.get(&join(&module, &segment)) {
                    Some(_) => module = join(&module, &segment),
                    None => break,
                }
            }
            if module != name {
                found.insert(module);
            }
        }
    }
    found
}

/// Where a path of the room begins: the module that it counts from, and the text behind.
fn named<'t>(code: &'t str, name: &str, children: &BTreeSet<String>) -> Vec<(String, &'t str)> {
    let parent = |name: &str| name.rsplit_once("::").map_or(String::new(), |(parent, _)| parent.to_owned());
    // `pub(in super::super)` says who may use it, and uses nothing.
    let is_start = |at: usize| {
        !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') && !code[..at].ends_with("(in ")
    };
    let mut found = Vec::new();
    for (at, _) in code.match_indices("super::").filter(|(at, _)| is_start(*at)) {
        let (mut base, mut rest) = (name.to_owned(), &code[at..]);
        while let Some(behind) = rest.strip_prefix("super::") {
            (base, rest) = (parent(&base), behind);
        }
        found.push((base, rest));
    }
    let of_itself = code.match_indices("self::").filter(|(at, _)| is_start(*at));
    found.extend(of_itself.map(|(at, start)| (name.to_owned(), &code[at + start.len()..])));
    let of_root = code.match_indices("room::").filter(|(at, _)| is_start(*at));
    found.extend(of_root.map(|(at, start)| (String::new(), &code[at + start.len()..])));
    for child in children {
        let start = format!("{child}::");
        let named = code.match_indices(&start).filter(|(at, _)| is_start(*at));
        found.extend(named.map(|(at, _)| (name.to_owned(), &code[at..])));
    }
    found
}

/// The paths of a use tree such as `a::{self, b::C}`, as far as they are lower case.
fn paths(text: &str) -> Vec<Vec<String>> {
    let text = text.trim_start();
    let Some(list) = text.strip_prefix('{') else {
        let word = first_word(text);
        return match text[word.len()..].strip_prefix("::") {
            Some(rest) => paths(rest).into_iter().map(|path| [vec![word.clone()], path].concat()).collect(),
            None => vec![vec![word]],
        };
    };
    let (mut found, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            ',' if depth == 0 => {
                found.extend(paths(&list[start..at]));
                start = at + 1;
            }
            '}' if depth == 0 => {
                found.extend(paths(&list[start..at]));
                break;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found
}

/// A way from a module back to itself.
fn circle(room: &BTreeMap<String, Module>) -> Option<Vec<String>> {
    let mut left: BTreeSet<&String> = room.keys().collect();
    // What uses nothing that is left is in no circle.
    while let Some(free) = left.iter().copied().find(|name| room[*name].uses.iter().all(|used| !left.contains(used))) {
        left.remove(free);
    }
    let mut way = vec![(*left.first()?).clone()];
    loop {
        let next = room[way.last()?].uses.iter().find(|used| left.contains(used))?.clone();
        let known = way.iter().position(|name| *name == next);
        way.push(next);
        if let Some(at) = known {
            return Some(way.split_off(at));
        }
    }
}

#[test]
fn no_file_uses_one_that_uses_it() {
    let is_room = |name: &&str| Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name).is_dir();
    let rooms: Vec<(&str, BTreeMap<String, Module>)> =
        FLOORS.iter().map(|(name, _)| *name).filter(is_room).map(|name| (name, modules(name))).collect();
    let all: usize = rooms.iter().map(|(_, room)| room.len()).sum();
    let uses = rooms.iter().flat_map(|(_, room)| room.values()).map(|module| module.uses.len()).sum::<usize>();
    assert!(all > 200 && uses > 2 * all, "the look sees {all} modules that use {uses}");
    let circles: Vec<String> = rooms
        .iter()
        .filter_map(|(name, room)| {
            let way = circle(room)?;
            let files = way.iter().map(|module| if module.is_empty() { "mod.rs" } else { module }).collect::<Vec<_>>();
            Some(format!("src/{name}: {}", files.join(" → ")))
        })
        .collect();
    assert!(circles.is_empty(), "circles of files:\n{}", circles.join("\n"));
}

/// The type that a line at the left edge of a file defines.
fn defined(line: &str) -> Option<String> {
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let (kind, rest) = line.split_once(' ')?;
    ["struct", "enum", "trait", "type", "union"].contains(&kind).then(|| first_word(rest))
}

#[test]
fn a_type_name_means_one_thing() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    // What the two systems define alike is one thing in two files, of which one is compiled.
    files.retain(|file| !file.ends_with("worker/sys/macos.rs"));
    let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files {
        let inside = file.strip_prefix(&src).unwrap().display().to_string();
        if inside.contains("/tests/") || inside.ends_with("tests.rs") {
            continue;
        }
        for name in code_of(&file).lines().filter_map(defined) {
            types.entry(name).or_default().push(inside.clone());
        }
    }
    assert!(types.len() > 500, "the look sees {} types", types.len());
    let twice: Vec<String> = types
        .iter()
        .filter(|(_, places)| places.len() > 1)
        .map(|(name, places)| format!("{name}: {}", places.join(", ")))
        .collect();
    assert!(twice.is_empty(), "names of several types; say in each what it is for:\n{}", twice.join("\n"));
}

#[test]
fn a_use_tree_is_read_whole() {
    let read = |text| paths(text).into_iter().map(|path| path.join("::")).collect::<Vec<_>>();
    assert_eq!(read("{a::{self, B}, c, d::e::F};"), ["a::self", "a::B", "c", "d::e::F"]);
    assert_eq!(read("lock::take(x)"), ["lock::take"]);
}

/// The files of `src/` that are not tests, each with its text without the tests at its end.
fn files_without_tests() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let named = files.iter().map(|file| (file.strip_prefix(&src).unwrap().display().to_string(), file));
    let code = named.filter(|(name, _)| !name.contains("tests"));
    let until_tests = |text: String| {
        text.lines()
            .take_while(|line| !line.ends_with("mod tests {"))
            .fold(String::new(), |all, line| all + line + "\n")
    };
    code.map(|(name, file)| (name, until_tests(std::fs::read_to_string(file).unwrap()))).collect()
}

#[test]
fn no_file_is_longer_than_600_lines() {
    const LONGEST: usize = 600;
    let files = files_without_tests();
    assert!(files.len() > 200, "the look sees {} files", files.len());
    let long: Vec<String> = files
        .iter()
        .map(|(name, text)| (name, text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .map(|(name, lines)| format!("src/{name}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "a file has at most {LONGEST} lines without its tests:\n{}", long.join("\n"));
}

/// The functions of a formatted text: their lines, from `fn` to the closing brace.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let is_word = |word: &str| {
        ["async", "const", "unsafe", "extern", "\"C\""].contains(&word)
            || word.starts_with("pub")
            || word.ends_with(')')
    };
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let name = line.split_once("fn ").filter(|(before, _)| before.split_whitespace().all(is_word));
        let Some((_, name)) = name else { continue };
        // A declaration ends with `;`.
        let is_end = |other: &&str| indent(other) == indent(line) && other.ends_with(['}', ';']);
        let length = lines[at..].iter().position(is_end).expect("a formatted function ends where it began") + 1;
        found.push((&name[..name.find(['(', '<']).unwrap_or(name.len())], length));
    }
    found
}

#[test]
fn no_function_is_longer_than_60_lines() {
    const LONGEST: usize = 60;
    let files = files_without_tests();
    let functions: Vec<(&String, &str, usize)> = files
        .iter()
        .flat_map(|(file, text)| functions(text).into_iter().map(move |(name, lines)| (file, name, lines)))
        .collect();
    assert!(functions.len() > 2000, "the look sees {} functions", functions.len());
    let long: Vec<String> = functions
        .iter()
        .filter(|(_, _, lines)| *lines > LONGEST)
        .map(|(file, name, lines)| format!("src/{file}: `{name}` has {lines} lines"))
        .collect();
    assert!(long.is_empty(), "a function has at most {LONGEST} lines:\n{}", long.join("\n"));
}

#[test]
fn a_function_is_measured_from_its_name_to_its_brace() {
    let text = "fn one() {}\n\nimpl X {\n    pub(in crate::a) async fn two<T>(\n        x: T,\n    ) -> T {\n        x\n    }\n    fn three();\n}\n";
    assert_eq!(functions(text), [("one", 1), ("two", 5), ("three", 1)]);
}

#[test]
fn the_paths_that_architecture_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let named: Vec<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| {
            ["src/", "tests/", "sdk-python/", "python.d/", "conf.d/", "docs/", "benches/", ".ci/"]
                .iter()
                .any(|start| word.starts_with(start))
        })
        .collect();
    assert!(named.len() > 20, "ARCHITECTURE.md names too few paths to be a map");
    // `file: function` is there if the file has the function.
    let is_there = |named: &str| match named.split_once(": ") {
        Some((path, function)) => std::fs::read_to_string(root.join(path))
            .is_ok_and(|text| ["(", "<"].iter().any(|open| text.contains(&format!("fn {function}{open}")))),
        None => root.join(named).exists(),
    };
    let missing: Vec<&&str> =
        named.iter().filter(|named| !is_there(named) && !named.contains("python.d/core")).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not there: {missing:?}");
}
