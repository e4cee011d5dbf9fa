//! Whether a database is an older copy of itself: what was done and paid for after the copy was made is not in it.
//!
//! Owns the proofs: the mark that `wavegate backup` leaves in a copy, that the folder beside a database is not its
//! own, the file there that names its last start, and what workers remember. Each lost start counts once, and a copy
//! may have lost several; what follows from it is the engine's.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use rusqlite::{Connection, OptionalExtension as _};

use crate::driver::StoreError;

type Result<T> = std::result::Result<T, StoreError>;

/// The key in `wg_meta` of a copy that a backup made: when, in milliseconds since 1970 UTC.
pub(super) const BACKUP_MADE: &str = "backup_made_ms";

/// The key in `wg_meta` of a database that was found without the folder that was beside it: the instance that it has
/// now.
pub(super) const CAME_HERE: &str = "came_here";

/// What proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// By which it counts once.
    pub name: String,
    /// For people.
    pub why: String,
}

/// The newest that a worker knows of this database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    pub epoch_nonce: String,
    /// Empty for none; as is the next.
    pub last_granted: String,
    pub last_accepted: String,
}

/// What the file itself and the name of its last start beside it prove.
pub(super) fn at_open(sql: &Connection, last_epoch: &Path) -> Result<Option<Evidence>> {
    let mark = |key: &str| {
        let mark = "SELECT value FROM wg_meta WHERE key = ?1";
        sql.query_row(mark, [key], |row| row.get::<_, String>("value")).optional()
    };
    if let Some(made) = mark(BACKUP_MADE)? {
        let why = "this database is a backup: what happened after it was made is not in it".to_owned();
        return Ok(Some(Evidence { name: format!("backup {made}"), why }));
    }
    if let Some(instance) = mark(CAME_HERE)? {
        let why =
            "this database is a copy, or came here without the folder beside it: what happened elsewhere is \
                   not in it, and its original must not run beside it"
                .to_owned();
        return Ok(Some(Evidence { name: format!("instance {instance}"), why }));
    }
    // Where it cannot be read, the workers' memory is left.
    let nonce = fs::read_to_string(last_epoch).unwrap_or_default().trim().to_owned();
    if nonce.is_empty() || has_epoch(sql, &nonce)? || is_known(sql, &nonce)? {
        return Ok(None);
    }
    Ok(Some(Evidence { name: nonce, why: OLDER.to_owned() }))
}

const OLDER: &str = "the database is an older copy: a start of the coordinator that was on it is not in it";

/// What a worker's memory proves.
pub(super) fn by_worker(sql: &Connection, memory: &Memory) -> Result<Option<String>> {
    let nonce = &memory.epoch_nonce;
    if nonce.is_empty() || is_known(sql, nonce)? {
        return Ok(None);
    }
    if !has_epoch(sql, nonce)? {
        return Ok(Some(OLDER.to_owned()));
    }
    if !memory.last_granted.is_empty() && lease_state(sql, &memory.last_granted)?.is_none() {
        let lease = &memory.last_granted;
        return Ok(Some(format!(
            "the database is an older copy: lease {lease}, which it granted, is not in it"
        )));
    }
    let lease = &memory.last_accepted;
    let over = ["finished", "released", "lost"];
    if !lease.is_empty() && !lease_state(sql, lease)?.is_some_and(|state| over.contains(&&*state)) {
        return Ok(Some(format!(
            "the database is an older copy: the result of lease {lease}, which it accepted, is not in it"
        )));
    }
    Ok(None)
}

/// Notes that it is known, and that the file is a copy no longer.
pub(super) fn note(sql: &Connection, evidence: &str, now_ms: i64) -> Result<()> {
    let put = "INSERT INTO wg_meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING";
    sql.execute(put, (key(evidence), now_ms.to_string()))?;
    sql.execute("DELETE FROM wg_meta WHERE key IN (?1, ?2)", [BACKUP_MADE, CAME_HERE])?;
    Ok(())
}

/// Names this start beside the database: on disk before anything is granted.
pub(in crate::store) fn name_start(last_epoch: &Path, nonce: &str) -> io::Result<()> {
    let fresh = last_epoch.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(nonce.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, last_epoch)?;
    last_epoch.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn has_epoch(sql: &Connection, nonce: &str) -> Result<bool> {
    Ok(sql.prepare_cached("SELECT 1 FROM wg_epochs WHERE nonce = ?1")?.exists([nonce])?)
}

fn is_known(sql: &Connection, evidence: &str) -> Result<bool> {
    Ok(sql.prepare_cached("SELECT 1 FROM wg_meta WHERE key = ?1")?.exists([key(evidence)])?)
}

fn key(evidence: &str) -> String {
    format!("restored:{evidence}")
}

fn lease_state(sql: &Connection, lease: &str) -> Result<Option<String>> {
    let state = "SELECT state FROM wg_leases WHERE id = ?1";
    Ok(sql.prepare_cached(state)?.query_row([lease], |row| row.get("state")).optional()?)
}
