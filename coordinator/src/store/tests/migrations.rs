//! Each schema version, full of data, brought up to date.

use std::path::Path;

use rusqlite::{Connection, types::Value};
use wavegate_engine::{LeaseWork, PlanState, TaskIx, spec::Permissions};

use super::world::{db_in, open_in};
use crate::{driver::Store as _, store::open::MIGRATIONS};

/// Data as it was kept under each version: one file for each migration.
const DATA: [&str; MIGRATIONS.len()] = [
    include_str!("../schema/0001.data.sql"),
    include_str!("../schema/0002.data.sql"),
    include_str!("../schema/0003.data.sql"),
];

/// Tables that every start writes to.
const OF_THE_START: [&str; 2] = ["wg_meta", "wg_epochs"];

/// A database as a program of that version left it.
fn make_old(folder: &Path, version: usize) -> Connection {
    let old = Connection::open(db_in(folder)).unwrap();
    MIGRATIONS[..version].iter().for_each(|migration| old.execute_batch(migration).unwrap());
    old.execute_batch(DATA[version - 1]).unwrap();
    let version = version.to_string();
    old.execute("INSERT INTO wg_meta (key, value) VALUES ('schema_version', ?1)", [version]).unwrap();
    old
}

/// The same after a start of this program.
fn bring_up_to_date(folder: &Path) -> Connection {
    drop(open_in(folder).unwrap());
    Connection::open(db_in(folder)).unwrap()
}

fn texts(sql: &Connection, select: &str) -> Vec<String> {
    let mut statement = sql.prepare(select).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// The select of each table's rows, by the columns that it has now.
fn selects(sql: &Connection) -> Vec<(String, String)> {
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    let select = |table: String| {
        let columns = texts(sql, &format!("SELECT name FROM pragma_table_info('{table}')")).join(", ");
        let select = format!("SELECT {columns} FROM {table} ORDER BY {columns}");
        (table, select)
    };
    texts(sql, tables).into_iter().map(select).collect()
}

fn rows(sql: &Connection, select: &str) -> Vec<Vec<Value>> {
    let mut statement = sql.prepare(select).unwrap();
    let columns = 0..statement.column_count();
    let row = |row: &rusqlite::Row<'_>| columns.clone().map(|at| row.get(at)).collect();
    statement.query_map([], row).unwrap().map(Result::unwrap).collect()
}

/// Everything that a schema is made of.
fn shape(sql: &Connection) -> Vec<String> {
    texts(
        sql,
        "SELECT type || ' ' || name || ': ' || coalesce(sql, '') FROM sqlite_schema ORDER BY type, name",
    )
}

#[test]
fn a_database_of_every_version_is_brought_up_to_date_with_all_that_it_holds() {
    for version in 1..=MIGRATIONS.len() {
        let folder = tempfile::tempdir().unwrap();
        drop(make_old(folder.path(), version));

        let mut opened = open_in(folder.path()).unwrap();
        assert_eq!(opened.epoch.counter, 2);
        assert_eq!(opened.database_id, "0123456789abcdef0123456789abcdef");
        let snapshot = opened.store.load().unwrap();
        let plan = &snapshot.plans[0];
        assert_eq!((plan.shape.name.as_str(), plan.row.state), ("greet", PlanState::Running));
        assert_eq!(plan.tasks[0].result.as_ref().unwrap().attempt, 1);
        assert_eq!(plan.leases[0].work, LeaseWork::Task { task: TaskIx(1), attempt: 1 });
        assert_eq!(snapshot.workers[0].name, "anvil");
        let detail = opened.reader.plan(plan.shape.id).unwrap().unwrap();
        assert_eq!(detail.source, "name: greet\n");
        let wave = &detail.waves[0];
        assert_eq!(wave.tasks[0].attempts[0].result.as_ref().unwrap().summary, "Said hello");
        assert_eq!(wave.verdicts[0].verdict.findings[0].text, "no greeting");
        assert_eq!(wave.verdicts[0].verdict.evidence[0].command, "test -s hello.txt");
        assert_eq!(opened.reader.events(0, None, 10).unwrap()[0].text, "by ada");
    }
}

#[test]
fn every_row_of_every_version_is_kept_as_it_was() {
    for version in 1..=MIGRATIONS.len() {
        let folder = tempfile::tempdir().unwrap();
        let old = make_old(folder.path(), version);
        // What a worker has told of its runners is written anew: see the test below.
        old.execute("UPDATE wg_workers SET runners = '[]'", []).unwrap();
        let before: Vec<_> = selects(&old)
            .into_iter()
            .filter(|(table, _)| !OF_THE_START.contains(&table.as_str()))
            .map(|(_, select)| (rows(&old, &select), select))
            .collect();
        drop(old);

        let new = bring_up_to_date(folder.path());
        assert!(before.iter().filter(|(rows, _)| !rows.is_empty()).count() > 10);
        for (before, select) in before {
            assert_eq!(rows(&new, &select), before, "version {version}: {select}");
        }
    }
}

#[test]
fn a_database_that_was_brought_up_to_date_has_the_shape_of_a_new_one_and_sound_references() {
    let folder = tempfile::tempdir().unwrap();
    let fresh = shape(&bring_up_to_date(folder.path()));
    for version in 1..=MIGRATIONS.len() {
        let folder = tempfile::tempdir().unwrap();
        drop(make_old(folder.path(), version));
        let new = bring_up_to_date(folder.path());
        assert_eq!(shape(&new), fresh, "version {version}");
        assert_eq!(rows(&new, "PRAGMA foreign_key_check"), Vec::<Vec<Value>>::new(), "version {version}");
        assert_eq!(texts(&new, "PRAGMA integrity_check"), ["ok"], "version {version}");
        let known = texts(&new, "SELECT value FROM wg_meta WHERE key = 'schema_version'");
        assert_eq!(known, [MIGRATIONS.len().to_string()]);
    }
}

#[test]
fn leases_in_their_new_table_still_hold_what_points_to_them_and_what_is_written_to_them() {
    let folder = tempfile::tempdir().unwrap();
    drop(make_old(folder.path(), 1));
    let new = bring_up_to_date(folder.path());
    new.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    let result = |lease: &str| {
        format!(
            "INSERT INTO wg_results (lease_id, accepted, outcome, run_ms, used_in, used_out, used_cached,
            changed_files, received_ms, summary, output_tail, output_json)
            VALUES ('{lease}', 1, 'failed', 1, 0, 0, 0, 0, 1, '', '', '')"
        )
    };
    let lease = |id: &str, kind: &str, task: &str, purpose: &str, tier: &str| {
        format!(
            "INSERT INTO wg_leases (id, plan_id, wave_ix, kind, task_ix, attempt, purpose, tier, round, state,
            worker_id, lost_after_ms, granted_ms)
            VALUES ('{id}', 1, 0, '{kind}', {task}, {purpose}, {tier}, 2, 'granted', 'worker-1', 1, 1)"
        )
    };
    for refused in [
        "DELETE FROM wg_leases WHERE id = '00000000000000000000000000000001'".to_owned(),
        result("00000000000000000000000000000009"),
        // Its attempt has a lease; its task has an open one; no purpose; no such tier.
        lease("4", "task", "0, 1", "NULL", "NULL"),
        lease("4", "task", "1, 2", "NULL", "NULL"),
        lease("4", "coordinate", "NULL, NULL", "NULL", "'opus'"),
        lease("4", "coordinate", "NULL, NULL", "'triage'", "'haiku'"),
    ] {
        let error = new.execute(&refused, []).unwrap_err();
        assert_eq!(
            error.sqlite_error_code(),
            Some(rusqlite::ErrorCode::ConstraintViolation),
            "{refused}: {error}"
        );
    }
    for taken in [
        result("00000000000000000000000000000002"),
        lease("4", "coordinate", "NULL, NULL", "'triage'", "'opus'"),
        lease("5", "integrate", "NULL, NULL", "NULL", "NULL"),
    ] {
        assert_eq!(new.execute(&taken, []), Ok(1), "{taken}");
    }
}

#[test]
fn runners_of_version_1_can_be_asked_for_any_model() {
    let folder = tempfile::tempdir().unwrap();
    let old = make_old(folder.path(), 1);
    let runners = r#"[["shell","1",""],["claude","2.0 \"x\"","a b"]]"#;
    old.execute("UPDATE wg_workers SET runners = ?1", [runners]).unwrap();
    drop(old);
    let snapshot = open_in(folder.path()).unwrap().store.load().unwrap();
    let found: Vec<_> = snapshot.workers[0]
        .runners
        .iter()
        .map(|it| (it.name.as_str(), it.version.as_str(), it.account.as_str(), it.models.len()))
        .collect();
    assert_eq!(found, [("shell", "1", "", 0), ("claude", "2.0 \"x\"", "a b", 0)]);
}

#[test]
fn tasks_of_version_1_have_the_permissions_that_they_name_or_else_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let old = make_old(folder.path(), 1);
    let set = "UPDATE wg_tasks SET spec = json_set(spec, '$.permissions', json(?1)) WHERE ix = ?2";
    assert_eq!(old.execute(set, ("null", 0)), Ok(1));
    assert_eq!(old.execute(set, ("\"full\"", 1)), Ok(1));
    drop(old);
    let mut opened = open_in(folder.path()).unwrap();
    let plan = opened.store.load().unwrap().plans[0].shape.id;
    for (key, expected) in [("T1-01", Permissions::Edit), ("T1-02", Permissions::Full)] {
        let task = opened.reader.task_now(plan, key).unwrap().unwrap();
        assert_eq!(task.spec.permissions, expected, "{key}");
    }
}

#[test]
fn a_database_that_cannot_be_brought_up_to_date_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let old = make_old(folder.path(), 1);
    old.execute_batch("PRAGMA foreign_keys = OFF; UPDATE wg_results SET lease_id = 'nobody'").unwrap();
    let before = shape(&old);
    drop(old);
    assert!(open_in(folder.path()).is_err());
    let after = Connection::open(db_in(folder.path())).unwrap();
    assert_eq!(shape(&after), before);
    assert_eq!(texts(&after, "SELECT value FROM wg_meta WHERE key = 'schema_version'"), ["1"]);
    assert_eq!(texts(&after, "SELECT lease_id FROM wg_results"), ["nobody"]);
}

#[test]
fn a_database_that_already_has_a_later_shape_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    make_old(folder.path(), 1).execute_batch("ALTER TABLE wg_waves ADD COLUMN counsel TEXT").unwrap();
    let refusal = open_in(folder.path()).map(|_| ()).unwrap_err().to_string();
    assert!(
        refusal.contains("says schema version 1 but has not its shape (duplicate column name: counsel)"),
        "{refusal}"
    );
    assert!(refusal.ends_with("nothing was changed, name another file with --db"), "{refusal}");
}
