//! What can happen to the engine, and how it says no. Owns the types only. Every field comes from a
//! person, a peer, the store or the clock, so none is taken for granted.

use std::sync::Arc;

use crate::{
    account::Account,
    config::ConfigError,
    estimate::KeptEstimates,
    ids::{Digest, LeaseId, PlanId, SessionId, WorkerId},
    row::{ModelUsage, PastLease, Report, Role, Runner, Usage, Verdict},
    spec::{Budget, PlanShape},
    state::{Mode, ReleaseReason},
    words::words,
};

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A staged plan is whole.
    Submit {
        /// Shared: a copy of a hundred thousand tasks takes its time.
        shape: Arc<PlanShape>,
        by: String,
    },
    Approve {
        plan: PlanId,
        mode: Option<Mode>,
        by: String,
        /// What the person was told that it would take; kept with the plan.
        estimates: Option<Box<KeptEstimates>>,
    },
    SetMode {
        plan: PlanId,
        mode: Mode,
        by: String,
    },
    /// `plans.parallel_mode` was changed by somebody else; absent for NULL.
    ModeRequested {
        plan: PlanId,
        text: Option<String>,
    },
    Pause {
        plan: PlanId,
        by: String,
        note: String,
    },
    /// The store refused what a decision about this plan would have written.
    PausePoisoned {
        plan: PlanId,
        error: String,
    },
    /// The database proved to be an older copy of itself. `evidence` names what proves it, so that it counts once.
    Restored {
        evidence: String,
        why: String,
    },
    Resume {
        plan: PlanId,
        by: String,
        /// The key of the task whose budget grows; the plan's does without one.
        task: Option<String>,
        add: Budget,
    },
    Cancel {
        plan: PlanId,
        by: String,
        note: String,
    },
    /// An embedded run serves the plan from now on, whatever its state.
    Serve {
        plan: PlanId,
    },
    Retry {
        plan: PlanId,
        task: String,
        by: String,
    },
    Resolve {
        plan: PlanId,
        resolve: Resolve,
    },
    ExternalVerdict {
        plan: PlanId,
        wave: String,
        round: u32,
        candidate: Digest,
        verdict: Verdict,
        by: String,
    },
    DrainWorker {
        worker: WorkerId,
        by: String,
    },
    ForgetWorker {
        worker: WorkerId,
        by: String,
    },
    /// Somebody says that an account can be used again.
    ClearAccount {
        account: Account,
        by: String,
    },
    /// A message of an open session, or its end.
    Session {
        session: SessionId,
        event: SessionEvent,
    },
    /// Time passed: the deadlines that are due.
    Tick,
}

/// A person's recorded word on a blocked wave.
#[derive(Debug, Clone)]
pub struct Resolve {
    /// Its key; empty when exactly one wave is blocked.
    pub wave: String,
    pub resolution: Resolution,
    /// Keys; empty for all that block the wave.
    pub tasks: Vec<String>,
    pub note: String,
    pub by: String,
}

words! {
    /// What a person decides about a blocked wave.
    pub enum Resolution {
        /// The candidate stands.
        Approve = "approve",
        /// Another try, with the note as instruction.
        Rework = "rework",
        /// Go on without the tasks.
        Skip = "skip",
        /// The plan ends here.
        Cancel = "cancel",
    }
}

/// What a session brings.
#[derive(Debug, Clone)]
pub enum SessionEvent {
    Hello(Box<Hello>),
    Heartbeat {
        number: u64,
        held: Vec<LeaseId>,
        last_grant: u64,
    },
    Started {
        lease: LeaseId,
    },
    Progress {
        lease: LeaseId,
        usage: Usage,
        /// What each model used so far.
        models: Vec<ModelUsage>,
    },
    /// `past` is what the store says of a lease that the engine does not keep.
    Finished {
        lease: LeaseId,
        report: Box<Report>,
        past: Option<Box<PastLease>>,
    },
    Released {
        lease: LeaseId,
        reason: ReleaseReason,
        note: String,
        past: Option<Box<PastLease>>,
    },
    Draining,
    /// The stream ended.
    Closed,
}

/// How a worker introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    pub worker: WorkerId,
    pub instance: String,
    pub name: String,
    pub host: String,
    pub version: String,
    pub roles: Vec<Role>,
    pub runners: Vec<Runner>,
    pub labels: Vec<String>,
    /// Absent: no limit.
    pub slots: Option<u32>,
    pub held: Vec<LeaseId>,
    pub draining: bool,
}

/// Why an input changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("plan {0} is not open: it does not exist, is done or is cancelled")]
    NoOpenPlan(PlanId),
    #[error("plan {plan} already exists")]
    PlanExists { plan: PlanId },
    #[error("choose a mode: standard or max; there is no default")]
    ModeMissing,
    #[error(
        "mode max needs an opus coordinator, which this coordinator's operator forbids (--max-tier sonnet)"
    )]
    OpusForbidden,
    #[error("plan {plan} is {state}: {expected}")]
    PlanState { plan: PlanId, state: &'static str, expected: &'static str },
    #[error("plan {plan} has no task {task:?}")]
    NoTask { plan: PlanId, task: String },
    #[error("plan {plan} has no wave {wave:?}")]
    NoWave { plan: PlanId, wave: String },
    #[error("task {task} is {state}: only a blocked task can be retried")]
    TaskState { task: String, state: &'static str },
    #[error("{what} has no budget in {limit} to add to")]
    NoBudget { what: String, limit: &'static str },
    #[error("no wave of plan {0} is blocked")]
    NothingBlocked(PlanId),
    #[error("{count} waves of plan {plan} are blocked: name one with --wave")]
    WaveAmbiguous { plan: PlanId, count: usize },
    #[error("wave {wave} is {state}: only a blocked wave can be resolved")]
    WaveState { wave: String, state: &'static str },
    #[error("wave {wave} has no candidate to approve ({task} has no result): use rework, skip or cancel")]
    NoCandidate { wave: String, task: String },
    #[error("task {task} of wave {wave} is {state}: name tasks that block the wave")]
    TaskNotBlocking { wave: String, task: String, state: &'static str },
    #[error("a resolution needs a note that says why")]
    NoteMissing,
    #[error("wave {wave} does not wait for this verdict: {found}")]
    StaleVerdict { wave: String, found: String },
    #[error("the verdict names {task:?}, which is no task of wave {wave}")]
    VerdictTask { wave: String, task: String },
    #[error("an approval has no findings: reject the wave, or leave them out")]
    ApprovedFindings,
    #[error("a rejection must name what is wrong: it has no finding")]
    EmptyRejection,
    #[error(
        "plan {0} is judged by Thor workers; only a plan with `thor: external` takes verdicts from outside"
    )]
    NotExternal(PlanId),
    #[error("no worker {0}")]
    NoWorker(WorkerId),
    #[error("worker {0} is connected: drain and stop it first")]
    WorkerConnected(WorkerId),
    #[error("{0} is in no trouble: there is nothing to clear")]
    AccountOpen(Account),
    #[error("the session is not open")]
    NoSession,
    #[error("task {task}: {error}")]
    Timing { task: String, error: ConfigError },
}
