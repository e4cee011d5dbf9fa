//! The work of a lease as the driver hands it to rpc: text from the store, facts from the engine.

use std::collections::BTreeMap;

use wavegate_engine::{
    Digest, Finding, LeaseId, LeaseRow, PlanId,
    spec::{TaskSpec, WorkspaceKind},
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
    pub body: WorkBody,
}

/// The part that differs by the lease's kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkBody {
    Task {
        spec: Box<TaskSpec>,
        base: Option<Digest>,
        layers: Vec<Digest>,
        /// Of the newest round that sent the task (or its whole wave) back.
        findings: Vec<Finding>,
    },
    Integrate {
        base: Option<Digest>,
        results: Vec<ResultToIntegrate>,
    },
    Validate {
        candidate: Digest,
        tasks: Vec<TaskToCheck>,
        /// The wave's own commands.
        verify: Vec<String>,
    },
}

/// One task's result, by keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultToIntegrate {
    pub key: String,
    pub changes: Option<Digest>,
    /// The tree that it started from.
    pub base: Option<Digest>,
    pub built_on: Vec<String>,
}

/// One task to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskToCheck {
    pub spec: TaskSpec,
    /// Its executor's summary.
    pub claim: String,
    pub changes: Option<Digest>,
}
