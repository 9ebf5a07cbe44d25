//! Line protocol in and out; the encoder writes the one canonical form that every sink reads alike.
//!
//! A line is `measurement[,tag=value …] field=value[,…] [time]`. In names a run of backslashes before a separator loses its last one and
//! the separator is part of the name; any other backslash stands for itself. In strings `\"` and `\\` are escapes, and a raw newline is
//! part of the string: only a newline outside of strings ends a line.

use memchr::{memchr, memchr2, memchr3};

use super::json::warn_nested;
use super::repairs::{Unfit, shown};
use super::{BodyFault, Decoded, Decoding, Field, Point, PointRefusal, Tag, Text, Value, Warnings, text_of, time};

/// Reads a line-protocol body.
///
/// Comments and blank lines are skipped. DataKit's extensions are taken: `12u`, arrays (`a=[1i,2i]`, kept as JSON text) and bytes
/// (`b="…"b`, kept as the base64 text).
///
/// # Errors
/// When the body as a whole cannot be read (empty, no points); a single bad line is in `Decoded::refused` instead.
pub fn decode<'t>(body: &'t [u8], how: &Decoding) -> Result<Decoded<'t>, BodyFault> {
    let mut warnings = Warnings::default();
    let mut decoded = match text_of(body, &mut warnings) {
        Text::Borrowed(text) => decode_text(text, how)?,
        Text::Owned(text) => decode_text(&text, how)?.into_owned(),
    };
    decoded.warnings.merge(warnings);
    Ok(decoded)
}

fn decode_text<'t>(text: &'t str, how: &Decoding) -> Result<Decoded<'t>, BodyFault> {
    let mut decoded = Decoded::default();
    if text.trim_ascii().is_empty() {
        return Err(BodyFault::new("datakit.emptyBody", "the body is empty; it must hold lines of line protocol"));
    }
    let mut untimed = Vec::new();
    let mut at = 0;
    while let Some(start) = next_line(text.as_bytes(), at) {
        let index = decoded.points.len() + decoded.refused.len();
        let mut scan = Scan { text, start, at: start };
        match scan.line(how, &mut decoded.warnings) {
            Ok((point, is_timed)) => {
                if !is_timed {
                    untimed.push(decoded.points.len());
                }
                decoded.points.push((index, point));
                at = scan.at;
            }
            Err(unfit) => {
                at = end_of_bad_line(text.as_bytes(), start);
                let raw = text[start..at].trim_end_matches(['\r', '\n']);
                decoded.refused.push(PointRefusal::new(index, unfit, raw));
            }
        }
    }
    if decoded.points.is_empty() && decoded.refused.is_empty() {
        return Err(BodyFault::new(
            "datakit.noPoints",
            "the body holds only comments; it must hold at least one point",
        ));
    }
    time::spread(&mut decoded.points, &untimed, how.now_ns);
    Ok(decoded)
}

/// Appends the point as one canonical line with a nanosecond timestamp and a final `\n`.
pub fn encode(point: &Point, out: &mut Vec<u8>) {
    push_name(out, point.measurement(), is_measurement_separator);
    for (key, value) in point.tags() {
        out.push(b',');
        push_name(out, key, is_separator);
        out.push(b'=');
        push_name(out, value, is_separator);
    }
    let mut before = b' ';
    for (key, value) in point.fields() {
        out.push(before);
        push_name(out, key, is_separator);
        out.push(b'=');
        push_value(out, value);
        before = b',';
    }
    out.push(b' ');
    push_number(out, &point.time_ns());
    out.push(b'\n');
}

/// Finds the ends of the lines of canonical text (one past each `\n`); a raw newline inside a string field is no end.
pub fn ends(text: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut start = 0;
    while let Some(end) = end_of_line(text, start) {
        ends.push(end);
        start = end;
    }
    ends
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b',' | b'=' | b' ')
}

fn is_measurement_separator(byte: u8) -> bool {
    matches!(byte, b',' | b' ')
}

fn push_name(out: &mut Vec<u8>, name: &str, needs_escape: fn(u8) -> bool) {
    if !name.bytes().any(is_separator) {
        out.extend_from_slice(name.as_bytes());
        return;
    }
    for byte in name.bytes() {
        if needs_escape(byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

fn push_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Float(number) => push_float(out, *number),
        Value::Int(number) => {
            push_number(out, number);
            out.push(b'i');
        }
        Value::Uint(number) => {
            push_number(out, number);
            out.push(b'u');
        }
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Str(text) => push_text(out, text.as_bytes()),
    }
}

/// The shortest text that reads back as the same float, with a digit on both sides of the point: `1.0`, `0.5`, `1e21`.
fn push_float(out: &mut Vec<u8>, number: f64) {
    let start = out.len();
    push_number(out, &number);
    // serde_json writes `1e+21`: right by the grammar, but not the one form that other encoders have.
    if number.abs() >= 1e15
        && let Some(plus) = memchr(b'+', &out[start..])
    {
        out.remove(start + plus);
    }
}

fn push_number(out: &mut Vec<u8>, number: &impl serde::Serialize) {
    serde_json::to_writer(out, number).expect("a number can be written to memory");
}

fn push_text(out: &mut Vec<u8>, mut text: &[u8]) {
    out.push(b'"');
    while let Some(at) = memchr2(b'"', b'\\', text) {
        out.extend_from_slice(&text[..at]);
        out.extend_from_slice(&[b'\\', text[at]]);
        text = &text[at + 1..];
    }
    out.extend_from_slice(text);
    out.push(b'"');
}

/// One past the newline that ends the line; `None` when there is none. A line without a quote, which is nearly every one, is one search.
fn end_of_line(text: &[u8], start: usize) -> Option<usize> {
    let found = start + memchr2(b'\n', b'"', text.get(start..)?)?;
    if text[found] == b'\n' {
        return Some(found + 1);
    }
    let fields = match end_of_series(text, start) {
        LineEnd::Space(at) => at,
        LineEnd::Line(end) => return end,
    };
    end_of_fields(text, fields)
}

enum LineEnd {
    Space(usize),
    Line(Option<usize>),
}

fn end_of_series(text: &[u8], mut at: usize) -> LineEnd {
    loop {
        let Some(found) = memchr3(b'\\', b' ', b'\n', &text[at..]) else { return LineEnd::Line(None) };
        at += found + 1;
        match text[at - 1] {
            b' ' => return LineEnd::Space(at),
            b'\n' => return LineEnd::Line(Some(at)),
            _ => at = after_escape(text, at),
        }
    }
}

fn end_of_fields(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr3(b'\\', b'=', b'\n', &text[at..])? + 1;
        match text[at - 1] {
            b'\n' => return Some(at),
            b'=' if text.get(at) == Some(&b'"') => at = end_of_text(text, at + 1)? + 1,
            b'=' => {}
            _ => at = after_escape(text, at),
        }
    }
}

/// The place after a run of backslashes and the byte that it escapes; `at` is after the first. A newline cannot be escaped.
fn after_escape(text: &[u8], at: usize) -> usize {
    let run = text[at..].iter().take_while(|&&byte| byte == b'\\').count();
    let escaped = at + run;
    if matches!(text.get(escaped), None | Some(b'\n')) { escaped } else { escaped + 1 }
}

/// The place of the quote that ends the string.
fn end_of_text(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Skips blank lines and comments; the place of the next line.
fn next_line(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += text[at..].iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))?;
        if text[at] != b'#' {
            return Some(at);
        }
        at += memchr(b'\n', &text[at..])?;
    }
}

/// A line whose string never ends would take the rest of the body with it: it ends at its first newline.
fn end_of_bad_line(text: &[u8], start: usize) -> usize {
    let end = end_of_line(text, start).or_else(|| memchr(b'\n', &text[start..]).map(|at| start + at + 1));
    end.unwrap_or(text.len())
}

/// The place in the body while one line is read.
struct Scan<'t> {
    text: &'t str,
    /// Where the line begins; places in reasons are counted from here.
    start: usize,
    at: usize,
}

impl<'t> Scan<'t> {
    /// Reads one line with its newline; the point, and whether it had a time.
    fn line(&mut self, how: &Decoding, warnings: &mut Warnings) -> Result<(Point<'t>, bool), Unfit> {
        let measurement = self.name(is_measurement_separator);
        if measurement.is_empty() {
            return Err(self.fault("measurement", "missing measurement"));
        }
        let tags = self.tags()?;
        if !self.skip_spaces() {
            return Err(self.fault("fields", "missing fields"));
        }
        let fields = self.fields(warnings)?;
        let stamp = if self.skip_spaces() { self.stamp()? } else { None };
        self.end()?;
        let time = stamp.map_or(Ok(None), |stamp| time::from_integer(stamp, how.precision))?;
        if let (None, Some(given)) = (time, stamp) {
            time::tell_replaced(&given.to_string(), warnings);
        }
        let time_ns = time.unwrap_or(how.now_ns);
        let point = Point::new(measurement, tags, fields, time_ns, how.category, warnings)?;
        Ok((point, time.is_some()))
    }

    fn tags(&mut self) -> Result<Vec<Tag<'t>>, Unfit> {
        let mut tags = Vec::with_capacity(if self.peek() == Some(b',') { 8 } else { 0 });
        while self.take(b',') {
            let key = self.name(is_separator);
            if key.is_empty() {
                return Err(self.fault("tags", "missing tag key"));
            }
            if !self.take(b'=') {
                return Err(self.fault(&format!("tags.{}", shown(&key)), "missing tag value"));
            }
            let value = self.name(is_separator);
            if value.is_empty() {
                return Err(self.fault(&format!("tags.{}", shown(&key)), "missing tag value"));
            }
            if self.peek() == Some(b'=') {
                let reason = "invalid tag format: an equals sign in a tag value must be written `\\=`";
                return Err(self.fault(&format!("tags.{}", shown(&key)), reason));
            }
            tags.push((key, value));
        }
        Ok(tags)
    }

    fn fields(&mut self, warnings: &mut Warnings) -> Result<Vec<Field<'t>>, Unfit> {
        if self.is_at_end() {
            return Err(self.fault("fields", "missing fields"));
        }
        let mut fields = Vec::with_capacity(8);
        loop {
            let key = self.name(is_separator);
            if key.is_empty() {
                return Err(self.fault("fields", "missing field key"));
            }
            if !self.take(b'=') {
                return Err(self.fault(&format!("fields.{}", shown(&key)), "missing field value"));
            }
            let value = self.value(&key, warnings)?;
            fields.push((key, value));
            if !self.take(b',') {
                return Ok(fields);
            }
        }
    }

    fn value(&mut self, key: &str, warnings: &mut Warnings) -> Result<Value<'t>, Unfit> {
        let value = match self.peek() {
            Some(b'"') => {
                let text = self.quoted().map_err(|reason| self.fault(&format!("fields.{}", shown(key)), reason))?;
                // Bytes stay the base64 text that they are.
                self.take(b'b');
                Value::Str(text)
            }
            Some(b'[') => {
                let json = self.array().map_err(|reason| self.fault(&format!("fields.{}", shown(key)), &reason))?;
                warn_nested(key, &json, warnings);
                Value::Str(json.into())
            }
            _ => {
                let word = self.word(|byte| matches!(byte, b',' | b' ' | b'\n'));
                scalar(word).map_err(|reason| self.fault(&format!("fields.{}", shown(key)), &reason))?
            }
        };
        let follows_well = self.is_at_end() || matches!(self.peek(), Some(b',' | b' '));
        if follows_well {
            Ok(value)
        } else {
            Err(self.fault(&format!("fields.{}", shown(key)), "invalid field format: text after the value"))
        }
    }

    fn stamp(&mut self) -> Result<Option<i128>, Unfit> {
        if self.is_at_end() {
            return Ok(None);
        }
        let word = self.word(|byte| matches!(byte, b' ' | b'\n'));
        let digits = word.strip_prefix('-').unwrap_or(word);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.fault("time", &format!("bad timestamp `{}`: it must be an integer", shown(word))));
        }
        // Longer than 39 digits is beyond every unit, as is the largest number.
        let number = digits.parse().unwrap_or(i128::MAX);
        Ok(Some(if digits.len() < word.len() { -number } else { number }))
    }

    fn end(&mut self) -> Result<(), Unfit> {
        self.skip_spaces();
        if !self.is_at_end() {
            return Err(self.fault("", "unexpected text after the time"));
        }
        self.take(b'\r');
        self.take(b'\n');
        Ok(())
    }

    /// A name up to a bare separator or the end of the line, without its escapes.
    fn name(&mut self, is_escapable: impl Fn(u8) -> bool) -> Text<'t> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut unescaped: Option<String> = None;
        let mut copied = start;
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b'\\' => {
                    let run = bytes[self.at..].iter().take_while(|&&byte| byte == b'\\').count();
                    self.at += run;
                    if bytes.get(self.at).is_some_and(|&next| is_escapable(next)) {
                        let name = unescaped.get_or_insert_default();
                        name.push_str(&self.text[copied..self.at - 1]);
                        copied = self.at;
                        self.at += 1;
                    }
                }
                b'\n' => break,
                b'\r' if bytes.get(self.at + 1).is_none_or(|&next| next == b'\n') => break,
                _ if is_escapable(byte) => break,
                _ => self.at += 1,
            }
        }
        let rest = &self.text[copied..self.at];
        match unescaped {
            None => Text::Borrowed(rest),
            Some(name) => Text::Owned(name + rest),
        }
    }

    /// Text up to one of these bytes, without the `\r` of a line that ends in `\r\n`.
    fn word(&mut self, is_end: impl Fn(u8) -> bool) -> &'t str {
        let rest = &self.text[self.at..];
        let end = rest.bytes().position(is_end).unwrap_or(rest.len());
        let is_last = rest.as_bytes().get(end).is_none_or(|&byte| byte == b'\n');
        let word = if is_last { rest[..end].strip_suffix('\r').unwrap_or(&rest[..end]) } else { &rest[..end] };
        self.at += word.len();
        word
    }

    fn quoted(&mut self) -> Result<Text<'t>, &'static str> {
        let start = self.at + 1;
        let end = end_of_text(self.text.as_bytes(), start).ok_or("unbalanced quotes")?;
        self.at = end + 1;
        Ok(without_escapes(&self.text[start..end]))
    }

    /// `[1i,"a",true]` as JSON text.
    fn array(&mut self) -> Result<String, String> {
        let mut json = vec![b'['];
        self.at += 1;
        while !self.take(b']') {
            if json.len() > 1 {
                if !self.take(b',') {
                    return Err("invalid field format: an array must end with `]`".to_owned());
                }
                json.push(b',');
            }
            let item = match self.peek() {
                Some(b'"') => Value::Str(self.quoted()?),
                _ => scalar(self.word(|byte| matches!(byte, b',' | b']' | b'\n')))?,
            };
            super::json::encode_value(&mut json, &item);
        }
        json.push(b']');
        Ok(String::from_utf8(json).expect("JSON written from text is UTF-8"))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_here = self.peek() == Some(byte);
        self.at += usize::from(is_here);
        is_here
    }

    fn skip_spaces(&mut self) -> bool {
        let before = self.at;
        while self.take(b' ') {}
        self.at > before
    }

    fn is_at_end(&self) -> bool {
        let rest = &self.text.as_bytes()[self.at..];
        matches!(rest, [] | [b'\n', ..] | [b'\r'] | [b'\r', b'\n', ..])
    }

    fn fault(&self, field: &str, reason: &str) -> Unfit {
        let place = if field.contains('.') { format!(" in `{field}`") } else { String::new() };
        Unfit::new(field, format!("{reason}{place} (pos: {})", self.at - self.start))
    }
}

/// A number or boolean; numbers by the grammar, so without `+`, hexadecimals, `NaN` and `inf`.
fn scalar(word: &str) -> Result<Value<'static>, String> {
    match word {
        "" => return Err("missing field value".to_owned()),
        "t" | "T" | "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "f" | "F" | "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    let number = match word.as_bytes() {
        [b'-' | b'0'..=b'9', .., b'i'] => integer(word).map(Value::Int),
        [b'0'..=b'9', .., b'u'] => integer(word).map(Value::Uint),
        [b'-' | b'.' | b'0'..=b'9', ..] => {
            word.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float)
        }
        _ => {
            let wanted = "it must be a finite number, a boolean, or text in double quotes";
            return Err(format!("invalid field value `{}`: {wanted}", shown(word)));
        }
    };
    number
        .ok_or_else(|| format!("invalid number `{}`: it must be a finite float, or an integer of 64 bits", shown(word)))
}

fn integer<T: std::str::FromStr>(word: &str) -> Option<T> {
    word[..word.len() - 1].parse().ok()
}

fn without_escapes(quoted: &str) -> Text<'_> {
    if memchr(b'\\', quoted.as_bytes()).is_none() {
        return quoted.into();
    }
    let mut text = String::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some(at) = memchr(b'\\', rest.as_bytes()) {
        // A backslash before anything else stands for itself.
        let is_escape = matches!(rest.as_bytes().get(at + 1), Some(b'"' | b'\\'));
        text.push_str(&rest[..at]);
        if !is_escape {
            text.push('\\');
            rest = &rest[at + 1..];
            continue;
        }
        text.push_str(&rest[at + 1..at + 2]);
        rest = &rest[at + 2..];
    }
    (text + rest).into()
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
