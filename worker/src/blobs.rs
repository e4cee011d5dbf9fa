//! Artifacts on this machine, by digest.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::digest::Digest;

/// A blob that cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Nobody has it.
    #[error("the coordinator has no artifact {0}")]
    Missing(Digest),
    /// The coordinator refused, or answered nonsense.
    #[error("{0}")]
    Refused(String),
    /// The disk.
    #[error("cannot use {}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A blob to publish.
#[derive(Debug, Clone)]
pub enum Blob {
    /// In memory.
    Bytes {
        /// Its name.
        digest: Digest,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// On disk.
    File {
        /// Its name.
        digest: Digest,
        /// Where.
        path: PathBuf,
        /// How long.
        size: u64,
    },
}

/// Where blobs come from and go to.
#[tonic::async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Puts the bytes of each digest that is not there yet into the local cache, verified.
    async fn fetch(&self, digests: &[Digest]) -> Result<(), BlobError>;
    /// Makes sure that the coordinator has every blob, durably.
    async fn publish(&self, blobs: Vec<Blob>) -> Result<(), BlobError>;
    /// The local cache.
    fn cache(&self) -> &BlobCache;
}

/// The folder of blobs.
#[derive(Debug)]
pub struct BlobCache {
    folder: PathBuf,
}

impl BlobCache {
    /// Opens the folder.
    pub fn open(folder: &Path) -> Result<Self, BlobError> {
        fs::create_dir_all(folder).map_err(|source| BlobError::Io { path: folder.to_owned(), source })?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Where a blob lies, or would.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }

    /// Moves a file in, verified.
    pub fn adopt(&self, digest: &Digest, path: &Path) -> Result<(), BlobError> {
        let failed = |source| BlobError::Io { path: path.to_owned(), source };
        let found = Digest::of_bytes(&fs::read(path).map_err(failed)?);
        if found != *digest {
            return Err(BlobError::Refused(format!("expected the bytes of {digest}, found those of {found}")));
        }
        fs::rename(path, self.path(digest)).map_err(failed)
    }

    /// Whether it is there.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }
}
