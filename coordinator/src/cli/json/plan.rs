//! A plan as JSON: alone in a list, or with its waves and tasks.

use serde::Serialize;
use wavegate_proto::v1;

use super::{CommitJson, EstimatesJson, RepositoryJson, UsageJson, agents::CounselJson, filled, passed};
use crate::cli::text;

/// A plan in a list.
#[derive(Debug, Serialize)]
pub(crate) struct SummaryJson {
    id: i64,
    name: String,
    status: String,
    /// Why it is paused or blocked.
    reason: Option<String>,
    /// Null until one is chosen.
    mode: Option<String>,
    tier: Option<String>,
    waves_total: u32,
    waves_done: u32,
    tasks_total: u32,
    tasks_done: u32,
    tasks_running: u32,
    created_at: Option<String>,
    created_ms: Option<i64>,
    approved_ms: Option<i64>,
    ended_ms: Option<i64>,
    usage: UsageJson,
    /// Some of these tokens have a cost that nobody knows: the one above is the known part.
    has_unknown_cost: bool,
    /// Null: no limit.
    budget_tokens: Option<u64>,
    budget_micro_usd: Option<u64>,
}

impl From<v1::PlanSummary> for SummaryJson {
    fn from(plan: v1::PlanSummary) -> Self {
        Self {
            id: plan.id,
            status: text::plan_state(plan.state()),
            mode: (plan.mode() != v1::Mode::Unspecified).then(|| text::mode(plan.mode())),
            tier: (plan.tier() != v1::Tier::Unspecified).then(|| text::tier(plan.tier())),
            name: plan.name,
            reason: filled(plan.reason),
            waves_total: plan.waves,
            waves_done: plan.waves_done,
            tasks_total: plan.tasks,
            tasks_done: plan.tasks_done,
            tasks_running: plan.tasks_running,
            created_at: text::instant(plan.created_ms),
            created_ms: passed(plan.created_ms),
            approved_ms: passed(plan.approved_ms),
            ended_ms: passed(plan.ended_ms),
            usage: plan.usage.unwrap_or_default().into(),
            has_unknown_cost: plan.has_unknown_cost,
            budget_tokens: plan.budget_tokens,
            budget_micro_usd: plan.budget_micro_usd,
        }
    }
}

/// A whole plan.
#[derive(Debug, Serialize)]
pub(crate) struct PlanJson {
    #[serde(flatten)]
    summary: SummaryJson,
    workspace: String,
    /// The digest of the plan's tree as last published.
    tree: Option<String>,
    /// Workspace git.
    repository: Option<RepositoryJson>,
    estimates: Option<EstimatesJson>,
    waves: Vec<WaveJson>,
}

impl From<v1::Plan> for PlanJson {
    fn from(plan: v1::Plan) -> Self {
        Self {
            workspace: text::workspace(plan.workspace()),
            summary: plan.summary.unwrap_or_default().into(),
            tree: filled(plan.tree),
            repository: plan.repository.map(Into::into),
            estimates: plan.estimates.map(Into::into),
            waves: plan.waves.into_iter().map(Into::into).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct WaveJson {
    /// The wave's key, for example W1.
    id: String,
    name: String,
    status: String,
    reason: Option<String>,
    round: u32,
    depends_on: Vec<String>,
    candidate: Option<String>,
    tasks: Vec<TaskJson>,
    verdicts: Vec<VerdictJson>,
    counsels: Vec<CounselJson>,
    /// Workspace git: what was published of it, in order.
    commits: Vec<CommitJson>,
}

impl From<v1::Wave> for WaveJson {
    fn from(wave: v1::Wave) -> Self {
        Self {
            status: text::wave_state(wave.state()),
            id: wave.key,
            name: wave.name,
            reason: filled(wave.reason),
            round: wave.round,
            depends_on: wave.depends_on,
            candidate: filled(wave.candidate),
            tasks: wave.tasks.into_iter().map(Into::into).collect(),
            verdicts: wave.verdicts.into_iter().map(Into::into).collect(),
            counsels: wave.counsels.into_iter().map(Into::into).collect(),
            commits: wave.commits.into_iter().map(Into::into).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct TaskJson {
    /// The task's key, for example T1-01.
    id: String,
    title: String,
    status: String,
    /// Why it waits or is blocked.
    reason: Option<String>,
    attempt: u32,
    failures: u32,
    losses: u32,
    rejections: u32,
    runner: String,
    model: Option<String>,
    /// Why it runs on another model than the file says, if so.
    routing: Option<String>,
    usage: UsageJson,
    budget_tokens: Option<u64>,
    budget_micro_usd: Option<u64>,
    priority: u32,
    depends_on: Vec<String>,
    /// The lease that is live or uncertain.
    lease: Option<LeaseJson>,
    worker: Option<String>,
    /// The digest of its newest accepted result; null when there is none, or it changed nothing.
    result: Option<String>,
    attempts: Vec<AttemptJson>,
}

#[derive(Debug, Serialize)]
struct LeaseJson {
    id: String,
    status: String,
}

impl From<v1::Task> for TaskJson {
    fn from(task: v1::Task) -> Self {
        let lease_status = text::lease_state(task.lease_state());
        Self {
            status: text::task_state(task.state()),
            id: task.key,
            title: task.title,
            reason: filled(task.reason),
            attempt: task.attempt,
            failures: task.failures,
            losses: task.losses,
            rejections: task.rejections,
            runner: task.runner,
            model: filled(task.model),
            routing: filled(task.routing),
            usage: task.usage.unwrap_or_default().into(),
            budget_tokens: task.budget_tokens,
            budget_micro_usd: task.budget_micro_usd,
            priority: task.priority,
            depends_on: task.depends_on,
            lease: filled(task.lease_id).map(|id| LeaseJson { id, status: lease_status }),
            worker: filled(task.worker),
            result: filled(task.result),
            attempts: task.attempts.into_iter().map(Into::into).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct AttemptJson {
    attempt: u32,
    lease: String,
    status: String,
    /// How it ended; null while it runs.
    outcome: Option<String>,
    summary: Option<String>,
    exit_code: Option<i32>,
    worker: Option<String>,
    /// The model that answered, the agent's session and its account.
    model: Option<String>,
    session: Option<String>,
    account: Option<String>,
    /// What the agent was denied.
    denied: Vec<String>,
    granted_ms: Option<i64>,
    ended_ms: Option<i64>,
    run_ms: u64,
    usage: UsageJson,
    output_tail: Option<String>,
    /// What the task wrote to $WAVEGATE_RESULT: parsed where it is JSON, else as text.
    output: Option<serde_json::Value>,
}

impl From<v1::Attempt> for AttemptJson {
    fn from(attempt: v1::Attempt) -> Self {
        Self {
            status: text::lease_state(attempt.lease_state()),
            attempt: attempt.attempt,
            lease: attempt.lease_id,
            outcome: filled(attempt.outcome),
            summary: filled(attempt.summary),
            exit_code: attempt.exit_code,
            worker: filled(attempt.worker),
            model: filled(attempt.model),
            session: filled(attempt.session),
            account: filled(attempt.account),
            denied: attempt.findings.into_iter().map(|finding| finding.text).collect(),
            granted_ms: passed(attempt.granted_ms),
            ended_ms: passed(attempt.ended_ms),
            run_ms: attempt.run_ms,
            usage: attempt.usage.unwrap_or_default().into(),
            output_tail: filled(attempt.output_tail),
            output: filled(attempt.output_json)
                .map(|text| serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text))),
        }
    }
}

#[derive(Debug, Serialize)]
struct VerdictJson {
    round: u32,
    candidate: String,
    decision: String,
    by: String,
    note: Option<String>,
    at_ms: Option<i64>,
    #[serde(rename = "override")]
    is_override: bool,
    findings: Vec<FindingJson>,
    evidence: Vec<EvidenceJson>,
    /// What an agent that judged says of each gate.
    gates: Vec<GateJson>,
}

#[derive(Debug, Serialize)]
struct GateJson {
    name: String,
    passed: bool,
    notes: String,
}

#[derive(Debug, Serialize)]
struct FindingJson {
    /// Null when the whole wave is meant.
    task: Option<String>,
    text: String,
}

#[derive(Debug, Serialize)]
struct EvidenceJson {
    /// Null for a command of the wave itself.
    task: Option<String>,
    command: String,
    exit_code: Option<i32>,
    timed_out: bool,
    output_tail: String,
    run_ms: u64,
}

impl From<v1::RecordedVerdict> for VerdictJson {
    fn from(recorded: v1::RecordedVerdict) -> Self {
        let verdict = recorded.verdict.unwrap_or_default();
        Self {
            round: recorded.round,
            candidate: recorded.candidate,
            decision: text::decision(verdict.decision()),
            by: recorded.by,
            note: filled(recorded.note),
            at_ms: passed(recorded.at_ms),
            is_override: recorded.is_override,
            findings: verdict.findings.into_iter().map(Into::into).collect(),
            evidence: verdict.evidence.into_iter().map(Into::into).collect(),
            gates: verdict
                .gates
                .into_iter()
                .map(|gate| GateJson { name: gate.name, passed: gate.passed, notes: gate.notes })
                .collect(),
        }
    }
}

impl From<v1::Finding> for FindingJson {
    fn from(finding: v1::Finding) -> Self {
        Self { task: filled(finding.task), text: finding.text }
    }
}

impl From<v1::Evidence> for EvidenceJson {
    fn from(evidence: v1::Evidence) -> Self {
        Self {
            task: filled(evidence.task),
            command: evidence.command,
            exit_code: evidence.exit_code,
            timed_out: evidence.timed_out,
            output_tail: evidence.output_tail,
            run_ms: evidence.run_ms,
        }
    }
}
