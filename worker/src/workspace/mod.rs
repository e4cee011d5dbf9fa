//! The directory that a lease works in. Owns its place, `STATE/work/LEASE/`, its making from trees
//! and its removal; what is left of an earlier start is removed at the next one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use wavegate_proto::v1;

use crate::{
    blobs::{BlobError, BlobStore},
    digest::{Digest, DigestError},
    tree::{Changes, DiskError, Snapshot, Tree, TreeError, materialise},
};

/// Why a workspace cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Digest(#[from] DigestError),
    #[error("this worker has no workspaces of this kind; it has dir and none")]
    Kind,
}

/// A lease's directory; removed when dropped.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    /// What it started as.
    pub before: Snapshot,
    /// Whether its changes are the result.
    pub is_kept: bool,
}

impl Workspace {
    /// Makes the workspace; `name` tells several of one lease apart.
    pub async fn make(
        state_dir: &Path,
        lease_id: &str,
        name: &str,
        start: &v1::Workspace,
        blobs: &dyn BlobStore,
    ) -> Result<Self, WorkspaceError> {
        let is_kept = match start.kind() {
            v1::WorkspaceKind::None => false,
            v1::WorkspaceKind::Dir => true,
            v1::WorkspaceKind::Git | v1::WorkspaceKind::Unspecified => return Err(WorkspaceError::Kind),
        };
        let root = state_dir.join("work").join(lease_id).join(name);
        let files = root.join("files");
        let io = |source| WorkspaceError::Io { path: root.clone(), source };
        if root.exists() {
            fs::remove_dir_all(&root).map_err(io)?;
        }
        fs::create_dir_all(&files).map_err(io)?;
        let mut workspace = Self { root, before: Snapshot::default(), is_kept };
        if is_kept {
            let tree = start_tree(start, blobs).await?;
            blobs.fetch(&tree.digests().collect::<Vec<_>>()).await?;
            workspace.before = materialise(tree, &files, blobs.cache())?;
        }
        Ok(workspace)
    }

    /// The directory that commands run in.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.root.join("files")
    }

    /// A file beside it, for what Wavegate and the command tell each other.
    #[must_use]
    pub fn aside(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        remove(&self.root);
        // Only when no other workspace of the lease is left in it.
        if let Some(lease) = self.root.parent() {
            let _ = fs::remove_dir(lease);
        }
    }
}

/// Removes what an earlier start of this worker left.
pub fn clear_leftovers(state_dir: &Path) {
    remove(&state_dir.join("work"));
}

/// Removes a directory, also where a command took away its own right to write.
fn remove(root: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    if fs::remove_dir_all(root).is_ok() || !root.exists() {
        return;
    }
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let _ = fs::set_permissions(&folder, fs::Permissions::from_mode(0o700));
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        folders.extend(
            entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()),
        );
    }
    if let Err(error) = fs::remove_dir_all(root) {
        tracing::warn!("cannot remove {}: {error}", root.display());
    }
}

/// The tree that the base and its layers make.
async fn start_tree(start: &v1::Workspace, blobs: &dyn BlobStore) -> Result<Tree, WorkspaceError> {
    let mut tree = fetch_tree(&start.base, blobs).await?;
    for layer in &start.layers {
        tree.apply(&fetch_changes(layer, blobs).await?);
    }
    Ok(tree)
}

/// The tree with this digest; empty for an empty text.
pub async fn fetch_tree(digest: &str, blobs: &dyn BlobStore) -> Result<Tree, WorkspaceError> {
    match fetch_bytes(digest, blobs).await? {
        None => Ok(Tree::default()),
        Some(bytes) => Ok(Tree::decode(&bytes)?),
    }
}

/// The changes with this digest; none for an empty text.
pub async fn fetch_changes(digest: &str, blobs: &dyn BlobStore) -> Result<Changes, WorkspaceError> {
    match fetch_bytes(digest, blobs).await? {
        None => Ok(Changes::default()),
        Some(bytes) => Ok(Changes::decode(&bytes)?),
    }
}

async fn fetch_bytes(digest: &str, blobs: &dyn BlobStore) -> Result<Option<Vec<u8>>, WorkspaceError> {
    let Some(digest) = Digest::optional(digest)? else { return Ok(None) };
    blobs.fetch(&[digest]).await?;
    let path = blobs.cache().path(digest);
    let bytes = blobs.cache().read(digest).map_err(|source| WorkspaceError::Io { path, source })?;
    Ok(Some(bytes))
}
