//! Puts the results of a wave together. Two results that change the same path differently conflict,
//! unless one was built on the other; so do a file and a directory of the same name, and a change of
//! a path that the target has changed since the result's own start. The later task goes back.

use std::collections::{BTreeMap, BTreeSet};

use super::{Changes, Node, Tree, TreeError, wire::parents};

/// One task's result.
#[derive(Debug, Clone)]
pub struct Part {
    pub key: String,
    /// The tree that it started from, without what it was built on.
    pub base: Tree,
    pub changes: Changes,
    /// Keys of the results that it was built on; what those were built on counts too.
    pub built_on: BTreeSet<String>,
}

/// Why a task must go back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    pub key: String,
    /// What the task changed.
    pub path: String,
    pub clash: Clash,
    /// The task that it clashes with; None: the target, which another wave has changed.
    pub other: Option<String>,
}

/// How two changes exclude each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clash {
    /// Both changed the path, differently.
    Content,
    /// One needs a directory where the other has this file or symbolic link.
    Shape { other_path: String },
}

/// Why there is no candidate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntegrateError {
    /// At least one, each task named once.
    #[error("{} results conflict", .0.len())]
    Conflicts(Vec<Conflict>),
    /// Results that do not fit the trees that they say they started from.
    #[error("the results do not make a tree: {0}")]
    Tree(#[from] TreeError),
}

/// The target with all results in this order, or every conflict.
pub fn integrate(target: &Tree, parts: &[Part]) -> Result<Tree, IntegrateError> {
    let mut joined = Joined { tree: target.clone(), writers: BTreeMap::new() };
    let mut built_on: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut conflicts: Vec<Conflict> = Vec::new();
    for part in parts {
        let below = with_their_own(&part.built_on, &built_on);
        // What was built on a result that goes back goes back with it.
        let goes_back_anyway = conflicts.iter().any(|conflict| below.contains(conflict.key.as_str()));
        if !goes_back_anyway {
            match (Candidate { joined: &joined, target, part, built_on: &below }).conflict() {
                Some(conflict) => conflicts.push(conflict),
                None => joined.add(part),
            }
        }
        built_on.insert(&part.key, below);
    }
    if !conflicts.is_empty() {
        return Err(IntegrateError::Conflicts(conflicts));
    }
    joined.tree.check_shape()?;
    Ok(joined.tree)
}

/// These results and all that they were built on themselves.
fn with_their_own<'a>(
    keys: &'a BTreeSet<String>,
    known: &BTreeMap<&'a str, BTreeSet<&'a str>>,
) -> BTreeSet<&'a str> {
    let own = keys.iter().filter_map(|key| known.get(key.as_str())).flatten().copied();
    keys.iter().map(String::as_str).chain(own).collect()
}

/// What is put together so far.
struct Joined<'a> {
    tree: Tree,
    /// For each path, every result that set or deleted it, and how.
    writers: BTreeMap<&'a str, Vec<(&'a str, Option<&'a Node>)>>,
}

impl<'a> Joined<'a> {
    fn add(&mut self, part: &'a Part) {
        for (path, node) in &part.changes.paths {
            match node {
                Some(node) => drop(self.tree.entries.insert(path.clone(), node.clone())),
                None => drop(self.tree.entries.remove(path)),
            }
            self.writers.entry(path).or_default().push((&part.key, node.as_ref()));
        }
    }
}

/// A result that may be added.
struct Candidate<'j, 'a> {
    joined: &'j Joined<'a>,
    target: &'j Tree,
    part: &'j Part,
    built_on: &'j BTreeSet<&'a str>,
}

impl Candidate<'_, '_> {
    fn conflict(&self) -> Option<Conflict> {
        let found = self.part.changes.paths.iter().find_map(|(path, node)| {
            let (clash, other) = self.clash_of_content(path, node.as_ref()).or_else(|| {
                // What deletes a path is in nobody's way.
                node.as_ref().and_then(|_| self.clash_of_shape(path))
            })?;
            Some((path.clone(), clash, other))
        });
        let (path, clash, other) = found?;
        Some(Conflict { key: self.part.key.clone(), path, clash, other })
    }

    fn clash_of_content(&self, path: &str, node: Option<&Node>) -> Option<(Clash, Option<String>)> {
        let writers = self.joined.writers.get(path).map(Vec::as_slice).unwrap_or_default();
        let other = writers.iter().find(|(key, other)| *other != node && !self.built_on.contains(key));
        if let Some((key, _)) = other {
            return Some((Clash::Content, Some((*key).to_owned())));
        }
        let theirs = self.target.entries.get(path);
        let is_moved = theirs != self.part.base.entries.get(path) && theirs != node;
        (is_moved && writers.is_empty()).then_some((Clash::Content, None))
    }

    /// A file where a directory is, or the other way round, and this result does not remove it.
    fn clash_of_shape(&self, path: &str) -> Option<(Clash, Option<String>)> {
        let with = |other_path: &str, other: Option<String>| {
            Some((Clash::Shape { other_path: other_path.to_owned() }, other))
        };
        let inside = below(path, &self.joined.writers).map(|(other, _)| *other);
        for other_path in parents(path).chain(inside) {
            if let Some(key) = self.other_that_set(other_path) {
                return with(other_path, Some(key));
            }
        }
        let inside = below(path, &self.joined.tree.entries).map(|(other, _)| other.as_str());
        let is_kept = |other: &&str| {
            self.joined.tree.entries.contains_key(*other) && !self.part.changes.paths.contains_key(*other)
        };
        with(parents(path).chain(inside).find(is_kept)?, None)
    }

    /// A result that this one was not built on and that set the path.
    fn other_that_set(&self, path: &str) -> Option<String> {
        let writers = self.joined.writers.get(path)?;
        let other = writers.iter().find(|(key, node)| node.is_some() && !self.built_on.contains(key));
        other.map(|(key, _)| (*key).to_owned())
    }
}

/// The entries of a directory, however deep.
fn below<'m, K: Ord + std::borrow::Borrow<str>, V>(
    path: &str,
    entries: &'m BTreeMap<K, V>,
) -> impl Iterator<Item = (&'m K, &'m V)> {
    let folder = format!("{path}/");
    entries
        .range::<str, _>((std::ops::Bound::Included(folder.as_str()), std::ops::Bound::Unbounded))
        .take_while(move |(other, _)| (*other).borrow().starts_with(&folder))
        .collect::<Vec<_>>()
        .into_iter()
}
