//! A copy of a database while a coordinator works on it, with the artifacts and logs that it names.
//!
//! Owns the order that makes the copy whole: the database first, in one transaction, then the artifacts, which are
//! there before anything names them and are never changed. A copy is marked, so that a coordinator that is started
//! on it knows that it is one. The token is not copied: whoever restores gives the workers a new one.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _,
    backup::{Backup as Copying, StepResult},
    ffi,
};
use wavegate_engine::Utc;

use super::{Files, durable, restored::BACKUP_MADE};

/// How long another program may hold the database.
const BUSY: Duration = Duration::from_secs(30);

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    pub file: PathBuf,
    /// Artifacts and logs, new in the copy or there before.
    pub artifacts: u64,
    pub logs: u64,
    /// Bytes of the database's copy.
    pub bytes: u64,
}

/// Why there is no backup. Nothing is left of a try that failed, and an earlier backup of the same name stays.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("there is no database at {0}; name one with --db")]
    NoDatabase(PathBuf),
    #[error("{0} is no database of wavegate")]
    Foreign(PathBuf),
    #[error("{0} is the database itself; name another file for its backup")]
    Itself(PathBuf),
    #[error("{0} is there and is no backup of wavegate; name another file, or move it away")]
    Occupied(PathBuf),
    #[error("cannot write {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot copy {db}")]
    Sql { db: PathBuf, source: rusqlite::Error },
}

/// Copies the database `db` to `file` and what lies in `db.d/` to `file.d/`. An earlier backup there is replaced at
/// once, when the new one is whole and on disk.
pub fn back_up(db: &Path, file: &Path, now: Utc) -> Result<Backup, BackupError> {
    let source = open_source(db)?;
    check_target(db, file)?;
    let bytes = copy_database(&source, db, file, now)?;
    let (from, to) = (Files::of(db), Files::of(file));
    let artifacts =
        copy_folder(&from.folder().join("artifacts"), &to.folder().join("artifacts"), is_artifact)?;
    let logs = copy_folder(&from.folder().join("logs"), &to.folder().join("logs"), |_| false)?;
    Ok(Backup { file: file.to_owned(), artifacts, logs, bytes })
}

fn open_source(db: &Path) -> Result<Connection, BackupError> {
    if !db.is_file() {
        return Err(BackupError::NoDatabase(db.to_owned()));
    }
    let open = || -> rusqlite::Result<(Connection, bool)> {
        // A reader of a write-ahead log shares its index: it writes beside the file, never into it.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let sql = Connection::open_with_flags(db, flags)?;
        sql.busy_timeout(BUSY)?;
        let ours = sql.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'wg_meta'")?.exists([])?;
        Ok((sql, ours))
    };
    let (sql, ours) = open().map_err(|source| BackupError::Sql { db: db.to_owned(), source })?;
    if !ours {
        return Err(BackupError::Foreign(db.to_owned()));
    }
    Ok(sql)
}

fn check_target(db: &Path, file: &Path) -> Result<(), BackupError> {
    let Ok(found) = fs::canonicalize(file) else { return Ok(()) };
    if fs::canonicalize(db).is_ok_and(|db| db == found) {
        return Err(BackupError::Itself(file.to_owned()));
    }
    let made = || -> rusqlite::Result<Option<String>> {
        let sql = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let made = "SELECT value FROM wg_meta WHERE key = ?1";
        sql.query_row(made, [BACKUP_MADE], |row| row.get("value")).optional()
    };
    match made() {
        Ok(Some(_)) => Ok(()),
        Ok(None) | Err(_) => Err(BackupError::Occupied(file.to_owned())),
    }
}

fn copy_database(source: &Connection, db: &Path, file: &Path, now: Utc) -> Result<u64, BackupError> {
    let mut fresh = file.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let at = |source| BackupError::Io { path: fresh.clone(), source };
    // What a try that was killed left.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
        Ok(()) | Err(_) => {}
    }
    let copy = || -> rusqlite::Result<()> {
        let mut sql = Connection::open(&fresh)?;
        // All pages in one step: of several, each would begin anew after another program's commit.
        let copied = Copying::new(source, &mut sql)?.step(-1)?;
        if copied != StepResult::Done {
            let busy = ffi::Error::new(ffi::SQLITE_BUSY);
            return Err(rusqlite::Error::SqliteFailure(busy, None));
        }
        sql.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL")?;
        let mark = "INSERT INTO wg_meta (key, value) VALUES (?1, ?2) \
                    ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        sql.execute(mark, (BACKUP_MADE, now.0.to_string()))?;
        sql.close().map_err(|(_, error)| error)
    };
    let finish = || -> io::Result<u64> {
        let copied = File::open(&fresh)?;
        copied.sync_all()?;
        let bytes = copied.metadata()?.len();
        fs::rename(&fresh, file)?;
        durable::sync(durable::parent_of(file))?;
        Ok(bytes)
    };
    let copied = copy().map_err(|source| BackupError::Sql { db: db.to_owned(), source });
    let done = copied.and_then(|()| finish().map_err(at));
    if done.is_err() {
        // A half must not be taken for a backup.
        let _ = fs::remove_file(&fresh);
    }
    done
}

/// By its name in full: what is being received has another.
fn is_artifact(name: &str) -> bool {
    name.len() == 62 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Copies files that are not there yet, or have grown; `is_fixed` names what never changes, which may be linked.
fn copy_folder(from: &Path, to: &Path, is_fixed: fn(&str) -> bool) -> Result<u64, BackupError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| BackupError::Io { path, source }
    };
    if !from.is_dir() {
        return Ok(0);
    }
    durable::create_dir_all(to).map_err(at(to))?;
    let mut count = 0;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let name = entry.file_name();
        let target = to.join(&name);
        let kind = entry.file_type().map_err(at(&entry.path()))?;
        if kind.is_dir() {
            count += copy_folder(&entry.path(), &target, is_fixed)?;
        } else if kind.is_file() && !name.to_string_lossy().starts_with("incoming-") {
            match copy_file(&entry.path(), &target, is_fixed(&name.to_string_lossy())) {
                Ok(()) => count += 1,
                // It was taken away meanwhile: nothing that the copy names.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(at(&target)(error)),
            }
        }
    }
    durable::sync(to).map_err(at(to))?;
    Ok(count)
}

fn copy_file(from: &Path, to: &Path, is_fixed: bool) -> io::Result<()> {
    let size = fs::metadata(from)?.len();
    if fs::metadata(to).is_ok_and(|there| there.len() == size) {
        return Ok(());
    }
    if is_fixed && !to.exists() && fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let fresh = to.with_extension("copying");
    fs::copy(from, &fresh)?;
    File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, to)
}
