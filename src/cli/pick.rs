//! The unit that a name on the command line means.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::ask::{ANSWER, AgentClient, escaped, understood};
use super::exit::ExitReason;
use super::output::warn;
use crate::api::views::{Status, UnitView};
use crate::nearest::nearest;

/// Asks the agent for something of the unit that a name means; what is wrong has been said.
pub(super) fn of_unit<T: DeserializeOwned>(root: &Path, name: &str, what: &str) -> Result<T, ExitReason> {
    let agent = AgentClient::of(root);
    let (_, body) = agent.exchange("GET", "/api/v1/status")?;
    let status: Status = understood(&body)?;
    let id = &pick(&status, name)?.id;
    agent.ask("GET", &format!("/api/v1/units/{}/{what}", escaped(id)), ANSWER)
}

/// The unit that is called so, or whose name or file ends so; what is wrong with the name is said.
pub(super) fn pick<'a>(status: &'a Status, name: &str) -> Result<&'a UnitView, ExitReason> {
    find(status, name).map_err(|text| {
        warn(&text);
        ExitReason::Usage
    })
}

fn find<'a>(status: &'a Status, name: &str) -> Result<&'a UnitView, String> {
    if let Some(unit) = status.units.iter().find(|unit| unit.id == name) {
        return Ok(unit);
    }
    let (suffix, file) = (format!(".{name}"), format!("/{name}"));
    // Of a file with a process for each class, the part before the class names all of them.
    let ends = |id: &str| id == name || id.ends_with(&suffix);
    let is_named = |id: &str| ends(id) || id.split_once(':').is_some_and(|(file, _)| ends(file));
    let near: Vec<&UnitView> =
        status.units.iter().filter(|unit| is_named(&unit.id) || unit.file.ends_with(&file)).collect();
    if let [unit] = near[..] {
        return Ok(unit);
    }
    let known: Vec<&str> = status.listed().map(|unit| unit.id.as_str()).collect();
    let ends: Vec<&str> = known.iter().map(|id| id.rsplit('.').next().unwrap_or(id)).collect();
    let by_end = || known.iter().zip(&ends).find(|(_, end)| nearest(name, &ends) == Some(**end)).map(|(id, _)| *id);
    let several: Vec<&str> = near.iter().map(|unit| unit.id.as_str()).collect();
    // One letter is near to any other.
    let meant = nearest(name, &known).or_else(by_end).filter(|_| name.chars().count() > 2);
    Err(match (&several[..], meant) {
        ([_, _, ..], _) => format!("error: `{name}` can be one of {}\n", several.join(", ")),
        (_, Some(meant)) => format!("error: no unit is called `{name}`; did you mean `{meant}`?\n"),
        _ => format!("error: no unit is called `{name}`; there are: {}\n", known.join(", ")),
    })
}
