//! Opening a database: its place (`files`), its schema and its checks (`schema`), and what this start is
//! known by. Owns what is refused and says what to do about it; nothing is changed in a file that is
//! refused.

mod files;
mod schema;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use wavegate_engine::Utc;

pub use files::Files;
#[cfg(test)]
pub(super) use schema::MIGRATIONS;

use super::{SqliteStore, artifacts::Artifacts, logs::Logs, reader::Reader, restored::Evidence};
use crate::driver::StoreError;

/// Everything that a coordinator needs of an opened database.
#[derive(Debug)]
pub struct Opened {
    pub store: SqliteStore,
    pub reader: Reader,
    pub artifacts: Artifacts,
    pub logs: Logs,
    pub files: Files,
    pub epoch: Epoch,
    pub database_id: String,
    /// The database is an older copy of itself; [`Files::name_start`] when that is known to the plans.
    pub restored: Option<Evidence>,
    pub token: String,
    /// Held as long as this is: the kernel lets go of it when the process dies.
    pub lock: File,
}

/// This start of a coordinator on its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    pub counter: u64,
    pub nonce: String,
}

/// Why a database is not opened, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot use {path}: the database's folder must exist and be writable, or name another with --db")]
    Folder { path: PathBuf, source: io::Error },
    #[error("{0} is a directory; name a database file with --db")]
    Directory(PathBuf),
    #[error("{0} is not a regular file; name a database file with --db")]
    NotAFile(PathBuf),
    #[error(
        "{db} is in use by another coordinator{who}; give it your commands, stop it first, or name another file with --db"
    )]
    InUse { db: PathBuf, who: String },
    #[error("cannot lock {path}: the database must be on a disk of this machine that knows file locks")]
    Lock { path: PathBuf, source: io::Error },
    #[error("{0} is read-only; make it and its folder writable, or name another file with --db")]
    ReadOnly(PathBuf),
    #[error(
        "{db} cannot have a write-ahead log (its journal stays \"{found}\"); the database must be on a disk of this machine"
    )]
    NoLog { db: PathBuf, found: String },
    #[error(
        "{db} has schema version {found}, which is newer than this program's {known}; use a newer wavegate"
    )]
    Newer { db: PathBuf, found: usize, known: usize },
    #[error("{0} is not a SQLite database; name another file with --db, or move this one away")]
    NotADatabase(PathBuf),
    #[error(
        "{0} already has a table `plans` of another program; opening such a database is not supported yet, name another file with --db"
    )]
    Foreign(PathBuf),
    #[error("{db} is damaged: {found}; restore it from a backup (the damaged file was left as it is)")]
    Damaged { db: PathBuf, found: String },
    #[error(
        "{db} says schema version {from} but has not its shape ({found}): something between releases made it, or another program changed it; nothing was changed, name another file with --db"
    )]
    Unlike { db: PathBuf, from: usize, found: String },
    #[error("{db} cannot be opened")]
    Store { db: PathBuf, source: StoreError },
}

impl OpenError {
    fn store(db: &Path, source: StoreError) -> Self {
        let db = db.to_owned();
        match source {
            StoreError::Corrupt(found) => Self::Damaged { db, found },
            StoreError::Unavailable(_) | StoreError::Constraint(_) => Self::Store { db, source },
        }
    }

    fn sql(db: &Path, error: rusqlite::Error) -> Self {
        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) {
            return Self::NotADatabase(db.to_owned());
        }
        Self::store(db, error.into())
    }
}

/// Opens the database, or says why not. Waits `patience` for another coordinator to let go of it.
pub fn open(db: &Path, patience: Duration, now: Utc) -> Result<Opened, OpenError> {
    let db = &files::locate(db)?;
    let files = Files::of(db);
    files.create()?;
    let lock = files.lock(db, patience)?;
    let sql = schema::connect(db)?;
    let begun = schema::begin(&sql, db, &files, now)?;
    let at = |path: &Path, source| OpenError::Folder { path: path.to_owned(), source };
    let (artifacts_at, logs_at) = (files.folder().join("artifacts"), files.folder().join("logs"));
    let artifacts = Artifacts::open(&artifacts_at).map_err(|source| at(&artifacts_at, source))?;
    if !begun.was_clean {
        artifacts.sync_names().map_err(|source| at(&artifacts_at, source))?;
    }
    Ok(Opened {
        store: SqliteStore::new(sql),
        reader: Reader::new(db),
        artifacts,
        logs: Logs::open(&logs_at).map_err(|source| at(&logs_at, source))?,
        token: files.read_or_make_token()?,
        files,
        epoch: begun.epoch,
        database_id: begun.database_id,
        restored: begun.restored,
        lock,
    })
}

fn random_hex(bytes: usize) -> Result<String, io::Error> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
