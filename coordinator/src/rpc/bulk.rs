//! BulkService: artifacts and logs, beside the sessions.

use std::{
    fs::File,
    io::{self, Read as _},
    pin::Pin,
    time::Duration,
};

use tokio::sync::{Semaphore, mpsc};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};
use wavegate_engine::{Digest, LeaseId};
use wavegate_proto::{BULK_CHUNK_BYTES, v1};

use super::{FileWork, Services, status};
use crate::store::artifacts::{Artifacts, Incoming};

/// Chunks in memory between the wire and the disk, for each stream.
const CHUNKS_IN_FLIGHT: usize = 4;
const MAX_DIGESTS: usize = 10_000;
/// Each upload holds a file that is being written.
const MOST_UPLOADS: usize = 128;
/// An upload that sends nothing for so long gives its place up.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct BulkDesk {
    services: Services,
    uploads: Semaphore,
}

impl BulkDesk {
    pub(super) fn new(services: Services) -> Self {
        Self { services, uploads: Semaphore::new(MOST_UPLOADS) }
    }

    /// The next chunk of an upload; None at its end.
    async fn next_chunk(
        &self,
        chunks: &mut Streaming<v1::UploadRequest>,
    ) -> Result<Option<v1::UploadRequest>, Status> {
        tokio::select! {
            received = tokio::time::timeout(PATIENCE, chunks.message()) => match received {
                Ok(received) => received,
                Err(_) => Err(status::too_slow(PATIENCE)),
            },
            () = self.services.stopped() => Err(status::stopping()),
        }
    }
}

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
        self.services.access.check(request.metadata())?;
        let asked = request.into_inner().digests;
        if asked.len() > MAX_DIGESTS {
            return Err(status::invalid(format!("{} digests, expected at most {MAX_DIGESTS}", asked.len())));
        }
        let digests = asked.iter().map(|text| digest(text)).collect::<Result<Vec<_>, _>>()?;
        let artifacts = self.services.artifacts.clone();
        let missing = self.services.files.run(move || artifacts.missing(&digests)).await?;
        let missing = missing.into_iter().map(|digest| digest.to_string()).collect();
        Ok(Response::new(v1::FindMissingResponse { missing }))
    }

    async fn upload(
        &self,
        request: Request<Streaming<v1::UploadRequest>>,
    ) -> Result<Response<v1::UploadResponse>, Status> {
        self.services.access.check(request.metadata())?;
        // Refused at once: chunks that wait here would hold up all that shares their connection.
        let _place = self.uploads.try_acquire().map_err(|_| status::too_many_uploads(MOST_UPLOADS))?;
        let mut chunks = request.into_inner();
        let mut storing = Storing::new(self.services.artifacts.clone());
        while let Some(chunk) = self.next_chunk(&mut chunks).await? {
            storing = self.services.files.run(move || storing.with(&chunk)).await??;
        }
        let stored = self.services.files.run(move || storing.finish()).await??;
        Ok(Response::new(v1::UploadResponse { stored }))
    }

    async fn download(
        &self,
        request: Request<v1::DownloadRequest>,
    ) -> Result<Response<Self::DownloadStream>, Status> {
        self.services.access.check(request.metadata())?;
        let text = request.into_inner().digest;
        let artifact = digest(&text)?;
        let artifacts = self.services.artifacts.clone();
        let opening = self.services.files.run(move || {
            artifacts.open_read(artifact).map_err(|error| {
                if error.kind() == io::ErrorKind::NotFound {
                    return status::not_found("artifact", &text);
                }
                status::unavailable(format!("artifact {text} cannot be opened: {error}"))
            })
        });
        let file = opening.await??;
        let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
        let services = self.services.clone();
        tokio::spawn(async move {
            let sent = tokio::select! {
                sent = send_file(services.files, file, &sender) => sent,
                () = services.stopped() => Err(status::stopping()),
            };
            if let Err(status) = sent {
                // Waits for its reader: a stream that just ended would pass for a whole artifact.
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn append_log(
        &self,
        request: Request<Streaming<v1::AppendLogRequest>>,
    ) -> Result<Response<Self::AppendLogStream>, Status> {
        self.services.access.check(request.metadata())?;
        let mut pieces = request.into_inner();
        let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
        let services = self.services.clone();
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

/// An upload on its way to the disk. Each artifact that is whole stays, also when a later one fails; one
/// that breaks off is removed.
struct Storing {
    artifacts: Artifacts,
    current: Option<Incoming>,
    stored: u32,
}

impl Storing {
    fn new(artifacts: Artifacts) -> Self {
        Self { artifacts, current: None, stored: 0 }
    }

    fn with(mut self, chunk: &v1::UploadRequest) -> Result<Self, Status> {
        if !chunk.digest.is_empty() {
            self.finish_current()?;
            self.current = Some(self.artifacts.begin(digest(&chunk.digest)?, chunk.size)?);
        }
        if chunk.data.len() > BULK_CHUNK_BYTES {
            return Err(status::invalid(format!(
                "a chunk of {} bytes, expected at most {BULK_CHUNK_BYTES}",
                chunk.data.len()
            )));
        }
        match &mut self.current {
            Some(current) => current.write(&chunk.data)?,
            None => return Err(status::invalid("the first chunk of an artifact must name its digest")),
        }
        Ok(self)
    }

    fn finish_current(&mut self) -> Result<(), Status> {
        if let Some(whole) = self.current.take() {
            whole.finish()?;
            self.stored += 1;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<u32, Status> {
        self.finish_current()?;
        Ok(self.stored)
    }
}

/// Sends a file at its reader's pace; no thread waits for the reader.
async fn send_file(
    files: FileWork,
    mut file: File,
    sender: &mpsc::Sender<Result<v1::DownloadResponse, Status>>,
) -> Result<(), Status> {
    loop {
        let reading = files.run(move || {
            let mut data = Vec::with_capacity(BULK_CHUNK_BYTES);
            match (&mut file).take(BULK_CHUNK_BYTES as u64).read_to_end(&mut data) {
                Ok(_) => Ok((file, data)),
                Err(error) => Err(status::unavailable(format!("the artifact cannot be read: {error}"))),
            }
        });
        let (read, data) = reading.await??;
        if data.is_empty() || sender.send(Ok(v1::DownloadResponse { data })).await.is_err() {
            return Ok(());
        }
        file = read;
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
    let appended = services.files.run(move || logs.append(lease, piece.offset, &piece.data)).await?;
    let length =
        appended.map_err(|error| status::unavailable(format!("the log cannot be written: {error}")))?;
    services.news.log_grew(lease);
    Ok(v1::AppendLogResponse { lease_id: piece.lease_id, length })
}
