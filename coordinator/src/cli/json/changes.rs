//! What plans have made of a repository, as JSON.

use serde::Serialize;
use wavegate_proto::v1;

use super::{filled, passed};
use crate::cli::backend::CheckedOut;

/// Where a plan works.
#[derive(Debug, Serialize)]
pub(crate) struct RepositoryJson {
    location: String,
    /// Null: what the repository is on.
    base: Option<String>,
}

impl From<v1::Repository> for RepositoryJson {
    fn from(repository: v1::Repository) -> Self {
        Self { location: repository.location, base: filled(repository.base) }
    }
}

/// One task's work on the target.
#[derive(Debug, Serialize)]
pub(crate) struct CommitJson {
    task: String,
    commit: String,
    subject: String,
    /// Null where it is on none.
    branch: Option<String>,
    /// The address of the request that holds it.
    request: Option<String>,
    /// By whose word it was published.
    verdict: String,
    at_ms: Option<i64>,
}

impl From<v1::PublishedCommit> for CommitJson {
    fn from(commit: v1::PublishedCommit) -> Self {
        Self {
            task: commit.task,
            commit: commit.commit,
            subject: commit.subject,
            branch: filled(commit.branch),
            request: filled(commit.request),
            verdict: commit.verdict,
            at_ms: passed(commit.at_ms),
        }
    }
}

/// What `diff` prints.
#[derive(Debug, Serialize)]
pub(crate) struct DiffJson {
    pub(crate) plan: i64,
    /// Null: all that the plan has published.
    pub(crate) task: Option<String>,
    /// As git writes it; empty where nothing was changed.
    pub(crate) diff: String,
}

/// What `checkout` prints.
#[derive(Debug, Serialize)]
pub(crate) struct CheckedOutJson {
    plan: i64,
    task: String,
    dir: String,
    branch: String,
    commit: String,
    /// What the task's work is the difference from.
    base: Option<String>,
}

impl CheckedOutJson {
    pub(crate) fn new(plan: i64, task: &str, made: CheckedOut) -> Self {
        let CheckedOut { dir, branch, commit, base } = made;
        Self { plan, task: task.to_owned(), dir: dir.display().to_string(), branch, commit, base }
    }
}
