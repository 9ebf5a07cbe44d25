//! DataKit's repairs and the rules of the canonical form, each counted as a warning.
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

use super::value::{Category, Field, Tag, Text, Value};
use crate::code::Code;

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
/// Of one request.
pub const REPAIRS_TOLD: usize = 100;

/// Counts of repairs by kind (`found_new_line_or_tail_escape`, `nested_value`, `tag_not_text` …) with the first example of each, and what
/// is to be told to whoever made the points.
#[derive(Debug, Default, Clone)]
pub struct Warnings {
    pub kinds: BTreeMap<&'static str, (u64, String)>,
    repairs: Vec<Repair>,
}

/// Something that was changed or left out, told once for each kind and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    pub kind: &'static str,
    /// `tags.time`, `fields.v`, `measurement`, or empty.
    pub key: String,
    /// What became of it.
    pub what: String,
}

impl Repair {
    pub fn code(&self) -> Code {
        match self.kind {
            "invalid_measurement" => Code::WrongMeasurement,
            "tag_not_text" | "empty_tag" => Code::WrongTag,
            "time_replaced" => Code::WrongTime,
            "reserved_key" | "tag_and_field" | "duplicate_key" | "dot_in_key" | "tag_disabled" | "field_disabled"
            | "unknown_key" => Code::ChangedKey,
            "invalid_event" if self.key == "df_source" => Code::WrongSource,
            "invalid_event" if self.key == "df_dimension_tags" => Code::WrongDimensionTags,
            "invalid_event" => Code::WrongStatus,
            kind if kind.starts_with("exceed_max") => Code::CutToFit,
            _ => Code::ChangedValue,
        }
    }
}

impl Warnings {
    /// Counts one repair of a key.
    pub fn add(&mut self, kind: &'static str, key: &str, example: &str) {
        self.kinds.entry(kind).or_insert_with(|| (0, cut(example, EXAMPLE_MAX).to_owned())).0 += 1;
        self.tell(kind, key, example);
    }

    /// Counts what is added to nearly every point of a category: nobody wants to hear of it.
    pub fn count(&mut self, kind: &'static str, example: &str) {
        self.kinds.entry(kind).or_insert_with(|| (0, cut(example, EXAMPLE_MAX).to_owned())).0 += 1;
    }

    /// What is to be told, at most [`REPAIRS_TOLD`] of it.
    pub fn repairs(&self) -> &[Repair] {
        &self.repairs
    }

    fn tell(&mut self, kind: &'static str, key: &str, what: &str) {
        let is_known = self.repairs.iter().any(|known| known.kind == kind && known.key == key);
        if !is_known && self.repairs.len() < REPAIRS_TOLD {
            self.repairs.push(Repair { kind, key: key.to_owned(), what: cut(what, EXAMPLE_MAX).to_owned() });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Adds the counts of another request.
    pub fn merge(&mut self, other: Warnings) {
        for (kind, (times, example)) in other.kinds {
            self.kinds.entry(kind).or_insert((0, example)).0 += times;
        }
        for repair in other.repairs {
            self.tell(repair.kind, &repair.key, &repair.what);
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
    pub(crate) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

pub(super) fn measurement<'t>(raw: Text<'t>, warnings: &mut Warnings) -> Text<'t> {
    let (mut name, _) = clean(raw, Part::Measurement, "", warnings);
    if name.is_empty() {
        warnings.add("invalid_measurement", "measurement", "the measurement is empty; it became `__default`");
        return "__default".into();
    }
    if name.starts_with('#') {
        warnings.add(
            "invalid_measurement",
            "measurement",
            &format!("measurement `{}` would be a comment; `_` was put before it", shown(&name)),
        );
        name.to_mut().insert(0, '_');
        name = clean(name, Part::Measurement, "", warnings).0;
    }
    name
}

pub(super) fn tags<'t>(mut tags: Vec<Tag<'t>>, category: Category, warnings: &mut Warnings) -> Vec<Tag<'t>> {
    let mut repaired = Repaired::default();
    tags.retain_mut(|(key, value)| {
        let keep =
            key_fits(key, Part::TagKey, category, &mut repaired, warnings) && tag_value_fits(key, value, warnings);
        repaired.next(keep);
        keep
    });
    make_unique(&mut tags, &repaired.places, Part::TagKey, warnings);
    if tags.len() > MAX_TAGS {
        let example = format!("{} tags; the first {MAX_TAGS} were kept", tags.len());
        warnings.add("exceed_max_tags", "tags", &example);
        tags.truncate(MAX_TAGS);
    }
    tags.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    tags
}

pub(super) fn fields<'t>(
    mut fields: Vec<Field<'t>>,
    tags: &[Tag],
    category: Category,
    warnings: &mut Warnings,
) -> Result<Vec<Field<'t>>, Unfit> {
    if let Some((key, Value::Float(number))) =
        fields.iter().find(|(_, value)| matches!(value, Value::Float(n) if !n.is_finite()))
    {
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
        warnings.add("exceed_max_fields", "fields", &example);
        fields.truncate(room);
    }
    if let Some((key, value)) = required {
        warnings.count("add_required_kv", &format!("`{key}` is missing; it became `{value}`"));
        fields.push((key.into(), Value::Str(value.into())));
    }
    if fields.is_empty() {
        return Err(Unfit::new("fields", "the point has no field with a value; it must have at least one"));
    }
    Ok(fields)
}

/// Repairs a tag that the agent adds; `None` when nothing is left of it.
pub(super) fn global_tag<'t>(key: &'t str, value: &'t str) -> Option<Tag<'t>> {
    // Nobody who sends a point can do anything about a global tag: its repairs are not counted as theirs.
    let mut unseen = Warnings::default();
    let (mut key, mut value) = (Text::from(key), Text::from(value));
    let fits = key_fits(&mut key, Part::TagKey, Category::Metric, &mut Repaired::default(), &mut unseen)
        && tag_value_fits(&key, &mut value, &mut unseen);
    fits.then_some((key, value))
}

pub(super) fn check_series(measurement: &str, tags: &[Tag]) -> Result<(), Unfit> {
    let plain = measurement.len() + tags.iter().map(|(key, value)| key.len() + value.len() + 2).sum::<usize>();
    // Escapes at most double it, so that nearly every point is done here.
    if plain * 2 <= MAX_SERIES_KEY {
        return Ok(());
    }
    let escapes = |text: &str| text.bytes().filter(|byte| matches!(byte, b',' | b'=' | b' ')).count();
    let escaped =
        plain + escapes(measurement) + tags.iter().map(|(key, value)| escapes(key) + escapes(value)).sum::<usize>();
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

    /// What is told of it: which key it is, or of which key the value.
    fn place(self, key: &str) -> String {
        match self {
            Self::Measurement => "measurement".to_owned(),
            Self::TagKey | Self::TagValue => format!("tags.{}", shown(key)),
            Self::FieldKey => format!("fields.{}", shown(key)),
        }
    }

    /// `of tag `k``, for a value.
    fn of(self, key: &str) -> String {
        if self == Self::TagValue { format!(" of tag `{}`", shown(key)) } else { String::new() }
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

fn key_fits(
    key: &mut Text<'_>,
    part: Part,
    category: Category,
    repaired: &mut Repaired,
    warnings: &mut Warnings,
) -> bool {
    (*key, repaired.here) = clean(std::mem::take(key), part, "", warnings);
    if !allows_dots(category) && key.contains('.') {
        warnings.add("dot_in_key", &part.place(key), &format!("{} `{}`: `.` became `_`", part.word(), shown(key)));
        *key = key.replace('.', "_").into();
        repaired.here = true;
    }
    if key.is_empty() || disabled(category).contains(&key.as_ref()) {
        warnings.add(
            part.disabled(),
            &part.place(key),
            &format!("{} `{key}` was dropped: this key is empty or not allowed in {}", part.word(), category.as_str()),
        );
        return false;
    }
    if part.is_reserved(key) {
        warnings.add(
            "reserved_key",
            &part.place(key),
            &format!("{} `{key}` became `{key}_`: sinks keep this key for themselves", part.word()),
        );
        key.to_mut().push('_');
        repaired.here = true;
    }
    true
}

fn tag_value_fits(key: &str, value: &mut Text<'_>, warnings: &mut Warnings) -> bool {
    *value = clean(std::mem::take(value), Part::TagValue, key, warnings).0;
    if value.is_empty() {
        warnings.add(
            "empty_tag",
            &Part::TagValue.place(key),
            &format!("tag `{}` was dropped: it is empty", shown(key)),
        );
    }
    !value.is_empty()
}

fn is_tag(key: &str, tags: &[Tag], warnings: &mut Warnings) -> bool {
    // To compare a few for equality is faster than to search among them by order.
    let taken = if tags.len() <= 8 { holds(tags, key) } else { holds_sorted(tags, key) };
    if taken {
        warnings.add(
            "tag_and_field",
            &Part::FieldKey.place(key),
            &format!("field `{}` was dropped: a tag has the same key", shown(key)),
        );
    }
    taken
}

fn cut_text(key: &str, text: &mut Text<'_>, warnings: &mut Warnings) {
    if text.len() > MAX_TEXT {
        warnings.add(
            "exceed_max_field_value_len",
            &Part::FieldKey.place(key),
            &format!("field `{}`: {} bytes of text were cut to {MAX_TEXT}", shown(key), text.len()),
        );
        let len = cut(text, MAX_TEXT).len();
        text.to_mut().truncate(len);
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

fn holds<V>(entries: &[(Text, V)], key: &str) -> bool {
    entries.iter().any(|(name, _)| name == key)
}

fn holds_sorted<V>(entries: &[(Text, V)], key: &str) -> bool {
    entries.binary_search_by(|(name, _)| name.as_ref().cmp(key)).is_ok()
}

/// Leaves one entry of each key: an exact key wins over one that only became equal by a repair, else the last wins.
fn make_unique<V>(entries: &mut Vec<(Text, V)>, repaired: &[usize], part: Part, warnings: &mut Warnings) {
    if !has_duplicates(entries) {
        return;
    }
    let mut places: HashMap<Text, usize> = HashMap::new();
    let mut kept: Vec<(Text, V)> = Vec::with_capacity(entries.len());
    for (at, (key, value)) in std::mem::take(entries).into_iter().enumerate() {
        let Some(&place) = places.get(&key) else {
            places.insert(key.clone(), kept.len());
            kept.push((key, value));
            continue;
        };
        warnings.add(
            "duplicate_key",
            &part.place(&key),
            &format!("{} `{}` is there more than once; one value was kept", part.word(), shown(&key)),
        );
        if repaired.binary_search(&at).is_err() {
            kept[place].1 = value;
        }
    }
    *entries = kept;
}

fn has_duplicates<V>(entries: &[(Text, V)]) -> bool {
    if entries.len() <= 24 {
        return entries.iter().enumerate().any(|(at, (key, _))| holds(&entries[..at], key));
    }
    let mut seen = HashSet::with_capacity(entries.len());
    entries.iter().any(|(key, _)| !seen.insert(key.as_ref()))
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// The name in its encodable form, and whether it had to be changed; of a value with the key that has it.
fn clean<'t>(raw: Text<'t>, part: Part, of: &str, warnings: &mut Warnings) -> (Text<'t>, bool) {
    // No early exit: this way the compiler looks at many bytes at a time.
    let is_special = raw.bytes().fold(false, |found, byte| found | is_control(byte) | (byte == b'\\'));
    if raw.len() <= part.max() && !is_special {
        return (raw, false);
    }
    let place = part.place(if part == Part::TagValue { of } else { &raw });
    let mut name = without_controls(&raw);
    name.truncate(name.trim_end_matches('\\').len());
    if name != raw {
        let example = format!(
            "{} `{}`{} became `{}`: control characters and final backslashes have no encoding",
            part.word(),
            shown(&raw),
            part.of(of),
            shown(&name)
        );
        warnings.add(part.not_encodable(), &place, &example);
    }
    if let Some(plain) = without_ambiguous_backslashes(&name) {
        let example = format!(
            "{} `{}`{} became `{}`: sinks read these backslashes differently",
            part.word(),
            shown(&name),
            part.of(of),
            shown(&plain)
        );
        warnings.add("ambiguous_backslash", &place, &example);
        name = plain;
    }
    if name.len() > part.max() {
        let (word, of) = (part.word(), part.of(of));
        let example = format!("{word} `{}`{of}: {} bytes were cut to {}", shown(&name), name.len(), part.max());
        warnings.add(part.too_long(), &place, &example);
        name.truncate(cut(&name, part.max()).trim_end_matches('\\').len());
    }
    let changed = name != raw;
    (name.into(), changed)
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
        bytes[at] == b'\\'
            && (matches!(bytes.get(at + 1), Some(b',' | b'=' | b' ' | b'\\')) || (at > 0 && bytes[at - 1] == b'\\'))
    };
    if !(0..bytes.len()).any(ambiguous) {
        return None;
    }
    Some(name.char_indices().map(|(at, c)| if ambiguous(at) { '/' } else { c }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::Point;

    /// What comes out: the point as a line with the time left out, and the kinds of warnings.
    fn made(
        category: Category,
        measurement: &str,
        tags: &[(&str, &str)],
        fields: &[(&str, Value)],
    ) -> (String, String) {
        let mut warnings = Warnings::default();
        let fields = fields.iter().map(|(key, value)| ((*key).into(), value.clone())).collect();
        let tags = tags.iter().map(|&(key, value)| (key.into(), value.into())).collect();
        let line = match Point::new(measurement.into(), tags, fields, 1, category, &mut warnings) {
            Ok(point) => {
                let mut line = Vec::new();
                crate::point::line::encode(&point, &mut line);
                String::from_utf8(line).unwrap().strip_suffix(" 1\n").unwrap().to_owned()
            }
            Err(unfit) => format!("{}: {unfit}", unfit.field),
        };
        (line, warnings.kinds.into_keys().collect::<Vec<_>>().join(" "))
    }

    fn metric(measurement: &str, tags: &[(&str, &str)], fields: &[(&str, Value)]) -> (String, String) {
        made(Category::Metric, measurement, tags, fields)
    }

    fn is(line: &str, kinds: &str) -> (String, String) {
        (line.to_owned(), kinds.to_owned())
    }

    const V: (&str, Value<'static>) = ("v", Value::Float(1.0));

    #[test]
    fn a_clean_point_has_no_warnings() {
        let fields = [
            V,
            ("i", Value::Int(-2)),
            ("u", Value::Uint(3)),
            ("b", Value::Bool(false)),
            ("s", Value::Str("x y".into())),
        ];
        let line = r#"my.m,a=1,b\ c=é v=1.0,i=-2i,u=3u,b=false,s="x y""#;
        assert_eq!(metric("my.m", &[("b c", "é"), ("a", "1")], &fields), is(line, ""));
    }

    #[test]
    fn an_empty_measurement_gets_datakits_name() {
        assert_eq!(metric("", &[], &[V]), is("__default v=1.0", "invalid_measurement"));
        assert_eq!(metric("\n", &[], &[V]), is("__default v=1.0", "invalid_measurement"));
        assert_eq!(metric("\\", &[], &[V]), is("__default v=1.0", "invalid_measurement"));
    }

    #[test]
    fn a_measurement_never_starts_a_comment() {
        assert_eq!(metric("#top", &[], &[V]), is("_#top v=1.0", "invalid_measurement"));
        assert_eq!(metric("\n#top", &[], &[V]), is("_#top v=1.0", "invalid_measurement"));
        assert_eq!(metric(&"#".repeat(MAX_MEASUREMENT), &[], &[V]).0.len(), MAX_MEASUREMENT + " v=1.0".len());
    }

    #[test]
    fn control_characters_become_one_space() {
        let (line, kinds) = metric("a\r\nb\u{1b}\u{7f}c", &[("k\n", "\tx\0y\n")], &[("f\ng", Value::Float(1.0))]);
        assert_eq!(line, r"a\ b\ c,k=x\ y f\ g=1.0");
        assert_eq!(kinds, "found_new_line_or_tail_escape invalid_field_key invalid_measurement invalid_tag_key");
    }

    #[test]
    fn outer_spaces_without_control_characters_stay() {
        assert_eq!(metric(" m ", &[("a", " x ")], &[V]), is(r"\ m\ ,a=\ x\  v=1.0", ""));
    }

    #[test]
    fn final_backslashes_go() {
        assert_eq!(metric("m\\", &[("a\\", "C:\\\\")], &[("v\\", Value::Float(1.0))]).0, "m,a=C: v=1.0");
        assert_eq!(metric("m", &[("a", "C:\\\n")], &[V]).0, "m,a=C: v=1.0");
    }

    #[test]
    fn a_backslash_that_sinks_read_differently_becomes_a_slash() {
        assert_eq!(metric("m", &[("a", r"C:\Temp\x")], &[V]), is(r"m,a=C:\Temp\x v=1.0", ""));
        assert_eq!(metric("m", &[("a", r"\\srv\share")], &[V]), is(r"m,a=//srv\share v=1.0", "ambiguous_backslash"));
        assert_eq!(metric("m", &[("a", r"C:\ x")], &[V]), is(r"m,a=C:/\ x v=1.0", "ambiguous_backslash"));
        assert_eq!(metric(r"m\,n", &[(r"a\=b", r"x\,y")], &[V]), is(r"m/\,n,a/\=b=x/\,y v=1.0", "ambiguous_backslash"));
    }

    #[test]
    fn text_values_are_kept_as_they_are() {
        let text = Value::Str("a\\b\\\"\n\u{1b}[31m\\".into());
        assert_eq!(metric("m", &[], &[("s", text)]), is("m s=\"a\\\\b\\\\\\\"\n\u{1b}[31m\\\\\"", ""));
    }

    #[test]
    fn empty_tags_and_empty_keys_are_left_out() {
        assert_eq!(
            metric("m", &[("a", ""), ("b", "\n"), ("c", "x")], &[V]),
            is("m,c=x v=1.0", "empty_tag found_new_line_or_tail_escape")
        );
        assert_eq!(
            metric("m", &[("", "x")], &[V, ("", Value::Bool(true))]),
            is("m v=1.0", "field_disabled tag_disabled")
        );
        assert_eq!(metric("m", &[("v", "")], &[V]), is("m v=1.0", "empty_tag"));
    }

    #[test]
    fn reserved_keys_are_renamed() {
        let tags = [("time", "x"), ("_field", "y"), ("_measurement", "z")];
        let line = "m,_field_=y,_measurement_=z,time_=x v=1.0,_field=1.0";
        assert_eq!(metric("m", &tags, &[V, ("_field", Value::Float(1.0))]), is(line, "reserved_key"));
        assert_eq!(metric("m", &[], &[("time", Value::Float(1.0)), ("time\n", Value::Float(2.0))]).0, "m time_=1.0");
    }

    #[test]
    fn the_last_duplicate_wins_and_an_exact_key_wins_over_a_repaired_one() {
        let two = [("v", Value::Float(1.0)), ("w", Value::Float(2.0)), ("v", Value::Float(3.0))];
        assert_eq!(metric("m", &[("a", "1"), ("a", "2")], &two), is("m,a=2 v=3.0,w=2.0", "duplicate_key"));
        let dots = [("a_b", Value::Bool(true)), ("a.b", Value::Bool(false)), ("status", Value::Bool(true))];
        assert_eq!(made(Category::Logging, "m", &[], &dots).0, "m a_b=true,status=true");
        let dots = [("a.b", Value::Bool(false)), ("a_b", Value::Bool(true)), ("status", Value::Bool(true))];
        assert_eq!(made(Category::Logging, "m", &[], &dots).0, "m a_b=true,status=true");
    }

    #[test]
    fn duplicates_are_found_among_many_keys() {
        let keys: Vec<String> = (0..100).map(|n| format!("k{}", n % 60)).collect();
        let fields: Vec<(&str, Value)> =
            keys.iter().enumerate().map(|(n, key)| (key.as_str(), Value::Int(n as i64))).collect();
        let (line, kinds) = metric("m", &[], &fields);
        assert_eq!((line.matches('=').count(), kinds.as_str()), (60, "duplicate_key"));
        assert!(line.contains("k39=99i") && line.contains("k40=40i"), "{line}");
    }

    #[test]
    fn a_tag_wins_over_a_field() {
        assert_eq!(metric("m", &[("v", "x")], &[V, ("w", Value::Float(2.0))]), is("m,v=x w=2.0", "tag_and_field"));
        assert_eq!(
            metric("m", &[("v", "x")], &[V]).0,
            "fields: the point has no field with a value; it must have at least one"
        );
    }

    #[test]
    fn what_is_too_long_is_cut_at_a_character_border() {
        let long = "é".repeat(1000);
        let (line, kinds) = metric(
            &("x".to_owned() + &long),
            &[(&("k".to_owned() + &long), &("v".to_owned() + &long))],
            &[(&long, Value::Bool(true))],
        );
        let wanted = format!("x{},k{}=v{} {}=true", "é".repeat(511), "é".repeat(127), "é".repeat(511), "é".repeat(128));
        assert_eq!(line, wanted);
        assert_eq!(
            kinds,
            "exceed_max_field_key_len exceed_max_tag_key_len exceed_max_tag_value_len invalid_measurement"
        );
    }

    #[test]
    fn a_cut_never_ends_in_a_backslash() {
        let value = "x".repeat(MAX_TAG_VALUE - 1) + "\\yz";
        assert_eq!(metric("m", &[("a", &value)], &[V]).0, format!("m,a={} v=1.0", "x".repeat(MAX_TAG_VALUE - 1)));
    }

    #[test]
    fn a_long_text_is_cut() {
        let (line, kinds) = metric("m", &[], &[("s", Value::Str(("x".repeat(MAX_TEXT - 1) + "é").into()))]);
        assert_eq!((line.len(), kinds.as_str()), (MAX_TEXT - 1 + "m s=\"\"".len(), "exceed_max_field_value_len"));
    }

    #[test]
    fn the_first_fields_and_tags_survive_the_limit() {
        let keys: Vec<String> = (0..2000).rev().map(|n| format!("k{n:04}")).collect();
        let tags: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "x")).collect();
        let fields: Vec<(String, Value)> = keys.iter().map(|key| (format!("f{key}"), Value::Bool(true))).collect();
        let fields: Vec<(&str, Value)> = fields.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        let (line, kinds) = metric("m", &tags, &fields);
        assert_eq!(kinds, "exceed_max_fields exceed_max_tags");
        let (series, fields) = line.split_once(' ').unwrap();
        assert!(series.starts_with("m,k1744=x,k1745=x") && series.ends_with(",k1999=x"));
        assert!(fields.starts_with("fk1999=true,") && fields.ends_with(",fk0976=true"));
        let (line, _) = made(
            Category::Logging,
            "m",
            &[],
            &keys.iter().map(|key| (key.as_str(), Value::Bool(true))).collect::<Vec<_>>(),
        );
        assert!(line.ends_with(",k0977=true,status=\"info\""), "the required key has its place");
    }

    #[test]
    fn each_category_has_its_own_keys() {
        let tags = [("a.b", "1"), ("source", "2"), ("class", "3"), ("date", "4")];
        let fields = [("c.d", Value::Bool(true))];
        let kinds = "add_required_kv dot_in_key tag_disabled";
        assert_eq!(made(Category::Logging, "m", &tags, &fields), is("m,a_b=1,class=3 c_d=true,status=\"info\"", kinds));
        assert_eq!(
            made(Category::Object, "m", &tags, &fields),
            is("m,a_b=1,source=2 c_d=true,name=\"default\"", kinds)
        );
        for category in
            Category::ALL.into_iter().filter(|category| !matches!(category, Category::Logging | Category::Object))
        {
            assert_eq!(made(category, "m", &tags, &fields), is("m,a.b=1,class=3,date=4,source=2 c.d=true", ""));
        }
    }

    #[test]
    fn a_required_key_may_be_a_tag_or_a_field_of_any_type() {
        assert_eq!(made(Category::Object, "m", &[("name", "n")], &[V]), is("m,name=n v=1.0", ""));
        assert_eq!(made(Category::Logging, "m", &[], &[("status", Value::Int(1))]), is("m status=1i", ""));
        assert_eq!(made(Category::Logging, "m", &[], &[]), is("m status=\"info\"", "add_required_kv"));
    }

    #[test]
    fn a_point_that_cannot_be_stored_is_refused_with_the_reason() {
        assert_eq!(metric("m", &[], &[]).0, "fields: the point has no field with a value; it must have at least one");
        assert_eq!(
            metric("m", &[], &[V, ("x", Value::Float(f64::NAN))]).0,
            "fields.x: `fields.x` is NaN; it must be a finite number, or be left out"
        );
        assert!(metric("m", &[], &[("x", Value::Float(f64::NEG_INFINITY))]).0.contains("is -inf; "));
        for time in [i64::MAX, i64::MIN, i64::MIN + 1] {
            let unfit = Point::new(
                "m".into(),
                vec![],
                vec![("v".into(), V.1)],
                time,
                Category::Metric,
                &mut Warnings::default(),
            )
            .unwrap_err();
            assert_eq!(unfit.field, "time");
        }
    }

    #[test]
    fn a_series_key_that_no_sink_takes_is_refused() {
        let keys: Vec<String> = (0..100).map(|n| format!("k{n:03}")).collect();
        let series =
            |value: &str| metric("m", &keys.iter().map(|key| (key.as_str(), value)).collect::<Vec<_>>(), &[V]).0;
        // 1 + 100 * (6 + length) bytes.
        assert!(series(&"x".repeat(649)).starts_with("m,k000=xxx"));
        assert_eq!(series(&"x".repeat(650)), "tags: measurement and tags take 65601 bytes; they must fit into 65535");
        assert_eq!(series(&" ".repeat(325)), "tags: measurement and tags take 65601 bytes; they must fit into 65535");
    }

    #[test]
    fn a_global_tag_is_added_where_the_key_is_free() {
        let mut point = Point::new(
            "m".into(),
            vec![("b".into(), "x".into())],
            vec![("host".into(), V.1)],
            1,
            Category::Metric,
            &mut Warnings::default(),
        )
        .unwrap();
        assert!(point.tag("b").is_some() && point.field("host").is_some());
        assert!(point.tag("a").is_none() && point.field("a").is_none());
        assert!(!point.add_tag_if_absent("b", "y"));
        assert!(!point.add_tag_if_absent("host", "y"), "a field suppresses the tag too");
        assert!(!point.add_tag_if_absent("empty", "\n"));
        assert!(point.add_tag_if_absent("a", "C:\\\n"));
        assert!(point.add_tag_if_absent("c", "z"));
        let tags: Vec<(&str, &str)> = point.tags().iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect();
        assert_eq!(tags, [("a", "C:"), ("b", "x"), ("c", "z")]);
    }

    #[test]
    fn a_global_tag_never_breaks_a_limit() {
        let tags = (0..MAX_TAGS).map(|n| (format!("k{n}").into(), "x".into())).collect();
        let mut full =
            Point::new("m".into(), tags, vec![("v".into(), V.1)], 1, Category::Metric, &mut Warnings::default())
                .unwrap();
        assert!(!full.add_tag_if_absent("host", "h"));
        let tags = (0..65).map(|n| (format!("k{n}").into(), "x".repeat(1000).into())).collect();
        let mut long =
            Point::new("m".into(), tags, vec![("v".into(), V.1)], 1, Category::Metric, &mut Warnings::default())
                .unwrap();
        let host = "h".repeat(1000);
        assert!(!long.add_tag_if_absent("host", &host));
        assert_eq!(long.tag("host"), None);
    }

    #[test]
    fn a_replaced_field_stays_finite() {
        let mut point =
            Point::new("m".into(), vec![], vec![("v".into(), V.1)], 1, Category::Metric, &mut Warnings::default())
                .unwrap();
        assert!(!point.replace_field("v", Value::Float(f64::NAN)));
        assert!(!point.replace_field("w", Value::Bool(true)));
        assert!(point.replace_field("v", Value::Bool(true)));
        assert_eq!(point.field("v"), Some(&Value::Bool(true)));
    }

    #[test]
    fn warnings_count_and_keep_the_first_example() {
        let mut warnings = Warnings::default();
        assert!(warnings.is_empty());
        warnings.add("empty_tag", "tags.a", "first");
        warnings.add("empty_tag", "tags.a", "second");
        warnings.add("empty_tag", "tags.b", "of b");
        let mut other = Warnings::default();
        other.add("empty_tag", "tags.a", &"é".repeat(1000));
        other.add("dot_in_key", "tags.c.d", "third");
        other.count("add_required_kv", "nobody is told");
        other.merge(warnings);
        assert_eq!(other.kinds["empty_tag"].0, 4);
        let told: Vec<(&str, &str)> = other.repairs().iter().map(|told| (told.kind, told.key.as_str())).collect();
        assert_eq!(told, [("empty_tag", "tags.a"), ("dot_in_key", "tags.c.d"), ("empty_tag", "tags.b")]);
        assert_eq!(other.kinds["empty_tag"].1.len(), EXAMPLE_MAX);
        assert_eq!(other.kinds["dot_in_key"], (1, "third".to_owned()));
    }
}
