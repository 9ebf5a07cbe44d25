//! `$NAME` and `${NAME}` as DataKit's loader fills them in, and our `${env:NAME}` and `${file:path}` for secrets.
//!
//! DataKit replaces over the whole text of a file, so `interval = $N` works too. Here the text outside strings is replaced before it is
//! parsed ([`outside_strings`], with a map back to the file as written), and strings are replaced after ([`in_string`]): so a quote, a
//! backslash or a newline in a value can never break the file. An unset `$NAME` stays as it is.

use std::collections::BTreeMap;
use std::ops::Range;

type EnvLookup = BTreeMap<String, String>;

/// A text with its variables filled in, and where each part of it stands in the text as written.
#[derive(Debug, Default)]
pub struct Expanded {
    pub text: String,
    /// `(bytes in text, bytes as written)` of each replacement, in order.
    replaced: Vec<(Range<usize>, Range<usize>)>,
}

impl Expanded {
    /// Gives the bytes as written that stand behind a range of the expanded text.
    pub fn written(&self, range: &Range<usize>) -> Range<usize> {
        self.written_start(range.start)..self.written_end(range.end).max(self.written_start(range.start))
    }

    fn written_start(&self, at: usize) -> usize {
        match self.replaced.iter().rfind(|(new, _)| new.start <= at) {
            Some((new, old)) if at < new.end => old.start,
            Some((new, old)) => old.end + (at - new.end),
            None => at,
        }
    }

    fn written_end(&self, at: usize) -> usize {
        match self.replaced.iter().rfind(|(new, _)| new.start < at) {
            Some((new, old)) if at < new.end => old.end,
            Some((new, old)) => old.end + (at - new.end),
            None => at,
        }
    }
}

/// Replaces the variables that stand outside of strings and comments; `"` and `\` in a value are escaped, as DataKit does.
pub fn outside_strings(text: &str, env: &EnvLookup) -> Expanded {
    let mut expanded = Expanded::default();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let taken = string_or_comment(rest);
        if taken > 0 {
            expanded.text.push_str(&rest[..taken]);
            at += taken;
            continue;
        }
        if let Some((name, length)) = variable(rest)
            && let Some(value) = env.get(name)
        {
            let start = expanded.text.len();
            expanded.text.push_str(&value.replace('\\', "\\\\").replace('"', "\\\""));
            expanded.replaced.push((start..expanded.text.len(), at..at + length));
            at += length;
            continue;
        }
        let length = rest.chars().next().map_or(1, char::len_utf8);
        expanded.text.push_str(&rest[..length]);
        at += length;
    }
    expanded
}

/// Replaces the variables in the value of a string, by their plain values.
pub fn in_string(text: &str, env: &EnvLookup) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar..];
        let known = variable(rest).and_then(|(name, length)| Some((env.get(name)?, length)));
        let (value, length) = known.map_or(("$", 1), |(value, length)| (value.as_str(), length));
        out.push_str(value);
        rest = &rest[length..];
    }
    out + rest
}

/// What a `${kind:name}` names.
#[derive(Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    Env(&'a str),
    File(&'a str),
}

/// Replaces `${env:NAME}` and `${file:path}` by what `fetch` gives, and plain variables by their values, in one pass: what a value
/// brings in is never looked at again.
pub fn with_references<E>(
    text: &str,
    env: &EnvLookup,
    mut fetch: impl FnMut(Reference<'_>) -> Result<String, E>,
) -> Result<String, E> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, length, reference)) = next_reference(rest) {
        out.push_str(&in_string(&rest[..start], env));
        out.push_str(&fetch(reference)?);
        rest = &rest[start + length..];
    }
    Ok(out + &in_string(rest, env))
}

/// Says whether a text names `${env:…}` or `${file:…}`.
pub fn has_reference(text: &str) -> bool {
    next_reference(text).is_some()
}

fn next_reference(text: &str) -> Option<(usize, usize, Reference<'_>)> {
    text.match_indices("${").find_map(|(start, _)| {
        let inside = &text[start + 2..];
        let inside = &inside[..inside.find('}')?];
        let reference = match inside.split_once(':')? {
            ("env", name) => Reference::Env(name),
            ("file", path) => Reference::File(path),
            _ => return None,
        };
        Some((start, inside.len() + 3, reference))
    })
}

/// Reads `$NAME` or `${NAME}` at the start: the name and the length of the whole.
fn variable(text: &str) -> Option<(&str, usize)> {
    let name_of = |text: &str| {
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        if starts_well { end } else { 0 }
    };
    let rest = text.strip_prefix('$')?;
    match rest.strip_prefix('{') {
        Some(braced) => {
            let end = name_of(braced);
            (end > 0 && braced[end..].starts_with('}')).then(|| (&braced[..end], end + 3))
        }
        None => {
            let end = name_of(rest);
            (end > 0).then(|| (&rest[..end], end + 1))
        }
    }
}

/// The length of the string or comment that starts here, or 0. A string that is never closed ends with its line, as for the parser.
fn string_or_comment(text: &str) -> usize {
    let line_end = || text.find('\n').unwrap_or(text.len());
    match text.as_bytes()[0] {
        b'#' => line_end(),
        quote @ (b'"' | b'\'') => {
            let triple = if quote == b'"' { "\"\"\"" } else { "'''" };
            if text.starts_with(triple) {
                closed_at(text, triple, quote == b'"').unwrap_or(text.len())
            } else {
                let line = &text[..line_end()];
                closed_at(line, &triple[..1], quote == b'"').unwrap_or(line.len())
            }
        }
        _ => 0,
    }
}

/// Where the string that opens and closes with `mark` ends.
fn closed_at(text: &str, mark: &str, escapes: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = mark.len();
    while at < bytes.len() {
        if escapes && bytes[at] == b'\\' {
            at += 2;
        } else if bytes[at..].starts_with(mark.as_bytes()) {
            // Up to two quotes may stand right before the closing mark: `""""a"""""`.
            let extra = if mark.len() == 3 {
                bytes[at + 3..].iter().take(2).take_while(|b| **b == mark.as_bytes()[0]).count()
            } else {
                0
            };
            return Some(at + mark.len() + extra);
        } else {
            at += 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> EnvLookup {
        [("N", "30"), ("LONG", "0123456789"), ("QUOTED", "a\"b\\c"), ("REF", "${file:/x}"), ("LINES", "a\nb")]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn a_variable_outside_strings_is_filled_in() {
        assert_eq!(outside_strings("a = $N\nb = [${N}, $N]", &env()).text, "a = 30\nb = [30, 30]");
        assert_eq!(outside_strings("a = $UNSET ${UNSET} $ ${N $1", &env()).text, "a = $UNSET ${UNSET} $ ${N $1");
        assert_eq!(outside_strings("a = $QUOTED", &env()).text, "a = a\\\"b\\\\c");
    }

    #[test]
    fn strings_and_comments_are_left_for_later() {
        for text in [
            "a = \"$N\" # $N",
            "a = '$N'",
            "a = \"\\\"$N\"",
            "a = \"\"\"\n$N \"\" $N\n\"\"\"",
            "a = \"\"\"x\"\"\"\"\" # $N",
            "a = '''\n$N '\n'''",
            "a = \"é$N\"",
        ] {
            assert_eq!(outside_strings(text, &env()).text, text);
        }
        assert_eq!(outside_strings("a = \"open $N\nb = $N", &env()).text, "a = \"open $N\nb = 30");
        assert_eq!(outside_strings("a = 'b\\' # it's\nb = $N", &env()).text, "a = 'b\\' # it's\nb = 30");
    }

    #[test]
    fn positions_are_those_of_the_file_as_written() {
        let expanded = outside_strings("a = $LONG # x\nb = 1", &env());
        let at = |part: &str| {
            let start = expanded.text.find(part).unwrap();
            expanded.written(&(start..start + part.len()))
        };
        assert_eq!(at("a"), 0..1);
        assert_eq!(at("0123456789"), 4..9);
        assert_eq!(at("345"), 4..9);
        assert_eq!(at("b"), 14..15);
        assert_eq!(at("= 0123456789 # x"), 2..13);
    }

    #[test]
    fn a_value_in_a_string_comes_in_as_it_is() {
        assert_eq!(in_string("x$QUOTED-$N${N}", &env()), "xa\"b\\c-3030");
        assert_eq!(in_string("$UNSET ${UNSET} $$N a$", &env()), "$UNSET ${UNSET} $30 a$");
        assert_eq!(in_string("$LINES", &env()), "a\nb");
    }

    #[test]
    fn references_are_fetched_and_their_values_are_not_expanded_again() {
        let fetch = |reference: Reference<'_>| match reference {
            Reference::Env(name) => Ok(format!("<{name}>$N")),
            Reference::File(path) => Err(path.to_owned()),
        };
        assert_eq!(with_references("a${env:T}b$N", &env(), fetch), Ok("a<T>$Nb30".to_owned()));
        assert_eq!(with_references("${file:/run/t}", &env(), fetch), Err("/run/t".to_owned()));
        assert_eq!(with_references("$REF ${other:x} ${", &env(), fetch), Ok("${file:/x} ${other:x} ${".to_owned()));
    }
}
