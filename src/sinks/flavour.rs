//! How a kind writes what it cannot take as it stands, and what of it it has to leave out.
//!
//! The buffer holds one canonical form. Most kinds take it unchanged, and then nothing is copied. A kind that differs says how in a
//! [`Flavour`]; lines of which nothing is left are not sent, and the verdict, which counts sent lines, is put back to the lines of the batch.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::batch::Batch;
use super::fields::{FieldsLine, kind_of, plain};
use super::verdict::Verdict;

/// What a kind wants different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flavour {
    pub strings: Strings,
    pub unsigned: Unsigned,
    pub names: Names,
    /// A longer line, its `\n` included, is refused here: the far end would drop it or close the connection.
    pub max_line: Option<usize>,
}

/// String fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strings {
    AsTheyAre,
    /// A newline becomes `\` and `n`: the receiver splits at newlines before it looks for quotes.
    OneLine,
    /// Newlines have a backslash before them.
    Questdb,
    /// Left out.
    Drop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsigned {
    AsTheyAre,
    /// `1u` becomes `1i`, and a float where it is too large.
    Signed,
}

/// Measurements, tags and field keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    AsTheyAre,
    /// Backslashes are doubled: VictoriaMetrics reads each pair as one, and loses a line whose `\\,` it takes for a separator.
    Doubled,
    /// As `Doubled`, and characters that no table or column may hold become `_`.
    Questdb,
}

/// Fields that a delivery left out, by reason.
pub type LeftOut = BTreeMap<&'static str, u64>;

pub(super) const AS_IT_IS: Flavour =
    Flavour { strings: Strings::AsTheyAre, unsigned: Unsigned::AsTheyAre, names: Names::AsTheyAre, max_line: None };

/// QuestDB takes no longer names of tables and columns.
const QUESTDB_NAME_MAX: usize = 127;

/// A batch as a kind is sent it.
#[derive(Debug)]
pub(super) struct Adapted {
    /// `None`: nothing is left to send.
    pub sent: Option<Batch>,
    pub left_out: LeftOut,
    /// Which line of the batch each sent line is; `None`: the same.
    numbers: Option<Vec<usize>>,
    /// Lines that cannot be sent at all.
    refused: Vec<(usize, String)>,
}

impl Flavour {
    /// Writes the batch in this flavour.
    pub fn adapt(&self, batch: &Batch) -> Adapted {
        if !self.may_change(batch) {
            return Adapted { sent: Some(batch.clone()), left_out: LeftOut::new(), numbers: None, refused: Vec::new() };
        }
        let mut writer =
            FlavourWriter { flavour: *self, out: Vec::with_capacity(batch.size() + 64), left_out: LeftOut::new() };
        let (mut numbers, mut refused) = (Vec::new(), Vec::new());
        for (n, line) in batch.lines().enumerate() {
            let start = writer.out.len();
            match writer.line(line) {
                Ok(true) => numbers.push(n),
                Ok(false) => writer.out.truncate(start),
                Err(why) => {
                    writer.out.truncate(start);
                    refused.push((n, why));
                }
            }
        }
        let text = Bytes::from(writer.out);
        let sent = (!text.is_empty()).then(|| batch.of_lines(&numbers, text));
        Adapted { sent, left_out: writer.left_out, numbers: Some(numbers), refused }
    }

    /// Found without parsing.
    fn may_change(&self, batch: &Batch) -> bool {
        let text = batch.text();
        let strings = match self.strings {
            Strings::AsTheyAre => false,
            Strings::OneLine | Strings::Questdb => memchr::memchr_iter(b'\n', &text).count() > batch.len(),
            Strings::Drop => memchr::memchr(b'"', &text).is_some(),
        };
        let unsigned = self.unsigned == Unsigned::Signed && may_hold_unsigned(&text);
        let names = match self.names {
            Names::AsTheyAre => false,
            Names::Doubled => memchr::memchr(b'\\', &text).is_some(),
            Names::Questdb => true,
        };
        let long = self.max_line.is_some_and(|max| batch.lines().any(|line| line.len() >= max));
        strings || unsigned || long || names
    }
}

impl Adapted {
    /// The verdict on what was sent as one on the batch.
    pub fn verdict(self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Kept if self.refused.is_empty() => Verdict::Kept,
            Verdict::Kept => Verdict::KeptExcept(self.refused),
            Verdict::KeptExcept(lines) => Verdict::KeptExcept(self.back(lines)),
            Verdict::RefusedPart(lines) => Verdict::RefusedPart(self.back(lines)),
            Verdict::Nothing if !self.refused.is_empty() => Verdict::RefusedPart(self.refused),
            other => other,
        }
    }

    fn back(self, lines: Vec<(usize, String)>) -> Vec<(usize, String)> {
        let number = |n: usize| self.numbers.as_ref().map_or(Some(n), |numbers| numbers.get(n).copied());
        let mut back: Vec<_> = lines.into_iter().filter_map(|(n, why)| Some((number(n)?, why))).collect();
        back.extend(self.refused);
        back.sort_by_key(|(n, _)| *n);
        back
    }
}

struct FlavourWriter {
    flavour: Flavour,
    out: Vec<u8>,
    left_out: LeftOut,
}

impl FlavourWriter {
    /// Writes one line with its `\n`; false: no field is left. The error says why the line cannot be sent.
    fn line(&mut self, text: &[u8]) -> Result<bool, String> {
        let line = FieldsLine::parse(text);
        let start = self.out.len();
        let mut seen = BTreeSet::new();
        self.measurement(line.measurement)?;
        for (key, value) in &line.tags {
            self.tag(key, value, &mut seen);
        }
        let mut before = b' ';
        for (key, value) in &line.fields {
            if let Some(why) = self.field(before, key, value, &mut seen) {
                *self.left_out.entry(why).or_default() += 1;
            } else {
                before = b',';
            }
        }
        self.out.push(b' ');
        self.out.extend_from_slice(line.time);
        self.out.push(b'\n');
        let length = self.out.len() - start;
        match self.flavour.max_line {
            Some(max) if before == b',' && length > max => {
                Err(format!("the line has {length} bytes; the far end takes at most {max}"))
            }
            _ => Ok(before == b','),
        }
    }

    fn measurement(&mut self, name: &[u8]) -> Result<(), String> {
        match self.flavour.names {
            Names::AsTheyAre => self.out.extend_from_slice(name),
            Names::Doubled => push_escaped(&mut self.out, &plain(name)),
            Names::Questdb => return self.questdb_table(name),
        }
        Ok(())
    }

    fn questdb_table(&mut self, name: &[u8]) -> Result<(), String> {
        let name = questdb_name(&plain(name), |c| c == '-');
        if name.len() > QUESTDB_NAME_MAX {
            return Err(format!("the measurement has {} bytes; QuestDB takes at most {QUESTDB_NAME_MAX}", name.len()));
        }
        push_escaped(&mut self.out, name.as_bytes());
        Ok(())
    }

    fn tag(&mut self, key: &[u8], value: &[u8], seen: &mut BTreeSet<String>) {
        let Ok(key) = self.column(key, seen) else {
            *self.left_out.entry("tag_name").or_default() += 1;
            return;
        };
        self.out.push(b',');
        self.out.extend_from_slice(&key);
        self.out.push(b'=');
        match self.flavour.names {
            Names::AsTheyAre => self.out.extend_from_slice(value),
            Names::Doubled | Names::Questdb => push_escaped(&mut self.out, &plain(value)),
        }
    }

    /// Writes a field, or says why it is left out.
    fn field(&mut self, before: u8, key: &[u8], value: &[u8], seen: &mut BTreeSet<String>) -> Option<&'static str> {
        let kind = kind_of(value);
        if kind == "string" && self.flavour.strings == Strings::Drop {
            return Some("string");
        }
        let key = match self.column(key, seen) {
            Ok(key) => key,
            Err(why) => return Some(why),
        };
        self.out.push(before);
        self.out.extend_from_slice(&key);
        self.out.push(b'=');
        match kind {
            "string" => push_string(&mut self.out, value, self.flavour.strings),
            "unsigned" if self.flavour.unsigned == Unsigned::Signed => {
                self.out.extend_from_slice(signed(value).as_bytes());
            }
            _ => self.out.extend_from_slice(value),
        }
        None
    }

    /// A key as this flavour writes it.
    fn column<'k>(&self, key: &'k [u8], seen: &mut BTreeSet<String>) -> Result<Cow<'k, [u8]>, &'static str> {
        let mut out = Vec::with_capacity(key.len() + 8);
        match self.flavour.names {
            Names::AsTheyAre => return Ok(Cow::Borrowed(key)),
            Names::Doubled => {
                push_escaped(&mut out, &plain(key));
                return Ok(Cow::Owned(out));
            }
            Names::Questdb => {}
        }
        let mut name = questdb_name(&plain(key), |_| false);
        // The designated timestamp has this name in tables that QuestDB makes by itself.
        if name.eq_ignore_ascii_case("timestamp") {
            name.push('_');
        }
        if name.len() > QUESTDB_NAME_MAX {
            return Err("name_too_long");
        }
        if !seen.insert(name.to_lowercase()) {
            return Err("same_column");
        }
        push_escaped(&mut out, name.as_bytes());
        Ok(Cow::Owned(out))
    }
}

/// A name with what QuestDB forbids as `_`.
fn questdb_name(name: &[u8], is_allowed: fn(char) -> bool) -> String {
    let is_bad = |c: char| c.is_control() || c == '\u{feff}' || ".?,'\"\\/:()+-*%~".contains(c) && !is_allowed(c);
    String::from_utf8_lossy(name).chars().map(|c| if is_bad(c) { '_' } else { c }).collect()
}

/// The escapes of far ends for which a backslash always escapes the next byte.
fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        if b", =\\\n\r".contains(&byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

fn push_string(out: &mut Vec<u8>, written: &[u8], how: Strings) {
    for &byte in written {
        match (byte, how) {
            (b'\n', Strings::OneLine) => out.extend_from_slice(b"\\n"),
            (b'\r', Strings::OneLine) => out.extend_from_slice(b"\\r"),
            (b'\n' | b'\r', Strings::Questdb) => out.extend_from_slice(&[b'\\', byte]),
            _ => out.push(byte),
        }
    }
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

    fn batch(text: &str) -> Batch {
        Batch::new(Category::Metric, Position::default(), "in/s", Bytes::copy_from_slice(text.as_bytes()))
    }

    fn written(flavour: Flavour, text: &str) -> String {
        let sent = flavour.adapt(&batch(text)).sent;
        sent.map_or_else(String::new, |sent| String::from_utf8(sent.text().to_vec()).unwrap())
    }

    const SIGNED: Flavour = Flavour { unsigned: Unsigned::Signed, ..AS_IT_IS };
    const NUMBERS: Flavour = Flavour { strings: Strings::Drop, max_line: Some(60), ..AS_IT_IS };
    const ONE_LINE: Flavour = Flavour { strings: Strings::OneLine, ..AS_IT_IS };
    const QUESTDB: Flavour =
        Flavour { strings: Strings::Questdb, unsigned: Unsigned::Signed, names: Names::Questdb, max_line: None };

    #[test]
    fn unsigned_integers_become_integers_or_floats() {
        let text =
            "m,t=1u a=1u,b=\"2u,c=3u \",d=18446744073709551615u 1\nm s=\"x\",u=9223372036854775807u,z=0u 2\nm v=1i 3\n";
        let expected =
            "m,t=1u a=1i,b=\"2u,c=3u \",d=1.8446744073709552e19 1\nm s=\"x\",u=9223372036854775807i,z=0i 2\nm v=1i 3\n";
        assert_eq!(written(SIGNED, text), expected);
    }

    #[test]
    fn what_needs_no_change_is_not_copied() {
        let cases = [
            (SIGNED, "cpu,cpu=cpu1 usage=1.5,u=\"up\" 1\nm s=\"7u\" 2\n"),
            (NUMBERS, "m,t=a v=1 1\n"),
            (ONE_LINE, "m s=\"a\\\\n\" 1\n"),
            (AS_IT_IS, "m s=\"a\nb\" 1\n"),
        ];
        for (flavour, text) in cases {
            let batch = batch(text);
            let adapted = flavour.adapt(&batch);
            assert_eq!(adapted.sent.unwrap().text().as_ptr(), batch.text().as_ptr(), "{text}");
        }
    }

    #[test]
    fn strings_are_left_out_and_counted_and_so_are_points_of_strings_only() {
        let text = "m,t=a\\ b a=\"x, y=\\\"1\\\"\",v=1i,b=\"\" 1\nlog message=\"two\nlines\",s=\"x\" 2\nm v=2u 3\n";
        let adapted = NUMBERS.adapt(&batch(text));
        assert_eq!(adapted.sent.as_ref().unwrap().text(), "m,t=a\\ b v=1i 1\nm v=2u 3\n");
        assert_eq!(adapted.left_out, LeftOut::from([("string", 4)]));
        let verdict = adapted.verdict(Verdict::KeptExcept(vec![(1, "no".to_owned()), (7, "none".to_owned())]));
        assert_eq!(verdict, Verdict::KeptExcept(vec![(2, "no".to_owned())]));
        let nothing = NUMBERS.adapt(&batch("log message=\"x\" 1\n"));
        assert!(nothing.sent.is_none());
        assert_eq!(nothing.verdict(Verdict::Nothing), Verdict::Nothing);
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_by_name() {
        let text = format!("m v=1 1\nm v=1,{}=2 2\nm s=\"{}\",v=3 3\n", "x".repeat(60), "x".repeat(60));
        let adapted = NUMBERS.adapt(&batch(&text));
        assert_eq!(adapted.sent.as_ref().unwrap().text(), "m v=1 1\nm v=3 3\n");
        let Verdict::RefusedPart(lines) = adapted.verdict(Verdict::RefusedPart(vec![(1, "no".to_owned())])) else {
            panic!()
        };
        assert_eq!(lines[0], (1, "the line has 71 bytes; the far end takes at most 60".to_owned()));
        assert_eq!(lines[1], (2, "no".to_owned()));
    }

    #[test]
    fn newlines_in_strings_are_written_so_that_a_line_stays_a_line() {
        let text = "m s=\"a\nb\\\\n\r\n\" 1\n";
        assert_eq!(written(ONE_LINE, text), "m s=\"a\\nb\\\\n\\r\\n\" 1\n");
        assert_eq!(written(QUESTDB, text), "m s=\"a\\\nb\\\\n\\\r\\\n\" 1\n");
    }

    #[test]
    fn backslashes_in_names_are_doubled_where_a_pair_is_read_as_one() {
        let flavour = Flavour { names: Names::Doubled, ..AS_IT_IS };
        let text = r#"C:\x,a\\,b=c\ d,e=\y\=z s="\\",k\y=1 1"#.to_owned() + "\n";
        let expected = r#"C:\\x,a\\\,b=c\ d,e=\\y\=z s="\\",k\\y=1 1"#.to_owned() + "\n";
        assert_eq!(written(flavour, &text), expected);
    }

    #[test]
    fn questdb_gets_names_that_it_takes() {
        let cases = [
            ("disk.io-rate,my-tag=a\\,b\\ C:\\x us.ed=1u 1\n", "disk_io-rate,my_tag=a\\,b\\ C:\\\\x us_ed=1i 1\n"),
            ("m,\\ a=1 timestamp=2i,Timestamp_=3i,v=1 1\n", "m,\\ a=1 timestamp_=2i,v=1 1\n"),
            ("m,a=1 a=2i,a.b=3i,a_b=4i,A-B=5i 1\n", "m,a=1 a_b=3i 1\n"),
        ];
        for (text, expected) in cases {
            assert_eq!(written(QUESTDB, text), expected);
        }
        let adapted = QUESTDB.adapt(&batch(cases[2].0));
        assert_eq!(adapted.left_out, LeftOut::from([("same_column", 3)]));
        let long = "x".repeat(128);
        let adapted = QUESTDB.adapt(&batch(&format!("{long} v=1 1\nm,{long}=t {long}=1,v=1 2\n")));
        assert_eq!(adapted.sent.as_ref().unwrap().text(), "m v=1 2\n");
        assert_eq!(adapted.left_out, LeftOut::from([("name_too_long", 1), ("tag_name", 1)]));
        let Verdict::KeptExcept(lines) = adapted.verdict(Verdict::Kept) else { panic!() };
        assert_eq!(lines, [(0, "the measurement has 128 bytes; QuestDB takes at most 127".to_owned())]);
    }
}
