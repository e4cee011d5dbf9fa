//! Whether two tasks that say which files they touch may touch the same one. Owns the comparison of
//! declared paths; that they are safe is the plan-file reader's. A declaration is a wish, never a proof: what
//! tasks really change is compared when their results are put together.

use std::collections::BTreeMap;

/// The first declarations of each side that may name the same file: equal paths, a folder and what is in it,
/// or wildcards (`*`, `?`, `[..]` within a part, `**` for any parts) that could meet. None where none can.
#[must_use]
pub fn overlap<'a>(left: &'a [String], right: &'a [String]) -> Option<(&'a str, &'a str)> {
    let pairs = left.iter().flat_map(|left| right.iter().map(move |right| (left.as_str(), right.as_str())));
    pairs.into_iter().find(|(left, right)| can_meet(&parts(left), &parts(right)))
}

/// Two tasks of a wave that may touch the same file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// Places in the list that was asked about, the lower one first.
    pub tasks: (usize, usize),
    /// What each of them declares.
    pub files: (String, String),
}

impl Overlap {
    /// What a person is told; the tasks by their keys.
    #[must_use]
    pub fn words(&self, left: &str, right: &str) -> String {
        let (ours, theirs) = &self.files;
        let what = if ours == theirs { ours.clone() } else { format!("{ours} and {theirs}") };
        format!(
            "{left} and {right} may touch the same files ({what}): standard does not run them at the same time, max \
             does, and what conflicts is done again; a `depends_on` between them orders them"
        )
    }
}

/// More than this is not looked for: nobody reads it.
const MOST_OVERLAPS: usize = 1000;

/// The pairs of tasks that may touch the same file, by what each declares, where `ordered` does not say that they
/// never run together. Each pair once; of very many only the first thousand.
pub fn overlaps(declared: &[&[String]], ordered: impl Fn(usize, usize) -> bool) -> Vec<Overlap> {
    let mut entries: Vec<(Vec<&str>, usize, &str)> = Vec::new();
    for (task, files) in declared.iter().enumerate() {
        entries.extend(files.iter().map(|file| (fixed_parts(file), task, file.as_str())));
    }
    entries.sort();
    let mut found: BTreeMap<(usize, usize), (String, String)> = BTreeMap::new();
    for (at, (fixed, task, file)) in entries.iter().enumerate() {
        // Only what begins alike can meet, and sorted it follows at once.
        for (_, other, path) in entries[at + 1..].iter().take_while(|(other, ..)| other.starts_with(fixed)) {
            let (low, high) =
                if task < other { ((*task, file), (*other, path)) } else { ((*other, path), (*task, file)) };
            let pair = (low.0, high.0);
            if task == other || found.contains_key(&pair) || ordered(pair.0, pair.1) {
                continue;
            }
            if can_meet(&parts(file), &parts(path)) {
                found.insert(pair, ((*low.1).to_owned(), (*high.1).to_owned()));
                if found.len() >= MOST_OVERLAPS {
                    return listed(found);
                }
            }
        }
    }
    listed(found)
}

fn listed(found: BTreeMap<(usize, usize), (String, String)>) -> Vec<Overlap> {
    found.into_iter().map(|(tasks, files)| Overlap { tasks, files }).collect()
}

/// The parts before the first with a wildcard.
fn fixed_parts(path: &str) -> Vec<&str> {
    parts(path).into_iter().take_while(|part| !part.contains(['*', '?', '['])).collect()
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").collect()
}

/// Whether one path could match both, or lie in the other. In doubt it could.
fn can_meet(left: &[&str], right: &[&str]) -> bool {
    let mut pairs = left.iter().zip(right);
    let clash = pairs.find(|(left, right)| **left == "**" || **right == "**" || !same(left, right));
    // Where all common parts agree, one is the other or a folder of it.
    clash.is_none_or(|(left, right)| *left == "**" || *right == "**")
}

fn same(left: &str, right: &str) -> bool {
    let is_pattern = |part: &str| part.contains(['*', '?', '[']);
    match (is_pattern(left), is_pattern(right)) {
        (false, false) => left == right,
        (true, true) => fixed_ends_agree(left, right),
        (true, false) => fits(left, right),
        (false, true) => fits(right, left),
    }
}

/// What is fixed at the beginning and the end of both patterns does not contradict.
fn fixed_ends_agree(left: &str, right: &str) -> bool {
    let head = |part: &'_ str| part.split(['*', '?', '[']).next().unwrap_or_default().to_owned();
    let tail = |part: &'_ str| part.rsplit(['*', '?', ']']).next().unwrap_or_default().to_owned();
    let (heads, tails) = ((head(left), head(right)), (tail(left), tail(right)));
    (heads.0.starts_with(&heads.1) || heads.1.starts_with(&heads.0))
        && (tails.0.ends_with(&tails.1) || tails.1.ends_with(&tails.0))
}

/// Whether the pattern's fixed beginning and end are the name's.
fn fits(pattern: &str, name: &str) -> bool {
    let head = pattern.split(['*', '?', '[']).next().unwrap_or_default();
    let tail = pattern.rsplit(['*', '?', ']']).next().unwrap_or_default();
    name.starts_with(head) && name.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meet(left: &str, right: &str) -> bool {
        let found = overlap(&[left.to_owned()], &[right.to_owned()]).is_some();
        let back = overlap(&[right.to_owned()], &[left.to_owned()]).is_some();
        assert_eq!(found, back, "{left} {right}");
        found
    }

    #[test]
    fn equal_paths_folders_and_wildcards_that_could_meet_overlap() {
        for (left, right) in [
            ("src/a.rs", "src/a.rs"),
            ("./src/a.rs", "src/a.rs"),
            ("src", "src/a.rs"),
            ("src/", "src/deep/a.rs"),
            ("src/*.rs", "src/a.rs"),
            ("src/*.rs", "src/a*"),
            ("src/**", "src/deep/er/a.rs"),
            ("**/a.rs", "src/a.rs"),
            ("src/[ab].rs", "src/?.rs"),
            (".", "any"),
        ] {
            assert!(meet(left, right), "{left} {right}");
        }
    }

    #[test]
    fn pairs_are_found_once_and_not_where_one_waits_for_the_other() {
        let declared = [
            vec!["src/a.rs".to_owned(), "docs".to_owned()],
            vec!["src/**".to_owned(), "docs/x.md".to_owned()],
            vec!["src/b.rs".to_owned()],
            vec![],
        ];
        let declared: Vec<&[String]> = declared.iter().map(Vec::as_slice).collect();
        let pairs = |ordered: fn(usize, usize) -> bool| {
            overlaps(&declared, ordered).into_iter().map(|it| it.tasks).collect::<Vec<_>>()
        };
        assert_eq!(pairs(|_, _| false), [(0, 1), (1, 2)]);
        assert_eq!(pairs(|left, _| left == 0), [(1, 2)]);
        let first = &overlaps(&declared, |_, _| false)[1];
        assert_eq!(first.files, ("src/**".to_owned(), "src/b.rs".to_owned()));
    }

    #[test]
    fn very_many_tasks_with_files_of_their_own_are_compared_at_once() {
        let declared: Vec<_> = (0..10_000).map(|at| vec![format!("src/{at}.rs")]).collect();
        let declared: Vec<&[String]> = declared.iter().map(Vec::as_slice).collect();
        assert_eq!(overlaps(&declared, |_, _| false), []);
        let same: Vec<_> = declared.iter().map(|_| declared[0]).collect();
        assert_eq!(overlaps(&same, |_, _| false).len(), MOST_OVERLAPS);
    }

    #[test]
    fn paths_that_cannot_be_the_same_file_do_not_overlap() {
        for (left, right) in [
            ("src/a.rs", "src/b.rs"),
            ("src/a", "src/ab"),
            ("src/*.rs", "src/a.md"),
            ("src/*.rs", "docs/*.rs"),
            ("src/a*", "src/b*"),
            ("docs/**", "src/**"),
        ] {
            assert!(!meet(left, right), "{left} {right}");
        }
        assert_eq!(overlap(&[], &["a".to_owned()]), None);
    }
}
