//! Trees against a naive model: random trees, random results, some built on others.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};

use super::*;

/// Few paths that are each other's directories, so that everything clashes often.
const PATHS: [&str; 6] = ["a", "a/b", "a/b/c", "a-b", "d", "d/e"];

/// A tree from a choice for each path; a choice that would be below a file is left out.
fn tree_of(choices: &[u8]) -> Tree {
    let mut tree = Tree::default();
    for (path, choice) in PATHS.iter().zip(choices) {
        let node = match choice {
            0 | 1 => continue,
            2 => Node::Symlink { target: "elsewhere".to_owned() },
            other => Node::File { digest: Digest([*other; 32]), size: 1, executable: *other == 4 },
        };
        tree.entries.insert((*path).to_owned(), node);
        if tree.check_shape().is_err() {
            tree.entries.remove(*path);
        }
    }
    tree
}

fn any_tree() -> impl Strategy<Value = Tree> {
    vec(0..5_u8, PATHS.len()).prop_map(|choices| tree_of(&choices))
}

/// Results in order: what each leaves, and perhaps which earlier one it was built on.
fn any_parts(base: Tree) -> impl Strategy<Value = Vec<Part>> {
    vec((any_tree(), any::<Option<prop::sample::Index>>(), any::<[bool; 6]>()), 1..5).prop_map(move |made| {
        let mut ends: Vec<Tree> = Vec::new();
        let mut parts: Vec<Part> = Vec::new();
        for (other, before, is_touched) in made {
            let before = before.filter(|_| !parts.is_empty()).map(|index| index.index(parts.len()));
            let start = before.map_or_else(|| base.clone(), |at| ends[at].clone());
            let end = some_of(&start, &other, is_touched);
            let built_on = before.map(|at| parts[at].key.clone()).into_iter().collect();
            let changes = start.changes_to(&end);
            parts.push(Part { key: parts.len().to_string(), base: base.clone(), changes, built_on });
            ends.push(end);
        }
        parts
    })
}

/// The start with some paths as in the other, as far as that is a tree.
fn some_of(start: &Tree, other: &Tree, is_touched: [bool; 6]) -> Tree {
    let mut end = start.clone();
    for (path, _) in PATHS.iter().zip(is_touched).filter(|(_, is_touched)| *is_touched) {
        let kept = end.clone();
        match other.entries.get(*path) {
            Some(node) => drop(end.entries.insert((*path).to_owned(), node.clone())),
            None => drop(end.entries.remove(*path)),
        }
        if end.check_shape().is_err() {
            end = kept;
        }
    }
    end
}

/// Everything that each result was built on.
fn ancestors(parts: &[Part], at: usize) -> BTreeSet<usize> {
    let mut all = BTreeSet::new();
    let mut open = vec![at];
    while let Some(at) = open.pop() {
        for key in &parts[at].built_on {
            let before = parts.iter().position(|part| part.key == *key).unwrap();
            if all.insert(before) {
                open.push(before);
            }
        }
    }
    all
}

/// Whether two results exclude each other, path by path.
fn clash(one: &Part, other: &Part) -> bool {
    let is_below = |path: &str, folder: &str| path.starts_with(&format!("{folder}/"));
    one.changes.paths.iter().any(|(path, node)| {
        other.changes.paths.iter().any(|(other_path, other_node)| {
            let is_nested = is_below(path, other_path) || is_below(other_path, path);
            (path == other_path && node != other_node)
                || (is_nested && node.is_some() && other_node.is_some())
        })
    })
}

/// The keys of those that go back, by comparing every two.
fn naive_conflicts(parts: &[Part]) -> Vec<String> {
    let mut back: BTreeSet<usize> = BTreeSet::new();
    let mut named = Vec::new();
    let mut stays: Vec<usize> = Vec::new();
    for at in 0..parts.len() {
        let before = ancestors(parts, at);
        if !before.is_disjoint(&back) {
            continue;
        }
        if stays.iter().any(|other| !before.contains(other) && clash(&parts[*other], &parts[at])) {
            back.insert(at);
            named.push(parts[at].key.clone());
        } else {
            stays.push(at);
        }
    }
    named
}

fn with_parts() -> impl Strategy<Value = (Tree, Vec<Part>)> {
    any_tree().prop_flat_map(|base| any_parts(base.clone()).prop_map(move |parts| (base.clone(), parts)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn changes_lead_from_one_tree_to_the_other((from, to) in (any_tree(), any_tree())) {
        let changes = from.changes_to(&to);
        let changes = Changes::decode(&changes.encode()).unwrap();
        let mut there = Tree::decode(&from.encode()).unwrap();
        there.try_apply(&changes).unwrap();
        prop_assert_eq!(&there, &to);
        prop_assert!(there.changes_to(&to).is_empty());
    }

    #[test]
    fn integration_names_whom_the_naive_model_names_or_joins_all((base, parts) in with_parts()) {
        match integrate(&base, &parts) {
            Ok(joined) => {
                prop_assert_eq!(naive_conflicts(&parts), Vec::<String>::new());
                let mut expected = base;
                for part in &parts {
                    for (path, node) in &part.changes.paths {
                        expected.entries.remove(path);
                        expected.entries.extend(node.clone().map(|node| (path.clone(), node)));
                    }
                }
                prop_assert_eq!(Tree::decode(&joined.encode()), Ok(expected));
            }
            Err(IntegrateError::Conflicts(found)) => {
                let found: Vec<_> = found.into_iter().map(|conflict| conflict.key).collect();
                prop_assert_eq!(found, naive_conflicts(&parts));
            }
            Err(error @ IntegrateError::Tree(_)) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn results_built_on_nothing_join_the_same_in_every_order((base, mut parts) in with_parts()) {
        parts.retain(|part| part.built_on.is_empty());
        let forward = integrate(&base, &parts);
        parts.reverse();
        let backward = integrate(&base, &parts);
        prop_assert_eq!(forward.is_ok(), backward.is_ok());
        if let (Ok(forward), Ok(backward)) = (forward, backward) {
            prop_assert_eq!(forward, backward);
        }
    }

    #[test]
    fn no_bytes_make_the_decoders_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Tree::decode(&bytes);
        let _ = Changes::decode(&bytes);
    }
}
