//! The directory that a lease works in. Owns its place, `STATE/work/LEASE/`, its making from trees
//! and its removal; what is left of an earlier start is removed at the next one. Of a repository the files are
//! in a worktree of the pool (`git`), and only what stands beside them is here.

mod versioned;

pub(crate) use versioned::ensured;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use wavegate_proto::v1;

use crate::{
    blobs::{Blob, BlobError, BlobStore},
    digest::{Digest, DigestError},
    git::{GitError, Stores},
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
    #[error("this worker has no workspaces of this kind; it has dir, git and none")]
    Kind,
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("making the workspace was broken off")]
    BrokenOff,
}

impl WorkspaceError {
    /// Whether another worker may well be able to make it.
    #[must_use]
    pub fn is_out_of_reach(&self) -> bool {
        matches!(self, Self::Git(error) if error.is_out_of_reach())
    }
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
    /// Of a repository.
    versioned: Option<versioned::Versioned>,
}

/// What was made in a workspace and is to be kept.
#[derive(Debug, Default)]
pub struct Kept {
    /// The encoded Changes or GitState; None where nothing changed, or nothing is kept.
    pub result: Option<Blob>,
    pub files: u32,
    /// What the result names. They may name files in the workspace.
    pub blobs: Vec<Blob>,
}

impl Workspace {
    /// Makes the workspace; `name` tells several of one lease apart.
    pub async fn make(
        state_dir: &Path,
        lease_id: &str,
        name: &str,
        start: &v1::Workspace,
        blobs: &dyn BlobStore,
        stores: &Stores,
    ) -> Result<Self, WorkspaceError> {
        let root = state_dir.join("work").join(lease_id).join(name);
        let mut workspace = blocking(move || Self::empty(root)).await??;
        match start.kind() {
            v1::WorkspaceKind::None => return Ok(workspace),
            v1::WorkspaceKind::Dir => {}
            v1::WorkspaceKind::Git => {
                workspace.versioned = Some(versioned::Versioned::make(start, blobs, stores).await?);
                return Ok(workspace);
            }
            v1::WorkspaceKind::Unspecified => return Err(WorkspaceError::Kind),
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
        Ok(Self { root, before: None, origin: None, versioned: None })
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

    /// What was made in it; `message` is for a commit of it. Nothing where changes are not kept.
    pub async fn result(self, message: &str) -> (Option<Self>, Result<Kept, WorkspaceError>) {
        if let Some(versioned) = &self.versioned {
            let made = versioned.result(message, &self.aside("result.bundle")).await;
            return (Some(self), made.map_err(WorkspaceError::from));
        }
        let found = blocking(move || {
            let changes = self.changes();
            (self, changes)
        });
        match found.await {
            Ok((workspace, changes)) => (Some(workspace), changes.map_err(WorkspaceError::from)),
            Err(error) => (None, Err(error)),
        }
    }

    /// Reads the directory.
    fn changes(&self) -> Result<Kept, DiskError> {
        let Some(before) = &self.before else { return Ok(Kept::default()) };
        let (mut changes, blobs) = diff(before, &self.files())?;
        if let Some(origin) = &self.origin {
            let mut now = before.tree.clone();
            for (path, node) in changes.paths {
                match node {
                    Some(node) => drop(now.entries.insert(path, node)),
                    None => drop(now.entries.remove(&path)),
                }
            }
            changes = origin.changes_to(&now);
        }
        let files = u32::try_from(changes.paths.len()).unwrap_or(u32::MAX);
        let result = (!changes.is_empty()).then(|| Blob::of_bytes(changes.encode()));
        Ok(Kept { result, files, blobs })
    }

    /// Whether it is of a repository.
    #[must_use]
    pub fn is_versioned(&self) -> bool {
        self.versioned.is_some()
    }

    /// What people should know of how it began.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        self.versioned.as_ref().map_or(&[], versioned::Versioned::notes)
    }

    /// Where commands on the same repository keep what they need again; None without a repository.
    pub fn cache(&self) -> Result<Option<PathBuf>, WorkspaceError> {
        Ok(self.versioned.as_ref().map(versioned::Versioned::cache).transpose()?)
    }

    /// What a result changed, as people read it, at most so many bytes; None without a repository.
    pub async fn diff_of(
        &self,
        result: Digest,
        blobs: &dyn BlobStore,
        most: usize,
    ) -> Result<Option<String>, WorkspaceError> {
        match &self.versioned {
            None => Ok(None),
            Some(versioned) => Ok(Some(versioned.diff_of(result, blobs, most).await?)),
        }
    }

    /// Removes it, without blocking the caller's thread.
    pub async fn remove(mut self) {
        if let Some(versioned) = self.versioned.take() {
            versioned.release().await;
        }
        let _ = blocking(move || drop(self)).await;
    }

    /// The directory that commands run in.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        match &self.versioned {
            Some(versioned) => versioned.files(),
            None => self.root.join("files"),
        }
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
    if fs::remove_dir_all(root).is_ok() || !root.exists() {
        return;
    }
    allow_writing(root);
    if let Err(error) = fs::remove_dir_all(root) {
        tracing::warn!("cannot remove {}: {error}", root.display());
    }
}

/// Gives the folders and all below them back to their owner.
pub(crate) fn allow_writing(root: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let _ = fs::set_permissions(&folder, fs::Permissions::from_mode(0o700));
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        folders.extend(
            entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()),
        );
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
