//! Words on candidates, with their findings, evidence and gates.

use rusqlite::{Connection, named_params, params};
use wavegate_engine::{Utc, VerdictRow};

use super::{Result, int, text};

pub(super) fn insert_verdict(sql: &Connection, row: &VerdictRow, now: Utc) -> Result<()> {
    sql.prepare_cached(include_str!("../verdict/insert.sql"))?.execute(named_params! {
        ":plan": row.plan.0,
        ":wave_ix": row.wave.0,
        ":round": row.round,
        ":candidate": text(row.candidate),
        ":source": row.source.as_str(),
        ":decision": row.verdict.decision.as_str(),
        ":judge": row.by,
        ":note": row.note,
        ":now": now.0,
    })?;
    let id = sql.last_insert_rowid();
    let mut insert = sql
        .prepare_cached("INSERT INTO wg_findings (verdict_id, ix, task_key, text) VALUES (?1, ?2, ?3, ?4)")?;
    for (finding, ix) in row.verdict.findings.iter().zip(0..) {
        insert.execute(params![id, ix, finding.task, finding.text])?;
    }
    let mut insert = sql.prepare_cached(include_str!("../verdict/insert_evidence.sql"))?;
    for (evidence, ix) in row.verdict.evidence.iter().zip(0..) {
        insert.execute(named_params! {
            ":verdict": id,
            ":ix": ix,
            ":task_key": evidence.task,
            ":command": evidence.command,
            ":exit_code": evidence.exit_code,
            ":timed_out": evidence.timed_out,
            ":output_tail": evidence.output_tail,
            ":run_ms": int(evidence.run_ms),
        })?;
    }
    let gates = "INSERT INTO wg_gates (verdict_id, ix, name, passed, notes) VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut insert = sql.prepare_cached(gates)?;
    for (gate, ix) in row.verdict.gates.iter().zip(0..) {
        insert.execute(params![id, ix, gate.name, gate.passed, gate.notes])?;
    }
    Ok(())
}
