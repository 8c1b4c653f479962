//! What somebody may have meant by a name that does not exist.

/// `no backend cp1 ...; did you mean cp10 or cp11?`
pub(super) fn near<'a>(what: &str, wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    let mut close: Vec<(usize, &str)> = names
        .map(|name| {
            let distance =
                if name.starts_with(wanted) || name.contains(wanted) { 1 } else { distance(wanted, name) };
            (distance, name)
        })
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 4))
        .collect();
    close.sort_unstable();
    close.dedup();
    let close: Vec<_> = close.into_iter().take(3).map(|(_, name)| name).collect();
    if close.is_empty() {
        format!("there is no {what} `{wanted}`: `lbctl list` shows all")
    } else {
        format!("there is no {what} `{wanted}`: did you mean {}?", close.join(" or "))
    }
}

/// Letters to insert, remove or replace to make one of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_names_are_offered_and_far_ones_not() {
        let names = ["cp1001", "cp1002", "dns1"];
        let message = near("backend", "cp101", names.into_iter());
        assert_eq!(message, "there is no backend `cp101`: did you mean cp1001 or cp1002?");
        assert!(near("pool", "text", names.into_iter()).contains("`lbctl list`"));
        assert!(near("backend", "dns", names.into_iter()).ends_with("did you mean dns1?"));
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, expected) in
            [("", "", 0), ("a", "", 1), ("abc", "abc", 0), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
