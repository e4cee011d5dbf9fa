//! The coordinator's artifacts: what is missing here is fetched, what is missing there is published.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use wavegate_proto::{BULK_CHUNK_BYTES, v1};

use super::{Bulk, Client};
use crate::blobs::{Blob, BlobCache, BlobError, BlobStore};
use crate::digest::Digest;

/// What one question about missing artifacts may name.
const MOST_DIGESTS: usize = 10_000;

/// Artifacts in one upload: what a broken connection makes us send again.
const MOST_BLOBS: usize = 256;

/// The artifacts of a coordinator, with a cache on this machine.
#[derive(Debug)]
pub(crate) struct RemoteBlobs {
    bulk: Arc<Bulk>,
    cache: Arc<BlobCache>,
    /// Where a download lies until it is whole.
    incoming: PathBuf,
    downloads: AtomicU64,
}

impl RemoteBlobs {
    /// `incoming` is a folder of the same file system as the cache, cleared here.
    pub(crate) fn open(bulk: Arc<Bulk>, cache: Arc<BlobCache>, incoming: PathBuf) -> Result<Self, BlobError> {
        let clear = || {
            if incoming.exists() {
                std::fs::remove_dir_all(&incoming)?;
            }
            std::fs::create_dir_all(&incoming)
        };
        clear().map_err(|source| io_at(&incoming, source))?;
        Ok(Self { bulk, cache, incoming, downloads: AtomicU64::new(0) })
    }

    async fn download(&self, digest: Digest) -> Result<(), BlobError> {
        let number = self.downloads.fetch_add(1, Ordering::Relaxed);
        let path = self.incoming.join(format!("{number}"));
        let kept = self.download_to(digest, &path).await;
        if kept.is_err() {
            // Nobody needs a part of it, and the folder is cleared at the next start anyway.
            let _ = tokio::fs::remove_file(&path).await;
        }
        kept
    }

    async fn download_to(&self, digest: Digest, path: &Path) -> Result<(), BlobError> {
        let fetched = self.bulk.retrying(|client| receive(client, digest, path)).await;
        fetched.map_err(|status| refusal(digest, &status))??;
        let (cache, path) = (Arc::clone(&self.cache), path.to_owned());
        let keep = tokio::task::spawn_blocking(move || cache.adopt(&digest, &path)).await;
        keep.map_err(|error| BlobError::Refused(error.to_string()))?
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
            if !self.cache.contains(digest) {
                self.download(*digest).await?;
            }
        }
        Ok(())
    }

    async fn publish(&self, blobs: Vec<Blob>) -> Result<(), BlobError> {
        let mut by_name: BTreeMap<String, Blob> =
            blobs.into_iter().map(|blob| (blob_digest(&blob).to_string(), blob)).collect();
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

/// Writes the artifact's bytes to a file. The outer error is the call's, the inner one the disk's.
async fn receive(mut client: Client, digest: Digest, path: &Path) -> Result<Result<(), BlobError>, Status> {
    let request = v1::DownloadRequest { digest: digest.to_string() };
    let mut chunks = client.download(request).await?.into_inner();
    let mut file = match File::create(path).await {
        Ok(file) => file,
        Err(source) => return Ok(Err(io_at(path, source))),
    };
    while let Some(chunk) = chunks.message().await? {
        if let Err(source) = file.write_all(&chunk.data).await {
            return Ok(Err(io_at(path, source)));
        }
    }
    Ok(file.flush().await.map_err(|source| io_at(path, source)))
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

fn blob_digest(blob: &Blob) -> &Digest {
    match blob {
        Blob::Bytes { digest, .. } | Blob::File { digest, .. } => digest,
    }
}

fn refusal(digest: Digest, status: &Status) -> BlobError {
    match status.code() {
        Code::NotFound => BlobError::Missing(digest),
        _ => BlobError::Refused(status.to_string()),
    }
}

fn io_at(path: &Path, source: std::io::Error) -> BlobError {
    BlobError::Io { path: path.to_owned(), source }
}
