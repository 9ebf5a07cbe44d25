//! A canonical line taken apart as far as its answers and InfluxDB 1.x need it: measurement, field keys and the type of each value.

use bytes::Bytes;

use super::super::Batch;

/// One line; keys and measurement as written, with their escapes.
pub(super) struct Line<'a> {
    measurement: &'a [u8],
    fields: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Line<'a> {
    pub fn parse(line: &'a [u8]) -> Self {
        let head = &line[..find(line, b" ")];
        let measurement = &head[..find(head, b",")];
        let mut rest = &line[(head.len() + 1).min(line.len())..];
        let mut fields = Vec::new();
        loop {
            let key = &rest[..find(rest, b"= ")];
            let Some(after) = rest.get(key.len() + 1..) else { break };
            let value = &after[..value_end(after)];
            fields.push((key, value));
            match after.get(value.len()) {
                Some(b',') => rest = &after[value.len() + 1..],
                _ => break,
            }
        }
        Self { measurement, fields }
    }

    /// Says whether the line writes this field with this type (`float`, `integer`, `unsigned`, `string`, `boolean`).
    pub fn writes(&self, measurement: &str, field: &str, kind: &str) -> bool {
        is_written_as(self.measurement, measurement)
            && self.fields.iter().any(|(key, value)| is_written_as(key, field) && kind_of(value) == kind)
    }

    /// Says whether the line has this field.
    pub fn has(&self, measurement: &str, field: &str) -> bool {
        is_written_as(self.measurement, measurement) && self.fields.iter().any(|(key, _)| is_written_as(key, field))
    }
}

/// The first of these bytes that no backslash escapes, or the end.
fn find(text: &[u8], stops: &[u8]) -> usize {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            byte if stops.contains(&byte) => return at,
            _ => at += 1,
        }
    }
    text.len()
}

/// One past a field's value.
fn value_end(text: &[u8]) -> usize {
    if text.first() == Some(&b'"') { (find(&text[1..], b"\"") + 2).min(text.len()) } else { find(text, b", ") }
}

fn kind_of(value: &[u8]) -> &'static str {
    match (value.first(), value.last()) {
        (Some(b'"'), _) => "string",
        (_, Some(b'i')) => "integer",
        (_, Some(b'u')) => "unsigned",
        (Some(b't' | b'T' | b'f' | b'F'), _) => "boolean",
        _ => "float",
    }
}

/// Compares a name as written with a name as told.
fn is_written_as(written: &[u8], name: &str) -> bool {
    let mut plain = Vec::with_capacity(written.len());
    let mut bytes = written.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let is_escape = byte == b'\\' && bytes.peek().is_some_and(|next| b", =".contains(next));
        if !is_escape {
            plain.push(byte);
        }
    }
    plain == name.as_bytes()
}

/// The batch with every unsigned integer as an integer, or as a float where it is too large; `None` where it has none (found without
/// parsing).
pub(super) fn without_unsigned(batch: &Batch) -> Option<Batch> {
    let text = batch.text();
    if !may_hold_unsigned(&text) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() + 16);
    let mut changed = false;
    for line in batch.lines() {
        let mut done = 0;
        for (_, value) in Line::parse(line).fields.iter().filter(|(_, value)| kind_of(value) == "unsigned") {
            let at = value.as_ptr() as usize - line.as_ptr() as usize;
            out.extend_from_slice(&line[done..at]);
            out.extend_from_slice(signed(value).as_bytes());
            done = at + value.len();
            changed = true;
        }
        out.extend_from_slice(&line[done..]);
        out.push(b'\n');
    }
    changed.then(|| batch.with_text(Bytes::from(out)))
}

fn may_hold_unsigned(text: &[u8]) -> bool {
    let follows_digit = |at: usize| at > 0 && text[at - 1].is_ascii_digit();
    let ends_value = |at: usize| matches!(text.get(at + 1), Some(b',' | b' ' | b'\n') | None);
    memchr::memchr_iter(b'u', text).any(|at| follows_digit(at) && ends_value(at))
}

fn signed(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let digits = text.trim_end_matches('u');
    match (digits.parse::<i64>(), digits.parse::<u64>()) {
        (Ok(number), _) => format!("{number}i"),
        (_, Ok(number)) => format!("{:?}", number as f64),
        // No number of ours; the far end will say so.
        _ => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Position;
    use crate::point::Category;

    fn batch(text: &'static str) -> Batch {
        Batch::new(Category::Metric, Position::default(), "in/s", Bytes::from_static(text.as_bytes()))
    }

    fn converted(text: &'static str) -> Option<String> {
        without_unsigned(&batch(text)).map(|batch| String::from_utf8(batch.text().to_vec()).unwrap())
    }

    #[test]
    fn fields_and_their_types_are_found() {
        let line = Line::parse(
            br#"m\ 1,ta\,g=a\ "b\=c,x=y f=1.5,i\ k=2i,u=3u,b=true,s="a, b=1 \"x\" \\",last=f 1700000000000000000"#,
        );
        let types = [
            ("f", "float"),
            ("i k", "integer"),
            ("u", "unsigned"),
            ("b", "boolean"),
            ("s", "string"),
            ("last", "boolean"),
        ];
        for (field, kind) in types {
            assert!(line.writes("m 1", field, kind), "{field}");
            assert!(!line.writes("m", field, kind), "{field}");
        }
        assert_eq!(line.fields.len(), types.len());
        assert!(!line.writes("m 1", "f", "integer"));
        assert!(line.has("m 1", "f") && !line.has("m 1", "x"));
    }

    #[test]
    fn broken_lines_are_no_trouble() {
        for line in
            [&b""[..], b"m", b"m ", b"m v", b"m v=", b"m v=\"", b"m v=\"a\\", b"m \\", b"\\", b"m v=1,", b"m v=1, "]
        {
            let _ = Line::parse(line);
        }
    }

    #[test]
    fn unsigned_integers_become_integers_or_floats() {
        let text =
            "m,t=1u a=1u,b=\"2u,c=3u \",d=18446744073709551615u 1\nm s=\"x\",u=9223372036854775807u,z=0u 2\nm v=1i 3\n";
        let expected =
            "m,t=1u a=1i,b=\"2u,c=3u \",d=1.8446744073709552e19 1\nm s=\"x\",u=9223372036854775807i,z=0i 2\nm v=1i 3\n";
        assert_eq!(converted(text).unwrap(), expected);
    }

    #[test]
    fn lines_without_unsigned_integers_are_left_alone() {
        assert_eq!(converted("cpu,cpu=cpu1 usage=1.5,u=\"up\" 1\n"), None);
        assert_eq!(converted("m,t=1u v=1i 1\nm s=\"7u \" 2\n"), None);
    }
}
