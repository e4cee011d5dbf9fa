//! Writing what the engine decided. A change of state repeats the state that must be there now; a row
//! that is not as the engine thinks is a constraint error that names both, and nothing is kept of the
//! transaction.

mod lease;
mod usage;
mod verdict;

use rusqlite::{Connection, OptionalExtension as _, Params, named_params, params};
use wavegate_engine::{
    AccountRow, AccountState, Change, Event, PlanId, PlanRow, PlanState, TaskIx, TaskRow, TaskState, Utc,
    WaveIx, WaveRow, WorkerRow, estimate::KeptEstimates,
};

use super::restored;
use crate::driver::StoreError;

type Result<T> = std::result::Result<T, StoreError>;

pub(super) fn write(sql: &Connection, change: &Change, now: Utc) -> Result<()> {
    match change {
        Change::SwitchOn(plan) => switch_on(sql, *plan, now),
        Change::Plan { id, was, row } => update_plan(sql, *id, was, row, now),
        Change::Estimated { plan, estimates } => keep_estimates(sql, *plan, estimates),
        Change::Wave { plan, wave, was, row } => update_wave(sql, *plan, *wave, was, row),
        Change::Task { plan, task, was, row } => update_task(sql, *plan, *task, was, row),
        Change::LeaseGranted(row) => lease::insert_lease(sql, row),
        Change::Lease { was, row } => lease::update_lease(sql, was, row),
        Change::Result { lease, accepted, report } => {
            lease::insert_result(sql, *lease, *accepted, report, now)
        }
        Change::Counsel { lease, counsel } => lease::insert_counsel(sql, *lease, counsel),
        Change::Used { lease, models } => usage::put_usage(sql, *lease, models, now),
        Change::Verdict(row) => verdict::insert_verdict(sql, row, now),
        Change::Worker(row) => put_worker(sql, row),
        Change::Account(row) => put_account(sql, row),
        Change::WorkerForgotten(id) => {
            sql.prepare_cached("DELETE FROM wg_workers WHERE id = ?1")?.execute([&*id.0])?;
            Ok(())
        }
        Change::ModeColumn { plan, value } => {
            sql.prepare_cached("UPDATE plans SET parallel_mode = ?2 WHERE id = ?1")?
                .execute(params![plan.0, value])?;
            Ok(())
        }
        Change::Restored { evidence } => restored::note(sql, evidence, now.0),
        Change::Event(event) => insert_event(sql, event, now),
    }
}

/// A guarded update changes just one row, or the file is not as the engine thinks: what it holds is
/// looked up with `select` then.
fn expect_one(
    changed: usize,
    sql: &Connection,
    (select, params): (&str, impl Params),
    what: impl Fn() -> String,
    was: &str,
) -> Result<()> {
    if changed == 1 {
        return Ok(());
    }
    let found: Option<String> =
        sql.prepare_cached(select)?.query_row(params, |row| row.get("state")).optional()?;
    let found = found.unwrap_or_else(|| "not there".to_owned());
    Err(StoreError::Constraint(format!("{} is {found} in the database, expected {was}", what())))
}

/// A number that SQLite can keep.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn maybe_int(number: Option<u64>) -> Option<i64> {
    number.map(int)
}

fn text(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn switch_on(sql: &Connection, plan: PlanId, now: Utc) -> Result<()> {
    let changed = sql
        .prepare_cached("UPDATE wg_plans SET switched_on = 1 WHERE id = ?1 AND switched_on = 0")?
        .execute([plan.0])?;
    let state = "SELECT iif(switched_on, 'switched on', 'staged') AS state FROM wg_plans WHERE id = ?1";
    expect_one(changed, sql, (state, [plan.0]), || format!("plan {plan}"), "staged")?;
    sql.prepare_cached(include_str!("../projection/insert_plan.sql"))?
        .execute(named_params! { ":plan": plan.0, ":now": now.0 })?;
    Ok(())
}

fn update_plan(sql: &Connection, id: PlanId, was: &str, row: &PlanRow, now: Utc) -> Result<()> {
    let changed = sql.prepare_cached(include_str!("../plan/update.sql"))?.execute(named_params! {
        ":id": id.0,
        ":was": was,
        ":state": row.state.name(),
        ":reason": row.state.reason(),
        ":mode": row.mode.map(|mode| mode.as_str()),
        ":tier": row.tier.map(|tier| tier.as_str()),
        ":tree": text(row.tree),
        ":spent_in": int(row.spent.tokens_in),
        ":spent_out": int(row.spent.tokens_out),
        ":spent_cached": int(row.spent.tokens_cached),
        ":spent_micro_usd": maybe_int(row.spent.cost_micro_usd),
        ":budget_tokens": maybe_int(row.budget.tokens),
        ":budget_micro_usd": maybe_int(row.budget.micro_usd),
        ":approved_ms": row.approved.map(|time| time.0),
        ":ended_ms": row.ended.map(|time| time.0),
    })?;
    let state = "SELECT state FROM wg_plans WHERE id = ?1";
    expect_one(changed, sql, (state, [id.0]), || format!("plan {id}"), was)?;
    let status = match row.state {
        PlanState::AwaitingApproval => "todo",
        PlanState::Running | PlanState::Paused(_) | PlanState::Blocked(_) => "doing",
        PlanState::Done => "done",
        PlanState::Cancelled => "cancelled",
    };
    sql.prepare_cached(include_str!("../projection/update_plan.sql"))?
        .execute(named_params! { ":plan": id.0, ":status": status, ":now": now.0 })?;
    Ok(())
}

fn keep_estimates(sql: &Connection, plan: PlanId, kept: &KeptEstimates) -> Result<()> {
    sql.prepare_cached(include_str!("../plan/keep_estimates.sql"))?.execute(named_params! {
        ":id": plan.0,
        ":standard_tokens": int(kept.standard_tokens),
        ":standard_micro_usd": maybe_int(kept.standard_micro_usd),
        ":max_tokens": int(kept.max_tokens),
        ":max_micro_usd": maybe_int(kept.max_micro_usd),
        ":coordinator_tokens": int(kept.max_coordinator_tokens),
        ":prices_date": kept.prices_date,
    })?;
    Ok(())
}

fn update_wave(sql: &Connection, plan: PlanId, wave: WaveIx, was: &str, row: &WaveRow) -> Result<()> {
    let changed = sql.prepare_cached(include_str!("../wave/update.sql"))?.execute(named_params! {
        ":plan": plan.0,
        ":ix": wave.0,
        ":was": was,
        ":state": row.state.name(),
        ":reason": row.state.reason(),
        ":round": row.round,
        ":candidate": text(row.candidate),
        ":target": text(row.target),
        ":target_moves": row.target_moves,
        ":integrate_failures": row.integrate_failures,
        ":validate_failures": row.validate_failures,
        ":counsel": row.counsel.map(|purpose| purpose.as_str()),
        ":counsel_failures": row.counsel_failures,
    })?;
    let state = "SELECT state FROM wg_waves WHERE plan_id = ?1 AND ix = ?2";
    let what = || format!("wave number {} of plan {plan}", wave.0);
    expect_one(changed, sql, (state, params![plan.0, wave.0]), what, was)
}

fn update_task(sql: &Connection, plan: PlanId, task: TaskIx, was: &str, row: &TaskRow) -> Result<()> {
    let not_before = match row.state {
        TaskState::Pending { not_before } => not_before.map(|time| time.0),
        TaskState::Leased
        | TaskState::Submitted
        | TaskState::Done
        | TaskState::Blocked(_)
        | TaskState::Skipped
        | TaskState::Cancelled => None,
    };
    let result = row.result.as_ref();
    let changed = sql.prepare_cached(include_str!("../task/update.sql"))?.execute(named_params! {
        ":plan": plan.0,
        ":ix": task.0,
        ":was": was,
        ":state": row.state.name(),
        ":reason": row.state.reason(),
        ":not_before_ms": not_before,
        ":attempt": row.attempt,
        ":failures": row.failures,
        ":losses": row.losses,
        ":rejections": row.rejections,
        ":evidence_only": row.evidence_only,
        ":awaits_counsel": row.awaits_counsel.number(),
        ":spent_in": int(row.spent.tokens_in),
        ":spent_out": int(row.spent.tokens_out),
        ":spent_cached": int(row.spent.tokens_cached),
        ":spent_micro_usd": maybe_int(row.spent.cost_micro_usd),
        ":budget_tokens": maybe_int(row.budget.tokens),
        ":budget_micro_usd": maybe_int(row.budget.micro_usd),
        ":built_on": serde_json::json!(row.built_on.iter().map(|task| task.0).collect::<Vec<_>>()).to_string(),
        ":result_lease": result.map(|result| result.lease.to_string()),
        ":result_attempt": result.map(|result| result.attempt),
        ":result_worker": result.map(|result| result.worker.to_string()),
        ":result_changes": result.and_then(|result| text(result.changes)),
        ":result_base": result.and_then(|result| text(result.base)),
        ":has_own": row.own.is_some(),
        ":own_changes": row.own.and_then(|own| text(own.changes)),
        ":own_base": row.own.and_then(|own| text(own.base)),
    })?;
    let state = "SELECT state FROM wg_tasks WHERE plan_id = ?1 AND ix = ?2";
    let what = || format!("task number {} of plan {plan}", task.0);
    expect_one(changed, sql, (state, params![plan.0, task.0]), what, was)
}

/// Whether the change makes a task done, which other tools are told.
pub(super) fn makes_done(change: &Change) -> Option<PlanId> {
    match change {
        Change::Task { plan, was, row, .. } => {
            (row.state == TaskState::Done && *was != row.state.name()).then_some(*plan)
        }
        Change::SwitchOn(_)
        | Change::Plan { .. }
        | Change::Estimated { .. }
        | Change::Wave { .. }
        | Change::LeaseGranted(_)
        | Change::Lease { .. }
        | Change::Result { .. }
        | Change::Counsel { .. }
        | Change::Used { .. }
        | Change::Verdict(_)
        | Change::Worker(_)
        | Change::Account(_)
        | Change::WorkerForgotten(_)
        | Change::Restored { .. }
        | Change::ModeColumn { .. }
        | Change::Event(_) => None,
    }
}

/// So many more tasks of the plan are done, for other tools.
pub(super) fn count_done(sql: &Connection, plan: PlanId, done: Done) -> Result<()> {
    sql.prepare_cached(include_str!("../projection/count_task.sql"))?
        .execute(named_params! { ":plan": plan.0, ":tasks": int(done.tasks), ":now": done.at.0 })?;
    Ok(())
}

/// Tasks that became done in one transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    pub(super) tasks: u64,
    pub(super) at: Utc,
}

fn put_worker(sql: &Connection, row: &WorkerRow) -> Result<()> {
    let runners: Vec<_> =
        row.runners.iter().map(|it| (&it.name, &it.version, &it.account, &it.models)).collect();
    let roles: Vec<_> = row.roles.iter().map(|role| role.as_str()).collect();
    sql.prepare_cached(include_str!("../worker/put.sql"))?.execute(named_params! {
        ":id": &*row.id.0,
        ":instance": row.instance,
        ":name": row.name,
        ":host": row.host,
        ":version": row.version,
        ":roles": roles.join(" "),
        ":runners": serde_json::json!(runners).to_string(),
        ":labels": serde_json::json!(row.labels).to_string(),
        ":slots": row.slots,
        ":draining": row.draining,
        ":first_seen_ms": row.first_seen.0,
        ":last_seen_ms": row.last_seen.0,
    })?;
    Ok(())
}

fn put_account(sql: &Connection, row: &AccountRow) -> Result<()> {
    let (until, lease) = match row.state {
        AccountState::Waiting { until, .. } => (Some(until.0), None),
        AccountState::Probing { lease, .. } => (None, text(lease)),
        AccountState::Open | AccountState::Refused => (None, None),
    };
    sql.prepare_cached(include_str!("../account/put.sql"))?.execute(named_params! {
        ":runner": row.account.runner,
        ":account": row.account.fingerprint,
        ":state": row.state.name(),
        ":trouble": row.state.trouble().map_or("", |trouble| trouble.as_str()),
        ":until_ms": until,
        ":lease": lease,
        ":tries": row.tries,
        ":note": row.note,
    })?;
    Ok(())
}

fn insert_event(sql: &Connection, event: &Event, now: Utc) -> Result<()> {
    sql.prepare_cached(include_str!("../event/insert.sql"))?.execute(named_params! {
        ":now": now.0,
        ":kind": event.kind.as_str(),
        ":plan": event.plan.map(|plan| plan.0),
        ":wave_ix": event.wave.map(|wave| wave.0),
        ":task_ix": event.task.map(|task| task.0),
        ":lease": event.lease.map(|lease| lease.to_string()),
        ":worker": event.worker.as_ref().map(|worker| &*worker.0),
        ":actor": event.actor,
        ":reason": event.reason,
        ":text": event.text,
    })?;
    Ok(())
}
