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

/// More pairs than this are not looked for: nobody reads them.
const MOST_OVERLAPS: usize = 1000;
/// So many parts of paths and dependencies are looked at for one plan, and then no more: it is a matter of warnings,
/// and whoever drives the engine waits meanwhile. About 1,400 tasks that all declare the same file, one after the
/// other, are compared to the end.
const MOST_STEPS: usize = 5_000_000;

/// The search for pairs of tasks that may touch the same file, wave after wave of one plan. It ends after the first
/// thousand pairs and after five million steps.
#[derive(Debug)]
pub struct Search {
    pairs_left: usize,
    steps_left: usize,
}

impl Default for Search {
    fn default() -> Self {
        Self { pairs_left: MOST_OVERLAPS, steps_left: MOST_STEPS }
    }
}

impl Search {
    /// The pairs of tasks of a wave that may touch the same file, by what each declares, but for those of which one
    /// waits for the other. `edges`: by their places, a task and one that depends on it. Each pair once.
    pub fn overlaps(
        &mut self,
        declared: &[&[String]],
        edges: impl IntoIterator<Item = (usize, usize)>,
    ) -> Vec<Overlap> {
        let mut entries: Vec<Entry<'_>> = Vec::new();
        for (task, files) in declared.iter().enumerate() {
            entries.extend(files.iter().map(|file| Entry::new(task, file)));
        }
        entries.sort_by(|left, right| {
            (left.fixed(), left.task, left.file).cmp(&(right.fixed(), right.task, right.file))
        });
        let mut relatives = Relatives::new(declared.len(), edges);
        let mut found: BTreeMap<(usize, usize), (String, String)> = BTreeMap::new();
        for (at, entry) in entries.iter().enumerate() {
            // Only what begins alike can meet, and sorted it follows at once.
            let alike = |other: &&Entry<'_>| other.fixed().starts_with(entry.fixed());
            for other in entries[at + 1..].iter().take_while(alike) {
                let (low, high) = if entry.task < other.task { (entry, other) } else { (other, entry) };
                let pair = (low.task, high.task);
                if self.is_over() {
                    return listed(found);
                }
                self.walk(1 + entry.parts.len());
                if entry.task == other.task
                    || found.contains_key(&pair)
                    || !can_meet(&entry.parts, &other.parts)
                {
                    continue;
                }
                if !relatives.are(entry.task, other.task, self) && !self.is_over() {
                    found.insert(pair, (low.file.to_owned(), high.file.to_owned()));
                    self.pairs_left -= 1;
                }
            }
        }
        listed(found)
    }

    /// What a person is told of the pairs that are not named one by one.
    #[must_use]
    pub fn rest_in_words(&self, unnamed: usize) -> Option<String> {
        let pairs = "pairs of tasks that declare the same files";
        match (unnamed, self.is_over()) {
            (0, false) => None,
            (0, true) => Some(format!("there may be more {pairs}: the plan is too big to compare them all")),
            (more, false) => Some(format!("and {more} more {pairs}")),
            (more, true) => Some(format!("and at least {more} more {pairs}: not all were compared")),
        }
    }

    const fn is_over(&self) -> bool {
        self.steps_left == 0 || self.pairs_left == 0
    }

    const fn walk(&mut self, steps: usize) {
        self.steps_left = self.steps_left.saturating_sub(steps);
    }
}

/// One file of one task.
struct Entry<'f> {
    task: usize,
    file: &'f str,
    parts: Vec<&'f str>,
    /// How many parts come before the first with a wildcard.
    fixed: usize,
}

impl<'f> Entry<'f> {
    fn new(task: usize, file: &'f str) -> Self {
        let parts = parts(file);
        let fixed = parts.iter().take_while(|part| !part.contains(['*', '?', '['])).count();
        Self { task, file, parts, fixed }
    }

    fn fixed(&self) -> &[&'f str] {
        &self.parts[..self.fixed]
    }
}

/// What waits for what in a wave. The relatives of one task are known at a time: those of all would be as many as
/// the pairs of tasks.
struct Relatives {
    before: Vec<Vec<usize>>,
    after: Vec<Vec<usize>>,
    of: Option<usize>,
    marked: Vec<bool>,
}

impl Relatives {
    fn new(tasks: usize, edges: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let (mut before, mut after) = (vec![Vec::new(); tasks], vec![Vec::new(); tasks]);
        for (first, then) in edges.into_iter().filter(|(first, then)| *first.max(then) < tasks) {
            before[then].push(first);
            after[first].push(then);
        }
        Self { before, after, of: None, marked: Vec::new() }
    }

    /// Whether one of the two waits for the other. Without meaning once the search is over.
    fn are(&mut self, task: usize, other: usize, search: &mut Search) -> bool {
        if self.of != Some(task) {
            search.walk(self.before.len() / 64);
            self.of = Some(task);
            self.marked = vec![false; self.before.len()];
            mark(&self.before, task, &mut self.marked, search);
            mark(&self.after, task, &mut self.marked, search);
        }
        self.marked[other]
    }
}

fn mark(next: &[Vec<usize>], task: usize, marked: &mut [bool], search: &mut Search) {
    let mut open = vec![task];
    while let Some(task) = open.pop()
        && !search.is_over()
    {
        search.walk(next[task].len());
        open.extend(next[task].iter().copied().filter(|next| !std::mem::replace(&mut marked[*next], true)));
    }
}

fn listed(found: BTreeMap<(usize, usize), (String, String)>) -> Vec<Overlap> {
    found.into_iter().map(|(tasks, files)| Overlap { tasks, files }).collect()
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
        let pairs = |edges: &[(usize, usize)]| {
            let found = Search::default().overlaps(&declared, edges.iter().copied());
            found.into_iter().map(|it| it.tasks).collect::<Vec<_>>()
        };
        assert_eq!(pairs(&[]), [(0, 1), (1, 2)]);
        assert_eq!(pairs(&[(0, 1)]), [(1, 2)]);
        assert_eq!(pairs(&[(1, 0)]), [(1, 2)]);
        assert_eq!(pairs(&[(1, 3), (3, 2), (0, 3)]), [(0, 1)], "by way of one without files");
        let first = &Search::default().overlaps(&declared, [])[1];
        assert_eq!(first.files, ("src/**".to_owned(), "src/b.rs".to_owned()));
    }

    #[test]
    fn very_many_tasks_with_files_of_their_own_are_compared_at_once() {
        let declared: Vec<_> = (0..10_000).map(|at| vec![format!("src/{at}.rs")]).collect();
        let declared: Vec<&[String]> = declared.iter().map(Vec::as_slice).collect();
        let mut search = Search::default();
        assert_eq!(search.overlaps(&declared, []), []);
        assert_eq!(search.rest_in_words(0), None);
        let same: Vec<_> = declared.iter().map(|_| declared[0]).collect();
        assert_eq!(search.overlaps(&same, []).len(), MOST_OVERLAPS);
        assert_eq!(search.overlaps(&same, []), [], "in all waves of a plan together");
    }

    #[test]
    fn a_chain_of_tasks_on_one_file_is_compared_in_steps_that_are_counted() {
        let file = ["src/a.rs".to_owned()];
        let chain = |tasks: usize| (vec![&file[..]; tasks], (1..tasks).map(|at| (at - 1, at)));
        let mut search = Search::default();
        let (declared, edges) = chain(1_000);
        assert_eq!(search.overlaps(&declared, edges), []);
        let used = MOST_STEPS - search.steps_left;
        assert!((500_000..3_000_000).contains(&used), "quadratic, as the pairs are: {used}");
        assert_eq!(search.rest_in_words(0), None, "all were compared");
        let (declared, edges) = chain(100_000);
        assert_eq!(search.overlaps(&declared, edges), []);
        assert_eq!(search.steps_left, 0);
        assert!(search.rest_in_words(0).is_some_and(|words| words.contains("too big to compare")));
        assert!(search.rest_in_words(3).is_some_and(|words| words.starts_with("and at least 3 more")));
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
