//! Names that become parts of branches and paths: ids of waves and tasks, and a task's `files`. Owns
//! which of them are safe.

use super::{
    fields::{Field, Fields},
    node::{Placed, shorten},
    report::Report,
};

/// Ids are parts of branch names and paths.
const MAX_ID: usize = 64;

/// The `id` of a wave or task; its absence or wrongness is reported.
pub(super) fn read_id(fields: &Fields<'_>, example: &str, report: &mut Report) -> Option<Placed<String>> {
    let Some(field) = fields.get("id") else {
        let what = &fields.what;
        report.error(fields.place, format!("{what} has no `id`; expected one, such as `{example}`"));
        return None;
    };
    // `id: 1` is a number to YAML and a name to everybody else.
    let id = match field.node.value.as_number() {
        Some(raw) => raw.to_owned(),
        None => field.text(report)?,
    };
    if !is_id(&id) {
        field.wrong(
            &format!(
                "an id of up to {MAX_ID} letters, digits, `-`, `_` and single dots, \
                 such as `{example}`"
            ),
            report,
        );
        return None;
    }
    Some(Placed { place: field.node.place, value: id })
}

/// What git allows as the last part of a branch name, and every system as a file name.
fn is_id(id: &str) -> bool {
    id.len() <= MAX_ID
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && !id.contains("..")
        && !id.ends_with('.')
        && !id.ends_with(".lock")
}

/// The paths of a field, without those that leave the workspace, which are reported.
pub(super) fn files(field: &Field<'_>, report: &mut Report) -> Vec<String> {
    let mut files = Vec::new();
    for file in field.texts("a path", report) {
        match path_objection(&file.value) {
            Some(objection) => report.error(
                file.place,
                format!(
                    "{}: the path \"{}\" {objection}; expected a path below the workspace",
                    field.label,
                    shorten(&file.value)
                ),
            ),
            None => files.push(file.value),
        }
    }
    files
}

fn path_objection(path: &str) -> Option<&'static str> {
    let mut letters = path.chars();
    let has_drive = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && letters.next() == Some(':')
        && letters.next().is_none_or(|c| matches!(c, '/' | '\\'));
    if path.starts_with(['/', '\\']) || has_drive {
        return Some("is absolute");
    }
    if path == "~" || path.starts_with("~/") {
        return Some("is in a home directory");
    }
    if path.split(['/', '\\']).any(|part| part == "..") {
        return Some("leads out with `..`");
    }
    path.contains(char::is_control).then_some("holds a control character")
}
