//! Plain tables: columns as wide as their widest cell, two spaces between.

/// Lays the rows out; the first row is the header. The last column is not padded.
pub(super) fn layout(rows: &[Vec<String>], indent: &str) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::from(indent);
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// `950 ms`, `12 s`, `3 min`, `2 h 11 min`, `4 d`.
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0 => "under 1 s".to_owned(),
        1..120 => format!("{whole} s"),
        120..3600 => format!("{} min", whole / 60),
        3600..172_800 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d", whole / 86_400),
    }
}

/// `3 s ago`, or `now`.
pub(super) fn ago(seconds: f64) -> String {
    if seconds < 0.5 { "now".to_owned() } else { format!("{} ago", span(seconds)) }
}

/// `0 B`, `1.2 MiB`.
pub(super) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 || unit == "GiB" {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    unreachable!("the last unit takes everything")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_tail() {
        let rows = [["NAME", "STATE"], ["a", "ok"], ["longer.name", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(layout(&rows, "  "), "  NAME         STATE\n  a            ok\n  longer.name\n");
    }

    #[test]
    fn spans_and_sizes_read_well() {
        for (seconds, text) in [
            (0.2, "under 1 s"),
            (1.4, "1 s"),
            (119.0, "119 s"),
            (180.0, "3 min"),
            (7860.0, "2 h 11 min"),
            (200_000.0, "2 d"),
        ] {
            assert_eq!(span(seconds), text);
        }
        assert_eq!((ago(0.2).as_str(), ago(3.0).as_str()), ("now", "3 s ago"));
        for (count, text) in [(0, "0 B"), (1023, "1023 B"), (1_258_291, "1.2 MiB"), (5 << 40, "5120.0 GiB")] {
            assert_eq!(bytes(count), text);
        }
    }
}
