//! The logs of all leases: `STATE/logs/LEASE.log`, each shipped by a task of its own.
//!
//! Owns a log's life: begun with the work, shipped while it is written, removed when all of it is
//! with the coordinator and the lease is answered. Says nothing about results.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io};

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::log_file::LogFile;
use super::{Bulk, shipper};
use crate::config::Bytes;
use crate::lease::LeaseId;
use crate::work::LogSink;

/// Calls that ship at the same time: a part of what one connection carries.
const MOST_SHIPPING: usize = 16;

/// The folder of logs.
#[derive(Debug)]
pub(crate) struct Logs {
    folder: PathBuf,
    limit: Bytes,
    bulk: Arc<Bulk>,
    permits: Arc<Semaphore>,
    open: BTreeMap<LeaseId, Arc<LeaseLog>>,
    /// Dropped with this worker, so that nothing is shipped after it.
    shippers: JoinSet<()>,
}

/// One lease's log.
#[derive(Debug)]
pub(crate) struct LeaseLog {
    pub(super) lease_id: LeaseId,
    pub(super) path: PathBuf,
    file: Mutex<LogFile>,
    progress: watch::Sender<Progress>,
}

/// How far a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) written: u64,
    pub(super) shipped: u64,
    /// The coordinator has answered for the lease: nothing more is written, nobody resends.
    pub(super) is_settled: bool,
    /// The coordinator does not want it.
    pub(super) is_given_up: bool,
}

impl Logs {
    pub(crate) fn open(folder: PathBuf, limit: Bytes, bulk: Arc<Bulk>) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let permits = Arc::new(Semaphore::new(MOST_SHIPPING));
        let (open, shippers) = (BTreeMap::new(), JoinSet::new());
        Ok(Self { folder, limit, bulk, permits, open, shippers })
    }

    /// Ships what an earlier start left behind. The leases in `owed` are not answered yet.
    pub(crate) fn recover(&mut self, owed: &[LeaseId]) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let is_log = path.extension().is_some_and(|extension| extension == "log");
            if let (true, Ok(lease_id)) = (is_log, LeaseId::parse(name)) {
                let log = self.begin(&lease_id)?;
                if !owed.contains(&lease_id) {
                    log.settle();
                    self.open.remove(&lease_id);
                }
            }
        }
        Ok(())
    }

    /// The log of a lease, which is shipped from now on.
    pub(crate) fn begin(&mut self, lease_id: &LeaseId) -> io::Result<Arc<LeaseLog>> {
        let path = self.folder.join(lease_id.as_str()).with_extension("log");
        let log = Arc::new(LeaseLog::open(lease_id.clone(), path, self.limit)?);
        self.open.insert(lease_id.clone(), Arc::clone(&log));
        while self.shippers.try_join_next().is_some() {}
        let (bulk, permits) = (Arc::clone(&self.bulk), Arc::clone(&self.permits));
        self.shippers.spawn(shipper::ship(Arc::clone(&log), bulk, permits));
        Ok(log)
    }

    /// The log of a lease that is not answered yet.
    pub(crate) fn of(&self, lease_id: &LeaseId) -> Option<Arc<LeaseLog>> {
        self.open.get(lease_id).cloned()
    }

    /// Ships what is left of the settled logs, at most for `most`.
    pub(crate) async fn finish(&mut self, most: Duration) {
        let open = self.open.len();
        let finished =
            async { while self.shippers.len() > open && self.shippers.join_next().await.is_some() {} };
        // Too late is no failure: the files stay.
        let _ = tokio::time::timeout(most, finished).await;
    }

    /// The coordinator has answered for the lease: its log goes when all of it is shipped.
    pub(crate) fn settle(&mut self, lease_id: &LeaseId) {
        if let Some(log) = self.open.remove(lease_id) {
            log.settle();
        }
    }
}

impl LeaseLog {
    fn open(lease_id: LeaseId, path: PathBuf, limit: Bytes) -> io::Result<Self> {
        let file = LogFile::open(&path, limit)?;
        let written = file.written();
        let progress = Progress { written, shipped: 0, is_settled: false, is_given_up: false };
        let progress = watch::Sender::new(progress);
        Ok(Self { lease_id, path, file: Mutex::new(file), progress })
    }

    /// Waits until everything written is with the coordinator, at most for `most`.
    pub(crate) async fn flush(&self, most: Duration) {
        let mut progress = self.progress.subscribe();
        let shipped = progress.wait_for(|now| now.is_given_up || now.shipped >= now.written);
        // Too late is no failure: the rest is shipped after the result.
        let _ = tokio::time::timeout(most, shipped).await;
    }

    pub(super) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(super) fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    pub(super) fn read(&self, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).read(offset, most)
    }

    /// The coordinator has this many bytes.
    pub(super) fn on_shipped(&self, length: u64) {
        self.progress.send_modify(|progress| progress.shipped = length.min(progress.written));
    }

    pub(super) fn give_up(&self) {
        self.progress.send_modify(|progress| progress.is_given_up = true);
    }

    fn settle(&self) {
        self.progress.send_modify(|progress| progress.is_settled = true);
    }
}

impl LogSink for LeaseLog {
    fn append(&self, bytes: &[u8]) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.append(bytes) {
            tracing::warn!("the output of lease {} is cut: {}: {error}", self.lease_id, self.path.display());
        }
        let written = file.written();
        drop(file);
        self.progress.send_modify(|progress| progress.written = written.max(progress.written));
    }
}

/// Takes output where no file can be had.
#[derive(Debug)]
pub(crate) struct NoLog;

impl LogSink for NoLog {
    fn append(&self, _bytes: &[u8]) {}
}

/// Whether a path is gone; for the one who removes a log.
pub(super) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("cannot remove the log {}: {error}", path.display());
    }
}
