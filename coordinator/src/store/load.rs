//! Reading back what the engine goes on from.

use rusqlite::{Connection, Row, named_params};
use wavegate_engine::{
    LeaseId, LeaseRow, LeaseWork, PastLease, PlanId, PlanSnapshot, TaskIx, TaskRow, WaveIx, WaveRow,
    spec::{PlanSpec, TaskShape, TaskSpec, WaveShape, WaveSpec},
};

use super::rows::{
    account_row, all, foreign_text, get, json, lease_row, maybe_digest, number, plan_row, task_row, wave_row,
    worker_row,
};
use crate::driver::{ModeRequest, Snapshot, StoreError};

type Result<T> = std::result::Result<T, StoreError>;

/// Every plan that is switched on and not ended, and every worker.
pub(super) fn load(sql: &Connection) -> Result<Snapshot> {
    // An ended plan whose leases are still open is kept until they are not.
    let open = include_str!("plan/select_open.sql");
    let heads = all(sql, open, [], head)?;
    let plans = heads.into_iter().map(|snapshot| plan(sql, snapshot)).collect::<Result<_>>()?;
    let workers = all(sql, "SELECT * FROM wg_workers ORDER BY id", [], worker_row)?;
    let accounts = all(sql, "SELECT * FROM wg_accounts ORDER BY runner, account", [], account_row)?;
    Ok(Snapshot { plans, workers, accounts })
}

fn head(row: &Row<'_>) -> Result<PlanSnapshot> {
    let id = PlanId(get(row, "id")?);
    let spec: PlanSpec = json(row, "head")?;
    Ok(PlanSnapshot {
        shape: spec.shape(id, get(row, "name")?, maybe_digest(row, "base")?),
        row: plan_row(row)?,
        waves: Vec::new(),
        tasks: Vec::new(),
        leases: Vec::new(),
        requested_mode: foreign_text(row, "parallel_mode")?,
    })
}

fn plan(sql: &Connection, mut snapshot: PlanSnapshot) -> Result<PlanSnapshot> {
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
    snapshot.leases = leases(sql, id, &snapshot.tasks)?;
    check_places(&snapshot)?;
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
fn check_places(plan: &PlanSnapshot) -> Result<()> {
    let (waves, tasks) = (plan.shape.waves.len(), plan.shape.tasks.len());
    let is_wave = |wave: WaveIx| wave.at() < waves;
    let is_task = |task: TaskIx| task.at() < tasks;
    let waves_fit = plan.shape.waves.iter().all(|wave| {
        wave.tasks.end as usize <= tasks && wave.depends_on.iter().all(|before| is_wave(*before))
    });
    let tasks_fit = plan
        .shape
        .tasks
        .iter()
        .all(|task| is_wave(task.wave) && task.depends_on.iter().all(|before| is_task(*before)))
        && plan.tasks.iter().all(|task| task.built_on.iter().all(|before| is_task(*before)));
    let leases_fit = plan.leases.iter().all(|lease| {
        let task_fits = match lease.work {
            LeaseWork::Task { task, .. } => is_task(task),
            LeaseWork::Integrate
            | LeaseWork::Validate { .. }
            | LeaseWork::Coordinate { .. }
            | LeaseWork::Publish { .. } => true,
        };
        is_wave(lease.wave) && task_fits
    });
    if waves_fit && tasks_fit && leases_fit {
        return Ok(());
    }
    Err(StoreError::Corrupt(format!("plan {} points to waves or tasks that are not there", plan.shape.id)))
}

/// Open leases, and each task's newest lease if it is lost: a late result of it still counts.
fn leases(sql: &Connection, plan: PlanId, tasks: &[TaskRow]) -> Result<Vec<LeaseRow>> {
    let rows = all(sql, include_str!("lease/select_kept.sql"), named_params! { ":plan": plan.0 }, lease_row)?;
    let keep = |row: &LeaseRow| match row.work {
        LeaseWork::Task { task, attempt } => {
            row.state.is_open() || tasks.get(task.at()).is_some_and(|task| task.attempt == attempt)
        }
        LeaseWork::Integrate
        | LeaseWork::Validate { .. }
        | LeaseWork::Coordinate { .. }
        | LeaseWork::Publish { .. } => row.state.is_open(),
    };
    Ok(rows.into_iter().filter(keep).collect())
}

/// Plans whose column is not what is in force.
pub(super) fn mode_requests(sql: &Connection) -> Result<Vec<ModeRequest>> {
    let statement = include_str!("projection/select_mode_requests.sql");
    all(sql, statement, [], |row| {
        Ok(ModeRequest { plan: PlanId(get(row, "id")?), text: foreign_text(row, "parallel_mode")? })
    })
}

pub(super) fn past_lease(sql: &Connection, lease: LeaseId) -> Result<Option<Box<PastLease>>> {
    let statement = include_str!("lease/select_past.sql");
    let found = all(sql, statement, [lease.to_string()], |row| {
        Ok(Box::new(PastLease { row: lease_row(row)?, accepted: get(row, "accepted")? }))
    })?;
    Ok(found.into_iter().next())
}
