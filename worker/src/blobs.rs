//! Artifacts as the work needs them: fetched into a local cache, published to the coordinator. Owns
//! the cache on disk; the way to the coordinator is the bulk client's.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::digest::Digest;

/// Where artifacts come from and go to.
#[tonic::async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Puts the bytes of each digest that is not there yet into the local cache, verified.
    async fn fetch(&self, digests: &[Digest]) -> Result<(), BlobError>;

    /// Makes sure that the coordinator has every blob, durably.
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

/// Verified artifacts in a directory: `ab/cdef...`, read-only.
#[derive(Debug, Clone)]
pub struct BlobCache {
    root: PathBuf,
    most_bytes: u64,
}

impl BlobCache {
    /// A cache in this directory, which is made if missing. Above `most_bytes` [`Self::trim`] removes
    /// what was used longest ago.
    pub fn open(root: &Path, most_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        Ok(Self { root: root.to_owned(), most_bytes })
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

    /// The artifact's bytes.
    pub fn read(&self, digest: Digest) -> io::Result<Vec<u8>> {
        fs::read(self.path(digest))
    }

    /// A place to write the bytes of an artifact to before they are verified.
    pub fn begin(&self) -> io::Result<Incoming> {
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(io::Error::other)?;
        let path = self.root.join(format!("incoming-{:016x}", u64::from_ne_bytes(name)));
        Ok(Incoming { file: File::create_new(&path)?, path: Some(path) })
    }

    /// Takes what came in, if it is the artifact that it should be.
    pub fn finish(&self, mut incoming: Incoming, expected: Digest) -> Result<(), BlobError> {
        let Some(path) = incoming.path.clone() else { return Ok(()) };
        let at = |source| BlobError::File { path: path.clone(), source };
        incoming.file.flush().map_err(at)?;
        let (found, _) = File::open(&path).and_then(|mut file| Digest::of_reader(&mut file)).map_err(at)?;
        if found != expected {
            return Err(BlobError::Corrupt { expected, found });
        }
        let target = self.path(expected);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(at)?;
        }
        fs::rename(&path, &target).map_err(at)?;
        incoming.path = None;
        Ok(())
    }

    /// Removes what was used longest ago until the cache is within its size. Between leases only.
    pub fn trim(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for folder in fs::read_dir(&self.root)?.flatten() {
            for entry in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                let meta = entry.metadata()?;
                files.push((meta.modified()?, meta.len(), entry.path()));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in files {
            if total <= self.most_bytes {
                break;
            }
            fs::remove_file(path)?;
            total -= size;
        }
        Ok(())
    }
}

/// An artifact that is being received; removed unless it is finished.
#[derive(Debug)]
pub struct Incoming {
    file: File,
    path: Option<PathBuf>,
}

impl Incoming {
    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
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
