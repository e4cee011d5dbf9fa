//! The coordinator's artifacts for the rooms of a worker that read them: fetched over an operator's connection.

use wavegate_worker::{
    blobs::{Blob, BlobCache, BlobError, BlobStore},
    digest::Digest,
};

use crate::{cli::Connection, coordinator::trees};

/// What is fetched is kept in a folder of the command's own.
pub(super) struct Artifacts {
    connection: Connection,
    cache: BlobCache,
}

impl Artifacts {
    pub(super) fn new(connection: &Connection, folder: &std::path::Path) -> std::io::Result<Self> {
        Ok(Self { connection: connection.clone(), cache: BlobCache::open(folder, u64::MAX)? })
    }
}

#[tonic::async_trait]
impl BlobStore for Artifacts {
    async fn fetch(&self, digests: &[Digest]) -> Result<(), BlobError> {
        for digest in digests.iter().filter(|digest| !self.cache.has(**digest)) {
            let fetched = trees::download(&self.connection, &self.cache, *digest).await;
            fetched.map_err(|error| BlobError::Refused(format!("{error:#}")))?;
        }
        Ok(())
    }

    async fn publish(&self, blobs: Vec<Blob>) -> Result<(), BlobError> {
        let sent = trees::send_missing(&self.connection, blobs).await;
        sent.map_err(|error| BlobError::Refused(format!("{error:#}")))
    }

    fn cache(&self) -> &BlobCache {
        &self.cache
    }
}
