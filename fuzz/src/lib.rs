//! What the targets share.

use pythond::point::{Category, Decoded, Decoding, Precision, line};

/// The ways of reading that make a difference.
pub fn ways() -> impl Iterator<Item = Decoding> {
    let categories = [Category::Metric, Category::Logging, Category::KeyEvent];
    categories.into_iter().flat_map(|category| {
        [true, false].map(|integers_as_floats| Decoding {
            category,
            precision: None,
            now_ns: 1_700_000_000_000_000_000,
            integers_as_floats,
        })
    })
}

/// How what the agent wrote is read.
pub fn in_nanoseconds(how: &Decoding) -> Decoding {
    Decoding { precision: Some(Precision::Ns), ..*how }
}

/// What was accepted has one line each, and these lines are read back as they are: nothing in them needs a repair any more.
pub fn is_canonical(decoded: &Decoded, how: &Decoding) {
    let mut text = Vec::new();
    for (_, point) in &decoded.points {
        line::encode(point, &mut text);
    }
    assert_eq!(line::ends(&text).len(), decoded.points.len(), "one line for each point");
    if decoded.points.is_empty() {
        return;
    }
    let again = line::decode(&text, &in_nanoseconds(how)).expect("canonical lines are a body");
    assert!(again.refused.is_empty(), "refused: {:?}", again.refused);
    let mut same = Vec::new();
    for (_, point) in &again.points {
        line::encode(point, &mut same);
    }
    assert_eq!(String::from_utf8_lossy(&same), String::from_utf8_lossy(&text), "the same lines again");
}
