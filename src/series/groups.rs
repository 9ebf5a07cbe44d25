//! The body of `POST /v1/rows/several`: what would be the bodies of several requests, each with the token of the unit that it is of.
//!
//! `{"groups": [[token, body of /v1/rows], …]}`. Only the frame is read here; each group is then read as if it had come alone, so that what
//! is wrong with one is that one's fault.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::point::BodyFault;

/// One of the bodies.
#[derive(Debug, PartialEq, Eq)]
pub struct SeriesGroup<'t> {
    pub token: Cow<'t, str>,
    /// Where it lies in the whole.
    pub place: Range<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeriesGroups<'t> {
    #[serde(borrow)]
    groups: Vec<(Cow<'t, str>, &'t RawValue)>,
}

/// Finds the bodies in the whole.
///
/// # Errors
/// When the whole is not of this form.
pub fn groups(body: &[u8]) -> Result<Vec<SeriesGroup<'_>>, BodyFault> {
    let fault = |why: &dyn std::fmt::Display| {
        let form = r#"an object `{"groups": [[token, {"job": …, "interval": …, "rows": […]}], …]}`"#;
        BodyFault::new("pythond.invalidRows", format!("the body must be {form}: {why}"))
    };
    let text = std::str::from_utf8(body).map_err(|error| fault(&error))?;
    let several: SeriesGroups<'_> = serde_json::from_str(text).map_err(|error| fault(&error))?;
    let groups = several.groups.into_iter().map(|(token, raw)| {
        // A raw value is a part of the text that was read.
        let begin = raw.get().as_ptr() as usize - text.as_ptr() as usize;
        SeriesGroup { token, place: begin..begin + raw.get().len() }
    });
    Ok(groups.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_is_found_with_its_token_and_its_place() {
        let body = br#" {"groups": [["a", {"job": "x"}], ["b",  [1, 2] ],["\u0063",null]]} "#;
        let found = groups(body).unwrap();
        let shown: Vec<_> = found.iter().map(|one| (one.token.as_ref(), &body[one.place.clone()])).collect();
        assert_eq!(shown, [("a", &br#"{"job": "x"}"#[..]), ("b", b"[1, 2]"), ("c", b"null")]);
        assert_eq!(groups(br#"{"groups":[]}"#).unwrap(), []);
    }

    #[test]
    fn what_is_of_another_form_is_refused_with_the_form() {
        let bodies: [&[u8]; 8] = [
            b"",
            b"[]",
            b"{}",
            br#"{"groups":{}}"#,
            br#"{"groups":[["a"]]}"#,
            br#"{"groups":[[1,{}]]}"#,
            br#"{"groups":[],"more":1}"#,
            b"{\"groups\":[[\"\xff\",{}]]}",
        ];
        for body in bodies {
            let fault = groups(body).unwrap_err();
            assert_eq!(fault.error_code, "pythond.invalidRows", "{body:?}");
            assert!(fault.message.contains(r#"{"groups": [[token, {"job""#), "{}", fault.message);
        }
    }
}
