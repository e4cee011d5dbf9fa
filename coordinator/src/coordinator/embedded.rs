//! A coordinator with workers in the same process. The workers speak to it over loopback like any
//! other; only their state is kept beside its database.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;
use wavegate_engine::{Input, PlanId, spec::SHELL};
use wavegate_worker::{
    Shutdown, WorkerConfig, WorkerError,
    config::{Address, Role, Slots, TokenSource},
};

use super::{CoordinatorError, Running};
use crate::cli::EmbeddedCoordinator;

/// Workers in this very process have connected by then, or something is wrong.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(10);
/// Beyond the kill grace, how long a worker may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// The workers of this process.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) executors: usize,
    /// A worker's config file: its runners and labels.
    pub(super) config: Option<PathBuf>,
    pub(super) allow_full: bool,
    /// Whether agents are looked for: a plan of shell commands needs none.
    pub(super) has_agents: bool,
}

/// A coordinator and its own workers.
#[derive(Debug)]
pub struct Embedded {
    running: Running,
    shutdown: Shutdown,
    workers: Vec<JoinHandle<Result<(), WorkerError>>>,
}

impl Embedded {
    /// Starts the executors without a limit of slots, and one worker beside them that judges and
    /// coordinates, so that nobody judges what it did itself. Waits until all of them are connected. 0: no workers at all.
    pub(super) async fn start(running: Running, local: Local) -> anyhow::Result<Self> {
        let shutdown = Shutdown::new();
        let mut embedded = Self { running, shutdown, workers: Vec::new() };
        if local.executors > 0 {
            let begun = embedded.add_workers(&local);
            let connected = match begun {
                Ok(()) => embedded.wait_for_workers().await,
                Err(error) => Err(error),
            };
            if let Err(error) = connected {
                EmbeddedCoordinator::stop(embedded).await?;
                return Err(error);
            }
        }
        Ok(embedded)
    }

    fn add_workers(&mut self, local: &Local) -> anyhow::Result<()> {
        for number in 1..=local.executors {
            self.add_worker(&format!("local-{number}"), vec![Role::Executor], local)?;
        }
        self.add_worker("thor", vec![Role::Thor, Role::Coordinator], local)
    }

    fn add_worker(&mut self, name: &str, roles: Vec<Role>, local: &Local) -> anyhow::Result<()> {
        let files = self.running.files();
        let state_dir = files.folder().join("workers").join(name);
        let coordinator = Address::Url(self.running.url().to_owned());
        let (token, file) = (TokenSource::File(files.token()), local.config.as_deref());
        let mut config = WorkerConfig::within(coordinator, token, state_dir, file, local.allow_full)?;
        config.name = name.to_owned();
        config.roles = roles;
        config.slots = Slots::Unlimited;
        // One store of each repository for all workers of this process.
        config.git_dir.get_or_insert_with(|| files.folder().join("git"));
        if !local.has_agents {
            config.runners = Some(vec![SHELL.to_owned()]);
        }
        self.workers.push(tokio::spawn(wavegate_worker::run(config, self.shutdown.clone())));
        Ok(())
    }

    async fn wait_for_workers(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + CONNECT_PATIENCE;
        while self.running.handle().connected().await?.len() < self.workers.len() {
            if let Some(ended) = self.workers.iter().position(JoinHandle::is_finished) {
                self.workers.swap_remove(ended).await??;
                anyhow::bail!("a worker of this process ended");
            }
            anyhow::ensure!(
                Instant::now() < end,
                "the workers of this process do not connect to its coordinator"
            );
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl EmbeddedCoordinator for Embedded {
    fn url(&self) -> &str {
        self.running.url()
    }

    fn token(&self) -> Option<&str> {
        Some(self.running.token())
    }

    async fn serve_plan(&self, plan_id: i64) -> anyhow::Result<()> {
        self.running.handle().apply(Input::Serve { plan: PlanId(plan_id) }).await?;
        Ok(())
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.stop();
        for worker in self.workers {
            match tokio::time::timeout(STOP_PATIENCE, worker).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => tracing::warn!("a worker of this process: {error}"),
                Ok(Err(error)) => tracing::warn!("a worker of this process: {error}"),
                Err(_) => {
                    tracing::warn!("a worker of this process does not end; its agents end with this process")
                }
            }
        }
        self.running.stop().await.map_err(|error: CoordinatorError| error.into())
    }
}
