//! Brings one answer to the coordinator: its log first, files that it does not have yet, a large report as an
//! artifact, then the message. Tries once; the next welcome tries again.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use wavegate_proto::MAX_INLINE_BYTES;
use wavegate_proto::v1::{self, worker_message::Message};

use super::stream::Outbox;
use crate::blobs::{Blob, BlobStore};
use crate::bulk::LeaseLog;
use crate::spool::Answer;

/// How long a result waits for its log. Whoever reads the result wants the log's end as well, but
/// not at the price of the result.
const FLUSH: Duration = Duration::from_secs(2);

/// Everything that one delivery needs.
pub(super) struct Delivery {
    pub(super) answer: Answer,
    pub(super) log: Option<Arc<LeaseLog>>,
    /// What the result names and the coordinator may not have.
    pub(super) files: Vec<Blob>,
    pub(super) blobs: Arc<dyn BlobStore>,
    pub(super) outbox: Outbox,
}

impl Delivery {
    pub(super) async fn run(self) {
        if let Some(log) = &self.log {
            log.flush(FLUSH).await;
        }
        let lease_id = self.answer.lease_id().clone();
        let message = match self.answer {
            Answer::Finished { lease_id, mut report } => {
                // One that names no result needs none of them.
                let files = if report.changes.is_empty() { Vec::new() } else { self.files };
                if let Err(why) = publish(files, self.blobs.as_ref()).await {
                    tracing::error!("the files of lease {lease_id} cannot be sent: {why}");
                    without_files(&mut report, &why);
                }
                match body(*report, self.blobs.as_ref()).await {
                    Ok(body) => {
                        Message::Finished(v1::Finished { lease_id: lease_id.to_string(), body: Some(body) })
                    }
                    Err(why) => {
                        return tracing::error!("the result of lease {lease_id} cannot be sent: {why}");
                    }
                }
            }
            Answer::Released { lease_id, reason, note } => Message::Released(v1::Released {
                lease_id: lease_id.to_string(),
                reason: reason.into(),
                note,
            }),
        };
        if let Err(error) = self.outbox.send(message) {
            tracing::error!("the answer for lease {lease_id}: {error}");
        }
    }
}

async fn publish(files: Vec<Blob>, blobs: &dyn BlobStore) -> Result<(), String> {
    if files.is_empty() {
        return Ok(());
    }
    blobs.publish(files).await.map_err(|error| error.to_string())
}

/// What they were to be is done again; what they cost is booked. What was interrupted keeps its own reason.
fn without_files(report: &mut v1::Report, why: &str) {
    report.changes.clear();
    if report.outcome() == v1::Outcome::Succeeded {
        report.set_outcome(v1::Outcome::Failed);
        report.summary = format!("the result cannot be stored: {why}");
    }
}

/// The report itself, or the name of the artifact that holds it.
async fn body(report: v1::Report, blobs: &dyn BlobStore) -> Result<v1::finished::Body, String> {
    if report.encoded_len() <= MAX_INLINE_BYTES {
        return Ok(v1::finished::Body::Report(report));
    }
    let blob = Blob::of_bytes(report.encode_to_vec());
    let digest = blob.digest().to_string();
    blobs.publish(vec![blob]).await.map_err(|error| error.to_string())?;
    Ok(v1::finished::Body::ReportDigest(digest))
}
