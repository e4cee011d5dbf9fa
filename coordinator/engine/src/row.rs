//! What is kept of each thing: the durable state, one row type a table. Everything that the engine
//! knows, but for who is connected and when they were last heard, can be rebuilt from these.

use crate::{
    ids::{Digest, LeaseId, PlanId, TaskIx, Utc, WaveIx, WorkerId},
    spec::{Budget, PlanShape},
    state::{LeaseState, Mode, PlanState, TaskState, Tier, WaveState},
    words::words,
};

/// A plan's durable state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRow {
    pub state: PlanState,
    /// Absent until a person chose one at approval.
    pub mode: Option<Mode>,
    pub tier: Option<Tier>,
    /// Workspace dir: the tree as last published; absent for an empty one.
    pub tree: Option<Digest>,
    pub spent: Usage,
    pub budget: Budget,
    pub approved: Option<Utc>,
    pub ended: Option<Utc>,
}

/// A wave's durable state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaveRow {
    pub state: WaveState,
    /// From 1; one more each time work is sent back.
    pub round: u32,
    /// The integrated state that is, or was last, judged.
    pub candidate: Option<Digest>,
    /// Workspace dir: the plan's tree that the candidate was built on; absent for an empty one.
    pub target: Option<Digest>,
    /// How often the target had moved when an approved candidate was to be published.
    pub target_moves: u32,
    /// Integrate and publish leases of this round that failed.
    pub integrate_failures: u32,
    /// Validate leases of this round that were lost, failed or answered nonsense.
    pub validate_failures: u32,
}

/// A task's durable state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRow {
    pub state: TaskState,
    /// The number of the newest attempt; 0 before the first.
    pub attempt: u32,
    pub failures: u32,
    pub losses: u32,
    pub rejections: u32,
    /// Challenged: the next attempt gives evidence only, its changes are not taken.
    pub evidence_only: bool,
    /// The newest accepted successful result.
    pub result: Option<TaskResult>,
}

/// Where a task's newest accepted result is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskResult {
    pub lease: LeaseId,
    pub attempt: u32,
    /// Who did the work: Thor is somebody else, if somebody else can.
    pub worker: WorkerId,
    /// Workspace dir: what it changed; absent when nothing.
    pub changes: Option<Digest>,
    /// Workspace dir: the plan's tree that it started from; absent for an empty one.
    pub base: Option<Digest>,
}

/// A lease's durable state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    pub id: LeaseId,
    pub state: LeaseState,
    pub plan: PlanId,
    pub wave: WaveIx,
    pub work: LeaseWork,
    /// The wave's round when it was granted.
    pub round: u32,
    pub worker: WorkerId,
    /// Workspace dir: the plan's tree that the work starts from; absent for an empty one.
    pub base: Option<Digest>,
    pub lost_after_ms: u64,
    pub granted: Utc,
    pub started: Option<Utc>,
    pub ended: Option<Utc>,
    /// The last progress that its worker told.
    pub progress: Usage,
}

/// What a lease is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseWork {
    Task { task: TaskIx, attempt: u32 },
    Integrate,
    Validate { candidate: Digest },
}

words! {
    /// A lease's kind, as tables and listings name it.
    pub enum LeaseKind {
        Task = "task",
        Integrate = "integrate",
        Validate = "validate",
    }
}

impl LeaseWork {
    /// The lease's kind.
    #[must_use]
    pub const fn kind(self) -> LeaseKind {
        match self {
            Self::Task { .. } => LeaseKind::Task,
            Self::Integrate => LeaseKind::Integrate,
            Self::Validate { .. } => LeaseKind::Validate,
        }
    }
}

/// Tokens and cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub tokens_cached: u64,
    /// Millionths of a US dollar; absent when unknown.
    pub cost_micro_usd: Option<u64>,
}

impl Usage {
    /// Both together; a known cost and an unknown one make the known one.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tokens_in: self.tokens_in.saturating_add(other.tokens_in),
            tokens_out: self.tokens_out.saturating_add(other.tokens_out),
            tokens_cached: self.tokens_cached.saturating_add(other.tokens_cached),
            cost_micro_usd: match (self.cost_micro_usd, other.cost_micro_usd) {
                (None, None) => None,
                (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
            },
        }
    }

    /// This without the other; never below nothing.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self {
            tokens_in: self.tokens_in.saturating_sub(other.tokens_in),
            tokens_out: self.tokens_out.saturating_sub(other.tokens_out),
            tokens_cached: self.tokens_cached.saturating_sub(other.tokens_cached),
            cost_micro_usd: self
                .cost_micro_usd
                .map(|cost| cost.saturating_sub(other.cost_micro_usd.unwrap_or(0))),
        }
    }

    /// What counts to a token budget: in and out; cached tokens are part of neither.
    #[must_use]
    pub const fn tokens(self) -> u64 {
        self.tokens_in.saturating_add(self.tokens_out)
    }
}

words! {
    /// How the work of a lease ended, by its worker's word.
    pub enum Outcome {
        Succeeded = "succeeded",
        Failed = "failed",
        TimedOut = "timed_out",
        /// `skip_if` held.
        Skipped = "skipped",
        /// Integration: results change the same path differently.
        Conflict = "conflict",
    }
}

/// The result of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub outcome: Outcome,
    pub exit_code: Option<i32>,
    /// One line for people.
    pub summary: String,
    /// At most 4 KiB.
    pub output_tail: String,
    /// The work alone, without queueing and upload.
    pub run_ms: u64,
    pub usage: Usage,
    /// JSON, or empty.
    pub output_json: String,
    pub changes: Option<Digest>,
    pub changed_files: u32,
    /// Integrate: the candidate's tree; absent for an empty one.
    pub candidate: Option<Digest>,
    /// Integrate: for each task that must go back, what it conflicts with.
    pub conflicts: Vec<Finding>,
    pub verdict: Option<Verdict>,
}

words! {
    /// Thor's word on a candidate.
    pub enum Decision {
        Approved = "approved",
        Rejected = "rejected",
        Challenged = "challenged",
        Escalated = "escalated",
    }
}

/// Thor's word with its grounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub decision: Decision,
    pub findings: Vec<Finding>,
    pub evidence: Vec<Evidence>,
}

/// What is wrong, by the key of the task; an empty key means the whole wave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub task: String,
    pub text: String,
}

/// One command that Thor ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Empty for a command of the wave.
    pub task: String,
    pub command: String,
    /// Absent when a signal or the timeout ended it.
    pub exit_code: Option<i32>,
    pub timed_out: bool,
    pub output_tail: String,
    pub run_ms: u64,
}

/// A worker, as last heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRow {
    pub id: WorkerId,
    /// Random for each start of its process.
    pub instance: String,
    pub name: String,
    pub host: String,
    pub version: String,
    pub roles: Vec<Role>,
    pub runners: Vec<Runner>,
    pub labels: Vec<String>,
    /// Absent: no limit.
    pub slots: Option<u32>,
    /// An operator's or its own wish to be given nothing new.
    pub draining: bool,
    pub first_seen: Utc,
    pub last_seen: Utc,
}

words! {
    /// What a worker may be leased.
    pub enum Role {
        /// Task and integrate leases.
        Executor = "executor",
        /// Validate leases.
        Thor = "thor",
        /// Coordinate leases.
        Coordinator = "coordinator",
    }
}

/// A way to run tasks that a worker has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    pub name: String,
    pub version: String,
    /// A fingerprint; empty where there is none.
    pub account: String,
}

/// A lease that the engine no longer keeps, as the store remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastLease {
    pub state: LeaseState,
    pub worker: WorkerId,
    /// Whether a result of it was accepted.
    pub accepted: bool,
}

/// An unfinished plan as stored, from which the engine goes on after a restart.
#[derive(Debug, Clone)]
pub struct PlanSnapshot {
    pub shape: PlanShape,
    pub row: PlanRow,
    pub waves: Vec<WaveRow>,
    pub tasks: Vec<TaskRow>,
    /// Every lease that is open, and each task's newest lost one.
    pub leases: Vec<LeaseRow>,
    /// The text in `plans.parallel_mode`.
    pub requested_mode: Option<String>,
}
