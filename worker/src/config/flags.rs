//! The worker's command line. Every flag has an environment variable `WAVEGATE_...`.

use std::path::{Path, PathBuf};

use clap::builder::NonEmptyStringValueParser;
use clap::{Parser, Subcommand};

use super::file::{ConfigError, Settings};
use super::{
    Address, Bytes, DEFAULT_COORDINATOR, FULL_LABEL, RESERVED_LABELS, Role, Slots, TokenSource, WorkerConfig,
};

/// Runs leases of a Wavegate coordinator: tasks, integration and validation.
#[derive(Debug, Default, Parser)]
#[command(name = "wavegate-worker", version)]
pub struct Flags {
    /// The coordinator's address [default: the local coordinator's, else http://127.0.0.1:7433]
    #[arg(long, value_name = "URL", env = "WAVEGATE_COORDINATOR", value_parser = NonEmptyStringValueParser::new())]
    coordinator: Option<String>,
    /// The database of a local coordinator, which leaves its address and its token beside it
    /// [default: ~/.local/share/wavegate/wavegate.db]
    #[arg(long, value_name = "FILE", env = "WAVEGATE_DB")]
    db: Option<PathBuf>,
    /// The file that holds the coordinator's token [default: FILE.d/token beside the database]
    #[arg(long, value_name = "FILE", env = "WAVEGATE_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// A label for people [default: the host's name]
    #[arg(long, env = "WAVEGATE_NAME", value_parser = NonEmptyStringValueParser::new())]
    name: Option<String>,
    /// The worker's own directory [default: ~/.local/share/wavegate/worker]
    #[arg(long, value_name = "DIR", env = "WAVEGATE_STATE_DIR", global = true)]
    state_dir: Option<PathBuf>,
    /// How many leases it takes at once, or "unlimited" [default: the number of cores]
    #[arg(long, value_name = "N", env = "WAVEGATE_SLOTS")]
    slots: Option<Slots>,
    /// What it may be leased [default: executor, thor and coordinator]
    #[arg(long, env = "WAVEGATE_ROLE", value_delimiter = ',')]
    role: Vec<Role>,
    /// What tasks may require of it, for example gpu
    #[arg(long, env = "WAVEGATE_LABEL", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    label: Vec<String>,
    /// A runner that this worker may use, for example shell or claude [default: every one that is found]
    #[arg(long, value_name = "RUNNER", env = "WAVEGATE_ALLOW_RUNNER", value_delimiter = ',', global = true,
          value_parser = NonEmptyStringValueParser::new())]
    allow_runner: Vec<String>,
    /// What the path or URL of a repository must begin with to be worked on [default: every repository]
    #[arg(long, value_name = "PREFIX", env = "WAVEGATE_ALLOW_REPO", value_delimiter = ',',
          value_parser = NonEmptyStringValueParser::new())]
    allow_repo: Vec<String>,
    /// Where repositories are kept; workers of one host may share it [default: STATE_DIR/git]
    #[arg(long, value_name = "DIR", env = "WAVEGATE_GIT_DIR")]
    git_dir: Option<PathBuf>,
    /// A file in git's own form that stands in the place of ~/.gitconfig: credential helpers, user.name ... [default:
    /// none, and no configuration of a user is read]
    #[arg(long, value_name = "FILE", env = "WAVEGATE_GIT_CONFIG")]
    git_config: Option<PathBuf>,
    /// Give agents all permissions where a plan asks for it; adds the label permissions=full
    #[arg(long, env = "WAVEGATE_ALLOW_FULL", global = true)]
    allow_full: bool,
    /// The most that is kept of one lease's output, for example 64MiB [default: 64MiB]
    #[arg(long, value_name = "BYTES", env = "WAVEGATE_LOG_LIMIT")]
    log_limit: Option<Bytes>,
    /// A TOML file with the same names: coordinator, state-dir, slots ...
    #[arg(long, value_name = "FILE", env = "WAVEGATE_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// What to do instead of working.
    #[command(subcommand)]
    command: Option<Command>,
}

/// What the program does besides being a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Tell which runners this host has, what is missing and how to get it
    Doctor {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

impl Flags {
    /// What to do instead of working.
    #[must_use]
    pub fn instead(&self) -> Option<Command> {
        self.command
    }

    /// What the flags, the environment, the config file and the defaults make together.
    pub fn resolve(self) -> Result<WorkerConfig, ConfigError> {
        let file = self.config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
        // As the coordinator's commands do: both must look in the same place.
        let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let data = data.or_else(|| home.map(|home| home.join(".local/share")));
        self.over(file).complete(data.as_deref())
    }

    /// What was said here, else what the file says.
    pub(super) fn over(self, file: Settings) -> Settings {
        let list = |ours: Vec<String>, theirs| if ours.is_empty() { theirs } else { Some(ours) };
        Settings {
            coordinator: self.coordinator.or(file.coordinator),
            db: self.db.or(file.db),
            token_file: self.token_file.or(file.token_file),
            name: self.name.or(file.name),
            state_dir: self.state_dir.or(file.state_dir),
            slots: self.slots.or(file.slots),
            role: if self.role.is_empty() { file.role } else { Some(self.role) },
            label: list(self.label, file.label),
            allow_runner: list(self.allow_runner, file.allow_runner),
            allow_repo: list(self.allow_repo, file.allow_repo),
            git_dir: self.git_dir.or(file.git_dir),
            git_config: self.git_config.or(file.git_config),
            allow_full: self.allow_full.then_some(true).or(file.allow_full),
            runner: file.runner,
            log_limit: self.log_limit.or(file.log_limit),
        }
    }
}

impl WorkerConfig {
    /// What the program would be here without flags, with this config file if one is given.
    pub fn of_this_host(file: Option<&Path>) -> Result<Self, ConfigError> {
        Flags { config: file.map(Path::to_owned), ..Flags::default() }.resolve()
    }

    /// A worker within another program: this coordinator and place, and what a config file says of runners,
    /// labels and the rest.
    pub fn within(
        coordinator: Address,
        token: TokenSource,
        state_dir: PathBuf,
        file: Option<&Path>,
        allow_full: bool,
    ) -> Result<Self, ConfigError> {
        let file = file.map(Settings::read).transpose()?.unwrap_or_default();
        let mut config = Self::new(coordinator, token, state_dir);
        Flags { allow_full, ..Flags::default() }.over(file).overwrite(&mut config)?;
        Ok(config)
    }
}

impl Settings {
    /// Fills in the defaults.
    pub(super) fn complete(self, data: Option<&Path>) -> Result<WorkerConfig, ConfigError> {
        let share = data.map(|data| data.join("wavegate"));
        let place = |given: Option<PathBuf>, name: &str, flag| {
            given.or_else(|| Some(share.as_ref()?.join(name))).ok_or(ConfigError::NoHome { flag })
        };
        let coordinator = self.address(place(self.db.clone(), "wavegate.db", "--db"))?;
        let token = match self.token_file.clone() {
            Some(path) => TokenSource::File(path),
            None => TokenSource::Local(beside(&place(self.db.clone(), "wavegate.db", "--db")?, "token")),
        };
        let state_dir = place(self.state_dir.clone(), "worker", "--state-dir")?;
        let mut config = WorkerConfig::new(coordinator, token, state_dir);
        self.overwrite(&mut config)?;
        Ok(config)
    }

    fn address(&self, database: Result<PathBuf, ConfigError>) -> Result<Address, ConfigError> {
        if let Some(url) = &self.coordinator {
            return full_url(url).map(Address::Url);
        }
        let file = beside(&database?, "address");
        if self.db.is_some() {
            return Ok(Address::File(file));
        }
        Ok(Address::FileOr(file, DEFAULT_COORDINATOR.to_owned()))
    }

    fn overwrite(self, config: &mut WorkerConfig) -> Result<(), ConfigError> {
        config.name = self.name.unwrap_or_else(|| std::mem::take(&mut config.name));
        config.slots = self.slots.unwrap_or(config.slots);
        config.log_limit = self.log_limit.unwrap_or(config.log_limit);
        config.allow_full = self.allow_full.unwrap_or(config.allow_full);
        config.labels.extend(labels(self.label.unwrap_or_default(), config.allow_full)?);
        config.labels.sort();
        config.labels.dedup();
        if let Some(roles) = self.role {
            config.roles = roles;
        }
        config.allow_repos = self.allow_repo.or(config.allow_repos.take());
        config.git_dir = self.git_dir.or(config.git_dir.take());
        config.git_config = self.git_config.or(config.git_config.take());
        if let Some(runners) = self.allow_runner {
            config.runners = Some(runners);
        }
        config.runner_settings = self.runner.unwrap_or_default().0;
        Ok(())
    }
}

/// What people give, and what permissions give.
fn labels(given: Vec<String>, allow_full: bool) -> Result<Vec<String>, ConfigError> {
    let is_reserved =
        |label: &&String| label.starts_with(RESERVED_LABELS) && !(allow_full && *label == FULL_LABEL);
    if let Some(label) = given.iter().find(is_reserved) {
        return Err(ConfigError::ReservedLabel { label: label.clone() });
    }
    Ok(given.into_iter().chain(allow_full.then(|| FULL_LABEL.to_owned())).collect())
}

/// `host:port` is as good as `http://host:port`.
pub(crate) fn full_url(url: &str) -> Result<String, ConfigError> {
    match url.split_once("://") {
        None => Ok(format!("http://{url}")),
        Some(("http", _)) => Ok(url.to_owned()),
        Some(_) => Err(ConfigError::NotHttp { url: url.to_owned() }),
    }
}

/// A file that a coordinator leaves beside its database.
fn beside(database: &Path, name: &str) -> PathBuf {
    // Beside the file itself, where `database` is a link to it.
    let file = std::fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
    let mut folder = file.into_os_string();
    folder.push(".d");
    PathBuf::from(folder).join(name)
}
