//! The names that each mapping of a plan file may hold. Owns the lists of fields, and what to say
//! of a name that is on none of them.

use super::{near::did_you_mean, node::shorten};

/// One kind of mapping.
pub(super) struct Level {
    /// As a message names it: "in a task".
    pub(super) name: &'static str,
    /// What is read.
    pub(super) used: &'static [&'static str],
    /// Fields of Convergio plans that mean nothing here.
    pub(super) kept: &'static [&'static str],
    /// Names that people try, and what to write instead.
    pub(super) instead: &'static [(&'static str, &'static str)],
}

pub(super) const PLAN: Level = Level {
    name: "a plan",
    used: &[
        "name",
        "description",
        "user_request",
        "project",
        "vars",
        "requirements",
        "constraints",
        "budget",
        "thor",
        "coordinator",
        "defaults",
        "waves",
    ],
    kept: &["version", "context", "features", "non_functional"],
    instead: &[
        ("model", "a model for all tasks is written under `defaults`"),
        ("runner", "a runner for all tasks is written under `defaults`"),
        ("timeout", "a time limit for all tasks is written under `defaults`"),
        ("workspace", "the workspace is written under `project`"),
        ("repo", "the repository is written under `project`"),
        ("env", "variables of the plan are written under `vars`"),
        ("variables", "variables of the plan are written under `vars`"),
        ("mode", "the mode is chosen when the plan is approved"),
        ("parallel_mode", "the mode is chosen when the plan is approved"),
        ("tasks", "tasks are written under a wave: `waves: [{id: W1, tasks: [...]}]`"),
        ("steps", "work is written as `waves` of `tasks`"),
        ("acceptance_invariants", "they are read on a wave, not on the plan"),
    ],
};

pub(super) const PROJECT: Level = Level {
    name: "`project`",
    used: &["name", "repo", "base", "workspace"],
    kept: &["id"],
    instead: &[
        ("path", "the folder or URL is written as `repo`"),
        ("branch", "the branch to start from is written as `base`"),
    ],
};

pub(super) const BUDGET: Level = Level {
    name: "`budget`",
    used: &["tokens", "usd"],
    kept: &[],
    instead: &[("cost", "a limit in dollars is written as `usd`")],
};

pub(super) const THOR: Level = Level { name: "`thor`", used: &["runner", "model"], kept: &[], instead: &[] };

pub(super) const COORDINATOR: Level = Level {
    name: "`coordinator`",
    used: &["runner"],
    kept: &[],
    instead: &[("model", TIER), ("tier", TIER)],
};

const TIER: &str = "the mode says it: sonnet in standard, opus in max";

pub(super) const REQUIREMENT: Level = Level {
    name: "a requirement",
    used: &["id", "text", "title", "description", "wave"],
    kept: &["priority", "status"],
    instead: &[],
};

pub(super) const CONSTRAINT: Level = Level {
    name: "a constraint",
    used: &["id", "text", "title", "description", "type", "verify"],
    kept: &[],
    instead: &[],
};

pub(super) const INVARIANT: Level = Level {
    name: "an acceptance invariant",
    used: &["id", "description", "defined_by", "verify"],
    kept: &[],
    instead: &[],
};

pub(super) const WAVE: Level = Level {
    name: "a wave",
    used: &["id", "name", "depends_on", "verify", "merge_mode", "acceptance_invariants", "tasks"],
    kept: &["estimated_hours", "precondition", "theme", "description"],
    instead: &[
        ("parallel", PARALLEL),
        ("parallel_mode", PARALLEL),
        ("needs", "the waves to wait for are written as `depends_on`"),
        ("after", "the waves to wait for are written as `depends_on`"),
    ],
};

const PARALLEL: &str = "waves run side by side in the mode max, where their `depends_on` lets them";

/// What a task and `defaults` share.
pub(super) const SETTINGS: Level = Level {
    name: "`defaults`",
    used: &[
        "runner",
        "model",
        "effort",
        "priority",
        "type",
        "requires",
        "timeout",
        "max_failures",
        "on_lost",
        "lost_after",
        "setup",
        "permissions",
        "allowed_tools",
        "budget",
        "env",
    ],
    kept: &[],
    instead: &[
        ("verify", "it is written on each task, or on a wave"),
        ("skip_if", "it is written on each task"),
        ("workspace", "the workspace is written under `project`"),
    ],
};

pub(super) const TASK: Level = Level {
    name: "a task",
    used: &[
        "id",
        "do",
        "run",
        "summary",
        "title",
        "description",
        "criteria",
        "test_criteria",
        "verify",
        "files",
        "depends_on",
        "skip_if",
        "runner",
        "model",
        "effort",
        "priority",
        "type",
        "requires",
        "timeout",
        "max_failures",
        "on_lost",
        "lost_after",
        "setup",
        "permissions",
        "allowed_tools",
        "budget",
        "env",
    ],
    kept: &[
        "ref",
        "executor",
        "executor_agent",
        "validator_agent",
        "advisor_agent",
        "output_type",
        "output_match",
        "consumers",
        "requirements",
    ],
    instead: &[
        ("prompt", "a prompt is written as `do`"),
        ("command", "a shell command is written as `run`"),
        ("cmd", "a shell command is written as `run`"),
        ("script", "a shell command is written as `run`"),
        ("shell", "a shell command is written as `run`"),
        ("needs", "the tasks to wait for are written as `depends_on`"),
        ("after", "the tasks to wait for are written as `depends_on`"),
        ("labels", "labels that a worker must have are written as `requires`"),
        ("retries", "how many failures block a task is written as `max_failures`"),
        ("tools", "tools that an agent may use besides are written as `allowed_tools`"),
        ("workspace", "the workspace is written under `project`"),
        ("check", "commands that must exit 0 are written as `verify`"),
        ("test", "commands that must exit 0 are written as `verify`"),
    ],
};

impl Level {
    /// What to say of a field of this name; `None` where it is read.
    pub(super) fn objection(&self, field: &str) -> Option<String> {
        if self.used.contains(&field) {
            return None;
        }
        let name = self.name;
        let shown = shorten(field);
        if self.kept.contains(&field) {
            return Some(format!("`{shown}` in {name} is kept with the plan but has no effect here"));
        }
        if let Some((_, instead)) = self.instead.iter().find(|(tried, _)| *tried == field) {
            return Some(format!("`{shown}` in {name} has no effect; {instead}"));
        }
        let help = did_you_mean(field, self.used.iter().copied());
        Some(format!("unknown field `{shown}` in {name}: it is kept with the plan but has no effect{help}"))
    }
}
