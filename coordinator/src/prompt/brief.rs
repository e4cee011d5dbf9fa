//! What a prompt is made from. Owns the types only: texts of the plan, and texts of what happened.

use wavegate_engine::{
    Finding,
    spec::{PlanSpec, TaskSpec, WaveSpec},
};

/// What all work of a wave is about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The name that the plan got, which may differ from the file's.
    pub plan_name: &'a str,
    /// The plan; its waves are not looked at.
    pub plan: &'a PlanSpec,
    /// The wave; its tasks are not looked at.
    pub wave: &'a WaveSpec,
}

/// All that the agent of a task is told.
#[derive(Debug, Clone)]
pub struct TaskBrief<'a> {
    pub about: About<'a>,
    pub task: &'a TaskSpec,
    /// In plan order.
    pub dependencies: Vec<DependencyOutput<'a>>,
    /// Of the newest round that sent the task, or its whole wave, back.
    pub findings: &'a [Finding],
    pub counsel: Option<CounselText<'a>>,
    /// From 1.
    pub attempt: u32,
    pub last: LastAttempt<'a>,
    /// The workspace holds the changes of the task's newest result, which was sent back.
    pub own_result_present: bool,
    /// Only evidence is asked for: changes are not taken.
    pub evidence_only: bool,
}

/// What a task gave that this one depends on.
#[derive(Debug, Clone, Copy)]
pub struct DependencyOutput<'a> {
    pub key: &'a str,
    pub title: &'a str,
    pub summary: &'a str,
    /// JSON, or empty.
    pub output_json: &'a str,
}

/// What the coordinator's model said.
#[derive(Debug, Clone, Copy, Default)]
pub struct CounselText<'a> {
    /// To the whole wave.
    pub note: &'a str,
    /// To this task.
    pub guidance: &'a str,
}

/// How the attempt before this one ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastAttempt<'a> {
    /// There was none, or it ended without a word.
    None,
    Failed {
        summary: &'a str,
    },
    /// It had a result, which was sent back.
    SentBack,
}

/// All that Thor's agent is told before the evidence, which the worker appends.
#[derive(Debug, Clone)]
pub struct ValidateBrief<'a> {
    pub about: About<'a>,
    /// From 1.
    pub round: u32,
    /// In plan order.
    pub tasks: Vec<TaskClaim<'a>>,
}

/// A task that is said to be done.
#[derive(Debug, Clone, Copy)]
pub struct TaskClaim<'a> {
    pub task: &'a TaskSpec,
    /// Its executor's summary.
    pub claim: &'a str,
    /// JSON, or empty.
    pub output_json: &'a str,
}

/// All that the coordinator's model is told.
#[derive(Debug, Clone)]
pub struct CounselBrief<'a> {
    pub about: About<'a>,
    /// The tasks that wait for the counsel, in plan order.
    pub tasks: Vec<TaskCase<'a>>,
}

/// A task on which counsel is asked for.
#[derive(Debug, Clone)]
pub struct TaskCase<'a> {
    pub task: &'a TaskSpec,
    /// In plan order.
    pub dependencies: Vec<DependencyOutput<'a>>,
    pub findings: &'a [Finding],
    pub last: LastAttempt<'a>,
}
