//! What is kept of each thing: the durable state, one row type a table. Everything that the engine
//! knows, but for who is connected and when they were last heard, can be rebuilt from these.

use crate::{
    account::Account,
    ids::{Digest, LeaseId, PlanId, TaskIx, Utc, WaveIx, WorkerId},
    spec::{Budget, PlanShape, SHELL},
    state::{LeaseState, Mode, PlanState, Purpose, TaskState, Tier, WaveState},
    words::words,
};

/// A plan's durable state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRow {
    pub state: PlanState,
    /// Absent until a person chose one at approval.
    pub mode: Option<Mode>,
    pub tier: Option<Tier>,
    /// What the next task starts from: workspace dir, the tree as last published, absent for an empty one; git,
    /// the state as last published or found at the target, absent for what the repository has.
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
    /// What the coordinator's model is to be asked for; its tasks that await that are held meanwhile.
    pub counsel: Option<Purpose>,
    /// Coordinate leases for it that were lost, failed or answered nonsense.
    pub counsel_failures: u32,
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
    /// Held until the coordinator's model has given its counsel on it.
    pub awaits_counsel: AwaitsCounsel,
    /// What its attempts have used.
    pub spent: Usage,
    /// What its attempts may use: the file's, and what a person added.
    pub budget: Budget,
    /// The newest accepted successful result.
    pub result: Option<TaskResult>,
    /// Tasks of its wave that its result conflicted with: the next attempt is built on theirs, as if it depended
    /// on them.
    pub built_on: Vec<TaskIx>,
    /// What an agent's attempts have made so far: its newest result, or what it had made when it was
    /// interrupted. Absent where the next attempt begins afresh.
    pub own: Option<OwnWork>,
}

/// Whether a task is held for counsel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AwaitsCounsel {
    #[default]
    No,
    /// No lease has asked about it yet.
    ToBeAsked,
    /// A coordinate lease was granted that asks about it.
    Asked,
}

impl AwaitsCounsel {
    /// Whether the task waits.
    #[must_use]
    pub const fn is_held(self) -> bool {
        match self {
            Self::No => false,
            Self::ToBeAsked | Self::Asked => true,
        }
    }

    /// As the store keeps it.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::No => 0,
            Self::ToBeAsked => 1,
            Self::Asked => 2,
        }
    }

    /// What the store kept.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::No),
            1 => Some(Self::ToBeAsked),
            2 => Some(Self::Asked),
            _ => None,
        }
    }
}

/// What an agent has made in its workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnWork {
    /// Absent when nothing.
    pub changes: Option<Digest>,
    /// The plan's tree that it started from; absent for an empty one.
    pub base: Option<Digest>,
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
    /// What an agent spends from; absent for work without one.
    pub account: Option<Account>,
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
    Task {
        task: TaskIx,
        attempt: u32,
    },
    Integrate,
    Validate {
        candidate: Digest,
    },
    /// Under the tier that the plan had then: that family is to answer.
    Coordinate {
        purpose: Purpose,
        tier: Tier,
    },
    /// The approved candidate is to reach the target.
    Publish {
        candidate: Digest,
    },
}

words! {
    /// A lease's kind, as tables and listings name it.
    pub enum LeaseKind {
        Task = "task",
        Integrate = "integrate",
        Validate = "validate",
        Coordinate = "coordinate",
        Publish = "publish",
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
            Self::Coordinate { .. } => LeaseKind::Coordinate,
            Self::Publish { .. } => LeaseKind::Publish,
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

    /// This, or the other where that is more, for each figure.
    #[must_use]
    pub fn at_least(self, other: Self) -> Self {
        let missing = self.tokens().saturating_sub(other.tokens());
        Self {
            tokens_in: other.tokens_in.saturating_add(missing),
            tokens_out: other.tokens_out,
            tokens_cached: other.tokens_cached.max(self.tokens_cached),
            cost_micro_usd: self.cost_micro_usd.max(other.cost_micro_usd),
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
        /// The agent was denied what it needed.
        Denied = "denied",
        TurnLimit = "turn_limit",
        /// The agent used up the budget that it was given.
        BudgetLimit = "budget_limit",
        /// The model refused.
        Refused = "refused",
        /// A signal that nobody here sent ended the agent's program.
        Killed = "killed",
        /// The agent's program ended without a result that can be read.
        Nonsense = "nonsense",
        /// The account's limit is reached.
        UsageLimit = "usage_limit",
        /// The account's credentials are not accepted.
        BadCredentials = "bad_credentials",
        /// The provider is overloaded.
        Overloaded = "overloaded",
        /// The provider cannot be reached.
        Unreachable = "unreachable",
        /// Publication: the target is not what the candidate was built on any more.
        TargetMoved = "target_moved",
    }
}

impl Outcome {
    /// Whether an agent was broken off in the middle of its work, which it can go on with.
    #[must_use]
    pub const fn is_interruption(self) -> bool {
        match self {
            Self::TimedOut
            | Self::TurnLimit
            | Self::BudgetLimit
            | Self::Killed
            | Self::UsageLimit
            | Self::Overloaded
            | Self::Unreachable => true,
            Self::Succeeded
            | Self::Failed
            | Self::Skipped
            | Self::Conflict
            | Self::Denied
            | Self::Refused
            | Self::Nonsense
            | Self::BadCredentials
            | Self::TargetMoved => false,
        }
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
    /// Workspace dir: what it changed; of an agent that was interrupted, what it had changed by then.
    pub changes: Option<Digest>,
    pub changed_files: u32,
    /// Integrate: the candidate; absent for an empty tree. Publish: the plan's state from now on.
    pub candidate: Option<Digest>,
    /// Integrate, workspace git: what the results were put on, where that is not the plan's own state any more.
    pub target: Option<Digest>,
    /// Integrate: for each task that must go back, what it conflicts with.
    pub conflicts: Vec<Conflict>,
    /// Publish.
    pub published: Published,
    pub verdict: Option<Verdict>,
    /// What an agent that did the work says of itself; all empty where there was none.
    pub talk: Talk,
    /// Coordinate.
    pub counsel: Option<Counsel>,
}

/// What an agent says of its run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Talk {
    /// The model that answered; empty when nobody did.
    pub model: String,
    /// By which its program can go on; empty where it cannot.
    pub session: String,
    /// The fingerprint of the account that was spent from.
    pub account: String,
    /// What each model used; together the report's usage.
    pub models: Vec<ModelUsage>,
    /// What it was denied.
    pub findings: Vec<Finding>,
    /// How long the account is of no use, where somebody said.
    pub retry_after_ms: Option<u64>,
}

/// What one model used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelUsage {
    pub model: String,
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    /// Millionths of a US dollar; absent when unknown.
    pub cost_micro_usd: Option<u64>,
    pub cost_source: CostSource,
    /// The date of the price by which the cost was computed; empty where none was.
    pub price_date: String,
    /// Requests that were answered, as far as the agent tells them.
    pub calls: u32,
}

impl ModelUsage {
    /// The same of one model, empty where nobody said which. None where nothing was used.
    #[must_use]
    pub fn of_one(model: &str, usage: Usage) -> Option<Self> {
        let cost = usage.cost_micro_usd;
        (usage.tokens() > 0 || cost.is_some_and(|cost| cost > 0)).then(|| Self {
            model: model.to_owned(),
            tokens_in: usage.tokens_in,
            tokens_out: usage.tokens_out,
            cache_read: usage.tokens_cached,
            cost_micro_usd: cost,
            cost_source: if cost.is_some() { CostSource::Agent } else { CostSource::Unknown },
            ..Self::default()
        })
    }

    /// The same as budgets count it: what was written to the provider's cache is input.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            tokens_in: self.tokens_in.saturating_add(self.cache_write),
            tokens_out: self.tokens_out,
            tokens_cached: self.cache_read,
            cost_micro_usd: self.cost_micro_usd,
        }
    }
}

words! {
    /// Where a cost is from.
    #[derive(Default)]
    pub enum CostSource {
        /// It is not known.
        #[default]
        Unknown = "unknown",
        /// The agent's own word.
        Agent = "agent",
        /// Tokens by the price table.
        Prices = "prices",
    }
}

/// What the coordinator's model says to the executors of a wave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counsel {
    pub note: String,
    /// By the key of the task.
    pub tasks: Vec<Finding>,
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
    /// What an agent that judged says of each gate.
    pub gates: Vec<Gate>,
}

/// One thing that a wave is judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    pub name: String,
    pub passed: bool,
    pub notes: String,
}

/// What is wrong, by the key of the task; an empty key means the whole wave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub task: String,
    pub text: String,
}

/// Why a task's result cannot be a part of the candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    pub finding: Finding,
    /// Keys of the tasks whose results it conflicts with: the next attempt is built on theirs.
    pub with: Vec<String>,
}

/// What reached the target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Published {
    /// In order.
    pub commits: Vec<Commit>,
    /// Empty where no branch was moved.
    pub branch: String,
    /// The address of the request that was opened; empty where none was.
    pub request: String,
}

/// One task's work on the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The task's key.
    pub task: String,
    /// The commit's full id.
    pub commit: String,
    pub subject: String,
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

impl WorkerRow {
    /// What this runner of it spends from: an agent whose account nobody can tell has one of its own here.
    /// None for shell commands, which spend nothing.
    #[must_use]
    pub fn account(&self, runner: &Runner) -> Option<Account> {
        let fingerprint = match runner.account.as_str() {
            "" if runner.name == SHELL => return None,
            "" => format!("at-{}", self.id),
            known => known.to_owned(),
        };
        Some(Account { runner: runner.name.clone(), fingerprint })
    }
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
    /// The families of models that it can be asked for, by their words; empty: any.
    pub models: Vec<String>,
}

impl Report {
    /// Where it says nothing of what was used, what its worker told before holds.
    pub(crate) fn expect_usage(&mut self, told: Usage) {
        if self.usage == Usage::default() && self.talk.models.is_empty() {
            self.usage = told;
        }
    }

    /// Whether the agent's provider must have answered.
    pub(crate) fn was_answered(&self) -> bool {
        !self.talk.model.is_empty() || self.outcome == Outcome::Succeeded || self.usage.tokens() > 0
    }
}

/// A lease that the engine no longer keeps, as the store remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastLease {
    pub row: LeaseRow,
    /// Whether a result of it was accepted; absent where there is none.
    pub accepted: Option<bool>,
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
