//! `pythond status NAME --resources`: what a unit runs against, as a table in the words of its dialect.

use std::path::Path;

use super::exit::ExitReason;
use super::output::{say, say_json, warn};
use super::pick::of_unit;
use super::screen;
use super::table::layout;
use crate::api::views::Resources;

pub(super) fn show(root: &Path, name: &str, as_json: bool, again: bool) -> ExitReason {
    let resources: Resources = match of_unit(root, name, "resources") {
        Ok(resources) => resources,
        Err(exit) => return exit,
    };
    if as_json {
        say_json(&resources);
    }
    if let Some(why) = &resources.why {
        warn(&format!("error: {} has no table of resources: {why}\n", resources.id));
        return ExitReason::Failed;
    }
    if !as_json {
        if again {
            screen::clear();
        }
        say(&table(&resources, screen::width()));
    }
    ExitReason::Ok
}

fn table(resources: &Resources, width: Option<usize>) -> String {
    let rows: Vec<Vec<String>> = std::iter::once(&resources.columns).chain(&resources.rows).cloned().collect();
    layout(&rows, "").lines().map(|line| format!("{}\n", screen::line(line, 0, width))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_its_columns_as_the_head_and_is_cut_to_the_terminal() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let resources = Resources {
            id: "x".to_owned(),
            columns: row(["RESOURCE", "LAST"]),
            rows: vec![row(["a", "failed: no route to it"]), row(["b", "ok"])],
            why: None,
        };
        let whole = "RESOURCE  LAST\na         failed: no route to it\nb         ok\n";
        assert_eq!(table(&resources, None), whole);
        assert_eq!(table(&resources, Some(16)), "RESOURCE  LAST\na         faile…\nb         ok\n");
    }
}
