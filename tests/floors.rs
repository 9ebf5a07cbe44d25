//! Holds the floors of ARCHITECTURE.md: a module uses lower floors only, and modules of one floor are strangers.

use std::path::{Path, PathBuf};

const FLOORS: [(&str, i8); 17] = [
    ("platform", -1),
    ("config", 0),
    ("point", 0),
    ("telemetry", 0),
    ("watch", 0),
    ("event", 1),
    ("buffer", 1),
    ("deadletter", 1),
    ("worker", 1),
    ("git", 1),
    ("ingest", 2),
    ("sinks", 2),
    ("supervisor", 2),
    ("control", 3),
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
    let missing: Vec<&&str> =
        named.iter().filter(|path| !root.join(path).exists() && !path.contains("python.d/core")).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not there: {missing:?}");
}
