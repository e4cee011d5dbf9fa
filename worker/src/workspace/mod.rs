//! The directory that a lease works in. Owns its place, `STATE/work/LEASE/`, its making from trees
//! and its removal; what is left of an earlier start is removed at the next one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use wavegate_proto::v1;

use crate::{
    blobs::{Blob, BlobError, BlobStore},
    digest::{Digest, DigestError},
    tree::{Changes, DiskError, Snapshot, Tree, TreeError, diff, materialise},
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
    #[error("making the workspace was broken off")]
    BrokenOff,
}

/// How often artifacts that vanish from the cache between fetching and copying are fetched again.
const FETCHES: u32 = 3;

/// A lease's directory; removed when dropped, [`Self::remove`] does so without blocking the caller.
///
/// Reading and writing trees happens on threads where blocking is allowed: work on a big tree must
/// not delay a heartbeat.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    /// What it started as; None where its changes are not kept.
    before: Option<Snapshot>,
    /// What its changes are counted from, where it started as more than that: with the task's own last
    /// result.
    origin: Option<Tree>,
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
        let workspace = blocking(move || Self::empty(root)).await??;
        if !is_kept {
            return Ok(workspace);
        }
        let origin = start_tree(start, blobs).await?;
        if start.own.is_empty() {
            return workspace.fill(origin, blobs).await;
        }
        let mut tree = origin.clone();
        tree.try_apply(&fetch_changes(&start.own, blobs).await?)?;
        let mut workspace = workspace.fill(tree, blobs).await?;
        workspace.origin = Some(origin);
        Ok(workspace)
    }

    fn empty(root: PathBuf) -> Result<Self, WorkspaceError> {
        remove(&root);
        fs::create_dir_all(root.join("files"))
            .map_err(|source| WorkspaceError::Io { path: root.clone(), source })?;
        Ok(Self { root, before: None, origin: None })
    }

    async fn fill(mut self, tree: Tree, blobs: &dyn BlobStore) -> Result<Self, WorkspaceError> {
        let mut fetches = 0;
        loop {
            blobs.fetch(&tree.digests().collect::<Vec<_>>()).await?;
            fetches += 1;
            let (tree, files, cache) = (tree.clone(), self.files(), blobs.cache().clone());
            // It goes along, so that its directory is removed only after the writing has ended.
            let (workspace, made) = blocking(move || (self, materialise(tree, &files, &cache))).await?;
            self = workspace;
            match made {
                Ok(before) => self.before = Some(before),
                Err(DiskError::Blob(_)) if fetches < FETCHES => continue,
                Err(error) => return Err(error.into()),
            }
            return Ok(self);
        }
    }

    /// What was done in it since it was made, with the blobs of what is new; nothing where changes
    /// are not kept. The blobs name files in the workspace.
    pub async fn changes(self) -> (Option<Self>, Result<(Changes, Vec<Blob>), WorkspaceError>) {
        let found = blocking(move || {
            let changes = match &self.before {
                Some(before) => diff(before, &self.files()).map(|(changes, blobs)| {
                    let Some(origin) = &self.origin else { return (changes, blobs) };
                    let mut now = before.tree.clone();
                    for (path, node) in changes.paths {
                        match node {
                            Some(node) => drop(now.entries.insert(path, node)),
                            None => drop(now.entries.remove(&path)),
                        }
                    }
                    (origin.changes_to(&now), blobs)
                }),
                None => Ok((Changes::default(), Vec::new())),
            };
            (self, changes)
        });
        match found.await {
            Ok((workspace, changes)) => (Some(workspace), changes.map_err(WorkspaceError::from)),
            Err(error) => (None, Err(error)),
        }
    }

    /// Removes it, without blocking the caller's thread.
    pub async fn remove(self) {
        let _ = blocking(move || drop(self)).await;
    }

    /// The directory that commands run in.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.root.join("files")
    }

    /// A directory beside it, made if missing.
    pub fn aside_folder(&self, name: &str) -> io::Result<PathBuf> {
        let folder = self.aside(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// A file beside it, for what Wavegate and the command tell each other.
    #[must_use]
    pub fn aside(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

/// Runs what reads and writes many files where blocking is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, WorkspaceError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| WorkspaceError::BrokenOff)
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
        tree.try_apply(&fetch_changes(layer, blobs).await?)?;
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
    let mut fetches = 0;
    loop {
        blobs.fetch(&[digest]).await?;
        fetches += 1;
        match blobs.cache().read(digest) {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(error) if fetches < FETCHES && is_mended_by_fetching(&error) => {}
            Err(source) => return Err(WorkspaceError::Io { path: blobs.cache().path(digest), source }),
        }
    }
}

fn is_mended_by_fetching(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData)
}
