//! Columns into domain values: the one place that knows how each is written. Columns by name; a value
//! that means nothing is said with its column.

use std::str::FromStr;

use rusqlite::{Row, types::FromSql};
use wavegate_engine::{
    Account, AccountRow, AccountState, AwaitsCounsel, CostSource, Counsel, Digest, Finding, LeaseId,
    LeaseKind, LeaseRow, LeaseState, LeaseWork, Mode, ModelUsage, OwnWork, PlanId, PlanRow, PlanState,
    Purpose, Role, Runner, TaskIx, TaskResult, TaskRow, TaskState, Tier, Usage, Utc, WaveIx, WaveRow,
    WaveState, WorkerId, WorkerRow, spec::Budget,
};

use super::error::unknown;
use crate::driver::StoreError;

type Result<T> = std::result::Result<T, StoreError>;

pub(super) fn get<T: FromSql>(row: &Row<'_>, column: &str) -> Result<T> {
    Ok(row.get(column)?)
}

/// A number that SQLite keeps as i64.
pub(super) fn number<T: TryFrom<i64>>(row: &Row<'_>, column: &str) -> Result<T> {
    let found: i64 = get(row, column)?;
    T::try_from(found).map_err(|_| unknown(column, found))
}

pub(super) fn maybe_number<T: TryFrom<i64>>(row: &Row<'_>, column: &str) -> Result<Option<T>> {
    let found: Option<i64> = get(row, column)?;
    found.map(|found| T::try_from(found).map_err(|_| unknown(column, found))).transpose()
}

pub(super) fn parsed<T: FromStr>(row: &Row<'_>, column: &str) -> Result<T> {
    let found: String = get(row, column)?;
    found.parse().map_err(|_| unknown(column, found))
}

pub(super) fn maybe_digest(row: &Row<'_>, column: &str) -> Result<Option<Digest>> {
    let found: Option<String> = get(row, column)?;
    found.map(|found| found.parse().map_err(|_| unknown(column, found))).transpose()
}

pub(super) fn maybe_utc(row: &Row<'_>, column: &str) -> Result<Option<Utc>> {
    Ok(get::<Option<i64>>(row, column)?.map(Utc))
}

/// A text that another program may have written, whatever it is.
pub(super) fn foreign_text(row: &Row<'_>, column: &str) -> Result<Option<String>> {
    let found: Option<Vec<u8>> = get(row, column)?;
    Ok(found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// One of our words.
pub(super) fn word<T>(row: &Row<'_>, column: &str, from: impl Fn(&str) -> Option<T>) -> Result<T> {
    let found: String = get(row, column)?;
    from(&found).ok_or_else(|| unknown(column, found))
}

fn maybe_word<T>(row: &Row<'_>, column: &str, from: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
    let found: Option<String> = get(row, column)?;
    found.map(|found| from(&found).ok_or_else(|| unknown(column, found))).transpose()
}

pub(super) fn usage(row: &Row<'_>, prefix: &str) -> Result<Usage> {
    Ok(Usage {
        tokens_in: number(row, &format!("{prefix}_in"))?,
        tokens_out: number(row, &format!("{prefix}_out"))?,
        tokens_cached: number(row, &format!("{prefix}_cached"))?,
        cost_micro_usd: maybe_number(row, &format!("{prefix}_micro_usd"))?,
    })
}

pub(super) fn mode(row: &Row<'_>) -> Result<Option<Mode>> {
    maybe_word(row, "mode", Mode::from_word)
}

pub(super) fn tier(row: &Row<'_>) -> Result<Option<Tier>> {
    maybe_word(row, "tier", Tier::from_word)
}

pub(super) fn plan_state(row: &Row<'_>) -> Result<PlanState> {
    let reason: String = get(row, "reason")?;
    word(row, "state", |state| PlanState::from_words(state, &reason))
}

pub(super) fn wave_state(row: &Row<'_>) -> Result<WaveState> {
    let reason: String = get(row, "reason")?;
    word(row, "state", |state| WaveState::from_words(state, &reason))
}

pub(super) fn task_state(row: &Row<'_>) -> Result<TaskState> {
    let reason: String = get(row, "reason")?;
    let not_before = maybe_utc(row, "not_before_ms")?;
    word(row, "state", |state| TaskState::from_words(state, &reason, not_before))
}

pub(super) fn lease_state(row: &Row<'_>) -> Result<LeaseState> {
    let reason: String = get(row, "reason")?;
    word(row, "state", |state| LeaseState::from_words(state, &reason))
}

pub(super) fn plan_row(row: &Row<'_>) -> Result<PlanRow> {
    Ok(PlanRow {
        state: plan_state(row)?,
        mode: mode(row)?,
        tier: tier(row)?,
        tree: maybe_digest(row, "tree")?,
        spent: usage(row, "spent")?,
        budget: budget(row)?,
        approved: maybe_utc(row, "approved_ms")?,
        ended: maybe_utc(row, "ended_ms")?,
    })
}

fn budget(row: &Row<'_>) -> Result<Budget> {
    Ok(Budget {
        tokens: maybe_number(row, "budget_tokens")?,
        micro_usd: maybe_number(row, "budget_micro_usd")?,
    })
}

pub(super) fn wave_row(row: &Row<'_>) -> Result<WaveRow> {
    Ok(WaveRow {
        state: wave_state(row)?,
        round: number(row, "round")?,
        candidate: maybe_digest(row, "candidate")?,
        target: maybe_digest(row, "target")?,
        target_moves: number(row, "target_moves")?,
        integrate_failures: number(row, "integrate_failures")?,
        validate_failures: number(row, "validate_failures")?,
        counsel: maybe_word(row, "counsel", Purpose::from_word)?,
        counsel_failures: number(row, "counsel_failures")?,
    })
}

pub(super) fn task_row(row: &Row<'_>) -> Result<TaskRow> {
    Ok(TaskRow {
        state: task_state(row)?,
        attempt: number(row, "attempt")?,
        failures: number(row, "failures")?,
        losses: number(row, "losses")?,
        rejections: number(row, "rejections")?,
        evidence_only: get(row, "evidence_only")?,
        awaits_counsel: awaits_counsel(row)?,
        spent: usage(row, "spent")?,
        budget: budget(row)?,
        built_on: json::<Vec<u32>>(row, "built_on")?.into_iter().map(TaskIx).collect(),
        result: task_result(row)?,
        own: own_work(row)?,
    })
}

fn awaits_counsel(row: &Row<'_>) -> Result<AwaitsCounsel> {
    let number: i64 = get(row, "awaits_counsel")?;
    AwaitsCounsel::from_number(number).ok_or_else(|| unknown("awaits_counsel", number))
}

fn own_work(row: &Row<'_>) -> Result<Option<OwnWork>> {
    if !get::<bool>(row, "has_own")? {
        return Ok(None);
    }
    Ok(Some(OwnWork { changes: maybe_digest(row, "own_changes")?, base: maybe_digest(row, "own_base")? }))
}

fn task_result(row: &Row<'_>) -> Result<Option<TaskResult>> {
    if get::<Option<String>>(row, "result_lease")?.is_none() {
        return Ok(None);
    }
    Ok(Some(TaskResult {
        lease: parsed(row, "result_lease")?,
        attempt: number(row, "result_attempt")?,
        worker: WorkerId::from(get::<String>(row, "result_worker")?.as_str()),
        changes: maybe_digest(row, "result_changes")?,
        base: maybe_digest(row, "result_base")?,
    }))
}

pub(super) fn lease_row(row: &Row<'_>) -> Result<LeaseRow> {
    let work = match word(row, "kind", LeaseKind::from_word)? {
        LeaseKind::Task => {
            LeaseWork::Task { task: TaskIx(number(row, "task_ix")?), attempt: number(row, "attempt")? }
        }
        LeaseKind::Integrate => LeaseWork::Integrate,
        LeaseKind::Validate => LeaseWork::Validate { candidate: parsed(row, "candidate")? },
        LeaseKind::Publish => LeaseWork::Publish { candidate: parsed(row, "candidate")? },
        LeaseKind::Coordinate => LeaseWork::Coordinate {
            purpose: word(row, "purpose", Purpose::from_word)?,
            tier: word(row, "tier", Tier::from_word)?,
        },
    };
    Ok(LeaseRow {
        id: parsed::<LeaseId>(row, "id")?,
        state: lease_state(row)?,
        plan: PlanId(get(row, "plan_id")?),
        wave: WaveIx(number(row, "wave_ix")?),
        work,
        round: number(row, "round")?,
        worker: WorkerId::from(get::<String>(row, "worker_id")?.as_str()),
        account: account(row)?,
        base: maybe_digest(row, "base")?,
        lost_after_ms: number(row, "lost_after_ms")?,
        granted: Utc(get(row, "granted_ms")?),
        started: maybe_utc(row, "started_ms")?,
        ended: maybe_utc(row, "ended_ms")?,
        progress: usage(row, "progress")?,
    })
}

fn account(row: &Row<'_>) -> Result<Option<Account>> {
    let (runner, fingerprint): (Option<String>, Option<String>) = (get(row, "runner")?, get(row, "account")?);
    Ok(runner.zip(fingerprint).map(|(runner, fingerprint)| Account { runner, fingerprint }))
}

pub(super) fn account_row(row: &Row<'_>) -> Result<AccountRow> {
    let (trouble, until): (String, _) = (get(row, "trouble")?, maybe_utc(row, "until_ms")?);
    let lease: Option<String> = get(row, "lease_id")?;
    let lease = lease.map(|id| id.parse::<LeaseId>().map_err(|_| unknown("lease_id", id))).transpose()?;
    Ok(AccountRow {
        account: Account { runner: get(row, "runner")?, fingerprint: get(row, "account")? },
        state: word(row, "state", |state| AccountState::from_words(state, &trouble, until, lease))?,
        tries: number(row, "tries")?,
        note: get(row, "note")?,
    })
}

pub(super) fn counsel(row: &Row<'_>) -> Result<Counsel> {
    let tasks: Vec<(String, String)> = json(row, "tasks")?;
    let tasks = tasks.into_iter().map(|(task, text)| Finding { task, text }).collect();
    Ok(Counsel { note: get(row, "note")?, tasks })
}

/// One line of the ledger.
pub(super) fn model_usage(row: &Row<'_>) -> Result<ModelUsage> {
    Ok(ModelUsage {
        model: get(row, "model")?,
        tokens_in: number(row, "used_in")?,
        tokens_out: number(row, "used_out")?,
        cache_read: number(row, "cache_read")?,
        cache_write: number(row, "cache_write")?,
        cost_micro_usd: maybe_number(row, "micro_usd")?,
        cost_source: word(row, "cost_source", CostSource::from_word)?,
        price_date: get(row, "price_date")?,
        calls: number(row, "calls")?,
    })
}

pub(super) fn worker_row(row: &Row<'_>) -> Result<WorkerRow> {
    let roles: String = get(row, "roles")?;
    let role = |word: &str| Role::from_word(word).ok_or_else(|| unknown("roles", word));
    let runners: Vec<(String, String, String, Vec<String>)> = json(row, "runners")?;
    Ok(WorkerRow {
        id: WorkerId::from(get::<String>(row, "id")?.as_str()),
        instance: get(row, "instance")?,
        name: get(row, "name")?,
        host: get(row, "host")?,
        version: get(row, "version")?,
        roles: roles.split_whitespace().map(role).collect::<Result<_>>()?,
        runners: runners
            .into_iter()
            .map(|(name, version, account, models)| Runner { name, version, account, models })
            .collect(),
        labels: json(row, "labels")?,
        slots: maybe_number(row, "slots")?,
        draining: get(row, "draining")?,
        first_seen: Utc(get(row, "first_seen_ms")?),
        last_seen: Utc(get(row, "last_seen_ms")?),
    })
}

pub(super) fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T> {
    let found: String = get(row, column)?;
    serde_json::from_str(&found).map_err(|error| StoreError::Corrupt(format!("{column}: {error}")))
}

/// Every row, each through a conversion that can say no.
pub(super) fn all<T>(
    sql: &rusqlite::Connection,
    statement: &str,
    params: impl rusqlite::Params,
    convert: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = sql.prepare_cached(statement)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(convert(row)?);
    }
    Ok(found)
}
