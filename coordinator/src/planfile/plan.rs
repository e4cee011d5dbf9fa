//! The plan itself: its own fields, and the two forms that a file may have (ours, and the `plan:`
//! wrapper of Convergio). Owns the limits on the whole.

use std::{collections::BTreeMap, path::Path};

use wavegate_engine::spec::{PlanSpec, TaskSpec, ThorKind, WaveSpec, WorkspaceKind};

use super::{
    agent, budget, dependencies,
    fields::{Field, Fields},
    level::{PLAN, SETTINGS},
    node::Node,
    project::{self, ProjectPlaces},
    report::Report,
    settings::Settings,
    statement,
    task::Surroundings,
    vars, wave,
};

const MAX_WAVES: usize = 1000;
/// So many take some 200 MB of the coordinator's memory; see `measure-bounds`.
const MAX_TASKS: usize = 100_000;
/// What the defaults may come to when they stand in each task, in bytes.
const MAX_COPIED_DEFAULTS: usize = 64 * 1024 * 1024;
const MAX_NAME: usize = 200;

/// Reads the plan; `None` when it is no mapping at all.
pub(super) fn read(
    root: &Node,
    file_name: &str,
    sets: &BTreeMap<String, String>,
    report: &mut Report,
) -> Option<(PlanSpec, ProjectPlaces)> {
    let mut fields = Fields::of(root, "the plan", report)?;
    let wrapper = fields.get("plan");
    let is_wrapped = wrapper.is_some();
    if let Some(wrapper) = wrapper {
        let inner = Fields::of(wrapper.node, "`plan`", report)?;
        fields = inner.with(fields.without("plan"), report);
        fields.what = "the plan".to_owned();
    }
    fields.note_unknown(&PLAN, report);
    let is_convergio = is_wrapped || fields.get("user_request").is_some();
    let name = name(&fields, is_convergio, file_name, report);
    let (project, places) = project::read(&fields, report);
    let vars = vars::resolve(fields.get("vars").as_ref(), sets, report);
    let thor = agent::thor(&fields, report);
    let waves = waves(&fields, project.workspace, report);
    let spec = PlanSpec {
        name,
        description: description(&fields, report),
        project,
        vars,
        requirements: statement::requirements(&fields, &waves, report),
        constraints: statement::constraints(&fields, report),
        budget: fields.get("budget").map(|f| budget::read(&f, report)).unwrap_or_default(),
        thor: thor.kind.unwrap_or_else(|| default_thor(&waves)),
        thor_agent: thor.agent,
        coordinator_runner: agent::coordinator_runner(&fields, report),
        waves,
    };
    Some((spec, places))
}

/// What agents did is judged by an agent.
fn default_thor(waves: &[WaveSpec]) -> ThorKind {
    let mut tasks = waves.iter().flat_map(|wave| &wave.tasks);
    if tasks.any(TaskSpec::is_agent) { ThorKind::Agent } else { ThorKind::Worker }
}

fn name(fields: &Fields<'_>, is_convergio: bool, file_name: &str, report: &mut Report) -> String {
    let Some(field) = fields.get("name") else {
        if !is_convergio {
            report.error(fields.place, "the plan has no `name`; expected one, such as `name: greet`");
        }
        let stem = Path::new(file_name).file_stem();
        return stem.map_or_else(|| "plan".to_owned(), |stem| stem.to_string_lossy().into_owned());
    };
    let name = field.text(report).unwrap_or_default();
    let name = name.trim();
    if name.chars().count() > MAX_NAME || name.contains(char::is_control) {
        field.wrong(&format!("one line of at most {MAX_NAME} characters"), report);
    } else if !name.is_empty() && name.chars().all(|c| c.is_ascii_digit()) {
        // A plan's name serves wherever its number does.
        field.wrong("a name that is not a number, since plans have numbers too", report);
    }
    name.to_owned()
}

fn description(fields: &Fields<'_>, report: &mut Report) -> String {
    let parts = ["description", "user_request"];
    let texts: Vec<String> =
        parts.iter().filter_map(|name| fields.get(name)).filter_map(|field| field.text(report)).collect();
    texts.join("\n\n")
}

fn waves(fields: &Fields<'_>, workspace: WorkspaceKind, report: &mut Report) -> Vec<WaveSpec> {
    let defaults = defaults(fields, report);
    let Some(field) = fields.get("waves") else {
        report.error(fields.place, "the plan has no `waves`; expected a list of at least one wave");
        return Vec::new();
    };
    let nodes = field.filled_items("a list of at least one wave", report);
    if !is_within_limits(fields, &field, nodes, report) {
        return Vec::new();
    }
    let around = Surroundings { workspace, defaults: &defaults };
    let drafts = nodes
        .iter()
        .zip(1..)
        .filter_map(|(node, number)| wave::read(node, number, &around, report))
        .collect();
    dependencies::resolve(drafts, report)
}

fn defaults(fields: &Fields<'_>, report: &mut Report) -> Settings {
    let settings = fields.get("defaults").and_then(|field| Fields::of(field.node, "`defaults`", report));
    let Some(settings) = settings else {
        return Settings::default();
    };
    settings.note_unknown(&SETTINGS, report);
    Settings::read_defaults(&settings, report)
}

/// Whether the plan is of a size that can be held; the defaults count once for each task.
fn is_within_limits(fields: &Fields<'_>, waves: &Field<'_>, nodes: &[Node], report: &mut Report) -> bool {
    let tasks: usize = nodes.iter().map(count_tasks).sum();
    let defaults = fields.get("defaults");
    let copied = defaults.map_or(0, |field| field.node.weight().saturating_mul(tasks));
    let objection = if nodes.len() > MAX_WAVES {
        format!("expected at most {MAX_WAVES} waves, found {}", nodes.len())
    } else if tasks > MAX_TASKS {
        format!("expected at most {MAX_TASKS} tasks, found {tasks}")
    } else if copied > MAX_COPIED_DEFAULTS {
        format!("the `defaults` are too long to stand in each of {tasks} tasks")
    } else {
        return true;
    };
    report.error(waves.key, objection);
    false
}

fn count_tasks(wave: &Node) -> usize {
    let mut entries = wave.value.as_map().unwrap_or(&[]).iter();
    let tasks = entries.find(|(key, _)| key.value == "tasks");
    let tasks = tasks.and_then(|(_, node)| node.value.as_list());
    tasks.map_or(0, <[Node]>::len)
}
