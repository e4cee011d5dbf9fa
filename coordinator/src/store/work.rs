//! The text of a grant: what a task asks for, read when it is needed and kept nowhere else.

use rusqlite::{Connection, named_params};
use wavegate_engine::{
    Counsel, Digest, Finding, LeaseRow, LeaseWork, Outcome, PlanId, Purpose, TaskIx, VerdictSource, WaveIx,
    WorkBrief, WorkerId,
    spec::{PlanSpec, TaskSpec, WaveSpec},
};

use super::{
    error::unknown,
    rows::{all, counsel, get, json, number, word},
};
use crate::driver::{
    LastAttempt, ResultToIntegrate, StoreError, TaskOutput, TaskStory, TaskToCheck, TaskToCounsel, Work,
    WorkBody, approval_words,
};

/// A task with all that its agent would be told now.
#[derive(Debug, Clone)]
pub struct TaskNow {
    pub plan_name: String,
    pub head: PlanSpec,
    pub wave: WaveSpec,
    pub spec: TaskSpec,
    /// The newest attempt.
    pub attempt: u32,
    /// What its attempts have made is kept, and the next one would go on from it.
    pub has_result: bool,
    /// It waits for another attempt; else what is told is what it began with.
    /// The word of its state.
    pub state: String,
    pub story: TaskStory,
}

type Result<T> = std::result::Result<T, StoreError>;

pub(super) fn load_work(sql: &Connection, lease: &LeaseRow, brief: &WorkBrief) -> Result<Work> {
    let (plan_name, head) = plan(sql, lease.plan)?;
    let wave = wave(sql, lease.plan, lease.wave)?;
    let body = match (brief, lease.work) {
        (WorkBrief::Task { base, layers, own, budget_micro_usd }, LeaseWork::Task { task, .. }) => {
            let spec = Box::new(task_spec(sql, lease.plan, task)?);
            let story = Box::new(story(sql, lease.plan, lease.wave, task, &spec, Some(&lease.worker))?);
            let (layers, own, budget_micro_usd) = (layers.clone(), *own, *budget_micro_usd);
            WorkBody::Task { spec, base: *base, layers, own, budget_micro_usd, story }
        }
        (WorkBrief::Integrate { base, results }, LeaseWork::Integrate) => {
            let results =
                results.iter().map(|result| to_integrate(sql, lease.plan, result)).collect::<Result<_>>()?;
            WorkBody::Integrate { base: *base, results }
        }
        (WorkBrief::Publish { base, candidate }, LeaseWork::Publish { .. }) => WorkBody::Publish {
            base: *base,
            candidate: *candidate,
            verdict: approval(sql, lease.plan, lease.wave)?,
            tasks: outputs(sql, lease.plan, lease.wave)?,
        },
        (WorkBrief::Validate { candidate, tasks, by_agent }, LeaseWork::Validate { .. }) => {
            WorkBody::Validate {
                candidate: *candidate,
                tasks: tasks
                    .iter()
                    .map(|(task, changes)| to_check(sql, lease.plan, *task, *changes))
                    .collect::<Result<_>>()?,
                verify: wave.verify.clone(),
                by_agent: *by_agent,
            }
        }
        (WorkBrief::Coordinate { purpose, tier, base, tasks }, LeaseWork::Coordinate { .. }) => {
            WorkBody::Coordinate {
                purpose: *purpose,
                tier: *tier,
                base: *base,
                tasks: tasks
                    .iter()
                    .map(|task| to_counsel(sql, lease.plan, lease.wave, *task))
                    .collect::<Result<_>>()?,
            }
        }
        (
            WorkBrief::Task { .. }
            | WorkBrief::Integrate { .. }
            | WorkBrief::Validate { .. }
            | WorkBrief::Publish { .. }
            | WorkBrief::Coordinate { .. },
            _,
        ) => {
            return Err(unknown("a grant whose lease is of another kind", lease.id));
        }
    };
    Ok(Work {
        plan: lease.plan,
        plan_name,
        wave: wave.key.clone(),
        vars: head.vars.clone(),
        workspace: head.project.workspace,
        head: Box::new(head),
        wave_spec: Box::new(wave),
        body,
    })
}

/// What the agent of a task would be told now, by the task's key; None when there is no such task.
pub(super) fn load_task(sql: &Connection, plan: PlanId, key: &str) -> Result<Option<TaskNow>> {
    let find = "SELECT ix, wave_ix, attempt, has_own AS has_result,
        state FROM wg_tasks WHERE plan_id = ?1 AND key = ?2";
    let found = all(sql, find, rusqlite::params![plan.0, key], |row| {
        let (ix, wave_ix) = (TaskIx(number(row, "ix")?), WaveIx(number(row, "wave_ix")?));
        Ok((ix, wave_ix, number(row, "attempt")?, get(row, "has_result")?, get(row, "state")?))
    })?;
    let Some((task, wave_ix, attempt, has_result, state)) = found.into_iter().next() else {
        return Ok(None);
    };
    let (plan_name, head) = self::plan(sql, plan)?;
    let spec = task_spec(sql, plan, task)?;
    let story = story(sql, plan, wave_ix, task, &spec, None)?;
    let wave = self::wave(sql, plan, wave_ix)?;
    Ok(Some(TaskNow { plan_name, head, wave, spec, attempt, has_result, state, story }))
}

fn story(
    sql: &Connection,
    plan: PlanId,
    wave: WaveIx,
    task: TaskIx,
    spec: &TaskSpec,
    worker: Option<&WorkerId>,
) -> Result<TaskStory> {
    let evidence_only = "SELECT evidence_only FROM wg_tasks WHERE plan_id = ?1 AND ix = ?2";
    let evidence_only =
        all(sql, evidence_only, [plan.0, i64::from(task.0)], |row| get(row, "evidence_only"))?;
    let mut story = TaskStory {
        findings: findings(sql, plan, wave, &spec.key)?,
        evidence_only: evidence_only.contains(&true),
        ..TaskStory::default()
    };
    if !spec.is_agent() {
        return Ok(story);
    }
    story.dependencies =
        spec.depends_on.iter().map(|dependency| output(sql, plan, *dependency)).collect::<Result<_>>()?;
    story.counsel = counsel_for(sql, plan, wave, &spec.key)?;
    let attempts = include_str!("result/select_attempts.sql");
    let attempts = all(sql, attempts, [plan.0, i64::from(task.0)], |row| {
        let last = LastAttempt {
            attempt: number(row, "attempt")?,
            outcome: word(row, "outcome", Outcome::from_word)?,
            summary: get(row, "summary")?,
        };
        let (worker, session): (String, String) = (get(row, "worker_id")?, get(row, "session")?);
        Ok((last, worker, session))
    })?;
    story.session = attempts
        .iter()
        .find(|(_, by, session)| {
            !session.is_empty() && worker.is_some_and(|worker| &*worker.0 == by.as_str())
        })
        .map(|(.., session)| session.clone());
    story.last = attempts.into_iter().next().map(|(last, ..)| last);
    Ok(story)
}

fn output(sql: &Connection, plan: PlanId, task: TaskIx) -> Result<TaskOutput> {
    let spec = task_spec(sql, plan, task)?;
    let (summary, output_json) = claim(sql, plan, task)?;
    Ok(TaskOutput { key: spec.key, title: spec.title, summary, output_json })
}

/// What the coordinator's model said to one task: the newest briefing, and the newest triage that is about
/// the task or about none by name.
fn counsel_for(sql: &Connection, plan: PlanId, wave: WaveIx, key: &str) -> Result<Option<Counsel>> {
    let statement = "SELECT c.note, c.tasks, l.purpose FROM wg_counsels AS c
        INNER JOIN wg_leases AS l ON l.id = c.lease_id
        WHERE l.plan_id = ?1 AND l.wave_ix = ?2 ORDER BY l.granted_ms DESC, c.rowid DESC";
    let counsels = all(sql, statement, [plan.0, i64::from(wave.0)], |row| {
        Ok((word(row, "purpose", Purpose::from_word)?, counsel(row)?))
    })?;
    let newest = |wanted: Purpose| {
        counsels.iter().find(|(purpose, counsel)| {
            let is_about = || counsel.tasks.is_empty() || counsel.tasks.iter().any(|task| task.task == key);
            *purpose == wanted && (wanted == Purpose::Briefing || is_about())
        })
    };
    let heard: Vec<_> = [Purpose::Briefing, Purpose::Triage]
        .into_iter()
        .filter_map(newest)
        .map(|(_, counsel)| counsel)
        .collect();
    if heard.is_empty() {
        return Ok(None);
    }
    let joined =
        |texts: Vec<&str>| texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n\n");
    let guidance = joined(
        heard
            .iter()
            .flat_map(|counsel| &counsel.tasks)
            .filter(|task| task.task == key)
            .map(|task| task.text.as_str())
            .collect(),
    );
    let note = joined(heard.iter().map(|counsel| counsel.note.as_str()).collect());
    Ok(Some(Counsel { note, tasks: vec![Finding { task: key.to_owned(), text: guidance }] }))
}

fn to_counsel(sql: &Connection, plan: PlanId, wave: WaveIx, task: TaskIx) -> Result<TaskToCounsel> {
    let spec = task_spec(sql, plan, task)?;
    let story = story(sql, plan, wave, task, &spec, None)?;
    Ok(TaskToCounsel { spec, story })
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
    let TaskOutput { key: own, title, summary, .. } = output(sql, plan, result.task)?;
    Ok(ResultToIntegrate {
        key: own,
        title,
        summary,
        attempt: result.attempt,
        lease: result.lease,
        changes: result.changes,
        base: result.base,
        built_on: result.built_on.iter().map(key).collect::<Result<_>>()?,
    })
}

fn to_check(sql: &Connection, plan: PlanId, task: TaskIx, changes: Option<Digest>) -> Result<TaskToCheck> {
    let (claim, output_json) = claim(sql, plan, task)?;
    Ok(TaskToCheck { spec: task_spec(sql, plan, task)?, claim, output_json, changes })
}

/// By whose word the wave's candidate is published.
fn approval(sql: &Connection, plan: PlanId, wave: WaveIx) -> Result<String> {
    let statement = include_str!("verdict/select_approval.sql");
    let found = all(sql, statement, [plan.0, i64::from(wave.0)], |row| {
        let (judge, note): (String, String) = (get(row, "judge")?, get(row, "note")?);
        let source = word(row, "source", VerdictSource::from_word)?;
        Ok(approval_words(source, number(row, "round")?, &judge, &note))
    })?;
    one(found, "approval")
}

/// What the tasks of a wave gave.
fn outputs(sql: &Connection, plan: PlanId, wave: WaveIx) -> Result<Vec<TaskOutput>> {
    let statement =
        "SELECT ix FROM wg_tasks WHERE plan_id = ?1 AND wave_ix = ?2 AND state = 'submitted' ORDER BY ix";
    let tasks = all(sql, statement, [plan.0, i64::from(wave.0)], |row| Ok(TaskIx(number(row, "ix")?)))?;
    tasks.into_iter().map(|task| output(sql, plan, task)).collect()
}

/// What the newest accepted result of a task says of itself.
fn claim(sql: &Connection, plan: PlanId, task: TaskIx) -> Result<(String, String)> {
    let statement = include_str!("result/select_claim.sql");
    let claims = all(sql, statement, [plan.0, i64::from(task.0)], |row| {
        Ok((get(row, "summary")?, get(row, "output_json")?))
    })?;
    Ok(claims.into_iter().next().unwrap_or_default())
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
