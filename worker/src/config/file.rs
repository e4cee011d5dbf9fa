//! The worker's config file: TOML with the names of the flags. An unknown name is an error.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Deserialize;

use super::{Bytes, FULL_LABEL, Role, Slots};
use crate::runner::sections::Sections;

/// A configuration that a worker cannot start with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the config file {}", path.display())]
    Unreadable {
        /// The config file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file says something else than expected; the text names line, column and what was found.
    #[error("{}: {text}", path.display())]
    Wrong {
        /// The config file.
        path: PathBuf,
        /// Where and what.
        text: String,
    },
    /// There is no home directory to put a default in.
    #[error("the environment has no HOME, so there is no default for {flag}: give it")]
    NoHome {
        /// The flag without a default.
        flag: &'static str,
    },
    /// A label that says what only `--allow-full` may say.
    #[error(
        "the label {label:?} cannot be given: --allow-full gives {FULL_LABEL:?} to a worker whose operator allows it"
    )]
    ReservedLabel {
        /// What was given.
        label: String,
    },
    /// An address of another kind.
    #[error("the coordinator's address {url:?} does not start with http://")]
    NotHttp {
        /// What was given.
        url: String,
    },
}

/// What the flags or the file say; what neither says takes the default.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) coordinator: Option<String>,
    pub(super) db: Option<PathBuf>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) name: Option<String>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) slots: Option<Slots>,
    pub(super) role: Option<Vec<Role>>,
    pub(super) label: Option<Vec<String>>,
    pub(super) allow_runner: Option<Vec<String>>,
    pub(super) allow_repo: Option<Vec<String>>,
    pub(super) git_dir: Option<PathBuf>,
    pub(super) git_config: Option<PathBuf>,
    pub(super) allow_full: Option<bool>,
    /// A section `[runner.NAME]` each.
    pub(super) runner: Option<Sections>,
    pub(super) log_limit: Option<Bytes>,
}

impl Settings {
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|error| ConfigError::Wrong { path: path.to_owned(), text: error.to_string() })
    }
}
