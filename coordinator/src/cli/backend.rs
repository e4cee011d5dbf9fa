//! What the commands need besides gRPC: a coordinator to embed or to serve, the reading of plan
//! files without a coordinator, and trees on disk. Owns the traits and their options; the program
//! that is put together in `main` implements them, tests fake them.

use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use wavegate_proto::v1;

use super::client::Connection;

/// The rooms that the commands stand on.
#[tonic::async_trait]
pub trait Backend: Send + Sync + 'static {
    /// A coordinator that lives in this process.
    type Embedded: EmbeddedCoordinator;

    /// Starts a coordinator on the database, with in-process workers. It grants nothing until
    /// [`EmbeddedCoordinator::serve_plan`] names the plan.
    ///
    /// It leaves its address and token beside the database as a served one does, so that other
    /// terminals can watch, and takes the address away when it stops. With `workers: 0` it answers
    /// the requests of one command, for a moment, and leaves no address. A plan that no worker of
    /// its own can ever serve pauses (`no_worker`) at once.
    ///
    /// Fails, in words for the operator, when the database cannot be opened or another coordinator
    /// owns it.
    async fn embed(&self, options: EmbeddedOptions) -> anyhow::Result<Self::Embedded>;

    /// Serves until `stop` resolves, then ends sessions and closes the database.
    async fn serve(
        &self,
        options: ServeOptions,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> anyhow::Result<()>;

    /// Reads a plan's text as a coordinator with this price table would, without one, and looks at the
    /// repository that it names. Everything wrong with either is a diagnostic.
    ///
    /// Fails, in words for the operator, when the price table cannot be used.
    async fn check_file(
        &self,
        text: &str,
        file_name: &str,
        sets: &BTreeMap<String, String>,
        prices: Option<&Path>,
    ) -> anyhow::Result<CheckedFile>;

    /// Copies a database, with its artifacts and logs, while a coordinator may work on it.
    ///
    /// Fails, in words for the operator, without leaving a half.
    async fn back_up(&self, db: &Path, file: &Path) -> anyhow::Result<Backup>;

    /// Looks at what this host has to run agents with; `config` is a worker's config file.
    async fn examine(&self, config: Option<&Path>) -> anyhow::Result<HostExamination>;

    /// Takes a snapshot of a directory, uploads what the coordinator does not have, and gives the
    /// digest of its tree.
    async fn upload_tree(&self, connection: &Connection, dir: &Path) -> anyhow::Result<String>;

    /// Uploads the state that a plan on a repository starts from; `for_others`: with what workers need that
    /// cannot reach the repository. `stores`: where object stores are kept; None: for the time of the call.
    async fn upload_state(
        &self,
        connection: &Connection,
        base: &RepositoryBase,
        for_others: bool,
        stores: Option<&Path>,
    ) -> anyhow::Result<UploadedState>;

    /// What lies between two states of a plan, as git writes a diff.
    async fn diff(
        &self,
        connection: &Connection,
        repository: &v1::Repository,
        difference: &Difference,
        style: DiffStyle,
        stores: Option<&Path>,
    ) -> anyhow::Result<Vec<u8>>;

    /// Puts a state of the plan's repository (a task's result, a wave's candidate) into a repository of its own.
    /// Without a directory into one of the plan's name and `name`, here; one that is not empty is refused.
    async fn checkout(
        &self,
        connection: &Connection,
        plan: &v1::Plan,
        name: &str,
        state: &str,
        dir: Option<&Path>,
        stores: Option<&Path>,
    ) -> anyhow::Result<CheckedOut>;

    /// Downloads a tree and writes its files into a directory, which is made if missing. A file of
    /// the same path is replaced, others stay.
    async fn write_tree(&self, connection: &Connection, tree: &str, dir: &Path) -> anyhow::Result<()>;
}

/// A coordinator within this process.
#[tonic::async_trait]
pub trait EmbeddedCoordinator: Send + Sync {
    /// Where it listens, for example `http://127.0.0.1:40123`.
    fn url(&self) -> &str;

    /// The token that it wants.
    fn token(&self) -> Option<&str>;

    /// From now on grants work of this plan, and of no other.
    async fn serve_plan(&self, plan_id: i64) -> anyhow::Result<()>;

    /// Stops workers and coordinator. Agents that still run are ended, and their leases are given
    /// back; the database is closed when this returns.
    async fn stop(self) -> anyhow::Result<()>;
}

/// How to start an embedded coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedOptions {
    pub db: PathBuf,
    /// In-process workers with every role, each without a limit of slots. 0: none.
    pub workers: usize,
    pub max_agents: Option<u32>,
    /// The worker's config file for the workers.
    pub worker_config: Option<PathBuf>,
    /// Agents may do anything that this process may.
    pub allow_full: bool,
    /// Whether agents are looked for on this host: a plan of shell commands needs none.
    pub has_agents: bool,
    /// A price table over the built-in one.
    pub prices: Option<PathBuf>,
    pub timings: Timings,
}

/// How to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeOptions {
    pub db: PathBuf,
    pub listen: SocketAddr,
    pub max_agents: Option<u32>,
    pub max_tier: MaxTier,
    /// A price table over the built-in one.
    pub prices: Option<PathBuf>,
    pub timings: Timings,
}

/// The strongest coordinator tier that the operator allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxTier {
    /// No plan may be approved in max.
    Sonnet,
    Opus,
}

/// When silence means something, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timings {
    pub heartbeat_ms: u64,
    pub unreachable_after_ms: u64,
    pub lost_after_ms: u64,
    pub fence_margin_ms: u64,
    /// Between TERM and KILL.
    pub kill_grace_ms: u64,
    /// Before the first, second, ... retry; the last one repeats.
    pub retry_delays_ms: Vec<u64>,
    /// How long a plan of which nothing can run waits before it pauses.
    pub no_worker_after_ms: u64,
    /// How long an account whose limit is reached waits where nobody says until when.
    pub account_probe_ms: u64,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat_ms: 10_000,
            unreachable_after_ms: 30_000,
            lost_after_ms: 15 * 60_000,
            fence_margin_ms: 60_000,
            kill_grace_ms: 5_000,
            retry_delays_ms: vec![5_000, 30_000, 120_000],
            no_worker_after_ms: 10 * 60_000,
            account_probe_ms: 15 * 60_000,
        }
    }
}

impl Timings {
    /// Whether they fit together; says in words which do not.
    ///
    /// # Errors
    /// A fence margin below two heartbeats and the kill grace, one that is not below lost-after,
    /// or no retry delay.
    pub fn check(&self) -> Result<(), String> {
        let least = self.heartbeat_ms.saturating_mul(2).saturating_add(self.kill_grace_ms);
        if self.fence_margin_ms < least {
            return Err(format!(
                "--fence-margin-ms is {}, but two heartbeats and the kill grace take {least}: \
                 a worker would stop its agents too late",
                self.fence_margin_ms
            ));
        }
        if self.fence_margin_ms >= self.lost_after_ms {
            return Err(format!(
                "--fence-margin-ms is {}, expected less than --lost-after-ms, which is {}",
                self.fence_margin_ms, self.lost_after_ms
            ));
        }
        if self.retry_delays_ms.is_empty() {
            return Err("--retry-delays-ms is empty, expected at least one number".to_owned());
        }
        Ok(())
    }
}

/// What a host has to run agents with.
#[derive(Debug, Clone)]
pub struct HostExamination {
    pub text: String,
    pub json: serde_json::Value,
    /// Shell tasks at least can run.
    pub is_usable: bool,
}

/// What a plan file says, read without a coordinator.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckedFile {
    pub answer: v1::CheckPlanResponse,
    pub base: PlanBase,
}

/// What a plan starts from, as it is found where its file is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PlanBase {
    /// An empty directory, or nothing.
    #[default]
    Empty,
    /// Workspace dir: this directory (`project.repo`), resolved.
    Folder(PathBuf),
    /// Workspace git.
    Repository(RepositoryBase),
}

/// What a plan on a repository starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryBase {
    /// An absolute path, or a URL.
    pub location: String,
    /// The branch, or a commit's full id; empty: what the repository at the URL is on.
    pub base: String,
    /// The commit that it names now; absent where the repository is elsewhere.
    pub commit: Option<String>,
}

/// What a plan on a repository starts from, as the coordinator has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadedState {
    /// Empty: nothing was uploaded.
    pub digest: String,
    pub warning: Option<String>,
}

/// What is compared; artifacts by their digests, an empty tree by an empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// From the parent of this commit to the state; without one from what the state was made from.
    Commits {
        state: String,
        first: Option<String>,
    },
    Trees {
        from: String,
        to: String,
    },
    /// What was done to a tree.
    Changes {
        from: String,
        changes: String,
    },
}

/// How a difference is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiffStyle {
    pub stat: bool,
    pub name_only: bool,
    pub colour: bool,
}

/// A copy of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// Of the database's copy.
    pub bytes: u64,
    /// In the copy now, new or of an earlier backup.
    pub artifacts: u64,
    pub logs: u64,
}

/// A result to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedOut {
    pub dir: PathBuf,
    pub branch: String,
    pub commit: String,
    /// What its work is the difference from.
    pub base: Option<String>,
}
