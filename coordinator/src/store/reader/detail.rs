//! One plan in full: rows put into their places.

use rusqlite::{Connection, Row};
use wavegate_engine::{
    Decision, Digest, Evidence, Finding, Gate, LeaseKind, LeaseWork, Outcome, Purpose, TaskIx, Utc, Verdict,
    VerdictSource, WaveIx, spec::PlanSpec,
};

use super::{
    CommitDetail, CounselDetail, LeaseDetail, LedgerLine, PlanDetail, PlanSummary, Result, ResultDetail,
    TaskDetail, VerdictDetail, WaveDetail,
};
use crate::store::{
    error::unknown,
    rows::{
        all, counsel, get, json, lease_row, maybe_digest, maybe_number, model_usage, number, task_row, usage,
        wave_row, word,
    },
};

pub(super) fn detail(sql: &Connection, summary: PlanSummary) -> Result<PlanDetail> {
    let plan = summary.id.0;
    let texts = "SELECT x.source, x.head, p.base FROM wg_plan_texts AS x \
                 INNER JOIN wg_plans AS p ON p.id = x.plan_id WHERE x.plan_id = ?1";
    let texts: Vec<(String, PlanSpec, Option<Digest>)> = all(sql, texts, [plan], |row| {
        Ok((get(row, "source")?, json(row, "head")?, maybe_digest(row, "base")?))
    })?;
    let (source, head, base) = texts.into_iter().next().ok_or_else(|| unknown("plan", plan))?;
    let waves = "SELECT * FROM wg_waves WHERE plan_id = ?1 ORDER BY ix";
    let mut waves = all(sql, waves, [plan], wave)?;
    place_tasks(sql, plan, &mut waves)?;
    for (at, verdict) in verdicts(sql, plan)? {
        wave_at(&mut waves, at.at())?.verdicts.push(verdict);
    }
    for (at, counsel) in counsels(sql, plan)? {
        wave_at(&mut waves, at.at())?.counsels.push(counsel);
    }
    let commits = "SELECT * FROM wg_commits WHERE plan_id = ?1 ORDER BY wave_ix, ix";
    for (at, commit) in all(sql, commits, [plan], commit)? {
        wave_at(&mut waves, at.at())?.commits.push(commit);
    }
    Ok(PlanDetail { summary, source, base, head, waves })
}

fn wave_at(waves: &mut [WaveDetail], at: usize) -> Result<&mut WaveDetail> {
    waves.get_mut(at).ok_or_else(|| unknown("wave_ix", at))
}

fn wave(row: &Row<'_>) -> Result<WaveDetail> {
    Ok(WaveDetail {
        spec: json(row, "spec")?,
        row: wave_row(row)?,
        tasks: Vec::new(),
        verdicts: Vec::new(),
        duties: Vec::new(),
        counsels: Vec::new(),
        commits: Vec::new(),
    })
}

fn commit(row: &Row<'_>) -> Result<(WaveIx, CommitDetail)> {
    let detail = CommitDetail {
        task: get(row, "task_key")?,
        commit: get(row, "commit_id")?,
        subject: get(row, "subject")?,
        branch: get(row, "branch")?,
        request: get(row, "request")?,
        at: Utc(get(row, "at_ms")?),
    };
    Ok((WaveIx(number(row, "wave_ix")?), detail))
}

/// Tasks into their waves, and leases to their tasks or waves.
fn place_tasks(sql: &Connection, plan: i64, waves: &mut [WaveDetail]) -> Result<()> {
    let tasks = "SELECT * FROM wg_tasks WHERE plan_id = ?1 ORDER BY ix";
    let mut places = Vec::new();
    for (wave, task) in all(sql, tasks, [plan], task)? {
        let tasks = &mut wave_at(waves, wave)?.tasks;
        places.push((wave, tasks.len()));
        tasks.push(task);
    }
    for detail in all(sql, include_str!("list_leases.sql"), [plan], lease)? {
        match detail.lease.work {
            LeaseWork::Task { task, .. } => {
                let (wave, at) = places.get(task.at()).copied().ok_or_else(|| unknown("task_ix", task.0))?;
                waves[wave].tasks[at].attempts.push(detail);
            }
            LeaseWork::Integrate
            | LeaseWork::Validate { .. }
            | LeaseWork::Coordinate { .. }
            | LeaseWork::Publish { .. } => {
                wave_at(waves, detail.lease.wave.at())?.duties.push(detail);
            }
        }
    }
    Ok(())
}

fn task(row: &Row<'_>) -> Result<(usize, TaskDetail)> {
    let (ix, attempts) = (TaskIx(number(row, "ix")?), Vec::new());
    let task = TaskDetail { ix, spec: json(row, "spec")?, row: task_row(row)?, attempts };
    Ok((number(row, "wave_ix")?, task))
}

fn lease(row: &Row<'_>) -> Result<LeaseDetail> {
    let has_result = get::<Option<String>>(row, "outcome")?.is_some();
    let result = if has_result { Some(result(row)?) } else { None };
    Ok(LeaseDetail { lease: lease_row(row)?, worker_name: get(row, "worker_name")?, result })
}

fn result(row: &Row<'_>) -> Result<ResultDetail> {
    Ok(ResultDetail {
        outcome: word(row, "outcome", Outcome::from_word)?,
        accepted: get(row, "accepted")?,
        exit_code: maybe_number(row, "exit_code")?,
        summary: get(row, "summary")?,
        output_tail: get(row, "output_tail")?,
        output_json: get(row, "output_json")?,
        run_ms: number(row, "run_ms")?,
        usage: usage(row, "used")?,
        model: get(row, "model")?,
        session: get(row, "session")?,
        findings: json(row, "findings")?,
    })
}

fn verdicts(sql: &Connection, plan: i64) -> Result<Vec<(WaveIx, VerdictDetail)>> {
    let list = "SELECT * FROM wg_verdicts WHERE plan_id = ?1 ORDER BY id";
    let mut found = all(sql, list, [plan], verdict)?;
    for (_, verdict) in &mut found {
        let findings = "SELECT * FROM wg_findings WHERE verdict_id = ?1 ORDER BY ix";
        verdict.verdict.findings = all(sql, findings, [verdict.id], finding)?;
        let evidence = "SELECT * FROM wg_evidence WHERE verdict_id = ?1 ORDER BY ix";
        verdict.verdict.evidence = all(sql, evidence, [verdict.id], evidence_of)?;
        let gates = "SELECT * FROM wg_gates WHERE verdict_id = ?1 ORDER BY ix";
        verdict.verdict.gates = all(sql, gates, [verdict.id], gate)?;
    }
    Ok(found)
}

fn verdict(row: &Row<'_>) -> Result<(WaveIx, VerdictDetail)> {
    let verdict = VerdictDetail {
        id: get(row, "id")?,
        round: number(row, "round")?,
        candidate: maybe_digest(row, "candidate")?,
        source: word(row, "source", VerdictSource::from_word)?,
        verdict: Verdict::bare(word(row, "decision", Decision::from_word)?, Vec::new()),
        by: get(row, "judge")?,
        note: get(row, "note")?,
        at: Utc(get(row, "at_ms")?),
    };
    Ok((WaveIx(number(row, "wave_ix")?), verdict))
}

fn finding(row: &Row<'_>) -> Result<Finding> {
    Ok(Finding { task: get(row, "task_key")?, text: get(row, "text")? })
}

fn gate(row: &Row<'_>) -> Result<Gate> {
    Ok(Gate { name: get(row, "name")?, passed: get(row, "passed")?, notes: get(row, "notes")? })
}

/// What the coordinator's model said to each wave.
fn counsels(sql: &Connection, plan: i64) -> Result<Vec<(WaveIx, CounselDetail)>> {
    all(sql, include_str!("list_counsels.sql"), [plan], |row| {
        let detail = CounselDetail {
            purpose: word(row, "purpose", Purpose::from_word)?,
            round: number(row, "round")?,
            counsel: counsel(row)?,
            model: get(row, "model")?,
            worker_name: get(row, "worker_name")?,
            usage: usage(row, "used")?,
            at: Utc(get(row, "received_ms")?),
        };
        Ok((WaveIx(number(row, "wave_ix")?), detail))
    })
}

/// The ledger of a plan, oldest first.
pub(super) fn ledger(sql: &Connection, plan: i64) -> Result<Vec<LedgerLine>> {
    all(sql, include_str!("list_usage.sql"), [plan], |row| {
        Ok(LedgerLine {
            lease: get(row, "lease_id")?,
            kind: word(row, "kind", LeaseKind::from_word)?,
            wave: get(row, "wave")?,
            task: get(row, "task")?,
            attempt: maybe_number(row, "attempt")?.unwrap_or(0),
            runner: get(row, "runner")?,
            account: get(row, "account")?,
            worker_name: get(row, "worker_name")?,
            usage: model_usage(row)?,
        })
    })
}

fn evidence_of(row: &Row<'_>) -> Result<Evidence> {
    Ok(Evidence {
        task: get(row, "task_key")?,
        command: get(row, "command")?,
        exit_code: maybe_number(row, "exit_code")?,
        timed_out: get(row, "timed_out")?,
        output_tail: get(row, "output_tail")?,
        run_ms: number(row, "run_ms")?,
    })
}
