//! Which names a mistyped one may have meant. Pure.

/// The names nearest to `given`, best first, three at most; empty if none is near.
pub(crate) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    const SHOWN: usize = 3;
    let given = given.to_lowercase();
    let allowed = (given.chars().count() / 3).max(1);
    let mut found: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|name| {
            let lower = name.to_lowercase();
            let part = given.len() >= 3 && (lower.contains(&given) || given.contains(&lower));
            let apart = if part && !lower.is_empty() { 1 } else { distance(&given, &lower) };
            (apart <= allowed).then_some((apart, name))
        })
        .collect();
    found.sort();
    found.dedup();
    found.into_iter().take(SHOWN).map(|(_, name)| name).collect()
}

/// "did you mean a, b or c?", or nothing without names.
pub(crate) fn question(names: &[&str]) -> Option<String> {
    let (last, rest) = names.split_last()?;
    Some(if rest.is_empty() {
        format!("did you mean {last}?")
    } else {
        format!("did you mean {} or {last}?", rest.join(", "))
    })
}

/// Edits (insert, delete, replace, swap neighbours) between two texts: optimal string alignment, three rows of memory.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, n) in
            [("", "", 0), ("abc", "", 3), ("disk", "disk", 0), ("dsik", "disk", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), n, "{a} {b}");
            assert_eq!(distance(b, a), n, "{b} {a}");
        }
    }

    #[test]
    fn near_names_only() {
        let known = ["disk.qcow2", "commit.tar", "debian/13/amd64/minimal"];
        assert_eq!(nearest("disk.qcow", known), ["disk.qcow2"]);
        assert_eq!(nearest("minimal", known), ["debian/13/amd64/minimal"]);
        assert!(nearest("zebra", known).is_empty());
        assert!(nearest("", known).is_empty());
        assert_eq!(question(&["a", "b", "c"]).unwrap(), "did you mean a, b or c?");
        assert_eq!(question(&["a"]).unwrap(), "did you mean a?");
        assert_eq!(question(&[]), None);
    }
}
