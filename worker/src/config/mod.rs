//! What a worker is told at its start.
//!
//! Owns the flags, the config file and their order: command line, then environment, then file, then
//! default. Opens no connection and no state directory.

mod amounts;
mod file;
mod flags;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;

pub use amounts::{BadAmount, Bytes, Slots};
pub use file::ConfigError;
pub(crate) use flags::full_url;
pub use flags::{Command, Flags};
use wavegate_proto::v1;

use crate::runner::RunnerSettings;

/// The address of a coordinator that listens where it does by default.
pub const DEFAULT_COORDINATOR: &str = "http://127.0.0.1:7433";

/// Of a worker whose operator allows agents full permissions: tasks that ask for them require it.
pub const FULL_LABEL: &str = "permissions=full";

/// What labels of people do not begin with.
const RESERVED_LABELS: &str = "permissions=";

/// Enough for the longest talk of an agent; a command that runs wild stops here.
pub const DEFAULT_LOG_LIMIT: Bytes = Bytes(64 * 1024 * 1024);

/// Everything that a worker needs to know to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Where the coordinator is.
    pub coordinator: Address,
    /// Where the token is.
    pub token: TokenSource,
    /// A label for people.
    pub name: String,
    /// The worker's own directory; it is locked while the worker runs.
    pub state_dir: PathBuf,
    /// How many leases it takes at once.
    pub slots: Slots,
    /// What it may be leased.
    pub roles: Vec<Role>,
    /// What tasks may require of it.
    pub labels: Vec<String>,
    /// The runners that its operator allows; None: every one that is found.
    pub runners: Option<Vec<String>>,
    /// What the locations of repositories begin with that its operator allows; None: all.
    pub allow_repos: Option<Vec<String>>,
    /// Where repositories are kept, beside other workers of the host that are told the same; None: `git` in the
    /// state directory.
    pub git_dir: Option<PathBuf>,
    /// A file in git's form in the place of a user's configuration; None: nothing is configured.
    pub git_config: Option<PathBuf>,
    /// Whether an agent may be given all permissions.
    pub allow_full: bool,
    /// What the operator says about runners, by name.
    pub runner_settings: BTreeMap<String, RunnerSettings>,
    /// The most that is kept of one lease's output, in bytes.
    pub log_limit: Bytes,
    /// The program to start as supervisor with `__supervise`: as a rule this program itself.
    pub supervisor: PathBuf,
}

/// Where a coordinator is found. Looked up again for each connection, since a coordinator that was
/// started again may listen elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Always there.
    Url(String),
    /// Where the file says that a local coordinator leaves beside its database.
    File(PathBuf),
    /// Where the file says, or at the URL where there is no file.
    FileOr(PathBuf, String),
}

/// Where the token is read, again for each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// Named by the operator: sent to whatever coordinator was named.
    File(PathBuf),
    /// Beside a local database: never sent to another machine.
    Local(PathBuf),
}

impl TokenSource {
    /// The file that holds the token.
    pub fn path(&self) -> &PathBuf {
        match self {
            Self::File(path) | Self::Local(path) => path,
        }
    }
}

/// What a worker may be leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs tasks and integrates their results.
    Executor,
    /// Judges a wave's candidate.
    Thor,
    /// Asks the coordinator's model for counsel.
    Coordinator,
}

impl Role {
    /// The same word on the wire.
    pub fn into_proto(self) -> v1::Role {
        match self {
            Self::Executor => v1::Role::Executor,
            Self::Thor => v1::Role::Thor,
            Self::Coordinator => v1::Role::Coordinator,
        }
    }
}

impl WorkerConfig {
    /// A worker with the defaults for everything but its coordinator, its token and its directory.
    pub fn new(coordinator: Address, token: TokenSource, state_dir: PathBuf) -> Self {
        Self {
            coordinator,
            token,
            name: host_name(),
            state_dir,
            slots: default_slots(),
            roles: vec![Role::Executor, Role::Thor, Role::Coordinator],
            labels: default_labels(),
            runners: None,
            allow_repos: None,
            git_dir: None,
            git_config: None,
            allow_full: false,
            runner_settings: BTreeMap::new(),
            log_limit: DEFAULT_LOG_LIMIT,
            // Names this program even when its file was replaced since.
            supervisor: PathBuf::from("/proc/self/exe"),
        }
    }
}

impl WorkerConfig {
    /// Where repositories are kept.
    pub fn git_dir(&self) -> PathBuf {
        self.git_dir.clone().unwrap_or_else(|| self.state_dir.join("git"))
    }
}

/// The host's name.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Agents wait more than they compute, yet a shell task may well use a core.
fn default_slots() -> Slots {
    let cores = std::thread::available_parallelism().ok();
    let cores = cores.and_then(|cores| u32::try_from(cores.get()).ok()).and_then(NonZeroU32::new);
    Slots::AtMost(cores.unwrap_or(NonZeroU32::MIN))
}

fn default_labels() -> Vec<String> {
    vec![format!("os={}", std::env::consts::OS), format!("arch={}", std::env::consts::ARCH)]
}

#[cfg(test)]
mod tests;
