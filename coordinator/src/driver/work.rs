//! The work of a lease as the driver hands it to rpc: text from the store, facts from the engine.

use std::collections::BTreeMap;

use wavegate_engine::{
    Counsel, Digest, Finding, LeaseId, LeaseRow, Outcome, OwnWork, PlanId, Purpose, Tier, VerdictSource,
    spec::{PlanSpec, TaskSpec, WaveSpec, WorkspaceKind},
};

/// A message that is ready for the wire, in our own types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    Welcome,
    Grant { number: u64, lease: Box<LeaseRow>, work: Box<Work> },
    HeartbeatAck { number: u64, keep: Vec<LeaseId>, stop: Vec<LeaseId> },
    Cancel { lease: LeaseId, reason: &'static str },
    Accepted { lease: LeaseId },
    Refused { lease: LeaseId, reason: String },
    Drain { reason: String },
    Goodbye { reason: String, permanent: bool },
}

/// All that a worker needs to do the work of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    pub plan: PlanId,
    pub plan_name: String,
    /// The wave's key.
    pub wave: String,
    /// The plan's vars.
    pub vars: BTreeMap<String, String>,
    pub workspace: WorkspaceKind,
    /// What every agent of the plan is told: the plan without its waves, the wave without its tasks.
    pub head: Box<PlanSpec>,
    pub wave_spec: Box<WaveSpec>,
    pub body: WorkBody,
}

/// The part that differs by the lease's kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkBody {
    Task {
        spec: Box<TaskSpec>,
        base: Option<Digest>,
        layers: Vec<Digest>,
        /// What an agent goes on from, where there is anything.
        own: Option<OwnWork>,
        /// What is left of the task's own budget.
        budget_micro_usd: Option<u64>,
        story: Box<TaskStory>,
    },
    Integrate {
        base: Option<Digest>,
        results: Vec<ResultToIntegrate>,
    },
    Publish {
        base: Option<Digest>,
        candidate: Digest,
        /// By whose word, for the commits.
        verdict: String,
        /// What the wave's tasks gave, for a request.
        tasks: Vec<TaskOutput>,
    },
    Validate {
        candidate: Digest,
        tasks: Vec<TaskToCheck>,
        /// The wave's own commands.
        verify: Vec<String>,
        /// An agent judges, too.
        by_agent: bool,
    },
    Coordinate {
        purpose: Purpose,
        tier: Tier,
        base: Option<Digest>,
        /// The tasks that wait for the counsel.
        tasks: Vec<TaskToCounsel>,
    },
}

/// What came before an attempt at a task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskStory {
    /// Of the newest round that sent the task (or its whole wave) back.
    pub findings: Vec<Finding>,
    /// Only evidence is asked for.
    pub evidence_only: bool,
    /// What the tasks that it depends on gave, in plan order.
    pub dependencies: Vec<TaskOutput>,
    /// What the coordinator's model said last to the wave.
    pub counsel: Option<Counsel>,
    /// How the newest attempt that came to an end went.
    pub last: Option<LastAttempt>,
    /// The newest session of an agent of this task on the worker that has the lease.
    pub session: Option<String>,
}

/// What a task gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskOutput {
    pub key: String,
    pub title: String,
    pub summary: String,
    pub output_json: String,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastAttempt {
    pub attempt: u32,
    pub outcome: Outcome,
    pub summary: String,
}

/// One task to give counsel on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskToCounsel {
    pub spec: TaskSpec,
    pub story: TaskStory,
}

/// One task's result, by keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultToIntegrate {
    pub key: String,
    pub title: String,
    /// Its executor's.
    pub summary: String,
    pub attempt: u32,
    pub lease: LeaseId,
    pub changes: Option<Digest>,
    /// The tree that it started from.
    pub base: Option<Digest>,
    pub built_on: Vec<String>,
}

/// By whose word a candidate is published, in one line.
#[must_use]
pub fn approval_words(source: VerdictSource, round: u32, by: &str, note: &str) -> String {
    let text = match source {
        VerdictSource::Override => format!("override by {by} in round {round}: {note}"),
        VerdictSource::Thor | VerdictSource::External | VerdictSource::Integration => {
            format!("approved in round {round} by {by}")
        }
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One task to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskToCheck {
    pub spec: TaskSpec,
    /// Its executor's summary.
    pub claim: String,
    /// What its executor wrote, as JSON; empty when nothing.
    pub output_json: String,
    pub changes: Option<Digest>,
}
