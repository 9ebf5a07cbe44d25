//! The query arguments of a write request.

use super::reply::No;
use crate::point::Precision;

/// What the arguments say. A flag is on with any non-empty value, even `false`, as in DataKit.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Query {
    pub input: Option<String>,
    pub precision: Option<Precision>,
    pub ignore_global_tags: bool,
    pub strict: bool,
    pub dry: bool,
    pub echo: Option<Echo>,
    pub encoding: Option<String>,
}

/// The form in which the corrected points are sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Echo {
    LineProtocol,
    Json,
}

impl Query {
    /// Reads the arguments; those of things this agent does not have (`version`, `source`, `storage_index`,
    /// `global_election_tags`) and unknown ones are taken and ignored, as DataKit's clients expect.
    pub fn parse(query: &str) -> Result<Self, No> {
        let mut parsed = Self::default();
        for (key, value) in pairs(query).filter(|(_, value)| !value.is_empty()) {
            match key.as_str() {
                "input" => parsed.input = Some(value),
                "precision" => parsed.precision = Some(precision(&value)?),
                "ignore_global_tags" | "ignore_global_host_tags" => parsed.ignore_global_tags = true,
                "strict" => parsed.strict = true,
                "dry" => parsed.dry = true,
                "echo" => parsed.echo = echo(&value),
                "echo_line_proto" => parsed.echo = Some(Echo::LineProtocol),
                "echo_json" => parsed.echo = Some(Echo::Json),
                "encoding" => parsed.encoding = Some(value),
                _ => {}
            }
        }
        Ok(parsed)
    }
}

fn precision(value: &str) -> Result<Precision, No> {
    match value {
        "n" | "ns" => Ok(Precision::Ns),
        "u" | "us" => Ok(Precision::Us),
        "ms" => Ok(Precision::Ms),
        "s" => Ok(Precision::S),
        "m" => Ok(Precision::M),
        "h" => Ok(Precision::H),
        other => Err(No::bad(
            "datakit.invalidPrecision",
            format!("precision is `{other}`; it must be one of n, u, ms, s, m, h"),
        )),
    }
}

fn echo(value: &str) -> Option<Echo> {
    match value {
        "lp" => Some(Echo::LineProtocol),
        "json" | "pbjson" => Some(Echo::Json),
        _ => None,
    }
}

fn pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

/// Undoes percent-encoding and `+`; a broken escape stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'+' => out.push(b' '),
            b'%' => match bytes
                .get(at + 1..at + 3)
                .and_then(|hex| std::str::from_utf8(hex).ok())
                .and_then(|hex| u8::from_str_radix(hex, 16).ok())
            {
                Some(byte) => {
                    out.push(byte);
                    at += 2;
                }
                None => out.push(b'%'),
            },
            other => out.push(other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_on_with_any_value_and_off_when_empty() {
        for (text, on) in
            [("strict=1", true), ("strict=false", true), ("strict=0", true), ("strict=", false), ("strict", false)]
        {
            assert_eq!(Query::parse(text).unwrap().strict, on, "{text}");
        }
        assert!(Query::parse("ignore_global_host_tags=x").unwrap().ignore_global_tags);
        assert!(Query::parse("ignore_global_tags=x").unwrap().ignore_global_tags);
    }

    #[test]
    fn an_unknown_precision_is_refused_with_the_list() {
        let no = Query::parse("precision=d").unwrap_err();
        assert_eq!(no.to_string(), "precision is `d`; it must be one of n, u, ms, s, m, h");
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(Query::parse("input=a%20b+c%2").unwrap().input.as_deref(), Some("a b c%2"));
    }

    #[test]
    fn arguments_of_what_we_do_not_have_are_taken() {
        assert_eq!(
            Query::parse("version=1&source=x&storage_index=y&global_election_tags=1&foo=bar").unwrap(),
            Query::default()
        );
    }
}
