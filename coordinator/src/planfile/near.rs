//! Did you mean ...? Owns the measure of nearness between two names.

/// Longer names are not compared: their mistakes are not slips of the hand.
const MAX_NAME: usize = 64;

/// So many candidates are compared; bounds the time that a file of wrong names takes.
const MAX_CANDIDATES: usize = 1000;

/// The candidate that `found` was most likely meant to be.
pub(super) fn nearest<'c>(found: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if found.len() > MAX_NAME {
        return None;
    }
    let found = fold(found);
    let bound = (found.len() / 3).max(1);
    candidates
        .into_iter()
        .take(MAX_CANDIDATES)
        .filter(|candidate| candidate.len() <= MAX_NAME && !candidate.is_empty())
        .map(|candidate| (distance(&found, &fold(candidate)), candidate))
        .filter(|&(far, candidate)| far <= bound && far < candidate.chars().count())
        .min_by_key(|&(far, _)| far)
        .map(|(_, candidate)| candidate)
}

/// "; did you mean `x`?", or nothing.
pub(super) fn did_you_mean<'c>(found: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    nearest(found, candidates).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

fn fold(name: &str) -> Vec<char> {
    name.chars()
        .map(|c| match c {
            '-' | ' ' => '_',
            other => other.to_ascii_lowercase(),
        })
        .collect()
}

/// How many letters must be added, dropped, changed or swapped with their neighbour.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, r) in right.iter().enumerate() {
            let change = above[j] + usize::from(l != r);
            let mut best = change.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *l == right[j - 1] && left[i - 1] == *r {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[right.len()]
}
