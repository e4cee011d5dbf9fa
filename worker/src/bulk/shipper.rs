//! Ships one log: in bursts, one chunk on its way at a time, from where the coordinator says it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use wavegate_proto::{BULK_CHUNK_BYTES, v1};

use super::logs::{LeaseLog, remove};
use super::{Bulk, Client, is_passing};

/// Output comes in small pieces; a person who watches does not see a delay this short.
const GATHER: Duration = Duration::from_millis(50);

/// A coordinator that takes a chunk and says nothing for this long is away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Answers in a row that move nothing: the coordinator does not want the rest.
const MOST_STANDSTILLS: u32 = 5;

/// Ships the log until its lease is settled and all of it is shipped, then removes the file.
pub(super) async fn ship(log: Arc<LeaseLog>, bulk: Arc<Bulk>, permits: Arc<Semaphore>) {
    let mut backoff = bulk.retry_backoff();
    let mut refusals = 0;
    while wait_for_more(&log).await {
        let Ok(permit) = permits.acquire().await else {
            return;
        };
        let shipped = bulk.once(|client| ship_burst(client, Arc::clone(&log))).await;
        drop(permit);
        match shipped {
            Ok(()) => {
                backoff.reset();
                refusals = 0;
                tokio::time::sleep(GATHER).await;
            }
            Err(status) => {
                refusals += u32::from(!is_passing(&status));
                if refusals >= MOST_STANDSTILLS {
                    tracing::warn!("the log of lease {} is not shipped further: {status}", log.lease_id);
                    log.give_up();
                }
                tokio::time::sleep(Duration::from_millis(backoff.next_ms())).await;
            }
        }
    }
    remove(&log.path);
}

/// Waits until there is something to ship (true) or the log may go (false).
async fn wait_for_more(log: &LeaseLog) -> bool {
    let mut watch = log.watch();
    let moved = watch.wait_for(|now| {
        let has_more = now.written > now.shipped && !now.is_given_up;
        has_more || now.is_settled
    });
    moved.await.is_ok_and(|now| now.written > now.shipped && !now.is_given_up)
}

/// Ships until the coordinator has what was written.
async fn ship_burst(mut client: Client, log: Arc<LeaseLog>) -> Result<(), Status> {
    let (chunks, receiver) = mpsc::channel(1);
    let mut sent = send_chunk(&log, &chunks).await?;
    let opened = client.append_log(ReceiverStream::new(receiver));
    let mut answers = in_time(opened).await?.into_inner();
    let mut standstills = 0;
    loop {
        let length = next_length(&mut answers, &log).await?;
        standstills = if length > sent { 0 } else { standstills + 1 };
        if standstills >= MOST_STANDSTILLS {
            return Err(Status::failed_precondition("the coordinator keeps none of it"));
        }
        log.on_shipped(length);
        let now = log.progress();
        if now.shipped >= now.written {
            return Ok(());
        }
        sent = send_chunk(&log, &chunks).await?;
    }
}

/// Sends the next chunk; gives its offset.
async fn send_chunk(log: &LeaseLog, chunks: &mpsc::Sender<v1::AppendLogRequest>) -> Result<u64, Status> {
    let offset = log.progress().shipped;
    let read = log.read(offset, BULK_CHUNK_BYTES);
    let data = read.map_err(|error| Status::data_loss(format!("{}: {error}", log.path.display())))?;
    let request = v1::AppendLogRequest { lease_id: log.lease_id.to_string(), offset, data };
    chunks.send(request).await.map_err(|_| Status::unavailable("the coordinator takes no more chunks"))?;
    Ok(offset)
}

/// The length that the coordinator has now.
async fn next_length(answers: &mut Streaming<v1::AppendLogResponse>, log: &LeaseLog) -> Result<u64, Status> {
    let answer = in_time(answers.message()).await?;
    let answer = answer.ok_or_else(|| Status::unavailable("the coordinator ended the call"))?;
    if answer.lease_id != log.lease_id.as_str() {
        return Err(Status::failed_precondition("the coordinator answered for another lease"));
    }
    Ok(answer.length)
}

async fn in_time<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let answered = tokio::time::timeout(ANSWER_TIMEOUT, call).await;
    answered.unwrap_or_else(|_| Err(Status::unavailable("no answer in time")))
}
