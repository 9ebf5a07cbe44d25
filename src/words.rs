//! Words of a message that depend on a number.

/// `1 script`, `63 scripts`
pub fn count(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn one_thing_is_singular() {
        assert_eq!(
            [count(0_usize, "point"), count(1_u64, "point"), count(2_u32, "point")],
            ["0 points", "1 point", "2 points"]
        );
    }
}
