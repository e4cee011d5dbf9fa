//! Trees between a directory and the coordinator: what a plan starts from, and what it left.

use std::{fs::File, io::Read, path::Path};

use tokio_stream::StreamExt as _;
use wavegate_proto::{BULK_CHUNK_BYTES, v1};
use wavegate_worker::{
    blobs::{Blob, BlobCache},
    digest::Digest,
    tree::{self, Tree},
};

use crate::cli::Connection;

/// Digests asked for in one call.
const DIGESTS_A_CALL: usize = 10_000;

/// Takes a snapshot of the directory and uploads what the coordinator does not have.
pub(super) async fn upload(connection: &Connection, dir: &Path) -> anyhow::Result<String> {
    let from = dir.to_owned();
    let (tree, mut blobs) = tokio::task::spawn_blocking(move || tree::snapshot(&from)).await??;
    let encoded = Blob::of_bytes(tree.encode());
    let digest = encoded.digest().to_string();
    blobs.push(encoded);
    send_missing(connection, blobs).await?;
    Ok(digest)
}

/// Uploads those that the coordinator does not have.
pub(super) async fn send_missing(connection: &Connection, mut blobs: Vec<Blob>) -> anyhow::Result<()> {
    blobs.sort_by_key(Blob::digest);
    blobs.dedup_by_key(|blob| blob.digest());
    for blobs in blobs.chunks(DIGESTS_A_CALL) {
        let digests = blobs.iter().map(|blob| blob.digest().to_string()).collect();
        let missing =
            connection.bulk().find_missing(v1::FindMissingRequest { digests }).await?.into_inner().missing;
        let wanted = blobs.iter().filter(|blob| missing.contains(&blob.digest().to_string())).cloned();
        send(connection, wanted.collect()).await?;
    }
    Ok(())
}

async fn send(connection: &Connection, blobs: Vec<Blob>) -> anyhow::Result<()> {
    if blobs.is_empty() {
        return Ok(());
    }
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let reading = tokio::task::spawn_blocking(move || {
        blobs.iter().try_for_each(|blob| read_chunks(blob, |chunk| sender.blocking_send(chunk).is_ok()))
    });
    let uploaded = connection.bulk().upload(tokio_stream::wrappers::ReceiverStream::new(receiver)).await;
    reading.await??;
    uploaded?;
    Ok(())
}

/// Hands the blob over in chunks; ends early when nobody takes them.
fn read_chunks(blob: &Blob, mut take: impl FnMut(v1::UploadRequest) -> bool) -> anyhow::Result<()> {
    let (mut reader, size): (Box<dyn Read>, u64) = match blob {
        Blob::Bytes { bytes, .. } => (Box::new(bytes.as_slice()), bytes.len() as u64),
        Blob::File { path, .. } => {
            let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
            let (size, file) = opened.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
            (Box::new(file), size)
        }
    };
    let mut digest = blob.digest().to_string();
    loop {
        let mut data = Vec::new();
        reader.by_ref().take(BULK_CHUNK_BYTES as u64).read_to_end(&mut data)?;
        if data.is_empty() && digest.is_empty() {
            return Ok(());
        }
        if !take(v1::UploadRequest { digest: std::mem::take(&mut digest), size, data }) {
            return Ok(());
        }
    }
}

/// Downloads the tree and writes its files over what the directory holds.
pub(super) async fn write(connection: &Connection, digest: &str, dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).map_err(|error| anyhow::anyhow!("{}: {error}", dir.display()))?;
    if digest.is_empty() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = std::ffi::OsString::from(".");
    name.push(dir.file_name().unwrap_or_default());
    name.push(format!(".incoming-{}", std::process::id()));
    let folder = parent.join(name);
    let written = download_into(connection, digest, dir, &folder).await;
    // The files are copied; what is left of a failed download is of no use.
    let _ = std::fs::remove_dir_all(&folder);
    written
}

async fn download_into(
    connection: &Connection,
    digest: &str,
    dir: &Path,
    folder: &Path,
) -> anyhow::Result<()> {
    let cache = BlobCache::open(folder, u64::MAX)?;
    let digest: Digest = digest.parse()?;
    download(connection, &cache, digest).await?;
    let tree = Tree::decode(&cache.read(digest)?)?;
    for file in tree.digests() {
        if !cache.has(file) {
            download(connection, &cache, file).await?;
        }
    }
    let dir = dir.to_owned();
    tokio::task::spawn_blocking(move || tree::write_over(&tree, &dir, &cache)).await??;
    Ok(())
}

pub(super) async fn download(
    connection: &Connection,
    cache: &BlobCache,
    digest: Digest,
) -> anyhow::Result<()> {
    let request = v1::DownloadRequest { digest: digest.to_string() };
    let mut chunks = connection.bulk().download(request).await?.into_inner();
    let mut incoming = cache.begin()?;
    while let Some(chunk) = chunks.next().await {
        incoming.write(&chunk?.data)?;
    }
    cache.finish(incoming, digest)?;
    Ok(())
}
