//! A record as it lies in the buffer: the header line `# <category> <points> <source>` and then canonical lines.

use super::Category;

/// Who and what a record holds. `source` is `<input>/<script>`, or the `input` argument of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub category: Category,
    pub points: u32,
    pub source: String,
}

impl Header {
    /// Puts the header before the lines.
    pub fn encode(&self, lines: &[u8]) -> Vec<u8> {
        let source = self.source.replace(|c: char| c.is_control(), " ");
        let mut record = format!("# {} {} {}\n", self.category.as_str(), self.points, source).into_bytes();
        record.extend_from_slice(lines);
        record
    }

    /// Takes a record apart into its header and its lines; `None` when it is not one of ours.
    pub fn decode(record: &[u8]) -> Option<(Header, &[u8])> {
        let end = memchr::memchr(b'\n', record)?;
        let head = std::str::from_utf8(&record[..end]).ok()?.strip_prefix("# ")?;
        let mut words = head.splitn(3, ' ');
        let category = Category::from_name(words.next()?)?;
        let points = words.next()?.parse().ok()?;
        let source = words.next()?.to_owned();
        Some((Header { category, points, source }, &record[end + 1..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_went_in() {
        let header = Header { category: Category::KeyEvent, points: 2, source: "in put/mytest.test\n".to_owned() };
        let record = header.encode(b"a b=1 1\nc d=2 2\n");
        let (back, lines) = Header::decode(&record).unwrap();
        assert_eq!((back.category, back.points, back.source.as_str()), (Category::KeyEvent, 2, "in put/mytest.test "));
        assert_eq!(lines, b"a b=1 1\nc d=2 2\n");
    }

    #[test]
    fn foreign_bytes_are_no_record() {
        assert_eq!(Header::decode(b"a b=1 1\n"), None);
        assert_eq!(Header::decode(b"# nonsense 1 x\n"), None);
        assert_eq!(Header::decode(b""), None);
    }
}
