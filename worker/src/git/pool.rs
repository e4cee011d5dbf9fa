//! Places for worktrees: folders with the files of a repository checked out, used again and again, since making
//! one place fit another commit takes a fraction of checking all files out. Owns who has which place, and their
//! cleaning before and after; what is done in a place is the worktree's.
//!
//! STORE/pool/N/files is where commands work; it holds a git directory of its own, `.git`, that reads the
//! store's objects. Thus whatever an agent does with git (its branches, its stash, its configuration, its hooks) ends with
//! its lease and reaches neither the store nor other agents. STORE/pool/N/ours is the git directory that we
//! ourselves work with on the same files: nothing that an agent configured ever runs under it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    GitError, Oid, Store,
    skeleton::{self, Lock, Wish},
    store::blocking,
};

/// So many places that nobody uses are kept for the next lease.
const MOST_IDLE: usize = 16;
/// Objects in a place need no care for power loss: what counts is in the bundle, which is synced.
const OURS: &str = "\tbare = false\n\tfsync = none\n\tlogAllRefUpdates = false\n";

/// A place that is had by one lease. Dropping it gives it back as it is; it is cleaned for the next one.
#[derive(Debug)]
pub struct Place {
    folder: PathBuf,
    store: Arc<Store>,
    /// Shared with what works on the files on other threads, which may outlast this value.
    lock: Arc<Lock>,
}

impl Store {
    /// A free place with the files of this commit and no others.
    pub(super) async fn place(self: &Arc<Self>, commit: &Oid) -> Result<Place, GitError> {
        let (store, pool) = (Arc::clone(self), self.folder.join("pool"));
        let place = blocking(move || {
            let (folder, lock) = free_place(&pool).map_err(GitError::io(&pool))?;
            Ok(Place { folder, store, lock: Arc::new(lock) })
        })
        .await?;
        if let Err(error) = place.reset(commit).await {
            // Whatever was wrong with what was left in it: from nothing it must work.
            tracing::debug!("{} is made anew: {error}", place.folder.display());
            place.empty().await?;
            place.reset(commit).await?;
        }
        Ok(place)
    }
}

/// The lowest number that nobody has.
fn free_place(pool: &Path) -> io::Result<(PathBuf, Lock)> {
    for number in 1_u32.. {
        if let Some(lock) = skeleton::lock(&pool.join(format!("{number}.lock")), Wish::TryExclusive)? {
            return Ok((pool.join(number.to_string()), lock));
        }
    }
    Err(io::Error::other("every place is taken"))
}

/// Removes every place in which an agent's git directory was left: a lease that ends takes its own along.
pub(super) fn clear_leftovers(pool: &Path) {
    for place in fs::read_dir(pool).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if !place.join("files/.git").exists() {
            continue;
        }
        let Ok(Some(_alone)) = skeleton::lock(&place.with_extension("lock"), Wish::TryExclusive) else {
            continue;
        };
        if let Err(error) = remove(&place) {
            tracing::warn!("{}: {error}", place.display());
        }
    }
}

impl Place {
    /// Where commands work.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.folder.join("files")
    }

    pub(super) fn ours(&self) -> PathBuf {
        self.folder.join("ours")
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// A call on the files with our own git directory.
    pub(super) fn call(&self, arguments: &[&str]) -> super::command::Call {
        self.store.git.call(arguments).git_dir(&self.ours()).work_tree(&self.files())
    }

    /// The files become those of the commit; everything else goes.
    async fn reset(&self, commit: &Oid) -> Result<(), GitError> {
        let (ours, files, objects) = (self.ours(), self.files(), self.store.objects().join("objects"));
        let head = commit.to_string();
        self.blocking(move || {
            let at = |source| GitError::Io { path: ours.clone(), source };
            if !is_folder(&files) {
                remove(&files).map_err(at)?;
            }
            fs::create_dir_all(&files).map_err(at)?;
            remove(&files.join(".git")).map_err(at)?;
            // The index stays: by it git knows which files are as they were.
            for name in ["objects", "refs", "index.lock"] {
                remove(&ours.join(name)).map_err(at)?;
            }
            skeleton::write(&ours, OURS, &head, &[&objects, &files.join(".git/objects")]).map_err(at)
        })
        .await?;
        self.call(&["read-tree", "--reset", "-u", commit.as_str()]).run().await?;
        self.clean().await
    }

    /// Removes what is not tracked, what is ignored and what is a repository of its own included.
    async fn clean(&self) -> Result<(), GitError> {
        self.call(&["clean", "-ffdxq"]).run().await.map(drop)
    }

    async fn empty(&self) -> Result<(), GitError> {
        let folder = self.folder.clone();
        self.blocking(move || remove(&folder).map_err(GitError::io(&folder))).await
    }

    /// Works on the files of the place, which nobody else is given before that has ended.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, GitError> + Send + 'static,
    ) -> Result<T, GitError> {
        let held = Arc::clone(&self.lock);
        blocking(move || {
            let _held = held;
            work()
        })
        .await
    }

    /// An agent that put something else in the place of its directory must not lead us there.
    pub(super) fn expect_own(&self) -> Result<(), GitError> {
        let files = self.files();
        if is_folder(&files) {
            return Ok(());
        }
        Err(GitError::Unsupported(format!("{} is no directory any more", files.display())))
    }

    /// Leaves nothing of the lease behind, and gives the place back.
    pub(super) async fn release(self) {
        let git_dir = self.files().join(".git");
        let own = self.expect_own();
        let gone = match own {
            Ok(()) => self.blocking(move || remove(&git_dir).map_err(GitError::io(&git_dir))).await,
            Err(error) => Err(error),
        };
        let cleaned = match gone {
            Ok(()) => self.clean().await,
            Err(error) => Err(error),
        };
        let idle = self.folder.file_name().and_then(|name| name.to_str()?.parse::<usize>().ok());
        let is_kept = cleaned.is_ok() && idle.is_some_and(|number| number <= MOST_IDLE);
        if !is_kept && let Err(error) = self.empty().await {
            tracing::warn!("{error}");
        }
    }
}

/// And no link to one.
fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// Removes a file or a folder, also where a command took away its own right to write.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(meta) if !meta.is_dir() => return fs::remove_file(path),
        Ok(_) => {}
    }
    if fs::remove_dir_all(path).is_ok() {
        return Ok(());
    }
    crate::workspace::allow_writing(path);
    fs::remove_dir_all(path)
}
