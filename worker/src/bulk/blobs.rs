//! The coordinator's artifacts: what is missing here is fetched, what is missing there is published.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use wavegate_proto::{BULK_CHUNK_BYTES, v1};

use super::{Bulk, Client};
use crate::blobs::{Blob, BlobCache, BlobError, BlobStore, Incoming};
use crate::digest::Digest;

/// What one question about missing artifacts may name.
const MOST_DIGESTS: usize = 10_000;

/// Artifacts in one upload: what a broken connection makes us send again.
const MOST_BLOBS: usize = 256;

/// The artifacts of a coordinator, with a cache on this machine.
#[derive(Debug)]
pub(crate) struct RemoteBlobs {
    bulk: Arc<Bulk>,
    cache: BlobCache,
}

impl RemoteBlobs {
    pub(crate) fn new(bulk: Arc<Bulk>, cache: BlobCache) -> Self {
        Self { bulk, cache }
    }

    async fn download(&self, digest: Digest) -> Result<(), BlobError> {
        let received = self.bulk.retrying(|client| receive(client, digest, &self.cache)).await;
        let incoming = received.map_err(|status| refusal(digest, &status))??;
        let cache = self.cache.clone();
        let finish = self.bulk.files().run(move || cache.finish(incoming, digest)).await;
        finish.map_err(|error| BlobError::Refused(error.to_string()))?
    }

    async fn missing(&self, digests: Vec<String>) -> Result<Vec<String>, BlobError> {
        let asked = self.bulk.retrying(|mut client| {
            let request = v1::FindMissingRequest { digests: digests.clone() };
            async move { client.find_missing(request).await }
        });
        let answer = asked.await.map_err(|status| BlobError::Refused(status.to_string()))?;
        Ok(answer.into_inner().missing)
    }

    /// Uploads those that are missing; what arrived before a connection broke is not sent again.
    async fn upload(&self, blobs: &[Blob]) -> Result<(), BlobError> {
        let sent = self.bulk.retrying(|client| send(client, blobs)).await;
        sent.map_err(|status| BlobError::Refused(status.to_string()))?
    }
}

#[tonic::async_trait]
impl BlobStore for RemoteBlobs {
    async fn fetch(&self, digests: &[Digest]) -> Result<(), BlobError> {
        for digest in digests {
            if !self.cache.has(*digest) {
                self.download(*digest).await?;
            }
        }
        Ok(())
    }

    async fn publish(&self, blobs: Vec<Blob>) -> Result<(), BlobError> {
        let mut by_name: BTreeMap<String, Blob> =
            blobs.into_iter().map(|blob| (blob.digest().to_string(), blob)).collect();
        let names: Vec<String> = by_name.keys().cloned().collect();
        for names in names.chunks(MOST_DIGESTS) {
            let missing = self.missing(names.to_vec()).await?;
            let missing: Vec<Blob> = missing.iter().filter_map(|name| by_name.remove(name)).collect();
            for blobs in missing.chunks(MOST_BLOBS) {
                self.upload(blobs).await?;
            }
        }
        Ok(())
    }

    fn cache(&self) -> &BlobCache {
        &self.cache
    }
}

/// Writes the artifact's bytes to the cache, unverified. The outer error is the call's, the inner one
/// the disk's.
async fn receive(
    mut client: Client,
    digest: Digest,
    cache: &BlobCache,
) -> Result<Result<Incoming, BlobError>, Status> {
    let request = v1::DownloadRequest { digest: digest.to_string() };
    let mut chunks = client.download(request).await?.into_inner();
    let at = |source| BlobError::File { path: cache.path(digest), source };
    let mut incoming = match cache.begin() {
        Ok(incoming) => incoming,
        Err(source) => return Ok(Err(at(source))),
    };
    while let Some(chunk) = chunks.message().await? {
        if let Err(source) = incoming.write(&chunk.data) {
            return Ok(Err(at(source)));
        }
    }
    Ok(Ok(incoming))
}

/// Uploads in one call. The outer error is the call's, the inner one that of a local file.
async fn send(mut client: Client, blobs: &[Blob]) -> Result<Result<(), BlobError>, Status> {
    let (sender, receiver) = mpsc::channel(4);
    let read = async move {
        for blob in blobs {
            read_out(blob, &sender).await?;
        }
        Ok(())
    };
    let (read, answer) = tokio::join!(read, client.upload(ReceiverStream::new(receiver)));
    match read {
        // Whatever the coordinator made of the rest.
        Err(error) => Ok(Err(error)),
        Ok(()) => answer.map(|_| Ok(())),
    }
}

/// Sends one artifact in chunks. A receiver that went away is no error here: its call says why.
async fn read_out(blob: &Blob, sender: &mpsc::Sender<v1::UploadRequest>) -> Result<(), BlobError> {
    match blob {
        Blob::Bytes { digest, bytes } => {
            let mut first = Some((digest.to_string(), bytes.len() as u64));
            for chunk in bytes.chunks(BULK_CHUNK_BYTES) {
                send_chunk(sender, &mut first, chunk.to_vec()).await;
            }
            send_empty(sender, first).await;
        }
        Blob::File { digest, path, size } => {
            let mut first = Some((digest.to_string(), *size));
            let mut file = File::open(path).await.map_err(|source| io_at(path, source))?;
            loop {
                let mut chunk = Vec::with_capacity(BULK_CHUNK_BYTES);
                let mut part = (&mut file).take(BULK_CHUNK_BYTES as u64);
                part.read_to_end(&mut chunk).await.map_err(|source| io_at(path, source))?;
                if chunk.is_empty() || !send_chunk(sender, &mut first, chunk).await {
                    break;
                }
            }
            send_empty(sender, first).await;
        }
    }
    Ok(())
}

/// Whether somebody still takes chunks.
async fn send_chunk(
    sender: &mpsc::Sender<v1::UploadRequest>,
    first: &mut Option<(String, u64)>,
    data: Vec<u8>,
) -> bool {
    let (digest, size) = first.take().unwrap_or_default();
    sender.send(v1::UploadRequest { digest, size, data }).await.is_ok()
}

/// An artifact without bytes has a first chunk nonetheless.
async fn send_empty(sender: &mpsc::Sender<v1::UploadRequest>, mut first: Option<(String, u64)>) {
    if first.is_some() {
        send_chunk(sender, &mut first, Vec::new()).await;
    }
}

fn refusal(digest: Digest, status: &Status) -> BlobError {
    if status.code() == Code::NotFound {
        return BlobError::Missing(digest);
    }
    BlobError::Refused(status.to_string())
}

fn io_at(path: &Path, source: std::io::Error) -> BlobError {
    BlobError::File { path: path.to_owned(), source }
}
