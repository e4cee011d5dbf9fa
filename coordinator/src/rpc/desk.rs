//! What every service works with: the way to the driver, the reader, artifacts and logs. Owns the small
//! things that services share.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::sync::{Semaphore, watch};
use tonic::Status;
use wavegate_engine::PlanId;

use super::{Access, News, session::SessionTimings, status};
use crate::{
    driver::{Handle, StoreError},
    prices::Prices,
    store::{Epoch, artifacts::Artifacts, logs::Logs, reader::Reader},
};

/// Whether a client is still there is looked at this often, also where nothing happens.
const LOOK_ANYWAY: Duration = Duration::from_secs(1);

/// Reads of the database at a time; others wait. Each may hold a whole plan in memory, of a hundred thousand
/// tasks some hundred megabytes, and more at once than this are not faster on the machines that we know.
pub const MOST_READS: usize = 8;

/// Everything that the services need; cheap to clone.
#[derive(Debug, Clone)]
pub struct Services {
    pub handle: Handle,
    pub reader: Reader,
    pub artifacts: Artifacts,
    pub logs: Logs,
    pub access: Arc<Access>,
    pub epoch: Epoch,
    pub database_id: String,
    pub timings: SessionTimings,
    pub prices: Arc<Prices>,
    pub files: FileWork,
    pub news: News,
    /// Places for reads of the database.
    pub reading: Arc<Semaphore>,
    /// True when streams are to end.
    pub stop: watch::Receiver<bool>,
    /// Numbers sessions.
    pub sessions: Arc<AtomicU64>,
}

/// Where work with files is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileWork {
    /// On threads of their own: a slow disk holds up no stream.
    OnThreads,
    /// At once, by who asks: simulated time knows nothing of threads.
    Inline,
}

impl FileWork {
    pub(super) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        match self {
            Self::OnThreads => tokio::task::spawn_blocking(work).await.map_err(status::internal),
            Self::Inline => Ok(work()),
        }
    }
}

impl Services {
    /// Reads off the async threads, when there is a place for it.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Status> {
        let _place = self.reading.acquire().await.map_err(status::internal)?;
        let reader = self.reader.clone();
        Ok(self.files.run(move || read(&reader)).await??)
    }

    /// The plan that a request names by id or name.
    pub(super) async fn plan_id(&self, plan: &str) -> Result<PlanId, Status> {
        if plan.is_empty() {
            return Err(status::invalid("`plan` is empty, expected a plan's id or name"));
        }
        let name = plan.to_owned();
        let found = self.read(move |reader| reader.plan_id(&name)).await?;
        found.ok_or_else(|| status::not_found("plan", plan))
    }

    /// Waits until streams are to end.
    pub(super) async fn stopped(&self) {
        let mut stop = self.stop.clone();
        // A sender that is gone means the same.
        let _ = stop.wait_for(|stop| *stop).await;
    }

    /// Waits for the next commit, but not for ever. Refused when streams are to end: one that ends
    /// well says that there is no more to come.
    pub(super) async fn next_commit(&mut self) -> Result<(), Status> {
        let stop = self.clone();
        tokio::select! {
            biased;
            () = stop.stopped() => Err(status::stopping()),
            // Without a driver there is nothing that could be committed.
            is_there = self.news.committed() => if is_there { Ok(()) } else { Err(status::stopping()) },
            () = tokio::time::sleep(LOOK_ANYWAY) => Ok(()),
        }
    }
}

/// Who asks, for the record.
pub(super) fn by(text: String) -> String {
    if text.trim().is_empty() { "operator".to_owned() } else { text }
}
