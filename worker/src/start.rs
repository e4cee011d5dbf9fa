//! A worker's life from its state directory to its departure.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::blobs::BlobCache;
use crate::bulk::{Bulk, Logs, RemoteBlobs};
use crate::config::{WorkerConfig, host_name};
use crate::coordinator::{Coordinator, chain};
use crate::git::{Git, Stores};
use crate::identity::{Identity, IdentityError};
use crate::lease::LeaseId;
use crate::memory::Memory;
use crate::outside::Outside;
use crate::runner::{Registry, RunnersConfig};
use crate::session::{Departure, Driver, Machine, Profile, Rooms, Surroundings};
use crate::shutdown::Shutdown;
use crate::spool::{Answer, Keeping, Spool, SpoolError};
use crate::supervisor;
use crate::workspace;

/// What the cache of artifacts may grow to before what was used longest ago goes.
const CACHE_BYTES: u64 = 10 * 1024 * 1024 * 1024;

/// A worker that could not start, or was sent away.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The state directory cannot be had.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The results of earlier starts cannot be read or kept.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// A folder of the state directory cannot be used.
    #[error("cannot use {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Processes of an earlier start are still there.
    #[error("cannot end what an earlier start of this worker left")]
    Leftovers(#[source] supervisor::LeftoverError),
    /// A fault of the worker itself.
    #[error("the worker failed: {0}")]
    Failed(String),
    /// The coordinator does not know the token.
    #[error("the coordinator does not know this worker ({message}): {advice}")]
    Unauthenticated {
        /// The coordinator's words.
        message: String,
        /// What to do.
        advice: String,
    },
    /// The coordinator will not have this worker.
    #[error("the coordinator sent this worker away for good: {reason}")]
    Dismissed {
        /// The coordinator's words.
        reason: String,
    },
}

/// Runs a worker until `shutdown` asks it to end and everything is finished and answered (or, after
/// `stop`, ended), or until the coordinator will not have it.
pub async fn run(config: WorkerConfig, shutdown: Shutdown) -> Result<(), WorkerError> {
    run_within(config, shutdown, Outside::real()).await
}

/// The same, in this world.
pub async fn run_within(
    config: WorkerConfig,
    shutdown: Shutdown,
    outside: Outside,
) -> Result<(), WorkerError> {
    let identity = Identity::take(&config.state_dir)?;
    let (state_dir, worker_id) = (config.state_dir.clone(), identity.worker_id().to_owned());
    let git = Git::new(config.git_config.clone()).of_worker(identity.worker_id());
    let stores = Stores::new(config.git_dir(), git).allowing(config.allow_repos.clone());
    let left = stores.clone();
    let cleared = outside.files.run(move || clear(&state_dir, &worker_id, &left)).await;
    cleared.map_err(|error| WorkerError::Failed(error.to_string()))??;
    let coordinator = Coordinator::new(config.coordinator.clone(), config.token.clone(), outside.clone());
    let (spool, owed) = open_spool(&config)?;
    let runners = Arc::new(Registry::discover(&RunnersConfig::of(&config)).await);
    let profile = profile(&config, &identity, &runners);
    let rooms = rooms(
        &config,
        &identity,
        &coordinator,
        Able { outside: outside.clone(), runners, stores },
        spool,
        &owed,
        &shutdown,
    )?;
    tracing::info!(
        "worker {} ({}) starts in {}",
        config.name,
        identity.worker_id(),
        config.state_dir.display()
    );
    let machine = Machine::new(outside.now_ms(), (outside.seed)(), profile, owed);
    match Driver::new(machine, rooms).run().await {
        Departure::Drained | Departure::Stopped => Ok(()),
        Departure::Dismissed { reason } => Err(WorkerError::Dismissed { reason }),
        Departure::Unauthenticated { message } => {
            Err(WorkerError::Unauthenticated { message, advice: coordinator.token_advice() })
        }
    }
}

/// The agents of an earlier start died with it; what is left of them goes before anybody hears of us.
fn clear(state_dir: &Path, worker_id: &str, stores: &Stores) -> Result<(), WorkerError> {
    if let Err(error) = supervisor::become_subreaper() {
        tracing::warn!("orphans of killed supervisors are found at the next start only: {error}");
    }
    supervisor::clear_leftovers(worker_id).map_err(WorkerError::Leftovers)?;
    workspace::clear_leftovers(state_dir);
    stores.clear_leftovers();
    Ok(())
}

fn open_spool(config: &WorkerConfig) -> Result<(Spool, Vec<Answer>), WorkerError> {
    let spool = Spool::open(config.state_dir.join("spool"))?;
    let found = spool.load()?;
    for (path, why) in &found.unreadable {
        tracing::error!("a spooled result cannot be read: {why}; kept in {}", path.display());
    }
    if !found.answers.is_empty() {
        tracing::info!("{} results of an earlier start are to be sent", found.answers.len());
    }
    if let Err(error) = spool.prune(SystemTime::now()) {
        tracing::warn!("{}", chain(&error));
    }
    Ok((spool, found.answers))
}

/// What a worker can do.
struct Able {
    outside: Outside,
    runners: Arc<Registry>,
    stores: Stores,
}

fn rooms(
    config: &WorkerConfig,
    identity: &Identity,
    coordinator: &Coordinator,
    able: Able,
    spool: Spool,
    owed: &[Answer],
    shutdown: &Shutdown,
) -> Result<Rooms, WorkerError> {
    let bulk = Arc::new(Bulk::new(coordinator.clone(), able.outside.clone()));
    let folder = |name: &str| config.state_dir.join(name);
    let at = |name: &str| {
        let path = folder(name);
        move |source| WorkerError::Folder { path, source }
    };
    let cache = BlobCache::open(&folder("blobs"), CACHE_BYTES).map_err(at("blobs"))?;
    let mut logs = Logs::open(folder("logs"), config.log_limit, Arc::clone(&bulk)).map_err(at("logs"))?;
    let owed: Vec<LeaseId> = owed.iter().map(|answer| answer.lease_id().clone()).collect();
    logs.recover(&owed).map_err(at("logs"))?;
    let surroundings = Surroundings {
        worker_id: identity.worker_id().to_owned(),
        state_dir: config.state_dir.clone(),
        supervisor: config.supervisor.clone(),
        runners: able.runners,
        blobs: Arc::new(RemoteBlobs::new(bulk, cache)),
        stores: able.stores,
        keeper: Arc::new(Keeping { spool: spool.clone(), files: able.outside.files }),
        perform: Arc::clone(&able.outside.perform),
    };
    let wishes = shutdown.subscribe();
    let memory = Memory::open(&config.state_dir);
    let (outside, coordinator) = (able.outside, coordinator.clone());
    Ok(Rooms { outside, coordinator, surroundings, spool, memory, logs, wishes })
}

fn profile(config: &WorkerConfig, identity: &Identity, runners: &Registry) -> Profile {
    Profile {
        worker_id: identity.worker_id().to_owned(),
        instance: identity.instance().to_owned(),
        name: config.name.clone(),
        host: host_name(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        roles: config.roles.iter().map(|role| role.into_proto()).collect(),
        runners: runners.hello(),
        labels: config.labels.clone(),
        slots: config.slots.limit(),
    }
}
