//! A canonical line taken apart: for the answers that name a field, and for the kinds that must write lines differently.

use std::borrow::Cow;

/// A key and its value, as written.
pub(super) type Pair<'a> = (&'a [u8], &'a [u8]);

/// One line; names and values as written, with their escapes.
pub(super) struct FieldsLine<'a> {
    pub measurement: &'a [u8],
    pub tags: Vec<Pair<'a>>,
    pub fields: Vec<Pair<'a>>,
    pub time: &'a [u8],
}

impl<'a> FieldsLine<'a> {
    pub fn parse(line: &'a [u8]) -> Self {
        let head = &line[..find(line, b" ")];
        let measurement = &head[..find(head, b",")];
        let tags = tags(&head[measurement.len()..]);
        let mut rest = &line[(head.len() + 1).min(line.len())..];
        let mut fields = Vec::new();
        loop {
            let key = &rest[..find(rest, b"= ")];
            let Some(after) = rest.get(key.len() + 1..) else { break };
            let value = &after[..value_end(after)];
            fields.push((key, value));
            match after.get(value.len()) {
                Some(b',') => rest = &after[value.len() + 1..],
                _ => {
                    rest = after.get(value.len() + 1..).unwrap_or_default();
                    break;
                }
            }
        }
        Self { measurement, tags, fields, time: rest }
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

/// The tags of `,key=value,…`.
fn tags(mut rest: &[u8]) -> Vec<Pair<'_>> {
    let mut tags = Vec::new();
    while let Some(b',') = rest.first() {
        let key = &rest[1..];
        let key = &key[..find(key, b"=,")];
        let Some(value) = rest.get(key.len() + 2..) else { break };
        let value = &value[..find(value, b",")];
        tags.push((key, value));
        rest = &rest[key.len() + value.len() + 2..];
    }
    tags
}

/// The measurement of a line, without escapes.
pub(super) fn measurement_of(line: &[u8]) -> Cow<'_, [u8]> {
    plain(&line[..find(line, b", ")])
}

/// The first of these bytes in a name that is not escaped, or the end; of a run of backslashes the last one escapes.
fn find(text: &[u8], stops: &[u8]) -> usize {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'\\' => at += text[at..].iter().take_while(|&&byte| byte == b'\\').count() + 1,
            byte if stops.contains(&byte) => return at,
            _ => at += 1,
        }
    }
    text.len()
}

/// One past a field's value.
fn value_end(text: &[u8]) -> usize {
    if text.first() == Some(&b'"') { string_end(text) } else { find(text, b", ") }
}

/// One past the closing quote; each backslash escapes the byte behind it.
fn string_end(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

pub(super) fn kind_of(value: &[u8]) -> &'static str {
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
    *plain(written) == *name.as_bytes()
}

/// A name without its escapes.
pub(super) fn plain(written: &[u8]) -> Cow<'_, [u8]> {
    if !written.contains(&b'\\') {
        return Cow::Borrowed(written);
    }
    let mut plain = Vec::with_capacity(written.len());
    let mut bytes = written.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let is_escape = byte == b'\\' && bytes.peek().is_some_and(|next| b", =".contains(next));
        if !is_escape {
            plain.push(byte);
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_their_types_are_found() {
        let line = FieldsLine::parse(
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
        for line in [
            &b""[..],
            b"m",
            b"m ",
            b"m v",
            b"m v=",
            b"m v=\"",
            b"m v=\"a\\",
            b"m \\",
            b"\\",
            b"m v=1,",
            b"m v=1, ",
            b"m,",
            b"m,a",
            b"m,a=",
            b"m,=",
            b"m,a=\\ v=1",
            b"m,,",
        ] {
            let _ = FieldsLine::parse(line);
        }
    }

    #[test]
    fn tags_measurement_and_time_are_found() {
        let line = FieldsLine::parse(br#"m\,\ 1,ta\,g=a\ "b\=c,x=y v=1i,s="a b=c" 17"#);
        assert_eq!(&*plain(line.measurement), b"m, 1");
        assert_eq!(line.tags, [(&b"ta\\,g"[..], &b"a\\ \"b\\=c"[..]), (b"x", b"y")]);
        assert_eq!(line.time, b"17");
        assert_eq!(&*measurement_of(b"cpu\\ 0,host=a v=1 1"), b"cpu 0");
        assert_eq!(&*measurement_of(b"cpu v=1 1"), b"cpu");
        assert_eq!(&*plain(br"C:\x\,y"), br"C:\x,y");
    }

    #[test]
    fn of_a_run_of_backslashes_the_last_one_escapes_in_names_only() {
        let line = FieldsLine::parse(br#"m,a=C:\\\,b,c=d s="x\\",v=1i 1"#);
        assert_eq!(line.tags, [(&b"a"[..], &br"C:\\\,b"[..]), (b"c", b"d")]);
        assert_eq!(&*plain(line.tags[0].1), br"C:\\,b");
        assert_eq!(line.fields, [(&b"s"[..], &br#""x\\""#[..]), (b"v", b"1i")]);
    }
}
