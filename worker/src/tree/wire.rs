//! The encoding of trees and changes as artifacts. What a peer sends is checked: every path must be
//! safe to write below a directory.

use std::collections::BTreeMap;

use prost::Message as _;
use wavegate_proto::v1;

use super::{Changes, Node, Tree};
use crate::digest::{Digest, DigestError};

/// An artifact that is not the tree or the changes that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    #[error("not an encoded tree: {0}")]
    Encoding(String),
    #[error("unsafe path {0:?}: expected a relative path without empty, '.' and '..' parts")]
    Path(String),
    #[error("path {0:?} is there twice")]
    Twice(String),
    #[error("path {0:?} lies below a file or a symbolic link")]
    FileAndDirectory(String),
    #[error("path {path:?}: {source}")]
    Digest { path: String, source: DigestError },
    #[error("path {0:?}: expected a file, an executable or a symlink")]
    Kind(String),
}

impl Tree {
    /// The tree that these bytes encode.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        let tree = v1::Tree::decode(bytes).map_err(|error| TreeError::Encoding(error.to_string()))?;
        let mut entries = BTreeMap::new();
        for entry in tree.entries {
            let (path, node) = node_from_proto(entry)?;
            if entries.insert(path.clone(), node).is_some() {
                return Err(TreeError::Twice(path));
            }
        }
        let tree = Self { entries };
        tree.check_shape()?;
        Ok(tree)
    }

    /// Its encoding; equal trees have equal bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let entries = self.entries.iter().map(|(path, node)| node_into_proto(path, node)).collect();
        v1::Tree { entries }.encode_to_vec()
    }

    /// No file or symbolic link has anything below it: else what is written below a link would land
    /// where the link points.
    pub(super) fn check_shape(&self) -> Result<(), TreeError> {
        check_shape(self.entries.keys().map(String::as_str), |path| self.entries.contains_key(path))
    }
}

impl Changes {
    /// The changes that these bytes encode.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        let changes = v1::Changes::decode(bytes).map_err(|error| TreeError::Encoding(error.to_string()))?;
        let mut paths = BTreeMap::new();
        for entry in changes.set {
            let (path, node) = node_from_proto(entry)?;
            if paths.insert(path.clone(), Some(node)).is_some() {
                return Err(TreeError::Twice(path));
            }
        }
        for path in changes.deleted {
            check_path(&path)?;
            if paths.insert(path.clone(), None).is_some() {
                return Err(TreeError::Twice(path));
            }
        }
        let is_set = |path: &str| matches!(paths.get(path), Some(Some(_)));
        check_shape(paths.keys().map(String::as_str).filter(|path| is_set(path)), is_set)?;
        Ok(Self { paths })
    }

    /// Their encoding; equal changes have equal bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let set = self.paths.iter().filter_map(|(path, node)| Some(node_into_proto(path, node.as_ref()?)));
        let deleted = self.paths.iter().filter(|(_, node)| node.is_none()).map(|(path, _)| path.clone());
        v1::Changes { set: set.collect(), deleted: deleted.collect() }.encode_to_vec()
    }
}

fn node_from_proto(entry: v1::TreeEntry) -> Result<(String, Node), TreeError> {
    check_path(&entry.path)?;
    let executable = match entry.kind() {
        v1::EntryKind::File => false,
        v1::EntryKind::Executable => true,
        v1::EntryKind::Symlink => return Ok((entry.path, Node::Symlink { target: entry.target })),
        v1::EntryKind::Unspecified => return Err(TreeError::Kind(entry.path)),
    };
    let digest: Digest =
        entry.digest.parse().map_err(|source| TreeError::Digest { path: entry.path.clone(), source })?;
    Ok((entry.path, Node::File { digest, size: entry.size, executable }))
}

fn node_into_proto(path: &str, node: &Node) -> v1::TreeEntry {
    let path = path.to_owned();
    match node {
        Node::File { digest, size, executable } => v1::TreeEntry {
            path,
            kind: if *executable { v1::EntryKind::Executable } else { v1::EntryKind::File }.into(),
            digest: digest.to_string(),
            size: *size,
            target: String::new(),
        },
        Node::Symlink { target } => v1::TreeEntry {
            path,
            kind: v1::EntryKind::Symlink.into(),
            digest: String::new(),
            size: 0,
            target: target.clone(),
        },
    }
}

fn check_shape<'a>(
    paths: impl Iterator<Item = &'a str>,
    is_node: impl Fn(&str) -> bool,
) -> Result<(), TreeError> {
    for path in paths {
        if parents(path).any(&is_node) {
            return Err(TreeError::FileAndDirectory(path.to_owned()));
        }
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), TreeError> {
    let safe = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if safe && !path.contains('\0') { Ok(()) } else { Err(TreeError::Path(path.to_owned())) }
}

/// The directories that a path lies in, nearest last.
pub(super) fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}
