//! What a lease needs around it, in memory.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::sync::watch;
use wavegate_proto::v1;
use wavegate_worker::{
    blobs::{Blob, BlobCache, BlobError, BlobStore},
    digest::Digest,
    git::{Git, Stores},
    runner::{Registry, scrub::Scrubber},
    tree::{self, Tree},
    work::{Ending, Keeper, LogSink, WorkContext, boottime_ms, perform},
};

/// A coordinator's artifacts in one directory and the worker's cache in another.
pub(crate) struct LocalBlobs {
    pub(crate) stored: BlobCache,
    cache: BlobCache,
}

#[tonic::async_trait]
impl BlobStore for LocalBlobs {
    async fn fetch(&self, digests: &[Digest]) -> Result<(), BlobError> {
        for digest in digests.iter().filter(|digest| !self.cache.has(**digest)) {
            let bytes = self.stored.read(*digest).map_err(|_| BlobError::Missing(*digest))?;
            put(&self.cache, &bytes, *digest)?;
        }
        Ok(())
    }

    async fn publish(&self, blobs: Vec<Blob>) -> Result<(), BlobError> {
        for blob in blobs {
            let bytes = match &blob {
                Blob::Bytes { bytes, .. } => bytes.clone(),
                Blob::File { path, .. } => std::fs::read(path).unwrap(),
            };
            put(&self.stored, &bytes, blob.digest())?;
        }
        Ok(())
    }

    fn cache(&self) -> &BlobCache {
        &self.cache
    }
}

fn put(into: &BlobCache, bytes: &[u8], digest: Digest) -> Result<(), BlobError> {
    let mut incoming = into.begin().unwrap();
    incoming.write(bytes).unwrap();
    into.finish(incoming, digest)
}

/// Counts and keeps the output.
#[derive(Default)]
pub(crate) struct MemoryLog {
    pub(crate) text: Mutex<Vec<u8>>,
    pub(crate) bytes: Mutex<u64>,
}

impl LogSink for MemoryLog {
    fn append(&self, bytes: &[u8]) {
        *self.bytes.lock().unwrap() += bytes.len() as u64;
        let mut text = self.text.lock().unwrap();
        if text.len() < 1024 * 1024 {
            text.extend_from_slice(bytes);
        }
    }
}

/// A disk that takes nothing: results go to the coordinator from where they are made.
struct NothingKept;

#[tonic::async_trait]
impl Keeper for NothingKept {
    async fn keep(&self, _lease_id: &str, _report: v1::Report, _blobs: &[Blob]) -> Result<(), String> {
        Err("nothing is kept here".to_owned())
    }
}

/// One worker's surroundings.
pub(crate) struct Bench {
    root: PathBuf,
    /// Removed with the bench, unless it was made at a given place.
    _dir: Option<TempDir>,
    pub(crate) worker_id: String,
    pub(crate) kill_grace: Duration,
    pub(crate) blobs: Arc<LocalBlobs>,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) deadline: watch::Sender<u64>,
    pub(crate) cancel: watch::Sender<bool>,
    pub(crate) lease_id: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bench = Self::at(dir.path());
        Self { _dir: Some(dir), ..bench }
    }

    pub(crate) fn at(root: &Path) -> Self {
        let open = |name| BlobCache::open(&root.join(name), u64::MAX).unwrap();
        let mut random = [0; 8];
        getrandom::fill(&mut random).unwrap();
        Self {
            root: root.to_owned(),
            _dir: None,
            worker_id: "worker-of-the-test".to_owned(),
            kill_grace: Duration::from_millis(300),
            blobs: Arc::new(LocalBlobs { stored: open("stored"), cache: open("cache") }),
            log: Arc::default(),
            deadline: watch::Sender::new(boottime_ms() + 3_600_000),
            cancel: watch::Sender::new(false),
            lease_id: format!("lease-{:016x}", u64::from_ne_bytes(random)),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn context(&self) -> WorkContext {
        WorkContext {
            lease_id: self.lease_id.clone(),
            worker_id: self.worker_id.clone(),
            state_dir: self.path("state"),
            supervisor: env!("CARGO_BIN_EXE_wavegate-worker").into(),
            kill_grace: self.kill_grace,
            blobs: self.blobs.clone(),
            stores: Stores::new(self.path("git"), Git::new(None)),
            log: self.log.clone(),
            keeper: Arc::new(NothingKept),
            deadline: self.deadline.subscribe(),
            cancel: self.cancel.subscribe(),
            started: Box::new(|| ()),
            runners: Arc::new(Registry::of_shell()),
            progress: Arc::new(|_| ()),
            scrubber: Scrubber::default(),
        }
    }

    /// Performs a shell task in an empty scratch directory.
    pub(crate) async fn run(&self, command: &str) -> Ending {
        self.perform(task(command, v1::WorkspaceKind::None)).await
    }

    pub(crate) async fn perform(&self, task: v1::TaskWork) -> Ending {
        let body = Some(v1::work::Body::Task(task));
        let work =
            v1::Work { wave: "W1".to_owned(), plan_name: "plan".to_owned(), body, ..v1::Work::default() };
        perform(work, self.context()).await
    }

    pub(crate) async fn report(&self, task: v1::TaskWork) -> v1::Report {
        match self.perform(task).await {
            Ending::Report(report) => *report,
            other @ (Ending::Cancelled | Ending::Fenced | Ending::Unable(_) | Ending::OutOfReach(_)) => {
                panic!("{other:?}\n{}", self.output())
            }
        }
    }

    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&self.log.text.lock().unwrap()).into_owned()
    }

    /// Puts a directory's files into the store; gives the tree's digest.
    pub(crate) async fn tree_of(&self, files: &[(&str, &str)]) -> String {
        let dir = self.path("tree-source");
        let _ = std::fs::remove_dir_all(&dir);
        for (path, text) in files {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let (tree, mut blobs) = tree::snapshot(&dir).unwrap();
        let encoded = Blob::of_bytes(tree.encode());
        let digest = encoded.digest().to_string();
        blobs.push(encoded);
        self.blobs.publish(blobs).await.unwrap();
        digest
    }

    /// The text of a file of a stored tree.
    pub(crate) fn text_in(&self, tree: &str, path: &str) -> Option<String> {
        let tree = Tree::decode(&self.blobs.stored.read(tree.parse().unwrap()).unwrap()).unwrap();
        let digest = tree.entries.get(path)?.digest()?;
        Some(String::from_utf8(self.blobs.stored.read(digest).unwrap()).unwrap())
    }
}

/// A shell task without a time limit.
pub(crate) fn task(command: &str, kind: v1::WorkspaceKind) -> v1::TaskWork {
    v1::TaskWork {
        key: "T1-01".to_owned(),
        attempt: 1,
        runner: "shell".to_owned(),
        run: command.to_owned(),
        workspace: Some(v1::Workspace { kind: kind.into(), ..v1::Workspace::default() }),
        ..v1::TaskWork::default()
    }
}

/// Waits until the condition holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether the process whose id is in the file is alive.
pub(crate) fn is_alive(pid_file: &Path) -> bool {
    let pid = std::fs::read_to_string(pid_file).unwrap_or_default();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}
