//! "Did you mean": the names nearest to a mistyped one, by edit distance.

/// The optimal string alignment distance (insert, delete, replace, swap of neighbours) or `None` when it exceeds `limit`.
fn distance(a: &[u8], b: &[u8], limit: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let width = b.len() + 1;
    let mut before = vec![0; width];
    let mut last: Vec<usize> = (0..width).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![0; width];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j + 1] + 1).min(row[j] + 1).min(last[j] + usize::from(x != y));
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row[j + 1] = best;
        }
        if row.iter().all(|value| *value > limit) {
            return None;
        }
        before = std::mem::replace(&mut last, row);
    }
    Some(last[b.len()]).filter(|value| *value <= limit)
}

/// Up to `count` of `candidates` that are near to `name`, best first. Near means that about a third of the name may differ;
/// a candidate that starts with the whole name counts as near too.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>, count: usize) -> Vec<String> {
    let limit = (name.len() / 3).clamp(1, 4);
    let mut found: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter_map(|candidate| {
            let near = distance(name.as_bytes(), candidate.as_bytes(), limit);
            let extended = name.len() >= 3 && candidate.starts_with(name);
            near.or_else(|| extended.then_some(limit + 1)).map(|value| (value, candidate))
        })
        .collect();
    found.sort_unstable_by(|x, y| (x.0, x.1.len(), x.1).cmp(&(y.0, y.1.len(), y.1)));
    found.dedup();
    found.into_iter().take(count).map(|(_, candidate)| candidate.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_obvious_and_nothing_else() {
        let names = ["nginx", "nginx-full", "openssh-server", "vim", "vi"];
        assert_eq!(nearest("ngnix", names, 3), ["nginx"]);
        assert_eq!(nearest("openssh-sever", names, 3), ["openssh-server"]);
        assert_eq!(nearest("nginx", names, 3), ["nginx", "nginx-full"]);
        assert!(nearest("postgresql", names, 3).is_empty());
    }

    #[test]
    fn distance_counts_a_swap_once() {
        assert_eq!(distance(b"ab", b"ba", 3), Some(1));
        assert_eq!(distance(b"", b"abc", 3), Some(3));
        assert_eq!(distance(b"abcdef", b"uvwxyz", 3), None);
    }
}
