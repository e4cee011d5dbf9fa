//! Plans, for listings and reports.

use wavegate_engine::{
    CostSource, Decision, LeaseState, Mode, PauseReason, PlanState, TaskBlock, TaskState, VerdictSource,
    WaveBlock, WaveState,
    estimate::Estimates,
    spec::{PlanSpec, ThorKind},
};
use wavegate_proto::v1;

use super::{
    FieldError, mode_into_proto,
    session::{attempt_of, purpose_into_proto, repository_into_proto, workspace_into_proto},
    text_of, tier_into_proto, usage_into_proto, verdict_into_proto,
    worker::{kind_into_proto, lease_state_into_proto},
    wrong,
};
use crate::{
    driver::{Holds, approval_words},
    planfile,
    prices::Prices,
    store::reader::{
        CounselDetail, EventRecord, LeaseDetail, LedgerLine, PlanDetail, PlanSummary, TaskDetail,
        VerdictDetail, WaveDetail,
    },
};

pub(crate) fn mode_from_proto(mode: v1::Mode) -> Option<Mode> {
    match mode {
        v1::Mode::Unspecified => None,
        v1::Mode::Standard => Some(Mode::Standard),
        v1::Mode::Max => Some(Mode::Max),
    }
}

/// The reading of a plan file, as it is told on the wire.
#[must_use]
pub fn diagnostics_of(reading: &planfile::Reading) -> Vec<v1::Diagnostic> {
    let told = reading.diagnostics.iter().map(|found| v1::Diagnostic {
        severity: match found.severity {
            planfile::Severity::Error => v1::Severity::Error,
            planfile::Severity::Warning => v1::Severity::Warning,
        }
        .into(),
        file: found.file.clone(),
        line: found.line,
        column: found.column,
        message: found.message.clone(),
    });
    told.collect()
}

/// What a sound plan file holds.
#[must_use]
pub fn outline_into_proto(spec: &PlanSpec, prices: &Prices) -> v1::PlanOutline {
    let estimates = wavegate_engine::estimate::estimates(spec, &prices.blended());
    v1::PlanOutline {
        name: spec.name.clone(),
        waves: count(spec.waves.len()),
        tasks: count(spec.waves.iter().map(|wave| wave.tasks.len()).sum()),
        estimates: Some(estimates_into_proto(&estimates, prices.blended_date())),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Times of agents are not known: they are left out.
pub(crate) fn estimates_into_proto(estimates: &Estimates, prices_date: String) -> v1::Estimates {
    let estimate = |mode: v1::Mode, tokens, cost_micro_usd| v1::Estimate {
        mode: mode.into(),
        tokens,
        cost_micro_usd,
        wall_ms: None,
    };
    let (standard, max) = (estimates.standard_micro_usd, estimates.max_micro_usd);
    let is_priced = estimates.agent_tasks > 0 && standard.or(max).is_some();
    v1::Estimates {
        standard: Some(estimate(v1::Mode::Standard, estimates.standard_tokens, standard)),
        max: Some(estimate(v1::Mode::Max, estimates.max_tokens, max)),
        agent_tasks: estimates.agent_tasks,
        advice: estimates.advice.clone().unwrap_or_default(),
        prices_date: if is_priced { prices_date } else { String::new() },
    }
}

pub(crate) fn summary_into_proto(summary: &PlanSummary) -> v1::PlanSummary {
    let state = match summary.row.state {
        PlanState::AwaitingApproval => v1::PlanState::AwaitingApproval,
        PlanState::Running => v1::PlanState::Running,
        PlanState::Paused(_) => v1::PlanState::Paused,
        PlanState::Done => v1::PlanState::Done,
        PlanState::Blocked(_) => v1::PlanState::Blocked,
        PlanState::Cancelled => v1::PlanState::Cancelled,
    };
    v1::PlanSummary {
        id: summary.id.0,
        name: summary.name.clone(),
        state: state.into(),
        reason: plan_reason(summary.row.state, &summary.pause_text),
        mode: mode_into_proto(summary.row.mode).into(),
        tier: tier_into_proto(summary.row.tier).into(),
        waves: summary.waves,
        waves_done: summary.waves_done,
        tasks: summary.tasks,
        tasks_done: summary.tasks_done,
        tasks_running: summary.tasks_running,
        created_ms: summary.created.0,
        approved_ms: summary.row.approved.map_or(0, |time| time.0),
        ended_ms: summary.row.ended.map_or(0, |time| time.0),
        usage: Some(usage_into_proto(summary.usage)),
        budget_tokens: summary.row.budget.tokens,
        budget_micro_usd: summary.row.budget.micro_usd,
        has_unknown_cost: summary.has_unknown_cost,
    }
}

/// Why it is paused or blocked, in words: those of the decision, where it had any.
fn plan_reason(state: PlanState, pause_text: &str) -> String {
    match (state, pause_text) {
        (state, "") => reason_words(state).to_owned(),
        (PlanState::Paused(PauseReason::Operator), note) => format!("by an operator: {note}"),
        (PlanState::Paused(_), text) => text.to_owned(),
        (state, _) => reason_words(state).to_owned(),
    }
}

fn reason_words(state: PlanState) -> &'static str {
    match state {
        PlanState::Paused(PauseReason::Operator) => "by an operator",
        PlanState::Paused(PauseReason::Budget) => "a budget is used up",
        PlanState::Paused(PauseReason::NoWorker) => "no worker can do what waits; goes on when one comes",
        PlanState::Paused(PauseReason::Integration) => "integrating failed three times",
        PlanState::Paused(PauseReason::TargetMoved) => "the plan's tree moved five times under a wave",
        PlanState::Paused(PauseReason::Validation) => "Thor gave no verdict three times",
        PlanState::Paused(PauseReason::Coordination) => "the coordinator's model gave no counsel",
        PlanState::Paused(PauseReason::Tier) => "another model than the tier's answered for the coordinator",
        PlanState::Paused(PauseReason::Store) => "the database refuses a change of this plan",
        PlanState::Paused(PauseReason::Restored) => {
            "the database is an older copy: what happened after it was made is not in it"
        }
        PlanState::Blocked(reason) => wave_reason(reason),
        PlanState::AwaitingApproval | PlanState::Running | PlanState::Done | PlanState::Cancelled => "",
    }
}

fn wave_reason(reason: WaveBlock) -> &'static str {
    match reason {
        WaveBlock::Tasks => "a task is blocked and nothing else of its wave can run",
        WaveBlock::Escalated => "Thor's rejections need a person's decision",
    }
}

fn task_reason(reason: TaskBlock) -> &'static str {
    match reason {
        TaskBlock::Failures => "failed too often",
        TaskBlock::Lost => "its worker vanished",
        TaskBlock::Held => "its worker vanished; a person decides whether it may run again (on_lost: hold)",
        TaskBlock::Rejections => "rejected by Thor; a person decides",
    }
}

pub(crate) fn plan_into_proto(plan: PlanDetail, holds: &Holds, estimates: v1::Estimates) -> v1::Plan {
    v1::Plan {
        summary: Some(summary_into_proto(&plan.summary)),
        workspace: workspace_into_proto(plan.head.project.workspace).into(),
        tree: text_of(plan.summary.row.tree),
        external_thor: plan.head.thor == ThorKind::External,
        source: plan.source.clone(),
        estimates: Some(estimates),
        repository: repository_into_proto(&plan.head.project),
        base_tree: text_of(plan.base),
        waves: waves_into_proto(plan, holds),
    }
}

pub(crate) fn waves_into_proto(plan: PlanDetail, holds: &Holds) -> Vec<v1::Wave> {
    let wave_keys: Vec<_> = plan.waves.iter().map(|wave| wave.spec.key.clone()).collect();
    let task_keys: Vec<_> =
        plan.waves.iter().flat_map(|wave| &wave.tasks).map(|task| task.spec.key.clone()).collect();
    let waves = plan.waves.into_iter().zip(0..);
    waves.map(|(wave, ix)| wave_into_proto(wave, ix, holds, &wave_keys, &task_keys)).collect()
}

fn wave_into_proto(
    wave: WaveDetail,
    ix: u32,
    holds: &Holds,
    wave_keys: &[String],
    task_keys: &[String],
) -> v1::Wave {
    let state = match wave.row.state {
        WaveState::Waiting => v1::WaveState::Waiting,
        WaveState::Running => v1::WaveState::Running,
        WaveState::Integrating => v1::WaveState::Integrating,
        WaveState::Validating => v1::WaveState::Validating,
        WaveState::Publishing => v1::WaveState::Publishing,
        WaveState::Done => v1::WaveState::Done,
        WaveState::Blocked(_) => v1::WaveState::Blocked,
        WaveState::Cancelled => v1::WaveState::Cancelled,
    };
    let reason = match wave.row.state {
        WaveState::Blocked(reason) => wave_reason(reason).to_owned(),
        WaveState::Waiting
        | WaveState::Running
        | WaveState::Integrating
        | WaveState::Validating
        | WaveState::Publishing
        | WaveState::Done
        | WaveState::Cancelled => holds.waves.get(&wavegate_engine::WaveIx(ix)).cloned().unwrap_or_default(),
    };
    let verdict = wave.verdicts.iter().rev().find(|it| it.verdict.decision == Decision::Approved);
    let verdict = verdict.map(|it| approval_words(it.source, it.round, &it.by, &it.note)).unwrap_or_default();
    let commits = wave.commits.into_iter().map(|commit| v1::PublishedCommit {
        task: commit.task,
        commit: commit.commit,
        subject: commit.subject,
        branch: commit.branch,
        request: commit.request,
        verdict: verdict.clone(),
        at_ms: commit.at.0,
    });
    v1::Wave {
        commits: commits.collect(),
        key: wave.spec.key,
        name: wave.spec.name,
        state: state.into(),
        reason,
        round: wave.row.round,
        depends_on: wave
            .spec
            .depends_on
            .iter()
            .filter_map(|wave| wave_keys.get(wave.at()).cloned())
            .collect(),
        tasks: wave.tasks.into_iter().map(|task| task_into_proto(task, holds, task_keys)).collect(),
        candidate: text_of(wave.row.candidate),
        verdicts: wave.verdicts.into_iter().map(recorded_into_proto).collect(),
        counsels: wave.counsels.into_iter().map(counsel_into_proto).collect(),
    }
}

fn counsel_into_proto(detail: CounselDetail) -> v1::RecordedCounsel {
    let tasks = detail.counsel.tasks.into_iter();
    v1::RecordedCounsel {
        purpose: purpose_into_proto(detail.purpose).into(),
        round: detail.round,
        counsel: Some(v1::Counsel {
            note: detail.counsel.note,
            tasks: tasks.map(|it| v1::TaskCounsel { key: it.task, guidance: it.text }).collect(),
        }),
        model: detail.model,
        worker: detail.worker_name,
        usage: Some(usage_into_proto(detail.usage)),
        at_ms: detail.at.0,
    }
}

/// One line of the ledger.
pub(crate) fn ledger_into_proto(line: LedgerLine) -> v1::LedgerLine {
    let usage = line.usage;
    let source = match usage.cost_source {
        CostSource::Unknown => v1::CostSource::Unknown,
        CostSource::Agent => v1::CostSource::Agent,
        CostSource::Prices => v1::CostSource::Prices,
    };
    v1::LedgerLine {
        lease_id: line.lease,
        kind: kind_into_proto(line.kind).into(),
        wave: line.wave,
        task: line.task,
        attempt: line.attempt,
        runner: line.runner,
        account: line.account,
        usage: Some(v1::ModelUsage {
            model: usage.model,
            tokens_in: usage.tokens_in,
            tokens_out: usage.tokens_out,
            cache_read: usage.cache_read,
            cache_write: usage.cache_write,
            cost_micro_usd: usage.cost_micro_usd,
            calls: usage.calls,
        }),
        cost_source: source.into(),
        price_date: usage.price_date,
        worker: line.worker_name,
    }
}

fn recorded_into_proto(verdict: VerdictDetail) -> v1::RecordedVerdict {
    v1::RecordedVerdict {
        round: verdict.round,
        candidate: text_of(verdict.candidate),
        verdict: Some(verdict_into_proto(verdict.verdict)),
        by: verdict.by,
        note: verdict.note,
        at_ms: verdict.at.0,
        is_override: verdict.source == VerdictSource::Override,
    }
}

fn task_into_proto(task: TaskDetail, holds: &Holds, task_keys: &[String]) -> v1::Task {
    let (state, reason) = match task.row.state {
        TaskState::Pending { .. } => {
            (v1::TaskState::Pending, holds.tasks.get(&task.ix).cloned().unwrap_or_default())
        }
        TaskState::Leased => (v1::TaskState::Leased, String::new()),
        TaskState::Submitted => (v1::TaskState::Submitted, String::new()),
        TaskState::Done => (v1::TaskState::Done, String::new()),
        TaskState::Blocked(reason) => (v1::TaskState::Blocked, task_reason(reason).to_owned()),
        TaskState::Skipped => (v1::TaskState::Skipped, String::new()),
        TaskState::Cancelled => (v1::TaskState::Cancelled, String::new()),
    };
    let open = task.attempts.iter().rev().find(|attempt| attempt.lease.state.is_open());
    let lease_state =
        open.map_or(v1::LeaseState::Unspecified, |open| lease_state_into_proto(open.lease.state));
    let (routing, model) = if task.spec.is_agent() {
        let route = task.spec.route();
        (route.rerouted.unwrap_or_default(), route.model)
    } else {
        (String::new(), String::new())
    };
    v1::Task {
        routing,
        result: text_of(task.row.result.as_ref().and_then(|result| result.changes)),
        result_base: text_of(task.row.result.as_ref().and_then(|result| result.base)),
        usage: Some(usage_into_proto(task.row.spent)),
        budget_tokens: task.row.budget.tokens,
        budget_micro_usd: task.row.budget.micro_usd,
        state: state.into(),
        reason,
        attempt: task.row.attempt,
        failures: task.row.failures,
        losses: task.row.losses,
        rejections: task.row.rejections,
        runner: task.spec.runner,
        model,
        priority: u32::from(task.spec.priority),
        depends_on: task
            .spec
            .depends_on
            .iter()
            .filter_map(|task| task_keys.get(task.at()).cloned())
            .collect(),
        lease_id: open.map(|open| open.lease.id.to_string()).unwrap_or_default(),
        lease_state: lease_state.into(),
        worker: open.map(|open| open.worker_name.clone()).unwrap_or_default(),
        key: task.spec.key,
        title: task.spec.title,
        attempts: task.attempts.into_iter().map(attempt_into_proto).collect(),
    }
}

fn attempt_into_proto(attempt: LeaseDetail) -> v1::Attempt {
    let number = attempt_of(attempt.lease.work);
    let ended = match attempt.lease.state {
        LeaseState::Finished => "finished".to_owned(),
        LeaseState::Released(reason) => format!("released: {reason}"),
        LeaseState::Lost => "lost".to_owned(),
        LeaseState::Granted
        | LeaseState::Running
        | LeaseState::Cancelling
        | LeaseState::Unreachable { .. } => String::new(),
    };
    let result = attempt.result.as_ref();
    let outcome = match result {
        Some(result) if result.accepted => result.outcome.as_str().to_owned(),
        Some(result) => format!("{ended}; its result ({}) came too late", result.outcome),
        None => ended,
    };
    v1::Attempt {
        attempt: number,
        lease_id: attempt.lease.id.to_string(),
        lease_state: lease_state_into_proto(attempt.lease.state).into(),
        outcome,
        summary: result.map(|result| result.summary.clone()).unwrap_or_default(),
        exit_code: result.and_then(|result| result.exit_code),
        worker: attempt.worker_name,
        granted_ms: attempt.lease.granted.0,
        ended_ms: attempt.lease.ended.map_or(0, |time| time.0),
        run_ms: result.map_or(0, |result| result.run_ms),
        usage: Some(usage_into_proto(result.map_or(attempt.lease.progress, |result| result.usage))),
        output_tail: result.map(|result| result.output_tail.clone()).unwrap_or_default(),
        output_json: result.map(|result| result.output_json.clone()).unwrap_or_default(),
        model: result.map(|result| result.model.clone()).unwrap_or_default(),
        session: result.map(|result| result.session.clone()).unwrap_or_default(),
        account: attempt.lease.account.as_ref().map(|it| it.fingerprint.clone()).unwrap_or_default(),
        findings: result
            .map(|it| it.findings.iter().map(|text| v1::Finding { task: String::new(), text: text.clone() }))
            .into_iter()
            .flatten()
            .collect(),
    }
}

pub(crate) fn event_into_proto(event: EventRecord) -> v1::Event {
    v1::Event {
        number: event.number,
        at_ms: event.at.0,
        plan_id: event.plan.map_or(0, |plan| plan.0),
        wave: event.wave,
        task: event.task,
        lease_id: event.lease,
        worker: event.worker,
        actor: event.actor,
        kind: event.kind,
        reason: event.reason,
        text: event.text,
    }
}

/// The resolution that a request names.
pub(crate) fn resolution_from_proto(
    resolution: v1::Resolution,
) -> Result<wavegate_engine::Resolution, FieldError> {
    match resolution {
        v1::Resolution::Approve => Ok(wavegate_engine::Resolution::Approve),
        v1::Resolution::Rework => Ok(wavegate_engine::Resolution::Rework),
        v1::Resolution::Skip => Ok(wavegate_engine::Resolution::Skip),
        v1::Resolution::Cancel => Ok(wavegate_engine::Resolution::Cancel),
        v1::Resolution::Unspecified => Err(wrong("resolution", "expected approve, rework, skip or cancel")),
    }
}
