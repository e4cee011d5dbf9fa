//! Directory trees by digest: what a workspace starts as, what a task changed, and what the results
//! of a wave make together.
//!
//! Owns the types and their pure operations; `disk` reads and writes directories, `integrate` joins
//! results, `wire` reads and writes the encoding. Runs nothing and fetches nothing.

mod disk;
mod integrate;
mod wire;

use std::collections::BTreeMap;

pub use disk::{DiskError, Snapshot, diff, materialise, snapshot, write_over};
pub use integrate::{Clash, Conflict, IntegrateError, Part, integrate};
pub use wire::TreeError;

use crate::digest::Digest;

/// The files of a directory, by path with '/' between parts. Empty directories are not kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    pub entries: BTreeMap<String, Node>,
}

/// One file or symbolic link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    File { digest: Digest, size: u64, executable: bool },
    Symlink { target: String },
}

/// What was done to a tree: paths set (Some) and deleted (None).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    pub paths: BTreeMap<String, Option<Node>>,
}

impl Tree {
    /// The digests of all its files.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.entries.values().filter_map(Node::digest)
    }

    /// Does to it what was done to another. An error when a file would be a directory as well; the
    /// tree is of no use then.
    pub fn try_apply(&mut self, changes: &Changes) -> Result<(), TreeError> {
        for (path, node) in &changes.paths {
            match node {
                Some(node) => drop(self.entries.insert(path.clone(), node.clone())),
                None => drop(self.entries.remove(path)),
            }
        }
        self.check_shape()
    }

    /// What must be done to it to become the other.
    #[must_use]
    pub fn changes_to(&self, other: &Self) -> Changes {
        let mut paths = BTreeMap::new();
        for (path, node) in &other.entries {
            if self.entries.get(path) != Some(node) {
                paths.insert(path.clone(), Some(node.clone()));
            }
        }
        for path in self.entries.keys().filter(|path| !other.entries.contains_key(*path)) {
            paths.insert(path.clone(), None);
        }
        Changes { paths }
    }
}

impl Node {
    /// A file's digest.
    #[must_use]
    pub const fn digest(&self) -> Option<Digest> {
        match self {
            Self::File { digest, .. } => Some(*digest),
            Self::Symlink { .. } => None,
        }
    }
}

impl Changes {
    /// Whether nothing was done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
