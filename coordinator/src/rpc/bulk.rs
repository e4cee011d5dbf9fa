//! BulkService: artifacts and logs, beside the sessions.

use std::{io::Read as _, pin::Pin};

use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};
use wavegate_engine::{Digest, LeaseId};
use wavegate_proto::{BULK_CHUNK_BYTES, v1};

use super::{Services, status};
use crate::store::artifacts::{Artifacts, Incoming};

/// Chunks in memory between the wire and the disk, for each stream.
const CHUNKS_IN_FLIGHT: usize = 4;
const MAX_DIGESTS: usize = 10_000;

#[derive(Debug)]
pub(super) struct BulkDesk(pub(super) Services);

fn digest(text: &str) -> Result<Digest, Status> {
    text.parse().map_err(|error| status::invalid(format!("a digest: {error}")))
}

#[tonic::async_trait]
impl v1::bulk_service_server::BulkService for BulkDesk {
    type DownloadStream = ReceiverStream<Result<v1::DownloadResponse, Status>>;
    type AppendLogStream = Pin<Box<dyn Stream<Item = Result<v1::AppendLogResponse, Status>> + Send>>;

    async fn find_missing(
        &self,
        request: Request<v1::FindMissingRequest>,
    ) -> Result<Response<v1::FindMissingResponse>, Status> {
        self.0.access.check(request.metadata())?;
        let asked = request.into_inner().digests;
        if asked.len() > MAX_DIGESTS {
            return Err(status::invalid(format!("{} digests, expected at most {MAX_DIGESTS}", asked.len())));
        }
        let digests = asked.iter().map(|text| digest(text)).collect::<Result<Vec<_>, _>>()?;
        let artifacts = self.0.artifacts.clone();
        let missing = tokio::task::spawn_blocking(move || artifacts.missing(&digests)).await;
        let missing =
            missing.map_err(status::internal)?.into_iter().map(|digest| digest.to_string()).collect();
        Ok(Response::new(v1::FindMissingResponse { missing }))
    }

    async fn upload(
        &self,
        request: Request<Streaming<v1::UploadRequest>>,
    ) -> Result<Response<v1::UploadResponse>, Status> {
        self.0.access.check(request.metadata())?;
        let mut chunks = request.into_inner();
        let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
        let artifacts = self.0.artifacts.clone();
        let storing = tokio::task::spawn_blocking(move || store(&artifacts, receiver));
        let mut broken = None;
        loop {
            let received = tokio::select! {
                received = chunks.message() => received,
                () = self.0.stopped() => Err(status::stopping()),
            };
            match received {
                Ok(Some(chunk)) => {
                    // The storing side stopped: it says why below.
                    if sender.send(Piece::Chunk(chunk)).await.is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(status) => {
                    broken = Some(status);
                    break;
                }
            }
        }
        if broken.is_none() {
            // Tells a whole upload from one that was cut off.
            let _ = sender.send(Piece::End).await;
        }
        drop(sender);
        let stored = storing.await.map_err(status::internal)??;
        match broken {
            Some(status) => Err(status),
            None => Ok(Response::new(v1::UploadResponse { stored })),
        }
    }

    async fn download(
        &self,
        request: Request<v1::DownloadRequest>,
    ) -> Result<Response<Self::DownloadStream>, Status> {
        self.0.access.check(request.metadata())?;
        let text = request.into_inner().digest;
        let artifact = digest(&text)?;
        let file = self.0.artifacts.open_read(artifact).map_err(|_| status::not_found("artifact", &text))?;
        let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
        tokio::task::spawn_blocking(move || send_file(file, &sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn append_log(
        &self,
        request: Request<Streaming<v1::AppendLogRequest>>,
    ) -> Result<Response<Self::AppendLogStream>, Status> {
        self.0.access.check(request.metadata())?;
        let mut pieces = request.into_inner();
        let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
        let services = self.0.clone();
        tokio::spawn(async move {
            loop {
                let answer = tokio::select! {
                    received = pieces.message() => match received {
                        Ok(Some(piece)) => append(&services, piece).await,
                        Ok(None) | Err(_) => return,
                    },
                    () = services.stopped() => Err(status::stopping()),
                };
                let failed = answer.is_err();
                if sender.send(answer).await.is_err() || failed {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// What the storing side of an upload receives.
enum Piece {
    Chunk(v1::UploadRequest),
    /// The upload is whole; without this it broke off.
    End,
}

/// Stores each artifact as its chunks come in; all that are whole stay, also when a later one fails.
fn store(artifacts: &Artifacts, mut chunks: mpsc::Receiver<Piece>) -> Result<u32, Status> {
    let mut stored = 0;
    let mut current: Option<Incoming> = None;
    while let Some(piece) = chunks.blocking_recv() {
        let is_first =
            matches!(&piece, Piece::End) || matches!(&piece, Piece::Chunk(it) if !it.digest.is_empty());
        if is_first && let Some(whole) = current.take() {
            whole.finish()?;
            stored += 1;
        }
        let Piece::Chunk(chunk) = piece else { return Ok(stored) };
        if is_first {
            current = Some(artifacts.begin(digest(&chunk.digest)?, chunk.size)?);
        }
        if chunk.data.len() > BULK_CHUNK_BYTES {
            return Err(status::invalid(format!(
                "a chunk of {} bytes, expected at most {BULK_CHUNK_BYTES}",
                chunk.data.len()
            )));
        }
        match &mut current {
            Some(current) => current.write(&chunk.data)?,
            None => return Err(status::invalid("the first chunk of an artifact must name its digest")),
        }
    }
    Ok(stored)
}

fn send_file(mut file: std::fs::File, sender: &mpsc::Sender<Result<v1::DownloadResponse, Status>>) {
    let mut buffer = vec![0; BULK_CHUNK_BYTES];
    loop {
        let answer = match file.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => Ok(v1::DownloadResponse { data: buffer[..read].to_vec() }),
            Err(error) => Err(status::unavailable(format!("the artifact cannot be read: {error}"))),
        };
        let failed = answer.is_err();
        if sender.blocking_send(answer).is_err() || failed {
            return;
        }
    }
}

async fn append(services: &Services, piece: v1::AppendLogRequest) -> Result<v1::AppendLogResponse, Status> {
    let lease: LeaseId =
        piece.lease_id.parse().map_err(|error| status::invalid(format!("`lease_id`: {error}")))?;
    if piece.data.len() > BULK_CHUNK_BYTES {
        return Err(status::invalid(format!(
            "a piece of {} bytes, expected at most {BULK_CHUNK_BYTES}",
            piece.data.len()
        )));
    }
    let logs = services.logs.clone();
    let appended = tokio::task::spawn_blocking(move || logs.append(lease, piece.offset, &piece.data)).await;
    let length = appended
        .map_err(status::internal)?
        .map_err(|error| status::unavailable(format!("the log cannot be written: {error}")))?;
    Ok(v1::AppendLogResponse { lease_id: piece.lease_id, length })
}
