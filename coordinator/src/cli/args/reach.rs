//! The flags that every command has: which database, which coordinator, which token. Owns the paths
//! beside a database by which commands and coordinators find each other.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::Args;

/// Where a coordinator listens unless told otherwise.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:7433";

/// How a command finds its coordinator.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Database and coordinator")]
pub(crate) struct ReachArgs {
    /// The database [default: ~/.local/share/wavegate/wavegate.db]
    #[arg(long, global = true, value_name = "FILE", env = "WAVEGATE_DB")]
    pub(crate) db: Option<PathBuf>,
    /// The coordinator's address, for example http://127.0.0.1:7433 [default: the one that is live
    /// on the database]
    #[arg(long, global = true, value_name = "URL", env = "WAVEGATE_COORDINATOR")]
    pub(crate) coordinator: Option<String>,
    /// The file that holds the access token [default: the one beside the database]
    #[arg(long, global = true, value_name = "FILE", env = "WAVEGATE_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true, env = "WAVEGATE_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) json: bool,
}

impl ReachArgs {
    /// The database that is meant.
    pub(crate) fn database(&self) -> PathBuf {
        self.db.clone().unwrap_or_else(default_database)
    }

    /// The file whose one line is the address of the coordinator that is live on the database.
    pub(crate) fn address_file(&self) -> PathBuf {
        beside(&self.database()).join("address")
    }

    /// The file that the coordinator of the database writes its token to.
    pub(crate) fn default_token_file(&self) -> PathBuf {
        beside(&self.database()).join("token")
    }

    /// The folder of the object stores that commands look into.
    pub(crate) fn stores(&self) -> PathBuf {
        beside(&self.database()).join("git")
    }

    /// The flags that lead another command to the same coordinator, with a leading space; empty
    /// where the defaults do.
    pub(crate) fn flags(&self) -> String {
        let mut flags = String::new();
        if let Some(db) = &self.db {
            flags.push_str(&format!(" --db {}", quoted(&db.to_string_lossy())));
        }
        if let Some(url) = &self.coordinator {
            flags.push_str(&format!(" --coordinator {}", quoted(url)));
        }
        flags
    }
}

/// The folder beside a database: `<db>.d`, beside the file itself where `database` is a link to it.
fn beside(database: &Path) -> PathBuf {
    let file = std::fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
    let mut folder = OsString::from(file);
    folder.push(".d");
    PathBuf::from(folder)
}

/// Honours XDG_DATA_HOME as other programs do.
fn default_database() -> PathBuf {
    let data = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".local/share")));
    data.unwrap_or_default().join("wavegate/wavegate.db")
}

/// A word as a POSIX shell reads it back.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
