//! A whole coordinator, put together from its rooms: alone behind `serve`, or with workers in the same
//! process behind `run`.
//!
//! Owns the order of starting and stopping. Decides nothing else.

mod backend;
mod embedded;
mod repository;
mod trees;

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    thread,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
};
use wavegate_engine::{Config, ConfigError, Engine, Input, Timings};

pub use backend::Program;

use crate::{
    driver::{Clock as _, Driver, Handle, StoreError, SystemClock},
    prices::Prices,
    rpc::{self, Access, FileWork, News, ServeError, Services, SessionOutbox, SessionTimings},
    store::{self, Files, OpenError, Opened, restored::Evidence},
};

/// Requests that wait for the driver; more wait at their callers.
const REQUESTS_IN_FLIGHT: usize = 1024;

/// How to start a coordinator.
#[derive(Debug, Clone)]
pub struct Options {
    pub db: PathBuf,
    pub listen: SocketAddr,
    pub config: Config,
    pub prices: Prices,
    /// How long another coordinator may take to let go of the database.
    pub patience: Duration,
    /// Whether others are to find this one beside the database.
    pub leaves_address: bool,
}

/// Why a coordinator does not start or did not stop well.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(
        "{0} is not an address of this machine alone: listening elsewhere needs TLS and role credentials, which this \
         version does not have; use 127.0.0.1"
    )]
    NotLoopback(SocketAddr),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("cannot listen on {address}: stop what listens there, or choose another with --listen")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot write {path}")]
    Address { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("a part of the coordinator failed: {0}")]
    Failed(String),
}

/// A coordinator that serves.
#[derive(Debug)]
pub struct Running {
    url: String,
    token: String,
    handle: Handle,
    files: Files,
    leaves_address: bool,
    stop: watch::Sender<bool>,
    server: JoinHandle<Result<(), ServeError>>,
    driver: thread::JoinHandle<Result<(), StoreError>>,
    /// Let go of last.
    lock: File,
}

/// Opens the database, starts the driver, and listens.
pub async fn start(options: Options) -> Result<Running, CoordinatorError> {
    options.config.timings.check()?;
    if !options.listen.ip().is_loopback() {
        return Err(CoordinatorError::NotLoopback(options.listen));
    }
    let (db, patience) = (options.db.clone(), options.patience);
    let opening = tokio::task::spawn_blocking(move || store::open(&db, patience, SystemClock.utc()));
    let opened = opening.await.map_err(|error| CoordinatorError::Failed(error.to_string()))??;
    let listen = |source| CoordinatorError::Listen { address: options.listen, source };
    let listener = TcpListener::bind(options.listen).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let timings = options.config.timings.clone();
    let (handle, requests) = Handle::new(REQUESTS_IN_FLIGHT);
    let (outbox, news) = SessionOutbox::new();
    let (end_streams, ended) = watch::channel(false);
    let services = services(&opened, &timings, options.prices, handle.clone(), news, ended);
    let driver = Driver::new(Engine::new(options.config), opened.store, SystemClock, outbox, requests)?;
    let driver = thread::Builder::new()
        .name("driver".to_owned())
        .spawn(move || drive(driver))
        .map_err(CoordinatorError::Thread)?;
    if let Some(Evidence { name, why }) = opened.restored {
        tracing::warn!("{why}: every plan is paused; look at them and `wavegate resume` each");
        let input = Input::Restored { evidence: name, why };
        handle.apply(input).await.map_err(|error| CoordinatorError::Failed(error.to_string()))?;
    }
    opened.files.name_start(&opened.epoch)?;
    let (stop, mut stopped) = watch::channel(false);
    let until = async move {
        // A sender that is gone means the same.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let server = tokio::spawn(rpc::serve(rpc::connections(listener), services, end_streams, until));
    let running = Running {
        url: format!("http://{address}"),
        token: opened.token,
        handle,
        files: opened.files,
        leaves_address: options.leaves_address,
        stop,
        server,
        driver,
        lock: opened.lock,
    };
    running.leave_address()?;
    Ok(running)
}

/// What the services on this database work with; a coordinator is started with them, and with a driver that
/// `handle` leads to.
#[must_use]
pub fn services(
    opened: &Opened,
    timings: &Timings,
    prices: Prices,
    handle: Handle,
    news: News,
    stop: watch::Receiver<bool>,
) -> Services {
    Services {
        handle,
        reader: opened.reader.clone(),
        artifacts: opened.artifacts.clone(),
        logs: opened.logs.clone(),
        access: Arc::new(Access::new(opened.token.clone(), opened.files.token())),
        epoch: opened.epoch.clone(),
        database_id: opened.database_id.clone(),
        timings: SessionTimings {
            heartbeat_ms: timings.heartbeat_ms,
            fence_margin_ms: timings.fence_margin_ms,
            kill_grace_ms: timings.kill_grace_ms,
        },
        prices: Arc::new(prices),
        files: FileWork::OnThreads,
        news,
        reading: Arc::new(Semaphore::new(rpc::MOST_READS)),
        stop,
        sessions: Arc::new(AtomicU64::new(0)),
    }
}

/// The driver's thread: a runtime of its own, so that a commit never holds up a stream.
fn drive(driver: Driver<store::SqliteStore, SystemClock, SessionOutbox>) -> Result<(), StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| StoreError::Unavailable(error.to_string()))?;
    runtime.block_on(driver.run()).close()
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What changes need.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The way to its driver.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The folder beside its database.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    fn leave_address(&self) -> Result<(), CoordinatorError> {
        if !self.leaves_address {
            return Ok(());
        }
        let path = self.files.address();
        let fresh = path.with_extension("new");
        let write = || fs::write(&fresh, format!("{}\n", self.url)).and_then(|()| fs::rename(&fresh, &path));
        write().map_err(|source| CoordinatorError::Address { path: path.clone(), source })
    }

    /// Ends streams, commits what was received, and closes the database.
    pub async fn stop(self) -> Result<(), CoordinatorError> {
        if self.leaves_address {
            // One that stays names a coordinator that does not answer, and is overwritten by the next.
            let _ = fs::remove_file(self.files.address());
        }
        self.stop.send_replace(true);
        let served = self.server.await.map_err(|error| CoordinatorError::Failed(error.to_string()))?;
        self.handle.stop().await;
        let driver = self.driver;
        let joined = tokio::task::spawn_blocking(move || driver.join()).await;
        let closed = joined.map_err(|error| CoordinatorError::Failed(error.to_string()))?;
        closed.map_err(|_| CoordinatorError::Failed("the driver panicked".to_owned()))??;
        drop(self.lock);
        Ok(served?)
    }
}
