//! Puts the results of a wave together. A path that two of them change differently is a conflict,
//! unless the later one was built on the earlier; so is a path that the target has changed since the
//! result's own start.

use std::collections::{BTreeMap, BTreeSet};

use super::{Changes, Tree, wire::parents};

/// One task's result.
#[derive(Debug, Clone)]
pub struct Part {
    pub key: String,
    /// The tree that it started from, without what it was built on.
    pub base: Tree,
    pub changes: Changes,
    /// Keys of the results that it was built on, directly or not.
    pub built_on: BTreeSet<String>,
}

/// Why a task must go back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    pub key: String,
    pub path: String,
    /// The task that changed the path before; None: the target did, by another wave.
    pub other: Option<String>,
}

/// The target with all results in this order, or every conflict, each named once for its task.
pub fn integrate(target: &Tree, parts: &[Part]) -> Result<Tree, Vec<Conflict>> {
    let mut joined = Joined { tree: target.clone(), writers: BTreeMap::new() };
    let mut conflicts: Vec<Conflict> = Vec::new();
    for part in parts {
        // What was built on a result that goes back goes back with it.
        if conflicts.iter().any(|conflict| part.built_on.contains(&conflict.key)) {
            continue;
        }
        match joined.conflict(target, part) {
            Some((path, other)) => conflicts.push(Conflict { key: part.key.clone(), path, other }),
            None => joined.add(part),
        }
    }
    if conflicts.is_empty() { Ok(joined.tree) } else { Err(conflicts) }
}

struct Joined<'a> {
    tree: Tree,
    /// Which result wrote or deleted a path last.
    writers: BTreeMap<&'a str, &'a str>,
}

impl<'a> Joined<'a> {
    fn add(&mut self, part: &'a Part) {
        self.tree.apply(&part.changes);
        for path in part.changes.paths.keys() {
            self.writers.insert(path, &part.key);
        }
    }

    fn conflict(&self, target: &Tree, part: &Part) -> Option<(String, Option<String>)> {
        part.changes.paths.iter().find_map(|(path, node)| {
            if self.tree.entries.get(path) == node.as_ref() {
                return None;
            }
            let clash = self.path_clash(target, part, path);
            clash.or_else(|| node.as_ref().and_then(|_| self.shape_clash(part, path)))
        })
    }

    /// Somebody else changed the same path.
    fn path_clash(&self, target: &Tree, part: &Part, path: &str) -> Option<(String, Option<String>)> {
        match self.writers.get(path) {
            Some(writer) if part.built_on.contains(*writer) => None,
            Some(writer) => Some((path.to_owned(), Some((*writer).to_owned()))),
            None if target.entries.get(path) != part.base.entries.get(path) => Some((path.to_owned(), None)),
            None => None,
        }
    }

    /// A file where a directory is, or the other way round, and this result does not remove it.
    fn shape_clash(&self, part: &Part, path: &str) -> Option<(String, Option<String>)> {
        let stays = |other: &&str| {
            self.tree.entries.contains_key(*other) && part.changes.paths.get(*other) != Some(&None)
        };
        let below = format!("{path}/");
        let inside = self
            .tree
            .entries
            .range(below.clone()..)
            .map(|(other, _)| other.as_str())
            .take_while(|other| other.starts_with(&below))
            .find(stays);
        let other = parents(path).find(stays).or(inside)?;
        Some((other.to_owned(), self.writers.get(other).map(|writer| (*writer).to_owned())))
    }
}
