//! One task of the file. Owns what it does, what must hold afterwards, and the defaults that depend
//! on both; its dependencies are resolved when all tasks are known.

use wavegate_engine::{
    model,
    spec::{
        AGENT_TIMEOUT_MS, DEFAULT_AGENT, MAX_FAILURES, OnLost, SHELL, SHELL_TIMEOUT_MS, TaskSpec, WorkSpec,
        WorkspaceKind,
    },
};

use super::{
    agent,
    fields::Fields,
    level::TASK,
    name,
    node::{Node, Place, Placed, shorten},
    report::Report,
    settings::Settings,
    work::{Work, read_proof, read_work},
};

/// Where the file says nothing: the program's own effort, and a middling priority.
const EFFORT: u8 = 0;
const PRIORITY: u8 = 2;
/// A title taken from the work is cut to this many characters.
const TITLE: usize = 80;

/// What a task takes from its plan.
pub(super) struct Surroundings<'s> {
    pub(super) workspace: WorkspaceKind,
    pub(super) defaults: &'s Settings,
}

/// A task whose dependencies are still names.
#[derive(Debug)]
pub(super) struct TaskDraft {
    pub(super) key: Option<Placed<String>>,
    pub(super) depends_on: Vec<Placed<String>>,
    /// Where its `files` are declared; of the task where they are not.
    pub(super) files: Place,
    /// Absent after a mistake that leaves nothing to do.
    pub(super) spec: Option<TaskSpec>,
}

/// Reads a task; `number` counts in the wave from 1.
pub(super) fn read(
    node: &Node,
    number: usize,
    wave: &str,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Option<TaskDraft> {
    let nameless = format!("task {number} of {wave}");
    let mut fields = Fields::of(node, &nameless, report)?;
    let key = name::read_id(&fields, "T1-01", report);
    if let Some(key) = &key {
        fields.what = format!("task `{}`", shorten(&key.value));
    }
    fields.note_unknown(&TASK, report);
    let depends_on = fields
        .get("depends_on")
        .map(|field| field.ids("the id of a task, or a list of them", report))
        .unwrap_or_default();
    let files = fields.get("files").map_or(fields.place, |field| field.node.place);
    let spec = read_spec(&fields, key.as_ref(), around, report);
    Some(TaskDraft { key, depends_on, files, spec })
}

fn read_spec(
    fields: &Fields<'_>,
    key: Option<&Placed<String>>,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Option<TaskSpec> {
    let own = Settings::read(fields, report);
    let work = read_work(fields, report);
    let (verify, criteria) = read_proof(fields, work.as_ref(), report);
    let files = fields.get("files").map(|f| name::files(&f, report));
    let skip_if = fields.get("skip_if").and_then(|f| f.text_as("a shell command", report));
    let title = title(fields, work.as_ref(), report);
    let work = work?.spec;
    note_idle_settings(fields, &own, &work, report);
    let is_agent = matches!(work, WorkSpec::Do(_));
    check_runner(fields, &own, is_agent, report);
    let own_tools = own.allowed_tools.clone();
    let mut settings = own.or(around.defaults);
    if !is_agent {
        settings = settings.for_a_command();
    }
    let runner = runner(&settings, is_agent);
    if let Some(tools) = own_tools {
        agent::note_tools(&runner, &tools, report);
    }
    let spec = TaskSpec {
        key: key.map(|key| key.value.clone()).unwrap_or_default(),
        title,
        runner,
        work,
        model: settings.model.as_ref().map(|m| m.value.clone()),
        effort: settings.effort.unwrap_or(EFFORT),
        priority: settings.priority.unwrap_or(PRIORITY),
        kind: settings.kind.unwrap_or_default(),
        files: files.unwrap_or_default(),
        verify,
        criteria,
        depends_on: Vec::new(),
        requires: settings.requires.unwrap_or_default(),
        timeout_ms: settings.timeout_ms.unwrap_or(if is_agent { AGENT_TIMEOUT_MS } else { SHELL_TIMEOUT_MS }),
        max_failures: settings.max_failures.unwrap_or(MAX_FAILURES),
        on_lost: settings.on_lost.unwrap_or_else(|| OnLost::default_for(around.workspace)),
        lost_after_ms: settings.lost_after_ms,
        setup: settings.setup.unwrap_or_default(),
        permissions: settings.permissions.map(|p| p.value).unwrap_or_default(),
        allowed_tools: settings.allowed_tools.map(|tools| tools.value).unwrap_or_default(),
        budget: settings.budget.unwrap_or_default(),
        env: settings.env.unwrap_or_default(),
        skip_if,
    };
    note_model(fields, &spec, settings.model.as_ref(), report);
    Some(spec)
}

fn title(fields: &Fields<'_>, work: Option<&Work>, report: &mut Report) -> String {
    let written =
        ["summary", "title"].iter().filter_map(|name| fields.get(name)).find_map(|field| field.text(report));
    let text = match (&written, work.map(|work| &work.spec)) {
        (Some(title), _) => title,
        (None, Some(WorkSpec::Do(text) | WorkSpec::Run(text))) => text,
        (None, None) => return String::new(),
    };
    let line = text.trim().lines().next().unwrap_or("").trim();
    if line.chars().count() <= TITLE {
        return line.to_owned();
    }
    line.chars().take(TITLE - 1).chain(['…']).collect()
}

/// The runner that is written, else the one that the model's name tells.
fn runner(settings: &Settings, is_agent: bool) -> String {
    if !is_agent {
        return SHELL.to_owned();
    }
    let told = || settings.model.as_ref().and_then(|model| model::runner_of(&model.value));
    match &settings.runner {
        Some(runner) => runner.value.clone(),
        None => told().unwrap_or(DEFAULT_AGENT).to_owned(),
    }
}

/// A command has only the shell, and a prompt anything else.
fn check_runner(fields: &Fields<'_>, own: &Settings, is_agent: bool, report: &mut Report) {
    let Some(runner) = &own.runner else {
        return;
    };
    let what = &fields.what;
    if is_agent && runner.value == SHELL {
        let message = format!(
            "`runner` of {what}: expected an agent's runner, such as `{DEFAULT_AGENT}`, \
             since `do` is a prompt, found `shell`; a command for it is written as `run`"
        );
        report.error(runner.place, message);
    }
    if !is_agent && runner.value != SHELL {
        let message = format!(
            "`runner` of {what}: expected `shell`, since `run` is a shell command, \
             found `{}`; a prompt for it is written as `do`",
            shorten(&runner.value)
        );
        report.error(runner.place, message);
    }
}

fn note_idle_settings(fields: &Fields<'_>, own: &Settings, work: &WorkSpec, report: &mut Report) {
    let WorkSpec::Run(_) = work else {
        return;
    };
    let model = own.model.as_ref().map(|model| ("model", model.place));
    let permissions = own.permissions.as_ref().map(|p| ("permissions", p.place));
    let tools = own.allowed_tools.as_ref().map(|tools| ("allowed_tools", tools.place));
    for (name, place) in [model, permissions, tools].into_iter().flatten() {
        let what = &fields.what;
        report.warning(place, format!("`{name}` of {what} has no effect: a shell command is no agent"));
    }
}

/// What a person should know of the task's model; the rule is the engine's.
fn note_model(fields: &Fields<'_>, spec: &TaskSpec, model: Option<&Placed<String>>, report: &mut Report) {
    let Some(model) = model.filter(|_| spec.is_agent()) else {
        return;
    };
    agent::note_foreign_model(&fields.what, &spec.runner, model, report);
    if let Some(warning) = spec.route().warning {
        report.warning(model.place, warning);
    }
}
