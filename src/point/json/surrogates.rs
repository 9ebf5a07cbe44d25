//! Lone surrogates: Python writes undecodable bytes of file names so, and no Rust text can hold them.

/// Replaces each `\ud800` … `\udfff` without its other half; `None` when there is none.
pub(crate) fn with_whole_surrogates(text: &str) -> Option<String> {
    let mut mended = text.to_owned();
    let mut changed = false;
    let mut at = 0;
    while let Some(found) = text[at..].find('\\') {
        at += found;
        at += match (surrogate(text, at), surrogate(text, at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(_), _) => {
                mended.replace_range(at..at + 6, "\\ufffd");
                changed = true;
                6
            }
            // The byte after the backslash is ASCII in anything that the JSON reader has let through.
            (None, _) => 2,
        };
    }
    changed.then_some(mended)
}

fn surrogate(text: &str, at: usize) -> Option<u32> {
    let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
    let code = u32::from_str_radix(digits, 16).ok()?;
    (0xd800..=0xdfff).contains(&code).then_some(code)
}
