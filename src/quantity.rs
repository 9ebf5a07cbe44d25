//! Values with units: durations (`10`, `"10s"`, `"1m30s"`) and sizes (`"128MiB"`).

use std::time::Duration;

/// What a duration looks like, for messages.
pub const A_DURATION: &str = "a duration such as \"10s\", \"1m30s\", \"500ms\" or a number of seconds";
/// What a size looks like, for messages.
pub const A_SIZE: &str = "a size such as \"128MiB\", \"64MB\" or a number of bytes";

const DURATION_UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// `k` and `KB` are decimal, `KiB` is binary, as the standards say; case does not matter.
const SIZE_UNITS: [(&str, u64); 14] = [
    ("", 1),
    ("b", 1),
    ("k", 1_000),
    ("kb", 1_000),
    ("m", 1_000_000),
    ("mb", 1_000_000),
    ("g", 1_000_000_000),
    ("gb", 1_000_000_000),
    ("t", 1_000_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Reads `10s`, `1m30s`, `1.5h`, or a bare number of seconds; `None` when it is none of these or too large.
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let end = after.find(|c: char| c.is_ascii_digit() || c.is_whitespace()).unwrap_or(after.len());
        let nanos = DURATION_UNITS.iter().find(|(unit, _)| *unit == &after[..end])?.1;
        total = total.checked_add(times(number, nanos)?)?;
        rest = after[end..].trim_start();
    }
    (!text.is_empty()).then(|| Duration::from_nanos(total))
}

/// Reads `128MiB`, `64MB`, `10k`, `1.5 GiB` or a bare number of bytes; `None` when it is none of these or too large.
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text.trim())?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let bytes = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?.1;
    times(number, bytes)
}

/// Writes a duration as the settings would: `1m30s`.
pub fn show_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, nanos) in DURATION_UNITS.iter().rev() {
        if rest >= *nanos {
            text += &format!("{}{unit}", rest / nanos);
            rest %= nanos;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Writes a size as the settings would: in the largest binary unit that divides it.
pub fn show_size(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.iter().find(|(_, shift)| bytes >= 1 << shift && bytes.is_multiple_of(1 << shift)) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// Splits `1.5GiB` into `1.5` and `GiB`; the number is digits with at most one dot between them.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let well_formed = number.starts_with(|c: char| c.is_ascii_digit())
        && number.ends_with(|c: char| c.is_ascii_digit())
        && number.matches('.').count() <= 1;
    well_formed.then_some((number, rest))
}

/// Multiplies in integers, so that no size is off by a rounding; digits below one unit are cut.
fn times(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let fraction = &fraction[..fraction.len().min(9)];
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let parts = fraction.parse::<u128>().unwrap_or(0) * u128::from(unit) / scale;
    whole.checked_add(u64::try_from(parts).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_that_add_up() {
        let ms = |text| duration(text).map(|duration| duration.as_millis());
        assert_eq!(ms("10"), Some(10_000));
        assert_eq!(ms("10s"), Some(10_000));
        assert_eq!(ms("1m30s"), Some(90_000));
        assert_eq!(ms("1m 30s"), Some(90_000));
        assert_eq!(ms("500ms"), Some(500));
        assert_eq!(ms("1.5s"), Some(1_500));
        assert_eq!(ms("2d"), Some(172_800_000));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in
            ["", " ", "s", "10x", "ten", "-1s", "1.s", "1..5s", "10s5", "1e3", "99999999999999999999", "600000d"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_decimal_or_binary_as_written() {
        assert_eq!(size("0"), Some(0));
        assert_eq!(size("128MiB"), Some(128 << 20));
        assert_eq!(size("128 mib"), Some(128 << 20));
        assert_eq!(size("64MB"), Some(64_000_000));
        assert_eq!(size("10k"), Some(10_000));
        assert_eq!(size("1.5GiB"), Some(3 << 29));
        assert_eq!(size("0.1kb"), Some(100));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "lots", "-1", "1.5.5M", "MiB", "1PiBs", "99999999TiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn shown_quantities_read_back() {
        for bytes in [0, 1, 1023, 1 << 20, 2 << 30, 64 << 20, 1_000_000] {
            assert_eq!(size(&show_size(bytes)), Some(bytes));
        }
        for millis in [0, 20, 500, 1_500, 90_000, 86_400_000] {
            let time = Duration::from_millis(millis);
            assert_eq!(duration(&show_duration(time)), Some(time), "{}", show_duration(time));
        }
    }
}
