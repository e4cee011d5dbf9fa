//! Storing a plan in pieces, unseen until one row switches it on. What was never switched on is
//! removed at the next start.

use rusqlite::{Connection, named_params, params};
use wavegate_engine::{
    PlanId, Utc,
    spec::{PlanSpec, WaveSpec},
};

use crate::driver::{StoreError, Submission};

type Result<T> = std::result::Result<T, StoreError>;

/// The head of the plan; gives its id and the name that it can have.
pub(super) fn stage(sql: &Connection, submission: &Submission, now: Utc) -> Result<(PlanId, String)> {
    let name = free_name(sql, &submission.spec.name)?;
    let head = submission.spec.head();
    sql.prepare_cached(include_str!("plan/insert.sql"))?.execute(named_params! {
        ":name": name,
        ":file_name": submission.file_name,
        ":by": submission.by,
        ":base": submission.base.map(|digest| digest.to_string()),
        ":budget_tokens": maybe_int(submission.spec.budget.tokens),
        ":budget_micro_usd": maybe_int(submission.spec.budget.micro_usd),
        ":now": now.0,
    })?;
    let id = sql.last_insert_rowid();
    sql.prepare_cached("INSERT INTO wg_plan_texts (plan_id, head, source) VALUES (?1, ?2, ?3)")?
        .execute(params![id, encode(&head)?, submission.source])?;
    Ok((PlanId(id), name))
}

/// The name itself, or `name (2)`, `name (3)` ...
fn free_name(sql: &Connection, name: &str) -> Result<String> {
    let mut taken = sql.prepare_cached("SELECT 1 FROM wg_plans WHERE name = ?1")?;
    let mut candidate = name.to_owned();
    let mut number = 1_u32;
    while taken.exists([&candidate])? {
        number += 1;
        candidate = format!("{name} ({number})");
    }
    Ok(candidate)
}

/// Tasks from number `from` on, at most `limit`, each wave with its first one; the number to go on
/// from, or None at the end.
pub(super) fn stage_tasks(
    sql: &Connection,
    plan: PlanId,
    spec: &PlanSpec,
    from: usize,
    limit: usize,
) -> Result<Option<usize>> {
    let mut insert = sql.prepare_cached(
        "INSERT INTO wg_tasks (plan_id, ix, wave_ix, key, spec, budget_tokens, budget_micro_usd)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let end = from.saturating_add(limit);
    let mut first = 0;
    for (wave, wave_ix) in spec.waves.iter().zip(0_u32..) {
        let last = first + wave.tasks.len();
        if (from..end).contains(&first) {
            insert_wave(sql, plan, wave_ix, wave, first)?;
        }
        for ix in from.max(first)..end.min(last) {
            let task = &wave.tasks[ix - first];
            let budget = [task.budget.tokens, task.budget.micro_usd].map(maybe_int);
            insert.execute(params![
                plan.0,
                int(ix),
                wave_ix,
                task.key,
                encode(task)?,
                budget[0],
                budget[1]
            ])?;
        }
        first = last;
    }
    Ok((end < first).then_some(end))
}

fn insert_wave(sql: &Connection, plan: PlanId, ix: u32, wave: &WaveSpec, first: usize) -> Result<()> {
    let alone = WaveSpec { tasks: Vec::new(), ..wave.clone() };
    sql.prepare_cached(include_str!("wave/insert.sql"))?.execute(named_params! {
        ":plan": plan.0,
        ":ix": ix,
        ":key": wave.key,
        ":spec": encode(&alone)?,
        ":first_task": int(first),
        ":task_count": int(wave.tasks.len()),
    })?;
    Ok(())
}

/// Removes plans that were never switched on.
pub(super) fn remove_unfinished(sql: &Connection) -> Result<()> {
    let tasks = "DELETE FROM wg_tasks WHERE plan_id IN (SELECT id FROM wg_plans WHERE switched_on = 0)";
    sql.execute(tasks, [])?;
    sql.execute("DELETE FROM wg_plans WHERE switched_on = 0", [])?;
    Ok(())
}

fn encode(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::Constraint(format!("cannot be encoded: {error}")))
}

fn maybe_int(number: Option<u64>) -> Option<i64> {
    number.map(|number| i64::try_from(number).unwrap_or(i64::MAX))
}

fn int(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
