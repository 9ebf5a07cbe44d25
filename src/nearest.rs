//! The known word that a misspelt one stands for.

/// The known word that was probably meant.
pub fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let given = given.to_lowercase();
    let close = |word: &&str| {
        let tolerance = (word.chars().count() / 3).max(1);
        let distance = distance(&given, word);
        (distance <= tolerance).then_some(distance)
    };
    let similar = known.iter().filter_map(|word| Some((close(word)?, *word))).min().map(|(_, word)| word);
    // `listen_socket` is DataKit's word for what is `socket` here.
    let longer = || known.iter().copied().find(|word| given.strip_suffix(word).is_some_and(|rest| rest.ends_with('_')));
    similar.or_else(longer)
}

/// Insertions, deletions, replacements and swaps of neighbours that make `a` of `b` (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_the_one_that_was_meant() {
        let known = ["name", "cmd", "dirs", "envs", "run_timeout"];
        assert_eq!(nearest("dris", &known), Some("dirs"));
        assert_eq!(nearest("Name", &known), Some("name"));
        assert_eq!(nearest("timeout", &known), None);
        assert_eq!(nearest("my_cmd", &known), Some("cmd"));
        assert_eq!(nearest("run-timeout", &known), Some("run_timeout"));
        assert_eq!(nearest("zzzz", &known), None);
    }

    #[test]
    fn the_distance_counts_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("acb", "abc"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
