//! Artifacts as files named by their SHA-256: `ab/cdef...`. A file is there only when it is whole and
//! on disk, so what a result names is never half an artifact.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest as _, Sha256};
use wavegate_engine::Digest;

use super::durable;

/// The store of artifacts; cheap to clone, usable from several threads.
#[derive(Debug, Clone)]
pub struct Artifacts {
    root: Arc<Path>,
    /// One for each folder: held from when a name appears until it is on disk or gone again, so that nobody
    /// takes an artifact for kept that a power loss would take away.
    naming: Arc<[Mutex<()>; FOLDERS]>,
}

/// Why an artifact was not stored.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("artifact {expected}: its bytes have the digest {found}")]
    Digest { expected: Digest, found: Digest },
    #[error("artifact {digest}: {found} bytes arrived, expected {expected}")]
    Size { digest: Digest, expected: u64, found: u64 },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

impl Artifacts {
    /// The artifacts in this folder. What was being received when the last coordinator stopped is
    /// removed.
    pub fn open(root: &Path) -> io::Result<Self> {
        durable::create_dir_all(root)?;
        // All at once, so that no artifact waits for its folder to be on disk.
        for first in 0..=u8::MAX {
            fs::create_dir_all(root.join(format!("{first:02x}")))?;
        }
        durable::sync(root)?;
        for entry in fs::read_dir(root)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(INCOMING) {
                fs::remove_file(entry.path())?;
            }
        }
        let naming = Arc::new(std::array::from_fn(|_| Mutex::new(())));
        Ok(Self { root: root.into(), naming })
    }

    /// Puts names on disk that a coordinator that was killed left in memory alone.
    pub fn sync_names(&self) -> io::Result<()> {
        (0..=u8::MAX).try_for_each(|first| durable::sync(&self.root.join(format!("{first:02x}"))))
    }

    /// Where the artifact is, if it is there. Made of a digest alone, so it never leaves the folder.
    #[must_use]
    pub fn path(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join(&name[..2]).join(&name[2..])
    }

    /// Those that are not there.
    #[must_use]
    pub fn missing(&self, digests: &[Digest]) -> Vec<Digest> {
        digests.iter().filter(|digest| !self.has(**digest)).copied().collect()
    }

    /// Whether it is there, on disk.
    fn has(&self, digest: Digest) -> bool {
        let _settled = self.naming(digest);
        self.path(digest).exists()
    }

    fn naming(&self, digest: Digest) -> MutexGuard<'_, ()> {
        self.naming[usize::from(digest.0[0])].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens an artifact for reading.
    pub fn open_read(&self, digest: Digest) -> io::Result<File> {
        File::open(self.path(digest))
    }

    /// Begins to receive an artifact of this size.
    pub fn begin(&self, digest: Digest, size: u64) -> Result<Incoming, ArtifactError> {
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(|error| self.io(&self.root, io::Error::other(error)))?;
        let path = self.root.join(format!("{INCOMING}{:016x}", u64::from_ne_bytes(name)));
        let file = File::create_new(&path).map_err(|source| self.io(&path, source))?;
        Ok(Incoming { artifacts: self.clone(), digest, size, file, path, hash: Sha256::new(), received: 0 })
    }

    /// Stores bytes that are at hand; gives their digest.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, ArtifactError> {
        let digest = Digest(Sha256::digest(bytes).into());
        if !self.has(digest) {
            let mut incoming = self.begin(digest, bytes.len() as u64)?;
            incoming.write(bytes)?;
            incoming.finish()?;
        }
        Ok(digest)
    }

    fn io(&self, path: &Path, source: io::Error) -> ArtifactError {
        ArtifactError::Io { path: path.to_owned(), source }
    }
}

const INCOMING: &str = "incoming-";

/// One for each first byte of a digest.
const FOLDERS: usize = 256;

/// An artifact that is being received; removed unless it is finished.
#[derive(Debug)]
pub struct Incoming {
    artifacts: Artifacts,
    digest: Digest,
    size: u64,
    file: File,
    path: PathBuf,
    hash: Sha256,
    received: u64,
}

impl Incoming {
    /// Appends bytes; more than the size that was announced are refused.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ArtifactError> {
        self.received += bytes.len() as u64;
        if self.received > self.size {
            return Err(self.wrong_size());
        }
        self.hash.update(bytes);
        self.file.write_all(bytes).map_err(|source| self.artifacts.io(&self.path, source))
    }

    /// Puts the artifact in its place, on disk, if it is what it should be.
    pub fn finish(self) -> Result<(), ArtifactError> {
        if self.received != self.size {
            return Err(self.wrong_size());
        }
        let found = Digest(self.hash.clone().finalize().into());
        if found != self.digest {
            return Err(ArtifactError::Digest { expected: self.digest, found });
        }
        let target = self.artifacts.path(self.digest);
        self.place(&target).map_err(|source| self.artifacts.io(&target, source))
    }

    fn place(&self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        let _naming = self.artifacts.naming(self.digest);
        if target.exists() {
            // Somebody else was faster.
            return Ok(());
        }
        fs::rename(&self.path, target)?;
        durable::sync(durable::parent_of(target)).inspect_err(|_| {
            // A name that may be gone tomorrow is none; its sender sends it again.
            let _ = fs::remove_file(target);
        })
    }

    fn wrong_size(&self) -> ArtifactError {
        ArtifactError::Size { digest: self.digest, expected: self.size, found: self.received }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // After `finish` there is nothing under this name any more.
        let _ = fs::remove_file(&self.path);
    }
}
