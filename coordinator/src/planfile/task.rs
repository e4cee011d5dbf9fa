//! One task of the file. Owns what it does, what must hold afterwards, and the defaults that depend
//! on both; its dependencies are resolved when all tasks are known.

use wavegate_engine::spec::{
    AGENT_TIMEOUT_MS, DEFAULT_AGENT, MAX_FAILURES, OnLost, SHELL, SHELL_TIMEOUT_MS, TRIVIAL_KINDS, TaskSpec,
    WorkSpec, WorkspaceKind,
};

use super::{
    fields::Fields,
    level::TASK,
    name,
    node::{Node, Placed, shorten},
    report::Report,
    settings::Settings,
    work::{Work, read_proof, read_work},
};

/// Where the file says nothing: the least effort, and a middling priority.
const EFFORT: u8 = 1;
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
    let spec = read_spec(&fields, key.as_ref(), around, report);
    Some(TaskDraft { key, depends_on, spec })
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
    let mut settings = own.or(around.defaults);
    if !is_agent {
        settings = settings.for_a_command();
    }
    let spec = TaskSpec {
        key: key.map(|key| key.value.clone()).unwrap_or_default(),
        title,
        runner: settings.runner.map_or_else(|| default_runner(is_agent), |runner| runner.value),
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
        permissions: settings.permissions.map(|p| p.value.to_owned()),
        env: settings.env.unwrap_or_default(),
        skip_if,
    };
    note_haiku(fields, &spec, settings.model.as_ref(), report);
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

fn default_runner(is_agent: bool) -> String {
    let runner = if is_agent { DEFAULT_AGENT } else { SHELL };
    runner.to_owned()
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
    for (name, place) in model.into_iter().chain(permissions) {
        let what = &fields.what;
        report.warning(place, format!("`{name}` of {what} has no effect: a shell command is no agent"));
    }
}

fn note_haiku(fields: &Fields<'_>, spec: &TaskSpec, model: Option<&Placed<String>>, report: &mut Report) {
    let Some(model) = model.filter(|_| spec.is_agent() && !spec.is_trivial()) else {
        return;
    };
    if model.value.to_ascii_lowercase().contains("haiku") {
        report.warning(
            model.place,
            format!(
                "{} will run on sonnet: `{}` is for trivial tasks alone (effort 1 and type {})",
                fields.what,
                shorten(&model.value),
                TRIVIAL_KINDS.join(", ")
            ),
        );
    }
}
