//! Reading for people and tools, beside the writing connection: lists, one plan in full, events,
//! workers. Owns read-only connections; blocking, so callers keep it off the async threads.

mod detail;
mod model;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, Row, named_params};
use wavegate_engine::{
    LeaseId, PlanId, PlanState, Utc,
    estimate::KeptEstimates,
    spec::{PlanSpec, TaskSpec},
};

pub use super::work::TaskNow;
pub use model::*;

use super::{
    error::unknown,
    restored::{Memory, by_worker},
    rows::{
        all, get, json, lease_row, maybe_number, number, parsed, plan_row, plan_state, usage, worker_row,
    },
    work::load_task,
};
use crate::driver::StoreError;

type Result<T> = std::result::Result<T, StoreError>;

/// A few read-only connections; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    db: Arc<Path>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

/// Connections that are kept open.
const MOST_IDLE: usize = 4;

impl Reader {
    /// A reader of this database.
    #[must_use]
    pub fn new(db: &Path) -> Self {
        Self { db: PathBuf::from(db).into(), idle: Arc::default() }
    }

    /// The plan with this id or name.
    pub fn plan_id(&self, plan: &str) -> Result<Option<PlanId>> {
        self.with(|sql| {
            let statement = include_str!("find_plan.sql");
            let id: Option<i64> = plan.parse().ok();
            let params = named_params! { ":id": id, ":name": plan };
            Ok(all(sql, statement, params, |row| Ok(PlanId(get(row, "id")?)))?.into_iter().next())
        })
    }

    /// A task with all that its agent would be told now; None when the plan has no such task.
    pub fn task_now(&self, plan: PlanId, task: &str) -> Result<Option<TaskNow>> {
        self.with(|sql| load_task(sql, plan, task))
    }

    /// Everything that agents of a plan spent, oldest first.
    pub fn ledger(&self, plan: PlanId) -> Result<Vec<LedgerLine>> {
        self.with(|sql| detail::ledger(sql, plan.0))
    }

    /// Why the database must be an older copy of itself, by what a worker knows of it; None where nothing says so,
    /// or it is known already.
    pub fn restored_by(&self, memory: &Memory) -> Result<Option<String>> {
        self.with(|sql| by_worker(sql, memory))
    }

    /// Every plan, the newest first.
    pub fn plans(&self) -> Result<Vec<PlanSummary>> {
        self.with(|sql| {
            let all_ids = named_params! { ":first": 0, ":last": i64::MAX };
            all(sql, include_str!("list_plans.sql"), all_ids, summary)
        })
    }

    /// One plan's summary.
    pub fn summary(&self, plan: PlanId) -> Result<Option<PlanSummary>> {
        self.with(|sql| read_summary(sql, plan))
    }

    /// One plan's state; None when there is no such plan.
    pub fn plan_state(&self, plan: PlanId) -> Result<Option<PlanState>> {
        self.with(|sql| {
            let statement = "SELECT state, reason FROM wg_plans WHERE id = ?1 AND switched_on = 1";
            Ok(all(sql, statement, [plan.0], plan_state)?.into_iter().next())
        })
    }

    /// One plan in full.
    pub fn plan(&self, plan: PlanId) -> Result<Option<PlanDetail>> {
        self.with(|sql| {
            // One transaction: a plan that changes meanwhile is seen as it was.
            let sql = &sql.unchecked_transaction()?;
            let Some(summary) = read_summary(sql, plan)? else { return Ok(None) };
            detail::detail(sql, summary).map(Some)
        })
    }

    /// The plan as it was read from its file.
    pub fn spec(&self, plan: PlanId) -> Result<Option<PlanSpec>> {
        self.with(|sql| {
            let statement = "SELECT head FROM wg_plan_texts WHERE plan_id = ?1";
            let Some(mut spec) =
                all(sql, statement, [plan.0], |row| json::<PlanSpec>(row, "head"))?.into_iter().next()
            else {
                return Ok(None);
            };
            let waves = "SELECT spec FROM wg_waves WHERE plan_id = ?1 ORDER BY ix";
            spec.waves = all(sql, waves, [plan.0], |row| json(row, "spec"))?;
            let tasks = "SELECT wave_ix, spec FROM wg_tasks WHERE plan_id = ?1 ORDER BY ix";
            let tasks = all(sql, tasks, [plan.0], |row| {
                Ok((number::<usize>(row, "wave_ix")?, json::<TaskSpec>(row, "spec")?))
            })?;
            for (wave, task) in tasks {
                spec.waves.get_mut(wave).ok_or_else(|| unknown("wave_ix", wave))?.tasks.push(task);
            }
            Ok(Some(spec))
        })
    }

    /// Whether the plan has a task of this key.
    pub fn has_task(&self, plan: PlanId, task: &str) -> Result<bool> {
        self.with(|sql| {
            let statement = "SELECT EXISTS (SELECT 1 FROM wg_tasks WHERE plan_id = ?1 AND key = ?2) AS found";
            let found = all(sql, statement, rusqlite::params![plan.0, task], |row| get(row, "found"))?;
            Ok(found.contains(&true))
        })
    }

    /// Events after this number, oldest first, at most `limit`; of one plan or of all.
    pub fn events(&self, after: i64, plan: Option<PlanId>, limit: u32) -> Result<Vec<EventRecord>> {
        self.with(|sql| {
            let Some(plan) = plan else {
                let params = named_params! { ":after": after, ":limit": limit };
                return all(sql, include_str!("list_events.sql"), params, event);
            };
            let params = named_params! { ":after": after, ":plan": plan.0, ":limit": limit };
            all(sql, include_str!("list_plan_events.sql"), params, event)
        })
    }

    /// Every worker with its open leases.
    pub fn workers(&self) -> Result<Vec<WorkerDetail>> {
        self.with(|sql| {
            let sql = &sql.unchecked_transaction()?;
            let leases = all(sql, include_str!("list_open_leases.sql"), [], open_lease)?;
            let workers = all(sql, "SELECT * FROM wg_workers ORDER BY name, id", [], worker_row)?;
            let of = |row: &wavegate_engine::WorkerRow| {
                leases.iter().filter(|lease| lease.lease.worker == row.id).cloned().collect()
            };
            Ok(workers.into_iter().map(|row| WorkerDetail { leases: of(&row), row }).collect())
        })
    }

    /// The worker with this id or name.
    pub fn worker_id(&self, worker: &str) -> Result<Option<String>> {
        self.with(|sql| {
            let find = "SELECT id FROM wg_workers WHERE id = ?1 OR name = ?1 ORDER BY id <> ?1 LIMIT 1";
            Ok(all(sql, find, [worker], |row| get(row, "id"))?.into_iter().next())
        })
    }

    /// The task leases of a plan in the order in which they were granted, with their tasks' keys; of
    /// one task or of all.
    pub fn task_leases(&self, plan: PlanId, task: Option<&str>) -> Result<Vec<TaskLease>> {
        self.with(|sql| {
            let statement = include_str!("list_task_leases.sql");
            all(sql, statement, named_params! { ":plan": plan.0, ":task": task }, |row| {
                Ok(TaskLease { task: get(row, "key")?, lease: lease_row(row)? })
            })
        })
    }

    /// The number of the plan's newest event.
    pub fn last_event(&self, plan: PlanId) -> Result<i64> {
        self.with(|sql| {
            let statement = "SELECT coalesce(max(number), 0) AS number FROM wg_events WHERE plan_id = ?1";
            Ok(all(sql, statement, [plan.0], |row| get(row, "number"))?
                .into_iter()
                .next()
                .unwrap_or_default())
        })
    }

    /// The task leases of a plan that were granted by events after this number, oldest first, at most
    /// `limit`, each with the event's number; of one task or of all.
    pub fn granted_after(
        &self,
        plan: PlanId,
        task: Option<&str>,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, TaskLease)>> {
        self.with(|sql| {
            let statement = include_str!("list_granted.sql");
            let params = named_params! { ":plan": plan.0, ":task": task, ":after": after, ":limit": limit };
            all(sql, statement, params, |row| {
                let lease = TaskLease { task: get(row, "key")?, lease: lease_row(row)? };
                Ok((get(row, "event_number")?, lease))
            })
        })
    }

    /// The task leases of a plan that are open.
    pub fn open_task_leases(&self, plan: PlanId) -> Result<BTreeSet<LeaseId>> {
        self.with(|sql| {
            let statement = "SELECT id FROM wg_leases WHERE plan_id = ?1 AND task_ix IS NOT NULL \
                             AND state IN ('granted', 'running', 'cancelling', 'unreachable')";
            Ok(all(sql, statement, [plan.0], |row| parsed(row, "id"))?.into_iter().collect())
        })
    }

    /// Runs a read on an idle connection; one that failed is not kept.
    fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let sql = match idle {
            Some(sql) => sql,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let sql = Connection::open_with_flags(&self.db, flags)?;
                sql.busy_timeout(Duration::from_secs(5))?;
                sql
            }
        };
        let found = read(&sql)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(sql);
        }
        Ok(found)
    }
}

fn read_summary(sql: &Connection, plan: PlanId) -> Result<Option<PlanSummary>> {
    let statement = include_str!("list_plans.sql");
    let one_id = named_params! { ":first": plan.0, ":last": plan.0 };
    Ok(all(sql, statement, one_id, summary)?.into_iter().next())
}

fn summary(row: &Row<'_>) -> Result<PlanSummary> {
    Ok(PlanSummary {
        id: PlanId(get(row, "id")?),
        name: get(row, "name")?,
        row: plan_row(row)?,
        waves: number(row, "waves")?,
        waves_done: number(row, "waves_done")?,
        tasks: number(row, "tasks")?,
        tasks_done: number(row, "tasks_done")?,
        tasks_running: number(row, "tasks_running")?,
        created: Utc(get(row, "created_ms")?),
        usage: usage(row, "used")?,
        has_unknown_cost: get(row, "has_unknown_cost")?,
        pause_text: get::<Option<String>>(row, "pause_text")?.unwrap_or_default(),
        estimates: kept_estimates(row)?,
    })
}

fn kept_estimates(row: &Row<'_>) -> Result<Option<KeptEstimates>> {
    let Some(standard_tokens) = maybe_number(row, "estimated_standard_tokens")? else { return Ok(None) };
    Ok(Some(KeptEstimates {
        standard_tokens,
        max_tokens: number(row, "estimated_max_tokens")?,
        standard_micro_usd: maybe_number(row, "estimated_standard_micro_usd")?,
        max_micro_usd: maybe_number(row, "estimated_max_micro_usd")?,
        max_coordinator_tokens: number(row, "estimated_coordinator_tokens")?,
        prices_date: get(row, "estimated_prices_date")?,
    }))
}

fn event(row: &Row<'_>) -> Result<EventRecord> {
    let text = |column: &str| Ok::<_, StoreError>(get::<Option<String>>(row, column)?.unwrap_or_default());
    Ok(EventRecord {
        number: get(row, "number")?,
        at: Utc(get(row, "at_ms")?),
        plan: maybe_number::<i64>(row, "plan_id")?.map(PlanId),
        wave: text("wave_key")?,
        task: text("task_key")?,
        lease: text("lease_id")?,
        worker: text("worker_name")?,
        actor: get(row, "actor")?,
        kind: get(row, "kind")?,
        reason: get(row, "reason")?,
        text: get(row, "text")?,
    })
}

fn open_lease(row: &Row<'_>) -> Result<OpenLease> {
    Ok(OpenLease {
        lease: lease_row(row)?,
        plan_name: get(row, "plan_name")?,
        wave: get(row, "wave_key")?,
        task: get::<Option<String>>(row, "task_key")?.unwrap_or_default(),
    })
}
