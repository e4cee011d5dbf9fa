//! The files of finished results that the coordinator does not have yet: `STATE/spool/LEASE.files/DIGEST`, linked or
//! copied out of the workspace, so that a worker that is killed amid an upload delivers them after its next start.
//!
//! Owns their names and their life, which ends with the answer's. Verifies nothing: the coordinator does.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::syncfs;

use super::{Spool, SpoolError, failed, sync};
use crate::blobs::Blob;
use crate::digest::Digest;
use crate::durable;
use crate::lease::LeaseId;

const EXTENSION: &str = "files";

/// With more files, one sync of the whole file system takes less time than one of each: 500 took over a second.
const MOST_SYNCED_ALONE: usize = 64;

impl Spool {
    /// Keeps the files: when this returns, they survive a power loss.
    pub(super) fn store_files(&self, lease_id: &LeaseId, blobs: &[Blob]) -> Result<(), SpoolError> {
        let folder = self.files_folder(lease_id);
        // Named on disk before the answer is: it names nothing that is not there.
        durable::create_dir_all(&folder).map_err(|source| failed("make", &folder, source))?;
        let each = blobs.len() <= MOST_SYNCED_ALONE;
        for blob in blobs {
            let path = folder.join(blob.digest().to_string());
            take(blob, &path, each).map_err(|source| failed("write", &path, source))?;
        }
        if !each {
            File::open(&folder)
                .and_then(|folder| Ok(syncfs(folder)?))
                .map_err(|source| failed("sync", &folder, source))?;
        }
        sync(&folder)
    }

    /// What is kept for this lease; nothing where the coordinator has it all.
    pub(crate) fn files_of(&self, lease_id: &LeaseId) -> Vec<Blob> {
        let entries = fs::read_dir(self.files_folder(lease_id)).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let digest: Digest = entry.file_name().to_str()?.parse().ok()?;
                Some(Blob::File { digest, path: entry.path(), size: entry.metadata().ok()?.len() })
            })
            .collect()
    }

    /// Clears files without an answer: their worker was killed before it was written.
    pub(super) fn clear_orphans(&self) -> Result<(), SpoolError> {
        let entries = fs::read_dir(&self.folder).map_err(|source| failed("read", &self.folder, source))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_files = path.extension().is_some_and(|extension| extension == EXTENSION);
            if is_files && !path.with_extension(super::EXTENSION).exists() {
                fs::remove_dir_all(&path).map_err(|source| failed("remove", &path, source))?;
            }
        }
        Ok(())
    }

    fn files_folder(&self, lease_id: &LeaseId) -> PathBuf {
        files_beside(&self.file_of(lease_id))
    }
}

/// The files beside an answer's file go where it goes, if there are any.
pub(super) fn move_files(report: &Path, folder: &Path) -> Result<(), SpoolError> {
    let files = files_beside(report);
    match fs::rename(&files, folder.join(files.file_name().unwrap_or_default())) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("move", &files, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes the files beside an answer's file, if there are any.
pub(super) fn remove_files(report: &Path) -> Result<(), SpoolError> {
    let files = files_beside(report);
    match fs::remove_dir_all(&files) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &files, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn files_beside(report: &Path) -> PathBuf {
    report.with_extension(EXTENSION)
}

fn take(blob: &Blob, path: &Path, and_sync: bool) -> io::Result<()> {
    match blob {
        Blob::Bytes { bytes, .. } => File::create(path)?.write_all(bytes)?,
        Blob::File { path: source, .. } => {
            match fs::hard_link(source, path) {
                // An earlier try: the same bytes.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Ok(()) => {}
                // On another disk.
                Err(_) => drop(fs::copy(source, path)?),
            }
        }
    }
    if and_sync { File::open(path)?.sync_all() } else { Ok(()) }
}
