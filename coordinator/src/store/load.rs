//! Reading back what the engine goes on from.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};
use wavegate_engine::{
    LeaseId, LeaseRow, PastLease, PlanId, PlanSnapshot, TaskIx, TaskRow, WaveIx, WaveRow, WorkerId,
    spec::{PlanShape, PlanSpec, TaskShape, TaskSpec, WaveShape, WaveSpec},
};

use super::rows::{
    all, get, json, lease_row, lease_state, maybe_digest, number, plan_row, task_row, wave_row, worker_row,
};
use crate::driver::{ModeRequest, Snapshot, StoreError};

type Result<T> = std::result::Result<T, StoreError>;

/// Every plan that is switched on and not ended, and every worker.
pub(super) fn load(sql: &Connection) -> Result<Snapshot> {
    // An ended plan whose leases are still open is kept until they are not.
    let open = include_str!("plan/select_open.sql");
    let heads = all(sql, open, [], head)?;
    let plans = heads.into_iter().map(|head| plan(sql, head)).collect::<Result<_>>()?;
    let workers = all(sql, "SELECT * FROM wg_workers ORDER BY id", [], worker_row)?;
    Ok(Snapshot { plans, workers })
}

struct Head {
    snapshot: PlanSnapshot,
}

fn head(row: &Row<'_>) -> Result<Head> {
    let id = PlanId(get(row, "id")?);
    let spec: PlanSpec = json(row, "head")?;
    let shape = spec.shape(id, get(row, "name")?, maybe_digest(row, "base")?);
    let (waves, tasks, leases) = (Vec::new(), Vec::new(), Vec::new());
    Ok(Head {
        snapshot: PlanSnapshot { shape, row: plan_row(row)?, waves, tasks, leases, requested_mode: None },
    })
}

fn plan(sql: &Connection, head: Head) -> Result<PlanSnapshot> {
    let mut snapshot = head.snapshot;
    let id = snapshot.shape.id;
    let waves = "SELECT * FROM wg_waves WHERE plan_id = ?1 ORDER BY ix";
    for (shape, row) in all(sql, waves, [id.0], wave)? {
        snapshot.shape.waves.push(shape);
        snapshot.waves.push(row);
    }
    let tasks = "SELECT * FROM wg_tasks WHERE plan_id = ?1 ORDER BY ix";
    for (shape, row) in all(sql, tasks, [id.0], task)? {
        snapshot.shape.tasks.push(shape);
        snapshot.tasks.push(row);
    }
    check_shape(&snapshot.shape)?;
    snapshot.leases = leases(sql, id, &snapshot.tasks)?;
    snapshot.requested_mode = sql
        .prepare_cached("SELECT parallel_mode FROM plans WHERE id = ?1")?
        .query_row([id.0], |row| row.get(0))
        .optional()?
        .flatten();
    Ok(snapshot)
}

fn wave(row: &Row<'_>) -> Result<(WaveShape, WaveRow)> {
    let spec: WaveSpec = json(row, "spec")?;
    let first: u32 = number(row, "first_task")?;
    let count: u32 = number(row, "task_count")?;
    let shape =
        WaveShape { key: spec.key, depends_on: spec.depends_on, tasks: first..first.saturating_add(count) };
    Ok((shape, wave_row(row)?))
}

fn task(row: &Row<'_>) -> Result<(TaskShape, TaskRow)> {
    let spec: TaskSpec = json(row, "spec")?;
    Ok((spec.shape(WaveIx(number(row, "wave_ix")?)), task_row(row)?))
}

/// The engine indexes by these numbers: a file in which they point nowhere is corrupt.
fn check_shape(shape: &PlanShape) -> Result<()> {
    let tasks = shape.tasks.len();
    let waves_fit = shape.waves.iter().all(|wave| {
        wave.tasks.end as usize <= tasks
            && wave.depends_on.iter().all(|before| before.at() < shape.waves.len())
    });
    let tasks_fit = shape.tasks.iter().all(|task| {
        task.wave.at() < shape.waves.len() && task.depends_on.iter().all(|before| before.at() < tasks)
    });
    if waves_fit && tasks_fit {
        return Ok(());
    }
    Err(StoreError::Corrupt(format!("plan {} points to waves or tasks that are not there", shape.id)))
}

/// Open leases, and each task's newest lease if it is lost and the task waits for its late result.
fn leases(sql: &Connection, plan: PlanId, tasks: &[TaskRow]) -> Result<Vec<LeaseRow>> {
    let rows = all(sql, include_str!("lease/select_kept.sql"), named_params! { ":plan": plan.0 }, lease_row)?;
    let mut newest: BTreeMap<TaskIx, u32> = BTreeMap::new();
    for (task, at) in tasks.iter().zip(0..) {
        newest.insert(TaskIx(at), task.attempt);
    }
    let keep = |row: &LeaseRow| match row.work {
        wavegate_engine::LeaseWork::Task { task, attempt } => {
            row.state.is_open() || newest.get(&task) == Some(&attempt)
        }
        wavegate_engine::LeaseWork::Integrate | wavegate_engine::LeaseWork::Validate { .. } => {
            row.state.is_open()
        }
    };
    Ok(rows.into_iter().filter(keep).collect())
}

/// Plans whose column is not what is in force.
pub(super) fn mode_requests(sql: &Connection) -> Result<Vec<ModeRequest>> {
    let statement = include_str!("projection/select_mode_requests.sql");
    all(sql, statement, [], |row| {
        Ok(ModeRequest { plan: PlanId(get(row, "id")?), text: get(row, "parallel_mode")? })
    })
}

pub(super) fn past_lease(sql: &Connection, lease: LeaseId) -> Result<Option<PastLease>> {
    let statement = include_str!("lease/select_past.sql");
    let found = all(sql, statement, [lease.to_string()], |row| {
        Ok(PastLease {
            state: lease_state(row)?,
            worker: WorkerId::from(get::<String>(row, "worker_id")?.as_str()),
            accepted: get(row, "accepted")?,
        })
    })?;
    Ok(found.into_iter().next())
}
