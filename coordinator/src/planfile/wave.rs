//! One wave of the file. Owns its own fields; its tasks are read by `task`, and its dependencies
//! resolved when all waves are known.

use wavegate_engine::spec::{MergeMode, WorkspaceKind};

use super::{
    fields::{Field, Fields},
    level::{INVARIANT, WAVE},
    name,
    node::{Node, Place, Placed, shorten},
    report::Report,
    task::{self, Surroundings, TaskDraft},
};

/// A wave whose dependencies are still names.
#[derive(Debug)]
pub(super) struct WaveDraft {
    pub(super) place: Place,
    pub(super) key: Option<Placed<String>>,
    pub(super) name: String,
    /// Absent: the wave before.
    pub(super) depends_on: Option<Vec<Placed<String>>>,
    pub(super) verify: Vec<String>,
    pub(super) merge_mode: MergeMode,
    pub(super) tasks: Vec<TaskDraft>,
}

/// Reads a wave; `number` counts from 1.
pub(super) fn read(
    node: &Node,
    number: usize,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Option<WaveDraft> {
    let mut fields = Fields::of(node, &format!("wave {number}"), report)?;
    let key = name::read_id(&fields, &format!("W{number}"), report);
    if let Some(key) = &key {
        fields.what = format!("wave `{}`", shorten(&key.value));
    }
    fields.note_unknown(&WAVE, report);
    let name = fields.get("name").and_then(|f| f.text(report));
    let depends_on = fields.get("depends_on").map(|f| f.ids("the id of a wave, or a list of them", report));
    let merge_mode = fields.get("merge_mode").and_then(|f| merge_mode(&f, around, report));
    Some(WaveDraft {
        place: fields.place,
        key,
        name: name.unwrap_or_default(),
        depends_on,
        verify: verify(&fields, report),
        merge_mode: merge_mode.unwrap_or_default(),
        tasks: tasks(&fields, around, report),
    })
}

const MERGE_MODES: [(&str, MergeMode); 4] = [
    ("sync", MergeMode::Sync),
    ("batch", MergeMode::Batch),
    ("async", MergeMode::Async),
    ("none", MergeMode::None),
];

fn merge_mode(field: &Field<'_>, around: &Surroundings<'_>, report: &mut Report) -> Option<MergeMode> {
    let mode = field.choice(&MERGE_MODES, report)?;
    if around.workspace != WorkspaceKind::Git {
        report.repeated_warning(
            field.key,
            "`merge_mode` of a wave is kept with the plan but has no effect: it says how work reaches a branch, \
             which `workspace: git` of `project` asks for"
                .to_owned(),
        );
    }
    Some(mode)
}

/// The wave's own commands, then those of its acceptance invariants.
fn verify(fields: &Fields<'_>, report: &mut Report) -> Vec<String> {
    let own = fields.get("verify");
    let mut verify = own.map(|field| field.plain_texts("a shell command", report)).unwrap_or_default();
    if let Some(field) = fields.get("acceptance_invariants") {
        for (node, number) in field.items("a list of invariants", report).iter().zip(1..) {
            verify.extend(invariant(&field, node, number, report));
        }
    }
    verify
}

fn invariant(field: &Field<'_>, node: &Node, number: usize, report: &mut Report) -> Vec<String> {
    let what = format!("{}, item {number}", field.label);
    let Some(fields) = Fields::of(node, &what, report) else {
        return Vec::new();
    };
    fields.note_unknown(&INVARIANT, report);
    match fields.get("verify") {
        Some(verify) => verify.plain_texts("a shell command", report),
        None => {
            report.warning(fields.place, format!("{what} has no `verify`, so that nothing checks it"));
            Vec::new()
        }
    }
}

fn tasks(fields: &Fields<'_>, around: &Surroundings<'_>, report: &mut Report) -> Vec<TaskDraft> {
    let what = &fields.what;
    let Some(field) = fields.get("tasks") else {
        report.error(fields.place, format!("{what} has no `tasks`; expected a list of at least one task"));
        return Vec::new();
    };
    field
        .filled_items("a list of at least one task", report)
        .iter()
        .zip(1..)
        .filter_map(|(node, number)| task::read(node, number, what, around, report))
        .collect()
}
