//! What a worker finds outside of itself: a clock, a network, randomness, threads for work with files, and
//! who does the work of leases.
//!
//! The real ones unless somebody brings others, as a simulation does. Decides nothing.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::task::JoinError;
use tonic::transport::{Channel, Endpoint, Error};

use crate::identity::random_seed;
use crate::session::{Perform, RealWork};
use crate::work::boottime_ms;

/// A connection that is being opened.
pub type Connecting = Pin<Box<dyn Future<Output = Result<Channel, Error>> + Send>>;

/// The world around one worker; clones share it.
#[derive(Clone)]
pub struct Outside {
    /// Milliseconds on a clock that runs during suspend. Deadlines of leases are told on it.
    pub clock_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// The way over the network.
    pub connect: Arc<dyn Fn(Endpoint) -> Connecting + Send + Sync>,
    /// Seeds of the jitter of waits.
    pub seed: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Where work with files is done.
    pub files: FileWork,
    /// Who does the work of leases.
    pub perform: Arc<dyn Perform>,
}

/// Where work with files is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileWork {
    /// On threads of their own: a slow disk holds up nothing else.
    OnThreads,
    /// At once, by who asks: simulated time knows nothing of threads.
    Inline,
}

impl Outside {
    /// This machine.
    #[must_use]
    pub fn real() -> Self {
        Self {
            clock_ms: Arc::new(boottime_ms),
            connect: Arc::new(|endpoint| Box::pin(async move { endpoint.connect().await })),
            seed: Arc::new(random_seed),
            files: FileWork::OnThreads,
            perform: Arc::new(RealWork),
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        (self.clock_ms)()
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Outside").field("files", &self.files).finish_non_exhaustive()
    }
}

impl FileWork {
    pub(crate) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        match self {
            Self::OnThreads => tokio::task::spawn_blocking(work).await,
            Self::Inline => Ok(work()),
        }
    }
}
