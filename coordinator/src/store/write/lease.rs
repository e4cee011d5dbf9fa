//! Leases and their results.

use rusqlite::{Connection, named_params, params};
use wavegate_engine::{Counsel, LeaseId, LeaseRow, LeaseWork, Published, Report, Utc};

use super::{Result, expect_one, int, maybe_int, text, usage};
use crate::driver::StoreError;

pub(super) fn insert_lease(sql: &Connection, row: &LeaseRow) -> Result<()> {
    let (task, attempt) = match row.work {
        LeaseWork::Task { task, attempt } => (Some(task.0), Some(attempt)),
        LeaseWork::Integrate
        | LeaseWork::Validate { .. }
        | LeaseWork::Coordinate { .. }
        | LeaseWork::Publish { .. } => (None, None),
    };
    let (candidate, purpose, tier) = match row.work {
        LeaseWork::Validate { candidate } | LeaseWork::Publish { candidate } => {
            (Some(candidate.to_string()), None, None)
        }
        LeaseWork::Coordinate { purpose, tier } => (None, Some(purpose.as_str()), Some(tier.as_str())),
        LeaseWork::Task { .. } | LeaseWork::Integrate => (None, None, None),
    };
    sql.prepare_cached(include_str!("../lease/insert.sql"))?.execute(named_params! {
        ":id": row.id.to_string(),
        ":plan": row.plan.0,
        ":wave_ix": row.wave.0,
        ":kind": row.work.kind().as_str(),
        ":task_ix": task,
        ":attempt": attempt,
        ":candidate": candidate,
        ":purpose": purpose,
        ":tier": tier,
        ":runner": row.account.as_ref().map(|account| &account.runner),
        ":account": row.account.as_ref().map(|account| &account.fingerprint),
        ":round": row.round,
        ":state": row.state.name(),
        ":worker": &*row.worker.0,
        ":base": text(row.base),
        ":lost_after_ms": int(row.lost_after_ms),
        ":granted_ms": row.granted.0,
    })?;
    Ok(())
}

pub(super) fn update_lease(sql: &Connection, was: &str, row: &LeaseRow) -> Result<()> {
    let changed = sql.prepare_cached(include_str!("../lease/update.sql"))?.execute(named_params! {
        ":id": row.id.to_string(),
        ":was": was,
        ":state": row.state.name(),
        ":reason": row.state.reason(),
        ":started_ms": row.started.map(|time| time.0),
        ":ended_ms": row.ended.map(|time| time.0),
        ":progress_in": int(row.progress.tokens_in),
        ":progress_out": int(row.progress.tokens_out),
        ":progress_cached": int(row.progress.tokens_cached),
        ":progress_micro_usd": maybe_int(row.progress.cost_micro_usd),
    })?;
    let state = "SELECT state FROM wg_leases WHERE id = ?1";
    expect_one(changed, sql, (state, [row.id.to_string()]), || format!("lease {}", row.id), was)?;
    match row.ended {
        // Without a result, what its worker told last is all that is known of what it spent.
        Some(ended) => usage::project(sql, row.id, ended),
        None => Ok(()),
    }
}

/// A second copy of a result that is only booked changes nothing.
pub(super) fn insert_result(
    sql: &Connection,
    lease: LeaseId,
    accepted: bool,
    report: &Report,
    now: Utc,
) -> Result<()> {
    let changed = sql.prepare_cached(include_str!("../result/insert.sql"))?.execute(named_params! {
        ":lease": lease.to_string(),
        ":accepted": accepted,
        ":outcome": report.outcome.as_str(),
        ":exit_code": report.exit_code,
        ":summary": report.summary,
        ":output_tail": report.output_tail,
        ":output_json": report.output_json,
        ":run_ms": int(report.run_ms),
        ":used_in": int(report.usage.tokens_in),
        ":used_out": int(report.usage.tokens_out),
        ":used_cached": int(report.usage.tokens_cached),
        ":used_micro_usd": maybe_int(report.usage.cost_micro_usd),
        ":changes": text(report.changes),
        ":changed_files": report.changed_files,
        ":candidate": text(report.candidate),
        ":now": now.0,
        ":model": report.talk.model,
        ":session": report.talk.session,
        ":findings": findings_json(report),
    })?;
    if changed == 1 {
        usage::put_usage(sql, lease, &report.talk.models, now)?;
        if accepted {
            insert_commits(sql, lease, &report.published, now)?;
        }
        return usage::project(sql, lease, now);
    }
    Err(StoreError::Constraint(format!("lease {lease} already has a result, expected none")))
}

/// A wave is published once; a second word on it stands in the place of the first.
fn insert_commits(sql: &Connection, lease: LeaseId, published: &Published, now: Utc) -> Result<()> {
    let mut insert = sql.prepare_cached(include_str!("../commit/insert.sql"))?;
    for (commit, ix) in published.commits.iter().zip(0_i64..) {
        insert.execute(named_params! {
            ":lease": lease.to_string(),
            ":ix": ix,
            ":task_key": commit.task,
            ":commit_id": commit.commit,
            ":subject": commit.subject,
            ":branch": published.branch,
            ":request": published.request,
            ":now": now.0,
        })?;
    }
    Ok(())
}

fn findings_json(report: &Report) -> String {
    let texts: Vec<_> = report.talk.findings.iter().map(|finding| &finding.text).collect();
    serde_json::json!(texts).to_string()
}

pub(super) fn insert_counsel(sql: &Connection, lease: LeaseId, counsel: &Counsel) -> Result<()> {
    let tasks: Vec<_> = counsel.tasks.iter().map(|task| (&task.task, &task.text)).collect();
    sql.prepare_cached("INSERT OR IGNORE INTO wg_counsels (lease_id, note, tasks) VALUES (?1, ?2, ?3)")?
        .execute(params![lease.to_string(), counsel.note, serde_json::json!(tasks).to_string()])?;
    Ok(())
}
