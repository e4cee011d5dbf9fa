//! Artifacts and logs, on a connection of their own so that they never delay a heartbeat.
//!
//! Owns that connection and when a call is tried again. What is kept locally belongs to the blob
//! cache and to the log files; who may still need an artifact is decided by who waits for it.

mod blobs;
mod log_file;
mod logs;
mod shipper;

use std::future::Future;
use std::time::Duration;

pub(crate) use blobs::RemoteBlobs;
pub(crate) use logs::{LeaseLog, Logs, NoLog};
use tokio::sync::Mutex;
use tonic::{Code, Status};
use wavegate_proto::v1::bulk_service_client::BulkServiceClient;

use crate::backoff::Backoff;
use crate::coordinator::{Coordinator, Service};
use crate::outside::{FileWork, Outside};

type Client = BulkServiceClient<Service>;

/// A coordinator that is started again is back within a second, as a rule.
const RETRY_MS: (u64, u64) = (100, 5_000);

/// The second connection.
#[derive(Debug)]
pub(crate) struct Bulk {
    coordinator: Coordinator,
    outside: Outside,
    client: Mutex<Option<Client>>,
}

impl Bulk {
    pub(crate) fn new(coordinator: Coordinator, outside: Outside) -> Self {
        Self { coordinator, outside, client: Mutex::new(None) }
    }

    fn retry_backoff(&self) -> Backoff {
        Backoff::new(RETRY_MS.0, RETRY_MS.1, (self.outside.seed)())
    }

    fn files(&self) -> FileWork {
        self.outside.files
    }

    /// Calls until there is an answer that another try would not change. The caller drops this when
    /// the answer no longer matters: nothing else bounds it.
    async fn retrying<T, Attempt>(&self, attempt: impl Fn(Client) -> Attempt) -> Result<T, Status>
    where
        Attempt: Future<Output = Result<T, Status>>,
    {
        let mut backoff = self.retry_backoff();
        loop {
            match self.once(&attempt).await {
                Err(status) if is_passing(&status) => {
                    tracing::debug!("a bulk call is tried again: {status}");
                    tokio::time::sleep(Duration::from_millis(backoff.next_ms())).await;
                }
                answer => return answer,
            }
        }
    }

    /// Calls once; after a failure of the connection the next call opens another.
    async fn once<T, Attempt>(&self, attempt: impl Fn(Client) -> Attempt) -> Result<T, Status>
    where
        Attempt: Future<Output = Result<T, Status>>,
    {
        let answer = attempt(self.client().await?).await;
        if let Err(status) = &answer
            && is_passing(status)
        {
            *self.client.lock().await = None;
        }
        answer
    }

    async fn client(&self) -> Result<Client, Status> {
        let mut kept = self.client.lock().await;
        if let Some(client) = &*kept {
            return Ok(client.clone());
        }
        let connected = self.coordinator.connect().await;
        let (channel, bearer) = connected.map_err(|error| Status::unavailable(error.to_string()))?;
        let client = BulkServiceClient::with_interceptor(channel, bearer);
        *kept = Some(client.clone());
        Ok(client)
    }
}

/// Whether the same call may be answered otherwise later: a coordinator that is away, busy, out of
/// room or started again with another token.
fn is_passing(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable
        | Code::Unknown
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::ResourceExhausted
        | Code::Internal
        | Code::Unauthenticated => true,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss => false,
    }
}
