//! The work of a lease.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use wavegate_proto::v1;

use crate::blobs::BlobStore;

/// Takes the output of a lease.
pub trait LogSink: Send + Sync + 'static {
    /// Appends.
    fn append(&self, bytes: &[u8]);
}

/// What a lease's work needs.
pub struct WorkContext {
    /// The lease.
    pub lease_id: String,
    /// The worker.
    pub worker_id: String,
    /// The worker's directory.
    pub state_dir: PathBuf,
    /// The program to start as supervisor.
    pub supervisor: PathBuf,
    /// Between TERM and KILL.
    pub kill_grace: Duration,
    /// Artifacts.
    pub blobs: Arc<dyn BlobStore>,
    /// Output.
    pub log: Arc<dyn LogSink>,
    /// Milliseconds of the boot clock.
    pub deadline: watch::Receiver<u64>,
    /// True: end it.
    pub cancel: watch::Receiver<bool>,
    /// Told once when the work begins.
    pub started: oneshot::Sender<()>,
}

/// How work ended.
#[derive(Debug)]
pub enum Ending {
    /// With a result.
    Report(v1::Report),
    /// By request.
    Cancelled,
    /// By its deadline.
    Fenced,
    /// It could not be done here.
    Unable(String),
}

/// Does it.
pub async fn perform(_work: v1::Work, _context: WorkContext) -> Ending {
    Ending::Unable("not built in".to_owned())
}

/// Milliseconds of the clock that runs during suspend.
pub fn boottime_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}
