//! The states of plans, waves, tasks and leases, and the reasons that some of them carry. Owns what
//! each state means and who moves it on; which transition happens when is decided in the rooms that
//! handle inputs.
//!
//! Each state is stored as two words: its name and its reason (empty where it carries none).

use crate::{ids::Utc, words::words};

words! {
    /// How many agents of a plan may run at once.
    pub enum Mode {
        /// At most three task leases, waves one at a time, a sonnet coordinator.
        Standard = "standard",
        /// No cap, independent waves together, an opus coordinator.
        Max = "max",
    }
}

words! {
    /// The model family of a plan's coordinator.
    pub enum Tier {
        Sonnet = "sonnet",
        Opus = "opus",
    }
}

impl Mode {
    /// The tier that the mode runs under; max requires opus.
    #[must_use]
    pub const fn tier(self) -> Tier {
        match self {
            Self::Standard => Tier::Sonnet,
            Self::Max => Tier::Opus,
        }
    }
}

words! {
    /// Why a plan is paused.
    pub enum PauseReason {
        /// A person said so.
        Operator = "operator",
        /// Its budget would be passed by the next grant.
        Budget = "budget",
        /// Nothing runs and nothing can run; goes on by itself when a worker comes.
        NoWorker = "no_worker",
        /// Integrating or publishing failed three times.
        Integration = "integration",
        /// The target moved five times under a wave.
        TargetMoved = "target_moved",
        /// Thor's lease failed or was lost three times.
        Validation = "validation",
        /// The coordinator's model gave no counsel, twice.
        Coordination = "coordination",
        /// Another model than the tier's answered for the coordinator.
        Tier = "tier",
        /// The store refused what a decision about this plan would have written.
        Store = "store",
        /// The database is an older copy: what happened after it was made is not in it.
        Restored = "restored",
    }
}

words! {
    /// Why a task is blocked.
    pub enum TaskBlock {
        /// Its failures reached their limit.
        Failures = "failures",
        /// Its worker vanished twice, or once under `on_lost: fail`.
        Lost = "lost",
        /// Its worker vanished and `on_lost: hold` leaves the decision to a person.
        Held = "held",
        /// Rejected three times, or escalated by Thor.
        Rejections = "rejections",
    }
}

words! {
    /// Why a wave, and with it the plan, is blocked.
    pub enum WaveBlock {
        /// A task is blocked and nothing else of the wave can run.
        Tasks = "tasks_blocked",
        /// Thor escalated, or a task was rejected three times.
        Escalated = "escalated",
    }
}

words! {
    /// Why a lease ended without a result; none of these is the task's fault.
    pub enum ReleaseReason {
        /// The coordinator asked for it: plan cancelled, task cancelled, mode of the plan gone.
        Cancelled = "cancelled",
        /// The worker was told not to wait.
        Drain = "drain",
        /// The worker had no answer in time and stopped its own agents.
        SelfFenced = "self_fenced",
        /// The worker cannot do this work.
        Unable = "unable",
        /// The worker came back and never had the grant.
        Unanswered = "unanswered",
        /// The account's limit is reached.
        UsageLimit = "usage_limit",
        /// The account's credentials are not accepted.
        BadCredentials = "bad_credentials",
        /// The provider is overloaded.
        Overloaded = "overloaded",
        /// The provider cannot be reached.
        Unreachable = "unreachable",
        /// The worker cannot reach the plan's repository.
        Repository = "repository",
    }
}

words! {
    /// What the coordinator's model is asked for.
    pub enum Purpose {
        /// Before a wave in mode max.
        Briefing = "briefing",
        /// After a rejection or repeated failures.
        Triage = "triage",
    }
}

/// A plan's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanState {
    /// A person moves it on, with a mode. Grants nothing.
    AwaitingApproval,
    Running,
    /// Accepts results, grants nothing.
    Paused(PauseReason),
    /// Final.
    Done,
    /// A person moves it on. Accepts results, grants nothing.
    Blocked(WaveBlock),
    /// Final.
    Cancelled,
}

/// A wave's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaveState {
    /// Until every wave that it depends on is done.
    Waiting,
    Running,
    /// Every task is submitted, skipped or cancelled; the candidate is being built.
    Integrating,
    /// Thor judges the candidate.
    Validating,
    /// The approved candidate is moved onto the target.
    Publishing,
    /// Final.
    Done,
    /// A person moves it on.
    Blocked(WaveBlock),
    /// Final.
    Cancelled,
}

/// A task's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// Waits for a grant; not before that time after a failure or a loss.
    Pending { not_before: Option<Utc> },
    /// A worker has, or may still have, a lease for it.
    Leased,
    /// Its executor says that it is finished. Only a verdict or an override makes it done.
    Submitted,
    /// Final.
    Done,
    /// A person moves it on; under `Lost` and `Held` a late result does, too.
    Blocked(TaskBlock),
    /// Left out, by `skip_if` or by a person.
    Skipped,
    /// Final.
    Cancelled,
}

/// A lease's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    /// Committed and sent; the worker has not answered.
    Granted,
    Running,
    /// The worker was asked to end it and has not answered.
    Cancelling,
    /// Its worker is silent; kept until lost_after, then lost. Says whether it was being cancelled.
    Unreachable {
        cancelling: bool,
    },
    /// Final: a result was accepted.
    Finished,
    /// Final: no result.
    Released(ReleaseReason),
    /// Its worker did not come back in time. A late result is accepted while no newer attempt was
    /// granted.
    Lost,
}

impl PlanState {
    /// The word for the state alone.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AwaitingApproval => "awaiting_approval",
            Self::Running => "running",
            Self::Paused(_) => "paused",
            Self::Done => "done",
            Self::Blocked(_) => "blocked",
            Self::Cancelled => "cancelled",
        }
    }

    /// The word for the reason that it carries; empty where it carries none.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Paused(reason) => reason.as_str(),
            Self::Blocked(reason) => reason.as_str(),
            Self::AwaitingApproval | Self::Running | Self::Done | Self::Cancelled => "",
        }
    }

    /// The state that these two words name.
    #[must_use]
    pub fn from_words(name: &str, reason: &str) -> Option<Self> {
        Some(match name {
            "awaiting_approval" => Self::AwaitingApproval,
            "running" => Self::Running,
            "paused" => Self::Paused(PauseReason::from_word(reason)?),
            "done" => Self::Done,
            "blocked" => Self::Blocked(WaveBlock::from_word(reason)?),
            "cancelled" => Self::Cancelled,
            _ => return None,
        })
    }

    /// Whether nothing can happen any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }
}

impl WaveState {
    /// The word for the state alone.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Integrating => "integrating",
            Self::Validating => "validating",
            Self::Publishing => "publishing",
            Self::Done => "done",
            Self::Blocked(_) => "blocked",
            Self::Cancelled => "cancelled",
        }
    }

    /// The word for the reason that it carries; empty where it carries none.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Blocked(reason) => reason.as_str(),
            Self::Waiting
            | Self::Running
            | Self::Integrating
            | Self::Validating
            | Self::Publishing
            | Self::Done
            | Self::Cancelled => "",
        }
    }

    /// The state that these two words name.
    #[must_use]
    pub fn from_words(name: &str, reason: &str) -> Option<Self> {
        Some(match name {
            "waiting" => Self::Waiting,
            "running" => Self::Running,
            "integrating" => Self::Integrating,
            "validating" => Self::Validating,
            "publishing" => Self::Publishing,
            "done" => Self::Done,
            "blocked" => Self::Blocked(WaveBlock::from_word(reason)?),
            "cancelled" => Self::Cancelled,
            _ => return None,
        })
    }
}

impl TaskState {
    /// The word for the state alone.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Leased => "leased",
            Self::Submitted => "submitted",
            Self::Done => "done",
            Self::Blocked(_) => "blocked",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }

    /// The word for the reason that it carries; empty where it carries none.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Blocked(reason) => reason.as_str(),
            Self::Pending { .. }
            | Self::Leased
            | Self::Submitted
            | Self::Done
            | Self::Skipped
            | Self::Cancelled => "",
        }
    }

    /// The state that these words name; `not_before` counts only for a pending one.
    #[must_use]
    pub fn from_words(name: &str, reason: &str, not_before: Option<Utc>) -> Option<Self> {
        Some(match name {
            "pending" => Self::Pending { not_before },
            "leased" => Self::Leased,
            "submitted" => Self::Submitted,
            "done" => Self::Done,
            "blocked" => Self::Blocked(TaskBlock::from_word(reason)?),
            "skipped" => Self::Skipped,
            "cancelled" => Self::Cancelled,
            _ => return None,
        })
    }
}

impl LeaseState {
    /// The word for the state alone.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Unreachable { .. } => "unreachable",
            Self::Finished => "finished",
            Self::Released(_) => "released",
            Self::Lost => "lost",
        }
    }

    /// The word for the reason that it carries; empty where it carries none.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Released(reason) => reason.as_str(),
            Self::Unreachable { cancelling: true } => "cancelling",
            Self::Unreachable { cancelling: false }
            | Self::Granted
            | Self::Running
            | Self::Cancelling
            | Self::Finished
            | Self::Lost => "",
        }
    }

    /// The state that these two words name.
    #[must_use]
    pub fn from_words(name: &str, reason: &str) -> Option<Self> {
        Some(match name {
            "granted" => Self::Granted,
            "running" => Self::Running,
            "cancelling" => Self::Cancelling,
            "unreachable" => Self::Unreachable { cancelling: reason == "cancelling" },
            "finished" => Self::Finished,
            "released" => Self::Released(ReleaseReason::from_word(reason)?),
            "lost" => Self::Lost,
            _ => return None,
        })
    }

    /// Live or uncertain: an agent may be at work under it, so it counts to the cap.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Granted | Self::Running | Self::Cancelling | Self::Unreachable { .. })
    }
}
