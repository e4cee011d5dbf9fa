//! The text of a grant: what a task asks for, read when it is needed and kept nowhere else.

use rusqlite::{Connection, named_params};
use wavegate_engine::{
    Digest, Finding, LeaseRow, LeaseWork, PlanId, TaskIx, WaveIx, WorkBrief,
    spec::{PlanSpec, TaskSpec, WaveSpec},
};

use super::{
    error::unknown,
    rows::{all, get, json},
};
use crate::driver::{ResultToIntegrate, StoreError, TaskToCheck, Work, WorkBody};

type Result<T> = std::result::Result<T, StoreError>;

pub(super) fn load_work(sql: &Connection, lease: &LeaseRow, brief: &WorkBrief) -> Result<Work> {
    let (plan_name, head) = plan(sql, lease.plan)?;
    let wave = wave(sql, lease.plan, lease.wave)?;
    let body = match (brief, lease.work) {
        (WorkBrief::Task { base, layers }, LeaseWork::Task { task, .. }) => {
            let spec = Box::new(task_spec(sql, lease.plan, task)?);
            let findings = findings(sql, lease.plan, lease.wave, &spec.key)?;
            WorkBody::Task { spec, base: *base, layers: layers.clone(), findings }
        }
        (WorkBrief::Integrate { base, results }, LeaseWork::Integrate) => {
            let results =
                results.iter().map(|result| to_integrate(sql, lease.plan, result)).collect::<Result<_>>()?;
            WorkBody::Integrate { base: *base, results }
        }
        (WorkBrief::Validate { candidate, tasks }, LeaseWork::Validate { .. }) => WorkBody::Validate {
            candidate: *candidate,
            tasks: tasks
                .iter()
                .map(|(task, changes)| to_check(sql, lease.plan, *task, *changes))
                .collect::<Result<_>>()?,
            verify: wave.verify,
        },
        (WorkBrief::Task { .. } | WorkBrief::Integrate { .. } | WorkBrief::Validate { .. }, _) => {
            return Err(unknown("a grant whose lease is of another kind", lease.id));
        }
    };
    Ok(Work {
        plan: lease.plan,
        plan_name,
        wave: wave.key,
        vars: head.vars,
        workspace: head.project.workspace,
        body,
    })
}

fn plan(sql: &Connection, plan: PlanId) -> Result<(String, PlanSpec)> {
    let statement =
        "SELECT p.name, x.head FROM wg_plans AS p INNER JOIN wg_plan_texts AS x ON x.plan_id = p.id
        WHERE p.id = ?1";
    one(all(sql, statement, [plan.0], |row| Ok((get(row, "name")?, json(row, "head")?)))?, "plan")
}

fn wave(sql: &Connection, plan: PlanId, wave: WaveIx) -> Result<WaveSpec> {
    let statement = "SELECT spec FROM wg_waves WHERE plan_id = ?1 AND ix = ?2";
    one(all(sql, statement, [plan.0, i64::from(wave.0)], |row| json(row, "spec"))?, "wave")
}

fn task_spec(sql: &Connection, plan: PlanId, task: TaskIx) -> Result<TaskSpec> {
    let statement = "SELECT spec FROM wg_tasks WHERE plan_id = ?1 AND ix = ?2";
    one(all(sql, statement, [plan.0, i64::from(task.0)], |row| json(row, "spec"))?, "task")
}

fn to_integrate(
    sql: &Connection,
    plan: PlanId,
    result: &wavegate_engine::IntegrateResult,
) -> Result<ResultToIntegrate> {
    let key = |task: &TaskIx| Ok(task_spec(sql, plan, *task)?.key);
    Ok(ResultToIntegrate {
        key: key(&result.task)?,
        changes: result.changes,
        base: result.base,
        built_on: result.built_on.iter().map(key).collect::<Result<_>>()?,
    })
}

fn to_check(sql: &Connection, plan: PlanId, task: TaskIx, changes: Option<Digest>) -> Result<TaskToCheck> {
    let claim = include_str!("result/select_claim.sql");
    let claims = all(sql, claim, [plan.0, i64::from(task.0)], |row| get(row, "summary"))?;
    let claim = claims.into_iter().next().unwrap_or_default();
    Ok(TaskToCheck { spec: task_spec(sql, plan, task)?, claim, changes })
}

/// What the newest round that sent the task, or its whole wave, back found wrong with it.
fn findings(sql: &Connection, plan: PlanId, wave: WaveIx, key: &str) -> Result<Vec<Finding>> {
    let statement = include_str!("verdict/select_findings_for_task.sql");
    let params = named_params! { ":plan": plan.0, ":wave_ix": wave.0, ":key": key };
    all(sql, statement, params, |row| Ok(Finding { task: get(row, "task_key")?, text: get(row, "text")? }))
}

fn one<T>(found: Vec<T>, what: &str) -> Result<T> {
    found.into_iter().next().ok_or_else(|| StoreError::Corrupt(format!("a {what} of a lease is not there")))
}
