//! Answers on disk until the coordinator has answered them.
//!
//! Owns `STATE/spool`: one file for each lease, its encoding and its life, and beside it the files that a result names
//! (`files`) until the coordinator has them. Sends nothing and decides
//! nothing; a file that cannot be read is kept aside and named, never trusted and never deleted.

mod answer;
mod files;
mod frame;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub use answer::Answer;

use wavegate_proto::v1;

use crate::blobs::Blob;
use crate::coordinator::chain;
use crate::durable;
use crate::lease::LeaseId;
use crate::outside::FileWork;
use crate::work::Keeper;

/// A refused result may be the only trace of work that was paid for.
const REFUSED_KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

const EXTENSION: &str = "report";

/// The spool cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct SpoolError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The folder of answers.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    folder: PathBuf,
}

/// What a worker finds in its spool when it starts.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) answers: Vec<Answer>,
    /// Where the files that cannot be read were put aside, each with why.
    pub(crate) unreadable: Vec<(PathBuf, String)>,
}

impl Spool {
    /// Opens the folder, making it where there is none, and clears what an interrupted write left.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, SpoolError> {
        let spool = Self { folder };
        for folder in [spool.folder.clone(), spool.refused(), spool.unreadable()] {
            durable::create_dir_all(&folder).map_err(|source| failed("make", &folder, source))?;
        }
        // What one that was killed had renamed: sent once more, it must not be gone after a power loss.
        sync(&spool.folder)?;
        for path in entries(&spool.folder)? {
            if path.extension().is_some_and(|extension| extension == "new") {
                fs::remove_file(&path).map_err(|source| failed("remove", &path, source))?;
            }
        }
        spool.clear_orphans()?;
        Ok(spool)
    }

    /// Every answer that was not answered, by lease; what cannot be read is put aside.
    pub(crate) fn load(&self) -> Result<Found, SpoolError> {
        let mut found = Found::default();
        for path in entries(&self.folder)? {
            match read(&path) {
                Ok(answer) => found.answers.push(answer),
                Err(why) => found.unreadable.push((self.put_aside(&path)?, why)),
            }
        }
        Ok(found)
    }

    /// Puts the answer on disk: when this returns, it survives a power loss.
    pub(crate) fn store(&self, answer: &Answer) -> Result<(), SpoolError> {
        let path = self.file_of(answer.lease_id());
        let temporary = path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut file = File::create(&temporary)?;
            file.write_all(&frame::encode(answer))?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|source| {
            // A torn half must not take the room that the next try needs.
            let _ = fs::remove_file(&temporary);
            failed("write", &path, source)
        })?;
        sync(&self.folder)
    }

    /// As [`Self::store`], with the files that the answer names. Keeps nothing where it fails.
    fn store_with_files(&self, answer: &Answer, blobs: &[Blob]) -> Result<(), SpoolError> {
        // The files first: an answer in the spool names nothing that is not there.
        let stored = self.store_files(answer.lease_id(), blobs).and_then(|()| self.store(answer));
        stored.inspect_err(|_| {
            // What stays takes room until the next start clears it.
            let _ = self.remove(answer.lease_id());
        })
    }

    /// The coordinator has it: the file goes, and then what belongs to it.
    pub(crate) fn remove(&self, lease_id: &LeaseId) -> Result<(), SpoolError> {
        let path = self.file_of(lease_id);
        match fs::remove_file(&path) {
            Ok(()) => {}
            // Its write had failed, or it goes by itself with the memory of this worker.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed("remove", &path, source)),
        }
        files::remove_files(&path)
    }

    /// The coordinator does not want it: kept for a week, and where.
    pub(crate) fn refuse(&self, answer: &Answer) -> Result<PathBuf, SpoolError> {
        let path = self.file_of(answer.lease_id());
        if !path.exists() {
            self.store(answer)?;
        }
        files::move_files(&path, &self.refused())?;
        let kept = self.refused().join(path.file_name().unwrap_or_default());
        fs::rename(&path, &kept).map_err(|source| failed("move", &path, source))?;
        // The week begins now, not when the work ended.
        if let Ok(file) = File::options().append(true).open(&kept) {
            let _ = file.set_modified(SystemTime::now());
        }
        self.sync_move(&self.refused())?;
        Ok(kept)
    }

    /// Deletes what was refused more than a week before `now`.
    pub(crate) fn prune(&self, now: SystemTime) -> Result<(), SpoolError> {
        for path in entries(&self.refused())? {
            let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
            let modified = modified.map_err(|source| failed("look at", &path, source))?;
            if now.duration_since(modified).is_ok_and(|age| age > REFUSED_KEPT_FOR) {
                // Without its report nobody would find the files again.
                files::remove_files(&path)?;
                fs::remove_file(&path).map_err(|source| failed("remove", &path, source))?;
            }
        }
        Ok(())
    }

    fn put_aside(&self, path: &Path) -> Result<PathBuf, SpoolError> {
        let aside = self.unreadable().join(path.file_name().unwrap_or_default());
        files::move_files(path, &self.unreadable())?;
        fs::rename(path, &aside).map_err(|source| failed("move", path, source))?;
        self.sync_move(&self.unreadable())?;
        Ok(aside)
    }

    /// The new name first: between the two there may be both, never none.
    fn sync_move(&self, to: &Path) -> Result<(), SpoolError> {
        sync(to)?;
        sync(&self.folder)
    }

    fn file_of(&self, lease_id: &LeaseId) -> PathBuf {
        self.folder.join(lease_id.as_str()).with_extension(EXTENSION)
    }

    fn refused(&self) -> PathBuf {
        self.folder.join("refused")
    }

    fn unreadable(&self) -> PathBuf {
        self.folder.join("unreadable")
    }
}

/// The spool, for work that ends with files.
pub(crate) struct Keeping {
    pub(crate) spool: Spool,
    pub(crate) files: FileWork,
}

#[tonic::async_trait]
impl Keeper for Keeping {
    async fn keep(&self, lease_id: &str, report: v1::Report, blobs: &[Blob]) -> Result<(), String> {
        let lease_id = LeaseId::parse(lease_id).map_err(|error| error.to_string())?;
        let (spool, blobs) = (self.spool.clone(), blobs.to_vec());
        let answer = Answer::Finished { lease_id, report: Box::new(report) };
        let stored = self.files.run(move || spool.store_with_files(&answer, &blobs)).await;
        stored.map_err(|error| error.to_string())?.map_err(|error| chain(&error))
    }
}

fn read(path: &Path) -> Result<Answer, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let answer = frame::decode(&bytes).map_err(|error| error.to_string())?;
    let named = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if answer.lease_id().as_str() != named {
        return Err(format!("it is about lease {}, but its name says {named}", answer.lease_id()));
    }
    Ok(answer)
}

/// The files of a folder, sorted; folders in it are left out.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                paths.push(entry.path());
            }
        }
        paths.sort();
        Ok(paths)
    };
    list().map_err(|source| failed("read", folder, source))
}

fn sync(folder: &Path) -> Result<(), SpoolError> {
    durable::sync(folder).map_err(|source| failed("sync", folder, source))
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> SpoolError {
    SpoolError { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
