//! What a decision asks for: rows to write and messages to send. Owns the types; writing is the
//! store's, sending the outbox's, and nothing is sent before everything is written.

use crate::{
    account::AccountRow,
    estimate::KeptEstimates,
    ids::{Digest, LeaseId, PlanId, SessionId, TaskIx, WaveIx, WorkerId},
    row::{
        Counsel, Decision, Finding, LeaseRow, ModelUsage, OwnWork, PlanRow, Report, TaskRow, Verdict,
        WaveRow, WorkerRow,
    },
    state::{Purpose, Tier},
    words::words,
};

/// Everything that a batch of inputs led to, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    pub changes: Vec<Change>,
    pub sends: Vec<Send>,
}

/// One write. The old state is repeated, so that a store that disagrees with the engine is noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A staged plan becomes visible: awaiting approval.
    SwitchOn(PlanId),
    /// `was` is the name of the state that the store must hold now.
    Plan {
        id: PlanId,
        was: &'static str,
        row: PlanRow,
    },
    /// What was estimated when the plan was approved.
    Estimated {
        plan: PlanId,
        estimates: Box<KeptEstimates>,
    },
    Wave {
        plan: PlanId,
        wave: WaveIx,
        was: &'static str,
        row: WaveRow,
    },
    Task {
        plan: PlanId,
        task: TaskIx,
        was: &'static str,
        row: TaskRow,
    },
    LeaseGranted(LeaseRow),
    Lease {
        was: &'static str,
        row: LeaseRow,
    },
    /// What the models of a lease have used so far: the newest word counts.
    Used {
        lease: LeaseId,
        models: Vec<ModelUsage>,
    },
    /// The result of a lease: accepted, or booked only (its cost) because the lease was not current.
    Result {
        lease: LeaseId,
        accepted: bool,
        report: Box<Report>,
    },
    /// What the coordinator's model said, and is to be heard.
    Counsel {
        lease: LeaseId,
        counsel: Counsel,
    },
    Verdict(Box<VerdictRow>),
    Worker(WorkerRow),
    Account(AccountRow),
    WorkerForgotten(WorkerId),
    /// That the database is an older copy is known, and by what.
    Restored {
        evidence: String,
    },
    /// What `plans.parallel_mode` must say.
    ModeColumn {
        plan: PlanId,
        value: Option<String>,
    },
    Event(Event),
}

impl Change {
    /// The plan that it is about, if it names one.
    #[must_use]
    pub fn plan(&self) -> Option<PlanId> {
        match self {
            Self::SwitchOn(plan)
            | Self::Plan { id: plan, .. }
            | Self::Estimated { plan, .. }
            | Self::Wave { plan, .. }
            | Self::Task { plan, .. }
            | Self::ModeColumn { plan, .. } => Some(*plan),
            Self::LeaseGranted(row) | Self::Lease { row, .. } => Some(row.plan),
            Self::Verdict(row) => Some(row.plan),
            Self::Event(event) => event.plan,
            Self::Result { .. }
            | Self::Used { .. }
            | Self::Counsel { .. }
            | Self::Worker(_)
            | Self::WorkerForgotten(_)
            | Self::Restored { .. }
            | Self::Account(_) => None,
        }
    }
}

/// A word on a wave's candidate: a Thor's, integration's, or a person's override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictRow {
    pub plan: PlanId,
    pub wave: WaveIx,
    pub round: u32,
    pub candidate: Option<Digest>,
    pub source: VerdictSource,
    pub verdict: Verdict,
    /// Who: a worker's name or a person.
    pub by: String,
    pub note: String,
}

words! {
    /// Where a word on a candidate comes from.
    pub enum VerdictSource {
        Thor = "thor",
        /// A Thor outside of the workers.
        External = "external",
        /// Results that could not be put together.
        Integration = "integration",
        /// A person's recorded resolution.
        Override = "override",
    }
}

/// One recorded decision: who, what, why. The store adds number and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    pub plan: Option<PlanId>,
    pub wave: Option<WaveIx>,
    pub task: Option<TaskIx>,
    pub lease: Option<LeaseId>,
    pub worker: Option<WorkerId>,
    /// A person, "thor", "worker", "coordinator", "sql".
    pub actor: String,
    /// A typed reason's word, or empty.
    pub reason: String,
    /// One line for people.
    pub text: String,
}

impl Event {
    /// That something happened, of the coordinator's own doing and about nothing in particular.
    pub(crate) fn of(kind: EventKind) -> Self {
        Self {
            kind,
            plan: None,
            wave: None,
            task: None,
            lease: None,
            worker: None,
            actor: crate::plan::COORDINATOR.to_owned(),
            reason: String::new(),
            text: String::new(),
        }
    }
}

words! {
    /// What happened; part of the API.
    pub enum EventKind {
        PlanSubmitted = "plan_submitted",
        PlanApproved = "plan_approved",
        PlanPaused = "plan_paused",
        PlanResumed = "plan_resumed",
        BudgetAdded = "budget_added",
        PlanBlocked = "plan_blocked",
        PlanDone = "plan_done",
        PlanCancelled = "plan_cancelled",
        ModeChanged = "mode_changed",
        ModeRefused = "mode_refused",
        WaveStarted = "wave_started",
        WaveIntegrating = "wave_integrating",
        WaveValidating = "wave_validating",
        WavePublishing = "wave_publishing",
        TargetMoved = "target_moved",
        WaveConflict = "wave_conflict",
        WaveApproved = "wave_approved",
        WaveRejected = "wave_rejected",
        WaveChallenged = "wave_challenged",
        WaveEscalated = "wave_escalated",
        WaveResolved = "wave_resolved",
        WaveBlocked = "wave_blocked",
        WavePublished = "wave_published",
        WaveDone = "wave_done",
        WaveCancelled = "wave_cancelled",
        TaskSubmitted = "task_submitted",
        TaskFailed = "task_failed",
        TaskSkipped = "task_skipped",
        TaskReturned = "task_returned",
        TaskBlocked = "task_blocked",
        TaskCancelled = "task_cancelled",
        TaskRetried = "task_retried",
        LeaseGranted = "lease_granted",
        LeaseStarted = "lease_started",
        LeaseUnreachable = "lease_unreachable",
        LeaseReachable = "lease_reachable",
        LeaseReleased = "lease_released",
        LeaseLost = "lease_lost",
        LeaseCancelled = "lease_cancelled",
        ResultRefused = "result_refused",
        WorkerConnected = "worker_connected",
        WorkerGone = "worker_gone",
        WorkerDraining = "worker_draining",
        WorkerForgotten = "worker_forgotten",
        DatabaseRestored = "database_restored",
        WaveCounsel = "wave_counsel",
        WaveAdvised = "wave_advised",
        AccountWaiting = "account_waiting",
        AccountRefused = "account_refused",
        AccountOpen = "account_open",
    }
}

/// One message to one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    pub session: SessionId,
    pub message: Message,
}

/// What the coordinator tells a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Welcome,
    /// The driver adds the work, which it reads from the store.
    Grant {
        number: u64,
        lease: Box<LeaseRow>,
        brief: WorkBrief,
    },
    HeartbeatAck {
        number: u64,
        keep: Vec<LeaseId>,
        stop: Vec<LeaseId>,
    },
    /// The worker ends the work of this lease and says so.
    Cancel {
        lease: LeaseId,
        reason: &'static str,
    },
    Accepted {
        lease: LeaseId,
    },
    Refused {
        lease: LeaseId,
        reason: String,
    },
    Drain {
        reason: String,
    },
    /// The session's last message.
    Goodbye {
        reason: String,
        permanent: bool,
    },
}

/// What of the engine's state the work of a grant depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkBrief {
    Task {
        /// The tree that the wave starts from; absent for an empty one.
        base: Option<Digest>,
        /// The changes of the tasks that it is built on, in plan order, but none before what it was built on.
        layers: Vec<Digest>,
        /// What an agent's attempts have made so far, where the next one goes on from it.
        own: Option<OwnWork>,
        /// What is left of the task's own budget.
        budget_micro_usd: Option<u64>,
    },
    Integrate {
        base: Option<Digest>,
        /// In plan order, but none before what it was built on.
        results: Vec<IntegrateResult>,
    },
    Validate {
        candidate: Digest,
        /// The tasks that are judged, in plan order.
        tasks: Vec<(TaskIx, Option<Digest>)>,
        /// An agent judges, too.
        by_agent: bool,
    },
    Publish {
        /// The plan's state.
        base: Option<Digest>,
        candidate: Digest,
    },
    Coordinate {
        purpose: Purpose,
        tier: Tier,
        /// The plan's tree, to look at.
        base: Option<Digest>,
        /// The tasks that wait for the counsel, in plan order.
        tasks: Vec<TaskIx>,
    },
}

/// One task's part of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegrateResult {
    pub task: TaskIx,
    pub lease: LeaseId,
    pub attempt: u32,
    pub changes: Option<Digest>,
    /// The tree that it started from: a path that the target has changed since then is a conflict.
    pub base: Option<Digest>,
    /// Tasks whose results it was built on: it may overwrite what they wrote.
    pub built_on: Vec<TaskIx>,
}

/// An answer to an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Done,
    Mode { mode: crate::state::Mode, tier: crate::state::Tier, warnings: Vec<String> },
}

/// A decision that needs a person, as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingVerdict {
    pub plan: PlanId,
    pub wave: WaveIx,
    pub round: u32,
    pub candidate: Digest,
}

impl Verdict {
    /// An approval without grounds: a person's word, or nothing to judge.
    #[must_use]
    pub const fn bare(decision: Decision, findings: Vec<Finding>) -> Self {
        Self { decision, findings, evidence: Vec::new(), gates: Vec::new() }
    }
}
