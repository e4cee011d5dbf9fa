//! How a task is run: the fields that a task and the plan's `defaults` share. Owns their checks and
//! how a task's own value stands before the default.

use wavegate_engine::spec::{Budget, OnLost, Permissions, SHELL};

use super::{
    agent, budget,
    fields::{Field, Fields},
    near::did_you_mean,
    node::{Placed, shorten},
    report::Report,
    vars::name_objection,
};

/// The types of tasks that are known; another one is kept, with a warning.
const KINDS: [&str; 10] =
    ["bug", "feature", "fix", "refactor", "test", "config", "documentation", "chore", "doc", "cleanup"];
const MAX_FAILURES: u64 = 1000;

/// What is set; the rest is absent.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub(super) runner: Option<Placed<String>>,
    pub(super) model: Option<Placed<String>>,
    pub(super) effort: Option<u8>,
    pub(super) priority: Option<u8>,
    pub(super) kind: Option<String>,
    pub(super) requires: Option<Vec<String>>,
    pub(super) timeout_ms: Option<u64>,
    pub(super) max_failures: Option<u32>,
    pub(super) on_lost: Option<OnLost>,
    pub(super) lost_after_ms: Option<u64>,
    pub(super) setup: Option<Vec<String>>,
    pub(super) permissions: Option<Placed<Permissions>>,
    pub(super) allowed_tools: Option<Placed<Vec<String>>>,
    pub(super) budget: Option<Budget>,
    pub(super) env: Option<Vec<String>>,
}

impl Settings {
    /// What these fields set.
    pub(super) fn read(fields: &Fields<'_>, report: &mut Report) -> Self {
        let get = |name: &str| fields.get(name);
        Self {
            runner: get("runner").and_then(|f| agent::runner(&f, report)),
            model: get("model").and_then(|f| agent::model(&f, report)),
            effort: get("effort").and_then(|f| effort(&f, report)),
            priority: get("priority").and_then(|f| priority(&f, report)),
            kind: get("type").and_then(|f| kind(&f, report)),
            requires: get("requires").map(|f| f.plain_texts("a label", report)),
            timeout_ms: get("timeout").and_then(|f| f.duration_ms(report)),
            max_failures: get("max_failures").and_then(|f| max_failures(&f, report)),
            on_lost: get("on_lost").and_then(|f| f.choice(&ON_LOST, report)),
            lost_after_ms: get("lost_after").and_then(|f| f.duration_ms(report)),
            setup: get("setup").map(|f| f.plain_texts("a shell command", report)),
            permissions: get("permissions").and_then(|f| permissions(&f, report)),
            allowed_tools: get("allowed_tools")
                .map(|f| Placed { place: f.node.place, value: agent::tools(&f, report) }),
            budget: get("budget").map(|f| budget::read(&f, report)),
            env: get("env").map(|f| env(&f, report)),
        }
    }

    /// What the plan's `defaults` set. Prompts alone have a runner to choose.
    pub(super) fn read_defaults(fields: &Fields<'_>, report: &mut Report) -> Self {
        let settings = Self::read(fields, report);
        if let Some(runner) = settings.runner.as_ref().filter(|r| r.value == SHELL) {
            report.error(
                runner.place,
                "`runner` of `defaults`: expected the runner of prompts, found `shell`; \
                 a task with `run` uses the shell anyway",
            );
        }
        settings
    }

    /// Those of a shell command, which has no runner to choose and nothing that is said to agents.
    pub(super) fn for_a_command(self) -> Self {
        Self { runner: None, model: None, permissions: None, allowed_tools: None, ..self }
    }

    /// These, and the defaults where they say nothing. A list replaces the default's list. A runner and a
    /// model belong together: one that is written here is not given another vendor's default of the other.
    pub(super) fn or(self, defaults: &Self) -> Self {
        let mut d = defaults.clone();
        match (&self.runner, &self.model) {
            (None, Some(model)) => {
                d.runner =
                    d.runner.filter(|runner| agent::other_runner(&runner.value, &model.value).is_none());
            }
            (Some(runner), None) => {
                d.model = d.model.filter(|model| agent::other_runner(&runner.value, &model.value).is_none());
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
        Self {
            runner: self.runner.or(d.runner),
            model: self.model.or(d.model),
            effort: self.effort.or(d.effort),
            priority: self.priority.or(d.priority),
            kind: self.kind.or(d.kind),
            requires: self.requires.or(d.requires),
            timeout_ms: self.timeout_ms.or(d.timeout_ms),
            max_failures: self.max_failures.or(d.max_failures),
            on_lost: self.on_lost.or(d.on_lost),
            lost_after_ms: self.lost_after_ms.or(d.lost_after_ms),
            setup: self.setup.or(d.setup),
            permissions: self.permissions.or(d.permissions),
            allowed_tools: self.allowed_tools.or(d.allowed_tools),
            budget: self.budget.or(d.budget),
            env: self.env.or(d.env),
        }
    }
}

const ON_LOST: [(&str, OnLost); 3] =
    [("retry", OnLost::Retry), ("hold", OnLost::Hold), ("fail", OnLost::Fail)];

fn effort(field: &Field<'_>, report: &mut Report) -> Option<u8> {
    let raw = field.node.value.as_word().unwrap_or("");
    let effort = match raw.to_ascii_uppercase().as_str() {
        "S" => Some(1),
        "M" => Some(2),
        "L" => Some(3),
        "XL" => Some(4),
        digits => digits.parse::<u64>().ok().filter(|effort| *effort > 0),
    };
    match effort {
        None => {
            field.wrong("1, 2 or 3 (or S, M, L)", report);
            None
        }
        Some(above) if above > 3 => {
            report.warning(
                field.node.place,
                format!("{}: expected 1, 2 or 3, found {raw}; it is taken as 3", field.label),
            );
            Some(3)
        }
        Some(effort) => u8::try_from(effort).ok(),
    }
}

fn priority(field: &Field<'_>, report: &mut Report) -> Option<u8> {
    let raw = field.node.value.as_word().unwrap_or("");
    let level = raw.strip_prefix(['P', 'p']).unwrap_or(raw);
    let priority = match level {
        "0" => Some(0),
        "1" => Some(1),
        "2" => Some(2),
        "3" => Some(3),
        _ => None,
    };
    if priority.is_none() {
        field.wrong("`P0` (most urgent), `P1`, `P2` or `P3`", report);
    }
    priority
}

fn kind(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let kind = field.text(report)?.trim().to_ascii_lowercase();
    if !KINDS.contains(&kind.as_str()) {
        let guess = did_you_mean(&kind, KINDS);
        report.warning(
            field.node.place,
            format!(
                "{}: `{}` is none of the known types ({}){guess}",
                field.label,
                shorten(&kind),
                KINDS.join(", ")
            ),
        );
    }
    Some(kind)
}

fn max_failures(field: &Field<'_>, report: &mut Report) -> Option<u32> {
    let failures = field.whole(1..=MAX_FAILURES, report)?;
    u32::try_from(failures).ok()
}

const PERMISSIONS: [(&str, Permissions); 3] =
    [("read", Permissions::Read), ("edit", Permissions::Edit), ("full", Permissions::Full)];

fn permissions(field: &Field<'_>, report: &mut Report) -> Option<Placed<Permissions>> {
    let value = field.choice(&PERMISSIONS, report)?;
    Some(Placed { place: field.node.place, value })
}

const WHO_HAS_VALUES: &str = "values are never written in a plan, the workers have them";

/// Names only: values are resolved on the worker and never stored.
fn env(field: &Field<'_>, report: &mut Report) -> Vec<String> {
    let expected = "the name of an environment variable";
    if field.node.value.as_map().is_some() {
        field.wrong(&format!("{expected}, or a list of them; {WHO_HAS_VALUES}"), report);
        return Vec::new();
    }
    let mut names = Vec::new();
    for name in field.texts(expected, report) {
        let objection = match name.value.split_once('=') {
            Some((before, _)) => Some(format!(
                "expected {expected} alone, found a value for `{}`; {WHO_HAS_VALUES}",
                shorten(before)
            )),
            None => name_objection(&name.value),
        };
        match objection {
            Some(objection) => report.error(name.place, format!("{}: {objection}", field.label)),
            None => names.push(name.value),
        }
    }
    names
}
