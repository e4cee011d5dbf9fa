//! Opening: the folder beside the database, the lock, the schema, the checks. Owns what is refused and
//! says what to do about it; nothing is changed in a file that is refused.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use rustix::fs::{FlockOperation, flock};
use wavegate_engine::Utc;

use super::{SqliteStore, artifacts::Artifacts, logs::Logs, reader::Reader, staging};
use crate::driver::StoreError;

/// What each schema version added; the list only grows. The number of applied ones is in `wg_meta`,
/// since `user_version` may be somebody else's.
const MIGRATIONS: [&str; 1] = [include_str!("schema/0001.sql")];

/// How long another program may hold the database before we say so.
const BUSY: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

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

/// The folder beside the database, `<db>.d/`, and what is in it.
#[derive(Debug, Clone)]
pub struct Files {
    folder: PathBuf,
}

/// Why a database is not opened, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot use {path}: the database's folder must exist and be writable, or name another with --db")]
    Folder { path: PathBuf, source: io::Error },
    #[error("{0} is a directory; name a database file with --db")]
    Directory(PathBuf),
    #[error(
        "{db} is in use by another coordinator{at}; give it your commands, stop it first, or name another file with --db"
    )]
    InUse { db: PathBuf, at: String },
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
    #[error("{db} cannot be opened")]
    Store { db: PathBuf, source: StoreError },
}

impl Files {
    /// The folder of this database.
    #[must_use]
    pub fn of(db: &Path) -> Self {
        let mut folder = db.as_os_str().to_owned();
        folder.push(".d");
        Self { folder: folder.into() }
    }

    /// The folder itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the live coordinator's address is.
    #[must_use]
    pub fn address(&self) -> PathBuf {
        self.folder.join("address")
    }

    /// Where the token is, readable by its owner alone.
    #[must_use]
    pub fn token(&self) -> PathBuf {
        self.folder.join("token")
    }
}

/// Opens the database, or says why not. Waits `patience` for another coordinator to let go of it.
pub fn open(db: &Path, patience: Duration, now: Utc) -> Result<Opened, OpenError> {
    if db.is_dir() {
        return Err(OpenError::Directory(db.to_owned()));
    }
    let files = Files::of(db);
    let folder = |path: &Path, source| OpenError::Folder { path: path.to_owned(), source };
    let parent = db.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|source| folder(parent, source))?;
    // A file that is no database gets no folder beside it.
    check_header(db)?;
    fs::create_dir_all(&files.folder).map_err(|source| folder(&files.folder, source))?;
    let lock = take_lock(db, &files, patience)?;
    let sql = open_connection(db)?;
    let at = |source: StoreError| match source {
        StoreError::Corrupt(found) => OpenError::Damaged { db: db.to_owned(), found },
        StoreError::Unavailable(_) | StoreError::Constraint(_) => {
            OpenError::Store { db: db.to_owned(), source }
        }
    };
    check_whose(&sql, db)?;
    migrate(&sql, db)?;
    check_integrity(&sql, db)?;
    let (epoch, database_id) = begin_epoch(&sql, now).map_err(at)?;
    staging::remove_unfinished(&sql).map_err(at)?;
    let token = read_or_make_token(&files.token()).map_err(|source| folder(&files.token(), source))?;
    let artifacts = files.folder.join("artifacts");
    let logs = files.folder.join("logs");
    Ok(Opened {
        store: SqliteStore::new(sql),
        reader: Reader::new(db),
        artifacts: Artifacts::open(&artifacts).map_err(|source| folder(&artifacts, source))?,
        logs: Logs::open(&logs).map_err(|source| folder(&logs, source))?,
        files,
        epoch,
        database_id,
        token,
        lock,
    })
}

fn check_header(db: &Path) -> Result<(), OpenError> {
    let mut header = Vec::new();
    match File::open(db).and_then(|file| io::Read::read_to_end(&mut io::Read::take(file, 16), &mut header)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(OpenError::Folder { path: db.to_owned(), source }),
        Ok(_) if header.is_empty() || header == b"SQLite format 3\0" => Ok(()),
        Ok(_) => Err(OpenError::NotADatabase(db.to_owned())),
    }
}

fn take_lock(db: &Path, files: &Files, patience: Duration) -> Result<File, OpenError> {
    let path = files.folder.join("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(|source| OpenError::Folder { path, source })?;
    let end = Instant::now() + patience;
    while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() >= end {
            let address = fs::read_to_string(files.address()).unwrap_or_default();
            let at = if address.is_empty() { String::new() } else { format!(" at {}", address.trim()) };
            return Err(OpenError::InUse { db: db.to_owned(), at });
        }
        std::thread::sleep(LOOK);
    }
    Ok(lock)
}

fn open_connection(db: &Path) -> Result<Connection, OpenError> {
    let prepare = || -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let sql = Connection::open_with_flags(db, flags)?;
        sql.busy_timeout(BUSY)?;
        sql.set_prepared_statement_cache_capacity(64);
        // Reads the file: fails here if it is none.
        sql.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(sql)
    };
    prepare().map_err(|error| classify(db, error))
}

fn classify(db: &Path, error: rusqlite::Error) -> OpenError {
    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) {
        return OpenError::NotADatabase(db.to_owned());
    }
    match StoreError::from(error) {
        StoreError::Corrupt(found) => OpenError::Damaged { db: db.to_owned(), found },
        source @ (StoreError::Unavailable(_) | StoreError::Constraint(_)) => {
            OpenError::Store { db: db.to_owned(), source }
        }
    }
}

fn has_table(sql: &Connection, name: &str) -> rusqlite::Result<bool> {
    sql.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1")?.exists([name])
}

/// Ours, empty, or somebody else's: then a copy is made before anything is added to it.
fn check_whose(sql: &Connection, db: &Path) -> Result<(), OpenError> {
    let look = || -> rusqlite::Result<Option<OpenError>> {
        if has_table(sql, "wg_meta")? {
            let found = version(sql)?;
            let newer = OpenError::Newer { db: db.to_owned(), found, known: MIGRATIONS.len() };
            return Ok((found > MIGRATIONS.len()).then_some(newer));
        }
        if has_table(sql, "plans")? {
            return Ok(Some(OpenError::Foreign(db.to_owned())));
        }
        let tables: i64 = sql.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables > 0 {
            let mut copy = db.as_os_str().to_owned();
            copy.push(".before-wavegate");
            sql.backup("main", Path::new(&copy), None::<fn(rusqlite::backup::Progress)>)?;
        }
        Ok(None)
    };
    match look() {
        Ok(None) => Ok(()),
        Ok(Some(refused)) => Err(refused),
        Err(error) => Err(classify(db, error)),
    }
}

fn version(sql: &Connection) -> rusqlite::Result<usize> {
    let text: Option<String> = sql
        .query_row("SELECT value FROM wg_meta WHERE key = 'schema_version'", [], |row| row.get(0))
        .optional()?;
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}

fn migrate(sql: &Connection, db: &Path) -> Result<(), OpenError> {
    let migrate = || -> rusqlite::Result<()> {
        sql.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")?;
        let from = if has_table(sql, "wg_meta")? { version(sql)? } else { 0 };
        if from == MIGRATIONS.len() {
            return Ok(());
        }
        sql.execute_batch("BEGIN EXCLUSIVE")?;
        let apply = || -> rusqlite::Result<()> {
            MIGRATIONS[from..].iter().try_for_each(|migration| sql.execute_batch(migration))?;
            set_meta(sql, "schema_version", &MIGRATIONS.len().to_string())?;
            sql.execute_batch("COMMIT")
        };
        apply().inspect_err(|_| drop(sql.execute_batch("ROLLBACK")))
    };
    migrate().map_err(|error| classify(db, error))
}

/// After an unclean stop the file is checked before it is trusted.
fn check_integrity(sql: &Connection, db: &Path) -> Result<(), OpenError> {
    let check = || -> rusqlite::Result<Option<String>> {
        let clean: Option<String> = sql
            .query_row("SELECT value FROM wg_meta WHERE key = 'clean_stop'", [], |row| row.get(0))
            .optional()?;
        if clean.as_deref() != Some("0") {
            return Ok(None);
        }
        let found: String = sql.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        Ok((found != "ok").then_some(found))
    };
    match check() {
        Ok(None) => Ok(()),
        Ok(Some(found)) => Err(OpenError::Damaged { db: db.to_owned(), found }),
        Err(error) => Err(classify(db, error)),
    }
}

fn begin_epoch(sql: &Connection, now: Utc) -> Result<(Epoch, String), StoreError> {
    let nonce = random_hex(16)?;
    sql.execute("INSERT INTO wg_epochs (nonce, started_ms) VALUES (?1, ?2)", (&nonce, now.0))?;
    let counter = u64::try_from(sql.last_insert_rowid()).unwrap_or_default();
    let known: Option<String> = sql
        .query_row("SELECT value FROM wg_meta WHERE key = 'database_id'", [], |row| row.get(0))
        .optional()?;
    let database_id = match known {
        Some(id) => id,
        None => {
            let id = random_hex(16)?;
            set_meta(sql, "database_id", &id)?;
            id
        }
    };
    set_meta(sql, "clean_stop", "0")?;
    Ok((Epoch { counter, nonce }, database_id))
}

fn set_meta(sql: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    let put = "INSERT INTO wg_meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    sql.execute(put, (key, value)).map(drop)
}

fn random_hex(bytes: usize) -> Result<String, StoreError> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn read_or_make_token(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(token) if !token.trim().is_empty() => return Ok(token.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let token = random_hex(32).map_err(io::Error::other)?;
    let fresh = path.with_extension("new");
    let mut options = File::options();
    std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create(true).truncate(true), 0o600);
    let mut file = options.open(&fresh)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(token.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    Ok(token)
}
