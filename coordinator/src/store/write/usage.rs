//! The ledger: what each model used in each lease, and the rows that existing tools read of it.

use rusqlite::{Connection, named_params, params};
use wavegate_engine::{LeaseId, ModelUsage, Utc};

use super::{Result, int, maybe_int};
use crate::store::rows::{all, get};

/// What is known now of a lease, in the place of what was known before.
pub(super) fn put_usage(sql: &Connection, lease: LeaseId, models: &[ModelUsage], now: Utc) -> Result<()> {
    if !models.is_empty() {
        forget_others(sql, lease, models)?;
    }
    for usage in models {
        sql.prepare_cached(include_str!("../result/put_usage.sql"))?.execute(named_params! {
            ":lease": lease.to_string(),
            ":model": usage.model,
            ":used_in": int(usage.tokens_in),
            ":used_out": int(usage.tokens_out),
            ":cache_read": int(usage.cache_read),
            ":cache_write": int(usage.cache_write),
            ":micro_usd": maybe_int(usage.cost_micro_usd),
            ":cost_source": usage.cost_source.as_str(),
            ":price_date": usage.price_date,
            ":calls": usage.calls,
            ":now": now.0,
        })?;
    }
    Ok(())
}

/// A newer word may name a model otherwise than an older one: what it leaves out was never used.
fn forget_others(sql: &Connection, lease: LeaseId, models: &[ModelUsage]) -> Result<()> {
    let lines = "SELECT model, projected_id FROM wg_usage WHERE lease_id = ?1";
    let lines: Vec<(String, Option<i64>)> =
        all(sql, lines, [lease.to_string()], |row| Ok((get(row, "model")?, get(row, "projected_id")?)))?;
    for (model, projected) in
        lines.iter().filter(|(model, _)| !models.iter().any(|usage| usage.model == *model))
    {
        sql.prepare_cached("DELETE FROM token_usage WHERE id = ?1")?.execute([projected])?;
        sql.prepare_cached("DELETE FROM wg_usage WHERE lease_id = ?1 AND model = ?2")?
            .execute(params![lease.to_string(), model])?;
    }
    Ok(())
}

/// A row of `token_usage` for each line of a lease that has come to an end: made once, and written again
/// when a late result says more.
pub(super) fn project(sql: &Connection, lease: LeaseId, now: Utc) -> Result<()> {
    let lines = "SELECT model, projected_id FROM wg_usage WHERE lease_id = ?1";
    let lines: Vec<(String, Option<i64>)> =
        all(sql, lines, [lease.to_string()], |row| Ok((get(row, "model")?, get(row, "projected_id")?)))?;
    for (model, projected) in lines {
        if let Some(id) = projected {
            let update = sql.prepare_cached(include_str!("../projection/update_token_usage.sql"));
            update?.execute(named_params! { ":id": id, ":lease": lease.to_string(), ":model": model })?;
            continue;
        }
        let insert = include_str!("../projection/insert_token_usage.sql");
        let mut insert = sql.prepare_cached(insert)?;
        insert.execute(named_params! { ":lease": lease.to_string(), ":model": model, ":now": now.0 })?;
        let id = sql.last_insert_rowid();
        sql.prepare_cached("UPDATE wg_usage SET projected_id = ?3 WHERE lease_id = ?1 AND model = ?2")?
            .execute(params![lease.to_string(), model, id])?;
    }
    Ok(())
}
