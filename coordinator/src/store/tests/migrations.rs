//! Each schema version, full of data, brought up to date.

use rusqlite::Connection;
use wavegate_engine::{LeaseWork, PlanState, TaskIx};

use super::world::{db_in, open_in};
use crate::{driver::Store as _, store::open::MIGRATIONS};

/// Data as it was kept under each version: one file for each migration.
const DATA: [&str; MIGRATIONS.len()] = [include_str!("../schema/0001.data.sql")];

#[test]
fn a_database_of_every_version_is_brought_up_to_date_with_all_that_it_holds() {
    for (at, data) in DATA.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let old = Connection::open(db_in(folder.path())).unwrap();
        MIGRATIONS[..=at].iter().for_each(|migration| old.execute_batch(migration).unwrap());
        old.execute_batch(data).unwrap();
        old.execute("INSERT INTO wg_meta (key, value) VALUES ('schema_version', ?1)", [(at + 1).to_string()])
            .unwrap();
        drop(old);

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
