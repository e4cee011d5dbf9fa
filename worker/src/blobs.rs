//! Artifacts as the work needs them: fetched into a local cache, published to the coordinator. Owns
//! the cache on disk; the way to the coordinator is the bulk client's.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use crate::digest::{Digest, Hasher};

/// What was used within this time stays: a lease may have fetched it and be about to copy it. What
/// vanishes all the same is fetched again.
const YOUNG: Duration = Duration::from_secs(600);
/// A transfer that is older than this was left by a worker that was killed.
const STALE_TRANSFER: Duration = Duration::from_secs(3600);
/// What begins the name of a file that is not verified yet.
const INCOMING: &str = "incoming-";

/// Where artifacts come from and go to.
#[tonic::async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Puts the bytes of each digest that is not there yet into the local cache, verified.
    async fn fetch(&self, digests: &[Digest]) -> Result<(), BlobError>;

    /// Makes sure that the coordinator has every blob, durably. Waits through a lost connection: an
    /// error is what trying again does not mend, and fails the attempt.
    async fn publish(&self, blobs: Vec<Blob>) -> Result<(), BlobError>;

    /// The local cache.
    fn cache(&self) -> &BlobCache;
}

/// An artifact to publish.
#[derive(Debug, Clone)]
pub enum Blob {
    Bytes { digest: Digest, bytes: Vec<u8> },
    File { digest: Digest, path: PathBuf, size: u64 },
}

impl Blob {
    /// A blob of these bytes.
    #[must_use]
    pub fn of_bytes(bytes: Vec<u8>) -> Self {
        Self::Bytes { digest: Digest::of_bytes(&bytes), bytes }
    }

    /// Its name.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        match self {
            Self::Bytes { digest, .. } | Self::File { digest, .. } => *digest,
        }
    }
}

/// Why an artifact could not be fetched or published.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("the coordinator does not have the artifact {0}")]
    Missing(Digest),
    #[error("the artifact {expected} arrived as {found}")]
    Corrupt { expected: Digest, found: Digest },
    #[error("the coordinator refused artifacts: {0}")]
    Refused(String),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
}

/// Verified artifacts in a directory: `ab/cdef...`, read-only. Clones share one directory.
///
/// Not synced to disk, since everything in it can be fetched again: a reader checks what it reads
/// ([`Self::read`] by digest, workspaces by size) and discards what a power loss has damaged.
#[derive(Debug, Clone)]
pub struct BlobCache {
    root: PathBuf,
    most_bytes: u64,
    /// Taken in since the size was last looked at.
    fresh_bytes: Arc<AtomicU64>,
}

impl BlobCache {
    /// A cache in this directory, which is made if missing. It removes by itself what was used
    /// longest ago once it is above `most_bytes`; it may pass them by a sixteenth, and by what was
    /// used in the last ten minutes.
    pub fn open(root: &Path, most_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let cache = Self { root: root.to_owned(), most_bytes, fresh_bytes: Arc::default() };
        cache.remove_stale_transfers()?;
        cache.trim()?;
        Ok(cache)
    }

    /// Where the artifact is, if it is here.
    #[must_use]
    pub fn path(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join(&name[..2]).join(&name[2..])
    }

    /// Whether it is here. Marks it as used.
    #[must_use]
    pub fn has(&self, digest: Digest) -> bool {
        let used = File::open(self.path(digest)).and_then(|file| file.set_modified(SystemTime::now()));
        used.is_ok() || self.path(digest).exists()
    }

    /// The artifact's bytes. One that is damaged is discarded, and an error of kind `InvalidData`.
    pub fn read(&self, digest: Digest) -> io::Result<Vec<u8>> {
        let bytes = fs::read(self.path(digest))?;
        if Digest::of_bytes(&bytes) == digest {
            return Ok(bytes);
        }
        self.discard(digest)?;
        Err(io::Error::new(io::ErrorKind::InvalidData, "the cached artifact was damaged"))
    }

    /// Removes an artifact that was found damaged, so that it is fetched again.
    pub fn discard(&self, digest: Digest) -> io::Result<()> {
        ignore_missing(fs::remove_file(self.path(digest)))
    }

    /// A place to write the bytes of an artifact to before they are verified.
    pub fn begin(&self) -> io::Result<Incoming> {
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(io::Error::other)?;
        let path = self.root.join(format!("{INCOMING}{:016x}", u64::from_ne_bytes(name)));
        Ok(Incoming { file: File::create_new(&path)?, path: Some(path), hasher: Hasher::default() })
    }

    /// Takes what came in, if it is the artifact that it should be.
    pub fn finish(&self, mut incoming: Incoming, expected: Digest) -> Result<(), BlobError> {
        let (found, size) = incoming.hasher.finish();
        if found != expected {
            return Err(BlobError::Corrupt { expected, found });
        }
        let target = self.path(expected);
        if let Some(path) = &incoming.path {
            self.take(path, &target).map_err(|source| BlobError::File { path: target, source })?;
        }
        incoming.path = None;
        if self.fresh_bytes.fetch_add(size, Ordering::Relaxed).saturating_add(size) > self.most_bytes / 16 {
            self.trim().map_err(|source| BlobError::File { path: self.root.clone(), source })?;
        }
        Ok(())
    }

    fn take(&self, path: &Path, target: &Path) -> io::Result<()> {
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::set_permissions(path, Permissions::from_mode(0o444))?;
        fs::rename(path, target)
    }

    fn trim(&self) -> io::Result<()> {
        self.fresh_bytes.store(0, Ordering::Relaxed);
        let mut files = self.files()?;
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        if total <= self.most_bytes {
            return Ok(());
        }
        files.sort();
        let old = SystemTime::now().checked_sub(YOUNG).unwrap_or(SystemTime::UNIX_EPOCH);
        for (_, size, path) in files.into_iter().take_while(|(used, ..)| *used < old) {
            if total <= self.most_bytes {
                break;
            }
            ignore_missing(fs::remove_file(path))?;
            total -= size;
        }
        Ok(())
    }

    /// When each artifact was last used, its size and its place.
    fn files(&self) -> io::Result<Vec<(SystemTime, u64, PathBuf)>> {
        let mut files = Vec::new();
        for folder in fs::read_dir(&self.root)?.flatten() {
            for entry in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                if let Ok(meta) = entry.metadata() {
                    files.push((meta.modified()?, meta.len(), entry.path()));
                }
            }
        }
        Ok(files)
    }

    fn remove_stale_transfers(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.root)?.flatten() {
            let is_transfer = entry.file_name().to_string_lossy().starts_with(INCOMING);
            let age = entry.metadata().and_then(|meta| meta.modified()).map(|time| time.elapsed());
            if is_transfer && matches!(age, Ok(Ok(age)) if age > STALE_TRANSFER) {
                ignore_missing(fs::remove_file(entry.path()))?;
            }
        }
        Ok(())
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// An artifact that is being received; removed unless it is finished.
#[derive(Debug)]
pub struct Incoming {
    file: File,
    path: Option<PathBuf>,
    hasher: Hasher,
}

impl Incoming {
    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.add(bytes);
        self.file.write_all(bytes)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            // What is left over is found by nobody, only takes room.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(cache: &BlobCache, bytes: &[u8]) -> Digest {
        let digest = Digest::of_bytes(bytes);
        let mut incoming = cache.begin().unwrap();
        incoming.write(bytes).unwrap();
        cache.finish(incoming, digest).unwrap();
        digest
    }

    fn last_used(cache: &BlobCache, digest: Digest, ago: Duration) {
        let file = File::open(cache.path(digest)).unwrap();
        file.set_modified(SystemTime::now() - ago).unwrap();
    }

    #[test]
    fn bytes_that_are_not_the_artifact_are_refused_and_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = BlobCache::open(dir.path(), u64::MAX).unwrap();
        let mut incoming = cache.begin().unwrap();
        incoming.write(b"other").unwrap();
        let expected = Digest::of_bytes(b"wanted");
        assert!(matches!(cache.finish(incoming, expected), Err(BlobError::Corrupt { .. })));
        assert!(!cache.has(expected));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_artifact_is_discarded_when_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let cache = BlobCache::open(dir.path(), u64::MAX).unwrap();
        let digest = put(&cache, b"whole");
        assert_eq!(cache.read(digest).unwrap(), b"whole");
        assert_eq!(fs::metadata(cache.path(digest)).unwrap().permissions().mode() & 0o777, 0o444);
        fs::remove_file(cache.path(digest)).unwrap();
        fs::write(cache.path(digest), b"half").unwrap();
        assert_eq!(cache.read(digest).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(!cache.has(digest));
    }

    #[test]
    fn above_its_size_the_cache_loses_what_was_used_longest_ago_and_nothing_young() {
        let dir = tempfile::tempdir().unwrap();
        let cache = BlobCache::open(dir.path(), 100).unwrap();
        let [old, older, young] = [[1; 40], [2; 40], [3; 40]].map(|bytes| put(&cache, &bytes));
        last_used(&cache, old, Duration::from_secs(3000));
        last_used(&cache, older, Duration::from_secs(4000));
        let newest = put(&cache, &[4; 10]);
        assert_eq!([old, older, young, newest].map(|digest| cache.has(digest)), [true, false, true, true]);
    }

    #[test]
    fn transfers_of_a_killed_worker_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join("incoming-1");
        let file = File::create(&left).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(8000)).unwrap();
        BlobCache::open(dir.path(), 100).unwrap();
        assert!(!left.exists());
    }
}
