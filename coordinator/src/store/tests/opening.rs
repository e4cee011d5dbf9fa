//! What a start finds, makes and refuses.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
    time::Duration,
};

use rusqlite::Connection;
use wavegate_engine::{Change, PlanState};

use super::{
    full_disk::Mount,
    world::{NOW, World, approve, db_in, greet, open_in},
};
use crate::{
    driver::Store as _,
    store::{OpenError, Opened, open, open::MIGRATIONS},
};

/// The refusal in words, without the place that differs from run to run.
fn refusal(folder: &Path) -> String {
    in_folder(&open_in(folder).unwrap_err(), folder)
}

fn in_folder(error: &OpenError, folder: &Path) -> String {
    chain(error).replace(&folder.canonicalize().unwrap().display().to_string(), "DIR")
}

/// As it is printed: the error and what it comes from.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {}", chain(source)));
    format!("{error}{}", source.unwrap_or_default())
}

fn close(opened: Opened) {
    opened.store.close().unwrap();
}

#[test]
fn the_first_start_makes_folders_and_a_token_that_only_its_owner_reads() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("deep/er/wavegate.db");
    let opened = open(&db, Duration::ZERO, NOW).unwrap();
    assert_eq!(opened.epoch.counter, 1);
    assert_eq!((opened.token.len(), opened.epoch.nonce.len(), opened.database_id.len()), (64, 32, 32));
    let token = opened.files.token();
    assert_eq!(fs::read_to_string(&token).unwrap(), opened.token);
    assert_eq!(fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(opened.files.folder().ends_with("deep/er/wavegate.db.d"));
}

#[test]
fn each_start_has_an_epoch_of_its_own_on_the_same_database() {
    let folder = tempfile::tempdir().unwrap();
    let first = open_in(folder.path()).unwrap();
    let known = (first.epoch.clone(), first.database_id.clone(), first.token.clone());
    close(first);
    let second = open_in(folder.path()).unwrap();
    assert_eq!(second.epoch.counter, 2);
    assert_ne!(second.epoch.nonce, known.0.nonce);
    assert_eq!((second.database_id, second.token), (known.1, known.2));
}

#[test]
fn a_second_coordinator_is_refused_and_told_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let first = open_in(folder.path()).unwrap();
    let refusal = |db: &Path| in_folder(&open(db, Duration::ZERO, NOW).unwrap_err(), folder.path());
    let (db, process) = (db_in(folder.path()), std::process::id());
    assert_eq!(
        refusal(&db),
        format!(
            "DIR/wavegate.db is in use by another coordinator (process {process}); give it your commands, stop it \
             first, or name another file with --db"
        )
    );
    fs::write(first.files.address(), "http://127.0.0.1:7433\n").unwrap();
    assert!(refusal(&db).contains(&format!("(process {process}) at http://127.0.0.1:7433;")));
    // Another way to the same file leads to the same lock.
    let link = folder.path().join("link.db");
    symlink(&db, &link).unwrap();
    assert!(refusal(&link).starts_with("DIR/wavegate.db is in use by another coordinator"));
}

#[test]
fn a_start_waits_for_the_one_that_is_on_its_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let first = open_in(folder.path()).unwrap();
    let db = db_in(folder.path());
    let second = std::thread::spawn(move || open(&db, Duration::from_secs(60), NOW).map(drop));
    drop(first);
    second.join().unwrap().unwrap();
}

#[test]
fn a_file_that_is_refused_keeps_its_log() {
    let world = World::new();
    let newer = "UPDATE wg_meta SET value = '999' WHERE key = 'schema_version'";
    world.stranger().execute(newer, []).unwrap();
    let found = tempfile::tempdir().unwrap();
    let names = ["wavegate.db", "wavegate.db-wal"];
    for name in names {
        fs::copy(world.db().with_file_name(name), found.path().join(name)).unwrap();
    }
    let files = || names.map(|name| fs::read(found.path().join(name)).unwrap_or_default());
    let before = files();
    assert!(!before[1].is_empty());
    let refused = open_in(found.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { .. }), "{refused}");
    assert!(files() == before, "it was refused, and changed");
}

#[test]
fn what_was_committed_survives_a_crash_and_what_was_not_is_gone() {
    let mut world = World::new();
    let plan = world.submit(&greet());
    world.write(&[approve(plan)]);
    world.store().begin().unwrap();
    world.store().write(&Change::ModeColumn { plan, value: Some("max".to_owned()) }, NOW).unwrap();
    // What another process would find after kill -9: the files, and no lock.
    let found = tempfile::tempdir().unwrap();
    for name in ["wavegate.db", "wavegate.db-wal"] {
        fs::copy(world.db().with_file_name(name), found.path().join(name)).unwrap();
    }
    let mut opened = open_in(found.path()).unwrap();
    let plans = opened.store.load().unwrap().plans;
    assert_eq!((plans[0].row.state, &plans[0].requested_mode), (PlanState::Running, &None));

    // A last write that reached the disk in part is as if it had never been.
    let torn = tempfile::tempdir().unwrap();
    fs::copy(world.db(), db_in(torn.path())).unwrap();
    let log = fs::read(world.db().with_file_name("wavegate.db-wal")).unwrap();
    fs::write(torn.path().join("wavegate.db-wal"), &log[..log.len() - 5000]).unwrap();
    let plans = open_in(torn.path()).unwrap().store.load().unwrap().plans;
    assert_eq!(plans.len(), 1);
}

/// Writes nonsense over a page that no start reads by itself; gives the bytes of the file.
fn damage(db: &Path) -> Vec<u8> {
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'wg_evidence'";
    let page: u32 = Connection::open(db).unwrap().query_row(root, [], |row| row.get(0)).unwrap();
    let mut bytes = fs::read(db).unwrap();
    let end = 4096 * page as usize;
    bytes[end - 4096..end].fill(0x5a);
    fs::write(db, &bytes).unwrap();
    bytes
}

#[test]
fn a_damaged_file_is_refused_after_an_unclean_stop_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    drop(open_in(folder.path()).unwrap());
    let db = db_in(folder.path());
    let bytes = damage(&db);
    let refusal = refusal(folder.path());
    assert!(refusal.starts_with("DIR/wavegate.db is damaged: "), "{refusal}");
    assert!(refusal.contains("restore it from a backup"), "{refusal}");
    assert_eq!(fs::read(&db).unwrap(), bytes);
}

#[test]
fn after_a_clean_stop_nobody_waits_for_a_check() {
    let folder = tempfile::tempdir().unwrap();
    close(open_in(folder.path()).unwrap());
    damage(&db_in(folder.path()));
    // Once: this start is not ended cleanly, so the next one looks.
    drop(open_in(folder.path()).unwrap());
    assert!(refusal(folder.path()).contains("is damaged"));
}

#[test]
fn a_newer_schema_and_one_that_is_no_number_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    close(open_in(folder.path()).unwrap());
    let set = |version: &str| {
        let sql = Connection::open(db_in(folder.path())).unwrap();
        sql.execute("UPDATE wg_meta SET value = ?1 WHERE key = 'schema_version'", [version]).unwrap();
    };
    let known = MIGRATIONS.len();
    set("99");
    assert_eq!(
        refusal(folder.path()),
        format!(
            "DIR/wavegate.db has schema version 99, which is newer than this program's {known}; use a newer wavegate"
        )
    );
    set("many");
    assert!(refusal(folder.path()).contains(&format!("expected a number from 1 to {known}")));
    set(&known.to_string());
    open_in(folder.path()).unwrap();
}

#[test]
fn what_is_no_database_is_refused_and_gets_no_folder_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let db = db_in(folder.path());
    for garbage in ["x", "SQLite format 3", "-- a dump\nCREATE TABLE plans (id INTEGER);\n"] {
        fs::write(&db, garbage).unwrap();
        assert_eq!(
            refusal(folder.path()),
            "DIR/wavegate.db is not a SQLite database; name another file with --db, or move this one away"
        );
        assert_eq!(fs::read_to_string(&db).unwrap(), garbage);
    }
    assert!(!folder.path().join("wavegate.db.d").exists());

    let mut header = b"SQLite format 3\0".to_vec();
    header.extend([0x5a; 5000]);
    fs::write(&db, &header).unwrap();
    let refusal = refusal(folder.path());
    assert!(refusal.contains("not a SQLite database") || refusal.contains("is damaged"), "{refusal}");
    assert_eq!(fs::read(&db).unwrap(), header);
}

#[test]
fn an_empty_file_is_as_good_as_none() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(db_in(folder.path()), "").unwrap();
    open_in(folder.path()).unwrap();
}

#[test]
fn places_that_cannot_hold_a_database_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| chain(&open(Path::new(path), Duration::ZERO, NOW).unwrap_err());
    let path = folder.path().display().to_string();
    assert_eq!(at(&path), format!("{path} is a directory; name a database file with --db"));
    assert_eq!(at(""), " is a directory; name a database file with --db");
    assert_eq!(at("/dev/null"), "/dev/null is not a regular file; name a database file with --db");

    fs::write(folder.path().join("file"), "").unwrap();
    let below = at(&format!("{path}/file/wavegate.db"));
    assert!(below.starts_with(&format!("cannot use {path}/file: ")), "{below}");
    assert!(below.contains("the database's folder must exist and be writable, or name another with --db"));

    symlink("nowhere", db_in(folder.path())).unwrap();
    assert!(refusal(folder.path()).contains("No such file"));
}

#[test]
fn a_folder_that_may_not_be_written_is_refused_in_words() {
    let Some(mount) = Mount::tmpfs("1m") else { return };
    close(open_in(mount.folder()).unwrap());
    mount.remount("ro");
    let refusal = refusal(mount.folder());
    assert!(refusal.contains("Read-only file system"), "{refusal}");
    assert!(refusal.contains("must exist and be writable"), "{refusal}");
}

#[test]
fn a_file_that_may_not_be_written_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    close(open_in(folder.path()).unwrap());
    let Some(_mount) = Mount::read_only(&db_in(folder.path())) else { return };
    assert_eq!(
        refusal(folder.path()),
        "DIR/wavegate.db is read-only; make it and its folder writable, or name another file with --db"
    );
}

#[test]
fn somebody_elses_database_is_copied_before_anything_is_added() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = Connection::open(db_in(folder.path())).unwrap();
    theirs
        .execute_batch("CREATE TABLE theirs (a); INSERT INTO theirs VALUES (42); PRAGMA user_version = 7")
        .unwrap();
    drop(theirs);
    close(open_in(folder.path()).unwrap());

    let tables = |name: &str| -> (i64, i64, i64) {
        let sql = Connection::open(folder.path().join(name)).unwrap();
        let one = |statement: &str| sql.query_row(statement, [], |row| row.get(0)).unwrap();
        (
            one("SELECT a FROM theirs"),
            one("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'wg\\_%' ESCAPE '\\' AND type = 'table'"),
            one("PRAGMA user_version"),
        )
    };
    assert_eq!(tables("wavegate.db.before-wavegate"), (42, 0, 7));
    let (a, ours, version) = tables("wavegate.db");
    assert!((a, version) == (42, 7) && ours > 10);
}

#[test]
fn a_table_of_plans_that_is_not_ours_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = Connection::open(db_in(folder.path())).unwrap();
    theirs.execute_batch("CREATE TABLE plans (id INTEGER PRIMARY KEY, name TEXT)").unwrap();
    drop(theirs);
    let before = fs::read(db_in(folder.path())).unwrap();
    assert!(refusal(folder.path()).contains("already has a table `plans` of another program"));
    assert_eq!(fs::read(db_in(folder.path())).unwrap(), before);
}

#[test]
fn the_lock_dies_with_its_process_and_children_do_not_inherit_it() {
    let folder = tempfile::tempdir().unwrap();
    let first = open_in(folder.path()).unwrap();
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    drop(first);
    let second = open_in(folder.path());
    child.kill().unwrap();
    child.wait().unwrap();
    second.unwrap();
}
