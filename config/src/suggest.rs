//! "Did you mean ...?"

/// The candidate that `word` is most likely a slip of the pen for: at most a third of its letters are wrong.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    let length = word.chars().count();
    let ranked = candidates.into_iter().filter_map(|candidate| {
        let most = (candidate.len() / 3).max(1);
        // So many letters more or less are as many mistakes.
        let near = length.abs_diff(candidate.chars().count()) <= most;
        let distance = near.then(|| distance(&word, &candidate.replace('-', "_")))?;
        (distance <= most).then_some((distance, candidate))
    });
    ranked.min().map(|(_, candidate)| candidate)
}

/// How many characters have to be put in, left out, exchanged or swapped with their neighbour to get from one to the
/// other (the optimal string alignment distance).
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    // row[j]: the distance from the first i characters of `from` to the first j of `to`.
    let mut row: Vec<usize> = (0..=to.len()).collect();
    let mut row_before = row.clone();
    for (i, a) in from.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut best = (row[j] + usize::from(a != b)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(row_before[j - 1] + 1);
            }
            next.push(best);
        }
        row_before = std::mem::replace(&mut row, next);
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (from, to, expected) in
            [("", "", 0), ("", "abc", 3), ("scope", "scpoe", 1), ("ab", "ba", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(from, to), expected, "{from} -> {to}");
            assert_eq!(distance(to, from), expected, "{to} -> {from}");
        }
    }

    #[test]
    fn only_what_is_near() {
        let keys = ["endpoints", "username", "password_file"];
        assert_eq!(nearest("scpoe", ["node", "scope"]), Some("scope"));
        assert_eq!(nearest("endpoint", keys), Some("endpoints"));
        assert_eq!(nearest("User-Name", keys), Some("username"));
        assert_eq!(nearest("Password-File", keys), Some("password_file"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("x".repeat(10_000).as_str(), keys), None);
        assert_eq!(nearest("", keys), None);
    }
}
