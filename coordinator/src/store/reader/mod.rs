//! Reading for people and tools, beside the writing connection: lists, one plan in full, events,
//! workers. Owns read-only connections; blocking, so callers keep it off the async threads.

mod model;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, Row, named_params};
use wavegate_engine::{
    Decision, Evidence, Finding, LeaseWork, Outcome, PlanId, TaskIx, Utc, Verdict, VerdictSource, WaveIx,
    spec::{PlanSpec, TaskSpec, WaveSpec},
};

pub use model::*;

use super::{
    error::unknown,
    rows::{
        all, get, json, lease_row, maybe_digest, maybe_number, number, plan_row, task_row, usage, wave_row,
        worker_row,
    },
};
use crate::driver::StoreError;

type Result<T> = std::result::Result<T, StoreError>;

/// A few read-only connections; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    db: Arc<Path>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

/// Connections that are kept open.
const MOST_IDLE: usize = 4;

impl Reader {
    /// A reader of this database.
    #[must_use]
    pub fn new(db: &Path) -> Self {
        Self { db: PathBuf::from(db).into(), idle: Arc::default() }
    }

    /// The plan with this id or name.
    pub fn plan_id(&self, plan: &str) -> Result<Option<PlanId>> {
        self.with(|sql| {
            let statement = include_str!("find_plan.sql");
            let id: Option<i64> = plan.parse().ok();
            let params = named_params! { ":id": id, ":name": plan };
            Ok(all(sql, statement, params, |row| Ok(PlanId(get(row, "id")?)))?.into_iter().next())
        })
    }

    /// Every plan, the newest first.
    pub fn plans(&self) -> Result<Vec<PlanSummary>> {
        self.with(|sql| {
            all(sql, include_str!("list_plans.sql"), named_params! { ":plan": None::<i64> }, summary)
        })
    }

    /// One plan's summary.
    pub fn summary(&self, plan: PlanId) -> Result<Option<PlanSummary>> {
        self.with(|sql| read_summary(sql, plan))
    }

    /// One plan in full.
    pub fn plan(&self, plan: PlanId) -> Result<Option<PlanDetail>> {
        self.with(|sql| {
            // One transaction: a plan that changes meanwhile is seen as it was.
            let sql = &sql.unchecked_transaction()?;
            let Some(summary) = read_summary(sql, plan)? else { return Ok(None) };
            detail(sql, summary).map(Some)
        })
    }

    /// The plan as it was read from its file.
    pub fn spec(&self, plan: PlanId) -> Result<Option<PlanSpec>> {
        self.with(|sql| {
            let statement = "SELECT head FROM wg_plans WHERE id = ?1";
            let Some(mut spec) =
                all(sql, statement, [plan.0], |row| json::<PlanSpec>(row, "head"))?.into_iter().next()
            else {
                return Ok(None);
            };
            let waves = "SELECT spec FROM wg_waves WHERE plan_id = ?1 ORDER BY ix";
            spec.waves = all(sql, waves, [plan.0], |row| json(row, "spec"))?;
            let tasks = "SELECT wave_ix, spec FROM wg_tasks WHERE plan_id = ?1 ORDER BY ix";
            let tasks = all(sql, tasks, [plan.0], |row| {
                Ok((number::<usize>(row, "wave_ix")?, json::<TaskSpec>(row, "spec")?))
            })?;
            for (wave, task) in tasks {
                spec.waves.get_mut(wave).ok_or_else(|| unknown("wave_ix", wave))?.tasks.push(task);
            }
            Ok(Some(spec))
        })
    }

    /// Events after this number, oldest first, at most `limit`; of one plan or of all.
    pub fn events(&self, after: i64, plan: Option<PlanId>, limit: u32) -> Result<Vec<EventRecord>> {
        self.with(|sql| {
            let statement = include_str!("list_events.sql");
            let params = named_params! { ":after": after, ":plan": plan.map(|plan| plan.0), ":limit": limit };
            all(sql, statement, params, event)
        })
    }

    /// Every worker with its open leases.
    pub fn workers(&self) -> Result<Vec<WorkerDetail>> {
        self.with(|sql| {
            let sql = &sql.unchecked_transaction()?;
            let leases = all(sql, include_str!("list_open_leases.sql"), [], open_lease)?;
            let workers = all(sql, "SELECT * FROM wg_workers ORDER BY name, id", [], worker_row)?;
            let of = |row: &wavegate_engine::WorkerRow| {
                leases.iter().filter(|lease| lease.lease.worker == row.id).cloned().collect()
            };
            Ok(workers.into_iter().map(|row| WorkerDetail { leases: of(&row), row }).collect())
        })
    }

    /// The worker with this id or name.
    pub fn worker_id(&self, worker: &str) -> Result<Option<String>> {
        self.with(|sql| {
            let find = "SELECT id FROM wg_workers WHERE id = ?1 OR name = ?1 ORDER BY id <> ?1 LIMIT 1";
            Ok(all(sql, find, [worker], |row| get(row, "id"))?.into_iter().next())
        })
    }

    /// The task leases of a plan in the order in which they were granted, with their tasks' keys; of
    /// one task or of all.
    pub fn task_leases(&self, plan: PlanId, task: Option<&str>) -> Result<Vec<TaskLease>> {
        self.with(|sql| {
            let statement = include_str!("list_task_leases.sql");
            all(sql, statement, named_params! { ":plan": plan.0, ":task": task }, |row| {
                Ok(TaskLease { task: get(row, "key")?, lease: lease_row(row)? })
            })
        })
    }

    /// Runs a read on an idle connection; one that failed is not kept.
    fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let sql = match idle {
            Some(sql) => sql,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let sql = Connection::open_with_flags(&self.db, flags)?;
                sql.busy_timeout(Duration::from_secs(5))?;
                sql
            }
        };
        let found = read(&sql)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(sql);
        }
        Ok(found)
    }
}

fn read_summary(sql: &Connection, plan: PlanId) -> Result<Option<PlanSummary>> {
    let statement = include_str!("list_plans.sql");
    Ok(all(sql, statement, named_params! { ":plan": plan.0 }, summary)?.into_iter().next())
}

fn summary(row: &Row<'_>) -> Result<PlanSummary> {
    Ok(PlanSummary {
        id: PlanId(get(row, "id")?),
        name: get(row, "name")?,
        row: plan_row(row)?,
        waves: number(row, "waves")?,
        waves_done: number(row, "waves_done")?,
        tasks: number(row, "tasks")?,
        tasks_done: number(row, "tasks_done")?,
        tasks_running: number(row, "tasks_running")?,
        created: Utc(get(row, "created_ms")?),
        usage: usage(row, "used")?,
    })
}

fn detail(sql: &Connection, summary: PlanSummary) -> Result<PlanDetail> {
    let plan = summary.id.0;
    let (source, head): (String, PlanSpec) = {
        let statement = "SELECT source, head FROM wg_plans WHERE id = ?1";
        let found = all(sql, statement, [plan], |row| Ok((get(row, "source")?, json(row, "head")?)))?;
        found.into_iter().next().ok_or_else(|| unknown("plan", plan))?
    };
    let leases = all(sql, include_str!("list_leases.sql"), [plan], lease)?;
    let mut waves = all(sql, "SELECT * FROM wg_waves WHERE plan_id = ?1 ORDER BY ix", [plan], |row| {
        let spec: WaveSpec = json(row, "spec")?;
        Ok(WaveDetail {
            spec,
            row: wave_row(row)?,
            tasks: Vec::new(),
            verdicts: Vec::new(),
            duties: Vec::new(),
        })
    })?;
    let tasks = all(sql, "SELECT * FROM wg_tasks WHERE plan_id = ?1 ORDER BY ix", [plan], |row| {
        let ix = TaskIx(number(row, "ix")?);
        Ok((
            number::<usize>(row, "wave_ix")?,
            TaskDetail { ix, spec: json(row, "spec")?, row: task_row(row)?, attempts: Vec::new() },
        ))
    })?;
    let mut places = Vec::with_capacity(tasks.len());
    for (wave, task) in tasks {
        let tasks = &mut waves.get_mut(wave).ok_or_else(|| unknown("wave_ix", wave))?.tasks;
        places.push((wave, tasks.len()));
        tasks.push(task);
    }
    for lease in leases {
        match lease.lease.work {
            LeaseWork::Task { task, .. } => {
                let (wave, at) = places.get(task.at()).copied().ok_or_else(|| unknown("task_ix", task.0))?;
                waves[wave].tasks[at].attempts.push(lease);
            }
            LeaseWork::Integrate | LeaseWork::Validate { .. } => {
                let wave = lease.lease.wave;
                waves.get_mut(wave.at()).ok_or_else(|| unknown("wave_ix", wave.0))?.duties.push(lease);
            }
        }
    }
    for (wave, verdict) in verdicts(sql, plan)? {
        waves.get_mut(wave.at()).ok_or_else(|| unknown("wave_ix", wave.0))?.verdicts.push(verdict);
    }
    Ok(PlanDetail { summary, source, head, waves })
}

fn lease(row: &Row<'_>) -> Result<LeaseDetail> {
    let outcome: Option<String> = get(row, "outcome")?;
    let result = match outcome {
        None => None,
        Some(word) => Some(ResultDetail {
            outcome: Outcome::from_word(&word).ok_or_else(|| unknown("outcome", &word))?,
            accepted: get(row, "accepted")?,
            exit_code: maybe_number(row, "exit_code")?,
            summary: get(row, "summary")?,
            output_tail: get(row, "output_tail")?,
            output_json: get(row, "output_json")?,
            run_ms: number(row, "run_ms")?,
            usage: usage(row, "used")?,
        }),
    };
    Ok(LeaseDetail { lease: lease_row(row)?, worker_name: get(row, "worker_name")?, result })
}

fn verdicts(sql: &Connection, plan: i64) -> Result<Vec<(WaveIx, VerdictDetail)>> {
    let list = "SELECT * FROM wg_verdicts WHERE plan_id = ?1 ORDER BY id";
    let mut found = all(sql, list, [plan], |row| {
        let word = |column: &str| get::<String>(row, column);
        let decision = word("decision")?;
        let source = word("source")?;
        let verdict = VerdictDetail {
            id: get(row, "id")?,
            round: number(row, "round")?,
            candidate: maybe_digest(row, "candidate")?,
            source: VerdictSource::from_word(&source).ok_or_else(|| unknown("source", &source))?,
            verdict: Verdict::bare(
                Decision::from_word(&decision).ok_or_else(|| unknown("decision", &decision))?,
                Vec::new(),
            ),
            by: word("judge")?,
            note: word("note")?,
            at: Utc(get(row, "at_ms")?),
        };
        Ok((WaveIx(number(row, "wave_ix")?), verdict))
    })?;
    for (_, verdict) in &mut found {
        let findings = "SELECT * FROM wg_findings WHERE verdict_id = ?1 ORDER BY ix";
        verdict.verdict.findings = all(sql, findings, [verdict.id], |row| {
            Ok(Finding { task: get(row, "task_key")?, text: get(row, "text")? })
        })?;
        let evidence = "SELECT * FROM wg_evidence WHERE verdict_id = ?1 ORDER BY ix";
        verdict.verdict.evidence = all(sql, evidence, [verdict.id], |row| {
            Ok(Evidence {
                task: get(row, "task_key")?,
                command: get(row, "command")?,
                exit_code: maybe_number(row, "exit_code")?,
                timed_out: get(row, "timed_out")?,
                output_tail: get(row, "output_tail")?,
                run_ms: number(row, "run_ms")?,
            })
        })?;
    }
    Ok(found)
}

fn event(row: &Row<'_>) -> Result<EventRecord> {
    let text = |column: &str| Ok::<_, StoreError>(get::<Option<String>>(row, column)?.unwrap_or_default());
    Ok(EventRecord {
        number: get(row, "number")?,
        at: Utc(get(row, "at_ms")?),
        plan: maybe_number::<i64>(row, "plan_id")?.map(PlanId),
        wave: text("wave_key")?,
        task: text("task_key")?,
        lease: text("lease_id")?,
        worker: text("worker_name")?,
        actor: get(row, "actor")?,
        kind: get(row, "kind")?,
        reason: get(row, "reason")?,
        text: get(row, "text")?,
    })
}

fn open_lease(row: &Row<'_>) -> Result<OpenLease> {
    Ok(OpenLease {
        lease: lease_row(row)?,
        plan_name: get(row, "plan_name")?,
        wave: get(row, "wave_key")?,
        task: get::<Option<String>>(row, "task_key")?.unwrap_or_default(),
    })
}
