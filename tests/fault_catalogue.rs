//! Holds `tests/FAULTS.md`: no row of the catalogue is missing, and every test that it names exists.

use std::collections::BTreeMap;
use std::path::Path;

const TABLES: [(char, usize); 5] = [('W', 24), ('S', 7), ('Z', 7), ('P', 3), ('A', 16)];

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows by their id: the fault, and what stands for tests.
fn rows() -> BTreeMap<String, (String, String)> {
    let text = std::fs::read_to_string(here().join("tests/FAULTS.md")).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| row ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, fault, tests] = cells[..] else { panic!("a row has three cells: {line}") };
        let before = rows.insert(id.to_owned(), (fault.to_owned(), tests.to_owned()));
        assert!(before.is_none(), "{id} stands there twice");
    }
    rows
}

fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn no_row_of_the_catalogue_is_missing() {
    let rows = rows();
    let wanted: Vec<String> =
        TABLES.iter().flat_map(|(letter, count)| (1..=*count).map(move |number| format!("{letter}{number}"))).collect();
    for id in &wanted {
        let (fault, tests) = rows.get(id).unwrap_or_else(|| panic!("{id} is missing"));
        assert!(!fault.is_empty() && !tests.is_empty(), "{id} is empty");
        let is_told = tests.contains("::") || tests.starts_with("cannot be run: ");
        assert!(is_told, "{id} names a test, or the reason why there is none: {tests}");
    }
    assert_eq!(rows.len(), wanted.len(), "{:?}", rows.keys());
}

#[test]
fn every_test_that_the_catalogue_names_exists() {
    for (id, (_, tests)) in rows() {
        for named in in_backticks(&tests) {
            let (file, test) = named.split_once("::").unwrap_or((named, ""));
            let text = std::fs::read_to_string(here().join(file));
            let text = text.unwrap_or_else(|error| panic!("{id}: {file}: {error}"));
            if test.is_empty() {
                continue;
            }
            let function = if file.ends_with(".py") { format!("def {test}(") } else { format!("fn {test}(") };
            let at = text.find(&function).unwrap_or_else(|| panic!("{id}: there is no `{test}` in {file}"));
            let before = &text[..at];
            let head = &before[before.rfind("\n\n").unwrap_or(0)..];
            let is_test = file.ends_with(".py")
                || head.contains("test]")
                || head.contains("#[tokio::test")
                || text.contains("proptest!");
            assert!(is_test, "{id}: `{test}` in {file} is no test");
            assert!(!head.contains("#[ignore"), "{id}: `{test}` in {file} is not run");
        }
    }
}

/// A test named after a row stands in that row.
#[test]
fn every_test_named_after_a_row_stands_in_it() {
    let rows = rows();
    for file in ["faults_worker", "faults_stdio", "faults_interpreter", "faults_agent"] {
        let text = std::fs::read_to_string(here().join(format!("tests/{file}.rs"))).unwrap();
        let tests = text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
        for test in tests {
            for part in test.split('_') {
                let id = part.to_uppercase();
                if !rows.contains_key(&id) {
                    break;
                }
                let named = format!("`tests/{file}.rs::{test}`");
                assert!(rows[&id].1.contains(&named), "{id} does not name {test}");
            }
        }
    }
}
