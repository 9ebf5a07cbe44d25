//! Patterns for names: `*` stands for anything, `?` for one character.

/// A pattern such as `cpu*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    pattern: String,
}

impl Glob {
    pub fn new(pattern: impl Into<String>) -> Self {
        Self { pattern: pattern.into() }
    }

    /// Says whether the whole name is like the pattern.
    pub fn matches(&self, name: &[u8]) -> bool {
        is_like(self.pattern.as_bytes(), name)
    }
}

/// Walks both; at a mismatch the last `*` takes one byte more.
fn is_like(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(b'?') => {
                p += 1;
                n = after_character(name, n);
            }
            Some(byte) if *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, n) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// One past the UTF-8 character at a place.
fn after_character(text: &[u8], at: usize) -> usize {
    let rest = text[at + 1..].iter().take_while(|byte| **byte & 0xc0 == 0x80).count();
    at + 1 + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        let cases = [
            ("cpu", "cpu", true),
            ("cpu", "cpu0", false),
            ("cpu*", "cpu", true),
            ("cpu*", "cpu_total", true),
            ("cpu*", "a_cpu", false),
            ("*", "", true),
            ("*_total", "a_total_b_total", true),
            ("*_total", "a_total_b", false),
            ("a*b*c", "aXbYbZc", true),
            ("a?c", "aéc", true),
            ("a?c", "ac", false),
            ("?", "", false),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(Glob::new(pattern).matches(name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
