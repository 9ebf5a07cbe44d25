//! Promise: every script that DataKit's documentation shows runs unmodified, and its points arrive as DataKit's rules say.
//!
//! A case is a folder below `tests/cases/datakit/`: its `python.d/`, and per category the expected lines with `NOW` for the arrival time.

mod support;

use std::collections::BTreeSet;

use support::{Root, wait_for};

fn run_case(name: &str) {
    let root = Root::new();
    let case = root.case(name);
    let agent = root.agent();
    for expected in std::fs::read_dir(case.join("expected")).unwrap().map(|entry| entry.unwrap().path()) {
        let category = expected.file_stem().unwrap().to_str().unwrap();
        let wanted: BTreeSet<String> = std::fs::read_to_string(&expected).unwrap().lines().map(str::to_owned).collect();
        wait_for(&format!("{category} of {name}"), || {
            let got = with_times_as(&root.points(category), &wanted);
            if got == wanted {
                Ok(())
            } else {
                Err(format!("got {got:#?}\nwanted {wanted:#?}\n{:#}", agent.status()["scripts"]))
            }
        });
    }
}

/// The lines, with each time that is not one of the expected ones as `NOW`.
fn with_times_as(text: &str, wanted: &BTreeSet<String>) -> BTreeSet<String> {
    text.lines()
        .map(|line| {
            let (rest, _) = line.rsplit_once(' ').unwrap();
            if wanted.contains(line) { line.to_owned() } else { format!("{rest} NOW") }
        })
        .collect()
}

#[test]
fn the_general_report_in_a_module_named_test() {
    run_case("general_report");
}

#[test]
fn the_three_events_with_extra_keys() {
    run_case("three_events");
}

#[test]
fn events_with_positional_arguments_and_without_tags() {
    run_case("positional_events");
}

#[test]
fn metric_logging_and_object_with_an_address_given_to_the_constructor() {
    run_case("metric_logging_object");
}
