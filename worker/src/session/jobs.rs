//! The leases whose work runs: a task for each, with the ends of the wires that steer it.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};
use wavegate_proto::v1;

use super::effect::Assignment;
use crate::blobs::{BlobError, BlobStore};
use crate::digest::Digest;
use crate::git::Stores;
use crate::lease::LeaseId;
use crate::runner::{Registry, scrub::Scrubber};
use crate::work::{self, Ending, Keeper, LogSink, WorkContext};

/// Does the work of leases.
#[tonic::async_trait]
pub trait Perform: Send + Sync + 'static {
    /// From the work to its end; when it returns, nothing of the work runs any more.
    async fn perform(&self, work: v1::Work, context: WorkContext) -> Ending;
}

/// Real processes.
#[derive(Debug)]
pub(crate) struct RealWork;

#[tonic::async_trait]
impl Perform for RealWork {
    async fn perform(&self, work: v1::Work, context: WorkContext) -> Ending {
        work::perform(work, context).await
    }
}

/// What is the same for every lease.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) worker_id: String,
    pub(crate) state_dir: PathBuf,
    pub(crate) supervisor: PathBuf,
    pub(crate) runners: Arc<Registry>,
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) stores: Stores,
    pub(crate) keeper: Arc<dyn Keeper>,
    pub(crate) perform: Arc<dyn Perform>,
}

/// The work that runs. Dropping it ends all of it.
pub(super) struct Jobs {
    surroundings: Surroundings,
    tasks: JoinSet<Ending>,
    names: HashMap<Id, LeaseId>,
    wires: BTreeMap<LeaseId, Wires>,
    news: mpsc::UnboundedSender<(LeaseId, News)>,
}

/// What is heard of work that runs.
#[derive(Debug)]
pub(super) enum News {
    Started,
    /// Everything that it has used so far.
    Used(Vec<v1::ModelUsage>),
}

struct Wires {
    deadline: watch::Sender<u64>,
    cancel: watch::Sender<bool>,
}

impl Jobs {
    /// What is heard of a lease's work while it runs is told to `news`.
    pub(super) fn new(surroundings: Surroundings, news: mpsc::UnboundedSender<(LeaseId, News)>) -> Self {
        let (tasks, names, wires) = (JoinSet::new(), HashMap::new(), BTreeMap::new());
        Self { surroundings, tasks, names, wires, news }
    }

    pub(super) fn start(&mut self, assignment: Assignment, log: Arc<dyn LogSink>) {
        let lease_id = assignment.lease_id.clone();
        let wires =
            Wires { deadline: watch::Sender::new(assignment.deadline_ms), cancel: watch::Sender::new(false) };
        let context = self.context(&assignment, log, &wires);
        let surroundings = self.surroundings.clone();
        let task = self.tasks.spawn(run(surroundings, assignment.body, context));
        self.names.insert(task.id(), lease_id.clone());
        self.wires.insert(lease_id, wires);
    }

    pub(super) fn set_deadline(&self, lease_id: &LeaseId, deadline_ms: u64) {
        if let Some(wires) = self.wires.get(lease_id) {
            wires.deadline.send_replace(deadline_ms);
        }
    }

    pub(super) fn stop(&self, lease_id: &LeaseId) {
        if let Some(wires) = self.wires.get(lease_id) {
            wires.cancel.send_replace(true);
        }
    }

    /// The next lease whose work ended. Waits for ever when none runs. Cancel safe.
    pub(super) async fn next_end(&mut self) -> (LeaseId, Ending) {
        loop {
            let (id, ending) = match self.tasks.join_next_with_id().await {
                Some(Ok((id, ending))) => (id, ending),
                Some(Err(error)) => (error.id(), Ending::Unable(format!("the worker failed: {error}"))),
                None => std::future::pending().await,
            };
            if let Some(lease_id) = self.names.remove(&id) {
                self.wires.remove(&lease_id);
                return (lease_id, ending);
            }
        }
    }

    fn context(&self, assignment: &Assignment, log: Arc<dyn LogSink>, wires: &Wires) -> WorkContext {
        let (news, lease_id) = (self.news.clone(), assignment.lease_id.clone());
        let (progress, of) = (news.clone(), lease_id.clone());
        WorkContext {
            lease_id: assignment.lease_id.to_string(),
            worker_id: self.surroundings.worker_id.clone(),
            state_dir: self.surroundings.state_dir.clone(),
            supervisor: self.surroundings.supervisor.clone(),
            kill_grace: Duration::from_millis(assignment.kill_grace_ms),
            blobs: Arc::clone(&self.surroundings.blobs),
            stores: self.surroundings.stores.clone(),
            keeper: Arc::clone(&self.surroundings.keeper),
            log,
            deadline: wires.deadline.subscribe(),
            cancel: wires.cancel.subscribe(),
            // Nobody listens when this worker ends.
            started: Box::new(move || drop(news.send((lease_id, News::Started)))),
            runners: Arc::clone(&self.surroundings.runners),
            progress: Arc::new(move |usage| drop(progress.send((of.clone(), News::Used(usage))))),
            scrubber: Scrubber::default(),
        }
    }
}

async fn run(surroundings: Surroundings, body: v1::grant::Body, context: WorkContext) -> Ending {
    let work = match body {
        v1::grant::Body::Work(work) => work,
        v1::grant::Body::WorkDigest(digest) => {
            let mut cancel = context.cancel.clone();
            // The machine raises `cancel` at the deadline too.
            let fetched = tokio::select! {
                fetched = fetch_work(surroundings.blobs.as_ref(), &digest) => fetched,
                _ = cancel.wait_for(|cancel| *cancel) => return Ending::Cancelled,
            };
            match fetched {
                Ok(work) => work,
                Err(note) => return Ending::Unable(note),
            }
        }
    };
    match forbidden(&work, &surroundings.runners) {
        Some(note) => Ending::Unable(note),
        None => surroundings.perform.perform(work, context).await,
    }
}

async fn fetch_work(blobs: &dyn BlobStore, digest: &str) -> Result<v1::Work, String> {
    let digest: Digest = digest.parse().map_err(|error| format!("the work's name is wrong: {error}"))?;
    let mut bytes = read_blob(blobs, digest).await;
    if bytes.is_err() {
        // It was damaged and is discarded, or made room for others.
        bytes = read_blob(blobs, digest).await;
    }
    let bytes = bytes.map_err(|error| format!("the work cannot be had: {error}"))?;
    v1::Work::decode(bytes.as_slice()).map_err(|error| format!("the work cannot be decoded: {error}"))
}

async fn read_blob(blobs: &dyn BlobStore, digest: Digest) -> Result<Vec<u8>, BlobError> {
    blobs.fetch(&[digest]).await?;
    let cache = blobs.cache();
    cache.read(digest).map_err(|source| BlobError::File { path: cache.path(digest), source })
}

/// Why the operator of this worker does not want this work done, if so.
fn forbidden(work: &v1::Work, runners: &Registry) -> Option<String> {
    let agent = |agent: &Option<v1::AgentWork>| agent.as_ref().map(|agent| agent.runner.clone());
    let needed: Vec<String> = match work.body.as_ref()? {
        v1::work::Body::Task(task) => {
            let commands = !task.setup.is_empty() || !task.skip_if.is_empty();
            let shell = commands.then(|| "shell".to_owned());
            [task.runner.clone()].into_iter().chain(shell).collect()
        }
        v1::work::Body::Validate(validate) => {
            agent(&validate.agent).into_iter().chain(["shell".to_owned()]).collect()
        }
        v1::work::Body::Coordinate(coordinate) => agent(&coordinate.agent).into_iter().collect(),
        v1::work::Body::Integrate(_) | v1::work::Body::Publish(_) => return None,
    };
    let has = runners.names();
    let needed = needed.iter().find(|needed| !has.contains(needed))?;
    Some(match runners.missing().get(needed) {
        Some(why) => format!("this worker cannot use the runner {needed:?}: {why}"),
        None => {
            let has = has.join(", ");
            format!("this worker's operator does not allow the runner {needed:?}, only {has}")
        }
    })
}
