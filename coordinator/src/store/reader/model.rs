//! What is read for people and tools, in the engine's words.

use wavegate_engine::{
    Counsel, Digest, LeaseKind, LeaseRow, ModelUsage, Outcome, PlanId, PlanRow, Purpose, TaskIx, TaskRow,
    Usage, Utc, Verdict, VerdictSource, WaveRow, WorkerRow,
    estimate::KeptEstimates,
    spec::{PlanSpec, TaskSpec, WaveSpec},
};

/// A plan in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanSummary {
    pub id: PlanId,
    pub name: String,
    pub row: PlanRow,
    pub waves: u32,
    pub waves_done: u32,
    pub tasks: u32,
    /// Done or skipped.
    pub tasks_done: u32,
    pub tasks_running: u32,
    pub created: Utc,
    /// Of all results, accepted or booked only.
    pub usage: Usage,
    /// Some of those tokens have a cost that nobody knows.
    pub has_unknown_cost: bool,
    /// What the newest pause said, while it is paused.
    pub pause_text: String,
    /// What was estimated at approval.
    pub estimates: Option<KeptEstimates>,
}

/// One plan in full.
#[derive(Debug, Clone)]
pub struct PlanDetail {
    pub summary: PlanSummary,
    /// The file as it was submitted.
    pub source: String,
    /// What it started from.
    pub base: Option<Digest>,
    /// The plan without its waves.
    pub head: PlanSpec,
    pub waves: Vec<WaveDetail>,
}

/// One wave.
#[derive(Debug, Clone)]
pub struct WaveDetail {
    /// The wave without its tasks.
    pub spec: WaveSpec,
    pub row: WaveRow,
    pub tasks: Vec<TaskDetail>,
    pub verdicts: Vec<VerdictDetail>,
    /// Its integrate, validate, coordinate and publish leases, oldest first.
    pub duties: Vec<LeaseDetail>,
    /// Oldest first.
    pub counsels: Vec<CounselDetail>,
    /// What of it reached a repository, in order.
    pub commits: Vec<CommitDetail>,
}

/// One task's work in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitDetail {
    /// The task's key.
    pub task: String,
    pub commit: String,
    pub subject: String,
    /// Empty where no branch was moved.
    pub branch: String,
    /// Empty where no request was opened.
    pub request: String,
    pub at: Utc,
}

/// One task.
#[derive(Debug, Clone)]
pub struct TaskDetail {
    pub ix: TaskIx,
    pub spec: TaskSpec,
    pub row: TaskRow,
    /// Oldest first.
    pub attempts: Vec<LeaseDetail>,
}

/// A lease with its result.
#[derive(Debug, Clone)]
pub struct LeaseDetail {
    pub lease: LeaseRow,
    pub worker_name: String,
    pub result: Option<ResultDetail>,
}

/// The result of a lease.
#[derive(Debug, Clone)]
pub struct ResultDetail {
    pub outcome: Outcome,
    pub accepted: bool,
    pub exit_code: Option<i32>,
    pub summary: String,
    pub output_tail: String,
    pub output_json: String,
    pub run_ms: u64,
    pub usage: Usage,
    /// The model that answered, and the agent's session; empty where there was none.
    pub model: String,
    pub session: String,
    /// What the agent was denied.
    pub findings: Vec<String>,
}

/// One line of the ledger.
#[derive(Debug, Clone)]
pub struct LedgerLine {
    pub lease: String,
    pub kind: LeaseKind,
    pub wave: String,
    /// Empty unless the kind is task.
    pub task: String,
    pub attempt: u32,
    pub runner: String,
    pub account: String,
    pub worker_name: String,
    pub usage: ModelUsage,
}

/// What the coordinator's model said.
#[derive(Debug, Clone)]
pub struct CounselDetail {
    pub purpose: Purpose,
    pub round: u32,
    pub counsel: Counsel,
    pub model: String,
    pub worker_name: String,
    pub usage: Usage,
    pub at: Utc,
}

/// A recorded word on a candidate.
#[derive(Debug, Clone)]
pub struct VerdictDetail {
    pub id: i64,
    pub round: u32,
    pub candidate: Option<Digest>,
    pub source: VerdictSource,
    pub verdict: Verdict,
    pub by: String,
    pub note: String,
    pub at: Utc,
}

/// A recorded decision, with names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    pub number: i64,
    pub at: Utc,
    pub plan: Option<PlanId>,
    pub wave: String,
    pub task: String,
    pub lease: String,
    pub worker: String,
    pub actor: String,
    pub kind: String,
    pub reason: String,
    pub text: String,
}

/// A worker and what it may be working on.
#[derive(Debug, Clone)]
pub struct WorkerDetail {
    pub row: WorkerRow,
    pub leases: Vec<OpenLease>,
}

/// An open lease with names.
#[derive(Debug, Clone)]
pub struct OpenLease {
    pub lease: LeaseRow,
    pub plan_name: String,
    pub wave: String,
    /// Empty unless it is a task's.
    pub task: String,
}

/// A task's lease with the task's key.
#[derive(Debug, Clone)]
pub struct TaskLease {
    pub task: String,
    pub lease: LeaseRow,
}
