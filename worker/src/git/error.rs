//! Why something with git did not work.

use std::{io, path::PathBuf};

use super::{LocationError, Oid, OidError, StateError};
use crate::{blobs::BlobError, digest::DigestError};

/// Why something with git did not work.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no git program on PATH.
    #[error("git is not installed on this host: {0}")]
    NoGit(io::Error),
    /// The git program cannot do what is asked of it.
    #[error("the git of this host is too old: found {found}, expected {oldest} or newer")]
    TooOld {
        /// Its version.
        found: String,
        /// The oldest that will do.
        oldest: String,
    },
    /// Git said no.
    #[error("git {command}: {said}")]
    Failed {
        /// The subcommand.
        command: String,
        /// Absent when a signal ended it.
        code: Option<i32>,
        /// The last of what it said, in one line.
        said: String,
    },
    /// The repository cannot be reached from here; others may.
    #[error("the repository {location} cannot be reached from this host: {why}")]
    OutOfReach {
        /// As the plan names it.
        location: String,
        /// Git's words, or ours.
        why: String,
    },
    /// The commit is neither here nor in the repository, and no bundle brings it.
    #[error("the commit {0} is not in the repository, and no artifact holds it")]
    NoCommit(Oid),
    /// The repository has no such branch, tag or commit.
    #[error("the repository {location} has no {base:?}; expected a branch, a tag or a full commit id")]
    NoBase {
        /// As the plan names it.
        location: String,
        /// What was looked for.
        base: String,
    },
    /// What git workspaces do not do.
    #[error("{0}")]
    Unsupported(String),
    /// A result that is too large to carry.
    #[error("the result is too large: {found} bytes in {what}, at most {most} are carried")]
    TooLarge {
        /// What was measured.
        what: String,
        /// Bytes.
        found: u64,
        /// Bytes.
        most: u64,
    },
    /// A file or folder of our own.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Digest(#[from] DigestError),
    #[error(transparent)]
    Oid(#[from] OidError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Location(#[from] LocationError),
    /// Our own work on files was broken off.
    #[error("the work on files was broken off")]
    BrokenOff,
}

impl GitError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// Whether another worker may well be able to.
    #[must_use]
    pub fn is_out_of_reach(&self) -> bool {
        matches!(self, Self::OutOfReach { .. } | Self::NoGit(_) | Self::TooOld { .. })
    }
}
