//! Messages of peers into the driver, over the naive store (which holds each change against the invariants) and
//! over SQLite (whose constraints no message may break). Requests of operators come between them.

use std::{fs::File, path::PathBuf, time::Duration};

use tempfile::TempDir;
use wavegate_coordinator::store::{self, SqliteStore, reader::Reader};
use wavegate_engine::{PlanId, Utc};

use crate::{
    peers::{Home, Peers},
    stores::{NaiveStore, Watched},
    target,
};

target!(messages_break_no_invariant, 3_000, over_the_naive_store);
target!(messages_lead_to_nothing_that_the_database_refuses, 150, over_sqlite);

fn over_the_naive_store(bytes: &[u8]) {
    Peers::new(NaiveStore::default()).run(bytes);
}

fn over_sqlite(bytes: &[u8]) {
    Peers::new(Database::new()).run(bytes);
}

impl Home for NaiveStore {
    type Store = Watched<Self>;

    fn open(&mut self) -> Option<Self::Store> {
        Some(Watched(self.clone()))
    }

    fn look(&mut self) {}
}

/// A folder in memory where there is one: nothing here is about disks.
pub(crate) fn folder() -> TempDir {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
}

/// A database file of its own.
pub(crate) struct Database {
    pub(crate) folder: TempDir,
    pub(crate) opened: Option<(Reader, File)>,
}

impl Database {
    pub(crate) fn new() -> Self {
        Self { folder: folder(), opened: None }
    }
}

impl Home for Database {
    type Store = Watched<SqliteStore>;

    fn open(&mut self) -> Option<Self::Store> {
        self.opened = None;
        // Other tests start programs, which hold a copy of every lock until they have begun.
        let patience = Duration::from_secs(20);
        let opened = store::open(&self.folder.path().join("wavegate.db"), patience, Utc(0)).unwrap();
        self.opened = Some((opened.reader, opened.lock));
        Some(Watched(opened.store))
    }

    fn look(&mut self) {
        let (reader, _) = self.opened.as_ref().unwrap();
        for plan in reader.plans().unwrap() {
            read(reader, plan.id).unwrap();
        }
        reader.workers().unwrap();
        reader.events(0, None, 10_000).unwrap();
    }
}

/// All that is shown of a plan.
pub(crate) fn read(reader: &Reader, plan: PlanId) -> Result<(), wavegate_coordinator::driver::StoreError> {
    reader.summary(plan)?;
    reader.plan(plan)?;
    reader.ledger(plan)?;
    reader.events(0, Some(plan), 10_000)?;
    reader.task_leases(plan, None)?;
    let Some(spec) = reader.spec(plan)? else { return Ok(()) };
    for task in spec.waves.iter().flat_map(|wave| &wave.tasks) {
        reader.task_now(plan, &task.key)?;
    }
    Ok(())
}
