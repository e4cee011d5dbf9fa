//! A database file that was damaged, in its bytes or in its meaning: opening it and working with it ends in words
//! or in success, and a file that is refused is left as it is.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use rusqlite::{Connection, config::DbConfig, types::Value};
use tempfile::TempDir;
use wavegate_coordinator::store::{self, OpenError, SqliteStore, reader::Reader};
use wavegate_engine::{LeaseRow, Mode, PlanId, Utc};

use crate::{
    draw::Draw,
    messages::{Database, folder, read},
    peers::{Home, Peers},
    target,
};

target!(a_damaged_database_is_refused_or_worked_with, 200, damaged);

fn damaged(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let template = template();
    let files = draw.pick(&[&template.clean, &template.crashed, &template.lax]);
    let home = Damaged { folder: folder(), opened: None };
    files.write(home.folder.path());
    match draw.below(3) {
        0 => damage_bytes(&mut draw, home.folder.path()),
        _ => damage_meaning(&mut draw, home.folder.path(), &template.columns),
    }
    home.check_refusal();
    let mut peers = Peers::new(home);
    (peers.leases, peers.plans) = (template.leases.clone(), 4);
    peers.greet(&mut Draw::new(&[]), 0);
    peers.go_on(&mut Draw::new(draw.bytes(48)));
}

/// A database whose content nobody vouches for.
struct Damaged {
    folder: TempDir,
    opened: Option<(Reader, fs::File)>,
}

impl Damaged {
    fn try_open(&self) -> Result<store::Opened, OpenError> {
        store::open(&db(self.folder.path()), Duration::from_secs(20), Utc(0))
    }

    /// What is refused is refused in words, again and again, and stays as it is.
    fn check_refusal(&self) {
        let before = Files::read(self.folder.path());
        let Err(first) = self.try_open() else { return };
        assert_eq!(Files::read(self.folder.path()), before, "refused ({first}) and changed");
        let again = self.try_open().map(drop).unwrap_err();
        assert_eq!(again.to_string(), first.to_string(), "refused twice for different reasons");
    }
}

impl Home for Damaged {
    type Store = SqliteStore;

    fn open(&mut self) -> Option<SqliteStore> {
        self.opened = None;
        let opened = self.try_open().ok()?;
        self.opened = Some((opened.reader, opened.lock));
        Some(opened.store)
    }

    fn look(&mut self) {
        let Some((reader, _)) = &self.opened else { return };
        // Errors are words; what matters is that there is an end to it.
        let _ = (reader.plans(), reader.workers(), reader.events(0, None, 10_000));
        for plan in 1..=4 {
            let _ = read(reader, PlanId(plan));
        }
    }
}

fn db(folder: &Path) -> PathBuf {
    folder.join("wavegate.db")
}

/// The files of a database.
#[derive(Debug, PartialEq, Eq)]
struct Files {
    db: Vec<u8>,
    log: Vec<u8>,
}

impl Files {
    fn read(folder: &Path) -> Self {
        let log = fs::read(folder.join("wavegate.db-wal")).unwrap_or_default();
        Self { db: fs::read(db(folder)).unwrap_or_default(), log }
    }

    fn write(&self, folder: &Path) {
        fs::write(db(folder), &self.db).unwrap();
        if !self.log.is_empty() {
            fs::write(folder.join("wavegate.db-wal"), &self.log).unwrap();
        }
    }
}

/// A database with a story, made once.
struct Template {
    clean: Files,
    /// Its process was killed: the log is not empty.
    crashed: Files,
    /// Without types and constraints, so that anything can stand in it.
    lax: Files,
    /// Tables and their columns.
    columns: Vec<(String, String)>,
    leases: Vec<LeaseRow>,
}

fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(make_template)
}

fn make_template() -> Template {
    let mut peers = Peers::new(Database::new());
    for plan in 0..4 {
        peers.begin(plan, if plan % 2 == 0 { Mode::Standard } else { Mode::Max });
        for back in 0..12 {
            // A right result of one of the newest leases; a rejection now and then.
            let verdict = if back == 7 { 200 } else { 0 };
            peers.step(&mut Draw::new(&[0, 0, back % 5, verdict]));
        }
    }
    let leases = peers.leases.clone();
    let crashed = Files::read(peers.home().folder.path());
    assert!(!crashed.log.is_empty(), "the log is there while the process is");
    let mut home = peers.end();
    home.opened = None;
    let sql = Connection::open(db(home.folder.path())).unwrap();
    sql.execute("UPDATE wg_meta SET value = '1' WHERE key = 'clean_stop'", []).unwrap();
    let columns = columns(&sql);
    drop(sql);
    let clean = Files::read(home.folder.path());
    let sql = Connection::open(db(home.folder.path())).unwrap();
    loosen(&sql);
    drop(sql);
    let lax = Files::read(home.folder.path());
    home.open().expect("what is loosened is a database still");
    Template { clean, crashed, lax, columns, leases }
}

/// Takes types and NOT NULL away.
fn loosen(sql: &Connection) {
    sql.execute_batch(
        "PRAGMA writable_schema = ON;
        UPDATE sqlite_schema SET sql = replace(sql, 'IS NOT NULL', 'IS_NOT_NULL');
        UPDATE sqlite_schema SET sql = replace(replace(replace(sql, ' NOT NULL', ''), 'STRICT, ', ''), ') STRICT', ')')
        WHERE type = 'table';
        UPDATE sqlite_schema SET sql = replace(sql, 'IS_NOT_NULL', 'IS NOT NULL')",
    )
    .unwrap();
}

fn columns(sql: &Connection) -> Vec<(String, String)> {
    let list = "SELECT t.name AS t, c.name AS c FROM sqlite_schema AS t, pragma_table_info(t.name) AS c
        WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' ORDER BY t.name, c.cid";
    let mut list = sql.prepare(list).unwrap();
    let rows = list.query_map([], |row| Ok((row.get("t")?, row.get("c")?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// Some bytes of one of the files, wherever they are.
fn damage_bytes(draw: &mut Draw<'_>, folder: &Path) {
    let mut files = Files::read(folder);
    let is_log = draw.one_in(3) && !files.log.is_empty();
    let bytes = if is_log { &mut files.log } else { &mut files.db };
    for _ in 0..=draw.below(3) {
        let at = match draw.below(4) {
            // The head of the file, the head of a page, anywhere.
            0 => draw.below(100),
            1 => draw.below(256) * 4096 + draw.below(16),
            _ => draw.below(1 << 24),
        } % bytes.len().max(1);
        match draw.below(5) {
            0 => bytes.truncate(at),
            1 => {
                let end = (at / 4096 + 1) * 4096;
                let end = end.min(bytes.len());
                let filling = draw.byte();
                bytes[at / 4096 * 4096..end].fill(filling);
            }
            2 if at < bytes.len() => bytes[at] ^= 1 << draw.below(8),
            _ => {
                let many = draw.below(12);
                let noise = draw.bytes(many);
                let end = (at + noise.len()).min(bytes.len());
                bytes[at.min(end)..end].copy_from_slice(&noise[..end - at.min(end)]);
            }
        }
    }
    files.write(folder);
}

/// Rows that SQLite takes and that mean nothing.
fn damage_meaning(draw: &mut Draw<'_>, folder: &Path, columns: &[(String, String)]) {
    let Ok(sql) = Connection::open(db(folder)) else { return };
    // Half of the time it stays in the log.
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, draw.one_in(2)).unwrap();
    // What SQLite refuses here is not damaged.
    let _ = sql.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF");
    for _ in 0..=draw.below(3) {
        let (any_table, any_column) = &columns[draw.below(columns.len())];
        let (table, column) =
            if draw.one_in(2) { draw.pick(&PLACES) } else { (any_table.as_str(), any_column.as_str()) };
        let all = draw.one_in(2);
        let which = if all {
            String::new()
        } else {
            format!("WHERE {column} IS (SELECT max({column}) FROM {table})")
        };
        let _ = match draw.below(16) {
            0 => sql.execute(&format!("DELETE FROM {table} {which}"), []),
            1 => sql.execute(&format!("ALTER TABLE {table} DROP COLUMN {column}"), []),
            2 => sql.execute(&format!("DROP TABLE {table}"), []),
            3 => {
                let key = draw.pick(&["schema_version", "database_id", "instance", "clean_stop"]);
                let value = value(draw, Value::Null);
                sql.execute("UPDATE wg_meta SET value = ?2 WHERE key = ?1", (key, value))
            }
            _ => {
                let found = format!("SELECT max({column}) FROM {table}");
                let found = sql.query_row(&found, [], |row| row.get(0)).unwrap_or(Value::Null);
                let value = value(draw, found);
                sql.execute(&format!("UPDATE {table} SET {column} = ?1 {which}"), [value])
            }
        };
    }
}

/// Another value, or what is left of the one that was there.
fn value(draw: &mut Draw<'_>, was: Value) -> Value {
    match (draw.below(8), was) {
        (0, _) => Value::Null,
        (1, Value::Integer(was)) => Value::Integer(was.wrapping_add(draw.pick(&[1, -1, 1_000]))),
        (1..=3, Value::Text(was)) => {
            let mut bytes = was.into_bytes();
            let at = draw.below(bytes.len() + 1);
            let end = (at + draw.below(8)).min(bytes.len());
            let put = draw.pick(&["", "9", "-", "99999999999", "null", "{", "\"", "task", "lost"]);
            bytes.splice(at..end, put.bytes());
            Value::Text(String::from_utf8_lossy(&bytes).into_owned())
        }
        (4, _) => Value::Text(draw.pick(&WORDS).to_owned()),
        (5, _) => Value::Blob(draw.bytes(9).to_vec()),
        (6, _) => Value::Real(f64::from_bits(draw.number())),
        (7, _) => Value::Text(draw.text()),
        _ => Value::Integer(if draw.one_in(3) {
            draw.number().cast_signed().wrapping_neg()
        } else {
            draw.number().cast_signed()
        }),
    }
}

/// Columns that point to other rows.
const PLACES: [(&str, &str); 8] = [
    ("wg_tasks", "built_on"),
    ("wg_tasks", "wave_ix"),
    ("wg_tasks", "spec"),
    ("wg_waves", "spec"),
    ("wg_waves", "task_count"),
    ("wg_waves", "first_task"),
    ("wg_leases", "wave_ix"),
    ("wg_leases", "task_ix"),
];

/// Words of our columns, each right somewhere.
const WORDS: [&str; 20] = [
    "running",
    "waiting",
    "pending",
    "leased",
    "submitted",
    "done",
    "granted",
    "lost",
    "unreachable",
    "cancelling",
    "task",
    "integrate",
    "validate",
    "publish",
    "coordinate",
    "max",
    "standard",
    "opus",
    "[]",
    "[4294967295]",
];
