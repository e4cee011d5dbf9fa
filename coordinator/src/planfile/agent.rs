//! Who does the work that no command does: runners, models and tools by their names, Thor, and the
//! coordinator's own model. Owns which names can be given to a program, and which runner a model's name
//! tells; which model a task gets in the end is the engine's rule.

use wavegate_engine::{
    model::{self, Family},
    spec::{AgentChoice, DEFAULT_AGENT, SHELL, ThorKind},
};

use super::{
    fields::{Field, Fields},
    level::{COORDINATOR, THOR},
    near::{did_you_mean, nearest},
    node::{Placed, Value, shorten},
    report::Report,
    value::one_of,
};

/// Longer than every vendor's names.
const MAX_MODEL: usize = 100;
/// Programs that serve the models of one vendor alone; others may serve all.
const ONE_VENDOR: [&str; 3] = ["claude", "codex", "gemini"];
/// The runners that every worker knows; others are described in a worker's config.
const KNOWN: [&str; 5] = ["claude", "codex", "gemini", "opencode", SHELL];
/// Agents whose programs know no single tools.
const WITHOUT_TOOLS: [&str; 1] = ["codex"];
const THORS: [(&str, ThorKind); 3] =
    [("worker", ThorKind::Worker), ("agent", ThorKind::Agent), ("external", ThorKind::External)];

/// Who judges; absent where the file does not say.
#[derive(Debug, Default)]
pub(super) struct Thor {
    pub(super) kind: Option<ThorKind>,
    pub(super) agent: AgentChoice,
}

/// The name of a runner.
pub(super) fn runner(field: &Field<'_>, report: &mut Report) -> Option<Placed<String>> {
    let value = field.text(report)?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if value.starts_with(|c: char| c.is_ascii_alphanumeric()) && value.chars().all(is_name) {
        if !KNOWN.contains(&value.as_str())
            && let Some(near) = nearest(&value, KNOWN)
        {
            let label = &field.label;
            let text = format!(
                "{label}: only a worker whose config describes `{value}` can run this; did you mean `{near}`?"
            );
            report.warning(field.node.place, text);
        }
        return Some(Placed { place: field.node.place, value });
    }
    field.wrong("the name of a runner, such as `claude` or `codex`", report);
    None
}

/// The name of a model, as it is written: what stands first on it could be taken for an option.
pub(super) fn model(field: &Field<'_>, report: &mut Report) -> Option<Placed<String>> {
    let value = field.text(report)?.trim().to_owned();
    let is_name = value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && value.chars().count() <= MAX_MODEL
        && !value.contains(char::is_control);
    if is_name {
        return Some(Placed { place: field.node.place, value });
    }
    field.wrong(
        &format!(
            "the name of a model of at most {MAX_MODEL} characters, such as `sonnet` or `gpt-5.3-codex`"
        ),
        report,
    );
    None
}

/// Tools in the words of an agent's program.
pub(super) fn tools(field: &Field<'_>, report: &mut Report) -> Vec<String> {
    let mut tools = Vec::new();
    for tool in field.texts("a tool, such as `Bash(cargo test:*)`", report) {
        if tool.value.starts_with(|c: char| c.is_alphabetic()) && !tool.value.contains(char::is_control) {
            tools.push(tool.value);
        } else {
            let shown = shorten(&tool.value);
            report.error(
                tool.place,
                format!(
                    "{}: expected a tool whose name begins with a letter, such as `Bash(cargo test:*)`, \
                     found \"{shown}\"",
                    field.label
                ),
            );
        }
    }
    tools
}

/// The runner that a model belongs to, where the given one has another vendor's models alone.
pub(super) fn other_runner(runner: &str, model: &str) -> Option<&'static str> {
    model::runner_of(model).filter(|other| *other != runner && ONE_VENDOR.contains(&runner))
}

/// Warns where tools are named to a program that knows none.
pub(super) fn note_tools(runner: &str, tools: &Placed<Vec<String>>, report: &mut Report) {
    if WITHOUT_TOOLS.contains(&runner) && !tools.value.is_empty() {
        let text = format!(
            "`allowed_tools`: `{runner}` knows no single tools, so this changes nothing; `permissions` does"
        );
        report.warning(tools.place, text);
    }
}

/// Warns where a program is asked for a model of another vendor.
pub(super) fn note_foreign_model(what: &str, runner: &str, model: &Placed<String>, report: &mut Report) {
    if let Some(other) = other_runner(runner, &model.value) {
        report.warning(
            model.place,
            format!(
                "`model` of {what}: `{}` is a model of the runner `{other}`, but the runner is `{runner}`, \
                 as the file says",
                shorten(&model.value)
            ),
        );
    }
}

/// The plan's `thor`: a word, or a mapping that chooses the agent.
pub(super) fn thor(fields: &Fields<'_>, report: &mut Report) -> Thor {
    let Some(field) = fields.get("thor") else {
        return Thor::default();
    };
    if field.node.value.as_map().is_some() {
        let agent = thor_agent(&field, report).unwrap_or_default();
        return Thor { kind: Some(ThorKind::Agent), agent };
    }
    Thor { kind: thor_word(&field, report), agent: AgentChoice::default() }
}

fn thor_word(field: &Field<'_>, report: &mut Report) -> Option<ThorKind> {
    let word = field.node.value.as_text().unwrap_or("").trim();
    let chosen = THORS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    if chosen.is_none() {
        let names = THORS.map(|(name, _)| name);
        let message = format!(
            "{}: expected {}, or a mapping with `runner` and `model`, found {}{}",
            field.label,
            one_of(&names),
            field.node.value.describe(),
            did_you_mean(word, names)
        );
        report.error(field.node.place, message);
    }
    chosen.map(|(_, kind)| *kind)
}

fn thor_agent(field: &Field<'_>, report: &mut Report) -> Option<AgentChoice> {
    let fields = Fields::of(field.node, "`thor`", report)?;
    fields.note_unknown(&THOR, report);
    let runner = fields.get("runner").and_then(|f| agent_runner(&f, report));
    let model = fields.get("model").and_then(|f| self::model(&f, report));
    if let Some(model) = &model {
        if let Some(runner) = &runner {
            note_foreign_model("`thor`", &runner.value, model, report);
        }
        if Family::of(&model.value) != Some(Family::Sonnet) {
            let shown = shorten(&model.value);
            report.warning(
                model.place,
                format!("`model` of `thor`: Thor judges by {shown}, as the plan says, instead of sonnet"),
            );
        }
    }
    let default = AgentChoice::default();
    let inferred = || model.as_ref().and_then(|model| model::runner_of(&model.value));
    let runner =
        runner.map_or_else(|| inferred().map_or(default.runner, str::to_owned), |runner| runner.value);
    let model = match model {
        Some(model) => model::canonical(&model.value),
        // Sonnet is a model of one program; others choose for themselves.
        None if runner == DEFAULT_AGENT => default.model,
        None => String::new(),
    };
    Some(AgentChoice { runner, model })
}

/// The runner of the coordinator's own model.
pub(super) fn coordinator_runner(fields: &Fields<'_>, report: &mut Report) -> String {
    let written = fields.get("coordinator").and_then(|field| {
        if !matches!(field.node.value, Value::Map(_)) {
            field.wrong("a mapping with `runner`", report);
            return None;
        }
        let fields = Fields::of(field.node, "`coordinator`", report)?;
        fields.note_unknown(&COORDINATOR, report);
        let runner = agent_runner(&fields.get("runner")?, report)?;
        if runner.value != DEFAULT_AGENT && ONE_VENDOR.contains(&runner.value.as_str()) {
            let message = format!(
                "`runner` of `coordinator`: the coordinator's model is a sonnet or an opus, which `{}` does not \
                 serve: mode max would wait without end",
                runner.value
            );
            report.warning(runner.place, message);
        }
        Some(runner.value)
    });
    written.unwrap_or_else(|| DEFAULT_AGENT.to_owned())
}

fn agent_runner(field: &Field<'_>, report: &mut Report) -> Option<Placed<String>> {
    let runner = runner(field, report)?;
    if runner.value != SHELL {
        return Some(runner);
    }
    field.wrong(&format!("an agent's runner, such as `{DEFAULT_AGENT}`"), report);
    None
}
