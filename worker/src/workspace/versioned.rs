//! A workspace of a repository: from the states that a lease names to a worktree, and from a worktree to the
//! state that is its result.

use std::path::{Path, PathBuf};

use wavegate_proto::v1;

use super::Kept;
use crate::{
    blobs::{Blob, BlobStore},
    digest::Digest,
    git::{GitError, Start, State, Store, Stores, Worktree, read_state},
};

/// The branch of work that is no task's.
const NO_TASK: &str = "wavegate/look";

/// A worktree, and the plan's state that it began from.
#[derive(Debug)]
pub(super) struct Versioned {
    worktree: Worktree,
    plan: State,
    base: String,
}

impl Versioned {
    pub(super) async fn make(
        start: &v1::Workspace,
        blobs: &dyn BlobStore,
        stores: &Stores,
    ) -> Result<Self, GitError> {
        let repository = start.repository.clone().unwrap_or_default();
        let store = stores.open(&repository.location).await?;
        let plan = plan_state(&store, &start.base, &repository.base, blobs).await?;
        let mut layers = Vec::with_capacity(start.layers.len());
        for layer in &start.layers {
            layers.push(ensured(&store, layer.parse()?, &repository.base, blobs).await?);
        }
        let own = match Digest::optional(&start.own)? {
            None => None,
            Some(own) => Some(ensured(&store, own, &repository.base, blobs).await?),
        };
        let branch = if start.branch.is_empty() { NO_TASK.to_owned() } else { start.branch.clone() };
        let worktree = store.worktree(Start { base: plan.commit.clone(), layers, own, branch }).await?;
        Ok(Self { worktree, plan, base: repository.base })
    }

    pub(super) fn files(&self) -> PathBuf {
        self.worktree.files()
    }

    pub(super) fn notes(&self) -> &[String] {
        self.worktree.notes()
    }

    pub(super) fn cache(&self) -> Result<PathBuf, GitError> {
        self.worktree.store().cache()
    }

    /// The result as a state that needs nothing but what the plan's own state needs.
    pub(super) async fn result(&self, message: &str, file: &Path) -> Result<Kept, GitError> {
        let Some(made) = self.worktree.result(message).await? else { return Ok(Kept::default()) };
        let bundled = self.worktree.bundle(&made, &self.plan.commit, file).await?;
        let (bundle, blobs) = bundled.map(|(bundle, blob)| (bundle, vec![blob])).unzip();
        let bundles = self.plan.bundles.iter().cloned().chain(bundle).collect();
        let state = State { base: Some(made.base), bundles, ..State::of(made.commit) };
        let result = Some(Blob::of_bytes(state.encode()));
        Ok(Kept { result, files: made.files, blobs: blobs.unwrap_or_default() })
    }

    pub(super) async fn diff_of(
        &self,
        result: Digest,
        blobs: &dyn BlobStore,
        most: usize,
    ) -> Result<String, GitError> {
        let store = self.worktree.store();
        let state = ensured(store, result, &self.base, blobs).await?;
        let from = state.base.as_ref().unwrap_or(&self.plan.commit);
        store.diff(from, &state.commit, most).await
    }

    pub(super) async fn release(self) {
        self.worktree.release().await;
    }
}

/// The plan's state with its commit in the store; where none is named, what the repository has now.
async fn plan_state(
    store: &Store,
    digest: &str,
    base: &str,
    blobs: &dyn BlobStore,
) -> Result<State, GitError> {
    if let Some(digest) = Digest::optional(digest)? {
        return ensured(store, digest, base, blobs).await;
    }
    let head = store.head(base).await?;
    store.fetch(&head).await?;
    Ok(State::of(head.commit().clone()))
}

/// The state with its commit in the store.
pub(crate) async fn ensured(
    store: &Store,
    digest: Digest,
    base: &str,
    blobs: &dyn BlobStore,
) -> Result<State, GitError> {
    let state = read_state(digest, blobs).await?;
    store.ensure(&state, base, blobs).await?;
    Ok(state)
}
