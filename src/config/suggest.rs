//! "Did you mean": the nearest of a set of words.

/// Returns the word nearest to `text`, if one is near enough to be a slip: at most a third of its
/// letters differ, two in a short word (two letters in the wrong order count as two).
pub fn nearest<'w>(text: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    words
        .map(|word| (distance(text, word), word))
        .filter(|(distance, word)| *distance <= word.chars().count().max(6) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Levenshtein's distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substitution = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_finds_none() {
        let words = ["listeners", "routes", "store"];
        assert_eq!(nearest("listners", words.into_iter()), Some("listeners"));
        assert_eq!(nearest("banana", words.into_iter()), None);
    }
}
