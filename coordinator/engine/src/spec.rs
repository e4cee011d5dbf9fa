//! A plan as a person wrote it, read and with its defaults filled in. Owns the types and the
//! defaults of the domain; reading files and reporting mistakes is the plan-file reader's.
//!
//! The full text ([`PlanSpec`]) is for the store and for composing work. The engine itself keeps
//! only what decisions need: a [`PlanShape`].

use std::{collections::BTreeMap, fmt, ops::Range};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{Digest, PlanId, TaskIx, WaveIx},
    model::{self, Family, Route},
};

/// A whole plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSpec {
    pub name: String,
    #[serde(default)]
    pub description: String,
    pub project: ProjectSpec,
    /// Given to commands as environment, never pasted into text.
    #[serde(default)]
    pub vars: BTreeMap<String, String>,
    #[serde(default)]
    pub requirements: Vec<Requirement>,
    #[serde(default)]
    pub constraints: Vec<Constraint>,
    #[serde(default)]
    pub budget: Budget,
    #[serde(default)]
    pub thor: ThorKind,
    /// The agent that judges under [`ThorKind::Agent`].
    #[serde(default)]
    pub thor_agent: AgentChoice,
    /// The runner of the coordinator's own model; which model that is, the tier says.
    #[serde(default = "default_agent")]
    pub coordinator_runner: String,
    pub waves: Vec<WaveSpec>,
}

/// A runner and the model that it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentChoice {
    pub runner: String,
    /// A name that the runner's program takes; empty: its own default.
    pub model: String,
}

impl Default for AgentChoice {
    /// The validator is a sonnet.
    fn default() -> Self {
        Self { runner: DEFAULT_AGENT.to_owned(), model: Family::Sonnet.as_str().to_owned() }
    }
}

fn default_agent() -> String {
    DEFAULT_AGENT.to_owned()
}

/// What the plan works on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct ProjectSpec {
    #[serde(default)]
    pub name: String,
    /// A path or URL; for workspace dir, the folder whose snapshot the plan starts from.
    #[serde(default)]
    pub repo: Option<String>,
    /// A git branch or commit.
    #[serde(default)]
    pub base: Option<String>,
    pub workspace: WorkspaceKind,
}

/// What a lease works in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceKind {
    /// An empty scratch directory; nothing is kept of it.
    None,
    /// The plan's tree; a result is its changes and deletions.
    #[default]
    Dir,
    /// A git worktree.
    Git,
}

/// Who judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum ThorKind {
    /// A worker with the role thor, by the `verify` commands alone.
    #[default]
    Worker,
    /// An agent on a worker with the role thor, after the `verify` commands have run.
    Agent,
    /// A person or a system outside, over `ThorService/SubmitVerdict`.
    External,
}

/// Something that the plan must achieve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    pub id: String,
    pub text: String,
    #[serde(default)]
    pub wave: Option<String>,
}

/// Something that must not be broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    pub id: String,
    pub text: String,
    /// permission, security, cost, compliance, technical or process.
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub verify: Option<String>,
}

/// What may be spent; absent means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Budget {
    #[serde(default)]
    pub tokens: Option<u64>,
    /// Millionths of a US dollar.
    #[serde(default)]
    pub micro_usd: Option<u64>,
}

impl Budget {
    /// With so much more; where there is no limit, there stays none.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        let add =
            |limit: Option<u64>, more: Option<u64>| limit.map(|it| it.saturating_add(more.unwrap_or(0)));
        Self { tokens: add(self.tokens, more.tokens), micro_usd: add(self.micro_usd, more.micro_usd) }
    }

    /// Whether it is anything at all.
    pub(crate) fn is_some(&self) -> bool {
        self.tokens.unwrap_or(0) > 0 || self.micro_usd.unwrap_or(0) > 0
    }

    /// The limit that something would be added to and that is not there, in words.
    pub(crate) fn lacks(&self, more: Self) -> Option<&'static str> {
        let lacks = |limit: Option<u64>, more: Option<u64>| limit.is_none() && more.unwrap_or(0) > 0;
        match self {
            _ if lacks(self.micro_usd, more.micro_usd) => Some("dollars"),
            _ if lacks(self.tokens, more.tokens) => Some("tokens"),
            _ => None,
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.micro_usd.filter(|it| *it > 0), self.tokens.filter(|it| *it > 0)) {
            (Some(micro), None) => write!(f, "${:.2}", micro as f64 / 1e6),
            (None, Some(tokens)) => write!(f, "{tokens} tokens"),
            (Some(micro), Some(tokens)) => write!(f, "${:.2} and {tokens} tokens", micro as f64 / 1e6),
            (None, None) => f.write_str("nothing"),
        }
    }
}

/// One wave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaveSpec {
    /// Its id in the file, for example "W1".
    pub key: String,
    #[serde(default)]
    pub name: String,
    /// The waves that must be done before; by default the wave before.
    pub depends_on: Vec<WaveIx>,
    #[serde(default)]
    pub verify: Vec<String>,
    #[serde(default)]
    pub merge_mode: MergeMode,
    pub tasks: Vec<TaskSpec>,
}

/// How an approved candidate reaches the target (git).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum MergeMode {
    #[default]
    Sync,
    Batch,
    Async,
    None,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Its id in the file, for example "T1-01".
    pub key: String,
    /// One line for people: the file's summary or title, else the first line of the work.
    pub title: String,
    pub work: WorkSpec,
    /// "shell" for a command; for a prompt the file's runner, by default "claude".
    pub runner: String,
    #[serde(default)]
    pub model: Option<String>,
    /// 1 to 3; 0 where the file says nothing.
    pub effort: u8,
    /// 0 (most urgent) to 3.
    pub priority: u8,
    /// The file's `type`, for example "documentation".
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub files: Vec<String>,
    /// Shell commands that must exit 0.
    #[serde(default)]
    pub verify: Vec<String>,
    /// Prose for Thor to judge by.
    #[serde(default)]
    pub criteria: Vec<String>,
    /// Tasks of the same wave, by their place in the whole plan.
    #[serde(default)]
    pub depends_on: Vec<TaskIx>,
    /// Labels that a worker must have.
    #[serde(default)]
    pub requires: Vec<String>,
    pub timeout_ms: u64,
    pub max_failures: u32,
    pub on_lost: OnLost,
    /// Absent: the coordinator's own.
    #[serde(default)]
    pub lost_after_ms: Option<u64>,
    #[serde(default)]
    pub setup: Vec<String>,
    #[serde(default)]
    pub permissions: Permissions,
    /// Tools that an agent may use besides, in the words of its runner's program.
    #[serde(default)]
    pub allowed_tools: Vec<String>,
    /// What its attempts may spend together.
    #[serde(default)]
    pub budget: Budget,
    /// Names of variables that the worker resolves.
    #[serde(default)]
    pub env: Vec<String>,
    #[serde(default)]
    pub skip_if: Option<String>,
}

/// What an agent may do without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Permissions {
    /// Look only.
    Read,
    /// Change files inside the workspace.
    #[default]
    Edit,
    /// Anything; only on workers whose operator allows it.
    Full,
}

/// Tools that are a shell, in the words of several programs.
const SHELL_TOOLS: [&str; 4] = ["bash", "shell", "run_shell_command", "shelltool"];
/// Programs that run any other one.
const INTERPRETERS: [&str; 16] = [
    "sh", "bash", "zsh", "dash", "env", "eval", "exec", "xargs", "sudo", "python", "python3", "perl", "ruby",
    "node", "npx", "find",
];

/// Whether a tool, in the words of an agent's program, lets it run any command: the same as all permissions.
/// `Bash(cargo test:*)` does not, `Bash` does.
fn runs_anything(tool: &str) -> bool {
    let (name, what) = match tool.trim().split_once('(') {
        Some((name, rest)) => (name, Some(rest.trim_end_matches(')').trim())),
        None => (tool.trim(), None),
    };
    // A program that splits its list at commas or blanks would find other tools in such a name.
    let is_one_name = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if !is_one_name {
        return true;
    }
    let is_shell = SHELL_TOOLS.contains(&name.to_ascii_lowercase().as_str());
    let program = what.unwrap_or_default().split([' ', ':', '\t']).next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    is_shell && (program.is_empty() || program.contains('*') || INTERPRETERS.contains(&program.as_str()))
}

/// The label of workers whose operator allows [`Permissions::Full`].
pub const FULL_PERMISSIONS_LABEL: &str = "permissions=full";

/// What a task does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkSpec {
    /// A shell command.
    Run(String),
    /// A prompt for an agent.
    Do(String),
}

/// What becomes of a task whose lease is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// Another attempt; the default where the workspace is isolated.
    Retry,
    /// The task blocks, a person decides; the default otherwise.
    Hold,
    /// The task blocks as failed.
    Fail,
}

impl OnLost {
    /// The default in a workspace of this kind (isolated work can be done again).
    #[must_use]
    pub const fn default_for(workspace: WorkspaceKind) -> Self {
        match workspace {
            WorkspaceKind::Dir | WorkspaceKind::Git => Self::Retry,
            WorkspaceKind::None => Self::Hold,
        }
    }
}

/// The runner of shell commands.
pub const SHELL: &str = "shell";
/// The runner of prompts where the file names none.
pub const DEFAULT_AGENT: &str = "claude";
/// The default time limit of a shell task: 1 h.
pub const SHELL_TIMEOUT_MS: u64 = 60 * 60 * 1000;
/// The default time limit of an agent task: 4 h.
pub const AGENT_TIMEOUT_MS: u64 = 4 * 60 * 60 * 1000;
/// Failures that block a task, where the file says nothing else.
pub const MAX_FAILURES: u32 = 3;
/// Task types that a trivial task may have.
pub const TRIVIAL_KINDS: [&str; 5] = ["documentation", "doc", "chore", "config", "cleanup"];

impl TaskSpec {
    /// Whether an agent does it, so that it costs tokens.
    #[must_use]
    pub const fn is_agent(&self) -> bool {
        matches!(self.work, WorkSpec::Do(_))
    }

    /// Whether haiku may do it: the least effort, which is also meant where none is said, and one of [`TRIVIAL_KINDS`].
    #[must_use]
    pub fn is_trivial(&self) -> bool {
        self.effort <= 1 && TRIVIAL_KINDS.contains(&self.kind.as_str())
    }
}

/// What the engine keeps of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanShape {
    pub id: PlanId,
    pub name: String,
    pub workspace: WorkspaceKind,
    /// Where the repository is; empty where there is none.
    pub repository: String,
    /// The tree that the plan starts from; absent for an empty one.
    pub base: Option<Digest>,
    pub thor: ThorKind,
    pub thor_agent: AgentChoice,
    pub coordinator_runner: String,
    pub budget: Budget,
    pub waves: Vec<WaveShape>,
    pub tasks: Vec<TaskShape>,
}

/// What the engine keeps of a wave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaveShape {
    pub key: String,
    pub depends_on: Vec<WaveIx>,
    /// Its tasks: a run of the plan's tasks.
    pub tasks: Range<u32>,
}

/// What the engine keeps of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskShape {
    pub key: String,
    pub wave: WaveIx,
    pub priority: u8,
    pub depends_on: Vec<TaskIx>,
    /// What it says that it touches.
    pub files: Vec<String>,
    pub demand: Demand,
    pub agent: bool,
    pub budget: Budget,
    /// What a person is told of its model at approval.
    pub warning: Option<String>,
    pub max_failures: u32,
    pub on_lost: OnLost,
    pub lost_after_ms: Option<u64>,
}

/// What a lease asks of a worker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Demand {
    pub runner: String,
    /// The family of models that the runner must be able to ask; absent: any.
    pub family: Option<Family>,
    pub requires: Vec<String>,
}

impl PlanSpec {
    /// The plan without its waves.
    #[must_use]
    pub fn head(&self) -> Self {
        Self {
            name: self.name.clone(),
            description: self.description.clone(),
            project: self.project.clone(),
            vars: self.vars.clone(),
            requirements: self.requirements.clone(),
            constraints: self.constraints.clone(),
            budget: self.budget,
            thor: self.thor,
            thor_agent: self.thor_agent.clone(),
            coordinator_runner: self.coordinator_runner.clone(),
            waves: Vec::new(),
        }
    }

    /// The part of the plan that decisions need, under the id and name that the store gave it.
    #[must_use]
    pub fn shape(&self, id: PlanId, name: String, base: Option<Digest>) -> PlanShape {
        let mut waves = Vec::with_capacity(self.waves.len());
        let mut tasks = Vec::new();
        for (wave, at) in self.waves.iter().zip(0..) {
            let first = tasks.len() as u32;
            tasks.extend(wave.tasks.iter().map(|task| task.shape(WaveIx(at))));
            waves.push(WaveShape {
                key: wave.key.clone(),
                depends_on: wave.depends_on.clone(),
                tasks: first..tasks.len() as u32,
            });
        }
        let workspace = self.project.workspace;
        PlanShape {
            id,
            name,
            workspace,
            repository: self.project.repo.clone().unwrap_or_default(),
            base,
            thor: self.thor,
            thor_agent: self.thor_agent.clone(),
            coordinator_runner: self.coordinator_runner.clone(),
            budget: self.budget,
            waves,
            tasks,
        }
    }
}

impl TaskSpec {
    /// The model that an agent does it by.
    #[must_use]
    pub fn route(&self) -> Route {
        model::route(self)
    }

    /// The part of the task that decisions need.
    #[must_use]
    pub fn shape(&self, wave: WaveIx) -> TaskShape {
        let route = self.is_agent().then(|| self.route());
        let mut requires = self.requires.clone();
        let tools = &self.allowed_tools;
        let is_full = self.permissions == Permissions::Full || tools.iter().any(|tool| runs_anything(tool));
        if self.is_agent() && is_full {
            requires.push(FULL_PERMISSIONS_LABEL.to_owned());
        }
        let family = route.as_ref().and_then(|route| route.family);
        TaskShape {
            key: self.key.clone(),
            wave,
            priority: self.priority,
            depends_on: self.depends_on.clone(),
            files: self.files.clone(),
            demand: Demand { runner: self.runner.clone(), family, requires },
            agent: self.is_agent(),
            budget: self.budget,
            warning: route.and_then(|route| route.warning),
            max_failures: self.max_failures,
            on_lost: self.on_lost,
            lost_after_ms: self.lost_after_ms,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A task for the agent that tasks have by default.
    pub(crate) fn task(key: &str) -> TaskSpec {
        TaskSpec {
            key: key.to_owned(),
            title: key.to_owned(),
            work: WorkSpec::Do("do it".to_owned()),
            runner: DEFAULT_AGENT.to_owned(),
            model: None,
            effort: 2,
            priority: 2,
            kind: "feature".to_owned(),
            files: Vec::new(),
            verify: Vec::new(),
            criteria: Vec::new(),
            depends_on: Vec::new(),
            requires: Vec::new(),
            timeout_ms: AGENT_TIMEOUT_MS,
            max_failures: MAX_FAILURES,
            on_lost: OnLost::Retry,
            lost_after_ms: None,
            setup: Vec::new(),
            permissions: Permissions::default(),
            allowed_tools: Vec::new(),
            budget: Budget::default(),
            env: Vec::new(),
            skip_if: None,
        }
    }

    #[test]
    fn full_permissions_ask_for_a_worker_that_allows_them() {
        let full = TaskSpec { permissions: Permissions::Full, ..task("a") };
        assert_eq!(full.shape(WaveIx(0)).demand.requires, [FULL_PERMISSIONS_LABEL]);
        assert!(task("a").shape(WaveIx(0)).demand.requires.is_empty());
        for (tool, is_full) in [
            ("Bash", true),
            (" bash ", true),
            ("Bash(*)", true),
            ("Bash(:*)", true),
            ("*", true),
            ("Read,Bash", true),
            ("Read Bash", true),
            ("bas*", true),
            ("Bash(**)", true),
            ("Bash(sh:*)", true),
            ("Bash(/usr/bin/env *)", true),
            ("mcp__files__read", false),
            ("Edit(src/**)", false),
            ("run_shell_command", true),
            ("Bash(cargo test:*)", false),
            ("WebFetch", false),
        ] {
            let task = TaskSpec { allowed_tools: vec![tool.to_owned()], ..task("a") };
            assert_eq!(task.shape(WaveIx(0)).demand.requires.len(), usize::from(is_full), "{tool}");
        }
    }
}
