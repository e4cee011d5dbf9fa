//! The schema of a database and what must hold before it is trusted: whose it is, its version, its
//! integrity after an unclean stop.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path, time::Duration};

use rusqlite::{
    Connection, MAIN_DB, OpenFlags, OptionalExtension as _, TransactionBehavior, config::DbConfig,
};
use wavegate_engine::Utc;

use super::{Epoch, Files, OpenError, random_hex};
use crate::{
    driver::StoreError,
    store::{
        restored::{self, CAME_HERE, Evidence},
        staging,
    },
};

/// What each schema version added; the list only grows. The number of applied ones is in `wg_meta`,
/// since `user_version` may be somebody else's.
pub(in crate::store) const MIGRATIONS: [&str; 3] = [
    include_str!("../schema/0001.sql"),
    include_str!("../schema/0002.sql"),
    include_str!("../schema/0003.sql"),
];

/// How long another program may hold the database before we say so.
const BUSY: Duration = Duration::from_secs(5);

/// Statements kept prepared: about as many as the store has.
const STATEMENTS: usize = 64;

/// What a start begins with.
pub(super) struct Begun {
    pub(super) epoch: Epoch,
    pub(super) database_id: String,
    pub(super) restored: Option<Evidence>,
    /// The last coordinator closed it, or there was none.
    pub(super) was_clean: bool,
}

/// The writing connection.
pub(super) fn connect(db: &Path) -> Result<Connection, OpenError> {
    let connect = || -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let sql = Connection::open_with_flags(db, flags)?;
        sql.busy_timeout(BUSY)?;
        // Until it is taken: a file that is refused keeps its log.
        sql.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        sql.set_prepared_statement_cache_capacity(STATEMENTS);
        // Reads the file: fails here if it is no database.
        sql.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(sql)
    };
    let sql = connect().map_err(|error| OpenError::sql(db, error))?;
    // SQLite is content with reading where it may not write.
    if sql.is_readonly(MAIN_DB).map_err(|error| OpenError::sql(db, error))? {
        return Err(OpenError::ReadOnly(db.to_owned()));
    }
    Ok(sql)
}

/// Checks whose the database is and whether it is sound, brings its schema up to date and records this
/// start.
pub(super) fn begin(sql: &Connection, db: &Path, files: &Files, now: Utc) -> Result<Begun, OpenError> {
    let instance = files.instance()?;
    let from = check_whose(sql, db)?;
    let was_clean = from == 0 || check_integrity(sql, db)?;
    if !was_clean {
        write_log_again(sql, db).map_err(|error| OpenError::store(db, error))?;
    }
    migrate(sql, db, from)?;
    let begun = record_start(sql, &instance, &files.last_epoch(), was_clean, now)
        .map_err(|error| OpenError::store(db, error))?;
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map_err(|error| OpenError::sql(db, error))?;
    Ok(begun)
}

/// Ours, empty, or somebody else's: then a copy is made before anything is added to it. Gives the
/// version of the schema; 0 where there is none yet.
fn check_whose(sql: &Connection, db: &Path) -> Result<usize, OpenError> {
    let failed = |error| OpenError::sql(db, error);
    if has_table(sql, "wg_meta").map_err(failed)? {
        return check_version(sql, db);
    }
    if has_table(sql, "plans").map_err(failed)? {
        return Err(OpenError::Foreign(db.to_owned()));
    }
    let count = "SELECT count(*) AS tables FROM sqlite_schema";
    let tables: i64 = sql.query_row(count, [], |row| row.get("tables")).map_err(failed)?;
    if tables > 0 {
        let mut copy = db.as_os_str().to_owned();
        copy.push(".before-wavegate");
        sql.backup(MAIN_DB, Path::new(&copy), None::<fn(rusqlite::backup::Progress)>).map_err(failed)?;
    }
    Ok(0)
}

fn check_version(sql: &Connection, db: &Path) -> Result<usize, OpenError> {
    let (db, known) = (db.to_owned(), MIGRATIONS.len());
    let text = meta(sql, "schema_version").map_err(|error| OpenError::sql(&db, error))?;
    match text.as_deref().map(str::parse::<usize>) {
        Some(Ok(found)) if found > known => Err(OpenError::Newer { db, found, known }),
        Some(Ok(found)) if found > 0 => Ok(found),
        _ => {
            let found =
                format!("wg_meta has the schema_version {text:?}, expected a number from 1 to {known}");
            Err(OpenError::Damaged { db, found })
        }
    }
}

fn migrate(sql: &Connection, db: &Path, from: usize) -> Result<(), OpenError> {
    let migrate = || -> rusqlite::Result<String> {
        let journal = sql.query_row("PRAGMA journal_mode = WAL", [], |row| row.get("journal_mode"))?;
        sql.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")?;
        if from == MIGRATIONS.len() {
            return Ok(journal);
        }
        let transaction = rusqlite::Transaction::new_unchecked(sql, TransactionBehavior::Exclusive)?;
        MIGRATIONS[from..].iter().try_for_each(|migration| transaction.execute_batch(migration))?;
        set_meta(&transaction, "schema_version", &MIGRATIONS.len().to_string())?;
        transaction.commit()?;
        Ok(journal)
    };
    // SQL that does not fit what is there, not a disk that fails.
    let misfit = |error: &rusqlite::Error| error.sqlite_error_code() == Some(rusqlite::ErrorCode::Unknown);
    let found = migrate().map_err(|error| {
        if misfit(&error) {
            return OpenError::Unlike { db: db.to_owned(), from, found: error.to_string() };
        }
        OpenError::sql(db, error)
    })?;
    if found == "wal" { Ok(()) } else { Err(OpenError::NoLog { db: db.to_owned(), found }) }
}

/// After an unclean stop the file is checked before it is trusted. Gives whether the stop was clean.
fn check_integrity(sql: &Connection, db: &Path) -> Result<bool, OpenError> {
    let check = || -> rusqlite::Result<Option<String>> {
        if meta(sql, "clean_stop")?.as_deref() == Some("1") {
            return Ok(None);
        }
        Ok(Some(sql.query_row("PRAGMA quick_check(1)", [], |row| row.get("quick_check"))?))
    };
    match check() {
        Ok(None) => Ok(true),
        Ok(Some(found)) if found == "ok" => Ok(false),
        Ok(Some(found)) => Err(OpenError::Damaged { db: db.to_owned(), found }),
        Err(error) => Err(OpenError::sql(db, error)),
    }
}

/// Puts the write-ahead log on disk as it is read. What a sync could not write before an unclean stop is still read
/// back, and the kernel takes it for written: a later sync of what follows it would pass it over, and a power loss
/// would then take both.
fn write_log_again(sql: &Connection, db: &Path) -> Result<(), StoreError> {
    // While this lock is held nobody else writes to the log.
    let transaction = rusqlite::Transaction::new_unchecked(sql, TransactionBehavior::Immediate)?;
    let mut path = db.as_os_str().to_owned();
    path.push("-wal");
    let write = || -> io::Result<()> {
        let log = File::options().read(true).write(true).open(Path::new(&path))?;
        let mut piece = vec![0; 1024 * 1024];
        let mut at = 0;
        loop {
            let length = log.read_at(&mut piece, at)?;
            if length == 0 {
                return log.sync_all();
            }
            log.write_all_at(&piece[..length], at)?;
            at += length as u64;
        }
    };
    match write() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::Unavailable(format!("the log of the database cannot be written again: {error}")))
        }
        Ok(()) | Err(_) => Ok(transaction.rollback()?),
    }
}

fn record_start(
    sql: &Connection,
    instance: &str,
    last_epoch: &Path,
    was_clean: bool,
    now: Utc,
) -> Result<Begun, StoreError> {
    let random = || random_hex(16).map_err(|error| StoreError::Unavailable(error.to_string()));
    let transaction = rusqlite::Transaction::new_unchecked(sql, TransactionBehavior::Immediate)?;
    let nonce = random()?;
    transaction.execute("INSERT INTO wg_epochs (nonce, started_ms) VALUES (?1, ?2)", (&nonce, now.0))?;
    let counter = u64::try_from(transaction.last_insert_rowid()).unwrap_or_default();
    let database_id = match meta(&transaction, "database_id")? {
        Some(id) => id,
        None => random()?,
    };
    if meta(&transaction, "instance")?.is_some_and(|known| known != instance) {
        set_meta(&transaction, CAME_HERE, instance)?;
    }
    for (key, value) in [("database_id", database_id.as_str()), ("instance", instance), ("clean_stop", "0")] {
        set_meta(&transaction, key, value)?;
    }
    let restored = restored::at_open(&transaction, last_epoch)?;
    // In the same transaction: where this fails the file is refused, and nothing of the start is kept.
    staging::remove_unfinished(&transaction)?;
    transaction.commit()?;
    Ok(Begun { epoch: Epoch { counter, nonce }, database_id, restored, was_clean })
}

fn has_table(sql: &Connection, name: &str) -> rusqlite::Result<bool> {
    sql.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1")?.exists([name])
}

fn meta(sql: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    sql.query_row("SELECT value FROM wg_meta WHERE key = ?1", [key], |row| row.get("value")).optional()
}

fn set_meta(sql: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    let put = "INSERT INTO wg_meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    sql.execute(put, (key, value)).map(drop)
}
