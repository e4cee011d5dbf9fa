//! Logs as files: one for each lease, appended at offsets so that a piece that comes twice is stored
//! once.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use wavegate_engine::LeaseId;

use super::durable;

/// The store of logs; cheap to clone, usable from several threads.
#[derive(Debug, Clone)]
pub struct Logs {
    root: Arc<Path>,
    /// One writer at a time for each log.
    writers: Arc<Mutex<BTreeMap<LeaseId, Arc<Mutex<()>>>>>,
}

impl Logs {
    /// The logs in this folder.
    pub fn open(root: &Path) -> io::Result<Self> {
        durable::create_dir_all(root)?;
        // Names that one that was killed left in memory alone.
        durable::sync(root)?;
        Ok(Self { root: root.into(), writers: Arc::default() })
    }

    /// Where the log of a lease is.
    #[must_use]
    pub fn path(&self, lease: LeaseId) -> PathBuf {
        self.root.join(format!("{lease}.log"))
    }

    /// How many bytes of the lease's log are stored.
    #[must_use]
    pub fn length(&self, lease: LeaseId) -> u64 {
        fs::metadata(self.path(lease)).map_or(0, |meta| meta.len())
    }

    /// Stores a piece that begins at the offset; gives the length that is on disk then. Bytes that are
    /// there already are passed over; a piece that would leave a gap is not stored.
    pub fn append(&self, lease: LeaseId, offset: u64, bytes: &[u8]) -> io::Result<u64> {
        let writer = self.writer(lease);
        let _one = writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = File::options().create(true).append(true).open(self.path(lease))?;
        let length = file.metadata()?.len();
        let end = offset.saturating_add(bytes.len() as u64);
        if offset > length || end <= length {
            // Written, and not synced, by one that was killed.
            file.sync_data()?;
            return Ok(length);
        }
        let fresh = &bytes[usize::try_from(length - offset).unwrap_or(bytes.len())..];
        if let Err(error) = self.write(&mut file, fresh, length == 0) {
            // Half a piece would shift all that follows; and what a failed sync leaves behind, a later
            // one takes for written: it has to come again.
            file.set_len(length)?;
            return Err(error);
        }
        Ok(end)
    }

    fn write(&self, file: &mut File, bytes: &[u8], is_first: bool) -> io::Result<()> {
        file.write_all(bytes)?;
        file.sync_data()?;
        if is_first { durable::sync(&self.root) } else { Ok(()) }
    }

    /// Bytes of the log from the offset on, at most `most`.
    pub fn read(&self, lease: LeaseId, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        let mut file = match File::open(self.path(lease)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(most as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn writer(&self, lease: LeaseId) -> Arc<Mutex<()>> {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        // Few logs grow at a time; the rest need no lock.
        writers.retain(|_, writer| Arc::strong_count(writer) > 1);
        writers.entry(lease).or_default().clone()
    }
}
