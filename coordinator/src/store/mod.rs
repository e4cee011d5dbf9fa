//! The durable state: one SQLite file, and artifacts and logs as files beside it.
//!
//! Owns the schema, opening and its checks (`open`), writing what the engine decided (`write`),
//! staging of big plans (`staging`), reading back (`load`, `work`, `reader`), `artifacts` and `logs`,
//! copies of it all (`backup`) and the knowledge that it is one (`restored`).
//! Decides nothing, reads no clock: the time is a parameter of every write. Our tables (`wg_`) are
//! the truth; `plans` is kept for existing tools, which may write its `parallel_mode` only.

pub mod artifacts;
pub mod backup;
mod durable;
mod error;
mod load;
pub mod logs;
mod open;
pub mod reader;
pub mod restored;
mod rows;
mod staging;
#[cfg(test)]
mod tests;
mod work;
mod write;

use std::collections::BTreeMap;

use rusqlite::Connection;
use wavegate_engine::{Change, LeaseId, LeaseRow, PastLease, PlanId, Utc, WorkBrief, spec::PlanSpec};

pub use open::{Epoch, Files, OpenError, Opened, open};

use crate::driver::{ModeRequest, Snapshot, Store, StoreError, Submission, Work};

/// The writing connection.
#[derive(Debug)]
pub struct SqliteStore {
    sql: Connection,
    /// The data version of the last look whose requests were handled.
    seen: Option<i64>,
    /// The one that the open transaction looks at.
    looking: Option<i64>,
    /// What the open transaction makes done: written once for a wave of thousands.
    done: BTreeMap<PlanId, write::Done>,
}

impl SqliteStore {
    fn new(sql: Connection) -> Self {
        Self { sql, seen: None, looking: None, done: BTreeMap::new() }
    }

    fn data_version(&self) -> Result<i64, StoreError> {
        let mut look = self.sql.prepare_cached("PRAGMA data_version")?;
        Ok(look.query_row([], |row| row.get("data_version"))?)
    }

    /// Marks the file as cleanly left, and lets go of it.
    pub fn close(self) -> Result<(), StoreError> {
        self.roll_back_open();
        self.sql.execute("UPDATE wg_meta SET value = '1' WHERE key = 'clean_stop'", [])?;
        self.sql.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
        self.sql.close().map_err(|(_, error)| error.into())
    }

    fn roll_back_open(&self) {
        if !self.sql.is_autocommit() {
            // After some errors SQLite has rolled back by itself.
            let _ = self.sql.execute_batch("ROLLBACK");
        }
    }
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<Snapshot, StoreError> {
        load::load(&self.sql)
    }

    fn begin(&mut self) -> Result<Vec<ModeRequest>, StoreError> {
        self.done.clear();
        self.sql.execute_batch("BEGIN IMMEDIATE")?;
        let version = self.data_version()?;
        self.looking = Some(version);
        if self.seen == Some(version) {
            return Ok(Vec::new());
        }
        load::mode_requests(&self.sql)
    }

    fn write(&mut self, change: &Change, now: Utc) -> Result<(), StoreError> {
        write::write(&self.sql, change, now)?;
        if let Some(plan) = write::makes_done(change) {
            let done = self.done.entry(plan).or_insert(write::Done { tasks: 0, at: now });
            done.tasks += 1;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), (PlanId, StoreError)> {
        for (plan, done) in std::mem::take(&mut self.done) {
            write::count_done(&self.sql, plan, done).map_err(|error| (plan, error))?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.sql.execute_batch("COMMIT")?;
        self.seen = self.looking.take();
        Ok(())
    }

    fn roll_back(&mut self) {
        self.roll_back_open();
        self.looking = None;
    }

    fn has_foreign_changes(&mut self) -> Result<bool, StoreError> {
        let version = self.data_version()?;
        if self.seen == Some(version) {
            return Ok(false);
        }
        let asked = !load::mode_requests(&self.sql)?.is_empty();
        if !asked {
            self.seen = Some(version);
        }
        Ok(asked)
    }

    fn stage(&mut self, submission: &Submission, now: Utc) -> Result<(PlanId, String), StoreError> {
        let transaction = self.sql.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let staged = staging::stage(&transaction, submission, now)?;
        transaction.commit()?;
        Ok(staged)
    }

    fn stage_tasks(
        &mut self,
        plan: PlanId,
        spec: &PlanSpec,
        from: usize,
        limit: usize,
    ) -> Result<Option<usize>, StoreError> {
        let transaction = self.sql.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let next = staging::stage_tasks(&transaction, plan, spec, from, limit)?;
        transaction.commit()?;
        Ok(next)
    }

    fn past_lease(&mut self, lease: LeaseId) -> Result<Option<Box<PastLease>>, StoreError> {
        load::past_lease(&self.sql, lease)
    }

    fn load_work(&mut self, lease: &LeaseRow, brief: &WorkBrief) -> Result<Work, StoreError> {
        work::load_work(&self.sql, lease, brief)
    }
}
