//! DataKit's repairs (spec/datakit 4.2) and the canonical form's rules (spec/delivery 1.9), each counted as a warning.
//!
//! A name here is a measurement, tag key, tag value or field key. Repaired names are a fixed point: to repair them again changes nothing,
//! and whatever is left of them has one encoding that InfluxDB 1, 2 and 3, VictoriaMetrics and Telegraf read alike:
//!
//! - a run of control characters becomes one space, and the name is then trimmed;
//! - backslashes at the end are taken away: no encoding exists for them;
//! - a backslash before `,`, `=`, a space or another backslash becomes `/`: InfluxDB 1 reads `\\` as two backslashes, the grammar as one,
//!   so that there is no encoding that both read alike. Any other backslash (`C:\Temp`) stays;
//! - what is too long is cut at a character border.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Category, Value};

pub(super) const MAX_FIELDS: usize = 1024;
pub(super) const MAX_TAGS: usize = 256;
const MAX_KEY: usize = 256;
const MAX_TAG_VALUE: usize = 1024;
const MAX_MEASUREMENT: usize = 1024;
const MAX_TEXT: usize = 32 * 1024 * 1024;
/// InfluxDB keeps the length of the series key in 16 bits.
const MAX_SERIES_KEY: usize = 65_535;
/// InfluxDB keeps the outermost values for itself.
const TIMES: std::ops::RangeInclusive<i64> = -9_223_372_036_854_775_806..=9_223_372_036_854_775_806;
const EXAMPLE_MAX: usize = 256;

/// Counts of repairs by kind (`found_new_line_or_tail_escape`, `nested_value`, `tag_not_text` …), and the first example of each.
#[derive(Debug, Default, Clone)]
pub struct Warnings {
    pub kinds: BTreeMap<&'static str, (u64, String)>,
}

impl Warnings {
    /// Counts one repair.
    pub fn add(&mut self, kind: &'static str, example: &str) {
        self.kinds.entry(kind).or_insert_with(|| (0, cut(example, EXAMPLE_MAX).to_owned())).0 += 1;
    }

    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Adds the counts of another request.
    pub fn merge(&mut self, other: Warnings) {
        for (kind, (times, example)) in other.kinds {
            self.kinds.entry(kind).or_insert((0, example)).0 += times;
        }
    }
}

/// Why a point cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unfit {
    /// `fields.v`, `tags.a`, `time`, or empty for the point as a whole.
    pub field: String,
    pub reason: String,
}

impl Unfit {
    pub(super) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

pub(super) fn measurement(raw: String, warnings: &mut Warnings) -> String {
    let (mut name, _) = clean(raw, Part::Measurement, warnings);
    if name.is_empty() {
        warnings.add("invalid_measurement", "the measurement is empty; it became `__default`");
        return "__default".to_owned();
    }
    if name.starts_with('#') {
        warnings.add("invalid_measurement", &format!("measurement `{}` would be a comment; `_` was put before it", shown(&name)));
        name.insert(0, '_');
        name = clean(name, Part::Measurement, warnings).0;
    }
    name
}

pub(super) fn tags(mut tags: Vec<(String, String)>, category: Category, warnings: &mut Warnings) -> Vec<(String, String)> {
    let mut repaired = Repaired::default();
    tags.retain_mut(|(key, value)| {
        let keep = key_fits(key, Part::TagKey, category, &mut repaired, warnings) && tag_value_fits(key, value, warnings);
        repaired.next(keep);
        keep
    });
    make_unique(&mut tags, &repaired.places, Part::TagKey, warnings);
    if tags.len() > MAX_TAGS {
        let example = format!("{} tags; the first {MAX_TAGS} were kept", tags.len());
        warnings.add("exceed_max_tags", &example);
        tags.truncate(MAX_TAGS);
    }
    tags.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    tags
}

pub(super) fn fields(
    mut fields: Vec<(String, Value)>,
    tags: &[(String, String)],
    category: Category,
    warnings: &mut Warnings,
) -> Result<Vec<(String, Value)>, Unfit> {
    if let Some((key, Value::Float(number))) = fields.iter().find(|(_, value)| matches!(value, Value::Float(n) if !n.is_finite())) {
        let field = format!("fields.{}", shown(key));
        let reason = format!("`{field}` is {number}; it must be a finite number, or be left out");
        return Err(Unfit::new(field, reason));
    }
    let mut repaired = Repaired::default();
    fields.retain_mut(|(key, value)| {
        let keep = key_fits(key, Part::FieldKey, category, &mut repaired, warnings) && !is_tag(key, tags, warnings);
        if let Value::Str(text) = value {
            cut_text(key, text, warnings);
        }
        repaired.next(keep);
        keep
    });
    make_unique(&mut fields, &repaired.places, Part::FieldKey, warnings);
    let required = required(category).filter(|(key, _)| !holds(tags, key) && !holds(&fields, key));
    let room = MAX_FIELDS - usize::from(required.is_some());
    if fields.len() > room {
        let example = format!("{} fields; the first {room} were kept", fields.len());
        warnings.add("exceed_max_fields", &example);
        fields.truncate(room);
    }
    if let Some((key, value)) = required {
        warnings.add("add_required_kv", &format!("`{key}` is missing; it became `{value}`"));
        fields.push((key.to_owned(), Value::Str(value.to_owned())));
    }
    if fields.is_empty() {
        return Err(Unfit::new("fields", "the point has no field with a value; it must have at least one"));
    }
    Ok(fields)
}

/// Repairs a tag that the agent adds; `None` when nothing is left of it.
pub(super) fn global_tag(key: &str, value: &str) -> Option<(String, String)> {
    // Nobody who sends a point can do anything about a global tag: its repairs are not counted as theirs.
    let mut unseen = Warnings::default();
    let mut tags = tags(vec![(key.to_owned(), value.to_owned())], Category::Metric, &mut unseen);
    tags.pop()
}

pub(super) fn check_series(measurement: &str, tags: &[(String, String)]) -> Result<(), Unfit> {
    let plain = measurement.len() + tags.iter().map(|(key, value)| key.len() + value.len() + 2).sum::<usize>();
    // Escapes at most double it, so that nearly every point is done here.
    if plain * 2 <= MAX_SERIES_KEY {
        return Ok(());
    }
    let escapes = |text: &str| text.bytes().filter(|byte| matches!(byte, b',' | b'=' | b' ')).count();
    let escaped = plain + escapes(measurement) + tags.iter().map(|(key, value)| escapes(key) + escapes(value)).sum::<usize>();
    if escaped <= MAX_SERIES_KEY {
        return Ok(());
    }
    Err(Unfit::new("tags", format!("measurement and tags take {escaped} bytes; they must fit into {MAX_SERIES_KEY}")))
}

pub(super) fn check_time(time_ns: i64) -> Result<(), Unfit> {
    if TIMES.contains(&time_ns) {
        return Ok(());
    }
    Err(Unfit::new("time", format!("`time` is {time_ns} ns; it must lie between 1677-09-21 and 2262-04-11")))
}

/// The longest beginning of at most `max` bytes that ends at a character border.
pub(super) fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

/// A foreign text for a message: short, and without control characters.
pub fn shown(name: &str) -> String {
    let short = cut(name, 100);
    let dots = if short.len() < name.len() { "…" } else { "" };
    if short.bytes().any(is_control) { format!("{}{dots}", short.escape_debug()) } else { format!("{short}{dots}") }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Measurement,
    TagKey,
    TagValue,
    FieldKey,
}

impl Part {
    fn max(self) -> usize {
        match self {
            Self::Measurement => MAX_MEASUREMENT,
            Self::TagValue => MAX_TAG_VALUE,
            Self::TagKey | Self::FieldKey => MAX_KEY,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Measurement => "measurement",
            Self::TagKey => "tag",
            Self::TagValue => "tag value",
            Self::FieldKey => "field",
        }
    }

    /// DataKit's name of the warning that a name was too long.
    fn too_long(self) -> &'static str {
        match self {
            Self::Measurement => "invalid_measurement",
            Self::TagKey => "exceed_max_tag_key_len",
            Self::TagValue => "exceed_max_tag_value_len",
            Self::FieldKey => "exceed_max_field_key_len",
        }
    }

    /// DataKit's name of the warning that a name held what has no encoding.
    fn not_encodable(self) -> &'static str {
        match self {
            Self::Measurement => "invalid_measurement",
            Self::TagKey => "invalid_tag_key",
            Self::TagValue => "found_new_line_or_tail_escape",
            Self::FieldKey => "invalid_field_key",
        }
    }

    fn disabled(self) -> &'static str {
        if self == Self::FieldKey { "field_disabled" } else { "tag_disabled" }
    }

    /// Keys that a sink refuses or loses: `time` is the column of the time; a tag `_field` or `_measurement` loses the whole point.
    fn is_reserved(self, key: &str) -> bool {
        key == "time" || (self == Self::TagKey && matches!(key, "_field" | "_measurement"))
    }
}

/// Which of the entries that stay had their key repaired, in rising order.
#[derive(Default)]
struct Repaired {
    at: usize,
    here: bool,
    places: Vec<usize>,
}

impl Repaired {
    fn next(&mut self, kept: bool) {
        if kept && self.here {
            self.places.push(self.at);
        }
        self.at += usize::from(kept);
        self.here = false;
    }
}

fn key_fits(key: &mut String, part: Part, category: Category, repaired: &mut Repaired, warnings: &mut Warnings) -> bool {
    (*key, repaired.here) = clean(std::mem::take(key), part, warnings);
    if !allows_dots(category) && key.contains('.') {
        warnings.add("dot_in_key", &format!("{} `{}`: `.` became `_`", part.word(), shown(key)));
        *key = key.replace('.', "_");
        repaired.here = true;
    }
    if key.is_empty() || disabled(category).contains(&key.as_str()) {
        warnings.add(
            part.disabled(),
            &format!("{} `{key}` was dropped: this key is empty or not allowed in {}", part.word(), category.as_str()),
        );
        return false;
    }
    if part.is_reserved(key) {
        warnings.add("reserved_key", &format!("{} `{key}` became `{key}_`: sinks keep this key for themselves", part.word()));
        key.push('_');
        repaired.here = true;
    }
    true
}

fn tag_value_fits(key: &str, value: &mut String, warnings: &mut Warnings) -> bool {
    *value = clean(std::mem::take(value), Part::TagValue, warnings).0;
    if value.is_empty() {
        warnings.add("empty_tag", &format!("tag `{}` was dropped: it is empty", shown(key)));
    }
    !value.is_empty()
}

fn is_tag(key: &str, tags: &[(String, String)], warnings: &mut Warnings) -> bool {
    let taken = holds_sorted(tags, key);
    if taken {
        warnings.add("tag_and_field", &format!("field `{}` was dropped: a tag has the same key", shown(key)));
    }
    taken
}

fn cut_text(key: &str, text: &mut String, warnings: &mut Warnings) {
    if text.len() > MAX_TEXT {
        warnings.add("exceed_max_field_value_len", &format!("field `{}`: {} bytes of text were cut to {MAX_TEXT}", shown(key), text.len()));
        text.truncate(cut(text, MAX_TEXT).len());
    }
}

fn allows_dots(category: Category) -> bool {
    !matches!(category, Category::Logging | Category::Object)
}

fn disabled(category: Category) -> &'static [&'static str] {
    match category {
        Category::Logging => &["source", "date"],
        Category::Object => &["class", "date"],
        _ => &[],
    }
}

fn required(category: Category) -> Option<(&'static str, &'static str)> {
    match category {
        Category::Logging => Some(("status", "info")),
        Category::Object => Some(("name", "default")),
        _ => None,
    }
}

fn holds<V>(entries: &[(String, V)], key: &str) -> bool {
    entries.iter().any(|(name, _)| name == key)
}

fn holds_sorted<V>(entries: &[(String, V)], key: &str) -> bool {
    entries.binary_search_by(|(name, _)| name.as_str().cmp(key)).is_ok()
}

/// Leaves one entry of each key: an exact key wins over one that only became equal by a repair, else the last wins.
fn make_unique<V>(entries: &mut Vec<(String, V)>, repaired: &[usize], part: Part, warnings: &mut Warnings) {
    if !has_duplicates(entries) {
        return;
    }
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut kept: Vec<(String, V)> = Vec::with_capacity(entries.len());
    for (at, (key, value)) in std::mem::take(entries).into_iter().enumerate() {
        let Some(&place) = places.get(&key) else {
            places.insert(key.clone(), kept.len());
            kept.push((key, value));
            continue;
        };
        warnings.add("duplicate_key", &format!("{} `{}` is there more than once; one value was kept", part.word(), shown(&key)));
        if repaired.binary_search(&at).is_err() {
            kept[place].1 = value;
        }
    }
    *entries = kept;
}

fn has_duplicates<V>(entries: &[(String, V)]) -> bool {
    if entries.len() <= 24 {
        return entries.iter().enumerate().any(|(at, (key, _))| holds(&entries[..at], key));
    }
    let mut seen = HashSet::with_capacity(entries.len());
    entries.iter().any(|(key, _)| !seen.insert(key.as_str()))
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// The name in its encodable form, and whether it had to be changed.
fn clean(raw: String, part: Part, warnings: &mut Warnings) -> (String, bool) {
    if raw.len() <= part.max() && !raw.bytes().any(|byte| is_control(byte) || byte == b'\\') {
        return (raw, false);
    }
    let mut name = without_controls(&raw);
    name.truncate(name.trim_end_matches('\\').len());
    if name != raw {
        let example = format!(
            "{} `{}` became `{}`: control characters and final backslashes have no encoding",
            part.word(),
            shown(&raw),
            shown(&name)
        );
        warnings.add(part.not_encodable(), &example);
    }
    if let Some(plain) = without_ambiguous_backslashes(&name) {
        let example = format!("{} `{}` became `{}`: sinks read these backslashes differently", part.word(), shown(&name), shown(&plain));
        warnings.add("ambiguous_backslash", &example);
        name = plain;
    }
    if name.len() > part.max() {
        warnings.add(part.too_long(), &format!("{} `{}`: {} bytes were cut to {}", part.word(), shown(&name), name.len(), part.max()));
        name.truncate(cut(&name, part.max()).trim_end_matches('\\').len());
    }
    let changed = name != raw;
    (name, changed)
}

/// One space for each run of control characters; trimmed if there was one.
fn without_controls(raw: &str) -> String {
    if !raw.bytes().any(is_control) {
        return raw.to_owned();
    }
    let mut name = String::with_capacity(raw.len());
    let mut runs = raw.split(|c: char| c.is_ascii_control()).filter(|part| !part.is_empty());
    if let Some(first) = runs.next() {
        name.push_str(first);
    }
    for part in runs {
        name.push(' ');
        name.push_str(part);
    }
    name.trim_matches(' ').to_owned()
}

/// `/` for each backslash that stands before a separator or beside another backslash; `None` when there is none.
fn without_ambiguous_backslashes(name: &str) -> Option<String> {
    let bytes = name.as_bytes();
    let ambiguous = |at: usize| {
        bytes[at] == b'\\' && (matches!(bytes.get(at + 1), Some(b',' | b'=' | b' ' | b'\\')) || (at > 0 && bytes[at - 1] == b'\\'))
    };
    if !(0..bytes.len()).any(ambiguous) {
        return None;
    }
    Some(name.char_indices().map(|(at, c)| if ambiguous(at) { '/' } else { c }).collect())
}
